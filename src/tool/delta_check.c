/* delta_check.c - every rule of a task delta's format. */
#include "delta_check.h"

#include "../format/delta_file.h"

static int check_part(struct wf_err *e, struct wf_delta_part *part, const struct wf_ckpt *shared,
                      struct wf_infile *f)
{
    const struct wf_tensor *t = shared ? wf_ckpt_find(shared, part->name) : NULL;
    struct wf_err why = {0};
    if (shared && !t)
        return wf_fail(e, WF_INPUT, "%s: tensor '%s' is not in the model", part->path, part->name);
    if (t && wf_delta_bind(&why, "weft verify", part, t))
        return wf_fail(e, WF_INPUT, "%s", why.text);
    return wf_delta_check(e, part, f);
}

int wf_delta_check_all(struct wf_err *e, const struct wf_ckpt *delta, const struct wf_ckpt *shared,
                       size_t *tensors)
{
    struct wf_arena a = {0};
    struct wf_delta d = {0};
    struct wf_infile f = {.fd = -1, .direct_fd = -1};
    const struct wf_ckpt_file *file = &delta->files[0];
    int status = wf_delta_open(e, &a, delta, &d);
    if (!status)
        status = wf_infile_open(e, file->path, &file->id, WF_IO_BUFFERED, &f);
    for (size_t i = 0; !status && i < d.n_parts; i++)
        status = check_part(e, &d.parts[i], shared, &f);
    *tensors = d.n_parts;
    wf_infile_close(&f);
    wf_arena_destroy(&a);
    return status;
}
