/* journal.h - what of OUT.partial is safe on disk, so that a later run can go on.
 *
 * A text file, OUT.partial/weft.journal, one record a line, each with a checksum of itself:
 *
 *   weft-journal 1                               CHECK
 *   part NUMBER HASH                             CHECK     what the plan's hash is made of
 *   plan HASH                                    CHECK
 *   block SHARD INDEX HASH                       CHECK     64 MiB of a shard, synced; HASH or '-'
 *
 * A line is appended only after the data it speaks of were synced. A torn or damaged tail is
 * ignored. Each of several ranks has a journal of its own, weft.journal.RANK, while it works; rank
 * 0 moves what they say into weft.journal. The open journal is locked as well as its folder
 * (publish/output.h): where a file system (NFS) locks no folders, this lock keeps a second weft
 * away.
 */
#ifndef WF_JOURNAL_H
#define WF_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/hash.h"
#include "../base/status.h"
#include "../plan/plan.h"

#define WF_JOURNAL_NAME "weft.journal"
/* Beside it (statistics_file.h): of the merge, and of its task deltas. */
#define WF_STATISTICS_NAME "weft.statistics"
#define WF_STATISTICS_DELTAS_NAME "weft.statistics-deltas"

struct wf_journal {
    const char *path; /* not owned */
    int fd;
    uint64_t bytes; /* end of the good part */
};

enum wf_journal_state {
    WF_JOURNAL_NONE,  /* not there, or nothing readable in it: start over */
    WF_JOURNAL_SAME,  /* of this plan */
    WF_JOURNAL_OTHER, /* of another plan: *differs says which part */
};

/* Opens path (creating it if `create`) and takes the lock. Held by another process: WF_MACHINE.
 * Not there and not `create`: j->fd is -1, WF_OK. */
int wf_journal_open(struct wf_err *e, const char *path, bool create, struct wf_journal *j);

/* Opens it for reading alone and without the lock, as far as it is there: WF_OK and fd -1 if it
 * is not, or is no file. */
int wf_journal_look(struct wf_err *e, const char *path, struct wf_journal *j);

/* Reads the records. `on_block` is called for every finished block once the plan is known to be the
 * same. `differs` gets the first part that is not equal. */
int wf_journal_load(struct wf_err *e, struct wf_journal *j, const struct wf_plan *plan,
                    enum wf_journal_state *state, enum wf_plan_part *differs,
                    void (*on_block)(void *arg, uint32_t shard, uint64_t block,
                                     const struct wf_hash128 *hash),
                    void *arg);

/* Empties the file and writes the head for `plan`, synced. */
int wf_journal_begin(struct wf_err *e, struct wf_journal *j, const struct wf_plan *plan);

struct wf_journal_block {
    uint32_t shard;
    uint64_t block;
    bool hashed;
    struct wf_hash128 hash;
};
/* Appends records and syncs. */
int wf_journal_add(struct wf_err *e, struct wf_journal *j, const struct wf_journal_block *blocks,
                   size_t n);

void wf_journal_close(struct wf_journal *j);

#endif
