/* file.c - files, with errors that name path, offset and cause. */
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"
#include "num.h"

/* A system call never gets more than this at once: Linux stops at 2 GiB - 4 KiB anyway. */
#define IO_CHUNK_MAX ((size_t)1 << 30)

int wf_open_read(struct wf_err *e, enum wf_status status, const char *path, int *fd,
                 struct wf_file_id *id)
{
    struct stat s;
    *fd = -1;
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. It has no effect on regular files. */
    int f = wf_fault(WF_FAULT_OPEN) ? (errno = EIO, -1)
                                    : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (f < 0 || fstat(f, &s)) {
        int number = errno;
        bool ours = number == EMFILE || number == ENFILE || number == ENOMEM;
        wf_close(f);
        return wf_fail_errno(e, ours ? WF_MACHINE : status, number, "%s: cannot open%s", path,
                             number == EMFILE ? " (raise the limit with ulimit -n)" : "");
    }
    if (!S_ISREG(s.st_mode)) {
        close(f);
        return wf_fail(e, status, "%s: not a regular file", path);
    }
    if (id)
        *id = (struct wf_file_id){(uint64_t)s.st_size, (uint64_t)s.st_dev, (uint64_t)s.st_ino,
                                  (int64_t)s.st_mtim.tv_sec * 1000000000 + s.st_mtim.tv_nsec};
    *fd = f;
    return WF_OK;
}

void wf_close(int fd)
{
    if (fd >= 0)
        close(fd);
}

int wf_pread(struct wf_err *e, int fd, const char *path, void *data, size_t n, uint64_t offset)
{
    size_t done = 0;
    while (done < n) {
        size_t part = n - done < IO_CHUNK_MAX ? n - done : IO_CHUNK_MAX;
        ssize_t got = wf_fault(WF_FAULT_READ)
                          ? (errno = EIO, -1)
                          : pread(fd, (char *)data + done, part, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return wf_fail_errno(e, WF_INPUT, errno, "%s: cannot read at byte %" PRIu64, path,
                                 offset + done);
        if (got == 0)
            return wf_fail(e, WF_INPUT, "%s: the file ends at byte %" PRIu64 ", %zu bytes too soon",
                           path, offset + done, n - done);
        done += (size_t)got;
    }
    return WF_OK;
}

int wf_pwrite(struct wf_err *e, int fd, const char *path, const void *data, size_t n,
              uint64_t offset)
{
    size_t done = 0;
    while (done < n) {
        size_t part = n - done < IO_CHUNK_MAX ? n - done : IO_CHUNK_MAX;
        ssize_t put = wf_fault(WF_FAULT_WRITE)
                          ? (errno = ENOSPC, -1)
                          : pwrite(fd, (const char *)data + done, part, (off_t)(offset + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return wf_fail_errno(e, WF_MACHINE, put ? errno : ENOSPC,
                                 "%s: cannot write at byte %" PRIu64, path, offset + done);
        done += (size_t)put;
    }
    return WF_OK;
}

int wf_lock_fd(struct wf_err *e, int fd, const char *path)
{
    if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return wf_fail(e, WF_MACHINE,
                       "%s: another weft is at work there; wait for it or choose another OUT",
                       path);
    return WF_OK;
}

int wf_fdatasync(struct wf_err *e, int fd, const char *path)
{
    int failed = wf_fault(WF_FAULT_SYNC) ? (errno = EIO, -1) : fdatasync(fd);
    if (failed && errno != EINVAL &&
        errno != EROFS) /* not every file system can; then it is as safe as it gets */
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot sync to disk", path);
    return WF_OK;
}

int wf_sync_folder(struct wf_err *e, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot open the folder", path);
    int status = WF_OK;
    if (wf_fault(WF_FAULT_SYNC))
        status = wf_fail_errno(e, WF_MACHINE, EIO, "%s: cannot sync to disk", path);
    else if (fsync(fd) && errno != EINVAL && errno != EROFS)
        status = wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot sync to disk", path);
    close(fd);
    return status;
}

int wf_rename(struct wf_err *e, const char *from, const char *to)
{
    if (wf_fault(WF_FAULT_RENAME) ? (errno = EIO, 1) : rename(from, to))
        return wf_fail_errno(e, WF_MACHINE, errno, "cannot rename %s to %s", from, to);
    return WF_OK;
}

int wf_read_small(struct wf_err *e, enum wf_status status, const char *path, size_t max_bytes,
                  char **text, size_t *n)
{
    struct wf_file_id id = {0};
    int fd;
    *text = NULL;
    int s = wf_open_read(e, status, path, &fd, &id);
    if (s)
        return s;
    if (id.bytes > max_bytes) {
        s = wf_fail(e, status, "%s: %" PRIu64 " bytes; at most %zu are read here", path, id.bytes,
                    max_bytes);
        goto out;
    }
    *text = wf_alloc(e, WF_MEM_TEXT, id.bytes + 1, 1, path);
    if (!*text) {
        s = WF_MACHINE;
        goto out;
    }
    *n = id.bytes;
    s = wf_pread(e, fd, path, *text, *n, 0);
    if (s) {
        wf_free(*text);
        *text = NULL;
    }
out:
    close(fd);
    return s;
}

int wf_write_small(struct wf_err *e, const char *path, const void *data, size_t n)
{
    int fd = wf_fault(WF_FAULT_OPEN)
                 ? (errno = EIO, -1)
                 : open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot create", path);
    int s = wf_pwrite(e, fd, path, data, n, 0);
    if (!s)
        s = wf_fdatasync(e, fd, path);
    if (close(fd) && !s)
        s = wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot close", path);
    return s;
}

bool wf_is_folder(const char *path)
{
    struct stat s;
    return !stat(path, &s) && S_ISDIR(s.st_mode);
}

bool wf_is_file(const char *path)
{
    struct stat s;
    return !stat(path, &s) && S_ISREG(s.st_mode);
}

bool wf_is_link(const char *path)
{
    struct stat s;
    return !lstat(path, &s) && S_ISLNK(s.st_mode);
}

bool wf_exists(const char *path)
{
    struct stat s;
    return !lstat(path, &s);
}

#define TREE_DEPTH_MAX 64

static int remove_below(struct wf_err *e, int folder_fd, const char *path, int depth);

static int remove_entry(struct wf_err *e, int folder_fd, const char *path, const char *name,
                        int depth)
{
    if (!unlinkat(folder_fd, name, 0))
        return WF_OK;
    if (errno != EISDIR && errno != EPERM)
        return wf_fail_errno(e, WF_MACHINE, errno, "%s/%s: cannot remove", path, name);
    int fd = openat(folder_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return wf_fail_errno(e, WF_MACHINE, errno, "%s/%s: cannot remove", path, name);
    int s = remove_below(e, fd, path, depth + 1);
    if (!s && unlinkat(folder_fd, name, AT_REMOVEDIR))
        s = wf_fail_errno(e, WF_MACHINE, errno, "%s/%s: cannot remove", path, name);
    return s;
}

/* Empties the folder behind folder_fd and closes it. */
static int remove_below(struct wf_err *e, int folder_fd, const char *path, int depth)
{
    DIR *d = depth > TREE_DEPTH_MAX ? (errno = ELOOP, NULL) : fdopendir(folder_fd);
    if (!d) {
        int number = errno;
        close(folder_fd);
        return wf_fail_errno(e, WF_MACHINE, number, "%s: cannot list", path);
    }
    int s = WF_OK;
    for (struct dirent *entry; !s && (entry = readdir(d));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            s = remove_entry(e, dirfd(d), path, entry->d_name, depth);
    closedir(d);
    return s;
}

int wf_empty_folder(struct wf_err *e, const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot empty", path);
    return remove_below(e, fd, path, 0);
}

bool wf_folder_is_empty(const char *path)
{
    DIR *d = opendir(path);
    bool empty = true;
    for (struct dirent *entry; d && empty && (entry = readdir(d));)
        empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
    if (d)
        closedir(d);
    return empty;
}

int wf_remove_tree(struct wf_err *e, const char *path)
{
    if (!wf_exists(path) || !unlink(path))
        return WF_OK;
    int s = wf_empty_folder(e, path);
    if (!s && rmdir(path))
        s = wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot remove", path);
    return s;
}

char *wf_path_join(struct wf_arena *a, struct wf_err *e, const char *dir, const char *name)
{
    size_t n = strlen(dir);
    return wf_arena_printf(a, e, "%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
}

int wf_make_folder(struct wf_err *e, const char *path)
{
    if (mkdir(path, 0777) && errno != EEXIST)
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot make the folder", path);
    return WF_OK;
}
