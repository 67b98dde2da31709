/* sce.h - select, calculate, erase: changes on which the models differ most, weighted by their
 * energy.
 *
 *     d_i = W_i - W0
 *
 *     select     keep the floor(select_topk n') elements whose d_i vary most over the models,
 *                of the n' where they vary at all; of equal ones the lower index first
 *
 *     calculate  c_i = sum of d_i^2 over what is kept, over the sum of these of all models
 *
 *     erase      m_i = 1 where d_i has the sign of sum_i d_i (positive if that is 0), else 0
 *
 *     W = W0 + sum_i c_i d_i m_i / sum_i c_i m_i,    W0 where that divisor is 0
 *
 * Wan et al., "FuseChat: Knowledge Fusion of Chat Models", 2024. With --compat mergekit the c_i are
 * equal if the mean squares add up to less than 1e-6, and the divisor is at least 1e-6.
 */
#ifndef SCE_SLOTS
#define SCE_SLOTS
enum { SCE_CUT, SCE_ALL, SCE_TOPK, SCE_FLOOR };  /* in g */
enum { SCE_SHARE };                              /* c_i, in m[i] */
enum { SCE_OPT_SELECT_TOPK, SCE_OPT_INT8_MASK }; /* rows of the options table */
#endif

#ifdef WF_DESCRIBE
static const struct wf_option sce_options[] = {
    {"select_topk", WF_OPTION_NUMBER, WF_GLOBAL, false, 1.0, 0.0, 1.0,
     "the share of elements that is kept, of those where the models differ; 1 keeps all", NULL},
    {"int8_mask", WF_OPTION_BOOL, WF_GLOBAL, false, 0.0, 0.0, 1.0,
     "accepted for compatibility; no numerical effect", NULL},
};

static void sce_ranks(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                      uint64_t *rank)
{
    (void)i;
    uint64_t kept = (uint64_t)(args->g[SCE_TOPK] * (double)group->nonzero);
    rank[0] = group->count - (kept < group->nonzero ? kept : group->nonzero);
}

static uint32_t sce_terms(uint32_t n)
{
    return n - 1;
}

static const char *sce_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    double sum = 0.0;
    for (uint32_t i = 1; i < args->n; i++)
        sum += terms[i - 1];
    if (!isfinite(sum))
        return "the squares of its differences from the base do not add up to a finite number";
    bool uniform = sum < args->g[SCE_FLOOR] * (double)count;
    for (uint32_t i = 1; i < args->n; i++)
        args->m[i][SCE_SHARE] = uniform     ? 1.0 / (double)(args->n - 1)
                                : sum > 0.0 ? terms[i - 1] / sum
                                            : 0.0;
    return NULL;
}

enum { SCE_STAGE_SELECT };
static const struct wf_stage sce_stages[] = {
    {.kind = WF_STAGE_SELECT,
     .scope = WF_SCOPE_TENSOR,
     .function = WF_ID_sce_key,
     .select = {.cut = SCE_CUT, .n_ranks = 1, .ranks = sce_ranks}},
    {.kind = WF_STAGE_FOLD,
     .scope = WF_SCOPE_TENSOR,
     .function = WF_ID_sce_fold,
     .fold = {.terms = sce_terms, .finish = sce_finish}},
    WF_MAP_STAGE,
};

static const char *sce_prepare(const struct wf_settings *s, struct wf_args *args)
{
    args->g[SCE_TOPK] = s->global[SCE_OPT_SELECT_TOPK];
    args->g[SCE_ALL] = args->g[SCE_TOPK] == 1.0;
    args->g[SCE_FLOOR] = s->compat ? 1e-6 : 0.0;
    args->ties = WF_TIES_LOW_IS_HIGH;
    if (args->g[SCE_ALL] != 0.0)
        args->scope[SCE_STAGE_SELECT] = WF_SCOPE_OFF;
    return NULL;
}

static const struct wf_method method_sce = {
    .name = "sce",
    .title = "changes that vary most between the models, weighted by their energy",
    .formula =
        "d_i = W_i - W0, kept at the floor(select_topk * n') elements where they vary most,\n"
        "    of the n' where they vary over the models at all\n"
        "c_i = sum of d_i^2 over the tensor, divided by the sum of these over the models\n"
        "m_i = 1 where d_i has the sign of sum_i d_i (+ if that is 0), else 0\n"
        "W = W0 + sum_i c_i * m_i * d_i / sum_i c_i * m_i",
    .citation = "Wan et al., FuseChat: Knowledge Fusion of Chat Models, 2024 (arXiv 2408.07990)",
    .options = sce_options,
    .n_options = sizeof sce_options / sizeof *sce_options,
    .stages = sce_stages,
    .n_stages = sizeof sce_stages / sizeof *sce_stages,
    .min_models = 1,
    .max_models = WF_MODELS_MAX - 1,
    .base = WF_BASE_REQUIRED,
    .map = WF_ID_sce_map,
    .prepare = sce_prepare,
};
#endif

#ifdef WF_ELEMENTS
/* Variance of the changes over the models. */
WF_ELEMENT wf_real WF_NAME(sce_key)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                    int i)
{
    (void)v;
    (void)i;
    wf_real models = (wf_real)(n - 1), mean = 0, square = 0;
    /* Of changes relative to the first model's: equal ones are exactly zero, and vary by zero. */
    WF_EACH_INPUT (j, 2, n)
        mean += (x[j] - x[0]) - (x[1] - x[0]);
    mean /= models;
    WF_EACH_INPUT (j, 1, n) {
        wf_real off = (x[j] - x[0]) - (x[1] - x[0]) - mean;
        square += off * off;
    }
    return WF_NAME(wf_abs)(square / models); /* a NaN has no sign either */
}

WF_ELEMENT int WF_NAME(sce_keeps)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v)
{
    return (v->g[SCE_ALL] != 0) | (WF_NAME(sce_key)(x, n, v, 0) >= v->g[SCE_CUT]);
}

WF_ELEMENT wf_real WF_NAME(sce_map)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v)
{
    wf_real sum = 0, mixed = 0, shares = 0;
    WF_EACH_INPUT (i, 1, n)
        sum += x[i] - x[0];
    wf_real side = WF_NAME(wf_select)(sum >= 0, (wf_real)1, (wf_real)-1);
    WF_EACH_INPUT (i, 1, n) {
        wf_real d = x[i] - x[0];
        int agrees = !(side * d <= 0);
        mixed += WF_NAME(wf_select)(agrees, v->m[i][SCE_SHARE] * d, (wf_real)0);
        shares += WF_NAME(wf_select)(agrees, v->m[i][SCE_SHARE], (wf_real)0);
    }
    int none = shares == 0;
    shares = WF_NAME(wf_select)(shares < v->g[SCE_FLOOR], v->g[SCE_FLOOR], shares);
    mixed /= WF_NAME(wf_select)(none, (wf_real)1, shares);
    int keeps = WF_NAME(sce_keeps)(x, n, v) & !none & (mixed != 0);
    /* One model alone is taken as it is: W0 + (W1 - W0) would round. */
    return WF_NAME(wf_select)(keeps, n == 2 ? x[n - 1] : x[0] + mixed, x[0]);
}

WF_ELEMENT void WF_NAME(sce_fold)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                  double *terms)
{
    int keeps = WF_NAME(sce_keeps)(x, n, v);
    WF_EACH_INPUT (i, 1, n) {
        double d = (double)(x[i] - x[0]);
        terms[i - 1] = wf_select_f64(keeps, d * d, 0.0);
    }
}
#endif
