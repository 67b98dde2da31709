/* yaml_text.c - surrogate pairs and tabs of JSON in libyaml's words.
 *
 * One pass that follows quotes and comments as far as a surrogate pair needs it: where it loses
 * its way in an odd plain scalar, a pair stays as it is, and libyaml refuses it as ever.
 */
#include "yaml_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum place { PLAIN, COMMENT, SINGLE, DOUBLE };

struct scan {
    const char *text;
    size_t n, at;
    enum place place;
    char before; /* the last byte outside quotes that is not blank */
    bool json;   /* the document begins as JSON does */
    bool indent; /* nothing but blanks in this line so far */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The first byte of the document itself is a bracket. */
static bool begins_as_json(const char *text, size_t n)
{
    size_t i = 0;
    while (i < n && (is_blank(text[i]) || text[i] == '\n' || text[i] == '\r'))
        i++;
    return i < n && (text[i] == '{' || text[i] == '[');
}

/* The value of "\uXXXX" at text[at], 0 if it is something else. */
static uint32_t escape_at(const struct scan *s, size_t at)
{
    uint32_t v = 0;
    if (s->n - at < 6 || s->text[at] != '\\' || s->text[at + 1] != 'u')
        return 0;
    for (size_t i = at + 2; i < at + 6; i++) {
        char c = s->text[i];
        if (!memchr("0123456789abcdefABCDEF", c, 22))
            return 0;
        v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

/* Writes what the escape at s->at means to `out`, and steps over it; returns the bytes written. */
static size_t take_escape(struct scan *s, char *out)
{
    uint32_t high = escape_at(s, s->at);
    uint32_t low = high >> 10 == 0xd800 >> 10 ? escape_at(s, s->at + 6) : 0;
    if (low >> 10 == 0xdc00 >> 10) {
        char joined[11];
        uint32_t point = 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff);
        snprintf(joined, sizeof joined, "\\U%08X", (unsigned)point);
        memcpy(out, joined, 10);
        s->at += 12;
        return 10;
    }
    size_t n = s->n - s->at < 2 ? 1 : 2; /* "\"" does not end the quotes */
    memmove(out, s->text + s->at, n);
    s->at += n;
    return n;
}

/* A quote opens only where a value or key may begin; elsewhere it is a letter, as in "it's". */
static bool opens_quotes(const struct scan *s)
{
    return memchr("\n\r{[,:-?", s->before, 8) != NULL;
}

/* Whether byte c, inside quotes, ends them. */
static bool closes_quotes(const struct scan *s, char c)
{
    return c == (s->place == DOUBLE ? '"' : '\'');
}

static enum place place_of_plain(const struct scan *s, char c)
{
    bool after_blank = s->indent || is_blank(s->text[s->at - 1]);
    if (c == '#' && after_blank)
        return COMMENT;
    if (c == '"' && opens_quotes(s))
        return DOUBLE;
    return c == '\'' && opens_quotes(s) ? SINGLE : PLAIN;
}

/* Takes note of the byte at s->at; not of what follows a backslash in double quotes. */
static void step(struct scan *s)
{
    char c = s->text[s->at];
    bool ends_line = c == '\n' || c == '\r';
    if (s->place == DOUBLE || s->place == SINGLE) {
        if (closes_quotes(s, c)) {
            s->before = s->place == SINGLE ? '\n' : c; /* after '' single quotes are open again */
            s->place = PLAIN;
        }
    } else if (ends_line) {
        s->place = PLAIN;
        s->before = c;
    } else if (s->place == PLAIN && !is_blank(c)) {
        s->place = place_of_plain(s, c);
        s->before = c;
    }
    s->indent = ends_line || (s->indent && is_blank(c));
}

size_t wf_yaml_text_adapt(char *text, size_t n)
{
    struct scan s = {.text = text, .n = n, .before = '\n', .indent = true};
    size_t to = 0;
    s.json = begins_as_json(text, n);
    while (s.at < n) {
        char c = text[s.at];
        if (s.place == DOUBLE && c == '\\') {
            to += take_escape(&s, text + to);
            s.indent = false;
            continue;
        }
        step(&s);
        text[to++] = c == '\t' && s.indent && s.json ? ' ' : c;
        s.at++;
    }
    return to;
}
