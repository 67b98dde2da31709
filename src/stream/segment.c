/* segment.c - one segment, or a piece of one: COPY or MAP, and the sentence when that fails.
 *
 * Inputs are in the slot already, or, in a slot marked `late`, still in the page cache. Then the
 * compute thread fetches them itself, a piece at a time that fits its second-level cache: the copy
 * that read(2) makes is the copy that the arithmetic needs (docs/PERFORMANCE.md).
 */
#include <inttypes.h>
#include <string.h>

#include "../base/num.h"
#include "ring.h"

#define LATE_BYTES (256u << 10) /* inputs of a piece together: a quarter of a common L2 */
#define LATE_ALIGN 4096u

static const struct wf_plan_ckpt *ckpt_of(const struct wf_ring *r, const struct wf_job *job,
                                          uint32_t input)
{
    return &r->options->plan->ckpts[job->input_ckpt[input]];
}

static const char *file_of(const struct wf_ring *r, const struct wf_job *job, uint32_t input)
{
    return ckpt_of(r, job, input)->ckpt->files[job->in[input]->file].path;
}

/* COPY: the first input's bytes; every other input must hold the same. */
static int run_copy(struct wf_ring *r, const struct wf_segment *g, const char *const *in, char *out)
{
    const struct wf_job *job = g->job;
    for (uint32_t i = 1; i < job->n_inputs; i++) {
        if (!memcmp(in[0], in[i], g->bytes))
            continue;
        uint64_t at = 0;
        while (in[0][at] == in[i][at])
            at++;
        return wf_fail(r->e, WF_INPUT,
                       "%s: tensor '%s' (%s) differs from %s at byte %" PRIu64
                       " of the tensor; tensors of this type are copied and must be equal in "
                       "all models: exclude it to take the base's or first model's",
                       file_of(r, job, i), job->name, wf_dtype_info(job->dtype)->name,
                       file_of(r, job, 0), g->skip + at);
    }
    memcpy(out, in[0], g->bytes);
    return WF_OK;
}

static int report(struct wf_ring *r, const struct wf_job *job, const struct wf_tile_result *result)
{
    if (result->verdict == WF_TILE_OVERFLOW)
        return wf_fail(r->e, WF_INPUT,
                       "tensor '%s': the result at element %" PRIu64 " does not fit %s; choose a "
                       "wider dtype or smaller weights, or say non_finite: allow",
                       job->name, result->index, wf_dtype_info(job->dtype)->name);
    const struct wf_tensor *t = job->in[result->input];
    uint64_t width = wf_dtype_info(t->dtype)->bits / 8;
    return wf_fail(r->e, WF_INPUT,
                   "%s: tensor '%s' holds NaN or infinity at element %" PRIu64 " (byte %" PRIu64
                   " of the file); mend the model, or say non_finite: allow in the recipe",
                   file_of(r, job, result->input), job->name, result->index,
                   t->offset + result->index * width);
}

static int run_map(struct wf_ring *r, const struct wf_segment *g, const char *const *in, char *out)
{
    const struct wf_job *job = g->job;
    uint64_t width = wf_dtype_info(job->dtype)->bits / 8;
    struct wf_tile tile = {.method = wf_method_index(job->method),
                           .args = job->args,
                           .in = (const void *const *)in,
                           .in_dtype = job->in_dtype,
                           .cast = (uint8_t)r->options->plan->cast,
                           .n = job->n_inputs,
                           .out = out,
                           .out_dtype = job->dtype,
                           .wide = job->wide,
                           .check = !r->options->plan->recipe->allow_non_finite,
                           .first = g->skip / width,
                           .count = g->bytes / width};
    struct wf_tile_result result;
    r->options->backend->map(&tile, &result);
    return result.verdict == WF_TILE_OK ? WF_OK : report(r, job, &result);
}

/* COPY or MAP with the inputs at in[]. Without arithmetic there is nothing left to do. */
static int run_piece(struct wf_ring *r, const struct wf_segment *g, const char *const *in,
                     char *out)
{
    if (r->options->null_compute)
        return WF_OK;
    return g->job->action == WF_ACTION_COPY ? run_copy(r, g, in, out) : run_map(r, g, in, out);
}

/* Reads the piece's inputs one behind the other into the slot's buffer, always at its start. */
static int fetch(struct wf_ring *r, const struct wf_slot *slot, const struct wf_segment *piece,
                 const char **in)
{
    const struct wf_job *job = piece->job;
    char *to = slot->in;
    int status = WF_OK;
    for (uint32_t i = 0; !status && i < job->n_inputs; i++) {
        const struct wf_tensor *t = job->in[i];
        uint64_t bytes = wf_job_input_bytes(job, i, piece->bytes);
        uint64_t offset = t->offset + wf_job_input_bytes(job, i, piece->skip);
        status = wf_infile_read(r->e, &r->inputs[job->input_ckpt[i]][t->file],
                                to + offset % LATE_ALIGN, offset, bytes);
        in[i] = to + offset % LATE_ALIGN;
        to += wf_round_up(offset % LATE_ALIGN + bytes, LATE_ALIGN);
    }
    return status;
}

/* Output bytes of a late piece: whole pages, so that elements stay whole. */
static uint64_t piece_bytes(const struct wf_segment *g)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < g->job->n_inputs; i++)
        sum += wf_job_input_bytes(g->job, i, LATE_ALIGN);
    return wf_max_u64(LATE_BYTES / sum, 1) * LATE_ALIGN;
}

static int run_late(struct wf_ring *r, const struct wf_slot *slot, const struct wf_segment *g,
                    const char **in, char *out)
{
    uint64_t step = piece_bytes(g);
    int status = WF_OK;
    for (uint64_t at = 0; !status && at < g->bytes; at += step) {
        struct wf_segment piece = {g->job, g->skip + at, wf_min_u64(step, g->bytes - at)};
        status = fetch(r, slot, &piece, in);
        if (!status)
            status = run_piece(r, &piece, in, out + at);
    }
    return status;
}

int wf_segment_run(struct wf_ring *r, const struct wf_slot *slot, const struct wf_segment *g,
                   const uint64_t *place, char *out)
{
    const char *in[WF_MODELS_MAX + 1]; /* and a base that only donates */
    if (slot->late)
        return run_late(r, slot, g, in, out);
    for (uint32_t i = 0; i < g->job->n_inputs; i++)
        in[i] = slot->in + place[i];
    return run_piece(r, g, in, out);
}
