/* linalg_checks.h - what every table of linear algebra must do, by residuals: what is multiplied
 * back is what was taken apart. The program that includes it opens the table, `la`.
 */
#ifndef WF_LINALG_CHECKS_H
#define WF_LINALG_CHECKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "linalg_fixture.h"

/* A call that must succeed. */
#define DO(call)                                                                                   \
    do {                                                                                           \
        struct wf_err do_e = {0}, *e = &do_e;                                                      \
        if (la->call != WF_OK)                                                                     \
            fail_msg("%s: %s", #call, do_e.text);                                                  \
    } while (0)

static double *matrix(int m, int n, unsigned seed)
{
    double *a = test_malloc((size_t)m * (size_t)n * sizeof *a);
    for (int i = 0; i < m * n; i++) {
        seed = seed * 1103515245u + 12345u;
        a[i] = ((double)(seed >> 16 & 32767) - 16384) / 16384;
    }
    return a;
}

static double *copy_of(const double *a, int n)
{
    double *c = test_malloc((size_t)n * sizeof *c);
    memcpy(c, a, (size_t)n * sizeof *c);
    return c;
}

static double largest_difference(const double *a, const double *b, int n)
{
    double most = 0;
    for (int i = 0; i < n; i++)
        most = fmax(most, fabs(a[i] - b[i]));
    return most;
}

/* |Q'Q - I| of an m x n matrix. */
static double from_orthogonal(const double *q, int m, int n)
{
    double most = 0;
    double *g = test_malloc((size_t)(n * n) * sizeof *g);
    DO(gemm(e, la, true, false, n, n, m, 1, q, m, q, m, 0, g, n));
    for (int j = 0; j < n; j++)
        for (int i = 0; i < n; i++)
            most = fmax(most, fabs(g[i + j * n] - (i == j)));
    test_free(g);
    return most;
}

static void products_turn_what_they_are_told_to(void **state)
{
    const int m = 3, n = 4, k = 5;
    (void)state;
    NEEDS_LIBRARY();
    double *a = matrix(m, k, 1), *b = matrix(k, n, 2), *at = matrix(k, m, 3), *bt = matrix(n, k, 4);
    float af[15], bf[20], cf[12];
    double c[12], d[12];
    for (int i = 0; i < m; i++)
        for (int j = 0; j < k; j++)
            at[j + i * k] = a[i + j * m];
    for (int i = 0; i < k; i++)
        for (int j = 0; j < n; j++)
            bt[j + i * n] = b[i + j * k];
    for (int i = 0; i < 15; i++)
        af[i] = (float)a[i];
    for (int i = 0; i < 20; i++)
        bf[i] = (float)b[i];
    DO(gemm(e, la, false, false, m, n, k, 2, a, m, b, k, 0, c, m));
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int l = 0; l < k; l++)
                sum += 2 * a[i + l * m] * b[l + j * k];
            assert_true(fabs(sum - c[i + j * m]) < 1e-14);
        }
    DO(gemm(e, la, true, true, m, n, k, 2, at, k, bt, n, 0, d, m));
    assert_true(largest_difference(c, d, 12) < 1e-14);
    DO(gemm(e, la, false, false, m, n, k, -2, a, m, b, k, 1, d, m));
    for (int i = 0; i < 12; i++)
        assert_true(fabs(d[i]) < 1e-14);
    DO(gemm_f32(e, la, false, false, m, n, k, 2, af, m, bf, k, 0, cf, m));
    for (int i = 0; i < 12; i++)
        assert_true(fabs((double)cf[i] - c[i]) < 1e-5);
    test_free(a), test_free(b), test_free(at), test_free(bt);
}

/* Rows of a matrix with a gap of three below each column, which must stay. */
#define GAP 3
static double *spread(const double *a, int m, int n)
{
    double *to = test_malloc((size_t)((m + GAP) * n) * sizeof *to);
    for (int j = 0; j < n; j++)
        for (int i = 0; i < m + GAP; i++)
            to[i + j * (m + GAP)] = i < m ? a[i + j * m] : 777;
    return to;
}

static void same_with_gaps(const double *spread_out, const double *a, int m, int n, double most)
{
    for (int j = 0; j < n; j++)
        for (int i = 0; i < m + GAP; i++) {
            double wanted = i < m ? a[i + j * m] : 777, got = spread_out[i + j * (m + GAP)];
            if (!(fabs(got - wanted) <= (i < m ? most : 0)))
                fail_msg("(%d, %d): %.17g, not %.17g", i, j, got, wanted);
        }
}

static void gaps_between_columns_are_left_alone(void **state)
{
    const int m = 23, n = 11;
    (void)state;
    NEEDS_LIBRARY();
    double *a = matrix(m, n, 3), *b = matrix(n, m, 4), *c = matrix(m, m, 5), *r = matrix(n, n, 6);
    double *aa = spread(a, m, n), *bb = spread(b, n, m), *cc = spread(c, m, m), *rr, *qq;
    double s[11], t[11];
    DO(gemm(e, la, false, false, m, m, n, 1, a, m, b, n, 2, c, m));
    DO(gemm(e, la, false, false, m, m, n, 1, aa, m + GAP, bb, n + GAP, 2, cc, m + GAP));
    same_with_gaps(cc, c, m, m, 1e-13);
    DO(gemm(e, la, true, true, n, n, m, 1, a, m, b, n, 0, r, n));
    rr = spread(r, n, n);
    DO(gemm(e, la, true, true, n, n, m, 1, aa, m + GAP, bb, n + GAP, 0, rr, n + GAP));
    same_with_gaps(rr, r, n, n, 1e-13);
    DO(syrk(e, la, true, n, m, 1, a, m, 0, r, n));
    DO(syrk(e, la, true, n, m, 1, aa, m + GAP, 0, rr, n + GAP));
    same_with_gaps(rr, r, n, n, 1e-13);
    double *vectors = copy_of(r, n * n), *lower = copy_of(r, n * n);
    DO(eigh(e, la, n, vectors, n, s));
    DO(eigh(e, la, n, rr, n + GAP, t));
    assert_true(largest_difference(s, t, n) < 1e-12 * s[n - 1]);
    for (int i = 0; i < GAP * n; i++)
        assert_true(rr[n + i % GAP + i / GAP * (n + GAP)] == 777);
    qq = spread(lower, n, n);
    DO(cholesky(e, la, n, lower, n));
    DO(cholesky(e, la, n, qq, n + GAP));
    same_with_gaps(qq, lower, n, n, 1e-12);
    test_free(a), test_free(b), test_free(c), test_free(r), test_free(aa), test_free(bb);
    test_free(cc), test_free(rr), test_free(qq), test_free(vectors), test_free(lower);
}

static void factors_with_gaps_are_those_without(void **state)
{
    const int m = 23, n = 11;
    (void)state;
    NEEDS_LIBRARY();
    for (int wide = 0; wide < 2; wide++) {
        int rows = wide ? n : m, columns = wide ? m : n;
        double *a = matrix(rows, columns, 8), *aa = spread(a, rows, columns), s[11], t[11];
        double *kept = copy_of(a, m * n), *back = copy_of(a, m * n);
        double *u = spread(a, rows, n), *vt = spread(a, n, columns);
        DO(svd(e, la, rows, columns, aa, rows + GAP, s, u, rows + GAP, vt, n + GAP));
        DO(svd(e, la, rows, columns, kept, rows, t, back, rows, back, n));
        assert_true(largest_difference(s, t, n) < 1e-12);
        for (int j = 0; j < n; j++)
            for (int i = 0; i < rows; i++)
                u[i + j * (rows + GAP)] *= s[j];
        DO(gemm(e, la, false, false, rows, columns, n, 1, u, rows + GAP, vt, n + GAP, 0, back,
                rows));
        assert_true(largest_difference(back, a, m * n) < 1e-12);
        assert_true(u[rows] == 777 && vt[n] == 777);
        test_free(a), test_free(aa), test_free(kept), test_free(back), test_free(u), test_free(vt);
    }
    double *a = matrix(m, n, 9), *aa = spread(a, m, n), *back = copy_of(a, m * n);
    double *r = spread(a, n, n);
    DO(qr(e, la, m, n, aa, m + GAP, r, n + GAP));
    assert_true(aa[m] == 777 && r[n] == 777 && r[1] == 0);
    DO(gemm(e, la, false, false, m, n, n, 1, aa, m + GAP, r, n + GAP, 0, back, m));
    assert_true(largest_difference(back, a, m * n) < 1e-12);
    test_free(a), test_free(aa), test_free(back), test_free(r);
}

static void what_is_held_is_multiplied_as_if_it_were_not(void **state)
{
    const int m = 40, n = 30, k = 20;
    double *held, *c, *d;
    (void)state;
    NEEDS_LIBRARY();
    double *x = matrix(m, n, 21), *y = matrix(n, k, 22), *z = matrix(k, m, 23);
    c = matrix(m, m, 1), d = matrix(m, m, 2);
    held = copy_of(x, m * n);
    DO(hold(e, la, held, (uint64_t)(m * n) * sizeof *held));
    DO(gemm(e, la, false, false, m, k, n, 1, x, m, y, n, 0, c, m));
    DO(gemm(e, la, false, false, m, k, n, 1, held, m, y, n, 0, d, m));
    assert_true(largest_difference(c, d, m * k) < 1e-13);
    DO(gemm(e, la, true, true, n, k, m, 1, x, m, z, k, 0, c, n));
    DO(gemm(e, la, true, true, n, k, m, 1, held, m, z, k, 0, d, n));
    assert_true(largest_difference(c, d, n * k) < 1e-13);
    DO(gemm(e, la, false, false, k, n, m, 1, z, k, x, m, 0, c, k));
    DO(gemm(e, la, false, false, k, n, m, 1, z, k, held, m, 0, d, k));
    assert_true(largest_difference(c, d, k * n) < 1e-13);
    DO(syrk(e, la, false, m, n, 1, x, m, 0, c, m));
    DO(syrk(e, la, false, m, n, 1, held, m, 0, d, m));
    assert_true(largest_difference(c, d, m * m) < 1e-13);
    la->let_go(la);
    held[0] += 1; /* and now it may change */
    x[0] += 1;
    DO(gemm(e, la, false, false, m, k, n, 1, x, m, y, n, 0, c, m));
    DO(gemm(e, la, false, false, m, k, n, 1, held, m, y, n, 0, d, m));
    assert_true(largest_difference(c, d, m * k) < 1e-13);
    test_free(x), test_free(y), test_free(z), test_free(held), test_free(c), test_free(d);
}

static void syrk_fills_both_triangles(void **state)
{
    const int n = 7, k = 9;
    double c[49], d[49];
    (void)state;
    NEEDS_LIBRARY();
    double *a = matrix(n, k, 5);
    DO(syrk(e, la, false, n, k, 1, a, n, 0, c, n));
    DO(gemm(e, la, false, true, n, n, k, 1, a, n, a, n, 0, d, n));
    assert_true(largest_difference(c, d, 49) < 1e-13);
    test_free(a);
}

static void eigenvectors_give_the_matrix_back(void **state)
{
    const int n = 40;
    (void)state;
    NEEDS_LIBRARY();
    double *a = matrix(n, n, 6), *g = matrix(n, n, 7), *w = matrix(n, 1, 8), *back;
    DO(syrk(e, la, false, n, n, 1, a, n, 0, g, n));
    double *v = copy_of(g, n * n);
    DO(eigh(e, la, n, v, n, w));
    assert_true(from_orthogonal(v, n, n) < 1e-12);
    double *scaled = copy_of(v, n * n);
    for (int j = 0; j < n; j++) {
        assert_true(j == 0 || w[j] >= w[j - 1]);
        for (int i = 0; i < n; i++)
            scaled[i + j * n] *= w[j];
    }
    back = copy_of(g, n * n);
    DO(gemm(e, la, false, true, n, n, n, 1, scaled, n, v, n, 0, back, n));
    assert_true(largest_difference(back, g, n * n) < 1e-12 * w[n - 1]);
    test_free(a), test_free(g), test_free(w), test_free(v), test_free(scaled), test_free(back);
}

static void check_svd(int m, int n, double *a)
{
    int k = m < n ? m : n;
    double *u = matrix(m, k, 1), *vt = matrix(k, n, 1), *s = matrix(k, 1, 1);
    double *lost = copy_of(a, m * n), *back = copy_of(a, m * n);
    DO(svd(e, la, m, n, lost, m, s, u, m, vt, k));
    assert_true(from_orthogonal(u, m, k) < 1e-12);
    for (int j = 0; j < k; j++) {
        assert_true(s[j] >= 0 && (j == 0 || s[j] <= s[j - 1]));
        for (int i = 0; i < m; i++)
            u[i + j * m] *= s[j];
    }
    DO(gemm(e, la, false, false, m, n, k, 1, u, m, vt, k, 0, back, m));
    assert_true(largest_difference(back, a, m * n) < 1e-12 * (1 + s[0]));
    test_free(u), test_free(vt), test_free(s), test_free(lost), test_free(back);
}

static void singular_vectors_give_the_matrix_back(void **state)
{
    (void)state;
    NEEDS_LIBRARY();
    const int sizes[][2] = {{1, 1}, {5, 3}, {3, 5}, {64, 64}, {200, 30}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        double *a = matrix(sizes[i][0], sizes[i][1], 11);
        check_svd(sizes[i][0], sizes[i][1], a);
        memset(a, 0, (size_t)(sizes[i][0] * sizes[i][1]) * sizeof *a);
        check_svd(sizes[i][0], sizes[i][1], a);
        test_free(a);
    }
}

static void check_qr(int m, int n, double *a)
{
    double *q = copy_of(a, m * n), *back = copy_of(a, m * n), *r = matrix(n, n, 2);
    DO(qr(e, la, m, n, q, m, r, n));
    assert_true(from_orthogonal(q, m, n) < 1e-12);
    for (int j = 0; j < n; j++)
        for (int i = j + 1; i < n; i++)
            assert_true(r[i + j * n] == 0);
    DO(gemm(e, la, false, false, m, n, n, 1, q, m, r, n, 0, back, m));
    assert_true(largest_difference(back, a, m * n) < 1e-12);
    test_free(q), test_free(back), test_free(r);
}

static void qr_is_orthogonal_even_where_columns_repeat(void **state)
{
    float f[90 * 70];
    (void)state;
    NEEDS_LIBRARY();
    const int sizes[][2] = {{1, 1}, {5, 5}, {90, 70}, {300, 33}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int m = sizes[i][0], n = sizes[i][1];
        double *a = matrix(m, n, 13);
        check_qr(m, n, a);
        if (n > 2)
            memcpy(a + 2 * m, a, (size_t)m * sizeof *a); /* rank n - 1 */
        check_qr(m, n, a);
        memset(a, 0, (size_t)(m * n) * sizeof *a);
        check_qr(m, n, a);
        test_free(a);
    }
    double *a = matrix(90, 70, 13);
    for (int i = 0; i < 90 * 70; i++)
        f[i] = (float)a[i];
    DO(qr_f32(e, la, 90, 70, f, 90));
    for (int i = 0; i < 90 * 70; i++)
        a[i] = (double)f[i];
    assert_true(from_orthogonal(a, 90, 70) < 1e-5);
    test_free(a);
}

static void cholesky_says_no_to_what_is_not_positive(void **state)
{
    const int n = 20;
    struct wf_err no = {0};
    (void)state;
    NEEDS_LIBRARY();
    double *a = matrix(n, 2 * n, 17), *g = matrix(n, n, 1), *back = matrix(n, n, 1);
    DO(syrk(e, la, false, n, 2 * n, 1, a, n, 0, g, n));
    double *l = copy_of(g, n * n);
    DO(cholesky(e, la, n, l, n));
    DO(gemm(e, la, false, true, n, n, n, 1, l, n, l, n, 0, back, n));
    assert_true(largest_difference(back, g, n * n) < 1e-12);
    g[3 + 3 * n] = -1;
    assert_int_equal(la->cholesky(&no, la, n, g, n), WF_NO);
    assert_int_equal(wf_err_status(&no), WF_OK);
    test_free(a), test_free(g), test_free(back), test_free(l);
}

#define LINALG_CHECKS                                                                              \
    cmocka_unit_test(products_turn_what_they_are_told_to),                                         \
        cmocka_unit_test(gaps_between_columns_are_left_alone),                                     \
        cmocka_unit_test(factors_with_gaps_are_those_without),                                     \
        cmocka_unit_test(what_is_held_is_multiplied_as_if_it_were_not),                            \
        cmocka_unit_test(syrk_fills_both_triangles),                                               \
        cmocka_unit_test(eigenvectors_give_the_matrix_back),                                       \
        cmocka_unit_test(singular_vectors_give_the_matrix_back),                                   \
        cmocka_unit_test(qr_is_orthogonal_even_where_columns_repeat),                              \
        cmocka_unit_test(cholesky_says_no_to_what_is_not_positive)

#endif
