/* oracle_data.h - the sets of values that the oracle tests put into tensors.
 *
 * Ordinary fine-tunes are `gauss`; the others are what goes wrong: equal magnitudes by the
 * thousand, constants, zeros of both signs, subnormals, vectors that point the same or the
 * opposite way, sums of exactly zero.
 */
#ifndef WF_ORACLE_DATA_H
#define WF_ORACLE_DATA_H

#include "oracle_fixture.h"

typedef double oracle_value(const struct oracle_tensor *t, uint32_t i, uint64_t e, double base);

static inline double oracle_gauss_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                        double base)
{
    (void)t;
    (void)e;
    return i ? base + 0.01 * oracle_gauss() : 0.06 * oracle_gauss();
}

/* A short float's grid: few different deltas, each many times, every sum of them exact. */
static inline double oracle_grid_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                       double base)
{
    (void)t;
    (void)e;
    if (!i)
        return ((double)oracle_below(97) - 48) * 0x1p-9;
    return base + ((double)oracle_below(7) - 3) * 0x1p-10;
}

/* The same over a base of zero: every element that is kept shows in the result. */
static inline double oracle_bare_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                       double base)
{
    (void)t;
    (void)e;
    (void)base;
    return i ? ((double)oracle_below(15) - 7) * 0x1p-10 : 0;
}

static inline double oracle_constant_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                           double base)
{
    (void)t;
    (void)e;
    (void)base;
    return i ? 0.125 + 0x1p-6 * i : 0.125;
}

static inline double oracle_zero_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                       double base)
{
    (void)t;
    (void)i;
    (void)e;
    (void)base;
    return 0;
}

/* Zeros of both signs among ordinary numbers. */
static inline double oracle_signs_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                        double base)
{
    (void)t;
    (void)i;
    (void)e;
    (void)base;
    double v[] = {0.0, -0.0, 0.25, -0.25, 0x1p-8};
    return v[oracle_below(5)];
}

/* No model, or all but the last, changed anything. */
static inline double oracle_unchanged_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                            double base)
{
    (void)t;
    (void)i;
    return i ? base : (e % 5 ? 0.06 * oracle_gauss() : -0.0);
}

static inline double oracle_one_changed_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                              double base)
{
    return i == 1 ? oracle_gauss_value(t, i, e, base) : oracle_unchanged_value(t, i, e, base);
}

/* Subnormal numbers of the shortest exponents there are in the tensor. */
static inline double oracle_subnormal_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                            double base)
{
    (void)e;
    (void)base;
    double smallest = t->in_dtype[i] == WF_F16    ? 0x1p-24
                      : t->in_dtype[i] == WF_BF16 ? 0x1p-133
                      : t->in_dtype[i] == WF_F32  ? 0x1p-149
                                                  : 0x1p-1074;
    return ((double)oracle_below(31) - 15) * smallest;
}

/* Each model is the exact opposite of the one before it. */
static inline double oracle_antipodal_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                            double base)
{
    return i ? -t->x[i - 1][e] : oracle_grid_value(t, i, e, base);
}

/* All models alike, and unlike the base. */
static inline double oracle_alike_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                        double base)
{
    return i < 2 ? oracle_grid_value(t, i, e, base) : t->x[1][e];
}

/* Deltas that cancel in pairs: sums of exactly zero wherever weights are equal. */
static inline double oracle_cancel_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                         double base)
{
    if (i < 2 || i % 2)
        return oracle_grid_value(t, i, e, base);
    return base - (t->x[i - 1][e] - base);
}

/* A few elements changed a lot, most not at all. */
static inline double oracle_sparse_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                         double base)
{
    if (i)
        return oracle_below(20) ? base : base + oracle_gauss();
    return oracle_gauss_value(t, i, e, base);
}

/* Magnitudes over many binary orders. */
static inline double oracle_range_value(const struct oracle_tensor *t, uint32_t i, uint64_t e,
                                        double base)
{
    (void)t;
    (void)e;
    double v = ldexp(oracle_uniform(-1, 1), (int)oracle_below(20) - 18);
    return i ? base + v : v;
}

struct oracle_set_of_values {
    const char *name;
    oracle_value *value;
    bool subnormal; /* results are mere rounding: checked for their size only by some methods */
};

static const struct oracle_set_of_values oracle_data[] = {
    {"gauss", oracle_gauss_value, false},         {"grid", oracle_grid_value, false},
    {"bare", oracle_bare_value, false},           {"constant", oracle_constant_value, false},
    {"zero", oracle_zero_value, false},           {"signs", oracle_signs_value, false},
    {"unchanged", oracle_unchanged_value, false}, {"one-changed", oracle_one_changed_value, false},
    {"subnormal", oracle_subnormal_value, true},  {"antipodal", oracle_antipodal_value, false},
    {"alike", oracle_alike_value, false},         {"cancel", oracle_cancel_value, false},
    {"sparse", oracle_sparse_value, false},       {"range", oracle_range_value, false},
};
#define ORACLE_DATA (sizeof oracle_data / sizeof *oracle_data)

static inline void oracle_fill(struct oracle_case *c, const struct oracle_set_of_values *set)
{
    c->data = set->name;
    for (unsigned k = 0; k < c->n_tensors; k++)
        for (uint32_t i = 0; i < c->n; i++)
            for (uint64_t e = 0; e < c->tensor[k].count; e++) {
                struct oracle_tensor *t = &c->tensor[k];
                oracle_store(t, i, e, set->value(t, i, e, i ? t->x[0][e] : 0));
            }
}

static inline const struct oracle_set_of_values *oracle_data_named(const char *name)
{
    for (size_t k = 0; k < ORACLE_DATA; k++)
        if (!strcmp(oracle_data[k].name, name))
            return &oracle_data[k];
    fail_msg("no set of values '%s'", name);
    return NULL;
}

#endif
