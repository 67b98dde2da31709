/* frame_list.h - picks the few keys that lie inside a bracket. Included twice, so it has no guard.
 *
 * Where the machine can, a vector's keys inside are moved to its front and the whole vector is
 * stored. Else a vector is looked at as one number of bits and passed by when that is zero, as it
 * mostly is.
 */

#ifndef LIST_LANES
#if defined(__AVX512F__)
#include <immintrin.h>
#define LIST_LANES 16
/* The keys inside of the next LIST_LANES; returns how many. What lies behind them in
 * listed[LIST_LANES] is lost. */
static inline size_t list_vector(const int32_t *keys, int32_t low, int32_t high, int32_t *listed)
{
    __m512i k = _mm512_loadu_si512(keys);
    __mmask16 inside = _mm512_cmpge_epi32_mask(k, _mm512_set1_epi32(low)) &
                       _mm512_cmple_epi32_mask(k, _mm512_set1_epi32(high));
    _mm512_storeu_si512(listed, _mm512_maskz_compress_epi32(inside, k));
    return (size_t)__builtin_popcount(inside);
}
#elif defined(__AVX2__)
#include <immintrin.h>
#define LIST_LANES 8
static inline uint32_t list_bits(const int32_t *keys, int32_t low, int32_t high)
{
    __m256i k = _mm256_loadu_si256((const __m256i *)keys);
    __m256i outside = _mm256_or_si256(_mm256_cmpgt_epi32(_mm256_set1_epi32(low), k),
                                      _mm256_cmpgt_epi32(k, _mm256_set1_epi32(high)));
    return (uint32_t)~_mm256_movemask_ps(_mm256_castsi256_ps(outside)) & 0xffu;
}
#else
#define LIST_LANES 8
static inline uint32_t list_bits(const int32_t *keys, int32_t low, int32_t high)
{
    uint32_t bits = 0;
    for (unsigned l = 0; l < LIST_LANES; l++)
        bits |= (uint32_t)((keys[l] >= low) & (keys[l] <= high)) << l;
    return bits;
}
#endif

#ifndef __AVX512F__
static inline size_t list_vector(const int32_t *keys, int32_t low, int32_t high, int32_t *listed)
{
    size_t n = 0;
    for (uint32_t bits = list_bits(keys, low, high); bits; bits &= bits - 1)
        listed[n++] = keys[__builtin_ctz(bits)];
    return n;
}
#endif

static inline size_t list_vector_wide(const int64_t *keys, int64_t low, int64_t high,
                                      int64_t *listed)
{
    uint32_t bits = 0;
    size_t n = 0;
    for (unsigned l = 0; l < LIST_LANES; l++)
        bits |= (uint32_t)((keys[l] >= low) & (keys[l] <= high)) << l;
    for (; bits; bits &= bits - 1)
        listed[n++] = keys[__builtin_ctz(bits)];
    return n;
}
#endif

/* Copies the keys from low to high, in order, and returns how many there are. `listed` has room for
 * all `count`. */
static size_t WF_NAME(list_inside)(const WF_NAME(key) * keys, size_t count, WF_NAME(key) low,
                                   WF_NAME(key) high, WF_NAME(key) * listed)
{
    size_t n = 0, e = 0;
    for (; e + LIST_LANES <= count; e += LIST_LANES)
        n += LIST_VECTOR(keys + e, low, high, listed + n);
    for (; e < count; e++) {
        listed[n] = keys[e];
        n += (keys[e] >= low) & (keys[e] <= high);
    }
    return n;
}
