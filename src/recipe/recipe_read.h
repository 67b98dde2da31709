/* recipe_read.h - what the files of the recipe reader share; no other module includes it.
 *
 *   recipe.c         the document and its top level
 *   chain.c          several documents
 *   recipe_keys.c    key tables, messages, plain texts
 *   recipe_models.c  `models`, `base_model`, references
 *   recipe_slices.c  `slices` and `modules`: which entries make which part of the result
 *   recipe_params.c  `parameters` against the method's options; levels
 *   recipe_value.c   one parameter's value: numbers, gradients, filters
 *   recipe_band.c    two ways to give a band: `density` and `gamma`, or `low` and `high`
 *   recipe_deltas.c  `task_deltas`
 *   recipe_tokenizer.c  `tokenizer` and `tokenizer_source`
 *   recipe_chat.c    `chat_template`
 *   reference.c      a reference's text (messages only)
 */
#ifndef WF_RECIPE_READ_H
#define WF_RECIPE_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "../format/yaml.h"
#include "recipe.h"

enum wf_recipe_level {
    WF_LEVEL_TOP,    /* the document */
    WF_LEVEL_MODEL,  /* an entry of `models` */
    WF_LEVEL_SLICE,  /* an entry of `slices` */
    WF_LEVEL_SOURCE, /* an entry of a slice's `sources` */
    WF_LEVEL_MODULE, /* a member of `modules` */
    WF_LEVELS
};

/* The stages of the recipe that is being read, and which of them this document names. */
struct wf_stage_names {
    const char *const *names; /* n of them; NULL where a document has none */
    const int *lines;         /* of the names */
    size_t n;
    int *used; /* by stage: the first line that names it; 0: none */
};

struct wf_recipe_reader {
    struct wf_err *e;
    struct wf_arena *arena;
    const char *path; /* as typed, for messages */
    bool compat;
    unsigned ignored; /* keys ignored so far, under compat */
    int (*exists)(void *arg, const char *text);
    void *exists_arg;
    const struct wf_stage_names *stages; /* NULL: there is one document */
    struct wf_recipe *out;
};

/* --- files and documents (recipe.c) --- */

/* The bytes of a recipe's file, in the arena. */
int wf_recipe_load(struct wf_err *e, struct wf_arena *a, const char *path, const char **text,
                   size_t *n);

/* Readies `r` and `out` for a document of text[0..n), which lies in the arena. With `look`,
 * references are looked up as paths first. */
int wf_recipe_begin(struct wf_recipe_reader *r, const char *text, size_t n, bool look);

int wf_recipe_document(struct wf_recipe_reader *r, const struct wf_yaml *document);

/* --- messages (recipe_keys.c) --- */

/* "PATH:LINE: ..." as WF_USAGE. */
int wf_recipe_fail(struct wf_recipe_reader *r, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Something that mergekit would ignore: the same error, or under compat a warning and WF_OK. */
int wf_recipe_ignore(struct wf_recipe_reader *r, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Compat has said enough: further keys to ignore need no message, and no search for a hint. */
bool wf_recipe_silent(const struct wf_recipe_reader *r);

/* Text from the file, fit for a message: at most 60 bytes, whole characters, no controls. */
struct wf_clip {
    char text[72];
};
const char *wf_clip(const char *text, struct wf_clip *buf);

/* "a list", "a map", ...: what stands where something else should. */
const char *wf_recipe_kind(const struct wf_yaml *v);

/* Where a value is for a reader of the file: its key's line, or its own in a list. */
int wf_recipe_line(const struct wf_yaml *v);

/* --- keys (recipe_keys.c) --- */

/* Every key of `map` is one of this version at this level, and has a value if it must. `method`
 * (NULL while unknown) is for hints. */
int wf_recipe_check_keys(struct wf_recipe_reader *r, const struct wf_yaml *map,
                         enum wf_recipe_level level, const struct wf_method *method);

/* True if `keys` (NULL-terminated) has the name. */
bool wf_recipe_is_key(const char *const *keys, const char *name);

/* Every key of a small map is one of `keys`; another is WF_USAGE: "unknown key 'x' in PLACE", with
 * the nearest of them. `place` and what follows are as for printf. */
int wf_recipe_check_map(struct wf_recipe_reader *r, const struct wf_yaml *map,
                        const char *const *keys, const char *place, ...)
    __attribute__((format(printf, 4, 5)));

/* The value of a key, NULL if it is absent or null. */
const struct wf_yaml *wf_recipe_get(const struct wf_yaml *map, const char *key);

/* A text of one line: not empty, no control characters, at most 4095 bytes. `key` is for
 * messages. *out lives as long as the arena. */
int wf_recipe_text(struct wf_recipe_reader *r, const struct wf_yaml *v, const char *key,
                   const char **out);

/* --- models (recipe_models.c) --- */

int wf_recipe_reference(struct wf_recipe_reader *r, const struct wf_yaml *v, const char *key,
                        struct wf_reference *out);

/* The same model as written: texts that differ may still turn out to be one. */
bool wf_recipe_same_reference(const struct wf_reference *a, const struct wf_reference *b);

/* One entry of `models` or of a slice's `sources`, without its slice and layers. `base`: of its
 * slice, or NULL. */
int wf_recipe_entry(struct wf_recipe_reader *r, const struct wf_yaml *v, enum wf_recipe_level level,
                    const struct wf_reference *base, struct wf_recipe_model *out);

/* `models` of the document or a module, as one slice of whole models; base and parameters of the
 * top level were read. */
int wf_recipe_models(struct wf_recipe_reader *r, const struct wf_yaml *list, int module);

/* A slice is complete: the number of its entries, required options, bands. */
int wf_recipe_check_slice(struct wf_recipe_reader *r, const struct wf_recipe_slice *slice);

/* --- slices and modules (recipe_slices.c) --- */

/* `models`, `slices` or `modules`, whichever the document has. */
int wf_recipe_parts(struct wf_recipe_reader *r, const struct wf_yaml *document);

/* --- parameters (recipe_params.c) --- */

/* A `parameters` map into an array of values, in file order; v may be NULL (none). */
int wf_recipe_parameters(struct wf_recipe_reader *r, const struct wf_yaml *v,
                         enum wf_recipe_level level, struct wf_value **values, size_t *n);

/* The value of that name, NULL if there is none. */
const struct wf_value *wf_recipe_find(const struct wf_value *values, size_t n, const char *name);

/* The strongest level that names the option, whatever its filters: the entry (may be NULL), the
 * slice, the module, the top level. NULL: none does. */
const struct wf_value *wf_recipe_strongest(const struct wf_recipe *recipe,
                                           const struct wf_recipe_slice *slice,
                                           const struct wf_recipe_model *model, const char *name);

/* One parameter in any of the forms of value.h (recipe_value.c). */
int wf_recipe_read_value(struct wf_recipe_reader *r, const struct wf_yaml *v,
                         const struct wf_option *option, struct wf_value *out);

/* Every required option has a value where the method needs one. */
int wf_recipe_check_required(struct wf_recipe_reader *r, const struct wf_recipe_slice *slice);

/* --- task deltas (recipe_deltas.c) --- */

/* `task_deltas`; with the models already read, whose tasks become file names. */
int wf_recipe_deltas(struct wf_recipe_reader *r, const struct wf_yaml *document);
/* Tasks name files or folders that `what` writes: each its own, and fit to be one. */
int wf_recipe_check_tasks(struct wf_recipe_reader *r, const char *what);

/* --- the vocabulary (recipe_tokenizer.c) --- */

int wf_recipe_tokenizer(struct wf_recipe_reader *r, const struct wf_yaml *document);

/* --- chat templates (recipe_chat.c) --- */

int wf_recipe_chat_template(struct wf_recipe_reader *r, const struct wf_yaml *document);

/* --- methods of adapters (recipe_adapters.c) --- */

/* What such a method asks of the rest of the recipe. */
int wf_recipe_adapters(struct wf_recipe_reader *r, const struct wf_yaml *document);

/* --- bands (recipe_band.c) --- */

/* The values of one level give a band in one way, not in both. */
int wf_recipe_check_level_band(struct wf_recipe_reader *r, const struct wf_value *values, size_t n);

/* Every model with `low` has `high`, and the other way round, and they are in order. */
int wf_recipe_check_bands(struct wf_recipe_reader *r, const struct wf_recipe_slice *slice);

/* These values give a band in the other way, so `name` of weaker levels is not for their tensors.
 */
bool wf_recipe_band_hides(const struct wf_value *values, size_t n, const char *name);

#endif
