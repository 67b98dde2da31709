/* layers.h - stacks of layers, from tensor names alone: no table of architectures.
 *
 *     model.layers.12.mlp.up_proj.weight        layer 12 of the stack "model.layers"
 *     vision_tower.blocks.3.experts.5.w1        layer 3 of "vision_tower.blocks"
 *     model.norm.weight                         of no layer, behind the layers
 *
 * A layer's number is the name's first component that is all digits (wf_layer_of).
 */
#ifndef WF_LAYERS_H
#define WF_LAYERS_H

#include "ckpt.h"

/* The tensors whose names are PREFIX, a number, and more. */
struct wf_stack {
    const char *name; /* of one of its tensors; its first prefix_n bytes name the stack */
    size_t prefix_n;  /* without the final '.' */
    long first, last;
    uint64_t layers; /* different numbers; fewer than last - first + 1 where some are missing */
    uint64_t tensors;
};

struct wf_stacks {
    struct wf_stack *list; /* sorted by prefix */
    size_t n;
    const struct wf_stack
        *main;  /* "the layers of the model": the one with most tensors, a tower for
                   images or sound only where there is nothing else. NULL: none */
    long depth; /* layers of `main` that make the model: all, but for layers for the prediction of
                   further tokens, which are numbered behind them (num_nextn_predict_layers of
                   config.json, where the layer count leaves room for just that) */
};

/* The stacks of a checkpoint, or of those of its tensors that `among` (NULL: all) lets through;
 * `out` lives in `a`. */
int wf_stacks_find(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *c,
                   bool (*among)(const void *arg, const char *name), const void *arg,
                   struct wf_stacks *out);

/* The stack that a tensor is part of; NULL if it is of no layer. */
const struct wf_stack *wf_stack_of(const struct wf_stacks *s, const char *name);

/* A word that says of a stack, a module or a part of a config that it is for images or sound. */
bool wf_is_sense(const char *text);

/* Of a tensor outside layers: heads, poolers and norms come behind them, by the words in their
 * names; embeddings and their norms, what makes them of images and sound, projectors and whatever
 * is not known, before. */
bool wf_is_behind_layers(const char *name);

#endif
