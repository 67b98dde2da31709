/* device_ops.c - the operations of struct wf_backend on a device: MAP, FOLD, COLUMNS, and the
 * table.
 *
 * Each begins a walk, launches, copies back, and asks for the verdict. Where something is wrong
 * with a tile the CPU backend does it again, to say what.
 */
#include <string.h>

#include "../base/num.h"
#include "device_count.h"
#include "device_walk.h"

/* ---- MAP ---- */

static bool map_chunk(struct wf_walk *w, uint64_t from, uint64_t to, void *arg)
{
    (void)arg;
    return wf_walk_launch(w, from, to);
}

/* Results lie so that an element of theirs is aligned where one of input 0 is: kernels then load
 * and store 16 bytes at a time. */
static char *results_at(const struct wf_walk *w)
{
    const struct wf_tile *t = w->t;
    const struct wf_area *a = &w->lane->area;
    uint64_t in = wf_dtype_width(t->in_dtype[0]), out = wf_dtype_width(t->out_dtype);
    uint64_t element = (uintptr_t)wf_lane_input(w->lane, t->in[0]) / in + (t->from - t->first);
    return w->lane->on_device + a->results.at + element * out % WF_DEVICE_ALIGN;
}

static bool map_tile(struct wf_walk *w, const struct wf_aim *aim)
{
    const struct wf_tile *t = w->t;
    uint64_t bytes = (t->to - t->from) * wf_dtype_width(t->out_dtype);
    if (!wf_walk_begin(w, aim))
        return false;
    w->out = results_at(w);
    return wf_walk_chunks(w, aim, t->from, t->to, map_chunk, NULL) &&
           wf_walk_try(w, wf_lane_copy_out(w->lane, t->out, w->out, bytes)) && wf_walk_finish(w);
}

static void device_map(const struct wf_tile *t, struct wf_tile_result *r)
{
    struct wf_walk w;
    struct wf_aim aim = {WF_WORK_MAP, t->args->map, NULL};
    *r = (struct wf_tile_result){WF_TILE_OK, 0, 0, NULL};
    if (t->from >= t->to)
        return;
    if (!wf_walk_suits(&w, t, &aim)) {
        wf_backend_cpu()->map(t, r);
        return;
    }
    map_tile(&w, &aim);
    if (wf_walk_verdict(&w, r))
        return;
    wf_backend_cpu()->map(t, r);
    wf_walk_looked(&w, r);
}

/* ---- FOLD ---- */

struct leaves {
    void (*leaf)(void *arg, uint64_t leaf, const double *terms);
    void *arg;
};

static bool give_leaves(struct wf_walk *w, uint64_t first, uint64_t last, double *values, void *arg)
{
    const struct leaves *to_caller = arg;
    for (; first < last; first++, values += w->work.terms)
        to_caller->leaf(to_caller->arg, first, values);
    return true;
}

static bool fold_chunk(struct wf_walk *w, uint64_t from, uint64_t to, void *arg)
{
    return wf_walk_leaves(w, from, to, give_leaves, arg);
}

static void drop_leaf(void *arg, uint64_t leaf, const double *terms)
{
    (void)arg, (void)leaf, (void)terms;
}

static void device_fold(const struct wf_tile *t, unsigned stage,
                        void (*leaf)(void *arg, uint64_t leaf, const double *terms), void *arg,
                        struct wf_tile_result *r)
{
    struct wf_walk w;
    const struct wf_stage *s = &t->method->stages[stage];
    struct wf_aim aim = {WF_WORK_FOLD, s->function, s};
    struct leaves to_caller = {leaf, arg};
    uint64_t from = (t->from + WF_FOLD_BLOCK - 1) / WF_FOLD_BLOCK * WF_FOLD_BLOCK;
    uint64_t to = wf_min_u64(wf_round_up(t->to, WF_FOLD_BLOCK), t->total);
    *r = (struct wf_tile_result){WF_TILE_OK, 0, 0, NULL};
    if (t->from >= t->to || from >= to)
        return;
    if (!wf_walk_suits(&w, t, &aim)) {
        wf_backend_cpu()->fold(t, stage, leaf, arg, r);
        return;
    }
    if (wf_walk_begin(&w, &aim))
        wf_walk_chunks(&w, &aim, from, to, fold_chunk, &to_caller);
    if (wf_walk_verdict(&w, r))
        return;
    wf_backend_cpu()->fold(t, stage, drop_leaf, NULL, r);
    wf_walk_looked(&w, r);
}

/* ---- FOLD, scope column ---- */

/* The sums go to the device, rows are added, and the sums come back. */
static bool columns_tile(struct wf_walk *w, const struct wf_aim *aim, double *sums)
{
    struct wf_lane *l = w->lane;
    const struct wf_tile *t = w->t;
    uint64_t at = l->area.data.at;
    if (!wf_walk_begin(w, aim))
        return false;
    uint64_t bytes = t->rows.stride * w->work.terms * sizeof(double);
    memcpy(l->on_host + at, sums, bytes);
    w->work.sums = (double *)(l->on_device + at);
    if (!wf_walk_try(w, wf_lane_up(l, at, bytes)) || !wf_walk_launch(w, t->from, t->to) ||
        !wf_walk_try(w, wf_lane_down(l, at, bytes)) || !wf_walk_finish(w))
        return false;
    memcpy(sums, l->on_host + at, bytes);
    return true;
}

static void device_fold_columns(const struct wf_tile *t, unsigned stage, double *sums,
                                struct wf_tile_result *r)
{
    struct wf_walk w;
    const struct wf_stage *s = &t->method->stages[stage];
    struct wf_aim aim = {WF_WORK_COLUMNS, s->function, s};
    *r = (struct wf_tile_result){WF_TILE_OK, 0, 0, NULL};
    if (t->from >= t->to)
        return;
    if (!wf_walk_suits(&w, t, &aim)) {
        wf_backend_cpu()->fold_columns(t, stage, sums, r);
        return;
    }
    columns_tile(&w, &aim, sums);
    if (wf_walk_verdict(&w, r))
        return;
    wf_backend_cpu()->fold_columns(t, stage, sums, r);
    wf_walk_looked(&w, r);
}

/* Inputs that are more than stored bytes are made on the host, and go to the device like others. */

static void host_widen(enum wf_dtype dtype, const void *stored, uint64_t count, bool wide,
                       void *values)
{
    wf_backend_cpu()->widen(dtype, stored, count, wide, values);
}

static void host_add_product(const struct wf_product *p, uint64_t from, uint64_t to, bool wide,
                             void *values)
{
    wf_backend_cpu()->add_product(p, from, to, wide, values);
}

const struct wf_backend *wf_backend_device(void)
{
    static const struct wf_backend device = {
        .name = "cuda",
        .widen = host_widen,
        .add_product = host_add_product,
        .map = device_map,
        .fold = device_fold,
        .fold_columns = device_fold_columns,
        .count = wf_device_count,
    };
    return &device;
}
