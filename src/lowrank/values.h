/* values.h - tensors of a checkpoint as numbers in memory, and numbers as stored values.
 */
#ifndef WF_VALUES_H
#define WF_VALUES_H

#include "../format/ckpt.h"

/* A checkpoint whose files are open for reading. */
struct wf_values {
    const struct wf_ckpt *ckpt;
    int *fds;
};

/* A file that is not what it was when the checkpoint was opened is WF_INPUT. On failure nothing
 * stays open; wf_values_close accepts a zeroed one. */
int wf_values_open(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                   struct wf_values *out);
void wf_values_close(struct wf_values *v);

/* Elements [first, first + n) of a tensor of type F64, F32, F16 or BF16. NaN or infinity is
 * WF_INPUT with the element's place. Thread-safe. */
int wf_values_read(struct wf_err *e, const struct wf_values *v, const struct wf_tensor *t,
                   uint64_t first, uint64_t n, double *to);

/* Bytes [at, at + n) of a tensor. Thread-safe. */
int wf_values_bytes(struct wf_err *e, const struct wf_values *v, const struct wf_tensor *t,
                    uint64_t at, size_t n, void *to);

/* n stored values as doubles, which hold all of them exactly. */
void wf_values_widen(enum wf_dtype dtype, const void *from, size_t n, double *to);

/* Rounds to the stored type, once. False if a value does not fit into it. */
bool wf_values_round(enum wf_dtype dtype, const double *from, size_t n, void *to);

#endif
