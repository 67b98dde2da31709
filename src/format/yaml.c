/* yaml.c - recipes as a tree: libyaml's events, and what a recipe may not do.
 *
 * Recursive descent over events; DEPTH_MAX bounds the recursion. An alias becomes a copy of its
 * target's top node that shares the children, and counts (nodes, depth) as if all had been
 * written out, so that whoever walks the tree meets at most NODES_MAX nodes whatever the file does.
 */
#include "yaml.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "../base/num.h"
#include "../base/str.h"
#include "yaml_text.h"

#define TEXT_MAX ((size_t)16 << 20)
#define DEPTH_MAX 32
#define NODES_MAX 1000000
#define ANCHORS_MAX 1024 /* in one document */
#define TAG_DIRECTIVES_MAX 16
#define TAG_PREFIX "tag:yaml.org,2002:"

/* What weft keeps of a node beside what others see; every struct wf_yaml here is one of these. */
struct node {
    struct wf_yaml pub;
    uint32_t size;   /* nodes of the subtree, aliases expanded */
    uint32_t height; /* levels of the subtree, 1 for a scalar */
};

struct anchor {
    const char *name;
    const struct node *node; /* NULL while the node is being read */
};

struct reader {
    struct wf_err *e;
    struct wf_arena *arena;
    const char *path, *text;
    size_t n;
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
    size_t n_nodes;
    struct anchor *anchors[ANCHORS_MAX]; /* of this document, sorted by name */
    size_t n_anchors;
};

/* Pointers under collection; they move into the arena when their number is known. */
struct list {
    struct wf_yaml **items;
    size_t n, capacity;
};

static int list_add(struct reader *r, struct list *l, struct wf_yaml *item)
{
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 16;
        void *grown = wf_realloc(r->e, l->items, capacity, sizeof *l->items, r->path);
        if (!grown)
            return WF_MACHINE;
        l->items = grown;
        l->capacity = capacity;
    }
    l->items[l->n++] = item;
    return WF_OK;
}

static int list_settle(struct reader *r, const struct list *l, struct wf_yaml ***out)
{
    *out = wf_arena_alloc(r->arena, r->e, l->n, sizeof **out);
    if (!*out)
        return WF_MACHINE;
    if (l->n)
        memcpy(*out, l->items, l->n * sizeof **out);
    return WF_OK;
}

static int bad(struct reader *r, int line, const char *why)
{
    return wf_fail(r->e, WF_USAGE, "%s:%d: %s", r->path, line, why);
}

/* ---- events ---- */

static int line_of(const yaml_mark_t *mark)
{
    return (int)mark->line + 1; /* TEXT_MAX keeps it an int */
}

static int line_at(const struct reader *r, size_t at)
{
    int line = 1;
    for (size_t i = 0; i < at && i < r->n; i++)
        line += r->text[i] == '\n';
    return line;
}

/* Whether the white space that starts a line (1-based) has a tab. */
static bool indented_by_tab(const struct reader *r, int line)
{
    size_t i = 0;
    for (; line > 1 && i < r->n; i++)
        line -= r->text[i] == '\n';
    while (i < r->n && r->text[i] == ' ')
        i++;
    return i < r->n && r->text[i] == '\t';
}

/* libyaml's own refusal as one line of ours. */
static int refused_by_libyaml(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    const char *problem = p->problem ? p->problem : "not YAML";
    if (p->error == YAML_MEMORY_ERROR)
        return wf_fail(r->e, WF_MACHINE, "out of memory for %s", r->path);
    if (p->error == YAML_READER_ERROR)
        return bad(r, line_at(r, p->problem_offset), problem);
    int line = line_of(&p->problem_mark);
    if (indented_by_tab(r, line))
        return bad(r, line, "a tab cannot indent YAML; use spaces");
    if (!p->context)
        return bad(r, line, problem);
    return wf_fail(r->e, WF_USAGE, "%s:%d: %s (%s that begins on line %d)", r->path, line, problem,
                   p->context, line_of(&p->context_mark));
}

static int next_event(struct reader *r)
{
    yaml_event_delete(&r->event);
    return yaml_parser_parse(&r->parser, &r->event) ? WF_OK : refused_by_libyaml(r);
}

/* ---- anchors ---- */

/* The first place whose name is not less than `name`. */
static size_t anchor_place(const struct reader *r, const char *name)
{
    size_t low = 0, high = r->n_anchors;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(r->anchors[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct anchor *find_anchor(const struct reader *r, const char *name)
{
    size_t i = anchor_place(r, name);
    return i < r->n_anchors && !strcmp(r->anchors[i]->name, name) ? r->anchors[i] : NULL;
}

/* Opens the anchor `name` (none if NULL) at the start of its node; a name used again means the
 * newer node from here on. *out is closed by setting its node. */
static int open_anchor(struct reader *r, const yaml_char_t *name, int line, struct anchor **out)
{
    *out = NULL;
    if (!name)
        return WF_OK;
    struct anchor *a = wf_arena_alloc(r->arena, r->e, 1, sizeof *a);
    if (!a || !(a->name = wf_arena_strdup(r->arena, r->e, (const char *)name)))
        return WF_MACHINE;
    size_t i = anchor_place(r, a->name);
    if (i == r->n_anchors || strcmp(r->anchors[i]->name, a->name)) {
        if (r->n_anchors == ANCHORS_MAX)
            return bad(r, line, "more than 1024 anchors in one document");
        memmove(&r->anchors[i + 1], &r->anchors[i], (r->n_anchors - i) * sizeof *r->anchors);
        r->n_anchors++;
    }
    r->anchors[i] = *out = a;
    return WF_OK;
}

/* ---- nodes ---- */

static int new_node(struct reader *r, enum wf_yaml_kind kind, int line, struct node **out)
{
    if (++r->n_nodes > NODES_MAX)
        return bad(r, line, "more than 1,000,000 values, aliases expanded");
    *out = wf_arena_alloc(r->arena, r->e, 1, sizeof **out);
    if (!*out)
        return WF_MACHINE;
    (*out)->pub = (struct wf_yaml){.kind = kind, .line = line, .text = ""};
    (*out)->size = (*out)->height = 1;
    return WF_OK;
}

static int bad_tag(struct reader *r, const yaml_char_t *tag, int line)
{
    return wf_fail(r->e, WF_USAGE, "%s:%d: the tag '%s' means nothing here; remove it", r->path,
                   line, (const char *)tag);
}

/* A list or map may say that it is one, nothing else. */
static int check_collection_tag(struct reader *r, const yaml_char_t *tag, const char *own, int line)
{
    const char *t = (const char *)tag;
    return !t || !strcmp(t, "!") || !strcmp(t, own) ? WF_OK : bad_tag(r, tag, line);
}

/* Whether a scalar is text for sure: by its quotes, unless a standard tag says otherwise. */
static int resolve_quoted(struct reader *r, bool *quoted)
{
    static const char *const plain[] = {"int", "float", "bool", "null"};
    const char *tag = (const char *)r->event.data.scalar.tag;
    *quoted = true;
    if (!tag)
        *quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    if (!tag || !strcmp(tag, "!") || !strcmp(tag, TAG_PREFIX "str"))
        return WF_OK;
    *quoted = false;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (wf_starts_with(tag, TAG_PREFIX) && !strcmp(tag + strlen(TAG_PREFIX), plain[i]))
            return WF_OK;
    return bad_tag(r, r->event.data.scalar.tag, line_of(&r->event.start_mark));
}

static bool means_null(const char *text)
{
    return !*text || !strcmp(text, "~") || !strcmp(text, "null") || !strcmp(text, "Null") ||
           !strcmp(text, "NULL");
}

static int build_scalar(struct reader *r, struct node **out)
{
    const char *text = (const char *)r->event.data.scalar.value;
    size_t n = r->event.data.scalar.length;
    int line = line_of(&r->event.start_mark), s;
    struct anchor *anchor;
    bool quoted;
    if (memchr(text, 0, n))
        return bad(r, line, "a NUL character in a text");
    if ((s = resolve_quoted(r, &quoted)) ||
        (s = open_anchor(r, r->event.data.scalar.anchor, line, &anchor)) ||
        (s = new_node(r, WF_YAML_SCALAR, line, out)))
        return s;
    struct wf_yaml *v = &(*out)->pub;
    v->quoted = quoted;
    if (!quoted && means_null(text)) {
        v->kind = WF_YAML_NULL;
    } else {
        v->text = wf_arena_strndup(r->arena, r->e, text, n);
        v->text_n = n;
    }
    if (anchor)
        anchor->node = *out;
    return v->text ? WF_OK : WF_MACHINE;
}

static int build_alias(struct reader *r, unsigned depth, struct node **out)
{
    const char *name = (const char *)r->event.data.alias.anchor;
    int line = line_of(&r->event.start_mark);
    const struct anchor *anchor = find_anchor(r, name);
    if (!anchor)
        return wf_fail(r->e, WF_USAGE, "%s:%d: no anchor '&%s' before this alias", r->path, line,
                       name);
    if (!anchor->node)
        return wf_fail(r->e, WF_USAGE, "%s:%d: the alias '*%s' stands inside its own anchor",
                       r->path, line, name);
    const struct node *target = anchor->node;
    if (depth + target->height - 1 > DEPTH_MAX)
        return bad(r, line, "nested more than 32 deep, aliases expanded");
    r->n_nodes += target->size - 1; /* new_node counts the top */
    int s = new_node(r, target->pub.kind, line, out);
    if (s)
        return s;
    **out = *target;
    (*out)->pub.line = line;
    (*out)->pub.key = NULL;
    (*out)->pub.key_line = 0;
    return WF_OK;
}

/* Gives a list or map its children, and closes its anchor. */
static int finish(struct reader *r, struct node *node, const struct list *l, struct anchor *anchor)
{
    int s = list_settle(r, l, &node->pub.children);
    if (s)
        return s;
    node->pub.n = l->n;
    for (size_t i = 0; i < l->n; i++) {
        const struct node *child = (const struct node *)l->items[i];
        node->size += child->size;
        if (node->height <= child->height)
            node->height = child->height + 1;
    }
    if (anchor)
        anchor->node = node;
    return WF_OK;
}

static int build(struct reader *r, unsigned depth, struct node **out);

static int build_items(struct reader *r, unsigned depth, struct list *l)
{
    for (;;) {
        struct node *item;
        int s = next_event(r);
        if (s || r->event.type == YAML_SEQUENCE_END_EVENT)
            return s;
        if ((s = build(r, depth + 1, &item)) || (s = list_add(r, l, &item->pub)))
            return s;
    }
}

static int build_list(struct reader *r, unsigned depth, struct node **out)
{
    int line = line_of(&r->event.start_mark), s;
    struct anchor *anchor;
    struct list l = {0};
    if ((s = check_collection_tag(r, r->event.data.sequence_start.tag, TAG_PREFIX "seq", line)) ||
        (s = open_anchor(r, r->event.data.sequence_start.anchor, line, &anchor)) ||
        (s = new_node(r, WF_YAML_LIST, line, out)))
        return s;
    s = build_items(r, depth, &l);
    if (!s)
        s = finish(r, *out, &l, anchor);
    wf_free(l.items);
    return s;
}

/* ---- maps ---- */

static int build_key(struct reader *r, struct node **key)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return bad(r, line_of(&r->event.start_mark),
                   "a key must be a word, not a list, a map or an alias");
    int s = build_scalar(r, key);
    if (!s && (*key)->pub.kind == WF_YAML_NULL)
        return bad(r, (*key)->pub.line, "an empty key; quote it if it is meant");
    return s;
}

static bool is_merge(const struct node *key)
{
    return !key->pub.quoted && !strcmp(key->pub.text, "<<");
}

/* Reads the members of a map: ordinary ones into `l`, the value of '<<' into *merge. */
static int build_members(struct reader *r, unsigned depth, struct list *l, struct node **merge)
{
    for (;;) {
        struct node *key, *value;
        int s = next_event(r);
        if (s || r->event.type == YAML_MAPPING_END_EVENT)
            return s;
        if ((s = build_key(r, &key)) || (s = next_event(r)) || (s = build(r, depth + 1, &value)))
            return s;
        value->pub.key = key->pub.text;
        value->pub.key_line = key->pub.line;
        if (!is_merge(key))
            s = list_add(r, l, &value->pub);
        else if (*merge)
            s = bad(r, key->pub.line, "duplicate key '<<'; merge a list of maps instead");
        else
            *merge = value;
        if (s)
            return s;
    }
}

static int add_merged_map(struct reader *r, struct list *l, const struct node *merge,
                          const struct wf_yaml *map)
{
    if (map->kind != WF_YAML_MAP)
        return bad(r, merge->pub.key_line, "'<<' needs a map or a list of maps");
    int s = WF_OK;
    for (size_t i = 0; i < map->n && !s; i++)
        s = list_add(r, l, map->children[i]);
    return s;
}

/* Appends the members that '<<' brings, nearest map first. */
static int add_merged(struct reader *r, struct list *l, const struct node *merge)
{
    if (merge->pub.kind != WF_YAML_LIST)
        return add_merged_map(r, l, merge, &merge->pub);
    int s = WF_OK;
    for (size_t i = 0; i < merge->pub.n && !s; i++)
        s = add_merged_map(r, l, merge, merge->pub.children[i]);
    return s;
}

struct member {
    const struct wf_yaml *value;
    size_t place;
};

static int by_key(const void *a, const void *b)
{
    const struct member *x = a, *y = b;
    int order = strcmp(x->value->key, y->value->key);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

/* Of members with equal keys the first stays; two among the map's own (the first n_own) are an
 * error, a merged one gives way. */
static int settle_equal_keys(struct reader *r, struct list *l, size_t n_own)
{
    if (l->n < 2)
        return WF_OK;
    struct member *sorted = wf_alloc(r->e, WF_MEM_META, l->n, sizeof *sorted, r->path);
    if (!sorted)
        return WF_MACHINE;
    for (size_t i = 0; i < l->n; i++)
        sorted[i] = (struct member){l->items[i], i};
    qsort(sorted, l->n, sizeof *sorted, by_key);
    int s = WF_OK;
    for (size_t i = 1; i < l->n && !s; i++) {
        const struct wf_yaml *before = sorted[i - 1].value, *this = sorted[i].value;
        if (strcmp(before->key, this->key))
            continue;
        if (sorted[i].place < n_own)
            s = wf_fail(r->e, WF_USAGE, "%s:%d: duplicate key '%s' (first on line %d)", r->path,
                        this->key_line, this->key, before->key_line);
        l->items[sorted[i].place] = NULL;
    }
    wf_free(sorted);
    size_t kept = 0;
    for (size_t i = 0; i < l->n; i++)
        if (l->items[i])
            l->items[kept++] = l->items[i];
    l->n = kept;
    return s;
}

static int build_map(struct reader *r, unsigned depth, struct node **out)
{
    int line = line_of(&r->event.start_mark), s;
    struct anchor *anchor;
    struct node *merge = NULL;
    struct list l = {0};
    if ((s = check_collection_tag(r, r->event.data.mapping_start.tag, TAG_PREFIX "map", line)) ||
        (s = open_anchor(r, r->event.data.mapping_start.anchor, line, &anchor)) ||
        (s = new_node(r, WF_YAML_MAP, line, out)))
        return s;
    s = build_members(r, depth, &l, &merge);
    size_t n_own = l.n;
    if (!s && merge)
        s = add_merged(r, &l, merge);
    if (!s)
        s = settle_equal_keys(r, &l, n_own);
    if (!s)
        s = finish(r, *out, &l, anchor);
    wf_free(l.items);
    return s;
}

/* The node that begins with the current event; its last event is current afterwards. */
static int build(struct reader *r, unsigned depth, struct node **out)
{
    if (depth > DEPTH_MAX)
        return bad(r, line_of(&r->event.start_mark), "nested more than 32 deep");
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        return build_scalar(r, out);
    case YAML_ALIAS_EVENT:
        return build_alias(r, depth, out);
    case YAML_SEQUENCE_START_EVENT:
        return build_list(r, depth, out);
    default: /* libyaml's grammar leaves nothing else */
        return build_map(r, depth, out);
    }
}

/* ---- documents ---- */

/* libyaml compares every %TAG directive with all before it: half a million of them take an hour.
 * A directive begins a line; the bytes asked for end every kind of line break that libyaml knows.
 */
static int limit_tag_directives(struct reader *r)
{
    int found = 0;
    const char *at = r->text, *end = r->text + r->n;
    while ((at = memmem(at, (size_t)(end - at), "%TAG", 4))) {
        found += at == r->text || strchr("\n\r\x85\xa8\xa9\xbf", at[-1]) != NULL;
        if (found > TAG_DIRECTIVES_MAX)
            return bad(r, line_at(r, (size_t)(at - r->text)), "more than 16 %TAG directives");
        at += 4;
    }
    return WF_OK;
}

static int build_documents(struct reader *r, struct list *docs)
{
    int s = next_event(r); /* the start of the stream */
    while (!s) {
        struct node *root;
        if ((s = next_event(r)) || r->event.type == YAML_STREAM_END_EVENT)
            return s;
        r->n_anchors = 0;
        if (!(s = next_event(r)) && !(s = build(r, 1, &root)) &&
            !(s = list_add(r, docs, &root->pub)))
            s = next_event(r); /* the end of the document */
    }
    return s;
}

static int read_documents(struct reader *r, struct wf_yaml ***docs, size_t *n_docs)
{
    struct list l = {0};
    if (!yaml_parser_initialize(&r->parser))
        return wf_fail(r->e, WF_MACHINE, "out of memory for %s", r->path);
    int s = limit_tag_directives(r);
    yaml_parser_set_encoding(&r->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r->parser, (const unsigned char *)r->text, r->n);
    if (!s)
        s = build_documents(r, &l);
    if (!s && l.n == 0)
        s = bad(r, 1, "the file is empty");
    if (!s)
        s = list_settle(r, &l, docs);
    if (!s)
        *n_docs = l.n;
    wf_free(l.items);
    yaml_event_delete(&r->event);
    yaml_parser_delete(&r->parser);
    return s;
}

/* The text as libyaml shall see it: a copy, without a byte order mark. */
static int adapt_and_read(struct reader *r, const char *text, size_t n, struct wf_yaml ***docs,
                          size_t *n_docs)
{
    size_t mark = n >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
    char *copy = wf_alloc(r->e, WF_MEM_TEXT, n + 1, 1, r->path);
    if (!copy)
        return WF_MACHINE;
    memcpy(copy, text + mark, n - mark);
    r->text = copy;
    r->n = wf_yaml_text_adapt(copy, n - mark);
    int s = read_documents(r, docs, n_docs);
    wf_free(copy);
    return s;
}

int wf_yaml_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                  size_t n, struct wf_yaml ***docs, size_t *n_docs)
{
    size_t wrong;
    *docs = NULL;
    *n_docs = 0;
    if (n > TEXT_MAX)
        return wf_fail(e, WF_USAGE, "%s: %zu bytes; at most 16 MiB are read here", path, n);
    struct reader *r = wf_alloc(e, WF_MEM_META, 1, sizeof *r, path);
    if (!r)
        return WF_MACHINE;
    *r = (struct reader){.e = e, .arena = a, .path = path, .text = text, .n = n};
    int s = wf_utf8_valid(text, n, &wrong)
                ? adapt_and_read(r, text, n, docs, n_docs)
                : wf_fail(e, WF_USAGE, "%s:%d: not UTF-8 (byte %zu of the file)", path,
                          line_at(r, wrong), wrong);
    wf_free(r);
    return s;
}

/* ---- looking at a tree ---- */

const struct wf_yaml *wf_yaml_get(const struct wf_yaml *map, const char *key)
{
    if (!map || map->kind != WF_YAML_MAP)
        return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (!strcmp(map->children[i]->key, key))
            return map->children[i];
    return NULL;
}

/* 0x and up to 16 hexadecimal digits. */
static bool parse_hex(const char *text, size_t n, double *out)
{
    uint64_t v = 0;
    if (n < 3 || n > 18 || text[0] != '0' || text[1] != 'x')
        return false;
    for (size_t i = 2; i < n; i++) {
        if (!memchr("0123456789abcdefABCDEF", text[i], 22))
            return false;
        unsigned d = (unsigned)(text[i] <= '9' ? text[i] - '0' : (text[i] | 0x20) - 'a' + 10);
        v = v << 4 | d;
    }
    *out = (double)v;
    return true;
}

/* "010" is 8 in YAML 1.1 and 10 in YAML 1.2, so it is no number here. */
static bool has_leading_zero(const char *text, size_t n)
{
    size_t i = text[0] == '+' || text[0] == '-';
    return n - i > 1 && text[i] == '0' && strspn(text + i, "0123456789") == n - i;
}

bool wf_yaml_number(const struct wf_yaml *v, double *out)
{
    if (!v || v->kind != WF_YAML_SCALAR || v->quoted || has_leading_zero(v->text, v->text_n))
        return false;
    return wf_parse_f64(v->text, v->text_n, out) || parse_hex(v->text, v->text_n, out);
}

bool wf_yaml_bool(const struct wf_yaml *v, bool *out)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {
        {"true", true},   {"True", true},   {"TRUE", true}, {"yes", true}, {"Yes", true},
        {"YES", true},    {"on", true},     {"On", true},   {"ON", true},  {"false", false},
        {"False", false}, {"FALSE", false}, {"no", false},  {"No", false}, {"NO", false},
        {"off", false},   {"Off", false},   {"OFF", false},
    };
    if (!v || v->kind != WF_YAML_SCALAR || v->quoted)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (!strcmp(v->text, words[i].word)) {
            *out = words[i].value;
            return true;
        }
    }
    return false;
}
