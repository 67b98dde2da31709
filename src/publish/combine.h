/* combine.h - `weft combine`: a model from the components of a merge (components.h) and a factor
 * for each task, in one pass over the base.
 *
 *   W = base + sum_i factor_i g_i      in the tasks' order of that merge, with its arithmetic: the
 *                                      merge's own factors give the merge's bytes
 */
#ifndef WF_COMBINE_H
#define WF_COMBINE_H

#include "../../include/weft.h"
#include "../base/status.h"

/* `weights` are n texts "TASK=FACTOR"; every task needs one. `base` NULL: where the components'
 * manifest says it is. Otherwise as wf_merge_run. */
int wf_combine_run(struct wf_err *e, const struct weft_options *options, const char *components,
                   const char *base, const char *const *weights, size_t n, const char *out,
                   const volatile int *stop, struct weft_merge_result *result);

#endif
