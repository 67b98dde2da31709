/* frame_key.cu - SELECT and RANK on a device, for the key WF_FUNCTION: counts keys below and inside
 * brackets, lists those inside; makes the keys of rows that frame_rank.cu sorts.
 *
 * In the fast kernel a thread has groups of 16 bytes, takes each stream's keys of one, and compares
 * them with each bracket; a warp's counts are added up in one instruction. Keys inside, which are
 * few, wait in a buffer of the warp until there are enough for one reservation in the list:
 *
 *     shared   | brackets | counts | how full: [warp][bracket] | waiting: [warp][bracket][64]
 */
#include "frame_group.cuh"
#include "frame_rank.cuh"

namespace
{
template <class Real>
__device__ inline typename wf_numbers<Real>::key
wf_key_of(const Real *x, int n, const typename wf_numbers<Real>::view *v, int i);
template <>
__device__ inline uint32_t wf_key_of<float>(const float *x, int n, const wf_view_f32 *v, int i)
{
    return wf_numbers<float>::key_of(WF_PASTE(WF_FUNCTION, _f32)(x, n, v, i));
}
template <>
__device__ inline uint64_t wf_key_of<double>(const double *x, int n, const wf_view_f64 *v, int i)
{
    return wf_numbers<double>::key_of(WF_PASTE(WF_FUNCTION, _f64)(x, n, v, i));
}

/* A bracket in the width of keys. With `low` above every key nothing is inside. */
template <class Key> struct wf_keys_inside {
    Key low, high;
};

template <class Real>
__device__ inline struct wf_keys_inside<typename wf_numbers<Real>::key>
wf_narrow(const struct wf_work_bracket &b) {
    typedef typename wf_numbers<Real>::key key;
    constexpr key most = wf_numbers<Real>::key_max;
    return {b.low > most ? (key)(most + 1) : (key)b.low, b.high > most ? most : (key)b.high};
}

__device__ inline void
wf_add_count(uint64_t *to, uint64_t count)
{
    if (count)
        atomicAdd((unsigned long long *)to, (unsigned long long)count);
}

/* ---- lists ---- */

constexpr unsigned wf_listed_most = 64; /* keys of a warp that wait */

/* What a warp knows of one list. */
struct wf_list {
    uint32_t *waits; /* [wf_listed_most], shared */
    unsigned *count; /* that wait, shared */
    uint64_t *listed;
    uint32_t *keys;
    uint64_t capacity;
};

/* The first `count` keys that wait, 32 at most, go to the list. Whole warps call this. */
__device__ inline void wf_list_put(const struct wf_list &l, unsigned count)
{
    unsigned lane = threadIdx.x % 32;
    unsigned long long at = 0;
    if (lane == 0)
        at = atomicAdd((unsigned long long *)l.listed, (unsigned long long)count);
    at = __shfl_sync(~0u, at, 0) + lane;
    if (lane < count && at < l.capacity)
        l.keys[at] = l.waits[lane];
}

/* Each lane's key waits, if it has one. Whole warps call this. */
__device__ inline void wf_list_add(const struct wf_list &l, bool mine, uint32_t key)
{
    unsigned lane = threadIdx.x % 32, votes = __ballot_sync(~0u, mine), count = *l.count;
    if (mine)
        l.waits[count + (unsigned)__popc(votes & ((1u << lane) - 1))] = key;
    count += (unsigned)__popc(votes);
    __syncwarp();
    if (count >= 32) {
        wf_list_put(l, 32);
        __syncwarp();
        uint32_t next = l.waits[32 + lane];
        __syncwarp();
        l.waits[lane] = next;
        count -= 32;
    }
    if (lane == 0)
        *l.count = count;
    __syncwarp();
}

/* ---- COUNT, up to WF_KERNEL_UNROLLED inputs of one type ---- */

/* Where a block's shared memory has what. */
struct wf_count_shared {
    struct wf_work_bracket *brackets;
    unsigned *below, *inside, *zeros; /* [bracket] */
    unsigned *full;                   /* [warp][bracket] */
    uint32_t *waits;                  /* [warp][bracket][wf_listed_most] */
};

__host__ __device__ inline size_t wf_count_shared_bytes(const struct wf_work &w, unsigned warps)
{
    size_t brackets = (size_t)w.streams * w.ranks_n;
    return brackets * (sizeof(struct wf_work_bracket) + 3 * sizeof(unsigned)) +
           warps * brackets * (sizeof(unsigned) + wf_listed_most * sizeof(uint32_t));
}

__device__ inline struct wf_count_shared wf_count_begin(const struct wf_work &w,
                                                        unsigned char *memory)
{
    unsigned brackets = w.streams * w.ranks_n, warps = blockDim.x / 32;
    struct wf_count_shared s;
    s.brackets = (struct wf_work_bracket *)memory;
    s.below = (unsigned *)(s.brackets + brackets);
    s.inside = s.below + brackets;
    s.zeros = s.inside + brackets;
    s.full = s.zeros + brackets;
    s.waits = s.full + warps * brackets;
    for (unsigned k = threadIdx.x; k < brackets; k += blockDim.x)
        s.brackets[k] = w.brackets[k];
    unsigned counts = (3 + warps) * brackets;
    for (unsigned k = threadIdx.x; k < counts; k += blockDim.x)
        s.below[k] = 0;
    __syncthreads();
    return s;
}

__device__ inline struct wf_list wf_list_of(const struct wf_work &w,
                                            const struct wf_count_shared &s, unsigned bracket)
{
    unsigned at = threadIdx.x / 32 * w.streams * w.ranks_n + bracket;
    return {s.waits + (size_t)at * wf_listed_most, s.full + at, &w.counts[bracket].listed,
            (uint32_t *)w.lists + bracket * w.list_capacity, w.list_capacity};
}

/* What a block counted, and what still waits, goes to memory. */
__device__ inline void wf_count_end(const struct wf_work &w, const struct wf_count_shared &s)
{
    unsigned brackets = w.streams * w.ranks_n;
    __syncthreads();
    for (unsigned k = threadIdx.x; k < brackets; k += blockDim.x) {
        wf_add_count(&w.counts[k].below, s.below[k]);
        wf_add_count(&w.counts[k].inside, s.inside[k]);
        wf_add_count(&w.counts[k].zeros, s.zeros[k]);
    }
    for (unsigned k = 0; k < brackets; k++) {
        struct wf_list list = wf_list_of(w, s, k);
        if (*list.count) /* the whole warp */
            wf_list_put(list, *list.count);
    }
}

/* What the lanes of a warp counted in a group: three sums of 256 at most in one word. */
__device__ inline void wf_count_join(const struct wf_count_shared &s, unsigned bracket,
                                     unsigned below, unsigned inside, unsigned zeros)
{
    unsigned sum = __reduce_add_sync(~0u, below | inside << 10 | zeros << 20);
    if (threadIdx.x % 32 || !sum)
        return;
    atomicAdd(&s.below[bracket], sum & 0x3ffu);
    atomicAdd(&s.inside[bracket], sum >> 10 & 0x3ffu);
    atomicAdd(&s.zeros[bracket], sum >> 20);
}

/* Keys of the bits in `mask` wait for their list. Whole warps call this. */
template <int SIZE>
__device__ inline void wf_list_group(const struct wf_list &list, const uint32_t *key, unsigned mask)
{
    while (__any_sync(~0u, mask != 0)) {
        int at = __ffs(mask) - 1;
        uint32_t mine = 0;
        WF_UNROLL
        for (int k = 0; k < SIZE; k++)
            mine = k == at ? key[k] : mine;
        wf_list_add(list, mask != 0, mine);
        mask &= mask - 1;
    }
}

/* The keys of one stream of a group, compared with its brackets. Whole warps call this. */
template <int SIZE>
__device__ inline void wf_count_group(const struct wf_work &w, const struct wf_count_shared &s,
                                      unsigned stream, const uint32_t *key)
{
    unsigned zeros = 0;
    WF_UNROLL
    for (int k = 0; k < SIZE; k++)
        zeros += key[k] == 0;
    WF_ROLLED
    for (unsigned r = 0; r < w.ranks_n; r++) {
        unsigned bracket = stream * w.ranks_n + r, below = 0, mask = 0;
        struct wf_keys_inside<uint32_t> b = wf_narrow<float>(s.brackets[bracket]);
        WF_UNROLL
        for (int k = 0; k < SIZE; k++) {
            bool under = key[k] < b.low;
            below += under;
            mask |= !under && key[k] <= b.high ? 1u << k : 0;
        }
        wf_count_join(s, bracket, below, (unsigned)__popc(mask), r ? 0 : zeros);
        if (s.brackets[bracket].list)
            wf_list_group<SIZE>(wf_list_of(w, s, bracket), key, mask);
    }
}

/* Keys of a group. One that is not asked for is above all. */
template <int N, int WIDTH>
__device__ inline void wf_group_keys(const struct wf_work &w, const uint4 *group,
                                     const wf_view_f32 *view, int stream, struct wf_range r,
                                     uint32_t *key)
{
    WF_UNROLL
    for (int k = 0; k < 16 / WIDTH; k++) {
        float x[3 * WF_WORK_INPUTS] = {0};
        WF_EACH_INPUT (i, 0, N)
            x[i] = wf_group_element<WIDTH>(group[i], k, w.in_dtype[0] == WF_F16);
        uint32_t found = stream || w.per_model ? wf_key_of<float>(x, N, view, stream + 1)
                                               : wf_key_of<float>(x, N, view, 0);
        key[k] = (unsigned)k >= r.begin && (unsigned)k < r.end ? found : UINT32_MAX;
    }
}

template <int N, int WIDTH>
__global__ void __launch_bounds__(WF_KERNEL_BLOCK)
    WF_KERNEL(_count)(const __grid_constant__ struct wf_work w, unsigned lead, uint64_t groups)
{
    constexpr int size = 16 / WIDTH, streams = N > 1 ? N - 1 : 1;
    DYN_SMEM(dynamic);
    struct wf_count_shared s = wf_count_begin(w, dynamic);
    struct wf_finite finite = wf_finite_begin(w.in_dtype[0]);
    wf_view_f32 view;
    float m[N][WF_ARGS_MODEL];
    wf_group_view<N>(w, &view, m);
    /* All threads of a block go round equally often. */
    for (uint64_t base = (uint64_t)blockIdx.x * blockDim.x; base < groups;
         base += wf_thread_count()) {
        struct wf_range r = wf_group_range<WIDTH>(w, lead, base + threadIdx.x);
        uint4 group[N];
        WF_EACH_INPUT (i, 0, N)
            group[i] =
                wf_load_group<WIDTH>(wf_group_at<WIDTH>(w, w.in[i], lead, base + threadIdx.x), r);
        WF_EACH_INPUT (i, 0, N)
            wf_finite_look(&finite, group[i]);
        WF_UNROLL
        for (int stream = 0; stream < streams; stream++) {
            if ((unsigned)stream >= w.streams)
                continue;
            uint32_t key[size];
            wf_group_keys<N, WIDTH>(w, group, &view, stream, r, key);
            wf_count_group<size>(w, s, (unsigned)stream, key);
        }
    }
    wf_count_end(w, s);
    wf_say_bad(w, wf_finite_bad(finite));
}

/* ---- any work ---- */

/* A block's counts, [bracket][below, inside, zeros], where shared memory has room for them. */
enum { WF_BELOW, WF_INSIDE, WF_ZEROS, WF_COUNTS };

__device__ inline uint64_t *wf_counter(const struct wf_work &w, unsigned bracket, unsigned which)
{
    struct wf_work_counts *c = w.counts + bracket;
    return which == WF_BELOW ? &c->below : which == WF_INSIDE ? &c->inside : &c->zeros;
}

__device__ inline void wf_count_add(const struct wf_work &w, unsigned *counts, unsigned bracket,
                                    unsigned which, unsigned votes)
{
    unsigned count = (unsigned)__popc(votes);
    if (threadIdx.x % 32 || !count)
        return;
    if (counts)
        atomicAdd(&counts[bracket * WF_COUNTS + which], count);
    else
        wf_add_count(wf_counter(w, bracket, which), count);
}

/* One key of each lane of a warp, compared with a bracket. Whole warps call this. */
template <class Real>
__device__ inline void wf_count_any(const struct wf_work &w, unsigned *counts, unsigned bracket,
                                    bool valid, typename wf_numbers<Real>::key key)
{
    typedef typename wf_numbers<Real>::key key_type;
    struct wf_keys_inside<key_type> b = wf_narrow<Real>(w.brackets[bracket]);
    unsigned lane = threadIdx.x % 32;
    unsigned votes = __ballot_sync(~0u, valid && key >= b.low && key <= b.high);
    wf_count_add(w, counts, bracket, WF_BELOW, __ballot_sync(~0u, valid && key < b.low));
    wf_count_add(w, counts, bracket, WF_INSIDE, votes);
    if (!votes || !w.brackets[bracket].list)
        return;
    unsigned long long at = 0;
    if (lane == 0)
        at = atomicAdd((unsigned long long *)&w.counts[bracket].listed,
                       (unsigned long long)__popc(votes));
    at = __shfl_sync(~0u, at, 0) + (unsigned)__popc(votes & ((1u << lane) - 1));
    if (votes >> lane & 1 && at < w.list_capacity)
        ((key_type *)w.lists)[bracket * w.list_capacity + at] = key;
}

template <class Real>
__global__ void __launch_bounds__(WF_KERNEL_BLOCK)
    WF_KERNEL(_count_any)(const __grid_constant__ struct wf_work w, bool shares)
{
    DYN_SMEM(dynamic);
    struct wf_any<Real> a;
    unsigned *counts = shares ? (unsigned *)dynamic : nullptr, lane = threadIdx.x % 32;
    unsigned all = shares ? w.streams * w.ranks_n * WF_COUNTS : 0;
    for (unsigned k = threadIdx.x; k < all; k += blockDim.x)
        counts[k] = 0;
    __syncthreads();
    wf_any_begin(w, &a);
    for (uint64_t base = w.from + wf_thread_number() - lane; base < w.to;
         base += wf_thread_count()) {
        bool valid = base + lane < w.to;
        if (valid)
            wf_look_at(w, &a, base + lane, true);
        for (unsigned stream = 0; stream < w.streams; stream++) {
            unsigned first = stream * w.ranks_n;
            int i = w.per_model ? (int)stream + 1 : 0;
            typename wf_numbers<Real>::key key =
                valid ? wf_key_of<Real>(a.x, (int)w.n, &a.view, i) : 0;
            wf_count_add(w, counts, first, WF_ZEROS, __ballot_sync(~0u, valid && key == 0));
            for (unsigned r = 0; r < w.ranks_n; r++)
                wf_count_any<Real>(w, counts, first + r, valid, key);
        }
    }
    __syncthreads();
    for (unsigned k = threadIdx.x; k < all; k += blockDim.x)
        wf_add_count(wf_counter(w, k / WF_COUNTS, k % WF_COUNTS), counts[k]);
    wf_say_bad(w, a.bad);
}

/* Keys of every input, as bits, where their ranks will be. */
template <class Real>
__global__ void __launch_bounds__(WF_KERNEL_BLOCK)
    WF_KERNEL(_keys_any)(const __grid_constant__ struct wf_work w)
{
    struct wf_any<Real> a;
    wf_any_begin(w, &a);
    for (uint64_t e = w.from + wf_thread_number(); e < w.to; e += wf_thread_count()) {
        wf_look_at(w, &a, e, true);
        for (uint32_t i = 1; i < w.n; i++)
            ((typename wf_numbers<Real>::key *)
                 w.ranks)[(i - 1) * w.rank_stride + e - w.rank_first] =
                wf_key_of<Real>(a.x, (int)w.n, &a.view, (int)i);
    }
    wf_say_bad(w, a.bad);
}

/* ---- launches ---- */

template <int WIDTH> bool wf_launch_count(const struct wf_work &w, void *stream)
{
    unsigned lead = wf_group_lead(w);
    uint64_t groups = wf_group_count<WIDTH>(w, lead);
    unsigned threads = WF_KERNEL_BLOCK;
    while (threads > 32 && wf_count_shared_bytes(w, threads / 32) > wf_shared_most)
        threads /= 2;
    uint64_t blocks = (groups + threads - 1) / threads;
    blocks = blocks < wf_blocks_most ? blocks : wf_blocks_most;
    size_t shared = wf_count_shared_bytes(w, threads / 32);
    return wf_written_out(w.n, [&](auto n) {
        LAUNCH((WF_KERNEL(_count) < decltype(n)::value, WIDTH >), (unsigned)blocks, threads, shared,
               stream, w, lead, groups);
    });
}

void wf_launch_count_any(const struct wf_work &w, void *stream)
{
    struct wf_grid grid = wf_any_grid(w, w.to - w.from, 1);
    size_t bytes = (size_t)w.streams * w.ranks_n * WF_COUNTS * sizeof(unsigned);
    bool shares = bytes <= wf_shared_most;
    bytes = shares ? bytes : 0;
    if (w.wide)
        LAUNCH(WF_KERNEL(_count_any) < double >, grid.blocks, grid.threads, bytes, stream, w,
               shares);
    else
        LAUNCH(WF_KERNEL(_count_any) < float >, grid.blocks, grid.threads, bytes, stream, w,
               shares);
}
} // namespace

extern "C" int WF_ENTRY(const struct wf_work *work, void *stream)
{
    const struct wf_work w = *work;
    if (w.kind == WF_WORK_COUNT) {
        bool done = w.plain && (wf_dtype_width(w.in_dtype[0]) == 2 ? wf_launch_count<2>(w, stream)
                                                                   : wf_launch_count<4>(w, stream));
        if (!done)
            wf_launch_count_any(w, stream);
        return 0;
    }
    if (w.kind != WF_WORK_RANK)
        return 1;
    struct wf_grid grid = wf_any_grid(w, w.to - w.from, 1);
    if (w.wide)
        LAUNCH(WF_KERNEL(_keys_any) < double >, grid.blocks, grid.threads, 0, stream, w);
    else
        LAUNCH(WF_KERNEL(_keys_any) < float >, grid.blocks, grid.threads, 0, stream, w);
    return wf_launch_rank_rows(work, stream);
}
