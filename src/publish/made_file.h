/* made_file.h - a file of known size, written from front to back, with its checksums on the way:
 * the safetensors files that a merge makes beside the model.
 */
#ifndef WF_MADE_FILE_H
#define WF_MADE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/hash.h"
#include "../base/mem.h"
#include "../format/outfile.h"

/* A finished one, for the manifest. */
struct wf_made_file {
    const char *name; /* in the folder that is published; may hold '/' */
    uint64_t bytes;
    struct wf_hash128 *blocks; /* of WF_BLOCK_BYTES each; NULL: not hashed */
    uint64_t n_blocks;
};

struct wf_making {
    struct wf_err *e;
    struct wf_outfile file;
    struct wf_xxh *xxh; /* of the block that is written; NULL: none is wanted */
    struct wf_hash128 *blocks;
    uint64_t at; /* bytes that were handed to the file */
    uint8_t *buffer;
    size_t fill;
};

/* Creates the file at `path`, which outlives *m; `hashing`: for --manifest xxh3; `direct` as for
 * wf_outfile_create. Checksums are in `a`. */
int wf_making_begin(struct wf_err *e, struct wf_arena *a, const char *path, uint64_t bytes,
                    bool hashing, bool direct, struct wf_making *m);
int wf_making_put(struct wf_making *m, const void *data, size_t n);
/* The same for one byte. */
int wf_making_byte(struct wf_making *m, uint8_t byte);
/* All bytes were put: writes the rest, syncs, and tells the checksums. */
int wf_making_end(struct wf_making *m, struct wf_made_file *out);
/* The same of a file that was written otherwise: `stop` is polled while it is read. out->name is
 * left as it is. */
int wf_made_file_read(struct wf_err *e, struct wf_arena *a, const char *path, bool hashing,
                      const volatile int *stop, struct wf_made_file *out);
/* Checksums of blocks [first, first + n) of a file, read for it; `stop` is polled. */
int wf_made_file_hash(struct wf_err *e, const char *path, uint64_t first, uint64_t n,
                      const volatile int *stop, struct wf_hash128 *out);
/* Closes the file and gives memory back; at any time, and more than once. */
void wf_making_close(struct wf_making *m);

#endif
