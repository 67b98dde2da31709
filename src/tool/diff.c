/* diff.c - compare two checkpoints tensor by tensor; the numbers themselves are in distance.c.
 *
 * With JSON, one object a line:
 *   {"kind":"tensor","name":S,"result":R,"dtype_a":S,"dtype_b":S,"shape_a":[..],"shape_b":[..],
 *    "bytes_equal":B,"max_abs":N,"relative_l2":N,"cosine":N,"non_finite_a":N,"non_finite_b":N}
 *   {"kind":"summary","tensors":N,"equal":N,"different":N,"only_in_a":N,"only_in_b":N,
 *    "bytes_equal":B,"max_abs":N,"max_abs_tensor":S,"relative_l2":N,"cosine":N,"cosine_of":C,
 *    "non_finite_a":N,"non_finite_b":N}
 * R is equal, different, shape, only_in_a or only_in_b; C is tensors or deltas. What does not
 * exist (a dtype of an absent tensor, numbers of integers, a cosine of zero vectors) is null.
 *
 * Work is dealt in blocks that depend on the tensor alone:
 *
 *   tensor   |----- block 0 -----|----- block 1 -----|-- 2 --|     BLOCK_BYTES of its widest type
 *   a b base  read, compare, sum   (any thread)                    joined 0, 1, 2 by ordered.c
 */
#include "diff.h"

#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "../base/mem.h"
#include "../base/num.h"
#include "../base/ordered.h"
#include "../format/ckpt.h"
#include "../format/shape.h"
#include "distance.h"
#include "report.h"

#define BLOCK_BYTES ((size_t)2 << 20)

enum { A, B, BASE, SIDES };

enum how {
    BY_VALUE,  /* the same shape, both arithmetic */
    BY_BYTES,  /* the same shape and type, not arithmetic */
    BY_HEADER, /* nothing to read: shape, type or presence says it all */
};

/* One row of the output: a tensor of either side. */
struct pair {
    const struct wf_tensor *tensor[SIDES]; /* NULL where absent; BASE only where it takes part */
    enum how how;
    size_t unit[SIDES];   /* bytes of one element (of one byte, by bytes) */
    uint64_t units;       /* elements (bytes) */
    uint64_t block_units; /* in one block */
    uint64_t n_blocks;    /* at least 1 */
};

struct totals {
    uint64_t equal, different, only[2];
    struct wf_distance distance;
    const char *largest_name;
};

struct compare {
    struct wf_err *e;
    struct wf_report report;
    struct wf_arena arena;
    struct wf_ckpt ckpt[SIDES];
    bool has_base;
    size_t name_width;
    unsigned n_threads;
    /* the cursor of claim() */
    size_t next[2]; /* in the sorted tensors of A and B */
    struct pair pair;
    uint64_t next_block;
    /* what commit() has joined so far */
    struct wf_distance distance; /* of the current pair */
    bool bytes_equal;
    struct totals totals;
};

/* One open file per side and worker: pieces come in name order, so files change seldom. */
struct side_file {
    int fd;
    uint32_t index;
};

struct worker {
    struct pair pair;
    uint64_t block;
    struct side_file file[SIDES];
    unsigned char *data[SIDES]; /* BLOCK_BYTES each */
    struct wf_distance distance;
    bool bytes_equal;
};

/* ---- pairs ------------------------------------------------------------------------------------
 */

static bool same_shape(const struct wf_tensor *a, const struct wf_tensor *b)
{
    return a->n_dims == b->n_dims &&
           (a->n_dims == 0 || !memcmp(a->shape, b->shape, a->n_dims * sizeof *a->shape));
}

static bool arithmetic(const struct wf_tensor *t)
{
    return wf_dtype_info((enum wf_dtype)t->dtype)->arithmetic;
}

/* The base takes part where it has the tensor in the same shape and as numbers. */
static const struct wf_tensor *base_of(const struct compare *c, const struct wf_tensor *a)
{
    const struct wf_tensor *t = c->has_base ? wf_ckpt_find(&c->ckpt[BASE], a->name) : NULL;
    return t && same_shape(t, a) && arithmetic(t) ? t : NULL;
}

static void plan_blocks(struct pair *p)
{
    size_t widest = 1;
    p->units = p->how == BY_BYTES ? p->tensor[A]->bytes : p->tensor[A]->count;
    for (int s = 0; s < SIDES; s++) {
        if (!p->tensor[s])
            continue;
        const struct wf_dtype_info *info = wf_dtype_info((enum wf_dtype)p->tensor[s]->dtype);
        p->unit[s] = p->how == BY_BYTES ? 1 : info->bits / 8;
        widest = p->unit[s] > widest ? p->unit[s] : widest;
    }
    p->block_units = BLOCK_BYTES / widest;
    p->n_blocks = wf_max_u64(1, p->units / p->block_units + (p->units % p->block_units != 0));
}

static void set_pair(struct compare *c, const struct wf_tensor *a, const struct wf_tensor *b)
{
    struct pair *p = &c->pair;
    *p = (struct pair){.tensor = {a, b, NULL}, .how = BY_HEADER, .n_blocks = 1};
    c->next_block = 0;
    if (!a || !b || !same_shape(a, b))
        return;
    if (arithmetic(a) && arithmetic(b)) {
        p->how = BY_VALUE;
        p->tensor[BASE] = base_of(c, a);
    } else if (a->dtype == b->dtype) {
        p->how = BY_BYTES;
    } else {
        return;
    }
    plan_blocks(p);
}

/* The next name of either side, in order; false behind the last. */
static bool next_pair(struct compare *c)
{
    const struct wf_tensor *t[2];
    for (int s = A; s <= B; s++)
        t[s] = c->next[s] < c->ckpt[s].n_tensors ? &c->ckpt[s].tensors[c->next[s]] : NULL;
    if (!t[A] && !t[B])
        return false;
    int order = !t[A] ? 1 : !t[B] ? -1 : strcmp(t[A]->name, t[B]->name);
    c->next[A] += order <= 0;
    c->next[B] += order >= 0;
    set_pair(c, order <= 0 ? t[A] : NULL, order >= 0 ? t[B] : NULL);
    return true;
}

static bool claim(void *shared, void *worker)
{
    struct compare *c = shared;
    struct worker *w = worker;
    if (c->next_block == c->pair.n_blocks && !next_pair(c))
        return false;
    w->pair = c->pair;
    w->block = c->next_block++;
    return true;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static int open_side(struct compare *c, struct worker *w, int side)
{
    struct side_file *f = &w->file[side];
    uint32_t index = w->pair.tensor[side]->file;
    const struct wf_ckpt_file *from = &c->ckpt[side].files[index];
    struct wf_file_id id;
    if (f->fd >= 0 && f->index == index)
        return WF_OK;
    wf_close(f->fd);
    int s = wf_open_read(c->e, WF_INPUT, from->path, &f->fd, &id);
    if (s)
        return s;
    if (id.bytes != from->id.bytes || id.dev != from->id.dev || id.inode != from->id.inode ||
        id.mtime_ns != from->id.mtime_ns)
        return wf_fail(c->e, WF_INPUT, "%s: the file was changed while weft was reading it",
                       from->path);
    f->index = index;
    posix_fadvise(f->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return WF_OK;
}

/* Reads `n` units of one side's current block, and asks for the block this thread may get next. */
static int read_side(struct compare *c, struct worker *w, int side, size_t n)
{
    const struct pair *p = &w->pair;
    const struct wf_tensor *t = p->tensor[side];
    uint64_t begin = w->block * p->block_units * p->unit[side];
    uint64_t ahead = begin + c->n_threads * p->block_units * p->unit[side];
    int s = open_side(c, w, side);
    if (s)
        return s;
    if (ahead < t->bytes)
        posix_fadvise(w->file[side].fd, (off_t)(t->offset + ahead),
                      (off_t)wf_min_u64(BLOCK_BYTES, t->bytes - ahead), POSIX_FADV_WILLNEED);
    return wf_pread(c->e, w->file[side].fd, c->ckpt[side].files[t->file].path, w->data[side],
                    n * p->unit[side], t->offset + begin);
}

static struct wf_run run_of(const struct worker *w, int side)
{
    const struct wf_tensor *t = w->pair.tensor[side];
    return t ? (struct wf_run){w->data[side], (enum wf_dtype)t->dtype}
             : (struct wf_run){NULL, WF_F64};
}

static int work(void *shared, void *worker)
{
    struct compare *c = shared;
    struct worker *w = worker;
    const struct pair *p = &w->pair;
    w->distance = (struct wf_distance){0};
    w->bytes_equal = false;
    if (p->how == BY_HEADER)
        return WF_OK;
    size_t n = wf_min_u64(p->block_units, p->units - w->block * p->block_units);
    for (int side = 0; side < SIDES; side++) {
        int s = p->tensor[side] ? read_side(c, w, side, n) : WF_OK;
        if (s)
            return s;
    }
    w->bytes_equal = p->tensor[A]->dtype == p->tensor[B]->dtype &&
                     !memcmp(w->data[A], w->data[B], n * p->unit[A]);
    if (p->how == BY_VALUE)
        wf_distance_of(run_of(w, A), run_of(w, B), run_of(w, BASE), n, &w->distance);
    return WF_OK;
}

/* ---- output -----------------------------------------------------------------------------------
 */

/* Whether a cosine stands in the row: with a base, only where the base takes part. */
static double cosine_of(const struct compare *c, const struct pair *p)
{
    return c->has_base && !p->tensor[BASE] ? NAN : wf_distance_cosine(&c->distance);
}

static const char *result_of(const struct compare *c, const struct pair *p)
{
    if (!p->tensor[B])
        return "only_in_a";
    if (!p->tensor[A])
        return "only_in_b";
    if (!same_shape(p->tensor[A], p->tensor[B]))
        return "shape";
    return c->bytes_equal ? "equal" : "different";
}

static void json_side(struct wf_report *r, const char *dtype_key, const char *shape_key,
                      const struct wf_tensor *t)
{
    char shape[WF_SHAPE_TEXT_MAX];
    wf_report_string(r, dtype_key, t ? wf_dtype_info((enum wf_dtype)t->dtype)->name : NULL);
    wf_report_raw(r, shape_key,
                  t ? wf_shape_text(t->shape, t->n_dims, WF_SHAPE_TIGHT, shape) : "null");
}

static void json_row(struct compare *c, const struct pair *p, const char *name)
{
    struct wf_report *r = &c->report;
    const struct wf_distance *d = &c->distance;
    bool values = p->how == BY_VALUE;
    wf_report_object(r, "tensor");
    wf_report_string(r, "name", name);
    wf_report_string(r, "result", result_of(c, p));
    json_side(r, "dtype_a", "shape_a", p->tensor[A]);
    json_side(r, "dtype_b", "shape_b", p->tensor[B]);
    wf_report_bool(r, "bytes_equal", c->bytes_equal);
    wf_report_f64(r, "max_abs", values ? d->largest : NAN);
    wf_report_f64(r, "relative_l2", values ? wf_distance_relative(d) : NAN);
    wf_report_f64(r, "cosine", values ? cosine_of(c, p) : NAN);
    wf_report_u64(r, "non_finite_a", d->bad_a);
    wf_report_u64(r, "non_finite_b", d->bad_b);
    wf_report_close(r);
}

static void text_number(struct wf_report *r, const char *format, double value)
{
    char buf[32] = "-";
    if (!isnan(value))
        snprintf(buf, sizeof buf, format, value);
    wf_report_text(r, "  %12s", buf);
}

/* What a reader must know besides the numbers: types, shapes, non-finite elements. */
static void text_notes(struct compare *c, const struct pair *p)
{
    struct wf_report *r = &c->report;
    const struct wf_tensor *a = p->tensor[A], *b = p->tensor[B];
    const struct wf_distance *d = &c->distance;
    char shape[2][WF_SHAPE_TEXT_MAX];
    if (a && b && a->dtype != b->dtype)
        wf_report_text(r, "  %s / %s", wf_dtype_info((enum wf_dtype)a->dtype)->name,
                       wf_dtype_info((enum wf_dtype)b->dtype)->name);
    if (a && b && !same_shape(a, b)) {
        wf_report_text(r, "  %s", wf_shape_text(a->shape, a->n_dims, WF_SHAPE_SPACED, shape[A]));
        wf_report_text(r, " / %s", wf_shape_text(b->shape, b->n_dims, WF_SHAPE_SPACED, shape[B]));
    }
    if (d->bad_a || d->bad_b)
        wf_report_text(r, "  not finite: %" PRIu64 " / %" PRIu64 ", left out of these numbers",
                       d->bad_a, d->bad_b);
    if (c->has_base && p->how == BY_VALUE && !p->tensor[BASE])
        wf_report_text(r, "  not in the base");
}

static void text_row(struct compare *c, const struct pair *p, const char *name)
{
    struct wf_report *r = &c->report;
    bool values = p->how == BY_VALUE;
    wf_report_name(r, name, c->name_width);
    wf_report_text(r, "  %-9s", result_of(c, p));
    text_number(r, "%.4g", values ? c->distance.largest : NAN);
    text_number(r, "%.4g", values ? wf_distance_relative(&c->distance) : NAN);
    text_number(r, "%.6f", values ? cosine_of(c, p) : NAN);
    text_notes(c, p);
    wf_report_end(r);
}

static void add_to_totals(struct compare *c, const struct pair *p, const char *name)
{
    struct totals *t = &c->totals;
    if (!p->tensor[A] || !p->tensor[B]) {
        t->only[p->tensor[A] ? A : B]++;
        return;
    }
    t->equal += c->bytes_equal;
    t->different += !c->bytes_equal;
    if (c->distance.largest > t->distance.largest)
        t->largest_name = name;
    if (c->has_base && !p->tensor[BASE]) /* its cosine is of another kind */
        c->distance.xx = c->distance.yy = c->distance.xy = 0;
    wf_distance_join(&t->distance, &c->distance);
}

static int commit(void *shared, void *worker)
{
    struct compare *c = shared;
    const struct worker *w = worker;
    const struct pair *p = &w->pair;
    if (w->block == 0) {
        c->distance = (struct wf_distance){0};
        c->bytes_equal = true;
    }
    wf_distance_join(&c->distance, &w->distance);
    c->bytes_equal &= w->bytes_equal;
    if (w->block + 1 < p->n_blocks)
        return WF_OK;
    const char *name = p->tensor[p->tensor[A] ? A : B]->name;
    (c->report.json ? json_row : text_row)(c, p, name);
    add_to_totals(c, p, name);
    /* Nobody is listening: stop; wf_report_finish says why. */
    return c->report.write_errno ? WF_MACHINE : WF_OK;
}

static bool all_equal(const struct totals *t)
{
    return !t->different && !t->only[A] && !t->only[B];
}

static void json_summary(struct compare *c)
{
    struct wf_report *r = &c->report;
    const struct totals *t = &c->totals;
    wf_report_object(r, "summary");
    wf_report_u64(r, "tensors", t->equal + t->different + t->only[A] + t->only[B]);
    wf_report_u64(r, "equal", t->equal);
    wf_report_u64(r, "different", t->different);
    wf_report_u64(r, "only_in_a", t->only[A]);
    wf_report_u64(r, "only_in_b", t->only[B]);
    wf_report_bool(r, "bytes_equal", all_equal(t));
    wf_report_f64(r, "max_abs", t->distance.largest);
    wf_report_string(r, "max_abs_tensor", t->largest_name);
    wf_report_f64(r, "relative_l2", wf_distance_relative(&t->distance));
    wf_report_f64(r, "cosine", wf_distance_cosine(&t->distance));
    wf_report_string(r, "cosine_of", c->has_base ? "deltas" : "tensors");
    wf_report_u64(r, "non_finite_a", t->distance.bad_a);
    wf_report_u64(r, "non_finite_b", t->distance.bad_b);
    wf_report_close(r);
}

static void text_summary(struct compare *c)
{
    struct wf_report *r = &c->report;
    const struct totals *t = &c->totals;
    double cosine = wf_distance_cosine(&t->distance);
    wf_report_text(r, "summary: %" PRIu64 " equal, %" PRIu64 " different", t->equal, t->different);
    wf_report_text(r, ", %" PRIu64 " only in a, %" PRIu64 " only in b", t->only[A], t->only[B]);
    wf_report_end(r);
    wf_report_text(r, "         largest difference %.6g", t->distance.largest);
    if (t->largest_name) {
        wf_report_text(r, " in ");
        wf_report_name(r, t->largest_name, 0);
    }
    wf_report_text(r, "; relative L2 %.6g", wf_distance_relative(&t->distance));
    if (!isnan(cosine))
        wf_report_text(r, "; cosine%s %.6f", c->has_base ? " of the deltas" : "", cosine);
    if (t->distance.bad_a || t->distance.bad_b)
        wf_report_text(r, "; not finite: %" PRIu64 " / %" PRIu64, t->distance.bad_a,
                       t->distance.bad_b);
    wf_report_end(r);
}

static void text_heading(struct compare *c)
{
    static const char *const labels[SIDES] = {"a:    ", "b:    ", "base: "};
    struct wf_report *r = &c->report;
    for (int s = 0; s < SIDES; s++) {
        if (s == BASE && !c->has_base)
            continue;
        wf_report_text(r, "%s", labels[s]);
        wf_report_name(r, c->ckpt[s].place.path, 0);
        wf_report_end(r);
    }
    wf_report_name(r, "tensor", c->name_width);
    wf_report_text(r, "  %-9s  %12s  %12s  %12s", "result", "largest", "relative L2",
                   c->has_base ? "delta cosine" : "cosine");
    wf_report_end(r);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static int open_ckpt(struct compare *c, int side, const char *model)
{
    struct wf_place place;
    int s = wf_hub_resolve(c->e, &c->arena, "", model, NULL, &place);
    return s ? s : wf_ckpt_open(c->e, &c->arena, &place, &c->ckpt[side]);
}

static size_t widest_name(const struct compare *c)
{
    size_t width = strlen("tensor");
    for (int s = A; s <= B; s++)
        for (size_t i = 0; i < c->ckpt[s].n_tensors; i++)
            width = wf_report_widen(width, c->ckpt[s].tensors[i].name);
    return width;
}

/* Sets up workers inside one mapping of n * SIDES blocks, and runs. */
static int run_workers(struct compare *c, unsigned n)
{
    size_t bytes = n * SIDES * BLOCK_BYTES;
    struct worker *workers = wf_alloc(c->e, WF_MEM_META, n, sizeof *workers, "worker threads");
    unsigned char *data = workers ? wf_map_pages(c->e, bytes, "the buffers of a comparison") : NULL;
    int s = data ? WF_OK : wf_err_status(c->e);
    if (s)
        goto out;
    for (unsigned i = 0; i < n; i++)
        for (int side = 0; side < SIDES; side++) {
            workers[i].data[side] = data + (i * (size_t)SIDES + (size_t)side) * BLOCK_BYTES;
            workers[i].file[side].fd = -1;
        }
    s = wf_ordered_run(&(struct wf_ordered){claim, work, commit, c, workers, sizeof *workers, n});
    for (unsigned i = 0; i < n; i++)
        for (int side = 0; side < SIDES; side++)
            wf_close(workers[i].file[side].fd);
out:
    wf_unmap_pages(data, bytes);
    wf_free(workers);
    return s;
}

static int compare_all(struct compare *c, const struct weft_options *o)
{
    c->n_threads = wf_tool_threads(o, wf_tool_memory(o), SIDES * BLOCK_BYTES);
    c->name_width = widest_name(c);
    if (!c->report.json)
        text_heading(c);
    int s = run_workers(c, c->n_threads);
    if (!s)
        (c->report.json ? json_summary : text_summary)(c);
    return s;
}

int wf_diff_run(struct wf_err *e, const struct weft_options *o, const char *a, const char *b,
                const char *base)
{
    struct compare c = {.e = e, .has_base = base != NULL};
    wf_report_open(&c.report, o);
    int s = open_ckpt(&c, A, a);
    if (!s)
        s = open_ckpt(&c, B, b);
    if (!s && base)
        s = open_ckpt(&c, BASE, base);
    if (!s)
        s = compare_all(&c, o);
    int finished = wf_report_finish(&c.report, e);
    if (!s)
        s = finished ? finished : all_equal(&c.totals) ? WF_OK : WF_NO;
    wf_arena_destroy(&c.arena);
    return s;
}
