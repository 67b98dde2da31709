/* narrow.c - what SELECT concludes when all have added to a step: ranges shrink until each is one
 * key, and a cut that goes through equal keys is followed to its element. */
#include "select.h"

#include <string.h>

#include "../base/num.h"
#include "keybits.h"

#define FIRST_BINS_MIN 1024u
#define FIRST_BINS_SHARE 8u /* of the elements: no more bins are cleared for a first COUNT */

/* What a reader of a file that is being written sees. */
static const char changed[] =
    "the inputs changed while they were read; leave them alone and start again";

static void set_range(struct wf_cut *c, uint64_t least, uint64_t most, uint64_t before,
                      uint64_t through)
{
    c->least = least;
    c->most = most;
    c->before = before;
    c->through = through;
    if (least == most)
        c->state = WF_CUT_FOUND;
}

/* Whether what was counted can be, after what was counted before. Files may change under us. */
static bool is_consistent(const struct wf_cut *c)
{
    uint64_t core_end = c->core_below + c->core_inside, end = c->below + c->inside;
    bool ordered = c->before <= c->below && c->below <= c->core_below && core_end <= end &&
                   end <= c->through && c->rank >= c->before && c->rank < c->through;
    bool edges = (c->low > c->least || c->below == c->before) &&
                 (c->core_low > c->low || c->core_below == c->below) &&
                 (c->core_high < c->high || core_end == end) &&
                 (c->high < c->most || end == c->through);
    return ordered && edges;
}

/* Shrinks the range to the part of it, as the bracket divides it, that holds the rank. */
static void shrink(struct wf_cut *c)
{
    uint64_t core_end = c->core_below + c->core_inside, end = c->below + c->inside;
    if (c->rank < c->below)
        set_range(c, c->least, c->low - 1, c->before, c->below);
    else if (c->rank < c->core_below)
        set_range(c, c->low, c->core_low - 1, c->below, c->core_below);
    else if (c->rank < core_end)
        set_range(c, c->core_low, c->core_high, c->core_below, core_end);
    else if (c->rank < end)
        set_range(c, c->core_high + 1, c->high, core_end, end);
    else
        set_range(c, c->high + 1, c->most, end, c->through);
}

static void find_in_keys(struct wf_cut *c, const uint64_t *keys, size_t n)
{
    struct wf_nth nth = wf_keys_nth(keys, n, c->rank - c->before);
    uint64_t before = c->before + nth.below;
    set_range(c, nth.key, nth.key, before, before + nth.equal);
}

static void find_in_bins(struct wf_cut *c, const uint64_t *bins)
{
    uint64_t before = c->before;
    uint32_t bin = 0;
    while (bin + 1 < c->bins && before + bins[bin] <= c->rank)
        before += bins[bin++];
    uint64_t first = c->core_low + ((uint64_t)bin << c->shift);
    uint64_t last = first + (((uint64_t)1 << c->shift) - 1);
    set_range(c, first, wf_min_u64(last, c->core_high), before, before + bins[bin]);
}

/* Clears the bins, for a core that is as wide as it is now. */
static void clear_bins(const struct wf_selecting *s, uint32_t i, uint32_t limit)
{
    struct wf_cut *c = &s->cuts[i];
    uint64_t range = c->core_high - c->core_low;
    c->shift = 0;
    while (range >> c->shift >= limit)
        c->shift++;
    c->bins = (uint32_t)(range >> c->shift) + 1;
    memset(wf_cut_bins(s, i), 0, c->bins * sizeof *s->bins);
}

/* The bracket that sample.c proposed. A list may hold its core, or not. */
static void first_bracket(struct wf_selecting *s, uint32_t i)
{
    struct wf_cut *c = &s->cuts[i];
    uint64_t share = s->group.size.count / FIRST_BINS_SHARE;
    if (c->low != c->core_low || c->high != c->core_high)
        s->brackets = 2 * s->ranks;
    c->lists = true;
    if (c->expected > wf_list_max(s) / 2)
        clear_bins(s, i, (uint32_t)wf_max_u64(FIRST_BINS_MIN, wf_min_u64(share, s->bins_max)));
}

/* All of the range: how many keys it holds is known. */
static void next_bracket(struct wf_selecting *s, uint32_t i)
{
    struct wf_cut *c = &s->cuts[i];
    c->low = c->core_low = c->least;
    c->high = c->core_high = c->most;
    c->below = c->core_below = c->core_inside = c->inside = c->listed = 0;
    c->lists = c->through - c->before <= wf_list_max(s);
    c->bins = 0;
    if (!c->lists)
        clear_bins(s, i, s->bins_max);
}

/* The ranks, now that zeros are counted. */
static void set_ranks(struct wf_selecting *s)
{
    const struct wf_select *select = s->group.select;
    for (uint32_t stream = 0; stream < s->streams; stream++) {
        uint64_t rank[WF_RANKS_MAX] = {0};
        struct wf_group size = s->group.size;
        size.nonzero = size.count - wf_min_u64(s->zeros[stream], size.count);
        select->ranks(s->group.args, select->per_model ? stream + 1 : 0, &size, rank);
        for (uint32_t r = 0; r < s->ranks; r++) {
            struct wf_cut *c = &s->cuts[stream * s->ranks + r];
            c->rank = wf_min_u64(rank[r], size.count);
            if (c->rank == size.count)
                c->state = WF_CUT_NONE;
        }
    }
}

/* Where a cut is to go through equal keys, and which of them is the first behind it. */
static bool set_splits(struct wf_selecting *s)
{
    bool any = false;
    enum wf_ties ties = s->group.args->ties;
    for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
        struct wf_cut *c = &s->cuts[i];
        if (c->state != WF_CUT_FOUND || ties == WF_TIES_INCLUSIVE || c->rank == c->before)
            continue;
        uint64_t lower = c->rank - c->before;
        c->place = ties == WF_TIES_LOW_IS_LOW ? lower : c->through - c->before - lower;
        c->split = any = true;
        memset(wf_cut_ties(s, i), 0, s->group.pieces * sizeof *s->ties);
    }
    return any;
}

static void end_search(struct wf_selecting *s)
{
    s->step = WF_STEP_MAP;
    if (set_splits(s)) /* of a single piece it is known where they are */
        s->step = s->group.pieces == 1 ? WF_STEP_LOCATE : WF_STEP_TIES;
}

static const char *advance_whole(struct wf_selecting *s)
{
    if (s->kept != s->group.size.count)
        return changed;
    set_ranks(s);
    for (uint32_t i = 0; i < wf_n_cuts(s); i++)
        if (s->cuts[i].state == WF_CUT_OPEN)
            find_in_keys(&s->cuts[i], wf_stream_keys(s, i / s->ranks), s->kept);
    end_search(s);
    return NULL;
}

static const char *advance_sample(struct wf_selecting *s)
{
    if (!s->kept)
        return changed;
    wf_sample_conclude(s);
    s->brackets = s->ranks;
    memset(s->zeros, 0, s->streams * sizeof *s->zeros);
    for (uint32_t i = 0; i < wf_n_cuts(s); i++)
        first_bracket(s, i);
    s->step = WF_STEP_COUNT;
    return NULL;
}

/* A COUNT as one cut sees it: finds the key, or a smaller range. */
static bool conclude(struct wf_selecting *s, uint32_t i)
{
    struct wf_cut *c = &s->cuts[i];
    if (!is_consistent(c))
        return false;
    shrink(c);
    bool core = c->least == c->core_low && c->most == c->core_high;
    if (c->state == WF_CUT_OPEN && core && c->lists && c->listed <= wf_list_max(s))
        find_in_keys(c, wf_cut_list(s, i), c->listed);
    else if (c->state == WF_CUT_OPEN && core && c->bins)
        find_in_bins(c, wf_cut_bins(s, i));
    return true;
}

void wf_selecting_go_on(struct wf_selecting *s)
{
    bool open = false;
    s->ranked = true;
    s->whole = false;
    s->brackets = s->ranks;
    s->step = WF_STEP_COUNT;
    for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
        if (s->cuts[i].state != WF_CUT_OPEN)
            continue;
        next_bracket(s, i);
        open = true;
    }
    if (!open)
        end_search(s);
}

static const char *advance_count(struct wf_selecting *s)
{
    if (!s->ranked)
        set_ranks(s);
    for (uint32_t i = 0; i < wf_n_cuts(s); i++)
        if (s->cuts[i].state == WF_CUT_OPEN && !conclude(s, i))
            return changed;
    wf_selecting_go_on(s);
    return NULL;
}

static const char *advance_ties(struct wf_selecting *s)
{
    for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
        struct wf_cut *c = &s->cuts[i];
        const uint64_t *ties = wf_cut_ties(s, i);
        c->piece = 0;
        while (c->split && c->piece < s->group.pieces && c->place >= ties[c->piece])
            c->place -= ties[c->piece++];
        if (c->split && c->piece == s->group.pieces)
            return changed;
    }
    s->step = WF_STEP_LOCATE;
    return NULL;
}

static const char *advance_locate(struct wf_selecting *s)
{
    for (uint32_t i = 0; i < wf_n_cuts(s); i++)
        if (s->cuts[i].split && !s->cuts[i].located)
            return changed;
    s->step = WF_STEP_MAP;
    return NULL;
}

const char *wf_selecting_advance(struct wf_selecting *s)
{
    if (s->step == WF_STEP_SAMPLE)
        return advance_sample(s);
    if (s->step == WF_STEP_COUNT)
        return s->whole ? advance_whole(s) : advance_count(s);
    return s->step == WF_STEP_TIES ? advance_ties(s) : advance_locate(s);
}

struct wf_cut_keys wf_selecting_keys(const struct wf_selecting *s, const struct wf_cut *cut)
{
    if (cut->state == WF_CUT_NONE)
        return (struct wf_cut_keys){WF_KEY_NONE, WF_KEY_NONE};
    uint64_t next = wf_min_u64(cut->least + 1, wf_key_max(s->group.wide));
    if (!cut->split)
        return (struct wf_cut_keys){cut->least, cut->least};
    if (s->group.args->ties == WF_TIES_LOW_IS_LOW)
        return (struct wf_cut_keys){next, cut->least};
    return (struct wf_cut_keys){cut->least, next};
}
