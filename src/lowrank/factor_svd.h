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

/* How many singular values to keep: the fewest with which every wish is met. */
struct wf_cut {
    uint32_t rank;    /* at most this many; 0: no limit */
    double energy;    /* that together hold this share of the squared norm; 0: no wish */
    double threshold; /* all that are larger than this; 0: no wish */
    double whole; /* the squared norm that `energy` is a share of; 0: the sum over those given */
};

/* For s[0..n), descending. 0 only where `threshold` is the one wish, and none is above it. */
uint32_t wf_cut_rank(const struct wf_cut *cut, const double *s, uint32_t n);

/* b[outs][rank] and a[rank][ins], both used up, become the best approximation within `cut` in *out
 * (wf_factors_free). By two thin QRs and an SVD of rank x rank; D is never formed
 * (arXiv 2310.01886; exact to rounding in double). Of rank 0 there are no factors: NULL. */
int wf_product_truncate(struct wf_err *e, const struct wf_linalg *la, uint32_t outs, uint32_t ins,
                        uint32_t rank, double *b, double *a, const struct wf_cut *cut,
                        struct wf_factors *out);

void wf_factors_free(struct wf_factors *f);

/* Bytes that wf_product_truncate takes beside its arguments. */
uint64_t wf_product_bytes(uint64_t outs, uint64_t ins, uint64_t rank);

/* Floating point operations of it, about. */
double wf_product_work(uint64_t outs, uint64_t ins, uint64_t rank);

/* *bytes becomes the most that it was and a call takes of la's device, for factors that keep no
 * more than `kept` of the rank. */
int wf_product_room(struct wf_err *e, const struct wf_linalg *la, uint32_t outs, uint32_t ins,
                    uint32_t rank, uint32_t kept, uint64_t *bytes);

#endif
