/* overlay_delta.h - a checkpoint that is a shared model with a task delta on top: its tensors are
 * the shared model's, with an addend where the delta changes them; its files the shared model's,
 * then the delta's.
 */
#ifndef WF_OVERLAY_DELTA_H
#define WF_OVERLAY_DELTA_H

#include "ckpt.h"

/* `where` ("recipe.yaml:7", or a command's name) begins messages. Every tensor of the delta must be
 * in `shared`, with its type and shape, else WF_USAGE; damage is WF_INPUT. `scale` multiplies what
 * `store: add` holds; it means nothing to `store: replace`. `shared` may be an overlay itself: what
 * it adds comes first. *out lives in `a` and refers to both, which must outlive it. */
int wf_overlay_delta(struct wf_err *e, struct wf_arena *a, const char *where,
                     const struct wf_ckpt *shared, const struct wf_ckpt *delta, double scale,
                     struct wf_ckpt *out);

#endif
