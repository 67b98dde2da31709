/* join_process.h - what joins this process with the other ranks: chosen and started once, kept from
 * merge to merge.
 *
 *   there is an MPI:  NCCL if all ranks have devices of their own and NCCL, its id carried by MPI;
 *                     else MPI
 *   there is none:    NCCL, its id in a file
 */
#ifndef WF_JOIN_PROCESS_H
#define WF_JOIN_PROCESS_H

#include "join_ranks.h"
#include "transport_thread.h"

#define WF_GATHER_ALIGN 16u /* a rank's piece of a gathering is a multiple */

struct wf_join_process {
    struct wf_transport_thread *thread; /* of what carries the data */
    size_t room;                        /* of its buffer */
    unsigned rank, ranks;
    uint64_t operations; /* meetings held so far: equal on all ranks */
};

/* How long to wait for the slowest rank (`meeting`), or for something that all ranks are at. */
struct wf_wait wf_join_wait(const struct wf_join_options *o, const char *doing, bool meeting);

/* The first call starts it; as wf_join_open. */
int wf_join_process_start(struct wf_err *e, const struct wf_join_options *o,
                          struct wf_join_process **out);

/* NULL: it was never started, or has ended. */
struct wf_join_process *wf_join_process(void);

/* `leave`: together with the other ranks, who do the same; otherwise without them. */
int wf_join_process_end(struct wf_err *e, const struct wf_join_options *o, bool leave);

#endif
