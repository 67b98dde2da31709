/* device.h - tiles on GPUs: the backend "cuda", behind the table of a plugin (kernels/plugin.h).
 *
 *   slot->in (pinned) --copy in--> a mirror of it --+
 *                                                   |
 *   numbers of a tile --copy in--> lane's area -----+--> launches
 *                                                           |
 *   slot->out (pinned) <----------------------copy out------+
 *   sums, counts, keys <----------------------copy out------+
 *
 * Each compute thread of the stream has a lane: a queue on its device with an area for whatever its
 * tiles need besides inputs. What one lane copies, another computes: that is how reading, copying,
 * computing and writing overlap. Inputs of a slot stay in a mirror while there is one for them, so
 * statistics and MAP copy them once. All memory is claimed when lanes are created.
 *
 * Conclusions (finish of FOLD, thresholds of SELECT) are drawn on the host by the same code as on
 * the CPU, so bytes are equal by construction wherever the kernels are. A tile in which a kernel
 * saw something that is not finite is done again by the CPU backend, which knows what to say.
 */
#ifndef WF_DEVICE_H
#define WF_DEVICE_H

#include "../base/status.h"
#include "../base/trace.h"
#include "../../kernels/plugin.h"
#include "backend.h"
#include "scratch.h"

/* ---- which devices ---- */

struct wf_device_options {
    const char *gpus;      /* "all", "0,1"; NULL: all */
    uint64_t memory_bytes; /* of each device; 0: nine tenths of what is free */
    unsigned sharing, nth; /* processes of this machine that share the devices, and which of them
                              this is: each gets its part; 0: none but this */
    bool required;         /* no device is an error; else *out is NULL and why[] says the reason */
};

struct wf_devices; /* an open plugin and the devices chosen */

/* Opens the plugin beside the program (or the file that WEFT_CUDA_PLUGIN names) and looks for
 * devices; the plugin is not opened where the driver says that there are none. WF_USAGE for a
 * wrong list of GPUs, WF_MACHINE for what the machine has not. */
int wf_devices_open(struct wf_err *e, const struct wf_device_options *options,
                    struct wf_devices **out, char why[256]);
void wf_devices_close(struct wf_devices *d); /* accepts NULL */
/* The file that would be opened, whether or not there is a device; "" if there is none. */
void wf_devices_plugin_path(char path[4096]);
uint32_t wf_devices_count(const struct wf_devices *d);
const struct wf_plugin *wf_devices_plugin(const struct wf_devices *d);
/* Of the devices chosen, as the plugin numbers them. */
uint32_t wf_devices_index(const struct wf_devices *d, uint32_t i);
/* Whether other processes of the merge use them, too. */
bool wf_devices_are_shared(const struct wf_devices *d);
/* What may be used of the device that has the least. */
uint64_t wf_devices_memory(const struct wf_devices *d);

/* ---- memory: a pure function ---- */

struct wf_device_need {
    struct wf_need tiles;  /* of the arithmetic */
    uint64_t input_bytes;  /* of a slot: capacity of a mirror */
    uint64_t output_bytes; /* of a slot */
    uint32_t lanes;        /* on each device */
    uint32_t slots;        /* on each device: more mirrors than these are of no use */
};

/* A part of the area. */
struct wf_part {
    uint64_t at, bytes;
};

/* What a lane has on its device and on the host: device_lane.h draws it. */
struct wf_area {
    struct wf_part bad, counts, brackets, pointers, types, views, data;
    struct wf_part ranks, scratch, results;
    struct wf_part rows, tree; /* on the host */
    uint64_t shared_bytes, device_bytes, host_bytes;
};

struct wf_device_layout {
    struct wf_area area;   /* of a lane */
    uint32_t mirrors;      /* on each device, lanes at least */
    uint64_t device_bytes; /* on each device together */
};

/* WF_MACHINE with the number needed if memory_bytes is too little. UINT64_MAX: as many mirrors as
 * there are slots. */
int wf_device_lay_out(struct wf_err *e, const struct wf_device_need *need, uint64_t memory_bytes,
                      struct wf_device_layout *out);

/* Devices and how a run uses them: made where the plan is, used by the stream. */
struct wf_device_run {
    struct wf_devices *devices; /* NULL: the CPU computes */
    struct wf_device_need need;
    struct wf_device_layout layout;
};

/* ---- lanes ---- */

/* All lanes of a run; number k is on device k % count. Pins `pages`, from which all `in` and `out`
 * of tiles come. */
struct wf_lanes;
int wf_lanes_create(struct wf_err *e, struct wf_devices *d, const struct wf_device_need *need,
                    const struct wf_device_layout *layout, uint32_t lanes, void *pages,
                    uint64_t pages_bytes, struct wf_lanes **out);
void wf_lanes_destroy(struct wf_lanes *l); /* accepts NULL */
struct wf_lane *wf_lane_of(struct wf_lanes *l, uint32_t k);

/* The inputs of the lane's next tiles are in [host, host + bytes). They go to the device with the
 * first tile that is computed there, unless a lane of the device brought the same `key` before: a
 * key, never 0, stands for one range with the same bytes in it as long as the lanes live. */
void wf_lane_inputs(struct wf_lane *lane, uint64_t key, const void *host, uint64_t bytes);

/* From now on the trace shows when the lane's thread waits for its device. Track NULL: no more. */
void wf_lane_record(struct wf_lane *lane, struct wf_track *track);
/* How long it has waited for copies and kernels since the last call. */
uint64_t wf_lane_waited_ns(struct wf_lane *lane);

/* The operations; wf_tile.lane is the calling thread's. Small tiles are left to the CPU backend. A
 * call of the device that fails gives the verdict WF_TILE_FAILED with its text. */
const struct wf_backend *wf_backend_device(void);

#endif
