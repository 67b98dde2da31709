/* keybits.c - widths of keys, and order statistics of a few of them. */
#include "keybits.h"

#include <math.h>
#include <string.h>

#define INF_NARROW ((uint64_t)0x7f800000)
#define INF_WIDE ((uint64_t)0x7ff << 52)
#define MANTISSA_DIFFERENCE 29 /* 52 - 23 */

static uint64_t bits_of(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static double double_of(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static float float_of(uint64_t bits)
{
    uint32_t half = (uint32_t)bits;
    float x;
    memcpy(&x, &half, sizeof x);
    return x;
}

/* NaNs by integers alone: a conversion would set the quiet bit and so change their order. */
uint64_t wf_key_widen(uint64_t narrow)
{
    if (narrow >= INF_NARROW)
        return INF_WIDE + ((narrow - INF_NARROW) << MANTISSA_DIFFERENCE);
    return bits_of((double)float_of(narrow));
}

uint64_t wf_key_narrow_down(uint64_t wide)
{
    if (wide >= INF_WIDE)
        return INF_NARROW + ((wide - INF_WIDE) >> MANTISSA_DIFFERENCE);
    float nearest = (float)double_of(wide);
    uint32_t bits;
    memcpy(&bits, &nearest, sizeof bits);
    return bits_of((double)nearest) > wide ? bits - 1u : bits;
}

uint64_t wf_key_narrow_up(uint64_t wide)
{
    uint64_t down = wf_key_narrow_down(wide);
    return wf_key_widen(down) == wide ? down : down + 1;
}

double wf_key_threshold(uint64_t key, bool wide)
{
    if (key > (wide ? INF_WIDE : INF_NARROW))
        return (double)NAN;
    return wide ? double_of(key) : (double)float_of(key);
}

#define DIGIT_BITS 11

/* Radix selection: the highest digit in which keys differ first. Its time depends on n alone, not
 * on the keys, which come from files. */
struct wf_nth wf_keys_nth(const uint64_t *keys, size_t n, size_t rank)
{
    uint32_t bins[1 << DIGIT_BITS];
    uint64_t differ = 0, below = 0, equal = n;
    for (size_t i = 0; i < n; i++)
        differ |= keys[i] ^ keys[0];
    unsigned open = differ ? 64u - (unsigned)__builtin_clzll(differ) : 0; /* bits not known yet */
    uint64_t prefix = keys[0] >> open;                                    /* keys have 63 bits */
    while (open) {
        unsigned width = open < DIGIT_BITS ? open : DIGIT_BITS, shift = open - width;
        uint64_t mask = ((uint64_t)1 << width) - 1, digit = 0;
        memset(bins, 0, sizeof *bins << width);
        for (size_t i = 0; i < n; i++)
            if (keys[i] >> open == prefix)
                bins[keys[i] >> shift & mask]++;
        while (below + bins[digit] <= rank)
            below += bins[digit++];
        equal = bins[digit];
        prefix = prefix << width | digit;
        open = shift;
    }
    return (struct wf_nth){prefix, below, equal};
}
