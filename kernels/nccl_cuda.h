/* nccl_cuda.h - the plugin's entries for ranks, made in nccl_cuda.cu. */
#ifndef WF_NCCL_CUDA_H
#define WF_NCCL_CUDA_H

#include "plugin.h"

/* Fills the comm_ entries of the table. */
void wf_nccl_fill(wf_plugin *table);

#endif
