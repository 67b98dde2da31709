/* territory.h - the places a merge will write, replace or remove, and whether a path leads there.
 */
#ifndef WF_TERRITORY_H
#define WF_TERRITORY_H

#include <limits.h>
#include <stdbool.h>

struct wf_territory {
    char out[PATH_MAX];     /* OUT, links resolved */
    char place[PATH_MAX];   /* OUT itself, in its resolved parent: a link there is replaced */
    char partial[PATH_MAX]; /* OUT.partial */
    char stages[PATH_MAX];  /* OUT.stages; empty: no stage goes there */
};

/* `parent` is OUT's parent folder; `staged`: stages go to OUT.stages. False when a path cannot be
 * resolved or is too long. */
bool wf_territory_set(struct wf_territory *t, const char *out, const char *parent, bool staged);

/* True if `path` lies in the territory, or any link on the way to it does. */
bool wf_territory_holds(const struct wf_territory *t, const char *path);

/* `inner` is `outer` or lies below it; both absolute and resolved. */
bool wf_path_within(const char *inner, const char *outer);

#endif
