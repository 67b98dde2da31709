/* test_trace.c - traces are whole JSON whatever is recorded and whenever the program ends, ranks
 * have files of their own, and what is said to bind a stream is where its time went.
 */
#include "model_tree.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "../../src/base/clock.h"
#include "../../src/base/log.h"
#include "../../src/base/trace.h"
#include "../../src/format/json.h"
#include "../../src/stream/bound.h"
#include "../../src/stream/watch.h"

static struct wf_json *read_trace(struct tree *t, const char *path)
{
    struct wf_json *root;
    assert_worked(t, wf_json_read(&t->err, &t->arena, path, 64u << 20, WF_JSON_STRICT, &root));
    assert_int_equal(root->kind, WF_JSON_ARRAY);
    return root;
}

static struct wf_trace *open_trace(struct tree *t, const char *path, size_t buffer_bytes)
{
    struct wf_trace *trace;
    assert_worked(t, wf_trace_open(&t->err, path, 7, buffer_bytes, &trace));
    return trace;
}

/* The events of a phase, "X" or "C" or "M", that have this name; NULL: any. */
static size_t count(const struct wf_json *root, const char *phase, const char *name)
{
    size_t n = 0;
    for (size_t i = 0; i < root->n; i++) {
        const struct wf_json *event = &root->children[i];
        n += !strcmp(wf_json_string(event, "ph"), phase) &&
             (!name || !strcmp(wf_json_string(event, "name"), name));
    }
    return n;
}

static uint64_t number(const struct wf_json *object, const char *key)
{
    uint64_t value = 0;
    assert_true(wf_json_u64(wf_json_get(object, key), &value));
    return value;
}

/* ---- the file ---- */

static void a_trace_without_events_is_whole(void **state)
{
    struct tree *t = *state;
    char *path = tree_path(t, "empty.json");
    wf_trace_close(open_trace(t, path, 100));
    struct wf_json *root = read_trace(t, path);
    assert_int_equal(count(root, "M", "process_name"), 1);
    assert_int_equal(count(root, "X", NULL), 0);
    wf_trace_close(NULL);
}

static void an_old_trace_is_replaced(void **state)
{
    struct tree *t = *state;
    char *path = tree_path(t, "old.json");
    struct wf_trace *trace = open_trace(t, path, 100);
    struct wf_track *k = wf_trace_track(trace, "main", WF_TRACE_ONLY);
    for (int i = 0; i < 100; i++)
        wf_trace_span(k, "before", "test", 1, 2, NULL);
    wf_trace_close(trace);
    assert_int_equal(count(read_trace(t, path), "X", "before"), 100);
    wf_trace_close(open_trace(t, path, 100));
    assert_int_equal(count(read_trace(t, path), "X", NULL), 0);
}

static void any_text_and_number_comes_back(void **state)
{
    struct tree *t = *state;
    char *path = tree_path(t, "text.json"), name[3 * WF_TRACE_TEXT_MAX];
    struct wf_trace *trace = open_trace(t, path, 100);
    struct wf_track *k = wf_trace_track(trace, "a \"quoted\\ track\n", 3);
    const struct wf_trace_arg args[] = {
        {.name = "text", .text = "say \"hi\" \\ \n\t\x01 \xc3\xa9 \xff \xed\xa0\x80"},
        {.name = "number", .number = 9007199254740992u},
        {.name = "long", .text = name},
        {.name = NULL},
    };
    memset(name, 'x', sizeof name - 1);
    memcpy(name + WF_TRACE_TEXT_MAX - 1, "\xc3\xa9", 2); /* the cut goes through it */
    name[sizeof name - 1] = 0;
    wf_trace_span(k, "read", "test", 5000, 9000, args);
    wf_trace_counter(k, "bytes", 6000, args + 1);
    wf_trace_close(trace);
    struct wf_json *root = read_trace(t, path);
    const struct wf_json *span = &root->children[root->n - 2], *curve = span + 1;
    assert_int_equal(number(span, "pid"), 7);
    assert_int_equal(number(span, "dur"), 4);
    const struct wf_json *got = wf_json_get(span, "args");
    assert_string_equal(wf_json_string(got, "text"), "say \"hi\" \\ \n\t\x01 \xc3\xa9 \xef\xbf\xbd "
                                                     "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");
    assert_int_equal(number(got, "number"), 9007199254740992u);
    assert_int_equal(strlen(wf_json_string(got, "long")), WF_TRACE_TEXT_MAX - 1 + 3);
    assert_string_equal(wf_json_string(curve, "ph"), "C");
    assert_int_equal(number(wf_json_get(curve, "args"), "number"), 9007199254740992u);
}

/* A copy of the file at this moment is what a program that is killed now leaves. */
static void the_file_is_whole_at_any_time(void **state)
{
    struct tree *t = *state;
    char *path = tree_path(t, "now.json");
    struct wf_trace *trace = open_trace(t, path, 300);
    struct wf_track *k = wf_trace_track(trace, "main", WF_TRACE_ONLY);
    size_t before = 0;
    for (uint64_t i = 0; i < 50; i++) {
        wf_trace_span(k, "step", "test", 1000 * i, 1000 * i + 500, NULL);
        size_t now = count(read_trace(t, path), "X", "step");
        assert_true(now >= before && now + 4 > i);
        before = now;
    }
    wf_trace_close(trace);
    assert_int_equal(count(read_trace(t, path), "X", "step"), 50);
}

static void nothing_is_recorded_without_a_trace(void **state)
{
    (void)state;
    struct wf_track *k = wf_trace_track(NULL, "main", 1);
    assert_null(k);
    wf_trace_span(k, "read", "test", 1, 2, NULL);
    wf_trace_counter(k, "bytes", 1, NULL);
}

static void what_cannot_be_written_is_refused_by_name(void **state)
{
    struct tree *t = *state;
    const char *refused[] = {tree_path(t, "missing/t.json"), tree_folder(t, "folder"), "/dev/null",
                             tree_path(t, "pipe")};
    assert_int_equal(mkfifo(refused[3], 0666), 0);
    for (size_t i = 0; i < 4; i++) {
        struct wf_trace *trace;
        struct wf_err e = {0};
        assert_int_equal(wf_trace_open(&e, refused[i], 0, 100, &trace), WF_MACHINE);
        assert_null(trace);
        assert_non_null(strstr(e.text, refused[i]));
    }
}

static void a_full_disk_costs_the_rest_and_nothing_else(void **state)
{
    struct tree *t = *state;
    char *path = tree_path(t, "full.json");
    struct wf_trace *trace = open_trace(t, path, 500);
    struct wf_track *k = wf_trace_track(trace, "main", WF_TRACE_ONLY);
    struct rlimit before, small;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 4000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    wf_log_set_level(WF_LOG_ERROR);
    for (uint64_t i = 0; i < 1000; i++)
        wf_trace_span(k, "step", "test", 1000 * i, 1000 * i + 500, NULL);
    wf_trace_close(trace);
    setrlimit(RLIMIT_FSIZE, &before);
    size_t n = count(read_trace(t, path), "X", "step");
    assert_true(n > 20 && n < 50);
}

/* ---- threads ---- */

#define THREADS 8u
#define SPANS 2000u

struct recording {
    struct wf_trace *trace;
    unsigned number;
};

static void *record(void *arg)
{
    const struct recording *r = arg;
    struct wf_track *k = wf_trace_track(r->trace, "worker", r->number);
    for (uint64_t i = 0; i < SPANS; i++) {
        struct wf_trace_arg args[] = {{.name = "i", .number = i}, {.name = NULL}};
        wf_trace_span(k, "work", "test", 1000 * i, 1000 * i + 1000, args);
    }
    return NULL;
}

static void many_threads_with_tiny_buffers_lose_nothing(void **state)
{
    struct tree *t = *state;
    char *path = tree_path(t, "threads.json");
    struct wf_trace *trace = open_trace(t, path, 1);
    struct recording each[THREADS];
    pthread_t threads[THREADS];
    uint64_t next[THREADS] = {0};
    for (unsigned i = 0; i < THREADS; i++) {
        each[i] = (struct recording){trace, i};
        assert_int_equal(pthread_create(&threads[i], NULL, record, &each[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    wf_trace_close(trace);
    struct wf_json *root = read_trace(t, path);
    assert_int_equal(count(root, "M", "thread_name"), THREADS);
    assert_int_equal(count(root, "X", "work"), THREADS * SPANS);
    for (size_t i = 0; i < root->n; i++) {
        const struct wf_json *event = &root->children[i];
        if (strcmp(wf_json_string(event, "ph"), "X") != 0)
            continue;
        uint64_t track = number(event, "tid");
        assert_true(track < THREADS);
        assert_int_equal(number(wf_json_get(event, "args"), "i"), next[track]++);
    }
}

static void a_name_is_one_track(void **state)
{
    struct tree *t = *state;
    char *path = tree_path(t, "tracks.json");
    struct wf_trace *trace = open_trace(t, path, 100);
    struct wf_track *first = wf_trace_track(trace, "reader", 1);
    assert_ptr_equal(wf_trace_track(trace, "reader", 1), first);
    assert_ptr_not_equal(wf_trace_track(trace, "reader", 2), first);
    assert_ptr_not_equal(wf_trace_track(trace, "reader", WF_TRACE_ONLY), first);
    wf_trace_close(trace);
    assert_int_equal(count(read_trace(t, path), "M", "thread_name"), 3);
}

/* ---- ranks ---- */

static void each_rank_has_a_file_of_its_own(void **state)
{
    struct tree *t = *state;
    const struct {
        const char *path;
        unsigned rank, size;
        const char *wanted;
    } rows[] = {{"out.json", 0, 1, "out.json"},
                {"out.json", 3, 4, "out.3.json"},
                {"out.json", 0, 2, "out.0.json"},
                {"a.b/out", 12, 64, "a.b/out.12"},
                {"a.b/.out", 1, 2, "a.b/.out.1"},
                {"/x/t.tar.json", 5, 8, "/x/t.tar.5.json"},
                {"./run.d/t.json", 1, 2, "./run.d/t.1.json"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(
            wf_trace_path(&t->arena, &t->err, rows[i].path, rows[i].rank, rows[i].size),
            rows[i].wanted);
}

/* ---- phases ---- */

static void phases_follow_each_other(void **state)
{
    struct tree *t = *state;
    char *path = tree_path(t, "phases.json"), *events = NULL;
    size_t n;
    struct wf_watch w = {0};
    wf_watch_end(&w);
    wf_watch_phase(&w, WF_PHASE_PLAN);
    w.json = open_memstream(&events, &n);
    struct wf_trace *trace = open_trace(t, path, 100);
    wf_watch_set_trace(&w, trace);
    wf_watch_stream_begin(&w);
    wf_watch_stream(&w, 0, 0, 1, "sample");
    wf_watch_stream(&w, 10, 0, 1, "sample");
    wf_watch_stream(&w, 30, 0, 2, "count");
    wf_watch_stream(&w, 70, 0, 0, NULL);
    wf_watch_stream(&w, 100, 50, 0, NULL);
    wf_watch_phase(&w, WF_PHASE_DELTAS);
    wf_watch_stream_begin(&w);
    wf_watch_stream(&w, 5, 0, 1, "count"); /* a stream of its own: no other phase */
    wf_watch_phase(&w, WF_PHASE_PUBLISH);
    wf_watch_end(&w);
    wf_trace_close(trace);
    fclose(w.json);
    static const char *const wanted[] = {
        "\"stage\":\"plan\",\"state\":\"end\"",
        "\"stage\":\"statistics\",\"step\":1,\"step_name\":\"sample\",\"state\":\"begin\"",
        "\"stage\":\"statistics\",\"step\":1,\"step_name\":\"sample\",\"state\":\"end\"",
        "\"bytes_read\":30,\"bytes_written\":0",
        "\"stage\":\"statistics\",\"step\":2,\"step_name\":\"count\",\"state\":\"begin\"",
        "\"bytes_read\":40,\"bytes_written\":0",
        "\"stage\":\"map\",\"state\":\"begin\"",
        "\"bytes_read\":30,\"bytes_written\":50",
        "\"stage\":\"deltas\",\"state\":\"begin\"",
        "\"bytes_read\":5,\"bytes_written\":0",
        "\"stage\":\"publish\",\"state\":\"end\""};
    const char *at = events;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        at = strstr(at, wanted[i]);
        assert_non_null(at);
    }
    (free)(events);
    assert_int_equal(w.read, 105);
    assert_int_equal(w.written, 50);
    struct wf_json *root = read_trace(t, path);
    assert_int_equal(count(root, "X", "statistics"), 2);
    assert_int_equal(count(root, "X", "map"), 1);
    assert_int_equal(count(root, "X", NULL), 6);
}

/* ---- what binds ---- */

static void what_binds_is_where_the_time_went(void **state)
{
    (void)state;
    const struct {
        struct wf_stream_times t;
        enum wf_bound wanted;
    } rows[] = {
        {{0}, WF_BOUND_NONE},
        {{.compute_ns = 100, .wait_write_ns = 90}, WF_BOUND_NONE}, /* nobody had anything to do */
        {{.compute_ns = 100,
          .arithmetic_ns = 9,
          .wait_read_ns = 60,
          .readers_ns = 100,
          .read_ns = 90},
         WF_BOUND_READS},
        {{.compute_ns = 100,
          .arithmetic_ns = 9,
          .wait_read_ns = 60,
          .readers_ns = 100,
          .read_ns = 30},
         WF_BOUND_SLOTS},
        {{.compute_ns = 100, .copy_ns = 1, .wait_write_ns = 50, .wait_read_ns = 40},
         WF_BOUND_WRITES},
        {{.compute_ns = 100, .arithmetic_ns = 30, .hash_ns = 20, .copy_ns = 40}, WF_BOUND_COMPUTE},
        {{.compute_ns = 100, .arithmetic_ns = 30, .copy_ns = 40, .hash_ns = 5}, WF_BOUND_COPIES},
        {{.compute_ns = 100, .device_ns = 80, .hash_ns = 5}, WF_BOUND_DEVICES},
        {{.compute_ns = 100, .arithmetic_ns = 20, .wait_read_ns = 10}, WF_BOUND_TURNS},
        {{.compute_ns = 10, .arithmetic_ns = 20}, WF_BOUND_COMPUTE}, /* clocks are not exact */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct wf_stream_times sum = {0};
        assert_int_equal(wf_bound_of(&rows[i].t), rows[i].wanted);
        assert_int_equal(wf_bound_name(rows[i].wanted) == NULL, rows[i].wanted == WF_BOUND_NONE);
        wf_stream_times_add(&sum, &rows[i].t);
        wf_stream_times_add(&sum, &rows[i].t);
        assert_int_equal(wf_bound_of(&sum), rows[i].wanted);
        assert_int_equal(sum.compute_ns, 2 * rows[i].t.compute_ns);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_trace_without_events_is_whole, tree_setup, tree_teardown),
        cmocka_unit_test_setup_teardown(an_old_trace_is_replaced, tree_setup, tree_teardown),
        cmocka_unit_test_setup_teardown(any_text_and_number_comes_back, tree_setup, tree_teardown),
        cmocka_unit_test_setup_teardown(the_file_is_whole_at_any_time, tree_setup, tree_teardown),
        cmocka_unit_test(nothing_is_recorded_without_a_trace),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_refused_by_name, tree_setup,
                                        tree_teardown),
        cmocka_unit_test_setup_teardown(a_full_disk_costs_the_rest_and_nothing_else, tree_setup,
                                        tree_teardown),
        cmocka_unit_test_setup_teardown(many_threads_with_tiny_buffers_lose_nothing, tree_setup,
                                        tree_teardown),
        cmocka_unit_test_setup_teardown(a_name_is_one_track, tree_setup, tree_teardown),
        cmocka_unit_test_setup_teardown(each_rank_has_a_file_of_its_own, tree_setup, tree_teardown),
        cmocka_unit_test_setup_teardown(phases_follow_each_other, tree_setup, tree_teardown),
        cmocka_unit_test(what_binds_is_where_the_time_went),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
