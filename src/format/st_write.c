/* st_write.c - writing safetensors headers in the reference writer's canonical form.
 *
 *   [ N: u64 LE ][ {"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],
 *                  "data_offsets":[0,8]}} ][ spaces up to a multiple of align ]
 *
 * Compact, metadata first, tensors in file order.
 */
#include "st_header.h"

#include <string.h>

#include "../base/num.h"

#define LENGTH_BYTES 8

int wf_st_compare(enum wf_dtype a_dtype, const char *a_name, enum wf_dtype b_dtype,
                  const char *b_name)
{
    if (a_dtype != b_dtype)
        return a_dtype > b_dtype ? -1 : 1;
    return strcmp(a_name, b_name);
}

static void put_u64(struct wf_str *s, uint64_t v)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    wf_str_add(s, digits + at, sizeof digits - at);
}

static void put_tensor(struct wf_str *s, const struct wf_st_tensor *t)
{
    wf_str_json(s, t->name, strlen(t->name));
    wf_str_puts(s, ":{\"dtype\":\"");
    wf_str_puts(s, wf_dtype_info((enum wf_dtype)t->dtype)->name);
    wf_str_puts(s, "\",\"shape\":[");
    for (unsigned i = 0; i < t->n_dims; i++) {
        if (i)
            wf_str_add(s, ",", 1);
        put_u64(s, t->shape[i]);
    }
    wf_str_puts(s, "],\"data_offsets\":[");
    put_u64(s, t->begin);
    wf_str_add(s, ",", 1);
    put_u64(s, t->end);
    wf_str_puts(s, "]}");
}

static void put_metadata(struct wf_str *s, const struct wf_st_pair *pairs, size_t n)
{
    wf_str_puts(s, "\"__metadata__\":{\"format\":\"pt\"");
    for (size_t i = 0; i < n; i++) {
        wf_str_add(s, ",", 1);
        wf_str_json(s, pairs[i].key, strlen(pairs[i].key));
        wf_str_add(s, ":", 1);
        wf_str_json(s, pairs[i].value, strlen(pairs[i].value));
    }
    wf_str_add(s, "}", 1);
}

int wf_st_format(struct wf_err *e, const struct wf_st_tensor *tensors, size_t n, uint64_t align,
                 struct wf_str *out)
{
    return wf_st_format_with(e, tensors, n, align, NULL, 0, out);
}

int wf_st_format_with(struct wf_err *e, const struct wf_st_tensor *tensors, size_t n,
                      uint64_t align, const struct wf_st_pair *metadata, size_t n_metadata,
                      struct wf_str *out)
{
    static const char no_length[LENGTH_BYTES];
    size_t start = out->n;
    wf_str_add(out, no_length, sizeof no_length);
    wf_str_add(out, "{", 1);
    put_metadata(out, metadata, n_metadata);
    for (size_t i = 0; i < n; i++) {
        wf_str_add(out, ",", 1);
        put_tensor(out, &tensors[i]);
    }
    wf_str_add(out, "}", 1);
    uint64_t bytes = out->n - start, padded = wf_round_up(bytes, align);
    for (; bytes < padded && !out->failed; bytes++)
        wf_str_add(out, " ", 1);
    int status = wf_str_finish(out, e);
    if (status)
        return status;
    uint64_t length = padded - LENGTH_BYTES;
    if (length > WF_ST_HEADER_MAX)
        return wf_fail(e, WF_USAGE,
                       "a file of %zu tensors would need a header beyond the format's 100 MB; "
                       "lower --shard-size",
                       n);
    for (int i = 0; i < LENGTH_BYTES; i++)
        out->text[start + (size_t)i] = (char)(length >> (8 * i) & 0xff);
    return WF_OK;
}
