/* replaceable.h - may a folder be replaced without being asked: does it hold a merge, and nothing
 * else?
 */
#ifndef WF_REPLACEABLE_H
#define WF_REPLACEABLE_H

#include <stdbool.h>

#include "../base/mem.h"
#include "../base/status.h"

/* True if `folder` is empty, or holds only files that its own weft_manifest.json lists, or, next to
 * mergekit_config.yml, files of the names that mergekit writes. A link is somebody's, the folder
 * itself or in it. If not, *why is a clause about the folder, in the arena: "holds 'notes.txt',
 * which ...". A folder that cannot be read is WF_INPUT.
 */
int wf_replaceable(struct wf_err *e, struct wf_arena *a, const char *folder, bool *may,
                   const char **why);

#endif
