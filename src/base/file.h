/* file.h - files: whole reads and writes, with errors that name path, offset and cause.
 *
 * Every system call that a disk can refuse passes through here, so that tests can make the n-th
 * one fail (fault.h).
 */
#ifndef WF_FILE_H
#define WF_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mem.h"
#include "status.h"

struct wf_file_id {
    uint64_t bytes, dev, inode;
    int64_t mtime_ns;
};

/* Opens a regular file for reading: *fd and what fstat says. Anything else (folder, FIFO, device)
 * is refused with `status` without blocking. `id` may be NULL. */
int wf_open_read(struct wf_err *e, enum wf_status status, const char *path, int *fd,
                 struct wf_file_id *id);
void wf_close(int fd); /* accepts -1 */

/* Exactly n bytes at `offset`, or an error; a short read (the file was cut) is WF_INPUT. */
int wf_pread(struct wf_err *e, int fd, const char *path, void *data, size_t n, uint64_t offset);

/* Exactly n bytes at `offset`; failures are WF_MACHINE. */
int wf_pwrite(struct wf_err *e, int fd, const char *path, const void *data, size_t n,
              uint64_t offset);

/* Locks an open file or folder for this process without waiting: WF_MACHINE while another weft
 * holds it. On a file system without such locks it does nothing: work goes on there, as with any
 * tool. */
int wf_lock_fd(struct wf_err *e, int fd, const char *path);

int wf_fdatasync(struct wf_err *e, int fd, const char *path);
int wf_sync_folder(struct wf_err *e, const char *path);
int wf_rename(struct wf_err *e, const char *from, const char *to);

/* Reads a small file whole (NUL appended, not counted); larger than max_bytes is an error of
 * `status`. The text is freed with wf_free. */
int wf_read_small(struct wf_err *e, enum wf_status status, const char *path, size_t max_bytes,
                  char **text, size_t *n);

/* Creates or replaces a small file, synced to disk. */
int wf_write_small(struct wf_err *e, const char *path, const void *data, size_t n);

bool wf_is_folder(const char *path);
bool wf_is_file(const char *path); /* a regular file, links followed */
bool wf_is_link(const char *path); /* a symbolic link, wherever it leads */
bool wf_exists(const char *path);  /* anything at all, dangling links included */

/* Removes a folder and all in it; links are removed, never followed. A missing folder is fine. */
int wf_remove_tree(struct wf_err *e, const char *path);
/* One that is there already is as good. WF_MACHINE otherwise. */
int wf_make_folder(struct wf_err *e, const char *path);

/* Removes what is in a folder and keeps the folder. */
int wf_empty_folder(struct wf_err *e, const char *path);
/* True if the folder holds nothing (or cannot be read). */
bool wf_folder_is_empty(const char *path);

/* dir + "/" + name in the arena. */
char *wf_path_join(struct wf_arena *a, struct wf_err *e, const char *dir, const char *name);

#endif
