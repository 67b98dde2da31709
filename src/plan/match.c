/* match.c - which tensors belong together, and what happens to each.
 *
 * All checkpoints list their tensors by name, so one walk over the sorted lists meets every name
 * once. The donor is the first checkpoint: the base if the recipe has one, else the first model.
 * For each name, in this order:
 *
 *   not included, or excluded     copied from the donor; left out if the donor has it not
 *   missing somewhere             error that names tensor and checkpoint
 *   shapes differ                 error
 *   arithmetic type everywhere    MAP (or COPY where the method just gives back one input)
 *   one other type everywhere     COPY, all inputs must hold the same bytes
 *   anything else                 error
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/num.h"
#include "../format/shape.h"
#include "../format/delta_file.h"
#include "../recipe/coefficients.h"
#include "plan.h"

/* The walk's state: where the arithmetic's inputs are among the checkpoints, and how far each list
 * was read. */
struct matcher {
    struct wf_err *e;
    struct wf_plan *plan;
    const struct wf_recipe *recipe;
    uint32_t *inputs; /* arithmetic input i -> checkpoint; base first if the method has one */
    int *input_model; /* arithmetic input i -> recipe model entry, NO_MODEL or BASE_JOINS */
    uint32_t n_inputs;
    size_t *at;                    /* per checkpoint: next tensor */
    const struct wf_tensor **here; /* per checkpoint: the tensor of this name, or NULL */
    size_t jobs_max, left_out_max, unused_max;
    double *global, **per_model; /* option values of the current tensor */
    /* Shared by consecutive tensors with equal numbers; by shape_class, since scopes follow shapes.
     */
    const struct wf_args *last_args[4];
};

static const char *where(const struct matcher *m)
{
    return m->recipe->path;
}

bool wf_plan_same_ckpt(const struct wf_ckpt *a, const struct wf_ckpt *b)
{
    if (a == b)
        return true;
    /* What lies on top counts with its configuration, which its weight file does not show: two
     * folders may share that. */
    if (a->under || b->under)
        return a->under && b->under && a->top == b->top && wf_plan_same_ckpt(a->under, b->under);
    if (a->n_files != b->n_files)
        return false;
    for (size_t i = 0; i < a->n_files; i++)
        if (a->files[i].id.dev != b->files[i].id.dev ||
            a->files[i].id.inode != b->files[i].id.inode)
            return false;
    return a->n_files > 0;
}

/* Index of a checkpoint in the plan, added if it is new. The same model twice is opened once. */
static uint32_t add_ckpt(struct wf_plan *plan, const struct wf_ckpt *c, const char *text,
                         const char *task, int line, bool is_base)
{
    for (size_t i = 0; i < plan->n_ckpts; i++)
        if (wf_plan_same_ckpt(plan->ckpts[i].ckpt, c))
            return (uint32_t)i;
    plan->ckpts[plan->n_ckpts] = (struct wf_plan_ckpt){c, text, task, line, is_base};
    return (uint32_t)plan->n_ckpts++;
}

/* input_model of a base that has no entry of its own. */
enum { NO_MODEL = -1, BASE_JOINS = -2 };

/* mergekit appends a base that is not in `models` to the inputs of methods that have no use for
 * one; it takes its weight from the top level. With --compat mergekit weft does the same. */
static int join_base(struct matcher *m, const struct wf_ckpt *base)
{
    const struct wf_recipe *r = m->recipe;
    bool joins = base && r->method->base == WF_BASE_NONE && r->method->max_models > 1 &&
                 !strcmp(m->plan->compat, "mergekit");
    for (uint32_t i = 0; i < m->n_inputs; i++)
        joins &= m->inputs[i] != 0;
    if (!joins)
        return WF_OK;
    for (size_t o = 0; o < r->method->n_options; o++) {
        bool given = !r->method->options[o].required;
        for (size_t v = 0; v < r->n_values; v++)
            given |= !strcmp(r->values[v].name, r->method->options[o].name);
        if (!given)
            return wf_fail(m->e, WF_USAGE,
                           "%s:%d: with --compat mergekit the base takes part in '%s' and needs "
                           "'%s' in 'parameters' at the top level, or an entry in 'models'",
                           r->path, r->base.line, r->method->name, r->method->options[o].name);
    }
    m->inputs[m->n_inputs] = 0;
    m->input_model[m->n_inputs++] = BASE_JOINS;
    return WF_OK;
}

static int collect_inputs(struct matcher *m, const struct wf_ckpt *base,
                          const struct wf_ckpt *const *models)
{
    const struct wf_recipe *r = m->recipe;
    struct wf_plan *plan = m->plan;
    struct wf_arena *a = plan->arena;
    bool with_base = base && r->method->base != WF_BASE_NONE;
    plan->ckpts = wf_arena_alloc(a, m->e, r->n_models + 1, sizeof *plan->ckpts);
    m->inputs = wf_arena_alloc(a, m->e, r->n_models + 1, sizeof *m->inputs);
    m->input_model = wf_arena_alloc(a, m->e, r->n_models + 1, sizeof *m->input_model);
    if (!plan->ckpts || !m->inputs || !m->input_model)
        return WF_MACHINE;
    if (base)
        add_ckpt(plan, base, r->base.text, "base", r->base.line, true);
    if (with_base) {
        m->inputs[0] = 0;
        m->input_model[0] = NO_MODEL;
        m->n_inputs = 1;
    }
    for (size_t i = 0; i < r->n_models; i++) {
        uint32_t c = add_ckpt(plan, models[i], r->models[i].ref.text, r->models[i].task,
                              r->models[i].line, false);
        if (with_base && c == 0)
            continue; /* the base listed among the models has no task vector */
        m->inputs[m->n_inputs] = c;
        m->input_model[m->n_inputs++] = (int)i;
    }
    plan->input_model = m->input_model;
    plan->config_donor = wf_plan_config_donor(base, models, r->n_models);
    if (m->n_inputs - (with_base ? 1u : 0u) < r->method->min_models)
        return wf_fail(m->e, WF_USAGE,
                       "%s:%d: method '%s' needs at least %" PRIu32 " model%s besides the base",
                       r->path, r->method_line, r->method->name, r->method->min_models,
                       r->method->min_models == 1 ? "" : "s");
    int status = join_base(m, base);
    if (!status && m->n_inputs - with_base > r->method->max_models)
        status = wf_fail(m->e, WF_USAGE,
                         "%s:%d: method '%s' takes at most %" PRIu32 " models, the base included",
                         r->path, r->method_line, r->method->name, r->method->max_models);
    return status;
}

static int allocate(struct matcher *m)
{
    struct wf_plan *plan = m->plan;
    struct wf_arena *a = plan->arena;
    size_t n_options = m->recipe->method->n_options;
    m->at = wf_arena_alloc(a, m->e, plan->n_ckpts, sizeof *m->at);
    m->here = wf_arena_alloc(a, m->e, plan->n_ckpts, sizeof *m->here);
    m->global = wf_arena_alloc(a, m->e, n_options, sizeof *m->global);
    m->per_model = wf_arena_alloc(a, m->e, m->n_inputs, sizeof *m->per_model);
    if (!m->at || !m->here || !m->global || !m->per_model)
        return WF_MACHINE;
    for (uint32_t i = 0; i < m->n_inputs; i++)
        if (!(m->per_model[i] = wf_arena_alloc(a, m->e, n_options, sizeof **m->per_model)))
            return WF_MACHINE;
    return WF_OK;
}

/* Moves every list that stands at the smallest name forward; sets here[]. NULL at the end. */
static const char *next_name(struct matcher *m)
{
    const char *name = NULL;
    for (size_t c = 0; c < m->plan->n_ckpts; c++) {
        const struct wf_ckpt *k = m->plan->ckpts[c].ckpt;
        if (m->at[c] < k->n_tensors && (!name || strcmp(k->tensors[m->at[c]].name, name) < 0))
            name = k->tensors[m->at[c]].name;
    }
    for (size_t c = 0; name && c < m->plan->n_ckpts; c++) {
        const struct wf_ckpt *k = m->plan->ckpts[c].ckpt;
        bool has = m->at[c] < k->n_tensors && !strcmp(k->tensors[m->at[c]].name, name);
        m->here[c] = has ? &k->tensors[m->at[c]++] : NULL;
    }
    return name;
}

static bool any_glob(const char **patterns, const char *name)
{
    for (; *patterns; patterns++)
        if (wf_glob(*patterns, name))
            return true;
    return false;
}

static bool takes_part(const struct wf_recipe *r, const char *name)
{
    if (r->include && !any_glob(r->include, name))
        return false;
    return !(r->exclude && any_glob(r->exclude, name));
}

/* A growing array in the arena: doubles by copying; the old copy is a bounded waste. */
static void *grow(struct matcher *m, void *old, size_t n, size_t *max, size_t size)
{
    if (n < *max && old)
        return old;
    size_t wanted = n < 64 ? 64 : 2 * n;
    void *block = wf_arena_alloc(m->plan->arena, m->e, wanted, size);
    if (block && n)
        memcpy(block, old, n * size);
    if (block)
        *max = wanted;
    return block;
}

static struct wf_job *add_job(struct matcher *m, const struct wf_tensor *like,
                              enum wf_action action, uint32_t n_inputs)
{
    struct wf_plan *plan = m->plan;
    struct wf_job *jobs = grow(m, plan->jobs, plan->n_jobs, &m->jobs_max, sizeof *jobs);
    if (!jobs)
        return NULL;
    plan->jobs = jobs;
    struct wf_job *job = &jobs[plan->n_jobs];
    job->input_ckpt = wf_arena_alloc(plan->arena, m->e, n_inputs, sizeof *job->input_ckpt);
    job->in = wf_arena_alloc(plan->arena, m->e, n_inputs, sizeof *job->in);
    job->in_dtype = wf_arena_alloc(plan->arena, m->e, n_inputs, sizeof *job->in_dtype);
    if (!job->input_ckpt || !job->in || !job->in_dtype)
        return NULL;
    job->name = like->name;
    job->action = action;
    job->dtype = like->dtype;
    job->n_dims = like->n_dims;
    job->shape = like->shape;
    job->count = like->count;
    job->bytes = like->bytes;
    job->n_inputs = n_inputs;
    plan->n_jobs++;
    return job;
}

/* Changes a job's stored type; its bytes follow. */
static int set_dtype(struct matcher *m, struct wf_job *job, enum wf_dtype d)
{
    job->dtype = (uint8_t)d;
    if (!wf_dtype_bytes(d, job->count, &job->bytes))
        return wf_fail(m->e, WF_USAGE, "%s: tensor '%s' is too large as %s", where(m), job->name,
                       wf_dtype_info(d)->name);
    return WF_OK;
}

/* All that is on top of the tensor puts stored values in its place. */
static bool only_replaced(const struct wf_tensor *t)
{
    bool replaces = true;
    for (const struct wf_addend *a = t->addend; a; a = a->next)
        replaces &= a->kind == WF_ADDEND_SPARSE && a->replace;
    return replaces;
}

/* One model's tensor as it is, converted if the recipe names a stored type, and with what its
 * checkpoint adds to it. */
static int add_single(struct matcher *m, uint32_t ckpt, const struct wf_tensor *t)
{
    enum wf_dtype stored = m->recipe->dtype != WF_DTYPE_NONE ? m->recipe->dtype : t->dtype;
    bool convert = wf_dtype_info(t->dtype)->arithmetic && (stored != t->dtype || !only_replaced(t));
    struct wf_job *job = add_job(m, t, convert ? WF_ACTION_MAP : WF_ACTION_COPY, 1);
    if (!job)
        return WF_MACHINE;
    wf_job_set_input(job, 0, ckpt, t);
    if (!convert)
        return WF_OK;
    struct wf_args *args = wf_arena_alloc(m->plan->arena, m->e, 1, sizeof *args);
    double(*row)[WF_ARGS_MODEL] = wf_arena_alloc(m->plan->arena, m->e, 1, sizeof *row);
    if (!args || !row)
        return WF_MACHINE;
    (*row)[0] = 1.0; /* passthrough's scale */
    job->method = wf_method_find("passthrough");
    *args = (struct wf_args){.m = row, .n = 1, .map = job->method->map};
    args->scope[0] = WF_SCOPE_ELEMENT;
    job->args = args;
    wf_job_type_addends(job);
    return set_dtype(m, job, stored);
}

static int add_outside(struct matcher *m, const char *name)
{
    struct wf_plan *plan = m->plan;
    if (m->here[0])
        return add_single(m, 0, m->here[0]);
    struct wf_left_out *list =
        grow(m, plan->left_out, plan->n_left_out, &m->left_out_max, sizeof *list);
    if (!list)
        return WF_MACHINE;
    plan->left_out = list;
    size_t c = 0;
    while (!m->here[c])
        c++;
    list[plan->n_left_out++] = (struct wf_left_out){name, plan->ckpts[c].text};
    return WF_OK;
}

/* Present everywhere, one shape. */
static int check_alike(struct matcher *m, const char *name)
{
    const struct wf_plan *plan = m->plan;
    size_t first = 0;
    while (!m->here[first])
        first++;
    const struct wf_tensor *t = m->here[first];
    for (size_t c = 0; c < plan->n_ckpts; c++) {
        const struct wf_tensor *u = m->here[c];
        if (!u)
            return wf_fail(m->e, WF_USAGE,
                           "%s:%d: tensor '%s' is in %s but not in %s; exclude it to take the "
                           "%s's, or use models with the same tensors",
                           where(m), plan->ckpts[c].line, name, plan->ckpts[first].text,
                           plan->ckpts[c].text, m->recipe->has_base ? "base" : "first model");
        if (u->n_dims == t->n_dims &&
            (t->n_dims == 0 || !memcmp(u->shape, t->shape, t->n_dims * sizeof *t->shape)))
            continue;
        char shape[2][WF_SHAPE_TEXT_MAX];
        return wf_fail(m->e, WF_USAGE,
                       "%s:%d: tensor '%s' has shape %s in %s but %s in %s; "
                       "exclude it to take the %s's",
                       where(m), plan->ckpts[c].line, name,
                       wf_shape_text(t->shape, t->n_dims, WF_SHAPE_SPACED, shape[0]),
                       plan->ckpts[first].text,
                       wf_shape_text(u->shape, u->n_dims, WF_SHAPE_SPACED, shape[1]),
                       plan->ckpts[c].text, m->recipe->has_base ? "base" : "first model");
    }
    return WF_OK;
}

static bool args_finite(const struct wf_args *args)
{
    bool finite = true;
    for (int k = 0; k < WF_ARGS_GLOBAL; k++)
        finite &= isfinite(args->g[k]) != 0;
    for (uint32_t i = 0; i < args->n; i++)
        for (int k = 0; k < WF_ARGS_MODEL; k++)
            finite &= isfinite(args->m[i][k]) != 0;
    return finite;
}

static bool same_number(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

/* Reads the settings for one tensor; true if any differs from the last tensor's. */
static bool read_settings(struct matcher *m, const char *name)
{
    const struct wf_method *method = m->recipe->method;
    bool changed = false;
    for (size_t o = 0; o < method->n_options; o++) {
        double g = wf_recipe_value(m->recipe, o, -1, name);
        changed |= !same_number(g, m->global[o]);
        m->global[o] = g;
        for (uint32_t i = 0; i < m->n_inputs; i++) {
            int model = m->input_model[i]; /* BASE_JOINS, too, reads the top level */
            double v = model == NO_MODEL ? 0.0 : wf_recipe_value(m->recipe, o, model, name);
            changed |= !same_number(v, m->per_model[i][o]);
            m->per_model[i][o] = v;
        }
    }
    return changed;
}

static struct wf_args *new_args(struct matcher *m)
{
    const struct wf_method *method = m->recipe->method;
    struct wf_args *args = wf_arena_alloc(m->plan->arena, m->e, 1, sizeof *args);
    double(*rows)[WF_ARGS_MODEL] = wf_arena_alloc(m->plan->arena, m->e, m->n_inputs, sizeof *rows);
    if (!args || !rows)
        return NULL;
    *args = (struct wf_args){.m = rows, .n = m->n_inputs, .map = method->map};
    args->n_t = method->table ? method->table(m->n_inputs) : 0;
    args->t = wf_arena_alloc(m->plan->arena, m->e, args->n_t, sizeof *args->t);
    if (!args->t)
        return NULL;
    wf_method_scopes(method, args->scope);
    return args;
}

enum { MATRIX = 1, ONE_ROW = 2 }; /* bits of a shape class */

static unsigned shape_class(const struct matcher *m, const struct wf_tensor *t)
{
    struct wf_rows rows = wf_method_rows(m->recipe->method, t->shape, t->n_dims);
    return (t->n_dims == 2 ? MATRIX : 0) | (t->count <= rows.length ? ONE_ROW : 0);
}

/* Columns are those of a matrix; in another tensor rows are meant. Sums over the only row are sums
 * over the tensor: the tree is the same, and a tensor may be of any size. */
static void fit_scopes(const struct wf_method *method, struct wf_args *args, unsigned class)
{
    for (size_t s = 0; s < method->n_stages; s++) {
        if (args->scope[s] == WF_SCOPE_COLUMN && !(class & MATRIX))
            args->scope[s] = WF_SCOPE_ROW;
        if (args->scope[s] == WF_SCOPE_ROW && class & ONE_ROW &&
            method->stages[s].kind == WF_STAGE_FOLD)
            args->scope[s] = WF_SCOPE_TENSOR;
    }
}

/* Settings for one tensor -> args; an earlier tensor's are reused when the numbers are the same. */
static int resolve_args(struct matcher *m, const struct wf_tensor *t, const struct wf_args **out)
{
    const struct wf_method *method = m->recipe->method;
    unsigned class = shape_class(m, t);
    if (m->recipe->table && !wf_coefficients_find(m->recipe->table, t->name))
        return wf_fail(m->e, WF_USAGE,
                       "%s: no coefficients for tensor '%s'; add it, or \"*\" for all that are not "
                       "named",
                       m->recipe->table->path, t->name);
    if (read_settings(m, t->name))
        memset(m->last_args, 0, sizeof m->last_args);
    *out = m->last_args[class];
    if (*out)
        return WF_OK;
    struct wf_args *args = new_args(m);
    if (!args)
        return WF_MACHINE;
    struct wf_settings s = {.global = m->global,
                            .model = (const double *const *)m->per_model,
                            .n = m->n_inputs,
                            .has_base = m->input_model[0] == NO_MODEL,
                            .one_row = (class & ONE_ROW) != 0,
                            .compat = !strcmp(m->plan->compat, "mergekit")};
    const char *why = method->prepare(&s, args);
    if (why)
        return wf_fail(m->e, WF_USAGE, "%s:%d: tensor '%s': %s", where(m), m->recipe->method_line,
                       t->name, why);
    if (!args_finite(args))
        return wf_fail(m->e, WF_USAGE,
                       "%s:%d: tensor '%s': the weights are too large: their sum or quotient "
                       "overflows",
                       where(m), m->recipe->method_line, t->name);
    fit_scopes(method, args, class);
    *out = m->last_args[class] = args;
    return WF_OK;
}

static bool is_float(enum wf_dtype d)
{
    return wf_dtype_info(d)->name[0] == 'F' || d == WF_BF16 || d == WF_C64;
}

/* A scaled model in which the FP8 tensors are not scaled is a trap: the caller warns. */
static int note_uncomputed(struct matcher *m, const struct wf_tensor *t)
{
    const struct wf_args *args = NULL;
    uint32_t source;
    if (!is_float(t->dtype) || !m->recipe->method->is_copy)
        return WF_OK;
    int status = resolve_args(m, t, &args);
    if (status || m->recipe->method->is_copy(args, &source))
        return status;
    if (m->plan->n_uncomputed++ == 0)
        m->plan->uncomputed = t->name;
    return WF_OK;
}

/* Non-arithmetic types: copied from the donor, every other checkpoint is compared with it. */
static int add_equal(struct matcher *m, const char *name)
{
    struct wf_plan *plan = m->plan;
    const struct wf_tensor *t = m->here[0];
    for (size_t c = 0; c < plan->n_ckpts; c++)
        if (m->here[c]->dtype != t->dtype)
            return wf_fail(m->e, WF_USAGE,
                           "%s:%d: tensor '%s' is %s in %s but %s in %s, and types other than F64, "
                           "F32, F16, BF16 cannot be mixed; exclude it to take the %s's",
                           where(m), plan->ckpts[c].line, name, wf_dtype_info(t->dtype)->name,
                           plan->ckpts[0].text, wf_dtype_info(m->here[c]->dtype)->name,
                           plan->ckpts[c].text, m->recipe->has_base ? "base" : "first model");
    int status = note_uncomputed(m, t);
    if (status)
        return status;
    struct wf_job *job = add_job(m, t, WF_ACTION_COPY, (uint32_t)plan->n_ckpts);
    if (!job)
        return WF_MACHINE;
    for (uint32_t c = 0; c < plan->n_ckpts; c++)
        wf_job_set_input(job, c, c, m->here[c]);
    return WF_OK;
}

/* The first 64 bits of XXH3-128 of the seed, eight bytes, low first, and the tensor's name. */
static int set_draw_key(struct matcher *m, struct wf_job *job)
{
    unsigned char seed[8];
    struct wf_str s = {0};
    for (int k = 0; k < 8; k++)
        seed[k] = (unsigned char)(m->recipe->seed >> (8 * k));
    wf_str_add(&s, (const char *)seed, sizeof seed);
    wf_str_puts(&s, job->name);
    int status = wf_str_finish(&s, m->e);
    if (!status) {
        struct wf_hash128 h = wf_xxh128(s.text, s.n);
        for (int k = 0; k < 8; k++)
            job->draw_key = job->draw_key << 8 | h.bytes[k];
    }
    wf_str_free(&s);
    return status;
}

/* Ranks are held in the type of the arithmetic: whole numbers up to 2^24 in float. */
static int check_ranks(struct matcher *m, const struct wf_job *job)
{
    const struct wf_method *method = job->method;
    uint64_t most = (uint64_t)1 << (job->wide ? 32 : 24);
    for (size_t s = 0; s < method->n_stages; s++)
        if (method->stages[s].kind == WF_STAGE_RANK && job->args->scope[s] != WF_SCOPE_OFF &&
            job->rows.length > most)
            return wf_fail(m->e, WF_USAGE,
                           "%s:%d: tensor '%s' has rows of %" PRIu64 " elements, and '%s' ranks "
                           "rows of at most %" PRIu64 "; exclude it",
                           where(m), m->recipe->method_line, job->name, job->rows.length,
                           method->name, most);
    return WF_OK;
}

/* Arithmetic tensors: the method, over the inputs in its order. */
static int add_merged(struct matcher *m)
{
    const struct wf_recipe *r = m->recipe;
    const struct wf_args *args = NULL;
    uint32_t source = 0;
    int status = resolve_args(m, m->here[0], &args);
    if (status)
        return status;
    enum wf_dtype stored = r->dtype != WF_DTYPE_NONE ? r->dtype : (enum wf_dtype)m->here[0]->dtype;
    if (r->method->is_copy && r->method->is_copy(args, &source) &&
        m->here[m->inputs[source]]->dtype == stored && only_replaced(m->here[m->inputs[source]]))
        return add_single(m, m->inputs[source], m->here[m->inputs[source]]);
    struct wf_job *job = add_job(m, m->here[0], WF_ACTION_MAP, m->n_inputs);
    if (!job)
        return WF_MACHINE;
    job->method = r->method;
    job->args = args;
    for (uint32_t i = 0; i < m->n_inputs; i++)
        wf_job_set_input(job, i, m->inputs[i], m->here[m->inputs[i]]);
    wf_job_type_addends(job);
    job->rows = wf_job_has_scope(job, WF_SCOPE_COLUMN)
                    ? (struct wf_rows){job->shape[0], job->shape[1]}
                    : wf_method_rows(r->method, job->shape, job->n_dims);
    status = check_ranks(m, job);
    if (!status && r->method->draws)
        status = set_draw_key(m, job);
    return status ? status : set_dtype(m, job, stored);
}

static int match_one(struct matcher *m, const char *name)
{
    if (!takes_part(m->recipe, name))
        return add_outside(m, name);
    int status = check_alike(m, name);
    if (status)
        return status;
    bool arithmetic = true;
    for (size_t c = 0; c < m->plan->n_ckpts; c++)
        arithmetic &= wf_dtype_info(m->here[c]->dtype)->arithmetic;
    return arithmetic ? add_merged(m) : add_equal(m, name);
}

/* Patterns that match no tensor are listed: often a typo, sometimes a recipe for several models. */
static int list_unused(struct matcher *m, const char **patterns)
{
    struct wf_plan *plan = m->plan;
    for (; patterns && *patterns; patterns++) {
        bool used = false;
        for (size_t c = 0; !used && c < plan->n_ckpts; c++)
            for (size_t i = 0; !used && i < plan->ckpts[c].ckpt->n_tensors; i++)
                used = wf_glob(*patterns, plan->ckpts[c].ckpt->tensors[i].name);
        if (used)
            continue;
        const char **list = grow(m, plan->unused, plan->n_unused, &m->unused_max, sizeof *list);
        if (!list)
            return WF_MACHINE;
        plan->unused = list;
        list[plan->n_unused++] = *patterns;
    }
    return WF_OK;
}

/* All models of one architecture, unless the recipe allows a mixture. */
static int check_architectures(struct matcher *m)
{
    static const char *const keys[] = {"architectures", "model_type"};
    const char *first[2] = {0};
    size_t owner[2] = {0};
    for (size_t c = 0; c < m->plan->n_ckpts && !m->recipe->allow_mixed; c++) {
        for (int k = 0; k < 2; k++) {
            const struct wf_json *v = wf_json_get(m->plan->ckpts[c].ckpt->config, keys[k]);
            if (v && v->kind == WF_JSON_ARRAY && v->n)
                v = &v->children[0];
            if (!v || v->kind != WF_JSON_STRING)
                continue;
            if (!first[k]) {
                first[k] = v->text;
                owner[k] = c;
            } else if (strcmp(first[k], v->text)) {
                return wf_fail(m->e, WF_USAGE,
                               "%s:%d: %s is '%s' in %s but '%s' in %s; say allow_mixed: true to "
                               "merge them all the same",
                               where(m), m->plan->ckpts[c].line, keys[k], first[k],
                               m->plan->ckpts[owner[k]].text, v->text, m->plan->ckpts[c].text);
            }
        }
    }
    return WF_OK;
}

int wf_match(struct wf_err *e, struct wf_plan *plan, const struct wf_ckpt *base,
             const struct wf_ckpt *const *models)
{
    struct matcher m = {.e = e, .plan = plan, .recipe = plan->recipe};
    int status = collect_inputs(&m, base, models);
    if (!status)
        status = allocate(&m);
    if (!status)
        status = check_architectures(&m);
    if (!status)
        status = list_unused(&m, plan->recipe->include);
    if (!status)
        status = list_unused(&m, plan->recipe->exclude);
    const char *name;
    while (!status && (name = next_name(&m)))
        status = match_one(&m, name);
    return status;
}
