/* config_edit.c - edits to a JSON text as replaced spans; see config_edit.h.
 *
 * The text is parsed strictly first; then a second walk finds where each value of the tree stands.
 * Edits are marks on these spans, and one pass from left to right writes the result:
 *
 *   { "a": 1, "b": 2 }
 *     ^key ^begin..end            removed members take the comma on their left with them, the
 *                                 leading ones the comma on their right
 */
#include "config_edit.h"

#include <string.h>

#include "json.h"
#include "json_lex.h"

struct insertion {
    const char *key;
    const char *value;
    struct insertion *next;
};

struct span {
    size_t key; /* offset of the key's opening quote; members only */
    size_t key_end;
    size_t begin, end;   /* the value */
    const char *replace; /* JSON text to put there, NULL to keep it */
    bool removed;        /* members only */
    bool touched;        /* it, or something inside, is marked */
    const struct wf_json *json;
    struct span *parent;   /* NULL for the root */
    struct span *children; /* json->n of them */
    struct insertion *first, *last;
};

struct edit {
    struct wf_err *e;
    struct wf_arena arena;
    const char *path, *text;
    size_t n;
    struct span root;
};

/* ---- where the values stand -------------------------------------------------------------------
 */

static int mismatch(struct edit *d)
{
    return wf_fail(d->e, WF_BUG, "%s: the two readers of JSON disagree", d->path);
}

static char byte_at(const struct edit *d, size_t at)
{
    return at < d->n ? d->text[at] : 0;
}

/* The offset of the first byte that ends a number or a word. */
static size_t skip_word(const struct edit *d, size_t at)
{
    while (at < d->n && !strchr(",]} \t\r\n", d->text[at]))
        at++;
    return at;
}

static int locate(struct edit *d, struct span *s, size_t at);

/* Locates member or element i, which starts at or behind `at`. */
static int locate_child(struct edit *d, struct span *s, size_t i, size_t at)
{
    struct span *child = &s->children[i];
    struct wf_json_token key;
    child->json = &s->json->children[i];
    child->parent = s;
    at = wf_json_skip_space(d->text, d->n, at);
    if (s->json->kind == WF_JSON_OBJECT) {
        if (byte_at(d, at) != '"' || wf_json_lex_string(d->text, d->n, at, &key))
            return mismatch(d);
        child->key = at;
        child->key_end = key.end;
        at = wf_json_skip_space(d->text, d->n, key.end);
        if (byte_at(d, at) != ':')
            return mismatch(d);
        at++;
    }
    return locate(d, child, at);
}

static int locate_container(struct edit *d, struct span *s)
{
    size_t n = s->json->n, at = s->begin + 1;
    s->children = wf_arena_alloc(&d->arena, d->e, n, sizeof *s->children);
    if (!s->children)
        return wf_err_status(d->e);
    for (size_t i = 0; i < n; i++) {
        int status = locate_child(d, s, i, at);
        if (status)
            return status;
        at = wf_json_skip_space(d->text, d->n, s->children[i].end);
        if (i + 1 < n && byte_at(d, at++) != ',')
            return mismatch(d);
    }
    at = wf_json_skip_space(d->text, d->n, at);
    if (byte_at(d, at) != (s->json->kind == WF_JSON_OBJECT ? '}' : ']'))
        return mismatch(d);
    s->end = at + 1;
    return WF_OK;
}

/* Sets begin and end of a value (s->json is known) that starts at or behind `at`. Depth is what
 * wf_json_parse lets through. */
static int locate(struct edit *d, struct span *s, size_t at)
{
    struct wf_json_token token;
    s->begin = wf_json_skip_space(d->text, d->n, at);
    switch (s->json->kind) {
    case WF_JSON_OBJECT:
    case WF_JSON_ARRAY:
        return locate_container(d, s);
    case WF_JSON_STRING:
        if (byte_at(d, s->begin) != '"' || wf_json_lex_string(d->text, d->n, s->begin, &token))
            return mismatch(d);
        s->end = token.end;
        return WF_OK;
    default:
        s->end = skip_word(d, s->begin);
        return WF_OK;
    }
}

static int edit_start(struct edit *d)
{
    struct wf_json *json;
    int s = wf_json_parse(d->e, &d->arena, d->path, d->text, d->n, WF_JSON_CONFIG, &json);
    if (s)
        return s;
    if (json->kind != WF_JSON_OBJECT)
        return wf_fail(d->e, WF_INPUT, "%s: expected a JSON object", d->path);
    d->root.json = json;
    return locate(d, &d->root, 0);
}

/* ---- marks ------------------------------------------------------------------------------------
 */

static void touch(struct span *s)
{
    for (; s && !s->touched; s = s->parent)
        s->touched = true;
}

static void mark_replaced(struct span *s, const char *value)
{
    s->replace = value;
    s->removed = false;
    touch(s);
}

static void mark_removed(struct span *s)
{
    s->removed = true;
    touch(s);
}

static int mark_inserted(struct edit *d, struct span *object, const char *key, const char *value)
{
    for (struct insertion *i = object->first; i; i = i->next)
        if (!strcmp(i->key, key)) {
            i->value = value;
            return WF_OK;
        }
    struct insertion *i = wf_arena_alloc(&d->arena, d->e, 1, sizeof *i);
    if (!i)
        return wf_err_status(d->e);
    *i = (struct insertion){key, value, NULL};
    if (object->last)
        object->last->next = i;
    else
        object->first = i;
    object->last = i;
    touch(object);
    return WF_OK;
}

static void drop_insertion(struct span *object, const char *key)
{
    struct insertion **link = &object->first, *before = NULL;
    for (; *link; before = *link, link = &(*link)->next)
        if (!strcmp((*link)->key, key)) {
            if (object->last == *link)
                object->last = before;
            *link = (*link)->next;
            return;
        }
}

/* ---- writing ----------------------------------------------------------------------------------
 */

struct writer {
    const char *text;
    size_t cursor; /* text before it is written or skipped */
    struct wf_str *out;
};

static void copy_until(struct writer *w, size_t at)
{
    wf_str_add(w->out, w->text + w->cursor, at - w->cursor);
    w->cursor = at;
}

/* The white space before the last key; `{"a": 1}` shows none between members, but where it would
 * be. */
static void write_separator(struct writer *w, const struct span *s)
{
    size_t n = s->json->n, key = s->children[n - 1].key, from = key;
    while (from > s->begin + 1 && strchr(" \t\r\n", w->text[from - 1]))
        from--;
    wf_str_add(w->out, w->text + from, key - from);
    if (from == key && n == 1 && w->text[s->children[0].begin - 1] == ' ')
        wf_str_puts(w->out, " ");
}

/* Adds one member behind those that are kept, in the layout of the object's last one. */
static void write_insertion(struct writer *w, const struct span *s, const struct insertion *i,
                            bool comma)
{
    size_t n = s->json->n;
    if (comma)
        wf_str_puts(w->out, ",");
    if (comma && n)
        write_separator(w, s);
    wf_str_json(w->out, i->key, strlen(i->key));
    if (n) /* the colon, with what stands around it */
        wf_str_add(w->out, w->text + s->children[n - 1].key_end,
                   s->children[n - 1].begin - s->children[n - 1].key_end);
    else
        wf_str_puts(w->out, ": ");
    wf_str_puts(w->out, i->value);
}

static void write_value(struct writer *w, const struct span *s);

/* Writes the members up to the end of the last value, without the removed ones. */
static size_t write_members(struct writer *w, const struct span *s)
{
    const struct span *c = s->children;
    size_t n = s->json->n, first = 0, n_kept = 0;
    while (first < n && c[first].removed)
        first++;
    if (first) {
        copy_until(w, c[0].key);
        w->cursor = first < n ? c[first].key : c[n - 1].end;
    }
    for (size_t i = first; i < n; i++) {
        if (c[i].removed) { /* with the comma before it */
            copy_until(w, c[i - 1].end);
            w->cursor = c[i].end;
        } else {
            write_value(w, &c[i]);
            n_kept++;
        }
    }
    return n_kept;
}

static bool becomes_empty(const struct span *s)
{
    for (size_t i = 0; i < s->json->n; i++)
        if (!s->children[i].removed)
            return false;
    return !s->first;
}

static void write_object(struct writer *w, const struct span *s)
{
    copy_until(w, s->begin + 1);
    if (becomes_empty(s)) {
        w->cursor = s->end - 1;
        return;
    }
    size_t n_kept = write_members(w, s);
    for (const struct insertion *i = s->first; i; i = i->next)
        write_insertion(w, s, i, n_kept++ > 0);
}

/* Writes everything up to the end of the value. */
static void write_value(struct writer *w, const struct span *s)
{
    if (s->replace) {
        copy_until(w, s->begin);
        wf_str_puts(w->out, s->replace);
        w->cursor = s->end;
        return;
    }
    if (s->touched && s->json->kind == WF_JSON_OBJECT)
        write_object(w, s);
    else if (s->touched)
        for (size_t i = 0; i < s->json->n; i++)
            write_value(w, &s->children[i]);
    copy_until(w, s->end);
}

static int write_all(struct edit *d, struct wf_str *out)
{
    struct writer w = {d->text, 0, out};
    write_value(&w, &d->root);
    copy_until(&w, d->n);
    return wf_str_finish(out, d->e);
}

/* ---- edits by path ----------------------------------------------------------------------------
 */

/* A member by the name path[0..n), removed ones included; NULL if there is none. */
static struct span *member(struct span *object, const char *name, size_t n)
{
    if (object->json->kind != WF_JSON_OBJECT || object->replace)
        return NULL;
    for (size_t i = 0; i < object->json->n; i++) {
        const char *key = object->json->children[i].key;
        if (!strncmp(key, name, n) && !key[n])
            return &object->children[i];
    }
    return NULL;
}

/* Follows all but the last name of `path`; *name gets that one. NULL if an object is missing. */
static struct span *find_object(struct edit *d, const char *path, const char **name)
{
    struct span *object = &d->root;
    for (const char *dot; object && (dot = strchr(path, '.')); path = dot + 1) {
        object = member(object, path, (size_t)(dot - path));
        if (object && (object->removed || object->json->kind != WF_JSON_OBJECT))
            object = NULL;
    }
    *name = path;
    return object;
}

static int mark_edit(struct edit *d, const struct wf_config_edit *edit)
{
    const char *name;
    struct span *object = find_object(d, edit->path, &name);
    if (!object && edit->value && edit->insert)
        return wf_fail(d->e, WF_INPUT, "%s: no object to put '%s' into", d->path, edit->path);
    if (!object)
        return WF_OK;
    struct span *m = member(object, name, strlen(name));
    if (!edit->value) {
        drop_insertion(object, name);
        if (m)
            mark_removed(m);
        return WF_OK;
    }
    if (m && (!m->removed || edit->insert)) {
        mark_replaced(m, edit->value);
        return WF_OK;
    }
    return !m && edit->insert ? mark_inserted(d, object, name, edit->value) : WF_OK;
}

int wf_config_apply(struct wf_err *e, const char *path_for_messages, const char *text, size_t n,
                    const struct wf_config_edit *edits, size_t n_edits, struct wf_str *out)
{
    struct edit d = {.e = e, .path = path_for_messages, .text = text, .n = n};
    int s = edit_start(&d);
    for (size_t i = 0; i < n_edits && !s; i++)
        s = mark_edit(&d, &edits[i]);
    if (!s)
        s = write_all(&d, out);
    wf_arena_destroy(&d.arena);
    return s;
}

/* ---- lists of edits ---------------------------------------------------------------------------
 */

int wf_config_edits_add(struct wf_err *e, struct wf_arena *a, struct wf_config_edits *edits,
                        const char *path, const char *value, int insert)
{
    struct wf_config_edit *list =
        wf_arena_grow(a, e, edits->list, edits->n, &edits->max, sizeof *list);
    path = wf_arena_strdup(a, e, path);
    value = wf_arena_strdup(a, e, value);
    if (!list || !path || !value)
        return WF_MACHINE;
    edits->list = list;
    list[edits->n++] = (struct wf_config_edit){path, value, insert};
    return WF_OK;
}

/* ---- the merged model's config ----------------------------------------------------------------
 */

static bool is_dtype_key(const char *key)
{
    return !strcmp(key, "dtype") || !strcmp(key, "torch_dtype");
}

/* "bfloat16", "torch.float16", "auto": the type of weights. An "int8" of some codec inside the
 * config is not. */
static bool names_weight_type(const char *text)
{
    static const char *const starts[] = {"float", "bfloat", "half", "double", "auto"};
    if (wf_starts_with(text, "torch."))
        text += strlen("torch.");
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (wf_starts_with(text, starts[i]))
            return true;
    return false;
}

/* True if the member says the type of weights in one word. At top level null does, too. */
static bool is_dtype_member(const struct span *m, bool top)
{
    if (!is_dtype_key(m->json->key))
        return false;
    if (m->json->kind == WF_JSON_STRING)
        return top || names_weight_type(m->json->text);
    return top && m->json->kind == WF_JSON_NULL;
}

static bool is_unwanted(const char *key)
{
    return !strcmp(key, "_name_or_path") || !strcmp(key, "quantization_config") ||
           !strcmp(key, "compression_config");
}

/* Marks what changes at and below `s`; *n_dtypes counts the types set. */
static void mark_for_merge(struct span *s, const char *dtype, bool top, size_t *n_dtypes)
{
    for (size_t i = 0; i < s->json->n; i++) {
        struct span *m = &s->children[i];
        if (m->json->key && is_unwanted(m->json->key)) {
            mark_removed(m);
            continue;
        }
        if (dtype && m->json->key && is_dtype_member(m, top)) {
            mark_replaced(m, dtype);
            ++*n_dtypes;
            continue;
        }
        mark_for_merge(m, dtype, false, n_dtypes);
    }
}

/* torch_dtype goes in when nothing says the type, and no object per module does. */
static int insert_dtype(struct edit *d, const char *dtype, size_t n_dtypes)
{
    if (!dtype || n_dtypes || member(&d->root, "dtype", 5) || member(&d->root, "torch_dtype", 11))
        return WF_OK;
    return mark_inserted(d, &d->root, "torch_dtype", dtype);
}

int wf_config_for_merge(struct wf_err *e, const char *path_for_messages, const char *text, size_t n,
                        enum wf_dtype dtype, struct wf_str *out)
{
    struct edit d = {.e = e, .path = path_for_messages, .text = text, .n = n};
    const char *quoted = NULL;
    size_t n_dtypes = 0;
    int s = edit_start(&d);
    if (!s && dtype != WF_DTYPE_NONE && wf_dtype_info(dtype)->torch_name) {
        quoted = wf_arena_printf(&d.arena, e, "\"%s\"", wf_dtype_info(dtype)->torch_name);
        s = quoted ? WF_OK : wf_err_status(e);
    }
    if (!s) {
        mark_for_merge(&d.root, quoted, true, &n_dtypes);
        s = insert_dtype(&d, quoted, n_dtypes);
    }
    if (!s)
        s = write_all(&d, out);
    wf_arena_destroy(&d.arena);
    return s;
}
