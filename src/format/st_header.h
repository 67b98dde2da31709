/* st_header.h - the safetensors header: strict reading, canonical writing.
 *
 *   offset 0      u64 little-endian N        header length
 *   offset 8      N bytes of JSON            {"__metadata__":{..},
 * "name":{"dtype","shape","data_offsets"}} offset 8+N    data                       to the end of
 * the file, no holes, no overlap
 *
 * Reading uses a scanner of our own for this one grammar (docs/ARCHITECTURE.md says why cJSON will
 * not do). Every rule is checked before the first data byte is touched: length and 100 MB cap,
 * nesting, duplicate keys and names, exactly three members per tensor, plain integers, shape x type
 * = bytes without overflow, order without holes, end = end of file, UTF-8, no NUL or control
 * characters in names.
 */
#ifndef WF_ST_HEADER_H
#define WF_ST_HEADER_H

#include <stddef.h>
#include <stdint.h>

#include "../base/mem.h"
#include "../base/hash.h"
#include "../base/status.h"
#include "../base/str.h"
#include "../base/file.h"
#include "dtype.h"

#define WF_ST_HEADER_MAX 100000000u /* N, inclusive */
#define WF_ST_TENSORS_MAX (1u << 21)
#define WF_ST_DIMS_MAX 16
#define WF_ST_NAME_MAX 1024

struct wf_st_tensor {
    const char *name;      /* 1..1024 bytes of UTF-8, NUL-terminated */
    uint8_t dtype;         /* enum wf_dtype */
    uint8_t n_dims;        /* 0 for a scalar */
    const uint64_t *shape; /* n_dims sizes */
    uint64_t count;        /* elements: product of shape, 1 for a scalar */
    uint64_t begin, end;   /* bytes from the start of the data */
};

struct wf_st_pair {
    const char *key, *value;
};

struct wf_st_header {
    uint64_t data_start; /* 8 + N */
    uint64_t file_bytes;
    struct wf_hash128 hash;       /* XXH3-128 of the first 8 + N bytes */
    struct wf_st_tensor *tensors; /* sorted by (begin, end, name) */
    size_t n_tensors;
    struct wf_st_pair *metadata; /* in file order */
    size_t n_metadata;
};

/* Parses the N bytes of JSON `text`; `file_bytes` is the size of the whole file. Everything it
 * returns lives in `a`. Errors are WF_INPUT: "PATH: ... at byte K" with the tensor's name. A step
 * of wf_st_read, public for tests and fuzzing. */
int wf_st_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text, size_t n,
                uint64_t file_bytes, struct wf_st_header *out);

/* Reads and parses the header of an open file. */
int wf_st_read(struct wf_err *e, struct wf_arena *a, const char *path, int fd, uint64_t file_bytes,
               struct wf_st_header *out);

/* Writes 8 bytes of length and the canonical JSON for `tensors` (already in file order, offsets
 * set) into *out, padded with spaces so that the data start at a multiple of `align` (8 gives the
 * reference writer's bytes). Metadata: {"format":"pt"}. */
int wf_st_format(struct wf_err *e, const struct wf_st_tensor *tensors, size_t n, uint64_t align,
                 struct wf_str *out);
/* The same with more metadata, in the order given, behind "format". */
int wf_st_format_with(struct wf_err *e, const struct wf_st_tensor *tensors, size_t n,
                      uint64_t align, const struct wf_st_pair *metadata, size_t n_metadata,
                      struct wf_str *out);

/* Canonical file order, as strcmp: larger types first, then name bytewise. */
int wf_st_compare(enum wf_dtype a_dtype, const char *a_name, enum wf_dtype b_dtype,
                  const char *b_name);

#endif
