/* provenance.c - writing and recognising weft_manifest.json.
 *
 *   { "recipe": TEXT, "seed": N, "options": {..., "plan": HASH, "plan_parts": [..]}, "version": V,
 *     "inputs": [{"path", "revision", "size", "files": [{"name", "bytes", "header_xxh128"}]}],
 *     "tensors": {NAME: {"file", "dtype", "shape", "action"}},
 *     "files": [{"name", "bytes", and "xxh3_128" + "block_bytes" + "blocks", or "sha256"}] }
 *
 * Nothing in it depends on time, threads, memory or machine, so it is the same on every run.
 */
#include "provenance.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "../../include/weft.h"
#include "../base/file.h"
#include "../base/num.h"
#include "../format/json.h"

#define READ_BYTES (1u << 20)

const char *wf_manifest_kind_name(enum wf_manifest_kind kind)
{
    static const char *const names[] = {"xxh3", "sha256", "none"};
    return names[kind];
}

static void add_text(struct wf_str *s, const char *key, const char *text)
{
    wf_str_printf(s, "\"%s\": ", key);
    wf_str_json(s, text, strlen(text));
}

static void add_head(struct wf_str *s, const struct wf_plan *plan,
                     const struct wf_manifest_options *o)
{
    char hex[33];
    enum wf_dtype d = plan->recipe->dtype;
    wf_str_puts(s, "{\n  \"recipe\": ");
    wf_str_json(s, plan->recipe->text, plan->recipe->text_n);
    wf_str_printf(s, ",\n  \"seed\": %" PRIu64 ",\n  \"options\": {\n    ", plan->recipe->seed);
    add_text(s, "method", plan->recipe->method->name);
    wf_str_puts(s, ",\n    ");
    add_text(s, "dtype", d == WF_DTYPE_NONE ? "as stored" : wf_dtype_info(d)->torch_name);
    wf_str_printf(s, ",\n    \"shard_size\": %" PRIu64 ",\n    ", o->shard_bytes);
    add_text(s, "manifest", wf_manifest_kind_name(o->kind));
    wf_str_puts(s, ",\n    ");
    add_text(s, "compat", o->compat);
    wf_str_puts(s, ",\n    ");
    add_text(s, "plan", wf_hash128_hex(&plan->hash, hex));
    wf_str_puts(s, ",\n    \"plan_parts\": [");
    for (int p = 0; p < WF_PARTS; p++)
        wf_str_printf(s, "%s\"%s\"", p ? ", " : "", wf_hash128_hex(&plan->parts[p], hex));
    wf_str_puts(s, "]\n  },\n  ");
    add_text(s, "version", WEFT_VERSION);
}

static void add_inputs(struct wf_str *s, const struct wf_plan *plan)
{
    char hex[33];
    wf_str_puts(s, ",\n  \"inputs\": [");
    for (size_t c = 0; c < plan->n_ckpts; c++) {
        const struct wf_ckpt *k = plan->ckpts[c].ckpt;
        wf_str_puts(s, c ? ",\n    {" : "\n    {");
        add_text(s, "path", k->place.repository ? k->place.repository : plan->ckpts[c].text);
        wf_str_puts(s, ", \"revision\": ");
        if (k->place.commit)
            wf_str_json(s, k->place.commit, strlen(k->place.commit));
        else
            wf_str_puts(s, "null");
        uint64_t size = 0;
        for (size_t f = 0; f < k->n_files; f++)
            size += k->files[f].id.bytes;
        wf_str_printf(s, ", \"size\": %" PRIu64 ", \"files\": [", size);
        for (size_t f = 0; f < k->n_files; f++) {
            wf_str_puts(s, f ? ",\n      {" : "\n      {");
            add_text(s, "name", k->files[f].name);
            wf_str_printf(s, ", \"bytes\": %" PRIu64 ", \"header_xxh128\": \"%s\"}",
                          k->files[f].id.bytes, wf_hash128_hex(&k->files[f].header_hash, hex));
        }
        wf_str_puts(s, "]}");
    }
    wf_str_puts(s, "]");
}

static void add_tensors(struct wf_str *s, const struct wf_plan *plan)
{
    wf_str_puts(s, ",\n  \"tensors\": {");
    for (size_t i = 0; i < plan->n_jobs; i++) {
        const struct wf_job *job = &plan->jobs[i];
        wf_str_puts(s, i ? ",\n    " : "\n    ");
        wf_str_json(s, job->name, strlen(job->name));
        wf_str_puts(s, ": {");
        add_text(s, "file", plan->shards[job->shard].name);
        wf_str_printf(s, ", \"dtype\": \"%s\", \"shape\": [", wf_dtype_info(job->dtype)->name);
        for (int d = 0; d < job->n_dims; d++)
            wf_str_printf(s, "%s%" PRIu64, d ? ", " : "", job->shape[d]);
        wf_str_puts(s, "], ");
        add_text(s, "action",
                 job->action == WF_ACTION_COPY         ? "copy"
                 : job->method == plan->recipe->method ? job->method->name
                                                       : "convert");
        wf_str_puts(s, "}");
    }
    wf_str_puts(s, "}");
}

static void add_xxh3(struct wf_str *s, const struct wf_hash128 *hashes, uint64_t n)
{
    char hex[33];
    struct wf_hash128 list = wf_xxh128(hashes, n * sizeof *hashes);
    wf_str_printf(s, ", \"xxh3_128\": \"%s\", \"block_bytes\": %u, \"blocks\": [",
                  wf_hash128_hex(&list, hex), WF_BLOCK_BYTES);
    for (uint64_t k = 0; k < n; k++)
        wf_str_printf(s, "%s\"%s\"", k ? ", " : "", wf_hash128_hex(&hashes[k], hex));
    wf_str_puts(s, "]");
}

/* The whole file through SHA-256. */
static int sha256_file(struct wf_err *e, const char *path, const volatile int *stop, char hex[65])
{
    struct wf_file_id id;
    int fd = -1;
    struct wf_sha256 *sha = wf_sha256_create(e);
    char *buffer = wf_alloc(e, WF_MEM_TEXT, READ_BYTES, 1, "a checksum");
    int status = sha && buffer ? wf_open_read(e, WF_MACHINE, path, &fd, &id) : WF_MACHINE;
    for (uint64_t at = 0; !status && at < id.bytes; at += READ_BYTES) {
        size_t n = (size_t)wf_min_u64(READ_BYTES, id.bytes - at);
        status = wf_pread(e, fd, path, buffer, n, at);
        if (!status)
            wf_sha256_add(sha, buffer, n);
        if (!status && *stop)
            status = wf_fail(e, WF_STOPPED,
                             "stopped by a signal while checksums were made; run the "
                             "same command with --resume to go on");
    }
    if (!status)
        wf_sha256_hex(sha, hex);
    wf_close(fd);
    wf_free(buffer);
    wf_sha256_destroy(sha);
    return status;
}

/* The whole of a small file as one or more blocks. */
static int xxh3_small(struct wf_err *e, struct wf_str *s, const char *path)
{
    struct wf_hash128 hashes[16];
    char *text;
    size_t n;
    uint64_t blocks = 0;
    int status = wf_read_small(e, WF_MACHINE, path,
                               sizeof hashes / sizeof *hashes * (size_t)WF_BLOCK_BYTES, &text, &n);
    if (status)
        return status;
    for (size_t at = 0; at < n; at += WF_BLOCK_BYTES)
        hashes[blocks++] = wf_xxh128(text + at, wf_min_u64(WF_BLOCK_BYTES, n - at));
    add_xxh3(s, hashes, blocks);
    wf_free(text);
    return WF_OK;
}

static int add_file(struct wf_err *e, struct wf_str *s, const char *folder, const char *name,
                    const struct wf_manifest_options *o, const struct wf_plan *plan,
                    const struct wf_blocks *blocks, size_t shard)
{
    struct wf_arena a = {0};
    char hex[65];
    struct wf_file_id id;
    int fd = -1;
    char *path = wf_path_join(&a, e, folder, name);
    int status = path ? wf_open_read(e, WF_MACHINE, path, &fd, &id) : WF_MACHINE;
    wf_close(fd);
    if (status)
        goto out;
    add_text(s, "name", name);
    wf_str_printf(s, ", \"bytes\": %" PRIu64, id.bytes);
    if (o->kind == WF_MANIFEST_SHA256 && !(status = sha256_file(e, path, o->stop, hex))) {
        wf_str_printf(s, ", \"sha256\": \"%s\"", hex);
    } else if (o->kind == WF_MANIFEST_XXH3 && shard == SIZE_MAX) {
        status = xxh3_small(e, s, path);
    } else if (o->kind == WF_MANIFEST_XXH3) {
        uint64_t n = wf_blocks_count(plan, (uint32_t)shard);
        struct wf_hash128 *hashes = wf_arena_alloc(&a, e, n, sizeof *hashes);
        for (uint64_t k = 0; hashes && k < n; k++)
            hashes[k] = wf_blocks_at(blocks, (uint32_t)shard, k)->hash;
        status = hashes ? WF_OK : WF_MACHINE;
        if (hashes)
            add_xxh3(s, hashes, n);
    }
out:
    wf_arena_destroy(&a);
    return status;
}

static int add_files(struct wf_err *e, struct wf_str *s, const char *folder,
                     const struct wf_plan *plan, const struct wf_blocks *blocks,
                     const struct wf_manifest_options *o)
{
    int status = WF_OK;
    wf_str_puts(s, ",\n  \"files\": [");
    for (size_t i = 0; !status && i < plan->n_shards; i++) {
        wf_str_puts(s, i ? ",\n    {" : "\n    {");
        status = add_file(e, s, folder, plan->shards[i].name, o, plan, blocks, i);
        wf_str_puts(s, "}");
    }
    for (size_t i = 0; !status && i < o->n_small_files; i++) {
        wf_str_puts(s, ",\n    {");
        status = add_file(e, s, folder, o->small_files[i], o, plan, blocks, SIZE_MAX);
        wf_str_puts(s, "}");
    }
    wf_str_puts(s, "]\n}\n");
    return status;
}

int wf_manifest_write(struct wf_err *e, const char *folder, const struct wf_plan *plan,
                      const struct wf_blocks *blocks, const struct wf_manifest_options *options)
{
    struct wf_str s = {0};
    add_head(&s, plan, options);
    add_inputs(&s, plan);
    add_tensors(&s, plan);
    int status = add_files(e, &s, folder, plan, blocks, options);
    if (!status)
        status = wf_str_finish(&s, e);
    char *path = status ? NULL : wf_path_join(plan->arena, e, folder, WF_MANIFEST_NAME);
    if (!status)
        status = path ? wf_write_small(e, path, s.text, s.n) : WF_MACHINE;
    wf_str_free(&s);
    return status;
}

bool wf_manifest_matches(const char *folder, const struct wf_plan *plan, bool *same,
                         enum wf_plan_part *differs)
{
    struct wf_err ignored = {0};
    struct wf_arena a = {0};
    struct wf_json *doc = NULL;
    struct wf_hash128 h;
    char *path = wf_path_join(&a, &ignored, folder, WF_MANIFEST_NAME);
    *same = false;
    bool found = path && wf_is_file(path) &&
                 !wf_json_read(&ignored, &a, path, WF_MANIFEST_BYTES_MAX, WF_JSON_STRICT, &doc);
    const struct wf_json *options = found ? wf_json_get(doc, "options") : NULL;
    const struct wf_json *parts = wf_json_get(options, "plan_parts");
    const char *hash = wf_json_string(options, "plan");
    found = hash && parts && parts->kind == WF_JSON_ARRAY && parts->n == WF_PARTS;
    if (found)
        *same = wf_hash128_parse(hash, &h) && wf_hash128_equal(&h, &plan->hash);
    for (size_t p = WF_PARTS; found && p-- > 0;)
        if (parts->children[p].kind == WF_JSON_STRING &&
            wf_hash128_parse(parts->children[p].text, &h) && !wf_hash128_equal(&h, &plan->parts[p]))
            *differs = (enum wf_plan_part)p;
    wf_arena_destroy(&a);
    return found;
}
