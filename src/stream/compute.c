/* compute.c - compute threads: the segments of a span, then the checksum while the result is still
 * in the cache.
 */
#include "ring.h"

static int compute_span(struct wf_ring *r, struct wf_slot *slot)
{
    const uint64_t *place = slot->span.input_at;
    char *out = slot->out + slot->span.begin % r->options->budget->span_bytes;
    int status = WF_OK;
    for (uint32_t s = 0; !status && s < slot->span.n_segments; s++) {
        const struct wf_segment *g = &slot->span.segments[s];
        status = wf_segment_run(r, slot, g, place, out);
        place += g->job->n_inputs;
        out += g->bytes;
    }
    return status;
}

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
            wf_blocks_hash(b, p->shard, p->begin, p->end,
                           s->out + p->begin % r->options->budget->span_bytes);
            pthread_mutex_lock(&r->lock);
            wf_blocks_release(b, p->shard, p->begin, p->end);
            wf_ring_move(r, s, WF_SLOT_HASHING, WF_SLOT_WRITABLE);
            again = true;
        }
    }
}

void *wf_compute_run(void *ring)
{
    struct wf_ring *r = ring;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        struct wf_slot *slot = r->abandon ? NULL : wf_ring_first(r, WF_SLOT_READY);
        if (!slot) {
            if (r->closing)
                break;
            pthread_cond_wait(&r->changed[WF_SLOT_READY], &r->lock);
            continue;
        }
        wf_ring_move(r, slot, WF_SLOT_READY, WF_SLOT_COMPUTING);
        pthread_mutex_unlock(&r->lock);
        int status = compute_span(r, slot);
        if (status)
            wf_ring_abandon(r);
        pthread_mutex_lock(&r->lock);
        wf_ring_move(r, slot, WF_SLOT_COMPUTING, WF_SLOT_DONE);
        hash_ready(r);
        if (r->abandon)
            wf_ring_drop_idle(r);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}
