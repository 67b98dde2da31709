/* test_methods_oracle.c - the methods that are one MAP against their formulas in long double,
 * for all pairs of types, numbers of models and awkward sizes; and the same bytes from every frame
 * and every split.
 *
 * The bound. A method does k roundings of the working type (unit u: 2^-24, or 2^-53 when an input
 * is F64) on the way to an element, each relative to a partial result that is at most S, the sum of
 * the magnitudes of all terms of the formula; so |error| <= k u / (1 - k u) S. Then one rounding to
 * the stored type adds half an ulp of the result.
 *
 *   passthrough       scale to u, product                                        k = 2
 *   linear            weight to u, product, n - 1 sums, divisor to u, quotient   k = n + 3
 *   task_arithmetic   difference, weight to u, product, sums, scale to u,
 *                     product, sum with the base                                 k = n + 4
 *
 * with n all inputs, the base among them. Results below the normal range add the smallest
 * subnormal for each rounding.
 */
#include "tile_fixture.h"

static const char *const names[] = {"linear", "passthrough", "task_arithmetic"};
static const size_t sizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 31, 33, 1023, 1024, 1025, 5000};
static const uint32_t models[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 17, 100};

struct setting {
    double weight[TF_INPUTS_MAX];
    bool normalize;
    double lambda;
};

struct expected {
    long double value, magnitude; /* the formula, and S */
    int roundings;
};

static struct expected formula(const struct tf_case *c, const struct setting *s, size_t e)
{
    struct expected x = {0};
    long double sum = 0, weights = 0;
    bool delta = c->method->base == WF_BASE_REQUIRED;
    long double base = delta ? tf_get(c->in_dtype[0], c->in[0], e) : 0;
    for (uint32_t i = delta; i < c->n; i++) {
        long double v = tf_get(c->in_dtype[i], c->in[i], e), w = s->weight[i];
        sum += w * (v - base);
        weights += w;
        x.magnitude += fabsl(w) * (fabsl(v) + fabsl(base));
    }
    if (delta && (!s->normalize || fabsl(weights) < 1e-8L))
        weights = 1;
    else if (!s->normalize || c->method == wf_method_find("passthrough"))
        weights = 1;
    long double factor = (delta ? s->lambda : 1) / weights;
    x.value = base + factor * sum;
    x.magnitude = fabsl(base) + fabsl(factor) * x.magnitude;
    x.roundings = (int)c->n + (delta ? 4 : 3);
    return x;
}

/* Half an ulp of a number of this magnitude in the stored type. */
static long double half_ulp(enum wf_dtype d, long double v)
{
    int fraction = d == WF_F64 ? 52 : d == WF_F32 ? 23 : d == WF_F16 ? 10 : 7;
    int lowest = d == WF_F64 ? -1022 : d == WF_F16 ? -14 : -126;
    int e = v > 0 ? ilogbl(v) : lowest;
    return ldexpl(1, (e < lowest ? lowest : e) - fraction - 1);
}

static long double bound(const struct tf_case *c, const struct expected *x)
{
    long double unit = c->wide ? 0x1p-53L : 0x1p-24L;
    long double k = x->roundings;
    long double error =
        k * unit / (1 - k * unit) * x->magnitude + k * (c->wide ? 0x1p-1074L : 0x1p-149L);
    bool stored_as_is = c->wide ? c->out_dtype == WF_F64 : tf_width(c->out_dtype) >= 4;
    return stored_as_is ? error : error + half_ulp(c->out_dtype, fabsl(x->value) + error);
}

static void check_formula(const struct tf_case *c, const struct setting *s, const char *out)
{
    for (size_t e = 0; e < c->count; e++) {
        struct expected x = formula(c, s, e);
        long double got = tf_get(c->out_dtype, out, e);
        if (!(fabsl(got - x.value) <= bound(c, &x)))
            fail_msg("%s of %u inputs, %s -> %s, element %zu of %zu: %Lg, wanted %Lg +- %Lg",
                     c->method->name, c->n, wf_dtype_info(c->in_dtype[0])->name,
                     wf_dtype_info(c->out_dtype)->name, e, c->count, got, x.value, bound(c, &x));
    }
}

/* All frames write the same bytes, whole or in two pieces. */
static void check_frames(const struct tf_case *c, const char *out)
{
    struct tf_frame frames[3];
    struct wf_tile_result r;
    size_t width = tf_width(c->out_dtype), n = tf_frames(frames);
    size_t cuts[] = {1, c->count / 3, c->count / 2 + 1, c->count > 0 ? c->count - 1 : 0};
    for (size_t f = 0; f < n; f++) {
        char *other = tf_whole(c, frames[f].run, &r);
        assert_int_equal(r.verdict, WF_TILE_OK);
        if (memcmp(out, other, c->count * width))
            fail_msg("%s of %u inputs, %zu elements: frame %s writes other bytes", c->method->name,
                     c->n, c->count, frames[f].name);
        size_t cut = cuts[(c->count + f) % 4];
        if (cut < c->count) {
            memset(other, 0, c->count * width);
            assert_int_equal(tf_run(c, frames[f].run, 0, cut, other).verdict, WF_TILE_OK);
            assert_int_equal(tf_run(c, frames[f].run, cut, c->count, other + cut * width).verdict,
                             WF_TILE_OK);
            if (memcmp(out, other, c->count * width))
                fail_msg("%s of %u inputs: split at %zu of %zu, frame %s writes other bytes",
                         c->method->name, c->n, cut, c->count, frames[f].name);
        }
        tf_free(other);
    }
}

static void choose(struct setting *s, const struct tf_case *c, unsigned round)
{
    double sum;
    *s = (struct setting){.normalize = round % 2, .lambda = round % 3 ? 1.0 : 0.7};
    do {
        sum = 0;
        for (uint32_t i = 0; i < c->n; i++) {
            s->weight[i] = tf_uniform(0.1, 2) * (tf_random() % 5 ? 1 : -1);
            sum += i >= (c->method->base == WF_BASE_REQUIRED) ? s->weight[i] : 0;
        }
    } while (fabs(sum) < 0.1);
}

/* Values of the size that weights have; some equal to the base's, some zero. */
static void fill(struct tf_case *c)
{
    for (uint32_t i = 0; i < c->n; i++)
        for (size_t e = 0; e < c->count; e++) {
            double v = ldexp(tf_uniform(-1, 1), (int)(tf_random() % 9) - 6);
            if (e % 13 == 5)
                v = e % 2 ? 0.0 : -0.0;
            if (i && e % 11 == 3)
                v = tf_get(c->in_dtype[0], c->in[0], e);
            tf_put(c->in_dtype[i], (void *)(uintptr_t)c->in[i], e, v);
        }
}

static void check_method(const char *name, const enum wf_dtype *dtypes, size_t n_dtypes)
{
    unsigned round = 0;
    for (size_t k = 0; k < sizeof models / sizeof *models; k++)
        for (size_t z = 0; z < sizeof sizes / sizeof *sizes; z++)
            for (size_t o = 0; o < 4; o++, round++) {
                struct tf_case c;
                struct setting s;
                struct wf_tile_result r;
                tf_begin(&c, name, models[k]);
                c.n += c.method->base == WF_BASE_REQUIRED;
                if (models[k] > c.method->max_models)
                    continue;
                choose(&s, &c, round);
                assert_null(tf_prepare(&c, s.weight, s.normalize, s.lambda));
                tf_inputs(&c, dtypes, n_dtypes, sizes[z]);
                c.out_dtype = tf_dtypes[o];
                c.first = round * 1000003u;
                fill(&c);
                char *out = tf_whole(&c, &wf_frame_base, &r);
                assert_int_equal(r.verdict, WF_TILE_OK);
                check_formula(&c, &s, out);
                check_frames(&c, out);
                tf_free(out);
                tf_end(&c);
            }
}

static void check_types(const enum wf_dtype *dtypes, size_t n)
{
    for (size_t m = 0; m < sizeof names / sizeof *names; m++)
        check_method(names[m], dtypes, n);
}

static void formula_holds_for_f64(void **state)
{
    (void)state;
    check_types((enum wf_dtype[]){WF_F64}, 1);
}

static void formula_holds_for_f32(void **state)
{
    (void)state;
    check_types((enum wf_dtype[]){WF_F32}, 1);
}

static void formula_holds_for_f16(void **state)
{
    (void)state;
    check_types((enum wf_dtype[]){WF_F16}, 1);
}

static void formula_holds_for_bf16(void **state)
{
    (void)state;
    check_types((enum wf_dtype[]){WF_BF16}, 1);
}

static void formula_holds_for_mixed_types(void **state)
{
    (void)state;
    check_types((enum wf_dtype[]){WF_BF16, WF_F32, WF_F16}, 3);
    check_types((enum wf_dtype[]){WF_BF16, WF_F64, WF_F32, WF_F16}, 4);
}

/* The order of models is only the order of a sum. */
static void order_of_models_matters_within_the_bound_only(void **state)
{
    (void)state;
    for (size_t m = 0; m < sizeof names / sizeof *names; m++)
        for (uint32_t models_n = 2; models_n < 20; models_n++) {
            struct tf_case c;
            struct setting s;
            struct wf_tile_result r;
            tf_begin(&c, names[m], models_n);
            if (models_n > c.method->max_models)
                continue;
            uint32_t lead = c.method->base == WF_BASE_REQUIRED;
            c.n += lead;
            choose(&s, &c, models_n);
            tf_inputs(&c, (enum wf_dtype[]){WF_F32}, 1, 300);
            c.out_dtype = WF_F32;
            fill(&c);
            for (uint32_t i = lead; i < c.n; i++) { /* a random permutation */
                uint32_t j = i + (uint32_t)(tf_random() % (c.n - i));
                const void *in = c.in[i];
                double w = s.weight[i];
                c.in[i] = c.in[j];
                c.in[j] = in;
                s.weight[i] = s.weight[j];
                s.weight[j] = w;
                assert_null(tf_prepare(&c, s.weight, s.normalize, s.lambda));
                char *out = tf_whole(&c, &wf_frame_base, &r);
                check_formula(&c, &s, out);
                tf_free(out);
            }
            tf_end(&c);
        }
}

/* The registry's rows are what recipes, help and this test rely on. */
static void registry_is_sorted_and_finds_every_method(void **state)
{
    (void)state;
    assert_true(wf_method_count() >= 3);
    for (size_t i = 0; i < wf_method_count(); i++) {
        const struct wf_method *m = wf_method_at(i);
        assert_ptr_equal(wf_method_find(m->name), m);
        assert_int_equal(wf_method_index(m), i);
        assert_string_equal(wf_method_names()[i], m->name);
        if (i)
            assert_true(strcmp(wf_method_at(i - 1)->name, m->name) < 0);
        for (size_t o = 0; o < m->n_options; o++)
            assert_int_equal(wf_method_option(m, m->options[o].name), o);
    }
    assert_null(wf_method_names()[wf_method_count()]);
    assert_null(wf_method_find("linea"));
    assert_null(wf_method_find("task_delta"));
    assert_non_null(wf_method_internal("task_delta"));
    assert_null(wf_method_internal("linear"));
    assert_int_equal(wf_method_option(wf_method_at(0), "no such option"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registry_is_sorted_and_finds_every_method),
        cmocka_unit_test(formula_holds_for_f64),
        cmocka_unit_test(formula_holds_for_f32),
        cmocka_unit_test(formula_holds_for_f16),
        cmocka_unit_test(formula_holds_for_bf16),
        cmocka_unit_test(formula_holds_for_mixed_types),
        cmocka_unit_test(order_of_models_matters_within_the_bound_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
