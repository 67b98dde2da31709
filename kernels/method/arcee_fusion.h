/* arcee_fusion.h - the model's most important changes only, the rest from the base.
 *
 *     p, q  = softmax of the model's and of the base's row (along the last axis), each + 1e-8
 *     KL    = sum over the row of p ln(p / q)
 *     I     = |W1 - W0| KL                                       importance
 *     W     = W1 where I >= median + 1.5 (third - first quartile) of the tensor, else W0
 *
 * The quartiles are the elements at floor(k (n - 1) / 4) in ascending order of all n. Sums, exp
 * and log are in double: in shorter types the KL of a fine-tune is rounding noise.
 */
#ifndef ARCEE_SLOTS
#define ARCEE_SLOTS
enum { ARCEE_CUT, ARCEE_MEDIAN, ARCEE_THIRD, ARCEE_KL }; /* in g: three quartiles first */
enum {                                                   /* in m[i], both inputs */
       ARCEE_LARGEST,                                    /* of the row */
       ARCEE_INVERSE,     /* 1 / sum of exp(w - largest), as wf_real ... */
       ARCEE_INVERSE_REST /* ... and what that rounds off */
};
#endif

#ifdef WF_DESCRIBE
static uint32_t arcee_two_terms(uint32_t n)
{
    return n;
}

static uint32_t arcee_one_term(uint32_t n)
{
    (void)n;
    return 1;
}

static const char *arcee_largest_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    for (uint32_t i = 0; i < 2; i++)
        args->m[i][ARCEE_LARGEST] = terms[i];
    return NULL;
}

static const char *arcee_mass_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    for (uint32_t i = 0; i < 2; i++) {
        double inverse = terms[i] >= 1.0 ? 1.0 / terms[i] : 0.0; /* a NaN in the row: 0 */
        args->m[i][ARCEE_INVERSE] = (double)(float)inverse;
        args->m[i][ARCEE_INVERSE_REST] = inverse - (double)(float)inverse;
    }
    return NULL;
}

/* A divergence is not negative; rounding may make it so. */
static const char *arcee_divergence_finish(const double *terms, uint64_t count,
                                           struct wf_args *args)
{
    (void)count;
    args->g[ARCEE_KL] = terms[0] > 0.0 ? terms[0] : 0.0;
    return NULL;
}

static void arcee_ranks(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                        uint64_t *rank)
{
    (void)args;
    (void)i;
    uint64_t last = group->count ? group->count - 1 : 0;
    for (uint64_t quarter = 1; quarter <= 3; quarter++)
        rank[quarter - 1] = last / 4 * quarter + last % 4 * quarter / 4;
}

static const struct wf_stage arcee_fusion_stages[] = {
    {.kind = WF_STAGE_FOLD,
     .scope = WF_SCOPE_ROW,
     .function = WF_ID_arcee_largest_fold,
     .fold = {.maxima = 2, .terms = arcee_two_terms, .finish = arcee_largest_finish}},
    {.kind = WF_STAGE_FOLD,
     .scope = WF_SCOPE_ROW,
     .function = WF_ID_arcee_mass_fold,
     .fold = {.terms = arcee_two_terms, .finish = arcee_mass_finish}},
    {.kind = WF_STAGE_FOLD,
     .scope = WF_SCOPE_ROW,
     .function = WF_ID_arcee_divergence_fold,
     .fold = {.terms = arcee_one_term, .finish = arcee_divergence_finish}},
    {.kind = WF_STAGE_SELECT,
     .scope = WF_SCOPE_TENSOR,
     .function = WF_ID_arcee_key,
     .select = {.cut = ARCEE_CUT, .n_ranks = 3, .ranks = arcee_ranks}},
    WF_MAP_STAGE,
};

static const char *arcee_fusion_prepare(const struct wf_settings *s, struct wf_args *args)
{
    (void)s;
    args->ties = WF_TIES_INCLUSIVE; /* thresholds are the quartiles themselves */
    return NULL;
}

static const struct wf_method method_arcee_fusion = {
    .name = "arcee_fusion",
    .title = "the base, with the model's most important changes taken over",
    .formula = "p, q = softmax of each row of W1 and of W0 (last axis), + 1e-8\n"
               "KL = sum over the row of p * ln(p / q)\n"
               "I = |W1 - W0| * KL\n"
               "W = W1 where I >= median(I) + 1.5 * (third quartile - first quartile), else W0",
    .citation = "Arcee.ai, Arcee Fusion, MergeKit v0.1, 2025; Goddard et al., Arcee's MergeKit: A "
                "Toolkit for Merging Large Language Models, EMNLP 2024 (industry track)",
    .options = NULL,
    .n_options = 0,
    .stages = arcee_fusion_stages,
    .n_stages = sizeof arcee_fusion_stages / sizeof *arcee_fusion_stages,
    .min_models = 1,
    .max_models = 1,
    .base = WF_BASE_REQUIRED,
    .map = WF_ID_arcee_map,
    .prepare = arcee_fusion_prepare,
};
#endif

#ifdef WF_ELEMENTS
WF_ELEMENT void WF_NAME(arcee_largest_fold)(const wf_real *x, int n,
                                            const struct WF_NAME(wf_view) * v, double *terms)
{
    (void)n;
    (void)v;
    terms[0] = (double)x[0];
    terms[1] = (double)x[1];
}

/* e^(w - largest), for input i. */
WF_ELEMENT double WF_NAME(arcee_mass)(const wf_real *x, const struct WF_NAME(wf_view) * v, int i)
{
    return wf_exp((double)x[i] - (double)v->m[i][ARCEE_LARGEST]);
}

WF_ELEMENT void WF_NAME(arcee_mass_fold)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                         double *terms)
{
    (void)n;
    terms[0] = WF_NAME(arcee_mass)(x, v, 0);
    terms[1] = WF_NAME(arcee_mass)(x, v, 1);
}

WF_ELEMENT double WF_NAME(arcee_softmax)(const wf_real *x, const struct WF_NAME(wf_view) * v, int i)
{
    double inverse = (double)v->m[i][ARCEE_INVERSE] + (double)v->m[i][ARCEE_INVERSE_REST];
    return WF_NAME(arcee_mass)(x, v, i) * inverse + 1e-8;
}

WF_ELEMENT void WF_NAME(arcee_divergence_fold)(const wf_real *x, int n,
                                               const struct WF_NAME(wf_view) * v, double *terms)
{
    (void)n;
    double p = WF_NAME(arcee_softmax)(x, v, 1), q = WF_NAME(arcee_softmax)(x, v, 0);
    terms[0] = p * wf_ln(p / q);
}

WF_ELEMENT wf_real WF_NAME(arcee_key)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                      int i)
{
    (void)n;
    (void)i;
    return WF_NAME(wf_abs)((x[1] - x[0]) * v->g[ARCEE_KL]);
}

WF_ELEMENT wf_real WF_NAME(arcee_map)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v)
{
    wf_real spread = v->g[ARCEE_THIRD] - v->g[ARCEE_CUT];
    wf_real threshold = v->g[ARCEE_MEDIAN] + (wf_real)1.5 * spread;
    int important = WF_NAME(arcee_key)(x, n, v, 0) >= threshold;
    return WF_NAME(wf_select)(important & (x[1] != x[0]), x[1], x[0]);
}
#endif
