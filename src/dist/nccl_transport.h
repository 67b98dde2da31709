/* nccl_transport.h - the transport over NCCL: the comm_ entries of the plugin for GPUs. */
#ifndef WF_NCCL_TRANSPORT_H
#define WF_NCCL_TRANSPORT_H

#include "../../kernels/plugin.h"
#include "transport.h"

/* Filled by whoever uses it, but for the last two; lives as long as the transport. */
struct wf_nccl {
    const struct wf_plugin *plugin;
    uint32_t device; /* this rank's */
    uint32_t rank, ranks;
    uint64_t room; /* of the buffer of the transport's thread */
    unsigned char id[WF_PLUGIN_ID_BYTES];
    struct wf_plugin_comm *comm;
    struct wf_transport transport;
};

/* Fills n->transport. */
void wf_nccl_transport(struct wf_nccl *n);

#endif
