/* test_oracle_sphere.c - methods that see models as vectors, against their formulas, written anew
 * over whole vectors in long double: norms, angles, and for karcher the iteration itself.
 *
 * The engine knows the vectors by their inner products and ends with a combination sum_i c_i x_i,
 * or x_0 + sum_i c_i (x_i - x_0). The bound has two parts: fewer than 2 n + 10 roundings of the
 * working type in that combination, relative to the sum of its magnitudes; and what an error of the
 * inner products does to the coefficients. Inner products of stored numbers are exact but for
 * sums in double; those of deltas have the rounding of each delta (oracle_sum_unit). */
#include "oracle_check.h"

/* The vectors of a group: models, or what they changed. */
struct vectors {
    const struct oracle_group *g;
    uint32_t n;
    bool delta; /* x[0] is a base, and vectors are differences from it */
    long double *v[ORACLE_INPUTS];
    long double norm[ORACLE_INPUTS];
    long double blur; /* relative error of the engine's inner products */
};

static struct vectors vectors_of(const struct oracle_case *c, const struct oracle_group *g,
                                 bool delta)
{
    struct vectors s = {.g = g, .n = c->n - delta, .delta = delta};
    s.blur = delta ? oracle_sum_unit(g->t) : 400 * 0x1p-53L;
    for (uint32_t i = 0; i < s.n; i++) {
        s.v[i] = test_malloc((g->n + 1) * sizeof(long double));
        for (uint64_t k = 0; k < g->n; k++) {
            uint64_t e = g->at[k] - g->t->offset;
            s.v[i][k] = (long double)g->t->x[i + delta][e] - (delta ? g->t->x[0][e] : 0);
            s.norm[i] += s.v[i][k] * s.v[i][k];
        }
        s.norm[i] = sqrtl(s.norm[i]) * ((double)s.norm[i] != 0); /* squares in double may vanish */
    }
    return s;
}

static void free_vectors(struct vectors *s)
{
    for (uint32_t i = 0; i < s->n; i++)
        test_free(s->v[i]);
}

static long double dot(const long double *a, const long double *b, uint64_t n)
{
    long double sum = 0;
    for (uint64_t k = 0; k < n; k++)
        sum += a[k] * b[k];
    return sum;
}

/* Cosine of two vectors, from unit vectors; norms up to `floor` are taken for 1. */
static long double cosine(const struct vectors *s, uint32_t i, uint32_t j, long double least)
{
    long double sum = 0, a = s->norm[i] > least ? s->norm[i] : 1,
                b = s->norm[j] > least ? s->norm[j] : 1;
    for (uint64_t k = 0; k < s->g->n; k++)
        sum += (s->v[i][k] / a) * (s->v[j][k] / b);
    return sum;
}

/* Squares of subnormal doubles are zero in double: nothing but the size is promised there. */
static bool vanishing(const struct oracle_case *c, const struct oracle_group *g)
{
    return g->t->wide && !strcmp(c->data, "subnormal");
}

/* want = (base) + sum_i coefficient_i v_i; `relative` is the error of the coefficients. */
static void combined(const struct oracle_case *c, const struct vectors *s,
                     const long double *coefficient, long double relative, struct oracle_want *want)
{
    const struct oracle_tensor *t = s->g->t;
    for (uint64_t k = 0; k < s->g->n; k++) {
        struct oracle_want *w = &want[s->g->at[k]];
        long double base = s->delta ? t->x[0][s->g->at[k] - t->offset] : 0, sum = 0, size = 0,
                    all = 0;
        for (uint32_t i = 0; i < s->n; i++) {
            sum += coefficient[i] * s->v[i][k];
            size += fabsl(coefficient[i] * s->v[i][k]);
            all += fabsl(s->v[i][k]);
        }
        w->low = w->high = base + sum;
        w->error = (2 * c->n + 10) * (oracle_unit(t) * (fabsl(base) + size) + oracle_tiny(t));
        w->error += relative * size + (vanishing(c, s->g) ? 4 * (size + all) : 0);
    }
}

/* ---- two models on an arc ---- */

/* a sin((1 - t) angle) / sin(angle) + b sin(t angle) / sin(angle); straight where `linear`. */
static void on_arc(const struct oracle_case *c, const struct vectors *s, long double t,
                   long double cos_angle, bool linear, struct oracle_want *want)
{
    long double k[2] = {1 - t, t}, relative = 0;
    if (!linear) {
        long double angle = acosl(cos_angle), sine = sinl(angle);
        k[0] = sinl((1 - t) * angle) / sine;
        k[1] = sinl(t * angle) / sine;
        /* Smooth in the cosine where vectors point the same way, ever steeper near the opposite. */
        long double steep = cos_angle > 0 ? 1 : 1 / (sine * sine);
        relative = 16 * s->blur * steep * (1 + t * t) * (1 + 1 / (fabsl(k[0]) + fabsl(k[1])));
    }
    combined(c, s, k, relative, want);
}

static void slerp_formula(struct oracle_case *c, struct oracle_want *want)
{
    uint64_t n;
    struct oracle_group *g = oracle_groups(&c->tensor[0], ORACLE_NO_AXIS, &n);
    for (uint64_t r = 0; r < n; r++) {
        struct vectors s = vectors_of(c, &g[r], false);
        long double x = cosine(&s, 0, 1, 1e-8L);
        on_arc(c, &s, oracle_global(c, "t"), x, fabsl(x) > 0.9995L, want);
        free_vectors(&s);
    }
    oracle_free_groups(g, n);
}

static struct oracle_group *nuslerp_groups(const struct oracle_case *c, uint64_t *n)
{
    const struct oracle_tensor *t = &c->tensor[0];
    if (oracle_global(c, "nuslerp_flatten") != 0)
        return oracle_groups(t, ORACLE_NO_AXIS, n);
    bool columns = oracle_global(c, "nuslerp_row_wise") != 0 && t->shape.n == 2;
    return oracle_groups(t, columns ? ORACLE_COLUMNS : ORACLE_LAST_AXIS, n);
}

static void nuslerp_formula(struct oracle_case *c, struct oracle_want *want)
{
    uint64_t n;
    long double a = oracle_option(c, "weight", c->base),
                b = oracle_option(c, "weight", c->base + 1);
    long double t = fabsl(a + b) < 1e-6L ? 0.5L : b / (a + b);
    struct oracle_group *g = nuslerp_groups(c, &n);
    for (uint64_t r = 0; r < n; r++) {
        struct vectors s = vectors_of(c, &g[r], c->base);
        long double x = cosine(&s, 0, 1, 0);
        x = x > 1 ? 1 : x < -1 ? -1 : x;
        /* Straight where the sine is below 1e-8. The cosine is known to about 1e-17 here: what is
         * as close as that is meant to be parallel, or opposite. */
        on_arc(c, &s, t, x, 1 - fabsl(x) < 1e-14L, want);
        for (uint64_t k = 0; k < g[r].n && !strcmp(c->data, "subnormal"); k++)
            want[g[r].at[k]].error += 8 * (1 + fabsl(t)) * (fabsl(s.v[0][k]) + fabsl(s.v[1][k]));
        free_vectors(&s);
    }
    oracle_free_groups(g, n);
}

/* ---- means of directions ---- */

static void multislerp_formula(struct oracle_case *c, struct oracle_want *want)
{
    uint64_t n;
    struct oracle_group *g = oracle_groups(&c->tensor[0], ORACLE_NO_AXIS, &n);
    long double eps = oracle_global(c, "eps"), w[ORACLE_INPUTS], k[ORACLE_INPUTS] = {0}, sum = 0;
    uint32_t models = c->n - c->base;
    for (uint32_t i = 0; i < models; i++)
        sum += w[i] = oracle_option(c, "weight", i + c->base);
    for (uint32_t i = 0; i < models && oracle_global(c, "normalize_weights") != 0; i++)
        w[i] /= sum;
    for (uint64_t r = 0; r < n; r++) {
        struct vectors s = vectors_of(c, &g[r], c->base);
        long double *mean = test_calloc(g[r].n + 1, sizeof *mean), size = 0, weights = 0, length;
        for (uint32_t i = 0; i < s.n; i++) {
            size += w[i] * s.norm[i];
            weights += fabsl(w[i]);
            for (uint64_t e = 0; e < g[r].n; e++)
                mean[e] += w[i] * s.v[i][e] / (s.norm[i] + eps);
        }
        length = sqrtl(dot(mean, mean, g[r].n));
        bool zero = true;
        for (uint32_t i = 0; i < s.n; i++) {
            zero &= s.norm[i] == 0;
            k[i] = s.n == 1 ? 1 : length < eps ? w[i] : w[i] / (s.norm[i] + eps) * size / length;
        }
        if (s.n > 2 && length < eps && !zero)
            c->refuse = "directions cancel";
        long double steep = length < eps || s.n == 1 ? 0 : weights * weights / (length * length);
        combined(c, &s, k, 8 * s.blur * (1 + steep), want);
        test_free(mean);
        free_vectors(&s);
    }
    oracle_free_groups(g, n);
}

/* State of the iteration: the point itself, and its coefficients, which only the bound needs. */
struct karcher {
    long double *at, *step;
    long double a[ORACLE_INPUTS], norm[ORACLE_INPUTS];
    bool in[ORACLE_INPUTS];
    uint32_t used;
};

static void normalise(struct karcher *x, uint64_t n, uint32_t inputs)
{
    long double length = sqrtl(dot(x->at, x->at, n));
    for (uint64_t k = 0; k < n; k++)
        x->at[k] /= length;
    for (uint32_t i = 0; i < inputs; i++)
        x->a[i] /= length;
}

/* Where the iteration starts: the mean direction, or the first one where the mean vanishes. */
static void karcher_start(const struct vectors *s, struct karcher *x, long double tol)
{
    uint32_t first = s->n;
    for (uint32_t i = 0; i < s->n; i++) {
        x->in[i] = s->norm[i] > tol;
        x->used += x->in[i];
        first = x->in[i] && first == s->n ? i : first;
    }
    for (uint32_t i = 0; i < s->n; i++)
        for (uint64_t k = 0; k < s->g->n && x->in[i]; k++) {
            x->at[k] += s->v[i][k] / s->norm[i] / x->used;
            x->a[i] = 1.0L / x->used;
        }
    if (x->used && sqrtl(dot(x->at, x->at, s->g->n)) < 1e-9L) {
        memset(x->a, 0, sizeof x->a);
        x->a[first] = 1;
        for (uint64_t k = 0; k < s->g->n; k++)
            x->at[k] = s->v[first][k] / s->norm[first];
    }
    if (x->used)
        normalise(x, s->g->n, s->n);
}

/* One step; returns the length of the tangent, or -1 where two directions are opposite. */
static long double karcher_step(const struct vectors *s, struct karcher *x, long double tol)
{
    uint64_t n = s->g->n;
    long double turn[ORACLE_INPUTS] = {0}, back = 0;
    memset(x->step, 0, n * sizeof *x->step);
    for (uint32_t i = 0; i < s->n; i++) {
        if (!x->in[i])
            continue;
        long double c = dot(x->at, s->v[i], n) / s->norm[i];
        long double angle = acosl(c > 1 ? 1 : c < -1 ? -1 : c);
        if (angle > 3.14159265358979323846L - 1e-3L)
            return -1;
        if (angle < tol)
            continue;
        turn[i] = angle / sinl(angle) / x->used;
        back += turn[i] * cosl(angle);
        for (uint64_t k = 0; k < n; k++)
            x->step[k] += turn[i] * (s->v[i][k] / s->norm[i] - cosl(angle) * x->at[k]);
    }
    long double length = sqrtl(dot(x->step, x->step, n));
    if (length < tol)
        return length;
    for (uint64_t k = 0; k < n; k++)
        x->at[k] = cosl(length) * x->at[k] + sinl(length) / length * x->step[k];
    for (uint32_t i = 0; i < s->n; i++)
        x->a[i] = cosl(length) * x->a[i] + sinl(length) / length * (turn[i] - back * x->a[i]);
    normalise(x, n, s->n);
    return length;
}

static void karcher_formula(struct oracle_case *c, struct oracle_want *want)
{
    uint64_t n;
    struct oracle_tensor *t = &c->tensor[0];
    struct oracle_group *g = oracle_groups(t, ORACLE_NO_AXIS, &n);
    long double tol = oracle_global(c, "tol");
    for (uint64_t r = 0; r < n; r++) {
        struct vectors s = vectors_of(c, &g[r], false);
        struct karcher x = {.at = test_calloc(g[r].n + 1, sizeof(long double)),
                            .step = test_calloc(g[r].n + 1, sizeof(long double))};
        long double mean = 0, length = tol;
        for (uint32_t i = 0; i < s.n; i++)
            mean += s.norm[i] / s.n;
        karcher_start(&s, &x, tol);
        for (int i = 0; i < oracle_global(c, "max_iter") && length >= tol && x.used; i++)
            length = karcher_step(&s, &x, tol);
        if (length < 0)
            c->refuse = "opposite directions";
        for (uint64_t k = 0; k < g[r].n; k++) {
            long double size = 0, all = 0;
            for (uint32_t i = 0; i < s.n; i++) {
                size += x.in[i] ? fabsl(x.a[i] * s.v[i][k] / s.norm[i]) * mean : 0;
                all += fabsl(s.v[i][k]);
            }
            struct oracle_want *w = &want[g[r].at[k]];
            w->low = w->high = x.at[k] * mean;
            w->error = (2 * c->n + 10) * (oracle_unit(t) * size + oracle_tiny(t)) + 1e-11L * size;
            w->error += x.used ? 0 : all + mean; /* no direction is longer than tol */
        }
        test_free(x.at);
        test_free(x.step);
        free_vectors(&s);
    }
    oracle_free_groups(g, n);
}

/* ---- model stock ---- */

static void model_stock_formula(struct oracle_case *c, struct oracle_want *want)
{
    uint64_t n;
    bool rows = oracle_global(c, "filter_wise") != 0;
    struct oracle_group *g =
        oracle_groups(&c->tensor[0], rows ? ORACLE_FIRST_AXIS : ORACLE_NO_AXIS, &n);
    for (uint64_t r = 0; r < n; r++) {
        struct vectors s = vectors_of(c, &g[r], true);
        long double mean = 0, pairs = (long double)s.n * (s.n - 1) / 2, k[ORACLE_INPUTS];
        for (uint32_t i = 0; i < s.n; i++)
            for (uint32_t j = 0; j < i; j++) {
                long double size = s.norm[i] * s.norm[j], x;
                size = c->compat && size < 1e-6L ? 1e-6L : size;
                x = size > 0 ? dot(s.v[i], s.v[j], g[r].n) / size : 0;
                mean += (x > 1 ? 1 : x < -1 ? -1 : x) / pairs;
            }
        if (!c->compat)
            mean = mean < 0 ? 0 : mean;
        long double d = 1 + (s.n - 1) * mean, t = s.n * mean / d;
        c->open |= fabsl(d) < 1e-12L;
        for (uint32_t i = 0; i < s.n; i++)
            k[i] = t / s.n;
        long double blur = 8 * s.blur * s.n / (d * d);
        combined(c, &s, k, 0, want);
        for (uint64_t e = 0; e < g[r].n; e++)
            for (uint32_t i = 0; i < s.n; i++)
                want[g[r].at[e]].error += blur * fabsl(s.v[i][e]) / s.n;
        free_vectors(&s);
    }
    oracle_free_groups(g, n);
}

static const struct oracle_row rows[] = {
    {"slerp", slerp_formula, {1}, {"t=0", "t=1", "t=0.35", "t=0.5", "t=-0.4", "t=1.7"}, NULL},
    {"nuslerp",
     nuslerp_formula,
     {2},
     {"", "base", "weight=1,-1", "weight=0.3,0.9 base nuslerp_flatten=0", "weight=1,1",
      "weight=0.5,0.25 nuslerp_flatten=0", "weight=1,3 nuslerp_flatten=0 nuslerp_row_wise=1",
      "weight=1,3 nuslerp_flatten=0 nuslerp_row_wise=1 base", "weight=0.2,0.8 nuslerp_row_wise=1"},
     NULL},
    {"multislerp",
     multislerp_formula,
     {1, 2, 3, 4, 5, 9},
     {"weight=1", "weight=0.3,0.9,0.5", "weight=1 base", "weight=0.7,0.2 base normalize_weights=0",
      "weight=0.3,0.8 normalize_weights=0 eps=0.001", "weight=1,-0.25 base"},
     NULL},
    {"karcher", karcher_formula, {1, 2, 3, 4, 5, 9}, {"", "max_iter=3", "tol=0.001"}, NULL},
    {"karcher", karcher_formula, {1, 2, 3, 5}, {"max_iter=0"}, "antipodal"},
    {"model_stock",
     model_stock_formula,
     {2, 3, 4, 5, 9},
     {"", "filter_wise=1", "compat", "filter_wise=1 compat"},
     NULL},
};

#define ROW_TEST(k, name)                                                                          \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        oracle_check_row(&rows[k]);                                                                \
    }
ROW_TEST(0, slerp_is_its_formula)
ROW_TEST(1, nuslerp_is_its_formula)
ROW_TEST(2, multislerp_is_its_formula)
ROW_TEST(3, karcher_is_its_iteration)
ROW_TEST(4, karcher_without_steps_is_its_start)
ROW_TEST(5, model_stock_is_its_formula)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slerp_is_its_formula),
        cmocka_unit_test(nuslerp_is_its_formula),
        cmocka_unit_test(multislerp_is_its_formula),
        cmocka_unit_test(karcher_is_its_iteration),
        cmocka_unit_test(karcher_without_steps_is_its_start),
        cmocka_unit_test(model_stock_is_its_formula),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
