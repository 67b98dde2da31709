/* mpi_open.h - the plugin for MPI, where there is one. */
#ifndef WF_MPI_OPEN_H
#define WF_MPI_OPEN_H

#include "../base/library.h"
#include "mpi_plugin.h"

/* Opens libweft_mpi.so from beside the program or ../lib, or the file that WEFT_MPI_PLUGIN names
 * ("none": no MPI). Starts nothing. NULL and the reason where there is none. */
const struct wf_mpi *wf_mpi_open(char why[WF_LIBRARY_WHY_BYTES]);

/* The file that would be opened; "" if there is none. */
void wf_mpi_plugin_path(char path[PATH_MAX]);

#endif
