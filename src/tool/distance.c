/* distance.c - sums of differences; see distance.h for their shape. */
#include "distance.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "../../kernels/dtype_conv.h"

#define CHUNK 1024u /* elements converted at once: three of these stay in the first cache */
#define LANES 8u

struct lanes {
    double aa[LANES], dd[LANES], xx[LANES], yy[LANES], xy[LANES], largest[LANES];
    uint64_t bad_a[LANES], bad_b[LANES];
};

/* Compiled as part of its callers, once for each instruction set. */
#define INLINE static inline __attribute__((always_inline))

/* to[0..n) from elements first..first+n of the run; zeros up to a multiple of LANES. */
INLINE void decode(double *to, struct wf_run run, size_t first, size_t n)
{
    const uint16_t *half = run.data;
    const float *single = run.data;
    const double *wide = run.data;
    for (size_t i = n; i % LANES; i++)
        to[i] = 0.0;
    if (run.dtype == WF_BF16)
        for (size_t i = 0; i < n; i++)
            to[i] = (double)wf_bf16_to_f32(half[first + i]);
    else if (run.dtype == WF_F16)
        for (size_t i = 0; i < n; i++)
            to[i] = (double)wf_f16_to_f32(half[first + i]);
    else if (run.dtype == WF_F32)
        for (size_t i = 0; i < n; i++)
            to[i] = (double)single[first + i];
    else
        memcpy(to, wide + first, n * sizeof *to);
}

/* One element of each into lane k. Branches would stop the compiler from doing several lanes at
 * once, hence the selections. `base` is a constant where it is inlined. */
INLINE void add_element(struct lanes *l, size_t k, double a, double b, double c, bool base)
{
    uint64_t a_ok = fabs(a) <= DBL_MAX, b_ok = fabs(b) <= DBL_MAX, both = a_ok & b_ok;
    double av = both ? a : 0.0, bv = both ? b : 0.0, d = bv - av, size = fabs(d);
    l->bad_a[k] += a_ok ^ 1;
    l->bad_b[k] += b_ok ^ 1;
    l->aa[k] += av * av;
    l->dd[k] += d * d;
    l->largest[k] = size > l->largest[k] ? size : l->largest[k];
    uint64_t all = base ? both & (fabs(c) <= DBL_MAX) : both;
    double x = !base ? av : all ? a - c : 0.0, y = !base ? bv : all ? b - c : 0.0;
    l->yy[k] += y * y;
    l->xy[k] += x * y;
    if (base)
        l->xx[k] += x * x;
}

INLINE void add_runs(struct lanes *l, const struct wf_run run[3], size_t n, bool base)
{
    double a[CHUNK], b[CHUNK], c[CHUNK];
    for (size_t at = 0; at < n; at += CHUNK) {
        size_t part = n - at < CHUNK ? n - at : CHUNK;
        decode(a, run[0], at, part);
        decode(b, run[1], at, part);
        if (base)
            decode(c, run[2], at, part);
        for (size_t i = 0; i < part; i += LANES)
            for (size_t k = 0; k < LANES; k++)
                add_element(l, k, a[i + k], b[i + k], base ? c[i + k] : 0.0, base);
    }
    if (!base)
        memcpy(l->xx, l->aa, sizeof l->xx);
}

INLINE void add_all(struct lanes *l, const struct wf_run run[3], size_t n)
{
    if (run[2].data)
        add_runs(l, run, n, true);
    else
        add_runs(l, run, n, false);
}

static void add_plain(struct lanes *l, const struct wf_run run[3], size_t n)
{
    add_all(l, run, n);
}

/* The lanes are the same eight and nothing is contracted, so both give the same bits. */
#ifdef __x86_64__
__attribute__((target("avx2"))) static void add_avx2(struct lanes *l, const struct wf_run run[3],
                                                     size_t n)
{
    add_all(l, run, n);
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}
#else
#define add_avx2 add_plain

static bool has_avx2(void)
{
    return false;
}
#endif

static double join_lanes(const double v[LANES])
{
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

/* ---- doubles whose squares are out of range ---- */

/* Few enough of these add up to a finite sum, and what their terms have lost does not show. */
static bool in_range(double squares)
{
    return squares >= 0x1p-900 && squares <= 0x1p900;
}

enum { OF_A, OF_D, OF_X, OF_Y, NUMBERS };

/* The numbers that are squared, as fractions of a power of two; b - a may be too large for a
 * double. */
static void split_element(double a, double b, double c, double v[NUMBERS], int exp[NUMBERS])
{
    bool both = isfinite(a) && isfinite(b), all = both && isfinite(c);
    double shrink = fabs(a) > 0x1p1020 || fabs(b) > 0x1p1020 || fabs(c) > 0x1p1020 ? 0.25 : 1.0;
    a *= shrink;
    b *= shrink;
    c *= shrink;
    const double numbers[NUMBERS] = {both ? a : 0.0, both ? b - a : 0.0, all ? a - c : 0.0,
                                     all ? b - c : 0.0};
    for (int k = 0; k < NUMBERS; k++) {
        v[k] = frexp(numbers[k], &exp[k]);
        exp[k] += shrink == 1.0 ? 0 : 2;
    }
}

/* The five sums anew, with the largest exponents: first these are found. */
static void add_scaled(const struct wf_run run[3], size_t n, struct wf_distance *out)
{
    double part[3][CHUNK] = {{0}}, v[NUMBERS], sum[NUMBERS] = {0}, xy = 0.0;
    int exp[NUMBERS], largest[NUMBERS] = {0};
    bool any[NUMBERS] = {false};
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n; i++) {
            for (int k = 0; k < 3 && run[k].data && i % CHUNK == 0; k++)
                decode(part[k], run[k], i, n - i < CHUNK ? n - i : CHUNK);
            split_element(part[0][i % CHUNK], part[1][i % CHUNK], part[2][i % CHUNK], v, exp);
            for (int k = 0; k < NUMBERS; k++) {
                if (pass == 0 && v[k] != 0.0) {
                    largest[k] = any[k] && largest[k] > exp[k] ? largest[k] : exp[k];
                    any[k] = true;
                } else if (any[k]) {
                    v[k] = ldexp(v[k], exp[k] - largest[k]);
                    sum[k] += pass * v[k] * v[k];
                }
            }
            xy += pass * v[OF_X] * v[OF_Y];
        }
    *out = (struct wf_distance){.aa = sum[OF_A],
                                .dd = sum[OF_D],
                                .xx = sum[OF_X],
                                .yy = sum[OF_Y],
                                .xy = xy,
                                .a_exp = largest[OF_A],
                                .d_exp = largest[OF_D],
                                .x_exp = largest[OF_X],
                                .y_exp = largest[OF_Y],
                                .largest = out->largest,
                                .bad_a = out->bad_a,
                                .bad_b = out->bad_b};
}

void wf_distance_of(struct wf_run a, struct wf_run b, struct wf_run base, size_t n,
                    struct wf_distance *out)
{
    const struct wf_run run[3] = {a, b, base};
    struct lanes l = {0};
    (has_avx2() ? add_avx2 : add_plain)(&l, run, n);
    *out = (struct wf_distance){.aa = join_lanes(l.aa),
                                .dd = join_lanes(l.dd),
                                .xx = join_lanes(l.xx),
                                .yy = join_lanes(l.yy),
                                .xy = join_lanes(l.xy)};
    for (size_t k = 0; k < LANES; k++) {
        out->largest = l.largest[k] > out->largest ? l.largest[k] : out->largest;
        out->bad_a += l.bad_a[k];
        out->bad_b += l.bad_b[k];
    }
    bool wide = a.dtype == WF_F64 || b.dtype == WF_F64 || (base.data && base.dtype == WF_F64);
    bool fits = in_range(out->aa) && (in_range(out->dd) || out->largest == 0.0) &&
                in_range(out->xx) && in_range(out->yy);
    if (wide && !fits)
        add_scaled(run, n, out);
}

/* *sum times 2^(-2 *exp), plus `part` likewise: both get the larger of the exponents. */
static void join_squares(double *sum, int *exp, double part, int part_exp)
{
    int both = *sum == 0.0 ? part_exp : part == 0.0 || *exp > part_exp ? *exp : part_exp;
    *sum = ldexp(*sum, 2 * (*exp - both)) + ldexp(part, 2 * (part_exp - both));
    *exp = both;
}

void wf_distance_join(struct wf_distance *sum, const struct wf_distance *part)
{
    int exp = sum->x_exp + sum->y_exp;
    join_squares(&sum->aa, &sum->a_exp, part->aa, part->a_exp);
    join_squares(&sum->dd, &sum->d_exp, part->dd, part->d_exp);
    join_squares(&sum->xx, &sum->x_exp, part->xx, part->x_exp);
    join_squares(&sum->yy, &sum->y_exp, part->yy, part->y_exp);
    int both = sum->x_exp + sum->y_exp;
    sum->xy = ldexp(sum->xy, exp - both) + ldexp(part->xy, part->x_exp + part->y_exp - both);
    sum->largest = part->largest > sum->largest ? part->largest : sum->largest;
    sum->bad_a += part->bad_a;
    sum->bad_b += part->bad_b;
}

double wf_distance_relative(const struct wf_distance *d)
{
    return d->dd == 0.0 ? 0.0 : ldexp(sqrt(d->dd) / sqrt(d->aa), d->d_exp - d->a_exp);
}

double wf_distance_cosine(const struct wf_distance *d)
{
    double norms = sqrt(d->xx) * sqrt(d->yy);
    if (!(norms > 0.0))
        return NAN;
    double cosine = d->xy / norms; /* rounding may carry it past 1 */
    return cosine > 1.0 ? 1.0 : cosine < -1.0 ? -1.0 : cosine;
}
