/* compress.c - an adapter of lower rank; see compress.h.
 *
 * The result's file is laid out from headers alone. Then modules are dealt to threads: each reads
 * its two factors, truncates their product in double, and writes two tensors of the types that it
 * read. The scale is folded into the product first, so the result's is one.
 */
#include "compress.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../base/num.h"
#include "../base/ordered.h"
#include "../base/str.h"
#include "../format/adapter_config.h"
#include "adapter_out.h"
#include "factor_svd.h"
#include "values.h"

#define COPY_BYTES ((size_t)1 << 20)

struct compression {
    struct wf_err *e;
    struct wf_arena arena;
    struct wf_linalg_crew crew;
    const struct wf_adapter *adapter;
    const struct wf_compress_options *options;
    struct wf_lowrank_row *total;
    uint32_t rank;
    struct wf_values values;
    struct wf_factor_names *names; /* of the modules */
    const char **whole_names;
    struct wf_adapter_out out;
    size_t next; /* module to claim */
};

struct worker {
    const struct wf_linalg *la;
    size_t module;
    struct wf_lowrank_row row;
};

double wf_lowrank_energy(const struct wf_lowrank_row *row)
{
    return row->whole > row->kept ? row->kept / row->whole : 1;
}

double wf_lowrank_error(const struct wf_lowrank_row *row)
{
    return row->whole > row->kept ? sqrt((row->whole - row->kept) / row->whole) : 0;
}

static uint64_t outs_of(const struct wf_adapter_module *m)
{
    return m->b->count / m->rank;
}

static uint64_t ins_of(const struct wf_adapter_module *m)
{
    return m->a->count / m->rank;
}

double wf_compress_work(const struct wf_adapter *adapter)
{
    double work = 0;
    for (size_t i = 0; i < adapter->n_modules; i++) {
        const struct wf_adapter_module *m = &adapter->modules[i];
        work += wf_linalg_worth(wf_product_work(outs_of(m), ins_of(m), m->rank));
    }
    return work;
}

uint32_t wf_compress_rank(const struct wf_adapter *adapter, uint32_t rank)
{
    uint64_t possible = 1;
    for (size_t i = 0; i < adapter->n_modules; i++) {
        const struct wf_adapter_module *m = &adapter->modules[i];
        uint64_t own = wf_min_u64(m->rank, wf_min_u64(outs_of(m), ins_of(m)));
        possible = wf_max_u64(possible, own);
    }
    return (uint32_t)wf_min_u64(possible, rank);
}

/* ---- the result's file ------------------------------------------------------------------------
 */

/* Of what is written for a tensor that is computed. */
static enum wf_dtype dtype_of(const struct compression *c, const struct wf_tensor *t)
{
    return c->options->dtype == WF_DTYPE_NONE ? (enum wf_dtype)t->dtype : c->options->dtype;
}

/* The input's shape with another rank along `axis`. */
static int resized(struct compression *c, const char *name, const struct wf_tensor *t,
                   unsigned axis, struct wf_st_tensor *row)
{
    uint64_t *shape = wf_arena_alloc(&c->arena, c->e, t->n_dims, sizeof *shape);
    if (!shape)
        return WF_MACHINE;
    memcpy(shape, t->shape, t->n_dims * sizeof *shape);
    shape[axis] = c->rank;
    *row = (struct wf_st_tensor){
        .name = name, .dtype = (uint8_t)dtype_of(c, t), .n_dims = t->n_dims, .shape = shape};
    return WF_OK;
}

static struct wf_st_tensor as_it_is(const char *name, enum wf_dtype dtype,
                                    const struct wf_tensor *t)
{
    return (struct wf_st_tensor){
        .name = name, .dtype = (uint8_t)dtype, .n_dims = t->n_dims, .shape = t->shape};
}

/* As it was where PEFT knows that form, "base_layer" and all; else in the form that it knows. */
static const char *whole_name(struct compression *c, const struct wf_adapter_whole *w)
{
    if (wf_starts_with(w->tensor->name, "base_model.model."))
        return w->tensor->name;
    return wf_arena_printf(&c->arena, c->e, "base_model.model.%s", w->name);
}

static int create_file(struct compression *c, const char *folder)
{
    const struct wf_adapter *d = c->adapter;
    size_t n = 0, room = 3 * d->n_modules + d->n_wholes;
    struct wf_st_tensor *rows = wf_arena_alloc(&c->arena, c->e, room, sizeof *rows);
    c->names = wf_arena_alloc(&c->arena, c->e, d->n_modules, sizeof *c->names);
    c->whole_names = wf_arena_alloc(&c->arena, c->e, d->n_wholes, sizeof *c->whole_names);
    if (!rows || !c->names || !c->whole_names)
        return WF_MACHINE;
    for (size_t i = 0; i < d->n_modules; i++) {
        const struct wf_adapter_module *m = &d->modules[i];
        int s = wf_adapter_factor_names(c->e, &c->arena, m->path, m->kind, &c->names[i]);
        if (!s)
            s = resized(c, c->names[i].a, m->a, 0, &rows[n++]);
        if (!s)
            s = resized(c, c->names[i].b, m->b, 1, &rows[n++]);
        if (s)
            return s;
        if (m->bias)
            rows[n++] = as_it_is(c->names[i].bias, dtype_of(c, m->bias), m->bias);
    }
    for (size_t i = 0; i < d->n_wholes; i++) {
        const struct wf_tensor *t = d->wholes[i].tensor;
        c->whole_names[i] = whole_name(c, &d->wholes[i]);
        if (!c->whole_names[i])
            return WF_MACHINE;
        rows[n++] = as_it_is(c->whole_names[i], (enum wf_dtype)t->dtype, t);
    }
    return wf_adapter_out_create(c->e, &c->arena, folder, rows, n, &c->out);
}

/* The strings of a list in the input's config. */
static int config_list(struct compression *c, const char *key, const char *const **out, size_t *n)
{
    const struct wf_json *v = wf_json_get(c->adapter->config, key);
    *n = 0;
    if (!v || v->kind != WF_JSON_ARRAY)
        return WF_OK;
    const char **list = wf_arena_alloc(&c->arena, c->e, v->n, sizeof *list);
    if (!list)
        return WF_MACHINE;
    for (size_t i = 0; i < v->n; i++)
        if (v->children[i].kind == WF_JSON_STRING)
            list[(*n)++] = v->children[i].text;
    *out = list;
    return WF_OK;
}

/* The modules that have factors here, not those that the input's config lists. */
static int find_targets(struct compression *c, struct wf_adapter_facts *facts)
{
    const struct wf_adapter *d = c->adapter;
    const char **paths = wf_arena_alloc(&c->arena, c->e, d->n_modules, sizeof *paths);
    if (!paths)
        return WF_MACHINE;
    for (size_t i = 0; i < d->n_modules; i++)
        paths[i] = d->modules[i].path;
    return wf_adapter_targets(c->e, &c->arena, paths, d->n_modules, &facts->targets,
                              &facts->n_targets);
}

static int write_config(struct compression *c, const char *folder)
{
    const struct wf_adapter *d = c->adapter;
    const char *bias = wf_json_string(d->config, "bias");
    struct wf_adapter_facts facts = {.rank = c->rank,
                                     .base_name = c->options->base_name ? c->options->base_name
                                                                        : d->base_name,
                                     .task_type = d->task_type,
                                     .bias = bias ? bias : "none",
                                     .fan_in_fan_out = d->fan_in_fan_out};
    for (size_t i = 0; i < d->n_modules; i++)
        facts.lora_bias |= d->modules[i].bias != NULL;
    int s = find_targets(c, &facts);
    if (!s)
        s = config_list(c, "modules_to_save", &facts.whole_modules, &facts.n_whole_modules);
    return s ? s : wf_adapter_facts_write(c->e, &c->arena, folder, &facts);
}

static int copy_wholes(struct compression *c)
{
    void *buffer = wf_alloc(c->e, WF_MEM_RING, COPY_BYTES, 1, "a copy");
    int s = buffer ? WF_OK : WF_MACHINE;
    for (size_t i = 0; !s && i < c->adapter->n_wholes; i++) {
        const struct wf_tensor *t = c->adapter->wholes[i].tensor;
        for (uint64_t at = 0; !s && at < t->bytes; at += COPY_BYTES) {
            size_t n = wf_min_u64(COPY_BYTES, t->bytes - at);
            s = wf_values_bytes(c->e, &c->values, t, at, n, buffer);
            if (!s)
                s = wf_adapter_out_put(c->e, &c->out, (enum wf_dtype)t->dtype, c->whole_names[i],
                                       at, n, buffer);
        }
    }
    wf_free(buffer);
    return s;
}

/* ---- one module -------------------------------------------------------------------------------
 */

static bool claim(void *shared, void *worker)
{
    struct compression *c = shared;
    struct worker *w = worker;
    if (c->next == c->adapter->n_modules)
        return false;
    w->module = c->next++;
    return true;
}

/* n numbers as stored values of t's type, under `name`. */
static int put(struct compression *c, const struct wf_tensor *t, const char *name,
               const double *values, size_t n)
{
    enum wf_dtype dtype = dtype_of(c, t);
    size_t size = wf_dtype_info(dtype)->bits / 8;
    void *stored = wf_alloc(c->e, WF_MEM_RING, n, size, "a factor");
    int s = stored ? WF_OK : WF_MACHINE;
    if (!s && !wf_values_round(dtype, values, n, stored))
        s = wf_fail(c->e, WF_INPUT, "%s: tensor '%s': the result does not fit into %s",
                    c->adapter->ckpt->place.path, t->name, wf_dtype_info(dtype)->name);
    if (!s)
        s = wf_adapter_out_put(c->e, &c->out, dtype, name, 0, n * size, stored);
    wf_free(stored);
    return s;
}

/* What was found has at most the result's rank; zeros fill it up. */
static int put_factors(struct compression *c, size_t i, const struct wf_factors *f)
{
    const struct wf_adapter_module *m = &c->adapter->modules[i];
    size_t outs = f->outs, ins = f->ins, rank = c->rank;
    double *a = wf_alloc(c->e, WF_MEM_RING, rank * ins, sizeof *a, "a factor");
    double *b = wf_alloc(c->e, WF_MEM_RING, outs * rank, sizeof *b, "a factor");
    int s = a && b ? WF_OK : WF_MACHINE;
    if (!s) {
        memcpy(a, f->a, f->rank * ins * sizeof *a);
        for (size_t r = 0; r < outs; r++)
            memcpy(b + r * rank, f->b + r * f->rank, f->rank * sizeof *b);
        s = put(c, m->a, c->names[i].a, a, rank * ins);
    }
    if (!s)
        s = put(c, m->b, c->names[i].b, b, outs * rank);
    wf_free(b);
    wf_free(a);
    return s;
}

/* The bias of B counts times the scale, which the result does not have. */
static int put_bias(struct compression *c, size_t i)
{
    const struct wf_adapter_module *m = &c->adapter->modules[i];
    double *bias = wf_alloc(c->e, WF_MEM_RING, m->bias->count, sizeof *bias, "a bias");
    int s = bias ? wf_values_read(c->e, &c->values, m->bias, 0, m->bias->count, bias) : WF_MACHINE;
    for (size_t k = 0; !s && k < m->bias->count; k++)
        bias[k] *= m->scale;
    if (!s)
        s = put(c, m->bias, c->names[i].bias, bias, m->bias->count);
    wf_free(bias);
    return s;
}

static int compress_module(struct compression *c, const struct wf_linalg *la, size_t i,
                           struct wf_lowrank_row *row)
{
    const struct wf_adapter_module *m = &c->adapter->modules[i];
    uint32_t outs = (uint32_t)outs_of(m), ins = (uint32_t)ins_of(m);
    struct wf_factors f = {0};
    double *a = wf_alloc(c->e, WF_MEM_RING, m->a->count, sizeof *a, "a factor");
    double *b = wf_alloc(c->e, WF_MEM_RING, m->b->count, sizeof *b, "a factor");
    int s = a && b ? wf_values_read(c->e, &c->values, m->a, 0, m->a->count, a) : WF_MACHINE;
    if (!s)
        s = wf_values_read(c->e, &c->values, m->b, 0, m->b->count, b);
    for (size_t k = 0; !s && k < m->b->count; k++)
        b[k] *= m->scale;
    if (!s)
        s = wf_product_truncate(c->e, la, outs, ins, m->rank, b, a,
                                &(struct wf_cut){.rank = c->rank}, &f);
    if (!s)
        s = put_factors(c, i, &f);
    if (!s && m->bias)
        s = put_bias(c, i);
    *row = (struct wf_lowrank_row){.path = m->path,
                                   .outs = outs,
                                   .ins = ins,
                                   .rank_in = m->rank,
                                   .rank = f.rank,
                                   .whole = f.whole,
                                   .kept = f.kept};
    wf_factors_free(&f);
    wf_free(b);
    wf_free(a);
    return s;
}

static int work(void *shared, void *worker)
{
    struct compression *c = shared;
    struct worker *w = worker;
    if (c->options->stop && *c->options->stop)
        return wf_fail(c->e, WF_STOPPED, "stopped by a signal");
    return compress_module(c, w->la, w->module, &w->row);
}

static int commit(void *shared, void *worker)
{
    struct compression *c = shared;
    const struct worker *w = worker;
    c->total->whole += w->row.whole;
    c->total->kept += w->row.kept;
    if (c->options->row)
        c->options->row(c->options->arg, &w->row);
    return WF_OK;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

/* Threads by what each needs; the widest module must fit. */
static int count_threads(const struct compression *c, unsigned *threads)
{
    uint64_t widest = 1;
    for (size_t i = 0; i < c->adapter->n_modules; i++) {
        const struct wf_adapter_module *m = &c->adapter->modules[i];
        uint64_t outs = outs_of(m), ins = ins_of(m);
        char text[32];
        if (outs > WF_LINALG_SIZE_MAX || ins > WF_LINALG_SIZE_MAX || m->rank > WF_LINALG_SIZE_MAX)
            return wf_fail(c->e, WF_USAGE, "module '%s' is too large: %s values on one side",
                           m->path, wf_format_count(wf_max_u64(outs, ins), text));
        uint64_t own = sizeof(double) * (m->a->count + m->b->count);
        widest = wf_max_u64(widest, 2 * own + wf_product_bytes(outs, ins, m->rank));
    }
    if (widest > c->options->memory_bytes) {
        char need[32], have[32];
        return wf_fail(c->e, WF_MACHINE, "the widest module needs %s of memory; --memory is %s",
                       wf_format_bytes(widest, need),
                       wf_format_bytes(c->options->memory_bytes, have));
    }
    uint64_t n = wf_min_u64(c->options->threads, c->options->memory_bytes / widest);
    n = wf_min_u64(n, wf_min_u64(WF_LINALG_THREADS, c->adapter->n_modules));
    *threads = n ? (unsigned)n : 1;
    return WF_OK;
}

static int find_room(struct wf_err *e, const struct wf_linalg *la, const void *arg, uint64_t *bytes)
{
    const struct compression *c = arg;
    int s = WF_OK;
    for (size_t i = 0; !s && i < c->adapter->n_modules; i++) {
        const struct wf_adapter_module *m = &c->adapter->modules[i];
        s = wf_product_room(e, la, (uint32_t)outs_of(m), (uint32_t)ins_of(m), m->rank, c->rank,
                            bytes);
    }
    return s;
}

/* Every module, by the crew. */
static int compress_all(struct compression *c)
{
    unsigned threads = c->crew.n;
    struct worker *workers = wf_arena_alloc(&c->arena, c->e, threads, sizeof *workers);
    if (!workers)
        return WF_MACHINE;
    for (unsigned i = 0; i < threads; i++)
        workers[i].la = wf_linalg_crew_table(&c->crew, i);
    struct wf_ordered jobs = {.claim = claim,
                              .work = work,
                              .commit = commit,
                              .shared = c,
                              .workers = workers,
                              .worker_bytes = sizeof *workers,
                              .n_workers = threads};
    return wf_ordered_run(&jobs);
}

static int run(struct compression *c, const char *folder)
{
    unsigned threads = 1;
    int s = count_threads(c, &threads);
    if (!s)
        s = wf_linalg_crew_open(c->e, c->options->device, threads, find_room, c, &c->crew);
    if (!s)
        s = wf_values_open(c->e, &c->arena, c->adapter->ckpt, &c->values);
    if (!s)
        s = create_file(c, folder);
    if (!s)
        s = compress_all(c);
    wf_linalg_crew_close(&c->crew); /* a device is claimed no longer than it computes */
    if (!s)
        s = copy_wholes(c);
    c->total->bytes = c->out.file.bytes;
    if (!s)
        s = wf_adapter_out_finish(c->e, &c->out);
    return s ? s : write_config(c, folder);
}

int wf_compress_adapter(struct wf_err *e, const struct wf_adapter *adapter, const char *folder,
                        const struct wf_compress_options *options, struct wf_lowrank_row *total)
{
    struct compression c = {.e = e,
                            .adapter = adapter,
                            .options = options,
                            .total = total,
                            .rank = wf_compress_rank(adapter, options->rank)};
    *total = (struct wf_lowrank_row){.rank = c.rank};
    int s = run(&c, folder);
    wf_adapter_out_abandon(&c.out);
    wf_values_close(&c.values);
    wf_arena_destroy(&c.arena);
    return s;
}
