/* overlay_delta.c - a shared model and a task delta as one checkpoint. */
#include "overlay_delta.h"

#include <string.h>

#include "delta_file.h"

struct laying {
    struct wf_err *e;
    struct wf_arena *a;
    const char *where;
    double scale;
    struct wf_ckpt *out;
    uint32_t first_file; /* where the delta's begin */
};

static int join_files(struct laying *l, const struct wf_ckpt *delta)
{
    struct wf_ckpt *c = l->out;
    struct wf_ckpt_file *files =
        wf_arena_alloc(l->a, l->e, c->n_files + delta->n_files, sizeof *files);
    struct wf_tensor *tensors = wf_arena_alloc(l->a, l->e, c->n_tensors, sizeof *tensors);
    if (!files || !tensors)
        return wf_err_status(l->e);
    memcpy(files, c->files, c->n_files * sizeof *files);
    memcpy(files + c->n_files, delta->files, delta->n_files * sizeof *files);
    if (c->n_tensors)
        memcpy(tensors, c->tensors, c->n_tensors * sizeof *tensors);
    l->first_file = (uint32_t)c->n_files;
    c->files = files;
    c->n_files += delta->n_files;
    c->tensors = tensors;
    return WF_OK;
}

/* The tensor as it counts in the overlay. */
static const struct wf_tensor *moved(struct laying *l, const struct wf_tensor *t)
{
    struct wf_tensor *copy = wf_arena_alloc(l->a, l->e, 1, sizeof *copy);
    if (copy) {
        *copy = *t;
        copy->file += l->first_file;
    }
    return copy;
}

/* The tensor's chain is copied, as the shared model keeps its own. */
static int append(struct laying *l, struct wf_tensor *t, const struct wf_addend *last)
{
    struct wf_addend **link = &t->addend;
    const struct wf_addend *from = t->addend;
    for (;; link = &(*link)->next) {
        const struct wf_addend *next = from ? from : last;
        *link = wf_arena_alloc(l->a, l->e, 1, sizeof **link);
        if (!*link)
            return wf_err_status(l->e);
        **link = *next;
        (*link)->next = NULL;
        if (!from)
            return WF_OK;
        from = from->next;
    }
}

static int lay_part(struct laying *l, const struct wf_delta *d, const struct wf_delta_part *part)
{
    struct wf_tensor *t = (struct wf_tensor *)wf_ckpt_find(l->out, part->name);
    if (!t)
        return wf_fail(l->e, WF_USAGE, "%s: %s: tensor '%s' is not in %s", l->where, part->path,
                       part->name, l->out->place.path);
    struct wf_delta_part *own = wf_arena_alloc(l->a, l->e, 1, sizeof *own);
    if (!own)
        return wf_err_status(l->e);
    *own = *part;
    own->positions = moved(l, part->positions);
    own->values = moved(l, part->values);
    if (!own->positions || !own->values)
        return wf_err_status(l->e);
    struct wf_addend addend = {.kind = WF_ADDEND_SPARSE,
                               .scale = l->scale,
                               .part = own,
                               .replace = d->store == WF_DELTA_REPLACE};
    int s = wf_delta_bind(l->e, l->where, own, t);
    return s ? s : append(l, t, &addend);
}

int wf_overlay_delta(struct wf_err *e, struct wf_arena *a, const char *where,
                     const struct wf_ckpt *shared, const struct wf_ckpt *delta, double scale,
                     struct wf_ckpt *out)
{
    struct wf_delta d;
    struct laying l = {.e = e, .a = a, .where = where, .scale = scale, .out = out};
    *out = *shared;
    out->under = shared;
    out->top = delta;
    int s = wf_delta_open(e, a, delta, &d);
    if (!s)
        s = join_files(&l, delta);
    for (size_t i = 0; !s && i < d.n_parts; i++)
        s = lay_part(&l, &d, &d.parts[i]);
    return s;
}
