/* fuzz_json.c - any bytes as a JSON document.
 *
 * Input: one byte of flags, then the text. What is accepted must be a sound tree, and its text
 * written anew from the tree must parse to an equal tree.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/str.h"
#include "../../src/format/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool truth)
{
    if (!truth)
        abort();
}

static void check_keys(const struct wf_json *v)
{
    for (size_t i = 0; i < v->n; i++) {
        must((v->children[i].key != NULL) == (v->kind == WF_JSON_OBJECT));
        if (v->kind == WF_JSON_OBJECT && i < 64)
            must(wf_json_get(v, v->children[i].key) == &v->children[i]);
    }
}

static void write(struct wf_str *s, const struct wf_json *v)
{
    static const char *const words[] = {"false", "true"};
    switch (v->kind) {
    case WF_JSON_NULL:
        wf_str_puts(s, "null");
        return;
    case WF_JSON_BOOL:
        must(v->number == 0 || v->number == 1);
        wf_str_puts(s, words[v->number == 1]);
        return;
    case WF_JSON_NUMBER:
        must(isfinite(v->number));
        wf_str_puts(s, v->text);
        return;
    case WF_JSON_STRING:
        must(wf_utf8_valid(v->text, strlen(v->text), NULL));
        wf_str_json(s, v->text, strlen(v->text));
        return;
    default:
        break;
    }
    check_keys(v);
    wf_str_puts(s, v->kind == WF_JSON_ARRAY ? "[" : "{");
    for (size_t i = 0; i < v->n; i++) {
        if (i)
            wf_str_puts(s, ",");
        if (v->kind == WF_JSON_OBJECT) {
            wf_str_json(s, v->children[i].key, strlen(v->children[i].key));
            wf_str_puts(s, ":");
        }
        write(s, &v->children[i]);
    }
    wf_str_puts(s, v->kind == WF_JSON_ARRAY ? "]" : "}");
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

static void check_equal(const struct wf_json *a, const struct wf_json *b)
{
    must(a->kind == b->kind && a->n == b->n && a->number == b->number &&
         same_text(a->key, b->key) && same_text(a->text, b->text));
    for (size_t i = 0; i < a->n; i++)
        check_equal(&a->children[i], &b->children[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct wf_err e = {0};
    struct wf_arena a = {0};
    struct wf_json *v, *again;
    if (n == 0)
        return 0;
    enum wf_json_flags flags = data[0] & 1 ? WF_JSON_CONFIG : WF_JSON_STRICT;
    int s = wf_json_parse(&e, &a, "fuzz", (const char *)data + 1, n - 1, flags, &v);
    must(s == wf_err_status(&e));
    if (s) {
        must(s == WF_INPUT && !v && e.text[0]);
    } else {
        struct wf_str text = {0};
        write(&text, v);
        must(!wf_str_finish(&text, &e));
        must(!wf_json_parse(&e, &a, "again", text.text, text.n, flags, &again));
        check_equal(v, again);
        wf_str_free(&text);
    }
    wf_arena_destroy(&a);
    must(wf_mem_now(WF_MEM_META) == 0 && wf_mem_now(WF_MEM_TEXT) == 0);
    return 0;
}
