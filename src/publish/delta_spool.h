/* delta_spool.h - takes what tasks keep, in whatever order the stream finds it, and lays it by.
 *
 * The stream's compute threads hand over pieces of tensors (stream/sink.h). What a task keeps of a
 * piece, and has in other bits than the result, is written behind what is there already of the
 * task's spool file, one file for each task; where it is stands in the file's index.
 *
 *   record   | gaps from one kept element to the next: LEB128 | values, of the result's type |
 *
 * A delta's sizes are known when all is spooled: delta_assembly.h then writes it from front to
 * back.
 */
#ifndef WF_DELTA_SPOOL_H
#define WF_DELTA_SPOOL_H

#include <pthread.h>

#include "../format/outfile.h"
#include "../plan/budget.h"
#include "../plan/delta_plan.h"
#include "../stream/sink.h"
#include "spool_index.h"

struct wf_spool_task {
    pthread_mutex_t lock; /* the index and `bytes` */
    struct wf_spool_index index;
    struct wf_outfile file;
    uint64_t bytes; /* of the file */
};

struct wf_spool_bench; /* a compute thread's buffers */

struct wf_delta_spool {
    const struct wf_delta_plan *deltas;
    struct wf_sink sink; /* for the stream */
    uint64_t *first;     /* by job: elements before it; n_jobs + 1 of them */
    struct wf_spool_task *tasks;
    struct wf_spool_bench *benches;
    unsigned n_benches;
};

/* Memory of each compute thread, and of the tables. */
uint64_t wf_delta_spool_thread_bytes(void);
uint64_t wf_delta_spool_table_bytes(const struct wf_delta_plan *d);

/* Makes empty spool files in `folder`. The plan and folder outlive the spool;
 * wf_delta_spool_destroy accepts a half-made one and leaves the files. */
int wf_delta_spool_create(struct wf_err *e, struct wf_arena *a, const struct wf_delta_plan *d,
                          const struct wf_budget *budget, const char *folder,
                          struct wf_delta_spool *out);
void wf_delta_spool_destroy(struct wf_delta_spool *s);

#endif
