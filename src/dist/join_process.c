/* join_process.c - chooses MPI or NCCL, starts it, and checks that it sees the launcher's ranks. */
#include "join_process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../base/clock.h"
#include "../base/file.h"
#include "../base/mem.h"
#include "mpi_open.h"
#include "nccl_transport.h"

#define ID_FILE "nccl-id"
#define LOOK_NS 50000000 /* between two looks for it */

static struct {
    struct wf_join_process data;
    struct wf_transport_thread *mpi; /* may be data.thread */
    const struct wf_mpi *running;    /* started, and not left in order */
    struct wf_nccl nccl;
    bool over; /* it has ended, or could not be started: there is no second time */
} process;

struct wf_wait wf_join_wait(const struct wf_join_options *o, const char *doing, bool meeting)
{
    uint64_t meet = o->meet_ms ? o->meet_ms : WF_JOIN_MEET_MS;
    uint64_t move = o->move_ms ? o->move_ms : WF_JOIN_MOVE_MS;
    return (struct wf_wait){
        .limit_ms = meeting ? meet : move, .check = o->check, .arg = o->arg, .doing = doing};
}

/* ---- MPI ---- */

/* Starts it; which ranks it sees. */
static int start_mpi(struct wf_err *e, const struct wf_join_options *o, const struct wf_mpi *mpi,
                     uint32_t *rank, uint32_t *ranks)
{
    struct wf_wait wait = wf_join_wait(o, "starting MPI", false);
    int status = wf_transport_open(e, &mpi->transport, process.data.room, &process.mpi);
    if (!status)
        status = wf_transport_start(e, process.mpi, &wait, rank, ranks);
    if (!status)
        process.running = mpi;
    return status;
}

static int compare_ranks(struct wf_err *e, const struct wf_join_options *o,
                         const struct wf_mpi *mpi, unsigned rank, unsigned ranks)
{
    const char *who = o->launcher ? o->launcher : "the environment";
    char variable[64] = "", name[256];
    if (rank == o->rank && ranks == o->ranks)
        return WF_OK;
    if (o->size_variable)
        snprintf(variable, sizeof variable, " (%s)", o->size_variable);
    mpi->describe(name);
    return wf_fail(e, WF_MACHINE,
                   "MPI sees rank %u of %u, and %s%s says rank %u of %u: this is %s; start with "
                   "its own mpirun, or with the srun --mpi=... that it needs (pmi2 for MPICH, pmix "
                   "for Open MPI). Methods that never look at the whole model need no MPI",
                   rank, ranks, who, variable, o->rank, o->ranks, name);
}

/* ---- NCCL ---- */

/* The file appears whole: it is written under another name first. */
static int write_id(struct wf_err *e, const char *path)
{
    char fresh[PATH_MAX];
    int n = snprintf(fresh, sizeof fresh, "%s.new", path);
    if (n < 0 || n >= (int)sizeof fresh)
        return wf_fail(e, WF_MACHINE, "%s: the path is too long", path);
    int status = wf_write_small(e, fresh, process.nccl.id, sizeof process.nccl.id);
    return status ? status : wf_rename(e, fresh, path);
}

static int read_id(struct wf_err *e, const char *path)
{
    char *text;
    size_t n;
    int status = wf_read_small(e, WF_MACHINE, path, sizeof process.nccl.id, &text, &n);
    if (status)
        return status;
    if (n == sizeof process.nccl.id)
        memcpy(process.nccl.id, text, n);
    else
        status = wf_fail(e, WF_MACHINE, "%s: %zu bytes; NCCL's id has %zu", path, n,
                         sizeof process.nccl.id);
    wf_free(text);
    return status;
}

static int send_id_by_file(struct wf_err *e, const struct wf_join_options *o)
{
    struct wf_wait wait = wf_join_wait(o, "waiting for NCCL's id", false);
    uint64_t limit = wf_now_ns() + wait.limit_ms * 1000000;
    char path[PATH_MAX];
    int status = WF_OK, n = snprintf(path, sizeof path, "%s/" ID_FILE, o->folder);
    if (n < 0 || n >= (int)sizeof path)
        return wf_fail(e, WF_MACHINE, "%s: the path is too long", o->folder);
    if (o->rank == 0)
        return write_id(e, path);
    while (!status && !wf_exists(path)) {
        nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
        status = o->check ? o->check(o->arg, e) : WF_OK;
        if (!status && wf_now_ns() > limit)
            status = wf_fail(e, WF_MACHINE, "%s: rank 0 has not left NCCL's id here within %.0f s",
                             path, (double)wait.limit_ms * 1e-3);
    }
    return status ? status : read_id(e, path);
}

/* The id is known. */
static int start_nccl(struct wf_err *e, const struct wf_join_options *o)
{
    struct wf_wait wait = wf_join_wait(o, "starting NCCL", false);
    uint32_t rank, ranks;
    wf_nccl_transport(&process.nccl);
    int status =
        wf_transport_open(e, &process.nccl.transport, process.data.room, &process.data.thread);
    return status ? status : wf_transport_start(e, process.data.thread, &wait, &rank, &ranks);
}

/* ---- the choice ---- */

static bool has_nccl(const struct wf_plugin *devices, char text[64], char why[WF_LIBRARY_WHY_BYTES])
{
    struct wf_plugin_err pe = {0};
    if (devices && !devices->comm_library(&pe, text))
        return true;
    snprintf(why, WF_LIBRARY_WHY_BYTES, "%s", devices ? pe.text : "");
    return false;
}

bool wf_join_is_possible(const struct wf_plugin *devices, char text[WF_LIBRARY_WHY_BYTES])
{
    char nccl[WF_LIBRARY_WHY_BYTES];
    if (has_nccl(devices, text, nccl))
        return true;
    const struct wf_mpi *mpi = wf_mpi_open(text);
    if (mpi)
        mpi->describe(text);
    return mpi != NULL;
}

static int no_transport(struct wf_err *e, const struct wf_join_options *o, const char *mpi,
                        const char *nccl)
{
    return wf_fail(e, WF_MACHINE,
                   "%s cannot be joined over %u ranks without MPI%s: %s%s%s. One rank, or a method "
                   "that does not look at the whole model, needs none",
                   o->purpose, o->ranks, *nccl ? " or NCCL" : "", mpi, *nccl ? "; " : "", nccl);
}

/* Whether this rank could use NCCL, and on rank 0 its id; else why not. */
static bool prepare_nccl(const struct wf_join_options *o, char why[WF_LIBRARY_WHY_BYTES])
{
    struct wf_plugin_err pe = {0};
    char name[64];
    process.nccl = (struct wf_nccl){.plugin = o->devices,
                                    .device = o->device,
                                    .rank = o->rank,
                                    .ranks = o->ranks,
                                    .room = process.data.room};
    if (!has_nccl(o->devices, name, why))
        return false;
    if (o->rank || !o->devices->comm_id(&pe, process.nccl.id))
        return true;
    snprintf(why, WF_LIBRARY_WHY_BYTES, "%s", pe.text);
    return false;
}

/* NCCL if all ranks can, else MPI: one sum over MPI counts them, and carries the id, to which the
 * other ranks than 0 add nothing. */
static int choose_by_mpi(struct wf_err *e, const struct wf_join_options *o, bool can)
{
    struct wf_wait wait = wf_join_wait(o, "choosing between MPI and NCCL", true);
    struct {
        uint64_t can;
        unsigned char id[WF_PLUGIN_ID_BYTES];
    } *words = wf_transport_buffer(process.mpi);
    memset(words, 0, sizeof *words);
    words->can = can;
    if (can && o->rank == 0)
        memcpy(words->id, process.nccl.id, sizeof words->id);
    int status = wf_transport_sum(e, process.mpi, &wait, sizeof *words / sizeof(uint64_t));
    if (status)
        return status;
    if (words->can < o->ranks) {
        process.data.thread = process.mpi;
        return WF_OK;
    }
    memcpy(process.nccl.id, words->id, sizeof words->id);
    return start_nccl(e, o);
}

/* An MPI that sees one rank alone was not told of the others by the launcher, on all of them alike;
 * NCCL can do without. */
static int start(struct wf_err *e, const struct wf_join_options *o)
{
    char no_mpi[WF_LIBRARY_WHY_BYTES] = "", no_nccl[WF_LIBRARY_WHY_BYTES] = "";
    /* A meeting fits in, the smallest piece of a gathering, and a choice. */
    size_t least = (2 + (size_t)o->ranks) * WF_GATHER_ALIGN + WF_PLUGIN_ID_BYTES;
    const struct wf_mpi *mpi = wf_mpi_open(no_mpi);
    process.data = (struct wf_join_process){.rank = o->rank, .ranks = o->ranks};
    process.data.room = o->room_bytes ? o->room_bytes : WF_JOIN_ROOM_BYTES;
    process.data.room = process.data.room > least ? process.data.room : least;
    bool can = prepare_nccl(o, no_nccl), by_file = can && o->folder;
    uint32_t rank, ranks;
    if (mpi) {
        int status = start_mpi(e, o, mpi, &rank, &ranks);
        if (!status && (ranks > 1 || !by_file))
            status = compare_ranks(e, o, mpi, rank, ranks);
        if (status || ranks == o->ranks)
            return status ? status : choose_by_mpi(e, o, can);
    }
    if (!by_file)
        return no_transport(e, o, no_mpi, no_nccl);
    int status = send_id_by_file(e, o);
    return status ? status : start_nccl(e, o);
}

int wf_join_process_start(struct wf_err *e, const struct wf_join_options *o,
                          struct wf_join_process **out)
{
    *out = NULL;
    if (process.over)
        return wf_fail(e, WF_MACHINE, "what joins ranks has ended before in this process");
    int status = process.data.thread ? WF_OK : start(e, o);
    if (status)
        (void)wf_join_process_end(e, o, false);
    *out = wf_join_process();
    return status;
}

struct wf_join_process *wf_join_process(void)
{
    return process.data.thread ? &process.data : NULL;
}

int wf_join_process_end(struct wf_err *e, const struct wf_join_options *o, bool leave)
{
    struct wf_wait wait = wf_join_wait(o, "taking leave", false);
    struct wf_transport_thread *data = process.data.thread, *mpi = process.mpi;
    int status = leave && data ? wf_transport_finish(e, data, &wait) : WF_OK;
    if (!status && leave && mpi && mpi != data)
        status = wf_transport_finish(e, mpi, &wait);
    if (leave && !status)
        process.running = NULL;
    wf_transport_close(data);
    if (mpi != data)
        wf_transport_close(mpi);
    process.data.thread = process.mpi = NULL;
    process.over = true;
    return status;
}

/* MPICH's process manager kills all ranks as soon as one ends without having left MPI, and returns
 * 9 or whatever comes first; an abort gives it the code. Others return the first code that is not
 * 0. */
void wf_join_abandon(int code)
{
    if (process.running && getenv("MPI_LOCALNRANKS"))
        process.running->abort(code);
}
