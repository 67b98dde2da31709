/* tokenizer.c - which files of a folder make its vocabulary, and in which order. */
#include "tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "../base/file.h"
#include "../base/str.h"
#include "folder.h"
#include "sentencepiece.h"

struct opening {
    struct wf_err *e;
    struct wf_arena *a;
    const struct wf_tokenizer_source *from;
    const char **names;
    size_t n_names;
    bool hash_only;
    struct wf_tokenizer *out;
};

/* Forms of the vocabulary, in order of trust. */
static const char *const forms[] = {"tokenizer.json", "tokenizer.model", "spiece.model",
                                    "vocab.json",     "vocab.txt",       NULL};

static bool has(const struct opening *o, const char *name)
{
    return wf_folder_has(o->names, o->n_names, name);
}

static int name_order(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The names of the folder, or of what is planned to be in it. */
static int list_names(struct opening *o)
{
    const struct wf_sidecars *cars = o->from->cars;
    size_t most = cars ? cars->n : 0;
    if (!cars)
        return wf_folder_names(o->e, o->a, o->from->place->path, &o->names, &o->n_names);
    for (const struct wf_side_text *t = o->from->texts; t; t = t->next)
        most++;
    o->names = wf_arena_alloc(o->a, o->e, most, sizeof *o->names);
    if (!o->names)
        return wf_err_status(o->e);
    for (size_t i = 0; i < cars->n; i++)
        if (!wf_side_text_find(o->from->texts, cars->files[i].name))
            o->names[o->n_names++] = cars->files[i].name;
    for (const struct wf_side_text *t = o->from->texts; t; t = t->next)
        if (t->text)
            o->names[o->n_names++] = t->name;
    if (o->n_names)
        qsort(o->names, o->n_names, sizeof *o->names, name_order);
    return WF_OK;
}

int wf_tokenizer_read(struct wf_err *e, struct wf_arena *a, const struct wf_tokenizer_source *from,
                      const char *name, const char **path, char **text, size_t *n)
{
    const struct wf_sidecars *cars = from->cars;
    const struct wf_side_text *made = cars ? wf_side_text_find(from->texts, name) : NULL;
    const struct wf_sidecar *car = wf_sidecar_find(cars, name);
    *path = car ? car->path : wf_path_join(a, e, from->place->path, name);
    if (!*path)
        return wf_err_status(e);
    if (!made) {
        int s = cars ? WF_OK : wf_place_check(e, from->place, *path);
        return s ? s : wf_read_small(e, WF_INPUT, *path, WF_TOKENIZER_BYTES_MAX, text, n);
    }
    *n = made->n;
    *text = wf_alloc(e, WF_MEM_TEXT, made->n + 1, 1, "a tokenizer");
    if (*text)
        memcpy(*text, made->text, made->n);
    return *text ? WF_OK : WF_MACHINE;
}

/* The file's bytes, which also go into the hash; `content` (may be NULL) is of them alone. */
static int read_file(struct opening *o, const char *name, const char **path, char **text, size_t *n,
                     struct wf_hash128 *content)
{
    int s = wf_tokenizer_read(o->e, o->a, o->from, name, path, text, n);
    if (s)
        return s;
    struct {
        struct wf_hash128 before, name, content;
    } link = {o->out->hash, wf_xxh128(name, strlen(name)), wf_xxh128(*text, *n)};
    o->out->hash = wf_xxh128(&link, sizeof link);
    if (content)
        *content = link.content;
    return WF_OK;
}

/* One token a line, the number of the line its id. */
static int scan_lines(struct wf_err *e, const char *path, const char *text, size_t n,
                      struct wf_vocab *v)
{
    char buf[WF_TOKEN_TEXT_MAX];
    size_t bad;
    uint32_t id = 0;
    int s = WF_OK;
    if (!wf_utf8_valid(text, n, &bad))
        return wf_fail(e, WF_INPUT, "%s: not UTF-8 at byte %zu; restore the file from its source",
                       path, bad);
    for (size_t at = 0; at < n && !s; id++) {
        const char *end = memchr(text + at, '\n', n - at);
        size_t line = end ? (size_t)(end - text) - at : n - at, next = at + line + (end != NULL);
        if (line && text[at + line - 1] == '\r')
            line--;
        if (wf_vocab_find(v, text + at, line))
            return wf_fail(e, WF_INPUT,
                           "%s: token '%s' stands twice; restore the file from its source", path,
                           wf_token_text(text + at, line, buf));
        s = wf_vocab_add(e, v, text + at, line, id, 0, NULL);
        at = next;
    }
    return s;
}

static int scan_form(struct opening *o, const char *name, const char *path, const char *text,
                     size_t n)
{
    struct wf_tokenizer *t = o->out;
    if (!strcmp(name, "tokenizer.json"))
        return wf_tokenizer_json_scan(o->e, path, text, n, &t->vocab, &t->json);
    if (wf_ends_with(name, ".model")) {
        t->json.segmentation = WF_SEGMENTATION_UNKNOWN;
        return wf_sentencepiece_scan(o->e, path, text, n, &t->vocab);
    }
    if (!strcmp(name, "vocab.txt")) {
        t->json.segmentation = WF_SEGMENTATION_WORDPIECE;
        return scan_lines(o->e, path, text, n, &t->vocab);
    }
    t->json.segmentation = WF_SEGMENTATION_BPE;
    t->json.byte_level = has(o, "merges.txt");
    return wf_token_map_scan(o->e, path, text, n, 0, &t->vocab);
}

static int read_form(struct opening *o, const char *name)
{
    char *text = NULL;
    size_t n;
    int s = read_file(o, name, &o->out->path, &text, &n, &o->out->text_hash);
    if (!s && !o->hash_only)
        s = scan_form(o, name, o->out->path, text, n);
    wf_free(text);
    return s;
}

static int read_added(struct opening *o)
{
    const char *path;
    char *text = NULL;
    size_t n;
    if (!has(o, "added_tokens.json"))
        return WF_OK;
    int s = read_file(o, "added_tokens.json", &path, &text, &n, NULL);
    if (!s && !o->hash_only)
        s = wf_token_map_scan(o->e, path, text, n, WF_TOKEN_ADDED, &o->out->vocab);
    wf_free(text);
    return s;
}

/* Classes that put tokens of their own before the pieces, so that ids are not positions. */
static int check_class(const struct opening *o)
{
    static const char *const shifted[] = {"XLMRoberta*", "Camembert*", "Barthez*",  "MBart*",
                                          "Nllb*",       "XGLM*",      "Pegasus*",  "PLBart*",
                                          "T5*",         "Deberta*",   "Reformer*", NULL};
    const struct wf_tokenizer *t = o->out;
    for (size_t i = 0; shifted[i] && t->config.class && wf_ends_with(t->path, ".model"); i++)
        if (wf_glob(shifted[i], t->config.class))
            return wf_fail(o->e, WF_USAGE,
                           "%s: tokenizers of class %s give other ids than the file has; save the "
                           "model's tokenizer as tokenizer.json (transformers does with its fast "
                           "classes)",
                           t->path, t->config.class);
    return WF_OK;
}

/* Special tokens that are in no file with an id are appended by transformers. */
static int add_roles(struct opening *o)
{
    struct wf_vocab *v = &o->out->vocab;
    int s = WF_OK;
    for (const struct wf_token_role *r = o->out->config.roles; r && !s; r = r->next)
        if (!wf_vocab_find(v, r->text, r->n))
            s = wf_vocab_add(o->e, v, r->text, r->n, wf_vocab_next_id(v, false),
                             WF_TOKEN_ADDED | WF_TOKEN_SPECIAL, NULL);
    return s;
}

static int read_config(struct opening *o)
{
    char *text = NULL;
    size_t n;
    struct wf_tokenizer *t = o->out;
    if (!has(o, "tokenizer_config.json"))
        return WF_OK;
    int s = read_file(o, "tokenizer_config.json", &t->config_path, &text, &n, &t->config_hash);
    if (!s && !o->hash_only && !t->opaque)
        s = wf_tokenizer_config_scan(o->e, t->config_path, text, n, t->is_json, &t->vocab,
                                     &t->config);
    wf_free(text);
    if (s || o->hash_only || t->opaque)
        return s;
    s = check_class(o);
    return s ? s : add_roles(o);
}

static int read_opaque(struct opening *o)
{
    int s = WF_OK;
    for (size_t i = 0; i < o->n_names && !s; i++)
        if (wf_ends_with(o->names[i], ".tiktoken") || !strcmp(o->names[i], "tekken.json")) {
            o->out->opaque = true;
            o->hash_only = true;
            s = read_form(o, o->names[i]);
        }
    return s;
}

static int open_tokenizer(struct opening *o)
{
    struct wf_tokenizer *t = o->out;
    const char *const *form = forms;
    if (!o->from->cars && !wf_is_folder(o->from->place->path))
        return WF_OK;
    int s = list_names(o);
    while (!s && *form && !has(o, *form))
        form++;
    if (s)
        return s;
    t->folder = o->from->place->path;
    t->is_json = form == forms;
    if (!*form && has(o, "sentencepiece.bpe.model"))
        return wf_fail(o->e, WF_USAGE,
                       "%s/sentencepiece.bpe.model: tokenizers of this form give other ids than "
                       "the file has; save the model's tokenizer as tokenizer.json (transformers "
                       "does with its fast classes)",
                       o->from->place->path);
    s = *form ? read_form(o, *form) : read_opaque(o);
    if (!s && *form && !t->is_json)
        s = read_added(o);
    if (!s && t->path)
        s = read_config(o);
    return s;
}

int wf_tokenizer_open(struct wf_err *e, struct wf_arena *a, const struct wf_tokenizer_source *from,
                      struct wf_tokenizer *out)
{
    struct opening o = {.e = e, .a = a, .from = from, .out = out};
    *out = (struct wf_tokenizer){.vocab.arena = a};
    int s = open_tokenizer(&o);
    return s || !out->path || out->opaque ? s : wf_vocab_settle(e, &out->vocab, out->path);
}

int wf_tokenizer_hash(struct wf_err *e, const struct wf_tokenizer_source *from, bool *found,
                      struct wf_hash128 *hash)
{
    struct wf_arena scratch = {0};
    struct wf_tokenizer t = {.vocab.arena = &scratch};
    struct opening o = {.e = e, .a = &scratch, .from = from, .hash_only = true, .out = &t};
    int s = open_tokenizer(&o);
    *found = !s && t.path;
    *hash = t.hash;
    wf_arena_destroy(&scratch);
    return s;
}
