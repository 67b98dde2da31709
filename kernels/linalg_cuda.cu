/* linalg_cuda.cu - dense linear algebra by cuBLAS and cuSOLVER: the linalg_ entries of plugin.h.
 *
 * The two are opened when somebody first asks (open_library.cuh). A queue has a stream, its
 * handles, and one piece of memory:
 *
 *   | cuBLAS's own | what is held | operands | results | info | cuSOLVER's work |
 *                  |              |<--------------- of the call ------------->|
 *
 * Copies lie on the device without gaps between columns, but for what is held. Results repeat from
 * one run to the next: a handle for each stream with workspace of its own, cuBLAS without atomics
 * (its default), cuSOLVER's deterministic routines (of which nothing says that they are its
 * default). cuBLAS is asked for pedantic arithmetic, so that no variable of the environment makes
 * it compute in TF32 or emulate.
 */
#include <new>

#include "check.cuh"
#include "linalg_cuda.h"
#include "open_library.cuh"

#if __has_include(<cublas_v2.h>) && __has_include(<cusolverDn.h>)

#include <cublas_v2.h>
#include <cusolverDn.h>

#define WF_TEXT_OF(x) #x
#define WF_TEXT(x) WF_TEXT_OF(x)
#define BLAS_FILE "libcublas.so." WF_TEXT(CUBLAS_VER_MAJOR)
#define BLAS_VARIABLE "WEFT_CUBLAS_LIBRARY"
#define SOLVER_FILE "libcusolver.so." WF_TEXT(CUSOLVER_VER_MAJOR)
#define SOLVER_VARIABLE "WEFT_CUSOLVER_LIBRARY"

#define ALIGNMENT ((uint64_t)256)
#define BLAS_OWN_BYTES ((uint64_t)32 << 20) /* what NVIDIA recommends for Hopper */

/* ---- the libraries ---- */

/* Some names are macros for others: both the members and the symbols are what these stand for. */
#define BLAS_LIST(F)                                                                               \
    F(cublasCreate)                                                                                \
    F(cublasDestroy)                                                                               \
    F(cublasSetStream)                                                                             \
    F(cublasSetWorkspace)                                                                          \
    F(cublasSetMathMode)                                                                           \
    F(cublasGetProperty)                                                                           \
    F(cublasGetStatusString)                                                                       \
    F(cublasDgemm)                                                                                 \
    F(cublasSgemm)                                                                                 \
    F(cublasDsyrk)                                                                                 \
    F(cublasDgeam)
#define SOLVER_LIST(F)                                                                             \
    F(cusolverGetProperty)                                                                         \
    F(cusolverDnCreate)                                                                            \
    F(cusolverDnDestroy)                                                                           \
    F(cusolverDnSetStream)                                                                         \
    F(cusolverDnSetDeterministicMode)                                                              \
    F(cusolverDnCreateParams)                                                                      \
    F(cusolverDnDestroyParams)                                                                     \
    F(cusolverDnXsyevd_bufferSize)                                                                 \
    F(cusolverDnXsyevd)                                                                            \
    F(cusolverDnXgesvd_bufferSize)                                                                 \
    F(cusolverDnXgesvd)                                                                            \
    F(cusolverDnXgeqrf_bufferSize)                                                                 \
    F(cusolverDnXgeqrf)                                                                            \
    F(cusolverDnXpotrf_bufferSize)                                                                 \
    F(cusolverDnXpotrf)                                                                            \
    F(cusolverDnDorgqr_bufferSize)                                                                 \
    F(cusolverDnDorgqr)                                                                            \
    F(cusolverDnSorgqr_bufferSize)                                                                 \
    F(cusolverDnSorgqr)

struct dense_library {
#define WF_MEMBER(name) decltype(&::name) name;
    BLAS_LIST(WF_MEMBER)
    SOLVER_LIST(WF_MEMBER)
    char why[WF_WHY_BYTES]; /* "": it can be used */
};

/* cuBLAS first: cuSOLVER wants it, and takes the one that is there. */
static dense_library open_libraries()
{
    dense_library lib = {};
    wf_opened_library blas = wf_open_library(BLAS_FILE, BLAS_VARIABLE, lib.why);
    wf_opened_library solver = wf_open_library(SOLVER_FILE, SOLVER_VARIABLE, lib.why);
#define WF_FIND_BLAS(name) wf_find_symbol(blas, WF_TEXT(name), &lib.name, lib.why);
#define WF_FIND_SOLVER(name) wf_find_symbol(solver, WF_TEXT(name), &lib.name, lib.why);
    BLAS_LIST(WF_FIND_BLAS)
    SOLVER_LIST(WF_FIND_SOLVER)
    return lib;
}

static const dense_library &library()
{
    static const dense_library lib = open_libraries();
    return lib;
}

static int library_fails(wf_plugin_err *e)
{
    return library().why[0] ? wf_refuse(e, "no linear algebra on GPUs: ", library().why) : 0;
}

static const char *text_of(cublasStatus_t code)
{
    return library().cublasGetStatusString(code);
}

static const char *text_of(cusolverStatus_t code)
{
    switch (code) {
    case CUSOLVER_STATUS_NOT_INITIALIZED:
        return "the library is not initialised, or there is no device";
    case CUSOLVER_STATUS_ALLOC_FAILED:
        return "out of memory on the device";
    case CUSOLVER_STATUS_INVALID_VALUE:
        return "an argument is wrong";
    case CUSOLVER_STATUS_ARCH_MISMATCH:
        return "the device is too old";
    case CUSOLVER_STATUS_EXECUTION_FAILED:
        return "the device failed to execute it";
    case CUSOLVER_STATUS_INTERNAL_ERROR:
        return "an error inside cuSOLVER";
    case CUSOLVER_STATUS_NOT_SUPPORTED:
        return "not supported";
    default:
        return "failed";
    }
}

static bool is_memory(cublasStatus_t code)
{
    return code == CUBLAS_STATUS_ALLOC_FAILED;
}

static bool is_memory(cusolverStatus_t code)
{
    return code == CUSOLVER_STATUS_ALLOC_FAILED;
}

/* ---- a queue ---- */

struct wf_plugin_linalg {
    int device;
    cudaStream_t stream;
    cudaEvent_t done;
    cublasHandle_t blas;
    cusolverDnHandle_t solver;
    cusolverDnParams_t params;
    char *memory; /* as drawn above; NULL: not claimed */
    uint64_t bytes;
    char *held; /* in it; NULL: nothing is */
    uint64_t held_bytes;
    char *host; /* cuSOLVER's work on the host; it grows */
    size_t host_bytes;
};

/* Waits until nothing that was put into the queue is under way; true, and *e filled, where the
 * device fails meanwhile. `call`, of that line, is what gave the reason to ask. */
static bool drain_fails(wf_plugin_err *e, const wf_plugin_linalg *l, const char *call, int line)
{
    return wf_cuda_fails(e, l->device, cudaStreamSynchronize(l->stream), call, __FILE__, line);
}

/* Both libraries' codes are 0 for success. Each has a CUDA runtime of its own, whose last error is
 * not seen here; but a device that is lost says so to everybody, and that says more. */
template <typename S>
static bool dense_fails(wf_plugin_err *e, const wf_plugin_linalg *l, S code, const char *call,
                        int line)
{
    if ((int)code == 0)
        return false;
    if (drain_fails(e, l, call, line))
        return true;
    e->code = is_memory(code) ? (int)cudaErrorMemoryAllocation : (int)code;
    snprintf(e->text, sizeof e->text, "%s (linalg_cuda.cu:%d): %s (status %d)", call, line,
             text_of(code), (int)code);
    return true;
}
#define DENSE_FAILS(e, l, name, ...)                                                               \
    dense_fails((e), (l), library().name(__VA_ARGS__), #name, __LINE__)

static void linalg_close(wf_plugin_linalg *l)
{
    wf_plugin_err ignored;
    if (!l)
        return;
    bool lost = wf_cuda_enter_fails(&ignored, l->device) ||
                (l->stream && drain_fails(&ignored, l, "linalg_close", __LINE__));
    if (!lost) { /* else all of it is gone, and the libraries might wait for it */
        if (l->params)
            (void)library().cusolverDnDestroyParams(l->params);
        if (l->solver)
            (void)library().cusolverDnDestroy(l->solver);
        if (l->blas)
            (void)library().cublasDestroy(l->blas);
        if (l->memory)
            (void)WF_FAILS(&ignored, l->device, cudaFree(l->memory));
        if (l->done)
            (void)WF_FAILS(&ignored, l->device, cudaEventDestroy(l->done));
        if (l->stream)
            (void)WF_FAILS(&ignored, l->device, cudaStreamDestroy(l->stream));
    }
    delete[] l->host;
    delete l;
}

/* For a queue that could not be made ready. */
static int unready(wf_plugin_err *e)
{
    if (e->code == (int)cudaErrorMemoryAllocation)
        e->code = WF_PLUGIN_NO_MEMORY;
    return e->code;
}

static int make_handles(wf_plugin_err *e, wf_plugin_linalg *l)
{
    int d = l->device;
    if (wf_cuda_enter_fails(e, d) ||
        WF_FAILS(e, d, cudaStreamCreateWithFlags(&l->stream, cudaStreamNonBlocking)) ||
        WF_FAILS(
            e, d,
            cudaEventCreateWithFlags(&l->done, cudaEventBlockingSync | cudaEventDisableTiming)) ||
        DENSE_FAILS(e, l, cublasCreate, &l->blas) ||
        DENSE_FAILS(e, l, cublasSetStream, l->blas, l->stream) ||
        DENSE_FAILS(e, l, cublasSetMathMode, l->blas, CUBLAS_PEDANTIC_MATH) ||
        DENSE_FAILS(e, l, cusolverDnCreate, &l->solver) ||
        DENSE_FAILS(e, l, cusolverDnSetStream, l->solver, l->stream) ||
        DENSE_FAILS(e, l, cusolverDnSetDeterministicMode, l->solver,
                    CUSOLVER_DETERMINISTIC_RESULTS) ||
        DENSE_FAILS(e, l, cusolverDnCreateParams, &l->params))
        return e->code;
    return 0;
}

static int linalg_open(wf_plugin_err *e, uint32_t device, wf_plugin_linalg **out)
{
    *out = NULL;
    if (library_fails(e))
        return e->code;
    wf_plugin_linalg *l = new (std::nothrow) wf_plugin_linalg();
    if (!l)
        return wf_refuse(e, "a queue for linear algebra: out of memory on the host");
    l->device = (int)device;
    if (make_handles(e, l)) {
        linalg_close(l);
        return unready(e);
    }
    *out = l;
    return 0;
}

static int linalg_claim(wf_plugin_err *e, wf_plugin_linalg *l, uint64_t bytes)
{
    if (l->memory)
        return wf_refuse(e, "memory is claimed twice");
    l->bytes = bytes < BLAS_OWN_BYTES ? BLAS_OWN_BYTES : bytes;
    if (wf_cuda_enter_fails(e, l->device) ||
        WF_FAILS(e, l->device, cudaMalloc(&l->memory, l->bytes)) ||
        DENSE_FAILS(e, l, cublasSetWorkspace, l->blas, l->memory, BLAS_OWN_BYTES))
        return unready(e);
    return 0;
}

static int wait(wf_plugin_err *e, wf_plugin_linalg *l)
{
    int d = l->device;
    if (WF_FAILS(e, d, cudaEventRecord(l->done, l->stream)) ||
        WF_FAILS(e, d, cudaEventSynchronize(l->done)))
        return e->code;
    return 0;
}

/* For a call that failed, with *e filled, after it put something into the queue: once this is back
 * nothing reads or writes the caller's memory any more. */
static int abandoned(const wf_plugin_err *e, const wf_plugin_linalg *l)
{
    wf_plugin_err ignored; /* what failed first says more */
    (void)drain_fails(&ignored, l, "a call that failed", __LINE__);
    return e->code;
}

static uint64_t rounded_up(uint64_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static int linalg_hold(wf_plugin_err *e, wf_plugin_linalg *l, const void *operand, uint64_t bytes)
{
    l->held = NULL;
    l->held_bytes = 0;
    if (!operand)
        return 0;
    if (!l->memory || bytes > l->bytes - BLAS_OWN_BYTES)
        return wf_refuse(e, "what shall be held has no room");
    char *to = l->memory + BLAS_OWN_BYTES;
    if (wf_cuda_enter_fails(e, l->device))
        return e->code;
    if (WF_FAILS(e, l->device,
                 cudaMemcpyAsync(to, operand, bytes, cudaMemcpyHostToDevice, l->stream)) ||
        wait(e, l))
        return abandoned(e, l);
    l->held = to;
    l->held_bytes = rounded_up(bytes);
    return 0;
}

/* ---- a call on the device ---- */

/* A matrix there, and where it is on the host. */
struct device_matrix {
    char *p;
    int rows, columns, ld;
    const wf_dense_matrix *host;
};

struct dense_call {
    wf_plugin_linalg *l;
    wf_dense *w;
    size_t size; /* of an element */
    cudaDataType type;
    int least; /* of m and n */
    device_matrix a, b, c;
    device_matrix turned, left, right; /* SVD of a wide A: A', its U, its V' */
    char *values, *tau, *work;
    int *info;
    size_t work_bytes, host_bytes;
    uint64_t at; /* bytes of the queue's memory that are given away */
};

/* Where the queue has no memory yet these are numbers, not addresses. */
static char *take(dense_call *c, uint64_t bytes)
{
    char *p = c->l->memory ? c->l->memory + c->at : NULL;
    c->at += rounded_up(bytes);
    return p;
}

static device_matrix take_matrix(dense_call *c, int rows, int columns, const wf_dense_matrix *host)
{
    uint64_t bytes = (uint64_t)rows * (uint64_t)columns * c->size;
    return {take(c, bytes), rows, columns, rows, host};
}

/* An operand of a product, which may be there already. */
static device_matrix take_operand(dense_call *c, bool is_turned, bool is_held, int rows,
                                  int columns, const wf_dense_matrix *host)
{
    int r = is_turned ? columns : rows, n = is_turned ? rows : columns;
    if (is_held)
        return {c->l->held, r, n, host->ld, host};
    return take_matrix(c, r, n, host);
}

static cublasOperation_t turn(bool turned)
{
    return turned ? CUBLAS_OP_T : CUBLAS_OP_N;
}

static const cusolverEigMode_t VECTORS = CUSOLVER_EIG_MODE_VECTOR;
static const cublasFillMode_t LOWER = CUBLAS_FILL_MODE_LOWER;
static const signed char THIN = 'S';

/* What cuSOLVER wants for the call, in bytes; of QR the larger of its two parts. */
static int ask_for_work(wf_plugin_err *e, dense_call *c)
{
    wf_plugin_linalg *l = c->l;
    const wf_dense *w = c->w;
    const dense_library &lib = library();
    size_t *device = &c->work_bytes, *host = &c->host_bytes;
    int elements = 0, n = w->n, rows = w->m > w->n ? w->m : w->n;
    cudaDataType t = c->type;
    switch (w->kind) {
    case WF_DENSE_EIGH:
        return dense_fails(e, l,
                           lib.cusolverDnXsyevd_bufferSize(l->solver, l->params, VECTORS, LOWER, n,
                                                           t, NULL, n, t, NULL, t, device, host),
                           "cusolverDnXsyevd_bufferSize", __LINE__);
    case WF_DENSE_CHOLESKY:
        return dense_fails(e, l,
                           lib.cusolverDnXpotrf_bufferSize(l->solver, l->params, LOWER, n, t, NULL,
                                                           n, t, device, host),
                           "cusolverDnXpotrf_bufferSize", __LINE__);
    case WF_DENSE_SVD:
        return dense_fails(e, l,
                           lib.cusolverDnXgesvd_bufferSize(
                               l->solver, l->params, THIN, THIN, rows, c->least, t, NULL, rows, t,
                               NULL, t, NULL, rows, t, NULL, c->least, t, device, host),
                           "cusolverDnXgesvd_bufferSize", __LINE__);
    case WF_DENSE_QR:
        break;
    default:
        return 0;
    }
    if (DENSE_FAILS(e, l, cusolverDnXgeqrf_bufferSize, l->solver, l->params, w->m, n, t, NULL, w->m,
                    t, NULL, t, device, host) ||
        (w->wide ? DENSE_FAILS(e, l, cusolverDnDorgqr_bufferSize, l->solver, w->m, n, n, NULL, w->m,
                               NULL, &elements)
                 : DENSE_FAILS(e, l, cusolverDnSorgqr_bufferSize, l->solver, w->m, n, n, NULL, w->m,
                               NULL, &elements)))
        return e->code;
    if (*device < (size_t)elements * c->size)
        *device = (size_t)elements * c->size;
    return 0;
}

static void place_svd(dense_call *c)
{
    const wf_dense *w = c->w;
    int m = w->m, n = w->n;
    c->a = take_matrix(c, m, n, &w->a);
    c->b = take_matrix(c, m, c->least, &w->b);
    c->c = take_matrix(c, c->least, n, &w->c);
    if (m >= n)
        return;
    c->turned = take_matrix(c, n, m, NULL);
    c->left = take_matrix(c, n, m, NULL);
    c->right = take_matrix(c, m, m, NULL);
}

/* Everything's place; c->at is the end of it all. */
static int place(wf_plugin_err *e, wf_plugin_linalg *l, wf_dense *w, dense_call *c)
{
    *c = {};
    c->l = l;
    c->w = w;
    c->size = w->wide ? sizeof(double) : sizeof(float);
    c->type = w->wide ? CUDA_R_64F : CUDA_R_32F;
    c->least = w->m < w->n ? w->m : w->n;
    c->at = BLAS_OWN_BYTES + l->held_bytes;
    switch (w->kind) {
    case WF_DENSE_GEMM:
        c->a = take_operand(c, w->a_turned, w->a_held, w->m, w->k, &w->a);
        c->b = take_operand(c, w->b_turned, w->b_held, w->k, w->n, &w->b);
        c->c = take_matrix(c, w->m, w->n, &w->c);
        break;
    case WF_DENSE_SYRK:
        c->a = take_operand(c, w->a_turned, w->a_held, w->n, w->k, &w->a);
        c->c = take_matrix(c, w->n, w->n, &w->c);
        break;
    case WF_DENSE_SVD:
        place_svd(c);
        break;
    case WF_DENSE_QR:
        c->a = take_matrix(c, w->m, w->n, &w->a);
        break;
    default:
        c->a = take_matrix(c, w->n, w->n, &w->a);
        break;
    }
    c->values = take(c, (uint64_t)w->n * c->size);
    c->tau = take(c, (uint64_t)w->n * c->size);
    c->info = (int *)take(c, sizeof(int));
    if (ask_for_work(e, c))
        return e->code;
    c->work = take(c, c->work_bytes);
    return 0;
}

static int linalg_bytes(wf_plugin_err *e, wf_plugin_linalg *l, const wf_dense *work,
                        uint64_t *bytes)
{
    dense_call c;
    wf_dense w = *work;
    if (wf_cuda_enter_fails(e, l->device) || place(e, l, &w, &c))
        return e->code;
    *bytes = c.at - l->held_bytes + ALIGNMENT; /* what is held may end anywhere */
    return 0;
}

/* ---- copies ---- */

static bool copy_fails(wf_plugin_err *e, const dense_call *c, const device_matrix *m,
                       cudaMemcpyKind way)
{
    bool in = way == cudaMemcpyHostToDevice;
    size_t width = (size_t)m->rows * c->size, here = (size_t)m->ld * c->size,
           there = (size_t)m->host->ld * c->size;
    if (!m->rows || !m->columns)
        return false;
    if (here == width && there == width)
        return WF_FAILS(e, c->l->device,
                        cudaMemcpyAsync(in ? m->p : m->host->p, in ? m->host->p : m->p,
                                        width * (size_t)m->columns, way, c->l->stream));
    return WF_FAILS(e, c->l->device,
                    cudaMemcpy2DAsync(in ? m->p : m->host->p, in ? here : there,
                                      in ? m->host->p : m->p, in ? there : here, width,
                                      (size_t)m->columns, way, c->l->stream));
}

static bool bring_fails(wf_plugin_err *e, const dense_call *c, const device_matrix *m)
{
    return copy_fails(e, c, m, cudaMemcpyHostToDevice);
}

static bool fetch_fails(wf_plugin_err *e, const dense_call *c, const device_matrix *m)
{
    return copy_fails(e, c, m, cudaMemcpyDeviceToHost);
}

static bool fetch_values_fails(wf_plugin_err *e, const dense_call *c, int n)
{
    return WF_FAILS(e, c->l->device,
                    cudaMemcpyAsync(c->w->values, c->values, (size_t)n * c->size,
                                    cudaMemcpyDeviceToHost, c->l->stream));
}

/* Waits for a routine of cuSOLVER, which says only on the device how it went. */
static bool info_fails(wf_plugin_err *e, const dense_call *c)
{
    return WF_FAILS(e, c->l->device,
                    cudaMemcpyAsync(&c->w->info, c->info, sizeof c->w->info, cudaMemcpyDeviceToHost,
                                    c->l->stream)) ||
           wait(e, c->l);
}

/* ---- products ---- */

static int product(wf_plugin_err *e, dense_call *c)
{
    const wf_dense *w = c->w;
    wf_plugin_linalg *l = c->l;
    float alpha = (float)w->alpha, beta = (float)w->beta;
    if ((!w->a_held && bring_fails(e, c, &c->a)) || (!w->b_held && bring_fails(e, c, &c->b)) ||
        (w->beta != 0 && bring_fails(e, c, &c->c)))
        return e->code;
    bool failed =
        w->wide ? DENSE_FAILS(e, l, cublasDgemm, l->blas, turn(w->a_turned), turn(w->b_turned),
                              w->m, w->n, w->k, &w->alpha, (const double *)c->a.p, c->a.ld,
                              (const double *)c->b.p, c->b.ld, &w->beta, (double *)c->c.p, c->c.ld)
                : DENSE_FAILS(e, l, cublasSgemm, l->blas, turn(w->a_turned), turn(w->b_turned),
                              w->m, w->n, w->k, &alpha, (const float *)c->a.p, c->a.ld,
                              (const float *)c->b.p, c->b.ld, &beta, (float *)c->c.p, c->c.ld);
    if (failed || fetch_fails(e, c, &c->c))
        return e->code;
    return wait(e, l);
}

/* The other triangle is fetched as well, and is not written: it must hold numbers. */
static bool clear_fails(wf_plugin_err *e, const dense_call *c, const device_matrix *m)
{
    return WF_FAILS(
        e, c->l->device,
        cudaMemsetAsync(m->p, 0, (size_t)m->rows * (size_t)m->columns * c->size, c->l->stream));
}

static int square(wf_plugin_err *e, dense_call *c)
{
    const wf_dense *w = c->w;
    wf_plugin_linalg *l = c->l;
    if ((!w->a_held && bring_fails(e, c, &c->a)) || (w->beta != 0 && bring_fails(e, c, &c->c)) ||
        (w->beta == 0 && clear_fails(e, c, &c->c)) ||
        DENSE_FAILS(e, l, cublasDsyrk, l->blas, LOWER, turn(w->a_turned), w->n, w->k, &w->alpha,
                    (const double *)c->a.p, c->a.ld, &w->beta, (double *)c->c.p, c->c.ld) ||
        fetch_fails(e, c, &c->c))
        return e->code;
    return wait(e, l);
}

/* ---- factorisations ---- */

static int eigenvectors(wf_plugin_err *e, dense_call *c)
{
    wf_plugin_linalg *l = c->l;
    int n = c->w->n;
    if (bring_fails(e, c, &c->a) ||
        DENSE_FAILS(e, l, cusolverDnXsyevd, l->solver, l->params, VECTORS, LOWER, n, c->type,
                    c->a.p, c->a.ld, c->type, c->values, c->type, c->work, c->work_bytes, l->host,
                    c->host_bytes, c->info) ||
        info_fails(e, c))
        return e->code;
    if (c->w->info)
        return 0;
    if (fetch_fails(e, c, &c->a) || fetch_values_fails(e, c, n))
        return e->code;
    return wait(e, l);
}

/* to = from' */
static bool turn_fails(wf_plugin_err *e, dense_call *c, const device_matrix *from,
                       const device_matrix *to)
{
    wf_plugin_linalg *l = c->l;
    const double one = 1, zero = 0;
    return DENSE_FAILS(e, l, cublasDgeam, l->blas, CUBLAS_OP_T, CUBLAS_OP_N, to->rows, to->columns,
                       &one, (const double *)from->p, from->ld, &zero, (const double *)to->p,
                       to->ld, (double *)to->p, to->ld);
}

/* cuSOLVER takes tall matrices alone: of a wide one A' = V s U' is found, and both are turned. */
static int singular_values(wf_plugin_err *e, dense_call *c)
{
    wf_plugin_linalg *l = c->l;
    bool wide = c->a.rows < c->a.columns;
    const device_matrix *tall = wide ? &c->turned : &c->a, *left = wide ? &c->left : &c->b,
                        *right = wide ? &c->right : &c->c;
    if (bring_fails(e, c, &c->a) || (wide && turn_fails(e, c, &c->a, tall)) ||
        DENSE_FAILS(e, l, cusolverDnXgesvd, l->solver, l->params, THIN, THIN, tall->rows,
                    tall->columns, c->type, tall->p, tall->ld, c->type, c->values, c->type, left->p,
                    left->ld, c->type, right->p, right->ld, c->type, c->work, c->work_bytes,
                    l->host, c->host_bytes, c->info) ||
        info_fails(e, c))
        return e->code;
    if (c->w->info)
        return 0;
    if ((wide && (turn_fails(e, c, right, &c->b) || turn_fails(e, c, left, &c->c))) ||
        fetch_fails(e, c, &c->b) || fetch_fails(e, c, &c->c) || fetch_values_fails(e, c, c->least))
        return e->code;
    return wait(e, l);
}

/* R lies in what geqrf leaves, and is fetched before the reflections become Q. */
static int orthogonal(wf_plugin_err *e, dense_call *c)
{
    wf_plugin_linalg *l = c->l;
    const wf_dense *w = c->w;
    int m = w->m, n = w->n, elements = (int)(c->work_bytes / c->size);
    device_matrix r = {c->a.p, n, n, c->a.ld, &w->c};
    if (bring_fails(e, c, &c->a) ||
        DENSE_FAILS(e, l, cusolverDnXgeqrf, l->solver, l->params, m, n, c->type, c->a.p, c->a.ld,
                    c->type, c->tau, c->type, c->work, c->work_bytes, l->host, c->host_bytes,
                    c->info) ||
        info_fails(e, c))
        return e->code;
    if (w->info)
        return 0;
    if (w->c.p && fetch_fails(e, c, &r))
        return e->code;
    bool failed =
        w->wide ? DENSE_FAILS(e, l, cusolverDnDorgqr, l->solver, m, n, n, (double *)c->a.p, c->a.ld,
                              (const double *)c->tau, (double *)c->work, elements, c->info)
                : DENSE_FAILS(e, l, cusolverDnSorgqr, l->solver, m, n, n, (float *)c->a.p, c->a.ld,
                              (const float *)c->tau, (float *)c->work, elements, c->info);
    if (failed || info_fails(e, c))
        return e->code;
    if (w->info)
        return 0;
    if (fetch_fails(e, c, &c->a))
        return e->code;
    return wait(e, l);
}

static int triangle(wf_plugin_err *e, dense_call *c)
{
    wf_plugin_linalg *l = c->l;
    if (bring_fails(e, c, &c->a) ||
        DENSE_FAILS(e, l, cusolverDnXpotrf, l->solver, l->params, LOWER, c->w->n, c->type, c->a.p,
                    c->a.ld, c->type, c->work, c->work_bytes, l->host, c->host_bytes, c->info) ||
        info_fails(e, c))
        return e->code;
    if (c->w->info)
        return 0;
    if (fetch_fails(e, c, &c->a))
        return e->code;
    return wait(e, l);
}

static int grow_host(wf_plugin_err *e, wf_plugin_linalg *l, size_t bytes)
{
    if (bytes <= l->host_bytes)
        return 0;
    delete[] l->host;
    l->host = new (std::nothrow) char[bytes];
    l->host_bytes = l->host ? bytes : 0;
    return l->host ? 0 : wf_refuse(e, "cuSOLVER's work: out of memory on the host");
}

static int compute(wf_plugin_err *e, dense_call *c)
{
    switch (c->w->kind) {
    case WF_DENSE_GEMM:
        return product(e, c);
    case WF_DENSE_SYRK:
        return square(e, c);
    case WF_DENSE_EIGH:
        return eigenvectors(e, c);
    case WF_DENSE_SVD:
        return singular_values(e, c);
    case WF_DENSE_QR:
        return orthogonal(e, c);
    case WF_DENSE_CHOLESKY:
        return triangle(e, c);
    default:
        return wf_refuse(e, "an unknown call of linear algebra");
    }
}

static int linalg_run(wf_plugin_err *e, wf_plugin_linalg *l, wf_dense *w)
{
    dense_call c;
    w->info = 0;
    if (wf_cuda_enter_fails(e, l->device) || place(e, l, w, &c))
        return e->code;
    if (!l->memory || c.at > l->bytes)
        return wf_refuse(e, "a call of linear algebra has no room");
    if (((w->a_held || w->b_held) && !l->held))
        return wf_refuse(e, "an operand is not held");
    if (grow_host(e, l, c.host_bytes))
        return e->code;
    return compute(e, &c) ? abandoned(e, l) : 0;
}

static int linalg_library(wf_plugin_err *e, char text[64])
{
    int blas[3] = {}, solver[3] = {};
    if (library_fails(e))
        return e->code;
    for (int i = 0; i < 3; i++) {
        (void)library().cublasGetProperty((libraryPropertyType)(MAJOR_VERSION + i), &blas[i]);
        (void)library().cusolverGetProperty((libraryPropertyType)(MAJOR_VERSION + i), &solver[i]);
    }
    snprintf(text, 64, "cuBLAS %d.%d.%d, cuSOLVER %d.%d.%d", blas[0], blas[1], blas[2], solver[0],
             solver[1], solver[2]);
    return 0;
}

#else /* built without the two headers: each entry says so */

static const char *const WITHOUT =
    "this plugin was built without cuBLAS and cuSOLVER: their headers were not there";

static int linalg_library(wf_plugin_err *e, char *)
{
    return wf_refuse(e, WITHOUT);
}

static int linalg_open(wf_plugin_err *e, uint32_t, wf_plugin_linalg **out)
{
    *out = NULL;
    return wf_refuse(e, WITHOUT);
}

static void linalg_close(wf_plugin_linalg *)
{
}

static int linalg_bytes(wf_plugin_err *e, wf_plugin_linalg *, const wf_dense *, uint64_t *)
{
    return wf_refuse(e, WITHOUT);
}

static int linalg_claim(wf_plugin_err *e, wf_plugin_linalg *, uint64_t)
{
    return wf_refuse(e, WITHOUT);
}

static int linalg_hold(wf_plugin_err *e, wf_plugin_linalg *, const void *, uint64_t)
{
    return wf_refuse(e, WITHOUT);
}

static int linalg_run(wf_plugin_err *e, wf_plugin_linalg *, wf_dense *)
{
    return wf_refuse(e, WITHOUT);
}

#endif

void wf_linalg_fill(wf_plugin *t)
{
    t->linalg_library = linalg_library;
    t->linalg_open = linalg_open;
    t->linalg_close = linalg_close;
    t->linalg_bytes = linalg_bytes;
    t->linalg_claim = linalg_claim;
    t->linalg_hold = linalg_hold;
    t->linalg_run = linalg_run;
}
