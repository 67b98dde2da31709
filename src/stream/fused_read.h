/* fused_read.h - reads tensors of stages that are computed on the way (plan/fused.h): their inputs
 * from files, run by run, through the stage's method, into the bytes that a file of the stage would
 * hold. Private to src/stream.
 */
#ifndef WF_FUSED_READ_H
#define WF_FUSED_READ_H

#include "ring.h"

/* Bytes [offset, offset + bytes) of a tensor of checkpoint `ckpt` to `to`. By the calling reader,
 * with its buffers; NaN, infinity and copies that differ are errors as in any merge. */
int wf_fused_read(struct wf_ring *r, const struct wf_maker *maker, const struct wf_read *read,
                  char *to);

int wf_makers_create(struct wf_ring *r);
void wf_makers_destroy(struct wf_ring *r);

#endif
