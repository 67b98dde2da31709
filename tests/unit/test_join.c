/* test_join.c - ranks that each see a part of a group conclude what one process does, bit by bit.
 *
 * Threads stand for ranks. Their wf_join is memory that all see, with barriers.
 */
#include "stage_fixture.h"

#include "../../src/stage/join.h"
#include "../../src/stage/unit_state.h"

#define RANKS_MAX 8

/* ---- the ranks' common ground ---- */

struct ground {
    pthread_barrier_t barrier;
    unsigned ranks;
    const void *mine[RANKS_MAX];
    size_t bytes[RANKS_MAX];
    atomic_uint calls;
};

struct rank {
    struct ground *ground;
    unsigned number;
    int fails_at; /* which call of its own fails, from 0; -1: none */
    int calls;
};

static void meet(struct rank *r)
{
    pthread_barrier_wait(&r->ground->barrier);
}

static int sum(void *arg, struct wf_err *e, uint64_t *values, size_t n)
{
    struct rank *r = arg;
    uint64_t *total = calloc(n + 1, sizeof *total);
    r->ground->mine[r->number] = values;
    r->ground->bytes[r->number] = n;
    meet(r);
    for (unsigned k = 0; k < r->ground->ranks; k++) {
        if (r->ground->bytes[k] != n)
            wf_fail(e, WF_BUG, "lengths differ");
        for (size_t i = 0; i < n && r->ground->bytes[k] == n; i++)
            total[i] += ((const uint64_t *)r->ground->mine[k])[i];
    }
    meet(r);
    memcpy(values, total, n * sizeof *total);
    free(total);
    return r->calls++ == r->fails_at ? wf_fail(e, WF_MACHINE, "the wire is cut") : WF_OK;
}

static int gather(void *arg, struct wf_err *e, const void *mine, size_t bytes, void *all,
                  size_t most, size_t *total)
{
    struct rank *r = arg;
    size_t at = 0;
    r->ground->mine[r->number] = mine;
    r->ground->bytes[r->number] = bytes;
    meet(r);
    for (unsigned k = 0; k < r->ground->ranks; k++) {
        size_t n = r->ground->bytes[k];
        if (at + n > most) {
            wf_fail(e, WF_BUG, "%zu bytes where there is room for %zu", at + n, most);
            n = 0;
        }
        memcpy((char *)all + at, r->ground->mine[k], n);
        at += n;
    }
    meet(r);
    *total = at;
    return r->calls++ == r->fails_at ? wf_fail(e, WF_MACHINE, "the wire is cut") : WF_OK;
}

/* ---- the method: a FOLD, a SELECT that depends on it, and a FOLD behind ---- */

enum { FOLD_SLOT = 6, Q = 5, LAST_SLOT = 7 }; /* g */

static uint32_t terms(uint32_t n)
{
    return 1 + n;
}

static const char *finish(const double *sums, uint64_t count, struct wf_args *args)
{
    args->g[FOLD_SLOT] = sums[1] / (double)count;
    args->m[1][FOLD_SLOT] = sums[0];
    return NULL;
}

static const char *finish_last(const double *sums, uint64_t count, struct wf_args *args)
{
    (void)count;
    args->g[LAST_SLOT] = sums[2];
    if (args->n_t > 1)
        args->t[1] = sums[1];
    return NULL;
}

/* From all of the keys, and from those that are not zero. */
static void ranks(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                  uint64_t *rank)
{
    (void)i;
    rank[0] = (uint64_t)(args->g[Q] * (double)group->count);
    rank[1] = group->count - (uint64_t)(0.3 * (double)group->nonzero);
    rank[2] = group->count - 1;
}

#define FOLD(end)                                                                                  \
    {                                                                                              \
        .kind = WF_STAGE_FOLD, .scope = WF_SCOPE_MODEL, .fold = { 1, terms, end }                  \
    }
static const struct wf_stage template[] = {
    FOLD(finish),
    {.kind = WF_STAGE_SELECT,
     .scope = WF_SCOPE_MODEL,
     .select = {.per_model = true, .cut = SF_CUT_SLOT, .n_ranks = 3, .ranks = ranks}},
    FOLD(finish_last),
    {.kind = WF_STAGE_MAP}};
static struct wf_stage stages[4];
static const struct wf_method method = {.name = "joined", .stages = stages, .n_stages = 4};

struct setting {
    const uint64_t *counts;
    unsigned kind, wide, ranks, deal, n_ranks;
    enum wf_ties ties;
    double q;
    bool per_model;
    uint32_t pieces, bins, keys;
    uint64_t seed;
};

enum { GAUSS, LATTICE, MOSTLY_ZERO, CONSTANT, NARROW, KINDS };

static double draw(unsigned kind, uint64_t *seed)
{
    double u = (double)(sf_next(seed) >> 11) * 0x1p-53;
    switch (kind) {
    case GAUSS:
        return (float)(u + (double)(sf_next(seed) >> 11) * 0x1p-53 - 1);
    case LATTICE:
        return ((double)sf_below(seed, 9) - 4) * 0x1p-9;
    case MOSTLY_ZERO:
        return u < 0.7 ? -0.0 : ((double)sf_below(seed, 500) - 250) * 0x1p-12;
    case CONSTANT:
        return -3.5;
    default: /* more keys than a list holds, next to each other: bins wider than one key */
        return 1 + (double)sf_below(seed, 1 << 22) * 0x1p-23;
    }
}

static struct sf_data data_of(const struct setting *s)
{
    struct sf_data d = sf_data(3, SF_TENSORS, s->counts, s->wide);
    uint64_t seed = s->seed;
    for (unsigned k = 0; k < SF_TENSORS; k++)
        for (uint32_t i = 0; i < 3; i++)
            for (uint64_t e = 0; e < s->counts[k]; e++)
                d.t[k].x[i][e] = draw(s->kind, &seed);
    return d;
}

static struct wf_unit_need need_of(const struct setting *s, const struct sf_data *d)
{
    return (struct wf_unit_need){.inputs = 3,
                                 .streams = 2,
                                 .ranks = 3,
                                 .bins = s->bins,
                                 .keys = s->keys,
                                 .terms = 4,
                                 .pieces = SF_PIECES,
                                 .count = 1 << 20,
                                 .leaves = sf_leaves(d, SF_TENSORS),
                                 .table = 2,
                                 .joined = s->ranks};
}

/* Which rank shows a piece: ranges, as they are dealt; by lot; or all of them the last rank. */
static unsigned owner(const struct setting *s, const struct sf_run *r, uint32_t piece)
{
    uint64_t lot = s->seed + piece;
    if (s->deal == 0)
        return (unsigned)((uint64_t)piece * s->ranks / r->pieces);
    return s->deal == 1 ? (unsigned)sf_below(&lot, s->ranks) : s->ranks - 1;
}

/* ---- one rank ---- */

struct party {
    const struct setting *setting;
    const struct sf_run *cut;
    const struct wf_unit_group *group;
    struct rank rank;
    struct wf_unit *unit;
    struct wf_err e;
    int status;
    unsigned steps;
};

static void *take_part(void *arg)
{
    struct party *p = arg;
    struct sf_run r = *p->cut;
    struct wf_join join = {p->setting->ranks, sum, gather, &p->rank};
    r.unit = p->unit;
    r.seed += p->rank.number;
    p->status = WF_OK;
    while (!p->status && wf_unit_step(p->unit) != WF_STEP_MAP) {
        uint64_t seed = r.seed + p->steps++;
        sf_shuffle(&r, false);
        for (uint32_t turn = 0; turn < r.pieces; turn++)
            if (owner(p->setting, &r, r.order[turn]) == p->rank.number)
                sf_piece(&r, r.order[turn], &seed);
        p->status = wf_unit_join(&p->e, p->unit, &join);
        if (!p->status && wf_unit_advance(p->unit))
            p->status = WF_INPUT;
    }
    return NULL;
}

static void run_parties(struct party *parties, const struct setting *s)
{
    struct ground ground = {.ranks = s->ranks};
    pthread_t thread[RANKS_MAX];
    assert_int_equal(pthread_barrier_init(&ground.barrier, NULL, s->ranks), 0);
    for (unsigned k = 0; k < s->ranks; k++) {
        parties[k].rank.ground = &ground;
        parties[k].rank.number = k;
        assert_int_equal(pthread_create(&thread[k], NULL, take_part, &parties[k]), 0);
    }
    for (unsigned k = 0; k < s->ranks; k++)
        pthread_join(thread[k], NULL);
    pthread_barrier_destroy(&ground.barrier);
}

static void check_equal(const struct wf_unit *u, const struct wf_unit *wanted)
{
    assert_int_equal(wf_unit_step(u), WF_STEP_MAP);
    assert_memory_equal(u->args.g, wanted->args.g, sizeof u->args.g);
    assert_memory_equal(u->args.m, wanted->args.m, 3 * sizeof *u->args.m);
    assert_memory_equal(u->args.t, wanted->args.t, 2 * sizeof *u->args.t);
    assert_int_equal(u->n_conclusions, wanted->n_conclusions);
    for (uint32_t i = 0; i < u->n_conclusions; i++) {
        const struct wf_conclusion *c = &u->conclusions[i], *w = &wanted->conclusions[i];
        assert_true(c->keys.first == w->keys.first && c->keys.rest == w->keys.rest);
        assert_true(c->split == w->split && c->input == w->input && c->slot == w->slot);
        assert_true(!c->split || (c->piece == w->piece && c->index == w->index));
    }
    assert_int_equal(u->n_splits, wanted->n_splits);
    for (uint32_t i = 0; i < u->n_splits; i++) {
        assert_true(u->splits[i].index == wanted->splits[i].index);
        assert_true(u->splits[i].value == wanted->splits[i].value);
        assert_true(u->splits[i].slot == wanted->splits[i].slot);
        assert_true(u->splits[i].input == wanted->splits[i].input);
    }
}

struct scene {
    struct sf_data data;
    struct sf_run cut;
    struct wf_unit_group group;
    struct wf_unit_need need;
    double rows[3][WF_ARGS_MODEL], table[2];
    struct wf_args args;
};

static void set_scene(struct scene *c, const struct setting *s)
{
    *c = (struct scene){.data = data_of(s)};
    memcpy(stages, template, sizeof stages);
    stages[1].select.n_ranks = (uint8_t)s->n_ranks;
    stages[1].select.per_model = s->per_model;
    c->cut = (struct sf_run){.data = &c->data, .method = &method, .seed = s->seed};
    sf_cut(&c->cut, 0, SF_TENSORS, s->pieces);
    c->args = (struct wf_args){.m = c->rows, .t = c->table, .n = 3, .n_t = 2, .ties = s->ties};
    c->args.g[Q] = s->q;
    wf_method_scopes(&method, c->args.scope);
    c->need = need_of(s, &c->data);
    c->group = (struct wf_unit_group){.method = &method,
                                      .args = &c->args,
                                      .scope = WF_SCOPE_MODEL,
                                      .leaves = c->need.leaves,
                                      .pieces = c->cut.pieces,
                                      .wide = s->wide != 0};
    for (unsigned k = 0; k < SF_TENSORS; k++)
        c->group.count += s->counts[k];
    c->group.tensor = c->group.count;
}

static struct wf_unit *begun(const struct wf_unit_need *need, const struct wf_unit_group *group)
{
    struct wf_err e = {0};
    struct wf_unit *u = wf_unit_create(&e, need);
    assert_non_null(u);
    wf_unit_begin(u, group);
    return u;
}

static void run(const struct setting *s)
{
    struct scene c;
    struct party parties[RANKS_MAX];
    set_scene(&c, s);
    struct wf_unit_need alone = c.need;
    alone.joined = 0;
    struct sf_run one = c.cut;
    one.unit = begun(&alone, &c.group);
    assert_null(sf_gather(&one, &c.group));
    for (unsigned k = 0; k < s->ranks; k++)
        parties[k] = (struct party){.setting = s,
                                    .cut = &c.cut,
                                    .group = &c.group,
                                    .rank = {.fails_at = -1},
                                    .unit = begun(&c.need, &c.group)};
    run_parties(parties, s);
    for (unsigned k = 0; k < s->ranks; k++) {
        if (parties[k].status)
            fail_msg("rank %u: %s", k, parties[k].e.text);
        check_equal(parties[k].unit, one.unit);
        assert_int_equal(parties[k].steps, parties[0].steps);
        wf_unit_destroy(parties[k].unit);
    }
    wf_unit_destroy(one.unit);
    sf_free(&c.data);
}

static const uint64_t small[] = {300, 0, 3, 500, 1}, large[] = {9000, 0, 3, 30001, 4096};

static struct setting usual(void)
{
    return (struct setting){.counts = large,
                            .ranks = 2,
                            .n_ranks = 3,
                            .ties = WF_TIES_LOW_IS_HIGH,
                            .q = 0.6,
                            .per_model = true,
                            .pieces = 7,
                            .bins = 1024,
                            .keys = 1024,
                            .seed = 11};
}

static void run_ranks(struct setting s)
{
    static const unsigned ranks_of[] = {1, 2, 3, 4, 8};
    for (unsigned k = 0; k < 5; k++)
        for (s.deal = 0; s.deal < 3; s.deal++) {
            s.ranks = ranks_of[k];
            s.seed++;
            run(&s);
        }
}

static void any_data_with_every_rule_for_ties(void **state)
{
    struct setting s = usual();
    (void)state;
    for (s.kind = 0; s.kind < KINDS; s.kind++)
        for (s.ties = WF_TIES_INCLUSIVE; s.ties <= WF_TIES_LOW_IS_HIGH; s.ties++)
            run_ranks(s);
}

static void tensors_of_doubles_and_of_both_widths(void **state)
{
    struct setting s = usual();
    (void)state;
    for (s.kind = 0; s.kind < KINDS; s.kind++)
        for (s.wide = 8; s.wide < 32; s.wide += 23)
            run_ranks(s);
}

static void a_small_group_keeps_all_keys_together(void **state)
{
    struct setting s = usual();
    (void)state;
    s.counts = small;
    for (s.kind = 0; s.kind < KINDS; s.kind++)
        for (s.ties = WF_TIES_INCLUSIVE; s.ties <= WF_TIES_LOW_IS_HIGH; s.ties++)
            run_ranks(s);
}

/* Lists that fit in each rank and not in all of them together; few bins; a single piece. */
static void room_that_is_enough_for_one_rank_alone(void **state)
{
    struct setting s = usual();
    (void)state;
    for (s.n_ranks = 1; s.n_ranks <= 3; s.n_ranks++)
        for (s.keys = 1024; s.keys <= 16384; s.keys *= 4)
            for (unsigned way = 0; way < 3; way++) {
                s.kind = way ? GAUSS : NARROW;
                s.per_model = way < 2;
                s.pieces = way == 2 ? 0 : 15;
                s.q = way == 1 ? 2 : 0.999; /* 2: above all keys */
                s.bins = way ? 4096 : 1024;
                run_ranks(s);
            }
}

static void ranks_with_other_room_are_refused(void **state)
{
    struct setting s = usual();
    struct scene c;
    struct party parties[RANKS_MAX];
    (void)state;
    s.ranks = 3;
    set_scene(&c, &s);
    for (unsigned way = 0; way < 3; way++) {
        for (unsigned k = 0; k < s.ranks; k++) {
            struct wf_unit_need need = c.need;
            struct wf_unit_group group = c.group;
            if (k == 2)
                *(way == 0   ? &need.keys
                  : way == 1 ? &need.bins
                             : &group.pieces) += 4096 >> 12 * (way == 2);
            need.pieces++;
            parties[k] = (struct party){.setting = &s,
                                        .cut = &c.cut,
                                        .rank = {.fails_at = -1},
                                        .unit = begun(&need, &group)};
        }
        run_parties(parties, &s);
        for (unsigned k = 0; k < s.ranks; k++) {
            assert_int_equal(parties[k].status, WF_USAGE);
            assert_non_null(strstr(parties[k].e.text, "rank 2 has other room"));
            assert_non_null(strstr(parties[k].e.text, "same --memory and --threads"));
            wf_unit_destroy(parties[k].unit);
        }
    }
    sf_free(&c.data);
}

static void ranks_that_found_other_numbers_are_refused(void **state)
{
    struct setting s = usual();
    struct scene c;
    struct party parties[RANKS_MAX];
    (void)state;
    set_scene(&c, &s);
    for (unsigned k = 0; k < s.ranks; k++) {
        parties[k] = (struct party){.setting = &s,
                                    .cut = &c.cut,
                                    .rank = {.fails_at = -1},
                                    .unit = begun(&c.need, &c.group)};
        parties[k].unit->args.g[0] = k;
    }
    run_parties(parties, &s);
    for (unsigned k = 0; k < s.ranks; k++) {
        assert_int_equal(parties[k].status, WF_BUG);
        assert_non_null(strstr(parties[k].e.text, "rank 1 has come to other statistics"));
        wf_unit_destroy(parties[k].unit);
    }
    sf_free(&c.data);
}

/* Whichever call fails, on all ranks at once as a broken wire does. */
static void what_the_wire_says_is_handed_on(void **state)
{
    struct setting s = usual();
    struct scene c;
    struct party parties[RANKS_MAX];
    int most = 1;
    (void)state;
    s.kind = LATTICE;
    set_scene(&c, &s);
    for (int at = 0; at < most; at++) {
        for (unsigned k = 0; k < s.ranks; k++)
            parties[k] = (struct party){.setting = &s,
                                        .cut = &c.cut,
                                        .rank = {.fails_at = at},
                                        .unit = begun(&c.need, &c.group)};
        run_parties(parties, &s);
        if (parties[0].status) {
            most = at + 2;
            assert_string_equal(parties[0].e.text, "the wire is cut");
        }
        for (unsigned k = 0; k < s.ranks; k++)
            wf_unit_destroy(parties[k].unit);
    }
    assert_true(most > 10);
    sf_free(&c.data);
}

static void room_to_join_is_claimed_with_more_than_one_rank(void **state)
{
    struct setting s = usual();
    struct scene c;
    struct wf_err e = {0};
    struct rank nobody = {0};
    struct wf_join join = {2, sum, gather, &nobody};
    (void)state;
    set_scene(&c, &s);
    uint64_t joined = wf_unit_bytes(&c.need);
    c.need.joined = 1;
    uint64_t alone = wf_unit_bytes(&c.need);
    assert_true(joined > alone && joined < alone + (1 << 16));
    struct wf_unit *u = begun(&c.need, &c.group);
    assert_int_equal(wf_unit_join(&e, u, &join), WF_BUG);
    join.ranks = 1; /* nobody to join with: nobody is called */
    assert_int_equal(wf_unit_join(&e, u, &join), WF_OK);
    wf_unit_destroy(u);
    sf_free(&c.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_data_with_every_rule_for_ties),
        cmocka_unit_test(tensors_of_doubles_and_of_both_widths),
        cmocka_unit_test(a_small_group_keeps_all_keys_together),
        cmocka_unit_test(room_that_is_enough_for_one_rank_alone),
        cmocka_unit_test(ranks_with_other_room_are_refused),
        cmocka_unit_test(ranks_that_found_other_numbers_are_refused),
        cmocka_unit_test(what_the_wire_says_is_handed_on),
        cmocka_unit_test(room_to_join_is_claimed_with_more_than_one_rank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
