/* extract_plan.h - which tensors of a fine-tune become factors, and how. */
#ifndef WF_EXTRACT_PLAN_H
#define WF_EXTRACT_PLAN_H

#include "extract.h"

enum wf_extract_role {
    WF_ROLE_FACTOR, /* outs x ins, as stored */
    WF_ROLE_SAVE,   /* put into the adapter if it moved */
    WF_ROLE_LOSE,   /* tell if it moved */
};

struct wf_extract_item {
    const struct wf_tensor *tensor, *base; /* base NULL: it has none of that name and shape */
    enum wf_extract_role role;
    enum wf_adapter_kind kind;
    const char *path;       /* FACTOR: of the module */
    bool turned;            /* FACTOR: stored [in, out], or a table: the product's transpose */
    uint32_t rows, columns; /* FACTOR: of the matrix as stored */
};

/* One item for each tensor of `model`, in the order of names. */
int wf_extract_plan(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *model,
                    const struct wf_ckpt *base, const struct wf_extract_options *options,
                    struct wf_extract_item **out);

/* target_modules for the factored weights whose flag in `kept` is set: the last part of their paths
 * where every weight that ends so is among them, whole paths elsewhere. Sorted, in the arena. */
int wf_extract_targets(struct wf_err *e, struct wf_arena *a, const struct wf_extract_item *items,
                       const bool *kept, size_t n, const char *const **out, size_t *n_out);

#endif
