/* vocab_models.h - the models of a merge, each once, when their vocabularies are looked at.
 * Private to tokenizers.c, tokenizer_output.c and vocab_sizes.c.
 */
#ifndef WF_VOCAB_MODELS_H
#define WF_VOCAB_MODELS_H

#include "../format/overlay_vocab.h"
#include "../plan/vocabulary.h"
#include "merge.h"
#include "tokenizers.h"

struct wf_vocab_model {
    const struct wf_ckpt *ckpt; /* as it was opened */
    const char *text;           /* as the recipe names it */
    int line;
    const struct wf_ckpt *shown; /* as it takes part: an overlay, where rows move */
};

/* The base, if there is one, then the models in the recipe's order. */
struct wf_vocab_models {
    struct wf_vocab_model *list;
    size_t n;
    bool has_base;
};

struct wf_vocab_work {
    struct wf_err *e;
    struct wf_setup *s;
    struct wf_arena scratch; /* vocabularies: gone when the maps are made */
    struct wf_vocab_models models;
    bool compat;
    struct wf_tokenizers *out;
};

/* True if an adapter on top has put a table of its own length in place of the model's. */
bool wf_vocab_is_resized(const struct wf_ckpt *c);

/* Where the tokenizer is that belongs to the model's table. */
struct wf_tokenizer_source wf_vocab_tokenizer_of(const struct wf_ckpt *c);

/* "recipe.yaml:7" */
const char *wf_vocab_where(struct wf_vocab_work *w, int line);

/* Puts what models are shown as in place of the set-up's base and models. */
void wf_vocab_replace(struct wf_vocab_work *w);

/* vocab_sizes.c: a recipe without the section. Tables of other lengths are an error, or with
 * --compat mergekit cut to the common rows; models that give one row to different tokens are warned
 * of. */
int wf_vocab_check_sizes(struct wf_vocab_work *w);

/* tokenizer_output.c: the tokenizer's files, and the edits of configs. `tokenizers` are those of
 * the models. */
int wf_tokenizer_output(struct wf_vocab_work *w, const struct wf_new_vocab *v,
                        const struct wf_tokenizer *const *tokenizers,
                        const struct wf_tokenizer_source *donor);

/* tokenizer_output.c: vocab_size, where config.json has it. */
int wf_vocab_size_edit(struct wf_vocab_work *w, uint64_t rows);

#endif
