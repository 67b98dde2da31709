/* fake_cuda.cpp - stand-ins for the CUDA runtime that kernels/linalg_cuda.cu is compiled against
 * (tests/emu/cuda), over the fake plugin's memory. Everything is done at once: what may be read
 * before a stream was waited for is not found out here.
 */
#include <cstring>

#include "../../kernels/linalg_cuda.h"
#include "../emu/cuda/cuda_runtime.h"
#include "fake_cuda.h"
#include "fake_linalg.h"

struct CUstream_st {
    int device;
};
struct CUevent_st {
    bool recorded;
};

static thread_local int current = -1;

extern "C" void fake_check_memory(const void *p, uint64_t bytes, const char *what)
{
    fake_check_range(uint32_t(current), p, bytes, what);
}

extern "C" void fake_mistake(const char *what)
{
    fake_check_range(uint32_t(current), nullptr, 0, what);
}

extern "C" {
cudaError_t cudaSetDevice(int device)
{
    current = device;
    return cudaSuccess;
}

cudaError_t cudaGetLastError(void)
{
    return cudaSuccess;
}

const char *cudaGetErrorString(cudaError_t code)
{
    return code == cudaErrorMemoryAllocation ? "out of memory" : "the stand-in failed";
}

cudaError_t cudaFree(void *p)
{
    fake_free(uint32_t(current), p);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *out, unsigned)
{
    *out = new CUstream_st{current};
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *out, unsigned)
{
    *out = new CUevent_st{false};
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
    event->recorded = true;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    return event->recorded ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    delete event;
    return cudaSuccess;
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind, cudaStream_t stream)
{
    bool in = kind == cudaMemcpyHostToDevice;
    size_t pitch = in ? to_pitch : from_pitch;
    if (fake_fails("cudaMemcpyAsync"))
        return cudaErrorInvalidValue;
    if (stream->device != current || to_pitch < width || from_pitch < width || !width || !height)
        return cudaErrorInvalidValue;
    fake_check_memory(in ? to : from, (height - 1) * pitch + width, "a copy");
    for (size_t i = 0; i < height; i++)
        std::memcpy(static_cast<char *>(to) + i * to_pitch,
                    static_cast<const char *>(from) + i * from_pitch, width);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t stream)
{
    if (stream->device != current)
        return cudaErrorInvalidValue;
    fake_check_memory(p, bytes, "cudaMemsetAsync");
    std::memset(p, value, bytes);
    return cudaSuccess;
}
}

cudaError_t wf_emu_malloc(void **out, size_t bytes)
{
    if (fake_fails("cudaMalloc"))
        return cudaErrorMemoryAllocation;
    return fake_allocate_bytes(uint32_t(current), bytes, out) ? cudaErrorMemoryAllocation
                                                              : cudaSuccess;
}
