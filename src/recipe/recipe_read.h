/* recipe_read.h - what the files of the recipe reader share; no other module includes it.
 *
 *   recipe.c         the document and its top level
 *   recipe_keys.c    key tables, messages, plain texts
 *   recipe_models.c  `models`, `base_model`, references
 *   recipe_params.c  `parameters` against the method's options
 *   recipe_band.c    two ways to give a band: `density` and `gamma`, or `low` and `high`
 *   recipe_deltas.c  `task_deltas`
 *   reference.c      a reference's text (messages only)
 */
#ifndef WF_RECIPE_READ_H
#define WF_RECIPE_READ_H

#include <stdbool.h>
#include <stddef.h>

#include "../format/yaml.h"
#include "recipe.h"

enum wf_recipe_level {
    WF_LEVEL_TOP,   /* the document */
    WF_LEVEL_MODEL, /* an entry of `models` */
    WF_LEVELS
};

struct wf_recipe_reader {
    struct wf_err *e;
    struct wf_arena *arena;
    const char *path; /* as typed, for messages */
    bool compat;
    unsigned ignored; /* keys ignored so far, under compat */
    int (*exists)(void *arg, const char *text);
    void *exists_arg;
    struct wf_recipe *out;
};

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

/* The value of a key, NULL if it is absent or null. */
const struct wf_yaml *wf_recipe_get(const struct wf_yaml *map, const char *key);

/* A text of one line: not empty, no control characters, at most 4095 bytes. `key` is for
 * messages. *out lives as long as the arena. */
int wf_recipe_text(struct wf_recipe_reader *r, const struct wf_yaml *v, const char *key,
                   const char **out);

/* --- models (recipe_models.c) --- */

int wf_recipe_reference(struct wf_recipe_reader *r, const struct wf_yaml *v, const char *key,
                        struct wf_reference *out);

/* The list, with base and top-level parameters already read: entries, their number, and that
 * every required option has a value. */
int wf_recipe_models(struct wf_recipe_reader *r, const struct wf_yaml *document);

/* --- parameters (recipe_params.c) --- */

/* A `parameters` map into an array of values, in file order; v may be NULL (none). */
int wf_recipe_parameters(struct wf_recipe_reader *r, const struct wf_yaml *v,
                         enum wf_recipe_level level, struct wf_value **values, size_t *n);

/* The value of that name, NULL if there is none. */
const struct wf_value *wf_recipe_find(const struct wf_value *values, size_t n, const char *name);

/* Every required option has a value where the method needs one. */
int wf_recipe_check_required(struct wf_recipe_reader *r);

/* The recipe has a base and its method makes use of it. */
static inline bool wf_recipe_uses_base(const struct wf_recipe *recipe)
{
    return recipe->method->base != WF_BASE_NONE && recipe->has_base;
}

/* The entry is the base itself, and not an input of its own. */
static inline bool wf_recipe_exempt(const struct wf_recipe *recipe, size_t model)
{
    return wf_recipe_uses_base(recipe) && recipe->models[model].is_base;
}

/* --- task deltas (recipe_deltas.c) --- */

/* `task_deltas`; with the models already read, whose tasks become file names. */
int wf_recipe_deltas(struct wf_recipe_reader *r, const struct wf_yaml *document);
/* Tasks name files or folders that `what` writes: each its own, and fit to be one. */
int wf_recipe_check_tasks(struct wf_recipe_reader *r, const char *what);

/* --- methods of adapters (recipe_adapters.c) --- */

/* What such a method asks of the rest of the recipe. */
int wf_recipe_adapters(struct wf_recipe_reader *r, const struct wf_yaml *document);

/* --- bands (recipe_band.c) --- */

/* The values of one level give a band in one way, not in both. */
int wf_recipe_check_level_band(struct wf_recipe_reader *r, const struct wf_value *values, size_t n);

/* Every model with `low` has `high`, and the other way round, and they are in order. */
int wf_recipe_check_bands(struct wf_recipe_reader *r);

/* The model's own values give a band in the other way, so `name` of the top level is not for it. */
bool wf_recipe_band_hides(const struct wf_recipe_model *model, const char *name);

#endif
