/* span.c - cutting the output into spans, and placing what is read for them. */
#include "span.h"

#include <string.h>

#include "../base/num.h"
#include "../stage/unit.h"

static uint64_t width(enum wf_dtype d)
{
    return wf_dtype_info(d)->bits / 8;
}

struct wf_range wf_segment_elements(const struct wf_segment *s)
{
    uint64_t w = width(s->job->dtype);
    return (struct wf_range){s->skip / w, (s->skip + s->bytes) / w};
}

bool wf_job_folds_model(const struct wf_job *job)
{
    bool folds = false;
    for (size_t s = 0; job->action == WF_ACTION_MAP && s < job->method->n_stages; s++)
        folds |=
            job->method->stages[s].kind == WF_STAGE_FOLD && job->args->scope[s] == WF_SCOPE_MODEL;
    return folds;
}

static bool has_row_stage(const struct wf_job *job)
{
    return wf_job_has_scope(job, WF_SCOPE_ROW);
}

/* A stage sums over the tensor or the model. */
static bool sees_leaves(const struct wf_job *job)
{
    return wf_job_has_scope(job, WF_SCOPE_TENSOR) || wf_job_folds_model(job);
}

struct wf_range wf_segment_window(const struct wf_segment *s)
{
    const struct wf_job *job = s->job;
    struct wf_range r = wf_segment_elements(s);
    if (sees_leaves(job)) /* those that begin in the segment */
        r.to = wf_round_up(r.to, WF_FOLD_BLOCK);
    if (has_row_stage(job)) {
        uint64_t slab = wf_rows_slab(&job->rows);
        r.from = r.from / slab * slab;
        r.to = (r.to + slab - 1) / slab * slab;
    }
    r.to = wf_min_u64(r.to, job->count);
    return r;
}

uint64_t wf_window_offset(const struct wf_segment *s, uint32_t i)
{
    const struct wf_tensor *t = s->job->in[i];
    if (s->job->action == WF_ACTION_COPY)
        return t->offset + s->skip;
    return t->offset + wf_segment_window(s).from * width(t->dtype);
}

uint64_t wf_window_bytes(const struct wf_segment *s, uint32_t i)
{
    if (s->job->action == WF_ACTION_COPY)
        return s->bytes;
    struct wf_range w = wf_segment_window(s);
    return (w.to - w.from) * width(s->job->in[i]->dtype);
}

uint64_t wf_window_made_bytes(const struct wf_segment *s, uint32_t i)
{
    if (!wf_job_makes_input(s->job, i))
        return 0;
    struct wf_range w = wf_segment_window(s);
    return (w.to - w.from) * width(s->job->in_dtype[i]);
}

uint64_t wf_job_inputs(const struct wf_job *job, uint64_t at)
{
    if (job->action == WF_ACTION_COPY)
        return at * job->n_inputs;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < job->n_inputs; i++)
        sum += width(job->in[i]->dtype);
    return at / width(job->dtype) * sum;
}

#define FETCH_BYTES (256u << 10) /* inputs of a piece together: a quarter of a common L2 */

/* Output bytes after which pieces may be cut: whole pages of a COPY. */
static uint64_t cut_bytes(const struct wf_job *job)
{
    if (job->action == WF_ACTION_COPY)
        return WF_DIRECT_ALIGN;
    uint64_t unit = has_row_stage(job) ? wf_rows_slab(&job->rows) : WF_FOLD_BLOCK;
    return unit * width(job->dtype);
}

/* Output bytes for which FETCH_BYTES are read. */
static uint64_t step_bytes(const struct wf_job *job)
{
    double in_bytes = (double)wf_job_inputs(job, job->bytes);
    return (uint64_t)((double)FETCH_BYTES * ((double)job->bytes / in_bytes));
}

uint64_t wf_piece_end(const struct wf_job *job, uint64_t at, uint64_t end)
{
    uint64_t cut = cut_bytes(job), to = (at + step_bytes(job)) / cut * cut;
    return wf_min_u64(end, to > at ? to : (at / cut + 1) * cut);
}

uint64_t wf_piece_bytes(const struct wf_job *job)
{
    return wf_max_u64(cut_bytes(job), step_bytes(job));
}

bool wf_job_gathers(const struct wf_job *job)
{
    return wf_job_has_scope(job, WF_SCOPE_TENSOR) || wf_job_has_scope(job, WF_SCOPE_COLUMN);
}

uint32_t wf_job_piece(const struct wf_budget *b, const struct wf_job *job, uint64_t skip)
{
    return (uint32_t)((job->offset + skip) / b->span_bytes - job->offset / b->span_bytes);
}

uint32_t wf_job_pieces(const struct wf_budget *b, const struct wf_job *job)
{
    return job->bytes ? wf_job_piece(b, job, job->bytes - 1) + 1 : 0;
}

uint64_t wf_job_cut(const struct wf_budget *b, const struct wf_job *job, uint64_t skip)
{
    uint64_t cut = wf_round_down(job->offset + skip, b->span_bytes) + b->span_bytes;
    return wf_min_u64(cut - job->offset, job->bytes);
}

bool wf_job_is_apart(const struct wf_budget *b, const struct wf_job *job)
{
    return wf_job_pieces(b, job) > 1 && wf_job_gathers(job);
}

/* ---- the walk in file order ---- */

/* Steps the walk over shards and jobs until it stands at a byte that belongs to a span. */
static bool find_start(const struct wf_plan *plan, struct wf_span_walk *w, wf_span_skip skip,
                       void *arg)
{
    for (; w->shard < plan->n_shards; w->shard++, w->at = 0) {
        const struct wf_shard *s = &plan->shards[w->shard];
        if (w->at == 0) {
            w->at = s->header.n;
            w->job = s->first_job;
        }
        for (uint64_t to; skip && w->at < s->bytes; w->at = wf_min_u64(s->bytes, to))
            if ((to = skip(arg, w->shard, w->at)) == w->at)
                break;
        if (w->at < s->bytes)
            break;
    }
    if (w->shard == plan->n_shards)
        return false;
    while (plan->jobs[w->job].offset + plan->jobs[w->job].bytes <= w->at)
        w->job++; /* also steps over tensors without elements */
    return true;
}

#define MADE_ALIGN 64u

/* What an input with its addends takes of the input buffer at most, besides what is read. */
static uint64_t made_cost(const struct wf_segment *s, uint32_t i)
{
    uint64_t bytes = wf_window_made_bytes(s, i);
    return bytes ? bytes + MADE_ALIGN : 0;
}

/* What a segment may take of the input buffer at most. */
static uint64_t segment_cost(const struct wf_segment *s)
{
    uint64_t cost = 0;
    for (uint32_t i = 0; i < s->job->n_inputs; i++)
        cost += wf_window_bytes(s, i) + WF_READ_SLACK + made_cost(s, i);
    return cost;
}

/* While a span is filled, n_reads counts inputs and places[0].at their bytes; wf_span_close puts
 * what belongs there. */
bool wf_span_add(const struct wf_budget *b, struct wf_span *span, const struct wf_segment *s)
{
    uint64_t cost = segment_cost(s);
    if (span->n_segments &&
        (span->places[0].at + cost > b->input_bytes ||
         span->n_reads + s->job->n_inputs > b->reads_max || span->n_segments == b->segments_max))
        return false;
    if (span->segments) /* else it is only counted */
        span->segments[span->n_segments] = *s;
    span->n_segments++;
    span->places[0].at += cost;
    span->n_reads += s->job->n_inputs;
    return true;
}

void wf_span_begin(struct wf_span *span)
{
    span->shard = 0;
    span->begin = span->end = 0;
    span->n_segments = span->n_reads = 0;
    span->places[0].at = 0;
}

static void add_segments(const struct wf_plan *plan, const struct wf_budget *b,
                         struct wf_span_walk *w, uint64_t limit, struct wf_span *span)
{
    while (w->at < limit) {
        const struct wf_job *job = &plan->jobs[w->job];
        uint64_t end = wf_min_u64(job->offset + job->bytes, limit), bytes = end - w->at;
        bool apart = wf_job_is_apart(b, job);
        struct wf_segment s = {job, w->at - job->offset, bytes};
        if (bytes && ((apart && span->n_segments) || !wf_span_add(b, span, &s)))
            return;
        w->at = end;
        if (end == job->offset + job->bytes)
            w->job++;
        if (bytes && apart)
            return;
    }
}

/* Room for inputs with addends, behind what is read. */
static void place_made(struct wf_span *span, uint64_t top)
{
    struct wf_place_in_slot *place = span->places;
    for (uint32_t s = 0; s < span->n_segments; s++) {
        const struct wf_segment *g = &span->segments[s];
        for (uint32_t i = 0; i < g->job->n_inputs; i++, place++) {
            place->at = place->stored;
            if (!wf_job_makes_input(g->job, i))
                continue;
            place->at = wf_round_up(top, MADE_ALIGN);
            top = place->at + wf_window_made_bytes(g, i);
        }
    }
    span->input_end = top;
}

/* A read of its own, which no neighbour extends: its bytes are not a range of a file. */
static bool stands_alone(const struct wf_tensor *t)
{
    return t->rows || t->fused;
}

/* Places the inputs of all segments in the buffer, input by input, so that neighbours in a file
 * become one read. Element alignment within a page is kept, as direct reads need. */
void wf_span_close(struct wf_span *span)
{
    uint64_t top = 0;
    bool more = true;
    span->n_reads = 0;
    for (uint32_t i = 0; more; i++) {
        struct wf_read *open = NULL; /* the read that the next segment may extend */
        struct wf_place_in_slot *place = span->places;
        more = false;
        for (uint32_t s = 0; s < span->n_segments; s++) {
            const struct wf_segment *g = &span->segments[s];
            uint32_t n = g->job->n_inputs;
            more |= i + 1 < n;
            if (i < n) {
                const struct wf_tensor *t = g->job->in[i];
                uint32_t ckpt = g->job->input_ckpt[i];
                uint64_t offset = wf_window_offset(g, i), bytes = wf_window_bytes(g, i);
                if (!open || stands_alone(t) || stands_alone(open->tensor) || open->ckpt != ckpt ||
                    open->tensor->file != t->file || open->offset + open->bytes != offset) {
                    open = &span->reads[span->n_reads++];
                    uint64_t page = wf_round_up(top, WF_DIRECT_ALIGN);
                    *open = (struct wf_read){t, ckpt, 0, offset, page + offset % WF_DIRECT_ALIGN};
                }
                place[i].stored = open->at + open->bytes;
                open->bytes += (uint32_t)bytes;
                top = open->at + open->bytes;
            }
            place += n;
        }
    }
    place_made(span, top);
}

/* The next span, not yet closed. */
static bool walk_on(const struct wf_plan *plan, const struct wf_budget *budget,
                    struct wf_span_walk *walk, wf_span_skip skip, void *arg, struct wf_span *span)
{
    if (!find_start(plan, walk, skip, arg))
        return false;
    const struct wf_shard *shard = &plan->shards[walk->shard];
    uint64_t limit = wf_round_down(walk->at, budget->span_bytes) + budget->span_bytes;
    wf_span_begin(span);
    span->shard = walk->shard;
    span->begin = walk->at;
    add_segments(plan, budget, walk, wf_min_u64(limit, shard->bytes), span);
    span->end = walk->at;
    return true;
}

bool wf_span_next(const struct wf_plan *plan, const struct wf_budget *budget,
                  struct wf_span_walk *walk, wf_span_skip skip, void *arg, struct wf_span *span)
{
    bool got = walk_on(plan, budget, walk, skip, arg, span);
    if (got)
        wf_span_close(span);
    return got;
}

uint64_t wf_span_count(const struct wf_plan *plan, const struct wf_budget *budget,
                       wf_span_skip skip, void *arg)
{
    uint64_t n = 0;
    struct wf_place_in_slot sum;
    struct wf_span_walk walk = {0};
    struct wf_span span = {.places = &sum};
    while (walk_on(plan, budget, &walk, skip, arg, &span))
        n++;
    return n;
}

void wf_span_count_ranges(const struct wf_plan *plan, const struct wf_budget *budget,
                          const uint64_t *first, const uint64_t *begin, uint32_t n, uint64_t *spans)
{
    struct wf_place_in_slot sum;
    struct wf_span_walk walk = {0};
    struct wf_span span = {.places = &sum};
    uint32_t r = 0;
    memset(spans, 0, n * sizeof *spans);
    while (walk_on(plan, budget, &walk, NULL, NULL, &span)) {
        while (begin[r + 1] <= wf_plan_place(first, span.shard, span.begin))
            r++;
        spans[r]++;
    }
}

void wf_span_of_job(const struct wf_budget *budget, const struct wf_job *job, uint64_t skip,
                    struct wf_span *span)
{
    struct wf_segment s = {job, skip, wf_job_cut(budget, job, skip) - skip};
    wf_span_begin(span);
    span->shard = job->shard;
    span->begin = job->offset + skip;
    span->end = span->begin + s.bytes;
    wf_span_add(budget, span, &s);
    wf_span_close(span);
}
