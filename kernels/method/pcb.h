/* pcb.h - PCB-Merging: parameters compete for their place, task against task and within each task.
 *
 * N models, t_i = W_i - W0, D elements in the scope, all of which are ranked together:
 *
 *     a_i = |t_i|, clipped to its order statistics [D c] and [D (1 - c) - 1]
 *     n_i = (a_i - min a_i) / (max a_i - min a_i)             the clips are the extremes
 *     u_i = sign(t_i) a_i,   v_i = sign(t_i) n_i
 *     b_i = exp(N n_i^2) J_i
 *     s_i = max(b_i - q, 0) / (max b_i - q),   q = the order statistic [D (1 - density)] of b_i
 *     g_i = u_i s_i / max(sum_j s_j, 1e-12)
 *     W   = W0 + sum_i lambda weight_i g_i
 *
 *     variant          c      J_i
 *     code             1e-4   tanh(t_i sum_j t_j)
 *     code-nlp         0.01   tanh(t_i sum_j t_j)
 *     code-vision      0.01   tanh(t_i sum_j v_j)
 *     code-vision-es   0.01   sum_j tanh(v_i v_j)
 *
 * (Du et al., NeurIPS 2024; "code": the authors' programs, which are not their paper.) The paper's
 * own formula, variant: paper, weighs all products of two tasks' differences:
 *
 *     p_ij = t_i t_j,   n_ij = (p_ij - min p_ij) / (max p_ij - min p_ij)
 *     b_i  = D exp(N n_ii) / sum exp(N n_ii) * sum_j D exp(n_ij) / sum exp(n_ij)
 *     s_i  = b_i where b_i >= the order statistic [D (1 - density)], else 0
 *     g_i  = t_i s_i / sum_j s_j,   0 where nobody kept the element
 *
 * with sums over the D elements; exponents are taken less N in the first term, which cancels.
 *
 * Ranks count from 0. An element at or below q gets nothing, so equal elements have equal fates.
 * Where a_i, or b_i above q, is constant, s_i is 0: the task adds nothing, and still counts in N.
 *
 * b_i is signed, and keys of SELECT are not. The key of b is b as a float whose bits are halved and
 * moved:
 *
 *     key bits    0 ........... 2^30 - 1 | 2^30 .............. 0x7f400000
 *     b           -2^126 ............ -0 | +0 ........................ 2^126     (beyond: the end)
 *
 * This drops the last bit of a float; b is what is left of it, in s_i as well, and in tensors of
 * doubles too. exp and tanh differ by type, so a model of both is computed in double. b_i as
 * computed is exp(N n^2 - max(N - 80, 0)) J_i: a factor that all b_i have in common changes no s_i,
 * and this one keeps them below 2^126.
 */
#ifndef PCB_SLOTS
#define PCB_SLOTS
enum {                            /* in g */
       PCB_INPUT = WF_SHARE_SLOT, /* whose g_i a share is */
       PCB_DENSITY = 1,           /* what is kept */
       PCB_TAIL,                  /* c */
       PCB_EXCESS,                /* what is taken off the exponent of b_i */
};
enum {             /* in m[i], i = 1.. ; m[0] is the base */
       PCB_FACTOR, /* lambda weight_i */
       PCB_LEAST,  /* the clips of a_i */
       PCB_MOST,
       PCB_CUT, /* keys of q and of max b_i */
       PCB_TOP,
       PCB_INTRA /* paper: D / sum exp(N (n_ii - 1)) */
};
enum { /* rows of the options table */
       PCB_OPT_WEIGHT,
       PCB_OPT_DENSITY,
       PCB_OPT_LAMBDA,
       PCB_OPT_VARIANT,
       PCB_OPT_SCOPE,
};
enum { PCB_PAIR_LEAST, PCB_PAIR_SPAN, PCB_PAIR_SHARE, PCB_PAIR_NUMBERS }; /* in t, of each pair */
enum pcb_rival { PCB_RAW, PCB_MIXED, PCB_PAIRS, PCB_PRODUCTS }; /* J_i; the last: of the paper */
#define PCB_PAPER_MODELS 45 /* n (n - 1) terms are at most WF_TERMS_MAX */
#define PCB_KEY_ZERO 0x40000000u
#define PCB_KEY_SPAN 0x3f400000u /* of 2^126, above the key of zero */
#define PCB_KEY_NAN 0x7fc00000u
#define PCB_FLOOR 1e-12
#define PCB_EXPONENT_MAX 80.0
#endif

/* Pairs i <= j of the inputs from 1 on, row by row. */
#ifndef PCB_PAIR_NUMBER
#define PCB_PAIR_NUMBER(n, i, j)                                                                   \
    ((i) < (j) ? ((i)-1) * ((n)-1) - ((i)-1) * ((i)-2) / 2 + (j) - (i)                             \
               : ((j)-1) * ((n)-1) - ((j)-1) * ((j)-2) / 2 + (i) - (j))
#endif

#ifdef WF_DESCRIBE
enum { PCB_PAPER, PCB_CODE, PCB_VISION, PCB_VISION_ES, PCB_NLP };
static const char *const pcb_variants[] = {"paper",          "code",     "code-vision",
                                           "code-vision-es", "code-nlp", NULL};
static const char *const pcb_scopes[] = {"tensor", "model", NULL};

static const struct wf_option pcb_options[] = {
    {"weight", WF_OPTION_NUMBER, WF_PER_MODEL, false, 1.0, -HUGE_VAL, HUGE_VAL,
     "factor on what the model adds, besides lambda", NULL},
    {"density", WF_OPTION_NUMBER, WF_GLOBAL, false, 0.2, 0.0, 1.0,
     "the share of each task's elements that is kept", NULL},
    {"lambda", WF_OPTION_NUMBER, WF_GLOBAL, false, 1.0, -HUGE_VAL, HUGE_VAL,
     "factor on the mixed task vector", NULL},
    {"variant", WF_OPTION_CHOICE, WF_GLOBAL, false, PCB_CODE, 0.0, 4.0,
     "the paper's formula, or one of the authors' programs'", pcb_variants},
    {"scope", WF_OPTION_CHOICE, WF_GLOBAL, false, 1.0, 0.0, 1.0,
     "what elements compete in: each tensor, or the whole model", pcb_scopes},
};

/* floor(share) as a position among `count`. */
static uint64_t pcb_position(double share, uint64_t count)
{
    uint64_t at = share > 0.0 ? (uint64_t)share : 0;
    return at < count ? at : count - 1;
}

static void pcb_clip_ranks(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                           uint64_t *rank)
{
    double count = (double)group->count, tail = args->g[PCB_TAIL];
    (void)i;
    rank[0] = pcb_position(count * tail, group->count);
    rank[1] = pcb_position(count * (1.0 - tail) - 1.0, group->count);
}

static void pcb_cut_ranks(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                          uint64_t *rank)
{
    (void)i;
    rank[0] = pcb_position((double)group->count * (1.0 - args->g[PCB_DENSITY]), group->count);
    rank[1] = group->count - 1;
}

/* ---- the paper's statistics ---- */

static uint32_t pcb_table(uint32_t n)
{
    return n - 1 > PCB_PAPER_MODELS ? 0 : n * (n - 1) / 2 * PCB_PAIR_NUMBERS;
}

/* The largest of p_ij and of -p_ij. */
static uint32_t pcb_range_terms(uint32_t n)
{
    return n * (n - 1);
}

static const char *pcb_range_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    (void)count;
    for (uint32_t i = 1; i < args->n; i++)
        for (uint32_t j = i; j < args->n; j++) {
            uint32_t p = PCB_PAIR_NUMBER(args->n, i, j);
            double *pair = args->t + PCB_PAIR_NUMBERS * p, most = terms[2 * p];
            double span = most + terms[2 * p + 1];
            bool varies = span > 0.0 && isfinite(span);
            pair[PCB_PAIR_LEAST] = varies ? -terms[2 * p + 1] : 0.0;
            pair[PCB_PAIR_SPAN] = varies ? span : HUGE_VAL; /* n_ij is 0 then */
            if (i == j) {
                args->m[i][PCB_LEAST] = varies ? 0.0 : 1.0;
                args->m[i][PCB_MOST] = 1.0;
                args->m[i][PCB_TOP] = HUGE_VAL;
            }
        }
    return NULL;
}

/* sum exp(N (n_ii - 1)), then sum exp(n_ij). */
static uint32_t pcb_mass_terms(uint32_t n)
{
    return n - 1 + n * (n - 1) / 2;
}

static const char *pcb_mass_finish(const double *terms, uint64_t count, struct wf_args *args)
{
    for (uint32_t i = 1; i < args->n; i++)
        args->m[i][PCB_INTRA] = (double)count / terms[i - 1];
    for (uint32_t p = 0; p < args->n * (args->n - 1) / 2; p++)
        args->t[PCB_PAIR_NUMBERS * p + PCB_PAIR_SHARE] = (double)count / terms[args->n - 1 + p];
    return NULL;
}

enum {
    PCB_STAGE_CLIP,
    PCB_STAGE_RAW,
    PCB_STAGE_MIXED,
    PCB_STAGE_PAIRS,
    PCB_STAGE_RANGE,
    PCB_STAGE_MASS,
    PCB_STAGE_PRODUCTS,
    PCB_STAGE_MAP
};
#define PCB_SELECT_STAGE(key, scope_of, first, ranks_of)                                           \
    {                                                                                              \
        .kind = WF_STAGE_SELECT, .scope = (scope_of), .function = (key), .select = {               \
            .per_model = true,                                                                     \
            .cut = (first),                                                                        \
            .n_ranks = 2,                                                                          \
            .ranks = (ranks_of)                                                                    \
        }                                                                                          \
    }
static const struct wf_stage pcb_stages[] = {
    PCB_SELECT_STAGE(WF_ID_delta_key, WF_SCOPE_MODEL, PCB_LEAST, pcb_clip_ranks),
    PCB_SELECT_STAGE(WF_ID_pcb_raw_key, WF_SCOPE_MODEL, PCB_CUT, pcb_cut_ranks),
    PCB_SELECT_STAGE(WF_ID_pcb_mixed_key, WF_SCOPE_OFF, PCB_CUT, pcb_cut_ranks),
    PCB_SELECT_STAGE(WF_ID_pcb_pairs_key, WF_SCOPE_OFF, PCB_CUT, pcb_cut_ranks),
    {.kind = WF_STAGE_FOLD,
     .scope = WF_SCOPE_OFF,
     .function = WF_ID_pcb_range_fold,
     .fold = {.maxima = WF_TERMS_MAX, .terms = pcb_range_terms, .finish = pcb_range_finish}},
    {.kind = WF_STAGE_FOLD,
     .scope = WF_SCOPE_OFF,
     .function = WF_ID_pcb_mass_fold,
     .fold = {.terms = pcb_mass_terms, .finish = pcb_mass_finish}},
    {.kind = WF_STAGE_SELECT,
     .scope = WF_SCOPE_OFF,
     .function = WF_ID_pcb_products_key,
     .select = {.per_model = true, .cut = PCB_CUT, .n_ranks = 1, .ranks = pcb_cut_ranks}},
    WF_MAP_STAGE,
};

static const char *pcb_prepare(const struct wf_settings *s, struct wf_args *args)
{
    static const struct {
        uint8_t stage, map;
        double tail;
    } variants[] = {
        [PCB_PAPER] = {PCB_STAGE_PRODUCTS, WF_ID_pcb_products_map, 0.0},
        [PCB_CODE] = {PCB_STAGE_RAW, WF_ID_pcb_raw_map, 1e-4},
        [PCB_VISION] = {PCB_STAGE_MIXED, WF_ID_pcb_mixed_map, 0.01},
        [PCB_VISION_ES] = {PCB_STAGE_PAIRS, WF_ID_pcb_pairs_map, 0.01},
        [PCB_NLP] = {PCB_STAGE_RAW, WF_ID_pcb_raw_map, 0.01},
    };
    size_t variant = (size_t)s->global[PCB_OPT_VARIANT];
    uint8_t scope = s->global[PCB_OPT_SCOPE] != 0.0 ? WF_SCOPE_MODEL : WF_SCOPE_TENSOR;
    double models = (double)(s->n - 1);
    bool paper = variant == PCB_PAPER;
    if (paper && s->n - 1 > PCB_PAPER_MODELS)
        return "variant 'paper' of pcb takes at most 45 models; choose one of the code variants";
    if (!paper)
        args->n_t = 0;
    args->g[PCB_DENSITY] = s->global[PCB_OPT_DENSITY];
    args->g[PCB_TAIL] = variants[variant].tail;
    args->g[PCB_EXCESS] = models > PCB_EXPONENT_MAX ? models - PCB_EXPONENT_MAX : 0.0;
    for (uint32_t i = 1; i < s->n; i++)
        args->m[i][PCB_FACTOR] = s->global[PCB_OPT_LAMBDA] * s->model[i][PCB_OPT_WEIGHT];
    args->map = variants[variant].map;
    args->scope[PCB_STAGE_CLIP] = paper ? WF_SCOPE_OFF : scope;
    for (uint8_t k = PCB_STAGE_RAW; k < PCB_STAGE_MAP; k++)
        args->scope[k] = k == variants[variant].stage ? scope : WF_SCOPE_OFF;
    if (paper)
        args->scope[PCB_STAGE_RANGE] = args->scope[PCB_STAGE_MASS] = scope;
    return NULL;
}

static const char *pcb_remark(const struct wf_args *args, uint32_t i)
{
    if (!i)
        return args->g[PCB_DENSITY] > 0.5
                   ? "with a density above 0.5, pcb gives weight to elements that oppose the others"
                   : NULL;
    if (args->m[i][PCB_MOST] != args->m[i][PCB_MOST] ||
        args->m[i][PCB_LEAST] != args->m[i][PCB_LEAST] ||
        args->m[i][PCB_TOP] != args->m[i][PCB_TOP] || args->m[i][PCB_CUT] != args->m[i][PCB_CUT])
        return "a NaN or infinity, its own or another task's, takes its order away, so it adds "
               "nothing";
    if (!(args->m[i][PCB_MOST] > args->m[i][PCB_LEAST]))
        return "its differences from the base are all of one size, so it adds nothing";
    if (!(args->m[i][PCB_TOP] > args->m[i][PCB_CUT]))
        return "none of its elements is above the others, so it adds nothing";
    return NULL;
}

static uint8_t pcb_share(const struct wf_args *args)
{
    return args->map == WF_ID_pcb_raw_map     ? WF_ID_pcb_raw_share
           : args->map == WF_ID_pcb_mixed_map ? WF_ID_pcb_mixed_share
           : args->map == WF_ID_pcb_pairs_map ? WF_ID_pcb_pairs_share
                                              : WF_ID_pcb_products_share;
}

static const struct wf_method method_pcb = {
    .name = "pcb",
    .title = "elements of the task vectors compete for their place, within tasks and between them",
    .formula =
        "t_i = W_i - W0, D = elements in the scope, N = models\n"
        "a_i = |t_i| clipped to its order statistics floor(D * c) and floor(D * (1 - c) - 1)\n"
        "n_i = (a_i - min a_i) / (max a_i - min a_i)\n"
        "b_i = exp(N * n_i^2) * J_i\n"
        "    code:           J_i = tanh(t_i * sum_j t_j),             c = 0.0001\n"
        "    code-nlp:       J_i = tanh(t_i * sum_j t_j),             c = 0.01\n"
        "    code-vision:    J_i = tanh(t_i * sum_j sign(t_j) * n_j), c = 0.01\n"
        "    code-vision-es: J_i = sum_j tanh(sign(t_i * t_j) * n_i * n_j), c = 0.01\n"
        "q_i = the order statistic floor(D * (1 - density)) of b_i\n"
        "s_i = max(b_i - q_i, 0) / (max b_i - q_i); 0 where a_i or b_i does not vary\n"
        "W = W0 + sum_i lambda * weight_i * sign(t_i) * a_i * s_i / sum_j s_j\n"
        "variant paper: n_ij = (t_i * t_j - min) / (max - min),\n"
        "    b_i = softmax(N * n_ii) * sum_j softmax(n_ij), s_i = b_i where it is at least q_i,\n"
        "    W = W0 + sum_i lambda * weight_i * t_i * s_i / sum_j s_j",
    .citation = "Du et al., Parameter Competition Balancing for Model Merging, NeurIPS 2024 "
                "(arXiv 2410.02396)",
    .options = pcb_options,
    .n_options = sizeof pcb_options / sizeof *pcb_options,
    .stages = pcb_stages,
    .n_stages = sizeof pcb_stages / sizeof *pcb_stages,
    .min_models = 1,
    .max_models = WF_MODELS_MAX - 1,
    .base = WF_BASE_REQUIRED,
    .map = WF_ID_pcb_raw_map,
    .rounds = true,
    .own_m = 1u << PCB_FACTOR,
    .table = pcb_table,
    .prepare = pcb_prepare,
    .remark = pcb_remark,
    .share = pcb_share,
    .share_factor = PCB_FACTOR,
};
#endif

#ifdef WF_ELEMENTS
/* ---- b as a key, and back ---- */

WF_ELEMENT wf_real WF_NAME(pcb_to_key)(wf_real b)
{
    uint32_t half = (wf_f32_bits((float)b) & 0x7fffffffu) >> 1;
    half = half < PCB_KEY_SPAN ? half : PCB_KEY_SPAN;
    uint32_t key = b < 0 ? PCB_KEY_ZERO - 1 - half : PCB_KEY_ZERO + half;
    return (wf_real)wf_f32_from_bits(b == b ? key : PCB_KEY_NAN);
}

WF_ELEMENT wf_real WF_NAME(pcb_from_key)(wf_real key)
{
    uint32_t bits = wf_f32_bits((float)key), below = bits < PCB_KEY_ZERO;
    uint32_t half = below ? PCB_KEY_ZERO - 1 - bits : bits - PCB_KEY_ZERO;
    return (wf_real)wf_f32_from_bits(half << 1 | below << 31);
}

/* ---- one task's element ---- */

/* a_i. */
WF_ELEMENT wf_real WF_NAME(pcb_size)(const wf_real *x, const struct WF_NAME(wf_view) * v, int i)
{
    wf_real size = WF_NAME(wf_size)(x[i] - x[0]);
    size = WF_NAME(wf_select)(size < v->m[i][PCB_LEAST], v->m[i][PCB_LEAST], size);
    return WF_NAME(wf_select)(size > v->m[i][PCB_MOST], v->m[i][PCB_MOST], size);
}

/* sign(t_i) times a size. */
WF_ELEMENT wf_real WF_NAME(pcb_signed)(const wf_real *x, int i, wf_real size)
{
    wf_real t = x[i] - x[0];
    size = WF_NAME(wf_select)(t < 0, -size, size);
    return WF_NAME(wf_select)(t == 0, (wf_real)0, size);
}

WF_ELEMENT int WF_NAME(pcb_varies)(const struct WF_NAME(wf_view) * v, int i)
{
    return v->m[i][PCB_MOST] > v->m[i][PCB_LEAST];
}

/* n_i, 0 where a_i does not vary. */
WF_ELEMENT wf_real WF_NAME(pcb_place)(const wf_real *x, const struct WF_NAME(wf_view) * v, int i)
{
    int varies = WF_NAME(pcb_varies)(v, i);
    wf_real span = WF_NAME(wf_select)(varies, v->m[i][PCB_MOST] - v->m[i][PCB_LEAST], (wf_real)1);
    wf_real above = WF_NAME(pcb_size)(x, v, i) - v->m[i][PCB_LEAST];
    return WF_NAME(wf_select)(varies, above / span, (wf_real)0);
}

WF_ELEMENT wf_real WF_NAME(pcb_signed_place)(const wf_real *x, const struct WF_NAME(wf_view) * v,
                                             int i)
{
    return WF_NAME(pcb_signed)(x, i, WF_NAME(pcb_place)(x, v, i));
}

/* What all tasks are measured against: sum_j t_j, or sum_j v_j. `rival` is a constant wherever
 * these functions are used. */
WF_ELEMENT wf_real WF_NAME(pcb_crowd)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                      enum pcb_rival rival)
{
    wf_real sum = 0;
    if (rival == PCB_RAW || rival == PCB_MIXED)
        WF_EACH_INPUT (j, 1, n)
            sum += rival == PCB_RAW ? x[j] - x[0] : WF_NAME(pcb_signed_place)(x, v, j);
    return sum;
}

/* J_i. */
WF_ELEMENT wf_real WF_NAME(pcb_standing)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                         int i, enum pcb_rival rival, wf_real crowd)
{
    if (rival != PCB_PAIRS)
        return WF_NAME(wf_tanh)((x[i] - x[0]) * crowd);
    wf_real own = WF_NAME(pcb_signed_place)(x, v, i), sum = 0;
    WF_EACH_INPUT (j, 1, n)
        sum += WF_NAME(wf_tanh)(own * WF_NAME(pcb_signed_place)(x, v, j));
    return sum;
}

/* b_i, as a key. */
WF_ELEMENT wf_real WF_NAME(pcb_balance)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                        int i, enum pcb_rival rival, wf_real crowd)
{
    wf_real place = WF_NAME(pcb_place)(x, v, i);
    wf_real intra = WF_NAME(wf_exp)((wf_real)(n - 1) * (place * place) - v->g[PCB_EXCESS]);
    return WF_NAME(pcb_to_key)(intra * WF_NAME(pcb_standing)(x, n, v, i, rival, crowd));
}

/* ---- the paper's ---- */

/* n_ij. */
WF_ELEMENT wf_real WF_NAME(pcb_accord)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                       int i, int j)
{
    const wf_real *pair = v->t + PCB_PAIR_NUMBERS * PCB_PAIR_NUMBER(n, i, j);
    return ((x[i] - x[0]) * (x[j] - x[0]) - pair[PCB_PAIR_LEAST]) / pair[PCB_PAIR_SPAN];
}

/* exp(N (n_ii - 1)). */
WF_ELEMENT wf_real WF_NAME(pcb_own_mass)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                         int i)
{
    return WF_NAME(wf_exp)((wf_real)(n - 1) * (WF_NAME(pcb_accord)(x, n, v, i, i) - 1));
}

/* b_i, its own key. */
WF_ELEMENT wf_real WF_NAME(pcb_product)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                        int i)
{
    wf_real inter = 0;
    WF_EACH_INPUT (j, 1, n) {
        wf_real share = v->t[PCB_PAIR_NUMBERS * PCB_PAIR_NUMBER(n, i, j) + PCB_PAIR_SHARE];
        inter += share * WF_NAME(wf_exp)(WF_NAME(pcb_accord)(x, n, v, i, j));
    }
    return WF_NAME(wf_abs)(v->m[i][PCB_INTRA] * WF_NAME(pcb_own_mass)(x, n, v, i) * inter);
}

WF_ELEMENT wf_real WF_NAME(pcb_product_score)(const wf_real *x, int n,
                                              const struct WF_NAME(wf_view) * v, int i)
{
    wf_real b = WF_NAME(pcb_product)(x, n, v, i);
    int stands = (b >= v->m[i][PCB_CUT]) & WF_NAME(pcb_varies)(v, i);
    return WF_NAME(wf_select)(stands, b, (wf_real)0);
}

WF_ELEMENT void WF_NAME(pcb_range_fold)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                        double *terms)
{
    (void)v;
    WF_EACH_INPUT (i, 1, n)
        WF_EACH_INPUT (j, i, n) {
            double product = (double)(x[i] - x[0]) * (double)(x[j] - x[0]);
            terms[2 * PCB_PAIR_NUMBER(n, i, j)] = product;
            terms[2 * PCB_PAIR_NUMBER(n, i, j) + 1] = -product;
        }
}

WF_ELEMENT void WF_NAME(pcb_mass_fold)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                       double *terms)
{
    WF_EACH_INPUT (i, 1, n) {
        terms[i - 1] = (double)WF_NAME(pcb_own_mass)(x, n, v, i);
        WF_EACH_INPUT (j, i, n)
            terms[n - 1 + PCB_PAIR_NUMBER(n, i, j)] =
                (double)WF_NAME(wf_exp)(WF_NAME(pcb_accord)(x, n, v, i, j));
    }
}

/* ---- the result ---- */

/* s_i; an infinite span where all are 0. */
WF_ELEMENT wf_real WF_NAME(pcb_score)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                      int i, enum pcb_rival rival, wf_real crowd)
{
    if (rival == PCB_PRODUCTS)
        return WF_NAME(pcb_product_score)(x, n, v, i);
    wf_real cut = WF_NAME(pcb_from_key)(v->m[i][PCB_CUT]);
    wf_real span = WF_NAME(pcb_from_key)(v->m[i][PCB_TOP]) - cut;
    span = WF_NAME(wf_select)((span > 0) & WF_NAME(pcb_varies)(v, i), span, (wf_real)INFINITY);
    wf_real key = WF_NAME(pcb_balance)(x, n, v, i, rival, crowd);
    wf_real above = WF_NAME(pcb_from_key)(key) - cut;
    return WF_NAME(wf_select)(above > 0, above, (wf_real)0) / span;
}

/* max(sum_j s_j, 1e-12); of the paper's, 1 in place of 0. */
WF_ELEMENT wf_real WF_NAME(pcb_scores)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                       enum pcb_rival rival, wf_real crowd)
{
    wf_real sum = 0;
    WF_EACH_INPUT (i, 1, n)
        sum += WF_NAME(pcb_score)(x, n, v, i, rival, crowd);
    if (rival == PCB_PRODUCTS)
        return WF_NAME(wf_select)(sum == 0, (wf_real)1, sum);
    return WF_NAME(wf_select)(sum < (wf_real)PCB_FLOOR, (wf_real)PCB_FLOOR, sum);
}

/* g_i of its score. */
WF_ELEMENT wf_real WF_NAME(pcb_adds)(const wf_real *x, const struct WF_NAME(wf_view) * v, int i,
                                     enum pcb_rival rival, wf_real score, wf_real scores)
{
    if (rival == PCB_PRODUCTS)
        return score / scores * (x[i] - x[0]);
    return score / scores * WF_NAME(pcb_signed)(x, i, WF_NAME(pcb_size)(x, v, i));
}

WF_ELEMENT wf_real WF_NAME(pcb_mix)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                    enum pcb_rival rival)
{
    wf_real crowd = WF_NAME(pcb_crowd)(x, n, v, rival), mixed = 0;
    wf_real scores = WF_NAME(pcb_scores)(x, n, v, rival, crowd);
    WF_EACH_INPUT (i, 1, n) {
        wf_real score = WF_NAME(pcb_score)(x, n, v, i, rival, crowd);
        mixed += v->m[i][PCB_FACTOR] * WF_NAME(pcb_adds)(x, v, i, rival, score, scores);
    }
    return WF_NAME(wf_select)(mixed == 0, x[0], x[0] + mixed); /* unchanged: the base's bits */
}

WF_ELEMENT wf_real WF_NAME(pcb_part)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                     enum pcb_rival rival)
{
    wf_real crowd = WF_NAME(pcb_crowd)(x, n, v, rival), part = 0;
    wf_real scores = WF_NAME(pcb_scores)(x, n, v, rival, crowd);
    WF_EACH_INPUT (i, 1, n) {
        wf_real score = WF_NAME(pcb_score)(x, n, v, i, rival, crowd);
        wf_real adds = WF_NAME(pcb_adds)(x, v, i, rival, score, scores);
        part = WF_NAME(wf_select)(v->g[PCB_INPUT] == (wf_real)i, adds, part);
    }
    return part;
}

#define PCB_FUNCTIONS(name, rival)                                                                 \
    WF_ELEMENT wf_real WF_NAME(name##_key)(const wf_real *x, int n,                                \
                                           const struct WF_NAME(wf_view) * v, int i)               \
    {                                                                                              \
        wf_real crowd = WF_NAME(pcb_crowd)(x, n, v, rival);                                        \
        if ((rival) == PCB_PRODUCTS)                                                               \
            return WF_NAME(pcb_product)(x, n, v, i);                                               \
        return WF_NAME(pcb_balance)(x, n, v, i, rival, crowd);                                     \
    }                                                                                              \
    WF_ELEMENT wf_real WF_NAME(name##_map)(const wf_real *x, int n,                                \
                                           const struct WF_NAME(wf_view) * v)                      \
    {                                                                                              \
        return WF_NAME(pcb_mix)(x, n, v, rival);                                                   \
    }                                                                                              \
    WF_ELEMENT wf_real WF_NAME(name##_share)(const wf_real *x, int n,                              \
                                             const struct WF_NAME(wf_view) * v)                    \
    {                                                                                              \
        return WF_NAME(pcb_part)(x, n, v, rival);                                                  \
    }
PCB_FUNCTIONS(pcb_raw, PCB_RAW)
PCB_FUNCTIONS(pcb_mixed, PCB_MIXED)
PCB_FUNCTIONS(pcb_pairs, PCB_PAIRS)
PCB_FUNCTIONS(pcb_products, PCB_PRODUCTS)
#undef PCB_FUNCTIONS
#endif
