/* distance.h - how far apart two runs of numbers are: exact conversions, sums in double.
 *
 * The shape of the sums is fixed (lanes inside chunks, chunks in order), so that equal data give
 * equal numbers on every machine. An element that is not finite in a or b takes part in nothing but
 * the counts; one that is not finite in the base is left out of xx, yy and xy.
 *
 * Squares of doubles may be too large or too small for a double: sums are of numbers times powers
 * of two, which are 1 unless the numbers need others.
 */
#ifndef WF_DISTANCE_H
#define WF_DISTANCE_H

#include <stddef.h>
#include <stdint.h>

#include "../format/dtype.h"

struct wf_distance {
    double aa, dd;         /* sums of a^2 and (b - a)^2 */
    double xx, yy, xy;     /* of x = a - base and y = b - base; base is 0 where there is none */
    int a_exp, d_exp;      /* aa is of a * 2^-a_exp, dd of (b - a) * 2^-d_exp, ... */
    int x_exp, y_exp;      /* ... xy of x * 2^-x_exp times y * 2^-y_exp */
    double largest;        /* max |b - a| */
    uint64_t bad_a, bad_b; /* NaN and infinite elements */
};

struct wf_run {
    const void *data;    /* aligned for its type; NULL: zeros */
    enum wf_dtype dtype; /* one of the four arithmetic types */
};

/* Sets *out from n elements of each. */
void wf_distance_of(struct wf_run a, struct wf_run b, struct wf_run base, size_t n,
                    struct wf_distance *out);

/* Adds `part` to `sum`. */
void wf_distance_join(struct wf_distance *sum, const struct wf_distance *part);

/* ||b - a|| / ||a||: 0 when both are 0, infinity when only the divisor is. */
double wf_distance_relative(const struct wf_distance *d);

/* NaN when a norm is 0; else within [-1, 1]. */
double wf_distance_cosine(const struct wf_distance *d);

#endif
