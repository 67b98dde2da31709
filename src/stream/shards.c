/* shards.c - makes the output files. */
#include "shards.h"

#include "../base/file.h"
#include "../format/outfile.h"

static int make_shard(struct wf_err *e, const struct wf_shard *shard, const char *path, bool there)
{
    struct wf_outfile file;
    int status = there ? wf_outfile_reopen(e, path, shard->bytes, false, &file)
                       : wf_outfile_create(e, path, shard->bytes, false, &file);
    if (status)
        return status;
    status = wf_outfile_write(e, &file, shard->header.text, shard->header.n, 0);
    wf_outfile_close(&file);
    return status;
}

int wf_shards_make(struct wf_err *e, const struct wf_plan *plan, const char *folder, bool there)
{
    int status = WF_OK;
    for (size_t s = 0; !status && s < plan->n_shards; s++) {
        char *path = wf_path_join(plan->arena, e, folder, plan->shards[s].name);
        status = path ? make_shard(e, &plan->shards[s], path, there) : WF_MACHINE;
    }
    return status;
}
