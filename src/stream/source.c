/* source.c - loads factors, and makes inputs from stored values and addends. */
#include "source.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "../base/mem.h"
#include "../base/num.h"
#include "../format/delta_file.h"
#include "fused_read.h"

/* ---- factors ---- */

static uint64_t width_of(bool wide)
{
    return wide ? sizeof(double) : sizeof(float);
}

/* The factor's numbers as the product wants them: [rows][rank], [rank][cols]. */
static void turn(const struct wf_factor *f, bool wide, const char *stored, char *values)
{
    uint64_t rows = f->tensor->shape[0], cols = f->tensor->count / (rows ? rows : 1);
    uint64_t width = width_of(wide);
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++)
            memcpy(values + (c * rows + r) * width, stored + (r * cols + c) * width, width);
}

static int check_finite(struct wf_ring *r, const char *path, const struct wf_factor *f, bool wide,
                        const void *values)
{
    const float *narrow = values;
    const double *doubles = values;
    for (uint64_t k = 0; k < f->tensor->count && !r->options->plan->recipe->allow_non_finite; k++)
        if (!isfinite(wide ? doubles[k] : (double)narrow[k]))
            return wf_fail(
                r->e, WF_INPUT,
                "%s: tensor '%s' of the adapter holds NaN or infinity at element %" PRIu64
                ", or a number too large for float; mend the adapter, or say "
                "non_finite: allow in the recipe",
                path, f->tensor->name, k);
    return WF_OK;
}

/* Reads the factor's numbers, in the file's order. */
static int read_factor(struct wf_ring *r, struct wf_infile *file, const struct wf_factor *f,
                       bool wide, void *values)
{
    const struct wf_tensor *t = f->tensor;
    uint64_t at = t->offset % WF_DIRECT_ALIGN;
    uint64_t room = wf_round_up(at + t->bytes, WF_DIRECT_ALIGN);
    char *stored = wf_map_pages(r->e, room, "an adapter");
    if (!stored)
        return WF_MACHINE;
    int status = wf_infile_read(r->e, file, stored + at, t->offset, t->bytes);
    if (!status) {
        r->stats.bytes_read += t->bytes;
        r->options->backend->widen(t->dtype, stored + at, t->count, wide, values);
        status = check_finite(r, file->path, f, wide, values);
    }
    wf_unmap_pages(stored, room);
    return status;
}

/* A factor is read whole: what is loaded at a time is small beside what stays. */
static int load_factor(struct wf_ring *r, const struct wf_owner *o, struct wf_factor *f, bool wide)
{
    struct wf_infile *file = wf_owner_file(r, o, f->tensor->file);
    uint64_t count = f->tensor->count, width = width_of(wide);
    char *turned = NULL;
    char *values = f->values[wide] = wf_alloc(r->e, WF_MEM_RING, count, width, "an adapter");
    int status = values ? read_factor(r, file, f, wide, values) : WF_MACHINE;
    if (status || !f->transposed)
        return status;
    turned = wf_alloc(r->e, WF_MEM_RING, count, width, "an adapter");
    if (!turned)
        return WF_MACHINE;
    turn(f, wide, values, turned);
    wf_free(values);
    f->values[wide] = turned;
    return WF_OK;
}

static int load_part(struct wf_ring *r, const struct wf_owner *o, struct wf_delta_part *part)
{
    r->stats.bytes_read += part->positions->bytes;
    return wf_delta_load(r->e, part, wf_owner_file(r, o, part->positions->file));
}

static int load_addends(struct wf_ring *r, const struct wf_owner *o, struct wf_addend *a, bool wide)
{
    int status = WF_OK;
    for (; a && !status; a = a->next) {
        if (a->kind == WF_ADDEND_SPARSE && !a->part->marks)
            status = load_part(r, o, a->part);
        if (!status && a->row.tensor && !a->row.values[wide])
            status = load_factor(r, o, &a->row, wide);
        if (!status && a->col.tensor && !a->col.values[wide])
            status = load_factor(r, o, &a->col, wide);
    }
    return status;
}

/* What is on top of the models whose rows a table takes. */
static int load_donors(struct wf_ring *r, const struct wf_row_view *rows, bool wide)
{
    int status = WF_OK;
    for (size_t d = 0; d < rows->n_donors && !status; d++) {
        const struct wf_tensor *t = rows->donors[d].tensor;
        if (!t || !t->addend)
            continue;
        struct wf_owner donor = {.ckpt = wf_rows_donor(r, &rows->donors[d])};
        status = load_addends(r, &donor, t->addend, wide);
    }
    return status;
}

/* Of all inputs; of those that are computed on the way also what these are computed from. */
static int load_inputs(struct wf_ring *r, const struct wf_job *job, const struct wf_owner *up)
{
    int status = WF_OK;
    for (uint32_t i = 0; i < job->n_inputs && !status; i++) {
        const struct wf_tensor *t = job->in[i];
        struct wf_owner own = {up, job->input_ckpt[i], t->fused};
        status = load_addends(r, &own, t->addend, job->wide);
        if (!status && t->fused)
            status = load_inputs(r, t->fused->job, &own);
        if (!status && t->rows)
            status = load_donors(r, t->rows, job->wide);
        if (!status && t->rows)
            status = wf_rows_prepare(r, job, i);
    }
    return status;
}

int wf_sources_create(struct wf_ring *r)
{
    const struct wf_plan *plan = r->options->plan;
    int status = WF_OK;
    for (size_t j = 0; j < plan->n_jobs && !status; j++)
        status = load_inputs(r, &plan->jobs[j], NULL);
    return status;
}

static void unload(struct wf_factor *f)
{
    for (int wide = 0; wide < 2; wide++) {
        wf_free(f->values[wide]);
        f->values[wide] = NULL;
    }
}

static void unload_addends(struct wf_addend *a)
{
    for (; a; a = a->next) {
        unload(&a->row);
        unload(&a->col);
        if (a->part)
            wf_delta_unload(a->part);
    }
}

static void unload_tensor(const struct wf_tensor *t)
{
    unload_addends(t->addend);
    for (size_t d = 0; t->rows && d < t->rows->n_donors; d++)
        if (t->rows->donors[d].tensor)
            unload_addends(t->rows->donors[d].tensor->addend);
    if (t->rows)
        wf_rows_forget(t->rows);
    for (uint32_t i = 0; t->fused && i < t->fused->job->n_inputs; i++)
        unload_tensor(t->fused->job->in[i]);
}

void wf_sources_destroy(struct wf_ring *r)
{
    const struct wf_plan *plan = r->options->plan;
    for (size_t j = 0; j < plan->n_jobs; j++)
        for (uint32_t i = 0; i < plan->jobs[j].n_inputs; i++)
            unload_tensor(plan->jobs[j].in[i]);
}

/* ---- inputs ---- */

static struct wf_infile *file_of(const struct wf_making *m, const struct wf_delta_part *part)
{
    return &m->r->inputs[m->ckpt][part->positions->file];
}

/* A factor that is not there is one number, one. */
static const void *values_of(const struct wf_factor *f, bool wide)
{
    static const float narrow_one = 1;
    static const double wide_one = 1;
    if (f->tensor)
        return f->values[wide];
    return wide ? (const void *)&wide_one : (const void *)&narrow_one;
}

static void add_product(const struct wf_making *m, const struct wf_addend *a)
{
    bool wide = m->wide;
    struct wf_product p = {.cols = a->cols,
                           .rank = a->rank,
                           .scale = a->scale,
                           .row = values_of(&a->row, wide),
                           .col = values_of(&a->col, wide)};
    m->r->options->backend->add_product(&p, m->range.from, m->range.to, wide, m->values);
}

/* Adds what several deltas add together: the sum is made before the tensor's own value is looked
 * at, and where they have nothing that keeps its bits. */
static void add_sums(bool wide, const void *sums, uint64_t count, void *values)
{
    const float *narrow_sums = sums;
    const double *wide_sums = sums;
    float *narrow = values;
    double *doubles = values;
    for (uint64_t k = 0; wide && k < count; k++)
        if (wide_sums[k] != 0)
            doubles[k] += wide_sums[k];
    for (uint64_t k = 0; !wide && k < count; k++)
        if (narrow_sums[k] != 0)
            narrow[k] += narrow_sums[k];
}

/* A run of addends that are deltas of one store: from `a` to before `end`. */
static int apply_deltas(const struct wf_making *m, const struct wf_addend *a,
                        const struct wf_addend *end)
{
    uint64_t width = m->wide ? sizeof(double) : sizeof(float);
    char *scratch = m->bench->places, *sums = scratch + wf_delta_scratch_bytes();
    int status = WF_OK;
    for (uint64_t from = m->range.from, to; !status && from < m->range.to; from = to) {
        to = wf_min_u64(m->range.to, from + WF_DELTA_CHUNK);
        char *values = m->values + (from - m->range.from) * width;
        if (!a->replace)
            memset(sums, 0, (to - from) * width);
        for (const struct wf_addend *d = a; !status && d != end; d = d->next)
            status = wf_delta_apply(m->r->e, d, file_of(m, d->part), from, to, m->wide,
                                    a->replace ? values : sums, scratch);
        if (!status && !a->replace)
            add_sums(m->wide, sums, to - from, values);
    }
    return status;
}

int wf_addends_apply(const struct wf_making *m)
{
    const struct wf_addend *a = m->tensor->addend;
    int status = WF_OK;
    while (a && !status) {
        const struct wf_addend *end = a->next;
        if (a->kind == WF_ADDEND_PRODUCT) {
            add_product(m, a);
        } else {
            while (end && end->kind == WF_ADDEND_SPARSE && end->replace == a->replace)
                end = end->next;
            status = apply_deltas(m, a, end);
        }
        a = end;
    }
    return status;
}

static int make_input(const struct wf_making *m, const char *stored)
{
    m->r->options->backend->widen(m->tensor->dtype, stored, m->range.to - m->range.from, m->wide,
                                  m->values);
    return m->tensor->rows ? wf_rows_make(m) : wf_addends_apply(m);
}

/* Of a COPY the bytes that were read are changed: what is kept there are stored bits. */
static int patch_input(const struct wf_making *m, char *stored)
{
    uint64_t width = wf_dtype_info(m->tensor->dtype)->bits / 8;
    int status = WF_OK;
    for (const struct wf_addend *a = m->tensor->addend; a; a = a->next)
        for (uint64_t from = m->range.from, to; !status && from < m->range.to; from = to) {
            to = wf_min_u64(m->range.to, from + WF_DELTA_CHUNK);
            status = wf_delta_patch(m->r->e, a->part, file_of(m, a->part), from, to,
                                    stored + (from - m->range.from) * width, m->bench->places);
        }
    return status;
}

int wf_sources_make(struct wf_ring *r, const struct wf_slot *slot, const struct wf_bench *bench)
{
    const struct wf_place_in_slot *place = slot->span.places;
    int status = WF_OK;
    if (r->options->null_compute)
        return WF_OK;
    for (uint32_t s = 0; s < slot->span.n_segments; s++) {
        const struct wf_segment *g = &slot->span.segments[s];
        for (uint32_t i = 0; i < g->job->n_inputs; i++, place++) {
            if (status || !wf_tensor_is_made(g->job->in[i]))
                continue;
            struct wf_making m = {.r = r,
                                  .bench = bench,
                                  .tensor = g->job->in[i],
                                  .ckpt = g->job->input_ckpt[i],
                                  .wide = g->job->wide,
                                  .range = wf_segment_window(g),
                                  .values = slot->in + place->at};
            char *stored = slot->in + place->stored;
            status =
                wf_job_makes_input(g->job, i) ? make_input(&m, stored) : patch_input(&m, stored);
        }
    }
    return status;
}
