/* test_diff.c - `weft diff`: numbers against independent arithmetic, byte equality, threads. */
#include "tool_fixture.h"

#include <math.h>

#include "../../src/tool/diff.h"

#define N 5000u            /* five chunks and a rest */
#define BIG (1500u * 1024) /* F32: three blocks, the last one short */

/* ---- an oracle of its own ---- */

/* Values of a type, decoded by the definition of its fields. */
static long double decode(enum wf_dtype dtype, const void *data, size_t i)
{
    float f;
    double d;
    uint16_t h;
    if (dtype == WF_F32) {
        memcpy(&f, (const char *)data + 4 * i, 4);
        return f;
    }
    if (dtype == WF_F64) {
        memcpy(&d, (const char *)data + 8 * i, 8);
        return d;
    }
    memcpy(&h, (const char *)data + 2 * i, 2);
    int fraction_bits = dtype == WF_F16 ? 10 : 7, bias = dtype == WF_F16 ? 15 : 127;
    int exponent = (h & 0x7fff) >> fraction_bits, fraction = h & ((1 << fraction_bits) - 1);
    long double v = exponent
                        ? ldexpl(fraction + (1 << fraction_bits), exponent - bias - fraction_bits)
                        : ldexpl(fraction, 1 - bias - fraction_bits);
    return h & 0x8000 ? -v : v;
}

struct expected {
    long double largest, relative, cosine;
};

static struct expected oracle(enum wf_dtype ta, const void *a, enum wf_dtype tb, const void *b,
                              enum wf_dtype tc, const void *base, size_t n)
{
    long double dd = 0, aa = 0, xx = 0, yy = 0, xy = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        long double av = decode(ta, a, i), bv = decode(tb, b, i);
        long double cv = base ? decode(tc, base, i) : 0, d = fabsl(bv - av);
        largest = d > largest ? d : largest;
        dd += d * d;
        aa += av * av;
        xx += (av - cv) * (av - cv);
        yy += (bv - cv) * (bv - cv);
        xy += (av - cv) * (bv - cv);
    }
    return (struct expected){largest, sqrtl(dd / aa), xy / sqrtl(xx * yy)};
}

static void assert_close(double found, long double expected)
{
    if (fabsl((long double)found - expected) > 1e-12L * (fabsl(expected) + 1e-3L))
        fail_msg("%.17g instead of %.17g", found, (double)expected);
}

static void assert_numbers(const struct wf_json *line, struct expected x)
{
    assert_close(fx_number(line, "max_abs"), x.largest);
    assert_close(fx_number(line, "relative_l2"), x.relative);
    assert_close(fx_number(line, "cosine"), x.cosine);
}

/* Finite bits of any magnitude: subnormals, both zeros, large values. */
static void fill_half(uint16_t *to, size_t n, uint64_t seed, uint16_t infinity)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        to[i] = (uint16_t)(seed >> 40);
        if ((to[i] & infinity) == infinity)
            to[i] ^= (uint16_t)(infinity & ~(infinity << 1));
    }
}

static void fill_f32(float *to, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        to[i] = (float)((double)(int64_t)seed * 0x1p-66);
    }
}

static struct fx_tensor vector(const char *name, enum wf_dtype dtype, uint64_t n, const void *data)
{
    return (struct fx_tensor){name, dtype, 1, {n}, data};
}

static int diff(struct fx *f, const char *base)
{
    f->options.json = true;
    int s = FX_RUN(f, wf_diff_run(&f->e, &f->options, fx_path(f, "a.safetensors"),
                                  fx_path(f, "b.safetensors"), base ? fx_path(f, base) : NULL));
    fx_json(f);
    return s;
}

static void pair(struct fx *f, struct fx_tensor a, struct fx_tensor b)
{
    fx_st(f, "a.safetensors", &a, 1, NULL, 0);
    fx_st(f, "b.safetensors", &b, 1, NULL, 0);
}

/* ---- tests ---- */

static void test_numbers_match_the_definition_for_every_type(void **state)
{
    static const enum wf_dtype types[] = {WF_F64, WF_F32, WF_F16, WF_BF16};
    struct fx *f = *state;
    static uint16_t half[2][2][N]; /* [side][type] */
    static float single[2][N];
    static double wide[2][N];
    for (int s = 0; s < 2; s++) {
        fill_half(half[s][0], N, 3 + (uint64_t)s, 0x7c00);
        fill_half(half[s][1], N, 5 + (uint64_t)s, 0x7f80);
        /* bf16 of any exponent: squares of 1e38 fit a double, and so does the oracle's sum */
        fill_f32(single[s], N, 7 + (uint64_t)s);
        for (size_t i = 0; i < N; i++)
            wide[s][i] = sin((double)(i + 1) * (s + 1.5)) * 1e-3;
    }
    const void *data[2][4];
    for (int s = 0; s < 2; s++) {
        data[s][0] = wide[s];
        data[s][1] = single[s];
        data[s][2] = half[s][0];
        data[s][3] = half[s][1];
    }
    for (int ta = 0; ta < 4; ta++)
        for (int tb = 0; tb < 4; tb++) {
            pair(f, vector("w", types[ta], N, data[0][ta]), vector("w", types[tb], N, data[1][tb]));
            assert_int_equal(diff(f, NULL), WF_NO);
            assert_numbers(fx_line(f, "tensor", "name", "w"),
                           oracle(types[ta], data[0][ta], types[tb], data[1][tb], WF_F32, NULL, N));
        }
}

static void test_with_a_base_the_cosine_is_of_the_deltas(void **state)
{
    struct fx *f = *state;
    static float a[N], b[N];
    static uint16_t base[N];
    fill_f32(a, N, 1);
    fill_f32(b, N, 2);
    fill_half(base, N, 3, 0x7c00);
    for (size_t i = 0; i < N; i++)
        base[i] &= 0xbbff; /* below 2: comparable to a and b */
    struct fx_tensor bases[] = {vector("w", WF_F16, N, base)};
    struct fx_tensor as[] = {vector("w", WF_F32, N, a), vector("new", WF_F32, N, a)};
    struct fx_tensor bs[] = {vector("w", WF_F32, N, b), vector("new", WF_F32, N, b)};
    fx_st(f, "a.safetensors", as, 2, NULL, 0);
    fx_st(f, "b.safetensors", bs, 2, NULL, 0);
    fx_st(f, "base.safetensors", bases, 1, NULL, 0);
    struct expected x = oracle(WF_F32, a, WF_F32, b, WF_F16, base, N);
    assert_int_equal(diff(f, "base.safetensors"), WF_NO);
    assert_numbers(fx_line(f, "tensor", "name", "w"), x);
    /* A tensor that the base lacks has no delta, and its values must not dilute the total. */
    assert_true(fx_is_null(fx_line(f, "tensor", "name", "new"), "cosine"));
    const struct wf_json *summary = fx_line(f, "summary", NULL, NULL);
    fx_assert_string(summary, "cosine_of", "deltas");
    assert_close(fx_number(summary, "cosine"), x.cosine);
}

static void test_summary_is_over_all_values(void **state)
{
    struct fx *f = *state;
    static float a[2 * N], b[2 * N];
    fill_f32(a, 2 * N, 11);
    fill_f32(b, 2 * N, 12);
    b[N + 17] = 5;
    struct fx_tensor as[] = {vector("x", WF_F32, N, a), vector("y", WF_F32, N, a + N)};
    struct fx_tensor bs[] = {vector("x", WF_F32, N, b), vector("y", WF_F32, N, b + N)};
    fx_st(f, "a.safetensors", as, 2, NULL, 0);
    fx_st(f, "b.safetensors", bs, 2, NULL, 0);
    assert_int_equal(diff(f, NULL), WF_NO);
    const struct wf_json *summary = fx_line(f, "summary", NULL, NULL);
    assert_numbers(summary, oracle(WF_F32, a, WF_F32, b, WF_F32, NULL, 2 * N));
    fx_assert_string(summary, "max_abs_tensor", "y");
    assert_int_equal((int)fx_number(summary, "different"), 2);
}

static void test_same_bytes_are_the_answer_yes(void **state)
{
    struct fx *f = *state;
    static float a[N];
    fill_f32(a, N, 1);
    a[3] = NAN; /* a NaN equals itself as bytes */
    pair(f, vector("w", WF_F32, N, a), vector("w", WF_F32, N, a));
    assert_int_equal(diff(f, NULL), WF_OK);
    const struct wf_json *line = fx_line(f, "tensor", "name", "w");
    fx_assert_string(line, "result", "equal");
    assert_int_equal((int)fx_number(line, "non_finite_a"), 1);
    assert_true(fx_number(line, "max_abs") == 0 && fx_number(line, "relative_l2") == 0);
    assert_true(fx_is_true(fx_line(f, "summary", NULL, NULL), "bytes_equal"));
}

static void test_zero_of_another_sign_is_a_difference_of_bytes(void **state)
{
    struct fx *f = *state;
    float a[] = {0.0f, 1.0f}, b[] = {-0.0f, 1.0f};
    pair(f, vector("w", WF_F32, 2, a), vector("w", WF_F32, 2, b));
    assert_int_equal(diff(f, NULL), WF_NO);
    const struct wf_json *line = fx_line(f, "tensor", "name", "w");
    fx_assert_string(line, "result", "different");
    assert_true(fx_number(line, "max_abs") == 0);
}

static void test_equal_values_of_another_type_are_different(void **state)
{
    struct fx *f = *state;
    float a[] = {1.5f, -2.0f};
    uint16_t b[] = {0x3fc0, 0xc000};
    pair(f, vector("w", WF_F32, 2, a), vector("w", WF_BF16, 2, b));
    assert_int_equal(diff(f, NULL), WF_NO);
    const struct wf_json *line = fx_line(f, "tensor", "name", "w");
    assert_false(fx_is_true(line, "bytes_equal"));
    assert_true(fx_number(line, "max_abs") == 0 && fx_number(line, "cosine") == 1);
}

static void test_output_does_not_depend_on_threads_or_memory(void **state)
{
    struct fx *f = *state;
    float *a = test_calloc(2 * BIG, sizeof *a), *b = a + BIG;
    fill_f32(a, BIG, 21);
    fill_f32(b, BIG, 22);
    pair(f, vector("w", WF_F32, BIG, a), vector("w", WF_F32, BIG, b));
    f->options.threads = 1;
    assert_int_equal(diff(f, NULL), WF_NO);
    assert_numbers(fx_line(f, "tensor", "name", "w"),
                   oracle(WF_F32, a, WF_F32, b, WF_F32, NULL, BIG));
    char *once = strdup(f->text);
    for (unsigned threads = 2; threads <= 7; threads++) {
        f->options.threads = threads;
        f->options.memory_bytes = threads % 2 ? 1 : (uint64_t)64 << 20;
        assert_int_equal(diff(f, NULL), WF_NO);
        assert_string_equal(f->text, once);
    }
    free(once);
    test_free(a);
}

static void test_one_bit_at_either_end_of_a_large_tensor_is_found(void **state)
{
    struct fx *f = *state;
    unsigned char *a = test_calloc(2, 4 * BIG), *b = a + 4 * BIG;
    static const enum wf_dtype types[] = {WF_F32, WF_I32, WF_U8};
    for (size_t t = 0; t < 6; t++) {
        enum wf_dtype type = types[t / 2];
        uint64_t n = type == WF_U8 ? 4 * BIG : BIG;
        size_t at = t % 2 ? 4 * BIG - 4 : 0;
        b[at] = 1;
        pair(f, vector("w", type, n, a), vector("w", type, n, b));
        b[at] = 0;
        assert_int_equal(diff(f, NULL), WF_NO);
        fx_assert_string(fx_line(f, "tensor", "name", "w"), "result", "different");
    }
    test_free(a);
}

static void test_what_is_missing_or_of_another_shape_is_named(void **state)
{
    struct fx *f = *state;
    float v[12] = {1, 2, 3};
    struct fx_tensor as[] = {{"both", WF_F32, 2, {3, 4}, v},
                             {"only a", WF_F32, 0, {0}, v},
                             {"same", WF_F32, 1, {12}, v}};
    struct fx_tensor bs[] = {{"b first", WF_F32, 1, {2}, v},
                             {"both", WF_F32, 2, {4, 3}, v},
                             {"same", WF_F32, 1, {12}, v},
                             {"z last", WF_F32, 1, {1}, v}};
    fx_st(f, "a.safetensors", as, 3, NULL, 0);
    fx_st(f, "b.safetensors", bs, 4, NULL, 0);
    assert_int_equal(diff(f, NULL), WF_NO);
    fx_assert_string(fx_line(f, "tensor", "name", "both"), "result", "shape");
    fx_assert_string(fx_line(f, "tensor", "name", "only a"), "result", "only_in_a");
    fx_assert_string(fx_line(f, "tensor", "name", "b first"), "result", "only_in_b");
    fx_assert_string(fx_line(f, "tensor", "name", "z last"), "result", "only_in_b");
    fx_assert_string(fx_line(f, "tensor", "name", "same"), "result", "equal");
    const struct wf_json *summary = fx_line(f, "summary", NULL, NULL);
    assert_int_equal((int)fx_number(summary, "tensors"), 5);
    assert_int_equal((int)fx_number(summary, "only_in_a"), 1);
    assert_int_equal((int)fx_number(summary, "only_in_b"), 2);
    assert_int_equal((int)fx_number(summary, "different"), 1);
    assert_int_equal((int)fx_number(summary, "equal"), 1);
}

static void test_integers_are_compared_as_bytes_alone(void **state)
{
    struct fx *f = *state;
    int32_t a[] = {1, 2}, b[] = {1, 3};
    struct fx_tensor as[] = {vector("i", WF_I32, 2, a), vector("mixed", WF_I32, 2, a)};
    struct fx_tensor bs[] = {vector("i", WF_I32, 2, b), vector("mixed", WF_F32, 2, b)};
    fx_st(f, "a.safetensors", as, 2, NULL, 0);
    fx_st(f, "b.safetensors", bs, 2, NULL, 0);
    assert_int_equal(diff(f, NULL), WF_NO);
    const struct wf_json *line = fx_line(f, "tensor", "name", "i");
    fx_assert_string(line, "result", "different");
    assert_true(fx_is_null(line, "max_abs") && fx_is_null(line, "cosine"));
    line = fx_line(f, "tensor", "name", "mixed");
    fx_assert_string(line, "result", "different");
    fx_assert_string(line, "dtype_b", "F32");
}

static void test_values_that_are_not_finite_are_counted_and_left_out(void **state)
{
    struct fx *f = *state;
    float a[] = {1, NAN, 3, INFINITY, 5}, b[] = {2, NAN, -INFINITY, -INFINITY, 5};
    float fa[] = {1, 5}, fb[] = {2, 5};
    pair(f, vector("w", WF_F32, 5, a), vector("w", WF_F32, 5, b));
    assert_int_equal(diff(f, NULL), WF_NO);
    const struct wf_json *line = fx_line(f, "tensor", "name", "w");
    assert_int_equal((int)fx_number(line, "non_finite_a"), 2);
    assert_int_equal((int)fx_number(line, "non_finite_b"), 3);
    assert_numbers(line, oracle(WF_F32, fa, WF_F32, fb, WF_F32, NULL, 2));
    f->options.json = false;
    assert_int_equal(FX_RUN(f, wf_diff_run(&f->e, &f->options, fx_path(f, "a.safetensors"),
                                           fx_path(f, "b.safetensors"), NULL)),
                     WF_NO);
    fx_assert_has(f->text, "not finite: 2 / 3");
}

static void test_a_base_that_is_not_finite_spoils_its_own_element_alone(void **state)
{
    struct fx *f = *state;
    float a[] = {1, 2, 4}, b[] = {2, 2, 3}, c[] = {0.5f, NAN, 1};
    float ta[] = {1, 4}, tb[] = {2, 3}, tc[] = {0.5f, 1};
    struct fx_tensor base = vector("w", WF_F32, 3, c);
    pair(f, vector("w", WF_F32, 3, a), vector("w", WF_F32, 3, b));
    fx_st(f, "base.safetensors", &base, 1, NULL, 0);
    assert_int_equal(diff(f, "base.safetensors"), WF_NO);
    const struct wf_json *line = fx_line(f, "tensor", "name", "w");
    assert_close(fx_number(line, "cosine"), oracle(WF_F32, ta, WF_F32, tb, WF_F32, tc, 2).cosine);
    assert_close(fx_number(line, "relative_l2"),
                 oracle(WF_F32, a, WF_F32, b, WF_F32, NULL, 3).relative);
}

static void test_a_base_of_another_shape_or_kind_takes_no_part(void **state)
{
    struct fx *f = *state;
    float v[] = {1, 2, 3, 4}, w[] = {2, 2, 3, 4};
    struct fx_tensor bases[] = {
        vector("w", WF_F32, 2, v), vector("w", WF_I32, 4, v), {"w", WF_F32, 2, {2, 2}, v}};
    pair(f, vector("w", WF_F32, 4, v), vector("w", WF_F32, 4, w));
    for (size_t i = 0; i < 3; i++) {
        fx_st(f, "base.safetensors", &bases[i], 1, NULL, 0);
        assert_int_equal(diff(f, "base.safetensors"), WF_NO);
        const struct wf_json *line = fx_line(f, "tensor", "name", "w");
        assert_true(fx_is_null(line, "cosine"));
        assert_true(fx_number(line, "max_abs") == 1);
    }
}

static void test_zero_vectors_have_no_cosine(void **state)
{
    struct fx *f = *state;
    float zeros[] = {0, 0}, ones[] = {1, 1};
    struct fx_tensor as[] = {vector("empty", WF_F32, 0, zeros), vector("to", WF_F32, 2, zeros),
                             vector("zero", WF_F32, 2, zeros)};
    struct fx_tensor bs[] = {vector("empty", WF_F32, 0, zeros), vector("to", WF_F32, 2, ones),
                             vector("zero", WF_F32, 2, zeros)};
    fx_st(f, "a.safetensors", as, 3, NULL, 0);
    fx_st(f, "b.safetensors", bs, 3, NULL, 0);
    assert_int_equal(diff(f, NULL), WF_NO);
    const struct wf_json *line = fx_line(f, "tensor", "name", "zero");
    assert_true(fx_is_null(line, "cosine") && fx_number(line, "relative_l2") == 0);
    line = fx_line(f, "tensor", "name", "to"); /* infinitely far, relative to nothing */
    assert_true(fx_is_null(line, "cosine") && fx_is_null(line, "relative_l2"));
    fx_assert_string(fx_line(f, "tensor", "name", "empty"), "result", "equal");
}

static void test_squares_beyond_a_double_do_not_spoil_norms_and_cosines(void **state)
{
    struct fx *f = *state;
    double small[] = {1e-300, 0}, twice[] = {2e-300, 0}, zero[] = {0, 0};
    double large[] = {1e200, 1}, other[] = {-1e200, 1}, top[] = {1.5e308, 0},
           down[] = {-1.5e308, 0};
    struct fx_tensor as[] = {vector("large", WF_F64, 2, large), vector("most", WF_F64, 2, top),
                             vector("small", WF_F64, 2, small), vector("zero", WF_F64, 2, zero)};
    struct fx_tensor bs[] = {vector("large", WF_F64, 2, other), vector("most", WF_F64, 2, down),
                             vector("small", WF_F64, 2, twice), vector("zero", WF_F64, 2, small)};
    fx_st(f, "a.safetensors", as, 4, NULL, 0);
    fx_st(f, "b.safetensors", bs, 4, NULL, 0);
    assert_int_equal(diff(f, NULL), WF_NO);
    const struct wf_json *line = fx_line(f, "tensor", "name", "small");
    assert_close(fx_number(line, "relative_l2"), 1);
    assert_close(fx_number(line, "cosine"), 1);
    line = fx_line(f, "tensor", "name", "large");
    assert_true(fx_number(line, "max_abs") == 2e200);
    assert_close(fx_number(line, "relative_l2"), 2);
    assert_close(fx_number(line, "cosine"), -1);
    line = fx_line(f, "tensor", "name", "most"); /* its difference is not a double */
    assert_close(fx_number(line, "relative_l2"), 2);
    assert_close(fx_number(line, "cosine"), -1);
    assert_true(fx_is_null(fx_line(f, "tensor", "name", "zero"), "cosine"));
    line = fx_line(f, "summary", NULL, NULL);
    assert_close(fx_number(line, "relative_l2"), 2);
    assert_close(fx_number(line, "cosine"), -1);
}

static void test_damaged_or_absent_models_are_errors_not_answers(void **state)
{
    struct fx *f = *state;
    float v[] = {1};
    pair(f, vector("w", WF_F32, 1, v), vector("w", WF_F32, 1, v));
    f->options.json = true;
    assert_int_equal(FX_RUN(f, wf_diff_run(&f->e, &f->options, fx_path(f, "a.safetensors"),
                                           fx_path(f, "none.safetensors"), NULL)),
                     WF_USAGE);
    fx_assert_has(f->e.text, "none.safetensors");
    assert_string_equal(f->text, "");
    fx_text(f, "b.safetensors", "not a header");
    assert_int_equal(diff(f, NULL), WF_INPUT);
    fx_assert_has(f->e.text, "b.safetensors");
}

static void test_a_result_that_cannot_be_written_is_an_error(void **state)
{
    struct fx *f = *state;
    float v[] = {1};
    pair(f, vector("w", WF_F32, 1, v), vector("w", WF_F32, 1, v));
    f->options.out = fopen("/dev/full", "w");
    if (!f->options.out)
        skip();
    int s = wf_diff_run(&f->e, &f->options, fx_path(f, "a.safetensors"),
                        fx_path(f, "b.safetensors"), NULL);
    fclose(f->options.out);
    assert_int_equal(s, WF_MACHINE);
    fx_assert_has(f->e.text, "cannot write the result");
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_numbers_match_the_definition_for_every_type),
        T(test_with_a_base_the_cosine_is_of_the_deltas),
        T(test_summary_is_over_all_values),
        T(test_same_bytes_are_the_answer_yes),
        T(test_zero_of_another_sign_is_a_difference_of_bytes),
        T(test_equal_values_of_another_type_are_different),
        T(test_output_does_not_depend_on_threads_or_memory),
        T(test_one_bit_at_either_end_of_a_large_tensor_is_found),
        T(test_what_is_missing_or_of_another_shape_is_named),
        T(test_integers_are_compared_as_bytes_alone),
        T(test_values_that_are_not_finite_are_counted_and_left_out),
        T(test_a_base_that_is_not_finite_spoils_its_own_element_alone),
        T(test_a_base_of_another_shape_or_kind_takes_no_part),
        T(test_zero_vectors_have_no_cosine),
        T(test_squares_beyond_a_double_do_not_spoil_norms_and_cosines),
        T(test_damaged_or_absent_models_are_errors_not_answers),
        T(test_a_result_that_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
