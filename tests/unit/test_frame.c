/* test_frame.c - the frame's folds, rows, columns and splits against plain loops, to the bit, for
 * every instruction set, wherever tiles are cut.
 */
#include "frame_fixture.h"

static const enum wf_dtype types[] = {WF_F32, WF_BF16, WF_F64};

/* Calls `check` for all frames and types. */
static void each_frame(void (*check)(const struct wf_backend *frame, enum wf_dtype d))
{
    struct tf_frame frames[3];
    size_t n = tf_frames(frames);
    for (size_t k = 0; k < n; k++)
        for (size_t d = 0; d < sizeof types / sizeof *types; d++)
            check(frames[k].run, types[d]);
}

static void expect(double got, double wanted, const char *what, uint64_t where)
{
    if (memcmp(&got, &wanted, sizeof got))
        fail_msg("%s at %zu: %a, wanted %a", what, (size_t)where, got, wanted);
}

/* ---- FOLD, scope tensor ---- */

static struct {
    double terms[8][64];
    bool seen[8];
    uint32_t n_terms;
} leaves;

static void keep_leaf(void *arg, uint64_t leaf, const double *terms)
{
    (void)arg;
    assert_true(leaf < 8 && !leaves.seen[leaf]);
    leaves.seen[leaf] = true;
    memcpy(leaves.terms[leaf], terms, leaves.n_terms * sizeof *terms);
}

/* Folds the tensor in pieces; every leaf must come once. */
static void fold_all(const struct ff *f, const struct wf_backend *frame, unsigned stage)
{
    memset(&leaves, 0, sizeof leaves);
    leaves.n_terms = f->stages[stage].fold.terms(f->n);
    assert_true(leaves.n_terms <= 64);
    for (uint64_t from = 0, to; from < f->total; from = to) {
        char *memory;
        struct wf_tile_result r;
        to = from + 1 + tf_random() % f->total;
        to = to < f->total ? to : f->total;
        struct wf_tile t = ff_tile(f, from, to, &memory);
        frame->fold(&t, stage, keep_leaf, NULL, &r);
        assert_int_equal(r.verdict, WF_TILE_OK);
        test_free(memory);
    }
    for (uint64_t l = 0; l * WF_FOLD_BLOCK < f->total; l++)
        assert_true(leaves.seen[l]);
}

static void expect_leaves(const struct ff *f, unsigned stage, ff_term *term)
{
    struct ff_group g = {f, term, 0, 1, f->total, false};
    for (uint64_t l = 0; l * WF_FOLD_BLOCK < f->total; l++)
        for (uint32_t t = 0; t < leaves.n_terms; t++) {
            g.maximum = t < f->stages[stage].fold.maxima;
            expect(leaves.terms[l][t], ff_leaf(&g, l, t), "leaf", l);
        }
}

static void check_fold(const struct wf_backend *frame, enum wf_dtype d)
{
    static const uint64_t totals[] = {1, 31, 32, 33, 1000, 4095, 4096, 4097, 20000};
    for (uint32_t n = 1; n <= 10; n += n < 4 ? 1 : 3)
        for (size_t k = 0; k < sizeof totals / sizeof *totals; k++) {
            struct ff f;
            ff_begin(&f, n, d, totals[k]);
            ff_stage(&f, WF_STAGE_FOLD, WF_ID_gram_fold, false)->fold.terms = ff_gram_terms;
            fold_all(&f, frame, 0);
            expect_leaves(&f, 0, ff_gram);
            if (n == 2) {
                f.stages[0].function = WF_ID_arcee_largest_fold;
                f.stages[0].fold = (struct wf_fold){.maxima = 2, .terms = ff_two_terms};
                fold_all(&f, frame, 0);
                expect_leaves(&f, 0, ff_largest);
            }
            ff_end(&f);
        }
}

static void leaves_have_the_canonical_lanes(void **state)
{
    (void)state;
    each_frame(check_fold);
}

/* ---- splits ---- */

/* m[1][DELTA_CUT] at element e. */
static double cut_at(const struct ff *f, uint64_t e)
{
    double cut = f->m[1][DELTA_CUT];
    for (size_t k = 0; k < f->n_splits && f->splits[k].index <= e; k++)
        if (f->splits[k].input == 1 && f->splits[k].slot == DELTA_CUT)
            cut = f->splits[k].value;
    return cut;
}

static double norms_under_splits(const struct ff *f, uint64_t e, uint32_t t)
{
    uint32_t i = t % (f->n - 1) + 1;
    double key = ff_key(f, i, e), cut = i == 1 ? cut_at(f, e) : f->m[i][DELTA_CUT];
    return t < f->n - 1 || key >= cut ? key : 0.0;
}

static uint32_t norms_terms(uint32_t n)
{
    return 2 * (n - 1);
}

/* Two inputs: the model's value where it is kept, the base's elsewhere. */
static void probe_kept(struct ff *f, unsigned map)
{
    f->args.map = (uint8_t)map;
    f->args.g[DELTA_REPLACES] = 1;
    for (uint32_t i = 1; i < f->n; i++)
        f->m[i][DELTA_UPPER] = -1;
}

static void check_splits(const struct wf_backend *frame, enum wf_dtype d)
{
    for (uint64_t total = 1; total < 9000; total = total * 5 + 3) {
        struct wf_split splits[5];
        struct ff f;
        double *out = test_malloc(total * sizeof *out);
        ff_begin(&f, 2, d, total);
        ff_stage(&f, WF_STAGE_FOLD, WF_ID_delta_band_fold, false)->fold.terms = norms_terms;
        probe_kept(&f, WF_ID_delta_band_map);
        for (size_t k = 0; k < 5; k++)
            splits[k] = (struct wf_split){total * k / 5 + k % 2, (double)(k % 4) * 0x1p-9,
                                          k == 3 ? -1 : 1, DELTA_CUT};
        splits[3].slot = DELTA_SPARES; /* means nothing to this map */
        f.splits = splits;
        f.n_splits = 5;
        fold_all(&f, frame, 0);
        expect_leaves(&f, 0, norms_under_splits);
        for (int ranked = 0; ranked < 2; ranked++) {
            ff_map_all(&f, frame, out);
            for (uint64_t e = 0; e < total; e++)
                expect(out[e], ff_get(&f, ff_key(&f, 1, e) >= cut_at(&f, e), e), "split", e);
            /* Once more, with a stage that looks at the whole row beforehand. */
            ff_stage(&f, WF_STAGE_RANK, WF_ID_delta_key, true);
        }
        ff_end(&f);
        test_free(out);
    }
}

static void numbers_change_where_splits_say(void **state)
{
    (void)state;
    each_frame(check_splits);
}

/* ---- FOLD, scope row ---- */

/* What the row's sums become: weights that linear_map shows. */
static const char *gram_weight(const double *terms, uint64_t count, struct wf_args *args)
{
    args->m[0][LINEAR_WEIGHT] = terms[0] / (double)count;
    return NULL;
}

static const char *largest_weight(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    args->m[1][LINEAR_WEIGHT] = terms[1] - terms[0] + args->m[0][LINEAR_WEIGHT];
    return NULL;
}

static void expect_row_weights(const struct ff *f, const double *out)
{
    for (uint64_t row = 0; row < f->total / f->rows.length; row++) {
        struct ff_group g = {f, ff_gram, ff_row_at(f, row), f->rows.stride, f->rows.length, false};
        struct ff_group top = {f, ff_largest, g.at, g.step, g.count, true};
        double w0 = ff_sum(&g, 0) / (double)g.count;
        double w1 = ff_sum(&top, 1) - ff_sum(&top, 0) + w0;
        for (uint64_t k = 0; k < g.count; k++) {
            uint64_t e = g.at + k * g.step;
            double a = ff_round(f, ff_round(f, w0) * ff_get(f, 0, e));
            double b = ff_round(f, ff_round(f, w1) * ff_get(f, 1, e));
            expect(out[e], ff_round(f, a + b), "row", e);
        }
    }
}

static void check_row_folds(const struct wf_backend *frame, enum wf_dtype d)
{
    static const struct {
        uint64_t rows, length, stride;
    } shapes[] = {{1, 1, 1}, {7, 1, 1},    {40, 9, 1},   {9, 32, 1},   {6, 33, 1},    {2, 4096, 1},
                  {3, 5, 3}, {12, 100, 4}, {3, 9000, 1}, {2, 9000, 2}, {1, 20500, 1}, {10, 1, 5}};
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        struct ff f;
        ff_begin(&f, 2, d, shapes[k].rows * shapes[k].length);
        double *out = test_malloc(f.total * sizeof *out);
        f.rows = (struct wf_rows){shapes[k].length, shapes[k].stride};
        f.args.map = WF_ID_linear_map;
        ff_stage(&f, WF_STAGE_FOLD, WF_ID_gram_fold, true)->fold =
            (struct wf_fold){0, ff_gram_terms, gram_weight};
        ff_stage(&f, WF_STAGE_FOLD, WF_ID_arcee_largest_fold, true)->fold =
            (struct wf_fold){2, ff_two_terms, largest_weight};
        ff_map_all(&f, frame, out);
        expect_row_weights(&f, out);
        ff_end(&f);
        test_free(out);
    }
}

static void rows_have_numbers_of_their_own(void **state)
{
    (void)state;
    each_frame(check_row_folds);
}

/* A sum over the tensor of what depends on the row: order stays that of the tensor. */
static const char *row_cut(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    args->m[1][DELTA_CUT] = terms[0] * 0.5;
    return NULL;
}

static double norms_under_row_cuts(const struct ff *f, uint64_t e, uint32_t t)
{
    uint64_t at = ff_row_at(f, ff_row_of(f, e));
    struct ff_group g = {f, norms_under_splits, at, f->rows.stride, f->rows.length, true};
    double key = ff_key(f, 1, e);
    return t == 0 || key >= 0.5 * ff_sum(&g, 0) ? key : 0.0;
}

static void check_tensor_after_row(const struct wf_backend *frame, enum wf_dtype d)
{
    for (uint64_t stride = 1; stride <= 3; stride += 2) {
        struct ff f;
        ff_begin(&f, 2, d, 6 * 101);
        f.rows = (struct wf_rows){101, stride};
        for (uint64_t e = 0; e < f.total; e++) /* so unlike in size that every sum is rounded */
            for (uint32_t i = 0; i < 2; i++)
                ff_put(&f, i, e, ldexp(tf_uniform(-1, 1), -(int)(tf_random() % 70)));
        probe_kept(&f, WF_ID_delta_map);
        ff_stage(&f, WF_STAGE_FOLD, WF_ID_delta_band_fold, true)->fold =
            (struct wf_fold){1, norms_terms, row_cut};
        ff_stage(&f, WF_STAGE_FOLD, WF_ID_delta_band_fold, false)->fold.terms = norms_terms;
        fold_all(&f, frame, 1);
        expect_leaves(&f, 1, norms_under_row_cuts);
        ff_end(&f);
    }
}

static void a_sum_of_the_tensor_sees_the_numbers_of_rows(void **state)
{
    (void)state;
    each_frame(check_tensor_after_row);
}

/* ---- columns ---- */

static void expect_columns(const struct ff *f, const double *sums, const double *out)
{
    for (uint64_t c = 0; c < f->rows.stride; c++) {
        double wanted[3] = {0};
        for (uint64_t r = 0; r < f->rows.length; r++)
            for (uint32_t t = 0; t < 3; t++)
                wanted[t] += ff_gram(f, r * f->rows.stride + c, t);
        for (uint32_t t = 0; t < 3; t++)
            expect(sums[c * 3 + t], wanted[t], "column sum", c);
        for (uint64_t r = 0; r < f->rows.length; r++) {
            uint64_t e = r * f->rows.stride + c;
            double weight = ff_round(f, wanted[0] / (double)f->rows.length);
            expect(out[e], ff_round(f, weight * ff_get(f, 0, e)), "column", e);
        }
    }
}

static void fold_columns(const struct ff *f, const struct wf_backend *frame, double *sums)
{
    for (uint64_t from = 0, to; from < f->total; from = to) {
        char *memory;
        struct wf_tile_result r;
        to = from + 1 + tf_random() % f->total;
        to = to < f->total ? to : f->total;
        struct wf_tile t = ff_tile(f, from, to, &memory);
        frame->fold_columns(&t, 0, sums, &r);
        assert_int_equal(r.verdict, WF_TILE_OK);
        test_free(memory);
    }
}

static void check_columns(const struct wf_backend *frame, enum wf_dtype d)
{
    static const uint64_t shapes[][2] = {{1, 1}, {1, 7}, {9, 1}, {50, 3}, {5, 2000}, {3000, 2}};
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++) {
        struct ff f;
        ff_begin(&f, 2, d, shapes[k][0] * shapes[k][1]);
        double *sums = test_calloc(shapes[k][1] * 3, sizeof *sums);
        double *again = test_calloc(shapes[k][1] * 3, sizeof *sums);
        double *out = test_malloc(f.total * sizeof *out);
        f.rows = (struct wf_rows){shapes[k][0], shapes[k][1]};
        f.args.map = WF_ID_passthrough_map;
        ff_stage(&f, WF_STAGE_FOLD, WF_ID_gram_fold, false)->fold =
            (struct wf_fold){0, ff_gram_terms, gram_weight};
        fold_columns(&f, frame, sums);
        f.columns = sums;
        ff_map_all(&f, frame, out);
        expect_columns(&f, sums, out);
        fold_columns(&f, frame, again); /* a second stage of the kind: column by column */
        assert_memory_equal(again, sums, shapes[k][1] * 3 * sizeof *sums);
        ff_end(&f);
        test_free(again);
        test_free(sums);
        test_free(out);
    }
}

static void columns_have_numbers_of_their_own(void **state)
{
    (void)state;
    each_frame(check_columns);
}

/* ---- draws ---- */

static void check_draws(const struct wf_backend *frame, enum wf_dtype d)
{
    for (uint64_t total = 1; total < 6000; total = total * 3 + 2) {
        struct ff f;
        double *out = test_malloc(total * sizeof *out);
        ff_begin(&f, 2, d, total);
        probe_kept(&f, WF_ID_delta_draw_map);
        f.method.draws = true;
        f.draw_key = 0x0123456789abcdefu * total;
        f.m[1][DELTA_DENSITY] = 0.4;
        ff_map_all(&f, frame, out);
        for (uint64_t e = 0; e < total; e++) {
            bool kept = wf_draw(f.draw_key, e, 1) * 0x1p-24 < ff_round(&f, 0.4);
            expect(out[e], ff_get(&f, kept, e), "draw", e);
        }
        ff_end(&f);
        test_free(out);
    }
}

static void draws_belong_to_elements(void **state)
{
    (void)state;
    each_frame(check_draws);
}

/* ---- refusals ---- */

static const char *refuse_large(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    (void)args;
    return terms[0] > 1e6 ? "too large" : NULL;
}

static void check_refusal(const struct wf_backend *frame, enum wf_dtype d)
{
    struct ff f;
    double out[60];
    ff_begin(&f, 2, d, 60);
    f.rows = (struct wf_rows){10, 2};
    f.args.map = WF_ID_linear_map;
    ff_stage(&f, WF_STAGE_FOLD, WF_ID_gram_fold, true)->fold =
        (struct wf_fold){0, ff_gram_terms, refuse_large};
    ff_put(&f, 0, 27, 3000);
    struct wf_tile_result r = ff_map(&f, frame, 0, 60, out);
    assert_int_equal(r.verdict, WF_TILE_REFUSED);
    assert_string_equal(r.why, "too large");
    assert_int_equal(ff_row_of(&f, r.index), ff_row_of(&f, 27));
    assert_int_equal(ff_map(&f, frame, 0, 20, out).verdict, WF_TILE_OK);
    ff_end(&f);
}

static void a_refused_row_says_why(void **state)
{
    (void)state;
    each_frame(check_refusal);
}

static void nothing_found(void *arg, unsigned bracket, const uint64_t *keys, size_t n)
{
    (void)arg;
    (void)bracket;
    (void)keys;
    (void)n;
}

static struct wf_tile_result run_operation(const struct ff *f, const struct wf_backend *frame,
                                           int operation)
{
    static double sums[3 * 100], out[5000];
    struct wf_bracket brackets[1] = {{0, UINT64_MAX, 0, 0, true}};
    uint64_t zeros[1] = {0};
    struct wf_count c = {brackets, zeros, 1, 1, nothing_found, NULL};
    struct wf_tile_result r = {WF_TILE_REFUSED, 77, 77, NULL};
    char *memory;
    struct wf_tile t = ff_tile(f, 0, f->total, &memory);
    t.out = out;
    t.out_dtype = WF_F64;
    memset(&leaves, 0, sizeof leaves);
    leaves.n_terms = 3;
    if (operation == 0)
        frame->map(&t, &r);
    else if (operation == 1)
        frame->fold(&t, 2, keep_leaf, NULL, &r);
    else if (operation == 2)
        frame->fold_columns(&t, 2, sums, &r);
    else
        frame->count(&t, 1, &c, &r);
    test_free(memory);
    return r;
}

static void check_blame(const struct wf_backend *frame, enum wf_dtype d)
{
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    for (unsigned k = 0; k < 24; k++) {
        struct ff f;
        uint64_t where = tf_random() % 5000;
        ff_begin(&f, 2, d, 5000);
        f.rows = (struct wf_rows){50, 100};
        f.args.map = WF_ID_linear_map;
        ff_stage(&f, WF_STAGE_RANK, WF_ID_delta_key, k >= 12 && k % 4 != 2);
        ff_stage(&f, WF_STAGE_SELECT, WF_ID_delta_key, false)->select.per_model = true;
        ff_stage(&f, WF_STAGE_FOLD, WF_ID_gram_fold, false)->fold.terms = ff_gram_terms;
        ff_put(&f, k % 2, where, bad[k % 3]);
        struct wf_tile_result r = run_operation(&f, frame, (int)(k % 4));
        assert_int_equal(r.verdict, WF_TILE_INPUT_NOT_FINITE);
        assert_int_equal(r.input, k % 2);
        assert_int_equal(r.index, where);
        f.check = false;
        for (unsigned e = 0; e < 4000; e++)
            ff_put(&f, e % 2, tf_random() % 5000, bad[e % 3]);
        assert_int_equal(run_operation(&f, frame, (int)(k % 4)).verdict, WF_TILE_OK);
        ff_end(&f);
    }
}

static void every_operation_names_bad_input(void **state)
{
    (void)state;
    each_frame(check_blame);
}

/* ---- the lists ---- */

static uint32_t listed_terms(unsigned id, uint32_t inputs)
{
    const int n = (int)inputs;
#define TERMS(f, count_of)                                                                         \
    case WF_ID_##f:                                                                                \
        return (uint32_t)(count_of);
    switch (id) {
        WF_FOLD_LIST(TERMS)
    }
#undef TERMS
    return 0;
}

static void lists_and_methods_agree_on_terms(void **state)
{
    unsigned folds = 0;
    (void)state;
    for (size_t k = 0; k < wf_method_count(); k++) {
        const struct wf_method *m = wf_method_at(k);
        bool base = m->base == WF_BASE_REQUIRED;
        for (size_t s = 0; s < m->n_stages; s++)
            for (uint32_t n = m->min_models + base;
                 m->stages[s].kind == WF_STAGE_FOLD && n <= m->max_models + base; n++, folds++)
                if (m->stages[s].fold.terms(n) != listed_terms(m->stages[s].function, n))
                    fail_msg("%s, stage %zu, %u inputs: the descriptor has %u terms, the list %u",
                             m->name, s, n, m->stages[s].fold.terms(n),
                             listed_terms(m->stages[s].function, n));
    }
    assert_true(folds > 100);
}

static void scratch_grows_with_what_is_needed(void **state)
{
    struct wf_need small = {.inputs = 3}, folds = {.inputs = 3, .terms = 6};
    struct wf_need ranks = {.inputs = 3, .rank_row = 5000, .ranked = 2};
    struct wf_need too_long = {.inputs = 3, .rank_row = (uint64_t)1 << 32, .ranked = 2};
    (void)state;
    assert_true(wf_scratch_bytes(&small) < 256 << 10);
    assert_true(wf_scratch_bytes(&folds) > wf_scratch_bytes(&small));
    assert_true(wf_scratch_bytes(&ranks) > wf_scratch_bytes(&small));
    assert_true(wf_scratch_bytes(&too_long) >= (uint64_t)1 << 52);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_have_the_canonical_lanes),
        cmocka_unit_test(numbers_change_where_splits_say),
        cmocka_unit_test(rows_have_numbers_of_their_own),
        cmocka_unit_test(a_sum_of_the_tensor_sees_the_numbers_of_rows),
        cmocka_unit_test(columns_have_numbers_of_their_own),
        cmocka_unit_test(draws_belong_to_elements),
        cmocka_unit_test(a_refused_row_says_why),
        cmocka_unit_test(every_operation_names_bad_input),
        cmocka_unit_test(lists_and_methods_agree_on_terms),
        cmocka_unit_test(scratch_grows_with_what_is_needed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
