/* fused_read.h - reads tensors of stages that are computed on the way (plan/fused.h): their inputs
 * from files, run by run, through the stage's method, into the bytes that a file of the stage would
 * hold. Private to src/stream.
 */
#ifndef WF_FUSED_READ_H
#define WF_FUSED_READ_H

#include "ring.h"

/* A checkpoint that tensors are read of: one of the merge's own plan or, below that, of the plan of
 * a stage that is being computed. */
struct wf_owner {
    const struct wf_owner *up;    /* of the tensor that is being computed; NULL: the merge's own */
    uint32_t ckpt;                /* its number in that plan */
    const struct wf_fused *fused; /* the tensor of it that is computed; NULL: none is */
};

/* The ring's file for number `file` of that checkpoint. */
struct wf_infile *wf_owner_file(const struct wf_ring *r, const struct wf_owner *o, uint32_t file);

/* Bytes [offset, offset + bytes) of a tensor of checkpoint `ckpt` to `to`. By the calling reader,
 * with its buffers; NaN, infinity and copies that differ are errors as in any merge. */
int wf_fused_read(struct wf_ring *r, const struct wf_maker *maker, const struct wf_read *read,
                  char *to);

int wf_makers_create(struct wf_ring *r);
void wf_makers_destroy(struct wf_ring *r);

#endif
