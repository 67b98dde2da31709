/* stream.c - one run: starts the threads, has all spans fed, and ends with the files in order. */
#include "stream.h"

#include "../base/clock.h"
#include "../base/mem.h"
#include "../base/thread.h"
#include "ring.h"

struct crew {
    pthread_t *threads;
    unsigned n;
    pthread_t committer;
    bool has_committer;
};

static int start_crew(struct wf_err *e, struct wf_ring *r, struct crew *crew)
{
    const struct wf_budget *b = r->options->budget;
    const struct {
        const char *name;
        void *(*run)(void *);
        unsigned n;
    } roles[] = {{"weft-read", wf_reader_run, b->readers},
                 {"weft-compute", wf_compute_run, b->compute},
                 {"weft-write", wf_writer_run, b->writers}};
    unsigned total = b->readers + b->compute + b->writers;
    crew->threads = wf_alloc(e, WF_MEM_META, total, sizeof *crew->threads, "threads");
    if (!crew->threads)
        return WF_MACHINE;
    int status = wf_thread_start(e, &crew->committer, "weft-commit", wf_committer_run, r);
    crew->has_committer = !status;
    for (int role = 0; role < 3; role++)
        for (unsigned i = 0; !status && i < roles[role].n; i++) {
            status =
                wf_thread_start(e, &crew->threads[crew->n], roles[role].name, roles[role].run, r);
            crew->n += !status;
        }
    return status;
}

static void stop_crew(struct wf_ring *r, struct crew *crew)
{
    pthread_mutex_lock(&r->lock);
    r->closing = true;
    for (int i = 0; i < WF_SLOT_STATES; i++)
        pthread_cond_broadcast(&r->changed[i]);
    pthread_mutex_unlock(&r->lock);
    for (unsigned i = 0; i < crew->n; i++)
        pthread_join(crew->threads[i], NULL);
    pthread_mutex_lock(&r->lock);
    r->committed = true;
    pthread_cond_signal(&r->commit);
    pthread_mutex_unlock(&r->lock);
    if (crew->has_committer)
        pthread_join(crew->committer, NULL);
    wf_free(crew->threads);
}

/* The inputs as they are now: a file that changed underway made a result of two halves. */
static int check_inputs(struct wf_err *e, struct wf_ring *r)
{
    const struct wf_plan *plan = r->options->plan;
    for (size_t c = 0; c < plan->n_ckpts; c++)
        for (size_t f = 0; f < plan->ckpts[c].ckpt->n_files; f++) {
            int status = wf_infile_check(e, &r->inputs[c][f]);
            if (status)
                return status;
        }
    return WF_OK;
}

static int sync_outputs(struct wf_err *e, struct wf_ring *r)
{
    uint64_t begin = wf_now_ns();
    for (size_t s = 0; r->outputs && s < r->options->plan->n_shards; s++) {
        int status = wf_outfile_sync(e, &r->outputs[s]);
        if (status)
            return status;
    }
    if (r->options->watch)
        wf_watch_part(r->options->watch, "sync", begin);
    return WF_OK;
}

/* The stream is over: how long its threads were there. What came after the last slot was free is
 * waiting for the disks. */
static void count_threads(struct wf_ring *r, uint64_t begin_ns, uint64_t fed_ns)
{
    const struct wf_budget *b = r->options->budget;
    struct wf_stream_times *t = &r->stats.times;
    uint64_t end = wf_now_ns();
    t->readers_ns = b->readers * (end - begin_ns);
    t->writers_ns = b->writers * (end - begin_ns);
    t->compute_ns = b->compute * (end - begin_ns);
    t->wait_write_ns += b->compute * (end - fed_ns);
}

int wf_stream_run(struct wf_err *e, const struct wf_stream_options *options,
                  struct wf_stream_stats *stats)
{
    struct wf_ring ring;
    struct crew crew = {0};
    int status = wf_ring_create(e, options, &ring);
    uint64_t begin = wf_now_ns(), fed = begin;
    if (!status) {
        if (!wf_stream_sinks_only(options))
            wf_blocks_finish_empty(options->blocks);
        if (options->watch)
            wf_watch_stream_begin(options->watch);
        if (start_crew(e, &ring, &crew))
            wf_ring_abandon(&ring);
        wf_feed_all(&ring);
        fed = wf_now_ns();
        stop_crew(&ring, &crew);
        status = wf_err_status(e);
    }
    if (!status && *options->stop && ring.abandon)
        status = wf_fail(e, WF_STOPPED,
                         "stopped by a signal; the work so far is in %s: run the "
                         "same command with --resume to go on",
                         options->folder);
    if (!status)
        status = check_inputs(e, &ring);
    if (!status)
        status = sync_outputs(e, &ring);
    count_threads(&ring, begin, fed);
    if (!status)
        wf_remarks_report(&ring);
    *stats = ring.stats;
    wf_ring_destroy(&ring);
    return status;
}
