/* chain_plan.c - see chain_plan.h. */
#include "chain_plan.h"

#include "../base/file.h"
#include "../plan/fused.h"
#include "planned_ckpt.h"

/* What the stage makes, for those behind it. */
static int add_planned(struct wf_err *e, struct wf_chain_plan *p, size_t i, const char *folder,
                       bool fused)
{
    const char *name = p->chain->run[i].name;
    const char *path = wf_path_join(&p->arena, e, folder, name);
    p->fused[i] = fused;
    int status = path ? wf_planned_ckpt(e, &p->arena, &p->setups[i].plan, path, (uint32_t)i + 1,
                                        fused, &p->planned[i])
                      : WF_MACHINE;
    p->stages[i] = (struct wf_opened_stage){.name = name,
                                            .place.path = path,
                                            .planned = &p->planned[i],
                                            .plan = p->setups[i].plan.hash};
    return status;
}

/* What lies outside a chain once its stages are gone. */
static int check_components(struct wf_err *e, const struct weft_options *o,
                            const struct wf_recipe *r)
{
    if (!o->emit_components || !r->has_base || !r->base.stage)
        return WF_OK;
    return wf_fail(e, WF_USAGE,
                   "%s:%d: --emit-components needs a base that stays, and '%s' is a stage of this "
                   "recipe",
                   r->path, r->base.line, r->base.stage);
}

static int set_up(struct wf_err *e, const struct weft_options *options, const char *recipe,
                  struct wf_chain_plan *p, size_t i)
{
    bool last = i + 1 == p->chain->n;
    struct weft_options o = *options;
    struct wf_merge_source source = {
        .recipe = recipe, .read = &p->chain->run[i].recipe, .stages = p->stages, .n_stages = i};
    o.emit_components = options->emit_components && last;
    o.no_tokenizer = options->no_tokenizer && last; /* stages behind may need theirs */
    p->setups[i] = (struct wf_setup){0};
    int status = check_components(e, &o, source.read);
    if (!status)
        status = wf_setup_recipe(e, &o, &source, &p->setups[i]);
    return status ? status : wf_setup_create(e, &o, &source, false, &p->setups[i]);
}

/* Wants its inputs as files: it has no memory to compute them in, reads them more than once, or
 * gathers their rows anew. */
static bool wants_files(int status, const struct wf_setup *s)
{
    bool wants = status == WF_MACHINE || s->budget.again_bytes > 0;
    for (size_t c = 0; c < s->plan.n_ckpts; c++)
        wants |= s->plan.ckpts[c].ckpt->rows != NULL;
    return wants;
}

/* Gives stage i files of the stages that it reads; true if one of them would have been computed. */
static int unfuse(struct wf_err *e, struct wf_chain_plan *p, size_t i, const char *folder,
                  bool *found)
{
    int status = WF_OK;
    *found = false;
    for (size_t k = 0; k < i && !status; k++) {
        if (!p->fused[k] || p->chain->run[k].user != i)
            continue;
        *found = true;
        status = add_planned(e, p, k, folder, false);
    }
    return status;
}

/* A stage over stages that are computed on the way or, where it wants that, over their files. */
static int set_up_over(struct wf_err *e, const struct weft_options *options, const char *recipe,
                       struct wf_chain_plan *p, size_t i, const char *folder)
{
    struct wf_err first = {0};
    bool found = false;
    int status = set_up(&first, options, recipe, p, i);
    if ((!status || status == WF_MACHINE) && wants_files(status, &p->setups[i]) &&
        unfuse(e, p, i, folder, &found))
        return wf_err_status(e);
    if (!found)
        return status ? wf_fail(e, (enum wf_status)status, "%s", first.text) : WF_OK;
    wf_setup_destroy(&p->setups[i]);
    return set_up(e, options, recipe, p, i);
}

static int plan_stage(struct wf_err *e, const struct weft_options *options, const char *recipe,
                      struct wf_chain_plan *p, size_t i, const char *folder)
{
    const struct wf_chain_stage *stage = &p->chain->run[i];
    p->n = i + 1;
    int status = set_up_over(e, options, recipe, p, i, folder);
    if (status || i + 1 == p->chain->n)
        return status;
    bool fused = stage->user && !p->chain->run[stage->user].recipe.method->adapters &&
                 wf_fused_suits(&p->setups[i].plan);
    return add_planned(e, p, i, folder, fused);
}

int wf_chain_plan(struct wf_err *e, const struct weft_options *options, const char *recipe,
                  const struct wf_chain *chain, const char *folder, struct wf_chain_plan *out)
{
    *out = (struct wf_chain_plan){.chain = chain};
    out->setups = wf_arena_alloc(&out->arena, e, chain->n, sizeof *out->setups);
    out->planned = wf_arena_alloc(&out->arena, e, chain->n, sizeof *out->planned);
    out->stages = wf_arena_alloc(&out->arena, e, chain->n, sizeof *out->stages);
    out->fused = wf_arena_alloc(&out->arena, e, chain->n, sizeof *out->fused);
    int status = out->setups && out->planned && out->stages && out->fused ? WF_OK : WF_MACHINE;
    for (size_t i = 0; !status && i < chain->n; i++)
        status = plan_stage(e, options, recipe, out, i, folder);
    return status;
}

void wf_chain_plan_destroy(struct wf_chain_plan *p)
{
    for (size_t i = 0; i < p->n; i++)
        wf_setup_destroy(&p->setups[i]);
    wf_arena_destroy(&p->arena);
}
