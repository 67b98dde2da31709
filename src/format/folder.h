/* folder.h - the names in a folder, and how far links in a model folder may lead. */
#ifndef WF_FOLDER_H
#define WF_FOLDER_H

#include <stdbool.h>
#include <stddef.h>

#include "../base/mem.h"
#include "../base/status.h"
#include "hub.h"

#define WF_FOLDER_NAMES_MAX 1000000u

/* The names in a folder, hidden ones included, "." and ".." not; sorted bytewise. A folder that
 * cannot be read is WF_INPUT. */
int wf_folder_names(struct wf_err *e, struct wf_arena *a, const char *path, const char ***names,
                    size_t *n_names);

/* True if `name` is in the sorted list. */
bool wf_folder_has(const char *const *names, size_t n_names, const char *name);

/* True if resolved path `path` lies below resolved folder `folder`. */
bool wf_path_below(const char *folder, const char *path);

/* Refuses (WF_INPUT) a path whose links lead outside place->boundary; anything passes without one.
 */
int wf_place_check(struct wf_err *e, const struct wf_place *place, const char *path);

/* Removes what is in a folder and keeps the folder; the entry `last`, if there is one, after all
 * else. */
int wf_folder_empty_last(struct wf_err *e, const char *folder, const char *last);

#endif
