/* rank_output.c - OUT.partial as several ranks see it: rank 0 makes and publishes it, all write.
 *
 *   weft.journal     rank 0: what was finished before this run; others read it
 *   weft.journal.3   rank 3: what it finishes in this run
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/file.h"
#include "../base/num.h"
#include "../format/folder.h"
#include "made_file.h"
#include "output.h"
#include "provenance.h"

#define AWAIT_S 60u /* for a rename to show on every machine */
#define LOOK_US 20000

/* Blocks of one rank's journal that are news. */
struct gathering {
    struct wf_blocks *blocks;
    bool *listed; /* by block: it is among those found. What is done may be this process' own, of
                     which the journal of all does not speak yet */
    struct wf_journal_block *found;
    size_t n;
};

static void gather_block(void *arg, uint32_t shard, uint64_t block, const struct wf_hash128 *hash)
{
    struct gathering *g = arg;
    if (block >= wf_plan_blocks(g->blocks->plan, shard))
        return;
    uint64_t number = g->blocks->first[shard] + block;
    wf_blocks_mark(g->blocks, shard, block, hash);
    if (!g->blocks->blocks[number].done || g->listed[number])
        return;
    g->listed[number] = true;
    struct wf_journal_block *k = &g->found[g->n++];
    *k = (struct wf_journal_block){.shard = shard, .block = block, .hashed = hash != NULL};
    if (hash)
        k->hash = *hash;
}

static int gather_one(struct wf_err *e, const struct wf_plan *plan, const char *path,
                      struct gathering *g)
{
    enum wf_journal_state state;
    enum wf_plan_part differs;
    struct wf_journal j;
    int status = wf_journal_look(e, path, &j);
    if (!status)
        status = wf_journal_load(e, &j, plan, &state, &differs, gather_block, g);
    wf_journal_close(&j);
    return status;
}

/* "weft.journal.17" */
static bool is_rank_journal(const char *name)
{
    size_t n = strlen(WF_JOURNAL_NAME);
    return !strncmp(name, WF_JOURNAL_NAME, n) && name[n] == '.';
}

int wf_output_gather(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan,
                     struct wf_blocks *blocks)
{
    uint64_t n_blocks = blocks->first[plan->n_shards];
    struct gathering g = {.blocks = blocks};
    struct wf_arena a = {0};
    const char **names;
    size_t n_names;
    g.found = wf_arena_alloc(&a, e, n_blocks, sizeof *g.found);
    g.listed = wf_arena_alloc(&a, e, n_blocks, sizeof *g.listed);
    int status =
        g.found && g.listed ? wf_folder_names(e, &a, o->partial, &names, &n_names) : WF_MACHINE;
    for (int removing = 0; !status && removing < 2; removing++) {
        for (size_t i = 0; !status && i < n_names; i++) {
            const char *path =
                is_rank_journal(names[i]) ? wf_path_join(&a, e, o->partial, names[i]) : NULL;
            if (path && removing)
                status = wf_remove_tree(e, path);
            else if (path)
                status = gather_one(e, plan, path, &g);
        }
        if (!status && !removing && g.n)
            status = wf_journal_add(e, &o->journal, g.found, g.n);
    }
    wf_arena_destroy(&a);
    return status;
}

static int hash_block(struct wf_err *e, const struct wf_output *o, const struct wf_plan *plan,
                      uint32_t shard, uint64_t block, const volatile int *stop,
                      struct wf_hash128 *out)
{
    const char *path = wf_path_join(plan->arena, e, o->partial, plan->shards[shard].name);
    return path ? wf_made_file_hash(e, path, block, 1, stop, out) : WF_MACHINE;
}

int wf_output_gather_shared(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan,
                            struct wf_blocks *blocks, const volatile int *stop)
{
    uint64_t n_blocks = blocks->first[plan->n_shards];
    struct gathering g = {.blocks = blocks};
    g.found = wf_arena_alloc(plan->arena, e, n_blocks, sizeof *g.found);
    g.listed = wf_arena_alloc(plan->arena, e, n_blocks, sizeof *g.listed);
    int status = g.found && g.listed ? WF_OK : WF_MACHINE;
    for (uint32_t s = 0; !status && s < plan->n_shards; s++)
        for (uint64_t k = 0; !status && k < wf_plan_blocks(plan, s); k++) {
            struct wf_hash128 hash;
            if (!wf_blocks_at(blocks, s, k)->shared)
                continue;
            if (blocks->hashing)
                status = hash_block(e, o, plan, s, k, stop, &hash);
            if (!status)
                gather_block(&g, s, k, blocks->hashing ? &hash : NULL);
        }
    return status || !g.n ? status : wf_journal_add(e, &o->journal, g.found, g.n);
}

int wf_output_follow(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan,
                     struct wf_blocks *blocks)
{
    enum wf_journal_state state;
    enum wf_plan_part differs;
    struct wf_journal j;
    int status = wf_journal_look(e, o->journal_path, &j);
    if (!status)
        status = wf_journal_load(e, &j, plan, &state, &differs, wf_blocks_mark, blocks);
    wf_journal_close(&j);
    if (!status && state != WF_JOURNAL_SAME)
        status = wf_fail(e, WF_MACHINE,
                         "%s is not the journal that rank 0 has opened; do all ranks see the same "
                         "file system?",
                         o->journal_path);
    return status;
}

int wf_output_begin_rank(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan,
                         unsigned rank)
{
    o->own_path = wf_arena_printf(plan->arena, e, "%s.%u", o->journal_path, rank);
    if (!o->own_path)
        return WF_MACHINE;
    int status = wf_remove_tree(e, o->own_path); /* whatever it is: nobody at work has it */
    if (!status)
        status = wf_journal_open(e, o->own_path, true, &o->own);
    return status ? status : wf_journal_begin(e, &o->own, plan);
}

int wf_output_await(struct wf_err *e, const struct wf_output *o, const struct wf_plan *plan,
                    const volatile int *stop)
{
    enum wf_plan_part differs;
    bool same;
    for (uint64_t begin = wf_now_ns(); wf_now_ns() - begin < AWAIT_S * UINT64_C(1000000000);) {
        /* An old OUT may be of the same plan: OUT.partial is gone when the new one is there. */
        if (!wf_exists(o->partial) && wf_manifest_matches(o->out, plan, &same, &differs) && same)
            return WF_OK;
        if (*stop)
            return wf_fail(e, WF_STOPPED,
                           "stopped by a signal while rank 0 publishes %s; run the same command "
                           "with --resume to see it through",
                           o->out);
        usleep(LOOK_US);
    }
    return wf_fail(e, WF_MACHINE, "rank 0 has not published %s within %u seconds", o->out, AWAIT_S);
}
