/* dtype.h - element types of the safetensors format: one table instead of switches. */
#ifndef WF_DTYPE_H
#define WF_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order in which the reference writer ranks them (larger first in a file). */
enum wf_dtype {
    WF_BOOL,
    WF_F4,
    WF_F6_E2M3,
    WF_F6_E3M2,
    WF_U8,
    WF_I8,
    WF_F8_E5M2,
    WF_F8_E4M3,
    WF_F8_E8M0,
    WF_F8_E4M3FNUZ,
    WF_F8_E5M2FNUZ,
    WF_I16,
    WF_U16,
    WF_F16,
    WF_BF16,
    WF_I32,
    WF_U32,
    WF_F32,
    WF_C64,
    WF_F64,
    WF_I64,
    WF_U64,
    WF_DTYPES,
    WF_DTYPE_NONE = 255
};

struct wf_dtype_info {
    const char *name;       /* as the header spells it: "BF16" */
    const char *torch_name; /* as config.json spells it: "bfloat16"; NULL if none */
    uint8_t bits;           /* per element */
    bool arithmetic;        /* F64 F32 F16 BF16: weft computes with it */
};

const struct wf_dtype_info *wf_dtype_info(enum wf_dtype d);

/* By header name, exact case; WF_DTYPE_NONE if unknown. */
enum wf_dtype wf_dtype_by_name(const char *name, size_t n);

/* By recipe name: float32, float16, bfloat16, float64, with or without "torch."; the header
 * names of those four in any case as well (bf16, fp16 -> F16, fp32 -> F32). Arithmetic types only.
 */
enum wf_dtype wf_dtype_by_torch_name(const char *name);

/* count * bits / 8; false when it overflows or is not whole bytes. */
bool wf_dtype_bytes(enum wf_dtype d, uint64_t count, uint64_t *bytes);

#endif
