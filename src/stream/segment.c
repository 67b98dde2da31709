/* segment.c - the segments of a slot: COPY, MAP, and statistics.
 *
 * Inputs are in the slot already, or, in a slot marked `late`, still in the page cache. Then the
 * compute thread fetches them itself, a piece at a time that fits its second-level cache: the copy
 * that read(2) makes is the copy that the arithmetic needs (docs/PERFORMANCE.md).
 */

#include "../base/clock.h"
#include "../base/num.h"
#include "ring.h"
#include "tile_report.h"

/* What is being done with a segment, or a piece of one. */
struct work {
    struct wf_ring *r;
    const struct wf_slot *slot;
    const struct wf_bench *bench;
    struct wf_unit *unit;                 /* NULL: none, plain MAP or COPY */
    uint32_t piece;                       /* of the unit's group */
    bool serves;                          /* add to the unit; else MAP by what it found */
    const struct wf_place_in_slot *place; /* of the segment's inputs, unless the slot is late */
};

static uint32_t row_stages(const struct wf_job *job)
{
    uint32_t mask = 0;
    for (size_t s = 0; s < job->method->n_stages; s++)
        mask |= (uint32_t)(job->args->scope[s] == WF_SCOPE_ROW) << s;
    return mask;
}

/* What model number `input` contributes to the tile's elements [from, to), for the sink. */
static int take_share(const struct work *w, const struct wf_job *job, const struct wf_tile *whole,
                      uint64_t from, uint64_t to, uint32_t input)
{
    const struct wf_sink *sink = w->r->options->sink;
    const void *in[WF_MODELS_MAX + 1];
    struct wf_share share = {
        .map = sink->map, .slot = sink->slot, .input = input, .pair = sink->pairs};
    struct wf_tile_result result = {.verdict = WF_TILE_OK};
    struct wf_tile tile = *whole;
    tile.from = from;
    tile.to = to;
    tile.out = w->bench->share;
    tile.out_dtype = tile.wide ? WF_F64 : WF_F32;
    wf_unit_map_share(w->unit, w->r->options->backend, w->piece, &share, &tile, &result);
    if (result.verdict != WF_TILE_OK)
        return wf_tile_report(w->r->e, w->r->options->plan, job, &result);
    for (uint32_t i = 0; i < job->n_inputs; i++) {
        uint64_t width = wf_dtype_info(job->in_dtype[i])->bits / 8;
        in[i] = (const char *)whole->in[i] + (from - whole->first) * width;
    }
    struct wf_sink_piece piece = {
        .job = job, .model = input, .from = from, .to = to, .share = tile.out, .in = in};
    return sink->take(sink->arg, w->r->e, w->bench->number, &piece);
}

static int take_shares(const struct work *w, const struct wf_job *job, const struct wf_tile *tile)
{
    const struct wf_sink *sink = w->r->options->sink;
    int status = WF_OK;
    if (!sink || job->method != sink->method)
        return WF_OK;
    for (uint64_t from = tile->from, to; !status && from < tile->to; from = to) {
        to = wf_min_u64(tile->to, from + WF_SINK_PIECE);
        for (uint32_t i = 1; !status && i < job->n_inputs; i++)
            status = take_share(w, job, tile, from, to, i);
    }
    return status;
}

/* Whether NaN and infinity are errors. A sink alone looks at what was merged, or only copied. */
static bool checks(const struct wf_ring *r)
{
    return !r->options->plan->recipe->allow_non_finite && !wf_stream_sinks_only(r->options);
}

static int run_tile(const struct work *w, const struct wf_segment *g, const char *const *in,
                    char *out)
{
    const struct wf_job *job = g->job;
    const struct wf_plan *plan = w->r->options->plan;
    const struct wf_backend *backend = w->r->options->backend;
    struct wf_range elements = wf_segment_elements(g), window = wf_segment_window(g);
    struct wf_tile tile = {.method = job->method,
                           .args = job->args,
                           .in = (const void *const *)in,
                           .in_dtype = job->in_dtype,
                           .n = job->n_inputs,
                           .cast = (uint8_t)plan->cast,
                           .wide = job->wide,
                           .check = checks(w->r),
                           .far = !w->slot->late,
                           .first = window.from,
                           .count = window.to - window.from,
                           .from = elements.from,
                           .to = elements.to,
                           .total = job->count,
                           .model_leaf = job->model_leaf,
                           .rows = job->rows,
                           .local = row_stages(job),
                           .draw_key = job->draw_key,
                           .out = out,
                           .out_dtype = job->dtype,
                           .scratch = w->bench->scratch,
                           .lane = w->bench->lane};
    struct wf_tile_result result = {.verdict = WF_TILE_OK};
    if (w->serves)
        wf_unit_add(w->unit, backend, w->piece, &tile, &result);
    else if (out && w->unit)
        wf_unit_map(w->unit, backend, w->piece, &tile, &result);
    else if (out) /* else only a sink wants it */
        backend->map(&tile, &result);
    if (result.verdict != WF_TILE_OK)
        return wf_tile_report(w->r->e, w->r->options->plan, job, &result);
    return w->serves ? WF_OK : take_shares(w, g->job, &tile);
}

static int run_piece(const struct work *w, const struct wf_segment *g, const char *const *in,
                     char *out)
{
    if (w->r->options->null_compute)
        return WF_OK; /* without arithmetic there is nothing left to do */
    if (g->job->action == WF_ACTION_COPY)
        return out ? wf_segment_copy(w->r->e, w->r->options->plan, g, in, out) : WF_OK;
    return run_tile(w, g, in, out);
}

/* What is done with a slot in parts, for the trace: a part of the slot's own span of time. */
static void record_part(const struct work *w, const struct wf_segment *g, const char *what,
                        const char *category, uint64_t begin_ns, uint64_t end_ns)
{
    struct wf_trace_arg args[] = {{.name = "tensor", .text = g->job->name},
                                  {.name = "at", .number = g->skip},
                                  {.name = "bytes", .number = g->bytes},
                                  {.name = NULL}};
    wf_trace_span(w->bench->track, what, category, begin_ns, end_ns, args);
}

/* ---- late slots ---- */

/* Reads the piece's inputs one behind the other into the thread's own buffer, which stays in its
 * cache. */
static int fetch(const struct work *w, const struct wf_segment *piece, const char **in)
{
    const struct wf_job *job = piece->job;
    char *to = w->bench->fetched;
    uint64_t begin = wf_now_ns();
    int status = WF_OK;
    for (uint32_t i = 0; !status && i < job->n_inputs; i++) {
        uint64_t offset = wf_window_offset(piece, i), bytes = wf_window_bytes(piece, i);
        status = wf_infile_read(w->r->e, &w->r->inputs[job->input_ckpt[i]][job->in[i]->file],
                                to + offset % WF_DIRECT_ALIGN, offset, bytes);
        in[i] = to + offset % WF_DIRECT_ALIGN;
        to += wf_round_up(offset % WF_DIRECT_ALIGN + bytes, WF_DIRECT_ALIGN);
    }
    uint64_t end = wf_now_ns();
    *w->bench->copy_ns += end - begin;
    if (w->bench->track)
        record_part(w, piece, "read", "storage", begin, end);
    return status;
}

static int run_late(const struct work *w, const struct wf_segment *g, char *out)
{
    const char *in[WF_MODELS_MAX + 1]; /* and a base that only donates */
    uint64_t end = g->skip + g->bytes, next;
    int status = WF_OK;
    for (uint64_t at = g->skip; !status && at < end; at = next) {
        next = wf_piece_end(g->job, at, end);
        struct wf_segment piece = {g->job, at, next - at};
        status = fetch(w, &piece, in);
        if (!status)
            status = run_piece(w, &piece, in, out ? out + (at - g->skip) : NULL);
    }
    return status;
}

/* Of the window of input i of `whole`, what lies before that of `part`. */
static uint64_t bytes_before(const struct wf_segment *whole, const struct wf_segment *part,
                             uint32_t i)
{
    const struct wf_job *job = whole->job;
    if (!wf_job_makes_input(job, i))
        return wf_window_offset(part, i) - wf_window_offset(whole, i);
    return (wf_segment_window(part).from - wf_segment_window(whole).from) *
           (wf_dtype_info(job->in_dtype[i])->bits / 8);
}

/* `part` is all of the slot's segment `whole`, or a run of its elements. */
static int run_part(const struct work *w, const struct wf_segment *whole,
                    const struct wf_segment *part, char *out)
{
    const char *in[WF_MODELS_MAX + 1];
    if (w->slot->late)
        return run_late(w, part, out);
    for (uint32_t i = 0; i < whole->job->n_inputs; i++)
        in[i] = w->slot->in + w->place[i].at + bytes_before(whole, part, i);
    return run_piece(w, part, in, out);
}

/* ---- units ---- */

/* Tells the thread's device where the slot's inputs are. */
static void show_inputs(const struct wf_slot *slot, const struct wf_bench *bench)
{
    if (bench->lane)
        wf_lane_inputs(bench->lane, slot->sequence + 1, slot->in, slot->span.input_end);
}

/* Shows a segment to the work's unit: all of it, or the runs that the step wants. */
static int serve_segment(const struct work *w, const struct wf_segment *g, uint64_t group_first)
{
    struct wf_range e = wf_segment_elements(g);
    uint64_t width = wf_dtype_info(g->job->dtype)->bits / 8;
    int status = WF_OK;
    for (uint64_t at = e.from; !status && at < e.to;) {
        uint64_t from = group_first + at, to = group_first + e.to;
        if (!wf_unit_wants(w->unit, w->piece, &from, &to))
            break;
        from -= group_first;
        to -= group_first;
        struct wf_segment part = {g->job, from * width, (to - from) * width};
        status = run_part(w, g, &part, NULL);
        at = to;
    }
    return status;
}

int wf_segments_serve(struct wf_ring *r, const struct wf_slot *slot, struct wf_gather *gather,
                      const struct wf_bench *bench)
{
    struct work w = {.r = r,
                     .slot = slot,
                     .bench = bench,
                     .unit = gather->unit,
                     .serves = true,
                     .place = slot->span.places};
    int status = WF_OK;
    show_inputs(slot, bench);
    for (uint32_t s = 0; !status && s < slot->span.n_segments; s++) {
        const struct wf_segment *g = &slot->span.segments[s];
        bool of_model = gather == r->model;
        w.piece = wf_gather_piece(r, gather, g->job, g->skip);
        if (!of_model || wf_job_has_scope(g->job, WF_SCOPE_MODEL))
            status = serve_segment(&w, g, of_model ? g->job->model_first : 0);
        w.place += g->job->n_inputs;
    }
    return status;
}

/* A tensor that lies in one segment: all of its statistics, by this thread. */
static int gather_inside(const struct work *map, const struct wf_segment *g)
{
    struct work w = *map;
    int status = WF_OK;
    w.serves = true;
    wf_gather_begin_unit(w.r, w.unit, g->job);
    while (!status && wf_unit_step(w.unit) != WF_STEP_MAP) {
        uint64_t begin = map->bench->track ? wf_now_ns() : 0;
        const char *step = wf_step_name(wf_unit_step(w.unit));
        status = serve_segment(&w, g, 0);
        const char *why = status ? NULL : wf_unit_advance(w.unit);
        if (begin)
            record_part(&w, g, step, "compute", begin, wf_now_ns());
        if (why)
            status = wf_fail(w.r->e, WF_INPUT, "tensor '%s': %s", g->job->name, why);
    }
    if (!status) {
        pthread_mutex_lock(&w.r->lock);
        wf_remarks_collect(w.r, w.unit, g->job);
        pthread_mutex_unlock(&w.r->lock);
    }
    return status;
}

/* Makes the output of one segment. */
static int map_segment(struct work *w, const struct wf_segment *g, char *out)
{
    const struct wf_ring *r = w->r;
    int status = WF_OK;
    w->unit = NULL;
    w->piece = wf_job_piece(r->options->budget, g->job, g->skip);
    if (w->slot->gather) {
        w->unit = w->slot->gather->unit;
    } else if (w->bench->unit && wf_job_gathers(g->job)) {
        w->unit = w->bench->unit;
        status = gather_inside(w, g);
    } else if (r->model && wf_job_has_scope(g->job, WF_SCOPE_MODEL)) {
        w->unit = r->model->unit;
        w->piece = wf_gather_piece(r, r->model, g->job, g->skip);
    }
    return status ? status : run_part(w, g, g, out);
}

int wf_segments_map(struct wf_ring *r, const struct wf_slot *slot, const struct wf_bench *bench)
{
    struct work w = {.r = r, .slot = slot, .bench = bench, .place = slot->span.places};
    char *out = slot->out ? wf_slot_output(r, slot) : NULL;
    int status = WF_OK;
    show_inputs(slot, bench);
    for (uint32_t s = 0; !status && s < slot->span.n_segments; s++) {
        const struct wf_segment *g = &slot->span.segments[s];
        status = map_segment(&w, g, out);
        w.place += g->job->n_inputs;
        out = out ? out + g->bytes : NULL;
    }
    return status;
}
