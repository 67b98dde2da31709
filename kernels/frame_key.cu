/* frame_key.cu - SELECT and RANK on a device, for the key WF_FUNCTION: counts keys below and inside
 * brackets, lists those inside; makes the keys of rows that frame_rank.cu sorts.
 *
 * In the fast kernel a thread has groups of 16 bytes, takes each stream's keys of one, and compares
 * them with each bracket. Its counts are its own, three in a word, until the block adds them up.
 * Keys inside, which are few, wait in a buffer of the warp until there are enough for one
 * reservation in the list:
 *
 *     shared   | bounds | counts | how full: [warp][bracket] | waiting: [warp][bracket][64] |
 *              | words: [bracket][thread] |
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

/* A bracket, as keys of a group are compared with it: `low`, and `next`, the key behind the last
 * one inside. Both are at most wf_key_behind. */
struct wf_bounds {
    uint32_t low, next;
    uint32_t nothing; /* is inside, and everything below */
    uint32_t list;
};

constexpr uint32_t wf_key_behind = 0x7fc00001u; /* the NaN, which is the largest key, plus one */
constexpr uint32_t wf_key_none = 0x7fffffffu;   /* of an element that is not asked for */

__device__ inline struct wf_bounds wf_bounds_of(const struct wf_work_bracket &b)
{
    uint32_t low = b.low < wf_key_behind ? (uint32_t)b.low : wf_key_behind;
    uint32_t next = b.high < wf_key_behind ? (uint32_t)b.high + 1 : wf_key_behind;
    return {low, next > low ? next : low, b.low > wf_numbers<float>::key_max, b.list != 0};
}

/* Where a block's shared memory has what. */
struct wf_count_shared {
    struct wf_bounds *bounds;
    unsigned *below, *inside, *zeros; /* [bracket] */
    unsigned *full;                   /* [warp][bracket] */
    uint32_t *waits;                  /* [warp][bracket][wf_listed_most] */
    uint32_t *words;                  /* [bracket][thread]: below | below `next` << 10 | 0 << 20 */
};

/* So many of 8 keys a word has room for. */
#ifdef __CUDACC__
constexpr unsigned wf_count_rounds = 127;
#else
constexpr unsigned wf_count_rounds = 2; /* for tests to get there */
#endif

__host__ __device__ inline size_t wf_count_shared_bytes(const struct wf_work &w, unsigned threads)
{
    size_t brackets = (size_t)w.streams * w.ranks_n, warps = threads / 32;
    return brackets * (sizeof(struct wf_bounds) + (3 + threads) * sizeof(unsigned)) +
           warps * brackets * (sizeof(unsigned) + wf_listed_most * sizeof(uint32_t));
}

__device__ inline struct wf_count_shared wf_count_begin(const struct wf_work &w,
                                                        unsigned char *memory)
{
    unsigned brackets = w.streams * w.ranks_n, warps = blockDim.x / 32;
    struct wf_count_shared s;
    s.bounds = (struct wf_bounds *)memory;
    s.below = (unsigned *)(s.bounds + brackets);
    s.inside = s.below + brackets;
    s.zeros = s.inside + brackets;
    s.full = s.zeros + brackets;
    s.waits = s.full + warps * brackets;
    s.words = s.waits + (size_t)warps * brackets * wf_listed_most;
    for (unsigned k = threadIdx.x; k < brackets; k += blockDim.x)
        s.bounds[k] = wf_bounds_of(w.brackets[k]);
    unsigned counts = (3 + warps) * brackets;
    for (unsigned k = threadIdx.x; k < counts; k += blockDim.x)
        s.below[k] = 0;
    for (unsigned k = 0; k < brackets; k++)
        s.words[k * blockDim.x + threadIdx.x] = 0;
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

/* What the threads of a warp counted is added to the block's counts. Whole warps call this. */
__device__ inline void wf_count_join(const struct wf_work &w, const struct wf_count_shared &s)
{
    WF_ROLLED
    for (unsigned k = 0; k < w.streams * w.ranks_n; k++) {
        uint32_t *mine = &s.words[k * blockDim.x + threadIdx.x], word = *mine;
        *mine = 0;
        unsigned below = __reduce_add_sync(~0u, word & 0x3ffu);
        unsigned under = __reduce_add_sync(~0u, word >> 10 & 0x3ffu);
        unsigned zeros = __reduce_add_sync(~0u, word >> 20);
        if (threadIdx.x % 32)
            continue;
        atomicAdd(&s.below[k], below);
        atomicAdd(&s.inside[k], under - below);
        atomicAdd(&s.zeros[k], zeros);
    }
}

/* What a block counted, and what still waits, goes to memory. */
__device__ inline void wf_count_end(const struct wf_work &w, const struct wf_count_shared &s)
{
    unsigned brackets = w.streams * w.ranks_n;
    wf_count_join(w, s);
    __syncthreads();
    for (unsigned k = threadIdx.x; k < brackets; k += blockDim.x) {
        uint64_t all = blockIdx.x ? 0 : w.to - w.from;
        wf_add_count(&w.counts[k].below, s.bounds[k].nothing ? all : s.below[k]);
        wf_add_count(&w.counts[k].inside, s.inside[k]);
        wf_add_count(&w.counts[k].zeros, s.zeros[k]);
    }
    for (unsigned k = 0; k < brackets; k++) {
        struct wf_list list = wf_list_of(w, s, k);
        if (*list.count) /* the whole warp */
            wf_list_put(list, *list.count);
    }
}

/* Keys inside a bracket wait for its list. Whole warps call this. */
template <int SIZE>
__device__ inline void wf_list_group(const struct wf_list &list, const uint32_t *key,
                                     const struct wf_bounds &b)
{
    unsigned mask = 0;
    WF_UNROLL
    for (int k = 0; k < SIZE; k++)
        mask |= key[k] - b.low < b.next - b.low ? 1u << k : 0;
    while (__any_sync(~0u, mask != 0)) {
        int at = __ffs((int)mask) - 1;
        uint32_t mine = 0;
        WF_UNROLL
        for (int k = 0; k < SIZE; k++)
            mine = k == at ? key[k] : mine;
        wf_list_add(list, mask != 0, mine);
        mask &= mask - 1;
    }
}

/* How many keys are below a bound: the sign of a difference is a count of one. */
template <int SIZE> __device__ inline unsigned wf_keys_below(const uint32_t *key, uint32_t bound)
{
    unsigned below = 0;
    WF_UNROLL
    for (int k = 0; k < SIZE; k++)
        below += (key[k] - bound) >> 31;
    return below;
}

/* The keys of one stream of a group, compared with its brackets. Whole warps call this. */
template <int SIZE>
__device__ inline void wf_count_group(const struct wf_work &w, const struct wf_count_shared &s,
                                      unsigned stream, const uint32_t *key)
{
    unsigned bracket = stream * w.ranks_n, end = bracket + w.ranks_n;
    unsigned word = wf_keys_below<SIZE>(key, 1) << 20;
    uint32_t *to = s.words + bracket * blockDim.x + threadIdx.x;
    WF_ROLLED
    for (; bracket < end; bracket++, to += blockDim.x, word = 0) {
        struct wf_bounds b = s.bounds[bracket];
        if (!b.nothing) {
            unsigned below = wf_keys_below<SIZE>(key, b.low);
            unsigned under = wf_keys_below<SIZE>(key, b.next);
            word += below | under << 10;
            if (b.list && __any_sync(~0u, below != under))
                wf_list_group<SIZE>(wf_list_of(w, s, bracket), key, b);
        }
        *to += word;
    }
}

/* Is each stream the key of an input? Known of a function, so that nothing is written out twice. */
constexpr bool wf_per_model = WF_KEY_PER_MODEL(WF_PASTE(WF_ID_, WF_FUNCTION));

/* Keys of a group. One that is not asked for is above all. */
template <int N, int TYPE>
__device__ inline void wf_group_keys(const uint4 *group, const wf_view_f32 *view, int stream,
                                     struct wf_range r, uint32_t *key)
{
    constexpr int size = wf_type<TYPE>::size;
    WF_UNROLL
    for (int k = 0; k < size; k++) {
        float x[3 * WF_WORK_INPUTS] = {0};
        WF_EACH_INPUT (i, 0, N)
            x[i] = wf_group_element<TYPE>(group[i], k);
        key[k] = wf_key_of<float>(x, N, view, wf_per_model ? stream + 1 : 0);
    }
    if (r.whole)
        return;
    WF_UNROLL
    for (int k = 0; k < size; k++)
        key[k] = (unsigned)k >= r.begin && (unsigned)k < r.end ? key[k] : wf_key_none;
}

template <int N, int TYPE>
__global__ void __launch_bounds__(WF_KERNEL_BLOCK)
    WF_KERNEL(_count)(const __grid_constant__ struct wf_work w,
                      const __grid_constant__ struct wf_groups p)
{
    constexpr int size = wf_type<TYPE>::size, streams = wf_per_model ? N - 1 : 1;
    DYN_SMEM(dynamic);
    struct wf_count_shared s = wf_count_begin(w, dynamic);
    unsigned seen = 0, rounds = 0;
    wf_view_f32 view;
    float m[N][WF_ARGS_MODEL];
    wf_group_view<N>(w, &view, m);
    /* All threads of a block go round equally often. */
    for (unsigned block = blockIdx.x; block < p.blocks; block += gridDim.x) {
        uint4 group[N];
        struct wf_range r =
            wf_load_groups<N, TYPE>(p, block, (uint64_t)block * blockDim.x + threadIdx.x, group);
        WF_EACH_INPUT (i, 0, N)
            wf_finite_look<TYPE>(&seen, group[i]);
        WF_UNROLL
        for (int stream = 0; stream < streams; stream++) {
            if ((unsigned)stream >= w.streams)
                continue;
            uint32_t key[size];
            wf_group_keys<N, TYPE>(group, &view, stream, r, key);
            wf_count_group<size>(w, s, (unsigned)stream, key);
        }
        if (++rounds % wf_count_rounds == 0)
            wf_count_join(w, s);
    }
    wf_count_end(w, s);
    wf_say_bad(w, wf_finite_bad<TYPE>(seen));
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

bool wf_launch_count(const struct wf_work &w, void *stream)
{
    unsigned threads = WF_KERNEL_BLOCK;
    while (threads > 32 && wf_count_shared_bytes(w, threads) > wf_shared_most)
        threads /= 2;
    const struct wf_groups p = wf_groups_of(w, threads);
    size_t shared = wf_count_shared_bytes(w, threads);
    return p.blocks && w.per_model == wf_per_model && wf_written_out(w, [&](auto type, auto n) {
               auto kernel = WF_KERNEL(_count)<decltype(n)::value, decltype(type)::value>;
               unsigned most = wf_blocks_at_once(kernel, threads, shared);
               unsigned blocks = p.blocks < most ? p.blocks : most;
               LAUNCH(kernel, blocks, threads, shared, stream, w, p);
           });
}

void wf_launch_count_any(const struct wf_work &w, void *stream)
{
    struct wf_grid grid = wf_any_grid(w, w.to - w.from, 1);
    size_t bytes = (size_t)w.streams * w.ranks_n * WF_COUNTS * sizeof(unsigned);
    bool shares = bytes <= wf_shared_most;
    bytes = shares ? bytes : 0;
    LAUNCH_REAL(WF_KERNEL(_count_any), w.wide, grid.blocks, grid.threads, bytes, stream, w, shares);
}
} // namespace

extern "C" int WF_ENTRY(const struct wf_work *work, void *stream)
{
    const struct wf_work w = *work;
    if (w.kind == WF_WORK_COUNT) {
        bool done = w.plain && wf_launch_count(w, stream);
        if (!done)
            wf_launch_count_any(w, stream);
        return 0;
    }
    if (w.kind != WF_WORK_RANK)
        return 1;
    struct wf_grid grid = wf_any_grid(w, w.to - w.from, 1);
    LAUNCH_REAL(WF_KERNEL(_keys_any), w.wide, grid.blocks, grid.threads, 0, stream, w);
    return wf_launch_rank_rows(work, stream);
}
