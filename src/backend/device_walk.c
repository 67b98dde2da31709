/* device_walk.c - the walk over a tile in chunks and launches. */
#include "device_walk.h"

#include <string.h>

#include "../base/num.h"

/* ---- which tiles ---- */

static bool is_arithmetic(unsigned d)
{
    return d < WF_DTYPES && wf_dtype_info((enum wf_dtype)d)->arithmetic;
}

/* Inputs of one short type, few enough for the kernels that are written out. */
static bool is_simple(const struct wf_tile *t)
{
    bool simple = !t->wide && t->n <= WF_WORK_INPUTS && !t->args->n_t;
    for (uint32_t i = 0; simple && i < t->n; i++)
        simple = t->in_dtype[i] == t->in_dtype[0] && t->in_dtype[i] != WF_F64 &&
                 (!is_arithmetic(t->cast) || t->cast == t->in_dtype[i]);
    return simple;
}

static uint64_t real_bytes(const struct wf_tile *t)
{
    return t->wide ? sizeof(double) : sizeof(float);
}

/* Numbers of the table in a view: an even number, so that a view is a multiple of 8 bytes. */
static uint64_t table_values(const struct wf_tile *t)
{
    return wf_round_up(t->args->n_t, 2);
}

static bool has_inputs(const struct wf_lane *l, const struct wf_tile *t)
{
    bool has = true;
    for (uint32_t i = 0; has && i < t->n; i++)
        has = wf_lane_has(l, t->in[i], t->count * wf_dtype_width(t->in_dtype[i]));
    return has;
}

/* Rows whose numbers and ranks there is room for; 0: not even one. Also sets `unit` and `own`. */
static uint64_t rows_that_fit(struct wf_walk *w)
{
    const struct wf_tile *t = w->t;
    const struct wf_area *a = &w->lane->area;
    uint64_t rows = UINT64_MAX;
    w->unit = t->local ? t->rows.length * t->rows.stride : 0;
    w->own = false;
    for (unsigned s = 0; t->local >> s; s++) {
        const struct wf_stage *stage = &t->method->stages[s];
        if (t->local >> s & 1 && stage->kind == WF_STAGE_FOLD) {
            uint64_t leaf = stage->fold.terms(t->n) * sizeof(double);
            w->own = true;
            rows = wf_min_u64(rows, a->rows.bytes / (wf_view_values(t->n) * sizeof(double)));
            if (leaf > a->data.bytes || leaf * (WF_TREE_LEVELS + 1) > a->tree.bytes)
                return 0;
        } else if (t->local >> s & 1) {
            uint64_t ranked = (t->n - 1) * real_bytes(t) * wf_round_up(w->unit, 16);
            rows = wf_min_u64(rows, a->ranks.bytes / (ranked + !ranked));
        }
    }
    return rows;
}

/* Splits within the window. */
static uint64_t splits_inside(const struct wf_tile *t)
{
    uint64_t n = 0;
    for (size_t s = 0; s < t->n_splits; s++)
        n += t->splits[s].index > t->first && t->splits[s].index < t->first + t->count;
    return n;
}

/* Whether the numbers of what no launch may divide fit into a table. Rows that are divided by
 * leaves have `leaf` elements of one row at a time, other leaves may be many rows. Launches that
 * may be divided anywhere end at splits. */
static bool views_fit(const struct wf_walk *w, uint64_t leaf)
{
    const struct wf_tile *t = w->t;
    uint64_t views = 1 + (w->own ? leaf / w->unit + 1 : 0);
    views += w->unit || leaf > 1 ? splits_inside(t) : 0;
    if (t->columns)
        views = t->rows.stride;
    return views <= (w->lane->area.views.bytes - 64) / (w->view_bytes + sizeof(uint64_t));
}

static bool has_room(struct wf_walk *w, const struct wf_aim *aim)
{
    const struct wf_tile *t = w->t;
    const struct wf_area *a = &w->lane->area;
    uint64_t leaf = aim->kind == WF_WORK_FOLD ? WF_FOLD_BLOCK : 1;
    uint64_t terms = aim->kind == WF_WORK_FOLD || aim->kind == WF_WORK_COLUMNS
                         ? aim->stage->fold.terms(t->n) * sizeof(double)
                         : 0;
    w->rows = rows_that_fit(w);
    /* A chunk of leaves has rows around it. */
    bool rows = !w->unit || w->rows > (leaf == 1 ? 0 : (leaf + w->unit - 1) / w->unit) ||
                (w->rows && w->rows >= t->total / w->unit);
    if (aim->kind == WF_WORK_MAP &&
        (t->to - t->from) * wf_dtype_width(t->out_dtype) + WF_DEVICE_ALIGN > a->results.bytes)
        return false;
    if (aim->kind == WF_WORK_COLUMNS && t->rows.stride > a->data.bytes / terms)
        return false;
    return rows && terms <= a->data.bytes && views_fit(w, leaf);
}

bool wf_walk_suits(struct wf_walk *w, const struct wf_tile *t, const struct wf_aim *aim)
{
    struct wf_lane *l = t->lane;
    *w = (struct wf_walk){.lane = l, .t = t};
    if (!l || (t->to - t->from) * t->n < l->least || t->n > l->need.inputs ||
        t->args->n_t > l->need.table || !has_inputs(l, t))
        return false;
    w->simple = is_simple(t);
    w->view_bytes = (wf_view_values(t->n) + table_values(t)) * real_bytes(t);
    if (!has_room(w, aim))
        return false;
    if (t->columns || aim->kind == WF_WORK_COLUMNS)
        return !t->local && !t->n_splits;
    return !w->own || t->rows.stride == 1;
}

/* ---- one tile ---- */

static bool set_inputs(struct wf_walk *w)
{
    struct wf_lane *l = w->lane;
    const struct wf_tile *t = w->t;
    bool few = t->n <= WF_WORK_INPUTS;
    const void **in = few ? w->work.in : (void *)(l->on_host + l->area.pointers.at);
    for (uint32_t i = 0; i < t->n; i++)
        in[i] = wf_lane_input(l, t->in[i]);
    memcpy(few ? w->work.in_dtype : (void *)(l->on_host + l->area.types.at), t->in_dtype, t->n);
    if (few)
        return true;
    w->work.in_many = (const void *const *)(l->on_device + l->area.pointers.at);
    w->work.in_dtype_many = (const uint8_t *)(l->on_device + l->area.types.at);
    return wf_walk_try(w, wf_lane_up(l, l->area.pointers.at, t->n * sizeof(void *)) &&
                              wf_lane_up(l, l->area.types.at, t->n));
}

void wf_walk_aim(struct wf_walk *w, const struct wf_aim *aim)
{
    struct wf_work *work = &w->work;
    bool folds = aim->kind == WF_WORK_FOLD || aim->kind == WF_WORK_COLUMNS;
    work->kind = (uint8_t)aim->kind;
    work->function = aim->function;
    work->draws = w->t->method->draws && (folds || aim->kind == WF_WORK_MAP);
    work->draws_from = w->t->method->base == WF_BASE_REQUIRED;
    work->terms = folds ? aim->stage->fold.terms(w->t->n) : 0;
    work->maxima = folds ? (uint32_t)wf_min_u64(aim->stage->fold.maxima, work->terms) : 0;
    w->granule = (struct wf_granule){UINT64_MAX, 1};
    if (aim->kind == WF_WORK_FOLD)
        w->granule = (struct wf_granule){w->t->total, WF_FOLD_BLOCK};
    work->fold_length = w->granule.group;
    work->fold_step = 1;
}

bool wf_walk_begin(struct wf_walk *w, const struct wf_aim *aim)
{
    struct wf_lane *l = w->lane;
    const struct wf_tile *t = w->t;
    if (!wf_walk_try(w, wf_lane_bring_inputs(l) &&
                            wf_lane_clear(l, l->area.bad.at, l->area.bad.bytes)))
        return false;
    w->work = (struct wf_work){.wide = t->wide,
                               .cast = t->cast,
                               .out_dtype = t->out_dtype,
                               .n = t->n,
                               .table = (uint32_t)table_values(t),
                               .first = t->first,
                               .total = t->total,
                               .row_length = t->rows.length,
                               .row_stride = t->rows.stride,
                               .draw_key = t->draw_key,
                               .bad = (uint32_t *)(l->on_device + l->area.bad.at),
                               .scratch = l->on_device + l->area.scratch.at,
                               .scratch_bytes = l->area.scratch.bytes};
    wf_walk_aim(w, aim);
    return set_inputs(w) && (!t->columns || wf_walk_columns(w));
}

bool wf_walk_chunks(struct wf_walk *w, const struct wf_aim *aim, uint64_t from, uint64_t to,
                    wf_chunk_fn *each, void *arg)
{
    if (!w->unit)
        return each(w, from, to, arg);
    for (uint64_t at = from, end; at < to; at = end) {
        uint64_t first = at / w->unit, left = (to + w->unit - 1) / w->unit - first;
        uint64_t rows = wf_min_u64(left, w->rows), leaf;
        wf_walk_aim(w, aim);
        leaf = w->granule.leaf;
        end = wf_min_u64(to, (first + rows) * w->unit);
        if (end < to)
            end = end / leaf * leaf;
        if (!wf_walk_rows(w, first, (end + w->unit - 1) / w->unit - first))
            return false;
        wf_walk_aim(w, aim);
        if (!each(w, at, end, arg))
            return false;
    }
    return true;
}

/* The element at which a leaf begins, or the group ends that it would be in. */
static uint64_t leaf_begin(struct wf_granule g, uint64_t leaf)
{
    uint64_t each = wf_group_leaves(g);
    return leaf / each * g.group + leaf % each * g.leaf;
}

/* The elements of a launch. */
static void set_range(struct wf_walk *w, uint64_t from, uint64_t to)
{
    struct wf_work *work = &w->work;
    work->from = from;
    work->to = to;
    if (work->kind == WF_WORK_MAP)
        work->out = w->out + (from - w->t->from) * wf_dtype_width(w->t->out_dtype);
    if (work->kind == WF_WORK_FOLD) {
        work->leaf_from = wf_leaves_before(w->granule, from);
        work->leaf_to = wf_leaves_before(w->granule, to);
        work->values = w->values + (work->leaf_from - w->leaf) * work->terms;
    }
}

bool wf_walk_launch(struct wf_walk *w, uint64_t from, uint64_t to)
{
    for (uint64_t at = from, end; at < to; at = end) {
        if (!wf_walk_numbers(w, at, to, &end))
            return false;
        set_range(w, at, end);
        if (!wf_walk_try(w, wf_lane_launch(w->lane, &w->work)))
            return false;
    }
    return true;
}

bool wf_walk_leaves(struct wf_walk *w, uint64_t from, uint64_t to, wf_leaves_fn *each, void *arg)
{
    struct wf_lane *l = w->lane;
    uint64_t bytes = w->work.terms * sizeof(double), most = l->area.data.bytes / bytes;
    uint64_t leaf = wf_leaves_before(w->granule, from), last = wf_leaves_before(w->granule, to);
    double *values = (double *)(l->on_host + l->area.data.at);
    w->values = (double *)(l->on_device + l->area.data.at);
    for (uint64_t end; leaf < last; leaf = end) {
        end = wf_min_u64(last, leaf + most);
        w->leaf = leaf;
        if (!wf_walk_launch(w, leaf_begin(w->granule, leaf),
                            wf_min_u64(to, leaf_begin(w->granule, end))) ||
            !wf_walk_try(w, wf_lane_down(l, l->area.data.at, (end - leaf) * bytes)) ||
            !wf_walk_finish(w) || !each(w, leaf, end, values, arg))
            return false;
    }
    return true;
}

bool wf_walk_finish(struct wf_walk *w)
{
    struct wf_lane *l = w->lane;
    uint32_t bad;
    if (!wf_walk_try(w, wf_lane_down(l, l->area.bad.at, sizeof bad) && wf_lane_finish(l)))
        return false;
    memcpy(&bad, l->on_host + l->area.bad.at, sizeof bad);
    return !(bad && w->t->check) || wf_walk_stop(w, WF_WALK_LOOK);
}

bool wf_walk_verdict(const struct wf_walk *w, struct wf_tile_result *r)
{
    *r = (struct wf_tile_result){WF_TILE_OK, 0, 0, NULL};
    if (w->end == WF_WALK_FAILED)
        *r = (struct wf_tile_result){WF_TILE_FAILED, 0, w->t->from, w->lane->why};
    /* A refusal leaves work in the queue. */
    if (w->end == WF_WALK_LOOK && !wf_lane_finish(w->lane))
        *r = (struct wf_tile_result){WF_TILE_FAILED, 0, w->t->from, w->lane->why};
    return w->end != WF_WALK_LOOK || r->verdict == WF_TILE_FAILED;
}

void wf_walk_looked(const struct wf_walk *w, struct wf_tile_result *r)
{
    if (r->verdict == WF_TILE_OK)
        *r = (struct wf_tile_result){WF_TILE_FAILED, 0, w->t->from,
                                     "internal: the GPU saw NaN, infinity or a row without a "
                                     "result where the CPU sees none"};
}
