/* census.h - counts over the tensors of a checkpoint: per element type, per group of layers. */
#ifndef WF_CENSUS_H
#define WF_CENSUS_H

#include "../format/ckpt.h"

struct wf_census_type {
    enum wf_dtype dtype;
    uint64_t tensors, parameters, bytes;
};

/* The tensors whose names are PREFIX, a number, and more: "model.layers." with 0 to 31. */
struct wf_census_layers {
    const char *name; /* of one of its tensors; its first prefix_n bytes name the group */
    size_t prefix_n;  /* without the final '.' */
    long first, last;
    uint64_t layers; /* different numbers; fewer than last - first + 1 where some are missing */
    uint64_t tensors;
};

struct wf_census {
    uint64_t parameters, bytes;             /* of all tensors; parameters saturate at 2^64 - 1 */
    struct wf_census_type types[WF_DTYPES]; /* the n_types that occur, most bytes first */
    size_t n_types;
    struct wf_census_layers *layers; /* sorted by prefix */
    size_t n_layers;
};

/* Counts; what it returns lives in `a`. */
int wf_census_take(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *c,
                   struct wf_census *out);

#endif
