/* spool_index.c - the table of a spool file, on disk but for its end. */
#include "spool_index.h"

#include <string.h>

#include "../base/file.h"
#include "../base/mem.h"
#include "../base/num.h"

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

static int write_out(struct wf_err *e, struct wf_spool_index *index)
{
    size_t each = sizeof *index->buffer;
    int status = wf_pwrite(e, index->file.fd, index->file.path, index->buffer,
                           index->n_buffered * each, index->n_written * each);
    index->n_written += index->n_buffered;
    index->n_buffered = 0;
    return status;
}

int wf_spool_index_add(struct wf_err *e, struct wf_spool_index *index,
                       const struct wf_spooled *record)
{
    index->buffer[index->n_buffered++] = *record;
    return index->n_buffered < WF_SPOOL_INDEX_RECORDS ? WF_OK : write_out(e, index);
}

int wf_spool_index_seal(struct wf_err *e, struct wf_spool_index *index, uint16_t rank,
                        uint64_t spool_bytes)
{
    struct wf_spooled seal = {.element = WF_SPOOL_SEAL, .at = spool_bytes, .rank = rank};
    int status = wf_spool_index_add(e, index, &seal);
    if (!status && index->n_buffered)
        status = write_out(e, index);
    return status ? status : wf_outfile_sync(e, &index->file);
}

static int not_whole(struct wf_err *e, const char *path, unsigned rank)
{
    return wf_fail(e, WF_MACHINE,
                   "%s: not what rank %u has written; do all ranks share one file system?", path,
                   rank);
}

/* The last record of the table of n; `fd` is open. */
static int read_seal(struct wf_err *e, int fd, const char *path, uint16_t rank, uint64_t n,
                     uint64_t *spool_bytes)
{
    struct wf_spooled seal = {0};
    int status = n ? wf_pread(e, fd, path, &seal, sizeof seal, (n - 1) * sizeof seal) : WF_OK;
    *spool_bytes = seal.at;
    if (status || (seal.element == WF_SPOOL_SEAL && seal.rank == rank))
        return status;
    return not_whole(e, path, rank);
}

/* Records [from, from + n) of the table, by way of `room`. */
static int adopt_some(struct wf_err *e, struct wf_spool_index *index, int fd, const char *path,
                      uint16_t rank, uint64_t spool_bytes, uint64_t from, size_t n,
                      struct wf_spooled *room)
{
    int status = wf_pread(e, fd, path, room, n * sizeof *room, from * sizeof *room);
    for (size_t i = 0; !status && i < n; i++) {
        if (room[i].rank != rank || room[i].element == WF_SPOOL_SEAL || room[i].at >= spool_bytes)
            return not_whole(e, path, rank);
        status = wf_spool_index_add(e, index, &room[i]);
    }
    return status;
}

int wf_spool_index_adopt(struct wf_err *e, struct wf_spool_index *index, const char *path,
                         uint16_t rank, uint64_t *spool_bytes)
{
    struct wf_file_id id;
    int fd = -1;
    int status = wf_open_read(e, WF_MACHINE, path, &fd, &id);
    if (status)
        return status;
    uint64_t n = id.bytes / sizeof(struct wf_spooled), most = WF_SPOOL_INDEX_RECORDS;
    struct wf_spooled *room =
        wf_alloc(e, WF_MEM_META, most, sizeof *room, "the table of a task delta");
    if (!room)
        status = WF_MACHINE;
    else if (id.bytes % sizeof *room)
        status = not_whole(e, path, rank);
    if (!status)
        status = read_seal(e, fd, path, rank, n, spool_bytes);
    for (uint64_t at = 0; !status && at + 1 < n; at += most)
        status = adopt_some(e, index, fd, path, rank, *spool_bytes, at,
                            (size_t)wf_min_u64(most, n - 1 - at), room);
    wf_free(room);
    wf_close(fd);
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
