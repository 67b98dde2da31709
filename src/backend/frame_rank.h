/* frame_rank.h - the rank of each key among the keys of its row, in place. Included twice, so it
 * has no guard.
 *
 * A short row is compared with itself. A longer one is sorted by digits, lowest first, as pairs
 * (key, index) that start in the order that settles ties; only the bits in which keys differ make
 * digits, and differences of short types have few of those. The last digit's turn writes ranks, not
 * pairs.
 */

#ifndef RANK_FEW
#define RANK_FEW 48u        /* elements of a short row */
#define RANK_BYTES 64       /* of keys in a vector */
#define RANK_SHORT_ROW 1024 /* below: digits of 8 bits, whose counts are faster to clear */
#endif

typedef KEY_TYPE WF_NAME(key);
struct WF_NAME(pair) {
    WF_NAME(key) key;
    uint32_t index;
};

/* Keys are not negative; the sign of a zero or a NaN is not looked at. */
static inline WF_NAME(key) WF_NAME(key_of)(wf_real x)
{
    return (WF_NAME(key))(REAL_BITS(x) & KEY_MAX);
}

typedef KEY_TYPE WF_NAME(key_lanes) __attribute__((vector_size(RANK_BYTES)));

/* Element e of the row lies at row[e * step]: its key, then its rank. A vector of elements at a
 * time; the last one's surplus goes nowhere. */
static void WF_NAME(rank_few)(wf_real *row, size_t step, size_t count, enum wf_ties ties)
{
    enum { LANES = RANK_BYTES / sizeof(WF_NAME(key)) };
    union {
        WF_NAME(key) each[RANK_FEW];
        WF_NAME(key_lanes) lanes[RANK_FEW / LANES];
    } keys = {{0}}, ranks, places;
    for (size_t e = 0; e < count; e++)
        keys.each[e] = WF_NAME(key_of)(row[e * step]);
    for (size_t e = 0; e < RANK_FEW; e++)
        places.each[e] = (WF_NAME(key))e;
    for (size_t k = 0; k * LANES < count; k++) {
        /* Nobody is above itself. */
        WF_NAME(key_lanes) none = {0}, rank = none - (ties != WF_TIES_LOW_IS_HIGH);
        for (size_t other = 0; other < count; other++) {
            /* An equal element before `other`, or behind it, is above it or it is not. */
            WF_NAME(key_lanes) before = none + (keys.each[other] - (ties != WF_TIES_LOW_IS_LOW));
            WF_NAME(key_lanes) behind = none + (keys.each[other] - (ties != WF_TIES_LOW_IS_HIGH));
            WF_NAME(key_lanes) is_before = places.lanes[k] < none + (WF_NAME(key))other;
            rank -= keys.lanes[k] > ((before & is_before) | (behind & ~is_before));
        }
        ranks.lanes[k] = rank;
    }
    for (size_t e = 0; e < count; e++)
        row[e * step] = (wf_real)ranks.each[e];
}

static void WF_NAME(rank_equal)(wf_real *row, size_t step, size_t count, enum wf_ties ties)
{
    for (size_t e = 0; e < count; e++)
        row[e * step] = (wf_real)(ties == WF_TIES_LOW_IS_LOW  ? e
                                  : ties == WF_TIES_INCLUSIVE ? count - 1
                                                              : count - 1 - e);
}

/* Pairs of a row in ascending order of what is the lower of equals; returns the bits that differ.
 */
static WF_NAME(key) WF_NAME(make_pairs)(const wf_real *row, size_t step, size_t count,
                                        enum wf_ties ties, struct WF_NAME(pair) * pairs)
{
    WF_NAME(key) first = WF_NAME(key_of)(row[0]), differ = 0;
    bool reverse = ties == WF_TIES_LOW_IS_HIGH;
    for (size_t k = 0; k < count; k++) {
        size_t e = reverse ? count - 1 - k : k;
        WF_NAME(key) key = WF_NAME(key_of)(row[e * step]);
        differ |= key ^ first;
        pairs[k] = (struct WF_NAME(pair)){key, (uint32_t)e};
    }
    return differ;
}

/* starts[pass][digit]: where the first pair with that digit goes. */
static void WF_NAME(count_digits)(const struct WF_NAME(pair) * pairs, size_t count, unsigned shift,
                                  unsigned width, unsigned passes, uint32_t *starts)
{
    size_t digits = (size_t)1 << width;
    memset(starts, 0, passes * digits * sizeof *starts);
    for (size_t k = 0; k < count; k++)
        for (unsigned p = 0; p < passes; p++)
            starts[p * digits + ((size_t)(pairs[k].key >> (shift + p * width)) & (digits - 1))]++;
    for (unsigned p = 0; p < passes; p++, starts += digits)
        for (size_t d = 0, sum = 0; d < digits; d++) {
            size_t here = starts[d];
            starts[d] = (uint32_t)sum;
            sum += here;
        }
}

/* Equal keys have the rank of the last of them. */
static void WF_NAME(rank_inclusive)(const struct WF_NAME(pair) * pairs, size_t count, wf_real *row,
                                    size_t step)
{
    size_t last = count - 1;
    for (size_t k = count; k-- > 0;) {
        last = pairs[k].key == pairs[last].key ? last : k;
        row[pairs[k].index * step] = (wf_real)last;
    }
}

/* `pairs` has room for 2 * count, `starts` for the digits of a key. */
static void WF_NAME(rank_row)(wf_real *row, size_t step, size_t count, enum wf_ties ties,
                              struct WF_NAME(pair) * pairs, uint32_t *starts)
{
    if (count <= RANK_FEW) {
        WF_NAME(rank_few)(row, step, count, ties);
        return;
    }
    WF_NAME(key) differ = WF_NAME(make_pairs)(row, step, count, ties, pairs);
    if (!differ) {
        WF_NAME(rank_equal)(row, step, count, ties);
        return;
    }
    unsigned shift = (unsigned)KEY_LOWEST_BIT(differ);
    unsigned bits = (unsigned)KEY_LENGTH(differ) - shift;
    unsigned most = count < RANK_SHORT_ROW ? 8 : WF_RANK_DIGIT;
    unsigned passes = (bits + most - 1) / most, width = (bits + passes - 1) / passes;
    size_t mask = ((size_t)1 << width) - 1;
    WF_NAME(count_digits)(pairs, count, shift, width, passes, starts);
    struct WF_NAME(pair) *from = pairs, *to = pairs + count;
    for (unsigned p = 0; p < passes; p++, shift += width, starts += mask + 1) {
        if (p + 1 == passes && ties != WF_TIES_INCLUSIVE) {
            for (size_t k = 0; k < count; k++)
                row[from[k].index * step] =
                    (wf_real)starts[(size_t)(from[k].key >> shift) & mask]++;
            return;
        }
        for (size_t k = 0; k < count; k++)
            to[starts[(size_t)(from[k].key >> shift) & mask]++] = from[k];
        struct WF_NAME(pair) *sorted = to;
        to = from;
        from = sorted;
    }
    WF_NAME(rank_inclusive)(from, count, row, step);
}
