/* test_source.c - inputs with a product on top (base + adapter) are, for every stage and budget,
 * as if they had been written out.
 */
#include "engine_fixture.h"

#include "../../src/stream/shards.h"
#include "../../src/stream/stream.h"

#define RANK 7u
#define ROWS 701u
#define COLS 1203u /* more than two panels */
#define MODELS 3u

/* A matrix with a product, beside a vector without; one of each width. */
static const struct ef_tensor stored[] = {
    {"m", WF_BF16, 2, {ROWS, COLS}}, {"v", WF_BF16, 1, {999}}, {"w", WF_F64, 2, {40, 33}}};
static const struct ef_tensor written_out[] = {
    {"m", WF_F32, 2, {ROWS, COLS}}, {"v", WF_BF16, 1, {999}}, {"w", WF_F64, 2, {40, 33}}};
static const struct ef_tensor factors[] = {{"m.row", WF_F32, 2, {RANK, ROWS}}, /* transposed */
                                           {"m.col", WF_BF16, 2, {RANK, COLS}},
                                           {"w.row", WF_F64, 2, {40, RANK}},
                                           {"w.col", WF_F32, 2, {33, RANK}}}; /* transposed */

/* A tensor's values as doubles; to be freed. */
static double *read_values(const struct wf_ckpt *c, const char *name)
{
    const struct wf_tensor *t = wf_ckpt_find(c, name);
    double *values = test_malloc(t->count * sizeof *values);
    char *bytes = test_malloc(t->bytes);
    FILE *f = fopen(c->files[t->file].path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)t->offset, SEEK_SET), 0);
    assert_int_equal(fread(bytes, 1, t->bytes, f), t->bytes);
    fclose(f);
    wf_backend_cpu()->widen((enum wf_dtype)t->dtype, bytes, t->count, true, values);
    test_free(bytes);
    return values;
}

static struct wf_addend *product(struct tree *t, const struct wf_ckpt *top, const char *row,
                                 bool row_transposed, const char *col, bool col_transposed,
                                 double scale)
{
    struct wf_addend *a = wf_arena_alloc(&t->arena, &t->err, 1, sizeof *a);
    struct wf_tensor *f = wf_arena_alloc(&t->arena, &t->err, 2, sizeof *f);
    f[0] = *wf_ckpt_find(top, row);
    f[1] = *wf_ckpt_find(top, col);
    f[0].file = f[1].file = 1;
    *a = (struct wf_addend){.kind = WF_ADDEND_PRODUCT,
                            .scale = scale,
                            .rows = f[0].count / RANK,
                            .cols = f[1].count / RANK,
                            .rank = RANK,
                            .row = {.tensor = &f[0], .transposed = row_transposed},
                            .col = {.tensor = &f[1], .transposed = col_transposed}};
    return a;
}

/* `base` with products on two of its tensors. */
static struct wf_ckpt *lay_over(struct tree *t, const struct wf_ckpt *base,
                                const struct wf_ckpt *top, double scale)
{
    struct wf_ckpt *c = wf_arena_alloc(&t->arena, &t->err, 1, sizeof *c);
    *c = *base;
    c->files = wf_arena_alloc(&t->arena, &t->err, 2, sizeof *c->files);
    c->files[0] = base->files[0];
    c->files[1] = top->files[0];
    c->n_files = 2;
    c->tensors = wf_arena_alloc(&t->arena, &t->err, base->n_tensors, sizeof *c->tensors);
    memcpy(c->tensors, base->tensors, base->n_tensors * sizeof *c->tensors);
    c->tensors[0].addend = product(t, top, "m.row", true, "m.col", false, scale);
    c->tensors[2].addend = product(t, top, "w.row", false, "w.col", true, -scale);
    return c;
}

/* The sum in the type of the arithmetic, product by product in the order of the rank. */
static void add_by_hand(const struct wf_ckpt *base, const struct wf_ckpt *top, const char *name,
                        bool wide, double scale, char *out)
{
    char row_name[8], col_name[8];
    snprintf(row_name, sizeof row_name, "%s.row", name);
    snprintf(col_name, sizeof col_name, "%s.col", name);
    double *x = read_values(base, name), *row = read_values(top, row_name);
    double *col = read_values(top, col_name);
    const struct wf_tensor *t = wf_ckpt_find(base, name);
    uint64_t rows = t->shape[0], cols = t->shape[1];
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < cols; c++) {
            double sum = 0;
            for (uint32_t k = 0; k < RANK; k++) {
                double a = row[wide ? r * RANK + k : k * rows + r];
                double b = col[wide ? c * RANK + k : k * cols + c];
                sum = wide ? sum + a * b : (double)((float)sum + (float)a * (float)b);
            }
            double y = x[r * cols + c] + scale * sum;
            float narrow = (float)x[r * cols + c] + (float)scale * (float)sum;
            memcpy(out + (r * cols + c) * (wide ? 8 : 4), wide ? (void *)&y : (void *)&narrow,
                   wide ? 8 : 4);
        }
    test_free(x);
    test_free(row);
    test_free(col);
}

static void write_sum(const struct wf_ckpt *to, const struct wf_ckpt *base,
                      const struct wf_ckpt *top, const char *name, double scale)
{
    const struct wf_tensor *t = wf_ckpt_find(to, name);
    char *data = test_malloc(t->bytes);
    add_by_hand(base, top, name, t->dtype == WF_F64, scale, data);
    FILE *f = fopen(to->files[0].path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)t->offset, SEEK_SET), 0);
    assert_int_equal(fwrite(data, 1, t->bytes, f), t->bytes);
    fclose(f);
    test_free(data);
}

/* Models with products, and the same models written out; the base has none. */
struct pair {
    const struct wf_ckpt *over[MODELS], *out[MODELS], *base;
};

static void make_pair(struct tree *t, struct pair *p)
{
    p->base = ef_open(t, ef_model(t, "base.safetensors", stored, 3, 1));
    for (unsigned i = 0; i < MODELS; i++) {
        char names[3][32];
        double scale = 0.25 * (i + 1);
        snprintf(names[0], 32, "m%u.safetensors", i);
        snprintf(names[1], 32, "a%u.safetensors", i);
        snprintf(names[2], 32, "s%u.safetensors", i);
        const struct wf_ckpt *plain = ef_open(t, ef_model(t, names[0], stored, 3, i + 10));
        const struct wf_ckpt *top = ef_open(t, ef_model(t, names[1], factors, 4, i + 20));
        const char *path = ef_model(t, names[2], written_out, 3, i + 10);
        const struct wf_ckpt *sum = ef_open(t, path);
        write_sum(sum, plain, top, "m", scale);
        write_sum(sum, plain, top, "w", -scale);
        p->out[i] = ef_open(t, path);
        p->over[i] = lay_over(t, plain, top, scale);
    }
}

static void set_budget(struct tree *t, const struct wf_plan *plan, uint64_t memory,
                       unsigned threads, struct wf_budget *b)
{
    struct wf_err e = {0};
    unsigned long long needed;
    if (wf_budget_set(&e, plan,
                      &(struct wf_means){.memory_bytes = memory,
                                         .meta_bytes = plan->addend_bytes,
                                         .threads = threads},
                      b) == WF_OK)
        return;
    assert_int_equal(sscanf(strstr(e.text, "at least "), "at least %llu", &needed), 1);
    assert_worked(t, wf_budget_set(&t->err, plan,
                                   &(struct wf_means){.memory_bytes = needed,
                                                      .meta_bytes = plan->addend_bytes,
                                                      .threads = threads},
                                   b));
}

/* Runs a plan and returns the bytes of its one file; to be freed. */
static char *run(struct tree *t, const struct wf_plan *plan, uint64_t memory, unsigned threads)
{
    static const volatile int no_stop;
    static unsigned number;
    struct wf_budget budget;
    struct wf_blocks blocks;
    struct wf_journal journal;
    struct wf_progress progress;
    struct wf_stream_stats stats;
    struct wf_err ignored = {0};
    char name[32], *text;
    size_t n;
    snprintf(name, sizeof name, "out%u", number++);
    char *folder = tree_folder(t, name);
    set_budget(t, plan, memory, threads, &budget);
    assert_worked(t, wf_blocks_create(&t->err, plan, true, budget.slots + 1u, &blocks));
    char *path = wf_path_join(&t->arena, &t->err, folder, WF_JOURNAL_NAME);
    assert_worked(t, wf_journal_open(&t->err, path, true, &journal));
    assert_worked(t, wf_journal_begin(&t->err, &journal, plan));
    wf_progress_start(&progress, WF_PROGRESS_NONE, NULL, plan->bytes_written, 0);
    struct wf_stream_options o = {.plan = plan,
                                  .budget = &budget,
                                  .backend = wf_backend_cpu(),
                                  .folder = folder,
                                  .io = (enum wf_io)(threads % 3),
                                  .blocks = &blocks,
                                  .journal = &journal,
                                  .progress = &progress,
                                  .stop = &no_stop};
    assert_worked(t, wf_shards_make(&t->err, plan, folder, false));
    assert_worked(t, wf_stream_run(&t->err, &o, &stats));
    wf_progress_stop(&progress);
    wf_journal_close(&journal);
    wf_blocks_destroy(&blocks);
    path = wf_path_join(&t->arena, &t->err, folder, plan->shards[0].name);
    assert_worked(t, wf_read_small(&t->err, WF_INPUT, path, (size_t)1 << 30, &text, &n));
    assert_int_equal(n, plan->shards[0].bytes);
    wf_remove_tree(&ignored, folder);
    return text;
}

static void products_are_as_if_written_out(void **state)
{
    static const struct {
        const char *method, *extra;
    } ways[] = {
        {"task_arithmetic", "dtype: float32\n"},
        {"ties", "dtype: bfloat16\nparameters: {density: 0.4}\n"},
        {"ties", "dtype: float32\nparameters: {density: 0.3, scope: model, ties: exact}\n"},
        {"della", "dtype: bfloat16\nparameters: {density: 0.6}\nseed: 5\n"},
        {"model_stock", "dtype: float32\nparameters: {filter_wise: true}\n"},
        {"sce", "dtype: float16\nparameters: {select_topk: 0.3}\n"},
    };
    static const uint64_t memories[] = {0, 2 << 20, 6 << 20, 200 << 20};
    struct tree *t = *state;
    struct pair p;
    make_pair(t, &p);
    for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
        struct wf_recipe *r = ef_simple_recipe(t, ways[k].method, true, MODELS, ways[k].extra);
        struct wf_plan over, out;
        assert_worked(t, ef_plan(t, r, p.base, p.over, 0, &over));
        assert_worked(t, ef_plan(t, r, p.base, p.out, 0, &out));
        assert_int_equal(over.addend_bytes, MODELS * RANK * ((ROWS + COLS) * 4 + (40 + 33) * 8));
        assert_int_equal(out.addend_bytes, 0);
        char *wanted = run(t, &out, 64 << 20, 2);
        for (unsigned m = 0; m < 4; m++) {
            char *got = run(t, &over, memories[m], 1 + (m + (unsigned)k) % 4);
            if (memcmp(got, wanted, out.shards[0].bytes))
                fail_msg("%s differs (memory %llu)", ways[k].method,
                         (unsigned long long)memories[m]);
            wf_free(got);
        }
        wf_free(wanted);
        wf_plan_destroy(&over);
        wf_plan_destroy(&out);
    }
}

/* A model that is only passed on is still its sum; without addends its bytes are moved. */
static void a_single_input_with_a_product_is_computed(void **state)
{
    struct tree *t = *state;
    struct pair p;
    make_pair(t, &p);
    struct wf_recipe *r = ef_recipe(t, "merge_method: passthrough\nmodels:\n  - model: m0\n");
    struct wf_plan over, out;
    assert_worked(t, ef_plan(t, r, NULL, p.over, 0, &over));
    assert_int_equal(ef_job(&over, "m")->action, WF_ACTION_MAP);
    assert_int_equal(ef_job(&over, "v")->action, WF_ACTION_COPY);
    assert_int_equal(ef_job(&over, "m")->dtype, WF_BF16);
    struct wf_recipe *f =
        ef_recipe(t, "merge_method: passthrough\ndtype: bfloat16\nmodels:\n  - model: m0\n");
    struct wf_recipe *f64 = ef_recipe(
        t, "merge_method: passthrough\ndtype: bfloat16\nexclude: ['*']\nmodels:\n  - model: m0\n");
    wf_plan_destroy(&over);
    assert_worked(t, ef_plan(t, f, NULL, p.out, 0, &out));
    char *wanted = run(t, &out, 64 << 20, 2);
    struct wf_recipe *recipes[] = {f, f64}; /* an excluded tensor is the donor's, sum and all */
    for (unsigned k = 0; k < 2; k++) {
        assert_worked(t, ef_plan(t, recipes[k], NULL, p.over, 0, &over));
        char *got = run(t, &over, 0, 3);
        assert_memory_equal(got, wanted, out.shards[0].bytes);
        wf_free(got);
        wf_plan_destroy(&over);
    }
    wf_free(wanted);
    wf_plan_destroy(&out);
}

/* What an adapter's configuration changes is in no header. */
static void a_plan_with_another_scale_is_another_plan(void **state)
{
    struct tree *t = *state;
    struct pair p;
    make_pair(t, &p);
    struct wf_recipe *r = ef_simple_recipe(t, "linear", false, MODELS, NULL);
    struct wf_plan one, other;
    assert_worked(t, ef_plan(t, r, NULL, p.over, 0, &one));
    p.over[1]->tensors[0].addend->scale *= 2;
    assert_worked(t, ef_plan(t, r, NULL, p.over, 0, &other));
    assert_false(wf_hash128_equal(&one.hash, &other.hash));
    wf_plan_destroy(&one);
    wf_plan_destroy(&other);
}

#define SOURCE_TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SOURCE_TEST(products_are_as_if_written_out),
        SOURCE_TEST(a_single_input_with_a_product_is_computed),
        SOURCE_TEST(a_plan_with_another_scale_is_another_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
