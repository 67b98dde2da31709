/* output_inputs.c - what a merge reads, against the places that it writes, replaces or removes. */
#include "output.h"

#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "../base/file.h"
#include "../format/folder.h"
#include "../recipe/coefficients.h"
#include "territory.h"

/* What OUT would replace: its place, resolved; never the folder one is in. */
static int set_territory(struct wf_err *e, const struct wf_output *o, struct wf_territory *t)
{
    char here[PATH_MAX];
    if (!wf_territory_set(t, o->out, o->parent, o->staged))
        return wf_fail(e, WF_USAGE, "%s: the path cannot be resolved", o->out);
    if (o->overwrite && wf_exists(o->out) && realpath(".", here) && wf_path_within(here, t->out))
        return wf_fail(e, WF_USAGE, "--overwrite would remove the folder you are in: %s", o->out);
    return WF_OK;
}

/* Files of a model's folder that are links into the territory: side files, if nothing else. They
 * lie in the folder, or in one below it. */
static int find_links(struct wf_err *e, const struct wf_territory *t, const char *folder,
                      bool nested, bool *found)
{
    struct wf_arena a = {0};
    const char **names;
    size_t n = 0;
    int status = wf_folder_names(e, &a, folder, &names, &n);
    for (size_t i = 0; !status && i < n && !*found; i++) {
        const char *path = wf_path_join(&a, e, folder, names[i]);
        if (!path)
            status = WF_MACHINE;
        else if (wf_is_link(path))
            *found = wf_is_file(path) && wf_territory_holds(t, path);
        else if (!nested && wf_is_folder(path) && !access(path, R_OK | X_OK))
            status = find_links(e, t, path, true, found);
    }
    wf_arena_destroy(&a);
    return status;
}

static int look_at_place(struct wf_err *e, const struct wf_territory *t, const struct wf_place *p,
                         bool *touched)
{
    char resolved[PATH_MAX];
    const char *own = p->boundary ? p->boundary : p->path;
    *touched |= wf_territory_holds(t, p->path) ||
                (realpath(own, resolved) && wf_path_within(t->out, resolved));
    return !*touched && wf_is_folder(p->path) ? find_links(e, t, p->path, false, touched) : WF_OK;
}

/* A checkpoint's folder or any of its files, which may be links to elsewhere; the whole repository
 * folder for one of the Hub cache. Not what a stage makes: that goes to its place in OUT.stages. */
static int look_at_ckpt(struct wf_err *e, const struct wf_territory *t, const struct wf_ckpt *k,
                        bool *touched)
{
    int status = WF_OK;
    if (k->under) {
        status = look_at_ckpt(e, t, k->under, touched);
        return status || *touched ? status : look_at_ckpt(e, t, k->top, touched);
    }
    if (k->plan)
        return WF_OK;
    if (k->config_path)
        *touched |= wf_territory_holds(t, k->config_path);
    for (size_t f = 0; f < k->n_files && !*touched; f++)
        *touched = wf_territory_holds(t, k->files[f].path);
    return *touched ? WF_OK : look_at_place(e, t, &k->place, touched);
}

static int refuse_input(struct wf_err *e, const struct wf_output *o, const char *text)
{
    return wf_fail(e, WF_USAGE,
                   "OUT '%s' is, holds, or lies in the input '%s', or is made where that is; "
                   "choose another OUT",
                   o->out, text);
}

int wf_output_check_input(struct wf_err *e, const struct wf_output *o, const struct wf_ckpt *input,
                          const char *text)
{
    struct wf_territory t;
    bool touched = false;
    int s = set_territory(e, o, &t);
    if (!s)
        s = look_at_ckpt(e, &t, input, &touched);
    return touched ? refuse_input(e, o, text) : s;
}

int wf_output_check_place(struct wf_err *e, const struct wf_output *o, const struct wf_place *p)
{
    struct wf_territory t;
    bool touched = false;
    int s = set_territory(e, o, &t);
    if (!s)
        s = look_at_place(e, &t, p, &touched);
    return touched ? refuse_input(e, o, p->path) : s;
}

static int check_file(struct wf_err *e, const struct wf_output *o, const char *what,
                      const char *path)
{
    struct wf_territory t;
    int s = set_territory(e, o, &t);
    if (!s && wf_territory_holds(&t, path))
        s = wf_fail(e, WF_USAGE,
                    "%s '%s' lies in OUT, which is replaced, or where OUT is made; copy it to "
                    "another place first",
                    what, path);
    return s;
}

int wf_output_check_recipe(struct wf_err *e, const struct wf_output *o, const struct wf_recipe *r)
{
    int s = r->is_made ? WF_OK : check_file(e, o, "the recipe", r->path);
    if (!s && r->table)
        s = check_file(e, o, "the table of coefficients", r->table->path);
    return s;
}

int wf_output_check_inputs(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan)
{
    int s = WF_OK;
    for (size_t c = 0; !s && c < plan->n_ckpts; c++)
        s = wf_output_check_input(e, o, plan->ckpts[c].ckpt, plan->ckpts[c].text);
    return s ? s : wf_output_check_recipe(e, o, plan->recipe);
}
