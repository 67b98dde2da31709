/* overlay_vocab.c - tables of tensors in new shapes; see overlay_vocab.h. */
#include "overlay_vocab.h"

#include <inttypes.h>
#include <string.h>

#include "../base/num.h"
#include "vocab_tensors.h"

struct laying {
    struct wf_err *e;
    struct wf_arena *a;
    const char *where;
    const struct wf_ckpt *base;
    const struct wf_vocab_donor *donors;
    size_t n_donors;
    struct wf_ckpt *out;
};

/* The tensor of this name in each model whose rows are wanted. */
static int find_donors(const struct laying *l, const struct wf_tensor *t, struct wf_row_view *rows)
{
    struct wf_row_donor *list = wf_arena_alloc(l->a, l->e, l->n_donors, sizeof *list);
    const struct wf_row_map *map = rows->map;
    if (!list)
        return wf_err_status(l->e);
    rows->donors = list;
    rows->n_donors = l->n_donors;
    for (size_t j = 0; j < map->n_made; j++)
        for (uint32_t i = 0; i < map->made[j].n; i++) {
            const struct wf_row_ref *ref = &map->made[j].refs[i];
            struct wf_row_donor *d = &list[ref->model];
            if (d->tensor)
                continue;
            d->ckpt = l->donors[ref->model].shown;
            d->tensor = wf_vocab_tensor_of(l->donors[ref->model].stored, t->name);
            if (!d->tensor || !wf_dtype_info((enum wf_dtype)d->tensor->dtype)->arithmetic)
                return wf_fail(l->e, WF_USAGE,
                               "%s: rows of tensor '%s' are to come from %s, which does not have "
                               "it in a type that weft computes with",
                               l->where, t->name, d->ckpt->place.path);
            if (d->tensor->count % rows->cols || d->tensor->count / rows->cols <= ref->row)
                return wf_fail(l->e, WF_USAGE,
                               "%s: tensor '%s' of %s does not have rows like those of %s",
                               l->where, t->name, d->ckpt->place.path, l->base->place.path);
        }
    return WF_OK;
}

/* Rows must be there, be whole bytes, and where some are made be numbers. */
static int check_rows(const struct laying *l, const struct wf_vocab_tensor *v,
                      const struct wf_tensor *t)
{
    const struct wf_dtype_info *type = wf_dtype_info((enum wf_dtype)t->dtype);
    if (!t->count)
        return wf_fail(l->e, WF_USAGE,
                       "%s: %s: tensor '%s' is empty, so it has no rows to bring together by "
                       "token; leave the model, or what the recipe says of the tokenizer, out",
                       l->where, l->base->place.path, t->name);
    if (t->bytes % t->shape[v->axis])
        return wf_fail(l->e, WF_USAGE,
                       "%s: %s: rows of tensor '%s' of type %s do not begin at whole bytes, so "
                       "weft cannot move them; give the model in F32, F16 or BF16",
                       l->where, l->base->place.path, t->name, type->name);
    if (v->map->makes && !type->arithmetic)
        return wf_fail(l->e, WF_USAGE,
                       "%s: %s: tensor '%s' is of type %s, in which weft makes no rows; give the "
                       "model in F32, F16 or BF16",
                       l->where, l->base->place.path, t->name, type->name);
    return WF_OK;
}

static int reshape(const struct laying *l, const struct wf_vocab_tensor *v, struct wf_tensor *t)
{
    int s = check_rows(l, v, t);
    if (s)
        return s;
    struct wf_tensor *stored = wf_arena_alloc(l->a, l->e, 1, sizeof *stored);
    uint64_t *shape = wf_arena_alloc(l->a, l->e, t->n_dims, sizeof *shape);
    struct wf_row_view *rows = wf_arena_alloc(l->a, l->e, 1, sizeof *rows);
    if (!stored || !shape || !rows)
        return wf_err_status(l->e);
    *stored = *t;
    memcpy(shape, t->shape, t->n_dims * sizeof *shape);
    *rows =
        (struct wf_row_view){.map = v->map, .stored = stored, .cols = t->count / shape[v->axis]};
    shape[v->axis] = v->map->rows;
    t->shape = shape;
    t->rows = rows;
    t->offset = 0;
    if (!wf_mul_u64(v->map->rows, rows->cols, &t->count) ||
        !wf_dtype_bytes((enum wf_dtype)t->dtype, t->count, &t->bytes))
        return wf_fail(l->e, WF_USAGE, "%s: tensor '%s' is too large in %" PRIu64 " rows", l->where,
                       t->name, v->map->rows);
    return v->map->makes ? find_donors(l, t, rows) : WF_OK;
}

int wf_overlay_vocab(struct wf_err *e, struct wf_arena *a, const char *where,
                     const struct wf_ckpt *base, const struct wf_vocab_tensor *tensors, size_t n,
                     const struct wf_vocab_donor *donors, size_t n_donors, const void *key,
                     struct wf_ckpt *out)
{
    struct laying l = {.e = e,
                       .a = a,
                       .where = where,
                       .base = base,
                       .donors = donors,
                       .n_donors = n_donors,
                       .out = out};
    int s = WF_OK;
    *out = *base;
    out->rows = key;
    out->tensors = wf_arena_alloc(a, e, base->n_tensors, sizeof *out->tensors);
    if (!out->tensors)
        return wf_err_status(e);
    memcpy(out->tensors, base->tensors, base->n_tensors * sizeof *out->tensors);
    for (size_t i = 0; i < n && !s; i++) {
        struct wf_tensor *t = (struct wf_tensor *)wf_ckpt_find(out, tensors[i].name);
        if (t)
            s = reshape(&l, &tensors[i], t);
    }
    return s;
}
