/* vocab_sizes.c - a recipe that says nothing of the vocabulary: do the models' tables fit together?
 *
 *   equal lengths, equal tokenizers     nothing to say
 *   equal lengths, others               a warning, if one row is different tokens
 *   different lengths                   an error that says what to write; under --compat mergekit
 *                                       the rows that all have, as there
 */
#include <inttypes.h>
#include <string.h>

#include "../base/log.h"
#include "../base/num.h"
#include "../format/tied_head.h"
#include "../format/vocab_tensors.h"
#include "vocab_models.h"

/* Tensors that are cut to the rows that all models have. */
struct cutting {
    struct wf_vocab_tensor *list;
    size_t n;
    uint64_t rows; /* of the table of embeddings */
};

/* ---- lengths ---- */

/* Of the tensors of one name along the vocabulary: the least length, and whether they differ in
 * nothing else. */
struct lengths {
    uint64_t least, most;
    size_t shortest, longest; /* models */
    bool alike;
};

static bool fits(const struct wf_tensor *t, const struct wf_tensor *u, int axis)
{
    bool same = t->n_dims == u->n_dims;
    for (unsigned d = 0; same && d < t->n_dims; d++)
        same = (int)d == axis || t->shape[d] == u->shape[d];
    return same;
}

/* How long the tensor will be: a tied head is a table that may have been cut. */
static uint64_t length_of(const struct wf_tensor *t, int axis, const struct cutting *cut)
{
    for (size_t i = 0; i < cut->n; i++)
        if (!strcmp(cut->list[i].name, t->name))
            return cut->list[i].map->rows;
    return t->shape[axis];
}

static struct lengths measure(const struct wf_vocab_models *m, const struct wf_tensor *t, int axis,
                              const struct cutting *cut)
{
    struct lengths l = {.least = UINT64_MAX, .alike = true};
    for (size_t i = 0; i < m->n; i++) {
        const struct wf_tensor *u = wf_vocab_tensor_of(m->list[i].ckpt, t->name);
        if (!u)
            continue;
        if (!fits(t, u, axis)) {
            l.alike = false;
            break;
        }
        uint64_t length = length_of(u, axis, cut);
        if (length < l.least) {
            l.least = length;
            l.shortest = i;
        }
        if (length > l.most) {
            l.most = length;
            l.longest = i;
        }
    }
    return l;
}

static int refuse(struct wf_vocab_work *w, const struct wf_tensor *t, const struct lengths *l)
{
    const struct wf_vocab_model *a = &w->models.list[l->longest], *b = &w->models.list[l->shortest];
    const struct wf_vocab_model *later = l->longest > l->shortest ? a : b;
    return wf_fail(w->e, WF_USAGE,
                   "%s:%d: tensor '%s' has %" PRIu64 " rows in %s but %" PRIu64
                   " in %s: their vocabularies differ; say tokenizer: {source: base} (or union, or "
                   "a model) to bring rows together by token",
                   w->s->recipe.path, later->line, t->name, l->most, a->text, l->least, b->text);
}

/* ---- the common rows, as mergekit cuts ---- */

/* The first rows of a table. */
static int first_rows(struct wf_vocab_work *w, uint64_t rows, const struct wf_row_map **out)
{
    struct wf_row_map *map = wf_arena_alloc(&w->s->arena, w->e, 1, sizeof *map);
    if (rows > WF_VOCAB_ID_MAX)
        return wf_fail(w->e, WF_USAGE, "%s: a table of %" PRIu64 " rows is too large",
                       w->s->recipe.path, rows);
    int32_t *from = wf_arena_alloc(&w->s->arena, w->e, rows, sizeof *from);
    if (!map || !from)
        return WF_MACHINE;
    for (uint64_t i = 0; i < rows; i++)
        from[i] = (int32_t)i;
    *map = (struct wf_row_map){.rows = rows, .from = from};
    *out = map;
    return WF_OK;
}

static int add_cut(struct wf_vocab_work *w, const struct wf_tensor *t, int axis,
                   const struct lengths *l, struct cutting *cut)
{
    const struct wf_row_map *map = NULL;
    for (size_t i = 0; i < cut->n; i++)
        if (cut->list[i].map->rows == l->least)
            map = cut->list[i].map;
    int s = map ? WF_OK : first_rows(w, l->least, &map);
    cut->list[cut->n++] = (struct wf_vocab_tensor){t->name, (unsigned)axis, map};
    if (wf_vocab_table(w->models.list[0].ckpt) == t)
        cut->rows = l->least;
    if (!s)
        wf_log(WF_LOG_WARNING,
               "%s: tensor '%s' has %" PRIu64 " to %" PRIu64 " rows; cut to the first %" PRIu64
               ", as mergekit does",
               w->s->recipe.path, t->name, l->least, l->most, l->least);
    return s;
}

static int lay_cuts(struct wf_vocab_work *w, const struct cutting *cut)
{
    struct wf_vocab_models *m = &w->models;
    struct wf_ckpt *overlays = wf_arena_alloc(&w->s->arena, w->e, m->n, sizeof *overlays);
    int s = overlays ? WF_OK : WF_MACHINE;
    for (size_t i = 0; i < m->n && !s; i++) {
        s = wf_overlay_vocab(w->e, &w->s->arena, wf_vocab_where(w, m->list[i].line),
                             m->list[i].ckpt, cut->list, cut->n, NULL, 0, cut->list[0].map,
                             &overlays[i]);
        m->list[i].shown = &overlays[i];
    }
    if (!s)
        wf_vocab_replace(w);
    return s || !cut->rows ? s : wf_vocab_size_edit(w, cut->rows);
}

/* ---- one row, two tokens ---- */

static void compare(struct wf_vocab_work *w, const struct wf_vocab_model *a,
                    const struct wf_tokenizer *x, const struct wf_vocab_model *b,
                    const struct wf_tokenizer *y)
{
    char p[WF_TOKEN_TEXT_MAX], q[WF_TOKEN_TEXT_MAX];
    size_t n = 0, first = 0;
    for (size_t i = 0; i < x->vocab.n; i++) {
        const struct wf_token *t = &x->vocab.tokens[i], *u = wf_vocab_at(&y->vocab, t->id);
        if (u && (u->n != t->n || memcmp(u->text, t->text, t->n) != 0) && n++ == 0)
            first = i;
    }
    if (!n)
        return;
    const struct wf_token *t = &x->vocab.tokens[first], *u = wf_vocab_at(&y->vocab, t->id);
    wf_log(WF_LOG_WARNING,
           "%s:%d: %zu row%s of the vocabulary %s one token in %s and another in %s (first: row "
           "%" PRIu32 " is '%s' there and '%s' here); say tokenizer: {source: base} to bring rows "
           "together by token",
           w->s->recipe.path, b->line, n, n == 1 ? "" : "s", n == 1 ? "is" : "are", a->text,
           b->text, t->id, wf_token_text(t->text, t->n, p), wf_token_text(u->text, u->n, q));
}

/* A tokenizer that cannot be read is nobody's business here: its files travel as they are. */
static bool read_quietly(struct wf_vocab_work *w, const struct wf_vocab_model *m,
                         struct wf_tokenizer *out)
{
    struct wf_err why = {0};
    struct wf_tokenizer_source from = wf_vocab_tokenizer_of(m->ckpt);
    if (!wf_tokenizer_open(&why, &w->scratch, &from, out))
        return out->path && !out->opaque;
    wf_log(WF_LOG_DEBUG, "%s", why.text);
    return false;
}

static void warn_of_rows(struct wf_vocab_work *w)
{
    struct wf_hash128 first, hash;
    struct wf_err none = {0};
    const struct wf_vocab_model *m = w->models.list;
    struct wf_tokenizer x = {0}, y;
    bool found, read = false;
    struct wf_tokenizer_source from = wf_vocab_tokenizer_of(m[0].ckpt);
    if (wf_tokenizer_hash(&none, &from, &found, &first) || !found)
        return;
    for (size_t i = 1; i < w->models.n; i++) {
        from = wf_vocab_tokenizer_of(m[i].ckpt);
        if (wf_tokenizer_hash(&none, &from, &found, &hash) || !found ||
            wf_hash128_equal(&first, &hash))
            continue;
        if (!read && !read_quietly(w, &m[0], &x))
            return;
        read = true;
        if (read_quietly(w, &m[i], &y))
            compare(w, &m[0], &x, &m[i], &y);
    }
}

/* ---- the whole ---- */

static bool has_before(const struct wf_vocab_models *m, size_t model, const char *name)
{
    for (size_t i = 0; i < model; i++)
        if (wf_ckpt_find(m->list[i].ckpt, name))
            return true;
    return false;
}

/* Heads, or all others, of one model that no model before it has. */
static int check_model(struct wf_vocab_work *w, size_t model, bool heads, struct cutting *cut)
{
    const struct wf_ckpt *c = w->models.list[model].ckpt;
    int s = WF_OK;
    for (size_t t = 0; !s && t < c->n_tensors; t++) {
        const struct wf_tensor *tensor = &c->tensors[t];
        int axis = wf_is_head(tensor->name) == heads ? wf_vocab_axis(tensor) : -1;
        if (axis < 0 || !wf_recipe_takes_part(&w->s->recipe, tensor->name) ||
            has_before(&w->models, model, tensor->name))
            continue;
        struct lengths l = measure(&w->models, tensor, axis, cut);
        if (l.alike && l.least && l.least != l.most)
            s = w->compat ? add_cut(w, tensor, axis, &l, cut) : refuse(w, tensor, &l);
    }
    return s;
}

int wf_vocab_check_sizes(struct wf_vocab_work *w)
{
    const struct wf_vocab_models *m = &w->models;
    size_t most = 0;
    for (size_t i = 0; i < m->n; i++)
        most += m->list[i].ckpt->n_tensors;
    struct cutting cut = {.list = wf_arena_alloc(&w->scratch, w->e, most, sizeof *cut.list)};
    int s = m->n && cut.list ? WF_OK : WF_MACHINE;
    for (size_t i = 0; i < m->n && !s; i++)
        if (wf_vocab_is_resized(m->list[i].ckpt))
            s = wf_fail(w->e, WF_USAGE,
                        "%s: %s has a table of embeddings of another length than %s; say "
                        "tokenizer: {source: ...} with the model whose tokenizer the result is to "
                        "have",
                        wf_vocab_where(w, m->list[i].line), m->list[i].ckpt->top->place.path,
                        m->list[i].ckpt->place.path);
    for (size_t i = 0; i < m->n && !s; i++)
        s = check_model(w, i, false, &cut);
    for (size_t i = 0; i < m->n && !s; i++) /* tied ones are as long as their tables are by now */
        s = check_model(w, i, true, &cut);
    if (!s && cut.n)
        return lay_cuts(w, &cut);
    if (!s && m->n > 1)
        warn_of_rows(w);
    return s;
}
