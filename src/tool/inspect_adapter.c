/* inspect_adapter.c - what `weft inspect` says about a PEFT adapter.
 *
 * With JSON, one object a line:
 *   {"kind":"adapter","peft_type":S,"base_model":S,"rank":N,"alpha":N,"rslora":B,
 *    "modules":N,"whole_tensors":N,"parameters":N,"refused":S}
 *   {"kind":"module","path":S,"type":T,"rank":N,"alpha":N,"scale":N,"in":N,"out":N,
 *    "parameters":N}
 * rank and alpha are the config's; T is linear, embedding or convolution; `refused` is null, or why
 * weft would not merge it: then there are no modules. For people modules are shown by the last part
 * of their path.
 */
#include "inspect_adapter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/num.h"
#include "../base/str.h"
#include "../format/adapter.h"
#include "../format/adapter_config.h"

/* A heading in the making. */
struct heading {
    struct wf_report *r;
    size_t label_width;
    const struct wf_adapter_view *view;
};

static const char *const kind_names[] = {
    [WF_ADAPTER_LINEAR] = "linear",
    [WF_ADAPTER_EMBEDDING] = "embedding",
    [WF_ADAPTER_CONV] = "convolution",
};

static uint64_t module_parameters(const struct wf_adapter_module *m)
{
    return m->a->count + m->b->count + (m->bias ? m->bias->count : 0);
}

/* ---- JSON -------------------------------------------------------------------------------------
 */

static double number_of(const struct wf_adapter_view *v, const char *key)
{
    const struct wf_json *n = wf_json_get(v->config, key);
    return n && n->kind == WF_JSON_NUMBER ? n->number : (double)NAN;
}

static void json_adapter(struct wf_report *r, const struct wf_adapter_view *v)
{
    wf_report_object(r, "adapter");
    wf_report_string(r, "peft_type", wf_json_string(v->config, "peft_type"));
    wf_report_string(r, "base_model", wf_json_string(v->config, "base_model_name_or_path"));
    wf_report_f64(r, "rank", number_of(v, "r"));
    wf_report_f64(r, "alpha", number_of(v, "lora_alpha"));
    wf_report_bool(r, "rslora", wf_adapter_config_has(v->config, "use_rslora"));
    wf_report_u64(r, "modules", v->adapter.n_modules);
    wf_report_u64(r, "whole_tensors", v->adapter.n_wholes);
    wf_report_u64(r, "parameters", v->parameters);
    wf_report_string(r, "refused", v->refused);
    wf_report_close(r);
}

static void json_module(struct wf_report *r, const struct wf_adapter_module *m)
{
    wf_report_object(r, "module");
    wf_report_string(r, "path", m->path);
    wf_report_string(r, "type", kind_names[m->kind]);
    wf_report_u64(r, "rank", m->rank);
    wf_report_f64(r, "alpha", m->alpha);
    wf_report_f64(r, "scale", m->scale);
    wf_report_u64(r, "in", m->a->count / m->rank);
    wf_report_u64(r, "out", m->b->count / m->rank);
    wf_report_u64(r, "parameters", module_parameters(m));
    wf_report_close(r);
}

/* ---- for people -------------------------------------------------------------------------------
 */

static void fact(const struct heading *h, const char *name, const char *value)
{
    if (!value)
        return;
    wf_report_name(h->r, name, h->label_width);
    wf_report_name(h->r, value, 0);
    wf_report_end(h->r);
}

static void number_fact(const struct heading *h, const char *name, const char *key)
{
    const struct wf_json *n = wf_json_get(h->view->config, key);
    fact(h, name, n && n->kind == WF_JSON_NUMBER ? n->text : NULL);
}

/* Modules whose paths end alike, and that are treated alike, are one line. */
static int by_target(const void *left, const void *right)
{
    const struct wf_adapter_module *x = *(const struct wf_adapter_module *const *)left;
    const struct wf_adapter_module *y = *(const struct wf_adapter_module *const *)right;
    int order = strcmp(wf_last_word(x->path), wf_last_word(y->path));
    if (!order)
        order = (x->rank > y->rank) - (x->rank < y->rank);
    return order ? order : (x->scale > y->scale) - (x->scale < y->scale);
}

static void text_target(const struct heading *h, const struct wf_adapter_module *m, size_t n,
                        bool first)
{
    char scale[32];
    wf_report_name(h->r, first ? "targets" : "", h->label_width);
    wf_report_name(h->r, wf_last_word(m->path), 0);
    wf_report_text(h->r, ": %zu module%s, rank %u, scale %s", n, n == 1 ? "" : "s",
                   (unsigned)m->rank, wf_format_f64(m->scale, scale));
    wf_report_end(h->r);
}

static int text_targets(struct wf_err *e, struct wf_arena *a, const struct heading *h)
{
    size_t n = h->view->adapter.n_modules, end;
    const struct wf_adapter_module **sorted = wf_arena_alloc(a, e, n, sizeof *sorted);
    if (!sorted)
        return wf_err_status(e);
    for (size_t i = 0; i < n; i++)
        sorted[i] = &h->view->adapter.modules[i];
    qsort(sorted, n, sizeof *sorted, by_target);
    for (size_t i = 0; i < n; i = end) {
        for (end = i + 1; end < n && !by_target(&sorted[i], &sorted[end]); end++)
            continue;
        text_target(h, sorted[i], end - i, i == 0);
    }
    return WF_OK;
}

static int text_adapter(struct wf_err *e, struct wf_arena *a, const struct heading *h)
{
    char count[32];
    fact(h, "adapter type", wf_json_string(h->view->config, "peft_type"));
    fact(h, "made for", wf_json_string(h->view->config, "base_model_name_or_path"));
    number_fact(h, "rank", "r");
    number_fact(h, "alpha", "lora_alpha");
    if (h->view->refused) {
        fact(h, "not merged", h->view->refused);
        return WF_OK;
    }
    fact(h, "modules", wf_format_count(h->view->adapter.n_modules, count));
    int s = text_targets(e, a, h);
    if (h->view->adapter.n_wholes)
        fact(h, "whole tensors", wf_format_count(h->view->adapter.n_wholes, count));
    return s;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* An adapter that weft cannot merge is still shown. Lack of memory is not a reason of that kind. */
int wf_adapter_view_read(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                         struct wf_adapter_view *v)
{
    const char *path;
    struct wf_json *config;
    struct wf_err why = {0};
    *v = (struct wf_adapter_view){0};
    int s = wf_adapter_config_read(e, a, ckpt, &path, &config);
    if (s)
        return s;
    v->config = config;
    s = wf_adapter_open(&why, a, ckpt, &v->adapter);
    if (s == WF_MACHINE)
        return wf_fail(e, WF_MACHINE, "%s", why.text);
    if (s) {
        v->adapter = (struct wf_adapter){0};
        v->refused = wf_arena_strdup(a, e, why.text);
        return v->refused ? WF_OK : WF_MACHINE;
    }
    for (size_t i = 0; i < v->adapter.n_modules; i++)
        v->parameters += module_parameters(&v->adapter.modules[i]);
    for (size_t i = 0; i < v->adapter.n_wholes; i++)
        v->parameters += v->adapter.wholes[i].tensor->count;
    return WF_OK;
}

int wf_adapter_view_print(struct wf_err *e, struct wf_arena *a, const struct wf_adapter_view *v,
                          struct wf_report *r, size_t label_width)
{
    struct heading h = {.r = r, .label_width = label_width, .view = v};
    if (!r->json)
        return text_adapter(e, a, &h);
    json_adapter(r, v);
    for (size_t i = 0; i < v->adapter.n_modules; i++)
        json_module(r, &v->adapter.modules[i]);
    return WF_OK;
}
