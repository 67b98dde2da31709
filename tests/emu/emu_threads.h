/* emu_threads.h - the emulator's engine for the thread sanitizer: one thread of the system for each
 * of a block, blocks one after the other. A missing barrier is a data race that the sanitizer sees.
 *
 * One launch at a time.
 */
#ifndef EMU_THREADS_H
#define EMU_THREADS_H

#include <memory>
#include <thread>
#include <vector>
#include <pthread.h>

#define __shared__ static

namespace emu
{
struct barrier {
    pthread_barrier_t b;

    explicit barrier(unsigned n)
    {
        if (pthread_barrier_init(&b, nullptr, n))
            std::abort();
    }
    barrier(const barrier &) = delete;
    barrier &operator=(const barrier &) = delete;
    ~barrier()
    {
        pthread_barrier_destroy(&b);
    }
    void wait()
    {
        pthread_barrier_wait(&b);
    }
};

struct thread_warp {
    barrier all;
    unsigned lanes;
    uint64_t slots[warp_size];

    explicit thread_warp(unsigned n) : all(n), lanes(n), slots()
    {
    }
};

struct thread_block : place {
    barrier all;
    std::vector<std::unique_ptr<thread_warp>> warps;
    std::unique_ptr<uint4[]> shared;

    thread_block(dim3 g, dim3 b, unsigned n, size_t bytes)
        : all(n), shared(new uint4[bytes / 16 + 1])
    {
        grid = g;
        block = b;
        for (unsigned i = 0; i < n; i += warp_size)
            warps.emplace_back(new thread_warp(n - i < warp_size ? n - i : warp_size));
    }
};

inline thread_local thread_block *block_now;
inline thread_local thread thread_now;

inline const thread &self()
{
    return thread_now;
}

inline const place &here()
{
    return *block_now;
}

inline thread_warp &warp()
{
    return *block_now->warps[thread_now.warp];
}

inline uint64_t *warp_slots()
{
    return warp().slots;
}

inline unsigned warp_lanes()
{
    return warp().lanes;
}

inline void *dynamic_shared()
{
    return block_now->shared.get();
}

inline void sync_block()
{
    block_now->all.wait();
}

inline void sync_warp()
{
    warp().all.wait();
}

template <class Body> void launch(dim3 grid, dim3 block, size_t shared_bytes, Body body)
{
    check_launch(grid, block);
    unsigned n = block.x * block.y * block.z;
    uint64_t blocks = (uint64_t)grid.x * grid.y * grid.z;
    thread_block b(grid, block, n, shared_bytes);
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < n; i++)
        threads.emplace_back([&, i] {
            block_now = &b;
            thread_now = thread_of(i, block);
            for (uint64_t k = 0; k < blocks; k++) {
                b.all.wait();
                if (!i) {
                    b.bid = block_of(k, grid);
                    std::memset(static_cast<void *>(b.shared.get()), 0xa5, shared_bytes);
                }
                b.all.wait();
                body();
            }
        });
    for (std::thread &t : threads)
        t.join();
}
} // namespace emu

#endif
