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

/* The share of rank r of n in the pieces of `step` elements: a range of each tensor's, the last
 * first if `backwards`. */
static void fill_share(struct tree *t, struct bench *b, struct wf_delta_spool *s, uint64_t step,
                       bool backwards, unsigned r, unsigned n_ranks)
{
    for (size_t k = 0; k < 3; k++) {
        uint64_t n = tensors[k].shape[0], pieces = (n + step - 1) / step;
        uint64_t first = pieces * r / n_ranks, end = pieces * (r + 1) / n_ranks;
        for (uint64_t p = first; p < end; p++) {
            uint64_t from = (backwards ? first + end - 1 - p : p) * step;
            hand_over(t, b, s, k, from, wf_min_u64(n, from + step), (unsigned)(p % 3));
        }
    }
}

static void fill(struct tree *t, struct bench *b, struct wf_delta_spool *s, uint64_t step,
                 bool backwards)
{
    fill_share(t, b, s, step, backwards, 0, 1);
}

static void create(struct tree *t, struct bench *b, unsigned rank, unsigned ranks,
                   struct wf_delta_spool *s)
{
    struct wf_spool_place place = {tree_folder(t, "spool"), rank, ranks};
    assert_worked(t, wf_delta_spool_create(&t->err, &t->arena, &b->subject, &b->budget, &place, s));
}

/* The delta of what is spooled; *n its bytes, the memory the caller's. */
static char *assembled(struct tree *t, struct wf_delta_spool *s, bool direct, size_t *n)
{
    struct wf_delta_made made = {0};
    static const volatile int go_on;
    char *path = tree_path(t, "delta.safetensors"), *text;
    struct wf_delta_assembly how = {.path = path,
                                    .name = "deltas/m0.safetensors",
                                    .shared_name = "shared",
                                    .hashing = true,
                                    .direct = direct,
                                    .stop = &go_on};
    assert_worked(t, wf_delta_assemble(&t->err, s, 0, &how, &made));
    assert_worked(t, wf_read_small(&t->err, WF_INPUT, path, 16u << 20, &text, n));
    assert_int_equal(made.file.bytes, *n);
    assert_int_equal(made.file.n_blocks, 1);
    struct wf_hash128 hash = wf_xxh128(text, *n);
    assert_true(wf_hash128_equal(&hash, &made.file.blocks[0]));
    assert_string_equal(made.task, "m0");
    wf_arena_destroy(&made.arena);
    return text;
}

/* The delta of one run of one process. */
static char *make(struct tree *t, struct bench *b, uint64_t step, bool backwards, size_t *n)
{
    struct wf_delta_spool s;
    create(t, b, 0, 1, &s);
    fill(t, b, &s, step, backwards);
    char *text = assembled(t, &s, !backwards, n);
    wf_delta_spool_destroy(&s);
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
    create(t, &b, 0, 1, &s);
    fill(t, &b, &s, 4096, false);
    assert_failed(t, wf_delta_assemble(&t->err, &s, 0, &how, &made), WF_STOPPED, "--resume");
    wf_delta_spool_destroy(&s);
    wf_arena_destroy(&made.arena);
    stop(&b);
}

/* ---- several ranks ---- */

/* Rank r spools its share and is gone. */
static void spool_as(struct tree *t, struct bench *b, unsigned r, unsigned ranks, bool seals)
{
    struct wf_delta_spool s;
    create(t, b, r, ranks, &s);
    fill_share(t, b, &s, 997, r % 2, r, ranks);
    if (seals)
        assert_worked(t, wf_delta_spool_seal(&t->err, &s));
    wf_delta_spool_destroy(&s);
}

/* 300 ranks are more than the tensors have pieces: some have seen nothing. */
static void ranks_leave_no_trace(void **state)
{
    static const unsigned numbers[] = {2, 3, 300};
    struct tree *t = *state;
    struct bench b;
    struct wf_delta_spool s;
    size_t n, m;
    start(t, &b, "task_deltas: {density: 0.5}\n");
    char *one = make(t, &b, 997, false, &n);
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        unsigned ranks = numbers[k];
        for (unsigned r = 1; r < ranks; r++)
            spool_as(t, &b, r, ranks, true);
        create(t, &b, 0, ranks, &s);
        fill_share(t, &b, &s, 997, true, 0, ranks);
        assert_worked(t, wf_delta_spool_adopt(&t->err, &s));
        char *many = assembled(t, &s, true, &m);
        assert_int_equal(n, m);
        assert_memory_equal(one, many, n);
        wf_free(many);
        wf_delta_spool_drop(&s, 0);
        for (unsigned r = 0; r < ranks; r++)
            assert_false(wf_exists(wf_delta_spool_path(&t->err, &t->arena, &s, r, 0)));
        wf_delta_spool_destroy(&s);
    }
    wf_free(one);
    stop(&b);
}

/* What rank 1 left is not what it wrote: not sealed, cut, lengthened, another rank's, gone. */
static void what_is_not_whole_is_not_adopted(void **state)
{
    struct tree *t = *state;
    struct bench b;
    start(t, &b, "task_deltas: {density: 0.5}\n");
    static const struct {
        const char *file;
        bool sealed;
        off_t change;     /* of its length, in bytes */
        const char *says; /* the error */
    } ways[] = {{"1.index", false, 0, "share one file system"},
                {"1.index", true, -24, "share one file system"},
                {"1.index", true, -1, "share one file system"},
                {"1.index", true, 24, "share one file system"},
                {"1.index", true, -1000000, "share one file system"},
                {"1", true, -1, "has written"},
                {"1", true, 7, "has written"}};
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
        struct wf_delta_spool s;
        struct wf_file_id id;
        int fd;
        create(t, &b, 0, 2, &s);
        spool_as(t, &b, 1, 2, ways[k].sealed);
        char *path = wf_arena_printf(&t->arena, &t->err, "%s/1/%s", s.place.folder, ways[k].file);
        assert_worked(t, wf_open_read(&t->err, WF_INPUT, path, &fd, &id));
        wf_close(fd);
        off_t bytes = (off_t)id.bytes + ways[k].change;
        assert_int_equal(truncate(path, bytes > 0 ? bytes : 0), 0);
        assert_failed(t, wf_delta_spool_adopt(&t->err, &s), WF_MACHINE, ways[k].says);
        wf_delta_spool_destroy(&s);
    }
    struct wf_delta_spool s;
    create(t, &b, 0, 3, &s);
    spool_as(t, &b, 1, 3, true);
    assert_failed(t, wf_delta_spool_adopt(&t->err, &s), WF_MACHINE, "spool/2/1.index");
    wf_delta_spool_destroy(&s);
    stop(&b);
}

/* A table of several buffers' length, and one that says it is rank 2's. */
static void tables_are_adopted_whole(void **state)
{
    enum { MANY = 2 * WF_SPOOL_INDEX_RECORDS };
    struct tree *t = *state;
    for (size_t n = MANY - 1; n <= MANY + 1; n++) {
        struct wf_spool_index theirs, ours;
        struct wf_spooled *records;
        uint64_t bytes;
        char *path = tree_path(t, "theirs");
        assert_worked(t, wf_spool_index_create(&t->err, path, &theirs));
        for (size_t i = 0; i < n; i++)
            assert_worked(
                t, wf_spool_index_add(&t->err, &theirs,
                                      &(struct wf_spooled){.element = 3 * i, .at = i, .rank = 1}));
        assert_worked(t, wf_spool_index_seal(&t->err, &theirs, 1, n));
        wf_spool_index_close(&theirs);
        assert_worked(t, wf_spool_index_create(&t->err, tree_path(t, "ours"), &ours));
        assert_worked(t, wf_spool_index_adopt(&t->err, &ours, path, 1, &bytes));
        assert_int_equal(bytes, n);
        assert_int_equal(wf_spool_index_count(&ours), n);
        assert_worked(t, wf_spool_index_load(&t->err, &ours, &records));
        for (size_t i = 0; i < n; i++)
            assert_true(records[i].element == 3 * i && records[i].at == i && records[i].rank == 1);
        wf_free(records);
        assert_failed(t, wf_spool_index_adopt(&t->err, &ours, path, 2, &bytes), WF_MACHINE,
                      "rank 2");
        wf_spool_index_close(&ours);
    }
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
        TEST(order_and_cuts_leave_no_trace),    TEST(the_file_gives_back_what_was_kept),
        TEST(a_stop_ends_the_assembly),         TEST(ranks_leave_no_trace),
        TEST(what_is_not_whole_is_not_adopted), TEST(tables_are_adopted_whole),
        TEST(blocks_are_hashed_one_by_one),     TEST(a_file_that_is_not_whole_is_our_mistake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
