/* tile_report.h - what a tile of a job, or a copy, finds wrong with its inputs, as one sentence
 * that names file and tensor. Private to src/stream.
 */
#ifndef WF_TILE_REPORT_H
#define WF_TILE_REPORT_H

#include "../backend/backend.h"
#include "../plan/span.h"

/* The error for a verdict that is not OK. `plan` is the job's. */
int wf_tile_report(struct wf_err *e, const struct wf_plan *plan, const struct wf_job *job,
                   const struct wf_tile_result *result);

/* COPY: the first input's bytes; every other input must hold the same, else WF_INPUT. */
int wf_segment_copy(struct wf_err *e, const struct wf_plan *plan, const struct wf_segment *g,
                    const char *const *in, char *out);

#endif
