/* frame_walk.h - which elements of a tile, in what runs, with which numbers. Included twice, so it
 * has no guard.
 *
 * A unit is a stretch of the tensor for which stages are run before its elements are looked at:
 * nothing (the whole tensor), a row, a slab of rows that lie interleaved, or a column.
 *
 *   rows.stride 1             |  unit 0  |  unit 1  |  unit 2  |      a unit is a row
 *   else, ranks only          |0 1 2 0 1 2 0 1 2|0 1 2 ...            a unit is a slab of rows
 *   else, numbers change      |0 1 2 0 1 2 0 1 2|3 4 5 ...            a unit is a row, every third
 *   columns                   |0 1 2 0 1 2 0 1 2 ...                  a unit is a column
 *
 * Runs end with blocks, units and splits; what a run holds is consumed by a function.
 */

#ifndef WALK_NO_UNIT
#define WALK_NO_UNIT UINT64_MAX
#define CACHE_LINE 64
enum { LOAD_DRAWS = 1, LOAD_RANKS = 2 }; /* besides inputs */
#endif

struct WF_NAME(walk) {
    const struct wf_tile *t;
    struct wf_tile_result *r;
    struct wf_layout layout;
    struct WF_NAME(wf_view) view;
    struct WF_NAME(block) block; /* the run that is in x */
    wf_real *x, *result, *ranks;
    wf_real (*m)[WF_ARGS_MODEL];
    struct wf_args args; /* of the unit */
    bool own_args;       /* units have numbers of their own */
    bool ranked;         /* ranks of the unit are known */

    uint64_t unit, unit_at;          /* that was begun, and its first element */
    uint64_t unit_length, unit_step; /* elements in a unit, and from one to the next */
    size_t unit_rows, split;         /* rows in a unit; splits that the view holds */
    struct run run;                  /* that is in x */
    unsigned run_what;
};

/* Does something with the elements of a run, loaded into w->block; false: stops the walk. */
typedef bool WF_NAME(consume_fn)(struct WF_NAME(walk) * w, const struct run *run, void *state);

static void *WF_NAME(scratch_at)(const struct WF_NAME(walk) * w, size_t at)
{
    return (char *)w->t->scratch + at;
}

/* ---- numbers ---- */

static void WF_NAME(set_view)(struct WF_NAME(walk) * w)
{
    for (int k = 0; k < WF_ARGS_GLOBAL; k++)
        w->view.g[k] = (wf_real)w->args.g[k];
    for (uint32_t i = 0; i < w->t->n; i++)
        for (int k = 0; k < WF_ARGS_MODEL; k++)
            w->m[i][k] = (wf_real)w->args.m[i][k];
    w->split = 0;
}

/* The table is the same for all elements. */
static const wf_real *WF_NAME(set_table)(const struct WF_NAME(walk) * w)
{
    wf_real *table = WF_NAME(scratch_at)(w, w->layout.table);
    for (uint32_t k = 0; k < w->args.n_t; k++)
        table[k] = (wf_real)w->args.t[k];
    return table;
}

/* Makes the view that of element `at`; returns the element at which it ends. */
static uint64_t WF_NAME(set_splits)(struct WF_NAME(walk) * w, uint64_t at)
{
    const struct wf_split *s = w->t->splits;
    if (w->split && s[w->split - 1].index > at)
        WF_NAME(set_view)(w);
    for (; w->split < w->t->n_splits && s[w->split].index <= at; w->split++) {
        const struct wf_split *now = s + w->split;
        *(now->input < 0 ? &w->view.g[now->slot] : &w->m[now->input][now->slot]) =
            (wf_real)now->value;
    }
    return w->split < w->t->n_splits ? s[w->split].index : UINT64_MAX;
}

/* ---- elements ---- */

static int WF_NAME(is_bad)(wf_real x)
{
    return !(x - x == 0);
}

/* Which input, which element: only after a load said that there is one. */
static void WF_NAME(blame_input)(struct WF_NAME(walk) * w, const struct run *run)
{
    for (uint32_t i = 0; i < w->t->n; i++)
        for (size_t e = 0; e < run->count; e++)
            if (WF_NAME(is_bad)(w->x[i * w->layout.stride + e])) {
                *w->r = (struct wf_tile_result){WF_TILE_INPUT_NOT_FINITE, i,
                                                run->at + e * run->step, NULL};
                return;
            }
}

/* Elements that do not lie side by side, to or from where they do. */
static void WF_NAME(gather)(const char *from, uint64_t step, size_t count, size_t bytes, char *to)
{
    if (bytes == 2)
        for (size_t e = 0; e < count; e++)
            memcpy(to + e * 2, from + e * step * 2, 2);
    else if (bytes == 4)
        for (size_t e = 0; e < count; e++)
            memcpy(to + e * 4, from + e * step * 4, 4);
    else
        for (size_t e = 0; e < count; e++)
            memcpy(to + e * 8, from + e * step * 8, 8);
}

static void WF_NAME(scatter)(const char *from, uint64_t step, size_t count, size_t bytes, char *to)
{
    for (size_t e = 0; e < count; e++)
        memcpy(to + e * step * bytes, from + e * bytes, bytes);
}

/* Inputs are read a short run of each at a time, which the hardware takes for the end of a stream:
 * it would wait for memory at the start of every run. */
static void WF_NAME(fetch_ahead)(const char *next, size_t bytes)
{
    for (size_t at = 0; at < bytes; at += CACHE_LINE)
        __builtin_prefetch(next + at, 0, 1);
}

static unsigned WF_NAME(load_input)(const struct WF_NAME(walk) * w, uint32_t i,
                                    const struct run *run)
{
    enum wf_dtype d = (enum wf_dtype)w->t->in_dtype[i];
    size_t bytes = dtype_bytes(d);
    const char *in = (const char *)w->t->in[i] + (run->at - w->t->first) * bytes;
    wf_real *x = w->x + i * w->layout.stride;
    if (run->step != 1) {
        char *raw = WF_NAME(scratch_at)(w, w->layout.raw);
        WF_NAME(gather)(in, run->step, run->count, bytes, raw);
        in = raw;
    } else if (w->t->far)
        WF_NAME(fetch_ahead)(in + run->count * bytes, run->count * bytes);
    unsigned bad = WF_NAME(load)(d, in, run->count, x);
    if (w->t->cast != d)
        bad |= WF_NAME(cast)((enum wf_dtype)w->t->cast, x, run->count);
    return bad;
}

static void WF_NAME(load_draws)(const struct WF_NAME(walk) * w, uint32_t i, const struct run *run)
{
    wf_real *to = w->x + (w->t->n + i) * w->layout.stride;
    if (run->step != 1) {
        for (size_t e = 0; e < run->count; e++)
            to[e] = (wf_real)(int32_t)wf_draw(w->t->draw_key, run->at + e * run->step, i) *
                    (wf_real)0x1p-24;
        return;
    }
    uint32_t *words = WF_NAME(scratch_at)(w, w->layout.words);
    size_t lead = run->at % 4;
    draw_words(w->t->draw_key, i, run->at / 4, (lead + run->count + 3) / 4, (draw_pair *)words);
    for (size_t e = 0; e < run->count; e++)
        to[e] = (wf_real)(int32_t)(words[lead + e] >> 8) * (wf_real)0x1p-24;
}

static void WF_NAME(load_ranks)(const struct WF_NAME(walk) * w, const struct run *run)
{
    uint64_t place = (run->at - w->unit_at) / w->unit_step;
    for (uint32_t i = 1; i < w->t->n; i++)
        memcpy(w->x + (2 * w->t->n + i) * w->layout.stride,
               w->ranks + (i - 1) * w->layout.rank_stride + place, run->count * sizeof(wf_real));
}

/* Brings a run into x, unless it is there. False: an input is not finite, and may not be. */
static bool WF_NAME(load_run)(struct WF_NAME(walk) * w, const struct run *run, unsigned what)
{
    const struct run *now = &w->run;
    what &= w->t->method->draws ? ~0u : ~(unsigned)LOAD_DRAWS;
    what &= w->ranked ? ~0u : ~(unsigned)LOAD_RANKS;
    if (now->count == run->count && now->at == run->at && now->step == run->step &&
        (w->run_what & what) == what)
        return true;
    unsigned bad = 0;
    for (uint32_t i = 0; i < w->t->n; i++)
        bad |= WF_NAME(load_input)(w, i, run);
    if (what & LOAD_DRAWS)
        for (uint32_t i = w->t->method->base == WF_BASE_REQUIRED; i < w->t->n; i++)
            WF_NAME(load_draws)(w, i, run);
    if (what & LOAD_RANKS)
        WF_NAME(load_ranks)(w, run);
    w->run = *run;
    w->run_what = what;
    w->block.count = run->count;
    w->block.width = (int)w->t->n * (what & LOAD_RANKS ? 3 : what & LOAD_DRAWS ? 2 : 1);
    if (bad && w->t->check)
        WF_NAME(blame_input)(w, run);
    return !(bad && w->t->check);
}

/* Elements at, at + step, ... of a unit that was begun, in runs of at most `block`. */
static bool WF_NAME(walk_runs)(struct WF_NAME(walk) * w, uint64_t at, uint64_t step, uint64_t count,
                               size_t block, unsigned what, WF_NAME(consume_fn) * consume,
                               void *state)
{
    while (count) {
        struct run run = {at, step, count < block ? (size_t)count : block};
        if (w->t->n_splits) {
            uint64_t left = (WF_NAME(set_splits)(w, at) - at - 1) / step + 1;
            run.count = left < run.count ? (size_t)left : run.count;
        }
        if (!WF_NAME(load_run)(w, &run, what) || !consume(w, &run, state))
            return false;
        at += run.count * step;
        count -= run.count;
    }
    return true;
}
