/* recipe.h - what the user asked for: one YAML or JSON document, checked, with lines. Several in
 * one file are stages (chain.h).
 *
 * Everything that can be wrong without looking at a model is found here: unknown keys and
 * parameters (with the nearest word), missing or out-of-range values, keys of the dialect that
 * this version does not have yet. All errors are WF_USAGE: "recipe.yaml:7: unknown key 'densty'
 * (did you mean 'density'?)".
 */
#ifndef WF_RECIPE_H
#define WF_RECIPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/hash.h"
#include "../base/mem.h"
#include "../base/status.h"
#include "../format/dtype.h"
#include "../method/method.h"
#include "reference.h"
#include "tokenizer_section.h"
#include "value.h"

struct wf_coefficients;

struct wf_recipe_model {
    struct wf_reference ref;
    const char *task;        /* `name` or derived from the reference */
    int name_line;           /* of `name`; 0: derived */
    bool is_base;            /* names its slice's base_model (same text): under a method that takes
                                a base the entry is not an input of its own */
    size_t slice;            /* of wf_recipe.slices */
    uint32_t layer_from;     /* slices with layers: the first of this model's */
    struct wf_value *values; /* given on this model entry */
    size_t n_values;
    int line;
};

/* A part of the result and the entries that it is made from. A recipe with `models` has one slice,
 * of everything; with `slices`, one for each entry, stacked in order:
 *
 *     layers of the result   0 .. 23            24 .. 47
 *                            slice 0            slice 1
 *     of source 0            a: 0 .. 23         a: 8 .. 31
 *     of source 1            b: 0 .. 23
 *
 * What is before the layers comes from the first slice, what is behind them from the last. */
struct wf_recipe_slice {
    size_t first, n;   /* its entries: models[first .. first + n) */
    bool has_layers;   /* sources have a layer_range; else they are whole models */
    bool is_lone;      /* its only source is given back as it is */
    uint32_t n_layers; /* of each source; may be 0 in the first and the last slice */
    int module;        /* of wf_recipe.modules; -1: there are none */
    struct wf_value *values;
    size_t n_values;
    int line;
};

/* A part of the architecture (`modules`) with slices of its own: a vision tower, a decoder. */
struct wf_recipe_module {
    const char *name;
    struct wf_value *values;
    size_t n_values;
    int line;
};

/* Where in the result a value is wanted. */
struct wf_position {
    const char *tensor; /* its name in the result: filters of slices, modules, the top level */
    const char *input;  /* its name in the model: filters of the model's entry */
    double t;           /* for gradients: 0 the slice's first layer, 1 its last */
    size_t slice;
};

/* `task_deltas`: what each task needs beside the result, as files of their own. */
struct wf_task_deltas {
    bool wanted;
    int line;
    double density;
    const char *density_text; /* as written */
    bool by_tensor;           /* scope: tensor; else the whole model */
    bool add;                 /* store: add; else replace */
    const char *dir;          /* below OUT, no '/' at its end */
};

struct wf_recipe {
    const char *path;   /* as the user typed it; of a made recipe, what messages call it */
    bool is_made;       /* by a command: there is no file */
    const char *folder; /* of the recipe file, "." if none */
    const char *text;   /* the file, byte for byte */
    size_t text_n;
    const struct wf_hash128 *own; /* of a stage on the way to the result: of its document, which is
                                     what counts; else NULL: the text does */
    bool is_json;                 /* by its name */

    const struct wf_method *method;
    int method_line;
    struct wf_recipe_model *models; /* of all slices, in order */
    size_t n_models;
    bool is_sliced; /* parts of models are stacked: `slices`, or `modules` with them */
    struct wf_recipe_slice *slices;
    size_t n_slices; /* 1 or more, modules' in order */
    struct wf_recipe_module *modules;
    size_t n_modules;
    bool has_base;
    struct wf_reference base;
    struct wf_value *values; /* top-level `parameters` */
    size_t n_values;
    enum wf_dtype dtype; /* stored type: out_dtype, else dtype, else WF_DTYPE_NONE */
    enum wf_dtype
        cast; /* `dtype` alone: --compat mergekit rounds inputs to it; else WF_DTYPE_NONE */
    bool has_seed;
    uint64_t seed;        /* default 0, or lent by the options */
    const char **include; /* glob patterns, NULL-terminated; NULL when absent */
    const char **exclude;
    const char *name;         /* top-level name, NULL if absent */
    const char *coefficients; /* a path, NULL if absent */
    int coefficients_line;
    const struct wf_coefficients *table; /* its content (coefficients.h), once it was read */
    struct wf_task_deltas deltas;
    struct wf_recipe_tokenizer tokenizer;
    bool chat_auto;            /* chat_template: the models' most frequent one */
    const char *chat_template; /* its text; NULL: chat_auto, or the donor's stays */
    int chat_template_line;
    bool allow_non_finite;
    bool allow_mixed;
};

/* Reads and checks a recipe of one document. `compat` (mergekit) turns keys that mergekit would
 * ignore from errors into warnings. */
int wf_recipe_read(struct wf_err *e, struct wf_arena *a, const char *path, bool compat,
                   struct wf_recipe *out);
/* The same from memory, for tests and fuzzing; no path is looked up. `text` need not outlive it. */
int wf_recipe_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                    size_t n, bool compat, struct wf_recipe *out);

/* False if include and exclude leave the tensor to the base, or first model. */
bool wf_recipe_takes_part(const struct wf_recipe *r, const char *tensor);

/* The value of the method's option number `option` at a place of the result: of `weight` the table
 * of coefficients, if there is one and it has the tensor; else that of the model's entry, the
 * slice, the module or the top level, the first that has one for the tensor; else the option's
 * default, which is NaN for an option that may be left out, or must not. A level with `density` or
 * `gamma` does not see `low` and `high` of weaker ones (recipe_band.c). model = -1 for an option of
 * the whole method. at = NULL: where no filter matches, at the first layer. */
double wf_recipe_value(const struct wf_recipe *r, size_t option, int model,
                       const struct wf_position *at);

/* The slice's module, NULL if there are none. */
const struct wf_recipe_module *wf_recipe_module_of(const struct wf_recipe *r,
                                                   const struct wf_recipe_slice *slice);

/* The entry is the base itself, and not an input of its own. */
static inline bool wf_recipe_exempt(const struct wf_recipe *recipe, size_t model)
{
    return recipe->method->base != WF_BASE_NONE && recipe->models[model].is_base;
}

#endif
