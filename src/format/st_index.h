/* st_index.h - model.safetensors.index.json: which shard holds which tensor.
 *
 *   {"metadata": {"total_size": 1607936}, "weight_map": {"TENSOR":
 * "model-00001-of-00002.safetensors"}}
 *
 * Only weight_map is read: total_size is wrong too often in published models to mean anything.
 */
#ifndef WF_ST_INDEX_H
#define WF_ST_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "../base/mem.h"
#include "../base/status.h"

#define WF_ST_INDEX_BYTES_MAX ((size_t)256 << 20)

struct wf_st_index_entry {
    const char *name; /* of the tensor */
    uint32_t file;    /* index into files */
};

struct wf_st_index {
    const char **files; /* relative to the index's folder; sorted, each once */
    size_t n_files;
    struct wf_st_index_entry *entries; /* sorted by name, each once; at least one */
    size_t n;
};

/* Parses text[0..n). File names are relative, stay below the folder (no root, drive, '..' or
 * back-slash) and end in ".safetensors". Anything else is WF_INPUT, naming the tensor. A step of
 * wf_st_index_read, public for tests and fuzzing. */
int wf_st_index_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                      size_t n, struct wf_st_index *out);

int wf_st_index_read(struct wf_err *e, struct wf_arena *a, const char *path,
                     struct wf_st_index *out);

#endif
