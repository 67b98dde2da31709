/* recipe_value.c - one parameter of a recipe in any of the forms of value.h, against the row of the
 * method's options table.
 */
#include "recipe_read.h"

#include <math.h>
#include <string.h>

#include "../base/num.h"
#include "../base/str.h"

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
static int scalar_number(struct wf_recipe_reader *r, const struct wf_yaml *v,
                         const struct wf_option *option, double *out)
{
    struct wf_clip clip;
    bool truth, is_switch = option->kind == WF_OPTION_BOOL;
    const char *wanted = is_switch ? "true or false" : "a finite number";
    int line = wf_recipe_line(v);
    if (is_quoted_truth(v))
        return wf_recipe_fail(r, line, "'%s' needs %s: write %s without quotes", option->name,
                              wanted, wf_clip(v->text, &clip));
    bool good = is_number(v, out) && isfinite(*out);
    if (!good && wf_yaml_bool(v, &truth)) {
        *out = truth;
        good = true;
    }
    if (!good || (is_switch && *out != 0 && *out != 1))
        return wf_recipe_fail(r, line, "'%s' needs %s, not '%s'", option->name, wanted,
                              wf_clip(v->text, &clip));
    return WF_OK;
}

/* One of the option's words, plain or in quotes; its place among them. */
static int choice_number(struct wf_recipe_reader *r, const struct wf_yaml *v,
                         const struct wf_option *option, double *out)
{
    for (size_t i = 0; option->choices[i]; i++)
        if (!strcmp(option->choices[i], v->text)) {
            *out = (double)i;
            return WF_OK;
        }
    struct wf_clip clip;
    char hint[128], list[WF_CHOICES_TEXT];
    return wf_recipe_fail(r, wf_recipe_line(v), "'%s' is '%s'%s; it must be %s", option->name,
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
    int line = wf_recipe_line(v);
    wf_format_f64(number, is);
    wf_format_f64(option->min, low);
    wf_format_f64(option->max, high);
    if (isinf(option->max))
        return wf_recipe_fail(r, line, "'%s' is %s; it must be at least %s", option->name, is, low);
    if (isinf(option->min))
        return wf_recipe_fail(r, line, "'%s' is %s; it must be at most %s", option->name, is, high);
    return wf_recipe_fail(r, line, "'%s' is %s; it must be from %s to %s", option->name, is, low,
                          high);
}

static int one_number(struct wf_recipe_reader *r, const struct wf_yaml *v,
                      const struct wf_option *option, double *out)
{
    if (v->kind != WF_YAML_SCALAR)
        return wf_recipe_fail(r, wf_recipe_line(v),
                              "'%s' needs a value, a list of values (a gradient over the layers) "
                              "or {filter, value} entries, not %s%s",
                              option->name, wf_recipe_kind(v),
                              v->kind == WF_YAML_NULL ? "" : " in a list of values");
    int s = option->kind == WF_OPTION_CHOICE ? choice_number(r, v, option, out)
                                             : scalar_number(r, v, option, out);
    return s ? s : check_range(r, v, option, *out);
}

/* A value, or a gradient. */
static int numbers(struct wf_recipe_reader *r, const struct wf_yaml *v,
                   const struct wf_option *option, struct wf_value_case *out)
{
    bool single = v->kind != WF_YAML_LIST;
    size_t n = single ? 1 : v->n;
    if (!single && option->kind == WF_OPTION_CHOICE)
        return wf_recipe_fail(r, wf_recipe_line(v), "'%s' needs one word, not a list",
                              option->name);
    if (n == 0)
        return wf_recipe_fail(r, wf_recipe_line(v),
                              "'%s' is an empty list; a gradient has at least one value",
                              option->name);
    double *list = wf_arena_alloc(r->arena, r->e, n, sizeof *list);
    if (!list)
        return WF_MACHINE;
    out->numbers = list;
    out->n = n;
    int s = WF_OK;
    for (size_t i = 0; !s && i < n; i++)
        s = one_number(r, single ? v : v->children[i], option, &list[i]);
    return s;
}

static int filter_text(struct wf_recipe_reader *r, const struct wf_yaml *v, const char **out)
{
    struct wf_clip clip;
    int s = wf_recipe_text(r, v, "filter", out);
    if (!s && !wf_glob_valid(*out))
        return wf_recipe_fail(r, wf_recipe_line(v), "the filter '%s' has a '[' without its ']'",
                              wf_clip(*out, &clip));
    return s;
}

/* {filter, value}; without a filter, for every tensor. */
static int filtered(struct wf_recipe_reader *r, const struct wf_yaml *v,
                    const struct wf_option *option, struct wf_value_case *out)
{
    static const char *const keys[] = {"filter", "value", NULL};
    if (v->kind != WF_YAML_MAP)
        return wf_recipe_fail(r, wf_recipe_line(v),
                              "'%s' has {filter, value} entries and %s among them; give each value "
                              "its entry",
                              option->name, wf_recipe_kind(v));
    int s = wf_recipe_check_map(r, v, keys, "an entry of '%s'; it holds 'filter' and 'value'",
                                option->name);
    if (s)
        return s;
    const struct wf_yaml *filter = wf_recipe_get(v, "filter"), *value = wf_recipe_get(v, "value");
    if (!value)
        return wf_recipe_fail(r, v->line, "an entry of '%s' has no 'value'", option->name);
    s = filter ? filter_text(r, filter, &out->filter) : WF_OK;
    return s ? s : numbers(r, value, option, out);
}

int wf_recipe_read_value(struct wf_recipe_reader *r, const struct wf_yaml *v,
                         const struct wf_option *option, struct wf_value *out)
{
    bool is_list = v->kind == WF_YAML_LIST && v->n && v->children[0]->kind == WF_YAML_MAP;
    bool has_filters = is_list || v->kind == WF_YAML_MAP;
    size_t n = is_list ? v->n : 1;
    struct wf_value_case *cases = wf_arena_alloc(r->arena, r->e, n, sizeof *cases);
    if (!cases)
        return WF_MACHINE;
    *out = (struct wf_value){.name = option->name,
                             .cases = cases,
                             .n_cases = n,
                             .steps = option->kind != WF_OPTION_NUMBER,
                             .line = wf_recipe_line(v)};
    int s = has_filters ? WF_OK : numbers(r, v, option, &cases[0]);
    for (size_t i = 0; !s && has_filters && i < n; i++)
        s = filtered(r, is_list ? v->children[i] : v, option, &cases[i]);
    return s;
}
