/* apply.h - `weft apply`: one task's model from a shared model and what the task has on top of it.
 */
#ifndef WF_APPLY_H
#define WF_APPLY_H

#include "merge.h"

/* `top` names a task delta or a PEFT adapter. Runs and publishes as a merge does; the recipe that
 * OUT holds says the same. A delta that does not fit is WF_USAGE, a damaged one WF_INPUT. */
int wf_apply_run(struct wf_err *e, const struct weft_options *options, const char *shared,
                 const char *top, const char *out, const volatile int *stop,
                 struct weft_merge_result *result);

#endif
