/* mpi_plugin.h - what libweft_mpi.so exports: one function that returns this table.
 *
 * The plugin is compiled and linked against one MPI, and is all of weft that is. It is opened when
 * ranks have something to join (mpi_open.h).
 */
#ifndef WF_MPI_PLUGIN_H
#define WF_MPI_PLUGIN_H

#include "transport.h"

#define WF_MPI_FILE "libweft_mpi.so"
#define WF_MPI_VARIABLE "WEFT_MPI_PLUGIN"
#define WF_MPI_SYMBOL "weft_mpi_get"
#define WF_MPI_ABI 2u

struct wf_mpi {
    uint32_t abi;   /* WF_MPI_ABI */
    uint32_t bytes; /* sizeof(struct wf_mpi): both sides agree */
    /* The library's name and version, on one line: "MPICH 4.0.2". Starts nothing. */
    void (*describe)(char text[256]);
    struct wf_transport transport;
    /* Ends this process, and tells the launcher to end the others: `code` is what it returns. */
    void (*abort)(int code);
};

typedef const struct wf_mpi *wf_mpi_get_fn(void);

#endif
