/* st_rows.h - the tensors of a test's safetensors file, put in order and laid out. */
#ifndef WF_ST_ROWS_H
#define WF_ST_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "../../src/format/st_header.h"

static inline int st_rows_order(const void *left, const void *right)
{
    const struct wf_st_tensor *a = left, *b = right;
    return wf_st_compare((enum wf_dtype)a->dtype, a->name, (enum wf_dtype)b->dtype, b->name);
}

/* Rows with name, type and shape get their count, the canonical order and their place in the data.
 * Returns the bytes of all. */
static inline uint64_t st_rows_lay_out(struct wf_st_tensor *rows, size_t n)
{
    uint64_t at = 0;
    qsort(rows, n, sizeof *rows, st_rows_order);
    for (size_t i = 0; i < n; i++) {
        uint64_t bytes;
        rows[i].count = 1;
        for (unsigned d = 0; d < rows[i].n_dims; d++)
            rows[i].count *= rows[i].shape[d];
        assert_true(wf_dtype_bytes((enum wf_dtype)rows[i].dtype, rows[i].count, &bytes));
        rows[i].begin = at;
        rows[i].end = at += bytes;
    }
    return at;
}

#endif
