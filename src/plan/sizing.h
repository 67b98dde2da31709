/* sizing.h - what each of several ranks reads, writes and gives to the others.
 *
 * The deal (deal.h) says what a rank reads at least. What it reads more often, as memory is too
 * little to hold a tensor or its share of the model while statistics are found, follows from the
 * budget, which is the same for all.
 */
#ifndef WF_SIZING_H
#define WF_SIZING_H

#include "budget.h"

struct wf_sizing_rank {
    uint32_t number;
    uint64_t blocks; /* that begin in its share */
    uint64_t read, written;
};

struct wf_sizing {
    uint32_t n;
    const struct wf_sizing_rank *ranks;
    uint32_t least, most;   /* those with the least and the largest load */
    uint64_t read, written; /* of all together */
    uint64_t shared;        /* of `read`: because tensors are read by several */
    uint64_t joined;        /* about what each gives to the others for the model's statistics */
    uint64_t resident;      /* with this memory of each, shares of the model are read once; 0: they
                               are, or no memory is known with which they would be */
};

static inline uint64_t wf_sizing_load(const struct wf_sizing_rank *r)
{
    return r->read + r->written;
}

/* The load of a rank, in means. */
double wf_sizing_share(const struct wf_sizing *z, const struct wf_sizing_rank *r);

/* With `by_plan` alone, everything is held that lies in one tensor, and the model is not: so the
 * bytes do not depend on the budget. Tables live in `a`. */
int wf_sizing_make(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                   const struct wf_budget *b, bool by_plan, uint32_t ranks, struct wf_sizing *out);

#endif
