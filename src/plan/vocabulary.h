/* vocabulary.h - the vocabulary of a merge: which tokens it has, and where each of its rows is in
 * each model. A pure function of the models' vocabularies and the recipe's `tokenizer` section.
 *
 *   source base, or a model    its tokens, with its ids
 *   source union               the base's; behind them, as added tokens, ordinary tokens of the
 *                              others that it lacks; then the others' added tokens
 *   then                       keys of `tokens` that are not among them
 *
 * The row of token t in the new table of model k, the first that applies:
 *
 *   k has t, and `tokens` does not force it        k's own
 *   tokens[t].source                               what it names
 *   one model has t                                that model's
 *   the base has t                                 the base's
 *   some models have t                             their mean
 *   none has                                       zeros
 *
 * Rows that belong to no token are the mean of k's other rows. Where the vocabulary is the donor's,
 * unchanged, its table keeps its padding.
 */
#ifndef WF_VOCABULARY_H
#define WF_VOCABULARY_H

#include "../format/row_map.h"
#include "../format/tokenizer.h"
#include "../recipe/tokenizer_section.h"

/* A model of the merge, once. */
struct wf_vocab_party {
    const char *text; /* as the recipe names it */
    const struct wf_tokenizer *tokenizer;
    uint64_t rows; /* of its table of embeddings */
};

/* What is asked. Parties are the base, if there is one, then the models in the recipe's order. */
struct wf_vocab_request {
    const char *where; /* the recipe's path */
    const struct wf_recipe_tokenizer *section;
    const uint32_t *token_party; /* by entry of section->tokens: the model it names, if it does */
    const struct wf_vocab_party *parties;
    size_t n_parties;
    bool has_base; /* parties[0] is it */
    const struct wf_tokenizer *donor;
    uint64_t donor_rows; /* 0: the donor of the vocabulary is no party */
    bool compat;         /* as mergekit: no padding is kept, a union is never refused */
};

struct wf_new_vocab {
    struct wf_vocab vocab; /* settled */
    const struct wf_tokenizer *donor;
    struct wf_token *appended; /* to the donor's, in order of id */
    size_t n_appended;
    uint64_t rows;
    bool identity;            /* every model's tables stay as they are */
    struct wf_row_map **maps; /* by party; NULL: as it is */
    size_t n_zero;            /* tokens that no model has */
    const char *zero;         /* the first, for a message */
};

/* Maps, and all they point to, live in `a`; the vocabulary in `scratch`. What the recipe asks and
 * the models do not have is WF_USAGE. */
int wf_vocabulary_plan(struct wf_err *e, struct wf_arena *a, struct wf_arena *scratch,
                       const struct wf_vocab_request *q, struct wf_new_vocab *out);

#endif
