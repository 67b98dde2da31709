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
