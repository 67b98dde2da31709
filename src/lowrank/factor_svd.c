/* factor_svd.c - truncated singular value decompositions of products; see factor_svd.h.
 *
 *   B = Qb Rb,  A' = Qa Ra,  Rb Ra' = U s V'   so   B A = (Qb U) s (Qa V)'
 */
#include "factor_svd.h"

#include <math.h>
#include <string.h>

#include "../base/mem.h"
#include "../base/num.h"
#include "../linalg/linalg_crew.h"

void wf_factors_free(struct wf_factors *f)
{
    wf_free(f->a);
    wf_free(f->b);
    *f = (struct wf_factors){0};
}

uint32_t wf_cut_rank(const struct wf_cut *cut, const double *s, uint32_t n)
{
    double whole = cut->whole, sum = 0;
    uint32_t most = cut->rank && cut->rank < n ? cut->rank : n, k = 0;
    for (uint32_t i = 0; !(cut->whole > 0) && i < n; i++)
        whole += s[i] * s[i];
    if (!(cut->energy > 0) && !(cut->threshold > 0))
        return most;
    for (; k < most; k++) {
        if (sum >= cut->energy * whole && !(s[k] > cut->threshold && cut->threshold > 0))
            break;
        sum += s[k] * s[k];
    }
    return k || !(cut->energy > 0) ? k : 1;
}

/* One factor as a column-major matrix of `rows` x rank, taken apart. A factor with fewer rows than
 * columns is its own R. */
struct half {
    int rows, rank;
    double *x; /* becomes Q, unless the factor is wide */
    double *r; /* k x rank */
    int k;
};

static int take_apart(struct wf_err *e, const struct wf_linalg *la, struct half *h)
{
    h->k = h->rows < h->rank ? h->rows : h->rank;
    h->r = wf_alloc(e, WF_MEM_RING, (size_t)h->k * (size_t)h->rank, sizeof *h->r, "a factor");
    if (!h->r)
        return WF_MACHINE;
    if (h->rows >= h->rank)
        return la->qr(e, la, h->rows, h->rank, h->x, h->rows, h->r, h->k);
    memcpy(h->r, h->x, (size_t)h->k * (size_t)h->rank * sizeof *h->r);
    return WF_OK;
}

/* rows x n: Q times the first n columns of `u` (k x n, leading dimension ldu; turned: its rows). */
static int put_back(struct wf_err *e, const struct wf_linalg *la, const struct half *h, bool turned,
                    int n, const double *u, int ldu, double *to)
{
    if (h->rows >= h->rank)
        return la->gemm(e, la, false, turned, h->rows, n, h->k, 1, h->x, h->rows, u, ldu, 0, to,
                        h->rows);
    for (int j = 0; j < n; j++)
        for (int i = 0; i < h->rows; i++)
            to[i + (size_t)j * (size_t)h->rows] =
                turned ? u[j + (size_t)i * (size_t)ldu] : u[i + (size_t)j * (size_t)ldu];
    return WF_OK;
}

/* Columns of u (outs x n) and v (ins x n), both column-major, scaled by sqrt(s) with the sign that
 * makes the largest entry of u positive; u turned into rows. */
static void balance(struct wf_factors *f, double *u, const double *s)
{
    size_t outs = f->outs, ins = f->ins, n = f->rank;
    for (size_t j = 0; j < n; j++) {
        double *column = u + j * outs, largest = 0;
        for (size_t i = 0; i < outs; i++)
            if (fabs(column[i]) > fabs(largest))
                largest = column[i];
        double scale = largest < 0 ? -sqrt(s[j]) : sqrt(s[j]);
        for (size_t i = 0; i < outs; i++)
            f->b[i * n + j] = scale * column[i];
        for (size_t i = 0; i < ins; i++)
            f->a[j * ins + i] *= scale;
    }
}

static void measure(struct wf_factors *f, const double *s, int n)
{
    for (int i = 0; i < n; i++) {
        f->whole += s[i] * s[i];
        f->kept += (uint32_t)i < f->rank ? s[i] * s[i] : 0;
    }
}

/* The small middle: s (k), u (kb x k), vt (k x ka) of Rb Ra'. */
struct middle {
    int k;
    double *product, *s, *u, *vt;
};

static int decompose(struct wf_err *e, const struct wf_linalg *la, const struct half *b,
                     const struct half *a, struct middle *m)
{
    size_t kb = (size_t)b->k, ka = (size_t)a->k, k = kb < ka ? kb : ka;
    m->k = (int)k;
    m->product = wf_alloc(e, WF_MEM_RING, kb * ka, sizeof *m->product, "a product");
    m->s = wf_alloc(e, WF_MEM_RING, k, sizeof *m->s, "singular values");
    m->u = wf_alloc(e, WF_MEM_RING, kb * k, sizeof *m->u, "singular vectors");
    m->vt = wf_alloc(e, WF_MEM_RING, k * ka, sizeof *m->vt, "singular vectors");
    if (!m->product || !m->s || !m->u || !m->vt)
        return WF_MACHINE;
    int s = la->gemm(e, la, false, true, b->k, a->k, b->rank, 1, b->r, b->k, a->r, a->k, 0,
                     m->product, b->k);
    return s ? s : la->svd(e, la, b->k, a->k, m->product, b->k, m->s, m->u, b->k, m->vt, m->k);
}

static int assemble(struct wf_err *e, const struct wf_linalg *la, const struct half *b,
                    const struct half *a, const struct middle *m, struct wf_factors *out)
{
    size_t outs = out->outs, ins = out->ins, n = out->rank;
    measure(out, m->s, m->k);
    if (!n)
        return WF_OK;
    out->b = wf_alloc(e, WF_MEM_RING, outs * n, sizeof *out->b, "a factor");
    out->a = wf_alloc(e, WF_MEM_RING, ins * n, sizeof *out->a, "a factor");
    double *u = wf_alloc(e, WF_MEM_RING, outs * n, sizeof *u, "a factor");
    int s = out->b && out->a && u ? WF_OK : WF_MACHINE;
    if (!s)
        s = put_back(e, la, b, false, (int)n, m->u, b->k, u);
    if (!s)
        s = put_back(e, la, a, true, (int)n, m->vt, m->k, out->a);
    if (!s)
        balance(out, u, m->s);
    wf_free(u);
    return s;
}

/* b[outs][rank] as a column-major matrix. */
static double *turned(struct wf_err *e, const double *b, size_t outs, size_t rank)
{
    double *t = wf_alloc(e, WF_MEM_RING, outs * rank, sizeof *t, "a factor");
    for (size_t i = 0; t && i < outs; i++)
        for (size_t j = 0; j < rank; j++)
            t[i + j * outs] = b[i * rank + j];
    return t;
}

int wf_product_truncate(struct wf_err *e, const struct wf_linalg *la, uint32_t outs, uint32_t ins,
                        uint32_t rank, double *b, double *a, const struct wf_cut *cut,
                        struct wf_factors *out)
{
    double *columns = turned(e, b, outs, rank);
    struct half hb = {.rows = (int)outs, .rank = (int)rank, .x = columns};
    struct half ha = {.rows = (int)ins, .rank = (int)rank, .x = a};
    struct middle m = {0};
    *out = (struct wf_factors){.outs = outs, .ins = ins};
    int s = columns ? take_apart(e, la, &hb) : WF_MACHINE;
    if (!s)
        s = take_apart(e, la, &ha);
    if (!s)
        s = decompose(e, la, &hb, &ha, &m);
    if (!s) {
        out->rank = wf_cut_rank(cut, m.s, (uint32_t)m.k);
        s = assemble(e, la, &hb, &ha, &m, out);
    }
    if (s)
        wf_factors_free(out);
    wf_free(m.vt);
    wf_free(m.u);
    wf_free(m.s);
    wf_free(m.product);
    wf_free(ha.r);
    wf_free(hb.r);
    wf_free(columns);
    return s;
}

uint64_t wf_product_bytes(uint64_t outs, uint64_t ins, uint64_t rank)
{
    uint64_t sides = outs + ins;
    return sizeof(double) * rank * (3 * sides + outs + 8 * rank);
}

/* Two QRs with their Q, two products, and an SVD of rank x rank. */
double wf_product_work(uint64_t outs, uint64_t ins, uint64_t rank)
{
    double sides = (double)outs + (double)ins, r = (double)rank;
    return 6 * sides * r * r + 25 * r * r * r;
}

/* A side with fewer rows than columns is not taken apart. */
int wf_product_room(struct wf_err *e, const struct wf_linalg *la, uint32_t outs, uint32_t ins,
                    uint32_t rank, uint32_t kept, uint64_t *bytes)
{
    int m = (int)outs, n = (int)ins, r = (int)rank;
    int kb = m < r ? m : r, ka = n < r ? n : r, least = kb < ka ? kb : ka;
    int k = (int)wf_min_u64(kept, (uint64_t)least);
    const struct wf_linalg_shape calls[] = {
        {.op = WF_LINALG_QR, .m = m < r ? r : m, .n = r},
        {.op = WF_LINALG_QR, .m = n < r ? r : n, .n = r},
        {.op = WF_LINALG_GEMM, .m = kb, .n = ka, .k = r},
        {.op = WF_LINALG_SVD, .m = kb, .n = ka},
        {.op = WF_LINALG_GEMM, .m = m, .n = k, .k = kb},
        {.op = WF_LINALG_GEMM, .m = n, .n = k, .k = ka},
    };
    return wf_linalg_widen_room(e, la, calls, sizeof calls / sizeof *calls, bytes);
}
