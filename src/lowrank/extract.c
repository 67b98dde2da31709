/* extract.c - an adapter from a full fine-tune; see extract.h.
 *
 * Tensors are dealt to threads. Each difference is read, factored, rounded to the stored type, and
 * measured against what was rounded. The one rank of the result is known when all are done: until
 * then factors wait in memory, in their stored type.
 */
#include "extract.h"

#include <math.h>
#include <string.h>

#include "../base/hash.h"
#include "../base/num.h"
#include "../base/ordered.h"
#include "adapter_out.h"
#include "delta_svd.h"
#include "extract_plan.h"
#include "values.h"

#define CHUNK 8192u /* elements compared at once */

/* What became of one item. */
struct outcome {
    bool moved;
    double moved_squared; /* squared norm of the difference; NaN: of no number */
    uint32_t rank;
    void *a, *b; /* A [rank][ins], B [outs][rank] in the tensor's type; wf_free */
};

struct extraction {
    struct wf_err *e;
    struct wf_arena arena;
    struct wf_linalg_crew crew;
    const struct wf_ckpt *model, *base;
    const struct wf_extract_options *options;
    struct wf_lowrank_row *total;
    struct wf_values model_values, base_values;
    struct wf_extract_item *items;
    struct outcome *outcomes;
    size_t n, next;
    uint32_t rank; /* of the result */
    struct wf_adapter_out out;
};

struct worker {
    const struct wf_linalg *la;
    size_t item;
    struct wf_lowrank_row row; /* of a factored weight */
};

static uint64_t outs_of(const struct wf_extract_item *i)
{
    return i->turned ? i->columns : i->rows;
}

static uint64_t ins_of(const struct wf_extract_item *i)
{
    return i->turned ? i->rows : i->columns;
}

static size_t value_bytes(const struct wf_tensor *t)
{
    return wf_dtype_info((enum wf_dtype)t->dtype)->bits / 8;
}

/* ---- differences ------------------------------------------------------------------------------
 */

static int read_both(struct extraction *x, const struct wf_extract_item *item, uint64_t at,
                     size_t n, double *tuned, double *base)
{
    int s = wf_values_read(x->e, &x->model_values, item->tensor, at, n, tuned);
    return s ? s : wf_values_read(x->e, &x->base_values, item->base, at, n, base);
}

/* A difference in memory: of doubles where one of the two is of doubles, else of floats. */
struct difference {
    float *single;
    double *wide;
};

static bool is_wide(const struct wf_extract_item *item)
{
    return item->tensor->dtype == WF_F64 || item->base->dtype == WF_F64;
}

/* The difference, chunk by chunk: its values and its squared norm. */
static int subtract(struct extraction *x, const struct wf_extract_item *item,
                    const struct difference *to, double *squared)
{
    double tuned[CHUNK], base[CHUNK];
    int s = WF_OK;
    *squared = 0;
    for (uint64_t at = 0; !s && at < item->tensor->count; at += CHUNK) {
        size_t n = wf_min_u64(CHUNK, item->tensor->count - at);
        s = read_both(x, item, at, n, tuned, base);
        for (size_t i = 0; !s && i < n; i++) {
            double d = tuned[i] - base[i];
            *squared += d * d;
            if (to->wide)
                to->wide[at + i] = d;
            else
                to->single[at + i] = (float)d;
        }
    }
    return s;
}

/* The same where nothing is computed: equal bytes are equal, whatever they mean, and a difference
 * that is no finite number is NaN. */
static int weigh(struct extraction *x, const struct wf_extract_item *item, double *squared)
{
    const struct wf_tensor *t = item->tensor, *b = item->base;
    double raw_tuned[CHUNK], raw_base[CHUNK], tuned[CHUNK], base[CHUNK];
    int s = WF_OK;
    *squared = 0;
    for (uint64_t at = 0; !s && at < t->count; at += CHUNK) {
        size_t n = wf_min_u64(CHUNK, t->count - at), size = value_bytes(t), other = value_bytes(b);
        s = wf_values_bytes(x->e, &x->model_values, t, at * size, n * size, raw_tuned);
        if (!s)
            s = wf_values_bytes(x->e, &x->base_values, b, at * other, n * other, raw_base);
        if (s || (t->dtype == b->dtype && !memcmp(raw_tuned, raw_base, n * size)))
            continue;
        wf_values_widen((enum wf_dtype)t->dtype, raw_tuned, n, tuned);
        wf_values_widen((enum wf_dtype)b->dtype, raw_base, n, base);
        for (size_t i = 0; i < n; i++)
            *squared += (tuned[i] - base[i]) * (tuned[i] - base[i]);
    }
    if (!isfinite(*squared))
        *squared = NAN;
    return s;
}

/* Tensors that are no numbers to weft: are their bytes equal? */
static int compare_bytes(struct extraction *x, const struct wf_extract_item *item, bool *moved)
{
    unsigned char tuned[CHUNK], base[CHUNK];
    int s = WF_OK;
    *moved = item->tensor->dtype != item->base->dtype;
    for (uint64_t at = 0; !s && !*moved && at < item->tensor->bytes; at += CHUNK) {
        size_t n = wf_min_u64(CHUNK, item->tensor->bytes - at);
        s = wf_values_bytes(x->e, &x->model_values, item->tensor, at, n, tuned);
        if (!s)
            s = wf_values_bytes(x->e, &x->base_values, item->base, at, n, base);
        *moved = !s && memcmp(tuned, base, n);
    }
    return s;
}

static bool is_number(const struct wf_tensor *t)
{
    return t && wf_dtype_info((enum wf_dtype)t->dtype)->arithmetic;
}

static int compare(struct extraction *x, const struct wf_extract_item *item, struct outcome *o)
{
    o->moved_squared = NAN;
    if (!item->base) {
        o->moved = item->role == WF_ROLE_SAVE; /* else excluded, and of another shape */
        return WF_OK;
    }
    if (!is_number(item->tensor) || !is_number(item->base))
        return compare_bytes(x, item, &o->moved);
    int s = weigh(x, item, &o->moved_squared);
    o->moved = !s && (isnan(o->moved_squared) || o->moved_squared > 0);
    return s;
}

/* ---- factors ----------------------------------------------------------------------------------
 */

/* from[rows][columns] of doubles that `dtype` holds exactly, as stored values; turned: transposed.
 */
static void *stored(struct wf_err *e, enum wf_dtype dtype, const double *from, size_t rows,
                    size_t columns, bool turned)
{
    double *flat = wf_alloc(e, WF_MEM_RING, rows * columns, sizeof *flat, "a factor");
    void *to = wf_alloc(e, WF_MEM_RING, rows * columns, wf_dtype_info(dtype)->bits / 8, "a factor");
    for (size_t r = 0; flat && to && r < rows; r++)
        for (size_t c = 0; c < columns; c++)
            flat[turned ? c * rows + r : r * columns + c] = from[r * columns + c];
    if (flat && to)
        wf_values_round(dtype, flat, rows * columns, to);
    wf_free(flat);
    if (!flat) {
        wf_free(to);
        return NULL;
    }
    return to;
}

/* Rounds to the stored type and back; *single gets the same as floats. */
static int settle(struct extraction *x, const struct wf_tensor *t, double *values, size_t n,
                  float **single)
{
    enum wf_dtype dtype = (enum wf_dtype)t->dtype;
    void *rounded = wf_alloc(x->e, WF_MEM_RING, n, value_bytes(t), "a factor");
    *single = wf_alloc(x->e, WF_MEM_RING, n, sizeof **single, "a factor");
    int s = rounded && *single ? WF_OK : WF_MACHINE;
    if (!s && !wf_values_round(dtype, values, n, rounded))
        s = wf_fail(x->e, WF_INPUT, "%s: tensor '%s': the factors do not fit into %s",
                    x->model->place.path, t->name, wf_dtype_info(dtype)->name);
    if (!s)
        wf_values_widen(dtype, rounded, n, values);
    for (size_t i = 0; !s && i < n; i++)
        (*single)[i] = (float)values[i];
    wf_free(rounded);
    return s;
}

/* The factors of d, settled: into the outcome, and what they miss into *missed. */
static int keep(struct extraction *x, const struct wf_linalg *la,
                const struct wf_extract_item *item, struct difference *d, struct wf_factors *f,
                struct outcome *o, double *missed)
{
    enum wf_dtype dtype = (enum wf_dtype)item->tensor->dtype;
    size_t rows = item->rows, columns = item->columns, rank = f->rank;
    float *left = NULL, *right = NULL;
    int s = settle(x, item->tensor, f->b, rows * rank, &left);
    if (!s)
        s = settle(x, item->tensor, f->a, rank * columns, &right);
    if (!s) {
        s = d->wide ? wf_delta_residual_wide(x->e, la, item->rows, item->columns, f->rank, d->wide,
                                             f->b, f->a, missed)
                    : wf_delta_residual(x->e, la, item->rows, item->columns, f->rank, d->single,
                                        left, right, missed);
    }
    if (!s) {
        o->rank = f->rank;
        o->b = item->turned ? stored(x->e, dtype, f->a, rank, columns, true)
                            : stored(x->e, dtype, f->b, rows, rank, false);
        o->a = item->turned ? stored(x->e, dtype, f->b, rows, rank, true)
                            : stored(x->e, dtype, f->a, rank, columns, false);
        s = o->a && o->b ? WF_OK : WF_MACHINE;
    }
    wf_free(right);
    wf_free(left);
    return s;
}

static int allot(struct extraction *x, const struct wf_extract_item *item, struct difference *d)
{
    size_t n = item->tensor->count;
    *d = (struct difference){0};
    if (is_wide(item))
        d->wide = wf_alloc(x->e, WF_MEM_RING, n, sizeof *d->wide, "a difference");
    else
        d->single = wf_alloc(x->e, WF_MEM_RING, n, sizeof *d->single, "a difference");
    return d->wide || d->single ? WF_OK : WF_MACHINE;
}

/* The wide route uses the difference up, so it is read once more to be measured. */
static int truncate_difference(struct extraction *x, const struct wf_linalg *la,
                               const struct wf_extract_item *item, struct difference *d,
                               uint64_t key, const struct wf_cut *cut, struct wf_factors *f)
{
    if (!d->wide)
        return wf_delta_truncate(x->e, la, item->rows, item->columns, d->single, key, cut, f);
    double squared;
    int s = wf_delta_truncate_wide(x->e, la, item->rows, item->columns, d->wide, cut, f);
    return s ? s : subtract(x, item, d, &squared);
}

/* A weight that moved and has no factors (of rank 0, by the threshold) is not in the adapter. */
static int factor(struct extraction *x, const struct wf_linalg *la,
                  const struct wf_extract_item *item, struct outcome *o, struct wf_lowrank_row *row)
{
    struct wf_cut cut = x->options->cut;
    struct wf_factors f = {0};
    struct wf_hash128 hash = wf_xxh128(item->tensor->name, strlen(item->tensor->name));
    uint64_t key; /* of the sketch: the same in every run */
    memcpy(&key, hash.bytes, sizeof key);
    double missed = 0;
    struct difference d;
    int s = allot(x, item, &d);
    if (!s)
        s = subtract(x, item, &d, &o->moved_squared);
    cut.whole = o->moved_squared;
    o->moved = o->moved_squared > 0;
    if (!s && o->moved)
        s = truncate_difference(x, la, item, &d, key, &cut, &f);
    if (!s && f.rank)
        s = keep(x, la, item, &d, &f, o, &missed);
    *row = (struct wf_lowrank_row){.path = item->path,
                                   .outs = (uint32_t)outs_of(item),
                                   .ins = (uint32_t)ins_of(item),
                                   .rank = f.rank,
                                   .whole = o->moved_squared,
                                   .kept = o->moved_squared - missed};
    wf_factors_free(&f);
    wf_free(d.wide);
    wf_free(d.single);
    return s;
}

/* ---- all items --------------------------------------------------------------------------------
 */

static bool claim(void *shared, void *worker)
{
    struct extraction *x = shared;
    struct worker *w = worker;
    if (x->next == x->n)
        return false;
    w->item = x->next++;
    return true;
}

static int work(void *shared, void *worker)
{
    struct extraction *x = shared;
    struct worker *w = worker;
    const struct wf_extract_item *item = &x->items[w->item];
    struct outcome *o = &x->outcomes[w->item];
    if (x->options->stop && *x->options->stop)
        return wf_fail(x->e, WF_STOPPED, "stopped by a signal");
    return item->role == WF_ROLE_FACTOR ? factor(x, w->la, item, o, &w->row) : compare(x, item, o);
}

static int commit(void *shared, void *worker)
{
    struct extraction *x = shared;
    const struct worker *w = worker;
    const struct wf_extract_item *item = &x->items[w->item];
    const struct outcome *o = &x->outcomes[w->item];
    const struct wf_extract_options *opt = x->options;
    if (!o->moved)
        return WF_OK;
    if (item->role == WF_ROLE_FACTOR && o->rank) {
        x->rank = (uint32_t)wf_max_u64(x->rank, o->rank);
        x->total->whole += w->row.whole;
        x->total->kept += w->row.kept;
        if (opt->row)
            opt->row(opt->arg, &w->row);
        return WF_OK;
    }
    bool saved = item->role == WF_ROLE_SAVE;
    if (!isnan(o->moved_squared)) {
        x->total->whole += o->moved_squared;
        x->total->kept += saved ? o->moved_squared : 0;
    }
    if (opt->other)
        opt->other(opt->arg, item->tensor, saved ? WF_EXTRACT_SAVED : WF_EXTRACT_LOST,
                   sqrt(o->moved_squared));
    return WF_OK;
}

/* ---- memory -----------------------------------------------------------------------------------
 */

/* Threads by what each needs beside the factors that wait. */
static int count_threads(const struct extraction *x, unsigned *threads)
{
    const struct wf_extract_options *o = x->options;
    uint64_t widest = 1, waiting = 0;
    for (size_t i = 0; i < x->n; i++) {
        const struct wf_extract_item *item = &x->items[i];
        if (item->role != WF_ROLE_FACTOR)
            continue;
        uint64_t rank = wf_min_u64(item->rows, item->columns), sides = item->rows + item->columns;
        rank = o->cut.rank ? wf_min_u64(rank, o->cut.rank) : rank;
        widest = wf_max_u64(
            widest, (is_wide(item) ? sizeof(double) : sizeof(float)) * item->tensor->count +
                        (8 + sizeof(double)) * 2 * sides * rank +
                        wf_delta_truncate_bytes(item->rows, item->columns, &o->cut, is_wide(item)));
        if (o->cut.rank)
            waiting += rank * sides * value_bytes(item->tensor);
    }
    char need[32], have[32];
    if (widest + waiting > o->memory_bytes)
        return wf_fail(x->e, WF_MACHINE, "extract-lora needs %s of memory here; --memory is %s",
                       wf_format_bytes(widest + waiting, need),
                       wf_format_bytes(o->memory_bytes, have));
    uint64_t n = wf_min_u64(o->threads, (o->memory_bytes - waiting) / widest);
    n = wf_min_u64(n, wf_min_u64(WF_LINALG_THREADS, x->n));
    *threads = n ? (unsigned)n : 1;
    return WF_OK;
}

/* ---- the result -------------------------------------------------------------------------------
 */

static bool is_kept(const struct extraction *x, size_t i)
{
    return x->outcomes[i].rank || (x->outcomes[i].moved && x->items[i].role == WF_ROLE_SAVE);
}

/* Shape of a factor: [rank, ins] or [outs, rank], with the axes of a kernel behind. */
static int factor_row(struct extraction *x, const struct wf_extract_item *item, bool is_a,
                      const char *name, struct wf_st_tensor *row)
{
    const struct wf_tensor *t = item->tensor;
    uint64_t *shape = wf_arena_alloc(&x->arena, x->e, t->n_dims, sizeof *shape);
    if (!shape)
        return WF_MACHINE;
    for (unsigned d = 2; d < t->n_dims; d++)
        shape[d] = is_a ? t->shape[d] : 1;
    shape[0] = is_a ? x->rank : outs_of(item);
    shape[1] = !is_a ? x->rank : t->n_dims > 2 ? t->shape[1] : ins_of(item);
    *row =
        (struct wf_st_tensor){.name = name, .dtype = t->dtype, .n_dims = t->n_dims, .shape = shape};
    return WF_OK;
}

static int create_file(struct extraction *x, const char *folder, struct wf_factor_names *names)
{
    struct wf_st_tensor *rows = wf_arena_alloc(&x->arena, x->e, 2 * x->n, sizeof *rows);
    size_t n = 0;
    int s = rows ? WF_OK : WF_MACHINE;
    for (size_t i = 0; !s && i < x->n; i++) {
        const struct wf_extract_item *item = &x->items[i];
        const struct wf_tensor *t = item->tensor;
        if (!is_kept(x, i))
            continue;
        if (item->role == WF_ROLE_SAVE) {
            names[i].a = wf_arena_printf(&x->arena, x->e, "base_model.model.%s", t->name);
            s = names[i].a ? WF_OK : WF_MACHINE;
            rows[n++] = (struct wf_st_tensor){
                .name = names[i].a, .dtype = t->dtype, .n_dims = t->n_dims, .shape = t->shape};
            continue;
        }
        s = wf_adapter_factor_names(x->e, &x->arena, item->path, item->kind, &names[i]);
        if (!s)
            s = factor_row(x, item, true, names[i].a, &rows[n++]);
        if (!s)
            s = factor_row(x, item, false, names[i].b, &rows[n++]);
    }
    return s ? s : wf_adapter_out_create(x->e, &x->arena, folder, rows, n, &x->out);
}

/* rows of `n` bytes each become rows of `wide` bytes in the file, zeros behind; `rows_out` of them.
 */
static int put_padded(struct extraction *x, const struct wf_tensor *t, const char *name,
                      const void *from, size_t rows, size_t n, size_t rows_out, size_t wide)
{
    unsigned char *padded = wf_alloc(x->e, WF_MEM_RING, rows_out, wide, "a factor");
    if (!padded)
        return WF_MACHINE;
    for (size_t r = 0; r < rows; r++)
        memcpy(padded + r * wide, (const unsigned char *)from + r * n, n);
    int s = wf_adapter_out_put(x->e, &x->out, (enum wf_dtype)t->dtype, name, 0, rows_out * wide,
                               padded);
    wf_free(padded);
    return s;
}

static int put_factors(struct extraction *x, size_t i, const struct wf_factor_names *names)
{
    const struct wf_extract_item *item = &x->items[i];
    const struct outcome *o = &x->outcomes[i];
    size_t size = value_bytes(item->tensor), outs = outs_of(item), ins = ins_of(item);
    int s = put_padded(x, item->tensor, names->a, o->a, o->rank, ins * size, x->rank, ins * size);
    return s ? s
             : put_padded(x, item->tensor, names->b, o->b, outs, o->rank * size, outs,
                          x->rank * size);
}

static int put_whole(struct extraction *x, const struct wf_tensor *t, const char *name)
{
    unsigned char chunk[CHUNK];
    int s = WF_OK;
    for (uint64_t at = 0; !s && at < t->bytes; at += CHUNK) {
        size_t n = wf_min_u64(CHUNK, t->bytes - at);
        s = wf_values_bytes(x->e, &x->model_values, t, at, n, chunk);
        if (!s)
            s = wf_adapter_out_put(x->e, &x->out, (enum wf_dtype)t->dtype, name, at, n, chunk);
    }
    return s;
}

static int write_tensors(struct extraction *x, const char *folder)
{
    struct wf_factor_names *names = wf_arena_alloc(&x->arena, x->e, x->n, sizeof *names);
    int s = names ? create_file(x, folder, names) : WF_MACHINE;
    for (size_t i = 0; !s && i < x->n; i++)
        if (is_kept(x, i))
            s = x->items[i].role == WF_ROLE_SAVE ? put_whole(x, x->items[i].tensor, names[i].a)
                                                 : put_factors(x, i, &names[i]);
    x->total->bytes = x->out.file.bytes;
    return s ? s : wf_adapter_out_finish(x->e, &x->out);
}

/* "CAUSAL_LM" and the like, from the name of the model's class. */
static const char *task_type(const struct wf_ckpt *model)
{
    static const char *const kinds[][2] = {{"ForCausalLM", "CAUSAL_LM"},
                                           {"LMHeadModel", "CAUSAL_LM"},
                                           {"ForConditionalGeneration", "SEQ_2_SEQ_LM"},
                                           {"ForSequenceClassification", "SEQ_CLS"},
                                           {"ForTokenClassification", "TOKEN_CLS"}};
    const struct wf_json *list = wf_json_get(model->config, "architectures");
    if (!list || list->kind != WF_JSON_ARRAY || !list->n ||
        list->children[0].kind != WF_JSON_STRING)
        return NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (wf_ends_with(list->children[0].text, kinds[i][0]))
            return kinds[i][1];
    return NULL;
}

/* Modules of tensors saved whole; a bias of a factored weight is a trained bias instead. */
static int find_whole_modules(struct extraction *x, struct wf_adapter_facts *facts)
{
    const char **modules = wf_arena_alloc(&x->arena, x->e, x->n, sizeof *modules);
    if (!modules)
        return WF_MACHINE;
    for (size_t i = 0; i < x->n; i++) {
        const char *name = x->items[i].tensor->name, *dot = strrchr(name, '.');
        if (!is_kept(x, i) || x->items[i].role != WF_ROLE_SAVE)
            continue;
        const char *path =
            wf_arena_strndup(&x->arena, x->e, name, dot ? (size_t)(dot - name) : strlen(name));
        if (!path)
            return WF_MACHINE;
        bool factored = false;
        for (size_t k = 0; k < x->n; k++)
            factored |= is_kept(x, k) && x->items[k].role == WF_ROLE_FACTOR &&
                        !strcmp(x->items[k].path, path);
        if (factored)
            facts->bias = "all";
        else if (!facts->n_whole_modules || strcmp(modules[facts->n_whole_modules - 1], path))
            modules[facts->n_whole_modules++] = path;
    }
    facts->whole_modules = modules;
    return WF_OK;
}

static int write_config(struct extraction *x, const char *folder)
{
    struct wf_adapter_facts facts = {.rank = x->rank,
                                     .base_name = x->options->base_name,
                                     .task_type = task_type(x->model),
                                     .bias = "none"};
    bool *kept = wf_arena_alloc(&x->arena, x->e, x->n, sizeof *kept);
    if (!kept)
        return WF_MACHINE;
    for (size_t i = 0; i < x->n; i++) {
        kept[i] = is_kept(x, i);
        facts.fan_in_fan_out |=
            kept[i] && x->items[i].turned && x->items[i].kind == WF_ADAPTER_LINEAR;
    }
    int s =
        wf_extract_targets(x->e, &x->arena, x->items, kept, x->n, &facts.targets, &facts.n_targets);
    if (!s)
        s = find_whole_modules(x, &facts);
    return s ? s : wf_adapter_facts_write(x->e, &x->arena, folder, &facts);
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* An adapter without factors is none that PEFT loads. */
static int check_outcome(struct extraction *x)
{
    size_t below = 0, whole = 0;
    for (size_t i = 0; i < x->n; i++) {
        if (x->outcomes[i].rank)
            return WF_OK;
        below += x->outcomes[i].moved && x->items[i].role == WF_ROLE_FACTOR;
        whole += is_kept(x, i);
    }
    const char *model = x->model->place.path, *base = x->base->place.path;
    if (below)
        return wf_fail(x->e, WF_USAGE,
                       "no weight of %s differs from %s by a singular value above --threshold; "
                       "choose a lower one",
                       model, base);
    if (whole)
        return wf_fail(x->e, WF_USAGE,
                       "%s: all that differs from %s would be saved whole, and an adapter needs "
                       "factors; give --save-whole fewer tensors",
                       model, base);
    return wf_fail(x->e, WF_USAGE, "%s differs from %s in no tensor that would be in the adapter",
                   model, base);
}

static int find_room(struct wf_err *e, const struct wf_linalg *la, const void *arg, uint64_t *bytes)
{
    const struct extraction *x = arg;
    int s = WF_OK;
    for (size_t i = 0; !s && i < x->n; i++) {
        const struct wf_extract_item *item = &x->items[i];
        if (item->role == WF_ROLE_FACTOR)
            s = wf_delta_room(e, la, item->rows, item->columns, &x->options->cut, is_wide(item),
                              bytes);
    }
    return s;
}

/* Every tensor, by the crew. */
static int deal_out(struct extraction *x)
{
    unsigned threads = x->crew.n;
    struct worker *workers = wf_arena_alloc(&x->arena, x->e, threads, sizeof *workers);
    if (!workers)
        return WF_MACHINE;
    for (unsigned i = 0; i < threads; i++)
        workers[i].la = wf_linalg_crew_table(&x->crew, i);
    struct wf_ordered jobs = {.claim = claim,
                              .work = work,
                              .commit = commit,
                              .shared = x,
                              .workers = workers,
                              .worker_bytes = sizeof *workers,
                              .n_workers = threads};
    return wf_ordered_run(&jobs);
}

static int factor_all(struct extraction *x)
{
    unsigned threads = 1;
    int s = count_threads(x, &threads);
    if (!s)
        s = wf_linalg_crew_open(x->e, x->options->device, threads, find_room, x, &x->crew);
    if (!s)
        s = deal_out(x);
    wf_linalg_crew_close(&x->crew); /* a device is claimed no longer than it computes */
    return s ? s : check_outcome(x);
}

static int run(struct extraction *x, const char *folder)
{
    int s = wf_extract_plan(x->e, &x->arena, x->model, x->base, x->options, &x->items);
    x->outcomes = s ? NULL : wf_arena_alloc(&x->arena, x->e, x->n, sizeof *x->outcomes);
    if (!s && !x->outcomes)
        s = WF_MACHINE;
    if (!s)
        s = wf_values_open(x->e, &x->arena, x->model, &x->model_values);
    if (!s)
        s = wf_values_open(x->e, &x->arena, x->base, &x->base_values);
    if (!s)
        s = factor_all(x);
    if (!s)
        s = write_tensors(x, folder);
    x->total->rank = x->rank;
    return s ? s : write_config(x, folder);
}

double wf_extract_work(const struct wf_ckpt *model, const struct wf_cut *cut)
{
    double work = 0;
    for (size_t i = 0; i < model->n_tensors; i++) {
        const struct wf_tensor *t = &model->tensors[i];
        if (t->n_dims < 2 || !t->count || !is_number(t))
            continue;
        uint64_t rows = t->shape[0], columns = t->count / rows;
        work += wf_linalg_worth(wf_delta_work(rows, columns, cut, t->dtype == WF_F64));
    }
    return work;
}

int wf_extract_adapter(struct wf_err *e, const struct wf_ckpt *model, const struct wf_ckpt *base,
                       const char *folder, const struct wf_extract_options *options,
                       struct wf_lowrank_row *total)
{
    struct extraction x = {.e = e,
                           .model = model,
                           .base = base,
                           .options = options,
                           .total = total,
                           .n = model->n_tensors,
                           .rank = 1};
    *total = (struct wf_lowrank_row){0};
    int s = run(&x, folder);
    for (size_t i = 0; x.outcomes && i < x.n; i++) {
        wf_free(x.outcomes[i].a);
        wf_free(x.outcomes[i].b);
    }
    wf_adapter_out_abandon(&x.out);
    wf_values_close(&x.base_values);
    wf_values_close(&x.model_values);
    wf_arena_destroy(&x.arena);
    return s;
}
