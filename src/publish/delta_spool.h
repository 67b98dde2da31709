/* delta_spool.h - takes what tasks keep, in whatever order the stream finds it, and lays it by.
 *
 * The stream's compute threads hand over pieces of tensors (stream/sink.h). What a task keeps of a
 * piece is written behind what is there already of the task's spool file, one file for each task;
 * where it is stands in the file's index.
 *
 *   record   | gaps from one kept element to the next: LEB128 | values |
 *
 * A delta's sizes are known when all is spooled: delta_assembly.h then writes it from front to
 * back.
 *
 * Among several ranks each spools what its share of the stream brings, below a folder of its own:
 *
 *   FOLDER/0/1  FOLDER/0/1.index  FOLDER/0/2 ...      rank 0, tasks 1, 2 ...
 *   FOLDER/1/1  FOLDER/1/1.index  ...                 rank 1: sealed when its share is done, then
 *                                                     adopted by rank 0, which assembles
 */
#ifndef WF_DELTA_SPOOL_H
#define WF_DELTA_SPOOL_H

#include <pthread.h>

#include "../format/outfile.h"
#include "../plan/budget.h"
#include "../stream/sink.h"
#include "spool_index.h"

/* The values of kept elements: those with a share that is not zero. */
enum wf_spool_values {
    WF_SPOOL_REPLACE, /* the task's own numbers, of the result's type, where they have other bits */
    WF_SPOOL_ADD,     /* there, what they differ by */
    WF_SPOOL_SHARE    /* the shares: float, or double where the job is wide */
};

/* What is spooled. */
struct wf_spool_subject {
    const struct wf_plan *plan; /* whose jobs the pieces are of */
    const char *const *tasks;   /* their names; number i is input i + 1 of the jobs */
    size_t n_tasks;
    enum wf_spool_values values;
    const char *density; /* as the recipe has it */
};

/* The type of a job's values. */
enum wf_dtype wf_spool_dtype(const struct wf_spool_subject *s, const struct wf_job *job);

struct wf_spool_task {
    pthread_mutex_t lock; /* the index and `bytes` */
    struct wf_spool_index index;
    struct wf_outfile file;
    uint64_t bytes; /* of the file */
};

/* Where it is spooled. */
struct wf_spool_place {
    const char *folder;   /* of all ranks */
    unsigned rank, ranks; /* 0 of 1: one process */
};

struct wf_spool_bench; /* a compute thread's buffers */

struct wf_delta_spool {
    const struct wf_spool_subject *subject;
    struct wf_spool_place place;
    struct wf_sink sink; /* for the stream; its method, map, pairs and `only` are the caller's */
    uint64_t *first;     /* by job: elements before it; n_jobs + 1 of them */
    struct wf_spool_task *tasks;
    struct wf_spool_bench *benches;
    unsigned n_benches;
};

/* Memory of each compute thread, and of the tables. */
uint64_t wf_delta_spool_thread_bytes(void);
uint64_t wf_delta_spool_table_bytes(const struct wf_plan *plan, size_t n_tasks);

/* Makes this rank's folder and empty spool files in place->folder, which is there. The subject and
 * the place's folder outlive the spool; wf_delta_spool_destroy accepts a half-made one and leaves
 * the files. */
int wf_delta_spool_create(struct wf_err *e, struct wf_arena *a,
                          const struct wf_spool_subject *subject, const struct wf_budget *budget,
                          const struct wf_spool_place *place, struct wf_delta_spool *out);
void wf_delta_spool_destroy(struct wf_delta_spool *s);

/* When this rank's share is spooled. Rank r > 0: it is on disk, and nothing is added any more. */
int wf_delta_spool_seal(struct wf_err *e, struct wf_delta_spool *s);
/* Rank 0, when all others have sealed theirs: what they spooled is in its tables as well. */
int wf_delta_spool_adopt(struct wf_err *e, struct wf_delta_spool *s);

/* The spool file of a rank for task number `task`; in the arena. */
char *wf_delta_spool_path(struct wf_err *e, struct wf_arena *a, const struct wf_delta_spool *s,
                          unsigned rank, size_t task);
/* Gives back the disk that the task's spool files take, of all ranks. */
void wf_delta_spool_drop(struct wf_delta_spool *s, size_t task);

#endif
