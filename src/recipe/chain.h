/* chain.h - a recipe file of several documents, each a stage (mergekit-multi).
 *
 *     name: first              merge_method: linear        the result: the document without a name,
 *     merge_method: slerp      models:                     or the last one where all have one
 *     ...                        - model: first
 *     ---                        - model: org/other
 *
 * Wherever a document names a model, the name of another stage is that stage's result. Stages that
 * the result does not need are not run.
 */
#ifndef WF_CHAIN_H
#define WF_CHAIN_H

#include "recipe.h"

struct wf_chain_stage {
    const char *name; /* NULL: the result may have none */
    int line;         /* of the name, or of the document */
    struct wf_recipe recipe;
    size_t document; /* of the file, from 0 */
    size_t user;     /* the only stage of `run` that names it; 0, which never can: it has several */
};

struct wf_chain {
    struct wf_chain_stage *run; /* those that are needed, in the order in which they run; in the end
                             the result */
    size_t n;                   /* 1: there are no stages to speak of */
    struct wf_chain_stage *spare; /* those that the result does not need */
    size_t n_spare;
};

/* Reads and checks every document of a recipe's file, also those that are not needed, and how they
 * need each other. Errors are WF_USAGE, with the line, as with wf_recipe_read. */
int wf_chain_read(struct wf_err *e, struct wf_arena *a, const char *path, bool compat,
                  struct wf_chain *out);
/* The same from memory, for tests and fuzzing; no path is looked up. */
int wf_chain_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                   size_t n, bool compat, struct wf_chain *out);

#endif
