/* reader.c - reader threads: each takes the next read of the earliest span. */
#include "../base/clock.h"
#include "fused_read.h"
#include "ring.h"

/* Under the lock: the earliest slot that still has a read to hand out. */
static struct wf_slot *next_slot(struct wf_ring *r)
{
    struct wf_slot *first = NULL;
    for (uint32_t i = 0; i < r->n_slots; i++) {
        struct wf_slot *s = &r->slots[i];
        if (s->state == WF_SLOT_READING && s->next_read < s->span.n_reads &&
            (!first || s->sequence < first->sequence))
            first = s;
    }
    return first;
}

static int read_one(struct wf_ring *r, const struct wf_maker *maker, struct wf_slot *slot,
                    const struct wf_read *read)
{
    if (read->tensor->fused)
        return wf_fused_read(r, maker, read, slot->in + read->at);
    struct wf_infile *f = &r->inputs[read->ckpt][read->tensor->file];
    if (read->tensor->rows)
        return wf_row_view_read(r->e, read->tensor->rows, f, slot->in + read->at, read->offset,
                                read->bytes);
    return wf_infile_read(r->e, f, slot->in + read->at, read->offset, read->bytes);
}

static void record(const struct wf_ring *r, struct wf_track *track, const struct wf_read *read,
                   uint64_t begin_ns, uint64_t end_ns)
{
    if (!track)
        return;
    const struct wf_ckpt *k = r->options->plan->ckpts[read->ckpt].ckpt;
    const char *file = read->tensor->fused ? k->place.path : k->files[read->tensor->file].path;
    struct wf_trace_arg args[] = {{.name = "tensor", .text = read->tensor->name},
                                  {.name = "file", .text = file},
                                  {.name = "at", .number = read->offset},
                                  {.name = "bytes", .number = read->bytes},
                                  {.name = NULL}};
    wf_trace_span(track, "read", "storage", begin_ns, end_ns, args);
}

/* Under the lock: one read is over. */
static void finish_read(struct wf_ring *r, struct wf_slot *slot, uint64_t bytes, uint64_t ns)
{
    slot->reads_done++;
    r->stats.bytes_read += bytes;
    r->stats.times.read_ns += ns;
    if (r->abandon) {
        wf_ring_drop_idle(r);
        return;
    }
    pthread_cond_signal(&r->feed);
    if (slot->reads_done == slot->span.n_reads)
        wf_ring_move(r, slot, WF_SLOT_READING, WF_SLOT_READY);
}

void *wf_reader_run(void *ring)
{
    struct wf_ring *r = ring;
    pthread_mutex_lock(&r->lock);
    unsigned number = r->n_readers++;
    struct wf_track *track = wf_ring_track(r, "reader", number);
    const struct wf_maker *maker = r->makers ? &r->makers[number] : NULL;
    for (;;) {
        struct wf_slot *slot = r->abandon ? NULL : next_slot(r);
        if (!slot) {
            if (r->closing)
                break;
            pthread_cond_wait(&r->changed[WF_SLOT_READING], &r->lock);
            continue;
        }
        const struct wf_read *read = &slot->span.reads[slot->next_read++];
        uint64_t begin = wf_now_ns();
        if (!r->stats.first_read_at_ns)
            r->stats.first_read_at_ns = begin;
        pthread_mutex_unlock(&r->lock);
        int status = read_one(r, maker, slot, read);
        uint64_t end = wf_now_ns();
        record(r, track, read, begin, end);
        if (status)
            wf_ring_abandon(r);
        pthread_mutex_lock(&r->lock);
        finish_read(r, slot, wf_fused_read_bytes(read->tensor, read->bytes), end - begin);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}
