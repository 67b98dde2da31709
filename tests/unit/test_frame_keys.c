/* test_frame_keys.c - the frame's ranks and counts of keys against plain loops, for every
 * instruction set, wherever tiles are cut.
 */
#include "frame_fixture.h"

static const enum wf_dtype types[] = {WF_F32, WF_BF16, WF_F64};

static void each_frame(void (*check)(const struct wf_backend *frame, enum wf_dtype d))
{
    struct tf_frame frames[3];
    size_t n = tf_frames(frames);
    for (size_t k = 0; k < n; k++)
        for (size_t d = 0; d < sizeof types / sizeof *types; d++)
            check(frames[k].run, types[d]);
}

/* ---- RANK ---- */

/* ranks[e]: how many elements of e's row are below e, in input i. */
static void plain_ranks(const struct ff *f, uint32_t i, uint64_t *ranks)
{
    double *keys = test_malloc(f->total * sizeof *keys);
    for (uint64_t e = 0; e < f->total; e++)
        keys[e] = ff_key(f, i, e);
    for (uint64_t e = 0; e < f->total; e++) {
        uint64_t at = ff_row_at(f, ff_row_of(f, e)), lower = 0, equal_before = 0, equal = 0;
        for (uint64_t k = at; k < at + f->rows.length * f->rows.stride; k += f->rows.stride) {
            lower += keys[k] < keys[e];
            equal += keys[k] == keys[e];
            equal_before += keys[k] == keys[e] && k < e;
        }
        ranks[e] = lower + (f->args.ties == WF_TIES_INCLUSIVE    ? equal - 1
                            : f->args.ties == WF_TIES_LOW_IS_LOW ? equal_before
                                                                 : equal - 1 - equal_before);
    }
    test_free(keys);
}

/* Two inputs: the model's value where its rank is at least `least`, the base's below. */
static void expect_kept(struct ff *f, const struct wf_backend *frame, double *out,
                        const uint64_t *ranks, uint64_t least)
{
    f->m[1][DELTA_CUT] = (double)least;
    ff_map_all(f, frame, out);
    for (uint64_t e = 0; e < f->total; e++)
        if (out[e] != ff_get(f, ranks[e] >= least, e))
            fail_msg("row of %zu, stride %zu, ties %d: element %zu has rank %zu, and was %s by %zu",
                     (size_t)f->rows.length, (size_t)f->rows.stride, f->args.ties, (size_t)e,
                     (size_t)ranks[e], out[e] == ff_get(f, 1, e) ? "kept" : "dropped",
                     (size_t)least);
}

static void check_rank_row(const struct wf_backend *frame, struct ff *f)
{
    uint64_t *ranks = test_malloc(f->total * sizeof *ranks);
    double *out = test_malloc(f->total * sizeof *out);
    ff_stage(f, WF_STAGE_RANK, WF_ID_delta_key, true);
    f->args.map = WF_ID_delta_row_map;
    f->args.g[DELTA_REPLACES] = 1;
    f->m[1][DELTA_UPPER] = -1;
    for (uint8_t ties = 0; ties < 3; ties++) {
        f->args.ties = ties;
        plain_ranks(f, 1, ranks);
        for (unsigned k = 0; k < 12; k++)
            expect_kept(f, frame, out, ranks, k < 3 ? k : tf_random() % (f->rows.length + 1));
    }
    test_free(ranks);
    test_free(out);
}

static void check_ranks(const struct wf_backend *frame, enum wf_dtype d)
{
    static const struct {
        uint64_t rows, length, stride;
    } shapes[] = {{3, 1, 1},  {40, 2, 1},  {20, 9, 1},   {6, 31, 2},   {2, 47, 1},   {2, 48, 1},
                  {6, 49, 3}, {2, 100, 1}, {2, 1023, 1}, {4, 1024, 2}, {1, 1025, 1}, {1, 3000, 1}};
    for (size_t k = 0; k < sizeof shapes / sizeof *shapes; k++)
        for (int spread = 0; spread < 3; spread++) {
            struct ff f;
            ff_begin(&f, 2, d, shapes[k].rows * shapes[k].length);
            f.rows = (struct wf_rows){shapes[k].length, shapes[k].stride};
            for (uint64_t e = 0; e < f.total && spread; e++) { /* all exponents; or all equal */
                ff_put(&f, 0, e, spread == 1 && e % 2 ? -0.0 : 0.0);
                ff_put(&f, 1, e, spread == 1 ? ldexp(tf_uniform(-1, 1), (int)(e % 60) - 50) : 0.5);
            }
            check_rank_row(frame, &f);
            ff_end(&f);
        }
}

static void ranks_are_those_of_a_plain_count(void **state)
{
    (void)state;
    each_frame(check_ranks);
}

/* Ranks of several models, used while the tensor is summed. */
static uint64_t ranks_of[FF_INPUTS][8 * 70];

static double norms_by_rank(const struct ff *f, uint64_t e, uint32_t t)
{
    uint32_t i = t % (f->n - 1) + 1;
    double key = ff_key(f, i, e);
    return t < f->n - 1 || (double)ranks_of[i][e] >= f->m[i][DELTA_CUT] ? key : 0.0;
}

static uint32_t norms_terms(uint32_t n)
{
    return 2 * (n - 1);
}

static struct {
    double terms[2 * FF_INPUTS];
    uint32_t n;
} last_leaf;

static void keep_leaf(void *arg, uint64_t leaf, const double *terms)
{
    (void)arg;
    assert_int_equal(leaf, 0);
    memcpy(last_leaf.terms, terms, last_leaf.n * sizeof *terms);
}

static void check_ranked_fold(const struct wf_backend *frame, enum wf_dtype d)
{
    for (uint32_t n = 2; n <= 10; n += 4)
        for (uint64_t stride = 1; stride <= 4; stride += 3) {
            struct ff f;
            char *memory;
            struct wf_tile_result r;
            ff_begin(&f, n, d, 8 * 70);
            f.rows = (struct wf_rows){70, stride};
            f.args.ties = WF_TIES_LOW_IS_HIGH;
            ff_stage(&f, WF_STAGE_RANK, WF_ID_delta_key, true);
            ff_stage(&f, WF_STAGE_FOLD, WF_ID_delta_row_fold, false)->fold.terms = norms_terms;
            for (uint32_t i = 1; i < n; i++) {
                f.m[i][DELTA_CUT] = 7.0 * i;
                f.m[i][DELTA_UPPER] = -1;
                plain_ranks(&f, i, ranks_of[i]);
            }
            struct wf_tile t = ff_tile(&f, 0, f.total, &memory);
            last_leaf.n = norms_terms(n);
            frame->fold(&t, 1, keep_leaf, NULL, &r);
            assert_int_equal(r.verdict, WF_TILE_OK);
            struct ff_group g = {&f, norms_by_rank, 0, 1, f.total, false};
            for (uint32_t k = 0; k < last_leaf.n; k++) {
                double wanted = ff_leaf(&g, 0, k);
                assert_memory_equal(&last_leaf.terms[k], &wanted, sizeof wanted);
            }
            test_free(memory);
            ff_end(&f);
        }
}

static void sums_see_the_ranks_of_every_model(void **state)
{
    (void)state;
    each_frame(check_ranked_fold);
}

/* ---- counts ---- */

enum { TOTAL = 5000, RANKS = 3, STREAMS = FF_INPUTS - 1 };

static struct {
    uint64_t keys[STREAMS * RANKS][TOTAL];
    size_t n[STREAMS * RANKS];
} lists;

static void keep_keys(void *arg, unsigned bracket, const uint64_t *keys, size_t n)
{
    assert_ptr_equal(arg, &lists);
    assert_true(n && n <= 1024 && lists.n[bracket] + n <= TOTAL);
    memcpy(lists.keys[bracket] + lists.n[bracket], keys, n * sizeof *keys);
    lists.n[bracket] += n;
}

static uint64_t key_bits(const struct ff *f, uint32_t i, uint64_t e)
{
    double key = ff_key(f, i, e);
    float narrow = (float)key;
    uint64_t bits = 0;
    if (f->wide)
        memcpy(&bits, &key, sizeof key);
    else
        memcpy(&bits, &narrow, sizeof narrow);
    return bits;
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void expect_bracket(const struct ff *f, uint32_t i, unsigned at, const struct wf_bracket *b)
{
    static uint64_t wanted[TOTAL];
    uint64_t below = 0, inside = 0;
    for (uint64_t e = 0; e < f->total; e++) {
        uint64_t key = key_bits(f, i, e);
        below += key < b->low;
        if (key >= b->low && key <= b->high)
            wanted[inside++] = key;
    }
    assert_int_equal(b->below, below);
    assert_int_equal(b->inside, inside);
    if (!b->list) {
        assert_int_equal(lists.n[at], 0);
        return;
    }
    assert_int_equal(lists.n[at], inside);
    qsort(wanted, inside, sizeof *wanted, by_size);
    qsort(lists.keys[at], inside, sizeof *wanted, by_size);
    assert_memory_equal(lists.keys[at], wanted, inside * sizeof *wanted);
}

static void choose_brackets(const struct ff *f, struct wf_bracket *b, unsigned streams)
{
    for (unsigned k = 0; k < streams * RANKS; k++) {
        uint32_t i = k / RANKS + 1;
        uint64_t low = key_bits(f, i, tf_random() % f->total);
        uint64_t high = key_bits(f, i, tf_random() % f->total);
        b[k] = (struct wf_bracket){low, high, 0, 0, tf_random() % 2}; /* often empty */
        if (tf_random() % 4 == 0)
            b[k].high = low; /* one key */
        if (tf_random() % 8 == 0)
            b[k].low = 0, b[k].high = UINT64_MAX;
        if (tf_random() % 8 == 0)
            b[k].low = (uint64_t)1 << (f->wide ? 63 : 31), b[k].high = UINT64_MAX;
    }
}

static void check_counts(const struct wf_backend *frame, enum wf_dtype d)
{
    static const uint64_t totals[] = {1, 7, 63, 64, 65, 1024, 1025, TOTAL};
    for (uint32_t n = 2; n <= FF_INPUTS; n += n < 4 ? 1 : 4)
        for (size_t k = 0; k < sizeof totals / sizeof *totals; k++) {
            struct ff f;
            struct wf_bracket brackets[STREAMS * RANKS];
            uint64_t zeros[STREAMS] = {0};
            ff_begin(&f, n, d, totals[k]);
            ff_stage(&f, WF_STAGE_SELECT, WF_ID_delta_key, false)->select.per_model = true;
            memset(lists.n, 0, sizeof lists.n);
            choose_brackets(&f, brackets, n - 1);
            struct wf_count c = {brackets, zeros, n - 1, RANKS, keep_keys, &lists};
            for (uint64_t from = 0, to; from < f.total; from = to) {
                char *memory;
                struct wf_tile_result r;
                to = from + 1 + tf_random() % f.total;
                to = to < f.total ? to : f.total;
                struct wf_tile t = ff_tile(&f, from, to, &memory);
                frame->count(&t, 0, &c, &r);
                assert_int_equal(r.verdict, WF_TILE_OK);
                test_free(memory);
            }
            for (uint32_t i = 1; i < n; i++) {
                uint64_t none = 0;
                for (uint64_t e = 0; e < f.total; e++)
                    none += ff_key(&f, i, e) == 0;
                assert_int_equal(zeros[i - 1], none);
                for (unsigned r = 0; r < RANKS; r++)
                    expect_bracket(&f, i, (i - 1) * RANKS + r, &brackets[(i - 1) * RANKS + r]);
            }
            ff_end(&f);
        }
}

static void counts_are_those_of_a_plain_loop(void **state)
{
    (void)state;
    each_frame(check_counts);
}

/* sce_key, the variance of what the models changed: zero where they agree. */
static void check_one_key(const struct wf_backend *frame, enum wf_dtype d)
{
    struct ff f;
    struct wf_bracket bracket = {1, UINT64_MAX, 0, 0, false};
    uint64_t zeros = 0, same = 0;
    char *memory;
    struct wf_tile_result r;
    ff_begin(&f, 3, d, 999);
    for (uint64_t e = 0; e < f.total; e += 3)
        for (uint32_t i = 1; i < 3; i++)
            ff_put(&f, i, e, ff_get(&f, 0, e)); /* no model moved: variance 0 */
    for (uint64_t e = 0; e < f.total; e++)
        same += ff_get(&f, 1, e) == ff_get(&f, 2, e);
    ff_stage(&f, WF_STAGE_SELECT, WF_ID_sce_key, false);
    struct wf_count c = {&bracket, &zeros, 1, 1, keep_keys, &lists};
    struct wf_tile t = ff_tile(&f, 0, f.total, &memory);
    frame->count(&t, 0, &c, &r);
    assert_int_equal(r.verdict, WF_TILE_OK);
    assert_int_equal(zeros, same);
    assert_int_equal(bracket.below, same);
    assert_int_equal(bracket.inside, f.total - same);
    test_free(memory);
    ff_end(&f);
}

static void one_key_for_all_models_is_counted_once(void **state)
{
    (void)state;
    each_frame(check_one_key);
}

/* A pattern of NaN, different in every element; the lowest bits of the fraction count up. */
static void put_nan(const struct ff *f, uint32_t i, uint64_t e, enum wf_dtype d)
{
    char *at = f->memory[i] + 1 + e * tf_width(d);
    uint64_t wide = (e % 2 ? 0xfff8000000000000u : 0x7ff8000000000000u) + e % 64;
    uint32_t single = (e % 2 ? 0xffc00000u : 0x7fc00000u) + (uint32_t)(e % 64);
    uint16_t half = (uint16_t)((e % 2 ? 0xffc0u : 0x7fc0u) + e % 64);
    memcpy(at,
           d == WF_F64   ? (void *)&wide
           : d == WF_F32 ? (void *)&single
                         : (void *)&half,
           tf_width(d));
}

static void check_nan_keys(const struct wf_backend *frame, enum wf_dtype d)
{
    struct ff f;
    char *memory;
    uint64_t zeros = 0, nan = d == WF_F64 ? 0x7ff8000000000000u : 0x7fc00000u, put = 0;
    struct wf_bracket bracket = {nan, nan, 0, 0, false};
    struct wf_tile_result r;
    ff_begin(&f, 2, d, 1000);
    f.check = false;
    for (uint64_t e = 0; e < f.total; e += 1 + tf_random() % 5, put++)
        put_nan(&f, 1, e, d);
    ff_stage(&f, WF_STAGE_SELECT, WF_ID_delta_key, false)->select.per_model = true;
    struct wf_count c = {&bracket, &zeros, 1, 1, keep_keys, &lists};
    struct wf_tile t = ff_tile(&f, 0, f.total, &memory);
    frame->count(&t, 0, &c, &r);
    assert_int_equal(r.verdict, WF_TILE_OK);
    assert_int_equal(bracket.inside, put);
    assert_int_equal(bracket.below, f.total - put);
    test_free(memory);
    ff_end(&f);
}

static void all_nans_have_one_key(void **state)
{
    (void)state;
    each_frame(check_nan_keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_those_of_a_plain_count),
        cmocka_unit_test(sums_see_the_ranks_of_every_model),
        cmocka_unit_test(counts_are_those_of_a_plain_loop),
        cmocka_unit_test(one_key_for_all_models_is_counted_once),
        cmocka_unit_test(all_nans_have_one_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
