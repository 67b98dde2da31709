/* test_kernels.cpp - every element function's kernels, run by the emulator, against the CPU
 * backend: the same bytes, nothing written beside them, nothing read beyond the inputs.
 *
 * Cases are made up from a counter: function, number of inputs and size are gone through, types,
 * addresses, windows and numbers are drawn. "small" keeps to sizes that a thread of the system for
 * each CUDA thread can bear. EMU_ORDER is the order of threads (emu_fibers.h).
 */
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

extern "C" {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* C names functions like structs */
#include "../../src/backend/backend.h"
#include "../../src/backend/scratch.h"
#include "../../kernels/methods.h"
#pragma GCC diagnostic pop
}
#include "../../kernels/work_scratch.h"

extern "C" int wf_frame_launch(const struct wf_work *work, void *stream);

namespace
{
/* ---- results and chance ---- */

unsigned passed, failed;
bool small_sizes;

void check(bool good, const std::string &what)
{
    passed += good;
    failed += !good;
    if (!good && failed <= 20)
        std::printf("FAIL  %s\n", what.c_str());
}

uint64_t chance_state;

uint64_t chance(uint64_t below)
{
    chance_state = chance_state * 6364136223846793005u + 1442695040888963407u;
    uint64_t x = chance_state ^ chance_state >> 29;
    return (x * 0xbf58476d1ce4e5b9u >> 24) % below;
}

double between(double low, double high)
{
    return low + (high - low) * (double)chance(1u << 24) / (1u << 24);
}

/* ---- elements in memory ---- */

size_t width_of(unsigned d)
{
    return d == WF_F64 ? 8 : d == WF_F32 ? 4 : 2;
}

void put(unsigned d, unsigned char *at, double v)
{
    uint16_t h = d == WF_BF16 ? wf_f64_to_bf16(v) : wf_f64_to_f16(v);
    float f = (float)v;
    std::memcpy(at, d == WF_F64 ? (void *)&v : d == WF_F32 ? (void *)&f : (void *)&h, width_of(d));
}

double get(unsigned d, const unsigned char *at)
{
    double v;
    float f;
    uint16_t h;
    std::memcpy(d == WF_F64 ? (void *)&v : d == WF_F32 ? (void *)&f : (void *)&h, at, width_of(d));
    return d == WF_F64    ? v
           : d == WF_F32  ? (double)f
           : d == WF_BF16 ? (double)wf_bf16_to_f32(h)
                          : (double)wf_f16_to_f32(h);
}

/* Bytes at a chosen offset from an address that malloc gives, no byte more behind them: what is
 * read or written beyond, the address sanitizer sees; what is written, so does the destructor. */
struct bytes {
    std::vector<unsigned char> all;
    size_t begin, length;

    explicit bytes(size_t n = 0, size_t offset = 0)
        : all(32 + offset + n, 0x5a), begin(32), length(n)
    {
        begin += offset;
    }
    unsigned char *at()
    {
        return all.data() + begin;
    }
    bool whole() const
    {
        return std::all_of(all.begin(), all.begin() + (long)begin,
                           [](unsigned char c) { return c == 0x5a; });
    }
};

/* Aligned as device memory is. */
struct area {
    std::vector<uint64_t> words;
    explicit area(uint64_t n) : words((size_t)(n + 71) / 8)
    {
    }
    unsigned char *at()
    {
        uintptr_t p = (uintptr_t)words.data();
        return (unsigned char *)((p + 63) / 64 * 64);
    }
};

/* ---- a tensor, as the CPU and as the device see it ---- */

struct tensor {
    uint32_t n;
    std::vector<uint8_t> dtype;
    std::vector<bytes> memory;
    std::vector<const void *> in;
    uint64_t total;
    struct wf_rows rows;
    bool wide, equal;
    unsigned cast;
    double g[WF_ARGS_GLOBAL];
    std::vector<double> m; /* [n][WF_ARGS_MODEL] */
    std::vector<double> table;
    uint64_t draw_key;
    bool draws;
    uint64_t from, to;
};

const unsigned dtypes[] = {WF_BF16, WF_F16, WF_F32, WF_F64};

std::string about(const tensor &t, const char *what)
{
    std::string s = what;
    s += " n " + std::to_string(t.n) + " total " + std::to_string(t.total) + " from " +
         std::to_string(t.from) + " to " + std::to_string(t.to) + " types";
    for (uint8_t d : t.dtype)
        s += d == WF_BF16 ? " bf16" : d == WF_F16 ? " f16" : d == WF_F32 ? " f32" : " f64";
    return s + (t.draws ? " draws" : "") + (t.cast != WF_DTYPE_NONE ? " cast" : "");
}

/* Values that often differ little from input 0, or not at all. */
void fill(tensor *t)
{
    for (uint32_t i = 0; i < t->n; i++) {
        size_t width = width_of(t->dtype[i]);
        t->memory.emplace_back(t->total * width, chance(3) ? chance(4) * 4 : chance(18));
        for (uint64_t e = 0; e < t->total; e++) {
            double base = i ? get(t->dtype[0], t->memory[0].at() + e * width_of(t->dtype[0]))
                            : between(-1, 1);
            double step = (double)(int)chance(9) - 4;
            put(t->dtype[i], t->memory[i].at() + e * width, i ? base + step * 0x1p-9 : base);
        }
    }
    for (uint32_t i = 0; i < t->n; i++)
        t->in.push_back(t->memory[i].at());
}

tensor make(uint32_t n, uint64_t total)
{
    tensor t;
    unsigned kind = (unsigned)chance(8); /* most are of one type, as most are */
    t.n = n;
    t.total = total;
    t.rows = {total, 1};
    t.equal = kind < 7;
    t.wide = false;
    for (uint32_t i = 0; i < n; i++) {
        unsigned d = dtypes[t.equal ? (kind < 3 ? 0 : kind - 3) : chance(4)];
        t.dtype.push_back((uint8_t)d);
        t.wide |= d == WF_F64;
    }
    t.cast = chance(6) ? (unsigned)WF_DTYPE_NONE : dtypes[chance(3)];
    for (double &g : t.g)
        g = chance(3) ? between(-0.5, 2) : (double)chance(2);
    for (uint32_t k = 0; k < n * WF_ARGS_MODEL; k++)
        t.m.push_back(chance(4) ? between(-0.02, 1) : (double)chance(2));
    t.draw_key = chance(1u << 30) << 32 | chance(1u << 30);
    t.draws = false;
    t.from = total && chance(2) ? chance(total) : 0;
    t.to = chance(2) ? total : t.from + chance(total - t.from + 1);
    fill(&t);
    return t;
}

/* Functions that look at numbers of pairs of inputs. */
void give_table(tensor *t, const char *name)
{
    if (!std::strstr(name, "products") && !std::strstr(name, "mass"))
        return;
    for (uint32_t k = 0; k < (3 * t->n * (t->n - 1) / 2 + 1) / 2 * 2; k++)
        t->table.push_back(chance(4) ? between(-0.5, 2) : (double)chance(2));
}

/* A method of one or two stages, and a tile of it. */
struct cpu {
    struct wf_stage stages[2];
    struct wf_method method;
    struct wf_args args;
    std::vector<double> m;
    area scratch;
    struct wf_tile tile;
    struct wf_tile_result result;

    cpu(tensor &t, uint64_t bytes)
        : stages(), method(), args(), m(t.m), scratch(bytes), tile(), result()
    {
        std::copy(t.g, t.g + WF_ARGS_GLOBAL, args.g);
        args.m = (double(*)[WF_ARGS_MODEL])m.data();
        args.n = t.n;
        args.t = t.table.data();
        args.n_t = (uint32_t)t.table.size();
        method.name = "made up";
        method.stages = stages;
        method.n_stages = 1;
        method.base = WF_BASE_REQUIRED;
        method.draws = t.draws;
        stages[0].kind = WF_STAGE_MAP;
        tile.method = &method;
        tile.args = &args;
        tile.in = t.in.data();
        tile.in_dtype = t.dtype.data();
        tile.n = t.n;
        tile.cast = (uint8_t)t.cast;
        tile.wide = t.wide;
        tile.count = tile.total = t.total;
        tile.from = t.from;
        tile.to = t.to;
        tile.rows = t.rows;
        tile.draw_key = t.draw_key;
        tile.scratch = scratch.at();
    }
    cpu(const cpu &) = delete;
};

uint64_t cpu_bytes(const tensor &t, uint32_t terms, bool ranked)
{
    struct wf_need need = {};
    need.inputs = t.n;
    need.terms = terms;
    need.ranked = t.n - 1;
    need.table = (uint32_t)t.table.size();
    need.rank_row = ranked ? t.rows.length * t.rows.stride : 0;
    return wf_scratch_bytes(&need);
}

/* What a launch needs besides: views, scratch. */
struct device {
    struct wf_work w;
    std::vector<double> views_f64;
    std::vector<float> views_f32;
    std::vector<uint64_t> begins;
    std::vector<unsigned char> scratch;
    uint32_t bad;

    device(const tensor &t, enum wf_work_kind kind, unsigned function) : w(), bad(0)
    {
        w.kind = (uint8_t)kind;
        w.function = (uint8_t)function;
        w.wide = t.wide;
        w.cast = (uint8_t)t.cast;
        w.draws = t.draws;
        w.draws_from = 1;
        w.n = t.n;
        w.from = t.from;
        w.to = t.to;
        w.total = t.total;
        w.row_length = t.rows.length;
        w.row_stride = t.rows.stride;
        w.draw_key = t.draw_key;
        if (t.n > WF_WORK_INPUTS) {
            w.in_many = t.in.data();
            w.in_dtype_many = t.dtype.data();
        } else {
            std::copy(t.in.begin(), t.in.end(), w.in);
            std::copy(t.dtype.begin(), t.dtype.end(), w.in_dtype);
        }
        w.bad = &bad;
        w.table = (uint32_t)t.table.size();
        w.plain = t.table.empty() && t.equal && !t.wide && t.n <= WF_WORK_INPUTS &&
                  t.cast == WF_DTYPE_NONE && chance(8) != 0;
        for (int k = 0; k < WF_ARGS_GLOBAL; k++)
            w.g[k] = (float)t.g[k];
        for (uint32_t i = 0; i < t.n && i < WF_WORK_INPUTS; i++)
            for (uint32_t k = 0; k < WF_ARGS_MODEL; k++)
                w.m[i][k] = (float)t.m[i * WF_ARGS_MODEL + k];
        if (!w.plain)
            add_view(t);
    }
    device(const device &) = delete;

    /* One more row of the table. */
    void add_view(const tensor &t)
    {
        views_f64.insert(views_f64.end(), t.g, t.g + WF_ARGS_GLOBAL);
        views_f64.insert(views_f64.end(), t.m.begin(), t.m.end());
        views_f64.insert(views_f64.end(), t.table.begin(), t.table.end());
        w.plain = 0;
        w.n_views++;
    }

    int launch()
    {
        if (w.n_views) {
            views_f32.assign(views_f64.begin(), views_f64.end());
            w.views = w.wide ? (const void *)views_f64.data() : (const void *)views_f32.data();
            w.begins = begins.data();
        }
        uint64_t least = wf_work_scratch(&w);
        scratch.resize((size_t)(least * (1 + chance(3)) + 64));
        w.scratch = (void *)(((uintptr_t)scratch.data() + 63) / 64 * 64);
        w.scratch_bytes = scratch.size() - 63;
        return wf_frame_launch(&w, nullptr);
    }
};

std::vector<uint64_t> sizes()
{
    if (small_sizes)
        return {1, 33, 130};
    return {0, 1, 31, 32, 33, 255, 4095, 4096, 4097, 9001};
}

std::vector<uint32_t> models()
{
    return small_sizes ? std::vector<uint32_t>{1, 2, 9}
                       : std::vector<uint32_t>{1, 2, 3, 4, 5, 6, 7, 8, 9, 17};
}

/* ---- MAP ---- */

#define NAME(name, ...) #name,
const char *const map_names[] = {WF_MAP_LIST(NAME)};
const char *const fold_names[] = {WF_FOLD_LIST(NAME)};
const char *const key_names[] = {WF_KEY_LIST(NAME)};

bool says(const char *name, const char *part)
{
    return std::strstr(name, part) != nullptr;
}

bool takes(const char *name, uint32_t n)
{
    bool two = says(name, "arcee") || says(name, "nearswap");
    bool one = says(name, "linear") || says(name, "passthrough") || says(name, "combine_map") ||
               std::strcmp(name, "gram_fold") == 0;
    return two ? n == 2 : one || n >= 2;
}

void compare_map(tensor &t, device &d, cpu &c, const char *name)
{
    unsigned out = dtypes[chance(4)];
    size_t length = (size_t)(t.to - t.from) * width_of(out);
    bytes expected(length, chance(18)), found(length, chance(2) ? 0 : chance(18));
    c.tile.out_dtype = d.w.out_dtype = (uint8_t)out;
    c.tile.out = expected.at();
    d.w.out = found.at();
    wf_backend_cpu()->map(&c.tile, &c.result);
    check(d.launch() == 0, about(t, name) + ": refused");
    check(!std::memcmp(expected.at(), found.at(), length), about(t, name) + ": other bytes");
    check(found.whole(), about(t, name) + ": wrote beside its output");
    c.tile.check = true;
    wf_backend_cpu()->map(&c.tile, &c.result);
    check((c.result.verdict != WF_TILE_OK) == (d.bad != 0), about(t, name) + ": other verdict");
}

/* Functions that see ranks. */
bool sees_ranks(const char *name)
{
    return says(name, "_rank_") || says(name, "_row_");
}

void spoil(tensor &t)
{
    const double values[] = {NAN, INFINITY, -INFINITY, 1e300, 3e38, 7e4, 1e-310, 6e-8, -0.0};
    for (uint64_t k = 0; k < 1 + t.total / 500 && t.total; k++) {
        uint32_t i = (uint32_t)chance(t.n);
        uint64_t e = chance(t.total);
        put(t.dtype[i], t.memory[i].at() + e * width_of(t.dtype[i]), values[chance(9)]);
    }
}

void test_map(uint32_t f)
{
    for (uint32_t n : models())
        for (uint64_t total : sizes()) {
            if (!takes(map_names[f], n) || sees_ranks(map_names[f]))
                continue;
            tensor t = make(n, total);
            give_table(&t, map_names[f]);
            t.draws = says(map_names[f], "draw");
            if (!chance(4))
                spoil(t);
            cpu c(t, cpu_bytes(t, 0, false));
            device d(t, WF_WORK_MAP, f);
            c.args.map = (uint8_t)f;
            compare_map(t, d, c, map_names[f]);
        }
}

/* Numbers that change at elements: splits on the CPU, a table of stretches here. */
void test_stretches(uint32_t f)
{
    for (uint32_t n : {2u, 3u, 9u}) {
        tensor t = make(n, small_sizes ? 40 : 3000);
        give_table(&t, map_names[f]);
        cpu c(t, cpu_bytes(t, 0, false));
        device d(t, WF_WORK_MAP, f);
        std::vector<struct wf_split> splits;
        d.views_f64.clear();
        d.w.n_views = 0;
        d.w.rule = WF_VIEW_STRETCH;
        d.begins.push_back(0);
        tensor now = t;
        d.add_view(now);
        for (uint64_t at = 1 + chance(9); at < t.total; at += 1 + chance(t.total / 3)) {
            int32_t input = (int32_t)chance(n + 1) - 1;
            uint8_t slot = (uint8_t)chance(8);
            double value = between(0, 1);
            splits.push_back({at, value, input, slot});
            (input < 0 ? now.g[slot] : now.m[(size_t)input * WF_ARGS_MODEL + slot]) = value;
            d.begins.push_back(at);
            d.add_view(now);
        }
        c.args.map = (uint8_t)f;
        c.tile.splits = splits.data();
        c.tile.n_splits = splits.size();
        compare_map(t, d, c, map_names[f]);
    }
}

/* Numbers by column are those of a stretch for each element. */
void test_columns_view(uint32_t f)
{
    tensor t = make(3, 210);
    give_table(&t, map_names[f]);
    t.rows = {7, 30};
    size_t length = (size_t)(t.to - t.from) * 4;
    bytes expected(length), found(length);
    device a(t, WF_WORK_MAP, f), b(t, WF_WORK_MAP, f);
    std::vector<tensor> of;
    for (device *d : {&a, &b}) {
        d->views_f64.clear();
        d->w.n_views = 0;
        d->w.out_dtype = WF_F32;
        d->w.out = (d == &a ? expected : found).at();
    }
    for (int column = 0; column < 30; column++) {
        of.push_back(t);
        of.back().g[chance(8)] = between(0, 1);
        of.back().m[WF_ARGS_MODEL + chance(8)] = between(0, 1);
        b.add_view(of.back());
    }
    for (uint64_t e = 0; e < t.total; e++) {
        a.begins.push_back(e);
        a.add_view(of[e % 30]);
    }
    a.w.rule = WF_VIEW_STRETCH;
    b.w.rule = WF_VIEW_COLUMN;
    check(a.launch() == 0 && b.launch() == 0, about(t, "columns' views") + ": refused");
    check(!std::memcmp(expected.at(), found.at(), length), about(t, "columns' views"));
}

/* ---- RANK, and MAP that sees ranks ---- */

/* A RANK stage before what `c` and `d` do; the device's ranks. */
struct ranks_before {
    area ranks;
    device keys;

    ranks_before(tensor &t, cpu &c, device &d, enum wf_ties ties)
        : ranks((t.total + 4) * (t.n - 1) * 8), keys(t, WF_WORK_RANK, WF_ID_delta_key)
    {
        uint64_t slab = t.rows.length * t.rows.stride;
        c.stages[1] = c.stages[0];
        c.stages[0] = {};
        c.stages[0].kind = WF_STAGE_RANK;
        c.stages[0].function = WF_ID_delta_key;
        c.method.n_stages = 2;
        c.tile.local = 1;
        c.args.ties = (uint8_t)ties;
        keys.w.from = t.from / slab * slab;
        keys.w.to = (t.to + slab - 1) / slab * slab;
        keys.w.ties = (uint8_t)ties;
        keys.w.ranks = d.w.ranks = ranks.at();
        keys.w.rank_first = d.w.rank_first = keys.w.from;
        keys.w.rank_stride = d.w.rank_stride = t.total + chance(5);
        d.views_f64.clear();
        d.w.n_views = 0;
        d.add_view(t);
        check(keys.launch() == 0, about(t, "rows") + ": refused");
    }
};

void test_ranks(uint32_t f, uint32_t n, struct wf_rows rows, enum wf_ties ties)
{
    tensor t = make(n, rows.length * rows.stride * (1 + chance(3)));
    t.rows = rows;
    t.draws = says(map_names[f], "_rank_");
    cpu c(t, cpu_bytes(t, 0, true));
    device d(t, WF_WORK_MAP, f);
    ranks_before before(t, c, d, ties);
    c.args.map = (uint8_t)f;
    compare_map(t, d, c, map_names[f]);
}

void test_rows()
{
    const struct wf_rows shapes[] = {{1, 1},   {2, 1},  {31, 1},   {33, 3},   {300, 1},
                                     {64, 40}, {1, 70}, {1024, 1}, {1025, 1}, {2100, 2}};
    for (const struct wf_rows &rows : shapes) {
        if (small_sizes && rows.length * rows.stride > 150)
            continue;
        for (unsigned ties = 0; ties < 3; ties++)
            for (uint32_t n : {2u, 4u, 9u}) {
                test_ranks(WF_ID_delta_rank_map, n, rows, (enum wf_ties)ties);
                test_ranks(WF_ID_delta_row_ties_map, n, rows, (enum wf_ties)ties);
            }
    }
}

/* ---- FOLD ---- */

uint32_t terms_of(uint32_t f, uint32_t inputs)
{
    const int n = (int)inputs;
#define COUNT(name, count) (uint32_t)(count),
    const uint32_t counts[] = {WF_FOLD_LIST(COUNT)};
    return counts[f];
}

bool all_maxima(const char *name)
{
    return says(name, "largest") || says(name, "_range_");
}

uint32_t terms_now; /* of the function under test: wf_fold.terms has no room for more */

struct leaves {
    std::vector<double> values;
    uint64_t first;
    static void add(void *arg, uint64_t leaf, const double *terms)
    {
        leaves *l = (leaves *)arg;
        l->values.resize((size_t)(leaf - l->first + 1) * terms_now);
        std::copy(terms, terms + terms_now,
                  l->values.begin() + (long)((leaf - l->first) * terms_now));
    }
};

void set_fold(cpu &c, uint32_t f, uint32_t maxima)
{
    c.stages[0].kind = WF_STAGE_FOLD;
    c.stages[0].function = (uint8_t)f;
    c.stages[0].fold.maxima = maxima;
    c.stages[0].fold.terms = [](uint32_t) { return terms_now; };
}

bool same(const double *a, const double *b, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (std::memcmp(a + k, b + k, sizeof *a) && !(a[k] != a[k] && b[k] != b[k]))
            return false;
    return true;
}

void test_fold(uint32_t f)
{
    for (uint32_t n : models())
        for (uint64_t total : sizes()) {
            if (!takes(fold_names[f], n) || !total)
                continue;
            tensor t = make(n, total);
            give_table(&t, fold_names[f]);
            bool ranked = sees_ranks(fold_names[f]);
            t.draws = says(fold_names[f], "draw") || says(fold_names[f], "_rank_");
            t.from = 0;
            t.to = total;
            terms_now = terms_of(f, n);
            uint32_t maxima = all_maxima(fold_names[f]) ? terms_now : 0;
            cpu c(t, cpu_bytes(t, terms_now, ranked));
            device d(t, WF_WORK_FOLD, f);
            set_fold(c, f, maxima);
            std::unique_ptr<ranks_before> before(
                ranked ? new ranks_before(t, c, d, WF_TIES_LOW_IS_LOW) : nullptr);
            leaves expected = {{}, 0};
            wf_backend_cpu()->fold(&c.tile, ranked, leaves::add, &expected, &c.result);
            std::vector<double> found(expected.values.size() + 1, 4.25);
            d.w.fold_length = t.total;
            d.w.fold_step = 1;
            d.w.leaf_to = (total + 4095) / 4096;
            d.w.values = found.data();
            d.w.terms = terms_now;
            d.w.maxima = maxima;
            check(d.launch() == 0, about(t, fold_names[f]) + ": refused");
            check(same(expected.values.data(), found.data(), expected.values.size()),
                  about(t, fold_names[f]) + ": other values");
            check(found.back() == 4.25, about(t, fold_names[f]) + ": wrote beside its values");
        }
}

/* Groups that are rows, side by side or interleaved, against the same rows as tensors. */
void test_fold_rows(uint32_t f, uint32_t n, struct wf_rows rows)
{
    tensor t = make(n, rows.length * rows.stride * 2);
    give_table(&t, fold_names[f]);
    t.rows = rows;
    uint64_t leaves_each = (rows.length + 4095) / 4096, groups = 2 * rows.stride;
    terms_now = terms_of(f, n);
    uint32_t maxima = all_maxima(fold_names[f]) ? terms_now : 0;
    std::vector<double> found(groups * leaves_each * terms_now);
    device d(t, WF_WORK_FOLD, f);
    d.w.fold_length = rows.length;
    d.w.fold_step = rows.stride;
    d.w.leaf_from = chance(leaves_each * groups);
    d.w.leaf_to = leaves_each * groups;
    d.w.values = found.data();
    d.w.terms = terms_now;
    d.w.maxima = maxima;
    check(d.launch() == 0, about(t, "rows' leaves") + ": refused");
    leaves all = {{}, 0};
    for (uint64_t group = 0; group < groups; group++) {
        tensor row = t;
        uint64_t begin = group / rows.stride * rows.length * rows.stride + group % rows.stride;
        row.total = row.to = rows.length;
        row.from = 0;
        for (uint32_t i = 0; i < n; i++) {
            size_t width = width_of(t.dtype[i]);
            row.memory[i] = bytes(rows.length * width, 1);
            for (uint64_t e = 0; e < rows.length; e++)
                std::memcpy(row.memory[i].at() + e * width,
                            t.memory[i].at() + (begin + e * rows.stride) * width, width);
            row.in[i] = row.memory[i].at();
        }
        cpu c(row, cpu_bytes(row, terms_now, false));
        set_fold(c, f, maxima);
        leaves one = {{}, 0};
        wf_backend_cpu()->fold(&c.tile, 0, leaves::add, &one, &c.result);
        all.values.insert(all.values.end(), one.values.begin(), one.values.end());
    }
    size_t skipped = (size_t)d.w.leaf_from * terms_now;
    check(same(all.values.data() + skipped, found.data(), all.values.size() - skipped),
          about(t, "rows' leaves") + ": other values");
}

void test_sum_columns(uint32_t f)
{
    for (uint32_t n : models()) {
        if (!takes(fold_names[f], n) || sees_ranks(fold_names[f]))
            continue;
        uint64_t columns = 1 + chance(small_sizes ? 9 : 300), rows = 1 + chance(40);
        tensor t = make(n, columns * rows);
        give_table(&t, fold_names[f]);
        t.rows = {rows, columns};
        t.draws = says(fold_names[f], "draw");
        terms_now = terms_of(f, n);
        uint32_t maxima = all_maxima(fold_names[f]) ? terms_now : 0;
        cpu c(t, cpu_bytes(t, terms_now, false));
        device d(t, WF_WORK_COLUMNS, f);
        set_fold(c, f, maxima);
        std::vector<double> expected(columns * terms_now, 0.5), found(columns * terms_now, 0.5);
        wf_backend_cpu()->fold_columns(&c.tile, 0, expected.data(), &c.result);
        d.w.sums = found.data();
        d.w.terms = terms_now;
        d.w.maxima = maxima;
        check(d.launch() == 0, about(t, fold_names[f]) + ": columns refused");
        check(same(expected.data(), found.data(), found.size()),
              about(t, fold_names[f]) + ": other columns");
    }
}

/* ---- COUNT ---- */

struct listing {
    std::vector<std::vector<uint64_t>> keys; /* by bracket */
    static void found(void *arg, unsigned bracket, const uint64_t *keys, size_t n)
    {
        std::vector<uint64_t> &to = ((listing *)arg)->keys[bracket];
        to.insert(to.end(), keys, keys + n);
    }
};

uint64_t key_bits(bool wide, double v)
{
    float f = (float)v;
    return wide ? wf_f64_bits(v) : wf_f32_bits(f);
}

std::vector<struct wf_bracket> make_brackets(const tensor &t, size_t n)
{
    std::vector<struct wf_bracket> brackets;
    for (size_t k = 0; k < n; k++) {
        double low = between(0, 0.012), high = low + between(-0.001, 0.01);
        struct wf_bracket b = {key_bits(t.wide, low), high < 0 ? 0 : key_bits(t.wide, high), 0, 0,
                               chance(2) != 0};
        if (!chance(8))
            b.low = UINT64_MAX; /* above every key */
        if (!chance(8))
            b = {0, UINT64_MAX, 0, 0, true};
        brackets.push_back(b);
    }
    return brackets;
}

void compare_lists(const tensor &t, device &d, const listing &expected, const char *name)
{
    for (size_t b = 0; b < expected.keys.size(); b++) {
        std::vector<uint64_t> want = expected.keys[b], got;
        uint64_t listed = d.w.counts[b].listed, capacity = d.w.list_capacity;
        check(listed == want.size(), about(t, name) + ": other number of listed keys");
        for (uint64_t k = 0; k < listed && k < capacity; k++)
            got.push_back(t.wide ? ((uint64_t *)d.w.lists)[b * capacity + k]
                                 : ((uint32_t *)d.w.lists)[b * capacity + k]);
        std::sort(want.begin(), want.end());
        std::sort(got.begin(), got.end());
        check(std::includes(want.begin(), want.end(), got.begin(), got.end()) &&
                  (listed > capacity || got == want),
              about(t, name) + ": other keys");
    }
}

void test_count(uint32_t f, uint32_t n, uint64_t total)
{
    tensor t = make(n, total);
    give_table(&t, key_names[f]);
    bool per_model = f == WF_ID_delta_key ? chance(2) != 0 : WF_KEY_PER_MODEL(f);
    unsigned streams = per_model ? n - 1 : 1, ranks = 1 + (unsigned)chance(WF_WORK_RANKS);
    size_t all = streams * ranks;
    cpu c(t, cpu_bytes(t, 0, false));
    c.stages[0].kind = WF_STAGE_SELECT;
    c.stages[0].function = (uint8_t)f;
    c.stages[0].select.per_model = per_model;
    std::vector<struct wf_bracket> brackets = make_brackets(t, all);
    std::vector<struct wf_work_bracket> given;
    for (const struct wf_bracket &b : brackets)
        given.push_back({b.low, b.high, b.list});
    std::vector<uint64_t> zeros(streams);
    listing list = {std::vector<std::vector<uint64_t>>(all)};
    struct wf_count count = {brackets.data(), zeros.data(), streams, ranks, listing::found, &list};
    wf_backend_cpu()->count(&c.tile, 0, &count, &c.result);

    device d(t, WF_WORK_COUNT, f);
    std::vector<struct wf_work_counts> counts(all);
    uint64_t capacity = chance(3) ? total : total / 3;
    area keys(capacity * all * 8);
    d.w.brackets = given.data();
    d.w.counts = counts.data();
    d.w.streams = streams;
    d.w.ranks_n = ranks;
    d.w.per_model = per_model;
    d.w.lists = keys.at();
    d.w.list_capacity = capacity;
    check(d.launch() == 0, about(t, key_names[f]) + ": refused");
    bool equal = true;
    for (size_t b = 0; b < all; b++)
        equal &= counts[b].below == brackets[b].below && counts[b].inside == brackets[b].inside &&
                 counts[b].zeros == (b % ranks ? 0 : zeros[b / ranks]);
    check(equal, about(t, key_names[f]) + ": other counts");
    compare_lists(t, d, list, key_names[f]);
}

/* ---- what no kernel can do ---- */

void test_refusals()
{
    tensor t = make(2, 64);
    device d(t, WF_WORK_MAP, WF_ID_linear_map);
    bytes out(64 * 8);
    d.w.out = out.at();
    d.w.out_dtype = WF_F32;
    const struct wf_work good = d.w;
    auto refuses = [&](const char *what) {
        check(d.launch() != 0, std::string("launched ") + what);
        d.w = good;
    };
    d.w.kind = WF_WORK_KINDS;
    refuses("a kind that is none");
    d.w.function = WF_MAP_IDS;
    refuses("a function that is none");
    d.w.n = 0;
    refuses("without inputs");
    d.w.in_dtype[1] = WF_I32;
    refuses("integers");
    d.w.out = nullptr;
    refuses("without room for results");
    d.w.from = d.w.to + 1;
    refuses("a range backwards");
    check(d.launch() == 0, "refused what is right");
}

void test_all()
{
    for (uint32_t f = 0; f < WF_MAP_IDS; f++) {
        test_map(f);
        if (!says(map_names[f], "arcee") && !says(map_names[f], "nearswap") &&
            !says(map_names[f], "draw") && !sees_ranks(map_names[f]))
            test_stretches(f);
    }
    for (int round = 0; round < 4; round++)
        test_columns_view(WF_ID_combine_map);
    test_rows();
    for (uint32_t f = 0; f < WF_FOLD_IDS; f++) {
        test_fold(f);
        test_sum_columns(f);
    }
    for (uint32_t n : {2u, 9u})
        for (struct wf_rows rows : {wf_rows{5, 1}, wf_rows{33, 7}, wf_rows{4100, 3}}) {
            if (small_sizes && rows.length > 100)
                continue;
            test_fold_rows(WF_ID_gram_fold, n, rows);
            if (n == 2)
                test_fold_rows(WF_ID_arcee_largest_fold, n, rows);
        }
    for (uint32_t f = 0; f < WF_KEY_IDS; f++)
        for (uint32_t n : models())
            for (uint64_t total : sizes())
                if (takes(key_names[f], n))
                    test_count(f, n, total);
    test_refusals();
}
} // namespace

int main(int argc, char **argv)
{
    unsigned rounds = 1;
    for (int k = 1; k < argc; k++) {
        if (!std::strcmp(argv[k], "small"))
            small_sizes = true;
        else
            rounds = (unsigned)std::strtoul(argv[k], nullptr, 10);
    }
    for (unsigned round = 0; round < rounds; round++) {
        chance_state = round * 1000003u + 1;
        test_all();
    }
    std::printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
