/* test_output.c - what may stand where OUT and OUT.partial are to be, and every way from one state
 * to the next: new, resumed, written, published, overwritten.
 */
#include <sys/stat.h>

#include "engine_fixture.h"

#include "../../src/publish/output.h"
#include "../../src/publish/provenance.h"

static const struct ef_tensor tensors[] = {{"a", WF_BF16, 1, {100}}, {"b", WF_F32, 1, {50}}};

struct work {
    struct tree *t;
    struct wf_recipe *recipe;
    const struct wf_ckpt *models[2];
    struct wf_plan plan;
    struct wf_blocks blocks;
    char *out, *partial;
};

static void begin(struct work *w, struct tree *t)
{
    *w = (struct work){.t = t, .recipe = ef_simple_recipe(t, "linear", false, 2, NULL)};
    ef_model(t, "in/m0/model.safetensors", tensors, 2, 1);
    w->models[0] = ef_open(t, tree_path(t, "in/m0")); /* a folder, and a single file */
    w->models[1] = ef_open(t, ef_model(t, "in/m1.safetensors", tensors, 2, 2));
    assert_worked(t, ef_plan(t, w->recipe, NULL, w->models, 0, &w->plan));
    assert_worked(t, wf_blocks_create(&t->err, &w->plan, false, 3, &w->blocks));
    w->out = tree_path(t, "out");
    w->partial = tree_path(t, "out.partial");
}

static void finish(struct work *w)
{
    wf_blocks_destroy(&w->blocks);
    wf_plan_destroy(&w->plan);
}

static int check(struct work *w, const char *out, bool resume, bool overwrite, struct wf_output *o)
{
    struct wf_output_rules rules = {.resume = resume, .overwrite = overwrite};
    return wf_output_check(&w->t->err, &w->t->arena, out, &rules, o);
}

static int open_output(struct work *w, bool resume, bool overwrite, struct wf_output *o)
{
    int status = check(w, w->out, resume, overwrite, o);
    if (!status)
        status = wf_output_check_inputs(&w->t->err, o, &w->plan);
    return status ? status : wf_output_open(&w->t->err, o, &w->plan, resume, &w->blocks);
}

/* As a stream would: the shard at its size. */
static void write_shard(struct work *w)
{
    char *path = wf_path_join(&w->t->arena, &w->t->err, w->partial, w->plan.shards[0].name);
    char *data = test_calloc(w->plan.shards[0].bytes, 1);
    memcpy(data, w->plan.shards[0].header.text, w->plan.shards[0].header.n);
    assert_worked(w->t, wf_write_small(&w->t->err, path, data, w->plan.shards[0].bytes));
    test_free(data);
}

static void write_manifest(struct work *w)
{
    struct wf_manifest_options o = {.kind = WEFT_MANIFEST_NONE};
    assert_worked(w->t, wf_manifest_write(&w->t->err, w->partial, &w->plan, &w->blocks, &o));
}

/* A whole merge without its bytes. */
static void publish(struct work *w, bool overwrite)
{
    struct wf_output o;
    assert_worked(w->t, open_output(w, false, overwrite, &o));
    assert_int_equal(o.state, WF_OUTPUT_NEW);
    write_shard(w);
    write_manifest(w);
    assert_worked(w->t, wf_output_publish(&w->t->err, &o));
    wf_output_close(&o, true);
    assert_true(wf_is_folder(w->out));
    assert_false(wf_exists(w->partial));
    assert_false(wf_exists(tree_path(w->t, "out/weft.journal")));
    assert_true(wf_is_file(tree_path(w->t, "out/weft_manifest.json")));
}

/* Another recipe for the same models. */
static void change_plan(struct work *w)
{
    wf_plan_destroy(&w->plan);
    w->recipe = ef_simple_recipe(w->t, "linear", false, 2, "# other\n");
    assert_worked(w->t, ef_plan(w->t, w->recipe, NULL, w->models, 0, &w->plan));
}

static void paths_that_are_no_folder_to_make_are_refused(void **state)
{
    static const char *const bad[] = {"", "/", ".", "..", "./", "a/..", "//", "in/."};
    struct work w;
    struct wf_output o;
    begin(&w, *state);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_failed(w.t, check(&w, bad[i], false, true, &o), WF_USAGE, "name of a folder");
    assert_failed(w.t, check(&w, tree_path(w.t, "no/such/out"), false, false, &o), WF_MACHINE,
                  "there is no folder");
    assert_worked(w.t, check(&w, tree_path(w.t, "x///"), false, false, &o));
    assert_string_equal(o.out, tree_path(w.t, "x"));
    assert_string_equal(o.partial, tree_path(w.t, "x.partial"));
    assert_false(wf_exists(o.partial)); /* a check writes nothing */
    assert_worked(w.t, check(&w, "plain", false, false, &o));
    assert_string_equal(o.parent, ".");
    assert_worked(w.t, check(&w, "/plain", false, true, &o));
    assert_string_equal(o.parent, "/");
    finish(&w);
}

static void what_stands_in_the_way_needs_a_flag(void **state)
{
    struct work w;
    struct wf_output o;
    begin(&w, *state);
    tree_folder(w.t, "out");
    assert_failed(w.t, check(&w, w.out, false, false, &o), WF_USAGE, "--overwrite replaces it");
    assert_worked(w.t, check(&w, w.out, false, true, &o));
    assert_worked(w.t, check(&w, w.out, true, false, &o));
    rmdir(w.out);
    tree_file(w.t, "out", "text");
    assert_failed(w.t, check(&w, w.out, false, true, &o), WF_USAGE, "not a folder");
    unlink(w.out);
    tree_link(w.t, "out", "nowhere"); /* a dangling link is something, too */
    assert_failed(w.t, check(&w, w.out, false, false, &o), WF_USAGE, "exists");
    unlink(w.out);
    tree_folder(w.t, "out.partial");
    assert_failed(w.t, check(&w, w.out, false, false, &o), WF_USAGE, "earlier run");
    tree_file(w.t, "out.partial/file", "text");
    assert_failed(w.t, check(&w, w.out, false, false, &o), WF_USAGE, "earlier run");
    assert_worked(w.t, check(&w, w.out, true, false, &o));
    assert_worked(w.t, check(&w, w.out, false, true, &o));
    struct wf_err ignored = {0};
    wf_remove_tree(&ignored, w.partial);
    tree_file(w.t, "out.partial", "text");
    assert_failed(w.t, check(&w, w.out, true, true, &o), WF_USAGE, "not a folder");
    finish(&w);
}

static void out_may_not_touch_an_input(void **state)
{
    static const char *const bad[] = {"in",     "in/m0", "in/m0/deep", "in/m0/",
                                      "alias/", "alias", "alias/m0/x", "in/m1.safetensors"};
    struct work w;
    struct wf_output o;
    begin(&w, *state);
    tree_link(w.t, "alias", "in");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int status = check(&w, tree_path(w.t, bad[i]), false, true, &o);
        if (status) { /* a file: refused even before the inputs are known */
            assert_failed(w.t, status, WF_USAGE, "not a folder");
            continue;
        }
        assert_failed(w.t, wf_output_check_inputs(&w.t->err, &o, &w.plan), WF_USAGE,
                      "is, holds, or lies in the input");
    }
    /* An input below OUT.partial would be removed with it. */
    ef_model(w.t, "out.partial/m.safetensors", tensors, 2, 1);
    const struct wf_ckpt *inside[] = {ef_open(w.t, tree_path(w.t, "out.partial/m.safetensors")),
                                      w.models[1]};
    wf_plan_destroy(&w.plan);
    assert_worked(w.t, ef_plan(w.t, w.recipe, NULL, inside, 0, &w.plan));
    assert_failed(w.t, open_output(&w, false, true, &o), WF_USAGE, "lies in the input");
    assert_worked(w.t, check(&w, tree_path(w.t, "in/m00"), false, false, &o)); /* a mere prefix */
    assert_worked(w.t, wf_output_check_inputs(&w.t->err, &o, &w.plan));
    finish(&w);
}

static void a_new_output_is_published_by_one_rename(void **state)
{
    struct work w;
    struct wf_output o;
    begin(&w, *state);
    publish(&w, false);
    assert_failed(w.t, open_output(&w, false, false, &o), WF_USAGE, "--overwrite");
    assert_worked(w.t, open_output(&w, true, false, &o)); /* the same again: done already */
    assert_int_equal(o.state, WF_OUTPUT_PUBLISHED);
    wf_output_close(&o, false);
    assert_true(wf_is_folder(w.out)); /* closing does not touch it */
    change_plan(&w);
    assert_failed(w.t, open_output(&w, true, false, &o), WF_USAGE, "the recipe differs");
    finish(&w);
}

static void resume_refuses_an_out_of_others(void **state)
{
    struct work w;
    struct wf_output o;
    begin(&w, *state);
    tree_file(w.t, "out/precious", "text");
    assert_failed(w.t, open_output(&w, true, false, &o), WF_USAGE, "not a finished merge");
    tree_file(w.t, "out/weft_manifest.json", "{\"options\":{\"plan\":\"00\"}}");
    assert_failed(w.t, open_output(&w, true, false, &o), WF_USAGE, "not a finished merge");
    assert_true(wf_is_file(tree_path(w.t, "out/precious")));
    finish(&w);
}

static void overwrite_keeps_the_old_out_until_the_end(void **state)
{
    struct work w;
    struct wf_output o;
    begin(&w, *state);
    tree_file(w.t, "out/old", "text");
    assert_worked(w.t, open_output(&w, false, true, &o));
    assert_true(wf_is_file(tree_path(w.t, "out/old")));
    wf_output_close(&o, false); /* the merge failed */
    assert_true(wf_is_file(tree_path(w.t, "out/old")));
    assert_false(wf_exists(w.partial));
    publish(&w, true);
    assert_false(wf_exists(tree_path(w.t, "out/old")));
    /* OUT a link to a folder elsewhere: the link is replaced, what it points to stays. */
    struct wf_err ignored = {0};
    wf_remove_tree(&ignored, w.out);
    tree_file(w.t, "elsewhere/precious", "text");
    tree_link(w.t, "out", "elsewhere");
    publish(&w, true);
    assert_true(wf_is_file(tree_path(w.t, "elsewhere/precious")));
    finish(&w);
}

/* The finished work stays, and a resume has only the rename to do. */
static void an_out_that_appears_meanwhile_is_left_alone(void **state)
{
    struct work w;
    struct wf_output o;
    struct wf_journal_block done = {0, 0, false, {{0}}};
    begin(&w, *state);
    assert_worked(w.t, open_output(&w, false, false, &o));
    write_shard(&w);
    assert_worked(w.t, wf_journal_add(&w.t->err, &o.journal, &done, 1));
    write_manifest(&w);
    tree_file(w.t, "out/precious", "text");
    assert_failed(w.t, wf_output_publish(&w.t->err, &o), WF_USAGE, "appeared");
    wf_output_close(&o, true);
    assert_true(wf_is_file(tree_path(w.t, "out/precious")));
    struct wf_err ignored = {0};
    wf_remove_tree(&ignored, w.out);
    assert_worked(w.t, open_output(&w, true, false, &o));
    assert_int_equal(o.state, WF_OUTPUT_RESUMED);
    assert_true(wf_blocks_is_skipped(&w.blocks, 0, 0));
    assert_worked(w.t, wf_output_publish(&w.t->err, &o));
    wf_output_close(&o, true);
    assert_true(wf_is_file(tree_path(w.t, "out/weft_manifest.json")));
    assert_false(wf_exists(tree_path(w.t, "out/weft.journal")));
    finish(&w);
}

static void resume_takes_marks_from_the_journal(void **state)
{
    struct work w;
    struct wf_output o;
    struct wf_journal_block done = {0, 0, false, {{0}}};
    begin(&w, *state);
    assert_worked(w.t, open_output(&w, false, false, &o));
    write_shard(&w);
    assert_worked(w.t, wf_journal_add(&w.t->err, &o.journal, &done, 1));
    wf_output_close(&o, true);
    assert_true(wf_is_folder(w.partial));
    assert_failed(w.t, open_output(&w, false, false, &o), WF_USAGE, "earlier run");
    assert_worked(w.t, open_output(&w, true, false, &o));
    assert_int_equal(o.state, WF_OUTPUT_RESUMED);
    assert_true(wf_blocks_is_skipped(&w.blocks, 0, 0));
    wf_output_close(&o, true);

    /* --overwrite starts anew all the same */
    wf_blocks_forget(&w.blocks);
    assert_worked(w.t, open_output(&w, false, true, &o));
    assert_int_equal(o.state, WF_OUTPUT_NEW);
    assert_false(wf_blocks_is_skipped(&w.blocks, 0, 0));
    assert_false(wf_exists(wf_path_join(&w.t->arena, &w.t->err, w.partial, "model.safetensors")));
    wf_output_close(&o, false);
    assert_false(wf_exists(w.partial));
    finish(&w);
}

/* A shard that is short or missing makes the journal's word worthless. */
static void resume_starts_over_without_the_files(void **state)
{
    struct wf_journal_block done = {0, 0, false, {{0}}};
    for (int how = 0; how < 3; how++) {
        struct work w;
        struct wf_output o;
        begin(&w, *state);
        assert_worked(w.t, open_output(&w, false, false, &o));
        char *shard = wf_path_join(&w.t->arena, &w.t->err, w.partial, w.plan.shards[0].name);
        write_shard(&w);
        assert_worked(w.t, wf_journal_add(&w.t->err, &o.journal, &done, 1));
        wf_output_close(&o, true);
        if (how == 0)
            unlink(shard);
        else if (how == 1)
            assert_int_equal(truncate(shard, 4096), 0);
        else
            tree_file(w.t, "out.partial/weft.journal", "rubbish\n");
        assert_worked(w.t, open_output(&w, true, false, &o));
        assert_int_equal(o.state, WF_OUTPUT_NEW);
        assert_false(wf_blocks_is_skipped(&w.blocks, 0, 0));
        wf_output_close(&o, false);
        finish(&w);
    }
}

static void resume_of_another_plan_is_refused_and_harmless(void **state)
{
    struct work w;
    struct wf_output o;
    begin(&w, *state);
    assert_worked(w.t, open_output(&w, false, false, &o));
    write_shard(&w);
    wf_output_close(&o, true);
    change_plan(&w);
    assert_failed(w.t, open_output(&w, true, false, &o), WF_USAGE, "the recipe differs");
    o.follows = true; /* so does a rank that would wait for rank 0 */
    assert_failed(w.t, wf_output_open(&w.t->err, &o, &w.plan, true, &w.blocks), WF_USAGE,
                  "the recipe differs");
    wf_output_close(&o, true);
    assert_true(wf_is_file(tree_path(w.t, "out.partial/model.safetensors")));
    finish(&w);
}

static void two_at_once_are_refused(void **state)
{
    struct work w;
    struct wf_output first, second;
    begin(&w, *state);
    assert_worked(w.t, open_output(&w, false, false, &first));
    for (int k = 0; k < 4; k++) {
        assert_failed(w.t, check(&w, w.out, k & 1, k & 2, &second), WF_MACHINE, "another weft");
        assert_true(wf_is_file(tree_path(w.t, "out.partial/weft.journal")));
    }
    wf_output_close(&first, true);
    finish(&w);
}

/* Rank 0 gathers what the ranks have journalled, its own blocks as well, which it has marked
 * already; whatever else lies under such names does no harm and does not stay. */
static void what_ranks_have_done_outlives_a_death_while_publishing(void **state)
{
    struct work w;
    struct wf_output o;
    struct wf_journal_block done = {0, 0, false, {{0}}};
    begin(&w, *state);
    assert_worked(w.t, open_output(&w, false, false, &o));
    write_shard(&w);
    const char *stranger = wf_arena_printf(&w.t->arena, &w.t->err, "%s.1", o.journal_path);
    const char *folder = wf_arena_printf(&w.t->arena, &w.t->err, "%s.x", o.journal_path);
    assert_int_equal(mkfifo(stranger, 0666), 0);
    assert_worked(w.t, wf_make_folder(&w.t->err, folder));
    assert_worked(w.t, wf_output_begin_rank(&w.t->err, &o, &w.plan, 0));
    assert_worked(w.t, wf_journal_add(&w.t->err, &o.own, &done, 1));
    wf_blocks_mark(&w.blocks, 0, 0, NULL); /* as the committer does */
    assert_worked(w.t, wf_output_gather(&w.t->err, &o, &w.plan, &w.blocks));
    assert_false(wf_exists(stranger) || wf_exists(folder) || wf_exists(o.own_path));
    wf_output_close(&o, true);

    wf_blocks_forget(&w.blocks);
    assert_worked(w.t, open_output(&w, true, false, &o));
    assert_true(wf_blocks_is_skipped(&w.blocks, 0, 0));
    wf_output_close(&o, false);
    finish(&w);
}

#define OUTPUT_TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OUTPUT_TEST(paths_that_are_no_folder_to_make_are_refused),
        OUTPUT_TEST(what_stands_in_the_way_needs_a_flag),
        OUTPUT_TEST(out_may_not_touch_an_input),
        OUTPUT_TEST(a_new_output_is_published_by_one_rename),
        OUTPUT_TEST(resume_refuses_an_out_of_others),
        OUTPUT_TEST(overwrite_keeps_the_old_out_until_the_end),
        OUTPUT_TEST(an_out_that_appears_meanwhile_is_left_alone),
        OUTPUT_TEST(resume_takes_marks_from_the_journal),
        OUTPUT_TEST(resume_starts_over_without_the_files),
        OUTPUT_TEST(resume_of_another_plan_is_refused_and_harmless),
        OUTPUT_TEST(two_at_once_are_refused),
        OUTPUT_TEST(what_ranks_have_done_outlives_a_death_while_publishing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
