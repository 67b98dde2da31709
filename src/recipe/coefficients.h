/* coefficients.h - a table of weights, tensor by task: what layer-wise AdaMerging, Model Tinting
 * and SyMerge learn.
 *
 *   {"model.embed_tokens.weight": {"math": 0.3, "code": 0.4},      by task name
 *    "model.layers.0.mlp.up_proj.weight": [0.5, 0.1],              or in the order of `models`
 *    "*": [0.2, 0.2]}                                              every tensor not named
 *
 * The numbers stand in for the parameter `weight`.
 */
#ifndef WF_COEFFICIENTS_H
#define WF_COEFFICIENTS_H

#include "recipe.h"
#include "../base/hash.h"

struct wf_coefficients_row {
    const char *tensor;
    const double *weight; /* by entry of `models`; of the base's own entry: meaningless */
};

struct wf_coefficients {
    struct wf_coefficients_row *rows; /* by name */
    size_t n;
    const double *otherwise; /* of "*"; NULL: every tensor has a row */
    const char *path;
    uint64_t bytes;
    struct wf_hash128 hash; /* of the file */
};

/* Reads the file that the recipe names, if it does, and puts the table into it. Not there, or not
 * for these tasks: WF_USAGE; damaged: WF_INPUT. */
int wf_coefficients_read(struct wf_err *e, struct wf_arena *a, struct wf_recipe *recipe);

/* The weights of a tensor, NULL if the table has none. */
const double *wf_coefficients_find(const struct wf_coefficients *c, const char *tensor);

#endif
