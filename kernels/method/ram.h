/* ram.h - what one model alone changed is added whole, what several changed is averaged.
 *
 *     a_i = |d_i| > epsilon,  d_i = W_i - W0,  c = sum_i a_i
 *     W   = W0 + sum_i a_i d_i                 where c = 1   (ramplus_tl: times f_i)
 *           W0 + sum_i a_i d_i / c             where c > 1
 *
 * ramplus_tl makes up for what is averaged away: f_i = 1 + r clip(shared_i / unique_i, 0, alpha),
 * with the numbers of positions in the tensor that model i changed with others and alone.
 *
 * The base's bits stay where c is 0, and the model's are taken where it is alone with f_i = 1.
 */
#ifndef RAM_SLOTS
#define RAM_SLOTS
enum {              /* in g */
       RAM_EPSILON, /* in tensors of doubles */
       RAM_R,
       RAM_ALPHA,
       RAM_EPSILON_FLOAT /* the largest float that is not above it: above both are the same floats
                          */
};
enum { RAM_FACTOR }; /* in m[i] */
enum {               /* rows of the options tables: ram's, then ramplus_tl's */
       RAM_OPT_EPSILON,
       RAM_OPT_R,
       RAM_OPT_ALPHA
};
#endif

#ifdef WF_DESCRIBE
#define RAM_EPSILON_OPTION                                                                         \
    {                                                                                              \
        "epsilon", WF_OPTION_NUMBER, WF_GLOBAL, false, 1e-5, 0.0, HUGE_VAL,                        \
            "a smaller difference from the base does not count as a change", NULL                  \
    }

static const struct wf_option ram_options[] = {RAM_EPSILON_OPTION};
static const struct wf_option ramplus_tl_options[] = {
    RAM_EPSILON_OPTION,
    {"r", WF_OPTION_NUMBER, WF_GLOBAL, false, 0.1, -HUGE_VAL, HUGE_VAL,
     "strength of the extra factor on what only one model changed", NULL},
    {"alpha", WF_OPTION_NUMBER, WF_GLOBAL, false, 0.2, 0.0, HUGE_VAL,
     "largest ratio of shared to unique changes that counts", NULL},
};

/* Positions shared with other models, then positions changed alone. */
static uint32_t ramplus_terms(uint32_t n)
{
    return 2 * (n - 1);
}

static const char *ramplus_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    for (uint32_t i = 1; i < args->n; i++) {
        double shared = terms[i - 1], unique = terms[args->n - 1 + i - 1];
        double alpha = args->g[RAM_ALPHA];
        double ratio = shared < alpha * unique ? shared / unique : alpha;
        args->m[i][RAM_FACTOR] = 1.0 + args->g[RAM_R] * ratio;
    }
    return NULL;
}

static const struct wf_stage ram_stages[] = {WF_MAP_STAGE};
static const struct wf_stage ramplus_tl_stages[] = {
    {.kind = WF_STAGE_FOLD,
     .scope = WF_SCOPE_TENSOR,
     .function = WF_ID_ramplus_fold,
     .fold = {.terms = ramplus_terms, .finish = ramplus_finish}},
    WF_MAP_STAGE,
};

static const char *ram_prepare(const struct wf_settings *s, struct wf_args *args)
{
    double epsilon = s->global[RAM_OPT_EPSILON];
    float below = (float)epsilon;
    args->g[RAM_EPSILON] = epsilon;
    args->g[RAM_EPSILON_FLOAT] = (double)below > epsilon ? nextafterf(below, 0.0f) : below;
    for (uint32_t i = 1; i < s->n; i++)
        args->m[i][RAM_FACTOR] = 1.0;
    return NULL;
}

static const char *ramplus_tl_prepare(const struct wf_settings *s, struct wf_args *args)
{
    args->g[RAM_R] = s->global[RAM_OPT_R];
    args->g[RAM_ALPHA] = s->global[RAM_OPT_ALPHA];
    return ram_prepare(s, args);
}

#define RAM_FORMULA                                                                                \
    "d_i = W_i - W0, a_i = 1 if |d_i| > epsilon else 0, c = sum_i a_i\n"                           \
    "W = W0 + sum_i a_i * d_i / c where several models changed the element\n"
#define RAM_ROW(option_table, stage_table)                                                         \
    .citation = "Reinforced Agent Merging, in: Behavior Knowledge Merge in Reinforced Agentic "    \
                "Models, 2026 (arXiv 2601.13572)",                                                 \
    .options = (option_table), .n_options = sizeof(option_table) / sizeof *(option_table),         \
    .stages = (stage_table), .n_stages = sizeof(stage_table) / sizeof *(stage_table),              \
    .min_models = 1, .max_models = WF_MODELS_MAX - 1, .base = WF_BASE_REQUIRED,                    \
    .map = WF_ID_ram_map

static const struct wf_method method_ram = {
    .name = "ram",
    .title = "changes of one model alone whole, shared ones averaged",
    .formula = RAM_FORMULA "W = W0 + d_i where only model i did",
    RAM_ROW(ram_options, ram_stages),
    .prepare = ram_prepare,
};

static const struct wf_method method_ramplus_tl = {
    .name = "ramplus_tl",
    .title = "ram, with changes of one model alone made stronger",
    .formula = RAM_FORMULA
    "W = W0 + (1 + r * rho_i) * d_i where only model i did\n"
    "rho_i = positions model i shares / positions it has alone, in the tensor, at most alpha",
    RAM_ROW(ramplus_tl_options, ramplus_tl_stages),
    .prepare = ramplus_tl_prepare,
};
#endif

#ifdef WF_ELEMENTS
WF_ELEMENT int WF_NAME(ram_changed)(const wf_real *x, const struct WF_NAME(wf_view) * v, int i)
{
    wf_real epsilon = v->g[sizeof(wf_real) == sizeof(float) ? RAM_EPSILON_FLOAT : RAM_EPSILON];
    return !(WF_NAME(wf_abs)(x[i] - x[0]) <= epsilon);
}

WF_ELEMENT wf_real WF_NAME(ram_count)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v)
{
    wf_real count = 0;
    WF_EACH_INPUT (i, 1, n)
        count += WF_NAME(wf_select)(WF_NAME(ram_changed)(x, v, i), (wf_real)1, (wf_real)0);
    return count;
}

WF_ELEMENT wf_real WF_NAME(ram_map)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v)
{
    wf_real count = 0, sum = 0, factor = 1, alone = x[0];
    WF_EACH_INPUT (i, 1, n) {
        int changed = WF_NAME(ram_changed)(x, v, i);
        count += WF_NAME(wf_select)(changed, (wf_real)1, (wf_real)0);
        sum += WF_NAME(wf_select)(changed, x[i] - x[0], (wf_real)0);
        factor = WF_NAME(wf_select)(changed, v->m[i][RAM_FACTOR], factor);
        alone = WF_NAME(wf_select)(changed, x[i], alone);
    }
    wf_real share = WF_NAME(wf_select)(count == 1, factor * sum,
                                       sum / WF_NAME(wf_select)(count == 0, (wf_real)1, count));
    wf_real mixed = WF_NAME(wf_select)(share == 0, x[0], x[0] + share);
    return WF_NAME(wf_select)((count == 1) & (factor == 1), alone, mixed);
}

WF_ELEMENT void WF_NAME(ramplus_fold)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                      double *terms)
{
    int alone = WF_NAME(ram_count)(x, n, v) == 1;
    WF_EACH_INPUT (i, 1, n) {
        int changed = WF_NAME(ram_changed)(x, v, i);
        terms[i - 1] = wf_select_f64(changed & !alone, 1.0, 0.0);
        terms[n - 1 + i - 1] = wf_select_f64(changed & alone, 1.0, 0.0);
    }
}
#endif
