/* watch.c - phases as events, spans and sums. */
#include "watch.h"

#include <inttypes.h>
#include <stdbool.h>

#include "../base/clock.h"
#include "../base/log.h"

static const char *const names[] = {
    [WF_PHASE_PLAN] = "plan",
    [WF_PHASE_STATISTICS] = "statistics",
    [WF_PHASE_MAP] = "map",
    [WF_PHASE_RANKS] = "ranks",
    [WF_PHASE_COMPONENTS] = "components",
    [WF_PHASE_DELTAS] = "deltas",
    [WF_PHASE_PUBLISH] = "publish",
};

void wf_watch_set_trace(struct wf_watch *w, struct wf_trace *trace)
{
    w->trace = trace;
    w->track = wf_trace_track(trace, "main", WF_TRACE_ONLY);
}

const char *wf_watch_stage(const struct wf_watch *w)
{
    return names[w->phase];
}

/* One line in one call: other threads write lines, too. */
static void emit(const struct wf_watch *w, const char *state, uint64_t now)
{
    char step[64] = "", sums[128] = "";
    if (!w->json)
        return;
    if (w->step)
        snprintf(step, sizeof step, ",\"step\":%u,\"step_name\":\"%s\"", w->step, w->step_name);
    if (now)
        snprintf(sums, sizeof sums,
                 ",\"seconds\":%.6f,\"bytes_read\":%" PRIu64 ",\"bytes_written\":%" PRIu64,
                 (double)(now - w->begin_ns) / 1e9, w->read - w->read_before,
                 w->written - w->written_before);
    fprintf(w->json, "{\"event\":\"phase\",\"stage\":\"%s\"%s,\"state\":\"%s\"%s,\"rank\":%u}\n",
            names[w->phase], step, state, sums, wf_log_rank());
    fflush(w->json);
}

static void begin(struct wf_watch *w, enum wf_phase phase, unsigned step, const char *step_name)
{
    wf_watch_end(w);
    w->phase = phase;
    w->step = step;
    w->step_name = step_name;
    w->begin_ns = wf_now_ns();
    w->read_before = w->read;
    w->written_before = w->written;
    emit(w, "begin", 0);
}

void wf_watch_phase(struct wf_watch *w, enum wf_phase phase)
{
    begin(w, phase, 0, NULL);
}

void wf_watch_end(struct wf_watch *w)
{
    uint64_t now = wf_now_ns();
    if (!w->begin_ns)
        return;
    struct wf_trace_arg args[] = {
        {.name = "bytes_read", .number = w->read - w->read_before},
        {.name = "bytes_written", .number = w->written - w->written_before},
        {.name = w->step ? "step" : NULL, .number = w->step},
        {.name = "step_name", .text = w->step_name},
        {.name = NULL}};
    wf_trace_span(w->track, names[w->phase], "phase", w->begin_ns, now, args);
    emit(w, "end", now);
    w->ns[w->phase] += now - w->begin_ns;
    w->begin_ns = 0;
}

void wf_watch_part(const struct wf_watch *w, const char *name, uint64_t begin_ns)
{
    if (w->track)
        wf_trace_span(w->track, name, "phase", begin_ns, wf_now_ns(), NULL);
}

void wf_watch_stream_begin(struct wf_watch *w)
{
    w->read_base = w->read;
    w->written_base = w->written;
}

#define COUNT_NS 10000000u /* between two points of the curves */

static void count(struct wf_watch *w)
{
    uint64_t now = wf_now_ns();
    if (!w->track || now - w->counted_ns < COUNT_NS)
        return;
    struct wf_trace_arg read[] = {{.name = "bytes", .number = w->read}, {.name = NULL}};
    struct wf_trace_arg written[] = {{.name = "bytes", .number = w->written}, {.name = NULL}};
    wf_trace_counter(w->track, "bytes read", now, read);
    wf_trace_counter(w->track, "bytes written", now, written);
    w->counted_ns = now;
}

void wf_watch_stream(struct wf_watch *w, uint64_t read, uint64_t written, unsigned step,
                     const char *step_name)
{
    bool own = w->begin_ns && w->phase == WF_PHASE_DELTAS;
    enum wf_phase phase = step ? WF_PHASE_STATISTICS : WF_PHASE_MAP;
    w->read = w->read_base + read;
    w->written = w->written_base + written;
    count(w);
    if (!own && (!w->begin_ns || w->phase != phase || w->step != step))
        begin(w, phase, step, step_name);
}

#define WAIT_SHOWN_NS 100000u /* shorter ones would fill the trace */

void wf_watch_wait(const struct wf_watch *w, uint64_t begin_ns)
{
    uint64_t now = wf_now_ns();
    if (w->track && now - begin_ns >= WAIT_SHOWN_NS)
        wf_trace_span(w->track, "wait", "wait", begin_ns, now, NULL);
}
