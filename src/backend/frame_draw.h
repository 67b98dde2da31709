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

/* Vectors under way at once: one alone would wait for each multiplication. */
#define DRAW_VECTORS 4

/* Four words for each of the counters from `counter` on, in order; rounds `counters` up to a
 * multiple of DRAW_AT_ONCE. */
#define DRAW_AT_ONCE (DRAW_LANES * DRAW_VECTORS)

struct draw_state {
    draw_lanes c0[DRAW_VECTORS], c1[DRAW_VECTORS], c2[DRAW_VECTORS], c3[DRAW_VECTORS];
};

static inline void draw_rounds(struct draw_state *s, uint64_t key)
{
    const draw_lanes none = {0}, m0 = none + WF_PHILOX_M0, m1 = none + WF_PHILOX_M1;
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < WF_PHILOX_ROUNDS; round++) {
        for (int v = 0; v < DRAW_VECTORS; v++) {
            draw_lanes p0 = DRAW_MULTIPLY(s->c0[v], m0), p1 = DRAW_MULTIPLY(s->c2[v], m1);
            s->c0[v] = p1 >> 32 ^ s->c1[v] ^ k0;
            s->c1[v] = p1;
            s->c2[v] = p0 >> 32 ^ s->c3[v] ^ k1;
            s->c3[v] = p0;
        }
        k0 += WF_PHILOX_W0;
        k1 += WF_PHILOX_W1;
    }
}

/* Two words; what they are written into is read as single ones. */
typedef uint64_t draw_pair __attribute__((may_alias));

static void draw_words(uint64_t key, uint32_t input, uint64_t counter, size_t counters,
                       draw_pair *restrict words)
{
    draw_lanes none = {0}, at = none;
    for (unsigned l = 0; l < DRAW_LANES; l++)
        at[l] = counter + l;
    for (size_t c = 0; c < counters; c += DRAW_AT_ONCE) {
        struct draw_state s;
        for (int v = 0; v < DRAW_VECTORS; v++, at += DRAW_LANES) {
            s.c0[v] = at;
            s.c1[v] = at >> 32;
            s.c2[v] = none + input;
            s.c3[v] = none;
        }
        draw_rounds(&s, key);
        for (int v = 0; v < DRAW_VECTORS; v++) {
            draw_lanes first = (s.c0[v] & 0xffffffffu) | s.c1[v] << 32;
            draw_lanes second = (s.c2[v] & 0xffffffffu) | s.c3[v] << 32;
            draw_pair *to = words + 2 * (c + (size_t)v * DRAW_LANES);
            for (unsigned l = 0; l < DRAW_LANES; l++) {
                to[2 * l] = first[l];
                to[2 * l + 1] = second[l];
            }
        }
    }
}

#endif
