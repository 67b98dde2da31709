/* fake_comm.h - the comm_ entries of a plugin for GPUs that are not there: ranks meet in a file
 * that they map.
 *
 *   +-- arrived[r]: how many operations rank r has begun
 *   |
 *   [counters][slots of even operations, one for each rank][slots of odd ones]
 *
 * A rank begins operation k + 2 only when all have begun k + 1, and so are done with k: two sets of
 * slots are enough. Results are made by the test that finds all arrived, as on a device.
 */
#ifndef FAKE_COMM_H
#define FAKE_COMM_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../src/base/mem.h"
#include "../../kernels/plugin.h"

#define FAKE_RANKS_MAX 64

static const char *fake_folder; /* where the ranks of this run meet */

struct fake_shared {
    _Atomic uint64_t arrived[FAKE_RANKS_MAX];
};

struct wf_plugin_comm {
    struct fake_shared *shared;
    size_t mapped;
    uint32_t rank, ranks;
    uint64_t room, operation;
    void *to; /* NULL: nothing to make of it */
    uint64_t bytes;
    int is_sum;
};

static int fake_fails(struct wf_plugin_err *e, const char *text)
{
    e->code = 1;
    snprintf(e->text, sizeof e->text, "%s", text);
    return e->code;
}

static int fake_library(struct wf_plugin_err *e, char text[64])
{
    if (getenv("FAKE_COMM_MISSING"))
        return fake_fails(e, "there is no fake NCCL");
    snprintf(text, 64, "fake NCCL");
    return 0;
}

static int fake_id(struct wf_plugin_err *e, unsigned char id[WF_PLUGIN_ID_BYTES])
{
    (void)e;
    memset(id, 0, WF_PLUGIN_ID_BYTES);
    snprintf((char *)id, WF_PLUGIN_ID_BYTES, "comm.%d", (int)getpid());
    return 0;
}

static char *fake_slot(struct wf_plugin_comm *c, uint64_t operation, uint32_t rank)
{
    uint64_t slot = operation % 2 * c->ranks + rank;
    return (char *)(c->shared + 1) + slot * c->room;
}

static void fake_arrive(struct wf_plugin_comm *c, const void *mine, uint64_t bytes)
{
    c->operation++;
    if (bytes)
        memcpy(fake_slot(c, c->operation, c->rank), mine, bytes);
    atomic_store(&c->shared->arrived[c->rank], c->operation);
}

static int fake_open(struct wf_plugin_err *e, uint32_t device,
                     const unsigned char id[WF_PLUGIN_ID_BYTES], uint32_t rank, uint32_t ranks,
                     uint64_t room, struct wf_plugin_comm **out)
{
    struct wf_err memory = {0};
    struct wf_plugin_comm *c = wf_alloc(&memory, WF_MEM_META, 1, sizeof *c, "a fake");
    char path[4096];
    *out = NULL;
    if (device != rank % 4 || strncmp((const char *)id, "comm.", 5))
        return fake_fails(e, "another device, or another id");
    snprintf(path, sizeof path, "%s/%.100s", fake_folder, (const char *)id);
    *c = (struct wf_plugin_comm){.rank = rank, .ranks = ranks, .room = room};
    c->mapped = sizeof *c->shared + 2 * ranks * room;
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)c->mapped))
        return fake_fails(e, "no file to meet in");
    c->shared = mmap(NULL, c->mapped, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    fake_arrive(c, NULL, 0);
    *out = c;
    return 0;
}

static int fake_sum(struct wf_plugin_err *e, struct wf_plugin_comm *c, uint64_t *values, uint64_t n)
{
    if (n > c->room / 8)
        return fake_fails(e, "a sum that has no room");
    c->to = values;
    c->bytes = n * 8;
    c->is_sum = 1;
    fake_arrive(c, values, n * 8);
    return 0;
}

static int fake_gather(struct wf_plugin_err *e, struct wf_plugin_comm *c, const void *mine,
                       uint64_t bytes, void *all)
{
    if (bytes > c->room / (1 + c->ranks))
        return fake_fails(e, "a gathering that has no room");
    c->to = all;
    c->bytes = bytes;
    c->is_sum = 0;
    fake_arrive(c, mine, bytes);
    return 0;
}

static int fake_test(struct wf_plugin_err *e, struct wf_plugin_comm *c, int *done)
{
    (void)e;
    *done = 0;
    for (uint32_t r = 0; r < c->ranks; r++)
        if (atomic_load(&c->shared->arrived[r]) < c->operation)
            return 0;
    for (uint32_t r = 0; c->to && r < c->ranks; r++) {
        const char *from = fake_slot(c, c->operation, r);
        uint64_t *to = c->to;
        if (!c->is_sum)
            memcpy((char *)c->to + r * c->bytes, from, c->bytes);
        for (uint64_t i = 0; c->is_sum && i < c->bytes / 8; i++)
            to[i] = (r ? to[i] : 0) + ((const uint64_t *)from)[i];
    }
    c->to = NULL;
    *done = 1;
    return 0;
}

static void fake_abort(struct wf_plugin_comm *c)
{
    if (c)
        munmap(c->shared, c->mapped);
    wf_free(c);
}

static int fake_close(struct wf_plugin_err *e, struct wf_plugin_comm *c)
{
    (void)e;
    fake_abort(c);
    return 0;
}

static const struct wf_plugin fake_devices = {
    .abi = WF_PLUGIN_ABI,
    .name = "fake",
    .comm_library = fake_library,
    .comm_id = fake_id,
    .comm_open = fake_open,
    .comm_sum = fake_sum,
    .comm_gather = fake_gather,
    .comm_test = fake_test,
    .comm_close = fake_close,
    .comm_abort = fake_abort,
};

#endif
