/* gather.c - units of tensors that are cut into several spans, and of the model.
 *
 *   a held tensor:   feed all its slots -> [serve step 1] -> [serve step 2] ... -> map all of them
 *   visits:          feed -> [serve step 1] -> free;  feed -> [serve step 2] -> free; ... feed ->
 * map
 *
 * A step ends when all slots were fed and every one was served; the thread that serves the last one
 * draws the unit's conclusion.
 */
#include "../stage/join.h"
#include "source.h"
#include "statistics_file.h"

#include "../base/clock.h"
#include "../base/mem.h"
#include "../base/num.h"

enum { MODEL, TENSOR }; /* in wf_slot.served */

static int create_unit(struct wf_ring *r, const struct wf_unit_need *need, struct wf_unit **unit)
{
    *unit = wf_unit_create(r->e, need);
    return *unit ? WF_OK : WF_MACHINE;
}

/* Whether the ring holds this rank's share of the model, if not the model. */
static bool holds_share(const struct wf_ring *r)
{
    const struct wf_budget *b = r->options->budget;
    return r->options->join && !b->apart_jobs &&
           wf_span_count(r->options->plan, b, wf_blocks_skip_foreign, r->options->blocks) +
                   WF_SLOTS_MIN <=
               b->slots;
}

/* Pieces of the model's group are numbered tensor by tensor, in the group's order. */
static int create_model(struct wf_ring *r)
{
    const struct wf_plan *plan = r->options->plan;
    const struct wf_budget *b = r->options->budget;
    r->model = wf_alloc(r->e, WF_MEM_META, 1, sizeof *r->model, "statistics");
    r->model_piece =
        wf_alloc(r->e, WF_MEM_META, plan->n_jobs, sizeof *r->model_piece, "statistics");
    if (!r->model || !r->model_piece || create_unit(r, &b->model, &r->model->unit))
        return WF_MACHINE;
    uint32_t pieces = 0;
    for (size_t i = 0; i < plan->n_model_jobs; i++) {
        r->model_piece[plan->model_jobs[i] - plan->jobs] = pieces;
        pieces += wf_job_pieces(b, plan->model_jobs[i]);
    }
    const struct wf_job *first = plan->model_jobs[0];
    struct wf_unit_group group = {.method = first->method,
                                  .args = first->args,
                                  .scope = WF_SCOPE_MODEL,
                                  .count = plan->model_count,
                                  .tensor = plan->model_count,
                                  .leaves = plan->model_leaves,
                                  .pieces = pieces,
                                  .wide = plan->model_wide};
    wf_unit_begin(r->model->unit, &group);
    r->model->done = wf_unit_step(r->model->unit) == WF_STEP_MAP;
    r->model->step_name = wf_step_name(wf_unit_step(r->model->unit));
    r->model_resident = b->model_resident || holds_share(r);
    return WF_OK;
}

static int create_benches(struct wf_ring *r)
{
    const struct wf_budget *b = r->options->budget;
    r->benches = wf_alloc(r->e, WF_MEM_META, b->compute, sizeof *r->benches, "threads");
    if (!r->benches)
        return WF_MACHINE;
    for (unsigned i = 0; i < b->compute; i++) {
        r->benches[i].scratch = wf_map_pages(r->e, wf_scratch_bytes(&b->scratch), "scratch memory");
        if (!r->benches[i].scratch)
            return WF_MACHINE;
        if (b->fetch_bytes) /* with a lane no slot is late */
            r->benches[i].fetched = wf_map_pages(r->e, b->fetch_bytes, "fetched inputs");
        if (b->fetch_bytes && !r->benches[i].fetched)
            return WF_MACHINE;
        r->benches[i].number = i;
        if (r->options->plan->has_deltas) {
            r->benches[i].places = wf_map_pages(r->e, wf_plan_places_bytes(), "task deltas");
            if (!r->benches[i].places)
                return WF_MACHINE;
        }
        if (r->options->plan->has_made_rows) {
            r->benches[i].rows = wf_map_pages(r->e, wf_plan_rows_bytes(), "rows of a vocabulary");
            if (!r->benches[i].rows)
                return WF_MACHINE;
        }
        if (r->options->sink) {
            r->benches[i].share = wf_map_pages(r->e, WF_SINK_BYTES, "shares of models");
            if (!r->benches[i].share)
                return WF_MACHINE;
        }
        if (b->inside.pieces && create_unit(r, &b->inside, &r->benches[i].unit))
            return WF_MACHINE;
    }
    return WF_OK;
}

/* Threads and slots are dealt to devices in turn. */
static int create_lanes(struct wf_ring *r)
{
    const struct wf_device_run *gpu = r->options->gpu;
    unsigned threads = r->options->budget->compute;
    r->n_devices = 1;
    if (!gpu)
        return WF_OK;
    r->n_devices = (uint32_t)wf_min_u64(wf_devices_count(gpu->devices), threads);
    int status = wf_lanes_create(r->e, gpu->devices, &gpu->need, &gpu->layout, threads, r->pages,
                                 r->pages_bytes, &r->lanes);
    for (unsigned i = 0; !status && i < threads; i++) {
        r->benches[i].lane = wf_lane_of(r->lanes, i);
        r->benches[i].device = i % r->n_devices;
    }
    return status;
}

int wf_gathers_create(struct wf_ring *r)
{
    const struct wf_budget *b = r->options->budget;
    int status = create_benches(r);
    if (!status)
        status = create_lanes(r);
    if (!status && b->model.pieces)
        status = create_model(r);
    if (!status && b->gathers) {
        r->gathers = wf_alloc(r->e, WF_MEM_META, b->gathers, sizeof *r->gathers, "statistics");
        if (!r->gathers)
            return WF_MACHINE;
        for (unsigned i = 0; !status && i < b->gathers; i++)
            status = create_unit(r, &b->apart, &r->gathers[i].unit);
    }
    return status;
}

void wf_gathers_destroy(struct wf_ring *r)
{
    const struct wf_budget *b = r->options->budget;
    wf_lanes_destroy(r->lanes);
    for (unsigned i = 0; r->benches && i < b->compute; i++) {
        if (r->benches[i].scratch)
            wf_unmap_pages(r->benches[i].scratch, wf_scratch_bytes(&b->scratch));
        if (r->benches[i].fetched)
            wf_unmap_pages(r->benches[i].fetched, b->fetch_bytes);
        if (r->benches[i].places)
            wf_unmap_pages(r->benches[i].places, wf_plan_places_bytes());
        if (r->benches[i].rows)
            wf_unmap_pages(r->benches[i].rows, wf_plan_rows_bytes());
        if (r->benches[i].share)
            wf_unmap_pages(r->benches[i].share, WF_SINK_BYTES);
        wf_unit_destroy(r->benches[i].unit);
    }
    wf_free(r->benches);
    for (unsigned i = 0; r->gathers && i < b->gathers; i++)
        wf_unit_destroy(r->gathers[i].unit);
    wf_free(r->gathers);
    if (r->model)
        wf_unit_destroy(r->model->unit);
    wf_free(r->model);
    wf_free(r->model_piece);
}

uint32_t wf_gather_piece(const struct wf_ring *r, const struct wf_gather *g,
                         const struct wf_job *job, uint64_t skip)
{
    uint32_t first = g == r->model ? r->model_piece[job - r->options->plan->jobs] : 0;
    return first + wf_job_piece(r->options->budget, job, skip);
}

void wf_gather_begin_unit(const struct wf_ring *r, struct wf_unit *u, const struct wf_job *job)
{
    bool in_model = r->model && wf_job_has_scope(job, WF_SCOPE_MODEL);
    struct wf_unit_group group = {
        .method = job->method,
        .args = job->args,
        .scope = WF_SCOPE_TENSOR,
        .count = job->count,
        .tensor = job->count,
        .columns = wf_job_has_scope(job, WF_SCOPE_COLUMN) ? job->rows.stride : 0,
        .pieces = wf_job_pieces(r->options->budget, job),
        .wide = job->wide,
        .model = in_model ? r->model->unit : NULL,
        .model_piece = in_model ? wf_gather_piece(r, r->model, job, 0) : 0};
    wf_unit_begin(u, &group);
}

static void begin(const struct wf_ring *r, struct wf_gather *g)
{
    wf_gather_begin_unit(r, g->unit, g->job);
    g->done = wf_unit_step(g->unit) == WF_STEP_MAP;
}

/* A tensor's unit builds on what the model's found: those that were opened before it was begin now.
 */
static void begin_opened(const struct wf_ring *r)
{
    for (unsigned i = 0; i < r->options->budget->gathers; i++)
        if (r->gathers[i].job)
            begin(r, &r->gathers[i]);
}

struct wf_gather *wf_gather_open(struct wf_ring *r, const struct wf_job *job)
{
    for (unsigned i = 0; i < r->options->budget->gathers; i++) {
        struct wf_gather *g = &r->gathers[i];
        if (g->job)
            continue;
        *g = (struct wf_gather){.unit = g->unit, .job = job};
        if (!r->model || r->model->done)
            begin(r, g);
        return g;
    }
    return NULL;
}

void wf_gather_add(struct wf_gather *g, bool held)
{
    g->held += held;
    g->unserved++;
}

/* What the other ranks have found is added to what this one has; a span of a track of its own, as
 * any thread may be the one that comes last. */
static int join_ranks(struct wf_ring *r, struct wf_gather *g)
{
    uint64_t begin = wf_now_ns();
    int status = wf_unit_join(r->e, g->unit, r->options->join);
    wf_trace_span(wf_ring_track(r, "ranks", WF_TRACE_ONLY), "join statistics", "wait", begin,
                  wf_now_ns(), NULL);
    return status;
}

/* Under the lock, but for the arithmetic: all slots have served the step. */
static void end_step(struct wf_ring *r, struct wf_gather *g)
{
    pthread_mutex_unlock(&r->lock);
    int joined = g == r->model && r->options->join ? join_ranks(r, g) : WF_OK;
    const char *why = joined ? NULL : wf_unit_advance(g->unit);
    if (why && g->job)
        wf_fail(r->e, WF_INPUT, "tensor '%s': %s", g->job->name, why);
    else if (why)
        wf_fail(r->e, WF_INPUT, "%s", why);
    if (why || joined || (g == r->model && wf_statistics_keep(r)))
        wf_ring_abandon(r);
    pthread_mutex_lock(&r->lock);
    g->step++;
    g->step_name = wf_step_name(wf_unit_step(g->unit));
    g->done = wf_unit_step(g->unit) == WF_STEP_MAP;
    if (g->done && !why && !joined)
        wf_remarks_collect(r, g->unit, g->job);
    g->unserved = g->held;
    g->fed = g->held > 0;
    g->next_piece = 0;
    if (g == r->model && g->done)
        begin_opened(r);
    pthread_cond_broadcast(&r->changed[WF_SLOT_READY]);
    pthread_cond_signal(&r->feed);
}

void wf_gather_fed(struct wf_ring *r, struct wf_gather *g)
{
    g->fed = true;
    if (!g->unserved && !g->done)
        end_step(r, g);
}

void wf_gather_served(struct wf_ring *r, struct wf_slot *slot, struct wf_gather *g)
{
    slot->served[g == r->model ? MODEL : TENSOR]++;
    g->next_piece++;
    wf_ring_move(r, slot, WF_SLOT_COMPUTING, slot->visits ? WF_SLOT_FREE : WF_SLOT_READY);
    if (--g->unserved == 0 && g->fed)
        end_step(r, g);
    else if (wf_unit_step(g->unit) == WF_STEP_COLUMNS)
        pthread_cond_broadcast(&r->changed[WF_SLOT_READY]); /* it is the next piece's turn */
}

void wf_gather_mapped(struct wf_ring *r, struct wf_slot *slot)
{
    struct wf_gather *g = slot->gather;
    slot->gather = NULL;
    if (g && --g->unmapped == 0) {
        g->job = NULL;
        pthread_cond_signal(&r->feed);
    }
}

static bool can_serve(const struct wf_ring *r, const struct wf_slot *s, const struct wf_gather *g)
{
    if (s->served[g == r->model ? MODEL : TENSOR] != g->step)
        return false;
    return wf_unit_step(g->unit) != WF_STEP_COLUMNS ||
           wf_job_piece(r->options->budget, g->job, s->span.segments[0].skip) == g->next_piece;
}

/* The slot whose output comes first of those that have none yet. Blocks are hashed in order, so the
 * last output buffer is kept for it: with that, those that wait for it can go on and give back
 * theirs.
 */
static uint64_t first_unmade(const struct wf_ring *r)
{
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < r->n_slots; i++) {
        const struct wf_slot *s = &r->slots[i];
        bool unmade = s->state == WF_SLOT_READING || s->state == WF_SLOT_READY ||
                      (s->state == WF_SLOT_COMPUTING && !s->out);
        if (unmade && !s->visits && !s->discarded && s->sequence < first)
            first = s->sequence;
    }
    return first;
}

/* Whether anything can be done with a READY slot now, and for whom. */
static bool has_work(const struct wf_ring *r, const struct wf_slot *s, struct wf_gather **gather)
{
    *gather = NULL;
    if (r->model && !r->model->done && s->foreign)
        return false;
    if (r->model && !r->model->done)
        *gather = r->model;
    else if (s->gather && !s->gather->done)
        *gather = s->gather;
    if (*gather)
        return can_serve(r, s, *gather);
    return s->discarded || wf_stream_sinks_only(r->options) || r->n_outputs_free > 1 ||
           (r->n_outputs_free == 1 && s->sequence == first_unmade(r));
}

struct wf_slot *wf_gather_next(struct wf_ring *r, uint32_t device, struct wf_gather **gather)
{
    struct wf_slot *first = NULL;
    struct wf_gather *whose;
    for (uint32_t i = 0; i < r->n_slots; i++) {
        struct wf_slot *s = &r->slots[i];
        if (s->state == WF_SLOT_READY && s->device == device &&
            (!first || s->sequence < first->sequence) && has_work(r, s, &whose)) {
            first = s;
            *gather = whose;
        }
    }
    return first;
}
