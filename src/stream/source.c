/* source.c - loads factors, and makes inputs from stored values and addends. */
#include "source.h"

#include <math.h>
#include <string.h>

#include "../base/mem.h"
#include "../base/num.h"

/* ---- factors ---- */

/* The factor's numbers as the product wants them: [rows][rank], [rank][cols]. */
static void put_in_order(const struct wf_factor *f, const float *stored, float *values)
{
    uint64_t rows = f->tensor->shape[0], cols = f->tensor->count / (rows ? rows : 1);
    if (!f->transposed) {
        memcpy(values, stored, f->tensor->count * sizeof *values);
        return;
    }
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++)
            values[c * rows + r] = stored[r * cols + c];
}

static int check_finite(struct wf_ring *r, const char *path, const struct wf_factor *f,
                        const float *values)
{
    for (uint64_t k = 0; k < f->tensor->count && !r->options->plan->recipe->allow_non_finite; k++)
        if (!isfinite(values[k]))
            return wf_fail(r->e, WF_INPUT,
                           "%s: tensor '%s' of the adapter holds NaN or infinity at element %llu; "
                           "mend the adapter, or say non_finite: allow in the recipe",
                           path, f->tensor->name, (unsigned long long)k);
    return WF_OK;
}

/* A factor is read whole: what is loaded at a time is small beside what stays. */
static int load_factor(struct wf_ring *r, uint32_t ckpt, struct wf_factor *f)
{
    const struct wf_tensor *t = f->tensor;
    struct wf_infile *file = &r->inputs[ckpt][t->file];
    uint64_t at = t->offset % WF_DIRECT_ALIGN;
    uint64_t room = wf_round_up(at + t->bytes, WF_DIRECT_ALIGN);
    char *stored = wf_map_pages(r->e, room, "an adapter");
    float *values = wf_alloc(r->e, WF_MEM_RING, t->count, sizeof *values, "an adapter");
    float *wide = wf_alloc(r->e, WF_MEM_RING, t->count, sizeof *wide, "an adapter");
    int status = stored && values && wide ? WF_OK : WF_MACHINE;
    if (!status)
        status = wf_infile_read(r->e, file, stored + at, t->offset, t->bytes);
    if (!status) {
        r->stats.bytes_read += t->bytes;
        r->options->backend->widen(t->dtype, stored + at, t->count, false, wide);
        status = check_finite(r, file->path, f, wide);
    }
    if (!status)
        put_in_order(f, wide, values);
    if (stored)
        wf_unmap_pages(stored, room);
    wf_free(wide);
    f->values = values;
    return status;
}

static int load_addends(struct wf_ring *r, uint32_t ckpt, struct wf_addend *a)
{
    int status = WF_OK;
    for (; a && !status; a = a->next) {
        if (!a->row.values)
            status = load_factor(r, ckpt, &a->row);
        if (!status && !a->col.values)
            status = load_factor(r, ckpt, &a->col);
    }
    return status;
}

int wf_sources_create(struct wf_ring *r)
{
    const struct wf_plan *plan = r->options->plan;
    int status = WF_OK;
    for (size_t j = 0; j < plan->n_jobs && !status; j++) {
        const struct wf_job *job = &plan->jobs[j];
        for (uint32_t i = 0; i < job->n_inputs && !status; i++)
            status = load_addends(r, job->input_ckpt[i], job->in[i]->addend);
    }
    return status;
}

static void unload(struct wf_factor *f)
{
    wf_free(f->values);
    f->values = NULL;
}

void wf_sources_destroy(struct wf_ring *r)
{
    const struct wf_plan *plan = r->options->plan;
    for (size_t j = 0; j < plan->n_jobs; j++)
        for (uint32_t i = 0; i < plan->jobs[j].n_inputs; i++)
            for (struct wf_addend *a = plan->jobs[j].in[i]->addend; a; a = a->next) {
                unload(&a->row);
                unload(&a->col);
            }
}

/* ---- inputs ---- */

static void make_input(struct wf_ring *r, const struct wf_segment *g, uint32_t i,
                       const struct wf_place_in_slot *place, char *in)
{
    const struct wf_job *job = g->job;
    const struct wf_backend *backend = r->options->backend;
    struct wf_range w = wf_segment_window(g);
    char *values = in + place->at;
    backend->widen(job->in[i]->dtype, in + place->stored, w.to - w.from, job->wide, values);
    for (const struct wf_addend *a = job->in[i]->addend; a; a = a->next) {
        struct wf_product p = {.cols = a->cols,
                               .rank = a->rank,
                               .scale = a->scale,
                               .row = a->row.values,
                               .col = a->col.values};
        backend->add_product(&p, w.from, w.to, job->wide, values);
    }
}

int wf_sources_make(struct wf_ring *r, const struct wf_slot *slot)
{
    const struct wf_place_in_slot *place = slot->span.places;
    if (r->options->null_compute)
        return WF_OK;
    for (uint32_t s = 0; s < slot->span.n_segments; s++) {
        const struct wf_segment *g = &slot->span.segments[s];
        for (uint32_t i = 0; i < g->job->n_inputs; i++, place++)
            if (g->job->in[i]->addend)
                make_input(r, g, i, place, slot->in);
    }
    return WF_OK;
}
