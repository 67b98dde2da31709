/* vocab.c - a vocabulary: an array of tokens and a hash table over their texts. */
#include "vocab.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/hash.h"

#define SLOTS_MIN 64u

static size_t hash(const char *text, size_t n)
{
    struct wf_hash128 h = wf_xxh128(text, n);
    uint64_t first;
    memcpy(&first, h.bytes, sizeof first);
    return (size_t)first;
}

/* The slot of a text: where it is, or the free one where it would be put. */
static uint32_t *slot_of(const struct wf_vocab *v, const char *text, size_t n)
{
    size_t mask = v->n_slots - 1, at = hash(text, n) & mask;
    while (v->slots[at]) {
        const struct wf_token *t = &v->tokens[v->slots[at] - 1];
        if (t->n == n && !memcmp(t->text, text, n))
            break;
        at = (at + 1) & mask;
    }
    return &v->slots[at];
}

static void fill_slots(struct wf_vocab *v)
{
    memset(v->slots, 0, v->n_slots * sizeof *v->slots);
    for (size_t i = 0; i < v->n; i++)
        *slot_of(v, v->tokens[i].text, v->tokens[i].n) = (uint32_t)i + 1;
}

/* Room for one more token; the table is at most half full. Old arrays stay in the arena: together
 * they are as large as the last. */
static int make_room(struct wf_err *e, struct wf_vocab *v)
{
    if (v->n == v->capacity) {
        size_t capacity = v->capacity ? 2 * v->capacity : SLOTS_MIN / 2;
        struct wf_token *tokens = wf_arena_alloc(v->arena, e, capacity, sizeof *tokens);
        uint32_t *slots = wf_arena_alloc(v->arena, e, 2 * capacity, sizeof *slots);
        if (!tokens || !slots)
            return wf_err_status(e);
        if (v->n)
            memcpy(tokens, v->tokens, v->n * sizeof *tokens);
        v->tokens = tokens;
        v->capacity = capacity;
        v->slots = slots;
        v->n_slots = 2 * capacity;
        fill_slots(v);
    }
    return WF_OK;
}

int wf_vocab_add(struct wf_err *e, struct wf_vocab *v, const char *text, size_t n, uint32_t id,
                 uint32_t flags, struct wf_token **out)
{
    if (v->n == WF_VOCAB_TOKENS_MAX)
        return wf_fail(e, WF_INPUT, "a vocabulary of more than %u tokens", WF_VOCAB_TOKENS_MAX);
    int s = make_room(e, v);
    char *copy = s ? NULL : wf_arena_strndup(v->arena, e, text, n);
    if (!copy)
        return wf_err_status(e);
    if (!v->n)
        v->added_top = v->fresh_top = -1;
    struct wf_token *t = &v->tokens[v->n++];
    *t = (struct wf_token){.text = copy, .n = (uint32_t)n, .id = id};
    *slot_of(v, copy, n) = (uint32_t)v->n;
    if (flags & WF_TOKEN_ADDED) {
        wf_vocab_mark_added(v, t, flags);
        v->fresh_top = (int64_t)id > v->fresh_top ? (int64_t)id : v->fresh_top;
    } else {
        v->n_model++;
    }
    if (out)
        *out = t;
    return WF_OK;
}

struct wf_token *wf_vocab_find(const struct wf_vocab *v, const char *text, size_t n)
{
    uint32_t number = v->n ? *slot_of(v, text, n) : 0;
    return number ? &v->tokens[number - 1] : NULL;
}

uint32_t wf_vocab_next_id(const struct wf_vocab *v, bool fresh)
{
    int64_t next = (int64_t)v->n_model, top = fresh ? v->fresh_top : v->added_top;
    return (uint32_t)(v->n && top >= next ? top + 1 : next);
}

void wf_vocab_mark_added(struct wf_vocab *v, struct wf_token *t, uint32_t flags)
{
    t->flags = flags | WF_TOKEN_ADDED;
    if ((int64_t)t->id > v->added_top)
        v->added_top = t->id;
}

static int by_id(const void *left, const void *right)
{
    const struct wf_token *a = left, *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

int wf_vocab_settle(struct wf_err *e, struct wf_vocab *v, const char *path)
{
    char a[WF_TOKEN_TEXT_MAX], b[WF_TOKEN_TEXT_MAX];
    if (!v->n)
        return wf_fail(e, WF_INPUT, "%s: no tokens; restore the tokenizer's files", path);
    qsort(v->tokens, v->n, sizeof *v->tokens, by_id);
    for (size_t i = 1; i < v->n; i++)
        if (v->tokens[i - 1].id == v->tokens[i].id)
            return wf_fail(e, WF_INPUT,
                           "%s: tokens '%s' and '%s' have one id, %" PRIu32
                           "; restore the tokenizer's files",
                           path, wf_token_text(v->tokens[i - 1].text, v->tokens[i - 1].n, a),
                           wf_token_text(v->tokens[i].text, v->tokens[i].n, b), v->tokens[i].id);
    fill_slots(v);
    v->rows_least = v->tokens[v->n - 1].id + 1;
    return WF_OK;
}

const struct wf_token *wf_vocab_at(const struct wf_vocab *v, uint32_t id)
{
    struct wf_token key = {.id = id};
    return v->n ? bsearch(&key, v->tokens, v->n, sizeof *v->tokens, by_id) : NULL;
}

char *wf_token_text(const char *text, size_t n, char buf[WF_TOKEN_TEXT_MAX])
{
    const size_t room = 60;
    bool cut = n > room;
    n = cut ? room : n;
    while (cut && n && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--; /* whole characters */
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        buf[i] = c < 0x20 || c == 0x7f ? '?' : text[i];
    }
    snprintf(buf + n, WF_TOKEN_TEXT_MAX - n, "%s", cut ? "..." : "");
    return buf;
}
