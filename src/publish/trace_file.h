/* trace_file.h - where the trace of a merge may be written. */
#ifndef WF_TRACE_FILE_H
#define WF_TRACE_FILE_H

#include "../dist/rank.h"
#include "merge.h"
#include "output.h"

/* *out: the file of this rank, in the arena; NULL if `file` is. */
int wf_trace_file_name(struct wf_err *e, struct wf_arena *a, const char *file,
                       const struct wf_rank *self, const char **out);

/* Refuses (WF_USAGE) a file that is the recipe, or its table of coefficients, or belongs to what a
 * merge reads (`opened`), or lies where it writes. `file` NULL: nothing to refuse. Changes nothing.
 */
int wf_trace_file_check(struct wf_err *e, const char *file, const struct wf_output *o,
                        const struct wf_recipe *recipe, const struct wf_opened *opened);

#endif
