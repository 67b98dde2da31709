/* tokenizers.h - the vocabulary of a merge, end to end: reads the models' tokenizers, puts models
 * whose rows move under maps, and makes the tokenizer's files of OUT.
 */
#ifndef WF_TOKENIZERS_H
#define WF_TOKENIZERS_H

#include "../format/config_edit.h"

struct wf_setup;
struct wf_err;

struct wf_tokenizers {
    const char *facts; /* what the result depends on, for the plan's hash; or NULL */
    const char *words; /* what becomes of the vocabulary; or NULL */
    const struct wf_plan_source *source; /* a model that gives its tokenizer and no more; or NULL */
    struct wf_config_edits edits;        /* of config.json */
};

/* With base, models and side files listed: by the recipe's `tokenizer`, or without one by the
 * tables' sizes. Changes s->base, s->models, s->sidecars and s->side_texts. */
int wf_tokenizers_apply(struct wf_err *e, bool compat, struct wf_setup *s,
                        struct wf_tokenizers *out);

/* With the plan built: its edits of config.json get these, too, and it can say what they are for.
 */
int wf_tokenizers_edit(struct wf_err *e, struct wf_setup *s, const struct wf_tokenizers *t);

#endif
