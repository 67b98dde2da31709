/* sizing.c - loads of ranks: the deal's, and what memory adds to them. */
#include "sizing.h"

#include "../base/num.h"
#include "deal.h"
#include "span.h"

struct sizing {
    const struct wf_plan *plan;
    const struct wf_budget *budget;
    bool by_plan;
    struct wf_deal deal;
    uint64_t *first; /* by shard: the number of its first block */
    struct wf_sizing_rank *ranks;
    uint64_t *spans; /* by rank: of its share ... */
    uint64_t *other; /* ... and with another budget */
    uint64_t once;   /* what would be read if no two ranks shared a tensor */
};

double wf_sizing_share(const struct wf_sizing *z, const struct wf_sizing_rank *r)
{
    double all = (double)(z->read + z->written);
    return all > 0 ? (double)wf_sizing_load(r) * z->n / all : 1;
}

/* ---- statistics of tensors ---- */

/* A tensor that the ring does not hold is read for each look at it by all who make some of it, and
 * once more, only what they make, to be merged. The deal has counted it once. */
static void add_visits(const struct wf_job *job, uint64_t visits, uint64_t place,
                       const struct wf_deal *deal, uint32_t *rank, struct wf_sizing_rank *ranks)
{
    uint64_t whole = wf_job_inputs(job, job->bytes), made = 0;
    while (made < job->bytes) {
        while (deal->begin[*rank + 1] <= place + made)
            (*rank)++;
        uint64_t end = wf_min_u64(deal->begin[*rank + 1] - place, job->bytes);
        uint64_t own = wf_job_inputs(job, end) - wf_job_inputs(job, made);
        ranks[*rank].read += visits * whole + own - whole;
        made = end;
    }
}

static void add_tensors(struct sizing *z)
{
    uint32_t rank = 0;
    for (size_t j = 0; j < z->plan->n_jobs && !z->by_plan; j++) {
        const struct wf_job *job = &z->plan->jobs[j];
        unsigned visits = wf_budget_visits_tensor(z->budget, job);
        z->once += visits * wf_job_inputs(job, job->bytes);
        if (visits)
            add_visits(job, visits, wf_plan_place(z->first, job->shard, job->offset), &z->deal,
                       &rank, z->ranks);
    }
}

/* ---- statistics of the model ---- */

/* A rank whose ring holds its share reads it once (stream/gather.c). */
static bool holds(const struct wf_budget *b, uint64_t spans)
{
    return b->model_resident || (!b->apart_jobs && spans + WF_SLOTS_MIN <= b->slots);
}

static uint64_t most_spans(const struct sizing *z, const uint64_t *spans)
{
    uint64_t most = 0;
    for (uint32_t r = 0; r < z->deal.ranks; r++)
        most = wf_max_u64(most, spans[r]);
    return most;
}

/* Whether every rank holds its share with `memory`. */
static bool is_enough(const struct sizing *z, uint64_t memory)
{
    const struct wf_budget *b = z->budget;
    struct wf_means means = {.memory_bytes = memory,
                             .meta_bytes = b->meta_bytes,
                             .threads = b->threads,
                             .lanes = b->lanes,
                             .ranks = b->ranks};
    struct wf_budget other;
    struct wf_err too_little = {0};
    if (wf_budget_set(&too_little, z->plan, &means, &other))
        return false;
    wf_span_count_ranges(z->plan, &other, z->first, z->deal.begin, z->deal.ranks, z->other);
    return holds(&other, most_spans(z, z->other));
}

#define MEMORY_MOST ((uint64_t)1 << 50)

/* A memory with which every rank holds its share, in three digits of megabytes: reckoned from the
 * present slots, and tried; twice as much where they are small ones, which grow with memory. 0:
 * they do already, or none is enough. */
static uint64_t find_memory(const struct sizing *z)
{
    const struct wf_budget *b = z->budget;
    uint64_t most = most_spans(z, z->spans);
    uint64_t wanted = b->meta_bytes + b->statistics_bytes + b->outputs * b->span_bytes +
                      (most + WF_SLOTS_MIN) * (b->input_bytes + b->input_bytes / 64);
    if (holds(b, most) || !is_enough(z, MEMORY_MOST)) /* a ring has only so many slots */
        return 0;
    for (; wanted < MEMORY_MOST; wanted *= 2)
        if (is_enough(z, wf_round_up_memory(wanted)))
            return wf_round_up_memory(wanted);
    return 0;
}

/* Looks at the model's elements besides the one that merges them. By the plan alone, one for each
 * pass; by the budget, none where it holds the rank's share, and more where ties are cut. */
static void add_model(struct sizing *z, struct wf_sizing *out)
{
    const struct wf_plan *p = z->plan;
    uint64_t visits = z->by_plan || !p->n_model_jobs
                          ? p->passes - 1
                          : wf_budget_visits_model(z->budget, p->model_jobs[0]);
    bool may_hold = !z->by_plan && visits;
    if (may_hold)
        wf_span_count_ranges(p, z->budget, z->first, z->deal.begin, z->deal.ranks, z->spans);
    for (uint32_t r = 0; r < z->deal.ranks; r++) {
        uint64_t looks = may_hold && holds(z->budget, z->spans[r]) ? 0 : visits;
        z->ranks[r].read += looks * z->deal.loads[r].model;
        z->once += looks * z->deal.loads[r].model;
    }
    out->resident = may_hold ? find_memory(z) : 0;
}

/* What a rank gives to the others, about: samples and one count of each SELECT of model scope, ties
 * by piece, and the nodes that are left of a FOLD's tree, of which tensors have one or two each. */
static uint64_t joined_bytes(const struct wf_plan *p, const struct wf_budget *b, uint32_t ranks)
{
    const struct wf_job *job = b->model.pieces ? p->model_jobs[0] : NULL;
    uint64_t words = 0;
    for (size_t k = 0; job && ranks > 1 && k < job->method->n_stages; k++) {
        const struct wf_stage *stage = &job->method->stages[k];
        if (job->args->scope[k] != WF_SCOPE_MODEL)
            continue;
        if (stage->kind == WF_STAGE_SELECT) {
            uint64_t streams = stage->select.per_model ? job->n_inputs - 1 : 1;
            uint64_t cuts = streams * stage->select.n_ranks;
            uint64_t ties = job->args->ties == WF_TIES_INCLUSIVE ? 0 : b->model.pieces;
            words += cuts * (b->model.bins + ties) + streams * b->model.keys / ranks;
        } else if (stage->kind == WF_STAGE_FOLD) {
            uint64_t nodes = WF_TREE_LEVELS + 2 * p->n_model_jobs / ranks;
            words += nodes * (2 + (uint64_t)stage->fold.terms(job->n_inputs));
        }
    }
    return words * sizeof(uint64_t);
}

/* ---- all ---- */

/* Blocks that begin before a place. */
static uint64_t blocks_begun(uint64_t place)
{
    return (place + WF_BLOCK_BYTES - 1) / WF_BLOCK_BYTES;
}

static int share_out(struct wf_err *e, struct wf_arena *a, struct sizing *z, uint32_t ranks)
{
    struct wf_deal_work work = {.model_passes = z->plan->passes - 1};
    z->first = wf_arena_alloc(a, e, z->plan->n_shards + 1, sizeof *z->first);
    z->ranks = wf_arena_alloc(a, e, ranks, sizeof *z->ranks);
    z->spans = wf_arena_alloc(a, e, ranks, sizeof *z->spans);
    z->other = wf_arena_alloc(a, e, ranks, sizeof *z->other);
    if (!z->first || !z->ranks || !z->spans || !z->other)
        return WF_MACHINE;
    wf_plan_number_blocks(z->plan, z->first);
    int status = wf_deal_make(e, a, z->plan, &work, ranks, &z->deal);
    for (uint32_t r = 0; !status && r < ranks; r++) {
        const struct wf_deal_load *l = &z->deal.loads[r];
        z->ranks[r] = (struct wf_sizing_rank){.number = r,
                                              .blocks = blocks_begun(z->deal.begin[r + 1]) -
                                                        blocks_begun(z->deal.begin[r]),
                                              .read = l->read - work.model_passes * l->model,
                                              .written = l->written};
    }
    return status;
}

static void add_up(struct wf_sizing *out)
{
    for (uint32_t r = 0; r < out->n; r++) {
        uint64_t load = wf_sizing_load(&out->ranks[r]);
        out->read += out->ranks[r].read;
        out->written += out->ranks[r].written;
        out->most = load > wf_sizing_load(&out->ranks[out->most]) ? r : out->most;
        out->least = load < wf_sizing_load(&out->ranks[out->least]) ? r : out->least;
    }
}

int wf_sizing_make(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                   const struct wf_budget *b, bool by_plan, uint32_t ranks, struct wf_sizing *out)
{
    struct sizing z = {.plan = plan, .budget = b, .by_plan = by_plan, .once = plan->bytes_read};
    *out = (struct wf_sizing){.n = ranks, .joined = joined_bytes(plan, b, ranks)};
    int status = share_out(e, a, &z, ranks);
    if (status)
        return status;
    add_tensors(&z);
    add_model(&z, out);
    out->ranks = z.ranks;
    add_up(out);
    out->shared = out->read > z.once ? out->read - z.once : 0;
    return status;
}
