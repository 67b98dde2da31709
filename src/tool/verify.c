/* verify.c - check a model: format, configuration, index, manifest, checksums.
 *
 * With JSON, one object a line:
 *   {"kind":"check","what":W,"name":S,"result":R,"reason":S,"bytes":N}
 *   {"kind":"summary","result":"ok"|"failed","checks":N,"failed":N,"warnings":N,"bytes_read":N}
 * W is format, config, index, adapter, delta, manifest, tensors or file; R is ok, failed or
 * warning; reason is null when ok. `bytes` is the size of what was checked, where that means
 * something, else 0.
 *
 * Files are hashed in blocks by several threads, each through a buffer of its own:
 *
 *   file   |-- block 0 --|-- block 1 --|- 2 -|    64 MiB, as the manifest lists them
 *           READ_BYTES at a time, hashed on the way
 */
#include "verify.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/mem.h"
#include "../base/num.h"
#include "../base/ordered.h"
#include "../format/adapter.h"
#include "../format/ckpt.h"
#include "../format/delta_file.h"
#include "../format/folder.h"
#include "../format/manifest.h"
#include "../format/weight_files.h"
#include "delta_check.h"
#include "report.h"

#define READ_BYTES ((size_t)2 << 20)
#define INDEX_BYTES_MAX ((size_t)256 << 20)
#define REASON_MAX WF_ERR_TEXT_MAX
#define NAME_WIDTH 34

enum result { PASSED, WARNING, FAILED };

/* What the checksums of the current file have shown so far. */
struct damage {
    uint64_t blocks, first_begin, first_end; /* bytes [begin, end) of the first damaged block */
    char reason[REASON_MAX];                 /* of a file that could not be read, else "" */
};

struct verification {
    struct wf_err *e;
    struct wf_report report;
    struct wf_arena arena;
    struct wf_place place;
    bool is_folder;
    struct wf_ckpt ckpt;
    bool opened; /* ckpt is whole */
    struct wf_manifest manifest;
    uint64_t checks, failed, warnings;
    uint64_t bytes_read;
    /* the cursor of claim() */
    size_t file;
    uint64_t block;
    /* what commit() has seen of the current file */
    struct damage damage;
};

struct worker {
    const struct wf_manifest_file *file;
    uint64_t block, n_blocks;
    unsigned char *data; /* READ_BYTES */
    struct damage damage;
    uint64_t bytes_read;
};

/* ---- lines ------------------------------------------------------------------------------------
 */

static void check(struct verification *v, enum result result, const char *what, const char *name,
                  uint64_t bytes, const char *reason)
{
    static const char *const words[] = {"ok", "warning", "failed"};
    static const char *const labels[] = {"OK", "WARNING", "FAILED"};
    struct wf_report *r = &v->report;
    char size[32];
    v->checks++;
    v->failed += result == FAILED;
    v->warnings += result == WARNING;
    if (r->json) {
        wf_report_object(r, "check");
        wf_report_string(r, "what", what);
        wf_report_string(r, "name", name);
        wf_report_string(r, "result", words[result]);
        wf_report_string(r, "reason", result == PASSED ? NULL : reason);
        wf_report_u64(r, "bytes", bytes);
        wf_report_close(r);
        return;
    }
    wf_report_text(r, "%-7s  %-8s  ", labels[result], what);
    wf_report_name(r, name, NAME_WIDTH);
    wf_report_text(r, "  ");
    if (*reason)
        wf_report_name(r, reason, 0);
    else if (bytes)
        wf_report_text(r, "%s", wf_format_bytes(bytes, size));
    wf_report_end(r);
}

/* A failure that is the answer "no" becomes a line, and the slot is empty again; others (the
 * machine's, the user's) are kept and returned. */
static int absorb(struct verification *v, const char *what, const char *name)
{
    int s = wf_err_status(v->e);
    if (s != WF_INPUT)
        return s;
    check(v, FAILED, what, name, 0, v->e->text);
    wf_err_clear(v->e);
    return WF_OK;
}

static const char *folder_path(struct verification *v, const char *name)
{
    return wf_path_join(&v->arena, v->e, v->place.path, name);
}

/* ---- format -----------------------------------------------------------------------------------
 */

static int check_format(struct verification *v)
{
    char what[96], size[32];
    int s = wf_ckpt_open(v->e, &v->arena, &v->place, &v->ckpt);
    if (s == WF_USAGE && wf_is_file(folder_path(v, WF_MANIFEST_NAME))) {
        /* Not "no model here": the manifest says that there was one. */
        check(v, FAILED, "format", "weights", 0, v->e->text);
        wf_err_clear(v->e);
        return WF_OK;
    }
    if (s)
        return absorb(v, "format", "weights");
    v->opened = true;
    uint64_t bytes = 0;
    for (size_t i = 0; i < v->ckpt.n_files; i++)
        bytes += v->ckpt.files[i].id.bytes;
    snprintf(what, sizeof what, "%zu tensors in %zu file%s, %s", v->ckpt.n_tensors, v->ckpt.n_files,
             v->ckpt.n_files == 1 ? "" : "s", wf_format_bytes(bytes, size));
    check(v, PASSED, "format", "weights", bytes, what);
    if (v->ckpt.config)
        check(v, PASSED, "config", "config.json", v->ckpt.config_n, "");
    else if (v->is_folder && !v->ckpt.is_adapter)
        check(v, WARNING, "config", "config.json", 0, "missing");
    return WF_OK;
}

/* Do config and factors belong together? An adapter of a kind that weft does not merge is not
 * damaged. */
static int check_adapter(struct verification *v)
{
    struct wf_adapter adapter;
    char what[64];
    int s = wf_adapter_open(v->e, &v->arena, &v->ckpt, &adapter);
    if (s == WF_USAGE) {
        check(v, WARNING, "adapter", WF_ADAPTER_CONFIG_NAME, 0, v->e->text);
        wf_err_clear(v->e);
        return WF_OK;
    }
    if (s)
        return absorb(v, "adapter", WF_ADAPTER_CONFIG_NAME);
    snprintf(what, sizeof what, "%zu module%s", adapter.n_modules,
             adapter.n_modules == 1 ? "" : "s");
    check(v, PASSED, "adapter", WF_ADAPTER_CONFIG_NAME, 0, what);
    return WF_OK;
}

static uint64_t tensor_bytes(const struct wf_ckpt *c)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < c->n_tensors; i++)
        sum += c->tensors[i].bytes;
    return sum;
}

/* Published indexes are often wrong about their total, and no loader looks: a warning. */
static int check_index(struct verification *v)
{
    struct wf_json *root;
    char text[REASON_MAX];
    uint64_t total, bytes = tensor_bytes(&v->ckpt);
    const char *path = folder_path(v, "model.safetensors.index.json");
    if (!path)
        return wf_err_status(v->e);
    if (!wf_exists(path))
        return WF_OK;
    if (wf_json_read(v->e, &v->arena, path, INDEX_BYTES_MAX, WF_JSON_STRICT, &root))
        return absorb(v, "index", "model.safetensors.index.json");
    const struct wf_json *declared = wf_json_get(wf_json_get(root, "metadata"), "total_size");
    if (v->ckpt.n_ignored) {
        snprintf(text, sizeof text, "%zu tensors in the files are not in the index, the first: %s",
                 v->ckpt.n_ignored, v->ckpt.first_ignored);
        check(v, WARNING, "index", "model.safetensors.index.json", 0, text);
    }
    if (declared && (!wf_json_u64(declared, &total) || total != bytes)) {
        snprintf(text, sizeof text, "total_size is %s; the tensors have %" PRIu64 " bytes",
                 declared->text ? declared->text : "not a number", bytes);
        check(v, WARNING, "index", "model.safetensors.index.json", 0, text);
    }
    if (!v->ckpt.n_ignored && (!declared || total == bytes))
        check(v, PASSED, "index", "model.safetensors.index.json", bytes, "");
    return WF_OK;
}

/* ---- manifest ---------------------------------------------------------------------------------
 */

/* "" if the manifest's entry says what the checkpoint says, else the difference. */
static void compare_tensor(const struct verification *v, const struct wf_json *entry,
                           char reason[REASON_MAX])
{
    const struct wf_tensor *t = wf_ckpt_find(&v->ckpt, entry->key);
    const char *file = wf_json_string(entry, "file"), *dtype = wf_json_string(entry, "dtype");
    const struct wf_json *shape = wf_json_get(entry, "shape");
    *reason = 0;
    if (!t || !file || !dtype || !shape || shape->kind != WF_JSON_ARRAY) {
        snprintf(reason, REASON_MAX, "'%s': %s", entry->key,
                 t ? "the manifest lacks its file, dtype or shape" : "not in the model");
        return;
    }
    const char *found_type = wf_dtype_info((enum wf_dtype)t->dtype)->name;
    const char *found_file = v->ckpt.files[t->file].name;
    bool same = shape->n == t->n_dims && !strcmp(dtype, found_type) && !strcmp(file, found_file);
    for (size_t i = 0; same && i < t->n_dims; i++) {
        uint64_t size;
        same = wf_json_u64(&shape->children[i], &size) && size == t->shape[i];
    }
    if (!same)
        snprintf(reason, REASON_MAX,
                 "'%s': the manifest has another file, dtype or shape than %s, which holds %s",
                 entry->key, found_file, found_type);
}

static void check_tensors(struct verification *v)
{
    const struct wf_json *list = v->manifest.tensors;
    char reason[REASON_MAX], text[REASON_MAX + 64] = "";
    size_t wrong = 0;
    for (size_t i = 0; i < list->n; i++) {
        compare_tensor(v, &list->children[i], reason);
        if (*reason && !wrong++)
            snprintf(text, sizeof text, "%s", reason);
    }
    if (wrong > 1)
        snprintf(text + strlen(text), sizeof text - strlen(text), " (%zu wrong in all)", wrong);
    if (!wrong && list->n != v->ckpt.n_tensors) {
        wrong = 1;
        snprintf(text, sizeof text, "the manifest has %zu tensors, the model %zu", list->n,
                 v->ckpt.n_tensors);
    }
    check(v, wrong ? FAILED : PASSED, "tensors", WF_MANIFEST_NAME, 0, text);
}

static int name_against_file(const void *name, const void *file)
{
    return strcmp(name, ((const struct wf_manifest_file *)file)->name);
}

static bool is_listed(const struct wf_manifest *m, const char *name)
{
    return m->n_files && bsearch(name, m->files, m->n_files, sizeof *m->files, name_against_file);
}

/* A safetensors file beside those of the merge would be picked up by some loaders. */
static int check_extra(struct verification *v)
{
    const char **names;
    size_t n;
    if (wf_folder_names(v->e, &v->arena, v->place.path, &names, &n))
        return absorb(v, "manifest", v->place.path);
    for (size_t i = 0; i < n; i++)
        if (wf_ends_with(names[i], ".safetensors") && !is_listed(&v->manifest, names[i]))
            check(v, FAILED, "file", names[i], 0, "not in the manifest");
    return WF_OK;
}

/* ---- checksums --------------------------------------------------------------------------------
 */

static uint64_t pieces_of(const struct wf_manifest_file *f)
{
    return wf_max_u64(1, f->n_blocks);
}

static bool claim(void *shared, void *worker)
{
    struct verification *v = shared;
    struct worker *w = worker;
    if (v->file == v->manifest.n_files)
        return false;
    w->file = &v->manifest.files[v->file];
    w->n_blocks = pieces_of(w->file);
    w->block = v->block++;
    if (v->block == w->n_blocks) {
        v->block = 0;
        v->file++;
    }
    return true;
}

/* A running checksum of either kind. */
struct digest {
    struct wf_xxh *xxh;
    struct wf_sha256 *sha;
};

static int hash_range(struct wf_err *e, struct worker *w, int fd, const char *path, uint64_t begin,
                      uint64_t end, struct digest d)
{
    for (uint64_t at = begin; at < end;) {
        size_t n = wf_min_u64(READ_BYTES, end - at);
        posix_fadvise(fd, (off_t)(at + n), (off_t)wf_min_u64(READ_BYTES, end - at - n),
                      POSIX_FADV_WILLNEED);
        int s = wf_pread(e, fd, path, w->data, n, at);
        if (s)
            return s;
        if (d.xxh)
            wf_xxh_add(d.xxh, w->data, n);
        else
            wf_sha256_add(d.sha, w->data, n);
        w->bytes_read += n;
        at += n;
    }
    return WF_OK;
}

/* Hashes the worker's piece of its file: one block, or all of it for sha256. */
static int hash_piece(struct wf_err *e, struct worker *w, int fd, const char *path)
{
    const struct wf_manifest_file *f = w->file;
    struct digest d = {0};
    uint64_t begin = w->block * f->block_bytes;
    uint64_t end = f->sha256 ? f->bytes : wf_min_u64(f->bytes, begin + f->block_bytes);
    bool same = false;
    if (f->sha256)
        d.sha = wf_sha256_create(e);
    else
        d.xxh = wf_xxh_create(e);
    int s = d.sha || d.xxh ? hash_range(e, w, fd, path, begin, end, d) : WF_MACHINE;
    if (!s && d.sha) {
        char hex[65];
        wf_sha256_hex(d.sha, hex);
        same = !strcmp(hex, f->sha256);
    } else if (!s) {
        struct wf_hash128 found = wf_xxh_digest(d.xxh);
        same = wf_hash128_equal(&found, &f->blocks[w->block]);
    }
    if (d.sha)
        wf_sha256_destroy(d.sha);
    if (d.xxh)
        wf_xxh_destroy(d.xxh);
    if (!s && !same)
        w->damage = (struct damage){.blocks = 1, .first_begin = begin, .first_end = end};
    return s;
}

static int check_piece(struct verification *v, struct wf_err *e, struct worker *w, const char *path)
{
    const struct wf_manifest_file *f = w->file;
    struct wf_file_id id;
    int fd;
    int s = wf_place_check(e, &v->place, path);
    if (!s)
        s = wf_open_read(e, WF_INPUT, path, &fd, &id);
    if (s)
        return s;
    if (id.bytes != f->bytes)
        s = wf_fail(e, WF_INPUT, "%" PRIu64 " bytes; the manifest says %" PRIu64, id.bytes,
                    f->bytes);
    else if (f->sha256 || f->n_blocks)
        s = hash_piece(e, w, fd, path);
    wf_close(fd);
    return s;
}

static int work(void *shared, void *worker)
{
    struct verification *v = shared;
    struct worker *w = worker;
    struct wf_err e = {0};
    struct wf_str path = {0};
    w->damage = (struct damage){0};
    w->bytes_read = 0;
    wf_str_printf(&path, "%s/%s", v->place.path, w->file->name);
    int s = wf_str_finish(&path, &e);
    if (!s)
        s = wf_exists(path.text) ? check_piece(v, &e, w, path.text)
                                 : wf_fail(&e, WF_INPUT, "missing");
    wf_str_free(&path);
    if (s == WF_INPUT) { /* a line of the result, not the end of the run */
        snprintf(w->damage.reason, sizeof w->damage.reason, "%s", e.text);
        return WF_OK;
    }
    return s ? wf_fail(v->e, (enum wf_status)s, "%s", e.text) : WF_OK;
}

static void report_file(struct verification *v, const struct wf_manifest_file *f)
{
    const struct damage *d = &v->damage;
    char text[REASON_MAX] = "";
    if (*d->reason)
        snprintf(text, sizeof text, "%s", d->reason);
    else if (d->blocks && f->sha256)
        snprintf(text, sizeof text, "damaged: the SHA-256 is not the manifest's");
    else if (d->blocks)
        snprintf(text, sizeof text, "damaged: bytes %" PRIu64 " to %" PRIu64, d->first_begin,
                 d->first_end - 1);
    if (d->blocks > 1)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 " and %" PRIu64 " more of %" PRIu64 " blocks", d->blocks - 1, f->n_blocks);
    check(v, *text ? FAILED : PASSED, "file", f->name, f->bytes, text);
}

static int commit(void *shared, void *worker)
{
    struct verification *v = shared;
    const struct worker *w = worker;
    if (w->block == 0)
        v->damage = (struct damage){0};
    v->bytes_read += w->bytes_read;
    if (w->damage.blocks && !v->damage.blocks++) {
        v->damage.first_begin = w->damage.first_begin;
        v->damage.first_end = w->damage.first_end;
    }
    if (*w->damage.reason && !*v->damage.reason)
        memcpy(v->damage.reason, w->damage.reason, sizeof v->damage.reason);
    if (w->block + 1 == w->n_blocks)
        report_file(v, w->file);
    return v->report.write_errno ? WF_MACHINE : WF_OK;
}

static int check_files(struct verification *v, const struct weft_options *o)
{
    unsigned n = wf_tool_threads(o, wf_tool_memory(o), READ_BYTES);
    struct worker *workers = wf_alloc(v->e, WF_MEM_META, n, sizeof *workers, "worker threads");
    unsigned char *data =
        workers ? wf_map_pages(v->e, n * READ_BYTES, "the buffers of a verification") : NULL;
    int s = data ? WF_OK : wf_err_status(v->e);
    for (unsigned i = 0; data && i < n; i++)
        workers[i].data = data + i * READ_BYTES;
    if (!s)
        s = wf_ordered_run(
            &(struct wf_ordered){claim, work, commit, v, workers, sizeof *workers, n});
    wf_unmap_pages(data, n * READ_BYTES);
    wf_free(workers);
    return s;
}

/* ---- task deltas ------------------------------------------------------------------------------
 */

static int check_delta(struct verification *v, const struct wf_ckpt *delta, const char *name,
                       const struct wf_ckpt *shared)
{
    size_t tensors;
    if (wf_delta_check_all(v->e, delta, shared, &tensors))
        return absorb(v, "delta", name);
    check(v, PASSED, "delta", name, delta->files[0].id.bytes, "");
    return WF_OK;
}

/* Safetensors files that the manifest lists in sub-folders: those that are task deltas are deltas
 * of this model. */
static int check_deltas(struct verification *v)
{
    int s = WF_OK;
    for (size_t i = 0; !s && i < v->manifest.n_files; i++) {
        const char *name = v->manifest.files[i].name;
        struct wf_place place = {.path = folder_path(v, name)};
        struct wf_ckpt c;
        if (!place.path)
            return wf_err_status(v->e);
        if (!strchr(name, '/') || !wf_ends_with(name, ".safetensors") || !wf_is_file(place.path))
            continue;
        if (wf_ckpt_open(v->e, &v->arena, &place, &c))
            s = absorb(v, "format", name);
        else if (wf_delta_is(&c))
            s = check_delta(v, &c, name, v->opened ? &v->ckpt : NULL);
    }
    return s;
}

static int check_manifest(struct verification *v, const struct weft_options *o)
{
    const char *path = folder_path(v, WF_MANIFEST_NAME);
    if (!path)
        return wf_err_status(v->e);
    if (!wf_exists(path))
        return WF_OK;
    if (wf_place_check(v->e, &v->place, path) ||
        wf_manifest_read(v->e, &v->arena, path, &v->manifest))
        return absorb(v, "manifest", WF_MANIFEST_NAME);
    check(v, PASSED, "manifest", WF_MANIFEST_NAME, 0, "");
    if (v->opened)
        check_tensors(v);
    int s = check_files(v, o);
    if (!s)
        s = check_deltas(v);
    return s ? s : check_extra(v);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static void summary(struct verification *v)
{
    struct wf_report *r = &v->report;
    char size[32];
    if (r->json) {
        wf_report_object(r, "summary");
        wf_report_string(r, "result", v->failed ? "failed" : "ok");
        wf_report_u64(r, "checks", v->checks);
        wf_report_u64(r, "failed", v->failed);
        wf_report_u64(r, "warnings", v->warnings);
        wf_report_u64(r, "bytes_read", v->bytes_read);
        wf_report_close(r);
        return;
    }
    wf_report_text(r, "summary: %s: %" PRIu64 " checks, %" PRIu64 " failed, %" PRIu64 " warnings",
                   v->failed ? "FAILED" : "OK", v->checks, v->failed, v->warnings);
    if (v->manifest.n_files)
        wf_report_text(r, "; %s of checksums", wf_format_bytes(v->bytes_read, size));
    else
        wf_report_text(r, "; no usable " WF_MANIFEST_NAME ", so no checksums");
    wf_report_end(r);
}

static int verify_all(struct verification *v, const struct weft_options *o)
{
    int s = check_format(v);
    if (!s && v->is_folder && v->opened)
        s = check_index(v);
    if (!s && v->opened && v->ckpt.is_adapter)
        s = check_adapter(v);
    if (!s && v->opened && wf_delta_is(&v->ckpt))
        s = check_delta(v, &v->ckpt, v->ckpt.files[0].name, NULL);
    if (!s && v->is_folder)
        s = check_manifest(v, o);
    if (!s)
        summary(v);
    return s;
}

int wf_verify_run(struct wf_err *e, const struct weft_options *o, const char *model)
{
    struct verification v = {.e = e};
    wf_report_open(&v.report, o);
    int s = wf_hub_resolve(e, &v.arena, "", model, NULL, &v.place);
    v.is_folder = !s && wf_is_folder(v.place.path);
    if (!s)
        s = verify_all(&v, o);
    int finished = wf_report_finish(&v.report, e);
    if (!s)
        s = finished ? finished : v.failed ? WF_NO : WF_OK;
    wf_arena_destroy(&v.arena);
    return s;
}
