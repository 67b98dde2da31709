/* overlay.c - base + adapter as one checkpoint: which tensor each module of the adapter means,
 * which way round its product lies, and the table that results; see overlay.h.
 *
 *   module path ──► "path.weight", "path", "path.in_proj_weight" in the base, with other prefixes
 * too linear      W [out, in]          += s B A            rows = out, cols = in Conv1D      W [in,
 * out]          += s (B A)^T        rows = in, cols = out embedding   W [vocab, dim]       += s (B
 * A)^T        rows = vocab, cols = dim convolution W [out, in, k...]    += s B A            rows =
 * out, cols = in k... its bias    b [out]              += s bias           rows = out, cols = 1
 */
#include "overlay.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/log.h"
#include "../base/str.h"
#include "adapter_config.h"
#include "shape.h"
#include "tied_head.h"
#include "vocab_tensors.h"

#define MISSES_SHOWN 3
#define NEAR_SHOWN 3

struct laying {
    struct wf_err *e;
    struct wf_arena *a;
    const char *where;
    const struct wf_ckpt *base;
    const struct wf_adapter *adapter;
    struct wf_ckpt *out;
    struct wf_tensor **targets; /* of the modules, in out's table; NULL where one has none */
    const char **missing;       /* module paths and tensor names without a tensor in the base */
    size_t n_missing;
    bool seen_plain, seen_turned; /* among weights that are not square */
};

/* ---- the base's tensor ------------------------------------------------------------------------
 */

/* Prefixes that one library's names have and another's lack. */
static const char *const prefixes[] = {
    "",
    "model.",
    "language_model.",
    "model.language_model.",
    "language_model.model.",
    "transformer.",
    "module.",
};

/* The tensor of out's table called prefix + path + suffix. */
static struct wf_tensor *find(struct laying *l, const char *prefix, const char *path,
                              const char *suffix)
{
    struct wf_str name = {0};
    wf_str_printf(&name, "%s%s%s", prefix, path, suffix);
    const struct wf_tensor *t = wf_str_finish(&name, l->e) ? NULL : wf_ckpt_find(l->out, name.text);
    wf_str_free(&name);
    return t ? &l->out->tensors[t - l->out->tensors] : NULL;
}

/* The path as it stands, then with each known prefix taken off and each put on. */
static struct wf_tensor *find_anywhere(struct laying *l, const char *path,
                                       const char *const *suffixes)
{
    const size_t n = sizeof prefixes / sizeof *prefixes;
    for (size_t off = 0; off < n; off++) {
        if (!wf_starts_with(path, prefixes[off]))
            continue;
        for (size_t on = 0; on < n; on++)
            for (const char *const *suffix = suffixes; *suffix; suffix++) {
                struct wf_tensor *t = find(l, prefixes[on], path + strlen(prefixes[off]), *suffix);
                if (t)
                    return t;
            }
    }
    return NULL;
}

static struct wf_tensor *find_weight(struct laying *l, const char *path)
{
    static const char *const suffixes[] = {".weight", "", ".in_proj_weight", NULL};
    return find_anywhere(l, path, suffixes);
}

static struct wf_tensor *find_bias(struct laying *l, const char *path)
{
    static const char *const suffixes[] = {".bias", ".in_proj_bias", NULL};
    return find_anywhere(l, path, suffixes);
}

static struct wf_tensor *find_name(struct laying *l, const char *name)
{
    static const char *const suffixes[] = {"", NULL};
    return find_anywhere(l, name, suffixes);
}

/* ---- misses -----------------------------------------------------------------------------------
 */

/* How much two names have in common: whole letters from the end, then from the start. */
static size_t likeness(const char *name, const char *of)
{
    size_t n = strlen(name), m = strlen(of), back = 0, front = 0;
    while (back < n && back < m && name[n - 1 - back] == of[m - 1 - back])
        back++;
    while (front < n && front < m && name[front] == of[front])
        front++;
    return back + front;
}

static bool write_near(struct wf_str *text, const struct wf_ckpt *base, const char *wanted)
{
    const struct wf_tensor *near[NEAR_SHOWN] = {0};
    size_t score[NEAR_SHOWN] = {0};
    for (size_t i = 0; i < base->n_tensors; i++) {
        size_t like = likeness(base->tensors[i].name, wanted);
        size_t k = NEAR_SHOWN;
        while (k && (!near[k - 1] || like > score[k - 1]))
            k--;
        if (k == NEAR_SHOWN)
            continue;
        memmove(&near[k + 1], &near[k], (NEAR_SHOWN - 1 - k) * sizeof *near);
        memmove(&score[k + 1], &score[k], (NEAR_SHOWN - 1 - k) * sizeof *score);
        near[k] = &base->tensors[i];
        score[k] = like;
    }
    for (size_t k = 0; k < NEAR_SHOWN && near[k]; k++)
        wf_str_printf(text, "%s'%s'", k ? ", " : "", near[k]->name);
    return near[0] != NULL;
}

static int report_missing(const struct laying *l)
{
    struct wf_str text = {0}, near = {0};
    size_t shown = l->n_missing < MISSES_SHOWN ? l->n_missing : MISSES_SHOWN;
    for (size_t i = 0; i < shown; i++)
        wf_str_printf(&text, "%s'%s'", i ? ", " : "", l->missing[i]);
    if (shown < l->n_missing)
        wf_str_printf(&text, " and %zu more", l->n_missing - shown);
    bool any = write_near(&near, l->base, l->missing[0]);
    int s = wf_str_finish(&text, l->e);
    if (!s && any)
        s = wf_str_finish(&near, l->e);
    if (!s)
        s = wf_fail(l->e, WF_USAGE,
                    "%s: %s has no tensors for %zu part%s of the adapter %s: %s%s%s%s; is it the "
                    "base that the adapter was made for%s%s?",
                    l->where, l->base->place.path, l->n_missing, l->n_missing == 1 ? "" : "s",
                    l->adapter->ckpt->place.path, text.text, any ? " (nearest to the first: " : "",
                    any ? near.text : "", any ? ")" : "", l->adapter->base_name ? ", " : "",
                    l->adapter->base_name ? l->adapter->base_name : "");
    wf_str_free(&text);
    wf_str_free(&near);
    return s;
}

static void miss(struct laying *l, const char *name)
{
    l->missing[l->n_missing++] = name;
}

/* ---- which way round --------------------------------------------------------------------------
 */

/* A linear layer's weight is [out, in], or [in, out] in layers of the kind of GPT-2's Conv1D. */
static bool is_plain(const struct wf_adapter_module *m, const struct wf_tensor *w)
{
    return w->n_dims == 2 && w->shape[0] == m->b->shape[0] && w->shape[1] == m->a->shape[1];
}

static bool is_turned(const struct wf_adapter_module *m, const struct wf_tensor *w)
{
    return w->n_dims == 2 && w->shape[0] == m->a->shape[1] && w->shape[1] == m->b->shape[0];
}

static bool is_one_of(const char *word, const char *const *list)
{
    for (; *list; list++)
        if (!strcmp(word, *list))
            return true;
    return false;
}

static bool is_input_first_family(const char *family)
{
    static const char *const families[] = {"gpt2", "openai-gpt", "imagegpt", "decision_transformer",
                                           NULL};
    return family && is_one_of(family, families);
}

bool wf_is_input_first(const struct wf_json *config, const char *path)
{
    static const char *const layers[] = {"c_attn", "c_proj", "c_fc", "q_attn", NULL};
    const char *dot = strrchr(path, '.');
    return is_input_first_family(wf_json_string(config, "model_type")) &&
           is_one_of(dot ? dot + 1 : path, layers);
}

/* A square weight's shape does not tell. What does, in this order: a family that is known to use
 * Conv1D; the other weights of the adapter; any other family; the adapter's flag. */
static bool square_is_turned(const struct laying *l, const struct wf_adapter_module *m)
{
    const char *family = wf_json_string(l->base->config, "model_type");
    if (is_input_first_family(family))
        return wf_is_input_first(l->base->config, m->path);
    if (l->seen_plain != l->seen_turned)
        return l->seen_turned;
    return !family && l->adapter->fan_in_fan_out;
}

static int misfit(const struct laying *l, const struct wf_adapter_module *m,
                  const struct wf_tensor *w, const char *expected)
{
    char a[WF_SHAPE_TEXT_MAX], b[WF_SHAPE_TEXT_MAX], shape[WF_SHAPE_TEXT_MAX];
    return wf_fail(l->e, WF_USAGE,
                   "%s: %s: tensor '%s' is %s, but the factors of module '%s' of %s are A %s and B "
                   "%s%s",
                   l->where, l->base->place.path, w->name,
                   wf_shape_text(w->shape, w->n_dims, WF_SHAPE_SPACED, shape), m->path,
                   l->adapter->ckpt->place.path,
                   wf_shape_text(m->a->shape, m->a->n_dims, WF_SHAPE_SPACED, a),
                   wf_shape_text(m->b->shape, m->b->n_dims, WF_SHAPE_SPACED, b), expected);
}

static int check_convolution(const struct laying *l, const struct wf_adapter_module *m,
                             const struct wf_tensor *w)
{
    bool fits = w->n_dims == m->a->n_dims && w->shape[0] == m->b->shape[0];
    for (unsigned d = 2; fits && d < w->n_dims; d++)
        fits = w->shape[d] == m->a->shape[d];
    if (!fits)
        return misfit(l, m, w, "");
    if (w->shape[1] == m->a->shape[1])
        return WF_OK;
    bool grouped = w->shape[1] && m->a->shape[1] % w->shape[1] == 0;
    return misfit(l, m, w, grouped ? "; weft does not add to grouped convolutions" : "");
}

/* *turned: the product is to be transposed. */
static int orient(const struct laying *l, const struct wf_adapter_module *m,
                  const struct wf_tensor *w, bool *turned)
{
    *turned = m->kind == WF_ADAPTER_EMBEDDING;
    if (m->kind == WF_ADAPTER_CONV)
        return check_convolution(l, m, w);
    bool plain_fits = is_plain(m, w), turned_fits = is_turned(m, w);
    if (m->kind == WF_ADAPTER_EMBEDDING)
        return turned_fits ? WF_OK : misfit(l, m, w, "; expected A [r, rows] and B [columns, r]");
    if (!plain_fits && !turned_fits)
        return misfit(l, m, w, "");
    *turned = plain_fits && turned_fits ? square_is_turned(l, m) : turned_fits;
    return WF_OK;
}

/* ---- addends ----------------------------------------------------------------------------------
 */

/* The adapter's tensor as one of the overlay's files. */
static struct wf_tensor *lift(const struct laying *l, const struct wf_tensor *t)
{
    struct wf_tensor *lifted = wf_arena_alloc(l->a, l->e, 1, sizeof *lifted);
    if (!lifted)
        return NULL;
    *lifted = *t;
    lifted->file += (uint32_t)l->base->n_files;
    return lifted;
}

static int check_target(const struct laying *l, const struct wf_tensor *w, const char *path)
{
    const struct wf_dtype_info *type = wf_dtype_info((enum wf_dtype)w->dtype);
    if (!type->arithmetic)
        return wf_fail(l->e, WF_USAGE,
                       "%s: %s: tensor '%s' is of type %s; an adapter can be added to weights of "
                       "F64, F32, F16 and BF16 only",
                       l->where, l->base->place.path, w->name, type->name);
    if (w->addend)
        return wf_fail(l->e, WF_USAGE,
                       "%s: %s: module '%s' and another both mean tensor '%s' of %s", l->where,
                       l->adapter->ckpt->place.path, path, w->name, l->base->place.path);
    return WF_OK;
}

static int add_product(const struct laying *l, const struct wf_adapter_module *m,
                       struct wf_tensor *w)
{
    bool turned;
    int s = check_target(l, w, m->path);
    if (!s)
        s = orient(l, m, w, &turned);
    if (s)
        return s;
    struct wf_addend *d = wf_arena_alloc(l->a, l->e, 1, sizeof *d);
    const struct wf_tensor *a = lift(l, m->a), *b = lift(l, m->b);
    if (!d || !a || !b)
        return WF_MACHINE;
    uint64_t outs = m->b->count / m->rank, ins = m->a->count / m->rank;
    *d = (struct wf_addend){
        .kind = WF_ADDEND_PRODUCT,
        .scale = m->scale,
        .rows = turned ? ins : outs,
        .cols = turned ? outs : ins,
        .rank = m->rank,
        .row = {.tensor = turned ? a : b, .transposed = turned},
        .col = {.tensor = turned ? b : a, .transposed = turned},
    };
    w->addend = d;
    return WF_OK;
}

/* A bias is a column: the bias of B times a factor that is one number, one. */
static int add_bias(struct laying *l, const struct wf_adapter_module *m)
{
    struct wf_tensor *b = find_bias(l, m->path);
    if (!b) {
        miss(l, m->bias->name);
        return WF_OK;
    }
    int s = check_target(l, b, m->path);
    if (!s && b->count != m->bias->count)
        s = misfit(l, m, b, "");
    if (s)
        return s;
    struct wf_addend *d = wf_arena_alloc(l->a, l->e, 1, sizeof *d);
    const struct wf_tensor *column = lift(l, m->bias);
    if (!d || !column)
        return WF_MACHINE;
    *d = (struct wf_addend){
        .kind = WF_ADDEND_PRODUCT,
        .scale = m->scale,
        .rows = b->count,
        .cols = 1,
        .rank = 1,
        .row = {.tensor = column},
    };
    b->addend = d;
    return WF_OK;
}

/* A head that is tied to the embedding has no tensor; with ensure_weight_tying the file repeats the
 * embedding's factors for it. */
static bool repeats_the_embedding(const struct laying *l, const struct wf_adapter_module *m)
{
    const struct wf_adapter *d = l->adapter;
    if (!wf_adapter_config_has(d->config, "ensure_weight_tying") || m->kind != WF_ADAPTER_LINEAR)
        return false;
    for (size_t i = 0; i < d->n_modules; i++) {
        const struct wf_adapter_module *table = &d->modules[i];
        if (table->kind == WF_ADAPTER_EMBEDDING && table->a->shape[1] == m->b->shape[0] &&
            table->b->shape[0] == m->a->shape[1] && table->rank == m->rank)
            return true;
    }
    return false;
}

static int add_modules(struct laying *l)
{
    const struct wf_adapter *d = l->adapter;
    int s = WF_OK;
    for (size_t i = 0; i < d->n_modules; i++) {
        const struct wf_adapter_module *m = &d->modules[i];
        struct wf_tensor *w = l->targets[i] = find_weight(l, m->path);
        if (!w) {
            if (!repeats_the_embedding(l, m))
                miss(l, m->path);
        } else if (m->kind == WF_ADAPTER_LINEAR && m->a->shape[1] != m->b->shape[0]) {
            l->seen_plain |= is_plain(m, w);
            l->seen_turned |= is_turned(m, w);
        }
    }
    for (size_t i = 0; !s && i < d->n_modules; i++) {
        if (l->targets[i])
            s = add_product(l, &d->modules[i], l->targets[i]);
        if (!s && d->modules[i].bias)
            s = add_bias(l, &d->modules[i]);
    }
    return s;
}

/* A tensor of the same shape; or of a table that training has made longer, with another number of
 * rows: whoever merges brings the rows together (publish/tokenizers.h). */
static bool fits_whole(const struct wf_tensor *w, const struct wf_tensor *t)
{
    bool same = w->n_dims == t->n_dims;
    for (unsigned d = wf_vocab_axis(w) == 0; same && d < w->n_dims; d++)
        same = w->shape[d] == t->shape[d];
    return same;
}

/* Tensors that the adapter holds whole take the place of the base's. */
static int replace_wholes(struct laying *l)
{
    const struct wf_adapter *d = l->adapter;
    for (size_t i = 0; i < d->n_wholes; i++) {
        const struct wf_tensor *t = d->wholes[i].tensor;
        struct wf_tensor *w = find_name(l, d->wholes[i].name);
        char old[WF_SHAPE_TEXT_MAX], new[WF_SHAPE_TEXT_MAX];
        if (!w) {
            miss(l, d->wholes[i].name);
            continue;
        }
        if (!fits_whole(w, t))
            return wf_fail(
                l->e, WF_USAGE, "%s: %s: tensor '%s' is %s, and %s would replace it by one of %s",
                l->where, l->base->place.path, w->name,
                wf_shape_text(w->shape, w->n_dims, WF_SHAPE_SPACED, old), d->ckpt->place.path,
                wf_shape_text(t->shape, t->n_dims, WF_SHAPE_SPACED, new));
        if (w->file >= l->base->n_files)
            return wf_fail(l->e, WF_USAGE,
                           "%s: %s: '%s' and another tensor both replace '%s' of %s", l->where,
                           d->ckpt->place.path, t->name, w->name, l->base->place.path);
        const char *name = w->name;
        *w = *t;
        w->name = name;
        w->file += (uint32_t)l->base->n_files;
    }
    return WF_OK;
}

/* ---- a tied head ------------------------------------------------------------------------------
 */

static bool is_changed(const struct laying *l, const struct wf_tensor *t)
{
    return t->addend || t->file >= l->base->n_files;
}

/* What the adapter makes of the table, made of the head. */
static int follow(const struct laying *l, const struct wf_tensor *table, struct wf_tensor *head)
{
    const char *name = head->name;
    if (table->file >= l->base->n_files) {
        *head = *table;
        head->name = name;
        head->addend = NULL;
    }
    int s = table->addend ? check_target(l, head, name) : WF_OK;
    if (s || !table->addend)
        return s;
    head->addend = wf_arena_alloc(l->a, l->e, 1, sizeof *head->addend);
    if (!head->addend)
        return WF_MACHINE;
    *head->addend = *table->addend; /* factors are loaded for each tensor anew */
    return WF_OK;
}

/* A head that is tied to the embedding and stored all the same holds the embedding's numbers; it
 * does so in the result, unless the adapter has something of its own for it. */
static int tie_head(const struct laying *l)
{
    const struct wf_tensor *found = wf_tied_head(l->out);
    if (!found || is_changed(l, found))
        return WF_OK;
    struct wf_tensor *head = &l->out->tensors[found - l->out->tensors];
    for (size_t i = 0; i < l->out->n_tensors; i++) {
        const struct wf_tensor *table = &l->out->tensors[i];
        if (!wf_is_token_table(table->name) || !is_changed(l, table))
            continue;
        if (table->n_dims == 2 && head->n_dims == 2 && table->shape[0] == head->shape[0] &&
            table->shape[1] == head->shape[1])
            return follow(l, table, head);
        wf_log(WF_LOG_WARNING,
               "%s: %s: the adapter changes '%s', and '%s', tied to it by config.json, has another "
               "shape and stays as it is",
               l->where, l->base->place.path, table->name, head->name);
    }
    return WF_OK;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static int copy_base(struct laying *l)
{
    const struct wf_ckpt *base = l->base, *top = l->adapter->ckpt;
    struct wf_ckpt *out = l->out;
    *out = *base;
    out->under = base;
    out->top = top;
    out->n_files = base->n_files + top->n_files;
    out->files = wf_arena_alloc(l->a, l->e, out->n_files, sizeof *out->files);
    out->tensors = wf_arena_alloc(l->a, l->e, out->n_tensors, sizeof *out->tensors);
    l->targets = wf_arena_alloc(l->a, l->e, l->adapter->n_modules, sizeof *l->targets);
    l->missing = wf_arena_alloc(l->a, l->e, 2 * l->adapter->n_modules + l->adapter->n_wholes,
                                sizeof *l->missing);
    if (!out->files || !out->tensors || !l->targets || !l->missing)
        return WF_MACHINE;
    memcpy(out->files, base->files, base->n_files * sizeof *out->files);
    memcpy(out->files + base->n_files, top->files, top->n_files * sizeof *out->files);
    memcpy(out->tensors, base->tensors, base->n_tensors * sizeof *out->tensors);
    return WF_OK;
}

/* The adapter's config names a base, often by a path of another machine: the last part counts. */
static void compare_base_name(const struct laying *l)
{
    const struct wf_place *place = &l->base->place;
    size_t n, m;
    if (!l->adapter->base_name)
        return;
    const char *wanted = wf_path_last(l->adapter->base_name, &n);
    const char *given = wf_path_last(place->repository ? place->repository : place->path, &m);
    if (n != m || memcmp(wanted, given, n))
        wf_log(WF_LOG_INFO, "%s: the adapter %s was made for %s, and is added to %s", l->where,
               l->adapter->ckpt->place.path, l->adapter->base_name, place->path);
}

int wf_overlay_adapter(struct wf_err *e, struct wf_arena *a, const char *where,
                       const struct wf_ckpt *base, const struct wf_adapter *adapter,
                       struct wf_ckpt *out)
{
    struct laying l = {
        .e = e, .a = a, .where = where, .base = base, .adapter = adapter, .out = out};
    int s = copy_base(&l);
    if (!s)
        s = replace_wholes(&l);
    if (!s)
        s = add_modules(&l);
    if (!s && l.n_missing)
        s = report_missing(&l);
    if (!s)
        s = tie_head(&l);
    if (!s)
        compare_base_name(&l);
    return s;
}
