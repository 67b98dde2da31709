/* recipe_keys.c - which keys a recipe may hold, and what is said about the others. */
#include "recipe_read.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../base/log.h"
#include "../base/str.h"

#define TEXT_MAX 4095
#define WARNINGS_MAX 20 /* a file of a million unknown keys is not a million lines */

struct key {
    const char *name;
    bool required; /* may not be null; any other key that is null is absent, as in mergekit */
};

static const struct key top_keys[] = {
    {"merge_method", true},
    {"models", false},
    {"base_model", false},
    {"parameters", false},
    {"dtype", false},
    {"out_dtype", false},
    {"seed", false},
    {"include", false},
    {"exclude", false},
    {"name", false},
    {"non_finite", false},
    {"allow_mixed", false},
    {"slices", false},
    {"modules", false},
    {"tokenizer_source", false},
    {"tokenizer", false},
    {"chat_template", false},
    {"coefficients", false},
    {"task_deltas", false},
    {NULL, false},
};

static const struct key model_keys[] = {
    {"model", true},
    {"parameters", false},
    {"name", false},
    {NULL, false},
};

static const struct key slice_keys[] = {
    {"sources", true},
    {"base_model", false},
    {"parameters", false},
    {NULL, false},
};

static const struct key source_keys[] = {
    {"model", true},
    {"layer_range", true},
    {"parameters", false},
    {NULL, false},
};

static const struct key module_keys[] = {
    {"models", false},
    {"slices", false},
    {"parameters", false},
    {NULL, false},
};

/* Keys of mergekit's that mean nothing, or belong to another of its programs: why. */
static const struct {
    enum wf_recipe_level level;
    const char *name, *why;
} foreign_keys[] = {
    {WF_LEVEL_SLICE, "residual_weight", "mergekit declares it, and makes no use of it"},
    {WF_LEVEL_TOP, "input_model_parameters",
     "mergekit no longer has it; parameters stand in entries of 'models' or 'sources'"},
    {WF_LEVEL_TOP, "experts", "it is for mergekit-moe, which makes mixtures of experts"},
    {WF_LEVEL_TOP, "shared_experts", "it is for mergekit-moe, which makes mixtures of experts"},
    {WF_LEVEL_TOP, "gate_mode", "it is for mergekit-moe, which makes mixtures of experts"},
    {WF_LEVEL_TOP, "genome", "it is for mergekit-evolve; 'weft search' looks for weights"},
};

static const struct key *const keys_of[WF_LEVELS] = {top_keys, model_keys, slice_keys, source_keys,
                                                     module_keys};
static const char *const places[WF_LEVELS] = {"", " in a model's entry", " in a slice",
                                              " in a source of a slice", " in a module"};

#define KEYS_MAX (sizeof top_keys / sizeof *top_keys)

int wf_recipe_fail(struct wf_recipe_reader *r, int line, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return wf_fail(r->e, WF_USAGE, "%s:%d: %s", r->path, line, text);
}

bool wf_recipe_is_key(const char *const *keys, const char *name)
{
    while (*keys && strcmp(*keys, name) != 0)
        keys++;
    return *keys != NULL;
}

int wf_recipe_check_map(struct wf_recipe_reader *r, const struct wf_yaml *map,
                        const char *const *keys, const char *place, ...)
{
    size_t i = 0;
    while (i < map->n && wf_recipe_is_key(keys, map->children[i]->key))
        i++;
    if (i == map->n)
        return WF_OK;
    const struct wf_yaml *v = map->children[i];
    struct wf_clip clip;
    char hint[128], where[512];
    va_list args;
    va_start(args, place);
    vsnprintf(where, sizeof where, place, args);
    va_end(args);
    return wf_recipe_fail(r, v->key_line, "unknown key '%s'%s in %s", wf_clip(v->key, &clip),
                          wf_did_you_mean(v->key, keys, hint, sizeof hint), where);
}

bool wf_recipe_silent(const struct wf_recipe_reader *r)
{
    return r->compat && r->ignored >= WARNINGS_MAX;
}

int wf_recipe_ignore(struct wf_recipe_reader *r, int line, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (!r->compat)
        return wf_fail(r->e, WF_USAGE, "%s:%d: %s", r->path, line, text);
    if (wf_recipe_silent(r))
        return WF_OK;
    wf_log(WF_LOG_WARNING, "%s:%d: %s; ignored, as mergekit does", r->path, line, text);
    if (++r->ignored == WARNINGS_MAX)
        wf_log(WF_LOG_WARNING, "%s: further keys are ignored without a message", r->path);
    return WF_OK;
}

const char *wf_clip(const char *text, struct wf_clip *buf)
{
    const size_t room = 60;
    size_t n = strnlen(text, room + 1);
    bool cut = n > room;
    if (cut) {
        n = room;
        while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        buf->text[i] = c < 0x20 || c == 0x7f ? '?' : text[i];
    }
    snprintf(buf->text + n, sizeof buf->text - n, "%s", cut ? "..." : "");
    return buf->text;
}

const char *wf_recipe_kind(const struct wf_yaml *v)
{
    switch (v->kind) {
    case WF_YAML_NULL:
        return "nothing";
    case WF_YAML_SCALAR:
        return v->quoted ? "a quoted text" : "a single value";
    case WF_YAML_LIST:
        return "a list";
    case WF_YAML_MAP:
        return "a map";
    }
    return "something else";
}

int wf_recipe_line(const struct wf_yaml *v)
{
    return v->key ? v->key_line : v->line;
}

static const struct key *find_key(enum wf_recipe_level level, const char *name)
{
    for (const struct key *k = keys_of[level]; k->name; k++)
        if (!strcmp(k->name, name))
            return k;
    return NULL;
}

/* A key that exists nowhere: the nearest key of this level, or parameter of the method. */
static int misspelled_key(struct wf_recipe_reader *r, const struct wf_yaml *v,
                          enum wf_recipe_level level, const struct wf_method *method)
{
    size_t n = 0, n_options = method ? method->n_options : 0;
    const char **names = wf_arena_alloc(r->arena, r->e, KEYS_MAX + n_options, sizeof *names);
    if (!names)
        return WF_MACHINE;
    for (const struct key *k = keys_of[level]; k->name; k++)
        names[n++] = k->name;
    for (size_t i = 0; i < n_options; i++)
        names[n++] = method->options[i].name;
    struct wf_clip clip;
    char hint[128];
    wf_clip(v->key, &clip);
    const char *where = places[level];
    const char *near = wf_nearest(v->key, names);
    if (near && !find_key(level, near))
        return wf_recipe_ignore(r, v->key_line,
                                "unknown key '%s'%s (did you mean '%s'? It is a parameter of '%s' "
                                "and belongs under 'parameters')",
                                clip.text, where, near, method->name);
    return wf_recipe_ignore(r, v->key_line, "unknown key '%s'%s%s", clip.text, where,
                            wf_did_you_mean(v->key, names, hint, sizeof hint));
}

/* A key that this level does not have: says where it belongs, or what it may have meant. */
static int unknown_key(struct wf_recipe_reader *r, const struct wf_yaml *v,
                       enum wf_recipe_level level, const struct wf_method *method)
{
    if (wf_recipe_silent(r))
        return WF_OK;
    for (size_t i = 0; i < sizeof foreign_keys / sizeof *foreign_keys; i++)
        if (foreign_keys[i].level == level && !strcmp(foreign_keys[i].name, v->key))
            return wf_recipe_ignore(r, v->key_line, "'%s' has no effect: %s", v->key,
                                    foreign_keys[i].why);
    if (method && wf_method_option(method, v->key) >= 0)
        return wf_recipe_ignore(r, v->key_line,
                                "'%s' is a parameter of '%s': it belongs under 'parameters'",
                                v->key, method->name);
    if (level != WF_LEVEL_TOP && find_key(WF_LEVEL_TOP, v->key))
        return wf_recipe_ignore(r, v->key_line,
                                "'%s' belongs at the top level of the recipe, not%s", v->key,
                                level == WF_LEVEL_MODEL ? " with a model" : places[level]);
    if (level != WF_LEVEL_MODEL && find_key(WF_LEVEL_MODEL, v->key))
        return wf_recipe_ignore(r, v->key_line, "'%s' belongs in an entry of 'models'", v->key);
    if (level != WF_LEVEL_SOURCE && find_key(WF_LEVEL_SOURCE, v->key))
        return wf_recipe_ignore(r, v->key_line, "'%s' belongs in an entry of a slice's 'sources'",
                                v->key);
    if (level != WF_LEVEL_SLICE && find_key(WF_LEVEL_SLICE, v->key))
        return wf_recipe_ignore(r, v->key_line, "'%s' belongs in an entry of 'slices'", v->key);
    return misspelled_key(r, v, level, method);
}

int wf_recipe_check_keys(struct wf_recipe_reader *r, const struct wf_yaml *map,
                         enum wf_recipe_level level, const struct wf_method *method)
{
    for (size_t i = 0; i < map->n; i++) {
        const struct wf_yaml *v = map->children[i];
        const struct key *k = find_key(level, v->key);
        int s = WF_OK;
        if (!k)
            s = unknown_key(r, v, level, method);
        else if (v->kind == WF_YAML_NULL && k->required)
            s = wf_recipe_fail(r, v->key_line, "'%s' has no value", k->name);
        if (s)
            return s;
    }
    return WF_OK;
}

const struct wf_yaml *wf_recipe_get(const struct wf_yaml *map, const char *key)
{
    const struct wf_yaml *v = wf_yaml_get(map, key);
    return v && v->kind != WF_YAML_NULL ? v : NULL;
}

int wf_recipe_text(struct wf_recipe_reader *r, const struct wf_yaml *v, const char *key,
                   const char **out)
{
    int line = wf_recipe_line(v);
    if (v->kind == WF_YAML_NULL)
        return wf_recipe_fail(r, line, "'%s' has no value", key);
    if (v->kind != WF_YAML_SCALAR)
        return wf_recipe_fail(r, line, "'%s' needs a text, not %s", key, wf_recipe_kind(v));
    if (v->text_n == 0)
        return wf_recipe_fail(r, line, "'%s' is an empty text", key);
    if (v->text_n > TEXT_MAX)
        return wf_recipe_fail(r, line, "'%s' is a text of %zu bytes; at most %d are taken", key,
                              v->text_n, TEXT_MAX);
    for (size_t i = 0; i < v->text_n; i++) {
        unsigned char c = (unsigned char)v->text[i];
        if (c < 0x20 || c == 0x7f)
            return wf_recipe_fail(r, line, "'%s' holds a control character (0x%02x)", key, c);
    }
    *out = wf_arena_strndup(r->arena, r->e, v->text, v->text_n);
    return *out ? WF_OK : WF_MACHINE;
}
