/* sidecar.c - which small files of a model folder travel with a merge; see sidecar.h.
 *
 * A name is judged by the first rule that matches (table below); what no rule names travels if its
 * suffix is that of text. Sub-folders are entered once: 1_Pooling/config.json travels, what lies
 * deeper does not.
 */
#include "sidecar.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/file.h"
#include "../base/str.h"
#include "folder.h"

#define FILE_BYTES_MAX ((uint64_t)64 << 20)
#define TOTAL_BYTES_MAX ((uint64_t)1 << 30)
#define FILES_MAX 10000u

enum verdict {
    TRAVELS,
    REPLACED, /* weft writes its own, or it is of no use to anybody: not reported */
    LEFT_OUT, /* reported with the reason */
};

struct rule {
    const char *glob;
    enum verdict verdict;
    const char *reason;
};

/* Files, at top level and in sub-folders. */
static const struct rule file_rules[] = {
    {".*", REPLACED, NULL},
    {"weft_manifest.json", REPLACED, NULL},
    {"weft.journal", REPLACED, NULL},
    {"weft.statistics*", REPLACED, NULL},
    {"weft_recipe.*", REPLACED, NULL},
    {"*.index.json", REPLACED, NULL},
    {"*.index.*.json", REPLACED, NULL},
    {"adapter_config.json", LEFT_OUT, "an adapter's"},
    {"adapter_model.*", LEFT_OUT, "an adapter's"},
    {"optimizer*", LEFT_OUT, "training state"},
    {"scheduler*", LEFT_OUT, "training state"},
    {"rng_state*", LEFT_OUT, "training state"},
    {"trainer_state.json", LEFT_OUT, "training state"},
    {"training_args*", LEFT_OUT, "training state"},
    {"*_results.json", LEFT_OUT, "training results"},
    {"hf_quant_config.json", LEFT_OUT, "of a quantised form"},
    {"quantize_config.json", LEFT_OUT, "of a quantised form"},
    {"quant_config.json", LEFT_OUT, "of a quantised form"},
    {"recipe.yaml", LEFT_OUT, "the recipe of another model"},
    {"recipe.json", LEFT_OUT, "the recipe of another model"},
    {"consolidated*", LEFT_OUT, "another form of the weights"},
    {"openvino*", LEFT_OUT, "another form of the weights"},
    {"*.incomplete", LEFT_OUT, "an unfinished download"},
    {"*.safetensors", LEFT_OUT, "weights"},
    {"*.bin", LEFT_OUT, "weights or training state"},
    {"*.pt", LEFT_OUT, "weights or training state"},
    {"*.pth", LEFT_OUT, "weights or training state"},
    {"*.ckpt", LEFT_OUT, "weights or training state"},
    {"*.gguf", LEFT_OUT, "another form of the weights"},
    {"*.h5", LEFT_OUT, "another form of the weights"},
    {"*.msgpack", LEFT_OUT, "another form of the weights"},
    {"*.onnx*", LEFT_OUT, "another form of the weights"},
    {"LICENSE*", TRAVELS, NULL},
    {"LICENCE*", TRAVELS, NULL},
    {"COPYING*", TRAVELS, NULL},
    {"NOTICE*", TRAVELS, NULL},
    {"USE_POLICY*", TRAVELS, NULL},
    {"*.json", TRAVELS, NULL},
    {"*.txt", TRAVELS, NULL},
    {"*.model", TRAVELS, NULL},
    {"*.jinja", TRAVELS, NULL},
    {"*.md", TRAVELS, NULL},
    {"*.tiktoken", TRAVELS, NULL},
    {"*.spm", TRAVELS, NULL},
    {"*.py", TRAVELS, NULL},
    {"*", LEFT_OUT, "not a kind of file that weft carries over"},
};

/* Only at top level, before the rules above: what weft reads or writes itself. */
static const struct rule top_rules[] = {
    {"config.json", REPLACED, NULL},
    {"README.md", REPLACED, NULL},
    {"model*.safetensors", REPLACED, NULL},
    {"pytorch_model*.bin", REPLACED, NULL},
    {NULL, TRAVELS, NULL},
};

/* Only in sub-folders. Remote code is imported from the top level. */
static const struct rule nested_rules[] = {
    {"*.py", LEFT_OUT, "code in a sub-folder"},
    {NULL, TRAVELS, NULL},
};

static const struct rule folder_rules[] = {
    {"__pycache__", REPLACED, NULL},
    {"recipe.*", LEFT_OUT, "the name of a file that weft writes"},
    {"ranks", LEFT_OUT, "the name of a folder that weft works in"},
    {"onnx*", LEFT_OUT, "another form of the model"},
    {"openvino*", LEFT_OUT, "another form of the model"},
    {"original", LEFT_OUT, "another form of the model"},
    {"consolidated*", LEFT_OUT, "another form of the model"},
    {"coreml", LEFT_OUT, "another form of the model"},
    {"global_step*", LEFT_OUT, "training state"},
    {"checkpoint-*", LEFT_OUT, "training state"},
    {"runs", LEFT_OUT, "training logs"},
    {"logs", LEFT_OUT, "training logs"},
    {NULL, TRAVELS, NULL},
};

/* The first rule that matches, or the one that ends the table. */
static const struct rule *judge(const struct rule *rules, const char *name)
{
    while (rules->glob && !wf_glob(rules->glob, name))
        rules++;
    return rules;
}

struct listing {
    struct wf_err *e;
    struct wf_arena *a;
    const struct wf_place *place;
    char inside[PATH_MAX]; /* links must resolve below this folder */
    struct wf_sidecars *out;
    size_t files_capacity, left_out_capacity;
    uint64_t total_bytes;
};

static int leave_out(struct listing *l, const char *name, const char *reason)
{
    struct wf_sidecars *out = l->out;
    const char **list = wf_arena_grow(l->a, l->e, out->left_out, out->n_left_out,
                                      &l->left_out_capacity, sizeof *list);
    if (!list)
        return wf_err_status(l->e);
    out->left_out = list;
    out->left_out[out->n_left_out] = wf_arena_printf(l->a, l->e, "%s (%s)", name, reason);
    return out->left_out[out->n_left_out++] ? WF_OK : wf_err_status(l->e);
}

/* A file that travels by its name, but cannot: the user is told. */
static int miss(struct listing *l, const struct rule *rule, const char *name, const char *reason)
{
    int s = leave_out(l, name, reason);
    if (!s && rule->verdict == TRAVELS && l->out->n_missed++ == 0)
        l->out->missed = l->out->left_out[l->out->n_left_out - 1];
    return s;
}

static void add_to_hash(struct wf_sidecars *out, const char *name, const struct wf_file_id *id)
{
    struct {
        struct wf_hash128 before, name;
        uint64_t bytes;
        int64_t mtime_ns;
    } link = {out->hash, wf_xxh128(name, strlen(name)), id->bytes, id->mtime_ns};
    out->hash = wf_xxh128(&link, sizeof link);
}

static int take(struct listing *l, const char *name, const char *path)
{
    struct wf_sidecars *out = l->out;
    struct wf_file_id id;
    int fd, s = wf_open_read(l->e, WF_INPUT, path, &fd, &id); /* now, not after hours of merging */
    if (s)
        return s;
    wf_close(fd);
    uint64_t bytes = id.bytes;
    if (bytes > TOTAL_BYTES_MAX - l->total_bytes)
        return leave_out(l, name, "over 1 GiB in all");
    if (out->n == FILES_MAX)
        return leave_out(l, name, "over 10000 files in all");
    struct wf_sidecar *files =
        wf_arena_grow(l->a, l->e, out->files, out->n, &l->files_capacity, sizeof *files);
    if (!files)
        return wf_err_status(l->e);
    out->files = files;
    add_to_hash(out, name, &id);
    out->files[out->n++] = (struct wf_sidecar){name, path, bytes};
    l->total_bytes += bytes;
    return WF_OK;
}

static int add_folder(struct listing *l, const char *name, const char *path);

/* One entry of the folder, or of a sub-folder: then `nested`. `name` is relative to the folder. */
static int add_entry(struct listing *l, const char *name, bool nested)
{
    size_t n;
    const char *last = wf_path_last(name, &n);
    const struct rule *rule = judge(nested ? nested_rules : top_rules, last);
    if (!rule->glob)
        rule = judge(file_rules, last);
    if (rule->verdict == REPLACED) /* a folder of such a name would be in the way, too */
        return WF_OK;
    const char *path = wf_path_join(l->a, l->e, l->place->path, name);
    struct stat st;
    if (!path)
        return wf_err_status(l->e);
    if (!wf_utf8_valid(last, n, NULL))
        return miss(l, rule, name, "its name is not UTF-8");
    if (stat(path, &st))
        return miss(l, rule, name, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return nested ? leave_out(l, name, "a folder in a sub-folder") : add_folder(l, name, path);
    if (!S_ISREG(st.st_mode))
        return miss(l, rule, name, "not a regular file");
    if (rule->verdict == LEFT_OUT)
        return leave_out(l, name, rule->reason);
    char real[PATH_MAX];
    if (!realpath(path, real) || !wf_path_below(l->inside, real))
        return miss(l, rule, name, "a link out of the model's folder");
    if ((uint64_t)st.st_size > FILE_BYTES_MAX)
        return miss(l, rule, name, "over 64 MiB");
    return take(l, name, path);
}

static int add_folder(struct listing *l, const char *name, const char *path)
{
    const struct rule *rule = judge(folder_rules, name);
    char real[PATH_MAX];
    if (rule->verdict == REPLACED)
        return WF_OK;
    if (rule->verdict == LEFT_OUT)
        return leave_out(l, name, rule->reason);
    if (!realpath(path, real) || !wf_path_below(l->inside, real))
        return leave_out(l, name, "a link out of the model's folder");
    const char **names;
    size_t n;
    int s = wf_folder_names(l->e, l->a, path, &names, &n);
    for (size_t i = 0; i < n && !s; i++) {
        const char *relative = wf_path_join(l->a, l->e, name, names[i]);
        s = relative ? add_entry(l, relative, true) : wf_err_status(l->e);
    }
    return s;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct wf_sidecar *)a)->name, ((const struct wf_sidecar *)b)->name);
}

int wf_sidecar_list(struct wf_err *e, struct wf_arena *a, const struct wf_place *place,
                    struct wf_sidecars *out)
{
    struct listing l = {.e = e, .a = a, .place = place, .out = out};
    memset(out, 0, sizeof *out);
    if (!wf_is_folder(place->path))
        return WF_OK;
    if (!realpath(place->boundary ? place->boundary : place->path, l.inside))
        return wf_fail_errno(e, WF_INPUT, errno, "%s", place->path);
    const char **names;
    size_t n;
    int s = wf_folder_names(e, a, place->path, &names, &n);
    for (size_t i = 0; i < n && !s; i++)
        s = add_entry(&l, names[i], false);
    if (!s && out->n)
        qsort(out->files, out->n, sizeof *out->files, by_name);
    return s;
}

int wf_side_text_put(struct wf_err *e, struct wf_arena *a, struct wf_side_text **list,
                     const char *name, const char *text, size_t n)
{
    struct wf_side_text **at = list;
    while (*at && strcmp((*at)->name, name) != 0)
        at = &(*at)->next;
    if (!*at)
        *at = wf_arena_alloc(a, e, 1, sizeof **at);
    if (!*at)
        return WF_MACHINE;
    **at = (struct wf_side_text){.name = name, .text = text, .n = n, .next = (*at)->next};
    return WF_OK;
}

const struct wf_side_text *wf_side_text_find(const struct wf_side_text *list, const char *name)
{
    while (list && strcmp(list->name, name) != 0)
        list = list->next;
    return list;
}

bool wf_sidecar_is_tokenizer(const char *name)
{
    static const char *const globs[] = {"tokenizer*.json",
                                        "tokenizer*.model",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "vocab.txt",
                                        "merges.txt",
                                        "normalizer.json",
                                        "spiece.model",
                                        "sentencepiece*.model",
                                        "*.tiktoken",
                                        "tekken.json",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "additional_chat_templates/*",
                                        NULL};
    for (size_t i = 0; globs[i]; i++)
        if (wf_glob(globs[i], name))
            return true;
    return false;
}

/* Makes folder/<part of name before its '/'>, if there is one; *made gets it, else the folder. */
static int make_sub_folder(struct wf_err *e, struct wf_arena *a, const char *folder,
                           const char *name, const char **made)
{
    const char *slash = strchr(name, '/');
    *made = folder;
    if (!slash)
        return WF_OK;
    char *path = wf_arena_printf(a, e, "%s/%.*s", folder, (int)(slash - name), name);
    if (!path)
        return wf_err_status(e);
    *made = path;
    int s = wf_make_folder(e, path);
    return s ? s : wf_sync_folder(e, folder);
}

const struct wf_sidecar *wf_sidecar_find(const struct wf_sidecars *cars, const char *name)
{
    for (size_t i = 0; cars && i < cars->n; i++)
        if (!strcmp(cars->files[i].name, name))
            return &cars->files[i];
    return NULL;
}

int wf_sidecar_planned(struct wf_err *e, struct wf_arena *a, const struct wf_sidecars *cars,
                       const struct wf_side_text *texts, struct wf_sidecars *out)
{
    *out = (struct wf_sidecars){.files = wf_arena_alloc(a, e, cars->n, sizeof *out->files),
                                .hash = cars->hash};
    for (size_t i = 0; out->files && i < cars->n; i++)
        if (!wf_side_text_find(texts, cars->files[i].name))
            out->files[out->n++] = cars->files[i];
    return out->files ? WF_OK : WF_MACHINE;
}

int wf_sidecar_copy(struct wf_err *e, const struct wf_sidecar *s, const char *folder)
{
    struct wf_arena scratch = {0};
    const char *to_folder, *to;
    char *text = NULL;
    size_t n;
    int status = wf_read_small(e, WF_INPUT, s->path, FILE_BYTES_MAX, &text, &n);
    if (!status)
        status = make_sub_folder(e, &scratch, folder, s->name, &to_folder);
    if (status)
        goto out;
    to = wf_path_join(&scratch, e, folder, s->name);
    status = to ? wf_write_small(e, to, text, n) : wf_err_status(e);
    if (!status && to_folder != folder)
        status =
            wf_sync_folder(e, to_folder); /* the folder itself is synced when it is published */
out:
    wf_free(text);
    wf_arena_destroy(&scratch);
    return status;
}
