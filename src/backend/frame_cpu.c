/* frame_cpu.c - the CPU frame: one walk over elements, and what is done with them.
 *
 * A tile is walked in blocks that stay in the first-level cache:
 *
 *     inputs (bf16, f16, f32, f64)  --load-->  x[n][block] in wf_real
 *     random words, ranks of rows   -------->  x[n..3n][block]
 *         map:           result[block]  --store-->  out
 *         fold, columns: terms[terms][block] in double  -->  sums
 *         count:         keys[block]  -->  how many below, inside
 *
 *   frame_convert.h  loads and stores
 *   frame_element.h  element functions as loops over a block
 *   frame_walk.h     the walk: which elements, in what runs, with which numbers
 *   frame_rank.h     ranks of a row
 *   frame_list.h     the keys inside a bracket
 *   frame_rows.h     stages of row scope, columns
 *   frame_ops.h      the four operations
 *   frame_product.h  low-rank products, before all that: inputs that are more than stored bytes
 *
 * They depend on wf_real and are included for float and for double. Loads and stores note
 * non-finite bits as they pass; only when there are some does a second, slow look find out where.
 * This file is compiled once per instruction set (WF_ISA); no flag here may change a bit
 * (docs/NUMERICS.md).
 */
#include <string.h>

#include "frame.h"
#include "scratch.h"
#include "frame_sum.h"
#include "frame_draw.h"
#include "../../kernels/dialect.h"
#include "../../kernels/dtype_conv.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

/* Unaligned views: a tensor starts at any byte of a file. */
typedef uint16_t u16_any __attribute__((aligned(1), may_alias));
typedef uint32_t u32_any __attribute__((aligned(1), may_alias));
typedef uint64_t u64_any __attribute__((aligned(1), may_alias));

/* Elements at, at + step, ... of the tensor: what is loaded at a time. */
struct run {
    uint64_t at, step;
    size_t count;
};

static size_t dtype_bytes(unsigned d)
{
    return d == WF_F64 ? 8 : d == WF_F32 ? 4 : 2;
}

/* Numbers of inputs for which element loops are written out; builds with sanitizers, which take
 * long to compile, have fewer. No result depends on it. */
#ifndef WF_UNROLLED
#define WF_UNROLLED 8
#endif

#define WF_ELEMENTS

#define wf_real float
#define WF_NAME(x) x##_f32
#define REAL_FROM_BF16(h) wf_bf16_to_f32(h)
#define REAL_FROM_F16(h) wf_f16_to_f32(h)
#define REAL_TO_BF16(x) wf_f32_to_bf16(x)
#define REAL_TO_F16(x) wf_f32_to_f16(x)
#define REAL_BITS(x) wf_f32_bits(x)
#define REAL_UNROLLED WF_UNROLLED
#define KEY_TYPE int32_t
#define KEY_MAX INT32_MAX
#define LIST_VECTOR list_vector
#define KEY_LOWEST_BIT(k) __builtin_ctz(k)
#define KEY_LENGTH(k) (32 - __builtin_clz(k))
#include "frame_cpu_real.h"
#undef wf_real
#undef WF_NAME
#undef REAL_FROM_BF16
#undef REAL_FROM_F16
#undef REAL_TO_BF16
#undef REAL_TO_F16
#undef REAL_BITS
#undef REAL_UNROLLED
#undef KEY_TYPE
#undef KEY_MAX
#undef LIST_VECTOR
#undef KEY_LOWEST_BIT
#undef KEY_LENGTH

#define wf_real double
#define WF_NAME(x) x##_f64
#define REAL_FROM_BF16(h) ((double)wf_bf16_to_f32(h))
#define REAL_FROM_F16(h) ((double)wf_f16_to_f32(h))
#define REAL_TO_BF16(x) wf_f64_to_bf16(x)
#define REAL_TO_F16(x) wf_f64_to_f16(x)
#define REAL_BITS(x) wf_f64_bits(x)
#define REAL_UNROLLED (WF_UNROLLED / 2) /* F64 is rare; less to compile */
#define KEY_TYPE int64_t
#define KEY_MAX INT64_MAX
#define LIST_VECTOR list_vector_wide
#define KEY_LOWEST_BIT(k) __builtin_ctzll(k)
#define KEY_LENGTH(k) (64 - __builtin_clzll(k))
#include "frame_cpu_real.h"

static void map(const struct wf_tile *t, struct wf_tile_result *r)
{
    t->wide ? map_f64(t, r) : map_f32(t, r);
}

static void fold(const struct wf_tile *t, unsigned stage,
                 void (*leaf)(void *arg, uint64_t leaf, const double *terms), void *arg,
                 struct wf_tile_result *r)
{
    t->wide ? fold_f64(t, stage, leaf, arg, r) : fold_f32(t, stage, leaf, arg, r);
}

static void fold_columns(const struct wf_tile *t, unsigned stage, double *sums,
                         struct wf_tile_result *r)
{
    t->wide ? fold_columns_f64(t, stage, sums, r) : fold_columns_f32(t, stage, sums, r);
}

static void count(const struct wf_tile *t, unsigned stage, struct wf_count *c,
                  struct wf_tile_result *r)
{
    t->wide ? count_f64(t, stage, c, r) : count_f32(t, stage, c, r);
}

static void widen(enum wf_dtype dtype, const void *stored, uint64_t count, bool wide, void *values)
{
    wide ? load_f64(dtype, stored, count, values) : load_f32(dtype, stored, count, values);
}

static void add_product(const struct wf_product *p, uint64_t from, uint64_t to, bool wide,
                        void *values)
{
    wide ? add_product_f64(p, from, to, values) : add_product_f32(p, from, to, values);
}

const struct wf_backend PASTE(wf_frame_, WF_ISA) = {
    .name = "cpu",
    .widen = widen,
    .add_product = add_product,
    .map = map,
    .fold = fold,
    .fold_columns = fold_columns,
    .count = count,
};
