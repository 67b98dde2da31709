/* test_layers.c - layers, stacks and modules read from tensor names; the columns of a slice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "../../src/plan/columns.h"

static struct wf_tensor tensors[32];

/* A checkpoint of nothing but names, which are sorted. */
static struct wf_ckpt named(const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        tensors[i] = (struct wf_tensor){.name = names[i]};
    return (struct wf_ckpt){.tensors = tensors, .n_tensors = n};
}

static const char *const llava[] = {
    "language_model.lm_head.weight",
    "language_model.model.embed_tokens.weight",
    "language_model.model.layers.0.experts.7.w",
    "language_model.model.layers.1.experts.7.w",
    "language_model.model.layers.10.experts.7.w",
    "language_model.model.norm.weight",
    "multi_modal_projector.linear.weight",
    "vision_tower.embeddings.weight",
    "vision_tower.layers.0.a",
    "vision_tower.layers.0.b",
    "vision_tower.layers.1.a",
    "vision_tower.layers.1.b",
};
#define LLAVA (sizeof llava / sizeof *llava)

static void stacks_are_told_apart_by_what_is_before_the_first_number(void **state)
{
    (void)state;
    struct wf_err e = {0};
    struct wf_arena a = {0};
    struct wf_ckpt c = named(llava, LLAVA);
    struct wf_stacks s;
    assert_int_equal(wf_stacks_find(&e, &a, &c, NULL, NULL, &s), WF_OK);
    assert_int_equal(s.n, 2);
    const struct wf_stack *text = wf_stack_of(&s, llava[4]), *vision = wf_stack_of(&s, llava[8]);
    assert_ptr_equal(text, &s.list[0]);
    assert_ptr_equal(vision, &s.list[1]);
    assert_null(wf_stack_of(&s, llava[0]));
    assert_null(wf_stack_of(&s, "model.layers.0.w"));
    assert_int_equal(text->last, 10);
    assert_int_equal(text->layers, 3);
    assert_ptr_equal(s.main, text); /* though the tower has more tensors */
    assert_int_equal(
        wf_stacks_find(&e, &a, &c, wf_model_part_has,
                       &(struct wf_model_part){.words = {"vision_tower"}, .n_words = 1}, &s),
        WF_OK);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.main->tensors, 4);
    wf_arena_destroy(&a);
}

static void heads_and_final_norms_are_behind_the_layers(void **state)
{
    (void)state;
    static const char *const behind[] = {"lm_head.weight",
                                         "model.norm.weight",
                                         "transformer.ln_f.bias",
                                         "score.weight",
                                         "gpt_neox.final_layer_norm.weight",
                                         "embed_out.weight",
                                         "bert.pooler.dense.bias",
                                         "cls.predictions.bias",
                                         "model.language_model.norm.weight",
                                         "output.weight",
                                         "transformer.output_layer.weight",
                                         "transformer.encoder.final_layernorm.weight",
                                         "proj_out.weight",
                                         "project_out.weight",
                                         "model.embedding_norm.weight",
                                         "vocab_projector.bias",
                                         "vocab_transform.weight",
                                         "vocab_layer_norm.weight",
                                         "pre_classifier.weight",
                                         "classifier.weight",
                                         "vit.layernorm.weight",
                                         "transformer.ff_out.weight",
                                         "lm_loss.weight",
                                         "generator_lm_head.bias",
                                         "lm_head.layer_norm.weight",
                                         "transformer.rms_norm.weight",
                                         "rwkv.ln_out.weight",
                                         "v_head.summary.weight",
                                         "final_logits_bias",
                                         "qa_outputs.weight",
                                         "cls.seq_relationship.weight",
                                         "visual.ln_post.weight",
                                         "norm"};
    static const char *const before[] = {"model.embed_tokens.weight",
                                         "transformer.wte.weight",
                                         "transformer.wpe.weight",
                                         "embeddings.LayerNorm.weight",
                                         "bert.embeddings.norm.weight",
                                         "model.embed_norm.weight",
                                         "transformer.wte_ln.weight",
                                         "encoder.embed_positions.weight",
                                         "embed_out_proj.weight",
                                         "visual.patch_embed.norm.weight",
                                         "visual.ln_pre.weight",
                                         "vision_model.pre_layrnorm.weight",
                                         "audio_tower.conv1.weight",
                                         "audio_tower.conv_out.weight",
                                         "feature_projection.layer_norm.weight",
                                         "model.per_layer_projection_norm.weight",
                                         "project_in.weight",
                                         "model.rotary_emb.inv_freq",
                                         "vit.embeddings.cls_token",
                                         "image_newline",
                                         "multi_modal_projector.out_proj.weight",
                                         "multi_modal_projector.linear_1.weight",
                                         "multi_modal_projector.norm.weight",
                                         "visual.merger.norm.weight",
                                         "model.word_embeddings_layernorm.weight"};
    for (size_t i = 0; i < sizeof behind / sizeof *behind; i++)
        if (!wf_is_behind_layers(behind[i]))
            fail_msg("%s", behind[i]);
    for (size_t i = 0; i < sizeof before / sizeof *before; i++)
        if (wf_is_behind_layers(before[i]))
            fail_msg("%s", before[i]);
}

static size_t taken(const struct wf_ckpt *c, const char *module)
{
    struct wf_model_part p;
    size_t n = 0;
    if (!wf_model_part_find(c, module, &p))
        return 0;
    for (size_t i = 0; i < c->n_tensors; i++)
        n += wf_model_part_has(&p, c->tensors[i].name);
    return n;
}

static void modules_have_names_of_components_or_what_other_families_call_them(void **state)
{
    (void)state;
    static const char *const qwen[] = {"lm_head.weight", "model.layers.0.w", "visual.blocks.0.w",
                                       "visual.merger.w"};
    struct wf_ckpt c = named(llava, LLAVA);
    assert_int_equal(taken(&c, "vision_tower"), 5);
    assert_int_equal(taken(&c, "visual"), 5); /* the tower's other name */
    assert_int_equal(taken(&c, "text_decoder"), 6);
    assert_int_equal(taken(&c, "language_model"), 6);
    assert_int_equal(taken(&c, "multi_modal_projector"), 1);
    assert_int_equal(taken(&c, "default"), LLAVA);
    assert_int_equal(taken(&c, "audio_tower"), 0);
    assert_int_equal(taken(&c, "vision"), 0);
    c = named(qwen, 4);
    assert_int_equal(taken(&c, "vision_tower"), 2);
    assert_int_equal(taken(&c, "text_decoder"), 2); /* all but the tower */
}

static void assert_column(const struct wf_column *c, const char *const *expected, size_t n)
{
    assert_int_equal(c->n, n);
    for (size_t i = 0; i < n; i++)
        assert_string_equal(c->entries[i].name, expected[i]);
}

static void layers_move_and_stay_sorted(void **state)
{
    (void)state;
    static const char *const names[] = {"emb", "h.0.w", "h.1.w", "h.2.w", "norm.w"};
    static const char *const middle[] = {"h.10.w", "h.9.w"};
    static const char *const ends[] = {"emb", "h.1.w", "norm.w"};
    struct wf_err e = {0};
    struct wf_arena a = {0};
    struct wf_ckpt c = named(names, 5);
    struct wf_column column = {.text = "m"};
    struct wf_column_range range = {.has_layers = true, .from = 1, .n = 2, .to = 9};
    assert_int_equal(wf_column_fill(&e, &a, &c, "r:1", &range, &column), WF_OK);
    assert_column(&column, middle, 2);
    assert_ptr_equal(column.entries[0].tensor, &tensors[3]);
    assert_int_equal(column.entries[0].layer, 1);
    range = (struct wf_column_range){
        .has_layers = true, .from = 1, .n = 1, .to = 1, .before = true, .behind = true};
    assert_int_equal(wf_column_fill(&e, &a, &c, "r:1", &range, &column), WF_OK);
    assert_column(&column, ends, 3);
    assert_ptr_equal(column.entries[1].name, names[1 + 1]); /* not a copy where it stays */
    range = (struct wf_column_range){.has_layers = true, .from = 2, .n = 2};
    assert_int_equal(wf_column_fill(&e, &a, &c, "r:1", &range, &column), WF_USAGE);
    assert_string_equal(e.text, "r:1: 'layer_range' is [2, 4], and m has 3 layers");
    wf_err_clear(&e);
    c = named(names, 1);
    assert_int_equal(wf_column_fill(&e, &a, &c, "r:1", &range, &column), WF_USAGE);
    assert_non_null(strstr(e.text, "m has no layers"));
    wf_arena_destroy(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stacks_are_told_apart_by_what_is_before_the_first_number),
        cmocka_unit_test(heads_and_final_norms_are_behind_the_layers),
        cmocka_unit_test(modules_have_names_of_components_or_what_other_families_call_them),
        cmocka_unit_test(layers_move_and_stay_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
