/* device_numbers.c - the numbers of a launch: struct wf_args with rows, columns and splits, as
 * views in wf_real.
 *
 *   one view     in the launch itself (plain), or a table of one
 *   stretches    begins[k] is the first element of view k; a view ends with its row, or at a split:
 *
 *       rows        |     row 0     |     row 1     |
 *       splits              s             s
 *       views       0       1       2     3
 *
 *   columns      view k is that of column k
 *
 * In a table, views lie one behind the other, then begins[].
 */
#include <string.h>

#include "device_walk.h"

/* ---- one view ---- */

static void put(void *view, bool wide, uint64_t k, double value)
{
    if (wide)
        ((double *)view)[k] = value;
    else
        ((float *)view)[k] = (float)value;
}

/* Number k of struct wf_args in a view; g and m may be a row's own. */
static void put_args(const struct wf_tile *t, const double *g, const double (*m)[WF_ARGS_MODEL],
                     void *view)
{
    uint64_t in_m = (uint64_t)t->n * WF_ARGS_MODEL;
    bool wide = t->wide;
    for (uint64_t k = 0; k < WF_ARGS_GLOBAL; k++)
        put(view, wide, k, g[k]);
    for (uint64_t k = 0; k < in_m; k++)
        put(view, wide, WF_ARGS_GLOBAL + k, m[k / WF_ARGS_MODEL][k % WF_ARGS_MODEL]);
    for (uint64_t k = 0; k < t->args->n_t; k++)
        put(view, wide, WF_ARGS_GLOBAL + in_m + k, t->args->t[k]);
}

/* The view of element `at`: its row's numbers, or the tensor's, and what splits made of them. */
static void put_view(const struct wf_walk *w, uint64_t at, void *view)
{
    const struct wf_tile *t = w->t;
    if (w->own) {
        const double *row = wf_walk_row(w, at / w->unit);
        put_args(t, row, (const double(*)[WF_ARGS_MODEL])(row + WF_ARGS_GLOBAL), view);
    } else {
        put_args(t, t->args->g, (const double(*)[WF_ARGS_MODEL])t->args->m, view);
    }
    for (size_t s = 0; s < t->n_splits && t->splits[s].index <= at; s++) {
        const struct wf_split *now = &t->splits[s];
        uint64_t model = now->input < 0 ? 0 : WF_ARGS_GLOBAL + (uint64_t)now->input * WF_ARGS_MODEL;
        put(view, t->wide, model + now->slot, now->value);
    }
}

/* ---- tables ---- */

/* The first element behind `at` that may have other numbers. */
static uint64_t stretch_end(const struct wf_walk *w, uint64_t at)
{
    uint64_t end = w->own ? (at / w->unit + 1) * w->unit : UINT64_MAX;
    for (size_t s = 0; s < w->t->n_splits; s++)
        if (w->t->splits[s].index > at)
            return w->t->splits[s].index < end ? w->t->splits[s].index : end;
    return end;
}

static uint64_t granule_begin(const struct wf_walk *w, uint64_t e)
{
    struct wf_granule g = w->granule;
    return e - e % g.group % g.leaf;
}

static uint64_t granule_end(const struct wf_walk *w, uint64_t e)
{
    struct wf_granule g = w->granule;
    uint64_t in_group = e % g.group, end = (in_group / g.leaf + 1) * g.leaf;
    return e - in_group + (end < g.group ? end : g.group);
}

/* Sends the table of n views at `at`. */
static bool send_table(struct wf_walk *w, enum wf_work_rule rule, uint64_t at, uint64_t n)
{
    struct wf_work *work = &w->work;
    uint64_t begins = n * w->view_bytes; /* a view is a multiple of 8 bytes */
    work->plain = 0;
    work->rule = (uint8_t)rule;
    work->n_views = n;
    work->views = w->lane->on_device + at;
    work->begins = (const uint64_t *)(w->lane->on_device + at + begins);
    uint64_t bytes = begins + (rule == WF_VIEW_STRETCH ? n * sizeof(uint64_t) : 0);
    return wf_walk_try(w, wf_lane_up(w->lane, at, bytes));
}

/* One view for all that follows. */
static bool set_one(struct wf_walk *w, uint64_t from)
{
    struct wf_work *work = &w->work;
    float view[WF_ARGS_GLOBAL + WF_WORK_INPUTS * WF_ARGS_MODEL] = {0};
    uint64_t at;
    if (w->simple && !work->ranks) {
        put_view(w, from, view);
        memcpy(work->g, view, sizeof work->g);
        memcpy(work->m, view + WF_ARGS_GLOBAL, sizeof work->m);
        work->plain = 1;
        work->rule = WF_VIEW_ONE;
        work->views = NULL;
        return true;
    }
    if (!wf_walk_try(w, wf_lane_views(w->lane, w->view_bytes, &at)))
        return false;
    put_view(w, from, w->lane->on_host + at);
    return send_table(w, WF_VIEW_ONE, at, 1);
}

/* Views of [from, to), or of as many granules as the table has room for. */
static bool set_stretches(struct wf_walk *w, uint64_t from, uint64_t to, uint64_t *end)
{
    uint64_t each = w->view_bytes + sizeof(uint64_t), n = 0, at;
    uint64_t most = (w->lane->area.views.bytes - 64) / each;
    for (*end = from; *end < to && n < most; n++)
        *end = stretch_end(w, *end);
    *end = *end < to ? granule_begin(w, *end) : to;
    if (!wf_walk_try(w, wf_lane_views(w->lane, n * each, &at)))
        return false;
    char *views = w->lane->on_host + at;
    uint64_t *begins = (uint64_t *)(views + n * w->view_bytes), e = from;
    for (uint64_t k = 0; k < n; k++, e = stretch_end(w, e)) {
        put_view(w, e, views + k * w->view_bytes);
        begins[k] = k ? e : 0;
    }
    return send_table(w, WF_VIEW_STRETCH, at, n);
}

bool wf_walk_numbers(struct wf_walk *w, uint64_t from, uint64_t to, uint64_t *end)
{
    *end = to;
    if (w->t->columns)
        return true;
    if (w->own)
        return set_stretches(w, from, to, end);
    uint64_t next = stretch_end(w, from);
    if (next < to)
        *end = granule_begin(w, next);
    if (*end > from)
        return set_one(w, from);
    uint64_t granule = granule_end(w, from); /* a split lies in it */
    return set_stretches(w, from, granule < to ? granule : to, end);
}

/* Columns that the tile has elements of; the table has room for all. */
bool wf_walk_columns(struct wf_walk *w)
{
    const struct wf_tile *t = w->t;
    const struct wf_fold *fold = &t->method->stages[t->column_stage].fold;
    uint64_t columns = t->rows.stride, terms = fold->terms(t->n), at;
    uint64_t touched = t->to - t->from < columns ? t->to - t->from : columns;
    struct wf_args args = *t->args;
    double *row = (double *)(w->lane->on_host + w->lane->area.rows.at);
    args.m = (double(*)[WF_ARGS_MODEL])row;
    if (!wf_walk_try(w, wf_lane_views(w->lane, columns * w->view_bytes, &at)))
        return false;
    for (uint64_t k = 0; k < touched; k++) {
        uint64_t column = (t->from + k) % columns;
        memcpy(args.g, t->args->g, sizeof args.g);
        memcpy(args.m, t->args->m, t->n * sizeof *args.m);
        if (fold->finish(t->columns + column * terms, t->rows.length, &args))
            return wf_walk_stop(w, WF_WALK_LOOK);
        put_args(t, args.g, (const double(*)[WF_ARGS_MODEL])args.m,
                 w->lane->on_host + at + column * w->view_bytes);
    }
    return send_table(w, WF_VIEW_COLUMN, at, columns);
}
