/* join_ranks.h - a struct wf_join over a transport between the ranks of a merge: MPI, or NCCL where
 * GPUs compute. (One process with several GPUs needs none: its lanes' partial results meet in host
 * memory.)
 *
 * An operation begins with a meeting: one sum of a few words, which tells every rank that all are
 * there, that they want the same thing, and how much each of them brings. For the slowest rank one
 * waits as long as it is alive (`check` says) and `meet_ms` has not passed; after that data moves
 * in pieces of a fixed size, each of which has move_ms. So there is a limit to every wait, a
 * mistake is an error instead of a deadlock, and no count grows beyond what MPI can say.
 */
#ifndef WF_JOIN_RANKS_H
#define WF_JOIN_RANKS_H

#include <stdbool.h>

#include "../base/library.h"
#include "../stage/join.h"
#include "../../kernels/plugin.h"

#define WF_JOIN_MEET_MS ((uint64_t)24 * 60 * 60 * 1000)
#define WF_JOIN_MOVE_MS ((uint64_t)300 * 1000)
#define WF_JOIN_ROOM_BYTES ((size_t)8 << 20) /* memory that a join takes */

struct wf_join_options {
    unsigned rank, ranks;      /* as the environment says */
    const char *launcher;      /* who says so, for messages: "Slurm"; NULL: the environment */
    const char *size_variable; /* where: "SLURM_STEP_NUM_TASKS"; may be NULL */
    const char *purpose;       /* what is to be joined: "statistics of the whole model" */
    /* Called while waiting, several times a second: WF_OK, or a status with *e filled, when another
     * rank has failed or a signal came. May be NULL. */
    int (*check)(void *arg, struct wf_err *e);
    void *arg;
    /* Where NCCL's id is left where there is no MPI: a folder that all ranks share, and in which
     * none is from an earlier run; NULL: there is none. Lives as long as the join. */
    const char *folder;
    /* GPUs compute, one at least for this rank alone; NULL: the CPU computes, or a GPU that is
     * shared with other ranks, which NCCL does not like. */
    const struct wf_plugin *devices;
    uint32_t device;           /* which of them, as the plugin numbers them */
    uint64_t meet_ms, move_ms; /* 0: as above */
    size_t room_bytes;         /* 0: as above */
};

/* Starts the transport with the first call of a process, and meets the other ranks: all ranks call
 * it. WF_MACHINE where there is no transport, or it sees another rank or number of ranks than the
 * launcher: the sentence says what to do. */
int wf_join_open(struct wf_err *e, const struct wf_join_options *o, struct wf_join **out);

/* Never waits; the transport stays for the next join of this process. Accepts NULL. */
void wf_join_close(struct wf_join *join);

/* The last thing that a process does with other ranks: takes leave of them, if wf_join_open was
 * called. All ranks call it; it waits for the slowest, as `o` says. A rank that failed, or whose
 * merge did, ends without: what it had begun is given up. */
int wf_join_finish(struct wf_err *e, const struct wf_join_options *o);

/* The last thing that a process does when its merge has failed or was stopped, and all ranks have
 * ended theirs: under launchers that would make another status of that, ends the program with
 * `code`. */
void wf_join_abandon(int code);

/* Whether ranks could be joined here, without starting anything: the name of what would do it, or
 * why not. `devices` as above. */
bool wf_join_is_possible(const struct wf_plugin *devices, char text[WF_LIBRARY_WHY_BYTES]);

#endif
