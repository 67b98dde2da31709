/* sidecar.h - the small files of a model folder that travel with a merge: tokenizer, generation
 * and processor configs, remote code, licences.
 *
 * By deny-list of weights, training state and other forms, an allow-list of suffixes, and size
 * caps, so that a new side file of a new family travels too. Bytes are copied as they are.
 */
#ifndef WF_SIDECAR_H
#define WF_SIDECAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/hash.h"
#include "../base/mem.h"
#include "../base/status.h"
#include "hub.h"

struct wf_sidecar {
    const char *name; /* relative to the folder, may hold one '/' ("1_Pooling/config.json") */
    const char *path; /* to read from */
    uint64_t bytes;
};

struct wf_sidecars {
    struct wf_sidecar *files; /* sorted by name */
    size_t n;
    const char **left_out; /* names not taken, with the reason: "x.bin (training state)" */
    size_t n_left_out;
    size_t n_missed;    /* of these: files that a loader may want, and that could not be taken */
    const char *missed; /* the first of them, with the reason */
    struct wf_hash128 hash; /* of names, sizes and times: tells one set of files from another */
};

/* A side file of OUT that is no copy of the donor's: its text, or NULL where the donor's is left
 * out. */
struct wf_side_text {
    const char *name; /* as in struct wf_sidecar */
    const char *text;
    size_t n;
    struct wf_side_text *next;
};

/* Puts a text on the list, in place of an earlier one of that name. Nothing is copied. */
int wf_side_text_put(struct wf_err *e, struct wf_arena *a, struct wf_side_text **list,
                     const char *name, const char *text, size_t n);

/* The entry of that name, NULL if there is none. */
const struct wf_side_text *wf_side_text_find(const struct wf_side_text *list, const char *name);

/* A file of a tokenizer, chat templates included. */
bool wf_sidecar_is_tokenizer(const char *name);

/* Lists what travels from the model folder at `place`; nothing for a single file. A file that
 * cannot be read is WF_INPUT. config.json, README.md, indexes and weights are never in the list:
 * weft writes those itself. */
int wf_sidecar_list(struct wf_err *e, struct wf_arena *a, const struct wf_place *place,
                    struct wf_sidecars *out);

/* The one of that name, NULL if there is none; `cars` may be NULL. */
const struct wf_sidecar *wf_sidecar_find(const struct wf_sidecars *cars, const char *name);

/* The same of a model that is planned: those of `cars` that `texts` neither replaces nor leaves
 * out. */
int wf_sidecar_planned(struct wf_err *e, struct wf_arena *a, const struct wf_sidecars *cars,
                       const struct wf_side_text *texts, struct wf_sidecars *out);

/* Copies one of them to folder/name (making its sub-folder), synced. */
int wf_sidecar_copy(struct wf_err *e, const struct wf_sidecar *s, const char *folder);

#endif
