/* outfile.c - output files written around the page cache; see outfile.h.
 *
 * One range becomes at most three writes:
 *
 *   offset        middle                 middle + direct_n        offset + n
 *     | edge         |  O_DIRECT, whole blocks   |     edge          |
 *
 * Ranges do not overlap, so a block that two ranges share is an edge of both: no block is ever
 * written directly and through the page cache, and the two never disagree.
 */
#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/fault.h"
#include "../base/file.h"
#include "../base/num.h"

#define DIRECT_CHUNK_MAX ((size_t)1 << 30) /* a multiple of every block size */

/* ---- creating and opening ---------------------------------------------------------------------
 */

/* The direct descriptor is an optimisation: a file system that refuses it is no error. */
static void open_direct(struct wf_outfile *f)
{
    struct stat ordinary, direct;
    f->direct_fd = open(f->path, O_WRONLY | O_DIRECT | O_CLOEXEC | O_NOFOLLOW);
    if (f->direct_fd < 0)
        return;
    if (fstat(f->fd, &ordinary) || fstat(f->direct_fd, &direct) ||
        ordinary.st_ino != direct.st_ino || ordinary.st_dev != direct.st_dev) {
        wf_close(f->direct_fd);
        f->direct_fd = -1;
    }
}

static int open_file(struct wf_err *e, enum wf_status absent, struct wf_outfile *f, int flags,
                     const char *what)
{
    struct stat st;
    f->fd = wf_fault(WF_FAULT_OPEN) ? (errno = EIO, -1)
                                    : open(f->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0666);
    if (f->fd < 0 || fstat(f->fd, &st))
        return wf_fail_errno(e, errno == ENOENT ? absent : WF_MACHINE, errno, "%s: cannot %s",
                             f->path, what);
    if (!S_ISREG(st.st_mode))
        return wf_fail(e, WF_MACHINE, "%s: cannot %s: not a regular file", f->path, what);
    return WF_OK;
}

/* 0, or what errno would be. */
static int reserve(int fd, uint64_t bytes)
{
    int failed;
    if (bytes > INT64_MAX)
        return EFBIG;
    if (wf_fault(WF_FAULT_WRITE))
        return ENOSPC;
    if (!bytes)
        return 0; /* fallocate refuses it, and the file is empty already */
    do {
        failed = fallocate(fd, 0, 0, (off_t)bytes);
    } while (failed && errno == EINTR);
    if (failed && (errno == EOPNOTSUPP || errno == ENOSYS))
        failed = ftruncate(fd, (off_t)bytes);
    return failed ? errno : 0;
}

static void start(struct wf_outfile *f, const char *path, uint64_t bytes)
{
    memset(f, 0, sizeof *f);
    f->path = path;
    f->bytes = bytes;
    f->fd = -1;
    f->direct_fd = -1;
    atomic_init(&f->direct_refused, false);
}

int wf_outfile_create(struct wf_err *e, const char *path, uint64_t bytes, bool direct,
                      struct wf_outfile *out)
{
    start(out, path, bytes);
    int s = open_file(e, WF_MACHINE, out, O_CREAT | O_TRUNC, "create");
    if (s) {
        wf_outfile_close(out);
        return s;
    }
    int number = reserve(out->fd, bytes);
    if (number) {
        wf_outfile_close(out);
        unlink(path); /* gives back what was reserved so far */
        return wf_fail_errno(e, WF_MACHINE, number, "%s: cannot reserve %" PRIu64 " bytes", path,
                             bytes);
    }
    if (direct)
        open_direct(out);
    return WF_OK;
}

int wf_outfile_reopen(struct wf_err *e, const char *path, uint64_t bytes, bool direct,
                      struct wf_outfile *out)
{
    struct stat st;
    start(out, path, bytes);
    int s = open_file(e, WF_INPUT, out, 0, "open again");
    if (!s && fstat(out->fd, &st))
        s = wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot open again", path);
    if (!s && (uint64_t)st.st_size != bytes)
        s = wf_fail(e, WF_INPUT,
                    "%s: %" PRIu64 " bytes where an earlier run left %" PRIu64
                    "; start over with --overwrite",
                    path, (uint64_t)st.st_size, bytes);
    if (s) {
        wf_outfile_close(out);
        return s;
    }
    if (direct)
        open_direct(out);
    return WF_OK;
}

/* ---- writing ----------------------------------------------------------------------------------
 */

/* Writes whole blocks directly. *done gets the bytes that are on their way; what is left after a
 * refusal or a short write is for ordinary writes. */
static int write_blocks(struct wf_err *e, struct wf_outfile *f, const char *data, size_t n,
                        uint64_t offset, size_t *done)
{
    *done = 0;
    while (*done < n) {
        size_t part = n - *done < DIRECT_CHUNK_MAX ? n - *done : DIRECT_CHUNK_MAX;
        ssize_t put = wf_fault(WF_FAULT_WRITE)
                          ? (errno = ENOSPC, -1)
                          : pwrite(f->direct_fd, data + *done, part, (off_t)(offset + *done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) {
            atomic_store_explicit(&f->direct_refused, true, memory_order_relaxed);
            return WF_OK;
        }
        if (put < 0)
            return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot write at byte %" PRIu64, f->path,
                                 offset + *done);
        *done += (size_t)put;
        if (put == 0 || (size_t)put % WF_DIRECT_ALIGN)
            return WF_OK;
    }
    return WF_OK;
}

/* The part of [offset, offset+n) that may be written directly, as bytes from its start; *direct_n
 * is 0 if none is. */
static void find_middle(const struct wf_outfile *f, const char *data, size_t n, uint64_t offset,
                        size_t *middle, size_t *direct_n)
{
    *middle = (size_t)(wf_round_up(offset, WF_DIRECT_ALIGN) - offset);
    *direct_n = 0;
    if (f->direct_fd < 0 || atomic_load_explicit(&f->direct_refused, memory_order_relaxed))
        return;
    if (*middle < n && (uintptr_t)(data + *middle) % WF_DIRECT_ALIGN == 0)
        *direct_n = (n - *middle) / WF_DIRECT_ALIGN * WF_DIRECT_ALIGN;
}

int wf_outfile_write(struct wf_err *e, struct wf_outfile *f, const void *data, size_t n,
                     uint64_t offset)
{
    const char *bytes = data;
    size_t middle, direct_n, done = 0;
    if (offset > f->bytes || n > f->bytes - offset)
        return wf_fail(e, WF_BUG,
                       "%s: a write of %zu bytes at %" PRIu64 " leaves the file of %" PRIu64,
                       f->path, n, offset, f->bytes);
    find_middle(f, bytes, n, offset, &middle, &direct_n);
    if (!direct_n)
        return wf_pwrite(e, f->fd, f->path, bytes, n, offset);
    int s = wf_pwrite(e, f->fd, f->path, bytes, middle, offset);
    if (!s)
        s = write_blocks(e, f, bytes + middle, direct_n, offset + middle, &done);
    if (!s)
        s = wf_pwrite(e, f->fd, f->path, bytes + middle + done, n - middle - done,
                      offset + middle + done);
    return s;
}

int wf_outfile_sync(struct wf_err *e, struct wf_outfile *f)
{
    return wf_fdatasync(e, f->fd, f->path);
}

void wf_outfile_close(struct wf_outfile *f)
{
    wf_close(f->direct_fd);
    wf_close(f->fd);
    f->direct_fd = -1;
    f->fd = -1;
}
