/* test_oracle_laws.c - what holds for methods whatever their formula: draws are as likely as they
 * should be and belong to a place, the order of models does not matter to exact sums, numbers that
 * nobody changed keep their bits, defaults are the published ones, and what has no answer is
 * refused.
 */
#include "oracle_check.h"

/* One tensor of the case, float32, with these numbers of models. */
static struct oracle_tensor *begin(struct oracle_case *c, const char *method, const char *setting,
                                   uint32_t models, struct oracle_shape shape)
{
    static const uint8_t f32 = WF_F32;
    memset(c, 0, sizeof *c);
    c->method = wf_method_find(method);
    assert_non_null(c->method);
    oracle_set(c, setting);
    c->n = models + c->base;
    return oracle_add(c, shape, &f32, 1, WF_F32);
}

/* The result as float32, cut at random; freed by the caller. */
static float *merged(struct oracle_case *c)
{
    struct oracle_result r;
    const char *why = oracle_prepare(c);
    if (why)
        fail_msg("%s '%s': %s", c->method->name, c->setting, why);
    oracle_settle_columns(c);
    oracle_drive(c, wf_backend_cpu(), false, &r);
    assert_int_equal(r.verdict, WF_TILE_OK);
    float *out = test_malloc(c->count * sizeof *out + 1);
    memcpy(out, r.out[0], c->count * sizeof *out);
    oracle_free_result(c, &r);
    return out;
}

/* ---- draws ---- */

/* Base 0, every delta 1: what is kept is what is not zero. */
static float *drawn(struct oracle_case *c, const char *method, const char *setting, uint32_t models,
                    struct oracle_shape shape, uint64_t key)
{
    struct oracle_tensor *t = begin(c, method, setting, models, shape);
    t->draw_key = key;
    for (uint32_t i = 0; i < c->n; i++)
        for (uint64_t e = 0; e < t->count; e++)
            oracle_store(t, i, e, i ? ldexp(1, (int)i) : 0);
    return merged(c);
}

/* Six standard deviations: one false alarm in 10^8. */
static void assert_rate(uint64_t kept, uint64_t n, double p, const char *what)
{
    double sigma = sqrt((double)n * p * (1 - p));
    if (fabs((double)kept - (double)n * p) > 6 * sigma)
        fail_msg("%s: %" PRIu64 " of %" PRIu64 " were kept, wanted %g +- %g", what, kept, n,
                 (double)n * p, sigma);
}

static void each_density_keeps_its_share(void **state)
{
    (void)state;
    static const double densities[] = {0.001, 0.1, 0.5, 0.9, 0.999};
    for (size_t d = 0; d < sizeof densities / sizeof *densities; d++) {
        struct oracle_case c;
        char setting[64];
        snprintf(setting, sizeof setting, "density=%g rescale=0 weight=1", densities[d]);
        float *out = drawn(&c, "dare_linear", setting, 1, (struct oracle_shape){1, {1u << 20}}, 7);
        uint64_t kept = 0, pairs = 0;
        for (uint64_t e = 0; e < c.count; e++) {
            kept += out[e] != 0;
            pairs += e && out[e] != 0 && out[e - 1] != 0;
        }
        assert_rate(kept, c.count, densities[d], setting);
        assert_rate(pairs, c.count - 1, densities[d] * densities[d], "neighbours, both kept");
        test_free(out);
        oracle_end(&c);
    }
}

static void density_0_keeps_nothing_and_1_all(void **state)
{
    (void)state;
    struct oracle_case c;
    float *none = drawn(&c, "dare_ties", "density=0 weight=1", 2, oracle_shapes[14], 7);
    for (uint64_t e = 0; e < c.count; e++)
        assert_true(none[e] == 0);
    test_free(none);
    oracle_end(&c);
    float *all = drawn(&c, "dare_linear", "density=1 weight=1", 2, oracle_shapes[14], 7);
    for (uint64_t e = 0; e < c.count; e++)
        assert_true(all[e] == 6);
    test_free(all);
    oracle_end(&c);
}

static void models_and_tensors_draw_independently(void **state)
{
    (void)state;
    struct oracle_case c;
    struct oracle_shape shape = {1, {1u << 18}};
    float *a = drawn(&c, "dare_linear", "density=0.3 rescale=0 weight=1", 3, shape, 7);
    oracle_end(&c);
    float *b = drawn(&c, "dare_linear", "density=0.3 rescale=0 weight=1", 3, shape, 8);
    uint64_t both = 0, tensors = 0;
    for (uint64_t e = 0; e < c.count; e++) { /* model i adds 2^i */
        both += ((int)a[e] & 6) == 6;
        tensors += ((int)a[e] & 2) && ((int)b[e] & 2);
    }
    assert_rate(both, c.count, 0.09, "two models");
    assert_rate(tensors, c.count, 0.09, "two tensors");
    test_free(a);
    test_free(b);
    oracle_end(&c);
}

/* Ranks by index, as all deltas are equal: column k of 9 is kept with density - epsilon + 2 epsilon
 * k / 8. */
static void della_keeps_by_rank(void **state)
{
    (void)state;
    struct oracle_case c;
    struct oracle_shape shape = {2, {100000, 9}};
    float *out =
        drawn(&c, "della_linear", "density=0.5 epsilon=0.4 rescale=0 weight=1", 1, shape, 3);
    for (uint64_t k = 0; k < 9; k++) {
        uint64_t kept = 0;
        for (uint64_t r = 0; r < shape.dim[0]; r++)
            kept += out[r * 9 + k] != 0;
        assert_rate(kept, shape.dim[0], 0.1 + 0.1 * (double)k, "a rank");
    }
    test_free(out);
    oracle_end(&c);
}

/* The mean of many rescaled tensors is the tensor. */
static void rescaling_keeps_the_mean(void **state)
{
    (void)state;
    static const char *const methods[] = {"dare_linear", "della_linear"};
    for (int k = 0; k < 2; k++) {
        struct oracle_case c;
        struct oracle_shape shape = {2, {1 << 12, 64}};
        float *out = drawn(&c, methods[k], "density=0.3 weight=1", 1, shape, 11);
        double sum = 0;
        for (uint64_t e = 0; e < c.count; e++)
            sum += out[e] / 2;
        /* each term has a variance of at most 1 / 0.15 - 1 */
        assert_true(fabs(sum / (double)c.count - 1) < 6 * sqrt(6.0 / (double)c.count));
        test_free(out);
        oracle_end(&c);
    }
}

/* ---- the order of models ---- */

/* On a grid, with dyadic weights, every sum is exact: any order of models gives the same bytes, and
 * so the same masks. */
static void order_of_models_changes_no_byte_of_exact_sums(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"task_arithmetic", ""},
        {"ties", "density=0.3 normalize=0"},
        {"ties", "density=0.3 normalize=0 ties=exact"},
        {"ties", "density=0.3 normalize=0 scope=row"},
        {"breadcrumbs", "density=0.4 gamma=0.1"},
        {"breadcrumbs_ties", "density=0.4 gamma=0.1 scope=row"},
        {"ram", "epsilon=0.0009765625"},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        struct oracle_case c, d;
        struct oracle_tensor *t =
            begin(&c, rows[k][0], rows[k][1], 4, (struct oracle_shape){2, {61, 83}});
        begin(&d, rows[k][0], rows[k][1], 4, t->shape);
        oracle_fill(&c, oracle_data_named("grid"));
        static const uint32_t order[] = {0, 3, 1, 4, 2};
        for (uint32_t i = 0; i < c.n; i++) {
            if (k < 6) { /* ram has no weights */
                c.option[i][0] = i % 2 ? 0.5 : 0.25;
                d.option[i][0] = order[i] % 2 ? 0.5 : 0.25;
            }
            for (uint64_t e = 0; e < t->count; e++)
                oracle_store(&d.tensor[0], i, e, t->x[order[i]][e]);
        }
        float *a = merged(&c), *b = merged(&d);
        if (k < 6)
            assert_memory_equal(a, b, c.count * sizeof *a);
        for (uint64_t e = 0; e < c.count; e++) /* ram divides by 3 */
            assert_true(fabsf(a[e] - b[e]) <= 0x1p-25f);
        test_free(a);
        test_free(b);
        oracle_end(&c);
        oracle_end(&d);
    }
}

/* ---- bits that stay ---- */

/* Every method with a base, its settings where it needs some, and numbers of models. */
static const struct {
    const char *method, *setting;
    uint32_t models;
} with_base[] = {
    {"task_arithmetic", "", 3},
    {"ties", "density=0.3", 3},
    {"ties", "density=0.3 rescale=1 scope=row", 3},
    {"breadcrumbs", "density=0.5 gamma=0.1", 3},
    {"breadcrumbs_ties", "low=0.2 high=0.9", 3},
    {"dare_linear", "density=0.5", 3},
    {"dare_ties", "density=0.5 compat", 3},
    {"della", "density=0.5", 3},
    {"della_linear", "density=0.5 compat", 3},
    {"sce", "", 3},
    {"sce", "select_topk=0.5", 3},
    {"ram", "", 3},
    {"ramplus_tl", "", 3},
    {"model_stock", "", 3},
    {"model_stock", "filter_wise=1", 3},
    {"slerp", "t=0.4", 1},
    {"nuslerp", "weight=0.4,0.6 base", 2},
    {"nuslerp", "weight=0.4,0.6 base nuslerp_flatten=0", 2},
    {"multislerp", "weight=0.4,0.6,1 base", 3},
    {"nearswap", "t=0.01", 1},
    {"arcee_fusion", "", 1},
};

/* What no model changed keeps the base's bits, the sign of zero included: in a tensor that nobody
 * changed, and at the elements that nobody changed of another. */
static void unchanged_numbers_keep_their_bits(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof with_base / sizeof *with_base; k++)
        for (int some = 0; some < 2; some++) {
            if (some && !strcmp(with_base[k].method, "slerp"))
                continue; /* a combination of both vectors: promises no bits of single elements */
            struct oracle_case c;
            struct oracle_tensor *t =
                begin(&c, with_base[k].method, with_base[k].setting, with_base[k].models,
                      (struct oracle_shape){2, {50, 70}});
            oracle_fill(&c, oracle_data_named("unchanged"));
            for (uint32_t i = 1; i < c.n && some; i++)
                for (uint64_t e = 0; e < t->count; e++)
                    if (e % 3 == 0)
                        oracle_store(t, i, e, t->x[i][e] + 0.01 * oracle_gauss());
            float *out = merged(&c);
            for (uint64_t e = 0; e < c.count; e++) {
                float base = (float)t->x[0][e];
                if ((!some || e % 3) && memcmp(&out[e], &base, sizeof base))
                    fail_msg("%s '%s': element %" PRIu64 " was %g and is %g", c.method->name,
                             c.setting, e, (double)base, (double)out[e]);
            }
            test_free(out);
            oracle_end(&c);
        }
}

/* Settings under which a method gives back one input, bit for bit. */
static void a_lone_model_is_given_back(void **state)
{
    (void)state;
    static const struct {
        const char *method, *setting;
        uint32_t models, input;
    } rows[] = {
        {"linear", "weight=0.3", 1, 0},
        {"linear", "weight=1,0 normalize=0", 1, 0},
        {"passthrough", "", 1, 0},
        {"task_arithmetic", "weight=1", 1, 1},
        {"task_arithmetic", "weight=0.3 normalize=1", 1, 1},
        {"ties", "weight=0.7", 1, 1},
        {"ties", "weight=1 normalize=0 density=1", 1, 1},
        {"breadcrumbs", "weight=1", 1, 1},
        {"dare_linear", "weight=1", 1, 1},
        {"dare_ties", "weight=1 density=1", 1, 1},
        {"della", "weight=1", 1, 1},
        {"slerp", "t=0", 1, 0},
        {"slerp", "t=1", 1, 1},
        {"multislerp", "weight=0.4", 1, 0},
        {"multislerp", "weight=0.4 base", 1, 1},
        {"karcher", "", 1, 0},
        {"nearswap", "t=0", 1, 0},
        {"nearswap", "t=100", 1, 1},
    };
    static const char *const sets[] = {"gauss", "range", "signs", "grid"};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        for (size_t s = 0; s < 4; s++) {
            struct oracle_case c;
            struct oracle_tensor *t = begin(&c, rows[k].method, rows[k].setting, rows[k].models,
                                            (struct oracle_shape){2, {29, 53}});
            oracle_fill(&c, oracle_data_named(sets[s]));
            float *out = merged(&c);
            for (uint64_t e = 0; e < c.count; e++) {
                float given = (float)t->x[rows[k].input][e], base = (float)t->x[0][e];
                bool same = !memcmp(&out[e], &given, sizeof given);
                /* +0 over -0 is no change: the base's bits stay */
                same |= given == base && !memcmp(&out[e], &base, sizeof base);
                if (!same)
                    fail_msg("%s '%s', %s: element %" PRIu64 " is %.9g and not %.9g",
                             c.method->name, c.setting, sets[s], e, (double)out[e], (double)given);
            }
            test_free(out);
            oracle_end(&c);
        }
}

/* What is kept of a lone model whose factors are 1 has the model's bits, all else the base's. */
static void what_is_kept_of_a_lone_model_has_its_bits(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"ties", "weight=1 density=0.4 normalize=0"},
        {"ties", "weight=1 density=0.4"},
        {"ties", "weight=1 density=0.4 scope=row"},
        {"breadcrumbs", "weight=1 density=0.4"},
        {"dare_linear", "weight=1 density=0.4 rescale=0"},
        {"dare_ties", "weight=1 density=0.4 rescale=0"},
        {"della", "weight=1 density=0.4 rescale=0"},
        {"sce", ""},
        {"arcee_fusion", ""},
        {"ram", ""},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        struct oracle_case c;
        struct oracle_tensor *t =
            begin(&c, rows[k][0], rows[k][1], 1, (struct oracle_shape){2, {40, 50}});
        oracle_fill(&c, oracle_data_named("range"));
        float *out = merged(&c);
        for (uint64_t e = 0; e < c.count; e++) {
            float base = (float)t->x[0][e], model = (float)t->x[1][e];
            if (memcmp(&out[e], &base, sizeof base) && memcmp(&out[e], &model, sizeof model))
                fail_msg("%s '%s': element %" PRIu64 " is %.9g, not %.9g or %.9g", c.method->name,
                         c.setting, e, (double)out[e], (double)base, (double)model);
        }
        test_free(out);
        oracle_end(&c);
    }
}

/* ---- tables ---- */

static void defaults_are_the_published_ones(void **state)
{
    (void)state;
    static const struct {
        const char *method, *option;
        double value;
    } rows[] = {
        {"linear", "normalize", 1},
        {"task_arithmetic", "normalize", 0},
        {"task_arithmetic", "rescale", 0},
        {"task_arithmetic", "lambda", 1},
        {"ties", "normalize", 1},
        {"ties", "rescale", 0},
        {"ties", "density", 1},
        {"ties", "lambda", 1},
        {"dare_linear", "normalize", 0},
        {"dare_linear", "rescale", 1},
        {"dare_ties", "normalize", 0},
        {"dare_ties", "rescale", 1},
        {"breadcrumbs", "normalize", 0},
        {"breadcrumbs", "rescale", 0},
        {"breadcrumbs", "gamma", 0.01},
        {"breadcrumbs_ties", "normalize", 0},
        {"breadcrumbs_ties", "rescale", 0},
        {"breadcrumbs_ties", "gamma", 0.01},
        {"della", "normalize", 1},
        {"della", "rescale", 1},
        {"della", "epsilon", 0.15},
        {"della_linear", "normalize", 0},
        {"della_linear", "rescale", 1},
        {"della_linear", "epsilon", 0.15},
        {"sce", "select_topk", 1},
        {"ram", "epsilon", 1e-5},
        {"ramplus_tl", "r", 0.1},
        {"ramplus_tl", "alpha", 0.2},
        {"ramplus_tl", "epsilon", 1e-5},
        {"model_stock", "filter_wise", 0},
        {"karcher", "max_iter", 10},
        {"karcher", "tol", 1e-5},
        {"nuslerp", "nuslerp_flatten", 1},
        {"nuslerp", "nuslerp_row_wise", 0},
        {"multislerp", "eps", 1e-8},
        {"multislerp", "normalize_weights", 1},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        const struct wf_method *m = wf_method_find(rows[k].method);
        int o = wf_method_option(m, rows[k].option);
        if (o < 0 || m->options[o].fallback != rows[k].value)
            fail_msg("%s: '%s' should be %g unless given", m->name, rows[k].option, rows[k].value);
    }
}

/* Settings that `prepare` must refuse with a sentence. */
static void impossible_settings_are_refused(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"della", "density=0.1"},
        {"della", "density=0.9"},
        {"della_linear", "density=0.5 epsilon=0.5"},
        {"breadcrumbs", "low=0.5"},
        {"breadcrumbs", "high=0.5"},
        {"breadcrumbs_ties", "low=0.9 high=0.5"},
        {"linear", "weight=1,-1"},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        struct oracle_case c;
        begin(&c, rows[k][0], rows[k][1], 2, oracle_shapes[4]);
        const char *why = oracle_prepare(&c);
        if (!why || strchr(why, '\n') || strlen(why) < 20)
            fail_msg("%s '%s': %s", rows[k][0], rows[k][1], why ? why : "was not refused");
        oracle_end(&c);
    }
}

/* ---- scope model ---- */

/* The results of both tensors, of which the first's args are the model's. */
static void drive_two(const struct oracle_case *c, struct oracle_result *r)
{
    oracle_drive(c, wf_backend_cpu(), false, r);
    assert_int_equal(r->verdict, WF_TILE_OK);
}

/* A tensor with other numbers in its own slots: it alone comes out differently. */
static void check_own_slots(const struct wf_method *m, const char *setting)
{
    static const uint8_t f32 = WF_F32;
    const struct oracle_shape shape = {2, {13, 29}};
    struct oracle_case c = {.method = m};
    struct oracle_result before, after;
    oracle_set(&c, setting);
    c.n = 3 + c.base;
    for (unsigned k = 0; k < 2; k++) {
        struct oracle_tensor *t = oracle_add(&c, shape, &f32, 1, WF_F32);
        for (uint32_t i = 0; i < c.n; i++)
            for (uint64_t e = 0; e < t->count; e++)
                oracle_store(t, i, e, oracle_gauss());
    }
    assert_null(oracle_prepare(&c));
    drive_two(&c, &before);
    struct wf_args *own = &c.tensor[0].args;
    for (unsigned k = 0; k < WF_ARGS_GLOBAL; k++)
        own->g[k] = m->own_g >> k & 1 ? 3 * own->g[k] + 1 : own->g[k];
    for (uint32_t i = 0; i < c.n; i++)
        for (unsigned k = 0; k < WF_ARGS_MODEL; k++)
            own->m[i][k] = m->own_m >> k & 1 ? 3 * own->m[i][k] + 1 : own->m[i][k];
    assert_true(wf_method_one_group(m, own, &c.tensor[1].args));
    drive_two(&c, &after);
    size_t bytes = c.tensor[0].count * sizeof(float);
    if (!memcmp(before.out[0], after.out[0], bytes))
        fail_msg("%s '%s': its own numbers change nothing", m->name, setting);
    if (memcmp(before.out[1], after.out[1], bytes))
        fail_msg("%s '%s': another tensor's own numbers matter", m->name, setting);
    oracle_free_result(&c, &before);
    oracle_free_result(&c, &after);
    oracle_end(&c);
}

static void slots_of_a_tensors_own_take_no_part_in_what_a_model_finds(void **state)
{
    static const char *const more[] = {"rescale=1",
                                       "normalize=0",
                                       "variant=code-nlp",
                                       "variant=code-vision",
                                       "variant=code-vision-es",
                                       "variant=paper"};
    unsigned checked = 0;
    (void)state;
    for (size_t k = 0; k < wf_method_count(); k++) {
        const struct wf_method *m = wf_method_at(k);
        if (!m->own_g && !m->own_m)
            continue;
        check_own_slots(m, "scope=model density=0.3 weight=1,2,0.5");
        for (size_t j = 0; j < sizeof more / sizeof *more; j++) {
            char option[16], setting[80];
            snprintf(option, sizeof option, "%.*s", (int)strcspn(more[j], "="), more[j]);
            snprintf(setting, sizeof setting, "scope=model density=0.3 weight=1 %s", more[j]);
            if (wf_method_option(m, option) >= 0)
                check_own_slots(m, setting);
        }
        checked++;
    }
    assert_true(checked >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_density_keeps_its_share),
        cmocka_unit_test(density_0_keeps_nothing_and_1_all),
        cmocka_unit_test(models_and_tensors_draw_independently),
        cmocka_unit_test(della_keeps_by_rank),
        cmocka_unit_test(rescaling_keeps_the_mean),
        cmocka_unit_test(order_of_models_changes_no_byte_of_exact_sums),
        cmocka_unit_test(unchanged_numbers_keep_their_bits),
        cmocka_unit_test(a_lone_model_is_given_back),
        cmocka_unit_test(what_is_kept_of_a_lone_model_has_its_bits),
        cmocka_unit_test(defaults_are_the_published_ones),
        cmocka_unit_test(impossible_settings_are_refused),
        cmocka_unit_test(slots_of_a_tensors_own_take_no_part_in_what_a_model_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
