/* test_outfile.c - output files: any range, any alignment, direct or not; refusals by the system.
 */
#include "model_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include "../../src/format/outfile.h"

#define ALIGN ((size_t)WF_DIRECT_ALIGN)

static unsigned char *pattern_pages(size_t n)
{
    unsigned char *p = NULL;
    assert_int_equal(posix_memalign((void **)&p, ALIGN, n), 0);
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(i * 2654435761u >> 13);
    return p;
}

static void expect_bytes(const char *path, const unsigned char *wanted, size_t n)
{
    unsigned char *got = test_malloc(n + 1);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(got, 1, n + 1, f), n);
    fclose(f);
    assert_memory_equal(got, wanted, n);
    test_free(got);
}

/* Writes [0, bytes) in pieces, last first, from memory that is `skew` off alignment. */
static void write_in_pieces(struct tree *t, struct wf_outfile *f, const unsigned char *data,
                            size_t piece)
{
    size_t n = (f->bytes + piece - 1) / piece;
    for (size_t i = n; i-- > 0;) {
        size_t at = i * piece, part = f->bytes - at < piece ? f->bytes - at : piece;
        assert_worked(t, wf_outfile_write(&t->err, f, data + at, part, at));
    }
}

static void every_alignment_gives_the_same_bytes(void **state)
{
    struct tree *t = *state;
    size_t bytes = 5 * ALIGN + 123;
    unsigned char *data = pattern_pages(bytes + ALIGN);
    static const size_t pieces[] = {1,    100,      4095,         4096,
                                    4097, 2 * 4096, 3 * 4096 + 1, 5 * 4096 + 123};
    static const size_t skews[] = {0, 1, 512, 4095};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        for (size_t k = 0; k < sizeof skews / sizeof *skews; k++)
            for (int direct = 0; direct < 2; direct++) {
                struct wf_outfile f;
                char *path = tree_path(t, "out.safetensors");
                assert_worked(t, wf_outfile_create(&t->err, path, bytes, direct, &f));
                write_in_pieces(t, &f, data + skews[k], pieces[i]);
                assert_worked(t, wf_outfile_sync(&t->err, &f));
                wf_outfile_close(&f);
                expect_bytes(path, data + skews[k], bytes);
            }
    (free)(data);
}

/* Pages that two ranges share are edges of both; the directly written middles must survive. */
static void odd_boundaries_do_not_disturb_neighbours(void **state)
{
    struct tree *t = *state;
    size_t bytes = 64 * ALIGN;
    unsigned char *data = pattern_pages(bytes);
    char *path = tree_path(t, "out.safetensors");
    struct wf_outfile f;
    assert_worked(t, wf_outfile_create(&t->err, path, bytes, true, &f));
    unsigned seed = 1;
    size_t cuts[40], n = 0;
    for (size_t at = 0; at < bytes && n < 39; at += 1 + (seed >> 8) % (4 * ALIGN)) {
        cuts[n++] = at;
        seed = seed * 1103515245u + 12345u;
    }
    cuts[n] = bytes;
    for (size_t phase = 0; phase < 2; phase++) /* even pieces, then odd ones */
        for (size_t i = phase; i < n; i += 2)
            assert_worked(
                t, wf_outfile_write(&t->err, &f, data + cuts[i], cuts[i + 1] - cuts[i], cuts[i]));
    wf_outfile_close(&f);
    expect_bytes(path, data, bytes);
    (free)(data);
}

struct writer {
    struct wf_err *e;
    struct wf_outfile *f;
    const unsigned char *data;
    size_t first, step, piece;
};

static void *write_every(void *arg)
{
    struct writer *w = arg;
    for (size_t at = w->first * w->piece; at < w->f->bytes; at += w->step * w->piece) {
        size_t n = w->f->bytes - at < w->piece ? w->f->bytes - at : w->piece;
        if (wf_outfile_write(w->e, w->f, w->data + at, n, at))
            break;
    }
    return NULL;
}

static void threads_may_write_at_once(void **state)
{
    struct tree *t = *state;
    size_t bytes = 100 * ALIGN + 7;
    unsigned char *data = pattern_pages(bytes);
    char *path = tree_path(t, "out.safetensors");
    struct wf_outfile f;
    assert_worked(t, wf_outfile_create(&t->err, path, bytes, true, &f));
    pthread_t threads[4];
    struct writer w[4];
    for (size_t i = 0; i < 4; i++) {
        w[i] = (struct writer){&t->err, &f, data, i, 4, 3 * ALIGN + 5};
        assert_int_equal(pthread_create(&threads[i], NULL, write_every, &w[i]), 0);
    }
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_worked(t, wf_err_status(&t->err));
    wf_outfile_close(&f);
    expect_bytes(path, data, bytes);
    (free)(data);
}

/* A descriptor that fails as a file system without direct writes does. */
static void a_refused_direct_write_falls_back_for_good(void **state)
{
    struct tree *t = *state;
    size_t bytes = 4 * ALIGN;
    unsigned char *data = pattern_pages(bytes);
    char *path = tree_path(t, "out.safetensors");
    struct wf_outfile f;
    assert_worked(t, wf_outfile_create(&t->err, path, bytes, false, &f));
    f.direct_fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC); /* EINVAL for any text */
    if (f.direct_fd < 0) {
        (free)(data);
        wf_outfile_close(&f);
        skip();
    }
    assert_worked(t, wf_outfile_write(&t->err, &f, data, bytes, 0));
    assert_true(atomic_load(&f.direct_refused));
    close(f.direct_fd);
    f.direct_fd = open("/dev/full", O_WRONLY | O_CLOEXEC); /* would be ENOSPC if it were used */
    assert_worked(t, wf_outfile_write(&t->err, &f, data, bytes, 0));
    wf_outfile_close(&f);
    expect_bytes(path, data, bytes);
    (free)(data);
}

static void a_full_disk_is_reported_with_the_path(void **state)
{
    struct tree *t = *state;
    unsigned char *data = pattern_pages(ALIGN);
    char *path = tree_path(t, "out.safetensors");
    struct wf_outfile f;
    assert_worked(t, wf_outfile_create(&t->err, path, ALIGN, false, &f));
    f.direct_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_failed(t, wf_outfile_write(&t->err, &f, data, ALIGN, 0), WF_MACHINE,
                  "out.safetensors: cannot write at byte 0: No space left on device");
    wf_outfile_close(&f);
    assert_failed(t, wf_outfile_create(&t->err, path, (uint64_t)1 << 60, true, &f), WF_MACHINE,
                  "cannot reserve 1152921504606846976 bytes");
    assert_false(wf_exists(path)); /* nothing is left of it */
    assert_failed(t, wf_outfile_create(&t->err, path, UINT64_MAX, true, &f), WF_MACHINE,
                  "cannot reserve 18446744073709551615 bytes");
    assert_int_equal(f.fd, -1);
    (free)(data);
}

static void a_file_size_limit_is_reported(void **state)
{
    struct tree *t = *state;
    struct wf_outfile f;
    struct rlimit old, low;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    low = old;
    low.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    int s = wf_outfile_create(&t->err, tree_path(t, "o"), 2 << 20, false, &f);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_failed(t, s, WF_MACHINE, "File too large");
}

static void writes_outside_of_the_file_are_a_bug(void **state)
{
    struct tree *t = *state;
    struct wf_outfile f;
    assert_worked(t, wf_outfile_create(&t->err, tree_path(t, "o"), 10, false, &f));
    assert_failed(t, wf_outfile_write(&t->err, &f, "x", 1, 10), WF_BUG, "leaves the file");
    assert_failed(t, wf_outfile_write(&t->err, &f, "x", 1, UINT64_MAX), WF_BUG, "leaves the file");
    assert_worked(t, wf_outfile_write(&t->err, &f, "x", 0, 10));
    wf_outfile_close(&f);
}

static void paths_that_cannot_be_files_are_refused(void **state)
{
    struct tree *t = *state;
    struct wf_outfile f;
    assert_failed(t, wf_outfile_create(&t->err, tree_path(t, "no/x"), 1, true, &f), WF_MACHINE,
                  "no/x: cannot create: No such file");
    tree_folder(t, "folder");
    assert_failed(t, wf_outfile_create(&t->err, tree_path(t, "folder"), 1, true, &f), WF_MACHINE,
                  "cannot create");
    tree_file(t, "target", "precious");
    tree_link(t, "link", "target");
    assert_failed(t, wf_outfile_create(&t->err, tree_path(t, "link"), 1, true, &f), WF_MACHINE,
                  "cannot create");
    expect_bytes(tree_path(t, "target"), (const unsigned char *)"precious", 8);
    assert_int_equal(mkfifo(tree_path(t, "fifo"), 0600), 0);
    assert_failed(t, wf_outfile_create(&t->err, tree_path(t, "fifo"), 1, true, &f), WF_MACHINE,
                  "not a regular file");
    assert_true(wf_exists(tree_path(t, "fifo")));
    wf_outfile_close(&f);
}

static void created_files_have_their_size_at_once(void **state)
{
    struct tree *t = *state;
    struct wf_outfile f;
    struct stat st;
    char *path = tree_file(t, "o", "old bytes that must go");
    assert_worked(t, wf_outfile_create(&t->err, path, 0, true, &f));
    wf_outfile_close(&f);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 0);
    assert_worked(t, wf_outfile_create(&t->err, path, 3, true, &f));
    wf_outfile_close(&f);
    expect_bytes(path, (const unsigned char *)"\0\0\0", 3);
}

static void reopening_keeps_bytes_and_checks_the_size(void **state)
{
    struct tree *t = *state;
    struct wf_outfile f;
    char *path = tree_path(t, "o");
    assert_worked(t, wf_outfile_create(&t->err, path, 6, true, &f));
    assert_worked(t, wf_outfile_write(&t->err, &f, "abc", 3, 0));
    wf_outfile_close(&f);
    assert_worked(t, wf_outfile_reopen(&t->err, path, 6, true, &f));
    assert_worked(t, wf_outfile_write(&t->err, &f, "def", 3, 3));
    wf_outfile_close(&f);
    wf_outfile_close(&f); /* twice is harmless */
    expect_bytes(path, (const unsigned char *)"abcdef", 6);
    assert_failed(t, wf_outfile_reopen(&t->err, path, 7, true, &f), WF_INPUT,
                  "6 bytes where an earlier run left 7");
    assert_failed(t, wf_outfile_reopen(&t->err, tree_path(t, "none"), 7, true, &f), WF_INPUT,
                  "cannot open again");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_alignment_gives_the_same_bytes),
        TEST(odd_boundaries_do_not_disturb_neighbours),
        TEST(threads_may_write_at_once),
        TEST(a_refused_direct_write_falls_back_for_good),
        TEST(a_full_disk_is_reported_with_the_path),
        TEST(a_file_size_limit_is_reported),
        TEST(writes_outside_of_the_file_are_a_bug),
        TEST(paths_that_cannot_be_files_are_refused),
        TEST(created_files_have_their_size_at_once),
        TEST(reopening_keeps_bytes_and_checks_the_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
