/* delta_assembly.c - spooled records, sorted, as a safetensors file. */
#include "delta_assembly.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/file.h"
#include "../base/num.h"
#include "../format/delta_file.h"
#include "../format/shape.h"
#include "../format/st_header.h"

#define RECORD_BYTES_MAX (WF_SINK_PIECE * sizeof(double)) /* of gaps or of values */

/* A changed tensor. */
struct part {
    const struct wf_job *job;
    uint64_t first_element; /* of the job, among all */
    const struct wf_spooled *records;
    size_t n_records;
    uint64_t kept, gap_bytes;
    enum wf_delta_encoding encoding;
    uint64_t position_bytes;
};

/* A tensor of the file. */
struct row {
    struct wf_st_tensor tensor;
    const struct part *part;
    bool positions;
};

/* The spool file of a rank. */
struct source {
    const char *path;
    int fd; /* -1: not open; rank 0's own is not ours to close */
};

struct assembling {
    struct wf_err *e;
    struct wf_arena a; /* tables, gone when the file is there */
    const struct wf_delta_spool *spool;
    struct wf_spool_task *task;
    struct source *sources;     /* by rank */
    struct wf_spooled *records; /* of the task, by element */
    const struct wf_delta_assembly *how;
    struct part *parts; /* by name */
    size_t n_parts;
    struct row *rows; /* in file order */
    size_t n_rows;
    struct wf_making making;
    uint8_t *buffer; /* a record's gaps, or its values */
};

/* ---- what there is ---- */

static int by_element(const void *left, const void *right)
{
    const struct wf_spooled *a = left, *b = right;
    return (a->element > b->element) - (a->element < b->element);
}

static int by_job_name(const void *left, const void *right)
{
    const struct part *a = left, *b = right;
    return strcmp(a->job->name, b->job->name);
}

/* Counts the places of a part and the bytes of their gaps. */
static void measure(struct part *p)
{
    uint64_t previous = 0;
    for (size_t r = 0; r < p->n_records; r++) {
        const struct wf_spooled *s = &p->records[r];
        uint64_t index = s->element - p->first_element;
        p->kept += s->more + 1u;
        p->gap_bytes += wf_leb128_bytes(index - previous) + s->gap_bytes;
        previous = index + s->span;
    }
    p->encoding = wf_delta_choose(p->job->count, p->gap_bytes, &p->position_bytes);
}

/* Cuts the sorted records at the jobs' ends. */
static int find_parts(struct assembling *b)
{
    const struct wf_plan *plan = b->spool->subject->plan;
    const uint64_t *first = b->spool->first;
    size_t n = wf_spool_index_count(&b->task->index), r = 0;
    b->parts = wf_arena_alloc(&b->a, b->e, plan->n_jobs, sizeof *b->parts);
    int status = b->parts ? wf_spool_index_load(b->e, &b->task->index, &b->records) : WF_MACHINE;
    if (status)
        return status;
    if (n)
        qsort(b->records, n, sizeof *b->records, by_element);
    for (size_t j = 0; j < plan->n_jobs; j++) {
        struct part p = {
            .job = &plan->jobs[j], .first_element = first[j], .records = &b->records[r]};
        for (; r < n && b->records[r].element < first[j + 1]; r++)
            p.n_records++;
        if (!p.n_records)
            continue;
        measure(&p);
        b->parts[b->n_parts++] = p;
    }
    if (b->n_parts)
        qsort(b->parts, b->n_parts, sizeof *b->parts, by_job_name);
    return WF_OK;
}

/* ---- header ---- */

static int by_file_order(const void *left, const void *right)
{
    const struct wf_st_tensor *a = &((const struct row *)left)->tensor;
    const struct wf_st_tensor *b = &((const struct row *)right)->tensor;
    return wf_st_compare((enum wf_dtype)a->dtype, a->name, (enum wf_dtype)b->dtype, b->name);
}

static enum wf_dtype values_of(const struct assembling *b, const struct part *p)
{
    return wf_spool_dtype(b->spool->subject, p->job);
}

static int add_row(struct assembling *b, const struct part *p, bool positions)
{
    struct row *row = &b->rows[b->n_rows++];
    uint64_t *shape = wf_arena_alloc(&b->a, b->e, 1, sizeof *shape);
    const char *name =
        wf_arena_printf(&b->a, b->e, "%s.%s", p->job->name, positions ? "positions" : "values");
    if (!shape || !name)
        return WF_MACHINE;
    if (strlen(name) > WF_ST_NAME_MAX)
        return wf_fail(b->e, WF_USAGE, "tensor '%s': the name is too long for a task delta",
                       p->job->name);
    *shape = positions ? p->position_bytes : p->kept;
    *row = (struct row){
        .tensor = {.name = name,
                   .dtype = (uint8_t)(positions ? WF_U8 : values_of(b, p)),
                   .n_dims = 1,
                   .shape = shape,
                   .count = *shape},
        .part = p,
        .positions = positions,
    };
    return WF_OK;
}

static int lay_out_rows(struct assembling *b, struct wf_st_tensor **tensors)
{
    int status = WF_OK;
    uint64_t at = 0;
    b->rows = wf_arena_alloc(&b->a, b->e, 2 * b->n_parts, sizeof *b->rows);
    *tensors = wf_arena_alloc(&b->a, b->e, 2 * b->n_parts, sizeof **tensors);
    if (!b->rows || !*tensors)
        return WF_MACHINE;
    for (size_t i = 0; !status && i < b->n_parts; i++) {
        status = add_row(b, &b->parts[i], false);
        if (!status)
            status = add_row(b, &b->parts[i], true);
    }
    if (!status && b->n_rows)
        qsort(b->rows, b->n_rows, sizeof *b->rows, by_file_order);
    for (size_t i = 0; !status && i < b->n_rows; i++) {
        struct wf_st_tensor *t = &b->rows[i].tensor;
        t->begin = at;
        t->end = at += t->count * (wf_dtype_info((enum wf_dtype)t->dtype)->bits / 8);
        (*tensors)[i] = *t;
    }
    return status;
}

static int add_pair(struct assembling *b, struct wf_st_pair *pair, const char *name,
                    const char *suffix, const char *value)
{
    pair->key = wf_arena_printf(&b->a, b->e, "%s.%s", name, suffix);
    pair->value = wf_arena_strdup(&b->a, b->e, value);
    return pair->key && pair->value ? WF_OK : WF_MACHINE;
}

static int list_metadata(struct assembling *b, size_t task, struct wf_st_pair **out, size_t *n)
{
    static const char *const stores[] = {"replace", "add", "component"}; /* wf_spool_values */
    const struct wf_spool_subject *subject = b->spool->subject;
    const struct wf_st_pair head[] = {{"base", b->how->shared_name},
                                      {"task", subject->tasks[task]},
                                      {"store", stores[subject->values]},
                                      {"density", subject->density}};
    *n = sizeof head / sizeof *head;
    struct wf_st_pair *pairs = *out =
        wf_arena_alloc(&b->a, b->e, *n + 2 * b->n_parts, sizeof *pairs);
    if (!pairs)
        return WF_MACHINE;
    memcpy(pairs, head, sizeof head);
    int status = WF_OK;
    for (size_t i = 0; !status && i < b->n_parts; i++) {
        const struct part *p = &b->parts[i];
        char shape[WF_SHAPE_TEXT_MAX];
        wf_shape_text(p->job->shape, p->job->n_dims, WF_SHAPE_TIGHT, shape);
        status = add_pair(b, &pairs[(*n)++], p->job->name, "encoding",
                          wf_delta_encoding_name(p->encoding));
        if (!status)
            status = add_pair(b, &pairs[(*n)++], p->job->name, "shape", shape);
    }
    return status;
}

/* ---- data ---- */

/* `bytes` of a record, `skipped` from its start. */
static int read_record(struct assembling *b, const struct wf_spooled *s, size_t skipped,
                       size_t bytes)
{
    const struct source *from = &b->sources[s->rank];
    return wf_pread(b->e, from->fd, from->path, b->buffer, bytes, s->at + skipped);
}

static int read_gaps(struct assembling *b, const struct wf_spooled *s)
{
    return read_record(b, s, 0, s->gap_bytes);
}

static int put_values(struct assembling *b, const struct part *p)
{
    size_t width = wf_dtype_info(values_of(b, p))->bits / 8;
    int status = WF_OK;
    for (size_t r = 0; !status && r < p->n_records; r++) {
        const struct wf_spooled *s = &p->records[r];
        size_t bytes = (s->more + 1u) * width;
        status = read_record(b, s, s->gap_bytes, bytes);
        if (!status)
            status = wf_making_put(&b->making, b->buffer, bytes);
    }
    return status;
}

static int put_gaps(struct assembling *b, const struct part *p)
{
    uint64_t previous = 0;
    int status = WF_OK;
    for (size_t r = 0; !status && r < p->n_records; r++) {
        const struct wf_spooled *s = &p->records[r];
        uint64_t index = s->element - p->first_element;
        uint8_t first[10];
        size_t n = (size_t)(wf_leb128_put(first, index - previous) - first);
        status = wf_making_put(&b->making, first, n);
        if (!status)
            status = read_gaps(b, s);
        if (!status)
            status = wf_making_put(&b->making, b->buffer, s->gap_bytes);
        previous = index + s->span;
    }
    return status;
}

/* A bitmap on its way out. */
struct bits {
    struct wf_making *making;
    uint64_t byte; /* the one that is being filled */
    uint8_t value;
    int status;
};

/* Writes all bytes before `byte`. */
static void advance(struct bits *b, uint64_t byte)
{
    for (; b->byte < byte && !b->status; b->byte++) {
        b->status = wf_making_byte(b->making, b->value);
        b->value = 0;
    }
}

static void set_bit(struct bits *b, uint64_t index)
{
    advance(b, index / 8);
    b->value |= (uint8_t)(1u << (index % 8));
}

static int put_bits(struct assembling *b, const struct part *p)
{
    struct bits bits = {.making = &b->making};
    for (size_t r = 0; !bits.status && r < p->n_records; r++) {
        const struct wf_spooled *s = &p->records[r];
        uint64_t index = s->element - p->first_element, gap = 0;
        unsigned shift = 0;
        bits.status = read_gaps(b, s);
        set_bit(&bits, index);
        for (size_t i = 0; !bits.status && i < s->gap_bytes; i++) {
            gap |= (uint64_t)(b->buffer[i] & 0x7f) << shift;
            shift = b->buffer[i] & 0x80 ? shift + 7 : 0;
            if (shift)
                continue;
            index += gap;
            gap = 0;
            set_bit(&bits, index);
        }
    }
    advance(&bits, p->position_bytes);
    return bits.status;
}

static int put_rows(struct assembling *b)
{
    int status = WF_OK;
    for (size_t i = 0; !status && i < b->n_rows; i++) {
        const struct row *row = &b->rows[i];
        if (*b->how->stop)
            return wf_fail(b->e, WF_STOPPED,
                           "stopped by a signal while task deltas were written; run the same "
                           "command with --resume to go on");
        if (!row->positions)
            status = put_values(b, row->part);
        else if (row->part->encoding == WF_DELTA_LEB128)
            status = put_gaps(b, row->part);
        else
            status = put_bits(b, row->part);
    }
    return status;
}

/* ---- the whole ---- */

static int open_sources(struct assembling *b, size_t task)
{
    const struct wf_spool_place *place = &b->spool->place;
    int status = WF_OK;
    b->sources = wf_arena_alloc(&b->a, b->e, place->ranks, sizeof *b->sources);
    if (!b->sources)
        return WF_MACHINE;
    for (unsigned r = 0; r < place->ranks; r++)
        b->sources[r].fd = -1;
    b->sources[0] = (struct source){b->task->file.path, b->task->file.fd};
    for (unsigned r = 1; !status && r < place->ranks; r++) {
        struct source *s = &b->sources[r];
        s->path = wf_delta_spool_path(b->e, &b->a, b->spool, r, task);
        status = s->path ? wf_open_read(b->e, WF_MACHINE, s->path, &s->fd, NULL) : WF_MACHINE;
    }
    return status;
}

static void close_sources(struct assembling *b)
{
    for (unsigned r = 1; b->sources && r < b->spool->place.ranks; r++)
        wf_close(b->sources[r].fd);
}

static int assemble(struct assembling *b, size_t task, struct wf_delta_made *out)
{
    struct wf_st_tensor *tensors = NULL;
    struct wf_st_pair *pairs = NULL;
    struct wf_str header = {0};
    size_t n_pairs = 0;
    int status = open_sources(b, task);
    if (!status)
        status = find_parts(b);
    if (!status)
        status = lay_out_rows(b, &tensors);
    if (!status)
        status = list_metadata(b, task, &pairs, &n_pairs);
    if (!status)
        status = wf_st_format_with(b->e, tensors, b->n_rows, 8, pairs, n_pairs, &header);
    if (!status) {
        uint64_t bytes = header.n + (b->n_rows ? tensors[b->n_rows - 1].end : 0);
        status = wf_making_begin(b->e, &out->arena, b->how->path, bytes, b->how->hashing,
                                 b->how->direct, &b->making);
    }
    if (!status)
        status = wf_making_put(&b->making, header.text, header.n);
    if (!status)
        status = put_rows(b);
    if (!status)
        status = wf_making_end(&b->making, &out->file);
    wf_str_free(&header);
    return status;
}

int wf_delta_assemble(struct wf_err *e, struct wf_delta_spool *spool, size_t task,
                      const struct wf_delta_assembly *how, struct wf_delta_made *out)
{
    struct assembling b = {.e = e, .spool = spool, .task = &spool->tasks[task], .how = how};
    out->file.name = how->name;
    out->task = spool->subject->tasks[task];
    b.buffer = wf_alloc(e, WF_MEM_RING, RECORD_BYTES_MAX, 1, "a task delta");
    int status = b.buffer ? assemble(&b, task, out) : WF_MACHINE;
    for (size_t i = 0; i < b.n_parts; i++)
        out->kept += b.parts[i].kept;
    out->n_tensors = b.n_parts;
    wf_making_close(&b.making);
    close_sources(&b);
    wf_free(b.buffer);
    wf_free(b.records);
    wf_arena_destroy(&b.a);
    return status;
}

int wf_delta_assemble_below(struct wf_err *e, struct wf_delta_spool *spool, size_t task,
                            const struct wf_delta_target *target, struct wf_delta_made *out)
{
    const char *name = wf_arena_printf(&out->arena, e, "%s/%s.safetensors", target->dir,
                                       spool->subject->tasks[task]);
    const char *path = name ? wf_path_join(&out->arena, e, target->partial, name) : NULL;
    if (!path)
        return WF_MACHINE;
    struct wf_delta_assembly how = {.path = path,
                                    .name = name,
                                    .shared_name = target->shared_name,
                                    .hashing = target->options->manifest == WEFT_MANIFEST_XXH3,
                                    .direct = target->options->io != WEFT_IO_BUFFERED,
                                    .stop = target->stop};
    int status = wf_delta_assemble(e, spool, task, &how, out);
    if (!status) /* before the next one needs room */
        wf_delta_spool_drop(spool, task);
    return status;
}
