/* test_transport_thread.c - waiting for a transport: results, failures, limits, and calls that
 * never return.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "../../src/base/clock.h"
#include "../../src/dist/transport_thread.h"

#define ROOM 4096

/* A transport of one rank that does as it is told. */
struct puppet {
    int fails_at;          /* the call that fails, from 1; 0: none */
    _Atomic int calls;     /* of start, sum, gather, test and finish so far */
    int tests_until_done;  /* how often `test` says no; -1: for ever */
    int tests;             /* since something was begun */
    int blocks;            /* start never returns, until `freed` */
    _Atomic int freed;     /* set at the end of a test */
    _Atomic int abandoned; /* calls of that entry */
    uint64_t added;        /* what a sum adds to each value: the other ranks' part */
    uint64_t *values;      /* of the sum under way */
    size_t n;
    struct wf_transport transport;
};

static int call(struct puppet *p, struct wf_transport_err *e, const char *name)
{
    if (++p->calls != p->fails_at)
        return 0;
    e->code = 7;
    snprintf(e->text, sizeof e->text, "%s has failed", name);
    return e->code;
}

static int start(void *self, struct wf_transport_err *e, uint32_t *rank, uint32_t *ranks)
{
    struct puppet *p = self;
    while (p->blocks && !p->freed)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    *rank = 3;
    *ranks = 5;
    p->tests = 0;
    return call(p, e, "start");
}

static int sum(void *self, struct wf_transport_err *e, uint64_t *values, size_t n)
{
    struct puppet *p = self;
    p->tests = 0;
    p->values = values;
    p->n = n;
    return call(p, e, "sum");
}

static int gather(void *self, struct wf_transport_err *e, const void *mine, size_t bytes, void *all)
{
    struct puppet *p = self;
    p->tests = 0;
    memcpy(all, mine, bytes);
    return call(p, e, "gather");
}

static int test(void *self, struct wf_transport_err *e, int *done)
{
    struct puppet *p = self;
    *done = p->tests_until_done >= 0 && p->tests++ >= p->tests_until_done;
    for (size_t i = 0; *done && i < p->n; i++)
        p->values[i] += p->added;
    p->n = *done ? 0 : p->n;
    return call(p, e, "test");
}

static int finish(void *self, struct wf_transport_err *e)
{
    return call(self, e, "finish");
}

static void abandon(void *self)
{
    ((struct puppet *)self)->abandoned++;
}

static struct wf_transport_thread *open_puppet(struct puppet *p)
{
    struct wf_transport_thread *t;
    struct wf_err e = {0};
    p->transport = (struct wf_transport){"puppet", p, start, sum, gather, test, finish, abandon};
    assert_int_equal(wf_transport_open(&e, &p->transport, ROOM, &t), WF_OK);
    return t;
}

static const struct wf_wait patient = {.limit_ms = 60000, .doing = "testing"};
static const struct wf_wait hasty = {.limit_ms = 100, .doing = "testing"};

/* ---- what works ---- */

static void results_arrive(void **state)
{
    struct puppet p = {.tests_until_done = 20, .added = 100};
    struct wf_transport_thread *t = open_puppet(&p);
    uint64_t *words = wf_transport_buffer(t);
    uint32_t rank, ranks;
    struct wf_err e = {0};
    (void)state;
    assert_int_equal(wf_transport_start(&e, t, &patient, &rank, &ranks), WF_OK);
    assert_int_equal(rank, 3);
    assert_int_equal(ranks, 5);
    for (size_t n = 0; n <= ROOM / 8; n += ROOM / 16) {
        for (size_t i = 0; i < ROOM / 8; i++)
            words[i] = i;
        assert_int_equal(wf_transport_sum(&e, t, &patient, n), WF_OK);
        for (size_t i = 0; i < ROOM / 8; i++)
            assert_int_equal(words[i], i < n ? i + 100 : i);
    }
    memcpy(words, "sixteen letters.", 16);
    assert_int_equal(wf_transport_gather(&e, t, &patient, 16), WF_OK);
    assert_memory_equal((char *)words + 16, "sixteen letters.", 16);
    assert_int_equal(wf_transport_finish(&e, t, &patient), WF_OK);
    assert_false(wf_transport_is_broken(t));
    wf_transport_close(t);
    assert_int_equal(p.abandoned, 0);
    wf_transport_close(NULL);
}

/* ---- what fails ---- */

static int run_all(struct wf_err *e, struct wf_transport_thread *t)
{
    uint32_t rank, ranks;
    int status = wf_transport_start(e, t, &patient, &rank, &ranks);
    if (!status)
        status = wf_transport_sum(e, t, &patient, 4);
    if (!status)
        status = wf_transport_gather(e, t, &patient, 16);
    return status ? status : wf_transport_finish(e, t, &patient);
}

static void each_call_that_fails_ends_it(void **state)
{
    struct puppet well = {0};
    struct wf_transport_thread *t = open_puppet(&well);
    struct wf_err e = {0};
    (void)state;
    assert_int_equal(run_all(&e, t), WF_OK);
    wf_transport_close(t);
    for (int k = 1; k <= well.calls; k++) {
        struct puppet p = {.fails_at = k};
        t = open_puppet(&p);
        wf_err_clear(&e);
        assert_int_equal(run_all(&e, t), WF_MACHINE);
        assert_non_null(strstr(e.text, "has failed"));
        assert_non_null(strstr(e.text, "puppet failed while testing"));
        assert_true(wf_transport_is_broken(t));
        wf_err_clear(&e);
        assert_int_equal(wf_transport_sum(&e, t, &patient, 1), WF_MACHINE);
        assert_int_equal(p.calls, k); /* nobody asked it again */
        wf_transport_close(t);
        assert_int_equal(p.abandoned, 1);
    }
}

static void what_never_ends_costs_the_limit(void **state)
{
    struct puppet p = {.tests_until_done = -1};
    struct wf_transport_thread *t = open_puppet(&p);
    struct wf_err e = {0};
    uint64_t began = wf_now_ns();
    (void)state;
    assert_int_equal(wf_transport_sum(&e, t, &hasty, 4), WF_MACHINE);
    assert_non_null(strstr(e.text, "no answer from the other ranks while testing"));
    assert_in_range((wf_now_ns() - began) / 1000000, 100, 20000);
    wf_transport_close(t);
    assert_int_equal(p.abandoned, 1);
}

static int stopped(void *arg, struct wf_err *e)
{
    int *asked = arg;
    return ++*asked < 3 ? WF_OK : wf_fail(e, WF_STOPPED, "stopped by a signal");
}

static void whoever_waits_can_be_stopped(void **state)
{
    struct puppet p = {.tests_until_done = -1};
    struct wf_transport_thread *t = open_puppet(&p);
    struct wf_err e = {0};
    int asked = 0;
    struct wf_wait wait = {.limit_ms = 60000, .check = stopped, .arg = &asked, .doing = "testing"};
    (void)state;
    assert_int_equal(wf_transport_gather(&e, t, &wait, 16), WF_STOPPED);
    assert_string_equal(e.text, "stopped by a signal");
    assert_int_equal(asked, 3);
    wf_transport_close(t);
}

/* The thread is left behind with its memory: it writes there when it goes on after all. */
static void a_call_that_never_returns_is_left_behind(void **state)
{
    static struct puppet p = {.blocks = 1};
    struct wf_transport_thread *t = open_puppet(&p);
    struct wf_err e = {0};
    uint32_t rank, ranks;
    (void)state;
    assert_int_equal(wf_transport_start(&e, t, &hasty, &rank, &ranks), WF_MACHINE);
    assert_true(wf_transport_is_broken(t));
    wf_transport_close(t);
    assert_int_equal(p.abandoned, 0);
    p.freed = 1;
    while (!p.abandoned) /* it notices that it is of no use any more */
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_arrive),
        cmocka_unit_test(each_call_that_fails_ends_it),
        cmocka_unit_test(what_never_ends_costs_the_limit),
        cmocka_unit_test(whoever_waits_can_be_stopped),
        cmocka_unit_test(a_call_that_never_returns_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
