/* deltas.h - `task_deltas`: the second step of a merge, from the finished shards to one file for
 * each task.
 *
 *   plan:  delta_plan.h, a budget of its own
 *   run:   shards + models --stream--> OUT.partial/spool/ --assemble-->
 * OUT.partial/DIR/TASK.safetensors
 *
 * Several ranks stream and spool, each its share; rank 0 assembles.
 *
 * Runs when the dense stream is through. What an earlier run left of it is made anew: the journal
 * speaks of the shards alone.
 */
#ifndef WF_DELTAS_H
#define WF_DELTAS_H

#include "../../include/weft.h"
#include "../stream/bound.h"
#include "../stream/progress.h"
#include "../stream/watch.h"
#include "delta_assembly.h"
#include "merge.h"
#include "ranks.h"

/* After the merge's own plan and budget: the second step's, in s->deltas. Warns of tensors that a
 * delta cannot speak of. Nothing if the recipe wants no deltas. */
int wf_deltas_plan(struct wf_err *e, const struct weft_options *options, struct wf_setup *s);

struct wf_deltas_result {
    struct wf_delta_made *made; /* by task, in recipe order; in the setup's arena */
    struct wf_made_file *files; /* theirs */
    size_t n;
    uint64_t bytes_read;
    struct wf_stream_times times;
};

/* The plan by which the tasks' models are looked at; NULL: they are not. */
const struct wf_plan *wf_deltas_second_step(const struct wf_setup *s);

/* Rank 0, before any other rank writes: empty folders for the spool and the deltas. Nothing if the
 * recipe wants no deltas. */
int wf_deltas_clear(struct wf_err *e, struct wf_setup *s, const char *partial);

struct wf_deltas_run {
    const struct weft_options *options;
    struct wf_setup *setup;
    struct wf_ranks *ranks;
    const char *partial; /* OUT.partial, with all shards */
    enum wf_progress_style progress;
    const volatile int *stop;
    struct wf_watch *watch;
};

/* On rank r > 0 the result is what this rank has read, and no files. */
int wf_deltas_run(struct wf_err *e, const struct wf_deltas_run *run, struct wf_deltas_result *out);
/* Before the setup is destroyed; also after a failure. */
void wf_deltas_destroy(struct wf_deltas_result *r);

/* The table of sizes: lines for a person, or JSON events. */
void wf_deltas_report(const struct weft_options *options, const struct wf_setup *s,
                      const struct wf_deltas_result *r);

#endif
