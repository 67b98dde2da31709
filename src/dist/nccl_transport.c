/* nccl_transport.c - calls of a transport as calls of the plugin. */
#include "nccl_transport.h"

#include <stdio.h>

static int told(struct wf_transport_err *e, int code, const struct wf_plugin_err *from)
{
    if (!code)
        return 0;
    e->code = from->code ? from->code : code;
    snprintf(e->text, sizeof e->text, "%s", from->text);
    return e->code;
}

static int start(void *self, struct wf_transport_err *e, uint32_t *rank, uint32_t *ranks)
{
    struct wf_nccl *n = self;
    struct wf_plugin_err pe = {0};
    *rank = n->rank;
    *ranks = n->ranks;
    return told(
        e, n->plugin->comm_open(&pe, n->device, n->id, n->rank, n->ranks, n->room, &n->comm), &pe);
}

static int sum(void *self, struct wf_transport_err *e, uint64_t *values, size_t count)
{
    struct wf_nccl *n = self;
    struct wf_plugin_err pe = {0};
    return told(e, n->plugin->comm_sum(&pe, n->comm, values, count), &pe);
}

static int gather(void *self, struct wf_transport_err *e, const void *mine, size_t bytes, void *all)
{
    struct wf_nccl *n = self;
    struct wf_plugin_err pe = {0};
    return told(e, n->plugin->comm_gather(&pe, n->comm, mine, bytes, all), &pe);
}

static int test(void *self, struct wf_transport_err *e, int *done)
{
    struct wf_nccl *n = self;
    struct wf_plugin_err pe = {0};
    return told(e, n->plugin->comm_test(&pe, n->comm, done), &pe);
}

static int finish(void *self, struct wf_transport_err *e)
{
    struct wf_nccl *n = self;
    struct wf_plugin_err pe = {0};
    struct wf_plugin_comm *comm = n->comm;
    n->comm = NULL;
    return told(e, n->plugin->comm_close(&pe, comm), &pe);
}

static void abandon(void *self)
{
    struct wf_nccl *n = self;
    n->plugin->comm_abort(n->comm);
    n->comm = NULL;
}

void wf_nccl_transport(struct wf_nccl *n)
{
    n->transport = (struct wf_transport){.name = "NCCL",
                                         .self = n,
                                         .start = start,
                                         .sum = sum,
                                         .gather = gather,
                                         .test = test,
                                         .finish = finish,
                                         .abandon = abandon};
}
