/* frame_fold.cu - FOLD on a device, for the function WF_FUNCTION: values of leaves, and sums down
 * columns.
 *
 * A leaf is a warp's: its lanes are those of docs/NUMERICS.md, and halves are joined by shuffles. A
 * column is a thread's, which adds the rows one by one. Both orders are part of the result.
 */
#include "frame_group.cuh"

#define WF_LEAF 4096u /* elements; WF_FOLD_BLOCK of src/backend/backend.h */
#define WF_LANES 32u

namespace
{
/* How many terms n inputs have. */
__host__ __device__ constexpr uint32_t wf_terms_count(int function, int n)
{
#define WF_TERMS_CASE(name, count)                                                                 \
    if (function == WF_ID_##name)                                                                  \
        return (uint32_t)(count);
    WF_FOLD_LIST(WF_TERMS_CASE)
#undef WF_TERMS_CASE
    return 0;
}
#define WF_TERMS(n) wf_terms_count(WF_PASTE(WF_ID_, WF_FUNCTION), n)

template <class Real>
__device__ inline void wf_terms_of(const Real *x, int n, const typename wf_numbers<Real>::view *v,
                                   double *terms);
template <>
__device__ inline void wf_terms_of<float>(const float *x, int n, const wf_view_f32 *v,
                                          double *terms)
{
    WF_PASTE(WF_FUNCTION, _f32)(x, n, v, terms);
}
template <>
__device__ inline void wf_terms_of<double>(const double *x, int n, const wf_view_f64 *v,
                                           double *terms)
{
    WF_PASTE(WF_FUNCTION, _f64)(x, n, v, terms);
}

__device__ inline double wf_join(bool maximum, double a, double b)
{
    return maximum ? (a > b ? a : b) : a + b;
}

__device__ inline double wf_nothing(bool maximum)
{
    return maximum ? -(double)INFINITY : 0.0;
}

/* Elements begin, ..., end - 1 of the group whose element 0 is `base`. */
struct wf_leaf {
    uint64_t base, begin, end;
};

__device__ inline struct wf_leaf wf_leaf_number(const struct wf_work &w, uint64_t leaf)
{
    uint64_t leaves = (w.fold_length + WF_LEAF - 1) / WF_LEAF;
    uint64_t group = leaf / leaves, begin = leaf % leaves * WF_LEAF, step = w.fold_step;
    uint64_t left = w.fold_length - begin;
    return {group / step * w.fold_length * step + group % step, begin,
            begin + (left < WF_LEAF ? left : WF_LEAF)};
}

/* A lane's terms become the leaf's in lane 0. Whole warps call this. */
__device__ inline double wf_join_lanes(bool maximum, double term)
{
    for (unsigned half = WF_LANES / 2; half; half /= 2)
        term = wf_join(maximum, term, __shfl_down_sync(~0u, term, half));
    return term;
}

/* ---- up to WF_KERNEL_UNROLLED inputs of one type ---- */

/* How many elements are on their way at once. */
__host__ __device__ constexpr int wf_fold_ahead(int n)
{
    return n <= 2 ? 8 : n <= 4 ? 4 : 2;
}

/* How many of the function's terms are joined by maximum: the first ones. */
constexpr int wf_maxima = WF_FOLD_MAXIMA(WF_PASTE(WF_ID_, WF_FUNCTION));
static_assert(WF_TERMS(WF_WORK_INPUTS) <= WF_TERMS_FEW, "more terms than a thread has room for");

template <int N> struct wf_terms {
    static constexpr int count = (int)WF_TERMS(N);
    double term[count + 1];
};

template <int N> __device__ inline void wf_terms_begin(struct wf_terms<N> *s)
{
    WF_UNROLL
    for (int t = 0; t < wf_terms<N>::count; t++)
        s->term[t] = wf_nothing(t < wf_maxima);
}

/* Element e, whose stored bits are in `raw`. */
template <int N, int TYPE>
__device__ inline void wf_terms_add(const struct wf_work &w, const wf_view_f32 *view, uint64_t e,
                                    const typename wf_type<TYPE>::bits *raw, unsigned *seen,
                                    struct wf_terms<N> *s)
{
    float x[3 * WF_WORK_INPUTS] = {0};
    double found[wf_terms<N>::count + 1] = {0};
    WF_EACH_INPUT (i, 0, N) {
        uint4 one = {(unsigned)raw[i], 0, 0, 0};
        x[i] = wf_group_element<TYPE>(one, 0);
        wf_finite_look<TYPE>(seen, one.x);
        if (w.draws)
            x[N + i] = wf_uniform_of<float>(wf_draw(w.draw_key, e, (uint32_t)i) << 8);
    }
    wf_terms_of<float>(x, N, view, found);
    WF_UNROLL
    for (int t = 0; t < wf_terms<N>::count; t++)
        s->term[t] = wf_join(t < wf_maxima, s->term[t], found[t]);
}

/* Elements at, at + by, ... before `end` of the window; inputs are aligned. BY: `by`, where the
 * compiler is to know it, else 0. */
template <int N, int TYPE, int BY>
__device__ inline void wf_terms_run(const struct wf_work &w, const wf_view_f32 *view, uint64_t at,
                                    uint64_t stride, uint64_t end, unsigned *seen,
                                    struct wf_terms<N> *s)
{
    typedef typename wf_type<TYPE>::bits bits;
    constexpr int ahead = wf_fold_ahead(N);
    const uint64_t by = BY ? BY : stride;
    for (; at + (ahead - 1) * by < end; at += ahead * by) {
        bits raw[ahead][N];
        WF_UNROLL
        for (int k = 0; k < ahead; k++)
            WF_EACH_INPUT (i, 0, N)
                raw[k][i] = ((const bits *)w.in[i] + (at - w.first))[(unsigned)k * by];
        WF_UNROLL
        for (int k = 0; k < ahead; k++)
            wf_terms_add<N, TYPE>(w, view, at + (unsigned)k * by, raw[k], seen, s);
    }
    for (; at < end; at += by) {
        bits raw[N];
        WF_EACH_INPUT (i, 0, N)
            raw[i] = ((const bits *)w.in[i])[at - w.first];
        wf_terms_add<N, TYPE>(w, view, at, raw, seen, s);
    }
}

/* Of groups whose elements lie side by side. */
template <int N, int TYPE>
__global__ void __launch_bounds__(WF_KERNEL_BLOCK)
    WF_KERNEL(_plain)(const __grid_constant__ struct wf_work w)
{
    uint64_t number = w.leaf_from + wf_thread_number() / WF_LANES;
    if (number >= w.leaf_to) /* the whole warp */
        return;
    unsigned lane = threadIdx.x % WF_LANES, seen = 0;
    struct wf_leaf leaf = wf_leaf_number(w, number);
    struct wf_terms<N> s;
    wf_view_f32 view;
    float m[N][WF_ARGS_MODEL];
    wf_group_view<N>(w, &view, m);
    wf_terms_begin<N>(&s);
    wf_terms_run<N, TYPE, WF_LANES>(w, &view, leaf.base + leaf.begin + lane, WF_LANES,
                                    leaf.base + leaf.end, &seen, &s);
    double *value = w.values + (number - w.leaf_from) * w.terms;
    WF_UNROLL
    for (int t = 0; t < wf_terms<N>::count; t++) {
        double joined = wf_join_lanes(t < wf_maxima, s.term[t]);
        if (lane == 0)
            value[t] = joined;
    }
    wf_say_bad(w, wf_finite_bad<TYPE>(seen));
}

/* The first element of a column that is not below `from`. */
__device__ inline uint64_t wf_column_begin(const struct wf_work &w, uint64_t column)
{
    uint64_t e = w.from / w.row_stride * w.row_stride + column;
    return e < w.from ? e + w.row_stride : e;
}

template <int N, int TYPE>
__global__ void __launch_bounds__(WF_KERNEL_BLOCK)
    WF_KERNEL(_columns)(const __grid_constant__ struct wf_work w)
{
    uint64_t column = wf_thread_number();
    if (column >= w.row_stride)
        return;
    unsigned seen = 0;
    struct wf_terms<N> s;
    wf_view_f32 view;
    float m[N][WF_ARGS_MODEL];
    double *sums = w.sums + column * w.terms;
    wf_group_view<N>(w, &view, m);
    WF_UNROLL
    for (int t = 0; t < wf_terms<N>::count; t++)
        s.term[t] = sums[t];
    wf_terms_run<N, TYPE, 0>(w, &view, wf_column_begin(w, column), w.row_stride, w.to, &seen, &s);
    WF_UNROLL
    for (int t = 0; t < wf_terms<N>::count; t++)
        sums[t] = s.term[t];
    wf_say_bad(w, wf_finite_bad<TYPE>(seen));
}

/* ---- any work ---- */

/* Room for the terms of an element, and for a lane's sums. */
template <class Real>
__device__ inline void wf_room_for_terms(const struct wf_work &w, struct wf_any<Real> *a,
                                         double *few, double **found, double **sums)
{
    *found = a->terms ? a->terms : few;
    *sums = *found + w.terms;
}

template <class Real>
__device__ inline void wf_any_add(const struct wf_work &w, struct wf_any<Real> *a, uint64_t e,
                                  double *found, double *sums)
{
    wf_look_at(w, a, e, false);
    wf_terms_of<Real>(a->x, (int)w.n, &a->view, found);
    for (uint32_t t = 0; t < w.terms; t++)
        sums[t] = wf_join(t < w.maxima, sums[t], found[t]);
}

template <class Real>
__global__ void __launch_bounds__(WF_KERNEL_BLOCK)
    WF_KERNEL(_any)(const __grid_constant__ struct wf_work w)
{
    struct wf_any<Real> a;
    double few[2 * WF_TERMS_FEW], *found, *sums;
    unsigned lane = threadIdx.x % WF_LANES;
    wf_any_begin(w, &a);
    wf_room_for_terms(w, &a, few, &found, &sums);
    for (uint64_t number = w.leaf_from + wf_thread_number() / WF_LANES; number < w.leaf_to;
         number += wf_thread_count() / WF_LANES) {
        struct wf_leaf leaf = wf_leaf_number(w, number);
        for (uint32_t t = 0; t < w.terms; t++)
            sums[t] = wf_nothing(t < w.maxima);
        for (uint64_t k = leaf.begin + lane; k < leaf.end; k += WF_LANES)
            wf_any_add(w, &a, leaf.base + k * w.fold_step, found, sums);
        for (uint32_t t = 0; t < w.terms; t++) {
            double joined = wf_join_lanes(t < w.maxima, sums[t]);
            if (lane == 0)
                w.values[(number - w.leaf_from) * w.terms + t] = joined;
        }
    }
    wf_say_bad(w, a.bad);
}

template <class Real>
__global__ void __launch_bounds__(WF_KERNEL_BLOCK)
    WF_KERNEL(_columns_any)(const __grid_constant__ struct wf_work w)
{
    struct wf_any<Real> a;
    double few[2 * WF_TERMS_FEW], *found, *sums;
    wf_any_begin(w, &a);
    wf_room_for_terms(w, &a, few, &found, &sums);
    for (uint64_t column = wf_thread_number(); column < w.row_stride; column += wf_thread_count())
        for (uint64_t e = wf_column_begin(w, column); e < w.to; e += w.row_stride)
            wf_any_add(w, &a, e, found, w.sums + column * w.terms);
    wf_say_bad(w, a.bad);
}

/* ---- launches ---- */

bool wf_launch_plain(const struct wf_work &w, void *stream)
{
    bool columns = w.kind == WF_WORK_COLUMNS;
    uint64_t threads = columns ? w.row_stride : (w.leaf_to - w.leaf_from) * WF_LANES;
    uint64_t blocks = (threads + WF_KERNEL_BLOCK - 1) / WF_KERNEL_BLOCK;
    uint32_t maxima = (uint32_t)wf_maxima < w.terms ? (uint32_t)wf_maxima : w.terms;
    if (blocks >= UINT32_MAX / 2 || w.maxima != maxima || (!columns && w.fold_step != 1))
        return false;
    for (uint32_t i = 0; i < w.n; i++)
        if ((uintptr_t)w.in[i] % wf_dtype_width(w.in_dtype[i]))
            return false;
    return wf_written_out(w, [&](auto type, auto n) {
        constexpr int N = decltype(n)::value, TYPE = decltype(type)::value;
        if (columns)
            LAUNCH((WF_KERNEL(_columns) < N, TYPE >), (unsigned)blocks, WF_KERNEL_BLOCK, 0, stream,
                   w);
        else
            LAUNCH((WF_KERNEL(_plain) < N, TYPE >), (unsigned)blocks, WF_KERNEL_BLOCK, 0, stream,
                   w);
    });
}
} // namespace

extern "C" int WF_ENTRY(const struct wf_work *work, void *stream)
{
    const struct wf_work w = *work;
    if ((w.kind != WF_WORK_FOLD && w.kind != WF_WORK_COLUMNS) || w.terms != WF_TERMS((int)w.n) ||
        w.maxima > w.terms)
        return 1;
    if (w.plain && wf_launch_plain(w, stream))
        return 0;
    if (w.kind == WF_WORK_FOLD) {
        struct wf_grid grid = wf_any_grid(w, w.leaf_to - w.leaf_from, WF_LANES);
        LAUNCH_REAL(WF_KERNEL(_any), w.wide, grid.blocks, grid.threads, 0, stream, w);
        return 0;
    }
    struct wf_grid grid = wf_any_grid(w, w.row_stride, 1);
    LAUNCH_REAL(WF_KERNEL(_columns_any), w.wide, grid.blocks, grid.threads, 0, stream, w);
    return 0;
}
