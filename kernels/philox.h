/* philox.h - Philox4x32-10: random words as a function of a key and a counter, in C and CUDA.
 *
 * Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. No state: the
 * draw of an element is the same whoever computes it, and in whatever order.
 */
#ifndef WF_PHILOX_H
#define WF_PHILOX_H

#include <stdint.h>

#include "dtype_conv.h"

#define WF_PHILOX_ROUNDS 10
#define WF_PHILOX_M0 0xd2511f53u
#define WF_PHILOX_M1 0xcd9e8d57u
#define WF_PHILOX_W0 0x9e3779b9u /* golden ratio */
#define WF_PHILOX_W1 0xbb67ae85u /* square root of 3, less one */

/* Replaces the counter by its four random words. */
WF_CONV void wf_philox(uint32_t k0, uint32_t k1, uint32_t c[4])
{
    for (int round = 0; round < WF_PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)WF_PHILOX_M0 * c[0], p1 = (uint64_t)WF_PHILOX_M1 * c[2];
        c[0] = (uint32_t)(p1 >> 32) ^ c[1] ^ k0;
        c[1] = (uint32_t)p1;
        c[2] = (uint32_t)(p0 >> 32) ^ c[3] ^ k1;
        c[3] = (uint32_t)p0;
        k0 += WF_PHILOX_W0;
        k1 += WF_PHILOX_W1;
    }
}

/* The draw for input i at element `index`, as an integer below 2^24: the uniform number is this
 * times 2^-24. See WF_UNIFORM in dialect.h. */
WF_CONV uint32_t wf_draw(uint64_t key, uint64_t index, uint32_t i)
{
    uint64_t counter = index / 4;
    uint32_t c[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), i, 0};
    wf_philox((uint32_t)key, (uint32_t)(key >> 32), c);
    /* Not c[index % 4]: a device keeps no array in registers that is looked into at run time. */
    uint32_t low = index & 1 ? c[1] : c[0], high = index & 1 ? c[3] : c[2];
    return (index & 2 ? high : low) >> 8;
}

#endif
