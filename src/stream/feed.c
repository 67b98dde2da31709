/* feed.c - the feeder: cuts the output into spans and hands them to free slots, in file order;
 * first, where statistics need elements before that, the spans that only visit. Watches for errors
 * and signals while it waits.
 *
 * Everything here runs under the ring's lock, which is given up while waiting.
 */
#include <time.h>

#include "../base/clock.h"
#include "../base/num.h"
#include "ring.h"

#define TICK_NS 50000000u
#define LATE_READ_MIN (64u << 10)

struct feeder {
    struct wf_ring *r;
    uint64_t sequence;
    struct wf_slot *open;     /* of visits: being filled with segments; NULL: none */
    struct wf_gather *gather; /* that visits serve */
};

/* Under the lock, which is given up: what has happened, for whoever watches. */
static void report(struct wf_ring *r, uint64_t waited_from)
{
    struct wf_stream_stats now = r->stats;
    const char *step = r->model && !r->model->done ? r->model->step_name : NULL;
    uint32_t number = step ? r->model->step + 1 : 0;
    pthread_mutex_unlock(&r->lock);
    wf_progress_tick(r->options->progress, now.bytes_read, now.bytes_written);
    if (r->options->watch) {
        uint64_t written = wf_stream_sinks_only(r->options) ? 0 : now.bytes_written;
        wf_watch_wait(r->options->watch, waited_from);
        wf_watch_stream(r->options->watch, now.bytes_read, written, number, step);
        r->options->progress->stage = wf_watch_stage(r->options->watch);
    }
    pthread_mutex_lock(&r->lock);
}

/* Under the lock: waits until a slot is freed or a tick has passed; shows progress; notices errors
 * and signals. */
static void wait_a_little(struct wf_ring *r)
{
    uint64_t begin = wf_now_ns(), until = begin + TICK_NS;
    struct timespec t = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
    pthread_cond_timedwait(&r->feed, &r->lock, &t);
    report(r, begin);
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

/* True if every input of the span is a file in the page cache, in pieces worth a call each. Devices
 * take their inputs from the slot. */
static bool is_late(const struct wf_ring *r, const struct wf_span *span)
{
    uint64_t calls = 0;
    if (r->lanes)
        return false;
    for (uint32_t i = 0; i < span->n_reads; i++)
        if (span->reads[i].tensor->fused ||
            !r->inputs[span->reads[i].ckpt][span->reads[i].tensor->file].cached)
            return false;
    for (uint32_t s = 0; s < span->n_segments; s++) {
        if (span->segments[s].job->has_addends) /* which are applied in the slot */
            return false;
        calls += span->segments[s].job->n_inputs;
    }
    return read_bytes(span) >= LATE_READ_MIN * calls;
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
    return waiting < WF_READS_AHEAD * r->options->budget->readers ? last : NULL;
}

/* The next free slot, with nothing in it; NULL: the run is being abandoned. */
static struct wf_slot *wait_for_slot(struct feeder *f)
{
    struct wf_slot *slot = NULL;
    while (!f->r->abandon) {
        slot = *f->r->options->stop ? NULL : next_free(f->r);
        if (slot)
            break;
        wait_a_little(f->r);
    }
    if (f->r->abandon)
        return NULL;
    slot->gather = NULL;
    slot->visits = slot->discarded = slot->foreign = slot->made = false;
    slot->served[0] = slot->served[1] = 0;
    return slot;
}

/* Sends a slot with its span on its way. */
static void submit(struct feeder *f, struct wf_slot *slot)
{
    struct wf_ring *r = f->r;
    slot->sequence = f->sequence++;
    slot->device = (uint32_t)(slot->sequence % r->n_devices);
    slot->next_read = slot->reads_done = 0;
    slot->late = is_late(r, &slot->span);
    if (r->model && !r->model->done && !slot->visits && !slot->foreign)
        wf_gather_add(r->model, true);
    wf_ring_move(r, slot, WF_SLOT_FREE, WF_SLOT_READING);
    if (slot->late) {
        if (!r->stats.first_read_at_ns)
            r->stats.first_read_at_ns = wf_now_ns();
        r->stats.bytes_read += read_bytes(&slot->span);
        slot->next_read = slot->reads_done = slot->span.n_reads;
        wf_ring_move(r, slot, WF_SLOT_READING, WF_SLOT_READY);
    }
}

/* ---- visits: one step of statistics over tensors that the ring does not hold ---- */

static void send_visit(struct feeder *f)
{
    struct wf_slot *slot = f->open;
    f->open = NULL;
    if (!slot || f->r->abandon)
        return;
    wf_span_close(&slot->span);
    slot->visits = true;
    slot->gather = f->gather == f->r->model ? NULL : f->gather;
    slot->served[0] = slot->served[1] = f->gather->step;
    wf_gather_add(f->gather, false);
    submit(f, slot);
}

static void visit_segment(struct feeder *f, const struct wf_segment *s)
{
    const struct wf_budget *b = f->r->options->budget;
    if (f->open && wf_span_add(b, &f->open->span, s))
        return;
    send_visit(f);
    f->open = wait_for_slot(f);
    if (!f->open)
        return;
    wf_span_begin(&f->open->span);
    wf_span_add(b, &f->open->span, s);
}

/* Whether another rank shows these elements to the model's unit. */
static bool has_foreign(const struct wf_ring *r, const struct wf_job *job, uint64_t skip)
{
    return wf_blocks_is_foreign(r->options->blocks, job->shard, job->offset + skip);
}

/* All that the gather's step wants of a job. */
static void visit_job(struct feeder *f, const struct wf_job *job)
{
    const struct wf_ring *r = f->r;
    const struct wf_budget *b = r->options->budget;
    uint64_t first = f->gather == r->model ? job->model_first : 0, width = job->bytes / job->count,
             end;
    for (uint64_t skip = 0; skip < job->bytes && !r->abandon; skip = end) {
        end = wf_job_cut(b, job, skip);
        if (f->gather == r->model && has_foreign(r, job, skip))
            continue;
        uint32_t piece = wf_gather_piece(r, f->gather, job, skip);
        for (uint64_t at = skip / width; at < end / width && !r->abandon;) {
            uint64_t from = first + at, to = first + end / width;
            if (!wf_unit_wants(f->gather->unit, piece, &from, &to))
                break;
            struct wf_segment s = {job, (from - first) * width, (to - from) * width};
            visit_segment(f, &s);
            at = to - first;
        }
        if (wf_unit_step(f->gather->unit) == WF_STEP_COLUMNS)
            send_visit(f); /* pieces go in order, one by one */
    }
}

/* Ends the present step of visits and waits for its conclusion. */
static void end_visits(struct feeder *f)
{
    send_visit(f);
    uint32_t step = f->gather->step;
    if (!f->r->abandon)
        wf_gather_fed(f->r, f->gather);
    while (!f->r->abandon && f->gather->step == step)
        wait_a_little(f->r);
}

static void visit_model(struct feeder *f)
{
    const struct wf_plan *plan = f->r->options->plan;
    f->gather = f->r->model;
    while (!f->r->abandon && !f->r->model->done) {
        for (size_t i = 0; i < plan->n_model_jobs && !f->r->abandon; i++)
            if (plan->model_jobs[i]->count)
                visit_job(f, plan->model_jobs[i]);
        end_visits(f);
    }
}

/* ---- tensors that are cut into several spans and gather statistics ---- */

/* What becomes of a slot whose output is not wanted here. */
static void mark_skipped(const struct wf_ring *r, struct wf_slot *slot)
{
    const struct wf_span *p = &slot->span;
    slot->discarded = wf_blocks_is_skipped(r->options->blocks, p->shard, p->begin);
    slot->foreign = wf_blocks_is_foreign(r->options->blocks, p->shard, p->begin);
}

static void count_undone(struct wf_ring *r, const struct wf_job *job, struct wf_gather *g)
{
    const struct wf_budget *b = r->options->budget;
    for (uint64_t skip = 0; skip < job->bytes;) {
        g->unmapped += !wf_blocks_is_skipped(r->options->blocks, job->shard, job->offset + skip);
        skip = wf_job_cut(b, job, skip);
    }
}

/* Feeds the spans whose output is wanted; with `held` all spans, those of finished blocks for their
 * part in the statistics. */
static void feed_pieces(struct feeder *f, const struct wf_job *job, struct wf_gather *g, bool held)
{
    struct wf_ring *r = f->r;
    for (uint64_t skip = 0; skip < job->bytes && !r->abandon;) {
        struct wf_slot *slot = wait_for_slot(f);
        if (!slot)
            return;
        wf_span_of_job(r->options->budget, job, skip, &slot->span);
        skip += slot->span.end - slot->span.begin;
        mark_skipped(r, slot);
        if (slot->discarded && !held)
            continue;
        slot->gather = g;
        if (held)
            wf_gather_add(g, true);
        submit(f, slot);
    }
}

static void feed_apart(struct feeder *f, const struct wf_job *job)
{
    struct wf_ring *r = f->r;
    struct wf_gather *g = NULL;
    while (!r->abandon && !(g = wf_gather_open(r, job)))
        wait_a_little(r);
    if (r->abandon)
        return;
    bool held = wf_budget_holds(r->options->budget, job);
    f->gather = g;
    while (!held && !r->abandon && !g->done) {
        visit_job(f, job);
        end_visits(f);
    }
    if (held)
        g->unmapped = wf_job_pieces(r->options->budget, job);
    else
        count_undone(r, job, g);
    feed_pieces(f, job, g, held);
    if (held && !r->abandon)
        wf_gather_fed(r, g);
}

/* ---- everything, in file order ---- */

/* Feeds the next span, or all spans of the next tensor that is apart. False when there is none. */
static bool feed_next(struct feeder *f, struct wf_span_walk *walk)
{
    struct wf_ring *r = f->r;
    const struct wf_stream_options *o = r->options;
    /* Finished blocks, too, are counted. */
    bool all = r->model && !r->model->done && r->model_resident;
    struct wf_slot *slot = wait_for_slot(f);
    if (!slot ||
        !wf_span_next(o->plan, o->budget, walk, all ? wf_blocks_skip_foreign : wf_blocks_skip,
                      o->blocks, &slot->span))
        return false;
    const struct wf_job *job = slot->span.segments[0].job;
    if (o->budget->apart.pieces && wf_job_is_apart(o->budget, job)) {
        feed_apart(f, job);
        walk->at = job->offset + job->bytes;
        return true;
    }
    mark_skipped(r, slot);
    submit(f, slot);
    return true;
}

/* An earlier run ended between the last block and the end. While other ranks have work, the model's
 * unit wants to see the finished blocks of this one, too. */
static bool has_nothing_to_do(const struct wf_ring *r)
{
    const struct wf_blocks *blocks = r->options->blocks;
    bool shows = r->options->join && r->model && !r->model->done;
    return wf_blocks_all_done(blocks) || (!shows && wf_blocks_mine_done(blocks));
}

/* No more slots come for the model's unit. Where the ring holds some, the last one that is served
 * ends each step; of a rank that has none to show, nobody else does. */
static void end_model(struct wf_ring *r)
{
    struct wf_gather *g = r->model;
    while (g && !r->abandon && !g->done) {
        wf_gather_fed(r, g);
        if (g->held)
            break;
    }
}

void wf_feed_all(struct wf_ring *r)
{
    struct feeder f = {.r = r};
    struct wf_span_walk walk = {0};
    if (has_nothing_to_do(r))
        return;
    pthread_mutex_lock(&r->lock);
    report(r, wf_now_ns());
    if (r->model && !r->model_resident)
        visit_model(&f);
    while (!r->abandon && feed_next(&f, &walk))
        continue;
    end_model(r);
    while (!all_free(r))
        wait_a_little(r);
    report(r, wf_now_ns()); /* the last bytes, too */
    pthread_mutex_unlock(&r->lock);
}
