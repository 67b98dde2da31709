/* weight_files.h - which files of a model folder are its weights.
 *
 *   model.safetensors                         that file
 *   model.safetensors.index.json              the files its map names
 *   model-00001-of-000NN.safetensors, all NN  their union
 *   adapter_model.safetensors + adapter_config.json, and none of the above: an adapter
 *
 * Everything else (consolidated*, *.fp16.safetensors, optimizer*, original/) is ignored; what is
 * missing or contradictory is an error that says what to do.
 */
#ifndef WF_WEIGHT_FILES_H
#define WF_WEIGHT_FILES_H

#include <stdbool.h>
#include <stddef.h>

#include "hub.h"
#include "st_index.h"

#define WF_INDEX_NAME "model.safetensors.index.json"
#define WF_SINGLE_NAME "model.safetensors"
#define WF_ADAPTER_NAME "adapter_model.safetensors"
#define WF_ADAPTER_CONFIG_NAME "adapter_config.json"

struct wf_weight_files {
    const char **files; /* relative to the folder; with an index, numbered as there */
    size_t n_files;
    bool has_index;
    struct wf_st_index index;
    bool both; /* single file and index are both there: the single one is listed, the index's
                  entries point to it, and the two must name the same tensors */
    bool is_adapter;
};

/* Decides for the folder place->path, whose sorted names are names[0..n_names). Every file it
 * returns was there a moment ago. No weights: WF_USAGE; some of them: WF_INPUT. */
int wf_weight_files_find(struct wf_err *e, struct wf_arena *a, const struct wf_place *place,
                         const char *const *names, size_t n_names, struct wf_weight_files *out);

#endif
