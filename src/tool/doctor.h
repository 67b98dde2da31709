/* doctor.h - what was built in and what this machine gives: the page to put into a bug report. */
#ifndef WF_DOCTOR_H
#define WF_DOCTOR_H

#include "../../include/weft.h"
#include "../base/status.h"

/* Prints build, processor, memory, GPUs, limits and the rates of `folder` (NULL: the working
 * directory) to o->out, in less than five seconds and half a second for each GPU. A folder that is
 * not there is WF_USAGE; one that cannot be written is shown as such and is no failure. */
int wf_doctor_run(struct wf_err *e, const struct weft_options *o, const char *folder);

#endif
