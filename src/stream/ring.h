/* ring.h - the slots of a stream and the lock around them; private to src/stream. */
#ifndef WF_RING_H
#define WF_RING_H

#include <pthread.h>

#include "stream.h"
#include "../format/outfile.h"

enum wf_slot_state {
    WF_SLOT_FREE,
    WF_SLOT_READING, /* readers fetch its inputs, one read each */
    WF_SLOT_READY,   /* all inputs are there */
    WF_SLOT_COMPUTING,
    WF_SLOT_DONE, /* computed, waits for its turn in the block's checksum */
    WF_SLOT_HASHING,
    WF_SLOT_WRITABLE,
    WF_SLOT_WRITING,
    WF_SLOT_STATES
};

struct wf_slot {
    enum wf_slot_state state;
    uint64_t sequence; /* order of the spans: who is served first */
    struct wf_span span;
    uint32_t next_read, reads_done; /* those between are under way */
    bool late; /* inputs are in the page cache: compute threads fetch them (segment.c) */
    char *in, *out;
};

/* Everything the threads of one run share. */
struct wf_ring {
    const struct wf_stream_options *options;
    struct wf_err *e;
    pthread_mutex_t lock;                   /* slots, blocks, counters */
    pthread_cond_t changed[WF_SLOT_STATES]; /* a slot may have entered this state */
    pthread_cond_t feed;   /* a slot is free, or the readers have caught up: the feeder may go on */
    pthread_cond_t commit; /* it is time to close; the committer else looks by the clock */
    struct wf_slot *slots;
    uint32_t n_slots;
    void *pages; /* all buffers */
    size_t pages_bytes;
    struct wf_infile **inputs;  /* [checkpoint][file] */
    struct wf_outfile *outputs; /* one per shard */
    bool closing;               /* no more spans: threads leave when idle */
    bool abandon;               /* error or stop: drop what has not been started */
    bool committed;             /* the committer may leave */
    struct wf_stream_stats stats;
};

/* Creates buffers, tables and files; wf_ring_destroy accepts a half-made ring. */
int wf_ring_create(struct wf_err *e, const struct wf_stream_options *options, struct wf_ring *r);
void wf_ring_destroy(struct wf_ring *r);

/* Under the lock. The slot with the lowest sequence in `state`, or NULL. */
struct wf_slot *wf_ring_first(struct wf_ring *r, enum wf_slot_state state);
/* Under the lock. Moves a slot; a transition that the diagram does not have is our bug and ends the
 * program. Wakes whoever waits for the new state. */
void wf_ring_move(struct wf_ring *r, struct wf_slot *slot, enum wf_slot_state from,
                  enum wf_slot_state to);
/* Under the lock. After an error or a stop: frees slots nobody works on. */
void wf_ring_drop_idle(struct wf_ring *r);
/* Takes the lock and starts abandoning. */
void wf_ring_abandon(struct wf_ring *r);

/* segment.c: computes one segment of a slot to `out`; place[i] is where input i lies. */
int wf_segment_run(struct wf_ring *r, const struct wf_slot *slot, const struct wf_segment *g,
                   const uint64_t *place, char *out);

/* Thread bodies; arg is the ring. */
void *wf_reader_run(void *ring);
void *wf_compute_run(void *ring);
void *wf_writer_run(void *ring);
void *wf_committer_run(void *ring);

#endif
