/* keybits.h - keys of SELECT as integers: the bits of a float or a double that is not negative.
 *
 * They are in the numbers' order: denormals, then normal ones, then infinity, then NaNs. A group
 * with tensors of both widths has the bits of doubles; every float is one of them, so a bound given
 * in doubles becomes the tightest one in floats, and no comparison changes. */
#ifndef WF_KEYBITS_H
#define WF_KEYBITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WF_KEY_MAX_NARROW ((uint64_t)INT32_MAX)
#define WF_KEY_MAX_WIDE ((uint64_t)INT64_MAX)

static inline uint64_t wf_key_max(bool wide)
{
    return wide ? WF_KEY_MAX_WIDE : WF_KEY_MAX_NARROW;
}

/* The double with the value of a float, as bits. */
uint64_t wf_key_widen(uint64_t narrow);
/* The largest float that is not above a double. */
uint64_t wf_key_narrow_down(uint64_t wide);
/* The smallest float that is not below a double; WF_KEY_MAX_NARROW + 1 if there is none. */
uint64_t wf_key_narrow_up(uint64_t wide);

/* The number t for which `x >= t` is `key of x >= key`; NaN from the first NaN on. */
double wf_key_threshold(uint64_t key, bool wide);

/* The key at position `rank` (from 0, less than n) of n keys in ascending order. */
struct wf_nth {
    uint64_t key, below, equal; /* how many are below it and equal to it */
};
struct wf_nth wf_keys_nth(const uint64_t *keys, size_t n, size_t rank);

#endif
