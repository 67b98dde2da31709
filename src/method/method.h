/* method.h - what a merge method is to the engine: a row in a table, made by the method's own file.
 *
 * kernels/method/NAME.h describes one method or one family: options, stages, formula, citation,
 * a host-side `prepare`, and element functions. kernels/methods.h lists the files. Nothing in weft
 * names a method anywhere else; docs/ADDING_A_METHOD.md walks through one.
 */
#ifndef WF_METHOD_H
#define WF_METHOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One option of a method. The same row validates recipes, prints help and fills docs/METHODS.md. */
enum wf_option_kind { WF_OPTION_NUMBER, WF_OPTION_BOOL };
enum wf_option_where {
    WF_GLOBAL,    /* top-level `parameters`; one value for all models */
    WF_PER_MODEL, /* on a model entry, or at top level as the default for all */
};

struct wf_option {
    const char *name;
    enum wf_option_kind kind;
    enum wf_option_where where;
    bool required;   /* no default: every model (base excepted) must get a value */
    double fallback; /* the default */
    double min, max; /* inclusive; -HUGE_VAL and HUGE_VAL for none */
    const char *help;
};

/* The engine's vocabulary (docs/ARCHITECTURE.md, "Stages"). This version runs COPY and MAP; the
 * plan refuses a method that needs another. */
enum wf_stage_kind {
    WF_STAGE_COPY,
    WF_STAGE_FOLD,
    WF_STAGE_SELECT,
    WF_STAGE_RANK,
    WF_STAGE_MAP,
    WF_STAGE_MATRIX
};
enum wf_scope { WF_SCOPE_ELEMENT, WF_SCOPE_ROW, WF_SCOPE_COLUMN, WF_SCOPE_TENSOR, WF_SCOPE_MODEL };

struct wf_stage {
    enum wf_stage_kind kind;
    enum wf_scope scope;
};

enum wf_base_use {
    WF_BASE_NONE, /* arithmetic never sees a base; one in the recipe only donates config and types
                   */
    WF_BASE_REQUIRED, /* x[0] is the base's value */
};

/* Numbers an element function sees, resolved for one tensor. `g` holds what concerns all models,
 * `m[i]` what concerns input i; what each slot means is the method file's own enum. */
#define WF_ARGS_GLOBAL 8
#define WF_ARGS_MODEL 4
#define WF_MODELS_MAX 1024

struct wf_args {
    double g[WF_ARGS_GLOBAL];
    double (*m)[WF_ARGS_MODEL]; /* one row per input, base first where the method has one */
    uint32_t n;                 /* inputs */
};

/* What `prepare` works from: option values for one tensor, by index into the options table. */
struct wf_settings {
    const double *global;       /* one per option; meaningful for WF_GLOBAL rows */
    const double *const *model; /* model[i][option], i counts inputs, base (x[0]) included */
    uint32_t n;                 /* inputs */
};

struct wf_method {
    const char *name;
    const char *title;    /* one line */
    const char *formula;  /* a few lines of plain text */
    const char *citation; /* paper or source, one line each */
    const struct wf_option *options;
    size_t n_options;
    const struct wf_stage *stages;
    size_t n_stages;
    uint32_t min_models, max_models; /* model entries besides the base */
    enum wf_base_use base;
    /* Turns settings into args, in double. Returns NULL, or why the settings are impossible (a
     * constant sentence; becomes a WF_USAGE error with the tensor's name). Must not depend on
     * anything but its arguments. */
    const char *(*prepare)(const struct wf_settings *s, struct wf_args *args);
    /* True when these settings just give back input *source, byte for byte: the engine then moves
     * bytes (COPY) instead of computing. NULL: never. */
    bool (*is_copy)(const struct wf_args *args, uint32_t *source);
};

/* The registry, sorted by name. */
size_t wf_method_count(void);
const struct wf_method *wf_method_at(size_t i);
/* Index of a method in the registry: what backends index their function tables with. */
size_t wf_method_index(const struct wf_method *m);
const struct wf_method *wf_method_find(const char *name); /* NULL if unknown */
const char *const *wf_method_names(void); /* NULL-terminated, for nearest-word hints */
/* Index of an option by name, or -1. */
int wf_method_option(const struct wf_method *m, const char *name);
/* How many times the method's stages read every input: 1 for MAP alone. */
unsigned wf_method_passes(const struct wf_method *m);

#endif
