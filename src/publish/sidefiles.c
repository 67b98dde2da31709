/* sidefiles.c - config, index, recipe, card, side files. */
#include "sidefiles.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/file.h"
#include "../format/config_edit.h"
#include "../format/sidecar.h"

struct writer {
    struct wf_err *e;
    const char *folder;
    const struct wf_plan *plan;
    struct wf_side_names *list;
    size_t max;
};

static int note(struct writer *w, const char *name)
{
    if (w->list->n == w->max)
        return wf_fail(w->e, WF_BUG, "too many side files");
    w->list->names[w->list->n++] = name;
    return WF_OK;
}

/* Writes text as folder/name and takes the text's memory back. `status` is that of making it. */
static int put(struct writer *w, const char *name, struct wf_str *text, int status)
{
    if (!status)
        status = wf_str_finish(text, w->e);
    char *path = status ? NULL : wf_path_join(w->plan->arena, w->e, w->folder, name);
    if (!status)
        status = path ? wf_write_small(w->e, path, text->text, text->n) : WF_MACHINE;
    if (!status)
        status = note(w, name);
    wf_str_free(text);
    return status;
}

int wf_sidefiles_config(struct wf_err *e, const struct wf_plan *plan, struct wf_str *out)
{
    const struct wf_ckpt *donor = plan->config_donor;
    struct wf_str edited = {0};
    if (!donor->config_text)
        return WF_OK;
    int status = wf_config_apply(e, donor->config_path, donor->config_text, donor->config_n,
                                 plan->config_edits.list, plan->config_edits.n, &edited);
    if (!status)
        status = wf_config_for_merge(e, donor->config_path, edited.text, edited.n,
                                     plan->recipe->dtype, out);
    wf_str_free(&edited);
    return status;
}

static int put_config(struct writer *w)
{
    struct wf_str s = {0};
    int status = wf_sidefiles_config(w->e, w->plan, &s);
    return status || s.text ? put(w, "config.json", &s, status) : WF_OK;
}

static int by_name(const void *left, const void *right)
{
    const struct wf_job *const *a = left, *const *b = right;
    return strcmp((*a)->name, (*b)->name);
}

/* The weight map, sorted by name; only a sharded model has one. */
static int put_index(struct writer *w)
{
    const struct wf_plan *plan = w->plan;
    struct wf_str s = {0};
    if (plan->n_shards < 2)
        return WF_OK;
    const struct wf_job **sorted =
        wf_alloc(w->e, WF_MEM_META, plan->n_jobs, sizeof *sorted, "the index");
    if (!sorted)
        return WF_MACHINE;
    for (size_t i = 0; i < plan->n_jobs; i++)
        sorted[i] = &plan->jobs[i];
    qsort(sorted, plan->n_jobs, sizeof *sorted, by_name);
    wf_str_printf(&s,
                  "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n"
                  "  \"weight_map\": {",
                  plan->bytes_written);
    for (size_t i = 0; i < plan->n_jobs; i++) {
        wf_str_puts(&s, i ? ",\n    " : "\n    ");
        wf_str_json(&s, sorted[i]->name, strlen(sorted[i]->name));
        wf_str_printf(&s, ": \"%s\"", plan->shards[sorted[i]->shard].name);
    }
    wf_str_puts(&s, "\n  }\n}\n");
    wf_free(sorted);
    return put(w, "model.safetensors.index.json", &s, WF_OK);
}

static int put_text(struct writer *w, const char *name, const char *text, size_t n)
{
    struct wf_str s = {0};
    wf_str_add(&s, text, n);
    return put(w, name, &s, WF_OK);
}

/* As given. Programs that know mergekit's merges by its file's name find one under --compat. */
static int put_recipe(struct writer *w)
{
    const struct wf_recipe *r = w->plan->recipe;
    int status =
        put_text(w, r->is_json ? "weft_recipe.json" : "weft_recipe.yaml", r->text, r->text_n);
    if (!status && !r->is_made && wf_plan_is_mergekit(w->plan))
        status = put_text(w, "mergekit_config.yml", r->text, r->text_n);
    return status;
}

/* What was made at set-up. Their names hold no folder. */
static int put_side_texts(struct writer *w)
{
    int status = WF_OK;
    for (const struct wf_side_text *t = w->plan->side_texts; t && !status; t = t->next)
        if (t->text)
            status = put_text(w, t->name, t->text, t->n);
    return status;
}

static int put_card(struct writer *w, const char *title)
{
    struct wf_str s = {0};
    int status = wf_card_format(w->e, title, w->plan, &s);
    return put(w, "README.md", &s, status);
}

/* Or is not to be there. */
static bool is_written(const struct writer *w, const char *name)
{
    for (size_t i = 0; i < w->list->n; i++)
        if (!strcmp(w->list->names[i], name))
            return true;
    return !strcmp(name, "weft_manifest.json") || wf_side_text_find(w->plan->side_texts, name);
}

static int copy_sidecars(struct writer *w, const struct wf_sidecars *cars, const volatile int *stop)
{
    int status = WF_OK;
    for (size_t i = 0; !status && i < cars->n; i++) {
        if (is_written(w, cars->files[i].name))
            continue;
        if (*stop)
            return wf_fail(w->e, WF_STOPPED,
                           "stopped by a signal while side files were copied; run "
                           "the same command with --resume to go on");
        status = wf_sidecar_copy(w->e, &cars->files[i], w->folder);
        if (!status)
            status = note(w, cars->files[i].name);
    }
    return status;
}

static int name_order(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

int wf_sidefiles_write(struct wf_err *e, const char *folder, const char *title,
                       const struct wf_plan *plan, const volatile int *stop,
                       struct wf_side_names *out)
{
    const struct wf_sidecars *cars = plan->sidecars;
    struct writer w = {e, folder, plan, out, (cars ? cars->n : 0) + 8};
    for (const struct wf_side_text *t = plan->side_texts; t; t = t->next)
        w.max++;
    *out =
        (struct wf_side_names){.names = wf_arena_alloc(plan->arena, e, w.max, sizeof *out->names)};
    if (!out->names)
        return WF_MACHINE;
    int status = put_config(&w);
    if (!status)
        status = put_index(&w);
    if (!status)
        status = put_recipe(&w);
    if (!status && title)
        status = put_card(&w, title);
    if (!status)
        status = put_side_texts(&w);
    if (!status && cars)
        status = copy_sidecars(&w, cars, stop);
    qsort(out->names, out->n, sizeof *out->names, name_order);
    return status;
}
