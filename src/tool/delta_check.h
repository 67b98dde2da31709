/* delta_check.h - is a task delta sound, and does it fit a shared model? */
#ifndef WF_DELTA_CHECK_H
#define WF_DELTA_CHECK_H

#include "../format/ckpt.h"

/* Reads all positions of the delta. `shared` (NULL: not known) is the model that it is for. What is
 * wrong with the delta is WF_INPUT, whatever it is; *tensors gets how many it changes. */
int wf_delta_check_all(struct wf_err *e, const struct wf_ckpt *delta, const struct wf_ckpt *shared,
                       size_t *tensors);

#endif
