/* fused.c - stages that are computed when they are read; see fused.h. */
#include "fused.h"

#include <stdlib.h>
#include <string.h>

#include "../base/num.h"
#include "../format/outfile.h"

/* ---- which ---- */

static bool is_elementwise(const struct wf_job *job)
{
    for (size_t s = 0; job->action == WF_ACTION_MAP && s < job->method->n_stages; s++)
        if (job->args->scope[s] != WF_SCOPE_OFF && job->args->scope[s] != WF_SCOPE_ELEMENT)
            return false;
    return true;
}

/* Kept places of task deltas, and rows of a vocabulary that are made, want more than a reader has.
 */
static bool is_at_hand(const struct wf_tensor *t)
{
    bool has = !t->rows || (!t->rows->map->makes && !t->rows->stored->addend);
    for (size_t d = 0; t->rows && d < t->rows->n_donors; d++)
        has &= !t->rows->donors[d].tensor || !t->rows->donors[d].tensor->addend;
    for (const struct wf_addend *a = t->addend; a; a = a->next)
        has &= a->kind == WF_ADDEND_PRODUCT;
    return has;
}

bool wf_fused_suits(const struct wf_plan *plan)
{
    bool suits = !plan->null_compute;
    for (size_t j = 0; j < plan->n_jobs && suits; j++) {
        const struct wf_job *job = &plan->jobs[j];
        suits = is_elementwise(job);
        for (uint32_t i = 0; i < job->n_inputs && suits; i++)
            suits = is_at_hand(job->in[i]);
    }
    return suits;
}

/* ---- the checkpoint ---- */

static uint32_t add_file(struct wf_ckpt *c, const struct wf_ckpt_file *f)
{
    uint32_t n = 0;
    while (n < c->n_files && strcmp(c->files[n].path, f->path) != 0)
        n++;
    if (n == c->n_files)
        c->files[c->n_files++] = *f;
    return n;
}

/* All files of the plan's inputs, each once. */
static int add_files(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                     struct wf_ckpt *c, const uint32_t *const **out)
{
    const uint32_t **files = wf_arena_alloc(a, e, plan->n_ckpts, sizeof *files);
    size_t most = 0;
    for (size_t k = 0; k < plan->n_ckpts; k++)
        most += plan->ckpts[k].ckpt->n_files;
    c->files = wf_arena_alloc(a, e, most, sizeof *c->files);
    if (!files || !c->files)
        return WF_MACHINE;
    for (size_t k = 0; k < plan->n_ckpts; k++) {
        const struct wf_ckpt *from = plan->ckpts[k].ckpt;
        uint32_t *numbers = wf_arena_alloc(a, e, from->n_files, sizeof *numbers);
        if (!numbers)
            return WF_MACHINE;
        for (size_t f = 0; f < from->n_files; f++)
            numbers[f] = add_file(c, &from->files[f]);
        files[k] = numbers;
    }
    *out = files;
    return WF_OK;
}

static int by_name(const void *left, const void *right)
{
    const struct wf_tensor *a = left, *b = right;
    return strcmp(a->name, b->name);
}

int wf_fused_ckpt(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                  struct wf_ckpt *c)
{
    const uint32_t *const *files;
    struct wf_fused *fused = wf_arena_alloc(a, e, plan->n_jobs, sizeof *fused);
    c->tensors = wf_arena_alloc(a, e, plan->n_jobs, sizeof *c->tensors);
    if (!fused || !c->tensors)
        return WF_MACHINE;
    int status = add_files(e, a, plan, c, &files);
    if (status)
        return status;
    c->fused = plan;
    for (c->n_tensors = 0; c->n_tensors < plan->n_jobs; c->n_tensors++) {
        const struct wf_job *job = &plan->jobs[c->n_tensors];
        fused[c->n_tensors] = (struct wf_fused){plan, job, files};
        c->tensors[c->n_tensors] = wf_plan_tensor(job);
        c->tensors[c->n_tensors].fused = &fused[c->n_tensors];
        c->tensors[c->n_tensors].file = 0;
        c->tensors[c->n_tensors].offset = 0;
    }
    if (c->n_tensors)
        qsort(c->tensors, c->n_tensors, sizeof *c->tensors, by_name);
    return WF_OK;
}

/* ---- bytes ---- */

uint64_t wf_fused_read_bytes(const struct wf_tensor *t, uint64_t bytes)
{
    if (!t->fused)
        return bytes;
    const struct wf_job *job = t->fused->job;
    bool maps = job->action == WF_ACTION_MAP;
    uint64_t sum = 0, elements = maps ? bytes / (wf_dtype_info(job->dtype)->bits / 8) : 0;
    for (uint32_t i = 0; i < job->n_inputs; i++) {
        const struct wf_tensor *in = job->in[i];
        uint64_t width = wf_dtype_info((enum wf_dtype)in->dtype)->bits / 8;
        sum += wf_fused_read_bytes(in, maps ? elements * width : bytes);
    }
    return sum;
}

uint64_t wf_fused_stored_bytes(const struct wf_job *job, uint32_t i, uint32_t chunk)
{
    uint64_t width = wf_max_u64(wf_dtype_info((enum wf_dtype)job->in[i]->dtype)->bits / 8, 1);
    return wf_round_up(chunk * width, WF_DIRECT_ALIGN) + 2 * WF_DIRECT_ALIGN;
}

uint64_t wf_fused_buffer_bytes(const struct wf_job *job, uint32_t i, uint32_t chunk)
{
    uint64_t made = wf_job_makes_input(job, i) ? wf_dtype_info(job->in_dtype[i])->bits / 8 : 0;
    return wf_fused_stored_bytes(job, i, chunk) + wf_round_up(chunk * made, WF_DIRECT_ALIGN);
}

/* Raises *need by what this tensor takes; the buffers of a stage within lie behind its own. */
static void add_need(const struct wf_tensor *t, uint32_t chunk, uint64_t below,
                     struct wf_fused_need *need)
{
    if (!t->fused)
        return;
    const struct wf_job *job = t->fused->job;
    for (uint32_t i = 0; i < job->n_inputs; i++)
        below += wf_fused_buffer_bytes(job, i, chunk);
    need->chunk = chunk;
    need->buffer_bytes = wf_max_u64(need->buffer_bytes, below);
    need->scratch.inputs = (uint32_t)wf_max_u64(need->scratch.inputs, job->n_inputs);
    if (job->action == WF_ACTION_MAP)
        need->scratch.table = (uint32_t)wf_max_u64(need->scratch.table, job->args->n_t);
    for (uint32_t i = 0; i < job->n_inputs; i++)
        add_need(job->in[i], chunk, below, need);
}

struct wf_fused_need wf_fused_needs(const struct wf_plan *plan, uint32_t chunk)
{
    struct wf_fused_need need = {.scratch.inputs = 1};
    for (size_t j = 0; j < plan->n_jobs; j++)
        for (uint32_t i = 0; i < plan->jobs[j].n_inputs; i++)
            add_need(plan->jobs[j].in[i], chunk, 0, &need);
    return need;
}
