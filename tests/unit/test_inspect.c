/* test_inspect.c - `weft inspect`: folders, files, adapters, task deltas. */
#include "tool_fixture.h"

#include "../../src/tool/inspect.h"

static int inspect(struct fx *f, const char *name, bool json)
{
    f->options.json = json;
    int s = FX_RUN(f, wf_inspect_run(&f->e, &f->options, fx_path(f, name)));
    if (json)
        fx_json(f);
    return s;
}

static const float zeros[256];

static void sharded_model(struct fx *f)
{
    struct fx_tensor one[] = {{"model.embed.weight", WF_BF16, 2, {4, 8}, zeros},
                              {"model.layers.0.w", WF_BF16, 2, {2, 3}, zeros},
                              {"model.layers.0.b", WF_F32, 1, {2}, zeros}};
    struct fx_tensor two[] = {{"model.layers.2.w", WF_BF16, 2, {2, 3}, zeros},
                              {"model.layers.10.w", WF_BF16, 2, {2, 3}, zeros},
                              {"vision.blocks.1.w", WF_BF16, 0, {0}, zeros}};
    fx_folder(f, "m");
    fx_st(f, "m/model-00001-of-00002.safetensors", one, 3, NULL, 0);
    fx_st(f, "m/model-00002-of-00002.safetensors", two, 3, NULL, 0);
    fx_text(f, "m/model.safetensors.index.json",
            "{\"metadata\":{\"total_size\":110},\"weight_map\":{"
            "\"model.embed.weight\":\"model-00001-of-00002.safetensors\","
            "\"model.layers.0.w\":\"model-00001-of-00002.safetensors\","
            "\"model.layers.0.b\":\"model-00001-of-00002.safetensors\","
            "\"model.layers.2.w\":\"model-00002-of-00002.safetensors\","
            "\"model.layers.10.w\":\"model-00002-of-00002.safetensors\","
            "\"vision.blocks.1.w\":\"model-00002-of-00002.safetensors\"}}");
    fx_text(f, "m/config.json",
            "{\"architectures\":[\"TestForCausalLM\"],\"model_type\":\"test\"}");
}

static void test_folder_is_counted_by_shard_type_and_layer(void **state)
{
    struct fx *f = *state;
    sharded_model(f);
    assert_int_equal(inspect(f, "m", true), WF_OK);
    const struct wf_json *m = fx_line(f, "model", "form", "folder");
    fx_assert_string(m, "architecture", "TestForCausalLM");
    fx_assert_string(m, "model_type", "test");
    assert_int_equal((int)fx_number(m, "tensors"), 6);
    assert_int_equal((int)fx_number(m, "parameters"), 32 + 6 + 2 + 6 + 6 + 1);
    assert_int_equal((int)fx_number(m, "bytes"), 2 * (32 + 6 + 6 + 6 + 1) + 4 * 2);
    assert_int_equal((int)fx_number(m, "shards"), 2);
    assert_true(fx_is_null(m, "repository"));
    const struct wf_json *t = fx_line(f, "dtype", "dtype", "BF16");
    assert_int_equal((int)fx_number(t, "tensors"), 5);
    assert_int_equal((int)fx_number(t, "bytes"), 102);
    assert_int_equal((int)fx_number(fx_line(f, "dtype", "dtype", "F32"), "parameters"), 2);
    fx_line(f, "shard", "name", "model-00002-of-00002.safetensors");
    const struct wf_json *w = fx_line(f, "tensor", "name", "model.layers.2.w");
    fx_assert_string(w, "shard", "model-00002-of-00002.safetensors");
    fx_assert_string(w, "dtype", "BF16");
    const struct wf_json *shape = wf_json_get(w, "shape");
    assert_int_equal((int)shape->n, 2);
    assert_int_equal((int)shape->children[1].number, 3);
}

static void test_layers_sort_as_numbers_and_show_gaps(void **state)
{
    struct fx *f = *state;
    sharded_model(f);
    assert_int_equal(inspect(f, "m", true), WF_OK);
    const struct wf_json *l = fx_line(f, "layers", "prefix", "model.layers");
    assert_int_equal((int)fx_number(l, "first"), 0);
    assert_int_equal((int)fx_number(l, "last"), 10);
    assert_int_equal((int)fx_number(l, "layers"), 3);
    assert_int_equal((int)fx_number(l, "tensors"), 4);
    assert_int_equal((int)fx_number(fx_line(f, "layers", "prefix", "vision.blocks"), "first"), 1);
    assert_int_equal(inspect(f, "m", false), WF_OK);
    fx_assert_has(f->text, "model.layers: 0-10, 4 tensors, 8 of these 11 numbers missing");
}

static void test_prefixes_that_interleave_stay_apart(void **state)
{
    struct fx *f = *state;
    struct fx_tensor t[] = {
        {"h.0.w", WF_F32, 0, {0}, zeros},   {"h.0a.0.w", WF_F32, 0, {0}, zeros},
        {"h.1.w", WF_F32, 0, {0}, zeros},   {"0.w", WF_F32, 0, {0}, zeros},
        {"h.1.9.w", WF_F32, 0, {0}, zeros}, {"h.1234567890.w", WF_F32, 0, {0}, zeros},
        {"plain", WF_F32, 0, {0}, zeros},   {"h.7", WF_F32, 0, {0}, zeros}};
    fx_st(f, "m.safetensors", t, 8, NULL, 0);
    assert_int_equal(inspect(f, "m.safetensors", true), WF_OK);
    const struct wf_json *h = fx_line(f, "layers", "prefix", "h");
    assert_int_equal((int)fx_number(h, "tensors"), 3);
    assert_int_equal((int)fx_number(h, "layers"), 2);
    fx_line(f, "layers", "prefix", "h.0a");
    assert_int_equal((int)fx_number(fx_line(f, "layers", "prefix", ""), "tensors"), 1);
}

static void test_single_file_and_scalar(void **state)
{
    struct fx *f = *state;
    struct fx_tensor t[] = {{"scale", WF_F64, 0, {0}, zeros}};
    fx_st(f, "m.safetensors", t, 1, NULL, 0);
    assert_int_equal(inspect(f, "m.safetensors", true), WF_OK);
    fx_line(f, "model", "form", "file");
    const struct wf_json *w = fx_line(f, "tensor", "name", "scale");
    assert_int_equal((int)wf_json_get(w, "shape")->n, 0);
    assert_int_equal((int)fx_number(w, "parameters"), 1);
    assert_int_equal(inspect(f, "m.safetensors", false), WF_OK);
    fx_assert_has(f->text, "safetensors file");
}

static void test_adapter_is_named_with_rank_and_alpha(void **state)
{
    struct fx *f = *state;
    struct fx_tensor t[] = {{"base_model.model.q.lora_A.weight", WF_F32, 2, {4, 8}, zeros}};
    fx_folder(f, "lora");
    fx_st(f, "lora/adapter_model.safetensors", t, 1, NULL, 0);
    fx_text(f, "lora/adapter_config.json",
            "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8.5,\"base_model_name_or_path\":\"org/"
            "b\"}");
    assert_int_equal(inspect(f, "lora", true), WF_OK);
    fx_line(f, "model", "form", "adapter");
    const struct wf_json *a = fx_line(f, "adapter", NULL, NULL);
    assert_int_equal((int)fx_number(a, "rank"), 4);
    assert_true(fx_number(a, "alpha") == 8.5);
    fx_assert_string(a, "base_model", "org/b");
    fx_assert_has(wf_json_string(a, "refused"), "has no lora_B");
    fx_text(f, "lora/adapter_config.json", "{\"r\":\"four\"}");
    assert_int_equal(inspect(f, "lora", true), WF_OK);
    assert_true(fx_is_null(fx_line(f, "adapter", NULL, NULL), "rank"));
    fx_text(f, "lora/adapter_config.json", "{\"r\":4");
    assert_int_equal(inspect(f, "lora", true), WF_INPUT);
    assert_string_equal(f->text, "");
}

static void test_adapter_modules_are_listed_and_summed_up(void **state)
{
    struct fx *f = *state;
    struct fx_tensor t[] = {{"base_model.model.0.q.lora_A.weight", WF_F32, 2, {4, 8}, zeros},
                            {"base_model.model.0.q.lora_B.weight", WF_F32, 2, {6, 4}, zeros},
                            {"base_model.model.1.q.lora_A.weight", WF_F32, 2, {4, 8}, zeros},
                            {"base_model.model.1.q.lora_B.weight", WF_F32, 2, {6, 4}, zeros},
                            {"base_model.model.e.lora_embedding_A", WF_F32, 2, {2, 9}, zeros},
                            {"base_model.model.e.lora_embedding_B", WF_F32, 2, {8, 2}, zeros},
                            {"base_model.model.norm.weight", WF_F32, 1, {8}, zeros}};
    fx_folder(f, "lora");
    fx_st(f, "lora/adapter_model.safetensors", t, 7, NULL, 0);
    fx_text(f, "lora/adapter_config.json",
            "{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":2,\"rank_pattern\":{\"e\":2}}");
    assert_int_equal(inspect(f, "lora", true), WF_OK);
    const struct wf_json *a = fx_line(f, "adapter", NULL, NULL);
    assert_int_equal((int)fx_number(a, "modules"), 3);
    assert_int_equal((int)fx_number(a, "whole_tensors"), 1);
    assert_int_equal((int)fx_number(a, "parameters"), 2 * (32 + 24) + 18 + 16 + 8);
    assert_true(fx_is_null(a, "refused"));
    const struct wf_json *e = fx_line(f, "module", "path", "e");
    fx_assert_string(e, "type", "embedding");
    assert_int_equal((int)fx_number(e, "rank"), 2);
    assert_true(fx_number(e, "scale") == 1);
    assert_true(fx_number(fx_line(f, "module", "path", "1.q"), "scale") == 0.5);
    assert_int_equal(inspect(f, "lora", false), WF_OK);
    fx_assert_has(f->text, "q: 2 modules, rank 4, scale 0.5");
    fx_assert_has(f->text, "e: 1 module, rank 2, scale 1");
    fx_assert_has(f->text, "whole tensors 1");
}

static const struct wf_st_pair delta_metadata[] = {{"base", "org/base"},
                                                   {"density", "0.10"},
                                                   {"store", "replace"},
                                                   {"task", "python"},
                                                   {"w.encoding", "leb128"}};

static void test_task_delta_shows_kept_places(void **state)
{
    struct fx *f = *state;
    struct fx_tensor t[] = {{"w.positions", WF_U8, 1, {7}, zeros},
                            {"w.values", WF_BF16, 1, {5}, zeros},
                            {"bare.positions", WF_U8, 1, {1}, zeros},
                            {"x.positions", WF_U8, 1, {1}, zeros},
                            {"x.values", WF_F32, 1, {3}, zeros}};
    fx_st(f, "d.safetensors", t, 5, delta_metadata, 5);
    assert_int_equal(inspect(f, "d.safetensors", true), WF_OK);
    fx_line(f, "model", "form", "delta");
    const struct wf_json *d = fx_line(f, "delta", NULL, NULL);
    fx_assert_string(d, "base", "org/base");
    fx_assert_string(d, "density", "0.10");
    const struct wf_json *w = fx_line(f, "changed", "name", "w");
    assert_int_equal((int)fx_number(w, "kept"), 5);
    assert_int_equal((int)fx_number(w, "bytes"), 17);
    fx_assert_string(w, "encoding", "leb128");
    fx_assert_string(w, "dtype", "BF16");
    fx_assert_string(fx_line(f, "changed", "name", "x"), "encoding", "-");
    fx_line(f, "tensor", "name", "bare.positions"); /* half a pair is shown as what it is */
    assert_null(strstr(f->text, "w.values"));
    assert_int_equal(inspect(f, "d.safetensors", false), WF_OK);
    fx_assert_has(f->text, "task delta");
}

static void test_without_all_four_entries_it_is_no_delta(void **state)
{
    struct fx *f = *state;
    struct fx_tensor t[] = {{"w.positions", WF_U8, 1, {7}, zeros},
                            {"w.values", WF_BF16, 1, {5}, zeros}};
    fx_st(f, "d.safetensors", t, 2, delta_metadata, 3);
    assert_int_equal(inspect(f, "d.safetensors", true), WF_OK);
    fx_line(f, "model", "form", "file");
    fx_line(f, "tensor", "name", "w.values");
}

static void test_config_text_cannot_reach_the_terminal_raw(void **state)
{
    struct fx *f = *state;
    sharded_model(f);
    fx_text(f, "m/config.json",
            "{\"model_type\":\"\\u001b[2J\\u009b31m\\u0007x\",\"architectures\":\"no list\"}");
    assert_int_equal(inspect(f, "m", false), WF_OK);
    for (const char *p = f->text; *p; p++)
        assert_true(*p == '\n' || (unsigned char)*p >= 0x20);
    assert_null(strstr(f->text, "\xc2\x9b"));
    fx_assert_has(f->text, "?[2J?31m?x");
    assert_null(strstr(f->text, "architecture"));
    assert_int_equal(inspect(f, "m", true), WF_OK);
    assert_true(fx_is_null(fx_line(f, "model", NULL, NULL), "architecture"));
}

static void test_long_names_push_their_row_and_nothing_breaks(void **state)
{
    struct fx *f = *state;
    char name[WF_ST_NAME_MAX + 1];
    memset(name, 'n', WF_ST_NAME_MAX);
    name[WF_ST_NAME_MAX] = 0;
    struct fx_tensor t[] = {{name, WF_U8, 4, {1, 2, 3, 4}, zeros}, {"s", WF_U8, 1, {1}, zeros}};
    fx_st(f, "m.safetensors", t, 2, NULL, 0);
    assert_int_equal(inspect(f, "m.safetensors", false), WF_OK);
    fx_assert_has(f->text, name);
    fx_assert_has(f->text, "[1, 2, 3, 4]");
    assert_int_equal(inspect(f, "m.safetensors", true), WF_OK);
    fx_line(f, "tensor", "name", name);
}

static void test_errors_keep_their_kind(void **state)
{
    struct fx *f = *state;
    assert_int_equal(inspect(f, "nothing.safetensors", true), WF_USAGE);
    fx_folder(f, "empty");
    assert_int_equal(inspect(f, "empty", true), WF_USAGE);
    fx_text(f, "bad.safetensors", "\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_int_equal(inspect(f, "bad.safetensors", true), WF_INPUT);
    assert_string_equal(f->text, "");
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_folder_is_counted_by_shard_type_and_layer),
        T(test_layers_sort_as_numbers_and_show_gaps),
        T(test_prefixes_that_interleave_stay_apart),
        T(test_single_file_and_scalar),
        T(test_adapter_is_named_with_rank_and_alpha),
        T(test_adapter_modules_are_listed_and_summed_up),
        T(test_task_delta_shows_kept_places),
        T(test_without_all_four_entries_it_is_no_delta),
        T(test_config_text_cannot_reach_the_terminal_raw),
        T(test_long_names_push_their_row_and_nothing_breaks),
        T(test_errors_keep_their_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
