/* ring.c - slots, their memory, their states. */
#include "ring.h"

#include <stdlib.h>

#include "../base/log.h"
#include "../base/num.h"
#include "fused_read.h"
#include "source.h"
#include "statistics_file.h"

static int create_slots(struct wf_err *e, struct wf_ring *r)
{
    const struct wf_budget *b = r->options->budget;
    r->slots = wf_alloc(e, WF_MEM_RING, b->slots, sizeof *r->slots, "the ring");
    if (!r->slots)
        return WF_MACHINE;
    r->n_slots = b->slots;
    r->pages_bytes = wf_budget_ring_bytes(b);
    r->pages = wf_map_pages(e, r->pages_bytes, "the ring's buffers (lower --memory)");
    if (!r->pages)
        return WF_MACHINE;
    for (uint32_t i = 0; i < b->slots; i++) {
        struct wf_slot *s = &r->slots[i];
        s->in = (char *)r->pages + i * b->input_bytes;
        s->span.segments =
            wf_alloc(e, WF_MEM_RING, b->segments_max, sizeof *s->span.segments, "the ring");
        s->span.reads = wf_alloc(e, WF_MEM_RING, b->reads_max, sizeof *s->span.reads, "the ring");
        s->span.places = wf_alloc(e, WF_MEM_RING, b->reads_max, sizeof *s->span.places, "the ring");
        if (!s->span.segments || !s->span.reads || !s->span.places)
            return WF_MACHINE;
    }
    return WF_OK;
}

static int create_output_buffers(struct wf_err *e, struct wf_ring *r)
{
    const struct wf_budget *b = r->options->budget;
    char *first = (char *)r->pages + b->slots * b->input_bytes;
    r->outputs_free = wf_alloc(e, WF_MEM_RING, b->outputs, sizeof *r->outputs_free, "the ring");
    if (!r->outputs_free)
        return WF_MACHINE;
    for (r->n_outputs_free = 0; r->n_outputs_free < b->outputs; r->n_outputs_free++)
        r->outputs_free[r->n_outputs_free] = first + r->n_outputs_free * b->span_bytes;
    return WF_OK;
}

static int create_inputs(struct wf_err *e, struct wf_ring *r)
{
    const struct wf_plan *plan = r->options->plan;
    r->inputs = wf_alloc(e, WF_MEM_META, plan->n_ckpts, sizeof *r->inputs, "input files");
    if (!r->inputs)
        return WF_MACHINE;
    for (size_t c = 0; c < plan->n_ckpts; c++) {
        const struct wf_ckpt *k = plan->ckpts[c].ckpt;
        r->inputs[c] = wf_alloc(e, WF_MEM_META, k->n_files, sizeof **r->inputs, "input files");
        if (!r->inputs[c])
            return WF_MACHINE;
        for (size_t f = 0; f < k->n_files; f++)
            r->inputs[c][f].fd = r->inputs[c][f].direct_fd = -1;
        for (size_t f = 0; f < k->n_files; f++) {
            int status = wf_infile_open(e, k->files[f].path, &k->files[f].id, r->options->io,
                                        &r->inputs[c][f]);
            if (status)
                return status;
        }
    }
    return WF_OK;
}

static int open_outputs(struct wf_err *e, struct wf_ring *r)
{
    const struct wf_stream_options *o = r->options;
    const struct wf_plan *plan = o->plan;
    bool direct = o->io != WF_IO_BUFFERED;
    r->outputs = wf_alloc(e, WF_MEM_META, plan->n_shards, sizeof *r->outputs, "output files");
    if (!r->outputs)
        return WF_MACHINE;
    for (size_t s = 0; s < plan->n_shards; s++)
        r->outputs[s].fd = r->outputs[s].direct_fd = -1;
    for (size_t s = 0; s < plan->n_shards; s++) {
        const struct wf_shard *shard = &plan->shards[s];
        char *path = wf_path_join(plan->arena, e, o->folder, shard->name);
        if (!path)
            return WF_MACHINE;
        int status = wf_outfile_reopen(e, path, shard->bytes, direct, &r->outputs[s]);
        if (status)
            return status;
    }
    return WF_OK;
}

int wf_ring_create(struct wf_err *e, const struct wf_stream_options *options, struct wf_ring *r)
{
    *r = (struct wf_ring){.options = options, .e = e};
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    for (int i = 0; i < WF_SLOT_STATES; i++)
        pthread_cond_init(&r->changed[i], &monotonic);
    pthread_cond_init(&r->feed, &monotonic);
    pthread_cond_init(&r->commit, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int status = create_inputs(e, r);
    if (!status && !wf_stream_sinks_only(options))
        status = open_outputs(e, r);
    if (!status)
        status = create_slots(e, r);
    if (!status)
        status = create_output_buffers(e, r);
    if (!status)
        status = wf_gathers_create(r);
    if (!status)
        status = wf_makers_create(r);
    if (!status)
        status = wf_sources_create(r);
    if (!status)
        status = wf_remarks_create(r);
    if (!status && r->model)
        status = wf_statistics_restore(r);
    return status;
}

void wf_ring_destroy(struct wf_ring *r)
{
    const struct wf_plan *plan = r->options->plan;
    wf_gathers_destroy(r);
    wf_sources_destroy(r);
    wf_makers_destroy(r);
    wf_remarks_destroy(r);
    for (uint32_t i = 0; i < r->n_slots; i++) {
        wf_free(r->slots[i].span.segments);
        wf_free(r->slots[i].span.reads);
        wf_free(r->slots[i].span.places);
    }
    wf_free(r->slots);
    wf_free(r->outputs_free);
    wf_unmap_pages(r->pages, r->pages_bytes);
    for (size_t c = 0; r->inputs && c < plan->n_ckpts; c++) {
        for (size_t f = 0; r->inputs[c] && f < plan->ckpts[c].ckpt->n_files; f++)
            wf_infile_close(&r->inputs[c][f]);
        wf_free(r->inputs[c]);
    }
    wf_free(r->inputs);
    for (size_t s = 0; r->outputs && s < plan->n_shards; s++)
        wf_outfile_close(&r->outputs[s]);
    wf_free(r->outputs);
    for (int i = 0; i < WF_SLOT_STATES; i++)
        pthread_cond_destroy(&r->changed[i]);
    pthread_cond_destroy(&r->feed);
    pthread_cond_destroy(&r->commit);
    pthread_mutex_destroy(&r->lock);
}

struct wf_track *wf_ring_track(const struct wf_ring *r, const char *name, unsigned number)
{
    const struct wf_watch *w = r->options->watch;
    return w ? wf_trace_track(w->trace, name, number) : NULL;
}

void wf_ring_record(struct wf_track *track, const struct wf_slot *slot, const char *what,
                    const char *category, uint64_t begin_ns, uint64_t end_ns)
{
    const struct wf_span *p = &slot->span;
    if (!track)
        return;
    struct wf_trace_arg args[] = {{.name = "tensor", .text = p->segments[0].job->name},
                                  {.name = "segments", .number = p->n_segments},
                                  {.name = slot->visits ? NULL : "shard", .number = p->shard},
                                  {.name = "at", .number = p->begin},
                                  {.name = "bytes", .number = p->end - p->begin},
                                  {.name = NULL}};
    wf_trace_span(track, what, category, begin_ns, end_ns, args);
}

struct wf_slot *wf_ring_first(struct wf_ring *r, enum wf_slot_state state)
{
    struct wf_slot *first = NULL;
    for (uint32_t i = 0; i < r->n_slots; i++) {
        struct wf_slot *s = &r->slots[i];
        if (s->state == state && (!first || s->sequence < first->sequence))
            first = s;
    }
    return first;
}

void wf_ring_move(struct wf_ring *r, struct wf_slot *slot, enum wf_slot_state from,
                  enum wf_slot_state to)
{
    bool next = to == (from + 1) % WF_SLOT_STATES;
    bool served = from == WF_SLOT_COMPUTING && (to == WF_SLOT_READY || to == WF_SLOT_FREE);
    bool dropped = to == WF_SLOT_FREE && r->abandon;
    if (slot->state != from || !(next || served || dropped)) {
        wf_log(WF_LOG_ERROR, "internal: slot %td goes from state %d to %d but is in %d",
               slot - r->slots, (int)from, (int)to, (int)slot->state);
        abort();
    }
    slot->state = to;
    if (to == WF_SLOT_FREE && slot->out) {
        r->outputs_free[r->n_outputs_free++] = slot->out;
        slot->out = NULL;
        pthread_cond_broadcast(&r->changed[WF_SLOT_READY]); /* one may have waited for a buffer */
    }
    pthread_cond_broadcast(&r->changed[to]);
    if (to == WF_SLOT_FREE || to == WF_SLOT_READY)
        pthread_cond_signal(&r->feed);
}

void wf_ring_drop_idle(struct wf_ring *r)
{
    for (uint32_t i = 0; i < r->n_slots; i++) {
        struct wf_slot *s = &r->slots[i];
        bool idle = s->state == WF_SLOT_READY || s->state == WF_SLOT_DONE ||
                    s->state == WF_SLOT_WRITABLE ||
                    (s->state == WF_SLOT_READING && s->next_read == s->reads_done);
        if (idle)
            wf_ring_move(r, s, s->state, WF_SLOT_FREE);
    }
}

void wf_ring_abandon(struct wf_ring *r)
{
    pthread_mutex_lock(&r->lock);
    r->abandon = true;
    wf_ring_drop_idle(r);
    pthread_mutex_unlock(&r->lock);
}
