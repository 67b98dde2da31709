/* emu.h - CUDA's words for a host compiler: the kernels of kernels/frame_*.cu as plain C++, run and
 * looked at by sanitizers where there is no GPU.
 *
 * Two engines run the threads of a block: fibers (emu_fibers.h; any number of launches at once, one
 * per thread of the system), and threads of the system (emu_threads.h, with -DEMU_THREADS; one
 * launch at a time, slow, for the thread sanitizer). An engine supplies
 *
 *     emu::launch(grid, block, dynamic shared bytes, kernel)
 *     emu::self(), emu::here()           the thread's and the block's coordinates
 *     emu::warp_slots(), warp_lanes()    32 words that the lanes of a warp exchange values in
 *     emu::sync_block(), sync_warp(), emu::dynamic_shared()
 *
 * Collectives of a warp are for whole warps: all 32 lanes, or those that the block has.
 */
#ifndef EMU_H
#define EMU_H

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __grid_constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

struct uint2 {
    unsigned x, y;
} __attribute__((aligned(8)));
struct uint3 {
    unsigned x, y, z;
};
struct uint4 {
    unsigned x, y, z, w;
} __attribute__((aligned(16)));
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c)
    {
    }
};
typedef void *cudaStream_t;

namespace emu
{
constexpr unsigned warp_size = 32, block_most = 1024;

struct thread {
    uint3 tid;
    unsigned lane, warp;
};
struct place {
    dim3 grid, block;
    uint3 bid;
};

inline void check_launch(dim3 grid, dim3 block)
{
    unsigned long threads = (unsigned long)block.x * block.y * block.z;
    if (threads >= 1 && threads <= block_most && grid.x && grid.y && grid.z)
        return;
    std::fprintf(stderr, "emu: a launch of %u,%u,%u blocks of %lu threads\n", grid.x, grid.y,
                 grid.z, threads);
    std::abort();
}

inline thread thread_of(unsigned i, dim3 block)
{
    uint3 tid = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
    return {tid, i % warp_size, i / warp_size};
}

inline uint3 block_of(uint64_t i, dim3 grid)
{
    uint64_t slice = (uint64_t)grid.x * grid.y;
    return {(unsigned)(i % grid.x), (unsigned)(i / grid.x % grid.y), (unsigned)(i / slice)};
}
} // namespace emu

#ifdef EMU_THREADS
#include "emu_threads.h"
#else
#include "emu_fibers.h"
#endif

#define threadIdx (emu::self().tid)
#define blockIdx (emu::here().bid)
#define blockDim (emu::here().block)
#define gridDim (emu::here().grid)

inline void __syncthreads()
{
    emu::sync_block();
}

inline void __syncwarp(unsigned = ~0u)
{
    emu::sync_warp();
}

namespace emu
{
/* Shows every lane's value to `look`, which sees all slots. */
template <class Value, class Look> auto exchange(Value v, Look look)
{
    static_assert(sizeof v <= sizeof(uint64_t), "a lane shows 8 bytes");
    uint64_t bits = 0;
    std::memcpy(&bits, &v, sizeof v);
    uint64_t *slots = warp_slots();
    slots[self().lane] = bits;
    sync_warp();
    auto seen = look(static_cast<const uint64_t *>(slots));
    sync_warp(); /* nobody writes before all have read */
    return seen;
}

template <class Value> Value shuffle(Value v, unsigned from)
{
    return exchange(v, [from](const uint64_t *slots) {
        Value got;
        std::memcpy(&got, &slots[from % warp_size], sizeof got);
        return got;
    });
}
} // namespace emu

template <class Value> Value __shfl_sync(unsigned, Value v, int from)
{
    return emu::shuffle(v, (unsigned)from);
}

template <class Value> Value __shfl_down_sync(unsigned, Value v, unsigned by)
{
    unsigned lane = emu::self().lane, from = lane + by;
    return emu::shuffle(v, from < emu::warp_lanes() ? from : lane);
}

template <class Value> Value __shfl_up_sync(unsigned, Value v, unsigned by)
{
    unsigned lane = emu::self().lane;
    return emu::shuffle(v, lane >= by ? lane - by : lane);
}

/* The lanes that hold `v` too. */
inline unsigned __match_any_sync(unsigned, unsigned v)
{
    return emu::exchange(v, [v](const uint64_t *slots) {
        unsigned same = 0;
        for (unsigned l = 0; l < emu::warp_lanes(); l++)
            same |= (unsigned)(slots[l] == v) << l;
        return same;
    });
}

inline unsigned __ballot_sync(unsigned, int yes)
{
    return emu::exchange((unsigned)(yes != 0), [](const uint64_t *slots) {
        unsigned votes = 0;
        for (unsigned l = 0; l < emu::warp_lanes(); l++)
            votes |= (unsigned)slots[l] << l;
        return votes;
    });
}

inline int __any_sync(unsigned mask, int yes)
{
    return __ballot_sync(mask, yes) != 0;
}

inline unsigned __reduce_add_sync(unsigned, unsigned v)
{
    return emu::exchange(v, [](const uint64_t *slots) {
        unsigned sum = 0;
        for (unsigned l = 0; l < emu::warp_lanes(); l++)
            sum += (unsigned)slots[l];
        return sum;
    });
}

inline int __popc(unsigned v)
{
    return __builtin_popcount(v);
}

inline int __ffs(unsigned v)
{
    return __builtin_ffs((int)v);
}

inline unsigned atomicAdd(unsigned *p, unsigned v)
{
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}

inline unsigned long long atomicAdd(unsigned long long *p, unsigned long long v)
{
    return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}

inline unsigned long long atomicOr(unsigned long long *p, unsigned long long v)
{
    return __atomic_fetch_or(p, v, __ATOMIC_RELAXED);
}

#endif
