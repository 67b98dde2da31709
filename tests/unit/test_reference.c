/* test_reference.c - model references taken apart, and the task names they give. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "../../src/recipe/reference.h"

/* Stands for the file system: the one path that exists is the argument. */
static int is_path(void *arg, const char *text)
{
    return !strcmp(text, arg);
}

struct split {
    const char *text, *existing; /* NULL: nothing exists */
    const char *model, *adapter, *task;
};

static const struct split splits[] = {
    {"org/name", NULL, "org/name", NULL, "name"},
    {"org/name@main", NULL, "org/name@main", NULL, "name"},
    {"org/name@refs/pr/1", NULL, "org/name@refs/pr/1", NULL, "name"},
    {"org/name-1.5_b", NULL, "org/name-1.5_b", NULL, "name-1.5_b"},
    {"models/a/", NULL, "models/a/", NULL, "a"},
    {"/abs/model.safetensors", NULL, "/abs/model.safetensors", NULL, "model"},
    {"x.safetensors", NULL, "x.safetensors", NULL, "x"},
    {".safetensors", NULL, ".safetensors", NULL, ".safetensors"},
    {"~/models/b", NULL, "~/models/b", NULL, "b"},
    {"$HOME/x@y", NULL, "$HOME/x@y", NULL, "x@y"},
    {"./dir@2/model", NULL, "./dir@2/model", NULL, "model"},
    {"a/b+c/d", NULL, "a/b", "c/d", "d"},
    {"a/b@1+c/d@2", NULL, "a/b@1", "c/d@2", "d"},
    {"a+b.safetensors", NULL, "a", "b.safetensors", "b"},
    /* Existing paths are taken letter by letter. */
    {"a+b", "a+b", "a+b", NULL, "a+b"},
    {"a+b+c", "a+b+c", "a+b+c", NULL, "a+b+c"},
    {"runs/v1@2", "runs/v1@2", "runs/v1@2", NULL, "v1@2"},
    {"odd@", "odd@", "odd@", NULL, "odd@"},
    {"a+b", "a", "a", "b", "b"},
    /* Places without a name. */
    {".", NULL, ".", NULL, "model"},
    {"..", NULL, "..", NULL, "model"},
    {"../..", NULL, "../..", NULL, "model"},
    {"/", NULL, "/", NULL, "model"},
    {"///", NULL, "///", NULL, "model"},
    {"a..b", NULL, "a..b", NULL, "model"},
};

static void splits_as_the_dialect_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof splits / sizeof *splits; i++) {
        const struct split *c = &splits[i];
        struct wf_err e = {0};
        struct wf_arena a = {0};
        struct wf_reference r;
        const char *task = NULL;
        int s = wf_reference_parse(&e, &a, "r.yaml", 7, c->text, c->existing ? is_path : NULL,
                                   (void *)(uintptr_t)c->existing, &r);
        if (s)
            fail_msg("%s: %s", c->text, e.text);
        assert_string_equal(r.text, c->text);
        assert_ptr_not_equal(r.text, c->text); /* a copy */
        assert_string_equal(r.model, c->model);
        if (c->adapter)
            assert_string_equal(r.adapter, c->adapter);
        else
            assert_null(r.adapter);
        assert_int_equal(r.line, 7);
        assert_int_equal(r.is_path, c->existing && !strcmp(c->existing, c->text));
        assert_int_equal(wf_reference_task_name(&e, &a, &r, &task), WF_OK);
        assert_string_equal(task, c->task);
        wf_arena_destroy(&a);
    }
}

static void refuses_what_names_no_model(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } wrong[] = {
        {"", "empty"},
        {"a+b+c", "more than one '+'"},
        {"++", "more than one '+'"},
        {"+", "nothing on one side"},
        {"+a", "nothing on one side"},
        {"a+", "nothing on one side"},
        {"@main", "no model before"},
        {"a+@main", "no model before"},
        {"org/name@", "no revision after"},
        {"org/name@+b", "no revision after"},
        {"@", "no model before"},
        {"a\nb", "control character (byte 1, 0x0a)"},
        {"a\x7f", "control character"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct wf_err e = {0};
        struct wf_arena a = {0};
        struct wf_reference r;
        assert_int_equal(wf_reference_parse(&e, &a, "r.yaml", 12, wrong[i].text, NULL, NULL, &r),
                         WF_USAGE);
        assert_memory_equal(e.text, "r.yaml:12: ", 11);
        if (!strstr(e.text, wrong[i].says))
            fail_msg("'%s': '%s' does not say '%s'", wrong[i].text, e.text, wrong[i].says);
        wf_arena_destroy(&a);
    }
}

static void refuses_a_text_longer_than_any_path(void **state)
{
    (void)state;
    static char text[4097];
    struct wf_err e = {0};
    struct wf_arena a = {0};
    struct wf_reference r;
    memset(text, 'x', 4096);
    assert_int_equal(wf_reference_parse(&e, &a, "r", 1, text, NULL, NULL, &r), WF_USAGE);
    wf_err_clear(&e);
    text[4095] = 0;
    assert_int_equal(wf_reference_parse(&e, &a, "r", 1, text, NULL, NULL, &r), WF_OK);
    wf_arena_destroy(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits_as_the_dialect_says),
        cmocka_unit_test(refuses_what_names_no_model),
        cmocka_unit_test(refuses_a_text_longer_than_any_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
