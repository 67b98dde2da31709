/* str.h - text: a growing buffer, paths, globs, UTF-8, and the nearest word for a typo. */
#ifndef WF_STR_H
#define WF_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"
#include "status.h"

/* A growing string, always NUL-terminated once something was added. Zero-initialise; after a
 * failed append `failed` is set, later appends do nothing, and wf_str_finish reports it. */
struct wf_str {
    char *text;
    size_t n;
    size_t capacity;
    bool failed;
};

void wf_str_add(struct wf_str *s, const char *text, size_t n);
void wf_str_puts(struct wf_str *s, const char *text);
void wf_str_printf(struct wf_str *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends `text` as a JSON string with quotes; escapes only ", \ and control
 * characters; a byte that is not UTF-8 becomes U+FFFD. */
void wf_str_json(struct wf_str *s, const char *text, size_t n);
/* WF_OK, or the out-of-memory error. `s->text` is never NULL afterwards on success. */
int wf_str_finish(struct wf_str *s, struct wf_err *e);
void wf_str_free(struct wf_str *s);

bool wf_starts_with(const char *text, const char *prefix);
/* What stands behind the last '.': of "layers.0.q_proj" it is "q_proj". */
const char *wf_last_word(const char *text);
/* The word stands between dots, or between one and an end: "norm" in "model.norm.weight". */
bool wf_has_word(const char *text, const char *word);
bool wf_ends_with(const char *text, const char *suffix);

/* The part after the last '/', ignoring trailing slashes ("a/b/" gives "b", length in *n). */
const char *wf_path_last(const char *path, size_t *n);

/* Whole-name glob: '*' crosses dots, '?' one character, [23] [a-z] [!x] sets, no escapes;
 * linear time in practice (single backtrack point), safe on any pattern. */
bool wf_glob(const char *pattern, const char *text);
/* False if the pattern has an unclosed '['. */
bool wf_glob_valid(const char *pattern);

/* True if text[0..n) is well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF).
 * *bad gets the offset of the first bad byte otherwise; bad may be NULL. */
bool wf_utf8_valid(const char *text, size_t n, size_t *bad);

/* The candidate nearest to `word` by edit distance (insert, delete, replace, swap neighbours; upper
 * and lower case are one), or NULL when none is near enough to be a plausible typo. `candidates`
 * ends with NULL. */
const char *wf_nearest(const char *word, const char *const *candidates);

/* " (did you mean 'x'?)" into buf, or "" when there is no near word. Returns buf. */
char *wf_did_you_mean(const char *word, const char *const *candidates, char *buf, size_t size);

#endif
