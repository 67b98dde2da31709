/* frame_rows.h - what is found for a row or column before its elements are looked at, and the walk
 * over units. Included twice, so it has no guard.
 */

/* A FOLD in the making. */
struct WF_NAME(folding) {
    const struct wf_fold *fold;
    WF_NAME(fold_fn) * terms_of;
    uint32_t terms;
    double *sums;
    size_t lane; /* of the next element */
};

static struct WF_NAME(folding)
    WF_NAME(begin_fold)(const struct WF_NAME(walk) * w, unsigned stage, size_t sums)
{
    const struct wf_stage *s = w->t->method->stages + stage;
    return (struct WF_NAME(folding)){.fold = &s->fold,
                                     .terms_of = WF_NAME(folds)[s->function],
                                     .terms = s->fold.terms(w->t->n),
                                     .sums = WF_NAME(scratch_at)(w, sums)};
}

static bool WF_NAME(add_terms)(struct WF_NAME(walk) * w, const struct run *run, void *state)
{
    struct WF_NAME(folding) *f = state;
    double *terms = WF_NAME(scratch_at)(w, w->layout.terms);
    f->terms_of(&w->block, terms, w->layout.fold_block);
    sum_add(terms, w->layout.fold_block, run->count, f->lane, f->fold->maxima, f->terms, f->sums);
    f->lane = (f->lane + run->count) % WF_FOLD_LANES;
    return true;
}

static bool WF_NAME(refuse)(struct WF_NAME(walk) * w, const char *why)
{
    if (why)
        *w->r = (struct wf_tile_result){WF_TILE_REFUSED, 0, w->unit_at, why};
    return !why;
}

/* A FOLD of the unit, which is a row. */
static bool WF_NAME(fold_row)(struct WF_NAME(walk) * w, unsigned stage)
{
    struct WF_NAME(folding) f = WF_NAME(begin_fold)(w, stage, w->layout.row_sums);
    double *tree = WF_NAME(scratch_at)(w, w->layout.tree), *value = f.sums;
    uint64_t leaves = 0;
    for (uint64_t at = 0; at < w->unit_length; at += WF_FOLD_BLOCK, leaves++) {
        uint64_t left = w->unit_length - at, count = left < WF_FOLD_BLOCK ? left : WF_FOLD_BLOCK;
        sum_clear(f.sums, f.fold->maxima, f.terms);
        f.lane = 0;
        if (!WF_NAME(walk_runs)(w, w->unit_at + at * w->unit_step, w->unit_step, count,
                                w->layout.fold_block, LOAD_DRAWS | LOAD_RANKS, WF_NAME(add_terms),
                                &f))
            return false;
        sum_leaf(f.sums, f.fold->maxima, f.terms, value);
        sum_put_leaf(tree, leaves, f.fold->maxima, f.terms, value);
    }
    sum_tree(tree, leaves, f.fold->maxima, f.terms, value);
    if (!WF_NAME(refuse)(w, f.fold->finish(value, w->unit_length, &w->args)))
        return false;
    WF_NAME(set_view)(w);
    return true;
}

struct WF_NAME(keying) {
    WF_NAME(key_fn) * key;
    size_t place; /* in the unit */
};

static bool WF_NAME(put_keys)(struct WF_NAME(walk) * w, const struct run *run, void *state)
{
    struct WF_NAME(keying) *k = state;
    for (uint32_t i = 1; i < w->t->n; i++)
        k->key(&w->block, (int)i, w->ranks + (i - 1) * w->layout.rank_stride + k->place);
    k->place += run->count;
    return true;
}

/* A RANK of the rows in the unit. */
static bool WF_NAME(rank_unit)(struct WF_NAME(walk) * w, unsigned stage)
{
    struct WF_NAME(keying) k = {.key = WF_NAME(keys)[w->t->method->stages[stage].function]};
    if (!WF_NAME(walk_runs)(w, w->unit_at, w->unit_step, w->unit_length, w->layout.block, 0,
                            WF_NAME(put_keys), &k))
        return false;
    for (uint32_t i = 1; i < w->t->n; i++)
        for (size_t row = 0; row < w->unit_rows; row++)
            WF_NAME(rank_row)
    (w->ranks + (i - 1) * w->layout.rank_stride + row, w->unit_rows, (size_t)w->t->rows.length,
     (enum wf_ties)w->args.ties, WF_NAME(scratch_at)(w, w->layout.pairs),
     WF_NAME(scratch_at)(w, w->layout.digits));
    w->ranked = true;
    w->run.count = 0; /* what is loaded knows no ranks, or others */
    return true;
}

static bool WF_NAME(begin_unit)(struct WF_NAME(walk) * w, uint64_t unit, uint64_t at)
{
    const struct wf_tile *t = w->t;
    if (w->unit == unit)
        return true;
    w->unit = unit;
    w->unit_at = at;
    w->ranked = false;
    if (w->own_args) {
        memcpy(w->args.g, t->args->g, sizeof w->args.g);
        memcpy(w->args.m, t->args->m, t->n * sizeof *w->args.m);
        if (t->columns) {
            const struct wf_fold *fold = &t->method->stages[t->column_stage].fold;
            const double *sums = t->columns + unit * fold->terms(t->n);
            if (!WF_NAME(refuse)(w, fold->finish(sums, t->rows.length, &w->args)))
                return false;
        }
        WF_NAME(set_view)(w);
    }
    for (unsigned s = 0; t->local >> s; s++)
        if (t->local >> s & 1 &&
            !(t->method->stages[s].kind == WF_STAGE_FOLD ? WF_NAME(fold_row)(w, s)
                                                         : WF_NAME(rank_unit)(w, s)))
            return false;
    return true;
}

/* ---- the walk ---- */

struct WF_NAME(visit) {
    size_t block;
    unsigned what;
    WF_NAME(consume_fn) * consume;
    void *state;
};

static bool WF_NAME(visit_runs)(struct WF_NAME(walk) * w, uint64_t at, uint64_t count,
                                const struct WF_NAME(visit) * v)
{
    return WF_NAME(walk_runs)(w, at, w->unit_step, count, v->block, v->what, v->consume, v->state);
}

/* Elements of [from, to) by unit: those of a unit that is not contiguous in one go. */
static bool WF_NAME(walk_units)(struct WF_NAME(walk) * w, uint64_t from, uint64_t to,
                                const struct WF_NAME(visit) * v)
{
    uint64_t step = w->unit_step, slab = w->unit_length * step;
    if (from >= to)
        return true;
    for (uint64_t s = from / slab; s * slab < to; s++)
        for (uint64_t lane = 0; lane < step; lane++) {
            uint64_t at = s * slab + lane;
            uint64_t begin = from > at ? (from - at + step - 1) / step : 0;
            uint64_t end = to > at ? (to - at + step - 1) / step : 0;
            end = end < w->unit_length ? end : w->unit_length;
            if (begin < end && !(WF_NAME(begin_unit)(w, s * step + lane, at) &&
                                 WF_NAME(visit_runs)(w, at + begin * step, end - begin, v)))
                return false;
        }
    return true;
}

/* Elements of [from, to) in the order of the tensor. Where units interleave, that begins a unit for
 * every element: dear, and right; no method that has such rows sums over the tensor with them. */
static bool WF_NAME(walk_in_order)(struct WF_NAME(walk) * w, uint64_t from, uint64_t to,
                                   const struct WF_NAME(visit) * v)
{
    uint64_t step = w->unit_step, slab = w->unit_length * step;
    if (step == 1)
        return WF_NAME(walk_units)(w, from, to, v);
    for (uint64_t e = from; e < to; e++) {
        uint64_t s = e / slab, lane = e % step;
        if (!WF_NAME(begin_unit)(w, s * step + lane, s * slab + lane) ||
            !WF_NAME(visit_runs)(w, e, 1, v))
            return false;
    }
    return true;
}

static void WF_NAME(choose_units)(struct WF_NAME(walk) * w, bool folds)
{
    const struct wf_tile *t = w->t;
    w->unit_length = t->total;
    w->unit_step = w->unit_rows = 1;
    if (!t->local && !t->columns)
        return;
    bool slabs = t->rows.stride != 1 && !folds && !t->columns;
    w->unit_rows = slabs ? (size_t)t->rows.stride : 1;
    w->unit_step = slabs ? 1 : t->rows.stride;
    w->unit_length = slabs ? t->rows.length * t->rows.stride : t->rows.length;
}

/* Begins a tile. `stage` is the FOLD that it is for, or -1. */
static void WF_NAME(begin_walk)(struct WF_NAME(walk) * w, const struct wf_tile *t, int stage,
                                struct wf_tile_result *r)
{
    struct wf_need need = {.inputs = t->n, .ranked = t->n - 1, .table = t->args->n_t};
    bool folds = false;
    for (unsigned s = 0; s < t->method->n_stages; s++) {
        const struct wf_stage *now = t->method->stages + s;
        bool local = t->local >> s & 1;
        if (now->kind == WF_STAGE_FOLD && (local || (int)s == stage)) {
            uint32_t terms = now->fold.terms(t->n);
            need.terms = terms > need.terms ? terms : need.terms;
        }
        folds |= local && now->kind == WF_STAGE_FOLD;
        if (local && now->kind == WF_STAGE_RANK)
            need.rank_row = t->rows.length * t->rows.stride;
    }
    *w = (struct WF_NAME(walk)){.t = t, .r = r, .args = *t->args, .unit = WALK_NO_UNIT};
    *r = (struct wf_tile_result){WF_TILE_OK, 0, 0, NULL};
    wf_scratch_layout(&need, sizeof(wf_real), &w->layout);
    WF_NAME(choose_units)(w, folds);
    w->x = WF_NAME(scratch_at)(w, w->layout.x);
    w->result = WF_NAME(scratch_at)(w, w->layout.result);
    w->ranks = WF_NAME(scratch_at)(w, w->layout.ranks);
    w->m = WF_NAME(scratch_at)(w, w->layout.m);
    w->own_args = folds || t->columns;
    WF_NAME(set_view)(w);
    if (w->own_args)
        w->args.m = WF_NAME(scratch_at)(w, w->layout.args);
    w->view.m = (const wf_real(*)[WF_ARGS_MODEL])w->m;
    w->view.t = WF_NAME(set_table)(w);
    w->view.row_last = t->rows.length ? (wf_real)(t->rows.length - 1) : 0;
    w->view.tensor = (wf_real)t->total;
    w->block = (struct WF_NAME(block)){
        .x = w->x, .stride = w->layout.stride, .n = (int)t->n, .v = &w->view};
}
