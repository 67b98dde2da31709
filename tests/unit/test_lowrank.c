/* test_lowrank.c - approximations of low rank: golden singular values, cuts, both routes, and what
 * is written of them.
 */
#include "adapter_fixture.h"
#include "linalg_fixture.h"

#include <math.h>

#include "../../src/lowrank/adapter_out.h"
#include "../../src/lowrank/compress.h"
#include "../../src/lowrank/delta_svd.h"
#include "../../src/lowrank/extract_plan.h"
#include "../../src/lowrank/values.h"

/* The generator that published golden values of low-rank methods start from. */
static uint32_t lcg;

static double lcg_next(void)
{
    lcg = (1103515245u * lcg + 12345u) & 0x7fffffffu;
    return ((double)((lcg >> 16) % 201) - 100) / 100;
}

static void lcg_fill(double *to, size_t n)
{
    for (size_t i = 0; i < n; i++)
        to[i] = lcg_next();
}

static void assert_near(double got, double wanted, double tolerance)
{
    if (!(fabs(got - wanted) <= tolerance))
        fail_msg("%.9f, wanted %.9f", got, wanted);
}

static double product_at(const struct wf_factors *f, size_t row, size_t column)
{
    double sum = 0;
    for (size_t k = 0; k < f->rank; k++)
        sum += f->b[row * f->rank + k] * f->a[k * f->ins + column];
    return sum;
}

static void a_difference_of_4_by_6_has_its_golden_factors(void **state)
{
    static const double product[4][6] = {
        {-0.069802, -0.044906, 0.081489, 0.145901, -0.138127, -0.150949},
        {0.111400, 0.215000, -0.225627, -0.958103, 0.534306, 0.918852},
        {0.613959, 0.045717, -0.483863, 0.483957, 0.450128, -0.324283},
        {-0.871308, -0.164235, 0.752931, -0.184077, -0.856369, -0.009733}};
    struct wf_err e = {0};
    struct wf_factors f;
    double skipped[24], d[24], whole = 0;
    float single[24];
    (void)state;
    NEEDS_LIBRARY();
    lcg = 12345;
    lcg_fill(skipped, 24); /* the base */
    lcg_fill(d, 24);
    for (int i = 0; i < 24; i++) {
        single[i] = (float)d[i];
        whole += d[i] * d[i];
    }
    struct wf_cut cut = {.rank = 2, .whole = whole};
    assert_int_equal(wf_delta_truncate(&e, la, 4, 6, single, 1, &cut, &f), WF_OK);
    assert_int_equal(f.rank, 2);
    for (size_t r = 0; r < 4; r++)
        for (size_t c = 0; c < 6; c++)
            assert_near(product_at(&f, r, c), product[r][c], 2e-6);
    assert_near(sqrt(1 - f.kept / f.whole), 0.404763, 2e-6);
    const double s[] = {1.795182, 1.512226};
    for (size_t k = 0; k < 2; k++) { /* B'B = A A' = diag(s) */
        double bb = 0, aa = 0, ab = 0, largest = 0;
        for (size_t i = 0; i < 4; i++) {
            bb += f.b[i * 2 + k] * f.b[i * 2 + k];
            ab += f.b[i * 2] * f.b[i * 2 + 1];
            if (fabs(f.b[i * 2 + k]) > fabs(largest))
                largest = f.b[i * 2 + k];
        }
        for (size_t i = 0; i < 6; i++)
            aa += f.a[k * 6 + i] * f.a[k * 6 + i];
        assert_near(bb, s[k], 2e-6);
        assert_near(aa, s[k], 2e-6);
        assert_near(ab, 0, 1e-6);
        assert_true(largest > 0);
    }
    wf_factors_free(&f);
}

static void products_of_all_shapes_are_truncated(void **state)
{
    static const uint32_t shapes[][3] = {{6, 8, 2}, {2, 8, 5}, {8, 2, 5}, {1, 1, 1}, {3, 3, 9}};
    struct wf_err e = {0};
    (void)state;
    NEEDS_LIBRARY();
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        uint32_t m = shapes[i][0], n = shapes[i][1], r = shapes[i][2];
        double b[80], a[80], b0[80], a0[80];
        struct wf_factors f;
        lcg = 777;
        lcg_fill(b, m * r);
        lcg_fill(a, r * n);
        memcpy(b0, b, sizeof b);
        memcpy(a0, a, sizeof a);
        struct wf_cut all = {.rank = 99};
        assert_int_equal(wf_product_truncate(&e, la, m, n, r, b, a, &all, &f), WF_OK);
        assert_true(f.rank <= m && f.rank <= n && f.rank <= r);
        assert_near(f.kept, f.whole, 1e-12 * f.whole);
        for (size_t row = 0; row < m; row++)
            for (size_t column = 0; column < n; column++) {
                double sum = 0;
                for (size_t k = 0; k < r; k++)
                    sum += b0[row * r + k] * a0[k * n + column];
                assert_near(product_at(&f, row, column), sum, 1e-13);
            }
        wf_factors_free(&f);
    }
}

static void nothing_gives_zeros_and_no_division(void **state)
{
    struct wf_err e = {0};
    struct wf_factors f;
    double b[12] = {0}, a[12] = {1, 2, 3};
    (void)state;
    NEEDS_LIBRARY();
    struct wf_cut cut = {.rank = 2};
    assert_int_equal(wf_product_truncate(&e, la, 4, 4, 3, b, a, &cut, &f), WF_OK);
    assert_int_equal(f.rank, 2);
    for (size_t i = 0; i < 8; i++)
        assert_true(f.b[i] == 0 && f.a[i] == 0);
    assert_true(f.whole == 0 && f.kept == 0);
    wf_factors_free(&f);
    struct wf_lowrank_row row = {.whole = 0, .kept = 0};
    assert_true(wf_lowrank_energy(&row) == 1 && wf_lowrank_error(&row) == 0);
}

static void a_cut_meets_every_wish_within_the_limit(void **state)
{
    const double s[] = {4, 2, 1, 1, 0}; /* squares 16 4 1 1 0, of 22 */
    static const struct {
        struct wf_cut cut;
        uint32_t rank;
    } cases[] = {
        {{.rank = 3}, 3},
        {{.rank = 9}, 5},
        {{.energy = 16.0 / 22}, 1},
        {{.energy = 17.0 / 22}, 2},
        {{.energy = 1}, 4},
        {{.energy = 0.5, .whole = 44}, 4}, /* what was not given counts */
        {{.threshold = 0.5}, 4},
        {{.threshold = 1}, 2},
        {{.threshold = 4}, 0}, /* none is above it */
        {{.threshold = 9, .rank = 2}, 0},
        {{.threshold = 9, .energy = 0.1}, 1},
        {{.threshold = 3, .energy = 20.0 / 22}, 2},
        {{.threshold = 0.5, .energy = 0.1}, 4},
        {{.threshold = 0.5, .rank = 2}, 2},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (wf_cut_rank(&cases[i].cut, s, 5) != cases[i].rank)
            fail_msg("case %zu: %u", i, wf_cut_rank(&cases[i].cut, s, 5));
}

/* A matrix with the singular values 1, 1/2, 1/3, ...: sums of outer products of cosines. */
static void falling(float *d, size_t outs, size_t ins)
{
    memset(d, 0, outs * ins * sizeof *d);
    for (size_t k = 0; k < 60; k++)
        for (size_t i = 0; i < outs; i++) {
            double u = cos((double)k * 3.14159265358979 * ((double)i + 0.5) / (double)outs);
            for (size_t j = 0; j < ins; j++)
                d[i * ins + j] +=
                    (float)(u *
                            cos((double)k * 3.14159265358979 * ((double)j + 0.5) / (double)ins) /
                            (double)(k + 1));
        }
}

static void the_sketch_is_as_good_as_the_exact_route(void **state)
{
    enum { OUTS = 90, INS = 130 };
    static float d[OUTS * INS], left[OUTS * 4], right[4 * INS];
    struct wf_err e = {0};
    struct wf_factors sketch, exact;
    double whole = 0;
    (void)state;
    NEEDS_LIBRARY();
    falling(d, OUTS, INS);
    for (size_t i = 0; i < OUTS * INS; i++)
        whole += (double)d[i] * (double)d[i];
    struct wf_cut cut = {.rank = 4, .whole = whole},
                  wish = {.rank = 4, .whole = whole, .energy = 1};
    assert_int_equal(wf_delta_truncate(&e, la, OUTS, INS, d, 7, &cut, &sketch), WF_OK);
    assert_int_equal(wf_delta_truncate(&e, la, OUTS, INS, d, 7, &wish, &exact), WF_OK);
    assert_int_equal(sketch.rank, 4);
    assert_int_equal(exact.rank, 4);
    assert_near(sketch.kept / exact.kept, 1, 1e-3);
    assert_true(whole - sketch.kept < 1.02 * (whole - exact.kept));
    for (size_t i = 0; i < OUTS * 4; i++)
        left[i] = (float)sketch.b[i];
    for (size_t i = 0; i < 4 * INS; i++)
        right[i] = (float)sketch.a[i];
    double missed;
    assert_int_equal(wf_delta_residual(&e, la, OUTS, INS, 4, d, left, right, &missed), WF_OK);
    assert_near(missed / (whole - sketch.kept), 1, 1e-3);
    wf_factors_free(&sketch);
    wf_factors_free(&exact);
}

static void differences_of_doubles_are_factored_in_double(void **state)
{
    static const uint32_t shapes[][2] = {{5, 9}, {9, 5}, {4, 4}, {1, 3}};
    struct wf_err e = {0};
    (void)state;
    NEEDS_LIBRARY();
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        uint32_t outs = shapes[k][0], ins = shapes[k][1];
        size_t n = (size_t)outs * ins;
        struct wf_factors f;
        double d[45], used[45], whole = 0;
        lcg = 77;
        lcg_fill(d, n);
        for (size_t i = 0; i < n; i++) {
            d[i] = 1 + d[i] * 1e-9; /* floats would see nothing but ones */
            whole += d[i] * d[i];
        }
        memcpy(used, d, sizeof d);
        struct wf_cut cut = {.rank = 9, .whole = whole};
        assert_int_equal(wf_delta_truncate_wide(&e, la, outs, ins, used, &cut, &f), WF_OK);
        for (size_t r = 0; r < outs; r++)
            for (size_t c = 0; c < ins; c++)
                assert_near(product_at(&f, r, c), d[r * ins + c], 1e-14);
        double missed;
        assert_int_equal(wf_delta_residual_wide(&e, la, outs, ins, f.rank, d, f.b, f.a, &missed),
                         WF_OK);
        assert_true(missed < 1e-25);
        wf_factors_free(&f);
    }
}

static void a_threshold_above_all_leaves_no_factors(void **state)
{
    enum { OUTS = 400, INS = 330 }; /* wide enough for the sketch */
    static float d[OUTS * INS];
    static double wide[60 * 50];
    struct wf_err e = {0};
    struct wf_factors f;
    (void)state;
    NEEDS_LIBRARY();
    falling(d, OUTS, INS);
    for (size_t i = 0; i < 60 * 50; i++)
        wide[i] = (double)d[i];
    const struct wf_cut cut = {.threshold = 1e9, .whole = 1};
    assert_int_equal(wf_delta_truncate(&e, la, OUTS, INS, d, 7, &cut, &f), WF_OK);
    assert_true(f.rank == 0 && !f.a && !f.b);
    assert_int_equal(wf_delta_truncate_wide(&e, la, 60, 50, wide, &cut, &f), WF_OK);
    assert_true(f.rank == 0 && !f.a && !f.b);
    assert_int_equal(wf_delta_truncate(&e, la, 60, 50, d, 7, &cut, &f), WF_OK);
    assert_true(f.rank == 0 && !f.a && !f.b);
}

static void values_are_rounded_once_and_must_fit(void **state)
{
    const double in[] = {1, -0.1, 65504, 0};
    double back[4];
    char stored[32];
    static const enum wf_dtype types[] = {WF_F64, WF_F32, WF_F16, WF_BF16};
    static const double unit[] = {0, 6e-8, 5e-4, 4e-3};
    (void)state;
    for (size_t t = 0; t < 4; t++) {
        assert_true(wf_values_round(types[t], in, 4, stored));
        wf_values_widen(types[t], stored, 4, back);
        for (size_t i = 0; i < 4; i++)
            assert_near(back[i], in[i], unit[t] * fabs(in[i]));
    }
    assert_false(wf_values_round(WF_F16, (double[]){70000}, 1, stored));
    assert_false(wf_values_round(WF_F32, (double[]){1e300}, 1, stored));
    assert_false(wf_values_round(WF_BF16, (double[]){(double)NAN}, 1, stored));
    assert_true(wf_values_round(WF_F64, (double[]){1e300}, 1, stored));
}

static void values_of_a_file_are_read_and_nan_is_found(void **state)
{
    struct fx *f = *state;
    struct wf_values v;
    double got[3];
    const float numbers[] = {1, 2, 3}, broken[] = {1, NAN, 3};
    struct fx_tensor t[] = {{"good", WF_F32, 1, {3}, numbers}, {"bad", WF_F32, 1, {3}, broken}};
    fx_st(f, "m.safetensors", t, 2, NULL, 0);
    const struct wf_ckpt *c = fx_open(f, "m.safetensors");
    fx_assert_worked(f, wf_values_open(&f->e, &f->arena, c, &v));
    fx_assert_worked(f, wf_values_read(&f->e, &v, wf_ckpt_find(c, "good"), 1, 2, got));
    assert_true(got[0] == 2 && got[1] == 3);
    fx_assert_failed(f, wf_values_read(&f->e, &v, wf_ckpt_find(c, "bad"), 0, 3, got), WF_INPUT,
                     "tensor 'bad': NaN or infinity at element 1");
    wf_values_close(&v);
    fx_text(f, "m.safetensors", "changed");
    fx_assert_failed(f, wf_values_open(&f->e, &f->arena, c, &v), WF_INPUT, "was changed");
}

static void the_config_is_what_peft_reads(void **state)
{
    struct fx *f = *state;
    static const char *const paths[] = {"a.q", "b.k", "c.q"}, *const saved[] = {"norm"};
    struct wf_adapter_facts facts = {.rank = 3,
                                     .base_name = "x \"y\"",
                                     .bias = "none",
                                     .whole_modules = saved,
                                     .n_whole_modules = 1};
    struct wf_json *config;
    fx_assert_worked(
        f, wf_adapter_targets(&f->e, &f->arena, paths, 3, &facts.targets, &facts.n_targets));
    assert_int_equal(facts.n_targets, 2);
    fx_folder(f, "o");
    fx_assert_worked(f, wf_adapter_facts_write(&f->e, &f->arena, fx_path(f, "o"), &facts));
    fx_assert_worked(f, wf_json_read(&f->e, &f->arena, fx_path(f, "o/adapter_config.json"), 1 << 20,
                                     WF_JSON_STRICT, &config));
    for (size_t i = 1; i < config->n; i++)
        assert_true(strcmp(config->children[i - 1].key, config->children[i].key) < 0);
    assert_string_equal(wf_json_string(config, "peft_type"), "LORA");
    assert_string_equal(wf_json_string(config, "base_model_name_or_path"), "x \"y\"");
    assert_true(fx_is_null(config, "task_type"));
    assert_true(fx_number(config, "r") == 3 && fx_number(config, "lora_alpha") == 3);
    assert_string_equal(wf_json_get(config, "target_modules")->children[1].text, "q");
    assert_string_equal(wf_json_get(config, "modules_to_save")->children[0].text, "norm");
    assert_null(wf_json_get(config, "lora_bias"));
}

static const struct wf_extract_item *item_of(const struct wf_extract_item *items, size_t n,
                                             const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(items[i].tensor->name, name))
            return &items[i];
    fail_msg("no item '%s'", name);
    return NULL;
}

static void roles_follow_names_shapes_and_patterns(void **state)
{
    struct fx *f = *state;
    static const char *const tensors[] = {"model.embed_tokens.weight 9x4",
                                          "lm_head.weight 9x4",
                                          "l.0.q.weight 4x4",
                                          "l.1.q.weight 4x4",
                                          "l.0.q.bias 4",
                                          "l.0.up.weight 6x4",
                                          "l.0.ids 4 I32",
                                          "l.0.table 4x4",
                                          "conv.weight 4x2x3",
                                          "norm.weight 4",
                                          "l.0.bytes.weight 4x4 U8",
                                          NULL};
    static const struct {
        const char *name;
        enum wf_extract_role plain,
            told; /* told: include *q* and *embed*, exclude l.1.*, save *norm* */
    } cases[] = {
        {"model.embed_tokens.weight", WF_ROLE_LOSE, WF_ROLE_FACTOR},
        {"lm_head.weight", WF_ROLE_LOSE, WF_ROLE_LOSE},
        {"l.0.q.weight", WF_ROLE_FACTOR, WF_ROLE_FACTOR},
        {"l.1.q.weight", WF_ROLE_FACTOR, WF_ROLE_LOSE},
        {"l.0.q.bias", WF_ROLE_LOSE, WF_ROLE_LOSE},
        {"l.0.up.weight", WF_ROLE_FACTOR, WF_ROLE_LOSE},
        {"l.0.ids", WF_ROLE_LOSE, WF_ROLE_LOSE},
        {"l.0.table", WF_ROLE_LOSE, WF_ROLE_LOSE},
        {"conv.weight", WF_ROLE_LOSE, WF_ROLE_LOSE},
        {"norm.weight", WF_ROLE_LOSE, WF_ROLE_SAVE},
        {"l.0.bytes.weight", WF_ROLE_LOSE, WF_ROLE_LOSE},
    };
    static const char *const include[] = {"*q*", "*embed*", NULL},
                             *const exclude[] = {"l.1.*", NULL}, *const save[] = {"*norm*", NULL};
    const struct wf_extract_options plain = {.cut = {.rank = 2}}, told = {.cut = {.rank = 2},
                                                                          .include = include,
                                                                          .exclude = exclude,
                                                                          .save_whole = save};
    struct wf_extract_item *one, *two;
    fx_tensors(f, "a.safetensors", tensors);
    fx_tensors(f, "b.safetensors", tensors);
    const struct wf_ckpt *a = fx_open(f, "a.safetensors"), *b = fx_open(f, "b.safetensors");
    fx_assert_worked(f, wf_extract_plan(&f->e, &f->arena, a, b, &plain, &one));
    fx_assert_worked(f, wf_extract_plan(&f->e, &f->arena, a, b, &told, &two));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(item_of(one, a->n_tensors, cases[i].name)->role, cases[i].plain);
        assert_int_equal(item_of(two, a->n_tensors, cases[i].name)->role, cases[i].told);
    }
    const struct wf_extract_item *table = item_of(two, a->n_tensors, "model.embed_tokens.weight");
    assert_int_equal(table->kind, WF_ADAPTER_EMBEDDING);
    assert_true(table->turned && table->rows == 9 && table->columns == 4);
}

static void targets_name_no_weight_that_is_not_there(void **state)
{
    struct fx *f = *state;
    static const char *const tensors[] = {"l.0.q.weight 4x4", "l.0.up.weight 4x4",
                                          "l.1.q.weight 4x4", "l.1.up.weight 4x4", NULL};
    const struct wf_extract_options options = {.cut = {.rank = 2}};
    const bool all[] = {true, true, true, true}, some[] = {true, true, true, false};
    struct wf_extract_item *items;
    const char *const *targets;
    size_t n;
    fx_tensors(f, "a.safetensors", tensors);
    const struct wf_ckpt *a = fx_open(f, "a.safetensors");
    fx_assert_worked(f, wf_extract_plan(&f->e, &f->arena, a, a, &options, &items));
    fx_assert_worked(f, wf_extract_targets(&f->e, &f->arena, items, all, 4, &targets, &n));
    assert_int_equal(n, 2);
    assert_string_equal(targets[0], "q");
    assert_string_equal(targets[1], "up");
    fx_assert_worked(f, wf_extract_targets(&f->e, &f->arena, items, some, 4, &targets, &n));
    assert_int_equal(n, 2);
    assert_string_equal(targets[0], "l.0.up"); /* "up" would be l.1.up as well */
    assert_string_equal(targets[1], "q");
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_difference_of_4_by_6_has_its_golden_factors),
        cmocka_unit_test(products_of_all_shapes_are_truncated),
        cmocka_unit_test(nothing_gives_zeros_and_no_division),
        cmocka_unit_test(a_cut_meets_every_wish_within_the_limit),
        cmocka_unit_test(the_sketch_is_as_good_as_the_exact_route),
        cmocka_unit_test(differences_of_doubles_are_factored_in_double),
        cmocka_unit_test(a_threshold_above_all_leaves_no_factors),
        cmocka_unit_test(values_are_rounded_once_and_must_fit),
        T(values_of_a_file_are_read_and_nan_is_found),
        T(the_config_is_what_peft_reads),
        T(roles_follow_names_shapes_and_patterns),
        T(targets_name_no_weight_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, open_table, NULL);
}
