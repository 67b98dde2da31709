/* spool_index.h - where the records of a spool file are: a table that is written out as it grows,
 * so that it takes the same memory for a model of any size, and is read back, whole, when the
 * stream's memory is free again.
 *
 * Among several ranks each has a table of its own, which it seals when it is complete; rank 0
 * adopts the others' into its own.
 *
 *   rank 1    | record | record | ... | seal |      a record with `element` WF_SPOOL_SEAL: `at` is
 *                                                   the length of the spool file
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
    uint16_t rank;      /* whose spool file it is */
};

#define WF_SPOOL_SEAL UINT64_MAX

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

/* Nothing is added any more: the table is written and synced, for rank 0 to read. `spool_bytes` is
 * the length of the spool file that it is about. */
int wf_spool_index_seal(struct wf_err *e, struct wf_spool_index *index, uint16_t rank,
                        uint64_t spool_bytes);

/* Adds the records of the sealed table at `path`, which another rank has made; *spool_bytes is what
 * it says of the spool file. WF_MACHINE where it is not whole. */
int wf_spool_index_adopt(struct wf_err *e, struct wf_spool_index *index, const char *path,
                         uint16_t rank, uint64_t *spool_bytes);

/* All records, in the order in which they came, in memory of wf_alloc. */
int wf_spool_index_load(struct wf_err *e, const struct wf_spool_index *index,
                        struct wf_spooled **records);

#endif
