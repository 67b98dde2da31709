/* frame_ops.h - what is done with the elements of a tile: the four operations of struct wf_backend.
 * Included twice, so it has no guard.
 */

/* ---- MAP ---- */

/* The result that does not fit: only after a store said that there is one. */
static void WF_NAME(blame_result)(struct WF_NAME(walk) * w, const struct run *run,
                                  const void *stored)
{
    wf_real *x = w->result;
    size_t e = 0;
    WF_NAME(load)((enum wf_dtype)w->t->out_dtype, stored, run->count, x);
    while (e + 1 < run->count && !WF_NAME(is_bad)(x[e]))
        e++;
    *w->r = (struct wf_tile_result){WF_TILE_OVERFLOW, 0, run->at + e * run->step, NULL};
}

static bool WF_NAME(store_result)(struct WF_NAME(walk) * w, const struct run *run, void *state)
{
    const struct wf_tile *t = w->t;
    size_t bytes = dtype_bytes(t->out_dtype);
    char *out = (char *)t->out + (run->at - t->from) * bytes;
    char *to = run->step == 1 ? out : WF_NAME(scratch_at)(w, w->layout.raw);
    WF_NAME(map_fn) *const *map = state;
    (*map)(&w->block, w->result);
    unsigned bad = WF_NAME(store)((enum wf_dtype)t->out_dtype, w->result, run->count, to);
    if (run->step != 1)
        WF_NAME(scatter)(to, run->step, run->count, bytes, out);
    if (bad && t->check)
        WF_NAME(blame_result)(w, run, to);
    return !(bad && t->check);
}

static void WF_NAME(map)(const struct wf_tile *t, struct wf_tile_result *r)
{
    struct WF_NAME(walk) w;
    WF_NAME(begin_walk)(&w, t, -1, r);
    WF_NAME(map_fn) *map = WF_NAME(maps)[t->args->map];
    struct WF_NAME(visit)
        v = {w.layout.block, LOAD_DRAWS | LOAD_RANKS, WF_NAME(store_result), &map};
    WF_NAME(walk_units)(&w, t->from, t->to, &v);
}

/* ---- FOLD ---- */

static void WF_NAME(fold)(const struct wf_tile *t, unsigned stage,
                          void (*leaf)(void *arg, uint64_t leaf, const double *terms), void *arg,
                          struct wf_tile_result *r)
{
    struct WF_NAME(walk) w;
    WF_NAME(begin_walk)(&w, t, (int)stage, r);
    struct WF_NAME(folding) f = WF_NAME(begin_fold)(&w, stage, w.layout.sums);
    struct WF_NAME(visit)
        v = {w.layout.fold_block, LOAD_DRAWS | LOAD_RANKS, WF_NAME(add_terms), &f};
    for (uint64_t l = (t->from + WF_FOLD_BLOCK - 1) / WF_FOLD_BLOCK; l * WF_FOLD_BLOCK < t->to;
         l++) {
        uint64_t at = l * WF_FOLD_BLOCK, left = t->total - at;
        sum_clear(f.sums, f.fold->maxima, f.terms);
        f.lane = 0;
        if (!WF_NAME(walk_in_order)(&w, at, at + (left < WF_FOLD_BLOCK ? left : WF_FOLD_BLOCK), &v))
            return;
        sum_leaf(f.sums, f.fold->maxima, f.terms, f.sums);
        leaf(arg, l, f.sums);
    }
}

/* Sums per column: [column][term], rows in ascending order. */
struct WF_NAME(columns) {
    struct WF_NAME(folding) f;
    uint64_t columns;
};

static bool WF_NAME(add_columns)(struct WF_NAME(walk) * w, const struct run *run, void *state)
{
    struct WF_NAME(columns) *c = state;
    size_t room = w->layout.fold_block, terms = c->f.terms;
    double *found = WF_NAME(scratch_at)(w, w->layout.terms);
    uint64_t column = run->at % c->columns;
    c->f.terms_of(&w->block, found, room);
    for (size_t e = 0; e < run->count;) {
        uint64_t left = run->step == 1 ? c->columns - column : 1;
        size_t count = left < run->count - e ? (size_t)left : run->count - e;
        double *sums = c->f.sums + column * terms;
        for (size_t t = 0; t < terms; t++)
            if (t < c->f.fold->maxima)
                for (size_t k = 0; k < count; k++)
                    sums[k * terms + t] =
                        sum_join(true, sums[k * terms + t], found[t * room + e + k]);
            else
                for (size_t k = 0; k < count; k++)
                    sums[k * terms + t] += found[t * room + e + k];
        e += count;
        column = run->step == 1 ? 0 : column;
    }
    return true;
}

static void WF_NAME(fold_columns)(const struct wf_tile *t, unsigned stage, double *sums,
                                  struct wf_tile_result *r)
{
    struct WF_NAME(walk) w;
    WF_NAME(begin_walk)(&w, t, (int)stage, r);
    struct WF_NAME(columns) c = {WF_NAME(begin_fold)(&w, stage, 0), t->rows.stride};
    struct WF_NAME(visit)
        v = {w.layout.fold_block, LOAD_DRAWS | LOAD_RANKS, WF_NAME(add_columns), &c};
    c.f.sums = sums;
    WF_NAME(walk_units)(&w, t->from, t->to, &v);
}

/* ---- SELECT ---- */

struct WF_NAME(counting) {
    struct wf_count *c;
    WF_NAME(key_fn) * key;
    bool per_model;
};

/* Adds how many keys are below `low` and how many above `high`. Counted in the keys' own width:
 * vectors stay whole. */
static void WF_NAME(count_outside)(const WF_NAME(key) * keys, size_t count, WF_NAME(key) low,
                                   WF_NAME(key) high, uint64_t *below, uint64_t *above)
{
    WF_NAME(key) under = 0, over = 0;
    for (size_t e = 0; e < count; e++) {
        under += keys[e] < low;
        over += keys[e] > high;
    }
    *below += (uint64_t)under;
    *above += (uint64_t)over;
}

/* Hands `n` listed keys on, as 64 bits. */
static void WF_NAME(hand_on)(const struct wf_count *c, unsigned bracket,
                             const WF_NAME(key) * listed, size_t n)
{
    enum { BATCH = 512 };
    uint64_t batch[BATCH];
    for (size_t at = 0; at < n; at += BATCH) {
        size_t some = n - at < BATCH ? n - at : BATCH;
        for (size_t k = 0; k < some; k++)
            batch[k] = (uint64_t)listed[at + k];
        c->found(c->arg, bracket, batch, some);
    }
}

static void WF_NAME(count_bracket)(struct WF_NAME(walk) * w, const WF_NAME(key) * keys,
                                   size_t count, struct wf_count *c, unsigned bracket)
{
    struct wf_bracket *b = c->brackets + bracket;
    if (b->low > KEY_MAX) { /* above every key */
        b->below += count;
        return;
    }
    WF_NAME(key) low = (WF_NAME(key))b->low;
    WF_NAME(key) high = b->high < KEY_MAX ? (WF_NAME(key))b->high : KEY_MAX;
    uint64_t below = 0, above = 0;
    WF_NAME(count_outside)(keys, count, low, high, &below, &above);
    b->below += below;
    if (low > high || below + above == count)
        return;
    b->inside += count - below - above;
    if (!b->list)
        return;
    WF_NAME(key) *listed = WF_NAME(scratch_at)(w, w->layout.listed);
    WF_NAME(hand_on)(c, bracket, listed, WF_NAME(list_inside)(keys, count, low, high, listed));
}

static bool WF_NAME(count_keys)(struct WF_NAME(walk) * w, const struct run *run, void *state)
{
    const struct WF_NAME(counting) *now = state;
    struct wf_count *c = now->c;
    WF_NAME(key) *restrict keys = WF_NAME(scratch_at)(w, w->layout.raw);
    for (unsigned s = 0; s < c->streams; s++) {
        WF_NAME(key) zeros = 0;
        now->key(&w->block, now->per_model ? (int)s + 1 : 0, w->result);
        for (size_t e = 0; e < run->count; e++) {
            keys[e] = WF_NAME(key_of)(w->result[e]);
            zeros += keys[e] == 0;
        }
        c->zeros[s] += (uint64_t)zeros;
        for (unsigned k = 0; k < c->ranks; k++)
            WF_NAME(count_bracket)(w, keys, run->count, c, s * c->ranks + k);
    }
    return true;
}

static void WF_NAME(count)(const struct wf_tile *t, unsigned stage, struct wf_count *c,
                           struct wf_tile_result *r)
{
    const struct wf_stage *s = t->method->stages + stage;
    struct WF_NAME(walk) w;
    WF_NAME(begin_walk)(&w, t, -1, r);
    struct WF_NAME(counting) now = {c, WF_NAME(keys)[s->function], s->select.per_model};
    struct WF_NAME(visit) v = {w.layout.block, 0, WF_NAME(count_keys), &now};
    WF_NAME(walk_units)(&w, t->from, t->to, &v);
}
