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
 * (Du et al., NeurIPS 2024; "code": the authors' programs, which are not their paper.)
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
 * doubles too: so there is one order in a model of both. b_i as computed is exp(N n^2 - max(N - 80,
 * 0)) J_i: a factor that all b_i have in common changes no s_i, and this one keeps them below
 * 2^126.
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
};
enum { /* rows of the options table */
       PCB_OPT_WEIGHT,
       PCB_OPT_DENSITY,
       PCB_OPT_LAMBDA,
       PCB_OPT_VARIANT,
       PCB_OPT_SCOPE,
};
enum pcb_rival { PCB_RAW, PCB_MIXED, PCB_PAIRS }; /* J_i */
#define PCB_KEY_ZERO 0x40000000u
#define PCB_KEY_SPAN 0x3f400000u /* of 2^126, above the key of zero */
#define PCB_KEY_NAN 0x7fc00000u
#define PCB_FLOOR 1e-12
#define PCB_EXPONENT_MAX 80.0
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

enum { PCB_STAGE_CLIP, PCB_STAGE_RAW, PCB_STAGE_MIXED, PCB_STAGE_PAIRS, PCB_STAGE_MAP };
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
    WF_MAP_STAGE,
};

static const char *pcb_prepare(const struct wf_settings *s, struct wf_args *args)
{
    static const struct {
        uint8_t stage, map;
        double tail;
    } variants[] = {
        [PCB_CODE] = {PCB_STAGE_RAW, WF_ID_pcb_raw_map, 1e-4},
        [PCB_VISION] = {PCB_STAGE_MIXED, WF_ID_pcb_mixed_map, 0.01},
        [PCB_VISION_ES] = {PCB_STAGE_PAIRS, WF_ID_pcb_pairs_map, 0.01},
        [PCB_NLP] = {PCB_STAGE_RAW, WF_ID_pcb_raw_map, 0.01},
    };
    size_t variant = (size_t)s->global[PCB_OPT_VARIANT];
    uint8_t scope = s->global[PCB_OPT_SCOPE] != 0.0 ? WF_SCOPE_MODEL : WF_SCOPE_TENSOR;
    double models = (double)(s->n - 1);
    if (variant == PCB_PAPER)
        return "variant 'paper' of pcb is not in this version; choose one of the code variants";
    args->g[PCB_DENSITY] = s->global[PCB_OPT_DENSITY];
    args->g[PCB_TAIL] = variants[variant].tail;
    args->g[PCB_EXCESS] = models > PCB_EXPONENT_MAX ? models - PCB_EXPONENT_MAX : 0.0;
    for (uint32_t i = 1; i < s->n; i++)
        args->m[i][PCB_FACTOR] = s->global[PCB_OPT_LAMBDA] * s->model[i][PCB_OPT_WEIGHT];
    args->map = variants[variant].map;
    args->scope[PCB_STAGE_CLIP] = scope;
    for (uint8_t k = PCB_STAGE_RAW; k < PCB_STAGE_MAP; k++)
        args->scope[k] = k == variants[variant].stage ? scope : WF_SCOPE_OFF;
    return NULL;
}

static const char *pcb_remark(const struct wf_args *args, uint32_t i)
{
    if (!i)
        return args->g[PCB_DENSITY] > 0.5
                   ? "with a density above 0.5, pcb gives weight to elements that oppose the others"
                   : NULL;
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
                                              : WF_ID_pcb_pairs_share;
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
        "W = W0 + sum_i lambda * weight_i * sign(t_i) * a_i * s_i / sum_j s_j",
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
    if (rival != PCB_PAIRS)
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

/* s_i; an infinite span where all are 0. */
WF_ELEMENT wf_real WF_NAME(pcb_score)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                      int i, enum pcb_rival rival, wf_real crowd)
{
    wf_real cut = WF_NAME(pcb_from_key)(v->m[i][PCB_CUT]);
    wf_real span = WF_NAME(pcb_from_key)(v->m[i][PCB_TOP]) - cut;
    span = WF_NAME(wf_select)((span > 0) & WF_NAME(pcb_varies)(v, i), span, (wf_real)INFINITY);
    wf_real key = WF_NAME(pcb_balance)(x, n, v, i, rival, crowd);
    wf_real above = WF_NAME(pcb_from_key)(key) - cut;
    return WF_NAME(wf_select)(above > 0, above, (wf_real)0) / span;
}

/* ---- the result ---- */

/* max(sum_j s_j, 1e-12). */
WF_ELEMENT wf_real WF_NAME(pcb_scores)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                       enum pcb_rival rival, wf_real crowd)
{
    wf_real sum = 0;
    WF_EACH_INPUT (i, 1, n)
        sum += WF_NAME(pcb_score)(x, n, v, i, rival, crowd);
    return WF_NAME(wf_select)(sum < (wf_real)PCB_FLOOR, (wf_real)PCB_FLOOR, sum);
}

/* g_i of its score. */
WF_ELEMENT wf_real WF_NAME(pcb_adds)(const wf_real *x, const struct WF_NAME(wf_view) * v, int i,
                                     wf_real score, wf_real scores)
{
    return score / scores * WF_NAME(pcb_signed)(x, i, WF_NAME(pcb_size)(x, v, i));
}

WF_ELEMENT wf_real WF_NAME(pcb_mix)(const wf_real *x, int n, const struct WF_NAME(wf_view) * v,
                                    enum pcb_rival rival)
{
    wf_real crowd = WF_NAME(pcb_crowd)(x, n, v, rival), mixed = 0;
    wf_real scores = WF_NAME(pcb_scores)(x, n, v, rival, crowd);
    WF_EACH_INPUT (i, 1, n) {
        wf_real score = WF_NAME(pcb_score)(x, n, v, i, rival, crowd);
        mixed += v->m[i][PCB_FACTOR] * WF_NAME(pcb_adds)(x, v, i, score, scores);
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
        wf_real adds = WF_NAME(pcb_adds)(x, v, i, score, scores);
        part = WF_NAME(wf_select)(v->g[PCB_INPUT] == (wf_real)i, adds, part);
    }
    return part;
}

#define PCB_FUNCTIONS(name, rival)                                                                 \
    WF_ELEMENT wf_real WF_NAME(name##_key)(const wf_real *x, int n,                                \
                                           const struct WF_NAME(wf_view) * v, int i)               \
    {                                                                                              \
        wf_real crowd = WF_NAME(pcb_crowd)(x, n, v, rival);                                        \
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
#undef PCB_FUNCTIONS
#endif
