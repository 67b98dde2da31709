/* planned_ckpt.c - from a plan's layout to the checkpoint that it will be; see planned_ckpt.h. */
#include "planned_ckpt.h"

#include <stdlib.h>
#include <string.h>

#include "../plan/fused.h"
#include "sidefiles.h"

static int add_files(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                     const char *folder, uint32_t number, struct wf_ckpt *c)
{
    c->n_files = plan->n_shards;
    c->files = wf_arena_alloc(a, e, c->n_files, sizeof *c->files);
    for (size_t i = 0; c->files && i < c->n_files; i++) {
        const struct wf_shard *shard = &plan->shards[i];
        c->files[i] = (struct wf_ckpt_file){
            .path = wf_path_join(a, e, folder, shard->name),
            .name = shard->name,
            /* A file of no disk: it is the same as another only if it is of the same merge. */
            .id = {.dev = (uint64_t)-1, .inode = (uint64_t)number << 32 | i, .bytes = shard->bytes},
            .data_start = shard->header.n,
            .header_hash = wf_xxh128(shard->header.text, shard->header.n)};
        if (!c->files[i].path)
            return WF_MACHINE;
    }
    return c->files ? WF_OK : WF_MACHINE;
}

static int add_config(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                      const char *folder, struct wf_ckpt *c)
{
    struct wf_str s = {0};
    int status = wf_sidefiles_config(e, plan, &s);
    if (!status && s.text) {
        c->config_n = s.n;
        c->config_text = wf_arena_strndup(a, e, s.text, s.n);
        c->config_path = wf_path_join(a, e, folder, "config.json");
        status = c->config_text && c->config_path
                     ? wf_json_parse(e, a, c->config_path, c->config_text, c->config_n,
                                     WF_JSON_CONFIG, &c->config)
                     : WF_MACHINE;
    }
    wf_str_free(&s);
    return status;
}

int wf_planned_ckpt(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                    const char *folder, uint32_t number, bool fused, struct wf_ckpt *out)
{
    *out = (struct wf_ckpt){.place.path = folder,
                            .is_folder = true,
                            .plan = &plan->hash,
                            .cars = plan->sidecars,
                            .texts = plan->side_texts};
    int status =
        fused ? wf_fused_ckpt(e, a, plan, out) : add_files(e, a, plan, folder, number, out);
    if (!status && !fused)
        status = wf_plan_list_tensors(e, a, plan, out);
    return status ? status : add_config(e, a, plan, folder, out);
}
