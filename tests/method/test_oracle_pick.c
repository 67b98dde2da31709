/* test_oracle_pick.c - methods that choose, element by element or by statistics of their own, whose
 * values are taken: sce, ram, ramplus_tl, nearswap, arcee_fusion; and the two that only add and
 * multiply, linear and passthrough. Formulas are written anew, in long double.
 *
 * The bound: each result is a handful of operations on a sum over the models, so 3 n + 12 roundings
 * of the working type, relative to the sum of the magnitudes of its terms.
 */
#include "oracle_check.h"

static void answer(const struct oracle_case *c, const struct oracle_tensor *t,
                   struct oracle_want *w, long double value, long double size)
{
    w->low = w->high = value;
    w->error = (3 * c->n + 12) * (oracle_unit(t) * size + oracle_tiny(t));
}

/* ---- linear, passthrough, nearswap ---- */

static void linear_formula(struct oracle_case *c, struct oracle_want *want)
{
    const struct oracle_tensor *t = &c->tensor[0];
    for (uint64_t e = 0; e < t->count; e++) {
        long double sum = 0, size = 0, weights = 0;
        for (uint32_t i = 0; i < c->n; i++) {
            long double w = oracle_option(c, "weight", i);
            sum += w * t->x[i][e];
            size += fabsl(w * t->x[i][e]);
            weights += w;
        }
        if (oracle_global(c, "normalize") == 0)
            weights = 1;
        answer(c, t, &want[e], sum / weights, size / fabsl(weights));
    }
}

static void passthrough_formula(struct oracle_case *c, struct oracle_want *want)
{
    const struct oracle_tensor *t = &c->tensor[0];
    for (uint64_t e = 0; e < t->count; e++) {
        long double v = (long double)oracle_option(c, "scale", 0) * t->x[0][e];
        answer(c, t, &want[e], v, fabsl(v));
    }
}

static void nearswap_formula(struct oracle_case *c, struct oracle_want *want)
{
    const struct oracle_tensor *t = &c->tensor[0];
    for (uint64_t e = 0; e < t->count; e++) {
        long double a = t->x[0][e], b = t->x[1][e], far = fabsl(a - b);
        long double q = oracle_global(c, "t") / (far > 1e-6L ? far : 1e-6L);
        q = q > 1 ? 1 : q < 0 ? 0 : q;
        answer(c, t, &want[e], q * b + (1 - q) * a, fabsl(q * b) + (1 + q) * fabsl(a));
    }
}

/* ---- ram ---- */

/* Which models changed the element by more than epsilon: a bit for each. */
static unsigned changed(const struct oracle_case *c, const struct oracle_tensor *t, uint64_t e)
{
    unsigned bits = 0;
    for (uint32_t i = 1; i < c->n; i++)
        if (fabs(oracle_delta(t, i, e)) > oracle_global(c, "epsilon"))
            bits |= 1u << i;
    return bits;
}

static void ram_formula(struct oracle_case *c, struct oracle_want *want)
{
    const struct oracle_tensor *t = &c->tensor[0];
    bool plus = !strcmp(c->method->name, "ramplus_tl");
    uint64_t shared[ORACLE_INPUTS] = {0}, unique[ORACLE_INPUTS] = {0};
    for (uint64_t e = 0; e < t->count; e++) {
        unsigned bits = changed(c, t, e), alone = __builtin_popcount(bits) == 1;
        for (uint32_t i = 1; i < c->n; i++) {
            unique[i] += alone && bits >> i & 1;
            shared[i] += !alone && bits >> i & 1;
        }
    }
    for (uint64_t e = 0; e < t->count; e++) {
        unsigned bits = changed(c, t, e), n = (unsigned)__builtin_popcount(bits);
        long double sum = 0, size = 0;
        for (uint32_t i = 1; i < c->n; i++) {
            if (!(bits >> i & 1))
                continue;
            long double factor = 1.0L / n;
            if (plus && n == 1) {
                long double ratio = (long double)shared[i] / (long double)unique[i],
                            most = oracle_global(c, "alpha");
                factor = 1 + oracle_global(c, "r") * (ratio > most ? most : ratio);
            }
            sum += factor * oracle_delta(t, i, e);
            size += fabsl(factor * oracle_delta(t, i, e));
        }
        answer(c, t, &want[e], t->x[0][e] + sum, fabs(t->x[0][e]) + size);
    }
}

/* ---- sce ---- */

/* The key: population variance of the deltas, relative to the first one, in the tensor's own
 * arithmetic and in recipe order: the mean, then the mean square distance from it. Which elements
 * are selected depends on every bit of it, so this is the one formula that is not written in long
 * double. */
static double variance(const struct oracle_case *c, const struct oracle_tensor *t, uint64_t e)
{
    double sum = 0, square = 0, n = c->n - 1;
    double first = oracle_delta(t, 1, e);
    for (uint32_t i = 2; i < c->n; i++)
        sum = oracle_round(t, sum + oracle_round(t, oracle_delta(t, i, e) - first));
    double mean = oracle_round(t, sum / n);
    for (uint32_t i = 1; i < c->n; i++) {
        double off = oracle_round(t, oracle_round(t, oracle_delta(t, i, e) - first) - mean);
        square = oracle_round(t, square + oracle_round(t, off * off));
    }
    return oracle_round(t, square / n);
}

static void sce_select(const struct oracle_case *c, bool *kept)
{
    const struct oracle_tensor *t = &c->tensor[0];
    uint64_t n, nonzero = 0;
    double share = oracle_global(c, "select_topk");
    double *key = test_calloc(t->count + 1, sizeof *key);
    struct oracle_group *g = oracle_groups(t, ORACLE_NO_AXIS, &n);
    for (uint64_t e = 0; e < t->count; e++) {
        key[e] = variance(c, t, e);
        nonzero += key[e] > 0;
        kept[e] = true;
    }
    uint64_t k = (uint64_t)floor(share * (double)nonzero);
    for (uint64_t r = 0; r < n && share < 1; r++)
        oracle_keep(&g[r], key, t->count - k, t->count, WF_TIES_LOW_IS_HIGH, kept);
    oracle_free_groups(g, n);
    test_free(key);
}

/* Weights of the models: their share of the energy that was selected. */
static void sce_weights(const struct oracle_case *c, const bool *kept, long double *weight)
{
    const struct oracle_tensor *t = &c->tensor[0];
    long double sum = 0;
    for (uint32_t i = 1; i < c->n; i++) {
        weight[i] = 0;
        for (uint64_t e = 0; e < t->count; e++) {
            long double d = kept[e] ? oracle_delta(t, i, e) : 0;
            weight[i] += d * d;
        }
        sum += weight[i];
    }
    bool uniform = c->compat && t->count && sum / (long double)t->count < 1e-6L;
    for (uint32_t i = 1; i < c->n; i++)
        weight[i] = uniform ? 1.0L / (c->n - 1) : sum > 0 ? weight[i] / sum : 0;
}

static void sce_element(const struct oracle_case *c, uint64_t e, const long double *weight,
                        struct oracle_want *want)
{
    const struct oracle_tensor *t = &c->tensor[0];
    long double sum = 0, size = 0, sign_margin;
    bool exact = true, any = false;
    for (uint32_t i = 1; i < c->n; i++) {
        sum += oracle_delta(t, i, e);
        size += fabs(oracle_delta(t, i, e));
        exact &= oracle_round(t, sum) == sum && oracle_round(t, size) == size;
    }
    sign_margin = exact ? 0 : c->n * oracle_unit(t) * size;
    for (int sign = -1; sign <= 1; sign += 2) {
        long double mixed = 0, weights = 0, most = 0;
        if (!(sign > 0 ? sum >= -sign_margin : exact ? sum < 0 : sum < sign_margin))
            continue;
        for (uint32_t i = 1; i < c->n; i++) {
            long double d = oracle_delta(t, i, e);
            if (d * sign <= 0)
                continue;
            mixed += weight[i] * d;
            weights += weight[i];
            most = fabsl(d) > most ? fabsl(d) : most;
        }
        if (c->compat && weights < 1e-6L)
            weights = 1e-6L;
        long double v = t->x[0][e] + (weights > 0 ? mixed / weights : 0);
        want->low = any && want->low < v ? want->low : v;
        want->high = any && want->high > v ? want->high : v;
        want->error =
            (4 * c->n + 20) * (oracle_unit(t) * (fabs(t->x[0][e]) + most) + oracle_tiny(t));
        any = true;
    }
}

static void sce_formula(struct oracle_case *c, struct oracle_want *want)
{
    const struct oracle_tensor *t = &c->tensor[0];
    long double weight[ORACLE_INPUTS];
    bool *kept = test_calloc(t->count + 1, sizeof *kept);
    sce_select(c, kept);
    sce_weights(c, kept, weight);
    for (uint64_t e = 0; e < t->count; e++) {
        if (kept[e])
            sce_element(c, e, weight, &want[e]);
        else
            answer(c, t, &want[e], t->x[0][e], 0);
        if (!strcmp(c->data, "subnormal")) /* squares underflow: only the size is promised */
            want[e].error += 20 * fabs(t->x[0][e]) + 0x1p-126L * !t->wide;
        for (uint32_t i = 1; i < c->n && !strcmp(c->data, "subnormal"); i++)
            want[e].error += 20 * fabs(oracle_delta(t, i, e));
    }
    test_free(kept);
}

/* ---- arcee_fusion ---- */

/* Kullback-Leibler divergence of a row's softmax, model against base; *noise is what rounding in
 * double may add. */
static long double divergence(const struct oracle_tensor *t, const struct oracle_group *row,
                              long double *noise)
{
    long double largest[2] = {-HUGE_VALL, -HUGE_VALL}, mass[2] = {0}, sum = 0, size = 0;
    for (int i = 0; i < 2; i++) {
        for (uint64_t k = 0; k < row->n; k++)
            largest[i] = fmaxl(largest[i], t->x[i][row->at[k]]);
        for (uint64_t k = 0; k < row->n; k++)
            mass[i] += expl(t->x[i][row->at[k]] - largest[i]);
    }
    for (uint64_t k = 0; k < row->n; k++) {
        long double q = expl(t->x[0][row->at[k]] - largest[0]) / mass[0] + 1e-8L,
                    p = expl(t->x[1][row->at[k]] - largest[1]) / mass[1] + 1e-8L;
        sum += p * logl(p / q);
        size += p * (1 + fabsl(logl(p / q)));
    }
    *noise = 64 * 0x1p-53L * size;
    return sum;
}

/* What the key of each element is at least, and at most. */
static void arcee_keys(const struct oracle_tensor *t, double *least, double *most)
{
    uint64_t n;
    struct oracle_group *g = oracle_groups(t, ORACLE_LAST_AXIS, &n);
    for (uint64_t r = 0; r < n; r++) {
        long double noise, kl = divergence(t, &g[r], &noise), low = kl - noise;
        for (uint64_t k = 0; k < g[r].n; k++) {
            long double d = fabs(oracle_delta(t, 1, g[r].at[k])), u = 4 * oracle_unit(t);
            least[g[r].at[k]] = (double)(d * (low > 0 ? low : 0) * (1 - u) - oracle_tiny(t));
            most[g[r].at[k]] = (double)(d * (kl + noise) * (1 + u) + oracle_tiny(t));
        }
    }
    oracle_free_groups(g, n);
}

/* Quartile q (1, 2, 3) of n keys: the one at position floor(q / 4 * (n - 1)) of their order. */
static double quartile(const double *key, uint64_t n, int q)
{
    uint64_t *at = test_malloc((n + 1) * sizeof *at);
    for (uint64_t e = 0; e < n; e++)
        at[e] = e;
    oracle_sort(at, n, key, false);
    double v = key[at[(uint64_t)floor(q / 4.0 * (double)(n - 1))]];
    test_free(at);
    return v;
}

static void arcee_formula(struct oracle_case *c, struct oracle_want *want)
{
    const struct oracle_tensor *t = &c->tensor[0];
    uint64_t n = t->count;
    double *low = test_calloc(n + 1, sizeof *low), *high = test_calloc(n + 1, sizeof *high);
    if (n) {
        arcee_keys(t, low, high);
        double cut_low = quartile(low, n, 2) + 1.5 * (quartile(low, n, 3) - quartile(high, n, 1));
        double cut_high = quartile(high, n, 2) + 1.5 * (quartile(high, n, 3) - quartile(low, n, 1));
        double blur = 8 * (double)oracle_unit(t) * quartile(high, n, 3);
        for (uint64_t e = 0; e < n; e++) {
            long double a = t->x[0][e], b = t->x[1][e];
            bool may = high[e] >= cut_low - blur, must = low[e] >= cut_high + blur;
            answer(c, t, &want[e], must ? b : a, fabsl(a) + fabsl(b));
            if (may && !must) {
                want[e].low = a < b ? a : b;
                want[e].high = a < b ? b : a;
            }
        }
    }
    test_free(low);
    test_free(high);
}

static const struct oracle_row rows[] = {
    {"linear",
     linear_formula,
     {1, 2, 3, 4, 5, 9},
     {"", "normalize=0", "weight=1", "weight=1,0,-0.5"},
     NULL},
    {"passthrough", passthrough_formula, {1}, {"", "scale=0", "scale=-0.3", "scale=2"}, NULL},
    {"nearswap",
     nearswap_formula,
     {1},
     {"t=0", "t=0.001", "t=0.01", "t=1", "t=-1", "t=0.0000005"},
     NULL},
    {"ram",
     ram_formula,
     {1, 2, 3, 4, 5, 9},
     {"", "epsilon=0", "epsilon=0.0009765625", "epsilon=0.01"},
     NULL},
    {"ramplus_tl",
     ram_formula,
     {1, 2, 3, 4, 5, 9},
     {"", "r=0.5 alpha=0.1", "r=-1 alpha=3", "epsilon=0.0009765625", "epsilon=0.01 alpha=10"},
     NULL},
    {"sce",
     sce_formula,
     {1, 2, 3, 4, 5, 9},
     {"", "select_topk=0.5", "select_topk=0.1", "select_topk=0", "select_topk=0.5 compat",
      "compat"},
     NULL},
    {"arcee_fusion", arcee_formula, {1}, {"", "", ""}, NULL},
};

#define ROW_TEST(k, name)                                                                          \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        oracle_check_row(&rows[k]);                                                                \
    }
ROW_TEST(0, linear_is_its_formula)
ROW_TEST(1, passthrough_is_its_formula)
ROW_TEST(2, nearswap_is_its_formula)
ROW_TEST(3, ram_is_its_formula)
ROW_TEST(4, ramplus_tl_is_its_formula)
ROW_TEST(5, sce_is_its_formula)
ROW_TEST(6, arcee_fusion_is_its_formula)

static void few_elements_might_go_either_way(void **state)
{
    (void)state;
    oracle_few_intervals(0.1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_is_its_formula),
        cmocka_unit_test(passthrough_is_its_formula),
        cmocka_unit_test(nearswap_is_its_formula),
        cmocka_unit_test(ram_is_its_formula),
        cmocka_unit_test(ramplus_tl_is_its_formula),
        cmocka_unit_test(sce_is_its_formula),
        cmocka_unit_test(arcee_fusion_is_its_formula),
        cmocka_unit_test(few_elements_might_go_either_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
