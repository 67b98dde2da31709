/* test_deal.c - dealing the output to ranks: all of it once, the largest load the least there is,
 * and loads that are what a rank would read and write; over plans made in memory, without files.
 */
#include "engine_fixture.h"

#include "../../src/base/num.h"
#include "../../src/plan/deal.h"

#define JOBS_MAX 64
#define BLOCKS_MAX 64
#define PLACES_MAX (2 * BLOCKS_MAX + 1)
#define RANKS 8
#define MIB ((uint64_t)1 << 20)
#define HEADER 4096u

/* Every kind of stage that a load depends on; `scope` of a job's args says which are on. */
enum { TENSOR_SUM, COLUMN_SUM, MODEL_SUM, MAP, STAGES };
static const struct wf_stage all_stages[STAGES] = {[TENSOR_SUM] = {.kind = WF_STAGE_FOLD},
                                                   [COLUMN_SUM] = {.kind = WF_STAGE_FOLD},
                                                   [MODEL_SUM] = {.kind = WF_STAGE_FOLD},
                                                   [MAP] = {.kind = WF_STAGE_MAP}};
static const struct wf_method method = {
    .name = "every stage", .stages = all_stages, .n_stages = STAGES};

/* Inputs: BF16, BF16 and F32, of as many elements as a job has; each F32 output byte takes two. */
static const uint8_t input_types[] = {WF_BF16, WF_BF16, WF_F32};
#define INPUT_WIDTH 8u

struct made {
    struct wf_arena arena;
    struct wf_plan plan;
    struct wf_shard shards[8];
    struct wf_job jobs[JOBS_MAX];
    struct wf_args args[JOBS_MAX];
    struct wf_tensor tensors[3];
    const struct wf_tensor *in[3];
    bool done[BLOCKS_MAX * 8];
    struct wf_deal_work work;
};

static struct made *make(void)
{
    struct made *m = test_calloc(1, sizeof *m);
    for (int i = 0; i < 3; i++) {
        m->tensors[i].dtype = input_types[i];
        m->in[i] = &m->tensors[i];
    }
    m->plan = (struct wf_plan){.shards = m->shards, .jobs = m->jobs};
    return m;
}

static void unmake(struct made *m)
{
    wf_arena_destroy(&m->arena);
    test_free(m);
}

static void add_shard(struct made *m)
{
    m->shards[m->plan.n_shards++] =
        (struct wf_shard){.header.n = HEADER, .bytes = HEADER, .first_job = m->plan.n_jobs};
}

/* The next tensor of the last shard: a MAP to F32 of three inputs, or a COPY of one. */
static struct wf_job *add_job(struct made *m, enum wf_action action, uint64_t bytes)
{
    struct wf_shard *s = &m->shards[m->plan.n_shards - 1];
    struct wf_job *job = &m->jobs[m->plan.n_jobs];
    struct wf_args *args = &m->args[m->plan.n_jobs++];
    args->scope[MAP] = WF_SCOPE_ELEMENT;
    *job = (struct wf_job){.name = "x",
                           .action = action,
                           .dtype = WF_F32,
                           .count = bytes / 4,
                           .bytes = bytes / 4 * 4,
                           .shard = (uint32_t)(m->plan.n_shards - 1),
                           .offset = s->bytes,
                           .method = &method,
                           .args = args,
                           .n_inputs = action == WF_ACTION_MAP ? 3 : 1,
                           .in = m->in};
    s->bytes += job->bytes;
    s->n_jobs++;
    return job;
}

static void scope(struct made *m, const struct wf_job *job, int stage, enum wf_scope s)
{
    m->args[job - m->jobs].scope[stage] = s;
}

static uint64_t n_blocks(const struct made *m)
{
    uint64_t first[9];
    wf_plan_number_blocks(&m->plan, first);
    return first[m->plan.n_shards];
}

static bool all_done(const struct made *m)
{
    bool all = m->work.done;
    for (uint64_t k = 0; all && k < n_blocks(m); k++)
        all = m->work.done[k];
    return all;
}

/* What a rank with places [from, to) reads and writes, block by block, as deal.h says it. */
static struct wf_deal_load slow_load(const struct made *m, uint64_t from, uint64_t to)
{
    struct wf_deal_load load = {0};
    uint64_t first[9];
    wf_plan_number_blocks(&m->plan, first);
    for (size_t j = 0; j < m->plan.n_jobs && !all_done(m); j++) {
        const struct wf_job *job = &m->jobs[j];
        bool maps = job->action == WF_ACTION_MAP, makes = false;
        bool statistics = !m->plan.null_compute;
        bool gathers = statistics && wf_job_gathers(job);
        bool model = statistics && wf_job_has_scope(job, WF_SCOPE_MODEL);
        uint64_t map_bytes = 0, shard = first[job->shard] * WF_BLOCK_BYTES;
        uint64_t at = wf_max_u64(shard + job->offset, from);
        uint64_t end = wf_min_u64(shard + job->offset + job->bytes, to);
        while (at < end) {
            uint64_t block = at / WF_BLOCK_BYTES;
            uint64_t cut = wf_min_u64(end, (block + 1) * WF_BLOCK_BYTES);
            uint64_t inputs = maps ? (cut - at) / 4 * INPUT_WIDTH : cut - at;
            bool done = m->work.done && m->work.done[block];
            load.read += model ? inputs * m->work.model_passes : 0;
            load.model += model && m->work.model_passes ? inputs : 0;
            load.written += done ? 0 : cut - at;
            map_bytes += done ? 0 : inputs;
            makes |= !done;
            at = cut;
        }
        load.read += gathers && makes ? job->count * INPUT_WIDTH : map_bytes;
    }
    return load;
}

/* Where borders may be: between blocks, and before a tensor that is read whole and reaches into the
 * next block, on a page, and not at the shard's beginning, where a block begins as well. */
static bool may_cut(const struct made *m, uint64_t place)
{
    uint64_t first[9];
    wf_plan_number_blocks(&m->plan, first);
    for (size_t j = 0; j < m->plan.n_jobs && !m->plan.null_compute; j++) {
        const struct wf_job *job = &m->jobs[j];
        uint64_t end = job->offset % WF_BLOCK_BYTES + job->bytes;
        if (wf_job_gathers(job) && end > WF_BLOCK_BYTES && place % 4096 == 0 &&
            job->offset != HEADER && place == first[job->shard] * WF_BLOCK_BYTES + job->offset)
            return true;
    }
    return place % WF_BLOCK_BYTES == 0;
}

static size_t list_places(const struct made *m, uint64_t *places)
{
    size_t n = 0;
    for (uint64_t k = 0; k <= n_blocks(m); k++) {
        places[n++] = k * WF_BLOCK_BYTES;
        for (uint64_t page = 1; k < n_blocks(m) && page < WF_BLOCK_BYTES / 4096; page++)
            if (may_cut(m, k * WF_BLOCK_BYTES + page * 4096))
                places[n++] = k * WF_BLOCK_BYTES + page * 4096;
    }
    assert_true(n <= PLACES_MAX);
    return n;
}

static uint64_t total(struct wf_deal_load load)
{
    return load.read + load.written;
}

/* The least that the largest load can be, over all borders there are. */
static uint64_t least_largest(const struct made *m, uint32_t ranks)
{
    uint64_t places[PLACES_MAX], least[PLACES_MAX];
    static uint64_t of[PLACES_MAX][PLACES_MAX];
    size_t n = list_places(m, places);
    for (size_t a = 0; a < n; a++)
        for (size_t b = a; b < n; b++)
            of[a][b] = total(slow_load(m, places[a], places[b]));
    for (size_t b = 0; b < n; b++)
        least[b] = of[0][b];
    for (uint32_t r = 1; r < ranks; r++)
        for (size_t b = n; b-- > 0;)
            for (size_t a = 0; a <= b; a++)
                least[b] = wf_min_u64(least[b], wf_max_u64(least[a], of[a][b]));
    return least[n - 1];
}

static struct wf_deal deal(struct made *m, uint32_t ranks)
{
    struct wf_deal d;
    struct wf_err e = {0};
    assert_int_equal(wf_deal_make(&e, &m->arena, &m->plan, &m->work, ranks, &d), WF_OK);
    assert_int_equal(d.ranks, ranks);
    assert_int_equal(d.begin[0], 0);
    assert_int_equal(d.begin[ranks], n_blocks(m) * WF_BLOCK_BYTES);
    for (uint32_t r = 0; r < ranks; r++) {
        assert_true(d.begin[r] <= d.begin[r + 1]);
        assert_true(may_cut(m, d.begin[r]));
        struct wf_deal_load want = slow_load(m, d.begin[r], d.begin[r + 1]);
        assert_int_equal(d.loads[r].read, want.read);
        assert_int_equal(d.loads[r].written, want.written);
        assert_int_equal(d.loads[r].model, want.model);
    }
    return d;
}

static uint64_t largest(const struct wf_deal *d)
{
    uint64_t most = 0;
    for (uint32_t r = 0; r < d->ranks; r++)
        most = wf_max_u64(most, total(d->loads[r]));
    return most;
}

static void a_plan_without_tensors_is_one_header(void **state)
{
    struct made *m = make();
    (void)state;
    struct wf_deal none = deal(m, 3); /* not even a shard */
    assert_int_equal(largest(&none), 0);
    add_shard(m);
    struct wf_deal d = deal(m, 3);
    assert_int_equal(largest(&d), 0);
    assert_int_equal(d.begin[3], WF_BLOCK_BYTES); /* the header is some rank's block */
    unmake(m);
}

static void one_block_and_eight_ranks(void **state)
{
    struct made *m = make();
    int busy = 0;
    (void)state;
    add_shard(m);
    add_job(m, WF_ACTION_MAP, 1000);
    struct wf_deal d = deal(m, 8);
    for (uint32_t r = 0; r < 8; r++)
        busy += d.loads[r].written == 1000 && d.loads[r].read == 2000;
    assert_int_equal(busy, 1);
    unmake(m);
}

/* Ranks without work are spread among those with some, and so over nodes. */
static void few_blocks_are_spread_over_ranks(void **state)
{
    struct made *m = make();
    uint32_t first_half = 0;
    (void)state;
    add_shard(m);
    add_job(m, WF_ACTION_COPY, 4 * WF_BLOCK_BYTES - HEADER);
    struct wf_deal d = deal(m, 8);
    for (uint32_t r = 0; r < 8; r++) {
        assert_true(d.begin[r + 1] - d.begin[r] <= WF_BLOCK_BYTES);
        first_half += r < 4 && d.begin[r + 1] > d.begin[r];
    }
    assert_int_equal(first_half, 2);
    unmake(m);
}

static void what_is_done_is_nobodys_load(void **state)
{
    struct made *m = make();
    (void)state;
    add_shard(m);
    struct wf_job *job = add_job(m, WF_ACTION_MAP, 6 * WF_BLOCK_BYTES - HEADER);
    memset(m->done, true, sizeof m->done);
    m->work.done = m->done;
    scope(m, job, MODEL_SUM, WF_SCOPE_MODEL);
    m->work.model_passes = 1;
    struct wf_deal d = deal(m, 2);
    assert_int_equal(largest(&d), 0); /* not even statistics: nobody needs them */
    m->done[5] = false;
    d = deal(m, 2); /* its elements count, all of them, but the last block alone is made */
    assert_int_equal(d.loads[0].written, 0);
    assert_int_equal(d.loads[0].read, d.begin[1] * 2 - 2 * HEADER);
    assert_int_equal(d.loads[1].written, WF_BLOCK_BYTES);
    unmake(m);
}

/* Four blocks of one tensor, on four ranks: each reads all of it. */
static void a_gathered_tensor_is_read_whole_by_each_who_makes_some(void **state)
{
    struct made *m = make();
    (void)state;
    add_shard(m);
    struct wf_job *job = add_job(m, WF_ACTION_MAP, 4 * WF_BLOCK_BYTES - HEADER);
    scope(m, job, TENSOR_SUM, WF_SCOPE_TENSOR);
    struct wf_deal d = deal(m, 4);
    for (uint32_t r = 0; r < 4; r++) {
        assert_int_equal(d.begin[r + 1] - d.begin[r], WF_BLOCK_BYTES);
        assert_int_equal(d.loads[r].read, 2 * job->bytes);
    }
    m->done[0] = m->done[1] = m->done[3] = true;
    m->work.done = m->done;
    d = deal(m, 4); /* the ranks that make nothing of it read nothing */
    for (uint32_t r = 0; r < 4; r++)
        assert_int_equal(d.loads[r].read, d.loads[r].written ? 2 * job->bytes : 0);
    unmake(m);
}

/* A benchmark that computes nothing has no statistics. */
static void without_arithmetic_nothing_is_read_twice(void **state)
{
    struct made *m = make();
    (void)state;
    add_shard(m);
    struct wf_job *job = add_job(m, WF_ACTION_MAP, 4 * WF_BLOCK_BYTES - HEADER);
    scope(m, job, TENSOR_SUM, WF_SCOPE_TENSOR);
    scope(m, job, MODEL_SUM, WF_SCOPE_MODEL);
    m->work.model_passes = 1;
    m->plan.null_compute = true;
    struct wf_deal d = deal(m, 4);
    for (uint32_t r = 0; r < 4; r++)
        assert_int_equal(d.loads[r].read, 2 * d.loads[r].written);
    unmake(m);
}

/* Two tensors of about three blocks, with a small one between them that lies across the end of a
 * block. */
static struct wf_deal deal_two_large(struct made *m, uint64_t first_bytes)
{
    add_shard(m);
    scope(m, add_job(m, WF_ACTION_MAP, first_bytes), TENSOR_SUM, WF_SCOPE_TENSOR);
    scope(m, add_job(m, WF_ACTION_MAP, 8192), TENSOR_SUM, WF_SCOPE_TENSOR);
    scope(m, add_job(m, WF_ACTION_MAP, 3 * WF_BLOCK_BYTES), TENSOR_SUM, WF_SCOPE_TENSOR);
    return deal(m, 2);
}

static void borders_go_between_tensors_inside_a_block(void **state)
{
    struct made *m = make();
    (void)state;
    struct wf_deal d = deal_two_large(m, 3 * WF_BLOCK_BYTES - HEADER - 4096);
    assert_int_equal(d.begin[1], 3 * WF_BLOCK_BYTES + 4096);
    assert_int_equal(d.loads[0].read + d.loads[1].read, 2 * (m->shards[0].bytes - HEADER));
    unmake(m);
}

/* No border is where two ranks would write to one page. */
static void borders_go_where_the_cut_tensor_is_cheap(void **state)
{
    struct made *m = make();
    (void)state;
    struct wf_deal d = deal_two_large(m, 3 * WF_BLOCK_BYTES - HEADER - 4096 + 512);
    assert_int_equal(d.begin[1], 3 * WF_BLOCK_BYTES);
    assert_int_equal(d.loads[0].read + d.loads[1].read, 2 * (m->shards[0].bytes - HEADER + 8192));
    unmake(m);
}

/* As even as whole blocks can be. */
static void elementwise_work_is_balanced_to_a_block(void **state)
{
    struct made *m = make();
    (void)state;
    for (int s = 0; s < 5; s++) {
        add_shard(m);
        for (int j = 0; j < 5; j++)
            add_job(m, WF_ACTION_MAP, (17 + 31 * (uint64_t)j) * MIB + 4 * (uint64_t)s);
    }
    uint64_t whole = total(slow_load(m, 0, n_blocks(m) * WF_BLOCK_BYTES));
    for (uint32_t ranks = 1; ranks <= RANKS; ranks++) {
        struct wf_deal d = deal(m, ranks);
        assert_true(largest(&d) <= whole / ranks + 3 * WF_BLOCK_BYTES);
    }
    unmake(m);
}

static void draw_plan(struct made *m, uint64_t *seed)
{
    uint64_t shards = 1 + ef_mix(++*seed) % 3, blocks = 0;
    for (uint64_t s = 0; s < shards; s++) {
        add_shard(m);
        for (uint64_t j = ef_mix(++*seed) % 8; j > 0 && blocks < 12; j--) {
            uint64_t r = ef_mix(++*seed);
            uint64_t bytes = r % 3 ? r % (5 * WF_BLOCK_BYTES) : r % 5000;
            struct wf_job *job = add_job(m, r >> 40 & 3 ? WF_ACTION_MAP : WF_ACTION_COPY,
                                         r >> 53 & 7 ? bytes / 4096 * 4096 : bytes);
            if (r >> 50 & 1)
                scope(m, job, r >> 51 & 1 ? TENSOR_SUM : COLUMN_SUM,
                      r >> 51 & 1 ? WF_SCOPE_TENSOR : WF_SCOPE_COLUMN);
            if (r >> 52 & 1)
                scope(m, job, MODEL_SUM, WF_SCOPE_MODEL);
            blocks += bytes / WF_BLOCK_BYTES;
        }
    }
    m->work.model_passes = (unsigned)(ef_mix(++*seed) % 3);
    if (ef_mix(++*seed) & 1)
        m->work.done = m->done;
    for (size_t k = 0; k < sizeof m->done; k++)
        m->done[k] = ef_mix(++*seed) & 1;
}

static void no_other_borders_have_a_smaller_largest_load(void **state)
{
    uint64_t seed = 1;
    (void)state;
    for (int round = 0; round < 400; round++) {
        struct made *m = make();
        draw_plan(m, &seed);
        assert_true(n_blocks(m) <= BLOCKS_MAX);
        uint32_t ranks = 1 + (uint32_t)(ef_mix(++seed) % RANKS);
        struct wf_deal d = deal(m, ranks);
        assert_int_equal(largest(&d), least_largest(m, ranks));
        unmake(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_without_tensors_is_one_header),
        cmocka_unit_test(one_block_and_eight_ranks),
        cmocka_unit_test(few_blocks_are_spread_over_ranks),
        cmocka_unit_test(what_is_done_is_nobodys_load),
        cmocka_unit_test(a_gathered_tensor_is_read_whole_by_each_who_makes_some),
        cmocka_unit_test(without_arithmetic_nothing_is_read_twice),
        cmocka_unit_test(borders_go_between_tensors_inside_a_block),
        cmocka_unit_test(borders_go_where_the_cut_tensor_is_cheap),
        cmocka_unit_test(elementwise_work_is_balanced_to_a_block),
        cmocka_unit_test(no_other_borders_have_a_smaller_largest_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
