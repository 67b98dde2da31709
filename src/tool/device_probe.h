/* device_probe.h - what one GPU is, and a short measurement of its copies. */
#ifndef WF_DEVICE_PROBE_H
#define WF_DEVICE_PROBE_H

#include <stdint.h>

#include "../backend/device.h"
#include "../base/status.h"

struct wf_copy_rate {
    uint64_t bytes, ns; /* 0 bytes: not measured */
};

struct wf_device_probe {
    struct wf_plugin_device about;
    struct wf_copy_rate in, out; /* host to device and back, pinned memory */
    struct wf_copy_rate inside;  /* from its memory to its memory, bytes copied */
};

/* Fills `about` first: it is right even where the copies fail, with WF_MACHINE. Takes a fifth of a
 * second, and up to 512 MiB of the device. */
int wf_device_measure(struct wf_err *e, const struct wf_plugin *p, uint32_t device,
                      struct wf_device_probe *out);

#endif
