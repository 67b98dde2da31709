/* vocab_tensors.c - names of tables, heads and their biases; see vocab_tensors.h. */
#include "vocab_tensors.h"

#include <string.h>

#include "../base/str.h"
#include "row_map.h"
#include "tied_head.h"

/* The last parts of a name. */
struct rule {
    const char *end;
    unsigned n_dims;
    int axis;
};

static const struct rule rules[] = {
    {"embed_tokens.weight", 2, 0},
    {"wte.weight", 2, 0},
    {"word_embeddings.weight", 2, 0},
    {"embed_in.weight", 2, 0},
    {"tok_embeddings.weight", 2, 0},
    {"shared.weight", 2, 0},
    {"embedding.weight", 2, 0},
    {"embeddings.weight", 2, 0},
    {"embed_tokens_per_layer.weight", 2, 0},
    {"lm_head.weight", 2, 0},
    {"lm_head.decoder.weight", 2, 0},
    {"embed_out.weight", 2, 0},
    {"output_layer.weight", 2, 0},
    {"shared_head.head.weight", 2, 0},
    {"predictions.decoder.weight", 2, 0},
    {"vocab_projector.weight", 2, 0},
    {"lm_head.bias", 1, 0},
    {"lm_head.decoder.bias", 1, 0},
    {"embed_out.bias", 1, 0},
    {"predictions.bias", 1, 0},
    {"predictions.decoder.bias", 1, 0},
    {"vocab_projector.bias", 1, 0},
    {"final_logits_bias", 2, 1},
};

/* These are so called at top level alone; inside a layer they are other things. */
static const char *const top_level[] = {"output.weight", "head.weight", "model.output.weight",
                                        "model.head.weight", NULL};

/* Whole parts of the name at its end. */
static bool ends_in(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && !memcmp(name + n - m, end, m) && (n == m || name[n - m - 1] == '.');
}

int wf_vocab_axis(const struct wf_tensor *t)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (t->n_dims == rules[i].n_dims && ends_in(t->name, rules[i].end))
            return rules[i].axis == 0 || t->shape[0] == 1 ? rules[i].axis : -1;
    for (size_t i = 0; top_level[i]; i++)
        if (t->n_dims == 2 && !strcmp(t->name, top_level[i]))
            return 0;
    return -1;
}

bool wf_vocab_size(const struct wf_json *config, uint64_t *size)
{
    const struct wf_json *text = wf_json_get(config, "text_config");
    return wf_json_u64(wf_json_get(text, "vocab_size"), size) ||
           wf_json_u64(wf_json_get(config, "vocab_size"), size);
}

/* A map changes a table's length, and config.json knows of the stored one. */
static uint64_t stored_rows(const struct wf_tensor *t)
{
    return t->rows ? t->rows->stored->shape[0] : t->shape[0];
}

const struct wf_tensor *wf_vocab_table(const struct wf_ckpt *c)
{
    const struct wf_tensor *best = NULL;
    uint64_t size = 0;
    bool said = c->config && wf_vocab_size(c->config, &size);
    for (size_t i = 0; i < c->n_tensors; i++) {
        const struct wf_tensor *t = &c->tensors[i];
        if (!wf_is_token_table(t->name) || t->n_dims != 2 || !t->count)
            continue;
        bool fits = said && stored_rows(t) == size;
        bool best_fits = best && said && stored_rows(best) == size;
        if (!best || (fits && !best_fits) ||
            (fits == best_fits && stored_rows(t) > stored_rows(best)))
            best = t;
    }
    return best;
}

const struct wf_tensor *wf_vocab_tensor_of(const struct wf_ckpt *c, const char *name)
{
    const struct wf_tensor *t = wf_ckpt_find(c, name);
    return !t && wf_is_head(name) && wf_says_tied(c) ? wf_vocab_table(c) : t;
}

bool wf_vocab_may_be(const struct wf_tensor *t, uint64_t rows)
{
    if (wf_vocab_axis(t) >= 0 || !t->n_dims || t->shape[0] != rows || wf_layer_of(t->name) >= 0)
        return false;
    for (unsigned d = 1; d < t->n_dims; d++)
        if (t->shape[d] == rows)
            return false;
    return !strstr(t->name, "norm") && !strstr(t->name, "position") && !strstr(t->name, "wpe");
}
