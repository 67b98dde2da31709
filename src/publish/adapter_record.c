/* adapter_record.c - the manifest of adapters; see adapter_record.h. */
#include "adapter_record.h"

#include <stdlib.h>
#include <string.h>

#include "../base/file.h"
#include "../base/num.h"
#include "../format/adapter.h"
#include "../format/shape.h"
#include "../format/weight_files.h"
#include "provenance.h"

#define CONFIG_BYTES_MAX ((size_t)16 << 20)
#define CARD_NAME "README.md"

/* ---- what OUT depends on ----------------------------------------------------------------------
 */

/* An adapter's scale and targets are in its configuration. */
static int add_config(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *k,
                      struct wf_str *facts)
{
    char *text, hex[33];
    size_t n;
    const char *path = wf_path_join(a, e, k->place.path, WF_ADAPTER_CONFIG_NAME);
    int s = path ? wf_read_small(e, WF_INPUT, path, CONFIG_BYTES_MAX, &text, &n) : WF_MACHINE;
    if (s)
        return s;
    struct wf_hash128 hash = wf_xxh128(text, n);
    wf_str_printf(facts, "%s %s\n", path, wf_hash128_hex(&hash, hex));
    wf_free(text);
    return WF_OK;
}

int wf_adapter_record_plan(struct wf_err *e, struct wf_arena *a, const struct weft_options *o,
                           struct wf_adapter_record *r)
{
    struct wf_str facts = {0};
    int s = WF_OK;
    for (size_t i = 0; !s && i < r->plan.n_ckpts; i++)
        if (r->plan.ckpts[i].ckpt->is_adapter)
            s = add_config(e, a, r->plan.ckpts[i].ckpt, &facts);
    if (!s)
        s = wf_str_finish(&facts, e);
    r->plan.arena = a;
    r->plan.facts = s ? NULL : wf_arena_strndup(a, e, facts.text, facts.n);
    wf_str_free(&facts);
    if (!s && !r->plan.facts)
        s = WF_MACHINE;
    r->plan.shard_bytes = o->shard_bytes;
    r->plan.manifest = wf_manifest_kind_name(o->manifest);
    r->plan.compat = o->compat == WEFT_COMPAT_MERGEKIT ? "mergekit" : "weft";
    return s ? s : wf_plan_hash(e, &r->plan);
}

int wf_adapter_record_command(struct wf_err *e, struct wf_arena *a, const struct weft_options *o,
                              const char *command, const struct wf_str *text,
                              struct wf_plan_ckpt *ckpts, size_t n, struct wf_adapter_record *r)
{
    struct wf_recipe *recipe = wf_arena_alloc(a, e, 1, sizeof *recipe);
    char *copy = recipe ? wf_arena_strndup(a, e, text->text, text->n) : NULL;
    if (!copy)
        return WF_MACHINE;
    *recipe = (struct wf_recipe){.path = command,
                                 .is_made = true,
                                 .text = copy,
                                 .text_n = text->n,
                                 .is_json = true,
                                 .dtype = WF_DTYPE_NONE};
    r->plan = (struct wf_plan){.recipe = recipe, .command = command, .ckpts = ckpts, .n_ckpts = n};
    return wf_adapter_record_plan(e, a, o, r);
}

/* ---- what OUT holds ---------------------------------------------------------------------------
 */

/* One manifest under construction. */
struct recording {
    struct wf_err *e;
    struct wf_arena arena;
    const struct weft_options *options;
    const struct wf_adapter_record *record;
    const char *partial;
    const char *action; /* what was done with each tensor */
    struct wf_made_file *made;
    const char **small;
    size_t n_made, n_small;
    struct wf_str tensors;
};

/* `name` in a folder of OUT, or at its top. */
static const char *within(struct recording *r, const char *folder, const char *name)
{
    return *folder ? wf_arena_printf(&r->arena, r->e, "%s/%s", folder, name)
                   : wf_arena_strndup(&r->arena, r->e, name, strlen(name));
}

static int add_tensors(struct recording *r, const char *folder, const char *file)
{
    struct wf_place place = {.path = *folder ? wf_path_join(&r->arena, r->e, r->partial, folder)
                                             : r->partial};
    struct wf_ckpt c;
    char shape[WF_SHAPE_TEXT_MAX];
    int s = place.path ? wf_ckpt_open(r->e, &r->arena, &place, &c) : WF_MACHINE;
    for (size_t i = 0; !s && i < c.n_tensors; i++) {
        const struct wf_tensor *t = &c.tensors[i];
        const char *name = within(r, folder, t->name);
        if (!name)
            return WF_MACHINE;
        wf_str_puts(&r->tensors, r->tensors.n ? ",\n    " : "\n    ");
        wf_str_json(&r->tensors, name, strlen(name));
        wf_str_puts(&r->tensors, ": {\"file\": ");
        wf_str_json(&r->tensors, file, strlen(file));
        wf_str_printf(&r->tensors, ", \"dtype\": \"%s\", \"shape\": %s, \"action\": \"%s\"}",
                      wf_dtype_info((enum wf_dtype)t->dtype)->name,
                      wf_shape_text(t->shape, t->n_dims, WF_SHAPE_SPACED, shape), r->action);
    }
    return s;
}

/* One adapter: its factors are read for their checksums, its small files are listed. */
static int add_adapter(struct recording *r, const char *folder)
{
    struct wf_made_file *made = &r->made[r->n_made++];
    bool hashing = r->options->manifest == WEFT_MANIFEST_XXH3;
    made->name = within(r, folder, WF_ADAPTER_NAME);
    const char *config = within(r, folder, WF_ADAPTER_CONFIG_NAME);
    const char *card = within(r, folder, CARD_NAME);
    if (!made->name || !config || !card)
        return WF_MACHINE;
    r->small[r->n_small++] = config;
    if (*folder)
        r->small[r->n_small++] = card;
    const char *path = wf_path_join(&r->arena, r->e, r->partial, made->name);
    int s = path ? wf_made_file_read(r->e, &r->arena, path, hashing, r->record->stop, made)
                 : WF_MACHINE;
    return s ? s : add_tensors(r, folder, made->name);
}

static size_t count(const char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

static int add_all(struct recording *r)
{
    static const char *const top[] = {"", NULL};
    const char *const *folders = r->record->folders ? r->record->folders : top;
    size_t n = count(folders), extra = count(r->record->small);
    r->made = wf_arena_alloc(&r->arena, r->e, n, sizeof *r->made);
    r->small = wf_arena_alloc(&r->arena, r->e, 2 * n + extra, sizeof *r->small);
    int s = r->made && r->small ? WF_OK : WF_MACHINE;
    for (size_t i = 0; !s && i < n; i++)
        s = add_adapter(r, folders[i]);
    for (size_t i = 0; !s && i < extra; i++)
        r->small[r->n_small++] = r->record->small[i];
    return s ? s : wf_str_finish(&r->tensors, r->e);
}

static int by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

int wf_adapter_record_write(struct wf_err *e, const struct weft_options *o, const char *partial,
                            const struct wf_adapter_record *record)
{
    const struct wf_plan *p = &record->plan;
    struct recording r = {.e = e,
                          .options = o,
                          .record = record,
                          .partial = partial,
                          .action = p->command ? p->command : p->recipe->method->name};
    int s = add_all(&r);
    if (!s) {
        qsort(r.small, r.n_small, sizeof *r.small, by_text);
        struct wf_manifest_options mo = {.kind = o->manifest,
                                         .made = r.made,
                                         .n_made = r.n_made,
                                         .tensors = r.tensors.text,
                                         .small_files = r.small,
                                         .n_small_files = r.n_small,
                                         .stop = record->stop};
        s = wf_manifest_write(e, partial, p, NULL, &mo);
    }
    wf_str_free(&r.tensors);
    wf_arena_destroy(&r.arena);
    return s;
}
