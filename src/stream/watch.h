/* watch.h - a merge as it is seen from outside: one phase after the other, with times and bytes.
 *
 *   plan | ranks | statistics, step by step | map | ranks | components | deltas | publish
 *
 * Which of them there are depends on the merge, and on the rank. Each phase and each step is two
 * events on `json`, a span of the trace, and a part of the summary. Used by the thread that runs
 * the merge.
 */
#ifndef WF_WATCH_H
#define WF_WATCH_H

#include <stdio.h>

#include "../base/trace.h"

enum wf_phase {
    WF_PHASE_PLAN,
    WF_PHASE_STATISTICS, /* of model scope: those of tensors are part of MAP */
    WF_PHASE_MAP,        /* everything is read, merged and written */
    WF_PHASE_RANKS,      /* waiting for the other processes of the merge */
    WF_PHASE_COMPONENTS,
    WF_PHASE_DELTAS,
    WF_PHASE_PUBLISH,
    WF_PHASES
};

struct wf_watch {
    struct wf_trace *trace; /* NULL: none is wanted; not owned */
    struct wf_track *track; /* of the thread that runs the merge */
    FILE *json;             /* events, one object a line; NULL: none */
    uint64_t read, written; /* bytes so far; kept up to date by who reads and writes */

    uint64_t ns[WF_PHASES]; /* spent in phases that are over */
    enum wf_phase phase;    /* the present one, if it has begun */
    uint64_t begin_ns;      /* 0: none has begun */
    uint64_t read_before, written_before;
    unsigned step; /* of statistics, from 1; 0: it has none */
    const char *step_name;
    uint64_t read_base, written_base; /* before the present stream */
    uint64_t counted_ns;              /* when the trace's counters were last set */
};

/* From now on spans are recorded, also that of the present phase. */
void wf_watch_set_trace(struct wf_watch *w, struct wf_trace *trace);

/* The present phase, if there is one, is over, and the next begins. */
void wf_watch_phase(struct wf_watch *w, enum wf_phase phase);
/* The present phase is over, if there is one, and so is the merge. */
void wf_watch_end(struct wf_watch *w);

/* What events call the present phase. */
const char *wf_watch_stage(const struct wf_watch *w);

/* A stream begins; the bytes that it will speak of come on top of those so far. */
void wf_watch_stream_begin(struct wf_watch *w);
/* What it has moved, and which step of the model's statistics it is in (0: it is in none, or past
 * them). The phase follows, unless it is one that is a stream of its own: DELTAS. */
void wf_watch_stream(struct wf_watch *w, uint64_t read, uint64_t written, unsigned step,
                     const char *step_name);
/* The thread that runs the merge has waited until now for others. */
void wf_watch_wait(const struct wf_watch *w, uint64_t begin_ns);

/* A part of the present phase that began at `begin_ns` and is over: for the trace alone. */
void wf_watch_part(const struct wf_watch *w, const char *name, uint64_t begin_ns);

#endif
