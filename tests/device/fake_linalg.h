/* fake_linalg.h - what the parts of the fake plugin that stand in for NVIDIA's libraries share. C11
 * and C++.
 */
#ifndef WF_FAKE_LINALG_H
#define WF_FAKE_LINALG_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* [p, p + bytes) must be memory of the calling thread's device; the end of the program if not. */
void fake_check_memory(const void *p, uint64_t bytes, const char *what);
/* A mistake of kernels/linalg_cuda.cu: the end of the program. */
void fake_mistake(const char *what);

/* Whether WEFT_FAKE_FAIL says that this call of that function fails. */
int fake_fails(const char *call);

/* 0, or why the processor has no linear algebra here. */
int fake_dense_open(char text[256]);

#ifdef __cplusplus
}
#endif

#endif
