/* device_lane.h - a lane from the inside: its area, its share of the mirrors, and what it puts into
 * its queue. Private to device_*.c.
 *
 * The area of a lane, on the device and, in its first part, on the host at the same offsets:
 *
 *   | bad | counts | brackets | pointers, types | views | data | ranks | scratch | results |
 *   |<------------------- shared: copied either way --------->|
 *
 *   bad       how often a kernel saw what is not finite
 *   views     tables of numbers on their way up, one behind the other
 *   data      values of leaves, sums of columns, keys inside brackets
 *   results   what MAP makes, on its way to the slot
 *
 * On the host the shared part is followed by numbers of rows and the tree of a row's leaves.
 */
#ifndef WF_DEVICE_LANE_H
#define WF_DEVICE_LANE_H

#include <pthread.h>

#include "device.h"

#define WF_DEVICE_ALIGN 256u /* inputs keep their place modulo this in a mirror */

/* What only the device has is halved `shrink` times, as far as what is needed at least; what the
 * host has too is the same for all. A pure function. */
void wf_area_lay_out(const struct wf_device_need *need, unsigned shrink, struct wf_area *out);
#define WF_AREA_SHRINKS 40u

/* Numbers in a view of n inputs. */
static inline uint64_t wf_view_values(uint64_t n)
{
    return WF_ARGS_GLOBAL + n * WF_ARGS_MODEL;
}

/* ---- mirrors of slots, on one device ---- */

enum wf_mirror_state { WF_MIRROR_EMPTY, WF_MIRROR_FILLING, WF_MIRROR_FULL };

struct wf_mirror {
    char *memory;
    enum wf_mirror_state state;
    uint64_t key;   /* of what it is a copy of */
    uint32_t users; /* lanes */
    uint64_t used;  /* when last; the smallest goes first */
};

struct wf_mirrors {
    pthread_mutex_t lock;
    pthread_cond_t filled; /* or given up */
    struct wf_mirror *each;
    uint32_t count;
    uint64_t capacity; /* bytes of inputs */
    uint64_t now;
};

void wf_mirrors_begin(struct wf_mirrors *m, uint32_t count, uint64_t input_bytes);
void wf_mirrors_end(struct wf_mirrors *m);
/* The mirror of the inputs with this key, for one more lane; waits while another lane fills it.
 * *fill: the caller must. There is always one: mirrors are as many as lanes, and a lane has one at
 * most. */
struct wf_mirror *wf_mirror_take(struct wf_mirrors *m, uint64_t key, bool *fill);
/* The lane that filled it says whether it is there now. */
void wf_mirror_settle(struct wf_mirrors *m, struct wf_mirror *mirror, bool full);
void wf_mirror_leave(struct wf_mirrors *m, struct wf_mirror *mirror);

/* ---- lanes ---- */

struct wf_lane {
    const struct wf_plugin *plugin;
    struct wf_plugin_lane *queue;
    uint32_t device;
    struct wf_need need;
    struct wf_area area;
    char *on_device, *on_host;
    uint64_t least; /* numbers in a tile, below which the CPU has it */

    struct wf_mirrors *mirrors;
    uint64_t key; /* what wf_lane_inputs said */
    const char *inputs;
    uint64_t input_bytes;
    struct wf_mirror *mirror; /* taken, or NULL */
    bool filling;             /* its copy is in the queue */
    uint64_t views_used;
    uint64_t waited_ns; /* since wf_lane_waited_ns was called last */
    struct wf_track *track;
    char why[sizeof(struct wf_plugin_err) + 16]; /* the last failure */
};

/* All of these but `finish` only put something into the queue. False: the device failed, `why` says
 * how, and the queue is empty. */
bool wf_lane_bring_inputs(struct wf_lane *l);
bool wf_lane_up(struct wf_lane *l, uint64_t at, uint64_t bytes);   /* of the shared part */
bool wf_lane_down(struct wf_lane *l, uint64_t at, uint64_t bytes); /* of the shared part */
bool wf_lane_copy_out(struct wf_lane *l, void *host, const void *device, uint64_t bytes);
bool wf_lane_clear(struct wf_lane *l, uint64_t at, uint64_t bytes);
bool wf_lane_launch(struct wf_lane *l, const struct wf_work *work);
bool wf_lane_finish(struct wf_lane *l);
/* Finds room for a table among the views, at most all of it; waits for the queue if need be. */
bool wf_lane_views(struct wf_lane *l, uint64_t bytes, uint64_t *at);

/* Whether `bytes` at `host` are among the inputs, and where they are on the device. */
bool wf_lane_has(const struct wf_lane *l, const void *host, uint64_t bytes);
const void *wf_lane_input(const struct wf_lane *l, const void *host);

#endif
