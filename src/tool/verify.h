/* verify.h - is this model whole: the rules of the format, and the manifest's checksums. */
#ifndef WF_VERIFY_H
#define WF_VERIFY_H

#include "../../include/weft.h"
#include "../base/status.h"

/* Prints one line per check and a summary to o->out. WF_OK if everything holds; WF_NO if something
 * is wrong, with the reasons in the printed FAILED lines and no error text. A model that is not
 * there is WF_USAGE. Without weft_manifest.json only the format is checked. */
int wf_verify_run(struct wf_err *e, const struct weft_options *o, const char *model);

#endif
