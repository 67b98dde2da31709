/* rank.h - which of how many processes of one merge this is, as the launcher says it.
 *
 * Launchers tell each process its place in the environment, before any library is opened:
 *
 *   WEFT_RANK and WEFT_RANKS, for scripts and launchers that are not known here;
 *   Open MPI, MPICH and its kin (PMI), MVAPICH, Slurm, Flux
 *
 * A batch script that runs outside srun is one process, though Slurm has set SLURM_PROCID and
 * SLURM_NTASKS for it: only a step has SLURM_STEP_ID and a number of tasks of its own. A process
 * manager inside a step (mpirun under Slurm) speaks for the ranks it started, so it is asked first.
 */
#ifndef WF_RANK_H
#define WF_RANK_H

#include <stdbool.h>

#include "../base/status.h"

#define WF_RANKS_OF_A_MERGE 4096u /* most */

struct wf_rank {
    unsigned rank, size;        /* 0 <= rank < size */
    unsigned local, local_size; /* among those on this machine */
    bool owns_devices;          /* the launcher has dealt out the GPUs that this process sees */
    const char *launcher;       /* "Slurm", ...; NULL: there is none */
    const char *size_variable;  /* where the size was read, for messages; NULL: nowhere */
};

/* Reads the environment; size 1 where no launcher speaks. `wanted`: 0 takes what the launcher says,
 * 1 is alone whatever it says, more must be its number (WF_USAGE otherwise). A variable that is no
 * number, or a rank beyond the size, is WF_USAGE. */
int wf_rank_find(struct wf_err *e, unsigned wanted, struct wf_rank *out);

/* For work that is one process': WF_USAGE where a launcher started several. `what` begins the
 * message. */
int wf_rank_alone(struct wf_err *e, unsigned wanted, const char *what);

/* The number of tasks of node `node` in a list like "3,1" or "2(x3),1"; 0: not to be found. */
unsigned wf_rank_tasks_of_node(const char *list, unsigned node);

#endif
