/* recipe_slices.c - which entries make which part of the result: `models`, `slices`, `modules`.
 *
 *     slices:                              modules:
 *       - sources:                           text_decoder: {slices: [...]}
 *           - model: a                       vision_tower: {models: [...]}
 *             layer_range: [0, 24]
 *         parameters: {...}
 *
 * A method that takes a base has it among a slice's sources; where it is not listed there, it joins
 * with the layers that all sources have.
 */
#include "recipe_read.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"

#define SLICES_MAX 4096u
#define LAYERS_MAX 1000000u

/* ---- layer_range ---- */

static int range_end(struct wf_recipe_reader *r, const struct wf_yaml *v, uint32_t *out)
{
    double number;
    struct wf_clip clip;
    if (v->kind != WF_YAML_SCALAR || !wf_yaml_number(v, &number) ||
        number != (double)(long long)number)
        return wf_recipe_fail(r, wf_recipe_line(v), "'layer_range' holds whole numbers, not %s",
                              v->kind == WF_YAML_SCALAR ? wf_clip(v->text, &clip)
                                                        : wf_recipe_kind(v));
    if (number < 0 || number > LAYERS_MAX)
        return wf_recipe_fail(r, wf_recipe_line(v),
                              "'layer_range' has %s; layers count from 0, and the second number is "
                              "the first layer that is left out",
                              wf_clip(v->text, &clip));
    *out = (uint32_t)number;
    return WF_OK;
}

/* [first, behind the last] */
static int layer_range(struct wf_recipe_reader *r, const struct wf_yaml *source,
                       struct wf_recipe_model *model, uint32_t *n_layers)
{
    const struct wf_yaml *v = wf_recipe_get(source, "layer_range");
    uint32_t to = 0;
    if (!v)
        return wf_recipe_fail(r, source->line,
                              "a source has no 'layer_range', such as [0, 16] for the first 16 "
                              "layers");
    if (v->kind != WF_YAML_LIST || v->n != 2)
        return wf_recipe_fail(
            r, v->key_line, "'layer_range' needs two numbers such as [0, 16], not %s",
            v->kind == WF_YAML_LIST ? "another count of them" : wf_recipe_kind(v));
    int s = range_end(r, v->children[0], &model->layer_from);
    if (!s)
        s = range_end(r, v->children[1], &to);
    if (!s && to < model->layer_from)
        s = wf_recipe_fail(r, v->key_line, "'layer_range' ends before it begins: [%u, %u]",
                           model->layer_from, to);
    *n_layers = to - model->layer_from;
    return s;
}

/* ---- one slice ---- */

static int sources(struct wf_recipe_reader *r, const struct wf_yaml *list,
                   const struct wf_reference *base, struct wf_recipe_slice *slice)
{
    struct wf_recipe *recipe = r->out;
    bool has_base = false;
    for (size_t i = 0; i < list->n; i++) {
        struct wf_recipe_model *model = &recipe->models[recipe->n_models];
        uint32_t n = 0;
        int s = wf_recipe_entry(r, list->children[i], WF_LEVEL_SOURCE, base, model);
        if (!s)
            s = layer_range(r, list->children[i], model, &n);
        if (!s && i && n != slice->n_layers)
            s = wf_recipe_fail(r, model->line,
                               "the sources of a slice have equally many layers; this one has %u, "
                               "the first has %u",
                               n, slice->n_layers);
        if (s)
            return s;
        model->slice = recipe->n_slices;
        model->is_base &= !has_base; /* other layers of the same model are an input */
        has_base |= model->is_base;
        slice->n_layers = n;
        slice->n++;
        recipe->n_models++;
    }
    return WF_OK;
}

/* A base that the method takes and the slice does not list joins with the layers of the others. */
static int join_base(struct wf_recipe_reader *r, const struct wf_reference *base,
                     struct wf_recipe_slice *slice)
{
    struct wf_recipe *recipe = r->out;
    const struct wf_recipe_model *first = &recipe->models[slice->first];
    struct wf_clip clip;
    if (!base || recipe->method->base == WF_BASE_NONE)
        return WF_OK;
    for (size_t i = 0; i < slice->n; i++)
        if (first[i].is_base)
            return WF_OK;
    for (size_t i = 1; i < slice->n; i++)
        if (first[i].layer_from != first->layer_from)
            return wf_recipe_fail(r, slice->line,
                                  "list '%s', the base_model, among the 'sources' of this slice, "
                                  "with its 'layer_range': the others have different layers",
                                  wf_clip(base->text, &clip));
    recipe->models[recipe->n_models++] = (struct wf_recipe_model){.ref = *base,
                                                                  .task = "base",
                                                                  .is_base = true,
                                                                  .slice = recipe->n_slices,
                                                                  .layer_from = first->layer_from,
                                                                  .line = base->line};
    slice->n++;
    return WF_OK;
}

/* The base alone, or one source for a method that takes exactly two models: the slice is that
 * source, as mergekit has it. */
static bool is_lone(const struct wf_recipe *recipe, const struct wf_recipe_slice *slice)
{
    const struct wf_method *m = recipe->method;
    unsigned takes = m->max_models + (m->base == WF_BASE_REQUIRED);
    bool of_two = m->min_models == m->max_models && takes == 2;
    return slice->n == 1 && (of_two || wf_recipe_exempt(recipe, slice->first));
}

static int check_sources(struct wf_recipe_reader *r, const struct wf_yaml *v)
{
    if (v->kind != WF_YAML_MAP)
        return wf_recipe_fail(r, v->line, "an entry of 'slices' is a map with 'sources', not %s",
                              wf_recipe_kind(v));
    int s = wf_recipe_check_keys(r, v, WF_LEVEL_SLICE, r->out->method);
    const struct wf_yaml *list = wf_yaml_get(v, "sources");
    if (s)
        return s;
    if (!list)
        return wf_recipe_fail(r, v->line, "an entry of 'slices' has no 'sources'");
    if (list->kind != WF_YAML_LIST || list->n == 0)
        return wf_recipe_fail(r, list->key_line,
                              "'sources' needs a list of {model: PATH, layer_range: [0, 16]} "
                              "entries");
    if (list->n >= WF_MODELS_MAX)
        return wf_recipe_fail(r, list->key_line, "'sources' has %zu entries; at most %u are taken",
                              list->n, WF_MODELS_MAX - 1);
    return WF_OK;
}

static int one_slice(struct wf_recipe_reader *r, const struct wf_yaml *v, int module)
{
    struct wf_recipe *recipe = r->out;
    int s = check_sources(r, v);
    if (s)
        return s;
    const struct wf_yaml *own = wf_recipe_get(v, "base_model");
    struct wf_reference own_base;
    const struct wf_reference *base = own ? &own_base : recipe->has_base ? &recipe->base : NULL;
    struct wf_recipe_slice *slice = &recipe->slices[recipe->n_slices];
    *slice = (struct wf_recipe_slice){
        .first = recipe->n_models, .has_layers = true, .module = module, .line = v->line};
    if (own)
        s = wf_recipe_reference(r, own, "base_model", &own_base);
    if (!s && !base && recipe->method->base == WF_BASE_REQUIRED)
        s = wf_recipe_fail(r, v->line, "merge_method '%s' needs 'base_model'",
                           recipe->method->name);
    if (!s)
        s = wf_recipe_parameters(r, wf_recipe_get(v, "parameters"), WF_LEVEL_SLICE, &slice->values,
                                 &slice->n_values);
    if (!s)
        s = sources(r, wf_yaml_get(v, "sources"), base, slice);
    slice->is_lone = !s && is_lone(recipe, slice);
    if (!s && !slice->is_lone)
        s = join_base(r, base, slice);
    recipe->n_slices++;
    return s || slice->is_lone ? s : wf_recipe_check_slice(r, slice);
}

/* ---- lists of slices ---- */

/* Of the slices from `first` on, which make one stack. A slice without layers says only where the
 * tensors before or behind the layers come from. */
static int check_stack(struct wf_recipe_reader *r, size_t first)
{
    const struct wf_recipe *recipe = r->out;
    uint64_t total = 0;
    for (size_t i = first; i < recipe->n_slices; i++) {
        const struct wf_recipe_slice *slice = &recipe->slices[i];
        total += slice->n_layers;
        bool is_end = recipe->n_slices - first > 1 && (i == first || i == recipe->n_slices - 1);
        if (slice->n_layers == 0 && !is_end)
            return wf_recipe_fail(r, slice->line,
                                  "a slice without layers: its 'layer_range' is empty");
    }
    if (total == 0)
        return wf_recipe_fail(r, recipe->slices[first].line, "the slices have no layers");
    if (total > LAYERS_MAX)
        return wf_recipe_fail(r, recipe->slices[first].line, "the slices have %llu layers",
                              (unsigned long long)total);
    return WF_OK;
}

static int slices(struct wf_recipe_reader *r, const struct wf_yaml *list, int module)
{
    size_t first = r->out->n_slices;
    if (list->kind != WF_YAML_LIST || list->n == 0)
        return wf_recipe_fail(r, list->key_line,
                              "'slices' needs a list of entries with 'sources', not %s",
                              list->kind == WF_YAML_LIST ? "an empty one" : wf_recipe_kind(list));
    r->out->is_sliced = true;
    for (size_t i = 0; i < list->n; i++) {
        int s = one_slice(r, list->children[i], module);
        if (s)
            return s;
    }
    return check_stack(r, first);
}

/* ---- the document ---- */

/* Exactly one of the keys that say what the result is made from; NULL after an error. */
static const struct wf_yaml *only_part(struct wf_recipe_reader *r, const struct wf_yaml *map,
                                       const char *const *keys, const char *whose)
{
    const struct wf_yaml *part = NULL;
    for (size_t i = 0; keys[i]; i++) {
        const struct wf_yaml *v = wf_recipe_get(map, keys[i]);
        if (v && part) {
            wf_recipe_fail(r, v->key_line, "%s has '%s' and '%s'; it is made from one of them",
                           whose, part->key, v->key);
            return NULL;
        }
        part = v ? v : part;
    }
    const struct wf_yaml *empty = part ? NULL : wf_yaml_get(map, keys[0]);
    if (empty)
        wf_recipe_fail(r, empty->key_line, "'%s' has no value", keys[0]);
    else if (!part)
        wf_recipe_fail(r, map->line, "%s has no 'models'%s", whose,
                       keys[2] ? " (and no 'slices' or 'modules')" : " and no 'slices'");
    return part;
}

static int part_of(struct wf_recipe_reader *r, const struct wf_yaml *v, int module)
{
    return !strcmp(v->key, "models") ? wf_recipe_models(r, v, module) : slices(r, v, module);
}

static int one_module(struct wf_recipe_reader *r, const struct wf_yaml *v)
{
    static const char *const keys[] = {"models", "slices", NULL};
    struct wf_recipe *recipe = r->out;
    struct wf_recipe_module *module = &recipe->modules[recipe->n_modules];
    struct wf_clip clip;
    if (v->kind != WF_YAML_MAP)
        return wf_recipe_fail(r, v->key_line,
                              "the module '%s' is a map with 'models' or 'slices', not %s",
                              wf_clip(v->key, &clip), wf_recipe_kind(v));
    int s = wf_recipe_check_keys(r, v, WF_LEVEL_MODULE, recipe->method);
    if (s)
        return s;
    const struct wf_yaml *part = only_part(r, v, keys, "the module");
    if (!part)
        return WF_USAGE;
    *module = (struct wf_recipe_module){.name = wf_arena_strdup(r->arena, r->e, v->key),
                                        .line = v->key_line};
    if (!module->name)
        return WF_MACHINE;
    s = wf_recipe_parameters(r, wf_recipe_get(v, "parameters"), WF_LEVEL_MODULE, &module->values,
                             &module->n_values);
    return s ? s : part_of(r, part, (int)recipe->n_modules++);
}

static int modules(struct wf_recipe_reader *r, const struct wf_yaml *map)
{
    if (map->kind != WF_YAML_MAP || map->n == 0)
        return wf_recipe_fail(r, map->key_line,
                              "'modules' needs a map of names to {models: ...} or {slices: ...}");
    r->out->modules = wf_arena_alloc(r->arena, r->e, map->n, sizeof *r->out->modules);
    int s = r->out->modules ? WF_OK : WF_MACHINE;
    for (size_t i = 0; !s && i < map->n; i++)
        s = one_module(r, map->children[i]);
    return s;
}

/* Entries and slices below a value, at most: lists of lists are what they are in the document. */
static void count(const struct wf_yaml *v, size_t *n_entries, size_t *n_slices)
{
    if (v->kind == WF_YAML_LIST && v->key && !strcmp(v->key, "models")) {
        *n_entries += v->n;
        *n_slices += 1;
    } else if (v->kind == WF_YAML_LIST && v->key && !strcmp(v->key, "sources")) {
        *n_entries += v->n + 1; /* and a base that joins */
        *n_slices += 1;
    } else if (v->kind != WF_YAML_SCALAR) {
        for (size_t i = 0; i < v->n; i++)
            count(v->children[i], n_entries, n_slices);
    }
}

int wf_recipe_parts(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    static const char *const keys[] = {"models", "slices", "modules", NULL};
    struct wf_recipe *recipe = r->out;
    const struct wf_yaml *part = only_part(r, document, keys, "the recipe");
    size_t n_entries = 0, n_slices = 0;
    if (!part)
        return WF_USAGE;
    count(part, &n_entries, &n_slices);
    if (n_slices > SLICES_MAX)
        return wf_recipe_fail(r, part->key_line, "%zu slices; at most %u are taken", n_slices,
                              SLICES_MAX);
    recipe->models = wf_arena_alloc(r->arena, r->e, n_entries, sizeof *recipe->models);
    recipe->slices = wf_arena_alloc(r->arena, r->e, n_slices, sizeof *recipe->slices);
    if (!recipe->models || !recipe->slices)
        return WF_MACHINE;
    return !strcmp(part->key, "modules") ? modules(r, part) : part_of(r, part, -1);
}
