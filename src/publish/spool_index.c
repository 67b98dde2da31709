/* spool_index.c - the table of a spool file, on disk but for its end. */
#include "spool_index.h"

#include <string.h>

#include "../base/file.h"
#include "../base/mem.h"

int wf_spool_index_create(struct wf_err *e, const char *path, struct wf_spool_index *index)
{
    *index = (struct wf_spool_index){.file = {.fd = -1, .direct_fd = -1}};
    index->buffer = wf_alloc(e, WF_MEM_META, WF_SPOOL_INDEX_RECORDS, sizeof *index->buffer,
                             "the table of a task delta");
    return index->buffer ? wf_outfile_create(e, path, 0, false, &index->file) : WF_MACHINE;
}

void wf_spool_index_close(struct wf_spool_index *index)
{
    if (index->buffer)
        wf_outfile_close(&index->file);
    wf_free(index->buffer);
    *index = (struct wf_spool_index){0};
}

int wf_spool_index_add(struct wf_err *e, struct wf_spool_index *index,
                       const struct wf_spooled *record)
{
    int status = WF_OK;
    index->buffer[index->n_buffered++] = *record;
    if (index->n_buffered < WF_SPOOL_INDEX_RECORDS)
        return WF_OK;
    status = wf_pwrite(e, index->file.fd, index->file.path, index->buffer,
                       index->n_buffered * sizeof *record, index->n_written * sizeof *record);
    index->n_written += index->n_buffered;
    index->n_buffered = 0;
    return status;
}

int wf_spool_index_load(struct wf_err *e, const struct wf_spool_index *index,
                        struct wf_spooled **records)
{
    uint64_t n = wf_spool_index_count(index);
    *records = wf_alloc(e, WF_MEM_META, n, sizeof **records, "the table of a task delta");
    if (!*records)
        return WF_MACHINE;
    memcpy(*records + index->n_written, index->buffer, index->n_buffered * sizeof **records);
    return wf_pread(e, index->file.fd, index->file.path, *records,
                    index->n_written * sizeof **records, 0);
}
