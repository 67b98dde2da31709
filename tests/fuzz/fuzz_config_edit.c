/* fuzz_config_edit.c - edits of any config that parses: the result parses, holds what was asked
 * for, keeps the rest, and editing it again changes nothing. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/format/config_edit.h"
#include "../../src/format/json.h"
#include "check.h"

static struct wf_err err;

static struct wf_json *parse(struct wf_arena *a, const char *text, size_t n)
{
    struct wf_json *json;
    CHECK(!wf_json_parse(&err, a, "config.json", text, n, WF_JSON_CONFIG, &json));
    return json;
}

static int is_unwanted(const char *key)
{
    return !strcmp(key, "_name_or_path") || !strcmp(key, "quantization_config") ||
           !strcmp(key, "compression_config");
}

/* `after` is `before` without the unwanted members; strings under a type's key may differ. */
static void compare(const struct wf_json *before, const struct wf_json *after, int top)
{
    int is_type =
        before->key && (!strcmp(before->key, "dtype") || !strcmp(before->key, "torch_dtype"));
    if (is_type && after->kind == WF_JSON_STRING &&
        (before->kind == WF_JSON_STRING || before->kind == WF_JSON_NULL))
        return;
    CHECK(before->kind == after->kind);
    if (before->text)
        CHECK(!strcmp(before->text, after->text));
    size_t k = 0;
    for (size_t i = 0; i < before->n; i++) {
        const char *key = before->children[i].key;
        if (key && is_unwanted(key))
            continue;
        CHECK(k < after->n);
        if (key)
            CHECK(!strcmp(key, after->children[k].key));
        compare(&before->children[i], &after->children[k++], 0);
    }
    CHECK(k == after->n ||
          (top && k + 1 == after->n && !strcmp(after->children[k].key, "torch_dtype")));
}

static void check_merge(struct wf_arena *a, const char *text, size_t n, enum wf_dtype dtype)
{
    struct wf_str once = {0}, twice = {0};
    CHECK(!wf_config_for_merge(&err, "config.json", text, n, dtype, &once));
    compare(parse(a, text, n), parse(a, once.text, once.n), 1);
    CHECK(!wf_config_for_merge(&err, "config.json", once.text, once.n, dtype, &twice));
    CHECK(once.n == twice.n && !memcmp(once.text, twice.text, once.n));
    wf_str_free(&once);
    wf_str_free(&twice);
}

static void check_apply(struct wf_arena *a, const char *text, size_t n)
{
    static const struct wf_config_edit edits[] = {{"a", "[1, \"x\"]", 1},
                                                  {"b", NULL, 0},
                                                  {"c.d", "null", 0},
                                                  {"e", "2", 0},
                                                  {"new", "{}", 1}};
    struct wf_str once = {0}, twice = {0}, same = {0};
    CHECK(!wf_config_apply(&err, "config.json", text, n, edits, 5, &once));
    const struct wf_json *json = parse(a, once.text, once.n);
    CHECK(wf_json_get(json, "a") && wf_json_get(json, "a")->n == 2);
    CHECK(!wf_json_get(json, "b"));
    CHECK(wf_json_get(json, "new"));
    CHECK(!wf_config_apply(&err, "config.json", once.text, once.n, edits, 5, &twice));
    CHECK(once.n == twice.n && !memcmp(once.text, twice.text, once.n));
    CHECK(!wf_config_apply(&err, "config.json", text, n, NULL, 0, &same));
    CHECK(same.n == n && !memcmp(same.text, text, n));
    wf_str_free(&once);
    wf_str_free(&twice);
    wf_str_free(&same);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct wf_arena a = {0};
    struct wf_str out = {0};
    const char *text = (const char *)data;
    int s = wf_config_for_merge(&err, "config.json", text, n, WF_BF16, &out);
    wf_str_free(&out);
    if (s) {
        CHECK(s == WF_INPUT);
        wf_err_clear(&err);
        return 0;
    }
    check_merge(&a, text, n, WF_BF16);
    check_merge(&a, text, n, WF_DTYPE_NONE);
    check_apply(&a, text, n);
    wf_arena_destroy(&a);
    return 0;
}
