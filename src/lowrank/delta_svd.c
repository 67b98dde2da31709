/* delta_svd.c - truncated singular value decompositions of whole matrices; see delta_svd.h.
 *
 * d[outs][ins] is X = D' in column-major order: P x S with P = ins and S = outs. With Q an
 * orthonormal basis of X's leading column space, X ~ Q (Q' X), a product of two thin factors, which
 * factor_svd.h truncates exactly:  D ~ (Q' X)' Q' = B A.
 */
#include "delta_svd.h"

#include <math.h>
#include <string.h>

#include "../../kernels/philox.h"
#include "../base/mem.h"
#include "../base/num.h"
#include "../linalg/linalg_crew.h"

#define OVERSAMPLING 16u /* columns of the sketch beyond the rank */
#define POWER_STEPS 2    /* each sharpens the spectrum by its square */
#define FIRST_WIDTH                                                                                \
    80u         /* of the sketch where energy or threshold decides; doubled until enough           \
                 */
#define WIDE 4u /* a sketch wider than a quarter of the matrix is no gain */

struct shape {
    int p, s; /* X is p x s */
    const float *x;
};

static uint32_t smaller_side(uint64_t outs, uint64_t ins)
{
    return (uint32_t)wf_min_u64(outs, ins);
}

static bool by_rank_alone(const struct wf_cut *cut)
{
    return cut->rank && !(cut->energy > 0) && !(cut->threshold > 0);
}

/* ---- the randomised route ---------------------------------------------------------------------
 */

/* Independent numbers in [-1, 1). */
static void draw(uint64_t key, float *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = (float)((int32_t)wf_draw(key, i, 0) - (1 << 23)) * 0x1p-23f;
}

/* y (p x l) becomes an orthonormal basis of about the leading l directions of X's columns; z is
 * room for s x l. */
static int find_range(struct wf_err *e, const struct wf_linalg *la, const struct shape *m,
                      uint64_t key, int l, float *y, float *z)
{
    draw(key, z, (size_t)m->s * (size_t)l);
    int s = la->gemm_f32(e, la, false, false, m->p, l, m->s, 1, m->x, m->p, z, m->s, 0, y, m->p);
    if (!s)
        s = la->qr_f32(e, la, m->p, l, y, m->p);
    for (int i = 0; !s && i < POWER_STEPS; i++) {
        s = la->gemm_f32(e, la, true, false, m->s, l, m->p, 1, m->x, m->p, y, m->p, 0, z, m->s);
        if (!s)
            s = la->qr_f32(e, la, m->s, l, z, m->s);
        if (!s)
            s = la->gemm_f32(e, la, false, false, m->p, l, m->s, 1, m->x, m->p, z, m->s, 0, y,
                             m->p);
        if (!s)
            s = la->qr_f32(e, la, m->p, l, y, m->p);
    }
    return s;
}

static double *widened(struct wf_err *e, const float *from, size_t n)
{
    double *to = wf_alloc(e, WF_MEM_RING, n, sizeof *to, "a factor");
    for (size_t i = 0; to && i < n; i++)
        to[i] = (double)from[i];
    return to;
}

static int by_sketch(struct wf_err *e, const struct wf_linalg *la, const struct shape *m,
                     uint64_t key, uint32_t width, const struct wf_cut *cut, struct wf_factors *out)
{
    int l = (int)width;
    size_t p = (size_t)m->p, s = (size_t)m->s;
    float *y = wf_alloc(e, WF_MEM_RING, p * width, sizeof *y, "a sketch");
    float *z = wf_alloc(e, WF_MEM_RING, s * width, sizeof *z, "a sketch");
    double *a = NULL, *b = NULL;
    int status = y && z ? find_range(e, la, m, key, l, y, z) : WF_MACHINE;
    if (!status) /* Q' X, l x s in column-major order, is b[outs][l] */
        status = la->gemm_f32(e, la, true, false, l, m->s, m->p, 1, y, m->p, m->x, m->p, 0, z, l);
    if (!status) {
        a = widened(e, y, p * width);
        b = widened(e, z, s * width);
        status = a && b ? WF_OK : WF_MACHINE;
    }
    wf_free(z);
    wf_free(y);
    if (!status)
        status = wf_product_truncate(e, la, (uint32_t)m->s, (uint32_t)m->p, width, b, a, cut, out);
    wf_free(b);
    wf_free(a);
    return status;
}

/* Did the cut fall well inside what the sketch saw, or at the limit? */
static bool is_enough(const struct wf_cut *cut, uint32_t width, const struct wf_factors *f)
{
    return f->rank + OVERSAMPLING <= width || (cut->rank && f->rank == cut->rank);
}

/* ---- the exact route --------------------------------------------------------------------------
 */

/* The cut, from eigenvalues in ascending order. */
static int cut_eigenvalues(struct wf_err *e, const struct wf_cut *cut, const double *w, uint32_t n,
                           uint32_t *rank)
{
    double *s = wf_alloc(e, WF_MEM_RING, n, sizeof *s, "singular values");
    if (!s)
        return WF_MACHINE;
    for (uint32_t i = 0; i < n; i++)
        s[i] = w[n - 1 - i] > 0 ? sqrt(w[n - 1 - i]) : 0;
    *rank = wf_cut_rank(cut, s, n);
    wf_free(s);
    return WF_OK;
}

/* From the leading eigenvectors v (g x k) of the smaller Gram matrix: D's projection on them. */
static int project(struct wf_err *e, const struct wf_linalg *la, const struct shape *m,
                   const double *x, const double *v, uint32_t k, struct wf_factors *out)
{
    size_t p = (size_t)m->p, s = (size_t)m->s;
    int n = (int)k;
    double *a = wf_alloc(e, WF_MEM_RING, p * k, sizeof *a, "a factor");
    double *b = wf_alloc(e, WF_MEM_RING, s * k, sizeof *b, "a factor");
    int status = a && b ? WF_OK : WF_MACHINE;
    if (!status && m->p <= m->s) { /* v spans the inputs: A = v', B = (v' X)' */
        memcpy(a, v, p * k * sizeof *a);
        status = la->gemm(e, la, true, false, n, m->s, m->p, 1, v, m->p, x, m->p, 0, b, n);
    } else if (!status) { /* v spans the outputs: B = v, A = (X v)' */
        for (size_t i = 0; i < s; i++)
            for (size_t j = 0; j < k; j++)
                b[i * k + j] = v[i + j * s];
        status = la->gemm(e, la, false, false, m->p, n, m->s, 1, x, m->p, v, m->s, 0, a, m->p);
    }
    if (!status)
        status = wf_product_truncate(e, la, (uint32_t)m->s, (uint32_t)m->p, k, b, a,
                                     &(struct wf_cut){.rank = k}, out);
    wf_free(b);
    wf_free(a);
    return status;
}

static int by_gram(struct wf_err *e, const struct wf_linalg *la, const struct shape *m,
                   const struct wf_cut *cut, struct wf_factors *out)
{
    bool rows = m->p <= m->s;
    int g = rows ? m->p : m->s;
    size_t side = (size_t)g;
    uint32_t k = 0;
    double *x = widened(e, m->x, (size_t)m->p * (size_t)m->s);
    double *gram = wf_alloc(e, WF_MEM_RING, side * side, sizeof *gram, "a Gram matrix");
    double *w = wf_alloc(e, WF_MEM_RING, side, sizeof *w, "eigenvalues");
    int status = x && gram && w ? WF_OK : WF_MACHINE;
    if (!status) {
        status = la->hold(e, la, x, sizeof *x * (size_t)m->p * (size_t)m->s);
        if (!status)
            status = la->syrk(e, la, !rows, g, rows ? m->s : m->p, 1, x, m->p, 0, gram, g);
        if (!status)
            status = la->eigh(e, la, g, gram, g, w);
    }
    if (!status)
        status = cut_eigenvalues(e, cut, w, (uint32_t)g, &k);
    if (!status && k) /* the last k columns; their order does not matter to a projection */
        status = project(e, la, m, x, gram + side * (side - k), k, out);
    la->let_go(la);
    wf_free(w);
    wf_free(gram);
    wf_free(x);
    return status;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

int wf_delta_truncate(struct wf_err *e, const struct wf_linalg *la, uint32_t outs, uint32_t ins,
                      const float *d, uint64_t key, const struct wf_cut *cut,
                      struct wf_factors *out)
{
    struct shape m = {.p = (int)ins, .s = (int)outs, .x = d};
    uint32_t side = smaller_side(outs, ins);
    uint32_t width = by_rank_alone(cut) ? cut->rank + OVERSAMPLING : FIRST_WIDTH;
    bool found = false, sketches = (uint64_t)width * WIDE <= side;
    *out = (struct wf_factors){0};
    int status = sketches ? la->hold(e, la, d, sizeof *d * (size_t)outs * ins) : WF_OK;
    for (; !status && !found && (uint64_t)width * WIDE <= side; width *= 2) {
        status = by_sketch(e, la, &m, key, width, cut, out);
        found = !status && (by_rank_alone(cut) || is_enough(cut, width, out));
        if (!found)
            wf_factors_free(out);
    }
    if (sketches)
        la->let_go(la);
    if (!status && !found)
        status = by_gram(e, la, &m, cut, out);
    if (status)
        wf_factors_free(out);
    out->whole = cut->whole;
    return status;
}

int wf_delta_truncate_exactly(struct wf_err *e, const struct wf_linalg *la, uint32_t outs,
                              uint32_t ins, const float *d, const struct wf_cut *cut,
                              struct wf_factors *out)
{
    struct shape m = {.p = (int)ins, .s = (int)outs, .x = d};
    *out = (struct wf_factors){0};
    int status = by_gram(e, la, &m, cut, out);
    if (status)
        wf_factors_free(out);
    out->whole = cut->whole;
    return status;
}

/* D is the product of itself and an identity, whichever has the smaller side in the middle. */
int wf_delta_truncate_wide(struct wf_err *e, const struct wf_linalg *la, uint32_t outs,
                           uint32_t ins, double *d, const struct wf_cut *cut,
                           struct wf_factors *out)
{
    uint32_t side = smaller_side(outs, ins);
    double *one = wf_alloc(e, WF_MEM_RING, (size_t)side * side, sizeof *one, "an identity");
    *out = (struct wf_factors){0};
    if (!one)
        return WF_MACHINE;
    for (size_t i = 0; i < (size_t)side * side; i++)
        one[i] = i % ((size_t)side + 1) == 0;
    double *b = outs <= ins ? one : d, *a = outs <= ins ? d : one;
    int status = wf_product_truncate(e, la, outs, ins, side, b, a, cut, out);
    out->whole = cut->whole;
    wf_free(one);
    return status;
}

uint64_t wf_delta_truncate_bytes(uint64_t outs, uint64_t ins, const struct wf_cut *cut, bool wide)
{
    uint64_t side = smaller_side(outs, ins);
    if (wide)
        return sizeof(double) * side * side + wf_product_bytes(outs, ins, side);
    uint64_t width = by_rank_alone(cut) ? cut->rank + OVERSAMPLING : side / WIDE;
    bool gram = width * WIDE > side || !by_rank_alone(cut);
    uint64_t sketch = (outs + ins) * width * (sizeof(float) + sizeof(double));
    uint64_t rank = gram ? side : width;
    uint64_t exact = gram ? sizeof(double) * (outs * ins + 3 * side * side) : 0;
    return sketch + exact + wf_product_bytes(outs, ins, rank);
}

int wf_delta_residual(struct wf_err *e, const struct wf_linalg *la, uint32_t outs, uint32_t ins,
                      uint32_t rank, float *d, const float *b, const float *a, double *squared)
{
    int s = la->gemm_f32(e, la, false, false, (int)ins, (int)outs, (int)rank, -1, a, (int)ins, b,
                         (int)rank, 1, d, (int)ins);
    *squared = 0;
    for (size_t i = 0; !s && i < (size_t)outs * ins; i++)
        *squared += (double)d[i] * (double)d[i];
    return s;
}

int wf_delta_residual_wide(struct wf_err *e, const struct wf_linalg *la, uint32_t outs,
                           uint32_t ins, uint32_t rank, double *d, const double *b, const double *a,
                           double *squared)
{
    int s = la->gemm(e, la, false, false, (int)ins, (int)outs, (int)rank, -1, a, (int)ins, b,
                     (int)rank, 1, d, (int)ins);
    *squared = 0;
    for (size_t i = 0; !s && i < (size_t)outs * ins; i++)
        *squared += d[i] * d[i];
    return s;
}

/* ---- work, and room on a device
 * -------------------------------------------------------------------------
 */

double wf_delta_work(uint64_t outs, uint64_t ins, const struct wf_cut *cut, bool wide)
{
    double side = (double)smaller_side(outs, ins), count = (double)outs * (double)ins;
    uint64_t width = by_rank_alone(cut) ? (uint64_t)cut->rank + OVERSAMPLING : FIRST_WIDTH;
    if (wide)
        return wf_product_work(outs, ins, (uint64_t)side);
    if ((double)width * WIDE > side)
        return count * side + 9 * side * side * side;
    return 4 * (1 + POWER_STEPS) * count * (double)width + wf_product_work(outs, ins, width);
}

/* Of the sketch `width` wide, beside X. */
static int sketch_room(struct wf_err *e, const struct wf_linalg *la, int p, int s, uint32_t width,
                       uint64_t *bytes)
{
    int l = (int)width;
    const struct wf_linalg_shape calls[] = {
        {.op = WF_LINALG_GEMM_F32, .m = p, .n = l, .k = s, .a_held = true},
        {.op = WF_LINALG_GEMM_F32, .m = s, .n = l, .k = p, .a_held = true},
        {.op = WF_LINALG_GEMM_F32, .m = l, .n = s, .k = p, .b_held = true},
        {.op = WF_LINALG_QR_F32, .m = p, .n = l},
        {.op = WF_LINALG_QR_F32, .m = s, .n = l}};
    int status = wf_linalg_widen_room(e, la, calls, sizeof calls / sizeof *calls, bytes);
    return status ? status : wf_product_room(e, la, (uint32_t)s, (uint32_t)p, width, width, bytes);
}

/* Of the exact route to `rank`, beside X in double. */
static int gram_room(struct wf_err *e, const struct wf_linalg *la, int p, int s, uint32_t rank,
                     uint64_t *bytes)
{
    int g = p < s ? p : s, other = p < s ? s : p, k = (int)rank;
    const struct wf_linalg_shape calls[] = {
        {.op = WF_LINALG_SYRK, .n = g, .k = other, .a_held = true},
        {.op = WF_LINALG_EIGH, .n = g},
        {.op = WF_LINALG_GEMM, .m = k, .n = s, .k = p, .b_held = true},
        {.op = WF_LINALG_GEMM, .m = p, .n = k, .k = s, .a_held = true}};
    int status = wf_linalg_widen_room(e, la, calls, sizeof calls / sizeof *calls, bytes);
    return status ? status : wf_product_room(e, la, (uint32_t)s, (uint32_t)p, rank, rank, bytes);
}

int wf_delta_room(struct wf_err *e, const struct wf_linalg *la, uint32_t outs, uint32_t ins,
                  const struct wf_cut *cut, bool wide, uint64_t *bytes)
{
    uint32_t side = smaller_side(outs, ins);
    uint32_t rank = cut->rank && cut->rank < side ? cut->rank : side;
    uint64_t sketch = 0, exact = 0, count = (uint64_t)outs * ins;
    int p = (int)ins, s = (int)outs;
    const struct wf_linalg_shape residual = {
        .op = wide ? WF_LINALG_GEMM : WF_LINALG_GEMM_F32, .m = p, .n = s, .k = (int)rank};
    int status = wf_linalg_widen_room(e, la, &residual, 1, bytes);
    if (wide)
        return status ? status : wf_product_room(e, la, outs, ins, side, rank, bytes);
    uint64_t width = by_rank_alone(cut) ? cut->rank + OVERSAMPLING : side / WIDE;
    bool narrow = width * WIDE <= side && width;
    if (!status && narrow)
        status = sketch_room(e, la, p, s, (uint32_t)width, &sketch);
    if (!status && !(narrow && by_rank_alone(cut)))
        status = gram_room(e, la, p, s, rank, &exact);
    sketch += narrow ? sizeof(float) * count : 0;
    exact += exact ? sizeof(double) * count : 0;
    *bytes = wf_max_u64(*bytes, wf_max_u64(sketch, exact));
    return status;
}
