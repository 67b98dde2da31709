/* test_tokenizer.c - tokenizers' files: which ids tokens get, what is refused and named, and that
 * appended text is read back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../src/base/file.h"
#include "../../src/base/str.h"
#include "../../src/format/sentencepiece.h"
#include "../../src/format/tokenizer.h"
#include "../../src/format/tokenizer_edit.h"

struct fixture {
    struct wf_err e;
    struct wf_arena a;
    struct wf_vocab v;
    struct wf_tokenizer_json json;
    struct wf_tokenizer_config config;
};

static int start(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    *state = f;
    if (f)
        f->v.arena = &f->a;
    return f ? 0 : -1;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    wf_arena_destroy(&f->a);
    free(f);
    return 0;
}

static void again(struct fixture *f)
{
    wf_arena_destroy(&f->a);
    memset(f, 0, sizeof *f);
    f->v.arena = &f->a;
}

static int scan(struct fixture *f, const char *text)
{
    int s = wf_tokenizer_json_scan(&f->e, "t.json", text, strlen(text), &f->v, &f->json);
    return s ? s : wf_vocab_settle(&f->e, &f->v, "t.json");
}

static long id_of(const struct fixture *f, const char *text, size_t n)
{
    const struct wf_token *t = wf_vocab_find(&f->v, text, n);
    return t ? (long)t->id : -1;
}

#define ID(f, text) id_of(f, text, sizeof(text) - 1)
#define MODEL(vocab)                                                                               \
    "\"model\": {\"type\": \"BPE\", \"vocab\": " vocab ", \"merges\": [[\"a\", \"b\"]]}"

static void tokens_hold_nul_quotes_and_surrogate_pairs(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(scan(f, "{\"added_tokens\": [{\"id\": 4, \"content\": \"\\\"\\u0000\\\"\", "
                             "\"special\": true, \"lstrip\": false}], " MODEL(
                                 "{\"a\": 0, \"a\\u0000\": 1, \"a\\u0000b\": 2, "
                                 "\"\\ud83d\\ude00\": 3}") "}"),
                     WF_OK);
    assert_int_equal(ID(f, "a"), 0);
    assert_int_equal(ID(f, "a\0"), 1);
    assert_int_equal(ID(f, "a\0b"), 2);
    assert_int_equal(ID(f, "\xf0\x9f\x98\x80"), 3);
    assert_int_equal(ID(f, "\"\0\""), 4);
    assert_int_equal(wf_vocab_find(&f->v, "\"\0\"", 3)->flags, WF_TOKEN_ADDED | WF_TOKEN_SPECIAL);
    assert_int_equal(f->v.rows_least, 5);
    assert_int_equal(f->json.segmentation, WF_SEGMENTATION_BPE);
}

static void ids_may_have_holes(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(scan(f, "{" MODEL("{\"a\": 7, \"b\": 2}") "}"), WF_OK);
    assert_int_equal(f->v.rows_least, 8);
    assert_null(wf_vocab_at(&f->v, 3));
    assert_string_equal(wf_vocab_at(&f->v, 7)->text, "a");
}

static void added_tokens_get_the_ids_that_the_library_gives_them(void **state)
{
    struct fixture *f = *state;
    /* known to the model: keeps its id; empty: none; then from the count on */
    assert_int_equal(scan(f, "{\"added_tokens\": [{\"id\": 1, \"content\": \"b\"}, {\"id\": 99, "
                             "\"content\": \"\"}, {\"id\": 3, \"content\": \"x\"}, {\"id\": 4, "
                             "\"content\": \"y\"}, {\"id\": 3, \"content\": \"x\"}], " MODEL(
                                 "{\"a\": 0, \"b\": 1, \"c\": 2}") "}"),
                     WF_OK);
    assert_int_equal(ID(f, "y"), 4);
    assert_true(wf_vocab_find(&f->v, "b", 1)->flags & WF_TOKEN_ADDED);
    assert_int_equal(wf_vocab_next_id(&f->v, false), 5);
    again(f);
    assert_int_equal(scan(f, "{\"added_tokens\": [{\"id\": 2, \"content\": \"<pad>\"}, {\"id\": 5, "
                             "\"content\": \"<x>\"}], " MODEL("{\"a\": 0, \"b\": 1}") "}"),
                     WF_INPUT);
    assert_non_null(strstr(f->e.text, "added token '<x>' stands there with id 5 and gets 3"));
}

/* Whether an added token of the model's own counts: versions of the library differ. */
static void both_ways_of_counting_are_taken(void **state)
{
    struct fixture *f = *state;
    static const char *const ids[] = {"2", "6", "3"};
    static const int wanted[] = {WF_OK, WF_OK, WF_INPUT};
    for (int i = 0; i < 3; i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "{\"added_tokens\": [{\"id\": 5, \"content\": \"b\"}, {\"id\": %s, \"content\": "
                 "\"x\"}], " MODEL("{\"a\": 0, \"b\": 5}") "}",
                 ids[i]);
        again(f);
        assert_int_equal(scan(f, text), wanted[i]);
    }
}

struct refusal {
    const char *text, *says;
};

static const struct refusal refused[] = {
    {"", "expected an object at byte 0"},
    {"[]", "expected an object at byte 0"},
    {"{", "expected a string at byte 1"},
    {"{}", "no 'model'"},
    {"{} x", "something behind the end"},
    {"{" MODEL("{}") "}", "no tokens"},
    {"{" MODEL("{\"a\": 0, \"a\": 1}") "}", "token 'a' stands twice"},
    {"{" MODEL("{\"a\": 0, \"b\": 0}") "}", "tokens 'a' and 'b' have one id, 0"},
    {"{" MODEL("{\"a\": -1}") "}", "expected a token's id"},
    {"{" MODEL("{\"a\": 1.0}") "}", "expected a token's id"},
    {"{" MODEL("{\"a\": 2147483647}") "}", "expected a token's id"},
    {"{" MODEL("{\"a\": 99999999999999999999}") "}", "expected a token's id"},
    {"{" MODEL("{\"a\": 0,}") "}", "a comma before the end"},
    {"{" MODEL("{\"a\" 0}") "}", "expected ':'"},
    {"{" MODEL("{\"\\ud800\": 0}") "}", "half a surrogate pair"},
    {"{" MODEL("{\"\xff\": 0}") "}", "not UTF-8"},
    {"{" MODEL("{\"\n\": 0}") "}", "a raw control character"},
    {"{" MODEL("{\"a\": 0}") ", " MODEL("{\"a\": 0}") "}", "a second 'model'"},
    {"{\"model\": {\"vocab\": {\"a\": 0}, \"vocab\": {\"a\": 0}}}", "a second 'vocab'"},
    {"{\"model\": {\"vocab\": [[\"a\"]]}}", "expected ','"},
    {"{\"model\": {\"vocab\": [[\"a\", 1, 2]]}}", "expected ']'"},
    {"{\"model\": {\"type\": \"BPE\"}}", "a model without 'vocab'"},
    {"{\"added_tokens\": null, " MODEL("{\"a\": 0}") "}", "expected a list"},
    {"{\"added_tokens\": [{\"id\": 1}], " MODEL("{\"a\": 0}") "}", "without 'content' or 'id'"},
    {"{\"added_tokens\": [\"x\"], " MODEL("{\"a\": 0}") "}", "expected an object"},
    {"{\"x\": nul, " MODEL("{\"a\": 0}") "}", "expected a value"},
    {"{\"x\": [1 2], " MODEL("{\"a\": 0}") "}", "expected ','"},
    {"{\"x\": {\"y\": 01}, " MODEL("{\"a\": 0}") "}", "a leading zero"},
};

static void damage_is_named_with_its_byte(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        again(f);
        int s = scan(f, refused[i].text);
        if (s != WF_INPUT || !strstr(f->e.text, refused[i].says))
            fail_msg("status %d, '%s'; wanted '%s' for %s", s, f->e.text, refused[i].says,
                     refused[i].text);
    }
}

static void nesting_has_an_end(void **state)
{
    struct fixture *f = *state;
    struct wf_str s = {0};
    wf_str_puts(&s, "{\"x\": ");
    for (int i = 0; i < 100000; i++)
        wf_str_puts(&s, "[{\"y\":");
    assert_int_equal(wf_str_finish(&s, &f->e), WF_OK);
    assert_int_equal(scan(f, s.text), WF_INPUT);
    assert_non_null(strstr(f->e.text, "nested too deep"));
    wf_str_free(&s);
}

static void every_cut_of_a_file_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char whole[] =
        "{\"added_tokens\": [{\"id\": 1, \"content\": \"x\"}], \"y\": {\"z\": "
        "[1, true, null]}, " MODEL("{\"a\": 0}") "}";
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        again(f);
        assert_int_equal(wf_tokenizer_json_scan(&f->e, "t", whole, n, &f->v, &f->json), WF_INPUT);
    }
    again(f);
    assert_int_equal(scan(f, whole), WF_OK);
}

static void a_list_of_pieces_counts_places(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(scan(f, "{\"added_tokens\": [{\"id\": 3, \"content\": \"x\"}], \"model\": "
                             "{\"vocab\": [[\"<unk>\", 0], [\"a\", -1.5], [\"a\", -2e0]]}}"),
                     WF_OK);
    assert_int_equal(f->json.segmentation, WF_SEGMENTATION_UNIGRAM);
    assert_int_equal(ID(f, "a"), 2); /* the later place */
    assert_int_equal(ID(f, "x"), 3);
}

static void a_piece_is_a_token_a_comma_and_a_score(void **state)
{
    struct fixture *f = *state;
    static const char *const wrong[] = {"[]\"a\",1]", "[\"a\"]1]", "[\"a\" 1]",  "[\"a\",]",
                                        "[,\"a\",1]", "[\"a\",1",  "[\"a\",1,]", "[\"a\",1,2]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[80];
        snprintf(text, sizeof text, "{\"model\": {\"vocab\": [%s]}}", wrong[i]);
        again(f);
        if (scan(f, text) != WF_INPUT)
            fail_msg("taken: %s", text);
    }
}

static void byte_level_is_seen_where_it_counts(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(scan(f, "{\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": "
                             "\"ByteLevel\"}]}, " MODEL("{\"a\": 0}") "}"),
                     WF_OK);
    assert_true(f->json.byte_level);
    again(f);
    assert_int_equal(scan(f, "{\"x\": \"ByteLevel\", " MODEL("{\"ByteLevel\": 0}") "}"), WF_OK);
    assert_false(f->json.byte_level);
}

/* ---- tokenizer_config.json ---- */

static int configure(struct fixture *f, const char *text)
{
    return wf_tokenizer_config_scan(&f->e, "c.json", text, strlen(text), true, &f->v, &f->config);
}

static void the_decoder_adds_in_order_of_id(void **state)
{
    struct fixture *f = *state;
    scan(f, "{" MODEL("{\"a\": 0, \"b\": 1}") "}");
    assert_int_equal(
        configure(f, "{\"tokenizer_class\": \"X\", \"eos_token\": {\"content\": \"</s>\"}, "
                     "\"added_tokens_decoder\": {\"3\": {\"content\": \"y\"}, \"2\": "
                     "{\"content\": \"x\", \"special\": true}, \"1\": {\"content\": "
                     "\"b\"}}, \"extra_special_tokens\": [\"p\", {\"content\": \"q\"}]}"),
        WF_OK);
    assert_int_equal(ID(f, "x"), 2);
    assert_int_equal(ID(f, "y"), 3);
    assert_string_equal(f->config.class, "X");
    assert_string_equal(f->config.roles->text, "</s>");
    assert_string_equal(f->config.roles->next->text, "p");
    assert_string_equal(f->config.roles->next->next->text, "q");
}

static void a_decoder_that_disagrees_is_refused(void **state)
{
    struct fixture *f = *state;
    scan(f, "{" MODEL("{\"a\": 0}") "}");
    assert_int_equal(configure(f, "{\"added_tokens_decoder\": {\"5\": {\"content\": \"x\"}}}"),
                     WF_INPUT);
    assert_non_null(strstr(f->e.text, "gives token 'x' the id 5, and it gets 1"));
    again(f);
    scan(f, "{" MODEL("{\"a\": 0}") "}");
    assert_int_equal(configure(f, "{\"added_tokens_decoder\": {\"x\": {\"content\": \"x\"}}}"),
                     WF_INPUT);
}

/* ---- SentencePiece ---- */

static void pieces_come_from_protobuf(void **state)
{
    struct fixture *f = *state;
    static const char model[] = "\x0a\x0e\x0a\x05<unk>\x15\0\0\0\0\x18\x02" /* text, score, type */
                                "\x0a\x05\x0a\x03\xe2\x96\x81"
                                "\x12\x03xyz\x18\x07";
    assert_int_equal(wf_sentencepiece_scan(&f->e, "m", model, sizeof model - 1, &f->v), WF_OK);
    assert_int_equal(f->v.n, 2);
    assert_int_equal(ID(f, "\xe2\x96\x81"), 1);
    for (size_t n = 1; n < sizeof model - 1; n++) {
        again(f);
        int s = wf_sentencepiece_scan(&f->e, "m", model, n, &f->v);
        bool between = n == 16 || n == 23 || n == 28;
        assert_int_equal(s, between ? WF_OK : WF_INPUT);
    }
}

/* ---- editing ---- */

static void appended_tokens_are_read_back(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "{\n  \"added_tokens\": [\n    {\"id\": 1, \"content\": \"x\"}\n  ],\n  " MODEL(
            "{\"a\": 0}") "\n}\n",
        "{\"added_tokens\":[]," MODEL("{\"a\": 0, \"b\": 1}") "}",
        "{" MODEL("{\"a\": 0, \"b\": 1}") "}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct wf_str out = {0};
        const struct wf_token more[] = {{"\"\n", 2, 2, WF_TOKEN_ADDED | WF_TOKEN_SPECIAL},
                                        {"z", 1, 3, WF_TOKEN_ADDED | WF_TOKEN_NORMALIZED}};
        again(f);
        assert_int_equal(scan(f, texts[i]), WF_OK);
        assert_int_equal(
            wf_tokenizer_json_append(&f->e, texts[i], strlen(texts[i]), &f->json, more, 2, &out),
            WF_OK);
        again(f);
        assert_int_equal(scan(f, out.text), WF_OK);
        assert_int_equal(ID(f, "\"\n"), 2);
        assert_int_equal(ID(f, "z"), 3);
        assert_int_equal(wf_vocab_find(&f->v, "z", 1)->flags, more[1].flags);
        wf_str_free(&out);
    }
}

static void a_decoder_is_appended_to_in_its_layout(void **state)
{
    struct fixture *f = *state;
    static const char text[] =
        "{\"added_tokens_decoder\": {\n    \"0\": {\"content\": \"a\"}\n  }}";
    const struct wf_token more = {"z", 1, 1, WF_TOKEN_ADDED};
    struct wf_str out = {0};
    scan(f, "{" MODEL("{\"a\": 0}") "}");
    assert_int_equal(configure(f, text), WF_OK);
    assert_int_equal(
        wf_tokenizer_config_append(&f->e, text, sizeof text - 1, &f->config, &more, 1, &out),
        WF_OK);
    assert_string_equal(
        out.text, "{\"added_tokens_decoder\": {\n    \"0\": {\"content\": \"a\"},\n    \"1\": "
                  "{\"content\": \"z\", \"single_word\": false, \"lstrip\": false, "
                  "\"rstrip\": false, \"normalized\": false, \"special\": false}\n  }}");
    wf_str_free(&out);
}

/* ---- folders ---- */

struct file {
    const char *name, *text;
};

/* Opens the tokenizer of a folder with these files, up to three. */
static int open_folder(struct fixture *f, const struct file *files, struct wf_tokenizer *t)
{
    const char *base = getenv("TMPDIR");
    char folder[256], path[320];
    snprintf(folder, sizeof folder, "%s/weft-tokenizer-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < 3 && files[i].name; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i].name);
        assert_int_equal(wf_write_small(&f->e, path, files[i].text, strlen(files[i].text)), WF_OK);
    }
    struct wf_place place = {.path = folder};
    struct wf_tokenizer_source from = {.place = &place};
    int s = wf_tokenizer_open(&f->e, &f->a, &from, t);
    assert_int_equal(wf_remove_tree(&f->e, folder), WF_OK);
    return s;
}

static long id_in(const struct wf_tokenizer *t, const char *text)
{
    const struct wf_token *k = wf_vocab_find(&t->vocab, text, strlen(text));
    return k ? (long)k->id : -1;
}

static void other_forms_are_read(void **state)
{
    struct fixture *f = *state;
    struct wf_tokenizer t;
    static const struct file words[3] = {{"vocab.txt", "[PAD]\r\n[UNK]\nthe"},
                                         {"tokenizer_config.json", "{\"mask_token\": \"[MASK]\"}"}};
    assert_int_equal(open_folder(f, words, &t), WF_OK);
    assert_int_equal(id_in(&t, "[PAD]"), 0);
    assert_int_equal(id_in(&t, "the"), 2);
    assert_int_equal(id_in(&t, "[MASK]"), 3); /* transformers appends it */
    static const struct file map[3] = {{"vocab.json", "{\"a\": 0, \"b\": 1}"},
                                       {"added_tokens.json", "{\"<x>\": 5, \"b\": 1}"}};
    assert_int_equal(open_folder(f, map, &t), WF_OK);
    assert_int_equal(id_in(&t, "<x>"), 5);
    static const struct file none[3] = {{"config.json", "{}"}};
    assert_int_equal(open_folder(f, none, &t), WF_OK);
    assert_null(t.path);
    static const struct file opaque[3] = {{"x.tiktoken", "AA== 0\n"}};
    assert_int_equal(open_folder(f, opaque, &t), WF_OK);
    assert_true(t.opaque);
}

static void shifted_forms_are_refused(void **state)
{
    struct fixture *f = *state;
    struct wf_tokenizer t;
    static const struct file bpe[3] = {{"sentencepiece.bpe.model", ""}};
    assert_int_equal(open_folder(f, bpe, &t), WF_USAGE);
    again(f);
    static const struct file spiece[3] = {
        {"spiece.model", "\x0a\x03\x0a\x01x"},
        {"tokenizer_config.json", "{\"tokenizer_class\": \"T5Tokenizer\"}"}};
    assert_int_equal(open_folder(f, spiece, &t), WF_USAGE);
    assert_non_null(strstr(f->e.text, "T5Tokenizer"));
}

/* 300,000 tokens and as many merges: what stays is a fraction of a tree. */
static void a_large_file_takes_little_memory(void **state)
{
    struct fixture *f = *state;
    struct wf_str s = {0};
    wf_str_puts(&s, "{\"model\": {\"type\": \"BPE\", \"vocab\": {");
    for (unsigned i = 0; i < 300000; i++)
        wf_str_printf(&s, "%s\"\\u0120word%u\": %u", i ? ", " : "", i, i);
    wf_str_puts(&s, "}, \"merges\": [");
    for (unsigned i = 0; i < 300000; i++)
        wf_str_printf(&s, "%s[\"\\u0120wo\", \"rd%u\"]", i ? ", " : "", i);
    wf_str_puts(&s, "]}}");
    assert_int_equal(wf_str_finish(&s, &f->e), WF_OK);
    uint64_t before = wf_mem_now(WF_MEM_META);
    assert_int_equal(scan(f, s.text), WF_OK);
    assert_int_equal(f->v.n, 300000);
    assert_true(wf_mem_now(WF_MEM_META) - before + s.n < 100000000);
    wf_str_free(&s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(tokens_hold_nul_quotes_and_surrogate_pairs),
        TEST(ids_may_have_holes),
        TEST(added_tokens_get_the_ids_that_the_library_gives_them),
        TEST(both_ways_of_counting_are_taken),
        TEST(damage_is_named_with_its_byte),
        TEST(nesting_has_an_end),
        TEST(every_cut_of_a_file_is_refused),
        TEST(a_list_of_pieces_counts_places),
        TEST(a_piece_is_a_token_a_comma_and_a_score),
        TEST(byte_level_is_seen_where_it_counts),
        TEST(the_decoder_adds_in_order_of_id),
        TEST(a_decoder_that_disagrees_is_refused),
        TEST(pieces_come_from_protobuf),
        TEST(appended_tokens_are_read_back),
        TEST(a_decoder_is_appended_to_in_its_layout),
        TEST(other_forms_are_read),
        TEST(shifted_forms_are_refused),
        TEST(a_large_file_takes_little_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
