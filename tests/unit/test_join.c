/* test_join.c - ranks that each see a part of a group conclude what one process does, bit by bit.
 *
 * Threads stand for ranks. Their wf_join is memory that all see, with barriers.
 */
#include "model_fixture.h"

#include "../../src/stage/join.h"

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

/* Which rank shows a piece: ranges, as they are dealt; by lot; or all of them the last rank. */
static unsigned owner(const struct mf_setting *s, const struct sf_run *r, uint32_t piece)
{
    uint64_t lot = s->seed + piece;
    if (s->deal == 0)
        return (unsigned)((uint64_t)piece * s->ranks / r->pieces);
    return s->deal == 1 ? (unsigned)sf_below(&lot, s->ranks) : s->ranks - 1;
}

/* ---- one rank ---- */

struct party {
    const struct mf_setting *setting;
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

static void run_parties(struct party *parties, const struct mf_setting *s)
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

static void run(const struct mf_setting *s)
{
    struct mf_scene c;
    struct party parties[RANKS_MAX];
    mf_set_scene(&c, s);
    struct wf_unit_need alone = c.need;
    alone.joined = 0;
    struct sf_run one = c.cut;
    one.unit = mf_begun(&alone, &c.group);
    assert_null(sf_gather(&one, &c.group));
    for (unsigned k = 0; k < s->ranks; k++)
        parties[k] = (struct party){.setting = s,
                                    .cut = &c.cut,
                                    .group = &c.group,
                                    .rank = {.fails_at = -1},
                                    .unit = mf_begun(&c.need, &c.group)};
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

static void run_ranks(struct mf_setting s)
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
    struct mf_setting s = mf_usual();
    (void)state;
    for (s.kind = 0; s.kind < MF_KINDS; s.kind++)
        for (s.ties = WF_TIES_INCLUSIVE; s.ties <= WF_TIES_LOW_IS_HIGH; s.ties++)
            run_ranks(s);
}

static void tensors_of_doubles_and_of_both_widths(void **state)
{
    struct mf_setting s = mf_usual();
    (void)state;
    for (s.kind = 0; s.kind < MF_KINDS; s.kind++)
        for (s.wide = 8; s.wide < 32; s.wide += 23)
            run_ranks(s);
}

static void a_small_group_keeps_all_keys_together(void **state)
{
    struct mf_setting s = mf_usual();
    (void)state;
    s.counts = mf_small;
    for (s.kind = 0; s.kind < MF_KINDS; s.kind++)
        for (s.ties = WF_TIES_INCLUSIVE; s.ties <= WF_TIES_LOW_IS_HIGH; s.ties++)
            run_ranks(s);
}

/* Lists that fit in each rank and not in all of them together; few bins; a single piece. */
static void room_that_is_enough_for_one_rank_alone(void **state)
{
    struct mf_setting s = mf_usual();
    (void)state;
    for (s.n_ranks = 1; s.n_ranks <= 3; s.n_ranks++)
        for (s.keys = 1024; s.keys <= 16384; s.keys *= 4)
            for (unsigned way = 0; way < 3; way++) {
                s.kind = way ? MF_GAUSS : MF_NARROW;
                s.per_model = way < 2;
                s.pieces = way == 2 ? 0 : 15;
                s.q = way == 1 ? 2 : 0.999; /* 2: above all keys */
                s.bins = way ? 4096 : 1024;
                run_ranks(s);
            }
}

static void ranks_with_other_room_are_refused(void **state)
{
    struct mf_setting s = mf_usual();
    struct mf_scene c;
    struct party parties[RANKS_MAX];
    (void)state;
    s.ranks = 3;
    mf_set_scene(&c, &s);
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
                                        .unit = mf_begun(&need, &group)};
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
    struct mf_setting s = mf_usual();
    struct mf_scene c;
    struct party parties[RANKS_MAX];
    (void)state;
    mf_set_scene(&c, &s);
    for (unsigned k = 0; k < s.ranks; k++) {
        parties[k] = (struct party){.setting = &s,
                                    .cut = &c.cut,
                                    .rank = {.fails_at = -1},
                                    .unit = mf_begun(&c.need, &c.group)};
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
    struct mf_setting s = mf_usual();
    struct mf_scene c;
    struct party parties[RANKS_MAX];
    int most = 1;
    (void)state;
    s.kind = MF_LATTICE;
    mf_set_scene(&c, &s);
    for (int at = 0; at < most; at++) {
        for (unsigned k = 0; k < s.ranks; k++)
            parties[k] = (struct party){.setting = &s,
                                        .cut = &c.cut,
                                        .rank = {.fails_at = at},
                                        .unit = mf_begun(&c.need, &c.group)};
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
    struct mf_setting s = mf_usual();
    struct mf_scene c;
    struct wf_err e = {0};
    struct rank nobody = {0};
    struct wf_join join = {2, sum, gather, &nobody};
    (void)state;
    mf_set_scene(&c, &s);
    uint64_t joined = wf_unit_bytes(&c.need);
    c.need.joined = 1;
    uint64_t alone = wf_unit_bytes(&c.need);
    assert_true(joined > alone && joined < alone + (1 << 16));
    struct wf_unit *u = mf_begun(&c.need, &c.group);
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
