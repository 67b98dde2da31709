/* nccl_cuda.cu - ranks joined by NCCL: the comm_ entries of plugin.h.
 *
 * libnccl is opened when ranks are first joined (open_library.cuh). Communicators do not block
 * (NCCL 2.14 and later): every call may answer "in progress", and only then, once it is settled,
 * may the next one be made.
 *
 *   begin: host --> pinned --> device, collective   |  test: settled? --> device --> pinned, event
 *                                                   |        event?   --> pinned --> host, done
 */
#include <cstring>
#include <ctime>
#include <new>

#include "check.cuh"
#include "nccl_cuda.h"
#include "open_library.cuh"

#if WF_WITH_NCCL

#include <nccl.h>

#define NCCL_FILE "libnccl.so.2"
#define NCCL_VARIABLE "WEFT_NCCL_LIBRARY"
#define NCCL_LEAST 21400 /* communicators that do not block */

static_assert(NCCL_VERSION_CODE >= NCCL_LEAST, "weft needs NCCL 2.14");
static_assert(sizeof(ncclUniqueId) == WF_PLUGIN_ID_BYTES, "plugin.h knows the size of an id");

/* ---- the library ---- */

struct nccl_library {
    decltype(&ncclGetVersion) get_version;
    decltype(&ncclGetUniqueId) get_unique_id;
    decltype(&ncclCommInitRankConfig) init;
    decltype(&ncclCommGetAsyncError) get_async_error;
    decltype(&ncclCommFinalize) finalize;
    decltype(&ncclCommDestroy) destroy;
    decltype(&ncclCommAbort) abort;
    decltype(&ncclAllReduce) all_reduce;
    decltype(&ncclAllGather) all_gather;
    decltype(&ncclGetErrorString) error_string;
    decltype(&ncclGetLastError) last_error;
    int version;
    char why[WF_WHY_BYTES]; /* "": it can be used */
};

static nccl_library open_library()
{
    nccl_library lib = {};
    wf_opened_library file = wf_open_library(NCCL_FILE, NCCL_VARIABLE, lib.why);
    wf_find_symbol(file, "ncclGetVersion", &lib.get_version, lib.why);
    wf_find_symbol(file, "ncclGetUniqueId", &lib.get_unique_id, lib.why);
    wf_find_symbol(file, "ncclCommInitRankConfig", &lib.init, lib.why);
    wf_find_symbol(file, "ncclCommGetAsyncError", &lib.get_async_error, lib.why);
    wf_find_symbol(file, "ncclCommFinalize", &lib.finalize, lib.why);
    wf_find_symbol(file, "ncclCommDestroy", &lib.destroy, lib.why);
    wf_find_symbol(file, "ncclCommAbort", &lib.abort, lib.why);
    wf_find_symbol(file, "ncclAllReduce", &lib.all_reduce, lib.why);
    wf_find_symbol(file, "ncclAllGather", &lib.all_gather, lib.why);
    wf_find_symbol(file, "ncclGetErrorString", &lib.error_string, lib.why);
    wf_find_symbol(file, "ncclGetLastError", &lib.last_error, lib.why);
    if (!lib.why[0] && lib.get_version(&lib.version) == ncclSuccess && lib.version < NCCL_LEAST)
        snprintf(lib.why, sizeof lib.why, "NCCL is older than 2.14");
    return lib;
}

static const nccl_library &library()
{
    static const nccl_library lib = open_library();
    return lib;
}

static int library_fails(wf_plugin_err *e)
{
    return library().why[0] ? wf_refuse(e, library().why) : 0;
}

/* 0 for success, and for what is in progress. */
static int nccl_fails(wf_plugin_err *e, ncclComm_t comm, ncclResult_t code, const char *call)
{
    if (code == ncclSuccess || code == ncclInProgress)
        return 0;
    const char *more = library().last_error(comm);
    e->code = (int)code;
    snprintf(e->text, sizeof e->text, "%s: %s%s%.120s", call, library().error_string(code),
             more && *more ? ": " : "", more ? more : "");
    for (char *c = e->text; *c; c++)
        if (*c == '\n')
            *c = ' ';
    return e->code;
}

/* ---- a communicator ---- */

enum comm_state {
    IDLE,
    MEETING,  /* ncclCommInitRankConfig is under way */
    CARRYING, /* a collective is */
    COPYING   /* and this is its result to the host */
};

struct wf_plugin_comm {
    int device, ranks;
    ncclComm_t nccl;
    cudaStream_t stream;
    cudaEvent_t event;
    char *on_device, *on_host; /* `room` bytes each; on_host is pinned */
    uint64_t room;
    comm_state state;
    void *to; /* where the result goes: result[from, from + bytes) of either buffer */
    uint64_t from, bytes;
};

static void release(wf_plugin_comm *c)
{
    wf_plugin_err ignored;
    if (!wf_cuda_enter_fails(&ignored, c->device)) {
        if (c->event)
            (void)WF_FAILS(&ignored, c->device, cudaEventDestroy(c->event));
        if (c->stream)
            (void)WF_FAILS(&ignored, c->device, cudaStreamDestroy(c->stream));
        if (c->on_device)
            (void)WF_FAILS(&ignored, c->device, cudaFree(c->on_device));
        if (c->on_host)
            (void)WF_FAILS(&ignored, c->device, cudaFreeHost(c->on_host));
    }
    delete c;
}

static void comm_abort(wf_plugin_comm *c)
{
    if (!c)
        return;
    if (c->nccl)
        (void)library().abort(c->nccl);
    release(c);
}

static int claim(wf_plugin_err *e, wf_plugin_comm *c)
{
    int d = c->device;
    if (wf_cuda_enter_fails(e, d) || WF_FAILS(e, d, cudaMalloc(&c->on_device, c->room)) ||
        WF_FAILS(e, d, cudaMallocHost(&c->on_host, c->room)) ||
        WF_FAILS(e, d, cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking)) ||
        WF_FAILS(e, d, cudaEventCreateWithFlags(&c->event, cudaEventDisableTiming)))
        return e->code;
    return 0;
}

static int comm_open(wf_plugin_err *e, uint32_t device, const unsigned char id[WF_PLUGIN_ID_BYTES],
                     uint32_t rank, uint32_t ranks, uint64_t room, wf_plugin_comm **out)
{
    ncclUniqueId unique;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    *out = NULL;
    if (library_fails(e))
        return e->code;
    wf_plugin_comm *c = new (std::nothrow) wf_plugin_comm();
    if (!c)
        return wf_refuse(e, "a communicator: out of memory on the host");
    c->device = (int)device;
    c->ranks = (int)ranks;
    c->room = room;
    c->state = MEETING;
    memcpy(&unique, id, sizeof unique);
    config.blocking = 0;
    if (claim(e, c) ||
        nccl_fails(e, NULL, library().init(&c->nccl, (int)ranks, unique, (int)rank, &config),
                   "ncclCommInitRankConfig")) {
        comm_abort(c);
        return e->code;
    }
    *out = c;
    return 0;
}

/* ---- operations ---- */

/* What this rank brings, to both buffers' starts. */
static int bring(wf_plugin_err *e, wf_plugin_comm *c, const void *mine, uint64_t bytes)
{
    if (wf_cuda_enter_fails(e, c->device))
        return e->code;
    memcpy(c->on_host, mine, bytes);
    if (bytes && WF_FAILS(e, c->device,
                          cudaMemcpyAsync(c->on_device, c->on_host, bytes, cudaMemcpyHostToDevice,
                                          c->stream)))
        return e->code;
    c->state = CARRYING;
    return 0;
}

static int comm_sum(wf_plugin_err *e, wf_plugin_comm *c, uint64_t *values, uint64_t n)
{
    if (n > c->room / sizeof *values)
        return wf_refuse(e, "a sum that has no room");
    if (bring(e, c, values, n * sizeof *values))
        return e->code;
    c->to = values;
    c->from = 0;
    c->bytes = n * sizeof *values;
    return nccl_fails(e, c->nccl,
                      library().all_reduce(c->on_device, c->on_device, n, ncclUint64, ncclSum,
                                           c->nccl, c->stream),
                      "ncclAllReduce");
}

static int comm_gather(wf_plugin_err *e, wf_plugin_comm *c, const void *mine, uint64_t bytes,
                       void *all)
{
    if (bytes > c->room / (1 + (uint64_t)c->ranks))
        return wf_refuse(e, "a gathering that has no room");
    if (bring(e, c, mine, bytes))
        return e->code;
    c->to = all;
    c->from = bytes;
    c->bytes = bytes * (uint64_t)c->ranks;
    return nccl_fails(e, c->nccl,
                      library().all_gather(c->on_device, c->on_device + bytes, bytes, ncclUint8,
                                           c->nccl, c->stream),
                      "ncclAllGather");
}

/* The collective is in the stream: behind it comes its result. */
static int fetch(wf_plugin_err *e, wf_plugin_comm *c)
{
    int d = c->device;
    if (wf_cuda_enter_fails(e, d))
        return e->code;
    if (c->bytes && WF_FAILS(e, d,
                             cudaMemcpyAsync(c->on_host + c->from, c->on_device + c->from, c->bytes,
                                             cudaMemcpyDeviceToHost, c->stream)))
        return e->code;
    if (WF_FAILS(e, d, cudaEventRecord(c->event, c->stream)))
        return e->code;
    c->state = COPYING;
    return 0;
}

static int comm_test(wf_plugin_err *e, wf_plugin_comm *c, int *done)
{
    ncclResult_t now = ncclSuccess;
    *done = c->state == IDLE;
    if (*done)
        return 0;
    /* What another rank's end or a broken link does to a collective shows here. */
    ncclResult_t asked = library().get_async_error(c->nccl, &now);
    if (nccl_fails(e, c->nccl, asked, "ncclCommGetAsyncError") ||
        nccl_fails(e, c->nccl, now, c->state == MEETING ? "meeting" : "a collective"))
        return e->code;
    if (now == ncclInProgress)
        return 0;
    if (c->state == CARRYING)
        return fetch(e, c);
    if (c->state == COPYING) {
        cudaError_t code = cudaEventQuery(c->event);
        if (code == cudaErrorNotReady) {
            (void)cudaGetLastError();
            return 0;
        }
        if (WF_FAILS(e, c->device, code))
            return e->code;
        memcpy(c->to, c->on_host + c->from, c->bytes);
    }
    c->state = IDLE;
    *done = 1;
    return 0;
}

static int comm_close(wf_plugin_err *e, wf_plugin_comm *c)
{
    ncclResult_t now = library().finalize(c->nccl);
    while (now == ncclInProgress) {
        struct timespec nap = {0, 1000000};
        nanosleep(&nap, NULL);
        ncclResult_t asked = library().get_async_error(c->nccl, &now);
        now = asked == ncclSuccess ? now : asked;
    }
    int code = nccl_fails(e, c->nccl, now, "ncclCommFinalize");
    if (code) {
        comm_abort(c);
        return code;
    }
    code = nccl_fails(e, NULL, library().destroy(c->nccl), "ncclCommDestroy");
    release(c);
    return code;
}

static int comm_id(wf_plugin_err *e, unsigned char id[WF_PLUGIN_ID_BYTES])
{
    ncclUniqueId unique;
    if (library_fails(e) ||
        nccl_fails(e, NULL, library().get_unique_id(&unique), "ncclGetUniqueId"))
        return e->code;
    memcpy(id, &unique, sizeof unique);
    return 0;
}

static int comm_library(wf_plugin_err *e, char text[64])
{
    if (library_fails(e))
        return e->code;
    int v = library().version;
    snprintf(text, 64, "NCCL %d.%d.%d", v / 10000, v / 100 % 100, v % 100);
    return 0;
}

#else /* built without nccl.h: each entry says so */

static const char *const WITHOUT = "this plugin was built without NCCL (make NCCL=1)";

static int comm_library(wf_plugin_err *e, char *)
{
    return wf_refuse(e, WITHOUT);
}

static int comm_id(wf_plugin_err *e, unsigned char *)
{
    return wf_refuse(e, WITHOUT);
}

static int comm_open(wf_plugin_err *e, uint32_t, const unsigned char *, uint32_t, uint32_t,
                     uint64_t, wf_plugin_comm **out)
{
    *out = NULL;
    return wf_refuse(e, WITHOUT);
}

static int comm_sum(wf_plugin_err *e, wf_plugin_comm *, uint64_t *, uint64_t)
{
    return wf_refuse(e, WITHOUT);
}

static int comm_gather(wf_plugin_err *e, wf_plugin_comm *, const void *, uint64_t, void *)
{
    return wf_refuse(e, WITHOUT);
}

static int comm_test(wf_plugin_err *e, wf_plugin_comm *, int *)
{
    return wf_refuse(e, WITHOUT);
}

static int comm_close(wf_plugin_err *e, wf_plugin_comm *)
{
    return wf_refuse(e, WITHOUT);
}

static void comm_abort(wf_plugin_comm *)
{
}

#endif

void wf_nccl_fill(wf_plugin *t)
{
    t->comm_library = comm_library;
    t->comm_id = comm_id;
    t->comm_open = comm_open;
    t->comm_sum = comm_sum;
    t->comm_gather = comm_gather;
    t->comm_test = comm_test;
    t->comm_close = comm_close;
    t->comm_abort = comm_abort;
}
