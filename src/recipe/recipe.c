/* recipe.c - a recipe file: the document, its top level, and reading it from disk. */
#include "recipe.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "../base/file.h"
#include "../base/num.h"
#include "../base/str.h"
#include "recipe_read.h"

#define RECIPE_BYTES_MAX ((size_t)16 << 20)
#define PATTERNS_MAX 1024
#define PATTERN_BYTES_MAX 1024

/* Says why `name` is no method, and which there are. */
static int unknown_method(struct wf_recipe_reader *r, int line, const char *name)
{
    const char *const *names = wf_method_names();
    struct wf_str list = {0};
    for (size_t i = 0; names[i]; i++)
        wf_str_printf(&list, "%s%s", i ? ", " : "", names[i]);
    int s = wf_str_finish(&list, r->e);
    struct wf_clip clip;
    char hint[128];
    if (!s)
        s = wf_recipe_fail(r, line, "unknown merge_method '%s'%s; this version has: %.700s",
                           wf_clip(name, &clip), wf_did_you_mean(name, names, hint, sizeof hint),
                           list.text);
    wf_str_free(&list);
    return s;
}

static int read_method(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    const struct wf_yaml *v = wf_yaml_get(document, "merge_method");
    if (!v)
        return wf_recipe_fail(r, document->line, "the recipe has no 'merge_method'");
    const char *name;
    int s = wf_recipe_text(r, v, "merge_method", &name);
    if (s)
        return s;
    r->out->method = wf_method_find(name);
    r->out->method_line = v->key_line;
    return r->out->method ? WF_OK : unknown_method(r, v->key_line, name);
}

static int read_dtype(struct wf_recipe_reader *r, const struct wf_yaml *document, const char *key)
{
    static const char *const names[] = {"float32", "float16", "bfloat16", "float64", NULL};
    const struct wf_yaml *v = wf_recipe_get(document, key);
    if (!v)
        return WF_OK;
    const char *name;
    int s = wf_recipe_text(r, v, key, &name);
    if (s)
        return s;
    struct wf_clip clip;
    char hint[128];
    enum wf_dtype dtype = wf_dtype_by_torch_name(name);
    if (dtype == WF_DTYPE_NONE)
        return wf_recipe_fail(
            r, v->key_line, "'%s' is '%s'%s; it must be float32, float16, bfloat16 or float64", key,
            wf_clip(name, &clip), wf_did_you_mean(name, names, hint, sizeof hint));
    r->out->dtype = dtype;
    return WF_OK;
}

static int read_seed(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    static const char range[] = "from 0 to 18446744073709551615";
    const struct wf_yaml *v = wf_recipe_get(document, "seed");
    if (!v)
        return WF_OK;
    if (v->kind != WF_YAML_SCALAR || v->quoted)
        return wf_recipe_fail(r, v->key_line, "'seed' needs a whole number %s, not %s", range,
                              wf_recipe_kind(v));
    struct wf_clip clip;
    r->out->has_seed = true;
    if (!wf_parse_u64(v->text, v->text_n, &r->out->seed))
        return wf_recipe_fail(r, v->key_line, "'seed' needs a whole number %s, not '%s'", range,
                              wf_clip(v->text, &clip));
    return WF_OK;
}

static int read_pattern(struct wf_recipe_reader *r, const struct wf_yaml *v, const char *key,
                        const char **out)
{
    int s = wf_recipe_text(r, v, key, out);
    struct wf_clip clip;
    if (s)
        return s;
    if (v->text_n > PATTERN_BYTES_MAX)
        return wf_recipe_fail(r, wf_recipe_line(v),
                              "a pattern of '%s' has %zu bytes; at most %d are taken", key,
                              v->text_n, PATTERN_BYTES_MAX);
    if (!wf_glob_valid(*out))
        return wf_recipe_fail(r, wf_recipe_line(v),
                              "a pattern of '%s' has a '[' without its ']': '%s'", key,
                              wf_clip(*out, &clip));
    return WF_OK;
}

/* A list of patterns; a single one may stand without its list. */
static int read_patterns(struct wf_recipe_reader *r, const struct wf_yaml *document,
                         const char *key, const char ***out)
{
    const struct wf_yaml *v = wf_recipe_get(document, key);
    if (!v)
        return WF_OK;
    if (v->kind == WF_YAML_MAP)
        return wf_recipe_fail(r, v->key_line, "'%s' needs a list of patterns, not a map", key);
    bool single = v->kind == WF_YAML_SCALAR;
    size_t n = single ? 1 : v->n;
    if (n == 0)
        return wf_recipe_fail(r, v->key_line, "'%s' is an empty list; take the key out", key);
    if (n > PATTERNS_MAX)
        return wf_recipe_fail(r, v->key_line, "'%s' has %zu patterns; at most %d are taken", key, n,
                              PATTERNS_MAX);
    const char **patterns = wf_arena_alloc(r->arena, r->e, n + 1, sizeof *patterns);
    if (!patterns)
        return WF_MACHINE;
    for (size_t i = 0; i < n; i++) {
        int s = read_pattern(r, single ? v : v->children[i], key, &patterns[i]);
        if (s)
            return s;
    }
    *out = patterns;
    return WF_OK;
}

static int read_non_finite(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    const struct wf_yaml *v = wf_recipe_get(document, "non_finite");
    if (!v)
        return WF_OK;
    const char *text;
    int s = wf_recipe_text(r, v, "non_finite", &text);
    if (s)
        return s;
    struct wf_clip clip;
    r->out->allow_non_finite = !strcmp(text, "allow");
    if (!r->out->allow_non_finite && strcmp(text, "error") != 0)
        return wf_recipe_fail(r, v->key_line, "'non_finite' is '%s'; it must be error or allow",
                              wf_clip(text, &clip));
    return WF_OK;
}

static int read_allow_mixed(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    const struct wf_yaml *v = wf_recipe_get(document, "allow_mixed");
    if (v && !wf_yaml_bool(v, &r->out->allow_mixed))
        return wf_recipe_fail(r, v->key_line, "'allow_mixed' must be true or false");
    return WF_OK;
}

/* The table itself is read when the models are looked for (coefficients.h). */
static int read_coefficients(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    const struct wf_yaml *v = wf_recipe_get(document, "coefficients");
    if (!v)
        return WF_OK;
    if (wf_method_option(r->out->method, "weight") < 0)
        return wf_recipe_fail(r, v->key_line,
                              "'coefficients' stands in for 'weight', which merge_method '%s' does "
                              "not have",
                              r->out->method->name);
    r->out->coefficients_line = v->key_line;
    return wf_recipe_text(r, v, "coefficients", &r->out->coefficients);
}

static int read_base(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    const struct wf_yaml *v = wf_recipe_get(document, "base_model");
    struct wf_recipe *recipe = r->out;
    recipe->has_base = v != NULL;
    if (v)
        return wf_recipe_reference(r, v, "base_model", &recipe->base);
    bool is_sliced = wf_recipe_get(document, "slices") || wf_recipe_get(document, "modules");
    if (recipe->method->base == WF_BASE_REQUIRED && !is_sliced) /* slices may have their own */
        return wf_recipe_fail(r, recipe->method_line, "merge_method '%s' needs 'base_model'",
                              recipe->method->name);
    if (recipe->include)
        return wf_recipe_fail(r, wf_yaml_get(document, "include")->key_line,
                              "'include' needs 'base_model': tensors outside come from it");
    return WF_OK;
}

/* Everything at the top level but what the result is made from. */
static int read_top(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    struct wf_recipe *recipe = r->out;
    int s = read_method(r, document);
    if (!s)
        s = read_dtype(r, document, "dtype");
    recipe->cast = recipe->dtype;
    if (!s)
        s = read_dtype(r, document, "out_dtype"); /* wins over dtype */
    if (!s)
        s = read_seed(r, document);
    if (!s)
        s = read_patterns(r, document, "include", &recipe->include);
    if (!s)
        s = read_patterns(r, document, "exclude", &recipe->exclude);
    if (!s)
        s = read_non_finite(r, document);
    if (!s)
        s = read_allow_mixed(r, document);
    if (!s)
        s = wf_recipe_chat_template(r, document);
    const struct wf_yaml *name = wf_recipe_get(document, "name");
    if (!s && name)
        s = wf_recipe_text(r, name, "name", &recipe->name);
    if (!s)
        s = read_coefficients(r, document);
    if (!s)
        s = read_base(r, document);
    if (!s)
        s = wf_recipe_parameters(r, wf_recipe_get(document, "parameters"), WF_LEVEL_TOP,
                                 &recipe->values, &recipe->n_values);
    return s;
}

/* What only makes sense where every model is whole and stands for a task. */
static int check_parts(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    static const char *const of_models[] = {"coefficients", "task_deltas", NULL};
    const struct wf_recipe *recipe = r->out;
    if (!recipe->is_sliced && !recipe->n_modules)
        return WF_OK;
    const char *part = recipe->n_modules ? "modules" : "slices";
    for (size_t i = 0; of_models[i]; i++) {
        const struct wf_yaml *v = wf_recipe_get(document, of_models[i]);
        if (v)
            return wf_recipe_fail(r, v->key_line,
                                  "'%s' needs whole models, listed under 'models', not '%s'",
                                  of_models[i], part);
    }
    if (recipe->method->adapters)
        return wf_recipe_fail(r, recipe->method_line,
                              "merge_method '%s' needs whole adapters, listed under 'models', not "
                              "'%s'",
                              recipe->method->name, part);
    return WF_OK;
}

int wf_recipe_document(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    if (document->kind == WF_YAML_NULL)
        return wf_recipe_fail(r, document->line, "the recipe is empty");
    if (document->kind != WF_YAML_MAP)
        return wf_recipe_fail(r, document->line,
                              "a recipe is a map of keys such as 'merge_method: linear', not %s",
                              wf_recipe_kind(document));
    const struct wf_yaml *method = wf_yaml_get(document, "merge_method");
    int s = wf_recipe_check_keys(
        r, document, WF_LEVEL_TOP,
        method && method->kind == WF_YAML_SCALAR ? wf_method_find(method->text) : NULL);
    if (!s)
        s = read_top(r, document);
    if (!s)
        s = wf_recipe_parts(r, document);
    if (!s)
        s = check_parts(r, document);
    if (!s)
        s = wf_recipe_deltas(r, document);
    if (!s)
        s = wf_recipe_tokenizer(r, document);
    return s || !r->out->method->adapters ? s : wf_recipe_adapters(r, document);
}

/* "." for a bare name, "/" for a file of the root. */
static const char *folder_of(struct wf_err *e, struct wf_arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return ".";
    return wf_arena_strndup(a, e, path, slash == path ? 1 : (size_t)(slash - path));
}

/* A literal path, relative to the recipe's folder or to the working directory. */
static int path_exists(void *arg, const char *text)
{
    const struct wf_recipe *recipe = arg;
    char joined[PATH_MAX];
    if (wf_exists(text))
        return 1;
    int n = snprintf(joined, sizeof joined, "%s/%s", recipe->folder, text);
    return text[0] != '/' && n > 0 && (size_t)n < sizeof joined && wf_exists(joined);
}

int wf_recipe_begin(struct wf_recipe_reader *r, const char *text, size_t n, bool look)
{
    struct wf_recipe *recipe = r->out;
    *recipe = (struct wf_recipe){.folder = folder_of(r->e, r->arena, r->path),
                                 .path = wf_arena_strdup(r->arena, r->e, r->path),
                                 .text = text,
                                 .text_n = n,
                                 .is_json = wf_ends_with(r->path, ".json"),
                                 .dtype = WF_DTYPE_NONE};
    r->exists = look ? path_exists : NULL;
    r->exists_arg = recipe;
    return recipe->folder && recipe->path ? WF_OK : WF_MACHINE;
}

/* The only document of a text. */
static int read_one(struct wf_recipe_reader *r, const char *text, size_t n, bool look)
{
    struct wf_yaml **docs;
    size_t n_docs;
    int s = wf_recipe_begin(r, text, n, look);
    if (!s)
        s = wf_yaml_parse(r->e, r->arena, r->path, text, n, &docs, &n_docs);
    if (!s && n_docs > 1)
        s = wf_recipe_fail(
            r, docs[1]->line,
            "a second document: stages are for 'weft merge' and 'weft plan'; use one "
            "file for each");
    return s ? s : wf_recipe_document(r, docs[0]);
}

int wf_recipe_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                    size_t n, bool compat, struct wf_recipe *out)
{
    struct wf_recipe_reader r = {.e = e, .arena = a, .path = path, .compat = compat, .out = out};
    const char *copy = wf_arena_strndup(a, e, text, n);
    return copy ? read_one(&r, copy, n, false) : WF_MACHINE;
}

int wf_recipe_load(struct wf_err *e, struct wf_arena *a, const char *path, const char **text,
                   size_t *n)
{
    char *read;
    if (wf_is_folder(path))
        return wf_fail(e, WF_USAGE, "%s: a folder; a recipe is a YAML or JSON file", path);
    if (wf_ends_with(path, ".safetensors"))
        return wf_fail(e, WF_USAGE, "%s: a model; a recipe is a YAML or JSON file", path);
    int s = wf_read_small(e, WF_USAGE, path, RECIPE_BYTES_MAX, &read, n);
    if (s)
        return s;
    *text = wf_arena_strndup(a, e, read, *n);
    wf_free(read);
    return *text ? WF_OK : WF_MACHINE;
}

int wf_recipe_read(struct wf_err *e, struct wf_arena *a, const char *path, bool compat,
                   struct wf_recipe *out)
{
    struct wf_recipe_reader r = {.e = e, .arena = a, .path = path, .compat = compat, .out = out};
    const char *text;
    size_t n;
    int s = wf_recipe_load(e, a, path, &text, &n);
    return s ? s : read_one(&r, text, n, true);
}

static bool any_glob(const char **patterns, const char *name)
{
    for (; *patterns; patterns++)
        if (wf_glob(*patterns, name))
            return true;
    return false;
}

bool wf_recipe_takes_part(const struct wf_recipe *r, const char *name)
{
    if (r->include && !any_glob(r->include, name))
        return false;
    return !(r->exclude && any_glob(r->exclude, name));
}
