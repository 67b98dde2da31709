/* rows.c - tensors seen through a map of rows (format/row_map.h): what is on top of rows that were
 * gathered, and rows that are made.
 *
 * A made row is reckoned where it is needed, from the rows of other models that it is the mean of:
 * there are few, and a table of all of them for each model would not fit a small budget. The mean
 * of a whole table needs one look at all of it, when the stream starts; the order of the sum is
 * that of the rows.
 */
#include <string.h>

#include "../base/mem.h"
#include "../base/num.h"
#include "source.h"

static uint64_t width_of(bool wide)
{
    return wide ? sizeof(double) : sizeof(float);
}

static double value_at(const char *values, bool wide, uint64_t k)
{
    return wide ? ((const double *)(const void *)values)[k]
                : (double)((const float *)(const void *)values)[k];
}

static void put_value(char *values, bool wide, uint64_t k, double x)
{
    if (wide)
        ((double *)(void *)values)[k] = x;
    else
        ((float *)(void *)values)[k] = (float)x;
}

uint32_t wf_rows_donor(const struct wf_ring *r, const struct wf_row_donor *d)
{
    const struct wf_plan *plan = r->options->plan;
    uint32_t c = 0;
    while (c < plan->n_ckpts && !wf_plan_same_ckpt(plan->ckpts[c].ckpt, d->ckpt))
        c++;
    return c;
}

/* The thread's scratch: stored values, values, sums. */
struct rows_scratch {
    char *stored, *values;
    double *sums;
};

static struct rows_scratch scratch_of(const struct wf_bench *bench)
{
    char *at = bench->rows;
    uint64_t part = WF_ROW_CHUNK * sizeof(double);
    return (struct rows_scratch){at, at + part, (double *)(void *)(at + 2 * part)};
}

/* Elements [from, to) of a tensor without a map, at most WF_ROW_CHUNK, with what is on top of it,
 * into the scratch's values. */
static int read_values(const struct wf_making *m, const struct rows_scratch *scratch,
                       const struct wf_tensor *t, uint32_t ckpt, uint64_t from, uint64_t to)
{
    uint64_t width = wf_dtype_info((enum wf_dtype)t->dtype)->bits / 8;
    if (ckpt == m->r->options->plan->n_ckpts)
        return wf_fail(m->r->e, WF_BUG, "tensor '%s': a model that gives rows is not in the plan",
                       t->name);
    const struct wf_infile *f = &m->r->inputs[ckpt][t->file];
    int status = wf_pread(m->r->e, f->fd, f->path, scratch->stored, (to - from) * width,
                          t->offset + from * width);
    if (status)
        return status;
    m->r->options->backend->widen(t->dtype, scratch->stored, to - from, m->wide, scratch->values);
    struct wf_making donor = *m;
    donor.tensor = t;
    donor.ckpt = ckpt;
    donor.range = (struct wf_range){from, to};
    donor.values = scratch->values;
    return wf_addends_apply(&donor);
}

/* Elements [from, to) of made row `made`, at most WF_ROW_CHUNK, to `values`. */
static int make_part(const struct wf_making *m, const struct wf_made_row *made, uint64_t from,
                     uint64_t to, char *values)
{
    const struct wf_row_view *rows = m->tensor->rows;
    struct rows_scratch scratch = scratch_of(m->bench);
    int status = WF_OK;
    memset(scratch.sums, 0, (to - from) * sizeof *scratch.sums);
    for (uint32_t i = 0; i < made->n && !status; i++) {
        const struct wf_row_donor *d = &rows->donors[made->refs[i].model];
        uint64_t first = made->refs[i].row * rows->cols;
        status =
            read_values(m, &scratch, d->tensor, wf_rows_donor(m->r, d), first + from, first + to);
        for (uint64_t k = 0; k < to - from && !status; k++)
            scratch.sums[k] += value_at(scratch.values, m->wide, k);
    }
    if (made->n == 1) /* its bits: a sum that begins with zero loses the sign of zero */
        memcpy(values, scratch.values, (to - from) * width_of(m->wide));
    for (uint64_t k = 0; k < to - from && made->n != 1; k++)
        put_value(values, m->wide, k, made->n ? scratch.sums[k] / made->n : 0.0);
    return status;
}

static int make_row(const struct wf_making *m, const struct wf_made_row *made, uint64_t from,
                    uint64_t to, char *values)
{
    int status = WF_OK;
    for (uint64_t at = from, end; at < to && !status; at = end) {
        end = wf_min_u64(to, at + WF_ROW_CHUNK);
        status = make_part(m, made, at, end, values + (at - from) * width_of(m->wide));
    }
    return status;
}

/* A run of rows of one kind: elements [from, to) of the tensor in its new shape, which begin in row
 * `row`. */
static int make_run(const struct wf_making *m, uint64_t row, uint64_t from, uint64_t to)
{
    const struct wf_row_view *rows = m->tensor->rows;
    int32_t source = rows->map->from[row];
    char *values = m->values + (from - m->range.from) * width_of(m->wide);
    uint64_t within = from - row * rows->cols;
    if (source <= WF_ROW_MADE_FIRST)
        return make_row(m, &rows->map->made[WF_ROW_MADE_FIRST - source], within,
                        within + (to - from), values);
    if (source == WF_ROW_MEAN) {
        for (uint64_t k = 0; k < to - from; k++)
            put_value(values, m->wide, k, rows->mean[m->wide][(within + k) % rows->cols]);
        return WF_OK;
    }
    uint64_t first = (uint64_t)source * rows->cols + within;
    struct wf_making own = *m;
    own.tensor = rows->stored;
    own.range = (struct wf_range){first, first + (to - from)};
    own.values = values;
    return wf_addends_apply(&own);
}

int wf_rows_make(const struct wf_making *m)
{
    const struct wf_row_view *rows = m->tensor->rows;
    int status = WF_OK;
    for (uint64_t at = m->range.from, end; at < m->range.to && !status; at = end) {
        uint64_t row = at / rows->cols, last = (m->range.to - 1) / rows->cols;
        end = (row + wf_row_run(rows->map, row, last - row + 1)) * rows->cols;
        end = wf_min_u64(end, m->range.to);
        status = make_run(m, row, at, end);
    }
    return status;
}

/* ---- the mean of a table ---- */

/* Adds n values, the first of which belongs to column `col`, to the sums of their columns. */
static void add_up(const struct wf_making *m, const char *values, uint64_t col, uint64_t n)
{
    const struct wf_row_view *rows = m->tensor->rows;
    const float *narrow = (const float *)(const void *)values;
    const double *wide = (const double *)(const void *)values;
    for (uint64_t at = 0, part; at < n; at += part, col = 0) {
        double *sums = rows->mean[m->wide] + col;
        part = wf_min_u64(n - at, rows->cols - col);
        for (uint64_t k = 0; m->wide && k < part; k++)
            sums[k] += wide[at + k];
        for (uint64_t k = 0; !m->wide && k < part; k++)
            sums[k] += (double)narrow[at + k];
    }
}

/* Adds the rows of one run: elements [from, to) in the new shape, not more than fit the scratch. */
static int add_run(const struct wf_making *m, uint64_t row, uint64_t from, uint64_t to)
{
    const struct wf_row_view *rows = m->tensor->rows;
    struct rows_scratch scratch = scratch_of(m->bench);
    int32_t source = rows->map->from[row];
    uint64_t within = from - row * rows->cols;
    int status;
    if (source >= 0) {
        uint64_t first = (uint64_t)source * rows->cols + within;
        status = read_values(m, &scratch, rows->stored, m->ckpt, first, first + (to - from));
    } else {
        status = make_part(m, &rows->map->made[WF_ROW_MADE_FIRST - source], within,
                           within + (to - from), scratch.values);
    }
    if (!status)
        add_up(m, scratch.values, within % rows->cols, to - from);
    return status;
}

static int reckon_mean(const struct wf_making *m)
{
    struct wf_row_view *rows = m->tensor->rows;
    const struct wf_row_map *map = rows->map;
    int status = WF_OK;
    for (uint64_t row = 0, run; row < map->rows && !status; row += run) {
        run = wf_row_run(map, row, map->rows - row);
        uint64_t end = map->from[row] == WF_ROW_MEAN ? 0 : (row + run) * rows->cols, to;
        for (uint64_t at = row * rows->cols; at < end && !status; at = to) {
            to = wf_min_u64(end, at + WF_ROW_CHUNK);
            status = add_run(m, row, at, to);
        }
    }
    uint64_t n = map->rows - map->n_means;
    for (uint64_t c = 0; c < rows->cols && n; c++)
        rows->mean[m->wide][c] /= (double)n;
    return status;
}

int wf_rows_prepare(struct wf_ring *r, const struct wf_job *job, uint32_t input)
{
    struct wf_row_view *rows = job->in[input]->rows;
    double **mean = &rows->mean[job->wide];
    if (!rows->map->n_means || *mean)
        return WF_OK;
    *mean = wf_alloc(r->e, WF_MEM_RING, rows->cols, sizeof **mean, "the mean of a table");
    if (!*mean)
        return WF_MACHINE;
    struct wf_making m = {.r = r,
                          .bench = &r->benches[0],
                          .tensor = job->in[input],
                          .ckpt = job->input_ckpt[input],
                          .wide = job->wide};
    r->stats.bytes_read += rows->stored->bytes;
    return reckon_mean(&m);
}

void wf_rows_forget(struct wf_row_view *rows)
{
    for (int wide = 0; wide < 2; wide++) {
        wf_free(rows->mean[wide]);
        rows->mean[wide] = NULL;
    }
}
