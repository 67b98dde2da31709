/* check.cuh - every call of the CUDA runtime is checked: what failed is kept with its text and
 * place, and a device that is lost stays lost.
 *
 * Launches run while the caller goes on, so a kernel's failure comes out at a later call; the text
 * names that call, and the error says that a kernel did it ("an illegal memory access was ...").
 * After such an error every call on the device fails in the same way. The first text is the one
 * that helps: it is kept for the device, and all later calls there repeat it.
 */
#ifndef WF_CHECK_CUH
#define WF_CHECK_CUH

#include <atomic>
#include <cstdio>

#include <cuda_runtime.h>

#include "plugin.h"

#define WF_CUDA_DEVICES_MAX 64

/* True, and *e filled, where the call fails. `device` is the one that it concerns; -1: none. */
#define WF_FAILS(e, device, call) wf_cuda_fails((e), (device), (call), #call, __FILE__, __LINE__)

/* The end of a device: written once, by whoever sees it first. */
struct wf_cuda_fate {
    std::atomic<int> state; /* 0: works, 1: being written, 2: `first` can be read */
    wf_plugin_err first;
};
inline wf_cuda_fate wf_cuda_fates[WF_CUDA_DEVICES_MAX];

/* Errors after which the process can do nothing more on the device (the runtime's documentation of
 * cudaError calls this "an inconsistent state"). */
static inline bool wf_cuda_is_final(cudaError_t code)
{
    switch (code) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorNvlinkUncorrectable:
    case cudaErrorDevicesUnavailable:
    case cudaErrorNoDevice:
    case cudaErrorContextIsDestroyed:
    case cudaErrorContained:
    case cudaErrorUnknown: /* a GPU that fell off the bus */
        return true;
    default:
        return false;
    }
}

static inline bool wf_cuda_fails(wf_plugin_err *e, int device, cudaError_t code, const char *call,
                                 const char *file, int line)
{
    if (code == cudaSuccess)
        return false;
    for (const char *c = file; *c; c++)
        file = *c == '/' ? c + 1 : file;
    e->code = (int)code;
    snprintf(e->text, sizeof e->text, "%s (%s:%d): %s", call, file, line, cudaGetErrorString(code));
    cudaGetLastError(); /* or the next launch would seem to have failed */
    int works = 0;
    if (device >= 0 && wf_cuda_is_final(code) &&
        wf_cuda_fates[device].state.compare_exchange_strong(works, 1)) {
        wf_cuda_fates[device].first = *e;
        wf_cuda_fates[device].state.store(2);
    }
    return true;
}

/* True, and *e filled, where the device was lost before, or is none that can be chosen. Whatever
 * follows on this thread concerns the device. */
static inline bool wf_cuda_enter_fails(wf_plugin_err *e, int device)
{
    if (wf_cuda_fates[device].state.load() == 2) {
        *e = wf_cuda_fates[device].first;
        return true;
    }
    return WF_FAILS(e, device, cudaSetDevice(device));
}

#endif
