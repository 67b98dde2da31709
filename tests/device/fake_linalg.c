/* fake_linalg.c - dense linear algebra of the fake plugin: the processor's own, behind the contract
 * of kernels/dense_work.h. What that leaves open is spoilt with NaN.
 */
#include "fake_linalg.h"

#include <math.h>
#include <string.h>

#include "../../src/linalg/linalg.h"

static uint64_t matrix_bytes(const struct wf_dense *w, int rows, int columns)
{
    return (uint64_t)rows * (uint64_t)columns * (w->wide ? sizeof(double) : sizeof(float));
}

uint64_t fake_dense_bytes(const struct wf_dense *w)
{
    int m = w->m, n = w->n, k = w->k, least = m < n ? m : n;
    switch (w->kind) {
    case WF_DENSE_GEMM:
        return matrix_bytes(w, m, n) + (w->a_held ? 0 : matrix_bytes(w, m, k)) +
               (w->b_held ? 0 : matrix_bytes(w, k, n));
    case WF_DENSE_SYRK:
        return matrix_bytes(w, n, n) + (w->a_held ? 0 : matrix_bytes(w, n, k));
    case WF_DENSE_SVD:
        return matrix_bytes(w, m, n) + matrix_bytes(w, m, least) + matrix_bytes(w, least, n + 1);
    case WF_DENSE_QR:
        return matrix_bytes(w, m + 1, n);
    default:
        return matrix_bytes(w, n + 1, n);
    }
}

/* One triangle, without the diagonal. */
static void spoil(const struct wf_dense_matrix *m, int n, bool upper)
{
    for (int j = 0; j < n; j++)
        for (int i = upper ? 0 : j + 1; i < (upper ? j : n); i++)
            ((double *)m->p)[i + (size_t)j * (size_t)m->ld] = NAN;
}

static int product(struct wf_err *e, const struct wf_linalg *la, struct wf_dense *w)
{
    if (w->wide)
        return la->gemm(e, la, w->a_turned, w->b_turned, w->m, w->n, w->k, w->alpha, w->a.p,
                        w->a.ld, w->b.p, w->b.ld, w->beta, w->c.p, w->c.ld);
    return la->gemm_f32(e, la, w->a_turned, w->b_turned, w->m, w->n, w->k, (float)w->alpha, w->a.p,
                        w->a.ld, w->b.p, w->b.ld, (float)w->beta, w->c.p, w->c.ld);
}

static int compute(struct wf_err *e, const struct wf_linalg *la, struct wf_dense *w)
{
    int s;
    switch (w->kind) {
    case WF_DENSE_GEMM:
        return product(e, la, w);
    case WF_DENSE_SYRK:
        s = la->syrk(e, la, w->a_turned, w->n, w->k, w->alpha, w->a.p, w->a.ld, w->beta, w->c.p,
                     w->c.ld);
        spoil(&w->c, w->n, true);
        return s;
    case WF_DENSE_EIGH:
        return la->eigh(e, la, w->n, w->a.p, w->a.ld, w->values);
    case WF_DENSE_SVD:
        return la->svd(e, la, w->m, w->n, w->a.p, w->a.ld, w->values, w->b.p, w->b.ld, w->c.p,
                       w->c.ld);
    case WF_DENSE_QR:
        if (!w->wide)
            return la->qr_f32(e, la, w->m, w->n, w->a.p, w->a.ld);
        s = la->qr(e, la, w->m, w->n, w->a.p, w->a.ld, w->c.p, w->c.ld);
        spoil(&w->c, w->n, false);
        return s;
    case WF_DENSE_CHOLESKY:
        s = la->cholesky(e, la, w->n, w->a.p, w->a.ld);
        w->info = s == WF_NO;
        spoil(&w->a, w->n, true);
        return s == WF_NO ? WF_OK : s;
    default:
        return wf_fail(e, WF_BUG, "an unknown call");
    }
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

int fake_dense_run(struct wf_dense *w, char text[256])
{
    struct wf_err e = {0};
    const struct wf_linalg *la;
    int s = wf_linalg_cpu(&e, &la);
    if (!s)
        s = compute(&e, la, w);
    if (s)
        snprintf(text, 256, "%.250s", e.text);
    return s;
}
