/* transport.h - what carries numbers between the ranks of a merge: MPI, or NCCL.
 *
 * A table of calls that begin something and return, and one that asks whether it is done, so that
 * whoever waits can look at the clock, and at the other ranks, in between. One operation is under
 * way at a time, and all ranks begin the same ones in the same order. All calls come from one
 * thread (transport_thread.h), which may be left behind in one that never returns.
 *
 * Every function that returns int returns 0, or fills *e. Nothing here ends the program, or prints.
 */
#ifndef WF_TRANSPORT_H
#define WF_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

struct wf_transport_err {
    int code;
    char text[256]; /* the call that failed, and the library's own words */
};

struct wf_transport {
    const char *name; /* for messages: "MPI" */
    void *self;       /* the first argument of each function */
    /* Begins to meet the other ranks; may block, for as long as one of them does not come. */
    int (*start)(void *self, struct wf_transport_err *e, uint32_t *rank, uint32_t *ranks);
    /* Begins: values[i] becomes the sum over ranks (modulo 2^64). n <= INT_MAX. */
    int (*sum)(void *self, struct wf_transport_err *e, uint64_t *values, size_t n);
    /* Begins: all[r * bytes ...) becomes `mine` of rank r; `bytes` is the same on all ranks.
     * bytes * ranks <= INT_MAX. */
    int (*gather)(void *self, struct wf_transport_err *e, const void *mine, size_t bytes,
                  void *all);
    /* Whether what was begun is done. */
    int (*test)(void *self, struct wf_transport_err *e, int *done);
    /* Takes leave of the other ranks, which do the same; may block. */
    int (*finish)(void *self, struct wf_transport_err *e);
    /* Gives up whatever is under way, without the others; NULL: there is nothing to do. */
    void (*abandon)(void *self);
};

#endif
