/* test_oracle_delta.c - the task-vector family against its formulas, written anew and naively: full
 * sorts, plain sums in long double.
 *
 *     v_i = w_i f_i P_i(d_i)         d_i = W_i - W0, P prunes, f rescales what is left
 *     no consensus:  W = W0 + lambda / D * sum_i v_i        D = sum_i w_i    if normalize, else 1
 *     consensus:     only those with the sign of sum_i v_i  D = sum of their w_i
 *
 * The bound. With n inputs an element passes a difference, two products, n sums, a quotient, a
 * product and a last sum: fewer than 3 n + 16 roundings, each relative to a partial result that
 * is at most |W0| + |lambda / D| sum_i |v_i|. D of consensus is a float sum itself: cancellation
 * there multiplies its share. Factors f are quotients of sums in double, of float terms.
 */
#include "oracle_check.h"

enum prune { PRUNE_NONE, PRUNE_BAND, PRUNE_DRAW, PRUNE_RANK };

struct family {
    const char *name;
    enum prune prune;
    bool consensus, breadcrumbs;
};

static const struct family families[] = {
    {"task_arithmetic", PRUNE_NONE, false, false}, {"ties", PRUNE_BAND, true, false},
    {"breadcrumbs", PRUNE_BAND, false, true},      {"breadcrumbs_ties", PRUNE_BAND, true, true},
    {"dare_linear", PRUNE_DRAW, false, false},     {"dare_ties", PRUNE_DRAW, true, false},
    {"della_linear", PRUNE_RANK, false, false},    {"della", PRUNE_RANK, true, false},
};

/* What one model has left. */
struct pruned {
    double *delta, *key; /* of all elements */
    bool *kept;
    long double *factor; /* rescaling of a kept element, and the relative error of that */
    long double *factor_error;
};

static const struct family *family_of(const struct oracle_case *c)
{
    for (size_t k = 0; k < sizeof families / sizeof *families; k++)
        if (!strcmp(families[k].name, c->method->name))
            return &families[k];
    fail_msg("%s is not of the family", c->method->name);
    return NULL;
}

static bool scope_is(const struct oracle_case *c, const char *word)
{
    return wf_method_option(c->method, "scope") >= 0 && oracle_chose(c, "scope", word);
}

/* Positions [low, high) of the ascending order that model i keeps in a group. */
static void band(const struct oracle_case *c, uint32_t i, const struct oracle_group *g,
                 uint64_t *low, uint64_t *high)
{
    double density = oracle_option(c, "density", i);
    uint64_t target = (uint64_t)floor(density * (double)g->n);
    *high = g->n;
    *low = g->n - target;
    if (!family_of(c)->breadcrumbs)
        return;
    double from = oracle_option(c, "low", i), to = oracle_option(c, "high", i);
    if (g->tensor < 64) {
        *low = 0;
    } else if (!isnan(from)) {
        unsigned __int128 n = g->n, ppm_low = (unsigned)lround(from * 1e6),
                          ppm_high = 1000000 - (unsigned)lround(to * 1e6);
        *low = (uint64_t)(n * ppm_low / 1000000);
        *high = g->n - (uint64_t)(n * ppm_high / 1000000);
        *high = *high < *low ? *low : *high;
    } else {
        uint64_t top = (uint64_t)floor(oracle_option(c, "gamma", i) * (double)g->n);
        top = target + top > g->n ? g->n - target : top;
        *low = g->n - target - top;
        *high = g->n - top;
    }
}

static void keep_band(const struct oracle_case *c, uint32_t i, struct pruned *p)
{
    bool exact = !family_of(c)->breadcrumbs && oracle_chose(c, "ties", "exact");
    enum wf_ties ties = family_of(c)->breadcrumbs ? WF_TIES_LOW_IS_LOW
                        : exact                   ? WF_TIES_LOW_IS_HIGH
                                                  : WF_TIES_INCLUSIVE;
    uint64_t n, low, high;
    if (scope_is(c, "model")) {
        struct oracle_group all = oracle_model_group(c);
        band(c, i, &all, &low, &high);
        oracle_keep(&all, p->key, low, high, ties, p->kept);
        test_free(all.at);
        return;
    }
    for (unsigned k = 0; k < c->n_tensors; k++) {
        enum oracle_axis axis = scope_is(c, "row") ? ORACLE_LAST_AXIS : ORACLE_NO_AXIS;
        struct oracle_group *g = oracle_groups(&c->tensor[k], axis, &n);
        for (uint64_t r = 0; r < n; r++) {
            band(c, i, &g[r], &low, &high);
            oracle_keep(&g[r], p->key, low, high, ties, p->kept);
        }
        oracle_free_groups(g, n);
    }
}

/* Keeps what draws below its probability: too close to it is no question to ask. */
static bool draws_below(struct oracle_case *c, const struct oracle_tensor *t, uint32_t i,
                        uint64_t e, double probability)
{
    double u = oracle_draw(t->draw_key, i, e);
    if (probability > 0 && probability < 1 && fabs(u - probability) <= 0x1p-22)
        c->undecided = true;
    return u < probability;
}

static void keep_drawn(struct oracle_case *c, uint32_t i, struct pruned *p, bool rescale)
{
    double density = oracle_option(c, "density", i);
    for (unsigned k = 0; k < c->n_tensors; k++) {
        const struct oracle_tensor *t = &c->tensor[k];
        for (uint64_t e = 0; e < t->count; e++) {
            p->kept[t->offset + e] = draws_below(c, t, i, e, density);
            p->factor[t->offset + e] = rescale && density > 0 ? 1 / (long double)density : 1;
        }
    }
}

/* Keeps by rank in the row: density - epsilon for the smallest up to density + epsilon. */
static void keep_ranked(struct oracle_case *c, uint32_t i, struct pruned *p, bool rescale)
{
    double density = oracle_option(c, "density", i), epsilon = oracle_option(c, "epsilon", i);
    uint64_t n;
    if (density <= 0 || density >= 1) {
        for (uint64_t e = 0; e < c->count; e++)
            p->kept[e] = density >= 1;
        return;
    }
    for (unsigned k = 0; k < c->n_tensors; k++) {
        const struct oracle_tensor *t = &c->tensor[k];
        struct oracle_group *g = oracle_groups(t, ORACLE_SECOND_AXIS, &n);
        for (uint64_t row = 0; row < n; row++) {
            oracle_sort(g[row].at, g[row].n, p->key, false);
            for (uint64_t rank = 0; rank < g[row].n; rank++) {
                double r = g[row].n > 1 ? (double)rank / (double)(g[row].n - 1) : 0.5;
                double keep = density - epsilon + 2 * epsilon * r;
                uint64_t at = g[row].at[rank];
                p->kept[at] = draws_below(c, t, i, at - t->offset, keep);
                p->factor[at] = rescale ? 1 / (long double)keep : 1;
                p->factor_error[at] = 4 / (long double)keep * oracle_unit(t);
            }
        }
        oracle_free_groups(g, n);
    }
}

/* Gives what is left of a tensor the L1 norm of the whole. */
static void restore_norm(const struct oracle_case *c, const struct oracle_tensor *t,
                         struct pruned *p)
{
    long double all = 0, left = 0, factor;
    for (uint64_t e = t->offset; e < t->offset + t->count; e++) {
        all += p->key[e];
        left += p->kept[e] ? p->key[e] : 0;
    }
    factor = left > 0 ? all / left : 1;
    if (c->compat && (all < 1e-7L || left < 1e-7L))
        factor = 1;
    for (uint64_t e = t->offset; e < t->offset + t->count; e++) {
        p->factor[e] = factor;
        p->factor_error[e] = 3 * oracle_sum_unit(t);
    }
}

static void prune(struct oracle_case *c, uint32_t i, struct pruned *p)
{
    enum prune how = family_of(c)->prune;
    bool rescale = oracle_global(c, "rescale") != 0;
    bool by_norm = rescale && (how == PRUNE_BAND || (how != PRUNE_NONE && c->compat));
    p->delta = test_calloc(c->count + 1, sizeof *p->delta);
    p->key = test_calloc(c->count + 1, sizeof *p->key);
    p->kept = test_calloc(c->count + 1, sizeof *p->kept);
    p->factor = test_calloc(c->count + 1, sizeof *p->factor);
    p->factor_error = test_calloc(c->count + 1, sizeof *p->factor_error);
    for (unsigned k = 0; k < c->n_tensors; k++)
        for (uint64_t e = 0; e < c->tensor[k].count; e++) {
            uint64_t at = c->tensor[k].offset + e;
            p->delta[at] = oracle_delta(&c->tensor[k], i, e);
            p->key[at] = fabs(p->delta[at]);
            p->kept[at] = true;
            p->factor[at] = 1;
        }
    if (how == PRUNE_BAND)
        keep_band(c, i, p);
    else if (how == PRUNE_DRAW)
        keep_drawn(c, i, p, rescale && !by_norm);
    else if (how == PRUNE_RANK)
        keep_ranked(c, i, p, rescale && !by_norm);
    for (unsigned k = 0; k < c->n_tensors && by_norm; k++)
        restore_norm(c, &c->tensor[k], p);
}

/* One element's terms. */
struct terms {
    long double v[ORACLE_INPUTS], w[ORACLE_INPUTS], error[ORACLE_INPUTS];
    long double faint[ORACLE_INPUTS]; /* smaller terms may have become zero on the way */
    bool exact;                       /* every float sum of them, in any order, has no rounding */
};

static struct terms terms_of(const struct oracle_case *c, const struct oracle_tensor *t, uint64_t e,
                             const struct pruned *p)
{
    struct terms x = {.exact = true};
    long double sum = 0;
    for (uint32_t i = 1; i < c->n; i++) {
        uint64_t at = t->offset + e;
        long double f = p[i].factor[at], d = p[i].kept[at] ? p[i].delta[at] : 0;
        x.w[i] = oracle_option(c, "weight", i);
        x.v[i] = x.w[i] * f * d;
        x.error[i] = fabsl(x.v[i]) * p[i].factor_error[at];
        x.faint[i] = 2 * oracle_tiny(t) * (1 + f);
        sum += fabsl(x.v[i]);
        x.exact &= oracle_round(t, x.w[i]) == x.w[i] && oracle_round(t, f) == f &&
                   oracle_round(t, f * d) == f * d && oracle_round(t, x.v[i]) == x.v[i] &&
                   oracle_round(t, sum) == sum;
    }
    return x;
}

/* W0 + lambda / D * (the terms of the models in `mask`), and its error. */
static void mixed(const struct oracle_case *c, const struct oracle_tensor *t, uint64_t e,
                  const struct terms *x, unsigned mask, struct oracle_want *out)
{
    long double sum = 0, size = 0, error = 0, weights = 0, weight_size = 0, lambda;
    bool consensus = family_of(c)->consensus, normalize = oracle_global(c, "normalize") != 0;
    for (uint32_t i = 1; i < c->n; i++) {
        bool in = mask >> i & 1;
        sum += in ? x->v[i] : 0;
        size += in ? fabsl(x->v[i]) : 0;
        error += in ? x->error[i] : 0;
        weights += in || !consensus ? x->w[i] : 0;
        weight_size += in || !consensus ? fabsl(x->w[i]) : 0;
    }
    long double k = 3 * c->n + 16, d = 1, blur = 1;
    bool divides = consensus && c->compat ? weights != 0 : fabsl(weights) >= 1e-8L;
    if (normalize && divides) {
        d = weights;
        blur += consensus ? weight_size / fabsl(weights) : 0;
    }
    lambda = oracle_global(c, "lambda") / d;
    out->low = out->high = t->x[0][e] + lambda * sum;
    out->error = k * oracle_unit(t) * (fabsl(t->x[0][e]) + fabsl(lambda) * size * blur);
    out->error +=
        fabsl(lambda) * error + k * oracle_tiny(t) * (1 + fabsl(lambda) * (1 + weight_size));
}

/* Takes in another answer that is right. */
static void allow(struct oracle_want *all, const struct oracle_want *one, bool *any)
{
    if (!*any)
        *all = *one;
    *any = true;
    all->low = one->low < all->low ? one->low : all->low;
    all->high = one->high > all->high ? one->high : all->high;
    all->error = one->error > all->error ? one->error : all->error;
}

/* The sign of the sum, and who has it. Where the sum is zero but for rounding both signs are right;
 * a term that underflows may count as zero, which has no sign. */
static void elected(const struct oracle_case *c, const struct oracle_tensor *t, uint64_t e,
                    const struct terms *x, struct oracle_want *want)
{
    long double sum = 0, size = 0, tiny = oracle_tiny(t);
    for (uint32_t i = 1; i < c->n; i++) {
        sum += x->v[i];
        size += fabsl(x->v[i]) + x->error[i];
    }
    long double margin = x->exact ? 0 : (3 * c->n + 16) * (oracle_unit(t) * size + tiny);
    bool any = false;
    for (int sign = -1; sign <= 1; sign += 2) {
        bool possible = sign > 0 ? sum >= -margin : x->exact ? sum < 0 : sum < margin;
        unsigned members = 0, unsure = 0;
        for (uint32_t i = 1; i < c->n; i++) {
            bool in = x->v[i] * sign > 0, faint = !x->exact && fabsl(x->v[i]) <= x->faint[i];
            members |= (unsigned)(in && !faint) << i;
            unsure |= (unsigned)(in && faint) << i;
        }
        for (unsigned some = unsure; possible; some = (some - 1) & unsure) {
            struct oracle_want one;
            mixed(c, t, e, x, members | some, &one);
            allow(want, &one, &any);
            if (!some)
                break;
        }
    }
}

static void delta_formula(struct oracle_case *c, struct oracle_want *want)
{
    struct pruned p[ORACLE_INPUTS];
    for (uint32_t i = 1; i < c->n; i++)
        prune(c, i, &p[i]);
    for (unsigned k = 0; k < c->n_tensors; k++)
        for (uint64_t e = 0; e < c->tensor[k].count; e++) {
            const struct oracle_tensor *t = &c->tensor[k];
            struct terms x = terms_of(c, t, e, p);
            if (family_of(c)->consensus)
                elected(c, t, e, &x, &want[t->offset + e]);
            else
                mixed(c, t, e, &x, ~0u, &want[t->offset + e]);
        }
    for (uint32_t i = 1; i < c->n; i++) {
        test_free(p[i].delta);
        test_free(p[i].key);
        test_free(p[i].kept);
        test_free(p[i].factor);
        test_free(p[i].factor_error);
    }
}

#define ANY_MODELS                                                                                 \
    {                                                                                              \
        1, 2, 3, 4, 5, 9                                                                           \
    }
#define BREADCRUMBS                                                                                \
    {                                                                                              \
        "density=0.5 gamma=0.1", "density=0.3", "gamma=0 density=0.3", "density=0.9 gamma=0.3",    \
            "gamma=0.5", "density=0 gamma=0.2", "low=0.85 high=0.993", "low=0 high=1",             \
            "low=0.6 high=0.6", "low=nan,0.2,0.5 high=nan,0.9,0.75 density=0.4 scope=row",         \
            "density=0.3 gamma=0.05 scope=row", "density=0.3 gamma=0.05 scope=model",              \
            "low=0.5 high=0.99 scope=model rescale=1", "density=0.6 gamma=0.02 rescale=1",         \
            "density=0.6 gamma=0.02 rescale=1 compat", "density=0.4 normalize=1 lambda=0.7",       \
            "density=0.4,0.8,1 gamma=0.01,0.1 weight=0.5,1,-0.25"                                  \
    }
#define DARE                                                                                       \
    {                                                                                              \
        "density=0.2", "density=0.9 rescale=0", "density=0.999", "density=0", "density=1",         \
            "density=0.5 compat", "density=0.1,0.5,1,0 normalize=1", "density=0.5 lambda=-0.3",    \
            "density=0.25 weight=0.5,1,-0.25 normalize=1 rescale=0"                                \
    }
#define DELLA                                                                                      \
    {                                                                                              \
        "density=0.5", "density=0.6 epsilon=0.2", "density=0.3,0.7,1,0 epsilon=0.1",               \
            "density=0.5 rescale=0 weight=0.5", "density=0.5 compat",                              \
            "density=0.4 normalize=0 lambda=0.7",                                                  \
            "density=0.25 epsilon=0.125 weight=0.5,1,-0.25 normalize=1"                            \
    }

static const struct oracle_row rows[] = {
    {"task_arithmetic",
     delta_formula,
     ANY_MODELS,
     {"", "lambda=0.7", "normalize=1", "weight=1", "weight=1,-1 normalize=1",
      "density=0.3 rescale=1"},
     NULL},
    {"ties",
     delta_formula,
     ANY_MODELS,
     {"density=0.2", "density=0.2,0.7,1 scope=row", "density=0", "density=0.001 ties=exact",
      "density=0.5 ties=exact scope=row normalize=0", "density=1", "density=0.3 scope=model",
      "density=0.3 ties=exact scope=model", "density=0.4 rescale=1", "density=0.4 rescale=1 compat",
      "density=0.2 lambda=0.7 weight=0.5,0.25,1", "density=0.5 weight=1,-1 ties=exact", "",
      "density=0.3 scope=model rescale=1 ties=exact", "density=0,0.9,0.2 normalize=0",
      "density=0.5 weight=0.96,0.97,-1.93", "density=1 weight=0.01,0.04,-0.05"},
     NULL},
    {"breadcrumbs", delta_formula, ANY_MODELS, BREADCRUMBS, NULL},
    {"breadcrumbs_ties", delta_formula, ANY_MODELS, BREADCRUMBS, NULL},
    {"dare_linear", delta_formula, ANY_MODELS, DARE, NULL},
    {"dare_ties", delta_formula, ANY_MODELS, DARE, NULL},
    {"della_linear", delta_formula, ANY_MODELS, DELLA, NULL},
    {"della", delta_formula, ANY_MODELS, DELLA, NULL},
};

#define ROW_TEST(k, name)                                                                          \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        oracle_check_row(&rows[k]);                                                                \
    }
ROW_TEST(0, task_arithmetic_is_its_formula)
ROW_TEST(1, ties_is_its_formula)
ROW_TEST(2, breadcrumbs_is_its_formula)
ROW_TEST(3, breadcrumbs_ties_is_its_formula)
ROW_TEST(4, dare_linear_is_its_formula)
ROW_TEST(5, dare_ties_is_its_formula)
ROW_TEST(6, della_linear_is_its_formula)
ROW_TEST(7, della_is_its_formula)

static void few_elements_might_go_either_way(void **state)
{
    (void)state;
    oracle_few_intervals(0.02);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(task_arithmetic_is_its_formula),
        cmocka_unit_test(ties_is_its_formula),
        cmocka_unit_test(breadcrumbs_is_its_formula),
        cmocka_unit_test(breadcrumbs_ties_is_its_formula),
        cmocka_unit_test(dare_linear_is_its_formula),
        cmocka_unit_test(dare_ties_is_its_formula),
        cmocka_unit_test(della_linear_is_its_formula),
        cmocka_unit_test(della_is_its_formula),
        cmocka_unit_test(few_elements_might_go_either_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
