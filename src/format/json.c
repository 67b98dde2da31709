/* json.c - small JSON documents: a strict check of every byte, then cJSON, then the arena's tree.
 *
 * cJSON takes leading zeros, 1e999, duplicate keys, bad UTF-8, raw control characters and text
 * behind the end, and keeps a number as a double only. So the check comes first, and notes where
 * each key and each number stands, in document order. The tree is built in the same order, and
 * takes from these notes what cJSON has lost: the number as written, the line of a duplicate key.
 */
#include "json.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../base/file.h"
#include "../base/num.h"
#include "../base/str.h"
#include "json_lex.h"

#define DEPTH_MAX 64
#define NUMBER_MAX 63 /* characters; cJSON 1.7.15 cuts a longer one */

struct span {
    size_t at, end;
};

struct document {
    struct wf_err *e;
    struct wf_arena *arena;
    const char *path, *text;
    size_t n, at;
    enum wf_json_flags flags;
    struct span *notes; /* keys and numbers in document order */
    size_t n_notes, notes_capacity, next_note;
    size_t n_nodes;
    bool non_finite; /* some note is NaN or an infinity */
};

static void line_and_column(const char *text, size_t at, size_t *line, size_t *column)
{
    size_t start = 0;
    *line = 1;
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            ++*line;
            start = i + 1;
        }
    }
    *column = at - start + 1;
}

static int bad(struct document *d, size_t at, const char *why)
{
    size_t line, column;
    line_and_column(d->text, at, &line, &column);
    return wf_fail(d->e, WF_INPUT, "%s:%zu:%zu: %s", d->path, line, column, why);
}

/* ---- the check ---- */

static int note(struct document *d, size_t at, size_t end)
{
    if (d->n_notes == d->notes_capacity) {
        size_t capacity = d->notes_capacity ? d->notes_capacity * 2 : 64;
        void *grown = wf_realloc(d->e, d->notes, capacity, sizeof *d->notes, d->path);
        if (!grown)
            return WF_MACHINE;
        d->notes = grown;
        d->notes_capacity = capacity;
    }
    d->notes[d->n_notes++] = (struct span){at, end};
    return WF_OK;
}

static char next_byte(struct document *d)
{
    d->at = wf_json_skip_space(d->text, d->n, d->at);
    return d->at < d->n ? d->text[d->at] : 0;
}

static int check_string(struct document *d, struct wf_json_token *token)
{
    const char *why = wf_json_lex_string(d->text, d->n, d->at, token);
    if (why)
        return bad(d, token->end, why);
    d->at = token->end;
    return WF_OK;
}

static int check_number(struct document *d)
{
    struct wf_json_token token;
    const char *why = wf_json_lex_number(d->text, d->n, d->at, &token);
    if (why)
        return bad(d, token.end, why);
    if (token.end - token.at > NUMBER_MAX)
        return bad(d, token.at, "a number of more than 63 characters");
    d->at = token.end;
    return note(d, token.at, token.end);
}

/* Takes `word` if it is what stands here. */
static bool accept(struct document *d, const char *word)
{
    size_t n = strlen(word);
    if (d->n - d->at < n || memcmp(d->text + d->at, word, n))
        return false;
    d->at += n;
    return true;
}

/* Takes NaN and the infinities, which published configs have, as numbers. */
static bool accept_non_finite(struct document *d)
{
    if (!(d->flags & WF_JSON_CONFIG) ||
        !(accept(d, "NaN") || accept(d, "Infinity") || accept(d, "-Infinity")))
        return false;
    d->non_finite = true;
    return true;
}

static int check_value(struct document *d, int depth);

static int check_object(struct document *d, int depth)
{
    d->at++;
    if (next_byte(d) == '}') {
        d->at++;
        return WF_OK;
    }
    for (;;) {
        struct wf_json_token key;
        if (next_byte(d) != '"')
            return bad(d, d->at, "expected a key in quotes");
        int s = check_string(d, &key);
        if (!s)
            s = note(d, key.at, key.end);
        if (s)
            return s;
        if (next_byte(d) != ':')
            return bad(d, d->at, "expected ':' behind the key");
        d->at++;
        if ((s = check_value(d, depth + 1)))
            return s;
        char c = next_byte(d);
        if (c != ',' && c != '}')
            return bad(d, d->at, "expected ',' or '}'");
        d->at++;
        if (c == '}')
            return WF_OK;
    }
}

static int check_array(struct document *d, int depth)
{
    d->at++;
    if (next_byte(d) == ']') {
        d->at++;
        return WF_OK;
    }
    for (;;) {
        int s = check_value(d, depth + 1);
        if (s)
            return s;
        char c = next_byte(d);
        if (c != ',' && c != ']')
            return bad(d, d->at, "expected ',' or ']'");
        d->at++;
        if (c == ']')
            return WF_OK;
    }
}

static int check_value(struct document *d, int depth)
{
    char c = next_byte(d);
    size_t at = d->at;
    struct wf_json_token token;
    if (depth > DEPTH_MAX)
        return bad(d, d->at, "nested more than 64 deep");
    if (++d->n_nodes > WF_JSON_NODES_MAX)
        return bad(d, d->at, "more values than weft reads from one JSON file");
    if (d->at == d->n)
        return bad(d, d->at, "the text ends where a value should be");
    if (c == '{')
        return check_object(d, depth);
    if (c == '[')
        return check_array(d, depth);
    if (c == '"')
        return check_string(d, &token);
    if (accept(d, "true") || accept(d, "false") || accept(d, "null"))
        return WF_OK;
    if (accept_non_finite(d))
        return note(d, at, d->at);
    if (c == '-' || (c >= '0' && c <= '9'))
        return check_number(d);
    return bad(d, d->at, "expected a value");
}

static int check(struct document *d)
{
    size_t wrong;
    if (d->n >= 3 && !memcmp(d->text, "\xef\xbb\xbf", 3))
        return bad(d, 0, "a byte order mark: save the file without it");
    if (!wf_utf8_valid(d->text, d->n, &wrong))
        return bad(d, wrong, "not UTF-8");
    int s = check_value(d, 1);
    if (s)
        return s;
    next_byte(d);
    return d->at == d->n ? WF_OK : bad(d, d->at, "text behind the end of the document");
}

/* ---- cJSON ---- */

static void set_hooks(void)
{
    cJSON_Hooks hooks = {wf_plain_malloc, wf_plain_free};
    cJSON_InitHooks(&hooks);
}

/* A copy of the text in which every NaN and infinity is a 0 and spaces; NULL without memory. */
static char *without_non_finite(const struct document *d)
{
    char *copy = wf_alloc(d->e, WF_MEM_TEXT, d->n, 1, d->path);
    if (!copy)
        return NULL;
    memcpy(copy, d->text, d->n);
    for (size_t i = 0; i < d->n_notes; i++) {
        const struct span *t = &d->notes[i];
        char last = d->text[t->end - 1];
        if (last == 'N' || last == 'y') { /* NaN, Infinity; a key ends in a quote */
            memset(copy + t->at, ' ', t->end - t->at);
            copy[t->at] = '0';
        }
    }
    return copy;
}

/* cJSON's tree of a checked document, in *tree. */
static int parse_checked(struct document *d, cJSON **tree)
{
    static pthread_once_t hooks_once = PTHREAD_ONCE_INIT;
    pthread_once(&hooks_once, set_hooks);
    char *copy = NULL;
    if (d->non_finite && !(copy = without_non_finite(d)))
        return WF_MACHINE;
    *tree = cJSON_ParseWithLength(copy ? copy : d->text, d->n);
    wf_free(copy);
    if (!*tree) /* the document is sound, so only memory can be missing */
        return wf_fail(d->e, WF_MACHINE, "out of memory for %s", d->path);
    return WF_OK;
}

/* ---- the tree ---- */

struct key {
    const char *text;
    size_t at;
};

static int by_key(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* Sorts keys[0..n) and refuses equal ones, naming the later place. */
static int refuse_duplicates(struct document *d, struct key *keys, size_t n)
{
    qsort(keys, n, sizeof *keys, by_key);
    for (size_t i = 1; i < n; i++) {
        if (strcmp(keys[i - 1].text, keys[i].text))
            continue;
        size_t line, column, first, ignored;
        line_and_column(d->text, keys[i].at, &line, &column);
        line_and_column(d->text, keys[i - 1].at, &first, &ignored);
        return wf_fail(d->e, WF_INPUT, "%s:%zu:%zu: duplicate key '%s' (first on line %zu)",
                       d->path, line, column, keys[i].text, first);
    }
    return WF_OK;
}

static int copy_text(struct document *d, const char *text, const char **out)
{
    *out = wf_arena_strdup(d->arena, d->e, text);
    return *out ? WF_OK : WF_MACHINE;
}

static int build_number(struct document *d, struct wf_json *to)
{
    const struct span *t = &d->notes[d->next_note++];
    const char *text = d->text + t->at;
    size_t n = t->end - t->at;
    bool word = text[n - 1] == 'N' || text[n - 1] == 'y';
    if (!word && !wf_parse_f64(text, n, &to->number))
        return bad(d, t->at, "a number beyond the range of a double");
    to->text = wf_arena_strndup(d->arena, d->e, text, n);
    return to->text ? WF_OK : WF_MACHINE;
}

static int build(struct document *d, const cJSON *from, struct wf_json *to);

/* The children of an array, or of an object: then `keys` has room for all of them. */
static int build_children(struct document *d, const cJSON *from, struct wf_json *to,
                          struct key *keys)
{
    size_t i = 0;
    for (const cJSON *c = from->child; c; c = c->next, i++) {
        int s = WF_OK;
        if (keys) {
            keys[i].at = d->notes[d->next_note++].at;
            s = copy_text(d, c->string, &to->children[i].key);
            keys[i].text = to->children[i].key;
        }
        if (!s)
            s = build(d, c, &to->children[i]);
        if (s)
            return s;
    }
    return keys ? refuse_duplicates(d, keys, i) : WF_OK;
}

static int build_container(struct document *d, const cJSON *from, struct wf_json *to)
{
    for (const cJSON *c = from->child; c; c = c->next)
        to->n++;
    to->children = wf_arena_alloc(d->arena, d->e, to->n, sizeof *to->children);
    if (!to->children)
        return WF_MACHINE;
    struct key *keys = NULL;
    if (to->kind == WF_JSON_OBJECT &&
        !(keys = wf_alloc(d->e, WF_MEM_TEXT, to->n, sizeof *keys, d->path)))
        return WF_MACHINE;
    int s = build_children(d, from, to, keys);
    wf_free(keys);
    return s;
}

static int build(struct document *d, const cJSON *from, struct wf_json *to)
{
    switch (from->type & 0xff) { /* above are cJSON's own flags */
    case cJSON_True:
    case cJSON_False:
        to->kind = WF_JSON_BOOL;
        to->number = (from->type & 0xff) == cJSON_True;
        return WF_OK;
    case cJSON_Number:
        to->kind = WF_JSON_NUMBER;
        return build_number(d, to);
    case cJSON_String:
        to->kind = WF_JSON_STRING;
        return copy_text(d, from->valuestring, &to->text);
    case cJSON_Array:
        to->kind = WF_JSON_ARRAY;
        return build_container(d, from, to);
    case cJSON_Object:
        to->kind = WF_JSON_OBJECT;
        return build_container(d, from, to);
    default:
        to->kind = WF_JSON_NULL;
        return WF_OK;
    }
}

int wf_json_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                  size_t n, enum wf_json_flags flags, struct wf_json **out)
{
    struct document d = {.e = e, .arena = a, .path = path, .text = text, .n = n, .flags = flags};
    cJSON *tree = NULL;
    *out = NULL;
    int s = check(&d);
    if (!s)
        s = parse_checked(&d, &tree);
    if (s)
        goto out;
    struct wf_json *root = wf_arena_alloc(a, e, 1, sizeof *root);
    s = root ? build(&d, tree, root) : WF_MACHINE;
    if (!s)
        *out = root;
out:
    cJSON_Delete(tree);
    wf_free(d.notes);
    return s;
}

int wf_json_read(struct wf_err *e, struct wf_arena *a, const char *path, size_t max_bytes,
                 enum wf_json_flags flags, struct wf_json **out)
{
    char *text;
    size_t n;
    int s = wf_read_small(e, WF_INPUT, path, max_bytes, &text, &n);
    if (s)
        return s;
    s = wf_json_parse(e, a, path, text, n, flags, out);
    wf_free(text);
    return s;
}

const struct wf_json *wf_json_get(const struct wf_json *object, const char *key)
{
    if (!object || object->kind != WF_JSON_OBJECT)
        return NULL;
    for (size_t i = 0; i < object->n; i++)
        if (!strcmp(object->children[i].key, key))
            return &object->children[i];
    return NULL;
}

const char *wf_json_string(const struct wf_json *object, const char *key)
{
    const struct wf_json *value = wf_json_get(object, key);
    return value && value->kind == WF_JSON_STRING ? value->text : NULL;
}

bool wf_json_u64(const struct wf_json *value, uint64_t *out)
{
    uint64_t v;
    if (!value || value->kind != WF_JSON_NUMBER ||
        !wf_parse_u64(value->text, strlen(value->text), &v) || v > (uint64_t)1 << 53)
        return false;
    *out = v;
    return true;
}
