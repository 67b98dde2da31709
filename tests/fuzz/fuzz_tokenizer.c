/* fuzz_tokenizer.c - any bytes as a tokenizer's file.
 *
 * Input: one byte that chooses the form, then the file. What is accepted must be found again by
 * text and by id; of a tokenizer.json, two tokens appended must be read back with the ids they were
 * given.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/format/sentencepiece.h"
#include "../../src/format/tokenizer_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool truth)
{
    if (!truth)
        abort();
}

static void check(const struct wf_vocab *v)
{
    for (size_t i = 0; i < v->n; i++) {
        const struct wf_token *t = &v->tokens[i];
        must(wf_vocab_find(v, t->text, t->n) == t);
        must(wf_vocab_at(v, t->id) == t);
        must(t->id < v->rows_least);
        must(t->text[t->n] == 0);
    }
}

/* Two tokens that are not there, at the end of what is. */
static void append(struct wf_arena *a, const char *text, size_t n, const struct wf_vocab *v,
                   const struct wf_tokenizer_json *json)
{
    static const char names[2][4] = {"\x01\0z", "\"\\y"};
    struct wf_token more[2];
    struct wf_err e = {0};
    struct wf_str out = {0};
    struct wf_vocab again = {.arena = a};
    struct wf_tokenizer_json found;
    uint32_t id = wf_vocab_next_id(v, true);
    for (uint32_t i = 0; i < 2; i++) {
        if (wf_vocab_find(v, names[i], 3) || wf_vocab_at(v, id + i))
            return;
        more[i] = (struct wf_token){names[i], 3, id + i, WF_TOKEN_ADDED | WF_TOKEN_LSTRIP};
    }
    must(!wf_tokenizer_json_append(&e, text, n, json, more, 2, &out));
    must(!wf_tokenizer_json_scan(&e, "x", out.text, out.n, &again, &found));
    must(again.n == v->n + 2);
    for (uint32_t i = 0; i < 2; i++) {
        const struct wf_token *t = wf_vocab_find(&again, names[i], 3);
        must(t && t->id == id + i && t->flags == more[i].flags);
    }
    wf_str_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct wf_arena a = {0};
    struct wf_err e = {0};
    struct wf_vocab v = {.arena = &a};
    struct wf_tokenizer_json json = {0};
    struct wf_tokenizer_config config;
    const char *text = (const char *)data + 1;
    int form = n ? data[0] % 5 : 0, status = WF_USAGE;
    if (!n--)
        return 0;
    if (form == 0)
        status = wf_tokenizer_json_scan(&e, "x", text, n, &v, &json);
    else if (form == 1)
        status = wf_token_map_scan(&e, "x", text, n, 0, &v);
    else if (form == 2)
        status = wf_token_map_scan(&e, "x", text, n, WF_TOKEN_ADDED, &v);
    else if (form == 3)
        status = wf_sentencepiece_scan(&e, "x", text, n, &v);
    else
        status = wf_tokenizer_config_scan(&e, "x", text, n, true, &v, &config);
    must(status == WF_OK || status == WF_INPUT);
    must((status == WF_OK) == (wf_err_status(&e) == WF_OK));
    if (!status)
        status = wf_vocab_settle(&e, &v, "x");
    if (!status)
        check(&v);
    if (!status && form == 0)
        append(&a, text, n, &v, &json);
    wf_arena_destroy(&a);
    return 0;
}
