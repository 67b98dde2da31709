/* num.h - strict numbers: overflow-checked arithmetic and text that is a number and nothing else.
 */
#ifndef WF_NUM_H
#define WF_NUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool wf_add_u64(uint64_t a, uint64_t b, uint64_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

static inline bool wf_mul_u64(uint64_t a, uint64_t b, uint64_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

static inline uint64_t wf_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t wf_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline uint64_t wf_round_up(uint64_t n, uint64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

static inline uint64_t wf_round_down(uint64_t n, uint64_t multiple)
{
    return n / multiple * multiple;
}

/* Decimal digits only, no sign or space; false on anything else or overflow. */
bool wf_parse_u64(const char *text, size_t n, uint64_t *out);

/* A YAML/JSON number: [+-] digits [. digits] [e[+-]digits], or a leading dot; independent of the
 * locale. False on anything else, on NaN and infinity words, and on overflow to infinity. */
bool wf_parse_f64(const char *text, size_t n, double *out);

/* "123", "64Mi", "5GB"; whole numbers only. Suffix K M G T (decimal) or Ki Mi Gi Ti, each
 * with or without a final B; upper case K also as k. False on anything else or overflow. */
bool wf_parse_size(const char *text, uint64_t *bytes);

/* "1.61 GB" style, decimal, three significant digits, for people. Returns buf. */
char *wf_format_bytes(uint64_t bytes, char buf[32]);

/* "1,607,936" with thousands separators. Returns buf. */
char *wf_format_count(uint64_t n, char buf[32]);

/* Shortest decimal text that reads back as the same double ("0.3", "1e-05"). Returns buf. */
char *wf_format_f64(double x, char buf[32]);

#endif
