/* merge.c - runs a set-up plan and publishes the result. */
#include "merge.h"

#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/log.h"
#include "../base/num.h"
#include "../base/str.h"
#include "../stream/shards.h"
#include "../stream/stream.h"
#include "byom.h"
#include "components.h"
#include "deltas.h"
#include "provenance.h"
#include "output.h"
#include "ranks.h"
#include "sidefiles.h"
#include "tied_check.h"
#include "times.h"
#include "trace_file.h"

#define OTHER_FILES 16u /* standard streams, journal, lock, folders */

/* One merge under way. */
struct job {
    struct wf_err *e;
    const struct weft_options *options;
    struct wf_arena arena; /* the output's paths: they outlive a failed set-up */
    struct wf_setup setup;
    struct wf_ranks ranks;
    struct wf_output output;
    struct wf_blocks blocks;
    struct wf_progress progress;
    struct wf_stream_stats stats;
    struct wf_components components;
    struct wf_deltas_result deltas;
    const struct wf_merge_source *source;
    const volatile int *stop;
    struct wf_watch watch;
    const char *trace_file; /* where this merge's own trace goes; NULL: it has none */
    bool keep;              /* OUT.partial holds work that --resume can use */
};

/* Of several ranks the first speaks for all, but for events. */
static enum wf_progress_style progress_style(const struct job *j)
{
    const struct weft_options *o = j->options;
    if (o->json)
        return WF_PROGRESS_JSON;
    if (wf_ranks_follows(&j->ranks))
        return WF_PROGRESS_NONE;
    if (o->progress == WEFT_PROGRESS_AUTO)
        return isatty(STDERR_FILENO) ? WF_PROGRESS_BAR : WF_PROGRESS_PLAIN;
    return o->progress == WEFT_PROGRESS_BAR     ? WF_PROGRESS_BAR
           : o->progress == WEFT_PROGRESS_PLAIN ? WF_PROGRESS_PLAIN
                                                : WF_PROGRESS_NONE;
}

/* Of other ranks, open while rank 0 assembles. */
static uint64_t count_other_spools(const struct wf_setup *s)
{
    uint64_t others = s->rank.size > 1 ? s->rank.size - 1 : 0;
    uint64_t at_once = wf_min_u64(s->deltas.n_tasks, s->deltas_budget.compute);
    return others * wf_max_u64(at_once, s->plan.components ? 1 : 0);
}

/* Many shards are open at once: take what the system allows. */
static int raise_file_limit(struct wf_err *e, const struct wf_setup *s)
{
    const struct wf_plan *plan = &s->plan;
    struct rlimit l;
    /* Each once direct, once ordinary; then, with the shards as inputs, each task's spool and its
     * index, and the files that are assembled from them side by side. */
    uint64_t needed = 2 * plan->n_shards + OTHER_FILES;
    needed += 2 * (s->deltas.n_tasks + (plan->components ? s->recipe.n_models : 0u));
    needed += s->deltas.n_tasks ? 2u * s->deltas_budget.compute : 0;
    needed += plan->components ? 2 : 0;
    needed += count_other_spools(s);
    for (size_t c = 0; c < plan->n_ckpts; c++)
        needed += 2 * plan->ckpts[c].ckpt->n_files;
    if (getrlimit(RLIMIT_NOFILE, &l))
        return WF_OK;
    if (l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        setrlimit(RLIMIT_NOFILE, &l);
    }
    if (l.rlim_cur >= needed)
        return WF_OK;
    return wf_fail(e, WF_MACHINE,
                   "this merge needs up to %" PRIu64 " open files and the limit is %llu; raise it "
                   "with ulimit -n, or choose a larger --shard-size",
                   needed, (unsigned long long)l.rlim_cur);
}

static void emit_plan(const struct job *j)
{
    const struct wf_plan *p = &j->setup.plan;
    char hex[33];
    if (!j->options->json)
        return;
    fprintf(j->options->out,
            "{\"event\":\"plan\",\"plan\":\"%s\",\"method\":\"%s\",\"tensors\":%zu,"
            "\"merged\":%" PRIu64 ",\"copied\":%" PRIu64 ",\"shards\":%zu,\"bytes_read\":%" PRIu64
            ",\"bytes_written\":%" PRIu64 ",\"passes\":%u,\"rank\":%u}\n",
            wf_hash128_hex(&p->hash, hex), p->recipe->method->name, p->n_jobs, p->n_merged,
            p->n_copied, p->n_shards, p->bytes_read, p->bytes_written, j->setup.budget.passes,
            wf_log_rank());
    fflush(j->options->out);
}

void wf_merge_emit_done(const struct weft_options *o, const char *event,
                        const struct weft_merge_result *r, const char *out)
{
    struct wf_str s = {0}, times = {0};
    if (!o->json)
        return;
    wf_str_printf(&s, "{\"event\":\"%s\",\"out\":", event);
    wf_str_json(&s, out, strlen(out));
    wf_times_json(&times, r);
    fprintf(o->out,
            "%s,\"already_done\":%s,\"tensors_merged\":%" PRIu64 ",\"tensors_copied\":%" PRIu64
            ",\"bytes_read\":%" PRIu64 ",\"bytes_written\":%" PRIu64
            ",\"seconds\":%.6f,\"first_read_ns\":%" PRIu64 ",\"peak_rss_bytes\":%" PRIu64
            "%s,\"rank\":%u}\n",
            s.text ? s.text : "{\"event\":\"done\"", r->already_done ? "true" : "false",
            r->tensors_merged, r->tensors_copied, r->bytes_read, r->bytes_written,
            (double)r->wall_ns / 1e9, r->first_read_ns, r->peak_rss_bytes,
            times.text ? times.text : "", wf_log_rank());
    fflush(o->out);
    wf_str_free(&times);
    wf_str_free(&s);
}

static void start_progress(struct job *j)
{
    bool sums = j->ranks.sums_progress;
    uint64_t before = wf_blocks_bytes_done(&j->blocks);
    uint64_t total = sums ? j->setup.plan.bytes_written : wf_blocks_bytes_mine(&j->blocks);
    if (before && !wf_ranks_follows(&j->ranks)) {
        char text[32];
        wf_log(WF_LOG_INFO, "resuming: %s are done already", wf_format_bytes(before, text));
    }
    wf_progress_start(&j->progress, progress_style(j), j->options->out, total,
                      sums ? before : wf_blocks_bytes_made(&j->blocks));
    if (wf_ranks_several(&j->ranks)) {
        j->progress.count = wf_ranks_count;
        j->progress.count_arg = &j->ranks;
    }
}

/* Raised by the user, or by trouble of another rank. */
static const volatile int *stop_of(const struct job *j)
{
    return wf_session_stop(j->ranks.session, j->stop);
}

static int stream(struct job *j)
{
    const struct weft_options *o = j->options;
    const struct wf_device_run *gpu = j->setup.gpu.devices ? &j->setup.gpu : NULL;
    struct wf_stream_options so = {.plan = &j->setup.plan,
                                   .budget = &j->setup.budget,
                                   .backend = gpu ? wf_backend_device() : wf_backend_cpu(),
                                   .gpu = gpu,
                                   .folder = j->output.partial,
                                   .io = (enum wf_io)o->io,
                                   .null_compute = o->null_compute,
                                   .blocks = &j->blocks,
                                   .journal = wf_ranks_several(&j->ranks) ? &j->output.own
                                                                          : &j->output.journal,
                                   .statistics = j->output.statistics_path,
                                   .keeps_statistics = !j->output.follows,
                                   .progress = &j->progress,
                                   .sink = j->components.n ? &j->components.spool.sink : NULL,
                                   .join = j->ranks.join,
                                   .stop = stop_of(j),
                                   .watch = &j->watch};
    start_progress(j);
    int status = wf_stream_run(j->e, &so, &j->stats);
    wf_progress_stop(&j->progress);
    return status;
}

static void begin_waiting(struct job *j)
{
    if (wf_ranks_several(&j->ranks))
        wf_watch_phase(&j->watch, WF_PHASE_RANKS);
}

/* What rank 0 alone does before others may write. */
static int prepare(struct job *j)
{
    bool there = j->output.state == WF_OUTPUT_RESUMED;
    int status = WF_OK;
    if (j->output.follows)
        return WF_OK;
    if (j->options->emit_components)
        status = wf_components_clear(j->e, &j->setup, j->output.partial);
    if (!status)
        status = wf_deltas_clear(j->e, &j->setup, j->output.partial);
    return status ? status : wf_shards_make(j->e, &j->setup.plan, j->output.partial, there);
}

/* The shards, and who makes which of their blocks; then this process' part. */
static int make_shards(struct job *j)
{
    const struct wf_plan *plan = &j->setup.plan;
    int status = prepare(j);
    begin_waiting(j);
    if (!status)
        status = wf_ranks_share(j->e, &j->ranks, plan, &j->output, &j->blocks);
    j->keep = !status && wf_ranks_several(&j->ranks); /* what others have done is not known here */
    if (!status && j->options->emit_components)
        status = wf_components_begin(j->e, &j->setup, j->output.partial, &j->components);
    if (!status)
        status = stream(j);
    if (!status)
        status = wf_components_seal(j->e, &j->components);
    begin_waiting(j);
    if (!status)
        status = wf_ranks_gather(j->e, &j->ranks, plan, &j->output, &j->blocks,
                                 &j->stats.bytes_read, &j->stats.bytes_written);
    j->keep = j->keep || !status || status == WF_STOPPED || wf_blocks_bytes_done(&j->blocks) > 0 ||
              wf_exists(j->output.statistics_path);
    return status;
}

/* All that was written beside the shards, for the manifest. */
static int list_made(struct job *j, struct wf_made_file **out, size_t *n)
{
    *n = j->components.n + j->deltas.n;
    *out = wf_arena_alloc(&j->setup.arena, j->e, *n, sizeof **out);
    if (!*out)
        return WF_MACHINE;
    if (j->components.n)
        memcpy(*out, j->components.files, j->components.n * sizeof **out);
    if (j->deltas.n)
        memcpy(*out + j->components.n, j->deltas.files, j->deltas.n * sizeof **out);
    return WF_OK;
}

static int write_manifest(struct job *j, const struct wf_side_names *names)
{
    struct wf_str more = {0};
    struct wf_manifest_options mo = {.kind = j->options->manifest,
                                     .small_files = names->names,
                                     .n_small_files = names->n,
                                     .stop = stop_of(j)};
    struct wf_made_file *made;
    int status = list_made(j, &made, &mo.n_made);
    mo.made = made;
    wf_components_manifest(&more, &j->setup, &j->components);
    wf_str_puts(&more, j->source->more ? j->source->more : "");
    if (!status)
        status = wf_str_finish(&more, j->e);
    mo.more = more.text;
    if (!status)
        status = wf_manifest_write(j->e, j->output.partial, &j->setup.plan, &j->blocks, &mo);
    wf_str_free(&more);
    return status;
}

/* OUT's name; a card is UTF-8, and a name need not be. */
static char *make_title(struct job *j)
{
    size_t n, bad;
    const char *last = wf_path_last(j->output.out, &n);
    char *title = wf_arena_strndup(&j->setup.arena, j->e, last, n);
    while (title && !wf_utf8_valid(title, n, &bad))
        title[bad] = '?';
    return title;
}

static int write_side_files(struct job *j)
{
    struct wf_side_names names;
    char *title = make_title(j);
    uint64_t begin = wf_now_ns();
    int status =
        title ? wf_sidefiles_write(j->e, j->output.partial, j->options->no_card ? NULL : title,
                                   &j->setup.plan, stop_of(j), &names)
              : WF_MACHINE;
    wf_watch_part(&j->watch, "side files", begin);
    begin = wf_now_ns();
    status = status ? status : write_manifest(j, &names);
    wf_watch_part(&j->watch, "manifest", begin);
    return status;
}

static void count_made(struct job *j, const struct wf_made_file *files, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        j->stats.bytes_written += files[i].bytes;
        j->watch.written += files[i].bytes;
    }
}

static int make_deltas(struct job *j)
{
    struct wf_deltas_run run = {.options = j->options,
                                .setup = &j->setup,
                                .ranks = &j->ranks,
                                .partial = j->output.partial,
                                .progress = progress_style(j),
                                .stop = stop_of(j),
                                .watch = &j->watch};
    if (!j->setup.recipe.deltas.wanted || (j->output.follows && j->ranks.after_alone))
        return WF_OK;
    wf_watch_phase(&j->watch, WF_PHASE_DELTAS);
    int status = wf_deltas_run(j->e, &run, &j->deltas);
    j->stats.bytes_read += j->deltas.bytes_read;
    wf_stream_times_add(&j->stats.times, &j->deltas.times);
    count_made(j, j->deltas.files, j->deltas.n);
    return status;
}

/* What is beside the shards: components, deltas (of these every rank spools a share), the small
 * files; by rank 0. */
static int make_rest(struct job *j)
{
    struct wf_components *c = &j->components;
    int status = WF_OK;
    if (c->n && !j->output.follows) {
        wf_watch_phase(&j->watch, WF_PHASE_COMPONENTS);
        status =
            wf_components_finish(j->e, &j->setup, j->options, j->output.partial, stop_of(j), c);
        count_made(j, c->files, status ? 0 : c->n);
    }
    if (!status)
        status = make_deltas(j);
    if (status || j->output.follows)
        return status;
    wf_watch_phase(&j->watch, WF_PHASE_PUBLISH);
    return write_side_files(j);
}

/* Rank 0 renames; the others wait for that. */
static int publish(struct job *j)
{
    int status = wf_ranks_leave(j->e, &j->ranks, &j->setup.plan, &j->output);
    if (status || j->output.follows)
        return status;
    uint64_t begin = wf_now_ns();
    status = wf_output_publish(j->e, &j->output);
    wf_watch_part(&j->watch, "rename", begin);
    return status;
}

/* The output folder is open: make what is missing, publish. */
static int fill_and_publish(struct job *j)
{
    int status = wf_ranks_open(j->e, &j->ranks, &j->setup.plan, j->output.partial);
    if (!status)
        status = make_shards(j);
    if (!status)
        status = make_rest(j);
    return status ? status : publish(j);
}

/* A method of adapters makes folders of its own: modules are its tensors. */
static int run_adapters(struct job *j, const char *out, bool *already_done)
{
    struct wf_byom_result r;
    if (wf_ranks_follows(&j->ranks)) {
        wf_log(WF_LOG_INFO, "rank %u has nothing to do: one process makes adapters",
               j->ranks.self.rank);
        return WF_OK;
    }
    int status =
        wf_byom_run(j->e, j->options, &j->setup, out, j->stop, j->trace_file, &j->watch, &r);
    *already_done = r.already_done;
    j->setup.plan.n_merged = r.modules;
    j->stats.bytes_read = r.bytes_read;
    j->stats.bytes_written = r.bytes_written;
    return status;
}

int wf_merge_check_places(struct wf_err *e, const struct wf_setup *s, struct wf_output *o,
                          const char *trace_file)
{
    int status = wf_output_check_inputs(e, o, &s->plan);
    for (const struct wf_opened_ckpt *k = s->opened.first; k && !status; k = k->next)
        status = wf_output_check_input(e, o, &k->ckpt, k->ckpt.place.path);
    if (!status && s->tokenizer_place.path)
        status = wf_output_check_place(e, o, &s->tokenizer_place);
    return status ? status : wf_trace_file_check(e, trace_file, o, &s->recipe, &s->opened);
}

/* Once it is known that the file is nobody's, and before anything is written. */
static int open_trace(struct job *j)
{
    struct wf_trace *trace = j->source->trace;
    int status = WF_OK;
    if (j->trace_file)
        status = wf_trace_open(j->e, j->trace_file, wf_log_rank(), WF_TRACE_BUFFER, &trace);
    wf_watch_set_trace(&j->watch, trace);
    return status;
}

static int run(struct job *j, const char *out, bool *already_done)
{
    const struct weft_options *o = j->options;
    const struct wf_merge_source *source = j->source;
    int status = wf_rank_find(j->e, o->ranks, &j->ranks.self);
    j->setup.rank = j->ranks.self;
    j->ranks.sums_progress = wf_ranks_several(&j->ranks) && !o->json;
    wf_log_set_rank(j->ranks.self.rank);
    if (!status && !source->trace)
        status = wf_trace_file_name(j->e, &j->arena, o->trace, &j->ranks.self, &j->trace_file);
    if (!status)
        status = wf_setup_recipe(j->e, o, source, &j->setup);
    if (!status && j->setup.recipe.method->adapters)
        return o->emit_components ? wf_components_refuse(j->e, &j->setup.recipe)
                                  : run_adapters(j, out, already_done);
    struct wf_output_rules rules = {o->resume, o->overwrite, o->replace_merges,
                                    wf_ranks_follows(&j->ranks), j->stop};
    uint64_t before = wf_mem_now(WF_MEM_META);
    if (!status)
        status = wf_output_check(j->e, &j->arena, out, &rules, &j->output);
    j->setup.aside_bytes = wf_mem_now(WF_MEM_META) - before;
    if (!status)
        status = wf_setup_create(j->e, o, source, true, &j->setup);
    if (!status)
        status = wf_merge_check_places(j->e, &j->setup, &j->output, j->trace_file);
    if (!status)
        status = wf_blocks_create(j->e, &j->setup.plan, o->manifest == WEFT_MANIFEST_XXH3,
                                  j->setup.budget.slots + 1u, &j->blocks);
    if (!status && j->setup.gpu.devices && !wf_devices_are_shared(j->setup.gpu.devices)) {
        j->ranks.devices = wf_devices_plugin(j->setup.gpu.devices);
        j->ranks.device = wf_devices_index(j->setup.gpu.devices, 0);
    }
    if (!status)
        status = wf_ranks_check(j->e, &j->ranks, &j->setup.plan, wf_deltas_second_step(&j->setup));
    if (!status && *j->stop)
        status = wf_fail(j->e, WF_STOPPED, "stopped by a signal before anything was written");
    if (status)
        return status;
    status = raise_file_limit(j->e, &j->setup);
    j->output.afresh = o->emit_components;
    if (!status)
        status = open_trace(j);
    if (!status)
        status = wf_output_open(j->e, &j->output, &j->setup.plan, o->resume, &j->blocks);
    if (status)
        return status;
    emit_plan(j);
    j->watch.json = o->json ? o->out : NULL;
    *already_done = j->output.state == WF_OUTPUT_PUBLISHED;
    if (*already_done)
        return WF_OK;
    wf_tied_check(&j->setup.plan);
    return fill_and_publish(j);
}

static void fill_result(const struct job *j, uint64_t start_ns, struct weft_merge_result *r)
{
    r->bytes_read = j->stats.bytes_read;
    r->bytes_written = j->stats.bytes_written;
    r->tensors_merged = j->setup.plan.n_merged;
    r->tensors_copied = j->setup.plan.n_copied;
    r->wall_ns = wf_now_ns() - start_ns;
    r->first_read_ns = j->stats.first_read_at_ns ? j->stats.first_read_at_ns - start_ns : 0;
    r->peak_rss_bytes = wf_mem_peak_rss();
    wf_times_fill(&j->watch, &j->stats.times, r);
    r->rank = j->ranks.self.rank;
    r->ranks = j->ranks.self.size;
}

int wf_merge_run(struct wf_err *e, const struct weft_options *options,
                 const struct wf_merge_source *source, const char *out, const volatile int *stop,
                 struct weft_merge_result *result)
{
    struct job j = {.e = e,
                    .options = options,
                    .source = source,
                    .stop = stop,
                    .ranks.user_stop = stop,
                    .output.journal.fd = -1,
                    .output.own.fd = -1,
                    .output.lock_fd = -1};
    uint64_t start_ns = wf_now_ns();
    *result = (struct weft_merge_result){0};
    if (options->null_compute)
        wf_log(WF_LOG_WARNING, "--null-compute: the output has the right size and no meaning");
    wf_watch_phase(&j.watch, WF_PHASE_PLAN);
    int status = run(&j, out, &result->already_done);
    status = wf_ranks_end(e, &j.ranks, j.output.partial, status);
    wf_watch_end(&j.watch);
    if (j.watch.trace != source->trace)
        wf_trace_close(j.watch.trace);
    bool kept = j.keep && j.output.journal.fd >= 0 && !j.output.published;
    if (status && status != WF_STOPPED && kept)
        wf_log(WF_LOG_INFO, "the work so far is in %s; --resume goes on with it", j.output.partial);
    wf_output_close(&j.output, j.keep);
    fill_result(&j, start_ns, result);
    if (!status && j.deltas.n)
        wf_deltas_report(options, &j.setup, &j.deltas);
    if (!status && !source->is_chained)
        wf_merge_emit_done(options, "done", result, out);
    if (!status && !source->is_chained && !wf_ranks_follows(&j.ranks))
        wf_times_log(result);
    if (!status && !options->json && !source->stage && !result->already_done && *j.setup.no_gpu &&
        !wf_ranks_follows(&j.ranks))
        wf_log(WF_LOG_INFO, "computed on the CPU: %s", j.setup.no_gpu);
    wf_components_destroy(&j.components);
    wf_blocks_destroy(&j.blocks);
    wf_deltas_destroy(&j.deltas);
    wf_setup_destroy(&j.setup);
    wf_arena_destroy(&j.arena);
    return status;
}
