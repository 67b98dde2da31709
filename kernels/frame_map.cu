/* frame_map.cu - MAP on a device, for the function WF_FUNCTION: one thread has one group of 16
 * bytes of each input, or, in the general kernel, one element after the other.
 */
#include "frame_group.cuh"

namespace
{
template <class Real>
__device__ inline Real wf_map_of(const Real *x, int n, const typename wf_numbers<Real>::view *v);
template <> __device__ inline float wf_map_of<float>(const float *x, int n, const wf_view_f32 *v)
{
    return WF_PASTE(WF_FUNCTION, _f32)(x, n, v);
}
template <> __device__ inline double wf_map_of<double>(const double *x, int n, const wf_view_f64 *v)
{
    return WF_PASTE(WF_FUNCTION, _f64)(x, n, v);
}

/* Four elements from `first` on. Where nobody looks at draws, nothing of them is left. */
template <int N, int TYPE>
__device__ inline void wf_map_four(const struct wf_work &w, const uint4 *group,
                                   const wf_view_f32 *view, uint64_t e, int first, float *result)
{
    uint32_t word[N][4] = {{0}};
    if (w.draws) {
        uint64_t counter = (e + (unsigned)first) / 4;
        WF_EACH_INPUT (i, 0, N) {
            word[i][0] = (uint32_t)counter;
            word[i][1] = (uint32_t)(counter >> 32);
            word[i][2] = (uint32_t)i;
            wf_philox((uint32_t)w.draw_key, (uint32_t)(w.draw_key >> 32), word[i]);
        }
    }
    WF_UNROLL
    for (int k = 0; k < 4; k++) {
        float x[3 * WF_WORK_INPUTS] = {0};
        WF_EACH_INPUT (i, 0, N) {
            x[i] = wf_group_element<TYPE>(group[i], first + k);
            x[N + i] = wf_uniform_of<float>(word[i][k]);
        }
        result[first + k] = wf_map_of<float>(x, N, view);
    }
}

template <int N, int TYPE>
__global__ void __launch_bounds__(WF_KERNEL_BLOCK)
    WF_KERNEL(_plain)(const __grid_constant__ struct wf_work w,
                      const __grid_constant__ struct wf_groups p)
{
    constexpr int size = wf_type<TYPE>::size;
    uint64_t g = wf_thread_number();
    uint4 group[N];
    unsigned seen = 0;
    struct wf_range r = wf_load_groups<N, TYPE>(p, blockIdx.x, g, group);
    if (r.begin >= r.end)
        return;
    WF_EACH_INPUT (i, 0, N)
        wf_finite_look<TYPE>(&seen, group[i]);
    wf_view_f32 view;
    float m[N][WF_ARGS_MODEL], result[size];
    wf_group_view<N>(w, &view, m);
    WF_UNROLL
    for (int first = 0; first < size; first += 4)
        wf_map_four<N, TYPE>(w, group, &view, p.first + g * size, first, result);
    bool bad = wf_finite_bad<TYPE>(seen);
    bad |= wf_store_any<size>(w, p, result, g, r);
    wf_say_bad(w, bad);
}

template <class Real>
__global__ void __launch_bounds__(WF_KERNEL_BLOCK)
    WF_KERNEL(_any)(const __grid_constant__ struct wf_work w)
{
    struct wf_any<Real> a;
    wf_any_begin(w, &a);
    for (uint64_t e = w.from + wf_thread_number(); e < w.to; e += wf_thread_count()) {
        wf_look_at(w, &a, e, false);
        Real result = wf_map_of<Real>(a.x, (int)w.n, &a.view);
        a.bad |= wf_store_real(w.out_dtype, (unsigned char *)w.out, e - w.from, result);
    }
    wf_say_bad(w, a.bad);
}

bool wf_launch_plain(const struct wf_work &w, void *stream)
{
    const struct wf_groups p = wf_groups_of(w, WF_KERNEL_BLOCK);
    return p.blocks && wf_written_out(w, [&](auto type, auto n) {
               LAUNCH((WF_KERNEL(_plain) < decltype(n)::value, decltype(type)::value >), p.blocks,
                      WF_KERNEL_BLOCK, 0, stream, w, p);
           });
}
} // namespace

extern "C" int WF_ENTRY(const struct wf_work *work, void *stream)
{
    const struct wf_work w = *work;
    if (w.kind != WF_WORK_MAP)
        return 1;
    if (w.plain && w.out_dtype != WF_F64 && wf_launch_plain(w, stream))
        return 0;
    struct wf_grid grid = wf_any_grid(w, w.to - w.from, 1);
    LAUNCH_REAL(WF_KERNEL(_any), w.wide, grid.blocks, grid.threads, 0, stream, w);
    return 0;
}
