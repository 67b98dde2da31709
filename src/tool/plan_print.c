/* plan_print.c - prints a plan. */
#include "plan_print.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "../base/num.h"
#include "../format/shape.h"
#include "../publish/byom.h"
#include "../publish/chain_plan.h"
#include "../publish/components.h"
#include "../publish/merge.h"
#include "plan_ranks.h"
#include "plan_time.h"
#include "report.h"

static struct wf_plan_time estimate(const struct weft_options *o, const struct wf_setup *s)
{
    const struct wf_plan *p = &s->plan;
    const struct wf_delta_plan *d = &s->deltas; /* zeros where there is no second step */
    uint64_t read = p->bytes_read + s->budget.again_bytes;
    uint64_t written = p->bytes_written + 2 * d->most_bytes; /* spooled, then written */
    written += 2 * wf_components_bytes(s);
    read += d->plan.bytes_read + s->deltas_budget.again_bytes;
    return wf_plan_time(o, &s->budget, read, written);
}

static void print_inputs(FILE *out, const struct wf_plan *p, bool diffable)
{
    char bytes[32];
    fprintf(out, "inputs\n");
    for (size_t c = 0; c < p->n_ckpts; c++) {
        const struct wf_plan_ckpt *k = &p->ckpts[c];
        uint64_t total = 0;
        for (size_t i = 0; i < k->ckpt->n_tensors; i++)
            total += k->ckpt->tensors[i].bytes;
        fprintf(out, "  %-8s %s%s", k->is_base ? "base" : "model", k->text,
                k->ckpt == p->config_donor ? "  (gives config and side files)" : "");
        if (!diffable && k->ckpt->fused)
            fprintf(out, "  %zu tensors, %s computed", k->ckpt->n_tensors,
                    wf_format_bytes(total, bytes));
        else if (!diffable)
            fprintf(out, "  %zu tensors, %s in %zu file%s", k->ckpt->n_tensors,
                    wf_format_bytes(total, bytes), k->ckpt->n_files,
                    k->ckpt->n_files == 1 ? "" : "s");
        fputc('\n', out);
    }
}

static void print_device_memory(FILE *out, const struct wf_device_run *gpu)
{
    char text[4][32];
    fprintf(out, "  of each GPU  %s of %s: %u inputs of %s, %u lanes of %s\n",
            wf_format_bytes(gpu->layout.device_bytes, text[0]),
            wf_format_bytes(wf_devices_memory(gpu->devices), text[1]), gpu->layout.mirrors,
            wf_format_bytes(gpu->need.input_bytes, text[2]), gpu->need.lanes,
            wf_format_bytes(gpu->layout.area.device_bytes, text[3]));
    fprintf(out, "gpus        %u\n", wf_devices_count(gpu->devices));
}

static void print_memory(FILE *out, const struct wf_setup *s)
{
    const struct wf_budget *b = &s->budget;
    char text[5][32];
    fprintf(out, "memory\n");
    fprintf(out, "  budget     %s\n", wf_format_bytes(b->memory_bytes, text[0]));
    fprintf(out, "  ring       %s: %u slots of %s in, %u outputs of %s\n",
            wf_format_bytes(wf_budget_ring_bytes(b), text[1]), b->slots,
            wf_format_bytes(b->input_bytes, text[2]), b->outputs,
            wf_format_bytes(b->span_bytes, text[3]));
    fprintf(out, "  statistics %s\n",
            wf_format_bytes(b->statistics_bytes - b->pinned_bytes, text[1]));
    if (b->lanes)
        fprintf(out, "  pinned     %s\n", wf_format_bytes(b->pinned_bytes, text[1]));
    fprintf(out, "  tables     %s\n", wf_format_bytes(b->meta_bytes, text[4]));
    if (s->gpu.devices)
        print_device_memory(out, &s->gpu);
    fprintf(out, "threads     %u read, %u compute, %u write\n", b->readers, b->compute, b->writers);
}

/* What is read, and how often: more than once only where statistics of a whole tensor or model come
 * before the first byte of output, and memory does not hold it. */
static void print_passes(FILE *out, const struct wf_plan *p, const struct wf_budget *b,
                         const char *indent, const char *written)
{
    char text[2][32];
    fprintf(out, "%spasses      %u%s\n", indent, b->passes,
            p->n_model_jobs ? b->passes > 1 ? " (scope model, read again)"
                                            : " (scope model, all inputs held in memory)"
                            : "");
    fprintf(out, "%sbytes       %s read, %s written\n", indent,
            wf_format_bytes(p->bytes_read + b->again_bytes, text[0]), written);
    if (b->again_bytes)
        fprintf(out, "%s  of these  at least %s read again for statistics", indent,
                wf_format_bytes(b->again_bytes, text[1]));
    uint64_t resident = b->again_bytes ? wf_budget_resident(p, b) : 0;
    if (resident)
        fprintf(out, "; with --memory %" PRIu64 "MB nothing is", resident / 1000000);
    if (b->again_bytes)
        fputc('\n', out);
}

/* The second step, after the result is there. */
static void print_deltas(FILE *out, const struct wf_setup *s, bool diffable)
{
    const struct wf_task_deltas *wanted = &s->recipe.deltas;
    const struct wf_delta_plan *d = &s->deltas;
    const struct wf_budget *b = &s->deltas_budget;
    char text[3][32], written[80];
    fprintf(out, "task deltas\n  %zu task%s: density %s, scope %s, store %s, in %s/\n", d->n_tasks,
            d->n_tasks == 1 ? "" : "s", wanted->density_text,
            wanted->by_tensor ? "tensor" : "model", wanted->add ? "add" : "replace", wanted->dir);
    if (diffable)
        return;
    uint64_t kept = wf_delta_plan_kept(wanted, d->count);
    fprintf(out, "  elements    at most %s of %s kept for each task\n",
            wf_format_count(kept, text[0]), wf_format_count(d->count, text[1]));
    snprintf(written, sizeof written, "at most %s", wf_format_bytes(d->most_bytes, text[2]));
    print_passes(out, &d->plan, b, "  ", written);
    fprintf(out, "  memory      ring %s, statistics %s, tables %s\n",
            wf_format_bytes(wf_budget_ring_bytes(b), text[0]),
            wf_format_bytes(b->statistics_bytes, text[1]), wf_format_bytes(b->meta_bytes, text[2]));
}

static void print_time(FILE *out, const struct weft_options *o, const struct wf_setup *s)
{
    struct wf_plan_time t = estimate(o, s);
    char rate[32], where[64] = "on a local disk";
    if (o->bandwidth)
        snprintf(where, sizeof where, "at %s per second", wf_format_bytes(o->bandwidth, rate));
    fprintf(out, "time        about %.1f s %s (read %.1f, compute %.1f, write %.1f); %s binds\n",
            t.seconds, where, t.read_s, t.compute_s, t.write_s, t.binds);
}

static void print_summary(FILE *out, const struct weft_options *o, const struct wf_setup *s,
                          bool fused)
{
    const struct wf_plan *p = &s->plan;
    bool diffable = o->diffable;
    char text[4][32], hex[33];
    fprintf(out, "method      %s: %s\n", p->recipe->method->name, p->recipe->method->title);
    print_inputs(out, p, diffable);
    if (p->vocabulary)
        fprintf(out, "vocabulary  %s\n", p->vocabulary);
    fprintf(out, "output\n  %zu tensors: %" PRIu64 " merged, %" PRIu64 " copied, %zu left out\n",
            p->n_jobs, p->n_merged, p->n_copied, p->n_left_out);
    if (fused) {
        fprintf(out,
                "  not written: computed from these inputs as the stage that names it reads\n");
        return;
    }
    if (!diffable)
        fprintf(out, "  %zu shard%s, %s\n", p->n_shards, p->n_shards == 1 ? "" : "s",
                wf_format_bytes(p->bytes_written, text[0]));
    if (diffable) {
        fprintf(out, "passes      %s\n", p->n_model_jobs ? "1, or 2 by memory" : "1");
        if (p->recipe->deltas.wanted)
            print_deltas(out, s, true);
        return;
    }
    print_passes(out, p, &s->budget, "", wf_format_bytes(p->bytes_written, text[1]));
    print_memory(out, s);
    if (p->components)
        fprintf(out, "components  about %s, beside the shards\n",
                wf_format_bytes(wf_components_bytes(s), text[2]));
    if (p->recipe->deltas.wanted)
        print_deltas(out, s, false);
    if (!o->ranks)
        print_time(out, o, s);
    fprintf(out, "plan        %s\n", wf_hash128_hex(&p->hash, hex));
}

static void print_jobs(FILE *out, const struct wf_plan *p, bool placed)
{
    char shape[WF_SHAPE_TEXT_MAX];
    fprintf(out, "jobs\n");
    for (size_t i = 0; i < p->n_jobs; i++) {
        const struct wf_job *job = &p->jobs[i];
        fprintf(out, "  %-15s %-5s %s  %s", wf_job_action_name(p, job),
                wf_dtype_info(job->dtype)->name, job->name,
                wf_shape_text(job->shape, job->n_dims, WF_SHAPE_SPACED, shape));
        if (placed)
            fprintf(out, "  %s at %" PRIu64, p->shards[job->shard].name, job->offset);
        fputc('\n', out);
    }
    for (size_t i = 0; i < p->n_left_out; i++)
        fprintf(out, "  %-15s %-5s %s  of %s\n", "left out", "", p->left_out[i].name,
                p->left_out[i].ckpt);
}

/* Of a stage that is computed on the way the stage behind it counts the bytes. */
static void json_summary(FILE *out, const struct weft_options *o, const struct wf_setup *s,
                         bool fused)
{
    bool diffable = o->diffable;
    const struct wf_plan *p = &s->plan;
    const struct wf_budget *b = &s->budget;
    struct wf_plan_time t = estimate(o, s);
    char hex[33];
    fprintf(
        out,
        "{\"event\":\"plan\",\"method\":\"%s\",\"passes\":%u,\"tensors\":%zu,\"merged\":%" PRIu64
        ",\"copied\":%" PRIu64 ",\"left_out\":%zu,\"bytes_read\":%" PRIu64
        ",\"bytes_written\":%" PRIu64,
        p->recipe->method->name, diffable ? p->passes : b->passes, p->n_jobs, p->n_merged,
        p->n_copied, p->n_left_out, fused ? 0 : p->bytes_read, fused ? 0 : p->bytes_written);
    if (p->components && !diffable)
        fprintf(out, ",\"components_bytes_about\":%" PRIu64, wf_components_bytes(s));
    if (!diffable && !fused)
        fprintf(out,
                ",\"plan\":\"%s\",\"shards\":%zu,\"memory\":{\"budget\":%" PRIu64
                ",\"ring\":%" PRIu64 ",\"slots\":%u,\"slot_bytes\":%" PRIu64
                ",\"span_bytes\":%" PRIu64 ",\"tables\":%" PRIu64 ",\"statistics\":%" PRIu64
                ",\"pinned\":%" PRIu64 "},\"bytes_read_again\":%" PRIu64
                ",\"memory_resident\":%" PRIu64 ",\"gpus\":%u,\"device_memory\":%" PRIu64
                ",\"threads\":{\"read\":%u,\"compute\":%u,\"write\":%u},"
                "\"seconds_estimated\":%.3f,\"binds\":\"%s\"",
                wf_hash128_hex(&p->hash, hex), p->n_shards, b->memory_bytes,
                wf_budget_ring_bytes(b), b->slots, b->input_bytes, b->span_bytes, b->meta_bytes,
                b->statistics_bytes - b->pinned_bytes, b->pinned_bytes, b->again_bytes,
                wf_budget_resident(p, b),
                s->gpu.devices ? wf_devices_count(s->gpu.devices) : o->gpus_per_rank,
                s->gpu.layout.device_bytes, b->readers, b->compute, b->writers, t.seconds, t.binds);
    fputs("}\n", out);
}

static int json_deltas(struct wf_err *e, FILE *out, const struct wf_setup *s, bool diffable)
{
    const struct wf_delta_plan *d = &s->deltas;
    const struct wf_task_deltas *wanted = &s->recipe.deltas;
    const struct wf_budget *b = &s->deltas_budget;
    struct wf_str line = {0};
    if (!wanted->wanted)
        return WF_OK;
    wf_str_printf(
        &line, "{\"event\":\"plan_deltas\",\"density\":%.17g,\"scope\":\"%s\",\"store\":\"%s\"",
        wanted->density, wanted->by_tensor ? "tensor" : "model", wanted->add ? "add" : "replace");
    wf_str_puts(&line, ",\"dir\":");
    wf_str_json(&line, wanted->dir, strlen(wanted->dir));
    wf_str_puts(&line, ",\"tasks\":[");
    for (size_t i = 0; i < d->n_tasks; i++) {
        wf_str_puts(&line, i ? "," : "");
        wf_str_json(&line, d->tasks[i].name, strlen(d->tasks[i].name));
    }
    wf_str_printf(&line,
                  "],\"passes\":%u,\"elements\":%" PRIu64 ",\"kept_most\":%" PRIu64
                  ",\"bytes_read\":%" PRIu64 ",\"bytes_written_most\":%" PRIu64,
                  diffable ? d->plan.passes : b->passes, d->count,
                  wf_delta_plan_kept(wanted, d->count), d->plan.bytes_read, d->most_bytes);
    if (!diffable)
        wf_str_printf(&line,
                      ",\"bytes_read_again\":%" PRIu64 ",\"memory\":{\"ring\":%" PRIu64
                      ",\"tables\":%" PRIu64 ",\"statistics\":%" PRIu64 "}",
                      b->again_bytes, wf_budget_ring_bytes(b), b->meta_bytes, b->statistics_bytes);
    wf_str_puts(&line, "}\n");
    int status = wf_str_finish(&line, e);
    if (!status)
        fputs(line.text, out);
    wf_str_free(&line);
    return status;
}

static int json_jobs(struct wf_err *e, FILE *out, const struct wf_plan *p, bool placed)
{
    char shape[WF_SHAPE_TEXT_MAX];
    struct wf_str s = {0};
    for (size_t i = 0; i < p->n_jobs && !s.failed; i++) {
        const struct wf_job *job = &p->jobs[i];
        s.n = 0;
        wf_str_puts(&s, "{\"event\":\"job\",\"name\":");
        wf_str_json(&s, job->name, strlen(job->name));
        wf_str_printf(&s, ",\"action\":\"%s\",\"dtype\":\"%s\",\"shape\":%s,\"bytes\":%" PRIu64,
                      wf_job_action_name(p, job), wf_dtype_info(job->dtype)->name,
                      wf_shape_text(job->shape, job->n_dims, WF_SHAPE_TIGHT, shape), job->bytes);
        if (placed)
            wf_str_printf(&s, ",\"file\":\"%s\",\"offset\":%" PRIu64, p->shards[job->shard].name,
                          job->offset);
        wf_str_puts(&s, "}\n");
        fputs(s.text ? s.text : "", out);
    }
    int status = wf_str_finish(&s, e);
    wf_str_free(&s);
    return status;
}

/* A method of adapters: one line for each that will be written. */
static int print_adapters(struct wf_err *e, const struct weft_options *o, struct wf_setup *s)
{
    struct wf_report r;
    struct wf_byom byom;
    int status = wf_byom_open(e, s, &byom);
    wf_report_open(&r, o);
    if (!status && !r.json) {
        wf_report_text(&r, "method      %s: %s", s->recipe.method->name, s->recipe.method->title);
        wf_report_end(&r);
    }
    for (size_t i = 0; !status && i < byom.n; i++) {
        const struct wf_byom_task *t = &byom.tasks[i];
        if (r.json) {
            wf_str_puts(&r.line, "{\"event\":\"adapter\"");
            wf_report_string(&r, "task", t->name);
            wf_report_string(&r, "model", t->text);
            wf_report_u64(&r, "modules", t->adapter.n_modules);
            wf_report_u64(&r, "rank_in", t->rank_in);
            wf_report_u64(&r, "rank", t->rank);
            wf_report_close(&r);
            continue;
        }
        wf_report_text(&r, "adapter     ");
        wf_report_name(&r, t->name, 0);
        wf_report_text(&r, "  rank %u of %u, %zu modules, from ", (unsigned)t->rank,
                       (unsigned)t->rank_in, t->adapter.n_modules);
        wf_report_name(&r, t->text, 0);
        wf_report_end(&r);
    }
    int finished = wf_report_finish(&r, e);
    return status ? status : finished;
}

/* `fused`: a stage that is computed on the way. */
static int print_setup(struct wf_err *e, const struct weft_options *o, struct wf_setup *s,
                       bool fused)
{
    FILE *out = o->out;
    bool placed = !o->diffable && !fused;
    int status = fused ? WF_OK : wf_plan_ranks_lanes(e, o, s);
    if (status)
        return status;
    if (!o->json) {
        print_summary(out, o, s, fused);
        if (o->ranks && !fused)
            status = wf_plan_ranks_print(e, o, s);
        if (!status)
            print_jobs(out, &s->plan, placed);
        return status;
    }
    json_summary(out, o, s, fused);
    status = json_deltas(e, out, s, o->diffable);
    if (!status && o->ranks && !fused)
        status = wf_plan_ranks_print(e, o, s);
    return status ? status : json_jobs(e, out, &s->plan, placed);
}

/* The line above a stage's plan. */
static void print_stage(const struct weft_options *o, const struct wf_chain *chain, size_t i,
                        bool fused)
{
    const char *name = chain->run[i].name;
    struct wf_report r;
    wf_report_open(&r, o);
    if (r.json) {
        wf_str_puts(&r.line, "{\"event\":\"stage\"");
        if (name)
            wf_report_string(&r, "name", name);
        wf_report_u64(&r, "number", i + 1);
        wf_report_u64(&r, "stages", chain->n);
        wf_str_printf(&r.line, ",\"fused\":%s", fused ? "true" : "false");
        wf_report_close(&r);
    } else {
        wf_report_text(&r, "%sstage       %zu of %zu%s", i ? "\n" : "", i + 1, chain->n,
                       name ? ": " : "");
        if (name)
            wf_report_name(&r, name, 0);
        if (fused)
            wf_report_text(&r, ", computed on the way");
        wf_report_end(&r);
    }
    struct wf_err ignored = {0}; /* what it could not write, the plan behind it cannot, either */
    wf_report_finish(&r, &ignored);
}

static int print_chain(struct wf_err *e, const struct weft_options *o, const char *recipe,
                       const struct wf_chain *chain)
{
    struct wf_chain_plan p;
    int status = wf_chain_plan(e, o, recipe, chain, "OUT.stages", &p);
    for (size_t i = 0; !status && i < p.n; i++) {
        print_stage(o, chain, i, p.fused[i]);
        status = print_setup(e, o, &p.setups[i], p.fused[i]);
    }
    wf_chain_plan_destroy(&p);
    return status;
}

static int print_single(struct wf_err *e, const struct weft_options *o, const char *recipe,
                        const struct wf_recipe *read)
{
    struct wf_setup s = {0};
    struct wf_merge_source source = {.recipe = recipe, .read = read};
    int status = wf_setup_recipe(e, o, &source, &s);
    if (!status && read->method->adapters) {
        status = print_adapters(e, o, &s);
    } else if (!status) {
        status = wf_setup_create(e, o, &source, false, &s);
        if (!status)
            status = print_setup(e, o, &s, false);
    }
    wf_setup_destroy(&s);
    return status;
}

int wf_plan_print_run(struct wf_err *e, const struct weft_options *options, const char *recipe)
{
    struct wf_arena a = {0};
    struct wf_chain chain;
    int status = wf_plan_ranks_check(e, options);
    if (!status)
        status = wf_chain_read(e, &a, recipe, options->compat == WEFT_COMPAT_MERGEKIT, &chain);
    if (!status)
        status = chain.n > 1 ? print_chain(e, options, recipe, &chain)
                             : print_single(e, options, recipe, &chain.run[0].recipe);
    if (!status && (fflush(options->out) || ferror(options->out)))
        status = wf_fail_errno(e, WF_MACHINE, errno, "cannot write the plan");
    wf_arena_destroy(&a);
    return status;
}
