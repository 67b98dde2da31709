/* outfile.h - one output file: created at its final size, then written anywhere in any order.
 *
 * Writes go around the page cache (O_DIRECT) where the file system allows and the range is aligned;
 * unaligned edges and refusing file systems use ordinary writes. See docs/PERFORMANCE.md for the
 * measurement behind that.
 */
#ifndef WF_OUTFILE_H
#define WF_OUTFILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/status.h"

#define WF_DIRECT_ALIGN 4096u

struct wf_outfile {
    const char *path; /* not owned */
    uint64_t bytes;
    int fd;                     /* ordinary */
    int direct_fd;              /* O_DIRECT, or -1 */
    atomic_bool direct_refused; /* a direct write failed with EINVAL: ordinary ones from then on */
};

/* Creates the file at `bytes`, space reserved where the file system can (a full disk shows here,
 * as WF_MACHINE with the bytes needed). */
int wf_outfile_create(struct wf_err *e, const char *path, uint64_t bytes, bool direct,
                      struct wf_outfile *out);
/* Opens one that an earlier run created; a different size is WF_INPUT. */
int wf_outfile_reopen(struct wf_err *e, const char *path, uint64_t bytes, bool direct,
                      struct wf_outfile *out);
/* Writes data[0..n) at `offset`. Fast when `data`, `offset` and n are multiples of
 * WF_DIRECT_ALIGN; correct always. Thread-safe for ranges that do not overlap. */
int wf_outfile_write(struct wf_err *e, struct wf_outfile *f, const void *data, size_t n,
                     uint64_t offset);
int wf_outfile_sync(struct wf_err *e, struct wf_outfile *f);
void wf_outfile_close(struct wf_outfile *f);

#endif
