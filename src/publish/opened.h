/* opened.h - the checkpoints that a recipe or a command names, each opened once: models, adapters,
 * task deltas, and what lies on top of what.
 */
#ifndef WF_OPENED_H
#define WF_OPENED_H

#include "../base/mem.h"
#include "../base/status.h"
#include "../format/ckpt.h"
#include "../recipe/reference.h"

struct wf_opened_ckpt {
    const struct wf_ckpt *under, *top; /* of an overlay; else NULL */
    const struct wf_ckpt *of; /* of one with another architecture: itself without; or NULL */
    const char *architecture;
    struct wf_ckpt ckpt;
    struct wf_opened_ckpt *next;
};

/* What a stage of the recipe makes, for the stages behind it. */
struct wf_opened_stage {
    const char *name;
    struct wf_place place;         /* the folder that it makes */
    const struct wf_ckpt *planned; /* what will be there; NULL: it is there */
    struct wf_hash128 plan;
};

/* Zero-initialised but for `stages`; everything lives in the arena. */
struct wf_opened {
    struct wf_opened_ckpt *first;
    const struct wf_opened_stage *stages; /* that references may name */
    size_t n_stages;
};

/* What `text` names: a model, an adapter or a delta, relative to `folder` (NULL: only to the
 * working directory). `where` ("recipe.yaml:7", or a command's name) begins messages. */
int wf_opened_get(struct wf_err *e, struct wf_arena *a, struct wf_opened *o, const char *where,
                  const char *text, const char *folder, const struct wf_ckpt **out);

/* `under` with the adapter or task delta `top` on it. */
int wf_opened_lay(struct wf_err *e, struct wf_arena *a, struct wf_opened *o, const char *where,
                  const struct wf_ckpt *under, const struct wf_ckpt *top,
                  const struct wf_ckpt **out);

/* A whole reference: a model, with its adapter or task delta on top if it names one. Anything but a
 * model under the '+' is WF_USAGE. `recipe` is its path, for messages. */
int wf_opened_reference(struct wf_err *e, struct wf_arena *a, struct wf_opened *o,
                        const char *recipe, const struct wf_reference *ref, const char *folder,
                        const struct wf_ckpt **out);

#endif
