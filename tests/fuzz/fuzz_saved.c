/* fuzz_saved.c - any bytes as the record of a model's statistics (stage/saved.h): refused, and the
 * unit is as it was; or it goes on from there, to an end or to an error.
 *
 * The group is two small tensors, the method a FOLD, a SELECT with splits, and a FOLD behind.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/stage/saved.h"
#include "check.h"

enum { INPUTS = 3, TENSORS = 2, PIECES = 5, FIRST = 3000, SECOND = 200 };
static const uint64_t counts[TENSORS] = {FIRST, SECOND};
static const struct {
    uint64_t tensor, from, to;
} pieces[PIECES] = {{0, 0, 1000}, {0, 1000, 1001}, {0, 1001, FIRST}, {1, 0, 90}, {1, 90, SECOND}};

static float value(uint32_t i, uint64_t e)
{
    return (float)((e * (i + 5) * 2654435761u >> 7) % 41) - 20;
}

static uint64_t key(uint32_t i, uint64_t e)
{
    float x = fabsf(value(i, e));
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* ---- a backend of three loops ---- */

static void fold(const struct wf_tile *t, unsigned stage,
                 void (*leaf)(void *, uint64_t, const double *), void *arg,
                 struct wf_tile_result *r)
{
    double sum = 0;
    (void)stage, (void)r;
    for (uint64_t e = 0; t->from == 0 && e < t->total; e++)
        sum += (double)value(1, e);
    if (t->from == 0)
        leaf(arg, 0, &sum);
}

static void count(const struct wf_tile *t, unsigned stage, struct wf_count *c,
                  struct wf_tile_result *r)
{
    (void)stage, (void)r;
    for (unsigned k = 0; k < c->streams * c->ranks; k++)
        for (uint64_t e = t->from; e < t->to; e++) {
            struct wf_bracket *b = &c->brackets[k];
            uint64_t of = key(k / c->ranks + 1, e);
            c->zeros[k / c->ranks] += k % c->ranks == 0 && of == 0;
            b->below += of < b->low;
            b->inside += of >= b->low && of <= b->high;
            if (b->list && of >= b->low && of <= b->high)
                c->found(c->arg, k, &of, 1);
        }
}

/* Splits are in order, and of numbers that there are. */
static void map(const struct wf_tile *t, struct wf_tile_result *r)
{
    (void)r;
    for (size_t k = 0; k < t->n_splits; k++) {
        CHECK(k == 0 || t->splits[k - 1].index <= t->splits[k].index);
        CHECK(t->splits[k].index < t->total && t->splits[k].slot < WF_ARGS_MODEL);
        CHECK(t->splits[k].input > 0 && t->splits[k].input < INPUTS);
    }
}

static const struct wf_backend backend = {.fold = fold, .count = count, .map = map};

/* ---- the method ---- */

static uint32_t one(uint32_t n)
{
    (void)n;
    return 1;
}

static const char *finish(const double *sums, uint64_t n, struct wf_args *args)
{
    (void)n;
    args->g[0] = sums[0];
    args->t[0] += 1;
    return NULL;
}

static void ranks(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                  uint64_t *rank)
{
    (void)args;
    rank[0] = group->count / (i + 1);
    rank[1] = group->count - group->nonzero / 3;
}

static const struct wf_stage stages[] = {
    {.kind = WF_STAGE_FOLD, .scope = WF_SCOPE_MODEL, .fold = {0, one, finish}},
    {.kind = WF_STAGE_SELECT,
     .scope = WF_SCOPE_MODEL,
     .select = {.per_model = true, .cut = 2, .n_ranks = 2, .ranks = ranks}},
    {.kind = WF_STAGE_FOLD, .scope = WF_SCOPE_MODEL, .fold = {0, one, finish}},
    {.kind = WF_STAGE_MAP}};
static const struct wf_method method = {.name = "fuzz", .stages = stages, .n_stages = 4};

/* ---- places ---- */

static uint64_t tensor_of(void *arg, uint32_t piece)
{
    (void)arg;
    CHECK(piece < PIECES);
    return pieces[piece].tensor;
}

static bool piece_at(void *arg, uint64_t tensor, uint64_t element, uint32_t *piece)
{
    (void)arg;
    for (*piece = 0; *piece < PIECES; ++*piece)
        if (pieces[*piece].tensor == tensor && element >= pieces[*piece].from &&
            element < pieces[*piece].to)
            return true;
    return false;
}

static const struct wf_unit_places places = {tensor_of, piece_at, NULL};

/* ---- the unit ---- */

static struct wf_tile tile_of(uint32_t piece)
{
    uint64_t total = counts[pieces[piece].tensor];
    return (struct wf_tile){.method = &method,
                            .n = INPUTS,
                            .count = total,
                            .from = pieces[piece].from,
                            .to = pieces[piece].to,
                            .total = total,
                            .model_leaf = pieces[piece].tensor};
}

static const char *one_step(struct wf_unit *u)
{
    for (uint32_t p = 0; p < PIECES; p++) {
        uint64_t before = pieces[p].tensor ? FIRST : 0, at = before + pieces[p].from;
        for (uint64_t from = at, to; from < before + pieces[p].to; from = to) {
            struct wf_tile tile = tile_of(p);
            struct wf_tile_result result = {WF_TILE_OK, 0, 0, NULL};
            to = before + pieces[p].to;
            if (!wf_unit_wants(u, p, &from, &to))
                break;
            tile.from = from - before;
            tile.to = to - before;
            wf_unit_add(u, &backend, p, &tile, &result);
        }
    }
    return wf_unit_advance(u);
}

static struct wf_unit *begin(void)
{
    static double rows[INPUTS][WF_ARGS_MODEL], table[1];
    static struct wf_args args = {
        .m = rows, .t = table, .n = INPUTS, .n_t = 1, .ties = WF_TIES_LOW_IS_LOW};
    static const struct wf_unit_need need = {.inputs = INPUTS,
                                             .streams = INPUTS - 1,
                                             .ranks = 2,
                                             .terms = 1,
                                             .pieces = PIECES,
                                             .count = FIRST + SECOND,
                                             .leaves = TENSORS,
                                             .table = 1};
    struct wf_unit_group group = {.method = &method,
                                  .args = &args,
                                  .scope = WF_SCOPE_MODEL,
                                  .count = FIRST + SECOND,
                                  .tensor = FIRST + SECOND,
                                  .leaves = TENSORS,
                                  .pieces = PIECES};
    struct wf_err e = {0};
    wf_method_scopes(&method, args.scope);
    struct wf_unit *u = wf_unit_create(&e, &need);
    CHECK(u);
    wf_unit_begin(u, &group);
    return u;
}

/* What a record says is what is written again, and it leads somewhere. */
static void go_on(struct wf_unit *u, const struct wf_str *text)
{
    double rows[INPUTS][WF_ARGS_MODEL] = {{0}};
    struct wf_args of_tensor = {.m = rows, .n = INPUTS};
    struct wf_str again = {0};
    CHECK(wf_unit_restore(u, &places, text->text, text->n));
    wf_unit_save(u, &places, &again);
    CHECK(again.n == text->n && !memcmp(again.text, text->text, text->n));
    wf_str_free(&again);
    unsigned steps = 0;
    while (wf_unit_step(u) != WF_STEP_MAP) {
        CHECK(++steps < 100);
        if (one_step(u))
            return; /* a record that lies about the data */
    }
    for (uint32_t p = 0; p < PIECES; p++) {
        struct wf_tile tile = tile_of(p);
        struct wf_tile_result result = {WF_TILE_OK, 0, 0, NULL};
        tile.args = &of_tensor;
        wf_unit_map(u, &backend, p, &tile, &result);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct wf_unit *u;
    struct wf_str before = {0}, after = {0};
    u = u ? u : begin();
    CHECK(!wf_unit_restore(u, &places, "", 0));
    wf_unit_save(u, &places, &before);
    bool accepted = wf_unit_restore(u, &places, (const char *)data, n);
    wf_unit_save(u, &places, &after);
    if (accepted)
        go_on(u, &after);
    else
        CHECK(after.n == before.n && !memcmp(after.text, before.text, before.n));
    wf_str_free(&before);
    wf_str_free(&after);
    return 0;
}
