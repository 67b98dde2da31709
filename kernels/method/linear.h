/* linear.h - weighted sum, or weighted average, of the models.
 *
 *     W = sum_i w_i W_i  [ / sum_i w_i   if normalize ]
 *
 * Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy
 * without increasing inference time", ICML 2022.
 *
 * The models are summed in recipe order, with weights that are divided by their sum beforehand, in
 * double. An average of equal numbers is that number, to the bit: the sum on the way there may
 * round, or not fit (masks hold the largest number of their type), so it is not taken from the sum.
 */
#ifndef LINEAR_SLOTS
#define LINEAR_SLOTS
enum { LINEAR_AVERAGES };                         /* in g */
enum { LINEAR_WEIGHT };                           /* in m[i] */
enum { LINEAR_OPT_WEIGHT, LINEAR_OPT_NORMALIZE }; /* rows of the options table */
#endif

#ifdef WF_DESCRIBE
static const struct wf_option linear_options[] = {
    {"weight", WF_OPTION_NUMBER, WF_PER_MODEL, true, 0.0, -HUGE_VAL, HUGE_VAL, "the model's share",
     NULL},
    {"normalize", WF_OPTION_BOOL, WF_GLOBAL, false, 1.0, 0.0, 1.0,
     "divide by the sum of the weights", NULL},
};

static const struct wf_stage linear_stages[] = {WF_MAP_STAGE};

static const char *linear_prepare(const struct wf_settings *s, struct wf_args *args)
{
    double sum = 0.0, largest = 0.0;
    bool normalize = s->global[LINEAR_OPT_NORMALIZE] != 0.0;
    for (uint32_t i = 0; i < s->n; i++) {
        double weight = s->model[i][LINEAR_OPT_WEIGHT];
        sum += weight;
        largest = fabs(weight) > largest ? fabs(weight) : largest;
    }
    if (normalize && !isfinite(sum))
        return "the weights are too large to be added up; use smaller ones";
    if (normalize && fabs(sum) <= 1e-12 * largest)
        return "the weights add up to zero and 'normalize' divides by their sum; change a "
               "weight or set normalize: false";
    for (uint32_t i = 0; i < s->n; i++)
        args->m[i][LINEAR_WEIGHT] = s->model[i][LINEAR_OPT_WEIGHT] / (normalize ? sum : 1.0);
    args->g[LINEAR_AVERAGES] = normalize || sum == 1.0;
    return NULL;
}

static const struct wf_method method_linear = {
    .name = "linear",
    .title = "weighted average of the models (model soup)",
    .formula = "W = sum_i weight_i * W_i, divided by sum_i weight_i if normalize",
    .citation = "Wortsman et al., Model soups: averaging weights of multiple fine-tuned models "
                "improves accuracy without increasing inference time, ICML 2022",
    .options = linear_options,
    .n_options = sizeof linear_options / sizeof *linear_options,
    .stages = linear_stages,
    .n_stages = 1,
    .min_models = 1,
    .max_models = WF_MODELS_MAX,
    .base = WF_BASE_NONE,
    .map = WF_ID_linear_map,
    .prepare = linear_prepare,
};
#endif

#ifdef WF_ELEMENTS
WF_ELEMENT wf_real WF_NAME(linear_map)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v)
{
    wf_real sum = v->m[0][LINEAR_WEIGHT] * x[0];
    int equal = v->g[LINEAR_AVERAGES] != 0;
    WF_EACH_INPUT (i, 1, n) {
        sum += v->m[i][LINEAR_WEIGHT] * x[i];
        equal &= x[i] == x[0];
    }
    return WF_NAME(wf_select)(equal, x[0], sum);
}
#endif
