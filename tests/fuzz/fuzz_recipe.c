/* fuzz_recipe.c - any bytes as a recipe, both dialects: a recipe that holds together, or one line.
 */
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/log.h"
#include "../../src/base/str.h"
#include "../../src/recipe/recipe.h"
#include "check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool is_choice(const struct wf_option *o, double number)
{
    size_t n = 0;
    while (o->choices[n])
        n++;
    return number >= 0 && number < (double)n && number == floor(number);
}

/* Every case of a value, and what it comes to between its numbers. */
static void check_value(const struct wf_option *o, const struct wf_value *v)
{
    double number;
    CHECK(v->n_cases > 0 && v->line > 0);
    for (size_t i = 0; i < v->n_cases; i++) {
        const struct wf_value_case *c = &v->cases[i];
        CHECK(c->n > 0 && (!c->filter || wf_glob_valid(c->filter)));
        for (size_t k = 0; k < c->n; k++) {
            CHECK(isfinite(c->numbers[k]));
            if (o->kind == WF_OPTION_CHOICE)
                CHECK(is_choice(o, c->numbers[k]));
            else
                CHECK(c->numbers[k] >= o->min && c->numbers[k] <= o->max);
        }
    }
    for (int k = 0; k <= 4; k++)
        CHECK(!wf_value_at(v, "model.layers.0.mlp", k / 4.0, &number) || !isnan(number));
}

static void check_values(const struct wf_method *m, const struct wf_value *values, size_t n,
                         bool of_model)
{
    CHECK(n <= m->n_options);
    for (size_t i = 0; i < n; i++) {
        int option = wf_method_option(m, values[i].name);
        CHECK(option >= 0);
        check_value(&m->options[option], &values[i]);
        CHECK(!of_model || m->options[option].where == WF_PER_MODEL);
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(values[k].name, values[i].name) != 0);
    }
}

static void check_reference(const struct wf_reference *r)
{
    CHECK(r->text[0] && r->model[0] && (!r->adapter || r->adapter[0]) && r->line > 0);
    for (const char *c = r->text; *c; c++)
        CHECK((unsigned char)*c >= 0x20);
}

static void check_patterns(const char *const *patterns)
{
    size_t n = 0;
    for (; patterns && patterns[n]; n++)
        CHECK(patterns[n][0] && wf_glob_valid(patterns[n]));
    CHECK(!patterns || n > 0);
}

static bool has_value(const struct wf_value *values, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(values[i].name, name))
            return true;
    return false;
}

static void check_model(const struct wf_recipe *r, const struct wf_recipe_slice *slice, size_t i)
{
    const struct wf_method *m = r->method;
    const struct wf_recipe_model *model = &r->models[i];
    const struct wf_recipe_module *module = wf_recipe_module_of(r, slice);
    struct wf_position at = {.tensor = "t", .input = "u", .slice = model->slice};
    check_reference(&model->ref);
    CHECK(model->task[0] && !strchr(model->task, '/') && !strstr(model->task, ".."));
    CHECK(&r->slices[model->slice] == slice);
    check_values(m, model->values, model->n_values, true);
    for (size_t o = 0; o < m->n_options; o++) {
        const char *name = m->options[o].name;
        bool given = has_value(r->values, r->n_values, name) ||
                     has_value(slice->values, slice->n_values, name) ||
                     (module && has_value(module->values, module->n_values, name)) ||
                     (m->options[o].where == WF_PER_MODEL &&
                      has_value(model->values, model->n_values, name));
        double v = wf_recipe_value(r, o, (int)i, &at);
        double fallback = m->options[o].fallback; /* NaN: none */
        CHECK(given || v == fallback || isnan(fallback) || m->options[o].required);
        CHECK(given || wf_recipe_exempt(r, i) || slice->is_lone || !m->options[o].required);
    }
}

static void check_slices(const struct wf_recipe *r)
{
    const struct wf_method *m = r->method;
    size_t next = 0;
    CHECK(r->n_models > 0 && r->n_slices > 0);
    for (size_t k = 0; k < r->n_slices; k++) {
        const struct wf_recipe_slice *slice = &r->slices[k];
        size_t inputs = 0;
        CHECK(slice->first == next && slice->n > 0 && slice->n <= WF_MODELS_MAX);
        CHECK(slice->module >= -1 && slice->module < (int)r->n_modules);
        check_values(m, slice->values, slice->n_values, false);
        for (size_t i = slice->first; i < slice->first + slice->n; i++) {
            inputs += !wf_recipe_exempt(r, i);
            check_model(r, slice, i);
        }
        CHECK(slice->is_lone || (inputs >= m->min_models && inputs <= m->max_models));
        next += slice->n;
    }
    CHECK(next == r->n_models);
}

static void check_recipe(const struct wf_recipe *r, const uint8_t *data, size_t n)
{
    CHECK(r->method && r->method_line > 0 && !strcmp(r->folder, "dir"));
    CHECK(r->text_n == n && (n == 0 || !memcmp(r->text, data, n)));
    CHECK(r->has_base || r->is_sliced || r->method->base != WF_BASE_REQUIRED);
    CHECK(r->has_base || !r->include);
    CHECK(r->dtype == WF_DTYPE_NONE || wf_dtype_info(r->dtype)->arithmetic);
    if (r->has_base)
        check_reference(&r->base);
    check_values(r->method, r->values, r->n_values, false);
    check_patterns(r->include);
    check_patterns(r->exclude);
    check_slices(r);
}

/* Parses and checks; returns the number of models, 0 if the recipe was refused. */
static size_t parse(const uint8_t *data, size_t n, bool compat)
{
    static const char path[] = "dir/r.yaml";
    struct wf_err e = {0};
    struct wf_arena a = {0};
    struct wf_recipe r;
    size_t models = 0;
    int s = wf_recipe_parse(&e, &a, path, (const char *)data, n, compat, &r);
    CHECK(s == wf_err_status(&e));
    if (s == WF_OK) {
        check_recipe(&r, data, n);
        models = r.n_models;
    } else {
        CHECK(s == WF_USAGE && wf_starts_with(e.text, "dir/r.yaml:"));
        CHECK(e.text[sizeof path] >= '0' && e.text[sizeof path] <= '9');
        CHECK(!strchr(e.text, '\n') && wf_utf8_valid(e.text, strlen(e.text), NULL));
    }
    wf_arena_destroy(&a);
    return models;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    wf_log_set_level(WF_LOG_ERROR);
    size_t models = parse(data, n, false);
    /* What the strict dialect takes, mergekit's takes too. */
    size_t loose = parse(data, n, true);
    CHECK(models == 0 || models == loose);
    return 0;
}
