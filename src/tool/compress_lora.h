/* compress_lora.h - `weft compress-lora ADAPTER OUT --rank Q`. */
#ifndef WF_COMPRESS_LORA_H
#define WF_COMPRESS_LORA_H

#include "../../include/weft.h"
#include "../base/status.h"

/* Publishes the folder OUT with an adapter of rank `rank` or less, and prints what each module
 * keeps. `stop` is polled: WF_STOPPED, and nothing is left behind. */
int wf_compress_lora_run(struct wf_err *e, const struct weft_options *o, const char *adapter,
                         const char *out, unsigned rank, const volatile int *stop);

#endif
