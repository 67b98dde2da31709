/* lowrank_device.h - who decomposes matrices: the processor, or the GPUs that the options choose.
 *
 *   --backend cpu    the processor
 *   --backend cuda   GPUs, for any work; what is missing is an error
 *   --backend auto   GPUs where there are any, if there is work enough for them (linalg_crew.h):
 *                    otherwise CUDA is not even opened
 */
#ifndef WF_LOWRANK_DEVICE_H
#define WF_LOWRANK_DEVICE_H

#include "../../include/weft.h"
#include "../backend/device_linalg.h"

struct wf_lowrank_device {
    struct wf_devices *devices;
    struct wf_device_linalg linalg;
    const struct wf_linalg_device *device; /* of `linalg`; NULL: the processor */
};

/* `work`: floating point operations, as wf_compress_work and wf_extract_work count them. Nothing is
 * taken of a device yet. */
int wf_lowrank_device_open(struct wf_err *e, const struct weft_options *options, double work,
                           struct wf_lowrank_device *out);
void wf_lowrank_device_close(
    struct wf_lowrank_device *d); /* accepts what was never opened: zeros */

#endif
