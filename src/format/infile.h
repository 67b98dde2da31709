/* infile.h - one input file of a merge, read in large pieces by many threads.
 *
 * Opened on first use, twice where it pays: an ordinary descriptor, and one that goes around the
 * page cache (O_DIRECT). With WF_IO_AUTO a file that mostly lies in the page cache is read from
 * there; any other is read direct, which neither copies nor evicts what others use.
 * docs/PERFORMANCE.md has the measurement.
 */
#ifndef WF_INFILE_H
#define WF_INFILE_H

#include <pthread.h>
#include <stdint.h>

#include "../base/file.h"
#include "../base/status.h"

enum wf_io { WF_IO_AUTO, WF_IO_BUFFERED, WF_IO_DIRECT };

struct wf_infile {
    const char *path;     /* not owned */
    struct wf_file_id id; /* as the plan saw it; a change since then is an error */
    pthread_mutex_t lock; /* guards opening */
    int fd, direct_fd;    /* -1 while closed or not used */
    bool cached;          /* nearly all of it was in the page cache when it was opened */
};

void wf_infile_init(struct wf_infile *f, const char *path, const struct wf_file_id *id);

/* Opens the file if it is not open yet; `cached` is known afterwards. */
int wf_infile_open(struct wf_err *e, struct wf_infile *f, enum wf_io mode);

/* Reads [offset, offset + bytes) so that it lands at `to`. `to` must be congruent to offset modulo
 * WF_DIRECT_ALIGN, and the rest of the pages at both ends is scratch space of the caller's. Ranges
 * under 64 KiB go through the page cache. Thread-safe. */
int wf_infile_read(struct wf_err *e, struct wf_infile *f, enum wf_io mode, void *to,
                   uint64_t offset, uint64_t bytes);

/* WF_INPUT if the file is not what it was when the plan was made. */
int wf_infile_check(struct wf_err *e, struct wf_infile *f);

void wf_infile_close(struct wf_infile *f);

#endif
