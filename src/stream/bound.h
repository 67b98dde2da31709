/* bound.h - what the threads of a stream did with their time, and what bound it.
 *
 * Every byte passes through a compute thread, so what these threads did, or waited for, says what
 * the stream as a whole waited for:
 *
 *   compute threads   | arithmetic, or devices | copies | checksums | wait for reads | for writes |
 * | readers           | reading                               | idle | writers           | writing
 * | idle                                                     |
 */
#ifndef WF_BOUND_H
#define WF_BOUND_H

#include <stdint.h>

/* Nanoseconds, summed over the threads of a kind. Times of several streams can be added. */
struct wf_stream_times {
    uint64_t readers_ns, compute_ns, writers_ns; /* from the start of the stream to its end */
    uint64_t read_ns, write_ns;                  /* of readers and writers */
    /* Of compute threads. The rest is waiting for each other: for the end of a step, for a turn. */
    uint64_t arithmetic_ns;
    uint64_t device_ns; /* waiting for copies to a GPU, from it, and for its kernels */
    uint64_t copy_ns;   /* out of the page cache (segment.c) */
    uint64_t hash_ns;
    uint64_t wait_read_ns, wait_write_ns;
};

enum wf_bound {
    WF_BOUND_NONE, /* nothing was streamed */
    WF_BOUND_READS,
    WF_BOUND_WRITES,
    WF_BOUND_COMPUTE, /* arithmetic and checksums */
    WF_BOUND_DEVICES,
    WF_BOUND_COPIES, /* of inputs in the page cache */
    WF_BOUND_SLOTS,  /* waiting for reads that nobody could begin: the ring is too small */
    WF_BOUND_TURNS,  /* each other: starting up, the ends of steps, what goes in order */
};

void wf_stream_times_add(struct wf_stream_times *sum, const struct wf_stream_times *t);

/* The largest part of the compute threads' time. */
enum wf_bound wf_bound_of(const struct wf_stream_times *t);
/* "storage reads"; NULL for WF_BOUND_NONE. */
const char *wf_bound_name(enum wf_bound bound);

#endif
