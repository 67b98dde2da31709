/* plan_print.h - `weft plan`: what a merge would do, for people and scripts. */
#ifndef WF_PLAN_PRINT_H
#define WF_PLAN_PRINT_H

#include "../../include/weft.h"
#include "../base/status.h"

/* Reads the recipe and the headers, builds plan and budget, prints them to options->out. JSON:
 * one {"event":"plan",..} object, then one {"event":"job",..} per tensor. */
int wf_plan_print_run(struct wf_err *e, const struct weft_options *options, const char *recipe);

#endif
