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

#define RANK_FEW_BITS 24 /* of keys for which the highest digit is tried alone */
#define RANK_MOVES 4     /* of each pair, on the average, before that is given up */

/* Counts become places: where the first pair with that digit goes. */
static void place_digits(uint32_t *counts, size_t digits)
{
    uint32_t sum = 0;
    for (size_t d = 0; d < digits; d++) {
        uint32_t here = counts[d];
        counts[d] = sum;
        sum += here;
    }
}
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

/* How keys of a row are made small without changing their order: low bits in which none differ go,
 * the lowest that is not zero becomes 1, zero stays. */
struct WF_NAME(shrink) {
    unsigned shift;
    WF_NAME(key) less;
    unsigned bits; /* that are left; 0: all keys are equal */
};

/* Small keys of a row, which come to lie side by side, and what made them small. */
static inline struct WF_NAME(shrink)
    WF_NAME(shrink_row)(const wf_real *row, size_t step, size_t count, WF_NAME(key) *restrict keys)
{
    WF_NAME(key) first = WF_NAME(key_of)(row[0]), differ = 0, least = KEY_MAX, most = 0;
    for (size_t e = 0; e < count; e++) {
        WF_NAME(key) key = WF_NAME(key_of)(row[e * step]), less = (key - 1) & KEY_MAX;
        differ |= key ^ first;
        least = less < least ? less : least; /* of a zero it is the largest */
        most = key > most ? key : most;
        keys[e] = key;
    }
    struct WF_NAME(shrink) s = {0, 0, 0};
    if (!differ)
        return s;
    least++;
    s.shift = (unsigned)KEY_LOWEST_BIT(differ);
    s.less = (least >> s.shift) - (least >> s.shift > 0);
    s.bits = (unsigned)KEY_LENGTH((most >> s.shift) - s.less);
    for (size_t e = 0; e < count; e++) {
        WF_NAME(key) key = keys[e] >> s.shift;
        keys[e] = key > s.less ? key - s.less : 0;
    }
    return s;
}

/* Pairs of a row, the lower of equals first. */
static void WF_NAME(make_pairs)(const WF_NAME(key) * keys, size_t count, enum wf_ties ties,
                                struct WF_NAME(pair) * pairs)
{
    bool reverse = ties == WF_TIES_LOW_IS_HIGH;
    for (size_t k = 0; k < count; k++) {
        size_t e = reverse ? count - 1 - k : k;
        pairs[k] = (struct WF_NAME(pair)){keys[e], (uint32_t)e};
    }
}

/* Pairs of a row in the order of their highest digit, and of equals as ties say. */
static void WF_NAME(scatter_top)(const WF_NAME(key) * keys, size_t count, enum wf_ties ties,
                                 unsigned shift, size_t digits, uint32_t *counts,
                                 struct WF_NAME(pair) * to)
{
    memset(counts, 0, digits * sizeof *counts);
    for (size_t e = 0; e < count; e++)
        counts[keys[e] >> shift]++;
    place_digits(counts, digits);
    if (ties == WF_TIES_LOW_IS_HIGH)
        for (size_t e = count; e-- > 0;)
            to[counts[keys[e] >> shift]++] = (struct WF_NAME(pair)){keys[e], (uint32_t)e};
    else
        for (size_t e = 0; e < count; e++)
            to[counts[keys[e] >> shift]++] = (struct WF_NAME(pair)){keys[e], (uint32_t)e};
}

/* counts[pass][digit]. Up to three passes, which is nearly always, in one sweep. */
static void WF_NAME(count_digits)(const struct WF_NAME(pair) * pairs, size_t count, unsigned width,
                                  unsigned passes, uint32_t *counts)
{
    size_t digits = (size_t)1 << width, mask = digits - 1;
    memset(counts, 0, passes * digits * sizeof *counts);
    unsigned p = 0;
    for (; p + 3 <= passes; p += 3, counts += 3 * digits)
        for (size_t k = 0; k < count; k++) {
            WF_NAME(key) key = pairs[k].key >> p * width;
            counts[key & mask]++;
            counts[digits + (key >> width & mask)]++;
            counts[2 * digits + (key >> 2 * width & mask)]++;
        }
    for (; p < passes; p++, counts += digits)
        for (size_t k = 0; k < count; k++)
            counts[pairs[k].key >> p * width & mask]++;
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

/* Sorted pairs to ranks. */
static inline void WF_NAME(write_ranks)(const struct WF_NAME(pair) * pairs, size_t count,
                                        enum wf_ties ties, wf_real *row, size_t step)
{
    if (ties == WF_TIES_INCLUSIVE)
        WF_NAME(rank_inclusive)(pairs, count, row, step);
    else
        for (size_t k = 0; k < count; k++)
            row[pairs[k].index * step] = (wf_real)(int64_t)k;
}

static void WF_NAME(scatter_digit)(const struct WF_NAME(pair) * from, size_t count, unsigned shift,
                                   size_t digits, uint32_t *counts, struct WF_NAME(pair) * to)
{
    place_digits(counts, digits);
    for (size_t k = 0; k < count; k++)
        to[counts[(size_t)(from[k].key >> shift) & (digits - 1)]++] = from[k];
}

/* Ends a sort whose pairs stand nearly in order; false if that would take long. */
static bool WF_NAME(insert_pairs)(struct WF_NAME(pair) * pairs, size_t count)
{
    size_t moves = 0;
    for (size_t k = 1; k < count; k++) {
        struct WF_NAME(pair) pair = pairs[k];
        size_t at = k;
        if (pairs[k - 1].key <= pair.key)
            continue;
        for (; at && pairs[at - 1].key > pair.key; at--)
            pairs[at] = pairs[at - 1];
        pairs[at] = pair;
        moves += k - at;
        if (moves > RANK_MOVES * count)
            return false;
    }
    return true;
}

/* All digits, the lowest first. Returns the half of `pairs` that is in order then. */
static struct WF_NAME(pair) * WF_NAME(sort_pairs)(struct WF_NAME(pair) * from, size_t count,
                                                  struct WF_NAME(pair) * to, unsigned bits,
                                                  uint32_t *counts)
{
    unsigned most = count < RANK_SHORT_ROW ? 8 : WF_RANK_DIGIT;
    unsigned passes = (bits + most - 1) / most, width = (bits + passes - 1) / passes;
    size_t digits = (size_t)1 << width;
    WF_NAME(count_digits)(from, count, width, passes, counts);
    for (unsigned p = 0; p < passes; p++, counts += digits) {
        WF_NAME(scatter_digit)(from, count, p * width, digits, counts, to);
        struct WF_NAME(pair) *sorted = to;
        to = from;
        from = sorted;
    }
    return from;
}

/* `pairs` has room for 2 * count, `counts` for the digits of a key.
 *
 * Differences of 16-bit numbers have few bits: their highest digit alone brings nearly all to their
 * place. The lowest one is nearly always zero, and to count or place equal digits is slow, each
 * waiting for the one before. */
static void WF_NAME(rank_row)(wf_real *row, size_t step, size_t count, enum wf_ties ties,
                              struct WF_NAME(pair) * pairs, uint32_t *counts)
{
    if (count <= RANK_FEW) {
        WF_NAME(rank_few)(row, step, count, ties);
        return;
    }
    /* The first half of `pairs` holds keys until they are pairs in the other half. */
    WF_NAME(key) *keys = (WF_NAME(key) *)pairs;
    unsigned bits = step == 1 ? WF_NAME(shrink_row)(row, 1, count, keys).bits
                              : WF_NAME(shrink_row)(row, step, count, keys).bits;
    if (!bits) {
        WF_NAME(rank_equal)(row, step, count, ties);
        return;
    }
    struct WF_NAME(pair) *other = pairs + count, *sorted = NULL;
    if (bits <= RANK_FEW_BITS) {
        unsigned most = count < RANK_SHORT_ROW ? 8 : WF_RANK_DIGIT;
        unsigned width = bits < most ? bits : most;
        WF_NAME(scatter_top)(keys, count, ties, bits - width, (size_t)1 << width, counts, other);
        sorted = WF_NAME(insert_pairs)(other, count) ? other : NULL;
    }
    if (!sorted) {
        WF_NAME(make_pairs)(keys, count, ties, other);
        sorted = WF_NAME(sort_pairs)(other, count, pairs, bits, counts);
    }
    WF_NAME(write_ranks)(sorted, count, ties, row, step);
}
