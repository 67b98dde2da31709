/* test_delta_plan.c - the second step of a merge with task deltas, as a plan: what is compared with
 * what, what counts, and what a delta cannot speak of.
 */
#include "engine_fixture.h"

#include "../../src/plan/delta_plan.h"

static const struct ef_tensor usual[] = {
    {"a.weight", WF_BF16, 2, {8, 4}}, {"b.weight", WF_F32, 1, {10}}, {"c.ids", WF_I64, 1, {6}},
    {"d.scalar", WF_F32, 0, {0}},     {"head", WF_BF16, 1, {20}},
};
#define USUAL (sizeof usual / sizeof *usual)

struct setup {
    const struct wf_ckpt *base, *models[4];
    struct wf_plan first;
    struct wf_delta_plan d;
};

/* Plans both steps of a merge of m0, m1, ... whose tensors are given. */
static void plan(struct tree *t, struct setup *s, const struct wf_recipe *r, bool base)
{
    assert_worked(t, ef_plan(t, r, base ? s->base : NULL, s->models, 0, &s->first));
    assert_worked(
        t, wf_delta_plan_build(&t->err, &s->first, base ? s->base : NULL, s->models, 1000, &s->d));
}

static void unplan(struct setup *s)
{
    wf_delta_plan_destroy(&s->d);
    wf_plan_destroy(&s->first);
}

static void open_usual(struct tree *t, struct setup *s)
{
    *s = (struct setup){.base = ef_open(t, ef_model(t, "base.safetensors", usual, USUAL, 1))};
    s->models[0] = ef_open(t, ef_model(t, "m0.safetensors", usual, USUAL, 2));
    s->models[1] = ef_open(t, ef_model(t, "m1.safetensors", usual, USUAL, 3));
}

static void every_float_tensor_is_compared_with_every_task(void **state)
{
    struct tree *t = *state;
    struct setup s;
    open_usual(t, &s);
    plan(t, &s, ef_simple_recipe(t, "task_arithmetic", true, 2, "task_deltas: {density: 0.25}\n"),
         true);
    assert_int_equal(s.d.n_tasks, 2);
    assert_int_equal(s.d.plan.n_jobs, 4); /* not the integers */
    assert_int_equal(s.d.count, 32 + 10 + 1 + 20);
    assert_int_equal(s.d.plan.model_count, s.d.count);
    assert_int_equal(s.d.plan.passes, 2);
    assert_int_equal(s.d.plan.n_ckpts, 3);
    assert_null(ef_job(&s.d.plan, "c.ids"));
    const struct wf_job *a = ef_job(&s.d.plan, "a.weight");
    assert_int_equal(a->n_inputs, 3);
    assert_int_equal(a->args->n, 3);
    assert_int_equal(a->args->ties, WF_TIES_LOW_IS_HIGH);
    assert_ptr_equal(a->in[1], wf_ckpt_find(s.models[0], "a.weight"));
    assert_ptr_equal(a->in[2], wf_ckpt_find(s.models[1], "a.weight"));
    const struct wf_job *made = ef_job(&s.first, "a.weight");
    assert_int_equal(a->in[0]->offset, made->offset);
    assert_int_equal(a->in[0]->file, made->shard);
    for (size_t i = 0; i + 1 < s.d.plan.n_model_jobs; i++)
        assert_true(strcmp(s.d.plan.model_jobs[i]->name, s.d.plan.model_jobs[i + 1]->name) < 0);
    assert_int_equal(s.d.plan.thread_bytes, 1000);
    for (size_t i = 0; i < 2; i++) {
        const struct wf_delta_task *task = &s.d.tasks[i];
        assert_int_equal(task->n_missing + task->n_reshaped + task->n_extra, 0);
        assert_int_equal(task->bytes, 64 + 40 + 48 + 4 + 40);
    }
    unplan(&s);
}

static void scope_tensor_and_density_1_need_one_pass(void **state)
{
    struct tree *t = *state;
    struct setup s;
    open_usual(t, &s);
    static const struct {
        const char *deltas;
        enum wf_scope scope;
    } rows[] = {{"task_deltas: {density: 0.5, scope: tensor}\n", WF_SCOPE_TENSOR},
                {"task_deltas: {density: 1}\n", WF_SCOPE_OFF},
                {"task_deltas: {density: 1, scope: tensor}\n", WF_SCOPE_OFF}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        plan(t, &s, ef_simple_recipe(t, "linear", false, 2, rows[i].deltas), false);
        assert_int_equal(s.d.plan.passes, 1);
        assert_int_equal(s.d.plan.n_model_jobs, 0);
        assert_int_equal(s.d.plan.jobs[0].args->scope[0], rows[i].scope);
        unplan(&s);
    }
}

static void the_same_model_twice_is_two_tasks_and_the_base_is_none(void **state)
{
    struct tree *t = *state;
    struct setup s;
    open_usual(t, &s);
    s.models[1] = s.models[0];
    s.models[2] = s.base;
    plan(t, &s,
         ef_recipe(t, "merge_method: task_arithmetic\nbase_model: base\nmodels:\n"
                      "  - {model: m0, name: one, parameters: {weight: 1}}\n"
                      "  - {model: m0, name: two, parameters: {weight: 1}}\n"
                      "  - {model: base, parameters: {weight: 1}}\n"
                      "task_deltas: {density: 0.5}\n"),
         true);
    assert_int_equal(s.d.n_tasks, 2);
    assert_string_equal(s.d.tasks[0].name, "one");
    assert_string_equal(s.d.tasks[1].name, "two");
    assert_int_equal(s.d.plan.n_ckpts, 2);
    const struct wf_job *a = ef_job(&s.d.plan, "a.weight");
    assert_int_equal(a->n_inputs, 3);
    assert_ptr_equal(a->in[1], a->in[2]);
    unplan(&s);
}

static void what_a_task_has_not_is_compared_with_itself(void **state)
{
    struct tree *t = *state;
    struct setup s;
    struct ef_tensor other[USUAL];
    open_usual(t, &s);
    memcpy(other, usual, sizeof usual);
    other[4].shape[0] = 21; /* head: reshaped in m0 */
    s.models[0] = ef_open(t, ef_model(t, "wide.safetensors", other, USUAL, 2));
    other[4].name = "tail"; /* and in m1 under another name */
    s.models[1] = ef_open(t, ef_model(t, "tail.safetensors", other, USUAL, 3));
    plan(t, &s,
         ef_simple_recipe(t, "task_arithmetic", true, 2,
                          "exclude: [head, tail]\ntask_deltas: {density: 0.5}\n"),
         true);
    assert_int_equal(s.d.count, 63); /* head counts */
    const struct wf_job *head = ef_job(&s.d.plan, "head");
    assert_int_equal(head->input_ckpt[1], 0);
    assert_ptr_equal(head->in[1], head->in[0]);
    assert_ptr_equal(head->in[2], head->in[0]);
    assert_int_equal(s.d.tasks[0].n_reshaped, 1);
    assert_string_equal(s.d.tasks[0].reshaped, "head");
    assert_int_equal(s.d.tasks[1].n_missing, 1);
    assert_string_equal(s.d.tasks[1].missing, "head");
    assert_int_equal(s.d.tasks[1].n_extra, 1);
    assert_string_equal(s.d.tasks[1].extra, "tail");
    unplan(&s);
}

static void the_bound_on_bytes_holds_for_the_worst_case(void **state)
{
    struct tree *t = *state;
    struct setup s;
    struct wf_task_deltas deltas = {.density = 0.25};
    open_usual(t, &s);
    plan(t, &s, ef_simple_recipe(t, "linear", false, 2, "task_deltas: {density: 0.25}\n"), false);
    assert_int_equal(wf_delta_plan_kept(&deltas, 63), 15);
    deltas.density = 1;
    assert_int_equal(wf_delta_plan_kept(&deltas, 63), 63);
    assert_true(s.d.most_bytes >= 2 * (15 * 4 + 63 / 8)); /* all 15 may be F32 */
    unplan(&s);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_float_tensor_is_compared_with_every_task),
        TEST(scope_tensor_and_density_1_need_one_pass),
        TEST(the_same_model_twice_is_two_tasks_and_the_base_is_none),
        TEST(what_a_task_has_not_is_compared_with_itself),
        TEST(the_bound_on_bytes_holds_for_the_worst_case),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
