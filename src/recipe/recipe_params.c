/* recipe_params.c - `parameters`: each value against the row of the method's options table. */
#include "coefficients.h"
#include "recipe_read.h"

#include <math.h>
#include <string.h>

#include "../base/num.h"
#include "../base/str.h"

/* The method's option names, NULL-terminated, for nearest-word hints. */
static int option_names(struct wf_recipe_reader *r, const char *const **out)
{
    const struct wf_method *m = r->out->method;
    const char **names = wf_arena_alloc(r->arena, r->e, m->n_options + 1, sizeof *names);
    if (!names)
        return WF_MACHINE;
    for (size_t i = 0; i < m->n_options; i++)
        names[i] = m->options[i].name;
    *out = names;
    return WF_OK;
}

static int unknown_parameter(struct wf_recipe_reader *r, const struct wf_yaml *v)
{
    const struct wf_method *m = r->out->method;
    struct wf_clip clip;
    if (wf_recipe_silent(r))
        return WF_OK;
    if (m->n_options == 0)
        return wf_recipe_ignore(r, v->key_line,
                                "unknown parameter '%s': merge_method '%s' has no parameters",
                                wf_clip(v->key, &clip), m->name);
    const char *const *names;
    int s = option_names(r, &names);
    if (s)
        return s;
    struct wf_str list = {0};
    for (size_t i = 0; i < m->n_options; i++)
        wf_str_printf(&list, "%s%s", i ? ", " : "", names[i]);
    s = wf_str_finish(&list, r->e);
    char hint[128];
    if (!s)
        s = wf_recipe_ignore(r, v->key_line,
                             "unknown parameter '%s'%s; merge_method '%s' has: %.400s",
                             wf_clip(v->key, &clip),
                             wf_did_you_mean(v->key, names, hint, sizeof hint), m->name, list.text);
    wf_str_free(&list);
    return s;
}

/* Lists and maps as values: the dialect's gradients and filters. */
static int structured_value(struct wf_recipe_reader *r, const struct wf_yaml *v)
{
    bool filters = v->kind == WF_YAML_MAP ? wf_yaml_get(v, "value") || wf_yaml_get(v, "filter")
                                          : v->n > 0 && v->children[0]->kind == WF_YAML_MAP;
    if (filters)
        return wf_recipe_fail(
            r, v->key_line, "this version does not have filters yet: give '%s' one value", v->key);
    if (v->kind == WF_YAML_LIST)
        return wf_recipe_fail(
            r, v->key_line,
            "this version does not have gradients (lists of numbers) yet: give '%s' one value",
            v->key);
    return wf_recipe_fail(r, v->key_line, "'%s' needs one value, not a map", v->key);
}

/* A text in quotes that would be a boolean without them. */
static bool is_quoted_truth(const struct wf_yaml *v)
{
    struct wf_yaml plain = *v;
    bool truth;
    plain.quoted = false;
    return v->quoted && wf_yaml_bool(&plain, &truth);
}

/* Plain, or in quotes as templates write them: mergekit takes both. Between quotes a number is
 * decimal, so "010" is ten. */
static bool is_number(const struct wf_yaml *v, double *out)
{
    return v->quoted ? wf_parse_f64(v->text, v->text_n, out) : wf_yaml_number(v, out);
}

/* A scalar as a number; booleans are 0 and 1, whatever the option's kind, as in mergekit. */
static int scalar_value(struct wf_recipe_reader *r, const struct wf_yaml *v,
                        const struct wf_option *option, double *out)
{
    struct wf_clip clip;
    bool truth, is_switch = option->kind == WF_OPTION_BOOL;
    const char *wanted = is_switch ? "true or false" : "a finite number";
    if (is_quoted_truth(v))
        return wf_recipe_fail(r, v->key_line, "'%s' needs %s: write %s without quotes", v->key,
                              wanted, wf_clip(v->text, &clip));
    bool good = is_number(v, out) && isfinite(*out);
    if (!good && wf_yaml_bool(v, &truth)) {
        *out = truth;
        good = true;
    }
    if (!good || (is_switch && *out != 0 && *out != 1))
        return wf_recipe_fail(r, v->key_line, "'%s' needs %s, not '%s'", v->key, wanted,
                              wf_clip(v->text, &clip));
    return WF_OK;
}

/* One of the option's words, plain or in quotes; its place among them. */
static int choice_value(struct wf_recipe_reader *r, const struct wf_yaml *v,
                        const struct wf_option *option, double *out)
{
    for (size_t i = 0; option->choices[i]; i++)
        if (!strcmp(option->choices[i], v->text)) {
            *out = (double)i;
            return WF_OK;
        }
    struct wf_clip clip;
    char hint[128], list[WF_CHOICES_TEXT];
    return wf_recipe_fail(r, v->key_line, "'%s' is '%s'%s; it must be %s", v->key,
                          wf_clip(v->text, &clip),
                          wf_did_you_mean(v->text, option->choices, hint, sizeof hint),
                          wf_choices_text(option->choices, list));
}

static int check_range(struct wf_recipe_reader *r, const struct wf_yaml *v,
                       const struct wf_option *option, double number)
{
    if (option->kind != WF_OPTION_NUMBER || (number >= option->min && number <= option->max))
        return WF_OK;
    char is[32], low[32], high[32];
    wf_format_f64(number, is);
    wf_format_f64(option->min, low);
    wf_format_f64(option->max, high);
    if (isinf(option->max))
        return wf_recipe_fail(r, v->key_line, "'%s' is %s; it must be at least %s", v->key, is,
                              low);
    if (isinf(option->min))
        return wf_recipe_fail(r, v->key_line, "'%s' is %s; it must be at most %s", v->key, is,
                              high);
    return wf_recipe_fail(r, v->key_line, "'%s' is %s; it must be from %s to %s", v->key, is, low,
                          high);
}

/* One member of a `parameters` map; *set is false when it is null or was ignored (compat). */
static int parameter(struct wf_recipe_reader *r, const struct wf_yaml *v,
                     enum wf_recipe_level level, struct wf_value *out, bool *set)
{
    const struct wf_method *m = r->out->method;
    *set = false;
    int index = wf_method_option(m, v->key);
    if (index < 0)
        return unknown_parameter(r, v);
    if (v->kind == WF_YAML_NULL)
        return WF_OK;
    const struct wf_option *option = &m->options[index];
    if (level == WF_LEVEL_MODEL && option->where == WF_GLOBAL)
        return wf_recipe_ignore(
            r, v->key_line,
            "'%s' concerns the whole merge: it belongs in 'parameters' at the top level",
            option->name);
    if (v->kind == WF_YAML_LIST || v->kind == WF_YAML_MAP)
        return structured_value(r, v);
    *out = (struct wf_value){.name = option->name, .line = v->key_line};
    int s = option->kind == WF_OPTION_CHOICE ? choice_value(r, v, option, &out->number)
                                             : scalar_value(r, v, option, &out->number);
    if (!s)
        s = check_range(r, v, option, out->number);
    *set = !s;
    return s;
}

const struct wf_value *wf_recipe_find(const struct wf_value *values, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(values[i].name, name))
            return &values[i];
    return NULL;
}

int wf_recipe_parameters(struct wf_recipe_reader *r, const struct wf_yaml *v,
                         enum wf_recipe_level level, struct wf_value **values, size_t *n)
{
    *values = NULL;
    *n = 0;
    if (!v)
        return WF_OK;
    if (v->kind != WF_YAML_MAP)
        return wf_recipe_fail(r, v->key_line,
                              "'parameters' needs a map such as {weight: 0.5}, not %s",
                              wf_recipe_kind(v));
    size_t room = r->out->method->n_options;
    *values = wf_arena_alloc(r->arena, r->e, room, sizeof **values);
    if (!*values)
        return WF_MACHINE;
    for (size_t i = 0; i < v->n; i++) {
        struct wf_value value;
        bool set;
        int s = parameter(r, v->children[i], level, &value, &set);
        if (s)
            return s;
        if (!set)
            continue;
        if (wf_recipe_find(*values, *n, value.name))
            return wf_recipe_fail(r, value.line, "'%s' is given twice", value.name);
        (*values)[(*n)++] = value;
    }
    return wf_recipe_check_level_band(r, *values, *n);
}

int wf_recipe_check_required(struct wf_recipe_reader *r)
{
    const struct wf_recipe *recipe = r->out;
    const struct wf_method *m = recipe->method;
    for (size_t o = 0; o < m->n_options; o++) {
        const char *name = m->options[o].name;
        if (!m->options[o].required || wf_recipe_find(recipe->values, recipe->n_values, name) ||
            (recipe->coefficients && !strcmp(name, "weight")))
            continue;
        if (m->options[o].where == WF_GLOBAL)
            return wf_recipe_fail(r, recipe->method_line,
                                  "merge_method '%s' needs '%s' in 'parameters' at the top level",
                                  m->name, name);
        for (size_t i = 0; i < recipe->n_models; i++) {
            const struct wf_recipe_model *model = &recipe->models[i];
            struct wf_clip clip;
            if (wf_recipe_exempt(recipe, i) || wf_recipe_find(model->values, model->n_values, name))
                continue;
            return wf_recipe_fail(r, model->line,
                                  "model '%s' has no '%s', which merge_method '%s' needs: put it "
                                  "under the entry's 'parameters', or at the top level for all",
                                  wf_clip(model->ref.text, &clip), name, m->name);
        }
    }
    return WF_OK;
}

double wf_recipe_value(const struct wf_recipe *r, size_t option, int model, const char *tensor)
{
    const struct wf_option *o = &r->method->options[option];
    const struct wf_value *v = NULL;
    bool hidden = false;
    const double *learned = r->table && model >= 0 && !strcmp(o->name, "weight")
                                ? wf_coefficients_find(r->table, tensor)
                                : NULL;
    if (learned)
        return learned[model];
    if (model >= 0 && o->where == WF_PER_MODEL) {
        const struct wf_recipe_model *entry = &r->models[model];
        v = wf_recipe_find(entry->values, entry->n_values, o->name);
        hidden = wf_recipe_band_hides(entry, o->name);
    }
    if (!v && !hidden)
        v = wf_recipe_find(r->values, r->n_values, o->name);
    return v ? wf_value_at(v, tensor) : o->fallback;
}
