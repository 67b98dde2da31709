/* stream.h - carries every span of a plan through read, compute, hash and write.
 *
 *   feeder --> [slot] --> readers --> [slot] --> compute --> [slot] --> writers --> free
 *
 * A fixed ring of slots, all memory claimed at start. States of a slot, each reached only from the
 * one before it (ring.h): free, reading, ready, computing, done, hashing, writable, writing, free.
 * The first error stops intake; what is under way drains; finished blocks are kept for a resume.
 */
#ifndef WF_STREAM_H
#define WF_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../backend/device.h"
#include "../base/status.h"
#include "../format/infile.h"
#include "../plan/span.h"
#include "blocks.h"
#include "bound.h"
#include "journal.h"
#include "progress.h"
#include "sink.h"
#include "watch.h"

struct wf_join;

struct wf_stream_options {
    const struct wf_plan *plan;
    const struct wf_budget *budget;
    const struct wf_backend *backend;
    const struct wf_device_run *gpu; /* with wf_backend_device(); else NULL */
    const char *folder;              /* the output files are here (shards.h) */
    enum wf_io io;
    bool null_compute; /* benchmark: skip the arithmetic */
    struct wf_blocks *blocks;
    struct wf_journal *journal; /* NULL if only a sink takes what comes */
    const char *statistics; /* where those of model scope are kept and found again; NULL: nowhere */
    bool keeps_statistics;  /* this process writes that file; all may read it */
    struct wf_progress *progress;
    const struct wf_sink *sink; /* NULL: no shares are wanted */
    const struct wf_join *join; /* the ranks that have the model's other elements; NULL: none */
    const volatile int *stop;   /* set from a signal handler */
    struct wf_watch *watch;     /* its phase is set; NULL: nobody watches */
};

/* The stream writes nothing itself: its sink takes all. */
static inline bool wf_stream_sinks_only(const struct wf_stream_options *o)
{
    return o->sink && o->sink->only;
}

struct wf_stream_stats {
    uint64_t bytes_read, bytes_written; /* with `only` a sink: bytes of the tensors it has seen */
    uint64_t first_read_at_ns;          /* wf_now_ns() of the first read, 0 if there was none */
    struct wf_stream_times times;
};

/* Returns when everything is written, synced and journalled; or WF_STOPPED, or the first error,
 * with the finished blocks journalled. */
int wf_stream_run(struct wf_err *e, const struct wf_stream_options *options,
                  struct wf_stream_stats *stats);

#endif
