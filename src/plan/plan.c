/* plan.c - puts the steps of a plan together and hashes the result. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "../../include/weft.h"
#include "../base/mem.h"
#include "../format/delta_file.h"
#include "../format/outfile.h"
#include "../recipe/coefficients.h"
#include "../stage/unit.h"
#include "fused.h"
#include "result_config.h"

const char *wf_plan_part_name(enum wf_plan_part part)
{
    static const char *const names[WF_PARTS] = {
        "the version of weft", "the recipe",
        "an input checkpoint (path, size, time, header, config or side files)",
        "the output layout (--shard-size, types)",
        "--manifest, --compat, --emit-components or --null-compute"};
    return names[part];
}

bool wf_plan_is_mergekit(const struct wf_plan *plan)
{
    return !strcmp(plan->compat, "mergekit");
}

const char *wf_job_action_name(const struct wf_plan *plan, const struct wf_job *job)
{
    if (job->action == WF_ACTION_COPY)
        return "copy";
    return job->method == plan->recipe->method ? job->method->name : "convert";
}

/* Components have a type of their own. */
static bool adds_doubles(const struct wf_tensor *t)
{
    for (const struct wf_addend *a = t->addend; a; a = a->next)
        if (a->kind == WF_ADDEND_SPARSE && a->part->values->dtype == WF_F64)
            return true;
    return false;
}

void wf_job_set_input(struct wf_job *job, uint32_t i, uint32_t ckpt, const struct wf_tensor *t)
{
    job->input_ckpt[i] = ckpt;
    job->in[i] = t;
    job->in_dtype[i] = t->dtype;
    job->wide |= job->action == WF_ACTION_MAP && (t->dtype == WF_F64 || adds_doubles(t));
    job->has_addends |= t->addend || t->rows;
}

void wf_job_type_addends(struct wf_job *job)
{
    for (uint32_t i = 0; i < job->n_inputs; i++)
        if (wf_tensor_is_made(job->in[i]))
            job->in_dtype[i] = job->wide ? WF_F64 : WF_F32;
}

bool wf_job_has_scope(const struct wf_job *job, enum wf_scope scope)
{
    bool found = false;
    for (size_t s = 0; job->action == WF_ACTION_MAP && s < job->method->n_stages; s++)
        found |= job->args->scope[s] == scope;
    return found;
}

static const char *factor_name(const struct wf_factor *f)
{
    return f->tensor ? f->tensor->name : "1";
}

/* What adapters add, and where, is in their configuration, too, which no header shows. */
static void hash_addends(struct wf_str *s, const struct wf_ckpt *k)
{
    for (size_t t = 0; t < k->n_tensors; t++)
        for (const struct wf_addend *a = k->tensors[t].addend; a; a = a->next) {
            wf_str_printf(s, "%s %a", k->tensors[t].name, a->scale);
            if (a->kind == WF_ADDEND_PRODUCT)
                wf_str_printf(s, " %s %d %s %d\n", factor_name(&a->row), a->row.transposed,
                              factor_name(&a->col), a->col.transposed);
            else
                wf_str_printf(s, " %s %d\n", a->part->name, a->replace);
        }
}

/* Files, or for what another stage of the recipe makes its plan: they may not be there yet. */
static void hash_files(struct wf_str *s, const struct wf_ckpt *k)
{
    char hex[33];
    if (k->under) { /* whose plan an overlay has as well */
        hash_files(s, k->under);
        hash_files(s, k->top);
        return;
    }
    if (k->plan) {
        wf_str_printf(s, "made by %s\n", wf_hash128_hex(k->plan, hex));
        return;
    }
    for (size_t f = 0; f < k->n_files; f++)
        wf_str_printf(s, "%s %llu %lld %s\n", k->files[f].path,
                      (unsigned long long)k->files[f].id.bytes, (long long)k->files[f].id.mtime_ns,
                      wf_hash128_hex(&k->files[f].header_hash, hex));
}

static int hash_inputs(struct wf_err *e, struct wf_plan *plan)
{
    struct wf_str s = {0};
    char hex[33];
    for (size_t c = 0; c < plan->n_ckpts; c++) {
        const struct wf_ckpt *k = plan->ckpts[c].ckpt;
        hash_files(&s, k);
        hash_addends(&s, k);
    }
    const struct wf_ckpt *donor = plan->config_donor;
    if (donor) {
        struct wf_hash128 config = wf_xxh128(donor->config_text, donor->config_n);
        wf_str_printf(&s, "config %s\n", wf_hash128_hex(&config, hex));
    }
    for (size_t i = 0; i < plan->config_edits.n; i++)
        wf_str_printf(&s, "config %s = %s\n", plan->config_edits.list[i].path,
                      plan->config_edits.list[i].value);
    if (plan->facts)
        wf_str_puts(&s, plan->facts);
    if (plan->sidecars)
        wf_str_printf(&s, "side files %s\n", wf_hash128_hex(&plan->sidecars->hash, hex));
    int status = wf_str_finish(&s, e);
    if (!status)
        plan->parts[WF_PART_INPUTS] = wf_xxh128(s.text, s.n);
    wf_str_free(&s);
    return status;
}

const struct wf_ckpt *wf_plan_config_donor(const struct wf_ckpt *base,
                                           const struct wf_ckpt *const *models, size_t n_models)
{
    if (base && base->config)
        return base;
    for (size_t i = 0; i < n_models; i++)
        if (models[i]->config)
            return models[i];
    return base ? base : models[0];
}

static int hash_layout(struct wf_err *e, struct wf_plan *plan)
{
    struct wf_xxh *x = wf_xxh_create(e);
    if (!x)
        return WF_MACHINE;
    for (size_t i = 0; i < plan->n_shards; i++)
        wf_xxh_add(x, plan->shards[i].header.text, plan->shards[i].header.n);
    plan->parts[WF_PART_LAYOUT] = wf_xxh_digest(x);
    wf_xxh_destroy(x);
    return WF_OK;
}

/* The text, and what it is read with. */
static void hash_recipe(struct wf_plan *plan)
{
    const struct wf_recipe *r = plan->recipe;
    struct wf_hash128 *part = &plan->parts[WF_PART_RECIPE];
    *part = r->own ? *r->own : wf_xxh128(r->text, r->text_n);
    if (r->table) {
        struct wf_hash128 both[] = {*part, r->table->hash};
        *part = wf_xxh128(both, sizeof both);
    }
    if (r->seed && !r->has_seed) {
        struct wf_hash128 both[] = {*part, wf_xxh128(&r->seed, sizeof r->seed)};
        *part = wf_xxh128(both, sizeof both);
    }
}

int wf_plan_hash(struct wf_err *e, struct wf_plan *plan)
{
    char words[80];
    hash_recipe(plan);
    plan->parts[WF_PART_VERSION] = wf_xxh128(WEFT_VERSION, strlen(WEFT_VERSION));
    int n =
        snprintf(words, sizeof words, "%s %s%s%s", plan->manifest, plan->compat,
                 plan->null_compute ? " null-compute" : "", plan->components ? " components" : "");
    plan->parts[WF_PART_MANIFEST] = wf_xxh128(words, (size_t)n);
    int status = hash_inputs(e, plan);
    if (!status)
        status = hash_layout(e, plan);
    if (!status)
        plan->hash = wf_xxh128(plan->parts, sizeof plan->parts);
    return status;
}

static uint64_t factor_bytes(const struct wf_factor *f)
{
    return f->tensor ? f->tensor->bytes : 0;
}

/* What a stream loads before it starts, once, however many jobs look at it (a tied table is two
 * jobs'): an addend, or, where that is NULL, the mean of a table's rows. */
struct load {
    const struct wf_addend *addend;
    const struct wf_row_view *rows;
    bool wide;
};

struct loads {
    struct load *list; /* NULL: they are counted only */
    size_t n;
};

static void add_load(struct loads *l, struct load load)
{
    if (l->list)
        l->list[l->n] = load;
    l->n++;
}

static void add_addends(struct loads *l, const struct wf_tensor *t, bool wide)
{
    for (const struct wf_addend *a = t->addend; a; a = a->next)
        add_load(l, (struct load){.addend = a, .wide = a->kind == WF_ADDEND_PRODUCT && wide});
}

/* Of all inputs; of those that are computed on the way also what these are computed from. */
static void find_job_loads(const struct wf_job *job, struct loads *l)
{
    for (uint32_t i = 0; i < job->n_inputs; i++) {
        const struct wf_tensor *t = job->in[i];
        add_addends(l, t, job->wide);
        if (t->rows && t->rows->map->n_means)
            add_load(l, (struct load){.rows = t->rows, .wide = job->wide});
        for (size_t d = 0; t->rows && d < t->rows->n_donors; d++)
            if (t->rows->donors[d].tensor)
                add_addends(l, t->rows->donors[d].tensor, job->wide);
        if (t->fused)
            find_job_loads(t->fused->job, l);
    }
}

static void find_loads(const struct wf_plan *plan, struct loads *l)
{
    l->n = 0;
    for (size_t j = 0; j < plan->n_jobs; j++)
        find_job_loads(&plan->jobs[j], l);
}

static int by_load(const void *left, const void *right)
{
    const struct load *a = left, *b = right;
    uintptr_t x[] = {(uintptr_t)a->addend, (uintptr_t)a->rows, a->wide};
    uintptr_t y[] = {(uintptr_t)b->addend, (uintptr_t)b->rows, b->wide};
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

/* Factors are read once, and stay as floats; of deltas an index stays. The mean of a table's rows
 * takes a look at all of them, and stays as doubles. */
static void count_load(struct wf_plan *plan, const struct load *l)
{
    const struct wf_addend *a = l->addend;
    if (!a) {
        plan->addend_bytes += l->rows->cols * sizeof(double);
        plan->bytes_read += l->rows->stored->bytes;
    } else if (a->kind == WF_ADDEND_PRODUCT) {
        plan->addend_bytes +=
            a->rank * (a->rows + a->cols) * (l->wide ? sizeof(double) : sizeof(float));
        plan->bytes_read += factor_bytes(&a->row) + factor_bytes(&a->col);
    } else {
        plan->addend_bytes += wf_delta_index_bytes(a->part);
        plan->bytes_read += a->part->positions->bytes;
        plan->has_deltas = true;
    }
}

static int count_loads(struct wf_err *e, struct wf_plan *plan)
{
    struct loads l = {0};
    find_loads(plan, &l);
    l.list = wf_alloc(e, WF_MEM_META, l.n + 1, sizeof *l.list, "what a merge loads");
    if (!l.list)
        return WF_MACHINE;
    find_loads(plan, &l);
    qsort(l.list, l.n, sizeof *l.list, by_load);
    for (size_t i = 0; i < l.n; i++)
        if (!i || by_load(&l.list[i - 1], &l.list[i]))
            count_load(plan, &l.list[i]);
    wf_free(l.list);
    return WF_OK;
}

/* What a job reads of an input, besides what is loaded. */
static void count_input(struct wf_plan *plan, const struct wf_tensor *t)
{
    plan->bytes_read += wf_fused_read_bytes(t, t->bytes);
    plan->has_made_rows |= t->rows && t->rows->map->makes;
    for (const struct wf_addend *a = t->addend; a; a = a->next)
        if (a->kind == WF_ADDEND_SPARSE)
            plan->bytes_read += a->part->positions->bytes + a->part->values->bytes;
}

uint64_t wf_plan_rows_bytes(void)
{
    return 2 * WF_DIRECT_ALIGN + 3 * WF_ROW_CHUNK * sizeof(double);
}

uint64_t wf_plan_places_bytes(void)
{
    return wf_delta_scratch_bytes() + WF_DELTA_CHUNK * sizeof(double);
}

static int count_bytes(struct wf_err *e, struct wf_plan *plan)
{
    int status = count_loads(e, plan);
    for (size_t i = 0; i < plan->n_jobs; i++) {
        const struct wf_job *job = &plan->jobs[i];
        for (uint32_t k = 0; k < job->n_inputs; k++)
            count_input(plan, job->in[k]);
        plan->bytes_written += job->bytes;
        bool copied = job->action == WF_ACTION_COPY && !job->has_addends;
        plan->n_merged += !copied;
        plan->n_copied += copied;
    }
    if (plan->has_made_rows)
        plan->thread_bytes += wf_plan_rows_bytes();
    if (plan->has_deltas)
        plan->thread_bytes += wf_plan_places_bytes();
    return status;
}

static int by_name(const void *left, const void *right)
{
    const struct wf_job *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

/* The group of stages of model scope: all tensors that have one. */
static int set_model_group(struct wf_err *e, struct wf_plan *plan)
{
    size_t n = 0;
    for (size_t i = 0; i < plan->n_jobs; i++)
        n += wf_job_has_scope(&plan->jobs[i], WF_SCOPE_MODEL);
    plan->passes = 1;
    plan->model_jobs = wf_arena_alloc(plan->arena, e, n, sizeof(struct wf_job *));
    if (!plan->model_jobs)
        return WF_MACHINE;
    for (size_t i = 0; i < plan->n_jobs; i++)
        if (wf_job_has_scope(&plan->jobs[i], WF_SCOPE_MODEL))
            plan->model_jobs[plan->n_model_jobs++] = &plan->jobs[i];
    if (!n)
        return WF_OK;
    qsort(plan->model_jobs, n, sizeof *plan->model_jobs, by_name);
    const struct wf_job *first = plan->model_jobs[0];
    plan->passes = wf_method_passes(first->method, first->args);
    for (size_t i = 0; i < n; i++) {
        struct wf_job *job = plan->model_jobs[i];
        job->model_first = plan->model_count;
        job->model_leaf = plan->model_leaves;
        plan->model_count += job->count;
        plan->model_leaves += (job->count + WF_FOLD_BLOCK - 1) / WF_FOLD_BLOCK;
        plan->model_wide |= job->wide;
    }
    for (size_t i = 0; plan->model_wide && first->method->rounds && i < n; i++) {
        plan->model_jobs[i]->wide = true;
        wf_job_type_addends(plan->model_jobs[i]);
    }
    return WF_OK;
}

int wf_plan_settle(struct wf_err *e, struct wf_plan *plan)
{
    int status = wf_lay_out(e, plan);
    if (!status)
        status = set_model_group(e, plan);
    return status ? status : count_bytes(e, plan);
}

static int by_tensor_name(const void *left, const void *right)
{
    const struct wf_tensor *a = left, *b = right;
    return strcmp(a->name, b->name);
}

struct wf_tensor wf_plan_tensor(const struct wf_job *job)
{
    return (struct wf_tensor){.name = job->name,
                              .dtype = job->dtype,
                              .n_dims = job->n_dims,
                              .shape = job->shape,
                              .count = job->count,
                              .bytes = job->bytes,
                              .file = job->shard,
                              .offset = job->offset};
}

int wf_plan_list_tensors(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                         struct wf_ckpt *c)
{
    c->tensors = wf_arena_alloc(a, e, plan->n_jobs, sizeof *c->tensors);
    if (!c->tensors)
        return WF_MACHINE;
    for (c->n_tensors = 0; c->n_tensors < plan->n_jobs; c->n_tensors++)
        c->tensors[c->n_tensors] = wf_plan_tensor(&plan->jobs[c->n_tensors]);
    if (c->n_tensors)
        qsort(c->tensors, c->n_tensors, sizeof *c->tensors, by_tensor_name);
    return WF_OK;
}

int wf_plan_build(struct wf_err *e, struct wf_arena *a, const struct wf_recipe *recipe,
                  const struct wf_ckpt *base, const struct wf_ckpt *const *models,
                  const struct wf_plan_options *options, struct wf_plan *out)
{
    *out = (struct wf_plan){.arena = a,
                            .recipe = recipe,
                            .sidecars = options->sidecars,
                            .side_texts = options->side_texts,
                            .shard_bytes = options->shard_bytes,
                            .manifest = options->manifest,
                            .compat = options->compat,
                            .null_compute = options->null_compute,
                            .components = options->components,
                            .thread_bytes = options->sink_bytes,
                            .facts = options->facts};
    out->cast = wf_plan_is_mergekit(out) ? recipe->cast : WF_DTYPE_NONE;
    int status = wf_match(e, out, base, models);
    if (!status)
        status = wf_result_config(e, out, models);
    if (!status)
        status = wf_plan_settle(e, out);
    return status ? status : wf_plan_hash(e, out);
}

void wf_plan_destroy(struct wf_plan *plan)
{
    for (size_t i = 0; i < plan->n_shards; i++)
        wf_str_free(&plan->shards[i].header);
}
