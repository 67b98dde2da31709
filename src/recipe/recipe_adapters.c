/* recipe_adapters.c - recipes whose method works on adapters: what has no meaning there. */
#include "recipe_read.h"

#include <math.h>
#include <string.h>

#include "../base/str.h"
#include "../format/own_names.h"

/* Keys about tensors of a model, or about values that a factorisation cannot hold. */
static const char *const foreign[] = {"include",          "exclude",   "task_deltas",
                                      "tokenizer_source", "tokenizer", "chat_template",
                                      "non_finite",       NULL};

static int check_rank(struct wf_recipe_reader *r)
{
    const struct wf_recipe *recipe = r->out;
    for (size_t i = 0; i < recipe->n_values; i++) {
        const struct wf_value *v = &recipe->values[i];
        if (strcmp(v->name, "rank") != 0)
            continue;
        if (!wf_value_is_plain(v))
            return wf_recipe_fail(r, v->line, "'rank' is one whole number for all modules");
        double rank = v->cases[0].numbers[0];
        if (rank != floor(rank))
            return wf_recipe_fail(r, v->line, "'rank' is %g; it must be a whole number", rank);
    }
    return WF_OK;
}

/* Each task becomes a folder beside what weft itself writes. */
static int check_folders(struct wf_recipe_reader *r)
{
    const struct wf_recipe *recipe = r->out;
    struct wf_clip clip;
    for (size_t i = 0; i < recipe->n_models; i++)
        if (wf_own_name(recipe->models[i].task, strlen(recipe->models[i].task)))
            return wf_recipe_fail(r, recipe->models[i].line,
                                  "the task '%s' has a name that weft uses itself; give the model "
                                  "another 'name'",
                                  wf_clip(recipe->models[i].task, &clip));
    return WF_OK;
}

int wf_recipe_adapters(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    const char *method = r->out->method->name;
    for (size_t i = 0; foreign[i]; i++) {
        const struct wf_yaml *v = wf_yaml_get(document, foreign[i]);
        if (v)
            return wf_recipe_fail(
                r, v->key_line, "'%s' has no meaning for merge_method '%s', which writes adapters",
                foreign[i], method);
    }
    int s = check_rank(r);
    if (!s)
        s = wf_recipe_check_tasks(r, method);
    return s ? s : check_folders(r);
}
