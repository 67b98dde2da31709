/* trace_file.c - where the trace of a merge may be written. */
#include "trace_file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/file.h"
#include "../recipe/coefficients.h"
#include "territory.h"

static bool is_same(const char *a, const char *b)
{
    struct stat s, t;
    return a && b && !stat(a, &s) && !stat(b, &t) && s.st_dev == t.st_dev && s.st_ino == t.st_ino;
}

/* The file, which may not be there yet, lies in the folder. */
static bool lies_in(const char *file, const char *folder)
{
    char at[PATH_MAX], resolved[PATH_MAX];
    size_t n;
    size_t before = (size_t)(wf_path_last(file, &n) - file);
    if (before >= sizeof at || !wf_is_folder(folder))
        return false;
    memcpy(at, before ? file : ".", before ? before : 1);
    at[before ? before : 1] = 0;
    char parent[PATH_MAX];
    return realpath(at, parent) && realpath(folder, resolved) && wf_path_within(parent, resolved);
}

static bool belongs_to(const char *file, const struct wf_ckpt *k)
{
    bool belongs = lies_in(file, k->place.boundary ? k->place.boundary : k->place.path) ||
                   is_same(file, k->config_path);
    for (size_t f = 0; f < k->n_files && !belongs; f++)
        belongs = is_same(file, k->files[f].path);
    return belongs;
}

/* OUT and OUT.partial, or OUT.stages: places that come and go as a whole. */
static bool is_output(const char *file, const struct wf_output *o)
{
    struct wf_territory t;
    return wf_territory_set(&t, o->out, o->parent, true) && wf_territory_holds(&t, file);
}

int wf_trace_file_name(struct wf_err *e, struct wf_arena *a, const char *file,
                       const struct wf_rank *self, const char **out)
{
    *out = file ? wf_trace_path(a, e, file, self->rank, self->size) : NULL;
    return !file || *out ? WF_OK : WF_MACHINE;
}

int wf_trace_file_check(struct wf_err *e, const char *file, const struct wf_output *o,
                        const struct wf_recipe *recipe, const struct wf_opened *opened)
{
    if (!file)
        return WF_OK;
    if (is_output(file, o))
        return wf_fail(e, WF_USAGE,
                       "--trace: %s lies in OUT, or where OUT is made; choose another file", file);
    if (!recipe->is_made && is_same(file, recipe->path))
        return wf_fail(e, WF_USAGE, "--trace: %s is the recipe; choose another file", file);
    if (recipe->table && is_same(file, recipe->table->path))
        return wf_fail(e, WF_USAGE,
                       "--trace: %s is the recipe's table of coefficients; choose another file",
                       file);
    for (const struct wf_opened_ckpt *k = opened->first; k; k = k->next)
        if (belongs_to(file, &k->ckpt))
            return wf_fail(e, WF_USAGE,
                           "--trace: %s belongs to the input '%s'; choose another file", file,
                           k->ckpt.place.path);
    return WF_OK;
}
