/* ranks.h - one merge of several processes: what each makes, and how they end.
 *
 *   wf_rank_find          who am I? (dist/rank.h)
 *   wf_ranks_check        can several do this merge?
 *   wf_ranks_open         OUT.partial is there: tell the others
 *   wf_ranks_share        all are there: which blocks are mine?
 *   wf_ranks_gather       mine are done; rank 0 knows all
 *   wf_ranks_deal, wf_ranks_wait     the same for a second step, over the result
 *   wf_ranks_leave        all is in OUT.partial: rank 0 is about to publish it, the others wait
 *   wf_ranks_end          good or bad
 *
 * With one process these do nothing, successfully; but for what several have left in OUT.partial.
 */
#ifndef WF_RANKS_H
#define WF_RANKS_H

#include "../base/mem.h"
#include "../dist/rank.h"
#include "../dist/session.h"
#include "../plan/deal.h"
#include "output.h"

struct wf_join;
struct wf_plugin;

struct wf_ranks {
    struct wf_rank self;
    struct wf_session *session;  /* NULL: one process, or not opened yet */
    struct wf_join *join;        /* NULL: no stage has model scope */
    const struct wf_plan *after; /* of the second step; NULL: there is none */
    bool after_alone;            /* rank 0 makes that one alone */
    const char *word;            /* while it is asked whether all can join: says that one cannot */
    bool sums_progress;          /* what is shown is the work of all */
    const struct wf_plugin *devices; /* GPUs compute; NULL: the CPU */
    uint32_t device;                 /* of this rank's, the first */
    const char *folder;              /* OUT.partial/ranks */
    const volatile int *user_stop;
};

/* True for rank r > 0 of several. */
bool wf_ranks_follows(const struct wf_ranks *r);
bool wf_ranks_several(const struct wf_ranks *r);

/* A stage of model scope with several ranks and nothing to join them is WF_MACHINE. `after` is the
 * plan of a second step, NULL if there is none: one of model scope is left to rank 0 where ranks
 * cannot be joined. With GPUs r->devices is set before. */
int wf_ranks_check(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                   const struct wf_plan *after);

int wf_ranks_open(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                  const char *partial);

/* Waits for all, opens what joins statistics of the model if there are any, then sets what of
 * `blocks` is this rank's: a share of the work that is left. Opens this rank's journal. What rank 0
 * has made in OUT.partial before is there for the others afterwards. */
int wf_ranks_share(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                   struct wf_output *o, struct wf_blocks *blocks);

/* Leaves to this process its share of what of `blocks`, those of `plan`, is not done. Every rank
 * finds the same deal: it depends on the plan, on what an earlier run has finished, and on the
 * number of ranks. */
int wf_ranks_deal(struct wf_err *e, const struct wf_ranks *r, const struct wf_plan *plan,
                  struct wf_blocks *blocks);

/* For struct wf_progress: tells the others how far this rank is, and is told. */
void wf_ranks_count(void *ranks, uint64_t *read, uint64_t *written);

/* Waits until every rank has called it. `read` and `written`, this rank's, become the sums of all
 * on rank 0. */
int wf_ranks_wait(struct wf_err *e, struct wf_ranks *r, uint64_t *read, uint64_t *written);

/* wf_ranks_wait, when this rank has made its blocks. Rank 0: gathers what the others say of theirs;
 * all are done then. */
int wf_ranks_gather(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                    struct wf_output *o, struct wf_blocks *blocks, uint64_t *read,
                    uint64_t *written);

/* Rank 0, everything being in OUT.partial: takes the files of the ranks away. The others: wait for
 * OUT. */
int wf_ranks_leave(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                   const struct wf_output *o);

/* The last call: others are told how it ended, and *e says which rank was the cause. Returns what
 * the status becomes. `partial`: where rank 0 can be told even though this rank has not joined it;
 * or NULL. */
int wf_ranks_end(struct wf_err *e, struct wf_ranks *r, const char *partial, int status);

#endif
