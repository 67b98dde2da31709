/* oracle_driver.h - runs a case through units and a backend as the engine does, but cut in the
 * most awkward way: tensors in random pieces, pieces in random tiles, pieces in random order.
 *
 * Each tile sees its window and nothing else: the inputs are copied to buffers of exactly that size
 * at odd addresses, so that a sanitizer sees every element too far; what it writes stands between
 * sentinels.
 */
#ifndef WF_ORACLE_DRIVER_H
#define WF_ORACLE_DRIVER_H

#include "oracle_fixture.h"
#if defined(__x86_64__) && !defined(WF_HAVE_X86_ISAS)
#define WF_HAVE_X86_ISAS
#endif
#include "../../src/backend/backend.h"
#include "../../src/backend/frame.h"
#include "../../src/backend/scratch.h"
#include "../../src/stage/unit.h"

#define ORACLE_GUARD 64
#define ORACLE_GUARD_BYTE 0xa5
#define ORACLE_PIECES 6 /* at most, of a tensor */

struct oracle_result {
    char *memory[ORACLE_TENSORS], *out[ORACLE_TENSORS]; /* stored results */
    enum wf_tile_verdict verdict;
    const char *why; /* of a refusal */
};

struct oracle_run {
    const struct oracle_case *c;
    const struct wf_backend *backend;
    bool whole; /* one piece, one tile for each tensor */
    uint64_t cut[ORACLE_TENSORS][ORACLE_PIECES + 1];
    uint32_t pieces[ORACLE_TENSORS], first_piece[ORACLE_TENSORS];
    struct wf_unit_need need;
    void *scratch;
    struct oracle_result *result;
};

#define ORACLE_BACKENDS 3

/* The backends of this build that this CPU can run, the plainest first. */
static inline size_t oracle_backends(const struct wf_backend *out[ORACLE_BACKENDS])
{
    size_t n = 0;
    out[n++] = &wf_frame_base;
#ifdef WF_HAVE_X86_ISAS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
        __builtin_cpu_supports("fma"))
        out[n++] = &wf_frame_v3;
    if (n == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        out[n++] = &wf_frame_v4;
#endif
    return n;
}

/* ---- what the method asks for ---- */

static inline bool oracle_has_scope(const struct wf_method *m, const struct wf_args *args,
                                    enum wf_scope scope)
{
    for (size_t s = 0; s < m->n_stages; s++)
        if (args->scope[s] == scope)
            return true;
    return false;
}

static inline bool oracle_has_stage(const struct wf_method *m, const struct wf_args *args,
                                    enum wf_stage_kind kind)
{
    for (size_t s = 0; s < m->n_stages; s++)
        if (m->stages[s].kind == kind && args->scope[s] != WF_SCOPE_OFF)
            return true;
    return false;
}

static inline struct wf_rows oracle_rows(const struct oracle_case *c, const struct oracle_tensor *t)
{
    if (oracle_has_scope(c->method, &t->args, WF_SCOPE_COLUMN))
        return (struct wf_rows){t->shape.dim[0], t->shape.dim[1]};
    return wf_method_rows(c->method, t->shape.dim, t->shape.n);
}

/* A stage with column scope runs by row where there are no columns. */
static inline void oracle_settle_columns(struct oracle_case *c)
{
    for (unsigned k = 0; k < c->n_tensors; k++)
        for (size_t s = 0; s < c->method->n_stages; s++)
            if (c->tensor[k].args.scope[s] == WF_SCOPE_COLUMN && c->tensor[k].shape.n != 2)
                c->tensor[k].args.scope[s] = WF_SCOPE_ROW;
}

/* Leaves of a FOLD over the first tensors of a model. */
static inline uint64_t oracle_leaves(const struct oracle_case *c, unsigned tensors)
{
    uint64_t leaves = 0;
    for (unsigned k = 0; k < tensors; k++)
        leaves += (c->tensor[k].count + WF_FOLD_BLOCK - 1) / WF_FOLD_BLOCK;
    return leaves;
}

static inline void oracle_needs(struct oracle_run *r)
{
    const struct wf_method *m = r->c->method;
    struct wf_need need = {.inputs = r->c->n, .ranked = r->c->n};
    r->need = (struct wf_unit_need){.inputs = r->c->n,
                                    .bins = 1024u << oracle_below(4),
                                    .keys = 1024u << oracle_below(4),
                                    .pieces = ORACLE_PIECES * ORACLE_TENSORS,
                                    .count = r->c->count,
                                    .threads = 1};
    for (size_t s = 0; s < m->n_stages; s++) {
        const struct wf_stage *stage = &m->stages[s];
        if (stage->kind == WF_STAGE_SELECT) {
            r->need.streams = stage->select.per_model ? r->c->n - 1 : 1;
            if (stage->select.n_ranks > r->need.ranks)
                r->need.ranks = stage->select.n_ranks;
        }
        if (stage->kind == WF_STAGE_FOLD && stage->fold.terms(r->c->n) > need.terms)
            need.terms = stage->fold.terms(r->c->n);
    }
    r->need.terms = need.terms;
    r->need.table = need.table = r->c->tensor[0].args.n_t;
    r->need.leaves = oracle_leaves(r->c, r->c->n_tensors);
    for (unsigned k = 0; k < r->c->n_tensors; k++) {
        const struct oracle_tensor *t = &r->c->tensor[k];
        struct wf_rows rows = oracle_rows(r->c, t);
        uint64_t ranked = rows.stride == 1 ? rows.length : rows.length * rows.stride;
        if (oracle_has_stage(m, &t->args, WF_STAGE_RANK) && ranked > need.rank_row)
            need.rank_row = ranked;
        if (oracle_has_scope(m, &t->args, WF_SCOPE_COLUMN) && t->shape.dim[1] > r->need.columns)
            r->need.columns = t->shape.dim[1];
    }
    uint64_t bytes = (wf_scratch_bytes(&need) + 63) / 64 * 64;
    r->scratch = aligned_alloc(64, bytes + 64);
    memset(r->scratch, 0xff, bytes); /* NaN: nobody may count on zeros */
}

/* ---- pieces ---- */

static inline int oracle_by_size(const void *a, const void *b)
{
    uint64_t i = *(const uint64_t *)a, j = *(const uint64_t *)b;
    return (i > j) - (i < j);
}

static inline void oracle_cut(struct oracle_run *r)
{
    uint32_t all = 0;
    for (unsigned k = 0; k < r->c->n_tensors; k++) {
        uint64_t count = r->c->tensor[k].count, at[ORACLE_PIECES + 1] = {0};
        uint32_t n = r->whole ? 1 : 1 + (uint32_t)oracle_below(ORACLE_PIECES), kept = 0;
        for (uint32_t p = 1; p < n; p++)
            at[p] = oracle_below(count + 1);
        at[n] = count;
        qsort(at, n + 1, sizeof *at, oracle_by_size);
        r->cut[k][0] = 0;
        for (uint32_t p = 1; p <= n; p++) /* no empty pieces */
            if (at[p] != at[p - 1])
                r->cut[k][++kept] = at[p];
        r->pieces[k] = kept;
        r->first_piece[k] = all;
        all += kept;
    }
}

static inline void oracle_shuffle(uint32_t *order, uint32_t n, bool keep)
{
    for (uint32_t p = 0; p < n; p++)
        order[p] = p;
    for (uint32_t p = n; p > 1 && !keep; p--) {
        uint32_t q = (uint32_t)oracle_below(p), swap = order[q];
        order[q] = order[p - 1];
        order[p - 1] = swap;
    }
}

/* ---- tiles ---- */

/* The window that [from, to) needs, sometimes a little wider. */
static inline void oracle_window(const struct oracle_run *r, const struct oracle_tensor *t,
                                 enum wf_step step, uint64_t *from, uint64_t *to)
{
    const struct wf_method *m = r->c->method;
    struct wf_rows rows = oracle_rows(r->c, t);
    uint64_t slab = rows.length * rows.stride;
    if (step == WF_STEP_FOLD)
        *to = (*to + WF_FOLD_BLOCK - 1) / WF_FOLD_BLOCK * WF_FOLD_BLOCK;
    if (!r->whole && oracle_below(3) == 0) {
        *from -= oracle_below(*from < 99 ? *from + 1 : 99);
        *to += oracle_below(99);
    }
    if (oracle_has_scope(m, &t->args, WF_SCOPE_ROW) && slab) {
        *from -= *from % slab;
        *to = (*to + slab - 1) / slab * slab;
    }
    *to = *to < t->count ? *to : t->count;
}

/* Adds or maps (unit is const then) elements [from, to) of a piece. */
static inline void oracle_tile(struct oracle_run *r, unsigned k, struct wf_unit *u, uint32_t piece,
                               uint64_t from, uint64_t to, struct wf_tile_result *verdict)
{
    const struct oracle_tensor *t = &r->c->tensor[k];
    enum wf_step step = wf_unit_step(u);
    uint64_t first = from, last = to;
    char *memory[ORACLE_INPUTS];
    const void *in[ORACLE_INPUTS];
    oracle_window(r, t, step, &first, &last);
    for (uint32_t i = 0; i < r->c->n; i++) {
        size_t width = oracle_width(t->in_dtype[i]), lead = 1 + i % 3;
        memory[i] = malloc(lead + (last - first) * width);
        memcpy(memory[i] + lead, t->stored[i] + first * width, (last - first) * width);
        in[i] = memory[i] + lead;
    }
    struct wf_tile tile = {.method = r->c->method,
                           .in = in,
                           .in_dtype = t->in_dtype,
                           .n = r->c->n,
                           .cast = WF_DTYPE_NONE,
                           .wide = t->wide,
                           .check = true,
                           .first = first,
                           .count = last - first,
                           .from = from,
                           .to = to,
                           .total = t->count,
                           .rows = oracle_rows(r->c, t),
                           .draw_key = t->draw_key,
                           .model_leaf = oracle_leaves(r->c, k),
                           .out_dtype = t->out_dtype,
                           .scratch = r->scratch};
    *verdict = (struct wf_tile_result){WF_TILE_OK, 77, 77, NULL};
    if (step == WF_STEP_MAP) {
        tile.out = r->result->out[k] + from * oracle_width(t->out_dtype);
        wf_unit_map(u, r->backend, piece, &tile, verdict);
    } else {
        wf_unit_add(u, r->backend, piece, &tile, verdict);
    }
    for (uint32_t i = 0; i < r->c->n; i++)
        free(memory[i]);
}

/* One piece in one step. `base` is the group's number for the tensor's first element. False when
 * the tensor is refused. */
static inline bool oracle_piece(struct oracle_run *r, unsigned k, struct wf_unit *u,
                                uint32_t in_group, uint32_t in_tensor, uint64_t base)
{
    uint64_t at = base + r->cut[k][in_tensor], end = base + r->cut[k][in_tensor + 1];
    bool map = wf_unit_step(u) == WF_STEP_MAP;
    while (at < end) {
        uint64_t from = at, to = end;
        if (!map && !wf_unit_wants(u, in_group, &from, &to))
            break;
        assert_true(from >= at && to <= end && from < to);
        at = to;
        while (from < to) {
            uint64_t some = r->whole || oracle_below(2) ? to - from : 1 + oracle_below(to - from);
            struct wf_tile_result verdict;
            oracle_tile(r, k, u, in_group, from - base, from - base + some, &verdict);
            if (verdict.verdict != WF_TILE_OK) {
                r->result->verdict = verdict.verdict;
                r->result->why = verdict.why;
                return false;
            }
            from += some;
        }
    }
    return true;
}

/* ---- units ---- */

/* All steps of the unit over tensors [k, end), up to MAP. */
static inline bool oracle_steps(struct oracle_run *r, struct wf_unit *u, unsigned k, unsigned end)
{
    uint32_t first = r->first_piece[k], n = 0, order[ORACLE_PIECES * ORACLE_TENSORS];
    for (unsigned j = k; j < end; j++)
        n += r->pieces[j];
    for (unsigned steps = 0; wf_unit_step(u) != WF_STEP_MAP; steps++) {
        assert_true(steps < 40); /* each stage has a few: this one does not end */
        oracle_shuffle(order, n, r->whole || wf_unit_step(u) == WF_STEP_COLUMNS);
        for (uint32_t p = 0; p < n; p++) {
            unsigned j = k;
            while (j + 1 < end && order[p] + first >= r->first_piece[j + 1])
                j++;
            uint32_t in_tensor = order[p] + first - r->first_piece[j];
            uint64_t base = r->c->tensor[j].offset - r->c->tensor[k].offset;
            if (!oracle_piece(r, j, u, order[p], in_tensor, base))
                return false;
        }
        const char *why = wf_unit_advance(u);
        if (why) {
            r->result->verdict = WF_TILE_REFUSED;
            r->result->why = why;
            return false;
        }
    }
    return true;
}

static inline struct wf_unit *oracle_new_unit(struct oracle_run *r)
{
    struct wf_err e = {0};
    struct wf_unit *u = wf_unit_create(&e, &r->need);
    if (!u)
        fail_msg("no unit: %s", e.text);
    return u;
}

/* The unit of the flattened model, ready to be referred to; NULL if no stage has that scope. */
static inline struct wf_unit *oracle_model_unit(struct oracle_run *r, bool *ok)
{
    const struct oracle_case *c = r->c;
    *ok = true;
    if (!oracle_has_scope(c->method, &c->tensor[0].args, WF_SCOPE_MODEL))
        return NULL;
    struct wf_unit *u = oracle_new_unit(r);
    struct wf_unit_group group = {.method = c->method,
                                  .args = &c->tensor[0].args,
                                  .scope = WF_SCOPE_MODEL,
                                  .count = c->count,
                                  .tensor = c->count,
                                  .leaves = oracle_leaves(c, c->n_tensors)};
    for (unsigned k = 0; k < c->n_tensors; k++) {
        group.pieces += r->pieces[k];
        group.wide |= c->tensor[k].wide;
    }
    wf_unit_begin(u, &group);
    *ok = oracle_steps(r, u, 0, c->n_tensors);
    return u;
}

static inline bool oracle_run_tensor(struct oracle_run *r, unsigned k, struct wf_unit *u,
                                     const struct wf_unit *model)
{
    const struct oracle_tensor *t = &r->c->tensor[k];
    bool by_column = oracle_has_scope(r->c->method, &t->args, WF_SCOPE_COLUMN);
    struct wf_unit_group group = {.method = r->c->method,
                                  .args = &t->args,
                                  .scope = WF_SCOPE_TENSOR,
                                  .count = t->count,
                                  .tensor = t->count,
                                  .columns = by_column ? t->shape.dim[1] : 0,
                                  .pieces = r->pieces[k],
                                  .wide = t->wide,
                                  .model = model,
                                  .model_piece = r->first_piece[k]};
    uint32_t order[ORACLE_PIECES];
    wf_unit_begin(u, &group);
    if (!oracle_steps(r, u, k, k + 1))
        return false;
    oracle_shuffle(order, r->pieces[k], r->whole);
    for (uint32_t p = 0; p < r->pieces[k]; p++)
        if (!oracle_piece(r, k, u, order[p], order[p], 0))
            return false;
    return true;
}

static inline void oracle_free_result(const struct oracle_case *c, struct oracle_result *result)
{
    for (unsigned k = 0; k < c->n_tensors; k++)
        test_free(result->memory[k]);
}

/* The whole case. Results stand between sentinels, which are looked at here. */
static inline void oracle_drive(const struct oracle_case *c, const struct wf_backend *backend,
                                bool whole, struct oracle_result *result)
{
    struct oracle_run r = {.c = c, .backend = backend, .whole = whole, .result = result};
    bool ok;
    *result = (struct oracle_result){.verdict = WF_TILE_OK};
    for (unsigned k = 0; k < c->n_tensors; k++) {
        size_t all = c->tensor[k].count * oracle_width(c->tensor[k].out_dtype) + 2 * ORACLE_GUARD;
        result->memory[k] = test_malloc(all + 1);
        memset(result->memory[k], ORACLE_GUARD_BYTE, all + 1);
        result->out[k] = result->memory[k] + ORACLE_GUARD + 1; /* odd on purpose */
    }
    oracle_needs(&r);
    oracle_cut(&r);
    struct wf_unit *model = oracle_model_unit(&r, &ok), *u = oracle_new_unit(&r);
    for (unsigned k = 0; k < c->n_tensors && ok; k++)
        ok = oracle_run_tensor(&r, k, u, model);
    wf_unit_destroy(u);
    wf_unit_destroy(model);
    free(r.scratch);
    for (unsigned k = 0; k < c->n_tensors; k++) {
        size_t bytes = c->tensor[k].count * oracle_width(c->tensor[k].out_dtype);
        for (size_t i = 0; i < bytes + 2 * ORACLE_GUARD + 1; i++)
            if ((i < ORACLE_GUARD + 1 || i >= ORACLE_GUARD + 1 + bytes) &&
                (unsigned char)result->memory[k][i] != ORACLE_GUARD_BYTE)
                fail_msg("%s: byte %td around an output of %zu was written", c->method->name,
                         (ptrdiff_t)i - ORACLE_GUARD - 1, bytes);
    }
}

#endif
