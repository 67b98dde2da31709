/* card.c - the model card: front matter that model hubs read, then what was merged, for people. */
#include <inttypes.h>
#include <string.h>

#include "../../include/weft.h"
#include "../base/num.h"
#include "sidefiles.h"

/* A checkpoint's public name: its hub id, or the task's name; never a local path. */
static const char *public_name(const struct wf_plan_ckpt *c)
{
    return c->ckpt->place.repository ? c->ckpt->place.repository : c->task;
}

static void add_front_matter(struct wf_str *s, const struct wf_plan *plan)
{
    bool any = false;
    wf_str_puts(s, "---\n");
    for (size_t c = 0; c < plan->n_ckpts; c++) {
        const char *id = plan->ckpts[c].ckpt->place.repository;
        if (!id)
            continue;
        wf_str_puts(s, any ? "- " : "base_model:\n- ");
        wf_str_json(s, id, strlen(id)); /* a JSON string is a quoted YAML scalar */
        wf_str_puts(s, "\n");
        any = true;
    }
    wf_str_puts(s, "base_model_relation: merge\n"
                   "library_name: transformers\n"
                   "tags:\n- merge\n- weft\n---\n\n");
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

/* A fence longer than any run of backquotes in the text. */
static void add_fenced(struct wf_str *s, const char *kind, const char *text, size_t n)
{
    size_t longest = 2, run = 0;
    for (size_t i = 0; i < n; i++) {
        run = text[i] == '`' ? run + 1 : 0;
        if (run > longest)
            longest = run;
    }
    for (size_t i = 0; i <= longest; i++)
        wf_str_puts(s, "`");
    wf_str_printf(s, "%s\n", kind);
    wf_str_add(s, text, n);
    wf_str_puts(s, n && text[n - 1] == '\n' ? "" : "\n");
    for (size_t i = 0; i <= longest; i++)
        wf_str_puts(s, "`");
    wf_str_puts(s, "\n");
}

int wf_card_format(struct wf_err *e, const char *title, const struct wf_plan *plan,
                   struct wf_str *out)
{
    const struct wf_recipe *r = plan->recipe;
    char count[32], bytes[32];
    add_front_matter(out, plan);
    wf_str_printf(out, "# %s\n\n", r->name ? r->name : title);
    wf_str_printf(out, "A merge of pre-trained language models, made with weft %s.\n\n",
                  WEFT_VERSION);
    wf_str_puts(out, "## Models\n\n");
    add_models(out, plan);
    wf_str_printf(out, "\n## Method\n\n`%s`: %s.\n\n%s.\n\n", r->method->name, r->method->title,
                  r->method->citation);
    wf_str_printf(out,
                  "%s tensors (%s): %" PRIu64 " merged, %" PRIu64 " copied. Checksums and "
                  "sources are in `weft_manifest.json`.\n\n## Recipe\n\n",
                  wf_format_count(plan->n_jobs, count), wf_format_bytes(plan->bytes_written, bytes),
                  plan->n_merged, plan->n_copied);
    add_fenced(out, r->is_json ? "json" : "yaml", r->text, r->text_n);
    return wf_str_finish(out, e);
}
