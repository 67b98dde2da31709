/* inspect_adapter.h - what `weft inspect` says about a PEFT adapter beside its tensors. */
#ifndef WF_INSPECT_ADAPTER_H
#define WF_INSPECT_ADAPTER_H

#include "../format/adapter.h"
#include "report.h"

struct wf_adapter_view {
    const struct wf_json *config;
    const char *refused; /* why weft would not merge it, or NULL: then `adapter` is there */
    struct wf_adapter adapter;
    uint64_t parameters;
};

/* Reads an adapter folder. A config that is no JSON is WF_INPUT. */
int wf_adapter_view_read(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                         struct wf_adapter_view *out);

/* The heading's lines; `label_width` is that of the heading. */
int wf_adapter_view_print(struct wf_err *e, struct wf_arena *a, const struct wf_adapter_view *v,
                          struct wf_report *r, size_t label_width);

#endif
