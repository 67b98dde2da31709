/* gpu.h - the one header of a device that kernels include: CUDA under nvcc, else the emulator of
 * tests/emu. What is written in frame_*.cu and frame_*.cuh is what both understand.
 */
#ifndef WF_GPU_H
#define WF_GPU_H

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                     \
    (kernel)<<<(grid), (block), (shared_bytes), (cudaStream_t)(stream)>>>(__VA_ARGS__)
/* Dynamic shared memory, 16-byte aligned. */
#define DYN_SMEM(name)                                                                             \
    extern __shared__ uint4 wf_dynamic_shared[];                                                   \
    unsigned char *name = reinterpret_cast<unsigned char *>(wf_dynamic_shared)
#else
#include "emu.h"
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                     \
    ((void)(stream), emu::launch((grid), (block), (shared_bytes), [&] { (kernel)(__VA_ARGS__); }))
#define DYN_SMEM(name) unsigned char *name = static_cast<unsigned char *>(emu::dynamic_shared())
#endif

/* The instance of a kernel for the arithmetic at hand. */
#define LAUNCH_REAL(kernel, wide, ...)                                                             \
    do {                                                                                           \
        if (wide)                                                                                  \
            LAUNCH(kernel<double>, __VA_ARGS__);                                                   \
        else                                                                                       \
            LAUNCH(kernel<float>, __VA_ARGS__);                                                    \
    } while (0)

/* Blocks of a kernel that a device runs at once: its threads go on to further things. A failure is
 * seen by whoever looks at the launch. */
#ifdef __CUDACC__
template <class Kernel>
inline unsigned wf_blocks_at_once(Kernel kernel, unsigned threads, size_t shared_bytes)
{
    int device = 0, processors = 0, each = 0;
    cudaGetDevice(&device);
    cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device);
    cudaOccupancyMaxActiveBlocksPerMultiprocessor(&each, kernel, (int)threads, shared_bytes);
    return processors > 0 && each > 0 ? (unsigned)(processors * each) : 1;
}
#else
template <class Kernel> inline unsigned wf_blocks_at_once(Kernel, unsigned, size_t)
{
    return 2; /* so that they do go on */
}
#endif

/* Before a loop. */
#ifdef __CUDACC__
#define WF_UNROLL _Pragma("unroll")
#define WF_ROLLED _Pragma("unroll 1")
#else
#define WF_UNROLL
#define WF_ROLLED
#endif

/* Threads of a block; fewer where the emulator makes a thread of the system of each. */
#ifndef WF_KERNEL_BLOCK
#define WF_KERNEL_BLOCK 256
#endif

/* Numbers of inputs that kernels are written out for. Builds with sanitizers, which take long to
 * compile, have fewer; the others go the general way, with the same result. */
#ifndef WF_KERNEL_UNROLLED
#define WF_KERNEL_UNROLLED 8
#endif
/* The same for types other than bf16, which most models are stored in: a third of the time that the
 * plugin takes to build would go into kernels for seven or eight of them. */
#ifndef WF_KERNEL_UNROLLED_RARE
#define WF_KERNEL_UNROLLED_RARE 6
#endif

#endif
