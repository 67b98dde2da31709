/* frame_any.cuh - one element at a time, whatever the work: inputs of any types and number, at any
 * address, in float or double, with views by rule, draws and ranks. The frames' general kernels are
 * made of it; the fast ones (frame_group.cuh) must not differ from it in a bit.
 *
 * A thread's numbers, x[3n] as the dialect wants them, lie in its registers and local memory up to
 * WF_WORK_INPUTS inputs, else in its part of the scratch (work_scratch.h).
 */
#ifndef WF_FRAME_ANY_CUH
#define WF_FRAME_ANY_CUH

#include "frame_real.cuh"
#include "work_scratch.h"

#define WF_TERMS_FEW (WF_WORK_INPUTS * WF_WORK_INPUTS) /* most of a FOLD of WF_WORK_INPUTS */

namespace
{
/* ---- bits in memory: a tensor starts at any byte ---- */

template <class Bits> __device__ inline Bits wf_load_bits(const unsigned char *at)
{
    if ((uintptr_t)at % sizeof(Bits) == 0)
        return *reinterpret_cast<const Bits *>(at);
    uint64_t bits = 0;
    for (unsigned k = 0; k < sizeof(Bits); k++)
        bits |= (uint64_t)at[k] << 8 * k;
    return (Bits)bits;
}

template <class Bits> __device__ inline void wf_store_bits(unsigned char *at, Bits bits)
{
    if ((uintptr_t)at % sizeof(Bits) == 0) {
        *reinterpret_cast<Bits *>(at) = bits;
        return;
    }
    for (unsigned k = 0; k < sizeof(Bits); k++)
        at[k] = (unsigned char)((uint64_t)bits >> 8 * k);
}

__host__ __device__ inline unsigned wf_dtype_width(unsigned dtype)
{
    return dtype == WF_F64 ? 8 : dtype == WF_F32 ? 4 : 2;
}

template <class Real>
__device__ inline Real wf_load_real(unsigned dtype, const unsigned char *in, uint64_t e)
{
    typedef wf_numbers<Real> numbers;
    const unsigned char *at = in + e * wf_dtype_width(dtype);
    switch (dtype) {
    case WF_BF16:
        return numbers::of_float(wf_bf16_to_f32(wf_load_bits<uint16_t>(at)));
    case WF_F16:
        return numbers::of_float(wf_f16_to_f32(wf_load_bits<uint16_t>(at)));
    case WF_F32:
        return (Real)wf_f32_from_bits(wf_load_bits<uint32_t>(at));
    default:
        return (Real)wf_f64_from_bits(wf_load_bits<uint64_t>(at));
    }
}

/* Rounded to an arithmetic type and back. */
template <class Real> __device__ inline Real wf_cast_real(unsigned dtype, Real x)
{
    typedef wf_numbers<Real> numbers;
    switch (dtype) {
    case WF_BF16:
        return numbers::of_float(wf_bf16_to_f32(numbers::to_bf16(x)));
    case WF_F16:
        return numbers::of_float(wf_f16_to_f32(numbers::to_f16(x)));
    case WF_F32:
        return (Real)(float)x;
    default:
        return x;
    }
}

/* Stored forms; a NaN becomes the canonical one. */
__device__ inline uint32_t wf_f32_stored(float x)
{
    uint32_t bits = wf_f32_bits(x);
    return (bits & 0x7fffffffu) > 0x7f800000u ? 0x7fc00000u : bits;
}

__device__ inline uint64_t wf_f64_stored(double x)
{
    uint64_t bits = wf_f64_bits(x);
    return (bits & 0x7fffffffffffffffu) > 0x7ff0000000000000u ? 0x7ff8000000000000u : bits;
}

/* True if what is stored is not finite. */
template <class Real>
__device__ inline bool wf_store_real(unsigned dtype, unsigned char *out, uint64_t e, Real x)
{
    typedef wf_numbers<Real> numbers;
    unsigned char *at = out + e * wf_dtype_width(dtype);
    if (dtype == WF_BF16 || dtype == WF_F16) {
        uint16_t h = dtype == WF_BF16 ? numbers::to_bf16(x) : numbers::to_f16(x);
        wf_store_bits<uint16_t>(at, h);
        return (h & 0x7fffu) >= (dtype == WF_BF16 ? 0x7f80u : 0x7c00u);
    }
    if (dtype == WF_F32) {
        uint32_t bits = wf_f32_stored((float)x);
        wf_store_bits<uint32_t>(at, bits);
        return (bits & 0x7fffffffu) >= 0x7f800000u;
    }
    uint64_t bits = wf_f64_stored((double)x);
    wf_store_bits<uint64_t>(at, bits);
    return (bits & 0x7fffffffffffffffu) >= 0x7ff0000000000000u;
}

/* Once for a thread, whatever it saw. */
__device__ inline void wf_say_bad(const struct wf_work &w, bool bad)
{
    if (bad && w.bad)
        atomicAdd(w.bad, 1u);
}

/* ---- a thread's place ---- */

__device__ inline uint64_t wf_thread_number()
{
    return (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

__device__ inline uint64_t wf_thread_count()
{
    return (uint64_t)gridDim.x * blockDim.x;
}

/* What a thread of a general kernel has. `terms`: room in the scratch, or NULL. */
template <class Real> struct wf_any {
    typename wf_numbers<Real>::view view;
    Real *x;
    double *terms;
    bool viewed; /* the view is that of every element */
    bool bad;
    Real few[3 * WF_WORK_INPUTS];
    Real m[WF_WORK_INPUTS][WF_ARGS_MODEL];
};

template <class Real>
__device__ inline void wf_any_begin(const struct wf_work &w, struct wf_any<Real> *a)
{
    a->x = a->few;
    a->terms = nullptr;
    a->viewed = a->bad = false;
    wf_view_tensor<Real>(w, &a->view);
    if (w.n <= WF_WORK_INPUTS) {
        for (unsigned k = 0; k < 3 * WF_WORK_INPUTS; k++)
            a->few[k] = 0;
        return;
    }
    unsigned char *mine = (unsigned char *)w.scratch + wf_thread_number() * wf_scratch_thread(&w);
    a->x = (Real *)mine;
    a->terms = (double *)(mine + wf_scratch_x(&w));
}

/* The numbers of the launch itself. */
template <class Real>
__device__ inline void wf_view_launch(const struct wf_work &w, struct wf_any<Real> *a)
{
    for (unsigned k = 0; k < WF_ARGS_GLOBAL; k++)
        a->view.g[k] = (Real)w.g[k];
    for (unsigned i = 0; i < WF_WORK_INPUTS; i++)
        for (unsigned k = 0; k < WF_ARGS_MODEL; k++)
            a->m[i][k] = (Real)w.m[i][k];
    a->view.m = a->m;
    a->viewed = true;
}

/* Which row of the table is element e's. */
__device__ inline uint64_t wf_view_number(const struct wf_work &w, uint64_t e)
{
    if (w.rule == WF_VIEW_ONE)
        return 0;
    if (w.rule == WF_VIEW_COLUMN)
        return e % w.row_stride;
    uint64_t low = 0, high = w.n_views; /* begins[low] <= e < begins[high] */
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (w.begins[middle] <= e)
            low = middle;
        else
            high = middle;
    }
    return low;
}

template <class Real>
__device__ inline void wf_set_view(const struct wf_work &w, struct wf_any<Real> *a, uint64_t e)
{
    if (a->viewed)
        return;
    if (!w.views) {
        wf_view_launch(w, a);
        return;
    }
    uint64_t length = WF_ARGS_GLOBAL + (uint64_t)w.n * WF_ARGS_MODEL + w.table;
    const Real *row = (const Real *)w.views + wf_view_number(w, e) * length;
    for (unsigned k = 0; k < WF_ARGS_GLOBAL; k++)
        a->view.g[k] = row[k];
    a->view.m = (const Real(*)[WF_ARGS_MODEL])(row + WF_ARGS_GLOBAL);
    a->view.t = row + length - w.table;
    a->viewed = w.rule == WF_VIEW_ONE;
}

/* Brings element e into x, and its numbers into the view. Keys see neither draws nor ranks. */
template <class Real>
__device__ inline void wf_look_at(const struct wf_work &w, struct wf_any<Real> *a, uint64_t e,
                                  bool key)
{
    wf_set_view(w, a, e);
    for (uint32_t i = 0; i < w.n; i++) {
        bool few = w.n <= WF_WORK_INPUTS;
        unsigned dtype = few ? w.in_dtype[i] : w.in_dtype_many[i];
        const void *in = few ? w.in[i] : w.in_many[i];
        Real x = wf_load_real<Real>(dtype, (const unsigned char *)in, e - w.first);
        a->bad |= wf_is_bad(x);
        if (w.cast != dtype) {
            x = wf_cast_real(w.cast, x);
            a->bad |= wf_is_bad(x);
        }
        a->x[i] = x;
    }
    if (w.draws && !key)
        for (uint32_t i = w.draws_from; i < w.n; i++)
            a->x[w.n + i] = wf_uniform_of<Real>(wf_draw(w.draw_key, e, i) << 8);
    if (w.ranks && !key)
        for (uint32_t i = 1; i < w.n; i++)
            a->x[2 * w.n + i] = ((const Real *)w.ranks)[(i - 1) * w.rank_stride + e - w.rank_first];
}

/* ---- launches of general kernels ---- */

struct wf_grid {
    unsigned blocks, threads;
};

constexpr size_t wf_shared_most = 48 << 10; /* shared memory of a block, unasked */
constexpr uint64_t wf_blocks_most = 1024;   /* of kernels whose threads go on to further things */

/* `things`, each for `threads_each` threads (1 or 32). Scratch limits how many there are at once.
 */
inline struct wf_grid wf_any_grid(const struct wf_work &w, uint64_t things, unsigned threads_each)
{
    uint64_t bytes = 32 * wf_scratch_thread(&w), threads = bytes ? 32 : WF_KERNEL_BLOCK;
    uint64_t blocks = (things * threads_each + threads - 1) / threads;
    uint64_t fit = bytes ? w.scratch_bytes / bytes : wf_blocks_most;
    fit = fit < 16 * wf_blocks_most ? fit : 16 * wf_blocks_most;
    return {(unsigned)(blocks < fit ? blocks : fit), (unsigned)threads};
}
} // namespace

#endif
