/* linalg_cuda.h - the plugin's entries for linear algebra, made in linalg_cuda.cu. */
#ifndef WF_LINALG_CUDA_H
#define WF_LINALG_CUDA_H

#include "plugin.h"

/* Fills the linalg_ entries of the table. */
void wf_linalg_fill(wf_plugin *table);

#endif
