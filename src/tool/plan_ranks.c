/* plan_ranks.c - prints the sizing of a merge that several ranks share (plan/sizing.h). Nothing but
 * headers is needed. */
#include "plan_ranks.h"

#include <inttypes.h>

#include "../base/num.h"
#include "../dist/join_ranks.h"
#include "../plan/sizing.h"
#include "plan_time.h"
#include "report.h"

#define RANKS_LISTED 8u
#define LANES_EACH 3u /* of a GPU: one copies in, one computes, one copies out */
#define DEVICE_MEMORY_MAX ((uint64_t)1 << 50)

struct printed {
    const struct weft_options *o;
    const struct wf_setup *s;
    struct wf_sizing z;
};

int wf_plan_ranks_check(struct wf_err *e, const struct weft_options *o)
{
    if (o->gpus_per_rank && !o->ranks)
        return wf_fail(e, WF_USAGE, "--gpus-per-rank speaks of ranks; say how many, with --ranks");
    if (o->gpus_per_rank && o->backend == WEFT_BACKEND_CPU)
        return wf_fail(e, WF_USAGE, "--gpus-per-rank and --backend cpu contradict each other");
    return WF_OK;
}

int wf_plan_ranks_budget(struct wf_err *e, const struct weft_options *o, struct wf_setup *s)
{
    struct wf_budget *b = &s->budget;
    unsigned gpus = o->gpus_per_rank;
    struct wf_means means = {.memory_bytes = b->memory_bytes,
                             .meta_bytes = b->meta_bytes,
                             .threads = b->threads,
                             .lanes = b->lanes || gpus,
                             .ranks = o->ranks};
    if (o->ranks > 1 && s->plan.n_model_jobs)
        means.meta_bytes += WF_JOIN_ROOM_BYTES;
    if (!o->threads && means.threads < LANES_EACH * gpus)
        means.threads = LANES_EACH * gpus;
    int status = wf_budget_set(e, &s->plan, &means, b);
    if (status || !gpus)
        return status;
    s->gpu.need = (struct wf_device_need){.tiles = b->scratch,
                                          .input_bytes = b->input_bytes,
                                          .output_bytes = b->span_bytes,
                                          .lanes = (b->compute + gpus - 1) / gpus,
                                          .slots = (b->slots + gpus - 1) / gpus};
    uint64_t memory = o->device_memory_bytes ? o->device_memory_bytes : DEVICE_MEMORY_MAX;
    return wf_device_lay_out(e, &s->gpu.need, memory, &s->gpu.layout);
}

static struct wf_plan_time rank_time(const struct printed *p, const struct wf_sizing_rank *r)
{
    return wf_plan_time(p->o, &p->s->budget, r->read, r->written);
}

/* The longest time of any rank: the time of all. */
static struct wf_plan_time longest_time(const struct printed *p)
{
    struct wf_plan_time longest = rank_time(p, &p->z.ranks[0]);
    for (uint32_t r = 1; r < p->z.n; r++) {
        struct wf_plan_time t = rank_time(p, &p->z.ranks[r]);
        if (t.seconds > longest.seconds)
            longest = t;
    }
    return longest;
}

/* ---- for people ---- */

static void print_rank(struct wf_report *out, const struct printed *p, const char *what,
                       const struct wf_sizing_rank *r)
{
    char text[3][32];
    struct wf_plan_time t = rank_time(p, r);
    snprintf(text[2], sizeof text[2], "%s%" PRIu32, what, r->number);
    wf_report_text(out, "  %-14s %7" PRIu64 "  %9s  %9s  %6.3f", text[2], r->blocks,
                   wf_format_bytes(r->read, text[0]), wf_format_bytes(r->written, text[1]),
                   wf_sizing_share(&p->z, r));
    if (!p->o->diffable)
        wf_report_text(out, "  %8.1f s  %s", t.seconds, wf_sizing_load(r) ? t.binds : "");
    wf_report_end(out);
}

static void print_mean(struct wf_report *out, const struct printed *p)
{
    char text[2][32];
    uint64_t blocks = 0;
    for (uint32_t r = 0; r < p->z.n; r++)
        blocks += p->z.ranks[r].blocks;
    wf_report_text(out, "  %-14s %7.1f  %9s  %9s  %6.3f", "mean", (double)blocks / p->z.n,
                   wf_format_bytes(p->z.read / p->z.n, text[0]),
                   wf_format_bytes(p->z.written / p->z.n, text[1]), 1.0);
    wf_report_end(out);
}

static void print_table(struct wf_report *out, const struct printed *p)
{
    wf_report_text(out, "  %-14s %7s  %9s  %9s  %6s%s", "", "blocks", "read", "written", "share",
                   p->o->diffable ? "" : "        time  binds");
    wf_report_end(out);
    if (p->z.n > RANKS_LISTED)
        print_rank(out, p, "least, rank ", &p->z.ranks[p->z.least]);
    for (uint32_t r = 0; r < p->z.n && p->z.n <= RANKS_LISTED; r++)
        print_rank(out, p, "rank ", &p->z.ranks[r]);
    print_mean(out, p);
    if (p->z.n > RANKS_LISTED)
        print_rank(out, p, "largest, rank ", &p->z.ranks[p->z.most]);
}

static void print_machines(struct wf_report *out, const struct printed *p)
{
    const struct wf_budget *b = &p->s->budget;
    char text[4][32];
    struct wf_plan_time t = longest_time(p);
    wf_report_text(out, "  memory       %s each, %s together",
                   wf_format_bytes(b->memory_bytes, text[0]),
                   wf_format_bytes(b->memory_bytes * p->z.n, text[1]));
    if (p->o->gpus_per_rank)
        wf_report_text(out, "; %s of each GPU",
                       wf_format_bytes(p->s->gpu.layout.device_bytes, text[2]));
    wf_report_end(out);
    wf_report_text(out,
                   "  time         about %.1f s (read %.1f, compute %.1f, write %.1f); %s binds",
                   t.seconds, t.read_s, t.compute_s, t.write_s, t.binds);
    wf_report_end(out);
    if (t.seconds > 0) {
        wf_report_text(out, "  rate         of all together %s read, %s written per second",
                       wf_format_bytes((uint64_t)((double)p->z.read / t.seconds), text[2]),
                       wf_format_bytes((uint64_t)((double)p->z.written / t.seconds), text[3]));
        wf_report_end(out);
    }
}

static void print_text(struct wf_report *out, const struct printed *p)
{
    char text[2][32];
    wf_report_text(out, "ranks       %" PRIu32, p->z.n);
    if (p->o->gpus_per_rank)
        wf_report_text(out, ", %u GPU%s each", p->o->gpus_per_rank,
                       p->o->gpus_per_rank == 1 ? "" : "s");
    wf_report_end(out);
    print_table(out, p);
    wf_report_text(out, "  file system  %s read, %s written", wf_format_bytes(p->z.read, text[0]),
                   wf_format_bytes(p->z.written, text[1]));
    if (p->z.shared)
        wf_report_text(out, "; %s of it because ranks share tensors",
                       wf_format_bytes(p->z.shared, text[1]));
    wf_report_end(out);
    if (p->z.resident) {
        wf_report_text(out, "  in memory    with --memory %" PRIu64 "MB each reads its share once",
                       p->z.resident / 1000000);
        wf_report_end(out);
    }
    if (p->z.joined && !p->o->diffable) {
        wf_report_text(out, "  joined       about %s from each rank, for statistics of the model",
                       wf_format_bytes(p->z.joined, text[0]));
        wf_report_end(out);
    }
    if (!p->o->diffable)
        print_machines(out, p);
}

/* ---- for scripts ---- */

static void print_rank_json(struct wf_report *out, const struct printed *p,
                            const struct wf_sizing_rank *r)
{
    struct wf_plan_time t = rank_time(p, r);
    wf_str_puts(&out->line, "{\"event\":\"plan_rank\"");
    wf_report_u64(out, "rank", r->number);
    wf_report_u64(out, "blocks", r->blocks);
    wf_report_u64(out, "bytes_read", r->read);
    wf_report_u64(out, "bytes_written", r->written);
    wf_report_f64(out, "share", wf_sizing_share(&p->z, r));
    if (!p->o->diffable) {
        wf_report_u64(out, "memory", p->s->budget.memory_bytes);
        wf_report_f64(out, "seconds_read", t.read_s);
        wf_report_f64(out, "seconds_compute", t.compute_s);
        wf_report_f64(out, "seconds_write", t.write_s);
        wf_report_string(out, "binds", t.binds);
    }
    wf_report_close(out);
}

static void print_json(struct wf_report *out, const struct printed *p)
{
    struct wf_plan_time t = longest_time(p);
    wf_str_puts(&out->line, "{\"event\":\"plan_ranks\"");
    wf_report_u64(out, "ranks", p->z.n);
    wf_report_u64(out, "gpus_per_rank", p->o->gpus_per_rank);
    wf_report_u64(out, "bytes_read", p->z.read);
    wf_report_u64(out, "bytes_written", p->z.written);
    wf_report_u64(out, "bytes_read_shared", p->z.shared);
    wf_report_f64(out, "share_largest", wf_sizing_share(&p->z, &p->z.ranks[p->z.most]));
    wf_report_f64(out, "share_least", wf_sizing_share(&p->z, &p->z.ranks[p->z.least]));
    if (!p->o->diffable) {
        wf_report_u64(out, "bytes_joined", p->z.joined);
        wf_report_u64(out, "memory", p->s->budget.memory_bytes);
        wf_report_u64(out, "memory_resident", p->z.resident);
        wf_report_u64(out, "device_memory", p->s->gpu.layout.device_bytes);
        wf_report_f64(out, "seconds_estimated", t.seconds);
        wf_report_string(out, "binds", t.binds);
    }
    wf_report_close(out);
    for (uint32_t r = 0; r < p->z.n; r++)
        print_rank_json(out, p, &p->z.ranks[r]);
}

int wf_plan_ranks_print(struct wf_err *e, const struct weft_options *o, const struct wf_setup *s)
{
    struct wf_arena a = {0};
    struct wf_report out;
    struct printed p = {.o = o, .s = s};
    int status = wf_sizing_make(e, &a, &s->plan, &s->budget, o->diffable, o->ranks, &p.z);
    wf_report_open(&out, o);
    if (!status && out.json)
        print_json(&out, &p);
    else if (!status)
        print_text(&out, &p);
    int finished = wf_report_finish(&out, e);
    wf_arena_destroy(&a);
    return status ? status : finished;
}
