/* frame_list.h - picks the few keys that lie inside a bracket. Included twice, so it has no guard.
 *
 * The common vector has none, so a vector is looked at as one number of bits and passed by when
 * that is zero.
 */

#ifndef LIST_LANES
#if defined(__AVX512F__)
#include <immintrin.h>
#define LIST_LANES 16
static inline uint32_t list_bits(const int32_t *keys, int32_t low, int32_t high)
{
    __m512i k = _mm512_loadu_si512(keys);
    return _mm512_cmpge_epi32_mask(k, _mm512_set1_epi32(low)) &
           _mm512_cmple_epi32_mask(k, _mm512_set1_epi32(high));
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
static inline uint32_t list_bits_wide(const int64_t *keys, int64_t low, int64_t high)
{
    uint32_t bits = 0;
    for (unsigned l = 0; l < LIST_LANES; l++)
        bits |= (uint32_t)((keys[l] >= low) & (keys[l] <= high)) << l;
    return bits;
}
#endif

/* Copies the keys from low to high, in order, and returns how many there are. */
static size_t WF_NAME(list_inside)(const WF_NAME(key) * keys, size_t count, WF_NAME(key) low,
                                   WF_NAME(key) high, WF_NAME(key) * listed)
{
    size_t n = 0, e = 0;
    for (; e + LIST_LANES <= count; e += LIST_LANES)
        for (uint32_t bits = LIST_BITS(keys + e, low, high); bits; bits &= bits - 1)
            listed[n++] = keys[e + (size_t)__builtin_ctz(bits)];
    for (; e < count; e++) {
        listed[n] = keys[e];
        n += (keys[e] >= low) & (keys[e] <= high);
    }
    return n;
}
