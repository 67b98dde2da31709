/* frame_rank.cu - the rank of each key among the keys of its row, in place: as rank_row() of the
 * CPU frame (src/backend/frame_rank.h) says, by another way.
 *
 * A block sorts a row: pairs (key, index) that start in the order that settles ties, by digits of 8
 * bits, lowest first, between the lowest and the highest bit in which keys of the row differ. A
 * warp has a part of the row, and counts of its own:
 *
 *     row       |  warp 0  |  warp 1  | ...
 *     places    digit 0 of warp 0, of warp 1, ...; digit 1 of warp 0, ...
 *
 * so that equal digits keep their order. Pairs lie in shared memory, or in the block's part of the
 * scratch (work_scratch.h).
 */
#include "frame_any.cuh"
#include "frame_rank.cuh"

namespace
{
constexpr unsigned wf_digits = 256, wf_warps_most = WF_KERNEL_BLOCK / 32;

/* What a block shares about its row. */
struct wf_rank_shared {
    unsigned places[wf_warps_most][wf_digits];
    unsigned starts[wf_digits];
    unsigned long long differ; /* bits in which keys differ */
};

template <class Key> struct wf_rank_row {
    uint32_t length;
    Key *keys, *keys_to;
    uint32_t *index, *index_to;
    uint32_t begin, end; /* the warp's part */
    unsigned warp, warps, lane;
};

template <class Key>
__device__ inline struct wf_rank_row<Key> wf_rank_begin(uint32_t length, unsigned char *pairs) {
    struct wf_rank_row<Key> r;
    r.length = length;
    r.keys = (Key *)pairs;
    r.keys_to = r.keys + length;
    r.index = (uint32_t *)(r.keys_to + length);
    r.index_to = r.index + length;
    r.warps = blockDim.x / 32;
    r.warp = threadIdx.x / 32;
    r.lane = threadIdx.x % 32;
    uint64_t part = ((uint64_t)length + r.warps * 32 - 1) / (r.warps * 32) * 32;
    uint64_t begin = r.warp * part, end = begin + part;
    r.begin = (uint32_t)(begin < length ? begin : length);
    r.end = (uint32_t)(end < length ? end : length);
    return r;
}

/* Pairs in the order that settles ties; finds the bits in which keys differ. */
template <class Key>
__device__ inline void wf_rank_load(struct wf_rank_row<Key> *r, const Key *row, uint64_t step,
                                    bool reverse, struct wf_rank_shared *shared)
{
    if (threadIdx.x == 0)
        shared->differ = 0;
    __syncthreads();
    Key first = row[0], differ = 0;
    for (uint32_t k = threadIdx.x; k < r->length; k += blockDim.x) {
        uint32_t e = reverse ? r->length - 1 - k : k;
        Key key = row[e * step];
        r->keys[k] = key;
        r->index[k] = e;
        differ |= key ^ first;
    }
    if (differ)
        atomicOr(&shared->differ, (unsigned long long)differ);
    __syncthreads();
}

/* Counts become places: digits in order, and for each the warps in order. */
__device__ inline void wf_rank_places(struct wf_rank_shared *s, unsigned warps)
{
    constexpr unsigned each = wf_digits / 32;
    for (unsigned d = threadIdx.x; d < wf_digits; d += blockDim.x) {
        unsigned sum = 0;
        for (unsigned w = 0; w < warps; w++) {
            unsigned here = s->places[w][d];
            s->places[w][d] = sum;
            sum += here;
        }
        s->starts[d] = sum;
    }
    __syncthreads();
    if (threadIdx.x < 32) {
        unsigned lane = threadIdx.x, sum = 0;
        for (unsigned k = 0; k < each; k++)
            sum += s->starts[lane * each + k];
        unsigned through = sum; /* of lanes up to this one */
        for (unsigned by = 1; by < 32; by *= 2) {
            unsigned below = __shfl_up_sync(~0u, through, by);
            through += lane >= by ? below : 0;
        }
        unsigned start = through - sum;
        for (unsigned k = 0; k < each; k++) {
            unsigned here = s->starts[lane * each + k];
            s->starts[lane * each + k] = start;
            start += here;
        }
    }
    __syncthreads();
}

/* One digit: pairs go to `_to`, those with equal digits in the order they have. */
template <class Key>
__device__ inline void wf_rank_digit(struct wf_rank_row<Key> *r, unsigned shift,
                                     struct wf_rank_shared *s)
{
    for (unsigned k = threadIdx.x; k < r->warps * wf_digits; k += blockDim.x)
        s->places[k / wf_digits][k % wf_digits] = 0;
    __syncthreads();
    for (uint32_t k = r->begin + r->lane; k < r->end; k += 32)
        atomicAdd(&s->places[r->warp][(unsigned)(r->keys[k] >> shift) % wf_digits], 1u);
    __syncthreads();
    wf_rank_places(s, r->warps);
    for (uint32_t base = r->begin; base < r->end; base += 32) {
        uint32_t k = base + r->lane;
        bool valid = k < r->end;
        Key key = valid ? r->keys[k] : 0;
        unsigned digit = (unsigned)(key >> shift) % wf_digits;
        unsigned same = __match_any_sync(~0u, valid ? digit : wf_digits);
        unsigned before = (unsigned)__popc(same & ((1u << r->lane) - 1));
        unsigned place = s->starts[digit] + s->places[r->warp][digit] + before;
        __syncwarp();
        if (valid && !before)
            s->places[r->warp][digit] += (unsigned)__popc(same);
        __syncwarp();
        if (valid) {
            r->keys_to[place] = key;
            r->index_to[place] = r->index[k];
        }
    }
    __syncthreads();
    Key *keys = r->keys;
    r->keys = r->keys_to;
    r->keys_to = keys;
    uint32_t *index = r->index;
    r->index = r->index_to;
    r->index_to = index;
}

/* The last of the keys that are equal to that at place k. */
template <class Key>
__device__ inline uint32_t wf_rank_last(const struct wf_rank_row<Key> &r, uint32_t k)
{
    Key key = r.keys[k];
    uint32_t low = k, high = r.length; /* keys[low] is equal, keys[high] is not */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (r.keys[middle] == key)
            low = middle;
        else
            high = middle;
    }
    return low;
}

/* Rows are numbered through the slabs of [from, to). */
template <class Real>
__global__ void __launch_bounds__(WF_KERNEL_BLOCK)
    wf_rank_rows(const __grid_constant__ struct wf_work w, uint64_t scratch_each)
{
    typedef typename wf_numbers<Real>::key key;
    __shared__ struct wf_rank_shared shared;
    DYN_SMEM(dynamic);
    uint64_t rows = (w.to - w.from) / w.row_length, step = w.row_stride;
    unsigned char *scratch = (unsigned char *)w.scratch + blockIdx.x * scratch_each;
    unsigned char *pairs = scratch_each ? scratch : dynamic;
    for (uint64_t task = blockIdx.x; task < rows * (w.n - 1); task += gridDim.x) {
        uint64_t number = task % rows;
        Real *row = (Real *)w.ranks + task / rows * w.rank_stride + w.from - w.rank_first +
                    number / step * w.row_length * step + number % step;
        struct wf_rank_row<key> r = wf_rank_begin<key>((uint32_t)w.row_length, pairs);
        wf_rank_load(&r, (const key *)row, step, w.ties == WF_TIES_LOW_IS_HIGH, &shared);
        unsigned long long differ = shared.differ;
        for (unsigned shift = 0; differ; differ >>= 8, shift += 8) {
            unsigned skip = 0;
            while (!(differ >> skip & 1))
                skip++;
            shift += skip;
            differ >>= skip;
            wf_rank_digit(&r, shift, &shared);
        }
        for (uint32_t k = threadIdx.x; k < r.length; k += blockDim.x) {
            uint32_t rank = w.ties == WF_TIES_INCLUSIVE ? wf_rank_last(r, k) : k;
            row[r.index[k] * step] = (Real)rank;
        }
        __syncthreads(); /* shared memory is the next row's */
    }
}
} // namespace

extern "C" int wf_launch_rank_rows(const struct wf_work *work, void *stream)
{
    const struct wf_work w = *work;
    uint64_t each = wf_scratch_row(&w), rows = (w.to - w.from) / w.row_length * (w.n - 1);
    uint64_t fit = each ? w.scratch_bytes / each : 64 * wf_blocks_most;
    uint64_t shared = each ? 0 : wf_scratch_pairs(&w);
    uint64_t threads = wf_scratch_up(w.row_length, 32);
    if (!rows)
        return 0;
    rows = rows < fit ? rows : fit;
    unsigned blocks = (unsigned)(rows < 64 * wf_blocks_most ? rows : 64 * wf_blocks_most);
    unsigned block = threads < WF_KERNEL_BLOCK ? (unsigned)threads : WF_KERNEL_BLOCK;
    LAUNCH_REAL(wf_rank_rows, w.wide, blocks, block, (size_t)shared, stream, w, each);
    return 0;
}
