/* frame_sum.h - leaves of the canonical tree of sums and maxima, over terms that are computed
 * already. frame_tree.h joins them.
 *
 *   terms[t][block]  --by place in the leaf-->  sums[t][WF_FOLD_LANES]  --halves-->  a leaf's value
 *
 * All in double. Lanes do not mix before the leaf is complete, so the order of every addition is
 * fixed while eight of them (or four, or two) are one instruction.
 */
#ifndef WF_FRAME_SUM_H
#define WF_FRAME_SUM_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "backend.h"
#include "frame_tree.h"

#define SUM_WIDTH 8
typedef double sum_lanes __attribute__((vector_size(SUM_WIDTH * sizeof(double))));
typedef double sum_lanes_any
    __attribute__((vector_size(SUM_WIDTH * sizeof(double)), aligned(8), may_alias));
typedef int64_t sum_mask __attribute__((vector_size(SUM_WIDTH * sizeof(double))));

static void sum_clear(double *sums, uint32_t maxima, uint32_t terms)
{
    for (size_t k = 0; k < (size_t)terms * WF_FOLD_LANES; k++)
        sums[k] = k < (size_t)maxima * WF_FOLD_LANES ? -HUGE_VAL : 0.0;
}

/* Whole rounds of all lanes of one term. */
static void sum_rounds(const double *from, size_t rounds, bool maximum, double *lanes)
{
    sum_lanes_any *to = (sum_lanes_any *)lanes;
    sum_lanes a = to[0], b = to[1], c = to[2], d = to[3];
    const sum_lanes_any *in = (const sum_lanes_any *)from;
    if (maximum) {
        for (size_t k = 0; k < rounds; k++, in += 4) {
            sum_mask above = a > in[0];
            a = (sum_lanes)(((sum_mask)a & above) | ((sum_mask)in[0] & ~above));
            above = b > in[1];
            b = (sum_lanes)(((sum_mask)b & above) | ((sum_mask)in[1] & ~above));
            above = c > in[2];
            c = (sum_lanes)(((sum_mask)c & above) | ((sum_mask)in[2] & ~above));
            above = d > in[3];
            d = (sum_lanes)(((sum_mask)d & above) | ((sum_mask)in[3] & ~above));
        }
    } else {
        for (size_t k = 0; k < rounds; k++, in += 4) {
            a += in[0];
            b += in[1];
            c += in[2];
            d += in[3];
        }
    }
    to[0] = a;
    to[1] = b;
    to[2] = c;
    to[3] = d;
}

/* Adds `count` elements, the first of which belongs to lane `lane`. */
static void sum_add(const double *terms, size_t stride, size_t count, size_t lane, uint32_t maxima,
                    uint32_t n_terms, double *sums)
{
    size_t head = lane ? WF_FOLD_LANES - lane : 0;
    head = head < count ? head : count;
    size_t rounds = (count - head) / WF_FOLD_LANES, tail = head + rounds * WF_FOLD_LANES;
    for (uint32_t t = 0; t < n_terms; t++, terms += stride, sums += WF_FOLD_LANES) {
        bool maximum = t < maxima;
        for (size_t e = 0; e < head; e++)
            sums[lane + e] = sum_join(maximum, sums[lane + e], terms[e]);
        if (rounds)
            sum_rounds(terms + head, rounds, maximum, sums);
        for (size_t e = tail; e < count; e++)
            sums[e - tail] = sum_join(maximum, sums[e - tail], terms[e]);
    }
}

/* Joins the lanes: l with l + 16, then 8, 4, 2, 1. `sums` is used up; out[t] is the value. */
static void sum_leaf(double *sums, uint32_t maxima, uint32_t terms, double *out)
{
    for (uint32_t t = 0; t < terms; t++, sums += WF_FOLD_LANES) {
        bool maximum = t < maxima;
        for (size_t half = WF_FOLD_LANES / 2; half; half /= 2)
            for (size_t l = 0; l < half; l++)
                sums[l] = sum_join(maximum, sums[l], sums[l + half]);
        out[t] = sums[0];
    }
}

#endif
