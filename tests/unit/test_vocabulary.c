/* test_vocabulary.c - the vocabulary of a merge: ids, sizes, and where each row comes from. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../src/plan/vocabulary.h"

#define PARTIES 3

struct fixture {
    struct wf_err e;
    struct wf_arena a;
    struct wf_tokenizer tokenizers[PARTIES];
    struct wf_vocab_party parties[PARTIES];
    struct wf_recipe_token tokens[4];
    uint32_t token_party[4];
    struct wf_recipe_tokenizer section;
    struct wf_vocab_request q;
    struct wf_new_vocab v;
};

/* A model whose tokens are words between spaces, ids in order; "-" is a hole, "<...>" an added
 * token. */
static void give(struct fixture *f, size_t k, const char *words, uint64_t rows)
{
    static const char *const names[] = {"base", "one", "two"};
    struct wf_tokenizer *t = &f->tokenizers[k];
    *t = (struct wf_tokenizer){.vocab.arena = &f->a, .path = names[k], .is_json = true};
    t->json.segmentation = WF_SEGMENTATION_BPE;
    uint32_t id = 0;
    for (const char *at = words; *at; id++) {
        size_t n = strcspn(at, " ");
        if (n != 1 || *at != '-')
            assert_int_equal(
                wf_vocab_add(&f->e, &t->vocab, at, n, id, *at == '<' ? WF_TOKEN_ADDED : 0, NULL),
                WF_OK);
        at += n + (at[n] == ' ');
    }
    assert_int_equal(wf_vocab_settle(&f->e, &t->vocab, names[k]), WF_OK);
    f->parties[k] = (struct wf_vocab_party){names[k], t, rows ? rows : id};
}

static int start(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (!f)
        return -1;
    f->section = (struct wf_recipe_tokenizer){.given = true, .line = 3, .tokens = f->tokens};
    f->q = (struct wf_vocab_request){.where = "r.yaml",
                                     .section = &f->section,
                                     .token_party = f->token_party,
                                     .parties = f->parties,
                                     .has_base = true};
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    wf_arena_destroy(&f->a);
    free(f);
    return 0;
}

static int plan(struct fixture *f, enum wf_vocab_source source, size_t n)
{
    f->section.source = source;
    f->q.n_parties = n;
    f->q.donor = &f->tokenizers[0];
    f->q.donor_rows = f->parties[0].rows;
    return wf_vocabulary_plan(&f->e, &f->a, &f->a, &f->q, &f->v);
}

static void expect_map(const struct fixture *f, size_t party, const int32_t *from)
{
    const struct wf_row_map *map = f->v.maps[party];
    assert_non_null(map);
    for (uint64_t row = 0; row < map->rows; row++)
        assert_int_equal(map->from[row], from[row]);
}

/* The refs of made row j: models and rows in turn. */
static void expect_made(const struct fixture *f, size_t party, size_t j, uint32_t n,
                        const uint32_t *refs)
{
    const struct wf_made_row *made = &f->v.maps[party]->made[j];
    assert_int_equal(made->n, n);
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(made->refs[i].model, refs[2 * i]);
        assert_int_equal(made->refs[i].row, refs[2 * i + 1]);
    }
}

static void set_token(struct fixture *f, const char *text, enum wf_row_source source,
                      uint32_t party, bool force)
{
    size_t i = f->section.n_tokens++;
    f->tokens[i] = (struct wf_recipe_token){
        .text = text, .n = strlen(text), .line = 7, .source = source, .force = force};
    f->token_party[i] = party;
}

static void equal_vocabularies_move_nothing(void **state)
{
    struct fixture *f = *state;
    give(f, 0, "a b c <s>", 6);
    give(f, 1, "a b c <s>", 6);
    assert_int_equal(plan(f, WF_VOCAB_BASE, 2), WF_OK);
    assert_true(f->v.identity);
    assert_int_equal(f->v.rows, 6); /* padding is kept */
    assert_null(f->v.maps[0]);
    assert_null(f->v.maps[1]);
}

static void compat_loses_padding(void **state)
{
    struct fixture *f = *state;
    give(f, 0, "a b c", 6);
    give(f, 1, "a b c", 6);
    f->q.compat = true;
    assert_int_equal(plan(f, WF_VOCAB_BASE, 2), WF_OK);
    assert_int_equal(f->v.rows, 3);
    expect_map(f, 0, (const int32_t[]){0, 1, 2});
}

static void rows_follow_tokens(void **state)
{
    struct fixture *f = *state;
    give(f, 0, "a b c d", 0);
    give(f, 1, "d c x a", 0);
    assert_int_equal(plan(f, WF_VOCAB_BASE, 2), WF_OK);
    assert_null(f->v.maps[0]); /* the base's rows are where they were */
    expect_map(f, 1, (const int32_t[]){3, -2, 1, 0});
    expect_made(f, 1, 0, 1, (const uint32_t[]){0, 1});
    assert_true(f->v.maps[1]->makes);
}

static void a_union_appends_ordinary_tokens_then_added_ones(void **state)
{
    struct fixture *f = *state;
    give(f, 0, "a b <s>", 0);
    give(f, 1, "x a <one> y <s>", 4); /* <s> is beyond its table */
    give(f, 2, "z b <two> y", 0);
    assert_int_equal(plan(f, WF_VOCAB_UNION, 3), WF_OK);
    static const char *const order[] = {"x", "y", "z", "<one>", "<two>"};
    assert_int_equal(f->v.n_appended, 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_string_equal(f->v.appended[i].text, order[i]);
        assert_int_equal(f->v.appended[i].id, 3 + i);
        assert_true(f->v.appended[i].flags & WF_TOKEN_ADDED);
    }
    assert_int_equal(f->v.rows, 8);
    expect_map(f, 1, (const int32_t[]){1, -3, -4, 0, 3, -7, 2, -9});
    /* y: the mean of the two that have it, as the base has not */
    expect_made(f, 0, 4, 2, (const uint32_t[]){1, 3, 2, 3});
}

static void padding_and_holes_are_the_mean(void **state)
{
    struct fixture *f = *state;
    give(f, 0, "a - b", 0);
    give(f, 1, "b a", 0);
    f->section.multiple = 4;
    assert_int_equal(plan(f, WF_VOCAB_BASE, 2), WF_OK);
    assert_int_equal(f->v.rows, 4);
    expect_map(f, 0, (const int32_t[]){0, -1, 2, -1});
    expect_map(f, 1, (const int32_t[]){1, -1, 0, -1});
    assert_int_equal(f->v.maps[0]->n_means, 2);
}

static void sources_and_force_win_over_rules(void **state)
{
    struct fixture *f = *state;
    give(f, 0, "a b", 0);
    give(f, 1, "a b c", 0);
    give(f, 2, "a c", 0);
    set_token(f, "a", WF_ROW_OF_MODEL, 2, true);
    set_token(f, "c", WF_ROW_MODEL_TOKEN, 1, false);
    f->tokens[1].other = "b";
    f->tokens[1].other_n = 1;
    set_token(f, "n", WF_ROW_ZERO, 0, false);
    set_token(f, "m", WF_ROW_BY_RULE, 0, false);
    assert_int_equal(plan(f, WF_VOCAB_BASE, 3), WF_OK);
    expect_map(f, 0, (const int32_t[]){-2, 1, -4, -5, -6});
    expect_map(f, 1, (const int32_t[]){-2, 1, 2, -5, -6});
    expect_map(f, 2, (const int32_t[]){-2, -3, 1, -5, -6});
    expect_made(f, 0, 0, 1, (const uint32_t[]){2, 0});
    expect_made(f, 0, 1, 1, (const uint32_t[]){0, 1}); /* the base has b */
    expect_made(f, 0, 2, 1, (const uint32_t[]){1, 1});
    expect_made(f, 0, 3, 0, NULL);
    assert_int_equal(f->v.n_zero, 1);
    assert_string_equal(f->v.zero, "m");
}

/* A tokenizer to which a token was added, and no row to the table. */
static void tokens_beyond_the_table_get_rows(void **state)
{
    struct fixture *f = *state;
    give(f, 0, "a b <pad>", 2);
    give(f, 1, "b <pad> c", 0);
    assert_int_equal(plan(f, WF_VOCAB_BASE, 2), WF_OK);
    assert_int_equal(f->v.rows, 3);
    expect_map(f, 0, (const int32_t[]){0, 1, -3}); /* what the other model has */
    expect_map(f, 1, (const int32_t[]){-2, 0, 1});
    expect_made(f, 0, 1, 1, (const uint32_t[]){1, 1});
    assert_int_equal(f->v.n_zero, 0);
    give(f, 1, "b a", 0);
    assert_int_equal(plan(f, WF_VOCAB_UNION, 2), WF_OK);
    assert_int_equal(f->v.rows, 3);
    assert_int_equal(f->v.n_zero, 1);
    assert_string_equal(f->v.zero, "<pad>");
}

static void what_models_do_not_have_is_refused(void **state)
{
    struct fixture *f = *state;
    give(f, 0, "a b", 0);
    give(f, 1, "a b", 0);
    set_token(f, "c", WF_ROW_OF_MODEL, 1, false);
    assert_int_equal(plan(f, WF_VOCAB_BASE, 2), WF_USAGE);
    assert_non_null(strstr(f->e.text, "r.yaml:7: token 'c': one has no row for 'c'"));
    wf_err_clear(&f->e);
    f->section.n_tokens = 0;
    give(f, 0, "a b c d e f g", 2);
    assert_int_equal(plan(f, WF_VOCAB_BASE, 2), WF_USAGE);
    assert_non_null(strstr(f->e.text, "5 tokens of base have ids beyond the 2 rows"));
    assert_non_null(strstr(f->e.text, "(first: 'c', id 2)"));
    wf_err_clear(&f->e);
    give(f, 0, "a - b", 0);
    give(f, 1, "a b x", 0);
    assert_int_equal(plan(f, WF_VOCAB_UNION, 2), WF_USAGE);
    assert_non_null(strstr(f->e.text, "would get the id of b, 2"));
}

static void unlike_vocabularies_are_joined_on_demand_alone(void **state)
{
    struct fixture *f = *state;
    give(f, 0, "a b c d e f", 0);
    give(f, 1, "u v w x y z", 0);
    assert_int_equal(plan(f, WF_VOCAB_UNION, 2), WF_USAGE);
    assert_non_null(strstr(f->e.text, "append 6 ordinary tokens to the 6"));
    wf_err_clear(&f->e);
    f->section.force = true;
    assert_int_equal(plan(f, WF_VOCAB_UNION, 2), WF_OK);
    assert_int_equal(f->v.rows, 12);
    f->section.force = false;
    give(f, 1, "a b c", 0);
    f->tokenizers[1].json.byte_level = true;
    assert_int_equal(plan(f, WF_VOCAB_UNION, 2), WF_USAGE);
    assert_non_null(strstr(f->e.text, "different kinds"));
}

static void models_of_one_vocabulary_share_a_map(void **state)
{
    struct fixture *f = *state;
    give(f, 0, "a b", 0);
    give(f, 1, "b a", 0);
    give(f, 2, "b a", 0);
    f->parties[2].tokenizer = f->parties[1].tokenizer;
    assert_int_equal(plan(f, WF_VOCAB_BASE, 3), WF_OK);
    assert_ptr_equal(f->v.maps[1], f->v.maps[2]);
}

static void runs_end_where_rows_do_not_follow(void **state)
{
    (void)state;
    static const int32_t from[] = {4, 5, 6, 2, 3, -1, -1, -2, -3, 0};
    const struct wf_row_map map = {.rows = 10, .from = from};
    static const uint64_t runs[] = {3, 2, 1, 2, 1, 2, 1, 1, 1, 1};
    for (uint64_t row = 0; row < 10; row++)
        assert_int_equal(wf_row_run(&map, row, 100), runs[row]);
    assert_int_equal(wf_row_run(&map, 0, 2), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(equal_vocabularies_move_nothing),
        TEST(compat_loses_padding),
        TEST(rows_follow_tokens),
        TEST(a_union_appends_ordinary_tokens_then_added_ones),
        TEST(padding_and_holes_are_the_mean),
        TEST(sources_and_force_win_over_rules),
        TEST(tokens_beyond_the_table_get_rows),
        TEST(what_models_do_not_have_is_refused),
        TEST(unlike_vocabularies_are_joined_on_demand_alone),
        TEST(models_of_one_vocabulary_share_a_map),
        TEST(runs_end_where_rows_do_not_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
