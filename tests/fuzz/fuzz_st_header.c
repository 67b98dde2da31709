/* fuzz_st_header.c - any bytes as a safetensors header.
 *
 * Input: u64 little-endian number of data bytes, then the header's text. What is accepted must keep
 * every promise of st_header.h, and must read back equal after wf_st_format has written it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/base/num.h"
#include "../../src/format/st_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void must(bool truth)
{
    if (!truth)
        abort();
}

static void check_tensor(const struct wf_st_tensor *t)
{
    uint64_t bytes, count = 1;
    size_t length = strlen(t->name);
    must(length >= 1 && length <= WF_ST_NAME_MAX && wf_utf8_valid(t->name, length, NULL));
    must(t->dtype < WF_DTYPES && t->n_dims <= WF_ST_DIMS_MAX);
    for (unsigned i = 0; i < t->n_dims; i++)
        must(wf_mul_u64(count, t->shape[i], &count));
    must(count == t->count && wf_dtype_bytes((enum wf_dtype)t->dtype, count, &bytes));
    must(t->begin <= t->end && t->end - t->begin == bytes);
}

static void check_header(const struct wf_st_header *h)
{
    uint64_t end = 0;
    for (size_t i = 0; i < h->n_tensors; i++) {
        const struct wf_st_tensor *t = &h->tensors[i];
        check_tensor(t);
        must(t->begin == end);
        end = t->end;
        for (size_t k = 0; k < i && i < 64; k++)
            must(strcmp(h->tensors[k].name, t->name));
    }
    must(h->data_start + end == h->file_bytes);
}

static void check_rewritten(const struct wf_st_header *h, struct wf_arena *a)
{
    struct wf_err e = {0};
    struct wf_str s = {0};
    struct wf_st_header again;
    uint64_t data_bytes = h->file_bytes - h->data_start;
    must(!wf_st_format(&e, h->tensors, h->n_tensors, 8, &s));
    must(s.n % 8 == 0);
    if (data_bytes <= UINT64_MAX - s.n) {
        must(!wf_st_parse(&e, a, "again", s.text + 8, s.n - 8, s.n + data_bytes, &again));
        must(again.n_tensors == h->n_tensors && again.n_metadata == 1);
        for (size_t i = 0; i < h->n_tensors; i++) {
            const struct wf_st_tensor *x = &h->tensors[i], *y = &again.tensors[i];
            must(!strcmp(x->name, y->name) && x->dtype == y->dtype && x->n_dims == y->n_dims &&
                 x->begin == y->begin && x->end == y->end &&
                 !memcmp(x->shape, y->shape, x->n_dims * sizeof *x->shape));
        }
    }
    wf_str_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct wf_err e = {0};
    struct wf_arena a = {0};
    struct wf_st_header h;
    uint64_t file_bytes = 0;
    if (n < 8)
        return 0;
    for (int i = 7; i >= 0; i--)
        file_bytes = file_bytes << 8 | data[i];
    if (!wf_add_u64(file_bytes, n, &file_bytes))
        return 0;
    int s = wf_st_parse(&e, &a, "fuzz", (const char *)data + 8, n - 8, file_bytes, &h);
    must(s == wf_err_status(&e));
    if (s) {
        must(s == WF_INPUT && e.text[0] && h.n_tensors == 0);
    } else {
        check_header(&h);
        check_rewritten(&h, &a);
    }
    wf_arena_destroy(&a);
    return 0;
}
