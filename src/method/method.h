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
enum wf_option_kind {
    WF_OPTION_NUMBER,
    WF_OPTION_BOOL,
    WF_OPTION_CHOICE /* one of a few words; the value is the word's index in `choices` */
};
enum wf_option_where {
    WF_GLOBAL,    /* top-level `parameters`; one value for all models */
    WF_PER_MODEL, /* on a model entry, or at top level as the default for all */
};

struct wf_option {
    const char *name;
    enum wf_option_kind kind;
    enum wf_option_where where;
    bool required;   /* no default: every model (base excepted) must get a value */
    double fallback; /* the default; NAN: none, the method does without */
    double min, max; /* inclusive; -HUGE_VAL and HUGE_VAL for none */
    const char *help;
    const char *const *choices; /* CHOICE: NULL-terminated; else NULL */
};

/* Limits that frames and the plan size their buffers by. */
#define WF_ARGS_GLOBAL 8
#define WF_ARGS_MODEL 8
#define WF_MODELS_MAX 1024
#define WF_STAGES_MAX 8
#define WF_RANKS_MAX 3
#define WF_GRAM_MODELS_MAX 64 /* inputs of a method that folds all pairs of them */
#define WF_TERMS_MAX (WF_GRAM_MODELS_MAX * (WF_GRAM_MODELS_MAX + 1) / 2)

/* Of args.g, in methods that have a share for each input (stream/sink.h): whose it is. */
#define WF_SHARE_SLOT 0

/* The engine's vocabulary (docs/ARCHITECTURE.md, "Stages").
 *
 *   FOLD    sums (and maxima) of terms over a group of elements, then `finish`, which turns them
 *           into numbers of wf_args that later stages see
 *   SELECT  exact order statistics of keys over a group; they become numbers of wf_args
 *   RANK    the place of each element's key in its row; MAP sees it as WF_RANK
 *   MAP     the result, always the last stage
 *
 * The group is the stage's scope. What is found for a row holds for that row only: element
 * functions never know which scope gave them their numbers. */
enum wf_stage_kind { WF_STAGE_FOLD, WF_STAGE_SELECT, WF_STAGE_RANK, WF_STAGE_MAP };
enum wf_scope {
    WF_SCOPE_OFF, /* the stage is left out */
    WF_SCOPE_ELEMENT,
    WF_SCOPE_ROW,
    WF_SCOPE_COLUMN, /* FOLD of a tensor with two dimensions: a group is a column */
    WF_SCOPE_TENSOR,
    WF_SCOPE_MODEL /* SELECT, FOLD: every tensor that the method merges, by name in byte order */
};

/* Who is first among equal keys, where a cut goes through them. */
enum wf_ties {
    WF_TIES_INCLUSIVE,  /* nobody: all equal elements are above the cut that one of them is above */
    WF_TIES_LOW_IS_LOW, /* the lower index ranks lower */
    WF_TIES_LOW_IS_HIGH /* the lower index ranks higher: "largest first, lowest index first" */
};

struct wf_args;

/* FOLD. Terms are doubles; the first `maxima` of them are joined by maximum, the others are added,
 * in the canonical tree of docs/NUMERICS.md. With WF_TERMS_MAX maxima all of them are. */
struct wf_fold {
    uint32_t maxima;
    uint32_t (*terms)(
        uint32_t n); /* how many, maxima included, for n inputs; at most WF_TERMS_MAX */
    /* count: elements of the group. Returns NULL, or why the tensor cannot be merged (a constant
     * sentence). Calls nothing but + - * / sqrt and the functions of dialect.h. */
    const char *(*finish)(const double *terms, uint64_t count, struct wf_args *args);
};

/* What `ranks` may look at besides args. */
struct wf_group {
    uint64_t count;   /* elements in the group */
    uint64_t nonzero; /* of them, keys above zero */
    uint64_t tensor;  /* elements of the tensor (of all tensors with scope model) */
};

/* SELECT. Keys are not negative; they are put in ascending order, equal ones as wf_args.ties says.
 * The engine then sets slot cut + r to a threshold t such that `key >= t` holds for the elements at
 * position rank[r] and above, and no others (with WF_TIES_INCLUSIVE: and all equal to that at
 * rank[r]). rank[r] = count: for none. The slot is m[i][cut + r] with per_model, else g[cut + r].
 */
struct wf_select {
    bool per_model; /* a key for each of the models 1..n-1; else one for all */
    uint8_t cut;
    uint8_t n_ranks; /* at most WF_RANKS_MAX */
    void (*ranks)(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                  uint64_t *rank);
};

struct wf_stage {
    enum wf_stage_kind kind;
    enum wf_scope scope; /* unless `prepare` says otherwise */
    uint8_t function;    /* FOLD: enum wf_fold_id, SELECT and RANK: enum wf_key_id */
    struct wf_fold fold;
    struct wf_select select;
};

/* The last stage of every method. */
#define WF_MAP_STAGE                                                                               \
    {                                                                                              \
        .kind = WF_STAGE_MAP, .scope = WF_SCOPE_ELEMENT                                            \
    }

/* Rows of a tensor, for scope row: element i of row r lies at
 * (r / stride) * length * stride + r % stride + i * stride. */
struct wf_rows {
    uint64_t length, stride;
};
/* Rows that lie interleaved are a slab: its elements, side by side, are those of whole rows. */
static inline uint64_t wf_rows_slab(const struct wf_rows *rows)
{
    return rows->length * rows->stride;
}
enum wf_row_rule {
    WF_ROWS_LAST_AXIS,  /* a vector, and a scalar, is one row */
    WF_ROWS_FIRST_AXIS, /* a row is all that has one first index: a filter */
    WF_ROWS_SECOND_AXIS /* a row runs along the second axis; a vector is one row */
};

enum wf_base_use {
    WF_BASE_NONE, /* arithmetic never sees a base; one in the recipe only donates config and types
                   */
    WF_BASE_OPTIONAL, /* x[0] is the base's value if the recipe has a base_model: settings.has_base
                       */
    WF_BASE_REQUIRED, /* x[0] is the base's value */
};

/* Numbers an element function sees, resolved for one tensor. `g` holds what concerns all models,
 * `m[i]` what concerns input i; what each slot means is the method file's own enum. `t` has room
 * for what concerns pairs of inputs. */
struct wf_args {
    double g[WF_ARGS_GLOBAL];
    double (*m)[WF_ARGS_MODEL];   /* one row per input, base first where the method has one */
    double *t;                    /* wf_method.table numbers, zero at first; `finish` of a FOLD of
                                     model scope may set them, and nothing else */
    uint32_t n;                   /* inputs */
    uint32_t n_t;                 /* numbers in t */
    uint8_t map;                  /* enum wf_map_id: the element function of MAP */
    uint8_t scope[WF_STAGES_MAX]; /* enum wf_scope, by stage: as described unless changed */
    uint8_t ties;                 /* enum wf_ties, for SELECT and RANK */
};

/* What `prepare` works from: option values for one tensor, by index into the options table. */
struct wf_settings {
    const double *global;       /* one per option; meaningful for WF_GLOBAL rows */
    const double *const *model; /* model[i][option], i counts inputs, base (x[0]) included */
    uint32_t n;                 /* inputs */
    bool has_base;              /* input 0 is the base */
    bool one_row;               /* the tensor is a single row: scope row is scope tensor */
    bool compat;                /* --compat mergekit */
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
    uint8_t map;   /* enum wf_map_id, unless `prepare` chooses another */
    bool adapters; /* models are PEFT adapters, and so are the results: no tensor streams, and there
                      are no stages and no `prepare` */
    bool draws;    /* a uniform number for each model and element: WF_UNIFORM */
    bool rounds;   /* keys and terms are results of rounded arithmetic: in a group of model scope
                      all tensors are computed in double if one is, so that one order holds */
    /* As bits, the slots of g and of m[i] that stages of model scope neither look at nor set. They
     * may differ by tensor, each tensor keeps its own; all others are the group's. */
    uint8_t own_g, own_m;
    enum wf_row_rule rows;
    uint32_t (*table)(uint32_t n); /* numbers in wf_args.t for n inputs; NULL: none */
    /* Turns settings into args, in double. Returns NULL, or why the settings are impossible (a
     * constant sentence; becomes a WF_USAGE error with the tensor's name). Must not depend on
     * anything but its arguments. */
    const char *(*prepare)(const struct wf_settings *s, struct wf_args *args);
    /* True when these settings just give back input *source, byte for byte: the engine then moves
     * bytes (COPY) instead of computing. NULL: never. */
    bool (*is_copy)(const struct wf_args *args, uint32_t *source);
    /* What the user should be told though the merge goes on: a constant sentence that begins with
     * what is wrong, or NULL. Of input i after the statistics of a tensor; with i = 0, where the
     * base is, of the settings, when the merge is planned. NULL: nothing ever. */
    const char *(*remark)(const struct wf_args *args, uint32_t i);
    /* The result is the base plus the sum, in order, of m[i][share_factor] times the share of input
     * i: which element function gives the shares (enum wf_map_id). NULL: it is no such sum. */
    uint8_t (*share)(const struct wf_args *args);
    uint8_t share_factor;
};

/* The scopes of the stages as described, before `prepare`. */
static inline void wf_method_scopes(const struct wf_method *m, uint8_t scope[WF_STAGES_MAX])
{
    for (size_t s = 0; s < WF_STAGES_MAX; s++)
        scope[s] = (uint8_t)(s < m->n_stages ? m->stages[s].scope : WF_SCOPE_OFF);
}

/* The registry, sorted by name. */
size_t wf_method_count(void);
const struct wf_method *wf_method_at(size_t i);
/* Index of a method in the registry: what backends index their function tables with. */
size_t wf_method_index(const struct wf_method *m);
const struct wf_method *wf_method_find(const char *name); /* NULL if unknown */
/* A method that no recipe can name: what the engine does beside a merge. It is not counted, listed
 * or found above. NULL if unknown. */
const struct wf_method *wf_method_internal(const char *name);
const char *const *wf_method_names(void); /* NULL-terminated, for nearest-word hints */
/* Index of an option by name, or -1. */
int wf_method_option(const struct wf_method *m, const char *name);
/* How many times these stages read every input that does not fit in memory: 1 for MAP alone, one
 * more for each stage of model scope. */
unsigned wf_method_passes(const struct wf_method *m, const struct wf_args *args);
/* Whether stages of model scope may look at tensors with these numbers as one group. */
bool wf_method_one_group(const struct wf_method *m, const struct wf_args *a,
                         const struct wf_args *b);
/* Slots that are not the tensor's own, from the group's args. Room for equal rows in both. */
void wf_method_take_group(const struct wf_method *m, const struct wf_args *group,
                          struct wf_args *args);
/* The rows that the method means in a tensor of this shape. */
struct wf_rows wf_method_rows(const struct wf_method *m, const uint64_t *shape, unsigned n_dims);

#endif
