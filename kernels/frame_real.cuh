/* frame_real.cuh - element functions for float and double on a device, and the one that an object
 * file is for.
 *
 * Each object is a frame (frame_map.cu, frame_fold.cu, frame_key.cu) compiled for one name of the
 * lists in methods.h, -DWF_FUNCTION=delta_map: kernels take long to compile, and so they do beside
 * each other. All that depends on the name is in an anonymous namespace; kernels have it in theirs.
 */
#ifndef WF_FRAME_REAL_CUH
#define WF_FRAME_REAL_CUH

#include <math.h>
#include <stdint.h>

#include "gpu.h"
#include "work.h"
#include "dialect.h"
#include "philox.h"
#ifdef __GNUC__ /* C names a function like a struct, which C++ calls hiding */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
#include "../src/format/dtype.h"
#ifdef __GNUC__
#pragma GCC diagnostic pop
#endif

#define WF_PASTE_(a, b) a##b
#define WF_PASTE(a, b) WF_PASTE_(a, b)
#define WF_KERNEL(part) WF_PASTE(WF_FUNCTION, part)
/* What frame_table.cu calls. */
#define WF_ENTRY WF_PASTE(wf_launch_, WF_FUNCTION)

namespace
{
#define WF_ELEMENTS

#define wf_real float
#define WF_NAME(x) x##_f32
struct wf_view_f32 {
    float g[WF_ARGS_GLOBAL];
    const float (*m)[WF_ARGS_MODEL];
    const float *t;
    float row_last; /* elements of the row less one */
    float tensor;   /* elements of the tensor */
};
#include "methods.h"
#undef wf_real
#undef WF_NAME

#define wf_real double
#define WF_NAME(x) x##_f64
struct wf_view_f64 {
    double g[WF_ARGS_GLOBAL];
    const double (*m)[WF_ARGS_MODEL];
    const double *t;
    double row_last, tensor;
};
#include "methods.h"
#undef wf_real
#undef WF_NAME
#undef WF_ELEMENTS

/* What differs between the two. What a key function gives is a key as it is: it ends in wf_abs. */
template <class Real> struct wf_numbers;

template <> struct wf_numbers<float> {
    typedef wf_view_f32 view;
    typedef uint32_t key;
    static constexpr uint32_t key_max = 0x7fffffffu;

    __device__ static inline float of_float(float x)
    {
        return x;
    }
    __device__ static inline uint16_t to_bf16(float x)
    {
        return wf_f32_to_bf16(x);
    }
    __device__ static inline uint16_t to_f16(float x)
    {
        return wf_f32_to_f16(x);
    }
    __device__ static inline uint32_t key_of(float x)
    {
        return wf_f32_bits(x);
    }
};

template <> struct wf_numbers<double> {
    typedef wf_view_f64 view;
    typedef uint64_t key;
    static constexpr uint64_t key_max = 0x7fffffffffffffffu;

    __device__ static inline double of_float(float x)
    {
        return (double)x;
    }
    __device__ static inline uint16_t to_bf16(double x)
    {
        return wf_f64_to_bf16(x);
    }
    __device__ static inline uint16_t to_f16(double x)
    {
        return wf_f64_to_f16(x);
    }
    __device__ static inline uint64_t key_of(double x)
    {
        return wf_f64_bits(x);
    }
};

/* A draw as the number that element functions see. */
template <class Real> __device__ inline Real wf_uniform_of(uint32_t word)
{
    return (Real)(int32_t)(word >> 8) * (Real)0x1p-24;
}

template <class Real> __device__ inline bool wf_is_bad(Real x)
{
    return !(x - x == 0);
}

/* What element functions see of the tensor. */
template <class Real>
__device__ inline void wf_view_tensor(const struct wf_work &w,
                                      typename wf_numbers<Real>::view *view)
{
    view->row_last = w.row_length ? (Real)(w.row_length - 1) : 0;
    view->tensor = (Real)w.total;
}
} // namespace

#endif
