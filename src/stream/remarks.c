/* remarks.c - what methods have to say about inputs after statistics (wf_method.remark): collected
 * while tensors come by in any order, one warning for each input at the end.
 */
#include <inttypes.h>

#include "../base/log.h"
#include "../base/mem.h"
#include "../base/num.h"
#include "ring.h"

struct wf_remark {
    const char *why;            /* NULL: nothing */
    const struct wf_job *first; /* in file order; NULL: it is about the model */
    uint64_t tensors;
};

static bool remarks_on(const struct wf_job *job)
{
    return job->action == WF_ACTION_MAP && job->method->remark;
}

int wf_remarks_create(struct wf_ring *r)
{
    const struct wf_plan *plan = r->options->plan;
    for (size_t i = 0; i < plan->n_jobs; i++)
        if (remarks_on(&plan->jobs[i]) && plan->jobs[i].n_inputs > r->n_remarks)
            r->n_remarks = plan->jobs[i].n_inputs;
    r->remarks = wf_alloc(r->e, WF_MEM_META, r->n_remarks, sizeof *r->remarks, "warnings");
    return r->remarks ? WF_OK : WF_MACHINE;
}

void wf_remarks_collect(struct wf_ring *r, const struct wf_unit *u, const struct wf_job *job)
{
    const struct wf_job *any = job ? job : r->options->plan->model_jobs[0];
    const struct wf_args *args = wf_unit_args(u);
    uint64_t count = job ? job->count : r->options->plan->model_count;
    if (!count || !remarks_on(any))
        return;
    for (uint32_t i = 1; i < any->n_inputs; i++) {
        const char *why = any->method->remark(args, i);
        struct wf_remark *all = &r->remarks[i];
        if (!why)
            continue;
        all->tensors++;
        if (all->why && !(all->first && job && job < all->first))
            continue;
        all->why = why;
        all->first = job;
    }
}

void wf_remarks_report(const struct wf_ring *r)
{
    const struct wf_plan *plan = r->options->plan;
    for (uint32_t i = 1; i < r->n_remarks; i++) {
        const struct wf_remark *remark = &r->remarks[i];
        const struct wf_job *job = remark->first ? remark->first : plan->model_jobs[0];
        if (!remark->why)
            continue;
        const char *task = plan->ckpts[job->input_ckpt[i]].task;
        if (remark->first)
            wf_log(WF_LOG_WARNING, "task '%s', in %" PRIu64 " tensor%s (first: '%s'): %s", task,
                   remark->tensors, remark->tensors == 1 ? "" : "s", job->name, remark->why);
        else
            wf_log(WF_LOG_WARNING, "task '%s': %s", task, remark->why);
    }
}

void wf_remarks_destroy(struct wf_ring *r)
{
    wf_free(r->remarks);
}
