/* progress.h - what a person or a script sees while a merge runs.
 *
 * A bar on a terminal, a line every few seconds elsewhere, JSON events on `json` if that is set, or
 * nothing. Called from one thread.
 */
#ifndef WF_PROGRESS_H
#define WF_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum wf_progress_style { WF_PROGRESS_BAR, WF_PROGRESS_PLAIN, WF_PROGRESS_JSON, WF_PROGRESS_NONE };

struct wf_progress {
    enum wf_progress_style style;
    FILE *json;              /* events, one object a line */
    uint64_t written_total;  /* output bytes of the whole merge */
    uint64_t written_before; /* done by an earlier run */
    uint64_t start_ns, last_ns;
    const char *stage; /* for events: where the merge is, "map" unless set */
    bool drawn;        /* a bar stands on the terminal */
    /* Called at every tick, whatever is shown; may be NULL. What it makes of the numbers is shown.
     */
    void (*count)(void *arg, uint64_t *read, uint64_t *written);
    void *count_arg;
};

/* `before`: output bytes that a resumed run need not write again. */
void wf_progress_start(struct wf_progress *p, enum wf_progress_style style, FILE *json,
                       uint64_t total, uint64_t before);
/* Shows the state if it is time to. read and written: bytes so far in this run. */
void wf_progress_tick(struct wf_progress *p, uint64_t read, uint64_t written);
/* Takes the bar away. */
void wf_progress_stop(struct wf_progress *p);

#endif
