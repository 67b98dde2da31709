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

#endif
