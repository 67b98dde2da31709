/* str.c - text. */
#include "str.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Room for n more bytes and a NUL. */
static bool reserve(struct wf_str *s, size_t n)
{
    if (s->failed)
        return false;
    if (n < s->capacity - s->n && s->text)
        return true;
    size_t capacity = s->capacity ? s->capacity * 2 : 256;
    while (capacity - s->n <= n)
        capacity *= 2;
    struct wf_err ignored = {0};
    char *text = s->text ? wf_realloc(&ignored, s->text, capacity, 1, "text")
                         : wf_alloc(&ignored, WF_MEM_TEXT, capacity, 1, "text");
    if (!text) {
        s->failed = true;
        return false;
    }
    s->text = text;
    s->capacity = capacity;
    return true;
}

void wf_str_add(struct wf_str *s, const char *text, size_t n)
{
    if (!reserve(s, n))
        return;
    memcpy(s->text + s->n, text, n);
    s->n += n;
    s->text[s->n] = 0;
}

void wf_str_puts(struct wf_str *s, const char *text)
{
    wf_str_add(s, text, strlen(text));
}

/* Straight into the room that there is; once more where it was too little. */
void wf_str_printf(struct wf_str *s, const char *format, ...)
{
    va_list args, again;
    size_t room = s->text && !s->failed ? s->capacity - s->n : 0;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(room ? s->text + s->n : NULL, room, format, args);
    if (n >= 0 && (size_t)n < room) {
        s->n += (size_t)n;
    } else if (n >= 0 && reserve(s, (size_t)n)) {
        vsnprintf(s->text + s->n, (size_t)n + 1, format, again);
        s->n += (size_t)n;
    }
    if (s->text) /* nothing of what did not fit */
        s->text[s->n] = 0;
    va_end(again);
    va_end(args);
}

/* Length of the well-formed sequence at s[0..n), 0 if none (Unicode 15, table 3-7). */
static size_t utf8_sequence(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80)
        return 1;
    size_t need = s[0] >= 0xc2 && s[0] <= 0xdf   ? 2
                  : s[0] >= 0xe0 && s[0] <= 0xef ? 3
                  : s[0] >= 0xf0 && s[0] <= 0xf4 ? 4
                                                 : 0;
    if (need == 0 || n < need)
        return 0;
    unsigned low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    unsigned high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return need;
}

void wf_str_json(struct wf_str *s, const char *text, size_t n)
{
    wf_str_add(s, "\"", 1);
    size_t plain = 0; /* start of the run not yet added */
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        size_t sequence = c < 0x80 ? 1 : utf8_sequence((const unsigned char *)text + i, n - i);
        if (sequence && c >= 0x20 && c != '"' && c != '\\') {
            i += sequence - 1;
            continue;
        }
        wf_str_add(s, text + plain, i - plain);
        plain = i + 1;
        if (!sequence)
            wf_str_puts(s, "\\ufffd"); /* names of files may be any bytes */
        else if (c == '"' || c == '\\')
            wf_str_printf(s, "\\%c", c);
        else if (c == '\n')
            wf_str_puts(s, "\\n");
        else if (c == '\t')
            wf_str_puts(s, "\\t");
        else
            wf_str_printf(s, "\\u%04x", c);
    }
    wf_str_add(s, text + plain, n - plain);
    wf_str_add(s, "\"", 1);
}

int wf_str_finish(struct wf_str *s, struct wf_err *e)
{
    wf_str_add(s, "", 0);
    if (s->failed)
        return wf_fail(e, WF_MACHINE, "out of memory for a text of %zu bytes", s->n);
    return WF_OK;
}

void wf_str_free(struct wf_str *s)
{
    wf_free(s->text);
    *s = (struct wf_str){0};
}

bool wf_has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *part = text; part; part = strchr(part, '.') ? strchr(part, '.') + 1 : NULL)
        if (!strncmp(part, word, n) && (part[n] == '.' || !part[n]))
            return true;
    return false;
}

const char *wf_last_word(const char *text)
{
    const char *dot = strrchr(text, '.');
    return dot ? dot + 1 : text;
}

bool wf_starts_with(const char *text, const char *prefix)
{
    return !strncmp(text, prefix, strlen(prefix));
}

bool wf_ends_with(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && !memcmp(text + n - m, suffix, m);
}

const char *wf_path_last(const char *path, size_t *n)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    *n = end - start;
    return path + start;
}

/* The character at **p, as a number in the order of characters, or the byte that is not part of
 * one; moves *p behind it. The text ends in a NUL, which no sequence holds. */
static uint32_t next_character(const char **p)
{
    size_t n = utf8_sequence((const unsigned char *)*p, 4);
    uint32_t c = 0;
    for (size_t i = 0; i < (n ? n : 1); i++)
        c = c << 8 | (unsigned char)*(*p)++;
    return c;
}

/* One [set] at p (after '['): moves *p past ']' and says whether c is in it. */
static bool set_matches(const char **p, uint32_t c)
{
    const char *s = *p;
    bool invert = *s == '!' || *s == '^', found = false;
    s += invert;
    for (bool first = true; *s && (first || *s != ']'); first = false) {
        uint32_t from = next_character(&s), to = from;
        if (s[0] == '-' && s[1] && s[1] != ']') {
            s++;
            to = next_character(&s);
        }
        found |= c >= from && c <= to;
    }
    *p = *s ? s + 1 : s;
    return found != invert;
}

bool wf_glob(const char *pattern, const char *text)
{
    const char *star = NULL, *retry = NULL; /* the last '*' and where its match may grow */
    while (*text) {
        const char *p = pattern, *t = text;
        bool match = false;
        if (*p == '*') {
            star = ++pattern;
            retry = text;
            continue;
        }
        if (*p) {
            uint32_t wanted = next_character(&p), c = next_character(&t);
            match = wanted == '?' || (wanted == '[' ? set_matches(&p, c) : wanted == c);
        }
        if (match) {
            pattern = p;
            text = t;
        } else if (star) {
            next_character(&retry);
            pattern = star;
            text = retry;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return !*pattern;
}

bool wf_glob_valid(const char *pattern)
{
    for (const char *p = pattern; *p; p++) {
        if (*p != '[')
            continue;
        p++;
        p += *p == '!' || *p == '^';
        if (*p)
            p++; /* a ']' right here is a member */
        while (*p && *p != ']')
            p++;
        if (!*p)
            return false;
    }
    return true;
}

bool wf_utf8_valid(const char *text, size_t n, size_t *bad)
{
    size_t i = 0;
    while (i < n) {
        size_t step = utf8_sequence((const unsigned char *)text + i, n - i);
        if (step == 0) {
            if (bad)
                *bad = i;
            return false;
        }
        i += step;
    }
    return true;
}

#define NEAREST_MAX 63 /* longer words are no typos of ours */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Damerau-Levenshtein (optimal string alignment) over three rolling rows; letters of the other case
 * are the same. */
static unsigned distance(const char *a, size_t n, const char *b, size_t m)
{
    unsigned rows[3][NEAREST_MAX + 2];
    unsigned *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= m; j++)
        above[j] = (unsigned)j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= m; j++) {
            unsigned best = above[j - 1] + (lower(a[i - 1]) != lower(b[j - 1]));
            if (above[j] + 1 < best)
                best = above[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]) && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            row[j] = best;
        }
        unsigned *free_row = before;
        before = above;
        above = row;
        row = free_row;
    }
    return above[m];
}

const char *wf_nearest(const char *word, const char *const *candidates)
{
    size_t n = strlen(word);
    const char *best = NULL;
    unsigned best_distance = 0;
    if (n == 0 || n > NEAREST_MAX)
        return NULL;
    for (; *candidates; candidates++) {
        size_t m = strlen(*candidates);
        if (m > NEAREST_MAX)
            continue;
        unsigned d = distance(word, n, *candidates, m);
        /* A typo changes a small part of a word: a third of it, one letter at least. */
        if (d <= 1 + (n < m ? n : m) / 4 && d < n && d < m && (!best || d < best_distance)) {
            best = *candidates;
            best_distance = d;
        }
    }
    return best;
}

char *wf_did_you_mean(const char *word, const char *const *candidates, char *buf, size_t size)
{
    const char *near = wf_nearest(word, candidates);
    if (near)
        snprintf(buf, size, " (did you mean '%s'?)", near);
    else
        snprintf(buf, size, "%s", "");
    return buf;
}
