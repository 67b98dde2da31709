/* linalg.h - dense linear algebra behind one table: products, factorisations, singular values.
 *
 * Matrices are column-major as in LAPACK: element (i, j) of A lies at a[i + j * lda]. A matrix
 * stored row after row is therefore its own transpose, which callers use instead of copying.
 *
 *   gemm      C = alpha op(A) op(B) + beta C
 *   syrk      C = alpha op(A) op(A)' + beta C, both triangles
 *   eigh      A = V diag(w) V', A symmetric, w ascending
 *   svd       A = U diag(s) V', thin, s descending
 *   qr        A = Q R, thin, rows >= columns; good for any A, of lower rank too
 *   cholesky  A = L L'
 *
 * There is a table for the processor, over OpenBLAS, and one for each queue of a device, over
 * cuBLAS and cuSOLVER (backend/device_linalg.h); linalg_crew.h gives every thread its own. On the
 * processor calls run on the caller's thread alone, so that many jobs may run side by side, at most
 * WF_LINALG_THREADS of them. Results are accurate to a few units of rounding of the largest
 * singular value; their last bits depend on the library and the processor.
 */
#ifndef WF_LINALG_H
#define WF_LINALG_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/status.h"

#define WF_LINALG_THREADS 64u
#define WF_LINALG_SIZE_MAX INT32_MAX /* of rows, columns and leading dimensions */

/* A call, for what it takes of a device. Operands that are held take nothing. */
enum wf_linalg_op {
    WF_LINALG_GEMM,
    WF_LINALG_GEMM_F32,
    WF_LINALG_SYRK,
    WF_LINALG_EIGH,
    WF_LINALG_SVD,
    WF_LINALG_QR,
    WF_LINALG_QR_F32,
    WF_LINALG_CHOLESKY,
};

struct wf_linalg_shape {
    enum wf_linalg_op op;
    int m, n, k; /* as the call names them; 0: it has no such side */
    bool a_held, b_held;
};

/* Functions get the table that they are in; matrices are in the host's memory before and after, for
 * any table. A device that fails is WF_MACHINE. */
struct wf_linalg {
    char name[128];              /* library, version and what it chose for this processor */
    struct wf_linalg_lane *lane; /* of a device's table; NULL: the processor's */
    /* op(A) is m x k, op(B) k x n, C m x n; with beta 0 C need hold no numbers before. */
    int (*gemm)(struct wf_err *e, const struct wf_linalg *la, bool a_turned, bool b_turned, int m,
                int n, int k, double alpha, const double *a, int lda, const double *b, int ldb,
                double beta, double *c, int ldc);
    int (*gemm_f32)(struct wf_err *e, const struct wf_linalg *la, bool a_turned, bool b_turned,
                    int m, int n, int k, float alpha, const float *a, int lda, const float *b,
                    int ldb, float beta, float *c, int ldc);
    /* op(A) is n x k, C n x n. */
    int (*syrk)(struct wf_err *e, const struct wf_linalg *la, bool a_turned, int n, int k,
                double alpha, const double *a, int lda, double beta, double *c, int ldc);
    /* n x n; A becomes V. Reads the lower triangle. */
    int (*eigh)(struct wf_err *e, const struct wf_linalg *la, int n, double *a, int lda, double *w);
    /* m x n with k = min(m, n): s[k], u m x k, vt k x n. A is destroyed. */
    int (*svd)(struct wf_err *e, const struct wf_linalg *la, int m, int n, double *a, int lda,
               double *s, double *u, int ldu, double *vt, int ldvt);
    /* m x n, m >= n: A becomes Q; r is n x n with zeros below the diagonal. */
    int (*qr)(struct wf_err *e, const struct wf_linalg *la, int m, int n, double *a, int lda,
              double *r, int ldr);
    int (*qr_f32)(struct wf_err *e, const struct wf_linalg *la, int m, int n, float *a, int lda);
    /* n x n; A becomes L, zeros above the diagonal. WF_NO, and no error, if A is not positive
     * definite. */
    int (*cholesky)(struct wf_err *e, const struct wf_linalg *la, int n, double *a, int lda);
    /* The `bytes` at `operand` stay as they are until they are let go, however often they are A or
     * B of a product: a device is brought them once. One at a time. */
    int (*hold)(struct wf_err *e, const struct wf_linalg *la, const void *operand, uint64_t bytes);
    void (*let_go)(const struct wf_linalg *la);
    /* Bytes of a device that such a call takes, operands and all; 0 on the processor. */
    int (*room)(struct wf_err *e, const struct wf_linalg *la, const struct wf_linalg_shape *shape,
                uint64_t *bytes);
};

/* The processor's table, from OpenBLAS, which is looked for when this is first called. WF_MACHINE
 * if it is not installed, naming the package. */
int wf_linalg_cpu(struct wf_err *e, const struct wf_linalg **out);

#endif
