/* backend.h - who does the arithmetic: a table of functions over buffers in memory.
 *
 * A backend sees tiles: a run of elements of one tensor, its inputs aligned element by element. It
 * never sees a recipe, a file or a thread of the stream; it is called from several compute threads
 * at once.
 *
 *   tensor   |.......................................................|
 *   window          |<------ count elements, in[] points here ---->|
 *   asked for            |<--- from ........... to --->|
 *
 * The window is wider than what is asked for where a stage needs neighbours: whole rows (slabs of
 * rows.length * rows.stride elements) around it for stages of row scope, and whole fold blocks.
 *
 * Whatever the operation, elements pass through the same walk: load and convert a run, run the
 * `local` stages of its row, set the numbers that hold here, and then do one thing with it.
 */
#ifndef WF_BACKEND_H
#define WF_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../format/dtype.h"
#include "../method/method.h"

/* Elements of one leaf of the canonical tree of sums, counted from the start of the group. Its
 * lanes take elements lane, lane + WF_FOLD_LANES, ... in order and are joined by halves: l with l +
 * 16, then l with l + 8, 4, 2, 1. */
#define WF_FOLD_BLOCK 4096u
#define WF_FOLD_LANES 32u

/* A number of wf_args that changes at an element: below `index` it is what args say, from there on
 * `value`. Where a cut of SELECT goes through equal keys. */
struct wf_split {
    uint64_t index; /* in the tensor */
    double value;
    int32_t input; /* m[input][slot], or -1: g[slot] */
    uint8_t slot;
};

struct wf_tile {
    const struct wf_method *method;
    const struct wf_args *args; /* n rows in args->m */
    const void *const *in;      /* n pointers to the window's first element, any alignment */
    const uint8_t *in_dtype;    /* n of enum wf_dtype, arithmetic ones */
    uint32_t n;
    uint8_t cast;          /* inputs are rounded to this arithmetic type first; any other: not */
    bool wide;             /* compute in double: an input of the tensor is F64 */
    bool check;            /* NaN and infinity are errors */
    bool far;              /* inputs are in memory rather than in a cache: a hint */
    uint64_t first, count; /* the window */
    uint64_t from, to;     /* what is asked for */
    uint64_t total;        /* elements of the tensor */
    uint64_t model_leaf;   /* FOLD of model scope: leaves of the tensors before this one */
    struct wf_rows rows;
    uint32_t local;        /* bit s: stage s has row scope and is run first, row by row, in order */
    uint64_t draw_key;     /* of this tensor, where the method draws: see WF_UNIFORM */
    const double *columns; /* sums of the FOLD with column scope, [column][term]; NULL if none. Its
                              `finish` is called for each column, `column_stage` says which it is */
    unsigned column_stage;
    const struct wf_split *splits; /* by index, ascending */
    size_t n_splits;
    void *out; /* MAP: to - from elements of out_dtype, any alignment */
    uint8_t out_dtype;
    void *scratch;        /* wf_scratch_bytes() of what the job needs, 64-byte aligned */
    struct wf_lane *lane; /* the caller's way to its device (device.h); NULL on the CPU */
};

enum wf_tile_verdict {
    WF_TILE_OK,
    WF_TILE_INPUT_NOT_FINITE, /* input `input` holds NaN or infinity at element `index` */
    WF_TILE_OVERFLOW,         /* the result at `index` does not fit out_dtype */
    WF_TILE_REFUSED,          /* a row or column cannot be merged: `why`; `index` is in it */
    WF_TILE_FAILED,           /* the device failed: `why` */
};

struct wf_tile_result {
    enum wf_tile_verdict verdict;
    uint32_t input;
    uint64_t index;
    const char *why; /* constant sentence; FAILED: valid while the lane is not used again */
};

/* Keys as integers in the keys' order: the bits of a float (wide: of a double) that is not
 * negative. */
struct wf_bracket {
    uint64_t low, high;     /* inclusive; in: with low > high nothing is inside */
    uint64_t below, inside; /* added to: elements with keys below `low`, and from low to high */
    bool list;              /* in: keys inside are handed to `found` */
};
struct wf_count {
    struct wf_bracket *brackets; /* [stream][rank]: streams are models 1..n-1, or the one key */
    uint64_t *zeros;             /* [stream], added to: keys that are zero */
    unsigned streams, ranks;
    /* Called with up to a few hundred keys at a time, in no order. */
    void (*found)(void *arg, unsigned bracket, const uint64_t *keys, size_t n);
    void *arg;
};

/* A low-rank product that is added to the values of a matrix with `cols` columns, row after row. */
struct wf_product {
    uint64_t cols;
    uint32_t rank;
    double scale;
    const void *row; /* [rows][rank] of float; wide: of double */
    const void *col; /* [rank][cols] likewise */
};

struct wf_backend {
    const char *name;
    /* Stored numbers as floats (wide: doubles), any alignment to an aligned array. */
    void (*widen)(enum wf_dtype dtype, const void *stored, uint64_t count, bool wide, void *values);
    /* values[e - from] += scale * sum_k row[e / cols][k] col[k][e % cols] for elements [from, to):
     * products and their sum in the order of k, in floats (wide: doubles). */
    void (*add_product)(const struct wf_product *p, uint64_t from, uint64_t to, bool wide,
                        void *values);
    /* MAP: out[e - from] = map(in[.][e]). Stops at the first block with something that `check`
     * forbids; so do the others. */
    void (*map)(const struct wf_tile *tile, struct wf_tile_result *result);
    /* FOLD, scope tensor: the leaves that begin in [from, to), in ascending order. A leaf is whole
     * in the window, or ends with the tensor. terms[] are those of one leaf. */
    void (*fold)(const struct wf_tile *tile, unsigned stage,
                 void (*leaf)(void *arg, uint64_t leaf, const double *terms), void *arg,
                 struct wf_tile_result *result);
    /* FOLD, scope column, stride = columns: adds elements [from, to) to sums[column][term], row
     * after row: the order is part of the result, so tiles must come in order. */
    void (*fold_columns)(const struct wf_tile *tile, unsigned stage, double *sums,
                         struct wf_tile_result *result);
    /* SELECT: counts keys of [from, to). */
    void (*count)(const struct wf_tile *tile, unsigned stage, struct wf_count *count,
                  struct wf_tile_result *result);
};

/* Plain C, always there; picks the widest instruction set that this CPU has. The bytes are the
 * same for all of them. */
const struct wf_backend *wf_backend_cpu(void);

#endif
