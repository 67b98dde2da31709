/* recipe_tokenizer.c - `tokenizer_source` and `tokenizer`.
 *
 *     tokenizer_source: base | union | MODEL
 *     tokenizer:
 *       source: union                       the default
 *       tokens:
 *         "<|im_start|>": {source: MODEL, force: true}
 *         "<|im_end|>":   {source: {kind: model_token, model: MODEL, token: "</s>"}}
 *         "<|pad|>":      {source: {kind: zero}}
 *       pad_to_multiple_of: 64
 */
#include "recipe_read.h"

#include <string.h>

#include "../base/num.h"
#include "../base/str.h"
#include "../format/vocab.h"

#define MULTIPLE_MAX (1u << 20)
#define TOKENS_MAX 1000000u

/* Every key of `map` is one of `keys`; `what` is where, for the message. */
static int check_keys(struct wf_recipe_reader *r, const struct wf_yaml *map,
                      const char *const *keys, const char *what)
{
    struct wf_clip clip;
    char hint[128];
    for (size_t i = 0; i < map->n; i++) {
        const struct wf_yaml *v = map->children[i];
        int s = wf_recipe_is_key(keys, v->key)
                    ? WF_OK
                    : wf_recipe_ignore(r, v->key_line, "unknown key '%s' in %s%s",
                                       wf_clip(v->key, &clip), what,
                                       wf_did_you_mean(v->key, keys, hint, sizeof hint));
        if (s)
            return s;
    }
    return WF_OK;
}

static int read_flag(struct wf_recipe_reader *r, const struct wf_yaml *map, bool *out)
{
    const struct wf_yaml *v = wf_recipe_get(map, "force");
    if (v && !wf_yaml_bool(v, out))
        return wf_recipe_fail(r, v->key_line, "'force' must be true or false");
    return WF_OK;
}

/* base, union, or a model. A model in a folder of such a name is ./base. */
static int read_source(struct wf_recipe_reader *r, const struct wf_yaml *v, const char *key)
{
    struct wf_recipe_tokenizer *t = &r->out->tokenizer;
    bool plain = v->kind == WF_YAML_SCALAR;
    if (plain && !strcmp(v->text, "base")) {
        t->source = WF_VOCAB_BASE;
        return WF_OK;
    }
    if (plain && !strcmp(v->text, "union")) {
        t->source = WF_VOCAB_UNION;
        return WF_OK;
    }
    t->source = WF_VOCAB_MODEL;
    return wf_recipe_reference(r, v, key, &t->model);
}

/* ---- tokens ---- */

static int read_other(struct wf_recipe_reader *r, const struct wf_yaml *map,
                      struct wf_recipe_token *out)
{
    const struct wf_yaml *model = wf_recipe_get(map, "model"), *id = wf_recipe_get(map, "token_id"),
                         *token = wf_recipe_get(map, "token");
    uint64_t number = 0;
    if (!model)
        return wf_recipe_fail(r, map->key_line, "a source of kind model_token needs 'model'");
    if (!token == !id)
        return wf_recipe_fail(r, map->key_line,
                              "a source of kind model_token needs 'token' or 'token_id', and not "
                              "both");
    if (token && token->kind != WF_YAML_SCALAR)
        return wf_recipe_fail(r, token->key_line, "'token' needs a text, not %s",
                              wf_recipe_kind(token));
    if (id && (id->kind != WF_YAML_SCALAR || !wf_parse_u64(id->text, id->text_n, &number) ||
               number > WF_VOCAB_ID_MAX))
        return wf_recipe_fail(r, id->key_line, "'token_id' needs a whole number from 0");
    out->other_id = (uint32_t)number;
    if (token) {
        out->other = wf_arena_strndup(r->arena, r->e, token->text, token->text_n);
        out->other_n = token->text_n;
        if (!out->other)
            return WF_MACHINE;
    }
    return wf_recipe_reference(r, model, "model", &out->model);
}

static int read_row_source(struct wf_recipe_reader *r, const struct wf_yaml *v,
                           struct wf_recipe_token *out)
{
    static const char *const keys[] = {"kind", "model", "token", "token_id", NULL};
    static const char *const kinds[] = {"model_token", "zero", NULL};
    const struct wf_yaml *kind = v->kind == WF_YAML_MAP ? wf_yaml_get(v, "kind") : NULL;
    struct wf_clip clip;
    char hint[128];
    out->source = WF_ROW_OF_MODEL;
    if (!kind)
        return wf_recipe_reference(r, v, "source", &out->model);
    int s = check_keys(r, v, keys, "a token's 'source'");
    if (s)
        return s;
    out->source = !strcmp(kind->text, kinds[0]) ? WF_ROW_MODEL_TOKEN : WF_ROW_ZERO;
    if (kind->kind != WF_YAML_SCALAR ||
        (out->source == WF_ROW_ZERO && strcmp(kind->text, kinds[1]) != 0))
        return wf_recipe_fail(r, kind->key_line, "'kind' is '%s'%s; it must be model_token or zero",
                              wf_clip(kind->kind == WF_YAML_SCALAR ? kind->text : "?", &clip),
                              wf_did_you_mean(kind->text, kinds, hint, sizeof hint));
    return out->source == WF_ROW_ZERO ? WF_OK : read_other(r, v, out);
}

static int read_token(struct wf_recipe_reader *r, const struct wf_yaml *v,
                      struct wf_recipe_token *out)
{
    static const char *const keys[] = {"source", "force", NULL};
    struct wf_clip clip;
    *out = (struct wf_recipe_token){.n = strlen(v->key), .line = v->key_line};
    if (!out->n)
        return wf_recipe_fail(r, v->key_line, "an empty text among 'tokens'");
    out->text = wf_arena_strdup(r->arena, r->e, v->key);
    if (!out->text)
        return WF_MACHINE;
    if (v->kind == WF_YAML_NULL)
        return WF_OK;
    if (v->kind != WF_YAML_MAP)
        return wf_recipe_fail(r, v->key_line,
                              "token '%s' needs a map such as {source: MODEL}, not %s",
                              wf_clip(v->key, &clip), wf_recipe_kind(v));
    int s = check_keys(r, v, keys, "a token's entry");
    if (!s)
        s = read_flag(r, v, &out->force);
    const struct wf_yaml *source = wf_recipe_get(v, "source");
    return s || !source ? s : read_row_source(r, source, out);
}

static int read_tokens(struct wf_recipe_reader *r, const struct wf_yaml *map)
{
    struct wf_recipe_tokenizer *t = &r->out->tokenizer;
    if (map->kind != WF_YAML_MAP)
        return wf_recipe_fail(r, map->key_line, "'tokens' needs a map from token to {source: ...}");
    if (map->n > TOKENS_MAX)
        return wf_recipe_fail(r, map->key_line, "'tokens' has more than %u entries", TOKENS_MAX);
    t->tokens = wf_arena_alloc(r->arena, r->e, map->n, sizeof *t->tokens);
    int s = t->tokens ? WF_OK : WF_MACHINE;
    for (; !s && t->n_tokens < map->n; t->n_tokens++)
        s = read_token(r, map->children[t->n_tokens], &t->tokens[t->n_tokens]);
    return s;
}

static int read_multiple(struct wf_recipe_reader *r, const struct wf_yaml *v)
{
    uint64_t *out = &r->out->tokenizer.multiple;
    if (v->kind != WF_YAML_SCALAR || !wf_parse_u64(v->text, v->text_n, out) || !*out ||
        *out > MULTIPLE_MAX)
        return wf_recipe_fail(
            r, v->key_line, "'pad_to_multiple_of' needs a whole number from 1 to %u", MULTIPLE_MAX);
    return WF_OK;
}

int wf_recipe_tokenizer(struct wf_recipe_reader *r, const struct wf_yaml *document)
{
    static const char *const keys[] = {"source", "tokens", "pad_to_multiple_of", "force", NULL};
    const struct wf_yaml *legacy = wf_recipe_get(document, "tokenizer_source"),
                         *map = wf_recipe_get(document, "tokenizer");
    struct wf_recipe_tokenizer *t = &r->out->tokenizer;
    if (!legacy && !map)
        return WF_OK;
    if (legacy && map)
        return wf_recipe_fail(r, legacy->key_line,
                              "'tokenizer_source' and 'tokenizer' both say where the vocabulary "
                              "comes from; keep 'tokenizer'");
    *t = (struct wf_recipe_tokenizer){.given = true, .source = WF_VOCAB_UNION};
    t->line = (legacy ? legacy : map)->key_line;
    if (legacy)
        return read_source(r, legacy, "tokenizer_source");
    if (map->kind != WF_YAML_MAP)
        return wf_recipe_fail(r, t->line, "'tokenizer' needs a map such as {source: base}, not %s",
                              wf_recipe_kind(map));
    const struct wf_yaml *source = wf_recipe_get(map, "source"),
                         *tokens = wf_recipe_get(map, "tokens"),
                         *multiple = wf_recipe_get(map, "pad_to_multiple_of");
    int s = check_keys(r, map, keys, "'tokenizer'");
    if (!s && source)
        s = read_source(r, source, "source");
    if (!s && tokens)
        s = read_tokens(r, tokens);
    if (!s && multiple)
        s = read_multiple(r, multiple);
    return s ? s : read_flag(r, map, &t->force);
}
