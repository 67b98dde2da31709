/* tokenizers.c - from the recipe's `tokenizer` section to maps of rows, and models under them. */
#include "tokenizers.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/log.h"
#include "../base/str.h"
#include "../format/hub.h"
#include "../format/vocab_tensors.h"
#include "vocab_models.h"

struct work {
    struct wf_vocab_work w;
    const struct wf_recipe_tokenizer *section;
    struct wf_tokenizer **tokenizers; /* by model; those of equal files are one */
    struct wf_vocab_party *parties;
    uint32_t *token_party;
    const struct wf_tokenizer *donor;
    struct wf_tokenizer_source donor_from;
    uint64_t donor_rows;
};

/* ---- models ---- */

static void add_model(struct wf_vocab_work *w, const struct wf_ckpt *c, const char *text, int line)
{
    for (size_t i = 0; i < w->models.n; i++)
        if (w->models.list[i].ckpt == c)
            return;
    w->models.list[w->models.n++] =
        (struct wf_vocab_model){.ckpt = c, .text = text, .line = line, .shown = c};
}

static int collect(struct wf_vocab_work *w)
{
    const struct wf_setup *s = w->s;
    const struct wf_recipe *r = &s->recipe;
    w->models.list = wf_arena_alloc(&w->s->arena, w->e, r->n_models + 1, sizeof *w->models.list);
    if (!w->models.list)
        return WF_MACHINE;
    w->models.has_base = s->base != NULL;
    if (s->base)
        add_model(w, s->base, r->base.text, r->base.line);
    for (size_t i = 0; i < r->n_models; i++)
        add_model(w, s->models[i], r->models[i].ref.text, r->models[i].line);
    return WF_OK;
}

const char *wf_vocab_where(struct wf_vocab_work *w, int line)
{
    const char *where = wf_arena_printf(&w->scratch, w->e, "%s:%d", w->s->recipe.path, line);
    return where ? where : w->s->recipe.path;
}

static const struct wf_ckpt *shown_as(const struct wf_vocab_work *w, const struct wf_ckpt *c)
{
    for (size_t i = 0; i < w->models.n; i++)
        if (w->models.list[i].ckpt == c)
            return w->models.list[i].shown;
    return c;
}

void wf_vocab_replace(struct wf_vocab_work *w)
{
    struct wf_setup *s = w->s;
    if (s->base)
        s->base = shown_as(w, s->base);
    for (size_t i = 0; i < s->recipe.n_models; i++)
        s->models[i] = shown_as(w, s->models[i]);
}

/* ---- tokenizers ---- */

static bool same_files(const struct wf_tokenizer *a, const struct wf_tokenizer *b)
{
    return a->path && b->path && wf_hash128_equal(&a->hash, &b->hash);
}

bool wf_vocab_is_resized(const struct wf_ckpt *c)
{
    const struct wf_tensor *own = wf_vocab_table(c),
                           *under = c->under ? wf_vocab_table(c->under) : NULL;
    return own && under && own->shape[0] != under->shape[0];
}

/* Whoever made the table longer has the tokenizer that belongs to it. */
struct wf_tokenizer_source wf_vocab_tokenizer_of(const struct wf_ckpt *c)
{
    bool resized = wf_vocab_is_resized(c);
    return (struct wf_tokenizer_source){.place = resized ? &c->top->place : &c->place,
                                        .cars = resized ? NULL : c->cars,
                                        .texts = resized ? NULL : c->texts,
                                        .plan = resized ? NULL : c->plan,
                                        .config = resized || !c->cars ? NULL : c->config};
}

/* The model's tokenizer, or that of an earlier model whose files are the same. */
static int read_one(struct work *k, const struct wf_tokenizer_source *from, size_t n_before,
                    struct wf_tokenizer **out)
{
    struct wf_tokenizer *t = wf_arena_alloc(&k->w.scratch, k->w.e, 1, sizeof *t);
    bool found = false;
    *out = t;
    if (!t)
        return WF_MACHINE;
    int s = wf_tokenizer_hash(k->w.e, from, &found, &t->hash);
    for (size_t i = 0; found && i < n_before && !s; i++)
        if (k->tokenizers[i]->path && wf_hash128_equal(&t->hash, &k->tokenizers[i]->hash)) {
            *out = k->tokenizers[i];
            return WF_OK;
        }
    return s ? s : wf_tokenizer_open(k->w.e, &k->w.scratch, from, t);
}

static int read_tokenizers(struct work *k)
{
    struct wf_vocab_models *m = &k->w.models;
    k->tokenizers = wf_arena_alloc(&k->w.scratch, k->w.e, m->n + 1, sizeof *k->tokenizers);
    int s = k->tokenizers ? WF_OK : WF_MACHINE;
    for (size_t i = 0; i < m->n && !s; i++) {
        struct wf_tokenizer_source from = wf_vocab_tokenizer_of(m->list[i].ckpt);
        s = read_one(k, &from, i, &k->tokenizers[i]);
    }
    return s;
}

/* ---- the donor of the vocabulary ---- */

/* The model that a reference names, as a number; n if it is none of them. */
static int find_model(struct work *k, const struct wf_reference *ref, size_t *out)
{
    const struct wf_vocab_models *m = &k->w.models;
    const struct wf_ckpt *c = NULL;
    for (*out = 0; *out < m->n; ++*out)
        if (!strcmp(m->list[*out].text, ref->text))
            return WF_OK;
    struct wf_setup *s = k->w.s;
    int status = wf_opened_reference(k->w.e, &s->arena, &s->opened, s->recipe.path, ref,
                                     s->recipe.folder, &c);
    for (*out = 0; *out < m->n && !status; ++*out)
        if (wf_plan_same_ckpt(m->list[*out].ckpt, c))
            break;
    return status;
}

/* Where the files of a model are that is not merged: it need not have weights. */
static int find_source(struct work *k, const struct wf_reference *ref,
                       struct wf_tokenizer_source *out)
{
    struct wf_setup *s = k->w.s;
    const struct wf_ckpt *c = NULL;
    if (ref->stage || ref->adapter) {
        int status = wf_opened_reference(k->w.e, &s->arena, &s->opened, s->recipe.path, ref,
                                         s->recipe.folder, &c);
        if (!status)
            *out = wf_vocab_tokenizer_of(c);
        return status;
    }
    *out = (struct wf_tokenizer_source){.place = &s->tokenizer_place};
    return wf_hub_resolve(k->w.e, &s->arena, wf_vocab_where(&k->w, ref->line), ref->model,
                          s->recipe.folder, &s->tokenizer_place);
}

/* The number of the model that `source` names; n if it is not merged, and gives its tokenizer all
 * the same. */
static int read_donor(struct work *k, size_t *out)
{
    const struct wf_vocab_models *m = &k->w.models;
    struct wf_tokenizer *t = NULL;
    const struct wf_reference *ref = &k->section->model;
    for (*out = 0; *out < m->n; ++*out)
        if (!strcmp(m->list[*out].text, ref->text))
            return WF_OK;
    int status = find_source(k, ref, &k->donor_from);
    for (*out = 0; *out < m->n && !status && !ref->adapter && !ref->stage; ++*out)
        if (!m->list[*out].ckpt->under &&
            !strcmp(m->list[*out].ckpt->place.path, k->donor_from.place->path))
            return WF_OK;
    *out = m->n;
    if (!status)
        status = read_one(k, &k->donor_from, m->n, &t);
    k->donor = t;
    return status;
}

static int add_source_file(struct work *k, struct wf_plan_source *s, const char *path,
                           struct wf_hash128 hash)
{
    struct wf_arena *a = &k->w.s->arena;
    struct wf_plan_source_file *f = &s->files[s->n_files++];
    size_t n;
    const char *last = wf_path_last(path, &n);
    struct stat st;
    if (stat(path, &st))
        return wf_fail_errno(k->w.e, WF_INPUT, errno, "%s", path);
    *f = (struct wf_plan_source_file){wf_arena_strndup(a, k->w.e, last, n), (uint64_t)st.st_size,
                                      hash};
    return f->name ? WF_OK : WF_MACHINE;
}

/* For the manifest: a model that no plan speaks of. */
static int note_source(struct work *k)
{
    const struct wf_tokenizer *t = k->donor;
    struct wf_plan_source *s;
    if (k->donor_from.plan || !t->path)
        return WF_OK;
    s = wf_arena_alloc(&k->w.s->arena, k->w.e, 1, sizeof *s);
    if (!s)
        return WF_MACHINE;
    *s = (struct wf_plan_source){
        .text = k->section->model.text, .role = "tokenizer", .place = k->donor_from.place};
    k->w.out->source = s;
    int status = add_source_file(k, s, t->path, t->text_hash);
    if (!status && t->config_path)
        status = add_source_file(k, s, t->config_path, t->config_hash);
    return status;
}

static int find_donor(struct work *k)
{
    const struct wf_vocab_models *m = &k->w.models;
    size_t i = 0;
    int s = k->section->source == WF_VOCAB_MODEL ? read_donor(k, &i) : WF_OK;
    if (!s && i < m->n) {
        k->donor = k->tokenizers[i];
        k->donor_from = wf_vocab_tokenizer_of(m->list[i].ckpt);
        k->donor_rows = k->parties[i].rows;
    } else if (!s) {
        s = note_source(k);
    }
    if (!s && !k->donor->path)
        return wf_fail(k->w.e, WF_USAGE,
                       "%s:%d: %s has no tokenizer files; put its tokenizer.json beside the "
                       "weights, or name another model as the source",
                       k->w.s->recipe.path, k->section->line, k->donor_from.place->path);
    for (size_t j = 0; j < m->n && !s; j++)
        if (!k->tokenizers[j]->path)
            k->parties[j].tokenizer = k->tokenizers[0]->path ? k->tokenizers[0] : k->donor;
    return s;
}

/* ---- tables ---- */

static int set_party(struct work *k, size_t i)
{
    const struct wf_vocab_model *m = &k->w.models.list[i];
    const struct wf_tensor *table = wf_vocab_table(m->ckpt);
    if (!table)
        return wf_fail(k->w.e, WF_USAGE,
                       "%s:%d: %s has no table of embeddings that weft knows by its name, so "
                       "'tokenizer' cannot move its rows; leave the section out",
                       k->w.s->recipe.path, m->line, m->text);
    k->parties[i] = (struct wf_vocab_party){
        .text = m->text, .tokenizer = k->tokenizers[i], .rows = table->shape[0]};
    return WF_OK;
}

/* A form that weft cannot look into is as good as any if all models have it. */
static int check_opaque(const struct work *k, bool *opaque)
{
    const struct wf_vocab_models *m = &k->w.models;
    *opaque = k->donor->opaque;
    for (size_t i = 0; i < m->n; i++)
        *opaque |= k->parties[i].tokenizer->opaque;
    for (size_t i = 0; i < m->n && *opaque; i++)
        if (!same_files(k->donor, k->parties[i].tokenizer) ||
            k->parties[i].rows != k->parties[0].rows || k->section->n_tokens ||
            k->section->multiple)
            return wf_fail(k->w.e, WF_USAGE,
                           "%s:%d: %s is a form that weft cannot look into: it takes models with "
                           "equal files and tables alone; save the tokenizers as tokenizer.json",
                           k->w.s->recipe.path, k->section->line,
                           k->donor->opaque ? k->donor->path : k->parties[i].tokenizer->path);
    return WF_OK;
}

static int find_token_parties(struct work *k)
{
    const struct wf_recipe_tokenizer *t = k->section;
    size_t party = 0;
    k->token_party = wf_arena_alloc(&k->w.scratch, k->w.e, t->n_tokens, sizeof *k->token_party);
    int s = k->token_party ? WF_OK : WF_MACHINE;
    for (size_t i = 0; i < t->n_tokens && !s; i++) {
        const struct wf_recipe_token *token = &t->tokens[i];
        if (token->source != WF_ROW_OF_MODEL && token->source != WF_ROW_MODEL_TOKEN)
            continue;
        s = find_model(k, &token->model, &party);
        if (!s && party == k->w.models.n)
            s = wf_fail(k->w.e, WF_USAGE,
                        "%s:%d: %s gives a row and is not in the merge; list it under 'models', "
                        "with weight 0 if rows are all that is wanted of it",
                        k->w.s->recipe.path, token->line, token->model.text);
        k->token_party[i] = (uint32_t)party;
    }
    return s;
}

/* ---- overlays ---- */

/* The model's tensors along the vocabulary; a tensor that only may be one is asked about. */
static int list_tensors(struct work *k, size_t i, const struct wf_row_map *map,
                        struct wf_vocab_tensor *list, size_t *n)
{
    const struct wf_vocab_model *m = &k->w.models.list[i];
    uint64_t rows = k->parties[i].rows;
    *n = 0;
    for (size_t t = 0; t < m->ckpt->n_tensors; t++) {
        const struct wf_tensor *tensor = &m->ckpt->tensors[t];
        int axis = wf_vocab_axis(tensor);
        if (axis >= 0 && tensor->shape[axis] == rows)
            list[(*n)++] = (struct wf_vocab_tensor){tensor->name, (unsigned)axis, map};
        else if (axis >= 0)
            wf_log(WF_LOG_WARNING,
                   "%s:%d: %s: tensor '%s' has %" PRIu64 " rows, not the %" PRIu64
                   " of the vocabulary, and stays as it is",
                   k->w.s->recipe.path, m->line, m->text, tensor->name, tensor->shape[axis], rows);
        else if (wf_vocab_may_be(tensor, rows))
            return wf_fail(k->w.e, WF_USAGE,
                           "%s:%d: %s: tensor '%s' has as many rows as the vocabulary, and weft "
                           "does not know whether they are tokens'; leave the section out, or "
                           "rename the tensor",
                           k->w.s->recipe.path, m->line, m->text, tensor->name);
    }
    return WF_OK;
}

static int lay(struct work *k, size_t i, const struct wf_row_map *map,
               const struct wf_vocab_donor *donors, struct wf_ckpt *out)
{
    struct wf_vocab_model *m = &k->w.models.list[i];
    struct wf_vocab_tensor *list =
        wf_arena_alloc(&k->w.scratch, k->w.e, m->ckpt->n_tensors, sizeof *list);
    size_t n;
    int s = list ? list_tensors(k, i, map, list, &n) : WF_MACHINE;
    return s ? s
             : wf_overlay_vocab(k->w.e, &k->w.s->arena, wf_vocab_where(&k->w, m->line), m->ckpt,
                                list, n, donors, k->w.models.n, map, out);
}

static int lay_all(struct work *k, const struct wf_new_vocab *v)
{
    struct wf_vocab_models *m = &k->w.models;
    struct wf_arena *a = &k->w.s->arena;
    struct wf_ckpt *overlays = wf_arena_alloc(a, k->w.e, m->n, sizeof *overlays);
    struct wf_vocab_donor *donors = wf_arena_alloc(&k->w.scratch, k->w.e, m->n, sizeof *donors);
    int s = overlays && donors ? WF_OK : WF_MACHINE;
    for (size_t i = 0; i < m->n && !s; i++) {
        m->list[i].shown = v->maps[i] ? &overlays[i] : m->list[i].ckpt;
        donors[i] = (struct wf_vocab_donor){m->list[i].ckpt, m->list[i].shown};
    }
    for (size_t i = 0; i < m->n && !s; i++)
        if (v->maps[i])
            s = lay(k, i, v->maps[i], donors, &overlays[i]);
    if (!s)
        wf_vocab_replace(&k->w);
    return s;
}

/* ---- the whole ---- */

static void add_map(struct wf_str *s, const struct wf_row_map *map)
{
    char hex[33];
    if (!map) {
        wf_str_puts(s, "rows as they are\n");
        return;
    }
    struct wf_hash128 hash = wf_xxh128(map->from, map->rows * sizeof *map->from);
    for (size_t j = 0; j < map->n_made; j++) {
        struct wf_hash128 link[] = {
            hash, wf_xxh128(map->made[j].refs, map->made[j].n * sizeof *map->made[j].refs)};
        hash = wf_xxh128(link, sizeof link);
    }
    wf_str_printf(s, "rows %" PRIu64 " %s\n", map->rows, wf_hash128_hex(&hash, hex));
}

static int note_facts(struct work *k, const struct wf_new_vocab *v)
{
    struct wf_str s = {0};
    char hex[33];
    wf_str_printf(&s, "tokenizer %s\n", wf_hash128_hex(&k->donor->hash, hex));
    for (size_t i = 0; i < k->w.models.n; i++)
        add_map(&s, v->maps[i]);
    for (const struct wf_side_text *t = k->w.s->side_texts; t; t = t->next) {
        struct wf_hash128 hash = wf_xxh128(t->text ? t->text : "", t->n);
        wf_str_printf(&s, "%s %s\n", t->name, wf_hash128_hex(&hash, hex));
    }
    int status = wf_str_finish(&s, k->w.e);
    k->w.out->facts = status ? NULL : wf_arena_strndup(&k->w.s->arena, k->w.e, s.text, s.n);
    wf_str_free(&s);
    return status ? status : k->w.out->facts ? WF_OK : WF_MACHINE;
}

static void warn_of_model(const struct work *k, size_t i)
{
    const struct wf_vocab_model *m = &k->w.models.list[i];
    uint64_t size;
    if (!k->tokenizers[i]->path)
        wf_log(WF_LOG_WARNING, "%s:%d: %s has no tokenizer; taken to have that of %s",
               k->w.s->recipe.path, m->line, m->text, k->parties[i].tokenizer->folder);
    if (m->ckpt->config && wf_vocab_size(m->ckpt->config, &size) && size != k->parties[i].rows)
        wf_log(WF_LOG_WARNING,
               "%s:%d: %s: vocab_size is %" PRIu64 " in config.json, and the table of embeddings "
               "has %" PRIu64 " rows, which count",
               k->w.s->recipe.path, m->line, m->text, size, k->parties[i].rows);
}

static void warn(const struct work *k, const struct wf_new_vocab *v)
{
    for (size_t i = 0; i < k->w.models.n; i++)
        warn_of_model(k, i);
    if (v->n_zero)
        wf_log(WF_LOG_WARNING,
               "%s:%d: %zu token%s in no model and get%s a row of zeros (first: '%s')",
               k->w.s->recipe.path, k->section->line, v->n_zero, v->n_zero == 1 ? " is" : "s are",
               v->n_zero == 1 ? "s" : "", v->zero);
}

/* "34 tokens in 40 rows, those of one and 2 more; rows move in base" */
static int describe(struct work *k, const struct wf_new_vocab *v)
{
    struct wf_str s = {0};
    size_t n = 0;
    wf_str_printf(&s, "%zu tokens in %" PRIu64 " rows, those of %s", v->vocab.n, v->rows,
                  v->donor->folder);
    if (v->n_appended)
        wf_str_printf(&s, " and %zu more", v->n_appended);
    for (size_t i = 0; i < k->w.models.n && !v->identity; i++)
        if (v->maps[i])
            wf_str_printf(&s, "%s%s", n++ ? ", " : "; rows move in ", k->w.models.list[i].text);
    wf_str_puts(&s, n ? "" : "; no row moves");
    int status = wf_str_finish(&s, k->w.e);
    k->w.out->words = status ? NULL : wf_arena_strndup(&k->w.s->arena, k->w.e, s.text, s.n);
    wf_str_free(&s);
    return status ? status : k->w.out->words ? WF_OK : WF_MACHINE;
}

static int apply_section(struct work *k)
{
    struct wf_setup *s = k->w.s;
    struct wf_new_vocab v;
    bool opaque;
    k->parties = wf_arena_alloc(&k->w.scratch, k->w.e, k->w.models.n, sizeof *k->parties);
    int status = k->parties ? read_tokenizers(k) : WF_MACHINE;
    for (size_t i = 0; i < k->w.models.n && !status; i++)
        status = set_party(k, i);
    if (!status)
        status = find_donor(k);
    if (!status)
        status = check_opaque(k, &opaque);
    if (status || opaque)
        return status;
    status = find_token_parties(k);
    struct wf_vocab_request q = {.where = s->recipe.path,
                                 .section = k->section,
                                 .token_party = k->token_party,
                                 .parties = k->parties,
                                 .n_parties = k->w.models.n,
                                 .has_base = k->w.models.has_base,
                                 .donor = k->donor,
                                 .donor_rows = k->donor_rows,
                                 .compat = k->w.compat};
    if (!status)
        status = wf_vocabulary_plan(k->w.e, &s->arena, &k->w.scratch, &q, &v);
    if (!status)
        status = lay_all(k, &v);
    const struct wf_tokenizer **own =
        wf_arena_alloc(&k->w.scratch, k->w.e, k->w.models.n, sizeof *own);
    for (size_t i = 0; own && i < k->w.models.n; i++)
        own[i] = k->parties[i].tokenizer;
    if (!status)
        status = own ? wf_tokenizer_output(&k->w, &v, own, &k->donor_from) : WF_MACHINE;
    if (status)
        return status;
    warn(k, &v);
    status = describe(k, &v);
    return status ? status : note_facts(k, &v);
}

int wf_tokenizers_apply(struct wf_err *e, bool compat, struct wf_setup *s,
                        struct wf_tokenizers *out)
{
    struct work k = {.w = {.e = e, .s = s, .compat = compat, .out = out},
                     .section = &s->recipe.tokenizer};
    *out = (struct wf_tokenizers){0};
    int status = collect(&k.w);
    if (!status)
        status = k.section->given ? apply_section(&k) : wf_vocab_check_sizes(&k.w);
    wf_arena_destroy(&k.w.scratch);
    wf_mem_trim();
    return status;
}

int wf_tokenizers_edit(struct wf_err *e, struct wf_setup *s, const struct wf_tokenizers *t)
{
    struct wf_plan *plan = &s->plan;
    plan->vocabulary = t->words;
    plan->tokenizer = t->source;
    int status = WF_OK;
    for (size_t i = 0; i < t->edits.n && !status; i++)
        status = wf_config_edits_add(e, &s->arena, &plan->config_edits, t->edits.list[i].path,
                                     t->edits.list[i].value, t->edits.list[i].insert);
    return status;
}
