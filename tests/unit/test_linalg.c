/* test_linalg.c - the table of linear algebra, by residuals: what is multiplied back is what was
 * taken apart.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "linalg_fixture.h"

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
    la->gemm(true, false, n, n, m, 1, q, m, q, m, 0, g, n);
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
    la->gemm(false, false, m, n, k, 2, a, m, b, k, 0, c, m);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int l = 0; l < k; l++)
                sum += 2 * a[i + l * m] * b[l + j * k];
            assert_true(fabs(sum - c[i + j * m]) < 1e-14);
        }
    la->gemm(true, true, m, n, k, 2, at, k, bt, n, 0, d, m);
    assert_true(largest_difference(c, d, 12) < 1e-14);
    la->gemm(false, false, m, n, k, -2, a, m, b, k, 1, d, m);
    for (int i = 0; i < 12; i++)
        assert_true(fabs(d[i]) < 1e-14);
    la->gemm_f32(false, false, m, n, k, 2, af, m, bf, k, 0, cf, m);
    for (int i = 0; i < 12; i++)
        assert_true(fabs((double)cf[i] - c[i]) < 1e-5);
    test_free(a), test_free(b), test_free(at), test_free(bt);
}

static void syrk_fills_both_triangles(void **state)
{
    const int n = 7, k = 9;
    double c[49], d[49];
    (void)state;
    NEEDS_LIBRARY();
    double *a = matrix(n, k, 5);
    la->syrk(false, n, k, 1, a, n, 0, c, n);
    la->gemm(false, true, n, n, k, 1, a, n, a, n, 0, d, n);
    assert_true(largest_difference(c, d, 49) < 1e-13);
    test_free(a);
}

static void eigenvectors_give_the_matrix_back(void **state)
{
    const int n = 40;
    struct wf_err e = {0};
    (void)state;
    NEEDS_LIBRARY();
    double *a = matrix(n, n, 6), *g = matrix(n, n, 7), *w = matrix(n, 1, 8), *back;
    la->syrk(false, n, n, 1, a, n, 0, g, n);
    double *v = copy_of(g, n * n);
    assert_int_equal(la->eigh(&e, n, v, n, w), WF_OK);
    assert_true(from_orthogonal(v, n, n) < 1e-12);
    double *scaled = copy_of(v, n * n);
    for (int j = 0; j < n; j++) {
        assert_true(j == 0 || w[j] >= w[j - 1]);
        for (int i = 0; i < n; i++)
            scaled[i + j * n] *= w[j];
    }
    back = copy_of(g, n * n);
    la->gemm(false, true, n, n, n, 1, scaled, n, v, n, 0, back, n);
    assert_true(largest_difference(back, g, n * n) < 1e-12 * w[n - 1]);
    test_free(a), test_free(g), test_free(w), test_free(v), test_free(scaled), test_free(back);
}

static void check_svd(int m, int n, double *a)
{
    struct wf_err e = {0};
    int k = m < n ? m : n;
    double *u = matrix(m, k, 1), *vt = matrix(k, n, 1), *s = matrix(k, 1, 1);
    double *lost = copy_of(a, m * n), *back = copy_of(a, m * n);
    assert_int_equal(la->svd(&e, m, n, lost, m, s, u, m, vt, k), WF_OK);
    assert_true(from_orthogonal(u, m, k) < 1e-12);
    for (int j = 0; j < k; j++) {
        assert_true(s[j] >= 0 && (j == 0 || s[j] <= s[j - 1]));
        for (int i = 0; i < m; i++)
            u[i + j * m] *= s[j];
    }
    la->gemm(false, false, m, n, k, 1, u, m, vt, k, 0, back, m);
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
    struct wf_err e = {0};
    double *q = copy_of(a, m * n), *back = copy_of(a, m * n), *r = matrix(n, n, 2);
    assert_int_equal(la->qr(&e, m, n, q, m, r, n), WF_OK);
    assert_true(from_orthogonal(q, m, n) < 1e-12);
    for (int j = 0; j < n; j++)
        for (int i = j + 1; i < n; i++)
            assert_true(r[i + j * n] == 0);
    la->gemm(false, false, m, n, n, 1, q, m, r, n, 0, back, m);
    assert_true(largest_difference(back, a, m * n) < 1e-12);
    test_free(q), test_free(back), test_free(r);
}

static void qr_is_orthogonal_even_where_columns_repeat(void **state)
{
    struct wf_err e = {0};
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
    assert_int_equal(la->qr_f32(&e, 90, 70, f, 90), WF_OK);
    for (int i = 0; i < 90 * 70; i++)
        a[i] = (double)f[i];
    assert_true(from_orthogonal(a, 90, 70) < 1e-5);
    test_free(a);
}

static void cholesky_says_no_to_what_is_not_positive(void **state)
{
    const int n = 20;
    struct wf_err e = {0};
    (void)state;
    NEEDS_LIBRARY();
    double *a = matrix(n, 2 * n, 17), *g = matrix(n, n, 1), *back = matrix(n, n, 1);
    la->syrk(false, n, 2 * n, 1, a, n, 0, g, n);
    double *l = copy_of(g, n * n);
    assert_int_equal(la->cholesky(&e, n, l, n), WF_OK);
    la->gemm(false, true, n, n, n, 1, l, n, l, n, 0, back, n);
    assert_true(largest_difference(back, g, n * n) < 1e-12);
    g[3 + 3 * n] = -1;
    assert_int_equal(la->cholesky(&e, n, g, n), WF_NO);
    assert_int_equal(wf_err_status(&e), WF_OK);
    test_free(a), test_free(g), test_free(back), test_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_turn_what_they_are_told_to),
        cmocka_unit_test(syrk_fills_both_triangles),
        cmocka_unit_test(eigenvectors_give_the_matrix_back),
        cmocka_unit_test(singular_vectors_give_the_matrix_back),
        cmocka_unit_test(qr_is_orthogonal_even_where_columns_repeat),
        cmocka_unit_test(cholesky_says_no_to_what_is_not_positive),
    };
    return cmocka_run_group_tests(tests, open_table, NULL);
}
