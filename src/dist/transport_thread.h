/* transport_thread.h - a thread that makes all calls of a transport, so that every wait for it has
 * a limit.
 *
 *     caller                               thread
 *       |--- an operation, its buffer --->   begins it, tests, naps, tests ...
 *       |  looks at the clock and at
 *       |  the other ranks, every 0.2 s
 *       |<-- done, or failed ------------
 *
 * Starting and finishing an MPI may block for ever when a rank is missing; here that costs a
 * thread. Once a wait has failed, the transport is broken for good: the thread is told to give up,
 * and left behind with its buffers if it does not, since the library may still write to them.
 */
#ifndef WF_TRANSPORT_THREAD_H
#define WF_TRANSPORT_THREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/status.h"
#include "transport.h"

struct wf_transport_thread;

/* How long to wait, and for what. */
struct wf_wait {
    uint64_t limit_ms;
    /* Called while waiting: WF_OK, or a status with *e filled, for a rank that failed or a signal.
     * NULL: never. */
    int (*check)(void *arg, struct wf_err *e);
    void *arg;
    const char *doing; /* "no answer from the other ranks while <doing>" */
};

/* Starts the thread, with room for operations of `room` bytes. */
int wf_transport_open(struct wf_err *e, const struct wf_transport *t, size_t room,
                      struct wf_transport_thread **out);

/* A buffer for the operations, of `room` bytes: it is the thread's, so that it can outlive a caller
 * that gives up. Aligned for anything. */
void *wf_transport_buffer(struct wf_transport_thread *t);

/* Each waits until the operation is done. WF_MACHINE where it fails or the limit passes; after any
 * failure the transport is broken and every later call fails. */
int wf_transport_start(struct wf_err *e, struct wf_transport_thread *t, const struct wf_wait *wait,
                       uint32_t *rank, uint32_t *ranks);
/* The first n 64-bit words of the buffer become the sums. */
int wf_transport_sum(struct wf_err *e, struct wf_transport_thread *t, const struct wf_wait *wait,
                     size_t n);
/* buffer[0 .. bytes) of each rank arrives at buffer[bytes * (1 + rank)]. */
int wf_transport_gather(struct wf_err *e, struct wf_transport_thread *t, const struct wf_wait *wait,
                        size_t bytes);
int wf_transport_finish(struct wf_err *e, struct wf_transport_thread *t,
                        const struct wf_wait *wait);

bool wf_transport_is_broken(const struct wf_transport_thread *t);

/* Ends the thread; one that does not listen is left behind. Accepts NULL. */
void wf_transport_close(struct wf_transport_thread *t);

#endif
