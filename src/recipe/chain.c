/* chain.c - documents of one file, and in which order they run. */
#include "chain.h"

#include <string.h>

#include "../base/log.h"
#include "../base/str.h"
#include "recipe_read.h"

#define STAGES_MAX 1000u
#define NAME_BYTES_MAX 200u /* of the 255 of a folder's name, with room for what weft adds */

struct reading {
    struct wf_err *e;
    struct wf_arena *a;
    const char *path, *text;
    size_t text_n;
    bool compat, look;
    const struct wf_yaml **docs; /* those that hold something */
    size_t n;
    const char **names; /* by document; NULL: it has none */
    int *lines;
    int *used; /* [document * n + other]: the line on which one names the other; 0: it does not */
    struct wf_recipe *recipes;
    size_t result;
};

static struct wf_recipe_reader reader_of(const struct reading *g, size_t document)
{
    return (struct wf_recipe_reader){.e = g->e,
                                     .arena = g->a,
                                     .path = g->path,
                                     .compat = g->compat,
                                     .out = &g->recipes[document]};
}

/* Separators at the file's ends leave documents that hold nothing. */
static int find_documents(struct reading *g)
{
    struct wf_yaml **docs;
    size_t n_docs;
    int s = wf_yaml_parse(g->e, g->a, g->path, g->text, g->text_n, &docs, &n_docs);
    if (s)
        return s;
    g->docs = wf_arena_alloc(g->a, g->e, n_docs, sizeof *g->docs);
    if (!g->docs)
        return WF_MACHINE;
    for (size_t i = 0; i < n_docs; i++)
        if (docs[i]->kind != WF_YAML_NULL)
            g->docs[g->n++] = docs[i];
    if (!g->n)
        g->docs[g->n++] = docs[0]; /* to be told that it is empty */
    if (g->n > STAGES_MAX)
        return wf_fail(g->e, WF_USAGE, "%s:%d: %zu documents; at most %u stages are taken", g->path,
                       g->docs[STAGES_MAX]->line, g->n, STAGES_MAX);
    g->names = wf_arena_alloc(g->a, g->e, g->n, sizeof *g->names);
    g->lines = wf_arena_alloc(g->a, g->e, g->n, sizeof *g->lines);
    g->used = wf_arena_alloc(g->a, g->e, g->n * g->n, sizeof *g->used);
    g->recipes = wf_arena_alloc(g->a, g->e, g->n, sizeof *g->recipes);
    return g->names && g->lines && g->used && g->recipes ? WF_OK : WF_MACHINE;
}

/* ---- names ---- */

/* A stage's folder is called after it. */
static int check_name(struct reading *g, size_t document)
{
    struct wf_recipe_reader r = reader_of(g, document);
    const char *name = g->names[document];
    struct wf_clip clip;
    if (strchr(name, '/') || strstr(name, "..") || name[0] == '.' || wf_ends_with(name, ".partial"))
        return wf_recipe_fail(&r, g->lines[document],
                              "'name' is '%s': a stage's name holds no '/' and no '..', does not "
                              "begin with '.' or end in '.partial'",
                              wf_clip(name, &clip));
    if (strlen(name) > NAME_BYTES_MAX)
        return wf_recipe_fail(&r, g->lines[document],
                              "'name' has %zu bytes; of a stage's name at most %u are taken",
                              strlen(name), NAME_BYTES_MAX);
    for (size_t i = 0; i < document; i++)
        if (g->names[i] && !strcmp(g->names[i], name))
            return wf_recipe_fail(&r, g->lines[document],
                                  "a second stage with the name '%s' (first on line %d); give each "
                                  "its own",
                                  wf_clip(name, &clip), g->lines[i]);
    return WF_OK;
}

static int read_names(struct reading *g)
{
    size_t nameless = g->n;
    int s = WF_OK;
    for (size_t i = 0; !s && i < g->n; i++) {
        struct wf_recipe_reader r = reader_of(g, i);
        const struct wf_yaml *v = wf_recipe_get(g->docs[i], "name");
        g->lines[i] = v ? v->key_line : g->docs[i]->line;
        if (v) {
            s = wf_recipe_text(&r, v, "name", &g->names[i]);
            s = s ? s : check_name(g, i);
        } else if (nameless < g->n) {
            s = wf_recipe_fail(
                &r, g->lines[i],
                "a second document without a 'name' (the first on line %d); only the "
                "result may have none",
                g->lines[nameless]);
        } else {
            nameless = i;
        }
    }
    g->result = nameless < g->n ? nameless : g->n - 1;
    return s;
}

/* ---- documents ---- */

static void add_to_hash(struct wf_xxh *x, const struct wf_yaml *v)
{
    const char *key = v->key ? v->key : "";
    uint64_t shape[] = {v->kind, v->quoted, strlen(key), v->text_n, v->n};
    wf_xxh_add(x, shape, sizeof shape);
    wf_xxh_add(x, key, strlen(key));
    if (v->text_n)
        wf_xxh_add(x, v->text, v->text_n);
    for (size_t i = 0; i < v->n; i++)
        add_to_hash(x, v->children[i]);
}

/* What a stage does is in its document; lines, layout and other documents are not part of it. */
static int hash_document(struct reading *g, size_t document)
{
    struct wf_hash128 *own = wf_arena_alloc(g->a, g->e, 1, sizeof *own);
    struct wf_xxh *x = own ? wf_xxh_create(g->e) : NULL;
    if (!x)
        return WF_MACHINE;
    add_to_hash(x, g->docs[document]);
    *own = wf_xxh_digest(x);
    wf_xxh_destroy(x);
    g->recipes[document].own = own;
    return WF_OK;
}

/* What would have to stay where the stage is, and that is taken away. */
static int check_on_the_way(struct reading *g, size_t document)
{
    struct wf_recipe_reader r = reader_of(g, document);
    const struct wf_recipe *recipe = &g->recipes[document];
    if (recipe->deltas.wanted)
        return wf_recipe_fail(&r, recipe->deltas.line,
                              "'task_deltas' of the stage '%s', which only the result can have",
                              g->names[document]);
    if (recipe->method->adapters)
        return wf_recipe_fail(&r, recipe->method_line,
                              "merge_method '%s' makes adapters, no model for a later stage",
                              recipe->method->name);
    return WF_OK;
}

static int read_document(struct reading *g, size_t document)
{
    struct wf_recipe_reader r = reader_of(g, document);
    struct wf_stage_names stages = {g->names, g->lines, g->n, g->used + document * g->n};
    int s = wf_recipe_begin(&r, g->text, g->text_n, g->look);
    r.stages = g->n > 1 ? &stages : NULL;
    if (!s)
        s = wf_recipe_document(&r, g->docs[document]);
    if (!s && document != g->result)
        s = hash_document(g, document);
    return s || document == g->result ? s : check_on_the_way(g, document);
}

/* ---- order ---- */

enum mark { UNSEEN, OPEN, PLACED };

/* Follows the open stages from `document` back to itself, for the message. */
static int refuse_circle(struct reading *g, size_t from, size_t to)
{
    struct wf_recipe_reader r = reader_of(g, from);
    struct wf_clip a, b;
    int line = g->used[from * g->n + to];
    const char *name = g->names[from] ? g->names[from] : "the result";
    if (from == to)
        return wf_recipe_fail(&r, line, "the stage '%s' names itself as a model",
                              wf_clip(name, &a));
    return wf_recipe_fail(&r, line,
                          "the stage '%s' needs the stage '%s', which needs '%s' in turn: stages "
                          "cannot go in a circle",
                          wf_clip(name, &a), wf_clip(g->names[to], &b), a.text);
}

/* Puts a stage behind all that it needs. The depth is that of the stages: at most STAGES_MAX. */
static int place(struct reading *g, size_t document, enum mark *marks, struct wf_chain *out)
{
    marks[document] = OPEN;
    for (size_t i = 0; i < g->n; i++) {
        if (!g->used[document * g->n + i] || marks[i] == PLACED)
            continue;
        int s = marks[i] == OPEN ? refuse_circle(g, document, i) : place(g, i, marks, out);
        if (s)
            return s;
    }
    marks[document] = PLACED;
    out->run[out->n++] = (struct wf_chain_stage){.name = g->names[document],
                                                 .line = g->lines[document],
                                                 .recipe = g->recipes[document],
                                                 .document = document};
    return WF_OK;
}

static void find_users(const struct reading *g, struct wf_chain *chain)
{
    for (size_t i = 0; i < chain->n; i++) {
        size_t users = 0;
        for (size_t k = i + 1; k < chain->n; k++)
            if (g->used[chain->run[k].document * g->n + chain->run[i].document]) {
                chain->run[i].user = k;
                users++;
            }
        if (users != 1)
            chain->run[i].user = 0;
    }
}

/* The needed ones first; the others, to find their circles, go to a list that nobody runs. */
static int put_in_order(struct reading *g, struct wf_chain *out)
{
    struct wf_chain others = {.run = wf_arena_alloc(g->a, g->e, g->n, sizeof *out->run)};
    enum mark *marks = wf_arena_alloc(g->a, g->e, g->n, sizeof *marks);
    struct wf_clip clip;
    out->run = wf_arena_alloc(g->a, g->e, g->n, sizeof *out->run);
    if (!others.run || !out->run || !marks)
        return WF_MACHINE;
    int s = place(g, g->result, marks, out);
    find_users(g, out);
    for (size_t i = 0; !s && i < g->n; i++)
        s = marks[i] == UNSEEN ? place(g, i, marks, &others) : WF_OK;
    for (size_t i = 0; !s && i < others.n; i++)
        wf_log(WF_LOG_WARNING, "%s:%d: the result does not need the stage '%s', so it is not made",
               g->path, others.run[i].line, wf_clip(others.run[i].name, &clip));
    out->spare = others.run;
    out->n_spare = others.n;
    return s;
}

static int read_all(struct reading *g, struct wf_chain *out)
{
    int s = find_documents(g);
    *out = (struct wf_chain){0};
    if (!s && g->n > 1)
        s = read_names(g);
    for (size_t i = 0; !s && i < g->n; i++)
        s = read_document(g, i);
    return s ? s : put_in_order(g, out);
}

int wf_chain_read(struct wf_err *e, struct wf_arena *a, const char *path, bool compat,
                  struct wf_chain *out)
{
    struct reading g = {.e = e, .a = a, .path = path, .compat = compat, .look = true};
    int s = wf_recipe_load(e, a, path, &g.text, &g.text_n);
    return s ? s : read_all(&g, out);
}

int wf_chain_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                   size_t n, bool compat, struct wf_chain *out)
{
    struct reading g = {.e = e, .a = a, .path = path, .compat = compat, .text_n = n};
    g.text = wf_arena_strndup(a, e, text, n);
    return g.text ? read_all(&g, out) : WF_MACHINE;
}
