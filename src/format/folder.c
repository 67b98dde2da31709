/* folder.c - listing a model folder; see folder.h. */
#include "folder.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../base/fault.h"
#include "../base/file.h"

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct name_list {
    const char **names; /* wf_realloc */
    size_t n, capacity;
};

static int list_add(struct wf_err *e, struct wf_arena *a, const char *path, struct name_list *l,
                    const char *name)
{
    if (l->n == WF_FOLDER_NAMES_MAX)
        return wf_fail(e, WF_INPUT, "%s: more than %u files; this is no model folder", path,
                       WF_FOLDER_NAMES_MAX);
    if (l->n == l->capacity) {
        size_t capacity = l->capacity ? l->capacity * 2 : 64;
        const char **names = wf_realloc(e, l->names, capacity, sizeof *names, "a list of files");
        if (!names)
            return wf_err_status(e);
        l->names = names;
        l->capacity = capacity;
    }
    char *copy = wf_arena_strdup(a, e, name);
    if (!copy)
        return wf_err_status(e);
    l->names[l->n++] = copy;
    return WF_OK;
}

static int list_read(struct wf_err *e, struct wf_arena *a, const char *path, DIR *d,
                     struct name_list *l)
{
    for (;;) {
        errno = 0;
        struct dirent *entry = wf_fault(WF_FAULT_READ) ? (errno = EIO, NULL) : readdir(d);
        if (!entry && errno)
            return wf_fail_errno(e, WF_INPUT, errno, "%s: cannot list the folder", path);
        if (!entry)
            return WF_OK;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        int s = list_add(e, a, path, l, entry->d_name);
        if (s)
            return s;
    }
}

int wf_folder_names(struct wf_err *e, struct wf_arena *a, const char *path, const char ***names,
                    size_t *n_names)
{
    DIR *d = wf_fault(WF_FAULT_OPEN) ? (errno = EIO, NULL) : opendir(path);
    if (!d)
        return wf_fail_errno(e, WF_INPUT, errno, "%s: cannot open the folder", path);
    struct name_list list = {0};
    int s = list_read(e, a, path, d, &list);
    if (s)
        goto out;
    *names = wf_arena_alloc(a, e, list.n, sizeof **names);
    if (!*names) {
        s = wf_err_status(e);
        goto out;
    }
    *n_names = list.n;
    if (list.n) {
        memcpy(*names, list.names, list.n * sizeof **names);
        qsort(*names, list.n, sizeof **names, by_text);
    }
out:
    wf_free(list.names);
    closedir(d);
    return s;
}

bool wf_folder_has(const char *const *names, size_t n_names, const char *name)
{
    return n_names && bsearch(&name, names, n_names, sizeof *names, by_text);
}

bool wf_path_below(const char *folder, const char *path)
{
    size_t n = strlen(folder);
    while (n && folder[n - 1] == '/') /* "/" itself: everything is below it */
        n--;
    return !strncmp(folder, path, n) && path[n] == '/' && path[n + 1];
}

int wf_place_check(struct wf_err *e, const struct wf_place *place, const char *path)
{
    if (!place->boundary)
        return WF_OK;
    char real[PATH_MAX];
    if (!realpath(path, real))
        return wf_fail_errno(e, WF_INPUT, errno,
                             "%s: the link does not lead to a file; download it again", path);
    if (!wf_path_below(place->boundary, real))
        return wf_fail(e, WF_INPUT, "%s: the link leads to %s, outside of %s", path, real,
                       place->boundary);
    return WF_OK;
}

int wf_folder_empty_last(struct wf_err *e, const char *folder, const char *last)
{
    struct wf_arena a = {0};
    const char **names, *end = wf_path_join(&a, e, folder, last);
    size_t n = 0;
    int status = end ? wf_folder_names(e, &a, folder, &names, &n) : WF_MACHINE;
    for (size_t i = 0; !status && i < n; i++) {
        const char *path = wf_path_join(&a, e, folder, names[i]);
        if (!path)
            status = WF_MACHINE;
        else if (strcmp(names[i], last) != 0)
            status = wf_remove_tree(e, path);
    }
    if (!status)
        status = wf_remove_tree(e, end);
    wf_arena_destroy(&a);
    return status;
}
