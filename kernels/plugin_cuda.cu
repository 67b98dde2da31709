/* plugin_cuda.cu - the table of plugin.h over the CUDA runtime: memory, copies, launches, clocks.
 *
 * The runtime is linked in; the driver is found by it when the first call needs it, and a machine
 * without one gets an error from `count`. A lane is a stream that waits for no other; whoever waits
 * for a lane sleeps, since its core has files to read and checksums to make.
 */
#include <new>

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#define WF_HAS_NVTX 1
#endif

#include "check.cuh"
#include "linalg_cuda.h"
#include "methods.h"
#include "nccl_cuda.h"

extern "C" int wf_frame_launch(const wf_work *work, void *stream);

/* A range of time on the calling thread, which a profiler shows above the copies and kernels that
 * were queued in it. With no profiler attached it is a test of a pointer, and another at the end.
 */
struct wf_range {
#ifdef WF_HAS_NVTX
    explicit wf_range(const char *name) { nvtxRangePushA(name); }
    ~wf_range() { nvtxRangePop(); }
#else
    explicit wf_range(const char *) {}
#endif
    wf_range(const wf_range &) = delete;
    wf_range &operator=(const wf_range &) = delete;
};

struct wf_plugin_lane {
    int device;
    cudaStream_t stream;
    cudaEvent_t begin, end;
};

static int count(wf_plugin_err *e, uint32_t *devices)
{
    int n = 0; /* the call does not write it where there is no driver */
    *devices = 0;
    if (WF_FAILS(e, -1, cudaGetDeviceCount(&n)))
        return e->code;
    *devices = n > WF_CUDA_DEVICES_MAX ? WF_CUDA_DEVICES_MAX : (uint32_t)n;
    return 0;
}

/* What the runtime takes beside what is allocated: the code, and a stack for every thread that can
 * run at once, claimed with the first launch of a kernel that needs one. */
static size_t wf_cuda_own_bytes(const cudaDeviceProp &p)
{
    const size_t stack = 2048, code = (size_t)128 << 20; /* the ledger's largest is 1,440 */
    return code + stack * (size_t)p.maxThreadsPerMultiProcessor * (size_t)p.multiProcessorCount;
}

static int describe(wf_plugin_err *e, uint32_t device, wf_plugin_device *out)
{
    cudaDeviceProp p;
    size_t free_bytes = 0, total = 0;
    int d = (int)device;
    if (wf_cuda_enter_fails(e, d) || WF_FAILS(e, d, cudaGetDeviceProperties(&p, d)) ||
        WF_FAILS(e, d, cudaMemGetInfo(&free_bytes, &total)))
        return e->code;
    snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, p.name);
    out->memory_bytes = total;
    size_t own = wf_cuda_own_bytes(p);
    out->free_bytes = free_bytes > own ? free_bytes - own : 0;
    out->major = (uint32_t)p.major;
    out->minor = (uint32_t)p.minor;
    out->multiprocessors = (uint32_t)p.multiProcessorCount;
    return 0;
}

/* ---- memory ---- */

static int allocate(wf_plugin_err *e, uint32_t device, uint64_t bytes, void **out)
{
    *out = NULL;
    if (wf_cuda_enter_fails(e, (int)device) || WF_FAILS(e, (int)device, cudaMalloc(out, bytes)))
        return e->code;
    return 0;
}

static void release(uint32_t device, void *p)
{
    wf_plugin_err ignored;
    if (p && !wf_cuda_enter_fails(&ignored, (int)device))
        (void)WF_FAILS(&ignored, (int)device, cudaFree(p));
}

static int pin(wf_plugin_err *e, void *p, uint64_t bytes)
{
    if (bytes && WF_FAILS(e, -1, cudaHostRegister(p, bytes, cudaHostRegisterPortable)))
        return e->code;
    return 0;
}

static void unpin(void *p)
{
    wf_plugin_err ignored;
    if (p)
        (void)WF_FAILS(&ignored, -1, cudaHostUnregister(p));
}

/* ---- lanes ---- */

static void close_lane(wf_plugin_lane *lane)
{
    wf_plugin_err ignored;
    if (!lane)
        return;
    if (!wf_cuda_enter_fails(&ignored, lane->device)) {
        if (lane->stream) {
            (void)WF_FAILS(&ignored, lane->device, cudaStreamSynchronize(lane->stream));
            (void)WF_FAILS(&ignored, lane->device, cudaStreamDestroy(lane->stream));
        }
        if (lane->begin)
            (void)WF_FAILS(&ignored, lane->device, cudaEventDestroy(lane->begin));
        if (lane->end)
            (void)WF_FAILS(&ignored, lane->device, cudaEventDestroy(lane->end));
    }
    delete lane;
}

static int open_lane(wf_plugin_err *e, uint32_t device, wf_plugin_lane **out)
{
    int d = (int)device;
    wf_plugin_lane *lane = *out = new (std::nothrow) wf_plugin_lane{d, NULL, NULL, NULL};
    if (!lane) {
        e->code = (int)cudaErrorMemoryAllocation;
        snprintf(e->text, sizeof e->text, "a lane: out of memory on the host");
        return e->code;
    }
    if (wf_cuda_enter_fails(e, d) ||
        WF_FAILS(e, d, cudaStreamCreateWithFlags(&lane->stream, cudaStreamNonBlocking)) ||
        WF_FAILS(e, d, cudaEventCreateWithFlags(&lane->begin, cudaEventBlockingSync)) ||
        WF_FAILS(e, d, cudaEventCreateWithFlags(&lane->end, cudaEventBlockingSync))) {
        close_lane(lane);
        *out = NULL;
        return e->code;
    }
    return 0;
}

static int copy_any(wf_plugin_err *e, wf_plugin_lane *lane, void *to, const void *from,
                    uint64_t bytes, cudaMemcpyKind kind)
{
    if (wf_cuda_enter_fails(e, lane->device))
        return e->code;
    if (bytes && WF_FAILS(e, lane->device, cudaMemcpyAsync(to, from, bytes, kind, lane->stream)))
        return e->code;
    return 0;
}

static int copy_in(wf_plugin_err *e, wf_plugin_lane *lane, void *device, const void *host,
                   uint64_t bytes)
{
    wf_range range("copy in");
    return copy_any(e, lane, device, host, bytes, cudaMemcpyHostToDevice);
}

static int copy_out(wf_plugin_err *e, wf_plugin_lane *lane, void *host, const void *device,
                    uint64_t bytes)
{
    wf_range range("copy out");
    return copy_any(e, lane, host, device, bytes, cudaMemcpyDeviceToHost);
}

static int copy(wf_plugin_err *e, wf_plugin_lane *lane, void *to, const void *from, uint64_t bytes)
{
    return copy_any(e, lane, to, from, bytes, cudaMemcpyDeviceToDevice);
}

static int clear(wf_plugin_err *e, wf_plugin_lane *lane, void *device, uint64_t bytes)
{
    if (wf_cuda_enter_fails(e, lane->device))
        return e->code;
    if (bytes && WF_FAILS(e, lane->device, cudaMemsetAsync(device, 0, bytes, lane->stream)))
        return e->code;
    return 0;
}

/* "map ties", "statistics: count ties": what the profiler and messages call a launch. */
static const char *name_of(const wf_work *w)
{
#define WF_TEXT_MAP(name, ...) "map " #name,
#define WF_TEXT_FOLD(name, ...) "statistics: fold " #name,
#define WF_TEXT_COLUMNS(name, ...) "statistics: columns of " #name,
#define WF_TEXT_COUNT(name, ...) "statistics: count " #name,
#define WF_TEXT_RANK(name, ...) "statistics: rank " #name,
    static const char *const maps[] = {WF_MAP_LIST(WF_TEXT_MAP)};
    static const char *const folds[] = {WF_FOLD_LIST(WF_TEXT_FOLD)};
    static const char *const columns[] = {WF_FOLD_LIST(WF_TEXT_COLUMNS)};
    static const char *const counts[] = {WF_KEY_LIST(WF_TEXT_COUNT)};
    static const char *const ranks[] = {WF_KEY_LIST(WF_TEXT_RANK)};
    if (w->kind == WF_WORK_MAP && w->function < WF_MAP_IDS)
        return maps[w->function];
    if (w->kind == WF_WORK_FOLD && w->function < WF_FOLD_IDS)
        return folds[w->function];
    if (w->kind == WF_WORK_COLUMNS && w->function < WF_FOLD_IDS)
        return columns[w->function];
    if (w->kind == WF_WORK_COUNT && w->function < WF_KEY_IDS)
        return counts[w->function];
    if (w->kind == WF_WORK_RANK && w->function < WF_KEY_IDS)
        return ranks[w->function];
    return "an unknown kernel";
}

/* "launch of map ties, 3 inputs, elements 0 to 4096", for a message. */
static void describe_work(const wf_work *w, char *text, size_t size)
{
    snprintf(text, size, "launch of %s, %u inputs, elements %llu to %llu", name_of(w), w->n,
             (unsigned long long)w->from, (unsigned long long)w->to);
}

static int launch(wf_plugin_err *e, wf_plugin_lane *lane, const wf_work *work)
{
    char text[160];
    wf_range range(name_of(work));
    if (wf_cuda_enter_fails(e, lane->device))
        return e->code;
    int impossible = wf_frame_launch(work, lane->stream);
    cudaError_t code = cudaGetLastError();
    if (code == cudaSuccess && !impossible)
        return 0;
    describe_work(work, text, sizeof text);
    if (code == cudaSuccess) {
        e->code = impossible;
        snprintf(e->text, sizeof e->text, "%s: no kernel does this", text);
        return e->code;
    }
    (void)wf_cuda_fails(e, lane->device, code, text, __FILE__, __LINE__);
    return e->code;
}

static int finish(wf_plugin_err *e, wf_plugin_lane *lane)
{
    int d = lane->device;
    wf_range range("wait for the lane");
    if (wf_cuda_enter_fails(e, d) || WF_FAILS(e, d, cudaEventRecord(lane->end, lane->stream)) ||
        WF_FAILS(e, d, cudaEventSynchronize(lane->end)))
        return e->code;
    return 0;
}

static int time_launches(wf_plugin_err *e, wf_plugin_lane *lane, const wf_work *work,
                         uint32_t times, double *ms)
{
    int d = lane->device;
    float elapsed = 0;
    if (launch(e, lane, work) || WF_FAILS(e, d, cudaEventRecord(lane->begin, lane->stream)))
        return e->code;
    for (uint32_t i = 0; i < times; i++)
        if (launch(e, lane, work))
            return e->code;
    if (finish(e, lane) || WF_FAILS(e, d, cudaEventElapsedTime(&elapsed, lane->begin, lane->end)))
        return e->code;
    *ms = elapsed;
    return 0;
}

/* ---- the table ---- */

static wf_plugin make_table()
{
    wf_plugin t = {};
    t.abi = WF_PLUGIN_ABI;
    t.bytes = WF_PLUGIN_BYTES;
    snprintf(t.name, sizeof t.name, "CUDA %d.%d, %s", CUDART_VERSION / 1000,
             CUDART_VERSION % 1000 / 10, WF_CUDA_TARGETS);
    t.count = count;
    t.describe = describe;
    t.allocate = allocate;
    t.release = release;
    t.pin = pin;
    t.unpin = unpin;
    t.open_lane = open_lane;
    t.close_lane = close_lane;
    t.copy_in = copy_in;
    t.copy_out = copy_out;
    t.copy = copy;
    t.clear = clear;
    t.launch = launch;
    t.finish = finish;
    t.time = time_launches;
    wf_nccl_fill(&t);
    wf_linalg_fill(&t);
    return t;
}

extern "C" __attribute__((visibility("default"))) const wf_plugin *weft_plugin_get(void)
{
    static const wf_plugin table = make_table();
    return &table;
}
