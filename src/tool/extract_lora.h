/* extract_lora.h - `weft extract-lora MODEL OUT --base BASE`. */
#ifndef WF_EXTRACT_LORA_H
#define WF_EXTRACT_LORA_H

#include "../../include/weft.h"
#include "../base/status.h"

/* Publishes the folder OUT with an adapter, and prints what it keeps of each tensor. `stop` is
 * polled: WF_STOPPED, and nothing is left behind. With JSON also, for a tensor without factors that
 * moved:
 *   {"kind":"other","name":S,"fate":"saved"|"lost","moved":N}
 * where `moved` is the Frobenius norm of the difference, null where that is none. */
int wf_extract_lora_run(struct wf_err *e, const struct weft_options *o, const char *model,
                        const char *out, const struct weft_extract *how, const volatile int *stop);

#endif
