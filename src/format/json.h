/* json.h - small JSON documents (indexes, configs, adapter configs, manifests) by way of cJSON.
 *
 * The only module that includes cJSON. The document is checked byte by byte first (UTF-8, control
 * characters, number grammar, nesting, duplicate keys, nothing after the end), because cJSON lets
 * those through. Nodes live in the caller's arena; objects are walked by child, or searched
 * by exact name.
 */
#ifndef WF_JSON_H
#define WF_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/mem.h"
#include "../base/status.h"

/* Values in one document; enough for an index of WF_ST_TENSORS_MAX tensors, and a cap on what a
 * hostile file makes of each of its bytes. */
#define WF_JSON_NODES_MAX (1u << 22)

enum wf_json_kind {
    WF_JSON_NULL,
    WF_JSON_BOOL,
    WF_JSON_NUMBER,
    WF_JSON_STRING,
    WF_JSON_ARRAY,
    WF_JSON_OBJECT
};

struct wf_json {
    enum wf_json_kind kind;
    const char *key;          /* in an object, else NULL */
    const char *text;         /* STRING: the value, no NUL inside. NUMBER: its text as written */
    double number;            /* NUMBER; BOOL: 0 or 1 */
    struct wf_json *children; /* ARRAY, OBJECT: n of them, contiguous */
    size_t n;
};

enum wf_json_flags {
    WF_JSON_STRICT = 0,
    WF_JSON_CONFIG =
        1, /* accept bare NaN, Infinity, -Infinity as published configs have (number = 0) */
};

/* Parses text[0..n). `path` is for messages, which carry line and column. */
int wf_json_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                  size_t n, enum wf_json_flags flags, struct wf_json **out);

/* Reads and parses a file of at most max_bytes. Damage is WF_INPUT. */
int wf_json_read(struct wf_err *e, struct wf_arena *a, const char *path, size_t max_bytes,
                 enum wf_json_flags flags, struct wf_json **out);

/* A member by exact name, NULL if absent or `object` is not an object. */
const struct wf_json *wf_json_get(const struct wf_json *object, const char *key);
/* The same, NULL unless it is a string. */
const char *wf_json_string(const struct wf_json *object, const char *key);
/* A whole number 0..2^53 written as plain digits; false otherwise. */
bool wf_json_u64(const struct wf_json *value, uint64_t *out);

#endif
