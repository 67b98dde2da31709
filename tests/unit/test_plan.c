/* test_plan.c - which tensors become which jobs, where they lie in the output, and what the plan's
 * hash depends on.
 */
#include <fcntl.h>

#include "engine_fixture.h"

#include "../../src/format/outfile.h"
#include "../../src/format/weight_files.h"

static const struct ef_tensor usual[] = {
    {"a.weight", WF_BF16, 2, {8, 4}},      {"b.weight", WF_F32, 1, {10}},
    {"c.position_ids", WF_I64, 2, {1, 6}}, {"d.scalar", WF_F32, 0, {0}},
    {"e.empty", WF_BF16, 2, {0, 7}},
};
#define USUAL (sizeof usual / sizeof *usual)

struct setup {
    const struct wf_ckpt *base, *models[4];
};

/* base, m0, m1, m2: the usual tensors with other values. */
static struct setup usual_models(struct tree *t)
{
    struct setup s;
    s.base = ef_open(t, ef_model(t, "base.safetensors", usual, USUAL, 1));
    s.models[0] = ef_open(t, ef_model(t, "m0.safetensors", usual, USUAL, 2));
    s.models[1] = ef_open(t, ef_model(t, "m1.safetensors", usual, USUAL, 3));
    s.models[2] = ef_open(t, ef_model(t, "m2.safetensors", usual, USUAL, 4));
    return s;
}

static void every_tensor_becomes_a_job(void **state)
{
    struct tree *t = *state;
    struct setup s = usual_models(t);
    struct wf_plan p;
    struct wf_recipe *r = ef_simple_recipe(t, "task_arithmetic", true, 2, NULL);
    assert_worked(t, ef_plan(t, r, s.base, s.models, 0, &p));
    assert_int_equal(p.n_jobs, USUAL);
    assert_int_equal(p.n_ckpts, 3);
    assert_int_equal(p.n_merged, 4);
    assert_int_equal(p.n_copied, 1);
    assert_int_equal(p.n_left_out, 0);
    const struct wf_job *a = ef_job(&p, "a.weight"), *c = ef_job(&p, "c.position_ids");
    assert_int_equal(a->action, WF_ACTION_MAP);
    assert_ptr_equal(a->method, r->method);
    assert_int_equal(a->n_inputs, 3);
    assert_int_equal(a->args->n, 3);
    assert_false(a->wide);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(a->input_ckpt[i], i); /* base first */
    assert_true(p.ckpts[0].is_base && !p.ckpts[1].is_base);
    assert_ptr_equal(p.ckpts[1].ckpt, s.models[0]);
    assert_int_equal(c->action, WF_ACTION_COPY);
    assert_int_equal(c->n_inputs, 3); /* the copy is compared with all models */
    assert_int_equal(ef_job(&p, "d.scalar")->bytes, 4);
    assert_int_equal(ef_job(&p, "e.empty")->bytes, 0);
    assert_int_equal(p.bytes_written, 64 + 40 + 48 + 4);
    assert_int_equal(p.bytes_read, 3 * p.bytes_written);
    wf_plan_destroy(&p);
}

static void missing_tensors_and_other_shapes_are_refused(void **state)
{
    struct tree *t = *state;
    struct wf_plan p;
    struct wf_recipe *r = ef_simple_recipe(t, "linear", false, 2, NULL);
    struct ef_tensor other[USUAL];
    struct setup s = usual_models(t);

    s.models[1] = ef_open(t, ef_model(t, "less.safetensors", usual, USUAL - 1, 3));
    assert_failed(t, ef_plan(t, r, NULL, s.models, 0, &p), WF_USAGE,
                  "'e.empty' is in m0 but not in m1");
    const struct wf_ckpt *swapped[] = {s.models[1], s.models[0]};
    assert_failed(t, ef_plan(t, r, NULL, swapped, 0, &p), WF_USAGE,
                  "'e.empty' is in m1 but not in m0");

    memcpy(other, usual, sizeof usual);
    other[0].shape[0] = 4;
    other[0].shape[1] = 8; /* as many elements, another matrix */
    s.models[1] = ef_open(t, ef_model(t, "turned.safetensors", other, USUAL, 3));
    assert_failed(t, ef_plan(t, r, NULL, s.models, 0, &p), WF_USAGE,
                  "'a.weight' has shape [8, 4] in m0 but [4, 8] in m1");
    other[0] = (struct ef_tensor){"a.weight", WF_BF16, 1, {32}};
    s.models[1] = ef_open(t, ef_model(t, "flat.safetensors", other, USUAL, 3));
    assert_failed(t, ef_plan(t, r, NULL, s.models, 0, &p), WF_USAGE, "[32] in m1");

    /* Excluded, the first model's is taken; what it has not is left out and listed. */
    r = ef_simple_recipe(t, "linear", false, 2, "exclude: ['a.*', 'e.*']\n");
    assert_worked(t, ef_plan(t, r, NULL, s.models, 0, &p));
    assert_int_equal(ef_job(&p, "a.weight")->action, WF_ACTION_COPY);
    assert_int_equal(ef_job(&p, "a.weight")->n_inputs, 1);
    assert_int_equal(ef_job(&p, "a.weight")->n_dims, 2);
    wf_plan_destroy(&p);
    swapped[0] = ef_open(t, ef_model(t, "less.safetensors", usual, USUAL - 1, 3));
    assert_worked(t, ef_plan(t, r, NULL, swapped, 0, &p));
    assert_null(ef_job(&p, "e.empty"));
    assert_int_equal(p.n_left_out, 1);
    assert_string_equal(p.left_out[0].name, "e.empty");
    assert_string_equal(p.left_out[0].ckpt, "m1");
    wf_plan_destroy(&p);
}

static void types_decide_width_and_storage(void **state)
{
    static const struct ef_tensor bf16[] = {{"w", WF_BF16, 1, {6}}},
                                  f32[] = {{"w", WF_F32, 1, {6}}}, f64[] = {{"w", WF_F64, 1, {6}}},
                                  i64[] = {{"w", WF_I64, 1, {6}}}, i32[] = {{"w", WF_I32, 1, {6}}};
    struct tree *t = *state;
    struct wf_plan p;
    const struct wf_ckpt *b = ef_open(t, ef_model(t, "bf16.safetensors", bf16, 1, 1));
    const struct wf_ckpt *f = ef_open(t, ef_model(t, "f32.safetensors", f32, 1, 2));
    const struct wf_ckpt *d = ef_open(t, ef_model(t, "f64.safetensors", f64, 1, 3));
    const struct wf_ckpt *i = ef_open(t, ef_model(t, "i64.safetensors", i64, 1, 4));
    const struct wf_ckpt *j = ef_open(t, ef_model(t, "i32.safetensors", i32, 1, 4));
    struct wf_recipe *r = ef_simple_recipe(t, "linear", false, 2, NULL);
    struct wf_recipe *based = ef_simple_recipe(t, "linear", true, 2, NULL);
    struct wf_recipe *half = ef_simple_recipe(t, "linear", false, 2, "dtype: float16\n");
    const struct {
        const struct wf_recipe *r;
        const struct wf_ckpt *base, *models[2];
        enum wf_dtype stored;
        bool wide;
    } cases[] = {
        {r, NULL, {b, f}, WF_BF16, false},   {r, NULL, {f, b}, WF_F32, false},
        {r, NULL, {b, d}, WF_BF16, true},    {based, f, {b, b}, WF_F32, false},
        {half, NULL, {b, f}, WF_F16, false}, {half, NULL, {d, f}, WF_F16, true},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        assert_worked(t, ef_plan(t, cases[k].r, cases[k].base, cases[k].models, 0, &p));
        assert_int_equal(p.jobs[0].dtype, cases[k].stored);
        assert_int_equal(p.jobs[0].wide, cases[k].wide);
        assert_int_equal(p.jobs[0].bytes, 6 * wf_dtype_info(cases[k].stored)->bits / 8);
        assert_int_equal(p.jobs[0].n_inputs, 2); /* linear does not read the base */
        for (int n = 0; n < 2; n++)
            assert_int_equal(p.jobs[0].in_dtype[n], p.jobs[0].in[n]->dtype);
        wf_plan_destroy(&p);
    }
    assert_failed(t, ef_plan(t, r, NULL, (const struct wf_ckpt *[]){i, j}, 0, &p), WF_USAGE,
                  "'w' is I64 in m0 but I32 in m1");
    assert_failed(t, ef_plan(t, r, NULL, (const struct wf_ckpt *[]){f, j}, 0, &p), WF_USAGE,
                  "cannot be mixed");
    assert_worked(t, ef_plan(t, half, NULL, (const struct wf_ckpt *[]){i, i}, 0, &p));
    assert_int_equal(p.jobs[0].dtype, WF_I64); /* a recipe's dtype is for arithmetic types */
    wf_plan_destroy(&p);
}

static void include_and_exclude_choose_and_convert(void **state)
{
    struct tree *t = *state;
    struct setup s = usual_models(t);
    struct wf_plan p;
    struct wf_recipe *r = ef_simple_recipe(t, "linear", true, 2,
                                           "include: ['*.weight', 'x.*']\nexclude: ['b.*', 'y']\n"
                                           "dtype: float32\n");
    assert_worked(t, ef_plan(t, r, s.base, s.models, 0, &p));
    assert_ptr_equal(ef_job(&p, "a.weight")->method, r->method);
    assert_int_equal(ef_job(&p, "b.weight")->action, WF_ACTION_COPY); /* F32 already */
    assert_int_equal(ef_job(&p, "c.position_ids")->n_inputs, 1);
    const struct wf_job *empty = ef_job(&p, "e.empty"); /* BF16 outside: only its type changes */
    assert_int_equal(empty->action, WF_ACTION_MAP);
    assert_string_equal(empty->method->name, "passthrough");
    assert_int_equal(empty->dtype, WF_F32);
    assert_true(empty->args->m[0][0] == 1.0);
    assert_int_equal(p.n_unused, 2);
    assert_string_equal(p.unused[0], "x.*");
    assert_string_equal(p.unused[1], "y");
    wf_plan_destroy(&p);
}

static void passthrough_moves_bytes_unless_it_must_compute(void **state)
{
    struct tree *t = *state;
    struct setup s = usual_models(t);
    struct wf_plan p;
    struct wf_recipe *r = ef_recipe(t, "merge_method: passthrough\nmodels:\n  - model: m0\n");
    assert_worked(t, ef_plan(t, r, NULL, s.models, 0, &p));
    for (size_t i = 0; i < p.n_jobs; i++)
        assert_int_equal(p.jobs[i].action, WF_ACTION_COPY);
    wf_plan_destroy(&p);
    r = ef_recipe(
        t, "merge_method: passthrough\nmodels:\n  - model: m0\n    parameters: {scale: 2}\n");
    assert_worked(t, ef_plan(t, r, NULL, s.models, 0, &p));
    assert_int_equal(ef_job(&p, "a.weight")->action, WF_ACTION_MAP);
    assert_true(ef_job(&p, "a.weight")->args->m[0][0] == 2.0);
    assert_int_equal(ef_job(&p, "c.position_ids")->action, WF_ACTION_COPY);
    wf_plan_destroy(&p);
}

static void the_base_among_the_models_is_no_input_of_its_own(void **state)
{
    struct tree *t = *state;
    struct setup s = usual_models(t);
    struct wf_plan p;
    const char *text = "merge_method: task_arithmetic\nbase_model: base\nmodels:\n"
                       "  - model: base\n  - model: m0\n    parameters: {weight: 1}\n";
    const struct wf_ckpt *models[] = {s.base, s.models[0]};
    assert_worked(t, ef_plan(t, ef_recipe(t, text), s.base, models, 0, &p));
    assert_int_equal(p.n_ckpts, 2);
    assert_int_equal(ef_job(&p, "a.weight")->n_inputs, 2);
    assert_int_equal(ef_job(&p, "a.weight")->input_ckpt[1], 1);
    wf_plan_destroy(&p);
    /* The recipe cannot know that another name is the base; the plan does. */
    struct wf_recipe *alone = ef_simple_recipe(t, "task_arithmetic", true, 1, NULL);
    const struct wf_ckpt *itself[] = {s.base};
    assert_failed(t, ef_plan(t, alone, s.base, itself, 0, &p), WF_USAGE, "at least 1 model");
}

/* Two names for one file, a hard link among them, are one checkpoint with two inputs. */
static void a_model_named_twice_is_read_as_two_inputs_of_one_checkpoint(void **state)
{
    struct tree *t = *state;
    struct setup s = usual_models(t);
    struct wf_plan p;
    assert_int_equal(link(tree_path(t, "m0.safetensors"), tree_path(t, "hard.safetensors")), 0);
    const struct wf_ckpt *models[] = {s.models[0], s.models[1],
                                      ef_open(t, tree_path(t, "hard.safetensors"))};
    assert_worked(t,
                  ef_plan(t, ef_simple_recipe(t, "linear", false, 3, NULL), NULL, models, 0, &p));
    assert_int_equal(p.n_ckpts, 2);
    const struct wf_job *a = ef_job(&p, "a.weight");
    assert_int_equal(a->n_inputs, 3);
    assert_int_equal(a->input_ckpt[0], 0);
    assert_int_equal(a->input_ckpt[1], 1);
    assert_int_equal(a->input_ckpt[2], 0);
    assert_true(a->args->m[2][0] != a->args->m[0][0]); /* its own weight */
    wf_plan_destroy(&p);
}

static void architectures_must_agree_unless_mixed_is_allowed(void **state)
{
    struct tree *t = *state;
    struct wf_plan p;
    const char *configs[] = {"{\"architectures\":[\"A\"],\"model_type\":\"x\"}",
                             "{\"architectures\":[\"B\"],\"model_type\":\"x\"}",
                             "{\"model_type\":\"y\"}", "{}"};
    const struct wf_ckpt *c[4];
    for (int i = 0; i < 4; i++) {
        char name[64];
        snprintf(name, sizeof name, "f%d/model.safetensors", i);
        ef_model(t, name, usual, USUAL, (uint64_t)i);
        snprintf(name, sizeof name, "f%d/config.json", i);
        tree_file(t, name, configs[i]);
        snprintf(name, sizeof name, "f%d", i);
        c[i] = ef_open(t, tree_path(t, name));
    }
    struct wf_recipe *r = ef_simple_recipe(t, "linear", false, 2, NULL);
    assert_failed(t, ef_plan(t, r, NULL, (const struct wf_ckpt *[]){c[0], c[1]}, 0, &p), WF_USAGE,
                  "architectures is 'A' in m0 but 'B' in m1");
    assert_failed(t, ef_plan(t, r, NULL, (const struct wf_ckpt *[]){c[0], c[2]}, 0, &p), WF_USAGE,
                  "model_type is 'x' in m0 but 'y' in m1");
    assert_worked(t, ef_plan(t, r, NULL, (const struct wf_ckpt *[]){c[0], c[3]}, 0, &p));
    wf_plan_destroy(&p);
    r = ef_simple_recipe(t, "linear", false, 2, "allow_mixed: true\n");
    assert_worked(t, ef_plan(t, r, NULL, (const struct wf_ckpt *[]){c[0], c[1]}, 0, &p));
    wf_plan_destroy(&p);
}

static void weights_of_sum_zero_are_refused_with_the_tensor(void **state)
{
    struct tree *t = *state;
    struct setup s = usual_models(t);
    struct wf_plan p;
    struct wf_recipe *r = ef_recipe(t, "merge_method: linear\nmodels:\n"
                                       "  - model: m0\n    parameters: {weight: 1}\n"
                                       "  - model: m1\n    parameters: {weight: -1}\n");
    assert_failed(t, ef_plan(t, r, NULL, s.models, 0, &p), WF_USAGE,
                  "tensor 'a.weight': the weights");
}

/* Whatever the split: canonical order, headers that end at a page, data without holes. */
static void check_layout(struct tree *t, const struct wf_plan *p, uint64_t shard_bytes)
{
    size_t job = 0;
    for (size_t s = 0; s < p->n_shards; s++) {
        const struct wf_shard *shard = &p->shards[s];
        uint64_t at = shard->header.n, data = 0;
        struct wf_st_header h;
        assert_int_equal(shard->header.n % WF_DIRECT_ALIGN, 0);
        assert_int_equal(shard->first_job, job);
        assert_worked(t, wf_st_parse(&t->err, &t->arena, shard->name, shard->header.text + 8,
                                     shard->header.n - 8, shard->bytes, &h));
        assert_int_equal(h.n_tensors, shard->n_jobs);
        for (size_t i = 0; i < shard->n_jobs; i++, job++) {
            const struct wf_job *j = &p->jobs[job];
            assert_int_equal(j->shard, s);
            assert_int_equal(j->offset, at);
            if (job && j->shard == j[-1].shard)
                assert_true(j[-1].dtype > j->dtype ||
                            (j[-1].dtype == j->dtype && strcmp(j[-1].name, j->name) < 0));
            uint64_t width = wf_dtype_info(j->dtype)->bits / 8;
            assert_int_equal(at % (width ? width : 1), 0);
            at += j->bytes;
            data += j->bytes;
        }
        assert_int_equal(shard->bytes, at);
        assert_true(data <= shard_bytes || shard->n_jobs == 1 || p->n_shards == 1);
        if (s) /* greedy: the first tensor did not fit into the shard before */
            assert_true(p->shards[s - 1].bytes - p->shards[s - 1].header.n +
                            p->jobs[shard->first_job].bytes >
                        shard_bytes);
        char name[64];
        snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", s + 1, p->n_shards);
        assert_string_equal(shard->name, p->n_shards == 1 ? WF_SINGLE_NAME : name);
    }
    assert_int_equal(job, p->n_jobs);
}

static void layout_is_canonical_for_every_shard_size(void **state)
{
    struct tree *t = *state;
    struct ef_tensor many[40];
    char names[40][32];
    for (size_t i = 0; i < 40; i++) {
        static const enum wf_dtype types[] = {WF_BF16, WF_F32, WF_I64, WF_U8, WF_F64, WF_BOOL};
        snprintf(names[i], sizeof names[i], "layers.%zu.w", (i * 7) % 40);
        many[i] = (struct ef_tensor){names[i], types[i % 6], 1, {(i * i * 31) % 700}};
    }
    const struct wf_ckpt *models[] = {ef_open(t, ef_model(t, "m0.safetensors", many, 40, 1)),
                                      ef_open(t, ef_model(t, "m1.safetensors", many, 40, 2))};
    struct wf_recipe *r = ef_simple_recipe(t, "linear", false, 2, NULL);
    for (uint64_t shard = 1; shard < 100000; shard += 1 + shard / 3) {
        struct wf_plan p;
        assert_worked(t, ef_plan(t, r, NULL, models, shard, &p));
        check_layout(t, &p, shard);
        wf_plan_destroy(&p);
    }
}

static void no_tensors_at_all_make_one_valid_file(void **state)
{
    struct tree *t = *state;
    struct wf_plan p;
    const struct wf_ckpt *models[] = {ef_open(t, ef_model(t, "none.safetensors", NULL, 0, 1)),
                                      NULL};
    models[1] = models[0];
    assert_worked(t,
                  ef_plan(t, ef_simple_recipe(t, "linear", false, 2, NULL), NULL, models, 0, &p));
    assert_int_equal(p.n_jobs, 0);
    assert_int_equal(p.n_shards, 1);
    check_layout(t, &p, 1);
    wf_plan_destroy(&p);
}

/* Only the parts that really changed may differ, and any of them changes the whole. */
static void check_differs(const struct wf_plan *a, const struct wf_plan *b, unsigned parts)
{
    for (unsigned k = 0; k < WF_PARTS; k++)
        if (wf_hash128_equal(&a->parts[k], &b->parts[k]) == (int)(parts >> k & 1))
            fail_msg("part '%s' %s", wf_plan_part_name((enum wf_plan_part)k),
                     parts >> k & 1 ? "should differ" : "should be equal");
    assert_int_equal(wf_hash128_equal(&a->hash, &b->hash), parts == 0);
}

static void hash_changes_with_its_parts_and_nothing_else(void **state)
{
    struct tree *t = *state;
    struct setup s = usual_models(t);
    struct wf_recipe *r = ef_simple_recipe(t, "linear", false, 2, NULL);
    struct wf_plan p, q;
    struct wf_plan_options sha = ef_options, benchmark = ef_options;
    sha.manifest = "sha256";
    benchmark.null_compute = true;
    assert_worked(t, ef_plan(t, r, NULL, s.models, 0, &p));

    assert_worked(t, ef_plan(t, r, NULL, s.models, 0, &q));
    check_differs(&p, &q, 0);
    wf_plan_destroy(&q);
    assert_worked(t, ef_plan(t, r, NULL, s.models, 50, &q));
    check_differs(&p, &q, 1u << WF_PART_LAYOUT);
    wf_plan_destroy(&q);
    assert_worked(t, wf_plan_build(&t->err, &t->arena, r, NULL, s.models, &sha, &q));
    check_differs(&p, &q, 1u << WF_PART_MANIFEST);
    wf_plan_destroy(&q);
    assert_worked(t, wf_plan_build(&t->err, &t->arena, r, NULL, s.models, &benchmark, &q));
    check_differs(&p, &q, 1u << WF_PART_MANIFEST);
    wf_plan_destroy(&q);
    struct wf_recipe *other = ef_simple_recipe(t, "linear", false, 2, "# a remark\n");
    assert_worked(t, ef_plan(t, other, NULL, s.models, 0, &q));
    check_differs(&p, &q, 1u << WF_PART_RECIPE);
    wf_plan_destroy(&q);

    /* The same bytes written again, a nanosecond or more later. */
    struct timespec times[2] = {{1000000000, 0}, {1000000000, 1}};
    char *path = ef_model(t, "m1.safetensors", usual, USUAL, 3);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    const struct wf_ckpt *touched[] = {s.models[0], ef_open(t, path)};
    assert_worked(t, ef_plan(t, r, NULL, touched, 0, &q));
    check_differs(&p, &q, 1u << WF_PART_INPUTS);
    wf_plan_destroy(&q);
    wf_plan_destroy(&p);
}

#define PLAN_TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PLAN_TEST(every_tensor_becomes_a_job),
        PLAN_TEST(missing_tensors_and_other_shapes_are_refused),
        PLAN_TEST(types_decide_width_and_storage),
        PLAN_TEST(include_and_exclude_choose_and_convert),
        PLAN_TEST(passthrough_moves_bytes_unless_it_must_compute),
        PLAN_TEST(the_base_among_the_models_is_no_input_of_its_own),
        PLAN_TEST(a_model_named_twice_is_read_as_two_inputs_of_one_checkpoint),
        PLAN_TEST(architectures_must_agree_unless_mixed_is_allowed),
        PLAN_TEST(weights_of_sum_zero_are_refused_with_the_tensor),
        PLAN_TEST(layout_is_canonical_for_every_shard_size),
        PLAN_TEST(no_tensors_at_all_make_one_valid_file),
        PLAN_TEST(hash_changes_with_its_parts_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
