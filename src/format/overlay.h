/* overlay.h - a checkpoint that is another one with something on top: base + adapter, shared model
 * + task delta. Its table of tensors is the base's; tensors that the top changes have an addend, or
 * are the top's own (a module saved whole, a trained bias). Files are the base's, then the top's,
 * so that whoever opens files sees all of them.
 */
#ifndef WF_OVERLAY_H
#define WF_OVERLAY_H

#include "adapter.h"
#include "ckpt.h"

/* `where` ("recipe.yaml:7", or a command's name) begins messages. Every module of the adapter must
 * find its tensor in the base with fitting shape, else WF_USAGE, naming the first misses and how
 * many there are. *out lives in `a` and refers to base and adapter, which must outlive it. */
int wf_overlay_adapter(struct wf_err *e, struct wf_arena *a, const char *where,
                       const struct wf_ckpt *base, const struct wf_adapter *adapter,
                       struct wf_ckpt *out);

/* Does this module of a model with this config.json (NULL: none) store its weight [in, out], as
 * GPT-2's Conv1D does? */
bool wf_is_input_first(const struct wf_json *config, const char *path);

#endif
