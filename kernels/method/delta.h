/* delta.h - the task-vector family: what the models changed, mixed and put on the base.
 *
 *     d_i = W_i - W0                        task vectors
 *     W   = W0 + lambda * sum_i w_i d_i     [ / sum_i w_i  if normalize; |sum| < 1e-8 divides by 1
 * ]
 *
 * One row per published name over one implementation. This version has the row without pruning
 * and without sign consensus: task_arithmetic. `density`, `rescale` and `int8_mask` belong to
 * the family's common options; without pruning they change nothing.
 *
 * Ilharco et al., "Editing models with task arithmetic", ICLR 2023.
 */
#ifndef DELTA_SLOTS
#define DELTA_SLOTS
enum { DELTA_SCALE, DELTA_REPLACES }; /* in g */
enum { DELTA_WEIGHT };                /* in m[i], i = 1.. ; m[0] is the base */
enum {                                /* rows of the options table */
       DELTA_OPT_WEIGHT,
       DELTA_OPT_DENSITY,
       DELTA_OPT_NORMALIZE,
       DELTA_OPT_RESCALE,
       DELTA_OPT_LAMBDA,
       DELTA_OPT_INT8_MASK
};
#endif

#ifdef WF_DESCRIBE
static const struct wf_option delta_options[] = {
    {"weight", WF_OPTION_NUMBER, WF_PER_MODEL, true, 0.0, -HUGE_VAL, HUGE_VAL,
     "factor on the model's task vector"},
    {"density", WF_OPTION_NUMBER, WF_PER_MODEL, false, 1.0, 0.0, 1.0,
     "accepted for the family; nothing is pruned here"},
    {"normalize", WF_OPTION_BOOL, WF_GLOBAL, false, 0.0, 0.0, 1.0,
     "divide by the sum of the weights"},
    {"rescale", WF_OPTION_BOOL, WF_GLOBAL, false, 0.0, 0.0, 1.0,
     "accepted for the family; no effect without pruning"},
    {"lambda", WF_OPTION_NUMBER, WF_GLOBAL, false, 1.0, -HUGE_VAL, HUGE_VAL,
     "factor on the mixed task vector"},
    {"int8_mask", WF_OPTION_BOOL, WF_GLOBAL, false, 0.0, 0.0, 1.0,
     "accepted for the family; no numerical effect"},
};

static const struct wf_stage delta_stages[] = {{WF_STAGE_MAP, WF_SCOPE_ELEMENT}};

static const char *delta_prepare(const struct wf_settings *s, struct wf_args *args)
{
    double sum = 0.0;
    for (uint32_t i = 1; i < s->n; i++) {
        args->m[i][DELTA_WEIGHT] = s->model[i][DELTA_OPT_WEIGHT];
        sum += s->model[i][DELTA_OPT_WEIGHT];
    }
    if (s->global[DELTA_OPT_NORMALIZE] != 0.0 && !isfinite(sum))
        return "the weights are too large to be added up; use smaller ones";
    if (s->global[DELTA_OPT_NORMALIZE] == 0.0 || fabs(sum) < 1e-8)
        sum = 1.0;
    args->g[DELTA_SCALE] = s->global[DELTA_OPT_LAMBDA] / sum;
    /* W0 + 1 (W1 - W0) is W1, which float subtraction does not always give back. */
    double all = sum == 1.0 ? s->global[DELTA_OPT_LAMBDA] * args->m[1][DELTA_WEIGHT]
                            : s->global[DELTA_OPT_LAMBDA]; /* one model over its own weight */
    args->g[DELTA_REPLACES] = s->n == 2 && all == 1.0;
    return NULL;
}

static const struct wf_method method_task_arithmetic = {
    .name = "task_arithmetic",
    .title = "weighted sum of task vectors, added to the base",
    .formula = "d_i = W_i - W0\n"
               "W = W0 + lambda * sum_i weight_i * d_i, the sum divided by sum_i weight_i if "
               "normalize",
    .citation = "Ilharco et al., Editing models with task arithmetic, ICLR 2023",
    .options = delta_options,
    .n_options = sizeof delta_options / sizeof *delta_options,
    .stages = delta_stages,
    .n_stages = 1,
    .min_models = 1,
    .max_models = WF_MODELS_MAX - 1,
    .base = WF_BASE_REQUIRED,
    .prepare = delta_prepare,
};
#endif

#ifdef WF_ELEMENTS
WF_ELEMENT wf_real WF_NAME(delta_map)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                      uint64_t index)
{
    (void)index;
    wf_real sum = 0;
    WF_EACH_INPUT (i, 1, n)
        sum += v->m[i][DELTA_WEIGHT] * (x[i] - x[0]);
    /* An unchanged element keeps its bits: -0 + 0 would be +0. */
    wf_real mixed = WF_NAME(wf_select)(sum == 0, x[0], x[0] + v->g[DELTA_SCALE] * sum);
    return WF_NAME(wf_select)(v->g[DELTA_REPLACES] != 0, x[n - 1], mixed); /* n is 2 then */
}
#endif
