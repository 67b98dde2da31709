/* census.c - counting tensors by type and by stack of layers. */
#include "census.h"

#include <stdlib.h>
#include <string.h>

#include "../base/num.h"

static int more_bytes_first(const void *a, const void *b)
{
    const struct wf_census_type *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return (x->dtype > y->dtype) - (x->dtype < y->dtype);
}

static void count_types(const struct wf_ckpt *c, struct wf_census *out)
{
    struct wf_census_type all[WF_DTYPES] = {0};
    for (size_t i = 0; i < c->n_tensors; i++) {
        const struct wf_tensor *t = &c->tensors[i];
        all[t->dtype].tensors++;
        all[t->dtype].parameters += t->count;
        all[t->dtype].bytes += t->bytes;
        out->bytes += t->bytes;
        if (!wf_add_u64(out->parameters, t->count, &out->parameters))
            out->parameters = UINT64_MAX;
    }
    for (int d = 0; d < WF_DTYPES; d++) {
        all[d].dtype = (enum wf_dtype)d;
        if (all[d].tensors)
            out->types[out->n_types++] = all[d];
    }
    qsort(out->types, out->n_types, sizeof *out->types, more_bytes_first);
}

int wf_census_take(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *c,
                   struct wf_census *out)
{
    memset(out, 0, sizeof *out);
    count_types(c, out);
    return wf_stacks_find(e, a, c, NULL, NULL, &out->stacks);
}
