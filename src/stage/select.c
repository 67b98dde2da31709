/* select.c - a SELECT's memory, and what a tile adds in each of its steps. */
#include "select.h"

#include <string.h>

#include "../base/num.h"
#include "keybits.h"

#define KEYS_MIN 1024u
#define LOCATE_PART 8192u /* elements */

/* ---- memory ---- */

void wf_selecting_place(struct wf_selecting *s, struct wf_room *room,
                        const struct wf_unit_need *need)
{
    uint64_t cuts = (uint64_t)need->streams * need->ranks;
    s->keys_max = need->keys > KEYS_MIN ? need->keys : KEYS_MIN;
    s->bins_max = need->bins > KEYS_MIN ? need->bins : KEYS_MIN;
    s->pieces_max = need->pieces;
    s->n_locks = (uint32_t)cuts;
    s->keys = wf_room_take(room, need->streams, s->keys_max * sizeof *s->keys);
    s->bins = wf_room_take(room, cuts, s->bins_max * sizeof *s->bins);
    s->zeros = wf_room_take(room, need->streams, sizeof *s->zeros);
    s->ties = wf_room_take(room, cuts, s->pieces_max * sizeof *s->ties);
    s->cuts = wf_room_take(room, cuts, sizeof *s->cuts);
    s->locks = wf_room_take(room, cuts, sizeof *s->locks);
}

void wf_select_bench_place(struct wf_select_bench *b, struct wf_room *room,
                           const struct wf_unit_need *need)
{
    uint64_t cuts = (uint64_t)need->streams * need->ranks;
    b->brackets = wf_room_take(room, 2 * cuts, sizeof *b->brackets);
    b->zeros = wf_room_take(room, need->streams, sizeof *b->zeros);
    b->cursors = wf_room_take(room, need->streams, sizeof *b->cursors);
}

void wf_selecting_create(struct wf_selecting *s)
{
    pthread_mutex_init(&s->lock, NULL);
    for (uint32_t i = 0; i < s->n_locks; i++)
        pthread_mutex_init(&s->locks[i], NULL);
}

void wf_selecting_destroy(struct wf_selecting *s)
{
    pthread_mutex_destroy(&s->lock);
    for (uint32_t i = 0; i < s->n_locks; i++)
        pthread_mutex_destroy(&s->locks[i]);
}

/* ---- the first step ---- */

void wf_selecting_begin(struct wf_selecting *s, const struct wf_select_group *group,
                        uint32_t streams)
{
    s->group = *group;
    s->streams = streams;
    s->ranks = group->select->n_ranks;
    s->whole = group->size.count <= s->keys_max;
    s->step = s->whole ? WF_STEP_COUNT : WF_STEP_SAMPLE;
    s->brackets = 1;
    s->kept = 0;
    s->ranked = false;
    if (!s->whole)
        wf_sample_plan(s);
    memset(s->zeros, 0, streams * sizeof *s->zeros);
    for (uint32_t i = 0; i < wf_n_cuts(s); i++)
        s->cuts[i] = (struct wf_cut){.most = wf_key_max(group->wide), .through = group->size.count};
}

/* In LOCATE. Cuts in other pieces belong to other threads. */
static bool is_sought(const struct wf_cut *c, uint32_t piece)
{
    return c->split && c->piece == piece && !c->located;
}

bool wf_selecting_wants(const struct wf_selecting *s, uint32_t piece, uint64_t *from, uint64_t *to)
{
    if (*from >= *to)
        return false;
    if (s->step == WF_STEP_SAMPLE)
        return wf_sample_wants(s, from, to);
    if (s->step != WF_STEP_LOCATE)
        return true;
    for (uint32_t i = 0; i < wf_n_cuts(s); i++)
        if (is_sought(&s->cuts[i], piece))
            return true;
    return false;
}

/* ---- brackets as tiles need them ---- */

struct call {
    struct wf_selecting *s;
    struct wf_select_bench *bench;
    const struct wf_backend *backend;
    struct wf_tile *tile;
    struct wf_tile_result *result;
    uint32_t piece;
    bool narrow; /* a narrow tile of a wide group */
};

/* A bracket for a tile: where no float lies in it, an empty one, which still has keys below. */
static void give_bracket(const struct call *c, struct wf_bracket *b, uint64_t low, uint64_t high,
                         bool list)
{
    *b = (struct wf_bracket){.low = low, .high = high, .list = list && low < high};
    if (c->narrow) {
        b->low = wf_key_narrow_up(low);
        b->high = wf_key_narrow_down(high);
    }
}

static void give_nothing(struct wf_bracket *b)
{
    *b = (struct wf_bracket){.low = UINT64_MAX}; /* above every key: not even compared */
}

static void count_tile(const struct call *c, unsigned brackets,
                       void (*found)(void *, unsigned, const uint64_t *, size_t))
{
    struct wf_count count = {.brackets = c->bench->brackets,
                             .zeros = c->bench->zeros,
                             .streams = c->s->streams,
                             .ranks = brackets,
                             .found = found,
                             .arg = (void *)c};
    memset(c->bench->zeros, 0, c->s->streams * sizeof *c->bench->zeros);
    c->backend->count(c->tile, c->s->group.stage, &count, c->result);
}

/* ---- keeping keys: SAMPLE, and COUNT of a small group ---- */

static void keep(void *arg, unsigned stream, const uint64_t *keys, size_t n)
{
    const struct call *c = arg;
    uint64_t *cursor = &c->bench->cursors[stream];
    uint64_t *to = wf_stream_keys(c->s, stream) + *cursor;
    n = wf_min_u64(n, c->s->keys_max - *cursor);
    for (size_t i = 0; i < n; i++)
        to[i] = c->narrow ? wf_key_widen(keys[i]) : keys[i];
    *cursor += n;
}

/* Every element has one key in each stream, so a tile's place among the kept keys is known before.
 */
static void add_kept(const struct call *c)
{
    struct wf_selecting *s = c->s;
    pthread_mutex_lock(&s->lock);
    uint32_t at = s->kept;
    s->kept += (uint32_t)wf_min_u64(c->tile->to - c->tile->from, s->keys_max - s->kept);
    pthread_mutex_unlock(&s->lock);
    for (uint32_t i = 0; i < s->streams; i++) {
        c->bench->cursors[i] = at;
        give_bracket(c, &c->bench->brackets[i], 0, wf_key_max(s->group.wide), true);
    }
    count_tile(c, 1, keep);
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < s->streams; i++)
        s->zeros[i] += c->bench->zeros[i];
    pthread_mutex_unlock(&s->lock);
}

/* ---- COUNT ---- */

static void fill_bins(const struct wf_cut *c, uint64_t *bins, const uint64_t *keys, size_t n)
{
    uint64_t first = c->core_low;
    unsigned shift = c->shift;
    for (size_t k = 0; k < n; k++)
        bins[(keys[k] - first) >> shift]++;
}

static void look(void *arg, unsigned bracket, const uint64_t *keys, size_t n)
{
    const struct call *call = arg;
    struct wf_selecting *s = call->s;
    uint32_t i = bracket / s->brackets * s->ranks + bracket % s->brackets;
    struct wf_cut *c = &s->cuts[i];
    uint64_t wide[256];
    while (n) {
        size_t some = n < 256 ? n : 256;
        const uint64_t *these = keys;
        if (call->narrow) {
            for (size_t k = 0; k < some; k++)
                wide[k] = wf_key_widen(keys[k]);
            these = wide;
        }
        pthread_mutex_lock(&s->locks[i]);
        if (c->lists && c->listed + some <= wf_list_max(s))
            memcpy(wf_cut_list(s, i) + c->listed, these, some * sizeof *these);
        c->listed += some;
        if (c->bins)
            fill_bins(c, wf_cut_bins(s, i), these, some);
        pthread_mutex_unlock(&s->locks[i]);
        keys += some;
        n -= some;
    }
}

static void add_count(const struct call *call)
{
    struct wf_selecting *s = call->s;
    struct wf_bracket *b = call->bench->brackets;
    bool wholes = s->brackets > s->ranks;
    for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
        const struct wf_cut *c = &s->cuts[i];
        uint32_t at = i / s->ranks * s->brackets + i % s->ranks;
        give_nothing(&b[at]);
        if (c->state == WF_CUT_OPEN)
            give_bracket(call, &b[at], c->core_low, c->core_high, true);
        if (wholes)
            give_nothing(&b[at + s->ranks]);
        if (wholes && c->state == WF_CUT_OPEN)
            give_bracket(call, &b[at + s->ranks], c->low, c->high, false);
    }
    count_tile(call, s->brackets, look);
    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
        struct wf_cut *c = &s->cuts[i];
        uint32_t at = i / s->ranks * s->brackets + i % s->ranks;
        if (c->state != WF_CUT_OPEN)
            continue;
        c->core_below += b[at].below;
        c->core_inside += b[at].inside;
        c->below += b[wholes ? at + s->ranks : at].below;
        c->inside += b[wholes ? at + s->ranks : at].inside;
    }
    for (uint32_t i = 0; i < s->streams; i++)
        s->zeros[i] += call->bench->zeros[i];
    pthread_mutex_unlock(&s->lock);
}

/* ---- TIES and LOCATE ---- */

/* Counts keys in [from, to) that are equal to a cut's: of each cut that the step is about, or of
 * one. */
static bool count_ties(const struct call *call, const struct wf_cut *only, uint64_t from,
                       uint64_t to)
{
    struct wf_selecting *s = call->s;
    struct wf_tile part = *call->tile;
    struct call c = *call;
    for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
        const struct wf_cut *cut = &s->cuts[i];
        bool asked = s->step == WF_STEP_TIES ? cut->split : is_sought(cut, call->piece);
        give_nothing(&call->bench->brackets[i]);
        if (asked && (!only || only == cut))
            give_bracket(call, &call->bench->brackets[i], cut->least, cut->least, false);
    }
    part.from = from;
    part.to = to;
    c.tile = &part;
    count_tile(&c, s->ranks, NULL);
    return call->result->verdict == WF_TILE_OK;
}

static void add_ties(const struct call *call)
{
    struct wf_selecting *s = call->s;
    if (!count_ties(call, NULL, call->tile->from, call->tile->to))
        return;
    for (uint32_t i = 0; i < wf_n_cuts(s); i++)
        if (s->cuts[i].split)
            wf_cut_ties(s, i)[call->piece] += call->bench->brackets[i].inside;
}

/* The element is in [from, to): halves the range until it is alone. False: the tile has a verdict,
 * which another count would take back. */
static bool halve(const struct call *call, uint32_t i, uint64_t from, uint64_t to)
{
    struct wf_cut *c = &call->s->cuts[i];
    while (to - from > 1) {
        uint64_t middle = from + (to - from) / 2;
        if (!count_ties(call, c, from, middle))
            return false;
        uint64_t equal = call->bench->brackets[i].inside;
        if (c->place < equal) {
            to = middle;
        } else {
            c->place -= equal;
            from = middle;
        }
    }
    c->index = from;
    c->located = true;
    return true;
}

/* Part by part, each small enough to be looked at again from the cache. */
static void add_locate(const struct call *call)
{
    struct wf_selecting *s = call->s;
    uint64_t from = call->tile->from, end = call->tile->to, to;
    for (bool any = true; any && from < end; from = to) {
        to = wf_min_u64(end, from + LOCATE_PART);
        if (!count_ties(call, NULL, from, to))
            return;
        for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
            struct wf_cut *c = &s->cuts[i];
            uint64_t equal = call->bench->brackets[i].inside;
            if (!is_sought(c, call->piece))
                continue;
            c->here = c->place < equal;
            c->place -= c->here ? 0 : equal;
        }
        any = false;
        for (uint32_t i = 0; i < wf_n_cuts(s); i++) {
            bool here = is_sought(&s->cuts[i], call->piece) && s->cuts[i].here;
            if (here && !halve(call, i, from, to))
                return;
            any |= is_sought(&s->cuts[i], call->piece);
        }
    }
}

void wf_selecting_add(struct wf_selecting *s, struct wf_select_bench *bench,
                      const struct wf_backend *backend, uint32_t piece, struct wf_tile *tile,
                      struct wf_tile_result *result)
{
    struct call call = {s, bench, backend, tile, result, piece, s->group.wide && !tile->wide};
    if (s->step == WF_STEP_TIES)
        add_ties(&call);
    else if (s->step == WF_STEP_LOCATE)
        add_locate(&call);
    else if (s->step == WF_STEP_SAMPLE || s->whole)
        add_kept(&call);
    else
        add_count(&call);
}
