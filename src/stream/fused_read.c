/* fused_read.c - see fused_read.h.
 *
 * A reader makes what it reads: the CPU frame computes it, whoever computes the merge itself, so
 * bytes do not depend on that. A stage within a stage is the same once more, with buffers behind
 * those of the outer one.
 */
#include "fused_read.h"

#include "../base/num.h"
#include "source.h"
#include "tile_report.h"

#define CACHED_CHUNK (1u << 14) /* elements */

/* One tensor under way. */
struct level {
    struct wf_owner owner;
    char *buffers; /* of its inputs, and behind them of what is below */
};

struct reading {
    struct wf_ring *r;
    const struct wf_maker *maker;
};

struct wf_infile *wf_owner_file(const struct wf_ring *r, const struct wf_owner *o, uint32_t file)
{
    for (; o->up; o = o->up)
        file = o->up->fused->files[o->ckpt][file];
    return &r->inputs[o->ckpt][file];
}

static int make(const struct reading *g, const struct level *l, uint64_t offset, uint64_t bytes,
                char *to);

/* Input i of the run as it is stored, somewhere in `buffer`. */
static int read_stored(const struct reading *g, const struct level *l, const struct wf_segment *s,
                       uint32_t i, char *buffer, char *behind, const char **in)
{
    const struct wf_tensor *t = s->job->in[i];
    struct wf_owner owner = {&l->owner, s->job->input_ckpt[i], t->fused};
    uint64_t offset = wf_window_offset(s, i), bytes = wf_window_bytes(s, i);
    if (t->fused) {
        struct level below = {owner, behind};
        *in = buffer;
        return make(g, &below, offset, bytes, buffer);
    }
    struct wf_infile *f = wf_owner_file(g->r, &owner, t->file);
    *in = buffer + offset % WF_DIRECT_ALIGN;
    if (t->rows)
        return wf_row_view_read(g->r->e, t->rows, f, buffer + offset % WF_DIRECT_ALIGN, offset,
                                bytes);
    return wf_infile_read(g->r->e, f, buffer + offset % WF_DIRECT_ALIGN, offset, bytes);
}

/* With what is on top of it, behind what was read. */
static int read_input(const struct reading *g, const struct level *l, const struct wf_segment *s,
                      uint32_t i, char *buffer, char *behind, const char **in)
{
    const struct wf_job *job = s->job;
    const struct wf_tensor *t = job->in[i];
    int status = read_stored(g, l, s, i, buffer, behind, in);
    if (status || !wf_job_makes_input(job, i))
        return status;
    struct wf_making m = {
        .r = g->r,
        .tensor = t,
        .wide = job->wide,
        .range = wf_segment_elements(s),
        .values = buffer + wf_fused_stored_bytes(job, i, g->r->options->budget->fused.chunk)};
    g->r->options->backend->widen(t->dtype, *in, m.range.to - m.range.from, m.wide, m.values);
    *in = m.values;
    return wf_addends_apply(&m);
}

static int map(const struct reading *g, const struct level *l, const struct wf_segment *s,
               const char *const *in, char *to)
{
    const struct wf_job *job = s->job;
    const struct wf_plan *plan = l->owner.fused->plan;
    struct wf_range elements = wf_segment_elements(s);
    bool seen = wf_stream_sinks_only(g->r->options); /* all of it was checked when it was merged */
    struct wf_tile tile = {.method = job->method,
                           .args = job->args,
                           .in = (const void *const *)in,
                           .in_dtype = job->in_dtype,
                           .n = job->n_inputs,
                           .cast = (uint8_t)plan->cast,
                           .wide = job->wide,
                           .check = !plan->recipe->allow_non_finite && !seen,
                           .first = elements.from,
                           .count = elements.to - elements.from,
                           .from = elements.from,
                           .to = elements.to,
                           .total = job->count,
                           .rows = job->rows,
                           .draw_key = job->draw_key,
                           .out = to,
                           .out_dtype = job->dtype,
                           .scratch = g->maker->scratch};
    struct wf_tile_result result = {.verdict = WF_TILE_OK};
    wf_backend_cpu()->map(&tile, &result);
    return result.verdict == WF_TILE_OK ? WF_OK : wf_tile_report(g->r->e, plan, job, &result);
}

/* One run. */
static int make_run(const struct reading *g, const struct level *l, const struct wf_segment *s,
                    char *to)
{
    const struct wf_job *job = s->job;
    const char *in[WF_MODELS_MAX + 1];
    char *buffer = l->buffers, *behind = l->buffers;
    uint32_t chunk = g->r->options->budget->fused.chunk;
    int status = WF_OK;
    for (uint32_t i = 0; i < job->n_inputs; i++)
        behind += wf_fused_buffer_bytes(job, i, chunk);
    for (uint32_t i = 0; i < job->n_inputs && !status; i++) {
        status = read_input(g, l, s, i, buffer, behind, &in[i]);
        buffer += wf_fused_buffer_bytes(job, i, chunk);
    }
    if (status)
        return status;
    return job->action == WF_ACTION_COPY ? wf_segment_copy(g->r->e, l->owner.fused->plan, s, in, to)
                                         : map(g, l, s, in, to);
}

/* Every input is in the page cache: then runs that stay in the processor's are faster, and none
 * otherwise. */
static bool is_cached(const struct reading *g, const struct level *l)
{
    const struct wf_job *job = l->owner.fused->job;
    bool cached = true;
    for (uint32_t i = 0; i < job->n_inputs && cached; i++) {
        struct wf_owner owner = {&l->owner, job->input_ckpt[i], job->in[i]->fused};
        cached = job->in[i]->fused || wf_owner_file(g->r, &owner, job->in[i]->file)->cached;
    }
    return cached;
}

/* Bytes [offset, offset + bytes) of the level's tensor. */
static int make(const struct reading *g, const struct level *l, uint64_t offset, uint64_t bytes,
                char *to)
{
    const struct wf_job *job = l->owner.fused->job;
    uint64_t width = wf_max_u64(wf_dtype_info((enum wf_dtype)job->dtype)->bits / 8, 1);
    uint64_t chunk = g->r->options->budget->fused.chunk;
    uint64_t run = width * (is_cached(g, l) ? wf_min_u64(chunk, CACHED_CHUNK) : chunk);
    int status = WF_OK;
    for (uint64_t at = 0; at < bytes && !status; at += run) {
        struct wf_segment s = {job, offset + at, wf_min_u64(run, bytes - at)};
        status = make_run(g, l, &s, to + at);
    }
    return status;
}

int wf_fused_read(struct wf_ring *r, const struct wf_maker *maker, const struct wf_read *read,
                  char *to)
{
    struct reading g = {r, maker};
    struct level l = {{.ckpt = read->ckpt, .fused = read->tensor->fused}, maker->buffers};
    return make(&g, &l, read->offset, read->bytes, to);
}

int wf_makers_create(struct wf_ring *r)
{
    const struct wf_budget *b = r->options->budget;
    if (!b->fused.chunk)
        return WF_OK;
    r->makers = wf_alloc(r->e, WF_MEM_META, b->readers, sizeof *r->makers, "threads");
    for (unsigned i = 0; r->makers && i < b->readers; i++) {
        struct wf_maker *m = &r->makers[i];
        m->scratch = wf_map_pages(r->e, wf_scratch_bytes(&b->fused.scratch), "scratch memory");
        m->buffers = wf_map_pages(r->e, b->fused.buffer_bytes, "inputs of a stage");
        if (!m->scratch || !m->buffers)
            return WF_MACHINE;
    }
    return r->makers ? WF_OK : WF_MACHINE;
}

void wf_makers_destroy(struct wf_ring *r)
{
    const struct wf_budget *b = r->options->budget;
    for (unsigned i = 0; r->makers && i < b->readers; i++) {
        wf_unmap_pages(r->makers[i].scratch, wf_scratch_bytes(&b->fused.scratch));
        wf_unmap_pages(r->makers[i].buffers, b->fused.buffer_bytes);
    }
    wf_free(r->makers);
}
