/* row_map.h - a tensor whose rows are another's, in another order, some of them made: how a
 * vocabulary changes under a table of embeddings, a head, or its bias.
 *
 *   row of the output:    0   1   2   3   4   5
 *   from:                 0   1   4  -2   2  -1
 *                         |   |   |   |   |   `-- the mean of this table's other rows (padding)
 *                         |   |   |   `---------- made row 0: the mean of rows of other models
 *                         `---`---`-------------- rows of the stored tensor
 *
 * Stored rows are gathered when they are read, so whoever reads sees a tensor of the new shape in
 * the stored type. Rows that are made have zeros there, and are filled in when the values are
 * widened, after what is on top of the tensor (addend.h): a mean is reckoned in double and rounded
 * once, to the arithmetic's type.
 */
#ifndef WF_ROW_MAP_H
#define WF_ROW_MAP_H

#include "ckpt.h"
#include "infile.h"

#define WF_ROW_MEAN (-1)
#define WF_ROW_MADE_FIRST (-2) /* of made row j: WF_ROW_MADE_FIRST - j */

/* A row of a model's tensor, as it is without a map. */
struct wf_row_ref {
    uint32_t model;
    uint32_t row;
};

/* The mean of these; zeros if there are none. */
struct wf_made_row {
    const struct wf_row_ref *refs;
    uint32_t n;
};

/* What one model's tables of the old vocabulary are to the new one. */
struct wf_row_map {
    uint64_t rows;
    const int32_t *from;
    const struct wf_made_row *made; /* one list for all models */
    size_t n_made;
    uint64_t n_means; /* rows that are WF_ROW_MEAN */
    bool makes;       /* a row is not a stored one */
};

/* Where a made row's refs point, by wf_row_ref.model. */
struct wf_row_donor {
    const struct wf_ckpt *ckpt;     /* as it takes part in the plan */
    const struct wf_tensor *tensor; /* as stored, with what is on top of it; NULL: it has none */
};

/* One tensor seen through a map. Its `offset` is 0. */
struct wf_row_view {
    const struct wf_row_map *map;
    const struct wf_tensor *stored;
    uint64_t cols; /* elements of a row, whole bytes and at least one */
    const struct wf_row_donor *donors;
    size_t n_donors;
    double *mean[2]; /* cols values while a stream runs, if the map has means; else NULL. [0] for
                        jobs that compute in float, [1] for those in double */
};

/* Rows behind `row`, itself included and at most `limit`, that follow one another in the stored
 * tensor, or are of one kind where they are made (a made row stands alone). */
uint64_t wf_row_run(const struct wf_row_map *map, uint64_t row, uint64_t limit);

/* Reads bytes [offset, offset + bytes) of the tensor in its new shape; made rows are zeros. `to` is
 * written nowhere else. */
int wf_row_view_read(struct wf_err *e, const struct wf_row_view *rows, struct wf_infile *f,
                     char *to, uint64_t offset, uint64_t bytes);

/* True if the values that a method sees are more than the tensor's bytes. */
static inline bool wf_tensor_is_made(const struct wf_tensor *t)
{
    return t->addend || (t->rows && t->rows->map->makes);
}

#endif
