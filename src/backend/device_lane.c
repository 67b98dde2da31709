/* device_lane.c - lanes: made at the start of a run, and what tiles put into their queues. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/clock.h"
#include "../base/mem.h"
#include "../base/num.h"
#include "device_lane.h"

/* Numbers in the inputs of a tile, below which a launch and its copies take longer than the CPU. */
#define LEAST_NUMBERS 65536u

struct wf_lanes {
    const struct wf_plugin *plugin;
    struct wf_devices *devices;
    struct wf_lane *each;
    uint32_t count;
    struct wf_mirrors *mirrors; /* per device */
    struct wf_mirror *mirror_table;
    uint32_t n_devices, mirrors_each;
    uint64_t least; /* numbers in a tile, below which the CPU has it */
    void *pages;    /* pinned; NULL: not */
};

/* ---- a run's lanes ---- */

static int refuse(struct wf_err *e, uint32_t device, const struct wf_plugin_err *pe)
{
    return wf_fail(e, WF_MACHINE, "GPU %u: %s", device, pe->text);
}

static int open_mirrors(struct wf_err *e, struct wf_lanes *l, uint64_t input_bytes)
{
    struct wf_plugin_err pe = {0};
    uint64_t capacity = wf_round_up(input_bytes, WF_DEVICE_ALIGN);
    for (uint32_t d = 0; d < l->n_devices; d++) {
        struct wf_mirrors *m = &l->mirrors[d];
        uint32_t device = wf_devices_index(l->devices, d);
        m->each = l->mirror_table + (size_t)d * l->mirrors_each;
        wf_mirrors_begin(m, l->mirrors_each, capacity);
        for (uint32_t i = 0; i < m->count; i++)
            if (l->plugin->allocate(&pe, device, capacity + WF_DEVICE_ALIGN,
                                    (void **)&m->each[i].memory))
                return refuse(e, device, &pe);
    }
    return WF_OK;
}

static int read_least(struct wf_err *e, uint64_t *least)
{
    const char *text = getenv("WEFT_DEVICE_MIN");
    *least = LEAST_NUMBERS;
    if (text && *text && !wf_parse_u64(text, strlen(text), least))
        return wf_fail(e, WF_USAGE, "WEFT_DEVICE_MIN=%s: want a number of elements", text);
    return WF_OK;
}

static int open_lane(struct wf_err *e, struct wf_lanes *all, uint32_t k,
                     const struct wf_device_need *need, const struct wf_area *area)
{
    struct wf_lane *l = &all->each[k];
    struct wf_plugin_err pe = {0};
    l->plugin = all->plugin;
    l->device = wf_devices_index(all->devices, k % all->n_devices);
    l->mirrors = &all->mirrors[k % all->n_devices];
    l->need = need->tiles;
    l->area = *area;
    l->least = all->least;
    l->on_host = wf_map_pages(e, area->host_bytes, "what goes to and from a GPU");
    if (!l->on_host)
        return WF_MACHINE;
    if (l->plugin->pin(&pe, l->on_host, area->host_bytes)) {
        wf_unmap_pages(l->on_host, area->host_bytes);
        l->on_host = NULL;
        return refuse(e, l->device, &pe);
    }
    if (l->plugin->allocate(&pe, l->device, area->device_bytes, (void **)&l->on_device) ||
        l->plugin->open_lane(&pe, l->device, &l->queue))
        return refuse(e, l->device, &pe);
    return WF_OK;
}

static int open_all(struct wf_err *e, struct wf_lanes *l, const struct wf_device_need *need,
                    const struct wf_device_layout *layout, void *pages, uint64_t pages_bytes)
{
    struct wf_plugin_err pe = {0};
    int status = read_least(e, &l->least);
    if (!status)
        status = open_mirrors(e, l, need->input_bytes);
    for (uint32_t k = 0; !status && k < l->count; k++)
        status = open_lane(e, l, k, need, &layout->area);
    if (!status && pages_bytes) {
        if (l->plugin->pin(&pe, pages, pages_bytes))
            return refuse(e, wf_devices_index(l->devices, 0), &pe);
        l->pages = pages;
    }
    return status;
}

int wf_lanes_create(struct wf_err *e, struct wf_devices *d, const struct wf_device_need *need,
                    const struct wf_device_layout *layout, uint32_t lanes, void *pages,
                    uint64_t pages_bytes, struct wf_lanes **out)
{
    uint32_t devices = (uint32_t)wf_min_u64(wf_devices_count(d), lanes);
    size_t mirrors = (size_t)devices * layout->mirrors;
    struct wf_lanes *l = wf_alloc(e, WF_MEM_RING, 1, sizeof *l, "lanes");
    *out = NULL;
    if (!l)
        return WF_MACHINE;
    l->plugin = wf_devices_plugin(d);
    l->devices = d;
    l->mirrors_each = layout->mirrors;
    l->each = wf_alloc(e, WF_MEM_RING, lanes, sizeof *l->each, "lanes");
    l->mirrors = wf_alloc(e, WF_MEM_RING, devices, sizeof *l->mirrors, "lanes");
    l->mirror_table = wf_alloc(e, WF_MEM_RING, mirrors, sizeof *l->mirror_table, "lanes");
    int status = WF_MACHINE;
    if (l->each && l->mirrors && l->mirror_table) {
        l->count = lanes;
        l->n_devices = devices;
        status = open_all(e, l, need, layout, pages, pages_bytes);
    }
    if (status)
        wf_lanes_destroy(l);
    else
        *out = l;
    return status;
}

static void close_lane(struct wf_lane *l)
{
    if (!l->plugin)
        return;
    wf_lane_inputs(l, 0, NULL, 0);
    l->plugin->close_lane(l->queue);
    l->plugin->release(l->device, l->on_device);
    if (l->on_host) {
        l->plugin->unpin(l->on_host);
        wf_unmap_pages(l->on_host, l->area.host_bytes);
    }
}

static void close_mirrors(struct wf_lanes *l, uint32_t d)
{
    struct wf_mirrors *m = &l->mirrors[d];
    if (!m->each)
        return;
    for (uint32_t i = 0; i < m->count; i++)
        l->plugin->release(wf_devices_index(l->devices, d), m->each[i].memory);
    wf_mirrors_end(m);
}

void wf_lanes_destroy(struct wf_lanes *l)
{
    if (!l)
        return;
    for (uint32_t k = 0; k < l->count; k++)
        close_lane(&l->each[k]);
    for (uint32_t d = 0; d < l->n_devices; d++)
        close_mirrors(l, d);
    if (l->pages)
        l->plugin->unpin(l->pages);
    wf_free(l->mirror_table);
    wf_free(l->mirrors);
    wf_free(l->each);
    wf_free(l);
}

struct wf_lane *wf_lane_of(struct wf_lanes *l, uint32_t k)
{
    return &l->each[k];
}

/* ---- inputs ---- */

void wf_lane_inputs(struct wf_lane *l, uint64_t key, const void *host, uint64_t bytes)
{
    if (l->key == key)
        return;
    if (l->mirror)
        wf_mirror_leave(l->mirrors, l->mirror);
    l->mirror = NULL;
    l->key = key;
    l->inputs = host;
    l->input_bytes = bytes;
}

bool wf_lane_has(const struct wf_lane *l, const void *host, uint64_t bytes)
{
    uintptr_t at = (uintptr_t)host, first = (uintptr_t)l->inputs;
    return at >= first && at - first <= l->input_bytes && bytes <= l->input_bytes - (at - first) &&
           l->input_bytes <= l->mirrors->capacity;
}

/* Where the noted range begins in the mirror: at the same place modulo WF_DEVICE_ALIGN as on the
 * host, so that what is aligned there is aligned here. */
static char *mirror_start(const struct wf_lane *l)
{
    return l->mirror->memory + (uintptr_t)l->inputs % WF_DEVICE_ALIGN;
}

const void *wf_lane_input(const struct wf_lane *l, const void *host)
{
    return mirror_start(l) + ((const char *)host - l->inputs);
}

/* ---- the queue ---- */

/* Waits for what is in the queue: host memory is the caller's again, and so is a mirror. Nobody
 * waits for a copy that will never be there. */
static bool fail(struct wf_lane *l, const struct wf_plugin_err *pe)
{
    struct wf_plugin_err ignored = {0};
    l->plugin->finish(&ignored, l->queue);
    l->views_used = 0;
    snprintf(l->why, sizeof l->why, "GPU %u: %s", l->device, pe->text);
    if (l->filling) {
        wf_mirror_settle(l->mirrors, l->mirror, false);
        wf_mirror_leave(l->mirrors, l->mirror);
        l->mirror = NULL;
        l->filling = false;
    }
    return false;
}

/* The thread has waited since `begin_ns`. */
static void count_wait(struct wf_lane *l, const char *what, uint64_t begin_ns)
{
    uint64_t end = wf_now_ns();
    l->waited_ns += end - begin_ns;
    wf_trace_span(l->track, what, "device", begin_ns, end, NULL);
}

void wf_lane_record(struct wf_lane *l, struct wf_track *track)
{
    l->track = track;
}

uint64_t wf_lane_waited_ns(struct wf_lane *l)
{
    uint64_t ns = l->waited_ns;
    l->waited_ns = 0;
    return ns;
}

bool wf_lane_bring_inputs(struct wf_lane *l)
{
    struct wf_plugin_err pe = {0};
    uint64_t begin = wf_now_ns();
    if (l->mirror)
        return true;
    l->mirror = wf_mirror_take(l->mirrors, l->key, &l->filling);
    if (!l->filling)
        count_wait(l, "wait for another lane's copy", begin);
    if (l->filling && l->plugin->copy_in(&pe, l->queue, mirror_start(l), l->inputs, l->input_bytes))
        return fail(l, &pe);
    return true;
}

bool wf_lane_up(struct wf_lane *l, uint64_t at, uint64_t bytes)
{
    struct wf_plugin_err pe = {0};
    return !l->plugin->copy_in(&pe, l->queue, l->on_device + at, l->on_host + at, bytes) ||
           fail(l, &pe);
}

bool wf_lane_down(struct wf_lane *l, uint64_t at, uint64_t bytes)
{
    return wf_lane_copy_out(l, l->on_host + at, l->on_device + at, bytes);
}

bool wf_lane_copy_out(struct wf_lane *l, void *host, const void *device, uint64_t bytes)
{
    struct wf_plugin_err pe = {0};
    return !l->plugin->copy_out(&pe, l->queue, host, device, bytes) || fail(l, &pe);
}

bool wf_lane_clear(struct wf_lane *l, uint64_t at, uint64_t bytes)
{
    struct wf_plugin_err pe = {0};
    return !l->plugin->clear(&pe, l->queue, l->on_device + at, bytes) || fail(l, &pe);
}

bool wf_lane_launch(struct wf_lane *l, const struct wf_work *work)
{
    struct wf_plugin_err pe = {0};
    return !l->plugin->launch(&pe, l->queue, work) || fail(l, &pe);
}

bool wf_lane_finish(struct wf_lane *l)
{
    struct wf_plugin_err pe = {0};
    uint64_t begin = wf_now_ns();
    int failed = l->plugin->finish(&pe, l->queue);
    count_wait(l, "wait for the device", begin);
    if (failed)
        return fail(l, &pe);
    if (l->filling)
        wf_mirror_settle(l->mirrors, l->mirror, true);
    l->filling = false;
    l->views_used = 0;
    return true;
}

bool wf_lane_views(struct wf_lane *l, uint64_t bytes, uint64_t *at)
{
    bytes = wf_round_up(bytes, 64);
    if (bytes > l->area.views.bytes - l->views_used && !wf_lane_finish(l))
        return false;
    *at = l->area.views.at + l->views_used;
    l->views_used += bytes;
    return true;
}
