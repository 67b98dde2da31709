/* match_settings.c - the recipe's parameters for one tensor, as the method wants them. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "../recipe/coefficients.h"
#include "matcher.h"

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

/* Where the tensor is in the slice, from 0 to 1, for gradients: before the layers 0, in a slice of
 * one layer 1, behind the layers 1 (with --compat mergekit 0, which it has been there since March
 * 2025). */
static double position_of(const struct wf_matcher *m, const char *name)
{
    const struct wf_recipe_slice *slice = &m->recipe->slices[m->slice];
    const struct wf_stacks *stacks = &m->stacks[m->columns[0].ckpt];
    const struct wf_stack *stack = wf_stack_of(stacks, name);
    long layer = -1, n = 0;
    for (size_t c = 0; slice->has_layers && layer < 0 && c < m->n_columns; c++)
        layer = m->here[c] ? m->here[c]->layer : -1;
    if (layer >= 0) {
        n = slice->n_layers;
    } else if (stack) {
        layer = wf_layer_of(name);
        n = stack == stacks->main ? stacks->depth : stack->last + 1;
        layer = layer < n ? layer : n - 1;
    } else {
        return wf_is_behind_layers(name) && !wf_plan_is_mergekit(m->plan);
    }
    return n < 2 ? 1.0 : (double)layer / (double)(n - 1);
}

/* The tensor's name in the model that is input i, for filters of its entry. */
static const char *input_name(const struct wf_matcher *m, uint32_t i, const char *name)
{
    const struct wf_column_entry *here = m->here[m->inputs[i]];
    return here ? here->tensor->name : name;
}

/* Reads the settings for one tensor; *changed: any differs from the last tensor's. An option that
 * no level has a value for here, because no filter matches, is an error if it is required. */
static int read_settings(struct wf_matcher *m, const char *name, bool *changed)
{
    const struct wf_method *method = m->recipe->method;
    struct wf_position at = {.tensor = name, .t = position_of(m, name), .slice = m->slice};
    for (size_t o = 0; o < method->n_options; o++) {
        const struct wf_option *option = &method->options[o];
        at.input = name;
        double g = wf_recipe_value(m->recipe, o, -1, &at);
        bool missing = option->required && option->where == WF_GLOBAL && isnan(g);
        *changed |= !same_number(g, m->global[o]);
        m->global[o] = g;
        for (uint32_t i = 0; i < m->n_inputs; i++) {
            int model = m->input_model[i]; /* BASE_JOINS, too, reads the top level */
            at.input = input_name(m, i, name);
            double v = model == WF_NO_MODEL ? 0.0 : wf_recipe_value(m->recipe, o, model, &at);
            missing |= option->required && option->where == WF_PER_MODEL && isnan(v);
            *changed |= !same_number(v, m->per_model[i][o]);
            m->per_model[i][o] = v;
        }
        if (missing)
            return wf_fail(m->e, WF_USAGE,
                           "%s:%d: no filter of '%s' matches tensor '%s'; add an entry without a "
                           "filter for all others",
                           m->recipe->path, m->recipe->method_line, option->name, name);
    }
    return WF_OK;
}

static struct wf_args *new_args(struct wf_matcher *m)
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

static unsigned shape_class(const struct wf_matcher *m, const struct wf_tensor *t)
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

static const char *prepare(const struct wf_matcher *m, unsigned class, struct wf_args *args)
{
    struct wf_settings s = {.global = m->global,
                            .model = (const double *const *)m->per_model,
                            .n = m->n_inputs,
                            .has_base = m->has_base,
                            .one_row = (class & ONE_ROW) != 0,
                            .compat = wf_plan_is_mergekit(m->plan)};
    return m->recipe->method->prepare(&s, args);
}

/* ---- scope model ---- */

/* The settings of the first tensor that has a stage of model scope. */
struct wf_model_settings {
    const char *name;
    const struct wf_args *args;
    double *global, **per_model;
};

static int keep_model_settings(struct wf_matcher *m, const char *name, const struct wf_args *args)
{
    struct wf_arena *a = m->plan->arena;
    size_t n = m->recipe->method->n_options;
    struct wf_model_settings *s = wf_arena_alloc(a, m->e, 1, sizeof *s);
    double *numbers = wf_arena_alloc(a, m->e, n * (args->n + 1), sizeof *numbers);
    double **rows = wf_arena_alloc(a, m->e, args->n, sizeof *rows);
    if (!s || !numbers || !rows)
        return WF_MACHINE;
    *s = (struct wf_model_settings){name, args, numbers, rows};
    memcpy(s->global, m->global, n * sizeof *numbers);
    for (uint32_t i = 0; i < args->n; i++) {
        rows[i] = numbers + n * (i + 1);
        memcpy(rows[i], m->per_model[i], n * sizeof *numbers);
    }
    m->scoped = s;
    return WF_OK;
}

static void swap_option(struct wf_matcher *m, size_t option)
{
    const struct wf_model_settings *s = m->scoped;
    double g = m->global[option];
    m->global[option] = s->global[option];
    s->global[option] = g;
    for (uint32_t i = 0; i < m->n_inputs; i++) {
        double v = m->per_model[i][option];
        m->per_model[i][option] = s->per_model[i][option];
        s->per_model[i][option] = v;
    }
}

/* The option that keeps a tensor with the settings at hand out of the model's group: with the
 * group's value of it, its numbers would be others. */
static int fail_model_scope(struct wf_matcher *m, const char *name, unsigned class,
                            const struct wf_args *args)
{
    const struct wf_method *method = m->recipe->method;
    const struct wf_model_settings *s = m->scoped;
    if (args->n != s->args->n)
        return wf_fail(m->e, WF_USAGE,
                       "%s:%d: with scope: model every slice needs as many models as the others, "
                       "but those of '%s' and '%s' have %" PRIu32 " and %" PRIu32,
                       m->recipe->path, m->recipe->method_line, s->name, name, s->args->n, args->n);
    const char *option = "parameters";
    for (size_t o = method->n_options; o-- > 0;) {
        struct wf_args *other = new_args(m);
        if (!other)
            return WF_MACHINE;
        swap_option(m, o);
        const char *why = prepare(m, class, other);
        swap_option(m, o);
        if (why || !wf_method_one_group(method, args, other))
            option = method->options[o].name;
    }
    return wf_fail(m->e, WF_USAGE,
                   "%s:%d: with scope: model every tensor needs the same '%s', but '%s' and '%s' "
                   "have different ones",
                   m->recipe->path, m->recipe->method_line, option, s->name, name);
}

/* What is found of the whole model is found with one set of numbers. */
static int check_model_scope(struct wf_matcher *m, const char *name, unsigned class,
                             const struct wf_args *args)
{
    bool has = false;
    for (size_t s = 0; s < m->recipe->method->n_stages; s++)
        has |= args->scope[s] == WF_SCOPE_MODEL;
    if (!has)
        return WF_OK;
    if (!m->scoped)
        return keep_model_settings(m, name, args);
    return wf_method_one_group(m->recipe->method, m->scoped->args, args)
               ? WF_OK
               : fail_model_scope(m, name, class, args);
}

int wf_match_settings(struct wf_matcher *m, const char *name, const struct wf_tensor *t,
                      const struct wf_args **out)
{
    unsigned class = shape_class(m, t);
    if (m->recipe->table && !wf_coefficients_find(m->recipe->table, name))
        return wf_fail(m->e, WF_USAGE,
                       "%s: no coefficients for tensor '%s'; add it, or \"*\" for all that are not "
                       "named",
                       m->recipe->table->path, name);
    bool changed = false;
    int status = read_settings(m, name, &changed);
    if (status)
        return status;
    if (changed)
        memset(m->last_args, 0, sizeof m->last_args);
    *out = m->last_args[class];
    if (*out)
        return WF_OK;
    struct wf_args *args = new_args(m);
    if (!args)
        return WF_MACHINE;
    const char *why = prepare(m, class, args);
    if (why)
        return wf_fail(m->e, WF_USAGE, "%s:%d: tensor '%s': %s", m->recipe->path,
                       m->recipe->method_line, name, why);
    if (!args_finite(args))
        return wf_fail(m->e, WF_USAGE,
                       "%s:%d: tensor '%s': the weights are too large: their sum or quotient "
                       "overflows",
                       m->recipe->path, m->recipe->method_line, name);
    fit_scopes(m->recipe->method, args, class);
    *out = m->last_args[class] = args;
    return check_model_scope(m, name, class, args);
}
