/* spool_index.h - where the records of a spool file are: a table that is written out as it grows,
 * so that it takes the same memory for a model of any size, and is read back, whole, when the
 * stream's memory is free again.
 */
#ifndef WF_SPOOL_INDEX_H
#define WF_SPOOL_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "../base/status.h"
#include "../format/outfile.h"

/* What is kept of one piece; at least one element. */
struct wf_spooled {
    uint64_t element;   /* the first kept one, counted through all jobs: first[job] + its index */
    uint64_t at;        /* of the record in the spool file */
    uint16_t more;      /* kept elements behind the first */
    uint16_t gap_bytes; /* their gaps; at most an element's distance each */
    uint16_t span;      /* from the first kept one to the last */
};

#define WF_SPOOL_INDEX_RECORDS 2048u /* in memory */

struct wf_spool_index {
    struct wf_outfile file;
    struct wf_spooled *buffer;
    size_t n_buffered;
    uint64_t n_written;
};

/* Makes the file at `path`, which outlives the index. Close accepts a zeroed or half-made one, and
 * leaves the file. */
int wf_spool_index_create(struct wf_err *e, const char *path, struct wf_spool_index *index);
void wf_spool_index_close(struct wf_spool_index *index);

/* One caller at a time. */
int wf_spool_index_add(struct wf_err *e, struct wf_spool_index *index,
                       const struct wf_spooled *record);

static inline uint64_t wf_spool_index_count(const struct wf_spool_index *index)
{
    return index->n_written + index->n_buffered;
}

/* All records, in the order in which they came, in memory of wf_alloc. */
int wf_spool_index_load(struct wf_err *e, const struct wf_spool_index *index,
                        struct wf_spooled **records);

#endif
