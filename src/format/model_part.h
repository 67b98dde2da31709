/* model_part.h - which tensors a recipe's `modules` mean, from names alone.
 *
 *     modules:                       takes
 *       vision_tower                 names with a component 'vision_tower'; where there is none,
 * what other families call it ('visual', 'vision_model', ...) text_decoder                 all that
 * belongs to no tower and no projector default                      everything
 */
#ifndef WF_MODEL_PART_H
#define WF_MODEL_PART_H

#include "ckpt.h"

enum { WF_PART_WORDS_MAX = 8 };

struct wf_model_part {
    const char *words[WF_PART_WORDS_MAX]; /* components that make a name part of it */
    size_t n_words;
    bool is_rest; /* takes what has none of the words */
};

/* What the name of a module means for this checkpoint; false if it has no such tensors. */
bool wf_model_part_find(const struct wf_ckpt *c, const char *module, struct wf_model_part *out);

/* True if the tensor of this name belongs to it; arg is a struct wf_model_part. */
bool wf_model_part_has(const void *arg, const char *name);

#endif
