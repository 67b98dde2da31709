/* replaceable.c - whose files a folder holds; see replaceable.h. */
#include "replaceable.h"

#include <string.h>

#include "../base/file.h"
#include "../base/str.h"
#include "../format/folder.h"
#include "../format/manifest.h"
#include "../stream/journal.h"

#define DEPTH_MAX 8u /* of folders in OUT; task deltas may lie deep */

/* What mergekit writes, or copies from models, into its output. */
static const char *const mergekit_names[] = {
    "mergekit_config.yml",
    "README.md",
    "config.json",
    "generation_config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "pytorch_model*.bin",
    "pytorch_model.bin.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "merges.txt",
    "vocab.json",
    "vocab.txt",
    "normalizer.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/*.jinja",
    "*preprocessor_config.json",
    "processor_config.json",
    NULL,
};

struct search {
    struct wf_err *e;
    struct wf_arena *a;
    const char *root;
    const struct wf_manifest *manifest; /* NULL: mergekit made the folder */
    const char *foreign;                /* the first name that nobody vouches for, from the root */
};

static bool is_ours(const struct search *s, const char *name)
{
    if (!s->manifest) {
        for (size_t i = 0; mergekit_names[i]; i++)
            if (!strchr(name, '/') == !strchr(mergekit_names[i], '/') &&
                wf_glob(mergekit_names[i], name))
                return true;
        return false;
    }
    for (size_t i = 0; i < s->manifest->n_files; i++)
        if (!strcmp(s->manifest->files[i].name, name))
            return true;
    /* A run that was killed right after the rename has left its journal. */
    return !strcmp(name, WF_MANIFEST_NAME) || !strcmp(name, WF_JOURNAL_NAME);
}

/* Looks through the folder `below` ("" or "deltas") until something foreign is found. */
static int look(struct search *s, const char *below, unsigned depth)
{
    const char *path = *below ? wf_path_join(s->a, s->e, s->root, below) : s->root;
    const char **names;
    size_t n;
    int status = path ? wf_folder_names(s->e, s->a, path, &names, &n) : WF_MACHINE;
    for (size_t i = 0; !status && !s->foreign && i < n; i++) {
        const char *name = *below ? wf_path_join(s->a, s->e, below, names[i]) : names[i];
        const char *at = name ? wf_path_join(s->a, s->e, s->root, name) : NULL;
        if (!at)
            return WF_MACHINE;
        if (wf_is_folder(at) && !wf_is_link(at) && depth < DEPTH_MAX)
            status = look(s, name, depth + 1);
        else if (wf_is_link(at) || !is_ours(s, name))
            s->foreign = name;
    }
    return status;
}

static bool has_file(struct search *s, const char *name)
{
    const char *path = wf_path_join(s->a, s->e, s->root, name);
    return path && wf_is_file(path);
}

int wf_replaceable(struct wf_err *e, struct wf_arena *a, const char *folder, bool *may,
                   const char **why)
{
    struct search s = {.e = e, .a = a, .root = folder};
    struct wf_manifest manifest;
    struct wf_err unread = {0};
    *may = false;
    *why = "is a link";
    if (wf_is_link(folder))
        return WF_OK;
    *may = wf_folder_is_empty(folder);
    if (*may)
        return WF_OK;
    *why = "is no merge of weft's or mergekit's";
    bool ours = has_file(&s, WF_MANIFEST_NAME);
    if (!ours && !has_file(&s, mergekit_names[0]))
        return wf_err_status(e);
    const char *path = wf_path_join(a, e, folder, WF_MANIFEST_NAME);
    if (!path)
        return WF_MACHINE;
    if (ours && wf_manifest_read(&unread, a, path, &manifest)) {
        *why = "has a " WF_MANIFEST_NAME " that cannot be read";
        return WF_OK;
    }
    s.manifest = ours ? &manifest : NULL;
    int status = look(&s, "", 0);
    *may = !status && !s.foreign;
    if (s.foreign)
        *why = wf_arena_printf(a, e, "holds '%s', which %s did not write", s.foreign,
                               ours ? "weft" : "mergekit");
    return *why ? status : WF_MACHINE;
}
