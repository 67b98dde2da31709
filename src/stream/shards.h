/* shards.h - the output files, made before the stream writes into them. */
#ifndef WF_SHARDS_H
#define WF_SHARDS_H

#include <stdbool.h>

#include "../base/status.h"
#include "../plan/plan.h"

/* Makes every shard of the plan in `folder`, at its final size and with its header; `there`: an
 * earlier run has made them, and only the headers are written again, since it may have died in
 * between. Of several ranks one does so, before the others begin. */
int wf_shards_make(struct wf_err *e, const struct wf_plan *plan, const char *folder, bool there);

#endif
