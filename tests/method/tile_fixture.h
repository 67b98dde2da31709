/* tile_fixture.h - tiles for tests of methods and frames: guarded, unaligned buffers, and every
 * frame that this CPU can run.
 */
#ifndef WF_TILE_FIXTURE_H
#define WF_TILE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <cmocka.h>

#if defined(__x86_64__) && !defined(WF_HAVE_X86_ISAS)
#define WF_HAVE_X86_ISAS
#endif
#include "../../kernels/dtype_conv.h"
#include "../../src/backend/frame.h"
#include "../../src/backend/scratch.h"

#define TF_INPUTS_MAX 101
#define TF_GUARD 64
#define TF_GUARD_BYTE 0xa5

static const enum wf_dtype tf_dtypes[] = {WF_F64, WF_F32, WF_F16, WF_BF16};

struct tf_frame {
    const char *name;
    const struct wf_backend *run;
};

/* LONG=1 asks for every combination; the quick run says LONG=0. */
static inline bool tf_long(void)
{
    const char *text = getenv("LONG");
    return text && !strcmp(text, "1");
}

/* The frames of this build that this CPU has, the plain one first. */
static inline size_t tf_frames(struct tf_frame out[3])
{
    size_t n = 0;
    out[n++] = (struct tf_frame){"base", &wf_frame_base};
#ifdef WF_HAVE_X86_ISAS
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
        __builtin_cpu_supports("fma"))
        out[n++] = (struct tf_frame){"v3", &wf_frame_v3};
    if (n == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        out[n++] = (struct tf_frame){"v4", &wf_frame_v4};
#endif
    return n;
}

static uint64_t tf_state = 0x2545f4914f6cdd1du;

static inline uint64_t tf_random(void)
{
    tf_state ^= tf_state << 13;
    tf_state ^= tf_state >> 7;
    tf_state ^= tf_state << 17;
    return tf_state * 0x9e3779b97f4a7c15u;
}

static inline double tf_uniform(double low, double high)
{
    return low + (high - low) * (double)(tf_random() >> 11) * 0x1p-53;
}

static inline size_t tf_width(enum wf_dtype d)
{
    return wf_dtype_info(d)->bits / 8u;
}

static inline void tf_put(enum wf_dtype d, void *buffer, size_t e, double v)
{
    char *at = (char *)buffer + e * tf_width(d);
    uint16_t h = d == WF_BF16 ? wf_f64_to_bf16(v) : wf_f64_to_f16(v);
    float f = (float)v;
    memcpy(at, d == WF_F64 ? (void *)&v : d == WF_F32 ? (void *)&f : (void *)&h, tf_width(d));
}

static inline double tf_get(enum wf_dtype d, const void *buffer, size_t e)
{
    const char *at = (const char *)buffer + e * tf_width(d);
    double v = 0;
    float f = 0;
    uint16_t h = 0;
    memcpy(&v, at, d == WF_F64 ? 8 : 0);
    memcpy(&f, at, d == WF_F32 ? 4 : 0);
    memcpy(&h, at, tf_width(d) == 2 ? 2 : 0);
    return d == WF_F64   ? v
           : d == WF_F32 ? (double)f
           : d == WF_F16 ? (double)wf_f16_to_f32(h)
                         : (double)wf_bf16_to_f32(h);
}

/* Random bits that are a finite number of the type: every exponent, subnormals and both zeros. */
static inline void tf_put_pattern(enum wf_dtype d, void *buffer, size_t e)
{
    uint64_t bits;
    char *at = (char *)buffer + e * tf_width(d);
    do {
        bits = tf_random();
        memcpy(at, &bits, tf_width(d));
    } while (!isfinite(tf_get(d, buffer, e)));
    if (tf_random() % 16 == 0) { /* subnormals and zeros are rare among random bits */
        bits &= d == WF_F64   ? 0x800fffffffffffffu
                : d == WF_F32 ? 0x807fffffu
                : d == WF_F16 ? 0x83ffu
                              : 0x807fu;
        if (tf_random() % 4 == 0)
            bits &= d == WF_F64 ? 0x8000000000000000u : d == WF_F32 ? 0x80000000u : 0x8000u;
        memcpy(at, &bits, tf_width(d));
    }
}

/* A method with its numbers, and its inputs. */
struct tf_case {
    const struct wf_method *method;
    struct wf_args args;
    double rows[TF_INPUTS_MAX][WF_ARGS_MODEL];
    uint32_t n;
    uint8_t in_dtype[TF_INPUTS_MAX];
    enum wf_dtype out_dtype;
    bool wide, check;
    size_t count;
    uint64_t first;
    char *memory[TF_INPUTS_MAX];
    const void *in[TF_INPUTS_MAX];
};

/* Starts a case; `weights` has one number for each input (the base's is not looked at) and goes to
 * the method's first option, which is per model; other options are set by name afterwards. */
static inline void tf_begin(struct tf_case *c, const char *method, uint32_t n)
{
    memset(c, 0, sizeof *c);
    c->method = wf_method_find(method);
    assert_non_null(c->method);
    c->n = n;
    c->check = true;
}

/* Resolves the options; NULL, or the method's reason to refuse. */
static inline const char *tf_prepare(struct tf_case *c, const double *weights, bool normalize,
                                     double lambda)
{
    double global[16] = {0}, options[TF_INPUTS_MAX][16];
    const double *rows[TF_INPUTS_MAX];
    int at;
    assert_true(c->method->n_options <= 16);
    for (size_t o = 0; o < c->method->n_options; o++) {
        global[o] = c->method->options[o].fallback;
        for (uint32_t i = 0; i < c->n; i++)
            options[i][o] = global[o];
    }
    for (uint32_t i = 0; i < c->n; i++) {
        options[i][0] = weights[i];
        rows[i] = options[i];
    }
    if ((at = wf_method_option(c->method, "normalize")) >= 0)
        global[at] = normalize;
    if ((at = wf_method_option(c->method, "lambda")) >= 0)
        global[at] = lambda;
    c->args = (struct wf_args){.m = c->rows, .n = c->n, .map = c->method->map};
    wf_method_scopes(c->method, c->args.scope);
    struct wf_settings s = {.global = global, .model = rows, .n = c->n};
    return c->method->prepare(&s, &c->args);
}

/* Gives every input memory for `count` elements that starts at an odd address. */
static inline void tf_inputs(struct tf_case *c, const enum wf_dtype *dtypes, size_t n_dtypes,
                             size_t count)
{
    c->count = count;
    c->wide = false;
    for (uint32_t i = 0; i < c->n; i++) {
        c->in_dtype[i] = (uint8_t)dtypes[i % n_dtypes];
        c->wide |= c->in_dtype[i] == WF_F64;
        /* exactly as large as the data, so that a sanitizer sees every byte too far */
        size_t lead = 1 + 2 * (i % 4);
        c->memory[i] = test_malloc(lead + count * tf_width(c->in_dtype[i]));
        c->in[i] = c->memory[i] + lead;
    }
}

static inline void tf_end(struct tf_case *c)
{
    for (uint32_t i = 0; i < c->n; i++)
        test_free(c->memory[i]);
}

/* Working memory for a tile, exactly as large as promised. Freed with test_free(*memory). */
static inline void *tf_scratch(const struct wf_need *need, char **memory)
{
    size_t bytes = (size_t)wf_scratch_bytes(need);
    *memory = test_malloc(bytes + 64);
    memset(*memory, 0xee, bytes + 64);
    return *memory + (64 - (uintptr_t)*memory % 64) % 64;
}

/* Maps elements [from, to) of the case into `out`, which stands for element `from`. */
static inline struct wf_tile_result tf_run(const struct tf_case *c, const struct wf_backend *frame,
                                           size_t from, size_t to, void *out)
{
    char *memory;
    struct wf_tile tile = {.method = c->method,
                           .args = &c->args,
                           .in = c->in,
                           .in_dtype = c->in_dtype,
                           .n = c->n,
                           .cast = WF_DTYPE_NONE,
                           .wide = c->wide,
                           .check = c->check,
                           .first = c->first,
                           .count = c->count,
                           .from = c->first + from,
                           .to = c->first + to,
                           .total = c->first + c->count,
                           .rows = {c->first + c->count, 1},
                           .out = out,
                           .out_dtype = (uint8_t)c->out_dtype,
                           .scratch = tf_scratch(&(struct wf_need){.inputs = c->n}, &memory)};
    struct wf_tile_result r = {WF_TILE_REFUSED, 77, 77, NULL};
    frame->map(&tile, &r);
    test_free(memory);
    return r;
}

/* Runs the whole case with guards around the output; returns the output, freed by the caller with
 * test_free(result - TF_GUARD - 1). */
static inline char *tf_whole(const struct tf_case *c, const struct wf_backend *frame,
                             struct wf_tile_result *r)
{
    size_t bytes = c->count * tf_width(c->out_dtype), all = bytes + 2 * TF_GUARD + 1;
    unsigned char *memory = test_malloc(all);
    memset(memory, TF_GUARD_BYTE, all);
    char *out = (char *)memory + TF_GUARD + 1; /* odd on purpose */
    *r = tf_run(c, frame, 0, c->count, out);
    for (size_t i = 0; i < all; i++)
        if ((i < TF_GUARD + 1 || i >= TF_GUARD + 1 + bytes) && memory[i] != TF_GUARD_BYTE)
            fail_msg("byte %td around an output of %zu was written", (ptrdiff_t)i - TF_GUARD - 1,
                     bytes);
    return out;
}

static inline void tf_free(char *out)
{
    test_free(out - TF_GUARD - 1);
}

#endif
