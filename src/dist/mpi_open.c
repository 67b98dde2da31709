/* mpi_open.c - finds libweft_mpi.so and checks that it belongs to this weft. */
#include "mpi_open.h"

#include <stdio.h>
#include <string.h>

void wf_mpi_plugin_path(char path[PATH_MAX])
{
    wf_library_path(WF_MPI_FILE, WF_MPI_VARIABLE, path);
}

const struct wf_mpi *wf_mpi_open(char why[WF_LIBRARY_WHY_BYTES])
{
    char path[PATH_MAX];
    wf_mpi_get_fn *get;
    wf_mpi_plugin_path(path);
    if (!strcmp(path, "none")) {
        snprintf(why, WF_LIBRARY_WHY_BYTES, WF_MPI_VARIABLE " is none");
        return NULL;
    }
    if (!path[0]) {
        snprintf(why, WF_LIBRARY_WHY_BYTES,
                 WF_MPI_FILE " is not beside the program: this weft was built without MPI "
                             "(make MPI=1)");
        return NULL;
    }
    /* Some MPIs open parts of theirs, which look for the symbols of the whole. */
    *(void **)&get = wf_library_symbol(path, WF_MPI_SYMBOL, true, why);
    if (!get)
        return NULL;
    const struct wf_mpi *mpi = get();
    if (mpi->abi == WF_MPI_ABI && mpi->bytes == sizeof *mpi)
        return mpi;
    snprintf(why, WF_LIBRARY_WHY_BYTES,
             "%.160s belongs to another version of weft: build both together", path);
    return NULL;
}
