/* delta_spool.c - the sink that keeps what tasks need beside the result. */
#include "delta_spool.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../base/file.h"
#include "../base/num.h"
#include "../format/delta_file.h"
#include "../format/dtype_number.h"

#define VALUE_BYTES_MAX 8u

/* Gaps of a piece add up to less than its elements, and none takes more bytes than its number. */
struct wf_spool_bench {
    uint16_t places[WF_SINK_PIECE]; /* kept elements, from the piece's first on */
    uint8_t record[WF_SINK_PIECE + WF_SINK_PIECE * VALUE_BYTES_MAX];
};

uint64_t wf_delta_spool_thread_bytes(void)
{
    return sizeof(struct wf_spool_bench);
}

uint64_t wf_delta_spool_table_bytes(const struct wf_plan *plan, size_t n_tasks)
{
    return n_tasks *
               (WF_SPOOL_INDEX_RECORDS * sizeof(struct wf_spooled) + sizeof(struct wf_spool_task)) +
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
    wf_number_put((enum wf_dtype)p->job->dtype, value, 0, wf_number_get(from, p->in[p->model], i));
}

/* Drops the places at which the task has the result's bits: values of one type and width, compared
 * as integers. Returns how many are left. */
#define DROP_EQUAL(width)                                                                          \
    static size_t drop_equal_##width(const struct wf_sink_piece *p, uint16_t *places, size_t n)    \
    {                                                                                              \
        const char *own = p->in[p->model], *shared = p->in[0];                                     \
        size_t kept = 0;                                                                           \
        for (size_t k = 0; k < n; k++) {                                                           \
            uint##width##_t a, b;                                                                  \
            memcpy(&a, own + places[k] * sizeof a, sizeof a);                                      \
            memcpy(&b, shared + places[k] * sizeof b, sizeof b);                                   \
            places[kept] = places[k];                                                              \
            kept += a != b;                                                                        \
        }                                                                                          \
        return kept;                                                                               \
    }
DROP_EQUAL(16)
DROP_EQUAL(32)
DROP_EQUAL(64)

/* The same where the task's values have to be converted first. */
static size_t drop_equal_converted(const struct wf_sink_piece *p, uint16_t *places, size_t n)
{
    size_t kept = 0, width = wf_dtype_info((enum wf_dtype)p->job->dtype)->bits / 8;
    for (size_t k = 0; k < n; k++) {
        char value[VALUE_BYTES_MAX];
        stored_value(p, places[k], value);
        places[kept] = places[k];
        kept += memcmp(value, (const char *)p->in[0] + places[k] * width, width) != 0;
    }
    return kept;
}

static size_t drop_equal(const struct wf_sink_piece *p, uint16_t *places, size_t n)
{
    if (p->job->in_dtype[p->model] != p->job->dtype)
        return drop_equal_converted(p, places, n);
    switch (wf_dtype_info((enum wf_dtype)p->job->dtype)->bits) {
    case 16:
        return drop_equal_16(p, places, n);
    case 32:
        return drop_equal_32(p, places, n);
    default:
        return drop_equal_64(p, places, n);
    }
}

#define PUT_VALUES(width)                                                                          \
    static void put_values_##width(const char *own, const uint16_t *places, size_t n,              \
                                   uint8_t *values)                                                \
    {                                                                                              \
        for (size_t k = 0; k < n; k++)                                                             \
            memcpy(values + k * (width) / 8, own + places[k] * (size_t)((width) / 8),              \
                   (width) / 8);                                                                   \
    }
PUT_VALUES(16)
PUT_VALUES(32)
PUT_VALUES(64)

/* `replace`: the task's values in the result's type. */
static void put_values(const struct wf_sink_piece *p, const uint16_t *places, size_t n,
                       uint8_t *values)
{
    unsigned bits = wf_dtype_info((enum wf_dtype)p->job->dtype)->bits;
    const char *own = p->in[p->model];
    if (p->job->in_dtype[p->model] != p->job->dtype)
        for (size_t k = 0; k < n; k++)
            stored_value(p, places[k], values + k * bits / 8);
    else if (bits == 16)
        put_values_16(own, places, n, values);
    else if (bits == 32)
        put_values_32(own, places, n, values);
    else
        put_values_64(own, places, n, values);
}

/* `add`: differences in the job's arithmetic, rounded to the result's type. */
static void put_differences(const struct wf_sink_piece *p, const uint16_t *places, size_t n,
                            uint8_t *values)
{
    enum wf_dtype from = (enum wf_dtype)p->job->in_dtype[p->model];
    enum wf_dtype to = (enum wf_dtype)p->job->dtype;
    for (size_t k = 0; k < n; k++) {
        double task = wf_number_get(from, p->in[p->model], places[k]);
        double shared = wf_number_get(to, p->in[0], places[k]);
        double u = p->job->wide ? task - shared : (double)((float)task - (float)shared);
        wf_number_put(to, values, k, u);
    }
}

static void put_shares(const struct wf_sink_piece *p, const uint16_t *places, size_t n,
                       uint8_t *values)
{
    if (p->job->wide)
        put_values_64(p->share, places, n, values);
    else
        put_values_32(p->share, places, n, values);
}

/* Numbers of another type, and differences, may be too large for the result's. */
static int check_values(struct wf_err *e, const struct wf_spool_subject *s,
                        const struct wf_sink_piece *p, const uint16_t *places, size_t n,
                        const uint8_t *values)
{
    enum wf_dtype from = (enum wf_dtype)p->job->in_dtype[p->model];
    enum wf_dtype to = (enum wf_dtype)p->job->dtype;
    for (size_t k = 0; k < n; k++)
        if (!isfinite(wf_number_get(to, values, k)) &&
            isfinite(wf_number_get(from, p->in[p->model], places[k])) &&
            isfinite(wf_number_get(to, p->in[0], places[k])))
            return wf_fail(e, WF_INPUT,
                           "tensor '%s': what task '%s' has at element %" PRIu64
                           " does not fit %s; choose a wider dtype, or say non_finite: allow",
                           p->job->name, s->tasks[p->model - 1], p->from + places[k],
                           wf_dtype_info(to)->name);
    return WF_OK;
}

static size_t put_gaps(const uint16_t *places, size_t n, uint8_t *to)
{
    uint8_t *at = to;
    for (size_t k = 1; k < n; k++)
        at = wf_leb128_put(at, (uint64_t)places[k] - places[k - 1]);
    return (size_t)(at - to);
}

/* Takes room for the record in the file, and notes where. */
static int enter(struct wf_err *e, struct wf_spool_task *t, struct wf_spooled *record,
                 uint64_t bytes)
{
    pthread_mutex_lock(&t->lock);
    record->at = t->bytes;
    t->bytes += bytes;
    int status = wf_spool_index_add(e, &t->index, record);
    pthread_mutex_unlock(&t->lock);
    return status;
}

static int take(void *arg, struct wf_err *e, unsigned thread, const struct wf_sink_piece *p)
{
    struct wf_delta_spool *s = arg;
    struct wf_spool_task *t = &s->tasks[p->model - 1];
    struct wf_spool_bench *b = &s->benches[thread];
    const struct wf_spool_subject *subject = s->subject;
    uint8_t *values = b->record + WF_SINK_PIECE;
    size_t n = find_kept(p, b->places);
    if (subject->values != WF_SPOOL_SHARE)
        n = drop_equal(p, b->places, n);
    if (!n)
        return WF_OK;
    if (subject->values == WF_SPOOL_SHARE)
        put_shares(p, b->places, n, values);
    else if (subject->values == WF_SPOOL_ADD)
        put_differences(p, b->places, n, values);
    else
        put_values(p, b->places, n, values);
    bool as_stored =
        subject->values == WF_SPOOL_SHARE ||
        (subject->values == WF_SPOOL_REPLACE && p->job->in_dtype[p->model] == p->job->dtype);
    int status = WF_OK;
    if (!as_stored && !subject->plan->recipe->allow_non_finite)
        status = check_values(e, subject, p, b->places, n, values);
    if (status)
        return status;
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
        .rank = (uint16_t)s->place.rank,
    };
    size_t bytes = gap_bytes + n * width;
    status = enter(e, t, &entry, bytes);
    return status ? status : wf_pwrite(e, t->file.fd, t->file.path, record, bytes, entry.at);
}

/* ---- making the spool ---- */

char *wf_delta_spool_path(struct wf_err *e, struct wf_arena *a, const struct wf_delta_spool *s,
                          unsigned rank, size_t task)
{
    return wf_arena_printf(a, e, "%s/%u/%zu", s->place.folder, rank, task + 1);
}

static char *index_path(struct wf_err *e, struct wf_arena *a, const struct wf_delta_spool *s,
                        unsigned rank, size_t task)
{
    return wf_arena_printf(a, e, "%s/%u/%zu.index", s->place.folder, rank, task + 1);
}

static int create_task(struct wf_err *e, struct wf_arena *a, struct wf_delta_spool *s, size_t i)
{
    struct wf_spool_task *t = &s->tasks[i];
    const char *path = wf_delta_spool_path(e, a, s, s->place.rank, i);
    const char *index = index_path(e, a, s, s->place.rank, i);
    if (!path || !index)
        return WF_MACHINE;
    int status = wf_outfile_create(e, path, 0, false, &t->file);
    return status ? status : wf_spool_index_create(e, index, &t->index);
}

int wf_delta_spool_create(struct wf_err *e, struct wf_arena *a,
                          const struct wf_spool_subject *subject, const struct wf_budget *budget,
                          const struct wf_spool_place *place, struct wf_delta_spool *out)
{
    const struct wf_plan *plan = subject->plan;
    *out = (struct wf_delta_spool){.subject = subject,
                                   .place = *place,
                                   .sink = {.slot = WF_SHARE_SLOT, .take = take},
                                   .n_benches = budget->compute};
    out->sink.arg = out;
    out->first = wf_arena_alloc(a, e, plan->n_jobs + 1, sizeof *out->first);
    out->tasks = wf_arena_alloc(a, e, subject->n_tasks, sizeof *out->tasks);
    for (size_t i = 0; out->tasks && i < subject->n_tasks; i++) { /* destroy closes all of them */
        pthread_mutex_init(&out->tasks[i].lock, NULL);
        out->tasks[i].file.fd = out->tasks[i].file.direct_fd = -1;
    }
    out->benches = wf_alloc(e, WF_MEM_RING, budget->compute, sizeof *out->benches, "task deltas");
    const char *folder = wf_arena_printf(a, e, "%s/%u", place->folder, place->rank);
    if (!out->first || !out->benches || !out->tasks || !folder)
        return WF_MACHINE;
    for (size_t j = 0; j < plan->n_jobs; j++)
        out->first[j + 1] = out->first[j] + plan->jobs[j].count;
    int status = wf_make_folder(e, folder);
    for (size_t i = 0; !status && i < subject->n_tasks; i++)
        status = create_task(e, a, out, i);
    return status;
}

void wf_delta_spool_destroy(struct wf_delta_spool *s)
{
    for (size_t i = 0; s->tasks && i < s->subject->n_tasks; i++) {
        wf_outfile_close(&s->tasks[i].file);
        wf_spool_index_close(&s->tasks[i].index);
        pthread_mutex_destroy(&s->tasks[i].lock);
    }
    wf_free(s->benches);
    *s = (struct wf_delta_spool){0};
}

/* ---- several ranks ---- */

int wf_delta_spool_seal(struct wf_err *e, struct wf_delta_spool *s)
{
    int status = WF_OK;
    for (size_t i = 0; s->place.rank && !status && i < s->subject->n_tasks; i++) {
        struct wf_spool_task *t = &s->tasks[i];
        status = wf_outfile_sync(e, &t->file);
        if (!status)
            status = wf_spool_index_seal(e, &t->index, (uint16_t)s->place.rank, t->bytes);
    }
    return status;
}

/* What one rank has spooled for one task. */
static int adopt(struct wf_err *e, struct wf_arena *a, struct wf_delta_spool *s, unsigned rank,
                 size_t task)
{
    const char *path = wf_delta_spool_path(e, a, s, rank, task);
    const char *index = index_path(e, a, s, rank, task);
    struct wf_file_id id;
    uint64_t bytes;
    int fd = -1;
    int status = path && index
                     ? wf_spool_index_adopt(e, &s->tasks[task].index, index, (uint16_t)rank, &bytes)
                     : WF_MACHINE;
    if (!status)
        status = wf_open_read(e, WF_MACHINE, path, &fd, &id);
    wf_close(fd);
    if (!status && id.bytes != bytes)
        status = wf_fail(e, WF_MACHINE,
                         "%s: has %" PRIu64 " bytes and rank %u has written %" PRIu64
                         "; do all ranks share one file system?",
                         path, id.bytes, rank, bytes);
    return status;
}

int wf_delta_spool_adopt(struct wf_err *e, struct wf_delta_spool *s)
{
    struct wf_arena a = {0};
    int status = WF_OK;
    for (unsigned rank = 1; rank < s->place.ranks; rank++)
        for (size_t i = 0; !status && i < s->subject->n_tasks; i++)
            status = adopt(e, &a, s, rank, i);
    wf_arena_destroy(&a);
    return status;
}

void wf_delta_spool_drop(struct wf_delta_spool *s, size_t task)
{
    struct wf_arena a = {0};
    struct wf_err ignored = {0};
    wf_outfile_close(&s->tasks[task].file);
    for (unsigned rank = 0; rank < s->place.ranks; rank++) {
        const char *path = wf_delta_spool_path(&ignored, &a, s, rank, task);
        if (path)
            unlink(path); /* the folder goes as a whole in the end */
    }
    wf_arena_destroy(&a);
}
