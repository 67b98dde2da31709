/* test_sidecar.c - which small files travel with a merge, and how they are copied. */
#include "model_tree.h"

#include "../../src/format/sidecar.h"

static void list(struct tree *t, const char *relative, struct wf_sidecars *s)
{
    struct wf_place place = {.path = tree_path(t, relative)};
    assert_worked(t, wf_sidecar_list(&t->err, &t->arena, &place, s));
}

static int travels(const struct wf_sidecars *s, const char *name)
{
    for (size_t i = 0; i < s->n; i++)
        if (!strcmp(s->files[i].name, name))
            return 1;
    return 0;
}

static const char *reason(const struct wf_sidecars *s, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < s->n_left_out; i++)
        if (!strncmp(s->left_out[i], name, n) && s->left_out[i][n] == ' ')
            return s->left_out[i] + n + 1;
    return NULL;
}

static void known_and_unknown_text_files_travel(void **state)
{
    struct tree *t = *state;
    struct wf_sidecars s;
    static const char *const names[] = {
        "tokenizer.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
        "vocab.txt",
        "tokenizer.model",
        "qwen.tiktoken",
        "source.spm",
        "chat_template.jinja",
        "generation_config.json",
        "preprocessor_config.json",
        "processor_of_next_year.json",
        "modules.json",
        "modeling_x.py",
        "LICENSE",
        "LICENSE.txt",
        "NOTICE",
        "USE_POLICY.md",
        "1_Pooling/config.json",
        "additional_chat_templates/rag.jinja",
    };
    size_t n = sizeof names / sizeof *names;
    for (size_t i = 0; i < n; i++) {
        char path[256];
        snprintf(path, sizeof path, "m/%s", names[i]);
        tree_file(t, path, names[i]);
    }
    list(t, "m", &s);
    assert_int_equal(s.n, n);
    assert_int_equal(s.n_left_out, 0);
    for (size_t i = 0; i < n; i++)
        assert_true(travels(&s, names[i]));
    for (size_t i = 1; i < s.n; i++)
        assert_true(strcmp(s.files[i - 1].name, s.files[i].name) < 0);
    assert_int_equal(s.files[0].bytes, strlen(s.files[0].name));
}

static void what_weft_writes_itself_does_not_travel(void **state)
{
    struct tree *t = *state;
    struct wf_sidecars s;
    static const char *const names[] = {
        "m/config.json",
        "m/README.md",
        "m/model.safetensors",
        "m/model-00001-of-00002.safetensors",
        "m/model.safetensors.index.json",
        "m/model.safetensors.index.fp16.json",
        "m/pytorch_model.bin",
        "m/pytorch_model.bin.index.json",
        "m/weft_manifest.json",
        "m/.gitattributes",
        "m/.cache/huggingface/download/x.json",
        "m/__pycache__/x.json",
        "n/config.json/x.txt", /* folders of such names would be in the way */
        "n/README.md/x.txt",
        "n/weft_manifest.json/x.txt",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        tree_file(t, names[i], "x");
    list(t, "m", &s);
    assert_int_equal(s.n, 0);
    assert_int_equal(s.n_left_out, 0);
    list(t, "n", &s);
    assert_int_equal(s.n, 0);
    assert_int_equal(s.n_left_out, 0);
}

static void what_is_left_out_has_a_reason(void **state)
{
    struct tree *t = *state;
    struct wf_sidecars s;
    static const char *const cases[][2] = {
        {"optimizer.pt", "(training state)"},
        {"scheduler.json", "(training state)"},
        {"rng_state_0.pth", "(training state)"},
        {"trainer_state.json", "(training state)"},
        {"training_args.bin", "(training state)"},
        {"all_results.json", "(training results)"},
        {"hf_quant_config.json", "(of a quantised form)"},
        {"quantize_config.json", "(of a quantised form)"},
        {"adapter_config.json", "(an adapter's)"},
        {"adapter_model.safetensors", "(an adapter's)"},
        {"consolidated.00.pth", "(another form of the weights)"},
        {"LICENSE.safetensors", "(weights)"},
        {"vision.safetensors", "(weights)"},
        {"tf_model.h5", "(another form of the weights)"},
        {"x.gguf", "(another form of the weights)"},
        {"tokenizer.json.incomplete", "(an unfinished download)"},
        {"recipe.yaml", "(the recipe of another model)"},
        {"photo.png", "(not a kind of file that weft carries over)"},
        {"onnx", "(another form of the model)"},
        {"global_step10", "(training state)"},
        {"1_Pooling/deeper", "(a folder in a sub-folder)"},
        {"1_Pooling/code.py", "(code in a sub-folder)"},
        {"1_Pooling/model.safetensors", "(weights)"},
        {"fifo.json", "(not a regular file)"},
        {"gone.json", "(No such file or directory)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[256];
        bool folder = strchr(cases[i][1], '(') && !strchr(cases[i][0], '.');
        snprintf(path, sizeof path, folder ? "m/%s/config.json" : "m/%s", cases[i][0]);
        if (!strcmp(cases[i][0], "fifo.json"))
            assert_int_equal(mkfifo(tree_path(t, path), 0600), 0);
        else if (!strcmp(cases[i][0], "gone.json"))
            tree_link(t, path, "nowhere");
        else
            tree_file(t, path, "x");
    }
    list(t, "m", &s);
    assert_int_equal(s.n, 0);
    assert_int_equal(s.n_left_out, sizeof cases / sizeof *cases);
    for (size_t i = 0; i < s.n_left_out; i++) {
        assert_non_null(reason(&s, cases[i][0]));
        assert_string_equal(reason(&s, cases[i][0]), cases[i][1]);
    }
}

static void links_stay_inside(void **state)
{
    struct tree *t = *state;
    struct wf_sidecars s;
    tree_file(t, "secret/passwords.json", "x");
    tree_file(t, "m/real.json", "x");
    tree_file(t, "m-other/x.json", "x");
    tree_link(t, "m/inside.json", "real.json");
    tree_link(t, "m/outside.json", "../secret/passwords.json");
    tree_link(t, "m/beside.json", "../m-other/x.json");
    tree_link(t, "m/folder", "../secret");
    tree_link(t, "m/self", ".");
    list(t, "m", &s);
    assert_int_equal(s.n, 2);
    assert_true(travels(&s, "inside.json"));
    assert_true(travels(&s, "real.json"));
    static const char *const outside[] = {"outside.json", "beside.json", "folder", "self"};
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(reason(&s, outside[i]), "(a link out of the model's folder)");
    assert_int_equal(s.n_left_out, 4);
}

static void links_of_a_snapshot_lead_to_its_blobs(void **state)
{
    struct tree *t = *state;
    struct wf_sidecars s;
    tree_file(t, "r/blobs/aa", "x");
    tree_file(t, "other/blobs/aa", "x");
    tree_link(t, "r/snapshots/c/tokenizer.json", "../../blobs/aa");
    tree_link(t, "r/snapshots/c/stolen.json", "../../../other/blobs/aa");
    tree_link(t, "r/snapshots/c/1_Pooling/config.json", "../../../blobs/aa");
    struct wf_place place = {.path = tree_path(t, "r/snapshots/c"), .boundary = tree_path(t, "r")};
    assert_worked(t, wf_sidecar_list(&t->err, &t->arena, &place, &s));
    assert_int_equal(s.n, 2);
    assert_true(travels(&s, "tokenizer.json"));
    assert_true(travels(&s, "1_Pooling/config.json"));
    assert_non_null(reason(&s, "stolen.json"));
}

static void large_files_are_left_out(void **state)
{
    struct tree *t = *state;
    struct wf_sidecars s;
    for (int i = 0; i < 18; i++) { /* sparse: 17 x 64 MiB is over 1 GiB, one more over 64 MiB */
        char name[64];
        snprintf(name, sizeof name, "m/%02d.json", i);
        assert_int_equal(truncate(tree_file(t, name, ""), (64 << 20) + (i == 17)), 0);
    }
    tree_file(t, "m/empty.json", "");
    list(t, "m", &s);
    assert_int_equal(s.n, 17);
    assert_true(travels(&s, "15.json"));
    assert_true(travels(&s, "empty.json"));
    assert_string_equal(reason(&s, "16.json"), "(over 1 GiB in all)");
    assert_string_equal(reason(&s, "17.json"), "(over 64 MiB)");
}

static void a_single_file_has_no_sidecars(void **state)
{
    struct tree *t = *state;
    struct wf_sidecars s;
    tree_tensors(t, "m/model.safetensors", "a", NULL);
    tree_file(t, "m/tokenizer.json", "{}");
    list(t, "m/model.safetensors", &s);
    assert_int_equal(s.n, 0);
    assert_int_equal(s.n_left_out, 0);
}

static void copies_have_the_same_bytes(void **state)
{
    struct tree *t = *state;
    struct wf_sidecars s;
    static const char bytes[] = "\0\xff{\r\n";
    tree_bytes(t, "m/a.json", bytes, sizeof bytes);
    tree_file(t, "m/b.json", "");
    tree_bytes(t, "m/sub/c.json", bytes, sizeof bytes);
    tree_bytes(t, "m/sub/d.json", bytes, sizeof bytes);
    list(t, "m", &s);
    assert_int_equal(s.n, 4);
    const char *out = tree_folder(t, "out");
    for (size_t i = 0; i < s.n; i++) {
        char *text;
        size_t n;
        assert_worked(t, wf_sidecar_copy(&t->err, &s.files[i], out));
        assert_worked(t, wf_read_small(&t->err, WF_INPUT,
                                       wf_path_join(&t->arena, &t->err, out, s.files[i].name), 100,
                                       &text, &n));
        assert_int_equal(n, s.files[i].bytes);
        assert_memory_equal(text, bytes, n);
        wf_free(text);
    }
}

static void a_failed_copy_says_which_side_failed(void **state)
{
    struct tree *t = *state;
    struct wf_sidecars s;
    tree_file(t, "m/sub/a.json", "x");
    list(t, "m", &s);
    assert_failed(t, wf_sidecar_copy(&t->err, &s.files[0], tree_path(t, "nowhere")), WF_MACHINE,
                  "nowhere/sub");
    tree_file(t, "out/sub", "in the way");
    assert_failed(t, wf_sidecar_copy(&t->err, &s.files[0], tree_path(t, "out")), WF_MACHINE,
                  "out/sub");
    unlink(tree_path(t, "m/sub/a.json"));
    assert_failed(t, wf_sidecar_copy(&t->err, &s.files[0], tree_path(t, "out")), WF_INPUT,
                  "m/sub/a.json");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(known_and_unknown_text_files_travel),   TEST(what_weft_writes_itself_does_not_travel),
        TEST(what_is_left_out_has_a_reason),         TEST(links_stay_inside),
        TEST(links_of_a_snapshot_lead_to_its_blobs), TEST(large_files_are_left_out),
        TEST(a_single_file_has_no_sidecars),         TEST(copies_have_the_same_bytes),
        TEST(a_failed_copy_says_which_side_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
