/* stream.c - the feeder: starts the threads, hands out spans, watches for errors and signals. */
#include "stream.h"

#include <time.h>

#include "../base/clock.h"
#include "../base/mem.h"
#include "../base/thread.h"
#include "ring.h"

#define TICK_NS 50000000u
#define LATE_READ_MIN (64u << 10)
#define READS_AHEAD 2u /* reads queued per reader */

struct crew {
    pthread_t *threads;
    unsigned n;
    pthread_t committer;
    bool has_committer;
};

static int start_crew(struct wf_err *e, struct wf_ring *r, struct crew *crew)
{
    const struct wf_budget *b = r->options->budget;
    const struct {
        const char *name;
        void *(*run)(void *);
        unsigned n;
    } roles[] = {{"weft-read", wf_reader_run, b->readers},
                 {"weft-compute", wf_compute_run, b->compute},
                 {"weft-write", wf_writer_run, b->writers}};
    unsigned total = b->readers + b->compute + b->writers;
    crew->threads = wf_alloc(e, WF_MEM_META, total, sizeof *crew->threads, "threads");
    if (!crew->threads)
        return WF_MACHINE;
    int status = wf_thread_start(e, &crew->committer, "weft-commit", wf_committer_run, r);
    crew->has_committer = !status;
    for (int role = 0; role < 3; role++)
        for (unsigned i = 0; !status && i < roles[role].n; i++) {
            status =
                wf_thread_start(e, &crew->threads[crew->n], roles[role].name, roles[role].run, r);
            crew->n += !status;
        }
    return status;
}

static void stop_crew(struct wf_ring *r, struct crew *crew)
{
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    for (int i = 0; i < WF_SLOT_STATES; i++)
        pthread_cond_broadcast(&r->changed[i]);
    pthread_mutex_unlock(&r->lock);
    for (unsigned i = 0; i < crew->n; i++)
        pthread_join(crew->threads[i], NULL);
    pthread_mutex_lock(&r->lock);
    r->committed = true;
    pthread_cond_signal(&r->commit);
    pthread_mutex_unlock(&r->lock);
    if (crew->has_committer)
        pthread_join(crew->committer, NULL);
    wf_free(crew->threads);
}

/* Under the lock: waits until a slot is freed or a tick has passed; shows progress; notices errors
 * and signals. */
static void wait_a_little(struct wf_ring *r)
{
    uint64_t until = wf_now_ns() + TICK_NS;
    struct timespec t = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
    pthread_cond_timedwait(&r->feed, &r->lock, &t);
    struct wf_stream_stats now = r->stats;
    pthread_mutex_unlock(&r->lock);
    wf_progress_tick(r->options->progress, now.bytes_read, now.bytes_written);
    pthread_mutex_lock(&r->lock);
    if (*r->options->stop)
        r->abandon = true;
    if (r->abandon) /* at every tick: work that was under way ends in a state nobody waits for */
        wf_ring_drop_idle(r);
}

static bool all_free(const struct wf_ring *r)
{
    for (uint32_t i = 0; i < r->n_slots; i++)
        if (r->slots[i].state != WF_SLOT_FREE)
            return false;
    return true;
}

static uint64_t read_bytes(const struct wf_span *span)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < span->n_reads; i++)
        bytes += span->reads[i].bytes;
    return bytes;
}

/* True if every input of the span is a file in the page cache, in pieces worth a call each. */
static bool is_late(const struct wf_ring *r, const struct wf_span *span)
{
    uint64_t calls = 0;
    for (uint32_t i = 0; i < span->n_reads; i++)
        if (!r->inputs[span->reads[i].ckpt][span->reads[i].file].cached)
            return false;
    for (uint32_t s = 0; s < span->n_segments; s++)
        calls += span->segments[s].job->n_inputs;
    return read_bytes(span) >= LATE_READ_MIN * calls;
}

/* Under the lock: gives the slot the next span. False when there is none. */
static bool feed(struct wf_ring *r, struct wf_slot *slot, struct wf_span_walk *walk, uint64_t n)
{
    const struct wf_stream_options *o = r->options;
    if (!wf_span_next(o->plan, o->budget, walk, wf_blocks_is_done, o->blocks, &slot->span))
        return false;
    slot->sequence = n;
    slot->next_read = slot->reads_done = 0;
    slot->late = is_late(r, &slot->span);
    wf_ring_move(r, slot, WF_SLOT_FREE, WF_SLOT_READING);
    if (slot->late) {
        if (!r->stats.first_read_at_ns)
            r->stats.first_read_at_ns = wf_now_ns();
        r->stats.bytes_read += read_bytes(&slot->span);
        slot->next_read = slot->reads_done = slot->span.n_reads;
        wf_ring_move(r, slot, WF_SLOT_READING, WF_SLOT_READY);
    }
    return true;
}

/* Under the lock: the free slot used last, whose memory is the warmest; a run that needs few slots
 * touches few. NULL when there is none, or when the readers have enough before them. */
static struct wf_slot *next_free(struct wf_ring *r)
{
    struct wf_slot *last = NULL;
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < r->n_slots; i++) {
        struct wf_slot *s = &r->slots[i];
        if (s->state == WF_SLOT_FREE && (!last || s->sequence > last->sequence))
            last = s;
        if (s->state == WF_SLOT_READING)
            waiting += s->span.n_reads - s->reads_done;
    }
    return waiting < READS_AHEAD * r->options->budget->readers ? last : NULL;
}

static void feed_all(struct wf_ring *r)
{
    struct wf_span_walk walk = {0};
    pthread_mutex_lock(&r->lock);
    for (uint64_t n = 0; !r->abandon;) {
        struct wf_slot *slot = next_free(r);
        if (*r->options->stop || !slot)
            wait_a_little(r);
        else if (!feed(r, slot, &walk, n++))
            break;
    }
    while (!all_free(r))
        wait_a_little(r);
    pthread_mutex_unlock(&r->lock);
}

/* The inputs as they are now: a file that changed underway made a result of two halves. */
static int check_inputs(struct wf_err *e, struct wf_ring *r)
{
    const struct wf_plan *plan = r->options->plan;
    for (size_t c = 0; c < plan->n_ckpts; c++)
        for (size_t f = 0; f < plan->ckpts[c].ckpt->n_files; f++) {
            int status = wf_infile_check(e, &r->inputs[c][f]);
            if (status)
                return status;
        }
    return WF_OK;
}

static int sync_outputs(struct wf_err *e, struct wf_ring *r)
{
    for (size_t s = 0; s < r->options->plan->n_shards; s++) {
        int status = wf_outfile_sync(e, &r->outputs[s]);
        if (status)
            return status;
    }
    return WF_OK;
}

int wf_stream_run(struct wf_err *e, const struct wf_stream_options *options,
                  struct wf_stream_stats *stats)
{
    struct wf_ring ring;
    struct crew crew = {0};
    int status = wf_ring_create(e, options, &ring);
    if (!status) {
        wf_blocks_finish_empty(options->blocks);
        if (start_crew(e, &ring, &crew))
            wf_ring_abandon(&ring);
        feed_all(&ring);
        stop_crew(&ring, &crew);
        status = wf_err_status(e);
    }
    if (!status && *options->stop && ring.abandon)
        status = wf_fail(e, WF_STOPPED,
                         "stopped by a signal; the work so far is in %s: run the "
                         "same command with --resume to go on",
                         options->folder);
    if (!status)
        status = check_inputs(e, &ring);
    if (!status)
        status = sync_outputs(e, &ring);
    *stats = ring.stats;
    wf_ring_destroy(&ring);
    return status;
}
