/* card.c - the model card: front matter that model hubs read, then what was merged, for people. */
#include <inttypes.h>
#include <string.h>

#include "../../include/weft.h"
#include "../base/num.h"
#include "licence.h"
#include "sidefiles.h"

/* A checkpoint's public name: its hub id, or the task's name; never a local path. What lies on top
 * of a model has the task's. */
static const char *public_name(const struct wf_plan_ckpt *c)
{
    return c->ckpt->place.repository && !c->ckpt->under ? c->ckpt->place.repository : c->task;
}

/* The hub id of checkpoint c, NULL if it has none or an earlier one has the same. */
static const char *new_id(const struct wf_plan *plan, size_t c)
{
    const char *id = plan->ckpts[c].ckpt->place.repository;
    for (size_t k = 0; id && k < c; k++) {
        const char *earlier = plan->ckpts[k].ckpt->place.repository;
        if (earlier && !strcmp(earlier, id))
            return NULL;
    }
    return id;
}

/* A front matter line; a JSON string is a quoted YAML scalar. */
static void add_key(struct wf_str *s, const char *key, const char *text)
{
    if (!text)
        return;
    wf_str_printf(s, "%s: ", key);
    wf_str_json(s, text, strlen(text));
    wf_str_puts(s, "\n");
}

static bool is_input(const struct wf_plan *plan, const char *id)
{
    bool is = false;
    for (size_t c = 0; c < plan->n_ckpts && !is; c++) {
        const char *own = plan->ckpts[c].ckpt->place.repository;
        is = own && !strcmp(own, id);
    }
    return is;
}

/* An entry of the list of bases, which the first one begins. */
static void add_id(struct wf_str *s, const char *id, bool *any)
{
    if (!id)
        return;
    wf_str_puts(s, *any ? "- " : "base_model:\n- ");
    wf_str_json(s, id, strlen(id)); /* a JSON string is a quoted YAML scalar */
    wf_str_puts(s, "\n");
    *any = true;
}

static void add_front_matter(struct wf_str *s, const struct wf_plan *plan,
                             const struct wf_licence *licence)
{
    bool any = false;
    wf_str_puts(s, "---\n");
    add_key(s, "license", licence->id);
    add_key(s, "license_name", licence->name);
    add_key(s, "license_link", licence->link);
    for (size_t c = 0; c < plan->n_ckpts; c++)
        add_id(s, new_id(plan, c), &any);
    for (const char *const *id = plan->origins; id && *id; id++)
        if (!is_input(plan, *id))
            add_id(s, *id, &any);
    wf_str_printf(s,
                  "base_model_relation: merge\n"
                  "library_name: transformers\n"
                  "tags:\n%s- merge\n- weft\n---\n\n",
                  !strcmp(plan->compat, "mergekit") ? "- mergekit\n" : "");
}

static void add_models(struct wf_str *s, const struct wf_plan *plan)
{
    for (size_t c = 0; c < plan->n_ckpts; c++) {
        const struct wf_plan_ckpt *k = &plan->ckpts[c];
        wf_str_printf(s, "- %s%s", public_name(k), k->is_base ? " (base)" : "");
        if (k->ckpt->place.commit)
            wf_str_printf(s, ", commit %s", k->ckpt->place.commit);
        wf_str_puts(s, "\n");
    }
}

/* The longest run of backquotes in a text. A fence around it must be longer. */
static size_t longest_fence(const char *text, size_t n)
{
    size_t longest = 0, run = 0;
    for (size_t i = 0; i < n; i++) {
        run = text[i] == '`' ? run + 1 : 0;
        if (run > longest)
            longest = run;
    }
    return longest;
}

static void add_backquotes(struct wf_str *s, size_t n)
{
    while (n--)
        wf_str_puts(s, "`");
}

void wf_card_fenced(struct wf_str *s, const char *kind, const char *text, size_t n)
{
    size_t longest = longest_fence(text, n), fence = longest < 3 ? 3 : longest + 1;
    add_backquotes(s, fence);
    wf_str_printf(s, "%s\n", kind);
    wf_str_add(s, text, n);
    wf_str_puts(s, n && text[n - 1] == '\n' ? "" : "\n");
    add_backquotes(s, fence);
    wf_str_puts(s, "\n");
}

/* Somebody else's words, shown letter by letter. */
static void add_code(struct wf_str *s, const char *text)
{
    size_t longest = longest_fence(text, strlen(text));
    add_backquotes(s, longest + 1);
    wf_str_printf(s, longest ? " %s " : "%s", text);
    add_backquotes(s, longest + 1);
}

static bool licences_differ(const struct wf_licence *of, size_t n)
{
    for (size_t c = 1; c < n; c++)
        if (!wf_licence_equal(of[0].id, of[c].id) || !wf_licence_equal(of[0].name, of[c].name) ||
            !wf_licence_equal(of[0].link, of[c].link))
            return true;
    return false;
}

/* Where the inputs' cards do not agree, whoever publishes the result has to decide. */
static void add_licences(struct wf_str *s, const struct wf_plan *plan, const struct wf_licence *of)
{
    if (!licences_differ(of, plan->n_ckpts))
        return;
    wf_str_puts(s, "\n## Licences\n\nThe models' cards do not state the same licence:\n\n");
    for (size_t c = 0; c < plan->n_ckpts; c++) {
        wf_str_printf(s, "- %s: ", public_name(&plan->ckpts[c]));
        if (of[c].id)
            add_code(s, of[c].id);
        else
            wf_str_puts(s, "none stated");
        if (of[c].name) {
            wf_str_puts(s, ", ");
            add_code(s, of[c].name);
        }
        if (of[c].link) {
            wf_str_puts(s, ", ");
            add_code(s, of[c].link);
        }
        wf_str_puts(s, "\n");
    }
}

/* How to get a task's model back. */
static void add_task_deltas(struct wf_str *s, const struct wf_recipe *r)
{
    if (!r->deltas.wanted)
        return;
    wf_str_printf(
        s,
        "## Task deltas\n\n`%s/` holds, for each model above, the %s of all elements where "
        "it differs most from this one. `weft apply FOLDER FOLDER/%s/TASK.safetensors "
        "OUT` makes the task's model, FOLDER being this one.\n\n",
        r->deltas.dir, r->deltas.density_text, r->deltas.dir);
}

int wf_card_format(struct wf_err *e, const char *title, const struct wf_plan *plan,
                   struct wf_str *out)
{
    const struct wf_recipe *r = plan->recipe;
    struct wf_licence *licences;
    char count[32], bytes[32];
    int s = wf_licences_read(e, plan, &licences);
    if (s)
        return s;
    struct wf_licence shared = wf_licence_shared(licences, plan->n_ckpts);
    add_front_matter(out, plan, &shared);
    wf_str_printf(out, "# %s\n\n", r->name ? r->name : title);
    wf_str_printf(out, "A merge of pre-trained language models, made with weft %s.\n\n",
                  WEFT_VERSION);
    wf_str_puts(out, "## Models\n\n");
    add_models(out, plan);
    add_licences(out, plan, licences);
    wf_str_printf(out, "\n## Method\n\n`%s`: %s.\n\n%s.\n\n", r->method->name, r->method->title,
                  r->method->citation);
    wf_str_printf(out,
                  "%s tensors (%s): %" PRIu64 " merged, %" PRIu64 " copied. Checksums and "
                  "sources are in `weft_manifest.json`.\n\n",
                  wf_format_count(plan->n_jobs, count), wf_format_bytes(plan->bytes_written, bytes),
                  plan->n_merged, plan->n_copied);
    add_task_deltas(out, r);
    wf_str_puts(out, "## Recipe\n\n");
    wf_card_fenced(out, r->is_json ? "json" : "yaml", r->text, r->text_n);
    return wf_str_finish(out, e);
}
