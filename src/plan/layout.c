/* layout.c - order of tensors, split into shards, offsets, headers: all before any arithmetic.
 *
 *   model-00001-of-00002.safetensors            model-00002-of-00002.safetensors
 *   [ header .. pad to 4096 | t0 | t1 | t2 ]     [ header .. | t3 | t4 ]
 *
 * Tensors stand in canonical order (larger types first, then by name), so each begins at a
 * multiple of its element size.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/num.h"
#include "../format/outfile.h"
#include "../format/st_header.h"
#include "plan.h"

/* The model hub's own parser stops at 25 MB of header; a shard with more tensors is split. */
#define HEADER_BYTES_MAX 20000000u

static int job_order(const void *left, const void *right)
{
    const struct wf_job *a = left, *b = right;
    return wf_st_compare(a->dtype, a->name, b->dtype, b->name);
}

/* A generous estimate of a tensor's part of the header: escapes at most double a name. */
static uint64_t header_estimate(const struct wf_job *job)
{
    return 2 * strlen(job->name) + 96 + 21u * job->n_dims;
}

/* Greedy, in order: a new shard when current + tensor > limit. Counts shards; with `shards` set
 * fills in the job ranges as well. */
static size_t split(struct wf_plan *plan, struct wf_shard *shards)
{
    size_t n = 0, in_shard = 0;
    uint64_t data = 0, header = 0;
    for (size_t i = 0; i < plan->n_jobs; i++) {
        struct wf_job *job = &plan->jobs[i];
        uint64_t text = header_estimate(job);
        bool full = data + job->bytes > plan->shard_bytes || header + text > HEADER_BYTES_MAX;
        if (n == 0 || (in_shard && full)) {
            n++;
            data = header = in_shard = 0;
            if (shards)
                shards[n - 1].first_job = i;
        }
        data += job->bytes;
        header += text;
        in_shard++;
        if (shards) {
            shards[n - 1].n_jobs++;
            job->shard = (uint32_t)(n - 1);
        }
    }
    return n;
}

static int format_header(struct wf_err *e, struct wf_plan *plan, struct wf_shard *shard)
{
    struct wf_st_tensor *tensors =
        wf_alloc(e, WF_MEM_META, shard->n_jobs, sizeof *tensors, "an output header");
    if (!tensors)
        return WF_MACHINE;
    uint64_t at = 0;
    for (size_t i = 0; i < shard->n_jobs; i++) {
        struct wf_job *job = &plan->jobs[shard->first_job + i];
        tensors[i] = (struct wf_st_tensor){.name = job->name,
                                           .dtype = job->dtype,
                                           .n_dims = job->n_dims,
                                           .shape = job->shape,
                                           .count = job->count,
                                           .begin = at,
                                           .end = at + job->bytes};
        job->offset = at;
        at += job->bytes;
    }
    int status = wf_st_format(e, tensors, shard->n_jobs, WF_DIRECT_ALIGN, &shard->header);
    if (!status)
        status = wf_str_finish(&shard->header, e);
    for (size_t i = 0; !status && i < shard->n_jobs; i++)
        plan->jobs[shard->first_job + i].offset += shard->header.n;
    shard->bytes = shard->header.n + at;
    wf_free(tensors);
    return status;
}

int wf_lay_out(struct wf_err *e, struct wf_plan *plan)
{
    if (plan->n_jobs)
        qsort(plan->jobs, plan->n_jobs, sizeof *plan->jobs, job_order);
    size_t n = split(plan, NULL);
    bool empty = n == 0; /* no tensors at all: still one valid file */
    n += empty;
    struct wf_shard *shards = wf_arena_alloc(plan->arena, e, n, sizeof *shards);
    if (!shards)
        return WF_MACHINE;
    split(plan, shards);
    plan->shards = shards;
    plan->n_shards = n;
    for (size_t i = 0; i < n; i++) {
        shards[i].name =
            n == 1 ? "model.safetensors"
                   : wf_arena_printf(plan->arena, e, "model-%05zu-of-%05zu.safetensors", i + 1, n);
        if (!shards[i].name)
            return WF_MACHINE;
        int status = format_header(e, plan, &shards[i]);
        if (status)
            return status;
    }
    return WF_OK;
}

uint64_t wf_plan_blocks(const struct wf_plan *plan, uint32_t shard)
{
    return (plan->shards[shard].bytes + WF_BLOCK_BYTES - 1) / WF_BLOCK_BYTES;
}

void wf_plan_number_blocks(const struct wf_plan *plan, uint64_t *first)
{
    first[0] = 0;
    for (uint32_t s = 0; s < plan->n_shards; s++)
        first[s + 1] = first[s] + wf_plan_blocks(plan, s);
}
