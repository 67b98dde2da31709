/* doctor.c - build, machine, limits, disk.
 *
 * With JSON, one object a line:
 *   {"kind":"fact","section":S,"name":S,"value":S}
 *   {"kind":"rate","section":S,"name":S,"bytes_per_second":N,"bytes":N,"seconds":N,"how":S}
 * Sections are build, processor, memory, GPUs, ranks, models, limits and disk. Values are text for
 * people; what a script may want as a number is a rate.
 */
#include "doctor.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <xxhash.h>

#include "../backend/device.h"
#include "../backend/frame.h"
#include "../base/clock.h"
#include "../base/file.h"
#include "../base/mem.h"
#include "../base/num.h"
#include "../base/thread.h"
#include "../dist/join_ranks.h"
#include "../dist/mpi_open.h"
#include "../format/hub.h"
#include "../linalg/linalg.h"
#include "device_probe.h"
#include "disk_probe.h"
#include "report.h"

#define PROBE_BYTES ((uint64_t)256 << 20)
#define COPY_BYTES ((size_t)64 << 20)
#define COPY_NS 200000000u

/* ---- lines ------------------------------------------------------------------------------------
 */

/* In the text form a section's name stands before its first line alone. */
struct doctor {
    struct wf_err *e;
    struct wf_report report;
    struct wf_arena arena;
    const char *section, *shown;
};

static void start_line(struct doctor *d, const char *name)
{
    struct wf_report *r = &d->report;
    wf_report_name(r, d->shown == d->section ? "" : d->section, 11);
    wf_report_name(r, name, 20);
    d->shown = d->section;
}

static void fact(struct doctor *d, const char *name, const char *value)
{
    struct wf_report *r = &d->report;
    if (r->json) {
        wf_report_object(r, "fact");
        wf_report_string(r, "section", d->section);
        wf_report_string(r, "name", name);
        wf_report_string(r, "value", value);
        wf_report_close(r);
        return;
    }
    start_line(d, name);
    wf_report_name(r, value, 0);
    wf_report_end(r);
}

static void fact_bytes(struct doctor *d, const char *name, uint64_t bytes)
{
    char buf[32];
    fact(d, name, wf_format_bytes(bytes, buf));
}

static void rate(struct doctor *d, const char *name, uint64_t bytes, uint64_t ns, const char *how)
{
    struct wf_report *r = &d->report;
    double seconds = (double)(ns ? ns : 1) * 1e-9, per_second = (double)bytes / seconds;
    char buf[32];
    if (r->json) {
        wf_report_object(r, "rate");
        wf_report_string(r, "section", d->section);
        wf_report_string(r, "name", name);
        wf_report_f64(r, "bytes_per_second", per_second);
        wf_report_u64(r, "bytes", bytes);
        wf_report_f64(r, "seconds", seconds);
        wf_report_string(r, "how", how);
        wf_report_close(r);
        return;
    }
    start_line(d, name);
    wf_report_text(r, "%.2f GB/s", per_second * 1e-9);
    wf_report_text(r, " (%s in %.2f s, %s)", wf_format_bytes(bytes, buf), seconds, how);
    wf_report_end(r);
}

/* ---- build ------------------------------------------------------------------------------------
 */

static const char *const build_flags =
#ifdef __OPTIMIZE__
    "optimised"
#else
    "not optimised"
#endif
#ifdef WF_FAULTS
    ", fault injection"
#endif
#if defined(__SANITIZE_ADDRESS__)
    ", address sanitizer"
#elif defined(__SANITIZE_THREAD__)
    ", thread sanitizer"
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
    ", address sanitizer"
#elif __has_feature(thread_sanitizer)
    ", thread sanitizer"
#endif
#endif
#ifdef __FAST_MATH__
    ", FAST MATH: results are not weft's"
#endif
    ;

static void show_build(struct doctor *d)
{
    unsigned xx = XXH_versionNumber();
    char text[128];
    d->section = "build";
    fact(d, "weft", WEFT_VERSION);
#ifdef __clang__
    fact(d, "compiler", __VERSION__);
#else
    fact(d, "compiler", "gcc " __VERSION__);
#endif
    fact(d, "flags", build_flags);
#ifdef WF_HAVE_X86_ISAS
    fact(d, "instruction sets", "base, x86-64-v3, x86-64-v4");
#else
    fact(d, "instruction sets", "base");
#endif
    snprintf(text, sizeof text, "%u.%u.%u", xx / 10000, xx / 100 % 100, xx % 100);
    fact(d, "xxHash", text);
    fact(d, "OpenSSL", OpenSSL_version(OPENSSL_VERSION));
    fact(d, "C library", gnu_get_libc_version());
}

/* ---- processor and memory ---------------------------------------------------------------------
 */

/* The value behind "KEY : " on the first line of /proc/cpuinfo that has it, or "unknown". */
static const char *cpu_model(char *line, size_t size)
{
    static const char *const keys[] = {"model name", "Model", "cpu model"};
    FILE *f = fopen("/proc/cpuinfo", "r");
    const char *found = NULL;
    while (f && !found && fgets(line, (int)size, f)) {
        const char *colon = strchr(line, ':');
        for (size_t i = 0; colon && i < sizeof keys / sizeof *keys; i++)
            if (wf_starts_with(line, keys[i]))
                found = colon + 1 + strspn(colon + 1, " \t");
        line[strcspn(line, "\n")] = 0;
    }
    if (f)
        fclose(f);
    return found ? found : "unknown";
}

static void show_processor(struct doctor *d)
{
    char text[320];
    struct utsname u;
    d->section = "processor";
    fact(d, "model", cpu_model(text, sizeof text));
    if (!uname(&u)) {
        snprintf(text, sizeof text, "%s %s, %s", u.sysname, u.release, u.machine);
        fact(d, "system", text);
    }
    snprintf(text, sizeof text, "%u", wf_cpu_count());
    fact(d, "CPUs for weft", text);
    fact(d, "instruction set", wf_cpu_isa());
}

/* One thread copies between two buffers larger than its caches. */
static int measure_copy(struct doctor *d)
{
    char *from = wf_map_pages(d->e, 2 * COPY_BYTES, "a copy measurement");
    if (!from)
        return wf_err_status(d->e);
    memset(from, 1, 2 * COPY_BYTES); /* every page is there before the clock starts */
    uint64_t start = wf_now_ns(), done = 0;
    do {
        memcpy(from + COPY_BYTES, from, COPY_BYTES);
        __asm__ volatile("" ::: "memory"); /* each copy counts: none may be left out */
        done += COPY_BYTES;
    } while (wf_now_ns() - start < COPY_NS);
    rate(d, "copy", done, wf_now_ns() - start, "one thread, bytes copied");
    wf_unmap_pages(from, 2 * COPY_BYTES);
    return WF_OK;
}

static int show_memory(struct doctor *d)
{
    d->section = "memory";
    fact_bytes(d, "for weft", wf_mem_total());
    fact_bytes(d, "default budget", wf_mem_default());
    return measure_copy(d);
}

/* ---- GPUs -------------------------------------------------------------------------------------
 */

static void copy_rate(struct doctor *d, const char *name, const struct wf_copy_rate *r,
                      const char *how)
{
    if (r->bytes)
        rate(d, name, r->bytes, r->ns, how);
}

/* A GPU that fails is a finding. */
static void show_device(struct doctor *d, const struct wf_plugin *plugin, uint32_t device)
{
    struct wf_device_probe probe;
    struct wf_err e = {0};
    char name[32], text[256], memory[32], room[32];
    int s = wf_device_measure(&e, plugin, device, &probe);
    snprintf(name, sizeof name, "GPU %" PRIu32, device);
    if (probe.about.name[0]) {
        snprintf(text, sizeof text,
                 "%s, compute capability %" PRIu32 ".%" PRIu32 ", %" PRIu32
                 " multiprocessors, %s, %s free",
                 probe.about.name, probe.about.major, probe.about.minor,
                 probe.about.multiprocessors, wf_format_bytes(probe.about.memory_bytes, memory),
                 wf_format_bytes(probe.about.free_bytes, room));
        fact(d, name, text);
    }
    if (s)
        fact(d, name, e.text);
    snprintf(name, sizeof name, "GPU %" PRIu32 " copy in", device);
    copy_rate(d, name, &probe.in, "pinned host memory to device");
    snprintf(name, sizeof name, "GPU %" PRIu32 " copy out", device);
    copy_rate(d, name, &probe.out, "device to pinned host memory");
    snprintf(name, sizeof name, "GPU %" PRIu32 " copy", device);
    copy_rate(d, name, &probe.inside, "device to device, bytes copied");
}

static void show_nccl(struct doctor *d, const struct wf_plugin *plugin)
{
    struct wf_plugin_err pe = {0};
    char name[64];
    fact(d, "joins ranks", plugin->comm_library(&pe, name) ? pe.text : name);
}

static void show_gpu_linear_algebra(struct doctor *d, const struct wf_plugin *plugin)
{
    struct wf_plugin_err pe = {0};
    char name[64];
    fact(d, "linear algebra", plugin->linalg_library(&pe, name) ? pe.text : name);
}

static void show_devices(struct doctor *d)
{
    struct wf_err e = {0}; /* no GPU is a finding */
    struct wf_devices *devices = NULL;
    char path[4096], why[256] = "";
    d->section = "GPUs";
    wf_devices_plugin_path(path);
    fact(d, "plugin", path[0] ? path : "none: there is no libweft_cuda.so beside the program");
    int s = wf_devices_open(&e, &(struct wf_device_options){0}, &devices, why);
    if (s || !devices) {
        char text[WF_ERR_TEXT_MAX + 16];
        snprintf(text, sizeof text, "none used: %s", s ? e.text : why);
        fact(d, "GPU", text);
        return;
    }
    fact(d, "built with", wf_devices_plugin(devices)->name);
    show_nccl(d, wf_devices_plugin(devices));
    show_gpu_linear_algebra(d, wf_devices_plugin(devices));
    for (uint32_t i = 0; i < wf_devices_count(devices); i++)
        show_device(d, wf_devices_plugin(devices), wf_devices_index(devices, i));
    wf_devices_close(devices);
}

/* ---- ranks ------------------------------------------------------------------------------------
 */

/* What joins ranks is opened, and started by nobody. */
static void show_ranks(struct doctor *d)
{
    char path[PATH_MAX], text[WF_LIBRARY_WHY_BYTES], line[WF_LIBRARY_WHY_BYTES + 16];
    d->section = "ranks";
    wf_mpi_plugin_path(path);
    fact(d, "plugin", path[0] ? path : "none: there is no libweft_mpi.so beside the program");
    bool there = wf_join_is_possible(NULL, text);
    snprintf(line, sizeof line, "%s%s", there ? "" : "none used: ", text);
    fact(d, "MPI", line);
}

/* ---- models and limits ------------------------------------------------------------------------
 */

static int show_models(struct doctor *d)
{
    struct wf_err e = {0}; /* a variable that makes no sense is a finding, not a failure */
    const char *folder, *source;
    d->section = "models";
    if (wf_hub_cache(&e, &d->arena, &folder, &source)) {
        fact(d, "Hub cache", e.text);
        return WF_OK;
    }
    if (!folder) {
        fact(d, "Hub cache", "none: neither HF_HOME nor HOME is set");
        return WF_OK;
    }
    const char *text = wf_arena_printf(&d->arena, d->e, "%s (from %s%s)", folder, source,
                                       wf_is_folder(folder) ? "" : "; not there");
    if (!text)
        return wf_err_status(d->e);
    fact(d, "Hub cache", text);
    return WF_OK;
}

static void show_limits(struct doctor *d)
{
    static const struct {
        int resource;
        const char *name;
        bool bytes;
    } rows[] = {{RLIMIT_NOFILE, "open files", false},
                {RLIMIT_FSIZE, "file size", true},
                {RLIMIT_AS, "address space", true}};
    d->section = "limits";
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rlimit limit;
        char text[32] = "unknown";
        if (!getrlimit(rows[i].resource, &limit)) {
            if (limit.rlim_cur == RLIM_INFINITY)
                snprintf(text, sizeof text, "none");
            else if (rows[i].bytes)
                wf_format_bytes(limit.rlim_cur, text);
            else
                wf_format_count(limit.rlim_cur, text);
        }
        fact(d, rows[i].name, text);
    }
}

/* ---- disk -------------------------------------------------------------------------------------
 */

static const char *file_system_name(long type, char buf[32])
{
    static const struct {
        uint32_t magic;
        const char *name;
    } known[] = {
        {0xef53, "ext2/3/4"},  {0x58465342, "xfs"},    {0x9123683e, "btrfs"},
        {0x2fc12fc1, "zfs"},   {0x01021994, "tmpfs"},  {0x794c7630, "overlayfs"},
        {0x6969, "nfs"},       {0x0bd00bd0, "lustre"}, {0x47504653, "gpfs"},
        {0x65735546, "fuse"},  {0xff534d42, "cifs"},   {0xfe534d42, "smb2"},
        {0x00c36400, "ceph"},  {0xf2f52010, "f2fs"},   {0x19830326, "beegfs"},
        {0x01021997, "9p"},    {0x4d44, "vfat"},       {0x2011bab0, "exfat"},
        {0x858458f6, "ramfs"}, {0x5346544e, "ntfs"},   {0xca451a4e, "bcachefs"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].magic == (uint32_t)type)
            return known[i].name;
    snprintf(buf, 32, "type 0x%" PRIx32, (uint32_t)type);
    return buf;
}

/* The measurement leaves most of a nearly full disk alone. */
static void measure_disk(struct doctor *d, const char *folder, uint64_t free_bytes)
{
    struct wf_disk_probe probe;
    struct wf_err e = {0}; /* what this folder cannot do is a finding, not a failure */
    int s = wf_disk_measure(&e, folder, wf_min_u64(PROBE_BYTES, free_bytes / 8), &probe);
    if (s) {
        fact(d, "write", e.text);
        return;
    }
    if (!probe.write.bytes) {
        fact(d, "write", "not measured: too little space, or a limit on file size");
        return;
    }
    fact(d, "O_DIRECT", probe.has_direct ? "works" : "refused: ordinary reads and writes");
    const char *how = probe.has_direct ? "direct, one thread" : "page cache and sync, one thread";
    rate(d, "write", probe.write.bytes, probe.write.ns, how);
    rate(d, "read", probe.read.bytes, probe.read.ns, how);
}

static int show_disk(struct doctor *d, const char *folder)
{
    struct statfs type;
    struct statvfs space;
    char text[32];
    d->section = "disk";
    fact(d, "folder", folder);
    if (statfs(folder, &type) || statvfs(folder, &space))
        return wf_fail_errno(d->e, WF_MACHINE, errno, "%s: cannot ask the file system", folder);
    uint64_t free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    fact(d, "file system", file_system_name((long)type.f_type, text));
    fact_bytes(d, "free", free_bytes);
    measure_disk(d, folder, free_bytes);
    return WF_OK;
}

/* What factors adapters. */
static void show_linear_algebra(struct doctor *d)
{
    struct wf_err why = {0};
    const struct wf_linalg *la;
    d->section = "processor";
    fact(d, "linear algebra", wf_linalg_cpu(&why, &la) ? why.text : la->name);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static int show_all(struct doctor *d, const char *folder)
{
    show_build(d);
    show_processor(d);
    show_linear_algebra(d);
    int s = show_memory(d);
    if (s)
        return s;
    show_devices(d);
    show_ranks(d);
    s = show_models(d);
    if (s)
        return s;
    show_limits(d);
    return show_disk(d, folder);
}

int wf_doctor_run(struct wf_err *e, const struct weft_options *o, const char *folder)
{
    struct doctor d = {.e = e};
    if (!folder)
        folder = ".";
    if (!wf_is_folder(folder))
        return wf_fail(e, WF_USAGE, "%s: no such folder", folder);
    wf_report_open(&d.report, o);
    int s = show_all(&d, folder);
    int finished = wf_report_finish(&d.report, e);
    wf_arena_destroy(&d.arena);
    return s ? s : finished;
}
