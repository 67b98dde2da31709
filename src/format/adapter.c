/* adapter.c - a PEFT adapter put together from its config and the names of its tensors; see
 * adapter.h.
 *
 *   tensors ──► names taken apart ──► rows sorted by (whole or not, path, part) ──► modules, wholes
 */
#include "adapter.h"

#include <inttypes.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/str.h"
#include "adapter_config.h"
#include "adapter_name.h"
#include "folder.h"
#include "shape.h"
#include "weight_files.h"

#define ADAPTER_CONFIG_BYTES_MAX ((size_t)16 << 20)

struct row {
    struct wf_adapter_name name;
    const struct wf_tensor *tensor;
};

struct opening {
    struct wf_err *e;
    struct wf_arena *a;
    struct wf_adapter *out;
    const char *file; /* of the tensors, for messages */
    struct wf_adapter_settings settings;
    struct row *rows;
    size_t n_rows;
};

/* ---- config -----------------------------------------------------------------------------------
 */

int wf_adapter_config_read(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                           const char **path, struct wf_json **out)
{
    *path = wf_path_join(a, e, ckpt->place.path, WF_ADAPTER_CONFIG_NAME);
    if (!*path)
        return wf_err_status(e);
    int s = wf_place_check(e, &ckpt->place, *path);
    if (!s)
        s = wf_json_read(e, a, *path, ADAPTER_CONFIG_BYTES_MAX, WF_JSON_CONFIG, out);
    if (!s && (*out)->kind != WF_JSON_OBJECT)
        s = wf_fail(e, WF_INPUT, "%s: expected a JSON object", *path);
    return s;
}

static int read_config(struct opening *o)
{
    struct wf_adapter *out = o->out;
    struct wf_json *config;
    int s = wf_adapter_config_read(o->e, o->a, out->ckpt, &out->config_path, &config);
    if (!s)
        s = wf_adapter_config_check(o->e, o->a, out->config_path, config, &o->settings);
    if (s)
        return s;
    out->config = config;
    out->base_name = wf_json_string(config, "base_model_name_or_path");
    out->task_type = wf_json_string(config, "task_type");
    out->fan_in_fan_out = wf_adapter_config_has(config, "fan_in_fan_out");
    return WF_OK;
}

/* ---- names ------------------------------------------------------------------------------------
 */

static int refuse_part(const struct opening *o, const struct row *r)
{
    static const struct {
        enum wf_adapter_part part;
        const char *what;
    } kinds[] = {
        {WF_PART_MAGNITUDE, "belongs to DoRA, which weft does not merge; merge it with PEFT"},
        {WF_PART_TOKENS, "holds trained rows of the embedding, which weft does not merge; merge "
                         "it with PEFT"},
        {WF_PART_DIAGONAL, "belongs to KaSA, which weft does not merge; merge it with PEFT"},
        {WF_PART_FOREIGN, "has no name of PEFT's (lora_A, lora_B); convert the adapter to PEFT's "
                          "layout"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (r->name.part == kinds[i].part)
            return wf_fail(o->e, WF_USAGE, "%s: tensor '%s' %s", o->file, r->tensor->name,
                           kinds[i].what);
    return WF_OK;
}

static int by_path(const void *left, const void *right)
{
    const struct row *x = left, *y = right;
    int whole = (x->name.part == WF_PART_WHOLE) - (y->name.part == WF_PART_WHOLE);
    if (whole)
        return whole;
    int order = strcmp(x->name.path, y->name.path);
    if (!order)
        order = (int)x->name.part - (int)y->name.part;
    return order ? order : strcmp(x->tensor->name, y->tensor->name);
}

static bool same_place(const struct row *x, const struct row *y)
{
    return x->name.part == y->name.part && !strcmp(x->name.path, y->name.path);
}

/* All names that carry an adapter's name carry the same one. */
static int check_adapter_names(const struct opening *o)
{
    const char *first = NULL;
    for (size_t i = 0; i < o->n_rows; i++) {
        const char *name = o->rows[i].name.adapter;
        if (name && first && strcmp(name, first))
            return wf_fail(o->e, WF_USAGE,
                           "%s: holds two adapters, '%s' and '%s'; save each in its own folder",
                           o->file, first, name);
        if (name)
            first = name;
    }
    return WF_OK;
}

static int read_names(struct opening *o)
{
    const struct wf_ckpt *c = o->out->ckpt;
    o->rows = wf_arena_alloc(o->a, o->e, c->n_tensors, sizeof *o->rows);
    if (!o->rows)
        return WF_MACHINE;
    for (size_t i = 0; i < c->n_tensors; i++) {
        struct row *r = &o->rows[o->n_rows];
        r->tensor = &c->tensors[i];
        int s = wf_adapter_name_parse(o->e, o->a, r->tensor->name, &r->name);
        if (!s)
            s = refuse_part(o, r);
        if (s)
            return s;
        o->n_rows += r->name.part != WF_PART_IGNORED;
    }
    if (!o->n_rows)
        return wf_fail(o->e, WF_INPUT, "%s: the adapter holds no tensors", o->file);
    int s = check_adapter_names(o);
    qsort(o->rows, o->n_rows, sizeof *o->rows, by_path);
    for (size_t i = 1; !s && i < o->n_rows; i++)
        if (same_place(&o->rows[i - 1], &o->rows[i]))
            s = wf_fail(o->e, WF_INPUT,
                        "%s: tensors '%s' and '%s' are the same part of module '%s'", o->file,
                        o->rows[i - 1].tensor->name, o->rows[i].tensor->name, o->rows[i].name.path);
    return s;
}

/* ---- modules ----------------------------------------------------------------------------------
 */

static int bad_shapes(const struct opening *o, const struct wf_adapter_module *m)
{
    char a[WF_SHAPE_TEXT_MAX], b[WF_SHAPE_TEXT_MAX];
    return wf_fail(o->e, WF_INPUT,
                   "%s: module '%s': factors of shapes %s and %s do not make a product; expected "
                   "A [r, in] and B [out, r], or A [r, in, k..] and B [out, r, 1..]",
                   o->file, m->path, wf_shape_text(m->a->shape, m->a->n_dims, WF_SHAPE_SPACED, a),
                   wf_shape_text(m->b->shape, m->b->n_dims, WF_SHAPE_SPACED, b));
}

static int check_factor_type(const struct opening *o, const struct wf_tensor *t)
{
    const struct wf_dtype_info *type = wf_dtype_info((enum wf_dtype)t->dtype);
    if (!type->arithmetic)
        return wf_fail(o->e, WF_USAGE,
                       "%s: tensor '%s' is of type %s; weft computes with F64, F32, F16 and BF16",
                       o->file, t->name, type->name);
    return WF_OK;
}

static int check_shapes(const struct opening *o, struct wf_adapter_module *m)
{
    const struct wf_tensor *a = m->a, *b = m->b;
    if (a->n_dims < 2 || b->n_dims != a->n_dims || a->shape[0] != b->shape[1] || !a->count ||
        !b->count || a->shape[0] > UINT32_MAX)
        return bad_shapes(o, m);
    for (unsigned d = 2; d < b->n_dims; d++)
        if (b->shape[d] != 1)
            return bad_shapes(o, m);
    if (m->kind == WF_ADAPTER_EMBEDDING && a->n_dims != 2)
        return bad_shapes(o, m);
    if (m->kind == WF_ADAPTER_LINEAR && a->n_dims > 2)
        m->kind = WF_ADAPTER_CONV;
    if (m->bias && (m->bias->n_dims != 1 || m->bias->shape[0] != b->shape[0]))
        return wf_fail(o->e, WF_INPUT,
                       "%s: tensor '%s': expected one value for each of the %" PRIu64 " outputs",
                       o->file, m->bias->name, b->shape[0]);
    m->rank = (uint32_t)a->shape[0];
    int s = check_factor_type(o, a);
    if (!s)
        s = check_factor_type(o, b);
    return s || !m->bias ? s : check_factor_type(o, m->bias);
}

static int set_scale(const struct opening *o, struct wf_adapter_module *m)
{
    double rank = wf_adapter_rank_of(&o->settings, m->path);
    if (rank != m->rank)
        return wf_fail(o->e, WF_INPUT,
                       "%s: module '%s' has rank %.0f by its config and %" PRIu32
                       " by its tensors; config and weights do not belong together",
                       o->out->config_path, m->path, rank, m->rank);
    m->alpha = wf_adapter_alpha_of(&o->settings, m->path);
    m->scale = m->alpha / (o->settings.rslora ? sqrt(rank) : rank);
    if (fabs(m->scale) > (double)FLT_MAX)
        return wf_fail(o->e, WF_INPUT, "%s: module '%s': alpha %g is out of range",
                       o->out->config_path, m->path, m->alpha);
    return WF_OK;
}

/* Rows [from, to) are the parts of one module, one row each. */
static int take_module(const struct opening *o, const struct row *from, const struct row *to,
                       struct wf_adapter_module *m)
{
    const struct wf_tensor *part[WF_PART_FOREIGN + 1] = {0};
    for (const struct row *r = from; r < to; r++)
        part[r->name.part] = r->tensor;
    bool linear = part[WF_PART_A] || part[WF_PART_B] || part[WF_PART_B_BIAS];
    bool embedding = part[WF_PART_EMBEDDING_A] || part[WF_PART_EMBEDDING_B];
    if (linear && embedding)
        return wf_fail(o->e, WF_INPUT,
                       "%s: module '%s' is adapted as a linear layer and as an "
                       "embedding",
                       o->file, from->name.path);
    *m = (struct wf_adapter_module){
        .path = from->name.path,
        .kind = embedding ? WF_ADAPTER_EMBEDDING : WF_ADAPTER_LINEAR,
        .a = part[embedding ? WF_PART_EMBEDDING_A : WF_PART_A],
        .b = part[embedding ? WF_PART_EMBEDDING_B : WF_PART_B],
        .bias = part[WF_PART_B_BIAS],
    };
    if (!m->a || !m->b)
        return wf_fail(o->e, WF_INPUT, "%s: module '%s' has no %s; the adapter is incomplete",
                       o->file, m->path, m->a ? "lora_B" : "lora_A");
    int s = check_shapes(o, m);
    return s ? s : set_scale(o, m);
}

static int assemble(struct opening *o)
{
    struct wf_adapter *out = o->out;
    size_t i = 0;
    out->modules = wf_arena_alloc(o->a, o->e, o->n_rows, sizeof *out->modules);
    out->wholes = wf_arena_alloc(o->a, o->e, o->n_rows, sizeof *out->wholes);
    if (!out->modules || !out->wholes)
        return WF_MACHINE;
    while (i < o->n_rows && o->rows[i].name.part != WF_PART_WHOLE) {
        size_t end = i + 1;
        while (end < o->n_rows && o->rows[end].name.part != WF_PART_WHOLE &&
               !strcmp(o->rows[end].name.path, o->rows[i].name.path))
            end++;
        int s = take_module(o, &o->rows[i], &o->rows[end], &out->modules[out->n_modules++]);
        if (s)
            return s;
        i = end;
    }
    for (; i < o->n_rows; i++)
        out->wholes[out->n_wholes++] =
            (struct wf_adapter_whole){.name = o->rows[i].name.path, .tensor = o->rows[i].tensor};
    return WF_OK;
}

int wf_adapter_open(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                    struct wf_adapter *out)
{
    struct opening o = {.e = e, .a = a, .out = out, .file = ckpt->files[0].path};
    *out = (struct wf_adapter){.ckpt = ckpt};
    int s = read_config(&o);
    if (!s)
        s = read_names(&o);
    return s ? s : assemble(&o);
}
