/* frame_cpu_real.h - the half of the CPU frame that depends on wf_real; see frame_cpu.c. Included
 * twice, so it has no guard.
 */

/* What element functions see of struct wf_args, in wf_real. */
struct WF_NAME(wf_view) {
    wf_real g[WF_ARGS_GLOBAL];
    const wf_real (*m)[WF_ARGS_MODEL];
};

#include "../../kernels/methods.h"

/* Loads: `count` elements of a type into wf_real; returns nonzero if any is NaN or infinite. The
 * largest magnitude, as an integer, tells: one instruction per vector. */

static unsigned WF_NAME(load_bf16)(const void *in, size_t count, wf_real *restrict to)
{
    const u16_any *from = in;
    uint16_t top = 0;
    for (size_t e = 0; e < count; e++) {
        uint16_t h = from[e];
        uint16_t magnitude = h & 0x7fffu;
        top = magnitude > top ? magnitude : top;
        to[e] = REAL_FROM_BF16(h);
    }
    return top >= BF16_EXPONENT;
}

static unsigned WF_NAME(load_f16)(const void *in, size_t count, wf_real *restrict to)
{
    const u16_any *from = in;
    uint16_t top = 0;
    for (size_t e = 0; e < count; e++) {
        uint16_t h = from[e];
        uint16_t magnitude = h & 0x7fffu;
        top = magnitude > top ? magnitude : top;
        to[e] = REAL_FROM_F16(h);
    }
    return top >= F16_EXPONENT;
}

static unsigned WF_NAME(load_f32)(const void *in, size_t count, wf_real *restrict to)
{
    const u32_any *from = in;
    uint32_t top = 0;
    for (size_t e = 0; e < count; e++) {
        uint32_t u = from[e];
        uint32_t magnitude = u & 0x7fffffffu;
        top = magnitude > top ? magnitude : top;
        to[e] = (wf_real)wf_f32_from_bits(u);
    }
    return top >= F32_EXPONENT;
}

static unsigned WF_NAME(load_f64)(const void *in, size_t count, wf_real *restrict to)
{
    const u64_any *from = in;
    uint64_t top = 0;
    for (size_t e = 0; e < count; e++) {
        uint64_t u = from[e];
        uint64_t magnitude = u & 0x7fffffffffffffffu;
        top = magnitude > top ? magnitude : top;
        to[e] = (wf_real)wf_f64_from_bits(u);
    }
    return top >= F64_EXPONENT;
}

static unsigned WF_NAME(load)(enum wf_dtype d, const void *in, size_t count, wf_real *restrict to)
{
    switch (d) {
    case WF_BF16:
        return WF_NAME(load_bf16)(in, count, to);
    case WF_F16:
        return WF_NAME(load_f16)(in, count, to);
    case WF_F32:
        return WF_NAME(load_f32)(in, count, to);
    default:
        return WF_NAME(load_f64)(in, count, to);
    }
}

/* Stores: rounded once, to nearest even; a NaN becomes the canonical one. Returns nonzero if any
 * stored value is not finite. */

static unsigned WF_NAME(store_bf16)(const wf_real *restrict from, size_t count, void *out)
{
    u16_any *to = out;
    uint16_t top = 0;
    for (size_t e = 0; e < count; e++) {
        uint16_t h = REAL_TO_BF16(from[e]);
        uint16_t magnitude = h & 0x7fffu;
        top = magnitude > top ? magnitude : top;
        to[e] = h;
    }
    return top >= BF16_EXPONENT;
}

static unsigned WF_NAME(store_f16)(const wf_real *restrict from, size_t count, void *out)
{
    u16_any *to = out;
    uint16_t top = 0;
    for (size_t e = 0; e < count; e++) {
        uint16_t h = REAL_TO_F16(from[e]);
        uint16_t magnitude = h & 0x7fffu;
        top = magnitude > top ? magnitude : top;
        to[e] = h;
    }
    return top >= F16_EXPONENT;
}

static unsigned WF_NAME(store_f32)(const wf_real *restrict from, size_t count, void *out)
{
    u32_any *to = out;
    uint32_t top = 0;
    for (size_t e = 0; e < count; e++) {
        uint32_t u = wf_f32_bits((float)from[e]);
        uint32_t magnitude = u & 0x7fffffffu;
        top = magnitude > top ? magnitude : top;
        to[e] = magnitude > F32_EXPONENT ? 0x7fc00000u : u;
    }
    return top >= F32_EXPONENT;
}

static unsigned WF_NAME(store_f64)(const wf_real *restrict from, size_t count, void *out)
{
    u64_any *to = out;
    uint64_t top = 0;
    for (size_t e = 0; e < count; e++) {
        uint64_t u = wf_f64_bits((double)from[e]);
        uint64_t magnitude = u & 0x7fffffffffffffffu;
        top = magnitude > top ? magnitude : top;
        to[e] = magnitude > F64_EXPONENT ? 0x7ff8000000000000u : u;
    }
    return top >= F64_EXPONENT;
}

static unsigned WF_NAME(store)(enum wf_dtype d, const wf_real *restrict from, size_t count,
                               void *out)
{
    switch (d) {
    case WF_BF16:
        return WF_NAME(store_bf16)(from, count, out);
    case WF_F16:
        return WF_NAME(store_f16)(from, count, out);
    case WF_F32:
        return WF_NAME(store_f32)(from, count, out);
    default:
        return WF_NAME(store_f64)(from, count, out);
    }
}

/* Rounds values to a type and back: what a tool that casts inputs when it loads them computes with.
 */
static void WF_NAME(cast)(enum wf_dtype d, wf_real *x, size_t count)
{
    if (d == WF_BF16)
        for (size_t e = 0; e < count; e++)
            x[e] = REAL_FROM_BF16(REAL_TO_BF16(x[e]));
    else if (d == WF_F16)
        for (size_t e = 0; e < count; e++)
            x[e] = REAL_FROM_F16(REAL_TO_F16(x[e]));
    else if (d == WF_F32)
        for (size_t e = 0; e < count; e++)
            x[e] = (wf_real)(float)x[e];
}

/* One block of one method: scratch holds input i at scratch[i * stride]. */
typedef void WF_NAME(block_fn)(const wf_real *restrict scratch, size_t stride, int n,
                               const struct WF_NAME(wf_view) * v, uint64_t first, size_t count,
                               wf_real *restrict result);

/* The element loop with n known to the compiler, so that inputs sit in registers and the loop
 * vectorises over elements. x and rows have room for more than N, since a method that always has a
 * base and a model reads x[1] in code that is compiled for N = 1 as well and never runs. Args are
 * copied to locals: stores cannot alias them. */
#define ELEMENT_LOOP(map, N)                                                                       \
    do {                                                                                           \
        wf_real rows[UNROLLED_MAX][WF_ARGS_MODEL] = {{0}};                                         \
        memcpy(rows, v->m, (N) * sizeof *rows);                                                    \
        struct WF_NAME(wf_view) local = *v;                                                        \
        local.m = (const wf_real(*)[WF_ARGS_MODEL])rows;                                           \
        for (size_t e = 0; e < count; e++) {                                                       \
            wf_real x[UNROLLED_MAX] = {0};                                                         \
            WF_EACH_INPUT (i, 0, N)                                                                \
                x[i] = scratch[(size_t)i * stride + e];                                            \
            result[e] = WF_NAME(map)(x, N, &local, first + e);                                     \
        }                                                                                          \
    } while (0)

#define BLOCK_FUNCTION(name, map)                                                                  \
    static void WF_NAME(block_##name)(const wf_real *restrict scratch, size_t stride, int n,       \
                                      const struct WF_NAME(wf_view) * v, uint64_t first,           \
                                      size_t count, wf_real *restrict result)                      \
    {                                                                                              \
        switch (n) {                                                                               \
        case 1:                                                                                    \
            ELEMENT_LOOP(map, 1);                                                                  \
            return;                                                                                \
        case 2:                                                                                    \
            ELEMENT_LOOP(map, 2);                                                                  \
            return;                                                                                \
        case 3:                                                                                    \
            ELEMENT_LOOP(map, 3);                                                                  \
            return;                                                                                \
        case 4:                                                                                    \
            ELEMENT_LOOP(map, 4);                                                                  \
            return;                                                                                \
        case 5:                                                                                    \
            ELEMENT_LOOP(map, 5);                                                                  \
            return;                                                                                \
        case 6:                                                                                    \
            ELEMENT_LOOP(map, 6);                                                                  \
            return;                                                                                \
        case 7:                                                                                    \
            ELEMENT_LOOP(map, 7);                                                                  \
            return;                                                                                \
        case 8:                                                                                    \
            ELEMENT_LOOP(map, 8);                                                                  \
            return;                                                                                \
        }                                                                                          \
        wf_real x[WF_MODELS_MAX];                                                                  \
        for (size_t e = 0; e < count; e++) {                                                       \
            for (int i = 0; i < n; i++)                                                            \
                x[i] = scratch[(size_t)i * stride + e];                                            \
            result[e] = WF_NAME(map)(x, n, v, first + e);                                          \
        }                                                                                          \
    }
WF_METHOD_LIST(BLOCK_FUNCTION)
#undef BLOCK_FUNCTION
#undef ELEMENT_LOOP

#define TABLE_ROW(name, map) WF_NAME(block_##name),
static WF_NAME(block_fn) *const WF_NAME(blocks)[] = {WF_METHOD_LIST(TABLE_ROW)};
#undef TABLE_ROW

static size_t WF_NAME(dtype_bytes)(enum wf_dtype d)
{
    return d == WF_F64 ? 8 : d == WF_F32 ? 4 : 2;
}

static int WF_NAME(is_bad)(wf_real x)
{
    return !(x - x == 0);
}

/* Which input, which element: only after a load or store said that there is one. */
static void WF_NAME(blame)(const struct wf_tile *t, const wf_real *scratch, size_t stride,
                           uint64_t at, size_t count, struct wf_tile_result *r)
{
    for (uint32_t i = 0; i < t->n; i++)
        for (size_t e = 0; e < count; e++)
            if (WF_NAME(is_bad)(scratch[i * stride + e])) {
                *r = (struct wf_tile_result){WF_TILE_INPUT_NOT_FINITE, i, t->first + at + e};
                return;
            }
    char *out = (char *)t->out + at * WF_NAME(dtype_bytes)(t->out_dtype);
    wf_real stored[BLOCK_MAX];
    WF_NAME(load)(t->out_dtype, out, count, stored);
    size_t e = 0;
    while (e + 1 < count && !WF_NAME(is_bad)(stored[e]))
        e++;
    *r = (struct wf_tile_result){WF_TILE_OVERFLOW, 0, t->first + at + e};
}

static void WF_NAME(run)(const struct wf_tile *t, struct wf_tile_result *r)
{
    wf_real scratch[SCRATCH], result[BLOCK_MAX];
    wf_real rows[WF_MODELS_MAX][WF_ARGS_MODEL];
    struct WF_NAME(wf_view) view = {.m = (const wf_real(*)[WF_ARGS_MODEL])rows};
    for (int k = 0; k < WF_ARGS_GLOBAL; k++)
        view.g[k] = (wf_real)t->args->g[k];
    for (uint32_t i = 0; i < t->n; i++)
        for (int k = 0; k < WF_ARGS_MODEL; k++)
            rows[i][k] = (wf_real)t->args->m[i][k];

    size_t block = t->n < 9 ? BLOCK_MAX : SCRATCH / t->n;
    size_t out_bytes = WF_NAME(dtype_bytes)(t->out_dtype);
    r->verdict = WF_TILE_OK;
    for (uint64_t at = 0; at < t->count; at += block) {
        size_t count = t->count - at < block ? (size_t)(t->count - at) : block;
        unsigned bad = 0;
        for (uint32_t i = 0; i < t->n; i++) {
            const char *in = (const char *)t->in[i] + at * WF_NAME(dtype_bytes)(t->in_dtype[i]);
            bad |= WF_NAME(load)(t->in_dtype[i], in, count, scratch + i * block);
            if (t->cast != t->in_dtype[i])
                WF_NAME(cast)(t->cast, scratch + i * block, count);
        }
        WF_NAME(blocks)[t->method](scratch, block, (int)t->n, &view, t->first + at, count, result);
        bad |= WF_NAME(store)(t->out_dtype, result, count, (char *)t->out + at * out_bytes);
        if (bad && t->check) {
            WF_NAME(blame)(t, scratch, block, at, count, r);
            return;
        }
    }
}
