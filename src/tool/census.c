/* census.c - counting tensors by type and by layer. */
#include "census.h"

#include <stdlib.h>
#include <string.h>

#include "../base/num.h"

/* A tensor of some layer, as sorting wants it. */
struct row {
    const char *name;
    size_t prefix_n;
    long layer;
};

/* Bytes of `name` before the component that wf_layer_of reads, without the '.': it is the first
 * that is all digits, one to nine of them. */
static size_t prefix_bytes(const char *name)
{
    const char *part = name;
    for (;;) {
        size_t n = strcspn(part, ".");
        if (n && n <= 9 && strspn(part, "0123456789") == n)
            return part == name ? 0 : (size_t)(part - name) - 1;
        part += n + 1;
    }
}

static int by_prefix_and_layer(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int order = memcmp(x->name, y->name, x->prefix_n < y->prefix_n ? x->prefix_n : y->prefix_n);
    if (order || x->prefix_n != y->prefix_n)
        return order ? order : x->prefix_n < y->prefix_n ? -1 : 1;
    return (x->layer > y->layer) - (x->layer < y->layer);
}

static bool same_prefix(const struct wf_census_layers *group, const struct row *row)
{
    return group->prefix_n == row->prefix_n && !memcmp(group->name, row->name, row->prefix_n);
}

static void group_rows(const struct row *rows, size_t n, struct wf_census *out)
{
    for (size_t i = 0; i < n; i++) {
        struct wf_census_layers *last = out->n_layers ? &out->layers[out->n_layers - 1] : NULL;
        if (!last || !same_prefix(last, &rows[i])) {
            last = &out->layers[out->n_layers++];
            *last = (struct wf_census_layers){
                rows[i].name, rows[i].prefix_n, rows[i].layer, rows[i].layer, 1, 0};
        }
        last->layers += last->last != rows[i].layer;
        last->last = rows[i].layer;
        last->tensors++;
    }
}

static int count_layers(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *c,
                        struct wf_census *out)
{
    struct row *rows = wf_alloc(e, WF_MEM_META, c->n_tensors, sizeof *rows, "a list of layers");
    size_t n = 0;
    if (!rows)
        return wf_err_status(e);
    for (size_t i = 0; i < c->n_tensors; i++) {
        const char *name = c->tensors[i].name;
        long layer = wf_layer_of(name);
        if (layer >= 0)
            rows[n++] = (struct row){name, prefix_bytes(name), layer};
    }
    qsort(rows, n, sizeof *rows, by_prefix_and_layer);
    out->layers = wf_arena_alloc(a, e, n, sizeof *out->layers);
    if (out->layers)
        group_rows(rows, n, out);
    wf_free(rows);
    return out->layers ? WF_OK : wf_err_status(e);
}

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
    return count_layers(e, a, c, out);
}
