/* census.h - counts over the tensors of a checkpoint: per element type, per stack of layers. */
#ifndef WF_CENSUS_H
#define WF_CENSUS_H

#include "../format/ckpt.h"
#include "../format/layers.h"

struct wf_census_type {
    enum wf_dtype dtype;
    uint64_t tensors, parameters, bytes;
};

struct wf_census {
    uint64_t parameters, bytes;             /* of all tensors; parameters saturate at 2^64 - 1 */
    struct wf_census_type types[WF_DTYPES]; /* the n_types that occur, most bytes first */
    size_t n_types;
    struct wf_stacks stacks;
};

/* Counts; what it returns lives in `a`. */
int wf_census_take(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *c,
                   struct wf_census *out);

#endif
