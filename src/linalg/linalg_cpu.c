/* linalg_cpu.c - the table of linalg.h over OpenBLAS and the LAPACK inside it.
 *
 * The library is opened with dlopen when a command first needs it: the program starts without it,
 * merges do not carry its threads and buffers, and its thread count can be set to one before it
 * starts any. What is called is the Fortran interface, as in every LAPACK: all arguments by
 * address, sizes of 32 bits, and the length of each string (of one letter here) by value at the
 * end.
 */
#include "linalg.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/mem.h"

/* Columns that a QR works on at once. */
#define QR_BLOCK 32

/* ---- the library ------------------------------------------------------------------------------
 */

static struct {
    void (*gemm)(const char *ta, const char *tb, const int *m, const int *n, const int *k,
                 const double *alpha, const double *a, const int *lda, const double *b,
                 const int *ldb, const double *beta, double *c, const int *ldc, size_t l1,
                 size_t l2);
    void (*gemm_f32)(const char *ta, const char *tb, const int *m, const int *n, const int *k,
                     const float *alpha, const float *a, const int *lda, const float *b,
                     const int *ldb, const float *beta, float *c, const int *ldc, size_t l1,
                     size_t l2);
    void (*syrk)(const char *triangle, const char *turned, const int *n, const int *k,
                 const double *alpha, const double *a, const int *lda, const double *beta,
                 double *c, const int *ldc, size_t l1, size_t l2);
    void (*syevd)(const char *job, const char *triangle, const int *n, double *a, const int *lda,
                  double *w, double *work, const int *n_work, int *iwork, const int *n_iwork,
                  int *info, size_t l1, size_t l2);
    void (*gesdd)(const char *job, const int *m, const int *n, double *a, const int *lda, double *s,
                  double *u, const int *ldu, double *vt, const int *ldvt, double *work,
                  const int *n_work, int *iwork, int *info, size_t l1);
    void (*geqrt)(const int *m, const int *n, const int *block, double *a, const int *lda,
                  double *t, const int *ldt, double *work, int *info);
    void (*gemqrt)(const char *side, const char *turned, const int *m, const int *n, const int *k,
                   const int *block, const double *v, const int *ldv, const double *t,
                   const int *ldt, double *c, const int *ldc, double *work, int *info, size_t l1,
                   size_t l2);
    void (*geqrt_f32)(const int *m, const int *n, const int *block, float *a, const int *lda,
                      float *t, const int *ldt, float *work, int *info);
    void (*gemqrt_f32)(const char *side, const char *turned, const int *m, const int *n,
                       const int *k, const int *block, const float *v, const int *ldv,
                       const float *t, const int *ldt, float *c, const int *ldc, float *work,
                       int *info, size_t l1, size_t l2);
    void (*potrf)(const char *triangle, const int *n, double *a, const int *lda, int *info,
                  size_t l1);
    char *(*get_config)(void);
    void (*set_num_threads)(int n);
} blas;

static const struct {
    const char *name;
    void *place; /* of a function pointer in `blas` */
} symbols[] = {
    {"dgemm_", &blas.gemm},
    {"sgemm_", &blas.gemm_f32},
    {"dsyrk_", &blas.syrk},
    {"dsyevd_", &blas.syevd},
    {"dgesdd_", &blas.gesdd},
    {"dgeqrt_", &blas.geqrt},
    {"dgemqrt_", &blas.gemqrt},
    {"sgeqrt_", &blas.geqrt_f32},
    {"sgemqrt_", &blas.gemqrt_f32},
    {"dpotrf_", &blas.potrf},
    {"openblas_get_config", &blas.get_config},
    {"openblas_set_num_threads", &blas.set_num_threads},
};

/* ---- products ---------------------------------------------------------------------------------
 */

static const char *turn(bool turned)
{
    return turned ? "T" : "N";
}

static int gemm(struct wf_err *e, const struct wf_linalg *la, bool a_turned, bool b_turned, int m,
                int n, int k, double alpha, const double *a, int lda, const double *b, int ldb,
                double beta, double *c, int ldc)
{
    (void)e, (void)la;
    blas.gemm(turn(a_turned), turn(b_turned), &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c, &ldc,
              1, 1);
    return WF_OK;
}

static int gemm_f32(struct wf_err *e, const struct wf_linalg *la, bool a_turned, bool b_turned,
                    int m, int n, int k, float alpha, const float *a, int lda, const float *b,
                    int ldb, float beta, float *c, int ldc)
{
    (void)e, (void)la;
    blas.gemm_f32(turn(a_turned), turn(b_turned), &m, &n, &k, &alpha, a, &lda, b, &ldb, &beta, c,
                  &ldc, 1, 1);
    return WF_OK;
}

static int syrk(struct wf_err *e, const struct wf_linalg *la, bool a_turned, int n, int k,
                double alpha, const double *a, int lda, double beta, double *c, int ldc)
{
    (void)e, (void)la;
    blas.syrk("L", turn(a_turned), &n, &k, &alpha, a, &lda, &beta, c, &ldc, 1, 1);
    for (int j = 0; j < n; j++)
        for (int i = j + 1; i < n; i++)
            c[j + (size_t)i * (size_t)ldc] = c[i + (size_t)j * (size_t)ldc];
    return WF_OK;
}

/* ---- factorisations ---------------------------------------------------------------------------
 */

/* LAPACK's info: below zero an argument of ours is wrong, above zero it did not converge. */
static int check(struct wf_err *e, const char *what, int info)
{
    if (info == 0)
        return WF_OK;
    return wf_fail(e, WF_BUG, "internal: %s: LAPACK reports %d", what, info);
}

/* What LAPACK asks for in a double must fit into its own integers. */
static int check_room(struct wf_err *e, const char *what, double size)
{
    if (size <= (double)WF_LINALG_SIZE_MAX)
        return WF_OK;
    return wf_fail(e, WF_MACHINE, "%s: the matrix is too large for LAPACK with 32-bit integers",
                   what);
}

static int eigh(struct wf_err *e, const struct wf_linalg *la, int n, double *a, int lda, double *w)
{
    double size;
    (void)la;
    int info = 0, int_size, ask = -1;
    blas.syevd("V", "L", &n, a, &lda, w, &size, &ask, &int_size, &ask, &info, 1, 1);
    int s = check(e, "eigh", info);
    if (!s)
        s = check_room(e, "eigh", size);
    if (s)
        return s;
    int n_work = (int)size, n_iwork = int_size;
    double *work = wf_alloc(e, WF_MEM_RING, (size_t)n_work, sizeof *work, "eigenvalues");
    int *iwork = wf_alloc(e, WF_MEM_RING, (size_t)n_iwork, sizeof *iwork, "eigenvalues");
    if (!work || !iwork) {
        s = WF_MACHINE;
    } else {
        blas.syevd("V", "L", &n, a, &lda, w, work, &n_work, iwork, &n_iwork, &info, 1, 1);
        s = check(e, "eigh", info);
    }
    wf_free(iwork);
    wf_free(work);
    return s;
}

static int svd(struct wf_err *e, const struct wf_linalg *la, int m, int n, double *a, int lda,
               double *s, double *u, int ldu, double *vt, int ldvt)
{
    double size;
    (void)la;
    int info = 0, ask = -1, least = m < n ? m : n;
    blas.gesdd("S", &m, &n, a, &lda, s, u, &ldu, vt, &ldvt, &size, &ask, NULL, &info, 1);
    int status = check(e, "svd", info);
    if (!status)
        status = check_room(e, "svd", size);
    if (status)
        return status;
    int n_work = (int)size;
    double *work = wf_alloc(e, WF_MEM_RING, (size_t)n_work, sizeof *work, "singular values");
    int *iwork = wf_alloc(e, WF_MEM_RING, 8 * (size_t)least, sizeof *iwork, "singular values");
    if (!work || !iwork) {
        status = WF_MACHINE;
    } else {
        blas.gesdd("S", &m, &n, a, &lda, s, u, &ldu, vt, &ldvt, work, &n_work, iwork, &info, 1);
        status = check(e, "svd", info);
    }
    wf_free(iwork);
    wf_free(work);
    return status;
}

/* Thin QR in compact WY form: blocks of columns, so that the work is products of matrices; then Q
 * by applying the reflections to the first n columns of the identity. `r` may be NULL. */
#define DEFINE_QR(name, real, geqrt_, gemqrt_)                                                     \
    static int name(struct wf_err *e, const struct wf_linalg *la, int m, int n, real *a, int lda,  \
                    real *r, int ldr)                                                              \
    {                                                                                              \
        (void)la;                                                                                  \
                                                                                                   \
        int block = n < QR_BLOCK ? n : QR_BLOCK, info = 0;                                         \
        size_t rows = (size_t)m, columns = (size_t)n;                                              \
        real *t = wf_alloc(e, WF_MEM_RING, (size_t)block * columns, sizeof *t, "a QR");            \
        real *work = wf_alloc(e, WF_MEM_RING, (size_t)block * columns, sizeof *work, "a QR");      \
        real *q = wf_alloc(e, WF_MEM_RING, rows * columns, sizeof *q, "a QR");                     \
        int s = t && work && q ? WF_OK : WF_MACHINE;                                               \
        if (!s) {                                                                                  \
            blas.geqrt_(&m, &n, &block, a, &lda, t, &block, work, &info);                          \
            s = check(e, "qr", info);                                                              \
        }                                                                                          \
        for (size_t j = 0; !s && j < columns; j++) {                                               \
            q[j + j * rows] = 1;                                                                   \
            for (size_t i = 0; r && i < columns; i++)                                              \
                r[i + j * (size_t)ldr] = i <= j ? a[i + j * (size_t)lda] : 0;                      \
        }                                                                                          \
        if (!s) {                                                                                  \
            blas.gemqrt_("L", "N", &m, &n, &n, &block, a, &lda, t, &block, q, &m, work, &info, 1,  \
                         1);                                                                       \
            s = check(e, "qr", info);                                                              \
        }                                                                                          \
        for (size_t j = 0; !s && j < columns; j++)                                                 \
            memcpy(a + j * (size_t)lda, q + j * rows, rows * sizeof *q);                           \
        wf_free(q);                                                                                \
        wf_free(work);                                                                             \
        wf_free(t);                                                                                \
        return s;                                                                                  \
    }

DEFINE_QR(qr, double, geqrt, gemqrt)
DEFINE_QR(qr_and_r_f32, float, geqrt_f32, gemqrt_f32)

static int qr_f32(struct wf_err *e, const struct wf_linalg *la, int m, int n, float *a, int lda)
{
    return qr_and_r_f32(e, la, m, n, a, lda, NULL, 0);
}

static int cholesky(struct wf_err *e, const struct wf_linalg *la, int n, double *a, int lda)
{
    int info = 0;
    (void)la;
    blas.potrf("L", &n, a, &lda, &info, 1);
    if (info > 0)
        return WF_NO;
    for (int j = 0; j < n; j++)
        for (int i = 0; i < j; i++)
            a[i + (size_t)j * (size_t)lda] = 0;
    return check(e, "cholesky", info);
}

/* ---- devices: this is none --------------------------------------------------------------------
 */

static int hold(struct wf_err *e, const struct wf_linalg *la, const void *operand, uint64_t bytes)
{
    (void)e, (void)la, (void)operand, (void)bytes;
    return WF_OK;
}

static void let_go(const struct wf_linalg *la)
{
    (void)la;
}

static int room(struct wf_err *e, const struct wf_linalg *la, const struct wf_linalg_shape *shape,
                uint64_t *bytes)
{
    (void)e, (void)la, (void)shape;
    *bytes = 0;
    return WF_OK;
}

/* ---- opening ----------------------------------------------------------------------------------
 */

static struct wf_linalg table = {
    .gemm = gemm,
    .gemm_f32 = gemm_f32,
    .syrk = syrk,
    .eigh = eigh,
    .svd = svd,
    .qr = qr,
    .qr_f32 = qr_f32,
    .cholesky = cholesky,
    .hold = hold,
    .let_go = let_go,
    .room = room,
};
static char trouble[256]; /* why there is no table; "" if there is */

static void open_library(void)
{
    /* Threads of its own would be started while it is loaded. */
    setenv("OPENBLAS_NUM_THREADS", "1", 1);
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library)
        library = dlopen("libopenblas.so", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(trouble, sizeof trouble, "OpenBLAS is not installed");
        return;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *found = dlsym(library, symbols[i].name);
        if (!found) {
            snprintf(trouble, sizeof trouble, "OpenBLAS here has no %s", symbols[i].name);
            return;
        }
        memcpy(symbols[i].place, &found, sizeof found);
    }
    blas.set_num_threads(1);
    snprintf(table.name, sizeof table.name, "%s", blas.get_config());
    table.name[strcspn(table.name, "\n")] = 0;
}

int wf_linalg_cpu(struct wf_err *e, const struct wf_linalg **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_library);
    if (*trouble)
        return wf_fail(e, WF_MACHINE,
                       "%s: singular values are its work; install libopenblas0 (Debian, Ubuntu) or "
                       "openblas",
                       trouble);
    *out = &table;
    return WF_OK;
}
