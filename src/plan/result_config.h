/* result_config.h - what changes in config.json because the result has other layers, or another
 * head, than the model that the config comes from.
 */
#ifndef WF_RESULT_CONFIG_H
#define WF_RESULT_CONFIG_H

#include "plan.h"

/* Sets plan->config_edits from the recipe's slices and the jobs:
 *
 *     num_hidden_layers and its other names    the number of layers, where it was the donor's
 *     lists with an entry for each layer       the entries of the layers taken, each from the
 *                                              config of the model that gives the layer's types
 *     tie_word_embeddings                      false where the result holds a head that need not be
 *                                              its table: some model has one of its own, or the two
 *                                              are made in different ways
 *
 * plan->layer_rule is a key that says something by layer numbers and is left as it is. Edits are
 * made at top level and in nested configs (text_config, ...). Everything lives in the plan's arena.
 */
int wf_result_config(struct wf_err *e, struct wf_plan *plan, const struct wf_ckpt *const *models);

#endif
