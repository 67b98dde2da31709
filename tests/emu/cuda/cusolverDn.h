/* cusolverDn.h - of cuSOLVER what kernels/linalg_cuda.cu calls; tests/device/fake_linalg.c has the
 * functions. Names, values and meanings are NVIDIA's.
 */
#ifndef WF_EMU_CUSOLVER_H
#define WF_EMU_CUSOLVER_H

#include <stdint.h>

#include "cublas_v2.h"

#define CUSOLVER_VER_MAJOR 12

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    CUSOLVER_STATUS_SUCCESS = 0,
    CUSOLVER_STATUS_NOT_INITIALIZED = 1,
    CUSOLVER_STATUS_ALLOC_FAILED = 2,
    CUSOLVER_STATUS_INVALID_VALUE = 3,
    CUSOLVER_STATUS_ARCH_MISMATCH = 4,
    CUSOLVER_STATUS_EXECUTION_FAILED = 6,
    CUSOLVER_STATUS_INTERNAL_ERROR = 7,
    CUSOLVER_STATUS_NOT_SUPPORTED = 9
} cusolverStatus_t;
typedef enum { CUSOLVER_EIG_MODE_VECTOR = 1 } cusolverEigMode_t;
typedef enum { CUSOLVER_DETERMINISTIC_RESULTS = 1 } cusolverDeterministicMode_t;
typedef struct cusolverDnContext *cusolverDnHandle_t;
typedef struct cusolverDnParams *cusolverDnParams_t;

cusolverStatus_t cusolverGetProperty(libraryPropertyType type, int *value);
cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t *handle);
cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle);
cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream);
cusolverStatus_t cusolverDnSetDeterministicMode(cusolverDnHandle_t handle,
                                                cusolverDeterministicMode_t mode);
cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t *params);
cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t params);

cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                             cusolverEigMode_t mode, cublasFillMode_t fill,
                                             int64_t n, cudaDataType ta, const void *a, int64_t lda,
                                             cudaDataType tw, const void *w, cudaDataType compute,
                                             size_t *on_device, size_t *on_host);
cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                  cusolverEigMode_t mode, cublasFillMode_t fill, int64_t n,
                                  cudaDataType ta, void *a, int64_t lda, cudaDataType tw, void *w,
                                  cudaDataType compute, void *on_device, size_t device_bytes,
                                  void *on_host, size_t host_bytes, int *info);
cusolverStatus_t cusolverDnXgesvd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                             signed char job_u, signed char job_vt, int64_t m,
                                             int64_t n, cudaDataType ta, const void *a, int64_t lda,
                                             cudaDataType ts, const void *s, cudaDataType tu,
                                             const void *u, int64_t ldu, cudaDataType tvt,
                                             const void *vt, int64_t ldvt, cudaDataType compute,
                                             size_t *on_device, size_t *on_host);
cusolverStatus_t cusolverDnXgesvd(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                  signed char job_u, signed char job_vt, int64_t m, int64_t n,
                                  cudaDataType ta, void *a, int64_t lda, cudaDataType ts, void *s,
                                  cudaDataType tu, void *u, int64_t ldu, cudaDataType tvt, void *vt,
                                  int64_t ldvt, cudaDataType compute, void *on_device,
                                  size_t device_bytes, void *on_host, size_t host_bytes, int *info);
cusolverStatus_t cusolverDnXgeqrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                             int64_t m, int64_t n, cudaDataType ta, const void *a,
                                             int64_t lda, cudaDataType tt, const void *tau,
                                             cudaDataType compute, size_t *on_device,
                                             size_t *on_host);
cusolverStatus_t cusolverDnXgeqrf(cusolverDnHandle_t handle, cusolverDnParams_t params, int64_t m,
                                  int64_t n, cudaDataType ta, void *a, int64_t lda, cudaDataType tt,
                                  void *tau, cudaDataType compute, void *on_device,
                                  size_t device_bytes, void *on_host, size_t host_bytes, int *info);
cusolverStatus_t cusolverDnXpotrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                             cublasFillMode_t fill, int64_t n, cudaDataType ta,
                                             const void *a, int64_t lda, cudaDataType compute,
                                             size_t *on_device, size_t *on_host);
cusolverStatus_t cusolverDnXpotrf(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                  cublasFillMode_t fill, int64_t n, cudaDataType ta, void *a,
                                  int64_t lda, cudaDataType compute, void *on_device,
                                  size_t device_bytes, void *on_host, size_t host_bytes, int *info);
cusolverStatus_t cusolverDnDorgqr_bufferSize(cusolverDnHandle_t handle, int m, int n, int k,
                                             const double *a, int lda, const double *tau,
                                             int *elements);
cusolverStatus_t cusolverDnSorgqr_bufferSize(cusolverDnHandle_t handle, int m, int n, int k,
                                             const float *a, int lda, const float *tau,
                                             int *elements);
cusolverStatus_t cusolverDnDorgqr(cusolverDnHandle_t handle, int m, int n, int k, double *a,
                                  int lda, const double *tau, double *work, int elements,
                                  int *info);
cusolverStatus_t cusolverDnSorgqr(cusolverDnHandle_t handle, int m, int n, int k, float *a, int lda,
                                  const float *tau, float *work, int elements, int *info);

#ifdef __cplusplus
}
#endif

#endif
