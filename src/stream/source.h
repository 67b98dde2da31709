/* source.h - inputs that are more than the bytes of a file: stored values and what is added to them
 * (format/addend.h), rows that no file has (format/row_map.h), made in the slot after it was read.
 * Private to src/stream.
 */
#ifndef WF_SOURCE_H
#define WF_SOURCE_H

#include "ring.h"

/* Reads the factors of every addend of the plan's inputs, and makes the indexes of deltas; both
 * stay until wf_sources_destroy. NaN and infinity in factors are WF_INPUT, unless the recipe allows
 * them. */
int wf_sources_create(struct wf_ring *r);
void wf_sources_destroy(struct wf_ring *r);

/* Applies the addends of the slot's inputs. Once for each time that a slot is read, before anything
 * else; the slot is the caller's. */
int wf_sources_make(struct wf_ring *r, const struct wf_slot *slot, const struct wf_bench *bench);

/* Values of one tensor under way: `range` of its elements, as floats or (wide) doubles. */
struct wf_making {
    struct wf_ring *r;
    const struct wf_bench *bench;
    const struct wf_tensor *tensor;
    uint32_t ckpt; /* its checkpoint in the plan */
    bool wide;
    struct wf_range range;
    char *values; /* of range.from */
};

/* Puts what is on top of the tensor onto stored values. The range counts in the stored tensor. */
int wf_addends_apply(const struct wf_making *m);

/* ---- rows.c: tensors seen through a map of rows ---- */

/* The number in the plan of the checkpoint that a donor of rows belongs to; n_ckpts: it has none.
 */
uint32_t wf_rows_donor(const struct wf_ring *r, const struct wf_row_donor *d);
/* Reckons the mean of the input's rows, if some of its rows are that. Addends are loaded. */
int wf_rows_prepare(struct wf_ring *r, const struct wf_job *job, uint32_t input);
void wf_rows_forget(struct wf_row_view *rows);
/* Onto gathered values: what is on top of each row, and the rows that are made. */
int wf_rows_make(const struct wf_making *m);

#endif
