/* engine_fixture.h - small models on disk, recipes, plans and budgets for tests of the engine. */
#ifndef WF_ENGINE_FIXTURE_H
#define WF_ENGINE_FIXTURE_H

#include <math.h>

#include "model_tree.h"
#include "st_rows.h"
#include "../../kernels/dtype_conv.h"
#include "../../src/format/ckpt.h"
#include "../../src/plan/span.h"
#include "../../src/recipe/recipe.h"

#define EF_TENSORS_MAX 4096
#define EF_MODELS_MAX 24

struct ef_tensor {
    const char *name;
    enum wf_dtype dtype;
    uint8_t n_dims;
    uint64_t shape[8];
};

static inline uint64_t ef_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Finite values in [-1, 1) for arithmetic types, any bytes for the others. */
static inline void ef_fill(enum wf_dtype d, char *data, uint64_t count, uint64_t bytes,
                           uint64_t seed)
{
    for (uint64_t i = 0; i < (wf_dtype_info(d)->arithmetic ? count : bytes); i++) {
        uint64_t r = ef_mix(seed ^ ef_mix(i));
        double v = (double)(int64_t)r * 0x1p-63;
        float f = (float)v;
        uint16_t h = d == WF_BF16 ? wf_f32_to_bf16(f) : wf_f32_to_f16(f);
        if (d == WF_F64)
            memcpy(data + 8 * i, &v, 8);
        else if (d == WF_F32)
            memcpy(data + 4 * i, &f, 4);
        else if (d == WF_F16 || d == WF_BF16)
            memcpy(data + 2 * i, &h, 2);
        else
            data[i] = (char)r;
    }
}

/* Writes a safetensors file. Arithmetic tensors get values from `seed`, others the same bytes
 * whatever the seed, so that models agree on them. */
static inline char *ef_model(struct tree *t, const char *relative, const struct ef_tensor *tensors,
                             size_t n, uint64_t seed)
{
    struct wf_st_tensor *rows = test_calloc(n + 1, sizeof *rows);
    struct wf_str header = {0};
    for (size_t i = 0; i < n; i++)
        rows[i] = (struct wf_st_tensor){.name = tensors[i].name,
                                        .dtype = (uint8_t)tensors[i].dtype,
                                        .n_dims = tensors[i].n_dims,
                                        .shape = tensors[i].shape};
    uint64_t at = st_rows_lay_out(rows, n);
    assert_int_equal(wf_st_format(&t->err, rows, n, 8, &header), WF_OK);
    char *data = test_calloc(at + 1, 1);
    for (size_t i = 0; i < n; i++) {
        struct wf_hash128 name = wf_xxh128(rows[i].name, strlen(rows[i].name));
        uint64_t key;
        memcpy(&key, name.bytes, 8);
        enum wf_dtype d = (enum wf_dtype)rows[i].dtype;
        ef_fill(d, data + rows[i].begin, rows[i].count, rows[i].end - rows[i].begin,
                key ^ (wf_dtype_info(d)->arithmetic ? ef_mix(seed) : 0));
    }
    char *path = tree_parents(t, relative);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(header.text, 1, header.n, f), header.n);
    assert_int_equal(fwrite(data, 1, at, f), at);
    assert_int_equal(fclose(f), 0);
    wf_str_free(&header);
    test_free(data);
    test_free(rows);
    return path;
}

static inline struct wf_ckpt *ef_open(struct tree *t, const char *path)
{
    struct wf_place place = {.path = path};
    struct wf_ckpt *c = wf_arena_alloc(&t->arena, &t->err, 1, sizeof *c);
    assert_non_null(c);
    assert_worked(t, wf_ckpt_open(&t->err, &t->arena, &place, c));
    return c;
}

static inline struct wf_recipe *ef_recipe(struct tree *t, const char *text)
{
    struct wf_recipe *r = wf_arena_alloc(&t->arena, &t->err, 1, sizeof *r);
    assert_non_null(r);
    assert_worked(t,
                  wf_recipe_parse(&t->err, &t->arena, "recipe.yaml", text, strlen(text), false, r));
    return r;
}

/* "merge_method: METHOD", `extra` lines, and models m0, m1, ..., of weight 0.5, 0.75, ... if the
 * method knows weights; a base_model "base" if asked for. */
static inline struct wf_recipe *ef_simple_recipe(struct tree *t, const char *method, bool base,
                                                 size_t n, const char *extra)
{
    struct wf_str s = {0};
    wf_str_printf(&s, "merge_method: %s\n%s%smodels:\n", method, base ? "base_model: base\n" : "",
                  extra ? extra : "");
    bool weights = wf_method_option(wf_method_find(method), "weight") >= 0;
    for (size_t i = 0; i < n; i++) {
        wf_str_printf(&s, "  - model: m%zu\n", i);
        if (weights)
            wf_str_printf(&s, "    parameters: {weight: %g}\n", 0.5 + 0.25 * (double)i);
    }
    struct wf_recipe *r = ef_recipe(t, s.text);
    wf_str_free(&s);
    return r;
}

static const struct wf_plan_options ef_options = {
    .shard_bytes = 5000000000u, .manifest = "xxh3", .compat = "weft"};

static inline int ef_plan(struct tree *t, const struct wf_recipe *r, const struct wf_ckpt *base,
                          const struct wf_ckpt *const *models, uint64_t shard_bytes,
                          struct wf_plan *out)
{
    struct wf_plan_options o = ef_options;
    if (shard_bytes)
        o.shard_bytes = shard_bytes;
    return wf_plan_build(&t->err, &t->arena, r, base, models, &o, out);
}

static inline const struct wf_job *ef_job(const struct wf_plan *p, const char *name)
{
    for (size_t i = 0; i < p->n_jobs; i++)
        if (!strcmp(p->jobs[i].name, name))
            return &p->jobs[i];
    return NULL;
}

/* Room for one span under a budget. */
static inline struct wf_span ef_span(const struct wf_budget *b)
{
    return (struct wf_span){.segments = test_calloc(b->segments_max, sizeof(struct wf_segment)),
                            .reads = test_calloc(b->reads_max, sizeof(struct wf_read)),
                            .places = test_calloc(b->reads_max, sizeof(struct wf_place_in_slot))};
}

static inline void ef_span_free(struct wf_span *s)
{
    test_free(s->segments);
    test_free(s->reads);
    test_free(s->places);
}

#endif
