/* json_lex.h - JSON's tokens, strictly, for the readers that share them (json.c, st_header.c,
 * tokenizer_json.c).
 *
 * The text is known to be valid UTF-8 (wf_utf8_valid) before these are called. A function that
 * returns a sentence ("a raw control character ...") has found the text wrong at token->end; NULL
 * is success and token->end is the offset behind the token.
 */
#ifndef WF_JSON_LEX_H
#define WF_JSON_LEX_H

#include <stdbool.h>
#include <stddef.h>

struct wf_json_token {
    size_t at, end;   /* text[at..end); strings include their quotes */
    size_t decoded_n; /* strings: bytes after escapes are resolved */
    bool escaped;     /* strings: has at least one backslash */
};

/* The offset of the first byte at or behind `at` that is not space, tab, CR or LF; at most n. */
size_t wf_json_skip_space(const char *text, size_t n, size_t at);

/* The string whose opening quote is text[at]. No raw control characters; escapes complete, \u0000
 * refused (it would cut a C string), surrogates in pairs. */
const char *wf_json_lex_string(const char *text, size_t n, size_t at, struct wf_json_token *token);

/* The same for readers that count lengths: \u0000 stands for itself. */
const char *wf_json_lex_counted(const char *text, size_t n, size_t at, struct wf_json_token *token);

/* Writes what a checked string token stands for, decoded_n bytes and a NUL. */
void wf_json_decode(const char *text, const struct wf_json_token *token, char *out);

/* The number that starts at text[at] ('-' or a digit): -? (0 | [1-9][0-9]*) fraction? exponent? */
const char *wf_json_lex_number(const char *text, size_t n, size_t at, struct wf_json_token *token);

#endif
