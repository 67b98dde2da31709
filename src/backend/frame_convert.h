/* frame_convert.h - stored types to wf_real and back, for the CPU frame. Included twice, so it has
 * no guard.
 */

#ifndef BF16_EXPONENT
#define F16_EXPONENT 0x7c00u
#define BF16_EXPONENT 0x7f80u
#define F32_EXPONENT 0x7f800000u
#define F64_EXPONENT 0x7ff0000000000000u
#endif

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
 * Returns nonzero if any does not fit. */
static unsigned WF_NAME(cast)(enum wf_dtype d, wf_real *x, size_t count)
{
    unsigned bad = 0;
    if (d == WF_BF16)
        for (size_t e = 0; e < count; e++)
            x[e] = REAL_FROM_BF16(REAL_TO_BF16(x[e]));
    else if (d == WF_F16)
        for (size_t e = 0; e < count; e++)
            x[e] = REAL_FROM_F16(REAL_TO_F16(x[e]));
    else if (d == WF_F32)
        for (size_t e = 0; e < count; e++)
            x[e] = (wf_real)(float)x[e];
    else
        return 0;
    for (size_t e = 0; e < count; e++)
        bad |= !(x[e] - x[e] == 0);
    return bad;
}
