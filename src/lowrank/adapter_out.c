/* adapter_out.c - writing a PEFT adapter; see adapter_out.h. */
#include "adapter_out.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "../base/num.h"
#include "../base/str.h"
#include "../format/weight_files.h"

#define DATA_ALIGN 8

/* ---- adapter_config.json ----------------------------------------------------------------------
 */

static void add_text(struct wf_str *s, const char *key, const char *value)
{
    wf_str_printf(s, "  \"%s\": ", key);
    if (value)
        wf_str_json(s, value, strlen(value));
    else
        wf_str_puts(s, "null");
    wf_str_puts(s, ",\n");
}

static void add_flag(struct wf_str *s, const char *key, bool value)
{
    wf_str_printf(s, "  \"%s\": %s,\n", key, value ? "true" : "false");
}

/* An empty list is null, as PEFT saves it. */
static void add_list(struct wf_str *s, const char *key, const char *const *list, size_t n)
{
    wf_str_printf(s, "  \"%s\": %s", key, n ? "[\n" : "null");
    for (size_t i = 0; i < n; i++) {
        wf_str_puts(s, "    ");
        wf_str_json(s, list[i], strlen(list[i]));
        wf_str_puts(s, i + 1 < n ? ",\n" : "\n  ]");
    }
    wf_str_puts(s, ",\n");
}

/* Keys sorted and indented by two, as PEFT writes them. `lora_bias` is younger than the rest, and a
 * PEFT without it refuses the key: it is there when it says something. */
int wf_adapter_facts_write(struct wf_err *e, struct wf_arena *a, const char *folder,
                           const struct wf_adapter_facts *f)
{
    struct wf_str s = {0};
    wf_str_puts(&s, "{\n  \"alpha_pattern\": {},\n  \"auto_mapping\": null,\n");
    add_text(&s, "base_model_name_or_path", f->base_name);
    add_text(&s, "bias", f->bias);
    add_flag(&s, "fan_in_fan_out", f->fan_in_fan_out);
    wf_str_puts(&s, "  \"inference_mode\": true,\n  \"init_lora_weights\": true,\n"
                    "  \"layers_pattern\": null,\n  \"layers_to_transform\": null,\n");
    wf_str_printf(&s, "  \"lora_alpha\": %" PRIu32 ",\n", f->rank);
    if (f->lora_bias)
        add_flag(&s, "lora_bias", true);
    wf_str_puts(&s, "  \"lora_dropout\": 0.0,\n");
    add_list(&s, "modules_to_save", f->whole_modules, f->n_whole_modules);
    wf_str_printf(&s,
                  "  \"peft_type\": \"LORA\",\n  \"r\": %" PRIu32 ",\n  \"rank_pattern\": {},\n"
                  "  \"revision\": null,\n",
                  f->rank);
    add_list(&s, "target_modules", f->targets, f->n_targets);
    add_text(&s, "task_type", f->task_type);
    wf_str_puts(&s, "  \"use_dora\": false,\n  \"use_rslora\": false\n}\n");
    int status = wf_str_finish(&s, e);
    const char *path = status ? NULL : wf_path_join(a, e, folder, WF_ADAPTER_CONFIG_NAME);
    status = path ? wf_write_small(e, path, s.text, s.n) : wf_err_status(e);
    wf_str_free(&s);
    return status;
}

static int by_text(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

int wf_adapter_targets(struct wf_err *e, struct wf_arena *a, const char *const *paths, size_t n,
                       const char *const **out, size_t *n_out)
{
    const char **last = wf_arena_alloc(a, e, n, sizeof *last);
    size_t kept = 0;
    if (!last)
        return WF_MACHINE;
    for (size_t i = 0; i < n; i++)
        last[i] = wf_last_word(paths[i]);
    qsort(last, n, sizeof *last, by_text);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp(last[i], last[i - 1]))
            last[kept++] = last[i];
    *out = last;
    *n_out = kept;
    return WF_OK;
}

/* ---- adapter_model.safetensors ----------------------------------------------------------------
 */

static int in_file_order(const void *left, const void *right)
{
    const struct wf_st_tensor *x = left, *y = right;
    return wf_st_compare((enum wf_dtype)x->dtype, x->name, (enum wf_dtype)y->dtype, y->name);
}

static int lay_out(struct wf_err *e, struct wf_st_tensor *rows, size_t n, uint64_t *bytes)
{
    *bytes = 0;
    if (n)
        qsort(rows, n, sizeof *rows, in_file_order);
    for (size_t i = 0; i < n; i++) {
        struct wf_st_tensor *t = &rows[i];
        uint64_t size;
        bool fits = true;
        t->count = 1;
        for (unsigned d = 0; d < t->n_dims; d++)
            fits &= wf_mul_u64(t->count, t->shape[d], &t->count);
        fits &= wf_dtype_bytes((enum wf_dtype)t->dtype, t->count, &size);
        t->begin = *bytes;
        if (!fits || !wf_add_u64(t->begin, size, &t->end))
            return wf_fail(e, WF_INPUT, "tensor '%s' would be too large for a file", t->name);
        *bytes = t->end;
    }
    return WF_OK;
}

int wf_adapter_out_create(struct wf_err *e, struct wf_arena *a, const char *folder,
                          struct wf_st_tensor *rows, size_t n, struct wf_adapter_out *out)
{
    struct wf_str header = {0};
    uint64_t bytes = 0;
    *out = (struct wf_adapter_out){.rows = rows, .n = n, .file = {.fd = -1, .direct_fd = -1}};
    const char *path = wf_path_join(a, e, folder, WF_ADAPTER_NAME);
    int s = path ? lay_out(e, rows, n, &bytes) : wf_err_status(e);
    if (!s)
        s = wf_st_format(e, rows, n, DATA_ALIGN, &header);
    if (!s) {
        out->data_start = header.n;
        s = wf_outfile_create(e, path, header.n + bytes, false, &out->file);
    }
    if (!s)
        s = wf_outfile_write(e, &out->file, header.text, header.n, 0);
    wf_str_free(&header);
    return s;
}

int wf_adapter_out_put(struct wf_err *e, struct wf_adapter_out *out, enum wf_dtype dtype,
                       const char *name, uint64_t at, size_t n, const void *data)
{
    struct wf_st_tensor key = {.dtype = (uint8_t)dtype, .name = name};
    const struct wf_st_tensor *row = bsearch(&key, out->rows, out->n, sizeof *row, in_file_order);
    if (!row)
        return wf_fail(e, WF_BUG, "internal: no tensor '%s' in the adapter", name);
    return wf_outfile_write(e, &out->file, data, n, out->data_start + row->begin + at);
}

int wf_adapter_out_finish(struct wf_err *e, struct wf_adapter_out *out)
{
    int s = wf_outfile_sync(e, &out->file);
    wf_adapter_out_abandon(out);
    return s;
}

void wf_adapter_out_abandon(struct wf_adapter_out *out)
{
    if (out->rows)
        wf_outfile_close(&out->file);
    *out = (struct wf_adapter_out){0};
}

int wf_adapter_factor_names(struct wf_err *e, struct wf_arena *a, const char *path,
                            enum wf_adapter_kind kind, struct wf_factor_names *out)
{
    bool embedding = kind == WF_ADAPTER_EMBEDDING;
    const char *word = embedding ? "lora_embedding_" : "lora_", *end = embedding ? "" : ".weight";
    out->a = wf_arena_printf(a, e, "base_model.model.%s.%sA%s", path, word, end);
    out->b = wf_arena_printf(a, e, "base_model.model.%s.%sB%s", path, word, end);
    out->bias = wf_arena_printf(a, e, "base_model.model.%s.lora_B.bias", path);
    return out->a && out->b && out->bias ? WF_OK : WF_MACHINE;
}
