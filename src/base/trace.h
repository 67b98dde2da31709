/* trace.h - what every thread did and when, as a file that a trace viewer shows.
 *
 * The Trace Event Format in its array form, as chrome://tracing and ui.perfetto.dev open it:
 *
 *   [
 *   {"name":"process_name","ph":"M","pid":RANK,"args":{...}},
 *   {"name":"read","cat":"storage","ph":"X","ts":T,"dur":D,"pid":RANK,"tid":TRACK,"args":{...}},
 *   ...
 *   ]
 *
 * Times are microseconds since 1970, so that the files of several ranks can be shown together.
 *
 * Each thread records into a track of its own, a buffer that is written to the file when it is full
 * and at the end. Every such write closes the array, and the next one overwrites the bracket: the
 * file is whole whenever the program ends. Memory is one buffer and one event for each track.
 *
 * A trace is not worth a merge: once the file is open nothing here fails. What cannot be recorded
 * or written is dropped, and wf_trace_close says so in a warning.
 */
#ifndef WF_TRACE_H
#define WF_TRACE_H

#include <stdint.h>

#include "mem.h"
#include "status.h"

struct wf_trace; /* NULL wherever one is taken: nothing is recorded */
struct wf_track; /* of one thread; likewise */

/* What a viewer shows of an event besides its name. A list ends with a name of NULL. */
struct wf_trace_arg {
    const char *name;
    const char *text; /* any bytes, shown up to WF_TRACE_TEXT_MAX; NULL: the number counts */
    uint64_t number;
};

#define WF_TRACE_TEXT_MAX 400u
#define WF_TRACE_BUFFER (28u << 10) /* a good `buffer_bytes`: with an event more it is 32 KiB */

/* The file of one of `size` ranks: its number goes before the ending ("a/out.3.json"); `path`
 * itself where there is one rank. NULL: out of memory. */
char *wf_trace_path(struct wf_arena *a, struct wf_err *e, const char *path, unsigned rank,
                    unsigned size);

/* Creates or empties the file. Anything that is no regular file, or cannot be written, is
 * WF_MACHINE, naming the path, which must stay valid until the end. */
int wf_trace_open(struct wf_err *e, const char *path, unsigned rank, size_t buffer_bytes,
                  struct wf_trace **out);
/* No thread records any more. Accepts NULL. */
void wf_trace_close(struct wf_trace *t);

/* The track called "NAME NUMBER", or "NAME" where the number is WF_TRACE_ONLY: made when first
 * asked for, so that the threads of one stream after another share it. Used by one thread at a
 * time. */
struct wf_track *wf_trace_track(struct wf_trace *t, const char *name, unsigned number);
#define WF_TRACE_ONLY (~0u)

/* A span of time, by wf_now_ns(). Spans of one track nest or follow each other. `args` may be NULL.
 * `name` and `category` are words of the program's. */
void wf_trace_span(struct wf_track *k, const char *name, const char *category, uint64_t begin_ns,
                   uint64_t end_ns, const struct wf_trace_arg *args);
/* What the numbers in `args` are now: a curve for each. */
void wf_trace_counter(struct wf_track *k, const char *name, uint64_t now_ns,
                      const struct wf_trace_arg *args);

#endif
