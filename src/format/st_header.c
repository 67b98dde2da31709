/* st_header.c - reading safetensors headers: one strict scanner for one grammar.
 *
 *   header   = { [ "__metadata__" : { string : string, ... } , ] name : entry , ... }   in any
 * order entry    = { "dtype" : string, "shape" : [ n, ... ], "data_offsets" : [ n, n ] }    in any
 * order n        = 0 | [1-9][0-9]*
 *
 * Nothing else is JSON enough. One pass over the text fills a table that grows with the text read,
 * never with a number found in it; then names are compared by sorted hashes and byte ranges by
 * sorting, so that no file of this size is slow. White space is allowed around the object
 * (writers pad with it), NUL is not.
 */
#include "st_header.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/num.h"
#include "json_lex.h"

#define LENGTH_BYTES 8 /* the u64 in front of the text */
#define INTEGER_MAX ((uint64_t)INT64_MAX)

/* Every tensor name, or every metadata key, with its place: what the search for duplicates sorts.
 */
struct name {
    uint64_t hash;
    const char *text;
    size_t at;
};

struct names {
    struct name *items;
    size_t n, capacity;
};

struct scan {
    struct wf_err *e;
    struct wf_arena *arena;
    const char *path, *text;
    size_t n, at;
    const char *tensor; /* the entry being read, NULL outside of entries */

    struct wf_st_tensor *tensors;
    size_t n_tensors, tensors_capacity;
    struct wf_st_pair *pairs;
    size_t n_pairs, pairs_capacity;
    bool has_metadata;
    struct names names, keys; /* of tensors, of metadata */
};

/* The one sentence of a failure at text offset `at`; what people see counts from the file's start.
 */
__attribute__((format(printf, 3, 4))) static int bad(struct scan *s, size_t at, const char *format,
                                                     ...)
{
    char why[2 * WF_ST_NAME_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    uint64_t byte = LENGTH_BYTES + (uint64_t)at;
    if (s->tensor)
        return wf_fail(s->e, WF_INPUT, "%s: tensor '%s': %s at byte %" PRIu64, s->path, s->tensor,
                       why, byte);
    return wf_fail(s->e, WF_INPUT, "%s: header: %s at byte %" PRIu64, s->path, why, byte);
}

/* ---- tokens ---- */

/* The byte that stands next, behind white space; 0 at the end. */
static char next_byte(struct scan *s)
{
    s->at = wf_json_skip_space(s->text, s->n, s->at);
    return s->at < s->n ? s->text[s->at] : 0;
}

static int expected(struct scan *s, const char *what)
{
    if (s->at >= s->n)
        return bad(s, s->at, "expected %s, but the header ends", what);
    unsigned char c = (unsigned char)s->text[s->at];
    if (c > 0x20 && c < 0x7f)
        return bad(s, s->at, "expected %s, found '%c'", what, c);
    return bad(s, s->at, "expected %s, found 0x%02x", what, c);
}

static int take(struct scan *s, char c, const char *what)
{
    if (next_byte(s) != c)
        return expected(s, what);
    s->at++;
    return WF_OK;
}

/* Behind a member of a list: takes ',' (*more) or `close`. */
static int take_separator(struct scan *s, char close, bool *more)
{
    char c = next_byte(s);
    *more = c == ',';
    if (c != ',' && c != close)
        return expected(s, close == '}' ? "',' or '}'" : "',' or ']'");
    s->at++;
    return WF_OK;
}

/* Takes `open`, and `close` too if it follows at once (*more is false then). */
static int take_open(struct scan *s, char open, const char *what, bool *more)
{
    char close = open == '{' ? '}' : ']';
    int status = take(s, open, what);
    if (status)
        return status;
    *more = next_byte(s) != close;
    s->at += !*more;
    return WF_OK;
}

static int take_string(struct scan *s, const char *what, struct wf_json_token *token)
{
    if (next_byte(s) != '"')
        return expected(s, what);
    const char *why = wf_json_lex_string(s->text, s->n, s->at, token);
    if (why)
        return bad(s, token->end, "%s", why);
    s->at = token->end;
    return WF_OK;
}

/* A string of at most size - 1 bytes into buf; a longer one leaves "" (no word is that long). */
static int take_word(struct scan *s, const char *what, char *buf, size_t size,
                     struct wf_json_token *token)
{
    int status = take_string(s, what, token);
    buf[0] = 0;
    if (!status && token->decoded_n < size)
        wf_json_decode(s->text, token, buf);
    return status;
}

/* A key and its colon. */
static int take_key(struct scan *s, struct wf_json_token *token)
{
    int status = take_string(s, "a name in quotes", token);
    return status ? status : take(s, ':', "':'");
}

/* Plain decimal digits up to 2^63 - 1. */
static int take_integer(struct scan *s, const char *what, uint64_t *out)
{
    char c = next_byte(s);
    size_t start = s->at;
    if (c < '0' || c > '9')
        return expected(s, what);
    while (s->at < s->n && s->text[s->at] >= '0' && s->text[s->at] <= '9')
        s->at++;
    if (c == '0' && s->at - start > 1)
        return bad(s, start, "a number with a leading zero");
    if (s->at < s->n && strchr(".eE", s->text[s->at]) && s->text[s->at])
        return bad(s, start, "a number that is not a plain integer");
    if (!wf_parse_u64(s->text + start, s->at - start, out) || *out > INTEGER_MAX)
        return bad(s, start, "a number beyond 2^63 - 1");
    return WF_OK;
}

/* The decoded string in the arena. */
static const char *keep(struct scan *s, const struct wf_json_token *token)
{
    char *text = wf_arena_alloc(s->arena, s->e, token->decoded_n + 1, 1);
    if (text)
        wf_json_decode(s->text, token, text);
    return text;
}

/* Room for one more item of `size` bytes in a table that starts as NULL. */
static int reserve(struct wf_err *e, void **items, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity)
        return WF_OK;
    size_t more = *capacity ? *capacity * 2 : 256;
    void *grown = wf_realloc(e, *items, more, size, "a safetensors header");
    if (!grown)
        return WF_MACHINE;
    *items = grown;
    *capacity = more;
    return WF_OK;
}

/* Notes a decoded name for refuse_duplicates. */
static int note_name(struct scan *s, struct names *names, const char *text, size_t at)
{
    void *items = names->items;
    int status = reserve(s->e, &items, names->n, &names->capacity, sizeof *names->items);
    if (status)
        return status;
    names->items = items;
    names->items[names->n++] = (struct name){.text = text, .at = at};
    return WF_OK;
}

/* ---- metadata ---- */

static int scan_pair(struct scan *s)
{
    struct wf_json_token key, value;
    void *items = s->pairs;
    int status;
    if ((status = take_key(s, &key)) ||
        (status = take_string(s, "a metadata value in quotes", &value)) ||
        (status = reserve(s->e, &items, s->n_pairs, &s->pairs_capacity, sizeof *s->pairs)))
        return status;
    s->pairs = items;
    struct wf_st_pair *pair = &s->pairs[s->n_pairs++];
    pair->key = keep(s, &key);
    pair->value = keep(s, &value);
    return pair->key && pair->value ? note_name(s, &s->keys, pair->key, key.at) : WF_MACHINE;
}

static int scan_metadata(struct scan *s, size_t key_at)
{
    bool more;
    if (s->has_metadata)
        return bad(s, key_at, "a second \"__metadata__\"");
    s->has_metadata = true;
    int status = take_open(s, '{', "'{' behind \"__metadata__\"", &more);
    while (!status && more) {
        status = scan_pair(s);
        if (!status)
            status = take_separator(s, '}', &more);
    }
    return status;
}

/* ---- tensors ---- */

/* Bytes 0x00-0x1f, 0x7f and U+0080-U+009F: a name with these can drive a terminal. */
static bool has_control(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c < 0x20 || *c == 0x7f || (*c == 0xc2 && c[1] < 0xa0))
            return true;
    return false;
}

static int check_name(struct scan *s, const struct wf_json_token *token, const char *name)
{
    if (token->decoded_n == 0)
        return bad(s, token->at, "an empty tensor name");
    if (has_control(name))
        return bad(s, token->at, "a control character in a tensor name");
    if (strspn(name, "/") == token->decoded_n)
        return bad(s, token->at, "a tensor name of slashes only");
    return WF_OK;
}

static int scan_dtype(struct scan *s, struct wf_st_tensor *t)
{
    char word[32];
    struct wf_json_token token;
    int status = take_word(s, "a type in quotes", word, sizeof word, &token);
    if (status)
        return status;
    t->dtype = (uint8_t)wf_dtype_by_name(word, strlen(word));
    if (t->dtype != WF_DTYPE_NONE)
        return WF_OK;
    return bad(s, token.at, "unknown dtype '%s'", token.decoded_n < sizeof word ? word : "...");
}

static int scan_shape(struct scan *s, struct wf_st_tensor *t)
{
    uint64_t dims[WF_ST_DIMS_MAX];
    bool more;
    int status = take_open(s, '[', "'[' of the shape", &more);
    t->n_dims = 0;
    while (!status && more) {
        next_byte(s);
        if (t->n_dims == WF_ST_DIMS_MAX)
            return bad(s, s->at, "a shape of more than %d dimensions", WF_ST_DIMS_MAX);
        status = take_integer(s, "a whole number in the shape", &dims[t->n_dims]);
        if (status)
            return status;
        t->n_dims++;
        status = take_separator(s, ']', &more);
    }
    if (status)
        return status;
    uint64_t *shape = wf_arena_alloc(s->arena, s->e, t->n_dims, sizeof *shape);
    if (!shape)
        return WF_MACHINE;
    memcpy(shape, dims, t->n_dims * sizeof *shape);
    t->shape = shape;
    return WF_OK;
}

static int scan_offsets(struct scan *s, struct wf_st_tensor *t)
{
    int status;
    if ((status = take(s, '[', "'[' of data_offsets")) ||
        (status = take_integer(s, "a whole number in data_offsets", &t->begin)) ||
        (status = take(s, ',', "',' in data_offsets")) ||
        (status = take_integer(s, "a whole number in data_offsets", &t->end)))
        return status;
    return take(s, ']', "']' behind two data_offsets");
}

/* Elements and bytes from shape and type, without overflow, against the byte range. A zero among
 * the sizes does not excuse the others: readers multiply them in any order. */
static int check_size(struct scan *s, size_t at, struct wf_st_tensor *t)
{
    const struct wf_dtype_info *type = wf_dtype_info((enum wf_dtype)t->dtype);
    uint64_t product = 1, bits, bytes;
    bool zero = false, fits = true;
    for (unsigned i = 0; i < t->n_dims && fits; i++) {
        if (t->shape[i] == 0)
            zero = true;
        else
            fits = wf_mul_u64(product, t->shape[i], &product);
    }
    if (!fits || !wf_mul_u64(product, type->bits, &bits))
        return bad(s, at, "its shape holds more than 2^64 bits");
    t->count = zero ? 0 : product;
    if (!wf_dtype_bytes((enum wf_dtype)t->dtype, t->count, &bytes))
        return bad(s, at, "%" PRIu64 " elements of %s are not whole bytes", t->count, type->name);
    if (t->begin > t->end)
        return bad(s, at, "data_offsets [%" PRIu64 ",%" PRIu64 "] run backwards", t->begin, t->end);
    if (t->end - t->begin != bytes)
        return bad(s, at,
                   "shape and dtype %s need %" PRIu64 " bytes, data_offsets [%" PRIu64 ",%" PRIu64
                   "] hold %" PRIu64,
                   type->name, bytes, t->begin, t->end, t->end - t->begin);
    return WF_OK;
}

enum member { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };

/* The key of one member of an entry; each may come once. */
static int take_member_key(struct scan *s, unsigned *seen, enum member *member)
{
    static const struct {
        const char *key;
        enum member member;
    } members[] = {{"dtype", DTYPE}, {"shape", SHAPE}, {"data_offsets", OFFSETS}};
    char word[16];
    struct wf_json_token token;
    int status = take_word(s, "a key in quotes", word, sizeof word, &token);
    if (status)
        return status;
    *member = 0;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        if (!strcmp(word, members[i].key))
            *member = members[i].member;
    if (!*member)
        return bad(s, token.at, "unknown key '%s' (only dtype, shape, data_offsets are known)",
                   token.decoded_n < sizeof word ? word : "...");
    if (*seen & *member)
        return bad(s, token.at, "%s given twice", word);
    *seen |= *member;
    return take(s, ':', "':'");
}

static int scan_entry(struct scan *s, struct wf_st_tensor *t)
{
    bool more;
    unsigned seen = 0;
    next_byte(s);
    size_t at = s->at;
    int status = take_open(s, '{', "'{'", &more);
    while (!status && more) {
        enum member member;
        status = take_member_key(s, &seen, &member);
        if (!status)
            status = member == DTYPE   ? scan_dtype(s, t)
                     : member == SHAPE ? scan_shape(s, t)
                                       : scan_offsets(s, t);
        if (!status)
            status = take_separator(s, '}', &more);
    }
    if (status)
        return status;
    if (seen != (DTYPE | SHAPE | OFFSETS))
        return bad(s, at, "%s is missing",
                   !(seen & DTYPE)   ? "dtype"
                   : !(seen & SHAPE) ? "shape"
                                     : "data_offsets");
    return check_size(s, at, t);
}

static int scan_tensor(struct scan *s, const struct wf_json_token *token, const char *name)
{
    struct wf_st_tensor t = {.name = name};
    int status = check_name(s, token, name);
    if (status)
        return status;
    if (s->n_tensors == WF_ST_TENSORS_MAX) /* WF_ST_HEADER_MAX has room for fewer, today */
        return bad(s, token->at, "more than %u tensors", WF_ST_TENSORS_MAX);
    s->tensor = name;
    status = scan_entry(s, &t);
    s->tensor = NULL;
    void *items = s->tensors;
    if (!status)
        status = reserve(s->e, &items, s->n_tensors, &s->tensors_capacity, sizeof t);
    if (status)
        return status;
    s->tensors = items;
    s->tensors[s->n_tensors++] = t;
    return note_name(s, &s->names, name, token->at);
}

static int scan_member(struct scan *s)
{
    struct wf_json_token token;
    int status = take_key(s, &token);
    if (status)
        return status;
    if (token.decoded_n > WF_ST_NAME_MAX)
        return bad(s, token.at, "a tensor name of %zu bytes (at most %d are read)", token.decoded_n,
                   WF_ST_NAME_MAX);
    const char *name = keep(s, &token);
    if (!name)
        return WF_MACHINE;
    return !strcmp(name, "__metadata__") ? scan_metadata(s, token.at)
                                         : scan_tensor(s, &token, name);
}

static int scan_header(struct scan *s)
{
    bool more;
    size_t wrong;
    if (!wf_utf8_valid(s->text, s->n, &wrong))
        return bad(s, wrong, "not UTF-8");
    int status = take_open(s, '{', "'{'", &more);
    while (!status && more) {
        status = scan_member(s);
        if (!status)
            status = take_separator(s, '}', &more);
    }
    if (status)
        return status;
    next_byte(s);
    return s->at == s->n ? WF_OK : expected(s, "nothing but white space behind the object");
}

/* ---- what holds between entries ---- */

/* By hash, because real names share long prefixes; the names themselves decide, so that a forged
 * hash gains nothing. */
static int by_hash(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    if (x->hash != y->hash)
        return x->hash < y->hash ? -1 : 1;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->at > y->at) - (x->at < y->at);
}

static int refuse_duplicates(struct scan *s, struct names *names, const char *what)
{
    for (size_t i = 0; i < names->n; i++) {
        struct name *name = &names->items[i];
        struct wf_hash128 h = wf_xxh128(name->text, strlen(name->text));
        memcpy(&name->hash, h.bytes, sizeof name->hash);
    }
    if (names->n)
        qsort(names->items, names->n, sizeof *names->items, by_hash);
    for (size_t i = 1; i < names->n; i++) {
        const struct name *a = &names->items[i - 1], *b = &names->items[i];
        if (a->hash == b->hash && !strcmp(a->text, b->text))
            return bad(s, b->at, "%s '%s' for the second time", what, b->text);
    }
    return WF_OK;
}

static int by_range(const void *a, const void *b)
{
    const struct wf_st_tensor *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void sort_by_range(struct wf_st_tensor *t, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        if (by_range(&t[i - 1], &t[i]) > 0) { /* most files come sorted */
            qsort(t, n, sizeof *t, by_range);
            return;
        }
    }
}

/* Sorted tensors must tile the data: no hole, no overlap, nothing missing, nothing behind. */
static int check_layout(struct scan *s, uint64_t data_start, uint64_t file_bytes)
{
    uint64_t end = 0, data_bytes = file_bytes - data_start;
    const char *before = NULL;
    for (size_t i = 0; i < s->n_tensors; i++) {
        const struct wf_st_tensor *t = &s->tensors[i];
        if (t->begin != end && !before)
            return wf_fail(s->e, WF_INPUT,
                           "%s: tensor '%s': the first data begin at offset %" PRIu64
                           ", not at 0 (byte %" PRIu64 ")",
                           s->path, t->name, t->begin, data_start);
        if (t->begin != end)
            return wf_fail(s->e, WF_INPUT,
                           "%s: tensor '%s': begins at offset %" PRIu64
                           ", but '%s' ends at %" PRIu64 " (%s at byte %" PRIu64 ")",
                           s->path, t->name, t->begin, before, end,
                           t->begin < end ? "an overlap" : "a hole",
                           data_start + wf_min_u64(t->begin, end));
        before = t->name;
        end = t->end;
    }
    if (end > data_bytes)
        return wf_fail(s->e, WF_INPUT,
                       "%s: tensor '%s' needs the file to have %" PRIu64
                       " bytes, it ends at byte %" PRIu64 "; the download is incomplete",
                       s->path, before, data_start + end, file_bytes);
    if (end < data_bytes)
        return wf_fail(s->e, WF_INPUT,
                       "%s: bytes behind the last tensor: %" PRIu64 " of them, at byte %" PRIu64,
                       s->path, data_bytes - end, data_start + end);
    return WF_OK;
}

/* Moves a grown table to its final place in the arena. */
static int settle(struct scan *s, const void *items, size_t n, size_t size, void *out)
{
    void *copy = wf_arena_alloc(s->arena, s->e, n, size);
    if (!copy)
        return WF_MACHINE;
    if (n)
        memcpy(copy, items, n * size);
    memcpy(out, &copy, sizeof copy);
    return WF_OK;
}

static int check_lengths(struct wf_err *e, const char *path, uint64_t n, uint64_t file_bytes)
{
    if (n > WF_ST_HEADER_MAX)
        return wf_fail(e, WF_INPUT,
                       "%s: the header length at byte 0 is %" PRIu64
                       ", more than the %u allowed; not a safetensors file, or a damaged one",
                       path, n, WF_ST_HEADER_MAX);
    if (file_bytes < LENGTH_BYTES || n > file_bytes - LENGTH_BYTES)
        return wf_fail(e, WF_INPUT,
                       "%s: the header length at byte 0 is %" PRIu64 ", but the file has %" PRIu64
                       " bytes in all; the download is incomplete",
                       path, n, file_bytes);
    return WF_OK;
}

static int scan_all(struct scan *s, uint64_t file_bytes, struct wf_st_header *out)
{
    int status;
    if ((status = scan_header(s)) || (status = refuse_duplicates(s, &s->names, "tensor")) ||
        (status = refuse_duplicates(s, &s->keys, "metadata key")))
        return status;
    sort_by_range(s->tensors, s->n_tensors);
    out->data_start = LENGTH_BYTES + s->n;
    out->file_bytes = file_bytes;
    out->n_tensors = s->n_tensors;
    out->n_metadata = s->n_pairs;
    if ((status = check_layout(s, out->data_start, file_bytes)) ||
        (status = settle(s, s->tensors, s->n_tensors, sizeof *s->tensors, &out->tensors)))
        return status;
    return settle(s, s->pairs, s->n_pairs, sizeof *s->pairs, &out->metadata);
}

int wf_st_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text, size_t n,
                uint64_t file_bytes, struct wf_st_header *out)
{
    struct scan s = {.e = e, .arena = a, .path = path, .text = text, .n = n};
    *out = (struct wf_st_header){0};
    int status = check_lengths(e, path, n, file_bytes);
    if (!status)
        status = scan_all(&s, file_bytes, out);
    if (status)
        *out = (struct wf_st_header){0};
    wf_free(s.tensors);
    wf_free(s.pairs);
    wf_free(s.names.items);
    wf_free(s.keys.items);
    return status;
}

static uint64_t load_u64_le(const unsigned char bytes[LENGTH_BYTES])
{
    uint64_t v = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--)
        v = v << 8 | bytes[i];
    return v;
}

int wf_st_read(struct wf_err *e, struct wf_arena *a, const char *path, int fd, uint64_t file_bytes,
               struct wf_st_header *out)
{
    unsigned char length[LENGTH_BYTES];
    *out = (struct wf_st_header){0};
    if (file_bytes < LENGTH_BYTES)
        return wf_fail(e, WF_INPUT,
                       "%s: %" PRIu64 " bytes are too few for a safetensors file (the length at "
                       "byte 0 takes 8)",
                       path, file_bytes);
    int status = wf_pread(e, fd, path, length, sizeof length, 0);
    if (status)
        return status;
    if (!memcmp(length, "version ", sizeof length)) /* as a number no file has this length */
        return wf_fail(e, WF_INPUT,
                       "%s: a Git LFS pointer at byte 0, not the weights; run 'git lfs pull'",
                       path);
    uint64_t n = load_u64_le(length);
    if ((status = check_lengths(e, path, n, file_bytes)))
        return status;
    char *head = wf_alloc(e, WF_MEM_META, LENGTH_BYTES + n, 1, "a safetensors header");
    if (!head)
        return WF_MACHINE;
    memcpy(head, length, sizeof length);
    status = wf_pread(e, fd, path, head + LENGTH_BYTES, n, LENGTH_BYTES);
    if (!status)
        status = wf_st_parse(e, a, path, head + LENGTH_BYTES, n, file_bytes, out);
    if (!status)
        out->hash = wf_xxh128(head, LENGTH_BYTES + n);
    wf_free(head);
    return status;
}
