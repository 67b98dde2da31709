/* exact_math.h - exp, tanh, natural log, sin, cos and acos that give the same bits everywhere.
 *
 * No libm decides a byte of a result: these use + - * /, square root and integer operations on
 * bits, in a fixed order, so that any compiler, with or without vectors, and CUDA agree. Errors are
 * below one unit in the last place, of tanh below three (tests/unit/test_exact_math.c). The
 * constants are Taylor coefficients and pieces of pi and ln 2; each piece is short enough for its
 * product with the multiple to be exact.
 *
 * exp, tanh and log have no branches, so loops over them vectorise. Where floats are enough, exp
 * and tanh of floats (errors below one unit and three) cost a fraction.
 */
#ifndef WF_EXACT_MATH_H
#define WF_EXACT_MATH_H

#include <math.h>
#include <stdint.h>

#include "dtype_conv.h"

/* Adding this to a small number leaves the nearest integer in the low bits. */
#define WF_TO_INTEGER 0x1.8p52

/* x = k ln2 + r, |r| <= ln2 / 2; returns e^r - 1. k is *shifted less WF_TO_INTEGER. */
WF_CONV double wf_exp_part(double x, double *shifted)
{
    *shifted = x * 0x1.71547652b82fep+0 + WF_TO_INTEGER;
    double k = *shifted - WF_TO_INTEGER;
    double high = x - k * 0x1.62e42fefa0000p-1; /* exact */
    double low = k * 0x1.cf79abc9e3b3ap-40;
    double r = high - low;
    double p = 0x1.6124613a86d09p-33;
    p = p * r + 0x1.1eed8eff8d898p-29;
    p = p * r + 0x1.ae64567f544e4p-26;
    p = p * r + 0x1.27e4fb7789f5cp-22;
    p = p * r + 0x1.71de3a556c734p-19;
    p = p * r + 0x1.a01a01a01a01ap-16;
    p = p * r + 0x1.a01a01a01a01ap-13;
    p = p * r + 0x1.6c16c16c16c17p-10;
    p = p * r + 0x1.1111111111111p-7;
    p = p * r + 0x1.5555555555555p-5;
    p = p * r + 0x1.5555555555555p-3;
    p = p * r + 0x1p-1;
    return high - (low - r * r * p);
}

/* e^x = 2^k e^r. Any x: overflows to infinity, underflows gradually to zero. */
WF_CONV double wf_exp(double x)
{
    double shifted;
    x = x > 710.0 ? 710.0 : x;
    x = x < -746.0 ? -746.0 : x;
    double y = 1.0 + wf_exp_part(x, &shifted);
    /* 2^k in two factors: k reaches from -1076 to 1024, and only the second product may round. */
    uint64_t n = wf_f64_bits(shifted) - wf_f64_bits(WF_TO_INTEGER) + 2048;
    uint64_t half = n >> 1, rest = n - half;
    return y * wf_f64_from_bits((half - 1) << 52) * wf_f64_from_bits((rest - 1) << 52);
}

/* tanh |x| = m / (m + 2) with m = e^2|x| - 1 = 2^k (e^r - 1) + (2^k - 1): nothing cancels, so small
 * arguments keep all their digits. From 20 on it is 1. */
WF_CONV double wf_tanh(double x)
{
    uint64_t sign = wf_f64_bits(x) & 0x8000000000000000u;
    double size = wf_f64_from_bits(wf_f64_bits(x) ^ sign), shifted;
    double part = wf_exp_part(2.0 * (size > 20.0 ? 20.0 : size), &shifted);
    uint64_t k = wf_f64_bits(shifted) - wf_f64_bits(WF_TO_INTEGER); /* 0 to 58 */
    double power = wf_f64_from_bits((k + 1023) << 52);
    double m = power * part + (power - 1.0);
    return wf_f64_from_bits(wf_f64_bits(m / (m + 2.0)) | sign);
}

/* The same in floats, the polynomial and the pieces of ln 2 as long as floats need. */
#define WF_TO_INTEGER_F32 0x1.8p23f

WF_CONV float wf_exp_part_f32(float x, float *shifted)
{
    *shifted = x * 0x1.715476p+0f + WF_TO_INTEGER_F32;
    float k = *shifted - WF_TO_INTEGER_F32;
    float high = x - k * 0x1.63p-1f; /* exact */
    float low = k * -0x1.bd0106p-13f;
    float r = high - low;
    float p = 0x1.a01a02p-13f;
    p = p * r + 0x1.6c16c2p-10f;
    p = p * r + 0x1.111112p-7f;
    p = p * r + 0x1.555556p-5f;
    p = p * r + 0x1.555556p-3f;
    p = p * r + 0x1p-1f;
    return high - (low - r * r * p);
}

WF_CONV float wf_exp_f32(float x)
{
    float shifted;
    x = x > 90.0f ? 90.0f : x;
    x = x < -105.0f ? -105.0f : x;
    float y = 1.0f + wf_exp_part_f32(x, &shifted);
    uint32_t n = wf_f32_bits(shifted) - wf_f32_bits(WF_TO_INTEGER_F32) + 256;
    uint32_t half = n >> 1, rest = n - half;
    return y * wf_f32_from_bits((half - 1) << 23) * wf_f32_from_bits((rest - 1) << 23);
}

WF_CONV float wf_tanh_f32(float x)
{
    uint32_t sign = wf_f32_bits(x) & 0x80000000u;
    float size = wf_f32_from_bits(wf_f32_bits(x) ^ sign), shifted;
    float part = wf_exp_part_f32(2.0f * (size > 10.0f ? 10.0f : size), &shifted);
    uint32_t k = wf_f32_bits(shifted) - wf_f32_bits(WF_TO_INTEGER_F32); /* 0 to 29 */
    float power = wf_f32_from_bits((k + 127) << 23);
    float m = power * part + (power - 1.0f);
    return wf_f32_from_bits(wf_f32_bits(m / (m + 2.0f)) | sign);
}

/* x = 2^k m, m from sqrt(1/2) to sqrt(2); with f = m - 1 and s = f / (2 + f),
 * ln m = 2 atanh s = f - s (f - s^2 (2/3 + 2/5 s^2 + ...)). Zero gives -infinity, less than zero
 * NaN. */
WF_CONV double wf_ln(double x)
{
    int small = x < 0x1p-1022;
    double normal = small ? x * 0x1p54 : x;
    uint64_t bits = wf_f64_bits(normal);
    /* What lies above the bits of sqrt(1/2) in the exponent field, biased to stay positive. */
    uint64_t above = bits - 0x3fe6a09e667f3bcdu + (1024ull << 52);
    double k = wf_f64_from_bits((above >> 52) | 0x4330000000000000u) - (0x1p52 + 1024.0);
    k -= small ? 54.0 : 0.0;
    double m = wf_f64_from_bits((above & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu);
    double f = m - 1.0, s = f / (2.0 + f), z = s * s;
    double p = 0x1.8618618618618p-4;
    p = p * z + 0x1.af286bca1af28p-4;
    p = p * z + 0x1.e1e1e1e1e1e1ep-4;
    p = p * z + 0x1.1111111111111p-3;
    p = p * z + 0x1.3b13b13b13b14p-3;
    p = p * z + 0x1.745d1745d1746p-3;
    p = p * z + 0x1.c71c71c71c71cp-3;
    p = p * z + 0x1.2492492492492p-2;
    p = p * z + 0x1.999999999999ap-2;
    p = p * z + 0x1.5555555555555p-1;
    /* f - s (f - z p) = f - (f^2/2 - s (f^2/2 + z p)): the small terms are added up first. */
    double square = 0.5 * f * f;
    double tail = s * (square + z * p) + k * 0x1.cf79abc9e3b3ap-40;
    double y = k * 0x1.62e42fefa0000p-1 - ((square - tail) - f);
    double edge = x > 0.0 ? x : x == 0.0 ? -INFINITY : x - x; /* x - x: NaN */
    edge = x < 0.0 ? (double)NAN : edge;
    return x > 0.0 && x < INFINITY ? y : edge;
}

/* x = k pi/2 + high + low, |high| <= pi/4; returns k modulo 4. For |x| to 10^6. */
WF_CONV unsigned wf_quarter_turns(double x, double *high, double *low)
{
    double shifted = x * 0x1.45f306dc9c883p-1 + WF_TO_INTEGER;
    double k = shifted - WF_TO_INTEGER;
    double near = x - k * 0x1.921fb54400000p+0; /* exact */
    double step = k * 0x1.0b4611a600000p-34;    /* exact */
    double r = near - step, back = r - near;
    double lost = (near - (r - back)) - (step + back);
    double tail = lost - k * 0x1.3198a2e037073p-69;
    *high = r + tail;
    *low = (r - *high) + tail;
    return (unsigned)(wf_f64_bits(shifted) & 3);
}

WF_CONV double wf_sin_part(double r, double low)
{
    double z = r * r, p = 0x1.952c77030ad4ap-49;
    p = p * z - 0x1.ae7f3e733b81fp-41;
    p = p * z + 0x1.6124613a86d09p-33;
    p = p * z - 0x1.ae64567f544e4p-26;
    p = p * z + 0x1.71de3a556c734p-19;
    p = p * z - 0x1.a01a01a01a01ap-13;
    p = p * z + 0x1.1111111111111p-7;
    p = p * z - 0x1.5555555555555p-3;
    return r + (r * z * p + low * (1.0 - 0.5 * z));
}

WF_CONV double wf_cos_part(double r, double low)
{
    double z = r * r, p = -0x1.6827863b97d97p-53;
    p = p * z + 0x1.ae7f3e733b81fp-45;
    p = p * z - 0x1.93974a8c07c9dp-37;
    p = p * z + 0x1.1eed8eff8d898p-29;
    p = p * z - 0x1.27e4fb7789f5cp-22;
    p = p * z + 0x1.a01a01a01a01ap-16;
    p = p * z - 0x1.6c16c16c16c17p-10;
    p = p * z + 0x1.5555555555555p-5;
    double half = 0.5 * z, rest = 1.0 - half;
    return rest + (((1.0 - rest) - half) + (z * z * p - r * low));
}

/* |x| to 10^6. */
WF_CONV double wf_sin(double x)
{
    double r, low;
    unsigned turns = wf_quarter_turns(x, &r, &low);
    double y = turns & 1 ? wf_cos_part(r, low) : wf_sin_part(r, low);
    return turns & 2 ? -y : y;
}

/* |x| to 10^6. */
WF_CONV double wf_cos(double x)
{
    double r, low;
    unsigned turns = wf_quarter_turns(x, &r, &low);
    double y = turns & 1 ? wf_sin_part(r, low) : wf_cos_part(r, low);
    return (turns + 1) & 2 ? -y : y;
}

/* asin(y) / y - 1 of z = y^2 <= 1/4. */
WF_CONV double wf_asin_part(double z)
{
    const double c[] = {
        0x1.5555555555555p-3, 0x1.3333333333333p-4, 0x1.6db6db6db6db7p-5, 0x1.f1c71c71c71c7p-6,
        0x1.6e8ba2e8ba2e9p-6, 0x1.1c4ec4ec4ec4fp-6, 0x1.c99999999999ap-7, 0x1.7a87878787878p-7,
        0x1.3fde50d79435ep-7, 0x1.12ef3cf3cf3cfp-7, 0x1.df3bd37a6f4dfp-8, 0x1.a6863d70a3d71p-8,
        0x1.782dda12f684cp-8, 0x1.51ba308d3dcb1p-8, 0x1.31683bdef7bdfp-8, 0x1.15ee9d45d1746p-8,
        0x1.fcaf8fb6db6dbp-9, 0x1.d3d2a8e0dd67dp-9, 0x1.b026f57b13b14p-9, 0x1.90cb77f60c7cep-9,
        0x1.750de64d7d05fp-9, 0x1.5c5f56efaaaabp-9, 0x1.464c0950f7d47p-9, 0x1.3275586c5f2f0p-9};
    double p = 0.0;
    for (int i = (int)(sizeof c / sizeof *c) - 1; i >= 0; i--)
        p = p * z + c[i];
    return p * z;
}

/* x is taken as -1 or 1 where it is beyond them: rounded cosines are. */
WF_CONV double wf_acos(double x)
{
    x = x > 1.0 ? 1.0 : x < -1.0 ? -1.0 : x;
    double size = x < 0.0 ? -x : x;
    if (size <= 0.5) /* pi/2 - asin x */
        return 0x1.921fb54442d18p+0 - (x - (0x1.1a62633145c07p-54 - x * wf_asin_part(x * x)));
    /* acos |x| = 2 asin s, s = sqrt((1 - |x|) / 2); `rest` is what the square root rounds off. */
    double z = 0.5 * (1.0 - size), s = sqrt(z);
    double top = wf_f64_from_bits(wf_f64_bits(s) & 0xffffffff00000000u);
    double rest = s > 0.0 ? (z - top * top) / (s + top) : 0.0;
    double tail = rest + s * wf_asin_part(z);
    if (x > 0.0)
        return 2.0 * (top + tail);
    return 0x1.921fb54442d18p+1 - 2.0 * (top + (tail - 0x1.1a62633145c07p-54));
}

#endif
