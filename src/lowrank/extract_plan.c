/* extract_plan.c - which tensors of a fine-tune become factors; see extract_plan.h. */
#include "extract_plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/str.h"
#include "../format/overlay.h"
#include "../format/shape.h"

#define WEIGHT ".weight"

static bool listed(const char *const *globs, const char *name)
{
    for (; globs && *globs; globs++)
        if (wf_glob(*globs, name))
            return true;
    return false;
}

static bool is_word(const char *word, const char *const *words)
{
    for (; *words; words++)
        if (!strcmp(word, *words))
            return true;
    return false;
}

static bool is_embedding(const char *path)
{
    static const char *const words[] = {"wte", "wpe", "shared", NULL};
    const char *last = wf_last_word(path);
    return strstr(last, "embed") || is_word(last, words);
}

static bool is_head(const char *path)
{
    static const char *const words[] = {"lm_head", "embed_out",  "output",
                                        "score",   "classifier", NULL};
    return is_word(wf_last_word(path), words);
}

/* ---- roles ------------------------------------------------------------------------------------
 */

struct planning {
    struct wf_err *e;
    struct wf_arena *a;
    const struct wf_ckpt *model, *base;
    const struct wf_extract_options *options;
};

static bool is_matrix(const struct wf_tensor *t)
{
    return t->n_dims >= 2 && t->count && wf_ends_with(t->name, WEIGHT) &&
           wf_dtype_info((enum wf_dtype)t->dtype)->arithmetic;
}

/* Is this weight to be factored? */
static bool is_wanted(const struct planning *p, const struct wf_tensor *t, const char *path)
{
    if (!is_matrix(t) || listed(p->options->exclude, t->name))
        return false;
    if (p->options->include)
        return listed(p->options->include, t->name);
    return t->n_dims == 2 && !is_embedding(path) && !is_head(path);
}

static int set_factor(const struct planning *p, struct wf_extract_item *item)
{
    const struct wf_tensor *t = item->tensor;
    uint64_t rows = t->shape[0], columns = t->count / rows;
    item->role = WF_ROLE_FACTOR;
    item->kind = t->n_dims > 2              ? WF_ADAPTER_CONV
                 : is_embedding(item->path) ? WF_ADAPTER_EMBEDDING
                                            : WF_ADAPTER_LINEAR;
    item->turned =
        item->kind == WF_ADAPTER_EMBEDDING ||
        (item->kind == WF_ADAPTER_LINEAR && wf_is_input_first(p->model->config, item->path));
    if (rows > WF_LINALG_SIZE_MAX || columns > WF_LINALG_SIZE_MAX)
        return wf_fail(p->e, WF_USAGE, "%s: tensor '%s' is too large to factor; use --exclude",
                       p->model->place.path, t->name);
    item->rows = (uint32_t)rows;
    item->columns = (uint32_t)columns;
    return WF_OK;
}

static bool same_shape(const struct wf_tensor *a, const struct wf_tensor *b)
{
    return a->n_dims == b->n_dims && !memcmp(a->shape, b->shape, a->n_dims * sizeof *a->shape);
}

static int check_partner(const struct planning *p, const struct wf_extract_item *item,
                         const struct wf_tensor *partner)
{
    const struct wf_tensor *t = item->tensor;
    char mine[WF_SHAPE_TEXT_MAX], other[WF_SHAPE_TEXT_MAX];
    if (item->base || item->role == WF_ROLE_SAVE || listed(p->options->exclude, t->name))
        return WF_OK;
    if (!partner)
        return wf_fail(p->e, WF_USAGE,
                       "%s: tensor '%s' is not in the base %s; --save-whole puts it into the "
                       "adapter, --exclude leaves it out",
                       p->model->place.path, t->name, p->base->place.path);
    return wf_fail(p->e, WF_USAGE,
                   "%s: tensor '%s' is %s, and %s in the base %s; --save-whole puts it into the "
                   "adapter, --exclude leaves it out",
                   p->model->place.path, t->name,
                   wf_shape_text(t->shape, t->n_dims, WF_SHAPE_SPACED, mine),
                   wf_shape_text(partner->shape, partner->n_dims, WF_SHAPE_SPACED, other),
                   p->base->place.path);
}

static int plan_item(const struct planning *p, const struct wf_tensor *t,
                     struct wf_extract_item *item)
{
    const struct wf_tensor *partner = wf_ckpt_find(p->base, t->name);
    *item = (struct wf_extract_item){.tensor = t, .role = WF_ROLE_LOSE};
    if (partner && same_shape(t, partner))
        item->base = partner;
    if (listed(p->options->save_whole, t->name))
        item->role = WF_ROLE_SAVE;
    int s = check_partner(p, item, partner);
    if (s || item->role == WF_ROLE_SAVE || !item->base)
        return s;
    size_t n = strlen(t->name) - (is_matrix(t) ? strlen(WEIGHT) : 0);
    item->path = wf_arena_strndup(p->a, p->e, t->name, n);
    if (!item->path)
        return WF_MACHINE;
    bool computable = wf_dtype_info((enum wf_dtype)partner->dtype)->arithmetic;
    return computable && is_wanted(p, t, item->path) ? set_factor(p, item) : WF_OK;
}

int wf_extract_plan(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *model,
                    const struct wf_ckpt *base, const struct wf_extract_options *options,
                    struct wf_extract_item **out)
{
    struct planning p = {.e = e, .a = a, .model = model, .base = base, .options = options};
    struct wf_extract_item *items = wf_arena_alloc(a, e, model->n_tensors, sizeof *items);
    int s = items ? WF_OK : WF_MACHINE;
    for (size_t i = 0; !s && i < model->n_tensors; i++)
        s = plan_item(&p, &model->tensors[i], &items[i]);
    for (size_t i = 0; !s && i < base->n_tensors; i++) {
        const char *name = base->tensors[i].name;
        if (!wf_ckpt_find(model, name) && !listed(options->exclude, name))
            s = wf_fail(e, WF_USAGE,
                        "%s: the base's tensor '%s' is not in the model; --exclude leaves it as it "
                        "is",
                        model->place.path, name);
    }
    *out = items;
    return s;
}

/* ---- targets ----------------------------------------------------------------------------------
 */

/* Is there a weight of this last part that is not among those kept? */
static bool is_ambiguous(const struct wf_extract_item *items, const bool *kept, size_t n,
                         const char *last)
{
    for (size_t i = 0; i < n; i++)
        if (!kept[i] && items[i].path && is_matrix(items[i].tensor) &&
            !strcmp(wf_last_word(items[i].path), last))
            return true;
    return false;
}

static int by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static bool is_target(const struct wf_extract_item *item, bool kept, const char *last)
{
    return kept && item->role == WF_ROLE_FACTOR &&
           (!last || !strcmp(wf_last_word(item->path), last));
}

int wf_extract_targets(struct wf_err *e, struct wf_arena *a, const struct wf_extract_item *items,
                       const bool *kept, size_t n, const char *const **out, size_t *n_out)
{
    const char **words = wf_arena_alloc(a, e, n, sizeof *words);
    const char **targets = wf_arena_alloc(a, e, n, sizeof *targets);
    size_t n_words = 0, n_targets = 0;
    if (!words || !targets)
        return WF_MACHINE;
    for (size_t i = 0; i < n; i++)
        if (is_target(&items[i], kept[i], NULL))
            words[n_words++] = wf_last_word(items[i].path);
    if (n_words)
        qsort(words, n_words, sizeof *words, by_text);
    for (size_t k = 0; k < n_words; k++) {
        if (k && !strcmp(words[k], words[k - 1]))
            continue;
        if (!is_ambiguous(items, kept, n, words[k])) {
            targets[n_targets++] = words[k];
            continue;
        }
        for (size_t i = 0; i < n; i++)
            if (is_target(&items[i], kept[i], words[k]))
                targets[n_targets++] = items[i].path;
    }
    if (n_targets)
        qsort(targets, n_targets, sizeof *targets, by_text);
    *out = targets;
    *n_out = n_targets;
    return WF_OK;
}
