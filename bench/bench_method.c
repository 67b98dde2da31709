/* bench_method.c - how fast the launches of each method are on a GPU, all data being there already.
 *
 *     bench_method [--bytes SIZE] [--rounds N] [--method NAME]
 *
 * Every method runs on bf16 tensors of SIZE bytes (1GiB), 2, 3, 5 and 8 of them where it takes so
 * many. The engine's own units (src/stage) drive it over a pattern, the first elements of the
 * tensors, through a backend that computes on the CPU and notes what it was asked: so each launch
 * has the thresholds and brackets of a real merge. The launch is then done on the GPU for the same
 * elements and compared, and timed for all:
 *
 *   tensor   | pattern | pattern | ... | pattern |
 *            |<------>| compared        |<------>| MAP: compared
 *            |<--------------- timed ----------->|
 *
 * The figure beside each time is bytes read and written, as a part of what the GPU's own copy moves
 * in that time. Where a stage looks at rows, these are 4096 long and numbers that would be found
 * for each row stay as `prepare` left them; ranks take memory, so fewer elements are timed.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../include/weft.h"
#include "../kernels/dtype_conv.h"
#include "../kernels/work_scratch.h"
#include "../src/backend/device.h"
#include "../src/backend/scratch.h"
#include "../src/base/clock.h"
#include "../src/base/mem.h"
#include "../src/base/num.h"
#include "../src/stage/unit.h"

#define INPUTS 8u
#define ROW 4096u
#define PATTERN ((uint64_t)1 << 21) /* elements */
#define RANKED ((uint64_t)1 << 25)  /* elements at most, where there are ranks */
#define LISTED ((uint64_t)1 << 16)  /* keys inside a bracket that are kept */
#define DRAW_KEY 0x5eedu

enum buffer_id { OUT, BAD, VIEW, RANKS, SCRATCH, VALUES, BRACKETS, COUNTS, LISTS, BUFFERS };

struct buffer {
    void *p;
    uint64_t bytes;
};

struct bench {
    struct wf_err e;
    struct wf_plugin_err fault;
    const struct wf_plugin *p;
    uint32_t device, rounds;
    struct wf_plugin_lane *lane;
    uint64_t pattern, count; /* elements */
    uint16_t *host[INPUTS], *expected, *got;
    void *in[INPUTS];
    struct buffer buffers[BUFFERS];
    double copy_rate; /* bytes read and written per second */
    uint64_t wrong;   /* in all launches */
    /* the method at hand */
    const struct wf_method *method;
    struct wf_args args;
    double rows[INPUTS][WF_ARGS_MODEL];
    uint32_t n;
    enum wf_step step;
    void *scratch; /* of the CPU */
};

static struct bench bench; /* a backend's functions get no pointer of their caller's */

static void fail(const char *what)
{
    const char *why = bench.fault.text[0] ? bench.fault.text : bench.e.text;
    fprintf(stderr, "bench_method: %s: %s\n", what, why);
    exit(4);
}

/* ---- memory of the device ---- */

static void *device_memory(enum buffer_id id, uint64_t bytes)
{
    struct buffer *b = &bench.buffers[id];
    if (b->bytes < bytes) {
        bench.p->release(bench.device, b->p);
        b->bytes = 0;
        if (bench.p->allocate(&bench.fault, bench.device, bytes, &b->p))
            fail("memory");
        b->bytes = bytes;
    }
    return b->p;
}

static void wait_for_lane(void)
{
    if (bench.p->finish(&bench.fault, bench.lane))
        fail("a launch");
}

static void put(void *device, const void *host, uint64_t bytes)
{
    if (bench.p->copy_in(&bench.fault, bench.lane, device, host, bytes))
        fail("a copy in");
    wait_for_lane();
}

static void get(void *host, const void *device, uint64_t bytes)
{
    if (bench.p->copy_out(&bench.fault, bench.lane, host, device, bytes))
        fail("a copy out");
    wait_for_lane();
}

static void zero(void *device, uint64_t bytes)
{
    if (bench.p->clear(&bench.fault, bench.lane, device, bytes))
        fail("clearing");
}

/* ---- launches ---- */

/* What all launches for a tile have in common. `to` is set by whoever launches. */
static struct wf_work begin_work(const struct wf_tile *t, enum wf_work_kind kind, unsigned function)
{
    struct wf_work w = {.kind = (uint8_t)kind,
                        .function = (uint8_t)function,
                        .plain = 1,
                        .cast = t->cast,
                        .out_dtype = WF_BF16,
                        .draws = t->method->draws,
                        .draws_from = t->method->base == WF_BASE_REQUIRED,
                        .n = t->n,
                        .to = bench.pattern,
                        .total = bench.count,
                        .row_length = ROW,
                        .row_stride = 1,
                        .draw_key = t->draw_key,
                        .rule = WF_VIEW_ONE};
    float view[WF_ARGS_GLOBAL + INPUTS * WF_ARGS_MODEL];
    for (unsigned k = 0; k < WF_ARGS_GLOBAL; k++)
        view[k] = w.g[k] = (float)t->args->g[k];
    for (uint32_t i = 0; i < t->n; i++) {
        w.in[i] = bench.in[i];
        w.in_dtype[i] = WF_BF16;
        for (unsigned k = 0; k < WF_ARGS_MODEL; k++)
            view[WF_ARGS_GLOBAL + i * WF_ARGS_MODEL + k] = w.m[i][k] = (float)t->args->m[i][k];
    }
    w.views = device_memory(VIEW, sizeof view);
    w.n_views = 1;
    put(bench.buffers[VIEW].p, view, sizeof view);
    w.bad = device_memory(BAD, sizeof(uint32_t));
    zero(w.bad, sizeof(uint32_t));
    return w;
}

static void give_scratch(struct wf_work *w)
{
    w->scratch_bytes = wf_max_u64(wf_work_scratch(w), (uint64_t)64 << 20);
    w->scratch = device_memory(SCRATCH, w->scratch_bytes);
}

static void launch(struct wf_work *w)
{
    give_scratch(w);
    if (bench.p->launch(&bench.fault, bench.lane, w))
        fail("a launch");
    wait_for_lane();
}

/* Times `w` over elements [0, to) and prints its line. `element_bytes` are read and written. */
static void report(struct wf_work *w, const char *name, uint64_t to, double element_bytes,
                   uint64_t wrong)
{
    double ms = 0;
    w->to = to;
    if (bench.p->time(&bench.fault, bench.lane, w, bench.rounds, &ms))
        fail("timed launches");
    ms /= bench.rounds;
    double rate = (double)to * element_bytes / (ms > 0 ? ms * 1e-3 : 1e-9);
    printf("%-18s %2" PRIu32 "  %-24s %12" PRIu64 " %10.4f %9.1f %6.1f%% %6" PRIu64 "\n",
           bench.method->name, bench.n, name, to, ms, rate * 1e-9, 100 * rate / bench.copy_rate,
           wrong);
    fflush(stdout);
    bench.wrong += wrong;
}

static uint64_t differences(const uint16_t *a, const uint16_t *b, uint64_t n)
{
    uint64_t wrong = 0;
    for (uint64_t k = 0; k < n; k++)
        wrong += a[k] != b[k];
    return wrong;
}

/* ---- the backend that looks on ---- */

static void rank_rows(const struct wf_tile *t, unsigned function, uint64_t to, struct wf_work *map)
{
    struct wf_work w = begin_work(t, WF_WORK_RANK, function);
    w.plain = 0;
    w.ties = t->args->ties;
    w.rank_stride = to;
    w.ranks = device_memory(RANKS, (t->n - 1) * to * sizeof(float));
    w.to = to;
    launch(&w);
    report(&w, "rank of rows", to, 2 * t->n + 4 * (t->n - 1), 0);
    map->ranks = w.ranks;
    map->rank_stride = to;
    map->plain = 0;
}

static void fold_rows(const struct wf_tile *t, const struct wf_stage *s)
{
    struct wf_work w = begin_work(t, WF_WORK_FOLD, s->function);
    w.fold_length = ROW;
    w.fold_step = 1;
    w.terms = s->fold.terms(t->n);
    w.maxima = s->fold.maxima;
    w.leaf_to = bench.count / ROW;
    w.values = device_memory(VALUES, w.leaf_to * w.terms * sizeof(double));
    give_scratch(&w);
    report(&w, "fold of rows", bench.count, 2 * t->n, 0);
}

/* The same tile without what this program has no numbers for: of row stages only ranks remain. */
static struct wf_tile simplified(const struct wf_tile *tile)
{
    struct wf_tile t = *tile;
    for (unsigned s = 0; s < t.method->n_stages; s++)
        if (t.method->stages[s].kind != WF_STAGE_RANK)
            t.local &= ~(1u << s);
    t.n_splits = 0;
    return t;
}

/* CPU and device for the elements of one pattern that begins at `at`, ranks being there. */
static uint64_t compare_map(struct wf_tile *t, struct wf_work *w, uint64_t at)
{
    t->first = t->from = at;
    t->to = at + bench.pattern;
    t->out = bench.expected;
    struct wf_tile_result r = {0};
    wf_backend_cpu()->map(t, &r);
    w->from = at;
    w->to = t->to;
    for (uint32_t i = 0; i < t->n; i++)
        w->in[i] = (const char *)bench.in[i] + 2 * at;
    w->first = at;
    launch(w);
    get(bench.got, w->out, 2 * bench.pattern);
    for (uint32_t i = 0; i < t->n; i++)
        w->in[i] = bench.in[i];
    w->first = w->from = 0;
    return differences(bench.expected, bench.got, bench.pattern);
}

static void look_at_map(const struct wf_tile *tile, struct wf_tile_result *result)
{
    struct wf_tile t = simplified(tile);
    uint64_t to = bench.count;
    double element_bytes = 2 * t.n + 2;
    struct wf_work w = begin_work(&t, WF_WORK_MAP, t.args->map);
    w.out = device_memory(OUT, 2 * bench.count);
    *result = (struct wf_tile_result){0};
    for (unsigned s = 0; s < t.method->n_stages; s++) {
        const struct wf_stage *stage = &t.method->stages[s];
        if (!(tile->local >> s & 1))
            continue;
        if (stage->kind == WF_STAGE_FOLD) {
            fold_rows(&t, stage);
        } else {
            to = wf_min_u64(to, RANKED);
            element_bytes += 4 * (t.n - 1);
            rank_rows(&t, stage->function, to, &w);
        }
    }
    t.total = bench.count;
    uint64_t wrong = compare_map(&t, &w, 0);
    if (to > bench.pattern)
        wrong += compare_map(&t, &w, to - bench.pattern);
    report(&w, "map", to, element_bytes, wrong);
}

/* Leaves of the reference: values[leaf][term]. */
struct leaves {
    double *values;
    uint32_t terms;
};

static void keep_leaf(void *arg, uint64_t leaf, const double *terms)
{
    struct leaves *l = arg;
    memcpy(l->values + leaf * l->terms, terms, l->terms * sizeof *terms);
}

static void look_at_fold(const struct wf_tile *tile, unsigned stage,
                         void (*leaf)(void *arg, uint64_t leaf, const double *terms), void *arg,
                         struct wf_tile_result *result)
{
    struct wf_tile t = simplified(tile);
    const struct wf_stage *s = &t.method->stages[stage];
    struct wf_work w = begin_work(&t, WF_WORK_FOLD, s->function);
    uint64_t leaves = bench.pattern / WF_FOLD_BLOCK, wrong = 0;
    w.terms = s->fold.terms(t.n);
    w.maxima = s->fold.maxima;
    double *values =
        wf_alloc(&bench.e, WF_MEM_META, 2 * leaves * w.terms, sizeof *values, "leaves");
    if (!values)
        fail("leaves");
    struct leaves kept = {values, w.terms};
    wf_backend_cpu()->fold(&t, stage, keep_leaf, &kept, result);
    wf_backend_cpu()->fold(tile, stage, leaf, arg, result);
    w.fold_length = bench.count;
    w.fold_step = 1;
    w.leaf_to = leaves;
    w.values = device_memory(VALUES, bench.count / WF_FOLD_BLOCK * w.terms * sizeof(double));
    launch(&w);
    get(values + leaves * w.terms, w.values, leaves * w.terms * sizeof(double));
    for (uint64_t k = 0; k < leaves * w.terms; k++)
        wrong += memcmp(values + k, values + leaves * w.terms + k, sizeof *values) != 0;
    wf_free(values);
    w.leaf_to = bench.count / WF_FOLD_BLOCK;
    report(&w, "fold", bench.count, 2 * t.n, wrong);
}

static void look_at_columns(const struct wf_tile *t, unsigned stage, double *sums,
                            struct wf_tile_result *result)
{
    wf_backend_cpu()->fold_columns(t, stage, sums, result);
}

#define BRACKETS_MAX (INPUTS * 2 * WF_RANKS_MAX)

/* What the unit wants, by the CPU; of a step that looks at all elements also by the device. */
static void look_at_count(const struct wf_tile *tile, unsigned stage, struct wf_count *c,
                          struct wf_tile_result *result)
{
    struct wf_tile t = simplified(tile);
    struct wf_work_bracket brackets[BRACKETS_MAX];
    struct wf_work_counts counts[BRACKETS_MAX];
    struct wf_bracket reference[BRACKETS_MAX];
    uint64_t zeros[INPUTS] = {0}, wrong = 0;
    unsigned n = c->streams * c->ranks;
    const struct wf_stage *s = &t.method->stages[stage];
    for (unsigned k = 0; k < n && k < BRACKETS_MAX; k++) {
        const struct wf_bracket *b = &c->brackets[k];
        brackets[k] = (struct wf_work_bracket){b->low, b->high, b->list};
        reference[k] = (struct wf_bracket){.low = b->low, .high = b->high};
    }
    wf_backend_cpu()->count(tile, stage, c, result);
    if (bench.step != WF_STEP_COUNT || n > BRACKETS_MAX)
        return;
    struct wf_count again = {
        .brackets = reference, .zeros = zeros, .streams = c->streams, .ranks = c->ranks};
    wf_backend_cpu()->count(&t, stage, &again, result);
    struct wf_work w = begin_work(&t, WF_WORK_COUNT, s->function);
    w.streams = c->streams;
    w.ranks_n = c->ranks;
    w.per_model = s->select.per_model;
    w.list_capacity = LISTED;
    w.brackets = device_memory(BRACKETS, n * sizeof *brackets);
    w.counts = device_memory(COUNTS, n * sizeof *counts);
    w.lists = device_memory(LISTS, n * LISTED * sizeof(uint32_t));
    put(bench.buffers[BRACKETS].p, brackets, n * sizeof *brackets);
    zero(w.counts, n * sizeof *counts);
    launch(&w);
    get(counts, w.counts, n * sizeof *counts);
    for (unsigned k = 0; k < n; k++)
        wrong += counts[k].below != reference[k].below || counts[k].inside != reference[k].inside;
    report(&w, "count", bench.count, 2 * t.n, wrong);
}

static const struct wf_backend onlooker = {.name = "onlooker",
                                           .map = look_at_map,
                                           .fold = look_at_fold,
                                           .fold_columns = look_at_columns,
                                           .count = look_at_count};

/* ---- one method, n inputs ---- */

/* Numbers that make every stage of the method work, by the names of its options. */
static double setting(const struct wf_option *o, uint32_t input)
{
    static const struct {
        const char *name;
        double value;
    } rows[] = {{"density", 0.5}, {"select_topk", 0.5}, {"t", 0.4}, {"epsilon", 0.1}};
    if (!strcmp(o->name, "weight"))
        return 0.3 + 0.1 * input;
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        if (!strcmp(o->name, rows[k].name) && rows[k].value <= o->max)
            return rows[k].value;
    return o->required && isnan(o->fallback) ? 0.5 : o->fallback;
}

static const char *prepare(void)
{
    enum { OPTIONS = 32 };
    double global[OPTIONS] = {0}, options[INPUTS][OPTIONS] = {{0}};
    const double *rows[INPUTS];
    const struct wf_method *m = bench.method;
    if (m->n_options > OPTIONS)
        return "has more options than this program knows of";
    for (size_t o = 0; o < m->n_options; o++) {
        global[o] = setting(&m->options[o], 0);
        for (uint32_t i = 0; i < bench.n; i++)
            options[i][o] = setting(&m->options[o], i);
    }
    for (uint32_t i = 0; i < bench.n; i++)
        rows[i] = options[i];
    memset(bench.rows, 0, sizeof bench.rows);
    bench.args = (struct wf_args){.m = bench.rows, .n = bench.n, .map = m->map};
    wf_method_scopes(m, bench.args.scope);
    struct wf_settings s = {
        .global = global, .model = rows, .n = bench.n, .has_base = m->base == WF_BASE_REQUIRED};
    return m->prepare(&s, &bench.args);
}

static void size_up(struct wf_need *need, struct wf_unit_need *unit)
{
    *need = (struct wf_need){.inputs = bench.n,
                             .ranked = bench.n - 1,
                             .rank_row = ROW,
                             .brackets = (bench.n - 1) * WF_RANKS_MAX};
    *unit = (struct wf_unit_need){.inputs = bench.n,
                                  .streams = bench.n - 1,
                                  .ranks = WF_RANKS_MAX,
                                  .bins = 1 << 16,
                                  .keys = 1 << 14,
                                  .pieces = 1,
                                  .count = bench.pattern};
    for (size_t s = 0; s < bench.method->n_stages; s++)
        if (bench.method->stages[s].kind == WF_STAGE_FOLD)
            need->terms =
                (uint32_t)wf_max_u64(need->terms, bench.method->stages[s].fold.terms(bench.n));
    unit->terms = need->terms;
}

/* Everything the unit asks for, one piece. */
static const char *drive(struct wf_unit *u, struct wf_tile *tile)
{
    struct wf_tile_result r = {0};
    const char *why = NULL;
    while (!why && (bench.step = wf_unit_step(u)) != WF_STEP_MAP) {
        uint64_t from = 0, to = bench.pattern;
        while (wf_unit_wants(u, 0, &from, &to)) {
            tile->from = from;
            tile->to = to;
            wf_unit_add(u, &onlooker, 0, tile, &r);
            from = to;
            to = bench.pattern;
        }
        why = wf_unit_advance(u);
    }
    tile->from = 0;
    tile->to = bench.pattern;
    if (!why)
        wf_unit_map(u, &onlooker, 0, tile, &r);
    return why;
}

static void run_method(void)
{
    struct wf_need need;
    struct wf_unit_need unit_need;
    const void *in[INPUTS];
    uint8_t in_dtype[INPUTS];
    const char *why = prepare();
    size_up(&need, &unit_need);
    struct wf_unit *u = wf_unit_create(&bench.e, &unit_need);
    bench.scratch = wf_map_pages(&bench.e, wf_scratch_bytes(&need), "the CPU's working memory");
    if (!u || !bench.scratch)
        fail(bench.method->name);
    for (uint32_t i = 0; i < bench.n; i++) {
        in[i] = bench.host[i];
        in_dtype[i] = WF_BF16;
    }
    struct wf_tile tile = {.method = bench.method,
                           .args = &bench.args,
                           .in = in,
                           .in_dtype = in_dtype,
                           .n = bench.n,
                           .cast = WF_DTYPE_NONE,
                           .count = bench.pattern,
                           .total = bench.pattern,
                           .rows = {ROW, 1},
                           .draw_key = DRAW_KEY,
                           .out = bench.expected,
                           .out_dtype = WF_BF16,
                           .scratch = bench.scratch};
    if (!why) {
        wf_unit_begin(u, &(struct wf_unit_group){.method = bench.method,
                                                 .args = &bench.args,
                                                 .scope = WF_SCOPE_TENSOR,
                                                 .count = bench.pattern,
                                                 .tensor = bench.pattern,
                                                 .columns = ROW,
                                                 .pieces = 1});
        why = drive(u, &tile);
    }
    if (why)
        printf("%-18s %2" PRIu32 "  left out: %s\n", bench.method->name, bench.n, why);
    wf_unmap_pages(bench.scratch, wf_scratch_bytes(&need));
    wf_unit_destroy(u);
}

/* ---- set-up ---- */

/* A base of normal size, and fine-tunes that differ from it little: in bf16 most differences share
 * a few exponents, and many are zero. */
static void make_pattern(void)
{
    uint64_t state = 0x2545f4914f6cdd1du;
    for (uint64_t k = 0; k < bench.pattern; k++)
        for (uint32_t i = 0; i < INPUTS; i++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            double noise = (double)(int64_t)(state * 0x9e3779b97f4a7c15u) * 0x1p-63;
            double base = i ? (double)wf_bf16_to_f32(bench.host[0][k]) : 0;
            bench.host[i][k] = wf_f64_to_bf16(base + noise * (i ? 0x1p-10 : 0x1p-5));
        }
}

static void set_up(void)
{
    uint64_t bytes = 2 * bench.pattern;
    for (uint32_t i = 0; i < INPUTS; i++)
        if (!(bench.host[i] = wf_alloc(&bench.e, WF_MEM_META, bench.pattern, 2, "a pattern")))
            fail("set-up");
    bench.expected = wf_alloc(&bench.e, WF_MEM_META, bench.pattern, 2, "results");
    bench.got = wf_alloc(&bench.e, WF_MEM_META, bench.pattern, 2, "results");
    if (!bench.expected || !bench.got ||
        bench.p->open_lane(&bench.fault, bench.device, &bench.lane))
        fail("set-up");
    make_pattern();
    for (uint32_t i = 0; i < INPUTS; i++) {
        if (bench.p->allocate(&bench.fault, bench.device, 2 * bench.count, &bench.in[i]))
            fail("memory for the inputs");
        put(bench.in[i], bench.host[i], bytes);
        for (uint64_t at = bench.pattern; at < bench.count; at += bench.pattern)
            if (bench.p->copy(&bench.fault, bench.lane, (char *)bench.in[i] + 2 * at, bench.in[i],
                              bytes))
                fail("a copy");
    }
    wait_for_lane();
}

/* The yardstick: a tensor copied to another by the device itself. */
static void measure_copy(void)
{
    uint64_t start = 0;
    void *to = device_memory(OUT, 2 * bench.count);
    for (uint32_t k = 0; k <= bench.rounds; k++) {
        if (bench.p->copy(&bench.fault, bench.lane, to, bench.in[0], 2 * bench.count))
            fail("a copy");
        if (k == 0) {
            wait_for_lane();
            start = wf_now_ns();
        }
    }
    wait_for_lane();
    double seconds = (double)wf_max_u64(wf_now_ns() - start, 1) * 1e-9;
    bench.copy_rate = 4.0 * (double)bench.count * bench.rounds / seconds;
}

static void tear_down(struct wf_devices *devices)
{
    for (unsigned k = 0; k < BUFFERS; k++)
        bench.p->release(bench.device, bench.buffers[k].p);
    for (uint32_t i = 0; i < INPUTS; i++) {
        bench.p->release(bench.device, bench.in[i]);
        wf_free(bench.host[i]);
    }
    bench.p->close_lane(bench.lane);
    wf_free(bench.expected);
    wf_free(bench.got);
    wf_devices_close(devices);
}

static void run_all(const char *only)
{
    static const uint32_t counts[] = {1, 2, 3, 5, 8};
    printf("%-18s %2s  %-24s %12s %10s %9s %7s %6s\n", "method", "n", "launch", "elements", "ms",
           "GB/s", "of copy", "#wrong");
    for (size_t m = 0; m < wf_method_count(); m++) {
        bench.method = wf_method_at(m);
        if (bench.method->adapters || (only && strcmp(only, bench.method->name)))
            continue;
        uint32_t base = bench.method->base == WF_BASE_REQUIRED;
        for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
            bench.n = counts[k];
            if (bench.n < bench.method->min_models + base ||
                bench.n > (uint64_t)bench.method->max_models + base ||
                (bench.n == 1 && bench.method->max_models > 1))
                continue;
            run_method();
        }
    }
}

int main(int argc, char **argv)
{
    const char *only = NULL;
    uint64_t bytes = (uint64_t)1 << 30, rounds = 20;
    struct wf_devices *devices;
    struct wf_plugin_device about;
    char why[256];
    for (int k = 1; k < argc; k += 2) {
        const char *value = k + 1 < argc ? argv[k + 1] : "";
        if (!strcmp(argv[k], "--method") && wf_method_find(value))
            only = value;
        else if ((strcmp(argv[k], "--bytes") || weft_parse_size(value, &bytes)) &&
                 (strcmp(argv[k], "--rounds") || weft_parse_size(value, &rounds))) {
            fputs("usage: bench_method [--bytes SIZE] [--rounds N] [--method NAME]\n", stderr);
            return 2;
        }
    }
    bench.rounds = (uint32_t)(rounds ? rounds : 1);
    /* Whole patterns, and whole rows in them. */
    bench.pattern = wf_max_u64(wf_min_u64(PATTERN, bytes / 2) / ROW, 1) * ROW;
    bench.count = wf_max_u64(bytes / 2 / bench.pattern, 1) * bench.pattern;
    if (wf_devices_open(&bench.e, &(struct wf_device_options){.required = true}, &devices, why))
        fail("no device");
    bench.p = wf_devices_plugin(devices);
    bench.device = wf_devices_index(devices, 0);
    if (bench.p->describe(&bench.fault, bench.device, &about))
        fail("device");
    set_up();
    measure_copy();
    printf("%s, %s: tensors of %" PRIu64
           " bytes in bf16; a copy moves %.1f GB/s (read + written)\n",
           about.name, bench.p->name, 2 * bench.count, bench.copy_rate * 1e-9);
    run_all(only);
    printf("%" PRIu64 " wrong\n", bench.wrong);
    tear_down(devices);
    return bench.wrong != 0;
}
