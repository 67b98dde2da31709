/* search.h - `weft search`: weights (and density) of a recipe for which an outside command likes
 * the merged model best.
 *
 * Works in OUT.search/: search.jsonl, one line for the question and one for each evaluation, in
 * order; components/, where the method has them; candidate/, the model that is being looked at. The
 * candidates follow from the log's first line and the fitnesses in it, so a search that was stopped
 * goes on as if it had not been.
 */
#ifndef WF_SEARCH_H
#define WF_SEARCH_H

#include "../../include/weft.h"
#include "../base/status.h"

int wf_search_run(struct wf_err *e, const struct weft_options *options, const char *recipe,
                  const struct weft_search *how, const volatile int *stop,
                  struct weft_merge_result *result);

#endif
