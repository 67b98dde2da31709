/* test_methods_exact.c - what methods promise to the bit, and what frames say about numbers that
 * are not finite.
 */
#include "tile_fixture.h"
#include "../../kernels/methods.h"

static struct wf_tile_result last;

static void expect_bytes(const struct tf_case *c, const void *wanted, const char *what)
{
    struct tf_frame frames[3];
    size_t n = tf_frames(frames), width = tf_width(c->out_dtype);
    for (size_t f = 0; f < n; f++) {
        char *out = tf_whole(c, frames[f].run, &last);
        if (last.verdict != WF_TILE_OK)
            fail_msg("%s (%s, %u inputs of %s): verdict %d, input %u, element %zu holds %g", what,
                     frames[f].name, c->n, wf_dtype_info(c->in_dtype[0])->name, (int)last.verdict,
                     last.input, (size_t)last.index,
                     tf_get(c->in_dtype[0], c->in[0], (size_t)last.index));
        for (size_t e = 0; e < c->count; e++)
            if (memcmp(out + e * width, (const char *)wanted + e * width, width))
                fail_msg("%s (%s, %u inputs of %s): element %zu is %a, wanted %a", what,
                         frames[f].name, c->n, wf_dtype_info(c->out_dtype)->name, e,
                         tf_get(c->out_dtype, out, e), tf_get(c->out_dtype, wanted, e));
        tf_free(out);
    }
}

static void *input(const struct tf_case *c, uint32_t i)
{
    return (void *)(uintptr_t)c->in[i];
}

static void fill_patterns(struct tf_case *c, uint32_t i)
{
    for (size_t e = 0; e < c->count; e++)
        tf_put_pattern((enum wf_dtype)c->in_dtype[i], input(c, i), e);
}

static void copy_input(struct tf_case *c, uint32_t to, uint32_t from)
{
    memcpy(input(c, to), c->in[from], c->count * tf_width((enum wf_dtype)c->in_dtype[from]));
}

static void one_model_gives_back_its_bytes_under_any_weight(void **state)
{
    static const double weights[] = {1, 0.3, 3, -7, 49, 1e-30, 1e300, 0.1};
    (void)state;
    for (int d = 0; d < 4; d++)
        for (size_t k = 0; k < sizeof weights / sizeof *weights; k++) {
            struct tf_case c;
            tf_begin(&c, "linear", 1);
            assert_null(tf_prepare(&c, &weights[k], true, 1));
            tf_inputs(&c, &tf_dtypes[d], 1, 20000);
            c.out_dtype = tf_dtypes[d];
            fill_patterns(&c, 0);
            expect_bytes(&c, c.in[0], "linear of one model");
            tf_end(&c);
        }
}

static void all_16_bit_patterns_pass_through_unchanged(void **state)
{
    static const double one = 1;
    (void)state;
    for (int d = 2; d < 4; d++) {
        struct tf_case c;
        tf_begin(&c, "passthrough", 1);
        assert_null(tf_prepare(&c, &one, true, 1));
        tf_inputs(&c, &tf_dtypes[d], 1, 0x10000);
        c.out_dtype = tf_dtypes[d];
        uint16_t *patterns = test_malloc(0x10000 * sizeof *patterns);
        unsigned infinity = tf_dtypes[d] == WF_F16 ? 0x7c00 : 0x7f80, n = 0;
        for (unsigned h = 0; h < 0x10000; h++)
            if ((h & 0x7fff) < infinity)
                patterns[n++] = (uint16_t)h;
        c.count = n;
        memcpy(input(&c, 0), patterns, n * sizeof *patterns);
        expect_bytes(&c, patterns, "passthrough by computing");
        test_free(patterns);
        tf_end(&c);
    }
}

static void task_vector_of_weight_one_gives_back_the_model(void **state)
{
    static const struct {
        double weight, lambda;
        bool normalize;
    } settings[] = {{1, 1, false}, {1, 1, true}, {0.5, 2, false}, {4, 0.25, false}, {4, 1, true}};
    (void)state;
    for (int d = 0; d < 4; d++)
        for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
            struct tf_case c;
            double weights[2] = {0, settings[k].weight};
            tf_begin(&c, "task_arithmetic", 2);
            assert_null(tf_prepare(&c, weights, settings[k].normalize, settings[k].lambda));
            tf_inputs(&c, &tf_dtypes[d], 1, 20000);
            c.out_dtype = tf_dtypes[d];
            fill_patterns(&c, 0); /* nearly all differences are inexact, some overflow */
            fill_patterns(&c, 1);
            expect_bytes(&c, c.in[1], "task_arithmetic of one model");
            tf_end(&c);
        }
}

static void unchanged_elements_keep_the_bases_bytes(void **state)
{
    (void)state;
    for (int d = 0; d < 4; d++)
        for (uint32_t n = 2; n < 20; n++) {
            struct tf_case c;
            double weights[TF_INPUTS_MAX];
            for (uint32_t i = 0; i < n; i++)
                weights[i] = tf_uniform(-2, 2);
            tf_begin(&c, "task_arithmetic", n);
            assert_null(tf_prepare(&c, weights, n % 2, 0.9));
            tf_inputs(&c, &tf_dtypes[d], 1, 2000);
            c.out_dtype = tf_dtypes[d];
            fill_patterns(&c, 0);
            tf_put(tf_dtypes[d], input(&c, 0), 1, -0.0);
            for (uint32_t i = 1; i < n; i++)
                copy_input(&c, i, 0);
            expect_bytes(&c, c.in[0], "task_arithmetic of models equal to the base");
            tf_end(&c);
        }
}

/* `n` models that hold the same values, under weights whose sum the method divides by, or is 1. */
static void check_equal_models(enum wf_dtype d, uint32_t n, const double *weights, bool normalize)
{
    struct tf_case c;
    tf_begin(&c, "linear", n);
    assert_null(tf_prepare(&c, weights, normalize, 1));
    tf_inputs(&c, &d, 1, 3000);
    c.out_dtype = d;
    fill_patterns(&c, 0); /* the largest numbers too (masks hold them): sums of them overflow */
    for (uint32_t i = 1; i < n; i++)
        copy_input(&c, i, 0);
    expect_bytes(&c, c.in[0], "linear of equal models");
    tf_end(&c);
}

static void equal_models_average_to_themselves(void **state)
{
    static const double halves[] = {0.5, 0.5}, thirds[] = {0.25, 0.5, 0.25};
    (void)state;
    for (int d = 0; d < 4; d++) {
        for (uint32_t n = 1; n <= 100; n += n < 20 ? 1 : 11) {
            double equal[TF_INPUTS_MAX], various[TF_INPUTS_MAX];
            for (uint32_t i = 0; i < n; i++) {
                equal[i] = 0.37;
                various[i] = 0.1 * (i + 1);
            }
            check_equal_models(tf_dtypes[d], n, equal, true);
            check_equal_models(tf_dtypes[d], n, various, true);
        }
        check_equal_models(tf_dtypes[d], 2, halves, false);
        check_equal_models(tf_dtypes[d], 3, thirds, false);
    }
}

/* Without an average there is nothing to keep: two equal models of weight 1 add up. */
static void a_sum_of_equal_models_is_a_sum(void **state)
{
    struct tf_case c;
    enum wf_dtype d = WF_F32;
    double twice[3] = {2.5, -0.5, 0};
    float wanted[3];
    (void)state;
    tf_begin(&c, "linear", 2);
    assert_null(tf_prepare(&c, (double[]){1, 1}, false, 1));
    tf_inputs(&c, &d, 1, 3);
    c.out_dtype = d;
    for (size_t e = 0; e < 3; e++) {
        tf_put(d, input(&c, 0), e, twice[e] / 2);
        tf_put(d, wanted, e, twice[e]);
    }
    copy_input(&c, 1, 0);
    expect_bytes(&c, wanted, "sum of equal models");
    tf_end(&c);
}

static double largest_of(enum wf_dtype d)
{
    return d == WF_F64   ? 0x1.fffffffffffffp1023
           : d == WF_F32 ? 0x1.fffffep127
           : d == WF_F16 ? 65504.0
                         : 0x1.fep127;
}

/* One bad number anywhere in any input is found, and named. */
static void bad_input_is_named_exactly(void **state)
{
    static const double bad[] = {INFINITY, -INFINITY, NAN};
    static const size_t places[] = {0, 1, 7, 8, 31, 32, 1023, 1024, 1999};
    struct tf_frame frames[3];
    size_t n_frames = tf_frames(frames), round = 0;
    (void)state;
    for (uint32_t n = 2; n <= 18; n += 4)
        for (int d = 0; d < 4; d++)
            for (size_t p = 0; p < sizeof places / sizeof *places; p++, round++) {
                struct tf_case c;
                double weights[TF_INPUTS_MAX];
                for (uint32_t i = 0; i < n; i++)
                    weights[i] = 1;
                tf_begin(&c, round % 2 ? "linear" : "task_arithmetic", n);
                assert_null(tf_prepare(&c, weights, true, 1));
                tf_inputs(&c, &tf_dtypes[d], 1, 2000);
                c.out_dtype = tf_dtypes[(d + round) % 4];
                c.first = ((uint64_t)1 << 40) + round;
                for (uint32_t i = 0; i < n; i++)
                    for (size_t e = 0; e < c.count; e++)
                        tf_put(tf_dtypes[d], input(&c, i), e, tf_uniform(-1, 1));
                uint32_t who = (uint32_t)(round % n);
                tf_put(tf_dtypes[d], input(&c, who), places[p], bad[round % 3]);
                for (size_t f = 0; f < n_frames; f++) {
                    char *out = tf_whole(&c, frames[f].run, &last);
                    assert_int_equal(last.verdict, WF_TILE_INPUT_NOT_FINITE);
                    assert_int_equal(last.input, who);
                    assert_int_equal(last.index, c.first + places[p]);
                    tf_free(out);
                }
                tf_end(&c);
            }
}

/* A finite input, a result that the stored type cannot hold: named, with the element. */
static void overflow_of_the_stored_type_is_named_exactly(void **state)
{
    static const size_t places[] = {0, 5, 16, 1023, 1024, 2999};
    struct tf_frame frames[3];
    size_t n_frames = tf_frames(frames);
    (void)state;
    for (int in = 0; in < 4; in++)
        for (int out_d = 0; out_d < 4; out_d++)
            for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
                enum wf_dtype from = tf_dtypes[in], to = tf_dtypes[out_d];
                bool wide = from == WF_F64;
                double limit = to == WF_F64 && !wide ? largest_of(WF_F32) : largest_of(to);
                double v = fmin(limit, largest_of(from)), scale = limit / v * 1.5;
                struct tf_case c;
                tf_begin(&c, "passthrough", 1);
                assert_null(tf_prepare(&c, &scale, true, 1));
                if (!wide && scale > largest_of(WF_F32))
                    continue;
                tf_inputs(&c, &from, 1, 3000);
                c.out_dtype = to;
                for (size_t e = 0; e < c.count; e++)
                    tf_put(from, input(&c, 0), e, tf_uniform(-1, 1) / scale);
                tf_put(from, input(&c, 0), places[p], p % 2 ? -v : v);
                for (size_t f = 0; f < n_frames; f++) {
                    char *out = tf_whole(&c, frames[f].run, &last);
                    if (last.verdict != WF_TILE_OVERFLOW || last.index != places[p])
                        fail_msg("%s -> %s: verdict %d at %zu, wanted overflow at %zu",
                                 wf_dtype_info(from)->name, wf_dtype_info(to)->name,
                                 (int)last.verdict, (size_t)last.index, places[p]);
                    tf_free(out);
                }
                tf_end(&c);
            }
}

/* f16's last finite number is 65504; what rounds to it is stored, what rounds beyond is refused. */
static void overflow_begins_where_rounding_does(void **state)
{
    static const double one = 1;
    static const struct {
        enum wf_dtype from, to;
        double value;
        bool fits;
    } cases[] = {
        {WF_F32, WF_F16, 65519.99, true},
        {WF_F32, WF_F16, 65520, false},
        {WF_F64, WF_F16, 65519.999999999, true},
        {WF_F64, WF_F16, -65520, false},
        {WF_F32, WF_BF16, 0x1.fefffep127, true},
        {WF_F32, WF_BF16, 0x1.ffp127, false},
        {WF_F64, WF_F32, 0x1.fffffefffffffp127, true},
        {WF_F64, WF_F32, 0x1.ffffffp127, false},
    };
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct tf_case c;
        tf_begin(&c, "passthrough", 1);
        assert_null(tf_prepare(&c, &one, true, 1));
        tf_inputs(&c, &cases[k].from, 1, 1);
        c.out_dtype = cases[k].to;
        tf_put(cases[k].from, input(&c, 0), 0, cases[k].value);
        char *out = tf_whole(&c, &wf_frame_base, &last);
        assert_int_equal(last.verdict, cases[k].fits ? WF_TILE_OK : WF_TILE_OVERFLOW);
        tf_free(out);
        tf_end(&c);
    }
}

/* non_finite: allow - NaN and infinity go through the formula; a NaN is stored in one form. */
static void unchecked_tiles_store_canonical_nan(void **state)
{
    static const double one = 1;
    static const uint64_t nan_bits[] = {0x7ff8000000000000u, 0x7fc00000u, 0x7e00, 0x7fc0};
    struct tf_frame frames[3];
    size_t n_frames = tf_frames(frames);
    (void)state;
    for (int in = 0; in < 4; in++)
        for (int out_d = 0; out_d < 4; out_d++) {
            struct tf_case c;
            tf_begin(&c, "linear", 1);
            assert_null(tf_prepare(&c, &one, true, 1));
            tf_inputs(&c, &tf_dtypes[in], 1, 100);
            c.out_dtype = tf_dtypes[out_d];
            c.check = false;
            size_t width = tf_width(tf_dtypes[in]);
            for (size_t e = 0; e < c.count; e++)
                tf_put(tf_dtypes[in], input(&c, 0), e, e == 40 ? INFINITY : 1);
            memset((char *)input(&c, 0) + 17 * width, 0xff, width); /* a NaN with all bits set */
            for (size_t f = 0; f < n_frames; f++) {
                char *out = tf_whole(&c, frames[f].run, &last);
                size_t w = tf_width(c.out_dtype);
                assert_int_equal(last.verdict, WF_TILE_OK);
                assert_memory_equal(out + 17 * w, &nan_bits[out_d], w);
                assert_true(isinf(tf_get(c.out_dtype, out, 40)));
                assert_true(tf_get(c.out_dtype, out, 16) == 1);
                tf_free(out);
            }
            tf_end(&c);
        }
}

static void weights_that_add_up_to_zero_are_refused(void **state)
{
    struct tf_case c;
    (void)state;
    tf_begin(&c, "linear", 2);
    assert_non_null(tf_prepare(&c, (double[]){1, -1}, true, 1));
    assert_non_null(tf_prepare(&c, (double[]){0, 0}, true, 1));
    assert_null(tf_prepare(&c, (double[]){1, -1}, false, 1));
    assert_null(tf_prepare(&c, (double[]){1, -0.999}, true, 1));
    tf_begin(&c, "task_arithmetic", 3); /* a sum near zero divides by 1, as the formula says */
    assert_null(tf_prepare(&c, (double[]){0, 1, -1}, true, 1));
    assert_true(c.args.g[0] == 1.0);
}

/* A sum beyond double would make every share zero. */
static void weights_that_cannot_be_added_up_are_refused(void **state)
{
    struct tf_case c;
    (void)state;
    tf_begin(&c, "linear", 2);
    assert_non_null(tf_prepare(&c, (double[]){1e308, 1e308}, true, 1));
    assert_null(tf_prepare(&c, (double[]){1e308, 1e307}, true, 1));
    tf_begin(&c, "task_arithmetic", 3);
    assert_non_null(tf_prepare(&c, (double[]){0, -1e308, -1e308}, true, 1));
}

/* --compat mergekit: inputs rounded on loading are the same as inputs that were stored rounded. */
static void a_cast_is_the_same_as_input_stored_in_that_type(void **state)
{
    enum { N = 4099 };
    static const enum wf_dtype types[] = {WF_BF16, WF_F16, WF_F32};
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        double values[N];
        uint16_t halves[N];
        float floats[N], plain[N], cast[N];
        double weights[1][WF_ARGS_MODEL] = {{1.0}};
        struct wf_args args = {.m = weights, .n = 1, .map = WF_ID_linear_map};
        for (size_t e = 0; e < N; e++) {
            values[e] = ((double)(e * 2654435761u % 100003) / 50001 - 1) * (e % 7 ? 1 : 1e-6);
            floats[e] = (float)values[e];
            halves[e] = types[k] == WF_BF16 ? wf_f64_to_bf16(values[e]) : wf_f64_to_f16(values[e]);
        }
        const void *wide_in[] = {values},
                   *short_in[] = {types[k] == WF_F32 ? (void *)floats : halves};
        uint8_t wide_type = WF_F64, short_type = (uint8_t)types[k];
        char *memory;
        struct wf_tile t = {.method = wf_method_find("linear"),
                            .args = &args,
                            .in = wide_in,
                            .in_dtype = &wide_type,
                            .n = 1,
                            .cast = short_type,
                            .out = cast,
                            .out_dtype = WF_F32,
                            .wide = true,
                            .check = true,
                            .count = N,
                            .to = N,
                            .total = N,
                            .rows = {N, 1},
                            .scratch = tf_scratch(&(struct wf_need){.inputs = 1}, &memory)};
        struct wf_tile_result r;
        wf_frame_base.map(&t, &r);
        assert_int_equal(r.verdict, WF_TILE_OK);
        t.in = short_in;
        t.in_dtype = &short_type;
        t.out = plain;
        wf_frame_base.map(&t, &r);
        test_free(memory);
        assert_memory_equal(plain, cast, sizeof plain);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_model_gives_back_its_bytes_under_any_weight),
        cmocka_unit_test(all_16_bit_patterns_pass_through_unchanged),
        cmocka_unit_test(task_vector_of_weight_one_gives_back_the_model),
        cmocka_unit_test(unchanged_elements_keep_the_bases_bytes),
        cmocka_unit_test(equal_models_average_to_themselves),
        cmocka_unit_test(a_sum_of_equal_models_is_a_sum),
        cmocka_unit_test(bad_input_is_named_exactly),
        cmocka_unit_test(overflow_of_the_stored_type_is_named_exactly),
        cmocka_unit_test(overflow_begins_where_rounding_does),
        cmocka_unit_test(unchecked_tiles_store_canonical_nan),
        cmocka_unit_test(weights_that_add_up_to_zero_are_refused),
        cmocka_unit_test(weights_that_cannot_be_added_up_are_refused),
        cmocka_unit_test(a_cast_is_the_same_as_input_stored_in_that_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
