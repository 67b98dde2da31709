/* test_dtype.c - the table of element types: spellings, sizes, and the order files depend on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "../../src/format/dtype.h"
#include "../../src/format/shape.h"
#include "../../src/format/st_header.h"

static void ranks_are_those_of_the_reference_writer(void **state)
{
    static const char *const order[WF_DTYPES] = {
        "BOOL",    "F4",          "F6_E2M3",     "F6_E3M2", "U8",  "I8",  "F8_E5M2", "F8_E4M3",
        "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I16",     "U16", "F16", "BF16",    "I32",
        "U32",     "F32",         "C64",         "F64",     "I64", "U64"};
    (void)state;
    for (int d = 0; d < WF_DTYPES; d++)
        assert_string_equal(wf_dtype_info((enum wf_dtype)d)->name, order[d]);
}

static void every_name_is_found_and_only_in_full(void **state)
{
    (void)state;
    for (int d = 0; d < WF_DTYPES; d++) {
        const char *name = wf_dtype_info((enum wf_dtype)d)->name;
        char longer[32];
        size_t n = strlen(name);
        memcpy(longer, name, n);
        longer[n] = 'X';
        assert_int_equal(wf_dtype_by_name(name, n), d);
        assert_int_equal(wf_dtype_by_name(longer, n), d); /* n decides, not a NUL */
        assert_int_equal(wf_dtype_by_name(longer, n + 1), WF_DTYPE_NONE);
        assert_int_not_equal(wf_dtype_by_name(name, n - 1), d);
    }
    assert_int_equal(wf_dtype_by_name("f32", 3), WF_DTYPE_NONE);
    assert_int_equal(wf_dtype_by_name("", 0), WF_DTYPE_NONE);
}

static void torch_names_of_the_arithmetic_types(void **state)
{
    (void)state;
    assert_int_equal(wf_dtype_by_torch_name("float32"), WF_F32);
    assert_int_equal(wf_dtype_by_torch_name("torch.float32"), WF_F32);
    assert_int_equal(wf_dtype_by_torch_name("bfloat16"), WF_BF16);
    assert_int_equal(wf_dtype_by_torch_name("torch.float16"), WF_F16);
    assert_int_equal(wf_dtype_by_torch_name("float64"), WF_F64);
    assert_int_equal(wf_dtype_by_torch_name("BF16"), WF_BF16);
    assert_int_equal(wf_dtype_by_torch_name("bf16"), WF_BF16);
    assert_int_equal(wf_dtype_by_torch_name("fp16"), WF_F16);
    assert_int_equal(wf_dtype_by_torch_name("FP32"), WF_F32);
    assert_int_equal(wf_dtype_by_torch_name("f64"), WF_F64);
}

static void other_torch_names_are_unknown(void **state)
{
    static const char *const no[] = {
        "",     "int8", "uint8",    "I32",    "float8_e4m3fn",      "bool",
        "auto", "fp8",  "float32 ", "torch.", "torch.torch.float32"};
    (void)state;
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_int_equal(wf_dtype_by_torch_name(no[i]), WF_DTYPE_NONE);
}

static void arithmetic_types_are_the_four(void **state)
{
    unsigned n = 0;
    (void)state;
    for (int d = 0; d < WF_DTYPES; d++)
        n += wf_dtype_info((enum wf_dtype)d)->arithmetic;
    assert_int_equal(n, 4);
    assert_true(wf_dtype_info(WF_F64)->arithmetic && wf_dtype_info(WF_F32)->arithmetic &&
                wf_dtype_info(WF_F16)->arithmetic && wf_dtype_info(WF_BF16)->arithmetic);
}

static void sizes_in_bytes(void **state)
{
    uint64_t bytes = 7;
    (void)state;
    assert_true(wf_dtype_bytes(WF_BF16, 3, &bytes) && bytes == 6);
    assert_true(wf_dtype_bytes(WF_C64, 2, &bytes) && bytes == 16);
    assert_true(wf_dtype_bytes(WF_F4, 4, &bytes) && bytes == 2);
    assert_true(wf_dtype_bytes(WF_F6_E2M3, 4, &bytes) && bytes == 3);
    assert_true(wf_dtype_bytes(WF_U64, 0, &bytes) && bytes == 0);
    assert_true(wf_dtype_bytes(WF_F64, UINT64_MAX / 64, &bytes));
}

static void sizes_that_are_not_whole_bytes_or_overflow(void **state)
{
    uint64_t bytes;
    (void)state;
    assert_false(wf_dtype_bytes(WF_F4, 3, &bytes));
    assert_false(wf_dtype_bytes(WF_F6_E3M2, 2, &bytes));
    assert_false(wf_dtype_bytes(WF_F64, UINT64_MAX / 64 + 1, &bytes));
    assert_false(wf_dtype_bytes(WF_U8, UINT64_MAX, &bytes));
}

static void shapes_as_text(void **state)
{
    char buf[WF_SHAPE_TEXT_MAX];
    uint64_t shape[WF_ST_DIMS_MAX] = {32, 0};
    (void)state;
    assert_string_equal(wf_shape_text(NULL, 0, WF_SHAPE_SPACED, buf), "[]");
    assert_string_equal(wf_shape_text(shape, 2, WF_SHAPE_SPACED, buf), "[32, 0]");
    assert_string_equal(wf_shape_text(shape, 2, WF_SHAPE_TIGHT, buf), "[32,0]");
    for (int d = 0; d < WF_ST_DIMS_MAX; d++)
        shape[d] = UINT64_MAX;
    wf_shape_text(shape, WF_ST_DIMS_MAX, WF_SHAPE_SPACED, buf); /* the longest is whole */
    assert_int_equal(strlen(buf), 2 + 20 * WF_ST_DIMS_MAX + 2 * (WF_ST_DIMS_MAX - 1));
    assert_int_equal(buf[strlen(buf) - 1], ']');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranks_are_those_of_the_reference_writer),
        cmocka_unit_test(every_name_is_found_and_only_in_full),
        cmocka_unit_test(torch_names_of_the_arithmetic_types),
        cmocka_unit_test(other_torch_names_are_unknown),
        cmocka_unit_test(arithmetic_types_are_the_four),
        cmocka_unit_test(sizes_in_bytes),
        cmocka_unit_test(sizes_that_are_not_whole_bytes_or_overflow),
        cmocka_unit_test(shapes_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
