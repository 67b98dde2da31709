/* hub.h - where a model reference points on this machine: a folder, a file, or the local Hub cache.
 *
 * Never the network. `org/name[@revision]` is looked up in the cache that HF_HUB_CACHE,
 * HUGGINGFACE_HUB_CACHE, HF_HOME, XDG_CACHE_HOME or ~/.cache/huggingface/hub names.
 */
#ifndef WF_HUB_H
#define WF_HUB_H

#include "../base/mem.h"
#include "../base/status.h"

struct wf_place {
    const char *path;       /* existing folder or .safetensors file */
    const char *repository; /* "org/name" for a cache hit, else NULL */
    const char *revision;   /* as asked, "main" by default; NULL for local paths */
    const char *commit;     /* 40 hex digits; NULL for local paths */
    const char *boundary;   /* links inside must resolve below this folder (cache: the repository
                               folder with its blobs, also when a snapshot's path was given;
                               other local paths: NULL, links are the user's own) */
};

/* Resolves `text` (already without adapter; may carry @revision). Tried in order: an existing path
 * relative to `recipe_folder` (NULL: skip), then to the working directory, both after
 * expanding ~ and $VAR; then the cache. `where` starts error messages ("recipe.yaml:7" or "").
 * Not found: WF_USAGE, naming what was looked for and where. */
int wf_hub_resolve(struct wf_err *e, struct wf_arena *a, const char *where, const char *text,
                   const char *recipe_folder, struct wf_place *out);

/* The cache that those variables lead to, there or not: its folder, and the variable that decided.
 * Both NULL if none is set. */
int wf_hub_cache(struct wf_err *e, struct wf_arena *a, const char **folder, const char **source);

/* Expands a leading ~ or ~/ and $NAME or ${NAME}; an unset variable is an error. */
int wf_expand_path(struct wf_err *e, struct wf_arena *a, const char *where, const char *text,
                   const char **out);

#endif
