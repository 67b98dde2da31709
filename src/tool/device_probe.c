/* device_probe.c - copies to, from and inside a GPU, each repeated for a twentieth of a second. */
#include "device_probe.h"

#include <string.h>

#include "../base/clock.h"
#include "../base/mem.h"
#include "../base/num.h"

#define HOST_BYTES ((uint64_t)64 << 20)
#define DEVICE_BYTES ((uint64_t)256 << 20) /* larger than the caches of a GPU */
#define COPIES 4u                          /* put into the lane before it is waited for */
#define PHASE_NS 50000000u

struct probe {
    const struct wf_plugin *p;
    struct wf_plugin_err fault;
    struct wf_plugin_lane *lane;
    uint32_t device;
    void *host, *from, *to;
    uint64_t host_bytes, device_bytes;
    bool pinned;
};

enum direction { IN, OUT, INSIDE };

static int copy(struct probe *b, enum direction way)
{
    switch (way) {
    case IN:
        return b->p->copy_in(&b->fault, b->lane, b->from, b->host, b->host_bytes);
    case OUT:
        return b->p->copy_out(&b->fault, b->lane, b->host, b->from, b->host_bytes);
    case INSIDE:
        break;
    }
    return b->p->copy(&b->fault, b->lane, b->to, b->from, b->device_bytes);
}

/* The first round is not counted: it touches what was never touched. */
static int measure(struct probe *b, enum direction way, struct wf_copy_rate *rate)
{
    uint64_t start = 0, rounds = 0, now;
    do {
        for (unsigned i = 0; i < COPIES; i++)
            if (copy(b, way))
                return 1;
        if (b->p->finish(&b->fault, b->lane))
            return 1;
        now = wf_now_ns();
        if (!start)
            start = now;
        else
            rounds++;
    } while (!rounds || now - start < PHASE_NS);
    rate->bytes = rounds * COPIES * (way == INSIDE ? b->device_bytes : b->host_bytes);
    rate->ns = now - start;
    return 0;
}

static int measure_all(struct probe *b, struct wf_device_probe *out)
{
    const struct wf_plugin *p = b->p;
    /* A GPU that others use as well may have little left. */
    b->device_bytes = wf_min_u64(DEVICE_BYTES, out->about.free_bytes / 4) & ~(uint64_t)4095;
    b->host_bytes = wf_min_u64(HOST_BYTES, b->device_bytes);
    if (!b->host_bytes)
        return 0;
    if (p->pin(&b->fault, b->host, b->host_bytes))
        return 1;
    b->pinned = true;
    if (p->open_lane(&b->fault, b->device, &b->lane) ||
        p->allocate(&b->fault, b->device, b->device_bytes, &b->from) ||
        p->allocate(&b->fault, b->device, b->device_bytes, &b->to) ||
        p->clear(&b->fault, b->lane, b->from, b->device_bytes))
        return 1;
    return measure(b, IN, &out->in) || measure(b, OUT, &out->out) ||
           measure(b, INSIDE, &out->inside);
}

int wf_device_measure(struct wf_err *e, const struct wf_plugin *p, uint32_t device,
                      struct wf_device_probe *out)
{
    struct probe b = {.p = p, .device = device};
    memset(out, 0, sizeof *out);
    if (p->describe(&b.fault, device, &out->about))
        return wf_fail(e, WF_MACHINE, "%s", b.fault.text);
    b.host = wf_map_pages(e, HOST_BYTES, "a measurement of copies to a GPU");
    if (!b.host)
        return wf_err_status(e);
    memset(b.host, 1, HOST_BYTES);
    int failed = measure_all(&b, out);
    p->close_lane(b.lane);
    p->release(device, b.from);
    p->release(device, b.to);
    if (b.pinned)
        p->unpin(b.host);
    wf_unmap_pages(b.host, HOST_BYTES);
    return failed ? wf_fail(e, WF_MACHINE, "%s", b.fault.text) : WF_OK;
}
