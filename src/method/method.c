/* method.c - the registry, built from kernels/methods.h. */
#include "method.h"

#include <math.h>
#include <string.h>

#define WF_DESCRIBE
#include "../../kernels/methods.h"

/* Those that are offered, then the engine's own. */
#define ROW(name) &method_##name,
static const struct wf_method *const methods[] = {WF_METHOD_LIST(ROW) WF_INTERNAL_METHOD_LIST(ROW)};
#undef ROW

#define NAME(name) #name,
static const char *const names[] = {WF_METHOD_LIST(NAME) NULL};
#undef NAME

size_t wf_method_count(void)
{
    return sizeof names / sizeof *names - 1;
}

const struct wf_method *wf_method_at(size_t i)
{
    return methods[i];
}

size_t wf_method_index(const struct wf_method *m)
{
    size_t i = 0;
    while (methods[i] != m)
        i++;
    return i;
}

const struct wf_method *wf_method_find(const char *name)
{
    for (size_t i = 0; i < wf_method_count(); i++)
        if (!strcmp(methods[i]->name, name))
            return methods[i];
    return NULL;
}

const struct wf_method *wf_method_internal(const char *name)
{
    for (size_t i = wf_method_count(); i < sizeof methods / sizeof *methods; i++)
        if (!strcmp(methods[i]->name, name))
            return methods[i];
    return NULL;
}

const char *const *wf_method_names(void)
{
    return names;
}

int wf_method_option(const struct wf_method *m, const char *name)
{
    for (size_t i = 0; i < m->n_options; i++)
        if (!strcmp(m->options[i].name, name))
            return (int)i;
    return -1;
}

unsigned wf_method_passes(const struct wf_method *m, const struct wf_args *args)
{
    unsigned passes = 1; /* the pass that writes */
    for (size_t i = 0; i < m->n_stages; i++)
        if (args->scope[i] == WF_SCOPE_MODEL)
            passes++;
    return passes;
}

bool wf_method_one_group(const struct wf_method *m, const struct wf_args *a,
                         const struct wf_args *b)
{
    bool one = a->n == b->n && a->ties == b->ties;
    for (size_t s = 0; s < m->n_stages; s++)
        one &= (a->scope[s] == WF_SCOPE_MODEL) == (b->scope[s] == WF_SCOPE_MODEL);
    for (unsigned k = 0; k < WF_ARGS_GLOBAL; k++)
        one &= m->own_g >> k & 1 || a->g[k] == b->g[k];
    for (uint32_t i = 0; one && i < a->n; i++)
        for (unsigned k = 0; k < WF_ARGS_MODEL; k++)
            one &= m->own_m >> k & 1 || a->m[i][k] == b->m[i][k];
    return one;
}

void wf_method_take_group(const struct wf_method *m, const struct wf_args *group,
                          struct wf_args *args)
{
    for (unsigned k = 0; k < WF_ARGS_GLOBAL; k++)
        if (!(m->own_g >> k & 1))
            args->g[k] = group->g[k];
    for (uint32_t i = 0; i < group->n; i++)
        for (unsigned k = 0; k < WF_ARGS_MODEL; k++)
            if (!(m->own_m >> k & 1))
                args->m[i][k] = group->m[i][k];
}

static uint64_t product(const uint64_t *shape, unsigned from, unsigned to)
{
    uint64_t n = 1;
    for (unsigned d = from; d < to; d++)
        n *= shape[d];
    return n;
}

struct wf_rows wf_method_rows(const struct wf_method *m, const uint64_t *shape, unsigned n_dims)
{
    if (n_dims < 2)
        return (struct wf_rows){product(shape, 0, n_dims), 1};
    switch (m->rows) {
    case WF_ROWS_FIRST_AXIS:
        return (struct wf_rows){product(shape, 1, n_dims), 1};
    case WF_ROWS_SECOND_AXIS:
        return (struct wf_rows){shape[1], product(shape, 2, n_dims)};
    default:
        return (struct wf_rows){shape[n_dims - 1], 1};
    }
}
