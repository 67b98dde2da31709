/* linalg_crew.c - tables for the threads of one job; see linalg_crew.h. */
#include "linalg_crew.h"

#include "../base/log.h"
#include "../base/num.h"

static int add_table(struct wf_err *e, struct wf_linalg_crew *crew)
{
    int s = crew->device->open(e, crew->device, crew->n, &crew->tables[crew->n]);
    crew->n += !s;
    return s;
}

/* Queues for as many threads as the device has room for: one at least. */
static int count_queues(struct wf_err *e, const struct wf_linalg_device *d, uint64_t bytes,
                        unsigned threads, unsigned *n)
{
    char need[32], have[32];
    *n = (unsigned)wf_min_u64(threads, d->count * (d->memory_bytes / wf_max_u64(bytes, 1)));
    if (*n)
        return WF_OK;
    return wf_fail(e, WF_MACHINE,
                   "the largest matrix needs %s of the GPU's memory, and %s may be used",
                   wf_format_bytes(bytes, need), wf_format_bytes(d->memory_bytes, have));
}

/* Another queue with its memory; WF_NO, and no error, where the device has too little left. */
static int add_queue(struct wf_err *e, struct wf_linalg_crew *crew, uint64_t bytes)
{
    struct wf_err why = {0};
    int s = add_table(&why, crew);
    if (!s) {
        s = crew->device->claim(&why, crew->tables[crew->n - 1], bytes);
        if (s)
            crew->device->close(crew->tables[--crew->n]);
    }
    if (s == WF_NO)
        wf_log(WF_LOG_INFO, "no room on the GPU for another thread: %s", why.text);
    return !s || s == WF_NO ? s : wf_fail(e, WF_MACHINE, "%s", why.text);
}

static int open_tables(struct wf_err *e, unsigned threads, wf_linalg_room_fn *room, const void *arg,
                       struct wf_linalg_crew *crew)
{
    uint64_t bytes = 0;
    unsigned n = 0;
    int s = add_table(e, crew);
    if (!s)
        s = room(e, crew->tables[0], arg, &bytes);
    if (!s)
        s = count_queues(e, crew->device, bytes, threads, &n);
    if (!s)
        s = crew->device->claim(e, crew->tables[0], bytes);
    if (s)
        return s;
    while (!s && crew->n < n)
        s = add_queue(e, crew, bytes);
    return s == WF_NO ? WF_OK : s;
}

int wf_linalg_crew_open(struct wf_err *e, const struct wf_linalg_device *device, unsigned threads,
                        wf_linalg_room_fn *room, const void *arg, struct wf_linalg_crew *crew)
{
    struct wf_err why = {0};
    unsigned most = threads < WF_LINALG_THREADS ? threads : WF_LINALG_THREADS;
    *crew = (struct wf_linalg_crew){.device = device};
    if (device && !open_tables(&why, most, room, arg, crew))
        return WF_OK;
    if (device && device->required)
        return wf_fail(e, WF_MACHINE, "--backend cuda: %s; --backend cpu does without", why.text);
    if (device)
        wf_log(WF_LOG_INFO, "computed on the CPU: %s", why.text);
    wf_linalg_crew_close(crew);
    *crew = (struct wf_linalg_crew){.n = most};
    return wf_linalg_cpu(e, &crew->processor);
}

void wf_linalg_crew_close(struct wf_linalg_crew *crew)
{
    for (unsigned i = 0; crew->device && i < crew->n; i++)
        crew->device->close(crew->tables[i]);
    crew->n = 0;
}

const struct wf_linalg *wf_linalg_crew_table(const struct wf_linalg_crew *crew, unsigned i)
{
    return crew->device ? crew->tables[i] : crew->processor;
}

int wf_linalg_widen_room(struct wf_err *e, const struct wf_linalg *la,
                         const struct wf_linalg_shape *shapes, size_t n, uint64_t *bytes)
{
    int s = WF_OK;
    for (size_t i = 0; !s && i < n; i++) {
        uint64_t own = 0;
        s = la->room(e, la, &shapes[i], &own);
        *bytes = wf_max_u64(*bytes, own);
    }
    return s;
}
