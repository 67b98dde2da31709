/* test_config_edit.c - edits change what they name and leave every other byte alone. */
#include "model_tree.h"

#include "../../src/format/config_edit.h"

static struct wf_err err;

static void expect(int status, struct wf_str *out, const char *wanted)
{
    if (status)
        fail_msg("status %d: %s", status, err.text);
    assert_string_equal(out->text, wanted);
    assert_int_equal(out->n, strlen(wanted));
    wf_str_free(out);
}

static void edit(const char *text, const char *path, const char *value, int insert,
                 const char *wanted)
{
    struct wf_str out = {0};
    struct wf_config_edit e = {path, value, insert};
    expect(wf_config_apply(&err, "config.json", text, strlen(text), &e, 1, &out), &out, wanted);
}

static void merge(const char *text, enum wf_dtype dtype, const char *wanted)
{
    struct wf_str out = {0};
    expect(wf_config_for_merge(&err, "config.json", text, strlen(text), dtype, &out), &out, wanted);
    expect(wf_config_for_merge(&err, "config.json", wanted, strlen(wanted), dtype, &out), &out,
           wanted); /* a second time changes nothing */
}

static void replaces_one_value(void **state)
{
    (void)state;
    edit("{\"a\":1,\"b\":2}", "a", "\"x\"", 0, "{\"a\":\"x\",\"b\":2}");
    edit("{\"a\":1,\"b\":2}", "b", "[]", 0, "{\"a\":1,\"b\":[]}");
    edit(" { \"a\" : {\"q\":[1,{}]} , \"b\":2 } \n", "a", "3", 1, " { \"a\" : 3 , \"b\":2 } \n");
    edit("{\"a\":\"}\\\"\",\"b\":2}", "b", "3", 0, "{\"a\":\"}\\\"\",\"b\":3}");
    edit("{\"\\u0061\":1}", "a", "2", 1, "{\"\\u0061\":2}");
    edit("{\"x\":{\"a\":1},\"a\":2}", "x.a", "3", 0, "{\"x\":{\"a\":3},\"a\":2}");
    edit("{\"a\":1}", "aa", "3", 0, "{\"a\":1}");
    edit("{\"aa\":1}", "a", "3", 0, "{\"aa\":1}");
}

static void leaves_odd_values_alone(void **state)
{
    (void)state;
    edit("{\"m\": 1000000000000000019884624838656, \"t\": [0.0, Infinity, -Infinity, NaN],\r\n"
         "\t\"e\": 1E-5, \"s\": \"caf\\u00e9 \xc3\xa9\", \"z\": 1.0}",
         "z", "2", 0,
         "{\"m\": 1000000000000000019884624838656, \"t\": [0.0, Infinity, -Infinity, NaN],\r\n"
         "\t\"e\": 1E-5, \"s\": \"caf\\u00e9 \xc3\xa9\", \"z\": 2}");
}

static void removes_one_member(void **state)
{
    (void)state;
    edit("{\"a\":1,\"b\":2,\"c\":3}", "a", NULL, 0, "{\"b\":2,\"c\":3}");
    edit("{\"a\":1,\"b\":2,\"c\":3}", "b", NULL, 0, "{\"a\":1,\"c\":3}");
    edit("{\"a\":1,\"b\":2,\"c\":3}", "c", NULL, 0, "{\"a\":1,\"b\":2}");
    edit("{\n  \"a\": 1,\n  \"b\": 2\n}\n", "a", NULL, 0, "{\n  \"b\": 2\n}\n");
    edit("{\n  \"a\": 1,\n  \"b\": 2\n}\n", "b", NULL, 0, "{\n  \"a\": 1\n}\n");
    edit("{\n  \"a\": 1\n}\n", "a", NULL, 0, "{}\n");
    edit("{\"x\":{\"a\":1}}", "x.a", NULL, 0, "{\"x\":{}}");
    edit("{\"a\":1}", "b", NULL, 0, "{\"a\":1}");
    edit("{\"a\":1}", "b.c", NULL, 0, "{\"a\":1}");
    edit("{\"a\":1}", "a.c", NULL, 0, "{\"a\":1}");
}

static void inserts_in_the_layout_of_the_object(void **state)
{
    (void)state;
    edit("{}", "a", "1", 1, "{\"a\": 1}");
    edit("{\n}", "a", "1", 1, "{\"a\": 1\n}");
    edit("{\"a\":1}", "b", "2", 1, "{\"a\":1,\"b\":2}");
    edit("{\"a\": 1, \"b\": 2}", "c", "3", 1, "{\"a\": 1, \"b\": 2, \"c\": 3}");
    edit("{\n  \"a\": 1\n}\n", "b", "2", 1, "{\n  \"a\": 1,\n  \"b\": 2\n}\n");
    edit("{\n  \"x\": {\n    \"a\": 1\n  }\n}\n", "x.b", "2", 1,
         "{\n  \"x\": {\n    \"a\": 1,\n    \"b\": 2\n  }\n}\n");
    edit("{\"a\":1}", "a\"b\n", "2", 1, "{\"a\":1,\"a\\\"b\\n\":2}");
}

static void later_edits_see_earlier_ones(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": 1, \"b\": 2, \"c\": {\"d\": 3}}";
    static const struct {
        struct wf_config_edit edits[4];
        size_t n;
        const char *wanted;
    } cases[] = {
        {{{"a", NULL, 0}, {"b", NULL, 0}}, 2, "{\"c\": {\"d\": 3}}"},
        {{{"b", NULL, 0}, {"c", NULL, 0}}, 2, "{\"a\": 1}"},
        {{{"a", NULL, 0}, {"c", NULL, 0}}, 2, "{\"b\": 2}"},
        {{{"a", NULL, 0}, {"b", NULL, 0}, {"c", NULL, 0}}, 3, "{}"},
        {{{"a", NULL, 0}, {"b", NULL, 0}, {"c", NULL, 0}, {"x", "1", 1}}, 4, "{\"x\": 1}"},
        {{{"c", NULL, 0}, {"x", "1", 1}, {"y", "2", 1}},
         3,
         "{\"a\": 1, \"b\": 2, \"x\": 1, \"y\": 2}"},
        {{{"x", "1", 1}, {"x", "2", 0}, {"x", "3", 1}},
         3,
         "{\"a\": 1, \"b\": 2, \"c\": {\"d\": 3}, \"x\": 3}"},
        {{{"x", "1", 1}, {"y", "1", 1}, {"x", NULL, 0}, {"z", "1", 1}},
         4,
         "{\"a\": 1, \"b\": 2, \"c\": {\"d\": 3}, \"y\": 1, \"z\": 1}"},
        {{{"x", "1", 1}, {"x", NULL, 0}, {"y", "1", 1}},
         3,
         "{\"a\": 1, \"b\": 2, \"c\": {\"d\": 3}, \"y\": 1}"},
        {{{"a", NULL, 0}, {"a", "5", 1}}, 2, "{\"a\": 5, \"b\": 2, \"c\": {\"d\": 3}}"},
        {{{"a", NULL, 0}, {"a", "5", 0}}, 2, "{\"b\": 2, \"c\": {\"d\": 3}}"},
        {{{"c.d", "4", 0}, {"c", "[]", 0}, {"c.d", "5", 0}}, 3, "{\"a\": 1, \"b\": 2, \"c\": []}"},
        {{{"c", NULL, 0}, {"c.d", "5", 0}}, 2, "{\"a\": 1, \"b\": 2}"},
        {{{"a", "7", 0}, {"a", "8", 0}}, 2, "{\"a\": 8, \"b\": 2, \"c\": {\"d\": 3}}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wf_str out = {0};
        expect(wf_config_apply(&err, "config.json", text, strlen(text), cases[i].edits, cases[i].n,
                               &out),
               &out, cases[i].wanted);
    }
}

static void a_missing_object_is_an_error_for_inserts(void **state)
{
    (void)state;
    struct wf_str out = {0};
    struct wf_config_edit e = {"x.a", "1", 1};
    assert_int_equal(wf_config_apply(&err, "config.json", "{}", 2, &e, 1, &out), WF_INPUT);
    assert_non_null(strstr(err.text, "config.json: no object to put 'x.a' into"));
    wf_err_clear(&err);
    e.insert = 0;
    expect(wf_config_apply(&err, "config.json", "{}", 2, &e, 1, &out), &out, "{}");
}

static void damage_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",           "{",   "[]", "1", "{\"a\":1,\"a\":2}",
                                        "{\"a\":1,}", "{} x"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct wf_str out = {0};
        assert_int_equal(
            wf_config_for_merge(&err, "config.json", texts[i], strlen(texts[i]), WF_BF16, &out),
            WF_INPUT);
        assert_non_null(strstr(err.text, "config.json"));
        wf_err_clear(&err);
        wf_str_free(&out);
    }
}

static void merge_sets_the_type_wherever_it_stands(void **state)
{
    (void)state;
    merge("{\"torch_dtype\": \"float32\"}", WF_BF16, "{\"torch_dtype\": \"bfloat16\"}");
    merge("{\"dtype\": \"float32\"}", WF_F16, "{\"dtype\": \"float16\"}");
    merge("{\"dtype\": \"float32\", \"torch_dtype\": \"torch.float16\"}", WF_F64,
          "{\"dtype\": \"float64\", \"torch_dtype\": \"float64\"}");
    merge("{\"text_config\": {\"dtype\": \"bfloat16\"}, \"l\": [{\"torch_dtype\": \"auto\"}]}",
          WF_F32,
          "{\"text_config\": {\"dtype\": \"float32\"}, \"l\": [{\"torch_dtype\": \"float32\"}]}");
    merge("{\"torch_dtype\": null}", WF_F32, "{\"torch_dtype\": \"float32\"}");
    merge("{\"torch_dtype\": \"float32\"}", WF_DTYPE_NONE, "{\"torch_dtype\": \"float32\"}");
}

static void merge_leaves_other_dtype_keys_alone(void **state)
{
    (void)state;
    merge("{\"dtype\": {\"vision\": \"float16\"}, \"a\": 1}", WF_BF16,
          "{\"dtype\": {\"vision\": \"float16\"}, \"a\": 1}");
    merge("{\"torch_dtype\": \"float16\", \"vocab\": {\"dtype\": 1234}, "
          "\"codec\": {\"dtype\": \"int8\"}, \"v\": {\"torch_dtype\": null}}",
          WF_BF16,
          "{\"torch_dtype\": \"bfloat16\", \"vocab\": {\"dtype\": 1234}, "
          "\"codec\": {\"dtype\": \"int8\"}, \"v\": {\"torch_dtype\": null}}");
}

static void merge_adds_the_type_when_nothing_says_it(void **state)
{
    (void)state;
    merge("{}", WF_BF16, "{\"torch_dtype\": \"bfloat16\"}");
    merge("{\n  \"a\": 1\n}\n", WF_BF16, "{\n  \"a\": 1,\n  \"torch_dtype\": \"bfloat16\"\n}\n");
    merge("{\"vocab\": {\"dtype\": 1234}}", WF_F32,
          "{\"vocab\": {\"dtype\": 1234}, \"torch_dtype\": \"float32\"}");
    merge("{\n  \"a\": 1\n}\n", WF_DTYPE_NONE, "{\n  \"a\": 1\n}\n");
    merge("{\"_name_or_path\": \"/models\"}", WF_F32, "{\"torch_dtype\": \"float32\"}");
}

static void merge_removes_paths_and_quantisation(void **state)
{
    (void)state;
    merge("{\n  \"_name_or_path\": \"/models/m\",\n  \"a\": 1,\n  \"quantization_config\": {\n"
          "    \"torch_dtype\": \"float16\"\n  },\n  \"torch_dtype\": \"float16\"\n}",
          WF_BF16, "{\n  \"a\": 1,\n  \"torch_dtype\": \"bfloat16\"\n}");
    merge("{\"text_config\": {\"quantization_config\": {}, \"_name_or_path\": \"\"}, "
          "\"dtype\": \"float16\", \"compression_config\": 1}",
          WF_DTYPE_NONE, "{\"text_config\": {}, \"dtype\": \"float16\"}");
}

static void deep_and_wide_configs_are_quick(void **state)
{
    (void)state;
    struct wf_str text = {0}, out = {0};
    wf_str_puts(&text, "{\"l\":[");
    for (int i = 0; i < 50000; i++)
        wf_str_puts(&text, "{\"torch_dtype\":\"float16\",\"_name_or_path\":1},");
    wf_str_puts(&text, "0]}");
    assert_int_equal(wf_str_finish(&text, &err), 0);
    assert_int_equal(wf_config_for_merge(&err, "c", text.text, text.n, WF_F32, &out), 0);
    assert_int_equal(out.n,
                     strlen("{\"l\":[0]}") + 50000 * strlen("{\"torch_dtype\":\"float32\"},"));
    wf_str_free(&text);
    wf_str_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replaces_one_value),
        cmocka_unit_test(leaves_odd_values_alone),
        cmocka_unit_test(removes_one_member),
        cmocka_unit_test(inserts_in_the_layout_of_the_object),
        cmocka_unit_test(later_edits_see_earlier_ones),
        cmocka_unit_test(a_missing_object_is_an_error_for_inserts),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(merge_sets_the_type_wherever_it_stands),
        cmocka_unit_test(merge_leaves_other_dtype_keys_alone),
        cmocka_unit_test(merge_adds_the_type_when_nothing_says_it),
        cmocka_unit_test(merge_removes_paths_and_quantisation),
        cmocka_unit_test(deep_and_wide_configs_are_quick),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
