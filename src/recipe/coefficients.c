/* coefficients.c - reads a table of weights, and finds a tensor's. */
#include "coefficients.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/file.h"
#include "../base/str.h"
#include "../format/hub.h"
#include "../format/json.h"
#include "recipe_read.h"

#define FILE_BYTES_MAX ((size_t)256 << 20)

/* What is being read. */
struct reader {
    struct wf_err *e;
    struct wf_arena *a;
    const struct wf_recipe *recipe;
    struct wf_coefficients *out;
    const char **tasks; /* by entry of `models`, NULL-terminated */
};

static int refuse(const struct reader *r, const char *tensor, const char *what)
{
    struct wf_clip clip;
    return wf_fail(r->e, WF_USAGE, "%s: tensor '%s': %s", r->out->path, wf_clip(tensor, &clip),
                   what);
}

static int set_weight(const struct reader *r, const char *tensor, size_t model,
                      const struct wf_json *v, double *weights)
{
    char what[256];
    struct wf_clip clip;
    weights[model] = v->number;
    if (v->kind == WF_JSON_NUMBER && isfinite(v->number))
        return WF_OK;
    snprintf(what, sizeof what, "the weight of task '%s' must be a finite number",
             wf_clip(r->tasks[model], &clip));
    return refuse(r, tensor, what);
}

/* A number for each task, in order; the base's own entry, if it has one, may have one as well. */
static int read_list(const struct reader *r, const struct wf_json *row, double *weights)
{
    char what[128];
    size_t n = r->recipe->n_models, tasks = 0;
    int status = WF_OK;
    for (size_t i = 0; i < n; i++)
        tasks += !wf_recipe_exempt(r->recipe, i);
    snprintf(what, sizeof what, "%zu numbers for %zu entries of 'models'", row->n, n);
    if (row->n != n && row->n != tasks)
        return refuse(r, row->key, what);
    for (size_t i = 0, k = 0; !status && k < row->n; i++)
        if (row->n == n || !wf_recipe_exempt(r->recipe, i))
            status = set_weight(r, row->key, i, &row->children[k++], weights);
    return status;
}

static int unknown_task(const struct reader *r, const struct wf_json *row, const char *task)
{
    char what[320], hint[128];
    struct wf_clip clip;
    snprintf(what, sizeof what, "there is no task '%s'%s; tasks are the names of the models",
             wf_clip(task, &clip), wf_did_you_mean(task, r->tasks, hint, sizeof hint));
    return refuse(r, row->key, what);
}

/* Every task but the base's own entry needs a number. Tasks of one name share it. */
static int read_map(const struct reader *r, const struct wf_json *row, double *weights)
{
    size_t n = r->recipe->n_models;
    int status = WF_OK;
    for (size_t i = 0; !status && i < n; i++) {
        const struct wf_json *v = wf_json_get(row, r->tasks[i]);
        if (v) {
            status = set_weight(r, row->key, i, v, weights);
        } else if (!wf_recipe_exempt(r->recipe, i)) {
            char what[160];
            struct wf_clip clip;
            snprintf(what, sizeof what, "no number for task '%s'", wf_clip(r->tasks[i], &clip));
            status = refuse(r, row->key, what);
        }
    }
    for (size_t k = 0; !status && k < row->n; k++) {
        bool known = false;
        for (size_t i = 0; i < n; i++)
            known |= !strcmp(row->children[k].key, r->tasks[i]);
        if (!known)
            status = unknown_task(r, row, row->children[k].key);
    }
    return status;
}

static int by_name(const void *left, const void *right)
{
    const struct wf_coefficients_row *a = left, *b = right;
    return strcmp(a->tensor, b->tensor);
}

static int read_rows(const struct reader *r, const struct wf_json *table)
{
    struct wf_coefficients *c = r->out;
    size_t n = r->recipe->n_models;
    if (table->kind != WF_JSON_OBJECT)
        return wf_fail(r->e, WF_USAGE,
                       "%s: a table of coefficients is an object, {tensor: {task: number}} or "
                       "{tensor: [numbers in the order of 'models']}",
                       c->path);
    c->rows = wf_arena_alloc(r->a, r->e, table->n + 1, sizeof *c->rows);
    double *weights = wf_arena_alloc(r->a, r->e, (table->n + 1) * n, sizeof *weights);
    if (!c->rows || !weights)
        return WF_MACHINE;
    int status = WF_OK;
    for (size_t k = 0; !status && k < table->n; k++, weights += n) {
        const struct wf_json *row = &table->children[k];
        if (row->kind == WF_JSON_ARRAY)
            status = read_list(r, row, weights);
        else if (row->kind == WF_JSON_OBJECT)
            status = read_map(r, row, weights);
        else
            status = refuse(r, row->key, "needs a number for each task: {task: number} or a list");
        if (!strcmp(row->key, "*"))
            c->otherwise = weights;
        else
            c->rows[c->n++] = (struct wf_coefficients_row){row->key, weights};
    }
    qsort(c->rows, c->n, sizeof *c->rows, by_name);
    return status;
}

/* Beside the recipe, else from the working directory, as models are looked for. */
static int find_file(const struct reader *r)
{
    const struct wf_recipe *recipe = r->recipe;
    const char *text = NULL;
    char *where = wf_arena_printf(r->a, r->e, "%s:%d", recipe->path, recipe->coefficients_line);
    if (!where)
        return WF_MACHINE;
    int status = wf_expand_path(r->e, r->a, where, recipe->coefficients, &text);
    if (status)
        return status;
    char *beside = text[0] == '/' ? NULL : wf_path_join(r->a, r->e, recipe->folder, text);
    r->out->path = beside && wf_exists(beside) ? beside : text;
    if (wf_exists(r->out->path) && !wf_is_folder(r->out->path))
        return WF_OK;
    struct wf_clip clip;
    return wf_fail(r->e, WF_USAGE, "%s: there is no file '%s', beside the recipe or here", where,
                   wf_clip(recipe->coefficients, &clip));
}

static int name_tasks(struct reader *r)
{
    const struct wf_recipe *recipe = r->recipe;
    r->tasks = wf_arena_alloc(r->a, r->e, recipe->n_models + 1, sizeof *r->tasks);
    for (size_t i = 0; r->tasks && i < recipe->n_models; i++)
        r->tasks[i] = recipe->models[i].task;
    return r->tasks ? WF_OK : WF_MACHINE;
}

int wf_coefficients_read(struct wf_err *e, struct wf_arena *a, struct wf_recipe *recipe)
{
    if (!recipe->coefficients)
        return WF_OK;
    struct wf_coefficients *c = wf_arena_alloc(a, e, 1, sizeof *c);
    struct reader r = {.e = e, .a = a, .recipe = recipe, .out = c};
    struct wf_json *table = NULL;
    char *text = NULL;
    size_t n;
    if (!c || name_tasks(&r))
        return WF_MACHINE;
    int status = find_file(&r);
    if (!status)
        status = wf_read_small(e, WF_INPUT, c->path, FILE_BYTES_MAX, &text, &n);
    if (!status) {
        c->bytes = n;
        c->hash = wf_xxh128(text, n);
        status = wf_json_parse(e, a, c->path, text, n, WF_JSON_STRICT, &table);
        wf_free(text);
    }
    if (!status)
        status = read_rows(&r, table);
    if (!status)
        recipe->table = c;
    return status;
}

const double *wf_coefficients_find(const struct wf_coefficients *c, const char *tensor)
{
    struct wf_coefficients_row key = {.tensor = tensor};
    const struct wf_coefficients_row *row = bsearch(&key, c->rows, c->n, sizeof *c->rows, by_name);
    return row ? row->weight : c->otherwise;
}
