/* chain_plan.h - the plans of all stages of a recipe, made before the first of them runs. */
#ifndef WF_CHAIN_PLAN_H
#define WF_CHAIN_PLAN_H

#include "../recipe/chain.h"
#include "merge.h"

/* Stages in the order of the chain. A later one's inputs are planned checkpoints, so that all that
 * does not fit together is found while nothing is written. */
struct wf_chain_plan {
    struct wf_arena arena;
    const struct wf_chain *chain;
    struct wf_setup *setups;        /* n of them; the last is the result's */
    struct wf_ckpt *planned;        /* what each but the last makes */
    struct wf_opened_stage *stages; /* the same for references, below `folder` */
    bool *fused;                    /* which of them are computed on the way (plan/fused.h) */
    size_t n;                       /* planned so far */
};

/* `recipe` is the chain's file, `folder` where the results of stages will lie. Pair with
 * wf_chain_plan_destroy, also after a failure. */
int wf_chain_plan(struct wf_err *e, const struct weft_options *options, const char *recipe,
                  const struct wf_chain *chain, const char *folder, struct wf_chain_plan *out);
void wf_chain_plan_destroy(struct wf_chain_plan *p);

#endif
