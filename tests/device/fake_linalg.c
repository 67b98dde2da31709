/* fake_linalg.c - stand-ins for cuBLAS and cuSOLVER (tests/emu/cuda): the processor's table behind
 * their interface, so that kernels/linalg_cuda.cu is run without a GPU.
 *
 * Everything that a call is given must be memory of the device, and workspaces are overwritten:
 * what lies where something else is, is found out. What these libraries leave undefined is spoilt
 * with NaN. Nothing here is as fast, or rounds, as NVIDIA's do.
 */
#include "fake_linalg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../../src/base/mem.h"
#include "../../src/linalg/linalg.h"
#include "../emu/cuda/cusolverDn.h"

#define SPOILT 0xff /* bytes of NaN */

static const struct wf_linalg *table(void)
{
    struct wf_err e = {0};
    const struct wf_linalg *la = NULL;
    (void)wf_linalg_cpu(&e, &la);
    return la;
}

int fake_dense_open(char text[256])
{
    struct wf_err e = {0};
    const struct wf_linalg *la;
    int s = wf_linalg_cpu(&e, &la);
    if (s)
        snprintf(text, 256, "%.250s", e.text);
    return s;
}

static void check_matrix(const void *p, int64_t rows, int64_t columns, int64_t ld, size_t size,
                         const char *what)
{
    if (rows < 1 || columns < 1)
        return;
    if (ld < rows)
        fake_mistake(what);
    fake_check_memory(p, (uint64_t)((columns - 1) * ld + rows) * size, what);
}

static void *scratch(size_t count)
{
    struct wf_err e = {0};
    void *p = wf_alloc(&e, WF_MEM_RING, count, sizeof(double), "a stand-in");
    if (!p)
        fake_mistake(e.text);
    return p;
}

/* ---- cuBLAS -----------------------------------------------------------------------------------
 */

struct cublasContext {
    cudaStream_t stream;
    void *work;
    size_t work_bytes;
    cublasMath_t mode;
};

cublasStatus_t cublasCreate(cublasHandle_t *handle)
{
    *handle = scratch(sizeof **handle);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
    wf_free(handle);
    return CUBLAS_STATUS_SUCCESS;
}

/* NVIDIA's takes the workspace away again. */
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    handle->work = NULL;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void *p, size_t bytes)
{
    fake_check_memory(p, bytes, "cublasSetWorkspace");
    handle->work = p;
    handle->work_bytes = bytes;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    handle->mode = mode;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGetProperty(libraryPropertyType type, int *value)
{
    *value = type == MAJOR_VERSION ? CUBLAS_VER_MAJOR : 0;
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS ? "it is a success" : "the stand-in failed";
}

/* Whether the call fails; if not it has a stream and a workspace, which it may use as it likes, and
 * is told to compute in the type it is for. */
static bool fails(cublasHandle_t handle, const char *what)
{
    if (!handle->stream || !handle->work || handle->mode != CUBLAS_PEDANTIC_MATH)
        fake_mistake(what);
    memset(handle->work, SPOILT, handle->work_bytes);
    return fake_fails(what);
}

static cublasStatus_t blas_status(int status)
{
    return status ? CUBLAS_STATUS_EXECUTION_FAILED : CUBLAS_STATUS_SUCCESS;
}

static void check_product(cublasOperation_t ta, cublasOperation_t tb, int m, int n, int k,
                          const void *a, int lda, const void *b, int ldb, const void *c, int ldc,
                          size_t size)
{
    check_matrix(a, ta ? k : m, ta ? m : k, lda, size, "a product: A");
    check_matrix(b, tb ? n : k, tb ? k : n, ldb, size, "a product: B");
    check_matrix(c, m, n, ldc, size, "a product: C");
}

cublasStatus_t cublasDgemm(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m,
                           int n, int k, const double *alpha, const double *a, int lda,
                           const double *b, int ldb, const double *beta, double *c, int ldc)
{
    struct wf_err e = {0};
    const struct wf_linalg *la = table();
    if (fails(handle, "cublasDgemm"))
        return CUBLAS_STATUS_EXECUTION_FAILED;
    check_product(ta, tb, m, n, k, a, lda, b, ldb, c, ldc, sizeof *c);
    return blas_status(la->gemm(&e, la, ta, tb, m, n, k, *alpha, a, lda, b, ldb, *beta, c, ldc));
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m,
                           int n, int k, const float *alpha, const float *a, int lda,
                           const float *b, int ldb, const float *beta, float *c, int ldc)
{
    struct wf_err e = {0};
    const struct wf_linalg *la = table();
    if (fails(handle, "cublasSgemm"))
        return CUBLAS_STATUS_EXECUTION_FAILED;
    check_product(ta, tb, m, n, k, a, lda, b, ldb, c, ldc, sizeof *c);
    return blas_status(
        la->gemm_f32(&e, la, ta, tb, m, n, k, *alpha, a, lda, b, ldb, *beta, c, ldc));
}

/* The upper triangle is not touched. */
static void keep_lower(const double *from, int n, double *to, int64_t ld)
{
    for (int j = 0; j < n; j++)
        memcpy(to + j + j * ld, from + j + (size_t)j * (size_t)n, (size_t)(n - j) * sizeof *to);
}

cublasStatus_t cublasDsyrk(cublasHandle_t handle, cublasFillMode_t fill, cublasOperation_t turn,
                           int n, int k, const double *alpha, const double *a, int lda,
                           const double *beta, double *c, int ldc)
{
    struct wf_err e = {0};
    const struct wf_linalg *la = table();
    if (fails(handle, "cublasDsyrk"))
        return CUBLAS_STATUS_EXECUTION_FAILED;
    double *whole = scratch((size_t)n * (size_t)n);
    check_matrix(a, turn ? k : n, turn ? n : k, lda, sizeof *a, "cublasDsyrk: A");
    check_matrix(c, n, n, ldc, sizeof *c, "cublasDsyrk: C");
    if (fill != CUBLAS_FILL_MODE_LOWER)
        fake_mistake("cublasDsyrk: the other triangle");
    for (int j = 0; j < n && *beta != 0; j++)
        memcpy(whole + j * n, c + (size_t)j * (size_t)ldc, (size_t)n * sizeof *c);
    int s = la->syrk(&e, la, turn, n, k, *alpha, a, lda, *beta, whole, n);
    keep_lower(whole, n, c, ldc);
    wf_free(whole);
    return blas_status(s);
}

/* What weft asks for: C = alpha A'. */
cublasStatus_t cublasDgeam(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m,
                           int n, const double *alpha, const double *a, int lda, const double *beta,
                           const double *b, int ldb, double *c, int ldc)
{
    if (fails(handle, "cublasDgeam"))
        return CUBLAS_STATUS_EXECUTION_FAILED;
    check_matrix(a, n, m, lda, sizeof *a, "cublasDgeam: A");
    check_matrix(c, m, n, ldc, sizeof *c, "cublasDgeam: C");
    if (ta != CUBLAS_OP_T || tb != CUBLAS_OP_N || *beta != 0 || b != c || ldb != ldc)
        fake_mistake("cublasDgeam: another sum than expected");
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < m; i++)
            c[i + j * ldc] = *alpha * a[j + i * lda];
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- cuSOLVER ---------------------------------------------------------------------------------
 */

/* Between geqrf and orgqr its reflections, or what stands for them here. */
struct cusolverDnContext {
    cudaStream_t stream;
    const void *factored;
    double *q; /* m x n */
};

struct cusolverDnParams {
    int nothing;
};

cusolverStatus_t cusolverGetProperty(libraryPropertyType type, int *value)
{
    *value = type == MAJOR_VERSION ? CUSOLVER_VER_MAJOR : 0;
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t *handle)
{
    *handle = scratch(sizeof **handle);
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnDestroy(cusolverDnHandle_t handle)
{
    wf_free(handle->q);
    wf_free(handle);
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnSetDeterministicMode(cusolverDnHandle_t handle,
                                                cusolverDeterministicMode_t mode)
{
    (void)handle, (void)mode;
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t *params)
{
    *params = scratch(1);
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnDestroyParams(cusolverDnParams_t params)
{
    wf_free(params);
    return CUSOLVER_STATUS_SUCCESS;
}

/* How much work there is, whatever the routine. */
static size_t work_on_device(int64_t m, int64_t n)
{
    return (size_t)(m * 8 + n * 24 + 8);
}

static size_t work_on_host(int64_t n)
{
    return (size_t)(n * 3 + 1);
}

static cusolverStatus_t say_work(int64_t m, int64_t n, size_t *on_device, size_t *on_host)
{
    *on_device = work_on_device(m, n);
    *on_host = work_on_host(n);
    return CUSOLVER_STATUS_SUCCESS;
}

/* A routine's workspaces, which it may use as it likes, and where it says how it went. */
static void use_work(cusolverDnHandle_t handle, int64_t m, int64_t n, void *on_device,
                     size_t device_bytes, void *on_host, size_t host_bytes, int *info)
{
    if (!handle->stream || device_bytes < work_on_device(m, n) || host_bytes < work_on_host(n))
        fake_mistake("cuSOLVER: too little work space");
    fake_check_memory(on_device, device_bytes, "cuSOLVER: work");
    fake_check_memory(info, sizeof *info, "cuSOLVER: info");
    memset(on_device, SPOILT, device_bytes);
    memset(on_host, SPOILT, host_bytes);
}

/* Whether a routine does not converge, which is no error of the call: it is said, and the matrix is
 * spoilt. */
static bool gives_up(const char *call, void *a, size_t rows, int *info)
{
    *info = fake_fails(call) ? 2 : 0;
    if (*info)
        memset(a, SPOILT, rows * sizeof(double));
    return *info;
}

static cusolverStatus_t solver_status(int status)
{
    return status ? CUSOLVER_STATUS_EXECUTION_FAILED : CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                             cusolverEigMode_t mode, cublasFillMode_t fill,
                                             int64_t n, cudaDataType ta, const void *a, int64_t lda,
                                             cudaDataType tw, const void *w, cudaDataType compute,
                                             size_t *on_device, size_t *on_host)
{
    (void)handle, (void)params, (void)mode, (void)fill, (void)ta, (void)a, (void)lda, (void)tw;
    (void)w, (void)compute;
    return say_work(n, n, on_device, on_host);
}

cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                  cusolverEigMode_t mode, cublasFillMode_t fill, int64_t n,
                                  cudaDataType ta, void *a, int64_t lda, cudaDataType tw, void *w,
                                  cudaDataType compute, void *on_device, size_t device_bytes,
                                  void *on_host, size_t host_bytes, int *info)
{
    struct wf_err e = {0};
    const struct wf_linalg *la = table();
    (void)params;
    if (mode != CUSOLVER_EIG_MODE_VECTOR || fill != CUBLAS_FILL_MODE_LOWER || ta != CUDA_R_64F ||
        tw != CUDA_R_64F || compute != CUDA_R_64F)
        fake_mistake("cusolverDnXsyevd: other types than expected");
    use_work(handle, n, n, on_device, device_bytes, on_host, host_bytes, info);
    check_matrix(a, n, n, lda, sizeof(double), "cusolverDnXsyevd: A");
    fake_check_memory(w, (uint64_t)n * sizeof(double), "cusolverDnXsyevd: W");
    if (gives_up("cusolverDnXsyevd", a, (size_t)n, info))
        return CUSOLVER_STATUS_SUCCESS;
    return solver_status(la->eigh(&e, la, (int)n, a, (int)lda, w));
}

cusolverStatus_t cusolverDnXgesvd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                             signed char job_u, signed char job_vt, int64_t m,
                                             int64_t n, cudaDataType ta, const void *a, int64_t lda,
                                             cudaDataType ts, const void *s, cudaDataType tu,
                                             const void *u, int64_t ldu, cudaDataType tvt,
                                             const void *vt, int64_t ldvt, cudaDataType compute,
                                             size_t *on_device, size_t *on_host)
{
    (void)handle, (void)params, (void)job_u, (void)job_vt, (void)ta, (void)a, (void)lda, (void)ts;
    (void)s, (void)tu, (void)u, (void)ldu, (void)tvt, (void)vt, (void)ldvt, (void)compute;
    return say_work(m, n, on_device, on_host);
}

cusolverStatus_t cusolverDnXgesvd(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                  signed char job_u, signed char job_vt, int64_t m, int64_t n,
                                  cudaDataType ta, void *a, int64_t lda, cudaDataType ts, void *s,
                                  cudaDataType tu, void *u, int64_t ldu, cudaDataType tvt, void *vt,
                                  int64_t ldvt, cudaDataType compute, void *on_device,
                                  size_t device_bytes, void *on_host, size_t host_bytes, int *info)
{
    struct wf_err e = {0};
    const struct wf_linalg *la = table();
    (void)params;
    if (ta != CUDA_R_64F || ts != ta || tu != ta || tvt != ta || compute != ta || job_u != 'S' ||
        job_vt != 'S')
        fake_mistake("cusolverDnXgesvd: other types or jobs than expected");
    if (m < n)
        return CUSOLVER_STATUS_INVALID_VALUE; /* as NVIDIA's */
    use_work(handle, m, n, on_device, device_bytes, on_host, host_bytes, info);
    check_matrix(a, m, n, lda, sizeof(double), "cusolverDnXgesvd: A");
    check_matrix(u, m, n, ldu, sizeof(double), "cusolverDnXgesvd: U");
    check_matrix(vt, n, n, ldvt, sizeof(double), "cusolverDnXgesvd: VT");
    fake_check_memory(s, (uint64_t)n * sizeof(double), "cusolverDnXgesvd: S");
    if (gives_up("cusolverDnXgesvd", a, (size_t)m, info))
        return CUSOLVER_STATUS_SUCCESS;
    return solver_status(
        la->svd(&e, la, (int)m, (int)n, a, (int)lda, s, u, (int)ldu, vt, (int)ldvt));
}

cusolverStatus_t cusolverDnXpotrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                             cublasFillMode_t fill, int64_t n, cudaDataType ta,
                                             const void *a, int64_t lda, cudaDataType compute,
                                             size_t *on_device, size_t *on_host)
{
    (void)handle, (void)params, (void)fill, (void)ta, (void)a, (void)lda, (void)compute;
    return say_work(n, n, on_device, on_host);
}

cusolverStatus_t cusolverDnXpotrf(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                  cublasFillMode_t fill, int64_t n, cudaDataType ta, void *a,
                                  int64_t lda, cudaDataType compute, void *on_device,
                                  size_t device_bytes, void *on_host, size_t host_bytes, int *info)
{
    struct wf_err e = {0};
    const struct wf_linalg *la = table();
    double *whole = scratch((size_t)(n * n)), *from = a;
    (void)params;
    if (fill != CUBLAS_FILL_MODE_LOWER || ta != CUDA_R_64F || compute != ta)
        fake_mistake("cusolverDnXpotrf: another triangle or type than expected");
    use_work(handle, n, n, on_device, device_bytes, on_host, host_bytes, info);
    check_matrix(a, n, n, lda, sizeof(double), "cusolverDnXpotrf: A");
    for (int64_t j = 0; j < n; j++)
        memcpy(whole + j * n, from + j * lda, (size_t)n * sizeof *whole);
    int s = la->cholesky(&e, la, (int)n, whole, (int)n);
    keep_lower(whole, (int)n, a, lda);
    wf_free(whole);
    *info = s == WF_NO;
    return solver_status(s == WF_NO ? WF_OK : s);
}

/* ---- cuSOLVER: QR -----------------------------------------------------------------------------
 */

cusolverStatus_t cusolverDnXgeqrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params,
                                             int64_t m, int64_t n, cudaDataType ta, const void *a,
                                             int64_t lda, cudaDataType tt, const void *tau,
                                             cudaDataType compute, size_t *on_device,
                                             size_t *on_host)
{
    (void)handle, (void)params, (void)ta, (void)a, (void)lda, (void)tt, (void)tau, (void)compute;
    return say_work(m, n, on_device, on_host);
}

static double get(const void *a, int64_t i, bool wide)
{
    return wide ? ((const double *)a)[i] : (double)((const float *)a)[i];
}

static void put(void *a, int64_t i, bool wide, double value)
{
    if (wide)
        ((double *)a)[i] = value;
    else
        ((float *)a)[i] = (float)value;
}

/* R above, and below it NaN for the reflections, which are kept as Q in the handle. */
cusolverStatus_t cusolverDnXgeqrf(cusolverDnHandle_t handle, cusolverDnParams_t params, int64_t m,
                                  int64_t n, cudaDataType ta, void *a, int64_t lda, cudaDataType tt,
                                  void *tau, cudaDataType compute, void *on_device,
                                  size_t device_bytes, void *on_host, size_t host_bytes, int *info)
{
    struct wf_err e = {0};
    const struct wf_linalg *la = table();
    bool wide = ta == CUDA_R_64F;
    size_t size = wide ? sizeof(double) : sizeof(float);
    (void)params;
    if (tt != ta || compute != ta || m < n)
        fake_mistake("cusolverDnXgeqrf: other types or a wide matrix");
    if (fake_fails("cusolverDnXgeqrf"))
        return CUSOLVER_STATUS_INTERNAL_ERROR;
    use_work(handle, m, n, on_device, device_bytes, on_host, host_bytes, info);
    check_matrix(a, m, n, lda, size, "cusolverDnXgeqrf: A");
    fake_check_memory(tau, (uint64_t)n * size, "cusolverDnXgeqrf: tau");
    double *r = scratch((size_t)(n * n));
    wf_free(handle->q);
    handle->q = scratch((size_t)(m * n));
    handle->factored = a;
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < m; i++)
            handle->q[i + j * m] = get(a, i + j * lda, wide);
    int s = la->qr(&e, la, (int)m, (int)n, handle->q, (int)m, r, (int)n);
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < m; i++)
            put(a, i + j * lda, wide, i <= j ? r[i + j * n] : NAN);
    memset(tau, SPOILT, (size_t)n * size);
    wf_free(r);
    *info = 0;
    return solver_status(s);
}

cusolverStatus_t cusolverDnDorgqr_bufferSize(cusolverDnHandle_t handle, int m, int n, int k,
                                             const double *a, int lda, const double *tau,
                                             int *elements)
{
    (void)handle, (void)k, (void)a, (void)lda, (void)tau;
    *elements = (m + n) * 4; /* more than geqrf wants */
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnSorgqr_bufferSize(cusolverDnHandle_t handle, int m, int n, int k,
                                             const float *a, int lda, const float *tau,
                                             int *elements)
{
    (void)a, (void)tau;
    return cusolverDnDorgqr_bufferSize(handle, m, n, k, NULL, lda, NULL, elements);
}

static cusolverStatus_t make_q(cusolverDnHandle_t handle, int m, int n, int k, void *a, int lda,
                               const void *tau, void *work, int elements, int *info, bool wide)
{
    size_t size = wide ? sizeof(double) : sizeof(float);
    if (n != k || handle->factored != a || elements < (m + n) * 4)
        fake_mistake("orgqr: not what geqrf left, or too little work space");
    check_matrix(a, m, n, lda, size, "orgqr: A");
    fake_check_memory(tau, (uint64_t)n * size, "orgqr: tau");
    fake_check_memory(work, (uint64_t)elements * size, "orgqr: work");
    fake_check_memory(info, sizeof *info, "orgqr: info");
    memset(work, SPOILT, (size_t)elements * size);
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < m; i++)
            put(a, i + j * lda, wide, handle->q[i + j * m]);
    *info = 0;
    return CUSOLVER_STATUS_SUCCESS;
}

cusolverStatus_t cusolverDnDorgqr(cusolverDnHandle_t handle, int m, int n, int k, double *a,
                                  int lda, const double *tau, double *work, int elements, int *info)
{
    return make_q(handle, m, n, k, a, lda, tau, work, elements, info, true);
}

cusolverStatus_t cusolverDnSorgqr(cusolverDnHandle_t handle, int m, int n, int k, float *a, int lda,
                                  const float *tau, float *work, int elements, int *info)
{
    return make_q(handle, m, n, k, a, lda, tau, work, elements, info, false);
}
