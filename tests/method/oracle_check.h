/* oracle_check.h - runs a table of methods, settings and formulas over all shapes, types, numbers
 * of models and sets of values, and compares.
 *
 * A new method needs one function, which says what each element must be, and one row:
 *
 *     {"name", formula, {models...}, {"settings", ...}}
 *
 * Each case is checked against the formula once, on the plainest instruction set and in one piece;
 * then every backend must write the same bytes from every random cut.
 */
#ifndef WF_ORACLE_CHECK_H
#define WF_ORACLE_CHECK_H

#include "oracle_data.h"
#include "oracle_driver.h"
#include "tile_fixture.h"

/* Fills want[] for every element of the flattened model; may set c->undecided, c->refuse or
 * c->open. */
typedef void oracle_formula(struct oracle_case *c, struct oracle_want *want);

struct oracle_row {
    const char *method;
    oracle_formula *formula;
    uint32_t models[8];       /* numbers of models besides the base, ended by 0 */
    const char *settings[24]; /* ended by NULL */
    const char *without;      /* a set of values that says nothing about this method */
};

static const struct oracle_shape oracle_shapes[] = {
    {1, {0}},          {1, {1}},          {1, {31}},      {1, {32}},        {1, {33}},
    {1, {63}},         {1, {64}},         {1, {65}},      {1, {1023}},      {1, {1024}},
    {1, {1025}},       {1, {4095}},       {1, {4096}},    {1, {4097}},      {1, {8191}},
    {1, {12289}},      {0, {0}},          {2, {97, 1}},   {2, {1, 97}},     {2, {33, 65}},
    {2, {64, 64}},     {2, {3, 0}},       {3, {3, 5, 7}}, {3, {17, 1, 31}}, {4, {2, 3, 5, 7}},
    {4, {8, 4, 3, 3}}, {4, {5, 1, 1, 1}}, {2, {1, 4099}}, {2, {4099, 1}},   {2, {5, 2049}},
    {3, {2, 4, 513}},
};
#define ORACLE_SHAPES (sizeof oracle_shapes / sizeof *oracle_shapes)

static const struct {
    uint8_t dtype[3];
    size_t n;
} oracle_types[] = {
    {{WF_F32}, 1},
    {{WF_BF16}, 1},
    {{WF_F16}, 1},
    {{WF_F64}, 1},
    {{WF_F32, WF_BF16, WF_F16}, 3},
    {{WF_BF16, WF_F64}, 2},
};
#define ORACLE_TYPES (sizeof oracle_types / sizeof *oracle_types)

/* How many elements there were, and how many of them might have gone either way. */
static uint64_t oracle_elements, oracle_intervals;

static inline const char *oracle_describe(const struct oracle_case *c,
                                          const struct oracle_tensor *t)
{
    static char text[512];
    size_t n = (size_t)snprintf(text, sizeof text, "%s '%s', %s, %u inputs, %s", c->method->name,
                                c->setting, c->data, c->n,
                                wf_dtype_info((enum wf_dtype)t->in_dtype[0])->name);
    for (uint32_t i = 1; i < c->n && n < sizeof text; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, " %s",
                              wf_dtype_info((enum wf_dtype)t->in_dtype[i])->name);
    n += (size_t)snprintf(text + n, sizeof text - n, " -> %s [",
                          wf_dtype_info((enum wf_dtype)t->out_dtype)->name);
    for (unsigned d = 0; d < t->shape.n; d++)
        n += (size_t)snprintf(text + n, sizeof text - n, d ? ",%" PRIu64 : "%" PRIu64,
                              t->shape.dim[d]);
    snprintf(text + n, sizeof text - n, "]");
    return text;
}

static inline void oracle_compare_element(const struct oracle_case *c,
                                          const struct oracle_tensor *t, uint64_t e,
                                          const struct oracle_want *w, const char *stored)
{
    long double got = oracle_get(t->out_dtype, stored), error = w->error;
    bool stored_as_is = t->wide ? t->out_dtype == WF_F64 : oracle_width(t->out_dtype) >= 4;
    long double magnitude = fabsl(w->low) > fabsl(w->high) ? fabsl(w->low) : fabsl(w->high);
    if (!stored_as_is)
        error += oracle_half_ulp(t->out_dtype, magnitude + error);
    if (got >= w->low - error && got <= w->high + error)
        return;
    char text[512] = "";
    for (uint32_t i = 0, n = 0; i < c->n && n < sizeof text - 32; i++)
        n += (uint32_t)snprintf(text + n, sizeof text - n, " %.17g", t->x[i][e]);
    fail_msg("%s: element %" PRIu64 ": %.12Lg, wanted %.12Lg .. %.12Lg +- %.3Lg; inputs%s",
             oracle_describe(c, t), e, got, w->low, w->high, error, text);
}

static inline void oracle_compare_all(const struct oracle_case *c, const struct oracle_want *want,
                                      const struct oracle_result *result)
{
    bool subnormal = oracle_data_named(c->data)->subnormal;
    for (unsigned k = 0; k < c->n_tensors; k++) {
        const struct oracle_tensor *t = &c->tensor[k];
        for (uint64_t e = 0; e < t->count; e++) {
            const struct oracle_want *w = &want[t->offset + e];
            oracle_compare_element(c, t, e, w, result->out[k] + e * oracle_width(t->out_dtype));
            oracle_elements += !subnormal;
            oracle_intervals += !subnormal && w->low != w->high;
        }
    }
}

/* Every backend, whole and cut at random, writes the bytes of `first`. */
static inline void oracle_compare_cuts(const struct oracle_case *c,
                                       const struct oracle_result *first)
{
    const struct wf_backend *backends[ORACLE_BACKENDS];
    size_t n = oracle_backends(backends);
    for (size_t b = 0; b < n; b++) {
        struct oracle_result r;
        bool whole = b && oracle_below(4) == 0;
        oracle_drive(c, backends[b], whole, &r);
        assert_int_equal(r.verdict, first->verdict);
        for (unsigned k = 0; k < c->n_tensors && r.verdict == WF_TILE_OK; k++) {
            const struct oracle_tensor *t = &c->tensor[k];
            size_t width = oracle_width(t->out_dtype);
            for (uint64_t e = 0; e < t->count; e++)
                if (memcmp(r.out[k] + e * width, first->out[k] + e * width, width))
                    fail_msg("%s: element %" PRIu64 ": %s%s writes %.12g, the whole %.12g",
                             oracle_describe(c, t), e, backends[b]->name,
                             whole ? "" : ", cut at random,",
                             oracle_get(t->out_dtype, r.out[k] + e * width),
                             oracle_get(t->out_dtype, first->out[k] + e * width));
        }
        oracle_free_result(c, &r);
    }
}

/* Asks the formula, with other draws if one lies too near to its bound. */
static inline struct oracle_want *oracle_ask(struct oracle_case *c, oracle_formula *formula)
{
    struct oracle_want *want = test_calloc(c->count + 1, sizeof *want);
    for (unsigned tries = 0;; tries++) {
        assert_true(tries < 50);
        c->undecided = false;
        c->refuse = NULL;
        c->open = false;
        formula(c, want);
        if (!c->undecided)
            return want;
        for (unsigned k = 0; k < c->n_tensors; k++)
            c->tensor[k].draw_key = oracle_random();
    }
}

/* A case whose tensors are full: formula, backends, cuts. */
static inline void oracle_check_case(struct oracle_case *c, oracle_formula *formula)
{
    const struct wf_backend *backends[ORACLE_BACKENDS];
    struct oracle_result first;
    const char *why = oracle_prepare(c);
    oracle_backends(backends);
    if (why)
        fail_msg("%s: refused: %s", oracle_describe(c, &c->tensor[0]), why);
    oracle_settle_columns(c);
    struct oracle_want *want = oracle_ask(c, formula);
    oracle_drive(c, backends[0], true, &first);
    if (!c->open && (first.verdict == WF_TILE_REFUSED) != (c->refuse != NULL))
        fail_msg("%s: refused: %s, but wanted: %s", oracle_describe(c, &c->tensor[0]), first.why,
                 c->refuse ? c->refuse : "a result");
    if (!c->refuse && !c->open) {
        assert_int_equal(first.verdict, WF_TILE_OK);
        oracle_compare_all(c, want, &first);
    }
    oracle_compare_cuts(c, &first);
    oracle_free_result(c, &first);
    test_free(want);
}

/* Results go where their errors show: mostly to float32 or wider. */
static inline unsigned oracle_out_dtype(unsigned in_dtype)
{
    const unsigned choice[] = {WF_F32, WF_F64, WF_F32, in_dtype, WF_BF16, WF_F32};
    return choice[oracle_below(6)];
}

static inline void oracle_make(struct oracle_case *c, const struct oracle_row *row,
                               const char *setting, unsigned shape, unsigned round)
{
    size_t types = oracle_below(ORACLE_TYPES), n_models = 0,
           data = (shape * 5 + round) % ORACLE_DATA;
    while (row->models[n_models])
        n_models++;
    memset(c, 0, sizeof *c);
    c->method = wf_method_find(row->method);
    assert_non_null(c->method);
    if (row->without && !strcmp(oracle_data[data].name, row->without))
        data = 0;
    oracle_set(c, setting);
    c->n = row->models[(shape + round) % n_models] + c->base;
    bool several = strstr(setting, "scope=model") != NULL;
    for (unsigned k = 0; k < (several ? ORACLE_TENSORS : 1); k++) {
        const uint8_t *dtypes = oracle_types[types].dtype;
        oracle_add(c, oracle_shapes[(shape + 7 * k) % ORACLE_SHAPES], dtypes, oracle_types[types].n,
                   oracle_out_dtype(dtypes[0]));
        types = several ? oracle_below(ORACLE_TYPES) : types;
    }
    oracle_fill(c, &oracle_data[data]);
}

/* All settings of a row over all shapes. */
static inline void oracle_check_row(const struct oracle_row *row)
{
    unsigned rounds = tf_long() ? 8 : 1, round = 0;
    for (unsigned s = 0; row->settings[s]; s++)
        for (unsigned r = 0; r < rounds; r++, round++)
            for (unsigned shape = 0; shape < ORACLE_SHAPES; shape++) {
                struct oracle_case c;
                oracle_state = 1000003u * s + 1009u * r + shape;
                oracle_make(&c, row, row->settings[s], shape, round);
                oracle_check_case(&c, row->formula);
                oracle_end(&c);
            }
}

/* Last test of a program: hardly any element was let off because it might go either way. */
static inline void oracle_few_intervals(double share)
{
    if (!((double)oracle_intervals <= share * (double)oracle_elements))
        fail_msg("%" PRIu64 " of %" PRIu64
                 " elements might go either way: the test says too little",
                 oracle_intervals, oracle_elements);
}

#endif
