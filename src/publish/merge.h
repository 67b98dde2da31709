/* merge.h - the main job, end to end: recipe, checkpoints, plan, budget, stream, publication. */
#ifndef WF_MERGE_H
#define WF_MERGE_H

#include "../../include/weft.h"
#include "../backend/device.h"
#include "../base/mem.h"
#include "../base/status.h"
#include "../dist/rank.h"
#include "../plan/budget.h"
#include "../base/trace.h"
#include "../plan/delta_plan.h"
#include "opened.h"

struct wf_output;

/* What both `merge` and `plan` need: the recipe, the opened checkpoints, the plan, the budget. */
struct wf_setup {
    struct wf_arena arena;
    struct wf_rank rank; /* zeroed: one process */
    struct wf_recipe recipe;
    struct wf_opened opened;
    const struct wf_ckpt *base;
    const struct wf_ckpt **models;   /* recipe order */
    struct wf_place tokenizer_place; /* of a model that gives its tokenizer and no more; path NULL:
                                        there is none */
    struct wf_sidecars sidecars;
    struct wf_side_text *side_texts; /* side files that are no copies */
    struct wf_plan plan;
    struct wf_budget budget;
    struct wf_delta_plan deltas; /* the second step, if the recipe has `task_deltas` (deltas.h) */
    struct wf_budget deltas_budget;
    struct wf_device_run gpu; /* devices NULL: the CPU computes ... */
    char no_gpu[256];         /* ... and this is why, if a GPU was looked for */
    uint64_t aside_bytes;     /* what the command has allocated for itself, by then */
};

/* Where a merge comes from: a recipe's file, one of its stages, or a command that makes a recipe
 * and knows what it speaks of. */
struct wf_merge_source {
    const char *recipe;                   /* the file; or, for messages, the command */
    const struct wf_recipe *read;         /* its recipe, read already; NULL: read it */
    const char *stage;                    /* a stage on the way to the result: its name */
    bool is_chained;                      /* one of a chain, which says when it is done */
    const struct wf_opened_stage *stages; /* before this one */
    size_t n_stages;
    /* Of the chain's plan of this stage: stands for the plan that is made when its turn comes,
     * which sees files where that one saw plans. NULL: there was none. */
    const struct wf_plan *identity; /* hash and parts count, nothing else */
    const char *more; /* members of the manifest, as wf_manifest_options has them; or NULL */
    const char *const *origins; /* hub ids that these stages were made from; ends with NULL */
    const char *text;           /* the recipe that a command made; NULL: read the file */
    struct wf_trace *trace; /* the chain's; NULL: options->trace says where there is to be one */
    /* With `text`: sets s->base and s->models from s->opened, one for each model of the recipe, in
     * the setup's arena. */
    int (*open)(struct wf_err *e, const void *arg, struct wf_setup *s);
    const void *arg;
};

/* The first step, alone: reads the recipe into a zeroed setup. */
int wf_setup_recipe(struct wf_err *e, const struct weft_options *options,
                    const struct wf_merge_source *source, struct wf_setup *s);

/* The rest, for a recipe whose method works on tensors. wf_setup_destroy accepts a half-made setup.
 * Warnings about the recipe go to the log. With `look` a GPU is looked for under --backend auto;
 * otherwise only under --backend cuda. */
int wf_setup_create(struct wf_err *e, const struct weft_options *options,
                    const struct wf_merge_source *source, bool look, struct wf_setup *s);
void wf_setup_destroy(struct wf_setup *s);

/* The host memory that this process may use: as the options say, else its part of what one weft
 * takes by default; the same for compute threads. */
uint64_t wf_setup_memory(const struct weft_options *o, const struct wf_setup *s);
unsigned wf_setup_threads(const struct weft_options *o, const struct wf_setup *s);
/* What recipe, headers and plan take of it: the same for `merge` and `plan`. */
uint64_t wf_setup_tables(const struct wf_setup *s);

/* Whether several ranks have statistics of the whole model to join: in the merge or in the second
 * step. Takes the recipe's word for the latter, which is planned last. */
bool wf_setup_joins(const struct wf_setup *s);

/* `stop` is polled; nonzero means stop and save. `result` is zeroed and filled as far as known. */
int wf_merge_run(struct wf_err *e, const struct weft_options *options,
                 const struct wf_merge_source *source, const char *out, const volatile int *stop,
                 struct weft_merge_result *result);

/* Refuses an OUT or a trace (`trace_file`; NULL: none) that would take the place of something the
 * merge reads, or of each other: WF_USAGE. Changes nothing. */
int wf_merge_check_places(struct wf_err *e, const struct wf_setup *s, struct wf_output *o,
                          const char *trace_file);

/* Under --json: the line that says what became of `out`. `event` is "done", or "stage_done". */
void wf_merge_emit_done(const struct weft_options *o, const char *event,
                        const struct weft_merge_result *r, const char *out);

#endif
