/* test_device_linalg.c - linear algebra on the device that WEFT_CUDA_PLUGIN names: what every table
 * must do, and what is claimed for it before; decompositions against the processor's.
 *
 *     test_device_linalg libraries     what the plugin opens, without a device
 */
#include "../unit/linalg_checks.h"

#include "../../src/backend/device_linalg.h"
#include "../../src/base/library.h"
#include "../../src/base/mem.h"
#include "../../src/lowrank/delta_svd.h"
#include "fake_plugin.h"

#define CHECKS_BYTES ((uint64_t)192 << 20) /* more than any of linalg_checks.h takes */

static struct wf_devices *devices;
static struct wf_device_linalg linalg;
static struct wf_linalg *table; /* that the checks are made on */

static int open_device(void **state)
{
    struct wf_err e = {0};
    struct wf_device_options options = {.required = true};
    char why[256];
    (void)state;
    if (wf_devices_open(&e, &options, &devices, why) ||
        wf_device_linalg_init(&e, devices, true, &linalg) ||
        linalg.device.open(&e, &linalg.device, 0, &table) ||
        linalg.device.claim(&e, table, CHECKS_BYTES)) {
        print_message("%s\n", e.text);
        return 1;
    }
    la = table;
    return 0;
}

static int close_device(void **state)
{
    (void)state;
    linalg.device.close(table);
    wf_devices_close(devices);
    return 0;
}

/* ---- what a crew claims is enough ---- */

struct job {
    uint32_t outs, ins;
    struct wf_cut cut;
    bool wide;
};

static int job_room(struct wf_err *e, const struct wf_linalg *t, const void *arg, uint64_t *bytes)
{
    const struct job *j = arg;
    return wf_delta_room(e, t, j->outs, j->ins, &j->cut, j->wide, bytes);
}

/* What the factors of d miss, squared. */
static double missed_by(const struct wf_linalg *t, const struct wf_linalg *processor,
                        const struct job *j, const double *d)
{
    struct wf_err e = {0};
    size_t n = (size_t)j->outs * j->ins;
    struct wf_factors f = {0};
    double missed = -1, *copy = test_malloc(n * sizeof *copy);
    float *single = test_malloc(n * sizeof *single);
    memcpy(copy, d, n * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        single[i] = (float)d[i];
    int s = j->wide ? wf_delta_truncate_wide(&e, t, j->outs, j->ins, copy, &j->cut, &f)
                    : wf_delta_truncate(&e, t, j->outs, j->ins, single, 5, &j->cut, &f);
    memcpy(copy, d, n * sizeof *copy);
    if (!s)
        s = wf_delta_residual_wide(&e, processor, j->outs, j->ins, f.rank, copy, f.b, f.a, &missed);
    if (s)
        fail_msg("%u x %u: %s", j->outs, j->ins, e.text);
    wf_factors_free(&f);
    test_free(copy);
    test_free(single);
    return missed;
}

static void factors_miss_as_much_as_the_processor_s(void **state)
{
    static const struct job jobs[] = {
        {.outs = 300, .ins = 420, .cut = {.rank = 8}}, /* by sketch */
        {.outs = 420, .ins = 300, .cut = {.rank = 8}},
        {.outs = 40, .ins = 70, .cut = {.rank = 30}}, /* by eigenvectors */
        {.outs = 70, .ins = 40, .cut = {.rank = 30}},
        {.outs = 330, .ins = 350, .cut = {.energy = 0.5}}, /* both */
        {.outs = 330, .ins = 350, .cut = {.energy = 0.999}},
        {.outs = 50, .ins = 31, .cut = {.rank = 9}, .wide = true},
        {.outs = 1, .ins = 9, .cut = {.rank = 4}},
    };
    const struct wf_linalg *processor;
    struct wf_err e = {0};
    (void)state;
    if (wf_linalg_cpu(&e, &processor))
        skip();
    for (size_t k = 0; k < sizeof jobs / sizeof *jobs; k++) {
        struct job j = jobs[k];
        struct wf_linalg_crew crew;
        double *d = matrix((int)j.outs, (int)j.ins, 31);
        for (size_t i = 0; i < (size_t)j.outs * j.ins; i++) {
            d[i] /= 1 + (double)(i % 7) + (double)(i / j.ins % 50);
            j.cut.whole += d[i] * d[i];
        }
        if (wf_linalg_crew_open(&e, &linalg.device, 3, job_room, &j, &crew))
            fail_msg("%s", e.text);
        assert_int_equal(crew.n, 3);
        double wanted = missed_by(processor, processor, &j, d);
        double got = missed_by(wf_linalg_crew_table(&crew, 2), processor, &j, d);
        if (!(fabs(got - wanted) <= 1e-4 * j.cut.whole))
            fail_msg("%u x %u: misses %g of %g; on the processor %g", j.outs, j.ins, got,
                     j.cut.whole, wanted);
        wf_linalg_crew_close(&crew);
        test_free(d);
    }
}

/* ---- too little memory ---- */

static void a_device_without_room_is_passed_over_or_refused(void **state)
{
    const struct job j = {.outs = 3000, .ins = 2000, .cut = {.rank = 8}};
    const struct wf_linalg *processor;
    struct wf_device_linalg small = linalg;
    struct wf_linalg_crew crew;
    struct wf_err e = {0};
    (void)state;
    if (wf_linalg_cpu(&e, &processor))
        skip();
    small.device.memory_bytes = 1 << 20;
    assert_int_equal(wf_linalg_crew_open(&e, &small.device, 2, job_room, &j, &crew), WF_MACHINE);
    assert_non_null(strstr(e.text, "--backend cuda"));
    assert_non_null(strstr(e.text, "1.05 MB may be used"));
    wf_linalg_crew_close(&crew);
    wf_err_clear(&e);
    small.device.required = false;
    assert_int_equal(wf_linalg_crew_open(&e, &small.device, 2, job_room, &j, &crew), WF_OK);
    assert_ptr_equal(wf_linalg_crew_table(&crew, 1), processor);
    assert_int_equal(crew.n, 2);
    wf_linalg_crew_close(&crew);
}

static int fails_to_open(struct wf_err *e, const struct wf_linalg_device *d, unsigned nth,
                         struct wf_linalg **out)
{
    return nth ? wf_fail(e, WF_MACHINE, "the second queue fails")
               : linalg.device.open(e, d, nth, out);
}

static void a_device_that_fails_before_the_work_is_passed_over_or_refused(void **state)
{
    const struct job j = {.outs = 60, .ins = 50, .cut = {.rank = 8}};
    const struct wf_linalg *processor;
    struct wf_device_linalg broken = linalg;
    struct wf_linalg_crew crew;
    struct wf_err e = {0};
    (void)state;
    if (wf_linalg_cpu(&e, &processor))
        skip();
    broken.device.open = fails_to_open;
    assert_int_equal(wf_linalg_crew_open(&e, &broken.device, 2, job_room, &j, &crew), WF_MACHINE);
    assert_non_null(strstr(e.text, "the second queue fails"));
    wf_linalg_crew_close(&crew);
    wf_err_clear(&e);
    broken.device.required = false;
    assert_int_equal(wf_linalg_crew_open(&e, &broken.device, 2, job_room, &j, &crew), WF_OK);
    assert_ptr_equal(wf_linalg_crew_table(&crew, 1), processor);
    wf_linalg_crew_close(&crew);
}

static void memory_for_fewer_threads_means_fewer(void **state)
{
    const struct job j = {.outs = 600, .ins = 500, .cut = {.rank = 8}};
    struct wf_device_linalg small = linalg;
    struct wf_linalg_crew crew;
    struct wf_err e = {0};
    uint64_t bytes = 0;
    (void)state;
    assert_int_equal(job_room(&e, table, &j, &bytes), WF_OK);
    assert_true(bytes > sizeof(float) * j.outs * j.ins);
    small.device.memory_bytes = 2 * bytes;
    small.device.count = 1;
    assert_int_equal(wf_linalg_crew_open(&e, &small.device, 5, job_room, &j, &crew), WF_OK);
    assert_int_equal(crew.n, 2);
    wf_linalg_crew_close(&crew);
}

static int has_no_memory_to_open(struct wf_err *e, const struct wf_linalg_device *d, unsigned nth,
                                 struct wf_linalg **out)
{
    return nth == 2 ? wf_fail(e, WF_NO, "no memory for the third")
                    : linalg.device.open(e, d, nth, out);
}

static int has_no_memory_to_claim(struct wf_err *e, struct wf_linalg *t, uint64_t bytes)
{
    static unsigned calls;
    return ++calls % 3 == 0 ? wf_fail(e, WF_NO, "no memory for the third")
                            : linalg.device.claim(e, t, bytes);
}

/* Somebody else took it after it was counted. */
static void memory_that_is_gone_means_fewer_threads_too(void **state)
{
    const struct job j = {.outs = 60, .ins = 50, .cut = {.rank = 8}};
    struct wf_device_linalg crowded = linalg;
    struct wf_linalg_crew crew;
    struct wf_err e = {0};
    (void)state;
    crowded.device.open = has_no_memory_to_open;
    assert_int_equal(wf_linalg_crew_open(&e, &crowded.device, 5, job_room, &j, &crew), WF_OK);
    assert_int_equal(crew.n, 2);
    wf_linalg_crew_close(&crew);
    crowded.device.open = linalg.device.open;
    crowded.device.claim = has_no_memory_to_claim;
    assert_int_equal(wf_linalg_crew_open(&e, &crowded.device, 5, job_room, &j, &crew), WF_OK);
    assert_int_equal(crew.n, 2);
    assert_int_equal(wf_err_status(&e), WF_OK);
    wf_linalg_crew_close(&crew);
}

/* ---- iterations that do not converge ---- */

/* The nth call of a routine of cuSOLVER says so, and has destroyed its copy of the matrix. */
static void check_without_convergence(const char *nth, void (*check)(void **state))
{
    struct wf_err e = {0};
    struct wf_device_options options = {.required = true};
    struct wf_devices *own;
    struct wf_device_linalg device;
    struct wf_linalg *t;
    char why[256];
    setenv("WEFT_FAKE_FAIL", nth, 1);
    if (wf_devices_open(&e, &options, &own, why) || wf_device_linalg_init(&e, own, true, &device) ||
        device.device.open(&e, &device.device, 0, &t) ||
        device.device.claim(&e, t, CHECKS_BYTES / 4))
        fail_msg("%s", e.text);
    la = t;
    check(NULL);
    la = table;
    device.device.close(t);
    wf_devices_close(own);
    unsetenv("WEFT_FAKE_FAIL");
}

static void what_does_not_converge_is_left_to_the_processor(void **state)
{
    const struct wf_linalg *processor;
    struct wf_err e = {0};
    (void)state;
    if (wf_linalg_cpu(&e, &processor))
        skip();
    check_without_convergence("cusolverDnXsyevd:1", eigenvectors_give_the_matrix_back);
    check_without_convergence("cusolverDnXsyevd:2", gaps_between_columns_are_left_alone);
    check_without_convergence("cusolverDnXgesvd:3", singular_vectors_give_the_matrix_back);
    check_without_convergence("cusolverDnXgesvd:5", singular_vectors_give_the_matrix_back);
    check_without_convergence("cusolverDnXgesvd:1", factors_with_gaps_are_those_without);
}

/* ---- without a device ---- */

/* What the plugin says of its libraries: on stdout, with 0, or 77 with why there are none. And a
 * queue on a device that is not there, which is refused. */
static int show_libraries(void)
{
    char path[PATH_MAX], why[WF_LIBRARY_WHY_BYTES], text[64];
    struct wf_plugin_err e = {0};
    struct wf_plugin_linalg *queue;
    uint32_t present = 0;
    wf_plugin_get_fn *get;
    wf_devices_plugin_path(path);
    *(void **)&get = wf_library_symbol(path, WF_PLUGIN_SYMBOL, false, why);
    const struct wf_plugin *plugin = get ? get() : NULL;
    if (!plugin || plugin->abi != WF_PLUGIN_ABI || plugin->bytes != WF_PLUGIN_BYTES) {
        puts(get ? "the plugin belongs to another version" : why);
        return 1;
    }
    if (plugin->linalg_library(&e, text)) {
        puts(e.text);
        return 77;
    }
    puts(text);
    if (plugin->count(&e, &present) || !present) {
        if (!plugin->linalg_open(&e, 0, &queue) || queue)
            return 1;
        puts(e.text);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "libraries"))
        return show_libraries();
    const struct CMUnitTest tests[] = {
        LINALG_CHECKS,
        cmocka_unit_test(factors_miss_as_much_as_the_processor_s),
        cmocka_unit_test(a_device_without_room_is_passed_over_or_refused),
        cmocka_unit_test(a_device_that_fails_before_the_work_is_passed_over_or_refused),
        cmocka_unit_test(memory_for_fewer_threads_means_fewer),
        cmocka_unit_test(memory_that_is_gone_means_fewer_threads_too),
        cmocka_unit_test(what_does_not_converge_is_left_to_the_processor),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
