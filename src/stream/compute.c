/* compute.c - compute threads: COPY and MAP over the segments of a span, then the checksum while
 * the result is still in the cache.
 */
#include <inttypes.h>
#include <string.h>

#include "ring.h"

#define INPUTS_ON_STACK 16u

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
    uint8_t few[INPUTS_ON_STACK], *dtypes = few;
    if (job->n_inputs > INPUTS_ON_STACK &&
        !(dtypes = wf_alloc(r->e, WF_MEM_META, job->n_inputs, 1, "input types")))
        return WF_MACHINE;
    for (uint32_t i = 0; i < job->n_inputs; i++)
        dtypes[i] = job->in[i]->dtype;
    uint64_t width = wf_dtype_info(job->dtype)->bits / 8;
    struct wf_tile tile = {.method = wf_method_index(job->method),
                           .args = job->args,
                           .in = (const void *const *)in,
                           .in_dtype = dtypes,
                           .n = job->n_inputs,
                           .out = out,
                           .out_dtype = job->dtype,
                           .wide = job->wide,
                           .check = !r->options->plan->recipe->allow_non_finite,
                           .first = g->skip / width,
                           .count = g->bytes / width};
    struct wf_tile_result result;
    r->options->backend->map(&tile, &result);
    if (dtypes != few)
        wf_free(dtypes);
    return result.verdict == WF_TILE_OK ? WF_OK : report(r, job, &result);
}

/* All segments of a span. */
static int compute_span(struct wf_ring *r, struct wf_slot *slot)
{
    const char *few[INPUTS_ON_STACK];
    const uint64_t *place = slot->span.input_at;
    char *out = slot->out + slot->span.begin % r->options->budget->span_bytes;
    int status = WF_OK;
    for (uint32_t s = 0; !status && s < slot->span.n_segments; s++) {
        const struct wf_segment *g = &slot->span.segments[s];
        uint32_t n = g->job->n_inputs;
        const char **in = few;
        if (n > INPUTS_ON_STACK &&
            !(in = wf_alloc(r->e, WF_MEM_META, n, sizeof *in, "input places")))
            return WF_MACHINE;
        for (uint32_t i = 0; i < n; i++)
            in[i] = slot->in + place[i];
        status =
            g->job->action == WF_ACTION_COPY ? run_copy(r, g, in, out) : run_map(r, g, in, out);
        if (in != few)
            wf_free(in);
        place += n;
        out += g->bytes;
    }
    return status;
}

/* Under the lock: hashes every piece whose turn it is, this one or others that waited for it. */
static void hash_ready(struct wf_ring *r)
{
    struct wf_blocks *b = r->options->blocks;
    bool again = true;
    while (again && !r->abandon) {
        again = false;
        for (uint32_t i = 0; i < r->n_slots && !r->abandon; i++) {
            struct wf_slot *s = &r->slots[i];
            const struct wf_span *p = &s->span;
            if (s->state != WF_SLOT_DONE || !wf_blocks_claim(b, p->shard, p->begin))
                continue;
            wf_ring_move(r, s, WF_SLOT_DONE, WF_SLOT_HASHING);
            pthread_mutex_unlock(&r->lock);
            wf_blocks_hash(b, p->shard, p->begin, p->end,
                           s->out + p->begin % r->options->budget->span_bytes);
            pthread_mutex_lock(&r->lock);
            wf_blocks_release(b, p->shard, p->begin, p->end);
            wf_ring_move(r, s, WF_SLOT_HASHING, WF_SLOT_WRITABLE);
            again = true;
        }
    }
}

void *wf_compute_run(void *ring)
{
    struct wf_ring *r = ring;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        struct wf_slot *slot = r->abandon ? NULL : wf_ring_first(r, WF_SLOT_READY);
        if (!slot) {
            if (r->closing)
                break;
            pthread_cond_wait(&r->changed[WF_SLOT_READY], &r->lock);
            continue;
        }
        wf_ring_move(r, slot, WF_SLOT_READY, WF_SLOT_COMPUTING);
        pthread_mutex_unlock(&r->lock);
        int status = r->options->null_compute ? WF_OK : compute_span(r, slot);
        if (status)
            wf_ring_abandon(r);
        pthread_mutex_lock(&r->lock);
        wf_ring_move(r, slot, WF_SLOT_COMPUTING, WF_SLOT_DONE);
        if (r->abandon)
            wf_ring_drop_idle(r);
        else
            hash_ready(r);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}
