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

static bool says_tied(const struct wf_json *config)
{
    const struct wf_json *tied = wf_json_get(config, "tie_word_embeddings");
    return tied && tied->kind == WF_JSON_BOOL && tied->number != 0;
}

const struct wf_tensor *wf_tied_head(const struct wf_ckpt *c)
{
    static const char *const modules[] = {"lm_head", "embed_out", NULL};
    if (!c->config || !(says_tied(c->config) || says_tied(wf_json_get(c->config, "text_config"))))
        return NULL;
    for (size_t i = 0; i < c->n_tensors; i++)
        if (is_weight_of(c->tensors[i].name, modules))
            return &c->tensors[i];
    return NULL;
}
