/* test_sums.c - the tree of a FOLD: the same bits in whatever order its leaves come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/stage/sums.h"

#define TERMS 3 /* the first a maximum */

static uint64_t seed;

static uint64_t next(void)
{
    seed += 0x9e3779b97f4a7c15u;
    uint64_t x = (seed ^ seed >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

struct table {
    struct wf_sums sums;
    char *memory;
};

static struct table table(uint32_t capacity)
{
    struct table t;
    struct wf_room room = {0};
    wf_sums_place(&t.sums, &room, capacity, TERMS);
    room = (struct wf_room){.base = t.memory = test_malloc(room.used)};
    memset(t.memory, 0xa5, room.used);
    wf_sums_place(&t.sums, &room, capacity, TERMS);
    return t;
}

static double (*make_leaves(uint64_t n))[TERMS]
{
    double(*leaves)[TERMS] = test_malloc((n + 1) * sizeof *leaves);
    for (uint64_t i = 0; i < n; i++)
        for (unsigned t = 0; t < TERMS; t++) /* sums that depend on their order */
            leaves[i][t] = ldexp((double)(int64_t)next(), (int)(next() % 60) - 60);
    return leaves;
}

/* The rule of sums.h as it is written. */
static void tree(double (*leaves)[TERMS], uint64_t n, unsigned level, uint64_t index, double *out)
{
    double right[TERMS];
    if (level == 0) {
        memcpy(out, leaves[index], sizeof right);
        return;
    }
    tree(leaves, n, level - 1, 2 * index, out);
    if ((2 * index + 1) << (level - 1) >= n)
        return;
    tree(leaves, n, level - 1, 2 * index + 1, right);
    out[0] = out[0] > right[0] ? out[0] : right[0];
    for (unsigned t = 1; t < TERMS; t++)
        out[t] += right[t];
}

static void check(const struct wf_sums *s, double (*leaves)[TERMS], uint64_t n)
{
    double wanted[TERMS] = {0};
    unsigned top = 0;
    while ((uint64_t)1 << top < n)
        top++;
    if (n)
        tree(leaves, n, top, 0, wanted);
    assert_memory_equal(wf_sums_total(s), wanted, sizeof wanted);
}

static uint64_t *shuffled(uint64_t n)
{
    uint64_t *order = test_malloc((n + 1) * sizeof *order);
    for (uint64_t i = 0; i < n; i++)
        order[i] = i;
    for (uint64_t i = n; i > 1; i--) {
        uint64_t j = next() % i, swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
    return order;
}

static void every_number_of_leaves_in_any_order(void **state)
{
    (void)state;
    for (uint64_t n = 0; n < 140; n++) {
        struct table t = table(wf_sums_capacity(n, n));
        double(*leaves)[TERMS] = make_leaves(n);
        for (unsigned way = 0; way < 6; way++) {
            uint64_t *order = shuffled(n);
            wf_sums_begin(&t.sums, TERMS, 1, n);
            for (uint64_t i = 0; i < n; i++) {
                uint64_t leaf = way == 0 ? i : way == 1 ? n - 1 - i : order[i];
                wf_sums_add(&t.sums, 0, leaf, leaves[leaf]);
            }
            check(&t.sums, leaves, n);
            test_free(order);
        }
        test_free(leaves);
        test_free(t.memory);
    }
}

/* Pieces grow at their ends, all at the same time, tile by tile through a table of their own: what
 * is promised to fit does. */
static void many_runs_that_grow_fit_in_the_room_promised(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 60; way++) {
        uint64_t n = 1 + next() % 5000, pieces = 1 + next() % 60, done = 0;
        uint64_t *at = test_calloc(pieces + 1, sizeof *at), *end = test_calloc(pieces, sizeof *end);
        struct table all = table(wf_sums_capacity(n, pieces)), one = table(wf_sums_capacity(n, 1));
        double(*leaves)[TERMS] = make_leaves(n);
        for (uint64_t p = 0; p < pieces; p++) {
            at[p] = n * p / pieces;
            end[p] = n * (p + 1) / pieces;
        }
        wf_sums_begin(&all.sums, TERMS, 1, n);
        wf_sums_begin(&one.sums, TERMS, 1, n);
        while (done < n) {
            uint64_t p = next() % pieces;
            for (uint64_t some = next() % (way % 7 ? 40 : 2) + 1; some && at[p] < end[p]; some--) {
                wf_sums_add(&one.sums, 0, at[p], leaves[at[p]]);
                at[p]++;
                done++;
            }
            wf_sums_move(&all.sums, &one.sums);
        }
        check(&all.sums, leaves, n);
        test_free(at);
        test_free(end);
        test_free(leaves);
        test_free(all.memory);
        test_free(one.memory);
    }
}

/* One table for each rank, which has runs of its own; all send a few nodes at a time, and build the
 * tree of everything in the place where theirs was. */
static void join_tables(struct table *t, unsigned ranks, uint32_t most)
{
    double *sent = test_malloc(ranks * most * wf_sums_record(TERMS) * sizeof *sent), *record;
    for (unsigned r = 0; r < ranks; r++)
        wf_sums_park(&t[r].sums);
    for (uint32_t all = 1, n; all;) {
        all = 0;
        for (unsigned r = 0; r < ranks; r++, all += n)
            n = wf_sums_pack(&t[r].sums, sent + all * wf_sums_record(TERMS), most);
        for (unsigned r = 0; r < ranks; r++)
            for (uint32_t k = 0; k < all; k++) {
                record = sent + k * wf_sums_record(TERMS);
                wf_sums_add(&t[r].sums, (unsigned)record[0], (uint64_t)record[1], record + 2);
            }
    }
    test_free(sent);
}

static void trees_of_several_ranks_join_in_the_room_promised(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 200; way++) {
        uint64_t n = next() % 3000, runs = 1 + next() % (way % 3 ? 40 : 400);
        unsigned ranks = 1 + (unsigned)(next() % 8);
        double(*leaves)[TERMS] = make_leaves(n);
        struct table t[8];
        for (unsigned r = 0; r < ranks; r++) {
            t[r] = table(wf_sums_capacity_joined(n, runs));
            wf_sums_begin(&t[r].sums, TERMS, 1, n);
        }
        for (uint64_t run = 0; run < runs; run++) {
            uint64_t r = way % 2 ? next() % ranks : run * ranks / runs;
            for (uint64_t leaf = n * run / runs; leaf < n * (run + 1) / runs; leaf++)
                wf_sums_add(&t[r].sums, 0, leaf, leaves[leaf]);
        }
        join_tables(t, ranks, 1 + (uint32_t)(next() % 50));
        for (unsigned r = 0; r < ranks; r++) {
            check(&t[r].sums, leaves, n);
            test_free(t[r].memory);
        }
        test_free(leaves);
    }
}

static void room_grows_with_the_logarithm_of_leaves(void **state)
{
    (void)state;
    assert_int_equal(wf_sums_capacity(0, 1), 1);
    assert_int_equal(wf_sums_capacity(1, 5), 1);
    assert_int_equal(wf_sums_capacity(2, 5), 2);
    assert_true(wf_sums_capacity((uint64_t)1 << 28, 1) <= 4 * 28 + 1);
    assert_true(wf_sums_capacity((uint64_t)1 << 28, 1000) <= 2 * 1001 * 28);
    assert_true(wf_sums_capacity(UINT64_MAX, UINT32_MAX) >= 1000000);
}

/* Terms that are no numbers take their own way through the tree, always the same. */
static void nan_and_signed_zero_are_joined_by_the_rule(void **state)
{
    double leaves[5][TERMS] = {
        {NAN, -0.0, 1}, {1, -0.0, INFINITY}, {2, 0.0, -INFINITY}, {NAN, 1, 1}, {0}};
    struct table t = table(wf_sums_capacity(5, 5));
    (void)state;
    wf_sums_begin(&t.sums, TERMS, 1, 5);
    for (unsigned i = 5; i-- > 0;)
        wf_sums_add(&t.sums, 0, i, leaves[i]);
    check(&t.sums, leaves, 5);
    test_free(t.memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_number_of_leaves_in_any_order),
        cmocka_unit_test(many_runs_that_grow_fit_in_the_room_promised),
        cmocka_unit_test(trees_of_several_ranks_join_in_the_room_promised),
        cmocka_unit_test(room_grows_with_the_logarithm_of_leaves),
        cmocka_unit_test(nan_and_signed_zero_are_joined_by_the_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
