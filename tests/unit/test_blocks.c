/* test_blocks.c - checksums and completion of the 64 MiB blocks, whatever the order of pieces. */
#include "engine_fixture.h"

#include "../../src/stream/blocks.h"

#define MIB ((uint64_t)1 << 20)
#define PIECE (16 * MIB)

/* Two shards: 150 MiB with data, and one that is a header alone. */
struct made {
    struct wf_plan plan;
    struct wf_shard shards[2];
    struct wf_blocks blocks;
    char *file; /* shard 0 as it should be */
};

static char head[8192];

static void make(struct made *m, bool hashing, size_t active)
{
    struct wf_err e = {0};
    memset(head, ' ', sizeof head);
    memcpy(head, "header", 6);
    m->shards[0] = (struct wf_shard){.header = {.text = head, .n = 8192}, .bytes = 150 * MIB};
    m->shards[1] = (struct wf_shard){.header = {.text = head, .n = 4096}, .bytes = 4096};
    m->plan = (struct wf_plan){.shards = m->shards, .n_shards = 2};
    assert_int_equal(wf_blocks_create(&e, &m->plan, hashing, active, &m->blocks), WF_OK);
    m->file = test_malloc(150 * MIB);
    for (uint64_t i = 0; i < 150 * MIB; i += 8) {
        uint64_t x = ef_mix(i);
        memcpy(m->file + i, &x, 8);
    }
    memcpy(m->file, head, 8192);
}

static void unmake(struct made *m)
{
    wf_blocks_destroy(&m->blocks);
    test_free(m->file);
}

static uint64_t piece_end(uint64_t begin)
{
    uint64_t end = (begin / PIECE + 1) * PIECE;
    return end < 150 * MIB ? end : 150 * MIB;
}

static bool hash_piece(struct made *m, uint64_t begin)
{
    uint64_t end = piece_end(begin);
    if (!wf_blocks_claim(&m->blocks, 0, begin))
        return false;
    wf_blocks_hash(&m->blocks, 0, begin, end, m->file + begin);
    wf_blocks_release(&m->blocks, 0, begin, end);
    return true;
}

static void table_has_a_row_for_every_block(void **state)
{
    struct made m;
    (void)state;
    make(&m, true, 3);
    assert_int_equal(wf_plan_blocks(&m.plan, 0), 3);
    assert_int_equal(wf_plan_blocks(&m.plan, 1), 1);
    m.shards[0].bytes = 128 * MIB; /* an exact multiple has no empty block at its end */
    assert_int_equal(wf_plan_blocks(&m.plan, 0), 2);
    m.shards[0].bytes = 150 * MIB;
    assert_ptr_equal(wf_blocks_at(&m.blocks, 1, 0), wf_blocks_at(&m.blocks, 0, 2) + 1);
    unmake(&m);
}

/* Pieces of a block are hashed in order only; blocks of a file in any order, several at once. */
static void checksums_are_those_of_the_file(void **state)
{
    struct made m;
    (void)state;
    make(&m, true, 3);
    assert_false(wf_blocks_claim(&m.blocks, 0, PIECE)); /* the first piece is not hashed yet */
    assert_true(hash_piece(&m, 8192));
    assert_false(wf_blocks_claim(&m.blocks, 0, 8192)); /* nor twice */
    assert_true(hash_piece(&m, 128 * MIB));
    assert_true(hash_piece(&m, 64 * MIB));
    assert_true(hash_piece(&m, PIECE));
    assert_true(hash_piece(&m, 144 * MIB)); /* the short last block is complete */
    assert_true(wf_blocks_claim(&m.blocks, 0, 2 * PIECE));
    assert_false(wf_blocks_claim(&m.blocks, 0, 2 * PIECE)); /* one thread at a time */
    wf_blocks_hash(&m.blocks, 0, 2 * PIECE, 3 * PIECE, m.file + 2 * PIECE);
    wf_blocks_release(&m.blocks, 0, 2 * PIECE, 3 * PIECE);
    assert_true(hash_piece(&m, 3 * PIECE));
    for (uint64_t at = 5 * PIECE; at < 8 * PIECE; at += PIECE)
        assert_true(hash_piece(&m, at));
    for (uint64_t k = 0; k < 3; k++) {
        uint64_t begin = k * WF_BLOCK_BYTES, n = k == 2 ? 22 * MIB : WF_BLOCK_BYTES;
        struct wf_hash128 wanted = wf_xxh128(m.file + begin, n);
        assert_true(wf_hash128_equal(&wf_blocks_at(&m.blocks, 0, k)->hash, &wanted));
    }
    assert_int_equal(m.blocks.n_pool, m.blocks.pool_max); /* all states came back */
    assert_int_equal(m.blocks.n_finished, 0);             /* nothing is written yet */
    unmake(&m);
}

static void a_block_is_finished_when_its_last_piece_is_written(void **state)
{
    struct made m;
    (void)state;
    make(&m, false, 1);
    assert_true(wf_blocks_claim(&m.blocks, 0, 3 * PIECE)); /* without checksums: any order */
    wf_blocks_release(&m.blocks, 0, 3 * PIECE, 4 * PIECE);
    wf_blocks_written(&m.blocks, 0, 3 * PIECE, 4 * PIECE);
    wf_blocks_written(&m.blocks, 0, 8192, PIECE);
    wf_blocks_written(&m.blocks, 0, 2 * PIECE, 3 * PIECE);
    assert_int_equal(m.blocks.n_finished, 0);
    wf_blocks_written(&m.blocks, 0, PIECE, 2 * PIECE);
    assert_int_equal(m.blocks.n_finished, 1);
    assert_int_equal(m.blocks.finished[0].block, 0);
    assert_false(m.blocks.finished[0].hashed);
    wf_blocks_written(&m.blocks, 0, 128 * MIB, 144 * MIB);
    wf_blocks_written(&m.blocks, 0, 144 * MIB, 150 * MIB);
    assert_int_equal(m.blocks.n_finished, 2);
    assert_int_equal(m.blocks.finished[1].block, 2);
    unmake(&m);
}

static void a_pool_that_is_empty_makes_pieces_wait(void **state)
{
    struct made m;
    (void)state;
    make(&m, true, 1);
    assert_true(hash_piece(&m, 8192));
    assert_false(wf_blocks_claim(&m.blocks, 0, 64 * MIB)); /* block 0 has the only state */
    for (uint64_t at = PIECE; at < 4 * PIECE; at += PIECE)
        assert_true(hash_piece(&m, at));
    assert_true(hash_piece(&m, 64 * MIB));
    unmake(&m);
}

static void a_shard_without_data_is_finished_by_its_header(void **state)
{
    struct made m;
    (void)state;
    make(&m, true, 1);
    wf_blocks_finish_empty(&m.blocks);
    assert_int_equal(m.blocks.n_finished, 1);
    assert_int_equal(m.blocks.finished[0].shard, 1);
    struct wf_hash128 wanted = wf_xxh128(head, 4096);
    assert_true(wf_hash128_equal(&m.blocks.finished[0].hash, &wanted));
    assert_true(wf_hash128_equal(&wf_blocks_at(&m.blocks, 1, 0)->hash, &wanted));
    unmake(&m);
}

/* A border inside block 1: what lies before it is this process', what follows another's. */
static void a_block_that_ranks_share_is_made_in_part_and_not_hashed(void **state)
{
    struct made m;
    uint64_t border = WF_BLOCK_BYTES + 24 * MIB;
    uint64_t begin[] = {0, border, 4 * WF_BLOCK_BYTES};
    (void)state;
    make(&m, true, 1);
    wf_blocks_share(&m.blocks, begin, 2, 0);
    assert_true(wf_blocks_at(&m.blocks, 0, 1)->shared);
    assert_int_equal(wf_blocks_skip(&m.blocks, 0, border - 1), border - 1);
    assert_int_equal(wf_blocks_skip(&m.blocks, 0, border), 2 * WF_BLOCK_BYTES);
    assert_int_equal(wf_blocks_bytes_mine(&m.blocks), border - m.shards[0].header.n);
    assert_true(wf_blocks_claim(&m.blocks, 0, WF_BLOCK_BYTES + PIECE)); /* in any order */
    wf_blocks_hash(&m.blocks, 0, WF_BLOCK_BYTES + PIECE, border, m.file + WF_BLOCK_BYTES + PIECE);
    wf_blocks_release(&m.blocks, 0, WF_BLOCK_BYTES + PIECE, border);
    assert_int_equal(m.blocks.n_pool, 1);
    wf_blocks_written(&m.blocks, 0, WF_BLOCK_BYTES + PIECE, border);
    assert_int_equal(m.blocks.n_finished, 0);
    wf_blocks_written(&m.blocks, 0, WF_BLOCK_BYTES, WF_BLOCK_BYTES + PIECE);
    assert_int_equal(m.blocks.n_finished, 1);
    wf_blocks_at(&m.blocks, 0, 0)->done = wf_blocks_at(&m.blocks, 0, 1)->done = true;
    assert_true(wf_blocks_mine_done(&m.blocks));
    assert_false(wf_blocks_all_done(&m.blocks));
    unmake(&m);
}

static void a_rank_begins_inside_a_block(void **state)
{
    struct made m;
    uint64_t border = WF_BLOCK_BYTES + 24 * MIB;
    uint64_t begin[] = {0, border, 4 * WF_BLOCK_BYTES};
    (void)state;
    make(&m, true, 1);
    wf_blocks_share(&m.blocks, begin, 2, 1);
    assert_int_equal(wf_blocks_skip(&m.blocks, 0, m.shards[0].header.n), WF_BLOCK_BYTES);
    assert_int_equal(wf_blocks_skip(&m.blocks, 0, WF_BLOCK_BYTES), border);
    assert_int_equal(wf_blocks_skip(&m.blocks, 0, border), border);
    wf_blocks_written(&m.blocks, 0, border, 2 * WF_BLOCK_BYTES);
    assert_int_equal(m.blocks.n_finished, 1);
    wf_blocks_at(&m.blocks, 0, 1)->done =
        true; /* also a finished one is foreign up to the border */
    assert_int_equal(wf_blocks_skip_foreign(&m.blocks, 0, WF_BLOCK_BYTES), border);
    assert_int_equal(wf_blocks_skip(&m.blocks, 0, WF_BLOCK_BYTES), 2 * WF_BLOCK_BYTES);
    unmake(&m);
}

static void marks_count_only_for_blocks_that_can_be(void **state)
{
    struct made m;
    struct wf_hash128 h = wf_xxh128("x", 1);
    (void)state;
    make(&m, true, 1);
    wf_blocks_mark(&m.blocks, 0, 3, &h);          /* there is no block 3 */
    wf_blocks_mark(&m.blocks, 0, UINT64_MAX, &h); /* a hostile journal */
    wf_blocks_mark(&m.blocks, 0, 1, NULL);        /* not hashed, but this run needs hashes */
    assert_false(wf_blocks_is_skipped(&m.blocks, 0, WF_BLOCK_BYTES));
    wf_blocks_mark(&m.blocks, 0, 1, &h);
    wf_blocks_mark(&m.blocks, 1, 0, &h);
    assert_true(wf_blocks_is_skipped(&m.blocks, 0, WF_BLOCK_BYTES));
    assert_false(wf_blocks_is_skipped(&m.blocks, 0, 0));
    assert_true(wf_hash128_equal(&wf_blocks_at(&m.blocks, 0, 1)->hash, &h));
    wf_blocks_finish_empty(&m.blocks); /* shard 1 is done: not finished a second time */
    assert_int_equal(m.blocks.n_finished, 0);
    wf_blocks_forget(&m.blocks);
    assert_false(wf_blocks_is_skipped(&m.blocks, 0, WF_BLOCK_BYTES));
    unmake(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_has_a_row_for_every_block),
        cmocka_unit_test(checksums_are_those_of_the_file),
        cmocka_unit_test(a_block_is_finished_when_its_last_piece_is_written),
        cmocka_unit_test(a_pool_that_is_empty_makes_pieces_wait),
        cmocka_unit_test(a_shard_without_data_is_finished_by_its_header),
        cmocka_unit_test(a_block_that_ranks_share_is_made_in_part_and_not_hashed),
        cmocka_unit_test(a_rank_begins_inside_a_block),
        cmocka_unit_test(marks_count_only_for_blocks_that_can_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
