/* components.h - `--emit-components`: beside the merged model, what each task adds to it before its
 * factor, as one sparse file for each task (delta_file.h, store = component).
 *
 *   W = base + sum_i factor_i g_i        OUT/components/TASK.safetensors holds g_i where it is not
 * 0
 *
 * They are taken from the very pass that makes the model, so a run that goes on with an earlier
 * one's work starts that pass over. `weft combine` (combine.h) makes models of them for other
 * factors.
 */
#ifndef WF_COMPONENTS_H
#define WF_COMPONENTS_H

#include "../../include/weft.h"
#include "delta_assembly.h"
#include "merge.h"

#define WF_COMPONENTS_FOLDER "components"

/* Memory that a merge needs for them: of each compute thread, and for tables. */
uint64_t wf_components_thread_bytes(void);
uint64_t wf_components_table_bytes(const struct wf_setup *s);
/* About what the files of all tasks will have; 0 without components. Equal magnitudes at the
 * threshold are kept beyond the density, and not counted. */
uint64_t wf_components_bytes(const struct wf_setup *s);

/* WF_USAGE: the recipe's method is not a sum of components. */
int wf_components_refuse(struct wf_err *e, const struct wf_recipe *r);
/* After the plan is made: refuses what has no components, or cannot have them. */
int wf_components_check(struct wf_err *e, const struct wf_setup *s);

struct wf_components {
    struct wf_spool_subject subject;
    struct wf_delta_spool spool;
    const char *spool_folder;
    struct wf_delta_made *made; /* by task, in recipe order; in the setup's arena */
    struct wf_made_file *files; /* theirs */
    size_t n;
};

/* Rank 0, before any other rank writes: empty folders in OUT.partial. */
int wf_components_clear(struct wf_err *e, struct wf_setup *s, const char *partial);
/* Before the stream: c->spool.sink for it. `c` outlives the stream. */
int wf_components_begin(struct wf_err *e, struct wf_setup *s, const char *partial,
                        struct wf_components *c);
/* After it, before rank 0 hears that this rank is done. */
int wf_components_seal(struct wf_err *e, struct wf_components *c);
/* Rank 0, all ranks being done: the files. */
int wf_components_finish(struct wf_err *e, struct wf_setup *s, const struct weft_options *options,
                         const char *partial, const volatile int *stop, struct wf_components *c);
void wf_components_destroy(struct wf_components *c);

/* The manifest's entry: where the base is, each task's file, and its factor in this merge. Nothing
 * if there are none. */
void wf_components_manifest(struct wf_str *s, const struct wf_setup *setup,
                            const struct wf_components *c);

#endif
