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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/num.h"
#include "../format/shape.h"
#include "../format/delta_file.h"
#include "lone_tensors.h"
#include "matcher.h"

static const char *where(const struct wf_matcher *m)
{
    return m->recipe->path;
}

bool wf_plan_same_ckpt(const struct wf_ckpt *a, const struct wf_ckpt *b)
{
    if (a == b)
        return true;
    if (a->rows != b->rows)
        return false;
    /* What lies on top counts with its configuration, which its weight file does not show: two
     * folders may share that. */
    if (a->under || b->under)
        return a->under && b->under && a->top == b->top && wf_plan_same_ckpt(a->under, b->under);
    /* Of two stages that are computed on the way the files are those of their inputs. */
    if (a->plan != b->plan || a->n_files != b->n_files)
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

/* ---- checkpoints, and the columns of a slice ---- */

/* Every checkpoint that takes part, the donor first. */
static int collect_ckpts(struct wf_matcher *m, const struct wf_ckpt *base,
                         const struct wf_ckpt *const *models)
{
    const struct wf_recipe *r = m->recipe;
    struct wf_plan *plan = m->plan;
    plan->ckpts = wf_arena_alloc(plan->arena, m->e, r->n_models + 1, sizeof *plan->ckpts);
    m->entry_ckpt = wf_arena_alloc(plan->arena, m->e, r->n_models, sizeof *m->entry_ckpt);
    m->stacks = wf_arena_alloc(plan->arena, m->e, r->n_models + 1, sizeof *m->stacks);
    if (!plan->ckpts || !m->entry_ckpt || !m->stacks)
        return WF_MACHINE;
    if (base)
        add_ckpt(plan, base, r->base.text, "base", r->base.line, true);
    for (size_t i = 0; i < r->n_models; i++)
        m->entry_ckpt[i] = add_ckpt(plan, models[i], r->models[i].ref.text, r->models[i].task,
                                    r->models[i].line, r->models[i].is_base);
    plan->config_donor = wf_plan_config_donor(base, models, r->n_models);
    int status = WF_OK;
    for (size_t c = 0; !status && c < plan->n_ckpts; c++)
        status = wf_stacks_find(m->e, plan->arena, plan->ckpts[c].ckpt, NULL, NULL, &m->stacks[c]);
    return status;
}

static int allocate(struct wf_matcher *m, size_t n_entries)
{
    struct wf_arena *a = m->plan->arena;
    size_t n_options = m->recipe->method->n_options, n = n_entries + 1; /* a base may join */
    m->columns = wf_arena_alloc(a, m->e, n, sizeof *m->columns);
    m->at = wf_arena_alloc(a, m->e, n, sizeof *m->at);
    m->here = wf_arena_alloc(a, m->e, n, sizeof *m->here);
    m->inputs = wf_arena_alloc(a, m->e, n, sizeof *m->inputs);
    m->input_model = wf_arena_alloc(a, m->e, n, sizeof *m->input_model);
    m->global = wf_arena_alloc(a, m->e, n_options, sizeof *m->global);
    m->per_model = wf_arena_alloc(a, m->e, n, sizeof *m->per_model);
    if (!m->columns || !m->at || !m->here || !m->inputs || !m->input_model || !m->global ||
        !m->per_model)
        return WF_MACHINE;
    for (size_t i = 0; i < n; i++)
        if (!(m->per_model[i] = wf_arena_alloc(a, m->e, n_options, sizeof **m->per_model)))
            return WF_MACHINE;
    m->n_columns = m->n_inputs = 0;
    m->has_base = false;
    memset(m->last_args, 0, sizeof m->last_args);
    return WF_OK;
}

static void add_input(struct wf_matcher *m, uint32_t column, int model)
{
    m->inputs[m->n_inputs] = column;
    m->input_model[m->n_inputs++] = model;
}

/* What a module takes from a checkpoint; NULL where there are no modules. */
static int part_of(struct wf_matcher *m, const struct wf_ckpt *ckpt, const char *text,
                   const struct wf_model_part **out)
{
    const struct wf_recipe_slice *slice = &m->recipe->slices[m->slice];
    const struct wf_recipe_module *module = wf_recipe_module_of(m->recipe, slice);
    *out = NULL;
    if (!module)
        return WF_OK;
    struct wf_model_part *part = wf_arena_alloc(m->plan->arena, m->e, 1, sizeof *part);
    if (!part)
        return WF_MACHINE;
    *out = part;
    if (!wf_model_part_find(ckpt, module->name, part))
        return wf_fail(m->e, WF_USAGE,
                       "%s:%d: %s has no tensors of a module '%s'; modules are components of "
                       "tensor names (weft inspect shows them)",
                       where(m), module->line, text, module->name);
    return WF_OK;
}

/* A column for a checkpoint of which everything is taken, once. */
static int whole_column(struct wf_matcher *m, uint32_t ckpt, uint32_t *out)
{
    struct wf_column_range range = {0};
    for (*out = 0; *out < m->n_columns; ++*out)
        if (m->columns[*out].ckpt == ckpt)
            return WF_OK;
    const struct wf_plan_ckpt *k = &m->plan->ckpts[ckpt];
    struct wf_column *column = &m->columns[m->n_columns++];
    *column = (struct wf_column){.ckpt = ckpt, .text = k->text, .line = k->line};
    int status = part_of(m, k->ckpt, k->text, &range.part);
    return status ? status
                  : wf_column_fill(m->e, m->plan->arena, k->ckpt, where(m), &range, column);
}

/* Whole models: the base, and every entry that is not it. */
static int whole_columns(struct wf_matcher *m, bool has_base)
{
    const struct wf_recipe_slice *slice = &m->recipe->slices[m->slice];
    uint32_t column = 0;
    int status = has_base ? whole_column(m, 0, &column) : WF_OK;
    m->has_base = has_base && m->recipe->method->base != WF_BASE_NONE;
    if (m->has_base)
        add_input(m, 0, WF_NO_MODEL);
    for (size_t i = slice->first; !status && i < slice->first + slice->n; i++) {
        status = whole_column(m, m->entry_ckpt[i], &column);
        if (!m->has_base || column != 0) /* listed among the models, the base has no task vector */
            add_input(m, column, (int)i);
    }
    return status;
}

static bool ends_stack(const struct wf_recipe *r, const struct wf_recipe_slice *slice)
{
    const struct wf_recipe_slice *next = slice + 1, *end = r->slices + r->n_slices;
    return next == end || next->module != slice->module;
}

/* A column for the layers of one entry. `to`: where the slice begins in the result. */
static int layer_column(struct wf_matcher *m, size_t entry, long to)
{
    const struct wf_recipe *r = m->recipe;
    const struct wf_recipe_slice *slice = &r->slices[m->slice];
    const struct wf_recipe_model *model = &r->models[entry];
    const struct wf_recipe_slice *next = slice + 1, *end = r->slices + r->n_slices;
    struct wf_column_range range = {
        .has_layers = true,
        .from = model->layer_from,
        .n = slice->n_layers,
        .to = to,
        .before = to == 0 && (slice == r->slices || slice[-1].module != slice->module),
        .behind = next == end || next->module != slice->module};
    struct wf_column *column = &m->columns[m->n_columns];
    const struct wf_ckpt *ckpt = m->plan->ckpts[m->entry_ckpt[entry]].ckpt;
    char place[512];
    snprintf(place, sizeof place, "%.480s:%d", where(m), model->line);
    *column = (struct wf_column){
        .ckpt = m->entry_ckpt[entry], .text = model->ref.text, .line = model->line};
    add_input(m, (uint32_t)m->n_columns++, (int)entry);
    int status = part_of(m, ckpt, model->ref.text, &range.part);
    return status ? status : wf_column_fill(m->e, m->plan->arena, ckpt, place, &range, column);
}

/* A slice's sources; a base that the method takes is the first. */
static int layer_columns(struct wf_matcher *m, long to)
{
    const struct wf_recipe_slice *slice = &m->recipe->slices[m->slice];
    int status = WF_OK;
    for (int turn = 0; turn < 2; turn++)
        for (size_t i = slice->first; !status && i < slice->first + slice->n; i++) {
            bool is_base = wf_recipe_exempt(m->recipe, i);
            if (is_base != (turn == 0))
                continue;
            status = layer_column(m, i, to);
            m->has_base |= is_base;
            if (is_base && m->n_inputs)
                m->input_model[m->n_inputs - 1] = WF_NO_MODEL;
        }
    return status;
}

/* mergekit appends a base that is not in `models` to the inputs of methods that have no use for
 * one; it takes its weight from the top level. With --compat mergekit weft does the same. */
static int join_base(struct wf_matcher *m, bool has_base)
{
    const struct wf_recipe *r = m->recipe;
    bool joins = has_base && r->method->base == WF_BASE_NONE && r->method->max_models > 1 &&
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
    add_input(m, 0, WF_BASE_JOINS);
    return WF_OK;
}

static int check_count(struct wf_matcher *m)
{
    const struct wf_recipe *r = m->recipe;
    if (m->n_inputs - m->has_base < r->method->min_models)
        return wf_fail(m->e, WF_USAGE,
                       "%s:%d: method '%s' needs at least %" PRIu32 " model%s besides the base",
                       r->path, r->method_line, r->method->name, r->method->min_models,
                       r->method->min_models == 1 ? "" : "s");
    if (m->n_inputs - m->has_base > r->method->max_models)
        return wf_fail(m->e, WF_USAGE,
                       "%s:%d: method '%s' takes at most %" PRIu32 " models, the base included",
                       r->path, r->method_line, r->method->name, r->method->max_models);
    return WF_OK;
}

/* Everything about the slice but its tensors. */
static int begin_slice(struct wf_matcher *m, size_t slice, bool has_base, long to)
{
    const struct wf_recipe_slice *s = &m->recipe->slices[slice];
    m->slice = slice;
    int status = allocate(m, s->n);
    if (!status)
        status = s->has_layers ? layer_columns(m, to) : whole_columns(m, has_base);
    if (!status && !s->has_layers)
        status = join_base(m, has_base);
    if (!status && !s->is_lone)
        status = check_count(m);
    if (!status)
        m->n_tied += wf_columns_tie(m->plan, m->columns, m->n_columns);
    if (!status && ends_stack(m->recipe, s) && to > 0)
        m->n_tied += wf_columns_end_tied(m->plan, m->columns, m->n_columns);
    if (slice == 0)
        m->plan->input_model = m->input_model;
    return status;
}

/* Moves every column that stands at the smallest name forward; sets here[]. NULL at the end. */
static const char *next_name(struct wf_matcher *m)
{
    const char *name = NULL;
    for (size_t c = 0; c < m->n_columns; c++) {
        const struct wf_column *k = &m->columns[c];
        if (m->at[c] < k->n && (!name || strcmp(k->entries[m->at[c]].name, name) < 0))
            name = k->entries[m->at[c]].name;
    }
    for (size_t c = 0; name && c < m->n_columns; c++) {
        const struct wf_column *k = &m->columns[c];
        bool has = m->at[c] < k->n && !strcmp(k->entries[m->at[c]].name, name);
        m->here[c] = has ? &k->entries[m->at[c]++] : NULL;
    }
    return name;
}

static struct wf_job *add_job(struct wf_matcher *m, const char *name, const struct wf_tensor *like,
                              enum wf_action action, uint32_t n_inputs)
{
    struct wf_plan *plan = m->plan;
    struct wf_job *jobs =
        wf_arena_grow(plan->arena, m->e, plan->jobs, plan->n_jobs, &m->jobs_max, sizeof *jobs);
    if (!jobs)
        return NULL;
    plan->jobs = jobs;
    struct wf_job *job = &jobs[plan->n_jobs];
    job->input_ckpt = wf_arena_alloc(plan->arena, m->e, n_inputs, sizeof *job->input_ckpt);
    job->in = wf_arena_alloc(plan->arena, m->e, n_inputs, sizeof *job->in);
    job->in_dtype = wf_arena_alloc(plan->arena, m->e, n_inputs, sizeof *job->in_dtype);
    if (!job->input_ckpt || !job->in || !job->in_dtype)
        return NULL;
    job->name = name;
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
static int set_dtype(struct wf_matcher *m, struct wf_job *job, enum wf_dtype d)
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
    bool replaces = !t->rows || !(t->rows->map->makes || t->addend);
    for (const struct wf_addend *a = t->addend; a; a = a->next)
        replaces &= a->kind == WF_ADDEND_SPARSE && a->replace;
    return replaces;
}

/* Column c's tensor as an input of a job. */
static void set_input(struct wf_matcher *m, struct wf_job *job, uint32_t i, size_t column)
{
    wf_job_set_input(job, i, m->columns[column].ckpt, m->here[column]->tensor);
}

/* One model's tensor as it is, converted if the recipe names a stored type, and with what its
 * checkpoint adds to it. */
static int add_single(struct wf_matcher *m, const char *name, uint32_t ckpt,
                      const struct wf_tensor *t)
{
    enum wf_dtype stored = m->recipe->dtype != WF_DTYPE_NONE ? m->recipe->dtype : t->dtype;
    bool convert = wf_dtype_info(t->dtype)->arithmetic && (stored != t->dtype || !only_replaced(t));
    struct wf_job *job = add_job(m, name, t, convert ? WF_ACTION_MAP : WF_ACTION_COPY, 1);
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

static int add_outside(struct wf_matcher *m, const char *name)
{
    struct wf_plan *plan = m->plan;
    if (m->here[0])
        return add_single(m, name, m->columns[0].ckpt, m->here[0]->tensor);
    struct wf_left_out *list = wf_arena_grow(plan->arena, m->e, plan->left_out, plan->n_left_out,
                                             &m->left_out_max, sizeof *list);
    if (!list)
        return WF_MACHINE;
    plan->left_out = list;
    size_t c = 0;
    while (!m->here[c])
        c++;
    list[plan->n_left_out++] = (struct wf_left_out){name, m->columns[c].text};
    return WF_OK;
}

/* Present everywhere, one shape. */
static int check_alike(struct wf_matcher *m, const char *name)
{
    size_t first = 0;
    while (!m->here[first])
        first++;
    const struct wf_tensor *t = m->here[first]->tensor;
    for (size_t c = 0; c < m->n_columns; c++) {
        const struct wf_tensor *u = m->here[c] ? m->here[c]->tensor : NULL;
        if (!u)
            return wf_fail(m->e, WF_USAGE,
                           "%s:%d: tensor '%s' is in %s but not in %s; exclude it to take the "
                           "%s's, or use models with the same tensors",
                           where(m), m->columns[c].line, name, m->columns[first].text,
                           m->columns[c].text, m->recipe->has_base ? "base" : "first model");
        if (u->n_dims == t->n_dims &&
            (t->n_dims == 0 || !memcmp(u->shape, t->shape, t->n_dims * sizeof *t->shape)))
            continue;
        char shape[2][WF_SHAPE_TEXT_MAX];
        return wf_fail(m->e, WF_USAGE,
                       "%s:%d: tensor '%s' has shape %s in %s but %s in %s; "
                       "exclude it to take the %s's",
                       where(m), m->columns[c].line, name,
                       wf_shape_text(t->shape, t->n_dims, WF_SHAPE_SPACED, shape[0]),
                       m->columns[first].text,
                       wf_shape_text(u->shape, u->n_dims, WF_SHAPE_SPACED, shape[1]),
                       m->columns[c].text, m->recipe->has_base ? "base" : "first model");
    }
    return WF_OK;
}

static bool is_float(enum wf_dtype d)
{
    return wf_dtype_info(d)->name[0] == 'F' || d == WF_BF16 || d == WF_C64;
}

/* A scaled model in which the FP8 tensors are not scaled is a trap: the caller warns. */
static int note_uncomputed(struct wf_matcher *m, const char *name, const struct wf_tensor *t)
{
    const struct wf_args *args = NULL;
    uint32_t source;
    if (!is_float(t->dtype) || !m->recipe->method->is_copy)
        return WF_OK;
    int status = wf_match_settings(m, name, t, &args);
    if (status || m->recipe->method->is_copy(args, &source))
        return status;
    if (m->plan->n_uncomputed++ == 0)
        m->plan->uncomputed = name;
    return WF_OK;
}

/* Non-arithmetic types: copied from the donor, every other checkpoint is compared with it. */
static int add_equal(struct wf_matcher *m, const char *name)
{
    const struct wf_tensor *t = m->here[0]->tensor;
    for (size_t c = 0; c < m->n_columns; c++)
        if (m->here[c]->tensor->dtype != t->dtype)
            return wf_fail(m->e, WF_USAGE,
                           "%s:%d: tensor '%s' is %s in %s but %s in %s, and types other than F64, "
                           "F32, F16, BF16 cannot be mixed; exclude it to take the %s's",
                           where(m), m->columns[c].line, name, wf_dtype_info(t->dtype)->name,
                           m->columns[0].text, wf_dtype_info(m->here[c]->tensor->dtype)->name,
                           m->columns[c].text, m->recipe->has_base ? "base" : "first model");
    int status = note_uncomputed(m, name, t);
    if (status)
        return status;
    struct wf_job *job = add_job(m, name, t, WF_ACTION_COPY, (uint32_t)m->n_columns);
    if (!job)
        return WF_MACHINE;
    for (uint32_t c = 0; c < m->n_columns; c++)
        set_input(m, job, c, c);
    return WF_OK;
}

/* The first 64 bits of XXH3-128 of the seed, eight bytes, low first, and the tensor's name. */
static int set_draw_key(struct wf_matcher *m, struct wf_job *job)
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
static int check_ranks(struct wf_matcher *m, const struct wf_job *job)
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
static int add_merged(struct wf_matcher *m, const char *name)
{
    const struct wf_recipe *r = m->recipe;
    const struct wf_args *args = NULL;
    const struct wf_tensor *first = m->here[0]->tensor;
    uint32_t source = 0;
    int status = wf_match_settings(m, name, first, &args);
    if (status)
        return status;
    enum wf_dtype stored = r->dtype != WF_DTYPE_NONE ? r->dtype : (enum wf_dtype)first->dtype;
    if (r->method->is_copy && r->method->is_copy(args, &source)) {
        const struct wf_column_entry *only = m->here[m->inputs[source]];
        if (only->tensor->dtype == stored && only_replaced(only->tensor))
            return add_single(m, name, m->columns[m->inputs[source]].ckpt, only->tensor);
    }
    struct wf_job *job = add_job(m, name, first, WF_ACTION_MAP, m->n_inputs);
    if (!job)
        return WF_MACHINE;
    job->method = r->method;
    job->args = args;
    for (uint32_t i = 0; i < m->n_inputs; i++)
        set_input(m, job, i, m->inputs[i]);
    wf_job_type_addends(job);
    job->rows = wf_job_has_scope(job, WF_SCOPE_COLUMN)
                    ? (struct wf_rows){job->shape[0], job->shape[1]}
                    : wf_method_rows(r->method, job->shape, job->n_dims);
    status = check_ranks(m, job);
    if (!status && r->method->draws)
        status = set_draw_key(m, job);
    return status ? status : set_dtype(m, job, stored);
}

static int match_one(struct wf_matcher *m, const char *name)
{
    if (!wf_recipe_takes_part(m->recipe, name))
        return add_outside(m, name);
    if (m->recipe->slices[m->slice].is_lone)
        return add_single(m, name, m->columns[0].ckpt, m->here[0]->tensor);
    int status = check_alike(m, name);
    if (status)
        return status;
    bool arithmetic = true;
    for (size_t c = 0; c < m->n_columns; c++)
        arithmetic &= wf_dtype_info(m->here[c]->tensor->dtype)->arithmetic;
    return arithmetic ? add_merged(m, name) : add_equal(m, name);
}

/* Patterns that match no tensor are listed: often a typo, sometimes a recipe for several models. */
static int list_unused(struct wf_matcher *m, const char **patterns)
{
    struct wf_plan *plan = m->plan;
    for (; patterns && *patterns; patterns++) {
        bool used = false;
        for (size_t i = 0; !used && i < plan->n_jobs; i++)
            used = wf_glob(*patterns, plan->jobs[i].name);
        for (size_t i = 0; !used && i < plan->n_left_out; i++)
            used = wf_glob(*patterns, plan->left_out[i].name);
        if (used)
            continue;
        const char **list = wf_arena_grow(plan->arena, m->e, plan->unused, plan->n_unused,
                                          &m->unused_max, sizeof *list);
        if (!list)
            return WF_MACHINE;
        plan->unused = list;
        list[plan->n_unused++] = *patterns;
    }
    return WF_OK;
}

/* All models of one architecture, unless the recipe allows a mixture. */
static int check_architectures(struct wf_matcher *m)
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

/* Tensors that no module takes are the donor's. */
static int add_unclaimed(struct wf_matcher *m)
{
    const struct wf_recipe *r = m->recipe;
    const struct wf_ckpt *donor = m->plan->ckpts[0].ckpt;
    struct wf_model_part *parts = wf_arena_alloc(m->plan->arena, m->e, r->n_modules, sizeof *parts);
    int status = parts ? WF_OK : WF_MACHINE;
    size_t n = 0;
    for (size_t k = 0; !status && k < r->n_modules; k++)
        n += wf_model_part_find(donor, r->modules[k].name, &parts[n]);
    for (size_t i = 0; !status && i < donor->n_tensors; i++) {
        const struct wf_tensor *t = &donor->tensors[i];
        bool claimed = false;
        for (size_t k = 0; k < n; k++) {
            if (claimed && wf_model_part_has(&parts[k], t->name))
                return wf_fail(m->e, WF_USAGE, "%s:%d: tensor '%s' belongs to two of the modules",
                               where(m), r->modules[k].line, t->name);
            claimed |= wf_model_part_has(&parts[k], t->name);
        }
        if (!claimed)
            status = add_single(m, t->name, 0, t);
    }
    return status;
}

static int match_slices(struct wf_matcher *m, bool has_base)
{
    const struct wf_recipe *r = m->recipe;
    long to = 0;
    int status = WF_OK;
    for (size_t i = 0; !status && i < r->n_slices; i++) {
        to = i && r->slices[i].module == r->slices[i - 1].module ? to : 0;
        status = begin_slice(m, i, has_base, to);
        const char *name;
        while (!status && (name = next_name(m)))
            status = match_one(m, name);
        to += r->slices[i].n_layers;
    }
    return status;
}

int wf_match(struct wf_err *e, struct wf_plan *plan, const struct wf_ckpt *base,
             const struct wf_ckpt *const *models)
{
    struct wf_matcher m = {.e = e, .plan = plan, .recipe = plan->recipe};
    int status = collect_ckpts(&m, base, models);
    if (!status)
        status = check_architectures(&m);
    if (!status)
        status = match_slices(&m, base != NULL);
    if (!status && plan->recipe->n_modules)
        status = add_unclaimed(&m);
    bool stacked = false;
    for (size_t i = 0; i < plan->recipe->n_slices; i++)
        stacked |= plan->recipe->slices[i].has_layers;
    if (!status && stacked)
        status = wf_lone_tensors_warn(e, plan, m.stacks);
    if (!status)
        status = list_unused(&m, plan->recipe->include);
    if (!status)
        status = list_unused(&m, plan->recipe->exclude);
    plan->n_tied = m.n_tied;
    return status;
}
