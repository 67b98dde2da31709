/* device_fixture.h - a backend for tests that gives every tile to the CPU and to a device, and
 * fails when they differ.
 *
 * The plugin is the one that WEFT_CUDA_PLUGIN names: the fake one, or that of real GPUs. A tile's
 * inputs are copied to a slot, which is pinned, at addresses that are anyhow aligned.
 */
#ifndef WF_DEVICE_FIXTURE_H
#define WF_DEVICE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/backend/device.h"
#include "../../src/base/mem.h"
#include "fake_plugin.h"

#define DF_GUARD 64
#define DF_LANES 4u
#define DF_LEAST 100u /* percent of the memory that is needed */
#define DF_ROOMY 300u

/* A run: devices, lanes, and slots, one for each lane at least. */
struct df {
    struct wf_devices *devices;
    struct wf_lanes *lanes;
    struct wf_device_need need;
    char *pages;
    uint64_t pages_bytes, slot_bytes;
    uint64_t key;
};

static struct df df; /* of the test at hand */
static uint32_t df_slots = DF_LANES;
static uint64_t df_state = 0x2545f4914f6cdd1du;

static inline uint64_t df_random(uint64_t below)
{
    df_state ^= df_state << 13;
    df_state ^= df_state >> 7;
    df_state ^= df_state << 17;
    return df_state * 0x9e3779b97f4a7c15u % below;
}

/* NULL if the plugin is not the fake one. It stays open, as it does for weft. */
static inline wf_fake_state_fn *df_fake_symbol(void)
{
    const char *path = getenv("WEFT_CUDA_PLUGIN");
    void *file = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    wf_fake_state_fn *get = NULL;
    if (file)
        *(void **)&get = dlsym(file, WF_FAKE_SYMBOL);
    return get;
}

/* Zeros for a plugin that is not the fake one. */
static inline struct wf_fake_state df_fake(void)
{
    wf_fake_state_fn *get = df_fake_symbol();
    return get ? get() : (struct wf_fake_state){0};
}

/* The least memory with which the need can be laid out. */
static inline uint64_t df_least_memory(const struct wf_device_need *need)
{
    uint64_t low = 0, high = (uint64_t)1 << 40;
    while (high - low > 1) {
        struct wf_err e = {0};
        struct wf_device_layout layout;
        uint64_t middle = low + (high - low) / 2;
        *(wf_device_lay_out(&e, need, middle, &layout) ? &low : &high) = middle;
    }
    return high;
}

/* Opens devices with `percent` of the memory that is needed. What is missing is the caller's to
 * look at: status, and e. Everything that exists is in df. */
static inline int df_try(struct wf_err *e, const struct wf_device_need *need, unsigned percent)
{
    struct wf_device_options options = {.required = true};
    struct wf_device_layout layout;
    char why[256];
    memset(&df, 0, sizeof df);
    df.need = *need;
    df.slot_bytes = need->input_bytes + need->output_bytes + 2 * DF_GUARD;
    df.pages_bytes = df_slots * df.slot_bytes;
    df.pages = wf_map_pages(e, df.pages_bytes, "slots");
    int status = wf_devices_open(e, &options, &df.devices, why);
    uint64_t memory = df_least_memory(need) * percent / 100;
    if (!status)
        status = wf_device_lay_out(e, need, memory, &layout);
    if (!status)
        status = wf_lanes_create(e, df.devices, need, &layout, DF_LANES, df.pages, df.pages_bytes,
                                 &df.lanes);
    return status;
}

static inline void df_end(void)
{
    wf_lanes_destroy(df.lanes);
    wf_devices_close(df.devices);
    wf_unmap_pages(df.pages, df.pages_bytes);
    struct wf_fake_state left = df_fake();
    assert_int_equal(left.memory + left.pinned + left.lanes, 0);
    assert_int_equal(left.unpinned, 0);
}

static inline void df_begin(const struct wf_device_need *need, unsigned percent)
{
    struct wf_err e = {0};
    if (df_try(&e, need, percent))
        fail_msg("%s", e.text);
}

/* ---- one tile, twice ---- */

/* The tile as a lane gets it, and its output between sentinels. */
struct df_tile {
    struct wf_tile t;
    const void *in[128];
    char *out;
    uint64_t out_bytes;
};

static inline uint64_t df_width(unsigned dtype)
{
    return wf_dtype_info((enum wf_dtype)dtype)->bits / 8u;
}

/* Any lane will do. */
static inline void df_place(const struct wf_tile *t, struct df_tile *d)
{
    uint64_t lane = df_random(DF_LANES);
    char *slot = df.pages + lane * df.slot_bytes, *begin = slot + df_random(40), *to = begin;
    d->t = *t;
    d->t.lane = wf_lane_of(df.lanes, (uint32_t)lane);
    d->t.in = d->in;
    for (uint32_t i = 0; i < t->n; i++) {
        uint64_t bytes = t->count * df_width(t->in_dtype[i]);
        to += df_random(3) ? 0 : df_random(20);
        memcpy(to, t->in[i], bytes);
        d->in[i] = to;
        to += bytes;
    }
    assert_true((uint64_t)(to - slot) <= df.need.input_bytes);
    d->out_bytes = t->out ? (t->to - t->from) * df_width(t->out_dtype) : 0;
    assert_true(d->out_bytes <= df.need.output_bytes);
    d->out = slot + df.need.input_bytes + DF_GUARD;
    memset(d->out - DF_GUARD, 0xa5, d->out_bytes + 2 * DF_GUARD);
    d->t.out = t->out ? d->out : NULL;
    wf_lane_inputs(d->t.lane, ++df.key, begin, (uint64_t)(to - begin));
}

static inline void df_same_verdict(const struct wf_tile_result *cpu, const struct wf_tile_result *r)
{
    if (cpu->verdict != r->verdict || cpu->index != r->index || cpu->input != r->input ||
        cpu->why != r->why)
        fail_msg("verdict %d, input %u, element %zu, '%s'; the CPU's: %d, %u, %zu, '%s'",
                 (int)r->verdict, r->input, (size_t)r->index, r->why ? r->why : "",
                 (int)cpu->verdict, cpu->input, (size_t)cpu->index, cpu->why ? cpu->why : "");
}

static inline void df_same_bytes(const struct wf_tile *t, const char *what, const void *cpu,
                                 const void *device, uint64_t bytes)
{
    const unsigned char *a = cpu, *b = device;
    for (uint64_t k = 0; k < bytes; k++)
        if (a[k] != b[k])
            fail_msg("%s, %u inputs, [%zu, %zu): byte %zu of %zu of %s differs: %02x, CPU %02x",
                     t->method->name, t->n, (size_t)t->from, (size_t)t->to, (size_t)k,
                     (size_t)bytes, what, b[k], a[k]);
}

/* Which NaN comes of a sum differs by machine; nothing that is stored depends on it. */
static inline void df_same_sums(const struct wf_tile *t, const char *what, double *cpu,
                                double *device, uint64_t count)
{
    for (uint64_t k = 0; k < count; k++)
        if (isnan(cpu[k]) && isnan(device[k]))
            device[k] = cpu[k];
    df_same_bytes(t, what, cpu, device, count * sizeof(double));
}

static inline void df_map(const struct wf_tile *t, struct wf_tile_result *r)
{
    struct df_tile d;
    struct wf_tile_result on_device = {WF_TILE_REFUSED, 77, 77, NULL};
    df_place(t, &d);
    wf_backend_cpu()->map(t, r);
    wf_backend_device()->map(&d.t, &on_device);
    df_same_verdict(r, &on_device);
    if (r->verdict != WF_TILE_OK)
        return;
    df_same_bytes(t, "the result", t->out, d.out, d.out_bytes);
    for (uint64_t k = 0; k < DF_GUARD; k++)
        if ((unsigned char)d.out[d.out_bytes + k] != 0xa5 ||
            (unsigned char)d.out[-1 - (int64_t)k] != 0xa5)
            fail_msg("%s: byte %zu around the result was written", t->method->name, (size_t)k);
}

struct df_leaves {
    uint64_t first, n;
    uint32_t terms;
    double *values; /* NAN where none came */
};

static inline void df_keep_leaf(void *arg, uint64_t leaf, const double *terms)
{
    struct df_leaves *l = arg;
    assert_true(leaf == l->first + l->n);
    memcpy(l->values + l->n++ * l->terms, terms, l->terms * sizeof *terms);
}

static inline void df_fold(const struct wf_tile *t, unsigned stage,
                           void (*leaf)(void *arg, uint64_t leaf, const double *terms), void *arg,
                           struct wf_tile_result *r)
{
    struct df_tile d;
    uint32_t terms = t->method->stages[stage].fold.terms(t->n);
    uint64_t first = (t->from + WF_FOLD_BLOCK - 1) / WF_FOLD_BLOCK;
    size_t most = (size_t)((t->to - t->from) / WF_FOLD_BLOCK + 2) * terms;
    struct df_leaves cpu = {first, 0, terms, test_malloc(most * sizeof(double))};
    struct df_leaves device = {first, 0, terms, test_malloc(most * sizeof(double))};
    struct wf_tile_result on_device = {WF_TILE_REFUSED, 77, 77, NULL};
    df_place(t, &d);
    wf_backend_cpu()->fold(t, stage, df_keep_leaf, &cpu, r);
    wf_backend_device()->fold(&d.t, stage, df_keep_leaf, &device, &on_device);
    df_same_verdict(r, &on_device);
    if (r->verdict == WF_TILE_OK) {
        assert_int_equal(cpu.n, device.n);
        df_same_sums(t, "leaves", cpu.values, device.values, cpu.n * terms);
    }
    for (uint64_t k = 0; k < cpu.n; k++)
        leaf(arg, first + k, cpu.values + k * terms);
    test_free(cpu.values);
    test_free(device.values);
}

static inline void df_fold_columns(const struct wf_tile *t, unsigned stage, double *sums,
                                   struct wf_tile_result *r)
{
    struct df_tile d;
    uint64_t bytes = t->rows.stride * t->method->stages[stage].fold.terms(t->n) * sizeof(double);
    double *device = test_malloc(bytes + 1);
    struct wf_tile_result on_device = {WF_TILE_REFUSED, 77, 77, NULL};
    memcpy(device, sums, bytes);
    df_place(t, &d);
    wf_backend_cpu()->fold_columns(t, stage, sums, r);
    wf_backend_device()->fold_columns(&d.t, stage, device, &on_device);
    df_same_verdict(r, &on_device);
    if (r->verdict == WF_TILE_OK)
        df_same_sums(t, "sums of columns", sums, device, bytes / sizeof *sums);
    test_free(device);
}

/* ---- SELECT ---- */

#define DF_BRACKETS 128

struct df_keys {
    uint64_t *key[DF_BRACKETS];
    size_t n[DF_BRACKETS], most;
};

static inline void df_keep_keys(void *arg, unsigned bracket, const uint64_t *keys, size_t n)
{
    struct df_keys *k = arg;
    assert_true(bracket < DF_BRACKETS && n <= 512 && k->n[bracket] + n <= k->most);
    if (!k->key[bracket])
        k->key[bracket] = test_malloc(k->most * sizeof *keys);
    memcpy(k->key[bracket] + k->n[bracket], keys, n * sizeof *keys);
    k->n[bracket] += n;
}

static inline int df_by_key(const void *a, const void *b)
{
    uint64_t i = *(const uint64_t *)a, j = *(const uint64_t *)b;
    return (i > j) - (i < j);
}

/* Keys come in no order. */
static inline void df_same_keys(const struct wf_tile *t, struct df_keys *cpu,
                                struct df_keys *device)
{
    for (unsigned b = 0; b < DF_BRACKETS; b++) {
        if (cpu->n[b] != device->n[b])
            fail_msg("bracket %u: %zu keys, the CPU has %zu", b, device->n[b], cpu->n[b]);
        if (!cpu->n[b])
            continue;
        uint64_t bytes = cpu->n[b] * sizeof(uint64_t), *sorted = test_malloc(bytes);
        memcpy(sorted, cpu->key[b], bytes);
        qsort(sorted, cpu->n[b], sizeof *sorted, df_by_key);
        qsort(device->key[b], device->n[b], sizeof *sorted, df_by_key);
        df_same_bytes(t, "listed keys", sorted, device->key[b], bytes);
        test_free(sorted);
    }
}

static inline void df_free_keys(struct df_keys *k)
{
    for (unsigned b = 0; b < DF_BRACKETS; b++)
        if (k->key[b])
            test_free(k->key[b]);
}

/* Both have the same sums before, whatever they are. */
static inline void df_count(const struct wf_tile *t, unsigned stage, struct wf_count *c,
                            struct wf_tile_result *r)
{
    struct df_tile d;
    struct wf_bracket brackets[DF_BRACKETS];
    uint64_t zeros[DF_BRACKETS];
    struct df_keys cpu = {.most = (size_t)(t->to - t->from)}, device = cpu;
    struct wf_count first = *c, second = *c;
    struct wf_tile_result on_device = {WF_TILE_REFUSED, 77, 77, NULL};
    unsigned n = c->streams * c->ranks;
    assert_true(n <= DF_BRACKETS);
    memcpy(brackets, c->brackets, n * sizeof *brackets);
    memcpy(zeros, c->zeros, c->streams * sizeof *zeros);
    first.found = second.found = c->found ? df_keep_keys : NULL;
    first.arg = &cpu;
    second.arg = &device;
    second.brackets = brackets;
    second.zeros = zeros;
    df_place(t, &d);
    wf_backend_cpu()->count(t, stage, &first, r);
    wf_backend_device()->count(&d.t, stage, &second, &on_device);
    df_same_verdict(r, &on_device);
    if (r->verdict == WF_TILE_OK) {
        for (unsigned b = 0; b < n; b++)
            assert_true(brackets[b].below == c->brackets[b].below &&
                        brackets[b].inside == c->brackets[b].inside);
        df_same_bytes(t, "zeros", c->zeros, zeros, c->streams * sizeof *zeros);
        df_same_keys(t, &cpu, &device);
    }
    for (unsigned b = 0; b < n; b++)
        for (size_t at = 0; at < cpu.n[b]; at += 512)
            c->found(c->arg, b, cpu.key[b] + at, cpu.n[b] - at < 512 ? cpu.n[b] - at : 512);
    df_free_keys(&cpu);
    df_free_keys(&device);
}

static const struct wf_backend df_both = {.name = "both",
                                          .map = df_map,
                                          .fold = df_fold,
                                          .fold_columns = df_fold_columns,
                                          .count = df_count};

#endif
