/* combine.c - a merge of one model: the base, with the components on top of each other. */
#include "combine.h"

#include <string.h>

#include "../base/file.h"
#include "../base/num.h"
#include "../base/str.h"
#include "../format/delta_file.h"
#include "../format/json.h"
#include "../format/manifest.h"
#include "../format/overlay_delta.h"
#include "components.h"
#include "merge.h"

#define WHERE "weft combine" /* what messages call the command */

struct part {
    const char *task, *path;
    double factor;
    bool given;
};

struct combining {
    struct wf_err *e;
    struct wf_arena a;
    const char *folder; /* of the components */
    const char *base, *dtype;
    struct part *parts; /* in the merge's order */
    size_t n;
};

/* ---- the components' manifest ---- */

static int bad_manifest(const struct combining *c, const char *what)
{
    return wf_fail(c->e, WF_INPUT, "%s/%s: %s", c->folder, WF_MANIFEST_NAME, what);
}

/* A task is called as its file is, so no manifest leads out of the folder. */
static int read_part(struct combining *c, const struct wf_json *task, struct part *part)
{
    const char *file = wf_json_string(task, "file");
    part->task = wf_json_string(task, "name");
    if (!part->task || !file)
        return bad_manifest(c, "a task of \"components\" has no name or no file");
    const char *name =
        wf_arena_printf(&c->a, c->e, "%s/%s.safetensors", WF_COMPONENTS_FOLDER, part->task);
    part->path = name ? wf_path_join(&c->a, c->e, c->folder, name) : NULL;
    if (!part->path)
        return WF_MACHINE;
    if (strchr(part->task, '/') || strcmp(name, file) != 0)
        return bad_manifest(c, "a file of \"components\" is not called as its task is");
    return WF_OK;
}

static int read_manifest(struct combining *c)
{
    struct wf_json *root;
    const char *path = wf_path_join(&c->a, c->e, c->folder, WF_MANIFEST_NAME);
    if (!path)
        return WF_MACHINE;
    if (!wf_is_file(path))
        return wf_fail(c->e, WF_USAGE,
                       "%s: %s has no %s; give the folder that weft merge --emit-components made",
                       WHERE, c->folder, WF_MANIFEST_NAME);
    int status = wf_json_read(c->e, &c->a, path, WF_MANIFEST_BYTES_MAX, WF_JSON_STRICT, &root);
    if (status)
        return status;
    const struct wf_json *all = wf_json_get(root, "components");
    const struct wf_json *tasks = wf_json_get(all, "tasks");
    if (!all)
        return wf_fail(c->e, WF_USAGE,
                       "%s: %s was made without components; merge with --emit-components first",
                       WHERE, c->folder);
    c->dtype = wf_json_string(wf_json_get(root, "options"), "dtype");
    c->base = c->base ? c->base : wf_json_string(all, "base");
    if (!c->base || !c->dtype || !tasks || tasks->kind != WF_JSON_ARRAY || !tasks->n)
        return bad_manifest(c, "\"components\" is not complete");
    c->parts = wf_arena_alloc(&c->a, c->e, tasks->n, sizeof *c->parts);
    if (!c->parts)
        return WF_MACHINE;
    for (c->n = 0; !status && c->n < tasks->n; c->n++)
        status = read_part(c, &tasks->children[c->n], &c->parts[c->n]);
    return status;
}

/* ---- weights ---- */

static int unknown_task(struct combining *c, const char *task)
{
    char hint[128];
    const char **names = wf_arena_alloc(&c->a, c->e, c->n + 1, sizeof *names);
    if (!names)
        return WF_MACHINE;
    for (size_t i = 0; i < c->n; i++)
        names[i] = c->parts[i].task;
    return wf_fail(c->e, WF_USAGE, "--weight: %s has no component of a task '%s'%s", c->folder,
                   task, wf_did_you_mean(task, names, hint, sizeof hint));
}

/* TASK=FACTOR; a task's name may hold '=' itself. */
static int take_weight(struct combining *c, const char *text)
{
    const char *equals = strrchr(text, '=');
    double factor;
    if (!equals || equals == text || !wf_parse_f64(equals + 1, strlen(equals + 1), &factor))
        return wf_fail(c->e, WF_USAGE, "--weight: '%s' is not TASK=NUMBER, such as math=0.5", text);
    const char *task = wf_arena_strndup(&c->a, c->e, text, (size_t)(equals - text));
    if (!task)
        return WF_MACHINE;
    for (size_t i = 0; i < c->n; i++) {
        struct part *p = &c->parts[i];
        if (strcmp(p->task, task) != 0)
            continue;
        if (p->given)
            return wf_fail(c->e, WF_USAGE, "--weight: task '%s' is given twice", task);
        p->factor = factor;
        p->given = true;
        return WF_OK;
    }
    return unknown_task(c, task);
}

static int take_weights(struct combining *c, const char *const *weights, size_t n)
{
    int status = WF_OK;
    for (size_t i = 0; !status && i < n; i++)
        status = take_weight(c, weights[i]);
    for (size_t i = 0; !status && i < c->n; i++)
        if (!c->parts[i].given)
            status = wf_fail(c->e, WF_USAGE,
                             "%s: task '%s' has no weight; give each task one: --weight %s=1",
                             WHERE, c->parts[i].task, c->parts[i].task);
    return status;
}

/* ---- the merge ---- */

static int open_all(struct wf_err *e, const void *arg, struct wf_setup *s)
{
    const struct combining *c = arg;
    const struct wf_ckpt *now = NULL, *top = NULL;
    s->models = wf_arena_alloc(&s->arena, e, 1, sizeof *s->models);
    if (!s->models)
        return WF_MACHINE;
    int status = wf_opened_get(e, &s->arena, &s->opened, WHERE, c->base, NULL, &now);
    for (size_t i = 0; !status && i < c->n; i++) {
        struct wf_ckpt *laid = wf_arena_alloc(&s->arena, e, 1, sizeof *laid);
        if (!laid)
            return WF_MACHINE;
        status = wf_opened_get(e, &s->arena, &s->opened, WHERE, c->parts[i].path, NULL, &top);
        if (!status && !wf_delta_is(top))
            status = wf_fail(e, WF_INPUT, "%s: not a component", c->parts[i].path);
        if (!status)
            status = wf_overlay_delta(e, &s->arena, WHERE, now, top, c->parts[i].factor, laid);
        now = laid;
    }
    s->models[0] = now;
    return status;
}

/* The same as a recipe: the factors are in its first lines, so that other factors are another plan.
 */
static void write_recipe(const struct combining *c, struct wf_str *s)
{
    char factor[32];
    wf_str_puts(s, "# made by weft combine\n");
    for (size_t i = 0; i < c->n; i++) {
        wf_str_puts(s, "# ");
        wf_str_json(s, c->parts[i].task, strlen(c->parts[i].task));
        wf_str_printf(s, ": %s\n", wf_format_f64(c->parts[i].factor, factor));
    }
    wf_str_puts(s, "merge_method: passthrough\nmodels:\n  - model:\n      model: {path: ");
    wf_str_json(s, c->folder, strlen(c->folder));
    wf_str_puts(s, "}\n");
    if (strcmp(c->dtype, "as stored") != 0)
        wf_str_printf(s, "dtype: %s\n", c->dtype);
}

int wf_combine_run(struct wf_err *e, const struct weft_options *options, const char *components,
                   const char *base, const char *const *weights, size_t n, const char *out,
                   const volatile int *stop, struct weft_merge_result *result)
{
    struct combining c = {.e = e, .folder = components, .base = base};
    struct wf_str text = {0};
    *result = (struct weft_merge_result){0};
    int status = read_manifest(&c);
    if (!status)
        status = take_weights(&c, weights, n);
    if (!status) {
        write_recipe(&c, &text);
        status = wf_str_finish(&text, e);
    }
    if (!status) {
        struct wf_merge_source source = {
            .recipe = WHERE, .text = text.text, .open = open_all, .arg = &c};
        status = wf_merge_run(e, options, &source, out, stop, result);
    }
    wf_str_free(&text);
    wf_arena_destroy(&c.a);
    return status;
}
