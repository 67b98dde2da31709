/* delta_spool.c - the sink that keeps what tasks need beside the result. */
#include "delta_spool.h"

#include <stdlib.h>
#include <string.h>

#include "../base/file.h"
#include "../base/num.h"
#include "../format/delta_file.h"
#include "../format/dtype_number.h"
#include "../plan/span.h"

#define VALUE_BYTES_MAX 8u
#define SPAN_BYTES_MIN                                                                             \
    (64u << 10) /* a smaller budget's cuts cost more records than counted here                     \
                 */

/* Gaps of a piece add up to less than its elements, and none takes more bytes than its number. */
struct wf_spool_bench {
    uint16_t places[WF_SINK_PIECE]; /* kept elements, from the piece's first on */
    uint8_t record[WF_SINK_PIECE + WF_SINK_PIECE * VALUE_BYTES_MAX];
};

uint64_t wf_delta_spool_thread_bytes(void)
{
    return sizeof(struct wf_spool_bench);
}

/* How many pieces the stream may cut a job into. */
static uint64_t count_pieces(const struct wf_job *job, const struct wf_budget *budget)
{
    uint64_t width = wf_dtype_info((enum wf_dtype)job->dtype)->bits / 8;
    uint64_t most = wf_min_u64(WF_SINK_PIECE, wf_max_u64(wf_piece_bytes(job) / width, 1));
    uint64_t spans = budget ? wf_job_pieces(budget, job) : job->bytes / SPAN_BYTES_MIN + 2;
    return job->count / most + 2 * spans + 2;
}

static uint64_t count_records(const struct wf_plan *plan, const struct wf_budget *budget)
{
    uint64_t n = 0;
    for (size_t j = 0; j < plan->n_jobs; j++)
        n += count_pieces(&plan->jobs[j], budget);
    return n;
}

uint64_t wf_delta_spool_table_bytes(const struct wf_plan *plan, size_t n_tasks,
                                    const struct wf_budget *budget)
{
    return n_tasks * count_records(plan, budget) * sizeof(struct wf_spooled) +
           (plan->n_jobs + 1) * sizeof(uint64_t);
}

enum wf_dtype wf_spool_dtype(const struct wf_spool_subject *s, const struct wf_job *job)
{
    if (s->values != WF_SPOOL_SHARE)
        return (enum wf_dtype)job->dtype;
    return job->wide ? WF_F64 : WF_F32;
}

/* ---- taking a piece ---- */

/* The elements whose share is not zero. */
static size_t find_kept(const struct wf_sink_piece *p, uint16_t *places)
{
    size_t n = 0, count = (size_t)(p->to - p->from);
    if (p->job->wide) {
        const double *share = p->share;
        for (size_t i = 0; i < count; i++) {
            places[n] = (uint16_t)i;
            n += share[i] != 0;
        }
        return n;
    }
    const float *share = p->share;
    for (size_t i = 0; i < count; i++) {
        places[n] = (uint16_t)i;
        n += share[i] != 0;
    }
    return n;
}

/* The task's number i in the result's type. */
static void stored_value(const struct wf_sink_piece *p, size_t i, void *value)
{
    enum wf_dtype from = (enum wf_dtype)p->job->in_dtype[p->model];
    enum wf_dtype to = (enum wf_dtype)p->job->dtype;
    size_t width = wf_dtype_info(to)->bits / 8;
    if (from == to)
        memcpy(value, (const char *)p->in[p->model] + i * width, width);
    else
        wf_number_put(to, value, 0, wf_number_get(from, p->in[p->model], i));
}

/* What `add` stores: the difference in the job's arithmetic, rounded to the result's type. */
static void difference(const struct wf_sink_piece *p, size_t i, void *value)
{
    double task = wf_number_get((enum wf_dtype)p->job->in_dtype[p->model], p->in[p->model], i);
    double shared = wf_number_get((enum wf_dtype)p->job->dtype, p->in[0], i);
    double u = p->job->wide ? task - shared : (double)((float)task - (float)shared);
    wf_number_put((enum wf_dtype)p->job->dtype, value, 0, u);
}

/* Drops the places at which the task has the result's bits, and puts the others' values one behind
 * the other. Returns how many there are. */
static size_t take_values(const struct wf_sink_piece *p, bool add, uint16_t *places, size_t n,
                          uint8_t *values)
{
    size_t kept = 0, width = wf_dtype_info((enum wf_dtype)p->job->dtype)->bits / 8;
    const char *shared = p->in[0];
    for (size_t k = 0; k < n; k++) {
        uint8_t *to = values + kept * width;
        size_t i = places[k];
        stored_value(p, i, to);
        if (!memcmp(to, shared + i * width, width))
            continue;
        if (add)
            difference(p, i, to);
        places[kept++] = (uint16_t)i;
    }
    return kept;
}

static size_t take_shares(const struct wf_sink_piece *p, const uint16_t *places, size_t n,
                          uint8_t *values)
{
    size_t width = p->job->wide ? sizeof(double) : sizeof(float);
    for (size_t k = 0; k < n; k++)
        memcpy(values + k * width, (const char *)p->share + places[k] * width, width);
    return n;
}

static size_t put_gaps(const uint16_t *places, size_t n, uint8_t *to)
{
    uint8_t *at = to;
    for (size_t k = 1; k < n; k++)
        at = wf_leb128_put(at, (uint64_t)places[k] - places[k - 1]);
    return (size_t)(at - to);
}

static int enter(struct wf_err *e, struct wf_delta_spool *s, struct wf_spool_task *t,
                 struct wf_spooled *record, uint64_t bytes)
{
    pthread_mutex_lock(&t->lock);
    bool room = t->n_records < s->records_max;
    record->at = t->bytes;
    if (room)
        t->records[t->n_records++] = *record;
    t->bytes += bytes;
    pthread_mutex_unlock(&t->lock);
    return room ? WF_OK : wf_fail(e, WF_BUG, "more pieces for a task than were counted");
}

static int take(void *arg, struct wf_err *e, unsigned thread, const struct wf_sink_piece *p)
{
    struct wf_delta_spool *s = arg;
    struct wf_spool_task *t = &s->tasks[p->model - 1];
    struct wf_spool_bench *b = &s->benches[thread];
    const struct wf_spool_subject *subject = s->subject;
    uint8_t *values = b->record + WF_SINK_PIECE;
    size_t n = find_kept(p, b->places);
    n = subject->values == WF_SPOOL_SHARE
            ? take_shares(p, b->places, n, values)
            : take_values(p, subject->values == WF_SPOOL_ADD, b->places, n, values);
    if (!n)
        return WF_OK;
    /* Gaps end where the values begin. */
    size_t width = wf_dtype_info(wf_spool_dtype(subject, p->job))->bits / 8;
    size_t gap_bytes = put_gaps(b->places, n, b->record);
    uint8_t *record = values - gap_bytes;
    memmove(record, b->record, gap_bytes);
    struct wf_spooled entry = {
        .element = s->first[p->job - subject->plan->jobs] + p->from + b->places[0],
        .more = (uint16_t)(n - 1),
        .gap_bytes = (uint16_t)gap_bytes,
        .span = (uint16_t)(b->places[n - 1] - b->places[0]),
    };
    size_t bytes = gap_bytes + n * width;
    int status = enter(e, s, t, &entry, bytes);
    return status ? status : wf_pwrite(e, t->file.fd, t->file.path, record, bytes, entry.at);
}

/* ---- making the spool ---- */

static int create_task(struct wf_err *e, struct wf_arena *a, struct wf_delta_spool *s, size_t i,
                       const char *folder)
{
    struct wf_spool_task *t = &s->tasks[i];
    const char *path = wf_arena_printf(a, e, "%s/%zu", folder, i + 1);
    if (!path)
        return WF_MACHINE;
    t->records =
        wf_alloc(e, WF_MEM_META, s->records_max, sizeof *t->records, "the table of a task delta");
    return t->records ? wf_outfile_create(e, path, 0, false, &t->file) : WF_MACHINE;
}

int wf_delta_spool_create(struct wf_err *e, struct wf_arena *a,
                          const struct wf_spool_subject *subject, const struct wf_budget *budget,
                          const char *folder, struct wf_delta_spool *out)
{
    const struct wf_plan *plan = subject->plan;
    *out = (struct wf_delta_spool){.subject = subject,
                                   .sink = {.slot = WF_SHARE_SLOT, .take = take},
                                   .records_max = count_records(plan, budget),
                                   .n_benches = budget->compute};
    out->sink.arg = out;
    out->first = wf_arena_alloc(a, e, plan->n_jobs + 1, sizeof *out->first);
    out->benches = wf_alloc(e, WF_MEM_RING, budget->compute, sizeof *out->benches, "task deltas");
    out->tasks = wf_arena_alloc(a, e, subject->n_tasks, sizeof *out->tasks);
    if (!out->first || !out->benches || !out->tasks)
        return WF_MACHINE;
    for (size_t j = 0; j < plan->n_jobs; j++)
        out->first[j + 1] = out->first[j] + plan->jobs[j].count;
    for (size_t i = 0; i < subject->n_tasks; i++) {
        pthread_mutex_init(&out->tasks[i].lock, NULL);
        out->tasks[i].file.fd = out->tasks[i].file.direct_fd = -1;
    }
    int status = WF_OK;
    for (size_t i = 0; !status && i < subject->n_tasks; i++)
        status = create_task(e, a, out, i, folder);
    return status;
}

void wf_delta_spool_destroy(struct wf_delta_spool *s)
{
    for (size_t i = 0; s->tasks && i < s->subject->n_tasks; i++) {
        wf_outfile_close(&s->tasks[i].file);
        wf_free(s->tasks[i].records);
        pthread_mutex_destroy(&s->tasks[i].lock);
    }
    wf_free(s->benches);
    *s = (struct wf_delta_spool){0};
}
