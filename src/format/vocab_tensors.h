/* vocab_tensors.h - which tensors of a model have an axis that counts tokens.
 *
 * By name, from a list of what families call their tables, heads and biases, and by length: that of
 * the table of input embeddings.
 */
#ifndef WF_VOCAB_TENSORS_H
#define WF_VOCAB_TENSORS_H

#include "ckpt.h"

/* The table of input embeddings: of several the one with as many rows as config.json's vocab_size,
 * else the largest. NULL if no tensor is called so. */
const struct wf_tensor *wf_vocab_table(const struct wf_ckpt *c);

/* The tensor of this name, or NULL. A head that is tied to the table, and not stored, is the table.
 */
const struct wf_tensor *wf_vocab_tensor_of(const struct wf_ckpt *c, const char *name);

/* vocab_size of config.json, of text_config where that has its own; false if it does not say. */
bool wf_vocab_size(const struct wf_json *config, uint64_t *size);

/* What a tensor's name says: the axis that counts tokens, or -1. */
int wf_vocab_axis(const struct wf_tensor *t);

/* True for a tensor of another name, outside of layers, whose first axis has `rows` entries while
 * no other has: whoever moves rows has to know what it is. */
bool wf_vocab_may_be(const struct wf_tensor *t, uint64_t rows);

#endif
