/* provenance.c - writing and recognising weft_manifest.json.
 *
 *   { "recipe": TEXT, "seed": N, "options": {..., "plan": HASH, "plan_parts": [..]}, "version": V,
 *     "inputs": [{"path", "revision", "size", "files": [{"name", "bytes", "header_xxh128"}]},
 *                and, without tensors,
 *                {"path", "revision", "size", "role", "files": [{"name", "bytes", "xxh128"}]}],
 *     "tensors": {NAME: {"file", "dtype", "shape", "action"}},
 *     "files": [{"name", "bytes", and "xxh3_128" + "block_bytes" + "blocks", or "sha256"}] }
 *
 * Nothing in it depends on time, threads, memory or machine, so it is the same on every run.
 */
#include "provenance.h"

#include <inttypes.h>
#include <string.h>

#include "../base/file.h"
#include "../base/num.h"
#include "../format/shape.h"
#include "../recipe/coefficients.h"

#define READ_BYTES (1u << 20)
#define SMALL_BLOCKS_MAX 16 /* the largest is the index of a model with very many tensors */
#define SMALL_BYTES_MAX ((size_t)SMALL_BLOCKS_MAX * WF_BLOCK_BYTES)

const char *wf_manifest_kind_name(enum weft_manifest kind)
{
    static const char *const names[] = {"xxh3", "sha256", "none"};
    return names[kind];
}

static void add_text(struct wf_str *s, const char *key, const char *text)
{
    wf_str_printf(s, "\"%s\": ", key);
    wf_str_json(s, text, strlen(text));
}

static void add_head(struct wf_str *s, const struct wf_plan *plan)
{
    char hex[33];
    enum wf_dtype d = plan->recipe->dtype;
    wf_str_puts(s, "{\n  \"recipe\": ");
    wf_str_json(s, plan->recipe->text, plan->recipe->text_n);
    wf_str_printf(s, ",\n  \"seed\": %" PRIu64 ",\n  \"options\": {\n    ", plan->recipe->seed);
    if (plan->command)
        add_text(s, "command", plan->command);
    else
        add_text(s, "method", plan->recipe->method->name);
    wf_str_puts(s, ",\n    ");
    add_text(s, "dtype", d == WF_DTYPE_NONE ? "as stored" : wf_dtype_info(d)->torch_name);
    wf_str_printf(s, ",\n    \"shard_size\": %" PRIu64 ",\n    ", plan->shard_bytes);
    add_text(s, "manifest", plan->manifest);
    wf_str_puts(s, ",\n    ");
    add_text(s, "compat", plan->compat);
    wf_str_puts(s, plan->null_compute ? ",\n    \"null_compute\": true,\n    " : ",\n    ");
    add_text(s, "plan", wf_hash128_hex(&plan->hash, hex));
    wf_str_puts(s, ",\n    \"plan_parts\": [");
    for (int p = 0; p < WF_PARTS; p++)
        wf_str_printf(s, "%s\"%s\"", p ? ", " : "", wf_hash128_hex(&plan->parts[p], hex));
    wf_str_puts(s, "]\n  },\n  ");
    add_text(s, "version", WEFT_VERSION);
}

/* `first`: no input is listed yet. */
static void add_origin(struct wf_str *s, bool first, const char *path, const struct wf_place *place,
                       uint64_t size)
{
    wf_str_puts(s, first ? "\n    {" : ",\n    {");
    add_text(s, "path", path);
    wf_str_puts(s, ", \"revision\": ");
    if (place && place->commit)
        wf_str_json(s, place->commit, strlen(place->commit));
    else
        wf_str_puts(s, "null");
    wf_str_printf(s, ", \"size\": %" PRIu64 ", ", size);
}

static void add_source(struct wf_str *s, bool first, const struct wf_plan_source *from)
{
    char hex[33];
    uint64_t size = 0;
    for (size_t f = 0; f < from->n_files; f++)
        size += from->files[f].bytes;
    bool named = from->place && from->place->repository;
    add_origin(s, first, named ? from->place->repository : from->text, from->place, size);
    add_text(s, "role", from->role);
    wf_str_puts(s, ", \"files\": [");
    for (size_t f = 0; f < from->n_files; f++) {
        wf_str_puts(s, f ? ",\n      {" : "\n      {");
        add_text(s, "name", from->files[f].name);
        wf_str_printf(s, ", \"bytes\": %" PRIu64 ", \"xxh128\": \"%s\"}", from->files[f].bytes,
                      wf_hash128_hex(&from->files[f].hash, hex));
    }
    wf_str_puts(s, "]}");
}

static void add_sources(struct wf_str *s, const struct wf_plan *plan)
{
    const struct wf_recipe *r = plan->recipe;
    size_t n;
    if (plan->tokenizer)
        add_source(s, plan->n_ckpts == 0, plan->tokenizer);
    if (!r->table)
        return;
    struct wf_plan_source table = {.text = r->coefficients, .role = "coefficients", .n_files = 1};
    table.files[0] = (struct wf_plan_source_file){wf_path_last(r->table->path, &n), r->table->bytes,
                                                  r->table->hash};
    add_source(s, plan->n_ckpts == 0 && !plan->tokenizer, &table);
}

void wf_manifest_inputs(struct wf_str *s, const struct wf_plan *plan)
{
    char hex[33];
    wf_str_puts(s, "\"inputs\": [");
    for (size_t c = 0; c < plan->n_ckpts; c++) {
        const struct wf_ckpt *k = plan->ckpts[c].ckpt;
        bool named = k->place.repository && !k->under; /* of an overlay the text says both */
        uint64_t size = 0;
        for (size_t f = 0; f < k->n_files; f++)
            size += k->files[f].id.bytes;
        add_origin(s, c == 0, named ? k->place.repository : plan->ckpts[c].text, &k->place, size);
        wf_str_puts(s, "\"files\": [");
        for (size_t f = 0; f < k->n_files; f++) {
            wf_str_puts(s, f ? ",\n      {" : "\n      {");
            add_text(s, "name", k->files[f].name);
            wf_str_printf(s, ", \"bytes\": %" PRIu64 ", \"header_xxh128\": \"%s\"}",
                          k->files[f].id.bytes, wf_hash128_hex(&k->files[f].header_hash, hex));
        }
        wf_str_puts(s, "]}");
    }
    add_sources(s, plan);
    wf_str_puts(s, "]");
}

static void add_tensors(struct wf_str *s, const struct wf_plan *plan)
{
    char shape[WF_SHAPE_TEXT_MAX];
    wf_str_puts(s, ",\n  \"tensors\": {");
    for (size_t i = 0; i < plan->n_jobs; i++) {
        const struct wf_job *job = &plan->jobs[i];
        wf_str_puts(s, i ? ",\n    " : "\n    ");
        wf_str_json(s, job->name, strlen(job->name));
        wf_str_puts(s, ": {");
        add_text(s, "file", plan->shards[job->shard].name);
        wf_str_printf(s, ", \"dtype\": \"%s\", \"shape\": %s, ", wf_dtype_info(job->dtype)->name,
                      wf_shape_text(job->shape, job->n_dims, WF_SHAPE_SPACED, shape));
        add_text(s, "action", wf_job_action_name(plan, job));
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

static int stopped(struct wf_err *e)
{
    return wf_fail(e, WF_STOPPED,
                   "stopped by a signal while checksums were made; run the same "
                   "command with --resume to go on");
}

/* `bytes` of a file through SHA-256, read once more. */
static int sha256_file(struct wf_err *e, const char *path, uint64_t bytes, const volatile int *stop,
                       char hex[65])
{
    struct wf_file_id id;
    int fd = -1;
    struct wf_sha256 *sha = wf_sha256_create(e);
    char *buffer = wf_alloc(e, WF_MEM_TEXT, READ_BYTES, 1, "a checksum");
    int status = sha && buffer ? wf_open_read(e, WF_MACHINE, path, &fd, &id) : WF_MACHINE;
    for (uint64_t at = 0; !status && at < bytes; at += READ_BYTES) {
        size_t n = (size_t)wf_min_u64(READ_BYTES, bytes - at);
        status = wf_pread(e, fd, path, buffer, n, at);
        if (!status)
            wf_sha256_add(sha, buffer, n);
        if (!status && *stop)
            status = stopped(e);
    }
    if (!status)
        wf_sha256_hex(sha, hex);
    wf_close(fd);
    wf_free(buffer);
    wf_sha256_destroy(sha);
    return status;
}

/* What "files" is made from. */
struct listing {
    struct wf_err *e;
    struct wf_str *s;
    const char *folder;
    const struct wf_plan *plan;
    const struct wf_blocks *blocks;
    const struct wf_manifest_options *o;
};

/* A file whose size is known, and its XXH3 as well: only SHA-256 reads it. */
static int add_known(const struct listing *l, const char *name, uint64_t bytes,
                     const struct wf_hash128 *hashes, uint64_t n)
{
    struct wf_arena a = {0};
    int status = WF_OK;
    add_text(l->s, "name", name);
    wf_str_printf(l->s, ", \"bytes\": %" PRIu64, bytes);
    if (l->o->kind == WEFT_MANIFEST_SHA256) {
        char hex[65] = "";
        const char *path = wf_path_join(&a, l->e, l->folder, name);
        status = path ? sha256_file(l->e, path, bytes, l->o->stop, hex) : WF_MACHINE;
        wf_str_printf(l->s, ", \"sha256\": \"%s\"", hex);
    } else if (l->o->kind == WEFT_MANIFEST_XXH3) {
        add_xxh3(l->s, hashes, n);
    }
    wf_arena_destroy(&a);
    return status;
}

/* A shard's size is the plan's and its XXH3 the stream's. */
static int add_shard(const struct listing *l, uint32_t shard)
{
    const struct wf_shard *file = &l->plan->shards[shard];
    struct wf_arena a = {0};
    uint64_t n = wf_plan_blocks(l->plan, shard);
    struct wf_hash128 *hashes = wf_arena_alloc(&a, l->e, n, sizeof *hashes);
    for (uint64_t k = 0; hashes && k < n; k++)
        hashes[k] = wf_blocks_at(l->blocks, shard, k)->hash;
    int status = hashes ? add_known(l, file->name, file->bytes, hashes, n) : WF_MACHINE;
    wf_arena_destroy(&a);
    return status;
}

static int add_small_checksum(const struct listing *l, const char *text, size_t n)
{
    if (l->o->kind == WEFT_MANIFEST_SHA256) {
        char hex[65];
        struct wf_sha256 *sha = wf_sha256_create(l->e);
        if (!sha)
            return WF_MACHINE;
        wf_sha256_add(sha, text, n);
        wf_sha256_hex(sha, hex);
        wf_sha256_destroy(sha);
        wf_str_printf(l->s, ", \"sha256\": \"%s\"", hex);
    } else if (l->o->kind == WEFT_MANIFEST_XXH3) {
        struct wf_hash128 hashes[SMALL_BLOCKS_MAX];
        uint64_t blocks = 0;
        for (size_t at = 0; at < n; at += WF_BLOCK_BYTES)
            hashes[blocks++] = wf_xxh128(text + at, wf_min_u64(WF_BLOCK_BYTES, n - at));
        add_xxh3(l->s, hashes, blocks);
    }
    return WF_OK;
}

/* A small file is read whole, once. */
static int add_small(const struct listing *l, const char *name)
{
    struct wf_arena a = {0};
    char *text = NULL;
    size_t n = 0;
    const char *path = wf_path_join(&a, l->e, l->folder, name);
    int status =
        path ? wf_read_small(l->e, WF_MACHINE, path, SMALL_BYTES_MAX, &text, &n) : WF_MACHINE;
    if (!status) {
        add_text(l->s, "name", name);
        wf_str_printf(l->s, ", \"bytes\": %zu", n);
        status = add_small_checksum(l, text, n);
        wf_free(text);
    }
    wf_arena_destroy(&a);
    return status;
}

static int add_files(const struct listing *l)
{
    int status = WF_OK;
    const char *before = "\n    {";
    wf_str_puts(l->s, ",\n  \"files\": [");
    for (size_t i = 0; !status && i < l->plan->n_shards; i++) {
        wf_str_puts(l->s, before);
        before = ",\n    {";
        status = add_shard(l, (uint32_t)i);
        wf_str_puts(l->s, "}");
    }
    for (size_t i = 0; !status && i < l->o->n_made; i++) {
        const struct wf_made_file *f = &l->o->made[i];
        wf_str_puts(l->s, before);
        before = ",\n    {";
        status = add_known(l, f->name, f->bytes, f->blocks, f->n_blocks);
        wf_str_puts(l->s, "}");
    }
    for (size_t i = 0; !status && i < l->o->n_small_files; i++) {
        if (*l->o->stop)
            return stopped(l->e);
        wf_str_puts(l->s, before);
        before = ",\n    {";
        status = add_small(l, l->o->small_files[i]);
        wf_str_puts(l->s, "}");
    }
    wf_str_puts(l->s, "]\n}\n");
    return status;
}

int wf_manifest_write(struct wf_err *e, const char *folder, const struct wf_plan *plan,
                      const struct wf_blocks *blocks, const struct wf_manifest_options *options)
{
    struct wf_str s = {0};
    struct listing files = {e, &s, folder, plan, blocks, options};
    add_head(&s, plan);
    wf_str_puts(&s, ",\n  ");
    wf_manifest_inputs(&s, plan);
    if (options->tensors)
        wf_str_printf(&s, ",\n  \"tensors\": {%s}", options->tensors);
    else
        add_tensors(&s, plan);
    if (options->more)
        wf_str_puts(&s, options->more);
    int status = add_files(&files);
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
    struct wf_manifest m;
    char *path = wf_path_join(&a, &ignored, folder, WF_MANIFEST_NAME);
    bool found = path && wf_is_file(path) && !wf_manifest_read(&ignored, &a, path, &m) &&
                 m.n_plan_parts == WF_PARTS;
    *same = found && wf_hash128_equal(&m.plan, &plan->hash);
    for (size_t p = WF_PARTS; found && p-- > 0;)
        if (!wf_hash128_equal(&m.plan_parts[p], &plan->parts[p]))
            *differs = (enum wf_plan_part)p;
    wf_arena_destroy(&a);
    return found;
}
