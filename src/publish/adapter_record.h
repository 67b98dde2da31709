/* adapter_record.h - weft_manifest.json of an OUT that holds adapters: at its top (extract-lora,
 * compress-lora), or one in each sub-folder (byom_lora).
 *
 * "tensors" has every tensor of every adapter, called FOLDER/NAME where there are folders.
 */
#ifndef WF_ADAPTER_RECORD_H
#define WF_ADAPTER_RECORD_H

#include "../../include/weft.h"
#include "output.h"

struct wf_adapter_record {
    struct wf_plan plan; /* recipe, command and ckpts as given, and the hash of it all: no jobs */
    const char *const *folders; /* in OUT, NULL-terminated; NULL: the adapter is OUT itself */
    const char *const *small;   /* files at OUT's top besides the adapter's own, NULL-terminated */
    const volatile int *stop;
};

/* Completes r->plan, whose recipe, command, ckpts and n_ckpts are set, with all that a manifest and
 * --resume need. What it adds is in `a`, which outlives *r. */
int wf_adapter_record_plan(struct wf_err *e, struct wf_arena *a, const struct weft_options *options,
                           struct wf_adapter_record *r);

/* The same of a command, whose options are the JSON object `text`: it stands for the recipe.
 * `ckpts` and `command` outlive *r. */
int wf_adapter_record_command(struct wf_err *e, struct wf_arena *a,
                              const struct weft_options *options, const char *command,
                              const struct wf_str *text, struct wf_plan_ckpt *ckpts, size_t n,
                              struct wf_adapter_record *r);

/* Everything else is in `partial`, synced: reads it once and writes the manifest. */
int wf_adapter_record_write(struct wf_err *e, const struct weft_options *options,
                            const char *partial, const struct wf_adapter_record *r);

#endif
