/* linalg_crew.h - the tables of linalg.h for the threads of one job: all of the processor, or each
 * a queue of one device with memory of its own.
 *
 *   what one thread takes of the device at most (room) --> as many queues as have room, claimed
 *                                                          before anything is computed
 */
#ifndef WF_LINALG_CREW_H
#define WF_LINALG_CREW_H

#include "linalg.h"

/* Where nobody says which, a device is used from here on. Opening CUDA and its libraries takes a
 * second or two, in which some cores do as much as this; and below the work of one matrix, copies
 * and the waiting for many small kernels take as long as a core. Floating point operations, by
 * estimate: neither has been measured on a GPU. */
#define WF_LINALG_DEVICE_WORK 1e12
#define WF_LINALG_MATRIX_WORK 2e9

/* What of a matrix's work counts towards the first number. */
static inline double wf_linalg_worth(double work)
{
    return work < WF_LINALG_MATRIX_WORK ? 0 : work;
}

/* A device, or several alike; backend/device_linalg.h makes one. */
struct wf_linalg_device {
    bool required;         /* what it cannot do is an error; else the processor computes */
    unsigned count;        /* of devices */
    uint64_t memory_bytes; /* that may be used, of each */
    /* The nth table, on device nth % count, with a queue and no memory yet: it can be asked for
     * room. WF_NO, with the reason in *e, where the device has too little memory left. */
    int (*open)(struct wf_err *e, const struct wf_linalg_device *d, unsigned nth,
                struct wf_linalg **out);
    /* What its calls will take together with what they hold. WF_NO likewise. */
    int (*claim)(struct wf_err *e, struct wf_linalg *la, uint64_t bytes);
    void (*close)(struct wf_linalg *la);
};

struct wf_linalg_crew {
    const struct wf_linalg_device *device; /* NULL: the processor */
    const struct wf_linalg *processor;
    struct wf_linalg *tables[WF_LINALG_THREADS]; /* the device's */
    unsigned n;
};

/* Into *bytes: what one thread takes of a device at most. */
typedef int wf_linalg_room_fn(struct wf_err *e, const struct wf_linalg *la, const void *arg,
                              uint64_t *bytes);

/* For at most `threads` threads; crew->n says for how many: fewer where others have taken some of
 * the device's memory. Without a device (NULL), and where it cannot be opened or has too little
 * memory and is not required, the processor's table for all. WF_MACHINE, with the number needed, if
 * it is required. wf_linalg_crew_close in any case. */
int wf_linalg_crew_open(struct wf_err *e, const struct wf_linalg_device *device, unsigned threads,
                        wf_linalg_room_fn *room, const void *arg, struct wf_linalg_crew *crew);
void wf_linalg_crew_close(struct wf_linalg_crew *crew);

/* Of thread i. */
const struct wf_linalg *wf_linalg_crew_table(const struct wf_linalg_crew *crew, unsigned i);

/* *bytes becomes the most that it was and any of these calls takes. */
int wf_linalg_widen_room(struct wf_err *e, const struct wf_linalg *la,
                         const struct wf_linalg_shape *shapes, size_t n, uint64_t *bytes);

#endif
