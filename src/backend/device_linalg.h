/* device_linalg.h - the table of linalg/linalg.h on GPUs: queues of a plugin that has cuBLAS and
 * cuSOLVER, dealt to the chosen devices in turn. Matrices are copied in and out by each call, but
 * for what is held.
 */
#ifndef WF_DEVICE_LINALG_H
#define WF_DEVICE_LINALG_H

#include "../linalg/linalg_crew.h"
#include "device.h"

struct wf_device_linalg {
    struct wf_linalg_device device; /* what linalg_crew.h knows */
    const struct wf_devices *devices;
    char library[64]; /* "cuBLAS 13.1.0, cuSOLVER 12.0.4" */
};

/* Opens the libraries, and nothing on a device; `devices` outlive *out. WF_MACHINE with what is
 * missing. */
int wf_device_linalg_init(struct wf_err *e, const struct wf_devices *devices, bool required,
                          struct wf_device_linalg *out);

#endif
