/* test_st_header.c - safetensors headers: the rules of reading, the bytes of writing.
 *
 * tests/golden holds files to accept and to refuse; here is what a file cannot show: what the
 * table says, which message comes, what happens at the limits, and that written headers read back.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "../../src/base/clock.h"
#include "st_rows.h"
#ifdef WF_FAULTS
#include "alloc_loop.h"
#endif

struct fixture {
    struct wf_err e;
    struct wf_arena arena;
    struct wf_st_header h;
    char folder[512], path[600];
};

static int start(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    const char *tmp = getenv("TMPDIR");
    *state = f;
    if (!f)
        return -1;
    snprintf(f->folder, sizeof f->folder, "%s/weft-st-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(f->folder))
        return -1;
    snprintf(f->path, sizeof f->path, "%s/a.safetensors", f->folder);
    return 0;
}

static int stop(void **state)
{
    struct fixture *f = *state;
    wf_arena_destroy(&f->arena);
    wf_err_clear(&f->e);
    assert_int_equal(wf_remove_tree(&f->e, f->folder), WF_OK);
    free(f);
    assert_int_equal(wf_mem_now(WF_MEM_TEXT), 0);
    assert_int_equal(wf_mem_now(WF_MEM_META), 0);
    return 0;
}

static int parse(struct fixture *f, const char *text, uint64_t data_bytes)
{
    wf_err_clear(&f->e);
    return wf_st_parse(&f->e, &f->arena, "x.safetensors", text, strlen(text),
                       8 + strlen(text) + data_bytes, &f->h);
}

static void accept(struct fixture *f, const char *text, uint64_t data_bytes)
{
    if (parse(f, text, data_bytes))
        fail_msg("refused: %s", f->e.text);
}

static void refuse(struct fixture *f, const char *text, uint64_t data_bytes, const char *message)
{
    assert_int_equal(parse(f, text, data_bytes), WF_INPUT);
    if (!strstr(f->e.text, message) || strncmp(f->e.text, "x.safetensors: ", 15))
        fail_msg("'%s' does not say '%s'", f->e.text, message);
}

static int read_bytes(struct fixture *f, const void *data, size_t n)
{
    int fd;
    struct wf_file_id id;
    wf_err_clear(&f->e);
    assert_int_equal(wf_write_small(&f->e, f->path, data, n), WF_OK);
    assert_int_equal(wf_open_read(&f->e, WF_INPUT, f->path, &fd, &id), WF_OK);
    int s = wf_st_read(&f->e, &f->arena, f->path, fd, id.bytes, &f->h);
    wf_close(fd);
    return s;
}

/* The file of the reference writer: one F32 tensor `a` = [1, -2], N = 88. */
static const char golden[] = "\x58\0\0\0\0\0\0\0"
                             "{\"__metadata__\":{\"format\":\"pt\"},"
                             "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}   "
                             "\0\0\x80\x3f\0\0\0\xc0";

static void the_golden_file_is_read(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(sizeof golden - 1, 104);
    assert_int_equal(read_bytes(f, golden, 104), WF_OK);
    assert_int_equal(f->h.data_start, 96);
    assert_int_equal(f->h.file_bytes, 104);
    assert_int_equal(f->h.n_tensors, 1);
    const struct wf_st_tensor *t = f->h.tensors;
    assert_string_equal(t->name, "a");
    assert_int_equal(t->dtype, WF_F32);
    assert_int_equal(t->n_dims, 1);
    assert_int_equal(t->shape[0], 2);
    assert_int_equal(t->count, 2);
    assert_true(t->begin == 0 && t->end == 8);
    assert_int_equal(f->h.n_metadata, 1);
    assert_string_equal(f->h.metadata[0].key, "format");
    assert_string_equal(f->h.metadata[0].value, "pt");
    struct wf_hash128 hash = wf_xxh128(golden, 96);
    assert_true(wf_hash128_equal(&f->h.hash, &hash));
}

static void the_golden_file_is_written(void **state)
{
    struct fixture *f = *state;
    const uint64_t shape[] = {2};
    const struct wf_st_tensor t = {"a", WF_F32, 1, shape, 2, 0, 8};
    struct wf_str s = {0};
    assert_int_equal(wf_st_format(&f->e, &t, 1, 8, &s), WF_OK);
    assert_int_equal(s.n, 96);
    assert_memory_equal(s.text, golden, 96);
    wf_str_free(&s);
}

static void every_cut_of_the_golden_file_is_refused(void **state)
{
    struct fixture *f = *state;
    for (size_t n = 0; n < 104; n++) {
        assert_int_equal(read_bytes(f, golden, n), WF_INPUT);
        assert_int_equal(f->h.n_tensors, 0);
        assert_true(wf_starts_with(f->e.text, f->path));
    }
}

static void every_changed_byte_is_refused_or_read(void **state)
{
    struct fixture *f = *state;
    char text[104];
    for (size_t i = 0; i < 88; i++) {
        for (int c = 0; c < 256; c++) {
            memcpy(text, golden + 8, 96);
            text[i] = (char)c;
            wf_err_clear(&f->e);
            int s = wf_st_parse(&f->e, &f->arena, "x", text, 88, 104, &f->h);
            assert_true(s == WF_OK || s == WF_INPUT);
            assert_true(s != WF_OK || (f->h.n_tensors == 1 && f->h.tensors[0].end == 8));
        }
    }
}

static void a_length_beyond_the_file_is_not_allocated(void **state)
{
    struct fixture *f = *state;
    static const char huge[] = "\x00\xe1\xf5\x05\0\0\0\0{}"; /* 100,000,000 */
    static const char cap[] = "\x01\xe1\xf5\x05\0\0\0\0{}";
    static const char wraps[] = "\xf8\xff\xff\xff\xff\xff\xff\xff{}";
    assert_int_equal(read_bytes(f, huge, 10), WF_INPUT);
    assert_non_null(strstr(f->e.text, "100000000, but the file has 10 bytes"));
    assert_int_equal(read_bytes(f, cap, 10), WF_INPUT);
    assert_non_null(strstr(f->e.text, "100000001, more than"));
    assert_int_equal(read_bytes(f, wraps, 10), WF_INPUT);
    assert_true(wf_mem_now(WF_MEM_META) < 1u << 20);
}

static void a_file_that_shrinks_is_a_short_read(void **state)
{
    struct fixture *f = *state;
    int fd = -1;
    assert_int_equal(wf_write_small(&f->e, f->path, golden, 40), WF_OK);
    assert_int_equal(wf_open_read(&f->e, WF_INPUT, f->path, &fd, NULL), WF_OK);
    assert_int_equal(wf_st_read(&f->e, &f->arena, f->path, fd, 104, &f->h), WF_INPUT);
    wf_close(fd);
}

static void a_git_lfs_pointer_is_called_so(void **state)
{
    struct fixture *f = *state;
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\n";
    assert_int_equal(read_bytes(f, pointer, sizeof pointer - 1), WF_INPUT);
    assert_non_null(strstr(f->e.text, "git lfs pull"));
}

#define U8(shape, range) "{\"dtype\":\"U8\",\"shape\":[" shape "],\"data_offsets\":[" range "]}"

static void tensors_come_in_data_order(void **state)
{
    struct fixture *f = *state;
    accept(f,
           "{\"z\":" U8("3", "5,8") ",\"b\":" U8("0", "5,5") ",\"y\":" U8("5", "0,5") ",\"a\":" U8(
               "0", "5,5") ",\"c\":" U8("0", "8,8") "}",
           8);
    static const char order[] = "yabzc";
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(f->h.tensors[i].name[0], order[i]);
}

static void scalars_and_zero_sizes(void **state)
{
    struct fixture *f = *state;
    accept(f, "{\"a\":" U8("", "0,1") ",\"b\":" U8("0", "1,1") "}", 1);
    assert_int_equal(f->h.tensors[0].n_dims, 0);
    assert_int_equal(f->h.tensors[0].count, 1);
    assert_int_equal(f->h.tensors[1].n_dims, 1);
    assert_int_equal(f->h.tensors[1].count, 0);
    accept(f, "{}", 0);
    assert_int_equal(f->h.n_tensors, 0);
    assert_int_equal(f->h.n_metadata, 0);
}

static void names_are_decoded(void **state)
{
    struct fixture *f = *state;
    accept(f, "{\"\\u0061\\ud83e\\udd99\\\\\\/\":" U8("1", "0,1") "}", 1);
    assert_string_equal(f->h.tensors[0].name, "a\xf0\x9f\xa6\x99\\/");
    accept(f, "{\"__metadata__\":{\"k\":\"a\\nb\",\"\":\"\"}}", 0);
    assert_int_equal(f->h.n_metadata, 2);
    assert_string_equal(f->h.metadata[0].value, "a\nb");
    assert_string_equal(f->h.metadata[1].key, "");
}

static void messages_name_tensor_and_byte(void **state)
{
    struct fixture *f = *state;
    refuse(f, "{\"w\":{\"dtype\":\"F99\",\"shape\":[],\"data_offsets\":[0,1]}}", 1,
           "tensor 'w': unknown dtype 'F99' at byte 22");
    refuse(f, "{\"w\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1],\"x\":1}}", 1,
           "tensor 'w': unknown key 'x'");
    refuse(f, "{\"a\":" U8("1", "0,1") ",\"a\":" U8("1", "1,2") "}", 2,
           "tensor 'a' for the second time at byte 61");
    refuse(f, "{\"a\":" U8("4", "0,4") ",\"b\":" U8("4", "2,6") "}", 6,
           "tensor 'b': begins at offset 2, but 'a' ends at 4 (an overlap at byte");
    refuse(f, "{\"a\":" U8("4", "0,4") ",\"b\":" U8("4", "5,9") "}", 9, "(a hole at byte");
    refuse(f, "{\"a\":" U8("4", "0,4") "}", 3, "download is incomplete");
    refuse(f, "{\"a\":" U8("4", "0,4") "}", 5, "bytes behind the last tensor: 1");
    refuse(f, "{\"a\":" U8("4", "4,0") "}", 4, "run backwards");
    refuse(f, "{\"a\":" U8("4", "0,3") "}", 3, "need 4 bytes");
    refuse(f, "{} {}", 0, "nothing but white space behind the object, found '{' at byte 11");
    refuse(f, "{\"\xff\":1}", 0, "not UTF-8 at byte 10");
}

static void sizes_do_not_wrap(void **state)
{
    struct fixture *f = *state;
    refuse(f, "{\"a\":" U8("4294967296,4294967296", "0,0") "}", 0, "2^64 bits");
    refuse(f, "{\"a\":" U8("0,4294967296,4294967296", "0,0") "}", 0, "2^64 bits");
    refuse(f, "{\"a\":" U8("2305843009213693953", "0,1") "}", 1, "2^64 bits");
    refuse(f, "{\"a\":" U8("9223372036854775808", "0,0") "}", 0, "2^63 - 1");
    refuse(f, "{\"a\":" U8("18446744073709551617", "0,1") "}", 1, "2^63 - 1");
}

static void dimensions_and_names_have_limits(void **state)
{
    struct fixture *f = *state;
    char text[1200];
    accept(f, "{\"a\":" U8("1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "0,1") "}", 1);
    assert_int_equal(f->h.tensors[0].n_dims, 16);
    for (size_t n = 1024; n <= 1025; n++) {
        snprintf(text, sizeof text, "{\"%0*d\":" U8("1", "0,1") "}", (int)n, 0);
        assert_int_equal(parse(f, text, 1), n == 1024 ? WF_OK : WF_INPUT);
    }
}

/* A header of n empty tensors whose names differ in their last characters. */
static void many(struct wf_str *s, size_t n)
{
    wf_str_puts(s, "{");
    for (size_t i = 0; i < n; i++)
        wf_str_printf(s, "%s\"model.layers.mlp.experts.down_proj.weight.%zu\":" U8("0", "0,0"),
                      i ? "," : "", i * 7919 % n);
    wf_str_puts(s, "}");
}

static void a_hundred_thousand_tensors_are_quick(void **state)
{
    struct fixture *f = *state;
    struct wf_str s = {0};
    many(&s, 100000);
    uint64_t before = wf_now_ns();
    assert_int_equal(wf_st_parse(&f->e, &f->arena, "x", s.text, s.n, 8 + s.n, &f->h), WF_OK);
    assert_true(wf_now_ns() - before < 5000000000u); /* quadratic work takes minutes */
    assert_int_equal(f->h.n_tensors, 100000);
    for (size_t i = 1; i < f->h.n_tensors; i++)
        assert_true(strcmp(f->h.tensors[i - 1].name, f->h.tensors[i].name) < 0);
    wf_str_free(&s);
}

static void canonical_order_is_type_then_name(void **state)
{
    struct wf_st_tensor t[] = {
        {.name = "b", .dtype = WF_BF16},       {.name = "a", .dtype = WF_F32},
        {.name = "c", .dtype = WF_I64},        {.name = "d", .dtype = WF_F32},
        {.name = "\xc3\xa9", .dtype = WF_F32}, {.name = "A", .dtype = WF_F32},
        {.name = "a.b", .dtype = WF_F32},      {.name = "x", .dtype = WF_BOOL},
    };
    static const char *const order[] = {"c", "A", "a", "a.b", "d", "\xc3\xa9", "b", "x"};
    (void)state;
    qsort(t, 8, sizeof *t, st_rows_order);
    for (size_t i = 0; i < 8; i++)
        assert_string_equal(t[i].name, order[i]);
}

static void written_headers_read_back_at_any_alignment(void **state)
{
    struct fixture *f = *state;
    const uint64_t shape[] = {3, 5};
    const struct wf_st_tensor tensors[] = {
        {"q\"uote\\", WF_F64, 2, shape, 15, 0, 120},
        {"x", WF_U8, 1, shape, 3, 120, 123},
    };
    static const uint64_t aligns[] = {1, 8, 64, 4096};
    for (size_t i = 0; i < 4; i++) {
        struct wf_str s = {0};
        assert_int_equal(wf_st_format(&f->e, tensors, 2, aligns[i], &s), WF_OK);
        assert_int_equal(s.n % aligns[i], 0);
        assert_int_equal(s.text[8], '{');
        wf_err_clear(&f->e);
        assert_int_equal(wf_st_parse(&f->e, &f->arena, "x", s.text + 8, s.n - 8, s.n + 123, &f->h),
                         WF_OK);
        assert_int_equal(f->h.data_start, s.n);
        assert_string_equal(f->h.tensors[0].name, "q\"uote\\");
        assert_int_equal(f->h.tensors[0].shape[1], 5);
        assert_int_equal(f->h.tensors[1].end, 123);
        assert_int_equal(f->h.n_metadata, 1);
        assert_string_equal(f->h.metadata[0].key, "format");
        assert_string_equal(f->h.metadata[0].value, "pt");
        wf_str_free(&s);
    }
}

static void formatting_appends_and_empty_models_have_a_header(void **state)
{
    struct fixture *f = *state;
    static const char text[] = "{\"__metadata__\":{\"format\":\"pt\"}}";
    struct wf_str s = {0};
    wf_str_puts(&s, "kept");
    assert_int_equal(wf_st_format(&f->e, NULL, 0, 8, &s), WF_OK);
    assert_memory_equal(s.text, "kept\x20\0\0\0\0\0\0\0", 12);
    assert_memory_equal(s.text + 12, text, sizeof text - 1);
    assert_int_equal(s.n, 4 + 40);
    wf_str_free(&s);
}

#ifdef WF_FAULTS
static int parse_some(void)
{
    static const char text[] = "{\"__metadata__\":{\"a\":\"b\",\"c\":\"d\"},\"a\":" U8(
        "1", "0,1") ",\"b\":" U8("1", "1,2") "}";
    struct fixture f = {0};
    struct wf_str s = {0};
    int status =
        wf_st_parse(&f.e, &f.arena, "x", text, sizeof text - 1, 8 + sizeof text - 1 + 2, &f.h);
    if (!status)
        status = wf_st_format(&f.e, f.h.tensors, f.h.n_tensors, 4096, &s);
    if (status != wf_err_status(&f.e))
        return WF_BUG;
    wf_str_free(&s);
    wf_arena_destroy(&f.arena);
    return wf_mem_now(WF_MEM_TEXT) || wf_mem_now(WF_MEM_META) ? WF_BUG : status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    assert_true(alloc_loop(parse_some) >= 6);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef WF_FAULTS
        cmocka_unit_test(every_allocation_may_fail), /* first: alloc_loop.h */
#endif
#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
        TEST(the_golden_file_is_read),
        TEST(the_golden_file_is_written),
        TEST(every_cut_of_the_golden_file_is_refused),
        TEST(every_changed_byte_is_refused_or_read),
        TEST(a_length_beyond_the_file_is_not_allocated),
        TEST(a_file_that_shrinks_is_a_short_read),
        TEST(a_git_lfs_pointer_is_called_so),
        TEST(tensors_come_in_data_order),
        TEST(scalars_and_zero_sizes),
        TEST(names_are_decoded),
        TEST(messages_name_tensor_and_byte),
        TEST(sizes_do_not_wrap),
        TEST(dimensions_and_names_have_limits),
        TEST(a_hundred_thousand_tensors_are_quick),
        TEST(canonical_order_is_type_then_name),
        TEST(written_headers_read_back_at_any_alignment),
        TEST(formatting_appends_and_empty_models_have_a_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
