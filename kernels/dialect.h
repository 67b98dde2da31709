/* dialect.h - the small language that C11 and CUDA share: what an element function may use.
 *
 * An element function sees one element of one output tensor: `x[0..n)` are the values of the inputs
 * there, `v` the numbers that the method's `prepare` and the stages before it resolved: v->g[],
 * v->m[i][]; v->row_last, the length of the element's row less one; and v->tensor, the elements of
 * its tensor. It uses + - * /, square root, comparisons, the functions of exact_math.h and the
 * helpers below; no allocation, no libm, no loops over elements. A frame (src/backend/frame_cpu.c
 * here) includes kernels/methods.h once with wf_real = float and once with double.
 */
#ifndef WF_DIALECT_H
#define WF_DIALECT_H

#include <stdint.h>

#include "../src/method/method.h"
#include "dtype_conv.h"
#include "exact_math.h"

#ifdef __CUDACC__
#define WF_ELEMENT __device__ static inline
#else
#define WF_ELEMENT static inline __attribute__((always_inline, unused))
#endif

/* WF_NAME(wf_select)(c, a, b) is a where c holds, else b: both are values already, so no compiler
 * makes a branch of it and every loop over elements vectorises. */
#ifdef __CUDACC__
WF_ELEMENT float wf_select_f32(int c, float a, float b)
{
    return c ? a : b;
}
WF_ELEMENT double wf_select_f64(int c, double a, double b)
{
    return c ? a : b;
}
#else
WF_ELEMENT float wf_select_f32(int c, float a, float b)
{
    uint32_t mask = c ? UINT32_MAX : 0;
    return wf_f32_from_bits((wf_f32_bits(a) & mask) | (wf_f32_bits(b) & ~mask));
}
WF_ELEMENT double wf_select_f64(int c, double a, double b)
{
    uint64_t mask = c ? UINT64_MAX : 0;
    return wf_f64_from_bits((wf_f64_bits(a) & mask) | (wf_f64_bits(b) & ~mask));
}
#endif

/* WF_NAME(wf_abs)(x) clears the sign, of zeros and NaNs too, and makes all NaNs one: what keys of
 * SELECT and RANK are made with, whose bits are compared as integers. Which NaN comes of a
 * calculation differs by machine, but all that do are above the plainest one. */
WF_ELEMENT float wf_abs_f32(float x)
{
    int32_t bits = (int32_t)(wf_f32_bits(x) & 0x7fffffffu);
    return wf_f32_from_bits((uint32_t)(bits < 0x7fc00000 ? bits : 0x7fc00000));
}
WF_ELEMENT double wf_abs_f64(double x)
{
    int64_t bits = (int64_t)(wf_f64_bits(x) & 0x7fffffffffffffffu), nan = 0x7ff8000000000000;
    return wf_f64_from_bits((uint64_t)(bits < nan ? bits : nan));
}

/* WF_NAME(wf_size)(x) is x without its sign, for comparisons, which know all NaNs as one: on a GPU
 * part of the instruction that compares. */
#ifdef __CUDACC__
WF_ELEMENT float wf_size_f32(float x)
{
    return fabsf(x);
}
WF_ELEMENT double wf_size_f64(double x)
{
    return fabs(x);
}
#else
WF_ELEMENT float wf_size_f32(float x)
{
    return wf_f32_from_bits(wf_f32_bits(x) & 0x7fffffffu);
}
WF_ELEMENT double wf_size_f64(double x)
{
    return wf_f64_from_bits(wf_f64_bits(x) & 0x7fffffffffffffffu);
}
#endif

/* WF_NAME(wf_exp)(x) and WF_NAME(wf_tanh)(x): in the width that is computed with. */
WF_ELEMENT double wf_exp_f64(double x)
{
    return wf_exp(x);
}
WF_ELEMENT double wf_tanh_f64(double x)
{
    return wf_tanh(x);
}

/* for (int i = from; i < n; i++), unrolled where n is a constant, so that inputs stay in registers.
 * clang does so unasked, and too late when asked. */
#ifdef __CUDACC__
#define WF_EACH_INPUT(i, from, n) _Pragma("unroll") for (int i = (from); i < (n); i++)
#elif defined(__clang__)
#define WF_EACH_INPUT(i, from, n) for (int i = (from); i < (n); i++)
#else
#define WF_EACH_INPUT(i, from, n) _Pragma("GCC unroll 8") for (int i = (from); i < (n); i++)
#endif

/* Where the method draws: a uniform number from [0, 1), a multiple of 2^-24, for input i. Word
 * index % 4 of Philox4x32-10 with the tensor's key and the counter (index / 4, i, 0), its top 24
 * bits. FOLD and MAP see uniforms and ranks; keys do not. */
#define WF_UNIFORM(x, n, i) ((x)[(n) + (i)])
/* After a RANK stage: how many elements of the row rank below this one for input i, counted from 0.
 * Equal keys by wf_args.ties; with WF_TIES_INCLUSIVE all of them have the rank of the highest. */
#define WF_RANK(x, n, i) ((x)[2 * (n) + (i)])

#endif
