/* recipe_models.c - `models`, and the references in it and in `base_model`.
 *
 * A reference is a text, or mergekit's map in one of three nestings:
 *
 *     model: org/name@revision
 *     model: {path: org/name, revision: main}
 *     model: {model: {path: org/name, revision: main}, lora: {path: org/adapter}}
 */
#include "recipe_read.h"

#include <stdio.h>
#include <string.h>

#include "../base/log.h"
#include "../base/str.h"

/* {path, revision}: a path taken letter by letter, no '+' in it is special. */
static int path_map(struct wf_recipe_reader *r, const struct wf_yaml *map, const char *key,
                    struct wf_reference *out)
{
    static const char *const keys[] = {"path", "revision", NULL};
    int s = wf_recipe_check_map(r, map, keys,
                                "the reference of '%s'; it holds 'path' and 'revision'", key);
    if (s)
        return s;
    const struct wf_yaml *path = wf_yaml_get(map, "path");
    const struct wf_yaml *revision = wf_recipe_get(map, "revision");
    if (!path)
        return wf_recipe_fail(r, map->line, "the reference of '%s' has no 'path'", key);
    const char *text, *at;
    s = wf_recipe_text(r, path, "path", &text);
    if (s)
        return s;
    if (revision) {
        s = wf_recipe_text(r, revision, "revision", &at);
        if (s)
            return s;
        if (strchr(text, '@') || strchr(at, '@'))
            return wf_recipe_fail(r, wf_recipe_line(path),
                                  "'path' and 'revision' hold no '@': the one is followed by the "
                                  "other");
        text = wf_arena_printf(r->arena, r->e, "%s@%s", text, at);
        if (!text)
            return WF_MACHINE;
    }
    *out = (struct wf_reference){.text = text, .model = text, .line = wf_recipe_line(path)};
    return WF_OK;
}

static int reference_text(struct wf_recipe_reader *r, const struct wf_yaml *v, const char *key,
                          struct wf_reference *out)
{
    const char *text;
    int s = wf_recipe_text(r, v, key, &text);
    if (s)
        return s;
    s = wf_reference_parse(r->e, r->arena, r->path, wf_recipe_line(v), text, r->exists,
                           r->exists_arg, out);
    return s;
}

/* One part of the full form: a text, or {path, revision}. */
static int part_map(struct wf_recipe_reader *r, const struct wf_yaml *v, const char *key,
                    struct wf_reference *out)
{
    if (v->kind == WF_YAML_MAP)
        return path_map(r, v, key, out);
    return reference_text(r, v, key, out);
}

/* What `lora` names goes on top of the model, as behind a '+'. */
static int add_lora(struct wf_recipe_reader *r, const struct wf_yaml *v, struct wf_reference *out)
{
    struct wf_reference top;
    struct wf_clip clip;
    int s = part_map(r, v, "lora", &top);
    if (s)
        return s;
    if (top.adapter || out->adapter)
        return wf_recipe_fail(r, v->key_line,
                              "'%s' has an adapter and 'lora' as well; one goes on top of a model",
                              wf_clip(top.adapter ? top.text : out->text, &clip));
    out->adapter = top.model;
    out->is_path = false; /* `model` alone may be one; the whole text is none any more */
    out->text = wf_arena_printf(r->arena, r->e, "%s+%s", out->model, top.model);
    return out->text ? WF_OK : WF_MACHINE;
}

/* {model, lora, override_architecture}, the outer map of mergekit's full form. */
static int full_map(struct wf_recipe_reader *r, const struct wf_yaml *map, const char *key,
                    struct wf_reference *out)
{
    static const char *const keys[] = {"model", "lora", "override_architecture", NULL};
    int s = wf_recipe_check_map(r, map, keys, "the reference of '%s'", key);
    if (s)
        return s;
    const struct wf_yaml *lora = wf_recipe_get(map, "lora");
    const struct wf_yaml *architecture = wf_recipe_get(map, "override_architecture");
    s = part_map(r, wf_yaml_get(map, "model"), "model", out);
    if (!s && lora)
        s = add_lora(r, lora, out);
    if (!s && architecture)
        s = wf_recipe_text(r, architecture, "override_architecture", &out->architecture);
    return s;
}

/* The stage that `text` names whole, -1 if there is none. */
static long find_stage(const struct wf_stage_names *stages, const char *text)
{
    for (size_t i = 0; stages && i < stages->n; i++)
        if (stages->names[i] && !strcmp(stages->names[i], text))
            return (long)i;
    return -1;
}

/* The model of a reference may be another stage's result. Its name comes before a folder's. */
static void see_stage(struct wf_recipe_reader *r, struct wf_reference *ref)
{
    long stage = find_stage(r->stages, ref->model);
    if (stage < 0)
        return;
    struct wf_clip clip;
    ref->stage = r->stages->names[stage];
    if (!r->stages->used[stage])
        r->stages->used[stage] = ref->line;
    if (r->exists && r->exists(r->exists_arg, ref->model))
        wf_log(WF_LOG_WARNING, "%s:%d: '%s' is the stage of line %d, not what is there as a path",
               r->path, ref->line, wf_clip(ref->model, &clip), r->stages->lines[stage]);
}

int wf_recipe_reference(struct wf_recipe_reader *r, const struct wf_yaml *v, const char *key,
                        struct wf_reference *out)
{
    int s;
    if (v->kind == WF_YAML_LIST)
        return wf_recipe_fail(r, wf_recipe_line(v), "'%s' needs one model, not a list", key);
    if (v->kind == WF_YAML_SCALAR && find_stage(r->stages, v->text) >= 0) {
        *out = (struct wf_reference){.text = v->text, .model = v->text, .line = wf_recipe_line(v)};
        s = WF_OK;
    } else if (v->kind != WF_YAML_MAP) {
        s = reference_text(r, v, key, out);
    } else {
        s = wf_yaml_get(v, "model") ? full_map(r, v, key, out) : path_map(r, v, key, out);
    }
    if (!s)
        see_stage(r, out);
    return s;
}

/* Names go into reports and file names. */
static int task_name(struct wf_recipe_reader *r, const struct wf_yaml *v, const char **out)
{
    int s = wf_recipe_text(r, v, "name", out);
    struct wf_clip clip;
    if (!s && (strchr(*out, '/') || strstr(*out, "..")))
        return wf_recipe_fail(r, wf_recipe_line(v),
                              "'name' is '%s': a task's name holds no '/' and no '..'",
                              wf_clip(*out, &clip));
    return s;
}

/* Same text, trailing slashes aside: the plan compares what the texts resolve to. */
static bool same_path(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    while (n > 1 && a[n - 1] == '/')
        n--;
    while (m > 1 && b[m - 1] == '/')
        m--;
    return n == m && !memcmp(a, b, n);
}

bool wf_recipe_same_reference(const struct wf_reference *a, const struct wf_reference *b)
{
    bool adapters = a->adapter && b->adapter && same_path(a->adapter, b->adapter);
    return same_path(a->model, b->model) && (adapters || (!a->adapter && !b->adapter));
}

/* What an entry at this level is called, and what it looks like. */
static int entry_kind(struct wf_recipe_reader *r, const struct wf_yaml *v,
                      enum wf_recipe_level level)
{
    const char *list = level == WF_LEVEL_MODEL ? "models" : "sources";
    struct wf_clip clip;
    if (v->kind == WF_YAML_SCALAR)
        return wf_recipe_fail(r, v->line, "an entry of '%s' is a map: write '- model: %s'", list,
                              wf_clip(v->text, &clip));
    if (v->kind != WF_YAML_MAP)
        return wf_recipe_fail(r, v->line, "an entry of '%s' is a map such as {model: PATH}, not %s",
                              list, wf_recipe_kind(v));
    int s = wf_recipe_check_keys(r, v, level, r->out->method);
    if (!s && !wf_yaml_get(v, "model"))
        s = wf_recipe_fail(r, v->line, "an entry of '%s' has no 'model'", list);
    return s;
}

int wf_recipe_entry(struct wf_recipe_reader *r, const struct wf_yaml *v, enum wf_recipe_level level,
                    const struct wf_reference *base, struct wf_recipe_model *out)
{
    int s = entry_kind(r, v, level);
    if (s)
        return s;
    const struct wf_yaml *model = wf_yaml_get(v, "model"), *name = wf_recipe_get(v, "name");
    out->line = wf_recipe_line(model);
    out->name_line = name ? wf_recipe_line(name) : 0;
    s = wf_recipe_reference(r, model, "model", &out->ref);
    if (!s)
        s = name ? task_name(r, name, &out->task)
                 : wf_reference_task_name(r->e, r->arena, &out->ref, &out->task);
    if (!s)
        s = wf_recipe_parameters(r, wf_recipe_get(v, "parameters"), level, &out->values,
                                 &out->n_values);
    out->is_base = base && !s && wf_recipe_same_reference(&out->ref, base);
    return s;
}

/* A name that was given tells one entry from the others; derived ones may be equal. */
static int check_names(struct wf_recipe_reader *r, const struct wf_recipe_slice *slice)
{
    const struct wf_recipe_model *models = r->out->models;
    struct wf_clip clip;
    for (size_t i = slice->first; i < slice->first + slice->n; i++) {
        for (size_t k = slice->first; models[i].name_line && k < i; k++)
            if (models[k].name_line && !strcmp(models[k].task, models[i].task))
                return wf_recipe_fail(r, models[i].name_line,
                                      "a second model with the name '%s' (first on line %d); give "
                                      "each its own",
                                      wf_clip(models[i].task, &clip), models[k].name_line);
    }
    return WF_OK;
}

/* Entries that are inputs of the method, against what it takes. */
static int check_count(struct wf_recipe_reader *r, const struct wf_recipe_slice *slice)
{
    const struct wf_recipe *recipe = r->out;
    const struct wf_method *m = recipe->method;
    const struct wf_recipe_model *base = NULL; /* an entry that is it */
    size_t n = 0;
    for (size_t i = slice->first; i < slice->first + slice->n; i++)
        if (wf_recipe_exempt(recipe, i))
            base = &recipe->models[i];
        else
            n++;
    if (n >= m->min_models && n <= m->max_models)
        return WF_OK;
    bool few = n < m->min_models, besides = base || (m->base != WF_BASE_NONE && recipe->has_base);
    unsigned limit = few ? m->min_models : m->max_models;
    const char *bound = m->min_models == m->max_models ? "exactly" : few ? "at least" : "at most";
    char aside[128] = "";
    struct wf_clip clip;
    if (few && base) /* told where it stands: it was perhaps meant as a model */
        snprintf(aside, sizeof aside, " ('%s' on line %d is the base itself)",
                 wf_clip(base->ref.text, &clip), base->line);
    return wf_recipe_fail(r, slice->line, "merge_method '%s' takes %s %u model%s%s; here are %zu%s",
                          m->name, bound, limit, limit == 1 ? "" : "s",
                          besides ? " besides the base" : "", n, aside);
}

/* Parameters of the base's own entry are legal in the dialect and mean nothing: say so. */
static void warn_of_base_parameters(struct wf_recipe_reader *r, const struct wf_recipe_slice *slice)
{
    for (size_t i = slice->first; i < slice->first + slice->n; i++) {
        const struct wf_recipe_model *m = &r->out->models[i];
        if (m->n_values && wf_recipe_exempt(r->out, i))
            wf_log(WF_LOG_WARNING,
                   "%s:%d: '%s' has no effect here: this entry is the base of '%s' itself", r->path,
                   m->values[0].line, m->values[0].name, r->out->method->name);
    }
}

int wf_recipe_check_slice(struct wf_recipe_reader *r, const struct wf_recipe_slice *slice)
{
    int s = check_names(r, slice);
    if (!s)
        s = check_count(r, slice);
    if (!s)
        s = wf_recipe_check_required(r, slice);
    if (!s)
        s = wf_recipe_check_bands(r, slice);
    if (!s)
        warn_of_base_parameters(r, slice);
    return s;
}

int wf_recipe_models(struct wf_recipe_reader *r, const struct wf_yaml *list, int module)
{
    struct wf_recipe *recipe = r->out;
    int line = list->key_line, s = WF_OK;
    if (list->kind != WF_YAML_LIST)
        return wf_recipe_fail(r, line, "'models' needs a list of '- model: PATH' entries, not %s",
                              wf_recipe_kind(list));
    if (list->n == 0)
        return wf_recipe_fail(r, line, "'models' is an empty list");
    if (recipe->method->base == WF_BASE_REQUIRED && !recipe->has_base)
        return wf_recipe_fail(r, recipe->method_line, "merge_method '%s' needs 'base_model'",
                              recipe->method->name);
    size_t most = WF_MODELS_MAX - (recipe->method->base != WF_BASE_NONE && recipe->has_base);
    if (list->n > most)
        return wf_recipe_fail(r, line, "'models' has %zu entries; at most %zu are taken", list->n,
                              most);
    struct wf_recipe_slice *slice = &recipe->slices[recipe->n_slices];
    *slice = (struct wf_recipe_slice){.first = recipe->n_models, .module = module, .line = line};
    for (; !s && slice->n < list->n; slice->n++) {
        struct wf_recipe_model *model = &recipe->models[recipe->n_models++];
        s = wf_recipe_entry(r, list->children[slice->n], WF_LEVEL_MODEL,
                            recipe->has_base ? &recipe->base : NULL, model);
        model->slice = recipe->n_slices;
    }
    recipe->n_slices++;
    return s ? s : wf_recipe_check_slice(r, slice);
}
