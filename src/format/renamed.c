/* renamed.c - see renamed.h. */
#include "renamed.h"

#include <stdlib.h>
#include <string.h>

#include "../base/str.h"
#include "tied_head.h"

/* The first tensor that is no head; NULL if there is none. */
static const struct wf_tensor *first_of(const struct wf_ckpt *c)
{
    for (size_t i = 0; i < c->n_tensors; i++)
        if (!wf_is_head(c->tensors[i].name))
            return &c->tensors[i];
    return NULL;
}

static size_t n_heads(const struct wf_ckpt *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->n_tensors; i++)
        n += wf_is_head(c->tensors[i].name);
    return n;
}

/* Every name of `longer` is the prefix and a name of `shorter`; there are as many of one as of the
 * other, so it is so both ways. */
static bool is_between(const struct wf_ckpt *longer, const struct wf_ckpt *shorter,
                       const char *prefix, size_t n)
{
    if (longer->n_tensors - n_heads(longer) != shorter->n_tensors - n_heads(shorter))
        return false;
    for (size_t i = 0; i < longer->n_tensors; i++) {
        const char *name = longer->tensors[i].name;
        if (wf_is_head(name))
            continue;
        if (strncmp(name, prefix, n) != 0 || !wf_ckpt_find(shorter, name + n))
            return false;
    }
    return true;
}

static bool find(const struct wf_ckpt *longer, const struct wf_ckpt *shorter, const char **prefix,
                 size_t *n)
{
    const struct wf_tensor *any = first_of(shorter);
    if (!any || wf_ckpt_find(longer, any->name))
        return false;
    size_t rest = strlen(any->name);
    for (size_t i = 0; i < longer->n_tensors; i++) {
        const char *name = longer->tensors[i].name;
        size_t all = strlen(name);
        if (all <= rest + 1 || name[all - rest - 1] != '.' || !wf_ends_with(name, any->name))
            continue;
        *prefix = name;
        *n = all - rest;
        if (is_between(longer, shorter, *prefix, *n))
            return true;
    }
    return false;
}

bool wf_prefix_find(const struct wf_ckpt *c, const struct wf_ckpt *like, struct wf_prefix *out)
{
    out->lacks = find(like, c, &out->text, &out->n);
    return out->lacks || find(c, like, &out->text, &out->n);
}

/* A head keeps its name unless `like` has it under the other one. */
static int rename_one(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *like,
                      const struct wf_prefix *p, struct wf_tensor *t)
{
    const char *name = NULL;
    if (p->lacks)
        name = wf_arena_printf(a, e, "%.*s%s", (int)p->n, p->text, t->name);
    else
        name = strncmp(t->name, p->text, p->n) ? t->name : t->name + p->n;
    if (!name)
        return WF_MACHINE;
    if (!wf_is_head(t->name) || (!wf_ckpt_find(like, t->name) && wf_ckpt_find(like, name)))
        t->name = name;
    return WF_OK;
}

static int by_name(const void *left, const void *right)
{
    const struct wf_tensor *a = left, *b = right;
    return strcmp(a->name, b->name);
}

int wf_ckpt_rename(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *c,
                   const struct wf_ckpt *like, const struct wf_prefix *prefix, struct wf_ckpt *out)
{
    *out = *c;
    out->tensors = wf_arena_alloc(a, e, c->n_tensors, sizeof *out->tensors);
    if (!out->tensors)
        return WF_MACHINE;
    memcpy(out->tensors, c->tensors, c->n_tensors * sizeof *out->tensors);
    int status = WF_OK;
    for (size_t i = 0; i < c->n_tensors && !status; i++)
        status = rename_one(e, a, like, prefix, &out->tensors[i]);
    if (!status)
        qsort(out->tensors, out->n_tensors, sizeof *out->tensors, by_name);
    return status;
}
