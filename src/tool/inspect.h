/* inspect.h - what a checkpoint holds, from headers and configs alone: no tensor byte is read. */
#ifndef WF_INSPECT_H
#define WF_INSPECT_H

#include "../../include/weft.h"
#include "../base/status.h"

/* Prints a heading (where, kind, architecture, shards, totals, types, layers) and one row per
 * tensor to o->out, for a model folder, a single safetensors file, an adapter folder or a task
 * delta. A damaged file is WF_INPUT, a model that is not there WF_USAGE. */
int wf_inspect_run(struct wf_err *e, const struct weft_options *o, const char *model);

#endif
