/* searched_recipe.c - writes a recipe out of what was read. */
#include "searched_recipe.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/file.h"
#include "../base/num.h"

/* A path that leads there from anywhere; what is no path is left as it is. */
static void put_place(struct wf_str *s, const struct wf_recipe *r, const char *text)
{
    char beside[PATH_MAX], real[PATH_MAX];
    int n = snprintf(beside, sizeof beside, "%s/%s", r->folder, text);
    bool fits = n > 0 && n < (int)sizeof beside;
    const char *found = *text != '/' && fits && wf_exists(beside) ? beside : text;
    if (wf_exists(found) && realpath(found, real))
        found = real;
    wf_str_json(s, found, strlen(found));
}

static void put_plain_reference(struct wf_str *s, const struct wf_recipe *r,
                                const struct wf_reference *ref)
{
    if (ref->is_path || !ref->adapter) {
        wf_str_puts(s, "{path: ");
        put_place(s, r, ref->is_path ? ref->text : ref->model);
        wf_str_puts(s, "}");
        return;
    }
    wf_str_puts(s, "{model: {path: ");
    put_place(s, r, ref->model);
    wf_str_puts(s, "}, lora: {path: ");
    put_place(s, r, ref->adapter);
    wf_str_puts(s, "}}");
}

static void put_reference(struct wf_str *s, const struct wf_recipe *r,
                          const struct wf_reference *ref)
{
    if (!ref->architecture) {
        put_plain_reference(s, r, ref);
        return;
    }
    struct wf_reference plain = *ref;
    plain.adapter = NULL;
    wf_str_puts(s, "{model: ");
    put_plain_reference(s, r, ref->is_path ? ref : &plain);
    if (ref->adapter && !ref->is_path) {
        wf_str_puts(s, ", lora: {path: ");
        put_place(s, r, ref->adapter);
        wf_str_puts(s, "}");
    }
    wf_str_puts(s, ", override_architecture: ");
    wf_str_json(s, ref->architecture, strlen(ref->architecture));
    wf_str_puts(s, "}");
}

static void put_number_of(struct wf_str *s, const struct wf_option *o, double value)
{
    char number[32];
    if (o->kind == WF_OPTION_CHOICE)
        wf_str_puts(s, o->choices[(size_t)value]);
    else if (o->kind == WF_OPTION_BOOL)
        wf_str_puts(s, value != 0 ? "true" : "false");
    else
        wf_str_puts(s, wf_format_f64(value, number));
}

/* A number, or a list of {filter, value} entries; a gradient is a list of numbers. */
static void put_value(struct wf_str *s, const struct wf_recipe *r, const struct wf_value *v,
                      bool *any)
{
    const struct wf_option *o = &r->method->options[wf_method_option(r->method, v->name)];
    wf_str_printf(s, "%s%s: ", *any ? ", " : "", v->name);
    *any = true;
    if (wf_value_is_plain(v)) {
        put_number_of(s, o, v->cases[0].numbers[0]);
        return;
    }
    for (size_t i = 0; i < v->n_cases; i++) {
        const struct wf_value_case *c = &v->cases[i];
        wf_str_puts(s, i ? ", {" : "[{");
        if (c->filter) {
            wf_str_puts(s, "filter: ");
            wf_str_json(s, c->filter, strlen(c->filter));
            wf_str_puts(s, ", ");
        }
        wf_str_puts(s, c->n > 1 ? "value: [" : "value: ");
        for (size_t k = 0; k < c->n; k++) {
            wf_str_puts(s, k ? ", " : "");
            put_number_of(s, o, c->numbers[k]);
        }
        wf_str_puts(s, c->n > 1 ? "]}" : "}");
    }
    wf_str_puts(s, "]");
}

static bool is_searched(const char *name, double density)
{
    return !strcmp(name, "weight") || !strcmp(name, "lambda") ||
           (!isnan(density) && !strcmp(name, "density"));
}

static void put_number(struct wf_str *s, const char *name, double value, bool *any)
{
    char number[32];
    wf_str_printf(s, "%s%s: %s", *any ? ", " : "", name, wf_format_f64(value, number));
    *any = true;
}

static void put_model(struct wf_str *s, const struct wf_recipe *r, const struct wf_recipe_model *m,
                      const double *weight, double density)
{
    bool any = false;
    wf_str_puts(s, "  - model: ");
    put_reference(s, r, &m->ref);
    wf_str_puts(s, "\n    name: ");
    wf_str_json(s, m->task, strlen(m->task));
    wf_str_puts(s, "\n    parameters: {");
    if (weight)
        put_number(s, "weight", *weight, &any);
    for (size_t i = 0; i < m->n_values; i++)
        if (!is_searched(m->values[i].name, density))
            put_value(s, r, &m->values[i], &any);
    wf_str_puts(s, "}\n");
}

static void put_patterns(struct wf_str *s, const char *key, const char *const *patterns)
{
    if (!patterns)
        return;
    wf_str_printf(s, "%s:\n", key);
    for (; *patterns; patterns++) {
        wf_str_puts(s, "  - ");
        wf_str_json(s, *patterns, strlen(*patterns));
        wf_str_puts(s, "\n");
    }
}

/* Under --compat mergekit inputs are rounded to `dtype` and the result to `out_dtype`. */
static void put_dtypes(struct wf_str *s, const struct wf_recipe *r)
{
    if (r->cast != WF_DTYPE_NONE)
        wf_str_printf(s, "dtype: %s\n", wf_dtype_info(r->cast)->torch_name);
    if (r->dtype != r->cast)
        wf_str_printf(s, "out_dtype: %s\n", wf_dtype_info(r->dtype)->torch_name);
}

static void put_rest(struct wf_str *s, const struct wf_recipe *r)
{
    put_dtypes(s, r);
    if (r->has_seed) /* a zero as well: it wins over --seed */
        wf_str_printf(s, "seed: %llu\n", (unsigned long long)r->seed);
    put_patterns(s, "include", (const char *const *)r->include);
    put_patterns(s, "exclude", (const char *const *)r->exclude);
    if (r->chat_auto)
        wf_str_puts(s, "chat_template: auto\n");
    if (r->chat_template) {
        wf_str_puts(s, "chat_template: ");
        wf_str_json(s, r->chat_template, strlen(r->chat_template));
        wf_str_puts(s, "\n");
    }
    if (r->allow_non_finite)
        wf_str_puts(s, "non_finite: allow\n");
    if (r->allow_mixed)
        wf_str_puts(s, "allow_mixed: true\n");
}

void wf_searched_recipe(struct wf_str *s, const struct wf_recipe *r, const double *weights,
                        double density)
{
    bool any = false;
    wf_str_printf(s, "merge_method: %s\n", r->method->name);
    if (r->has_base) {
        wf_str_puts(s, "base_model: ");
        put_reference(s, r, &r->base);
        wf_str_puts(s, "\n");
    }
    wf_str_puts(s, "models:\n");
    for (size_t i = 0; i < r->n_models; i++)
        put_model(s, r, &r->models[i], wf_recipe_exempt(r, i) ? NULL : weights++, density);
    wf_str_puts(s, "parameters: {");
    if (wf_method_option(r->method, "lambda") >= 0)
        put_number(s, "lambda", 1, &any);
    if (!isnan(density))
        put_number(s, "density", density, &any);
    for (size_t i = 0; i < r->n_values; i++)
        if (!is_searched(r->values[i].name, density))
            put_value(s, r, &r->values[i], &any);
    wf_str_puts(s, "}\n");
    put_rest(s, r);
}
