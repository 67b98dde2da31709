/* test_ckpt.c - opening model folders: single files, indexes, shards, adapters, and damage. */
#include "model_tree.h"

#include "../../src/format/ckpt.h"

#define INDEX "m/model.safetensors.index.json"
#define COMMIT "0123456789abcdef0123456789abcdef01234567"

static int open_local(struct tree *t, const char *relative, struct wf_ckpt *c)
{
    struct wf_place place = {.path = tree_path(t, relative)};
    return wf_ckpt_open(&t->err, &t->arena, &place, c);
}

static void a_single_file_opens(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_tensors(t, "m/model.safetensors", "b", "a", "c.weight", NULL);
    assert_worked(t, open_local(t, "m/model.safetensors", &c));
    assert_false(c.is_folder);
    assert_null(c.config);
    assert_int_equal(c.n_files, 1);
    assert_string_equal(c.files[0].name, "model.safetensors");
    assert_int_equal(c.n_tensors, 3);
    assert_string_equal(c.tensors[0].name, "a");
    assert_string_equal(c.tensors[2].name, "c.weight");
    assert_int_equal(c.tensors[0].offset, c.files[0].data_start + 4);
    assert_int_equal(c.tensors[0].bytes, 4);
    assert_int_equal(c.tensors[0].count, 1);
    assert_int_equal(c.tensors[0].dtype, WF_F32);
    assert_int_equal(c.n_metadata, 1);
    assert_ptr_equal(wf_ckpt_find(&c, "b"), &c.tensors[1]);
    assert_null(wf_ckpt_find(&c, "bb"));
    assert_null(wf_ckpt_find(&c, ""));
}

static void a_folder_with_a_config_opens(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    static const char config[] = "{\"limits\": [0.0, Infinity], \"model_type\": \"x\"}";
    tree_tensors(t, "m/model.safetensors", "a", NULL);
    tree_tensors(t, "m/model.fp16.safetensors", "other", NULL);
    tree_tensors(t, "m/consolidated.safetensors", "other", NULL);
    tree_tensors(t, "m/adapter_model.safetensors", "other", NULL);
    tree_file(t, "m/pytorch_model.bin", "x");
    tree_file(t, "m/config.json", config);
    assert_worked(t, open_local(t, "m", &c));
    assert_true(c.is_folder);
    assert_false(c.is_adapter);
    assert_int_equal(c.n_tensors, 1);
    assert_string_equal(wf_json_string(c.config, "model_type"), "x");
    assert_string_equal(c.config_text, config);
    assert_int_equal(c.config_n, sizeof config - 1);
    assert_string_equal(c.config_path, tree_path(t, "m/config.json"));
}

static void a_file_without_tensors_opens(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_bytes(t, "e.safetensors", "\2\0\0\0\0\0\0\0{}", 10);
    assert_worked(t, open_local(t, "e.safetensors", &c));
    assert_int_equal(c.n_tensors, 0);
    assert_null(wf_ckpt_find(&c, "a"));
}

static void a_damaged_config_is_refused(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_tensors(t, "m/model.safetensors", "a", NULL);
    static const char *const texts[] = {"", "{", "[1]", "null", "{\"a\":1,\"a\":2}", "{\"a\":1}x"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tree_file(t, "m/config.json", texts[i]);
        assert_failed(t, open_local(t, "m", &c), WF_INPUT, "m/config.json");
    }
    unlink(tree_path(t, "m/config.json"));
    tree_link(t, "m/config.json", "nowhere");
    assert_failed(t, open_local(t, "m", &c), WF_INPUT, "m/config.json");
}

static void an_index_joins_its_shards(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_tensors(t, "m/model-00001-of-00002.safetensors", "b", "a", NULL);
    tree_tensors(t, "m/model-00002-of-00002.safetensors", "d", "c", NULL);
    tree_file(t, INDEX,
              "{\"metadata\": {\"total_size\": 1.5}, \"weight_map\": {"
              "\"d\": \"model-00002-of-00002.safetensors\","
              "\"a\": \"model-00001-of-00002.safetensors\","
              "\"c\": \"model-00002-of-00002.safetensors\","
              "\"b\": \"model-00001-of-00002.safetensors\"}}");
    assert_worked(t, open_local(t, "m", &c));
    assert_int_equal(c.n_files, 2);
    assert_int_equal(c.n_tensors, 4);
    assert_int_equal(c.n_ignored, 0);
    assert_null(c.metadata);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(c.tensors[i].name[0], "abcd"[i]);
    assert_string_equal(c.files[c.tensors[1].file].name, "model-00001-of-00002.safetensors");
    assert_string_equal(c.files[c.tensors[3].file].name, "model-00002-of-00002.safetensors");
}

static void shards_may_lie_in_a_sub_folder(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_tensors(t, "m/parts/x.safetensors", "a", NULL);
    tree_file(t, INDEX, "{\"weight_map\":{\"a\":\"parts/x.safetensors\"}}");
    assert_worked(t, open_local(t, "m", &c));
    assert_string_equal(c.files[0].path, tree_path(t, "m/parts/x.safetensors"));
}

static void tensors_outside_of_the_index_are_counted(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_tensors(t, "m/base.safetensors", "a", "b", "head", NULL);
    tree_tensors(t, "m/overlay.safetensors", "b", "zz", NULL);
    tree_file(t, INDEX,
              "{\"weight_map\":{\"a\":\"base.safetensors\",\"b\":\"overlay.safetensors\"}}");
    assert_worked(t, open_local(t, "m", &c));
    assert_int_equal(c.n_tensors, 2);
    assert_int_equal(c.n_ignored, 3); /* the stale b, head, zz */
    assert_string_equal(c.first_ignored, "b");
    assert_string_equal(c.files[wf_ckpt_find(&c, "b")->file].name, "overlay.safetensors");
    assert_null(wf_ckpt_find(&c, "head"));
}

static void an_index_that_lies_is_refused(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_tensors(t, "m/1.safetensors", "a", "b", NULL);
    tree_tensors(t, "m/2.safetensors", "c", NULL);
    static const char *const cases[][2] = {
        {"{\"a\":\"1.safetensors\",\"c\":\"1.safetensors\"}", "tensor 'c' is not in 1.safetensors"},
        {"{\"a\":\"2.safetensors\",\"b\":\"1.safetensors\"}",
         "tensor 'a' should be in 2.safetensors but is in 1.safetensors"},
        {"{\"a\":\"1.safetensors\",\"x\":\"2.safetensors\",\"y\":\"2.safetensors\"}",
         "tensor 'x' is not in 2.safetensors (2 missing in all)"},
        {"{\"0\":\"1.safetensors\"}", "tensor '0' is not in"},
        {"{\"a\":\"3.safetensors\",\"b\":\"1.safetensors\"}",
         "1 of 2 files that the index names are missing: 3.safetensors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"weight_map\":%s}", cases[i][0]);
        tree_file(t, INDEX, text);
        assert_failed(t, open_local(t, "m", &c), WF_INPUT, cases[i][1]);
    }
}

static void an_index_stays_inside_its_folder(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_tensors(t, "secret.safetensors", "a", NULL);
    tree_folder(t, "m/sub");
    static const char *const names[] = {
        "../secret.safetensors",
        "sub/../../secret.safetensors",
        "/etc/x.safetensors",
        "..\\\\secret.safetensors",
        "C:secret.safetensors",
        "./secret.safetensors",
        "sub//x.safetensors",
        "x\\u0001.safetensors",
        "secret.bin",
        "",
        "x.safetensors/",
        "x.safetensors/..",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[512];
        snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        tree_file(t, INDEX, text);
        assert_failed(t, open_local(t, "m", &c), WF_INPUT, "must stay inside the folder");
    }
}

static void a_damaged_index_is_refused(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"weight_map\":{}}",
        "{\"weight_map\":[]}",
        "{\"weight_map\":\"x\"}",
        "{\"weight_map\":{\"a\":1}}",
        "{\"weight_map\":{\"\":\"x.safetensors\"}}",
        "{\"weight_map\":{\"a\":null}}",
        "{\"weight_map\":{\"a\":\"x.safetensors\",\"a\":\"x.safetensors\"}}",
        "{\"weight_map\":{\"a\":\"x.safetensors\"}} trailing",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tree_file(t, INDEX, texts[i]);
        assert_failed(t, open_local(t, "m", &c), WF_INPUT, "index.json");
    }
}

static void many_missing_shards_are_summed_up(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_file(
        t, INDEX,
        "{\"weight_map\":{\"1\":\"1.safetensors\",\"2\":\"2.safetensors\",\"3\":\"3.safetensors\","
        "\"4\":\"4.safetensors\",\"5\":\"5.safetensors\",\"6\":\"6.safetensors\","
        "\"7\":\"7.safetensors\"}}");
    tree_link(t, "m/2.safetensors", "blob-that-was-not-fetched");
    assert_failed(t, open_local(t, "m", &c), WF_INPUT,
                  "7 of 7 files that the index names are missing: 1.safetensors, 2.safetensors, "
                  "3.safetensors, 4.safetensors, 5.safetensors and 2 more");
}

static void single_file_and_index_must_agree(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_tensors(t, "m/model.safetensors", "a", "b", NULL);
    tree_tensors(t, "m/x.safetensors", "a", "b", NULL);
    tree_file(t, INDEX, "{\"weight_map\":{\"a\":\"x.safetensors\",\"b\":\"x.safetensors\"}}");
    assert_worked(t, open_local(t, "m", &c));
    assert_int_equal(c.n_tensors, 2);
    assert_string_equal(c.files[0].name, "model.safetensors");
    tree_file(t, INDEX, "{\"weight_map\":{\"a\":\"x.safetensors\"}}");
    assert_failed(t, open_local(t, "m", &c), WF_INPUT, "'b' is only in model.safetensors");
    tree_file(t, INDEX,
              "{\"weight_map\":{\"a\":\"x.safetensors\",\"b\":\"x.safetensors\",\"c\":\"x."
              "safetensors\"}}");
    assert_failed(t, open_local(t, "m", &c), WF_INPUT, "'c' is only in the index");
    /* An index that names the single file, alone or beside others, is no contradiction. */
    tree_tensors(t, "m/y.safetensors", "c", NULL);
    tree_file(t, INDEX, "{\"weight_map\":{\"a\":\"model.safetensors\",\"c\":\"y.safetensors\"}}");
    assert_worked(t, open_local(t, "m", &c));
    assert_int_equal(c.n_tensors, 2);
    assert_int_equal(c.n_ignored, 1);
}

static void shards_without_an_index_must_be_complete(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_tensors(t, "m/model-00003-of-00003.safetensors", "c", NULL);
    tree_tensors(t, "m/model-00001-of-00003.safetensors", "a", NULL);
    assert_failed(t, open_local(t, "m", &c), WF_INPUT,
                  "1 of 3 files that the shards' numbers call for are missing: "
                  "model-00002-of-00003.safetensors");
    tree_tensors(t, "m/model-00002-of-00003.safetensors", "b", NULL);
    tree_tensors(t, "m/model-00004-of-00003.safetensors", "junk", NULL); /* no shard's name */
    assert_worked(t, open_local(t, "m", &c));
    assert_int_equal(c.n_tensors, 3);
    assert_string_equal(c.files[1].name, "model-00002-of-00003.safetensors");
    tree_tensors(t, "m/model-00002-of-00003.safetensors", "a", NULL);
    assert_failed(t, open_local(t, "m", &c), WF_INPUT,
                  "tensor 'a' is in both model-00001-of-00003.safetensors and "
                  "model-00002-of-00003.safetensors");
    tree_tensors(t, "m/model-00001-of-00002.safetensors", "q", NULL);
    assert_failed(t, open_local(t, "m", &c), WF_INPUT, "shards of two sets");
    tree_tensors(t, "m/model.safetensors", "a", NULL);
    assert_failed(t, open_local(t, "m", &c), WF_INPUT, "both model.safetensors and model-00001");
    tree_tensors(t, "one/model-00001-of-00001.safetensors", "a", NULL);
    assert_worked(t, open_local(t, "one", &c));
}

static void a_damaged_shard_is_named(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_tensors(t, "m/model-00001-of-00002.safetensors", "a", NULL);
    char *second = tree_tensors(t, "m/model-00002-of-00002.safetensors", "b", NULL);
    struct stat st;
    assert_int_equal(stat(second, &st), 0);
    assert_int_equal(truncate(second, st.st_size - 1), 0);
    assert_failed(t, open_local(t, "m", &c), WF_INPUT, "model-00002-of-00002.safetensors");
    assert_int_equal(truncate(second, 0), 0);
    assert_failed(t, open_local(t, "m", &c), WF_INPUT, "model-00002-of-00002.safetensors");
}

static void what_is_no_regular_file_is_refused_at_once(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_folder(t, "fifo");
    assert_int_equal(mkfifo(tree_path(t, "fifo/model.safetensors"), 0600), 0);
    assert_failed(t, open_local(t, "fifo", &c), WF_INPUT, "not a regular file");
    tree_folder(t, "folder/model.safetensors");
    assert_failed(t, open_local(t, "folder", &c), WF_INPUT, "not a regular file");
    tree_link(t, "device/model.safetensors", "/dev/zero");
    assert_failed(t, open_local(t, "device", &c), WF_INPUT, "not a regular file");
    tree_tensors(t, "config/model.safetensors", "a", NULL);
    assert_int_equal(mkfifo(tree_path(t, "config/config.json"), 0600), 0);
    assert_failed(t, open_local(t, "config", &c), WF_INPUT, "not a regular file");
    tree_folder(t, "index/model.safetensors.index.json");
    assert_failed(t, open_local(t, "index", &c), WF_INPUT, "not a regular file");
}

static void folders_without_weights_say_what_to_do(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_folder(t, "empty");
    assert_failed(t, open_local(t, "empty", &c), WF_USAGE, "no weights here");
    tree_file(t, "torch/pytorch_model-00001-of-00002.bin", "x");
    assert_failed(t, open_local(t, "torch", &c), WF_USAGE, "weft reads safetensors");
    tree_file(t, "torch/model.incomplete", "x");
    assert_failed(t, open_local(t, "torch", &c), WF_USAGE, "weft reads safetensors");
    tree_tensors(t, "named/unet.safetensors", "a", NULL);
    assert_failed(t, open_local(t, "named", &c), WF_USAGE, "to use unet.safetensors, name that");
    tree_file(t, "half/model.safetensors.incomplete", "x");
    assert_failed(t, open_local(t, "half", &c), WF_INPUT, "unfinished download");
    assert_failed(t, open_local(t, "nowhere", &c), WF_INPUT, "cannot open");
}

static void adapters_open_as_adapters(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    tree_file(t, "a/adapter_config.json", "{}");
    tree_tensors(t, "a/adapter_model.safetensors", "x.lora_A.weight", "x.lora_B.weight", NULL);
    assert_worked(t, open_local(t, "a", &c));
    assert_true(c.is_adapter);
    assert_int_equal(c.n_tensors, 2);
    tree_file(t, "b/adapter_config.json", "{}");
    assert_failed(t, open_local(t, "b", &c), WF_INPUT, "without adapter_model.safetensors");
    tree_file(t, "b/adapter_model.bin", "x");
    assert_failed(t, open_local(t, "b", &c), WF_USAGE, "pickle form");
    tree_tensors(t, "c/adapter_model.safetensors", "x", NULL);
    assert_failed(t, open_local(t, "c", &c), WF_INPUT, "without adapter_config.json");
}

/* A snapshot of a cache: links into blobs/. */
static struct wf_place make_snapshot(struct tree *t)
{
    tree_tensors(t, "r/blobs/w", "a", NULL);
    tree_file(t, "r/blobs/c", "{}");
    tree_link(t, "r/snapshots/" COMMIT "/model.safetensors", "../../blobs/w");
    tree_link(t, "r/snapshots/" COMMIT "/config.json", "../../blobs/c");
    return (struct wf_place){.path = tree_path(t, "r/snapshots/" COMMIT),
                             .repository = "org/name",
                             .revision = "main",
                             .commit = COMMIT,
                             .boundary = tree_path(t, "r")};
}

static void links_of_the_cache_stay_in_its_repository(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    struct wf_place place = make_snapshot(t);
    assert_worked(t, wf_ckpt_open(&t->err, &t->arena, &place, &c));
    tree_tensors(t, "r-other/w", "a", NULL); /* shares the boundary's spelling, not the folder */
    char *link = tree_path(t, "r/snapshots/" COMMIT "/model.safetensors");
    static const char *const targets[] = {"../../../r-other/w", "../../.."};
    for (size_t i = 0; i < 2; i++) {
        unlink(link);
        assert_int_equal(symlink(targets[i], link), 0);
        assert_failed(t, wf_ckpt_open(&t->err, &t->arena, &place, &c), WF_INPUT, "outside of");
    }
    struct wf_place local = {.path = place.path}; /* a user's own links lead anywhere */
    unlink(link);
    assert_int_equal(symlink(targets[0], link), 0);
    assert_worked(t, wf_ckpt_open(&t->err, &t->arena, &local, &c));
}

static void partial_snapshots_are_refused(void **state)
{
    struct tree *t = *state;
    struct wf_ckpt c;
    struct wf_place place = make_snapshot(t);
    unlink(tree_path(t, "r/blobs/w"));
    tree_file(t, "r/blobs/w.incomplete", "x");
    assert_failed(t, wf_ckpt_open(&t->err, &t->arena, &place, &c), WF_INPUT,
                  "missing: model.safetensors; run again: hf download org/name --revision main");
    unlink(tree_path(t, "r/snapshots/" COMMIT "/model.safetensors"));
    assert_failed(t, wf_ckpt_open(&t->err, &t->arena, &place, &c), WF_INPUT, "holds no weights");
    unlink(tree_path(t, "r/blobs/c"));
    tree_tensors(t, "r/snapshots/" COMMIT "/model.safetensors", "a", NULL);
    assert_failed(t, wf_ckpt_open(&t->err, &t->arena, &place, &c), WF_INPUT, "config.json");
}

static void layers_are_read_from_names(void **state)
{
    (void)state;
    assert_int_equal(wf_layer_of("model.layers.12.mlp.weight"), 12);
    assert_int_equal(wf_layer_of("0.weight"), 0);
    assert_int_equal(wf_layer_of("h.007.x"), 7);
    assert_int_equal(wf_layer_of("layers.3.experts.5.w1"), 3);
    assert_int_equal(wf_layer_of("model.norm.weight"), -1);
    assert_int_equal(wf_layer_of("scalars.3"), -1);
    assert_int_equal(wf_layer_of("layer1.2x.w"), -1);
    assert_int_equal(wf_layer_of("a..b"), -1);
    assert_int_equal(wf_layer_of(""), -1);
    assert_int_equal(wf_layer_of("a.99999999999999999999.b"), -1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_single_file_opens),
        TEST(a_folder_with_a_config_opens),
        TEST(a_file_without_tensors_opens),
        TEST(a_damaged_config_is_refused),
        TEST(an_index_joins_its_shards),
        TEST(shards_may_lie_in_a_sub_folder),
        TEST(tensors_outside_of_the_index_are_counted),
        TEST(an_index_that_lies_is_refused),
        TEST(an_index_stays_inside_its_folder),
        TEST(a_damaged_index_is_refused),
        TEST(many_missing_shards_are_summed_up),
        TEST(single_file_and_index_must_agree),
        TEST(shards_without_an_index_must_be_complete),
        TEST(a_damaged_shard_is_named),
        TEST(what_is_no_regular_file_is_refused_at_once),
        TEST(folders_without_weights_say_what_to_do),
        TEST(adapters_open_as_adapters),
        TEST(links_of_the_cache_stay_in_its_repository),
        TEST(partial_snapshots_are_refused),
        TEST(layers_are_read_from_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
