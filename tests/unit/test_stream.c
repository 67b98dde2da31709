/* test_stream.c - a plan carried through the ring gives the bytes of a naive computation, whatever
 * memory, threads and kind of I/O; and what a stop or an error leaves behind can be resumed.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/time.h>

#include "engine_fixture.h"

#include "../../src/base/num.h"
#include "../../src/stream/shards.h"
#include "../../src/stream/stream.h"

#define MEMORY_MIN 0 /* the least that the budget accepts */
#define INPUTS 8
#ifdef __SANITIZE_ADDRESS__ /* ten times slower: a part of what is done several ways */
#define SLOW 1
#else
#define SLOW 0
#endif

struct work {
    struct tree *t;
    struct wf_recipe *recipe;
    const struct wf_ckpt *ckpts[INPUTS]; /* models; the last is the base where there is one */
    struct wf_plan plan;
    char *wanted[8]; /* per shard: what the file must hold */
    int run;         /* numbers the output folders */
    void *scratch;   /* of the naive computation; and what stages of model scope found */
    struct wf_unit *model;
};

/* ---- the naive computation ---- */

static char *read_tensor(struct work *w, const struct wf_job *job, uint32_t i)
{
    const struct wf_tensor *in = job->in[i];
    const char *path = w->plan.ckpts[job->input_ckpt[i]].ckpt->files[in->file].path;
    char *data = test_malloc(in->bytes + 1);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)in->offset, SEEK_SET), 0);
    assert_int_equal(fread(data, 1, in->bytes, f), in->bytes);
    fclose(f);
    return data;
}

static struct wf_tile make_tile(struct work *w, const struct wf_job *job, const void *const *in,
                                const uint8_t *types, char *out)
{
    struct wf_tile tile = {.method = job->method,
                           .args = job->args,
                           .in = in,
                           .in_dtype = types,
                           .n = job->n_inputs,
                           .cast = (uint8_t)w->plan.cast,
                           .wide = job->wide,
                           .check = true,
                           .count = job->count,
                           .to = job->count,
                           .total = job->count,
                           .rows = job->rows,
                           .draw_key = job->draw_key,
                           .out = out,
                           .out_dtype = job->dtype,
                           .scratch = w->scratch};
    for (size_t s = 0; s < job->method->n_stages; s++)
        tile.local |= (uint32_t)(job->args->scope[s] == WF_SCOPE_ROW) << s;
    return tile;
}

/* Room for everything at once. */
static struct wf_unit *make_unit(struct work *w, const struct wf_job *job, uint64_t count)
{
    struct wf_unit_need need = {.inputs = job->n_inputs,
                                .streams = job->n_inputs,
                                .ranks = WF_RANKS_MAX,
                                .bins = 1 << 16,
                                .keys = 1 << 16,
                                .terms = WF_TERMS_MAX,
                                .columns = job->rows.stride,
                                .pieces = (uint32_t)w->plan.n_jobs,
                                .count = count};
    struct wf_unit *u = wf_unit_create(&w->t->err, &need);
    assert_non_null(u);
    return u;
}

/* One step over a whole tensor, as one tile. */
static void add_tensor(struct work *w, struct wf_unit *u, const struct wf_job *job, uint32_t piece,
                       uint64_t first, const void *const *in, const uint8_t *types)
{
    struct wf_tile_result r = {.verdict = WF_TILE_OK};
    for (uint64_t at = 0; at < job->count;) {
        uint64_t from = first + at, to = first + job->count;
        if (!wf_unit_wants(u, piece, &from, &to))
            break;
        struct wf_tile tile = make_tile(w, job, in, types, NULL);
        tile.from = from - first;
        tile.to = at = to - first;
        wf_unit_add(u, wf_backend_cpu(), piece, &tile, &r);
        assert_int_equal(r.verdict, WF_TILE_OK);
    }
}

static void read_inputs(struct work *w, const struct wf_job *job, const void **in, uint8_t *types)
{
    assert_true(job->n_inputs <= INPUTS);
    for (uint32_t i = 0; i < job->n_inputs; i++) {
        in[i] = read_tensor(w, job, i);
        types[i] = job->in[i]->dtype;
    }
}

static void free_inputs(const struct wf_job *job, const void **in)
{
    for (uint32_t i = 0; i < job->n_inputs; i++)
        test_free((void *)(uintptr_t)in[i]);
}

/* What stages of model scope find: tensor after tensor, each of them one piece. */
static void compute_model(struct work *w)
{
    const struct wf_plan *p = &w->plan;
    const struct wf_job *first = p->model_jobs[0];
    struct wf_unit_group group = {.method = first->method,
                                  .args = first->args,
                                  .scope = WF_SCOPE_MODEL,
                                  .count = p->model_count,
                                  .tensor = p->model_count,
                                  .pieces = (uint32_t)p->n_model_jobs,
                                  .wide = p->model_wide};
    w->model = make_unit(w, first, p->model_count);
    wf_unit_begin(w->model, &group);
    while (wf_unit_step(w->model) != WF_STEP_MAP) {
        for (size_t k = 0; k < p->n_model_jobs; k++) {
            const struct wf_job *job = p->model_jobs[k];
            const void *in[INPUTS];
            uint8_t types[INPUTS];
            read_inputs(w, job, in, types);
            add_tensor(w, w->model, job, (uint32_t)k, job->model_first, in, types);
            free_inputs(job, in);
        }
        assert_null(wf_unit_advance(w->model));
    }
}

static uint32_t model_piece(struct work *w, const struct wf_job *job)
{
    uint32_t k = 0;
    while (k < w->plan.n_model_jobs && w->plan.model_jobs[k] != job)
        k++;
    return k;
}

static void map_tensor(struct work *w, const struct wf_job *job, const void *const *in,
                       const uint8_t *types, char *out)
{
    struct wf_unit *u = make_unit(w, job, job->count);
    bool in_model = wf_job_has_scope(job, WF_SCOPE_MODEL);
    struct wf_tile tile = make_tile(w, job, in, types, out);
    struct wf_tile_result r = {.verdict = WF_TILE_OK};
    struct wf_unit_group group = {.method = job->method,
                                  .args = job->args,
                                  .scope = WF_SCOPE_TENSOR,
                                  .count = job->count,
                                  .tensor = job->count,
                                  .columns =
                                      wf_job_has_scope(job, WF_SCOPE_COLUMN) ? job->rows.stride : 0,
                                  .pieces = 1,
                                  .wide = job->wide,
                                  .model = in_model ? w->model : NULL,
                                  .model_piece = in_model ? model_piece(w, job) : 0};
    wf_unit_begin(u, &group);
    while (wf_unit_step(u) != WF_STEP_MAP) {
        add_tensor(w, u, job, 0, 0, in, types);
        assert_null(wf_unit_advance(u));
    }
    wf_unit_map(u, wf_backend_cpu(), 0, &tile, &r);
    assert_int_equal(r.verdict, WF_TILE_OK);
    wf_unit_destroy(u);
}

/* The whole tensor as one tile: methods and units have tests of their own. */
static void compute_tensor(struct work *w, const struct wf_job *job, char *out)
{
    const void *in[INPUTS];
    uint8_t types[INPUTS];
    read_inputs(w, job, in, types);
    if (job->action == WF_ACTION_COPY)
        memcpy(out, in[0], job->bytes);
    else if (job->count)
        map_tensor(w, job, in, types, out);
    free_inputs(job, in);
}

static void compute_wanted(struct work *w)
{
    const struct wf_plan *p = &w->plan;
    struct wf_need need = {.inputs = INPUTS, .terms = WF_TERMS_MAX, .ranked = INPUTS};
    assert_true(p->n_shards <= 8);
    for (size_t j = 0; j < p->n_jobs; j++)
        if (p->jobs[j].action == WF_ACTION_MAP)
            need.rank_row =
                wf_max_u64(need.rank_row, p->jobs[j].rows.length * p->jobs[j].rows.stride);
    w->scratch = wf_map_pages(&w->t->err, wf_scratch_bytes(&need), "test");
    assert_non_null(w->scratch);
    if (p->n_model_jobs)
        compute_model(w);
    for (size_t s = 0; s < p->n_shards; s++) {
        w->wanted[s] = test_malloc(p->shards[s].bytes);
        memcpy(w->wanted[s], p->shards[s].header.text, p->shards[s].header.n);
    }
    for (size_t j = 0; j < p->n_jobs; j++)
        compute_tensor(w, &p->jobs[j], w->wanted[p->jobs[j].shard] + p->jobs[j].offset);
    wf_unit_destroy(w->model);
    wf_unmap_pages(w->scratch, wf_scratch_bytes(&need));
}

/* `models` of them, and a base where the method wants one. */
static void begin(struct work *w, struct tree *t, const char *method, size_t models,
                  const struct ef_tensor *tensors, size_t n, const char *extra,
                  uint64_t shard_bytes)
{
    bool base = wf_method_find(method)->base == WF_BASE_REQUIRED;
    *w = (struct work){.t = t, .recipe = ef_simple_recipe(t, method, base, models, extra)};
    for (size_t i = 0; i < models + base; i++) {
        char name[64];
        snprintf(name, sizeof name, "m%zu.safetensors", i);
        w->ckpts[i] = ef_open(t, ef_model(t, name, tensors, n, i + 1));
    }
    assert_worked(
        t, ef_plan(t, w->recipe, base ? w->ckpts[models] : NULL, w->ckpts, shard_bytes, &w->plan));
    compute_wanted(w);
}

static void finish(struct work *w)
{
    for (size_t s = 0; s < w->plan.n_shards; s++)
        test_free(w->wanted[s]);
    wf_plan_destroy(&w->plan);
}

/* ---- one run ---- */

#define SHARE_THREADS 8

struct shares {
    struct work *w;
    struct wf_sink sink;
    uint32_t models;
    char **stored[INPUTS]; /* [model][job] */
    void *scratch[SHARE_THREADS];
    uint64_t elements[SHARE_THREADS];
};

struct run {
    uint64_t memory;
    unsigned threads;
    enum wf_io io;
    bool hashing;
    const char *folder; /* NULL: a new one; else what an earlier run left */
    const volatile int *stop;
    struct wf_blocks blocks;
    struct wf_stream_stats stats;
    struct wf_budget budget;
    struct shares *shares; /* NULL: there is no sink */
};

/* ---- a sink that stores shares as if they were the result ---- */

static int store_share(void *arg, struct wf_err *e, unsigned thread,
                       const struct wf_sink_piece *piece)
{
    struct shares *s = arg;
    const struct wf_job *job = piece->job;
    size_t j = (size_t)(job - s->w->plan.jobs), width = wf_dtype_info(job->dtype)->bits / 8;
    char *to = s->stored[piece->model - 1][j] + piece->from * width;
    const void *in[] = {piece->share};
    uint8_t type = job->wide ? WF_F64 : WF_F32;
    double rows[1][WF_ARGS_MODEL] = {{1.0}};
    struct wf_args args = {.n = 1};
    (void)e;
    assert_true(thread < SHARE_THREADS && piece->to - piece->from <= WF_SINK_PIECE);
    args.m = rows;
    args.map = wf_method_find("linear")->map;
    struct wf_tile tile = {.method = wf_method_find("linear"),
                           .args = &args,
                           .in = in,
                           .in_dtype = &type,
                           .n = 1,
                           .wide = job->wide,
                           .count = piece->to - piece->from,
                           .to = piece->to - piece->from,
                           .total = piece->to - piece->from,
                           .out = to,
                           .out_dtype = job->dtype,
                           .scratch = s->scratch[thread]};
    struct wf_tile_result result;
    wf_backend_cpu()->map(&tile, &result);
    assert_int_equal(result.verdict, WF_TILE_OK);
    s->elements[thread] += piece->to - piece->from;
    return WF_OK;
}

static void begin_shares(struct shares *s, struct work *w, bool only)
{
    const struct wf_method *method = w->recipe->method;
    *s = (struct shares){.w = w, .models = 2};
    s->sink = (struct wf_sink){.method = method,
                               .map = ef_job(&w->plan, "big")->args->map,
                               .slot = WF_ARGS_GLOBAL - 1,
                               .only = only,
                               .take = store_share,
                               .arg = s};
    struct wf_need need = {.inputs = 1};
    for (unsigned t = 0; t < SHARE_THREADS; t++)
        s->scratch[t] = wf_map_pages(&w->t->err, wf_scratch_bytes(&need), "test");
    for (uint32_t m = 0; m < s->models; m++) {
        s->stored[m] = test_calloc(w->plan.n_jobs, sizeof **s->stored);
        for (size_t j = 0; j < w->plan.n_jobs; j++)
            s->stored[m][j] = test_calloc(w->plan.jobs[j].bytes + 1, 1);
    }
}

static void end_shares(struct shares *s)
{
    struct wf_need need = {.inputs = 1};
    for (unsigned t = 0; t < SHARE_THREADS; t++)
        wf_unmap_pages(s->scratch[t], wf_scratch_bytes(&need));
    for (uint32_t m = 0; m < s->models; m++) {
        for (size_t j = 0; j < s->w->plan.n_jobs; j++)
            test_free(s->stored[m][j]);
        test_free(s->stored[m]);
    }
}

/* Every element of every merged tensor came once for each model, and is the result's. */
static void check_shares(const struct shares *s)
{
    const struct wf_plan *p = &s->w->plan;
    uint64_t elements = 0, merged = 0;
    for (unsigned t = 0; t < SHARE_THREADS; t++)
        elements += s->elements[t];
    for (size_t j = 0; j < p->n_jobs; j++) {
        const struct wf_job *job = &p->jobs[j];
        if (job->action == WF_ACTION_COPY)
            continue;
        merged += job->count;
        for (uint32_t m = 0; m < s->models; m++)
            assert_memory_equal(s->stored[m][j], s->w->wanted[job->shard] + job->offset,
                                job->bytes);
    }
    assert_int_equal(elements, s->models * merged);
}

static void set_budget(struct work *w, struct run *r)
{
    struct wf_err e = {0};
    unsigned long long needed;
    if (wf_budget_set(&e, &w->plan,
                      &(struct wf_means){.memory_bytes = r->memory, .threads = r->threads},
                      &r->budget) == WF_OK)
        return;
    assert_int_equal(sscanf(strstr(e.text, "at least "), "at least %llu", &needed), 1);
    assert_worked(w->t,
                  wf_budget_set(&w->t->err, &w->plan,
                                &(struct wf_means){.memory_bytes = needed, .threads = r->threads},
                                &r->budget));
}

/* Runs the stream; r->blocks stays alive for the caller. */
static int run_stream(struct work *w, struct run *r)
{
    static const volatile int no_stop;
    struct tree *t = w->t;
    struct wf_journal journal;
    struct wf_progress progress;
    enum wf_journal_state state = WF_JOURNAL_NONE;
    enum wf_plan_part differs;
    char name[32];
    bool resume = r->folder != NULL;
    const struct wf_sink *sink = r->shares ? &r->shares->sink : NULL;
    snprintf(name, sizeof name, "out%d", w->run++);
    if (!resume)
        r->folder = tree_folder(t, name);
    char *path = wf_path_join(&t->arena, &t->err, r->folder, WF_JOURNAL_NAME);
    set_budget(w, r);
    assert_worked(
        t, wf_blocks_create(&t->err, &w->plan, r->hashing, r->budget.slots + 1u, &r->blocks));
    assert_worked(t, wf_journal_open(&t->err, path, true, &journal));
    assert_worked(t, wf_journal_load(&t->err, &journal, &w->plan, &state, &differs, wf_blocks_mark,
                                     &r->blocks));
    assert_int_equal(state, resume ? WF_JOURNAL_SAME : WF_JOURNAL_NONE);
    if (!resume)
        assert_worked(t, wf_journal_begin(&t->err, &journal, &w->plan));
    wf_progress_start(&progress, WF_PROGRESS_NONE, NULL, w->plan.bytes_written, 0);
    struct wf_stream_options o = {.plan = &w->plan,
                                  .budget = &r->budget,
                                  .backend = wf_backend_cpu(),
                                  .folder = r->folder,
                                  .io = r->io,
                                  .blocks = &r->blocks,
                                  .journal = &journal,
                                  .progress = &progress,
                                  .sink = sink,
                                  .stop = r->stop ? r->stop : &no_stop};
    int status =
        wf_stream_sinks_only(&o) ? WF_OK : wf_shards_make(&t->err, &w->plan, r->folder, resume);
    if (!status)
        status = wf_stream_run(&t->err, &o, &r->stats);
    wf_progress_stop(&progress);
    wf_journal_close(&journal);
    return status;
}

static char *read_shard(struct work *w, const struct run *r, size_t s)
{
    char *text, *path = wf_path_join(&w->t->arena, &w->t->err, r->folder, w->plan.shards[s].name);
    size_t n;
    assert_worked(w->t, wf_read_small(&w->t->err, WF_INPUT, path, (size_t)1 << 30, &text, &n));
    assert_int_equal(n, w->plan.shards[s].bytes);
    return text;
}

/* Files, checksums and marks are those of a whole merge. */
static void check_whole(struct work *w, const struct run *r)
{
    for (uint32_t s = 0; s < w->plan.n_shards; s++) {
        char *got = read_shard(w, r, s);
        if (memcmp(got, w->wanted[s], w->plan.shards[s].bytes))
            fail_msg("shard %u differs (memory %llu, %u threads, io %d)", s,
                     (unsigned long long)r->memory, r->threads, (int)r->io);
        for (uint64_t k = 0; k < wf_plan_blocks(&w->plan, s); k++) {
            uint64_t at = k * WF_BLOCK_BYTES;
            uint64_t n = wf_min_u64(WF_BLOCK_BYTES, w->plan.shards[s].bytes - at);
            const struct wf_block *b = wf_blocks_at(&r->blocks, s, k);
            struct wf_hash128 h = wf_xxh128(got + at, n);
            assert_true(b->done);
            if (r->hashing)
                assert_true(wf_hash128_equal(&b->hash, &h));
        }
        wf_free(got);
    }
}

static void expect_whole(struct work *w, struct run r)
{
    struct wf_err ignored = {0};
    assert_worked(w->t, run_stream(w, &r));
    check_whole(w, &r);
    if (wf_method_find(w->recipe->method->name)->n_stages ==
        1) /* statistics read neighbours, or again */
        assert_int_equal(r.stats.bytes_read, w->plan.bytes_read);
    assert_true(r.stats.bytes_read >= w->plan.bytes_read);
    assert_int_equal(r.stats.bytes_written, w->plan.bytes_written);
    assert_true((r.stats.first_read_at_ns != 0) == (w->plan.bytes_read != 0));
    wf_blocks_destroy(&r.blocks);
    wf_remove_tree(&ignored, r.folder);
}

/* ---- the tests ---- */

static const struct ef_tensor various[] = {
    {"big", WF_BF16, 2, {700, 501}}, {"long", WF_F32, 1, {100001}}, {"double", WF_F64, 1, {333}},
    {"half", WF_F16, 2, {77, 91}},   {"ids", WF_I64, 1, {1234}},    {"mask", WF_BOOL, 1, {999}},
    {"none", WF_BF16, 1, {0}},       {"one", WF_F32, 0, {0}},       {"tiny", WF_BF16, 1, {3}},
    {"bytes", WF_U8, 1, {5000}},     {"norm", WF_BF16, 1, {64}},    {"last", WF_F8_E4M3, 1, {17}},
};
#define VARIOUS (sizeof various / sizeof *various)

static void every_budget_and_thread_count_gives_the_same_bytes(void **state)
{
    static const uint64_t memories[] = {MEMORY_MIN, 200000, 1 << 20, 3 << 20, 64 << 20};
    struct work w;
    begin(&w, *state, "task_arithmetic", 3, various, VARIOUS, NULL, 500000);
    assert_true(w.plan.n_shards > 2);
    for (size_t m = 0; m < sizeof memories / sizeof *memories; m++)
        for (unsigned threads = 1; threads <= 7; threads += m == 0 ? 1 : 3)
            expect_whole(&w, (struct run){.memory = memories[m],
                                          .threads = threads,
                                          .io = (enum wf_io)((threads + m) % 3),
                                          .hashing = (threads + m) % 2});
    finish(&w);
}

static void conversion_and_other_methods_give_the_same_bytes(void **state)
{
    struct work w;
    begin(&w, *state, "linear", 3, various, VARIOUS, "dtype: float32\nexclude: ['half', 'mask']\n",
          0);
    for (unsigned threads = 1; threads <= 4; threads++)
        expect_whole(&w,
                     (struct run){.memory = 500000 * threads, .threads = threads, .hashing = true});
    finish(&w);
}

static void a_plan_without_a_byte_of_data_is_written(void **state)
{
    static const struct ef_tensor none[] = {{"none", WF_BF16, 2, {0, 4}}};
    struct work w;
    begin(&w, *state, "linear", 2, none, 1, NULL, 0);
    expect_whole(&w, (struct run){.memory = 1 << 20, .threads = 2, .hashing = true});
    finish(&w);
}

/* Every kind of stage, with every scope. */
static const struct {
    const char *method;
    size_t models;
    const char *extra;
} staged[] = {
    {"ties", 3, "parameters: {density: 0.4}\n"},
    {"ties", 2, "parameters: {density: 0.35, ties: exact, rescale: true}\n"},
    {"ties", 3, "parameters: {density: 0.4, scope: row}\n"},
    {"ties", 2, "parameters: {density: 0.3, scope: model}\n"},
    {"ties", 2, "parameters: {density: 0.3, scope: model, ties: exact, rescale: true}\n"},
    {"breadcrumbs", 2, "parameters: {low: 0.1, high: 0.8, rescale: true}\n"},
    {"breadcrumbs_ties", 2, "parameters: {density: 0.8, gamma: 0.1, scope: row}\n"},
    {"della", 2, "parameters: {density: 0.6}\nseed: 5\n"},
    {"sce", 3, "parameters: {select_topk: 0.3}\n"},
    {"arcee_fusion", 1, NULL},
    {"model_stock", 3, NULL},
    {"model_stock", 2, "parameters: {filter_wise: true}\n"},
    {"nuslerp", 2, "parameters: {nuslerp_flatten: false}\n"},
    {"nuslerp", 2, "parameters: {nuslerp_flatten: false, nuslerp_row_wise: true}\n"},
    {"karcher", 3, "exclude: ['one', 'tiny']\n"}, /* which may be opposite to each other */
    {"slerp", 1, "parameters: {t: 0.4}\n"},
    {"ramplus_tl", 3, NULL},
};
#define STAGED (sizeof staged / sizeof *staged)

/* Tensors inside one span, held and visited; a model held and visited. */
static void statistics_are_the_same_for_every_budget(void **state)
{
    static const uint64_t memories[] = {MEMORY_MIN, 1 << 20, 2 << 20, 4 << 20, 12 << 20, 64 << 20};
    for (size_t k = 0; k < STAGED; k++) {
        struct work w;
        begin(&w, *state, staged[k].method, staged[k].models, various, VARIOUS, staged[k].extra,
              k % 2 ? 0 : 500000);
        for (unsigned m = SLOW ? k % 2 : 0; m < sizeof memories / sizeof *memories; m += 1 + SLOW)
            expect_whole(&w, (struct run){.memory = memories[m],
                                          .threads = 1 + (unsigned)(m + k) % 5,
                                          .io = (enum wf_io)((m + k) % 3),
                                          .hashing = m % 2});
        finish(&w);
    }
}

/* A model is held only if every span has a slot, and small tensors make more spans than their bytes
 * let expect: the slack of their inputs fills a slot first. */
static void a_model_of_small_tensors_is_held_or_visited(void **state)
{
    enum { N = 1000 };
    static struct ef_tensor tensors[N];
    static char names[N][16];
    struct work w;
    unsigned held = 0;
    for (unsigned i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "t%u", i);
        tensors[i] = (struct ef_tensor){names[i], WF_BF16, 1, {20 + i % 7}};
    }
    begin(&w, *state, "ties", 2, tensors, N, "parameters: {density: 0.3, scope: model}\n", 0);
    for (uint64_t memory = 1 << 20; memory <= (uint64_t)1 << 28; memory *= 4) {
        struct run r = {.memory = memory, .threads = 3};
        set_budget(&w, &r);
        held += r.budget.model_resident;
        if (r.budget.model_resident)
            assert_true(r.budget.slots > wf_span_count(&w.plan, &r.budget, NULL, NULL));
        expect_whole(&w, r);
    }
    assert_in_range(held, 1, 4);
    finish(&w);
}

static size_t count_done(struct work *w, const struct run *r)
{
    size_t n = 0;
    for (uint32_t s = 0; s < w->plan.n_shards; s++)
        for (uint64_t k = 0; k < wf_plan_blocks(&w->plan, s); k++)
            n += wf_blocks_at(&r->blocks, s, k)->done;
    return n;
}

/* Resumes what a run left, until it is whole; done blocks are not read again. */
static void resume_with(struct work *w, struct run *r, size_t done, uint64_t memory)
{
    struct run next = {.memory = memory, .threads = 3, .hashing = r->hashing, .folder = r->folder};
    wf_blocks_destroy(&r->blocks);
    assert_worked(w->t, run_stream(w, &next));
    check_whole(w, &next);
    assert_true(done == 0 ? next.stats.bytes_written == w->plan.bytes_written
                          : next.stats.bytes_written < w->plan.bytes_written);
    wf_blocks_destroy(&next.blocks);
}

static void resume(struct work *w, struct run *r, size_t done)
{
    resume_with(w, r, done, 5 << 20);
}

/* A little over two blocks in one shard, and a small second shard. */
static const struct ef_tensor large[] = {
    {"a", WF_BF16, 1, {60 << 19}},
    {"b", WF_BF16, 1, {40 << 19}},
    {"c", WF_BF16, 1, {45 << 19}},
    {"d", WF_BF16, 1, {1000}},
};

/* The stop comes as it does in the program: from a signal, to the thread that feeds. */
static volatile int stop;

static void on_alarm(int number)
{
    (void)number;
    stop = 1;
}

static int run_and_stop(struct work *w, struct run *r, unsigned after_us)
{
    struct itimerval timer = {.it_value = {after_us / 1000000, after_us % 1000000}};
    stop = 0;
    r->stop = &stop;
    signal(SIGALRM, on_alarm);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
    int status = run_stream(w, r);
    timer.it_value = (struct timeval){0};
    setitimer(ITIMER_REAL, &timer, NULL);
    return status;
}

static void stop_and_resume(struct work *w)
{
    size_t stopped = 0;
    expect_whole(w, (struct run){.memory = 16 << 20, .threads = 2, .hashing = true});
    for (unsigned k = 0; k < 4; k++) {
        struct wf_err ignored = {0};
        struct run r = {.memory = 4 << 20, .threads = 2, .hashing = k % 2};
        int status = run_and_stop(w, &r, 4000 + 60000 * k);
        if (status == WF_STOPPED) {
            assert_non_null(strstr(w->t->err.text, "--resume"));
            wf_err_clear(&w->t->err);
            stopped++;
            resume(w, &r, count_done(w, &r));
        } else {
            assert_worked(w->t, status);
            wf_blocks_destroy(&r.blocks);
        }
        wf_remove_tree(&ignored, r.folder);
    }
    assert_true(stopped > 0);
}

static void poke(const char *path, uint64_t offset, const void *data, size_t n)
{
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)offset, SEEK_SET), 0);
    assert_int_equal(fwrite(data, 1, n, f), n);
    fclose(f);
}

/* Puts two bytes into a model, which keeps its time: as if they had always been there. */
static void plant(const struct wf_ckpt *c, uint64_t at, uint64_t bits)
{
    time_t seconds = (time_t)(c->files[0].id.mtime_ns / 1000000000);
    struct timespec then = {seconds, c->files[0].id.mtime_ns % 1000000000};
    poke(c->files[0].path, at, &bits, 2);
    assert_int_equal(utimensat(AT_FDCWD, c->files[0].path, (struct timespec[]){then, then}, 0), 0);
}

/* A NaN in the last block: the error names it, and the blocks before it are kept. */
static void fail_and_resume(struct work *w)
{
    const struct wf_job *c = ef_job(&w->plan, "c");
    uint64_t element = c->count - 5, at = c->in[1]->offset + 2 * element, good = 0;
    char *data = read_tensor(w, c, 1), words[160];
    memcpy(&good, data + 2 * element, 2);
    test_free(data);
    snprintf(words, sizeof words, "tensor 'c' holds NaN or infinity at element %llu (byte %llu ",
             (unsigned long long)element, (unsigned long long)at);
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        struct run r = {.memory = 3 << 20, .threads = threads, .hashing = true};
        plant(w->ckpts[1], at, 0x7fc0);
        assert_failed(w->t, run_stream(w, &r), WF_INPUT, words);
        size_t done = count_done(w, &r);
        assert_in_range(done, 2, 3); /* the small second shard may be through as well */
        plant(w->ckpts[1], at, good);
        resume(w, &r, done);
    }
}

static void a_large_merge_survives_stops_and_errors(void **state)
{
    struct work w;
    begin(&w, *state, "linear", 2, large, 4, NULL, 145 << 20);
    assert_int_equal(w.plan.n_shards, 2);
    assert_int_equal(wf_plan_blocks(&w.plan, 0), 3);
    stop_and_resume(&w);
    fail_and_resume(&w);
    finish(&w);
}

/* The second tensor lies in both blocks: its statistics need all of it, though half may be done. */
static const struct ef_tensor two_blocks[] = {{"a", WF_BF16, 1, {40 << 19}},
                                              {"b", WF_BF16, 1, {40 << 19}}};

static void forget_last_block(struct work *w, const char *folder)
{
    char *text, *path = wf_path_join(&w->t->arena, &w->t->err, folder, WF_JOURNAL_NAME);
    size_t n;
    assert_worked(w->t, wf_read_small(&w->t->err, WF_INPUT, path, 1 << 20, &text, &n));
    do
        n--;
    while (text[n - 1] != '\n');
    wf_free(text);
    assert_int_equal(truncate(path, (off_t)n), 0);
}

static void statistics_see_finished_blocks_again(void **state)
{
    static const struct {
        uint64_t memory;
        const char *extra;
    } ways[] = {
        {4 << 20, "parameters: {density: 0.3}\n"}, /* visited */
        {(uint64_t)1 << 30, "parameters: {density: 0.3, scope: model}\n"},
        {(uint64_t)400 << 20, "parameters: {density: 0.3, ties: exact}\n"}, /* held */
        {8 << 20, "parameters: {density: 0.3, scope: model, ties: exact}\n"},
    };
    struct wf_err ignored = {0};
    for (size_t k = 0; k < (SLOW ? 2 : 4); k++) {
        struct work w;
        begin(&w, *state, "ties", 1, two_blocks, 2, ways[k].extra, 0);
        struct run r = {.memory = ways[k].memory, .threads = 3, .hashing = true};
        assert_worked(w.t, run_stream(&w, &r));
        check_whole(&w, &r);
        forget_last_block(&w, r.folder);
        resume_with(&w, &r, 1, ways[k].memory);
        wf_remove_tree(&ignored, r.folder);
        finish(&w);
    }
}

static void copied_tensors_that_differ_are_named(void **state)
{
    struct work w;
    begin(&w, *state, "linear", 3, various, VARIOUS, NULL, 0);
    const struct wf_job *ids = ef_job(&w.plan, "ids");
    poke(w.ckpts[2]->files[0].path, ids->in[2]->offset + 4321, "\x55\xaa", 2);
    w.ckpts[2] = ef_open(w.t, w.ckpts[2]->files[0].path);
    wf_plan_destroy(&w.plan);
    assert_worked(w.t, ef_plan(w.t, w.recipe, NULL, w.ckpts, 0, &w.plan));
    struct run r = {.memory = 1 << 20, .threads = 2};
    assert_failed(w.t, run_stream(&w, &r), WF_INPUT, "tensor 'ids' (I64) differs");
    wf_blocks_destroy(&r.blocks);
    finish(&w);
}

static void an_input_that_changed_since_the_plan_is_refused(void **state)
{
    struct work w;
    begin(&w, *state, "linear", 3, various, VARIOUS, NULL, 0);
    struct timespec then[2] = {{1000000000, 5}, {1000000000, 5}};
    assert_int_equal(utimensat(AT_FDCWD, w.ckpts[1]->files[0].path, then, 0), 0);
    struct run r = {.memory = 1 << 20, .threads = 2};
    assert_failed(w.t, run_stream(&w, &r), WF_INPUT, "changed while weft was at work");
    wf_blocks_destroy(&r.blocks);
    assert_int_equal(truncate(w.ckpts[1]->files[0].path, 5000), 0);
    r = (struct run){.memory = 1 << 20, .threads = 2};
    assert_failed(w.t, run_stream(&w, &r), WF_INPUT, "m1.safetensors");
    wf_blocks_destroy(&r.blocks);
    finish(&w);
}

/* A stop can come while any thread holds any slot; whatever it finds, the run ends. */
static void a_stop_at_any_moment_ends_the_run(void **state)
{
    struct work w;
    struct wf_err ignored = {0};
    size_t stopped = 0;
    begin(&w, *state, "task_arithmetic", 3, various, VARIOUS, NULL, 500000);
    for (unsigned k = 0; k < 60; k++) {
        struct run r = {.memory = MEMORY_MIN, .threads = 1 + k % 5, .hashing = true};
        int status = run_and_stop(&w, &r, 97 * k + 1);
        assert_true(status == WF_OK || status == WF_STOPPED);
        stopped += status == WF_STOPPED;
        wf_err_clear(&w.t->err);
        wf_blocks_destroy(&r.blocks);
        wf_remove_tree(&ignored, r.folder);
    }
    assert_true(stopped > 0);
    finish(&w);
}

/* Shares of tensors inside one span, held and visited, with the merge and without. */
static void a_sink_gets_every_share_once(void **state)
{
    static const char *const ways[] = {
        "parameters: {density: 0.4}\n", "parameters: {density: 0.3, scope: model, ties: exact}\n",
        "parameters: {density: 0.4, scope: row}\n"
        "exclude: [long, double, one, tiny, norm, none]\n"}; /* vectors have another MAP */
    static const uint64_t memories[] = {MEMORY_MIN, 2 << 20, 64 << 20};
    struct wf_err ignored = {0};
    for (unsigned k = 0; k < 18; k++) {
        struct work w;
        struct shares shares;
        begin(&w, *state, "ties", 2, various, VARIOUS, ways[k / 6], 500000);
        begin_shares(&shares, &w, k % 2);
        struct run r = {.memory = memories[k % 3], .threads = 1 + k % 4, .shares = &shares};
        assert_worked(w.t, run_stream(&w, &r));
        check_shares(&shares);
        assert_int_equal(r.stats.bytes_written, w.plan.bytes_written);
        if (k % 2)
            assert_false(
                wf_exists(wf_path_join(&w.t->arena, &w.t->err, r.folder, w.plan.shards[0].name)));
        else
            check_whole(&w, &r);
        wf_blocks_destroy(&r.blocks);
        wf_remove_tree(&ignored, r.folder);
        end_shares(&shares);
        finish(&w);
    }
}

#define STREAM_TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(every_budget_and_thread_count_gives_the_same_bytes),
        STREAM_TEST(conversion_and_other_methods_give_the_same_bytes),
        STREAM_TEST(statistics_are_the_same_for_every_budget),
        STREAM_TEST(a_model_of_small_tensors_is_held_or_visited),
        STREAM_TEST(statistics_see_finished_blocks_again),
        STREAM_TEST(a_sink_gets_every_share_once),
        STREAM_TEST(a_plan_without_a_byte_of_data_is_written),
        STREAM_TEST(copied_tensors_that_differ_are_named),
        STREAM_TEST(an_input_that_changed_since_the_plan_is_refused),
        STREAM_TEST(a_stop_at_any_moment_ends_the_run),
        STREAM_TEST(a_large_merge_survives_stops_and_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
