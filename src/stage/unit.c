/* unit.c - the stages of one group in their order, FOLD among them, and what is known for MAP. */
#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../base/mem.h"
#include "../base/num.h"
#include "join.h"
#include "keybits.h"
#include "unit_state.h"

#define COUNT_UNKNOWN ((uint64_t)1 << 40) /* elements, for the size of a tree */

/* ---- memory ---- */

/* Cuts that one stage can make, times the stages that can be before the last. */
static uint64_t conclusions_max(const struct wf_unit_need *need)
{
    return (uint64_t)need->inputs * WF_RANKS_MAX * (WF_STAGES_MAX - 1);
}

static uint32_t threads_of(const struct wf_unit_need *need)
{
    return need->threads ? need->threads : 1;
}

/* A split has two entries: from element 0, and from its own. */
static void place_bench(struct wf_unit_bench *b, struct wf_room *room,
                        const struct wf_unit_need *need, uint64_t leaves)
{
    wf_select_bench_place(&b->select, room, need);
    b->splits = wf_room_take(room, 2 * conclusions_max(need), sizeof *b->splits);
    b->m = wf_room_take(room, need->inputs, sizeof *b->m);
    if (need->terms)
        wf_sums_place(&b->sums, room, wf_sums_capacity(leaves, 1), need->terms);
}

/* Runs of leaves begin behind gaps, and one at the start; where ranks meet, one ends and another
 * begins. */
static uint32_t tree_capacity(const struct wf_unit_need *need, uint64_t leaves)
{
    uint64_t runs = need->open && need->open < need->pieces ? need->open + 1u : need->pieces;
    return need->joined > 1 ? wf_sums_capacity_joined(leaves, runs + need->joined)
                            : wf_sums_capacity(leaves, runs);
}

static void place(struct wf_unit *u, struct wf_room *room, const struct wf_unit_need *need)
{
    uint64_t count = need->count ? need->count : COUNT_UNKNOWN, cells;
    uint64_t leaves = count / WF_FOLD_BLOCK + (count % WF_FOLD_BLOCK > 0);
    leaves = need->leaves ? need->leaves : leaves;
    struct wf_unit_bench measured;
    u->shared = wf_room_take(room, 1, sizeof *u->shared);
    u->args.m = wf_room_take(room, need->inputs, sizeof *u->args.m);
    u->args.t = wf_room_take(room, need->table, sizeof *u->args.t);
    u->conclusions = wf_room_take(room, conclusions_max(need), sizeof *u->conclusions);
    u->splits = wf_room_take(room, conclusions_max(need), sizeof *u->splits);
    wf_selecting_place(&u->select, room, need);
    if (need->terms)
        wf_sums_place(&u->sums, room, tree_capacity(need, leaves), need->terms);
    if (!wf_mul_u64(need->columns, need->terms, &cells))
        cells = UINT64_MAX;
    u->columns = wf_room_take(room, cells, sizeof *u->columns);
    u->joint = wf_room_take(room, 1, wf_join_bytes(need, u->select.keys_max));
    u->benches = wf_room_take(room, threads_of(need), sizeof *u->benches);
    for (uint32_t i = 0; i < threads_of(need); i++)
        place_bench(u->benches ? &u->benches[i] : &measured, room, need, leaves);
}

uint64_t wf_unit_bytes(const struct wf_unit_need *need)
{
    struct wf_room room = {0};
    struct wf_unit u;
    wf_room_take(&room, 1, sizeof u);
    place(&u, &room, need);
    return room.used;
}

struct wf_unit *wf_unit_create(struct wf_err *e, const struct wf_unit_need *need)
{
    struct wf_room room = {0};
    uint64_t bytes = wf_unit_bytes(need);
    struct wf_unit *u = wf_alloc(e, WF_MEM_RING, 1, bytes, "statistics (lower --memory)");
    if (!u)
        return NULL;
    room.base = (char *)u;
    wf_room_take(&room, 1, sizeof *u);
    u->need = *need;
    place(u, &room, need);
    wf_selecting_create(&u->select);
    pthread_mutex_init(&u->shared->lock, NULL);
    pthread_cond_init(&u->shared->returned, NULL);
    for (uint32_t i = 0; i < threads_of(need); i++) {
        u->benches[i].next = u->shared->free;
        u->shared->free = &u->benches[i];
    }
    return u;
}

void wf_unit_destroy(struct wf_unit *u)
{
    if (!u)
        return;
    wf_selecting_destroy(&u->select);
    pthread_mutex_destroy(&u->shared->lock);
    pthread_cond_destroy(&u->shared->returned);
    wf_free(u);
}

static struct wf_unit_bench *take_bench(const struct wf_unit *u)
{
    struct wf_unit_shared *s = u->shared;
    pthread_mutex_lock(&s->lock);
    while (!s->free)
        pthread_cond_wait(&s->returned, &s->lock);
    struct wf_unit_bench *b = s->free;
    s->free = b->next;
    pthread_mutex_unlock(&s->lock);
    return b;
}

static void return_bench(const struct wf_unit *u, struct wf_unit_bench *b)
{
    struct wf_unit_shared *s = u->shared;
    pthread_mutex_lock(&s->lock);
    b->next = s->free;
    s->free = b;
    pthread_cond_signal(&s->returned);
    pthread_mutex_unlock(&s->lock);
}

/* ---- stages ---- */

static const struct wf_stage *stage_of(const struct wf_unit *u)
{
    return &u->group.method->stages[u->stage];
}

bool wf_unit_has_stage(const struct wf_unit *u, unsigned s)
{
    enum wf_scope scope = u->group.args->scope[s];
    switch (u->group.method->stages[s].kind) {
    case WF_STAGE_SELECT:
        return scope == u->group.scope;
    case WF_STAGE_FOLD:
        return scope == u->group.scope ||
               (u->group.scope == WF_SCOPE_TENSOR && scope == WF_SCOPE_COLUMN);
    default:
        return false;
    }
}

/* The stages of row scope before the unit's: a tile runs them anew. */
static uint32_t local_stages(const struct wf_unit *u, const struct wf_args *args)
{
    uint32_t mask = 0;
    for (unsigned s = 0; s < u->stage; s++) {
        enum wf_stage_kind kind = u->group.method->stages[s].kind;
        bool runs = kind == WF_STAGE_FOLD || kind == WF_STAGE_RANK;
        mask |= (uint32_t)(runs && args->scope[s] == WF_SCOPE_ROW) << s;
    }
    return mask;
}

static void begin_select(struct wf_unit *u)
{
    const struct wf_select *select = &stage_of(u)->select;
    struct wf_select_group group = {.select = select,
                                    .args = &u->args,
                                    .size = {.count = u->group.count, .tensor = u->group.tensor},
                                    .stage = u->stage,
                                    .pieces = u->group.pieces,
                                    .wide = u->group.wide};
    wf_selecting_begin(&u->select, &group, select->per_model ? u->args.n - 1 : 1);
    u->step = u->select.step;
}

static uint64_t leaves_of(const struct wf_unit *u)
{
    if (u->group.scope == WF_SCOPE_MODEL)
        return u->group.leaves;
    return u->group.count / WF_FOLD_BLOCK + (u->group.count % WF_FOLD_BLOCK > 0);
}

static void begin_fold(struct wf_unit *u)
{
    const struct wf_fold *fold = &stage_of(u)->fold;
    uint32_t terms = fold->terms(u->args.n);
    uint32_t maxima = (uint32_t)wf_min_u64(fold->maxima, terms);
    if (u->args.scope[u->stage] == WF_SCOPE_COLUMN) {
        for (uint64_t k = 0; k < u->group.columns * terms; k++)
            u->columns[k] = k % terms < maxima ? -HUGE_VAL : 0.0;
        u->step = WF_STEP_COLUMNS;
        return;
    }
    wf_sums_begin(&u->sums, terms, maxima, leaves_of(u));
    for (uint32_t i = 0; i < threads_of(&u->need); i++)
        wf_sums_begin(&u->benches[i].sums, terms, maxima, leaves_of(u));
    u->step = WF_STEP_FOLD;
}

void wf_unit_begin_stage(struct wf_unit *u, unsigned s)
{
    while (s < u->group.method->n_stages && !wf_unit_has_stage(u, s))
        s++;
    u->stage = s;
    u->step = WF_STEP_MAP;
    if (s == u->group.method->n_stages)
        return;
    if (stage_of(u)->kind == WF_STAGE_SELECT)
        begin_select(u);
    else
        begin_fold(u);
}

/* ---- what a SELECT found ---- */

/* The threshold of a key for tiles of one width: `key >= t` means the same in both. */
static double threshold(uint64_t key, bool key_wide, bool wide)
{
    if (key == WF_KEY_NONE)
        return wf_key_threshold(wf_key_max(wide), wide);
    if (key_wide && !wide)
        return wf_key_threshold(wf_key_narrow_up(key), false);
    return wf_key_threshold(!key_wide && wide ? wf_key_widen(key) : key, wide);
}

static void set_slot(struct wf_args *args, const struct wf_conclusion *c, double value)
{
    if (c->input < 0)
        args->g[c->slot] = value;
    else
        args->m[c->input][c->slot] = value;
}

static struct wf_split split_at(const struct wf_conclusion *c, uint64_t index, double value)
{
    return (struct wf_split){.index = index, .value = value, .input = c->input, .slot = c->slot};
}

/* Into a list that is in ascending order, behind its equals. */
static void insert_split(struct wf_split *splits, uint32_t *n, struct wf_split split)
{
    uint32_t at = (*n)++;
    for (; at && splits[at - 1].index > split.index; at--)
        splits[at] = splits[at - 1];
    splits[at] = split;
}

/* Makes a conclusion hold in args and splits of a unit, of its own or of the model's. `first` and
 * `end`: the unit's pieces, numbered as those of the conclusion. */
static void apply(struct wf_unit *u, const struct wf_conclusion *c, bool key_wide, uint32_t first,
                  uint64_t end)
{
    bool before = c->split && c->piece < first; /* all of the tensor is behind the split */
    bool inside = c->split && c->piece >= first && c->piece < end;
    double rest = threshold(c->keys.rest, key_wide, u->group.wide);
    set_slot(&u->args, c, before ? rest : threshold(c->keys.first, key_wide, u->group.wide));
    if (inside)
        insert_split(u->splits, &u->n_splits, split_at(c, c->index, rest));
}

/* Numbers that hold in one piece of a model, as splits: its tensors have args of their own. */
static uint32_t model_splits(const struct wf_unit *u, uint32_t piece, bool wide,
                             struct wf_split *splits)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < u->n_conclusions; i++) {
        const struct wf_conclusion *c = &u->conclusions[i];
        double rest = threshold(c->keys.rest, u->group.wide, wide);
        double first = threshold(c->keys.first, u->group.wide, wide);
        insert_split(splits, &n, split_at(c, 0, c->split && c->piece < piece ? rest : first));
        if (c->split && c->piece == piece)
            insert_split(splits, &n, split_at(c, c->index, rest));
    }
    return n;
}

void wf_unit_conclude(struct wf_unit *u, const struct wf_conclusion *c)
{
    u->conclusions[u->n_conclusions++] = *c;
    apply(u, c, u->group.wide, 0, u->group.pieces);
}

static void conclude_select(struct wf_unit *u)
{
    const struct wf_selecting *s = &u->select;
    const struct wf_select *select = &stage_of(u)->select;
    for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
        const struct wf_cut *cut = &s->cuts[i];
        const struct wf_conclusion c = {
            .keys = wf_selecting_keys(s, cut),
            .split = cut->split,
            .piece = cut->piece,
            .index = cut->index,
            .input = select->per_model ? (int32_t)(i / s->ranks) + 1 : -1,
            .slot = (uint8_t)(select->cut + i % s->ranks),
        };
        wf_unit_conclude(u, &c);
    }
}

/* ---- driven from outside ---- */

/* The group must be within what there is room for; a larger one is a mistake in the plan. */
static void check_group(const struct wf_unit *u)
{
    const struct wf_unit_group *g = &u->group;
    bool fits = g->pieces <= u->need.pieces && g->args->n <= u->need.inputs &&
                g->args->n_t <= u->need.table && g->leaves <= u->need.leaves;
    for (unsigned s = 0; s < g->method->n_stages; s++) {
        const struct wf_stage *stage = &g->method->stages[s];
        if (!wf_unit_has_stage(u, s))
            continue;
        if (stage->kind == WF_STAGE_SELECT)
            fits = fits && stage->select.n_ranks <= u->need.ranks &&
                   (stage->select.per_model ? g->args->n - 1 : 1) <= u->need.streams;
        else
            fits = fits && stage->fold.terms(g->args->n) <= u->need.terms &&
                   g->count <= (u->need.count ? u->need.count : COUNT_UNKNOWN) &&
                   (g->args->scope[s] != WF_SCOPE_COLUMN || g->columns <= u->need.columns);
    }
    if (!fits) {
        wf_log(WF_LOG_ERROR, "internal: a group for %s is larger than planned", g->method->name);
        abort();
    }
}

void wf_unit_begin(struct wf_unit *u, const struct wf_unit_group *group)
{
    const struct wf_args *from = group->args;
    double(*rows)[WF_ARGS_MODEL] = u->args.m, *table = u->args.t;
    u->group = *group;
    check_group(u);
    u->args = *group->args;
    u->args.m = rows;
    u->args.t = table;
    memcpy(rows, from->m, from->n * sizeof *rows);
    const struct wf_unit *model = group->model;
    if (model)
        wf_method_take_group(group->method, &model->args, &u->args);
    if (from->n_t)
        memcpy(table, model ? model->args.t : from->t, from->n_t * sizeof *table);
    u->n_conclusions = u->n_splits = 0;
    u->has_columns = false;
    for (uint32_t i = 0; model && i < model->n_conclusions; i++)
        apply(u, &model->conclusions[i], model->group.wide, group->model_piece,
              (uint64_t)group->model_piece + group->pieces);
    wf_unit_begin_stage(u, 0);
}

const struct wf_args *wf_unit_args(const struct wf_unit *u)
{
    return &u->args;
}

const char *wf_step_name(enum wf_step step)
{
    static const char *const names[] = {
        [WF_STEP_SAMPLE] = "sample", [WF_STEP_COUNT] = "count", [WF_STEP_TIES] = "ties",
        [WF_STEP_LOCATE] = "locate", [WF_STEP_FOLD] = "fold",   [WF_STEP_COLUMNS] = "columns",
        [WF_STEP_MAP] = "map"};
    return names[step];
}

enum wf_step wf_unit_step(const struct wf_unit *u)
{
    return u->step;
}

bool wf_unit_wants(const struct wf_unit *u, uint32_t piece, uint64_t *from, uint64_t *to)
{
    if (u->step == WF_STEP_MAP || *from >= *to)
        return false;
    return stage_of(u)->kind != WF_STAGE_SELECT || wf_selecting_wants(&u->select, piece, from, to);
}

static void set_tile(const struct wf_unit *u, struct wf_unit_bench *bench, uint32_t piece,
                     const struct wf_args *args, struct wf_tile *tile)
{
    if (u->group.scope == WF_SCOPE_TENSOR && tile->wide != u->group.wide) {
        wf_log(WF_LOG_ERROR, "internal: a tile of %s is not as wide as its group",
               u->group.method->name);
        abort();
    }
    tile->args = args;
    tile->splits = u->splits;
    tile->n_splits = u->n_splits;
    if (u->group.scope == WF_SCOPE_MODEL) {
        tile->splits = bench->splits;
        tile->n_splits = model_splits(u, piece, tile->wide, bench->splits);
    }
    tile->columns = u->has_columns ? u->columns : NULL;
    tile->column_stage = u->column_stage;
    tile->local = local_stages(u, args);
}

/* Where the leaves of one tile go. */
struct leaves {
    struct wf_sums *sums;
    uint64_t first; /* the tensor's first leaf in the group */
};

static void add_leaf(void *arg, uint64_t leaf, const double *terms)
{
    const struct leaves *to = arg;
    wf_sums_add(to->sums, 0, to->first + leaf, terms);
}

/* Leaves of one tile are joined as far as they go before others must wait for it. */
static void add_fold(struct wf_unit *u, struct wf_unit_bench *bench,
                     const struct wf_backend *backend, struct wf_tile *tile,
                     struct wf_tile_result *result)
{
    struct leaves to = {&bench->sums, u->group.scope == WF_SCOPE_MODEL ? tile->model_leaf : 0};
    backend->fold(tile, u->stage, add_leaf, &to, result);
    pthread_mutex_lock(&u->shared->lock);
    wf_sums_move(&u->sums, &bench->sums);
    pthread_mutex_unlock(&u->shared->lock);
}

void wf_unit_add(struct wf_unit *u, const struct wf_backend *backend, uint32_t piece,
                 struct wf_tile *tile, struct wf_tile_result *result)
{
    struct wf_unit_bench *bench = take_bench(u);
    set_tile(u, bench, piece, &u->args, tile);
    if (u->step == WF_STEP_FOLD)
        add_fold(u, bench, backend, tile, result);
    else if (u->step == WF_STEP_COLUMNS)
        backend->fold_columns(tile, u->stage, u->columns, result);
    else
        wf_selecting_add(&u->select, &bench->select, backend, piece, tile, result);
    return_bench(u, bench);
}

const char *wf_unit_advance(struct wf_unit *u)
{
    const char *why = NULL;
    if (u->step == WF_STEP_MAP)
        return NULL;
    if (u->step == WF_STEP_COLUMNS) {
        u->has_columns = true;
        u->column_stage = u->stage;
    } else if (u->step == WF_STEP_FOLD) {
        why = stage_of(u)->fold.finish(wf_sums_total(&u->sums), u->group.count, &u->args);
    } else {
        why = wf_selecting_advance(&u->select);
        u->step = u->select.step;
        if (why || u->step != WF_STEP_MAP)
            return why;
        conclude_select(u);
    }
    if (!why)
        wf_unit_begin_stage(u, u->stage + 1);
    return why;
}

/* What a tile of the unit sees before splits: the unit's numbers. A tile of the model's keeps what
 * is its tensor's own; its rows are then `m`. */
static struct wf_args args_of(const struct wf_unit *u, const struct wf_tile *tile,
                              double (*m)[WF_ARGS_MODEL])
{
    if (u->group.scope != WF_SCOPE_MODEL)
        return u->args;
    struct wf_args args = *tile->args;
    args.m = memcpy(m, args.m, args.n * sizeof *m);
    args.t = u->args.t;
    wf_method_take_group(u->group.method, &u->args, &args);
    return args;
}

/* A tile of two inputs out of many. */
struct pair {
    const void *in[2];
    uint8_t in_dtype[2];
    double m[2][WF_ARGS_MODEL];
    struct wf_args args;
    struct wf_split splits[2 * WF_RANKS_MAX * WF_STAGES_MAX];
};

/* Input 0 and input `second`, their numbers and their splits. */
static void make_pair(struct pair *p, struct wf_tile *tile, uint32_t second)
{
    const uint32_t inputs[] = {0, second};
    p->args = *tile->args;
    p->args.m = p->m;
    p->args.n = 2;
    for (int k = 0; k < 2; k++) {
        p->in[k] = tile->in[inputs[k]];
        p->in_dtype[k] = tile->in_dtype[inputs[k]];
        memcpy(p->m[k], tile->args->m[inputs[k]], sizeof p->m[k]);
    }
    size_t n = 0;
    for (size_t k = 0; k < tile->n_splits; k++) {
        struct wf_split s = tile->splits[k];
        if (s.input > 0 && (uint32_t)s.input != second)
            continue;
        s.input = s.input > 0 ? 1 : s.input;
        p->splits[n++] = s;
    }
    tile->args = &p->args;
    tile->in = p->in;
    tile->in_dtype = p->in_dtype;
    tile->n = 2;
    tile->splits = p->splits;
    tile->n_splits = n;
}

/* The tile keeps its own args. share NULL: MAP. */
static void map_with(const struct wf_unit *u, const struct wf_backend *backend, uint32_t piece,
                     const struct wf_share *share, struct wf_tile *tile,
                     struct wf_tile_result *result)
{
    const struct wf_tile own = *tile;
    bool two = share && share->pair;
    struct pair pair;
    struct wf_unit_bench *bench = u && u->group.scope == WF_SCOPE_MODEL ? take_bench(u) : NULL;
    struct wf_args args = u ? args_of(u, tile, bench ? bench->m : NULL) : *tile->args;
    if (share) {
        args.map = share->map;
        args.g[share->slot] = share->pair ? 1 : share->input;
    }
    if (u)
        set_tile(u, bench, piece, &args, tile);
    else
        tile->args = &args;
    if (two)
        make_pair(&pair, tile, share->input);
    backend->map(tile, result);
    if (bench)
        return_bench(u, bench);
    if (two && result->verdict != WF_TILE_OK && result->input)
        result->input = share->input;
    if (two)
        *tile = own;
    tile->args = own.args;
}

void wf_unit_map(const struct wf_unit *u, const struct wf_backend *backend, uint32_t piece,
                 struct wf_tile *tile, struct wf_tile_result *result)
{
    map_with(u, backend, piece, NULL, tile, result);
}

void wf_unit_map_share(const struct wf_unit *u, const struct wf_backend *backend, uint32_t piece,
                       const struct wf_share *share, struct wf_tile *tile,
                       struct wf_tile_result *result)
{
    map_with(u, backend, piece, share, tile, result);
}
