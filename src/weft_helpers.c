/* weft_helpers.c - the public helpers for front ends, in terms of base. */
#include "../include/weft.h"

#include <string.h>

#include "base/num.h"
#include "base/str.h"

const char *weft_nearest_word(const char *word, const char *const *candidates)
{
    return wf_nearest(word, candidates);
}

int weft_parse_number(const char *text, double *x)
{
    return wf_parse_f64(text, strlen(text), x) ? WEFT_OK : WEFT_USAGE;
}

int weft_parse_size(const char *text, uint64_t *bytes)
{
    uint64_t parsed;
    if (!wf_parse_size(text, &parsed))
        return WEFT_USAGE;
    *bytes = parsed;
    return WEFT_OK;
}

char *weft_format_bytes(uint64_t bytes, char buf[32])
{
    return wf_format_bytes(bytes, buf);
}

char *weft_format_count(uint64_t n, char buf[32])
{
    return wf_format_count(n, buf);
}

/* One run of well-formed UTF-8, with what JSON does not allow inside a string escaped. */
static void write_escaped(FILE *out, const char *text, size_t n)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\') {
            fputc('\\', out);
            fputc(c, out);
        } else if (c < 0x20 || c == 0x7f) {
            fputs("\\u00", out);
            fputc(hex[c >> 4], out);
            fputc(hex[c & 15], out);
        } else {
            fputc(c, out);
        }
    }
}

void weft_write_json_string(FILE *out, const char *text)
{
    size_t n = strlen(text), bad;
    fputc('"', out);
    while (!wf_utf8_valid(text, n, &bad)) {
        write_escaped(out, text, bad);
        fputs("\\ufffd", out);
        text += bad + 1;
        n -= bad + 1;
    }
    write_escaped(out, text, n);
    fputc('"', out);
}
