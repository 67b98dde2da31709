/* components.c - spools the shares of a merge's stream, and makes files of them. */
#include "components.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../base/file.h"
#include "../base/num.h"

#define SPOOL "components.spool"

uint64_t wf_components_thread_bytes(void)
{
    return WF_SINK_BYTES + wf_delta_spool_thread_bytes();
}

uint64_t wf_components_table_bytes(const struct wf_setup *s)
{
    return wf_delta_spool_table_bytes(&s->plan, s->recipe.n_models);
}

/* ---- what can have them ---- */

/* The first tensor that the recipe's method makes; its numbers that matter here are all tensors'.
 * NULL if it makes none. */
static const struct wf_job *first_merged(const struct wf_plan *plan)
{
    for (size_t i = 0; i < plan->n_jobs; i++)
        if (plan->jobs[i].action == WF_ACTION_MAP && plan->jobs[i].method == plan->recipe->method)
            return &plan->jobs[i];
    return NULL;
}

/* The name of the task that input i of the jobs is. */
static const char *task_of(const struct wf_setup *s, uint32_t i)
{
    return s->recipe.models[s->plan.input_model[i]].task;
}

uint64_t wf_components_bytes(const struct wf_setup *s)
{
    const struct wf_recipe *r = &s->recipe;
    int option = wf_method_option(r->method, "density");
    double bytes = 0, density = option < 0 ? 1 : wf_recipe_value(r, (size_t)option, -1, NULL);
    for (size_t i = 0; s->plan.components && i < s->plan.n_jobs; i++) {
        const struct wf_job *job = &s->plan.jobs[i];
        if (job->action != WF_ACTION_MAP || job->method != r->method)
            continue;
        double value = job->wide ? sizeof(double) : sizeof(float), place = 1.0 / 8;
        bytes += (double)(job->n_inputs - 1) * (double)job->count * (density * value + place);
    }
    return (uint64_t)bytes;
}

static int check_names(struct wf_err *e, const struct wf_setup *s, const struct wf_job *job)
{
    for (uint32_t i = 1; i < job->n_inputs; i++) {
        const char *name = task_of(s, i);
        for (uint32_t k = 1; k < i; k++)
            if (!strcmp(task_of(s, k), name))
                return wf_fail(e, WF_USAGE,
                               "--emit-components: two tasks are called '%s'; give them a 'name'",
                               name);
    }
    return WF_OK;
}

static int check_factors(struct wf_err *e, const struct wf_setup *s, const struct wf_job *first)
{
    uint8_t slot = first->method->share_factor;
    for (size_t k = 0; k < s->plan.n_jobs; k++) {
        const struct wf_job *job = &s->plan.jobs[k];
        for (uint32_t i = 1; job->method == first->method && i < job->n_inputs; i++)
            if (job->args->m[i][slot] != first->args->m[i][slot])
                return wf_fail(e, WF_USAGE,
                               "--emit-components: task '%s' has other weights in '%s' than in "
                               "'%s'; components have one for all tensors",
                               task_of(s, i), job->name, first->name);
    }
    return WF_OK;
}

int wf_components_refuse(struct wf_err *e, const struct wf_recipe *r)
{
    return wf_fail(e, WF_USAGE,
                   "%s:%d: --emit-components: merge_method '%s' is not a sum of its models' "
                   "components; 'pcb' is",
                   r->path, r->method_line, r->method->name);
}

int wf_components_check(struct wf_err *e, const struct wf_setup *s)
{
    const struct wf_recipe *r = &s->recipe;
    const struct wf_job *first = first_merged(&s->plan);
    if (!r->method->share)
        return wf_components_refuse(e, r);
    if (r->is_sliced || r->n_modules)
        return wf_fail(e, WF_USAGE,
                       "%s: --emit-components needs whole models, listed under 'models'", r->path);
    if (s->plan.cast != WF_DTYPE_NONE)
        return wf_fail(
            e, WF_USAGE,
            "%s: --emit-components does not go with --compat mergekit and 'dtype', which "
            "rounds the inputs first",
            r->path);
    if (s->base->under)
        return wf_fail(e, WF_USAGE,
                       "%s:%d: --emit-components: the base is a model with something on top; make "
                       "one model of it first (weft apply)",
                       r->path, r->base.line);
    if (s->base->rows)
        return wf_fail(
            e, WF_USAGE,
            "%s:%d: --emit-components: the base's vocabulary changes, and components lie "
            "on the base as it is; merge with 'source: base'",
            r->path, r->tokenizer.line);
    if (!first)
        return wf_fail(e, WF_USAGE,
                       "%s: --emit-components: no tensor is merged, so there are no components",
                       r->path);
    for (size_t i = 0; i < s->sidecars.n; i++)
        if (!strncmp(s->sidecars.files[i].name, WF_COMPONENTS_FOLDER,
                     sizeof WF_COMPONENTS_FOLDER - 1))
            return wf_fail(e, WF_USAGE,
                           "--emit-components: the side file '%s' is where components go; move it",
                           s->sidecars.files[i].name);
    int status = check_names(e, s, first);
    return status ? status : check_factors(e, s, first);
}

/* ---- the run ---- */

static int empty_folder(struct wf_err *e, const char *path)
{
    int status = wf_remove_tree(e, path);
    return status ? status : wf_make_folder(e, path);
}

int wf_components_clear(struct wf_err *e, struct wf_setup *s, const char *partial)
{
    const char *folder = wf_path_join(&s->arena, e, partial, WF_COMPONENTS_FOLDER);
    const char *spool = wf_path_join(&s->arena, e, partial, SPOOL);
    if (!folder || !spool)
        return WF_MACHINE;
    int status = empty_folder(e, folder);
    return status ? status : empty_folder(e, spool);
}

/* The text of the option density, as the recipe has it or as it is. */
static const char *density_text(struct wf_err *e, struct wf_setup *s)
{
    char text[32];
    int option = wf_method_option(s->recipe.method, "density");
    double density = option < 0 ? 1.0 : wf_recipe_value(&s->recipe, (size_t)option, -1, NULL);
    wf_format_f64(density, text);
    return wf_arena_strdup(&s->arena, e, text);
}

int wf_components_begin(struct wf_err *e, struct wf_setup *s, const char *partial,
                        struct wf_components *c)
{
    const struct wf_job *first = first_merged(&s->plan);
    *c = (struct wf_components){.n = first->n_inputs - 1};
    c->spool_folder = wf_path_join(&s->arena, e, partial, SPOOL);
    const char **tasks = wf_arena_alloc(&s->arena, e, c->n, sizeof *tasks);
    c->made = wf_arena_alloc(&s->arena, e, c->n, sizeof *c->made);
    c->files = wf_arena_alloc(&s->arena, e, c->n, sizeof *c->files);
    c->subject = (struct wf_spool_subject){.plan = &s->plan,
                                           .tasks = tasks,
                                           .n_tasks = c->n,
                                           .values = WF_SPOOL_SHARE,
                                           .density = density_text(e, s)};
    if (!c->spool_folder || !tasks || !c->made || !c->files || !c->subject.density)
        return WF_MACHINE;
    for (uint32_t i = 1; i < first->n_inputs; i++)
        tasks[i - 1] = task_of(s, i);
    struct wf_spool_place place = {c->spool_folder, s->rank.rank, s->rank.size ? s->rank.size : 1};
    int status = wf_delta_spool_create(e, &s->arena, &c->subject, &s->budget, &place, &c->spool);
    c->spool.sink.method = first->method;
    c->spool.sink.map = first->method->share(first->args);
    return status;
}

int wf_components_seal(struct wf_err *e, struct wf_components *c)
{
    return c->n ? wf_delta_spool_seal(e, &c->spool) : WF_OK;
}

int wf_components_finish(struct wf_err *e, struct wf_setup *s, const struct weft_options *options,
                         const char *partial, const volatile int *stop, struct wf_components *c)
{
    const char *folder = wf_path_join(&s->arena, e, partial, WF_COMPONENTS_FOLDER);
    int status = folder ? wf_delta_spool_adopt(e, &c->spool) : WF_MACHINE;
    struct wf_delta_target target = {.partial = partial,
                                     .dir = WF_COMPONENTS_FOLDER,
                                     .shared_name = s->plan.ckpts[0].task,
                                     .options = options,
                                     .stop = stop};
    for (size_t i = 0; !status && i < c->n; i++) {
        status = wf_delta_assemble_below(e, &c->spool, i, &target, &c->made[i]);
        c->files[i] = c->made[i].file;
    }
    if (!status)
        status = wf_remove_tree(e, c->spool_folder);
    return status ? status : wf_sync_folder(e, folder);
}

void wf_components_destroy(struct wf_components *c)
{
    for (size_t i = 0; c->made && i < c->n; i++)
        wf_arena_destroy(&c->made[i].arena);
    if (c->n && c->subject.plan)
        wf_delta_spool_destroy(&c->spool);
    *c = (struct wf_components){0};
}

/* ---- the manifest ---- */

void wf_components_manifest(struct wf_str *s, const struct wf_setup *setup,
                            const struct wf_components *c)
{
    char real[PATH_MAX];
    if (!c->n) /* nor a base, perhaps */
        return;
    const struct wf_job *first = first_merged(&setup->plan);
    const char *base = setup->base->place.path;
    if (realpath(base, real))
        base = real;
    wf_str_puts(s, ",\n  \"components\": {\n    \"base\": ");
    wf_str_json(s, base, strlen(base));
    wf_str_puts(s, ",\n    \"tasks\": [");
    for (size_t i = 0; i < c->n; i++) {
        char factor[32];
        wf_format_f64(first->args->m[i + 1][first->method->share_factor], factor);
        wf_str_printf(s, "%s\n      {\"name\": ", i ? "," : "");
        wf_str_json(s, c->subject.tasks[i], strlen(c->subject.tasks[i]));
        wf_str_puts(s, ", \"file\": ");
        wf_str_json(s, c->files[i].name, strlen(c->files[i].name));
        wf_str_printf(s, ", \"factor\": %s}", factor);
    }
    wf_str_puts(s, "]\n  }");
}
