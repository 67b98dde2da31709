/* disk_probe.h - a short measurement of a folder's disk. */
#ifndef WF_DISK_PROBE_H
#define WF_DISK_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/status.h"

struct wf_disk_rate {
    uint64_t bytes, ns; /* 0 bytes: not measured */
    bool direct;        /* around the page cache */
};

struct wf_disk_probe {
    bool has_direct; /* O_DIRECT works here */
    struct wf_disk_rate write, read;
};

/* Writes at most `bytes_max` bytes to a file without a name in `folder`, for about a second, and
 * reads them back. The file is gone when its descriptor is closed, whatever happens to the process.
 * A folder that cannot be written, or a full disk, is WF_MACHINE. */
int wf_disk_measure(struct wf_err *e, const char *folder, uint64_t bytes_max,
                    struct wf_disk_probe *out);

#endif
