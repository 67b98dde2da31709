/* test_yaml.c - recipes as a tree: lines, kinds, merge keys, and what is refused in one sentence.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "../../src/base/clock.h"
#include "../../src/base/str.h"
#include "../../src/format/yaml.h"
#ifdef WF_FAULTS
#include "alloc_loop.h"
#endif

struct fixture {
    struct wf_err e;
    struct wf_arena arena;
    struct wf_yaml **docs;
    size_t n_docs;
};

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
    assert_int_equal(wf_mem_now(WF_MEM_TEXT), 0);
    assert_int_equal(wf_mem_now(WF_MEM_META), 0);
    return 0;
}

static int parse_n(struct fixture *f, const char *text, size_t n)
{
    wf_err_clear(&f->e);
    return wf_yaml_parse(&f->e, &f->arena, "r.yaml", text, n, &f->docs, &f->n_docs);
}

/* The only document of `text`. */
static const struct wf_yaml *accept(struct fixture *f, const char *text)
{
    if (parse_n(f, text, strlen(text)))
        fail_msg("refused: %s", f->e.text);
    assert_int_equal(f->n_docs, 1);
    return f->docs[0];
}

static void refuse_n(struct fixture *f, const char *text, size_t n, const char *message)
{
    if (parse_n(f, text, n) != WF_USAGE)
        fail_msg("not refused: %s", text);
    assert_null(f->docs);
    assert_int_equal(f->n_docs, 0);
    if (!strstr(f->e.text, message) || strchr(f->e.text, '\n'))
        fail_msg("'%s' does not say '%s'", f->e.text, message);
}

static void refuse(struct fixture *f, const char *text, const char *message)
{
    refuse_n(f, text, strlen(text), message);
}

static const char *text_of(const struct wf_yaml *map, const char *key)
{
    const struct wf_yaml *v = wf_yaml_get(map, key);
    return v && v->kind == WF_YAML_SCALAR ? v->text : NULL;
}

static void a_recipe_becomes_a_tree_with_lines(void **state)
{
    struct fixture *f = *state;
    const struct wf_yaml *r = accept(f, "# a comment\n"
                                        "models:\n"
                                        "  - model: a/b\n"
                                        "    parameters:\n"
                                        "      weight: 0.5\n"
                                        "  - model: \"c\"\n"
                                        "\n"
                                        "merge_method: linear\n"
                                        "base_model:\n");
    assert_int_equal(r->kind, WF_YAML_MAP);
    assert_int_equal(r->line, 2);
    assert_int_equal(r->n, 3);
    const struct wf_yaml *models = wf_yaml_get(r, "models");
    assert_int_equal(models->kind, WF_YAML_LIST);
    assert_int_equal(models->n, 2);
    assert_int_equal(models->key_line, 2);
    assert_int_equal(models->line, 3);
    const struct wf_yaml *first = models->children[0];
    assert_null(first->key);
    assert_string_equal(text_of(first, "model"), "a/b");
    const struct wf_yaml *weight = wf_yaml_get(wf_yaml_get(first, "parameters"), "weight");
    assert_int_equal(weight->line, 5);
    assert_int_equal(weight->text_n, 3);
    assert_false(weight->quoted);
    assert_true(wf_yaml_get(models->children[1], "model")->quoted);
    assert_string_equal(r->children[1]->key, "merge_method");
    const struct wf_yaml *base = wf_yaml_get(r, "base_model");
    assert_int_equal(base->kind, WF_YAML_NULL);
    assert_int_equal(base->key_line, 9);
    assert_string_equal(base->text, "");
    assert_null(wf_yaml_get(r, "Models"));
    assert_null(wf_yaml_get(models, "model"));
    assert_null(wf_yaml_get(NULL, "model"));
}

static void json_is_read_by_the_same_parser(void **state)
{
    struct fixture *f = *state;
    const struct wf_yaml *r = accept(
        f,
        "{\n\t\"models\": [{\"model\": \"a\\/b\", \"w\": 1e-3}],\n\t\"x\": null, \"y\": true\n}");
    double w;
    bool y;
    assert_string_equal(text_of(wf_yaml_get(r, "models")->children[0], "model"), "a/b");
    assert_true(wf_yaml_number(wf_yaml_get(wf_yaml_get(r, "models")->children[0], "w"), &w));
    assert_true(w == 1e-3);
    assert_int_equal(wf_yaml_get(r, "x")->kind, WF_YAML_NULL);
    assert_int_equal(wf_yaml_get(r, "y")->line, 3);
    assert_true(wf_yaml_bool(wf_yaml_get(r, "y"), &y) && y);
}

static void surrogate_pairs_are_one_character(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "{\"x\": \"\\uD83D\\uDE00\"}",
        "{\"x\":\"\\ud83d\\ude00\"}",
        "# it's \"a comment\nx: \"\\uD83D\\uDE00\"\n",
        "k: it's \"his\"\nx: \"\\uD83D\\uDE00\"\n",
        "k: 'a ''\"'' b'\nx: \"\\uD83D\\uDE00\"\n",
        "k: \"a \\\" # '\"\r\nx: \"\\uD83D\\uDE00\"\r\n",
        "\xef\xbb\xbf{\"k\": [\"\\\\\", '\"'], \"x\":\n\t\"\\uD83D\\uDE00\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const struct wf_yaml *r = accept(f, texts[i]);
        assert_string_equal(text_of(r, "x"), "\xf0\x9f\x98\x80");
    }
    assert_string_equal(accept(f, "\"a\\uDBFF\\uDFFFb\\uD800\\uDC00\"")->text, "a\xf4\x8f\xbf\xbf"
                                                                               "b\xf0\x90\x80\x80");
    const struct wf_yaml *r = accept(f, "{\"\\uD83D\\uDE00\": 1,\n\"b\": \"\\\\uD83D\\\\uDE00\",\n"
                                        "\"c\": '\\uD83D\\uDE00', d: \\uD83D\\uDE00}");
    assert_string_equal(r->children[0]->key, "\xf0\x9f\x98\x80");
    assert_string_equal(text_of(r, "b"), "\\uD83D\\uDE00");
    assert_string_equal(text_of(r, "c"), "\\uD83D\\uDE00");
    assert_string_equal(text_of(r, "d"), "\\uD83D\\uDE00");
    assert_int_equal(wf_yaml_get(r, "c")->line, 3);
}

static void lone_surrogates_are_refused_with_their_line(void **state)
{
    struct fixture *f = *state;
    static const char *const wrong[] = {
        "\\uD83D",        "\\uDE00",         "\\uDE00\\uD83D",   "\\uD83D\\uD83D\\uDE00",
        "\\uD83Dx",       "\\uD83D\\n",      "\\uD83D\\\\uDE00", "\\uD83D\\uDE0",
        "\\uD83D\\uDE0g", "\\uD83D \\uDE00", "\\uD83D\\u0041",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[128];
        snprintf(text, sizeof text, "{\n\"a\": \"\\uD83D\\uDE00\",\n\"b\": \"%s\"\n}\n", wrong[i]);
        refuse(f, text, "r.yaml:3: ");
    }
    refuse(f, "\"\\uD83D", "r.yaml:1: ");
    refuse(f, "\"\\uD83D\\", "r.yaml:1: ");
    refuse(f, "\"\\", "r.yaml:");
}

static void tabs_are_white_space_in_json(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "\t{\"a\": \"x\"}",
        "{\n\t\"a\":\t\"x\"\t\n\t}\n\t\n",
        "\t\n \t{\"a\"\t:\t\"x\"}\t\n\t",
        "\xef\xbb\xbf\t{\"a\":\"x\"}",
        "\r\n\t{\r\n\t\"a\": \"x\"\r\n\t}\r\n\t",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_string_equal(text_of(accept(f, texts[i]), "a"), "x");
    assert_string_equal(text_of(accept(f, "{\"a\": \"x\ty\"}"), "a"), "x\ty");
    refuse(f, "\ta: x\n", "r.yaml:1: a tab cannot indent YAML");
    refuse(f, "a:\n\tb: [1]\n", "r.yaml:2: a tab cannot indent YAML");
}

static void nulls_are_unquoted(void **state)
{
    struct fixture *f = *state;
    const struct wf_yaml *r = accept(f, "[~, null, Null, NULL, 'null', \"\", nULL, ! '', !!str ]");
    for (size_t i = 0; i < r->n; i++)
        assert_int_equal(r->children[i]->kind, i < 4 ? WF_YAML_NULL : WF_YAML_SCALAR);
    assert_int_equal(r->n, 9);
}

static void numbers(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text;
        bool ok;
        double value;
    } cases[] = {
        {"1", true, 1},
        {"-0.5", true, -0.5},
        {"+2", true, 2},
        {".5", true, 0.5},
        {"1e-5", true, 1e-5},
        {"0", true, 0},
        {"0.10", true, 0.1},
        {"0x10", true, 16},
        {"0xfF", true, 255},
        {"010", false, 0},
        {"-01", false, 0},
        {"0x", false, 0},
        {"0xg", false, 0},
        {"1_000", false, 0},
        {"'1'", false, 0},
        {"\"1\"", false, 0},
        {".inf", false, 0},
        {"nan", false, 0},
        {"1e999", false, 0},
        {"1.", true, 1},
        {"true", false, 0},
        {"~", false, 0},
        {"[1]", false, 0},
        {"1 2", false, 0},
        {"!!str 1", false, 0},
        {"!!int '1'", true, 1},
        {"!!float 1", true, 1},
        {"1:30", false, 0},
        {"0x11112222333344445", false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double v = 0;
        if (wf_yaml_number(accept(f, cases[i].text), &v) != cases[i].ok || v != cases[i].value)
            fail_msg("%s gives %g", cases[i].text, v);
    }
    assert_false(wf_yaml_number(NULL, &(double){0}));
}

static void booleans(void **state)
{
    struct fixture *f = *state;
    static const char *const yes[] = {"true", "True", "TRUE", "yes", "Yes", "on", "ON"};
    static const char *const no[] = {"false", "False", "no", "NO", "off", "Off"};
    static const char *const neither[] = {"tRUE", "y", "n", "1", "0", "'true'", "~", "[true]"};
    bool b;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_true(wf_yaml_bool(accept(f, yes[i]), &b) && b);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_true(wf_yaml_bool(accept(f, no[i]), &b) && !b);
    for (size_t i = 0; i < sizeof neither / sizeof *neither; i++)
        assert_false(wf_yaml_bool(accept(f, neither[i]), &b));
}

static void block_scalars_and_quotes(void **state)
{
    struct fixture *f = *state;
    const struct wf_yaml *r =
        accept(f, "a: |\n  x\n  y\nb: >-\n  x\n  y\nc: 'it''s'\nd: \"\\u00e9\\t\"\n");
    assert_string_equal(text_of(r, "a"), "x\ny\n");
    assert_string_equal(text_of(r, "b"), "x y");
    assert_string_equal(text_of(r, "c"), "it's");
    assert_string_equal(text_of(r, "d"), "\xc3\xa9\t");
    for (size_t i = 0; i < 4; i++)
        assert_true(r->children[i]->quoted);
}

static void aliases_keep_text_and_take_the_line_of_use(void **state)
{
    struct fixture *f = *state;
    const struct wf_yaml *r = accept(f, "a: &x {k: 1}\nb: *x\nc: &x 2\nd: *x\n&key e: *key\n");
    const struct wf_yaml *b = wf_yaml_get(r, "b");
    assert_string_equal(text_of(b, "k"), "1");
    assert_int_equal(b->line, 2);
    assert_int_equal(b->key_line, 2);
    assert_int_equal(wf_yaml_get(b, "k")->line, 1);
    assert_string_equal(b->key, "b");
    assert_string_equal(wf_yaml_get(r, "a")->key, "a");
    assert_string_equal(text_of(r, "d"), "2");
    assert_string_equal(text_of(r, "e"), "e");
}

static void merge_keys_fill_what_is_not_given(void **state)
{
    struct fixture *f = *state;
    const struct wf_yaml *r = accept(f, "base: &b {w: 1, d: 2, z: 5}\n"
                                        "more: &m {d: 3, e: 4}\n"
                                        "one:\n  <<: *b\n  d: 9\n"
                                        "two:\n  own: 1\n  <<: [*m, *b]\n"
                                        "three: {<<: {q: 1}}\n"
                                        "four: {'<<': 1}\n");
    const struct wf_yaml *one = wf_yaml_get(r, "one"), *two = wf_yaml_get(r, "two");
    assert_int_equal(one->n, 3);
    assert_string_equal(one->children[0]->key, "d");
    assert_string_equal(text_of(one, "d"), "9");
    assert_string_equal(text_of(one, "w"), "1");
    assert_int_equal(wf_yaml_get(one, "w")->key_line, 1);
    assert_int_equal(two->n, 5);
    assert_string_equal(text_of(two, "d"), "3");
    assert_string_equal(text_of(two, "z"), "5");
    assert_string_equal(text_of(wf_yaml_get(r, "three"), "q"), "1");
    assert_string_equal(text_of(wf_yaml_get(r, "four"), "<<"), "1");
    refuse(f, "a: 1\nb:\n  <<: x\n", "r.yaml:3: '<<' needs a map");
    refuse(f, "a: {<<: [{b: 1}, 2]}\n", "'<<' needs a map");
    refuse(f, "a: {<<: {b: 1},\n <<: {c: 1}}\n", "r.yaml:2: duplicate key '<<'");
}

static void documents_are_separate(void **state)
{
    struct fixture *f = *state;
    static const char two[] = "a: &x 1\n---\nb: 2\n...\n---\n- 3\n";
    assert_int_equal(parse_n(f, two, sizeof two - 1), WF_OK);
    assert_int_equal(f->n_docs, 3);
    assert_string_equal(text_of(f->docs[1], "b"), "2");
    assert_int_equal(f->docs[2]->kind, WF_YAML_LIST);
    assert_int_equal(f->docs[2]->line, 6);
    refuse(f, "a: &x 1\n---\nb: *x\n", "r.yaml:3: no anchor '&x'");
    assert_int_equal(accept(f, "---\n")->kind, WF_YAML_NULL);
}

static void a_byte_order_mark_is_skipped(void **state)
{
    struct fixture *f = *state;
    const struct wf_yaml *r = accept(f, "\xef\xbb\xbf"
                                        "a: 1\nb: 2\n");
    assert_string_equal(r->children[0]->key, "a");
    assert_int_equal(r->children[1]->line, 2);
}

static void empty_files_are_refused(void **state)
{
    struct fixture *f = *state;
    refuse(f, "", "r.yaml:1: the file is empty");
    refuse(f, "\n\n  \n# only a comment\n", "the file is empty");
    refuse(f, "\xef\xbb\xbf", "the file is empty");
}

static void duplicate_keys_are_named_with_both_lines(void **state)
{
    struct fixture *f = *state;
    refuse(f, "a: 1\nb: 2\n\"a\": 3\n", "r.yaml:3: duplicate key 'a' (first on line 1)");
    refuse(f, "x:\n  - {k: 1, k: 1}\n", "r.yaml:2: duplicate key 'k'");
    accept(f, "a: {a: 1}\nA: 1\n");
}

static void keys_are_words(void **state)
{
    struct fixture *f = *state;
    refuse(f, "? [a, b]\n: 1\n", "r.yaml:1: a key must be a word");
    refuse(f, "{{a: 1}: 2}\n", "a key must be a word");
    refuse(f, "a: &x b\n*x : 1\n", "r.yaml:2: a key must be a word");
    refuse(f, "?\n: 1\n", "r.yaml:1: an empty key");
    refuse(f, "a: 1\n~: 1\n", "r.yaml:2: an empty key");
    assert_string_equal(accept(f, "{'': 1}")->children[0]->key, "");
}

static void anchors_and_aliases_that_do_not_work(void **state)
{
    struct fixture *f = *state;
    refuse(f, "a: 1\nb: *nowhere\n", "r.yaml:2: no anchor '&nowhere' before this alias");
    refuse(f, "a: *later\nb: &later 1\n", "no anchor '&later'");
    refuse(f, "a: &self\n  - *self\n", "r.yaml:2: the alias '*self' stands inside its own anchor");
    refuse(f, "&r {a: *r}\n", "inside its own anchor");
}

static void alias_bombs_stop_at_the_limit(void **state)
{
    struct fixture *f = *state;
    struct wf_str s = {0};
    wf_str_puts(&s, "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for (int i = 1; i < 20; i++)
        wf_str_printf(&s, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1,
                      i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    uint64_t before = wf_now_ns();
    refuse(f, s.text, "1,000,000 values");
    assert_true(wf_now_ns() - before < 1000000000u);
    wf_str_free(&s);
    wf_str_puts(&s, "m0: &m0 {k: 1}\n");
    for (int i = 1; i < 40; i++)
        wf_str_printf(&s, "m%d: &m%d {<<: [*m%d,*m%d], k%d: {<<: *m%d}}\n", i, i, i - 1, i - 1, i,
                      i - 1);
    assert_int_equal(parse_n(f, s.text, s.n), WF_USAGE);
    wf_str_free(&s);
}

static void nesting_stops_at_32_with_and_without_aliases(void **state)
{
    struct fixture *f = *state;
    struct wf_str s = {0};
    char text[20000];
    for (size_t depth = 31; depth <= 32; depth++) {
        memset(text, '[', depth);
        text[depth] = 'x';
        memset(text + depth + 1, ']', depth);
        assert_int_equal(parse_n(f, text, 2 * depth + 1), depth == 31 ? WF_OK : WF_USAGE);
    }
    memset(text, '[', sizeof text);
    refuse_n(f, text, sizeof text, "32 deep");
    for (size_t i = 0; i + 1 < sizeof text; i += 2)
        memcpy(text + i, "- ", 2);
    refuse_n(f, text, sizeof text, "32 deep");
    memset(text, '{', sizeof text);
    assert_int_equal(parse_n(f, text, sizeof text), WF_USAGE);
    wf_str_puts(&s, "- &a0 x\n");
    for (int i = 1; i < 40; i++)
        wf_str_printf(&s, "- &a%d [*a%d]\n", i, i - 1);
    refuse(f, s.text, "r.yaml:32: nested more than 32 deep, aliases expanded");
    wf_str_free(&s);
}

static void anchors_are_counted(void **state)
{
    struct fixture *f = *state;
    struct wf_str s = {0};
    for (int i = 0; i < 1024; i++)
        wf_str_printf(&s, "- &a%d %d\n", i * 7 % 1024, i);
    wf_str_puts(&s, "- &a5 again\n- *a5\n");
    assert_string_equal(accept(f, s.text)->children[1025]->text, "again");
    wf_str_puts(&s, "- &one_more x\n");
    refuse(f, s.text, "r.yaml:1027: more than 1024 anchors");
    wf_str_free(&s);
}

static void large_maps_and_lists_are_quick(void **state)
{
    struct fixture *f = *state;
    struct wf_str s = {0};
    for (int i = 0; i < 200000; i++)
        wf_str_printf(&s, "k%d: %d\n", i, i);
    uint64_t before = wf_now_ns();
    const struct wf_yaml *r = accept(f, s.text);
    assert_true(wf_now_ns() - before < 10000000000u); /* quadratic work takes minutes */
    assert_int_equal(r->n, 200000);
    assert_int_equal(r->children[199999]->line, 200000);
    wf_str_free(&s);
}

static void text_beyond_16_mib_is_refused(void **state)
{
    struct fixture *f = *state;
    size_t n = ((size_t)16 << 20) + 1;
    char *text = malloc(n);
    assert_non_null(text);
    memset(text, '#', n);
    refuse_n(f, text, n, "at most 16 MiB");
    refuse_n(f, text, n - 1, "empty");
    free(text);
}

static void tags(void **state)
{
    struct fixture *f = *state;
    accept(f, "a: !!str 1\nb: !!int 2\nc: !!map {}\nd: !!seq []\ne: ! x\n");
    refuse(f, "a: 1\nb: !path x\n", "r.yaml:2: the tag '!path' means nothing here");
    refuse(f, "a: !!python/object:os.system x\n",
           "the tag 'tag:yaml.org,2002:python/object:os.system'");
    refuse(f, "a: !!set {x}\n", "means nothing here");
    refuse(f, "a: !!map []\n", "means nothing here");
    refuse(f, "a: !!binary aGk=\n", "means nothing here");
    refuse(f, "a: !u!x 1\n", "r.yaml:1: found undefined tag handle");
}

static void libyamls_errors_have_one_line_and_a_place(void **state)
{
    struct fixture *f = *state;
    refuse(f, "a: 1\n\tb: 2\n", "r.yaml:2: a tab cannot indent YAML; use spaces");
    refuse(f, "a:\n  - b\n c\n", "r.yaml:3: ");
    refuse(f, "a: [1, 2\nb: 3\n", "r.yaml:2: ");
    refuse(f, "a: 'x\n",
           "r.yaml:2: found unexpected end of stream (while scanning a quoted scalar "
           "that begins on line 1)");
    refuse(f, "a: b: c\n", "r.yaml:1: mapping values are not allowed");
    refuse(f, "a: @x\n", "r.yaml:1: found character that cannot start any token");
    refuse(f, "a: \"\\q\"\n", "r.yaml:1: ");
    refuse(f, "a: 1\n%x\n", "r.yaml:");
}

static void bytes_that_are_not_text(void **state)
{
    struct fixture *f = *state;
    refuse(f, "a: 1\nb: \xff\n", "r.yaml:2: not UTF-8 (byte 8 of the file)");
    refuse(f,
           "\xff\xfe"
           "a",
           "r.yaml:1: not UTF-8");
    refuse(f, "a: 1\nb: \x01\n", "r.yaml:2: control characters are not allowed");
    refuse_n(f, "a: 1\0b", 6, "r.yaml:1: control characters");
    refuse(f, "a: \"x\\0y\"\n", "r.yaml:1: a NUL character");
    refuse(f, "\"x\\0y\": 1\n", "r.yaml:1: a NUL character");
}

static void tag_directives_are_counted(void **state)
{
    struct fixture *f = *state;
    static const char *const breaks[] = {"\n", "\r", "\r\n", "\xc2\x85", "\xe2\x80\xa8"};
    for (size_t k = 0; k < sizeof breaks / sizeof *breaks; k++) {
        struct wf_str s = {0};
        for (int i = 0; i < 16; i++)
            wf_str_printf(&s, "%%TAG !a%d! x%s", i, breaks[k]);
        assert_true(parse_n(f, s.text, s.n) == WF_USAGE && !strstr(f->e.text, "directives"));
        for (int i = 16; i < 500000; i++)
            wf_str_printf(&s, "%%TAG !a%d! x%s", i, breaks[k]);
        refuse(f, s.text, "more than 16 %TAG directives");
        wf_str_free(&s);
    }
    accept(f, "%TAG !e! tag:yaml.org,2002:\n---\na: !e!str 1\n");
}

#ifdef WF_FAULTS
static int parse_some(void)
{
    struct fixture f = {0};
    static const char text[] = "a: &x {k: [1, 2], l: m}\nb: {<<: *x, c: d}\n---\n- e\n";
    int s = parse_n(&f, text, sizeof text - 1);
    if (s != wf_err_status(&f.e) || (!s && f.n_docs != 2))
        return WF_BUG;
    wf_arena_destroy(&f.arena);
    return wf_mem_now(WF_MEM_TEXT) || wf_mem_now(WF_MEM_META) ? WF_BUG : s;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    assert_true(alloc_loop(parse_some) > 5);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef WF_FAULTS
        cmocka_unit_test(every_allocation_may_fail), /* first: alloc_loop.h */
#endif
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
        TEST(a_recipe_becomes_a_tree_with_lines),
        TEST(json_is_read_by_the_same_parser),
        TEST(surrogate_pairs_are_one_character),
        TEST(lone_surrogates_are_refused_with_their_line),
        TEST(tabs_are_white_space_in_json),
        TEST(nulls_are_unquoted),
        TEST(numbers),
        TEST(booleans),
        TEST(block_scalars_and_quotes),
        TEST(aliases_keep_text_and_take_the_line_of_use),
        TEST(merge_keys_fill_what_is_not_given),
        TEST(documents_are_separate),
        TEST(a_byte_order_mark_is_skipped),
        TEST(empty_files_are_refused),
        TEST(duplicate_keys_are_named_with_both_lines),
        TEST(keys_are_words),
        TEST(anchors_and_aliases_that_do_not_work),
        TEST(alias_bombs_stop_at_the_limit),
        TEST(nesting_stops_at_32_with_and_without_aliases),
        TEST(anchors_are_counted),
        TEST(large_maps_and_lists_are_quick),
        TEST(text_beyond_16_mib_is_refused),
        TEST(tags),
        TEST(tag_directives_are_counted),
        TEST(libyamls_errors_have_one_line_and_a_place),
        TEST(bytes_that_are_not_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
