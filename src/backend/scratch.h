/* scratch.h - how much working memory a thread needs for the arithmetic of a job, and how the CPU
 * frame lays it out.
 */
#ifndef WF_SCRATCH_H
#define WF_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

#include "../method/method.h"

struct wf_need {
    uint32_t inputs;   /* largest n */
    uint32_t terms;    /* most terms of a FOLD; 0: none */
    uint64_t rank_row; /* elements of the longest row with a RANK; of its slab, rows.length *
                          rows.stride elements, where rows.stride is not 1. 0: none */
    uint32_t ranked;   /* most models with a RANK */
    uint32_t brackets; /* most keys of a SELECT per element times its ranks; 0: no SELECT */
    uint32_t table;    /* most numbers in wf_args.t */
};

/* Bytes of wf_tile.scratch that serve every job within `need`, on the CPU. More than any machine
 * has (2^52) if a row is too long to be ranked: 2^32 elements. */
uint64_t wf_scratch_bytes(const struct wf_need *need);

/* Pinned memory of a lane on a device (device.h), for tiles within `tiles` in slots with outputs of
 * `output_bytes`. Grows with both, and does not depend on the device or its memory. */
uint64_t wf_lane_host_bytes(const struct wf_need *tiles, uint64_t output_bytes);

#define WF_BLOCK_MAX 1024 /* elements of a block: what is loaded, computed and stored at a time */
#define WF_BLOCK_MIN 8
#define WF_TREE_LEVELS 40 /* of a row's tree of leaves: more than an address space holds */
#define WF_RANK_DIGIT 11  /* bits of a sort's largest digit */

/* Where things lie in the scratch of one tile, as byte offsets, each a multiple of 64.
 *
 *   x       3n rows, `stride` numbers each: inputs, uniforms, ranks of one block
 *   result  one block: what MAP stores, or keys
 *   raw     one block: stored elements on their way to or from rows that are not contiguous
 *   words   one block: random words
 *   listed  one block: keys inside a bracket
 *   m       the view's m[], n rows
 *   args    wf_args.m of the row at hand
 *   table   the view's t[]
 *   terms   [terms][fold_block]
 *   sums    [terms][WF_FOLD_LANES]: the leaf of a stage of tensor scope; row_sums: of a row
 *   tree    [WF_TREE_LEVELS][terms]: finished parts of a row
 *   ranks   [ranked][rank_stride]: keys, then ranks, of a row or slab
 *   pairs   twice [rank_row]: (key, index) while a row is sorted
 *   digits  counts of a sort
 */
struct wf_layout {
    size_t block, stride, fold_block, rank_stride;
    size_t x, result, raw, words, listed, m, args, table;
    size_t terms, sums, row_sums, tree;
    size_t ranks, pairs, digits;
    size_t bytes;
};

/* `real` is the size of the numbers that are computed with. Everything grows with `need` and
 * `real`. */
void wf_scratch_layout(const struct wf_need *need, size_t real, struct wf_layout *l);

#endif
