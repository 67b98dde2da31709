/* transport_thread.c - the thread, and how a caller waits for it. */
#include "transport_thread.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/mem.h"
#include "../base/thread.h"

#define LOOK_MS 20u         /* between two looks at the clock */
#define CHECK_MS 200u       /* between two looks at the other ranks */
#define GIVE_UP_MS 3000u    /* for the thread to notice that it is to end */
#define NAP_LEAST_NS 10000  /* between two tests of what is under way; */
#define NAP_MOST_NS 1000000 /* they grow up to this */

enum work { NOTHING, START, SUM, GATHER, FINISH };

struct wf_transport_thread {
    const struct wf_transport *transport;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t asked, answered; /* under the monotonic clock */
    void *buffer;
    enum work work; /* NOTHING once it is done; all below: under the lock */
    size_t n;       /* values of a SUM, bytes of a GATHER */
    uint32_t rank, ranks;
    struct wf_transport_err failure; /* code 0: none */
    bool stop, ended;
    bool broken;                      /* the caller's */
    struct wf_transport_thread *next; /* of those left behind */
};

/* ---- the thread ---- */

static bool must_stop(struct wf_transport_thread *t)
{
    pthread_mutex_lock(&t->lock);
    bool stop = t->stop;
    pthread_mutex_unlock(&t->lock);
    return stop;
}

/* Until what is under way is done, or it is to give up. Naps are short at first, for what takes
 * microseconds, and a hundredth of the time spent later. */
static int drive(struct wf_transport_thread *t, struct wf_transport_err *e)
{
    long nap_ns = NAP_LEAST_NS;
    int done = 0, code = 0;
    while (!(code = t->transport->test(t->transport->self, e, &done)) && !done && !must_stop(t)) {
        nanosleep(&(struct timespec){.tv_nsec = nap_ns}, NULL);
        nap_ns += nap_ns / 64;
        nap_ns = nap_ns > NAP_MOST_NS ? NAP_MOST_NS : nap_ns;
    }
    return code;
}

/* Libraries help themselves to signals that are the program's: MPICH takes SIGUSR1, by which a
 * scheduler announces that time is up, and UCX those of crashes. They are given back. */
static int start_keeping_signals(struct wf_transport_thread *t, struct wf_transport_err *e)
{
    struct sigaction kept[_NSIG];
    bool known[_NSIG];
    for (int s = 1; s < _NSIG; s++)
        known[s] = !sigaction(s, NULL, &kept[s]);
    int code = t->transport->start(t->transport->self, e, &t->rank, &t->ranks);
    for (int s = 1; s < _NSIG; s++) {
        struct sigaction now;
        if (known[s] && !sigaction(s, NULL, &now) && now.sa_handler != kept[s].sa_handler)
            sigaction(s, &kept[s], NULL);
    }
    return code;
}

static int carry_out(struct wf_transport_thread *t, enum work work, size_t n,
                     struct wf_transport_err *e)
{
    const struct wf_transport *with = t->transport;
    int code = 0;
    switch (work) {
    case START:
        code = start_keeping_signals(t, e);
        break;
    case FINISH:
        return with->finish(with->self, e);
    case SUM:
        code = with->sum(with->self, e, t->buffer, n);
        break;
    default:
        code = with->gather(with->self, e, t->buffer, n, (char *)t->buffer + n);
    }
    return code ? code : drive(t, e);
}

static void *run(void *arg)
{
    struct wf_transport_thread *t = arg;
    pthread_mutex_lock(&t->lock);
    while (!t->stop) {
        if (t->work == NOTHING) {
            pthread_cond_wait(&t->asked, &t->lock);
            continue;
        }
        struct wf_transport_err failure = {0};
        enum work work = t->work;
        size_t n = t->n;
        pthread_mutex_unlock(&t->lock);
        int code = carry_out(t, work, n, &failure);
        pthread_mutex_lock(&t->lock);
        if (code)
            t->failure = failure;
        t->work = NOTHING;
        pthread_cond_signal(&t->answered);
    }
    bool abandoned = t->broken;
    pthread_mutex_unlock(&t->lock);
    if (abandoned && t->transport->abandon)
        t->transport->abandon(t->transport->self);
    pthread_mutex_lock(&t->lock);
    t->ended = true;
    pthread_cond_signal(&t->answered);
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* ---- the caller ---- */

/* Waits for an answer, LOOK_MS at most; the lock is held. */
static void wait_a_little(struct wf_transport_thread *t)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&t->answered, &t->lock, &until);
}

/* Tells the thread to end; true if it does. */
static bool end_thread(struct wf_transport_thread *t)
{
    uint64_t limit = wf_now_ns() + GIVE_UP_MS * (uint64_t)1000000;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->asked);
    while (!t->ended && wf_now_ns() < limit)
        wait_a_little(t);
    bool ended = t->ended;
    pthread_mutex_unlock(&t->lock);
    if (ended)
        pthread_join(t->thread, NULL);
    else
        pthread_detach(t->thread);
    return ended;
}

static int look(struct wf_err *e, const struct wf_transport_thread *t, const struct wf_wait *wait,
                uint64_t began, uint64_t *checked)
{
    uint64_t now = wf_now_ns();
    int status = WF_OK;
    if (wait->check && now - *checked >= CHECK_MS * (uint64_t)1000000) {
        status = wait->check(wait->arg, e);
        *checked = now;
    }
    if (!status && (now - began) / 1000000 >= wait->limit_ms)
        status = wf_fail(e, WF_MACHINE,
                         "no answer from the other ranks while %s (%s, after %.0f s): see what "
                         "they say, then start again with --resume",
                         wait->doing, t->transport->name, (double)wait->limit_ms * 1e-3);
    return status;
}

static int operate(struct wf_err *e, struct wf_transport_thread *t, const struct wf_wait *wait,
                   enum work work, size_t n)
{
    uint64_t began = wf_now_ns(), checked = began;
    int status = WF_OK;
    if (t->broken)
        return wf_fail(e, WF_MACHINE, "%s failed before in this process", t->transport->name);
    pthread_mutex_lock(&t->lock);
    t->work = work;
    t->n = n;
    pthread_cond_signal(&t->asked);
    while (!status && t->work != NOTHING) {
        wait_a_little(t);
        if (t->work == NOTHING)
            break;
        pthread_mutex_unlock(&t->lock);
        status = look(e, t, wait, began, &checked);
        pthread_mutex_lock(&t->lock);
    }
    if (!status && t->failure.code)
        status = wf_fail(e, WF_MACHINE, "%s failed while %s: %s", t->transport->name, wait->doing,
                         t->failure.text);
    t->broken = status != WF_OK;
    pthread_mutex_unlock(&t->lock);
    return status;
}

int wf_transport_start(struct wf_err *e, struct wf_transport_thread *t, const struct wf_wait *wait,
                       uint32_t *rank, uint32_t *ranks)
{
    int status = operate(e, t, wait, START, 0);
    *rank = status ? 0 : t->rank;
    *ranks = status ? 0 : t->ranks;
    return status;
}

int wf_transport_sum(struct wf_err *e, struct wf_transport_thread *t, const struct wf_wait *wait,
                     size_t n)
{
    return operate(e, t, wait, SUM, n);
}

int wf_transport_gather(struct wf_err *e, struct wf_transport_thread *t, const struct wf_wait *wait,
                        size_t bytes)
{
    return operate(e, t, wait, GATHER, bytes);
}

int wf_transport_finish(struct wf_err *e, struct wf_transport_thread *t, const struct wf_wait *wait)
{
    return operate(e, t, wait, FINISH, 0);
}

bool wf_transport_is_broken(const struct wf_transport_thread *t)
{
    return t->broken;
}

void *wf_transport_buffer(struct wf_transport_thread *t)
{
    return t->buffer;
}

/* ---- its life ---- */

static void release(struct wf_transport_thread *t)
{
    pthread_cond_destroy(&t->answered);
    pthread_cond_destroy(&t->asked);
    pthread_mutex_destroy(&t->lock);
    wf_free(t->buffer);
    wf_free(t);
}

int wf_transport_open(struct wf_err *e, const struct wf_transport *transport, size_t room,
                      struct wf_transport_thread **out)
{
    struct wf_transport_thread *t = wf_alloc(e, WF_MEM_META, 1, sizeof *t, "a transport");
    pthread_condattr_t monotonic;
    *out = NULL;
    if (!t)
        return WF_MACHINE;
    t->transport = transport;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->asked, &monotonic);
    pthread_cond_init(&t->answered, &monotonic);
    pthread_condattr_destroy(&monotonic);
    t->buffer = wf_alloc(e, WF_MEM_META, 1, room, "what ranks exchange");
    int status = t->buffer ? wf_thread_start(e, &t->thread, "weft-transport", run, t) : WF_MACHINE;
    if (status)
        release(t);
    else
        *out = t;
    return status;
}

/* What a library has under way when a transport breaks may be written to by another rank yet, so
 * its memory stays; it is kept in sight for tools that look for lost memory. */
static struct wf_transport_thread *left_behind;

/* A library that is in the middle of something does not survive its own exit handlers, which were
 * there before this one and so run after it. */
static void exit_at_once(int status, void *arg)
{
    (void)arg;
    fflush(NULL);
    _exit(status);
}

void wf_transport_close(struct wf_transport_thread *t)
{
    if (!t)
        return;
    bool ended = end_thread(t);
    if (ended && !t->broken) {
        release(t);
        return;
    }
    if (!ended)
        on_exit(exit_at_once, NULL);
    t->next = left_behind;
    left_behind = t;
}
