/* dtype.c - the table of element types. */
#include "dtype.h"

#include <string.h>
#include <strings.h>

#include "../base/num.h"
#include "../base/str.h"

/* Bits, ranks (the order) and spellings of the safetensors format; F6 has no PyTorch type. */
static const struct wf_dtype_info table[WF_DTYPES] = {
    [WF_BOOL] = {"BOOL", "bool", 8, false},
    [WF_F4] = {"F4", "float4_e2m1fn_x2", 4, false},
    [WF_F6_E2M3] = {"F6_E2M3", NULL, 6, false},
    [WF_F6_E3M2] = {"F6_E3M2", NULL, 6, false},
    [WF_U8] = {"U8", "uint8", 8, false},
    [WF_I8] = {"I8", "int8", 8, false},
    [WF_F8_E5M2] = {"F8_E5M2", "float8_e5m2", 8, false},
    [WF_F8_E4M3] = {"F8_E4M3", "float8_e4m3fn", 8, false},
    [WF_F8_E8M0] = {"F8_E8M0", "float8_e8m0fnu", 8, false},
    [WF_F8_E4M3FNUZ] = {"F8_E4M3FNUZ", "float8_e4m3fnuz", 8, false},
    [WF_F8_E5M2FNUZ] = {"F8_E5M2FNUZ", "float8_e5m2fnuz", 8, false},
    [WF_I16] = {"I16", "int16", 16, false},
    [WF_U16] = {"U16", "uint16", 16, false},
    [WF_F16] = {"F16", "float16", 16, true},
    [WF_BF16] = {"BF16", "bfloat16", 16, true},
    [WF_I32] = {"I32", "int32", 32, false},
    [WF_U32] = {"U32", "uint32", 32, false},
    [WF_F32] = {"F32", "float32", 32, true},
    [WF_C64] = {"C64", "complex64", 64, false},
    [WF_F64] = {"F64", "float64", 64, true},
    [WF_I64] = {"I64", "int64", 64, false},
    [WF_U64] = {"U64", "uint64", 64, false},
};

const struct wf_dtype_info *wf_dtype_info(enum wf_dtype d)
{
    return &table[d];
}

enum wf_dtype wf_dtype_by_name(const char *name, size_t n)
{
    for (int d = 0; d < WF_DTYPES; d++)
        if (n && table[d].name[0] == name[0] && !strncmp(table[d].name, name, n) &&
            table[d].name[n] == 0)
            return (enum wf_dtype)d;
    return WF_DTYPE_NONE;
}

enum wf_dtype wf_dtype_by_torch_name(const char *name)
{
    /* "F32" is what a header says, "fp32" what people say. */
    static const struct {
        const char *alias;
        enum wf_dtype dtype;
    } aliases[] = {{"fp64", WF_F64}, {"fp32", WF_F32}, {"fp16", WF_F16}};

    if (wf_starts_with(name, "torch."))
        name += strlen("torch.");
    for (int d = 0; d < WF_DTYPES; d++)
        if (table[d].arithmetic &&
            (!strcmp(name, table[d].torch_name) || !strcasecmp(name, table[d].name)))
            return (enum wf_dtype)d;
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (!strcasecmp(name, aliases[i].alias))
            return aliases[i].dtype;
    return WF_DTYPE_NONE;
}

bool wf_dtype_bytes(enum wf_dtype d, uint64_t count, uint64_t *bytes)
{
    uint64_t bits;
    if (!wf_mul_u64(count, table[d].bits, &bits) || bits % 8)
        return false;
    *bytes = bits / 8;
    return true;
}
