/* disk_probe.c - write a nameless file for a second, read it back for a second. */
#include "disk_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/file.h"
#include "../base/mem.h"
#include "../base/num.h"
#include "../base/str.h"

#define PIECE ((size_t)4 << 20)
#define SYNC_EVERY 4u /* pieces, where the page cache takes writes: keeps the last sync short */
#define PHASE_NS 1000000000u

/* A file that no name leads to: O_TMPFILE, or a name that is removed at once. */
static int open_nameless(struct wf_err *e, const char *folder, int *fd)
{
    struct wf_str path = {0};
    *fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd >= 0)
        return WF_OK;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot create a file", folder);
    wf_str_printf(&path, "%s/.weft-doctor-XXXXXX", folder);
    int s = wf_str_finish(&path, e);
    if (!s) {
        *fd = mkostemp(path.text, O_CLOEXEC);
        if (*fd < 0)
            s = wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot create a file", folder);
        else
            unlink(path.text);
    }
    wf_str_free(&path);
    return s;
}

/* Turns O_DIRECT on if the file system takes it: some say yes and refuse the first write. */
static bool turn_on_direct(int fd, const void *data)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_DIRECT))
        return false;
    if (pwrite(fd, data, 4096, 0) == 4096)
        return true;
    fcntl(fd, F_SETFL, flags);
    return false;
}

static int write_phase(struct wf_err *e, int fd, const char *folder, const void *data,
                       uint64_t bytes_max, struct wf_disk_rate *rate)
{
    uint64_t start = wf_now_ns(), done = 0;
    int s = WF_OK;
    while (!s && done + PIECE <= bytes_max && wf_now_ns() - start < PHASE_NS) {
        s = wf_pwrite(e, fd, folder, data, PIECE, done);
        done += PIECE;
        if (!s && !rate->direct && done / PIECE % SYNC_EVERY == 0)
            s = wf_fdatasync(e, fd, folder);
    }
    if (!s)
        s = wf_fdatasync(e, fd, folder);
    if (s)
        return s;
    rate->bytes = done;
    rate->ns = wf_now_ns() - start;
    return WF_OK;
}

static int read_phase(struct wf_err *e, int fd, const char *folder, void *data, uint64_t bytes,
                      struct wf_disk_rate *rate)
{
    if (!rate->direct) /* what was just synced leaves the cache, and comes from the disk */
        posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    uint64_t start = wf_now_ns(), done = 0;
    while (done + PIECE <= bytes && wf_now_ns() - start < PHASE_NS) {
        int s = wf_pread(e, fd, folder, data, PIECE, done);
        if (s)
            return s;
        done += PIECE;
    }
    rate->bytes = done;
    rate->ns = wf_now_ns() - start;
    return WF_OK;
}

/* Bytes that no file system stores shorter: a Weyl sequence of 64-bit words, mixed once. */
static void fill(uint64_t *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t x = (i + 1) * 0x9e3779b97f4a7c15u;
        words[i] = (x ^ x >> 29) * 0xbf58476d1ce4e5b9u;
    }
}

/* Writing past the limit would end the process (SIGXFSZ). */
static uint64_t within_file_limit(uint64_t bytes)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) || limit.rlim_cur == RLIM_INFINITY
               ? bytes
               : wf_min_u64(bytes, limit.rlim_cur);
}

int wf_disk_measure(struct wf_err *e, const char *folder, uint64_t bytes_max,
                    struct wf_disk_probe *out)
{
    int fd;
    memset(out, 0, sizeof *out);
    void *data = wf_map_pages(e, PIECE, "a disk measurement");
    if (!data)
        return wf_err_status(e);
    fill(data, PIECE / sizeof(uint64_t));
    bytes_max = within_file_limit(bytes_max);
    int s = open_nameless(e, folder, &fd);
    if (!s) {
        out->has_direct = bytes_max >= PIECE && turn_on_direct(fd, data);
        out->write.direct = out->read.direct = out->has_direct;
        s = write_phase(e, fd, folder, data, bytes_max, &out->write);
        if (!s)
            s = read_phase(e, fd, folder, data, out->write.bytes, &out->read);
        close(fd);
    }
    wf_unmap_pages(data, PIECE);
    return s;
}
