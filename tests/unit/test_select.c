/* test_select.c - SELECT against a plain sort: any data, any cut, any order, any number of threads.
 */
#include "stage_fixture.h"

#include "../../src/stage/keybits.h"

/* ---- the method: q[] and how ranks follow from it stand in args ---- */

enum { Q = 5, MODE = 0 }; /* g[Q + rank], m[0][MODE] */
enum { OF_COUNT, OF_NONZERO };

static void ranks(const struct wf_args *args, uint32_t i, const struct wf_group *group,
                  uint64_t *rank)
{
    (void)i;
    for (unsigned r = 0; r < WF_RANKS_MAX; r++) {
        double q = args->g[Q + r];
        if (args->m[0][MODE] == OF_NONZERO)
            rank[r] = group->count - (uint64_t)(q * (double)group->nonzero);
        else
            rank[r] = q < 0 ? group->count - 1 : (uint64_t)(q * (double)group->count);
    }
}

static struct wf_stage stages[] = {
    {.kind = WF_STAGE_SELECT,
     .scope = WF_SCOPE_TENSOR,
     .select = {.per_model = true, .cut = SF_CUT_SLOT, .n_ranks = 2, .ranks = ranks}},
    {.kind = WF_STAGE_MAP}};
static const struct wf_method method = {.name = "cut", .stages = stages, .n_stages = 2};

struct setting {
    enum wf_scope scope;
    enum wf_ties ties;
    double q[WF_RANKS_MAX];
    unsigned n_ranks;
    bool per_model;
    int mode;
    uint32_t bins, keys, pieces; /* pieces of each tensor */
    unsigned threads;
    uint64_t seed;
    unsigned counts; /* out: COUNT steps */
    unsigned samples;
};

static struct setting usual(void)
{
    return (struct setting){.scope = WF_SCOPE_TENSOR,
                            .q = {0.8, 0.3, 0.5},
                            .n_ranks = 2,
                            .per_model = true,
                            .bins = 1024,
                            .keys = 1024,
                            .pieces = 7,
                            .threads = 2,
                            .seed = 1};
}

/* ---- the naive way ---- */

struct item {
    uint64_t key, at; /* at: in the group */
};

static enum wf_ties order_of_ties;

static int by_key(const void *a, const void *b)
{
    const struct item *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    int low_first = x->at < y->at ? -1 : x->at > y->at;
    return order_of_ties == WF_TIES_LOW_IS_HIGH ? -low_first : low_first;
}

static struct item *sorted(const struct sf_data *d, unsigned k, unsigned end, uint32_t i, bool wide,
                           enum wf_ties ties, uint64_t *n)
{
    struct item *items;
    *n = 0;
    for (unsigned j = k; j < end; j++)
        *n += d->t[j].count;
    items = test_malloc((*n + 1) * sizeof *items);
    for (uint64_t at = 0; k < end; k++)
        for (uint64_t e = 0; e < d->t[k].count; e++, at++)
            items[at] = (struct item){sf_bits(d->t[k].x[i][e], wide), at};
    order_of_ties = ties;
    qsort(items, *n, sizeof *items, by_key);
    return items;
}

/* Whether each element of tensors [k, end) is at the rank or above, compared with bit `bit` of out.
 */
static void check_cut(const struct sf_run *r, unsigned k, unsigned end, const struct setting *s,
                      uint32_t i, unsigned rank_index, unsigned bit, bool wide)
{
    uint64_t n, rank[WF_RANKS_MAX] = {0}, wrong = 0, zeros = 0;
    struct item *items = sorted(r->data, k, end, i, wide, s->ties, &n);
    struct wf_args args = {.m = (double[1][WF_ARGS_MODEL]){{s->mode}}};
    memcpy(args.g + Q, s->q, sizeof s->q);
    while (zeros < n && items[zeros].key == 0)
        zeros++;
    ranks(&args, i, &(struct wf_group){n, n - zeros, n}, rank);
    uint64_t place = rank[rank_index] < n ? rank[rank_index] : n;
    bool none = place < n && items[place].key > (wide ? 0x7ff0000000000000u : 0x7f800000u);
    if (s->ties == WF_TIES_INCLUSIVE)
        while (place && place < n && items[place - 1].key == items[place].key)
            place--;
    for (uint64_t p = 0; p < n; p++) {
        uint64_t at = items[p].at;
        unsigned j = k;
        while (at >= r->data->t[j].count)
            at -= r->data->t[j++].count;
        bool nan = isnan(r->data->t[j].x[i][at]);
        wrong += (r->out[j][at] >> bit & 1) != (p >= place && !none && !nan);
    }
    test_free(items);
    if (wrong)
        fail_msg("%llu of %llu elements on the wrong side of rank %llu, input %u",
                 (unsigned long long)wrong, (unsigned long long)n, (unsigned long long)place, i);
}

/* ---- one case ---- */

static void map_tensors(struct sf_run *r, struct setting *s, struct wf_args *args,
                        const struct wf_unit_need *need, const struct wf_unit *model)
{
    struct wf_err e = {0};
    struct wf_unit *of_tensor = wf_unit_create(&e, need);
    struct wf_unit *of_model = r->unit;
    uint32_t first = 0;
    assert_non_null(of_tensor);
    for (unsigned k = 0; k < r->data->tensors; k++) {
        struct sf_run one = *r;
        const struct sf_tensor *t = &r->data->t[k];
        struct wf_unit_group group = {.method = &method,
                                      .args = args,
                                      .scope = WF_SCOPE_TENSOR,
                                      .count = t->count,
                                      .tensor = t->count,
                                      .wide = t->wide,
                                      .model = model,
                                      .model_piece = first};
        one.unit = of_tensor;
        one.pieces = 0;
        for (uint32_t p = 0; p < r->pieces; p++)
            if (r->of[p] == k) {
                one.from[one.pieces] = r->from[p];
                one.to[one.pieces] = r->to[p];
                one.base[one.pieces] = 0;
                one.of[one.pieces++] = k;
            }
        group.pieces = one.pieces;
        assert_null(sf_gather(&one, &group));
        s->counts = one.steps[WF_STEP_COUNT] > s->counts ? one.steps[WF_STEP_COUNT] : s->counts;
        s->samples += one.steps[WF_STEP_SAMPLE];
        sf_map_all(&one, args);
        memcpy(r->out, one.out, sizeof r->out);
        first += one.pieces;
    }
    wf_unit_destroy(of_tensor);
    r->unit = of_model;
}

static void check_all(const struct sf_run *r, const struct setting *s, bool wide)
{
    bool model = s->scope == WF_SCOPE_MODEL;
    unsigned groups = model ? 1 : r->data->tensors, streams = s->per_model ? r->data->n - 1 : 1;
    for (unsigned g = 0; g < groups; g++)
        for (unsigned bit = 0; bit < streams * s->n_ranks; bit++)
            check_cut(r, g, model ? r->data->tensors : g + 1, s, bit / s->n_ranks + 1,
                      bit % s->n_ranks, bit, model ? wide : r->data->t[g].wide);
}

/* Through a model's unit first, if the scope says so; both ways to MAP by it. */
static void run(const struct sf_data *d, struct setting *s)
{
    struct wf_err e = {0};
    double rows[SF_INPUTS][WF_ARGS_MODEL] = {{s->mode}};
    struct wf_args args = {
        .m = rows, .n = d->n, .scope = {(uint8_t)s->scope}, .ties = (uint8_t)s->ties};
    struct wf_unit_need need = {.inputs = d->n,
                                .streams = d->n - 1,
                                .ranks = s->n_ranks,
                                .bins = s->bins,
                                .keys = s->keys,
                                .pieces = SF_PIECES,
                                .threads = s->threads};
    struct sf_run r = {.data = d, .method = &method, .threads = s->threads, .seed = s->seed};
    struct wf_unit_group group = {.method = &method, .args = &args, .scope = WF_SCOPE_MODEL};
    memcpy(args.g + Q, s->q, sizeof s->q);
    stages[0].select.n_ranks = (uint8_t)s->n_ranks;
    stages[0].select.per_model = s->per_model;
    s->counts = s->samples = 0;
    sf_cut(&r, 0, d->tensors, s->pieces);
    r.unit = wf_unit_create(&e, &need);
    assert_non_null(r.unit);
    group.pieces = r.pieces;
    for (unsigned k = 0; k < d->tensors; k++) {
        group.count += d->t[k].count;
        group.wide |= d->t[k].wide;
    }
    group.tensor = group.count;
    if (s->scope == WF_SCOPE_MODEL) {
        assert_null(sf_gather(&r, &group));
        unsigned counts = r.steps[WF_STEP_COUNT];
        s->samples = r.steps[WF_STEP_SAMPLE];
        sf_map_all(&r, &args);
        check_all(&r, s, group.wide);
        map_tensors(&r, s, &args, &need, r.unit);
        assert_int_equal(s->counts, 0); /* the tensors have no stages of their own */
        s->counts = counts;
    } else {
        map_tensors(&r, s, &args, &need, NULL);
    }
    check_all(&r, s, group.wide);
    sf_free_out(&r);
    wf_unit_destroy(r.unit);
}

/* With every rule for ties, in one thread and several, whole and cut. */
static void run_ways(const struct sf_data *d, struct setting s)
{
    for (enum wf_ties ties = WF_TIES_INCLUSIVE; ties <= WF_TIES_LOW_IS_HIGH; ties++)
        for (unsigned way = 0; way < 3; way++) {
            s.ties = ties;
            s.pieces = way ? 5 + 4 * way : 0;
            s.threads = way * 2;
            s.seed++;
            run(d, &s);
        }
}

/* ---- data ---- */

enum kind {
    GAUSS,
    LATTICE,
    MOSTLY_ZERO,
    CONSTANT,
    ZERO,
    DENORMAL,
    TWO_VALUES,
    SPREAD,
    NOT_FINITE,
    KINDS
};

static double draw(enum kind kind, uint64_t *seed)
{
    double u = (double)(sf_next(seed) >> 11) * 0x1p-53, v = 0;
    switch (kind) {
    case GAUSS:
        for (int k = 0; k < 6; k++)
            v += (double)(sf_next(seed) >> 11) * 0x1p-53 - 0.5;
        return v;
    case LATTICE:
        return ((double)sf_below(seed, 9) - 4) * 0x1p-9;
    case MOSTLY_ZERO:
        return u < 0.7 ? -0.0 : ((double)sf_below(seed, 500) - 250) * 0x1p-12;
    case CONSTANT:
        return -3.25;
    case ZERO:
        return u < 0.5 ? 0.0 : -0.0;
    case DENORMAL:
        return (double)sf_below(seed, 50) * 0x1p-149;
    case TWO_VALUES:
        return u < 0.8 ? 1.0 : -(1.0 + 0x1p-23);
    case SPREAD: /* all exponents */
        return ldexp(1 + u, (int)sf_below(seed, 250) - 125);
    default:
        return u < 0.1 ? INFINITY : u < 0.2 ? -(double)NAN : u < 0.3 ? 3.4028234663852886e38 : u;
    }
}

static void fill(struct sf_data *d, enum kind kind, uint64_t seed)
{
    for (unsigned k = 0; k < d->tensors; k++)
        for (uint32_t i = 0; i < d->n; i++)
            for (uint64_t e = 0; e < d->t[k].count; e++) {
                double x = draw(kind, &seed);
                d->t[k].x[i][e] = d->t[k].wide ? x : (double)(float)x;
            }
}

/* ---- tests ---- */

static void every_kind_of_data_is_cut_as_by_a_sort(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct sf_data d = sf_data(3, 2, (uint64_t[]){3000, 24011}, kind % 2 ? 1 : 2);
        fill(&d, kind, kind);
        run_ways(&d, usual());
        sf_free(&d);
    }
}

static void ranks_at_the_ends_and_beyond(void **state)
{
    static const double ends[][2] = {{0, 1}, {-1, 0.9999}, {0.0001, -1}, {1, 0}};
    (void)state;
    for (enum kind kind = 0; kind < KINDS; kind++)
        for (unsigned k = 0; k < 4; k++) {
            struct setting s = usual();
            struct sf_data d = sf_data(2, 2, (uint64_t[]){5000, 700}, 0);
            fill(&d, kind, kind + 100);
            s.q[0] = ends[k][0];
            s.q[1] = ends[k][1];
            run_ways(&d, s);
            sf_free(&d);
        }
}

static void small_groups_need_one_count_and_no_sample(void **state)
{
    static const uint64_t counts[] = {0, 1, 2, 31, 1023, 1024, 1025};
    (void)state;
    for (unsigned c = 0; c < 7; c++)
        for (enum kind kind = 0; kind < KINDS; kind++) {
            struct setting s = usual();
            struct sf_data d = sf_data(3, 1, &counts[c], kind % 2);
            fill(&d, kind, c);
            run_ways(&d, s);
            run(&d, &s);
            assert_int_equal(s.samples, counts[c] > 1024);
            if (counts[c] <= 1024)
                assert_int_equal(s.counts, 1);
            sf_free(&d);
        }
}

static void one_key_for_all_models_and_three_ranks(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct setting s = usual();
        struct sf_data d = sf_data(2, 1, (uint64_t[]){12000}, 0);
        fill(&d, kind, kind);
        s.per_model = false;
        s.n_ranks = 3;
        run_ways(&d, s);
        sf_free(&d);
    }
}

/* The rank follows from how many keys are not zero, which a sample can only guess. */
static void ranks_may_depend_on_zeros(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < KINDS; kind++) {
        struct setting s = usual();
        struct sf_data d = sf_data(3, 2, (uint64_t[]){12000, 900}, 2);
        fill(&d, kind, kind);
        s.mode = OF_NONZERO;
        run_ways(&d, s);
        s.q[0] = 1;
        s.q[1] = 0;
        run_ways(&d, s);
        sf_free(&d);
    }
}

static void a_model_of_mixed_widths_is_one_group(void **state)
{
    (void)state;
    for (enum kind kind = 0; kind < KINDS; kind++)
        for (unsigned wide = 0; wide < 32; wide += 9) {
            struct setting s = usual();
            struct sf_data d = sf_data(3, 5, (uint64_t[]){1500, 1, 2500, 0, 1025}, wide);
            fill(&d, kind, kind + wide);
            s.scope = WF_SCOPE_MODEL;
            run_ways(&d, s);
            s.keys = 16384; /* all are kept */
            run_ways(&d, s);
            sf_free(&d);
        }
}

/* Doubles around a float: the threshold is between two floats, and the cut must not move. */
static void thresholds_between_two_floats_round_up(void **state)
{
    (void)state;
    for (unsigned wide = 1; wide < 3; wide++) {
        struct setting s = usual();
        uint64_t seed = wide;
        struct sf_data d = sf_data(2, 2, (uint64_t[]){3000, 3000}, wide);
        for (unsigned k = 0; k < 2; k++)
            for (uint64_t e = 0; e < 3000; e++)
                d.t[k].x[1][e] = 1 + ldexp((double)sf_below(&seed, 64), d.t[k].wide ? -25 : -23);
        s.scope = WF_SCOPE_MODEL;
        for (double q = 0.01; q < 1; q += 0.16) {
            s.q[0] = q;
            run_ways(&d, s);
        }
        sf_free(&d);
    }
}

/* The sample sees small keys alone, then large ones alone: each bracket misses. */
static void a_bracket_that_misses_costs_a_count_and_nothing_else(void **state)
{
    (void)state;
    for (unsigned wide = 0; wide < 2; wide++)
        for (unsigned way = 0; way < 2; way++) {
            struct setting s = usual();
            uint64_t count = 20000, seed = way, from = 0, to = count;
            struct sf_data d = sf_data(2, 1, &count, wide);
            struct wf_err e = {0};
            struct wf_args args = {
                .m = (double[2][WF_ARGS_MODEL]){{0}}, .n = 2, .scope = {WF_SCOPE_TENSOR}};
            struct wf_unit_need need = {
                .inputs = 2, .streams = 1, .ranks = 2, .bins = 65536, .keys = 1024, .pieces = 1};
            struct wf_unit *u = wf_unit_create(&e, &need);
            stages[0].select.n_ranks = 2;
            stages[0].select.per_model = true;
            wf_unit_begin(u, &(struct wf_unit_group){.method = &method,
                                                     .args = &args,
                                                     .scope = WF_SCOPE_TENSOR,
                                                     .count = count,
                                                     .tensor = count,
                                                     .pieces = 1,
                                                     .wide = wide});
            for (uint64_t i = 0; i < count; i++)
                d.t[0].x[1][i] =
                    ldexp(1 + (double)sf_below(&seed, 1 << 20) * 0x1p-20, way ? 9 : -9);
            unsigned sampled = 0;
            for (; wf_unit_wants(u, 0, &from, &to); from = to, to = count)
                for (uint64_t i = from; i < to; i++, sampled++)
                    d.t[0].x[1][i] = (double)(float)(1 + 0.001 * (double)(i - from));
            assert_in_range(sampled, 900, 1024);
            wf_unit_destroy(u);
            s.bins = 65536;
            s.keys = 1024;
            run(&d, &s);
            assert_true(s.counts >= 2 && s.counts <= 1 + (wide ? 4 : 2));
            run_ways(&d, s);
            sf_free(&d);
        }
}

/* 1 + ceil(31 / log2(bins)), and 63 for doubles: however few the bins, keys or elements that lie
 * close. Keys that halve their distance to one point are the worst there is for a search by bins.
 */
static void counts_are_bounded(void **state)
{
    static const struct {
        uint32_t bins;
        unsigned narrow, wide;
    } limits[] = {{1024, 5, 8}, {65536, 3, 5}};
    (void)state;
    for (unsigned k = 0; k < 2; k++)
        for (unsigned wide = 0; wide < 2; wide++)
            for (double q = 0; q < 1; q += 0.22) {
                struct setting s = usual();
                uint64_t count = 9000, seed = 5;
                struct sf_data d = sf_data(2, 1, &count, wide);
                for (uint64_t i = 0; i < count; i++) {
                    uint64_t bits = (wide ? 0x3ff8000000000000u : 0x3fc00000u) +
                                    (sf_below(&seed, 2) << sf_below(&seed, wide ? 61 : 29)) +
                                    sf_below(&seed, 3);
                    d.t[0].x[1][i] = wf_key_threshold(bits, wide);
                }
                s.bins = limits[k].bins;
                s.q[0] = q;
                run_ways(&d, s);
                run(&d, &s);
                assert_true(s.counts <= (wide ? limits[k].wide : limits[k].narrow));
                sf_free(&d);
            }
}

/* Of a well-behaved group one COUNT is enough while the keys of a bracket can be kept. */
static void one_count_is_usual(void **state)
{
    unsigned more = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct setting s = usual();
        struct sf_data d = sf_data(2, 1, (uint64_t[]){300000}, 0);
        fill(&d, seed % 2 ? GAUSS : LATTICE, seed);
        s.keys = 65536;
        s.n_ranks = 1;
        run(&d, &s);
        assert_int_equal(s.samples, 1);
        more += s.counts > 1;
        sf_free(&d);
    }
    assert_true(more <= 1);
}

/* Rows of very different size: neighbours are alike, and the bracket must allow for it. After a hit
 * the second COUNT lists a bin; after a miss it takes a third. */
static void rows_of_different_size_do_not_make_brackets_miss(void **state)
{
    unsigned more = 0;
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct setting s = usual();
        uint64_t state_of_rows = seed;
        struct sf_data d = sf_data(2, 1, (uint64_t[]){400000}, 0);
        fill(&d, GAUSS, seed);
        for (uint64_t row = 0; row < 25000; row++) {
            double size = 1 + (double)sf_below(&state_of_rows, 1 << 20);
            for (uint64_t e = row * 16; e < row * 16 + 16; e++)
                d.t[0].x[1][e] = (double)(float)(size + d.t[0].x[1][e]);
        }
        s.bins = 1 << 20;
        s.keys = 65536;
        run(&d, &s);
        more += s.counts > 2;
        sf_free(&d);
    }
    assert_true(more <= 1);
}

/* The sample is the same however the group is cut, and spread over all of it. */
static void samples_do_not_depend_on_cuts(void **state)
{
    uint64_t count = 1000003, seen[2] = {0}, sum[2] = {0}, seed = 3;
    struct wf_err e = {0};
    struct wf_args args = {
        .m = (double[2][WF_ARGS_MODEL]){{0}}, .n = 2, .scope = {WF_SCOPE_TENSOR}};
    struct wf_unit_need need = {
        .inputs = 2, .streams = 1, .ranks = 2, .bins = 1024, .keys = 65536, .pieces = 9};
    (void)state;
    struct wf_unit *u = wf_unit_create(&e, &need);
    stages[0].select.n_ranks = 2;
    wf_unit_begin(u, &(struct wf_unit_group){.method = &method,
                                             .args = &args,
                                             .scope = WF_SCOPE_TENSOR,
                                             .count = count,
                                             .tensor = count,
                                             .pieces = 9});
    for (unsigned way = 0; way < 2; way++)
        for (uint64_t at = 0, end; at < count; at = end) {
            end = way ? at + 1 + sf_below(&seed, 3000) : count;
            end = end < count ? end : count;
            for (uint64_t from = at, to = end; wf_unit_wants(u, 0, &from, &to); from = to, to = end)
                for (uint64_t i = from; i < to; i++) {
                    seen[way]++;
                    sum[way] += i * i % 1000003;
                }
        }
    assert_int_equal(seen[0], seen[1]);
    assert_int_equal(sum[0], sum[1]);
    assert_in_range(seen[0], 3900, 65536);
    wf_unit_destroy(u);
}

/* A backend whose counts change from one look to the next, as when a file is written meanwhile. */
static unsigned looks;
static void fickle_count(const struct wf_tile *t, unsigned stage, struct wf_count *c,
                         struct wf_tile_result *r)
{
    sf_count(t, stage, c, r);
    for (unsigned k = 0; looks % 2 && k < c->streams * c->ranks; k++)
        c->brackets[k].below += 1 + looks;
    looks++;
}

static void inputs_that_change_are_refused(void **state)
{
    uint64_t count = 30000;
    struct sf_data d = sf_data(2, 1, &count, 0);
    struct wf_err e = {0};
    struct wf_args args = {
        .m = (double[2][WF_ARGS_MODEL]){{0}}, .n = 2, .scope = {WF_SCOPE_TENSOR}};
    struct wf_unit_need need = {
        .inputs = 2, .streams = 1, .ranks = 1, .bins = 1024, .keys = 1024, .pieces = 1};
    struct wf_unit *u = wf_unit_create(&e, &need);
    struct sf_run r = {.data = &d, .unit = u, .method = &method};
    struct wf_backend fickle = sf_backend;
    const char *why = NULL;
    (void)state;
    fickle.count = fickle_count;
    fill(&d, GAUSS, 1);
    looks = 0;
    stages[0].select.n_ranks = 1;
    args.g[Q] = 0.5;
    wf_unit_begin(u, &(struct wf_unit_group){.method = &method,
                                             .args = &args,
                                             .scope = WF_SCOPE_TENSOR,
                                             .count = count,
                                             .tensor = count,
                                             .pieces = 1});
    for (unsigned step = 0; !why && wf_unit_step(u) != WF_STEP_MAP; step++) {
        uint64_t from = 0, to = count;
        assert_true(step < 40);
        for (; wf_unit_wants(u, 0, &from, &to); from = to, to = count) {
            const void *in[SF_INPUTS];
            struct wf_tile tile = sf_tile(&r, 0, from, to, in);
            struct wf_tile_result result = {WF_TILE_OK, 0, 0, NULL};
            wf_unit_add(u, &fickle, 0, &tile, &result);
        }
        why = wf_unit_advance(u);
    }
    assert_non_null(why);
    assert_non_null(strstr(why, "changed"));
    wf_unit_destroy(u);
    sf_free(&d);
}

/* A backend that fails once, as a device does; like every backend it says that others went well. */
static unsigned counts_made, count_that_fails;
static void failing_count(const struct wf_tile *t, unsigned stage, struct wf_count *c,
                          struct wf_tile_result *r)
{
    *r = (struct wf_tile_result){WF_TILE_OK, 0, 0, NULL};
    if (++counts_made == count_that_fails)
        *r = (struct wf_tile_result){WF_TILE_FAILED, 0, t->from, "failed"};
    else
        sf_count(t, stage, c, r);
}

/* All steps of a SELECT that cuts equal keys at their index; true: the failure was told. */
static bool tells_failure(struct sf_run *r, struct wf_args *args, uint64_t count)
{
    struct wf_backend failing = sf_backend;
    failing.count = failing_count;
    wf_unit_begin(r->unit, &(struct wf_unit_group){.method = &method,
                                                   .args = args,
                                                   .scope = WF_SCOPE_TENSOR,
                                                   .count = count,
                                                   .tensor = count,
                                                   .pieces = 1});
    while (wf_unit_step(r->unit) != WF_STEP_MAP) {
        uint64_t from = 0, to = count;
        for (; wf_unit_wants(r->unit, 0, &from, &to); from = to, to = count) {
            const void *in[SF_INPUTS];
            struct wf_tile tile = sf_tile(r, 0, from, to, in);
            struct wf_tile_result result = {WF_TILE_OK, 0, 0, NULL};
            wf_unit_add(r->unit, &failing, 0, &tile, &result);
            if (result.verdict == WF_TILE_FAILED)
                return true;
            if (count_that_fails && counts_made >= count_that_fails)
                return false;
        }
        assert_null(wf_unit_advance(r->unit));
    }
    return false;
}

static void a_count_that_fails_is_told_and_not_taken_back(void **state)
{
    uint64_t count = 30000;
    struct sf_data d = sf_data(2, 1, &count, 0);
    struct wf_err e = {0};
    struct wf_args args = {.m = (double[2][WF_ARGS_MODEL]){{0}},
                           .n = 2,
                           .scope = {WF_SCOPE_TENSOR},
                           .ties = WF_TIES_LOW_IS_HIGH};
    struct wf_unit_need need = {
        .inputs = 2, .streams = 1, .ranks = 1, .bins = 1024, .keys = 1024, .pieces = 1};
    struct sf_run r = {.data = &d, .unit = wf_unit_create(&e, &need), .method = &method};
    (void)state;
    for (uint64_t k = 0; k < count; k++)
        d.t[0].x[1][k] = (double)(k * 7919 % 5);
    stages[0].select.n_ranks = 1;
    args.g[Q] = 0.5;
    count_that_fails = counts_made = 0;
    assert_false(tells_failure(&r, &args, count));
    unsigned all = counts_made;
    assert_in_range(all, 10, 1000); /* LOCATE halves */
    for (unsigned n = 1; n <= all; n++) {
        count_that_fails = n;
        counts_made = 0;
        if (!tells_failure(&r, &args, count))
            fail_msg("count %u of %u failed, and nobody was told", n, all);
    }
    wf_unit_destroy(r.unit);
    sf_free(&d);
}

static void key_bounds_of_doubles_hold_for_floats(void **state)
{
    uint64_t seed = 8;
    (void)state;
    for (unsigned k = 0; k < 200000; k++) {
        uint64_t narrow = sf_next(&seed) >> 33, wide = wf_key_widen(narrow);
        if (k < 8)
            narrow = (uint64_t[]){0,          1,          0x7fffff,   0x800000,
                                  0x7f7fffff, 0x7f800000, 0x7f800001, INT32_MAX}[k];
        wide = wf_key_widen(narrow);
        assert_int_equal(wf_key_narrow_up(wide), narrow);
        assert_int_equal(wf_key_narrow_down(wide), narrow);
        if (wide) {
            assert_int_equal(wf_key_narrow_up(wide - 1), narrow);
            assert_int_equal(wf_key_narrow_down(wide - 1), narrow - 1);
        }
        if (wide < INT64_MAX) {
            assert_int_equal(wf_key_narrow_up(wide + 1), narrow + 1);
            assert_int_equal(wf_key_narrow_down(wide + 1), narrow);
        }
    }
    assert_true(isnan(wf_key_threshold(0x7f800001, false)));
    assert_true(isinf(wf_key_threshold(0x7f800000, false)));
    assert_true(isnan(wf_key_threshold(INT64_MAX, true)));
}

static void nth_of_a_list_is_that_of_a_sort(void **state)
{
    uint64_t seed = 4, keys[600];
    (void)state;
    for (unsigned k = 0; k < 4000; k++) {
        size_t n = 1 + sf_below(&seed, 600), rank = sf_below(&seed, n);
        unsigned bits = 1 + (unsigned)sf_below(&seed, 63);
        uint64_t offset = sf_next(&seed) >> 1 & ~(((uint64_t)1 << bits) - 1), below = 0, equal = 0;
        for (size_t i = 0; i < n; i++)
            keys[i] = offset | sf_next(&seed) >> (64 - bits);
        struct wf_nth nth = wf_keys_nth(keys, n, rank);
        for (size_t i = 0; i < n; i++) {
            below += keys[i] < nth.key;
            equal += keys[i] == nth.key;
        }
        assert_int_equal(nth.below, below);
        assert_int_equal(nth.equal, equal);
        assert_true(below <= rank && rank < below + equal);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_data_is_cut_as_by_a_sort),
        cmocka_unit_test(ranks_at_the_ends_and_beyond),
        cmocka_unit_test(small_groups_need_one_count_and_no_sample),
        cmocka_unit_test(one_key_for_all_models_and_three_ranks),
        cmocka_unit_test(ranks_may_depend_on_zeros),
        cmocka_unit_test(a_model_of_mixed_widths_is_one_group),
        cmocka_unit_test(thresholds_between_two_floats_round_up),
        cmocka_unit_test(a_bracket_that_misses_costs_a_count_and_nothing_else),
        cmocka_unit_test(counts_are_bounded),
        cmocka_unit_test(one_count_is_usual),
        cmocka_unit_test(rows_of_different_size_do_not_make_brackets_miss),
        cmocka_unit_test(samples_do_not_depend_on_cuts),
        cmocka_unit_test(inputs_that_change_are_refused),
        cmocka_unit_test(a_count_that_fails_is_told_and_not_taken_back),
        cmocka_unit_test(key_bounds_of_doubles_hold_for_floats),
        cmocka_unit_test(nth_of_a_list_is_that_of_a_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
