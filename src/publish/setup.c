/* setup.c - from a recipe's path to a plan with a budget; reads headers only. */
#include <stdio.h>
#include <string.h>

#include "../base/log.h"
#include "../base/num.h"
#include "../base/thread.h"
#include "../dist/join_ranks.h"
#include "../format/renamed.h"
#include "../recipe/coefficients.h"
#include "chat_template.h"
#include "components.h"
#include "deltas.h"
#include "merge.h"
#include "provenance.h"
#include "tokenizers.h"

static int open_references(struct wf_err *e, struct wf_setup *s)
{
    const struct wf_recipe *r = &s->recipe;
    s->models = wf_arena_alloc(&s->arena, e, r->n_models + 1, sizeof *s->models);
    if (!s->models)
        return WF_MACHINE;
    int status = WF_OK;
    if (r->has_base)
        status =
            wf_opened_reference(e, &s->arena, &s->opened, r->path, &r->base, r->folder, &s->base);
    for (size_t i = 0; !status && i < r->n_models; i++)
        status = wf_opened_reference(e, &s->arena, &s->opened, r->path, &r->models[i].ref,
                                     r->folder, &s->models[i]);
    return status;
}

/* A model whose names differ from the first's by what stands in front of all of them is that model
 * under the first's names. */
static int align_names(struct wf_err *e, struct wf_setup *s)
{
    const struct wf_recipe *r = &s->recipe;
    const struct wf_ckpt *like = s->base ? s->base : s->models[0];
    int status = WF_OK;
    for (size_t i = 0; !status && i < r->n_models; i++) {
        const struct wf_ckpt *c = s->models[i];
        struct wf_prefix p;
        if (c == like || !wf_prefix_find(c, like, &p))
            continue;
        struct wf_ckpt *renamed = wf_arena_alloc(&s->arena, e, 1, sizeof *renamed);
        if (!renamed)
            return WF_MACHINE;
        status = wf_ckpt_rename(e, &s->arena, c, like, &p, renamed);
        wf_log(WF_LOG_INFO, "%s:%d: the names of %s %s '%.*s' in front and are taken %s it",
               r->path, r->models[i].line, r->models[i].ref.text, p.lacks ? "lack" : "have",
               (int)p.n, p.text, p.lacks ? "with" : "without");
        for (size_t k = i; k < r->n_models; k++) /* the same model may be there twice */
            if (s->models[k] == c)
                s->models[k] = renamed;
    }
    return status;
}

/* What the method says of its settings, once. */
static void warn_settings(const struct wf_plan *plan)
{
    const struct wf_recipe *r = plan->recipe;
    for (size_t i = 0; r->method->remark && i < plan->n_jobs; i++) {
        const struct wf_job *job = &plan->jobs[i];
        bool mixed = job->action == WF_ACTION_MAP && job->method == r->method;
        const char *why = mixed ? r->method->remark(job->args, 0) : NULL;
        if (!why)
            continue;
        wf_log(WF_LOG_WARNING, "%s:%d: %s", r->path, r->method_line, why);
        return;
    }
}

static void warn(const struct wf_plan *plan)
{
    warn_settings(plan);
    for (size_t i = 0; i < plan->n_unused; i++)
        wf_log(WF_LOG_WARNING, "%s: pattern '%s' matches no tensor", plan->recipe->path,
               plan->unused[i]);
    if (plan->n_uncomputed)
        wf_log(WF_LOG_WARNING,
               "%zu tensor%s of a float type that weft only copies (F8 and the like) and stay as "
               "they are (first: '%s')",
               plan->n_uncomputed, plan->n_uncomputed == 1 ? " is" : "s are", plan->uncomputed);
    if (plan->layer_rule)
        wf_log(
            WF_LOG_WARNING,
            "%s: '%s' goes by the numbers of layers, which are others in the result, and is kept "
            "as it is",
            plan->config_donor->config_path, plan->layer_rule);
    if (plan->n_tied)
        wf_log(WF_LOG_INFO,
               "%zu model%s no head of %s own; the embedding table stands in for it, as the config "
               "says",
               plan->n_tied, plan->n_tied == 1 ? " has" : "s have",
               plan->n_tied == 1 ? "its" : "their");
    if (!plan->config_donor->config)
        wf_log(WF_LOG_WARNING, "no model has a config.json, so the result has none");
    if (plan->n_left_out)
        wf_log(WF_LOG_WARNING,
               "%zu excluded tensor%s not in %s and therefore not in the result (first: '%s' of "
               "%s)",
               plan->n_left_out, plan->n_left_out == 1 ? " is" : "s are", plan->ckpts[0].text,
               plan->left_out[0].name, plan->left_out[0].ckpt);
}

/* The small files of the config's donor; where that is planned, those that it will make as well. */
static int list_sidecars(struct wf_err *e, struct wf_setup *s)
{
    const struct wf_ckpt *donor = wf_plan_config_donor(s->base, s->models, s->recipe.n_models);
    int status = donor->cars
                     ? wf_sidecar_planned(e, &s->arena, donor->cars, donor->texts, &s->sidecars)
                     : wf_sidecar_list(e, &s->arena, &donor->place, &s->sidecars);
    for (const struct wf_side_text *t = donor->texts; t && !status; t = t->next)
        if (t->text)
            status = wf_side_text_put(e, &s->arena, &s->side_texts, t->name, t->text, t->n);
    if (donor->plan) /* which says what they are, there or not */
        s->sidecars.hash = *donor->plan;
    if (!status && s->sidecars.n_missed)
        wf_log(WF_LOG_WARNING, "%s: %zu side file%s not carried over (first: %s)",
               donor->place.path, s->sidecars.n_missed, s->sidecars.n_missed == 1 ? " is" : "s are",
               s->sidecars.missed);
    for (size_t i = 0; !status && i < s->sidecars.n_left_out; i++)
        wf_log(WF_LOG_DEBUG, "not carried over: %s", s->sidecars.left_out[i]);
    return status;
}

/* Side files that are no copies of the donor's. */
static int make_side_texts(struct wf_err *e, const struct weft_options *o, struct wf_setup *s)
{
    const struct wf_sidecars *cars = &s->sidecars;
    if (!o->no_tokenizer || s->recipe.tokenizer.given) /* one that is asked for by name is made */
        return wf_chat_template_put(e, s);
    int status = WF_OK;
    for (size_t i = 0; !status && i < cars->n; i++)
        if (wf_sidecar_is_tokenizer(cars->files[i].name))
            status = wf_side_text_put(e, &s->arena, &s->side_texts, cars->files[i].name, NULL, 0);
    for (struct wf_side_text *t = s->side_texts; t; t = t->next)
        if (wf_sidecar_is_tokenizer(t->name))
            *t = (struct wf_side_text){.name = t->name, .next = t->next};
    return status;
}

/* ---- memory, threads, GPUs ---- */

/* Lanes of a GPU at least, if nobody says how many threads: one copies in while another computes
 * and a third copies out. */
#define LANES_LEAST 3u

/* Processes of this merge on this machine. */
static unsigned local_ranks(const struct wf_setup *s)
{
    return s->rank.local_size > 1 ? s->rank.local_size : 1;
}

static int open_devices(struct wf_err *e, const struct weft_options *o, bool look,
                        struct wf_setup *s)
{
    bool required = o->backend == WEFT_BACKEND_CUDA;
    struct wf_device_options options = {.gpus = o->gpus,
                                        .memory_bytes = o->device_memory_bytes,
                                        .required = required,
                                        .sharing = s->rank.owns_devices ? 1 : local_ranks(s),
                                        .nth = s->rank.local};
    if (!required && (o->backend == WEFT_BACKEND_CPU || !look))
        return WF_OK;
    return wf_devices_open(e, &options, &s->gpu.devices, s->no_gpu);
}

uint64_t wf_setup_memory(const struct weft_options *o, const struct wf_setup *s)
{
    return o->memory_bytes ? o->memory_bytes : wf_mem_default() / local_ranks(s);
}

#define COMMAND_BYTES 8192u /* paths and the like: more than a command takes */

uint64_t wf_setup_tables(const struct wf_setup *s)
{
    return wf_mem_now(WF_MEM_META) + wf_mem_now(WF_MEM_TEXT) - s->aside_bytes + COMMAND_BYTES;
}

/* A launcher that binds ranks to CPUs has divided them already. */
static unsigned default_threads(const struct wf_setup *s)
{
    unsigned cpus = wf_cpu_count();
    if (wf_cpus_are_bound())
        return cpus;
    return cpus > local_ranks(s) ? cpus / local_ranks(s) : 1;
}

unsigned wf_setup_threads(const struct weft_options *o, const struct wf_setup *s)
{
    unsigned threads = o->threads ? o->threads : default_threads(s);
    if (s->gpu.devices && !o->threads)
        threads = (unsigned)wf_max_u64(threads, LANES_LEAST * wf_devices_count(s->gpu.devices));
    return threads;
}

static int lay_out_devices(struct wf_err *e, struct wf_setup *s)
{
    const struct wf_budget *b = &s->budget;
    uint32_t devices = (uint32_t)wf_min_u64(wf_devices_count(s->gpu.devices), b->compute);
    s->gpu.need = (struct wf_device_need){.tiles = b->scratch,
                                          .input_bytes = b->input_bytes,
                                          .output_bytes = b->span_bytes,
                                          .lanes = (b->compute + devices - 1) / devices,
                                          .slots = (b->slots + devices - 1) / devices};
    return wf_device_lay_out(e, &s->gpu.need, wf_devices_memory(s->gpu.devices), &s->gpu.layout);
}

bool wf_setup_joins(const struct wf_setup *s)
{
    const struct wf_task_deltas *deltas = &s->recipe.deltas;
    return s->plan.n_model_jobs || (deltas->wanted && !deltas->by_tensor);
}

static int set_budget(struct wf_err *e, const struct weft_options *o, struct wf_setup *s)
{
    uint64_t meta = wf_setup_tables(s) + s->plan.addend_bytes;
    uint64_t memory = wf_setup_memory(o, s);
    struct wf_means means = {.memory_bytes = memory,
                             .meta_bytes = meta,
                             .threads = wf_setup_threads(o, s),
                             .lanes = s->gpu.devices != NULL,
                             .ranks = s->rank.size ? s->rank.size : o->ranks};
    if (means.ranks > 1 && wf_setup_joins(s))
        means.meta_bytes += WF_JOIN_ROOM_BYTES;
    if (o->emit_components)
        means.meta_bytes += wf_components_table_bytes(s);
    int status = wf_budget_set(e, &s->plan, &means, &s->budget);
    if (status || !means.lanes)
        return status;
    /* Where a device has little, spans and threads as with less memory on the host. */
    struct wf_err why = {0};
    while ((status = lay_out_devices(&why, s)) != WF_OK) {
        struct wf_err too_little = {0};
        struct wf_budget budget;
        means.memory_bytes /= 2;
        if (wf_budget_set(&too_little, &s->plan, &means, &budget))
            return wf_fail(e, WF_MACHINE, "%s", why.text);
        wf_err_clear(&why);
        s->budget = budget;
        s->budget.memory_bytes = memory;
    }
    return WF_OK;
}

/* Under --backend auto a GPU that cannot be used for this merge is as good as none. */
static int plan_memory(struct wf_err *e, const struct weft_options *o, bool look,
                       struct wf_setup *s)
{
    int status = open_devices(e, o, look, s);
    if (!status && s->gpu.devices && o->backend == WEFT_BACKEND_AUTO) {
        struct wf_err why = {0};
        if (!set_budget(&why, o, s))
            return WF_OK;
        snprintf(s->no_gpu, sizeof s->no_gpu, "%.255s", why.text);
        wf_devices_close(s->gpu.devices);
        s->gpu = (struct wf_device_run){0};
    }
    return status ? status : set_budget(e, o, s);
}

int wf_setup_recipe(struct wf_err *e, const struct weft_options *o,
                    const struct wf_merge_source *source, struct wf_setup *s)
{
    bool compat = o->compat == WEFT_COMPAT_MERGEKIT;
    int status = WF_OK;
    if (source->read)
        s->recipe = *source->read;
    else if (source->text)
        status = wf_recipe_parse(e, &s->arena, source->recipe, source->text, strlen(source->text),
                                 false, &s->recipe);
    else
        status = wf_recipe_read(e, &s->arena, source->recipe, compat, &s->recipe);
    s->recipe.is_made = source->text != NULL;
    s->recipe.allow_mixed |= o->allow_mixed;
    if (!s->recipe.has_seed)
        s->recipe.seed = o->seed;
    return status;
}

int wf_setup_create(struct wf_err *e, const struct weft_options *o,
                    const struct wf_merge_source *source, bool look, struct wf_setup *s)
{
    bool compat = o->compat == WEFT_COMPAT_MERGEKIT;
    struct wf_plan_options options = {.shard_bytes = o->shard_bytes,
                                      .manifest = wf_manifest_kind_name(o->manifest),
                                      .compat = compat ? "mergekit" : "weft",
                                      .null_compute = o->null_compute,
                                      .components = o->emit_components,
                                      .sink_bytes =
                                          o->emit_components ? wf_components_thread_bytes() : 0,
                                      .sidecars = &s->sidecars};
    s->opened = (struct wf_opened){.stages = source->stages, .n_stages = source->n_stages};
    int status = wf_coefficients_read(e, &s->arena, &s->recipe);
    if (!status)
        status = source->open ? source->open(e, source->arg, s) : open_references(e, s);
    if (!status)
        status = align_names(e, s);
    if (!status)
        status = list_sidecars(e, s);
    struct wf_tokenizers tokenizers = {0};
    if (!status)
        status = wf_tokenizers_apply(e, compat, s, &tokenizers);
    options.facts = tokenizers.facts;
    if (!status)
        status = make_side_texts(e, o, s);
    options.side_texts = s->side_texts;
    if (!status)
        status = wf_plan_build(e, &s->arena, &s->recipe, s->base, s->models, &options, &s->plan);
    if (!status)
        status = wf_tokenizers_edit(e, s, &tokenizers);
    if (status)
        return status;
    s->plan.origins = source->origins;
    if (o->emit_components)
        status = wf_components_check(e, s);
    if (status)
        return status;
    if (source->identity) {
        s->plan.hash = source->identity->hash;
        memcpy(s->plan.parts, source->identity->parts, sizeof s->plan.parts);
    }
    warn(&s->plan);
    status = plan_memory(e, o, look, s);
    return status ? status : wf_deltas_plan(e, o, s);
}

void wf_setup_destroy(struct wf_setup *s)
{
    wf_devices_close(s->gpu.devices);
    wf_delta_plan_destroy(&s->deltas);
    wf_plan_destroy(&s->plan);
    wf_arena_destroy(&s->arena);
}
