/* test_dtype_conv.c - the conversions of kernels/dtype_conv.h against an oracle that knows only the
 * definition of a binary format: which multiple of the quantum is nearest, ties to the even one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <math.h>
#include <cmocka.h>

#include "../../kernels/dtype_conv.h"

struct format {
    int fraction_bits, exponent_min; /* of the smallest normal number: 2^exponent_min */
    unsigned infinity, nan;
};

static const struct format bf16 = {7, -126, 0x7f80, 0x7fc0};
static const struct format f16 = {10, -14, 0x7c00, 0x7e00};

/* The value that a 16-bit pattern stands for, by its fields. */
static double decode(const struct format *f, unsigned h)
{
    unsigned magnitude = h & 0x7fff;
    int fraction = (int)(magnitude & ((1u << f->fraction_bits) - 1));
    int exponent = (int)(magnitude >> f->fraction_bits);
    double v;
    if (magnitude == f->infinity)
        v = INFINITY;
    else if (magnitude > f->infinity)
        v = NAN;
    else if (exponent == 0)
        v = ldexp(fraction, f->exponent_min - f->fraction_bits);
    else
        v = ldexp(fraction + (1 << f->fraction_bits),
                  f->exponent_min + exponent - 1 - f->fraction_bits);
    return h & 0x8000 ? -v : v;
}

/* x as a multiple of the quantum of its binade, split into whole and rest: both exact. */
static unsigned encode(const struct format *f, double x)
{
    unsigned sign = signbit(x) ? 0x8000 : 0;
    double v = fabs(x);
    if (isnan(x))
        return f->nan;
    if (isinf(x))
        return sign | f->infinity;
    if (v == 0)
        return sign;
    int e = ilogb(v) < f->exponent_min ? f->exponent_min : ilogb(v);
    double scaled = ldexp(v, f->fraction_bits - e), whole = floor(scaled), rest = scaled - whole;
    uint64_t k = (uint64_t)whole;
    if (rest > 0.5 || (rest == 0.5 && k % 2))
        k++;
    /* A carry out of the fraction raises the exponent: the fields are adjacent on purpose. */
    uint64_t bits = k + ((uint64_t)(e - f->exponent_min) << f->fraction_bits);
    return sign | (unsigned)(bits > f->infinity ? f->infinity : bits);
}

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint64_t random_bits(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state * 0x2545f4914f6cdd1du;
}

static void check_float(float x)
{
    unsigned b = wf_f32_to_bf16(x), h = wf_f32_to_f16(x);
    if (b != encode(&bf16, x) || h != encode(&f16, x))
        fail_msg("float %a (%08x): bf16 %04x, wanted %04x; f16 %04x, wanted %04x", (double)x,
                 wf_f32_bits(x), b, encode(&bf16, x), h, encode(&f16, x));
}

static void check_double(double x)
{
    unsigned b = wf_f64_to_bf16(x), h = wf_f64_to_f16(x);
    if (b != encode(&bf16, x) || h != encode(&f16, x))
        fail_msg("double %a: bf16 %04x, wanted %04x; f16 %04x, wanted %04x", x, b, encode(&bf16, x),
                 h, encode(&f16, x));
}

static void every_16_bit_pattern_widens_to_its_value(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        float from_bf16 = wf_bf16_to_f32((uint16_t)h), from_f16 = wf_f16_to_f32((uint16_t)h);
        double b = decode(&bf16, h), f = decode(&f16, h);
        bool same_b =
            isnan(b) ? isnan(from_bf16) : wf_f64_bits((double)from_bf16) == wf_f64_bits(b);
        bool same_f = isnan(f) ? isnan(from_f16) : wf_f64_bits((double)from_f16) == wf_f64_bits(f);
        if (!same_b || !same_f)
            fail_msg("%04x: bf16 %a for %a, f16 %a for %a", h, (double)from_bf16, b,
                     (double)from_f16, f);
    }
}

static void every_16_bit_pattern_survives_a_round_trip(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        unsigned b = (h & 0x7fff) > bf16.infinity ? bf16.nan : h;
        unsigned f = (h & 0x7fff) > f16.infinity ? f16.nan : h;
        float x = wf_bf16_to_f32((uint16_t)h), y = wf_f16_to_f32((uint16_t)h);
        assert_int_equal(wf_f32_to_bf16(x), b);
        assert_int_equal(wf_f64_to_bf16((double)x), b);
        assert_int_equal(wf_f32_to_f16(y), f);
        assert_int_equal(wf_f64_to_f16((double)y), f);
    }
}

/* Between each pattern and the next larger one: the midpoint, and the floats and doubles beside it
 * and beside both ends. */
static void halfway_cases_and_their_neighbours_round_to_even(void **state)
{
    const struct format *formats[] = {&bf16, &f16};
    (void)state;
    for (int k = 0; k < 2; k++)
        for (unsigned h = 0; h < formats[k]->infinity; h++) {
            double low = decode(formats[k], h), high = decode(formats[k], h + 1);
            if (isinf(high)) /* what the next number would be: half of the way overflows */
                high = low + (low - decode(formats[k], h - 1));
            double points[] = {low, (low + high) / 2, high};
            for (int p = 0; p < 3; p++) {
                double x = points[p];
                float f = (float)x;
                for (int sign = 0; sign < 2; sign++, x = -x, f = -f) {
                    check_double(x);
                    check_double(nextafter(x, INFINITY));
                    check_double(nextafter(x, -INFINITY));
                    check_double(x * (1 + 0x1p-30)); /* beyond a float: double rounding shows */
                    check_double(x * (1 - 0x1p-30));
                    check_float(f);
                    check_float(nextafterf(f, INFINITY));
                    check_float(nextafterf(f, -INFINITY));
                }
            }
        }
}

static void every_upper_half_of_a_float_rounds_right(void **state)
{
    static const uint32_t lows[] = {0, 1, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0xffff};
    (void)state;
    for (uint32_t high = 0; high < 0x10000; high++)
        for (unsigned i = 0; i < sizeof lows / sizeof *lows; i++)
            check_float(wf_f32_from_bits(high << 16 | lows[i]));
}

static void random_patterns_round_right(void **state)
{
    (void)state;
    for (int i = 0; i < 1000000; i++) {
        uint64_t r = random_bits();
        check_float(wf_f32_from_bits((uint32_t)r));
        check_double(wf_f64_from_bits(random_bits()));
        /* a double inside, or just outside, the range of both formats */
        int exponent = (int)(r >> 40) % 60 - 30;
        check_double(ldexp((double)(int64_t)random_bits() * 0x1p-63, exponent));
        exponent = (int)(r >> 48) % 300 - 160;
        check_double(ldexp((double)(int64_t)random_bits() * 0x1p-63, exponent));
    }
}

static void edges_of_the_range(void **state)
{
    (void)state;
    assert_int_equal(wf_f32_to_f16(65504.0f), 0x7bff);
    assert_int_equal(wf_f32_to_f16(65519.996f), 0x7bff);
    assert_int_equal(wf_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(wf_f64_to_f16(65519.999999999993), 0x7bff);
    assert_int_equal(wf_f64_to_f16(-65520.0), 0xfc00);
    assert_int_equal(wf_f32_to_f16(0x1p-25f), 0); /* half the smallest: to the even zero */
    assert_int_equal(wf_f64_to_f16(0x1p-25), 0);
    assert_int_equal(wf_f64_to_f16(0x1.0000000000001p-25), 1);
    assert_int_equal(wf_f32_to_bf16(0x1.fffffep127f), 0x7f80);
    assert_int_equal(wf_f64_to_bf16(0x1.fep127), 0x7f7f);
    assert_int_equal(wf_f64_to_bf16(1e300), 0x7f80);
    assert_int_equal(wf_f64_to_bf16(-1e300), 0xff80);
    assert_int_equal(wf_f64_to_bf16(0x1p-134), 0);
    assert_int_equal(wf_f64_to_bf16(0x1.0000000000001p-134), 1);
    assert_int_equal(wf_f64_to_bf16(-5e-324), 0x8000);
}

static void nan_is_canonical_and_zero_keeps_its_sign(void **state)
{
    static const uint32_t nans[] = {0x7f800001, 0x7fffffff, 0xff800001, 0xffc12345, 0x7fc00000};
    (void)state;
    for (unsigned i = 0; i < sizeof nans / sizeof *nans; i++) {
        float x = wf_f32_from_bits(nans[i]);
        assert_int_equal(wf_f32_to_bf16(x), 0x7fc0);
        assert_int_equal(wf_f32_to_f16(x), 0x7e00);
    }
    double wide[] = {wf_f64_from_bits(0x7ff0000000000001u), wf_f64_from_bits(0xfff8000000000000u),
                     wf_f64_from_bits(UINT64_MAX)};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wf_f64_to_bf16(wide[i]), 0x7fc0);
        assert_int_equal(wf_f64_to_f16(wide[i]), 0x7e00);
    }
    assert_int_equal(wf_f32_to_bf16(-0.0f), 0x8000);
    assert_int_equal(wf_f32_to_f16(-0.0f), 0x8000);
    assert_int_equal(wf_f64_to_bf16(-0.0), 0x8000);
    assert_int_equal(wf_f64_to_f16(-0.0), 0x8000);
    assert_int_equal(wf_f64_to_f16(0.0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_16_bit_pattern_widens_to_its_value),
        cmocka_unit_test(every_16_bit_pattern_survives_a_round_trip),
        cmocka_unit_test(halfway_cases_and_their_neighbours_round_to_even),
        cmocka_unit_test(every_upper_half_of_a_float_rounds_right),
        cmocka_unit_test(random_patterns_round_right),
        cmocka_unit_test(edges_of_the_range),
        cmocka_unit_test(nan_is_canonical_and_zero_keeps_its_sign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
