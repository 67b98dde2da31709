/* device_count.h - SELECT on a device. Private to device_*.c. */
#ifndef WF_DEVICE_COUNT_H
#define WF_DEVICE_COUNT_H

#include "backend.h"

/* struct wf_backend's count. */
void wf_device_count(const struct wf_tile *t, unsigned stage, struct wf_count *c,
                     struct wf_tile_result *r);

#endif
