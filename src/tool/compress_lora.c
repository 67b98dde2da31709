/* compress_lora.c - an adapter of lower rank, from the command line to the published folder. */
#include "compress_lora.h"

#include <string.h>

#include "../dist/rank.h"
#include "../base/num.h"
#include "../lowrank/compress.h"
#include "../publish/adapter_record.h"
#include "../publish/lowrank_device.h"
#include "../publish/opened.h"
#include "lowrank_print.h"

#define WHERE "compress-lora"

struct compress_job {
    struct wf_err *e;
    const struct weft_options *options;
    struct wf_arena arena;
    struct wf_report report;
    struct wf_output output;
    struct wf_adapter adapter;
    struct wf_plan_ckpt input;
    struct wf_adapter_record record;
    struct wf_lowrank_device device;
};

static int open_adapter(struct compress_job *j, const char *text)
{
    struct wf_opened opened = {0};
    const struct wf_ckpt *ckpt;
    int s = wf_opened_get(j->e, &j->arena, &opened, WHERE, text, NULL, &ckpt);
    if (s)
        return s;
    if (!ckpt->is_adapter)
        return wf_fail(j->e, WF_USAGE,
                       WHERE ": %s is no adapter: a folder with adapter_config.json and "
                             "adapter_model.safetensors is expected",
                       ckpt->place.path);
    s = wf_adapter_open(j->e, &j->arena, ckpt, &j->adapter);
    if (!s && !j->adapter.n_modules)
        s = wf_fail(j->e, WF_USAGE, WHERE ": %s has no factors: there is nothing to compress",
                    ckpt->place.path);
    j->input = (struct wf_plan_ckpt){.ckpt = ckpt, .text = text, .task = text};
    return s ? s : wf_output_check_input(j->e, &j->output, ckpt, text);
}

static int make_record(struct compress_job *j, unsigned rank)
{
    struct wf_str text = {0};
    wf_str_puts(&text, "{\"command\": \"" WHERE "\", \"adapter\": ");
    wf_str_json(&text, j->input.text, strlen(j->input.text));
    wf_str_printf(&text, ", \"rank\": %u}", rank);
    int s = wf_str_finish(&text, j->e);
    if (!s)
        s = wf_adapter_record_command(j->e, &j->arena, j->options, WHERE, &text, &j->input, 1,
                                      &j->record);
    wf_str_free(&text);
    return s;
}

static int fill(struct compress_job *j, const char *out, unsigned rank, const volatile int *stop)
{
    struct wf_lowrank_print print = {.report = &j->report, .name_width = 6};
    uint64_t memory = wf_tool_memory(j->options);
    struct wf_compress_options co = {.rank = rank,
                                     .dtype = WF_DTYPE_NONE,
                                     .threads = wf_tool_threads(j->options, memory, 1),
                                     .memory_bytes = memory,
                                     .device = j->device.device,
                                     .stop = stop,
                                     .row = wf_lowrank_print_row,
                                     .arg = &print};
    struct wf_lowrank_row total;
    for (size_t i = 0; i < j->adapter.n_modules; i++)
        print.name_width = wf_report_widen(print.name_width, j->adapter.modules[i].path);
    int s = wf_compress_adapter(j->e, &j->adapter, j->output.partial, &co, &total);
    if (!s)
        wf_lowrank_print_total(&print, &total, out);
    return wf_lowrank_publish(j->e, j->options, s, &j->report, &j->record, &j->output);
}

int wf_compress_lora_run(struct wf_err *e, const struct weft_options *o, const char *adapter,
                         const char *out, unsigned rank, const volatile int *stop)
{
    struct compress_job j = {.e = e, .options = o, .record.stop = stop};
    wf_report_open(&j.report, o);
    int s = wf_rank_alone(e, o->ranks, "weft compress-lora");
    if (!s)
        s = wf_output_check_once(e, &j.arena, out, o->resume, o->overwrite, &j.output);
    if (!s)
        s = open_adapter(&j, adapter);
    if (!s)
        s = wf_lowrank_device_open(e, o, wf_compress_work(&j.adapter), &j.device);
    if (!s)
        s = make_record(&j, rank);
    if (!s)
        s = wf_output_begin(e, &j.output, &j.record.plan);
    if (!s && j.output.state == WF_OUTPUT_PUBLISHED)
        s = wf_lowrank_print_done(&j.report, e, out);
    else if (!s)
        s = fill(&j, out, rank, stop);
    wf_lowrank_device_close(&j.device);
    wf_output_close(&j.output, false);
    wf_arena_destroy(&j.arena);
    return s;
}
