/* blocks.c - checksums and completion of output blocks. */
#include "blocks.h"

#include "../base/mem.h"
#include "../base/num.h"

struct wf_block *wf_blocks_at(const struct wf_blocks *b, uint32_t shard, uint64_t block)
{
    return &b->blocks[b->first[shard] + block];
}

static uint64_t block_end(const struct wf_blocks *b, uint32_t shard, uint64_t block)
{
    return wf_min_u64((block + 1) * WF_BLOCK_BYTES, b->plan->shards[shard].bytes);
}

/* Bytes of a block, header aside, that lie in places [begin, end). */
static uint64_t bytes_in(const struct wf_blocks *b, uint32_t shard, uint64_t block, uint64_t begin,
                         uint64_t end)
{
    uint64_t from = block ? block * WF_BLOCK_BYTES : b->plan->shards[shard].header.n;
    begin = wf_max_u64(begin, wf_plan_place(b->first, shard, from));
    end = wf_min_u64(end, wf_plan_place(b->first, shard, block_end(b, shard, block)));
    return end > begin ? end - begin : 0;
}

static uint64_t mine_of(const struct wf_blocks *b, uint32_t shard, uint64_t block)
{
    return bytes_in(b, shard, block, b->begin_mine, b->end_mine);
}

static void set_left(struct wf_blocks *b)
{
    for (uint32_t s = 0; s < b->plan->n_shards; s++)
        for (uint64_t k = 0; k < wf_plan_blocks(b->plan, s); k++)
            wf_blocks_at(b, s, k)->left = mine_of(b, s, k);
}

void wf_blocks_share(struct wf_blocks *b, const uint64_t *begin, uint32_t ranks, uint32_t rank)
{
    b->begin_mine = begin[rank];
    b->end_mine = begin[rank + 1];
    for (uint32_t r = 1; r < ranks; r++)
        if (begin[r] % WF_BLOCK_BYTES != 0 && !b->blocks[begin[r] / WF_BLOCK_BYTES].done)
            b->blocks[begin[r] / WF_BLOCK_BYTES].shared = true;
    set_left(b);
}

int wf_blocks_create(struct wf_err *e, const struct wf_plan *plan, bool hashing, size_t active_max,
                     struct wf_blocks *out)
{
    struct wf_blocks b = {.plan = plan, .hashing = hashing};
    *out = b;
    b.first = wf_alloc(e, WF_MEM_META, plan->n_shards + 1, sizeof *b.first, "the block table");
    if (!b.first)
        return WF_MACHINE;
    wf_plan_number_blocks(plan, b.first);
    uint64_t n = b.first[plan->n_shards];
    b.end_mine = n * WF_BLOCK_BYTES;
    b.blocks = wf_alloc(e, WF_MEM_META, n, sizeof *b.blocks, "the block table");
    b.finished = wf_alloc(e, WF_MEM_META, n, sizeof *b.finished, "the block table");
    b.pool = wf_alloc(e, WF_MEM_META, active_max, sizeof *b.pool, "the block table");
    *out = b;
    if (!b.blocks || !b.finished || !b.pool)
        return WF_MACHINE;
    for (; hashing && out->n_pool < active_max; out->n_pool++, out->pool_max++)
        if (!(out->pool[out->n_pool] = wf_xxh_create(e)))
            return WF_MACHINE;
    for (uint32_t s = 0; s < plan->n_shards; s++) {
        for (uint64_t k = 0; k < wf_plan_blocks(plan, s); k++)
            wf_blocks_at(out, s, k)->next = k * WF_BLOCK_BYTES;
        wf_blocks_at(out, s, 0)->next = plan->shards[s].header.n;
    }
    set_left(out);
    return WF_OK;
}

void wf_blocks_destroy(struct wf_blocks *b)
{
    for (uint64_t i = 0; b->blocks && b->first && i < b->first[b->plan->n_shards]; i++)
        if (b->blocks[i].xxh)
            wf_xxh_destroy(b->blocks[i].xxh);
    for (size_t i = 0; i < b->n_pool; i++)
        wf_xxh_destroy(b->pool[i]);
    wf_free(b->pool);
    wf_free(b->finished);
    wf_free(b->blocks);
    wf_free(b->first);
    *b = (struct wf_blocks){0};
}

void wf_blocks_mark(void *blocks, uint32_t shard, uint64_t block, const struct wf_hash128 *hash)
{
    struct wf_blocks *b = blocks;
    if (block >= wf_plan_blocks(b->plan, shard) || (b->hashing && !hash))
        return;
    struct wf_block *k = wf_blocks_at(b, shard, block);
    if (hash)
        k->hash = *hash;
    k->done = true;
}

void wf_blocks_forget(struct wf_blocks *b)
{
    for (uint64_t i = 0; i < b->first[b->plan->n_shards]; i++)
        b->blocks[i].done = false;
}

/* Of blocks as they are asked for: done ones, this process' own, or those that are both. */
static uint64_t sum_bytes(const struct wf_blocks *b, bool done, bool mine)
{
    uint64_t sum = 0;
    for (uint32_t s = 0; s < b->plan->n_shards; s++)
        for (uint64_t k = 0; k < wf_plan_blocks(b->plan, s); k++)
            if (!done || wf_blocks_at(b, s, k)->done)
                sum += mine ? mine_of(b, s, k) : bytes_in(b, s, k, 0, UINT64_MAX);
    return sum;
}

uint64_t wf_blocks_bytes_done(const struct wf_blocks *b)
{
    return sum_bytes(b, true, false);
}

uint64_t wf_blocks_bytes_mine(const struct wf_blocks *b)
{
    return sum_bytes(b, false, true);
}

uint64_t wf_blocks_bytes_made(const struct wf_blocks *b)
{
    return sum_bytes(b, true, true);
}

bool wf_blocks_is_foreign(const struct wf_blocks *b, uint32_t shard, uint64_t at)
{
    uint64_t place = wf_plan_place(b->first, shard, at);
    return place < b->begin_mine || place >= b->end_mine;
}

bool wf_blocks_is_skipped(const struct wf_blocks *b, uint32_t shard, uint64_t at)
{
    return wf_blocks_at(b, shard, at / WF_BLOCK_BYTES)->done || wf_blocks_is_foreign(b, shard, at);
}

/* Up to where this process' range begins, or to the end of the block. */
uint64_t wf_blocks_skip_foreign(void *blocks, uint32_t shard, uint64_t at)
{
    const struct wf_blocks *b = blocks;
    uint64_t place = wf_plan_place(b->first, shard, at);
    uint64_t end = block_end(b, shard, at / WF_BLOCK_BYTES);
    if (!wf_blocks_is_foreign(b, shard, at))
        return at;
    return place < b->begin_mine ? wf_min_u64(end, at + (b->begin_mine - place)) : end;
}

uint64_t wf_blocks_skip(void *blocks, uint32_t shard, uint64_t at)
{
    const struct wf_blocks *b = blocks;
    if (wf_blocks_at(b, shard, at / WF_BLOCK_BYTES)->done)
        return block_end(b, shard, at / WF_BLOCK_BYTES);
    return wf_blocks_skip_foreign(blocks, shard, at);
}

static bool range_is_done(const struct wf_blocks *b, uint64_t begin, uint64_t end)
{
    uint64_t k = begin / WF_BLOCK_BYTES;
    while (k * WF_BLOCK_BYTES < end && b->blocks[k].done)
        k++;
    return begin >= end || k * WF_BLOCK_BYTES >= end;
}

bool wf_blocks_all_done(const struct wf_blocks *b)
{
    return range_is_done(b, 0, b->first[b->plan->n_shards] * WF_BLOCK_BYTES);
}

bool wf_blocks_mine_done(const struct wf_blocks *b)
{
    return range_is_done(b, b->begin_mine, b->end_mine);
}

bool wf_blocks_claim(struct wf_blocks *b, uint32_t shard, uint64_t begin)
{
    struct wf_block *k = wf_blocks_at(b, shard, begin / WF_BLOCK_BYTES);
    if (!b->hashing || k->shared)
        return true;
    if (k->claimed || k->next != begin)
        return false;
    if (!k->xxh) {
        if (b->n_pool == 0)
            return false;
        k->xxh = b->pool[--b->n_pool];
        wf_xxh_reset(k->xxh);
        const struct wf_str *header = &b->plan->shards[shard].header;
        if (begin == header->n) /* the shard's first piece: the header goes before it */
            wf_xxh_add(k->xxh, header->text, header->n);
    }
    k->claimed = true;
    return true;
}

void wf_blocks_hash(struct wf_blocks *b, uint32_t shard, uint64_t begin, uint64_t end,
                    const void *data)
{
    struct wf_block *k = wf_blocks_at(b, shard, begin / WF_BLOCK_BYTES);
    if (b->hashing && !k->shared)
        wf_xxh_add(k->xxh, data, end - begin);
}

void wf_blocks_release(struct wf_blocks *b, uint32_t shard, uint64_t begin, uint64_t end)
{
    uint64_t block = begin / WF_BLOCK_BYTES;
    struct wf_block *k = wf_blocks_at(b, shard, block);
    k->claimed = false;
    k->next = end;
    if (k->xxh && end == block_end(b, shard, block)) {
        k->hash = wf_xxh_digest(k->xxh);
        b->pool[b->n_pool++] = k->xxh;
        k->xxh = NULL;
    }
}

void wf_blocks_written(struct wf_blocks *b, uint32_t shard, uint64_t begin, uint64_t end)
{
    uint64_t block = begin / WF_BLOCK_BYTES;
    struct wf_block *k = wf_blocks_at(b, shard, block);
    k->left -= end - begin;
    if (k->left == 0)
        b->finished[b->n_finished++] = (struct wf_journal_block){shard, block, b->hashing, k->hash};
}

void wf_blocks_finish_empty(struct wf_blocks *b)
{
    for (uint32_t s = 0; s < b->plan->n_shards; s++) {
        const struct wf_str *header = &b->plan->shards[s].header;
        struct wf_block *k = wf_blocks_at(b, s, 0);
        if (wf_blocks_is_skipped(b, s, 0) || header->n != b->plan->shards[s].bytes)
            continue;
        k->hash = wf_xxh128(header->text, header->n);
        b->finished[b->n_finished++] = (struct wf_journal_block){s, 0, b->hashing, k->hash};
    }
}
