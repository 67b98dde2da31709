/* made_file.c - files written from front to back. */
#include "made_file.h"

#include <inttypes.h>
#include <string.h>

#include "../base/file.h"
#include "../base/num.h"
#include "../plan/budget.h"

#define BUFFER_BYTES (1u << 20) /* divides WF_BLOCK_BYTES: a block ends where a buffer does */

int wf_making_begin(struct wf_err *e, struct wf_arena *a, const char *path, uint64_t bytes,
                    bool hashing, bool direct, struct wf_making *m)
{
    *m = (struct wf_making){.e = e, .file = {.fd = -1, .direct_fd = -1}};
    uint64_t n_blocks = bytes / WF_BLOCK_BYTES + 1;
    m->buffer = wf_map_pages(e, BUFFER_BYTES, "an output file");
    if (!m->buffer)
        return WF_MACHINE;
    if (hashing) {
        m->blocks = wf_arena_alloc(a, e, n_blocks, sizeof *m->blocks);
        m->xxh = wf_xxh_create(e);
        if (!m->blocks || !m->xxh)
            return WF_MACHINE;
        wf_xxh_reset(m->xxh);
    }
    return wf_outfile_create(e, path, bytes, direct, &m->file);
}

static int flush(struct wf_making *m)
{
    if (!m->fill)
        return WF_OK;
    if (m->xxh)
        wf_xxh_add(m->xxh, m->buffer, m->fill);
    int status = wf_outfile_write(m->e, &m->file, m->buffer, m->fill, m->at);
    m->at += m->fill;
    m->fill = 0;
    bool ends = m->at % WF_BLOCK_BYTES == 0 || m->at == m->file.bytes;
    if (m->xxh && ends) {
        m->blocks[(m->at - 1) / WF_BLOCK_BYTES] = wf_xxh_digest(m->xxh);
        wf_xxh_reset(m->xxh);
    }
    return status;
}

int wf_making_put(struct wf_making *m, const void *data, size_t n)
{
    const char *from = data;
    int status = WF_OK;
    for (size_t part; !status && n; from += part, n -= part) {
        part = wf_min_u64(n, BUFFER_BYTES - m->fill);
        memcpy(m->buffer + m->fill, from, part);
        m->fill += part;
        if (m->fill == BUFFER_BYTES)
            status = flush(m);
    }
    return status;
}

int wf_making_byte(struct wf_making *m, uint8_t byte)
{
    m->buffer[m->fill++] = byte;
    return m->fill == BUFFER_BYTES ? flush(m) : WF_OK;
}

int wf_making_end(struct wf_making *m, struct wf_made_file *out)
{
    int status = flush(m);
    if (!status && m->at != m->file.bytes)
        status = wf_fail(m->e, WF_BUG, "%s: %" PRIu64 " bytes of %" PRIu64 " were made",
                         m->file.path, m->at, m->file.bytes);
    if (!status)
        status = wf_outfile_sync(m->e, &m->file);
    out->bytes = m->file.bytes;
    out->blocks = m->blocks;
    out->n_blocks = m->blocks ? (out->bytes + WF_BLOCK_BYTES - 1) / WF_BLOCK_BYTES : 0;
    return status;
}

void wf_making_close(struct wf_making *m)
{
    if (m->buffer) {
        wf_outfile_close(&m->file);
        wf_unmap_pages(m->buffer, BUFFER_BYTES);
    }
    wf_xxh_destroy(m->xxh);
    m->buffer = NULL;
    m->xxh = NULL;
}

/* Bytes [begin, end) of a file through `xxh`, which is reset before. */
static int hash_range(struct wf_err *e, int fd, const char *path, uint64_t begin, uint64_t end,
                      struct wf_xxh *xxh, char *buffer, const volatile int *stop,
                      struct wf_hash128 *out)
{
    int status = WF_OK;
    wf_xxh_reset(xxh);
    for (uint64_t at = begin; !status && at < end; at += BUFFER_BYTES) {
        size_t n = wf_min_u64(BUFFER_BYTES, end - at);
        status = wf_pread(e, fd, path, buffer, n, at);
        if (!status && *stop)
            status = wf_fail(e, WF_STOPPED, "stopped by a signal while checksums were made");
        if (!status)
            wf_xxh_add(xxh, buffer, n);
    }
    *out = wf_xxh_digest(xxh);
    return status;
}

int wf_made_file_hash(struct wf_err *e, const char *path, uint64_t first, uint64_t n,
                      const volatile int *stop, struct wf_hash128 *out)
{
    struct wf_file_id id = {0};
    struct wf_xxh *xxh = wf_xxh_create(e);
    char *buffer = wf_alloc(e, WF_MEM_TEXT, BUFFER_BYTES, 1, "a checksum");
    int fd = -1, status = xxh && buffer ? wf_open_read(e, WF_MACHINE, path, &fd, &id) : WF_MACHINE;
    for (uint64_t k = first; !status && k < first + n; k++)
        status = hash_range(e, fd, path, k * WF_BLOCK_BYTES,
                            wf_min_u64((k + 1) * WF_BLOCK_BYTES, id.bytes), xxh, buffer, stop,
                            &out[k - first]);
    wf_close(fd);
    wf_free(buffer);
    wf_xxh_destroy(xxh);
    return status;
}

int wf_made_file_read(struct wf_err *e, struct wf_arena *a, const char *path, bool hashing,
                      const volatile int *stop, struct wf_made_file *out)
{
    struct wf_file_id id = {0};
    int fd = -1, status = wf_open_read(e, WF_MACHINE, path, &fd, &id);
    wf_close(fd);
    out->bytes = id.bytes;
    out->blocks = NULL;
    out->n_blocks = 0;
    if (status || !hashing)
        return status;
    out->n_blocks = (out->bytes + WF_BLOCK_BYTES - 1) / WF_BLOCK_BYTES;
    out->blocks = wf_arena_alloc(a, e, out->n_blocks, sizeof *out->blocks);
    return out->blocks ? wf_made_file_hash(e, path, 0, out->n_blocks, stop, out->blocks)
                       : WF_MACHINE;
}
