/* overlay_vocab.h - a checkpoint whose tensors along the vocabulary are seen through a map of rows:
 * other shapes, all else as it was.
 */
#ifndef WF_OVERLAY_VOCAB_H
#define WF_OVERLAY_VOCAB_H

#include "row_map.h"

/* One tensor of the vocabulary: its name and the axis that counts tokens (0, or 1 of [1, tokens]).
 */
struct wf_vocab_tensor {
    const char *name;
    unsigned axis;
    const struct wf_row_map *map;
};

/* A model that may give rows: as it was opened, and as it takes part, which may be an overlay of
 * this kind. */
struct wf_vocab_donor {
    const struct wf_ckpt *stored, *shown;
};

/* `out`: `base` with each of `tensors` (of those that it has) in map->rows rows. Made rows need the
 * tensor in each model that they are made of, and a type that weft computes with: else WF_USAGE,
 * and `where` begins the message. *out lives in `a` and refers to base, maps and the donors'
 * checkpoints. `key` tells one map from another
 * (wf_ckpt.rows). */
int wf_overlay_vocab(struct wf_err *e, struct wf_arena *a, const char *where,
                     const struct wf_ckpt *base, const struct wf_vocab_tensor *tensors, size_t n,
                     const struct wf_vocab_donor *donors, size_t n_donors, const void *key,
                     struct wf_ckpt *out);

#endif
