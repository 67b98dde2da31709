/* select.h - one SELECT of a unit: exact order statistics of keys that are seen several times.
 *
 *   keys, ascending:    0 ......|least ........ low|====== bracket ======|high ........ most|......
 *                        before |<--------- the key at `rank` is somewhere here ----------->|
 *
 * Each cut is one rank of one stream of keys. A COUNT says how many keys lie below the bracket and
 * inside; then [least, most] shrinks to the part that holds the rank, and ends as one key. The core
 * of a bracket, [core_low, core_high], is looked at key by key: kept in a list while there is room,
 * else counted in bins of 2^shift keys. An end of the bracket that alone holds many keys (the bits
 * of bf16 differences are few) is not in the core, because counting is cheaper than looking. */
#ifndef WF_SELECT_H
#define WF_SELECT_H

#include <pthread.h>

#include "room.h"
#include "unit.h"

enum wf_cut_state {
    WF_CUT_OPEN,
    WF_CUT_FOUND, /* least == most is the key */
    WF_CUT_NONE   /* the rank is the count: above all keys */
};

struct wf_cut {
    enum wf_cut_state state;
    uint64_t rank;
    uint64_t least, most, before, through; /* keys below least; keys not above most */

    uint64_t low, high, core_low, core_high; /* of this COUNT */
    uint64_t below, core_below, core_inside, inside;
    uint64_t listed; /* keys of the core that came by */
    uint32_t bins;   /* 0: not counted in bins */
    unsigned shift;
    bool lists;
    double expected; /* keys in the core, by the sample */

    /* A cut through equal keys: the split is at number `place` of them in the group's order, from
     * 0, in TIES and LOCATE counted from the start of the piece and then of the tile. */
    bool split, located, here; /* here: in the part of a tile that is looked at */
    uint32_t piece;
    uint64_t place, index; /* index: in its tensor */
};

struct wf_select_group {
    const struct wf_select *select;
    const struct wf_args *args;
    struct wf_group size; /* nonzero is set here */
    unsigned stage;
    uint32_t pieces;
    bool wide;
};

/* What one caller of wf_selecting_add works with. */
struct wf_select_bench {
    struct wf_bracket *brackets;
    uint64_t *zeros;
    uint64_t *cursors; /* [stream]: the next of the kept keys */
};

struct wf_selecting {
    struct wf_select_group group;
    enum wf_step step; /* MAP: done */
    uint32_t streams, ranks;
    uint32_t
        brackets; /* of a stream: 1 while keys are kept, ranks, or twice that: cores, then wholes */

    uint64_t
        *keys; /* [stream][keys_max]: the sample or all keys; then, shared by its ranks, lists */
    uint32_t keys_max, kept, target; /* per stream; target: of a sample */
    uint32_t run;                    /* elements of one run of the sample, a power of two */
    bool whole;                      /* the group is small: all keys are kept */
    bool ranked;                     /* the cuts' ranks are known */
    uint64_t *bins;                  /* [cut][bins_max] */
    uint32_t bins_max;
    uint64_t *zeros; /* [stream] */
    uint64_t *ties;  /* [cut][pieces_max] */
    uint32_t pieces_max;
    struct wf_cut *cuts;    /* [stream][rank] */
    pthread_mutex_t *locks; /* [cut] */
    pthread_mutex_t lock;
    uint32_t n_locks;
};

/* Room of the cuts, which are numbered stream by stream; a stream's lists share its keys. */
static inline uint32_t wf_n_cuts(const struct wf_selecting *s)
{
    return s->streams * s->ranks;
}

static inline uint64_t *wf_stream_keys(const struct wf_selecting *s, uint32_t stream)
{
    return s->keys + (uint64_t)stream * s->keys_max;
}

static inline uint32_t wf_list_max(const struct wf_selecting *s)
{
    return s->keys_max / s->ranks;
}

static inline uint64_t *wf_cut_list(const struct wf_selecting *s, uint32_t cut)
{
    return wf_stream_keys(s, cut / s->ranks) + (uint64_t)(cut % s->ranks) * wf_list_max(s);
}

static inline uint64_t *wf_cut_bins(const struct wf_selecting *s, uint32_t cut)
{
    return s->bins + (uint64_t)cut * s->bins_max;
}

static inline uint64_t *wf_cut_ties(const struct wf_selecting *s, uint32_t cut)
{
    return s->ties + (uint64_t)cut * s->pieces_max;
}

void wf_selecting_place(struct wf_selecting *s, struct wf_room *room,
                        const struct wf_unit_need *need);
void wf_select_bench_place(struct wf_select_bench *b, struct wf_room *room,
                           const struct wf_unit_need *need);
void wf_selecting_create(struct wf_selecting *s);
void wf_selecting_destroy(struct wf_selecting *s);

/* The rest is as in unit.h; `advance` is in narrow.c. `add` leaves the tile's from and to as they
 * were. */
void wf_selecting_begin(struct wf_selecting *s, const struct wf_select_group *group,
                        uint32_t streams);
bool wf_selecting_wants(const struct wf_selecting *s, uint32_t piece, uint64_t *from, uint64_t *to);
void wf_selecting_add(struct wf_selecting *s, struct wf_select_bench *bench,
                      const struct wf_backend *backend, uint32_t piece, struct wf_tile *tile,
                      struct wf_tile_result *result);
const char *wf_selecting_advance(struct wf_selecting *s);

/* The next step after a COUNT that has left the cuts as they are: state, rank and range. */
void wf_selecting_go_on(struct wf_selecting *s);

/* What a cut comes to: thresholds as keys, for elements before the split and from it on. */
#define WF_KEY_NONE UINT64_MAX
struct wf_cut_keys {
    uint64_t first, rest;
};
struct wf_cut_keys wf_selecting_keys(const struct wf_selecting *s, const struct wf_cut *cut);

/* sample.c: sets target and run; what they come to in a piece; the cuts' first brackets. */
void wf_sample_plan(struct wf_selecting *s);
bool wf_sample_wants(const struct wf_selecting *s, uint64_t *from, uint64_t *to);
void wf_sample_conclude(struct wf_selecting *s);

#endif
