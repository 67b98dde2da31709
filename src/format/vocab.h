/* vocab.h - a vocabulary: texts and ids, found either way.
 *
 * Texts are bytes with a length (a token may hold NUL), compared as they are: no normalisation, no
 * folding of case. Ids may have holes.
 */
#ifndef WF_VOCAB_H
#define WF_VOCAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/mem.h"
#include "../base/status.h"

#define WF_VOCAB_TOKENS_MAX (1u << 24)
#define WF_VOCAB_ID_MAX ((uint32_t)INT32_MAX - 1)

enum wf_token_flag {
    WF_TOKEN_ADDED = 1, /* matched before the model segments; else a token of the model */
    WF_TOKEN_SPECIAL = 2,
    WF_TOKEN_SINGLE_WORD = 4,
    WF_TOKEN_LSTRIP = 8,
    WF_TOKEN_RSTRIP = 16,
    WF_TOKEN_NORMALIZED = 32,
};

struct wf_token {
    const char *text; /* n bytes, then a NUL for messages */
    uint32_t n;
    uint32_t id;
    uint32_t flags;
};

/* Zero-initialise but for the arena, which must outlive it; then add, then settle. */
struct wf_vocab {
    struct wf_arena *arena;
    struct wf_token *tokens; /* settled: by id */
    size_t n, capacity;
    uint32_t *slots; /* hash table: number of the token + 1 */
    size_t n_slots;
    size_t n_model;      /* tokens of the model, before any was added */
    int64_t added_top;   /* largest id among added tokens, -1: none; and among those of them that */
    int64_t fresh_top;   /* are not the model's as well */
    uint32_t rows_least; /* settled: largest id + 1 */
};

/* Appends a token that the vocabulary does not have. *out (may be NULL) is valid until the next. */
int wf_vocab_add(struct wf_err *e, struct wf_vocab *v, const char *text, size_t n, uint32_t id,
                 uint32_t flags, struct wf_token **out);

struct wf_token *wf_vocab_find(const struct wf_vocab *v, const char *text, size_t n);

/* The id that the tokenizers library gives to a token that is added now: the number of the model's
 * tokens, or one past the largest added id where that is not less. While a file is loaded, versions
 * differ in whether added tokens that are the model's as well count there: `fresh` says they do
 * not.
 */
uint32_t wf_vocab_next_id(const struct wf_vocab *v, bool fresh);

/* Notes that a token is an added one, be it the model's as well. */
void wf_vocab_mark_added(struct wf_vocab *v, struct wf_token *t, uint32_t flags);

/* Sorts by id. Two tokens of one id are WF_INPUT, naming both; `path` begins the message. */
int wf_vocab_settle(struct wf_err *e, struct wf_vocab *v, const char *path);

/* Settled: the token of this id, NULL if there is none. */
const struct wf_token *wf_vocab_at(const struct wf_vocab *v, uint32_t id);

/* A token's text for a message, between quotes that it cannot close: control characters as '?', at
 * most 60 bytes. Returns buf. */
#define WF_TOKEN_TEXT_MAX 72
char *wf_token_text(const char *text, size_t n, char buf[WF_TOKEN_TEXT_MAX]);

#endif
