/* manifest.c - reading weft_manifest.json with suspicion; see manifest.h for its layout. */
#include "manifest.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/file.h"
#include "../base/num.h"

/* A reader of other block sizes than the writer's own costs nothing; the limits keep the number of
 * blocks in proportion to the file, and a block's bytes countable. */
#define BLOCK_BYTES_MIN ((uint64_t)64 << 10)
#define BLOCK_BYTES_MAX ((uint64_t)1 << 40)
#define FILE_BYTES_MAX ((uint64_t)1 << 53)

struct reading {
    struct wf_err *e;
    struct wf_arena *a;
    const char *path;
};

/* NULL if `name` stays below the folder whatever it is joined to, else what is wrong with it. */
static const char *name_fault(const char *name)
{
    if (!*name)
        return "is empty";
    if (*name == '/')
        return "is an absolute path";
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return "has a control character";
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return "has an empty part, '.' or '..'";
    }
    return NULL;
}

static int bad_file(const struct reading *r, const struct wf_manifest_file *f, const char *what)
{
    return wf_fail(r->e, WF_INPUT, "%s: file '%s': %s", r->path, f->name, what);
}

static bool parse_digest(const struct wf_json *v, struct wf_hash128 *out)
{
    return v && v->kind == WF_JSON_STRING && strlen(v->text) == 32 &&
           wf_hash128_parse(v->text, out);
}

/* The block list, which must belong to the file's size and to its own checksum. */
static int read_blocks(const struct reading *r, const struct wf_json *entry,
                       struct wf_manifest_file *f)
{
    const struct wf_json *blocks = wf_json_get(entry, "blocks");
    struct wf_hash128 wanted, found;
    if (!parse_digest(wf_json_get(entry, "xxh3_128"), &wanted))
        return bad_file(r, f, "\"xxh3_128\" is not 32 hexadecimal digits");
    if (!wf_json_u64(wf_json_get(entry, "block_bytes"), &f->block_bytes) ||
        f->block_bytes < BLOCK_BYTES_MIN || f->block_bytes > BLOCK_BYTES_MAX)
        return bad_file(r, f, "\"block_bytes\" is not a number from 65536 to 2^40");
    if (!blocks || blocks->kind != WF_JSON_ARRAY)
        return bad_file(r, f, "\"blocks\" is not a list");
    uint64_t n = f->bytes / f->block_bytes + (f->bytes % f->block_bytes != 0);
    if (blocks->n != n)
        return wf_fail(r->e, WF_INPUT,
                       "%s: file '%s': %zu block checksums where %" PRIu64 " bytes have %" PRIu64,
                       r->path, f->name, blocks->n, f->bytes, n);
    f->blocks = wf_arena_alloc(r->a, r->e, blocks->n, sizeof *f->blocks);
    if (!f->blocks)
        return wf_err_status(r->e);
    f->n_blocks = n;
    for (size_t i = 0; i < blocks->n; i++)
        if (!parse_digest(&blocks->children[i], &f->blocks[i]))
            return wf_fail(r->e, WF_INPUT, "%s: file '%s': block %zu is not 32 hexadecimal digits",
                           r->path, f->name, i);
    found = wf_xxh128(f->blocks, blocks->n * sizeof *f->blocks);
    if (!wf_hash128_equal(&found, &wanted))
        return bad_file(r, f, "the list of block checksums does not match its own checksum");
    return WF_OK;
}

static int read_file(const struct reading *r, const struct wf_json *entry, size_t index,
                     struct wf_manifest_file *f)
{
    const struct wf_json *sha256 = wf_json_get(entry, "sha256");
    f->name = wf_json_string(entry, "name");
    if (!f->name)
        return wf_fail(r->e, WF_INPUT, "%s: entry %zu of \"files\" has no \"name\"", r->path,
                       index);
    const char *fault = name_fault(f->name);
    if (fault)
        return wf_fail(r->e, WF_INPUT, "%s: the file name '%s' %s", r->path, f->name, fault);
    if (!wf_json_u64(wf_json_get(entry, "bytes"), &f->bytes) || f->bytes > FILE_BYTES_MAX)
        return bad_file(r, f, "\"bytes\" is not a whole number");
    if (wf_json_get(entry, "xxh3_128"))
        return read_blocks(r, entry, f);
    if (!sha256)
        return WF_OK;
    if (sha256->kind != WF_JSON_STRING || strlen(sha256->text) != 64 ||
        strspn(sha256->text, "0123456789abcdef") != 64)
        return bad_file(r, f, "\"sha256\" is not 64 hexadecimal digits");
    f->sha256 = sha256->text;
    return WF_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct wf_manifest_file *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static int read_files(const struct reading *r, const struct wf_json *list, struct wf_manifest *out)
{
    out->files = wf_arena_alloc(r->a, r->e, list->n, sizeof *out->files);
    if (!out->files)
        return wf_err_status(r->e);
    out->n_files = list->n;
    for (size_t i = 0; i < list->n; i++) {
        int s = read_file(r, &list->children[i], i, &out->files[i]);
        if (s)
            return s;
    }
    qsort(out->files, out->n_files, sizeof *out->files, by_name);
    for (size_t i = 1; i < out->n_files; i++)
        if (!strcmp(out->files[i - 1].name, out->files[i].name))
            return bad_file(r, &out->files[i], "listed twice");
    return WF_OK;
}

/* The hashes of the plan, where "options" has them. */
static int read_plan(const struct reading *r, const struct wf_json *options,
                     struct wf_manifest *out)
{
    const struct wf_json *plan = wf_json_get(options, "plan");
    const struct wf_json *parts = wf_json_get(options, "plan_parts");
    if (!plan && !parts)
        return WF_OK;
    if (!parse_digest(plan, &out->plan) || !parts || parts->kind != WF_JSON_ARRAY)
        return wf_fail(r->e, WF_INPUT,
                       "%s: \"plan\" is not 32 hexadecimal digits, or \"plan_parts\" not a list",
                       r->path);
    out->plan_parts = wf_arena_alloc(r->a, r->e, parts->n, sizeof *out->plan_parts);
    if (!out->plan_parts)
        return wf_err_status(r->e);
    out->n_plan_parts = parts->n;
    for (size_t i = 0; i < parts->n; i++)
        if (!parse_digest(&parts->children[i], &out->plan_parts[i]))
            return wf_fail(r->e, WF_INPUT, "%s: plan part %zu is not 32 hexadecimal digits",
                           r->path, i);
    return WF_OK;
}

/* Every top-level key that weft writes is there, in its type. Others are a later version's. */
static int check_keys(const struct reading *r, const struct wf_json *root)
{
    static const struct {
        const char *key;
        enum wf_json_kind kind;
        const char *type;
    } keys[] = {
        {"recipe", WF_JSON_STRING, "text"},       {"seed", WF_JSON_NUMBER, "a number"},
        {"options", WF_JSON_OBJECT, "an object"}, {"version", WF_JSON_STRING, "text"},
        {"inputs", WF_JSON_ARRAY, "a list"},      {"tensors", WF_JSON_OBJECT, "an object"},
        {"files", WF_JSON_ARRAY, "a list"},
    };
    if (root->kind != WF_JSON_OBJECT)
        return wf_fail(r->e, WF_INPUT, "%s: not a JSON object", r->path);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct wf_json *v = wf_json_get(root, keys[i].key);
        if (!v || v->kind != keys[i].kind)
            return wf_fail(r->e, WF_INPUT, "%s: \"%s\" is %s; expected %s", r->path, keys[i].key,
                           v ? "of another type" : "missing", keys[i].type);
    }
    return WF_OK;
}

int wf_manifest_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                      size_t n, struct wf_manifest *out)
{
    struct reading r = {e, a, path};
    struct wf_json *root;
    memset(out, 0, sizeof *out);
    int s = wf_json_parse(e, a, path, text, n, WF_JSON_STRICT, &root);
    if (!s)
        s = check_keys(&r, root);
    if (s)
        return s;
    out->tensors = wf_json_get(root, "tensors");
    s = read_plan(&r, wf_json_get(root, "options"), out);
    return s ? s : read_files(&r, wf_json_get(root, "files"), out);
}

int wf_manifest_read(struct wf_err *e, struct wf_arena *a, const char *path,
                     struct wf_manifest *out)
{
    char *text;
    size_t n;
    int s = wf_read_small(e, WF_INPUT, path, WF_MANIFEST_BYTES_MAX, &text, &n);
    if (s)
        return s;
    s = wf_manifest_parse(e, a, path, text, n, out);
    wf_free(text);
    return s;
}
