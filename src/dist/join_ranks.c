/* join_ranks.c - sums and gatherings over a transport: meetings, pieces, and the process's one
 * transport.
 */
#include "join_ranks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/mem.h"
#include "../base/num.h"
#include "mpi_open.h"
#include "transport_thread.h"

#define GATHER_ALIGN 16u

/* MPI can be started once in a process, so what is started is kept from merge to merge. */
static struct {
    struct wf_transport_thread *thread;
    size_t room; /* of its buffer */
    unsigned rank, ranks;
    uint64_t operations; /* meetings held so far: equal on all ranks */
} process;

struct ranks_join {
    struct wf_join join; /* the first: what is handed out */
    struct wf_join_options o;
    char doing[128];
    uint64_t sizes[]; /* of each rank, in the operation under way */
};

/* ---- waits ---- */

static struct wf_wait waiting(const struct wf_join_options *o, const char *doing, bool meeting)
{
    uint64_t meet = o->meet_ms ? o->meet_ms : WF_JOIN_MEET_MS;
    uint64_t move = o->move_ms ? o->move_ms : WF_JOIN_MOVE_MS;
    return (struct wf_wait){
        .limit_ms = meeting ? meet : move, .check = o->check, .arg = o->arg, .doing = doing};
}

/* ---- meetings ---- */

enum operation { OPENED = 1, SUM, GATHER, FINISHED };

/* A word that differs between operations: summed over ranks it gives away one that is out of
 * step. */
static uint64_t tag(enum operation op)
{
    return (process.operations * 8 + op) * 0x9e3779b97f4a7c15u;
}

/* Waits until all ranks are at this operation. sizes[] (NULL: of no interest) gets what each of
 * them brings. buffer: tag, sizes. */
static int meet(struct wf_err *e, const struct wf_wait *wait, enum operation op, uint64_t mine,
                uint64_t *sizes)
{
    uint64_t *words = wf_transport_buffer(process.thread);
    process.operations++;
    memset(words, 0, (1 + (size_t)process.ranks) * sizeof *words);
    words[0] = tag(op);
    words[1 + process.rank] = mine;
    int status = wf_transport_sum(e, process.thread, wait, 1 + (size_t)process.ranks);
    if (status)
        return status;
    if (words[0] != tag(op) * process.ranks)
        return wf_fail(e, WF_BUG, "ranks are out of step while %s", wait->doing);
    if (sizes)
        memcpy(sizes, words + 1, process.ranks * sizeof *sizes);
    return WF_OK;
}

/* ---- the two operations ---- */

static int sum(void *arg, struct wf_err *e, uint64_t *values, size_t n)
{
    struct ranks_join *j = arg;
    uint64_t *words = wf_transport_buffer(process.thread);
    struct wf_wait arrive = waiting(&j->o, j->doing, true), move = waiting(&j->o, j->doing, false);
    size_t most = process.room / sizeof *words;
    int status = meet(e, &arrive, SUM, n, j->sizes);
    for (unsigned r = 0; !status && r < process.ranks; r++)
        if (j->sizes[r] != n)
            status = wf_fail(e, WF_BUG, "rank %u sums %" PRIu64 " values, rank %u %zu", r,
                             j->sizes[r], process.rank, n);
    for (size_t at = 0, piece; !status && at < n; at += piece) {
        piece = n - at < most ? n - at : most;
        memcpy(words, values + at, piece * sizeof *words);
        status = wf_transport_sum(e, process.thread, &move, piece);
        if (!status)
            memcpy(values + at, words, piece * sizeof *words);
    }
    return status;
}

/* The part of [at, at + piece) that something of `size` bytes has. */
static size_t part(uint64_t size, uint64_t at, size_t piece)
{
    return at >= size ? 0 : (size_t)wf_min_u64(piece, size - at);
}

/* Pieces [at, at + piece) of all ranks, which stand side by side in the buffer, to their places. */
static void spread(const struct ranks_join *j, const char *pieces, uint64_t at, size_t piece,
                   char *all)
{
    for (unsigned r = 0; r < process.ranks; r++) {
        size_t n = part(j->sizes[r], at, piece);
        if (n)
            memcpy(all + at, pieces + r * piece, n);
        all += j->sizes[r];
    }
}

static int gather(void *arg, struct wf_err *e, const void *mine, size_t bytes, void *all,
                  size_t most, size_t *total)
{
    struct ranks_join *j = arg;
    char *buffer = wf_transport_buffer(process.thread);
    struct wf_wait arrive = waiting(&j->o, j->doing, true), move = waiting(&j->o, j->doing, false);
    size_t room = wf_round_down(process.room / (1 + (size_t)process.ranks), GATHER_ALIGN);
    uint64_t sum_of = 0, largest = 0;
    *total = 0;
    int status = meet(e, &arrive, GATHER, bytes, j->sizes);
    for (unsigned r = 0; !status && r < process.ranks; r++) {
        largest = largest > j->sizes[r] ? largest : j->sizes[r];
        if (j->sizes[r] > most - sum_of)
            status = wf_fail(e, WF_BUG, "ranks gather more than %zu bytes", most);
        else
            sum_of += j->sizes[r];
    }
    for (uint64_t at = 0; !status && at < largest;) {
        size_t piece = (size_t)wf_min_u64(room, wf_round_up(largest - at, GATHER_ALIGN));
        size_t n = part(bytes, at, piece);
        memset(buffer + n, 0, piece - n);
        if (n)
            memcpy(buffer, (const char *)mine + at, n);
        status = wf_transport_gather(e, process.thread, &move, piece);
        if (!status)
            spread(j, buffer + piece, at, piece, all);
        at += piece;
    }
    *total = status ? 0 : (size_t)sum_of;
    return status;
}

/* ---- open, close ---- */

static int compare_ranks(struct wf_err *e, const struct wf_join_options *o, const char *name,
                         unsigned rank, unsigned ranks)
{
    const char *who = o->launcher ? o->launcher : "the environment";
    char variable[64] = "";
    if (rank == o->rank && ranks == o->ranks)
        return WF_OK;
    if (o->size_variable)
        snprintf(variable, sizeof variable, " (%s)", o->size_variable);
    return wf_fail(e, WF_MACHINE,
                   "MPI sees rank %u of %u, and %s%s says rank %u of %u: this is %s; start with "
                   "its own mpirun, or with the srun --mpi=... that it needs (pmi2 for MPICH, pmix "
                   "for Open MPI). Methods that never look at the whole model need no MPI",
                   rank, ranks, who, variable, o->rank, o->ranks, name);
}

static int no_transport(struct wf_err *e, const struct wf_join_options *o, const char *why)
{
    return wf_fail(e, WF_MACHINE,
                   "%s cannot be joined over %u ranks without MPI: %s. One rank, or a method that "
                   "does not look at the whole model, needs none",
                   o->purpose, o->ranks, why);
}

/* Starts MPI, and finds it to be the launcher's. */
static int start_process(struct wf_err *e, const struct wf_join_options *o)
{
    /* A meeting fits in, and a piece of a gathering. */
    size_t least = (1 + (size_t)o->ranks) * GATHER_ALIGN;
    char why[WF_LIBRARY_WHY_BYTES] = "", name[256];
    struct wf_wait wait = waiting(o, "starting MPI", false);
    const struct wf_mpi *mpi = wf_mpi_open(why);
    if (!mpi)
        return no_transport(e, o, why);
    mpi->library(name);
    process.room = o->room_bytes ? o->room_bytes : WF_JOIN_ROOM_BYTES;
    process.room = process.room > least ? process.room : least;
    int status = wf_transport_open(e, &mpi->transport, process.room, &process.thread);
    if (!status)
        status = wf_transport_start(e, process.thread, &wait, &process.rank, &process.ranks);
    if (!status)
        status = compare_ranks(e, o, name, process.rank, process.ranks);
    if (status) {
        wf_transport_close(process.thread);
        process.thread = NULL;
    }
    return status;
}

int wf_join_open(struct wf_err *e, const struct wf_join_options *o, struct wf_join **out)
{
    *out = NULL;
    struct ranks_join *j =
        wf_alloc(e, WF_MEM_META, 1, sizeof *j + o->ranks * sizeof *j->sizes, "what joins ranks");
    if (!j)
        return WF_MACHINE;
    j->o = *o;
    snprintf(j->doing, sizeof j->doing, "joining %s", o->purpose);
    j->join = (struct wf_join){.ranks = o->ranks, .sum = sum, .gather = gather, .arg = j};
    int status = process.thread ? WF_OK : start_process(e, o);
    if (!status) {
        struct wf_wait wait = waiting(o, j->doing, true);
        status = meet(e, &wait, OPENED, 0, NULL);
    }
    if (status)
        wf_free(j);
    else
        *out = &j->join;
    return status;
}

void wf_join_close(struct wf_join *join)
{
    wf_free(join);
}

int wf_join_finish(struct wf_err *e, const struct wf_join_options *o)
{
    int status = WF_OK;
    if (!process.thread)
        return WF_OK;
    if (!wf_transport_is_broken(process.thread)) {
        struct wf_wait arrive = waiting(o, "taking leave", true);
        struct wf_wait leave = waiting(o, "taking leave", false);
        status = meet(e, &arrive, FINISHED, 0, NULL);
        if (!status)
            status = wf_transport_finish(e, process.thread, &leave);
    }
    wf_transport_close(process.thread);
    process.thread = NULL;
    return status;
}

bool wf_join_is_possible(char text[WF_LIBRARY_WHY_BYTES])
{
    const struct wf_mpi *mpi = wf_mpi_open(text);
    if (mpi)
        mpi->library(text);
    return mpi != NULL;
}
