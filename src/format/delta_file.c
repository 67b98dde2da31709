/* delta_file.c - a task delta's header: pairs of tensors, and what the metadata say of them. */
#include "delta_file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/num.h"
#include "../base/str.h"
#include "shape.h"
#include "st_header.h"

#define POSITIONS ".positions"
#define VALUES ".values"
#define LEB128_BYTES_MAX 10u /* of a u64 */

struct opening {
    struct wf_err *e;
    struct wf_arena *a;
    const struct wf_ckpt *ckpt;
    const char *path;
    struct wf_st_pair *metadata; /* sorted by key */
};

const char *wf_delta_encoding_name(enum wf_delta_encoding encoding)
{
    return encoding == WF_DELTA_BITMAP ? "bitmap" : "leb128";
}

enum wf_delta_encoding wf_delta_choose(uint64_t count, uint64_t gap_bytes, uint64_t *bytes)
{
    uint64_t bitmap_bytes = wf_bitmap_bytes(count);
    *bytes = wf_min_u64(bitmap_bytes, gap_bytes);
    return gap_bytes < bitmap_bytes ? WF_DELTA_LEB128 : WF_DELTA_BITMAP;
}

bool wf_delta_is(const struct wf_ckpt *ckpt)
{
    if (ckpt->n_files != 1 || ckpt->is_adapter)
        return false;
    for (size_t i = 0; i < ckpt->n_metadata; i++)
        if (!strcmp(ckpt->metadata[i].key, "store"))
            return true;
    return false;
}

/* ---- metadata ---- */

static int by_key(const void *left, const void *right)
{
    const struct wf_st_pair *a = left, *b = right;
    return strcmp(a->key, b->key);
}

static int sort_metadata(struct opening *o)
{
    size_t n = o->ckpt->n_metadata;
    o->metadata = wf_arena_alloc(o->a, o->e, n, sizeof *o->metadata);
    if (!o->metadata)
        return wf_err_status(o->e);
    if (n) {
        memcpy(o->metadata, o->ckpt->metadata, n * sizeof *o->metadata);
        qsort(o->metadata, n, sizeof *o->metadata, by_key);
    }
    return WF_OK;
}

/* NULL if there is none. */
static const char *find_metadata(const struct opening *o, const char *key)
{
    const struct wf_st_pair wanted = {.key = key};
    const struct wf_st_pair *found =
        o->ckpt->n_metadata
            ? bsearch(&wanted, o->metadata, o->ckpt->n_metadata, sizeof wanted, by_key)
            : NULL;
    return found ? found->value : NULL;
}

static int need_metadata(const struct opening *o, const char *key, const char **value)
{
    *value = find_metadata(o, key);
    return *value ? WF_OK
                  : wf_fail(o->e, WF_INPUT,
                            "%s: the metadata have no entry '%s'; this is no task delta", o->path,
                            key);
}

/* WF_DELTA_STORES: there is no such store. */
static enum wf_delta_store find_store(const char *word)
{
    static const char *const words[] = {"replace", "add", "component"};
    unsigned store = 0;
    while (store < WF_DELTA_STORES && strcmp(word, words[store]) != 0)
        store++;
    return (enum wf_delta_store)store;
}

static int read_metadata(const struct opening *o, struct wf_delta *d)
{
    const char *store;
    double density;
    int s = need_metadata(o, "store", &store);
    if (!s)
        s = need_metadata(o, "base", &d->base);
    if (!s)
        s = need_metadata(o, "task", &d->task);
    if (!s)
        s = need_metadata(o, "density", &d->density);
    if (s)
        return s;
    d->store = find_store(store);
    if (d->store == WF_DELTA_STORES)
        return wf_fail(o->e, WF_INPUT,
                       "%s: the metadata entry 'store' is '%s'; expected 'replace', 'add' or "
                       "'component'",
                       o->path, store);
    if (!wf_parse_f64(d->density, strlen(d->density), &density) || density < 0 || density > 1)
        return wf_fail(o->e, WF_INPUT,
                       "%s: the metadata entry 'density' is '%s'; expected a number from 0 to 1",
                       o->path, d->density);
    return WF_OK;
}

/* ---- parts ---- */

static int bad_part(const struct opening *o, const struct wf_delta_part *p, const char *what)
{
    return wf_fail(o->e, WF_INPUT, "%s: tensor '%s': %s", o->path, p->name, what);
}

/* The metadata entry NAME.suffix, NULL if there is none. */
static int part_metadata(const struct opening *o, const struct wf_delta_part *p, const char *suffix,
                         const char **value)
{
    const char *key = wf_arena_printf(o->a, o->e, "%s.%s", p->name, suffix);
    if (!key)
        return wf_err_status(o->e);
    *value = find_metadata(o, key);
    return WF_OK;
}

/* "[2,3]", no spaces; at most WF_ST_DIMS_MAX sizes. False on anything else. */
static bool parse_shape(const char *text, uint64_t *shape, unsigned *n_dims)
{
    *n_dims = 0;
    if (*text++ != '[')
        return false;
    while (*text != ']') {
        size_t n = strcspn(text, ",]");
        if (*n_dims == WF_ST_DIMS_MAX || !wf_parse_u64(text, n, &shape[*n_dims]))
            return false;
        ++*n_dims;
        text += n;
        if (*text == ',' && text[1] != ']')
            text++;
        else if (*text != ']')
            return false;
    }
    return text[1] == 0;
}

static int read_shape(const struct opening *o, struct wf_delta_part *p, const char *text)
{
    uint64_t *shape = wf_arena_alloc(o->a, o->e, WF_ST_DIMS_MAX, sizeof *shape);
    if (!shape)
        return wf_err_status(o->e);
    if (!parse_shape(text, shape, &p->n_dims))
        return wf_fail(o->e, WF_INPUT,
                       "%s: tensor '%s': its shape is '%s'; expected sizes as in "
                       "[2,3]",
                       o->path, p->name, text);
    p->count = 1;
    for (unsigned d = 0; d < p->n_dims; d++)
        if (!wf_mul_u64(p->count, shape[d], &p->count))
            return bad_part(o, p, "the sizes of its shape are too large");
    p->shape = shape;
    p->known = true;
    return WF_OK;
}

/* What the sizes alone rule out. The position's own bytes are looked at by wf_delta_check. */
static int check_sizes(const struct opening *o, const struct wf_delta_part *p)
{
    uint64_t bytes = p->positions->bytes, least, most = UINT64_MAX;
    if (p->encoding == WF_DELTA_BITMAP) {
        least = p->known ? wf_bitmap_bytes(p->count) : wf_bitmap_bytes(p->kept);
        if (p->known)
            most = least;
    } else {
        least = p->kept;
        most = p->kept > UINT64_MAX / LEB128_BYTES_MAX ? most : p->kept * LEB128_BYTES_MAX;
    }
    if (bytes < least || bytes > most)
        return wf_fail(o->e, WF_INPUT,
                       "%s: tensor '%s': %" PRIu64 " bytes of positions (%s) do not fit %" PRIu64
                       " values",
                       o->path, p->name, bytes, wf_delta_encoding_name(p->encoding), p->kept);
    if (p->known && p->kept > p->count)
        return bad_part(o, p, "more values than it has elements");
    return WF_OK;
}

static int read_part(const struct opening *o, struct wf_delta_part *p)
{
    const char *encoding = NULL, *shape = NULL;
    const struct wf_tensor *values = p->values;
    if (p->positions->dtype != WF_U8 || p->positions->n_dims != 1)
        return bad_part(o, p, "its positions are not a row of U8");
    if (!wf_dtype_info((enum wf_dtype)values->dtype)->arithmetic || values->n_dims != 1)
        return bad_part(o, p, "its values are not a row of F64, F32, F16 or BF16");
    p->kept = values->count;
    int s = part_metadata(o, p, "encoding", &encoding);
    if (!s)
        s = part_metadata(o, p, "shape", &shape);
    if (s)
        return s;
    if (!encoding)
        return bad_part(o, p, "the metadata do not say its encoding");
    if (strcmp(encoding, "bitmap") != 0 && strcmp(encoding, "leb128") != 0)
        return wf_fail(o->e, WF_INPUT,
                       "%s: tensor '%s': unknown encoding '%s'; expected 'bitmap' or 'leb128'",
                       o->path, p->name, encoding);
    p->encoding = *encoding == 'b' ? WF_DELTA_BITMAP : WF_DELTA_LEB128;
    if (shape)
        s = read_shape(o, p, shape);
    return s ? s : check_sizes(o, p);
}

/* A tensor NAME.positions begins a part; NAME.values is found by name. */
static int add_part(const struct opening *o, const struct wf_tensor *positions, bool component,
                    struct wf_delta_part *p)
{
    size_t n = strlen(positions->name) - strlen(POSITIONS);
    p->path = o->path;
    p->component = component;
    p->positions = positions;
    p->name = wf_arena_strndup(o->a, o->e, positions->name, n);
    const char *values = p->name ? wf_arena_printf(o->a, o->e, "%s" VALUES, p->name) : NULL;
    if (!values)
        return wf_err_status(o->e);
    p->values = wf_ckpt_find(o->ckpt, values);
    return p->values ? read_part(o, p) : bad_part(o, p, "it has positions and no values");
}

static int by_name(const void *left, const void *right)
{
    const struct wf_delta_part *a = left, *b = right;
    return strcmp(a->name, b->name);
}

static int read_parts(const struct opening *o, struct wf_delta *d)
{
    size_t n = o->ckpt->n_tensors;
    d->parts = wf_arena_alloc(o->a, o->e, n / 2 + 1, sizeof *d->parts);
    if (!d->parts)
        return wf_err_status(o->e);
    size_t n_values = 0;
    for (size_t i = 0; i < n; i++) {
        const struct wf_tensor *t = &o->ckpt->tensors[i];
        bool positions = wf_ends_with(t->name, POSITIONS);
        if (!positions && !wf_ends_with(t->name, VALUES))
            return wf_fail(o->e, WF_INPUT,
                           "%s: tensor '%s' is neither positions nor values; this is no task delta",
                           o->path, t->name);
        n_values += !positions;
        if (!positions)
            continue;
        if (d->n_parts == n / 2)
            return wf_fail(o->e, WF_INPUT, "%s: tensor '%s' and others have no values", o->path,
                           t->name);
        int s = add_part(o, t, d->store == WF_DELTA_COMPONENT, &d->parts[d->n_parts]);
        if (s)
            return s;
        d->n_parts++;
    }
    if (n_values != d->n_parts)
        return wf_fail(o->e, WF_INPUT, "%s: %zu tensors have values and no positions", o->path,
                       n_values - d->n_parts);
    if (d->n_parts)
        qsort(d->parts, d->n_parts, sizeof *d->parts, by_name);
    return WF_OK;
}

int wf_delta_open(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                  struct wf_delta *out)
{
    struct opening o = {.e = e, .a = a, .ckpt = ckpt, .path = ckpt->place.path};
    *out = (struct wf_delta){.ckpt = ckpt};
    if (ckpt->n_files != 1)
        return wf_fail(e, WF_USAGE, "%s: not a task delta, which is one safetensors file", o.path);
    int s = sort_metadata(&o);
    if (!s)
        s = read_metadata(&o, out);
    return s ? s : read_parts(&o, out);
}

/* ---- binding ---- */

static bool fits(const struct wf_delta_part *p, const struct wf_tensor *t)
{
    if (p->shape)
        return p->n_dims == t->n_dims &&
               (!t->n_dims || !memcmp(p->shape, t->shape, t->n_dims * sizeof *t->shape));
    return p->kept <= t->count &&
           (p->encoding != WF_DELTA_BITMAP || p->positions->bytes == wf_bitmap_bytes(t->count));
}

int wf_delta_bind(struct wf_err *e, const char *where, struct wf_delta_part *part,
                  const struct wf_tensor *tensor)
{
    char wanted[WF_SHAPE_TEXT_MAX], found[WF_SHAPE_TEXT_MAX];
    bool computed = wf_dtype_info((enum wf_dtype)tensor->dtype)->arithmetic;
    if (part->component ? !computed : part->values->dtype != tensor->dtype)
        return wf_fail(e, WF_USAGE, "%s: %s: tensor '%s': the delta has values of %s for one of %s",
                       where, part->path, part->name,
                       wf_dtype_info((enum wf_dtype)part->values->dtype)->name,
                       wf_dtype_info((enum wf_dtype)tensor->dtype)->name);
    wf_shape_text(tensor->shape, tensor->n_dims, WF_SHAPE_SPACED, found);
    if (!fits(part, tensor) && part->shape)
        return wf_fail(e, WF_USAGE,
                       "%s: %s: tensor '%s': the delta is for shape %s, the shared model has %s",
                       where, part->path, part->name,
                       wf_shape_text(part->shape, part->n_dims, WF_SHAPE_SPACED, wanted), found);
    if (!fits(part, tensor))
        return wf_fail(e, WF_USAGE,
                       "%s: %s: tensor '%s': the delta's positions do not fit the shared model's "
                       "shape %s",
                       where, part->path, part->name, found);
    part->known = true;
    part->count = tensor->count;
    part->shape = tensor->shape;
    part->n_dims = tensor->n_dims;
    return WF_OK;
}
