/* test_base.c - the ground everything stands on: errors, numbers, text, memory, files, hashes. */
#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "model_tree.h"

#include "../../src/base/hash.h"
#include "../../src/base/num.h"
#include "../../src/base/str.h"
#include "../../src/base/thread.h"

/* ---- status ---- */

static void the_first_error_wins_and_is_one_line(void **state)
{
    struct wf_err e = {0};
    (void)state;
    assert_int_equal(wf_err_status(&e), WF_OK);
    assert_int_equal(wf_fail(&e, WF_INPUT, "a\nb\x7f%s\x1b[31m", "\t"), WF_INPUT);
    assert_string_equal(e.text, "a?b???[31m");
    assert_int_equal(wf_fail(&e, WF_MACHINE, "later"), WF_MACHINE);
    assert_int_equal(wf_err_status(&e), WF_INPUT);
    assert_string_equal(e.text, "a?b???[31m");
    wf_err_clear(&e);
    assert_int_equal(wf_fail_errno(&e, WF_MACHINE, ENOENT, "x"), WF_MACHINE);
    assert_string_equal(e.text, "x: No such file or directory");
    wf_err_clear(&e);
    char *huge = test_malloc(100000);
    memset(huge, 'h', 99999);
    huge[99999] = 0;
    wf_fail_errno(&e, WF_INPUT, ENOENT, "%s", huge);
    assert_int_equal(strlen(e.text), WF_ERR_TEXT_MAX - 1);
    test_free(huge);
}

static void *fail_once(void *arg)
{
    wf_fail(arg, WF_INPUT, "from a thread: %s", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    return NULL;
}

static void threads_do_not_mix_their_errors(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct wf_err e = {0};
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            assert_int_equal(wf_thread_start(&e, &threads[i], "fail", fail_once, &e), WF_OK);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(wf_err_status(&e), WF_INPUT);
        assert_string_equal(e.text, "from a thread: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    }
    assert_true(wf_cpu_count() >= 1);
}

/* ---- numbers ---- */

static void whole_numbers_are_strict(void **state)
{
    static const char *const bad[] = {"",
                                      "+1",
                                      "-1",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "0x1",
                                      "1e3",
                                      "18446744073709551616",
                                      "99999999999999999999999",
                                      "1\xb2"};
    uint64_t v = 7;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(wf_parse_u64(bad[i], strlen(bad[i]), &v));
    assert_true(wf_parse_u64("18446744073709551615", 20, &v));
    assert_true(v == UINT64_MAX);
    assert_true(wf_parse_u64("007x", 3, &v)); /* only n bytes are looked at */
    assert_int_equal(v, 7);
}

static void sizes_have_the_suffixes_that_the_help_names(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"123", 123},
                {"64Mi", 64 << 20},
                {"64MiB", 64 << 20},
                {"5GB", 5000000000u},
                {"5G", 5000000000u},
                {"1k", 1000},
                {"1K", 1000},
                {"2Ki", 2048},
                {"3T", 3000000000000u},
                {"1TiB", (uint64_t)1 << 40},
                {"16777215Ti", 16777215ull << 40},
                {"7B", 7}};
    static const char *const bad[] = {"",
                                      "G",
                                      "GiB",
                                      "-1",
                                      "+1",
                                      "1.5G",
                                      "1 G",
                                      "1g",
                                      "1Gii",
                                      "1iB",
                                      "1i",
                                      "1GBB",
                                      "1P",
                                      "1e9",
                                      "0x10",
                                      "16777216Ti",
                                      "18446744073709551616",
                                      "1K\n",
                                      "1M1"};
    uint64_t v;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!wf_parse_size(good[i].text, &v) || v != good[i].bytes)
            fail_msg("%s", good[i].text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (wf_parse_size(bad[i], &v))
            fail_msg("'%s' was taken for %llu", bad[i], (unsigned long long)v);
}

static void real_numbers_are_strict(void **state)
{
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0},       {"-0.5", -0.5},
                {"+.5", 0.5},   {"5.", 5},
                {"1e-5", 1e-5}, {"1E+2", 100},
                {"1e-400", 0},  {"0.1", 0.1},
                {"007", 7},     {"1.7976931348623157e308", 1.7976931348623157e308}};
    static const char *const bad[] = {"",      ".",     "-",     "+",   "e5",    ".e5",  "1e",
                                      "1e+",   "1,5",   "0x1p3", "nan", "inf",   "-inf", "infinity",
                                      "1e400", "1_000", " 1",    "1 ",  "1.2.3", "--1",  "1f"};
    double v;
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (!wf_parse_f64(good[i].text, strlen(good[i].text), &v) || v != good[i].value)
            fail_msg("%s", good[i].text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (wf_parse_f64(bad[i], strlen(bad[i]), &v))
            fail_msg("'%s' was taken for %g", bad[i], v);
    assert_false(wf_parse_f64("1\0"
                              "5",
                              3, &v));
}

static void numbers_are_written_for_people(void **state)
{
    char b[32];
    (void)state;
    assert_string_equal(wf_format_bytes(0, b), "0 B");
    assert_string_equal(wf_format_bytes(999, b), "999 B");
    assert_string_equal(wf_format_bytes(1000, b), "1.00 kB");
    assert_string_equal(wf_format_bytes(9994, b), "9.99 kB");
    assert_string_equal(wf_format_bytes(9996, b), "10.0 kB");
    assert_string_equal(wf_format_bytes(999499, b), "999 kB");
    assert_string_equal(wf_format_bytes(999500, b), "1.00 MB");
    assert_string_equal(wf_format_bytes(UINT64_MAX, b), "18.4 EB");
    assert_string_equal(wf_format_count(0, b), "0");
    assert_string_equal(wf_format_count(999, b), "999");
    assert_string_equal(wf_format_count(1607936, b), "1,607,936");
    assert_string_equal(wf_format_count(UINT64_MAX, b), "18,446,744,073,709,551,615");
    assert_string_equal(wf_format_f64(0.3, b), "0.3");
    assert_string_equal(wf_format_f64(1e-5, b), "1e-05");
    assert_string_equal(wf_format_f64(1.0 / 3, b), "0.3333333333333333");
}

/* ---- text ---- */

static void globs_match_whole_names(void **state)
{
    static const struct {
        const char *pattern, *text;
        bool match;
    } cases[] = {
        {"*", "", true},
        {"", "", true},
        {"", "a", false},
        {"a*c", "a.b.c", true},
        {"a*c", "a.b.cd", false},
        {"?", "", false},
        {"[a-c]x", "bx", true},
        {"[!a-c]x", "bx", false},
        {"[^a]", "b", true},
        {"[]]", "]", true},
        {"[!]]", "a", true},
        {"[!]]", "]", false},
        {"[a-]", "-", true},
        {"[23].*", "3.w", true},
        {"**b**", "abc", true},
        {"*.w", "a.w.w", true},
        {"*ab", "aab", true},
        {"[", "[", false},
        {"a[", "a", false},
        {"\\*", "*", false},
        {"*[0-9]", "layer10", true},
        {"m.*.q", "m.1.k", false},
        {"a?c", "abc", true},
        {"[a", "b", false},
        {"a?c", "a\u00e9c", true},
        {"??", "\u00e9", false},
        {"*??", "\u20ac", false},
        {"[\u00e0-\u00ff]x", "\u00f6x", true},
        {"[!a]", "\u20ac", true},
        {"[\u00e9]", "\u00c3", false},
        {"a?b",
         "a\xff"
         "b",
         true},
        {"*\u20ac?", "a\u20ac\u00e9", true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (wf_glob(cases[i].pattern, cases[i].text) != cases[i].match)
            fail_msg("'%s' on '%s'", cases[i].pattern, cases[i].text);
    assert_true(wf_glob_valid("a[bc]*[!]x]"));
    assert_false(wf_glob_valid("a[bc"));
    assert_false(wf_glob_valid("[]"));
    assert_false(wf_glob_valid("[!]"));
    assert_false(wf_glob_valid("["));
}

static void hostile_globs_end_soon(void **state)
{
    char pattern[4001], text[1025];
    (void)state;
    memset(text, 'a', 1024);
    text[1024] = 0;
    for (size_t i = 0; i < 4000; i += 2)
        memcpy(pattern + i, i < 2000 ? "*a" : "*b", 2);
    pattern[4000] = 0;
    clock_t start = clock();
    for (int i = 0; i < 20; i++)
        assert_false(wf_glob(pattern, text));
    for (size_t i = 0; i < 3990; i += 10)
        memcpy(pattern + i, "*[!b-z]?[a", 10);
    wf_glob(pattern, text); /* an unclosed set: no crash, whatever the answer */
    assert_true(clock() - start < 5 * CLOCKS_PER_SEC);
}

static void utf8_is_judged_by_the_standard(void **state)
{
    static const struct {
        const char *text;
        long bad; /* offset, -1 for none */
    } cases[] = {
        {"plain", -1},
        {"\xc3\xa9", -1},
        {"\xe2\x82\xac", -1},
        {"\xf0\x9f\x98\x80", -1},
        {"\xf4\x8f\xbf\xbf", -1},
        {"\xf4\x90\x80\x80", 0},
        {"\xed\xa0\x80", 0},
        {"a\xc0\x80", 1},
        {"\xe0\x80\xaf", 0},
        {"\xf0\x80\x80\x80", 0},
        {"ab\x80", 2},
        {"\xc3", 0},
        {"\xe2\x82", 0},
        {"\xff", 0},
        {"\xc3\xa9\xc3(", 2},
    };
    size_t bad;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool ok = wf_utf8_valid(cases[i].text, strlen(cases[i].text), &bad);
        assert_int_equal(ok, cases[i].bad < 0);
        if (!ok)
            assert_int_equal(bad, cases[i].bad);
        assert_int_equal(wf_utf8_valid(cases[i].text, strlen(cases[i].text), NULL), ok);
    }
    assert_true(wf_utf8_valid("a\0b", 3, NULL));
}

static void typos_find_the_nearest_word(void **state)
{
    static const char *const words[] = {"weight", "density", "normalize", "lambda", NULL};
    char b[64], tiny[8];
    (void)state;
    assert_string_equal(wf_nearest("wieght", words), "weight");
    assert_string_equal(wf_nearest("densty", words), "density");
    assert_string_equal(wf_nearest("normalise", words), "normalize");
    assert_null(wf_nearest("banana", words));
    assert_null(wf_nearest("", words));
    assert_string_equal(wf_did_you_mean("lamda", words, b, sizeof b), " (did you mean 'lambda'?)");
    assert_string_equal(wf_did_you_mean("zzz", words, b, sizeof b), "");
    assert_int_equal(strlen(wf_did_you_mean("lamda", words, tiny, sizeof tiny)), 7);
    char *huge = test_malloc(100001);
    memset(huge, 'w', 100000);
    huge[100000] = 0;
    assert_null(wf_nearest(huge, words));
    test_free(huge);
}

static void strings_grow_and_escape(void **state)
{
    struct wf_str s = {0};
    struct wf_err e = {0};
    (void)state;
    assert_int_equal(wf_str_finish(&s, &e), WF_OK);
    assert_string_equal(s.text, "");
    for (int i = 0; i < 1000; i++)
        wf_str_printf(&s, "%d,", i);
    assert_int_equal(s.n, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(strlen(s.text), s.n);
    wf_str_free(&s);
    assert_null(s.text);
    wf_str_json(&s, "a\"b\\c\n\t\x01\0z\xc3\xa9", 12);
    assert_string_equal(s.text, "\"a\\\"b\\\\c\\n\\t\\u0001\\u0000z\xc3\xa9\"");
    wf_str_free(&s);
    assert_true(wf_starts_with("abc", "ab") && !wf_starts_with("a", "ab"));
    assert_true(wf_ends_with("abc", "bc") && !wf_ends_with("c", "bc") && wf_ends_with("x", ""));
    size_t n;
    assert_string_equal(wf_path_last("a/b/", &n), "b/");
    assert_int_equal(n, 1);
    assert_string_equal(wf_path_last("plain", &n), "plain");
    wf_path_last("///", &n);
    assert_int_equal(n, 0);
}

/* ---- memory ---- */

static void memory_is_counted_zeroed_and_checked(void **state)
{
    struct wf_err e = {0};
    uint64_t before = wf_mem_now(WF_MEM_RING);
    (void)state;
    unsigned char *p = wf_alloc(&e, WF_MEM_RING, 10, 100, "a test");
    assert_int_equal(wf_mem_now(WF_MEM_RING), before + 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(p[i], 0);
    memset(p, 0xff, 1000);
    p = wf_realloc(&e, p, 500, 8, "a test");
    assert_int_equal(wf_mem_now(WF_MEM_RING), before + 4000);
    for (int i = 0; i < 4000; i++)
        assert_int_equal(p[i], i < 1000 ? 0xff : 0);
    p = wf_realloc(&e, p, 1, 10, "a test"); /* smaller */
    assert_int_equal(wf_mem_now(WF_MEM_RING), before + 10);
    assert_null(wf_realloc(&e, p, SIZE_MAX / 4, 8, "a test")); /* the product overflows */
    assert_int_equal(wf_err_status(&e), WF_MACHINE);
    assert_int_equal(p[9], 0xff); /* the old block is still there */
    wf_free(p);
    wf_free(NULL);
    assert_int_equal(wf_mem_now(WF_MEM_RING), before);
    wf_err_clear(&e);
    assert_null(wf_alloc(&e, WF_MEM_META, SIZE_MAX, 1, "everything"));
    assert_non_null(strstr(e.text, "for everything"));
    assert_null(wf_plain_malloc(SIZE_MAX));
    void *none = wf_alloc(&e, WF_MEM_META, 0, 8, "nothing");
    assert_non_null(none);
    wf_free(none);
    assert_true(wf_mem_total() > 1 << 20 && wf_mem_peak_rss() > 1 << 20);
}

static void arenas_hand_out_zeroed_aligned_memory(void **state)
{
    struct wf_arena a = {0};
    struct wf_err e = {0};
    uint64_t before = wf_mem_now(WF_MEM_META);
    (void)state;
    for (size_t i = 0; i < 5000; i++) {
        size_t n = i % 97 ? i % 300 : i * 100;
        unsigned char *p = wf_arena_alloc(&a, &e, n, 1);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(p[k], 0);
        memset(p, 0xee, n);
    }
    assert_string_equal(wf_arena_strndup(&a, &e, "abcdef", 3), "abc");
    assert_string_equal(wf_arena_strdup(&a, &e, ""), "");
    assert_string_equal(wf_arena_printf(&a, &e, "%s-%d", "x", 5), "x-5");
    assert_string_equal(wf_path_join(&a, &e, "a", "b"), "a/b");
    assert_string_equal(wf_path_join(&a, &e, "/", "b"), "/b");
    assert_int_equal(wf_err_status(&e), WF_OK);
    assert_null(wf_arena_alloc(&a, &e, SIZE_MAX / 2, 4));
    assert_int_equal(wf_err_status(&e), WF_MACHINE);
    wf_arena_destroy(&a);
    wf_arena_destroy(&a);
    assert_int_equal(wf_mem_now(WF_MEM_META), before);
}

/* ---- files ---- */

static void only_whole_regular_files_are_read(void **state)
{
    struct tree *t = *state;
    char *text, *path = tree_file(t, "file", "0123456789"), buffer[20];
    struct wf_file_id id;
    size_t n;
    int fd;
    assert_worked(t, wf_open_read(&t->err, WF_INPUT, path, &fd, &id));
    assert_int_equal(id.bytes, 10);
    assert_worked(t, wf_pread(&t->err, fd, path, buffer, 4, 3));
    assert_memory_equal(buffer, "3456", 4);
    assert_worked(t, wf_pread(&t->err, fd, path, buffer, 0, 99));
    assert_failed(t, wf_pread(&t->err, fd, path, buffer, 8, 5), WF_INPUT,
                  "ends at byte 10, 3 bytes");
    wf_close(fd);
    wf_close(-1);
    assert_worked(t, wf_read_small(&t->err, WF_INPUT, path, 10, &text, &n));
    assert_string_equal(text, "0123456789"); /* NUL-terminated */
    wf_free(text);
    assert_failed(t, wf_read_small(&t->err, WF_USAGE, path, 9, &text, &n), WF_USAGE, "at most 9");
    assert_null(text);
    assert_failed(t, wf_open_read(&t->err, WF_USAGE, tree_path(t, "none"), &fd, NULL), WF_USAGE,
                  "No such file");
    assert_int_equal(fd, -1);
    assert_failed(t, wf_open_read(&t->err, WF_INPUT, t->root, &fd, NULL), WF_INPUT,
                  "not a regular");
    assert_int_equal(mkfifo(tree_path(t, "fifo"), 0666), 0);
    assert_failed(t, wf_open_read(&t->err, WF_INPUT, tree_path(t, "fifo"), &fd, NULL), WF_INPUT,
                  "not a regular"); /* and did not wait for a writer */
    assert_failed(t, wf_open_read(&t->err, WF_INPUT, "/dev/null", &fd, NULL), WF_INPUT,
                  "not a regular");
}

static void small_files_are_written_but_not_through_links(void **state)
{
    struct tree *t = *state;
    char *text;
    size_t n;
    assert_worked(t, wf_write_small(&t->err, tree_path(t, "f"), "long text", 9));
    assert_worked(t, wf_write_small(&t->err, tree_path(t, "f"), "x", 1)); /* replaced */
    assert_worked(t, wf_read_small(&t->err, WF_INPUT, tree_path(t, "f"), 100, &text, &n));
    assert_string_equal(text, "x");
    wf_free(text);
    tree_link(t, "link", "f");
    assert_failed(t, wf_write_small(&t->err, tree_path(t, "link"), "y", 1), WF_MACHINE,
                  "cannot create");
    tree_link(t, "dangling", "nowhere");
    assert_true(wf_exists(tree_path(t, "dangling")));
    assert_false(wf_is_file(tree_path(t, "dangling")));
    assert_true(wf_is_file(tree_path(t, "link")));
    assert_true(wf_is_folder(t->root) && !wf_is_folder(tree_path(t, "f")));
    assert_worked(t, wf_rename(&t->err, tree_path(t, "f"), tree_path(t, "g")));
    assert_failed(t, wf_rename(&t->err, tree_path(t, "f"), tree_path(t, "g")), WF_MACHINE,
                  "rename");
    assert_worked(t, wf_sync_folder(&t->err, t->root));
}

static void removing_a_tree_follows_no_link(void **state)
{
    struct tree *t = *state;
    tree_file(t, "outside/precious", "text");
    tree_file(t, "tree/a/b/c/file", "text");
    tree_file(t, "tree/.hidden", "text");
    tree_link(t, "tree/a/out", "../../outside");
    tree_link(t, "tree/self", ".");
    tree_link(t, "tree/file-link", "../outside/precious");
    assert_worked(t, wf_remove_tree(&t->err, tree_path(t, "tree")));
    assert_false(wf_exists(tree_path(t, "tree")));
    assert_true(wf_is_file(tree_path(t, "outside/precious")));
    assert_worked(t, wf_remove_tree(&t->err, tree_path(t, "tree"))); /* gone is fine */
    tree_link(t, "top", "outside");
    assert_worked(t, wf_remove_tree(&t->err, tree_path(t, "top")));
    assert_true(wf_is_file(tree_path(t, "outside/precious")));
}

/* ---- hashes ---- */

static void hashes_have_their_published_values(void **state)
{
    struct wf_err e = {0};
    char hex[65], million[1000];
    struct wf_hash128 h = wf_xxh128("", 0), back;
    (void)state;
    assert_string_equal(wf_hash128_hex(&h, hex), "99aa06d3014798d86001c324468d497f");
    assert_true(wf_hash128_parse(hex, &back) && wf_hash128_equal(&h, &back));
    static const char *const bad[] = {"", "99aa", "99AA06d3014798d86001c324468d497f",
                                      "99aa06d3014798d86001c324468d497f0",
                                      "99aa06d3014798d86001c324468d497g"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(wf_hash128_parse(bad[i], &back));

    struct wf_sha256 *sha = wf_sha256_create(&e);
    wf_sha256_add(sha, "ab", 2);
    wf_sha256_add(sha, "c", 1);
    wf_sha256_hex(sha, hex);
    wf_sha256_destroy(sha);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

    memset(million, 'a', sizeof million);
    sha = wf_sha256_create(&e);
    for (int i = 0; i < 1000; i++)
        wf_sha256_add(sha, million, sizeof million);
    wf_sha256_hex(sha, hex);
    wf_sha256_destroy(sha);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void streamed_hashes_equal_whole_ones(void **state)
{
    struct wf_err e = {0};
    struct wf_xxh *s = wf_xxh_create(&e);
    char data[5000];
    (void)state;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (char)(i * 31 + i / 7);
    for (size_t step = 1; step < 3000; step = step * 3 + 1) {
        wf_xxh_reset(s);
        for (size_t at = 0; at < sizeof data; at += step)
            wf_xxh_add(s, data + at, step < sizeof data - at ? step : sizeof data - at);
        struct wf_hash128 a = wf_xxh_digest(s), b = wf_xxh128(data, sizeof data);
        assert_true(wf_hash128_equal(&a, &b));
    }
    wf_xxh_destroy(s);
}

#define BASE_FILE_TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_error_wins_and_is_one_line),
        cmocka_unit_test(threads_do_not_mix_their_errors),
        cmocka_unit_test(whole_numbers_are_strict),
        cmocka_unit_test(sizes_have_the_suffixes_that_the_help_names),
        cmocka_unit_test(real_numbers_are_strict),
        cmocka_unit_test(numbers_are_written_for_people),
        cmocka_unit_test(globs_match_whole_names),
        cmocka_unit_test(hostile_globs_end_soon),
        cmocka_unit_test(utf8_is_judged_by_the_standard),
        cmocka_unit_test(typos_find_the_nearest_word),
        cmocka_unit_test(strings_grow_and_escape),
        cmocka_unit_test(memory_is_counted_zeroed_and_checked),
        cmocka_unit_test(arenas_hand_out_zeroed_aligned_memory),
        BASE_FILE_TEST(only_whole_regular_files_are_read),
        BASE_FILE_TEST(small_files_are_written_but_not_through_links),
        BASE_FILE_TEST(removing_a_tree_follows_no_link),
        cmocka_unit_test(hashes_have_their_published_values),
        cmocka_unit_test(streamed_hashes_equal_whole_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
