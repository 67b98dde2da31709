/* apply.c - a merge of one model: the shared one, with something on top. */
#include "apply.h"

#include <string.h>

#include "../format/delta_file.h"

#define WHERE "weft apply" /* what messages call the command */

struct applying {
    const char *shared, *top;
};

static int open_both(struct wf_err *e, const void *arg, struct wf_setup *s)
{
    const struct applying *a = arg;
    const struct wf_ckpt *shared = NULL, *top = NULL;
    s->models = wf_arena_alloc(&s->arena, e, 1, sizeof *s->models);
    if (!s->models)
        return WF_MACHINE;
    int status = wf_opened_get(e, &s->arena, &s->opened, WHERE, a->shared, NULL, &shared);
    if (!status && (shared->is_adapter || wf_delta_is(shared)))
        return wf_fail(e, WF_USAGE, "%s: %s is %s, not a model; SHARED comes first", WHERE,
                       a->shared, shared->is_adapter ? "an adapter" : "a task delta");
    if (!status)
        status = wf_opened_get(e, &s->arena, &s->opened, WHERE, a->top, NULL, &top);
    if (!status)
        status = wf_opened_lay(e, &s->arena, &s->opened, WHERE, shared, top, &s->models[0]);
    /* What a delta holds goes in as it is, NaN included: who made it has been asked. An adapter's
     * sum is checked. */
    s->recipe.allow_non_finite = !status && wf_delta_is(top);
    return status;
}

/* The same as a recipe; paths stand letter by letter, whatever they hold. */
static void write_recipe(const struct applying *a, struct wf_str *s)
{
    wf_str_puts(s, "# made by weft apply\nmerge_method: passthrough\nmodels:\n"
                   "  - model:\n      model: {path: ");
    wf_str_json(s, a->shared, strlen(a->shared));
    wf_str_puts(s, "}\n      lora: {path: ");
    wf_str_json(s, a->top, strlen(a->top));
    wf_str_puts(s, "}\n");
}

int wf_apply_run(struct wf_err *e, const struct weft_options *options, const char *shared,
                 const char *top, const char *out, const volatile int *stop,
                 struct weft_merge_result *result)
{
    struct applying a = {shared, top};
    struct wf_str text = {0};
    *result = (struct weft_merge_result){0};
    write_recipe(&a, &text);
    int status = wf_str_finish(&text, e);
    if (!status) {
        struct wf_merge_source source = {
            .recipe = WHERE, .text = text.text, .open = open_both, .arg = &a};
        status = wf_merge_run(e, options, &source, out, stop, result);
    }
    wf_str_free(&text);
    return status;
}
