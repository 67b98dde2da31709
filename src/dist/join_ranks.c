/* join_ranks.c - sums and gatherings over a transport: meetings, and pieces. */
#include "join_ranks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "../base/mem.h"
#include "../base/num.h"
#include "join_process.h"

struct ranks_join {
    struct wf_join join; /* the first: what is handed out */
    struct wf_join_process *process;
    struct wf_join_options o;
    char doing[128];
    uint64_t sizes[]; /* of each rank, in the operation under way */
};

/* ---- meetings ---- */

enum operation { OPENED = 1, SUM, GATHER, FINISHED };

/* A word that differs between operations: summed over ranks it gives away one that is out of
 * step. */
static uint64_t tag(const struct wf_join_process *p, enum operation op)
{
    return (p->operations * 8 + op) * 0x9e3779b97f4a7c15u;
}

/* Waits until all ranks are at this operation. sizes[] (NULL: of no interest) gets what each of
 * them brings. buffer: tag, sizes. */
static int meet(struct wf_err *e, struct wf_join_process *p, const struct wf_wait *wait,
                enum operation op, uint64_t mine, uint64_t *sizes)
{
    uint64_t *words = wf_transport_buffer(p->thread);
    p->operations++;
    memset(words, 0, (1 + (size_t)p->ranks) * sizeof *words);
    words[0] = tag(p, op);
    words[1 + p->rank] = mine;
    int status = wf_transport_sum(e, p->thread, wait, 1 + (size_t)p->ranks);
    if (status)
        return status;
    if (words[0] != tag(p, op) * p->ranks)
        return wf_fail(e, WF_BUG, "ranks are out of step while %s", wait->doing);
    if (sizes)
        memcpy(sizes, words + 1, p->ranks * sizeof *sizes);
    return WF_OK;
}

/* ---- the two operations ---- */

static int sum(void *arg, struct wf_err *e, uint64_t *values, size_t n)
{
    struct ranks_join *j = arg;
    struct wf_join_process *p = j->process;
    uint64_t *words = wf_transport_buffer(p->thread);
    struct wf_wait arrive = wf_join_wait(&j->o, j->doing, true);
    struct wf_wait move = wf_join_wait(&j->o, j->doing, false);
    size_t most = p->room / sizeof *words;
    int status = meet(e, p, &arrive, SUM, n, j->sizes);
    for (unsigned r = 0; !status && r < p->ranks; r++)
        if (j->sizes[r] != n)
            status = wf_fail(e, WF_BUG, "rank %u sums %" PRIu64 " values, rank %u %zu", r,
                             j->sizes[r], p->rank, n);
    for (size_t at = 0, piece; !status && at < n; at += piece) {
        piece = n - at < most ? n - at : most;
        memcpy(words, values + at, piece * sizeof *words);
        status = wf_transport_sum(e, p->thread, &move, piece);
        if (!status)
            memcpy(values + at, words, piece * sizeof *words);
    }
    return status;
}

/* The part of [at, at + piece) that something of `size` bytes has. */
static size_t part(uint64_t size, uint64_t at, size_t piece)
{
    return at >= size ? 0 : (size_t)wf_min_u64(piece, size - at);
}

/* Pieces [at, at + piece) of all ranks, which stand side by side in the buffer, to their places. */
static void spread(const struct ranks_join *j, const char *pieces, uint64_t at, size_t piece,
                   char *all)
{
    for (unsigned r = 0; r < j->process->ranks; r++) {
        size_t n = part(j->sizes[r], at, piece);
        if (n)
            memcpy(all + at, pieces + r * piece, n);
        all += j->sizes[r];
    }
}

static int gather(void *arg, struct wf_err *e, const void *mine, size_t bytes, void *all,
                  size_t most, size_t *total)
{
    struct ranks_join *j = arg;
    struct wf_join_process *p = j->process;
    char *buffer = wf_transport_buffer(p->thread);
    struct wf_wait arrive = wf_join_wait(&j->o, j->doing, true);
    struct wf_wait move = wf_join_wait(&j->o, j->doing, false);
    size_t room = wf_round_down(p->room / (1 + (size_t)p->ranks), WF_GATHER_ALIGN);
    uint64_t sum_of = 0, largest = 0;
    *total = 0;
    int status = meet(e, p, &arrive, GATHER, bytes, j->sizes);
    for (unsigned r = 0; !status && r < p->ranks; r++) {
        largest = largest > j->sizes[r] ? largest : j->sizes[r];
        if (j->sizes[r] > most - sum_of)
            status = wf_fail(e, WF_BUG, "ranks gather more than %zu bytes", most);
        else
            sum_of += j->sizes[r];
    }
    for (uint64_t at = 0; !status && at < largest;) {
        size_t piece = (size_t)wf_min_u64(room, wf_round_up(largest - at, WF_GATHER_ALIGN));
        size_t n = part(bytes, at, piece);
        memset(buffer + n, 0, piece - n);
        if (n)
            memcpy(buffer, (const char *)mine + at, n);
        status = wf_transport_gather(e, p->thread, &move, piece);
        if (!status)
            spread(j, buffer + piece, at, piece, all);
        at += piece;
    }
    *total = status ? 0 : (size_t)sum_of;
    return status;
}

/* ---- open, close ---- */

int wf_join_open(struct wf_err *e, const struct wf_join_options *o, struct wf_join **out)
{
    *out = NULL;
    struct ranks_join *j =
        wf_alloc(e, WF_MEM_META, 1, sizeof *j + o->ranks * sizeof *j->sizes, "what joins ranks");
    if (!j)
        return WF_MACHINE;
    j->o = *o;
    snprintf(j->doing, sizeof j->doing, "joining %s", o->purpose);
    j->join = (struct wf_join){.ranks = o->ranks, .sum = sum, .gather = gather, .arg = j};
    int status = wf_join_process_start(e, o, &j->process);
    if (!status) {
        struct wf_wait wait = wf_join_wait(o, j->doing, true);
        status = meet(e, j->process, &wait, OPENED, 0, NULL);
    }
    if (status)
        wf_free(j);
    else
        *out = &j->join;
    return status;
}

void wf_join_close(struct wf_join *join)
{
    wf_free(join);
}

int wf_join_finish(struct wf_err *e, const struct wf_join_options *o)
{
    struct wf_join_process *process = wf_join_process();
    if (!process)
        return WF_OK;
    if (wf_transport_is_broken(process->thread))
        return wf_join_process_end(e, o, false);
    struct wf_wait wait = wf_join_wait(o, "taking leave", true);
    int status = meet(e, process, &wait, FINISHED, 0, NULL);
    int ended = wf_join_process_end(e, o, !status);
    return status ? status : ended;
}
