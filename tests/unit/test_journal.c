/* test_journal.c - the journal survives a crash at any byte, and refuses what is not its plan. */
#include <fcntl.h>
#include <sys/wait.h>

#include "engine_fixture.h"

#include "../../src/stream/journal.h"

#define BLOCKS 40

struct seen {
    size_t n;
    struct wf_journal_block blocks[4 * BLOCKS];
};

static void on_block(void *arg, uint32_t shard, uint64_t block, const struct wf_hash128 *hash)
{
    struct seen *s = arg;
    assert_true(s->n < 4 * BLOCKS);
    s->blocks[s->n] = (struct wf_journal_block){shard, block, hash != NULL, {{0}}};
    if (hash)
        s->blocks[s->n].hash = *hash;
    s->n++;
}

static struct wf_plan make_plan(void)
{
    struct wf_plan p = {.n_shards = 3};
    for (unsigned k = 0; k < WF_PARTS; k++)
        p.parts[k] = wf_xxh128(&k, sizeof k);
    p.hash = wf_xxh128(p.parts, sizeof p.parts);
    return p;
}

static struct wf_journal_block row(unsigned k)
{
    struct wf_journal_block b = {k % 3, (uint64_t)k * k * k, k % 4 != 0, {{0}}};
    if (b.hashed)
        b.hash = wf_xxh128(&k, sizeof k);
    return b;
}

static void assert_row(const struct wf_journal_block *got, unsigned k)
{
    struct wf_journal_block wanted = row(k);
    assert_int_equal(got->shard, wanted.shard);
    assert_int_equal(got->block, wanted.block);
    assert_int_equal(got->hashed, wanted.hashed);
    assert_true(wf_hash128_equal(&got->hash, &wanted.hash));
}

/* A journal of BLOCKS records, in two additions. Returns its path. */
static char *write_journal(struct tree *t, const struct wf_plan *p)
{
    char *path = tree_path(t, WF_JOURNAL_NAME);
    struct wf_journal j;
    struct wf_journal_block rows[BLOCKS];
    for (unsigned k = 0; k < BLOCKS; k++)
        rows[k] = row(k);
    assert_worked(t, wf_journal_open(&t->err, path, true, &j));
    assert_worked(t, wf_journal_begin(&t->err, &j, p));
    assert_worked(t, wf_journal_add(&t->err, &j, rows, 7));
    assert_worked(t, wf_journal_add(&t->err, &j, rows + 7, BLOCKS - 7));
    wf_journal_close(&j);
    return path;
}

static enum wf_journal_state load(struct tree *t, const struct wf_plan *p, struct seen *seen,
                                  enum wf_plan_part *differs, struct wf_journal *j)
{
    enum wf_journal_state state;
    seen->n = 0;
    assert_worked(t, wf_journal_open(&t->err, tree_path(t, WF_JOURNAL_NAME), false, j));
    assert_worked(t, wf_journal_load(&t->err, j, p, &state, differs, on_block, seen));
    return state;
}

static enum wf_journal_state load_once(struct tree *t, const struct wf_plan *p, struct seen *seen)
{
    enum wf_plan_part differs;
    struct wf_journal j;
    enum wf_journal_state state = load(t, p, seen, &differs, &j);
    wf_journal_close(&j);
    return state;
}

static void records_come_back_in_order(void **state)
{
    struct tree *t = *state;
    struct wf_plan p = make_plan();
    struct seen seen;
    write_journal(t, &p);
    assert_int_equal(load_once(t, &p, &seen), WF_JOURNAL_SAME);
    assert_int_equal(seen.n, BLOCKS);
    for (unsigned k = 0; k < BLOCKS; k++)
        assert_row(&seen.blocks[k], k);
}

/* After a crash the file ends anywhere: whole lines count, and writing goes on behind them. */
static void any_torn_tail_is_ignored_and_overwritten(void **state)
{
    struct tree *t = *state;
    struct wf_plan p = make_plan();
    struct wf_journal j;
    struct seen seen;
    enum wf_plan_part differs;
    char *text, *path = write_journal(t, &p);
    size_t n, lines = 0;
    assert_worked(t, wf_read_small(&t->err, WF_INPUT, path, 1 << 20, &text, &n));
    for (size_t cut = 0; cut <= n; cut++) {
        lines += cut && text[cut - 1] == '\n';
        tree_bytes(t, WF_JOURNAL_NAME, text, cut);
        enum wf_journal_state s = load(t, &p, &seen, &differs, &j);
        size_t head = WF_PARTS + 2, whole = lines > head ? lines - head : 0;
        assert_int_equal(s, lines >= head ? WF_JOURNAL_SAME : WF_JOURNAL_NONE);
        assert_int_equal(seen.n, whole);
        struct wf_journal_block next = row(whole % BLOCKS);
        if (s == WF_JOURNAL_SAME)
            assert_worked(t, wf_journal_add(&t->err, &j, &next, 1));
        wf_journal_close(&j);
        if (s != WF_JOURNAL_SAME)
            continue;
        assert_int_equal(load_once(t, &p, &seen), WF_JOURNAL_SAME);
        assert_int_equal(seen.n, whole + 1);
        for (unsigned k = 0; k < whole; k++)
            assert_row(&seen.blocks[k], k);
        assert_row(&seen.blocks[whole], whole % BLOCKS);
    }
    wf_free(text);
}

/* Any changed bit ends the good part before its line; nothing invented comes out. */
static void any_damaged_byte_ends_the_good_part(void **state)
{
    struct tree *t = *state;
    struct wf_plan p = make_plan();
    struct seen seen;
    char *text, *path = write_journal(t, &p);
    size_t n, line = 0;
    assert_worked(t, wf_read_small(&t->err, WF_INPUT, path, 1 << 20, &text, &n));
    for (size_t at = 0; at < n; at++) {
        char good = text[at];
        text[at] = (char)(good ^ (1 << (at % 8)));
        tree_bytes(t, WF_JOURNAL_NAME, text, n);
        size_t head = WF_PARTS + 2;
        enum wf_journal_state s = load_once(t, &p, &seen);
        assert_int_equal(s, line >= head ? WF_JOURNAL_SAME : WF_JOURNAL_NONE);
        assert_int_equal(seen.n, line > head ? line - head : 0);
        for (unsigned k = 0; k < seen.n; k++)
            assert_row(&seen.blocks[k], k);
        text[at] = good;
        line += good == '\n';
    }
    wf_free(text);
}

static void another_plan_is_named_by_its_first_different_part(void **state)
{
    struct tree *t = *state;
    struct wf_plan p = make_plan();
    struct seen seen;
    struct wf_journal j;
    enum wf_plan_part differs;
    write_journal(t, &p);
    for (unsigned k = 0; k < WF_PARTS; k++) {
        struct wf_plan q = p;
        for (unsigned later = k; later < WF_PARTS; later++)
            q.parts[later] = wf_xxh128("other", 5);
        q.hash = wf_xxh128(q.parts, sizeof q.parts);
        assert_int_equal(load(t, &q, &seen, &differs, &j), WF_JOURNAL_OTHER);
        assert_int_equal(differs, k);
        assert_int_equal(seen.n, 0);
        wf_journal_close(&j);
        assert_true(strlen(wf_plan_part_name((enum wf_plan_part)k)) > 3);
    }
}

static void what_is_no_journal_is_none(void **state)
{
    struct tree *t = *state;
    struct wf_plan p = make_plan();
    struct seen seen;
    struct wf_journal j;
    enum wf_plan_part differs;
    assert_int_equal(load(t, &p, &seen, &differs, &j), WF_JOURNAL_NONE); /* not there */
    assert_int_equal(j.fd, -1);
    tree_file(t, WF_JOURNAL_NAME, "");
    assert_int_equal(load_once(t, &p, &seen), WF_JOURNAL_NONE);
    tree_file(t, WF_JOURNAL_NAME, "\n\n\n");
    assert_int_equal(load_once(t, &p, &seen), WF_JOURNAL_NONE);
    tree_file(t, WF_JOURNAL_NAME, "weft-journal 1\nplan 0\nblock 0 0 -\n"); /* no checksums */
    assert_int_equal(load_once(t, &p, &seen), WF_JOURNAL_NONE);
}

/* Lines with a right checksum and wrong content, as a bug or a person would write them. */
static void records_out_of_range_are_left_out(void **state)
{
    static const char *const lines[] = {
        "block 3 0 -", "block 4294967296 0 -", "block 0 0 xyz", "block 0", "part 9 00",
        "nonsense",    "block -1 0 -"};
    struct tree *t = *state;
    struct wf_plan p = make_plan();
    struct seen seen;
    char *path = write_journal(t, &p);
    FILE *f = fopen(path, "ab");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct wf_hash128 h = wf_xxh128(lines[i], strlen(lines[i]));
        char hex[33];
        fprintf(f, "%s %.16s\n", lines[i], wf_hash128_hex(&h, hex));
    }
    fclose(f);
    assert_int_equal(load_once(t, &p, &seen), WF_JOURNAL_SAME);
    for (size_t i = 0; i < seen.n; i++)
        assert_true(seen.blocks[i].shard < 3);
    assert_int_equal(seen.n, BLOCKS);
}

static void begin_empties_what_was_there(void **state)
{
    struct tree *t = *state;
    struct wf_plan p = make_plan(), q = p;
    struct wf_journal j;
    struct seen seen;
    q.parts[WF_PART_RECIPE] = wf_xxh128("other", 5);
    q.hash = wf_xxh128(q.parts, sizeof q.parts);
    write_journal(t, &p);
    assert_worked(t, wf_journal_open(&t->err, tree_path(t, WF_JOURNAL_NAME), true, &j));
    assert_worked(t, wf_journal_begin(&t->err, &j, &q));
    wf_journal_close(&j);
    assert_int_equal(load_once(t, &q, &seen), WF_JOURNAL_SAME);
    assert_int_equal(seen.n, 0);
    assert_int_equal(load_once(t, &p, &seen), WF_JOURNAL_OTHER);
}

static void a_second_weft_is_refused_while_the_first_lives(void **state)
{
    struct tree *t = *state;
    char *path = tree_path(t, WF_JOURNAL_NAME);
    struct wf_journal first, second;
    assert_worked(t, wf_journal_open(&t->err, path, true, &first));
    assert_failed(t, wf_journal_open(&t->err, path, true, &second), WF_MACHINE, "another weft");
    assert_failed(t, wf_journal_open(&t->err, path, false, &second), WF_MACHINE, "another weft");
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct wf_err e = {0};
        _exit(wf_journal_open(&e, path, false, &second));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), WF_MACHINE);
    wf_journal_close(&first);
    assert_worked(t, wf_journal_open(&t->err, path, false, &second));
    wf_journal_close(&second);
    wf_journal_close(&second); /* twice is fine */
}

static void a_link_in_the_journals_place_is_not_followed(void **state)
{
    struct tree *t = *state;
    struct wf_journal j;
    tree_file(t, "precious", "text");
    tree_link(t, WF_JOURNAL_NAME, "precious");
    assert_failed(t, wf_journal_open(&t->err, tree_path(t, WF_JOURNAL_NAME), true, &j), WF_MACHINE,
                  "cannot open");
}

#define JOURNAL_TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        JOURNAL_TEST(records_come_back_in_order),
        JOURNAL_TEST(any_torn_tail_is_ignored_and_overwritten),
        JOURNAL_TEST(any_damaged_byte_ends_the_good_part),
        JOURNAL_TEST(another_plan_is_named_by_its_first_different_part),
        JOURNAL_TEST(what_is_no_journal_is_none),
        JOURNAL_TEST(records_out_of_range_are_left_out),
        JOURNAL_TEST(begin_empties_what_was_there),
        JOURNAL_TEST(a_second_weft_is_refused_while_the_first_lives),
        JOURNAL_TEST(a_link_in_the_journals_place_is_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
