/* unit.h - the statistics of one group in the making: a tensor's, or the whole model's.
 *
 * Some stages need all elements of their group before the next stage can begin. A unit is the state
 * of one group between the first element and the last. Whoever has the data drives it:
 *
 *   begin
 *   while ((step = wf_unit_step(u)) != WF_STEP_MAP) {
 *       wf_unit_add for every piece of the group, in any order, on any thread;
 *       wf_unit_advance
 *   }
 *   wf_unit_map for every piece
 *
 * A piece is a run of elements, the same in every step. The number of steps depends on the data;
 * the conclusions depend on the elements alone, not on how they were cut.
 *
 * Steps of one SELECT (select.c):
 *   SAMPLE   keys of a few runs, which give a bracket for each rank
 *   COUNT    all keys: how many below the bracket, and how they lie inside; again if the bracket
 *            missed, or if a bin of it is wider than one key and holds too many to be kept
 *   TIES     where a cut goes through equal keys: in which piece, and the how-many-th of it
 *   LOCATE   that piece once more, for the element itself
 * A group small enough to keep all its keys needs one COUNT. Any other needs at most
 * 1 + ceil(width / log2(bins)) of them, whatever the data, for keys of 31 bits (of doubles: 63):
 * three for floats from 2^16 bins on, five for doubles. One is usual, two are not rare with few
 * bins.
 *
 * All memory is claimed by wf_unit_create.
 */
#ifndef WF_UNIT_H
#define WF_UNIT_H

#include <stdbool.h>
#include <stdint.h>

#include "../backend/backend.h"
#include "../base/status.h"

enum wf_step {
    WF_STEP_SAMPLE,
    WF_STEP_COUNT,
    WF_STEP_TIES,
    WF_STEP_LOCATE,
    WF_STEP_FOLD,
    WF_STEP_COLUMNS,
    WF_STEP_MAP
};

/* "sample", "count", ...: for messages and traces. */
const char *wf_step_name(enum wf_step step);

/* What a unit must have room for. */
struct wf_unit_need {
    uint32_t inputs;  /* n */
    uint32_t streams; /* keys of a SELECT per element; 0: no SELECT */
    uint32_t ranks;   /* of a SELECT, per stream */
    uint32_t bins;  /* of a bracket, a power of two, 2^10 to 2^20: more make a second COUNT rarer */
    uint32_t keys;  /* kept per stream: sample, or all keys of a small group; 2^10 to 2^16 */
    uint32_t terms; /* most terms of a FOLD; 0: none */
    uint64_t columns; /* of a FOLD with column scope; 0: none */
    uint32_t pieces;  /* most pieces in a group */
    uint32_t open;    /* most pieces that a FOLD has not got while it has got later ones; 0: all */
    uint64_t count;   /* most elements in a group with a FOLD; 0: not known */
    uint64_t leaves;  /* most leaves in a group; 0: as many as `count` has */
    uint32_t table;   /* most numbers in wf_args.t */
    uint32_t threads; /* that add at the same time, 0 for 1: more wait for each other */
    uint32_t joined;  /* ranks that see a part of a group each (join.h); 0 for 1 */
};

/* A group. Everything pointed to outlives the use of the unit. */
struct wf_unit_group {
    const struct wf_method *method;
    const struct wf_args *args;
    enum wf_scope
        scope;        /* TENSOR: stages of tensor and column scope; MODEL: those of model scope */
    uint64_t count;   /* elements of the group */
    uint64_t tensor;  /* elements of the tensor; with MODEL the same as count */
    uint64_t columns; /* of the tensor, if a stage has column scope */
    uint64_t leaves;  /* MODEL: of all tensors together, if a FOLD has model scope */
    uint32_t pieces;
    bool wide; /* TENSOR: the tensor is, as in its tiles. MODEL: any tensor is, and keys are the
                  bits of doubles for all */
    /* TENSOR: an earlier unit of scope MODEL whose conclusions hold as well, or NULL, and which of
     * its pieces is this tensor's first; the tensor is cut alike in both. What its FOLDs found
     * stands for all of t, and of g and m but for what is the tensor's own (wf_method.own_g). */
    const struct wf_unit *model;
    uint32_t model_piece;
};

struct wf_unit;

uint64_t wf_unit_bytes(const struct wf_unit_need *need);
/* NULL and WF_MACHINE in *e if there is no memory. Destroy accepts NULL. */
struct wf_unit *wf_unit_create(struct wf_err *e, const struct wf_unit_need *need);
void wf_unit_destroy(struct wf_unit *u);

/* Makes the unit ready for another group. */
void wf_unit_begin(struct wf_unit *u, const struct wf_unit_group *group);

enum wf_step wf_unit_step(const struct wf_unit *u);
/* What the step looks at in piece number `piece`, elements [*from, *to) of the group: narrows the
 * range to the next run that it needs, or returns false if there is none left. All of the range,
 * for most steps; a few short runs for SAMPLE, and nothing of most pieces for LOCATE. */
bool wf_unit_wants(const struct wf_unit *u, uint32_t piece, uint64_t *from, uint64_t *to);

/* Adds elements [tile->from, tile->to) of piece number `piece`. Pieces are numbered in the group's
 * order of elements; with scope MODEL a piece lies within one tensor. `tile` holds everything but
 * args, splits, columns, column_stage and local, which are set here. Thread-safe for different
 * pieces; the tiles of one piece come one after the other, in ascending order. In FOLD a leaf
 * belongs to the tile in which it begins. With COLUMNS the pieces, too, come in order. */
void wf_unit_add(struct wf_unit *u, const struct wf_backend *backend, uint32_t piece,
                 struct wf_tile *tile, struct wf_tile_result *result);

/* All pieces of the step were added, none with a verdict but OK: draws the conclusion and goes to
 * the next step. NULL, or why the group cannot be merged (a constant sentence). */
const char *wf_unit_advance(struct wf_unit *u);

/* The group's numbers with what was found so far; where a cut goes through equal keys, those of the
 * group's first element. */
const struct wf_args *wf_unit_args(const struct wf_unit *u);

/* MAP of a tile of piece `piece`, with all that was found. With scope MODEL tile->args are the
 * tensor's own, given by the caller: its scopes, its MAP and wf_method.own_g, own_m count.
 * Thread-safe; the same tile any number of times. */
void wf_unit_map(const struct wf_unit *u, const struct wf_backend *backend, uint32_t piece,
                 struct wf_tile *tile, struct wf_tile_result *result);

/* Another element function than the method's own, about one of its inputs. */
struct wf_share {
    uint8_t map;    /* enum wf_map_id */
    uint8_t slot;   /* of args.g, which says about which input ... */
    uint32_t input; /* ... this one */
    bool pair;      /* the function looks at input 0 and this one alone: it is given these two, as
                       if there were no others */
};

/* The same with the share's function in the place of MAP's. u NULL: the method has no statistics,
 * and tile->args are all. */
void wf_unit_map_share(const struct wf_unit *u, const struct wf_backend *backend, uint32_t piece,
                       const struct wf_share *share, struct wf_tile *tile,
                       struct wf_tile_result *result);

#endif
