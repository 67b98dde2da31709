/* inspect.c - print what a checkpoint holds.
 *
 * With JSON, one object a line:
 *   {"kind":"model","path":S,"form":F,"repository":S,"revision":S,"commit":S,"architecture":S,
 *    "model_type":S,"shards":N,"tensors":N,"parameters":N,"bytes":N,"ignored_tensors":N}
 *   {"kind":"adapter",..}, {"kind":"module",..}     form adapter: inspect_adapter.c
 *   {"kind":"delta","base":S,"task":S,"store":S,"density":S}                 form delta
 *   {"kind":"shard","name":S,"bytes":N,"header_xxh128":H}
 *   {"kind":"dtype","dtype":S,"tensors":N,"parameters":N,"bytes":N}
 *   {"kind":"layers","prefix":S,"first":N,"last":N,"layers":N,"tensors":N}
 *   {"kind":"tensor","name":S,"dtype":S,"shape":[..],"parameters":N,"bytes":N,"shard":S}
 *   {"kind":"changed","name":S,"kept":N,"encoding":S,"dtype":S,"bytes":N}    form delta
 * F is folder, file, adapter or delta. What is not known is null. In a delta, a pair of tensors
 * `<name>.positions` and `<name>.values` is one `changed`; any other tensor is a `tensor`.
 */
#include "inspect.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/mem.h"
#include "../base/num.h"
#include "../format/ckpt.h"
#include "../format/shape.h"
#include "../format/st_header.h"
#include "census.h"
#include "inspect_adapter.h"
#include "report.h"

#define LABEL_WIDTH 14
#define GROUPS_SHOWN 24u /* in the heading for people; JSON has all */

struct inspection {
    struct wf_err *e;
    struct wf_report report;
    struct wf_arena arena;
    struct wf_ckpt ckpt;
    struct wf_census census;
    struct wf_adapter_view adapter;     /* of an adapter folder */
    const struct wf_st_pair **metadata; /* sorted by key, equal keys cannot occur */
    bool is_delta;
    size_t name_width;
};

/* ---- task deltas ------------------------------------------------------------------------------
 */

static int by_key(const void *a, const void *b)
{
    const struct wf_st_pair *const *x = a, *const *y = b;
    return strcmp((*x)->key, (*y)->key);
}

static int key_against_pair(const void *key, const void *pair)
{
    return strcmp(key, (*(const struct wf_st_pair *const *)pair)->key);
}

static int sort_metadata(struct inspection *in)
{
    const struct wf_ckpt *c = &in->ckpt;
    in->metadata = wf_arena_alloc(&in->arena, in->e, c->n_metadata, sizeof *in->metadata);
    if (!in->metadata)
        return wf_err_status(in->e);
    for (size_t i = 0; i < c->n_metadata; i++)
        in->metadata[i] = &c->metadata[i];
    qsort(in->metadata, c->n_metadata, sizeof *in->metadata, by_key);
    return WF_OK;
}

/* The metadata entry of that key, NULL if there is none. */
static const char *metadata(const struct inspection *in, const char *key)
{
    const struct wf_st_pair **hit =
        bsearch(key, in->metadata, in->ckpt.n_metadata, sizeof *in->metadata, key_against_pair);
    return hit ? (*hit)->value : NULL;
}

static bool looks_like_delta(const struct inspection *in)
{
    return !in->ckpt.is_folder && metadata(in, "base") && metadata(in, "task") &&
           metadata(in, "store") && metadata(in, "density");
}

/* One changed tensor of a delta. */
struct changed {
    char name[WF_ST_NAME_MAX + 1];
    const char *encoding; /* "-" where the metadata does not say */
    const struct wf_tensor *positions, *values;
};

/* The other half of `t` ("<name>" + from becomes "<name>" + to), NULL if `t` is no such half. */
static const struct wf_tensor *other_half(const struct inspection *in, const struct wf_tensor *t,
                                          const char *from, const char *to)
{
    char name[WF_ST_NAME_MAX + 16];
    if (!wf_ends_with(t->name, from))
        return NULL;
    snprintf(name, sizeof name, "%.*s%s", (int)(strlen(t->name) - strlen(from)), t->name, to);
    return wf_ckpt_find(&in->ckpt, name);
}

/* Fills *out when `t` is the positions of a pair. */
static bool changed_tensor(const struct inspection *in, const struct wf_tensor *t,
                           struct changed *out)
{
    char key[WF_ST_NAME_MAX + 16];
    out->values = other_half(in, t, ".positions", ".values");
    if (!out->values)
        return false;
    snprintf(out->name, sizeof out->name, "%.*s", (int)(strlen(t->name) - strlen(".positions")),
             t->name);
    snprintf(key, sizeof key, "%s.encoding", out->name);
    out->encoding = metadata(in, key);
    if (!out->encoding)
        out->encoding = "-";
    out->positions = t;
    return true;
}

/* ---- the heading ------------------------------------------------------------------------------
 */

static const char *form_of(const struct inspection *in)
{
    if (in->is_delta)
        return "delta";
    if (in->ckpt.is_adapter)
        return "adapter";
    return in->ckpt.is_folder ? "folder" : "file";
}

static const char *architecture(const struct inspection *in)
{
    const struct wf_json *list = wf_json_get(in->ckpt.config, "architectures");
    bool has =
        list && list->kind == WF_JSON_ARRAY && list->n && list->children[0].kind == WF_JSON_STRING;
    return has ? list->children[0].text : NULL;
}

static void label(struct wf_report *r, const char *name)
{
    wf_report_name(r, name, LABEL_WIDTH);
}

static void text_fact(struct wf_report *r, const char *name, const char *value)
{
    if (!value)
        return;
    label(r, name);
    wf_report_name(r, value, 0);
    wf_report_end(r);
}

static void json_model(struct inspection *in)
{
    struct wf_report *r = &in->report;
    const struct wf_ckpt *c = &in->ckpt;
    wf_report_object(r, "model");
    wf_report_string(r, "path", c->place.path);
    wf_report_string(r, "form", form_of(in));
    wf_report_string(r, "repository", c->place.repository);
    wf_report_string(r, "revision", c->place.revision);
    wf_report_string(r, "commit", c->place.commit);
    wf_report_string(r, "architecture", architecture(in));
    wf_report_string(r, "model_type", wf_json_string(c->config, "model_type"));
    wf_report_u64(r, "shards", c->n_files);
    wf_report_u64(r, "tensors", c->n_tensors);
    wf_report_u64(r, "parameters", in->census.parameters);
    wf_report_u64(r, "bytes", in->census.bytes);
    wf_report_u64(r, "ignored_tensors", c->n_ignored);
    wf_report_close(r);
}

static void text_model(struct inspection *in)
{
    static const struct {
        const char *form, *text;
    } forms[] = {{"folder", "model folder"},
                 {"file", "safetensors file"},
                 {"adapter", "adapter (PEFT)"},
                 {"delta", "task delta"}};
    struct wf_report *r = &in->report;
    const struct wf_ckpt *c = &in->ckpt;
    text_fact(r, "path", c->place.path);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (!strcmp(forms[i].form, form_of(in)))
            text_fact(r, "form", forms[i].text);
    text_fact(r, "repository", c->place.repository);
    text_fact(r, "revision", c->place.revision);
    text_fact(r, "commit", c->place.commit);
    text_fact(r, "architecture", architecture(in));
    text_fact(r, "model type", wf_json_string(c->config, "model_type"));
}

static void text_totals(struct inspection *in)
{
    struct wf_report *r = &in->report;
    const struct wf_ckpt *c = &in->ckpt;
    char count[32], bytes[32];
    text_fact(r, "tensors", wf_format_count(c->n_tensors, count));
    text_fact(r, "parameters", wf_format_count(in->census.parameters, count));
    label(r, "bytes");
    wf_report_text(r, "%s (%s)", wf_format_count(in->census.bytes, count),
                   wf_format_bytes(in->census.bytes, bytes));
    wf_report_end(r);
    if (!c->n_ignored)
        return;
    label(r, "ignored");
    wf_report_text(r, "%zu tensors that the index does not list, the first: ", c->n_ignored);
    wf_report_name(r, c->first_ignored, 0);
    wf_report_end(r);
}

static void print_delta(struct inspection *in)
{
    static const char *const keys[] = {"base", "task", "store", "density"};
    struct wf_report *r = &in->report;
    if (!in->is_delta)
        return;
    if (r->json)
        wf_report_object(r, "delta");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        (r->json ? wf_report_string : text_fact)(r, keys[i], metadata(in, keys[i]));
    if (r->json)
        wf_report_close(r);
}

static void print_shards(struct inspection *in)
{
    struct wf_report *r = &in->report;
    char bytes[32], hash[33];
    for (size_t i = 0; i < in->ckpt.n_files; i++) {
        const struct wf_ckpt_file *f = &in->ckpt.files[i];
        if (r->json) {
            wf_report_object(r, "shard");
            wf_report_string(r, "name", f->name);
            wf_report_u64(r, "bytes", f->id.bytes);
            wf_report_string(r, "header_xxh128", wf_hash128_hex(&f->header_hash, hash));
            wf_report_close(r);
            continue;
        }
        label(r, i ? "" : in->ckpt.n_files == 1 ? "file" : "shards");
        wf_report_name(r, f->name, 0);
        wf_report_text(r, "  %s", wf_format_bytes(f->id.bytes, bytes));
        wf_report_end(r);
    }
}

static void print_types(struct inspection *in)
{
    struct wf_report *r = &in->report;
    char tensors[32], parameters[32], bytes[32];
    for (size_t i = 0; i < in->census.n_types; i++) {
        const struct wf_census_type *t = &in->census.types[i];
        const char *name = wf_dtype_info(t->dtype)->name;
        if (r->json) {
            wf_report_object(r, "dtype");
            wf_report_string(r, "dtype", name);
            wf_report_u64(r, "tensors", t->tensors);
            wf_report_u64(r, "parameters", t->parameters);
            wf_report_u64(r, "bytes", t->bytes);
            wf_report_close(r);
            continue;
        }
        label(r, i ? "" : "types");
        wf_report_text(
            r, "%-6s %s tensors, %s parameters, %s", name, wf_format_count(t->tensors, tensors),
            wf_format_count(t->parameters, parameters), wf_format_bytes(t->bytes, bytes));
        wf_report_end(r);
    }
}

static void text_layers(struct wf_report *r, const struct wf_stack *l, const char *prefix,
                        bool first)
{
    uint64_t span = (uint64_t)(l->last - l->first) + 1;
    label(r, first ? "layers" : "");
    wf_report_name(r, *prefix ? prefix : "(no prefix)", 0);
    wf_report_text(r, ": %ld-%ld, %" PRIu64 " tensors", l->first, l->last, l->tensors);
    if (l->layers != span)
        wf_report_text(r, ", %" PRIu64 " of these %" PRIu64 " numbers missing", span - l->layers,
                       span);
    wf_report_end(r);
}

static void print_layers(struct inspection *in)
{
    struct wf_report *r = &in->report;
    size_t n = in->census.stacks.n, shown = r->json ? n : wf_min_u64(n, GROUPS_SHOWN);
    for (size_t i = 0; i < shown; i++) {
        const struct wf_stack *l = &in->census.stacks.list[i];
        char prefix[WF_ST_NAME_MAX + 1];
        snprintf(prefix, sizeof prefix, "%.*s", (int)l->prefix_n, l->name);
        if (!r->json) {
            text_layers(r, l, prefix, i == 0);
            continue;
        }
        wf_report_object(r, "layers");
        wf_report_string(r, "prefix", prefix);
        wf_report_u64(r, "first", (uint64_t)l->first);
        wf_report_u64(r, "last", (uint64_t)l->last);
        wf_report_u64(r, "layers", l->layers);
        wf_report_u64(r, "tensors", l->tensors);
        wf_report_close(r);
    }
    if (shown < n) {
        label(r, "");
        wf_report_text(r, "and %zu more groups", n - shown);
        wf_report_end(r);
    }
}

/* ---- the rows ---------------------------------------------------------------------------------
 */

static void print_tensor(struct inspection *in, const struct wf_tensor *t)
{
    struct wf_report *r = &in->report;
    const char *dtype = wf_dtype_info((enum wf_dtype)t->dtype)->name;
    const char *shard = in->ckpt.files[t->file].name;
    char shape[WF_SHAPE_TEXT_MAX], bytes[32];
    if (r->json) {
        wf_report_object(r, "tensor");
        wf_report_string(r, "name", t->name);
        wf_report_string(r, "dtype", dtype);
        wf_report_raw(r, "shape", wf_shape_text(t->shape, t->n_dims, WF_SHAPE_TIGHT, shape));
        wf_report_u64(r, "parameters", t->count);
        wf_report_u64(r, "bytes", t->bytes);
        wf_report_string(r, "shard", shard);
        wf_report_close(r);
        return;
    }
    wf_report_name(r, t->name, in->name_width);
    wf_report_text(r, "  %-6s  %-16s", dtype,
                   wf_shape_text(t->shape, t->n_dims, WF_SHAPE_SPACED, shape));
    wf_report_text(r, "  %15s  ", wf_format_count(t->bytes, bytes));
    wf_report_name(r, shard, 0);
    wf_report_end(r);
}

static void print_changed(struct inspection *in, const struct changed *d)
{
    struct wf_report *r = &in->report;
    const char *dtype = wf_dtype_info((enum wf_dtype)d->values->dtype)->name;
    uint64_t bytes = d->positions->bytes + d->values->bytes;
    char count[32];
    if (r->json) {
        wf_report_object(r, "changed");
        wf_report_string(r, "name", d->name);
        wf_report_u64(r, "kept", d->values->count);
        wf_report_string(r, "encoding", d->encoding);
        wf_report_string(r, "dtype", dtype);
        wf_report_u64(r, "bytes", bytes);
        wf_report_close(r);
        return;
    }
    wf_report_name(r, d->name, in->name_width);
    wf_report_text(r, "  %-6s  %15s  ", dtype, wf_format_count(d->values->count, count));
    wf_report_name(r, d->encoding, 8);
    wf_report_text(r, "  %15s", wf_format_count(bytes, count));
    wf_report_end(r);
}

static void print_rows(struct inspection *in)
{
    struct wf_report *r = &in->report;
    if (!r->json) {
        wf_report_end(r);
        wf_report_name(r, "tensor", in->name_width);
        if (in->is_delta)
            wf_report_text(r, "  type    %15s  encoding  %15s", "kept", "bytes");
        else
            wf_report_text(r, "  type    %-16s  %15s  file", "shape", "bytes");
        wf_report_end(r);
    }
    for (size_t i = 0; i < in->ckpt.n_tensors && !r->write_errno; i++) {
        const struct wf_tensor *t = &in->ckpt.tensors[i];
        struct changed d;
        if (in->is_delta && other_half(in, t, ".values", ".positions"))
            continue; /* shown with its positions */
        if (in->is_delta && changed_tensor(in, t, &d))
            print_changed(in, &d);
        else
            print_tensor(in, t);
    }
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static size_t widest_name(const struct wf_ckpt *c)
{
    size_t width = strlen("tensor");
    for (size_t i = 0; i < c->n_tensors; i++)
        width = wf_report_widen(width, c->tensors[i].name);
    return width;
}

static int gather(struct inspection *in, const char *model)
{
    struct wf_place place;
    int s = wf_hub_resolve(in->e, &in->arena, "", model, NULL, &place);
    if (!s)
        s = wf_ckpt_open(in->e, &in->arena, &place, &in->ckpt);
    if (!s)
        s = sort_metadata(in);
    if (!s && in->ckpt.is_adapter)
        s = wf_adapter_view_read(in->e, &in->arena, &in->ckpt, &in->adapter);
    if (!s)
        s = wf_census_take(in->e, &in->arena, &in->ckpt, &in->census);
    in->is_delta = !s && looks_like_delta(in);
    in->name_width = widest_name(&in->ckpt);
    return s;
}

int wf_inspect_run(struct wf_err *e, const struct weft_options *o, const char *model)
{
    struct inspection in = {.e = e};
    wf_report_open(&in.report, o);
    int s = gather(&in, model);
    if (!s)
        (in.report.json ? json_model : text_model)(&in);
    if (!s && in.ckpt.is_adapter)
        s = wf_adapter_view_print(e, &in.arena, &in.adapter, &in.report, LABEL_WIDTH);
    if (!s) {
        print_delta(&in);
        print_shards(&in);
        if (!in.report.json)
            text_totals(&in);
        print_types(&in);
        print_layers(&in);
        print_rows(&in);
    }
    int finished = wf_report_finish(&in.report, e);
    wf_arena_destroy(&in.arena);
    return s ? s : finished;
}
