/* byom.h - the method byom_lora: adapters in, one adapter of lower rank out for each
 * (arXiv 2310.01886).
 *
 *   OUT/<task>/adapter_config.json, adapter_model.safetensors, README.md (what each module keeps)
 *   OUT/README.md, weft_recipe.yaml, weft_manifest.json
 */
#ifndef WF_BYOM_H
#define WF_BYOM_H

#include "../../include/weft.h"
#include "../format/adapter.h"
#include "merge.h"
#include "../stream/watch.h"

struct wf_byom_task {
    const char *name, *text; /* `text`: the reference in the recipe */
    struct wf_adapter adapter;
    uint32_t rank_in; /* the largest of its modules */
    uint32_t rank;    /* of the result */
};

struct wf_byom {
    struct wf_byom_task *tasks; /* in recipe order */
    size_t n;
};

struct wf_byom_result {
    bool already_done; /* --resume found OUT finished */
    uint64_t modules, bytes_read, bytes_written;
};

/* Opens the adapters that s->recipe names; reads headers only. In the setup's arena. */
int wf_byom_open(struct wf_err *e, struct wf_setup *s, struct wf_byom *out);

/* Publishes OUT. A stopped run leaves nothing behind: --resume starts over, unless OUT is the
 * result of this very recipe. With a `trace_file` (or NULL) the watch gets a trace, which the
 * caller closes. */
int wf_byom_run(struct wf_err *e, const struct weft_options *options, struct wf_setup *s,
                const char *out, const volatile int *stop, const char *trace_file,
                struct wf_watch *watch, struct wf_byom_result *result);

#endif
