/* stage_fixture.h - groups of tensors made of doubles, a naive backend for them, and a driver that
 * shows their pieces to a unit in any order, cut anyhow, by several threads.
 *
 * The key of stream i is |x[i]|, in the width of its tensor. MAP writes a mask for each element:
 * bit stream * ranks + rank says that the key is not below that cut's threshold.
 */
#ifndef WF_STAGE_FIXTURE_H
#define WF_STAGE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/stage/unit.h"

#define SF_INPUTS 4
#define SF_TENSORS 5
#define SF_PIECES 80
#define SF_CUT_SLOT 2 /* of SELECT, in g or m */

static inline uint64_t sf_next(uint64_t *state)
{
    uint64_t x = (*state += 0x9e3779b97f4a7c15u);
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline uint64_t sf_below(uint64_t *state, uint64_t n)
{
    return sf_next(state) % n;
}

struct sf_tensor {
    double *x[SF_INPUTS];
    uint64_t count;
    bool wide;
};

struct sf_data {
    struct sf_tensor t[SF_TENSORS];
    unsigned tensors;
    uint32_t n;
};

static inline struct sf_data sf_data(uint32_t n, unsigned tensors, const uint64_t *counts,
                                     unsigned wide_mask)
{
    struct sf_data d = {.tensors = tensors, .n = n};
    for (unsigned k = 0; k < tensors; k++) {
        d.t[k].count = counts[k];
        d.t[k].wide = wide_mask >> k & 1;
        for (uint32_t i = 0; i < n; i++)
            d.t[k].x[i] = test_calloc(counts[k] + 1, sizeof(double));
    }
    return d;
}

static inline void sf_free(struct sf_data *d)
{
    for (unsigned k = 0; k < d->tensors; k++)
        for (uint32_t i = 0; i < d->n; i++)
            test_free(d->t[k].x[i]);
}

static inline uint64_t sf_bits(double x, bool wide)
{
    float narrow = (float)x;
    uint32_t half;
    uint64_t bits;
    memcpy(&half, &narrow, sizeof half);
    memcpy(&bits, &x, sizeof bits);
    return wide ? bits & INT64_MAX : half & INT32_MAX;
}

/* ---- the backend ---- */

static inline double sf_x(const struct wf_tile *t, uint32_t i, uint64_t e)
{
    return ((const double *)t->in[i])[e - t->first];
}

static inline uint32_t sf_stream(const struct wf_stage *s, unsigned stream)
{
    return s->select.per_model ? stream + 1 : 1;
}

static inline void sf_count(const struct wf_tile *t, unsigned stage, struct wf_count *c,
                            struct wf_tile_result *r)
{
    enum { BATCH = 37 };
    uint64_t batch[BATCH];
    (void)r;
    for (unsigned k = 0; k < c->streams * c->ranks; k++) {
        struct wf_bracket *b = &c->brackets[k];
        size_t n = 0;
        for (uint64_t e = t->from; e < t->to; e++) {
            uint32_t i = sf_stream(&t->method->stages[stage], k / c->ranks);
            uint64_t key = sf_bits(sf_x(t, i, e), t->wide);
            c->zeros[k / c->ranks] += k % c->ranks == 0 && key == 0;
            b->below += key < b->low;
            if (key < b->low || key > b->high)
                continue;
            b->inside++;
            batch[n++] = key;
            if (b->list && n == BATCH)
                c->found(c->arg, k, batch, n);
            n %= BATCH;
        }
        if (b->list && n)
            c->found(c->arg, k, batch, n);
    }
}

/* Of a fold: the largest |x[1]|, then the sum of each input. */
static inline void sf_terms(const struct wf_tile *t, uint64_t e, uint64_t first, double *terms)
{
    double size = fabs(sf_x(t, 1, e));
    terms[0] = e == first || size > terms[0] ? size : terms[0];
    for (uint32_t i = 0; i < t->n; i++)
        terms[1 + i] = (e == first ? 0 : terms[1 + i]) + sf_x(t, i, e);
}

static inline void sf_fold(const struct wf_tile *t, unsigned stage,
                           void (*leaf)(void *, uint64_t, const double *), void *arg,
                           struct wf_tile_result *r)
{
    double terms[1 + SF_INPUTS];
    (void)stage, (void)r;
    for (uint64_t l = (t->from + WF_FOLD_BLOCK - 1) / WF_FOLD_BLOCK; l * WF_FOLD_BLOCK < t->to;
         l++) {
        uint64_t first = l * WF_FOLD_BLOCK, end = first + WF_FOLD_BLOCK;
        assert_true(end <= t->first + t->count || t->first + t->count == t->total);
        for (uint64_t e = first; e < end && e < t->total; e++)
            sf_terms(t, e, first, terms);
        leaf(arg, l, terms);
    }
}

static inline void sf_fold_columns(const struct wf_tile *t, unsigned stage, double *sums,
                                   struct wf_tile_result *r)
{
    (void)stage, (void)r;
    for (uint64_t e = t->from; e < t->to; e++)
        for (uint32_t i = 0; i <= t->n; i++)
            sums[e % t->rows.stride * (t->n + 1) + i] +=
                i ? sf_x(t, i - 1, e) : fabs(sf_x(t, 1, e));
}

/* What a slot of wf_args is at an element. */
static inline double sf_slot(const struct wf_tile *t, int32_t input, unsigned slot, uint64_t e)
{
    double value = input < 0 ? t->args->g[slot] : t->args->m[input][slot];
    for (size_t s = 0; s < t->n_splits; s++) {
        assert_true(!s || t->splits[s - 1].index <= t->splits[s].index);
        if (t->splits[s].input == input && t->splits[s].slot == slot && e >= t->splits[s].index)
            value = t->splits[s].value;
    }
    return value;
}

static inline bool sf_reaches(double x, double threshold, bool wide)
{
    float narrow = (float)threshold;
    return wide ? fabs(x) >= threshold : fabsf((float)x) >= narrow;
}

static uint32_t sf_mapped; /* tile.local of the last MAP */

static inline void sf_map(const struct wf_tile *t, struct wf_tile_result *r)
{
    sf_mapped = t->local;
    const struct wf_stage *s = t->method->stages;
    while (s->kind != WF_STAGE_SELECT)
        s++;
    uint32_t streams = s->select.per_model ? t->n - 1 : 1, *out = t->out;
    (void)r;
    for (uint64_t e = t->from; e < t->to; e++) {
        uint32_t mask = 0;
        for (uint32_t k = 0; k < streams * s->select.n_ranks; k++) {
            uint32_t stream = k / s->select.n_ranks, i = sf_stream(s, stream);
            int32_t input = s->select.per_model ? (int32_t)i : -1;
            double limit = sf_slot(t, input, s->select.cut + k % s->select.n_ranks, e);
            mask |= (uint32_t)sf_reaches(sf_x(t, i, e), limit, t->wide) << k;
        }
        out[e - t->from] = mask;
    }
}

static const struct wf_backend sf_backend = {.name = "naive",
                                             .map = sf_map,
                                             .fold = sf_fold,
                                             .fold_columns = sf_fold_columns,
                                             .count = sf_count};

/* ---- the driver ---- */

/* A group cut into pieces: [cut[p], cut[p+1]) of tensor of[p], in its own numbering. */
struct sf_run {
    const struct sf_data *data;
    struct wf_unit *unit;
    const struct wf_method *method;
    struct wf_rows rows;
    uint64_t from[SF_PIECES], to[SF_PIECES],
        base[SF_PIECES]; /* base: of the tensor, in the group */
    unsigned of[SF_PIECES];
    uint32_t pieces, order[SF_PIECES];
    unsigned threads;
    uint64_t seed;
    uint32_t *out[SF_TENSORS];
    atomic_uint next;
    unsigned steps[WF_STEP_MAP + 1];
    atomic_uint local; /* of the last tile */
    uint64_t seen;     /* elements shown in the last step */
    atomic_uint_least64_t shown;
};

/* Pieces of tensors [k, end), `each` of them a tensor, at random places; 0: one. */
static inline void sf_cut(struct sf_run *r, unsigned k, unsigned end, uint32_t each)
{
    uint64_t base = 0;
    r->pieces = 0;
    for (; k < end; base += r->data->t[k++].count) {
        uint64_t count = r->data->t[k].count, at = 0;
        for (uint32_t p = 0; p < each + !each; p++) {
            uint64_t left = count - at,
                     next = p + 1 < each ? at + sf_below(&r->seed, left + 1) : count;
            if (p + 1 < each && sf_below(&r->seed, 3))
                next = next < at + 2 * count / each ? next : at + 2 * count / each;
            r->of[r->pieces] = k;
            r->base[r->pieces] = base;
            r->from[r->pieces] = at;
            r->to[r->pieces++] = next;
            at = next;
        }
    }
}

/* Leaves of the tensors before number k. */
static inline uint64_t sf_leaves(const struct sf_data *d, unsigned k)
{
    uint64_t leaves = 0;
    for (unsigned t = 0; t < k; t++)
        leaves += (d->t[t].count + WF_FOLD_BLOCK - 1) / WF_FOLD_BLOCK;
    return leaves;
}

static inline struct wf_tile sf_tile(const struct sf_run *r, uint32_t p, uint64_t from, uint64_t to,
                                     const void **in)
{
    const struct sf_tensor *t = &r->data->t[r->of[p]];
    uint64_t first = from / WF_FOLD_BLOCK * WF_FOLD_BLOCK;
    uint64_t end = (to + WF_FOLD_BLOCK - 1) / WF_FOLD_BLOCK * WF_FOLD_BLOCK;
    end = end < t->count ? end : t->count;
    for (uint32_t i = 0; i < r->data->n; i++)
        in[i] = t->x[i] + first;
    return (struct wf_tile){.method = r->method,
                            .in = in,
                            .n = r->data->n,
                            .wide = t->wide,
                            .first = first,
                            .count = end - first,
                            .from = from,
                            .to = to,
                            .total = t->count,
                            .model_leaf = sf_leaves(r->data, r->of[p]),
                            .rows = r->rows};
}

static inline void sf_piece(struct sf_run *r, uint32_t p, uint64_t *seed)
{
    const void *in[SF_INPUTS];
    uint64_t base = r->base[p], at = base + r->from[p], end = base + r->to[p];
    while (at < end) {
        uint64_t from = at, to = end;
        if (!wf_unit_wants(r->unit, p, &from, &to))
            break;
        assert_true(from >= at && from < to && to <= end);
        at = to;
        while (from < to) {
            uint64_t some = sf_below(seed, 3) ? to - from : 1 + sf_below(seed, to - from);
            struct wf_tile tile = sf_tile(r, p, from - base, from - base + some, in);
            struct wf_tile_result result = {WF_TILE_OK, 0, 0, NULL};
            wf_unit_add(r->unit, &sf_backend, p, &tile, &result);
            assert_int_equal(result.verdict, WF_TILE_OK);
            r->shown += some;
            r->local = tile.local;
            from += some;
        }
    }
}

static inline void *sf_worker(void *arg)
{
    struct sf_run *r = arg;
    uint32_t turn;
    while ((turn = atomic_fetch_add(&r->next, 1)) < r->pieces) {
        uint64_t seed = r->seed + turn;
        sf_piece(r, r->order[turn], &seed);
    }
    return NULL;
}

static inline void sf_shuffle(struct sf_run *r, bool in_order)
{
    for (uint32_t p = 0; p < r->pieces; p++)
        r->order[p] = p;
    for (uint32_t p = r->pieces; p > 1 && !in_order; p--) {
        uint32_t q = (uint32_t)sf_below(&r->seed, p), swap = r->order[q];
        r->order[q] = r->order[p - 1];
        r->order[p - 1] = swap;
    }
}

static inline void sf_step(struct sf_run *r)
{
    pthread_t thread[8];
    bool in_order = wf_unit_step(r->unit) == WF_STEP_COLUMNS;
    unsigned threads = in_order ? 0 : r->threads;
    sf_shuffle(r, in_order);
    r->next = 0;
    r->shown = 0;
    r->seed++;
    for (unsigned i = 0; i < threads; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, sf_worker, r), 0);
    sf_worker(r);
    for (unsigned i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    r->seen = r->shown;
}

/* All steps up to MAP. Returns what `advance` refused with. */
static inline const char *sf_gather(struct sf_run *r, const struct wf_unit_group *group)
{
    memset(r->steps, 0, sizeof r->steps);
    wf_unit_begin(r->unit, group);
    while (wf_unit_step(r->unit) != WF_STEP_MAP) {
        r->steps[wf_unit_step(r->unit)]++;
        assert_true(r->steps[WF_STEP_COUNT] < 30);
        sf_step(r);
        const char *why = wf_unit_advance(r->unit);
        if (why)
            return why;
    }
    return NULL;
}

/* MAP of all pieces into out[]. */
static inline void sf_map_all(struct sf_run *r, const struct wf_args *args)
{
    for (unsigned k = 0; k < r->data->tensors; k++)
        if (!r->out[k])
            r->out[k] = test_calloc(r->data->t[k].count + 1, sizeof(uint32_t));
    sf_shuffle(r, false);
    for (uint32_t turn = 0; turn < r->pieces; turn++) {
        uint32_t p = r->order[turn];
        for (uint64_t from = r->from[p], to; from < r->to[p]; from = to) {
            const void *in[SF_INPUTS];
            to = from + 1 + sf_below(&r->seed, r->to[p] - from);
            struct wf_tile tile = sf_tile(r, p, from, to, in);
            struct wf_tile_result result = {WF_TILE_OK, 0, 0, NULL};
            tile.args = args;
            tile.out = r->out[r->of[p]] + from;
            wf_unit_map(r->unit, &sf_backend, p, &tile, &result);
            r->local = sf_mapped;
        }
    }
}

static inline void sf_free_out(struct sf_run *r)
{
    for (unsigned k = 0; k < SF_TENSORS; k++)
        if (r->out[k])
            test_free(r->out[k]);
}

#endif
