/* tokenizer_output.c - what a new vocabulary changes in the small files of OUT.
 *
 *   tokenizer files             the vocabulary's donor's, byte for byte
 *   with tokens appended        tokenizer.json and tokenizer_config.json with text inserted; files
 *                               of the slow form, which would no longer agree, are left out
 *   config.json                 vocab_size, and where its ids count in another vocabulary,
 * *_token_id generation_config.json      the same *_token_id
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/file.h"
#include "../base/log.h"
#include "../base/str.h"
#include "../format/json.h"
#include "../format/tokenizer_edit.h"
#include "../format/vocab_tensors.h"
#include "vocab_models.h"

#define GENERATION_NAME "generation_config.json"

/* ---- which files travel ---- */

static bool is_slow(const char *name)
{
    static const char *const names[] = {
        "tokenizer.model", "spiece.model",      "vocab.json", "merges.txt",
        "vocab.txt",       "added_tokens.json", NULL};
    for (size_t i = 0; names[i]; i++)
        if (!strcmp(names[i], name))
            return true;
    return wf_glob("sentencepiece*.model", name);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct wf_sidecar *)a)->name, ((const struct wf_sidecar *)b)->name);
}

/* Texts of a planned donor take the place of those that the config's donor gave. */
static int take_texts(struct wf_vocab_work *w, const struct wf_tokenizer_source *donor)
{
    struct wf_side_text **at = &w->s->side_texts;
    int s = WF_OK;
    while (*at)
        if (wf_sidecar_is_tokenizer((*at)->name))
            *at = (*at)->next;
        else
            at = &(*at)->next;
    for (const struct wf_side_text *t = donor->texts; t && !s; t = t->next)
        if (t->text && wf_sidecar_is_tokenizer(t->name))
            s = wf_side_text_put(w->e, &w->s->arena, &w->s->side_texts, t->name, t->text, t->n);
    return s;
}

/* Takes the tokenizer's files from `donor` in place of those that are listed. */
static int take_files(struct wf_vocab_work *w, const struct wf_tokenizer_source *donor)
{
    struct wf_sidecars *cars = &w->s->sidecars, theirs;
    int s = take_texts(w, donor);
    if (!s && donor->cars)
        s = wf_sidecar_planned(w->e, &w->s->arena, donor->cars, donor->texts, &theirs);
    else if (!s)
        s = wf_sidecar_list(w->e, &w->s->arena, donor->place, &theirs);
    struct wf_sidecar *files =
        s ? NULL : wf_arena_alloc(&w->s->arena, w->e, cars->n + theirs.n, sizeof *files);
    size_t n = 0;
    if (!files)
        return s ? s : WF_MACHINE;
    for (size_t i = 0; i < cars->n; i++)
        if (!wf_sidecar_is_tokenizer(cars->files[i].name))
            files[n++] = cars->files[i];
    for (size_t i = 0; i < theirs.n; i++)
        if (wf_sidecar_is_tokenizer(theirs.files[i].name))
            files[n++] = theirs.files[i];
    if (n)
        qsort(files, n, sizeof *files, by_name);
    cars->files = files;
    cars->n = n;
    struct wf_hash128 both[] = {cars->hash, donor->plan ? *donor->plan : theirs.hash};
    cars->hash = wf_xxh128(both, sizeof both);
    return WF_OK;
}

static void drop_slow(struct wf_sidecars *cars)
{
    size_t n = 0;
    for (size_t i = 0; i < cars->n; i++)
        if (!is_slow(cars->files[i].name))
            cars->files[n++] = cars->files[i];
    cars->n = n;
}

/* ---- appended tokens ---- */

/* Every token of the plan is in the file, with its id. */
static int check_again(struct wf_vocab_work *w, const struct wf_new_vocab *v, const char *json,
                       size_t json_n, const char *config, size_t config_n)
{
    struct wf_vocab again = {.arena = &w->scratch};
    struct wf_tokenizer_json facts;
    struct wf_tokenizer_config more;
    char buf[WF_TOKEN_TEXT_MAX];
    int s = wf_tokenizer_json_scan(w->e, "tokenizer.json as edited", json, json_n, &again, &facts);
    if (!s && config)
        s = wf_tokenizer_config_scan(w->e, "tokenizer_config.json as edited", config, config_n,
                                     true, &again, &more);
    for (size_t i = 0; i < v->vocab.n && !s; i++) {
        const struct wf_token *t = &v->vocab.tokens[i];
        const struct wf_token *found = wf_vocab_find(&again, t->text, t->n);
        if (!found || found->id != t->id)
            s = wf_fail(w->e, WF_USAGE,
                        "%s: token '%s' cannot be given the id %" PRIu32 " by appending it there; "
                        "use 'source: base' without 'tokens'",
                        v->donor->path, wf_token_text(t->text, t->n, buf), t->id);
    }
    return s;
}

static int keep_text(struct wf_vocab_work *w, const char *name, struct wf_str *text)
{
    const char *copy = wf_arena_strndup(&w->s->arena, w->e, text->text, text->n);
    return copy ? wf_side_text_put(w->e, &w->s->arena, &w->s->side_texts, name, copy, text->n)
                : WF_MACHINE;
}

/* The file again, whose places count in the bytes that were looked through before. */
static int read_again(struct wf_vocab_work *w, const struct wf_tokenizer_source *from,
                      const char *name, const struct wf_hash128 *before, char **text, size_t *n)
{
    const char *path;
    int s = wf_tokenizer_read(w->e, &w->scratch, from, name, &path, text, n);
    struct wf_hash128 now = s ? *before : wf_xxh128(*text, *n);
    if (s || wf_hash128_equal(&now, before))
        return s;
    return wf_fail(w->e, WF_INPUT, "%s: the file changed while it was read; run weft again", path);
}

static int append_tokens(struct wf_vocab_work *w, const struct wf_new_vocab *v,
                         const struct wf_tokenizer_source *from)
{
    const struct wf_tokenizer *d = v->donor;
    struct wf_str json = {0}, config = {0};
    char *text = NULL, *config_text = NULL;
    size_t n, config_n;
    if (!d->is_json)
        return wf_fail(w->e, WF_USAGE,
                       "%s:%d: the vocabulary gets %zu more token%s, and weft can add them to a "
                       "tokenizer.json only, which %s does not have; save the tokenizer in that "
                       "form, or use 'source: base'",
                       w->s->recipe.path, w->s->recipe.tokenizer.line, v->n_appended,
                       v->n_appended == 1 ? "" : "s", d->folder);
    int s = read_again(w, from, "tokenizer.json", &d->text_hash, &text, &n);
    if (!s)
        s = wf_tokenizer_json_append(w->e, text, n, &d->json, v->appended, v->n_appended, &json);
    if (!s && d->config_path)
        s = read_again(w, from, "tokenizer_config.json", &d->config_hash, &config_text, &config_n);
    if (!s && d->config_path)
        s = wf_tokenizer_config_append(w->e, config_text, config_n, &d->config, v->appended,
                                       v->n_appended, &config);
    if (!s)
        s = check_again(w, v, json.text, json.n, config.text, config.n);
    if (!s)
        s = keep_text(w, "tokenizer.json", &json);
    if (!s && d->config_path)
        s = keep_text(w, "tokenizer_config.json", &config);
    drop_slow(&w->s->sidecars);
    wf_free(text);
    wf_free(config_text);
    wf_str_free(&json);
    wf_str_free(&config);
    return s;
}

/* ---- edits of configs ---- */

struct editing {
    struct wf_vocab_work *w;
    const struct wf_vocab *from; /* in which the file's ids count */
    const struct wf_new_vocab *to;
    const struct wf_json *other; /* the same file of the vocabulary's donor, or NULL */
    const char *path;
    struct wf_config_edits *edits; /* of config.json, or of another file */
};

static int add_edit(struct editing *d, const char *path, const char *value, int insert)
{
    return wf_config_edits_add(d->w->e, &d->w->s->arena, d->edits, path, value, insert);
}

/* The id of the same token in the new vocabulary; false if it has none. */
static bool new_id(const struct editing *d, const struct wf_json *value, uint64_t *id)
{
    const struct wf_token *t = NULL;
    if (wf_json_u64(value, id) && *id <= WF_VOCAB_ID_MAX)
        t = wf_vocab_at(d->from, (uint32_t)*id);
    const struct wf_token *to = t ? wf_vocab_find(&d->to->vocab, t->text, t->n) : NULL;
    *id = to ? to->id : 0;
    return to != NULL;
}

/* An id, or a list of them, in the new vocabulary's numbers. */
static bool write_ids(const struct editing *d, const struct wf_json *value, struct wf_str *s)
{
    uint64_t id;
    bool all = true;
    if (value->kind != WF_JSON_ARRAY) {
        all = new_id(d, value, &id);
        wf_str_printf(s, "%" PRIu64, id);
        return all;
    }
    wf_str_puts(s, "[");
    for (size_t i = 0; i < value->n; i++) {
        all &= new_id(d, &value->children[i], &id);
        wf_str_printf(s, "%s%" PRIu64, i ? ", " : "", id);
    }
    wf_str_puts(s, "]");
    return all;
}

/* What the donor's own config says of the key, in numbers of its own vocabulary. */
static bool write_other(const struct editing *d, const char *key, struct wf_str *s)
{
    const struct wf_json *v = wf_json_get(d->other, key);
    if (!v || v->kind != WF_JSON_NUMBER)
        return false;
    wf_str_puts(s, v->text);
    return true;
}

static int edit_id(struct editing *d, const char *prefix, const struct wf_json *member)
{
    struct wf_str value = {0}, path = {0};
    wf_str_printf(&path, "%s%s", prefix, member->key);
    int s = wf_str_finish(&path, d->w->e);
    bool known = write_ids(d, member, &value);
    if (!known) {
        wf_str_free(&value);
        value = (struct wf_str){0};
        known = write_other(d, member->key, &value);
    }
    if (!s)
        s = wf_str_finish(&value, d->w->e);
    if (!s && known)
        s = add_edit(d, path.text, value.text, 0);
    else if (!s)
        wf_log(WF_LOG_WARNING,
               "%s: the token of '%s' is not in the new vocabulary; the key stays as it is",
               d->path, path.text);
    wf_str_free(&path);
    wf_str_free(&value);
    return s;
}

static bool is_id_key(const struct wf_json *m)
{
    bool list = m->kind == WF_JSON_ARRAY && m->n;
    for (size_t i = 0; list && i < m->n; i++)
        list = m->children[i].kind == WF_JSON_NUMBER;
    return (m->kind == WF_JSON_NUMBER || list) &&
           (wf_ends_with(m->key, "_token_id") || wf_ends_with(m->key, "_token_index"));
}

/* Ids at top level and in nested configs (text_config and the like). */
static int edit_ids(struct editing *d, const char *prefix, const struct wf_json *object)
{
    int s = WF_OK;
    for (size_t i = 0; object && i < object->n && !s; i++) {
        const struct wf_json *m = &object->children[i];
        char inner[80];
        uint64_t id;
        if (!*prefix && m->kind == WF_JSON_OBJECT && wf_ends_with(m->key, "_config") &&
            strlen(m->key) < sizeof inner - 1) {
            snprintf(inner, sizeof inner, "%s.", m->key);
            s = edit_ids(d, inner, m);
        } else if (is_id_key(m) && (m->kind == WF_JSON_ARRAY || wf_json_u64(m, &id))) {
            s = edit_id(d, prefix, m);
        }
    }
    return s;
}

/* vocab_size where the config has it: nested, at top level, or both; else a new key. */
static int edit_size(struct editing *d, const struct wf_json *config, uint64_t rows)
{
    char value[24];
    const struct wf_json *text = wf_json_get(config, "text_config");
    bool nested = wf_json_get(text, "vocab_size"), top = wf_json_get(config, "vocab_size");
    snprintf(value, sizeof value, "%" PRIu64, rows);
    int s = nested ? add_edit(d, "text_config.vocab_size", value, 0) : WF_OK;
    if (!s && (top || !nested))
        s = add_edit(d, "vocab_size", value, 1);
    return s;
}

static const struct wf_ckpt *config_donor(const struct wf_vocab_work *w)
{
    return wf_plan_config_donor(w->s->base, w->s->models, w->s->recipe.n_models);
}

int wf_vocab_size_edit(struct wf_vocab_work *w, uint64_t rows)
{
    struct editing d = {.w = w, .edits = &w->out->edits};
    const struct wf_ckpt *c = config_donor(w);
    return c->config ? edit_size(&d, c->config, rows) : WF_OK;
}

/* Has the model this small file, or will it have it? */
static bool has_other(struct wf_vocab_work *w, const struct wf_tokenizer_source *from,
                      const char *name)
{
    struct wf_err none = {0};
    const struct wf_side_text *made = from->cars ? wf_side_text_find(from->texts, name) : NULL;
    if (from->cars)
        return made ? made->text != NULL : wf_sidecar_find(from->cars, name) != NULL;
    char *path = wf_path_join(&w->scratch, &none, from->place->path, name);
    return path && wf_is_file(path);
}

/* A small JSON file of the vocabulary's donor; *out NULL if there is none that can be read. */
static void read_other(struct wf_vocab_work *w, const struct wf_tokenizer_source *from,
                       const char *name, const struct wf_json **out)
{
    struct wf_err none = {0};
    struct wf_json *json = NULL;
    const char *path;
    char *text = NULL;
    size_t n;
    if (has_other(w, from, name) &&
        !wf_tokenizer_read(&none, &w->scratch, from, name, &path, &text, &n) &&
        !wf_json_parse(&none, &w->scratch, path, text, n, WF_JSON_CONFIG, &json))
        *out = json;
    wf_free(text);
}

/* generation_config.json of the config's donor, as it is or, where that is planned, as it will be.
 */
static int edit_generation(struct editing *d)
{
    struct wf_vocab_work *w = d->w;
    const struct wf_tokenizer_source from = {
        .place = &config_donor(w)->place, .cars = &w->s->sidecars, .texts = w->s->side_texts};
    struct wf_json *json = NULL;
    struct wf_str edited = {0};
    char *text = NULL;
    size_t n;
    if (!has_other(w, &from, GENERATION_NAME))
        return WF_OK;
    int s = wf_tokenizer_read(w->e, &w->scratch, &from, GENERATION_NAME, &d->path, &text, &n);
    if (!s)
        s = wf_json_parse(w->e, &w->scratch, d->path, text, n, WF_JSON_CONFIG, &json);
    if (!s)
        s = edit_ids(d, "", json);
    if (!s && d->edits->n)
        s = wf_config_apply(w->e, d->path, text, n, d->edits->list, d->edits->n, &edited);
    if (!s && d->edits->n)
        s = keep_text(w, GENERATION_NAME, &edited);
    wf_free(text);
    wf_str_free(&edited);
    return s;
}

/* Ids of configs count in the vocabulary of the model that gives them. */
static int edit_configs(struct wf_vocab_work *w, const struct wf_new_vocab *v,
                        const struct wf_tokenizer *own, const struct wf_tokenizer_source *donor)
{
    const struct wf_ckpt *c = config_donor(w);
    struct editing d = {
        .w = w, .from = &own->vocab, .to = v, .path = c->config_path, .edits = &w->out->edits};
    bool moved = own != v->donor;
    if (!c->config)
        return WF_OK;
    uint64_t size;
    bool said = wf_vocab_size(c->config, &size) && size == v->rows;
    int s = said ? WF_OK : edit_size(&d, c->config, v->rows);
    if (!s && moved) {
        d.other = donor->config;
        if (!donor->cars)
            read_other(w, donor, "config.json", &d.other);
        s = edit_ids(&d, "", c->config);
    }
    struct wf_config_edits generation = {0};
    struct editing g = {.w = w, .from = &own->vocab, .to = v, .edits = &generation};
    if (!s && moved) {
        read_other(w, donor, GENERATION_NAME, &g.other);
        s = edit_generation(&g);
    }
    return s;
}

int wf_tokenizer_output(struct wf_vocab_work *w, const struct wf_new_vocab *v,
                        const struct wf_tokenizer *const *tokenizers,
                        const struct wf_tokenizer_source *donor)
{
    const struct wf_ckpt *c = config_donor(w);
    size_t i = 0;
    while (i + 1 < w->models.n && w->models.list[i].shown != c)
        i++;
    int s = WF_OK;
    if (donor->cars || strcmp(c->place.path, donor->place->path) != 0)
        s = take_files(w, donor);
    if (!s && v->n_appended)
        s = append_tokens(w, v, donor);
    return s ? s : edit_configs(w, v, tokenizers[i], donor);
}
