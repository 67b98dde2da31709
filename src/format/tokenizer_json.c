/* tokenizer_json.c - one walk over a tokenizer's JSON; see tokenizer_json.h.
 *
 *   { "added_tokens": [ {"id", "content", flags} ... ],     kept until the model's vocabulary is
 * known "pre_tokenizer", "decoder": ...                       looked through for "ByteLevel"
 *     "model": { "type", "vocab": {token: id} | [[token, score] ...], "merges": skipped } }
 */
#include "tokenizer_json.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/num.h"
#include "../base/str.h"
#include "json_lex.h"

#define DEPTH_MAX 128
#define KEY_MAX 64

/* A token as an entry of added_tokens or added_tokens_decoder has it. */
struct entry {
    const char *text;
    size_t n;
    uint64_t id;
    bool has_id, has_text;
    uint32_t flags;
};

struct entries {
    struct entry *list;
    size_t n, capacity;
};

struct scan {
    struct wf_err *e;
    const char *path, *text;
    size_t n, at;
    struct wf_vocab *vocab;
    struct entries entries;
    struct wf_token_role **last_role; /* where the next one is linked */
};

/* A key as far as it matters: longer ones, and those with escapes, are no key that is looked for.
 */
struct key {
    char name[KEY_MAX];
    struct wf_json_token token;
};

const char *wf_segmentation_name(enum wf_segmentation s)
{
    static const char *const names[] = {"unknown", "BPE", "Unigram", "WordPiece", "WordLevel"};
    return names[s];
}

/* ---- grammar ---- */

static int wrong(struct scan *s, const char *why)
{
    return wf_fail(s->e, WF_INPUT, "%s: %s at byte %zu; restore the file from its source", s->path,
                   why, s->at);
}

static char here(struct scan *s)
{
    s->at = wf_json_skip_space(s->text, s->n, s->at);
    return s->at < s->n ? s->text[s->at] : 0;
}

static int string(struct scan *s, struct wf_json_token *t)
{
    if (here(s) != '"')
        return wrong(s, "expected a string");
    const char *why = wf_json_lex_counted(s->text, s->n, s->at, t);
    s->at = t->end;
    return why ? wrong(s, why) : WF_OK;
}

static int number(struct scan *s, struct wf_json_token *t)
{
    here(s);
    const char *why = wf_json_lex_number(s->text, s->n, s->at, t);
    s->at = t->end;
    return why ? wrong(s, why) : WF_OK;
}

static int word(struct scan *s, const char *text)
{
    size_t n = strlen(text);
    if (s->n - s->at < n || memcmp(s->text + s->at, text, n) != 0)
        return wrong(s, "expected a value");
    s->at += n;
    return WF_OK;
}

static int scalar(struct scan *s)
{
    struct wf_json_token t;
    char c = here(s);
    if (c == '"')
        return string(s, &t);
    if (c == 't' || c == 'f' || c == 'n')
        return word(s, c == 't' ? "true" : c == 'f' ? "false" : "null");
    return number(s, &t);
}

static int open_with(struct scan *s, char bracket)
{
    if (here(s) != bracket)
        return wrong(s, bracket == '{' ? "expected an object" : "expected a list");
    s->at++;
    return WF_OK;
}

/* Steps to the next member or element of a container whose end is `close`: *more false behind it.
 * `*n` counts them. */
static int step(struct scan *s, char close, size_t *n, bool *more)
{
    char c = here(s);
    *more = c != close;
    if (!*more) {
        s->at++;
        return WF_OK;
    }
    if ((*n)++) {
        if (c != ',')
            return wrong(s, "expected ',' or the end of a list or object");
        s->at++;
        if (here(s) == close)
            return wrong(s, "a comma before the end of a list or object");
    }
    return WF_OK;
}

static int mark(struct scan *s, char c, const char *why)
{
    if (here(s) != c)
        return wrong(s, why);
    s->at++;
    return WF_OK;
}

static int colon(struct scan *s)
{
    return mark(s, ':', "expected ':'");
}

/* The next member's key and the colon behind it. */
static int next_member(struct scan *s, size_t *n, bool *more, struct key *k)
{
    int status = step(s, '}', n, more);
    if (status || !*more)
        return status;
    status = string(s, &k->token);
    if (status)
        return status;
    k->name[0] = 0;
    if (!k->token.escaped && k->token.decoded_n < KEY_MAX)
        wf_json_decode(s->text, &k->token, k->name);
    return colon(s);
}

/* Skips one value, checked; *seen (may be NULL) becomes true if `wanted` is a string in it. */
static int skip(struct scan *s, const char *wanted, bool *seen)
{
    char close[DEPTH_MAX];
    size_t counts[DEPTH_MAX], depth = 0;
    int status;
    bool more;
    do {
        char c = here(s);
        if (c == '{' || c == '[') {
            if (depth == DEPTH_MAX)
                return wrong(s, "nested too deep");
            s->at++;
            close[depth] = c == '{' ? '}' : ']';
            counts[depth++] = 0;
        } else {
            size_t at = s->at, n = wanted ? strlen(wanted) : 0;
            status = scalar(s);
            if (status)
                return status;
            if (wanted && s->at - at == n + 2 && !memcmp(s->text + at + 1, wanted, n))
                *seen = true;
        }
        for (more = false; depth && !more;) {
            status = step(s, close[depth - 1], &counts[depth - 1], &more);
            if (!status && more && close[depth - 1] == '}') {
                struct wf_json_token key;
                status = string(s, &key);
                if (!status)
                    status = colon(s);
            }
            if (status)
                return status;
            depth -= !more;
        }
    } while (depth);
    return WF_OK;
}

static int end_of_file(struct scan *s)
{
    here(s);
    return s->at < s->n ? wrong(s, "something behind the end") : WF_OK;
}

/* ---- tokens ---- */

/* What a string token stands for, in the vocabulary's arena. */
static int decode(struct scan *s, const struct wf_json_token *t, const char **text)
{
    char *copy = wf_arena_alloc(s->vocab->arena, s->e, t->decoded_n + 1, 1);
    if (!copy)
        return wf_err_status(s->e);
    wf_json_decode(s->text, t, copy);
    *text = copy;
    return WF_OK;
}

static int id_value(struct scan *s, uint64_t *id)
{
    struct wf_json_token t;
    int status = number(s, &t);
    if (!status && (!wf_parse_u64(s->text + t.at, t.end - t.at, id) || *id > WF_VOCAB_ID_MAX))
        return wrong(s, "expected a token's id, a whole number below 2^31, before this");
    return status;
}

static int twice(struct scan *s, const char *text, size_t n)
{
    char buf[WF_TOKEN_TEXT_MAX];
    return wf_fail(
        s->e, WF_INPUT,
        "%s: token '%s' stands twice in the vocabulary; restore the file from its source", s->path,
        wf_token_text(text, n, buf));
}

/* {token: id, ...}. A token of the model that is there already is an error; with WF_TOKEN_ADDED it
 * must have the same id. */
static int map_of_ids(struct scan *s, uint32_t flags)
{
    struct key k;
    size_t n = 0;
    bool more;
    int status = open_with(s, '{');
    while (!status && !(status = next_member(s, &n, &more, &k)) && more) {
        uint64_t id = 0;
        const char *text = NULL;
        status = id_value(s, &id);
        if (!status)
            status = decode(s, &k.token, &text);
        if (status)
            break;
        struct wf_token *old = wf_vocab_find(s->vocab, text, k.token.decoded_n);
        if (!old)
            status =
                wf_vocab_add(s->e, s->vocab, text, k.token.decoded_n, (uint32_t)id, flags, NULL);
        else if (!flags || old->id != id)
            status = twice(s, text, k.token.decoded_n);
        else
            wf_vocab_mark_added(s->vocab, old, flags);
    }
    return status;
}

/* [token, score] */
static int piece(struct scan *s, struct wf_json_token *t)
{
    struct wf_json_token score;
    int status = open_with(s, '[');
    if (!status)
        status = string(s, t);
    if (!status)
        status = mark(s, ',', "expected ',' between a piece and its score");
    if (!status)
        status = number(s, &score);
    return status ? status : mark(s, ']', "expected ']' behind a piece's score");
}

/* [[token, score], ...]: ids are positions. A piece that stands twice has the later place, as in
 * the library. */
static int list_of_pieces(struct scan *s)
{
    size_t n = 0;
    bool more;
    int status = open_with(s, '[');
    while (!status && !(status = step(s, ']', &n, &more)) && more) {
        struct wf_json_token t;
        const char *text = NULL;
        status = piece(s, &t);
        if (!status)
            status = decode(s, &t, &text);
        if (status)
            break;
        struct wf_token *old = wf_vocab_find(s->vocab, text, t.decoded_n);
        if (old)
            old->id = (uint32_t)n - 1;
        else
            status = wf_vocab_add(s->e, s->vocab, text, t.decoded_n, (uint32_t)n - 1, 0, NULL);
        if (n > WF_VOCAB_TOKENS_MAX)
            return wrong(s, "too many tokens");
    }
    s->vocab->n_model = n; /* the library counts places */
    return status;
}

static uint32_t flag_of(const char *key)
{
    return !strcmp(key, "special")       ? WF_TOKEN_SPECIAL
           : !strcmp(key, "single_word") ? WF_TOKEN_SINGLE_WORD
           : !strcmp(key, "lstrip")      ? WF_TOKEN_LSTRIP
           : !strcmp(key, "rstrip")      ? WF_TOKEN_RSTRIP
           : !strcmp(key, "normalized")  ? WF_TOKEN_NORMALIZED
                                         : 0u;
}

/* {"id", "content", "single_word", ...} */
static int read_entry(struct scan *s, struct entry *out)
{
    struct key k;
    size_t n = 0;
    bool more;
    int status = open_with(s, '{');
    while (!status && !(status = next_member(s, &n, &more, &k)) && more) {
        if (!strcmp(k.name, "content")) {
            struct wf_json_token t;
            status = string(s, &t);
            if (!status)
                status = decode(s, &t, &out->text);
            out->n = status ? 0 : t.decoded_n;
            out->has_text = true;
        } else if (!strcmp(k.name, "id")) {
            status = id_value(s, &out->id);
            out->has_id = true;
        } else if (flag_of(k.name)) {
            bool yes = here(s) == 't';
            out->flags = yes ? out->flags | flag_of(k.name) : out->flags & ~flag_of(k.name);
            status = scalar(s);
        } else {
            status = skip(s, NULL, NULL);
        }
    }
    return status;
}

static int keep_entry(struct scan *s, const struct entry *entry)
{
    struct entries *l = &s->entries;
    struct entry *list =
        wf_arena_grow(s->vocab->arena, s->e, l->list, l->n, &l->capacity, sizeof *list);
    if (!list)
        return wf_err_status(s->e);
    l->list = list;
    l->list[l->n++] = *entry;
    return WF_OK;
}

static int list_of_added(struct scan *s, struct wf_tokenizer_json *out)
{
    size_t n = 0;
    bool more;
    int status = open_with(s, '[');
    out->added_open = out->added_end = s->at;
    while (!status && !(status = step(s, ']', &n, &more)) && more) {
        struct entry entry = {0};
        status = read_entry(s, &entry);
        if (!status && (!entry.has_text || !entry.has_id))
            status = wrong(s, "an added token without 'content' or 'id' before this");
        if (!status)
            status = keep_entry(s, &entry);
        out->added_end = s->at;
    }
    return status;
}

/* ---- tokenizer.json ---- */

static int read_type(struct scan *s, enum wf_segmentation *out)
{
    struct wf_json_token t;
    int status = string(s, &t);
    for (enum wf_segmentation k = WF_SEGMENTATION_BPE; !status && k <= WF_SEGMENTATION_WORDLEVEL;
         k++) {
        const char *name = wf_segmentation_name(k);
        if (t.end - t.at == strlen(name) + 2 && !memcmp(s->text + t.at + 1, name, strlen(name)))
            *out = k;
    }
    return status;
}

/* Old files leave out the type: a list is Unigram's, and only BPE merges. */
static int read_model(struct scan *s, struct wf_tokenizer_json *out)
{
    struct key k;
    size_t n = 0;
    bool more, has_vocab = false, is_list = false, merges = false;
    int status = open_with(s, '{');
    while (!status && !(status = next_member(s, &n, &more, &k)) && more) {
        if (!strcmp(k.name, "vocab")) {
            if (has_vocab)
                return wrong(s, "a second 'vocab'");
            has_vocab = true;
            is_list = here(s) == '[';
            status = is_list ? list_of_pieces(s) : map_of_ids(s, 0);
        } else if (!strcmp(k.name, "type")) {
            status = read_type(s, &out->segmentation);
        } else {
            merges |= !strcmp(k.name, "merges");
            status = skip(s, NULL, NULL);
        }
    }
    if (!status && !has_vocab)
        return wrong(s, "a model without 'vocab' before this");
    if (out->segmentation == WF_SEGMENTATION_UNKNOWN)
        out->segmentation = is_list  ? WF_SEGMENTATION_UNIGRAM
                            : merges ? WF_SEGMENTATION_BPE
                                     : WF_SEGMENTATION_UNKNOWN;
    return status;
}

/* Gives the kept tokens their ids, as the library does on loading: the number that stands with a
 * token is no more than a remark there. */
static int add_entries(struct scan *s)
{
    char buf[WF_TOKEN_TEXT_MAX];
    for (size_t i = 0; i < s->entries.n; i++) {
        const struct entry *a = &s->entries.list[i];
        if (!a->n)
            continue;
        struct wf_token *t = wf_vocab_find(s->vocab, a->text, a->n);
        uint32_t id = t ? t->id : wf_vocab_next_id(s->vocab, true);
        if (!t && id != a->id)
            id = wf_vocab_next_id(s->vocab, false);
        if (id != a->id)
            return wf_fail(s->e, WF_INPUT,
                           "%s: added token '%s' stands there with id %" PRIu64 " and gets %" PRIu32
                           " when the file is loaded, so nobody can tell "
                           "which row is its own; save the tokenizer anew with the model's code",
                           s->path, wf_token_text(a->text, a->n, buf), a->id, id);
        if (t) {
            wf_vocab_mark_added(s->vocab, t, a->flags);
            continue;
        }
        int status =
            wf_vocab_add(s->e, s->vocab, a->text, a->n, id, a->flags | WF_TOKEN_ADDED, NULL);
        if (status)
            return status;
    }
    return WF_OK;
}

static int check_text(struct scan *s)
{
    size_t bad;
    if (wf_utf8_valid(s->text, s->n, &bad))
        return WF_OK;
    s->at = bad;
    return wrong(s, "not UTF-8");
}

int wf_tokenizer_json_scan(struct wf_err *e, const char *path, const char *text, size_t n,
                           struct wf_vocab *v, struct wf_tokenizer_json *out)
{
    struct scan s = {.e = e, .path = path, .text = text, .n = n, .vocab = v};
    struct key k;
    size_t members = 0;
    bool more, has_model = false, has_added = false;
    *out = (struct wf_tokenizer_json){0};
    int status = check_text(&s);
    if (!status)
        status = open_with(&s, '{');
    while (!status && !(status = next_member(&s, &members, &more, &k)) && more) {
        bool is_model = !strcmp(k.name, "model"), is_added = !strcmp(k.name, "added_tokens");
        if ((is_model && has_model) || (is_added && has_added))
            return wrong(&s, "a second 'model' or 'added_tokens'");
        has_model |= is_model;
        has_added |= is_added;
        if (is_model)
            status = read_model(&s, out);
        else if (is_added)
            status = list_of_added(&s, out);
        else if (!strcmp(k.name, "pre_tokenizer") || !strcmp(k.name, "decoder"))
            status = skip(&s, "ByteLevel", &out->byte_level);
        else
            status = skip(&s, NULL, NULL);
    }
    if (!status)
        status = end_of_file(&s);
    if (!status && !has_model)
        status = wrong(&s, "no 'model'");
    return status ? status : add_entries(&s);
}

int wf_token_map_scan(struct wf_err *e, const char *path, const char *text, size_t n,
                      uint32_t flags, struct wf_vocab *v)
{
    struct scan s = {.e = e, .path = path, .text = text, .n = n, .vocab = v};
    int status = check_text(&s);
    if (!status)
        status = map_of_ids(&s, flags);
    return status ? status : end_of_file(&s);
}

/* ---- tokenizer_config.json ---- */

/* {"32000": {"content", ...}, ...} */
static int read_decoder(struct scan *s, struct wf_tokenizer_config *out)
{
    struct key k;
    size_t n = 0;
    bool more;
    int status = open_with(s, '{');
    out->decoder_open = out->decoder_end = s->at;
    while (!status && !(status = next_member(s, &n, &more, &k)) && more) {
        struct entry entry = {.has_id = true};
        if (!wf_parse_u64(k.name, strlen(k.name), &entry.id) || entry.id > WF_VOCAB_ID_MAX)
            return wrong(s, "expected a token's id as key of added_tokens_decoder before this");
        uint64_t id = entry.id;
        status = read_entry(s, &entry);
        if (!status && !entry.has_text)
            status = wrong(s, "an added token without 'content' before this");
        entry.id = id;
        if (!status && entry.n)
            status = keep_entry(s, &entry);
        out->decoder_end = s->at;
    }
    return status;
}

static int keep_role(struct scan *s, const char *text, size_t n)
{
    struct wf_token_role *r = wf_arena_alloc(s->vocab->arena, s->e, 1, sizeof *r);
    if (!r)
        return wf_err_status(s->e);
    *r = (struct wf_token_role){.text = text, .n = n};
    *s->last_role = r;
    s->last_role = &r->next;
    return WF_OK;
}

/* A token by its text, or as an entry; anything else says nothing. */
static int read_role(struct scan *s)
{
    struct entry entry = {0};
    struct wf_json_token t;
    char c = here(s);
    if (c != '"' && c != '{')
        return skip(s, NULL, NULL);
    int status = c == '{' ? read_entry(s, &entry) : string(s, &t);
    if (!status && c == '"') {
        status = decode(s, &t, &entry.text);
        entry.n = t.decoded_n;
    }
    return status || !entry.n ? status : keep_role(s, entry.text, entry.n);
}

static int read_roles(struct scan *s)
{
    size_t n = 0;
    bool more;
    if (here(s) != '[')
        return skip(s, NULL, NULL);
    int status = open_with(s, '[');
    while (!status && !(status = step(s, ']', &n, &more)) && more)
        status = read_role(s);
    return status;
}

static bool is_role(const char *key)
{
    static const char *const roles[] = {"bos_token", "eos_token", "unk_token",  "sep_token",
                                        "pad_token", "cls_token", "mask_token", NULL};
    for (size_t i = 0; roles[i]; i++)
        if (!strcmp(roles[i], key))
            return true;
    return false;
}

static int read_class(struct scan *s, struct wf_tokenizer_config *out)
{
    struct wf_json_token t;
    if (here(s) != '"')
        return skip(s, NULL, NULL);
    int status = string(s, &t);
    return status ? status : decode(s, &t, &out->class);
}

static int entry_order(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

/* Tokens of added_tokens_decoder, as transformers adds them: in order of id, where they are not
 * known yet. */
static int add_decoded(struct scan *s, bool reckoned)
{
    char buf[WF_TOKEN_TEXT_MAX];
    if (s->entries.n)
        qsort(s->entries.list, s->entries.n, sizeof *s->entries.list, entry_order);
    for (size_t i = 0; i < s->entries.n; i++) {
        const struct entry *a = &s->entries.list[i];
        struct wf_token *t = wf_vocab_find(s->vocab, a->text, a->n);
        uint32_t id = t ? t->id : reckoned ? wf_vocab_next_id(s->vocab, false) : (uint32_t)a->id;
        if (id != a->id)
            return wf_fail(s->e, WF_INPUT,
                           "%s: added_tokens_decoder gives token '%s' the id %" PRIu64
                           ", and it gets %" PRIu32 " when the tokenizer is loaded; save the "
                           "tokenizer anew with the model's code",
                           s->path, wf_token_text(a->text, a->n, buf), a->id, id);
        int status =
            t ? WF_OK
              : wf_vocab_add(s->e, s->vocab, a->text, a->n, id, a->flags | WF_TOKEN_ADDED, NULL);
        if (status)
            return status;
    }
    return WF_OK;
}

int wf_tokenizer_config_scan(struct wf_err *e, const char *path, const char *text, size_t n,
                             bool reckoned, struct wf_vocab *v, struct wf_tokenizer_config *out)
{
    struct scan s = {.e = e, .path = path, .text = text, .n = n, .vocab = v};
    struct key k;
    size_t members = 0;
    bool more;
    *out = (struct wf_tokenizer_config){0};
    s.last_role = &out->roles;
    int status = check_text(&s);
    if (!status)
        status = open_with(&s, '{');
    while (!status && !(status = next_member(&s, &members, &more, &k)) && more) {
        if (!strcmp(k.name, "added_tokens_decoder"))
            status = read_decoder(&s, out);
        else if (!strcmp(k.name, "tokenizer_class"))
            status = read_class(&s, out);
        else if (is_role(k.name))
            status = read_role(&s);
        else if (!strcmp(k.name, "additional_special_tokens") ||
                 !strcmp(k.name, "extra_special_tokens"))
            status = read_roles(&s);
        else
            status = skip(&s, NULL, NULL);
    }
    if (!status)
        status = end_of_file(&s);
    return status ? status : add_decoded(&s, reckoned);
}
