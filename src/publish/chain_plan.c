/* chain_plan.c - see chain_plan.h. */
#include "chain_plan.h"

#include "../base/file.h"
#include "planned_ckpt.h"

/* What the stage makes, for those behind it. */
static int add_planned(struct wf_err *e, struct wf_chain_plan *p, size_t i, const char *folder)
{
    const char *name = p->chain->run[i].name;
    const char *path = wf_path_join(&p->arena, e, folder, name);
    int status = path ? wf_planned_ckpt(e, &p->arena, &p->setups[i].plan, path, (uint32_t)i + 1,
                                        &p->planned[i])
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

static int plan_stage(struct wf_err *e, const struct weft_options *options, const char *recipe,
                      struct wf_chain_plan *p, size_t i, const char *folder)
{
    bool last = i + 1 == p->chain->n;
    struct weft_options o = *options;
    struct wf_merge_source source = {
        .recipe = recipe, .read = &p->chain->run[i].recipe, .stages = p->stages, .n_stages = i};
    o.emit_components = options->emit_components && last;
    o.no_tokenizer = options->no_tokenizer && last; /* stages behind may need theirs */
    p->n = i + 1;
    int status = check_components(e, &o, source.read);
    if (!status)
        status = wf_setup_recipe(e, &o, &source, &p->setups[i]);
    if (!status)
        status = wf_setup_create(e, &o, &source, false, &p->setups[i]);
    return status || last ? status : add_planned(e, p, i, folder);
}

int wf_chain_plan(struct wf_err *e, const struct weft_options *options, const char *recipe,
                  const struct wf_chain *chain, const char *folder, struct wf_chain_plan *out)
{
    *out = (struct wf_chain_plan){.chain = chain};
    out->setups = wf_arena_alloc(&out->arena, e, chain->n, sizeof *out->setups);
    out->planned = wf_arena_alloc(&out->arena, e, chain->n, sizeof *out->planned);
    out->stages = wf_arena_alloc(&out->arena, e, chain->n, sizeof *out->stages);
    int status = out->setups && out->planned && out->stages ? WF_OK : WF_MACHINE;
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
