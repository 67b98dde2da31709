/* test_hub.c - where model references point: folders, files, the local Hub cache. */
#include "model_tree.h"

#include "../../src/format/hub.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define OTHER "ffffffffffffffffffffffffffffffffffffffff"

static const char *const variables[] = {
    "HF_HUB_CACHE",   "HUGGINGFACE_HUB_CACHE", "HF_HOME",
    "XDG_CACHE_HOME", "TRANSFORMERS_CACHE",    "PYTORCH_TRANSFORMERS_CACHE",
};

/* No cache anywhere, HOME is the temporary folder. */
static int setup(void **state)
{
    if (tree_setup(state))
        return -1;
    struct tree *t = *state;
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++)
        unsetenv(variables[i]);
    return setenv("HOME", t->root, 1);
}

/* A repository of a cache with one snapshot that main points to. */
static void make_repository(struct tree *t, const char *cache_and_name)
{
    char p[512];
    snprintf(p, sizeof p, "%s/refs/main", cache_and_name);
    tree_file(t, p, COMMIT "\n");
    snprintf(p, sizeof p, "%s/blobs/aa", cache_and_name);
    tree_file(t, p, "{}");
    snprintf(p, sizeof p, "%s/snapshots/%s/config.json", cache_and_name, COMMIT);
    tree_link(t, p, "../../blobs/aa");
}

static int resolve(struct tree *t, const char *text, const char *folder, struct wf_place *place)
{
    return wf_hub_resolve(&t->err, &t->arena, "recipe.yaml:7", text, folder, place);
}

static void expands_home_and_variables(void **state)
{
    struct tree *t = *state;
    const char *out;
    setenv("WEFT_TEST_A", "alpha", 1);
    setenv("WEFT_TEST_EMPTY", "", 1);
    unsetenv("WEFT_TEST_NONE");
    static const char *const cases[][2] = {
        {"/plain", "/plain"},
        {"$WEFT_TEST_A/x", "alpha/x"},
        {"a${WEFT_TEST_A}b", "aalphab"},
        {"$WEFT_TEST_EMPTY", ""},
        {"a~b", "a~b"},
        {"~user/x", "~user/x"},
        {"cost$", "cost$"},
        {"a$1", "a$1"},
        {"$$WEFT_TEST_A", "$alpha"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_worked(t, wf_expand_path(&t->err, &t->arena, "", cases[i][0], &out));
        assert_string_equal(out, cases[i][1]);
    }
    assert_worked(t, wf_expand_path(&t->err, &t->arena, "", "~/m", &out));
    assert_string_equal(out, tree_path(t, "m"));
    assert_failed(t, wf_expand_path(&t->err, &t->arena, "r:1", "$WEFT_TEST_NONE/x", &out), WF_USAGE,
                  "r:1: '$WEFT_TEST_NONE/x': the environment variable WEFT_TEST_NONE is not set");
    assert_failed(t, wf_expand_path(&t->err, &t->arena, "r:1", "${WEFT_TEST_A", &out), WF_USAGE,
                  "'}'");
    assert_failed(t, wf_expand_path(&t->err, &t->arena, "r:1", "${}", &out), WF_USAGE, "'}'");
    unsetenv("HOME");
    assert_failed(t, wf_expand_path(&t->err, &t->arena, "", "~", &out), WF_USAGE, "HOME");
}

static void a_path_beside_the_recipe_comes_first(void **state)
{
    struct tree *t = *state;
    struct wf_place p;
    char cwd[1024];
    assert_non_null(getcwd(cwd, sizeof cwd));
    tree_folder(t, "recipes/m");
    tree_folder(t, "work/m");
    tree_folder(t, "work/only");
    assert_int_equal(chdir(tree_path(t, "work")), 0);
    assert_worked(t, resolve(t, "m", tree_path(t, "recipes"), &p));
    assert_string_equal(p.path, tree_path(t, "recipes/m"));
    assert_null(p.repository);
    assert_null(p.boundary);
    assert_worked(t, resolve(t, "only", tree_path(t, "recipes"), &p));
    assert_string_equal(p.path, "only");
    assert_worked(t, resolve(t, "m", NULL, &p));
    assert_string_equal(p.path, "m");
    assert_worked(t, resolve(t, "m", "", &p));
    assert_string_equal(p.path, "m");
    assert_failed(t, resolve(t, "./none", tree_path(t, "recipes"), &p), WF_USAGE,
                  "recipe.yaml:7: no model './none': looked for ");
    assert_int_equal(chdir(cwd), 0);
}

static void files_must_be_safetensors_and_regular(void **state)
{
    struct tree *t = *state;
    struct wf_place p;
    tree_tensors(t, "a.safetensors", "x", NULL);
    tree_file(t, "a.bin", "x");
    assert_int_equal(mkfifo(tree_path(t, "f.safetensors"), 0600), 0);
    tree_link(t, "gone", "nowhere");
    tree_link(t, "loop", "loop");
    assert_worked(t, resolve(t, "a.safetensors", t->root, &p));
    assert_string_equal(p.path, tree_path(t, "a.safetensors"));
    assert_failed(t, resolve(t, "a.bin", t->root, &p), WF_USAGE, "is not a model");
    assert_failed(t, resolve(t, "f.safetensors", t->root, &p), WF_INPUT, "regular file");
    assert_failed(t, resolve(t, "gone", t->root, &p), WF_USAGE, "is a link to something");
    assert_failed(t, resolve(t, "loop", t->root, &p), WF_INPUT, "cannot look at");
    assert_failed(t, resolve(t, "none.safetensors", t->root, &p), WF_USAGE, "looked for");
    assert_failed(t, resolve(t, "", t->root, &p), WF_USAGE, "empty");
    assert_failed(t, resolve(t, "/no/such/model", t->root, &p), WF_USAGE, "/no/such/model");
    assert_failed(t, resolve(t, "a.bin/x", t->root, &p), WF_USAGE, "no model");
}

static void a_path_with_an_at_sign_is_a_path(void **state)
{
    struct tree *t = *state;
    struct wf_place p;
    tree_folder(t, "m@v1");
    assert_worked(t, resolve(t, "m@v1", t->root, &p));
    assert_string_equal(p.path, tree_path(t, "m@v1"));
    assert_null(p.revision);
}

static void the_cache_gives_path_commit_and_boundary(void **state)
{
    struct tree *t = *state;
    struct wf_place p;
    make_repository(t, "cache/models--org--name");
    setenv("HF_HUB_CACHE", tree_path(t, "cache"), 1);
    assert_worked(t, resolve(t, "org/name", t->root, &p));
    assert_string_equal(p.path, tree_path(t, "cache/models--org--name/snapshots/" COMMIT));
    assert_string_equal(p.repository, "org/name");
    assert_string_equal(p.revision, "main");
    assert_string_equal(p.commit, COMMIT);
    assert_string_equal(p.boundary, tree_path(t, "cache/models--org--name"));
    assert_worked(t, resolve(t, "org/name@" COMMIT, t->root, &p));
    assert_string_equal(p.revision, COMMIT);
    assert_string_equal(p.commit, COMMIT);
    make_repository(t, "cache/models--gpt2");
    assert_worked(t, resolve(t, "gpt2", t->root, &p));
    assert_string_equal(p.repository, "gpt2");
}

static void nested_revisions_are_found(void **state)
{
    struct tree *t = *state;
    struct wf_place p;
    make_repository(t, "cache/models--org--name");
    tree_file(t, "cache/models--org--name/refs/refs/pr/1", COMMIT);
    setenv("HF_HUB_CACHE", tree_path(t, "cache"), 1);
    assert_worked(t, resolve(t, "org/name@refs/pr/1", NULL, &p));
    assert_string_equal(p.revision, "refs/pr/1");
    assert_string_equal(p.commit, COMMIT);
}

static void the_variables_choose_the_cache_in_order(void **state)
{
    struct tree *t = *state;
    struct wf_place p;
    static const struct {
        const char *variable, *value, *folder;
    } order[] = {
        {"PYTORCH_TRANSFORMERS_CACHE", "/e", "e"},
        {"TRANSFORMERS_CACHE", "/d", "d"},
        {"HOME", "", ".cache/huggingface/hub"},
        {"XDG_CACHE_HOME", "/x", "x/huggingface/hub"},
        {"HF_HOME", "/h", "h/hub"},
        {"HUGGINGFACE_HUB_CACHE", "/old", "old"},
        {"HF_HUB_CACHE", "/new", "new"},
    };
    char path[512], value[512];
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        snprintf(path, sizeof path, "%s/models--org--name", order[i].folder);
        make_repository(t, path);
        snprintf(value, sizeof value, "%s%s", t->root, order[i].value);
        setenv(order[i].variable, value, 1);
        assert_worked(t, resolve(t, "org/name", NULL, &p));
        assert_true(strstr(p.path, path));
    }
    setenv("HF_HUB_CACHE", "", 1); /* empty counts as unset */
    assert_worked(t, resolve(t, "org/name", NULL, &p));
    assert_true(strstr(p.path, "/old/"));
    setenv("HF_HUB_CACHE", "~/new", 1);
    assert_worked(t, resolve(t, "org/name", NULL, &p));
    assert_true(strstr(p.path, "/new/"));
}

static void a_local_folder_wins_over_the_cache(void **state)
{
    struct tree *t = *state;
    struct wf_place p;
    make_repository(t, "cache/models--org--name");
    setenv("HF_HUB_CACHE", tree_path(t, "cache"), 1);
    tree_folder(t, "org/name");
    assert_worked(t, resolve(t, "org/name", t->root, &p));
    assert_null(p.repository);
}

static void names_the_hub_forbids_are_refused(void **state)
{
    struct tree *t = *state;
    struct wf_place p;
    char longest[128];
    memset(longest, 'a', sizeof longest);
    longest[97] = 0;
    setenv("HF_HUB_CACHE", tree_path(t, "cache"), 1);
    const char *const bad[] = {"a/b/c", "a//b", "a/",    "a--b",        "a..b",  "-a",
                               "a/-b",  "a-/b", "a.b.",  "a b",         "a.git", "a/.b",
                               "a\\b",  "a:b",  "@main", "caf\xc3\xa9", longest};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_failed(t, resolve(t, bad[i], t->root, &p), WF_USAGE, "as a Hub name");
    static const char *const revisions[] = {"a/b@", "a/b@/etc", "a/b@../../x", "a/b@x\\y"};
    for (size_t i = 0; i < sizeof revisions / sizeof *revisions; i++)
        assert_failed(t, resolve(t, revisions[i], t->root, &p), WF_USAGE, "revision");
    longest[96] = 0; /* allowed, just not there */
    assert_failed(t, resolve(t, longest, t->root, &p), WF_USAGE, "has no ");
}

static void what_the_cache_lacks_is_named(void **state)
{
    struct tree *t = *state;
    struct wf_place p;
    setenv("HF_HOME", tree_path(t, "hf"), 1);
    make_repository(t, "hf/hub/models--org--name");
    assert_failed(t, resolve(t, "org/other", NULL, &p), WF_USAGE,
                  "the Hub cache (HF_HOME) has no ");
    assert_failed(t, resolve(t, "org/name@v2", NULL, &p), WF_USAGE, "refs/v2");
    assert_failed(t, resolve(t, "org/name@" OTHER, NULL, &p), WF_USAGE, "snapshots/" OTHER);
    assert_failed(t, resolve(t, "org/name@0123456", NULL, &p), WF_USAGE, "refs/0123456");
    unsetenv("HF_HOME");
    unsetenv("HOME");
    assert_failed(t, resolve(t, "org/name", NULL, &p), WF_USAGE, "neither HF_HOME nor HOME");
}

static void damaged_refs_are_refused(void **state)
{
    struct tree *t = *state;
    struct wf_place p;
    make_repository(t, "cache/models--org--name");
    setenv("HF_HUB_CACHE", tree_path(t, "cache"), 1);
    static const char *const texts[] = {"",
                                        "\n",
                                        "main",
                                        "0123",
                                        COMMIT "0",
                                        COMMIT " " COMMIT,
                                        "../../../../etc",
                                        "0123456789ABCDEF0123456789abcdef01234567"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        tree_file(t, "cache/models--org--name/refs/bad", texts[i]);
        assert_failed(t, resolve(t, "org/name@bad", NULL, &p), WF_INPUT, "expected a commit");
    }
    tree_bytes(t, "cache/models--org--name/refs/bad", COMMIT "\0x", 42);
    assert_failed(t, resolve(t, "org/name@bad", NULL, &p), WF_INPUT, "expected a commit");
    tree_file(t, "cache/models--org--name/refs/bad", " \t" COMMIT "\r\n");
    assert_worked(t, resolve(t, "org/name@bad", NULL, &p));
    tree_folder(t, "cache/models--org--name/refs/folder");
    assert_failed(t, resolve(t, "org/name@folder", NULL, &p), WF_INPUT, "not a regular file");
}

static void a_snapshot_outside_of_its_repository_is_refused(void **state)
{
    struct tree *t = *state;
    struct wf_place p;
    make_repository(t, "cache/models--org--name");
    tree_folder(t, "elsewhere");
    tree_link(t, "cache/models--org--name/snapshots/" OTHER, tree_path(t, "elsewhere"));
    setenv("HF_HUB_CACHE", tree_path(t, "cache"), 1);
    assert_failed(t, resolve(t, "org/name@" OTHER, NULL, &p), WF_INPUT, "outside of");
}

static void a_snapshot_given_by_path_keeps_its_boundary(void **state)
{
    struct tree *t = *state;
    struct wf_place p;
    make_repository(t, "cache/models--org--name");
    assert_worked(t,
                  resolve(t, tree_path(t, "cache/models--org--name/snapshots/" COMMIT), NULL, &p));
    assert_null(p.repository);
    assert_string_equal(p.boundary, tree_path(t, "cache/models--org--name"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, tree_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(expands_home_and_variables),
        TEST(a_path_beside_the_recipe_comes_first),
        TEST(files_must_be_safetensors_and_regular),
        TEST(a_path_with_an_at_sign_is_a_path),
        TEST(the_cache_gives_path_commit_and_boundary),
        TEST(nested_revisions_are_found),
        TEST(the_variables_choose_the_cache_in_order),
        TEST(a_local_folder_wins_over_the_cache),
        TEST(names_the_hub_forbids_are_refused),
        TEST(what_the_cache_lacks_is_named),
        TEST(damaged_refs_are_refused),
        TEST(a_snapshot_outside_of_its_repository_is_refused),
        TEST(a_snapshot_given_by_path_keeps_its_boundary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
