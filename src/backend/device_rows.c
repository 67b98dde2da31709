/* device_rows.c - stages of row scope: sums of the rows of a chunk, and ranks in them.
 *
 * A FOLD's leaves are made on the device and come back; their tree is joined here, by the code of
 * the CPU frame, and `finish` turns each row's sums into the numbers that later launches see. Ranks
 * stay on the device.
 */
#include <string.h>

#include "../base/num.h"
#include "device_walk.h"
#include "frame_tree.h"

double *wf_walk_row(const struct wf_walk *w, uint64_t row)
{
    return (double *)(w->lane->on_host + w->lane->area.rows.at) +
           (row - w->first) * wf_view_values(w->t->n);
}

/* ---- FOLD ---- */

/* `finish` of a row. */
static bool conclude(struct wf_walk *w, const struct wf_fold *fold, uint64_t row,
                     const double *sums)
{
    double *numbers = wf_walk_row(w, row);
    struct wf_args args = *w->t->args;
    memcpy(args.g, numbers, sizeof args.g);
    args.m = (double(*)[WF_ARGS_MODEL])(numbers + WF_ARGS_GLOBAL);
    if (fold->finish(sums, w->t->rows.length, &args))
        return wf_walk_stop(w, WF_WALK_LOOK);
    memcpy(numbers, args.g, sizeof args.g);
    return true;
}

/* Puts leaves of the chunk's rows into trees. A row's tree waits for the rest of its leaves from
 * one call to the next. */
static bool join_leaves(struct wf_walk *w, uint64_t first, uint64_t last, double *values, void *arg)
{
    const struct wf_fold *fold = arg;
    struct wf_lane *l = w->lane;
    uint32_t terms = w->work.terms;
    uint64_t each = wf_group_leaves(w->granule);
    double *tree = (double *)(l->on_host + l->area.tree.at);
    double *sums = tree + (size_t)WF_TREE_LEVELS * terms;
    for (uint64_t leaf = first; leaf < last; leaf++, values += terms) {
        sum_put_leaf(tree, leaf % each, fold->maxima, terms, values);
        if (leaf % each + 1 < each)
            continue;
        sum_tree(tree, each, fold->maxima, terms, sums);
        if (!conclude(w, fold, leaf / each, sums))
            return false;
    }
    return true;
}

static bool fold_rows(struct wf_walk *w, const struct wf_stage *stage, uint64_t rows)
{
    struct wf_aim aim = {WF_WORK_FOLD, stage->function, stage};
    struct wf_fold fold = stage->fold;
    wf_walk_aim(w, &aim);
    w->granule.group = w->work.fold_length = w->unit;
    return wf_walk_leaves(w, w->first * w->unit, (w->first + rows) * w->unit, join_leaves, &fold);
}

/* ---- RANK ---- */

static bool rank_rows(struct wf_walk *w, const struct wf_stage *stage, uint64_t rows)
{
    struct wf_aim aim = {WF_WORK_RANK, stage->function, stage};
    struct wf_work *work = &w->work;
    uint64_t from = w->first * w->unit, to = from + rows * w->unit;
    wf_walk_aim(w, &aim);
    w->granule = (struct wf_granule){w->unit, w->unit};
    work->ties = w->t->args->ties;
    work->ranks = w->lane->on_device + w->lane->area.ranks.at;
    work->rank_first = from;
    work->rank_stride = wf_round_up(to - from, 16);
    return wf_walk_launch(w, from, to);
}

/* ---- both ---- */

bool wf_walk_rows(struct wf_walk *w, uint64_t first, uint64_t rows)
{
    const struct wf_tile *t = w->t;
    w->first = first;
    w->work.ranks = NULL;
    for (uint64_t r = first; w->own && r < first + rows; r++) {
        double *numbers = wf_walk_row(w, r);
        memcpy(numbers, t->args->g, sizeof t->args->g);
        memcpy(numbers + WF_ARGS_GLOBAL, t->args->m, t->n * sizeof *t->args->m);
    }
    for (unsigned s = 0; t->local >> s; s++) {
        const struct wf_stage *stage = &t->method->stages[s];
        if (t->local >> s & 1 &&
            !(stage->kind == WF_STAGE_FOLD ? fold_rows(w, stage, rows) : rank_rows(w, stage, rows)))
            return false;
    }
    return true;
}
