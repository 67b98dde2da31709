/* byom.c - the method byom_lora, from the recipe to the published folder; see byom.h. */
#include "byom.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/log.h"
#include "../base/num.h"
#include "../base/thread.h"
#include "../lowrank/compress.h"
#include "adapter_record.h"
#include "lowrank_device.h"
#include "opened.h"
#include "sidefiles.h"
#include "trace_file.h"

struct byom_job {
    struct wf_err *e;
    const struct weft_options *options;
    struct wf_setup *setup;
    const volatile int *stop;
    struct wf_output output;
    struct wf_byom byom;
    struct wf_lowrank_row *totals; /* of the tasks */
    struct wf_adapter_record record;
    struct wf_lowrank_device device;
    struct wf_watch *watch;
    struct wf_byom_result *result;
};

/* ---- inputs -----------------------------------------------------------------------------------
 */

static int open_task(struct wf_err *e, struct wf_setup *s, size_t i, struct wf_byom_task *t)
{
    const struct wf_recipe *r = &s->recipe;
    const struct wf_recipe_model *m = &r->models[i];
    const struct wf_ckpt *ckpt;
    char *where = wf_arena_printf(&s->arena, e, "%s:%d", r->path, m->ref.line);
    if (!where)
        return WF_MACHINE;
    if (m->ref.adapter)
        return wf_fail(e, WF_USAGE,
                       "%s: '%s': merge_method '%s' takes adapters alone, without their base",
                       where, m->ref.text, r->method->name);
    int status = wf_opened_get(e, &s->arena, &s->opened, where, m->ref.model, r->folder, &ckpt);
    if (status)
        return status;
    if (!ckpt->is_adapter)
        return wf_fail(e, WF_USAGE, "%s: %s is no adapter; merge_method '%s' takes PEFT adapters",
                       where, ckpt->place.path, r->method->name);
    status = wf_adapter_open(e, &s->arena, ckpt, &t->adapter);
    if (!status && !t->adapter.n_modules)
        status = wf_fail(e, WF_USAGE, "%s: %s has no factors: there is nothing to compress", where,
                         ckpt->place.path);
    for (size_t k = 0; !status && k < t->adapter.n_modules; k++)
        t->rank_in = (uint32_t)wf_max_u64(t->rank_in, t->adapter.modules[k].rank);
    t->name = m->task;
    t->text = m->ref.text;
    return status;
}

int wf_byom_open(struct wf_err *e, struct wf_setup *s, struct wf_byom *out)
{
    const struct wf_recipe *r = &s->recipe;
    int option = wf_method_option(r->method, "rank");
    double rank = wf_recipe_value(r, (size_t)option, -1, NULL);
    *out = (struct wf_byom){.n = r->n_models};
    out->tasks = wf_arena_alloc(&s->arena, e, out->n, sizeof *out->tasks);
    int status = out->tasks ? WF_OK : WF_MACHINE;
    for (size_t i = 0; !status && i < out->n; i++) {
        status = open_task(e, s, i, &out->tasks[i]);
        if (!status)
            out->tasks[i].rank = wf_compress_rank(&out->tasks[i].adapter, (uint32_t)rank);
    }
    return status;
}

/* ---- one task ---------------------------------------------------------------------------------
 */

/* What is told of a task's modules: rows of its README, and events. */
struct telling {
    const struct byom_job *job;
    const struct wf_byom_task *task;
    struct wf_str card;
};

static void tell_event(FILE *out, const char *event, const char *task,
                       const struct wf_lowrank_row *row)
{
    struct wf_str s = {0};
    wf_str_printf(&s, "{\"event\":\"%s\",\"task\":", event);
    wf_str_json(&s, task, strlen(task));
    if (row->path) {
        wf_str_puts(&s, ",\"path\":");
        wf_str_json(&s, row->path, strlen(row->path));
        wf_str_printf(&s, ",\"out\":%" PRIu32 ",\"in\":%" PRIu32 ",\"rank_in\":%" PRIu32, row->outs,
                      row->ins, row->rank_in);
    }
    wf_str_printf(&s, ",\"rank\":%" PRIu32 ",\"energy\":%.9g,\"error\":%.6g}\n", row->rank,
                  wf_lowrank_energy(row), wf_lowrank_error(row));
    if (!s.failed)
        fwrite(s.text, 1, s.n, out);
    wf_str_free(&s);
}

static void tell_module(void *arg, const struct wf_lowrank_row *row)
{
    struct telling *t = arg;
    wf_str_printf(&t->card, "| `%s` | %" PRIu32 " | %" PRIu32 " | %" PRIu32 " | %.6f | %.3e |\n",
                  row->path, row->outs, row->ins, row->rank, wf_lowrank_energy(row),
                  wf_lowrank_error(row));
    t->job->result->modules++;
    if (t->job->options->json)
        tell_event(t->job->options->out, "module", t->task->name, row);
}

static void tell_task(const struct telling *t, const struct wf_lowrank_row *total)
{
    if (t->job->options->json)
        tell_event(t->job->options->out, "task", t->task->name, total);
    else
        wf_log(WF_LOG_INFO,
               "task '%s': rank %" PRIu32 " of %" PRIu32 ", %zu modules, keeps %.4f of the squared "
               "norm (error %.2e)",
               t->task->name, total->rank, t->task->rank_in, t->task->adapter.n_modules,
               wf_lowrank_energy(total), wf_lowrank_error(total));
}

static void begin_card(struct telling *t)
{
    const struct wf_byom_task *task = t->task;
    const char *base = task->adapter.base_name;
    wf_str_puts(&t->card, "---\nlibrary_name: peft\ntags:\n- lora\n- weft\n");
    if (base) {
        wf_str_puts(&t->card, "base_model: ");
        wf_str_json(&t->card, base, strlen(base));
        wf_str_puts(&t->card, "\n");
    }
    wf_str_printf(&t->card,
                  "---\n\n# %s\n\nAn adapter of rank %" PRIu32 ", the best approximation of `%s` "
                  "(BYOM-LoRA, arXiv:2310.01886), written by weft.\n\n"
                  "| module | out | in | rank | kept energy | relative error |\n"
                  "|---|---|---|---|---|---|\n",
                  task->name, task->rank, task->text);
}

static int write_card(struct byom_job *j, struct telling *t, const char *folder)
{
    int status = wf_str_finish(&t->card, j->e);
    const char *path = status ? NULL : wf_path_join(&j->setup->arena, j->e, folder, "README.md");
    return path ? wf_write_small(j->e, path, t->card.text, t->card.n) : wf_err_status(j->e);
}

static int run_task(struct byom_job *j, const struct wf_byom_task *task,
                    struct wf_lowrank_row *total)
{
    const struct weft_options *o = j->options;
    const struct wf_recipe *r = &j->setup->recipe;
    struct telling t = {.job = j, .task = task};
    struct wf_compress_options co = {.rank = task->rank,
                                     .dtype = r->dtype,
                                     .base_name = r->has_base ? r->base.text : NULL,
                                     .threads = o->threads ? o->threads : wf_cpu_count(),
                                     .memory_bytes =
                                         o->memory_bytes ? o->memory_bytes : wf_mem_default(),
                                     .device = j->device.device,
                                     .stop = j->stop,
                                     .row = tell_module,
                                     .arg = &t};
    const char *folder = wf_path_join(&j->setup->arena, j->e, j->output.partial, task->name);
    if (!folder)
        return WF_MACHINE;
    if (mkdir(folder, 0777))
        return wf_fail_errno(j->e, WF_MACHINE, errno, "%s: cannot make the folder", folder);
    begin_card(&t);
    int status = wf_compress_adapter(j->e, &task->adapter, folder, &co, total);
    if (!status)
        status = write_card(j, &t, folder);
    if (!status)
        tell_task(&t, total);
    wf_str_free(&t.card);
    j->result->bytes_written += total->bytes;
    return status ? status : wf_sync_folder(j->e, folder);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static const char *recipe_name(const struct byom_job *j)
{
    return j->setup->recipe.is_json ? "weft_recipe.json" : "weft_recipe.yaml";
}

static int write_top(struct byom_job *j, const char *name, const char *text, size_t n)
{
    const char *path = wf_path_join(&j->setup->arena, j->e, j->output.partial, name);
    return path ? wf_write_small(j->e, path, text, n) : WF_MACHINE;
}

/* The card of the whole: which adapters there are, and the recipe. */
static int write_top_card(struct byom_job *j)
{
    const struct wf_recipe *r = &j->setup->recipe;
    struct wf_str s = {0};
    size_t n;
    const char *last = wf_path_last(j->output.out, &n);
    wf_str_printf(&s,
                  "---\nlibrary_name: peft\ntags:\n- lora\n- weft\n---\n\n# %.*s\n\n"
                  "Adapters of low rank, one in each folder, made with weft %s.\n\n"
                  "## Adapters\n\n| folder | modules | rank | of | kept energy |\n"
                  "|---|---|---|---|---|\n",
                  r->name ? (int)strlen(r->name) : (int)n, r->name ? r->name : last, WEFT_VERSION);
    for (size_t i = 0; i < j->byom.n; i++) {
        const struct wf_byom_task *t = &j->byom.tasks[i];
        wf_str_printf(&s, "| `%s` | %zu | %" PRIu32 " | %" PRIu32 " | %.6f |\n", t->name,
                      t->adapter.n_modules, j->totals[i].rank, t->rank_in,
                      wf_lowrank_energy(&j->totals[i]));
    }
    wf_str_printf(&s,
                  "\n## Method\n\n`%s`: %s.\n\n%s.\n\nChecksums and sources are in "
                  "`weft_manifest.json`.\n\n## Recipe\n\n",
                  r->method->name, r->method->title, r->method->citation);
    wf_card_fenced(&s, r->is_json ? "json" : "yaml", r->text, r->text_n);
    int status = wf_str_finish(&s, j->e);
    if (!status)
        status = write_top(j, "README.md", s.text, s.n);
    wf_str_free(&s);
    return status;
}

/* What the manifest will say of the inputs, and --resume compares. */
static int make_record(struct byom_job *j)
{
    struct wf_arena *a = &j->setup->arena;
    size_t n = j->byom.n;
    struct wf_plan_ckpt *ckpts = wf_arena_alloc(a, j->e, n, sizeof *ckpts);
    const char **folders = wf_arena_alloc(a, j->e, n + 1, sizeof *folders);
    const char **small = wf_arena_alloc(a, j->e, 3, sizeof *small);
    j->totals = wf_arena_alloc(a, j->e, n, sizeof *j->totals);
    if (!ckpts || !folders || !small || !j->totals)
        return WF_MACHINE;
    for (size_t i = 0; i < n; i++) {
        const struct wf_byom_task *t = &j->byom.tasks[i];
        ckpts[i] = (struct wf_plan_ckpt){.ckpt = t->adapter.ckpt, .text = t->text, .task = t->name};
        folders[i] = t->name;
    }
    small[0] = "README.md";
    small[1] = recipe_name(j);
    j->record = (struct wf_adapter_record){
        .plan = {.recipe = &j->setup->recipe, .ckpts = ckpts, .n_ckpts = n},
        .folders = folders,
        .small = small,
        .stop = j->stop};
    return wf_adapter_record_plan(j->e, a, j->options, &j->record);
}

static double work_of(const struct wf_byom *byom)
{
    double work = 0;
    for (size_t i = 0; i < byom->n; i++)
        work += wf_compress_work(&byom->tasks[i].adapter);
    return work;
}

static int check_inputs(struct byom_job *j)
{
    int status = wf_output_check_recipe(j->e, &j->output, &j->setup->recipe);
    for (size_t i = 0; !status && i < j->byom.n; i++)
        status = wf_output_check_input(j->e, &j->output, j->byom.tasks[i].adapter.ckpt,
                                       j->byom.tasks[i].text);
    return status;
}

static int fill(struct byom_job *j)
{
    const struct wf_recipe *r = &j->setup->recipe;
    int status = write_top(j, recipe_name(j), r->text, r->text_n);
    for (size_t i = 0; !status && i < j->byom.n; i++) {
        const struct wf_ckpt *c = j->byom.tasks[i].adapter.ckpt;
        status = run_task(j, &j->byom.tasks[i], &j->totals[i]);
        for (size_t k = 0; k < c->n_tensors; k++)
            j->result->bytes_read += c->tensors[k].bytes;
    }
    if (!status)
        status = write_top_card(j);
    wf_watch_phase(j->watch, WF_PHASE_PUBLISH);
    if (!status)
        status = wf_adapter_record_write(j->e, j->options, j->output.partial, &j->record);
    return status ? status : wf_output_publish(j->e, &j->output);
}

int wf_byom_run(struct wf_err *e, const struct weft_options *options, struct wf_setup *s,
                const char *out, const volatile int *stop, const char *trace_file,
                struct wf_watch *watch, struct wf_byom_result *result)
{
    struct byom_job j = {
        .e = e, .options = options, .setup = s, .stop = stop, .watch = watch, .result = result};
    *result = (struct wf_byom_result){0};
    int status =
        wf_output_check_once(e, &s->arena, out, options->resume, options->overwrite, &j.output);
    if (!status)
        status = wf_byom_open(e, s, &j.byom);
    if (!status)
        status = check_inputs(&j);
    if (!status)
        status = wf_trace_file_check(e, trace_file, &j.output, &s->recipe, &s->opened);
    if (!status)
        status = wf_lowrank_device_open(e, options, work_of(&j.byom), &j.device);
    if (!status)
        status = make_record(&j);
    if (!status && trace_file)
        status = wf_trace_open(e, trace_file, wf_log_rank(), WF_TRACE_BUFFER, &watch->trace);
    if (!status)
        status = wf_output_begin(e, &j.output, &j.record.plan);
    result->already_done = !status && j.output.state == WF_OUTPUT_PUBLISHED;
    wf_watch_set_trace(watch, watch->trace);
    if (!status && !result->already_done) {
        wf_watch_phase(watch, WF_PHASE_MAP);
        status = fill(&j);
    }
    wf_lowrank_device_close(&j.device);
    wf_output_close(&j.output, false);
    return status;
}
