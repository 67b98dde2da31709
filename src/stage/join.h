/* join.h - ranks put together what each has seen of one group.
 *
 *   rank 0   add its pieces --+                +--> advance     the same conclusion everywhere
 *   rank 1   add its pieces --+-- wf_unit_join +--> advance
 *   rank 2   nothing to add --+                +--> advance
 *
 * Every piece of the group is shown by one rank; pieces are numbered alike. What is joined is
 * counts, keys and nodes of the canonical tree, none of which depends on who saw what: so the
 * conclusions have the bits of a single process.
 */
#ifndef WF_JOIN_H
#define WF_JOIN_H

#include "unit.h"

struct wf_join {
    unsigned ranks;
    /* All ranks call these in the same order. values[i] becomes the sum over ranks. */
    int (*sum)(void *arg, struct wf_err *e, uint64_t *values, size_t n);
    /* The bytes of all ranks, in the order of ranks, into all[0..*total), of room for `most`; more
     * is our bug. */
    int (*gather)(void *arg, struct wf_err *e, const void *mine, size_t bytes, void *all,
                  size_t most, size_t *total);
    void *arg;
};

/* Called by every rank when its own part of a step was added, before wf_unit_advance: afterwards
 * each rank's unit is as if it had seen all pieces. The unit was created with need.joined at least
 * join->ranks. Fails where the ranks differ in their room, or in what was concluded before; then
 * on all of them. */
int wf_unit_join(struct wf_err *e, struct wf_unit *u, const struct wf_join *join);

/* Bytes that a unit keeps for it; 0 with one rank. */
uint64_t wf_join_bytes(const struct wf_unit_need *need, uint64_t keys_max);

#endif
