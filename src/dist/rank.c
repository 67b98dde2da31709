/* rank.c - ranks from the environment. */
#include "rank.h"

#include <stdlib.h>
#include <string.h>

#include "../base/num.h"

/* What a launcher calls its variables. Only where `size` and `rank` are set does it count. */
struct launcher {
    const char *name, *rank, *size, *local, *local_size;
    const char *nodes; /* how many there are, all with as many ranks; or NULL */
    const char *step;  /* a variable that must be there as well; or NULL */
};

/* In the order in which they are asked: who was started by another comes first. */
static const struct launcher managers[] = {
    {"WEFT_RANK", "WEFT_RANK", "WEFT_RANKS", "WEFT_LOCAL_RANK", "WEFT_LOCAL_RANKS", NULL, NULL},
    {"PMI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", NULL, NULL},
    {"Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
     "OMPI_COMM_WORLD_LOCAL_SIZE", NULL, NULL},
    {"MVAPICH", "MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_RANK",
     "MV2_COMM_WORLD_LOCAL_SIZE", NULL, NULL},
    {"Flux", "FLUX_TASK_RANK", "FLUX_JOB_SIZE", "FLUX_TASK_LOCAL_ID", NULL, "FLUX_JOB_NNODES",
     NULL},
};

static const struct launcher slurm = {
    "Slurm", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", NULL, NULL, "SLURM_STEP_ID"};

/* A variable that holds a number; false and nothing read if it is not set. */
static int read_number(struct wf_err *e, const char *name, bool *is_set, unsigned *out)
{
    const char *text = name ? getenv(name) : NULL;
    uint64_t n;
    *is_set = text != NULL && *text;
    if (!*is_set)
        return WF_OK;
    if (!wf_parse_u64(text, strlen(text), &n) || n > WF_RANKS_OF_A_MERGE)
        return wf_fail(e, WF_USAGE,
                       "the launcher's %s is '%s', which is no number of ranks up to %u; "
                       "--ranks 1 runs alone",
                       name, text, WF_RANKS_OF_A_MERGE);
    *out = (unsigned)n;
    return WF_OK;
}

unsigned wf_rank_tasks_of_node(const char *list, unsigned node)
{
    for (const char *p = list; *p;) {
        size_t n = strspn(p, "0123456789");
        uint64_t tasks, times = 1;
        if (!wf_parse_u64(p, n, &tasks))
            return 0;
        p += n;
        if (!strncmp(p, "(x", 2)) {
            p += 2;
            n = strspn(p, "0123456789");
            if (!wf_parse_u64(p, n, &times) || p[n] != ')')
                return 0;
            p += n + 1;
        }
        if (node < times)
            return tasks <= WF_RANKS_OF_A_MERGE ? (unsigned)tasks : 0;
        node -= (unsigned)times;
        p += *p == ',';
    }
    return 0;
}

/* Slurm has no variable for it, but a list with an entry for each node. */
static void find_local_size(struct wf_rank *r)
{
    const char *list = getenv("SLURM_STEP_TASKS_PER_NODE"), *node = getenv("SLURM_NODEID");
    uint64_t n;
    if (list && node && wf_parse_u64(node, strlen(node), &n) && n <= WF_RANKS_OF_A_MERGE)
        r->local_size = wf_rank_tasks_of_node(list, (unsigned)n);
}

/* Takes what a launcher says, if it says anything. */
static int ask(struct wf_err *e, const struct launcher *l, struct wf_rank *r)
{
    struct wf_rank said = {.launcher = l->name, .size_variable = l->size};
    bool has_rank, has_size, has_local = false, has_local_size = false, has_nodes = false;
    unsigned nodes = 0;
    if (r->launcher || (l->step && !getenv(l->step)))
        return WF_OK;
    int status = read_number(e, l->size, &has_size, &said.size);
    if (!status && has_size)
        status = read_number(e, l->rank, &has_rank, &said.rank);
    if (status || !has_size || !has_rank)
        return status;
    if (said.rank >= said.size)
        return wf_fail(e, WF_USAGE,
                       "the launcher says rank %u of %u (%s, %s); --ranks 1 runs alone", said.rank,
                       said.size, l->rank, l->size);
    status = read_number(e, l->local, &has_local, &said.local);
    if (!status)
        status = read_number(e, l->local_size, &has_local_size, &said.local_size);
    if (!status && l->nodes)
        status = read_number(e, l->nodes, &has_nodes, &nodes);
    if (!status && has_nodes && nodes)
        said.local_size = (said.size + nodes - 1) / nodes;
    if (!status && !has_local_size && l->step)
        find_local_size(&said);
    if (!status && has_local && l->local_size && !has_local_size)
        status =
            wf_fail(e, WF_USAGE, "%s is set and %s is not; ranks of one machine share its memory",
                    l->local, l->local_size);
    if (said.local >= said.local_size || said.local_size > said.size) /* unknown, or nonsense */
        said.local_size = said.local + 1;
    *r = said;
    return status;
}

/* Slurm's own process manager (srun --mpi=pmi2) gives rank and size only; the step says more. */
static int find_local(struct wf_err *e, struct wf_rank *r)
{
    struct wf_rank step = {0};
    if (!r->launcher || strcmp(r->launcher, "PMI") || getenv("MPI_LOCALRANKID"))
        return WF_OK;
    int status = ask(e, &slurm, &step);
    if (!status && step.launcher && step.rank == r->rank && step.size == r->size)
        *r = step;
    return status;
}

/* Slurm shows all of a node's GPUs to each task, unless it is told to bind them. */
static bool owns_devices(void)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES"), *here = getenv("SLURM_GPUS_ON_NODE");
    uint64_t on_node, seen = 1;
    if (getenv("SLURM_GPUS_PER_TASK"))
        return true;
    if (!visible || !here || !wf_parse_u64(here, strlen(here), &on_node))
        return false;
    for (const char *p = visible; *p; p++)
        seen += *p == ',';
    return seen < on_node;
}

/* Those that people set by hand are set both, or neither. */
static int check_own_variables(struct wf_err *e)
{
    const char *rank = getenv("WEFT_RANK"), *ranks = getenv("WEFT_RANKS");
    if (!rank == !ranks && (!rank || (*rank && *ranks)))
        return WF_OK;
    return wf_fail(e, WF_USAGE,
                   "WEFT_RANK is '%s' and WEFT_RANKS is '%s': set both to numbers, or neither; "
                   "--ranks 1 runs alone",
                   rank ? rank : "", ranks ? ranks : "");
}

int wf_rank_alone(struct wf_err *e, unsigned wanted, const char *what)
{
    struct wf_rank rank;
    int status = wf_rank_find(e, wanted, &rank);
    if (!status && rank.size > 1)
        return wf_fail(e, WF_USAGE, "%s is one process, and %s started %u; start it once", what,
                       rank.launcher, rank.size);
    return status;
}

int wf_rank_find(struct wf_err *e, unsigned wanted, struct wf_rank *out)
{
    struct wf_rank r = {0};
    int status = WF_OK;
    if (wanted != 1)
        status = check_own_variables(e);
    if (!status && wanted != 1) {
        for (size_t i = 0; !status && i < sizeof managers / sizeof *managers; i++)
            status = ask(e, &managers[i], &r);
        if (!status)
            status = find_local(e, &r);
        if (!status)
            status = ask(e, &slurm, &r);
    }
    if (status)
        return status;
    if (!r.launcher)
        r.size = r.local_size = 1;
    r.owns_devices = owns_devices();
    if (wanted > 1 && r.size != wanted)
        return r.launcher
                   ? wf_fail(e, WF_USAGE, "--ranks %u, and %s (%s) started %u", wanted, r.launcher,
                             r.size_variable, r.size)
                   : wf_fail(e, WF_USAGE,
                             "--ranks %u, and no launcher (srun, mpirun) started this process",
                             wanted);
    *out = r;
    return WF_OK;
}
