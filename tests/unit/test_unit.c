/* test_unit.c - stages of a group in their order: FOLD, COLUMNS, what MAP is given, memory. */
#include "stage_fixture.h"

#define TERMS(n) ((n) + 1)
enum { FOLD_SLOT = 6 }; /* g: what `finish` found */

static uint32_t terms(uint32_t n)
{
    return TERMS(n);
}

static double found[TERMS(SF_INPUTS)]; /* of the last finish */
static uint64_t found_count;

static const char *finish(const double *sums, uint64_t count, struct wf_args *args)
{
    memcpy(found, sums, TERMS(args->n) * sizeof *sums);
    found_count = count;
    args->g[FOLD_SLOT] = sums[0] / 2;
    return NULL;
}

static const char *refuse(const double *sums, uint64_t count, struct wf_args *args)
{
    (void)sums, (void)count, (void)args;
    return "opposite vectors have no mean";
}

static struct wf_unit_need roomy(void)
{
    return (struct wf_unit_need){.inputs = SF_INPUTS,
                                 .streams = SF_INPUTS,
                                 .ranks = 2,
                                 .bins = 1024,
                                 .keys = 1024,
                                 .terms = TERMS(SF_INPUTS),
                                 .columns = 100,
                                 .pieces = SF_PIECES,
                                 .threads = 2};
}

static struct wf_unit *unit(const struct wf_unit_need *need)
{
    struct wf_err e = {0};
    struct wf_unit *u = wf_unit_create(&e, need);
    assert_non_null(u);
    return u;
}

static struct sf_data random_data(uint64_t count, uint64_t seed)
{
    struct sf_data d = sf_data(3, 1, &count, 0);
    for (uint32_t i = 0; i < 3; i++)
        for (uint64_t e = 0; e < count; e++)
            d.t[0].x[i][e] =
                (double)ldexpf((float)(int32_t)sf_next(&seed), (int)sf_below(&seed, 40) - 60);
    return d;
}

static struct wf_unit_group tensor_group(const struct wf_method *m, const struct wf_args *args,
                                         const struct sf_run *r)
{
    uint64_t count = r->data->t[0].count;
    return (struct wf_unit_group){.method = m,
                                  .args = args,
                                  .scope = WF_SCOPE_TENSOR,
                                  .count = count,
                                  .tensor = count,
                                  .columns = r->rows.stride,
                                  .pieces = r->pieces};
}

static struct wf_args make_args(double (*rows)[WF_ARGS_MODEL], const struct wf_method *m,
                                uint32_t n)
{
    struct wf_args args = {.m = rows, .n = n, .ties = WF_TIES_LOW_IS_HIGH};
    wf_method_scopes(m, args.scope);
    return args;
}

/* ---- FOLD ---- */

static const struct wf_stage fold_stages[] = {
    {.kind = WF_STAGE_FOLD, .scope = WF_SCOPE_TENSOR, .fold = {1, terms, finish}},
    {.kind = WF_STAGE_MAP}};
static const struct wf_method fold_method = {.name = "fold", .stages = fold_stages, .n_stages = 2};

static void naive_tree(const struct sf_tensor *t, unsigned level, uint64_t index, double *sums)
{
    double right[TERMS(SF_INPUTS)];
    uint64_t leaves = (t->count + WF_FOLD_BLOCK - 1) / WF_FOLD_BLOCK;
    if (level == 0) {
        const void *in[] = {t->x[0], t->x[1], t->x[2]};
        struct wf_tile tile = {.in = in, .n = 3};
        uint64_t first = index * WF_FOLD_BLOCK;
        for (uint64_t e = first; e < first + WF_FOLD_BLOCK && e < t->count; e++)
            sf_terms(&tile, e, first, sums);
        return;
    }
    naive_tree(t, level - 1, 2 * index, sums);
    if ((2 * index + 1) << (level - 1) >= leaves)
        return;
    naive_tree(t, level - 1, 2 * index + 1, right);
    sums[0] = sums[0] > right[0] ? sums[0] : right[0];
    for (unsigned k = 1; k < TERMS(3); k++)
        sums[k] += right[k];
}

static void folds_have_the_same_bits_for_any_cut_and_order(void **state)
{
    static const uint64_t counts[] = {1, 4095, 4096, 4097, 8192, 12289, 70000, 300000};
    struct wf_unit_need need = roomy();
    struct wf_unit *u = unit(&need);
    (void)state;
    for (unsigned c = 0; c < 8; c++) {
        struct sf_data d = random_data(counts[c], c);
        double wanted[TERMS(3)], rows[3][WF_ARGS_MODEL] = {{0}};
        struct wf_args args = make_args(rows, &fold_method, 3);
        unsigned top = 0;
        while ((uint64_t)WF_FOLD_BLOCK << top < counts[c])
            top++;
        naive_tree(&d.t[0], top, 0, wanted);
        for (unsigned way = 0; way < 12; way++) {
            struct sf_run r = {
                .data = &d, .unit = u, .method = &fold_method, .threads = way % 4, .seed = way};
            sf_cut(&r, 0, 1, way * 5);
            struct wf_unit_group group = tensor_group(&fold_method, &args, &r);
            memset(found, 0, sizeof found);
            assert_null(sf_gather(&r, &group));
            assert_int_equal(r.steps[WF_STEP_FOLD], 1);
            assert_int_equal(r.seen, counts[c]);
            assert_int_equal(found_count, counts[c]);
            assert_memory_equal(found, wanted, sizeof wanted);
            assert_true(args.g[FOLD_SLOT] == 0); /* the caller's args are left alone */
        }
        sf_free(&d);
    }
    wf_unit_destroy(u);
}

/* ---- FOLD of the model ---- */

static const char *finish_model(const double *sums, uint64_t count, struct wf_args *args)
{
    args->t[1] = sums[1];
    return finish(sums, count, args);
}

static uint32_t two(uint32_t n)
{
    (void)n;
    return 2;
}

static const struct wf_stage model_fold_stages[] = {
    {.kind = WF_STAGE_FOLD, .scope = WF_SCOPE_MODEL, .fold = {1, terms, finish_model}},
    {.kind = WF_STAGE_MAP}};
static const struct wf_method model_fold_method = {
    .name = "fold", .stages = model_fold_stages, .n_stages = 2, .table = two};

/* The tree over the leaves of all tensors, one tensor's behind the other's. */
static bool naive_model(const struct sf_data *d, unsigned level, uint64_t index, double *sums)
{
    double right[TERMS(SF_INPUTS)];
    if (level == 0) {
        unsigned k = 0;
        while (k < d->tensors && sf_leaves(d, k + 1) <= index)
            k++;
        if (k < d->tensors)
            naive_tree(&d->t[k], 0, index - sf_leaves(d, k), sums);
        return k < d->tensors;
    }
    if (!naive_model(d, level - 1, 2 * index, sums))
        return false;
    if (!naive_model(d, level - 1, 2 * index + 1, right))
        return true;
    sums[0] = sums[0] > right[0] ? sums[0] : right[0];
    for (unsigned k = 1; k < TERMS(3); k++)
        sums[k] += right[k];
    return true;
}

static struct sf_data random_tensors(void)
{
    static const uint64_t counts[] = {9000, 0, 3, 70001, 4096};
    struct sf_data d = sf_data(3, 5, counts, 0);
    uint64_t seed = 7;
    for (unsigned k = 0; k < 5; k++)
        for (uint32_t i = 0; i < 3; i++)
            for (uint64_t e = 0; e < counts[k]; e++)
                d.t[k].x[i][e] =
                    (double)ldexpf((float)(int32_t)sf_next(&seed), (int)sf_below(&seed, 40) - 60);
    return d;
}

static struct wf_tile shown;
static void show(const struct wf_tile *t, struct wf_tile_result *r)
{
    static struct wf_args args;
    static double table[2];
    (void)r;
    shown = *t;
    args = *t->args;
    memcpy(table, args.t, sizeof table);
    args.t = table;
    shown.args = &args;
}

static void the_model_folds_as_one_tree_over_its_tensors(void **state)
{
    struct sf_data d = random_tensors();
    struct wf_unit_need need = roomy();
    struct wf_backend showing = sf_backend;
    double wanted[TERMS(3)], rows[3][WF_ARGS_MODEL] = {{0}}, table[2] = {0}, none[2] = {0};
    struct wf_args args = make_args(rows, &model_fold_method, 3);
    (void)state;
    args.t = table;
    args.n_t = need.table = 2;
    need.leaves = sf_leaves(&d, 5);
    showing.map = show;
    assert_true(naive_model(&d, 5, 0, wanted));
    struct wf_unit *u = unit(&need), *of_tensor = unit(&need);
    for (unsigned way = 0; way < 16; way++) {
        struct sf_run r = {
            .data = &d, .unit = u, .method = &model_fold_method, .threads = way % 4, .seed = way};
        const void *in[SF_INPUTS];
        struct wf_tile_result result;
        sf_cut(&r, 0, 5, way);
        struct wf_unit_group group = {.method = &model_fold_method,
                                      .args = &args,
                                      .scope = WF_SCOPE_MODEL,
                                      .count = 83100,
                                      .tensor = 83100,
                                      .leaves = need.leaves,
                                      .pieces = r.pieces};
        assert_null(sf_gather(&r, &group));
        assert_int_equal(r.steps[WF_STEP_FOLD], 1);
        assert_memory_equal(found, wanted, sizeof wanted);
        assert_int_equal(found_count, 83100);
        assert_memory_equal(table, none, sizeof none); /* the caller's own */
        struct wf_unit_group tensor = tensor_group(&model_fold_method, &args, &r);
        tensor.model = u;
        for (unsigned alone = 0; alone < 2; alone++) { /* MAP after the model, or a tensor's unit */
            struct wf_tile tile = sf_tile(&r, 0, 0, 1, in);
            tile.args = &args;
            wf_unit_begin(of_tensor, &tensor);
            wf_unit_map(alone ? u : of_tensor, &showing, 0, &tile, &result);
            assert_true(shown.args->t[1] == wanted[1] && shown.args->g[FOLD_SLOT] == wanted[0] / 2);
        }
    }
    wf_unit_destroy(of_tensor);
    wf_unit_destroy(u);
    sf_free(&d);
}

static void a_group_without_elements_folds_to_zero(void **state)
{
    struct wf_unit_need need = roomy();
    struct wf_unit *u = unit(&need);
    struct sf_data d = random_data(0, 1);
    double rows[3][WF_ARGS_MODEL] = {{0}}, zero[TERMS(3)] = {0};
    struct wf_args args = make_args(rows, &fold_method, 3);
    struct sf_run r = {.data = &d, .unit = u, .method = &fold_method};
    (void)state;
    struct wf_unit_group group = tensor_group(&fold_method, &args, &r);
    found[0] = 5;
    assert_null(sf_gather(&r, &group));
    assert_memory_equal(found, zero, sizeof zero);
    assert_int_equal(found_count, 0);
    sf_free(&d);
    wf_unit_destroy(u);
}

static void a_refusal_is_handed_on(void **state)
{
    struct wf_stage stages[] = {fold_stages[0], fold_stages[1]};
    struct wf_method m = {.name = "refuse", .stages = stages, .n_stages = 2};
    struct wf_unit_need need = roomy();
    struct wf_unit *u = unit(&need);
    struct sf_data d = random_data(5000, 1);
    double rows[3][WF_ARGS_MODEL] = {{0}};
    struct wf_args args = make_args(rows, &m, 3);
    struct sf_run r = {.data = &d, .unit = u, .method = &m};
    (void)state;
    stages[0].fold.finish = refuse;
    sf_cut(&r, 0, 1, 3);
    struct wf_unit_group group = tensor_group(&m, &args, &r);
    assert_string_equal(sf_gather(&r, &group), "opposite vectors have no mean");
    stages[0].fold.finish = finish; /* the unit is as good as before */
    assert_null(sf_gather(&r, &group));
    sf_free(&d);
    wf_unit_destroy(u);
}

/* ---- several stages ---- */

static void half_of_fold(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                         uint64_t *rank)
{
    (void)i;
    rank[0] = args->g[FOLD_SLOT] > 0 ? group->count / 2 : group->count;
}

#define HALF                                                                                       \
    {                                                                                              \
        .kind = WF_STAGE_SELECT, .scope = WF_SCOPE_TENSOR, .select = {                             \
            .per_model = true,                                                                     \
            .cut = SF_CUT_SLOT,                                                                    \
            .n_ranks = 1,                                                                          \
            .ranks = half_of_fold                                                                  \
        }                                                                                          \
    }
#define FOLD(where, end)                                                                           \
    {                                                                                              \
        .kind = WF_STAGE_FOLD, .scope = where, .fold = { 1, terms, end }                           \
    }
#define RANK                                                                                       \
    {                                                                                              \
        .kind = WF_STAGE_RANK, .scope = WF_SCOPE_ROW                                               \
    }

/* A SELECT sees what a FOLD before it found, and no other. Stages of row scope are left to the
 * tiles of what comes after them; stages that are off, to nobody. */
static void stages_run_in_order_and_see_what_was_found(void **state)
{
    static const struct wf_stage late[] = {
        HALF, FOLD(WF_SCOPE_TENSOR, finish), FOLD(WF_SCOPE_ROW, refuse),
        RANK, FOLD(WF_SCOPE_OFF, refuse),    {.kind = WF_STAGE_MAP}};
    static const struct wf_stage early[] = {FOLD(WF_SCOPE_ROW, refuse),
                                            RANK,
                                            FOLD(WF_SCOPE_TENSOR, finish),
                                            HALF,
                                            {.kind = WF_STAGE_MAP}};
    static const struct {
        struct wf_method method;
        uint32_t before_last, map;
        uint64_t kept;
    } cases[] = {{{.name = "late", .stages = late, .n_stages = 6}, 0, 4 | 8, 0},
                 {{.name = "early", .stages = early, .n_stages = 5}, 1 | 2, 1 | 2, 4500}};
    struct wf_unit_need need = roomy();
    struct wf_unit *u = unit(&need);
    struct sf_data d = random_data(9000, 3);
    (void)state;
    for (unsigned c = 0; c < 2; c++) {
        const struct wf_method *m = &cases[c].method;
        double rows[3][WF_ARGS_MODEL] = {{0}};
        struct wf_args args = make_args(rows, m, 3);
        struct sf_run r = {.data = &d, .unit = u, .method = m, .threads = 2};
        uint64_t kept = 0;
        sf_cut(&r, 0, 1, 6);
        struct wf_unit_group group = tensor_group(m, &args, &r);
        assert_null(sf_gather(&r, &group));
        assert_int_equal(r.steps[WF_STEP_FOLD], 1);
        assert_int_equal(r.steps[WF_STEP_SAMPLE], 1);
        assert_int_equal(r.local, cases[c].before_last);
        sf_map_all(&r, NULL);
        assert_int_equal(r.local, cases[c].map);
        for (uint64_t e = 0; e < 9000; e++)
            kept += r.out[0][e] & 1;
        assert_int_equal(kept, cases[c].kept);
        sf_free_out(&r);
    }
    sf_free(&d);
    wf_unit_destroy(u);
}

/* ---- COLUMNS ---- */

static const struct wf_stage column_stages[] = {
    {.kind = WF_STAGE_FOLD, .scope = WF_SCOPE_COLUMN, .fold = {0, terms, finish}},
    {.kind = WF_STAGE_SELECT,
     .scope = WF_SCOPE_OFF,
     .select = {.per_model = true, .cut = SF_CUT_SLOT, .n_ranks = 1, .ranks = half_of_fold}},
    {.kind = WF_STAGE_MAP, .scope = WF_SCOPE_ELEMENT}};
static const struct wf_method column_method = {
    .name = "columns", .stages = column_stages, .n_stages = 3};

static struct wf_tile seen;
static void look(const struct wf_tile *t, struct wf_tile_result *r)
{
    (void)r;
    seen = *t;
}

static void columns_are_added_in_order_and_given_to_map(void **state)
{
    struct wf_unit_need need = roomy();
    struct wf_unit *u = unit(&need);
    struct sf_data d = random_data(7000, 4);
    struct wf_backend looking = sf_backend;
    double rows[3][WF_ARGS_MODEL] = {{0}}, wanted[70][TERMS(3)];
    struct wf_args args = make_args(rows, &column_method, 3);
    (void)state;
    looking.map = look;
    memset(wanted, 0, sizeof wanted);
    for (uint64_t e = 0; e < 7000; e++)
        for (unsigned k = 0; k < TERMS(3); k++)
            wanted[e % 70][k] += k ? d.t[0].x[k - 1][e] : fabs(d.t[0].x[1][e]);
    for (unsigned way = 0; way < 6; way++) { /* twice: sums begin at zero */
        struct sf_run r = {.data = &d,
                           .unit = u,
                           .method = &column_method,
                           .rows = {100, 70},
                           .threads = way,
                           .seed = way};
        const void *in[SF_INPUTS];
        struct wf_tile_result result;
        sf_cut(&r, 0, 1, way * 3);
        struct wf_unit_group group = tensor_group(&column_method, &args, &r);
        assert_null(sf_gather(&r, &group));
        assert_int_equal(r.steps[WF_STEP_COLUMNS], 1);
        struct wf_tile tile = sf_tile(&r, 0, 0, 1, in);
        wf_unit_map(u, &looking, 0, &tile, &result);
        assert_memory_equal(seen.columns, wanted, sizeof wanted);
        assert_int_equal(seen.column_stage, 0);
    }
    sf_free(&d);
    wf_unit_destroy(u);
}

/* A group without the stage, after one with it, has no columns; and no stage at all is MAP at once.
 */
static void nothing_is_left_from_the_group_before(void **state)
{
    struct wf_unit_need need = roomy();
    struct wf_unit *u = unit(&need);
    struct sf_data d = random_data(70, 4);
    struct wf_backend looking = sf_backend;
    double rows[3][WF_ARGS_MODEL] = {{0}};
    struct wf_args args = make_args(rows, &column_method, 3);
    struct sf_run r = {.data = &d, .unit = u, .method = &column_method, .rows = {1, 70}};
    const void *in[SF_INPUTS];
    struct wf_tile_result result;
    (void)state;
    looking.map = look;
    sf_cut(&r, 0, 1, 1);
    struct wf_unit_group group = tensor_group(&column_method, &args, &r);
    assert_null(sf_gather(&r, &group));
    args.scope[0] = WF_SCOPE_OFF;
    args.scope[1] = WF_SCOPE_TENSOR;
    assert_null(sf_gather(&r, &group));
    assert_int_equal(r.steps[WF_STEP_COLUMNS], 0);
    struct wf_tile tile = sf_tile(&r, 0, 0, 1, in);
    wf_unit_map(u, &looking, 0, &tile, &result);
    assert_null(seen.columns);
    assert_true(isnan(seen.args->m[1][SF_CUT_SLOT]));
    args.scope[1] = WF_SCOPE_OFF;
    wf_unit_begin(u, &group);
    assert_int_equal(wf_unit_step(u), WF_STEP_MAP);
    wf_unit_map(u, &looking, 0, &tile, &result);
    assert_true(seen.args->m[1][SF_CUT_SLOT] == 0);
    assert_int_equal(seen.n_splits, 0);
    sf_free(&d);
    wf_unit_destroy(u);
}

/* ---- memory ---- */

static void more_threads_than_planned_wait(void **state)
{
    struct wf_unit_need need = roomy();
    need.threads = 0;
    struct wf_unit *u = unit(&need);
    struct sf_data d = random_data(100000, 9);
    double rows[3][WF_ARGS_MODEL] = {{0}};
    struct wf_args args = make_args(rows, &fold_method, 3);
    struct sf_run r = {.data = &d, .unit = u, .method = &fold_method, .threads = 7};
    (void)state;
    sf_cut(&r, 0, 1, 40);
    struct wf_unit_group group = tensor_group(&fold_method, &args, &r);
    assert_null(sf_gather(&r, &group));
    assert_int_equal(found_count, 100000);
    sf_free(&d);
    wf_unit_destroy(u);
}

static void needs_beyond_memory_are_refused(void **state)
{
    struct wf_unit_need need = roomy();
    struct wf_err e = {0};
    (void)state;
    assert_in_range(wf_unit_bytes(&need), 4 * 1024 * 8, 1 << 20);
    need.columns = UINT64_MAX / 3;
    assert_int_equal(wf_unit_bytes(&need), UINT64_MAX);
    assert_null(wf_unit_create(&e, &need));
    assert_int_equal(wf_err_status(&e), WF_MACHINE);
    wf_unit_destroy(NULL);
}

static void room_follows_the_need(void **state)
{
    struct wf_unit_need none = {.inputs = 3, .pieces = 1}, need = none;
    (void)state;
    assert_true(wf_unit_bytes(&none) < 16384);
    need.streams = 2;
    need.ranks = 2;
    need.bins = 1 << 16;
    need.keys = 1 << 14;
    uint64_t bytes = wf_unit_bytes(&need) - wf_unit_bytes(&none);
    assert_in_range(bytes, 4 * (8 << 16) + 2 * (8 << 14), 4 * (8 << 16) + 2 * (8 << 14) + 16384);
    need = none;
    need.terms = 6;
    need.count = (uint64_t)1 << 33;
    need.pieces = 100;
    assert_true(wf_unit_bytes(&need) < 1 << 20);
}

/* ---- shares ---- */

static void lower_half(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                       uint64_t *rank)
{
    (void)args;
    rank[0] = group->count / (i + 1);
}

/* Half of the keys are equal, so that cuts go through them, at another element for each input. */
static void a_share_of_two_inputs_is_that_of_all(void **state)
{
    static const struct wf_stage stages[] = {
        {.kind = WF_STAGE_SELECT,
         .scope = WF_SCOPE_TENSOR,
         .select = {.per_model = true, .cut = SF_CUT_SLOT, .n_ranks = 1, .ranks = lower_half}},
        {.kind = WF_STAGE_MAP}};
    static const struct wf_method m = {.name = "share", .stages = stages, .n_stages = 2};
    static const uint8_t types[SF_INPUTS] = {0};
    const uint64_t count = 9000;
    struct wf_unit_need need = roomy();
    struct wf_unit *u = unit(&need);
    struct sf_data d = sf_data(SF_INPUTS, 1, &count, 0);
    double rows[SF_INPUTS][WF_ARGS_MODEL] = {{0}};
    struct wf_args args = make_args(rows, &m, SF_INPUTS);
    struct sf_run r = {.data = &d, .unit = u, .method = &m, .threads = 2};
    (void)state;
    for (uint32_t i = 1; i < SF_INPUTS; i++)
        for (uint64_t e = 0; e < count; e++)
            d.t[0].x[i][e] = (double)((e * (i + 3)) % 4);
    sf_cut(&r, 0, 1, 6);
    struct wf_unit_group group = tensor_group(&m, &args, &r);
    assert_null(sf_gather(&r, &group));
    sf_map_all(&r, NULL);
    for (uint32_t p = 0; p < r.pieces; p++)
        for (uint32_t i = 1; i < SF_INPUTS; i++) {
            const void *in[SF_INPUTS];
            uint32_t *out = test_calloc(count, sizeof *out);
            struct wf_share share = {.slot = 0, .input = i, .pair = true};
            struct wf_tile tile = sf_tile(&r, p, r.from[p], r.to[p], in);
            struct wf_tile_result result = {WF_TILE_OK, 0, 0, NULL};
            tile.in_dtype = types;
            tile.out = out;
            if (r.from[p] < r.to[p])
                wf_unit_map_share(u, &sf_backend, p, &share, &tile, &result);
            assert_int_equal(tile.n, SF_INPUTS); /* the tile is the caller's again */
            assert_ptr_equal(tile.in, in);
            for (uint64_t e = r.from[p]; e < r.to[p]; e++)
                assert_int_equal(out[e - r.from[p]], r.out[0][e] >> (i - 1) & 1);
            test_free(out);
        }
    test_free(r.out[0]);
    sf_free(&d);
    wf_unit_destroy(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_share_of_two_inputs_is_that_of_all),
        cmocka_unit_test(folds_have_the_same_bits_for_any_cut_and_order),
        cmocka_unit_test(a_group_without_elements_folds_to_zero),
        cmocka_unit_test(the_model_folds_as_one_tree_over_its_tensors),
        cmocka_unit_test(a_refusal_is_handed_on),
        cmocka_unit_test(stages_run_in_order_and_see_what_was_found),
        cmocka_unit_test(columns_are_added_in_order_and_given_to_map),
        cmocka_unit_test(nothing_is_left_from_the_group_before),
        cmocka_unit_test(more_threads_than_planned_wait),
        cmocka_unit_test(needs_beyond_memory_are_refused),
        cmocka_unit_test(room_follows_the_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
