/* result_config.c - edits of the donor's config.json; see result_config.h. */
#include "result_config.h"

#include <stdio.h>
#include <string.h>

#include "../base/str.h"
#include "../format/config_edit.h"
#include "../format/layers.h"
#include "../format/model_part.h"
#include "../format/tied_head.h"

#define PATH_MAX_BYTES 512

struct editing {
    struct wf_err *e;
    struct wf_plan *plan;
    const struct wf_ckpt *const *models;
    /* of the stack at hand */
    size_t first_slice, n_slices;
    uint64_t old_layers, new_layers;
    const char *module; /* NULL outside `modules` */
};

static int add(struct editing *d, const char *path, const char *value)
{
    return wf_config_edits_add(d->e, d->plan->arena, &d->plan->config_edits, path, value, 0);
}

/* ---- per-layer lists ---- */

static void put_json(struct wf_str *s, const struct wf_json *v)
{
    static const char brackets[][2] = {[WF_JSON_ARRAY] = {'[', ']'}, [WF_JSON_OBJECT] = {'{', '}'}};
    switch (v->kind) {
    case WF_JSON_NULL:
        wf_str_puts(s, "null");
        return;
    case WF_JSON_BOOL:
        wf_str_puts(s, v->number != 0 ? "true" : "false");
        return;
    case WF_JSON_NUMBER:
        wf_str_puts(s, v->text);
        return;
    case WF_JSON_STRING:
        wf_str_json(s, v->text, strlen(v->text));
        return;
    default:
        break;
    }
    wf_str_printf(s, "%c", brackets[v->kind][0]);
    for (size_t i = 0; i < v->n; i++) {
        wf_str_puts(s, i ? ", " : "");
        if (v->kind == WF_JSON_OBJECT) {
            wf_str_json(s, v->children[i].key, strlen(v->children[i].key));
            wf_str_puts(s, ": ");
        }
        put_json(s, &v->children[i]);
    }
    wf_str_printf(s, "%c", brackets[v->kind][1]);
}

static const struct wf_json *at_path(const struct wf_json *v, const char *path)
{
    char part[PATH_MAX_BYTES];
    for (const char *dot; v && (dot = strchr(path, '.')); path = dot + 1) {
        snprintf(part, sizeof part, "%.*s", (int)(dot - path), path);
        v = wf_json_get(v, part);
    }
    return v ? wf_json_get(v, path) : NULL;
}

/* The entry that gives a slice's types: its base, or its first source. */
static size_t donor_of(const struct wf_recipe *r, const struct wf_recipe_slice *slice)
{
    for (size_t i = slice->first; i < slice->first + slice->n; i++)
        if (wf_recipe_exempt(r, i))
            return i;
    return slice->first;
}

/* The list's entry for layer j of a slice: of the model that gives the layer, else of the donor. */
static const struct wf_json *list_entry(const struct editing *d, const char *path,
                                        const struct wf_json *list,
                                        const struct wf_recipe_slice *slice, uint32_t j)
{
    const struct wf_recipe *r = d->plan->recipe;
    size_t entry = donor_of(r, slice);
    size_t layer = r->models[entry].layer_from + j;
    const struct wf_json *config = d->models[entry]->config;
    const struct wf_json *own = config ? at_path(config, path) : NULL;
    if (own && own->kind == WF_JSON_ARRAY && layer < own->n)
        return &own->children[layer];
    return layer < list->n ? &list->children[layer] : &list->children[list->n - 1];
}

static int edit_list(struct editing *d, const char *path, const struct wf_json *list)
{
    struct wf_str s = {0};
    bool first = true;
    wf_str_puts(&s, "[");
    for (size_t i = d->first_slice; i < d->first_slice + d->n_slices; i++) {
        const struct wf_recipe_slice *slice = &d->plan->recipe->slices[i];
        for (uint32_t j = 0; j < slice->n_layers; j++, first = false) {
            wf_str_puts(&s, first ? "" : ", ");
            put_json(&s, list_entry(d, path, list, slice, j));
        }
    }
    wf_str_puts(&s, "]");
    int status = wf_str_finish(&s, d->e);
    if (!status)
        status = add(d, path, s.text);
    wf_str_free(&s);
    return status;
}

/* ---- the tree ---- */

static bool is_one_of(const char *key, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(key, keys[i]))
            return true;
    return false;
}

/* The object's member is the layer count of the stack at hand. A decoder's own key, where there is
 * one beside the others (T5, Whisper), is the decoder's, and the others are not. */
static bool is_layer_count(const struct editing *d, const struct wf_json *object,
                           const struct wf_json *v)
{
    static const char *const any[] = {"num_hidden_layers", "num_layers", "n_layer", "n_layers",
                                      "encoder_layers"};
    static const char *const decoders[] = {"num_decoder_layers", "decoder_layers"};
    uint64_t n;
    if (!wf_json_u64(v, &n) || n != d->old_layers)
        return false;
    bool beside = false;
    for (size_t i = 0; i < object->n; i++)
        beside |= is_one_of(object->children[i].key, decoders, 2);
    bool of_decoder = is_one_of(v->key, decoders, 2);
    if (!of_decoder && !is_one_of(v->key, any, sizeof any / sizeof *any))
        return false;
    if (beside && d->module && !strcmp(d->module, "decoder"))
        return of_decoder;
    return !of_decoder || !d->module || strcmp(d->module, "encoder") != 0;
}

/* The object holds the layer count of the stack at hand. */
static bool counts_layers(const struct editing *d, const struct wf_json *object)
{
    for (size_t i = 0; i < object->n; i++)
        if (is_layer_count(d, object, &object->children[i]))
            return true;
    return false;
}

static int edit_member(struct editing *d, const char *path, const struct wf_json *object,
                       const struct wf_json *v)
{
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)d->new_layers);
    if (is_layer_count(d, object, v))
        return add(d, path, number);
    if (v->kind == WF_JSON_ARRAY && v->n == d->old_layers)
        return edit_list(d, path, v);
    return WF_OK;
}

/* Objects of the config that describe the stack: those of a tower where the stack is one, and only
 * where it is. `tower`: the stack is one; `inside`: so is what the object describes. */
static int edit_object(struct editing *d, const char *path, const struct wf_json *object,
                       bool tower, bool inside)
{
    bool here = tower == inside && counts_layers(d, object);
    int status = WF_OK;
    for (size_t i = 0; !status && i < object->n; i++) {
        const struct wf_json *v = &object->children[i];
        char below[PATH_MAX_BYTES];
        int n = snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", v->key);
        if (n < 0 || n >= (int)sizeof below || strchr(v->key, '.'))
            continue;
        if (v->kind == WF_JSON_OBJECT && (tower || !wf_is_sense(v->key)))
            status = edit_object(d, below, v, tower, inside || wf_is_sense(v->key));
        else if (here)
            status = edit_member(d, below, object, v);
    }
    return status;
}

/* No count is that of the tensors: then the usual key is wrong, and gets the right one. */
static int mend_count(struct editing *d, const struct wf_json *config)
{
    static const char *const paths[] = {"num_hidden_layers", "text_config.num_hidden_layers"};
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)d->new_layers);
    int status = WF_OK;
    for (size_t i = 0; !status && i < sizeof paths / sizeof *paths; i++)
        if (at_path(config, paths[i]))
            status = add(d, paths[i], number);
    return status;
}

/* The first key that says something by the number of a layer, which is another one now. */
static void note_layer_rules(struct editing *d, const struct wf_json *config)
{
    static const char *const rules[] = {"per_layer_config",
                                        "mlp_only_layers",
                                        "full_attn_idxs",
                                        "attn_layer_indices",
                                        "cross_attention_layers",
                                        "moe_layers",
                                        "global_attn_every_n_layers",
                                        "first_k_dense_replace",
                                        "decoder_sparse_step",
                                        "moe_layer_freq",
                                        "max_window_layers",
                                        "full_attention_interval",
                                        "sliding_window_pattern",
                                        "num_kv_shared_layers"};
    const struct wf_json *text = wf_json_get(config, "text_config");
    for (size_t i = 0; !d->plan->layer_rule && i < sizeof rules / sizeof *rules; i++)
        if (wf_json_get(config, rules[i]) || (text && wf_json_get(text, rules[i])))
            d->plan->layer_rule = rules[i];
}

/* Slices first_slice .. of one module, which make one stack. */
static int edit_stack(struct editing *d)
{
    const struct wf_plan *plan = d->plan;
    const struct wf_recipe *r = plan->recipe;
    const struct wf_recipe_slice *slices = &r->slices[d->first_slice];
    const struct wf_recipe_module *module = wf_recipe_module_of(r, slices);
    d->module = module ? module->name : NULL;
    const struct wf_ckpt *donor = plan->config_donor;
    struct wf_model_part part;
    struct wf_stacks stacks;
    bool has_part = module && wf_model_part_find(donor, module->name, &part);
    int status = wf_stacks_find(d->e, plan->arena, donor, has_part ? wf_model_part_has : NULL,
                                has_part ? &part : NULL, &stacks);
    if (status || !stacks.main)
        return status;
    d->old_layers = (uint64_t)stacks.depth;
    d->new_layers = 0;
    for (size_t i = 0; i < d->n_slices; i++)
        d->new_layers += slices[i].n_layers;
    note_layer_rules(d, donor->config);
    size_t n = d->plan->config_edits.n;
    bool tower = module && wf_is_sense(module->name);
    status = edit_object(d, "", donor->config, tower, false);
    return status || d->plan->config_edits.n > n || tower ? status : mend_count(d, donor->config);
}

/* ---- the head ---- */

static bool same_numbers(const struct wf_args *a, const struct wf_args *b)
{
    return a == b ||
           (a && b && a->n == b->n && a->map == b->map && a->ties == b->ties &&
            !memcmp(a->g, b->g, sizeof a->g) && !memcmp(a->scope, b->scope, sizeof a->scope) &&
            !memcmp(a->m, b->m, a->n * sizeof *a->m));
}

/* Equal tensors of the same models come out equal: nothing tells the two jobs apart. */
static bool same_work(const struct wf_job *a, const struct wf_job *b)
{
    bool same = a->action == b->action && a->method == b->method && a->n_inputs == b->n_inputs &&
                !(a->method && a->method->draws) && same_numbers(a->args, b->args);
    for (uint32_t i = 0; same && i < a->n_inputs; i++)
        same = a->input_ckpt[i] == b->input_ckpt[i];
    return same;
}

/* Head and table of the result; NULL where there is none. */
static void find_pair(const struct wf_plan *plan, const struct wf_job **head,
                      const struct wf_job **table)
{
    *head = *table = NULL;
    for (size_t i = 0; i < plan->n_jobs; i++) {
        if (wf_is_head(plan->jobs[i].name))
            *head = &plan->jobs[i];
        else if (!*table && wf_is_token_table(plan->jobs[i].name))
            *table = &plan->jobs[i];
    }
}

/* The donor's config says that there is no head of its own, and the result has one. */
static int edit_tie(struct editing *d)
{
    static const char *const paths[] = {"tie_word_embeddings", "text_config.tie_word_embeddings"};
    const struct wf_plan *plan = d->plan;
    const struct wf_job *head, *table;
    bool stays = true;
    find_pair(plan, &head, &table);
    if (!wf_says_tied(plan->config_donor) || !head)
        return WF_OK;
    for (size_t c = 0; c < plan->n_ckpts; c++)
        stays &= wf_says_tied(plan->ckpts[c].ckpt);
    if (stays && table && same_work(head, table))
        return WF_OK;
    int status = WF_OK;
    for (size_t i = 0; !status && i < sizeof paths / sizeof *paths; i++)
        if (at_path(plan->config_donor->config, paths[i]))
            status = add(d, paths[i], "false");
    return status;
}

int wf_result_config(struct wf_err *e, struct wf_plan *plan, const struct wf_ckpt *const *models)
{
    struct editing d = {.e = e, .plan = plan, .models = models};
    const struct wf_recipe *r = plan->recipe;
    int status = WF_OK;
    if (!plan->config_donor->config)
        return WF_OK;
    for (size_t i = 0; !status && i < r->n_slices; i += d.n_slices) {
        d.first_slice = i;
        d.n_slices = 1;
        while (i + d.n_slices < r->n_slices &&
               r->slices[i + d.n_slices].module == r->slices[i].module)
            d.n_slices++;
        if (r->slices[i].has_layers)
            status = edit_stack(&d);
    }
    return status ? status : edit_tie(&d);
}
