/* ordered.h - work done by several threads, in any order, and joined in one.
 *
 * Pieces are claimed one after another under a lock, worked on in parallel, and committed under the
 * lock strictly in the order of the claims. So what a commit adds up or prints does not depend on
 * the number of threads, and no piece waits in memory longer than its neighbours take.
 *
 *     claim 0 1 2 3 ...      one lock
 *       work  work  work     no lock
 *     commit 0 1 2 3 ...     one lock, same order
 *
 * Each thread owns one worker block, whose layout is the caller's: what was claimed and what came
 * out of it live there.
 */
#ifndef WF_ORDERED_H
#define WF_ORDERED_H

#include <stdbool.h>
#include <stddef.h>

#include "../base/status.h"

struct wf_ordered {
    bool (*claim)(void *shared, void *worker); /* the next piece; false: there is none left */
    int (*work)(void *shared, void *worker);   /* WF_OK, or a failure that wf_fail has recorded */
    int (*commit)(void *shared, void *worker);
    void *shared;
    void *workers; /* n_workers blocks of worker_bytes */
    size_t worker_bytes;
    unsigned n_workers; /* at least 1: the calling thread works too */
};

/* Runs until nothing is left to claim or a piece fails: then the failure's status. A system that
 * refuses threads makes it slower, not wrong. */
int wf_ordered_run(const struct wf_ordered *o);

#endif
