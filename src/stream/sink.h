/* sink.h - takes shares: what one model contributes to each element, beside or instead of the
 * merged tensor. Task deltas (which places of a task are kept) and the components of pcb are sinks.
 *
 * A method has, besides its MAP, a second element function that gives the share of one model; which
 * model it is stands in a number of args.g. The stream calls it for each model over pieces of at
 * most WF_SINK_PIECE elements, after all statistics of the tensor (and of the model) are known, and
 * hands what it gives to `take`.
 */
#ifndef WF_SINK_H
#define WF_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/status.h"
#include "../plan/plan.h"

#define WF_SINK_PIECE 32768u

struct wf_sink_piece {
    const struct wf_job *job;
    uint32_t model;        /* input of the job: 1..n_inputs - 1 (0 is the base) */
    uint64_t from, to;     /* elements of the job's tensor */
    const void *share;     /* to - from of float, or of double if the job is wide */
    const void *const *in; /* the job's inputs at element `from`, types in job->in_dtype */
};

struct wf_sink {
    const struct wf_method
        *method;  /* jobs of another method, and those that copy, have no shares */
    uint8_t map;  /* enum wf_map_id of the share */
    uint8_t slot; /* of args.g: set to the input's number */
    bool pairs;   /* a share follows from input 0 and its own: the function is given these two as
                     inputs 0 and 1, and costs the same for any number of models */
    bool only;    /* nothing dense is made or written: no output files, no journal, and blocks that
                     nobody marked */
    /* Called by many threads at once, for pieces in any order, each once; `thread` (0 .. compute
     * threads - 1) says whose buffers to use. Its status is the stream's, its error in `e`. */
    int (*take)(void *arg, struct wf_err *e, unsigned thread, const struct wf_sink_piece *piece);
    void *arg;
};

/* What each compute thread needs for shares, besides what `take` keeps for itself. */
#define WF_SINK_BYTES (WF_SINK_PIECE * sizeof(double))

#endif
