/* delta.h - the task-vector family: what the models changed, pruned, mixed and put on the base.
 *
 *     d_i = W_i - W0                                    task vectors
 *     v_i = w_i f_i P(d_i)                              P drops elements, f_i makes up for it
 *     W   = W0 + lambda * sum_i v_i / D                 D = sum_i w_i  if normalize, else 1
 *
 * With sign consensus an element's sum, and its D, are those of the models whose v_i has the sign
 * of sum_i v_i; a sum of zero counts as positive, a v_i of zero belongs to neither sign.
 *
 * One row per published name over one implementation:
 *
 *     name               P                                   f               consensus
 *     task_arithmetic    nothing is dropped                                  no
 *     ties               the largest stay                    (L1)            yes
 *     breadcrumbs        a band of magnitudes stays          (L1)            no
 *     breadcrumbs_ties   a band of magnitudes stays          (L1)            yes
 *     dare_linear        each stays with its density         1 / density     no
 *     dare_ties          each stays with its density         1 / density     yes
 *     della_linear       the larger in its row, the likelier 1 / likelihood  no
 *     della              the larger in its row, the likelier 1 / likelihood  yes
 *
 * L1 is |d_i|_1 / |P(d_i)|_1 of the tensor: on request under the magnitude methods, in place of
 * the others with --compat mergekit.
 *
 * The bits of the base stay where nothing is added. A lone model whose factors multiply to 1 gives
 * its own bits where it is kept: W0 + (W1 - W0) would round.
 */
#ifndef DELTA_SLOTS
#define DELTA_SLOTS
enum {              /* in g */
       DELTA_SCALE, /* lambda / D, without consensus */
       DELTA_REPLACES,
       DELTA_DIVIDES,  /* consensus: the least |D| that divides, beyond 2^127 where none does */
       DELTA_RESCALES, /* f_i = 1 / likelihood */
       DELTA_SPARES,   /* tensors with fewer elements are not pruned; 0: any is */
       DELTA_LAMBDA,
       DELTA_SUM, /* D, without consensus */
       DELTA_COMPAT
};
enum {               /* in m[i], i = 1.. ; m[0] is the base */
       DELTA_WEIGHT, /* w_i */
       DELTA_SHARE,  /* w_i f_i */
       DELTA_CUT,    /* kept: keys from here ... */
       DELTA_UPPER,  /* ... to below this; negative: to the largest */
       DELTA_DENSITY,
       DELTA_GAMMA,
       DELTA_LOW, /* parts per million; negative: by density and gamma */
       DELTA_HIGH,
       /* likelihood = LEAST + SPAN * rank / largest rank */
       DELTA_LEAST = DELTA_GAMMA,
       DELTA_SPAN = DELTA_LOW
};
enum { /* rows of the options table */
       DELTA_OPT_WEIGHT,
       DELTA_OPT_DENSITY,
       DELTA_OPT_NORMALIZE,
       DELTA_OPT_RESCALE,
       DELTA_OPT_LAMBDA,
       DELTA_OPT_INT8_MASK,
       DELTA_OPT_SCOPE,                  /* ties, breadcrumbs */
       DELTA_OPT_TIES,                   /* ties */
       DELTA_OPT_GAMMA = DELTA_OPT_TIES, /* breadcrumbs */
       DELTA_OPT_LOW,
       DELTA_OPT_HIGH,
       DELTA_OPT_EPSILON = DELTA_OPT_SCOPE /* della */
};
enum delta_prune { DELTA_ALL, DELTA_BAND, DELTA_ROW, DELTA_DRAW, DELTA_RANK };
#endif

#ifdef WF_DESCRIBE
#define DELTA_OPTIONS(density, normalize, rescale, rescale_help)                                   \
    {"weight", WF_OPTION_NUMBER, WF_PER_MODEL, true,                                               \
     0.0,      -HUGE_VAL,        HUGE_VAL,     "factor on the model's task vector",                \
     NULL},                                                                                        \
        {"density", WF_OPTION_NUMBER, WF_PER_MODEL, false, 1.0, 0.0, 1.0, density, NULL},          \
        {"normalize", WF_OPTION_BOOL,                                                              \
         WF_GLOBAL,   false,                                                                       \
         normalize,   0.0,                                                                         \
         1.0,         "divide by the sum of the weights",                                          \
         NULL},                                                                                    \
        {"rescale", WF_OPTION_BOOL, WF_GLOBAL, false, rescale, 0.0, 1.0, rescale_help, NULL},      \
        {"lambda", WF_OPTION_NUMBER, WF_GLOBAL, false,                                             \
         1.0,      -HUGE_VAL,        HUGE_VAL,  "factor on the mixed task vector",                 \
         NULL},                                                                                    \
    {                                                                                              \
        "int8_mask", WF_OPTION_BOOL, WF_GLOBAL, false, 0.0, 0.0, 1.0,                              \
            "accepted for the family; no numerical effect", NULL                                   \
    }
#define DELTA_SCOPE_OPTION                                                                         \
    {                                                                                              \
        "scope", WF_OPTION_CHOICE, WF_GLOBAL, false, 1.0, 0.0, 2.0,                                \
            "what magnitudes are ranked over: each row, each tensor, or the whole model",          \
            delta_scopes                                                                           \
    }
#define DELTA_L1_HELP "restore each task vector's L1 norm in the tensor after pruning"

static const char *const delta_scopes[] = {"row", "tensor", "model", NULL};
static const char *const delta_ties[] = {"inclusive", "exact", NULL};

static const struct wf_option task_arithmetic_options[] = {
    DELTA_OPTIONS("accepted for the family; nothing is pruned here", 0.0, 0.0,
                  "accepted for the family; no effect without pruning"),
};
static const struct wf_option ties_options[] = {
    DELTA_OPTIONS("the share of the task vector that is kept, largest magnitudes first", 1.0, 0.0,
                  DELTA_L1_HELP),
    DELTA_SCOPE_OPTION,
    {"ties", WF_OPTION_CHOICE, WF_GLOBAL, false, 0.0, 0.0, 1.0,
     "magnitudes equal to the last one kept: inclusive keeps them all, exact those of lowest index "
     "up to the density",
     delta_ties},
};
static const struct wf_option breadcrumbs_options[] = {
    DELTA_OPTIONS("the share of the task vector that is kept; 1 prunes nothing", 0.0, 0.0,
                  DELTA_L1_HELP),
    DELTA_SCOPE_OPTION,
    {"gamma", WF_OPTION_NUMBER, WF_PER_MODEL, false, 0.01, 0.0, 1.0,
     "the share of largest magnitudes that is dropped, as far as density leaves room", NULL},
    {"low", WF_OPTION_NUMBER, WF_PER_MODEL, false, (double)NAN, 0.0, 1.0,
     "with high, in place of density and gamma: magnitudes below this fraction of the ranks are "
     "dropped",
     NULL},
    {"high", WF_OPTION_NUMBER, WF_PER_MODEL, false, (double)NAN, 0.0, 1.0,
     "with low: magnitudes above this fraction of the ranks are dropped", NULL},
};
#define DARE_OPTIONS(normalize)                                                                    \
    DELTA_OPTIONS("the probability with which each element of the task vector is kept", normalize, \
                  1.0,                                                                             \
                  "divide what is kept by its density (--compat mergekit: restore the L1 norm)")
static const struct wf_option dare_options[] = {DARE_OPTIONS(0.0)};
#define DELLA_OPTIONS(normalize)                                                                   \
    DELTA_OPTIONS("the mean probability with which elements are kept; 1 keeps all, 0 none",        \
                  normalize, 1.0,                                                                  \
                  "divide what is kept by its probability (--compat mergekit: restore the L1 "     \
                  "norm)"),                                                                        \
    {                                                                                              \
        "epsilon", WF_OPTION_NUMBER, WF_PER_MODEL, false, 0.15, 0.0, 1.0,                          \
            "half the width of the window of probabilities: density - epsilon for the smallest "   \
            "magnitude of a row, density + epsilon for the largest",                               \
            NULL                                                                                   \
    }
static const struct wf_option della_options[] = {DELLA_OPTIONS(1.0)};
static const struct wf_option della_linear_options[] = {DELLA_OPTIONS(0.0)};

/* ---- prune kinds, on the host ---- */

/* The positions [rank[0], rank[1]) that model i keeps of `count` in ascending order. */
static void delta_band(const struct wf_args *args, uint32_t i, uint64_t count, uint64_t rank[2])
{
    const double *m = args->m[i];
    if (m[DELTA_LOW] >= 0.0) {
        uint64_t below = (uint64_t)((unsigned __int128)(uint64_t)m[DELTA_LOW] * count / 1000000);
        uint64_t above =
            (uint64_t)((unsigned __int128)(uint64_t)(1e6 - m[DELTA_HIGH]) * count / 1000000);
        rank[0] = below < count - above ? below : count;
        rank[1] = below < count - above ? count - above : count;
        return;
    }
    uint64_t kept = (uint64_t)(m[DELTA_DENSITY] * (double)count);
    uint64_t top = (uint64_t)(m[DELTA_GAMMA] * (double)count);
    kept = kept < count ? kept : count;
    top = top < count - kept ? top : count - kept;
    rank[0] = count - top - kept;
    rank[1] = count - top;
}

static void ties_ranks(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                       uint64_t *rank)
{
    uint64_t band[2];
    delta_band(args, i, group->count, band);
    rank[0] = band[0];
}

#define BREADCRUMBS_SPARED 64 /* fewer elements are not pruned */

static void breadcrumbs_ranks(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                              uint64_t *rank)
{
    rank[0] = 0;
    rank[1] = group->count;
    if (group->tensor >= BREADCRUMBS_SPARED)
        delta_band(args, i, group->count, rank);
}

/* Scope row: the band as positions in the row, whose length is all that this FOLD is for. */
static uint32_t delta_length_terms(uint32_t n)
{
    (void)n;
    return 1;
}

static const char *delta_length_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)terms;
    for (uint32_t i = 1; i < args->n; i++) {
        uint64_t band[2];
        delta_band(args, i, count, band);
        args->m[i][DELTA_CUT] = (double)band[0];
        args->m[i][DELTA_UPPER] = (double)band[1];
    }
    return NULL;
}

/* After the shares are known: does a lone model replace the base where it is kept? The share is
 * divided as it was summed, so that a model over its own weight is 1 exactly. */
static void delta_settle(struct wf_args *args)
{
    double weight = args->m[1][DELTA_WEIGHT];
    double divisor = fabs(weight) >= args->g[DELTA_DIVIDES] ? weight : args->g[DELTA_SUM];
    double factor = args->g[DELTA_LAMBDA] * (args->m[1][DELTA_SHARE] / divisor);
    args->g[DELTA_REPLACES] = args->n == 2 && args->g[DELTA_RESCALES] == 0.0 && factor == 1.0;
}

/* L1 norms: of the task vectors, then of what is kept of them. */
static uint32_t delta_norms_terms(uint32_t n)
{
    return 2 * (n - 1);
}

static const char *delta_norms_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    const double *kept = terms + args->n - 1;
    for (uint32_t i = 1; i < args->n; i++) {
        double ratio = terms[i - 1] / kept[i - 1];
        bool usable = isfinite(ratio) && (args->g[DELTA_COMPAT] == 0.0 || kept[i - 1] >= 1e-7);
        args->m[i][DELTA_SHARE] = args->m[i][DELTA_WEIGHT] * (usable ? ratio : 1.0);
    }
    delta_settle(args);
    return NULL;
}

/* ---- prepare ---- */

#define DELTA_ZERO 1e-8        /* smaller sums of weights do not divide */
#define DELTA_SUBSETS_MAX 1024 /* that are looked at one by one */

/* Where |D| separates sums of weights that are zero but for rounding from others, as the element
 * function sums them: in float, in the order of the models. Weights of one sign cannot cancel. */
static double delta_least_divisor(const struct wf_args *args)
{
    double size = 0.0, zero = 0.0, other = HUGE_VAL;
    bool positive = false, negative = false;
    for (uint32_t i = 1; i < args->n; i++) {
        size += fabs(args->m[i][DELTA_WEIGHT]);
        positive |= args->m[i][DELTA_WEIGHT] > 0.0;
        negative |= args->m[i][DELTA_WEIGHT] < 0.0;
    }
    if (!positive || !negative)
        return DELTA_ZERO;
    if (args->n > 31 || UINT32_C(1) << (args->n - 1) > DELTA_SUBSETS_MAX)
        return DELTA_ZERO + args->n * 0x1p-24 * size;
    for (uint32_t subset = 1; subset < UINT32_C(1) << (args->n - 1); subset++) {
        double exact = 0.0;
        float sum = 0.0f;
        for (uint32_t i = 1; i < args->n; i++) {
            bool agrees = subset >> (i - 1) & 1;
            exact += agrees ? args->m[i][DELTA_WEIGHT] : 0.0;
            sum += agrees ? (float)args->m[i][DELTA_WEIGHT] : 0.0f;
        }
        double rounded = fabs((double)sum);
        if (fabs(exact) < DELTA_ZERO || rounded == 0.0)
            zero = rounded > zero ? rounded : zero;
        else
            other = rounded < other ? rounded : other;
    }
    if (zero < DELTA_ZERO)
        return other < DELTA_ZERO ? other : DELTA_ZERO;
    return zero < other ? sqrt(zero * other) : 2 * zero;
}

/* What all of the family share; nothing is pruned yet. */
static const char *delta_mix(const struct wf_settings *s, struct wf_args *args, bool consensus)
{
    bool normalize = s->global[DELTA_OPT_NORMALIZE] != 0.0;
    double sum = 0.0;
    for (uint32_t i = 1; i < s->n; i++) {
        double weight = s->model[i][DELTA_OPT_WEIGHT];
        args->m[i][DELTA_WEIGHT] = args->m[i][DELTA_SHARE] = weight;
        args->m[i][DELTA_UPPER] = -1.0;
        sum += weight;
    }
    if (normalize && !isfinite(sum))
        return "the weights are too large to be added up; use smaller ones";
    if (!normalize || consensus || fabs(sum) < DELTA_ZERO)
        sum = 1.0;
    args->g[DELTA_SUM] = sum;
    args->g[DELTA_LAMBDA] = s->global[DELTA_OPT_LAMBDA];
    args->g[DELTA_SCALE] = args->g[DELTA_LAMBDA] / sum;
    args->g[DELTA_DIVIDES] = !normalize || !consensus ? 0x1.fffffffffffffp1023
                             : s->compat              ? 0x1p-126
                                                      : delta_least_divisor(args);
    args->g[DELTA_COMPAT] = s->compat;
    delta_settle(args);
    return NULL;
}

static const char *task_arithmetic_prepare(const struct wf_settings *s, struct wf_args *args)
{
    return delta_mix(s, args, false);
}

/* Every density is 1: MAP alone. */
static const char *delta_unpruned(struct wf_args *args, size_t n_stages, bool consensus)
{
    for (size_t k = 0; k + 1 < n_stages; k++)
        args->scope[k] = WF_SCOPE_OFF;
    args->map = consensus ? WF_ID_delta_ties_map : WF_ID_delta_map;
    return NULL;
}

/* Stages of the magnitude methods: positions and ranks in place of thresholds where rows are the
 * groups, and the norms of what either keeps. */
enum {
    BAND_STAGE_LENGTH,
    BAND_STAGE_SELECT,
    BAND_STAGE_RANK,
    BAND_STAGE_NORMS,
    BAND_STAGE_ROW_NORMS,
    BAND_STAGES = BAND_STAGE_ROW_NORMS + 2
};

static const char *band_prepare(const struct wf_settings *s, struct wf_args *args, bool consensus,
                                bool pruned)
{
    static const enum wf_scope scopes[] = {WF_SCOPE_ROW, WF_SCOPE_TENSOR, WF_SCOPE_MODEL};
    if (!pruned)
        return delta_unpruned(args, BAND_STAGES, consensus);
    enum wf_scope scope = scopes[(size_t)s->global[DELTA_OPT_SCOPE]];
    if (scope == WF_SCOPE_ROW && s->one_row)
        scope = WF_SCOPE_TENSOR; /* the same, for tensors of any size */
    bool row = scope == WF_SCOPE_ROW, rescale = s->global[DELTA_OPT_RESCALE] != 0.0;
    args->scope[BAND_STAGE_LENGTH] = row ? WF_SCOPE_ROW : WF_SCOPE_OFF;
    args->scope[BAND_STAGE_RANK] = row ? WF_SCOPE_ROW : WF_SCOPE_OFF;
    args->scope[BAND_STAGE_SELECT] = row ? WF_SCOPE_OFF : (uint8_t)scope;
    args->scope[BAND_STAGE_NORMS] = rescale && !row ? WF_SCOPE_TENSOR : WF_SCOPE_OFF;
    args->scope[BAND_STAGE_ROW_NORMS] = rescale && row ? WF_SCOPE_TENSOR : WF_SCOPE_OFF;
    if (row)
        args->map = consensus ? WF_ID_delta_row_ties_map : WF_ID_delta_row_map;
    return NULL;
}

static const char *ties_prepare(const struct wf_settings *s, struct wf_args *args)
{
    const char *why = delta_mix(s, args, true);
    if (why)
        return why;
    bool pruned = false;
    for (uint32_t i = 1; i < s->n; i++) {
        args->m[i][DELTA_DENSITY] = s->model[i][DELTA_OPT_DENSITY];
        args->m[i][DELTA_GAMMA] = 0.0;
        args->m[i][DELTA_LOW] = -1.0;
        pruned |= s->model[i][DELTA_OPT_DENSITY] < 1.0;
    }
    args->ties = s->global[DELTA_OPT_TIES] != 0.0 ? WF_TIES_LOW_IS_HIGH : WF_TIES_INCLUSIVE;
    return band_prepare(s, args, true, pruned);
}

static const char *breadcrumbs_any(const struct wf_settings *s, struct wf_args *args,
                                   bool consensus)
{
    const char *why = delta_mix(s, args, consensus);
    if (why)
        return why;
    bool pruned = false;
    for (uint32_t i = 1; i < s->n; i++) {
        const double *option = s->model[i];
        double low = option[DELTA_OPT_LOW], high = option[DELTA_OPT_HIGH];
        bool percentiles = !isnan(low) || !isnan(high);
        if (percentiles && !(low <= high))
            return isnan(low) || isnan(high)
                       ? "'low' and 'high' belong together; give both, or density and gamma"
                       : "'low' is above 'high'; the band between them is what is kept";
        args->m[i][DELTA_DENSITY] = option[DELTA_OPT_DENSITY];
        args->m[i][DELTA_GAMMA] = option[DELTA_OPT_GAMMA];
        args->m[i][DELTA_LOW] = percentiles ? floor(low * 1e6 + 0.5) : -1.0;
        args->m[i][DELTA_HIGH] = percentiles ? floor(high * 1e6 + 0.5) : -1.0;
        pruned |= percentiles || option[DELTA_OPT_DENSITY] < 1.0;
    }
    args->ties = WF_TIES_LOW_IS_LOW;
    why = band_prepare(s, args, consensus, pruned);
    bool model = args->scope[BAND_STAGE_SELECT] == WF_SCOPE_MODEL;
    args->g[DELTA_SPARES] = model ? 0.0 : BREADCRUMBS_SPARED;
    return why;
}

static const char *breadcrumbs_prepare(const struct wf_settings *s, struct wf_args *args)
{
    return breadcrumbs_any(s, args, false);
}

static const char *breadcrumbs_ties_prepare(const struct wf_settings *s, struct wf_args *args)
{
    return breadcrumbs_any(s, args, true);
}

enum { DARE_STAGE_NORMS, DARE_STAGES = 2 };

static const char *dare_any(const struct wf_settings *s, struct wf_args *args, bool consensus)
{
    const char *why = delta_mix(s, args, consensus);
    if (why)
        return why;
    bool rescale = s->global[DELTA_OPT_RESCALE] != 0.0, pruned = false;
    for (uint32_t i = 1; i < s->n; i++) {
        double density = s->model[i][DELTA_OPT_DENSITY];
        args->m[i][DELTA_DENSITY] = density;
        /* Draws are multiples of 2^-24: below that, what is kept is kept that often. */
        if (rescale && !s->compat && density > 0.0)
            args->m[i][DELTA_SHARE] /= density > 0x1p-24 ? density : 0x1p-24;
        pruned |= density < 1.0;
    }
    if (!pruned)
        return delta_unpruned(args, DARE_STAGES, consensus);
    args->scope[DARE_STAGE_NORMS] = rescale && s->compat ? WF_SCOPE_TENSOR : WF_SCOPE_OFF;
    delta_settle(args);
    return NULL;
}

static const char *dare_linear_prepare(const struct wf_settings *s, struct wf_args *args)
{
    return dare_any(s, args, false);
}

static const char *dare_ties_prepare(const struct wf_settings *s, struct wf_args *args)
{
    return dare_any(s, args, true);
}

enum { DELLA_STAGE_RANK, DELLA_STAGE_NORMS, DELLA_STAGES = 3 };

static const char *della_any(const struct wf_settings *s, struct wf_args *args, bool consensus)
{
    const char *why = delta_mix(s, args, consensus);
    if (why)
        return why;
    bool rescale = s->global[DELTA_OPT_RESCALE] != 0.0, pruned = false;
    for (uint32_t i = 1; i < s->n; i++) {
        double density = s->model[i][DELTA_OPT_DENSITY];
        double epsilon = s->model[i][DELTA_OPT_EPSILON];
        bool window = density > 0.0 && density < 1.0;
        if (window && !(density - epsilon > 0.0 && density + epsilon < 1.0))
            return "density - epsilon must be above 0 and density + epsilon below 1; use a smaller "
                   "epsilon";
        args->m[i][DELTA_LEAST] = window ? density - epsilon : density;
        args->m[i][DELTA_SPAN] = window ? 2.0 * epsilon : 0.0;
        pruned |= density < 1.0;
    }
    if (!pruned)
        return delta_unpruned(args, DELLA_STAGES, consensus);
    args->ties = WF_TIES_LOW_IS_LOW;
    args->scope[DELLA_STAGE_NORMS] = rescale && s->compat ? WF_SCOPE_TENSOR : WF_SCOPE_OFF;
    args->g[DELTA_RESCALES] = rescale && !s->compat;
    delta_settle(args);
    return NULL;
}

static const char *della_prepare(const struct wf_settings *s, struct wf_args *args)
{
    return della_any(s, args, true);
}

static const char *della_linear_prepare(const struct wf_settings *s, struct wf_args *args)
{
    return della_any(s, args, false);
}

/* ---- rows ---- */

#define DELTA_NORMS_STAGE(id)                                                                      \
    {                                                                                              \
        .kind = WF_STAGE_FOLD, .scope = WF_SCOPE_OFF, .function = (id), .fold = {                  \
            .terms = delta_norms_terms,                                                            \
            .finish = delta_norms_finish                                                           \
        }                                                                                          \
    }
#define BAND_STAGE_TABLE(count_of_ranks, ranks_of)                                                 \
    {                                                                                              \
        {.kind = WF_STAGE_FOLD,                                                                    \
         .scope = WF_SCOPE_OFF,                                                                    \
         .function = WF_ID_delta_length_fold,                                                      \
         .fold = {.terms = delta_length_terms, .finish = delta_length_finish}},                    \
            {.kind = WF_STAGE_SELECT,                                                              \
             .scope = WF_SCOPE_TENSOR,                                                             \
             .function = WF_ID_delta_key,                                                          \
             .select = {.per_model = true,                                                         \
                        .cut = DELTA_CUT,                                                          \
                        .n_ranks = (count_of_ranks),                                               \
                        .ranks = (ranks_of)}},                                                     \
            {.kind = WF_STAGE_RANK, .scope = WF_SCOPE_OFF, .function = WF_ID_delta_key},           \
            DELTA_NORMS_STAGE(WF_ID_delta_band_fold), DELTA_NORMS_STAGE(WF_ID_delta_row_fold),     \
            WF_MAP_STAGE                                                                           \
    }

static const struct wf_stage task_arithmetic_stages[] = {WF_MAP_STAGE};
static const struct wf_stage ties_stages[] = BAND_STAGE_TABLE(1, ties_ranks);
static const struct wf_stage breadcrumbs_stages[] = BAND_STAGE_TABLE(2, breadcrumbs_ranks);
static const struct wf_stage dare_stages[] = {DELTA_NORMS_STAGE(WF_ID_delta_draw_fold),
                                              WF_MAP_STAGE};
static const struct wf_stage della_stages[] = {
    {.kind = WF_STAGE_RANK, .scope = WF_SCOPE_ROW, .function = WF_ID_delta_key},
    DELTA_NORMS_STAGE(WF_ID_delta_rank_fold),
    WF_MAP_STAGE,
};

#define DELTA_ROW_COMMON(option_table, stage_table)                                                \
    .options = (option_table), .n_options = sizeof(option_table) / sizeof *(option_table),         \
    .stages = (stage_table), .n_stages = sizeof(stage_table) / sizeof *(stage_table),              \
    .min_models = 1, .max_models = WF_MODELS_MAX - 1, .base = WF_BASE_REQUIRED
/* Ranks are those of the differences alone. */
#define DELTA_OWN                                                                                  \
    .own_g = 1u << DELTA_SCALE | 1u << DELTA_REPLACES | 1u << DELTA_DIVIDES | 1u << DELTA_LAMBDA | \
             1u << DELTA_SUM,                                                                      \
    .own_m = 1u << DELTA_WEIGHT | 1u << DELTA_SHARE
#define DELTA_LINEAR_FORMULA                                                                       \
    "W = W0 + lambda * sum_i weight_i * P(d_i), the sum divided by sum_i weight_i if normalize"
#define DELTA_TIES_FORMULA                                                                         \
    "s = the sign of sum_i weight_i * P(d_i) at the element, + if it is 0\n"                       \
    "W = W0 + lambda * sum of weight_i * P(d_i) over the models that have sign s there,\n"         \
    "    divided by the sum of their weights if normalize"
#define TIES_PRUNE                                                                                 \
    "d_i = W_i - W0\n"                                                                             \
    "P keeps the floor(density * n) largest magnitudes of the n in the scope\n"
#define BREADCRUMBS_PRUNE                                                                          \
    "d_i = W_i - W0\n"                                                                             \
    "P drops the floor(gamma * n) largest magnitudes of the n in the scope and keeps the\n"        \
    "    floor(density * n) below them (fewer are dropped if those are not there), or keeps\n"     \
    "    ranks from low * n to high * n; equal magnitudes rank by index; a tensor of fewer than\n" \
    "    64 elements is not pruned\n"
#define DARE_PRUNE                                                                                 \
    "d_i = W_i - W0\n"                                                                             \
    "P keeps an element with probability density and, if rescale, divides it by density\n"
#define DELLA_PRUNE                                                                                \
    "d_i = W_i - W0\n"                                                                             \
    "r = rank of |d_i| in its row (along the second axis), from 0 to 1; 0.5 in a row of one\n"     \
    "p = density - epsilon + 2 * epsilon * r\n"                                                    \
    "P keeps an element with probability p and, if rescale, divides it by p\n"
#define TIES_CITATION                                                                              \
    "Yadav et al., TIES-Merging: Resolving Interference When Merging Models, NeurIPS 2023"
#define BREADCRUMBS_CITATION                                                                       \
    "Davari and Belilovsky, Model Breadcrumbs: Scaling Multi-Task Model Merging with Sparse "      \
    "Masks, ECCV 2024"
#define DARE_CITATION                                                                              \
    "Yu et al., Language Models are Super Mario: Absorbing Abilities from Homologous Models as a " \
    "Free Lunch, ICML 2024"
#define DELLA_CITATION                                                                             \
    "Deep, Bhardwaj and Poria, DELLA-Merging: Reducing Interference in Model Merging through "     \
    "Magnitude-Based Sampling, 2024 (arXiv 2406.11617)"

static const struct wf_method method_task_arithmetic = {
    .name = "task_arithmetic",
    .title = "weighted sum of task vectors, added to the base",
    .formula = "d_i = W_i - W0\n"
               "W = W0 + lambda * sum_i weight_i * d_i, the sum divided by sum_i weight_i if "
               "normalize",
    .citation = "Ilharco et al., Editing models with task arithmetic, ICLR 2023",
    DELTA_ROW_COMMON(task_arithmetic_options, task_arithmetic_stages),
    .map = WF_ID_delta_map,
    .prepare = task_arithmetic_prepare,
};

static const struct wf_method method_ties = {
    .name = "ties",
    .title = "largest changes only, where the models agree on the sign",
    .formula = TIES_PRUNE DELTA_TIES_FORMULA,
    .citation = TIES_CITATION,
    DELTA_ROW_COMMON(ties_options, ties_stages),
    DELTA_OWN,
    .map = WF_ID_delta_band_ties_map,
    .prepare = ties_prepare,
};

static const struct wf_method method_breadcrumbs = {
    .name = "breadcrumbs",
    .title = "task vectors without their smallest and their very largest changes",
    .formula = BREADCRUMBS_PRUNE DELTA_LINEAR_FORMULA,
    .citation = BREADCRUMBS_CITATION,
    DELTA_ROW_COMMON(breadcrumbs_options, breadcrumbs_stages),
    DELTA_OWN,
    .map = WF_ID_delta_band_map,
    .prepare = breadcrumbs_prepare,
};

static const struct wf_method method_breadcrumbs_ties = {
    .name = "breadcrumbs_ties",
    .title = "breadcrumbs, where the models agree on the sign",
    .formula = BREADCRUMBS_PRUNE DELTA_TIES_FORMULA,
    .citation = BREADCRUMBS_CITATION "\n" TIES_CITATION,
    DELTA_ROW_COMMON(breadcrumbs_options, breadcrumbs_stages),
    DELTA_OWN,
    .map = WF_ID_delta_band_ties_map,
    .prepare = breadcrumbs_ties_prepare,
};

static const struct wf_method method_dare_linear = {
    .name = "dare_linear",
    .title = "task vectors thinned at random, and scaled up by as much",
    .formula = DARE_PRUNE DELTA_LINEAR_FORMULA,
    .citation = DARE_CITATION,
    DELTA_ROW_COMMON(dare_options, dare_stages),
    .map = WF_ID_delta_draw_map,
    .draws = true,
    .prepare = dare_linear_prepare,
};

static const struct wf_method method_dare_ties = {
    .name = "dare_ties",
    .title = "dare, where the models agree on the sign",
    .formula = DARE_PRUNE DELTA_TIES_FORMULA,
    .citation = DARE_CITATION "\n" TIES_CITATION,
    DELTA_ROW_COMMON(dare_options, dare_stages),
    .map = WF_ID_delta_draw_ties_map,
    .draws = true,
    .prepare = dare_ties_prepare,
};

static const struct wf_method method_della = {
    .name = "della",
    .title = "random thinning that favours large changes, where the models agree on the sign",
    .formula = DELLA_PRUNE DELTA_TIES_FORMULA,
    .citation = DELLA_CITATION,
    DELTA_ROW_COMMON(della_options, della_stages),
    .map = WF_ID_delta_rank_ties_map,
    .draws = true,
    .rows = WF_ROWS_SECOND_AXIS,
    .prepare = della_prepare,
};

static const struct wf_method method_della_linear = {
    .name = "della_linear",
    .title = "random thinning that favours large changes",
    .formula = DELLA_PRUNE DELTA_LINEAR_FORMULA,
    .citation = DELLA_CITATION,
    DELTA_ROW_COMMON(della_linear_options, della_stages),
    .map = WF_ID_delta_rank_map,
    .draws = true,
    .rows = WF_ROWS_SECOND_AXIS,
    .prepare = della_linear_prepare,
};
#endif

#ifdef WF_ELEMENTS
WF_ELEMENT wf_real WF_NAME(delta_key)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                      int i)
{
    (void)n;
    (void)v;
    return WF_NAME(wf_abs)(x[i] - x[0]);
}

/* DELLA's likelihood that model i's element stays. */
WF_ELEMENT wf_real WF_NAME(delta_likelihood)(const wf_real *x, int n,
                                             const struct WF_NAME(wf_view) * v, int i)
{
    wf_real place =
        WF_NAME(wf_select)(v->row_last > 0, WF_RANK(x, n, i) / v->row_last, (wf_real)0.5);
    return v->m[i][DELTA_LEAST] + v->m[i][DELTA_SPAN] * place;
}

/* `prune` is a constant wherever these are used: one branch is left of each. */
WF_ELEMENT int WF_NAME(delta_keeps)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                    int i, enum delta_prune prune)
{
    if (prune == DELTA_ALL)
        return 1;
    if (prune == DELTA_DRAW)
        return WF_UNIFORM(x, n, i) < v->m[i][DELTA_DENSITY];
    if (prune == DELTA_RANK)
        return WF_UNIFORM(x, n, i) < WF_NAME(delta_likelihood)(x, n, v, i);
    wf_real key = prune == DELTA_ROW ? WF_RANK(x, n, i) : WF_NAME(wf_size)(x[i] - x[0]);
    wf_real upper = v->m[i][DELTA_UPPER];
    int inside = (key >= v->m[i][DELTA_CUT]) & !((key >= upper) & (upper >= 0));
    return inside | (v->tensor < v->g[DELTA_SPARES]); /* a NaN is not inside, but is spared */
}

/* v_i: what model i adds. */
WF_ELEMENT wf_real WF_NAME(delta_adds)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                       int i, enum delta_prune prune)
{
    wf_real d = v->m[i][DELTA_SHARE] * (x[i] - x[0]);
    if (prune == DELTA_ALL)
        return d;
    if (prune == DELTA_RANK)
        d = WF_NAME(wf_select)(v->g[DELTA_RESCALES] != 0, d / WF_NAME(delta_likelihood)(x, n, v, i),
                               d);
    return WF_NAME(wf_select)(WF_NAME(delta_keeps)(x, n, v, i, prune), d, (wf_real)0);
}

WF_ELEMENT wf_real WF_NAME(delta_mixed)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                        enum delta_prune prune, int consensus)
{
    wf_real sum = 0;
    WF_EACH_INPUT (i, 1, n)
        sum += WF_NAME(delta_adds)(x, n, v, i, prune);
    if (consensus) {
        wf_real side = WF_NAME(wf_select)(sum >= 0, (wf_real)1, (wf_real)-1), weights = 0;
        sum = 0;
        WF_EACH_INPUT (i, 1, n) {
            wf_real add = side * WF_NAME(delta_adds)(x, n, v, i, prune);
            int agrees = !(add <= 0); /* so does a NaN, which must not get lost */
            sum += WF_NAME(wf_select)(agrees, add, (wf_real)0);
            weights += WF_NAME(wf_select)(agrees, v->m[i][DELTA_WEIGHT], (wf_real)0);
        }
        sum *= side;
        int divides = WF_NAME(wf_size)(weights) >= v->g[DELTA_DIVIDES];
#ifdef __CUDACC__ /* one way for all elements: a branch saves the rest a division by 1 */
        if (v->g[DELTA_DIVIDES] < (wf_real)0x1p127)
            sum /= WF_NAME(wf_select)(divides, weights, (wf_real)1);
#else
        sum /= WF_NAME(wf_select)(divides, weights, (wf_real)1);
#endif
    }
    /* An unchanged element keeps its bits: -0 + 0 would be +0. */
    wf_real mixed = WF_NAME(wf_select)(sum == 0, x[0], x[0] + v->g[DELTA_SCALE] * sum);
    if (n != 2)
        return mixed;
    wf_real alone = WF_NAME(wf_select)(WF_NAME(delta_keeps)(x, n, v, 1, prune), x[1], x[0]);
    return WF_NAME(wf_select)(v->g[DELTA_REPLACES] != 0, alone, mixed);
}

WF_ELEMENT void WF_NAME(delta_norms)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                     double *terms, enum delta_prune prune)
{
    WF_EACH_INPUT (i, 1, n) {
        double size = (double)WF_NAME(delta_key)(x, n, v, i);
        terms[i - 1] = size;
        terms[n - 1 + i - 1] = wf_select_f64(WF_NAME(delta_keeps)(x, n, v, i, prune), size, 0.0);
    }
}

#define DELTA_MAP(name, prune, consensus)                                                          \
    WF_ELEMENT wf_real WF_NAME(name)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v)   \
    {                                                                                              \
        return WF_NAME(delta_mixed)(x, n, v, prune, consensus);                                    \
    }
DELTA_MAP(delta_map, DELTA_ALL, 0)
DELTA_MAP(delta_ties_map, DELTA_ALL, 1)
DELTA_MAP(delta_band_map, DELTA_BAND, 0)
DELTA_MAP(delta_band_ties_map, DELTA_BAND, 1)
DELTA_MAP(delta_row_map, DELTA_ROW, 0)
DELTA_MAP(delta_row_ties_map, DELTA_ROW, 1)
DELTA_MAP(delta_draw_map, DELTA_DRAW, 0)
DELTA_MAP(delta_draw_ties_map, DELTA_DRAW, 1)
DELTA_MAP(delta_rank_map, DELTA_RANK, 0)
DELTA_MAP(delta_rank_ties_map, DELTA_RANK, 1)
#undef DELTA_MAP

#define DELTA_FOLD(name, prune)                                                                    \
    WF_ELEMENT void WF_NAME(name)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,      \
                                  double *terms)                                                   \
    {                                                                                              \
        WF_NAME(delta_norms)(x, n, v, terms, prune);                                               \
    }
DELTA_FOLD(delta_band_fold, DELTA_BAND)
DELTA_FOLD(delta_row_fold, DELTA_ROW)
DELTA_FOLD(delta_draw_fold, DELTA_DRAW)
DELTA_FOLD(delta_rank_fold, DELTA_RANK)
#undef DELTA_FOLD

WF_ELEMENT void WF_NAME(delta_length_fold)(const wf_real *x, int n,
                                           const struct WF_NAME(wf_view) * v, double *terms)
{
    (void)x;
    (void)n;
    (void)v;
    terms[0] = 1.0;
}
#endif
