/* ranks.c - shares of a merge. */
#include "ranks.h"

#include "../base/file.h"
#include "../base/log.h"
#include "../dist/join_ranks.h"

bool wf_ranks_several(const struct wf_ranks *r)
{
    return r->self.size > 1;
}

bool wf_ranks_follows(const struct wf_ranks *r)
{
    return r->self.rank > 0;
}

int wf_ranks_check(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                   const struct wf_plan *after)
{
    char why[WF_LIBRARY_WHY_BYTES];
    r->after = after;
    if (!wf_ranks_several(r) || !plan->n_model_jobs || wf_join_is_possible(r->devices, why))
        return WF_OK;
    return wf_fail(
        e, WF_MACHINE,
        "%s needs statistics of the whole model, which %u ranks cannot join: %s; start it "
        "as one process",
        plan->recipe->method->name, r->self.size, why);
}

/* While ranks are joined the session says whether all are well. */
static int check(void *arg, struct wf_err *e)
{
    const struct wf_ranks *r = arg;
    int status = wf_err_status(e); /* of another thread of this rank */
    if (!status)
        status = wf_session_check(r->session, e);
    if (!status && r->word && wf_exists(r->word))
        status = wf_fail(e, WF_MACHINE, "another rank cannot");
    return status;
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
    r->folder = wf_path_join(plan->arena, e, partial, WF_RANKS_FOLDER);
    return r->folder ? wf_session_open(e, &o, &r->session) : WF_MACHINE;
}

int wf_ranks_deal(struct wf_err *e, const struct wf_ranks *r, const struct wf_plan *plan,
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
    wf_blocks_share(blocks, dealt.begin, dealt.ranks, r->self.rank);
    return WF_OK;
}

static struct wf_join_options join_options(struct wf_ranks *r)
{
    return (struct wf_join_options){.rank = r->self.rank,
                                    .ranks = r->self.size,
                                    .launcher = r->self.launcher,
                                    .size_variable = r->self.size_variable,
                                    .purpose = "statistics of the whole model",
                                    .folder = r->folder,
                                    .check = check,
                                    .arg = r,
                                    .devices = r->devices,
                                    .device = r->device};
}

/* Opens what only the second step needs. A rank that cannot leaves word of that in the ranks'
 * folder, so that nobody waits for it, and the step is rank 0's: all hear the same behind the
 * barrier. */
static int join_for_after(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan)
{
    struct wf_join_options join = join_options(r);
    char library[WF_LIBRARY_WHY_BYTES];
    struct wf_err why = {0};
    r->word = wf_path_join(plan->arena, e, r->folder, "alone");
    if (!r->word)
        return WF_MACHINE;
    bool joined = wf_join_is_possible(r->devices, library)
                      ? !wf_join_open(&why, &join, &r->join)
                      : (wf_fail(&why, WF_MACHINE, "%s", library), false);
    int status = wf_session_check(r->session, e);
    if (!status && !joined)
        status = wf_write_small(e, r->word, "", 0);
    if (!status)
        status = wf_session_barrier(e, r->session);
    r->after_alone = wf_exists(r->word);
    r->word = NULL;
    if (status || !r->after_alone)
        return status;
    wf_join_close(r->join);
    r->join = NULL;
    if (!wf_ranks_follows(r))
        wf_log(WF_LOG_INFO,
               "task_deltas need statistics of the whole model, which %u ranks cannot join, so "
               "rank 0 makes them alone: %s",
               r->self.size, joined ? "another rank cannot" : why.text);
    return WF_OK;
}

int wf_ranks_share(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                   struct wf_output *o, struct wf_blocks *blocks)
{
    if (!wf_ranks_several(r))
        return WF_OK;
    int status = wf_session_meet(e, r->session);
    if (!status && o->follows)
        status = wf_output_follow(e, o, plan, blocks);
    if (!status && plan->n_model_jobs) {
        struct wf_join_options join = join_options(r);
        status = wf_join_open(e, &join, &r->join);
    } else if (!status && r->after && r->after->n_model_jobs) {
        status = join_for_after(e, r, plan);
    }
    if (!status)
        status = wf_ranks_deal(e, r, plan, blocks);
    return status ? status : wf_output_begin_rank(e, o, plan, r->self.rank);
}

void wf_ranks_count(void *ranks, uint64_t *read, uint64_t *written)
{
    const struct wf_ranks *r = ranks;
    wf_session_count(r->session, *read, *written);
    if (r->sums_progress)
        wf_session_sums(r->session, read, written);
}

int wf_ranks_wait(struct wf_err *e, struct wf_ranks *r, uint64_t *read, uint64_t *written)
{
    wf_session_count(r->session, *read, *written);
    int status = wf_session_barrier(e, r->session);
    if (!status && !wf_ranks_follows(r))
        wf_session_sums(r->session, read, written);
    return status;
}

int wf_ranks_gather(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                    struct wf_output *o, struct wf_blocks *blocks, uint64_t *read,
                    uint64_t *written)
{
    if (!wf_ranks_several(r))
        return WF_OK;
    int status = wf_ranks_wait(e, r, read, written);
    if (status || o->follows)
        return status;
    status = wf_output_gather(e, o, plan, blocks);
    if (!status)
        status = wf_output_gather_shared(e, o, plan, blocks, r->user_stop);
    if (!status && !wf_blocks_all_done(blocks))
        status = wf_fail(e, WF_MACHINE,
                         "%s: all ranks are done and not all blocks are; do they share one file "
                         "system? --resume makes what is missing",
                         o->partial);
    return status;
}

/* One process that goes on with the work of several finds the records of those. */
static int remove_records(struct wf_err *e, const struct wf_plan *plan, const struct wf_output *o)
{
    const char *folder = wf_path_join(plan->arena, e, o->partial, WF_RANKS_FOLDER);
    return folder ? wf_remove_tree(e, folder) : WF_MACHINE;
}

int wf_ranks_leave(struct wf_err *e, struct wf_ranks *r, const struct wf_plan *plan,
                   const struct wf_output *o)
{
    if (!wf_ranks_several(r))
        return remove_records(e, plan, o);
    int status = wf_session_dissolve(e, r->session);
    return status || !o->follows ? status : wf_output_await(e, o, plan, r->user_stop);
}

int wf_ranks_end(struct wf_err *e, struct wf_ranks *r, const char *partial, int status)
{
    if (!wf_ranks_several(r))
        return status;
    if (r->session)
        status = wf_session_verdict(e, r->session, status);
    else if (status && wf_ranks_follows(r) && partial)
        wf_session_tell(&r->self, partial, e);
    wf_session_close(r->session, e);
    wf_join_close(r->join);
    r->session = NULL;
    r->join = NULL;
    return status;
}
