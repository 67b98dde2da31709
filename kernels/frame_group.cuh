/* frame_group.cuh - 16 bytes of each input at a time: what fast kernels load and store.
 *
 *   elements of [from, to)        |e e e e e e e e e e e e e e e e e e e e e|
 *   groups of 16 bytes       |. . e e e e e e|e e e e e e e e|e e e e e e e .|
 *                             lead
 *
 * One thread has one group. Groups begin where the first input is aligned, or, where inputs draw,
 * at a multiple of their size: four elements then share a call of Philox.
 *
 * A block whose groups are all asked for, of inputs that are all aligned, takes the short way: no
 * look at edges or addresses. That is one test for the whole block, and nearly all blocks pass it.
 * In the others an input that is not aligned is loaded in halves or by element, as are the first
 * and last group.
 *
 * Kernels are templates of the inputs' type, so that no instruction asks for it.
 */
#ifndef WF_FRAME_GROUP_CUH
#define WF_FRAME_GROUP_CUH

#include <type_traits>

#include "frame_any.cuh"

/* The machine packs and looks at two short numbers in one instruction. */
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
#define WF_PACKED 1
#else
#define WF_PACKED 0
#endif

namespace
{
/* A plain type: WF_BF16, WF_F16 or WF_F32. */
template <int TYPE> struct wf_type {
    static constexpr int width = 2, size = 8; /* elements of a group */
    typedef uint16_t bits;
    static constexpr unsigned sign = 0x80008000u, infinity = TYPE == WF_F16 ? 0x7c00u : 0x7f80u;
    static constexpr unsigned nan = TYPE == WF_F16 ? 0x7e00u : 0x7fc0u;
};
template <> struct wf_type<WF_F32> {
    static constexpr int width = 4, size = 4;
    typedef uint32_t bits;
    static constexpr unsigned sign = 0x80000000u, infinity = 0x7f800000u, nan = 0x7fc00000u;
};

/* The elements of a group that are asked for: begin <= k < end. `whole`: all, and all that is
 * asked for of the block, from and to addresses that are multiples of 16. */
struct wf_range {
    unsigned begin, end;
    bool whole;
};

/* Where groups are: worked out once, by the host. */
struct wf_groups {
    /* Of group 0, whose first elements may lie before the memory there is. Pointers, not addresses:
     * the compiler knows where a launch's pointers point to. */
    const unsigned char *in[WF_WORK_INPUTS];
    unsigned char *out;
    uint64_t first; /* element that group 0 begins with */
    uint64_t end;   /* elements asked for are lead <= k < end */
    unsigned lead;
    unsigned blocks;                   /* of a group to each thread */
    unsigned whole_from, whole_blocks; /* those that take the short way */
};

/* Elements of the first group that are not asked for. */
inline unsigned wf_group_lead(const struct wf_work &w)
{
    unsigned width = wf_dtype_width(w.in_dtype[0]);
    if (w.draws && w.kind != WF_WORK_COUNT)
        return (unsigned)(w.from % (16 / width));
    unsigned phase = (unsigned)(((uintptr_t)w.in[0] + (w.from - w.first) * width) % 16);
    return phase % width ? 0 : phase / width;
}

/* For blocks of so many threads; no blocks: there are too many for a launch. */
inline struct wf_groups wf_groups_of(const struct wf_work &w, unsigned threads)
{
    struct wf_groups p = {};
    uint64_t width = wf_dtype_width(w.in_dtype[0]), each = 16 / width * threads;
    p.lead = wf_group_lead(w);
    p.first = w.from - p.lead;
    p.end = p.lead + (w.to - w.from);
    uintptr_t out = w.out ? (uintptr_t)w.out - p.lead * wf_dtype_width(w.out_dtype) : 0;
    p.out = (unsigned char *)out;
    bool aligned = out % 16 == 0;
    for (uint32_t i = 0; i < w.n; i++) {
        uintptr_t at = (uintptr_t)w.in[i] + (p.first - w.first) * width;
        p.in[i] = (const unsigned char *)at;
        aligned &= at % 16 == 0;
    }
    uint64_t blocks = (p.end + each - 1) / each, whole = p.end / each;
    p.blocks = blocks < UINT32_MAX / 2 ? (unsigned)blocks : 0;
    p.whole_from = p.lead ? 1 : 0;
    p.whole_blocks = aligned && whole > p.whole_from ? (unsigned)whole - p.whole_from : 0;
    return p;
}

template <int TYPE>
__device__ inline struct wf_range wf_group_range(const struct wf_groups &p, uint64_t g)
{
    constexpr unsigned size = wf_type<TYPE>::size;
    uint64_t left = p.end > g * size ? p.end - g * size : 0;
    return {g ? 0 : p.lead, left < size ? (unsigned)left : size, false};
}

template <int TYPE>
__device__ inline uint4 wf_load_group(const unsigned char *at, struct wf_range r)
{
    constexpr unsigned size = wf_type<TYPE>::size, width = wf_type<TYPE>::width;
    if (r.end - r.begin == size) {
        if ((uintptr_t)at % 16 == 0)
            return *reinterpret_cast<const uint4 *>(at);
        if ((uintptr_t)at % 8 == 0) {
            uint2 low = *reinterpret_cast<const uint2 *>(at);
            uint2 high = *reinterpret_cast<const uint2 *>(at + 8);
            return {low.x, low.y, high.x, high.y};
        }
    }
    uint64_t half[2] = {0, 0};
    WF_ROLLED
    for (unsigned k = r.begin; k < r.end; k++) {
        const unsigned char *from = at + k * width;
        uint64_t bits = wf_load_bits<typename wf_type<TYPE>::bits>(from);
        bits <<= k % (size / 2) * width * 8;
        half[0] |= k < size / 2 ? bits : 0;
        half[1] |= k < size / 2 ? 0 : bits;
    }
    return {(unsigned)half[0], (unsigned)(half[0] >> 32), (unsigned)half[1],
            (unsigned)(half[1] >> 32)};
}

/* Group g of each input, which is in block `block`. What of it is asked for, which may be nothing:
 * then nothing is loaded. */
template <int N, int TYPE>
__device__ inline struct wf_range wf_load_groups(const struct wf_groups &p, unsigned block,
                                                 uint64_t g, uint4 *group)
{
    if (block - p.whole_from < p.whole_blocks) {
        WF_EACH_INPUT (i, 0, N)
            group[i] = *reinterpret_cast<const uint4 *>(p.in[i] + g * 16);
        return {0, wf_type<TYPE>::size, true};
    }
    struct wf_range r = wf_group_range<TYPE>(p, g);
    WF_EACH_INPUT (i, 0, N)
        group[i] = wf_load_group<TYPE>(p.in[i] + g * 16, r);
    return r;
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

/* Element k of a group. */
template <int TYPE> __device__ inline float wf_group_element(const uint4 &group, int k)
{
    const unsigned word[4] = {group.x, group.y, group.z, group.w};
    if (TYPE == WF_F32)
        return wf_f32_from_bits(word[k % 4]);
    unsigned w = word[k / 2 % 4];
    if (TYPE == WF_F16)
        return wf_f16_loaded((uint16_t)(k % 2 ? w >> 16 : w));
    return wf_f32_from_bits(k % 2 ? w & 0xffff0000u : w << 16);
}

/* Collects in `seen` what is not finite: 0 x is zero for all other x. Where the machine has no
 * such product of short numbers, adding `step` to a magnitude carries into its sign's place from
 * the type's infinity on. Begins with 0. */
template <int TYPE> __device__ inline void wf_finite_look(unsigned *seen, unsigned word)
{
#if WF_PACKED
    if (TYPE == WF_BF16)
        asm("fma.rn.bf16x2 %0, %1, %2, %0;" : "+r"(*seen) : "r"(word), "r"(0));
    else if (TYPE == WF_F16)
        asm("fma.rn.f16x2 %0, %1, %2, %0;" : "+r"(*seen) : "r"(word), "r"(0));
    else
        *seen = wf_f32_bits(__fmaf_rn(wf_f32_from_bits(word), 0.0f, wf_f32_from_bits(*seen)));
#else
    constexpr unsigned sign = wf_type<TYPE>::sign, infinity = wf_type<TYPE>::infinity;
    constexpr unsigned step = TYPE == WF_F32 ? sign - infinity : (0x8000u - infinity) * 0x10001u;
    *seen |= ((word & ~sign) + step) & sign;
#endif
}

template <int TYPE> __device__ inline void wf_finite_look(unsigned *seen, const uint4 &group)
{
    wf_finite_look<TYPE>(seen, group.x);
    wf_finite_look<TYPE>(seen, group.y);
    wf_finite_look<TYPE>(seen, group.z);
    wf_finite_look<TYPE>(seen, group.w);
}

template <int TYPE> __device__ inline bool wf_finite_bad(unsigned seen)
{
    return (seen & (WF_PACKED ? ~wf_type<TYPE>::sign : wf_type<TYPE>::sign)) != 0;
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

/* Two results as a word of a short type, one as a word of float. Any NaN is one of the type's. */
template <int TYPE> __device__ inline unsigned wf_pack(float low, float high)
{
    unsigned word;
    if (TYPE == WF_F32)
        return wf_f32_bits(low);
#if WF_PACKED
    if (TYPE == WF_BF16)
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
    else
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(high), "f"(low));
#else
    word = TYPE == WF_BF16 ? (unsigned)wf_f32_to_bf16(low) | (unsigned)wf_f32_to_bf16(high) << 16
                           : (unsigned)wf_f32_to_f16(low) | (unsigned)wf_f32_to_f16(high) << 16;
#endif
    return word;
}

/* A word whose NaNs are the canonical one. */
template <int TYPE> __device__ inline unsigned wf_canonical(unsigned word)
{
    constexpr unsigned infinity = wf_type<TYPE>::infinity, nan = wf_type<TYPE>::nan;
    if (TYPE == WF_F32)
        return (word & 0x7fffffffu) > infinity ? nan : word;
    unsigned low = word & 0xffffu, high = word >> 16;
    low = (low & 0x7fffu) > infinity ? nan : low;
    high = (high & 0x7fffu) > infinity ? nan : high;
    return low | high << 16;
}

/* SIZE elements, packed in words. */
template <int SIZE, int TYPE>
__device__ inline void wf_store_group(const unsigned *word, unsigned char *at, struct wf_range r)
{
    constexpr int width = wf_type<TYPE>::width, words = SIZE * width / 4;
    if (r.whole && words % 4 == 0) {
        WF_UNROLL
        for (int k = 0; k + 3 < words; k += 4)
            reinterpret_cast<uint4 *>(at)[k / 4] = {word[k], word[k + 1], word[k + 2], word[k + 3]};
        return;
    }
    if (r.end - r.begin == SIZE && (uintptr_t)at % 8 == 0) {
        WF_UNROLL
        for (int k = 0; k < words; k += 2)
            reinterpret_cast<uint2 *>(at)[k / 2] = {word[k], word[k + 1]};
        return;
    }
    WF_UNROLL
    for (int k = 0; k < SIZE; k++) {
        unsigned bits = width == 4 ? word[k] : word[k / 2] >> k % 2 * 16;
        if ((unsigned)k >= r.begin && (unsigned)k < r.end)
            wf_store_bits(at + k * width, (typename wf_type<TYPE>::bits)bits);
    }
}

/* Group g of results. True if one that is stored is not finite. */
template <int SIZE, int TYPE>
__device__ inline bool wf_store_results(const struct wf_groups &p, const float *result, uint64_t g,
                                        struct wf_range r)
{
    constexpr int width = wf_type<TYPE>::width, words = SIZE * width / 4;
    unsigned word[words], seen = 0;
    WF_UNROLL
    for (int k = 0; k < words; k++) {
        word[k] = width == 4 ? wf_pack<TYPE>(result[k], 0)
                             : wf_pack<TYPE>(result[2 * k % SIZE], result[(2 * k + 1) % SIZE]);
        wf_finite_look<TYPE>(&seen, word[k]);
    }
    bool bad = wf_finite_bad<TYPE>(seen);
    if (bad) { /* seldom: so nothing is made of NaNs before */
        WF_UNROLL
        for (int k = 0; k < words; k++)
            word[k] = wf_canonical<TYPE>(word[k]);
    }
    wf_store_group<SIZE, TYPE>(word, p.out + g * (SIZE * width), r);
    return bad;
}

template <int SIZE>
__device__ inline bool wf_store_any(const struct wf_work &w, const struct wf_groups &p,
                                    float *result, uint64_t g, struct wf_range r)
{
    if (!r.whole) {
        WF_UNROLL
        for (int k = 0; k < SIZE; k++)
            result[k] = (unsigned)k >= r.begin && (unsigned)k < r.end ? result[k] : 0;
    }
    if (w.out_dtype == WF_BF16)
        return wf_store_results<SIZE, WF_BF16>(p, result, g, r);
    if (w.out_dtype == WF_F16)
        return wf_store_results<SIZE, WF_F16>(p, result, g, r);
    return wf_store_results<SIZE, WF_F32>(p, result, g, r);
}

/* f(type, n) for the inputs at hand, both known to the compiler; false: they are not among those
 * written out. */
template <int TYPE, int N = 1, class Launch> bool wf_written_out_for(uint32_t n, Launch f)
{
    constexpr int most = TYPE == WF_BF16 || WF_KERNEL_UNROLLED < WF_KERNEL_UNROLLED_RARE
                             ? WF_KERNEL_UNROLLED
                             : WF_KERNEL_UNROLLED_RARE;
    if constexpr (N <= most && N <= WF_WORK_INPUTS) {
        if (n != N)
            return wf_written_out_for<TYPE, N + 1>(n, f);
        f(std::integral_constant<int, TYPE>(), std::integral_constant<int, N>());
        return true;
    }
    (void)f;
    return false;
}

template <class Launch> bool wf_written_out(const struct wf_work &w, Launch f)
{
    if (w.in_dtype[0] == WF_BF16)
        return wf_written_out_for<WF_BF16>(w.n, f);
    if (w.in_dtype[0] == WF_F16)
        return wf_written_out_for<WF_F16>(w.n, f);
    return wf_written_out_for<WF_F32>(w.n, f);
}
} // namespace

#endif
