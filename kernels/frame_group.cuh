/* frame_group.cuh - 16 bytes of each input at a time: what fast kernels load and store.
 *
 *   elements of [from, to)        |e e e e e e e e e e e e e e e e e e e e e|
 *   groups of 16 bytes       |. . e e e e e e|e e e e e e e e|e e e e e e e .|
 *                             lead
 *
 * One thread has one group. Groups begin where the first input is aligned, or, where inputs draw,
 * at a multiple of their size: four elements then share a call of Philox. An input that is not
 * aligned as the first one is loaded in halves or by element, as are the first and last group.
 */
#ifndef WF_FRAME_GROUP_CUH
#define WF_FRAME_GROUP_CUH

#include <type_traits>

#include "frame_any.cuh"

namespace
{
/* 16 bits or 32. */
template <int WIDTH> struct wf_bits;
template <> struct wf_bits<2> {
    typedef uint16_t type;
};
template <> struct wf_bits<4> {
    typedef uint32_t type;
};

/* The elements of a group that are asked for: begin <= k < end. */
struct wf_range {
    unsigned begin, end;
};

template <int WIDTH>
__device__ inline struct wf_range wf_group_range(const struct wf_work &w, unsigned lead, uint64_t g)
{
    constexpr uint64_t size = 16 / WIDTH;
    uint64_t left = lead + (w.to - w.from);
    left = left > g * size ? left - g * size : 0;
    return {g ? 0 : lead, (unsigned)(left < size ? left : size)};
}

template <int WIDTH> inline uint64_t wf_group_count(const struct wf_work &w, unsigned lead)
{
    constexpr uint64_t size = 16 / WIDTH;
    return (lead + (w.to - w.from) + size - 1) / size;
}

/* Elements of the first group that are not asked for. */
inline unsigned wf_group_lead(const struct wf_work &w)
{
    unsigned width = wf_dtype_width(w.in_dtype[0]);
    if (w.draws && w.kind != WF_WORK_COUNT)
        return (unsigned)(w.from % (16 / width));
    unsigned phase = (unsigned)(((uintptr_t)w.in[0] + (w.from - w.first) * width) % 16);
    return phase % width ? 0 : phase / width;
}

/* Where group g of an input begins. Its first elements may lie before the memory there is. */
template <int WIDTH>
__device__ inline uintptr_t wf_group_at(const struct wf_work &w, const void *in, unsigned lead,
                                        uint64_t g)
{
    return (uintptr_t)in + (w.from - w.first) * WIDTH - (uint64_t)lead * WIDTH + g * 16;
}

template <int WIDTH> __device__ inline uint4 wf_load_group(uintptr_t at, struct wf_range r)
{
    constexpr unsigned size = 16 / WIDTH;
    if (r.end - r.begin == size) {
        if (at % 16 == 0)
            return *reinterpret_cast<const uint4 *>(at);
        if (at % 8 == 0) {
            uint2 low = *reinterpret_cast<const uint2 *>(at);
            uint2 high = *reinterpret_cast<const uint2 *>(at + 8);
            return {low.x, low.y, high.x, high.y};
        }
    }
    uint64_t half[2] = {0, 0};
    WF_ROLLED
    for (unsigned k = r.begin; k < r.end; k++) {
        const unsigned char *from = reinterpret_cast<const unsigned char *>(at) + k * WIDTH;
        uint64_t bits = wf_load_bits<typename wf_bits<WIDTH>::type>(from);
        bits <<= k % (size / 2) * WIDTH * 8;
        half[0] |= k < size / 2 ? bits : 0;
        half[1] |= k < size / 2 ? 0 : bits;
    }
    return {(unsigned)half[0], (unsigned)(half[0] >> 32), (unsigned)half[1],
            (unsigned)(half[1] >> 32)};
}

/* ---- the elements of a group ---- */

__device__ inline float wf_f16_loaded(uint16_t h)
{
#ifdef __CUDA_ARCH__ /* exact, but for the payload of a NaN, which nobody looks at */
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
    return x;
#else
    return wf_f16_to_f32(h);
#endif
}

/* Element k of a group of any type, but f16 only where `half` says so. */
template <int WIDTH> __device__ inline float wf_group_element(const uint4 &group, int k, bool half)
{
    const unsigned word[4] = {group.x, group.y, group.z, group.w};
    if (WIDTH == 4)
        return wf_f32_from_bits(word[k % 4]);
    unsigned w = word[k / 2 % 4];
    float bf16 = wf_f32_from_bits(k % 2 ? w & 0xffff0000u : w << 16);
    return half ? wf_f16_loaded((uint16_t)(k % 2 ? w >> 16 : w)) : bf16;
}

/* Collects what is not finite, two short elements at a time: adding `step` to a magnitude carries
 * into its sign's place from the type's infinity on. */
struct wf_finite {
    unsigned magnitude, step, seen;
};

__device__ inline struct wf_finite wf_finite_begin(unsigned dtype)
{
    return {dtype == WF_F32 ? 0x7fffffffu : 0x7fff7fffu,
            dtype == WF_F32   ? 0x00800000u
            : dtype == WF_F16 ? 0x04000400u
                              : 0x00800080u,
            0};
}

__device__ inline void wf_finite_look(struct wf_finite *f, unsigned word)
{
    f->seen |= (word & f->magnitude) + f->step;
}

__device__ inline void wf_finite_look(struct wf_finite *f, const uint4 &group)
{
    wf_finite_look(f, group.x);
    wf_finite_look(f, group.y);
    wf_finite_look(f, group.z);
    wf_finite_look(f, group.w);
}

__device__ inline bool wf_finite_bad(const struct wf_finite &f)
{
    return (f.seen & ~f.magnitude) != 0;
}

/* Numbers of the launch, for n inputs known to the compiler. */
template <int N>
__device__ inline void wf_group_view(const struct wf_work &w, wf_view_f32 *view,
                                     float (*m)[WF_ARGS_MODEL])
{
    for (int k = 0; k < WF_ARGS_GLOBAL; k++)
        view->g[k] = w.g[k];
    WF_EACH_INPUT (i, 0, N)
        for (int k = 0; k < WF_ARGS_MODEL; k++)
            m[i][k] = w.m[i][k];
    view->m = m;
    wf_view_tensor<float>(w, view);
}

/* ---- stores ---- */

__device__ inline uint16_t wf_f16_stored(float x)
{
#ifdef __CUDA_ARCH__
    uint16_t h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return x == x ? h : (uint16_t)0x7e00u;
#else
    return wf_f32_to_f16(x);
#endif
}

/* SIZE elements of WIDTH bytes, packed in words. */
template <int SIZE, int WIDTH>
__device__ inline void wf_store_group(const unsigned *word, uintptr_t at, struct wf_range r)
{
    constexpr int words = SIZE * WIDTH / 4;
    if (r.end - r.begin == SIZE) {
        if (words % 4 == 0 && at % 16 == 0) {
            WF_UNROLL
            for (int k = 0; k + 3 < words; k += 4)
                reinterpret_cast<uint4 *>(at)[k / 4] = {word[k], word[k + 1], word[k + 2],
                                                        word[k + 3]};
            return;
        }
        if (at % 8 == 0) {
            WF_UNROLL
            for (int k = 0; k < words; k += 2)
                reinterpret_cast<uint2 *>(at)[k / 2] = {word[k], word[k + 1]};
            return;
        }
    }
    WF_UNROLL
    for (int k = 0; k < SIZE; k++) {
        unsigned bits = WIDTH == 4 ? word[k] : word[k / 2] >> k % 2 * 16;
        if ((unsigned)k >= r.begin && (unsigned)k < r.end)
            wf_store_bits(reinterpret_cast<unsigned char *>(at) + k * WIDTH,
                          (typename wf_bits<WIDTH>::type)bits);
    }
}

/* `e` is the group's first element, asked for or not. True if one that is stored is not finite. */
template <int SIZE>
__device__ inline bool wf_store_results(const struct wf_work &w, float *result, uint64_t e,
                                        struct wf_range r)
{
    struct wf_finite finite = wf_finite_begin(w.out_dtype);
    unsigned word[SIZE];
    if (r.end - r.begin != SIZE) {
        WF_UNROLL
        for (int k = 0; k < SIZE; k++)
            result[k] = (unsigned)k >= r.begin && (unsigned)k < r.end ? result[k] : 0;
    }
    if (w.out_dtype == WF_F32) {
        WF_UNROLL
        for (int k = 0; k < SIZE; k++) {
            word[k] = wf_f32_stored(result[k]);
            wf_finite_look(&finite, word[k]);
        }
        wf_store_group<SIZE, 4>(word, (uintptr_t)w.out + (e - w.from) * 4, r);
        return wf_finite_bad(finite);
    }
    bool half = w.out_dtype == WF_F16;
    WF_UNROLL
    for (int k = 0; k < SIZE; k += 2) {
        unsigned low = half ? wf_f16_stored(result[k]) : wf_f32_to_bf16(result[k]);
        unsigned high = half ? wf_f16_stored(result[k + 1]) : wf_f32_to_bf16(result[k + 1]);
        word[k / 2] = low | high << 16;
        wf_finite_look(&finite, word[k / 2]);
    }
    wf_store_group<SIZE, 2>(word, (uintptr_t)w.out + (e - w.from) * 2, r);
    return wf_finite_bad(finite);
}

/* f(N) for the number of inputs at hand; false: it is not among those written out. */
template <int N = 1, class Launch> bool wf_written_out(uint32_t n, Launch f)
{
    if constexpr (N <= WF_KERNEL_UNROLLED && N <= WF_WORK_INPUTS) {
        if (n != N)
            return wf_written_out<N + 1>(n, f);
        f(std::integral_constant<int, N>());
        return true;
    }
    (void)f;
    return false;
}
} // namespace

#endif
