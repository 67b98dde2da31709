/* test_device.c - every method on a device gives the CPU's bytes, sums, counts and verdicts: whole
 * units cut anyhow, in areas of any size; and what made-up combinations of stages give.
 */
#include "device_fixture.h"
#include "../../src/base/num.h"
#include "../method/oracle_check.h"
#include "../unit/frame_fixture.h"

/* ---- methods ---- */

#define ANY_MODELS                                                                                 \
    {                                                                                              \
        1, 2, 3, 4, 5, 7, 9                                                                        \
    }

/* What the settings must reach: each scope, draws, ranks, ties, columns. Formulas are the business
 * of tests/method. */
static const struct oracle_row rows[] = {
    {"linear", NULL, ANY_MODELS, {"", "normalize=0"}, NULL},
    {"passthrough", NULL, {1}, {"scale=-0.3"}, NULL},
    {"nearswap", NULL, {1}, {"t=0.01"}, NULL},
    {"ram", NULL, ANY_MODELS, {"epsilon=0.001"}, NULL},
    {"ramplus_tl", NULL, ANY_MODELS, {"r=0.5 alpha=0.1"}, NULL},
    {"sce", NULL, ANY_MODELS, {"select_topk=0.5", "select_topk=0.1 compat"}, NULL},
    {"arcee_fusion", NULL, {1}, {"", ""}, NULL},
    {"slerp", NULL, {1}, {"t=0.35"}, NULL},
    {"nuslerp",
     NULL,
     {2},
     {"", "base", "weight=0.5,0.25 nuslerp_flatten=0",
      "weight=1,3 nuslerp_flatten=0 nuslerp_row_wise=1"},
     NULL},
    {"multislerp", NULL, ANY_MODELS, {"weight=0.3,0.9,0.5", "weight=1 base"}, NULL},
    {"karcher", NULL, ANY_MODELS, {""}, NULL},
    {"model_stock", NULL, {2, 3, 4, 5, 9}, {"", "filter_wise=1"}, NULL},
    {"task_arithmetic", NULL, ANY_MODELS, {"lambda=0.7"}, NULL},
    {"ties",
     NULL,
     ANY_MODELS,
     {"density=0.2", "density=0.001 ties=exact", "density=0.5 ties=exact scope=row",
      "density=0.3 ties=exact scope=model rescale=1", "density=0.4 rescale=1"},
     NULL},
    {"breadcrumbs",
     NULL,
     ANY_MODELS,
     {"density=0.6 gamma=0.02 rescale=1",
      "low=nan,0.2,0.5 high=nan,0.9,0.75 density=0.4 scope=row rescale=1",
      "low=0.5 high=0.99 scope=model rescale=1"},
     NULL},
    {"breadcrumbs_ties", NULL, ANY_MODELS, {"density=0.5 gamma=0.1 scope=row"}, NULL},
    {"dare_linear", NULL, ANY_MODELS, {"density=0.5 compat", "density=0.2"}, NULL},
    {"dare_ties", NULL, ANY_MODELS, {"density=0.1,0.5,1,0 normalize=1"}, NULL},
    {"della", NULL, ANY_MODELS, {"density=0.6 epsilon=0.2", "density=0.5 compat"}, NULL},
    {"della_linear", NULL, ANY_MODELS, {"density=0.3,0.7,1,0 epsilon=0.1"}, NULL},
};

static struct wf_device_need needs(uint32_t inputs, uint64_t elements)
{
    return (struct wf_device_need){
        .tiles = {.inputs = inputs,
                  .terms = inputs * (inputs + 1) / 2,
                  .rank_row = elements,
                  .ranked = inputs - 1,
                  .brackets = inputs * WF_RANKS_MAX},
        .input_bytes = inputs * (elements * 8 + 32) + 64,
        .output_bytes = elements * 8,
        .lanes = DF_LANES,
        .slots = DF_LANES,
    };
}

#define ELEMENTS 12800 /* more than any shape of the oracle has */

/* One row's settings over every third shape, unless there is time; `seed` says which, and makes
 * other cuts, types and values of it. */
static void run_row(const struct oracle_row *row, unsigned seed)
{
    unsigned step = tf_long() ? 1 : 3;
    for (unsigned s = 0; row->settings[s]; s++)
        for (unsigned shape = (s + seed) % step; shape < ORACLE_SHAPES; shape += step) {
            struct oracle_case c;
            struct oracle_result r;
            oracle_state = 7919u * s + 104729u * seed + shape;
            df_state = oracle_state * 2 + 1;
            oracle_make(&c, row, row->settings[s], shape, seed);
            assert_null(oracle_prepare(&c));
            oracle_settle_columns(&c);
            oracle_drive(&c, &df_both, seed % 2, &r);
            oracle_free_result(&c, &r);
            oracle_end(&c);
        }
}

static void each_method(unsigned percent, unsigned seed)
{
    struct wf_device_need need = needs(ORACLE_INPUTS, ELEMENTS);
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) {
        df_begin(&need, percent);
        run_row(&rows[k], seed + (unsigned)k);
        if (df_fake().memory && !df_fake().launches)
            fail_msg("%s: the device was never asked", rows[k].method);
        df_end();
    }
}

static void methods_give_the_same_in_roomy_areas(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < (tf_long() ? 8u : 1u); seed++)
        each_method(DF_ROOMY, seed);
}

static void methods_give_the_same_in_the_smallest_areas(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < (tf_long() ? 8u : 1u); seed++)
        each_method(DF_LEAST, 100 + seed);
}

/* ---- many inputs, other types, casts ---- */

static void linear_of(uint32_t n, size_t count, const enum wf_dtype *types, size_t n_types)
{
    struct tf_case c;
    double weights[TF_INPUTS_MAX];
    for (uint32_t i = 0; i < n; i++)
        weights[i] = tf_uniform(0.1, 1);
    tf_begin(&c, "linear", n);
    assert_null(tf_prepare(&c, weights, true, 1));
    tf_inputs(&c, types, n_types, count);
    c.out_dtype = tf_dtypes[df_random(4)];
    c.check = false; /* small types overflow */
    for (uint32_t i = 0; i < n; i++)
        for (size_t e = 0; e < count; e++)
            tf_put_pattern((enum wf_dtype)c.in_dtype[i], (void *)(uintptr_t)c.in[i], e);
    struct wf_tile_result r;
    tf_free(tf_whole(&c, &df_both, &r));
    assert_int_equal(r.verdict, WF_TILE_OK);
    tf_end(&c);
}

static void any_number_of_inputs_and_types_give_the_same(void **state)
{
    static const uint32_t counts[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 17, 101};
    static const size_t sizes[] = {0, 1, 31, 33, 255, 257, 1025, 4097};
    struct wf_device_need need = needs(101, 4100);
    need.tiles.terms = 0;
    (void)state;
    for (unsigned percent = DF_LEAST; percent <= DF_ROOMY; percent += DF_ROOMY - DF_LEAST) {
        df_begin(&need, percent);
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
            for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
                for (int d = 0; d < 4 && counts[k] < 101; d++)
                    linear_of(counts[k], sizes[s], &tf_dtypes[d], 1);
                linear_of(counts[k], sizes[s], tf_dtypes, 4);
            }
        df_end();
    }
}

/* ---- combinations that no method has, or seldom ---- */

static uint32_t band_terms(uint32_t n)
{
    return 2 * (n - 1);
}

/* Numbers of a row that later stages look at; some rows are refused. */
static const char *row_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    for (uint32_t i = 1; i < args->n; i++) {
        args->m[i][DELTA_WEIGHT] += terms[i - 1] / (double)count;
        args->m[i][DELTA_CUT] = terms[i - 1] / (double)count / 2;
    }
    return NULL;
}

static const char *sometimes_refuse(const double *terms, uint64_t count, struct wf_args *args)
{
    row_finish(terms, count, args);
    return fmod(terms[0] * 0x1p20, 7) < 1 ? "made up: a row like this has no result" : NULL;
}

/* Splits anywhere, of any number; two may be at one element. */
static size_t make_splits(const struct ff *f, struct wf_split *splits, size_t most)
{
    size_t n = 1 + df_random(most);
    for (size_t s = 0; s < n; s++) {
        splits[s] = (struct wf_split){.index = df_random(f->total),
                                      .value = tf_uniform(0, 0.02),
                                      .input = 1 + (int32_t)df_random(f->n - 1),
                                      .slot = DELTA_CUT};
        for (size_t k = s; k && splits[k - 1].index > splits[k].index; k--) {
            struct wf_split swap = splits[k];
            splits[k] = splits[k - 1];
            splits[k - 1] = swap;
        }
    }
    return n;
}

static void drop_leaf(void *arg, uint64_t leaf, const double *terms)
{
    (void)arg, (void)leaf, (void)terms;
}

/* MAP and FOLD of random parts; those of MAP are no larger than a slot's output. */
static void run_made_up(const struct ff *f)
{
    char *memory;
    unsigned last = (unsigned)f->method.n_stages - 2;
    double *out = test_malloc(f->total * sizeof *out);
    for (int k = 0; k < 4; k++) {
        uint64_t from = df_random(f->total), to = from + 1 + df_random(f->total - from);
        struct wf_tile t = ff_tile(f, from, to, &memory);
        struct wf_tile_result r = {WF_TILE_OK, 0, 0, NULL};
        t.cast = df_random(3) ? WF_DTYPE_NONE : WF_BF16;
        if (k % 2 && !(f->local >> last & 1) && f->stages[last].kind == WF_STAGE_FOLD)
            df_both.fold(&t, last, drop_leaf, NULL, &r);
        t.out = out;
        t.out_dtype = WF_F32;
        t.to = wf_min_u64(to, from + df.need.output_bytes / sizeof(float));
        df_both.map(&t, &r);
        test_free(memory);
    }
    test_free(out);
}

static void make_up(struct ff *f, enum wf_dtype type, uint64_t length, uint64_t stride,
                    uint64_t slabs, struct wf_split *splits)
{
    bool refuses = df_random(8) == 0;
    ff_begin(f, 2 + (uint32_t)df_random(3), type, length * stride * slabs);
    f->args.map = WF_ID_delta_band_map;
    f->args.ties = (uint8_t)df_random(3);
    f->rows = (struct wf_rows){length, stride};
    f->method.draws = df_random(2);
    f->draw_key = 12345;
    for (uint32_t i = 0; i < f->n; i++)
        for (unsigned k = 0; k < WF_ARGS_MODEL; k++)
            f->m[i][k] = tf_uniform(0, 0.01);
    if (df_random(2)) {
        struct wf_stage *s = ff_stage(f, WF_STAGE_FOLD, WF_ID_delta_band_fold, true);
        s->fold = (struct wf_fold){.terms = band_terms,
                                   .finish = refuses ? sometimes_refuse : row_finish};
    }
    if (df_random(2)) {
        ff_stage(f, WF_STAGE_RANK, WF_ID_delta_key, true);
        f->args.map = WF_ID_delta_rank_map;
    }
    if (df_random(2)) {
        struct wf_stage *s = ff_stage(f, WF_STAGE_FOLD, WF_ID_delta_row_fold, true);
        s->fold = (struct wf_fold){.terms = band_terms, .finish = row_finish};
    }
    ff_stage(f, WF_STAGE_FOLD, WF_ID_delta_band_fold, false)->fold.terms = band_terms;
    if (df_random(2)) {
        f->n_splits = make_splits(f, splits, 6);
        f->splits = splits;
    }
    if (df_random(8) == 0) /* a verdict */
        ff_put(f, (uint32_t)df_random(f->n), df_random(f->total), INFINITY);
}

static void rows_ranks_and_splits_give_the_same_together(void **state)
{
    static const enum wf_dtype types[] = {WF_F32, WF_BF16, WF_F64};
    static const struct {
        uint64_t length, stride, slabs;
    } shapes[] = {{1, 1, 900},  {3, 1, 1500}, {100, 1, 50},  {4096, 1, 3},
                  {4097, 1, 2}, {9000, 1, 3}, {12800, 1, 1}, {7, 5, 40},
                  {64, 9, 11},  {1, 4, 100},  {700, 1, 50},  {1500, 1, 20}};
    static const struct {
        unsigned percent;
        uint64_t output_bytes; /* tables are as large: these are divided into many launches */
    } areas[] = {{DF_LEAST, 64}, {101, 4096}, {103, 280000}, {110, 1024}, {DF_ROOMY, 280000}};
    struct wf_device_need need = needs(4, 35000);
    struct wf_split splits[6];
    (void)state;
    need.tiles.rank_row = 12800;
    need.tiles.brackets = 0; /* nor do lists make room for sums */
    for (size_t p = 0; p < sizeof areas / sizeof *areas; p++) {
        need.output_bytes = areas[p].output_bytes;
        df_begin(&need, areas[p].percent);
        for (unsigned k = 0; k < (tf_long() ? 600u : 48u); k++) {
            struct ff f;
            size_t s = k % (sizeof shapes / sizeof *shapes);
            make_up(&f, types[k % 3], shapes[s].length, shapes[s].stride, shapes[s].slabs, splits);
            run_made_up(&f);
            ff_end(&f);
        }
        assert_true(!df_fake().memory || df_fake().launches);
        df_end();
    }
}

/* ---- what is wrong with a tile ---- */

static void verdicts_name_what_the_cpu_names(void **state)
{
    struct wf_device_need need = needs(3, 9000);
    (void)state;
    df_begin(&need, DF_ROOMY);
    for (int k = 0; k < 60; k++) {
        struct ff f;
        double *out = test_malloc(9000 * sizeof *out);
        ff_begin(&f, 3, k % 2 ? WF_F32 : WF_BF16, 9000);
        f.args.map = WF_ID_linear_map;
        f.m[0][0] = k % 3 ? 1 : 0x1p100; /* overflows float16 */
        ff_put(&f, (uint32_t)df_random(3), df_random(9000), k % 5 ? NAN : -INFINITY);
        char *memory;
        struct wf_tile t = ff_tile(&f, df_random(4000), 5000 + df_random(4000), &memory);
        struct wf_tile_result r;
        t.check = k % 4 != 0;
        t.out = out;
        t.out_dtype = WF_F16;
        df_both.map(&t, &r);
        test_free(memory);
        test_free(out);
        ff_end(&f);
    }
    df_end();
}

/* Lists that no area has room for: every key is inside. */
static void brackets_that_hold_everything_are_listed_in_parts(void **state)
{
    struct wf_device_need need = needs(4, ELEMENTS);
    (void)state;
    for (unsigned percent = DF_LEAST; percent <= DF_ROOMY; percent += DF_ROOMY - DF_LEAST)
        for (int wide = 0; wide < 2; wide++) {
            struct ff f;
            struct wf_bracket brackets[6] = {{0}};
            uint64_t zeros[3] = {0};
            struct df_keys keys = {.most = ELEMENTS};
            struct wf_tile_result r;
            char *memory;
            df_begin(&need, percent);
            ff_begin(&f, 4, wide ? WF_F64 : WF_BF16, ELEMENTS);
            ff_stage(&f, WF_STAGE_SELECT, WF_ID_delta_key, false)->select.per_model = true;
            for (int b = 0; b < 6; b++)
                brackets[b] = (struct wf_bracket){.high = UINT64_MAX >> 1, .list = b % 2 == 0};
            brackets[4] = (struct wf_bracket){.low = UINT64_MAX};
            struct wf_count c = {.brackets = brackets,
                                 .zeros = zeros,
                                 .streams = 3,
                                 .ranks = 2,
                                 .found = df_keep_keys,
                                 .arg = &keys};
            struct wf_tile t = ff_tile(&f, 1, ELEMENTS, &memory);
            df_both.count(&t, 0, &c, &r);
            assert_int_equal(r.verdict, WF_TILE_OK);
            assert_int_equal(brackets[0].inside, ELEMENTS - 1);
            assert_int_equal(keys.n[0], ELEMENTS - 1);
            assert_int_equal(brackets[4].below, ELEMENTS - 1);
            df_free_keys(&keys);
            test_free(memory);
            ff_end(&f);
            df_end();
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_of_inputs_and_types_give_the_same),
        cmocka_unit_test(verdicts_name_what_the_cpu_names),
        cmocka_unit_test(brackets_that_hold_everything_are_listed_in_parts),
        cmocka_unit_test(rows_ranks_and_splits_give_the_same_together),
        cmocka_unit_test(methods_give_the_same_in_roomy_areas),
        cmocka_unit_test(methods_give_the_same_in_the_smallest_areas),
    };
    if (!getenv("WEFT_CUDA_PLUGIN")) {
        fprintf(stderr, "WEFT_CUDA_PLUGIN does not name a plugin\n");
        return 77;
    }
    setenv("WEFT_DEVICE_MIN", "0", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
