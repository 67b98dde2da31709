/* plan_time.h - how long a merge would take, and which stage binds. */
#ifndef WF_PLAN_TIME_H
#define WF_PLAN_TIME_H

#include "../../include/weft.h"
#include "../plan/budget.h"

/* Reading, computing and writing overlap: the longest is the whole. */
struct wf_plan_time {
    double read_s, compute_s, write_s;
    double seconds;
    const char *binds; /* "read", "compute" or "write" */
};

/* Of one process that reads and writes so many bytes, at the rates of `o`. */
struct wf_plan_time wf_plan_time(const struct weft_options *o, const struct wf_budget *b,
                                 uint64_t read, uint64_t written);

#endif
