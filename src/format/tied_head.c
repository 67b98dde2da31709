/* tied_head.c - which tensor is the head, which the table: by config.json and name; see
 * tied_head.h.
 */
#include "tied_head.h"

#include <string.h>

/* The name is, or ends in, one of the modules, then ".weight". */
static bool is_weight_of(const char *name, const char *const *modules)
{
    static const char suffix[] = ".weight";
    size_t n = strlen(name), tail = sizeof suffix - 1;
    if (n <= tail || strcmp(name + n - tail, suffix) != 0)
        return false;
    n -= tail;
    for (; *modules; modules++) {
        size_t m = strlen(*modules);
        if (m <= n && !memcmp(name + n - m, *modules, m) && (m == n || name[n - m - 1] == '.'))
            return true;
    }
    return false;
}

bool wf_is_token_table(const char *name)
{
    static const char *const modules[] = {"embed_tokens", "wte",    "word_embeddings",
                                          "embed_in",     "shared", "tok_embeddings",
                                          "embedding",    NULL};
    return is_weight_of(name, modules);
}

bool wf_is_head(const char *name)
{
    static const char *const modules[] = {"lm_head", "embed_out", NULL};
    return is_weight_of(name, modules);
}

static bool is_set(const struct wf_json *config)
{
    const struct wf_json *tied = wf_json_get(config, "tie_word_embeddings");
    return tied && tied->kind == WF_JSON_BOOL && tied->number != 0;
}

bool wf_says_tied(const struct wf_ckpt *c)
{
    return c->config && (is_set(c->config) || is_set(wf_json_get(c->config, "text_config")));
}

const struct wf_tensor *wf_tied_head(const struct wf_ckpt *c)
{
    if (!wf_says_tied(c))
        return NULL;
    for (size_t i = 0; i < c->n_tensors; i++)
        if (wf_is_head(c->tensors[i].name))
            return &c->tensors[i];
    return NULL;
}
