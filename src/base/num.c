/* num.c - strict numbers. */
#include "num.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool wf_parse_u64(const char *text, size_t n, uint64_t *out)
{
    uint64_t v = 0;
    if (n == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (digit > 9 || !wf_mul_u64(v, 10, &v) || !wf_add_u64(v, digit, &v))
            return false;
    }
    *out = v;
    return true;
}

static size_t digits(const char *text, size_t n, size_t at)
{
    size_t start = at;
    while (at < n && text[at] >= '0' && text[at] <= '9')
        at++;
    return at - start;
}

/* [+-] digits [. digits] [(e|E) [+-] digits], with at least one digit before the exponent. */
static bool number_grammar(const char *text, size_t n)
{
    size_t i = n && (text[0] == '+' || text[0] == '-');
    size_t whole = digits(text, n, i), part = 0;
    i += whole;
    if (i < n && text[i] == '.') {
        part = digits(text, n, ++i);
        i += part;
    }
    if (whole + part == 0)
        return false;
    if (i < n && (text[i] == 'e' || text[i] == 'E')) {
        i++;
        if (i < n && (text[i] == '+' || text[i] == '-'))
            i++;
        size_t exponent = digits(text, n, i);
        if (exponent == 0)
            return false;
        i += exponent;
    }
    return i == n;
}

bool wf_parse_f64(const char *text, size_t n, double *out)
{
    char copy[512];
    if (n >= sizeof copy || !number_grammar(text, n))
        return false;
    memcpy(copy, text, n);
    copy[n] = 0;
    /* weft never calls setlocale(), so strtod reads the C locale's decimal point. */
    double v = strtod(copy, NULL);
    if (!isfinite(v))
        return false;
    *out = v;
    return true;
}

/* The factor of a size suffix, 0 for an unknown one. */
static uint64_t suffix_factor(const char *s)
{
    static const char letters[] = "KMGT";
    size_t n = strlen(s);
    if (n && (s[n - 1] == 'B' || s[n - 1] == 'b'))
        n--;
    if (n == 0)
        return 1;
    char first = s[0] == 'k' ? 'K' : s[0];
    const char *at = memchr(letters, first, 4);
    if (!at || n > 2 || (n == 2 && s[1] != 'i'))
        return 0;
    uint64_t factor = 1;
    for (long i = 0; i <= at - letters; i++)
        factor *= n == 2 ? 1024 : 1000;
    return factor;
}

bool wf_parse_size(const char *text, uint64_t *bytes)
{
    size_t n = digits(text, strlen(text), 0);
    uint64_t v, factor = suffix_factor(text + n);
    return factor && wf_parse_u64(text, n, &v) && wf_mul_u64(v, factor, bytes);
}

char *wf_format_bytes(uint64_t bytes, char buf[32])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double v = (double)bytes;
    int unit = 0;
    while (v >= 999.5 && unit < 6) {
        v /= 1000;
        unit++;
    }
    int decimals = unit == 0 || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2;
    snprintf(buf, 32, "%.*f %s", decimals, v, units[unit]);
    return buf;
}

char *wf_format_count(uint64_t n, char buf[32])
{
    char plain[24];
    int length = snprintf(plain, sizeof plain, "%llu", (unsigned long long)n), at = 0;
    for (int i = 0; i < length; i++) {
        if (i && (length - i) % 3 == 0)
            buf[at++] = ',';
        buf[at++] = plain[i];
    }
    buf[at] = 0;
    return buf;
}

char *wf_format_f64(double x, char buf[32])
{
    char text[32] = "";
    for (int precision = 1; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*g", precision, x);
        if (strtod(text, NULL) == x)
            break;
    }
    return memcpy(buf, text, sizeof text);
}
