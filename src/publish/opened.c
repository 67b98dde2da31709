/* opened.c - opening what references name, each thing once. */
#include "opened.h"

#include <string.h>

#include "../base/log.h"
#include "../format/config_edit.h"
#include "../format/delta_file.h"
#include "../format/hub.h"
#include "../format/overlay.h"
#include "../format/overlay_delta.h"

static struct wf_opened_ckpt *add(struct wf_err *e, struct wf_arena *a, struct wf_opened *o)
{
    struct wf_opened_ckpt *c = wf_arena_alloc(a, e, 1, sizeof *c);
    if (c) {
        c->next = o->first;
        o->first = c;
    }
    return c;
}

/* As it is stored: an overlay and a model of another architecture have its place and plan, too. */
static bool is_plain(const struct wf_opened_ckpt *c)
{
    return !c->under && !c->of;
}

static int open_place(struct wf_err *e, struct wf_arena *a, struct wf_opened *o,
                      const struct wf_place *place, const struct wf_ckpt **out)
{
    struct wf_opened_ckpt *c = add(e, a, o);
    int status = c ? wf_ckpt_open(e, a, place, &c->ckpt) : WF_MACHINE;
    if (!status && c->ckpt.n_ignored)
        wf_log(WF_LOG_WARNING,
               "%s: %zu tensors are in the shards but not in the index and are "
               "ignored (first: %s)",
               place->path, c->ckpt.n_ignored, c->ckpt.first_ignored);
    if (!status)
        *out = &c->ckpt;
    return status;
}

int wf_opened_get(struct wf_err *e, struct wf_arena *a, struct wf_opened *o, const char *where,
                  const char *text, const char *folder, const struct wf_ckpt **out)
{
    struct wf_place place;
    int status = wf_hub_resolve(e, a, where, text, folder, &place);
    if (status)
        return status;
    for (const struct wf_opened_ckpt *c = o->first; c; c = c->next)
        if (is_plain(c) && !strcmp(c->ckpt.place.path, place.path)) {
            *out = &c->ckpt;
            return WF_OK;
        }
    return open_place(e, a, o, &place, out);
}

/* The result of an earlier stage. */
static int open_stage(struct wf_err *e, struct wf_arena *a, struct wf_opened *o, const char *name,
                      const struct wf_ckpt **out)
{
    const struct wf_opened_stage *stage = o->stages;
    while (stage < o->stages + o->n_stages && strcmp(stage->name, name) != 0)
        stage++;
    if (stage == o->stages + o->n_stages)
        return wf_fail(e, WF_BUG, "internal: the stage '%s' is not before this one", name);
    *out = stage->planned;
    for (const struct wf_opened_ckpt *c = o->first; c && !*out; c = c->next)
        if (is_plain(c) && c->ckpt.plan == &stage->plan)
            *out = &c->ckpt;
    if (*out)
        return WF_OK;
    int status = open_place(e, a, o, &stage->place, out);
    if (!status)
        o->first->ckpt.plan = &stage->plan;
    return status;
}

static int lay_adapter(struct wf_err *e, struct wf_arena *a, const char *where,
                       const struct wf_ckpt *under, const struct wf_ckpt *top, struct wf_ckpt *out)
{
    struct wf_adapter *adapter = wf_arena_alloc(a, e, 1, sizeof *adapter);
    int status = adapter ? wf_adapter_open(e, a, top, adapter) : WF_MACHINE;
    return status ? status : wf_overlay_adapter(e, a, where, under, adapter, out);
}

int wf_opened_lay(struct wf_err *e, struct wf_arena *a, struct wf_opened *o, const char *where,
                  const struct wf_ckpt *under, const struct wf_ckpt *top,
                  const struct wf_ckpt **out)
{
    for (const struct wf_opened_ckpt *c = o->first; c; c = c->next)
        if (c->under == under && c->top == top) {
            *out = &c->ckpt;
            return WF_OK;
        }
    if (!top->is_adapter && !wf_delta_is(top))
        return wf_fail(e, WF_USAGE,
                       "%s: %s is neither a PEFT adapter nor a task delta, so it cannot be put on "
                       "top of %s",
                       where, top->place.path, under->place.path);
    struct wf_opened_ckpt *c = add(e, a, o);
    if (!c)
        return WF_MACHINE;
    c->under = under;
    c->top = top;
    *out = &c->ckpt;
    return top->is_adapter ? lay_adapter(e, a, where, under, top, &c->ckpt)
                           : wf_overlay_delta(e, a, where, under, top, 1.0, &c->ckpt);
}

/* The same tensors under a config that names another architecture. */
static int override(struct wf_err *e, struct wf_arena *a, struct wf_opened *o, const char *where,
                    const char *architecture, const struct wf_ckpt **out)
{
    const struct wf_ckpt *of = *out;
    for (const struct wf_opened_ckpt *c = o->first; c; c = c->next)
        if (c->of == of && !strcmp(c->architecture, architecture)) {
            *out = &c->ckpt;
            return WF_OK;
        }
    if (!of->config_text)
        return wf_fail(e, WF_USAGE,
                       "%s: %s has no config.json, so there is no architecture to override", where,
                       of->place.path);
    struct wf_opened_ckpt *c = add(e, a, o);
    if (!c)
        return WF_MACHINE;
    *c = (struct wf_opened_ckpt){
        .of = of, .architecture = architecture, .ckpt = *of, .next = c->next};
    struct wf_str list = {0}, text = {0};
    wf_str_puts(&list, "[");
    wf_str_json(&list, architecture, strlen(architecture));
    wf_str_puts(&list, "]");
    int status = wf_str_finish(&list, e);
    const struct wf_config_edit edit = {"architectures", list.text, 1};
    if (!status)
        status =
            wf_config_apply(e, of->config_path, of->config_text, of->config_n, &edit, 1, &text);
    c->ckpt.config_n = text.n;
    c->ckpt.config_text = status ? NULL : wf_arena_strndup(a, e, text.text, text.n);
    wf_str_free(&list);
    wf_str_free(&text);
    *out = &c->ckpt;
    if (status || !c->ckpt.config_text)
        return status ? status : WF_MACHINE;
    return wf_json_parse(e, a, of->config_path, c->ckpt.config_text, c->ckpt.config_n,
                         WF_JSON_CONFIG, &c->ckpt.config);
}

int wf_opened_reference(struct wf_err *e, struct wf_arena *a, struct wf_opened *o,
                        const char *recipe, const struct wf_reference *ref, const char *folder,
                        const struct wf_ckpt **out)
{
    const struct wf_ckpt *top = NULL;
    char *where = wf_arena_printf(a, e, "%s:%d", recipe, ref->line);
    if (!where)
        return WF_MACHINE;
    int status = ref->stage ? open_stage(e, a, o, ref->stage, out)
                            : wf_opened_get(e, a, o, where, ref->model, folder, out);
    if (!status && (*out)->is_adapter)
        return wf_fail(e, WF_USAGE, "%s: %s is an adapter, not a model; write BASE+ADAPTER", where,
                       (*out)->place.path);
    if (!status && wf_delta_is(*out))
        return wf_fail(e, WF_USAGE, "%s: %s is a task delta, not a model; write SHARED+DELTA",
                       where, (*out)->place.path);
    if (!status && ref->adapter) {
        status = wf_opened_get(e, a, o, where, ref->adapter, folder, &top);
        if (!status)
            status = wf_opened_lay(e, a, o, where, *out, top, out);
    }
    if (status || !ref->architecture)
        return status;
    return override(e, a, o, where, ref->architecture, out);
}
