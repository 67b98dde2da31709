/* config_edit.h - change values in a JSON text without re-serialising the rest.
 *
 * Configs hold things that a round trip through a JSON library loses (Infinity, 1e30 as a long
 * integer, key order, layout). So an edit replaces the bytes of one value, or inserts or removes
 * one member, and leaves every other byte alone.
 */
#ifndef WF_CONFIG_EDIT_H
#define WF_CONFIG_EDIT_H

#include <stddef.h>

#include "../base/mem.h"
#include "../base/str.h"
#include "dtype.h"

struct wf_config_edit {
    const char *path;  /* "torch_dtype" or "text_config.torch_dtype": member names joined by '.' */
    const char *value; /* JSON text to put there; NULL removes the member */
    int insert;        /* 1: add the member (to its object, at the end) when it is absent */
};

/* Edits to come, in order; zero-initialised. */
struct wf_config_edits {
    struct wf_config_edit *list;
    size_t n, max;
};

/* Adds one; path and value (never NULL) are copied into `a`, where the list grows. */
int wf_config_edits_add(struct wf_err *e, struct wf_arena *a, struct wf_config_edits *edits,
                        const char *path, const char *value, int insert);

/* Applies edits to text[0..n) (a valid JSON object, WF_JSON_CONFIG words allowed) into `out`. */
int wf_config_apply(struct wf_err *e, const char *path_for_messages, const char *text, size_t n,
                    const struct wf_config_edit *edits, size_t n_edits, struct wf_str *out);

/* The merged model's config.json: dtype/torch_dtype set to `dtype` in every object that has the
 * key (top level gets torch_dtype when no object has one; WF_DTYPE_NONE leaves them alone);
 * `_name_or_path`, `quantization_config` and `compression_config` removed.
 * Only string values are replaced (an object per module is left alone). */
int wf_config_for_merge(struct wf_err *e, const char *path_for_messages, const char *text, size_t n,
                        enum wf_dtype dtype, struct wf_str *out);

#endif
