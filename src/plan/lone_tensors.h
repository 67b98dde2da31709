/* lone_tensors.h - tensors that one layer of a stack alone has, and that a model is built to look
 * for there: T5 keeps the biases of relative positions of all its blocks in the first. A recipe
 * that moves or drops that layer makes a model whose loader finds the tensor missing, or where it
 * is not read.
 */
#ifndef WF_LONE_TENSORS_H
#define WF_LONE_TENSORS_H

#include "../format/layers.h"
#include "plan.h"

/* Warns once for each checkpoint of the plan of which this is so; `stacks` is by checkpoint. The
 * jobs need not be in order. */
int wf_lone_tensors_warn(struct wf_err *e, const struct wf_plan *plan,
                         const struct wf_stacks *stacks);

#endif
