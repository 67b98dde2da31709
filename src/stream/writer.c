/* writer.c - writer threads, and the committer that makes finished blocks durable. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "../base/clock.h"
#include "../base/num.h"
#include "ring.h"

void *wf_writer_run(void *ring)
{
    struct wf_ring *r = ring;
    pthread_mutex_lock(&r->lock);
    struct wf_track *track = wf_ring_track(r, "writer", r->n_writers++);
    for (;;) {
        struct wf_slot *slot = r->abandon ? NULL : wf_ring_first(r, WF_SLOT_WRITABLE);
        if (!slot) {
            if (r->closing)
                break;
            pthread_cond_wait(&r->changed[WF_SLOT_WRITABLE], &r->lock);
            continue;
        }
        const struct wf_span *p = &slot->span;
        wf_ring_move(r, slot, WF_SLOT_WRITABLE, WF_SLOT_WRITING);
        pthread_mutex_unlock(&r->lock);
        uint64_t begin = wf_now_ns();
        int status = wf_outfile_write(r->e, &r->outputs[p->shard], wf_slot_output(r, slot),
                                      p->end - p->begin, p->begin);
        uint64_t end = wf_now_ns();
        wf_ring_record(track, slot, "write", "storage", begin, end);
        if (status)
            wf_ring_abandon(r);
        pthread_mutex_lock(&r->lock);
        r->stats.times.write_ns += end - begin;
        if (!status) {
            r->stats.bytes_written += p->end - p->begin;
            wf_blocks_written(r->options->blocks, p->shard, p->begin, p->end);
        }
        wf_ring_move(r, slot, WF_SLOT_WRITING, WF_SLOT_FREE);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* Time between commits, and so the work that is lost with the machine: the least, unless storage is
 * so slow to sync that the journal would take more than COMMIT_SHARE of it. */
#define COMMIT_NS UINT64_C(1000000000)
#define COMMIT_NS_MAX (30 * COMMIT_NS)
#define COMMIT_SHARE 0.005
#define COMMIT_MAX 256u

/* Of the list, what no other rank writes to as well. */
static size_t pick_whole(const struct wf_blocks *b, const struct wf_journal_block *list, size_t n,
                         struct wf_journal_block *whole)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (!wf_blocks_at(b, list[i].shard, list[i].block)->shared)
            whole[m++] = list[i];
    return m;
}

/* Syncs the shards that `list` names, then journals it, which takes *journal_ns. The list is short;
 * a shard that stands in it several times in a row is synced once. */
static int commit(struct wf_ring *r, struct wf_track *track, const struct wf_journal_block *list,
                  size_t n, uint64_t *journal_ns)
{
    uint64_t begin = wf_now_ns();
    *journal_ns = 0;
    struct wf_journal_block whole[COMMIT_MAX];
    size_t n_whole = pick_whole(r->options->blocks, list, n, whole);
    struct wf_trace_arg args[] = {{.name = "blocks", .number = n}, {.name = NULL}};
    for (size_t i = 0; i < n; i++) {
        if (i && list[i].shard == list[i - 1].shard)
            continue;
        int status = wf_outfile_sync(r->e, &r->outputs[list[i].shard]);
        if (status)
            return status;
    }
    uint64_t synced = wf_now_ns();
    int status = n_whole ? wf_journal_add(r->e, r->options->journal, whole, n_whole) : WF_OK;
    *journal_ns = wf_now_ns() - synced;
    wf_trace_span(track, "sync", "storage", begin, synced, args);
    wf_trace_span(track, "journal", "storage", synced, synced + *journal_ns, args);
    return status;
}

/* Under the lock: takes up to COMMIT_MAX finished blocks and commits them. */
static int commit_some(struct wf_ring *r, struct wf_track *track, uint64_t *journal_ns)
{
    struct wf_blocks *b = r->options->blocks;
    struct wf_journal_block list[COMMIT_MAX];
    size_t n = b->n_finished < COMMIT_MAX ? b->n_finished : COMMIT_MAX;
    b->n_finished -= n;
    memcpy(list, b->finished + b->n_finished, n * sizeof *list);
    pthread_mutex_unlock(&r->lock);
    int status = commit(r, track, list, n, journal_ns);
    if (status)
        wf_ring_abandon(r);
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; !status && i < n; i++)
        wf_blocks_at(b, list[i].shard, list[i].block)->done = true;
    return status;
}

/* When the next commit is due after one that took journal_ns. */
static uint64_t next_commit(uint64_t journal_ns)
{
    uint64_t pause = (uint64_t)((double)journal_ns / COMMIT_SHARE);
    return wf_now_ns() + wf_min_u64(COMMIT_NS_MAX, wf_max_u64(COMMIT_NS, pause));
}

void *wf_committer_run(void *ring)
{
    struct wf_ring *r = ring;
    uint64_t due = next_commit(0);
    struct wf_track *track = wf_ring_track(r, "committer", WF_TRACE_ONLY);
    int status = WF_OK;
    pthread_mutex_lock(&r->lock);
    while (!r->committed) {
        struct timespec until = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};
        pthread_cond_timedwait(&r->commit, &r->lock, &until);
        uint64_t journal_ns = 0;
        if (wf_now_ns() < due)
            continue;
        if (!status && r->options->blocks->n_finished)
            status = commit_some(r, track, &journal_ns);
        due = next_commit(journal_ns);
    }
    /* Also after an error or a stop: what is finished is worth keeping. Not after a commit that
     * failed: the kernel reports a lost write once, and the next sync would succeed without it. */
    for (uint64_t journal_ns; !status && r->options->blocks->n_finished;)
        status = commit_some(r, track, &journal_ns);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}
