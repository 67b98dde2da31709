/* test_json.c - small JSON documents: what is taken, what is refused, and what the tree says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../src/base/file.h"
#include "../../src/base/str.h"
#include "../../src/format/json.h"
#ifdef WF_FAULTS
#include "alloc_loop.h"
#endif

struct fixture {
    struct wf_err e;
    struct wf_arena arena;
    struct wf_json *root;
};

static int parse_n(struct fixture *f, const char *text, size_t n, enum wf_json_flags flags)
{
    return wf_json_parse(&f->e, &f->arena, "x.json", text, n, flags, &f->root);
}

static int parse(struct fixture *f, const char *text)
{
    return parse_n(f, text, strlen(text), WF_JSON_STRICT);
}

static int start(void **state)
{
    *state = calloc(1, sizeof(struct fixture));
    return *state ? 0 : -1;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    wf_arena_destroy(&f->arena);
    free(f);
    assert_int_equal(wf_mem_now(WF_MEM_TEXT), 0); /* nothing of cJSON's is left */
    assert_int_equal(wf_mem_now(WF_MEM_META), 0);
    return 0;
}

static void refuse_n(struct fixture *f, const char *text, size_t n, const char *message)
{
    wf_err_clear(&f->e);
    assert_int_equal(parse_n(f, text, n, WF_JSON_STRICT), WF_INPUT);
    assert_null(f->root);
    if (message && !strstr(f->e.text, message))
        fail_msg("'%s' does not say '%s'", f->e.text, message);
}

static void refuse(struct fixture *f, const char *text, const char *message)
{
    refuse_n(f, text, strlen(text), message);
}

static void tree_of_every_kind(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, " {\"a\": [1, -2.5e3, true, false, null], \"b\": {\"c\": \"d\"}} \n"),
                     WF_OK);
    assert_int_equal(f->root->kind, WF_JSON_OBJECT);
    assert_int_equal(f->root->n, 2);
    const struct wf_json *a = wf_json_get(f->root, "a");
    assert_int_equal(a->kind, WF_JSON_ARRAY);
    assert_int_equal(a->n, 5);
    assert_null(a->children[0].key);
    assert_string_equal(a->children[0].text, "1");
    assert_true(a->children[1].number == -2500);
    assert_string_equal(a->children[1].text, "-2.5e3");
    assert_int_equal(a->children[2].kind, WF_JSON_BOOL);
    assert_true(a->children[2].number == 1 && a->children[3].number == 0);
    assert_int_equal(a->children[4].kind, WF_JSON_NULL);
    assert_string_equal(wf_json_string(wf_json_get(f->root, "b"), "c"), "d");
}

static void lookups_are_exact_and_never_crash(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, "{\"key\":1}"), WF_OK);
    assert_null(wf_json_get(f->root, "KEY"));
    assert_null(wf_json_get(f->root, "ke"));
    assert_null(wf_json_get(NULL, "key"));
    assert_null(wf_json_get(&f->root->children[0], "key"));
    assert_null(wf_json_string(f->root, "key"));
}

static void numbers_keep_the_text_they_were_written_in(void **state)
{
    struct fixture *f = *state;
    uint64_t v = 5;
    assert_int_equal(parse(f, "{\"x\":[9007199254740993,18446744073709551616],\"1\":-0,\"y\":"
                              "[{\"2\":1e-7},\"3\",4.50]}"),
                     WF_OK);
    const struct wf_json *x = wf_json_get(f->root, "x"), *y = wf_json_get(f->root, "y");
    assert_string_equal(x->children[0].text, "9007199254740993");
    assert_string_equal(x->children[1].text, "18446744073709551616");
    assert_string_equal(wf_json_get(f->root, "1")->text, "-0");
    assert_string_equal(y->children[0].children[0].text, "1e-7");
    assert_string_equal(y->children[2].text, "4.50");
    assert_false(wf_json_u64(&x->children[0], &v));
    assert_int_equal(v, 5);
}

static void whole_numbers_up_to_two_to_the_53(void **state)
{
    struct fixture *f = *state;
    uint64_t v;
    assert_int_equal(parse(f, "[0,9007199254740992,9007199254740993,1.0,1e3,-1,\"7\",true]"),
                     WF_OK);
    const struct wf_json *c = f->root->children;
    assert_true(wf_json_u64(&c[0], &v) && v == 0);
    assert_true(wf_json_u64(&c[1], &v) && v == 9007199254740992);
    for (int i = 2; i < 8; i++)
        assert_false(wf_json_u64(&c[i], &v));
    assert_false(wf_json_u64(NULL, &v));
}

static void strings_are_decoded(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, "[\"\\u00e9\\ud83e\\udd99\\n\\/\\\"\\\\\", \"\xc3\xa9\", \"\"]"),
                     WF_OK);
    assert_string_equal(f->root->children[0].text, "\xc3\xa9\xf0\x9f\xa6\x99\n/\"\\");
    assert_string_equal(f->root->children[1].text, "\xc3\xa9");
    assert_string_equal(f->root->children[2].text, "");
}

static void a_scalar_is_a_document(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(parse(f, "\"a\""), WF_OK);
    assert_int_equal(parse(f, "1"), WF_OK);
    assert_int_equal(parse(f, "[]"), WF_OK);
    assert_int_equal(f->root->n, 0);
    assert_int_equal(parse(f, "{}"), WF_OK);
    assert_int_equal(f->root->n, 0);
}

static void what_cjson_lets_through_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"01",
                                        "-01",
                                        "1.",
                                        ".5",
                                        "+1",
                                        "1e",
                                        "1e+",
                                        "-",
                                        "0x10",
                                        "1e999",
                                        "-1e999",
                                        "[1,]",
                                        "{\"a\":1,}",
                                        "[,1]",
                                        "{,}",
                                        "[1 2]",
                                        "{\"a\" 1}",
                                        "{a:1}",
                                        "{1:1}",
                                        "'a'",
                                        "[1]]",
                                        "{} x",
                                        "1 2",
                                        "nul",
                                        "True",
                                        "NaN",
                                        "Infinity",
                                        "-Infinity",
                                        "\"\t\"",
                                        "\"\\x\"",
                                        "\"\\u12\"",
                                        "\"\\ud800\"",
                                        "\"\\udc00\"",
                                        "\"\\ud800\\ud800\"",
                                        "\"a",
                                        "\"\\",
                                        "[",
                                        "{",
                                        "{\"a\"",
                                        "{\"a\":",
                                        "",
                                        "  ",
                                        "//x\n1",
                                        "[1,/**/2]",
                                        "\xef\xbb\xbf{}",
                                        "\"\xff\"",
                                        "\"\xc0\x80\"",
                                        "\"\xed\xa0\x80\"",
                                        "\v1",
                                        "tru",
                                        "nulll",
                                        "[truefalse]"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        wf_err_clear(&f->e);
        if (parse(f, texts[i]) != WF_INPUT)
            fail_msg("accepted: %s", texts[i]);
    }
}

static void nul_is_refused_everywhere(void **state)
{
    struct fixture *f = *state;
    refuse(f, "{\"a\\u0000b\":1}", "\\u0000");
    refuse(f, "\"\\u0000\"", "\\u0000");
    refuse_n(f, "\"a\0b\"", 5, "control character");
    refuse_n(f, "{}\0", 3, "behind the end");
    refuse_n(f, "\0", 1, NULL);
}

static void duplicate_keys_are_named_with_both_lines(void **state)
{
    struct fixture *f = *state;
    refuse(f, "{\n \"k\": 1,\n \"other\": {},\n \"\\u006b\": 2}",
           "x.json:4:2: duplicate key 'k' (first on line 2)");
    refuse(f, "[{\"a\":{\"b\":1,\"b\":1}}]", "x.json:1:14: duplicate key 'b'");
    refuse(f, "{\"\":1,\"\":2}", "duplicate key ''");
    wf_err_clear(&f->e);
    assert_int_equal(parse(f, "{\"a\":{\"a\":1},\"A\":[{\"a\":2},{\"a\":3}]}"), WF_OK);
}

static void errors_carry_line_and_column(void **state)
{
    struct fixture *f = *state;
    refuse(f, "{\n  \"a\": 1,\n  \"b\": x\n}", "x.json:3:8: expected a value");
    refuse(f, "[1,\n2", "x.json:2:2: expected ',' or ']'");
    refuse(f, "", "x.json:1:1: the text ends");
    refuse(f, "{\"a\":1e400}", "x.json:1:6: a number beyond");
}

static void nesting_stops_at_64(void **state)
{
    struct fixture *f = *state;
    char text[400];
    for (int depth = 64; depth <= 65; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        wf_err_clear(&f->e);
        assert_int_equal(parse_n(f, text, 2 * (size_t)depth, WF_JSON_STRICT),
                         depth == 64 ? WF_OK : WF_INPUT);
    }
    memset(text, '[', sizeof text);
    refuse_n(f, text, sizeof text, "64 deep");
}

static void long_numbers_are_cut_by_nobody(void **state)
{
    struct fixture *f = *state;
    char text[80];
    memset(text, '1', sizeof text);
    text[1] = '.';
    text[63] = 0;
    assert_int_equal(parse(f, text), WF_OK);
    assert_string_equal(f->root->text, text);
    text[63] = '1';
    text[64] = 0;
    refuse(f, text, "63 characters");
}

static void configs_may_have_nan_and_infinity(void **state)
{
    struct fixture *f = *state;
    const char *text = "{\"NaN\":NaN,\"y\":[Infinity,-Infinity,-1],\"s\":\"NaN\",\"N\":\"y\"}";
    assert_int_equal(parse_n(f, text, strlen(text), WF_JSON_CONFIG), WF_OK);
    const struct wf_json *c = f->root->children;
    assert_int_equal(c[0].kind, WF_JSON_NUMBER);
    assert_string_equal(c[0].key, "NaN");
    assert_string_equal(c[0].text, "NaN");
    assert_true(c[0].number == 0);
    assert_string_equal(c[1].children[0].text, "Infinity");
    assert_string_equal(c[1].children[1].text, "-Infinity");
    assert_true(c[1].children[1].number == 0 && c[1].children[2].number == -1);
    assert_string_equal(wf_json_string(f->root, "s"), "NaN");
    assert_string_equal(wf_json_string(f->root, "N"), "y");
    assert_int_equal(parse_n(f, "[NaNN]", 6, WF_JSON_CONFIG), WF_INPUT);
}

static void a_large_index_is_read_in_order(void **state)
{
    struct fixture *f = *state;
    enum { N = 100000 };
    struct wf_str s = {0};
    wf_str_puts(&s, "{\"weight_map\":{");
    for (int i = 0; i < N; i++)
        wf_str_printf(
            &s, "%s\"model.layers.%d.mlp.experts.%d.down_proj.weight\":\"model-%05d.safetensors\"",
            i ? ",\n" : "", i / 100, i % 100, i % 7);
    wf_str_puts(&s, "}}");
    assert_int_equal(wf_str_finish(&s, &f->e), WF_OK);
    assert_int_equal(parse_n(f, s.text, s.n, WF_JSON_STRICT), WF_OK);
    const struct wf_json *map = wf_json_get(f->root, "weight_map");
    assert_int_equal(map->n, N);
    assert_string_equal(map->children[N - 1].key,
                        "model.layers.999.mlp.experts.99.down_proj.weight");
    wf_str_free(&s);
}

static void values_are_counted(void **state)
{
    struct fixture *f = *state;
    size_t n = 2 * (size_t)WF_JSON_NODES_MAX + 1;
    char *text = malloc(n);
    assert_non_null(text);
    for (size_t i = 0; i < n; i++)
        text[i] = i % 2 ? '0' : ',';
    text[0] = '[';
    text[n - 1] = ']';
    refuse_n(f, text, n, "more values than");
    free(text);
}

static void files_are_read_within_their_cap(void **state)
{
    struct fixture *f = *state;
    const char *tmp = getenv("TMPDIR");
    char folder[512], path[600];
    snprintf(folder, sizeof folder, "%s/weft-json-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.json", folder);
    assert_int_equal(wf_write_small(&f->e, path, "{\"a\":1}", 7), WF_OK);
    assert_int_equal(wf_json_read(&f->e, &f->arena, path, 7, WF_JSON_STRICT, &f->root), WF_OK);
    assert_int_equal(f->root->n, 1);
    assert_int_equal(wf_json_read(&f->e, &f->arena, path, 6, WF_JSON_STRICT, &f->root), WF_INPUT);
    wf_err_clear(&f->e);
    assert_int_equal(wf_json_read(&f->e, &f->arena, folder, 99, WF_JSON_STRICT, &f->root),
                     WF_INPUT);
    wf_err_clear(&f->e);
    assert_int_equal(wf_remove_tree(&f->e, folder), WF_OK);
}

#ifdef WF_FAULTS
static int parse_some(void)
{
    static const char text[] = "{\"a\":[1,2,{\"b\":\"c\",\"d\":NaN}],\"e\":\"\\u00e9\",\"f\":{}}";
    struct fixture f = {0};
    int s = parse_n(&f, text, sizeof text - 1, WF_JSON_CONFIG);
    if (s != wf_err_status(&f.e) || (s && f.root) || (!s && f.root->n != 3))
        return WF_BUG;
    wf_arena_destroy(&f.arena);
    return wf_mem_now(WF_MEM_TEXT) || wf_mem_now(WF_MEM_META) ? WF_BUG : s;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    assert_true(alloc_loop(parse_some) > 10);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef WF_FAULTS
        cmocka_unit_test(every_allocation_may_fail), /* first: alloc_loop.h */
#endif
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
        TEST(tree_of_every_kind),
        TEST(lookups_are_exact_and_never_crash),
        TEST(numbers_keep_the_text_they_were_written_in),
        TEST(whole_numbers_up_to_two_to_the_53),
        TEST(strings_are_decoded),
        TEST(a_scalar_is_a_document),
        TEST(what_cjson_lets_through_is_refused),
        TEST(nul_is_refused_everywhere),
        TEST(duplicate_keys_are_named_with_both_lines),
        TEST(errors_carry_line_and_column),
        TEST(nesting_stops_at_64),
        TEST(long_numbers_are_cut_by_nobody),
        TEST(configs_may_have_nan_and_infinity),
        TEST(a_large_index_is_read_in_order),
        TEST(values_are_counted),
        TEST(files_are_read_within_their_cap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
