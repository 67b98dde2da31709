/* addend.h - what is added to a tensor's stored values before a method sees them: an adapter's
 * product (PEFT LoRA), or the kept places of a task delta. A description; the arithmetic is the
 * backend's (product) and delta_places.c's (sparse).
 *
 *   PRODUCT   W'[r][c] = W[r][c] + scale * (row[r][0] col[0][c] + row[r][1] col[1][c] + ...)
 *   SPARSE    W'[p] = value (replace), or W[p] + scale * value, at each kept place p
 *
 * The tensor is seen as a matrix, row after row, whatever its shape. Several addends of one tensor
 * are applied in order. Arithmetic is that of the job: float, or double if an input is F64; a
 * product is summed in the order of k, then scaled, then added, so the result does not depend on
 * how the tensor is cut.
 */
#ifndef WF_ADDEND_H
#define WF_ADDEND_H

#include <stdbool.h>
#include <stdint.h>

struct wf_tensor;
struct wf_delta_part;

enum wf_addend_kind { WF_ADDEND_PRODUCT, WF_ADDEND_SPARSE };

/* One factor as it lies on disk. `transposed`: the file holds the other order of axes. */
struct wf_factor {
    const struct wf_tensor *tensor; /* its `file` counts in the checkpoint that has the addend;
                                       NULL: there is none, and all its numbers are one */
    bool transposed;
    void *values[2]; /* row factor: [rows][rank], column factor: [rank][cols]; [0] of float, [1] of
                        double. NULL until loaded: a tensor that two jobs read, one of which
                        computes in double, has both */
};

struct wf_addend {
    enum wf_addend_kind kind;
    struct wf_addend *next; /* applied after this one; NULL: the last */
    double scale;           /* alpha / r and the like; 1 */
    /* PRODUCT */
    uint64_t rows, cols;
    uint32_t rank;
    struct wf_factor row, col;
    /* SPARSE */
    struct wf_delta_part *part; /* delta_file.h */
    bool replace;
};

#endif
