/* ckpt.h - a checkpoint: the tensors of a model folder or file, from headers alone.
 *
 * Opens every shard, checks index and headers by the rules of the safetensors format, closes them
 * again. What remains is a table sorted by name: where each tensor's bytes are, and its type.
 */
#ifndef WF_CKPT_H
#define WF_CKPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/file.h"
#include "../base/hash.h"
#include "../base/mem.h"
#include "addend.h"
#include "dtype.h"
#include "hub.h"
#include "json.h"

struct wf_fused;
struct wf_plan;
struct wf_row_view;
struct wf_side_text;
struct wf_sidecars;

struct wf_ckpt_file {
    const char *path; /* opens from the working directory */
    const char *name; /* "model-00001-of-00002.safetensors" */
    struct wf_file_id id;
    uint64_t data_start;
    struct wf_hash128 header_hash;
};

struct wf_tensor {
    const char *name;
    uint8_t dtype; /* enum wf_dtype */
    uint8_t n_dims;
    const uint64_t *shape;
    uint64_t count; /* elements */
    uint64_t bytes;
    uint32_t file;                /* index into files */
    uint64_t offset;              /* of the first byte, from the start of the file */
    struct wf_addend *addend;     /* NULL: nothing is added */
    struct wf_row_view *rows;     /* NULL: rows as they are stored (row_map.h) */
    const struct wf_fused *fused; /* NULL: it is stored; else computed when it is read
                                     (plan/fused.h) */
};

struct wf_ckpt {
    struct wf_place place;
    bool is_folder;
    bool is_adapter;                   /* the folder has adapter_config.json and no model weights */
    const struct wf_ckpt *under, *top; /* an overlay is `top` on `under`, whose place is its own;
                                          else NULL */
    const struct wf_hash128 *plan;     /* of the merge that makes it, where that is a stage on the
                                          way: it may not be there yet. Else NULL. An
                                          overlay has that of what it is on */
    const struct wf_plan *fused;       /* planned, and never written: that merge itself, with which
                                          its tensors are computed; else NULL. Likewise */
    const struct wf_sidecars *cars;    /* planned: the small files that will be there ... */
    const struct wf_side_text *texts;  /* ... and those that are made; else NULL */
    const void *rows; /* tensors along the vocabulary are seen through this map; else NULL */
    struct wf_ckpt_file *files;
    size_t n_files;
    struct wf_tensor *tensors; /* sorted by name, bytewise; names are unique */
    size_t n_tensors;
    size_t n_ignored; /* tensors in shards that the index does not list, or lists elsewhere */
    const char *first_ignored;
    const struct wf_st_pair *metadata; /* single file: its __metadata__ */
    size_t n_metadata;
    struct wf_json *config;  /* config.json parsed, NULL when there is none */
    const char *config_text; /* its bytes, NUL-terminated */
    size_t config_n;
    const char *config_path;
};

/* Opens the checkpoint at `place`. Damaged files are WF_INPUT, naming file, tensor and offset; a
 * folder without weights is WF_USAGE. All memory is in `a`. */
int wf_ckpt_open(struct wf_err *e, struct wf_arena *a, const struct wf_place *place,
                 struct wf_ckpt *out);

/* By name, NULL if absent. O(log n). */
const struct wf_tensor *wf_ckpt_find(const struct wf_ckpt *c, const char *name);

/* Index of the layer a tensor name belongs to: its first component that is all digits and is not
 * the last one, or -1. */
long wf_layer_of(const char *name);

#endif
