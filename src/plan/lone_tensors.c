/* lone_tensors.c - see lone_tensors.h. */
#include "lone_tensors.h"

#include <stdlib.h>
#include <string.h>

#include "../base/log.h"

/* A tensor of a layer: its name behind the layer's number. */
struct part {
    const char *rest, *name;
};

static int by_rest(const void *left, const void *right)
{
    const struct part *a = left, *b = right;
    int order = strcmp(a->rest, b->rest);
    return order ? order : strcmp(a->name, b->name);
}

static int by_name(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* The tensors of the main stack, by what they are. */
static size_t list_parts(const struct wf_ckpt *c, const struct wf_stacks *stacks, struct part *out)
{
    size_t n = 0;
    for (size_t t = 0; t < c->n_tensors; t++) {
        const char *name = c->tensors[t].name;
        if (wf_stack_of(stacks, name) != stacks->main || wf_layer_of(name) >= stacks->depth)
            continue;
        const char *number = name + stacks->main->prefix_n + (stacks->main->prefix_n != 0);
        out[n++] = (struct part){number + strcspn(number, "."), name};
    }
    qsort(out, n, sizeof *out, by_rest);
    return n;
}

/* The tensor's place in the result is taken by a layer without it. */
static bool is_missing(const struct wf_plan *plan, const char **made, const char *name)
{
    return !bsearch(&name, made, plan->n_jobs, sizeof *made, by_name);
}

static void warn_of(const struct wf_plan *plan, const struct wf_plan_ckpt *k,
                    const struct part *parts, size_t n, const char **made)
{
    for (size_t i = 0; i < n; i++) {
        bool lone = (i == 0 || strcmp(parts[i - 1].rest, parts[i].rest) != 0) &&
                    (i + 1 == n || strcmp(parts[i + 1].rest, parts[i].rest) != 0);
        if (!lone || !is_missing(plan, made, parts[i].name))
            continue;
        wf_log(WF_LOG_WARNING,
               "%s:%d: of the layers of %s only one has a tensor '%s', layer %ld, and the result "
               "has none of that name: what reads it there will miss it; let that layer keep its "
               "place",
               plan->recipe->path, k->line, k->text, parts[i].name, wf_layer_of(parts[i].name));
        return;
    }
}

int wf_lone_tensors_warn(struct wf_err *e, const struct wf_plan *plan,
                         const struct wf_stacks *stacks)
{
    size_t most = 0;
    int status = WF_OK;
    for (size_t c = 0; c < plan->n_ckpts; c++)
        most = plan->ckpts[c].ckpt->n_tensors > most ? plan->ckpts[c].ckpt->n_tensors : most;
    const char **made =
        wf_alloc(e, WF_MEM_META, plan->n_jobs + 1, sizeof *made, "names of the result");
    struct part *parts = wf_alloc(e, WF_MEM_META, most + 1, sizeof *parts, "names of layers");
    if (!made || !parts)
        status = WF_MACHINE;
    for (size_t j = 0; !status && j < plan->n_jobs; j++)
        made[j] = plan->jobs[j].name;
    if (!status)
        qsort(made, plan->n_jobs, sizeof *made, by_name);
    for (size_t c = 0; !status && c < plan->n_ckpts; c++)
        if (stacks[c].main && stacks[c].depth > 1)
            warn_of(plan, &plan->ckpts[c], parts,
                    list_parts(plan->ckpts[c].ckpt, &stacks[c], parts), made);
    wf_free(made);
    wf_free(parts);
    return status;
}
