/* columns.h - the tensors that make one slice of the result, source by source, under the names that
 * they have there.
 *
 *     slice: layers 24 .. 31 of the result          column 0 (a, layers 8 .. 15)
 *                                                   model.layers.24.w  <-  model.layers.8.w
 *                                                   model.norm.weight  <-  model.norm.weight
 *
 * A slice of whole models has a column for each checkpoint, with everything in it; the first is the
 * donor of types and copies: the base where there is one.
 */
#ifndef WF_COLUMNS_H
#define WF_COLUMNS_H

#include "../format/layers.h"
#include "../format/model_part.h"
#include "plan.h"

struct wf_column_entry {
    const char *name; /* in the result */
    const struct wf_tensor *tensor;
    long layer; /* within the slice, counted from 0; -1: none, or of another stack */
};

struct wf_column {
    uint32_t ckpt; /* of wf_plan.ckpts */
    const char *text;
    int line;
    struct wf_column_entry *entries; /* sorted by name, bytewise */
    size_t n;
};

/* What a slice takes from a checkpoint. */
struct wf_column_range {
    const struct wf_model_part *part; /* NULL: everything */
    bool has_layers;                  /* the rest matters if so */
    long from, n;                     /* layers of the checkpoint's main stack ... */
    long to;                          /* ... become to, to + 1, ... of the result */
    bool before, behind;              /* what is in no layer of that stack, too */
};

/* Fills entries, with room for one more; everything lives in `a`. A layer that is not there, and
 * two tensors that get one name, are WF_USAGE; `where` ("recipe.yaml:7") begins the message. */
int wf_column_fill(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                   const char *where, const struct wf_column_range *range,
                   struct wf_column *column);

/* Columns whose model reads its head from the embedding table, and stores none, get that table
 * under the head's name where another column has a head. Returns how many. */
size_t wf_columns_tie(const struct wf_plan *plan, struct wf_column *columns, size_t n);

/* The same for the last of several slices, whose sources are all such models, where some other
 * model of the recipe has a head: the table that the stack begins with is not theirs. */
size_t wf_columns_end_tied(const struct wf_plan *plan, struct wf_column *columns, size_t n);

#endif
