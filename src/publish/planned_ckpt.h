/* planned_ckpt.h - the checkpoint that a merge is going to make, known from its plan alone. */
#ifndef WF_PLANNED_CKPT_H
#define WF_PLANNED_CKPT_H

#include "../plan/plan.h"

/* What will be in `folder`, or would be if anybody wrote it, once the merge of `plan` is published
 * there: tensors, types, shapes, places, config. Until then its side files are `cars` and `texts`,
 * and nothing in the folder may be read. `number` tells it from others that are planned; `fused`:
 * its tensors are computed when they are read, and the folder is never made (plan/fused.h). The
 * plan must outlive it; all else is in `a`. */
int wf_planned_ckpt(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                    const char *folder, uint32_t number, bool fused, struct wf_ckpt *out);

#endif
