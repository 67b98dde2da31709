/* dense_work.h - one call of dense linear algebra, as a device gets it. C11 and C++.
 *
 * Matrices are column-major and lie in the host's memory before and after; element (i, j) is at
 * p[i + j * ld]. What is written is the whole rectangle named here, and nothing between columns;
 * of a factorisation that reports a number in `info`, nothing.
 *
 *   kind       reads                             writes
 *   GEMM       a, b; c unless beta is 0          c = alpha op(a) op(b) + beta c, m x n
 *   SYRK       a; c's lower triangle likewise    c = alpha op(a) op(a)' + beta c: lower triangle
 *                                                alone counts, n x n
 *   EIGH       a's lower triangle, n x n         a: vectors in columns; values[n] ascending
 *   SVD        a, m x n                          values[least], b: U m x least, c: V' least x n
 *   QR         a, m x n, m >= n                  a: Q; c: R in its upper triangle, n x n; NULL: not
 *   CHOLESKY   a's lower triangle, n x n         a: L in its lower triangle
 */
#ifndef WF_DENSE_WORK_H
#define WF_DENSE_WORK_H

#include <stddef.h>
#include <stdint.h>

enum wf_dense_kind {
    WF_DENSE_GEMM,
    WF_DENSE_SYRK,
    WF_DENSE_EIGH,
    WF_DENSE_SVD,
    WF_DENSE_QR,
    WF_DENSE_CHOLESKY,
};

struct wf_dense_matrix {
    void *p;
    int32_t ld;
};

struct wf_dense {
    uint8_t kind;
    uint8_t wide;               /* of double; else of float: GEMM and QR */
    uint8_t a_turned, b_turned; /* op(x) = x' */
    uint8_t a_held, b_held;     /* the operand is the one that is held */
    int32_t m, n, k;            /* op(a) is m x k and op(b) k x n; SYRK: op(a) is n x k */
    double alpha, beta;
    struct wf_dense_matrix a, b, c;
    void *values;
    int32_t info; /* out: 0, or LAPACK's: above 0 EIGH, SVD: no convergence, CHOLESKY: not positive
                   * definite; below 0: a wrong argument */
};

#endif
