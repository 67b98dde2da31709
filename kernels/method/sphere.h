/* sphere.h - methods that look at tensors as vectors: angles and norms, then one combination.
 *
 *     slerp        along the arc from the base to a model
 *     nuslerp      along the arc between two models, or between their task vectors
 *     multislerp   mean direction times mean norm
 *     karcher      mean direction as it is measured along the sphere, times mean norm
 *     model_stock  from the base towards the mean, as far as the models agree
 *
 * All that they need to know of the tensors is the Gram matrix G_ij = <x_i, x_j>, of the models or
 * of their differences from the base: a FOLD. `finish` makes coefficients c_i of it, in double, and
 * what is left is
 *
 *     W = sum_i c_i W_i    or    W = W0 + sum_i c_i (W_i - W0)
 *
 * A coefficient of zero takes no part, not even in the sign of a zero; a single one of 1 gives its
 * input's bits; elements that are equal in all models stay as they are where the c_i are shares
 * of one whole.
 */
#ifndef SPHERE_SLOTS
#define SPHERE_SLOTS
enum {                   /* in g */
       SPHERE_AVERAGES,  /* the coefficients add up to 1 */
       SPHERE_ONLY,      /* the one input with a coefficient, which is 1; 0: none such */
       SPHERE_FIRST,     /* index of the first model: 1 where differences from x[0] are combined */
       SPHERE_T,         /* slerp, nuslerp */
       SPHERE_EPS,       /* multislerp */
       SPHERE_LIMIT,     /* karcher: max_iter */
       SPHERE_TOLERANCE, /* karcher */
       SPHERE_COMPAT
};
enum { SPHERE_SHARE, SPHERE_WEIGHT }; /* in m[i]: c_i, and multislerp's w_i */
enum { SLERP_OPT_T };                 /* rows of the options tables */
enum { NUSLERP_OPT_WEIGHT, NUSLERP_OPT_FLATTEN, NUSLERP_OPT_ROW_WISE };
enum { MULTISLERP_OPT_WEIGHT, MULTISLERP_OPT_NORMALIZE, MULTISLERP_OPT_EPS };
enum { KARCHER_OPT_MAX_ITER, KARCHER_OPT_TOL };
enum { MODEL_STOCK_OPT_FILTER_WISE };
#endif

#ifdef WF_DESCRIBE
#include "../exact_math.h"

/* Angles times t stay in the range of wf_sin. */
#define SPHERE_T_MAX 30000.0

static const char sphere_not_finite[] =
    "the squares of its values do not add up to a finite number, so it has no angle or norm";

/* The Gram matrix arrives as its lower triangle, by rows. */
static uint32_t sphere_terms(uint32_t n)
{
    return n * (n + 1) / 2;
}

static uint32_t sphere_delta_terms(uint32_t n)
{
    return sphere_terms(n - 1);
}

/* <x_i, x_j>, models counted from 0. */
static double gram_at(const double *terms, uint32_t i, uint32_t j)
{
    return i < j ? terms[j * (j + 1) / 2 + i] : terms[i * (i + 1) / 2 + j];
}

static bool gram_finite(const double *terms, uint32_t models)
{
    bool finite = true;
    for (uint32_t k = 0; k < sphere_terms(models); k++)
        finite &= isfinite(terms[k]) != 0;
    return finite;
}

/* True if the models are one and the same vector, as far as sums can tell. */
static bool gram_equal(const double *terms, uint32_t models)
{
    bool equal = true;
    for (uint32_t k = 1; k < sphere_terms(models); k++)
        equal &= terms[k] == terms[0];
    return equal;
}

static uint32_t sphere_first(const struct wf_args *args)
{
    return (uint32_t)args->g[SPHERE_FIRST];
}

/* The last act of every `finish`. */
static void sphere_settle(struct wf_args *args, bool averages)
{
    uint32_t nonzero = 0, only = 0;
    for (uint32_t i = sphere_first(args); i < args->n; i++)
        if (args->m[i][SPHERE_SHARE] != 0.0) {
            nonzero++;
            only = i;
        }
    args->g[SPHERE_AVERAGES] = averages;
    args->g[SPHERE_ONLY] = nonzero == 1 && args->m[only][SPHERE_SHARE] == 1.0 ? only : 0;
}

/* ---- slerp and nuslerp: two vectors ---- */

/* Coefficients at t on the arc between vectors whose cosine is c, or on the straight line. */
static void sphere_arc(struct wf_args *args, double c, bool straight)
{
    double t = args->g[SPHERE_T], angle = wf_acos(c), whole = wf_sin(angle);
    double(*m)[WF_ARGS_MODEL] = args->m + sphere_first(args);
    m[0][SPHERE_SHARE] = straight ? 1.0 - t : wf_sin((1.0 - t) * angle) / whole;
    m[1][SPHERE_SHARE] = straight ? t : wf_sin(t * angle) / whole;
    sphere_settle(args, straight);
}

static const char *slerp_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    if (!gram_finite(terms, 2))
        return sphere_not_finite;
    double from = sqrt(gram_at(terms, 0, 0)), to = sqrt(gram_at(terms, 1, 1));
    double c = gram_at(terms, 0, 1) / (from > 1e-8 ? from : 1.0) / (to > 1e-8 ? to : 1.0);
    sphere_arc(args, c, fabs(c) > 0.9995);
    return NULL;
}

static const char *nuslerp_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    if (!gram_finite(terms, 2))
        return sphere_not_finite;
    double from = sqrt(gram_at(terms, 0, 0)), to = sqrt(gram_at(terms, 1, 1));
    double c = gram_at(terms, 0, 1) / (from > 0.0 ? from : 1.0) / (to > 0.0 ? to : 1.0);
    /* In line: the sine is below 1e-8, or so small that a cosine in double does not know it. */
    sphere_arc(args, c, 1.0 - fabs(c) < 1e-14);
    return NULL;
}

/* Products are rounded: directions that cancel leave, of lengths that add up to 1, about 1e-8. */
#define SPHERE_ZERO 1e-7

/* ---- multislerp ---- */

static const char *multislerp_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    uint32_t models = args->n - sphere_first(args);
    double(*m)[WF_ARGS_MODEL] = args->m + sphere_first(args);
    double eps = args->g[SPHERE_EPS], norm = 0.0, size = 0.0, squared = 0.0;
    if (!gram_finite(terms, models))
        return sphere_not_finite;
    bool zero = true;
    for (uint32_t i = 0; i < models; i++) {
        double length = sqrt(gram_at(terms, i, i));
        zero &= length == 0.0;
        norm += m[i][SPHERE_WEIGHT] * length;
        size += fabs(m[i][SPHERE_WEIGHT]);
        m[i][SPHERE_SHARE] = length + eps > 0.0 ? m[i][SPHERE_WEIGHT] / (length + eps) : 0.0;
    }
    for (uint32_t i = 0; i < models; i++)
        for (uint32_t j = 0; j < models; j++)
            squared += m[i][SPHERE_SHARE] * m[j][SPHERE_SHARE] * gram_at(terms, i, j);
    double mean = squared > 0.0 ? sqrt(squared) : 0.0;
    bool vanishes = zero || mean < eps || mean <= SPHERE_ZERO * size;
    if (vanishes && !zero && models > 2)
        return "its directions cancel each other: the weighted mean of the unit vectors is zero";
    for (uint32_t i = 0; i < models; i++)
        m[i][SPHERE_SHARE] = vanishes ? m[i][SPHERE_WEIGHT] : norm * (m[i][SPHERE_SHARE] / mean);
    double sum = 0.0;
    for (uint32_t i = 0; i < models; i++)
        sum += m[i][SPHERE_WEIGHT];
    sphere_settle(args, gram_equal(terms, models) && fabs(sum - 1.0) < 1e-12);
    return NULL;
}

/* ---- karcher ---- */

/* Everything is in the span of the models: x = sum_i b_i W_i, and share[] holds the b_i of those
 * that have a direction, 0 for the others. */
static double karcher_dot(const double *terms, const struct wf_args *args, uint32_t j)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < args->n; i++)
        sum += args->m[i][SPHERE_SHARE] * gram_at(terms, i, j);
    return sum;
}

static double karcher_scale(const double *terms, struct wf_args *args)
{
    double squared = 0.0;
    for (uint32_t i = 0; i < args->n; i++)
        squared += args->m[i][SPHERE_SHARE] * karcher_dot(terms, args, i);
    double length = squared > 0.0 ? sqrt(squared) : 0.0;
    for (uint32_t i = 0; i < args->n && length > 0.0; i++)
        args->m[i][SPHERE_SHARE] /= length;
    return length;
}

/* One step along the mean tangent vector. 1: go on, 0: arrived, -1: two models are antipodal. */
static int karcher_step(const double *terms, struct wf_args *args, uint32_t active)
{
    double tangent[WF_GRAM_MODELS_MAX], tolerance = args->g[SPHERE_TOLERANCE];
    double along = 0.0, squared = 0.0;
    for (uint32_t i = 0; i < args->n; i++) {
        double norm = sqrt(gram_at(terms, i, i));
        tangent[i] = 0.0;
        if (!(norm > tolerance))
            continue;
        double angle = wf_acos(karcher_dot(terms, args, i) / norm);
        if (angle > 0x1.921fb54442d18p+1 - 1e-3)
            return -1;
        if (angle < tolerance || angle == 0.0)
            continue;
        double pull = angle / wf_sin(angle) / (double)active;
        tangent[i] = pull / norm;
        along += pull * wf_cos(angle);
    }
    for (uint32_t i = 0; i < args->n; i++)
        tangent[i] -= along * args->m[i][SPHERE_SHARE];
    for (uint32_t i = 0; i < args->n; i++)
        for (uint32_t j = 0; j < args->n; j++)
            squared += tangent[i] * tangent[j] * gram_at(terms, i, j);
    double length = squared > 0.0 ? sqrt(squared) : 0.0;
    if (length < tolerance || length == 0.0)
        return 0;
    double stay = wf_cos(length), go = wf_sin(length) / length;
    for (uint32_t i = 0; i < args->n; i++)
        args->m[i][SPHERE_SHARE] = stay * args->m[i][SPHERE_SHARE] + go * tangent[i];
    return karcher_scale(terms, args) > 0.0;
}

/* The least length of the mean of all directions from which the search may start. */
static double karcher_start(const struct wf_args *args)
{
    return args->g[SPHERE_TOLERANCE] > SPHERE_ZERO ? args->g[SPHERE_TOLERANCE] : SPHERE_ZERO;
}

static const char *karcher_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    uint32_t n = args->n, active = 0, first = 0;
    if (!gram_finite(terms, n))
        return sphere_not_finite;
    double mean = 0.0;
    for (uint32_t i = n; i-- > 0;) {
        double norm = sqrt(gram_at(terms, i, i));
        bool has_direction = norm > args->g[SPHERE_TOLERANCE];
        args->m[i][SPHERE_SHARE] = has_direction ? 1.0 / norm : 0.0;
        active += has_direction;
        first = has_direction ? i : first;
        mean += norm / (double)n;
    }
    if (active == 0 || gram_equal(terms, n)) { /* no direction to speak of, or just one */
        for (uint32_t i = 0; i < n; i++)
            args->m[i][SPHERE_SHARE] = 1.0 / (double)n;
        sphere_settle(args, true);
        return NULL;
    }
    if (!(karcher_scale(terms, args) > (double)active * karcher_start(args)))
        for (uint32_t i = 0; i < n; i++)
            args->m[i][SPHERE_SHARE] = i == first ? 1.0 / sqrt(gram_at(terms, i, i)) : 0.0;
    int more = 1;
    for (double k = 0.0; more > 0 && k < args->g[SPHERE_LIMIT]; k += 1.0)
        more = karcher_step(terms, args, active);
    if (more < 0)
        return "a model points away from the mean of all of them (an angle of pi), which has no "
               "Karcher mean";
    for (uint32_t i = 0; i < n; i++)
        args->m[i][SPHERE_SHARE] *= mean;
    sphere_settle(args, false);
    return NULL;
}

/* ---- model_stock ---- */

static const char *model_stock_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    uint32_t models = args->n - 1;
    bool compat = args->g[SPHERE_COMPAT] != 0.0;
    if (!gram_finite(terms, models))
        return sphere_not_finite;
    double sum = 0.0, all = models;
    for (uint32_t i = 1; i < models; i++)
        for (uint32_t j = 0; j < i; j++) {
            double norms = sqrt(gram_at(terms, i, i)) * sqrt(gram_at(terms, j, j));
            if (compat)
                norms = norms > 1e-6 ? norms : 1e-6;
            double c = norms > 0.0 ? gram_at(terms, i, j) / norms : 0.0;
            sum += c > 1.0 ? 1.0 : c < -1.0 ? -1.0 : c;
        }
    double c = sum / (all * (all - 1.0) / 2.0);
    if (!compat)
        c = c < 0.0 ? 0.0 : c;
    double divisor = 1.0 + (all - 1.0) * c;
    double t = fabs(divisor) < 1e-6 ? 0.0 : all * c / divisor; /* at the pole: the base */
    for (uint32_t i = 1; i < args->n; i++)
        args->m[i][SPHERE_SHARE] = t / all;
    sphere_settle(args, t == 1.0);
    return NULL;
}

/* ---- prepare ---- */

static const char *slerp_prepare(const struct wf_settings *s, struct wf_args *args)
{
    args->g[SPHERE_T] = s->global[SLERP_OPT_T];
    return NULL;
}

/* Where a base is optional: the Gram matrix of the differences, if there is one. */
enum { SPHERE_STAGE_GRAM, SPHERE_STAGE_DELTA_GRAM };

static void sphere_choose(const struct wf_settings *s, struct wf_args *args, enum wf_scope scope)
{
    args->g[SPHERE_FIRST] = s->has_base;
    args->scope[SPHERE_STAGE_GRAM] = s->has_base ? WF_SCOPE_OFF : (uint8_t)scope;
    args->scope[SPHERE_STAGE_DELTA_GRAM] = s->has_base ? (uint8_t)scope : WF_SCOPE_OFF;
    args->map = s->has_base ? WF_ID_combine_delta_map : WF_ID_combine_map;
}

static const char *nuslerp_prepare(const struct wf_settings *s, struct wf_args *args)
{
    uint32_t first = s->has_base;
    double from = s->model[first][NUSLERP_OPT_WEIGHT];
    double to = s->model[first + 1][NUSLERP_OPT_WEIGHT], sum = from + to;
    if (!isfinite(sum))
        return "the weights are too large to be added up; use smaller ones";
    args->g[SPHERE_T] = fabs(sum) < 1e-6 ? 0.5 : to / sum;
    if (!(fabs(args->g[SPHERE_T]) <= SPHERE_T_MAX))
        return "the weights nearly cancel each other, and the second is divided by their sum; "
               "change one";
    sphere_choose(s, args,
                  s->global[NUSLERP_OPT_FLATTEN] != 0.0    ? WF_SCOPE_TENSOR
                  : s->global[NUSLERP_OPT_ROW_WISE] != 0.0 ? WF_SCOPE_COLUMN
                                                           : WF_SCOPE_ROW);
    return NULL;
}

static const char *multislerp_prepare(const struct wf_settings *s, struct wf_args *args)
{
    uint32_t first = s->has_base;
    double sum = 0.0, largest = 0.0;
    for (uint32_t i = first; i < s->n; i++) {
        double weight = s->model[i][MULTISLERP_OPT_WEIGHT];
        sum += weight;
        largest = fabs(weight) > largest ? fabs(weight) : largest;
    }
    sphere_choose(s, args, WF_SCOPE_TENSOR);
    args->g[SPHERE_EPS] = s->global[MULTISLERP_OPT_EPS];
    if (s->n - first == 1) { /* one model: itself, whatever its weight */
        args->scope[SPHERE_STAGE_GRAM] = args->scope[SPHERE_STAGE_DELTA_GRAM] = WF_SCOPE_OFF;
        args->m[first][SPHERE_SHARE] = args->m[first][SPHERE_WEIGHT] = 1.0;
        sphere_settle(args, true);
        return NULL;
    }
    bool normalize = s->global[MULTISLERP_OPT_NORMALIZE] != 0.0;
    if (!isfinite(sum))
        return "the weights are too large to be added up; use smaller ones";
    if (normalize && fabs(sum) <= 1e-12 * largest)
        return "the weights add up to zero and 'normalize_weights' divides by their sum; change a "
               "weight or set normalize_weights: false";
    for (uint32_t i = first; i < s->n; i++)
        args->m[i][SPHERE_WEIGHT] = s->model[i][MULTISLERP_OPT_WEIGHT] / (normalize ? sum : 1.0);
    return NULL;
}

static const char *karcher_prepare(const struct wf_settings *s, struct wf_args *args)
{
    args->g[SPHERE_LIMIT] = s->global[KARCHER_OPT_MAX_ITER];
    args->g[SPHERE_TOLERANCE] = s->global[KARCHER_OPT_TOL];
    if (args->g[SPHERE_LIMIT] != floor(args->g[SPHERE_LIMIT]))
        return "'max_iter' counts steps: it must be a whole number";
    return NULL;
}

enum { MODEL_STOCK_STAGE_GRAM };

static const char *model_stock_prepare(const struct wf_settings *s, struct wf_args *args)
{
    args->g[SPHERE_FIRST] = 1.0;
    args->g[SPHERE_COMPAT] = s->compat;
    if (s->global[MODEL_STOCK_OPT_FILTER_WISE] != 0.0)
        args->scope[MODEL_STOCK_STAGE_GRAM] = WF_SCOPE_ROW;
    return NULL;
}

/* ---- options and stages ---- */

static const struct wf_option slerp_options[] = {
    {"t", WF_OPTION_NUMBER, WF_GLOBAL, true, 0.0, -SPHERE_T_MAX, SPHERE_T_MAX,
     "place on the arc: 0 is the base, 1 the model", NULL},
};
static const struct wf_option nuslerp_options[] = {
    {"weight", WF_OPTION_NUMBER, WF_PER_MODEL, true, 0.0, -HUGE_VAL, HUGE_VAL,
     "the place on the arc is the second model's share of the sum (the middle if that is 0)", NULL},
    {"nuslerp_flatten", WF_OPTION_BOOL, WF_GLOBAL, false, 1.0, 0.0, 1.0,
     "true: the tensor is one vector; false: each vector along the last axis has its own angle",
     NULL},
    {"nuslerp_row_wise", WF_OPTION_BOOL, WF_GLOBAL, false, 0.0, 0.0, 1.0,
     "without nuslerp_flatten: the vectors of a matrix lie along the first axis instead", NULL},
};
static const struct wf_option multislerp_options[] = {
    {"weight", WF_OPTION_NUMBER, WF_PER_MODEL, true, 0.0, -HUGE_VAL, HUGE_VAL,
     "the model's share; without effect for one model alone", NULL},
    {"normalize_weights", WF_OPTION_BOOL, WF_GLOBAL, false, 1.0, 0.0, 1.0,
     "divide the weights by their sum", NULL},
    {"eps", WF_OPTION_NUMBER, WF_GLOBAL, false, 1e-8, 0.0, HUGE_VAL,
     "added to norms that are divided by; a mean direction shorter than this is none", NULL},
};
static const struct wf_option karcher_options[] = {
    {"max_iter", WF_OPTION_NUMBER, WF_GLOBAL, false, 10.0, 0.0, 10000.0,
     "most steps towards the mean; 0 is the normalised mean of the directions", NULL},
    {"tol", WF_OPTION_NUMBER, WF_GLOBAL, false, 1e-5, 0.0, HUGE_VAL,
     "a shorter step is the last; shorter tensors and smaller angles have no direction", NULL},
};
static const struct wf_option model_stock_options[] = {
    {"filter_wise", WF_OPTION_BOOL, WF_GLOBAL, false, 0.0, 0.0, 1.0,
     "true: each row (first index) of a tensor has its own angle and ratio", NULL},
};

#define SPHERE_GRAM_STAGE(at, id, terms_of, finish_of)                                             \
    {                                                                                              \
        .kind = WF_STAGE_FOLD, .scope = (at), .function = (id), .fold = {                          \
            .terms = (terms_of),                                                                   \
            .finish = (finish_of)                                                                  \
        }                                                                                          \
    }
static const struct wf_stage slerp_stages[] = {
    SPHERE_GRAM_STAGE(WF_SCOPE_TENSOR, WF_ID_gram_fold, sphere_terms, slerp_finish),
    WF_MAP_STAGE,
};
static const struct wf_stage nuslerp_stages[] = {
    SPHERE_GRAM_STAGE(WF_SCOPE_TENSOR, WF_ID_gram_fold, sphere_terms, nuslerp_finish),
    SPHERE_GRAM_STAGE(WF_SCOPE_OFF, WF_ID_gram_delta_fold, sphere_delta_terms, nuslerp_finish),
    WF_MAP_STAGE,
};
static const struct wf_stage multislerp_stages[] = {
    SPHERE_GRAM_STAGE(WF_SCOPE_TENSOR, WF_ID_gram_fold, sphere_terms, multislerp_finish),
    SPHERE_GRAM_STAGE(WF_SCOPE_OFF, WF_ID_gram_delta_fold, sphere_delta_terms, multislerp_finish),
    WF_MAP_STAGE,
};
static const struct wf_stage karcher_stages[] = {
    SPHERE_GRAM_STAGE(WF_SCOPE_TENSOR, WF_ID_gram_fold, sphere_terms, karcher_finish),
    WF_MAP_STAGE,
};
static const struct wf_stage model_stock_stages[] = {
    SPHERE_GRAM_STAGE(WF_SCOPE_TENSOR, WF_ID_gram_delta_fold, sphere_delta_terms,
                      model_stock_finish),
    WF_MAP_STAGE,
};

/* ---- rows ---- */

/* Models of a Gram matrix: one less than its limit, for a base. */
#define SPHERE_MODELS_MAX (WF_GRAM_MODELS_MAX - 1)
#define SPHERE_ROW(option_table, stage_table)                                                      \
    .options = (option_table), .n_options = sizeof(option_table) / sizeof *(option_table),         \
    .stages = (stage_table), .n_stages = sizeof(stage_table) / sizeof *(stage_table)

static const struct wf_method method_slerp = {
    .name = "slerp",
    .title = "along the arc from the base to one model",
    .formula = "theta = the angle between W0 and W1 as vectors\n"
               "W = (sin((1 - t) * theta) * W0 + sin(t * theta) * W1) / sin(theta)\n"
               "W = (1 - t) * W0 + t * W1 where |cos(theta)| > 0.9995",
    .citation = "Shoemake, Animating Rotation with Quaternion Curves, SIGGRAPH 1985",
    SPHERE_ROW(slerp_options, slerp_stages),
    .min_models = 1,
    .max_models = 1,
    .base = WF_BASE_REQUIRED,
    .map = WF_ID_combine_map,
    .prepare = slerp_prepare,
};

static const struct wf_method method_nuslerp = {
    .name = "nuslerp",
    .title = "along the arc between two models, or between their task vectors",
    .formula = "x_i = W_i, or W_i - W0 with a base; theta = the angle between x_1 and x_2\n"
               "t = weight_2 / (weight_1 + weight_2)\n"
               "W = (sin((1 - t) * theta) * x_1 + sin(t * theta) * x_2) / sin(theta), + W0 with a "
               "base\n"
               "x_1 and x_2 in line with each other: (1 - t) * x_1 + t * x_2",
    .citation = "Shoemake, Animating Rotation with Quaternion Curves, SIGGRAPH 1985\n"
                "Goddard et al., Arcee's MergeKit: A Toolkit for Merging Large Language Models, "
                "EMNLP 2024 (industry track)",
    SPHERE_ROW(nuslerp_options, nuslerp_stages),
    .min_models = 2,
    .max_models = 2,
    .base = WF_BASE_OPTIONAL,
    .map = WF_ID_combine_map,
    .prepare = nuslerp_prepare,
};

static const struct wf_method method_multislerp = {
    .name = "multislerp",
    .title = "weighted mean of directions times weighted mean of norms",
    .formula = "x_i = W_i, or W_i - W0 with a base\n"
               "m = sum_i weight_i * x_i / (|x_i| + eps)\n"
               "W = m / |m| * sum_i weight_i * |x_i|, + W0 with a base\n"
               "W = sum_i weight_i * x_i of two models where |m| < eps, or below what rounding\n"
               "    leaves of directions that cancel: 1e-7 * sum_i |weight_i|",
    .citation = "Goddard et al., Arcee's MergeKit: A Toolkit for Merging Large Language Models, "
                "EMNLP 2024 (industry track)",
    SPHERE_ROW(multislerp_options, multislerp_stages),
    .min_models = 1,
    .max_models = SPHERE_MODELS_MAX,
    .base = WF_BASE_OPTIONAL,
    .map = WF_ID_combine_map,
    .prepare = multislerp_prepare,
};

static const struct wf_method method_karcher = {
    .name = "karcher",
    .title = "mean of directions along the sphere times mean of norms",
    .formula = "u_i = W_i / |W_i|; u = their normalised mean; then up to max_iter times:\n"
               "    theta_i = the angle between u and u_i\n"
               "    T = mean of (theta_i / sin(theta_i)) * (u_i - cos(theta_i) * u)\n"
               "    u = cos(|T|) * u + sin(|T|) * T / |T|, until |T| < tol\n"
               "W = u * mean of |W_i|",
    .citation =
        "Karcher, Riemannian center of mass and mollifier smoothing, Communications on Pure "
        "and Applied Mathematics 30 (1977)",
    SPHERE_ROW(karcher_options, karcher_stages),
    .min_models = 1,
    .max_models = SPHERE_MODELS_MAX,
    .base = WF_BASE_NONE,
    .map = WF_ID_combine_map,
    .prepare = karcher_prepare,
};

static const struct wf_method method_model_stock = {
    .name = "model_stock",
    .title = "from the base towards the mean of the models, as far as they agree",
    .formula = "c = mean of cos(W_i - W0, W_j - W0) over the pairs of the N models, from 0 to 1\n"
               "t = N * c / (1 + (N - 1) * c)\n"
               "W = t * mean of W_i + (1 - t) * W0",
    .citation = "Jang, Yun and Han, Model Stock: All we need is just a few fine-tuned models, ECCV "
                "2024",
    SPHERE_ROW(model_stock_options, model_stock_stages),
    .min_models = 2,
    .max_models = SPHERE_MODELS_MAX,
    .base = WF_BASE_REQUIRED,
    .map = WF_ID_combine_delta_map,
    .rows = WF_ROWS_FIRST_AXIS,
    .prepare = model_stock_prepare,
};
#endif

#ifdef WF_ELEMENTS
WF_ELEMENT void WF_NAME(gram_fold)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                   double *terms)
{
    (void)v;
    int at = 0;
    WF_EACH_INPUT (i, 0, n)
        WF_EACH_INPUT (j, 0, i + 1)
            terms[at++] = (double)x[i] * (double)x[j];
}

WF_ELEMENT void WF_NAME(gram_delta_fold)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                         double *terms)
{
    (void)v;
    int at = 0;
    WF_EACH_INPUT (i, 1, n)
        WF_EACH_INPUT (j, 1, i + 1)
            terms[at++] = (double)(x[i] - x[0]) * (double)(x[j] - x[0]);
}

WF_ELEMENT wf_real WF_NAME(combine_map)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v)
{
    wf_real nothing = -(wf_real)0, sum = nothing; /* -0 + x is x, for both zeros too */
    int equal = v->g[SPHERE_AVERAGES] != 0;
    WF_EACH_INPUT (i, 0, n) {
        wf_real share = v->m[i][SPHERE_SHARE];
        sum += WF_NAME(wf_select)(share == 0, nothing, share * x[i]);
        equal &= x[i] == x[0];
    }
    return WF_NAME(wf_select)(equal, x[0], sum);
}

WF_ELEMENT wf_real WF_NAME(combine_delta_map)(const wf_real *x, int n,
                                              const struct WF_NAME(wf_view) * v)
{
    wf_real sum = 0, alone = x[0];
    int equal = v->g[SPHERE_AVERAGES] != 0;
    WF_EACH_INPUT (i, 1, n) {
        wf_real share = v->m[i][SPHERE_SHARE];
        sum += WF_NAME(wf_select)(share == 0, (wf_real)0, share * (x[i] - x[0]));
        alone = WF_NAME(wf_select)(v->g[SPHERE_ONLY] == (wf_real)i, x[i], alone);
        equal &= x[i] == x[1];
    }
    alone = WF_NAME(wf_select)(equal, x[1], alone);
    int whole = equal | (v->g[SPHERE_ONLY] != 0);
    /* Where nothing changes the base keeps its bits: -0 + 0 would be +0. */
    wf_real mixed = WF_NAME(wf_select)(sum == 0, x[0], x[0] + sum);
    return WF_NAME(wf_select)(whole, alone, mixed);
}
#endif
