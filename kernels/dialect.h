/* dialect.h - the small language that C11 and CUDA share: what an element function may use.
 *
 * An element function sees one element of one output tensor: `x[0..n)` are the values of the inputs
 * there, `v` the numbers that the method's `prepare` resolved, `index` the element's place in its tensor.
 * It uses + - * /, comparisons and the helpers below; no allocation, no libm, no loops over
 * elements. A frame (src/backend/frame_cpu.c here) includes kernels/methods.h once with
 * wf_real = float and once with double.
 */
#ifndef WF_DIALECT_H
#define WF_DIALECT_H

#include <stdint.h>

#include "../src/method/method.h"

#ifdef __CUDACC__
#define WF_ELEMENT __device__ static inline
#else
#define WF_ELEMENT static inline __attribute__((always_inline, unused))
#endif

#endif
