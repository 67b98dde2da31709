/* test_oracle_pcb.c - pcb against its formula: full sorts, sums in long double where nothing is
 * decided.
 *
 * Which elements stay depends on every bit of b, so b alone is computed as the engine does: one
 * operation of the tensor's type after the other, with weft's own exp and tanh, which have a test
 * of their own. It ends as a float without its last bit.
 *
 * The bound: s is a difference of two floats over another, g a product of three factors, and the
 * result a sum of n of them: fewer than 4 n + 16 roundings, none of which cancels.
 */
#include "../../kernels/exact_math.h"
#include "oracle_check.h"

/* One task, over the flattened model. */
struct task {
    double *delta, *size; /* t and |t| */
    double *clipped;      /* a */
    double *place, *signed_place;
    double *balance;    /* b */
    long double *score; /* s */
};

static double *numbers(const struct oracle_case *c)
{
    return test_calloc(c->count + 1, sizeof(double));
}

static void task_begin(const struct oracle_case *c, uint32_t i, struct task *task)
{
    *task = (struct task){numbers(c),
                          numbers(c),
                          numbers(c),
                          numbers(c),
                          numbers(c),
                          numbers(c),
                          test_calloc(c->count + 1, sizeof(long double))};
    for (unsigned k = 0; k < c->n_tensors; k++)
        for (uint64_t e = 0; e < c->tensor[k].count; e++) {
            uint64_t at = c->tensor[k].offset + e;
            task->delta[at] = oracle_delta(&c->tensor[k], i, e);
            task->size[at] = fabs(task->delta[at]);
        }
}

static void task_end(struct task *task)
{
    test_free(task->delta);
    test_free(task->size);
    test_free(task->clipped);
    test_free(task->place);
    test_free(task->signed_place);
    test_free(task->balance);
    test_free(task->score);
}

/* The number at position floor(share) of a group's ascending order. */
static double statistic(const struct oracle_group *g, const double *key, double share)
{
    uint64_t *at = test_malloc((g->n + 1) * sizeof *at);
    memcpy(at, g->at, g->n * sizeof *at);
    oracle_sort(at, g->n, key, false);
    double position = floor(share), last = (double)(g->n - 1);
    double found = key[at[(uint64_t)(position < 0 ? 0 : position > last ? last : position)]];
    test_free(at);
    return found;
}

static const struct oracle_tensor *tensor_of(const struct oracle_case *c, uint64_t at)
{
    unsigned k = 0;
    while (at >= c->tensor[k].offset + c->tensor[k].count)
        k++;
    return &c->tensor[k];
}

/* A bound found among doubles, for a tensor of floats: the least float that is not below. */
static double bound_for(const struct oracle_tensor *t, double bound)
{
    float near = (float)bound;
    if (t->wide)
        return bound;
    return (double)near < bound ? (double)nextafterf(near, INFINITY) : (double)near;
}

/* a, n and v of the group's elements. */
static void clip(const struct oracle_case *c, const struct oracle_group *g, struct task *task)
{
    double tail = oracle_chose(c, "variant", "code") ? 1e-4 : 0.01, n = (double)g->n;
    double lowest = statistic(g, task->size, n * tail);
    double highest = statistic(g, task->size, n * (1 - tail) - 1);
    for (uint64_t k = 0; k < g->n; k++) {
        uint64_t at = g->at[k];
        const struct oracle_tensor *t = tensor_of(c, at);
        double low = bound_for(t, lowest), high = bound_for(t, highest), a = task->size[at];
        a = a < low ? low : a > high ? high : a;
        task->clipped[at] = a;
        task->place[at] =
            high > low ? oracle_round(t, oracle_round(t, a - low) / oracle_round(t, high - low))
                       : 0;
        int sign = (task->delta[at] > 0) - (task->delta[at] < 0);
        task->signed_place[at] = sign * task->place[at];
    }
}

static double own_tanh(const struct oracle_tensor *t, double x)
{
    return t->wide ? wf_tanh(x) : (double)wf_tanh_f32((float)x);
}

static double own_exp(const struct oracle_tensor *t, double x)
{
    return t->wide ? wf_exp(x) : (double)wf_exp_f32((float)x);
}

static double standing(const struct oracle_case *c, const struct task *task, uint32_t i,
                       uint64_t at)
{
    const struct oracle_tensor *t = tensor_of(c, at);
    bool pairs = oracle_chose(c, "variant", "code-vision-es");
    bool raw = oracle_chose(c, "variant", "code") || oracle_chose(c, "variant", "code-nlp");
    double sum = 0;
    for (uint32_t j = 1; j < c->n; j++) {
        double other = raw ? task[j].delta[at] : task[j].signed_place[at];
        if (pairs)
            other = own_tanh(t, oracle_round(t, task[i].signed_place[at] * other));
        sum = oracle_round(t, sum + other);
    }
    return pairs ? sum : own_tanh(t, oracle_round(t, task[i].delta[at] * sum));
}

static double balance(const struct oracle_case *c, const struct task *task, uint32_t i, uint64_t at)
{
    const struct oracle_tensor *t = tensor_of(c, at);
    double place = task[i].place[at];
    double power = oracle_round(t, (c->n - 1) * oracle_round(t, place * place));
    double b = oracle_round(t, own_exp(t, power) * standing(c, task, i, at));
    float half = (float)b;
    uint32_t bits;
    memcpy(&bits, &half, sizeof bits);
    bits &= ~1u;
    memcpy(&half, &bits, sizeof half);
    return (double)half;
}

static void score(const struct oracle_case *c, const struct oracle_group *g, struct task *task)
{
    double n = (double)g->n;
    double cut = statistic(g, task->balance, n * (1 - oracle_global(c, "density")));
    double top = statistic(g, task->balance, n - 1);
    for (uint64_t k = 0; k < g->n; k++) {
        uint64_t at = g->at[k];
        long double above = (long double)task->balance[at] - cut;
        task->score[at] = above > 0 ? above / ((long double)top - cut) : 0;
    }
}

/* All of a group; a constant a leaves s at 0. */
static void compete_in_code(const struct oracle_case *c, const struct oracle_group *g,
                            struct task *task)
{
    for (uint32_t i = 1; i < c->n && g->n; i++)
        clip(c, g, &task[i]);
    for (uint32_t i = 1; i < c->n; i++) {
        bool varies = false;
        for (uint64_t k = 0; k < g->n; k++) {
            task[i].balance[g->at[k]] = balance(c, task, i, g->at[k]);
            varies |= task[i].place[g->at[k]] > 0;
        }
        if (varies)
            score(c, g, &task[i]);
    }
}

/* ---- the paper's ---- */

/* (p - min p) / (max p - min p) of p = t_i t_j, in the tensors' arithmetic; 0 if p is constant. */
static void accord(const struct oracle_case *c, const struct oracle_group *g, const double *left,
                   const double *right, double *out)
{
    double least = INFINITY, most = -INFINITY;
    for (uint64_t k = 0; k < g->n; k++) {
        double p = left[g->at[k]] * right[g->at[k]];
        least = p < least ? p : least;
        most = p > most ? p : most;
    }
    double span = most - least;
    for (uint64_t k = 0; k < g->n; k++) {
        uint64_t at = g->at[k];
        const struct oracle_tensor *t = tensor_of(c, at);
        double p = oracle_round(t, left[at] * right[at]), low = oracle_round(t, least);
        double above = oracle_round(t, p - (span > 0 ? low : 0));
        out[at] = span > 0 ? oracle_round(t, above / oracle_round(t, span)) : 0;
    }
}

/* Adds D exp(factor (n - shift)) / sum of these, per element; `times`: multiplies instead. */
static void softmax(const struct oracle_case *c, const struct oracle_group *g, const double *n,
                    double factor, double shift, bool times, double *out)
{
    long double sum = 0;
    for (uint64_t k = 0; k < g->n; k++) {
        const struct oracle_tensor *t = tensor_of(c, g->at[k]);
        double power = oracle_round(t, n[g->at[k]] - shift);
        sum += own_exp(t, oracle_round(t, factor * power));
    }
    for (uint64_t k = 0; k < g->n; k++) {
        uint64_t at = g->at[k];
        const struct oracle_tensor *t = tensor_of(c, at);
        double e = own_exp(t, oracle_round(t, factor * oracle_round(t, n[at] - shift)));
        double share = oracle_round(t, (long double)g->n / sum);
        double value = oracle_round(t, share * e);
        out[at] = times ? oracle_round(t, value * out[at]) : oracle_round(t, out[at] + value);
    }
}

/* s of the paper; places stay 0 where a task's squares do not vary, and so does s. */
static void compete_on_paper(const struct oracle_case *c, const struct oracle_group *g,
                             struct task *task)
{
    double models = c->n - 1, *n = numbers(c);
    for (uint32_t i = 1; i < c->n && g->n; i++) {
        bool varies = false;
        for (uint32_t j = 1; j < c->n; j++) {
            accord(c, g, task[i].delta, task[j].delta, n);
            softmax(c, g, n, 1, 0, false, task[i].balance);
        }
        accord(c, g, task[i].delta, task[i].delta, n);
        softmax(c, g, n, models, 1, true, task[i].balance);
        for (uint64_t k = 0; k < g->n; k++)
            varies |= n[g->at[k]] > 0;
        double cut =
            statistic(g, task[i].balance, (double)g->n * (1 - oracle_global(c, "density")));
        for (uint64_t k = 0; k < g->n; k++) {
            uint64_t at = g->at[k];
            task[i].clipped[at] = task[i].size[at];
            task[i].score[at] = varies && task[i].balance[at] >= cut ? task[i].balance[at] : 0;
        }
    }
    test_free(n);
}

/* ---- the result ---- */

static void mix(const struct oracle_case *c, const struct task *task, const struct oracle_tensor *t,
                uint64_t e, struct oracle_want *w)
{
    uint64_t at = t->offset + e;
    long double scores = 0, sum = 0, size = fabsl(t->x[0][e]);
    for (uint32_t i = 1; i < c->n; i++)
        scores += task[i].score[at];
    scores = scores < 1e-12L ? 1e-12L : scores;
    for (uint32_t i = 1; i < c->n; i++) {
        int sign = (task[i].delta[at] > 0) - (task[i].delta[at] < 0);
        long double g = sign * task[i].clipped[at] * task[i].score[at] / scores;
        long double factor = oracle_global(c, "lambda") * oracle_option(c, "weight", i);
        sum += factor * g;
        size += fabsl(factor * g);
    }
    w->low = w->high = t->x[0][e] + sum;
    w->error = (4 * c->n + 16) * (oracle_unit(t) * size + oracle_tiny(t));
}

static void compete(const struct oracle_case *c, const struct oracle_group *g, struct task *task)
{
    if (oracle_chose(c, "variant", "paper"))
        compete_on_paper(c, g, task);
    else
        compete_in_code(c, g, task);
}

static void pcb_formula(struct oracle_case *c, struct oracle_want *want)
{
    struct task task[ORACLE_INPUTS];
    uint64_t n;
    for (uint32_t i = 1; i < c->n; i++)
        task_begin(c, i, &task[i]);
    if (oracle_chose(c, "scope", "model")) {
        struct oracle_group all = oracle_model_group(c);
        compete(c, &all, task);
        test_free(all.at);
    }
    for (unsigned k = 0; k < c->n_tensors && oracle_chose(c, "scope", "tensor"); k++) {
        struct oracle_group *g = oracle_groups(&c->tensor[k], ORACLE_NO_AXIS, &n);
        for (uint64_t one = 0; one < n; one++)
            compete(c, &g[one], task);
        oracle_free_groups(g, n);
    }
    for (unsigned k = 0; k < c->n_tensors; k++)
        for (uint64_t e = 0; e < c->tensor[k].count; e++)
            mix(c, task, &c->tensor[k], e, &want[c->tensor[k].offset + e]);
    for (uint32_t i = 1; i < c->n; i++)
        task_end(&task[i]);
}

#define SETTINGS(variant)                                                                          \
    {                                                                                              \
        "scope=tensor variant=" variant, "scope=tensor density=0.5 variant=" variant,              \
            "scope=tensor density=1 lambda=0.7 variant=" variant,                                  \
            "scope=tensor density=0.05 weight=0.5,1,-0.25 variant=" variant,                       \
            "scope=tensor density=0 variant=" variant, "scope=model variant=" variant,             \
            "scope=model density=0.05 lambda=-1.5 variant=" variant,                               \
            "scope=model density=0.9 weight=2,0,1 variant=" variant                                \
    }
static const struct oracle_row rows[] = {
    {"pcb", pcb_formula, {1, 2, 3, 4, 5, 9}, SETTINGS("code"), NULL},
    {"pcb", pcb_formula, {1, 2, 3, 4, 5, 9}, SETTINGS("code-nlp"), NULL},
    {"pcb", pcb_formula, {1, 2, 3, 4, 5, 9}, SETTINGS("code-vision"), NULL},
    {"pcb", pcb_formula, {1, 2, 3, 4, 5, 9}, SETTINGS("code-vision-es"), NULL},
    {"pcb", pcb_formula, {1, 2, 3, 4, 5, 9}, SETTINGS("paper"), "subnormal"},
};

#define ROW_TEST(k, name)                                                                          \
    static void name(void **state)                                                                 \
    {                                                                                              \
        (void)state;                                                                               \
        oracle_check_row(&rows[k]);                                                                \
    }
ROW_TEST(0, code_is_its_formula)
ROW_TEST(1, code_nlp_is_its_formula)
ROW_TEST(2, code_vision_is_its_formula)
ROW_TEST(3, code_vision_es_is_its_formula)
ROW_TEST(4, the_paper_is_its_formula)

/* ---- published numbers ---- */

#define GOLDEN 10

/* Three tasks of ten elements over a base of zeros, density 0.3: computed by others, in double,
 * from the authors' formulas. */
static const double golden_tasks[3][GOLDEN] = {
    {0.30, -0.10, 0.05, 0.00, 0.20, -0.40, 0.01, 0.15, -0.02, 0.08},
    {0.25, 0.20, -0.05, 0.00, -0.30, -0.35, 0.02, 0.00, 0.12, 0.07},
    {-0.10, 0.15, 0.04, 0.01, 0.10, -0.20, -0.03, 0.05, 0.10, 0.50},
};
static const struct {
    const char *setting;
    double merged[GOLDEN];
} golden[] = {
    {"variant=code", {[0] = 0.288118, [5] = -0.277360, [9] = 0.2}},
    {"variant=code-nlp", {[0] = 0.288118, [5] = -0.277360, [9] = 0.2}},
    {"variant=code-vision", {[0] = 0.289404, [5] = -0.270545, [9] = 0.2}},
    {"variant=code-vision-es", {[0] = 0.289751, [5] = -0.266667, [9] = 0.2}},
    {"variant=paper", {[0] = 0.279860, [1] = 0.15, [4] = -0.192690, [5] = -0.370735, [9] = 0.5}},
};

static void golden_vectors_come_out(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof golden / sizeof *golden; k++)
        for (unsigned wide = 0; wide < 2; wide++) {
            char setting[96];
            struct oracle_case c = {.method = wf_method_find("pcb"), .data = "golden", .n = 4};
            struct oracle_result r;
            uint8_t dtype = wide ? WF_F64 : WF_F32;
            snprintf(setting, sizeof setting, "density=0.3 %s", golden[k].setting);
            oracle_set(&c, setting);
            struct oracle_tensor *t =
                oracle_add(&c, (struct oracle_shape){1, {GOLDEN}}, &dtype, 1, dtype);
            for (uint32_t i = 0; i < 4; i++)
                for (uint64_t e = 0; e < GOLDEN; e++)
                    oracle_store(t, i, e, i ? golden_tasks[i - 1][e] : 0);
            assert_null(oracle_prepare(&c));
            oracle_drive(&c, &wf_frame_base, true, &r);
            for (uint64_t e = 0; e < GOLDEN; e++) {
                double got = oracle_get(dtype, r.out[0] + e * oracle_width(dtype));
                if (!(fabs(got - golden[k].merged[e]) < 1e-6))
                    fail_msg("%s: element %" PRIu64 " is %g, not %g", setting, e, got,
                             golden[k].merged[e]);
            }
            oracle_free_result(&c, &r);
            oracle_end(&c);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_is_its_formula),
        cmocka_unit_test(code_nlp_is_its_formula),
        cmocka_unit_test(code_vision_is_its_formula),
        cmocka_unit_test(code_vision_es_is_its_formula),
        cmocka_unit_test(the_paper_is_its_formula),
        cmocka_unit_test(golden_vectors_come_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
