/* st_index.c - reading the index of a sharded checkpoint; see st_index.h. */
#include "st_index.h"

#include <stdlib.h>
#include <string.h>

#include "../base/file.h"
#include "../base/str.h"
#include "json.h"

/* NULL if `name` may stand in an index, else what is wrong with it. */
static const char *file_name_fault(const char *name)
{
    for (const char *p = name; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '\\' || *p == ':')
            return "has a control character, '\\' or ':'";
    if (*name == '/')
        return "is an absolute path";
    for (const char *part = name; part; part = strchr(part, '/')) {
        part += *part == '/';
        size_t n = strcspn(part, "/");
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.'))
            return "has an empty part, '.' or '..'";
    }
    if (!wf_ends_with(name, ".safetensors"))
        return "does not end in .safetensors";
    return NULL;
}

static int check_entry(struct wf_err *e, const char *path, const struct wf_json *member,
                       const char **checked)
{
    if (!*member->key)
        return wf_fail(e, WF_INPUT, "%s: weight_map has a tensor without a name", path);
    if (member->kind != WF_JSON_STRING)
        return wf_fail(e, WF_INPUT, "%s: weight_map '%s': expected a file name", path, member->key);
    if (*checked && !strcmp(*checked, member->text)) /* runs of equal names are the rule */
        return WF_OK;
    const char *fault = file_name_fault(member->text);
    if (fault)
        return wf_fail(e, WF_INPUT,
                       "%s: weight_map '%s': the file name '%s' %s; it must stay inside the folder",
                       path, member->key, member->text, fault);
    *checked = member->text;
    return WF_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int by_name(const void *a, const void *b)
{
    const struct wf_st_index_entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* The distinct file names of the map, sorted, into out->files. */
static void collect_files(const struct wf_json *map, struct wf_st_index *out)
{
    size_t n = 0;
    for (size_t i = 0; i < map->n; i++) {
        const char *file = map->children[i].text;
        if (!n || strcmp(out->files[n - 1], file))
            out->files[n++] = file;
    }
    qsort(out->files, n, sizeof *out->files, by_text);
    for (size_t i = 0; i < n; i++)
        if (!i || strcmp(out->files[out->n_files - 1], out->files[i]))
            out->files[out->n_files++] = out->files[i];
}

static void collect_entries(const struct wf_json *map, struct wf_st_index *out)
{
    uint32_t file = 0;
    for (size_t i = 0; i < map->n; i++) {
        const struct wf_json *member = &map->children[i];
        if (strcmp(out->files[file], member->text)) {
            const char **hit =
                bsearch(&member->text, out->files, out->n_files, sizeof *out->files, by_text);
            file = (uint32_t)(hit - out->files);
        }
        out->entries[i] = (struct wf_st_index_entry){member->key, file};
    }
    out->n = map->n;
    qsort(out->entries, out->n, sizeof *out->entries, by_name);
}

int wf_st_index_parse(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                      size_t n, struct wf_st_index *out)
{
    struct wf_json *root;
    const char *checked = NULL;
    memset(out, 0, sizeof *out);
    int s = wf_json_parse(e, a, path, text, n, WF_JSON_STRICT, &root);
    if (s)
        return s;
    const struct wf_json *map = wf_json_get(root, "weight_map");
    if (!map || map->kind != WF_JSON_OBJECT)
        return wf_fail(e, WF_INPUT, "%s: no object 'weight_map'; this is no safetensors index",
                       path);
    if (!map->n)
        return wf_fail(e, WF_INPUT, "%s: weight_map is empty", path);
    if (map->n > UINT32_MAX)
        return wf_fail(e, WF_INPUT, "%s: weight_map has too many tensors", path);
    for (size_t i = 0; i < map->n && !s; i++)
        s = check_entry(e, path, &map->children[i], &checked);
    if (s)
        return s;
    out->files = wf_arena_alloc(a, e, map->n, sizeof *out->files);
    out->entries = wf_arena_alloc(a, e, map->n, sizeof *out->entries);
    if (!out->files || !out->entries)
        return wf_err_status(e);
    collect_files(map, out);
    collect_entries(map, out);
    return WF_OK;
}

int wf_st_index_read(struct wf_err *e, struct wf_arena *a, const char *path,
                     struct wf_st_index *out)
{
    char *text;
    size_t n;
    int s = wf_read_small(e, WF_INPUT, path, WF_ST_INDEX_BYTES_MAX, &text, &n);
    if (s)
        return s;
    s = wf_st_index_parse(e, a, path, text, n, out);
    wf_free(text);
    return s;
}
