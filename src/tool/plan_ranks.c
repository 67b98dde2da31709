/* plan_ranks.c - the sizing of a merge that several ranks share.
 *
 * The deal (plan/deal.h) says what each rank reads at least; what it reads again for statistics, as
 * memory is too little to hold a tensor or the model, comes from the budget, which is the same for
 * all. Nothing but headers is needed.
 */
#include "plan_ranks.h"

#include <inttypes.h>

#include "../base/num.h"
#include "../plan/deal.h"
#include "../plan/span.h"
#include "plan_time.h"
#include "report.h"

#define RANKS_LISTED 8u
#define LANES_EACH 3u /* of a GPU: one copies in, one computes, one copies out */
#define DEVICE_MEMORY_MAX ((uint64_t)1 << 50)

struct rank {
    uint32_t number;
    uint64_t blocks, read, written;
};

struct sizing {
    const struct weft_options *o;
    const struct wf_setup *s;
    uint32_t n;
    struct rank *ranks;
    uint64_t read, written; /* of all together */
    uint64_t once;          /* what one process alone would read */
    uint64_t joined;        /* bytes that each gives to the others for the model's statistics */
    uint32_t least, most;   /* the ranks with the least and the largest load */
};

int wf_plan_ranks_check(struct wf_err *e, const struct weft_options *o)
{
    if (o->gpus_per_rank && !o->ranks)
        return wf_fail(e, WF_USAGE, "--gpus-per-rank speaks of ranks; say how many, with --ranks");
    if (o->gpus_per_rank && o->backend == WEFT_BACKEND_CPU)
        return wf_fail(e, WF_USAGE, "--gpus-per-rank and --backend cpu contradict each other");
    return WF_OK;
}

int wf_plan_ranks_lanes(struct wf_err *e, const struct weft_options *o, struct wf_setup *s)
{
    struct wf_budget *b = &s->budget;
    unsigned gpus = o->gpus_per_rank;
    if (!gpus)
        return WF_OK;
    unsigned threads = o->threads ? o->threads : b->threads;
    if (!o->threads && threads < LANES_EACH * gpus)
        threads = LANES_EACH * gpus;
    int status = wf_budget_set(e, &s->plan, b->memory_bytes, b->meta_bytes, threads, true, b);
    s->gpu.need = (struct wf_device_need){.tiles = b->scratch,
                                          .input_bytes = b->input_bytes,
                                          .output_bytes = b->span_bytes,
                                          .lanes = (b->compute + gpus - 1) / gpus,
                                          .slots = (b->slots + gpus - 1) / gpus};
    uint64_t memory = o->device_memory_bytes ? o->device_memory_bytes : DEVICE_MEMORY_MAX;
    return status ? status : wf_device_lay_out(e, &s->gpu.need, memory, &s->gpu.layout);
}

/* ---- what the ranks do ---- */

static uint64_t load_of(const struct rank *r)
{
    return r->read + r->written;
}

/* A tensor that the ring does not hold is read for each look at it by all who make some of it, and
 * once more, only what they make, to be merged. The deal has counted it once. */
static void add_visits(const struct wf_job *job, uint64_t visits, uint64_t first_block,
                       const struct wf_deal *deal, uint32_t *rank, struct rank *ranks)
{
    uint64_t whole = wf_job_inputs(job, job->bytes), made = 0;
    while (made < job->bytes) {
        uint64_t block = first_block + (job->offset + made) / WF_BLOCK_BYTES;
        while (deal->first[*rank + 1] <= block)
            (*rank)++;
        uint64_t cut = (deal->first[*rank + 1] - first_block) * WF_BLOCK_BYTES;
        uint64_t end = wf_min_u64(cut - job->offset, job->bytes);
        uint64_t own = wf_job_inputs(job, end) - wf_job_inputs(job, made);
        ranks[*rank].read += visits * whole + own - whole;
        made = end;
    }
}

static int add_all_visits(struct wf_err *e, const struct wf_setup *s, struct wf_arena *a,
                          const struct wf_deal *deal, struct rank *ranks)
{
    const struct wf_plan *p = &s->plan;
    uint64_t *first = wf_arena_alloc(a, e, p->n_shards + 1, sizeof *first);
    uint32_t rank = 0;
    if (!first)
        return WF_MACHINE;
    wf_plan_number_blocks(p, first);
    for (size_t j = 0; j < p->n_jobs; j++) {
        const struct wf_job *job = &p->jobs[j];
        unsigned visits = wf_budget_visits_tensor(&s->budget, job);
        if (visits)
            add_visits(job, visits, first[job->shard], deal, &rank, ranks);
    }
    return WF_OK;
}

/* What a rank gives to the others, about: samples and one count of each SELECT of model scope, ties
 * by piece, and the nodes that are left of a FOLD's tree, of which tensors have one or two each. */
static uint64_t joined_bytes(const struct wf_setup *s, uint32_t ranks)
{
    const struct wf_budget *b = &s->budget;
    const struct wf_job *job = b->model.pieces ? s->plan.model_jobs[0] : NULL;
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
            uint64_t nodes = WF_TREE_LEVELS + 2 * s->plan.n_model_jobs / ranks;
            words += nodes * (2 + (uint64_t)stage->fold.terms(job->n_inputs));
        }
    }
    return words * sizeof(uint64_t);
}

static void add_up(struct sizing *z)
{
    for (uint32_t r = 0; r < z->n; r++) {
        uint64_t load = load_of(&z->ranks[r]);
        z->read += z->ranks[r].read;
        z->written += z->ranks[r].written;
        z->most = load > load_of(&z->ranks[z->most]) ? r : z->most;
        z->least = load < load_of(&z->ranks[z->least]) ? r : z->least;
    }
}

/* How often elements of model scope are read for statistics. By the budget's memory: not at all, or
 * once more where ties are cut; by the plan alone: once for each pass. */
static uint64_t model_visits(const struct sizing *z)
{
    const struct wf_plan *p = &z->s->plan;
    if (z->o->diffable || !p->n_model_jobs)
        return p->passes - 1;
    return wf_budget_visits_model(&z->s->budget, p->model_jobs[0]);
}

static int size_up(struct wf_err *e, struct wf_arena *a, struct sizing *z)
{
    const struct wf_plan *p = &z->s->plan;
    struct wf_deal_work work = {.model_passes = p->passes - 1};
    struct wf_deal deal;
    uint64_t visits = model_visits(z), model = 0;
    int status = wf_deal_make(e, a, p, &work, z->n, &deal);
    z->ranks = status ? NULL : wf_arena_alloc(a, e, z->n, sizeof *z->ranks);
    if (!z->ranks)
        return WF_MACHINE;
    for (uint32_t r = 0; r < z->n; r++) {
        const struct wf_deal_load *l = &deal.loads[r];
        z->ranks[r] =
            (struct rank){.number = r,
                          .blocks = deal.first[r + 1] - deal.first[r],
                          .read = l->read - work.model_passes * l->model + visits * l->model,
                          .written = l->written};
        model += l->model;
    }
    z->once = p->bytes_read + visits * model;
    if (!z->o->diffable) {
        z->once = p->bytes_read + z->s->budget.again_bytes;
        status = add_all_visits(e, z->s, a, &deal, z->ranks);
    }
    z->joined = joined_bytes(z->s, z->n);
    add_up(z);
    return status;
}

static struct wf_plan_time rank_time(const struct sizing *z, const struct rank *r)
{
    return wf_plan_time(z->o, &z->s->budget, r->read, r->written);
}

/* The longest time of any rank: the time of all. */
static struct wf_plan_time longest_time(const struct sizing *z)
{
    struct wf_plan_time longest = rank_time(z, &z->ranks[0]);
    for (uint32_t r = 1; r < z->n; r++) {
        struct wf_plan_time t = rank_time(z, &z->ranks[r]);
        if (t.seconds > longest.seconds)
            longest = t;
    }
    return longest;
}

/* Of the mean load. */
static double share(const struct sizing *z, const struct rank *r)
{
    double all = (double)(z->read + z->written);
    return all > 0 ? (double)load_of(r) * z->n / all : 1;
}

/* ---- for people ---- */

static void print_rank(struct wf_report *out, const struct sizing *z, const char *what,
                       const struct rank *r)
{
    char text[3][32];
    struct wf_plan_time t = rank_time(z, r);
    snprintf(text[2], sizeof text[2], "%s%" PRIu32, what, r->number);
    wf_report_text(out, "  %-14s %7" PRIu64 "  %9s  %9s  %6.3f", text[2], r->blocks,
                   wf_format_bytes(r->read, text[0]), wf_format_bytes(r->written, text[1]),
                   share(z, r));
    if (!z->o->diffable)
        wf_report_text(out, "  %8.1f s  %s", t.seconds, load_of(r) ? t.binds : "");
    wf_report_end(out);
}

static void print_mean(struct wf_report *out, const struct sizing *z)
{
    char text[2][32];
    uint64_t blocks = 0;
    for (uint32_t r = 0; r < z->n; r++)
        blocks += z->ranks[r].blocks;
    wf_report_text(out, "  %-14s %7.1f  %9s  %9s  %6.3f", "mean", (double)blocks / z->n,
                   wf_format_bytes(z->read / z->n, text[0]),
                   wf_format_bytes(z->written / z->n, text[1]), 1.0);
    wf_report_end(out);
}

static void print_table(struct wf_report *out, const struct sizing *z)
{
    wf_report_text(out, "  %-14s %7s  %9s  %9s  %6s%s", "", "blocks", "read", "written", "share",
                   z->o->diffable ? "" : "        time  binds");
    wf_report_end(out);
    if (z->n > RANKS_LISTED)
        print_rank(out, z, "least, rank ", &z->ranks[z->least]);
    for (uint32_t r = 0; r < z->n && z->n <= RANKS_LISTED; r++)
        print_rank(out, z, "rank ", &z->ranks[r]);
    print_mean(out, z);
    if (z->n > RANKS_LISTED)
        print_rank(out, z, "largest, rank ", &z->ranks[z->most]);
}

static void print_machines(struct wf_report *out, const struct sizing *z)
{
    const struct wf_budget *b = &z->s->budget;
    char text[4][32];
    struct wf_plan_time t = longest_time(z);
    wf_report_text(out, "  memory       %s each, %s together",
                   wf_format_bytes(b->memory_bytes, text[0]),
                   wf_format_bytes(b->memory_bytes * z->n, text[1]));
    if (z->o->gpus_per_rank)
        wf_report_text(out, "; %s of each GPU",
                       wf_format_bytes(z->s->gpu.layout.device_bytes, text[2]));
    wf_report_end(out);
    wf_report_text(out,
                   "  time         about %.1f s (read %.1f, compute %.1f, write %.1f); %s binds",
                   t.seconds, t.read_s, t.compute_s, t.write_s, t.binds);
    wf_report_end(out);
    if (t.seconds > 0) {
        wf_report_text(out, "  rate         of all together %s read, %s written per second",
                       wf_format_bytes((uint64_t)((double)z->read / t.seconds), text[2]),
                       wf_format_bytes((uint64_t)((double)z->written / t.seconds), text[3]));
        wf_report_end(out);
    }
}

static void print_text(struct wf_report *out, const struct sizing *z)
{
    char text[2][32];
    wf_report_text(out, "ranks       %" PRIu32, z->n);
    if (z->o->gpus_per_rank)
        wf_report_text(out, ", %u GPU%s each", z->o->gpus_per_rank,
                       z->o->gpus_per_rank == 1 ? "" : "s");
    wf_report_end(out);
    print_table(out, z);
    wf_report_text(out, "  file system  %s read, %s written", wf_format_bytes(z->read, text[0]),
                   wf_format_bytes(z->written, text[1]));
    if (z->read > z->once)
        wf_report_text(out, "; %s of it because ranks share tensors",
                       wf_format_bytes(z->read - z->once, text[1]));
    wf_report_end(out);
    if (z->joined && !z->o->diffable) {
        wf_report_text(out, "  joined       about %s from each rank, for statistics of the model",
                       wf_format_bytes(z->joined, text[0]));
        wf_report_end(out);
    }
    if (!z->o->diffable)
        print_machines(out, z);
}

/* ---- for scripts ---- */

static void print_rank_json(struct wf_report *out, const struct sizing *z, const struct rank *r)
{
    struct wf_plan_time t = rank_time(z, r);
    wf_str_puts(&out->line, "{\"event\":\"plan_rank\"");
    wf_report_u64(out, "rank", r->number);
    wf_report_u64(out, "blocks", r->blocks);
    wf_report_u64(out, "bytes_read", r->read);
    wf_report_u64(out, "bytes_written", r->written);
    wf_report_f64(out, "share", share(z, r));
    if (!z->o->diffable) {
        wf_report_u64(out, "memory", z->s->budget.memory_bytes);
        wf_report_f64(out, "seconds_read", t.read_s);
        wf_report_f64(out, "seconds_compute", t.compute_s);
        wf_report_f64(out, "seconds_write", t.write_s);
        wf_report_string(out, "binds", t.binds);
    }
    wf_report_close(out);
}

static void print_json(struct wf_report *out, const struct sizing *z)
{
    struct wf_plan_time t = longest_time(z);
    wf_str_puts(&out->line, "{\"event\":\"plan_ranks\"");
    wf_report_u64(out, "ranks", z->n);
    wf_report_u64(out, "gpus_per_rank", z->o->gpus_per_rank);
    wf_report_u64(out, "bytes_read", z->read);
    wf_report_u64(out, "bytes_written", z->written);
    wf_report_u64(out, "bytes_read_shared", z->read > z->once ? z->read - z->once : 0);
    wf_report_f64(out, "share_largest", share(z, &z->ranks[z->most]));
    wf_report_f64(out, "share_least", share(z, &z->ranks[z->least]));
    if (!z->o->diffable) {
        wf_report_u64(out, "bytes_joined", z->joined);
        wf_report_u64(out, "memory", z->s->budget.memory_bytes);
        wf_report_u64(out, "device_memory", z->s->gpu.layout.device_bytes);
        wf_report_f64(out, "seconds_estimated", t.seconds);
        wf_report_string(out, "binds", t.binds);
    }
    wf_report_close(out);
    for (uint32_t r = 0; r < z->n; r++)
        print_rank_json(out, z, &z->ranks[r]);
}

int wf_plan_ranks_print(struct wf_err *e, const struct weft_options *o, const struct wf_setup *s)
{
    struct wf_arena a = {0};
    struct wf_report out;
    struct sizing z = {.o = o, .s = s, .n = o->ranks};
    int status = size_up(e, &a, &z);
    wf_report_open(&out, o);
    if (!status && out.json)
        print_json(&out, &z);
    else if (!status)
        print_text(&out, &z);
    int finished = wf_report_finish(&out, e);
    wf_arena_destroy(&a);
    return status ? status : finished;
}
