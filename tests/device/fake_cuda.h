/* fake_cuda.h - the fake plugin's memory, for what stands in for the CUDA runtime. C++. */
#ifndef WF_FAKE_CUDA_H
#define WF_FAKE_CUDA_H

#include <cstdint>

/* Ends the program unless [p, p + bytes) is memory of the device. */
void fake_check_range(uint32_t device, const void *p, uint64_t bytes, const char *what);
int fake_allocate_bytes(uint32_t device, uint64_t bytes, void **out);
void fake_free(uint32_t device, void *p);

#endif
