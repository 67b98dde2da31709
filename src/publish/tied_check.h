/* tied_check.h - models whose config.json ties the head to the embedding table, and that store a
 * head all the same: is it the table?
 */
#ifndef WF_TIED_CHECK_H
#define WF_TIED_CHECK_H

#include "../plan/plan.h"

/* Warns of each model of the plan whose stored head differs from its table. Some places of both are
 * read, a few hundred kilobytes: heads that were trained by themselves differ everywhere. What
 * cannot be read is for the merge to say. */
void wf_tied_check(const struct wf_plan *plan);

#endif
