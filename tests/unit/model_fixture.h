/* model_fixture.h - a method whose stages all have model scope, a FOLD, a SELECT that depends on
 * it and a FOLD behind, with data that makes every kind of step.
 */
#ifndef WF_MODEL_FIXTURE_H
#define WF_MODEL_FIXTURE_H

#include "stage_fixture.h"

#include "../../src/stage/unit_state.h"

enum { MF_FOLD_SLOT = 6, MF_Q = 5, MF_LAST_SLOT = 7 }; /* g */

static inline uint32_t mf_terms(uint32_t n)
{
    return 1 + n;
}

static inline const char *mf_finish(const double *sums, uint64_t count, struct wf_args *args)
{
    args->g[MF_FOLD_SLOT] = sums[1] / (double)count;
    args->m[1][MF_FOLD_SLOT] = sums[0];
    return NULL;
}

static inline const char *mf_finish_last(const double *sums, uint64_t count, struct wf_args *args)
{
    (void)count;
    args->g[MF_LAST_SLOT] = sums[2];
    if (args->n_t > 1)
        args->t[1] = sums[1];
    return NULL;
}

/* From all of the keys, and from those that are not zero. */
static inline void mf_ranks(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                            uint64_t *rank)
{
    (void)i;
    rank[0] = (uint64_t)(args->g[MF_Q] * (double)group->count);
    rank[1] = group->count - (uint64_t)(0.3 * (double)group->nonzero);
    rank[2] = group->count - 1;
}

#define MF_FOLD(end)                                                                               \
    {                                                                                              \
        .kind = WF_STAGE_FOLD, .scope = WF_SCOPE_MODEL, .fold = { 1, mf_terms, end }               \
    }
static const struct wf_stage mf_template[] = {
    MF_FOLD(mf_finish),
    {.kind = WF_STAGE_SELECT,
     .scope = WF_SCOPE_MODEL,
     .select = {.per_model = true, .cut = SF_CUT_SLOT, .n_ranks = 3, .ranks = mf_ranks}},
    MF_FOLD(mf_finish_last),
    {.kind = WF_STAGE_MAP}};
static struct wf_stage mf_stages[4];
static const struct wf_method mf_method = {.name = "model", .stages = mf_stages, .n_stages = 4};

struct mf_setting {
    const uint64_t *counts;
    unsigned kind, wide, ranks, deal, n_ranks;
    enum wf_ties ties;
    double q;
    bool per_model;
    uint32_t pieces, bins, keys;
    uint64_t seed;
};

enum { MF_GAUSS, MF_LATTICE, MF_MOSTLY_ZERO, MF_CONSTANT, MF_NARROW, MF_KINDS };

static inline double mf_draw(unsigned kind, uint64_t *seed)
{
    double u = (double)(sf_next(seed) >> 11) * 0x1p-53;
    switch (kind) {
    case MF_GAUSS:
        return (float)(u + (double)(sf_next(seed) >> 11) * 0x1p-53 - 1);
    case MF_LATTICE:
        return ((double)sf_below(seed, 9) - 4) * 0x1p-9;
    case MF_MOSTLY_ZERO:
        return u < 0.7 ? -0.0 : ((double)sf_below(seed, 500) - 250) * 0x1p-12;
    case MF_CONSTANT:
        return -3.5;
    default: /* more keys than a list holds, next to each other: bins wider than one key */
        return 1 + (double)sf_below(seed, 1 << 22) * 0x1p-23;
    }
}

static inline struct sf_data mf_data_of(const struct mf_setting *s)
{
    struct sf_data d = sf_data(3, SF_TENSORS, s->counts, s->wide);
    uint64_t seed = s->seed;
    for (unsigned k = 0; k < SF_TENSORS; k++)
        for (uint32_t i = 0; i < 3; i++)
            for (uint64_t e = 0; e < s->counts[k]; e++)
                d.t[k].x[i][e] = mf_draw(s->kind, &seed);
    return d;
}

static inline struct wf_unit_need mf_need_of(const struct mf_setting *s, const struct sf_data *d)
{
    return (struct wf_unit_need){.inputs = 3,
                                 .streams = 2,
                                 .ranks = 3,
                                 .bins = s->bins,
                                 .keys = s->keys,
                                 .terms = 4,
                                 .pieces = SF_PIECES,
                                 .count = 1 << 20,
                                 .leaves = sf_leaves(d, SF_TENSORS),
                                 .table = 2,
                                 .joined = s->ranks};
}

struct mf_scene {
    struct sf_data data;
    struct sf_run cut;
    struct wf_unit_group group;
    struct wf_unit_need need;
    double rows[3][WF_ARGS_MODEL], table[2];
    struct wf_args args;
};

static inline void mf_set_scene(struct mf_scene *c, const struct mf_setting *s)
{
    *c = (struct mf_scene){.data = mf_data_of(s)};
    memcpy(mf_stages, mf_template, sizeof mf_stages);
    mf_stages[1].select.n_ranks = (uint8_t)s->n_ranks;
    mf_stages[1].select.per_model = s->per_model;
    c->cut = (struct sf_run){.data = &c->data, .method = &mf_method, .seed = s->seed};
    sf_cut(&c->cut, 0, SF_TENSORS, s->pieces);
    c->args = (struct wf_args){.m = c->rows, .t = c->table, .n = 3, .n_t = 2, .ties = s->ties};
    c->args.g[MF_Q] = s->q;
    wf_method_scopes(&mf_method, c->args.scope);
    c->need = mf_need_of(s, &c->data);
    c->group = (struct wf_unit_group){.method = &mf_method,
                                      .args = &c->args,
                                      .scope = WF_SCOPE_MODEL,
                                      .leaves = c->need.leaves,
                                      .pieces = c->cut.pieces,
                                      .wide = s->wide != 0};
    for (unsigned k = 0; k < SF_TENSORS; k++)
        c->group.count += s->counts[k];
    c->group.tensor = c->group.count;
}

static inline struct wf_unit *mf_begun(const struct wf_unit_need *need,
                                       const struct wf_unit_group *group)
{
    struct wf_err e = {0};
    struct wf_unit *u = wf_unit_create(&e, need);
    assert_non_null(u);
    wf_unit_begin(u, group);
    return u;
}

static const uint64_t mf_small[] = {300, 0, 3, 500, 1}, mf_large[] = {9000, 0, 3, 30001, 4096};

static inline struct mf_setting mf_usual(void)
{
    return (struct mf_setting){.counts = mf_large,
                               .ranks = 2,
                               .n_ranks = 3,
                               .ties = WF_TIES_LOW_IS_HIGH,
                               .q = 0.6,
                               .per_model = true,
                               .pieces = 7,
                               .bins = 1024,
                               .keys = 1024,
                               .seed = 11};
}

#endif
