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

#include "dense_work.h"
#include "work.h"

#define WF_PLUGIN_ABI 3u
#define WF_PLUGIN_SYMBOL "weft_plugin_get"

/* A call that failed: its number in the device's own terms, or where an entry says so
 * WF_PLUGIN_NO_MEMORY; the call, its text and its place. */
#define WF_PLUGIN_NO_MEMORY (-2)
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

/* This process's place among the ranks of a merge, each on a device of its own: NCCL. Used by one
 * thread. One operation is under way at a time, and all ranks begin the same ones in the same
 * order; none of them waits. */
struct wf_plugin_comm;
#define WF_PLUGIN_ID_BYTES 128 /* what tells the ranks of one merge from all others */

/* A queue on one device for dense linear algebra, with memory of its own. Used by one thread at a
 * time; its calls wait until they are done. */
struct wf_plugin_linalg;

/* What both sides must agree on beside the number of the ABI. */
#define WF_PLUGIN_BYTES                                                                            \
    (uint32_t)(sizeof(struct wf_plugin) + sizeof(struct wf_work) + sizeof(struct wf_dense))

struct wf_plugin {
    uint32_t abi;   /* WF_PLUGIN_ABI */
    uint32_t bytes; /* WF_PLUGIN_BYTES */
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

    /* Opens what joins ranks, and says who it is: "NCCL 2.28.9". Starts nothing. */
    int (*comm_library)(struct wf_plugin_err *e, char text[64]);
    /* On one rank; the others are given its bytes. */
    int (*comm_id)(struct wf_plugin_err *e, unsigned char id[WF_PLUGIN_ID_BYTES]);
    /* Begins to meet the other ranks; claims `room` bytes on the device, and pinned on the host. */
    int (*comm_open)(struct wf_plugin_err *e, uint32_t device,
                     const unsigned char id[WF_PLUGIN_ID_BYTES], uint32_t rank, uint32_t ranks,
                     uint64_t room, struct wf_plugin_comm **out);
    /* Begins, for values on the host: each becomes the sum over ranks (modulo 2^64). 8 * n <= room.
     */
    int (*comm_sum)(struct wf_plugin_err *e, struct wf_plugin_comm *comm, uint64_t *values,
                    uint64_t n);
    /* Begins, on the host: all[r * bytes ...) becomes `mine` of rank r.
     * bytes * (1 + ranks) <= room. */
    int (*comm_gather)(struct wf_plugin_err *e, struct wf_plugin_comm *comm, const void *mine,
                       uint64_t bytes, void *all);
    /* Whether what was begun is done; its results are there then, and not before. */
    int (*comm_test)(struct wf_plugin_err *e, struct wf_plugin_comm *comm, int *done);
    /* Takes leave of the other ranks, which do the same. */
    int (*comm_close)(struct wf_plugin_err *e, struct wf_plugin_comm *comm);
    /* Gives up what is under way, without the others; accepts NULL. */
    void (*comm_abort)(struct wf_plugin_comm *comm);

    /* Opens what does linear algebra, and says who it is: "cuBLAS 13.1.0, cuSOLVER 12.0.4". */
    int (*linalg_library)(struct wf_plugin_err *e, char text[64]);
    /* This and linalg_claim fail with WF_PLUGIN_NO_MEMORY where the device has none left. */
    int (*linalg_open)(struct wf_plugin_err *e, uint32_t device, struct wf_plugin_linalg **out);
    void (*linalg_close)(struct wf_plugin_linalg *l); /* accepts NULL */
    /* Bytes of the device that the call takes; pointers and leading dimensions do not count. */
    int (*linalg_bytes)(struct wf_plugin_err *e, struct wf_plugin_linalg *l,
                        const struct wf_dense *work, uint64_t *bytes);
    /* Once, before the first call: for the largest of them, and what they hold. */
    int (*linalg_claim)(struct wf_plugin_err *e, struct wf_plugin_linalg *l, uint64_t bytes);
    /* Brings a copy of an operand, which calls may name until the next one comes; NULL: none. */
    int (*linalg_hold)(struct wf_plugin_err *e, struct wf_plugin_linalg *l, const void *operand,
                       uint64_t bytes);
    int (*linalg_run)(struct wf_plugin_err *e, struct wf_plugin_linalg *l, struct wf_dense *work);
};

typedef const struct wf_plugin *wf_plugin_get_fn(void);

#endif
