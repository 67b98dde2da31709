/* test_exact_math.c - weft's own exp, tanh, log, sin, cos and acos: error against the C library's
 * long double, edges, order, and the same bits from every compiler.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "../../kernels/exact_math.h"

#define DRAWS 400000

static uint64_t state = 0x2545f4914f6cdd1du;

static uint64_t draw_bits(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state * 0x9e3779b97f4a7c15u;
}

static double draw(double low, double high)
{
    return low + (high - low) * ((double)(draw_bits() >> 11) * 0x1p-53);
}

/* Distance in units of the last place of a double of wanted's size. */
static double ulps(double got, long double wanted)
{
    int e = 0;
    frexpl(wanted, &e);
    int last = e - 53 < -1074 ? -1074 : e - 53;
    return (double)(fabsl((long double)got - wanted) / ldexpl(1.0L, last));
}

typedef double function(double);
typedef long double reference(long double);

static double worst;
static double worst_at;

static void compare(function *f, reference *g, double x)
{
    double off = ulps(f(x), g((long double)x));
    if (off > worst || !(off == off)) {
        worst = off;
        worst_at = x;
    }
}

static void expect_within(const char *name, double limit)
{
    if (!(worst <= limit))
        fail_msg("%s(%a) is off by %.3f units in the last place", name, worst_at, worst);
    worst = 0;
}

static double f_exp(double x)
{
    return wf_exp(x);
}
static double f_ln(double x)
{
    return wf_ln(x);
}
static double f_sin(double x)
{
    return wf_sin(x);
}
static double f_cos(double x)
{
    return wf_cos(x);
}
static double f_acos(double x)
{
    return wf_acos(x);
}

static void exp_is_within_an_ulp(void **unused)
{
    (void)unused;
    for (int i = 0; i < DRAWS; i++) {
        compare(f_exp, expl, draw(-745, 709.7));
        compare(f_exp, expl, draw(-1, 1));
        compare(f_exp, expl, ldexp(draw(-1, 1), -(int)(draw_bits() % 60)));
    }
    for (int k = -1076; k < 1024; k++) /* both sides of every seam of the reduction */
        for (int j = -2; j <= 2; j++)
            compare(f_exp, expl, ((double)k + 0.5) * 0.6931471805599453 * (1 + j * DBL_EPSILON));
    expect_within("wf_exp", 1.0);
}

static void exp_at_the_edges(void **unused)
{
    (void)unused;
    assert_true(wf_exp(0.0) == 1.0 && wf_exp(-0.0) == 1.0);
    assert_true(wf_exp(709.782712893384) < INFINITY);
    assert_true(wf_exp(709.7827128933841) == INFINITY);
    assert_true(wf_exp(DBL_MAX) == INFINITY && wf_exp(INFINITY) == INFINITY);
    assert_true(wf_exp(-745.1332191019411) == 0x1p-1074);
    assert_true(wf_exp(-746.0) == 0.0 && wf_exp(-DBL_MAX) == 0.0 && wf_exp(-INFINITY) == 0.0);
    assert_true(isnan(wf_exp((double)NAN)));
}

static double f_tanh(double x)
{
    return wf_tanh(x);
}

static void tanh_is_within_three_ulps(void **unused)
{
    (void)unused;
    for (int i = 0; i < DRAWS; i++) {
        compare(f_tanh, tanhl, draw(-21, 21));
        compare(f_tanh, tanhl, draw(-1, 1));
        compare(f_tanh, tanhl, ldexp(draw(-1, 1), -(int)(draw_bits() % 1040)));
    }
    for (int k = 0; k < 60; k++) /* both sides of every seam of the reduction */
        for (int j = -2; j <= 2; j++)
            compare(f_tanh, tanhl, ((double)k + 0.5) * 0.34657359027997264 * (1 + j * DBL_EPSILON));
    expect_within("wf_tanh", 3.0);
}

static void tanh_at_the_edges(void **unused)
{
    (void)unused;
    assert_true(wf_tanh(0.0) == 0.0 && !signbit(wf_tanh(0.0)) && signbit(wf_tanh(-0.0)));
    assert_true(wf_tanh(0x1p-1074) == 0x1p-1074 && wf_tanh(1e-8) < 1e-8 + 1e-23);
    assert_true(wf_tanh(20.0) == 1.0 && wf_tanh(DBL_MAX) == 1.0 && wf_tanh(-INFINITY) == -1.0);
    assert_true(isnan(wf_tanh((double)NAN)));
    for (int i = 0; i < DRAWS; i++) {
        double x = draw(0, 25);
        assert_true(wf_tanh(-x) == -wf_tanh(x) && wf_tanh(x) <= 1.0);
    }
}

/* Distance in units of the last place of a float of wanted's size. */
static double ulps_f32(float got, double wanted)
{
    int e = 0;
    frexp(wanted, &e);
    int last = e - 24 < -149 ? -149 : e - 24;
    return fabs((double)got - wanted) / ldexp(1.0, last);
}

/* Every 997th float in the range of each. */
static void functions_of_floats_are_within_three_ulps(void **unused)
{
    (void)unused;
    double worst_exp = 0, worst_tanh = 0;
    for (uint32_t bits = 0; bits < 0x42c80000u; bits += 997) { /* to 100 */
        for (unsigned sign = 0; sign < 2; sign++) {
            float x = wf_f32_from_bits(bits | sign << 31);
            double off = x < 88.7f ? ulps_f32(wf_exp_f32(x), exp((double)x)) : 0;
            worst_exp = off > worst_exp ? off : worst_exp;
            off = ulps_f32(wf_tanh_f32(x), tanh((double)x));
            worst_tanh = off > worst_tanh ? off : worst_tanh;
        }
    }
    if (!(worst_exp <= 1.0 && worst_tanh <= 3.0))
        fail_msg("wf_exp_f32 is off by %.3f, wf_tanh_f32 by %.3f", worst_exp, worst_tanh);
}

static void functions_of_floats_at_the_edges(void **unused)
{
    (void)unused;
    assert_true(wf_exp_f32(0.0f) == 1.0f && wf_exp_f32(-0.0f) == 1.0f);
    assert_true(wf_exp_f32(FLT_MAX) == INFINITY && wf_exp_f32(INFINITY) == INFINITY);
    assert_true(wf_exp_f32(-FLT_MAX) == 0.0f && wf_exp_f32(-INFINITY) == 0.0f);
    assert_true(isnan(wf_exp_f32(NAN)) && isnan(wf_tanh_f32(NAN)));
    assert_true(!signbit(wf_tanh_f32(0.0f)) && signbit(wf_tanh_f32(-0.0f)));
    assert_true(wf_tanh_f32(0x1p-149f) == 0x1p-149f && wf_tanh_f32(-1e-8f) == -1e-8f);
    assert_true(wf_tanh_f32(10.0f) == 1.0f && wf_tanh_f32(-INFINITY) == -1.0f);
}

static void log_is_within_an_ulp(void **unused)
{
    (void)unused;
    for (int i = 0; i < DRAWS; i++) {
        compare(f_ln, logl, draw(0.5, 2));
        compare(f_ln, logl, 1 + ldexp(draw(-1, 1), -(int)(draw_bits() % 52) - 1));
        compare(f_ln, logl, wf_f64_from_bits(draw_bits() >> 1 & ~(1ull << 62))); /* below 2 */
        compare(f_ln, logl, 1 / draw(DBL_MIN, 1));
        compare(f_ln, logl, wf_f64_from_bits(draw_bits() >> 12)); /* subnormal */
    }
    for (int k = -1074; k < 1024; k++)
        for (int j = -2; j <= 2; j++)
            compare(f_ln, logl, ldexp(1.4142135623730951 * (1 + j * DBL_EPSILON), k));
    expect_within("wf_ln", 1.0);
}

static void log_at_the_edges(void **unused)
{
    (void)unused;
    assert_true(wf_ln(1.0) == 0.0 && !signbit(wf_ln(1.0)));
    assert_true(wf_ln(0.0) == -INFINITY && wf_ln(-0.0) == -INFINITY);
    assert_true(wf_ln(INFINITY) == INFINITY);
    assert_true(isnan(wf_ln(-1.0)) && isnan(wf_ln(-INFINITY)) && isnan(wf_ln((double)NAN)));
    assert_true(wf_ln(0x1p-1074) == -0x1.74385446d71c3p+9);
    assert_true(wf_ln(DBL_MAX) == 0x1.62e42fefa39efp+9);
}

static void sin_and_cos_are_within_an_ulp(void **unused)
{
    (void)unused;
    for (int i = 0; i < DRAWS; i++) {
        double wide = draw(-1e5, 1e5), far = draw(-1e6, 1e6), near = draw(-4, 4);
        double tiny = ldexp(draw(-1, 1), -(int)(draw_bits() % 300));
        compare(f_sin, sinl, wide);
        compare(f_cos, cosl, wide);
        compare(f_sin, sinl, far);
        compare(f_cos, cosl, far);
        compare(f_sin, sinl, near);
        compare(f_cos, cosl, near);
        compare(f_sin, sinl, tiny);
        compare(f_cos, cosl, tiny);
    }
    expect_within("wf_sin, wf_cos", 1.0);
}

/* Doubles next to multiples of pi/4: there the reduction loses nearly all digits, or changes
 * sides. */
static void sin_and_cos_near_multiples_of_pi(void **unused)
{
    (void)unused;
    for (int k = 1; k < 130000; k++) {
        double x = (double)(k * 0.7853981633974483096156608458198757210L);
        for (int j = -1; j <= 1; j++) {
            double y = x * (1 + j * DBL_EPSILON);
            compare(f_sin, sinl, y);
            compare(f_cos, cosl, y);
        }
    }
    expect_within("wf_sin, wf_cos", 1.0);
}

static void sin_and_cos_at_the_edges(void **unused)
{
    (void)unused;
    assert_true(wf_sin(0.0) == 0.0 && wf_cos(0.0) == 1.0);
    assert_true(wf_cos(-0.0) == 1.0);
    for (int i = 0; i < 1000; i++) {
        double x = draw(0, 1000);
        assert_true(wf_sin(-x) == -wf_sin(x) && wf_cos(-x) == wf_cos(x));
        assert_true(fabs(wf_sin(x)) <= 1.0 && fabs(wf_cos(x)) <= 1.0);
    }
}

static void acos_is_within_an_ulp(void **unused)
{
    (void)unused;
    for (int i = 0; i < DRAWS; i++) {
        double small = ldexp(draw(0, 1), -(int)(draw_bits() % 53));
        compare(f_acos, acosl, draw(-1, 1));
        compare(f_acos, acosl, 1 - small);
        compare(f_acos, acosl, small - 1);
        compare(f_acos, acosl, small);
        compare(f_acos, acosl, 0.5 + draw(-1e-12, 1e-12));
    }
    expect_within("wf_acos", 1.0);
}

static void acos_at_the_edges(void **unused)
{
    (void)unused;
    assert_true(wf_acos(1.0) == 0.0 && wf_acos(1.5) == 0.0 && wf_acos(INFINITY) == 0.0);
    assert_true(wf_acos(-1.0) == 0x1.921fb54442d18p+1 && wf_acos(-7.0) == 0x1.921fb54442d18p+1);
    assert_true(wf_acos(0.0) == 0x1.921fb54442d18p+0 && wf_acos(-0.0) == 0x1.921fb54442d18p+0);
    assert_true(wf_acos(1.0 - 0x1p-53) > 0.0);
    assert_true(isnan(wf_acos((double)NAN)));
}

/* Neighbours some units apart must not change places by more than the error allows. */
static void functions_keep_the_order(void **unused)
{
    (void)unused;
    for (int i = 0; i < DRAWS; i++) {
        double x = draw(-700, 700), step = 1 + 4 * DBL_EPSILON;
        assert_true(wf_exp(x + fabs(x) * 1e-14 + 1e-15) >= wf_exp(x));
        assert_true(wf_ln(fabs(x) * step * step) >= wf_ln(fabs(x)));
        double c = draw(-1, 1 - 1e-14);
        assert_true(wf_acos(c + 1e-15) <= wf_acos(c));
    }
}

static uint64_t mix(uint64_t sum, double y)
{
    return (sum ^ wf_f64_bits(y)) * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
}

/* One number for a few hundred thousand results: another compiler, or flag, that changes a bit
 * changes it. Loops that a compiler vectorises are among them. */
static void every_compiler_gives_the_same_bits(void **unused)
{
    enum { N = 4096 };
    static double x[N], y[N], z[N], t[N];
    static float u[N], w[N];
    uint64_t sum = 0;
    (void)unused;
    state = 1;
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < N; i++)
            x[i] = draw(-40, 40);
        for (int i = 0; i < N; i++)
            y[i] = wf_exp(x[i]);
        for (int i = 0; i < N; i++)
            z[i] = wf_ln(y[i] + 1e-8);
        for (int i = 0; i < N; i++)
            t[i] = wf_tanh(x[i] / 8);
        for (int i = 0; i < N; i++)
            u[i] = wf_exp_f32((float)x[i]);
        for (int i = 0; i < N; i++)
            w[i] = wf_tanh_f32((float)x[i] / 8);
        for (int i = 0; i < N; i++) {
            sum = mix(mix(sum, y[i]), z[i]);
            sum = mix(mix(mix(sum, t[i]), (double)u[i]), (double)w[i]);
            sum = mix(mix(sum, wf_sin(x[i])), wf_cos(x[i]));
            sum = mix(sum, wf_acos(x[i] / 40));
        }
    }
    assert_int_equal(sum, 0x76c073a92a9e2860u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exp_is_within_an_ulp),
        cmocka_unit_test(exp_at_the_edges),
        cmocka_unit_test(tanh_is_within_three_ulps),
        cmocka_unit_test(tanh_at_the_edges),
        cmocka_unit_test(functions_of_floats_are_within_three_ulps),
        cmocka_unit_test(functions_of_floats_at_the_edges),
        cmocka_unit_test(log_is_within_an_ulp),
        cmocka_unit_test(log_at_the_edges),
        cmocka_unit_test(sin_and_cos_are_within_an_ulp),
        cmocka_unit_test(sin_and_cos_near_multiples_of_pi),
        cmocka_unit_test(sin_and_cos_at_the_edges),
        cmocka_unit_test(acos_is_within_an_ulp),
        cmocka_unit_test(acos_at_the_edges),
        cmocka_unit_test(functions_keep_the_order),
        cmocka_unit_test(every_compiler_gives_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
