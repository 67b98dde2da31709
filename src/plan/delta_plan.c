/* delta_plan.c - jobs that compare the finished model with each task. */
#include "delta_plan.h"

#include <stdlib.h>
#include <string.h>

#include "../base/num.h"

struct building {
    struct wf_err *e;
    struct wf_arena *a;
    const struct wf_plan *first;
    const struct wf_recipe *recipe;
    struct wf_delta_plan *out;
    const struct wf_args *args;
};

/* ---- the result as a checkpoint ---- */

static int describe(struct building *b)
{
    const struct wf_plan *first = b->first;
    struct wf_ckpt *c = &b->out->shared;
    c->is_folder = true;
    c->files = wf_arena_alloc(b->a, b->e, first->n_shards, sizeof *c->files);
    if (!c->files)
        return WF_MACHINE;
    for (; c->n_files < first->n_shards; c->n_files++)
        c->files[c->n_files].name = c->files[c->n_files].path = first->shards[c->n_files].name;
    return wf_plan_list_tensors(b->e, b->a, first, c);
}

/* ---- tasks ---- */

/* The models' checkpoints behind the result's, each once; an entry that is the base, under a method
 * that takes one, is no task. */
static int list_tasks(struct building *b, const struct wf_ckpt *base,
                      const struct wf_ckpt *const *models)
{
    const struct wf_recipe *r = b->recipe;
    struct wf_delta_plan *d = b->out;
    struct wf_plan *plan = &d->plan;
    plan->ckpts = wf_arena_alloc(b->a, b->e, r->n_models + 2, sizeof *plan->ckpts);
    d->tasks = wf_arena_alloc(b->a, b->e, r->n_models, sizeof *d->tasks);
    if (!plan->ckpts || !d->tasks)
        return WF_MACHINE;
    plan->ckpts[plan->n_ckpts++] =
        (struct wf_plan_ckpt){.ckpt = &d->shared, .text = "the result", .is_base = true};
    for (size_t i = 0; i < r->n_models; i++) {
        if (base && r->method->base != WF_BASE_NONE && wf_plan_same_ckpt(base, models[i]))
            continue;
        struct wf_delta_task *t = &d->tasks[d->n_tasks++];
        *t = (struct wf_delta_task){
            .ckpt = models[i], .name = r->models[i].task, .input = (uint32_t)d->n_tasks};
        size_t c = 1;
        while (c < plan->n_ckpts && plan->ckpts[c].ckpt != models[i])
            c++;
        if (c == plan->n_ckpts)
            plan->ckpts[plan->n_ckpts++] = (struct wf_plan_ckpt){.ckpt = models[i],
                                                                 .text = r->models[i].ref.text,
                                                                 .task = t->name,
                                                                 .line = r->models[i].line};
    }
    bool moved = false;
    for (size_t i = 0; i < r->n_models; i++)
        moved |= models[i]->rows != NULL;
    if (base && moved) /* it may give rows of the vocabulary */
        plan->ckpts[plan->n_ckpts++] =
            (struct wf_plan_ckpt){.ckpt = base, .text = r->base.text, .line = r->base.line};
    return WF_OK;
}

static void note(size_t *n, const char **first, const char *name)
{
    if (!(*n)++)
        *first = name;
}

static void survey_task(const struct building *b, struct wf_delta_task *t)
{
    for (size_t i = 0; i < t->ckpt->n_tensors; i++) {
        const struct wf_tensor *own = &t->ckpt->tensors[i];
        t->bytes += own->bytes;
        if (!wf_ckpt_find(&b->out->shared, own->name))
            note(&t->n_extra, &t->extra, own->name);
    }
}

/* ---- jobs ---- */

static int make_args(struct building *b)
{
    const struct wf_task_deltas *deltas = &b->recipe->deltas;
    const struct wf_method *method = wf_method_internal("task_delta");
    uint32_t n = (uint32_t)b->out->n_tasks + 1;
    double global[] = {deltas->density, !deltas->by_tensor};
    struct wf_args *args = wf_arena_alloc(b->a, b->e, 1, sizeof *args);
    double(*rows)[WF_ARGS_MODEL] = wf_arena_alloc(b->a, b->e, n, sizeof *rows);
    if (!args || !rows)
        return WF_MACHINE;
    struct wf_settings settings = {.global = global, .n = n, .has_base = true};
    *args = (struct wf_args){.m = rows, .n = n, .map = method->map};
    wf_method_scopes(method, args->scope);
    const char *why = method->prepare(&settings, args);
    b->args = args;
    return why ? wf_fail(b->e, WF_BUG, "task_deltas: %s", why) : WF_OK;
}

/* The task's tensor of this name, or the result's own where the two cannot be compared. */
static const struct wf_tensor *task_tensor(struct wf_delta_task *t, const struct wf_tensor *shared)
{
    const struct wf_tensor *own = wf_ckpt_find(t->ckpt, shared->name);
    bool alike =
        own && own->n_dims == shared->n_dims &&
        (!own->n_dims || !memcmp(own->shape, shared->shape, own->n_dims * sizeof(uint64_t)));
    if (alike && wf_dtype_info((enum wf_dtype)own->dtype)->arithmetic)
        return own;
    if (own)
        note(&t->n_reshaped, &t->reshaped, shared->name);
    else
        note(&t->n_missing, &t->missing, shared->name);
    return shared;
}

static uint32_t ckpt_index(const struct wf_plan *plan, const struct wf_ckpt *ckpt)
{
    uint32_t c = 0;
    while (plan->ckpts[c].ckpt != ckpt)
        c++;
    return c;
}

static int add_job(struct building *b, const struct wf_tensor *shared)
{
    struct wf_delta_plan *d = b->out;
    struct wf_job *job = &d->plan.jobs[d->plan.n_jobs++];
    uint32_t n = b->args->n;
    *job = (struct wf_job){.name = shared->name,
                           .action = WF_ACTION_MAP,
                           .dtype = shared->dtype,
                           .n_dims = shared->n_dims,
                           .shape = shared->shape,
                           .count = shared->count,
                           .bytes = shared->bytes,
                           .method = wf_method_internal("task_delta"),
                           .args = b->args,
                           .n_inputs = n};
    job->input_ckpt = wf_arena_alloc(b->a, b->e, n, sizeof *job->input_ckpt);
    job->in = wf_arena_alloc(b->a, b->e, n, sizeof *job->in);
    job->in_dtype = wf_arena_alloc(b->a, b->e, n, sizeof *job->in_dtype);
    if (!job->input_ckpt || !job->in || !job->in_dtype)
        return WF_MACHINE;
    wf_job_set_input(job, 0, 0, shared);
    for (uint32_t i = 1; i < n; i++) {
        struct wf_delta_task *t = &d->tasks[i - 1];
        const struct wf_tensor *own = task_tensor(t, shared);
        wf_job_set_input(job, i, own == shared ? 0 : ckpt_index(&d->plan, t->ckpt), own);
    }
    wf_job_type_addends(job);
    job->rows = wf_method_rows(job->method, job->shape, job->n_dims);
    return WF_OK;
}

uint64_t wf_delta_plan_kept(const struct wf_task_deltas *deltas, uint64_t count)
{
    return wf_min_u64((uint64_t)(deltas->density * (double)count), count);
}

/* Values, and positions as bitmaps, which nothing needs more than. With scope model what is kept
 * may lie in the widest tensors. */
static void bound_bytes(struct building *b)
{
    struct wf_delta_plan *d = b->out;
    const struct wf_task_deltas *deltas = &b->recipe->deltas;
    uint64_t values = 0, positions = 0, widest = 0;
    for (size_t i = 0; i < d->plan.n_jobs; i++) {
        const struct wf_job *job = &d->plan.jobs[i];
        uint64_t width = wf_dtype_info((enum wf_dtype)job->dtype)->bits / 8;
        values += wf_delta_plan_kept(deltas, job->count) * width;
        positions += job->count / 8 + 1;
        widest = wf_max_u64(widest, width);
        d->count += job->count;
    }
    if (!deltas->by_tensor)
        values = wf_delta_plan_kept(deltas, d->count) * widest;
    d->most_bytes = d->n_tasks * (values + positions);
}

static int add_jobs(struct building *b)
{
    struct wf_delta_plan *d = b->out;
    d->plan.jobs = wf_arena_alloc(b->a, b->e, d->shared.n_tensors, sizeof *d->plan.jobs);
    int status = d->plan.jobs ? WF_OK : WF_MACHINE;
    for (size_t i = 0; !status && i < d->shared.n_tensors; i++)
        if (wf_dtype_info((enum wf_dtype)d->shared.tensors[i].dtype)->arithmetic)
            status = add_job(b, &d->shared.tensors[i]);
    return status;
}

int wf_delta_plan_build(struct wf_err *e, const struct wf_plan *first, const struct wf_ckpt *base,
                        const struct wf_ckpt *const *models, uint64_t sink_bytes,
                        struct wf_delta_plan *out)
{
    struct building b = {
        .e = e, .a = first->arena, .first = first, .recipe = first->recipe, .out = out};
    *out = (struct wf_delta_plan){.plan = {.arena = first->arena,
                                           .recipe = first->recipe,
                                           .config_donor = first->config_donor,
                                           .shard_bytes = first->shard_bytes,
                                           .manifest = first->manifest,
                                           .compat = first->compat,
                                           .cast = WF_DTYPE_NONE,
                                           .null_compute = first->null_compute,
                                           .thread_bytes = sink_bytes}};
    int status = describe(&b);
    if (!status)
        status = list_tasks(&b, base, models);
    for (size_t i = 0; !status && i < out->n_tasks; i++)
        survey_task(&b, &out->tasks[i]);
    if (!status)
        status = make_args(&b);
    if (!status)
        status = add_jobs(&b);
    if (status)
        return status;
    bound_bytes(&b);
    return wf_plan_settle(e, &out->plan);
}

void wf_delta_plan_destroy(struct wf_delta_plan *d)
{
    wf_plan_destroy(&d->plan);
}
