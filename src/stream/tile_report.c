/* tile_report.c - COPY, and the sentences for what a tile or a copy finds wrong with its inputs. */
#include "tile_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct wf_plan_ckpt *ckpt_of(const struct wf_plan *plan, const struct wf_job *job,
                                          uint32_t input)
{
    return &plan->ckpts[job->input_ckpt[input]];
}

/* The input's file; a stage that is computed on the way has none. */
static const char *file_of(const struct wf_plan *plan, const struct wf_job *job, uint32_t input)
{
    const struct wf_ckpt *k = ckpt_of(plan, job, input)->ckpt;
    const struct wf_tensor *t = job->in[input];
    return t->fused ? k->place.path : k->files[t->file].path;
}

int wf_segment_copy(struct wf_err *e, const struct wf_plan *plan, const struct wf_segment *g,
                    const char *const *in, char *out)
{
    const struct wf_job *job = g->job;
    for (uint32_t i = 1; i < job->n_inputs; i++) {
        if (!memcmp(in[0], in[i], g->bytes))
            continue;
        uint64_t at = 0;
        while (in[0][at] == in[i][at])
            at++;
        return wf_fail(e, WF_INPUT,
                       "%s: tensor '%s' (%s) differs from %s at byte %" PRIu64
                       " of the tensor; tensors of this type are copied and must be equal in "
                       "all models: exclude it to take the base's or first model's",
                       file_of(plan, job, i), job->name, wf_dtype_info(job->dtype)->name,
                       file_of(plan, job, 0), g->skip + at);
    }
    memcpy(out, in[0], g->bytes);
    return WF_OK;
}

/* NaN or infinity in a tensor whose rows have moved. */
static int report_row(struct wf_err *e, const struct wf_plan *plan, const struct wf_job *job,
                      uint32_t input, uint64_t index)
{
    const struct wf_row_view *view = job->in[input]->rows;
    uint64_t row = index / view->cols;
    int32_t from = view->map->from[row];
    char place[96] = "made of rows of other models";
    if (from == WF_ROW_MEAN)
        snprintf(place, sizeof place, "the mean of the model's rows");
    else if (from >= 0)
        snprintf(place, sizeof place, "row %" PRId32 " of the file", from);
    return wf_fail(e, WF_INPUT,
                   "%s: tensor '%s' holds NaN or infinity in row %" PRIu64
                   " of the new vocabulary (%s); mend the model, or say non_finite: allow in the "
                   "recipe",
                   file_of(plan, job, input), job->name, row, place);
}

static int report_input(struct wf_err *e, const struct wf_plan *plan, const struct wf_job *job,
                        const struct wf_tile_result *result)
{
    const struct wf_tensor *t = job->in[result->input];
    const char *file = file_of(plan, job, result->input);
    if (t->rows)
        return report_row(e, plan, job, result->input, result->index);
    if (t->addend)
        return wf_fail(e, WF_INPUT,
                       "%s: tensor '%s', with what is on top of it in '%s', holds NaN or infinity "
                       "at element %" PRIu64 "; mend that, or say non_finite: allow in the recipe",
                       file, job->name, ckpt_of(plan, job, result->input)->text, result->index);
    if (t->fused)
        return wf_fail(e, WF_INPUT,
                       "%s: tensor '%s' of this stage holds NaN or infinity at element %" PRIu64
                       "; mend its models, or say non_finite: allow in this document, too",
                       file, job->name, result->index);
    uint64_t width = wf_dtype_info((enum wf_dtype)t->dtype)->bits / 8;
    return wf_fail(e, WF_INPUT,
                   "%s: tensor '%s' holds NaN or infinity at element %" PRIu64 " (byte %" PRIu64
                   " of the file); mend the model, or say non_finite: allow in the recipe",
                   file, job->name, result->index, t->offset + result->index * width);
}

int wf_tile_report(struct wf_err *e, const struct wf_plan *plan, const struct wf_job *job,
                   const struct wf_tile_result *result)
{
    if (result->verdict == WF_TILE_FAILED)
        return wf_fail(e, WF_MACHINE, "tensor '%s': %s", job->name, result->why);
    if (result->verdict == WF_TILE_REFUSED)
        return wf_fail(e, WF_INPUT, "tensor '%s', the row or column of element %" PRIu64 ": %s",
                       job->name, result->index, result->why);
    if (result->verdict == WF_TILE_OVERFLOW)
        return wf_fail(e, WF_INPUT,
                       "tensor '%s': the result at element %" PRIu64 " does not fit %s; choose a "
                       "wider dtype or smaller weights, or say non_finite: allow",
                       job->name, result->index, wf_dtype_info(job->dtype)->name);
    return report_input(e, plan, job, result);
}
