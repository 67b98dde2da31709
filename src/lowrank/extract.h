/* extract.h - an adapter from a full fine-tune: the truncated singular value decomposition of each
 * weight's difference from the base.
 */
#ifndef WF_EXTRACT_H
#define WF_EXTRACT_H

#include "compress.h"
#include "factor_svd.h"

/* What became of a tensor that no factors were made for. */
enum wf_extract_fate {
    WF_EXTRACT_SAVED, /* it is in the adapter, whole */
    WF_EXTRACT_LOST,  /* it moved, and the adapter does not know */
};

struct wf_extract_options {
    struct wf_cut cut;          /* `whole` is set for each tensor */
    const char *const *include; /* globs of weights to factor, NULL-terminated; NULL: linear layers
                                   but embeddings and heads */
    const char *const *exclude;
    const char *const *save_whole; /* tensors to put into the adapter as they are, if they moved */
    const char *base_name;         /* for the config */
    unsigned threads;
    uint64_t memory_bytes;
    const struct wf_linalg_device *device; /* that computes; NULL: the processor */
    const volatile int *stop;              /* polled between tensors; NULL: never */
    /* For each weight that was factored, and each other tensor that moved, in the order of names;
     * by one thread at a time. */
    void (*row)(void *arg, const struct wf_lowrank_row *row);
    void (*other)(void *arg, const struct wf_tensor *t, enum wf_extract_fate fate, double moved);
    void *arg;
};

/* Floating point operations that it takes at most, about, in matrices that are large enough for a
 * device. */
double wf_extract_work(const struct wf_ckpt *model, const struct wf_cut *cut);

/* Writes adapter_model.safetensors and adapter_config.json into `folder`, which exists; synced.
 * total->whole is the squared norm of all that moved. Tensors that the models do not share, and
 * that are neither excluded nor saved whole, are WF_USAGE. */
int wf_extract_adapter(struct wf_err *e, const struct wf_ckpt *model, const struct wf_ckpt *base,
                       const char *folder, const struct wf_extract_options *options,
                       struct wf_lowrank_row *total);

#endif
