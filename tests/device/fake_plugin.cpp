/* fake_plugin.cpp - GPUs that are not there: the plugin's table over host memory, with the kernels
 * run by the emulator.
 *
 * A lane does nothing until it is waited for, and then all of it in order, so that whoever does not
 * wait is found out: memory that will be copied to is spoilt at once, memory that will be copied
 * from must not change until then.
 * Memory of a device has guards around it and is full of NaN. A mistake of the caller ends the
 * program with a line on stderr.
 *
 *   WEFT_FAKE_DEVICES=2      devices
 *   WEFT_FAKE_MEMORY=bytes   of each (1 GiB)
 *   WEFT_FAKE_FAIL=call:n    the n-th call of that entry fails, counted from when the table was
 *                            asked for; kernel:n: the n-th launch fails while it runs, and so does
 *                            all that follows on its device; cublasSgemm:n, cudaMalloc:n and
 *                            other functions that linalg_cuda.cu calls, likewise
 *   WEFT_FAKE_DELAY_US=n     each step of a lane takes up to so much longer
 *   WEFT_FAKE_COUNTS=file    gets a line at the end: launches, and copies to devices
 */
#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>

#include <dlfcn.h>

#include "../../kernels/linalg_cuda.h"
#include "../../src/format/dtype.h"
#include "fake_cuda.h"
#include "fake_linalg.h"
#include "fake_plugin.h"

extern "C" int wf_frame_launch(const struct wf_work *work, void *stream);
extern "C" __attribute__((visibility("default"))) const wf_plugin *weft_plugin_get(void);

namespace
{
constexpr uint64_t guard_bytes = 256; /* before and behind; keeps the alignment */
constexpr unsigned char guard_byte = 0xa5, fresh_byte = 0xff, spoilt_byte = 0xee;
constexpr uint32_t devices_max = 64;

[[noreturn]] __attribute__((format(printf, 1, 2))) void mistake(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    std::fputs("fake device: ", stderr);
    std::vfprintf(stderr, format, list);
    std::fputc('\n', stderr);
    va_end(list);
    std::abort();
}

uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = std::getenv(name);
    return text && *text ? std::strtoull(text, nullptr, 10) : otherwise;
}

/* ---- state of all devices ---- */

struct block {
    uint64_t bytes;
    uint32_t device;
};

struct machine {
    std::mutex lock;
    std::map<uintptr_t, block> memory;
    std::map<uintptr_t, uint64_t> pinned;
    uint64_t used[devices_max] = {};
    uint64_t lanes = 0, launches = 0, copies_in = 0, unpinned = 0;
    uint32_t devices = 2;
    uint64_t bytes = uint64_t(1) << 30;
    uint64_t delay_us = 0;
    std::map<std::string, uint64_t> calls;
    std::string failing;
    uint64_t failing_call = 0;
    bool lost[devices_max] = {};

    ~machine()
    {
        if (!memory.empty() || !pinned.empty() || lanes)
            mistake("at the end %zu blocks, %zu pinned ranges and %zu lanes are left",
                    memory.size(), pinned.size(), size_t(lanes));
        const char *path = std::getenv("WEFT_FAKE_COUNTS");
        std::FILE *file = path ? std::fopen(path, "w") : nullptr;
        if (file) {
            std::fprintf(file, "%zu launches, %zu copies in\n", size_t(launches),
                         size_t(copies_in));
            std::fclose(file);
        }
    }
};

machine here;

void read_settings()
{
    const char *fail = std::getenv("WEFT_FAKE_FAIL"),
               *colon = fail ? std::strchr(fail, ':') : nullptr;
    std::lock_guard<std::mutex> hold(here.lock);
    here.devices = uint32_t(std::min<uint64_t>(setting("WEFT_FAKE_DEVICES", 2), devices_max));
    here.bytes = setting("WEFT_FAKE_MEMORY", uint64_t(1) << 30);
    here.delay_us = setting("WEFT_FAKE_DELAY_US", 0);
    here.calls.clear();
    here.failing = colon ? std::string(fail, colon) : "";
    here.failing_call = colon ? std::strtoull(colon + 1, nullptr, 10) : 0;
    here.launches = here.copies_in = here.unpinned = 0;
    std::fill(here.lost, here.lost + devices_max, false);
}

int fail(wf_plugin_err *e, int code, const char *what, const char *why)
{
    e->code = code;
    std::snprintf(e->text, sizeof e->text, "%s (fake_plugin.cpp): %s", what, why);
    return 1;
}

/* Whether this call is the one that shall fail. */
bool is_doomed(const char *name)
{
    std::lock_guard<std::mutex> hold(here.lock);
    return ++here.calls[name] == here.failing_call && here.failing == name;
}

#define DOOMED(e, name)                                                                            \
    if (is_doomed(name))                                                                           \
    return fail((e), 999, name, "failed because WEFT_FAKE_FAIL says so")

/* ---- memory ---- */

/* [p, p + bytes) must be memory of the device. */
void check_range(uint32_t device, const void *p, uint64_t bytes, const char *what)
{
    std::lock_guard<std::mutex> hold(here.lock);
    uintptr_t at = uintptr_t(p);
    auto found = here.memory.upper_bound(at);
    if (!p || found == here.memory.begin())
        mistake("%s: %p is no memory of a device", what, p);
    --found;
    if (at - found->first > found->second.bytes ||
        bytes > found->second.bytes - (at - found->first))
        mistake("%s: %zu bytes at %p are outside, or released", what, size_t(bytes), p);
    if (found->second.device != device)
        mistake("%s: %p is memory of device %u, not %u", what, p, found->second.device, device);
}

void note_host(const void *p, uint64_t bytes)
{
    std::lock_guard<std::mutex> hold(here.lock);
    uintptr_t at = uintptr_t(p);
    auto found = here.pinned.upper_bound(at);
    bool inside =
        found != here.pinned.begin() && (--found, at - found->first <= found->second &&
                                                      bytes <= found->second - (at - found->first));
    here.unpinned += !inside;
}

int fake_count(wf_plugin_err *e, uint32_t *devices)
{
    DOOMED(e, "count");
    *devices = here.devices;
    return 0;
}

int fake_describe(wf_plugin_err *e, uint32_t device, wf_plugin_device *out)
{
    DOOMED(e, "describe");
    std::lock_guard<std::mutex> hold(here.lock);
    if (device >= here.devices)
        mistake("describe: there is no device %u", device);
    *out = {};
    std::snprintf(out->name, sizeof out->name, "fake device %u", device);
    out->memory_bytes = here.bytes;
    out->free_bytes = here.bytes - here.used[device];
    out->major = 9;
    out->multiprocessors = 1;
    return 0;
}

int fake_allocate(wf_plugin_err *e, uint32_t device, uint64_t bytes, void **out)
{
    DOOMED(e, "allocate");
    std::lock_guard<std::mutex> hold(here.lock);
    if (device >= here.devices || !bytes)
        mistake("allocate: device %u, %zu bytes", device, size_t(bytes));
    if (bytes > here.bytes - here.used[device])
        return fail(e, 2, "allocate", "out of memory");
    uint64_t all = (bytes + 2 * guard_bytes + 255) / 256 * 256;
    auto *p = static_cast<unsigned char *>(std::aligned_alloc(256, all));
    if (!p)
        return fail(e, 2, "allocate", "out of memory");
    std::memset(p, guard_byte, all);
    std::memset(p + guard_bytes, fresh_byte, bytes);
    *out = p + guard_bytes;
    here.memory[uintptr_t(*out)] = {bytes, device};
    here.used[device] += bytes;
    return 0;
}

void fake_release(uint32_t device, void *p)
{
    if (!p)
        return;
    std::lock_guard<std::mutex> hold(here.lock);
    auto found = here.memory.find(uintptr_t(p));
    if (found == here.memory.end() || found->second.device != device)
        mistake("release: %p was not allocated on device %u, or is released twice", p, device);
    uint64_t bytes = found->second.bytes;
    auto *at = static_cast<unsigned char *>(p);
    for (uint64_t k = 0; k < guard_bytes; k++)
        if (at[-1 - int64_t(k)] != guard_byte || at[bytes + k] != guard_byte)
            mistake("release: something was written around the %zu bytes at %p", size_t(bytes), p);
    here.used[device] -= bytes;
    here.memory.erase(found);
    std::free(at - guard_bytes);
}

int fake_pin(wf_plugin_err *e, void *p, uint64_t bytes)
{
    DOOMED(e, "pin");
    std::lock_guard<std::mutex> hold(here.lock);
    if (!p || !bytes || here.pinned.count(uintptr_t(p)))
        mistake("pin: %p, %zu bytes: nothing, or pinned already", p, size_t(bytes));
    here.pinned[uintptr_t(p)] = bytes;
    return 0;
}

void fake_unpin(void *p)
{
    std::lock_guard<std::mutex> hold(here.lock);
    if (!here.pinned.erase(uintptr_t(p)))
        mistake("unpin: %p is not pinned", p);
}
} // namespace

/* ---- lanes ---- */

struct wf_plugin_lane {
    uint32_t device = 0;
    std::deque<std::function<void()>> steps;
    std::deque<std::pair<const char *, uint64_t>> sources; /* of copies in, not done yet */
    std::minstd_rand random;

    void wait();
    bool reads(const void *host, uint64_t bytes) const;
};

void wf_plugin_lane::wait()
{
    for (; !steps.empty(); steps.pop_front()) {
        if (here.delay_us)
            std::this_thread::sleep_for(std::chrono::microseconds(random() % here.delay_us));
        steps.front()();
    }
}

/* A copy that is still to be done takes from there. */
bool wf_plugin_lane::reads(const void *host, uint64_t bytes) const
{
    auto *at = static_cast<const char *>(host);
    return std::any_of(sources.begin(), sources.end(),
                       [=](auto &s) { return at < s.first + s.second && s.first < at + bytes; });
}

namespace
{
bool is_lost(uint32_t device)
{
    std::lock_guard<std::mutex> hold(here.lock);
    return here.lost[device];
}

#define ALIVE(e, lane, name)                                                                       \
    DOOMED(e, name);                                                                               \
    if (is_lost((lane)->device))                                                                   \
    return fail((e), 700, name, "the device is lost")

int fake_open_lane(wf_plugin_err *e, uint32_t device, wf_plugin_lane **out)
{
    DOOMED(e, "open_lane");
    auto *lane = new wf_plugin_lane;
    lane->device = device;
    lane->random.seed(device + 1);
    std::lock_guard<std::mutex> hold(here.lock);
    here.lanes++;
    *out = lane;
    return 0;
}

void fake_close_lane(wf_plugin_lane *lane)
{
    if (!lane)
        return;
    lane->wait();
    delete lane;
    std::lock_guard<std::mutex> hold(here.lock);
    here.lanes--;
}

uint64_t hash(const void *p, uint64_t bytes)
{
    auto *at = static_cast<const unsigned char *>(p);
    uint64_t h = 1469598103934665603u;
    for (uint64_t k = 0; k < bytes; k++)
        h = (h ^ at[k]) * 1099511628211u;
    return h;
}

int fake_copy_in(wf_plugin_err *e, wf_plugin_lane *lane, void *device, const void *host,
                 uint64_t bytes)
{
    ALIVE(e, lane, "copy_in");
    check_range(lane->device, device, bytes, "copy_in");
    note_host(host, bytes);
    {
        std::lock_guard<std::mutex> hold(here.lock);
        here.copies_in++;
    }
    uint64_t before = hash(host, bytes);
    lane->sources.emplace_back(static_cast<const char *>(host), bytes);
    lane->steps.push_back([=] {
        check_range(lane->device, device, bytes, "copy_in");
        if (hash(host, bytes) != before)
            mistake("copy_in: the %zu bytes at %p changed before they were copied", size_t(bytes),
                    host);
        std::memcpy(device, host, bytes);
        lane->sources.pop_front();
    });
    return 0;
}

int fake_copy_out(wf_plugin_err *e, wf_plugin_lane *lane, void *host, const void *device,
                  uint64_t bytes)
{
    ALIVE(e, lane, "copy_out");
    check_range(lane->device, device, bytes, "copy_out");
    note_host(host, bytes);
    if (!lane->reads(host, bytes))
        std::memset(host, spoilt_byte, bytes);
    lane->steps.push_back([=] {
        check_range(lane->device, device, bytes, "copy_out");
        std::memcpy(host, device, bytes);
    });
    return 0;
}

int fake_copy(wf_plugin_err *e, wf_plugin_lane *lane, void *to, const void *from, uint64_t bytes)
{
    ALIVE(e, lane, "copy");
    check_range(lane->device, to, bytes, "copy");
    check_range(lane->device, from, bytes, "copy");
    lane->steps.push_back([=] { std::memcpy(to, from, bytes); });
    return 0;
}

int fake_clear(wf_plugin_err *e, wf_plugin_lane *lane, void *device, uint64_t bytes)
{
    ALIVE(e, lane, "clear");
    check_range(lane->device, device, bytes, "clear");
    lane->steps.push_back([=] { std::memset(device, 0, bytes); });
    return 0;
}

/* ---- launches ---- */

uint64_t width(unsigned dtype)
{
    return dtype == WF_F64 ? 8 : dtype == WF_F32 ? 4 : 2;
}

/* Inputs at the elements asked for: a FOLD's are known by its leaves. */
void check_inputs(uint32_t device, const wf_work &w)
{
    bool many = w.n > WF_WORK_INPUTS;
    if (many) {
        check_range(device, w.in_many, w.n * sizeof *w.in_many, "launch: in_many");
        check_range(device, w.in_dtype_many, w.n, "launch: in_dtype_many");
    }
    for (uint32_t i = 0; i < w.n; i++) {
        uint64_t bytes = width(many ? w.in_dtype_many[i] : w.in_dtype[i]);
        auto *in = static_cast<const char *>(many ? w.in_many[i] : w.in[i]);
        if (w.kind == WF_WORK_FOLD)
            check_range(device, in, bytes, "launch: in");
        else
            check_range(device, in + (w.from - w.first) * bytes, (w.to - w.from) * bytes,
                        "launch: in");
    }
}

void check_numbers(uint32_t device, const wf_work &w)
{
    uint64_t real = w.wide ? 8 : 4;
    check_range(device, w.bad, sizeof *w.bad, "launch: bad");
    if (w.scratch_bytes)
        check_range(device, w.scratch, w.scratch_bytes, "launch: scratch");
    if (!w.plain)
        check_range(device, w.views,
                    w.n_views * (WF_ARGS_GLOBAL + uint64_t(w.n) * WF_ARGS_MODEL) * real,
                    "launch: views");
    if (!w.plain && w.rule == WF_VIEW_STRETCH)
        check_range(device, w.begins, w.n_views * sizeof *w.begins, "launch: begins");
    if (w.ranks)
        check_range(device, w.ranks, (w.n - 1) * w.rank_stride * real, "launch: ranks");
}

void check_results(uint32_t device, const wf_work &w)
{
    uint64_t brackets = uint64_t(w.streams) * w.ranks_n;
    if (w.kind == WF_WORK_MAP)
        check_range(device, w.out, (w.to - w.from) * width(w.out_dtype), "launch: out");
    if (w.kind == WF_WORK_FOLD)
        check_range(device, w.values, (w.leaf_to - w.leaf_from) * w.terms * sizeof *w.values,
                    "launch: values");
    if (w.kind == WF_WORK_COLUMNS)
        check_range(device, w.sums, w.row_stride * w.terms * sizeof *w.sums, "launch: sums");
    if (w.kind != WF_WORK_COUNT)
        return;
    check_range(device, w.brackets, brackets * sizeof *w.brackets, "launch: brackets");
    check_range(device, w.counts, brackets * sizeof *w.counts, "launch: counts");
    if (w.list_capacity)
        check_range(device, w.lists, brackets * w.list_capacity * (w.wide ? 8 : 4),
                    "launch: lists");
}

void lose(wf_plugin_lane *lane)
{
    std::lock_guard<std::mutex> hold(here.lock);
    here.lost[lane->device] = true;
}

void launch_now(wf_plugin_lane *lane, const wf_work &w)
{
    if (is_doomed("kernel"))
        lose(lane);
    if (is_lost(lane->device))
        return;
    check_inputs(lane->device, w);
    check_numbers(lane->device, w);
    check_results(lane->device, w);
    if (wf_frame_launch(&w, nullptr))
        mistake("launch: no kernel can do this work (kind %u, function %u, n %u)", w.kind,
                w.function, w.n);
}

int fake_launch(wf_plugin_err *e, wf_plugin_lane *lane, const wf_work *work)
{
    ALIVE(e, lane, "launch");
    wf_work w = *work;
    {
        std::lock_guard<std::mutex> hold(here.lock);
        here.launches++;
    }
    lane->steps.push_back([=] { launch_now(lane, w); });
    return 0;
}

int fake_finish(wf_plugin_err *e, wf_plugin_lane *lane)
{
    lane->wait();
    ALIVE(e, lane, "finish");
    return 0;
}

int fake_time(wf_plugin_err *e, wf_plugin_lane *lane, const wf_work *work, uint32_t times,
              double *ms)
{
    ALIVE(e, lane, "time");
    lane->wait();
    launch_now(lane, *work);
    auto start = std::chrono::steady_clock::now();
    for (uint32_t k = 0; k < times; k++)
        launch_now(lane, *work);
    std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
    *ms = took.count();
    return 0;
}

/* ---- ranks: there is no other process to meet ---- */

int no_ranks(wf_plugin_err *e)
{
    e->code = 1;
    std::snprintf(e->text, sizeof e->text, "the emulator joins no ranks");
    return e->code;
}

int fake_comm_library(wf_plugin_err *e, char *)
{
    return no_ranks(e);
}

int fake_comm_id(wf_plugin_err *e, unsigned char *)
{
    return no_ranks(e);
}

int fake_comm_open(wf_plugin_err *e, uint32_t, const unsigned char *, uint32_t, uint32_t, uint64_t,
                   wf_plugin_comm **out)
{
    *out = nullptr;
    return no_ranks(e);
}

int fake_comm_sum(wf_plugin_err *e, wf_plugin_comm *, uint64_t *, uint64_t)
{
    return no_ranks(e);
}

int fake_comm_gather(wf_plugin_err *e, wf_plugin_comm *, const void *, uint64_t, void *)
{
    return no_ranks(e);
}

int fake_comm_test(wf_plugin_err *e, wf_plugin_comm *, int *)
{
    return no_ranks(e);
}

int fake_comm_close(wf_plugin_err *e, wf_plugin_comm *)
{
    return no_ranks(e);
}

void fake_comm_abort(wf_plugin_comm *)
{
}

} // namespace

/* ---- linear algebra: kernels/linalg_cuda.cu over stand-ins for what it calls ---- */

void fake_check_range(uint32_t device, const void *p, uint64_t bytes, const char *what)
{
    check_range(device, p, bytes, what);
}

extern "C" int fake_fails(const char *call)
{
    return is_doomed(call);
}

int fake_allocate_bytes(uint32_t device, uint64_t bytes, void **out)
{
    wf_plugin_err ignored;
    return fake_allocate(&ignored, device, bytes, out);
}

void fake_free(uint32_t device, void *p)
{
    fake_release(device, p);
}

namespace
{
/* What calls may name, and must not change. */
struct held_operand {
    const void *p;
    uint64_t bytes, sum;
};
std::map<wf_plugin_linalg *, held_operand> held;

const wf_plugin &real()
{
    static const wf_plugin table = [] {
        wf_plugin t = {};
        wf_linalg_fill(&t);
        return t;
    }();
    return table;
}

/* The libraries that it opens are this file itself. */
int fake_linalg_library(wf_plugin_err *e, char text[64])
{
    DOOMED(e, "linalg_library");
    Dl_info here_it_is;
    if ((e->code = fake_dense_open(e->text)))
        return e->code;
    dladdr(reinterpret_cast<void *>(&weft_plugin_get), &here_it_is);
    setenv("WEFT_CUBLAS_LIBRARY", here_it_is.dli_fname, 1);
    setenv("WEFT_CUSOLVER_LIBRARY", here_it_is.dli_fname, 1);
    return real().linalg_library(e, text);
}

int fake_linalg_open(wf_plugin_err *e, uint32_t device, wf_plugin_linalg **out)
{
    DOOMED(e, "linalg_open");
    if (device >= here.devices)
        mistake("linalg_open: there is no device %u", device);
    int code = real().linalg_open(e, device, out);
    std::lock_guard<std::mutex> hold(here.lock);
    here.lanes += !code;
    return code;
}

void fake_linalg_close(wf_plugin_linalg *l)
{
    if (!l)
        return;
    real().linalg_close(l);
    std::lock_guard<std::mutex> hold(here.lock);
    held.erase(l);
    here.lanes--;
}

int fake_linalg_bytes(wf_plugin_err *e, wf_plugin_linalg *l, const wf_dense *w, uint64_t *bytes)
{
    DOOMED(e, "linalg_bytes");
    return real().linalg_bytes(e, l, w, bytes);
}

int fake_linalg_claim(wf_plugin_err *e, wf_plugin_linalg *l, uint64_t bytes)
{
    DOOMED(e, "linalg_claim");
    return real().linalg_claim(e, l, bytes);
}

held_operand held_by(wf_plugin_linalg *l)
{
    std::lock_guard<std::mutex> hold(here.lock);
    auto found = held.find(l);
    return found == held.end() ? held_operand{} : found->second;
}

void check_held(wf_plugin_linalg *l)
{
    held_operand h = held_by(l);
    if (h.p && hash(h.p, h.bytes) != h.sum)
        mistake("linalg: the %zu bytes at %p changed while they were held", size_t(h.bytes), h.p);
}

int fake_linalg_hold(wf_plugin_err *e, wf_plugin_linalg *l, const void *operand, uint64_t bytes)
{
    check_held(l);
    if (operand)
        DOOMED(e, "linalg_hold");
    int code = real().linalg_hold(e, l, operand, bytes);
    uint64_t sum = operand ? hash(operand, bytes) : 0;
    std::lock_guard<std::mutex> hold(here.lock);
    held[l] = {operand, bytes, sum};
    return code;
}

int fake_linalg_run(wf_plugin_err *e, wf_plugin_linalg *l, wf_dense *w)
{
    DOOMED(e, "linalg_run");
    check_held(l);
    held_operand h = held_by(l);
    if ((w->a_held && w->a.p != h.p) || (w->b_held && w->b.p != h.p))
        mistake("linalg_run: an operand is not what is held");
    {
        std::lock_guard<std::mutex> hold(here.lock);
        here.launches++;
    }
    return real().linalg_run(e, l, w);
}

/* ---- the table ---- */

const wf_plugin table = {
    WF_PLUGIN_ABI,     WF_PLUGIN_BYTES,     "emulator",       fake_count,        fake_describe,
    fake_allocate,     fake_release,        fake_pin,         fake_unpin,        fake_open_lane,
    fake_close_lane,   fake_copy_in,        fake_copy_out,    fake_copy,         fake_clear,
    fake_launch,       fake_finish,         fake_time,        fake_comm_library, fake_comm_id,
    fake_comm_open,    fake_comm_sum,       fake_comm_gather, fake_comm_test,    fake_comm_close,
    fake_comm_abort,   fake_linalg_library, fake_linalg_open, fake_linalg_close, fake_linalg_bytes,
    fake_linalg_claim, fake_linalg_hold,    fake_linalg_run,
};
} // namespace

extern "C" const wf_plugin *weft_plugin_get(void)
{
    read_settings();
    return &table;
}

extern "C" __attribute__((visibility("default"))) wf_fake_state weft_fake_state(void);
extern "C" wf_fake_state weft_fake_state(void)
{
    std::lock_guard<std::mutex> hold(here.lock);
    return {here.launches,      here.copies_in,     here.unpinned,
            here.memory.size(), here.pinned.size(), here.lanes};
}
