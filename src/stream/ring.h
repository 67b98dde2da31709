/* ring.h - the slots of a stream and the lock around them; private to src/stream. */
#ifndef WF_RING_H
#define WF_RING_H

#include <pthread.h>

#include "stream.h"
#include "../format/outfile.h"

enum wf_slot_state {
    WF_SLOT_FREE,
    WF_SLOT_READING,   /* readers fetch its inputs, one read each */
    WF_SLOT_READY,     /* all inputs are there */
    WF_SLOT_COMPUTING, /* back to READY while statistics need it again; to FREE if they alone did */
    WF_SLOT_DONE,      /* computed, waits for its turn in the block's checksum */
    WF_SLOT_HASHING,
    WF_SLOT_WRITABLE,
    WF_SLOT_WRITING,
    WF_SLOT_STATES
};

/* The slots that a unit waits for: those of one tensor that is cut into several spans, or, for
 * stages of model scope, of all tensors. A unit goes from step to step; in each, every slot is
 * served once. Held slots stay in the ring from the first step to MAP; slots that only visit are
 * fed anew for every step (gather.c). */
struct wf_gather {
    struct wf_unit *unit;
    const struct wf_job *job; /* NULL: free, or the model's */
    uint32_t step;            /* steps that are over */
    const char *step_name;    /* of the model's present step, for whoever watches */
    uint32_t held;            /* slots that are served in every step */
    uint32_t unserved;        /* slots in the ring that this step has still to serve */
    uint32_t unmapped;        /* slots in the ring or to come that MAP has still to make */
    uint32_t next_piece;      /* a step that goes in order is here */
    bool fed;                 /* no more slots come for this step */
    bool done;                /* nothing is left but MAP */
};

struct wf_slot {
    enum wf_slot_state state;
    uint64_t sequence; /* order of the spans: who is served first */
    struct wf_span span;
    uint32_t next_read, reads_done; /* those between are under way */
    bool late;       /* inputs are in the page cache: compute threads fetch them (segment.c) */
    bool visits;     /* here for one step of statistics only */
    bool discarded;  /* its block is done, or another rank's: here for statistics, makes nothing */
    bool foreign;    /* another rank's, which shows it to the model's unit */
    bool made;       /* addends of its inputs are applied */
    uint32_t device; /* whose compute threads work on it */
    struct wf_gather *gather; /* of its tensor, NULL: none */
    uint32_t served[2];       /* steps it has served: of the model's gather, of its tensor's */
    char *in;
    char *out; /* from MAP until it is written; else NULL */
};

/* What a compute thread has of its own. */
struct wf_bench {
    struct wf_unit *unit; /* for tensors that lie in one span; NULL: not needed */
    void *scratch;
    char *fetched;        /* budget->fetch_bytes: a piece of cached inputs; or NULL */
    void *share;          /* WF_SINK_BYTES where there is a sink; or NULL */
    void *places;         /* to apply deltas: wf_plan_places_bytes(); NULL: there are none */
    void *rows;           /* to make rows: wf_plan_rows_bytes(); NULL: there are none */
    unsigned number;      /* of the thread, from 0 */
    struct wf_lane *lane; /* NULL: the CPU computes */
    uint32_t device;
    uint64_t *copy_ns;      /* the thread's own: spent on copies out of the page cache */
    struct wf_track *track; /* the thread's; NULL: nothing is recorded */
};

/* What a reader has of its own to compute stages with that nobody wrote (fused_read.c). */
struct wf_maker {
    void *scratch;
    char *buffers; /* of budget->fused.buffer_bytes */
};

/* Everything the threads of one run share. */
struct wf_ring {
    const struct wf_stream_options *options;
    struct wf_err *e;
    pthread_mutex_t lock;                   /* slots, gathers, blocks, counters */
    pthread_cond_t changed[WF_SLOT_STATES]; /* a slot may have entered this state */
    pthread_cond_t feed;   /* a slot is free, a step is over, or the readers have caught up */
    pthread_cond_t commit; /* it is time to close; the committer else looks by the clock */
    struct wf_slot *slots;
    uint32_t n_slots;
    void *pages; /* all buffers */
    size_t pages_bytes;
    char **outputs_free; /* a stack of output buffers */
    uint32_t n_outputs_free;
    struct wf_gather *gathers;     /* budget->gathers of them */
    struct wf_gather *model;       /* NULL: no stage has model scope */
    bool model_resident;           /* the ring holds all that is shown to it */
    struct wf_hash128 statistics;  /* the model's, as they are on disk */
    uint32_t *model_piece;         /* by job: the number of its first piece in the model's group */
    struct wf_bench *benches;      /* one for each compute thread */
    struct wf_lanes *lanes;        /* theirs, on devices; NULL: the CPU computes */
    uint32_t n_devices;            /* that slots are dealt to; 1 on the CPU */
    unsigned n_benches;            /* handed out so far */
    struct wf_maker *makers;       /* one for each reader; NULL: they only read */
    unsigned n_readers, n_writers; /* that have begun, for the names of their tracks */
    struct wf_infile **inputs;     /* [checkpoint][file] */
    struct wf_outfile *outputs;    /* one per shard */
    bool closing;                  /* no more spans: threads leave when idle */
    bool abandon;                  /* error or stop: drop what has not been started */
    bool committed;                /* the committer may leave */
    struct wf_remark *remarks;     /* [input of a job] */
    uint32_t n_remarks;
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
/* Where the byte span.begin of a slot's output is. */
static inline char *wf_slot_output(const struct wf_ring *r, const struct wf_slot *slot)
{
    return slot->out + slot->span.begin % r->options->budget->span_bytes;
}
/* The track of the calling thread. NULL: nothing is recorded. */
struct wf_track *wf_ring_track(const struct wf_ring *r, const char *name, unsigned number);
/* Records what a thread did with a slot: `what` in the trace, with the first tensor of its span. */
void wf_ring_record(struct wf_track *track, const struct wf_slot *slot, const char *what,
                    const char *category, uint64_t begin_ns, uint64_t end_ns);
/* Under the lock. After an error or a stop: frees slots nobody works on. */
void wf_ring_drop_idle(struct wf_ring *r);
/* Takes the lock and starts abandoning. */
void wf_ring_abandon(struct wf_ring *r);

/* segment.c: the segments of a slot. */

/* Makes the output of a slot. */
int wf_segments_map(struct wf_ring *r, const struct wf_slot *slot, const struct wf_bench *bench);
/* Shows the slot to a unit whose step is not MAP: the model's, or its tensor's. */
int wf_segments_serve(struct wf_ring *r, const struct wf_slot *slot, struct wf_gather *gather,
                      const struct wf_bench *bench);

/* gather.c: units, benches, and who is next. */

int wf_gathers_create(struct wf_ring *r);
void wf_gathers_destroy(struct wf_ring *r);
/* The number of the piece of g's group that byte `skip` of a job's output lies in; g NULL: of the
 * tensor's own. */
uint32_t wf_gather_piece(const struct wf_ring *r, const struct wf_gather *g,
                         const struct wf_job *job, uint64_t skip);
/* The unit of one tensor, ready for its first step. */
void wf_gather_begin_unit(const struct wf_ring *r, struct wf_unit *u, const struct wf_job *job);
/* Under the lock. The earliest slot of a device that something can be done with; *gather is who it
 * is to serve, NULL: it is to be made. */
struct wf_slot *wf_gather_next(struct wf_ring *r, uint32_t device, struct wf_gather **gather);
/* Under the lock, which is given up on the way. The slot has served; the last one ends the step. */
void wf_gather_served(struct wf_ring *r, struct wf_slot *slot, struct wf_gather *gather);
/* Under the lock. The slot's output is made, or there was none to make. */
void wf_gather_mapped(struct wf_ring *r, struct wf_slot *slot);
/* Under the lock. A free gather, for a tensor; NULL while all are busy. */
struct wf_gather *wf_gather_open(struct wf_ring *r, const struct wf_job *job);
/* Under the lock. A slot was fed that the gather's present step is to serve; held: and all others.
 */
void wf_gather_add(struct wf_gather *g, bool held);
/* Under the lock, which is given up on the way. No more slots come for this step. */
void wf_gather_fed(struct wf_ring *r, struct wf_gather *g);

/* remarks.c: warnings of methods about inputs (wf_method.remark). */

int wf_remarks_create(struct wf_ring *r);
void wf_remarks_destroy(struct wf_ring *r);
/* Under the lock. What a unit that is done found: a job's, or with NULL the model's. */
void wf_remarks_collect(struct wf_ring *r, const struct wf_unit *u, const struct wf_job *job);
/* Everything was mapped: one warning for each input that there is something to say about. */
void wf_remarks_report(const struct wf_ring *r);

/* feed.c: hands out spans until all are written. Takes the lock. */
void wf_feed_all(struct wf_ring *r);

/* Thread bodies; arg is the ring. */
void *wf_reader_run(void *ring);
void *wf_compute_run(void *ring);
void *wf_writer_run(void *ring);
void *wf_committer_run(void *ring);

#endif
