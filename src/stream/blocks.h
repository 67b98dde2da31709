/* blocks.h - the 64 MiB blocks of the output files: checksums as the bytes pass, and what is done.
 *
 * Bytes of a block are hashed in file order (the checksum needs that), by whichever thread has the
 * next piece, and written in any order. A block is finished when all its bytes are hashed and
 * written; the committer then makes it durable and journals it.
 *
 *   block k   |#### hashed ####|next                     |
 *             |## written ##|    |## written ##|
 *
 * A block that a border between ranks cuts is *shared*: two processes write it, neither can hash it
 * or journal it, and its work is lost if they stop. Once all are done rank 0 reads it for its
 * checksum (publish/rank_output.c).
 *
 * Not thread-safe by itself: the stream calls it under its lock, except wf_blocks_hash, which
 * works on a block that the caller has claimed.
 */
#ifndef WF_BLOCKS_H
#define WF_BLOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/hash.h"
#include "../base/status.h"
#include "../plan/span.h"
#include "journal.h"

struct wf_block {
    uint64_t next;      /* hashed up to here (file offset) */
    uint64_t left;      /* bytes that this process has not yet handed to the disk, header aside */
    struct wf_xxh *xxh; /* while some of the block is hashed */
    struct wf_hash128 hash;
    bool claimed; /* a thread is hashing its next piece */
    bool shared;
    bool done; /* durable and in the journal; if it is shared, what this process makes of it is
                  durable and no more */
};

struct wf_blocks {
    const struct wf_plan *plan;
    uint64_t begin_mine, end_mine; /* places (wf_plan_place) that this process makes: all, unless it
                                      is one of several ranks */
    bool hashing;                  /* --manifest xxh3 */
    struct wf_block *blocks;
    uint64_t *first;                   /* per shard: index of its block 0; n_shards + 1 entries */
    struct wf_journal_block *finished; /* not yet durable; room for every block */
    size_t n_finished;
    struct wf_xxh **pool; /* free checksum states */
    size_t n_pool, pool_max;
};

/* `active_max`: blocks that can be open at once (slots + 1). Freed with wf_blocks_destroy. */
int wf_blocks_create(struct wf_err *e, const struct wf_plan *plan, bool hashing, size_t active_max,
                     struct wf_blocks *out);
void wf_blocks_destroy(struct wf_blocks *b);

struct wf_block *wf_blocks_at(const struct wf_blocks *b, uint32_t shard, uint64_t block);

/* Leaves to this process what range `rank` of a deal has (plan/deal.h): ranks + 1 places. */
void wf_blocks_share(struct wf_blocks *b, const uint64_t *begin, uint32_t ranks, uint32_t rank);

/* Marks a block that an earlier run finished. `hash` NULL: it was not hashed. Usable as the
 * callback of wf_journal_load. */
void wf_blocks_mark(void *blocks, uint32_t shard, uint64_t block, const struct wf_hash128 *hash);

/* Takes all marks back: the files they speak of are not there. */
void wf_blocks_forget(struct wf_blocks *b);

/* Output bytes, headers aside, of the blocks that are done. */
uint64_t wf_blocks_bytes_done(const struct wf_blocks *b);

/* Whether this process has nothing to make of the block at byte `at` of the shard's file: it is
 * done, or there it is another rank's. */
bool wf_blocks_is_skipped(const struct wf_blocks *b, uint32_t shard, uint64_t at);
/* It is another rank's. */
bool wf_blocks_is_foreign(const struct wf_blocks *b, uint32_t shard, uint64_t at);
/* Where that ends, for wf_span_next. */
uint64_t wf_blocks_skip(void *blocks, uint32_t shard, uint64_t at);
uint64_t wf_blocks_skip_foreign(void *blocks, uint32_t shard, uint64_t at);

/* Every block of every rank is done; every block of this one. */
bool wf_blocks_all_done(const struct wf_blocks *b);
bool wf_blocks_mine_done(const struct wf_blocks *b);
/* Output bytes, headers aside, of the blocks that this process makes or made. */
uint64_t wf_blocks_bytes_mine(const struct wf_blocks *b);
/* Of these, what is done. */
uint64_t wf_blocks_bytes_made(const struct wf_blocks *b);

/* Shards without a byte of data are finished before the stream starts: only their header counts. Of
 * this process' blocks. */
void wf_blocks_finish_empty(struct wf_blocks *b);

/* Claims the block for the piece that begins at `begin`; false if the piece is not next or the
 * block is claimed. Always true of what is not hashed. */
bool wf_blocks_claim(struct wf_blocks *b, uint32_t shard, uint64_t begin);
/* Hashes the claimed block's next piece (call without the lock), then wf_blocks_release. */
void wf_blocks_hash(struct wf_blocks *b, uint32_t shard, uint64_t begin, uint64_t end,
                    const void *data);
void wf_blocks_release(struct wf_blocks *b, uint32_t shard, uint64_t begin, uint64_t end);

/* A piece was written; moves the block to `finished` when it was the last. */
void wf_blocks_written(struct wf_blocks *b, uint32_t shard, uint64_t begin, uint64_t end);

#endif
