/* dtype_conv.h - bf16 and f16 to and from float and double: the same bits on every machine.
 *
 * Rounding is to nearest, ties to even, once. Everything is integer arithmetic, exact conversions
 * and single float additions whose rounding IEEE 754 fixes, so any compiler may vectorise it and no
 * hardware conversion instruction can change a bit. A NaN becomes the type's canonical quiet NaN.
 */
#ifndef WF_DTYPE_CONV_H
#define WF_DTYPE_CONV_H

#include <stdint.h>

#ifdef __CUDACC__
#define WF_CONV __host__ __device__ static inline
#else
#define WF_CONV static inline __attribute__((always_inline, unused))
#endif

WF_CONV uint32_t wf_f32_bits(float x)
{
    union {
        float f;
        uint32_t u;
    } c = {x};
    return c.u;
}

WF_CONV float wf_f32_from_bits(uint32_t u)
{
    union {
        uint32_t u;
        float f;
    } c = {u};
    return c.f;
}

WF_CONV uint64_t wf_f64_bits(double x)
{
    union {
        double f;
        uint64_t u;
    } c = {x};
    return c.u;
}

WF_CONV double wf_f64_from_bits(uint64_t u)
{
    union {
        uint64_t u;
        double f;
    } c = {u};
    return c.f;
}

WF_CONV float wf_bf16_to_f32(uint16_t h)
{
    return wf_f32_from_bits((uint32_t)h << 16);
}

WF_CONV uint16_t wf_f32_to_bf16(float x)
{
    uint32_t u = wf_f32_bits(x);
    uint32_t rounded = (u + 0x7fffu + (u >> 16 & 1)) >> 16;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? 0x7fc0u : rounded);
}

/* All ones where c holds: selections by mask never become branches, so loops vectorise. */
WF_CONV uint32_t wf_mask32(int c)
{
    return 0u - (uint32_t)c;
}

/* f16 is 1 sign, 5 exponent (bias 15), 10 fraction bits; float is 1, 8 (bias 127), 23. */
WF_CONV float wf_f16_to_f32(uint16_t h)
{
    uint32_t magnitude = h & 0x7fffu, rebias = 112u << 23;
    uint32_t normal = (magnitude << 13) + rebias;
    uint32_t special = wf_mask32(magnitude >= 0x7c00u) & rebias;        /* infinity, NaN: twice */
    uint32_t small = wf_f32_bits((float)(int32_t)magnitude * 0x1p-24f); /* subnormal: exact */
    uint32_t is_small = wf_mask32(magnitude < 0x400u);
    uint32_t u = ((normal + special) & ~is_small) | (small & is_small);
    return wf_f32_from_bits((uint32_t)(h & 0x8000u) << 16 | u);
}

WF_CONV uint16_t wf_f32_to_f16(float x)
{
    uint32_t u = wf_f32_bits(x), a = u & 0x7fffffffu;
    uint32_t is_small = wf_mask32(a < 0x38800000u), is_big = wf_mask32(a >= 0x477ff000u);
    uint32_t is_nan = wf_mask32(a > 0x7f800000u);
    uint32_t normal = (a - (112u << 23) + 0xfffu + (a >> 13 & 1)) >> 13;
    /* Below 2^-14 the spacing is 2^-24, which is the spacing of floats in [0.5, 1): adding 0.5
     * rounds there. */
    uint32_t small = wf_f32_bits(wf_f32_from_bits(a & is_small) + 0.5f) - 0x3f000000u;
    uint32_t h = (small & is_small) | (normal & ~is_small);
    h = (0x7c00u & is_big) | (h & ~is_big);
    h |= u >> 16 & 0x8000u;
    return (uint16_t)((0x7e00u & is_nan) | (h & ~is_nan));
}

/* Rounds a double to float so that a second rounding to a shorter type is right: an inexact
 * result gets an odd last bit ("round to odd"; Boldo and Melquiond, 2008). */
WF_CONV float wf_f64_to_f32_odd(double x)
{
    float f = (float)x;
    double back = (double)f, magnitude = x < 0 ? -x : x, magnitude_back = back < 0 ? -back : back;
    uint32_t u = wf_f32_bits(f);
    uint32_t away = magnitude_back > magnitude ? 1u : 0u;
    uint32_t adjust = back != x && x == x && !(u & 1) ? 1u : 0u;
    return wf_f32_from_bits(adjust ? (away ? u - 1 : u + 1) : u);
}

WF_CONV uint16_t wf_f64_to_bf16(double x)
{
    return wf_f32_to_bf16(wf_f64_to_f32_odd(x));
}

WF_CONV uint16_t wf_f64_to_f16(double x)
{
    return wf_f32_to_f16(wf_f64_to_f32_odd(x));
}

#endif
