/* delta_plan.h - the second step of a merge with `task_deltas`: the finished model beside each
 * task, as a plan of its own.
 *
 *   first plan's shards --describe--> a checkpoint --+
 *   the recipe's models ------------------------------+--> jobs of method task_delta
 *
 * Every tensor of the result that weft computes with is a job, input 0 the result's own bytes,
 * inputs 1.. the tasks'. Nothing dense comes of it: a sink takes the shares (stream/sink.h). A
 * tensor that a task lacks, or has in another shape, is compared with itself in that task's place,
 * so that it counts among the elements and nothing of it is kept.
 */
#ifndef WF_DELTA_PLAN_H
#define WF_DELTA_PLAN_H

#include "plan.h"

struct wf_delta_task {
    const struct wf_ckpt *ckpt;
    const char *name; /* of the task */
    uint32_t input;   /* of the jobs: 1.. */
    uint64_t bytes;   /* of its tensors, as they are stored */
    /* Tensors that the delta cannot speak of, and the first of them. */
    size_t n_missing; /* in the result, not in the task */
    const char *missing;
    size_t n_reshaped; /* in both, in different shapes, or of a type that weft only copies */
    const char *reshaped;
    size_t n_extra; /* in the task, not in the result */
    const char *extra;
};

struct wf_delta_plan {
    struct wf_plan plan;
    struct wf_ckpt shared; /* the result: its files' paths and ids are set once they are there */
    struct wf_delta_task *tasks;
    size_t n_tasks;
    uint64_t count;      /* elements that densities are of, in each task */
    uint64_t most_bytes; /* an upper bound of the deltas' bytes, all together */
};

/* `first` is the merge's plan and outlives this one, as do base (NULL if there is none) and models,
 * in recipe order. The models' own names in `out` are the recipe's. No I/O. */
int wf_delta_plan_build(struct wf_err *e, const struct wf_plan *first, const struct wf_ckpt *base,
                        const struct wf_ckpt *const *models, uint64_t sink_bytes,
                        struct wf_delta_plan *out);
void wf_delta_plan_destroy(struct wf_delta_plan *d);

/* The share of `count` elements that is kept at most. */
uint64_t wf_delta_plan_kept(const struct wf_task_deltas *deltas, uint64_t count);

#endif
