/* test_delta_spool.c - pieces of shares, handed over in any order, become the one delta file; and
 * files that are written from front to back tell their checksums.
 */
#include "engine_fixture.h"

#include "../../src/base/num.h"
#include "../../src/format/delta_file.h"
#include "../../src/plan/budget.h"
#include "../../src/plan/delta_plan.h"
#include "../../src/publish/delta_assembly.h"

enum { COUNT = 100003, ODD = 777 };

static const struct ef_tensor tensors[] = {
    {"m.odd", WF_F32, 1, {ODD}}, {"w", WF_BF16, 1, {COUNT}}, {"w.b", WF_BF16, 1, {64}}};

struct bench {
    struct wf_ckpt *models[2];
    struct wf_plan first;
    struct wf_delta_plan d;
    const char *task;
    struct wf_spool_subject subject;
    struct wf_budget budget;
    char *shared[3], *own[3]; /* by tensor of the list above */
};

static size_t width_of(size_t k)
{
    return tensors[k].dtype == WF_F32 ? 4 : 2;
}

/* The models' numbers are made up here: the spool sees only what pieces bring. */
static void start(struct tree *t, struct bench *b, const char *deltas)
{
    *b = (struct bench){0};
    b->models[0] = ef_open(t, ef_model(t, "m0.safetensors", tensors, 3, 1));
    const struct wf_ckpt *models[] = {b->models[0]};
    struct wf_recipe *r = ef_simple_recipe(t, "linear", false, 1, deltas);
    assert_worked(t, ef_plan(t, r, NULL, models, 0, &b->first));
    assert_worked(t, wf_delta_plan_build(&t->err, &b->first, NULL, models,
                                         wf_delta_spool_thread_bytes(), &b->d));
    assert_worked(t, wf_budget_set(&t->err, &b->d.plan,
                                   &(struct wf_means){.memory_bytes = 256u << 20, .threads = 3},
                                   &b->budget));
    b->task = b->d.tasks[0].name;
    b->subject = (struct wf_spool_subject){
        .plan = &b->d.plan, .tasks = &b->task, .n_tasks = 1, .density = r->deltas.density_text};
    for (size_t k = 0; k < 3; k++) {
        uint64_t bytes = tensors[k].shape[0] * width_of(k);
        b->shared[k] = test_calloc(bytes, 1);
        b->own[k] = test_calloc(bytes, 1);
        ef_fill(tensors[k].dtype, b->shared[k], tensors[k].shape[0], bytes, k);
        ef_fill(tensors[k].dtype, b->own[k], tensors[k].shape[0], bytes, k + 10);
    }
}

static void stop(struct bench *b)
{
    for (size_t k = 0; k < 3; k++) {
        test_free(b->shared[k]);
        test_free(b->own[k]);
    }
    wf_delta_plan_destroy(&b->d);
    wf_plan_destroy(&b->first);
}

/* What the share says: dense at the start, every 300th further on, nothing of "w.b" but one. */
static bool wanted(size_t k, uint64_t i)
{
    if (k == 2)
        return i == 63;
    return i < 5000 ? i % 3 != 1 : i % 300 == 7 || i == tensors[k].shape[0] - 1;
}

/* Hands over [from, to) of tensor k as one piece. */
static void hand_over(struct tree *t, struct bench *b, struct wf_delta_spool *s, size_t k,
                      uint64_t from, uint64_t to, unsigned thread)
{
    static float share[WF_SINK_PIECE];
    const void *in[] = {b->shared[k] + from * width_of(k), b->own[k] + from * width_of(k)};
    for (uint64_t i = from; i < to; i++)
        share[i - from] = wanted(k, i);
    struct wf_sink_piece piece = {.job = ef_job(&b->d.plan, tensors[k].name),
                                  .model = 1,
                                  .from = from,
                                  .to = to,
                                  .share = share,
                                  .in = in};
    assert_worked(t, s->sink.take(s->sink.arg, &t->err, thread, &piece));
}

/* All of it in pieces of `step`, the last first if `backwards`. */
static void fill(struct tree *t, struct bench *b, struct wf_delta_spool *s, uint64_t step,
                 bool backwards)
{
    for (size_t k = 0; k < 3; k++) {
        uint64_t n = tensors[k].shape[0], pieces = (n + step - 1) / step;
        for (uint64_t p = 0; p < pieces; p++) {
            uint64_t from = (backwards ? pieces - 1 - p : p) * step;
            hand_over(t, b, s, k, from, wf_min_u64(n, from + step), (unsigned)(p % 3));
        }
    }
}

/* The delta of one run; *n its bytes, the memory the caller's. */
static char *make(struct tree *t, struct bench *b, uint64_t step, bool backwards, size_t *n)
{
    struct wf_delta_spool s;
    struct wf_delta_made made = {0};
    static const volatile int go_on;
    char *folder = tree_folder(t, "spool"), *path = tree_path(t, "delta.safetensors"), *text;
    struct wf_delta_assembly how = {.path = path,
                                    .name = "deltas/m0.safetensors",
                                    .shared_name = "shared",
                                    .hashing = true,
                                    .direct = !backwards,
                                    .stop = &go_on};
    assert_worked(t,
                  wf_delta_spool_create(&t->err, &t->arena, &b->subject, &b->budget, folder, &s));
    fill(t, b, &s, step, backwards);
    assert_worked(t, wf_delta_assemble(&t->err, &s, 0, &how, &made));
    assert_worked(t, wf_read_small(&t->err, WF_INPUT, path, 16u << 20, &text, n));
    assert_int_equal(made.file.bytes, *n);
    assert_int_equal(made.file.n_blocks, 1);
    struct wf_hash128 hash = wf_xxh128(text, *n);
    assert_true(wf_hash128_equal(&hash, &made.file.blocks[0]));
    assert_string_equal(made.task, "m0");
    wf_delta_spool_destroy(&s);
    wf_arena_destroy(&made.arena);
    return text;
}

static void order_and_cuts_leave_no_trace(void **state)
{
    struct tree *t = *state;
    struct bench b;
    size_t n, m;
    start(t, &b, "task_deltas: {density: 0.5}\n");
    char *first = make(t, &b, WF_SINK_PIECE, false, &n);
    static const struct {
        uint64_t step;
        bool backwards;
    } ways[] = {{WF_SINK_PIECE, true}, {4096, false}, {4096, true}, {5003, true}};
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
        char *again = make(t, &b, ways[k].step, ways[k].backwards, &m);
        assert_int_equal(n, m);
        assert_memory_equal(first, again, n);
        wf_free(again);
    }
    wf_free(first);
    stop(&b);
}

/* Reads the file back with what every user of deltas reads it with. */
static void check_tensor(struct tree *t, struct bench *b, struct wf_delta *d, struct wf_infile *f,
                         size_t k)
{
    struct wf_delta_part *part = NULL;
    size_t width = width_of(k);
    uint64_t n = tensors[k].shape[0], kept = 0;
    for (size_t i = 0; i < d->n_parts; i++)
        if (!strcmp(d->parts[i].name, tensors[k].name))
            part = &d->parts[i];
    assert_non_null(part);
    assert_true(part->known);
    assert_int_equal(part->count, n);
    assert_worked(t, wf_delta_load(&t->err, part, f));
    void *scratch = wf_map_pages(&t->err, wf_delta_scratch_bytes(), "scratch");
    for (uint64_t from = 0; from < n; from += WF_DELTA_CHUNK) {
        uint64_t to = wf_min_u64(n, from + WF_DELTA_CHUNK);
        char *served = test_malloc((to - from) * width);
        memcpy(served, b->shared[k] + from * width, (to - from) * width);
        assert_worked(t, wf_delta_patch(&t->err, part, f, from, to, served, scratch));
        for (uint64_t i = from; i < to; i++) {
            const char *right = wanted(k, i) ? b->own[k] : b->shared[k];
            assert_memory_equal(served + (i - from) * width, right + i * width, width);
            kept +=
                wanted(k, i) && memcmp(b->own[k] + i * width, b->shared[k] + i * width, width) != 0;
        }
        test_free(served);
    }
    assert_int_equal(part->kept, kept);
    wf_unmap_pages(scratch, wf_delta_scratch_bytes());
    wf_delta_unload(part);
}

static void the_file_gives_back_what_was_kept(void **state)
{
    struct tree *t = *state;
    struct bench b;
    size_t n;
    struct wf_delta d;
    struct wf_infile f;
    start(t, &b, "task_deltas: {density: 0.5}\n");
    /* Equal bits are not stored, though the share keeps them. */
    memcpy(b.own[1] + 2 * 30, b.shared[1] + 2 * 30, 2 * 100);
    wf_free(make(t, &b, 4096, true, &n));
    struct wf_ckpt *c = ef_open(t, tree_path(t, "delta.safetensors"));
    assert_worked(t, wf_delta_open(&t->err, &t->arena, c, &d));
    assert_int_equal(d.n_parts, 3);
    assert_string_equal(d.base, "shared");
    assert_string_equal(d.task, "m0");
    assert_string_equal(d.density, "0.5");
    assert_worked(t,
                  wf_infile_open(&t->err, c->files[0].path, &c->files[0].id, WF_IO_BUFFERED, &f));
    for (size_t k = 0; k < 3; k++)
        check_tensor(t, &b, &d, &f, k);
    wf_infile_close(&f);
    stop(&b);
}

static void a_stop_ends_the_assembly(void **state)
{
    struct tree *t = *state;
    struct bench b;
    struct wf_delta_spool s;
    struct wf_delta_made made = {0};
    static const volatile int stopped = 1;
    start(t, &b, "task_deltas: {density: 0.5}\n");
    struct wf_delta_assembly how = {.path = tree_path(t, "delta.safetensors"),
                                    .name = "x",
                                    .shared_name = "shared",
                                    .stop = &stopped};
    assert_worked(t, wf_delta_spool_create(&t->err, &t->arena, &b.subject, &b.budget,
                                           tree_folder(t, "spool"), &s));
    fill(t, &b, &s, 4096, false);
    assert_failed(t, wf_delta_assemble(&t->err, &s, 0, &how, &made), WF_STOPPED, "--resume");
    wf_delta_spool_destroy(&s);
    wf_arena_destroy(&made.arena);
    stop(&b);
}

/* ---- files from front to back ---- */

static void blocks_are_hashed_one_by_one(void **state)
{
    struct tree *t = *state;
    struct wf_making m;
    struct wf_made_file made = {0};
    uint64_t bytes = WF_BLOCK_BYTES + 12345;
    char *data = wf_map_pages(&t->err, bytes, "data");
    ef_fill(WF_U8, data, 0, bytes, 5);
    char *path = tree_path(t, "file");
    assert_worked(t, wf_making_begin(&t->err, &t->arena, path, bytes, true, true, &m));
    for (uint64_t at = 0, n = 1; at < bytes; at += n, n = n * 3 % 2000003 + 1) {
        n = wf_min_u64(n, bytes - at);
        if (n == 1)
            assert_worked(t, wf_making_byte(&m, (uint8_t)data[at]));
        else
            assert_worked(t, wf_making_put(&m, data + at, n));
    }
    assert_worked(t, wf_making_end(&m, &made));
    wf_making_close(&m);
    wf_making_close(&m);
    struct wf_hash128 hashes[] = {wf_xxh128(data, WF_BLOCK_BYTES),
                                  wf_xxh128(data + WF_BLOCK_BYTES, 12345)};
    assert_int_equal(made.n_blocks, 2);
    assert_int_equal(made.bytes, bytes);
    assert_memory_equal(made.blocks, hashes, sizeof hashes);
    char *text;
    size_t n;
    assert_worked(t, wf_read_small(&t->err, WF_INPUT, path, bytes, &text, &n));
    assert_int_equal(n, bytes);
    assert_memory_equal(text, data, bytes);
    wf_free(text);
    wf_unmap_pages(data, bytes);
}

static void a_file_that_is_not_whole_is_our_mistake(void **state)
{
    struct tree *t = *state;
    struct wf_making m;
    struct wf_made_file made = {0};
    assert_worked(t,
                  wf_making_begin(&t->err, &t->arena, tree_path(t, "file"), 10, false, false, &m));
    assert_worked(t, wf_making_put(&m, "123456789", 9));
    assert_failed(t, wf_making_end(&m, &made), WF_BUG, "9 bytes of 10");
    wf_making_close(&m);
    assert_int_equal(
        wf_making_begin(&t->err, &t->arena, tree_path(t, "no/such/file"), 10, true, false, &m),
        WF_MACHINE);
    wf_making_close(&m);
    wf_err_clear(&t->err);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)
    const struct CMUnitTest tests[] = {
        TEST(order_and_cuts_leave_no_trace),
        TEST(the_file_gives_back_what_was_kept),
        TEST(a_stop_ends_the_assembly),
        TEST(blocks_are_hashed_one_by_one),
        TEST(a_file_that_is_not_whole_is_our_mistake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
