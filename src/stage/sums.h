/* sums.h - joins the leaves of a FOLD in their one canonical tree, in whatever order they arrive.
 *
 *   level 2              (2,0)             node (k,j) = (k-1,2j) joined with (k-1,2j+1),
 *   level 1      (1,0)          (1,1)      the lower index on the left; where there is no
 *   level 0   leaf 0 leaf 1  leaf 2  -     right child, the left one passes
 *
 * A node waits here until its sibling has come, and no longer: of leaves that form k runs, at most
 * two nodes wait on a level for each run. */
#ifndef WF_SUMS_H
#define WF_SUMS_H

#include <stdbool.h>
#include <stdint.h>

#include "room.h"

struct wf_sums_node {
    uint64_t index;
    uint32_t next; /* in the list of its hash, or of free nodes; 0 ends it: nodes count from 1 */
    uint8_t level;
    bool used;
    bool parked; /* in use, but outside the tree: to be packed */
};

struct wf_sums {
    struct wf_sums_node *nodes;
    double *terms; /* [node][n_terms] */
    uint32_t *heads;
    uint32_t capacity, n_heads; /* the latter a power of two */
    uint32_t n_terms, maxima;
    uint32_t touched; /* nodes above were never used since begin */
    uint32_t free;
    uint32_t packed; /* nodes up to here are packed */
    uint64_t leaves;
};

/* How many nodes may wait when `leaves` leaves arrive as `runs` runs that grow at their ends. */
uint32_t wf_sums_capacity(uint64_t leaves, uint64_t runs);
/* The same where trees of several ranks are joined; runs: of all of them together. */
uint32_t wf_sums_capacity_joined(uint64_t leaves, uint64_t runs);
void wf_sums_place(struct wf_sums *s, struct wf_room *room, uint32_t capacity, uint32_t terms_max);

void wf_sums_begin(struct wf_sums *s, uint32_t n_terms, uint32_t maxima, uint64_t leaves);
void wf_sums_add(struct wf_sums *s, unsigned level, uint64_t index, const double *terms);
/* Adds all nodes that wait in `from`, in its order, and leaves it empty. */
void wf_sums_move(struct wf_sums *to, struct wf_sums *from);

/* To hand the nodes of one tree to others: `park` takes all of them out of the tree, which is empty
 * then, and what is added from now on does not meet them. `pack` moves up to `most` of those that
 * are parked to `to`, a record of wf_sums_record numbers for each: level, index, terms. An index is
 * far below 2^53. Returns how many; 0: that was all. */
static inline uint32_t wf_sums_record(uint32_t n_terms)
{
    return 2 + n_terms;
}
void wf_sums_park(struct wf_sums *s);
uint32_t wf_sums_pack(struct wf_sums *s, double *to, uint32_t most);

/* The root's terms, all zero for a tree without leaves. */
const double *wf_sums_total(const struct wf_sums *s);

#endif
