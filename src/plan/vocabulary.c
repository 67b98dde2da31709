/* vocabulary.c - the new vocabulary, and a map of rows for each model; see vocabulary.h. */
#include "vocabulary.h"

#include <inttypes.h>
#include <string.h>

#include "../base/log.h"
#include "../base/num.h"
#include "../base/str.h"

/* A union that appends more ordinary tokens than this joins vocabularies that have little in
 * common: they would be matched literally, before the base segments. A tokenizer with more tokens
 * than this beyond its table's rows is another model's. */
#define STRANGERS_SHARE 0.01
#define STRANGERS_LEAST 4u

#define NOWHERE UINT32_MAX

struct planning {
    struct wf_err *e;
    struct wf_arena *a, *scratch;
    const struct wf_vocab_request *q;
    struct wf_new_vocab *out;
    size_t appended_max;
    struct wf_made_row *made;
    size_t n_made, made_max;
    uint32_t *setting; /* by token of the result: 1 + its place in the section's tokens; 0: none */
};

/* ---- tokens ---- */

static int append(struct planning *p, const char *text, size_t n, uint32_t flags)
{
    struct wf_new_vocab *out = p->out;
    uint32_t id = wf_vocab_next_id(&out->vocab, false);
    bool unclear = id != wf_vocab_next_id(&out->vocab, true);
    struct wf_token *list = wf_arena_grow(p->scratch, p->e, out->appended, out->n_appended,
                                          &p->appended_max, sizeof *list);
    if (!list)
        return wf_err_status(p->e);
    out->appended = list;
    const struct wf_token *taken = wf_vocab_at(&p->q->donor->vocab, id);
    char buf[2][WF_TOKEN_TEXT_MAX];
    if (taken || unclear)
        return wf_fail(p->e, WF_USAGE,
                       "%s:%d: the ids of %s have holes, so token '%s', appended to it, would get "
                       "%s%s, %" PRIu32 "; use 'source: base' without 'tokens'",
                       p->q->where, p->q->section->line, p->q->donor->path,
                       wf_token_text(text, n, buf[0]),
                       taken ? "the id of " : "an id that depends on the loader's version",
                       taken ? wf_token_text(taken->text, taken->n, buf[1]) : "", id);
    struct wf_token *t;
    int s = wf_vocab_add(p->e, &out->vocab, text, n, id, flags | WF_TOKEN_ADDED, &t);
    if (!s)
        out->appended[out->n_appended++] = *t;
    return s;
}

static bool are_many(const struct planning *p, size_t n)
{
    return n > STRANGERS_LEAST && (double)n > STRANGERS_SHARE * (double)p->q->donor->vocab.n;
}

/* Tokens of the donor behind the last row of its table, as a fine-tune leaves them that added a
 * token of padding to its tokenizer alone: they get rows, like any token that a model lacks. Many
 * of them are a tokenizer of another model. */
static int check_donor(const struct planning *p)
{
    const struct wf_vocab_request *q = p->q;
    const struct wf_vocab *v = &q->donor->vocab;
    const struct wf_token *first = NULL;
    char buf[WF_TOKEN_TEXT_MAX];
    size_t n = 0;
    for (size_t i = 0; i < v->n && q->section->source != WF_VOCAB_MODEL; i++)
        if (v->tokens[i].id >= q->donor_rows && !n++)
            first = &v->tokens[i];
    if (!n)
        return WF_OK;
    wf_token_text(first->text, first->n, buf);
    if (are_many(p, n) && !q->section->force && !q->compat)
        return wf_fail(p->e, WF_USAGE,
                       "%s:%d: %zu tokens of %s have ids beyond the %" PRIu64
                       " rows of the base's table of embeddings (first: '%s', id %" PRIu32
                       "): it is the tokenizer of another model; name the model that it belongs "
                       "to as 'source', or say 'force: true' in 'tokenizer' to give them rows",
                       q->where, q->section->line, n, q->donor->path, q->donor_rows, buf,
                       first->id);
    wf_log(WF_LOG_WARNING,
           "%s:%d: %zu token%s of %s %s beyond the %" PRIu64
           " rows of the base's table of embeddings (first: '%s', id %" PRIu32 ") and get%s %s",
           q->where, q->section->line, n, n == 1 ? "" : "s", q->donor->path, n == 1 ? "is" : "are",
           q->donor_rows, buf, first->id, n == 1 ? "s" : "", n == 1 ? "a row" : "rows");
    return WF_OK;
}

static int copy_donor(struct planning *p)
{
    const struct wf_vocab *from = &p->q->donor->vocab;
    struct wf_vocab *v = &p->out->vocab;
    int s = check_donor(p);
    for (size_t i = 0; i < from->n && !s; i++) {
        const struct wf_token *t = &from->tokens[i];
        s = wf_vocab_add(p->e, v, t->text, t->n, t->id, t->flags, NULL);
    }
    v->n_model = from->n_model;
    v->added_top = from->added_top;
    v->fresh_top = from->fresh_top;
    return s;
}

/* Byte-level pieces ("Ġthe") never match a text that the other kind ("▁the") segments. */
static int check_kinds(const struct planning *p, const struct wf_vocab_party *k)
{
    const struct wf_tokenizer *a = p->q->donor, *b = k->tokenizer;
    bool differ =
        a->json.segmentation != b->json.segmentation || a->json.byte_level != b->json.byte_level;
    if (a == b || !differ || p->q->section->force || p->q->compat)
        return WF_OK;
    return wf_fail(
        p->e, WF_USAGE,
        "%s:%d: union of vocabularies of different kinds: %s is %s%s, %s is %s%s; use "
        "'source: base', or say 'force: true' in 'tokenizer'",
        p->q->where, p->q->section->line, a->path, wf_segmentation_name(a->json.segmentation),
        a->json.byte_level ? " of bytes" : "", b->path, wf_segmentation_name(b->json.segmentation),
        b->json.byte_level ? " of bytes" : "");
}

/* Appends what the output lacks of a model's tokens: its ordinary ones, or its added ones. */
static int join(struct planning *p, const struct wf_vocab_party *k, bool added)
{
    const struct wf_vocab *v = &k->tokenizer->vocab;
    int s = WF_OK;
    for (size_t i = 0; i < v->n && !s && v->tokens[i].id < k->rows; i++) {
        const struct wf_token *t = &v->tokens[i];
        if (((t->flags & WF_TOKEN_ADDED) != 0) == added &&
            !wf_vocab_find(&p->out->vocab, t->text, t->n))
            s = append(p, t->text, t->n, added ? t->flags : WF_TOKEN_NORMALIZED);
    }
    return s;
}

static int check_strangers(const struct planning *p)
{
    const struct wf_vocab_request *q = p->q;
    size_t n = p->out->n_appended, base = q->donor->vocab.n;
    if (!are_many(p, n) || q->section->force)
        return WF_OK;
    if (!q->compat)
        return wf_fail(p->e, WF_USAGE,
                       "%s:%d: union would append %zu ordinary tokens to the %zu of %s, where they "
                       "are matched literally before anything is segmented; use 'source: base', or "
                       "say 'force: true' in 'tokenizer'",
                       q->where, q->section->line, n, base, q->donor->path);
    wf_log(WF_LOG_WARNING,
           "%s:%d: union appends %zu ordinary tokens to the %zu of %s, where they are matched "
           "literally before anything is segmented",
           q->where, q->section->line, n, base, q->donor->path);
    return WF_OK;
}

static int join_all(struct planning *p)
{
    const struct wf_vocab_request *q = p->q;
    int s = WF_OK;
    for (size_t k = 0; k < q->n_parties && !s; k++)
        s = check_kinds(p, &q->parties[k]);
    for (size_t k = 0; k < q->n_parties && !s; k++)
        s = join(p, &q->parties[k], false);
    if (!s)
        s = check_strangers(p);
    for (size_t k = 0; k < q->n_parties && !s; k++)
        s = join(p, &q->parties[k], true);
    return s;
}

static int build_vocab(struct planning *p)
{
    const struct wf_recipe_tokenizer *section = p->q->section;
    int s = copy_donor(p);
    if (!s && section->source == WF_VOCAB_UNION)
        s = join_all(p);
    for (size_t i = 0; i < section->n_tokens && !s; i++) {
        const struct wf_recipe_token *t = &section->tokens[i];
        if (!wf_vocab_find(&p->out->vocab, t->text, t->n))
            s = append(p, t->text, t->n, WF_TOKEN_NORMALIZED);
    }
    return s ? s : wf_vocab_settle(p->e, &p->out->vocab, p->q->donor->path);
}

/* ---- sizes ---- */

static void set_rows(struct planning *p)
{
    const struct wf_vocab_request *q = p->q;
    uint64_t multiple = q->section->multiple;
    p->out->rows = wf_max_u64(p->out->vocab.n, p->out->vocab.rows_least);
    if (multiple)
        p->out->rows = wf_round_up(p->out->rows, multiple);
    else if (!q->compat && !p->out->n_appended)
        p->out->rows = wf_max_u64(p->out->rows, q->donor_rows);
}

/* The token's row in a model, or NOWHERE. */
static uint32_t row_in(const struct wf_vocab_party *k, const char *text, size_t n)
{
    const struct wf_token *t = wf_vocab_find(&k->tokenizer->vocab, text, n);
    return t && t->id < k->rows ? t->id : NOWHERE;
}

/* Every token of the output has that id in the model, which has no others. */
static bool has_same(const struct planning *p, const struct wf_vocab_party *k)
{
    const struct wf_vocab *v = &p->out->vocab, *own = &k->tokenizer->vocab;
    if (k->rows != p->out->rows || own->n != v->n)
        return false;
    for (size_t i = 0; i < v->n && own != &p->q->donor->vocab; i++)
        if (row_in(k, v->tokens[i].text, v->tokens[i].n) != v->tokens[i].id)
            return false;
    return true;
}

static bool is_identity(const struct planning *p)
{
    const struct wf_vocab_request *q = p->q;
    for (size_t k = 0; k < q->n_parties; k++)
        if (!has_same(p, &q->parties[k]))
            return false;
    for (size_t i = 0; i < q->section->n_tokens; i++)
        if (q->section->tokens[i].force)
            return false;
    return !p->out->n_appended && !(q->compat && p->out->rows != p->out->vocab.n);
}

/* ---- rows ---- */

/* Which of the section's tokens are which of the result's, of two that are equal the first. */
static int find_settings(struct planning *p)
{
    const struct wf_recipe_tokenizer *section = p->q->section;
    const struct wf_vocab *v = &p->out->vocab;
    p->setting = wf_arena_alloc(p->scratch, p->e, v->n, sizeof *p->setting);
    if (!p->setting)
        return wf_err_status(p->e);
    for (size_t i = section->n_tokens; i > 0; i--) {
        const struct wf_recipe_token *t = &section->tokens[i - 1];
        const struct wf_token *found = wf_vocab_find(v, t->text, t->n);
        if (found)
            p->setting[found - v->tokens] = (uint32_t)i;
    }
    return WF_OK;
}

static const struct wf_recipe_token *setting_of(const struct planning *p, const struct wf_token *t,
                                                uint32_t *party)
{
    uint32_t i = p->setting[t - p->out->vocab.tokens];
    if (!i)
        return NULL;
    *party = p->q->token_party[i - 1];
    return &p->q->section->tokens[i - 1];
}

/* The row that a setting names. */
static int named_row(const struct planning *p, const struct wf_recipe_token *t, uint32_t party,
                     struct wf_row_ref *ref)
{
    const struct wf_vocab_party *k = &p->q->parties[party];
    char a[WF_TOKEN_TEXT_MAX], b[WF_TOKEN_TEXT_MAX];
    bool own = t->source == WF_ROW_OF_MODEL;
    const char *text = own ? t->text : t->other;
    size_t n = own ? t->n : t->other_n;
    wf_token_text(t->text, t->n, a);
    ref->model = party;
    ref->row = text ? row_in(k, text, n) : t->other_id;
    if (ref->row == NOWHERE)
        return wf_fail(p->e, WF_USAGE,
                       "%s:%d: token '%s': %s has no row for '%s'; name a model or token that has "
                       "one, or {kind: zero}",
                       p->q->where, t->line, a, k->text, wf_token_text(text, n, b));
    if (ref->row >= k->rows)
        return wf_fail(p->e, WF_USAGE,
                       "%s:%d: token '%s': token_id %" PRIu32 " is beyond the %" PRIu64
                       " rows of %s",
                       p->q->where, t->line, a, ref->row, k->rows, k->text);
    return WF_OK;
}

/* What a token's row is made of: refs[0..*n), with room for one for each model. */
static int reckon_row(struct planning *p, const struct wf_token *t, struct wf_row_ref *refs,
                      uint32_t *n, bool *force)
{
    const struct wf_vocab_request *q = p->q;
    uint32_t party = 0;
    const struct wf_recipe_token *setting = setting_of(p, t, &party);
    *n = 0;
    *force = setting && setting->force;
    if (setting && setting->source == WF_ROW_ZERO)
        return WF_OK;
    if (setting && setting->source != WF_ROW_BY_RULE) {
        *n = 1;
        return named_row(p, setting, party, refs);
    }
    for (uint32_t k = 0; k < q->n_parties; k++) {
        uint32_t row = row_in(&q->parties[k], t->text, t->n);
        if (row != NOWHERE)
            refs[(*n)++] = (struct wf_row_ref){k, row};
    }
    if (*n > 1 && q->has_base && refs[0].model == 0)
        *n = 1; /* the base's */
    if (!*n && !p->out->n_zero++)
        p->out->zero = t->text;
    return WF_OK;
}

/* The number of a new made row, as wf_row_map.from has it. */
static int add_made(struct planning *p, const struct wf_row_ref *refs, uint32_t n, int32_t *from)
{
    struct wf_made_row *list =
        wf_arena_grow(p->a, p->e, p->made, p->n_made, &p->made_max, sizeof *list);
    struct wf_row_ref *copy = wf_arena_alloc(p->a, p->e, n, sizeof *copy);
    if (!list || !copy)
        return wf_err_status(p->e);
    p->made = list;
    if (n)
        memcpy(copy, refs, n * sizeof *copy);
    p->made[p->n_made] = (struct wf_made_row){copy, n};
    *from = WF_ROW_MADE_FIRST - (int32_t)p->n_made++;
    return WF_OK;
}

static bool lacks_row(const struct planning *p, const struct wf_token *t)
{
    for (size_t k = 0; k < p->q->n_parties; k++)
        if (row_in(&p->q->parties[k], t->text, t->n) == NOWHERE)
            return true;
    return false;
}

/* defaults[i]: what token i's row is in a model that lacks it; *forced[i]: in every model. */
static int reckon_rows(struct planning *p, int32_t *defaults, bool *forced)
{
    const struct wf_vocab *v = &p->out->vocab;
    struct wf_row_ref *refs = wf_arena_alloc(p->scratch, p->e, p->q->n_parties, sizeof *refs);
    int s = refs ? WF_OK : wf_err_status(p->e);
    for (size_t i = 0; i < v->n && !s; i++) {
        uint32_t n, party;
        const struct wf_recipe_token *setting = setting_of(p, &v->tokens[i], &party);
        if (!setting && !lacks_row(p, &v->tokens[i]))
            continue;
        s = reckon_row(p, &v->tokens[i], refs, &n, &forced[i]);
        if (!s && (forced[i] || lacks_row(p, &v->tokens[i])))
            s = add_made(p, refs, n, &defaults[i]);
    }
    return s;
}

/* A row behind the last token, in a table that keeps the donor's padding: the model's own, if it
 * has padding there, too. */
static int32_t padding_row(const struct planning *p, const struct wf_vocab_party *k, uint64_t row)
{
    bool kept = row >= p->out->vocab.rows_least && !p->q->section->multiple && !p->q->compat;
    if (kept && row < k->rows && row >= k->tokenizer->vocab.rows_least)
        return (int32_t)row;
    return WF_ROW_MEAN;
}

static int fill_map(struct planning *p, const struct wf_vocab_party *k, const int32_t *defaults,
                    const bool *forced, struct wf_row_map **out)
{
    const struct wf_vocab *v = &p->out->vocab;
    uint64_t rows = p->out->rows;
    struct wf_row_map *map = wf_arena_alloc(p->a, p->e, 1, sizeof *map);
    int32_t *from = wf_arena_alloc(p->a, p->e, rows, sizeof *from);
    bool same = rows == k->rows;
    if (!map || !from)
        return wf_err_status(p->e);
    *map = (struct wf_row_map){.rows = rows, .from = from};
    for (uint64_t row = 0; row < rows; row++)
        from[row] = padding_row(p, k, row);
    for (size_t i = 0; i < v->n; i++) {
        uint32_t own = forced[i] ? NOWHERE : row_in(k, v->tokens[i].text, v->tokens[i].n);
        from[v->tokens[i].id] = own == NOWHERE ? defaults[i] : (int32_t)own;
    }
    for (uint64_t row = 0; row < rows; row++) {
        map->n_means += from[row] == WF_ROW_MEAN;
        map->makes |= from[row] < 0;
        same &= from[row] == (int64_t)row;
    }
    map->made = p->made;
    map->n_made = map->makes ? p->n_made : 0;
    *out = same ? NULL : map;
    return WF_OK;
}

/* Models of one vocabulary and size have one map. */
static int fill_maps(struct planning *p)
{
    const struct wf_vocab_request *q = p->q;
    size_t n = p->out->vocab.n;
    int32_t *defaults = wf_arena_alloc(p->scratch, p->e, n, sizeof *defaults);
    bool *forced = wf_arena_alloc(p->scratch, p->e, n, sizeof *forced);
    p->out->maps = wf_arena_alloc(p->a, p->e, q->n_parties, sizeof *p->out->maps);
    if (!defaults || !forced || !p->out->maps)
        return wf_err_status(p->e);
    p->out->identity = is_identity(p);
    if (p->out->identity)
        return WF_OK;
    int s = find_settings(p);
    if (!s)
        s = reckon_rows(p, defaults, forced);
    for (size_t k = 0; k < q->n_parties && !s; k++) {
        size_t j = 0;
        while (j < k && (q->parties[j].tokenizer != q->parties[k].tokenizer ||
                         q->parties[j].rows != q->parties[k].rows))
            j++;
        if (j < k)
            p->out->maps[k] = p->out->maps[j];
        else
            s = fill_map(p, &q->parties[k], defaults, forced, &p->out->maps[k]);
    }
    return s;
}

int wf_vocabulary_plan(struct wf_err *e, struct wf_arena *a, struct wf_arena *scratch,
                       const struct wf_vocab_request *q, struct wf_new_vocab *out)
{
    struct planning p = {.e = e, .a = a, .scratch = scratch, .q = q, .out = out};
    *out = (struct wf_new_vocab){.donor = q->donor, .vocab.arena = scratch};
    int s = build_vocab(&p);
    if (s)
        return s;
    set_rows(&p);
    if (out->rows > WF_VOCAB_ID_MAX)
        return wf_fail(e, WF_USAGE, "%s:%d: a table of %" PRIu64 " rows is too large", q->where,
                       q->section->line, out->rows);
    return fill_maps(&p);
}
