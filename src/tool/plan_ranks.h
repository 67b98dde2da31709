/* plan_ranks.h - `weft plan --ranks N`: what each of so many ranks would read, write and take. */
#ifndef WF_PLAN_RANKS_H
#define WF_PLAN_RANKS_H

#include "../publish/merge.h"

/* Refuses options that do not go together. */
int wf_plan_ranks_check(struct wf_err *e, const struct weft_options *o);

/* Sets the budget anew, as each of the ranks has it, and with GPUs that need not be there. */
int wf_plan_ranks_budget(struct wf_err *e, const struct weft_options *o, struct wf_setup *s);

/* Prints, for people: the largest load, the mean and the least, up to RANKS_LISTED ranks one by
 * one. JSON: {"event":"plan_ranks",..}, then one {"event":"plan_rank",..} for each. */
int wf_plan_ranks_print(struct wf_err *e, const struct weft_options *o, const struct wf_setup *s);

#endif
