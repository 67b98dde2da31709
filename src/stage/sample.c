/* sample.c - the first step of SELECT in a large group: a sample that gives a bracket for each
 * rank.
 *
 * The group is divided into equal strata, and of each a run of neighbours is taken, at a place that
 * depends on the stratum's number alone, so that no period of the data (a row, a head) can fall
 * into step with it:
 *
 *   group   |        stratum 0        |        stratum 1        |        stratum 2        | ...
 *   sample         [run]                                 [run]        [run]
 *
 * Runs, because single elements cost a page each to read, and short ones, because neighbours are
 * alike: a second element of the same row says little. What a bracket must allow for is seen in the
 * sample itself: how much the runs differ among each other. A bracket that misses costs another
 * COUNT, never a wrong result. */
#include "select.h"

#include <math.h>
#include <string.h>

#include "../base/num.h"
#include "keybits.h"

#define RUN_MAX 128u
#define RUN_MIN 16u
#define RUNS 512u /* at least, where there is room for so many of RUN_MIN */
#define TARGET_MIN 4096u
#define SHARE 256u /* one of so many elements, where there is room: costs little beside a COUNT */
#define SIGMAS 4.5 /* half the width of a bracket: misses are about one in 10^5 */
#define CHANCE 1.1 /* of a single element's deviation at least, should runs agree by chance */
#define SLACK 3.0  /* keys of the sample */
#define HEAVY 64u  /* a key with one of so many of the sample is counted, not looked at */

void wf_sample_plan(struct wf_selecting *s)
{
    uint64_t wanted = wf_max_u64(s->group.size.count / SHARE, TARGET_MIN);
    s->target = (uint32_t)wf_min_u64(wanted, s->keys_max) / RUN_MAX * RUN_MAX;
    s->run = RUN_MAX;
    while (s->run > RUN_MIN && s->target / s->run < RUNS)
        s->run /= 2;
}

static uint64_t mix(uint64_t x) /* splitmix64's */
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t scale(uint64_t n, uint64_t by, uint64_t of)
{
    return (uint64_t)((unsigned __int128)n * by / of);
}

/* Blocks of the group, each as long as a run. */
static uint64_t blocks_of(const struct wf_selecting *s)
{
    return s->group.size.count / s->run + (s->group.size.count % s->run > 0);
}

static uint64_t run_begin(const struct wf_selecting *s, uint64_t k)
{
    uint64_t blocks = blocks_of(s), runs = s->target / s->run;
    uint64_t first = scale(k, blocks, runs), next = scale(k + 1, blocks, runs);
    return (first + mix(k) % (next - first)) * s->run;
}

bool wf_sample_wants(const struct wf_selecting *s, uint64_t *from, uint64_t *to)
{
    uint64_t runs = s->target / s->run;
    for (uint64_t k = scale(*from / s->run, runs, blocks_of(s)); k < runs; k++) {
        uint64_t begin = run_begin(s, k), end = begin + s->run;
        if (begin >= *to)
            return false;
        if (end > *from) {
            *from = wf_max_u64(*from, begin);
            *to = wf_min_u64(*to, end);
            return true;
        }
    }
    return false;
}

/* ---- brackets ---- */

/* Half of a bracket's width around `pivot`, in keys of the sample. Keys stand in the order in which
 * runs arrived; where pieces cut them, a cluster is part of two, which is near enough. */
static double half_width(const struct wf_selecting *s, const uint64_t *keys, uint64_t pivot)
{
    double clusters = (double)(s->kept / s->run), n = (double)s->kept, widest = 0;
    uint64_t sum[2] = {0}, squares[2] = {0}; /* of the keys below the pivot, and not above it */
    for (uint32_t at = 0; at + s->run <= s->kept; at += s->run) {
        uint64_t below = 0, equal = 0;
        for (uint32_t i = at; i < at + s->run; i++) {
            below += keys[i] < pivot;
            equal += keys[i] == pivot;
        }
        sum[0] += below;
        squares[0] += below * below;
        sum[1] += below + equal;
        squares[1] += (below + equal) * (below + equal);
    }
    for (unsigned side = 0; side < 2; side++) {
        double hits = (double)sum[side], p = hits / n;
        double single = CHANCE * CHANCE * n * p * (1 - p), between = 0;
        if (clusters > 1)
            between = ((double)squares[side] - hits * hits / clusters) * clusters / (clusters - 1);
        widest = between > widest ? between : widest;
        widest = single > widest ? single : widest;
    }
    return SIGMAS * sqrt(widest) + SLACK;
}

/* The lowest and the highest rank that the cuts of a stream may turn out to have: a rank may depend
 * on how many keys are not zero, which is not known yet. */
static void rank_ranges(const struct wf_selecting *s, uint32_t stream, uint64_t *low,
                        uint64_t *high)
{
    const uint64_t *keys = wf_stream_keys(s, stream);
    double n = s->kept, nonzero = 0, width = half_width(s, keys, 0);
    for (uint32_t i = 0; i < s->kept; i++)
        nonzero += keys[i] != 0;
    for (int side = -1; side <= 1; side++) {
        double share = (nonzero + side * width) / n;
        struct wf_group size = s->group.size;
        uint64_t rank[WF_RANKS_MAX] = {0};
        share = share < 0 ? 0 : share > 1 ? 1 : share;
        size.nonzero = wf_min_u64((uint64_t)(share * (double)size.count), size.count);
        s->group.select->ranks(s->group.args, s->group.select->per_model ? stream + 1 : 0, &size,
                               rank);
        for (uint32_t r = 0; r < s->ranks; r++) {
            low[r] = side < 0 ? rank[r] : wf_min_u64(low[r], rank[r]);
            high[r] = side < 0 ? rank[r] : wf_max_u64(high[r], rank[r]);
        }
    }
}

/* The key at a position of the sample that is given as a real number, and how many are equal. */
static struct wf_nth nth(const struct wf_selecting *s, const uint64_t *keys, double position)
{
    double last = (double)(s->kept - 1);
    position = position < 0 ? 0 : position > last ? last : position;
    return wf_keys_nth(keys, s->kept, (size_t)position);
}

static void set_bracket(const struct wf_selecting *s, struct wf_cut *c, const uint64_t *keys,
                        uint64_t low_rank, uint64_t high_rank)
{
    double n = s->kept, count = (double)s->group.size.count;
    double low = (double)low_rank / count * n, high = (double)high_rank / count * n;
    low -= half_width(s, keys, nth(s, keys, low).key);
    high += half_width(s, keys, nth(s, keys, high).key);
    struct wf_nth first = nth(s, keys, low), last = nth(s, keys, high);
    bool open_below = low<1, open_above = high> n - 2;
    c->low = open_below ? 0 : first.key;
    c->high = open_above ? wf_key_max(s->group.wide) : last.key;
    c->core_low = c->low;
    c->core_high = c->high;
    c->expected = (high - low) / n * count;
    if (c->low == c->high)
        return;
    if (first.key == c->low && first.equal > s->kept / HEAVY)
        c->core_low++;
    if (last.key == c->high && last.equal > s->kept / HEAVY)
        c->core_high--;
    if (c->core_low > c->core_high) /* two neighbours, both heavy */
        c->core_low = c->core_high = c->low;
}

void wf_sample_conclude(struct wf_selecting *s)
{
    for (uint32_t stream = 0; stream < s->streams; stream++) {
        uint64_t low[WF_RANKS_MAX], high[WF_RANKS_MAX];
        const uint64_t *keys = wf_stream_keys(s, stream);
        rank_ranges(s, stream, low, high);
        for (uint32_t r = 0; r < s->ranks; r++)
            set_bracket(s, &s->cuts[stream * s->ranks + r], keys, low[r], high[r]);
    }
}
