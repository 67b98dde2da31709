/* test_licence.c - what is taken from other people's model cards, and what never is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/base/mem.h"
#include "../../src/base/str.h"
#include "../../src/publish/licence.h"

struct card_test {
    struct wf_err e;
    struct wf_arena a;
    struct wf_licence licence;
};

static void read_n(struct card_test *t, const char *card, size_t n)
{
    *t = (struct card_test){0};
    assert_int_equal(wf_licence_of_card(&t->e, &t->a, "README.md", card, n, &t->licence), WF_OK);
    assert_int_equal(wf_err_status(&t->e), WF_OK);
}

static void states(const char *card, const char *id, const char *name, const char *link)
{
    struct card_test t;
    read_n(&t, card, strlen(card));
    if (!wf_licence_equal(t.licence.id, id) || !wf_licence_equal(t.licence.name, name) ||
        !wf_licence_equal(t.licence.link, link))
        fail_msg("'%s' '%s' '%s' from\n%s", t.licence.id, t.licence.name, t.licence.link, card);
    wf_arena_destroy(&t.a);
}

static void a_licence_is_read_from_front_matter(void **state)
{
    (void)state;
    states("---\nlicense: apache-2.0\n---\n# x\n", "apache-2.0", NULL, NULL);
    states("\xef\xbb\xbf---\r\ntags:\r\n- x\r\nlicense: 'mit'\r\n---\r\n", "mit", NULL, NULL);
    states("---  \nlicense: mit\n---", "mit", NULL, NULL);
    states("---\nlicense: other\nlicense_name: llama3\nlicense_link: LICENSE\n---\n", "other",
           "llama3", "LICENSE");
    states("---\nlicense: mit\nlicense_name: llama3\n---\n", "mit", NULL, NULL);
    states("---\nlicense: no\n---\n", "no", NULL, NULL);
}

static void cards_without_a_licence_state_none(void **state)
{
    (void)state;
    static const char *const cards[] = {
        "",
        "---",
        "---\n",
        "---\n---\n",
        "# license: mit\n",
        "license: mit\n---\n",
        "---\nlicense: mit\n",
        "---\nlicense: mit\n----\n",
        "\n---\nlicense: mit\n---\n",
        "---x\nlicense: mit\n---\n",
        "---\nlicense:\n---\n",
        "---\nlicense: ~\n---\n",
        "---\nlicense: ''\n---\n",
        "---\nlicense: [mit]\n---\n",
        "---\nlicense: {a: b}\n---\n",
        "---\n- license: mit\n---\n",
        "---\nmodel:\n  license: mit\n---\n",
    };
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++)
        states(cards[i], NULL, NULL, NULL);
}

static void broken_cards_are_no_error(void **state)
{
    (void)state;
    static const char *const cards[] = {
        "---\nlicense: mit\nx: [\n---\n",
        "---\nlicense: mit\nlicense: mit\n---\n",
        "---\nlicense: \xff\n---\n",
        "---\nlicense: mit\nx: *nowhere\n---\n",
        "---\nlicense: !!python/object mit\n---\n",
        "---\nlicense: \"a\\0b\"\n---\n",
    };
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++)
        states(cards[i], NULL, NULL, NULL);
    struct card_test t;
    read_n(&t, "---\nlicense: mit\0\n---\n", 22);
    assert_null(t.licence.id);
    wf_arena_destroy(&t.a);
    assert_int_equal(wf_mem_now(WF_MEM_TEXT) + wf_mem_now(WF_MEM_META), 0);
}

/* A value that could end its line would write keys of its own into the result's card. */
static void values_of_more_than_one_line_are_not_repeated(void **state)
{
    (void)state;
    static const char *const values[] = {
        "\"mit\\ntags: x\"", "\"mit\\r\"",     "\"a\\u2028b\"",   "\"a\\u2029---\"",
        "\"a\\N---\"",       "\"\\e[31mmit\"", "|\n  mit\n  mit", "\"a\\x7fb\"",
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct wf_str card = {0};
        wf_str_printf(&card, "---\nlicense: %s\n---\n", values[i]);
        struct card_test t;
        read_n(&t, card.text, card.n);
        assert_null(t.licence.id);
        wf_arena_destroy(&t.a);
        wf_str_free(&card);
    }
    struct wf_str card = {0};
    wf_str_puts(&card, "---\nlicense: ");
    for (int i = 0; i < 1025; i++)
        wf_str_puts(&card, "x");
    wf_str_puts(&card, "\n---\n");
    states(card.text, NULL, NULL, NULL);
    wf_str_free(&card);
    states("---\nlicense: \"\\u8a31 `]( \\\"\"\n---\n", "\xe8\xa8\xb1 `]( \"", NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_licence_is_read_from_front_matter),
        cmocka_unit_test(cards_without_a_licence_state_none),
        cmocka_unit_test(broken_cards_are_no_error),
        cmocka_unit_test(values_of_more_than_one_line_are_not_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
