/* device_open.c - finds the plugin, asks the driver whether there is a device, chooses GPUs.
 *
 * The program links nothing of CUDA. libcuda.so.1 comes with the driver: where it is missing, or
 * counts no device, the plugin, which takes a while to load, is left alone.
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../base/library.h"
#include "../base/mem.h"
#include "../base/num.h"
#include "device.h"

#define PLUGIN_FILE "libweft_cuda.so"
#define PLUGIN_VARIABLE "WEFT_CUDA_PLUGIN"
#define DEVICES_MAX 64u
#define WHY_BYTES WF_LIBRARY_WHY_BYTES /* of wf_devices_open's why[] */

struct wf_devices {
    const struct wf_plugin *plugin;
    uint32_t index[DEVICES_MAX];
    uint32_t count;
    uint64_t memory_bytes;
    unsigned users; /* processes on each of them, this one included */
};

/* Says why there is no device: completes "no GPU is used: ...". */
static bool give_up(char why[WHY_BYTES], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static bool give_up(char why[WHY_BYTES], const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(why, WHY_BYTES, format, list);
    va_end(list);
    return false;
}

/* ---- where the plugin is ---- */

void wf_devices_plugin_path(char path[PATH_MAX])
{
    wf_library_path(PLUGIN_FILE, PLUGIN_VARIABLE, path);
}

/* ---- the driver ---- */

typedef int cu_init_fn(unsigned flags);
typedef int cu_device_get_count_fn(int *count);

/* Whether the driver has a device. The library stays open: it may have threads by now. */
static bool ask_driver(char why[WHY_BYTES])
{
    void *driver = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    int count = 0, code;
    if (!driver)
        return give_up(why, "no NVIDIA driver: %s", dlerror());
    cu_init_fn *init;
    cu_device_get_count_fn *get_count;
    *(void **)&init = dlsym(driver, "cuInit");
    *(void **)&get_count = dlsym(driver, "cuDeviceGetCount");
    if (!init || !get_count)
        return give_up(why, "libcuda.so.1 is not the NVIDIA driver: it has no cuInit");
    if ((code = init(0)) || (code = get_count(&count)))
        return give_up(why, "the NVIDIA driver finds no device (CUDA error %d)", code);
    return count > 0 || give_up(why, "the NVIDIA driver finds no device");
}

/* ---- the plugin ---- */

static bool open_plugin(char why[WHY_BYTES], const struct wf_plugin **out)
{
    char path[PATH_MAX];
    wf_devices_plugin_path(path);
    if (!wf_library_is_chosen(PLUGIN_VARIABLE) && !ask_driver(why))
        return false;
    if (!path[0])
        return give_up(why, PLUGIN_FILE " is not beside the program: this weft was built without "
                                        "CUDA (make CUDA=1)");
    wf_plugin_get_fn *get;
    *(void **)&get = wf_library_symbol(path, WF_PLUGIN_SYMBOL, false, why);
    if (!get)
        return false;
    const struct wf_plugin *plugin = get();
    if (plugin->abi != WF_PLUGIN_ABI ||
        plugin->bytes != WF_PLUGIN_BYTES)
        return give_up(why, "%.160s belongs to another version of weft: build both together", path);
    *out = plugin;
    return true;
}

/* ---- the choice ---- */

static int add_device(struct wf_err *e, struct wf_devices *d, const char *gpus, uint64_t index,
                      uint32_t present)
{
    if (index >= present)
        return wf_fail(e, WF_USAGE,
                       "--gpus %s: there is no GPU %" PRIu64
                       "; this machine has %u, counted from 0",
                       gpus, index, present);
    for (uint32_t i = 0; i < d->count; i++)
        if (d->index[i] == index)
            return wf_fail(e, WF_USAGE, "--gpus %s: GPU %" PRIu64 " is named twice", gpus, index);
    if (d->count == DEVICES_MAX)
        return wf_fail(e, WF_USAGE, "--gpus %s: weft uses %u GPUs at most", gpus, DEVICES_MAX);
    d->index[d->count++] = (uint32_t)index;
    return WF_OK;
}

/* "all", or numbers with commas between them. */
static int choose_devices(struct wf_err *e, struct wf_devices *d, const char *gpus,
                          uint32_t present)
{
    int status = WF_OK;
    if (!gpus || !strcmp(gpus, "all")) {
        for (uint32_t i = 0; i < present && i < DEVICES_MAX; i++)
            d->index[d->count++] = i;
        return WF_OK;
    }
    for (const char *at = gpus; !status; at++) {
        size_t n = strcspn(at, ",");
        uint64_t index;
        if (!wf_parse_u64(at, n, &index))
            return wf_fail(e, WF_USAGE,
                           "--gpus '%s': want 'all', or numbers of GPUs like 0,2 (weft doctor "
                           "lists them)",
                           gpus);
        status = add_device(e, d, gpus, index, present);
        at += n;
        if (!*at)
            break;
    }
    return status;
}

/* Of the devices chosen, this process' part: every so many-th, or one with others. Returns how many
 * use each. */
static unsigned take_part(struct wf_devices *d, unsigned sharing, unsigned nth)
{
    uint32_t n = d->count, taken = 0;
    if (sharing < 2)
        return 1;
    if (n <= sharing) {
        d->index[0] = d->index[nth % n];
        d->count = 1;
        return (sharing + n - 1) / n;
    }
    for (uint32_t i = nth; i < n; i += sharing)
        d->index[taken++] = d->index[i];
    d->count = taken;
    return 1;
}

/* How much of each may be used: the least that any of them has. */
static int set_memory(struct wf_err *e, struct wf_devices *d, uint64_t wanted, unsigned users,
                      char why[WHY_BYTES])
{
    d->memory_bytes = UINT64_MAX;
    for (uint32_t i = 0; i < d->count; i++) {
        struct wf_plugin_err pe = {0};
        struct wf_plugin_device about = {0};
        char asked[32], here[32];
        if (d->plugin->describe(&pe, d->index[i], &about)) {
            give_up(why, "GPU %u: %.200s", d->index[i], pe.text);
            return WF_OK;
        }
        if (wanted > about.free_bytes)
            return wf_fail(e, WF_MACHINE, "--device-memory %s: GPU %u has %s free",
                           wf_format_bytes(wanted, asked), d->index[i],
                           wf_format_bytes(about.free_bytes, here));
        uint64_t use = wanted ? wanted : about.free_bytes / users / 10 * 9;
        d->memory_bytes = wf_min_u64(d->memory_bytes, use);
    }
    return WF_OK;
}

/* Fills *d, or why. */
static int find_devices(struct wf_err *e, const struct wf_device_options *options,
                        struct wf_devices *d, char why[WHY_BYTES])
{
    struct wf_plugin_err pe = {0};
    uint32_t present = 0;
    if (!open_plugin(why, &d->plugin))
        return WF_OK;
    if (d->plugin->count(&pe, &present)) {
        give_up(why, "%.250s", pe.text);
        return WF_OK;
    }
    if (!present) {
        give_up(why, "%.63s finds no device", d->plugin->name);
        return WF_OK;
    }
    int status = choose_devices(e, d, options->gpus, present);
    if (status)
        return status;
    d->users = take_part(d, options->sharing, options->nth);
    return set_memory(e, d, options->memory_bytes, d->users, why);
}

int wf_devices_open(struct wf_err *e, const struct wf_device_options *options,
                    struct wf_devices **out, char why[WHY_BYTES])
{
    struct wf_devices *d = wf_alloc(e, WF_MEM_META, 1, sizeof *d, "the list of GPUs");
    *out = NULL;
    why[0] = '\0';
    if (!d)
        return WF_MACHINE;
    int status = find_devices(e, options, d, why);
    if (!status && why[0] && options->required)
        status = wf_fail(e, WF_MACHINE, "--backend cuda: %s (weft doctor says more)", why);
    if (status || why[0])
        wf_free(d);
    else
        *out = d;
    return status;
}

void wf_devices_close(struct wf_devices *d)
{
    wf_free(d);
}

uint32_t wf_devices_count(const struct wf_devices *d)
{
    return d->count;
}

const struct wf_plugin *wf_devices_plugin(const struct wf_devices *d)
{
    return d->plugin;
}

uint32_t wf_devices_index(const struct wf_devices *d, uint32_t i)
{
    return d->index[i];
}

uint64_t wf_devices_memory(const struct wf_devices *d)
{
    return d->memory_bytes;
}

bool wf_devices_are_shared(const struct wf_devices *d)
{
    return d->users > 1;
}
