/* plan.h - what a merge will do, from recipe and headers alone.
 *
 *   recipe + checkpoints --match--> jobs --lay out--> shards --> hash
 *
 * A job is one output tensor. The plan is complete: every tensor of every input is merged, copied,
 * left out on the recipe's word, or named in an error. It is a pure function of recipe,
 * headers and options: no I/O, no clock, no thread count. What it needs of the machine (memory,
 * ring) is a separate step, budget.h.
 */
#ifndef WF_PLAN_H
#define WF_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../base/hash.h"
#include "../base/mem.h"
#include "../base/status.h"
#include "../base/str.h"
#include "../format/ckpt.h"
#include "../format/config_edit.h"
#include "../format/row_map.h"
#include "../format/sidecar.h"
#include "../method/method.h"
#include "../recipe/recipe.h"

#define WF_BLOCK_BYTES (64u << 20) /* of an output file: unit of checksums and of the journal */

enum wf_action {
    WF_ACTION_MAP,  /* compute */
    WF_ACTION_COPY, /* move the bytes of in[0]; further inputs must hold the same bytes */
};

struct wf_job {
    const char *name;
    enum wf_action action;
    uint8_t dtype; /* stored type, enum wf_dtype */
    uint8_t n_dims;
    const uint64_t *shape;
    uint64_t count; /* elements */
    uint64_t bytes; /* in the output */
    uint32_t shard;
    uint64_t offset; /* of the first byte, from the start of the shard file */
    const struct wf_method
        *method;                /* MAP: who computes (may be a plain conversion by passthrough) */
    const struct wf_args *args; /* MAP */
    bool wide;                  /* MAP: computes in double */
    struct wf_rows rows;        /* MAP: what the method's stages of row or column scope mean */
    uint64_t draw_key;          /* MAP, where the method draws */
    uint64_t model_first; /* with a stage of model scope: elements before it in its group ... */
    uint64_t model_leaf;  /* ... and leaves of a FOLD */
    uint32_t n_inputs;
    uint32_t *input_ckpt;        /* index into wf_plan.ckpts */
    const struct wf_tensor **in; /* n_inputs tensors */
    uint8_t *in_dtype; /* their types as the kernels see them, enum wf_dtype: as stored, or
                          F32 (wide: F64) where an addend was applied */
    bool has_addends;  /* an input is more than its stored bytes */
};

struct wf_shard {
    const char *name;     /* file name in OUT */
    struct wf_str header; /* the first bytes of the file: length and JSON, padded */
    uint64_t bytes;       /* of the whole file */
    size_t first_job, n_jobs;
};

/* A checkpoint that takes part, once, however often the recipe names it. */
struct wf_plan_ckpt {
    const struct wf_ckpt *ckpt;
    const char *text; /* as the recipe names it */
    const char *task;
    int line; /* of the recipe */
    bool is_base;
};

/* What else the result is made from: files that hold no tensors. */
struct wf_plan_source {
    const char *text;             /* as the recipe names it */
    const char *role;             /* "tokenizer", "coefficients" */
    const struct wf_place *place; /* of a model; NULL: the file itself is named */
    struct wf_plan_source_file {
        const char *name;
        uint64_t bytes;
        struct wf_hash128 hash; /* of all of it */
    } files[2];
    size_t n_files;
};

struct wf_left_out {
    const char *name;
    const char *ckpt; /* text of the checkpoint that has it */
};

/* What the hash is made of, so that a refused resume can say what differs. */
enum wf_plan_part {
    WF_PART_VERSION,
    WF_PART_RECIPE,
    WF_PART_INPUTS,
    WF_PART_LAYOUT,
    WF_PART_MANIFEST,
    WF_PARTS
};

struct wf_plan {
    struct wf_arena *arena; /* not owned */
    const struct wf_recipe *recipe;
    struct wf_plan_ckpt *ckpts; /* the first, the base or else the first model, is the donor: it
                                   gives types and copies */
    size_t n_ckpts;
    const int *input_model; /* by input of the first slice: its entry in the recipe; negative: the
                               base */
    const struct wf_ckpt *config_donor;    /* gives config.json, side files; NULL: there are none */
    const struct wf_sidecars *sidecars;    /* of the config donor; may be NULL */
    const struct wf_side_text *side_texts; /* in place of some of these, and beside them */
    struct wf_config_edits config_edits;   /* of its config.json, beside the type */
    const char
        *layer_rule;     /* a key of it that goes by layer numbers, where layers moved; or NULL */
    struct wf_job *jobs; /* in file order: shard, then offset */
    size_t n_jobs;
    struct wf_shard *shards;
    size_t n_shards;
    struct wf_left_out *left_out;
    size_t n_left_out;
    const char **unused; /* include and exclude patterns that match no tensor */
    size_t n_unused;
    const char *uncomputed; /* first tensor of a float type that weft only copies, though the method
                               would change it; NULL if none */
    size_t n_uncomputed;
    size_t n_tied; /* inputs without a head of their own, whose embedding table stands in */
    uint64_t bytes_read, bytes_written; /* tensor bytes of one whole run */
    uint64_t addend_bytes; /* memory for what inputs add to stored values, from first to last */
    bool has_deltas;       /* kept places are among it */
    bool has_made_rows;    /* rows of a vocabulary that no model stores */
    uint64_t n_merged, n_copied;
    unsigned
        passes; /* over inputs that do not fit in memory: 1 and one for each stage of model scope */
    struct wf_job **model_jobs; /* those with a stage of model scope, by name in byte order */
    size_t n_model_jobs;
    uint64_t model_count;  /* their elements together */
    uint64_t model_leaves; /* of a FOLD: each tensor has leaves of its own */
    bool model_wide;       /* one of them computes in double */
    uint64_t shard_bytes;  /* as asked; this and the rest: copies of the options */
    const char *manifest, *compat;
    enum wf_dtype cast; /* inputs are rounded to it first; WF_DTYPE_NONE: they are not */
    bool null_compute;
    bool components;       /* files beside the shards come of the same pass */
    uint64_t thread_bytes; /* of each compute thread: for a sink's shares, and to apply deltas */
    const char *command;   /* that makes the result, where the recipe has no method; else NULL */
    const char *const *origins; /* hub ids, beside the inputs' own, for the card; may be NULL */
    const struct wf_plan_source *tokenizer; /* a model that gives that alone; NULL: none does */
    const char *vocabulary; /* what becomes of it, in words; NULL: rows are merged as they are */
    const char *facts;      /* of the inputs, beside headers: what the result depends on; or NULL */
    struct wf_hash128 parts[WF_PARTS];
    struct wf_hash128 hash;
};

struct wf_plan_options {
    uint64_t shard_bytes;
    const char *manifest; /* "xxh3", "sha256", "none": part of the hash */
    const char *compat;   /* "weft", "mergekit": likewise */
    bool null_compute;    /* likewise, so that no real merge goes on with a benchmark's output */
    bool components;      /* likewise: the same pass makes files beside the shards */
    const struct wf_sidecars *sidecars; /* what travels from wf_plan_config_donor; may be NULL */
    const struct wf_side_text *side_texts;
    const char *facts;   /* wf_plan.facts */
    uint64_t sink_bytes; /* memory of each compute thread for shares */
};

/* The first of base and models, in that order, that has a config.json; the first of all if none. */
const struct wf_ckpt *wf_plan_config_donor(const struct wf_ckpt *base,
                                           const struct wf_ckpt *const *models, size_t n_models);

/* `base` may be NULL; models has recipe->n_models entries in recipe order. The checkpoints and the
 * recipe must outlive the plan. Everything in the plan lives in `a`, except the shards' header
 * texts: wf_plan_destroy. */
int wf_plan_build(struct wf_err *e, struct wf_arena *a, const struct wf_recipe *recipe,
                  const struct wf_ckpt *base, const struct wf_ckpt *const *models,
                  const struct wf_plan_options *options, struct wf_plan *out);
void wf_plan_destroy(struct wf_plan *plan);

/* Sets plan->parts and plan->hash; a step of wf_plan_build, and all there is to plan of work that
 * has no jobs. */
int wf_plan_hash(struct wf_err *e, struct wf_plan *plan);

/* Blocks of a shard's file. They are numbered through all shards in file order: first[s] becomes
 * the number of shard s's first, first[n_shards] how many there are. */
uint64_t wf_plan_blocks(const struct wf_plan *plan, uint32_t shard);
void wf_plan_number_blocks(const struct wf_plan *plan, uint64_t *first);

/* A byte of a shard's file among all of the output: its block's number, in blocks, and bytes into
 * it. */
static inline uint64_t wf_plan_place(const uint64_t *first, uint32_t shard, uint64_t at)
{
    return first[shard] * WF_BLOCK_BYTES + at;
}

/* What a job makes, as a checkpoint of the result lists it. */
struct wf_tensor wf_plan_tensor(const struct wf_job *job);
/* All of them, sorted by name, into c->tensors. */
int wf_plan_list_tensors(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                         struct wf_ckpt *c);

/* What a compute thread needs to apply kept places: wf_delta_scratch_bytes(), then sums of one
 * chunk. */
uint64_t wf_plan_places_bytes(void);

/* What a compute thread needs to make rows of a vocabulary: stored values, values, sums, of at most
 * WF_ROW_CHUNK elements each. */
#define WF_ROW_CHUNK 8192u
uint64_t wf_plan_rows_bytes(void);

/* The merge gives mergekit's result where recipes depend on it. */
bool wf_plan_is_mergekit(const struct wf_plan *plan);

/* One and the same files, however they were named. */
bool wf_plan_same_ckpt(const struct wf_ckpt *a, const struct wf_ckpt *b);

/* What a job does, in one word: "copy", the recipe's method, or "convert". */
const char *wf_job_action_name(const struct wf_plan *plan, const struct wf_job *job);

/* Input i of a job that is being planned; and, once all inputs are set, the types of those with
 * addends, which come as numbers of the arithmetic's own type. */
void wf_job_set_input(struct wf_job *job, uint32_t i, uint32_t ckpt, const struct wf_tensor *t);
void wf_job_type_addends(struct wf_job *job);

/* True if input i is not in the slot as it was read: its addends are applied to a copy. COPY
 * changes the bytes that were read. */
static inline bool wf_job_makes_input(const struct wf_job *job, uint32_t i)
{
    return job->action == WF_ACTION_MAP && wf_tensor_is_made(job->in[i]);
}

/* True if a stage of the job has this scope. */
bool wf_job_has_scope(const struct wf_job *job, enum wf_scope scope);

/* The name of a part, for messages: "the recipe", "an input checkpoint", ... */
const char *wf_plan_part_name(enum wf_plan_part part);

/* Steps of wf_plan_build, each in a file of its own. */

/* match.c: names, shapes and types -> jobs (unordered, without layout) and left_out. */
int wf_match(struct wf_err *e, struct wf_plan *plan, const struct wf_ckpt *base,
             const struct wf_ckpt *const *models);
/* layout.c: order, shards, offsets, header texts. */
int wf_lay_out(struct wf_err *e, struct wf_plan *plan);
/* Jobs -> layout, the group of model scope, bytes: all but the hash. */
int wf_plan_settle(struct wf_err *e, struct wf_plan *plan);

#endif
