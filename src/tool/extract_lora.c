/* extract_lora.c - an adapter from a full fine-tune, from the command line to the published folder.
 */
#include "extract_lora.h"

#include <math.h>
#include <string.h>

#include "../dist/rank.h"
#include "../base/log.h"
#include "../base/num.h"
#include "../lowrank/extract.h"
#include "../publish/adapter_record.h"
#include "../publish/lowrank_device.h"
#include "../publish/opened.h"
#include "lowrank_print.h"
#include "report.h"

#define WHERE "extract-lora"

struct extract_job {
    struct wf_err *e;
    const struct weft_options *options;
    struct wf_arena arena;
    struct wf_opened opened;
    struct wf_report report;
    struct wf_output output;
    const struct wf_ckpt *model, *base;
    struct wf_plan_ckpt inputs[2];
    struct wf_adapter_record record;
    struct wf_lowrank_device device;
    struct wf_cut cut;
    struct wf_lowrank_print print;
    size_t n_lost;
};

static int check_how(struct wf_err *e, const struct weft_extract *how)
{
    const char *const *const lists[] = {how->include, how->exclude, how->save_whole};
    if (!how->rank && !(how->energy > 0) && !(how->threshold > 0))
        return wf_fail(e, WF_USAGE, WHERE " needs --rank, --energy or --threshold");
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const char *const *glob = lists[i]; glob && *glob; glob++)
            if (!wf_glob_valid(*glob))
                return wf_fail(e, WF_USAGE, WHERE ": the pattern '%s' has a '[' without its ']'",
                               *glob);
    return WF_OK;
}

static int open_model(struct extract_job *j, const char *text, const struct wf_ckpt **out)
{
    if (strchr(text, '+') && !wf_exists(text))
        return wf_fail(j->e, WF_USAGE,
                       WHERE ": '%s': models are taken as they are stored; make a folder of the "
                             "two with weft apply",
                       text);
    int s = wf_opened_get(j->e, &j->arena, &j->opened, WHERE, text, NULL, out);
    if (!s && (*out)->is_adapter)
        s = wf_fail(j->e, WF_USAGE, WHERE ": %s is an adapter, not a model", (*out)->place.path);
    return s ? s : wf_output_check_input(j->e, &j->output, *out, text);
}

static void add_list(struct wf_str *s, const char *key, const char *const *list)
{
    wf_str_printf(s, ", \"%s\": [", key);
    for (size_t i = 0; list && list[i]; i++) {
        wf_str_puts(s, i ? ", " : "");
        wf_str_json(s, list[i], strlen(list[i]));
    }
    wf_str_puts(s, "]");
}

/* What the manifest will say of the options, and --resume compares. */
static int make_record(struct extract_job *j, const char *model, const struct weft_extract *how)
{
    struct wf_str text = {0};
    wf_str_puts(&text, "{\"command\": \"" WHERE "\", \"model\": ");
    wf_str_json(&text, model, strlen(model));
    wf_str_puts(&text, ", \"base\": ");
    wf_str_json(&text, how->base, strlen(how->base));
    wf_str_printf(&text, ", \"rank\": %u, \"energy\": %.17g, \"threshold\": %.17g", how->rank,
                  how->energy, how->threshold);
    add_list(&text, "include", how->include);
    add_list(&text, "exclude", how->exclude);
    add_list(&text, "save_whole", how->save_whole);
    wf_str_puts(&text, "}");
    j->inputs[0] = (struct wf_plan_ckpt){.ckpt = j->model, .text = model, .task = model};
    j->inputs[1] = (struct wf_plan_ckpt){
        .ckpt = j->base, .text = how->base, .task = how->base, .is_base = true};
    int s = wf_str_finish(&text, j->e);
    if (!s)
        s = wf_adapter_record_command(j->e, &j->arena, j->options, WHERE, &text, j->inputs, 2,
                                      &j->record);
    wf_str_free(&text);
    return s;
}

static void print_row(void *arg, const struct wf_lowrank_row *row)
{
    struct extract_job *j = arg;
    wf_lowrank_print_row(&j->print, row);
}

static void print_other(void *arg, const struct wf_tensor *t, enum wf_extract_fate fate,
                        double moved)
{
    struct extract_job *j = arg;
    struct wf_report *r = &j->report;
    bool lost = fate == WF_EXTRACT_LOST;
    j->n_lost += lost;
    if (r->json) {
        wf_report_object(r, "other");
        wf_report_string(r, "name", t->name);
        wf_report_string(r, "fate", lost ? "lost" : "saved");
        wf_report_f64(r, "moved", moved);
        wf_report_close(r);
        return;
    }
    wf_lowrank_print_head(&j->print);
    wf_report_name(r, t->name, j->print.name_width);
    wf_report_text(r, "  %s", lost ? "moved, and is not in the adapter" : "saved whole");
    if (!isnan(moved))
        wf_report_text(r, ": |difference| %.3e", moved);
    wf_report_end(r);
}

static size_t name_width(const struct wf_ckpt *model)
{
    size_t width = 6;
    for (size_t i = 0; i < model->n_tensors; i++)
        width = wf_report_widen(width, model->tensors[i].name);
    return width;
}

static int fill(struct extract_job *j, const char *out, const struct weft_extract *how,
                const volatile int *stop)
{
    uint64_t memory = wf_tool_memory(j->options);
    struct wf_extract_options eo = {.cut = j->cut,
                                    .include = how->include,
                                    .exclude = how->exclude,
                                    .save_whole = how->save_whole,
                                    .base_name = how->base,
                                    .threads = wf_tool_threads(j->options, memory, 1),
                                    .memory_bytes = memory,
                                    .device = j->device.device,
                                    .stop = stop,
                                    .row = print_row,
                                    .other = print_other,
                                    .arg = j};
    struct wf_lowrank_row total;
    j->print = (struct wf_lowrank_print){.report = &j->report, .name_width = name_width(j->model)};
    int s = wf_extract_adapter(j->e, j->model, j->base, j->output.partial, &eo, &total);
    if (!s)
        wf_lowrank_print_total(&j->print, &total, out);
    return wf_lowrank_publish(j->e, j->options, s, &j->report, &j->record, &j->output);
}

int wf_extract_lora_run(struct wf_err *e, const struct weft_options *o, const char *model,
                        const char *out, const struct weft_extract *how, const volatile int *stop)
{
    struct extract_job j = {
        .e = e,
        .options = o,
        .record.stop = stop,
        .cut = {.rank = how->rank, .energy = how->energy, .threshold = how->threshold}};
    wf_report_open(&j.report, o);
    int s = wf_rank_alone(e, o->ranks, "weft extract-lora");
    if (!s)
        s = check_how(e, how);
    if (!s)
        s = wf_output_check_once(e, &j.arena, out, o->resume, o->overwrite, &j.output);
    if (!s)
        s = open_model(&j, model, &j.model);
    if (!s)
        s = open_model(&j, how->base, &j.base);
    if (!s)
        s = wf_lowrank_device_open(e, o, wf_extract_work(j.model, &j.cut), &j.device);
    if (!s)
        s = make_record(&j, model, how);
    if (!s)
        s = wf_output_begin(e, &j.output, &j.record.plan);
    if (!s && j.output.state == WF_OUTPUT_PUBLISHED)
        s = wf_lowrank_print_done(&j.report, e, out);
    else if (!s)
        s = fill(&j, out, how, stop);
    if (!s && j.n_lost)
        wf_log(WF_LOG_WARNING,
               "%zu tensor%s moved and %s not in the adapter; --save-whole PATTERN puts them there",
               j.n_lost, j.n_lost == 1 ? "" : "s", j.n_lost == 1 ? "is" : "are");
    wf_lowrank_device_close(&j.device);
    wf_output_close(&j.output, false);
    wf_arena_destroy(&j.arena);
    return s;
}
