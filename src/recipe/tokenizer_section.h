/* tokenizer_section.h - what a recipe says of the vocabulary: `tokenizer_source: base`, or
 * `tokenizer: {source: union, tokens: {...}, pad_to_multiple_of: 64}`.
 */
#ifndef WF_TOKENIZER_SECTION_H
#define WF_TOKENIZER_SECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reference.h"

enum wf_vocab_source { WF_VOCAB_BASE, WF_VOCAB_UNION, WF_VOCAB_MODEL };

enum wf_row_source {
    WF_ROW_BY_RULE,     /* no `source`: the one model that has the token, the base, the mean */
    WF_ROW_OF_MODEL,    /* a model's row for this token */
    WF_ROW_MODEL_TOKEN, /* {kind: model_token, model, token | token_id} */
    WF_ROW_ZERO,        /* {kind: zero} */
};

/* One key of `tokens`. */
struct wf_recipe_token {
    const char *text;
    size_t n;
    int line;
    enum wf_row_source source;
    struct wf_reference model; /* OF_MODEL, MODEL_TOKEN */
    const char *other;         /* MODEL_TOKEN: the token; NULL: by id */
    size_t other_n;
    uint32_t other_id;
    bool force; /* models that have the token get the row, too */
};

struct wf_recipe_tokenizer {
    bool given; /* tokenizer_source or tokenizer */
    int line;
    enum wf_vocab_source source;
    struct wf_reference model; /* WF_VOCAB_MODEL */
    bool force;                /* a union of vocabularies that have little in common, too */
    uint64_t multiple;         /* pad_to_multiple_of; 0: not given */
    struct wf_recipe_token *tokens;
    size_t n_tokens;
};

#endif
