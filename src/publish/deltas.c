/* deltas.c - plans and runs the second step of a merge. */
#include "deltas.h"

#include <inttypes.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/file.h"
#include "../base/log.h"
#include "../base/num.h"
#include "../base/ordered.h"
#include "../dist/join_ranks.h"
#include "../stream/stream.h"

#define SPOOL "spool"

/* ---- the plan ---- */

static void warn_of(const struct wf_delta_task *t, size_t n, const char *first, const char *what)
{
    if (n)
        wf_log(WF_LOG_WARNING,
               "task_deltas: %zu tensor%s %s; the delta of '%s' has nothing for %s "
               "(first: '%s')",
               n, n == 1 ? "" : "s", what, t->name, n == 1 ? "it" : "them", first);
}

static void warn(const struct wf_delta_plan *d)
{
    for (size_t i = 0; i < d->n_tasks; i++) {
        const struct wf_delta_task *t = &d->tasks[i];
        warn_of(t, t->n_missing, t->missing, "of the result not in the task's model");
        warn_of(t, t->n_reshaped, t->reshaped,
                "with another shape, or no type for arithmetic, in the task's model");
        warn_of(t, t->n_extra, t->extra, "of the task's model not in the result");
    }
}

/* Side files travel into OUT under their own names; a folder of deltas may not be in their way. */
static int check_folder(struct wf_err *e, const struct wf_setup *s)
{
    const struct wf_task_deltas *wanted = &s->recipe.deltas;
    size_t n = strcspn(wanted->dir, "/");
    for (size_t i = 0; i < s->sidecars.n; i++) {
        const char *name = s->sidecars.files[i].name;
        if (strcspn(name, "/") == n && !memcmp(name, wanted->dir, n))
            return wf_fail(e, WF_USAGE,
                           "%s:%d: 'dir' is '%s', where the side file '%s' goes; choose another",
                           s->recipe.path, wanted->line, wanted->dir, name);
    }
    return WF_OK;
}

int wf_deltas_plan(struct wf_err *e, const struct weft_options *options, struct wf_setup *s)
{
    struct wf_delta_plan *d = &s->deltas;
    uint64_t memory = wf_setup_memory(options, s);
    if (!s->recipe.deltas.wanted)
        return WF_OK;
    int status = check_folder(e, s);
    if (!status)
        status = wf_delta_plan_build(e, &s->plan, s->base, s->models,
                                     WF_SINK_BYTES + wf_delta_spool_thread_bytes(), d);
    if (status)
        return status;
    warn(d);
    uint64_t meta = wf_setup_tables(s) + d->plan.addend_bytes +
                    wf_delta_spool_table_bytes(&d->plan, d->n_tasks);
    uint32_t ranks = s->rank.size ? s->rank.size : options->ranks;
    if (ranks > 1 && wf_setup_joins(s))
        meta += WF_JOIN_ROOM_BYTES;
    return wf_budget_set(e, &d->plan,
                         &(struct wf_means){.memory_bytes = memory,
                                            .meta_bytes = meta,
                                            .threads = wf_setup_threads(options, s),
                                            .ranks = ranks},
                         &s->deltas_budget);
}

/* At density 0 nothing is kept, whatever the models hold. */
const struct wf_plan *wf_deltas_second_step(const struct wf_setup *s)
{
    return s->recipe.deltas.wanted && s->recipe.deltas.density > 0 ? &s->deltas.plan : NULL;
}

/* ---- the run ---- */

struct running {
    struct wf_err *e;
    const struct wf_deltas_run *run;
    struct wf_delta_plan *d;
    struct wf_arena *a;
    struct wf_spool_subject subject;
    struct wf_delta_spool spool;
    const char *spool_folder;
};

/* Does something to every folder of a path below `root`, from the outermost in. */
static int each_folder(struct wf_err *e, struct wf_arena *a, const char *root, const char *below,
                       int (*act)(struct wf_err *e, const char *path))
{
    int status = WF_OK;
    for (size_t n = 0; !status && below[n];) {
        n += strspn(below + n, "/");
        n += strcspn(below + n, "/");
        const char *path = wf_arena_printf(a, e, "%s/%.*s", root, (int)n, below);
        status = path ? act(e, path) : WF_MACHINE;
    }
    return status;
}

int wf_deltas_clear(struct wf_err *e, struct wf_setup *s, const char *partial)
{
    const char *dir = s->recipe.deltas.dir;
    if (!s->recipe.deltas.wanted)
        return WF_OK;
    const char *path = wf_path_join(&s->arena, e, partial, dir);
    const char *spool = wf_path_join(&s->arena, e, partial, SPOOL);
    if (!path || !spool)
        return WF_MACHINE;
    int status = wf_remove_tree(e, spool);
    if (!status)
        status = wf_remove_tree(e, path);
    if (!status)
        status = wf_make_folder(e, spool);
    return status ? status : each_folder(e, &s->arena, partial, dir, wf_make_folder);
}

/* Whether other ranks have shares of this step. */
static bool is_shared(const struct running *r)
{
    return wf_ranks_several(r->run->ranks) && !r->run->ranks->after_alone;
}

/* The shards are there by now: their paths, and what the stream compares files with. */
static int find_shards(struct running *r)
{
    for (size_t i = 0; i < r->d->shared.n_files; i++) {
        struct wf_ckpt_file *f = &r->d->shared.files[i];
        int fd = -1;
        f->path = wf_path_join(r->a, r->e, r->run->partial, f->name);
        int status = f->path ? wf_open_read(r->e, WF_MACHINE, f->path, &fd, &f->id) : WF_MACHINE;
        wf_close(fd);
        if (status)
            return status;
    }
    return WF_OK;
}

/* `total`: bytes to look at. */
static void announce(const struct running *r, uint64_t total)
{
    const struct weft_options *o = r->run->options;
    if (!o->json) {
        wf_log(WF_LOG_DEBUG, "task deltas: looking for what each task keeps");
        return;
    }
    fprintf(o->out,
            "{\"event\":\"step\",\"step\":\"task_deltas\",\"bytes_total\":%" PRIu64
            ",\"rank\":%u}\n",
            total, wf_log_rank());
    fflush(o->out);
}

/* Progress starts anew. */
static void start_progress(const struct running *r, const struct wf_blocks *blocks,
                           struct wf_progress *progress)
{
    struct wf_ranks *ranks = r->run->ranks;
    bool sums = is_shared(r) && ranks->sums_progress;
    uint64_t total = sums ? r->d->plan.bytes_written : wf_blocks_bytes_mine(blocks);
    announce(r, total);
    wf_progress_start(progress, r->run->progress, r->run->options->out, total, 0);
    if (is_shared(r)) {
        progress->count = wf_ranks_count;
        progress->count_arg = ranks;
    }
}

static int make_spool(struct running *r)
{
    const struct wf_method *method = wf_method_internal("task_delta");
    const struct wf_task_deltas *wanted = &r->run->setup->recipe.deltas;
    const char **tasks = wf_arena_alloc(r->a, r->e, r->d->n_tasks, sizeof *tasks);
    if (!tasks)
        return WF_MACHINE;
    for (size_t i = 0; i < r->d->n_tasks; i++)
        tasks[i] = r->d->tasks[i].name;
    r->subject = (struct wf_spool_subject){.plan = &r->d->plan,
                                           .tasks = tasks,
                                           .n_tasks = r->d->n_tasks,
                                           .values = wanted->add ? WF_SPOOL_ADD : WF_SPOOL_REPLACE,
                                           .density = wanted->density_text};
    r->spool_folder = wf_path_join(r->a, r->e, r->run->partial, SPOOL);
    if (!r->spool_folder)
        return WF_MACHINE;
    const struct wf_rank *self = &r->run->ranks->self;
    struct wf_spool_place place = {r->spool_folder, self->rank, is_shared(r) ? self->size : 1};
    int status = wf_delta_spool_create(r->e, r->a, &r->subject, &r->run->setup->deltas_budget,
                                       &place, &r->spool);
    r->spool.sink.method = method;
    r->spool.sink.map = method->map;
    r->spool.sink.pairs = r->spool.sink.only = true;
    return status;
}

/* How the thresholds of a whole model are recognised by a later run: by the merge that they are
 * about. */
static const char *name_statistics(struct running *r)
{
    struct wf_hash128 of[] = {r->run->setup->plan.hash, wf_xxh128(SPOOL, strlen(SPOOL))};
    r->d->plan.hash = wf_xxh128(of, sizeof of);
    return wf_path_join(r->a, r->e, r->run->partial, WF_STATISTICS_DELTAS_NAME);
}

static int fill_spool(struct running *r, struct wf_deltas_result *out)
{
    const struct weft_options *o = r->run->options;
    const struct wf_budget *budget = &r->run->setup->deltas_budget;
    struct wf_blocks blocks = {0};
    struct wf_progress progress = {0};
    struct wf_stream_stats stats = {0};
    const char *statistics = name_statistics(r);
    struct wf_stream_options so = {.plan = &r->d->plan,
                                   .budget = budget,
                                   .backend = wf_backend_cpu(),
                                   .folder = r->spool_folder,
                                   .io = (enum wf_io)o->io,
                                   .null_compute = o->null_compute,
                                   .blocks = &blocks,
                                   .statistics = statistics,
                                   .keeps_statistics = !wf_ranks_follows(r->run->ranks),
                                   .progress = &progress,
                                   .sink = &r->spool.sink,
                                   .join = is_shared(r) ? r->run->ranks->join : NULL,
                                   .stop = r->run->stop,
                                   .watch = r->run->watch};
    int status = wf_blocks_create(r->e, &r->d->plan, false, budget->slots + 1u, &blocks);
    if (!status && !statistics)
        status = WF_MACHINE;
    if (!status && is_shared(r))
        status = wf_ranks_deal(r->e, r->run->ranks, &r->d->plan, &blocks);
    if (!status) {
        start_progress(r, &blocks, &progress);
        status = wf_stream_run(r->e, &so, &stats);
        wf_progress_stop(&progress);
    }
    out->bytes_read = stats.bytes_read;
    out->times = stats.times;
    wf_blocks_destroy(&blocks);
    return status;
}

/* What the result is called in its deltas: the recipe's name for it, or method and tasks. Nothing
 * that differs from one machine, or one OUT, to the next. */
static const char *shared_name(struct running *r)
{
    const struct wf_recipe *recipe = &r->run->setup->recipe;
    struct wf_str s = {0};
    if (recipe->name)
        return recipe->name;
    wf_str_printf(&s, "%s(", recipe->method->name);
    for (size_t i = 0; i < r->d->n_tasks; i++)
        wf_str_printf(&s, "%s%s", i ? ", " : "", r->d->tasks[i].name);
    wf_str_puts(&s, ")");
    const char *name = wf_str_finish(&s, r->e) ? NULL : wf_arena_strndup(r->a, r->e, s.text, s.n);
    wf_str_free(&s);
    return name;
}

/* Tasks are assembled side by side, each by one thread. */
struct assembly {
    struct running *r;
    struct wf_deltas_result *out;
    const char *shared;
    size_t next;
};

struct assembler {
    size_t task;
};

static bool claim_task(void *shared, void *worker)
{
    struct assembly *all = shared;
    ((struct assembler *)worker)->task = all->next;
    return all->next < all->r->d->n_tasks && ++all->next;
}

static int assemble_task(void *shared, void *worker)
{
    struct assembly *all = shared;
    struct running *r = all->r;
    size_t task = ((struct assembler *)worker)->task;
    struct wf_delta_made *made = &all->out->made[task];
    struct wf_delta_target target = {.partial = r->run->partial,
                                     .dir = r->run->setup->recipe.deltas.dir,
                                     .shared_name = all->shared,
                                     .options = r->run->options,
                                     .stop = r->run->stop};
    return wf_delta_assemble_below(r->e, &r->spool, task, &target, made);
}

#define ASSEMBLER_BYTES (2u << 20) /* buffers */

/* As many threads as computed, if the memory, which is the stream's no more, holds all their
 * tables; one at least. */
static unsigned count_assemblers(const struct running *r)
{
    const struct wf_budget *b = &r->run->setup->deltas_budget;
    uint64_t most = 0;
    for (size_t i = 0; i < r->d->n_tasks; i++)
        most = wf_max_u64(most, wf_spool_index_count(&r->spool.tasks[i].index));
    uint64_t each = most * sizeof(struct wf_spooled) + ASSEMBLER_BYTES;
    uint64_t free_bytes = b->memory_bytes > b->meta_bytes ? b->memory_bytes - b->meta_bytes : 0;
    uint64_t n = wf_min_u64(free_bytes / each, wf_min_u64(b->compute, r->d->n_tasks));
    return (unsigned)wf_max_u64(n, 1);
}

static int commit_task(void *shared, void *worker)
{
    struct assembly *all = shared;
    size_t task = ((struct assembler *)worker)->task;
    all->out->files[task] = all->out->made[task].file;
    return WF_OK;
}

static int assemble_all(struct running *r, struct wf_deltas_result *out)
{
    struct assembly all = {.r = r, .out = out, .shared = shared_name(r)};
    unsigned n = count_assemblers(r);
    struct assembler *workers = wf_arena_alloc(r->a, r->e, n, sizeof *workers);
    if (!all.shared || !workers)
        return WF_MACHINE;
    return wf_ordered_run(&(struct wf_ordered){claim_task, assemble_task, commit_task, &all,
                                               workers, sizeof *workers, n});
}

/* What all ranks have spooled is rank 0's then. */
static int bring_together(struct running *r, struct wf_deltas_result *out)
{
    uint64_t written = 0;
    if (!is_shared(r))
        return WF_OK;
    int status = wf_delta_spool_seal(r->e, &r->spool);
    wf_watch_phase(r->run->watch, WF_PHASE_RANKS);
    if (!status)
        status = wf_ranks_wait(r->e, r->run->ranks, &out->bytes_read, &written);
    if (status || wf_ranks_follows(r->run->ranks))
        return status;
    wf_watch_phase(r->run->watch, WF_PHASE_DELTAS);
    return wf_delta_spool_adopt(r->e, &r->spool);
}

static int assemble(struct running *r, struct wf_deltas_result *out)
{
    uint64_t begin = wf_now_ns();
    out->n = r->d->n_tasks;
    int status = assemble_all(r, out);
    wf_watch_part(r->run->watch, "assemble", begin);
    return status;
}

/* Everything is assembled and closed. */
static int tidy_up(struct running *r)
{
    int status = wf_remove_tree(r->e, r->spool_folder);
    return status ? status
                  : each_folder(r->e, r->a, r->run->partial, r->run->setup->recipe.deltas.dir,
                                wf_sync_folder);
}

int wf_deltas_run(struct wf_err *e, const struct wf_deltas_run *run, struct wf_deltas_result *out)
{
    struct wf_setup *s = run->setup;
    struct running r = {.e = e, .run = run, .d = &s->deltas, .a = &s->arena};
    *out = (struct wf_deltas_result){0};
    out->made = wf_arena_alloc(r.a, e, r.d->n_tasks, sizeof *out->made);
    out->files = wf_arena_alloc(r.a, e, r.d->n_tasks, sizeof *out->files);
    int status = out->made && out->files ? find_shards(&r) : WF_MACHINE;
    if (!status)
        status = make_spool(&r);
    if (!status && wf_deltas_second_step(s))
        status = fill_spool(&r, out);
    if (!status)
        status = bring_together(&r, out);
    bool first = !wf_ranks_follows(run->ranks);
    if (!status && first)
        status = assemble(&r, out);
    wf_delta_spool_destroy(&r.spool);
    return status || !first ? status : tidy_up(&r);
}

void wf_deltas_destroy(struct wf_deltas_result *r)
{
    for (size_t i = 0; r->made && i < r->n; i++)
        wf_arena_destroy(&r->made[i].arena);
    *r = (struct wf_deltas_result){0};
}

/* ---- the table of sizes ---- */

static void print_table(const struct wf_setup *s, const struct wf_deltas_result *r)
{
    char text[4][32];
    uint64_t deltas = 0, separate = 0;
    wf_log(WF_LOG_INFO, "shared model: %s", wf_format_bytes(s->plan.bytes_written, text[0]));
    for (size_t i = 0; i < r->n; i++) {
        const struct wf_delta_made *m = &r->made[i];
        double share = s->deltas.count ? (double)m->kept / (double)s->deltas.count : 0;
        wf_log(WF_LOG_INFO, "delta of %s: %s of %s elements (%.2f %%), %s in %s", m->task,
               wf_format_count(m->kept, text[0]), wf_format_count(s->deltas.count, text[1]),
               100 * share, wf_format_bytes(m->file.bytes, text[2]), m->file.name);
        deltas += m->file.bytes;
        separate += s->deltas.tasks[i].bytes;
    }
    uint64_t together = s->plan.bytes_written + deltas;
    wf_log(WF_LOG_INFO, "together %s; %zu separate model%s: %s", wf_format_bytes(together, text[0]),
           r->n, r->n == 1 ? "" : "s", wf_format_bytes(separate, text[1]));
}

static void put_json(struct wf_str *s, const char *key, const char *text)
{
    wf_str_printf(s, ",\"%s\":", key);
    wf_str_json(s, text, strlen(text));
}

static void print_json(FILE *out, const struct wf_setup *s, const struct wf_deltas_result *r)
{
    struct wf_str line = {0};
    uint64_t deltas = 0, separate = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct wf_delta_made *m = &r->made[i];
        wf_str_puts(&line, "{\"event\":\"task_delta\"");
        put_json(&line, "task", m->task);
        put_json(&line, "file", m->file.name);
        wf_str_printf(&line,
                      ",\"kept\":%" PRIu64 ",\"elements\":%" PRIu64
                      ",\"tensors\":%zu,\"bytes\":%" PRIu64 ",\"rank\":%u}\n",
                      m->kept, s->deltas.count, m->n_tensors, m->file.bytes, wf_log_rank());
        deltas += m->file.bytes;
        separate += s->deltas.tasks[i].bytes;
    }
    wf_str_printf(&line,
                  "{\"event\":\"task_deltas\",\"shared_bytes\":%" PRIu64 ",\"delta_bytes\":%" PRIu64
                  ",\"separate_bytes\":%" PRIu64 ",\"rank\":%u}\n",
                  s->plan.bytes_written, deltas, separate, wf_log_rank());
    if (!line.failed)
        fputs(line.text, out);
    fflush(out);
    wf_str_free(&line);
}

void wf_deltas_report(const struct weft_options *options, const struct wf_setup *s,
                      const struct wf_deltas_result *r)
{
    if (options->json)
        print_json(options->out, s, r);
    else
        print_table(s, r);
}
