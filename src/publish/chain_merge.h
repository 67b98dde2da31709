/* chain_merge.h - a merge of one or several stages, end to end.
 *
 *   plan all -> OUT.stages/A.partial -> OUT.stages/A -> OUT.stages/B -> ... -> OUT -> remove
 *                                                                             OUT.stages
 *
 * Each stage is a merge of its own, published and resumed as such. OUT.stages is locked from its
 * making to its end, and stays when a stage is stopped or fails with something finished in it.
 */
#ifndef WF_CHAIN_MERGE_H
#define WF_CHAIN_MERGE_H

#include "merge.h"

/* The merge of a recipe's file. `stop` is polled; nonzero means stop and save. `result` is zeroed,
 * and counts all stages. */
int wf_chain_merge_run(struct wf_err *e, const struct weft_options *options, const char *recipe,
                       const char *out, const volatile int *stop, struct weft_merge_result *result);

#endif
