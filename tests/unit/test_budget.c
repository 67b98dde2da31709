/* test_budget.c - spans: every output byte once, every input byte in its place, nothing beyond a
 * slot; over thousands of random plans made in memory, without files.
 */
#include "engine_fixture.h"

#include "../../src/base/num.h"
#include "../../src/format/outfile.h"

#define JOBS_MAX 300
#define INPUTS_MAX 12
#define CKPTS 5
#define FILES 3

/* A plan with its tables; sizes are invented, no byte exists. */
struct made {
    struct wf_plan plan;
    struct wf_job jobs[JOBS_MAX];
    struct wf_shard shards[8];
    struct wf_tensor tensors[JOBS_MAX][INPUTS_MAX];
    const struct wf_tensor *in[JOBS_MAX][INPUTS_MAX];
    uint32_t ckpt[JOBS_MAX][INPUTS_MAX];
    uint8_t in_dtype[JOBS_MAX][INPUTS_MAX];
    struct wf_addend addend; /* of any tensor: only whether there is one counts here */
    struct wf_args args[JOBS_MAX];
    uint64_t end_of[CKPTS][FILES]; /* where the next tensor of a file begins */
    uint64_t seed;
};

static uint64_t draw(struct made *m, uint64_t n)
{
    m->seed++;
    return n ? ef_mix(m->seed) % n : 0;
}

static uint64_t draw_count(struct made *m, bool huge)
{
    switch (draw(m, 8)) {
    case 0:
        return 0;
    case 1:
        return 1;
    case 2:
        return draw(m, 3000);
    case 3:
        return draw(m, 100000);
    case 4:
        return huge ? draw(m, (uint64_t)400 << 20) : draw(m, 1 << 20);
    default:
        return draw(m, 64);
    }
}

static uint32_t one_term(uint32_t n)
{
    return n ? 1 : 0;
}

/* Every kind of stage that cuts or windows depend on; `scope` of a job's args says which are on. */
enum { TENSOR_SUM, ROW_SUM, COLUMN_SUM, RANK, SELECT, MAP, STAGES };
static const struct wf_stage all_stages[STAGES] = {
    [TENSOR_SUM] = {.kind = WF_STAGE_FOLD, .fold = {.terms = one_term}},
    [ROW_SUM] = {.kind = WF_STAGE_FOLD, .fold = {.terms = one_term}},
    [COLUMN_SUM] = {.kind = WF_STAGE_FOLD, .fold = {.terms = one_term}},
    [RANK] = {.kind = WF_STAGE_RANK},
    [SELECT] = {.kind = WF_STAGE_SELECT, .select = {.per_model = false, .n_ranks = 1}},
    [MAP] = {.kind = WF_STAGE_MAP}};
static const struct wf_method all_stages_method = {
    .name = "every stage", .stages = all_stages, .n_stages = STAGES};

/* Stages by chance; rows of any length that divides the tensor. */
static void draw_stages(struct made *m, size_t j)
{
    struct wf_job *job = &m->jobs[j];
    struct wf_args *args = &m->args[j];
    *args = (struct wf_args){.n = job->n_inputs};
    args->scope[MAP] = WF_SCOPE_ELEMENT;
    uint64_t length = 1 + draw(m, 300);
    job->rows = (struct wf_rows){length, 1 + draw(m, 2) * draw(m, 4)};
    uint64_t slab = job->rows.length * job->rows.stride;
    job->count = job->count / slab * slab;
    if (draw(m, 2))
        args->scope[TENSOR_SUM] = WF_SCOPE_TENSOR;
    if (draw(m, 4) == 0)
        args->scope[ROW_SUM] = WF_SCOPE_ROW;
    if (draw(m, 4) == 0)
        args->scope[RANK] = WF_SCOPE_ROW;
    if (draw(m, 4) == 0)
        args->scope[SELECT] = WF_SCOPE_TENSOR;
    job->method = &all_stages_method;
    job->args = args;
}

static void make_job(struct made *m, size_t j, enum wf_dtype d, bool huge)
{
    static const enum wf_dtype types[] = {WF_BF16, WF_F16, WF_F32, WF_F64};
    struct wf_job *job = &m->jobs[j];
    *job = (struct wf_job){.name = "x",
                           .dtype = (uint8_t)d,
                           .count = draw_count(m, huge),
                           .in = m->in[j],
                           .input_ckpt = m->ckpt[j],
                           .in_dtype = m->in_dtype[j],
                           .n_inputs = 1 + (uint32_t)draw(m, INPUTS_MAX)};
    bool map = wf_dtype_info(d)->arithmetic && draw(m, 4);
    job->action = map ? WF_ACTION_MAP : WF_ACTION_COPY;
    if (map)
        draw_stages(m, j);
    job->bytes = job->count * wf_dtype_info(d)->bits / 8;
    for (uint32_t i = 0; i < job->n_inputs; i++) {
        enum wf_dtype in = map ? types[draw(m, 4)] : d;
        uint64_t bytes = job->count * wf_dtype_info(in)->bits / 8;
        uint32_t c = (uint32_t)draw(m, CKPTS), f = (uint32_t)draw(m, FILES);
        if (draw(m, 3) == 0)
            c = i % CKPTS, f = 0; /* neighbours in one file, as in real models */
        if (draw(m, 4) == 0)
            m->end_of[c][f] += draw(m, 100000);
        m->tensors[j][i] = (struct wf_tensor){.dtype = (uint8_t)in,
                                              .count = job->count,
                                              .bytes = bytes,
                                              .file = f,
                                              .offset = m->end_of[c][f]};
        m->end_of[c][f] += bytes;
        m->in_dtype[j][i] = (uint8_t)in;
        if (draw(m, 6) == 0) {
            m->tensors[j][i].addend = &m->addend;
            m->in_dtype[j][i] = map ? WF_F32 : (uint8_t)in;
        }
        m->in[j][i] = &m->tensors[j][i];
        m->ckpt[j][i] = c;
    }
}

static struct made *make_plan(uint64_t seed)
{
    static const enum wf_dtype order[] = {WF_U64,  WF_F64, WF_F32, WF_I32,
                                          WF_BF16, WF_F16, WF_U8,  WF_BOOL};
    struct made *m = test_calloc(1, sizeof *m);
    m->seed = seed << 32;
    for (int c = 0; c < CKPTS; c++)
        for (int f = 0; f < FILES; f++)
            m->end_of[c][f] = 8 + draw(m, 10000);
    bool huge = draw(m, 8) == 0;
    size_t n_shards = 1 + draw(m, 4), n = 0;
    for (size_t s = 0; s < n_shards; s++) {
        struct wf_shard *shard = &m->shards[s];
        shard->header.n = 4096 * (1 + draw(m, 3));
        shard->first_job = n;
        uint64_t at = shard->header.n;
        size_t jobs = draw(m, 10) ? draw(m, JOBS_MAX / n_shards) : 0, type = 0;
        for (size_t j = 0; j < jobs; j++, n++) {
            while (type < 7 && draw(m, 10) == 0)
                type++;
            make_job(m, n, order[type], huge && draw(m, 20) == 0);
            m->jobs[n].shard = (uint32_t)s;
            m->jobs[n].offset = at;
            at += m->jobs[n].bytes;
        }
        shard->n_jobs = n - shard->first_job;
        shard->bytes = at;
    }
    m->plan = (struct wf_plan){
        .jobs = m->jobs, .n_jobs = n, .shards = m->shards, .n_shards = n_shards, .n_ckpts = CKPTS};
    return m;
}

static uint64_t input_width(const struct wf_job *job, uint32_t i, uint64_t out_bytes)
{
    if (job->action == WF_ACTION_COPY)
        return out_bytes;
    return out_bytes * wf_dtype_info(job->in[i]->dtype)->bits / wf_dtype_info(job->dtype)->bits;
}

static uint64_t down(uint64_t a, uint64_t b)
{
    return a / b * b;
}

/* A window holds whole rows around the segment, and all leaves that begin in it. */
static void check_window(const struct wf_segment *g)
{
    const struct wf_job *job = g->job;
    struct wf_range e = wf_segment_elements(g), w = wf_segment_window(g);
    uint64_t slab = job->rows.length * job->rows.stride;
    if (job->args->scope[TENSOR_SUM])
        assert_true(w.to == job->count || w.to >= down(e.to + WF_FOLD_BLOCK - 1, WF_FOLD_BLOCK));
    if (job->args->scope[ROW_SUM] || job->args->scope[RANK])
        assert_true(w.from % slab == 0 && w.to % slab == 0);
    else
        assert_true(w.from == e.from);
}

/* A tensor that gathers lies in one segment, or has its spans to itself. */
static void check_apart(const struct wf_budget *b, const struct wf_span *span,
                        const struct wf_segment *g)
{
    if (!wf_job_gathers(g->job))
        return;
    if (wf_job_is_apart(b, g->job))
        assert_int_equal(span->n_segments, 1);
    else
        assert_int_equal(g->bytes, g->job->bytes);
    assert_true(wf_job_piece(b, g->job, g->skip) < wf_job_pieces(b, g->job));
    assert_int_equal(wf_job_piece(b, g->job, g->skip),
                     wf_job_piece(b, g->job, g->skip + g->bytes - 1));
}

/* The read that brings byte `offset` of a file: it must hold the whole range. */
static void check_place(const struct wf_span *span, const struct wf_segment *g, uint32_t i,
                        uint64_t place)
{
    const struct wf_tensor *t = g->job->in[i];
    uint64_t offset = wf_window_offset(g, i), bytes = wf_window_bytes(g, i);
    uint64_t first = t->offset + input_width(g->job, i, g->skip);
    uint64_t last = first + input_width(g->job, i, g->bytes);
    assert_true(offset <= first && last <= offset + bytes);
    assert_true(t->offset <= offset && offset + bytes <= t->offset + t->bytes);
    for (uint32_t k = 0; k < span->n_reads; k++) {
        const struct wf_read *r = &span->reads[k];
        if (r->ckpt == g->job->input_ckpt[i] && r->tensor->file == t->file && r->offset <= offset &&
            offset + bytes <= r->offset + r->bytes && place == r->at + (offset - r->offset))
            return;
    }
    fail_msg("no read brings input %u of a segment to its place", i);
}

static int by_place(const void *a, const void *b)
{
    const struct wf_read *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* Whole pages around a read are overwritten by direct I/O: no two reads share one. */
static void check_reads(const struct wf_budget *b, struct wf_span *span)
{
    assert_in_range(span->n_reads, 1, b->reads_max);
    qsort(span->reads, span->n_reads, sizeof *span->reads, by_place);
    uint64_t free_from = 0;
    for (uint32_t k = 0; k < span->n_reads; k++) {
        const struct wf_read *r = &span->reads[k];
        assert_true(r->bytes > 0);
        assert_int_equal(r->at % WF_DIRECT_ALIGN, r->offset % WF_DIRECT_ALIGN);
        assert_true(r->at / WF_DIRECT_ALIGN * WF_DIRECT_ALIGN >= free_from);
        free_from = wf_round_up(r->at + r->bytes, WF_DIRECT_ALIGN);
        assert_true(free_from <= b->input_bytes);
    }
}

static void check_span(const struct made *m, const struct wf_budget *b, struct wf_span *span)
{
    uint64_t at = span->begin, inputs = 0;
    const struct wf_place_in_slot *place = span->places;
    assert_true(span->begin < span->end);
    assert_true(span->end - span->begin <= b->span_bytes);
    assert_int_equal(span->begin / b->span_bytes, (span->end - 1) / b->span_bytes);
    assert_int_equal(span->begin / WF_BLOCK_BYTES, (span->end - 1) / WF_BLOCK_BYTES);
    assert_in_range(span->n_segments, 1, b->segments_max);
    for (uint32_t s = 0; s < span->n_segments; s++) {
        const struct wf_segment *g = &span->segments[s];
        uint64_t width = wf_dtype_info(g->job->dtype)->bits / 8;
        assert_true(g->bytes > 0);
        assert_int_equal(g->job->shard, span->shard);
        assert_int_equal(g->job->offset + g->skip, at);
        assert_true(g->skip + g->bytes <= g->job->bytes);
        assert_int_equal(g->skip % width, 0); /* whole elements */
        assert_int_equal(g->bytes % width, 0);
        for (uint32_t i = 0; i < g->job->n_inputs; i++)
            check_place(span, g, i, place[i].stored);
        if (g->job->action == WF_ACTION_MAP && g->job->method)
            check_window(g);
        check_apart(b, span, g);
        place += g->job->n_inputs;
        inputs += g->job->n_inputs;
        at += g->bytes;
    }
    assert_int_equal(at, span->end);
    assert_true(span->input_end <= b->input_bytes);
    assert_true(inputs <= b->reads_max);
    check_reads(b, span);
    (void)m;
}

static bool skip_some(void *arg, uint32_t shard, uint64_t block)
{
    return ef_mix(*(uint64_t *)arg ^ ef_mix(shard * 1000 + block)) % 3 == 0;
}

static uint64_t skip_to(void *arg, uint32_t shard, uint64_t at)
{
    uint64_t block = at / WF_BLOCK_BYTES;
    return skip_some(arg, shard, block) ? (block + 1) * WF_BLOCK_BYTES : at;
}

/* Walks a plan. Every byte of data comes once and in order, except those of skipped blocks. */
static void check_walk(const struct made *m, const struct wf_budget *b, uint64_t *skip_seed)
{
    struct wf_span_walk walk = {0};
    struct wf_span span = ef_span(b);
    uint32_t shard = 0;
    uint64_t at = m->shards[0].header.n;
    bool more = true;
    while (more) {
        more = wf_span_next(&m->plan, b, &walk, skip_seed ? skip_to : NULL, skip_seed, &span);
        uint32_t to_shard = more ? span.shard : (uint32_t)m->plan.n_shards;
        while (shard < to_shard || at < span.begin) { /* what is passed over must be skippable */
            uint64_t to = shard < to_shard ? m->shards[shard].bytes : span.begin;
            if (at < to && !(skip_seed && skip_some(skip_seed, shard, at / WF_BLOCK_BYTES)))
                fail_msg("byte %llu of shard %u is in no span", (unsigned long long)at, shard);
            at = at < to ? wf_min_u64(to, wf_round_down(at, WF_BLOCK_BYTES) + WF_BLOCK_BYTES) : at;
            if (shard < to_shard && at == m->shards[shard].bytes && ++shard < m->plan.n_shards)
                at = m->shards[shard].header.n;
            if (shard == m->plan.n_shards)
                break;
        }
        if (!more)
            break;
        assert_int_equal(span.shard, shard);
        assert_int_equal(span.begin, at);
        if (skip_seed)
            assert_false(skip_some(skip_seed, shard, at / WF_BLOCK_BYTES));
        check_span(m, b, &span);
        at = span.end;
    }
    assert_int_equal(shard, m->plan.n_shards);
    ef_span_free(&span);
}

static void spans_cover_random_plans_exactly(void **state)
{
    static const uint64_t memories[] = {(uint64_t)1 << 20, (uint64_t)8 << 20, (uint64_t)64 << 20,
                                        (uint64_t)1 << 30};
    size_t walked = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        struct made *m = make_plan(seed);
        struct wf_err e = {0};
        struct wf_budget b;
        uint64_t total = 0;
        for (size_t s = 0; s < m->plan.n_shards; s++)
            total += m->shards[s].bytes;
        uint64_t memory = memories[total > 200u << 20 ? 3 : seed % 4];
        int status = wf_budget_set(
            &e, &m->plan,
            &(struct wf_means){.memory_bytes = memory, .meta_bytes = 1000, .threads = 2}, &b);
        if (!status) {
            assert_true(b.slots >= 2);
            assert_true(wf_budget_ring_bytes(&b) + b.statistics_bytes + 1000 <= memory);
            assert_true(b.outputs >= 2 && b.outputs <= b.slots);
            assert_int_equal(b.input_bytes % WF_DIRECT_ALIGN, 0);
            assert_int_equal(WF_BLOCK_BYTES % b.span_bytes, 0);
            check_walk(m, &b, NULL);
            check_walk(m, &b, &m->seed);
            walked++;
        }
        test_free(m);
    }
    assert_true(walked > 750);
}

/* The parts are what they say, and no more than the memory. */
static void check_total(const struct wf_budget *b, uint64_t memory, uint64_t meta)
{
    uint64_t lane = b->lanes ? wf_lane_host_bytes(&b->scratch, b->span_bytes) : 0;
    uint64_t scratch = wf_scratch_bytes(&b->scratch);
    assert_true(meta + wf_budget_ring_bytes(b) + b->statistics_bytes <= memory);
    assert_int_equal(b->pinned_bytes, b->compute * lane);
    assert_true(b->statistics_bytes >= b->compute * (lane + scratch + b->fetch_bytes));
    assert_int_equal(b->fetch_bytes > 0, !b->lanes);
}

/* A refusal names a number; that number works, and one byte less does not. */
static void check_refusal(struct made *m, unsigned threads, bool lanes)
{
    struct wf_err e = {0};
    struct wf_budget b;
    unsigned long long needed;
    assert_int_equal(wf_budget_set(&e, &m->plan,
                                   &(struct wf_means){.memory_bytes = 10000,
                                                      .meta_bytes = 5000,
                                                      .threads = threads,
                                                      .lanes = lanes},
                                   &b),
                     WF_MACHINE);
    const char *text = strstr(e.text, "at least ");
    assert_non_null(text);
    assert_int_equal(sscanf(text, "at least %llu bytes", &needed), 1);
    wf_err_clear(&e);
    assert_int_equal(wf_budget_set(&e, &m->plan,
                                   &(struct wf_means){.memory_bytes = needed,
                                                      .meta_bytes = 5000,
                                                      .threads = threads,
                                                      .lanes = lanes},
                                   &b),
                     WF_OK);
    check_total(&b, needed, 5000);
    check_walk(m, &b, NULL);
    assert_int_equal(wf_budget_set(&e, &m->plan,
                                   &(struct wf_means){.memory_bytes = needed - 1,
                                                      .meta_bytes = 5000,
                                                      .threads = threads,
                                                      .lanes = lanes},
                                   &b),
                     WF_MACHINE);
    assert_int_equal(wf_err_status(&e), WF_MACHINE);
}

static void refusal_names_the_memory_that_is_enough(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct made *m = make_plan(seed);
        check_refusal(m, 2, false);
        check_refusal(m, 1 + (unsigned)seed % 32, true);
        test_free(m);
    }
}

/* Lanes of any number: where there is memory for one, there is a budget, and it is kept to. */
static void lanes_are_as_many_as_memory_has_room_for(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct made *m = make_plan(seed);
        for (unsigned threads = 1; threads <= 32; threads += 1 + threads / 2) {
            bool enough = false;
            for (uint64_t memory = 20000; memory < (uint64_t)1 << 33; memory += memory / 2) {
                struct wf_err e = {0};
                struct wf_budget b;
                int status = wf_budget_set(&e, &m->plan,
                                           &(struct wf_means){.memory_bytes = memory,
                                                              .meta_bytes = 5000,
                                                              .threads = threads,
                                                              .lanes = true},
                                           &b);
                assert_true(!status || !enough); /* more memory is never too little */
                if (status)
                    continue;
                enough = true;
                check_total(&b, memory, 5000);
                assert_in_range(b.compute, 1, threads);
            }
            assert_true(enough);
        }
        test_free(m);
    }
}

/* More inputs than a span's table holds by default: one segment always fits. */
static void a_thousand_models_fit_into_a_span(void **state)
{
    enum { N = WF_MODELS_MAX };
    struct made *m = test_calloc(1, sizeof *m);
    struct wf_tensor *tensors = test_calloc(N, sizeof *tensors);
    const struct wf_tensor **in = test_calloc(N, sizeof *in);
    uint32_t *ckpt = test_calloc(N, sizeof *ckpt);
    struct wf_err e = {0};
    struct wf_budget b;
    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        tensors[i] = (struct wf_tensor){
            .dtype = WF_BF16, .count = 50000, .bytes = 100000, .offset = 1000 + 2 * i};
        in[i] = &tensors[i];
        ckpt[i] = i;
    }
    uint64_t at = 4096;
    for (size_t j = 0; j < 5; j++) {
        m->jobs[j] = (struct wf_job){.dtype = WF_F32,
                                     .count = 50000,
                                     .bytes = 200000,
                                     .offset = at,
                                     .n_inputs = N,
                                     .in = in,
                                     .input_ckpt = ckpt,
                                     .method = &all_stages_method,
                                     .args = &m->args[j],
                                     .action = WF_ACTION_MAP};
        at += 200000;
    }
    m->shards[0] = (struct wf_shard){.header.n = 4096, .bytes = at, .n_jobs = 5};
    m->plan = (struct wf_plan){.jobs = m->jobs, .n_jobs = 5, .shards = m->shards, .n_shards = 1};
    assert_int_equal(wf_budget_set(&e, &m->plan,
                                   &(struct wf_means){.memory_bytes = 100u << 20, .threads = 2},
                                   &b),
                     WF_OK);
    check_walk(m, &b, NULL);
    assert_int_equal(
        wf_budget_set(&e, &m->plan,
                      &(struct wf_means){.memory_bytes = (uint64_t)64 << 30, .threads = 2}, &b),
        WF_OK);
    check_walk(m, &b, NULL);
    test_free(ckpt);
    test_free(in);
    test_free(tensors);
    test_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_cover_random_plans_exactly),
        cmocka_unit_test(refusal_names_the_memory_that_is_enough),
        cmocka_unit_test(lanes_are_as_many_as_memory_has_room_for),
        cmocka_unit_test(a_thousand_models_fit_into_a_span),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
