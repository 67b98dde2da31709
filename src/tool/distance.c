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

void wf_distance_of(struct wf_run a, struct wf_run b, struct wf_run base, size_t n,
                    struct wf_distance *out)
{
    const struct wf_run run[3] = {a, b, base};
    struct lanes l = {0};
    (has_avx2() ? add_avx2 : add_plain)(&l, run, n);
    *out = (struct wf_distance){join_lanes(l.aa),
                                join_lanes(l.dd),
                                join_lanes(l.xx),
                                join_lanes(l.yy),
                                join_lanes(l.xy),
                                0,
                                0,
                                0};
    for (size_t k = 0; k < LANES; k++) {
        out->largest = l.largest[k] > out->largest ? l.largest[k] : out->largest;
        out->bad_a += l.bad_a[k];
        out->bad_b += l.bad_b[k];
    }
}

void wf_distance_join(struct wf_distance *sum, const struct wf_distance *part)
{
    sum->aa += part->aa;
    sum->dd += part->dd;
    sum->xx += part->xx;
    sum->yy += part->yy;
    sum->xy += part->xy;
    sum->largest = part->largest > sum->largest ? part->largest : sum->largest;
    sum->bad_a += part->bad_a;
    sum->bad_b += part->bad_b;
}

double wf_distance_relative(const struct wf_distance *d)
{
    return d->dd == 0.0 ? 0.0 : sqrt(d->dd) / sqrt(d->aa);
}

double wf_distance_cosine(const struct wf_distance *d)
{
    double norms = sqrt(d->xx) * sqrt(d->yy);
    if (!(norms > 0.0) || isinf(norms) || !isfinite(d->xy))
        return NAN;
    double cosine = d->xy / norms; /* rounding may carry it past 1 */
    return cosine > 1.0 ? 1.0 : cosine < -1.0 ? -1.0 : cosine;
}
