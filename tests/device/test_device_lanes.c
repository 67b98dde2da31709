/* test_device_lanes.c - lanes, mirrors and devices that fail: whatever call fails, a tile says so,
 * nothing waits for ever, and nothing is left behind. Needs the fake plugin.
 */
#include "device_fixture.h"

#include <pthread.h>
#include <unistd.h>

#include "../unit/frame_fixture.h"

#define ELEMENTS 4200u

static const struct wf_device_need need = {
    .tiles = {.inputs = 3, .terms = 6, .rank_row = ELEMENTS, .ranked = 2, .brackets = 2},
    .input_bytes = 3 * ELEMENTS * 4 + 256,
    .output_bytes = ELEMENTS * 4,
    .lanes = DF_LANES,
    .slots = DF_LANES,
};

static void clear_environment(void)
{
    static const char *const names[] = {"WEFT_FAKE_FAIL", "WEFT_FAKE_DELAY_US", "WEFT_FAKE_DEVICES",
                                        "WEFT_FAKE_MEMORY"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        unsetenv(names[k]);
    setenv("WEFT_DEVICE_MIN", "0", 1);
}

/* ---- failures ---- */

static uint32_t two_terms(uint32_t n)
{
    return 2 * (n - 1);
}

static const char *weights_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    args->m[1][DELTA_WEIGHT] += terms[0] / (double)count;
    return NULL;
}

static void ignore_leaf(void *arg, uint64_t leaf, const double *terms)
{
    (void)arg, (void)leaf, (void)terms;
}

static void ignore_keys(void *arg, unsigned bracket, const uint64_t *keys, size_t n)
{
    (void)arg, (void)bracket, (void)keys, (void)n;
}

struct outcome {
    unsigned good, failed;
};

static void expect_verdict(struct outcome *o, const struct wf_tile_result *r)
{
    bool failed = r->verdict == WF_TILE_FAILED;
    assert_true(failed || r->verdict == WF_TILE_OK);
    if (failed && (!r->why || !strstr(r->why, "GPU ") || !strstr(r->why, "fake_plugin.cpp")))
        fail_msg("'%s' does not name the GPU and the call", r->why ? r->why : "");
    o->failed += failed;
    o->good += !failed;
}

/* Every operation once, with a stage of row scope. */
static void each_operation(struct outcome *o, const struct wf_backend *backend)
{
    struct ff f;
    struct df_tile d;
    char *memory;
    struct wf_tile_result r;
    double sums[50 * 4] = {0};
    uint64_t zeros[2] = {0};
    struct wf_bracket brackets[2] = {{0, UINT64_MAX >> 1, 0, 0, true}, {5, 4, 0, 0, false}};
    struct wf_count count = {
        .brackets = brackets, .zeros = zeros, .streams = 2, .ranks = 1, .found = ignore_keys};
    ff_begin(&f, 3, WF_F32, ELEMENTS);
    f.rows = (struct wf_rows){420, 1};
    f.args.map = WF_ID_delta_row_map;
    ff_stage(&f, WF_STAGE_FOLD, WF_ID_delta_row_fold, true)->fold =
        (struct wf_fold){.terms = two_terms, .finish = weights_finish};
    ff_stage(&f, WF_STAGE_RANK, WF_ID_delta_key, true)->select.per_model = true;
    ff_stage(&f, WF_STAGE_FOLD, WF_ID_delta_row_fold, false)->fold.terms = two_terms;
    float *out = test_malloc(ELEMENTS * sizeof *out);
    struct wf_tile t = ff_tile(&f, 0, ELEMENTS, &memory);
    t.out = out;
    t.out_dtype = WF_F32;
    df_place(&t, &d);
    backend->fold(&d.t, 2, ignore_leaf, NULL, &r);
    expect_verdict(o, &r);
    backend->count(&d.t, 1, &count, &r);
    expect_verdict(o, &r);
    backend->map(&d.t, &r);
    expect_verdict(o, &r);
    t.local = 0;
    t.rows = (struct wf_rows){ELEMENTS / 50, 50};
    df_place(&t, &d);
    backend->fold_columns(&d.t, 2, sums, &r);
    expect_verdict(o, &r);
    test_free(out);
    test_free(memory);
    ff_end(&f);
}

/* The n-th call of an entry fails. True: there was no n-th call. */
static bool fail_at(const char *call, unsigned n)
{
    struct wf_err e = {0};
    struct outcome o = {0};
    char text[64];
    snprintf(text, sizeof text, "%s:%u", call, n);
    setenv("WEFT_FAKE_FAIL", text, 1);
    int status = df_try(&e, &need, n % 2 ? DF_LEAST : DF_ROOMY);
    if (status && !strstr(e.text, call))
        fail_msg("'%s' does not name the call %s", e.text, call);
    if (!status)
        each_operation(&o, wf_backend_device());
    if (!status && strcmp(call, "kernel") && o.failed > 1)
        fail_msg("%s: %u tiles failed, %u did not", text, o.failed, o.good);
    df_end();
    unsetenv("WEFT_FAKE_FAIL");
    return !status && !o.failed;
}

static void any_call_that_fails_is_told_and_leaves_nothing_behind(void **state)
{
    static const char *const calls[] = {"count",     "describe", "allocate", "pin",
                                        "open_lane", "copy_in",  "copy_out", "clear",
                                        "launch",    "finish",   "kernel"};
    (void)state;
    clear_environment();
    for (size_t k = 0; k < sizeof calls / sizeof *calls; k++) {
        unsigned n = 1;
        while (!fail_at(calls[k], n))
            n++;
        if (n == 1)
            fail_msg("%s was never called", calls[k]);
    }
}

/* ---- mirrors ---- */

#define SLOTS 6u
#define THREADS DF_LANES
#define ROUNDS 12u

static struct {
    struct ff f;
    uint64_t key[SLOTS];
    pthread_barrier_t all;
    float weight[SLOTS]; /* of the round */
} shared;

/* A slot's inputs: what f has, times a number of the slot and round. */
static void fill_slot(uint32_t slot, uint32_t round)
{
    float *to = (float *)(df.pages + slot * df.slot_bytes);
    shared.weight[slot] = (float)(1 + slot + SLOTS * round);
    for (uint64_t e = 0; e < 3 * ELEMENTS; e++)
        to[e] = shared.weight[slot] * (float)(e % 1000);
    shared.key[slot] = 1 + slot + (uint64_t)SLOTS * round;
}

/* Each element of the result is the one of input 0. */
static void check_slot(uint32_t thread, uint32_t slot, float *out)
{
    const char *begin = df.pages + slot * df.slot_bytes;
    const void *in[3];
    struct wf_tile_result r;
    for (uint32_t i = 0; i < 3; i++)
        in[i] = begin + i * ELEMENTS * sizeof(float);
    struct wf_tile t = {.method = &shared.f.method,
                        .args = &shared.f.args,
                        .in = in,
                        .in_dtype = shared.f.in_dtype,
                        .n = 3,
                        .cast = WF_DTYPE_NONE,
                        .check = true,
                        .count = ELEMENTS,
                        .to = ELEMENTS,
                        .total = ELEMENTS,
                        .rows = shared.f.rows,
                        .out = out,
                        .out_dtype = WF_F32,
                        .lane = wf_lane_of(df.lanes, thread)};
    wf_lane_inputs(t.lane, shared.key[slot], begin, 3 * ELEMENTS * sizeof(float));
    wf_backend_device()->map(&t, &r);
    assert_int_equal(r.verdict, WF_TILE_OK);
    for (uint64_t e = 0; e < ELEMENTS; e++)
        if (out[e] != shared.weight[slot] * (float)(e % 1000))
            fail_msg("slot %u, element %zu: %g is not of this round", slot, (size_t)e, out[e]);
}

static void *visit_slots(void *arg)
{
    uint32_t thread = *(const uint32_t *)arg;
    float *out = (float *)(df.pages + (SLOTS + thread) * df.slot_bytes);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        if (!thread)
            for (uint32_t s = 0; s < SLOTS; s++)
                fill_slot(s, round);
        pthread_barrier_wait(&shared.all);
        for (uint32_t s = 0; s < SLOTS; s++)
            check_slot(thread, (s + thread * (round % 3)) % SLOTS, out);
        pthread_barrier_wait(&shared.all);
    }
    return NULL;
}

static void run_threads(void)
{
    pthread_t thread[THREADS];
    uint32_t number[THREADS];
    pthread_barrier_init(&shared.all, NULL, THREADS);
    for (uint32_t k = 0; k < THREADS; k++) {
        number[k] = k;
        assert_int_equal(pthread_create(&thread[k], NULL, visit_slots, &number[k]), 0);
    }
    for (uint32_t k = 0; k < THREADS; k++)
        pthread_join(thread[k], NULL);
    pthread_barrier_destroy(&shared.all);
}

/* Slots change, lanes share them, and mirrors are as few as can be, or enough. */
static void lanes_share_mirrors_and_never_see_an_old_slot(void **state)
{
    (void)state;
    clear_environment();
    setenv("WEFT_FAKE_DELAY_US", "300", 1);
    for (unsigned percent = DF_LEAST; percent <= DF_ROOMY; percent += DF_ROOMY - DF_LEAST) {
        struct wf_device_need more = need;
        more.slots = SLOTS;
        df_slots = SLOTS + THREADS;
        df_begin(&more, percent);
        ff_begin(&shared.f, 3, WF_F32, ELEMENTS);
        shared.f.args.map = WF_ID_linear_map;
        shared.f.m[0][LINEAR_WEIGHT] = 1;
        run_threads();
        uint64_t devices = wf_devices_count(df.devices), copies = df_fake().copies_in;
        if (percent == DF_ROOMY && copies > devices * SLOTS * ROUNDS)
            fail_msg("%zu copies of %u slots' inputs to %zu devices in %u rounds", (size_t)copies,
                     SLOTS, (size_t)devices, ROUNDS);
        ff_end(&shared.f);
        df_end();
    }
    df_slots = DF_LANES;
}

/* ---- small tiles ---- */

static void small_tiles_are_left_to_the_cpu(void **state)
{
    static const struct {
        const char *least;
        bool on_device;
    } cases[] = {{"0", true}, {"12600", true}, {"12601", false}, {"", false}, {NULL, false}};
    (void)state;
    clear_environment();
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct outcome o = {0};
        cases[k].least ? setenv("WEFT_DEVICE_MIN", cases[k].least, 1) : unsetenv("WEFT_DEVICE_MIN");
        df_begin(&need, DF_ROOMY);
        each_operation(&o, wf_backend_device());
        assert_int_equal(o.failed, 0);
        assert_int_equal(df_fake().launches > 0, cases[k].on_device);
        df_end();
    }
    struct wf_err e = {0};
    setenv("WEFT_DEVICE_MIN", "many", 1);
    assert_int_equal(df_try(&e, &need, DF_ROOMY), WF_USAGE);
    assert_non_null(strstr(e.text, "WEFT_DEVICE_MIN"));
    df_end();
}

/* ---- which GPUs ---- */

static int open_gpus(struct wf_err *e, const char *gpus, uint64_t memory, struct wf_devices **d)
{
    struct wf_device_options options = {.gpus = gpus, .memory_bytes = memory};
    char why[256];
    int status = wf_devices_open(e, &options, d, why);
    assert_int_equal(!*d, status != WF_OK);
    return status;
}

static void gpus_are_chosen_by_number(void **state)
{
    static const struct {
        const char *gpus;
        uint32_t count, index[3];
    } good[] = {{NULL, 4, {0, 1, 2}},
                {"all", 4, {0, 1, 2}},
                {"2", 1, {2}},
                {"3,1", 2, {3, 1}},
                {"0,1,2,3", 4, {0, 1, 2}}};
    static const char *const bad[] = {
        "", "4", "0,0", "1,", ",1", "one", "0 1", "-1", "0x1", "all,1", "99999999999999999999"};
    (void)state;
    clear_environment();
    setenv("WEFT_FAKE_DEVICES", "4", 1);
    for (size_t k = 0; k < sizeof good / sizeof *good; k++) {
        struct wf_err e = {0};
        struct wf_devices *d;
        assert_int_equal(open_gpus(&e, good[k].gpus, 0, &d), WF_OK);
        assert_int_equal(wf_devices_count(d), good[k].count);
        for (uint32_t i = 0; i < good[k].count && i < 3; i++)
            assert_int_equal(wf_devices_index(d, i), good[k].index[i]);
        wf_devices_close(d);
    }
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        struct wf_err e = {0};
        struct wf_devices *d;
        if (open_gpus(&e, bad[k], 0, &d) != WF_USAGE || !strstr(e.text, "--gpus"))
            fail_msg("--gpus '%s': %s", bad[k], e.text);
    }
}

static void device_memory_is_what_is_free_or_what_was_asked_for(void **state)
{
    struct wf_err e = {0};
    struct wf_devices *d;
    (void)state;
    clear_environment();
    setenv("WEFT_FAKE_MEMORY", "1000000", 1);
    assert_int_equal(open_gpus(&e, "all", 0, &d), WF_OK);
    assert_int_equal(wf_devices_memory(d), 900000);
    wf_devices_close(d);
    assert_int_equal(open_gpus(&e, "all", 123456, &d), WF_OK);
    assert_int_equal(wf_devices_memory(d), 123456);
    wf_devices_close(d);
    assert_int_equal(open_gpus(&e, "all", 1000001, &d), WF_MACHINE);
    assert_non_null(strstr(e.text, "--device-memory"));
}

/* What is no plugin, or has no device, is a reason, and an error only where a GPU is required. */
static void a_missing_plugin_or_device_is_a_reason(void **state)
{
    static const struct {
        const char *plugin, *devices, *reason;
    } cases[] = {{"/nowhere/libweft_cuda.so", "2", "/nowhere/libweft_cuda.so"},
                 {"libm.so.6", "2", "not a plugin"},
                 {NULL, "0", "no device"}};
    char plugin[4096], path[4096];
    (void)state;
    clear_environment();
    snprintf(plugin, sizeof plugin, "%s", getenv("WEFT_CUDA_PLUGIN"));
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
        for (int required = 0; required < 2; required++) {
            struct wf_device_options options = {.required = required};
            struct wf_err e = {0};
            struct wf_devices *d = NULL;
            char why[256];
            setenv("WEFT_CUDA_PLUGIN", cases[k].plugin ? cases[k].plugin : plugin, 1);
            setenv("WEFT_FAKE_DEVICES", cases[k].devices, 1);
            assert_int_equal(wf_devices_open(&e, &options, &d, why), required ? WF_MACHINE : WF_OK);
            assert_null(d);
            if (!strstr(required ? e.text : why, cases[k].reason))
                fail_msg("'%s' does not say '%s'", required ? e.text : why, cases[k].reason);
        }
    wf_devices_plugin_path(path);
    assert_string_equal(path, plugin);
    setenv("WEFT_CUDA_PLUGIN", plugin, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpus_are_chosen_by_number),
        cmocka_unit_test(device_memory_is_what_is_free_or_what_was_asked_for),
        cmocka_unit_test(a_missing_plugin_or_device_is_a_reason),
        cmocka_unit_test(small_tiles_are_left_to_the_cpu),
        cmocka_unit_test(any_call_that_fails_is_told_and_leaves_nothing_behind),
        cmocka_unit_test(lanes_share_mirrors_and_never_see_an_old_slot),
    };
    if (!df_fake_symbol()) {
        fprintf(stderr, "WEFT_CUDA_PLUGIN does not name the fake plugin\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
