/* mpi_plugin.c - the transport over MPI. The one file that includes mpi.h; it is libweft_mpi.so.
 *
 * Collectives are begun (MPI_Iallreduce, MPI_Iallgather) and tested, so that a rank that never
 * comes costs the others a limit and not for ever. Errors are returned: MPI would end the program
 * otherwise. A program that has libweft inside may have started MPI itself; then weft uses it, on a
 * communicator of its own, and leaves the end to that program.
 */
#include "mpi_plugin.h"

#include <limits.h>
#include <mpi.h>
#include <stdio.h>
#include <string.h>

static struct {
    MPI_Comm comm;
    MPI_Request request; /* of what is under way; MPI_REQUEST_NULL: nothing */
    int ranks;
    int started_here;
} state = {.comm = MPI_COMM_NULL, .request = MPI_REQUEST_NULL};

/* 0 where `code` is success. */
static int check(struct wf_transport_err *e, const char *call, int code)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int n = 0;
    if (code == MPI_SUCCESS)
        return 0;
    if (MPI_Error_string(code, text, &n) != MPI_SUCCESS)
        snprintf(text, sizeof text, "error %d", code);
    text[strcspn(text, "\n")] = '\0';
    e->code = code;
    snprintf(e->text, sizeof e->text, "%s: %.200s", call, text);
    return code;
}

static int refuse(struct wf_transport_err *e, const char *text)
{
    e->code = -1;
    snprintf(e->text, sizeof e->text, "%s", text);
    return e->code;
}

static int initialise(struct wf_transport_err *e)
{
    int there = 0, over = 0, level = MPI_THREAD_SINGLE, code;
    MPI_Initialized(&there);
    MPI_Finalized(&over);
    if (over)
        return refuse(e, "MPI_Finalize was called before: it cannot be started twice");
    if (!there) {
        state.started_here = 1;
        code = MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &level);
    } else {
        code = MPI_Query_thread(&level);
    }
    if (check(e, there ? "MPI_Query_thread" : "MPI_Init_thread", code))
        return code;
    /* The thread that starts MPI is the one that makes all calls: funneled is enough for it. */
    if (level >= (there ? MPI_THREAD_SERIALIZED : MPI_THREAD_FUNNELED))
        return 0;
    return refuse(e, "this MPI allows no calls from a thread (MPI_THREAD_SERIALIZED)");
}

static int start(void *self, struct wf_transport_err *e, uint32_t *rank, uint32_t *ranks)
{
    int mine = 0, code = initialise(e);
    (void)self;
    if (code || (code = check(e, "MPI_Comm_dup", MPI_Comm_dup(MPI_COMM_WORLD, &state.comm))))
        return code;
    MPI_Comm_set_errhandler(state.comm, MPI_ERRORS_RETURN);
    if ((code = check(e, "MPI_Comm_rank", MPI_Comm_rank(state.comm, &mine))) ||
        (code = check(e, "MPI_Comm_size", MPI_Comm_size(state.comm, &state.ranks))))
        return code;
    *rank = (uint32_t)mine;
    *ranks = (uint32_t)state.ranks;
    return 0;
}

static int sum(void *self, struct wf_transport_err *e, uint64_t *values, size_t n)
{
    (void)self;
    if (n > INT_MAX)
        return refuse(e, "a sum of more than INT_MAX values");
    return check(e, "MPI_Iallreduce",
                 MPI_Iallreduce(MPI_IN_PLACE, values, (int)n, MPI_UINT64_T, MPI_SUM, state.comm,
                                &state.request));
}

static int gather(void *self, struct wf_transport_err *e, const void *mine, size_t bytes, void *all)
{
    (void)self;
    if (bytes > INT_MAX / (size_t)state.ranks)
        return refuse(e, "a gathering of more than INT_MAX bytes");
    return check(e, "MPI_Iallgather",
                 MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, state.comm,
                                &state.request));
}

static int test(void *self, struct wf_transport_err *e, int *done)
{
    (void)self;
    return check(e, "MPI_Test", MPI_Test(&state.request, done, MPI_STATUS_IGNORE));
}

static int finish(void *self, struct wf_transport_err *e)
{
    int code = check(e, "MPI_Comm_free", MPI_Comm_free(&state.comm));
    (void)self;
    if (!code && state.started_here)
        code = check(e, "MPI_Finalize", MPI_Finalize());
    return code;
}

/* MPIs say who they are in many ways, some with the flags of their build in lines that follow. */
static void describe(char text[256])
{
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = "";
    int n = 0;
    MPI_Get_library_version(version, &n);
    version[strcspn(version, "\n")] = '\0';
    snprintf(text, 256, "%.255s", version);
    for (char *c = text; *c; c++)
        if (*c == '\t' || *c == ':')
            *c = ' ';
    for (char *c = text; *c;) /* one space where there were several */
        if (c[0] == ' ' && (c[1] == ' ' || c[1] == '\0'))
            memmove(c, c + 1, strlen(c));
        else
            c++;
}

/* Not where a program that uses MPI itself has merely called weft. */
static void give_up(int code)
{
    if (state.started_here)
        MPI_Abort(MPI_COMM_WORLD, code);
}

__attribute__((visibility("default"))) const struct wf_mpi *weft_mpi_get(void);
const struct wf_mpi *weft_mpi_get(void)
{
    static const struct wf_mpi table = {
        .abi = WF_MPI_ABI,
        .bytes = sizeof table,
        .describe = describe,
        .abort = give_up,
        .transport = {.name = "MPI",
                      .start = start,
                      .sum = sum,
                      .gather = gather,
                      .test = test,
                      .finish = finish},
    };
    return &table;
}
