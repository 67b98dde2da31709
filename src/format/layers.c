/* layers.c - groups tensor names by what stands before their first number; see layers.h. */
#include "layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "st_header.h"

/* A tensor of some layer, as sorting wants it. */
struct row {
    const char *name;
    size_t prefix_n;
    long layer;
};

/* Bytes of `name` before the component that wf_layer_of reads, without the '.': it is the first
 * that is all digits, one to nine of them. */
static size_t prefix_bytes(const char *name)
{
    const char *part = name;
    for (;;) {
        size_t n = strcspn(part, ".");
        if (n && n <= 9 && strspn(part, "0123456789") == n)
            return part == name ? 0 : (size_t)(part - name) - 1;
        part += n + 1;
    }
}

static int compare_prefix(const char *a, size_t n, const char *b, size_t m)
{
    int order = memcmp(a, b, n < m ? n : m);
    return order || n == m ? order : n < m ? -1 : 1;
}

static int by_prefix_and_layer(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int order = compare_prefix(x->name, x->prefix_n, y->name, y->prefix_n);
    return order ? order : (x->layer > y->layer) - (x->layer < y->layer);
}

static void group_rows(const struct row *rows, size_t n, struct wf_stacks *out)
{
    for (size_t i = 0; i < n; i++) {
        struct wf_stack *last = out->n ? &out->list[out->n - 1] : NULL;
        if (!last || compare_prefix(last->name, last->prefix_n, rows[i].name, rows[i].prefix_n)) {
            last = &out->list[out->n++];
            *last = (struct wf_stack){
                rows[i].name, rows[i].prefix_n, rows[i].layer, rows[i].layer, 1, 0};
        }
        last->layers += last->last != rows[i].layer;
        last->last = rows[i].layer;
        last->tensors++;
    }
}

bool wf_is_sense(const char *text)
{
    static const char *const senses[] = {"vision", "visual", "image", "audio"};
    for (size_t i = 0; i < sizeof senses / sizeof *senses; i++)
        if (strstr(text, senses[i]))
            return true;
    return false;
}

static bool is_tower(const struct wf_stack *k)
{
    char prefix[WF_ST_NAME_MAX + 1];
    snprintf(prefix, sizeof prefix, "%.*s", (int)k->prefix_n, k->name);
    return wf_is_sense(prefix);
}

static const struct wf_stack *main_of(const struct wf_stacks *s)
{
    const struct wf_stack *most = NULL;
    for (size_t i = 0; i < s->n; i++) {
        const struct wf_stack *k = &s->list[i];
        bool better =
            most && (is_tower(most) != is_tower(k) ? is_tower(most) : k->tensors > most->tensors);
        if (!most || better)
            most = k;
    }
    return most;
}

static long depth_of(const struct wf_ckpt *c, const struct wf_stack *main)
{
    const struct wf_json *text = wf_json_get(c->config, "text_config");
    const struct wf_json *objects[] = {c->config, text};
    long all = main->last + 1;
    for (size_t i = 0; i < 2; i++) {
        uint64_t count, more;
        const struct wf_json *layers =
            objects[i] ? wf_json_get(objects[i], "num_hidden_layers") : NULL;
        const struct wf_json *further =
            objects[i] ? wf_json_get(objects[i], "num_nextn_predict_layers") : NULL;
        if (layers && further && wf_json_u64(layers, &count) && wf_json_u64(further, &more) &&
            count && count + more == (uint64_t)all)
            return (long)count;
    }
    return all;
}

int wf_stacks_find(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *c,
                   bool (*among)(const void *arg, const char *name), const void *arg,
                   struct wf_stacks *out)
{
    struct row *rows = wf_alloc(e, WF_MEM_META, c->n_tensors, sizeof *rows, "a list of layers");
    size_t n = 0;
    *out = (struct wf_stacks){0};
    if (!rows)
        return wf_err_status(e);
    for (size_t i = 0; i < c->n_tensors; i++) {
        const char *name = c->tensors[i].name;
        long layer = !among || among(arg, name) ? wf_layer_of(name) : -1;
        if (layer >= 0)
            rows[n++] = (struct row){name, prefix_bytes(name), layer};
    }
    qsort(rows, n, sizeof *rows, by_prefix_and_layer);
    size_t n_stacks = 0;
    for (size_t i = 0; i < n; i++)
        n_stacks += i == 0 || compare_prefix(rows[i - 1].name, rows[i - 1].prefix_n, rows[i].name,
                                             rows[i].prefix_n);
    out->list = wf_arena_alloc(a, e, n_stacks, sizeof *out->list);
    if (out->list)
        group_rows(rows, n, out);
    wf_free(rows);
    out->main = main_of(out);
    out->depth = out->main ? depth_of(c, out->main) : 0;
    return out->list ? WF_OK : wf_err_status(e);
}

const struct wf_stack *wf_stack_of(const struct wf_stacks *s, const char *name)
{
    if (wf_layer_of(name) < 0)
        return NULL;
    size_t prefix_n = prefix_bytes(name), low = 0, high = s->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct wf_stack *k = &s->list[middle];
        int order = compare_prefix(name, prefix_n, k->name, k->prefix_n);
        if (order == 0)
            return k;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* ---- before the layers or behind them ---- */

enum side { UNKNOWN, INPUT, HEAD, NORM };

/* Part of a tensor's name between two dots. Its words are what '_' separates in it. */
struct component {
    const char *text;
    size_t n;
};

static bool is_listed(struct component c, const char *const *list)
{
    for (; *list; list++)
        if (strlen(*list) == c.n && !memcmp(c.text, *list, c.n))
            return true;
    return false;
}

static bool has_listed_word(struct component c, const char *const *list)
{
    const char *end = c.text + c.n;
    for (const char *at = c.text; at < end;) {
        const char *stop = memchr(at, '_', (size_t)(end - at));
        stop = stop ? stop : end;
        if (is_listed((struct component){at, (size_t)(stop - at)}, list))
            return true;
        at = stop + 1;
    }
    return false;
}

static bool contains_listed(struct component c, const char *const *list)
{
    for (; *list; list++)
        if (memmem(c.text, c.n, *list, strlen(*list)))
            return true;
    return false;
}

/* Whole components first: heads that are called after the embedding, and the final norm of LFM2. */
static enum side side_of(struct component c)
{
    static const char *const heads[] = {
        "embed_out", "output_embeddings", "unembed", "unembedding", "embedding_norm", "cls", NULL};
    static const char *const of_vocabulary[] = {"vocab", NULL};
    static const char *const inputs[] = {"emb", "wte", "wpe", "word_", "tok_", "patch", NULL};
    static const char *const bridges[] = {"projector", "projection", "connector", "merger",
                                          "adapter",   "resampler",  NULL};
    static const char *const first_words[] = {"conv", "conv1", "conv2", "stem", NULL};
    static const char *const head_words[] = {"head",       "out",   "output",      "outputs",
                                             "classifier", "score", "logits",      "pooler",
                                             "loss",       "final", "predictions", NULL};
    static const char *const input_words[] = {"pre", "in", "input", "feature", NULL};
    static const char *const norm_words[] = {"norm", "layernorm", "rmsnorm", "ln", NULL};
    if (is_listed(c, heads))
        return HEAD;
    if (contains_listed(c, inputs))
        return INPUT;
    if (has_listed_word(c, of_vocabulary))
        return HEAD;
    if (contains_listed(c, bridges) || has_listed_word(c, first_words))
        return INPUT;
    if (has_listed_word(c, head_words))
        return HEAD;
    if (has_listed_word(c, input_words))
        return INPUT;
    return has_listed_word(c, norm_words) ? NORM : UNKNOWN;
}

bool wf_is_behind_layers(const char *name)
{
    bool found[NORM + 1] = {false};
    for (const char *at = name; *at;) {
        size_t n = strcspn(at, ".");
        found[side_of((struct component){at, n})] = true;
        at += n + (at[n] == '.');
    }
    return !found[INPUT] && (found[HEAD] || found[NORM]);
}
