/* infile.h - one input file of a merge, read in large pieces by many threads.
 *
 * Opened once, twice over where it pays: an ordinary descriptor, and one that goes around the page
 * cache (O_DIRECT). With WF_IO_AUTO a file of which less than half is in the page cache is read
 * direct, which neither copies nor evicts what others use; any other through the cache.
 * docs/PERFORMANCE.md has the measurement.
 */
#ifndef WF_INFILE_H
#define WF_INFILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../base/file.h"
#include "../base/status.h"

enum wf_io { WF_IO_AUTO, WF_IO_BUFFERED, WF_IO_DIRECT };

struct wf_infile {
    const char *path;           /* not owned */
    struct wf_file_id id;       /* as the plan saw it; a change since then is an error */
    int fd, direct_fd;          /* -1: not open */
    atomic_bool direct_refused; /* the file system took O_DIRECT at open and not at read */
    bool cached;                /* nearly all of it was in the page cache when it was opened */
};

/* Opens the file; `id` is what the plan saw. On failure *f is closed and may be closed again. */
int wf_infile_open(struct wf_err *e, const char *path, const struct wf_file_id *id, enum wf_io mode,
                   struct wf_infile *f);

/* Reads [offset, offset + bytes) so that it lands at `to`. `to` must be congruent to offset modulo
 * WF_DIRECT_ALIGN, and the rest of the pages at both ends is scratch space of the caller's. Ranges
 * under 64 KiB go through the page cache. Thread-safe. */
int wf_infile_read(struct wf_err *e, struct wf_infile *f, void *to, uint64_t offset,
                   uint64_t bytes);

/* WF_INPUT if the file is not what it was when the plan was made. */
int wf_infile_check(struct wf_err *e, struct wf_infile *f);

void wf_infile_close(struct wf_infile *f);

#endif
