/* infile.c - input files: cached or direct, opened once. */
#include "infile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/fault.h"
#include "../base/num.h"
#include "outfile.h"

#define DIRECT_BYTES_MIN (64u << 10)
#define DIRECT_SHARE_MAX 0.5 /* cached less than this: go around the cache */
#define CACHED_SHARE_MIN 0.9 /* cached at least this: reading is copying */
#define PROBES 16

/* Linux 6.5's cachestat(2); -1 where the kernel has none. */
static int64_t cached_pages(int fd, uint64_t bytes)
{
    struct {
        uint64_t offset, length;
    } range = {0, bytes};
    struct {
        uint64_t cached, dirty, writeback, evicted, recently_evicted;
    } stat = {0};
#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif
    if (syscall(SYS_cachestat, fd, &range, &stat, 0))
        return -1;
    return (int64_t)stat.cached;
}

/* The share of the file that is in the page cache, 0 to 1. Without cachestat: probes at places that
 * differ from run to run, so that a probe's own read-ahead is not found again. */
static double cached_share(int fd, uint64_t bytes)
{
    int64_t pages = cached_pages(fd, bytes);
    if (pages >= 0)
        return (double)pages * 4096 / (double)bytes;
    uint64_t at = wf_now_ns();
    int hits = 0;
    for (int i = 0; i < PROBES; i++) {
        char byte;
        struct iovec v = {&byte, 1};
        at = at * 6364136223846793005u + 1442695040888963407u;
        hits += preadv2(fd, &v, 1, (off_t)((at >> 16) % bytes), RWF_NOWAIT) == 1;
    }
    return (double)hits / PROBES;
}

static int changed(struct wf_err *e, const char *path)
{
    return wf_fail(e, WF_INPUT, "%s: the file changed while weft was at work", path);
}

int wf_infile_open(struct wf_err *e, const char *path, const struct wf_file_id *id, enum wf_io mode,
                   struct wf_infile *f)
{
    struct wf_file_id now = {0};
    f->path = path;
    f->id = *id;
    f->fd = f->direct_fd = -1;
    int status = wf_open_read(e, WF_INPUT, path, &f->fd, &now);
    if (status)
        return status;
    if (now.bytes != id->bytes || now.inode != id->inode || now.mtime_ns != id->mtime_ns) {
        wf_infile_close(f);
        return changed(e, path);
    }
    double share = mode == WF_IO_DIRECT || !id->bytes ? 0.0 : cached_share(f->fd, id->bytes);
    bool direct = mode == WF_IO_DIRECT || (mode == WF_IO_AUTO && share < DIRECT_SHARE_MAX);
    f->cached = share >= CACHED_SHARE_MIN;
    if (direct && id->bytes >= DIRECT_BYTES_MIN)
        f->direct_fd = open(path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    return WF_OK;
}

/* Whole pages around the range by direct I/O. False if the file system refuses: the caller reads
 * through the page cache then, as it does with what is missing at the end. */
static bool read_direct(struct wf_infile *f, char *to, uint64_t offset, uint64_t bytes)
{
    uint64_t begin = wf_round_down(offset, WF_DIRECT_ALIGN);
    uint64_t end = wf_round_up(offset + bytes, WF_DIRECT_ALIGN), at = begin;
    while (at < offset + bytes) {
        ssize_t got = pread(f->direct_fd, to - (offset - at), end - at, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno != EIO)
            atomic_store(&f->direct_refused, true);
        if (got <= 0)
            return false;
        at += (uint64_t)got;
        if (at < offset + bytes && at % WF_DIRECT_ALIGN)
            return false; /* the file ends here: it was cut */
    }
    return true;
}

int wf_infile_read(struct wf_err *e, struct wf_infile *f, void *to, uint64_t offset, uint64_t bytes)
{
    if (f->direct_fd < 0 || bytes < DIRECT_BYTES_MIN || atomic_load(&f->direct_refused))
        return wf_pread(e, f->fd, f->path, to, bytes, offset);
    if (wf_fault(WF_FAULT_READ))
        return wf_fail_errno(e, WF_INPUT, EIO, "%s: cannot read at byte %" PRIu64, f->path, offset);
    return read_direct(f, to, offset, bytes) ? WF_OK
                                             : wf_pread(e, f->fd, f->path, to, bytes, offset);
}

int wf_infile_check(struct wf_err *e, struct wf_infile *f)
{
    struct stat s;
    if (fstat(f->fd, &s))
        return wf_fail_errno(e, WF_INPUT, errno, "%s: cannot look at it again", f->path);
    int64_t mtime = (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec;
    if ((uint64_t)s.st_size != f->id.bytes || mtime != f->id.mtime_ns)
        return changed(e, f->path);
    return WF_OK;
}

void wf_infile_close(struct wf_infile *f)
{
    wf_close(f->fd);
    wf_close(f->direct_fd);
    f->fd = f->direct_fd = -1;
}
