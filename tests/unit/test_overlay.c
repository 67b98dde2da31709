/* test_overlay.c - base + adapter as one table: which tensor, which way round, what is replaced. */
#include "adapter_fixture.h"

#include "../../src/format/overlay.h"

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})

static int lay(struct fx *f, const char *base_config, const char *const *base,
               const char *adapter_config, const char *const *adapter, struct wf_ckpt *out)
{
    struct wf_adapter *d = wf_arena_alloc(&f->arena, &f->e, 1, sizeof *d);
    wf_remove_tree(&f->e, fx_path(f, "base"));
    fx_folder(f, "base");
    if (base_config)
        fx_text(f, "base/config.json", base_config);
    fx_tensors(f, "base/model.safetensors", base);
    fx_adapter(f, "a", adapter_config, adapter);
    const struct wf_ckpt *top = fx_open(f, "a"), *below = fx_open(f, "base");
    if (wf_adapter_open(&f->e, &f->arena, top, d))
        fail_msg("%s", f->e.text);
    return wf_overlay_adapter(&f->e, &f->arena, "r.yaml:7", below, d, out);
}

static const struct wf_addend *addend_of(const struct wf_ckpt *c, const char *name)
{
    const struct wf_tensor *t = wf_ckpt_find(c, name);
    assert_non_null(t);
    if (!t->addend)
        fail_msg("nothing is added to '%s'", name);
    assert_int_equal(t->addend->kind, WF_ADDEND_PRODUCT);
    assert_null(t->addend->next);
    return t->addend;
}

/* The product is rows x cols of this rank; factors are tensors whose names end like this. */
static void assert_product(const struct wf_addend *d, uint64_t rows, uint64_t cols, uint32_t rank,
                           const char *row, const char *col, bool transposed)
{
    assert_int_equal(d->rows, rows);
    assert_int_equal(d->cols, cols);
    assert_int_equal(d->rank, rank);
    assert_true(wf_ends_with(d->row.tensor->name, row));
    assert_true(wf_ends_with(d->col.tensor->name, col));
    assert_int_equal(d->row.transposed, transposed);
    assert_int_equal(d->col.transposed, transposed);
    assert_int_equal(d->row.tensor->file, 1);
    assert_null(d->row.values[0]);
    assert_null(d->col.values[0]);
}

static void each_kind_of_module_finds_its_tensor_and_orientation(void **state)
{
    struct fx *f = *state;
    struct wf_ckpt c;
    fx_assert_worked(
        f, lay(f, "{\"model_type\":\"llama\"}",
               LIST("e.weight 9x4 BF16", "q.weight 5x3", "t.weight 3x5", "c.weight 6x3x4x2",
                    "m.in_proj_weight 12x3", "norm.weight 4"),
               LORA "}",
               LIST("q.lora_A.weight 2x3 BF16", "q.lora_B.weight 5x2", "t.lora_A.weight 2x3",
                    "t.lora_B.weight 5x2", "e.lora_embedding_A 2x9", "e.lora_embedding_B 4x2",
                    "c.lora_A.weight 2x3x4x2", "c.lora_B.weight 6x2x1x1", "m.lora_A.weight 2x3",
                    "m.lora_B.weight 12x2"),
               &c));
    assert_int_equal(c.n_files, 2);
    assert_string_equal(c.files[1].name, "adapter_model.safetensors");
    assert_false(c.is_adapter);
    assert_non_null(c.config);
    assert_int_equal(c.n_tensors, 6);
    assert_product(addend_of(&c, "q.weight"), 5, 3, 2, "lora_B.weight", "lora_A.weight", false);
    assert_product(addend_of(&c, "t.weight"), 3, 5, 2, "lora_A.weight", "lora_B.weight", true);
    assert_product(addend_of(&c, "e.weight"), 9, 4, 2, "embedding_A", "embedding_B", true);
    assert_product(addend_of(&c, "c.weight"), 6, 24, 2, "lora_B.weight", "lora_A.weight", false);
    assert_product(addend_of(&c, "m.in_proj_weight"), 12, 3, 2, "lora_B.weight", "lora_A.weight",
                   false);
    assert_true(addend_of(&c, "q.weight")->scale == 2);
    assert_null(wf_ckpt_find(&c, "norm.weight")->addend);
    assert_int_equal(wf_ckpt_find(&c, "e.weight")->file, 0);
}

static void the_base_itself_is_left_alone(void **state)
{
    struct fx *f = *state;
    struct wf_ckpt c;
    struct wf_adapter d;
    fx_assert_worked(f, lay(f, NULL, LIST("q.weight 5x3"), LORA "}",
                            LIST("q.lora_A.weight 2x3", "q.lora_B.weight 5x2"), &c));
    const struct wf_ckpt *base = fx_open(f, "base");
    struct wf_ckpt one, two;
    fx_assert_worked(f, wf_adapter_open(&f->e, &f->arena, fx_open(f, "a"), &d));
    fx_assert_worked(f, wf_overlay_adapter(&f->e, &f->arena, "x", base, &d, &one));
    fx_assert_worked(f, wf_overlay_adapter(&f->e, &f->arena, "x", base, &d, &two));
    assert_null(base->tensors[0].addend);
    assert_int_equal(base->n_files, 1);
    assert_ptr_not_equal(one.tensors[0].addend, two.tensors[0].addend);
    assert_int_equal(d.modules[0].a->file, 0);
}

static bool square_is_turned(struct fx *f, const char *model_type, const char *config,
                             const char *module, const char *other)
{
    struct wf_ckpt c;
    char weight[64], a[64], b[64];
    snprintf(weight, sizeof weight, "%s.weight 3x3", module);
    snprintf(a, sizeof a, "%s.lora_A.weight 2x3", module);
    snprintf(b, sizeof b, "%s.lora_B.weight 3x2", module);
    fx_assert_worked(f, lay(f, model_type, LIST(weight, other), config,
                            LIST(a, b, other ? "o.lora_A.weight 2x3" : NULL, "o.lora_B.weight 5x2"),
                            &c));
    snprintf(weight, sizeof weight, "%s.weight", module);
    return addend_of(&c, weight)->row.transposed;
}

static void a_square_weight_goes_by_family_neighbours_and_flag(void **state)
{
    struct fx *f = *state;
    static const char gpt2[] = "{\"model_type\":\"gpt2\"}", llama[] = "{\"model_type\":\"llama\"}";
    static const char flag[] = LORA ",\"fan_in_fan_out\":true}", plain[] = LORA "}";
    assert_true(square_is_turned(f, gpt2, plain, "h.0.attn.c_proj", NULL));
    assert_true(square_is_turned(f, gpt2, flag, "h.0.attn.c_proj", "o.weight 5x3"));
    assert_false(square_is_turned(f, gpt2, flag, "lm_head", NULL));
    assert_false(square_is_turned(f, llama, flag, "q_proj", NULL));
    assert_false(square_is_turned(f, NULL, plain, "q_proj", NULL));
    assert_true(square_is_turned(f, NULL, flag, "q_proj", NULL));
    assert_true(square_is_turned(f, NULL, plain, "q_proj", "o.weight 3x5"));
    assert_false(square_is_turned(f, NULL, flag, "q_proj", "o.weight 5x3"));
}

static void prefixes_of_other_library_versions_are_tried(void **state)
{
    struct fx *f = *state;
    static const char *const cases[][2] = {
        {"model.layers.0.q.weight", "layers.0.q"},
        {"layers.0.q.weight", "model.layers.0.q"},
        {"language_model.model.layers.0.q.weight", "model.language_model.layers.0.q"},
        {"model.language_model.layers.0.q.weight", "language_model.model.layers.0.q"},
        {"transformer.h.0.q.weight", "h.0.q"},
        {"h.0.q.weight", "transformer.h.0.q"},
        {"experts.weights", "experts.weights"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wf_ckpt c;
        char weight[96], a[96], b[96];
        snprintf(weight, sizeof weight, "%s 5x3", cases[i][0]);
        snprintf(a, sizeof a, "base_model.model.%s.lora_A.weight 2x3", cases[i][1]);
        snprintf(b, sizeof b, "base_model.model.%s.lora_B.weight 5x2", cases[i][1]);
        fx_assert_worked(f, lay(f, NULL, LIST(weight), LORA "}", LIST(a, b), &c));
        addend_of(&c, cases[i][0]);
    }
}

static void whole_tensors_and_biases_take_the_place_of_the_base(void **state)
{
    struct fx *f = *state;
    struct wf_ckpt c;
    fx_assert_worked(
        f, lay(f, NULL, LIST("q.weight 5x3 BF16", "q.bias 5", "s.weight 2x3 BF16", "e.weight 9x4"),
               LORA "}",
               LIST("q.lora_A.weight 2x3", "q.lora_B.weight 5x2", "q.lora_B.bias 5",
                    "base_model.model.s.weight 2x3", "e.base_layer.weight 9x4",
                    "e.lora_embedding_A 2x9", "e.lora_embedding_B 4x2"),
               &c));
    const struct wf_tensor *s = wf_ckpt_find(&c, "s.weight");
    assert_int_equal(s->file, 1);
    assert_int_equal(s->dtype, WF_F32);
    assert_string_equal(s->name, "s.weight");
    assert_null(s->addend);
    assert_int_equal(wf_ckpt_find(&c, "e.weight")->file, 1);
    assert_int_equal(addend_of(&c, "e.weight")->rows, 9);
    const struct wf_addend *b = addend_of(&c, "q.bias");
    assert_int_equal(b->rows, 5);
    assert_int_equal(b->cols, 1);
    assert_int_equal(b->rank, 1);
    assert_string_equal(b->row.tensor->name, "q.lora_B.bias");
    assert_null(b->col.tensor);
    assert_true(!b->col.tensor && b->scale == 2);
}

static void a_tied_head_shares_the_factors_of_the_embedding(void **state)
{
    struct fx *f = *state;
    struct wf_ckpt c;
    const char *const both[] = {"embed.lora_embedding_A 2x9", "embed.lora_embedding_B 4x2",
                                "lm_head.lora_A.weight 2x4", "lm_head.lora_B.weight 9x2", NULL};
    fx_assert_worked(f,
                     lay(f, NULL, LIST("embed.weight 9x4"), LORA "}", LIST(both[0], both[1]), &c));
    fx_assert_worked(
        f, lay(f, NULL, LIST("embed.weight 9x4"), LORA ",\"ensure_weight_tying\":true}", both, &c));
    addend_of(&c, "embed.weight");
    fx_assert_failed(f, lay(f, NULL, LIST("embed.weight 9x4"), LORA "}", both, &c), WF_USAGE,
                     "'lm_head'");
}

#define TIED "{\"tie_word_embeddings\":true}"

static void a_tied_head_that_is_stored_follows_the_embedding(void **state)
{
    struct fx *f = *state;
    struct wf_ckpt c;
    const char *const base[] = {"lm_head.weight 9x4", "model.embed_tokens.weight 9x4", NULL};
    const char *const factors[] = {"model.embed_tokens.lora_embedding_A 2x9",
                                   "model.embed_tokens.lora_embedding_B 4x2",
                                   "lm_head.lora_A.weight 2x4", "lm_head.lora_B.weight 9x2", NULL};
    const char *const *table = LIST(factors[0], factors[1]);
    fx_assert_worked(f, lay(f, TIED, base, LORA "}", table, &c));
    assert_product(addend_of(&c, "lm_head.weight"), 9, 4, 2, "embedding_A", "embedding_B", true);
    assert_ptr_not_equal(addend_of(&c, "lm_head.weight"),
                         addend_of(&c, "model.embed_tokens.weight"));
    assert_int_equal(wf_ckpt_find(&c, "lm_head.weight")->file, 0);

    /* Multimodal models say it further in. The adapter's own factors for the head come first. */
    fx_assert_worked(f, lay(f, "{\"text_config\":" TIED "}", base, LORA "}", table, &c));
    addend_of(&c, "lm_head.weight");
    fx_assert_worked(f, lay(f, TIED, base, LORA "}", factors, &c));
    assert_product(addend_of(&c, "lm_head.weight"), 9, 4, 2, "lora_B.weight", "lora_A.weight",
                   false);

    fx_assert_worked(f, lay(f, TIED, base, LORA ",\"modules_to_save\":[\"embed_tokens\"]}",
                            LIST("model.embed_tokens.weight 9x4 BF16"), &c));
    const struct wf_tensor *head = wf_ckpt_find(&c, "lm_head.weight");
    assert_int_equal(head->file, 1);
    assert_int_equal(head->dtype, WF_BF16);
    assert_string_equal(head->name, "lm_head.weight");

    /* Not tied, or of another shape. */
    fx_assert_worked(f, lay(f, "{\"tie_word_embeddings\":false}", base, LORA "}", table, &c));
    assert_null(wf_ckpt_find(&c, "lm_head.weight")->addend);
    fx_assert_worked(f, lay(f, "{}", base, LORA "}", table, &c));
    assert_null(wf_ckpt_find(&c, "lm_head.weight")->addend);
    fx_assert_worked(f, lay(f, TIED, LIST("lm_head.weight 8x4", base[1]), LORA "}", table, &c));
    assert_null(wf_ckpt_find(&c, "lm_head.weight")->addend);
}

static void what_does_not_fit_the_base_is_refused(void **state)
{
    struct fx *f = *state;
    struct wf_ckpt c;
    static const char *const cases[][6] = {
        {"q.weight 5x4", "q.weight' is [5, 4]", "q.lora_A.weight 2x3", "q.lora_B.weight 5x2"},
        {"q.weight 15", "is [15]", "q.lora_A.weight 2x3", "q.lora_B.weight 5x2"},
        {"q.weight 5x3 I8", "of type I8", "q.lora_A.weight 2x3", "q.lora_B.weight 5x2"},
        {"e.weight 4x9", "expected A [r, rows]", "e.lora_embedding_A 2x9",
         "e.lora_embedding_B 4x2"},
        {"c.weight 6x3x4", "is [6, 3, 4]", "c.lora_A.weight 2x3x5", "c.lora_B.weight 6x2x1"},
        {"c.weight 6x3x4", "grouped", "c.lora_A.weight 2x6x4", "c.lora_B.weight 6x2x1"},
        {"s.weight 4x4", "replace it by one of [5, 4]", "s.weight 5x4"},
        {"s.weight 4x4", "both replace", "s.weight 4x4", "model.s.weight 4x4"},
        {"s.weight 4x4", "no tensors for 1 part of the adapter", "s.bias 4"},
        {"k.weight 5x3", "'q' (nearest to the first: 'k.weight')", "q.lora_A.weight 2x3",
         "q.lora_B.weight 5x2"},
        {"q.weight 5x3", "'q.lora_B.bias'", "q.lora_A.weight 2x3", "q.lora_B.weight 5x2",
         "q.lora_B.bias 5"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        fx_assert_failed(f,
                         lay(f, NULL, LIST(cases[i][0]), LORA "}",
                             LIST(cases[i][2], cases[i][3], cases[i][4]), &c),
                         WF_USAGE, cases[i][1]);
    fx_assert_failed(f,
                     lay(f, NULL, LIST("q.weight 5x3"), LORA "}",
                         LIST("q.lora_A.weight 2x3", "q.lora_B.weight 5x2",
                              "model.q.lora_A.weight 2x3", "model.q.lora_B.weight 5x2"),
                         &c),
                     WF_USAGE, "both mean tensor 'q.weight'");
}

static void all_misses_are_counted_and_the_first_named(void **state)
{
    struct fx *f = *state;
    struct wf_ckpt c;
    int s = lay(f, NULL, LIST("layers.0.q.weight 5x3", "layers.1.q.weight 5x3", "x 1", "y 1"),
                LORA ",\"base_model_name_or_path\":\"org/name\"}",
                LIST("layers.5.q.lora_A.weight 2x3", "layers.5.q.lora_B.weight 5x2",
                     "layers.6.q.lora_A.weight 2x3", "layers.6.q.lora_B.weight 5x2",
                     "layers.7.q.lora_A.weight 2x3", "layers.7.q.lora_B.weight 5x2",
                     "layers.8.q.lora_A.weight 2x3", "layers.8.q.lora_B.weight 5x2", "n.bias 2"),
                &c);
    fx_assert_has(f->e.text, "r.yaml:7: ");
    fx_assert_has(f->e.text, "nearest to the first: 'layers.0.q.weight', 'layers.1.q.weight', ");
    fx_assert_has(f->e.text, "made for, org/name?");
    fx_assert_failed(f, s, WF_USAGE, "no tensors for 5 parts of the adapter");
}

#define T(name) cmocka_unit_test_setup_teardown(name, fx_setup, fx_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(each_kind_of_module_finds_its_tensor_and_orientation),
        T(the_base_itself_is_left_alone),
        T(a_square_weight_goes_by_family_neighbours_and_flag),
        T(prefixes_of_other_library_versions_are_tried),
        T(whole_tensors_and_biases_take_the_place_of_the_base),
        T(a_tied_head_shares_the_factors_of_the_embedding),
        T(a_tied_head_that_is_stored_follows_the_embedding),
        T(what_does_not_fit_the_base_is_refused),
        T(all_misses_are_counted_and_the_first_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
