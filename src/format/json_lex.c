/* json_lex.c - JSON's tokens; see json_lex.h. */
#include "json_lex.h"

#include <stdint.h>
#include <string.h>

size_t wf_json_skip_space(const char *text, size_t n, size_t at)
{
    while (at < n && (text[at] == ' ' || text[at] == '\n' || text[at] == '\r' || text[at] == '\t'))
        at++;
    return at;
}

static int hex_value(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The four digits behind "\u" at text[at..n), -1 if they are not there. */
static int32_t unit_at(const char *text, size_t n, size_t at)
{
    int32_t unit = 0;
    if (n < 4 || at > n - 4)
        return -1;
    for (size_t i = at; i < at + 4; i++) {
        int v = hex_value(text[i]);
        if (v < 0)
            return -1;
        unit = unit << 4 | v;
    }
    return unit;
}

static size_t utf8_size(uint32_t code)
{
    return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
}

/* "\uXXXX" with its backslash at text[at], and the low half where the first is a high surrogate:
 * the code point, and the length of the whole in *used. */
static const char *lex_unicode(const char *text, size_t n, size_t at, bool nul, uint32_t *code,
                               size_t *used)
{
    int32_t unit = unit_at(text, n, at + 2);
    if (unit < 0)
        return "\\u needs four hexadecimal digits";
    if (unit == 0 && !nul)
        return "\\u0000 in a string (it would cut the text short)";
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return "half a surrogate pair";
    *used = 6;
    *code = (uint32_t)unit;
    if (unit < 0xd800 || unit > 0xdbff)
        return NULL;
    int32_t low =
        at + 7 < n && text[at + 6] == '\\' && text[at + 7] == 'u' ? unit_at(text, n, at + 8) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return "half a surrogate pair";
    *used = 12;
    *code = 0x10000u + (((uint32_t)unit - 0xd800u) << 10) + ((uint32_t)low - 0xdc00u);
    return NULL;
}

static const char *lex_string(const char *text, size_t n, size_t at, bool nul,
                              struct wf_json_token *token)
{
    size_t i = at + 1, decoded = 0;
    *token = (struct wf_json_token){.at = at};
    for (;;) {
        size_t plain = i; /* the run of bytes that stand for themselves */
        while (i < n && (unsigned char)text[i] >= 0x20 && text[i] != '"' && text[i] != '\\')
            i++;
        decoded += i - plain;
        token->end = i;
        if (i == n)
            return "the text ends inside a string";
        if (text[i] == '"')
            break;
        if (text[i] != '\\')
            return "a raw control character in a string (escape it)";
        token->escaped = true;
        if (i + 1 < n && text[i + 1] == 'u') {
            uint32_t code;
            size_t used;
            const char *why = lex_unicode(text, n, i, nul, &code, &used);
            if (why)
                return why;
            decoded += utf8_size(code);
            i += used;
        } else if (i + 1 < n && text[i + 1] && strchr("\"\\/bfnrt", text[i + 1])) {
            decoded++;
            i += 2;
        } else {
            return "an unknown escape in a string";
        }
    }
    token->end = i + 1;
    token->decoded_n = decoded;
    return NULL;
}

const char *wf_json_lex_string(const char *text, size_t n, size_t at, struct wf_json_token *token)
{
    return lex_string(text, n, at, false, token);
}

const char *wf_json_lex_counted(const char *text, size_t n, size_t at, struct wf_json_token *token)
{
    return lex_string(text, n, at, true, token);
}

static char *put_utf8(char *out, uint32_t code)
{
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    size_t size = utf8_size(code);
    for (size_t i = size; i-- > 1; code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(lead[size] | code);
    return out + size;
}

void wf_json_decode(const char *text, const struct wf_json_token *token, char *out)
{
    size_t i = token->at + 1, end = token->end - 1;
    if (!token->escaped) {
        memcpy(out, text + i, end - i);
        out[end - i] = 0;
        return;
    }
    while (i < end) {
        if (text[i] != '\\') {
            *out++ = text[i++];
        } else if (text[i + 1] == 'u') {
            uint32_t code = 0;
            size_t used = 0;
            lex_unicode(text, end, i, true, &code, &used); /* checked when the token was lexed */
            out = put_utf8(out, code);
            i += used;
        } else {
            static const char letters[] = "bfnrt", values[] = "\b\f\n\r\t";
            const char *letter = strchr(letters, text[i + 1]);
            *out++ = letter ? values[letter - letters] : text[i + 1];
            i += 2;
        }
    }
    *out = 0;
}

static size_t skip_digits(const char *text, size_t n, size_t at)
{
    while (at < n && text[at] >= '0' && text[at] <= '9')
        at++;
    return at;
}

const char *wf_json_lex_number(const char *text, size_t n, size_t at, struct wf_json_token *token)
{
    size_t whole = at + (at < n && text[at] == '-');
    size_t i = skip_digits(text, n, whole);
    *token = (struct wf_json_token){.at = at, .end = whole};
    if (i == whole)
        return "a number without digits";
    if (i - whole > 1 && text[whole] == '0')
        return "a number with a leading zero";
    if (i < n && text[i] == '.') {
        token->end = i++;
        size_t start = i;
        i = skip_digits(text, n, i);
        if (i == start)
            return "a number needs digits behind the point";
    }
    if (i < n && (text[i] == 'e' || text[i] == 'E')) {
        token->end = i++;
        i += i < n && (text[i] == '+' || text[i] == '-');
        size_t start = i;
        i = skip_digits(text, n, i);
        if (i == start)
            return "a number needs digits in its exponent";
    }
    token->end = i;
    return NULL;
}
