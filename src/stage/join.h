/* join.h - how the ranks of one merge join what each has found: sums of counts, and bytes in the
 * order of ranks.
 *
 * Stages know this table and nothing of processes; src/dist/join_ranks.h fills it.
 */
#ifndef WF_JOIN_H
#define WF_JOIN_H

#include <stddef.h>
#include <stdint.h>

#include "../base/status.h"

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

#endif
