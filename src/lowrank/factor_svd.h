/* factor_svd.h - the best approximations of low rank of a matrix, as two factors.
 *
 *   D ~ B A,  B = U sqrt(s) [out, rank],  A = sqrt(s) V' [rank, in]
 *
 * of a product that is given by its own factors, or of a matrix that is given whole. Each column of
 * U has its largest entry (the first of equals) positive, so that factors do not change sign from
 * one machine to another.
 */
#ifndef WF_FACTOR_SVD_H
#define WF_FACTOR_SVD_H

#include <stddef.h>
#include <stdint.h>

#include "../linalg/linalg.h"

struct wf_factors {
    uint32_t outs, ins, rank;
    double *b;    /* [outs][rank] */
    double *a;    /* [rank][ins] */
    double whole; /* squared Frobenius norm of D */
    double kept;  /* of B A */
};

/* b[outs][rank] and a[rank][ins], both used up, become the best approximation of rank `most` or
 * less in *out (wf_factors_free). By two thin QRs and an SVD of rank x rank; D is never formed
 * (arXiv 2310.01886; exact to rounding in double). */
int wf_product_truncate(struct wf_err *e, const struct wf_linalg *la, uint32_t outs, uint32_t ins,
                        uint32_t rank, double *b, double *a, uint32_t most, struct wf_factors *out);

void wf_factors_free(struct wf_factors *f);

/* Bytes that wf_product_truncate takes beside its arguments. */
uint64_t wf_product_bytes(uint64_t outs, uint64_t ins, uint64_t rank);

#endif
