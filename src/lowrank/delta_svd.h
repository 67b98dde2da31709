/* delta_svd.h - the best approximation of low rank of a matrix that is given whole.
 *
 * Where the rank is far below the size by a randomised range finder (Halko, Martinsson, Tropp, SIAM
 * Review 2011): a few products with a thin matrix instead of a full decomposition. Elsewhere by the
 * eigenvectors of the smaller Gram matrix, in double: singular values down to 1e-7 of the largest.
 * In both cases what is found is then the exact truncation of D's projection.
 */
#ifndef WF_DELTA_SVD_H
#define WF_DELTA_SVD_H

#include <stdbool.h>

#include "factor_svd.h"

/* d[outs][ins], which is left as it is; cut->whole is its squared norm. `key` seeds the sketch.
 * In *out, `kept` is the squared norm of the factors' product; `whole` is cut->whole. */
int wf_delta_truncate(struct wf_err *e, const struct wf_linalg *la, uint32_t outs, uint32_t ins,
                      const float *d, uint64_t key, const struct wf_cut *cut,
                      struct wf_factors *out);

/* The same by the exact route, whatever the rank. */
int wf_delta_truncate_exactly(struct wf_err *e, const struct wf_linalg *la, uint32_t outs,
                              uint32_t ins, const float *d, const struct wf_cut *cut,
                              struct wf_factors *out);

/* The same in double throughout, by a full decomposition; d is used up. */
int wf_delta_truncate_wide(struct wf_err *e, const struct wf_linalg *la, uint32_t outs,
                           uint32_t ins, double *d, const struct wf_cut *cut,
                           struct wf_factors *out);

/* Bytes that it takes beside `d`, at most: either of them. */
uint64_t wf_delta_truncate_bytes(uint64_t outs, uint64_t ins, const struct wf_cut *cut, bool wide);

/* *squared: the squared norm of d - b a; d becomes that difference. */
int wf_delta_residual(struct wf_err *e, const struct wf_linalg *la, uint32_t outs, uint32_t ins,
                      uint32_t rank, float *d, const float *b, const float *a, double *squared);
int wf_delta_residual_wide(struct wf_err *e, const struct wf_linalg *la, uint32_t outs,
                           uint32_t ins, uint32_t rank, double *d, const double *b, const double *a,
                           double *squared);

/* Floating point operations of wf_delta_truncate, about. */
double wf_delta_work(uint64_t outs, uint64_t ins, const struct wf_cut *cut, bool wide);

/* *bytes becomes the most that it was and truncation and residual take of la's device; `wide` ones
 * or the others. The factors have no more than the cut's rank. */
int wf_delta_room(struct wf_err *e, const struct wf_linalg *la, uint32_t outs, uint32_t ins,
                  const struct wf_cut *cut, bool wide, uint64_t *bytes);

#endif
