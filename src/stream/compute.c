/* compute.c - compute threads: statistics or the result of a slot's segments, then the checksum
 * while the result is still in the cache.
 */
#include "../base/clock.h"
#include "ring.h"
#include "source.h"

/* Under the lock: hashes every piece whose turn it is, this one or others that waited for it. */
static void hash_ready(struct wf_ring *r, struct wf_track *track)
{
    struct wf_blocks *b = r->options->blocks;
    bool again = true;
    while (again && !r->abandon) {
        again = false;
        for (uint32_t i = 0; i < r->n_slots && !r->abandon; i++) {
            struct wf_slot *s = &r->slots[i];
            const struct wf_span *p = &s->span;
            if (s->state != WF_SLOT_DONE || !wf_blocks_claim(b, p->shard, p->begin))
                continue;
            wf_ring_move(r, s, WF_SLOT_DONE, WF_SLOT_HASHING);
            pthread_mutex_unlock(&r->lock);
            uint64_t begin = wf_now_ns();
            wf_blocks_hash(b, p->shard, p->begin, p->end, wf_slot_output(r, s));
            uint64_t end = wf_now_ns();
            wf_ring_record(track, s, "hash", "compute", begin, end);
            pthread_mutex_lock(&r->lock);
            r->stats.times.hash_ns += end - begin;
            wf_blocks_release(b, p->shard, p->begin, p->end);
            wf_ring_move(r, s, WF_SLOT_HASHING, WF_SLOT_WRITABLE);
            again = true;
        }
    }
}

static int serve_or_map(struct wf_ring *r, struct wf_slot *slot, struct wf_gather *gather,
                        const struct wf_bench *bench)
{
    int status = slot->made ? WF_OK : wf_sources_make(r, slot, bench);
    slot->made = true;
    if (!status && gather)
        return wf_segments_serve(r, slot, gather, bench);
    if (!status && !slot->discarded)
        return wf_segments_map(r, slot, bench);
    return status;
}

/* What the trace calls it. */
static const char *name_of(const struct wf_slot *slot, const struct wf_gather *gather)
{
    if (gather)
        return wf_step_name(wf_unit_step(gather->unit));
    return slot->span.segments[0].job->action == WF_ACTION_COPY ? "copy" : "map";
}

/* Under the lock: a slot was worked on. */
static void count_time(struct wf_ring *r, const struct wf_bench *bench, uint64_t ns)
{
    struct wf_stream_times *t = &r->stats.times;
    uint64_t device = bench->lane ? wf_lane_waited_ns(bench->lane) : 0;
    t->copy_ns += *bench->copy_ns;
    t->device_ns += device;
    t->arithmetic_ns += ns - *bench->copy_ns - device;
    *bench->copy_ns = 0;
}

/* Under the lock, which is given up for the arithmetic. */
static void work_on(struct wf_ring *r, struct wf_slot *slot, struct wf_gather *gather,
                    const struct wf_bench *bench)
{
    bool only = wf_stream_sinks_only(r->options);
    wf_ring_move(r, slot, WF_SLOT_READY, WF_SLOT_COMPUTING);
    if (!gather && !slot->discarded && !only)
        slot->out = r->outputs_free[--r->n_outputs_free];
    pthread_mutex_unlock(&r->lock);
    uint64_t begin = wf_now_ns();
    int status = serve_or_map(r, slot, gather, bench);
    uint64_t end = wf_now_ns();
    wf_ring_record(bench->track, slot, name_of(slot, gather), "compute", begin, end);
    if (status)
        wf_ring_abandon(r);
    pthread_mutex_lock(&r->lock);
    count_time(r, bench, end - begin);
    if (gather && !status) {
        wf_gather_served(r, slot, gather);
        return;
    }
    if (!gather)
        wf_gather_mapped(r, slot);
    bool nothing = status || slot->discarded || only;
    if (only && !status)
        r->stats.bytes_written += slot->span.end - slot->span.begin;
    wf_ring_move(r, slot, WF_SLOT_COMPUTING, nothing ? WF_SLOT_FREE : WF_SLOT_DONE);
    if (!nothing)
        hash_ready(r, bench->track);
}

/* Under the lock: what a thread waits for that finds nothing to do; NULL: for other threads. */
static uint64_t *waits_for(struct wf_ring *r)
{
    bool reading = false, writing = false;
    bool statistics = r->model && !r->model->done;
    for (uint32_t i = 0; i < r->n_slots; i++) {
        const struct wf_slot *s = &r->slots[i];
        bool mappable =
            s->state == WF_SLOT_READY && !statistics && !(s->gather && !s->gather->done);
        if (mappable && r->n_outputs_free <= 1 && !wf_stream_sinks_only(r->options))
            return &r->stats.times.wait_write_ns;
        reading |= s->state == WF_SLOT_READING;
        writing |= s->state == WF_SLOT_WRITABLE || s->state == WF_SLOT_WRITING;
    }
    if (reading)
        return &r->stats.times.wait_read_ns;
    return writing ? &r->stats.times.wait_write_ns : NULL;
}

#define WAIT_SHOWN_NS 100000u /* shorter ones would fill the trace */

/* Under the lock, which is given up: until there may be something to do. */
static void idle(struct wf_ring *r, const struct wf_bench *bench)
{
    uint64_t *sum = waits_for(r), begin = wf_now_ns();
    pthread_cond_wait(&r->changed[WF_SLOT_READY], &r->lock);
    uint64_t ns = wf_now_ns() - begin;
    if (sum)
        *sum += ns;
    if (bench->track && ns >= WAIT_SHOWN_NS)
        wf_trace_span(bench->track,
                      sum == &r->stats.times.wait_read_ns    ? "wait for reads"
                      : sum == &r->stats.times.wait_write_ns ? "wait for writes"
                                                             : "wait for others",
                      "wait", begin, begin + ns, NULL);
}

void *wf_compute_run(void *ring)
{
    struct wf_ring *r = ring;
    uint64_t copy_ns = 0;
    pthread_mutex_lock(&r->lock);
    struct wf_bench own = r->benches[r->n_benches++], *bench = &own;
    own.copy_ns = &copy_ns;
    own.track = wf_ring_track(r, "compute", own.number);
    if (own.lane)
        wf_lane_record(own.lane, own.track);
    for (;;) {
        struct wf_gather *gather = NULL;
        struct wf_slot *slot = r->abandon ? NULL : wf_gather_next(r, bench->device, &gather);
        if (slot)
            work_on(r, slot, gather, bench);
        else if (r->closing)
            break;
        else
            idle(r, bench);
        if (r->abandon)
            wf_ring_drop_idle(r);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}
