/* chat_template.c - which chat template the result gets, and where it stands.
 *
 * A model's template is in chat_template.jinja, which wins in current loaders, or in
 * tokenizer_config.json (a text, or a list of named ones of which "default" counts), or in
 * chat_template.json, a processor's older form. Older loaders know the latter two only, so where
 * the result has these files, they hold the same text.
 */
#include "chat_template.h"

#include <string.h>

#include "../base/file.h"
#include "../base/log.h"
#include "../format/config_edit.h"
#include "../format/folder.h"
#include "../format/json.h"
#include "../format/tokenizer.h"

#define FILE_BYTES_MAX ((size_t)64 << 20)
#define JINJA "chat_template.jinja"
#define FIELD "chat_template"

static const char *const json_files[] = {"tokenizer_config.json", "chat_template.json", NULL};

/* The text without white space at its ends; NULL if there is nothing else. */
static const char *trimmed(struct wf_err *e, struct wf_arena *a, const char *text, size_t n)
{
    while (n && strchr(" \t\r\n\v\f", text[n - 1]))
        n--;
    while (n && strchr(" \t\r\n\v\f", *text)) {
        text++;
        n--;
    }
    return n ? wf_arena_strndup(a, e, text, n) : NULL;
}

/* The member of a JSON file: a text, or of a list of {name, template} the one called "default". */
static const char *default_template(const struct wf_json *file)
{
    const struct wf_json *v = wf_json_get(file, FIELD);
    if (v && v->kind == WF_JSON_STRING)
        return v->text;
    for (size_t i = 0; v && v->kind == WF_JSON_ARRAY && i < v->n; i++) {
        const char *name = wf_json_string(&v->children[i], "name");
        if (name && !strcmp(name, "default"))
            return wf_json_string(&v->children[i], "template");
    }
    return NULL;
}

/* Has the model this small file, or will it have it? */
static int has_file(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *k, const char *name,
                    bool *has)
{
    const struct wf_side_text *made = wf_side_text_find(k->texts, name);
    *has = made ? made->text != NULL : wf_sidecar_find(k->cars, name) != NULL;
    if (k->cars)
        return WF_OK;
    const char *path = wf_path_join(a, e, k->place.path, name);
    *has = path && wf_is_file(path);
    return path ? WF_OK : WF_MACHINE;
}

/* A file's template, trimmed; NULL if it has none. */
static int template_in(struct wf_err *e, struct wf_arena *a, const char *name, const char *path,
                       const char *text, size_t n, const char **out)
{
    struct wf_json *json;
    size_t bad;
    if (strcmp(name, JINJA) != 0) {
        int status = wf_json_parse(e, a, path, text, n, WF_JSON_CONFIG, &json);
        text = status ? NULL : default_template(json);
        *out = text ? trimmed(e, a, text, strlen(text)) : NULL;
        return status ? status : wf_err_status(e);
    }
    if (!wf_utf8_valid(text, n, &bad) || memchr(text, 0, n))
        return wf_fail(e, WF_INPUT, "%s: not a text in UTF-8", path);
    *out = trimmed(e, a, text, n);
    return wf_err_status(e);
}

/* A model's template, trimmed; NULL if it has none. A chat_template.jinja counts, whatever else is
 * there. */
static int read_template(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *k,
                         const char **out)
{
    static const char *const names[] = {JINJA, "tokenizer_config.json", "chat_template.json", NULL};
    const struct wf_tokenizer_source from = {
        .place = &k->place, .cars = k->cars, .texts = k->texts};
    bool has = false;
    int status = WF_OK;
    *out = NULL;
    for (size_t i = 0; names[i] && !status && !*out && !(i == 1 && has); i++) {
        const char *path;
        char *text;
        size_t n;
        status = has_file(e, a, k, names[i], &has);
        if (status || !has)
            continue;
        status = wf_tokenizer_read(e, a, &from, names[i], &path, &text, &n);
        if (status)
            return status;
        status = template_in(e, a, names[i], path, text, n, out);
        wf_free(text);
    }
    return status;
}

/* One model's vote. */
struct vote {
    const char *text;
    const char *model;
    size_t count; /* of models with this text, at the first that has it */
};

static void count_vote(struct vote *votes, size_t *n, const char *text, const char *model)
{
    size_t i = 0;
    while (i < *n && strcmp(votes[i].text, text) != 0)
        i++;
    if (i == *n)
        votes[(*n)++] = (struct vote){.text = text, .model = model};
    votes[i].count++;
}

/* Was this model looked at before: as the base, or as an earlier entry? */
static bool seen(const struct wf_setup *s, size_t model)
{
    bool is = s->base == s->models[model];
    for (size_t i = 0; i < model && !is; i++)
        is = s->models[i] == s->models[model];
    return is;
}

/* The most frequent template among the models, each counted once: of equally frequent ones the
 * first, the base before the others. NULL if no model has one. */
static int choose(struct wf_err *e, struct wf_setup *s, const char **out)
{
    const struct wf_recipe *r = &s->recipe;
    struct vote *votes = wf_arena_alloc(&s->arena, e, r->n_models + 1, sizeof *votes);
    size_t n = 0, n_models = 0;
    const struct vote *best = NULL;
    int status = votes ? WF_OK : WF_MACHINE;
    for (size_t i = 0; !status && i <= r->n_models; i++) {
        const struct wf_ckpt *k = i ? s->models[i - 1] : s->base;
        const char *text, *name = i ? r->models[i - 1].ref.text : r->base.text;
        if (!k || (i && seen(s, i - 1)))
            continue;
        n_models++;
        status = read_template(e, &s->arena, k, &text);
        if (!status && text)
            count_vote(votes, &n, text, name);
    }
    for (size_t i = 0; !status && i < n; i++)
        if (!best || votes[i].count > best->count)
            best = &votes[i];
    *out = best ? best->text : NULL;
    if (best)
        wf_log(WF_LOG_INFO, "chat template: that of '%s', which %zu of %zu models have",
               best->model, best->count, n_models);
    else if (!status)
        wf_log(WF_LOG_WARNING, "%s:%d: no model has a chat template, so the result has none",
               r->path, r->chat_template_line);
    return status;
}

/* The bytes that a side file of this name is about to have: a text made before, or the donor's.
 * NULL if there is none. */
static int current_text(struct wf_err *e, struct wf_setup *s, const char *name, const char **text,
                        size_t *n)
{
    const struct wf_side_text *made = wf_side_text_find(s->side_texts, name);
    const struct wf_sidecar *car = made ? NULL : wf_sidecar_find(&s->sidecars, name);
    char *read;
    *text = made ? made->text : NULL;
    *n = made ? made->n : 0;
    if (!car)
        return WF_OK;
    int status = wf_read_small(e, WF_INPUT, car->path, FILE_BYTES_MAX, &read, n);
    if (status)
        return status;
    *text = wf_arena_strndup(&s->arena, e, read, *n);
    wf_free(read);
    return *text ? WF_OK : WF_MACHINE;
}

/* Sets the member of one of the JSON files, if the result has the file. */
static int put_in_json(struct wf_err *e, struct wf_setup *s, const char *name, const char *value)
{
    const struct wf_config_edit edit = {.path = FIELD, .value = value, .insert = 1};
    const char *text, *edited;
    size_t n;
    struct wf_str out = {0};
    int status = current_text(e, s, name, &text, &n);
    if (status || !text)
        return status;
    status = wf_config_apply(e, name, text, n, &edit, 1, &out);
    if (!status)
        edited = wf_arena_strndup(&s->arena, e, out.text, out.n);
    if (!status)
        status = edited ? wf_side_text_put(e, &s->arena, &s->side_texts, name, edited, out.n)
                        : WF_MACHINE;
    wf_str_free(&out);
    return status;
}

static int put(struct wf_err *e, struct wf_setup *s, const char *text)
{
    struct wf_str value = {0};
    int status = wf_side_text_put(e, &s->arena, &s->side_texts, JINJA, text, strlen(text));
    wf_str_json(&value, text, strlen(text));
    if (!status)
        status = wf_str_finish(&value, e);
    for (size_t i = 0; !status && json_files[i]; i++)
        status = put_in_json(e, s, json_files[i], value.text);
    for (size_t i = 0; !status && i < s->sidecars.n; i++) {
        const char *name = s->sidecars.files[i].name;
        if (wf_starts_with(name, "additional_chat_templates/"))
            status = wf_side_text_put(e, &s->arena, &s->side_texts, name, NULL, 0);
    }
    wf_str_free(&value);
    return status;
}

int wf_chat_template_put(struct wf_err *e, struct wf_setup *s)
{
    const char *text = s->recipe.chat_template;
    int status = s->recipe.chat_auto ? choose(e, s, &text) : WF_OK;
    return status || !text ? status : put(e, s, text);
}
