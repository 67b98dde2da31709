/* lowrank_device.c - who decomposes matrices; see lowrank_device.h. */
#include "lowrank_device.h"

#include <stdlib.h>
#include <string.h>

#include "../base/log.h"

static int open_linalg(struct wf_err *e, const struct weft_options *o, struct wf_lowrank_device *d)
{
    bool required = o->backend == WEFT_BACKEND_CUDA;
    struct wf_err why = {0};
    if (!wf_device_linalg_init(&why, d->devices, required, &d->linalg)) {
        d->device = &d->linalg.device;
        wf_log(WF_LOG_DEBUG, "matrices are decomposed by %s", d->linalg.library);
        return WF_OK;
    }
    if (required)
        return wf_fail(e, WF_MACHINE, "--backend cuda: %s (weft doctor says more)", why.text);
    if (!o->json)
        wf_log(WF_LOG_INFO, "computed on the CPU: %s", why.text);
    return WF_OK;
}

/* As with tiles, WEFT_DEVICE_MIN=0 says that nothing is too small. */
static bool is_worth_it(double work)
{
    const char *least = getenv("WEFT_DEVICE_MIN");
    return (least && !strcmp(least, "0")) || work >= WF_LINALG_DEVICE_WORK;
}

int wf_lowrank_device_open(struct wf_err *e, const struct weft_options *o, double work,
                           struct wf_lowrank_device *out)
{
    bool required = o->backend == WEFT_BACKEND_CUDA;
    struct wf_device_options want = {
        .gpus = o->gpus, .memory_bytes = o->device_memory_bytes, .required = required};
    char why[256];
    *out = (struct wf_lowrank_device){0};
    if (o->backend == WEFT_BACKEND_CPU || (!required && !is_worth_it(work)))
        return WF_OK;
    int s = wf_devices_open(e, &want, &out->devices, why);
    if (!s && out->devices)
        s = open_linalg(e, o, out);
    else if (!s && !o->json)
        wf_log(WF_LOG_INFO, "computed on the CPU: %s", why);
    if (s)
        wf_lowrank_device_close(out);
    return s;
}

void wf_lowrank_device_close(struct wf_lowrank_device *d)
{
    wf_devices_close(d->devices);
    *d = (struct wf_lowrank_device){0};
}
