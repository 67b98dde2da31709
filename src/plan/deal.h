/* deal.h - which rank makes which blocks of the output.
 *
 * A rank is one process of a merge that several share. Each makes a contiguous range of the output,
 * cut between its 64 MiB blocks, numbered through all shards in file order (wf_plan_number_blocks),
 * or inside one, where a tensor begins that would else be read by both sides:
 *
 *   blocks   | 0   | 1   | 2   | 3   | 4   | 5   |
 *   ranks    [ 0        ][ 1           ][ 2      ]
 *   tensors  [ a     ][ b              ][ c      ]
 *
 * Places name where: the block's number times WF_BLOCK_BYTES, and bytes into it. A border inside a
 * block falls on a multiple of WF_DIRECT_ALIGN, so that no two ranks write to one page.
 *
 * The load of a range is what its rank reads plus what it writes:
 *
 *   - inputs and output of the blocks that are not done;
 *   - jobs with a stage of model scope: inputs of all blocks, done or not, once more for each pass
 *     over the model's statistics;
 *   - a tensor whose stages gather (wf_job_gathers), of which some is not done: all of it, however
 *     little of it the rank makes. Above, ranks 0 and 1 both read b.
 *
 * The largest load is the least that any such ranges have; all is computed in exact integers. It
 * is a pure function of the plan, of what is done, and of the number of ranks: never of memory,
 * threads or hosts, so that every rank finds it for itself.
 */
#ifndef WF_DEAL_H
#define WF_DEAL_H

#include "plan.h"

/* What is left of the work. */
struct wf_deal_work {
    const bool *done;      /* by block; NULL: nothing is */
    unsigned model_passes; /* over the elements of model scope, before the one that writes */
};

struct wf_deal_load {
    uint64_t read;    /* input bytes, each as often as it is read */
    uint64_t model;   /* of these, those of one pass over elements of model scope */
    uint64_t written; /* output bytes, headers aside */
};

struct wf_deal {
    uint32_t ranks;
    const uint64_t *begin; /* rank r makes places [begin[r], begin[r + 1]); ranks + 1 entries */
    const struct wf_deal_load *loads; /* by rank */
};

/* 1 or more ranks; where there are more than blocks, some get none. The tables live in
 * `a`. */
int wf_deal_make(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                 const struct wf_deal_work *work, uint32_t ranks, struct wf_deal *out);

#endif
