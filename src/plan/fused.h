/* fused.h - a stage of a recipe that is never written: its tensors are computed from the stage's
 * own inputs whenever the merge behind it reads them.
 *
 *   files of the stage's inputs --> the stage's method --> [ bytes of its stored type ] --> slot
 *
 * What lands in the slot is what a file of the stage would hold, rounded to its stored type, so
 * whoever reads the slot cannot tell. That takes a stage each of whose elements depends on the same
 * element of its inputs alone.
 */
#ifndef WF_FUSED_H
#define WF_FUSED_H

#include "../backend/scratch.h"
#include "plan.h"

/* One tensor of such a stage: wf_tensor.fused. Its `file` and `offset` are 0. */
struct wf_fused {
    const struct wf_plan *plan; /* of the stage */
    const struct wf_job *job;
    /* [checkpoint of the stage's plan][file]: the number of that file in the checkpoint that has
     * the tensor, or that this is laid over */
    const uint32_t *const *files;
};

/* The numbers that are computed at a time: those of a reader thread's buffers. */
struct wf_fused_need {
    uint64_t buffer_bytes; /* for the inputs of `chunk` elements, of stages within stages too */
    struct wf_need scratch;
    uint32_t chunk; /* elements; 0: the plan reads nothing that is computed */
};

/* True if every tensor of the plan can be computed element by element from files or from other
 * stages that are. */
bool wf_fused_suits(const struct wf_plan *plan);

/* The result of `plan` as a checkpoint that is computed: its files, those of the plan's inputs,
 * each once, and its tensors, sorted by name. The plan must outlive it; all else is in `a`. */
int wf_fused_ckpt(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                  struct wf_ckpt *c);

/* What is read from files for `bytes` of the tensor as it is stored; those themselves if it is in a
 * file. */
uint64_t wf_fused_read_bytes(const struct wf_tensor *t, uint64_t bytes);

/* Of one reader, for runs of `chunk` elements; chunk 0 in the result if nothing is computed. */
struct wf_fused_need wf_fused_needs(const struct wf_plan *plan, uint32_t chunk);

/* Bytes of one buffer: of input i of a stage's job, for `chunk` elements of its result. First those
 * for what is read, then, where something is added to that, for values. */
uint64_t wf_fused_stored_bytes(const struct wf_job *job, uint32_t i, uint32_t chunk);
uint64_t wf_fused_buffer_bytes(const struct wf_job *job, uint32_t i, uint32_t chunk);

#endif
