/* test_saved.c - a unit that is saved after any step and restored into another, which has other
 * room and other pieces, comes to what it would have come to itself.
 */
#include "model_fixture.h"

#include "../../src/stage/saved.h"

/* ---- places ---- */

static uint64_t tensor_of(void *arg, uint32_t piece)
{
    const struct sf_run *r = arg;
    assert_true(piece < r->pieces);
    return r->of[piece];
}

static bool piece_at(void *arg, uint64_t tensor, uint64_t element, uint32_t *piece)
{
    const struct sf_run *r = arg;
    for (*piece = 0; *piece < r->pieces; ++*piece)
        if (r->of[*piece] == tensor && element >= r->from[*piece] && element < r->to[*piece])
            return true;
    return false;
}

static struct wf_str saved(const struct sf_run *r)
{
    struct wf_unit_places places = {tensor_of, piece_at, (void *)r};
    struct wf_str s = {0};
    wf_unit_save(r->unit, &places, &s);
    assert_false(s.failed);
    return s;
}

static bool restore(const struct sf_run *r, const char *text, size_t n)
{
    struct wf_unit_places places = {tensor_of, piece_at, (void *)r};
    return wf_unit_restore(r->unit, &places, text, n);
}

/* ---- a run that dies after each of its steps ---- */

/* The same group with other pieces and another unit. */
static struct sf_run other_run(const struct mf_scene *c, struct wf_unit_group *group, uint64_t seed)
{
    struct wf_unit_need need = c->need;
    struct sf_run r = {.data = &c->data, .method = &mf_method, .seed = seed, .threads = seed % 3};
    need.bins = seed % 2 ? 1024 : 8192;
    need.keys = seed % 5 < 2 ? 1024 : seed % 5 < 4 ? 4096 : 65536; /* which holds all keys */
    need.threads = r.threads + 1;
    sf_cut(&r, 0, SF_TENSORS, (uint32_t)(seed % 16));
    *group = c->group;
    group->pieces = r.pieces;
    r.unit = mf_begun(&need, group);
    return r;
}

static void one_step(struct sf_run *r)
{
    r->steps[wf_unit_step(r->unit)]++;
    assert_true(r->steps[WF_STEP_COUNT] < 40);
    sf_step(r);
    assert_null(wf_unit_advance(r->unit));
}

/* Every number that MAP sees in every tensor. */
static void check_equal(struct sf_run *r, struct sf_run *wanted)
{
    struct wf_str mine = saved(r), theirs = saved(wanted);
    assert_string_equal(mine.text, theirs.text);
    wf_str_free(&mine);
    wf_str_free(&theirs);
    assert_int_equal(r->unit->n_splits, wanted->unit->n_splits);
    sf_map_all(r, wf_unit_args(r->unit));
    for (unsigned k = 0; k < SF_TENSORS; k++)
        assert_memory_equal(r->out[k], wanted->out[k], r->data->t[k].count * sizeof *r->out[k]);
    sf_free_out(r);
}

static void run(const struct mf_setting *s)
{
    struct mf_scene c;
    struct wf_unit_group group;
    mf_set_scene(&c, s);
    struct sf_run one = c.cut, dying = other_run(&c, &group, s->seed);
    one.unit = mf_begun(&c.need, &c.group);
    assert_null(sf_gather(&one, &c.group));
    sf_map_all(&one, wf_unit_args(one.unit));
    for (uint64_t seed = s->seed + 1; wf_unit_step(dying.unit) != WF_STEP_MAP; seed++) {
        one_step(&dying); /* several, so that it ends in whatever room there is */
        for (unsigned more = seed % 3; more && wf_unit_step(dying.unit) != WF_STEP_MAP; more--)
            one_step(&dying);
        if (wf_unit_step(dying.unit) == WF_STEP_COUNT && !dying.unit->select.ranked)
            one_step(&dying);
        if (wf_unit_step(dying.unit) == WF_STEP_LOCATE)
            one_step(&dying);
        struct wf_str text = saved(&dying);
        wf_unit_destroy(dying.unit);
        dying = other_run(&c, &group, seed);
        assert_true(restore(&dying, text.text, text.n));
        struct wf_str again = saved(&dying);
        assert_string_equal(again.text, text.text);
        wf_str_free(&text);
        wf_str_free(&again);
    }
    check_equal(&dying, &one);
    wf_unit_destroy(dying.unit);
    wf_unit_destroy(one.unit);
    sf_free_out(&one);
    sf_free(&c.data);
}

static void any_data_dies_and_goes_on(void **state)
{
    struct mf_setting s = mf_usual();
    (void)state;
    for (s.kind = 0; s.kind < MF_KINDS; s.kind++)
        for (s.ties = WF_TIES_INCLUSIVE; s.ties <= WF_TIES_LOW_IS_HIGH; s.ties++)
            for (unsigned way = 0; way < 8; way++) {
                s.counts = way % 4 == 3 ? mf_small : mf_large;
                s.wide = way == 2 ? 31 : way == 4 ? 8 : 0;
                s.per_model = way != 5;
                s.q = way == 6 ? 2 : 0.6;
                s.seed++;
                run(&s);
            }
}

/* What a step leaves behind is what the next process starts with: no pass is made twice. */
static void passes_that_were_made_are_not_made_again(void **state)
{
    struct mf_setting s = mf_usual();
    struct mf_scene c;
    struct wf_unit_group group;
    (void)state;
    s.kind = MF_NARROW; /* needs two passes at least with 1024 bins */
    s.q = 0.999;
    mf_set_scene(&c, &s);
    struct sf_run one = other_run(&c, &group, 15), next = other_run(&c, &group, 5);
    enum wf_step steps[] = {WF_STEP_FOLD, WF_STEP_SAMPLE, WF_STEP_COUNT};
    for (unsigned k = 0; k < 3; k++) {
        assert_int_equal(wf_unit_step(one.unit), steps[k]);
        one_step(&one);
    }
    struct wf_str text = saved(&one);
    assert_true(restore(&next, text.text, text.n));
    assert_int_equal(wf_unit_step(next.unit), wf_unit_step(one.unit));
    assert_int_not_equal(wf_unit_step(next.unit), WF_STEP_SAMPLE);
    while (wf_unit_step(one.unit) != WF_STEP_MAP)
        one_step(&one);
    wf_str_free(&text);
    text = saved(&one);
    assert_true(restore(&next, text.text, text.n));
    assert_int_equal(wf_unit_step(next.unit), WF_STEP_MAP);
    wf_str_free(&text);
    wf_unit_destroy(one.unit);
    wf_unit_destroy(next.unit);
    sf_free(&c.data);
}

/* ---- text that is not a record ---- */

/* Refused, and the unit is as it was when it began. */
static void refused(const struct sf_run *r, const char *text, size_t n, const char *fresh)
{
    assert_false(restore(r, text, n));
    struct wf_str now = saved(r);
    assert_string_equal(now.text, fresh);
    wf_str_free(&now);
}

/* Every place cut off, and every line left out or there twice. */
static void damaged_records_are_refused(void **state)
{
    struct mf_setting s = mf_usual();
    struct mf_scene c;
    struct wf_unit_group group;
    (void)state;
    s.kind = MF_LATTICE;
    mf_set_scene(&c, &s);
    struct sf_run r = other_run(&c, &group, 7);
    struct wf_str fresh = saved(&r);
    for (unsigned done = 0; wf_unit_step(r.unit) != WF_STEP_MAP; done++) {
        struct sf_run to = other_run(&c, &group, 8);
        one_step(&r);
        struct wf_str text = saved(&r);
        for (size_t n = 0; n < text.n; n++)
            refused(&to, text.text, n, fresh.text);
        for (char *line = text.text, *next; *line; line = next) {
            struct wf_str less = {0}, more = {0};
            next = strchr(line, '\n') + 1;
            wf_str_add(&less, text.text, (size_t)(line - text.text));
            wf_str_puts(&less, next);
            wf_str_add(&more, text.text, (size_t)(next - text.text));
            wf_str_puts(&more, line);
            refused(&to, less.text, less.n, fresh.text);
            refused(&to, more.text, more.n, fresh.text);
            wf_str_free(&less);
            wf_str_free(&more);
        }
        assert_true(restore(&to, text.text, text.n));
        wf_str_free(&text);
        wf_unit_destroy(to.unit);
    }
    wf_str_free(&fresh);
    wf_unit_destroy(r.unit);
    sf_free(&c.data);
}

/* The record of a COUNT that has ended, with one thing put in the place of another. */
static void impossible_numbers_are_refused(void **state)
{
    static const char *const cuts[] = {
        "cut 3 9 0 5 0 9",                /* no such state */
        "cut 0 9 6 5 0 a",                /* ends before it begins */
        "cut 0 9 0 80000000 0 a",         /* beyond any float */
        "cut 0 9 0 5 0 ffffffff",         /* more keys than elements */
        "cut 0 9 0 5 b a",                /* fewer through than before */
        "cut 0 b 0 5 0 a",                /* the rank is not inside */
        "cut 0 9 0 5 a b",                /* nor here */
        "cut 0 9 5 5 0 a",                /* one key, and not found */
        "cut 1 9 4 5 0 a",                /* found, and two keys */
        "cut 2 9 0 5 0 a",                /* no key, and a rank that has one */
        "cut 0 9 0 5 0 0a",               /* a zero before another digit */
        "cut 0 9 0 5 0 A",                /* capitals */
        "cut 0 9 0 5 0 a ",               /* more than there is */
        "cut 0 9 0 5 0",                  /* less */
        "cut 0 9 0 5 0 a0000000000000000" /* 17 digits */
    };
    struct mf_setting s = mf_usual();
    struct mf_scene c;
    struct wf_unit_group group;
    (void)state;
    s.kind = MF_NARROW;
    s.q = 0.999;
    mf_set_scene(&c, &s);
    struct sf_run r = other_run(&c, &group, 5);
    struct wf_str fresh = saved(&r);
    for (unsigned k = 0; k < 3; k++)
        one_step(&r);
    struct wf_str text = saved(&r);
    char *cut = strstr(text.text, "cut "), *rest = strchr(cut, '\n');
    for (size_t k = 0; k <= sizeof cuts / sizeof *cuts; k++) {
        struct wf_str wrong = {0};
        wf_str_add(&wrong, text.text, (size_t)(cut - text.text));
        wf_str_puts(&wrong, k ? cuts[k - 1] : "cut 0 9 0 5 0 a");
        wf_str_puts(&wrong, rest);
        if (k)
            refused(&r, wrong.text, wrong.n, fresh.text);
        else
            assert_true(restore(&r, wrong.text, wrong.n));
        wf_str_free(&wrong);
    }
    wf_str_free(&text);
    wf_str_free(&fresh);
    wf_unit_destroy(r.unit);
    sf_free(&c.data);
}

/* A conclusion that lies, of which only memory safety and an error are wanted. */
static void places_that_are_not_there_are_refused(void **state)
{
    struct mf_setting s = mf_usual();
    struct mf_scene c;
    struct wf_unit_group group;
    (void)state;
    s.kind = MF_LATTICE;
    mf_set_scene(&c, &s);
    struct sf_run r = other_run(&c, &group, 7);
    struct wf_str fresh = saved(&r);
    while (wf_unit_step(r.unit) != WF_STEP_MAP)
        one_step(&r);
    struct wf_str text = saved(&r);
    char *split = strstr(text.text, "split "), *rest = strchr(split, '\n');
    static const char *const splits[] = {"split 5 6 0 0", "split 5 6 5 0",        "split 5 6 1 0",
                                         "split 5 6 2 3", "split 5 80000000 0 0", "split 5 6 0"};
    for (size_t k = 0; k < 6; k++) {
        struct wf_str wrong = {0};
        wf_str_add(&wrong, text.text, (size_t)(split - text.text));
        wf_str_puts(&wrong, splits[k]);
        wf_str_puts(&wrong, rest);
        if (k)
            refused(&r, wrong.text, wrong.n, fresh.text);
        else
            assert_true(restore(&r, wrong.text, wrong.n));
        wf_str_free(&wrong);
    }
    wf_str_free(&text);
    wf_str_free(&fresh);
    wf_unit_destroy(r.unit);
    sf_free(&c.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_data_dies_and_goes_on),
        cmocka_unit_test(passes_that_were_made_are_not_made_again),
        cmocka_unit_test(damaged_records_are_refused),
        cmocka_unit_test(impossible_numbers_are_refused),
        cmocka_unit_test(places_that_are_not_there_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
