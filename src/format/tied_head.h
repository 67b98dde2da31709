/* tied_head.h - models whose output layer reads the embedding table, and store it a second time all
 * the same.
 */
#ifndef WF_TIED_HEAD_H
#define WF_TIED_HEAD_H

#include "ckpt.h"

/* True if the name is one that families give to the table of token embeddings. */
bool wf_is_token_table(const char *name);

/* True if the name is one that families give to the output layer. */
bool wf_is_head(const char *name);

/* The model's config.json says that head and table are one. */
bool wf_says_tied(const struct wf_ckpt *c);

/* The stored head of a model whose config.json says tie_word_embeddings: true; NULL if the model is
 * not tied, or stores no head. An absent key ties nothing: its default differs between families. */
const struct wf_tensor *wf_tied_head(const struct wf_ckpt *c);

#endif
