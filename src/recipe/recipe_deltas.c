/* recipe_deltas.c - `task_deltas: {density: 0.1, scope: model, store: replace, dir: deltas}`.
 *
 * Tasks name files, and `dir` a folder, of what is to be published: both are held to names that
 * stay inside it and are not in the way of anything else there.
 */
#include "recipe_read.h"

#include <string.h>

#include "../base/num.h"
#include "../base/str.h"
#include "../format/own_names.h"

#define FILE_NAME_MAX                                                                              \
    240u /* of the 255 bytes that file systems take; ".safetensors" comes on top */

static const char *const keys[] = {"density", "scope", "store", "dir", NULL};

static int check_map(struct wf_recipe_reader *r, const struct wf_yaml *map)
{
    if (map->kind != WF_YAML_MAP)
        return wf_recipe_fail(r, map->key_line,
                              "'task_deltas' needs a map such as {density: 0.1}, not %s",
                              wf_recipe_kind(map));
    return wf_recipe_check_map(r, map, keys,
                               "'task_deltas'; it holds density, scope, store and dir");
}

static int read_density(struct wf_recipe_reader *r, const struct wf_yaml *map)
{
    const struct wf_yaml *v = wf_recipe_get(map, "density");
    struct wf_task_deltas *d = &r->out->deltas;
    struct wf_clip clip;
    if (!v)
        return wf_recipe_fail(r, d->line,
                              "'task_deltas' has no 'density', the share of elements that each "
                              "task keeps (0.1 is usual)");
    if (v->kind != WF_YAML_SCALAR)
        return wf_recipe_fail(r, v->key_line, "'density' needs a number from 0 to 1, not %s",
                              wf_recipe_kind(v));
    if (!wf_parse_f64(v->text, v->text_n, &d->density) || d->density < 0 || d->density > 1)
        return wf_recipe_fail(r, v->key_line, "'density' is '%s'; it must be a number from 0 to 1",
                              wf_clip(v->text, &clip));
    d->density_text = wf_arena_strndup(r->arena, r->e, v->text, v->text_n);
    return d->density_text ? WF_OK : WF_MACHINE;
}

/* One of two words; *second says which, and stays as it is where the key is absent. */
static int read_word(struct wf_recipe_reader *r, const struct wf_yaml *map, const char *key,
                     const char *const *words, bool *second)
{
    const struct wf_yaml *v = wf_recipe_get(map, key);
    const char *text;
    struct wf_clip clip;
    char hint[128];
    int s = v ? wf_recipe_text(r, v, key, &text) : WF_OK;
    if (s || !v)
        return s;
    *second = !strcmp(text, words[1]);
    if (*second || !strcmp(text, words[0]))
        return WF_OK;
    return wf_recipe_fail(r, v->key_line, "'%s' is '%s'%s; it must be %s or %s", key,
                          wf_clip(text, &clip), wf_did_you_mean(text, words, hint, sizeof hint),
                          words[0], words[1]);
}

/* NULL if part[0..n) may stand in a path below OUT, else what is wrong with it. */
static const char *part_fault(const char *part, size_t n)
{
    if (n == 0)
        return "has an empty part";
    if (n > FILE_NAME_MAX)
        return "has a part that is too long for a file's name";
    if ((n == 1 && part[0] == '.') || memmem(part, n, "..", 2))
        return "has a part '.' or '..'";
    return NULL;
}

static int read_dir(struct wf_recipe_reader *r, const struct wf_yaml *map)
{
    const struct wf_yaml *v = wf_recipe_get(map, "dir");
    struct wf_clip clip;
    const char *text = "deltas";
    int line = v ? v->key_line : r->out->deltas.line;
    int s = v ? wf_recipe_text(r, v, "dir", &text) : WF_OK;
    if (s)
        return s;
    size_t n = strlen(text);
    while (n > 1 && text[n - 1] == '/')
        n--;
    if (text[0] == '/' || text[0] == '~' || text[0] == '$')
        return wf_recipe_fail(r, line, "'dir' is '%s'; it must be a folder below the output",
                              wf_clip(text, &clip));
    for (size_t at = 0; at <= n;) {
        size_t part = strcspn(text + at, "/");
        part = wf_min_u64(part, n - at);
        const char *fault = part_fault(text + at, part);
        if (fault)
            return wf_recipe_fail(r, line,
                                  "'dir' is '%s', which %s; it must stay inside the output",
                                  wf_clip(text, &clip), fault);
        at += part + 1;
    }
    if (wf_own_name(text, strcspn(text, "/")))
        return wf_recipe_fail(r, line, "'dir' is '%s', a name that weft uses itself",
                              wf_clip(text, &clip));
    r->out->deltas.dir = wf_arena_strndup(r->arena, r->e, text, n);
    return r->out->deltas.dir ? WF_OK : WF_MACHINE;
}

int wf_recipe_check_tasks(struct wf_recipe_reader *r, const char *what)
{
    const struct wf_recipe *recipe = r->out;
    struct wf_clip clip;
    size_t n = 0;
    for (size_t i = 0; i < recipe->n_models; i++) {
        const struct wf_recipe_model *m = &recipe->models[i];
        if (wf_recipe_exempt(recipe, i))
            continue;
        n++;
        const char *fault = part_fault(m->task, strlen(m->task));
        if (fault || strchr(m->task, '/'))
            return wf_recipe_fail(r, m->line,
                                  "the task '%s' cannot name what '%s' writes for it; give the "
                                  "model another 'name'",
                                  wf_clip(m->task, &clip), what);
        for (size_t k = 0; k < i; k++)
            if (!wf_recipe_exempt(recipe, k) && !strcmp(recipe->models[k].task, m->task))
                return wf_recipe_fail(r, m->line,
                                      "two models are the task '%s' (the other on line %d), and "
                                      "'%s' writes something for each; give one a 'name'",
                                      wf_clip(m->task, &clip), recipe->models[k].line, what);
    }
    if (!n && recipe->deltas.wanted)
        return wf_recipe_fail(r, recipe->deltas.line,
                              "'task_deltas' needs a model besides the base");
    return WF_OK;
}

int wf_recipe_deltas(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    static const char *const scopes[] = {"model", "tensor", NULL};
    static const char *const stores[] = {"replace", "add", NULL};
    const struct wf_yaml *map = wf_recipe_get(document, "task_deltas");
    struct wf_task_deltas *d = &r->out->deltas;
    if (!map)
        return WF_OK;
    d->wanted = true;
    d->line = map->key_line;
    int s = check_map(r, map);
    if (!s)
        s = read_density(r, map);
    if (!s)
        s = read_word(r, map, "scope", scopes, &d->by_tensor);
    if (!s)
        s = read_word(r, map, "store", stores, &d->add);
    if (!s)
        s = read_dir(r, map);
    return s ? s : wf_recipe_check_tasks(r, "task_deltas");
}
