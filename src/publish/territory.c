/* territory.c - following a path step by step, as the kernel does, and looking at every step. */
#include "territory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/str.h"

#define LINKS_MAX 64

bool wf_path_within(const char *inner, const char *outer)
{
    size_t n = strlen(outer);
    if (!strcmp(outer, "/"))
        return true;
    return !strncmp(inner, outer, n) && (inner[n] == 0 || inner[n] == '/');
}

bool wf_territory_set(struct wf_territory *t, const char *out, const char *parent, bool staged)
{
    char folder[PATH_MAX];
    size_t n;
    const char *last = wf_path_last(out, &n);
    if (!realpath(parent, folder))
        return false;
    const char *slash = strcmp(folder, "/") ? "/" : "";
    int size = snprintf(t->place, PATH_MAX, "%s%s%.*s", folder, slash, (int)n, last);
    int more = snprintf(t->partial, PATH_MAX, "%s%s%.*s.partial", folder, slash, (int)n, last);
    int most = snprintf(t->stages, PATH_MAX, "%s%s%.*s.stages", folder, slash, (int)n, last);
    if (size >= PATH_MAX || more >= PATH_MAX || most >= PATH_MAX)
        return false;
    if (!staged)
        t->stages[0] = 0;
    if (!realpath(out, t->out))
        memcpy(t->out, t->place, sizeof t->out);
    return true;
}

static bool is_inside(const struct wf_territory *t, const char *path)
{
    return wf_path_within(path, t->out) || wf_path_within(path, t->place) ||
           wf_path_within(path, t->partial) || (*t->stages && wf_path_within(path, t->stages));
}

/* What is still to be walked: `rest`, from the resolved folder `at`. */
struct walk {
    char at[PATH_MAX], rest[2 * PATH_MAX];
    int links;
};

/* The link at w->at leads to `target`: walk there, then on. False when that is too long. */
static bool follow(struct walk *w, const char *target)
{
    char joined[2 * PATH_MAX];
    if (snprintf(joined, sizeof joined, "%s/%s", target, w->rest) >= (int)sizeof joined)
        return false;
    memcpy(w->rest, joined, sizeof joined);
    char *slash = strrchr(w->at, '/'); /* the link itself is not part of the way */
    *(*target == '/' ? w->at : slash) = 0;
    return ++w->links <= LINKS_MAX;
}

/* Takes one component off `rest` and goes there. False at the end or when the way is broken. */
static bool step(struct walk *w)
{
    char name[PATH_MAX];
    size_t skip = strspn(w->rest, "/"), n = strcspn(w->rest + skip, "/"), at = strlen(w->at);
    if (n == 0 || n >= sizeof name || at + n + 2 > sizeof w->at)
        return false;
    memcpy(name, w->rest + skip, n);
    name[n] = 0;
    memmove(w->rest, w->rest + skip + n, strlen(w->rest + skip + n) + 1);
    if (!strcmp(name, "."))
        return true;
    if (!strcmp(name, "..")) {
        char *slash = strrchr(w->at, '/');
        if (slash)
            *slash = 0;
        return true;
    }
    w->at[at] = '/';
    memcpy(w->at + at + 1, name, n + 1);
    return true;
}

bool wf_territory_holds(const struct wf_territory *t, const char *path)
{
    struct walk w = {.links = 0};
    char target[PATH_MAX];
    if (*path != '/' && !realpath(".", w.at))
        return false;
    if (!strcmp(w.at, "/"))
        w.at[0] = 0;
    if (snprintf(w.rest, sizeof w.rest, "%s", path) >= (int)sizeof w.rest)
        return false;
    while (step(&w)) {
        if (is_inside(t, w.at))
            return true;
        ssize_t n = readlink(w.at, target, sizeof target - 1);
        if (n < 0)
            continue;
        target[n] = 0;
        if (!follow(&w, target))
            return false;
    }
    return false;
}
