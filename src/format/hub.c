/* hub.c - from the text of a model reference to a folder or file on this machine; see hub.h.
 *
 *   <cache>/models--org--name/
 *     refs/<revision>        40 hex digits: the commit
 *     snapshots/<commit>/    the model folder: links to ../../blobs/<id>
 *     blobs/<id>
 */
#include "hub.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/file.h"
#include "../base/str.h"
#include "folder.h"

#define ID_PART_MAX 96
#define REVISION_MAX 256
#define REF_BYTES_MAX 4096
#define COMMIT_DIGITS 40

/* What one resolution carries around. `at` is `where` with ": ", or "". */
struct lookup {
    struct wf_err *e;
    struct wf_arena *a;
    const char *at;
    const char *text;
    struct wf_place *out;
};

static int out_of_memory(const struct lookup *l)
{
    return wf_err_status(l->e);
}

/* ---- ~ and $NAME ------------------------------------------------------------------------------
 */

static const char *env(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static size_t name_length(const char *p)
{
    size_t n = 0;
    if (isalpha((unsigned char)p[0]) || p[0] == '_')
        while (isalnum((unsigned char)p[n]) || p[n] == '_')
            n++;
    return n;
}

/* Appends the value of the variable at p ("$NAME", "${NAME}"); *used gets its length in the text.
 * A dollar sign that starts no name stands for itself. */
static int add_variable(struct wf_err *e, const char *at, const char *text, const char *p,
                        struct wf_str *s, size_t *used)
{
    int braces = p[1] == '{';
    size_t n = name_length(p + 1 + braces);
    if (braces && (!n || p[2 + n] != '}'))
        return wf_fail(e, WF_USAGE, "%s'%s': '${' without a name and '}'", at, text);
    *used = n ? 1 + n + 2 * (size_t)braces : 1;
    if (!n) {
        wf_str_puts(s, "$");
        return WF_OK;
    }
    char name[128];
    if (n >= sizeof name)
        return wf_fail(e, WF_USAGE, "%s'%s': a variable's name is too long", at, text);
    memcpy(name, p + 1 + braces, n);
    name[n] = 0;
    const char *value = getenv(name);
    if (!value)
        return wf_fail(e, WF_USAGE, "%s'%s': the environment variable %s is not set", at, text,
                       name);
    wf_str_puts(s, value);
    return WF_OK;
}

static int expand(struct wf_err *e, const char *at, const char *text, struct wf_str *s)
{
    const char *p = text;
    if (p[0] == '~' && (p[1] == '/' || !p[1])) {
        const char *home = env("HOME");
        if (!home)
            return wf_fail(e, WF_USAGE, "%s'%s': HOME is not set, so '~' means nothing", at, text);
        wf_str_puts(s, home);
        p++;
    }
    while (*p) {
        size_t used = strcspn(p, "$");
        wf_str_add(s, p, used);
        p += used;
        if (!*p)
            break;
        int status = add_variable(e, at, text, p, s, &used);
        if (status)
            return status;
        p += used;
    }
    return wf_str_finish(s, e);
}

static char *prefix_of(struct wf_err *e, struct wf_arena *a, const char *where)
{
    return wf_arena_printf(a, e, "%s%s", where, *where ? ": " : "");
}

int wf_expand_path(struct wf_err *e, struct wf_arena *a, const char *where, const char *text,
                   const char **out)
{
    const char *at = prefix_of(e, a, where);
    if (!at)
        return wf_err_status(e);
    struct wf_str s = {0};
    int status = expand(e, at, text, &s);
    if (!status) {
        *out = wf_arena_strndup(a, e, s.text, s.n);
        status = *out ? WF_OK : wf_err_status(e);
    }
    wf_str_free(&s);
    return status;
}

/* ---- paths ------------------------------------------------------------------------------------
 */

static bool is_commit(const char *text)
{
    return strspn(text, "0123456789abcdef") == COMMIT_DIGITS && !text[COMMIT_DIGITS];
}

/* A local folder may be a snapshot of a Hub cache, given by its path: its links lead to the blobs
 * beside it, and no further. Sets the boundary then. */
static int find_boundary(const struct lookup *l, const char *path)
{
    char real[PATH_MAX];
    if (!realpath(path, real))
        return WF_OK;
    char *commit = strrchr(real, '/');
    if (!commit || !is_commit(commit + 1))
        return WF_OK;
    *commit = 0;
    char *snapshots = strrchr(real, '/');
    if (!snapshots || strcmp(snapshots, "/snapshots"))
        return WF_OK;
    *snapshots = 0;
    char *repository = strrchr(real, '/');
    if (!repository || !wf_starts_with(repository, "/models--"))
        return WF_OK;
    l->out->boundary = wf_arena_strdup(l->a, l->e, real);
    return l->out->boundary ? WF_OK : out_of_memory(l);
}

/* Takes `path` if it exists; *found says so. What exists and is no model is an error. */
static int try_path(const struct lookup *l, const char *path, bool *found)
{
    struct stat st;
    *found = false;
    if (stat(path, &st)) {
        if (errno == ENOENT && !lstat(path, &st))
            return wf_fail(l->e, WF_USAGE, "%s%s is a link to something that is not there", l->at,
                           path);
        if (errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG)
            return WF_OK;
        return wf_fail_errno(l->e, WF_INPUT, errno, "%scannot look at %s", l->at, path);
    }
    *found = true;
    l->out->path = path;
    if (S_ISDIR(st.st_mode))
        return find_boundary(l, path);
    if (!S_ISREG(st.st_mode))
        return wf_fail(l->e, WF_INPUT, "%s%s is neither a folder nor a regular file", l->at, path);
    if (!wf_ends_with(path, ".safetensors"))
        return wf_fail(l->e, WF_USAGE,
                       "%s%s is not a model: give its folder, or a .safetensors file", l->at, path);
    return WF_OK;
}

/* ---- the cache --------------------------------------------------------------------------------
 */

/* NULL if `id` is a name the Hub allows, else what is wrong with it. */
static const char *id_fault(const char *id)
{
    size_t parts = 1, start = 0;
    for (size_t i = 0;; i++) {
        char c = id[i];
        if (c && c != '/') {
            if (!isalnum((unsigned char)c) && !strchr("._-", c))
                return "a Hub name has only letters, digits, '.', '_' and '-'";
            continue;
        }
        size_t n = i - start;
        if (!n || n > ID_PART_MAX)
            return "each part of a Hub name has 1 to 96 characters";
        if (strchr("-.", id[start]) || strchr("-.", id[i - 1]))
            return "no part of a Hub name starts or ends with '-' or '.'";
        if (!c)
            break;
        start = i + 1;
        parts++;
    }
    if (parts > 2)
        return "a Hub name is 'name' or 'org/name'";
    if (strstr(id, "--") || strstr(id, ".."))
        return "a Hub name has no '--' and no '..'";
    return wf_ends_with(id, ".git") ? "a Hub name does not end in '.git'" : NULL;
}

static const char *revision_fault(const char *revision)
{
    if (!*revision)
        return "the revision after '@' is empty";
    if (strlen(revision) > REVISION_MAX)
        return "the revision is too long";
    if (*revision == '/' || strstr(revision, "..") || strchr(revision, '\\'))
        return "a revision is a branch, a tag or a commit: no leading '/', no '..', no '\\'";
    return NULL;
}

struct cache {
    const char *folder; /* expanded */
    const char *source; /* the variable it comes from, for messages */
};

#define CACHES_MAX 3

static int set_cache(struct wf_err *e, struct wf_arena *a, const char *variable, const char *tail,
                     struct cache *out)
{
    const char *folder;
    int s = wf_expand_path(e, a, variable, env(variable), &folder);
    if (s)
        return s;
    out->folder = wf_arena_printf(a, e, "%s%s", folder, tail);
    out->source = variable;
    return out->folder ? WF_OK : wf_err_status(e);
}

int wf_hub_cache(struct wf_err *e, struct wf_arena *a, const char **folder, const char **source)
{
    static const struct {
        const char *variable, *tail;
    } rules[] = {
        {"HF_HUB_CACHE", ""},
        {"HUGGINGFACE_HUB_CACHE", ""},
        {"HF_HOME", "/hub"},
        {"XDG_CACHE_HOME", "/huggingface/hub"},
        {"HOME", "/.cache/huggingface/hub"},
    };
    struct cache found = {0};
    int s = WF_OK;
    for (size_t i = 0; i < sizeof rules / sizeof *rules && !found.source && !s; i++)
        if (env(rules[i].variable))
            s = set_cache(e, a, rules[i].variable, rules[i].tail, &found);
    *folder = found.folder;
    *source = found.source;
    return s;
}

/* The caches to look in: the one the library would use, then those of its older releases. */
static int list_caches(const struct lookup *l, struct cache caches[CACHES_MAX], size_t *n)
{
    static const char *const older[] = {"TRANSFORMERS_CACHE", "PYTORCH_TRANSFORMERS_CACHE"};
    int s = wf_hub_cache(l->e, l->a, &caches[0].folder, &caches[0].source);
    *n = !s && caches[0].folder;
    for (size_t i = 0; i < sizeof older / sizeof *older && !s; i++)
        if (env(older[i]) && !(s = set_cache(l->e, l->a, older[i], "", &caches[*n])))
            ++*n;
    return s;
}

/* <cache>/models--org--name */
static char *repository_folder(const struct lookup *l, const char *cache, const char *id)
{
    const char *slash = strchr(id, '/');
    if (!slash)
        return wf_arena_printf(l->a, l->e, "%s/models--%s", cache, id);
    return wf_arena_printf(l->a, l->e, "%s/models--%.*s--%s", cache, (int)(slash - id), id,
                           slash + 1);
}

/* The first cache that has the repository; *folder is NULL when none has. */
static int find_repository(const struct lookup *l, const char *id, const struct cache *caches,
                           size_t n, const char **folder, const struct cache **cache)
{
    *folder = NULL;
    for (size_t i = 0; i < n; i++) {
        const char *path = repository_folder(l, caches[i].folder, id);
        if (!path)
            return out_of_memory(l);
        if (!wf_is_folder(path))
            continue;
        *folder = path;
        *cache = &caches[i];
        return WF_OK;
    }
    return WF_OK;
}

/* out->commit from refs/<revision>, or the revision itself. */
static int find_commit(const struct lookup *l, const char *repository, const struct cache *cache)
{
    const char *revision = l->out->revision;
    if (is_commit(revision)) {
        l->out->commit = revision;
        return WF_OK;
    }
    const char *path = wf_arena_printf(l->a, l->e, "%s/refs/%s", repository, revision);
    if (!path)
        return out_of_memory(l);
    if (!wf_exists(path))
        return wf_fail(l->e, WF_USAGE,
                       "%s%s: the Hub cache (%s) has no revision '%s': no %s; download it first: "
                       "hf download %s --revision %s",
                       l->at, l->text, cache->source, revision, path, l->out->repository, revision);
    char *text;
    size_t n;
    int s = wf_read_small(l->e, WF_INPUT, path, REF_BYTES_MAX, &text, &n);
    if (s)
        return s;
    size_t skip = strspn(text, " \t\r\n");
    while (n > skip && strchr(" \t\r\n", text[n - 1]))
        n--;
    char *commit = wf_arena_strndup(l->a, l->e, text + skip, n - skip);
    wf_free(text);
    if (!commit)
        return out_of_memory(l);
    if (strlen(commit) != n - skip || !is_commit(commit))
        return wf_fail(l->e, WF_INPUT, "%s%s: expected a commit (40 hex digits); download %s again",
                       l->at, path, l->out->repository);
    l->out->commit = commit;
    return WF_OK;
}

static int find_snapshot(const struct lookup *l, const char *repository, const struct cache *cache)
{
    struct wf_place *p = l->out;
    char real[PATH_MAX];
    if (!realpath(repository, real))
        return wf_fail_errno(l->e, WF_INPUT, errno, "%s%s", l->at, repository);
    p->boundary = wf_arena_strdup(l->a, l->e, real);
    p->path = wf_arena_printf(l->a, l->e, "%s/snapshots/%s", repository, p->commit);
    if (!p->boundary || !p->path)
        return out_of_memory(l);
    if (!wf_is_folder(p->path))
        return wf_fail(l->e, WF_USAGE,
                       "%s%s: the Hub cache (%s) lacks this commit: no folder %s; download it "
                       "first: hf download %s --revision %s",
                       l->at, l->text, cache->source, p->path, p->repository, p->revision);
    return wf_place_check(l->e, p, p->path);
}

static int not_in_cache(const struct lookup *l, const char *id, const struct cache *caches,
                        size_t n)
{
    if (!n)
        return wf_fail(l->e, WF_USAGE,
                       "%sno model '%s': no such folder, and neither HF_HOME nor HOME is set to "
                       "find a Hub cache",
                       l->at, l->text);
    const char *path = repository_folder(l, caches[0].folder, id);
    if (!path)
        return out_of_memory(l);
    return wf_fail(l->e, WF_USAGE,
                   "%sno model '%s': no such folder, and the Hub cache (%s) has no %s; weft does "
                   "not download: hf download %s",
                   l->at, l->text, caches[0].source, path, id);
}

static int look_in_cache(const struct lookup *l, const char *id, const char *revision)
{
    struct cache caches[CACHES_MAX];
    const struct cache *cache = NULL;
    const char *repository;
    size_t n;
    int s = list_caches(l, caches, &n);
    if (!s)
        s = find_repository(l, id, caches, n, &repository, &cache);
    if (s)
        return s;
    if (!repository)
        return not_in_cache(l, id, caches, n);
    l->out->repository = id;
    l->out->revision = revision;
    s = find_commit(l, repository, cache);
    return s ? s : find_snapshot(l, repository, cache);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static int not_a_path(const struct lookup *l, const char *beside, const char *path, const char *why)
{
    const char *dot = why ? "; as a Hub name: " : "";
    if (beside)
        return wf_fail(l->e, WF_USAGE, "%sno model '%s': looked for %s and %s%s%s", l->at, l->text,
                       beside, path, dot, why ? why : "");
    return wf_fail(l->e, WF_USAGE, "%sno model '%s': no folder or file %s%s%s", l->at, l->text,
                   path, dot, why ? why : "");
}

int wf_hub_resolve(struct wf_err *e, struct wf_arena *a, const char *where, const char *text,
                   const char *recipe_folder, struct wf_place *out)
{
    struct lookup l = {.e = e, .a = a, .at = prefix_of(e, a, where), .text = text, .out = out};
    const char *path, *beside = NULL;
    bool found = false;
    memset(out, 0, sizeof *out);
    if (!l.at)
        return out_of_memory(&l);
    if (!*text)
        return wf_fail(e, WF_USAGE, "%sthe model's name is empty", l.at);
    int s = wf_expand_path(e, a, where, text, &path);
    if (s)
        return s;
    if (*path != '/' && recipe_folder && *recipe_folder) {
        beside = wf_path_join(a, e, recipe_folder, path);
        if (!beside)
            return out_of_memory(&l);
        s = try_path(&l, beside, &found);
    }
    if (!s && !found)
        s = try_path(&l, path, &found);
    if (s || found)
        return s;
    if (strchr("./~", *path) || wf_ends_with(path, ".safetensors"))
        return not_a_path(&l, beside, path, NULL);

    char *id = wf_arena_strdup(a, e, path);
    if (!id)
        return out_of_memory(&l);
    char *at_sign = strchr(id, '@');
    if (at_sign)
        *at_sign++ = 0;
    const char *revision = at_sign ? at_sign : "main";
    const char *why = id_fault(id);
    if (!why)
        why = revision_fault(revision);
    return why ? not_a_path(&l, beside, path, why) : look_in_cache(&l, id, revision);
}
