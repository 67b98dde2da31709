/* test_weft_helpers.c - the public helpers for front ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../include/weft.h"

static void expect_json(const char *text, const char *expected)
{
    char got[512];
    memset(got, 0, sizeof got);
    FILE *out = fmemopen(got, sizeof got, "w");
    assert_non_null(out);
    weft_write_json_string(out, text);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(got, expected);
}

static void json_strings_escape_what_json_forbids(void **state)
{
    (void)state;
    expect_json("", "\"\"");
    expect_json("plain/path-1.safetensors", "\"plain/path-1.safetensors\"");
    expect_json("a \"b\" \\c", "\"a \\\"b\\\" \\\\c\"");
    expect_json("\n\t\x01\x1f\x7f", "\"\\u000a\\u0009\\u0001\\u001f\\u007f\"");
}

static void json_strings_keep_utf8_and_replace_the_rest(void **state)
{
    (void)state;
    expect_json("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
                "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"");
    expect_json("\xff", "\"\\ufffd\"");
    expect_json("a\xff\xfe\"", "\"a\\ufffd\\ufffd\\\"\"");
    expect_json("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""); /* a surrogate */
    expect_json("cut \xe2\x82", "\"cut \\ufffd\\ufffd\"");
}

static void sizes_leave_the_result_alone_on_failure(void **state)
{
    static const char *const bad[] = {"",    " ",   "-1",  "1.5", "G",
                                      "5X",  "1e9", "5 G", "Ki",  "18446744073709551616",
                                      "5iB", "5GG", "+1",  "0x1", "18446744073709551615K"};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        uint64_t bytes = 42;
        assert_int_equal(weft_parse_size(bad[i], &bytes), WEFT_USAGE);
        assert_int_equal(bytes, 42);
    }
}

static void sizes_are_decimal_or_binary(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"123", 123},
        {"1K", 1000},
        {"1KiB", 1024},
        {"5GB", 5000000000},
        {"64Mi", 64u << 20},
        {"2Ti", UINT64_C(2) << 40},
        {"3TB", 3000000000000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        uint64_t bytes = 42;
        assert_int_equal(weft_parse_size(good[i].text, &bytes), WEFT_OK);
        assert_int_equal(bytes, good[i].bytes);
    }
}

static void nearest_word_is_a_typo_or_nothing(void **state)
{
    static const char *const words[] = {"merge", "methods", "plan", NULL};
    static const char *const none[] = {NULL};
    (void)state;
    assert_string_equal(weft_nearest_word("mereg", words), "merge");
    assert_string_equal(weft_nearest_word("plna", words), "plan");
    assert_null(weft_nearest_word("inspect", words));
    assert_null(weft_nearest_word("", words));
    assert_null(weft_nearest_word("merge", none));
}

static void numbers_for_people(void **state)
{
    char buf[32];
    (void)state;
    assert_string_equal(weft_format_bytes(1607936, buf), "1.61 MB");
    assert_string_equal(weft_format_count(1607936, buf), "1,607,936");
    assert_string_equal(weft_format_count(UINT64_MAX, buf), "18,446,744,073,709,551,615");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_strings_escape_what_json_forbids),
        cmocka_unit_test(json_strings_keep_utf8_and_replace_the_rest),
        cmocka_unit_test(sizes_leave_the_result_alone_on_failure),
        cmocka_unit_test(sizes_are_decimal_or_binary),
        cmocka_unit_test(nearest_word_is_a_typo_or_nothing),
        cmocka_unit_test(numbers_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
