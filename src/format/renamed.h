/* renamed.h - a checkpoint whose tensors have a module's name in front, or lack it, where another
 * checkpoint of the same model does not: a model saved with its head, and the same saved without.
 *
 *     transformer.h.0.ln_1.weight   <->   h.0.ln_1.weight
 */
#ifndef WF_RENAMED_H
#define WF_RENAMED_H

#include "ckpt.h"

/* What stands in front of all names of one of two checkpoints, heads aside. */
struct wf_prefix {
    const char *text; /* ends with '.' at text[n - 1] */
    size_t n;
    bool lacks; /* the first checkpoint lacks it; else the second one does */
};

/* True if every tensor of `c`, the head aside, is one of `like` once the prefix is put there, or
 * taken away, and the other way round. False also if they have the same names already. */
bool wf_prefix_find(const struct wf_ckpt *c, const struct wf_ckpt *like, struct wf_prefix *out);

/* The same checkpoint under the names that `like` has; all memory is in `a`. */
int wf_ckpt_rename(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *c,
                   const struct wf_ckpt *like, const struct wf_prefix *prefix, struct wf_ckpt *out);

#endif
