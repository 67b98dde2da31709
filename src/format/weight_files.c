/* weight_files.c - which files of a model folder are its weights; see weight_files.h. */
#include "weight_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/file.h"
#include "../base/num.h"
#include "../base/str.h"
#include "folder.h"

#define LISTED_MAX 5 /* names that an error spells out */

struct search {
    struct wf_err *e;
    struct wf_arena *a;
    const struct wf_place *place;
    const char *const *names;
    size_t n_names;
    struct wf_weight_files *out;
    const char *advice; /* how to get what is missing */
};

static bool has(const struct search *s, const char *name)
{
    return wf_folder_has(s->names, s->n_names, name);
}

/* The first name that matches, or NULL. */
static const char *first_like(const struct search *s, const char *glob)
{
    for (size_t i = 0; i < s->n_names; i++)
        if (wf_glob(glob, s->names[i]))
            return s->names[i];
    return NULL;
}

/* What to do about missing files; NULL without memory. */
static const char *download_again(struct wf_err *e, struct wf_arena *a, const struct wf_place *p)
{
    if (!p->repository)
        return "download or copy the folder again";
    return wf_arena_printf(a, e, "run again: hf download %s --revision %s", p->repository,
                           p->revision);
}

/* ---- lists of missing files -------------------------------------------------------------------
 */

struct missing {
    struct wf_str list;
    size_t n;
};

static void missing_add(struct missing *m, const char *name)
{
    if (m->n++ < LISTED_MAX)
        wf_str_printf(&m->list, "%s%s", m->n > 1 ? ", " : "", name);
}

/* Reports what was collected, if anything; releases the list. */
static int missing_report(const struct search *s, struct missing *m, size_t n_wanted,
                          const char *wanted_by)
{
    int status = WF_OK;
    if (m->n > LISTED_MAX)
        wf_str_printf(&m->list, " and %zu more", m->n - LISTED_MAX);
    if (m->n && !(status = wf_str_finish(&m->list, s->e)))
        status =
            wf_fail(s->e, WF_INPUT, "%s: incomplete: %zu of %zu files that %s are missing: %s; %s",
                    s->place->path, m->n, n_wanted, wanted_by, m->list.text, s->advice);
    wf_str_free(&m->list);
    return status;
}

/* True if nothing is there, or a link that leads nowhere: a file of the cache that was not fetched.
 */
static bool is_absent(const char *path)
{
    struct stat st;
    return stat(path, &st) && (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG);
}

static int check_present(const struct search *s, const char *wanted_by)
{
    struct missing m = {0};
    for (size_t i = 0; i < s->out->n_files; i++) {
        char *path = wf_path_join(s->a, s->e, s->place->path, s->out->files[i]);
        if (!path) {
            wf_str_free(&m.list);
            return wf_err_status(s->e);
        }
        if (is_absent(path))
            missing_add(&m, s->out->files[i]);
    }
    return missing_report(s, &m, s->out->n_files, wanted_by);
}

/* ---- the four forms ---------------------------------------------------------------------------
 */

static int take_one(const struct search *s, const char *name)
{
    s->out->files = wf_arena_alloc(s->a, s->e, 1, sizeof *s->out->files);
    if (!s->out->files)
        return wf_err_status(s->e);
    s->out->files[0] = name;
    s->out->n_files = 1;
    return check_present(s, "the folder links to");
}

static int take_index(const struct search *s)
{
    struct wf_weight_files *out = s->out;
    char *path = wf_path_join(s->a, s->e, s->place->path, WF_INDEX_NAME);
    if (!path)
        return wf_err_status(s->e);
    int status = wf_place_check(s->e, s->place, path);
    if (!status)
        status = wf_st_index_read(s->e, s->a, path, &out->index);
    if (status)
        return status;
    out->has_index = true;
    bool single_is_shard = wf_folder_has(out->index.files, out->index.n_files, WF_SINGLE_NAME);
    if (has(s, WF_SINGLE_NAME) && !single_is_shard) {
        out->both = true;
        for (size_t i = 0; i < out->index.n; i++)
            out->index.entries[i].file = 0;
        return take_one(s, WF_SINGLE_NAME);
    }
    out->files = out->index.files;
    out->n_files = out->index.n_files;
    return check_present(s, "the index names");
}

/* "model-00002-of-00005.safetensors": number 2 of 5. */
static bool parse_shard_name(const char *name, uint64_t *number, uint64_t *of)
{
    static const char pattern[] = "model-NNNNN-of-NNNNN.safetensors";
    if (strlen(name) != sizeof pattern - 1)
        return false;
    return !strncmp(name, "model-", 6) && wf_parse_u64(name + 6, 5, number) &&
           !strncmp(name + 11, "-of-", 4) && wf_parse_u64(name + 15, 5, of) &&
           !strcmp(name + 20, ".safetensors") && *number >= 1 && *number <= *of;
}

/* Shards without an index: only a complete set 1..N is a model. */
static int take_shards(const struct search *s, const char *first)
{
    struct wf_weight_files *out = s->out;
    uint64_t number, of, total = 0;
    if (parse_shard_name(first, &number, &total))
        out->files = wf_arena_alloc(s->a, s->e, total, sizeof *out->files);
    if (!out->files)
        return wf_err_status(s->e);
    for (size_t i = 0; i < s->n_names; i++) {
        if (!parse_shard_name(s->names[i], &number, &of))
            continue;
        if (of != total)
            return wf_fail(s->e, WF_INPUT,
                           "%s: no index, and shards of two sets: %s and %s; remove one set",
                           s->place->path, first, s->names[i]);
        out->files[number - 1] = s->names[i];
    }
    struct missing m = {0};
    for (uint64_t i = 0; i < total; i++) {
        char name[64];
        snprintf(name, sizeof name, "model-%05u-of-%05u.safetensors", (unsigned)i + 1,
                 (unsigned)total);
        if (!out->files[i])
            missing_add(&m, name);
    }
    out->n_files = total;
    int status = missing_report(s, &m, total, "the shards' numbers call for");
    return status ? status : check_present(s, "the folder links to");
}

static int take_adapter(const struct search *s)
{
    const char *path = s->place->path;
    s->out->is_adapter = true;
    if (has(s, WF_ADAPTER_NAME))
        return take_one(s, WF_ADAPTER_NAME);
    if (has(s, "adapter_model.bin"))
        return wf_fail(
            s->e, WF_USAGE,
            "%s: the adapter is in PyTorch's pickle form (adapter_model.bin); weft reads "
            "safetensors: load and save it with PEFT, which writes " WF_ADAPTER_NAME,
            path);
    return wf_fail(s->e, WF_INPUT, "%s: incomplete: %s without %s; %s", path,
                   WF_ADAPTER_CONFIG_NAME, WF_ADAPTER_NAME, s->advice);
}

/* ---- no weights -------------------------------------------------------------------------------
 */

/* A sub-folder that holds an adapter: PEFT saves adapters that are not called "default" one level
 * down. NULL if there is none; without memory too, which the caller's message survives. */
static const char *adapter_below(const struct search *s)
{
    for (size_t i = 0; i < s->n_names; i++) {
        char *folder = wf_path_join(s->a, s->e, s->place->path, s->names[i]);
        if (!folder || !wf_is_folder(folder))
            continue;
        const char *config = wf_path_join(s->a, s->e, folder, WF_ADAPTER_CONFIG_NAME);
        if (config && wf_is_file(config))
            return s->names[i];
    }
    return NULL;
}

static int no_weights(const struct search *s)
{
    const char *path = s->place->path;
    const char *name;
    if (has(s, WF_ADAPTER_NAME))
        return wf_fail(s->e, WF_INPUT, "%s: incomplete: %s without %s; %s", path, WF_ADAPTER_NAME,
                       WF_ADAPTER_CONFIG_NAME, s->advice);
    if ((name = first_like(s, "pytorch_model*.bin")))
        return wf_fail(s->e, WF_USAGE,
                       "%s: the weights are in PyTorch's pickle form (%s); weft reads safetensors: "
                       "get a revision that has model.safetensors, or load and save the model with "
                       "transformers",
                       path, name);
    if ((name = first_like(s, "*.incomplete")))
        return wf_fail(s->e, WF_INPUT, "%s: an unfinished download (%s) and no weights; %s", path,
                       name, s->advice);
    if ((name = first_like(s, "*.safetensors")))
        return wf_fail(s->e, WF_USAGE,
                       "%s: neither model.safetensors nor its index; to use %s, name that file",
                       path, name);
    if ((name = adapter_below(s)))
        return wf_fail(s->e, WF_USAGE, "%s: no weights here, but an adapter in '%s': name %s/%s",
                       path, name, path, name);
    if (s->place->repository)
        return wf_fail(s->e, WF_INPUT,
                       "%s: the snapshot in the Hub cache holds no weights: the download is "
                       "incomplete; %s",
                       path, s->advice);
    return wf_fail(
        s->e, WF_USAGE,
        "%s: no weights here: expected model.safetensors, or model.safetensors.index.json "
        "with its shards",
        path);
}

static const char *first_shard(const struct search *s)
{
    uint64_t number, of;
    for (size_t i = 0; i < s->n_names; i++)
        if (parse_shard_name(s->names[i], &number, &of))
            return s->names[i];
    return NULL;
}

int wf_weight_files_find(struct wf_err *e, struct wf_arena *a, const struct wf_place *place,
                         const char *const *names, size_t n_names, struct wf_weight_files *out)
{
    struct search s = {e, a, place, names, n_names, out, download_again(e, a, place)};
    memset(out, 0, sizeof *out);
    if (!s.advice)
        return wf_err_status(e);
    if (has(&s, WF_INDEX_NAME))
        return take_index(&s);
    const char *shard = first_shard(&s);
    if (has(&s, WF_SINGLE_NAME) && shard)
        return wf_fail(e, WF_INPUT,
                       "%s: both model.safetensors and %s, and no index that says which is the "
                       "model; name the file, or remove the other",
                       place->path, shard);
    if (has(&s, WF_SINGLE_NAME))
        return take_one(&s, WF_SINGLE_NAME);
    if (shard)
        return take_shards(&s, shard);
    if (has(&s, WF_ADAPTER_CONFIG_NAME))
        return take_adapter(&s);
    return no_weights(&s);
}
