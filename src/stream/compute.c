/* compute.c - compute threads: statistics or the result of a slot's segments, then the checksum
 * while the result is still in the cache.
 */
#include "ring.h"
#include "source.h"

/* Under the lock: hashes every piece whose turn it is, this one or others that waited for it. */
static void hash_ready(struct wf_ring *r)
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
            wf_blocks_hash(b, p->shard, p->begin, p->end, wf_slot_output(r, s));
            pthread_mutex_lock(&r->lock);
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

/* Under the lock, which is given up for the arithmetic. */
static void work_on(struct wf_ring *r, struct wf_slot *slot, struct wf_gather *gather,
                    const struct wf_bench *bench)
{
    bool only = wf_stream_sinks_only(r->options);
    wf_ring_move(r, slot, WF_SLOT_READY, WF_SLOT_COMPUTING);
    if (!gather && !slot->discarded && !only)
        slot->out = r->outputs_free[--r->n_outputs_free];
    pthread_mutex_unlock(&r->lock);
    int status = serve_or_map(r, slot, gather, bench);
    if (status)
        wf_ring_abandon(r);
    pthread_mutex_lock(&r->lock);
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
        hash_ready(r);
}

void *wf_compute_run(void *ring)
{
    struct wf_ring *r = ring;
    pthread_mutex_lock(&r->lock);
    const struct wf_bench *bench = &r->benches[r->n_benches++];
    for (;;) {
        struct wf_gather *gather = NULL;
        struct wf_slot *slot = r->abandon ? NULL : wf_gather_next(r, bench->device, &gather);
        if (slot)
            work_on(r, slot, gather, bench);
        else if (r->closing)
            break;
        else
            pthread_cond_wait(&r->changed[WF_SLOT_READY], &r->lock);
        if (r->abandon)
            wf_ring_drop_idle(r);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}
