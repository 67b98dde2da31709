/* test_module_pattern.c - regular expressions over module paths, as Python's re would match them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "../../src/base/clock.h"
#include "../../src/format/module_pattern.h"

static bool matches(const char *pattern, const char *path)
{
    struct wf_err e = {0};
    struct wf_arena a = {0};
    struct wf_module_pattern p;
    if (wf_module_pattern_compile(&e, &a, "config", pattern, &p))
        fail_msg("%s", e.text);
    bool is = wf_module_pattern_matches(&p, path);
    wf_arena_destroy(&a);
    return is;
}

static void patterns_match_whole_paths_or_what_follows_a_dot(void **state)
{
    static const struct {
        const char *pattern, *path;
        bool is;
    } cases[] = {
        {"q_proj", "q_proj", true},
        {"q_proj", "model.layers.0.q_proj", true},
        {"q_proj", "model.layers.0.xq_proj", false},
        {"q_proj", "model.layers.0.q_projx", false},
        {"q_proj", "q_proj.model", false},
        {"0.q_proj", "model.layers.0.q_proj", true},
        {"0.q_proj", "model.layers.10.q_proj", false},
        {"1.q_proj", "layers.1xq_proj", true}, /* '.' is any letter */
        {"1\\.q_proj", "layers.1xq_proj", false},
        {"^model\\.layers\\.0\\..*q_proj", "model.layers.0.self_attn.q_proj", true},
        {"^model\\.layers\\.0\\..*q_proj", "x.model.layers.0.self_attn.q_proj", false},
        {"^q_proj", "layers.q_proj", false},
        {"q_proj$", "layers.q_proj", true},
        {"q$_proj", "layers.q_proj", false},
        {"q_proj|k_proj", "a.k_proj", true},
        {"q_proj|k_proj", "a.v_proj", false},
        {"(q|k)_proj", "a.q_proj", true},
        {"(?:q|k|)_proj", "a._proj", true},
        {"layers\\.(0|1)\\.\\w+", "model.layers.1.mlp", true},
        {"layers\\.(0|1)\\.\\w+", "model.layers.2.mlp", false},
        {"layers\\.(0|1)\\.\\w+", "model.layers.1.mlp.up", false},
        {"layers\\.\\d+\\.mlp", "layers.123.mlp", true},
        {"layers\\.\\d+\\.mlp", "layers..mlp", false},
        {"layers\\.\\D\\.mlp", "layers.x.mlp", true},
        {"layers\\.\\D\\.mlp", "layers.5.mlp", false},
        {"l\\S*\\s?p", "l.5.mlp", true},
        {"layers\\.[0-3]\\.x", "layers.3.x", true},
        {"layers\\.[0-3]\\.x", "layers.4.x", false},
        {"layers\\.[^0-3]\\.x", "layers.4.x", true},
        {"layers\\.[]a-]\\.x", "layers.-.x", true},
        {"layers\\.[\\d_]+\\.x", "layers.1_2.x", true},
        {"layers\\.[\\W]\\.x", "layers.a.x", false},
        {"a*b", "x.aaab", true},
        {"a*b", "x.b", true},
        {"a+b", "x.b", false},
        {"a+?b??", "aa", true},
        {"(a|b)*c", "ababc", true},
        {"(a*)*", "aaa", true},
        {"(a*)+b", "aab", true},
        {".*", "anything.at.all", true},
        {"(.*\\.)?x", "a.b.x", true},
        {"ab|cd|ef", "cd", true},
        {"a(b|c(d|e))f", "acef", true},
        {"a(b|c(d|e))f", "acf", false},
        {"|x", "y.", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (matches(cases[i].pattern, cases[i].path) != cases[i].is)
            fail_msg("'%s' on '%s' is not %d", cases[i].pattern, cases[i].path, cases[i].is);
}

static void what_is_not_understood_is_refused_with_its_text(void **state)
{
    static const char *const bad[] = {
        "",    "a{2}",    "(",       "(a",       ")",    "a)",   "[",
        "[]",  "[a",      "[a-",     "[b-a]",    "*a",   "+",    "a**",
        "a*+", "(?i)a",   "(?=a)",   "(?P<n>a)", "\\",   "\\b",  "\\1",
        "a\\", "[\\d-z]", "[a-\\d]", "\xc3\xa9", "a\tb", "(|*)", "\\n",
    };
    struct wf_arena a = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct wf_err e = {0};
        struct wf_module_pattern p;
        if (wf_module_pattern_compile(&e, &a, "config", bad[i], &p) != WF_USAGE)
            fail_msg("'%s' was accepted", bad[i]);
        assert_non_null(strstr(e.text, "config: "));
        assert_null(strchr(e.text, '\n'));
    }
    wf_arena_destroy(&a);
}

static void long_and_nested_patterns_are_bounded(void **state)
{
    char text[2 * WF_MODULE_PATTERN_MAX];
    struct wf_arena a = {0};
    struct wf_err e = {0};
    struct wf_module_pattern p;
    (void)state;
    memset(text, 'a', sizeof text);
    text[WF_MODULE_PATTERN_MAX] = 0;
    assert_int_equal(wf_module_pattern_compile(&e, &a, "c", text, &p), WF_OK);
    assert_true(wf_module_pattern_matches(&p, text));
    text[WF_MODULE_PATTERN_MAX] = 'a';
    text[WF_MODULE_PATTERN_MAX + 1] = 0;
    assert_int_equal(wf_module_pattern_compile(&e, &a, "c", text, &p), WF_USAGE);
    wf_err_clear(&e);
    memset(text, '(', 500);
    memset(text + 500, ')', 500);
    text[1000] = 0;
    assert_int_equal(wf_module_pattern_compile(&e, &a, "c", text, &p), WF_USAGE);
    wf_err_clear(&e);
    memset(text, '|', 1000);
    assert_int_equal(wf_module_pattern_compile(&e, &a, "c", text, &p), WF_OK);
    assert_true(wf_module_pattern_matches(&p, ""));
    assert_false(wf_module_pattern_matches(&p, "a"));
    wf_arena_destroy(&a);
}

/* Backtracking would need 2^100 steps. */
static void time_is_linear_whatever_the_pattern(void **state)
{
    char pattern[512] = "", path[513];
    (void)state;
    for (int i = 0; i < 100; i++)
        memcpy(pattern + 5 * i, "(a*)*", 6);
    memset(path, 'a', 512);
    path[511] = 'b';
    path[512] = 0;
    uint64_t began = wf_now_ns();
    assert_false(matches(pattern, path));
    assert_true(wf_now_ns() - began < 2000000000u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_match_whole_paths_or_what_follows_a_dot),
        cmocka_unit_test(what_is_not_understood_is_refused_with_its_text),
        cmocka_unit_test(long_and_nested_patterns_are_bounded),
        cmocka_unit_test(time_is_linear_whatever_the_pattern),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
