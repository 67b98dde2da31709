/* frame_cpu.c - the CPU frame: loads, element functions, stores.
 *
 * A tile is walked in blocks that stay in the first-level cache:
 *
 *     inputs (bf16, f16, f32, f64)  --load-->  scratch[n][block] in wf_real
 *                                              --map-->  result[block]  --store-->  out
 *
 * Loads and stores note non-finite bits as they pass; only when there are some does a second, slow
 * look find out where. The type-dependent half is in frame_cpu_real.h, included for float and for
 * double. This file is compiled once per instruction set (WF_ISA); no flag here may change a
 * bit (docs/NUMERICS.md).
 */
#include <string.h>

#include "frame.h"
#include "../../kernels/dialect.h"
#include "../../kernels/dtype_conv.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)

#define BLOCK_MAX 1024          /* elements */
#define SCRATCH (9 * BLOCK_MAX) /* values in a block's scratch, all inputs together */
#define UNROLLED_MAX 8          /* inputs for which the element loop is specialised */

/* Unaligned views: a tensor starts at any byte of a file. */
typedef uint16_t u16_any __attribute__((aligned(1), may_alias));
typedef uint32_t u32_any __attribute__((aligned(1), may_alias));
typedef uint64_t u64_any __attribute__((aligned(1), may_alias));

#define F16_EXPONENT 0x7c00u
#define BF16_EXPONENT 0x7f80u
#define F32_EXPONENT 0x7f800000u
#define F64_EXPONENT 0x7ff0000000000000u

#define WF_ELEMENTS

#define wf_real float
#define WF_NAME(x) x##_f32
#define REAL_FROM_BF16(h) wf_bf16_to_f32(h)
#define REAL_FROM_F16(h) wf_f16_to_f32(h)
#define REAL_TO_BF16(x) wf_f32_to_bf16(x)
#define REAL_TO_F16(x) wf_f32_to_f16(x)
#include "frame_cpu_real.h"
#undef wf_real
#undef WF_NAME
#undef REAL_FROM_BF16
#undef REAL_FROM_F16
#undef REAL_TO_BF16
#undef REAL_TO_F16

#define wf_real double
#define WF_NAME(x) x##_f64
#define REAL_FROM_BF16(h) ((double)wf_bf16_to_f32(h))
#define REAL_FROM_F16(h) ((double)wf_f16_to_f32(h))
#define REAL_TO_BF16(x) wf_f64_to_bf16(x)
#define REAL_TO_F16(x) wf_f64_to_f16(x)
#include "frame_cpu_real.h"

void PASTE(wf_frame_, WF_ISA)(const struct wf_tile *tile, struct wf_tile_result *result)
{
    if (tile->wide)
        run_f64(tile, result);
    else
        run_f32(tile, result);
}
