/* join.c - the joining of a step: keys and counts of a SELECT, nodes of a FOLD's tree.
 *
 * Which calls are made follows from what all ranks know alike, so that all make the same ones. The
 * buffer between (u->joint) was claimed with the unit.
 */
#include "join.h"

#include <string.h>

#include "../base/hash.h"
#include "../base/num.h"
#include "unit_state.h"

#define RECORDS 4u  /* nodes of a tree that each rank sends at a time, at least */
#define COUNTERS 5u /* of a cut in COUNT */

/* ---- room ---- */

/* Numbers (of eight bytes) of the longest list of counters. */
static uint64_t counters_max(const struct wf_unit_need *need)
{
    return (uint64_t)need->streams * (need->ranks * COUNTERS + 1) + 1;
}

uint64_t wf_join_bytes(const struct wf_unit_need *need, uint64_t keys_max)
{
    if (need->joined < 2)
        return 0;
    uint64_t records = (need->joined + (uint64_t)1) * RECORDS * wf_sums_record(need->terms);
    uint64_t prints = 2 * (uint64_t)need->joined;
    uint64_t most = wf_max_u64(need->streams ? keys_max : 0, counters_max(need));
    return wf_max_u64(wf_max_u64(most, prints), need->terms ? records : 0) * sizeof(uint64_t);
}

/* ---- whether ranks are alike ---- */

static void add_print(uint64_t *print, const void *data, size_t n)
{
    struct {
        uint64_t before;
        struct wf_hash128 data;
    } both = {*print, wf_xxh128(data, n)};
    struct wf_hash128 next = wf_xxh128(&both, sizeof both);
    memcpy(print, next.bytes, sizeof *print);
}

/* How a unit was cut and how much room it has: what --memory and --threads change. */
static uint64_t room_print(const struct wf_unit *u)
{
    uint64_t print = 0;
    const uint64_t room[] = {u->group.pieces, u->select.keys_max, u->select.bins_max,
                             wf_join_bytes(&u->need, u->select.keys_max)};
    add_print(&print, room, sizeof room);
    return print;
}

/* Everything that this step builds on. */
static uint64_t state_print(const struct wf_unit *u)
{
    uint64_t print = 0;
    const struct wf_selecting *s = &u->select;
    const uint64_t where[] = {u->step, u->stage, u->group.count, u->group.leaves, u->n_conclusions};
    add_print(&print, where, sizeof where);
    add_print(&print, u->args.g, sizeof u->args.g);
    add_print(&print, u->args.m, u->args.n * sizeof *u->args.m);
    add_print(&print, u->args.t, u->args.n_t * sizeof *u->args.t);
    if (u->step == WF_STEP_FOLD)
        return print;
    const uint64_t how[] = {s->streams, s->ranks, s->whole, s->ranked, s->target, s->run};
    add_print(&print, how, sizeof how);
    for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
        const struct wf_cut *c = &s->cuts[i];
        bool brackets = s->step == WF_STEP_COUNT && c->state == WF_CUT_OPEN;
        const uint64_t cut[] = {c->state,  c->rank,    c->least, c->most,
                                c->before, c->through, c->split};
        const uint64_t bracket[] = {c->low,   c->high, c->core_low, c->core_high,
                                    c->lists, c->bins, c->shift};
        add_print(&print, cut, sizeof cut);
        if (brackets)
            add_print(&print, bracket, sizeof bracket);
        if (s->step == WF_STEP_LOCATE && c->split)
            add_print(&print, &c->piece, sizeof c->piece);
    }
    return print;
}

/* One call, whatever the step: ranks that had gone different ways find out here. */
static int check_alike(struct wf_err *e, struct wf_unit *u, const struct wf_join *join)
{
    uint64_t mine[] = {room_print(u), state_print(u)}, *all = u->joint;
    size_t total = 0;
    int status =
        join->gather(join->arg, e, mine, sizeof mine, all, join->ranks * sizeof mine, &total);
    if (status)
        return status;
    if (total != join->ranks * sizeof mine)
        return wf_fail(e, WF_BUG, "%zu bytes came of %u ranks that have %zu each", total,
                       join->ranks, sizeof mine);
    for (unsigned k = 0; k < join->ranks; k++) {
        if (all[2 * k] != all[0])
            return wf_fail(e, WF_USAGE,
                           "rank %u has other room for statistics than rank 0: give every rank the "
                           "same --memory and --threads",
                           k);
        if (all[2 * k + 1] != all[1])
            return wf_fail(e, WF_BUG,
                           "rank %u has come to other statistics than rank 0 (%s, stage %u): run "
                           "the same build of weft on all nodes, on inputs that nobody changes",
                           k, u->group.method->name, u->stage + 1);
    }
    return WF_OK;
}

/* ---- SELECT ---- */

/* The keys of all ranks, where one rank's were; `n` of them here, `total` in all. */
static int gather_keys(struct wf_err *e, const struct wf_unit *u, const struct wf_join *join,
                       uint64_t *keys, uint64_t n, uint64_t total)
{
    size_t bytes = 0, wanted = total * sizeof *keys;
    int status = join->gather(join->arg, e, keys, n * sizeof *keys, u->joint, wanted, &bytes);
    if (status)
        return status;
    if (bytes != wanted)
        return wf_fail(e, WF_BUG, "%zu bytes of keys came where %zu were announced", bytes, wanted);
    memcpy(keys, u->joint, bytes);
    return WF_OK;
}

static int join_kept(struct wf_err *e, struct wf_unit *u, const struct wf_join *join)
{
    struct wf_selecting *s = &u->select;
    uint64_t *counters = u->joint;
    counters[0] = s->kept;
    memcpy(counters + 1, s->zeros, s->streams * sizeof *s->zeros);
    int status = join->sum(join->arg, e, counters, 1 + (size_t)s->streams);
    if (status)
        return status;
    uint64_t total = counters[0];
    memcpy(s->zeros, counters + 1, s->streams * sizeof *s->zeros);
    if (total > s->keys_max)
        return wf_fail(e, WF_BUG, "%u ranks have kept %llu keys where a group has %u", join->ranks,
                       (unsigned long long)total, s->keys_max);
    for (uint32_t i = 0; !status && i < s->streams; i++)
        status = gather_keys(e, u, join, wf_stream_keys(s, i), s->kept, total);
    s->kept = (uint32_t)total;
    return status;
}

/* What is inside the core of one cut: listed if all of it fits into the list, as if one process had
 * listed it; else in bins, if it has any. */
static int join_core(struct wf_err *e, struct wf_unit *u, const struct wf_join *join, uint32_t i,
                     uint64_t listed)
{
    struct wf_selecting *s = &u->select;
    struct wf_cut *c = &s->cuts[i];
    uint64_t mine = c->listed;
    c->listed = listed;
    if (c->lists && listed <= wf_list_max(s))
        return gather_keys(e, u, join, wf_cut_list(s, i), mine, listed);
    return c->bins ? join->sum(join->arg, e, wf_cut_bins(s, i), c->bins) : WF_OK;
}

static int join_count(struct wf_err *e, struct wf_unit *u, const struct wf_join *join)
{
    struct wf_selecting *s = &u->select;
    uint64_t *counters = u->joint, listed[WF_MODELS_MAX * WF_RANKS_MAX];
    size_t n = 0;
    for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
        const struct wf_cut *c = &s->cuts[i];
        const uint64_t own[COUNTERS] = {c->below, c->core_below, c->core_inside, c->inside,
                                        c->listed};
        if (c->state == WF_CUT_OPEN)
            memcpy(counters + n, own, sizeof own);
        n += c->state == WF_CUT_OPEN ? COUNTERS : 0;
    }
    size_t zeros = s->ranked ? 0 : s->streams; /* they are known after the first COUNT */
    memcpy(counters + n, s->zeros, zeros * sizeof *s->zeros);
    int status = join->sum(join->arg, e, counters, n + zeros);
    if (status)
        return status;
    memcpy(s->zeros, counters + n, zeros * sizeof *s->zeros);
    n = 0;
    for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
        struct wf_cut *c = &s->cuts[i];
        if (c->state != WF_CUT_OPEN)
            continue;
        c->below = counters[n];
        c->core_below = counters[n + 1];
        c->core_inside = counters[n + 2];
        c->inside = counters[n + 3];
        listed[i] = counters[n + 4];
        n += COUNTERS;
    }
    for (uint32_t i = 0; !status && i < wf_n_cuts(s); i++)
        if (s->cuts[i].state == WF_CUT_OPEN)
            status = join_core(e, u, join, i, listed[i]);
    return status;
}

static int join_ties(struct wf_err *e, struct wf_unit *u, const struct wf_join *join)
{
    struct wf_selecting *s = &u->select;
    int status = WF_OK;
    for (uint32_t i = 0; !status && i < wf_n_cuts(s); i++)
        if (s->cuts[i].split)
            status = join->sum(join->arg, e, wf_cut_ties(s, i), s->group.pieces);
    return status;
}

/* Of each split one rank has found the element, unless the inputs have changed. */
static int join_located(struct wf_err *e, struct wf_unit *u, const struct wf_join *join)
{
    struct wf_selecting *s = &u->select;
    uint64_t *found = u->joint;
    for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
        found[2 * i] = s->cuts[i].located;
        found[2 * i + 1] = s->cuts[i].located ? s->cuts[i].index : 0;
    }
    int status = join->sum(join->arg, e, found, 2 * (size_t)wf_n_cuts(s));
    for (uint32_t i = 0; !status && i < wf_n_cuts(s); i++) {
        struct wf_cut *c = &s->cuts[i];
        if (found[2 * i] > 1)
            return wf_fail(e, WF_BUG, "%llu ranks have found the element of one cut",
                           (unsigned long long)found[2 * i]);
        c->located = found[2 * i] == 1;
        c->index = found[2 * i + 1];
    }
    return status;
}

/* ---- FOLD ---- */

/* Every rank sends a few nodes at a time, and builds the tree anew of what all have sent. */
static int join_fold(struct wf_err *e, struct wf_unit *u, const struct wf_join *join)
{
    struct wf_sums *sums = &u->sums;
    uint64_t record = wf_sums_record(sums->n_terms);
    uint64_t room = wf_join_bytes(&u->need, u->select.keys_max) / sizeof(double);
    uint32_t each = (uint32_t)(room / ((join->ranks + (uint64_t)1) * record));
    double *mine = u->joint, *all = mine + each * record;
    size_t most = join->ranks * each * record * sizeof *all, total;
    wf_sums_park(sums);
    do {
        total = 0;
        size_t n = wf_sums_pack(sums, mine, each);
        int status = join->gather(join->arg, e, mine, n * record * sizeof *mine, all, most, &total);
        if (status)
            return status;
        for (size_t k = 0; k < total / sizeof *all; k += record)
            wf_sums_add(sums, (unsigned)all[k], (uint64_t)all[k + 1], &all[k + 2]);
    } while (total);
    return WF_OK;
}

int wf_unit_join(struct wf_err *e, struct wf_unit *u, const struct wf_join *join)
{
    if (join->ranks < 2 || u->step == WF_STEP_MAP)
        return WF_OK;
    if (u->need.joined < join->ranks || u->step == WF_STEP_COLUMNS)
        return wf_fail(e, WF_BUG, "statistics of %s are not made for %u ranks",
                       u->group.method->name, join->ranks);
    int status = check_alike(e, u, join);
    if (status)
        return status;
    switch (u->step) {
    case WF_STEP_FOLD:
        return join_fold(e, u, join);
    case WF_STEP_TIES:
        return join_ties(e, u, join);
    case WF_STEP_LOCATE:
        return join_located(e, u, join);
    default:
        return u->step == WF_STEP_SAMPLE || u->select.whole ? join_kept(e, u, join)
                                                            : join_count(e, u, join);
    }
}
