/* diff.h - two checkpoints, tensor by tensor: are the bytes equal, and how far apart are the
 * values.
 *
 * Both are opened by their headers and matched by name. Then values are read in blocks by several
 * threads; sums are joined in block order, so the numbers do not depend on threads or memory.
 *
 *   largest       max |b - a|
 *   relative L2   ||b - a|| / ||a||
 *   cosine        <a, b> / (||a|| ||b||), or of the deltas a - base and b - base with a base
 *
 * all in double, over the elements that are finite in both (the others are counted).
 */
#ifndef WF_DIFF_H
#define WF_DIFF_H

#include "../../include/weft.h"
#include "../base/status.h"

/* Prints one row per tensor and a summary to o->out. `base` may be NULL. WF_OK if every tensor is
 * in both with the same type, shape and bytes; WF_NO if not, without an error text. */
int wf_diff_run(struct wf_err *e, const struct weft_options *o, const char *a, const char *b,
                const char *base);

#endif
