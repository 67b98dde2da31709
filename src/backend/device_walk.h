/* device_walk.h - a tile on its way over a device: which elements a launch is for, with which
 * numbers, and what is found for rows before. Private to device_*.c.
 *
 * The same walk as the CPU's (frame_walk.h), in launches instead of runs:
 *
 *   chunk      as many whole rows (slabs) as there is room to keep numbers and ranks of; all of the
 *              tile where no stage has row scope
 *   launch     a part of a chunk whose numbers fit into the launch: the part between two splits, or
 *              all that one table of views describes
 *   granule    what no launch may divide: a leaf of a FOLD, the rows of a RANK
 */
#ifndef WF_DEVICE_WALK_H
#define WF_DEVICE_WALK_H

#include "device_lane.h"

enum wf_walk_end {
    WF_WALK_GOES,
    WF_WALK_LOOK,  /* something is wrong with the tile: the CPU says what */
    WF_WALK_FAILED /* the device is: lane->why */
};

/* Launches end at multiples of `leaf`, counted from the start of each group of elements. */
struct wf_granule {
    uint64_t group, leaf;
};

struct wf_walk {
    struct wf_lane *lane;
    const struct wf_tile *t;
    enum wf_walk_end end;
    struct wf_work work; /* the next launch */
    struct wf_granule granule;
    bool simple;         /* work.plain, as far as inputs go */
    uint64_t view_bytes; /* in a table */

    uint64_t unit;  /* elements in a row, or slab; 0: there are no stages of row scope */
    bool own;       /* rows have numbers of their own */
    uint64_t rows;  /* in a chunk, at most */
    uint64_t first; /* row (slab) of the chunk */

    char *out;      /* MAP: of element t->from, on the device */
    double *values; /* FOLD: of leaf `leaf`, on the device */
    uint64_t leaf;
};

/* What a tile is begun for. */
struct wf_aim {
    enum wf_work_kind kind;
    uint8_t function;
    const struct wf_stage *stage; /* of FOLD, COLUMNS, COUNT */
};

/* False: leave the tile to the CPU. It is small, or there is no room for its numbers; so are
 * interleaved rows with numbers of their own, columns with other stages or splits, which no method
 * has: the bytes are the same. */
bool wf_walk_suits(struct wf_walk *w, const struct wf_tile *t, const struct wf_aim *aim);
/* Brings inputs to the device. This and what follows: false ends the walk. */
bool wf_walk_begin(struct wf_walk *w, const struct wf_aim *aim);
/* Chunk by chunk: runs the stages of row scope, sets the launch for `aim`, and calls `each`. */
typedef bool wf_chunk_fn(struct wf_walk *w, uint64_t from, uint64_t to, void *arg);
bool wf_walk_chunks(struct wf_walk *w, const struct wf_aim *aim, uint64_t from, uint64_t to,
                    wf_chunk_fn *each, void *arg);
/* Launches for [from, to), which are whole granules. */
bool wf_walk_launch(struct wf_walk *w, uint64_t from, uint64_t to);
/* Values of the leaves of [from, to), whole granules of a FOLD, as many at a time as there is room
 * for: `each` gets those of leaves [first, last), which it may use up. */
typedef bool wf_leaves_fn(struct wf_walk *w, uint64_t first, uint64_t last, double *values,
                          void *arg);
bool wf_walk_leaves(struct wf_walk *w, uint64_t from, uint64_t to, wf_leaves_fn *each, void *arg);
/* Waits, and looks at what the kernels noticed. True: all is well. */
bool wf_walk_finish(struct wf_walk *w);
/* After `finish`, or what ended the walk. True: *r is the verdict; else the CPU has to look, and
 * wf_walk_looked says what it means if that finds nothing. */
bool wf_walk_verdict(const struct wf_walk *w, struct wf_tile_result *r);
void wf_walk_looked(const struct wf_walk *w, struct wf_tile_result *r);

/* ---- parts of it ---- */

/* Sets the numbers of elements from `from` on; *end: how far they hold. */
bool wf_walk_numbers(struct wf_walk *w, uint64_t from, uint64_t to, uint64_t *end);
/* The table of views of all columns. */
bool wf_walk_columns(struct wf_walk *w);
/* Stages of row scope for rows [first, first + rows). */
bool wf_walk_rows(struct wf_walk *w, uint64_t first, uint64_t rows);
/* Numbers of a row of the chunk: g, then m, as in a view. */
double *wf_walk_row(const struct wf_walk *w, uint64_t row);
/* Sets what depends on the kind of launch; terms and maxima of a FOLD. */
void wf_walk_aim(struct wf_walk *w, const struct wf_aim *aim);

static inline bool wf_walk_stop(struct wf_walk *w, enum wf_walk_end end)
{
    w->end = end;
    return false;
}
/* For calls of lanes. */
static inline bool wf_walk_try(struct wf_walk *w, bool went)
{
    return went || wf_walk_stop(w, WF_WALK_FAILED);
}

/* Leaves of one group. */
static inline uint64_t wf_group_leaves(struct wf_granule g)
{
    return (g.group + g.leaf - 1) / g.leaf;
}
/* Leaves of all groups before element e, which ends a leaf or a group. */
static inline uint64_t wf_leaves_before(struct wf_granule g, uint64_t e)
{
    return e / g.group * wf_group_leaves(g) + (e % g.group + g.leaf - 1) / g.leaf;
}

static inline uint64_t wf_dtype_width(unsigned d)
{
    return wf_dtype_info((enum wf_dtype)d)->bits / 8u;
}

#endif
