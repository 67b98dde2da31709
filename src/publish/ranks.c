/* ranks.c - shares of a merge. */
#include "ranks.h"

#include <string.h>

bool wf_ranks_several(const struct wf_ranks *r)
{
    return r->self.size > 1;
}

bool wf_ranks_follows(const struct wf_ranks *r)
{
    return r->self.rank > 0;
}

int wf_ranks_join(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan)
{
    if (!wf_ranks_several(r) || !plan->n_model_jobs)
        return WF_OK;
    return wf_fail(e, WF_MACHINE,
                   "statistics of the whole model need MPI to be joined across %u ranks, and this "
                   "weft has none; start it as one process",
                   r->self.size);
}

int wf_ranks_open(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                  const char *partial)
{
    struct wf_session_part parts[WF_PARTS];
    for (unsigned i = 0; i < WF_PARTS; i++)
        parts[i] =
            (struct wf_session_part){wf_plan_part_name((enum wf_plan_part)i), plan->parts[i]};
    struct wf_session_options o = {.rank = &r->self,
                                   .partial = partial,
                                   .plan = plan->hash,
                                   .parts = parts,
                                   .n_parts = WF_PARTS,
                                   .stop = r->user_stop};
    return wf_session_open(e, &o, &r->session);
}

/* Every rank finds the same deal: it depends on the plan, on what an earlier run has finished, and
 * on the number of ranks. */
static int deal(struct wf_err *e, const struct wf_ranks *r, const struct wf_plan *plan,
                struct wf_blocks *blocks)
{
    uint64_t n = blocks->first[plan->n_shards];
    bool *done = wf_arena_alloc(plan->arena, e, n, sizeof *done);
    struct wf_deal dealt;
    if (!done)
        return WF_MACHINE;
    for (uint64_t i = 0; i < n; i++)
        done[i] = blocks->blocks[i].done;
    struct wf_deal_work work = {.done = done, .model_passes = plan->passes - 1};
    int status = wf_deal_make(e, plan->arena, plan, &work, r->self.size, &dealt);
    if (status)
        return status;
    blocks->first_mine = dealt.first[r->self.rank];
    blocks->end_mine = dealt.first[r->self.rank + 1];
    return WF_OK;
}

int wf_ranks_share(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                   struct wf_output *o, struct wf_blocks *blocks, bool alone)
{
    if (!wf_ranks_several(r))
        return WF_OK;
    int status = wf_session_meet(e, r->session);
    if (!status && o->follows)
        status = wf_output_follow(e, o, plan, blocks);
    if (!status && !alone)
        status = deal(e, r, plan, blocks);
    else if (!status && o->follows)
        blocks->first_mine = blocks->end_mine = 0;
    return status ? status : wf_output_begin_rank(e, o, plan, r->self.rank);
}

int wf_ranks_gather(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                    struct wf_output *o, struct wf_blocks *blocks, uint64_t *read,
                    uint64_t *written)
{
    if (!wf_ranks_several(r))
        return WF_OK;
    wf_session_count(r->session, *read, *written);
    int status = wf_session_barrier(e, r->session);
    if (status || o->follows)
        return status;
    wf_session_sums(r->session, read, written);
    status = wf_output_gather(e, o, plan, blocks);
    if (!status && !wf_blocks_all_done(blocks))
        status = wf_fail(e, WF_MACHINE,
                         "%s: all ranks are done and not all blocks are; do they share one file "
                         "system? --resume makes what is missing",
                         o->partial);
    return status;
}

int wf_ranks_leave(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                   const struct wf_output *o)
{
    if (!wf_ranks_several(r))
        return WF_OK;
    int status = wf_session_dissolve(e, r->session);
    return status || !o->follows ? status : wf_output_await(e, o, plan);
}

int wf_ranks_end(struct wf_err *e, struct wf_ranks *r, const char *partial, int status)
{
    if (!wf_ranks_several(r))
        return status;
    if (r->session)
        status = wf_session_verdict(e, r->session, status);
    else if (status && status != WF_STOPPED && wf_ranks_follows(r) && partial)
        wf_session_tell(&r->self, partial, e);
    wf_session_close(r->session, e);
    r->session = NULL;
    return status;
}
