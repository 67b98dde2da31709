/* test_adapter.c - PEFT adapters: names, config, patterns, and what is refused by name. */
#include "adapter_fixture.h"

#include "../../src/format/adapter_name.h"

static int open_adapter(struct fx *f, const char *config, const char *const *tensors,
                        struct wf_adapter *out)
{
    fx_adapter(f, "a", config, tensors);
    return wf_adapter_open(&f->e, &f->arena, fx_open(f, "a"), out);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define PAIR(path) path ".lora_A.weight 2x3", path ".lora_B.weight 5x2"

static void names_are_taken_apart(void **state)
{
    struct fx *f = *state;
    static const struct {
        const char *name;
        enum wf_adapter_part part;
        const char *path, *adapter;
    } cases[] = {
        {"base_model.model.m.q.lora_A.weight", WF_PART_A, "m.q", NULL},
        {"base_model.model.m.q.lora_B.weight", WF_PART_B, "m.q", NULL},
        {"base_model.model.m.q.lora_B.bias", WF_PART_B_BIAS, "m.q", NULL},
        {"base_model.model.m.q.lora_A.default.weight", WF_PART_A, "m.q", "default"},
        {"base_model.model.m.q.lora_B.x.bias", WF_PART_B_BIAS, "m.q", "x"},
        {"base_model.m.q.lora_A.weight", WF_PART_A, "m.q", NULL},
        {"m.q.lora_A.weight", WF_PART_A, "m.q", NULL},
        {"module.base_model.model._orig_mod.m.q.lora_A.weight", WF_PART_A, "m.q", NULL},
        {"base_model.model.m._fsdp_wrapped_module.q.lora_A.weight", WF_PART_A, "m.q", NULL},
        {"base_model.model.module.m.q.lora_A.weight", WF_PART_A, "m.q", NULL},
        {"base_model.model.e.lora_embedding_A", WF_PART_EMBEDDING_A, "e", NULL},
        {"base_model.model.e.lora_embedding_B.default", WF_PART_EMBEDDING_B, "e", "default"},
        {"base_model.model.e.base_layer.weight", WF_PART_WHOLE, "e.weight", NULL},
        {"base_model.model.attn.base_layer.out_proj.lora_A.weight", WF_PART_A, "attn.out_proj",
         NULL},
        {"base_model.model.score.weight", WF_PART_WHOLE, "score.weight", NULL},
        {"base_model.model.q.bias", WF_PART_WHOLE, "q.bias", NULL},
        {"base_model.model.q.base_layer.bias", WF_PART_WHOLE, "q.bias", NULL},
        {"base_model.model.s.modules_to_save.default.weight", WF_PART_WHOLE, "s.weight", "default"},
        {"base_model.model.s.modules_to_save.d.out.bias", WF_PART_WHOLE, "s.out.bias", "d"},
        {"base_model.model.s.original_module.weight", WF_PART_IGNORED, "s", NULL},
        {"base_model.model.q.lora_monteclora_sampler.x", WF_PART_IGNORED, "q", NULL},
        {"base_model.model.q.lora_magnitude_vector", WF_PART_MAGNITUDE, "q", NULL},
        {"base_model.model.q.lora_magnitude_vector.default.weight", WF_PART_MAGNITUDE, "q", NULL},
        {"base_model.model.e.token_adapter.trainable_tokens_delta", WF_PART_TOKENS, "e", NULL},
        {"base_model.model.q.lora_diag", WF_PART_DIAGONAL, "q", NULL},
        {"lora_unet_down_blocks_0.lora_down.weight", WF_PART_FOREIGN, NULL, NULL},
        {"lora_te_x.alpha", WF_PART_FOREIGN, NULL, NULL},
        {"unet.to_q.lora.down.weight", WF_PART_FOREIGN, NULL, NULL},
        {"unet.to_q_lora.down.weight", WF_PART_FOREIGN, NULL, NULL},
        {"m.q.lora_A", WF_PART_FOREIGN, NULL, NULL},
        {"m.q.lokr_w1", WF_PART_FOREIGN, NULL, NULL},
        {"m.q.hada_w1_a", WF_PART_FOREIGN, NULL, NULL},
        {"m.q.ia3_l", WF_PART_FOREIGN, NULL, NULL},
        {"m.q.vera_lambda_b", WF_PART_FOREIGN, NULL, NULL},
        {"m.q.lora_A.a.b.weight", WF_PART_FOREIGN, NULL, NULL},
        {"m.q.lora_A.bias", WF_PART_FOREIGN, NULL, NULL},
        {"base_model", WF_PART_WHOLE, "base_model", NULL},
        {".", WF_PART_WHOLE, ".", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wf_adapter_name n;
        fx_assert_worked(f, wf_adapter_name_parse(&f->e, &f->arena, cases[i].name, &n));
        if (n.part != cases[i].part || (cases[i].path && strcmp(n.path, cases[i].path)) ||
            (cases[i].path && !n.adapter != !cases[i].adapter) ||
            (cases[i].adapter && strcmp(n.adapter, cases[i].adapter)))
            fail_msg("'%s': part %d of '%s'", cases[i].name, (int)n.part, n.path);
    }
}

static void modules_and_wholes_are_sorted_with_rank_and_scale(void **state)
{
    struct fx *f = *state;
    struct wf_adapter d;
    fx_assert_worked(
        f, open_adapter(f, LORA ",\"base_model_name_or_path\":\"org/b\",\"task_type\":null}",
                        LIST(PAIR("base_model.model.z"), "base_model.model.z.lora_B.bias 5",
                             "base_model.model.e.lora_embedding_A 2x9",
                             "base_model.model.e.lora_embedding_B 4x2",
                             "base_model.model.c.lora_A.weight 2x3x4x4",
                             "base_model.model.c.lora_B.weight 6x2x1x1",
                             "base_model.model.norm.weight 4", "base_model.model.b.bias 4"),
                        &d));
    assert_int_equal(d.n_modules, 3);
    assert_string_equal(d.modules[0].path, "c");
    assert_int_equal(d.modules[0].kind, WF_ADAPTER_CONV);
    assert_string_equal(d.modules[1].path, "e");
    assert_int_equal(d.modules[1].kind, WF_ADAPTER_EMBEDDING);
    assert_string_equal(d.modules[2].path, "z");
    assert_int_equal(d.modules[2].kind, WF_ADAPTER_LINEAR);
    assert_int_equal(d.modules[2].rank, 2);
    assert_true(d.modules[2].scale == 2.0);
    assert_non_null(d.modules[2].bias);
    assert_null(d.modules[1].bias);
    assert_int_equal(d.n_wholes, 2);
    assert_string_equal(d.wholes[0].name, "b.bias");
    assert_string_equal(d.wholes[1].name, "norm.weight");
    assert_string_equal(d.base_name, "org/b");
    assert_null(d.task_type);
    assert_false(d.fan_in_fan_out);
}

static void an_absent_key_has_its_default(void **state)
{
    struct fx *f = *state;
    struct wf_adapter d;
    const char *const eight[] = {"q.lora_A.weight 8x3", "q.lora_B.weight 5x8", NULL};
    fx_assert_worked(f, open_adapter(f, "{\"peft_type\":\"LORA\"}", eight, &d));
    assert_true(d.modules[0].scale == 1.0);
    fx_assert_worked(f, open_adapter(f,
                                     "{\"peft_type\":\"LORA\",\"r\":null,\"lora_alpha\":null,"
                                     "\"rank_pattern\":null,\"alpha_pattern\":{},\"use_dora\":null,"
                                     "\"loftq_config\":{},\"layer_replication\":null,"
                                     "\"target_parameters\":[],\"init_lora_weights\":\"Gaussian\"}",
                                     eight, &d));
    assert_true(d.modules[0].scale == 1.0);
}

static void scale_follows_alpha_rank_and_rslora(void **state)
{
    struct fx *f = *state;
    struct wf_adapter d;
    const char *const four[] = {"q.lora_A.weight 4x3", "q.lora_B.weight 5x4", NULL};
    static const struct {
        const char *config;
        double scale;
    } cases[] = {
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6}", 1.5},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":0}", 0},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":-0.5}", -0.125},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"use_rslora\":true}", 3},
        {"{\"peft_type\":\"LORA\",\"r\":9,\"lora_alpha\":6,\"rank_pattern\":{\"q\":4}}", 1.5},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"alpha_pattern\":{\"q\":32,\"q.*\":1}}",
         8},
        {"{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":6,\"alpha_pattern\":{\"k\":32}}", 1.5},
        {"{\"peft_type\":\"LORA\",\"r\":3,\"lora_alpha\":6,\"use_rslora\":true,"
         "\"rank_pattern\":{\"^q$\":4},\"alpha_pattern\":{\".\":8}}",
         4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        fx_assert_worked(f, open_adapter(f, cases[i].config, four, &d));
        if (d.modules[0].scale != cases[i].scale)
            fail_msg("case %zu: %g", i, d.modules[0].scale);
    }
}

static void the_first_pattern_in_file_order_decides(void **state)
{
    struct fx *f = *state;
    struct wf_adapter d;
    fx_assert_worked(
        f, open_adapter(f,
                        "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":2,\"alpha_pattern\":"
                        "{\"1.q\":4,\"q\":6,\"^m.0.k\":8}}",
                        LIST(PAIR("m.0.q"), PAIR("m.1.q"), PAIR("m.0.k"), PAIR("m.1.k")), &d));
    const double expected[] = {4, 3, 1, 2}; /* m.0.k, m.0.q, m.1.k, m.1.q */
    for (size_t i = 0; i < 4; i++)
        assert_true(d.modules[i].scale == expected[i]);
}

static void what_changes_the_arithmetic_otherwise_is_refused_by_name(void **state)
{
    struct fx *f = *state;
    struct wf_adapter d;
    static const char *const cases[][2] = {
        {"{\"peft_type\":\"LOHA\"}", "peft_type LOHA"},
        {"{\"peft_type\":\"ADALORA\"}", "peft_type ADALORA"},
        {LORA ",\"use_dora\":true}", "use_dora: weft does not merge DoRA"},
        {LORA ",\"use_qalora\":true}", "QALoRA"},
        {LORA ",\"kasa_config\":{\"x\":1}}", "KaSA"},
        {LORA ",\"use_bdlora\":{\"n\":2}}", "BD-LoRA"},
        {LORA ",\"alora_invocation_tokens\":[1,2]}", "aLoRA"},
        {LORA ",\"arrow_config\":{\"k\":1}}", "Arrow"},
        {LORA ",\"layer_replication\":[[0,4],[2,5]]}", "slices"},
        {LORA ",\"target_parameters\":[\"experts.down_proj\"]}", "target_parameters"},
        {LORA ",\"trainable_token_indices\":[1]}", "trainable_token_indices"},
        {LORA ",\"init_lora_weights\":\"pissa\"}", "init_lora_weights 'pissa'"},
        {LORA ",\"init_lora_weights\":\"pissa_niter_16\"}", "'pissa_niter_16'"},
        {LORA ",\"init_lora_weights\":\"olora\"}", "'olora'"},
        {LORA ",\"init_lora_weights\":\"corda\"}", "'corda'"},
        {LORA ",\"init_lora_weights\":\"lora_ga\"}", "'lora_ga'"},
        {LORA ",\"init_lora_weights\":\"loftq\"}", "'loftq'"},
        {LORA ",\"rank_pattern\":{\"(?=q)\":2}}", "rank_pattern: pattern '(?=q)'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        fx_assert_failed(f, open_adapter(f, cases[i][0], LIST(PAIR("q")), &d), WF_USAGE,
                         cases[i][1]);
    static const char *const tensors[][2] = {
        {"q.lora_magnitude_vector 5", "DoRA"},
        {"e.token_adapter.trainable_tokens_delta 2x4", "trained rows"},
        {"q.lora_diag 2", "KaSA"},
        {"lora_unet_x.lora_down.weight 2x4", "no name of PEFT's"},
        {"q.lora_C.weight 2x4", "no name of PEFT's"},
        {"k.lora_A.other.weight 2x4", "two adapters, 'other' and 'default'"},
    };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        fx_assert_failed(
            f, open_adapter(f, LORA "}", LIST("k.lora_B.default.weight 5x2", tensors[i][0]), &d),
            WF_USAGE, tensors[i][1]);
    fx_assert_failed(
        f, open_adapter(f, LORA "}", LIST("q.lora_A.weight 2x3 I32", "q.lora_B.weight 5x2"), &d),
        WF_USAGE, "of type I32");
}

static void damaged_configs_are_refused(void **state)
{
    struct fx *f = *state;
    struct wf_adapter d;
    static const char *const cases[][2] = {
        {"[]", "expected a JSON object"},
        {"{\"peft_type\":\"LORA\"", "adapter_config.json"},
        {"{\"r\":2}", "no peft_type"},
        {"{\"peft_type\":7}", "no peft_type"},
        {"{\"peft_type\":\"LORA\",\"r\":\"two\"}", "r: expected a whole number"},
        {"{\"peft_type\":\"LORA\",\"r\":0}", "r: expected a whole number"},
        {"{\"peft_type\":\"LORA\",\"r\":2.5}", "r: expected a whole number"},
        {"{\"peft_type\":\"LORA\",\"r\":-2}", "r: expected a whole number"},
        {"{\"peft_type\":\"LORA\",\"r\":99999999999}", "r: expected a whole number"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":\"x\"}", "lora_alpha: expected a number"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":NaN}", "lora_alpha: expected a number"},
        {"{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":1e300}", "out of range"},
        {LORA ",\"use_rslora\":1}", "use_rslora: expected true or false"},
        {LORA ",\"rank_pattern\":[1]}", "rank_pattern: expected an object"},
        {LORA ",\"rank_pattern\":{\"q\":\"x\"}}", "rank_pattern: 'q': expected a number"},
        {LORA ",\"rank_pattern\":{\"q\":null}}", "rank_pattern: 'q': expected a number"},
        {LORA ",\"alpha_pattern\":{\"q\":true}}", "alpha_pattern: 'q': expected a number"},
        {LORA ",\"init_lora_weights\":3}", "init_lora_weights"},
        {LORA ",\"rank_pattern\":{\"q\":4}}", "rank 4 by its config and 2 by its tensors"},
        {"{\"peft_type\":\"LORA\",\"r\":3}", "rank 3 by its config and 2 by its tensors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        fx_assert_failed(f, open_adapter(f, cases[i][0], LIST(PAIR("q")), &d), WF_INPUT,
                         cases[i][1]);
}

static void factors_that_do_not_fit_are_refused(void **state)
{
    struct fx *f = *state;
    struct wf_adapter d;
    static const char *const cases[][4] = {
        {"q.lora_A.weight 2x3", "has no lora_B"},
        {"q.lora_B.weight 5x2", "has no lora_A"},
        {"q.lora_B.bias 5", "has no lora_A"},
        {"e.lora_embedding_A 2x3", "has no lora_B"},
        {"q.lora_A.weight 2x3", "do not make a product", "q.lora_B.weight 2x5"},
        {"q.lora_A.weight 2x3", "do not make a product", "q.lora_B.weight 5x2x1"},
        {"q.lora_A.weight 2x3x3", "do not make a product", "q.lora_B.weight 5x2x2"},
        {"q.lora_A.weight 2", "do not make a product", "q.lora_B.weight 2"},
        {"q.lora_A.weight 0x3", "do not make a product", "q.lora_B.weight 5x0"},
        {"e.lora_embedding_A 2x3x1", "do not make a product", "e.lora_embedding_B 4x2x1"},
        {"q.lora_A.weight 2x3", "as a linear layer and as an embedding", "q.lora_embedding_B 5x2"},
        {"q.lora_A.weight 2x3", "the same part", "base_model.model.q.lora_A.default.weight 2x3"},
        {"s.weight 4", "the same part", "s.modules_to_save.default.weight 4"},
        {"s.original_module.weight 4", "holds no tensors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        fx_assert_failed(f, open_adapter(f, LORA "}", LIST(cases[i][0], cases[i][2]), &d), WF_INPUT,
                         cases[i][1]);
    fx_assert_failed(f, open_adapter(f, LORA "}", LIST(PAIR("q"), "q.lora_B.bias 4"), &d), WF_INPUT,
                     "one value for each of the 5 outputs");
}

static void a_folder_above_an_adapter_says_where_it_is(void **state)
{
    struct fx *f = *state;
    struct wf_ckpt c;
    fx_folder(f, "run");
    fx_adapter(f, "run/style", LORA "}", LIST(PAIR("q")));
    struct wf_place place = {.path = fx_path(f, "run")};
    fx_assert_failed(f, wf_ckpt_open(&f->e, &f->arena, &place, &c), WF_USAGE,
                     "an adapter in 'style'");
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(names_are_taken_apart),
        T(modules_and_wholes_are_sorted_with_rank_and_scale),
        T(an_absent_key_has_its_default),
        T(scale_follows_alpha_rank_and_rslora),
        T(the_first_pattern_in_file_order_decides),
        T(what_changes_the_arithmetic_otherwise_is_refused_by_name),
        T(damaged_configs_are_refused),
        T(factors_that_do_not_fit_are_refused),
        T(a_folder_above_an_adapter_says_where_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
