/* frame_draw.h - random words for a run of elements: Philox (kernels/philox.h), several counters at
 * a time.
 *
 * Each counter has a lane of 64 bits, because a vector multiplication takes the low halves of such
 * lanes and fills the whole lanes. What is left in the high halves never matters: it is multiplied
 * away or cut off at the end.
 */
#ifndef WF_FRAME_DRAW_H
#define WF_FRAME_DRAW_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../../kernels/philox.h"

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define DRAW_LANES 8
#define DRAW_MULTIPLY(a, b) ((draw_lanes)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#elif defined(__AVX2__)
#define DRAW_LANES 4
#define DRAW_MULTIPLY(a, b) ((draw_lanes)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#elif defined(__SSE2__)
#define DRAW_LANES 2
#define DRAW_MULTIPLY(a, b) ((draw_lanes)_mm_mul_epu32((__m128i)(a), (__m128i)(b)))
#else
#define DRAW_LANES 2
#define DRAW_MULTIPLY(a, b) (((a)&0xffffffffu) * ((b)&0xffffffffu))
#endif
typedef uint64_t draw_lanes __attribute__((vector_size(DRAW_LANES * sizeof(uint64_t))));

/* Four words for each of the counters from `counter` on, in order; rounds `counters` up to a
 * multiple of DRAW_LANES. */
static void draw_words(uint64_t key, uint32_t input, uint64_t counter, size_t counters,
                       uint64_t *restrict words)
{
    draw_lanes none = {0}, m0 = none + WF_PHILOX_M0, m1 = none + WF_PHILOX_M1, at = none;
    for (unsigned l = 0; l < DRAW_LANES; l++)
        at[l] = counter + l;
    for (size_t c = 0; c < counters; c += DRAW_LANES, at += DRAW_LANES) {
        uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
        draw_lanes c0 = at, c1 = at >> 32, c2 = none + input, c3 = none;
        for (int round = 0; round < WF_PHILOX_ROUNDS; round++) {
            draw_lanes p0 = DRAW_MULTIPLY(c0, m0), p1 = DRAW_MULTIPLY(c2, m1);
            c0 = p1 >> 32 ^ c1 ^ k0;
            c1 = p1;
            c2 = p0 >> 32 ^ c3 ^ k1;
            c3 = p0;
            k0 += WF_PHILOX_W0;
            k1 += WF_PHILOX_W1;
        }
        draw_lanes first = (c0 & 0xffffffffu) | c1 << 32, second = (c2 & 0xffffffffu) | c3 << 32;
        for (unsigned l = 0; l < DRAW_LANES; l++) {
            words[2 * (c + l)] = first[l];
            words[2 * (c + l) + 1] = second[l];
        }
    }
}

#endif
