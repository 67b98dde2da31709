/* delta_assembly.h - a task's delta file from what was spooled for it.
 *
 *   [ header: sizes are known by now | values of all tensors, wider types first | positions of all
 * ]
 *
 * Tensors stand in canonical order, and what is in the file depends on the models alone: not on how
 * the stream cut tensors, nor on who was first to spool.
 */
#ifndef WF_DELTA_ASSEMBLY_H
#define WF_DELTA_ASSEMBLY_H

#include "../../include/weft.h"
#include "delta_spool.h"
#include "made_file.h"

struct wf_delta_assembly {
    const char *path, *name; /* of the file; as the manifest names it */
    const char *shared_name; /* of the result, for the metadata */
    bool hashing, direct;    /* as in wf_making_begin */
    const volatile int *stop;
};

struct wf_delta_made {
    struct wf_arena arena; /* what `file` refers to */
    struct wf_made_file file;
    const char *task;
    uint64_t kept;
    size_t n_tensors; /* that are changed */
};

/* Writes, synced, the file of task number `task`. WF_STOPPED when *stop becomes nonzero.
 * Different tasks at the same time are fine. *out is zero but for its arena, whose
 * owner is the caller, also after a failure. */
int wf_delta_assemble(struct wf_err *e, struct wf_delta_spool *spool, size_t task,
                      const struct wf_delta_assembly *how, struct wf_delta_made *out);

/* Where the files of all tasks go: PARTIAL/DIR/TASK.safetensors. */
struct wf_delta_target {
    const char *partial, *dir, *shared_name;
    const struct weft_options *options;
    const volatile int *stop;
};

/* The same, there; then gives back the disk that the task's spool file took. */
int wf_delta_assemble_below(struct wf_err *e, struct wf_delta_spool *spool, size_t task,
                            const struct wf_delta_target *target, struct wf_delta_made *out);

#endif
