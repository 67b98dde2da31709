/* times.h - where the time of a merge went: for the result, the "done" event and the log. */
#ifndef WF_TIMES_H
#define WF_TIMES_H

#include "../../include/weft.h"
#include "../base/str.h"
#include "../stream/bound.h"
#include "../stream/watch.h"

/* Sets r->times and r->bound_by. */
void wf_times_fill(const struct wf_watch *w, const struct wf_stream_times *t,
                   struct weft_merge_result *r);
/* Adds the times of another merge of the same chain. */
void wf_times_add(struct weft_merge_result *sum, const struct weft_merge_result *r);

/* Members of a JSON object, each with a comma before it. */
void wf_times_json(struct wf_str *s, const struct weft_merge_result *r);
/* All shares, at the level of debugging. */
void wf_times_log(const struct weft_merge_result *r);

#endif
