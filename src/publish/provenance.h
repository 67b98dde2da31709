/* provenance.h - weft_manifest.json: what was merged from what, and the checksums of the result. */
#ifndef WF_PROVENANCE_H
#define WF_PROVENANCE_H

#include <stdbool.h>

#include "../../include/weft.h"
#include "../format/manifest.h"
#include "../plan/plan.h"
#include "../stream/blocks.h"
#include "made_file.h"

/* "xxh3", "sha256", "none". */
const char *wf_manifest_kind_name(enum weft_manifest kind);

struct wf_manifest_options {
    enum weft_manifest kind;
    const struct wf_made_file *made; /* written beside the shards; hashed, if it is by xxh3 */
    size_t n_made;
    const char *tensors;            /* members of "tensors"; NULL: the plan's jobs */
    const char *more;               /* members of the object, each behind a comma; NULL: none */
    const char *const *small_files; /* names in the folder besides these, sorted */
    size_t n_small_files;
    const volatile int *stop; /* polled while files are read; WF_STOPPED then */
};

/* Writes FOLDER/weft_manifest.json, synced. Shard checksums come from `blocks` (xxh3; NULL where
 * there are no shards) or from
 * reading the files once more (sha256); small files are read. */
int wf_manifest_write(struct wf_err *e, const char *folder, const struct wf_plan *plan,
                      const struct wf_blocks *blocks, const struct wf_manifest_options *options);

/* "inputs": [...], as a manifest has it. */
void wf_manifest_inputs(struct wf_str *s, const struct wf_plan *plan);

/* Reads a folder's manifest: true if there is a readable one; *same: it is of this plan, of which
 * only hash and parts count; if not, *differs is the first part that is not equal. */
bool wf_manifest_matches(const char *folder, const struct wf_plan *plan, bool *same,
                         enum wf_plan_part *differs);

#endif
