/* plugin.h - the table by which weft uses a device: what libweft_cuda.so exports. C11 and C++.
 *
 * weft opens the plugin with dlopen and calls its one symbol, WF_PLUGIN_SYMBOL. Everything that
 * decides anything is on weft's side (src/backend/device_*.c); behind the table are memory, copies
 * and launches. tests/device has a second plugin with the same kernels run by the emulator, over
 * host memory.
 *
 * Every function that returns int returns 0, or fills *e. Nothing here ends the program, or prints.
 */
#ifndef WF_PLUGIN_H
#define WF_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#include "work.h"

#define WF_PLUGIN_ABI 1u
#define WF_PLUGIN_SYMBOL "weft_plugin_get"

/* A call that failed: its number in the device's own terms, the call, its text and its place. */
struct wf_plugin_err {
    int code;
    char text[256]; /* "cudaMemcpyAsync (plugin_cuda.cu:120): an illegal memory access was ..." */
};

struct wf_plugin_device {
    char name[128];
    uint64_t memory_bytes;
    uint64_t free_bytes;   /* that may be allocated, with what kernels need of their own left */
    uint32_t major, minor; /* compute capability */
    uint32_t multiprocessors;
};

/* A queue on one device: what is put into it is done in order, while the caller goes on; different
 * lanes overlap. Used by one thread at a time. */
struct wf_plugin_lane;

struct wf_plugin {
    uint32_t abi;   /* WF_PLUGIN_ABI */
    uint32_t bytes; /* sizeof(struct wf_plugin) + sizeof(struct wf_work): both sides agree */
    char name[64];  /* "CUDA 13.0, sm_90" */

    int (*count)(struct wf_plugin_err *e, uint32_t *devices);
    int (*describe)(struct wf_plugin_err *e, uint32_t device, struct wf_plugin_device *out);
    /* Memory of the device. */
    int (*allocate)(struct wf_plugin_err *e, uint32_t device, uint64_t bytes, void **out);
    void (*release)(uint32_t device, void *p); /* accepts NULL */
    /* Makes host memory fit for copies that overlap; it stays the caller's. */
    int (*pin)(struct wf_plugin_err *e, void *p, uint64_t bytes);
    void (*unpin)(void *p);

    int (*open_lane)(struct wf_plugin_err *e, uint32_t device, struct wf_plugin_lane **out);
    void (*close_lane)(struct wf_plugin_lane *lane); /* waits for what is in it; accepts NULL */
    int (*copy_in)(struct wf_plugin_err *e, struct wf_plugin_lane *lane, void *device,
                   const void *host, uint64_t bytes);
    int (*copy_out)(struct wf_plugin_err *e, struct wf_plugin_lane *lane, void *host,
                    const void *device, uint64_t bytes);
    int (*copy)(struct wf_plugin_err *e, struct wf_plugin_lane *lane, void *to, const void *from,
                uint64_t bytes); /* within the device: what benchmarks measure against */
    int (*clear)(struct wf_plugin_err *e, struct wf_plugin_lane *lane, void *device,
                 uint64_t bytes); /* to zero */
    int (*launch)(struct wf_plugin_err *e, struct wf_plugin_lane *lane, const struct wf_work *work);
    /* Waits until everything in the lane is done; reports what failed in it. */
    int (*finish)(struct wf_plugin_err *e, struct wf_plugin_lane *lane);
    /* Milliseconds that the device took for `times` launches of `work`, after one more: for
     * benchmarks. */
    int (*time)(struct wf_plugin_err *e, struct wf_plugin_lane *lane, const struct wf_work *work,
                uint32_t times, double *ms);
};

typedef const struct wf_plugin *wf_plugin_get_fn(void);

#endif
