/* frame_fixture.h - tiles for tests of the frame itself: methods made up from single stages, and
 * what they must find, computed the plain way.
 */
#ifndef WF_FRAME_FIXTURE_H
#define WF_FRAME_FIXTURE_H

#include "../method/tile_fixture.h"
#include "../../kernels/methods.h"
#include "../../kernels/philox.h"

#define FF_INPUTS 12

/* A tensor of `total` elements in `n` inputs, and a method. */
struct ff {
    struct wf_stage stages[WF_STAGES_MAX];
    struct wf_method method;
    double m[FF_INPUTS][WF_ARGS_MODEL];
    struct wf_args args;
    uint32_t n;
    uint64_t total;
    struct wf_rows rows;
    uint8_t in_dtype[FF_INPUTS];
    char *memory[FF_INPUTS];
    bool wide, check;
    uint32_t local;
    const struct wf_split *splits;
    size_t n_splits;
    const double *columns;
    uint64_t draw_key;
};

/* Inputs of one type with values that often differ little from input 0, or not at all. */
static inline void ff_begin(struct ff *f, uint32_t n, enum wf_dtype d, uint64_t total)
{
    memset(f, 0, sizeof *f);
    f->n = n;
    f->total = total;
    f->rows = (struct wf_rows){total, 1};
    f->wide = d == WF_F64;
    f->check = true;
    f->args = (struct wf_args){.m = f->m, .n = n};
    for (uint32_t i = 0; i < n; i++) {
        f->in_dtype[i] = (uint8_t)d;
        f->memory[i] = test_malloc(1 + total * tf_width(d)); /* an odd address is next */
        for (size_t e = 0; e < total; e++) {
            double base = i ? tf_get(d, f->memory[0] + 1, e) : tf_uniform(-1, 1);
            double step = (double)(tf_random() % 9) - 4;
            tf_put(d, f->memory[i] + 1, e, i ? base + step * 0x1p-9 : base);
        }
    }
    f->method = (struct wf_method){
        .name = "made up", .stages = f->stages, .n_stages = 1, .base = WF_BASE_REQUIRED};
    f->stages[0].kind = WF_STAGE_MAP;
}

static inline void ff_end(struct ff *f)
{
    for (uint32_t i = 0; i < f->n; i++)
        test_free(f->memory[i]);
}

/* Puts a stage before MAP; returns it. */
static inline struct wf_stage *ff_stage(struct ff *f, enum wf_stage_kind kind, unsigned function,
                                        bool local)
{
    size_t at = f->method.n_stages++ - 1;
    f->stages[at + 1] = f->stages[at];
    f->stages[at] = (struct wf_stage){.kind = kind, .function = (uint8_t)function};
    f->local |= (uint32_t)local << at;
    return f->stages + at;
}

static inline double ff_get(const struct ff *f, uint32_t i, uint64_t e)
{
    return tf_get((enum wf_dtype)f->in_dtype[i], f->memory[i] + 1, (size_t)e);
}

static inline void ff_put(const struct ff *f, uint32_t i, uint64_t e, double v)
{
    tf_put((enum wf_dtype)f->in_dtype[i], f->memory[i] + 1, (size_t)e, v);
}

/* As the frame computes: in float, unless an input is F64. */
static inline double ff_round(const struct ff *f, double v)
{
    return f->wide ? v : (double)(float)v;
}

static inline double ff_key(const struct ff *f, uint32_t i, uint64_t e)
{
    return fabs(ff_round(f, ff_get(f, i, e) - ff_get(f, 0, e)));
}

/* A tile whose window is the whole tensor. Scratch has what the stages need and no byte more. */
static inline struct wf_tile ff_tile(const struct ff *f, uint64_t from, uint64_t to, char **memory)
{
    static const void *in[FF_INPUTS];
    struct wf_need need = {.inputs = f->n, .ranked = f->n - 1};
    for (size_t s = 0; s < f->method.n_stages; s++) {
        const struct wf_stage *now = f->stages + s;
        if (now->kind == WF_STAGE_FOLD && now->fold.terms(f->n) > need.terms)
            need.terms = now->fold.terms(f->n);
        if (now->kind == WF_STAGE_RANK)
            need.rank_row = f->rows.length * f->rows.stride;
    }
    for (uint32_t i = 0; i < f->n; i++)
        in[i] = f->memory[i] + 1;
    return (struct wf_tile){.method = &f->method,
                            .args = &f->args,
                            .in = in,
                            .in_dtype = f->in_dtype,
                            .n = f->n,
                            .cast = WF_DTYPE_NONE,
                            .wide = f->wide,
                            .check = f->check,
                            .count = f->total,
                            .from = from,
                            .to = to,
                            .total = f->total,
                            .rows = f->rows,
                            .local = f->local,
                            .draw_key = f->draw_key,
                            .columns = f->columns,
                            .splits = f->splits,
                            .n_splits = f->n_splits,
                            .scratch = tf_scratch(&need, memory)};
}

/* MAP of [from, to) as F64 into out[from..to). */
static inline struct wf_tile_result ff_map(const struct ff *f, const struct wf_backend *frame,
                                           uint64_t from, uint64_t to, double *out)
{
    char *memory;
    struct wf_tile t = ff_tile(f, from, to, &memory);
    struct wf_tile_result r = {WF_TILE_REFUSED, 77, 77, NULL};
    t.out = out + from;
    t.out_dtype = WF_F64;
    frame->map(&t, &r);
    test_free(memory);
    return r;
}

/* The whole tensor, in pieces that begin and end anywhere. */
static inline void ff_map_all(const struct ff *f, const struct wf_backend *frame, double *out)
{
    for (uint64_t from = 0, to; from < f->total; from = to) {
        to = from + 1 + tf_random() % f->total;
        to = to < f->total ? to : f->total;
        struct wf_tile_result r = ff_map(f, frame, from, to, out);
        assert_int_equal(r.verdict, WF_TILE_OK);
    }
}

/* ---- sums, the plain way ---- */

/* Element number e of a group, term t. */
typedef double ff_term(const struct ff *f, uint64_t e, uint32_t t);

struct ff_group {
    const struct ff *f;
    ff_term *term;
    uint64_t at, step, count; /* elements */
    bool maximum;
};

static inline double ff_join(bool maximum, double a, double b)
{
    return maximum ? (a > b ? a : b) : a + b;
}

static inline double ff_leaf(const struct ff_group *g, uint64_t leaf, uint32_t t)
{
    double lane[WF_FOLD_LANES];
    for (unsigned l = 0; l < WF_FOLD_LANES; l++)
        lane[l] = g->maximum ? -INFINITY : 0.0;
    for (uint64_t e = leaf * WF_FOLD_BLOCK; e < g->count && e < (leaf + 1) * WF_FOLD_BLOCK; e++)
        lane[e % WF_FOLD_LANES] =
            ff_join(g->maximum, lane[e % WF_FOLD_LANES], g->term(g->f, g->at + e * g->step, t));
    for (unsigned half = WF_FOLD_LANES / 2; half; half /= 2)
        for (unsigned l = 0; l < half; l++)
            lane[l] = ff_join(g->maximum, lane[l], lane[l + half]);
    return lane[0];
}

/* Node (level, j) of the group's tree. */
static inline double ff_node(const struct ff_group *g, unsigned level, uint64_t j, uint32_t t)
{
    uint64_t leaves = (g->count + WF_FOLD_BLOCK - 1) / WF_FOLD_BLOCK;
    if (!level)
        return ff_leaf(g, j, t);
    double left = ff_node(g, level - 1, 2 * j, t);
    if (((2 * j + 1) << (level - 1)) >= leaves)
        return left;
    return ff_join(g->maximum, left, ff_node(g, level - 1, 2 * j + 1, t));
}

static inline double ff_sum(const struct ff_group *g, uint32_t t)
{
    unsigned level = 0;
    while (((uint64_t)WF_FOLD_BLOCK << level) < g->count)
        level++;
    return ff_node(g, level, 0, t);
}

/* Terms of gram_fold: x_i x_j, j <= i, row by row. */
static inline double ff_gram(const struct ff *f, uint64_t e, uint32_t t)
{
    uint32_t i = 0;
    for (; t > i; i++)
        t -= i + 1;
    return ff_get(f, i, e) * ff_get(f, t, e);
}
static inline uint32_t ff_gram_terms(uint32_t n)
{
    return n * (n + 1) / 2;
}

/* Terms of arcee_largest_fold: both values, joined by maximum. */
static inline double ff_largest(const struct ff *f, uint64_t e, uint32_t t)
{
    return ff_get(f, t, e);
}
static inline uint32_t ff_two_terms(uint32_t n)
{
    (void)n;
    return 2;
}

/* Where row number `row` begins. */
static inline uint64_t ff_row_at(const struct ff *f, uint64_t row)
{
    return row / f->rows.stride * f->rows.length * f->rows.stride + row % f->rows.stride;
}

static inline uint64_t ff_row_of(const struct ff *f, uint64_t e)
{
    uint64_t slab = f->rows.length * f->rows.stride;
    return e / slab * f->rows.stride + e % f->rows.stride;
}

#endif
