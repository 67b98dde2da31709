/* work.h - what weft asks of a device: one struct per launch, the same in C11 and in CUDA C++.
 *
 * weft (src/backend/device_*.c) cuts a tile into launches and does everything that needs a
 * decision; a launch is loops over elements (kernels/frame_*.cu). All pointers are to memory of the
 * device. As on the CPU (src/backend/backend.h):
 *
 *   tensor   |.......................................................|
 *   window          |<------ inputs, in[] points to its first ----->|
 *   asked for            |<--- from ........... to --->|
 *
 * Numbers. A view is what the element functions see of wf_args: WF_ARGS_GLOBAL values, then
 * WF_ARGS_MODEL for each input, in wf_real. Where all elements see the same, and inputs are at most
 * WF_WORK_INPUTS, it lies in the launch itself; else there is a table of views, and a rule says
 * which is an element's.
 */
#ifndef WF_WORK_H
#define WF_WORK_H

#include <stdint.h>

#include "../src/method/method.h"

#define WF_WORK_RANKS (2 * WF_RANKS_MAX) /* most brackets of a stream */
#define WF_WORK_INPUTS 8 /* up to so many inputs kernels are written out for, if of equal type */

enum wf_work_kind {
    WF_WORK_MAP,     /* out[e - from] = map(x at e) */
    WF_WORK_FOLD,    /* values of leaves */
    WF_WORK_COLUMNS, /* adds rows to sums of columns */
    WF_WORK_COUNT,   /* keys below, inside brackets */
    WF_WORK_RANK,    /* ranks within rows */
    WF_WORK_KINDS
};

/* The view of element e. */
enum wf_work_rule {
    WF_VIEW_ONE,     /* number 0 */
    WF_VIEW_STRETCH, /* the last one whose begins[] is not above e; begins[0] <= the window */
    WF_VIEW_COLUMN   /* number e % row_stride */
};

/* A bracket of COUNT, as struct wf_bracket; low > high: nothing is inside. */
struct wf_work_bracket {
    uint64_t low, high;
    uint64_t list; /* keys inside are wanted */
};

/* Results of COUNT, all zero before the first launch. */
struct wf_work_counts {
    uint64_t below, inside; /* per bracket; `zeros` are of the stream of the first rank */
    uint64_t zeros;
    uint64_t listed; /* keys that wanted to be listed; those past the capacity are not */
};

struct wf_work {
    uint8_t kind;     /* enum wf_work_kind */
    uint8_t function; /* enum wf_map_id, wf_fold_id or wf_key_id */
    uint8_t wide;     /* wf_real is double */
    uint8_t plain;    /* one view in the launch, n <= WF_WORK_INPUTS, inputs of equal type, float or
                         shorter, not cast, and no ranks: the fast kernels serve */
    uint8_t cast;     /* as wf_tile.cast */
    uint8_t out_dtype;
    uint8_t draws;      /* inputs draw ... */
    uint8_t draws_from; /* ... from this one on */
    uint32_t n;
    uint64_t first; /* of the window */
    uint64_t from, to;
    uint64_t total; /* elements of the tensor */
    uint64_t row_length, row_stride;
    uint64_t draw_key;

    const void *in[WF_WORK_INPUTS]; /* n <= WF_WORK_INPUTS */
    uint8_t in_dtype[WF_WORK_INPUTS];
    const void *const *in_many; /* n > WF_WORK_INPUTS: n of each */
    const uint8_t *in_dtype_many;

    uint8_t rule;            /* enum wf_work_rule */
    float g[WF_ARGS_GLOBAL]; /* plain: the view */
    float m[WF_WORK_INPUTS][WF_ARGS_MODEL];
    const void *views; /* else: [n_views][WF_ARGS_GLOBAL + n * WF_ARGS_MODEL + table] wf_real */
    uint32_t table;    /* numbers of wf_args.t, even; plain: none */
    const uint64_t *begins; /* WF_VIEW_STRETCH: n_views, ascending */
    uint64_t n_views;

    /* Ranks, where a RANK stage came before: that of input i at element e is
     * ranks[(i - 1) * rank_stride + e - rank_first], a wf_real. NULL: none. */
    void *ranks;
    uint64_t rank_first, rank_stride;

    uint32_t *bad;          /* += 1 where an input (MAP: or a stored result) is NaN or infinite */
    void *scratch;          /* wf_work_scratch() bytes (work_scratch.h), or more: faster */
    uint64_t scratch_bytes; /* 64-byte aligned */

    /* MAP */
    void *out; /* to - from elements of out_dtype */

    /* FOLD: groups lie at group 0, 1, ... of fold_length elements fold_step apart, as rows do in
     * struct wf_rows; the whole tensor is one group with step 1. Leaves are numbered through all
     * groups. values[leaf - leaf_from][term]. */
    uint64_t fold_length, fold_step;
    uint64_t leaf_from, leaf_to;
    double *values;
    uint32_t terms, maxima;

    /* COLUMNS: columns are row_stride wide; sums[column][term], added to, rows of [from, to) in
     * ascending order. */
    double *sums;

    /* COUNT */
    const struct wf_work_bracket *brackets; /* [stream][rank] */
    struct wf_work_counts *counts;
    uint32_t streams, ranks_n;
    uint8_t per_model; /* stream s is the key of input s + 1, else of input 0 */
    void *lists;       /* [stream][rank][capacity] keys: uint32_t, wide: uint64_t; in any order */
    uint64_t list_capacity;

    /* RANK: [from, to) is whole rows, whole slabs where row_stride is not 1. Writes `ranks` of all
     * inputs from 1 on. */
    uint8_t ties; /* enum wf_ties */
};

#endif
