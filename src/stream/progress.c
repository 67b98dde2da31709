/* progress.c - bar, lines or events. */
#include "progress.h"

#include <inttypes.h>

#include "../base/clock.h"
#include "../base/log.h"
#include "../base/num.h"

#define BAR_WIDTH 28

static const uint64_t interval_ns[] = {
    [WF_PROGRESS_BAR] = 100000000u,
    [WF_PROGRESS_PLAIN] = 5000000000u,
    [WF_PROGRESS_JSON] = 1000000000u,
    [WF_PROGRESS_NONE] = UINT64_MAX,
};

static void wipe(void *arg)
{
    struct wf_progress *p = arg;
    if (p->drawn)
        fputs("\r\033[K", stderr);
    p->drawn = false;
}

void wf_progress_start(struct wf_progress *p, enum wf_progress_style style, FILE *json,
                       uint64_t total, uint64_t before)
{
    *p = (struct wf_progress){.style = style,
                              .json = json,
                              .written_total = total,
                              .written_before = before,
                              .start_ns = wf_now_ns(),
                              .stage = "map"};
    p->last_ns = p->start_ns;
    if (style == WF_PROGRESS_BAR)
        wf_log_set_hook(wipe, p);
}

/* "1:05" or "2:03:09". */
static void format_time(double seconds, char *buf, size_t size)
{
    uint64_t s = (uint64_t)(seconds + 0.5);
    if (s >= 3600)
        snprintf(buf, size, "%" PRIu64 ":%02u:%02u", s / 3600, (unsigned)(s / 60 % 60),
                 (unsigned)(s % 60));
    else
        snprintf(buf, size, "%u:%02u", (unsigned)(s / 60), (unsigned)(s % 60));
}

static void show(struct wf_progress *p, uint64_t read, uint64_t written)
{
    double seconds = (double)(wf_now_ns() - p->start_ns) / 1e9;
    uint64_t done = p->written_before + written;
    double share = p->written_total ? (double)done / (double)p->written_total : 1.0;
    double rate = (double)(read + written) / seconds;
    double left = written ? seconds * (double)(p->written_total - done) / (double)written : 0.0;
    char bytes[3][32], when[24];
    format_time(left, when, sizeof when);
    if (p->style == WF_PROGRESS_JSON) {
        fprintf(p->json,
                "{\"event\":\"progress\",\"bytes_read\":%" PRIu64 ",\"bytes_written\":%" PRIu64
                ",\"bytes_total\":%" PRIu64 ",\"seconds\":%.3f,\"seconds_left\":%.1f,"
                "\"stage\":\"%s\",\"rank\":%u}\n",
                read, done, p->written_total, seconds, left, p->stage, wf_log_rank());
        fflush(p->json);
        return;
    }
    if (!written) /* statistics of a large tensor or of the model come first */
        snprintf(when, sizeof when, "some time");
    wf_format_bytes(done, bytes[0]);
    wf_format_bytes(p->written_total, bytes[1]);
    wf_format_bytes((uint64_t)rate, bytes[2]);
    if (p->style == WF_PROGRESS_PLAIN) {
        wf_log(WF_LOG_INFO, "%s of %s (%.0f %%), %s/s, %s left", bytes[0], bytes[1], 100 * share,
               bytes[2], when);
        return;
    }
    char bar[BAR_WIDTH + 1];
    for (int i = 0; i < BAR_WIDTH; i++)
        bar[i] = i < (int)(share * BAR_WIDTH) ? '#' : '.';
    bar[BAR_WIDTH] = 0;
    fprintf(stderr, "\r\033[K[%s] %3.0f %%  %s of %s  %s/s  %s left", bar, 100 * share, bytes[0],
            bytes[1], bytes[2], when);
    fflush(stderr);
    p->drawn = true;
}

void wf_progress_tick(struct wf_progress *p, uint64_t read, uint64_t written)
{
    uint64_t now = wf_now_ns();
    if (p->count)
        p->count(p->count_arg, &read, &written);
    if (p->style == WF_PROGRESS_NONE || now - p->last_ns < interval_ns[p->style])
        return;
    p->last_ns = now;
    show(p, read, written);
}

void wf_progress_stop(struct wf_progress *p)
{
    if (p->style != WF_PROGRESS_BAR)
        return;
    wipe(p);
    wf_log_set_hook(NULL, NULL);
}
