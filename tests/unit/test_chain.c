/* test_chain.c - recipes of several documents: which stage is the result, what needs what, and
 * circles, names and references that are refused with their line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "../../src/base/log.h"
#include "../../src/base/str.h"
#include "../../src/recipe/chain.h"

struct chain_test {
    struct wf_err e;
    struct wf_arena a;
    struct wf_chain c;
};

static int parse(struct chain_test *t, const char *text)
{
    *t = (struct chain_test){0};
    return wf_chain_parse(&t->e, &t->a, "r.yml", text, strlen(text), false, &t->c);
}

/* A document of two or three lines that copies a model. */
#define NAMED(name, model)                                                                         \
    "name: " name "\nmerge_method: passthrough\nmodels: [{model: " model "}]\n"
#define NAMELESS(model) "merge_method: passthrough\nmodels: [{model: " model "}]\n"
#define NEXT "---\n"

/* "a b -": the names of the stages that run, in order. */
static void expect_order(const char *text, const char *order)
{
    struct chain_test t;
    char names[256] = "";
    size_t n = 0;
    if (parse(&t, text))
        fail_msg("refused: %s\n%s", t.e.text, text);
    for (size_t i = 0; i < t.c.n; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? " " : "",
                              t.c.run[i].name ? t.c.run[i].name : "-");
    assert_string_equal(names, order);
    wf_arena_destroy(&t.a);
}

static void stages_run_behind_what_they_need(void **state)
{
    (void)state;
    expect_order(NAMELESS("x"), "-");
    expect_order(NAMED("a", "x") NEXT NAMELESS("a"), "a -");
    expect_order(NAMELESS("a") NEXT NAMED("a", "x"), "a -");
    expect_order(NAMED("a", "x") NEXT NAMED("b", "a"), "a b");
    expect_order(NAMED("c", "b") NEXT NAMED("b", "a") NEXT NAMED("a", "x") NEXT NAMELESS("c"),
                 "a b c -");
    /* Two ways to one stage. */
    expect_order(NAMED("a", "x") NEXT NAMED("b", "a") NEXT NAMED("c", "a") NEXT
                 "merge_method: linear\nparameters: {weight: 1}\n"
                 "models: [{model: c}, {model: b}, {model: a}]\n",
                 "a b c -");
}

/* A stage can be computed on the way if one stage alone names it, however often. */
static void stages_know_who_alone_names_them(void **state)
{
    (void)state;
    struct chain_test t;
    const char *linear = "merge_method: linear\nparameters: {weight: 1}\n";
    char text[512];
    snprintf(text, sizeof text, "%s%s%s%smodels: [{model: b}, {model: b+lora}, {model: a}]\n",
             NAMED("c", "b") NEXT, NAMED("a", "x") NEXT, NAMED("b", "a") NEXT, linear);
    assert_int_equal(parse(&t, text), WF_OK); /* c is not run, so it does not count */
    assert_int_equal(t.c.n, 3);
    assert_int_equal(t.c.run[0].user, 0); /* a: both others */
    assert_int_equal(t.c.run[1].user, 2);
    assert_int_equal(t.c.run[2].user, 0); /* the result */
    wf_arena_destroy(&t.a);
}

static void stages_that_nobody_needs_are_not_run(void **state)
{
    (void)state;
    expect_order(NAMED("a", "x") NEXT NAMED("b", "x") NEXT NAMELESS("a"), "a -");
    expect_order(NAMED("a", "x") NEXT NAMED("b", "x"), "b");
}

static void documents_that_hold_nothing_are_no_stages(void **state)
{
    (void)state;
    expect_order("---\n" NAMED("a", "x") NEXT NAMELESS("a") "---\n", "a -");
    expect_order("---\n# nothing\n---\n" NAMED("a", "x") NEXT "~\n", "-");
}

/* Wherever a model is named, in every form; and nowhere else. */
static void names_stand_for_models(void **state)
{
    (void)state;
    static const char *const uses[] = {
        "merge_method: linear\nparameters: {weight: 1}\nmodels: [{model: linear}, {model: x}]\n",
        "merge_method: task_arithmetic\nbase_model: linear\nparameters: {weight: 1}\n"
        "models: [{model: x}]\n",
        "merge_method: passthrough\nmodels: [{model: {path: linear}}]\n",
        "merge_method: passthrough\nmodels: [{model: {model: linear}}]\n",
        "merge_method: passthrough\nmodels: [{model: {model: {path: linear}, lora: {path: y}}}]\n",
        "merge_method: passthrough\nmodels: [{model: linear+x/adapter}]\n",
        "merge_method: passthrough\n"
        "slices: [{sources: [{model: linear, layer_range: [0, 1]}]}]\n",
    };
    for (size_t i = 0; i < sizeof uses / sizeof *uses; i++) {
        struct chain_test t;
        char text[1024];
        snprintf(text, sizeof text, "%s---\n%s", NAMED("linear", "x"), uses[i]);
        if (parse(&t, text))
            fail_msg("refused: %s\n%s", t.e.text, text);
        assert_int_equal(t.c.n, 2);
        const struct wf_recipe *r = &t.c.run[1].recipe;
        const struct wf_reference *ref = r->has_base ? &r->base : &r->models[0].ref;
        assert_string_equal(ref->stage, "linear");
        wf_arena_destroy(&t.a);
    }
    /* A method of that name, a part of a path, an adapter, a task: no stages. */
    expect_order(NAMED("linear", "x") NEXT "merge_method: linear\nparameters: {weight: 1}\n"
                                           "models: [{model: ./linear}, {model: linear/linear}, "
                                           "{model: x+linear, name: linear}]\n",
                 "-");
    expect_order(NAMED("a+b", "x") NEXT NAMELESS("a+b"), "a+b -");
}

static void a_stage_keeps_its_identity_when_others_change(void **state)
{
    (void)state;
    struct chain_test t, u, v;
    assert_int_equal(parse(&t, NAMED("a", "x") NEXT NAMELESS("a")), WF_OK);
    assert_int_equal(parse(&u, "# more\n" NAMED("a", "x") NEXT "dtype: float16\n" NAMELESS("a")),
                     WF_OK);
    assert_int_equal(parse(&v, NAMED("a", "y") NEXT NAMELESS("a")), WF_OK);
    assert_true(wf_hash128_equal(t.c.run[0].recipe.own, u.c.run[0].recipe.own));
    assert_false(wf_hash128_equal(t.c.run[0].recipe.own, v.c.run[0].recipe.own));
    assert_null(t.c.run[1].recipe.own);
    assert_string_equal(t.c.run[0].recipe.text, t.c.run[1].recipe.text);
    wf_arena_destroy(&t.a);
    wf_arena_destroy(&u.a);
    wf_arena_destroy(&v.a);
}

static void wrong_chains_are_refused_with_their_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } wrong[] = {
        {NAMELESS("x") NEXT NAMELESS("y"), "r.yml:4: a second document without a 'name' (the first "
                                           "on line 1)"},
        {NAMED("a", "x") NEXT NAMED("a", "y") NEXT NAMELESS("a"),
         "r.yml:5: a second stage with the name 'a' (first on line 1)"},
        {NAMED("a", "a") NEXT NAMELESS("a"), "r.yml:3: the stage 'a' names itself"},
        {NAMED("a", "b") NEXT NAMED("b", "a") NEXT NAMELESS("b"),
         "r.yml:3: the stage 'a' needs the stage 'b', which needs 'a' in turn"},
        {NAMED("a", "b") NEXT NAMED("b", "c") NEXT NAMED("c", "a") NEXT NAMELESS("x"),
         "stages cannot go in a circle"},
        {NAMED("a", "b") NEXT NAMED("b", "a"), "stages cannot go in a circle"},
        {NAMED("a/b", "x") NEXT NAMELESS("a/b"), "r.yml:1: 'name' is 'a/b'"},
        {NAMED("..", "x") NEXT NAMELESS("y"), "r.yml:1: 'name' is '..'"},
        {NAMED(".a", "x") NEXT NAMELESS("y"), "r.yml:1: 'name' is '.a'"},
        {NAMED("a.partial", "x") NEXT NAMELESS("y"), "r.yml:1: 'name' is 'a.partial'"},
        {NAMED("[a]", "x") NEXT NAMELESS("y"), "r.yml:1: 'name' needs a text, not a list"},
        {NAMED("a", "x") NEXT "merge_method: linaer\nmodels: [{model: a}]\n",
         "r.yml:5: unknown merge_method 'linaer'"},
        /* A stage that is not needed is read all the same. */
        {"name: a\nmerge_method: linear\nmodels: [{model: x}]\n" NEXT NAMELESS("y"),
         "r.yml:3: model 'x' has no 'weight'"},
        {NAMED("a", "x") "task_deltas: {density: 1}\n" NEXT NAMELESS("a"),
         "r.yml:4: 'task_deltas' of the stage 'a'"},
        {"name: a\nmerge_method: byom_lora\nparameters: {rank: 2}\nmodels: [{model: x}]\n" NEXT
             NAMELESS("a"),
         "r.yml:2: merge_method 'byom_lora' makes adapters"},
        {NAMED("a", "x") NEXT "text\n", "r.yml:5: a recipe is a map of keys"},
        {"---\n---\n", "the recipe is empty"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct chain_test t;
        assert_int_equal(parse(&t, wrong[i].text), WF_USAGE);
        if (!strstr(t.e.text, wrong[i].says))
            fail_msg("'%s' lacks '%s'", t.e.text, wrong[i].says);
        wf_arena_destroy(&t.a);
    }
}

static void many_stages_are_put_in_order_without_depth(void **state)
{
    (void)state;
    enum { STAGES = 1000 };
    struct wf_str s = {0};
    struct chain_test t;
    for (int i = 0; i < STAGES - 1; i++)
        wf_str_printf(&s, "name: s%d\nmerge_method: passthrough\nmodels: [{model: %s%d}]\n---\n", i,
                      i + 1 < STAGES - 1 ? "s" : "x", i + 1);
    wf_str_puts(&s, NAMELESS("s0"));
    assert_int_equal(parse(&t, s.text), WF_OK);
    assert_int_equal(t.c.n, STAGES);
    assert_string_equal(t.c.run[0].name, "s998");
    wf_arena_destroy(&t.a);
    wf_str_puts(&s, "---\n" NAMED("more", "x"));
    assert_int_equal(parse(&t, s.text), WF_USAGE);
    assert_non_null(strstr(t.e.text, "at most 1000 stages"));
    wf_arena_destroy(&t.a);
    wf_str_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_run_behind_what_they_need),
        cmocka_unit_test(stages_know_who_alone_names_them),
        cmocka_unit_test(stages_that_nobody_needs_are_not_run),
        cmocka_unit_test(documents_that_hold_nothing_are_no_stages),
        cmocka_unit_test(names_stand_for_models),
        cmocka_unit_test(a_stage_keeps_its_identity_when_others_change),
        cmocka_unit_test(wrong_chains_are_refused_with_their_line),
        cmocka_unit_test(many_stages_are_put_in_order_without_depth),
    };
    wf_log_set_level(WF_LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
