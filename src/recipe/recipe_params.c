/* recipe_params.c - `parameters`: each value against the row of the method's options table. */
#include "coefficients.h"
#include "recipe_read.h"

#include <math.h>
#include <stdio.h>
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

/* The nearest option of any other method; NULL if none is near. */
static const char *nearest_elsewhere(const char *key)
{
    for (size_t i = 0; i < wf_method_count(); i++) {
        const struct wf_method *m = wf_method_at(i);
        for (size_t k = 0; k < m->n_options; k++) {
            const char *one[] = {m->options[k].name, NULL};
            if (!strcmp(key, *one) || wf_nearest(key, one))
                return *one;
        }
    }
    return NULL;
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
    if (!*wf_did_you_mean(v->key, names, hint, sizeof hint)) {
        const char *near = nearest_elsewhere(v->key);
        if (near)
            snprintf(hint, sizeof hint, " ('%s' is one of other methods)", near);
    }
    if (!s)
        s = wf_recipe_ignore(r, v->key_line,
                             "unknown parameter '%s'%s; merge_method '%s' has: %.400s",
                             wf_clip(v->key, &clip), hint, m->name, list.text);
    wf_str_free(&list);
    return s;
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
    if ((level == WF_LEVEL_MODEL || level == WF_LEVEL_SOURCE) && option->where == WF_GLOBAL)
        return wf_recipe_ignore(
            r, v->key_line, "'%s' concerns the whole merge: it belongs in 'parameters' at %s",
            option->name,
            level == WF_LEVEL_MODEL ? "the top level" : "the slice's or the recipe's top level");
    int s = wf_recipe_read_value(r, v, option, out);
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

const struct wf_recipe_module *wf_recipe_module_of(const struct wf_recipe *r,
                                                   const struct wf_recipe_slice *slice)
{
    return slice->module < 0 ? NULL : &r->modules[slice->module];
}

const struct wf_value *wf_recipe_strongest(const struct wf_recipe *recipe,
                                           const struct wf_recipe_slice *slice,
                                           const struct wf_recipe_model *model, const char *name)
{
    const struct wf_recipe_module *module = wf_recipe_module_of(recipe, slice);
    const struct wf_value *v = model ? wf_recipe_find(model->values, model->n_values, name) : NULL;
    if (!v)
        v = wf_recipe_find(slice->values, slice->n_values, name);
    if (!v && module)
        v = wf_recipe_find(module->values, module->n_values, name);
    return v ? v : wf_recipe_find(recipe->values, recipe->n_values, name);
}

/* One required option of one slice. */
static int check_option(struct wf_recipe_reader *r, const struct wf_recipe_slice *slice,
                        const struct wf_option *option)
{
    const struct wf_recipe *recipe = r->out;
    struct wf_clip clip;
    if (option->where == WF_GLOBAL && !wf_recipe_strongest(recipe, slice, NULL, option->name))
        return wf_recipe_fail(r, recipe->method_line,
                              "merge_method '%s' needs '%s' in 'parameters' at the top level%s",
                              recipe->method->name, option->name,
                              recipe->is_sliced ? ", or in every slice" : "");
    for (size_t i = slice->first; option->where == WF_PER_MODEL && i < slice->first + slice->n;
         i++) {
        const struct wf_recipe_model *model = &recipe->models[i];
        if (!wf_recipe_exempt(recipe, i) &&
            !wf_recipe_strongest(recipe, slice, model, option->name))
            return wf_recipe_fail(r, model->line,
                                  "model '%s' has no '%s', which merge_method '%s' needs: put it "
                                  "under the entry's 'parameters', or at the top level for all",
                                  wf_clip(model->ref.text, &clip), option->name,
                                  recipe->method->name);
    }
    return WF_OK;
}

int wf_recipe_check_required(struct wf_recipe_reader *r, const struct wf_recipe_slice *slice)
{
    const struct wf_method *m = r->out->method;
    int s = WF_OK;
    for (size_t o = 0; !s && o < m->n_options; o++)
        if (m->options[o].required &&
            !(r->out->coefficients && !strcmp(m->options[o].name, "weight")))
            s = check_option(r, slice, &m->options[o]);
    return s;
}

/* ---- values for one tensor ---- */

/* Parameters of one level, with the tensor's name there. */
struct level {
    const struct wf_value *values;
    size_t n;
    const char *tensor;
};

/* Strongest first. */
static size_t levels_of(const struct wf_recipe *r, const struct wf_option *o, int model,
                        const struct wf_position *at, struct level out[4])
{
    size_t n = 0;
    const struct wf_recipe_slice *slice = &r->slices[at->slice];
    const struct wf_recipe_module *module = wf_recipe_module_of(r, slice);
    if (model >= 0 && o->where == WF_PER_MODEL)
        out[n++] = (struct level){r->models[model].values, r->models[model].n_values, at->input};
    out[n++] = (struct level){slice->values, slice->n_values, at->tensor};
    if (module)
        out[n++] = (struct level){module->values, module->n_values, at->tensor};
    out[n++] = (struct level){r->values, r->n_values, at->tensor};
    return n;
}

double wf_recipe_value(const struct wf_recipe *r, size_t option, int model,
                       const struct wf_position *at)
{
    static const struct wf_position anywhere = {.tensor = "", .input = ""};
    const struct wf_option *o = &r->method->options[option];
    struct level levels[4];
    double number;
    at = at ? at : &anywhere;
    const double *learned = r->table && model >= 0 && !strcmp(o->name, "weight")
                                ? wf_coefficients_find(r->table, at->tensor)
                                : NULL;
    if (learned)
        return learned[model];
    size_t n = levels_of(r, o, model, at, levels);
    for (size_t i = 0; i < n; i++) {
        const struct wf_value *v = wf_recipe_find(levels[i].values, levels[i].n, o->name);
        if (v && wf_value_at(v, levels[i].tensor, at->t, &number))
            return number;
        if (wf_recipe_band_hides(levels[i].values, levels[i].n, o->name))
            break;
    }
    return o->required ? (double)NAN : o->fallback;
}
