/* ordered.c - claim, work in parallel, commit in the order of the claims. */
#include "ordered.h"

#include <pthread.h>
#include <stdint.h>

#include "log.h"
#include "mem.h"
#include "thread.h"

struct run {
    const struct wf_ordered *o;
    pthread_mutex_t lock;
    pthread_cond_t turn; /* `committed` or `status` changed */
    uint64_t claimed, committed;
    int status; /* the first failure */
    unsigned started;
};

/* One piece whose ticket was just taken; enters and leaves with the lock held. */
static int do_piece(struct run *r, void *worker, uint64_t ticket)
{
    pthread_mutex_unlock(&r->lock);
    int s = r->o->work(r->o->shared, worker);
    pthread_mutex_lock(&r->lock);
    if (s)
        return s;
    while (!r->status && r->committed != ticket)
        pthread_cond_wait(&r->turn, &r->lock);
    if (r->status)
        return r->status;
    s = r->o->commit(r->o->shared, worker);
    r->committed++;
    pthread_cond_broadcast(&r->turn);
    return s;
}

static void *work_until_done(void *arg)
{
    struct run *r = arg;
    pthread_mutex_lock(&r->lock);
    void *worker = (char *)r->o->workers + r->o->worker_bytes * r->started++;
    while (!r->status && r->o->claim(r->o->shared, worker)) {
        int s = do_piece(r, worker, r->claimed++);
        if (s && !r->status) {
            r->status = s;
            pthread_cond_broadcast(&r->turn);
        }
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

int wf_ordered_run(const struct wf_ordered *o)
{
    struct run r = {.o = o};
    struct wf_err refused = {0};
    unsigned n = 0;
    pthread_t *threads = o->n_workers > 1 ? wf_alloc(&refused, WF_MEM_META, o->n_workers - 1,
                                                     sizeof *threads, "a list of threads")
                                          : NULL;
    pthread_mutex_init(&r.lock, NULL);
    pthread_cond_init(&r.turn, NULL);
    while (threads && n + 1 < o->n_workers &&
           !wf_thread_start(&refused, &threads[n], "weft-tool", work_until_done, &r))
        n++;
    if (wf_err_status(&refused))
        wf_log(WF_LOG_DEBUG, "working with %u threads: %s", n + 1, refused.text);
    work_until_done(&r);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    wf_free(threads);
    pthread_cond_destroy(&r.turn);
    pthread_mutex_destroy(&r.lock);
    return r.status;
}
