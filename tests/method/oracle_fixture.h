/* oracle_fixture.h - cases for the oracle tests: a method, its settings, and tensors full of
 * numbers, held twice: as stored bytes for the engine and as doubles for the oracle.
 *
 *   case --+-- settings   "density=0.2,0.5 scope=row normalize=1 compat": see oracle_set
 *          +-- tensors    shape, types, values; a flattened model where scope is `model`
 *
 * What the oracle says of one element is an interval, nearly always a point, and the error that
 * rounding may add (struct oracle_want). It is an interval where the method decides by a number
 * that rounding may put on either side: there, and nowhere else, both answers are right.
 */
#ifndef WF_ORACLE_FIXTURE_H
#define WF_ORACLE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#include "../../kernels/dtype_conv.h"
#include "../../src/format/dtype.h"
#include "../../src/method/method.h"

#define ORACLE_INPUTS 10 /* nine models and a base */
#define ORACLE_OPTIONS 16
#define ORACLE_TENSORS 3
#define ORACLE_DIMS 4
#define ORACLE_TABLE (ORACLE_INPUTS * ORACLE_INPUTS * 2)

struct oracle_shape {
    unsigned n;
    uint64_t dim[ORACLE_DIMS];
};

struct oracle_tensor {
    struct oracle_shape shape;
    uint64_t count, offset; /* offset: of its first element in the flattened model */
    uint8_t in_dtype[ORACLE_INPUTS], out_dtype;
    bool wide;                   /* arithmetic is double */
    char *stored[ORACLE_INPUTS]; /* what the engine reads */
    double *x[ORACLE_INPUTS];    /* the same numbers */
    struct wf_args args;         /* what the method made of the settings */
    double rows[ORACLE_INPUTS][WF_ARGS_MODEL], table[ORACLE_TABLE];
    uint64_t draw_key;
};

struct oracle_case {
    const struct wf_method *method;
    const char *setting;
    const char *data; /* name of the set of values */
    uint32_t n;       /* inputs */
    bool base, compat;
    double option[ORACLE_INPUTS][ORACLE_OPTIONS]; /* [0] holds the global ones, too */
    struct oracle_tensor tensor[ORACLE_TENSORS];
    unsigned n_tensors;
    uint64_t count;     /* elements of all tensors */
    bool undecided;     /* set by an oracle: a draw lies too near to its bound to say */
    const char *refuse; /* set by an oracle: the merge must be refused, and roughly why */
    bool open;          /* set by an oracle: the formula has a pole here; any bytes, but the same */
};

struct oracle_want {
    long double low, high; /* exact results that are right */
    long double error;     /* of the arithmetic, before rounding to the stored type */
};

/* ---- random numbers of the test itself: the same in every run ---- */

static uint64_t oracle_state = 0x9e3779b97f4a7c15u;

static inline uint64_t oracle_random(void)
{
    uint64_t z = oracle_state += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline uint64_t oracle_below(uint64_t n)
{
    return oracle_random() % n;
}

static inline double oracle_uniform(double low, double high)
{
    return low + (high - low) * (double)(oracle_random() >> 11) * 0x1p-53;
}

static inline double oracle_gauss(void)
{
    double r = sqrt(-2 * log(oracle_uniform(0x1p-60, 1)));
    return r * cos(6.283185307179586 * oracle_uniform(0, 1));
}

/* ---- stored types ---- */

static inline size_t oracle_width(unsigned dtype)
{
    return wf_dtype_info((enum wf_dtype)dtype)->bits / 8u;
}

static inline void oracle_put(unsigned dtype, char *at, double v)
{
    uint16_t h = dtype == WF_BF16 ? wf_f64_to_bf16(v) : wf_f64_to_f16(v);
    float f = (float)v;
    memcpy(at,
           dtype == WF_F64   ? (void *)&v
           : dtype == WF_F32 ? (void *)&f
                             : (void *)&h,
           oracle_width(dtype));
}

static inline double oracle_get(unsigned dtype, const char *at)
{
    double v;
    float f;
    uint16_t h;
    if (dtype == WF_F64) {
        memcpy(&v, at, sizeof v);
        return v;
    }
    if (dtype == WF_F32) {
        memcpy(&f, at, sizeof f);
        return (double)f;
    }
    memcpy(&h, at, sizeof h);
    return (double)(dtype == WF_F16 ? wf_f16_to_f32(h) : wf_bf16_to_f32(h));
}

/* Half an ulp of a number of this magnitude in the stored type. */
static inline long double oracle_half_ulp(unsigned dtype, long double v)
{
    int fraction = dtype == WF_F64 ? 52 : dtype == WF_F32 ? 23 : dtype == WF_F16 ? 10 : 7;
    int lowest = dtype == WF_F64 ? -1022 : dtype == WF_F16 ? -14 : -126;
    int e = v > 0 ? ilogbl(v) : lowest;
    return ldexpl(1, (e < lowest ? lowest : e) - fraction - 1);
}

/* ---- arithmetic of the engine, as far as decisions depend on it ---- */

/* The unit of rounding, and the smallest subnormal. */
static inline long double oracle_unit(const struct oracle_tensor *t)
{
    return t->wide ? 0x1p-53L : 0x1p-24L;
}

static inline long double oracle_tiny(const struct oracle_tensor *t)
{
    return t->wide ? 0x1p-1074L : 0x1p-149L;
}

static inline double oracle_round(const struct oracle_tensor *t, long double v)
{
    return t->wide ? (double)v : (double)(float)v;
}

/* W_i - W_0 as the engine has it: one subtraction in the tensor's type. */
static inline double oracle_delta(const struct oracle_tensor *t, uint32_t i, uint64_t e)
{
    if (t->wide)
        return t->x[i][e] - t->x[0][e];
    return (double)((float)t->x[i][e] - (float)t->x[0][e]);
}

/* Relative error of a sum that is added up in double, and of its terms. */
static inline long double oracle_sum_unit(const struct oracle_tensor *t)
{
    return (t->wide ? 0 : 0x1p-24L) + 400 * 0x1p-53L;
}

/* ---- Philox4x32-10 (Salmon et al., SC 2011) ----
 *
 * The number that input i draws at an element is word element % 4 of the block with the counter
 * (element / 4, low and high word; i; 0) and the tensor's key; its top 24 bits are a fraction. */
static inline double oracle_draw(uint64_t key, uint32_t i, uint64_t element)
{
    uint32_t c[4] = {(uint32_t)(element / 4), (uint32_t)(element / 4 >> 32), i, 0};
    uint32_t k[2] = {(uint32_t)key, (uint32_t)(key >> 32)};
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ k[0], (uint32_t)b,
                            (uint32_t)(a >> 32) ^ c[3] ^ k[1], (uint32_t)a};
        memcpy(c, next, sizeof c);
        k[0] += 0x9E3779B9u;
        k[1] += 0xBB67AE85u;
    }
    return (double)(c[element % 4] >> 8) * 0x1p-24;
}

/* ---- groups of elements ---- */

/* Elements of the flattened model that a statement holds for, in ascending order. */
struct oracle_group {
    uint64_t *at;
    uint64_t n;
    const struct oracle_tensor *t; /* the tensor, or the first of several */
    uint64_t tensor;               /* elements of the tensor, or of all */
};

enum oracle_axis {
    ORACLE_LAST_AXIS,
    ORACLE_FIRST_AXIS,
    ORACLE_SECOND_AXIS,
    ORACLE_COLUMNS, /* of a matrix */
    ORACLE_NO_AXIS  /* the tensor is one group */
};

/* The row that element e belongs to, by its indices. Last axis: all indices but the last name the
 * row. First: the first index names it. Second: all but the second. A vector is one row. */
static inline uint64_t oracle_row_of(const struct oracle_shape *s, enum oracle_axis axis,
                                     uint64_t e)
{
    uint64_t index[ORACLE_DIMS] = {0}, row = 0;
    for (unsigned d = s->n; d-- > 0; e /= s->dim[d])
        index[d] = e % s->dim[d];
    if (s->n < 2 || axis == ORACLE_NO_AXIS)
        return 0;
    for (unsigned d = 0; d < s->n; d++) {
        bool names = axis == ORACLE_FIRST_AXIS    ? d == 0
                     : axis == ORACLE_COLUMNS     ? d == 1
                     : axis == ORACLE_SECOND_AXIS ? d != 1
                                                  : d != s->n - 1;
        if (names)
            row = row * s->dim[d] + index[d];
    }
    return row;
}

/* The groups of a tensor, one for each row; with ORACLE_NO_AXIS one for all. Empty ones are left
 * out. Freed by oracle_free_groups. */
static inline struct oracle_group *oracle_groups(const struct oracle_tensor *t,
                                                 enum oracle_axis axis, uint64_t *n)
{
    uint64_t rows = 0;
    uint64_t *row = test_malloc((t->count + 1) * sizeof *row);
    for (uint64_t e = 0; e < t->count; e++) {
        row[e] = oracle_row_of(&t->shape, axis, e);
        rows = row[e] + 1 > rows ? row[e] + 1 : rows;
    }
    struct oracle_group *g = test_calloc(rows + 1, sizeof *g);
    for (uint64_t e = 0; e < t->count; e++)
        g[row[e]].n++;
    for (uint64_t r = 0; r < rows; r++) {
        g[r].at = test_malloc((g[r].n + 1) * sizeof *g[r].at);
        g[r].n = 0;
        g[r].t = t;
        g[r].tensor = t->count;
    }
    for (uint64_t e = 0; e < t->count; e++)
        g[row[e]].at[g[row[e]].n++] = t->offset + e;
    test_free(row);
    *n = rows;
    return g;
}

static inline void oracle_free_groups(struct oracle_group *g, uint64_t n)
{
    for (uint64_t r = 0; r < n; r++)
        test_free(g[r].at);
    test_free(g);
}

/* The flattened model as one group: free the group's `at`. */
static inline struct oracle_group oracle_model_group(const struct oracle_case *c)
{
    struct oracle_group g = {.n = c->count, .t = &c->tensor[0], .tensor = c->count};
    g.at = test_malloc((c->count + 1) * sizeof *g.at);
    for (uint64_t e = 0; e < c->count; e++)
        g.at[e] = e;
    return g;
}

/* ---- order ---- */

struct oracle_order {
    const double *key;
    bool low_is_high; /* among equal keys the lower index ranks higher */
};

static inline int oracle_compare(const void *a, const void *b, void *arg)
{
    const struct oracle_order *o = arg;
    uint64_t i = *(const uint64_t *)a, j = *(const uint64_t *)b;
    if (o->key[i] != o->key[j])
        return o->key[i] < o->key[j] ? -1 : 1;
    int by_index = (i > j) - (i < j);
    return o->low_is_high ? -by_index : by_index;
}

/* Puts the elements in ascending order of their keys: a full sort. */
static inline void oracle_sort(uint64_t *at, uint64_t n, const double *key, bool low_is_high)
{
    struct oracle_order o = {key, low_is_high};
    qsort_r(at, n, sizeof *at, oracle_compare, &o);
}

/* Keeps the elements of a group at positions [low, high) of the ascending order, and with
 * `inclusive` also all whose key equals that of the lowest. */
static inline void oracle_keep(const struct oracle_group *g, const double *key, uint64_t low,
                               uint64_t high, enum wf_ties ties, bool *kept)
{
    uint64_t *at = test_malloc((g->n + 1) * sizeof *at);
    memcpy(at, g->at, g->n * sizeof *at);
    oracle_sort(at, g->n, key, ties == WF_TIES_LOW_IS_HIGH);
    for (uint64_t p = 0; p < g->n; p++) {
        kept[at[p]] = p >= low && p < high;
        if (ties == WF_TIES_INCLUSIVE && low < high)
            kept[at[p]] |= p < low && key[at[p]] == key[at[low]];
    }
    test_free(at);
}

/* ---- options ---- */

static inline int oracle_option_at(const struct oracle_case *c, const char *name)
{
    int o = wf_method_option(c->method, name);
    if (o < 0)
        fail_msg("%s has no option '%s'", c->method->name, name);
    return o;
}

/* The value that holds for input i: after defaults. */
static inline double oracle_option(const struct oracle_case *c, const char *name, uint32_t i)
{
    int o = oracle_option_at(c, name);
    return c->option[c->method->options[o].where == WF_GLOBAL ? 0 : i][o];
}

static inline double oracle_global(const struct oracle_case *c, const char *name)
{
    return oracle_option(c, name, 0);
}

/* True when the option's value is this word. */
static inline bool oracle_chose(const struct oracle_case *c, const char *name, const char *word)
{
    int o = oracle_option_at(c, name);
    return !strcmp(c->method->options[o].choices[(int)c->option[0][o]], word);
}

static inline double oracle_value_of(const struct wf_option *o, const char *text)
{
    if (o->kind == WF_OPTION_CHOICE) {
        for (int k = 0; o->choices[k]; k++)
            if (!strcmp(o->choices[k], text))
                return k;
        fail_msg("'%s' is no choice of '%s'", text, o->name);
    }
    char *end;
    double v = strtod(text, &end);
    if (*end)
        fail_msg("'%s' is not a number for '%s'", text, o->name);
    return v;
}

/* Reads "name=value name=value,value compat base". Several values are those of the models, in turn.
 * An option that is not named has its default; a required one of the models, a random number. */
static inline void oracle_set(struct oracle_case *c, const char *setting)
{
    char text[256], *save = NULL, *save_value = NULL;
    snprintf(text, sizeof text, "%s", setting);
    c->setting = setting;
    for (size_t o = 0; o < c->method->n_options; o++)
        for (uint32_t i = 0; i < ORACLE_INPUTS; i++) {
            const struct wf_option *option = &c->method->options[o];
            c->option[i][o] = option->fallback;
            if (option->required && option->where == WF_PER_MODEL)
                c->option[i][o] = oracle_uniform(0.2, 1.5) * (oracle_below(6) ? 1 : -1);
        }
    c->base = c->method->base == WF_BASE_REQUIRED;
    c->compat = false;
    for (char *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *value = strchr(word, '=');
        if (!value) {
            c->compat |= !strcmp(word, "compat");
            c->base |= !strcmp(word, "base");
            continue;
        }
        *value++ = 0;
        int o = oracle_option_at(c, word);
        double given[ORACLE_INPUTS];
        uint32_t n = 0;
        for (char *v = strtok_r(value, ",", &save_value); v && n < ORACLE_INPUTS;
             v = strtok_r(NULL, ",", &save_value))
            given[n++] = oracle_value_of(&c->method->options[o], v);
        for (uint32_t i = 0; i < ORACLE_INPUTS; i++)
            c->option[i][o] = given[(i + ORACLE_INPUTS - c->base) % ORACLE_INPUTS % n];
    }
}

/* ---- tensors ---- */

static inline struct oracle_tensor *oracle_add(struct oracle_case *c, struct oracle_shape shape,
                                               const uint8_t *dtypes, size_t n_dtypes,
                                               unsigned out_dtype)
{
    struct oracle_tensor *t = &c->tensor[c->n_tensors++];
    assert_true(c->n_tensors <= ORACLE_TENSORS && c->n <= ORACLE_INPUTS);
    memset(t, 0, sizeof *t);
    t->shape = shape;
    t->count = 1;
    for (unsigned d = 0; d < shape.n; d++)
        t->count *= shape.dim[d];
    t->offset = c->count;
    c->count += t->count;
    t->out_dtype = (uint8_t)out_dtype;
    t->draw_key = oracle_random();
    for (uint32_t i = 0; i < c->n; i++) {
        t->in_dtype[i] = dtypes[i % n_dtypes];
        t->wide |= t->in_dtype[i] == WF_F64;
        t->stored[i] = test_malloc(t->count * 8 + 8);
        t->x[i] = test_malloc(t->count * sizeof(double) + 8);
    }
    return t;
}

static inline void oracle_end(struct oracle_case *c)
{
    for (unsigned k = 0; k < c->n_tensors; k++)
        for (uint32_t i = 0; i < c->n; i++) {
            test_free(c->tensor[k].stored[i]);
            test_free(c->tensor[k].x[i]);
        }
    c->n_tensors = 0;
    c->count = 0;
}

/* Stores v, rounded to the input's type. */
static inline void oracle_store(struct oracle_tensor *t, uint32_t i, uint64_t e, double v)
{
    char *at = t->stored[i] + e * oracle_width(t->in_dtype[i]);
    oracle_put(t->in_dtype[i], at, v);
    t->x[i][e] = oracle_get(t->in_dtype[i], at);
}

/* Resolves the settings for each tensor, as the engine does. NULL, or why they are refused. */
static inline const char *oracle_prepare(struct oracle_case *c)
{
    const double *rows[ORACLE_INPUTS];
    for (uint32_t i = 0; i < c->n; i++)
        rows[i] = c->option[i];
    struct wf_settings s = {
        .global = c->option[0], .model = rows, .n = c->n, .has_base = c->base, .compat = c->compat};
    const char *why = NULL;
    for (unsigned k = 0; k < c->n_tensors && !why; k++) {
        struct wf_args *args = &c->tensor[k].args;
        memset(c->tensor[k].rows, 0, sizeof c->tensor[k].rows);
        memset(c->tensor[k].table, 0, sizeof c->tensor[k].table);
        *args = (struct wf_args){.m = c->tensor[k].rows,
                                 .t = c->tensor[k].table,
                                 .n = c->n,
                                 .n_t = c->method->table ? c->method->table(c->n) : 0,
                                 .map = c->method->map};
        assert_true(args->n_t <= ORACLE_TABLE);
        wf_method_scopes(c->method, args->scope);
        why = c->method->prepare(&s, args);
    }
    return why;
}

#endif
