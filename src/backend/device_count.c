/* device_count.c - SELECT on a device: keys counted, and those inside brackets brought back.
 *
 * Each bracket has a list of the same capacity, which its keys normally fit into: a sample chose
 * the bracket so that few are inside. Where more want to be listed, what was counted is forgotten,
 * and a smaller part of the elements is tried, and then the next.
 */
#include "device_count.h"

#include <string.h>

#include "../base/num.h"
#include "device_walk.h"

#define BATCH 512u /* keys handed on at a time */

struct counting {
    struct wf_count *c;
    uint32_t brackets; /* of all streams */
    uint64_t key_bytes, capacity;
    uint64_t part; /* elements that are tried at a time */
};

static bool lists_any(const struct wf_count *c)
{
    for (uint32_t b = 0; b < c->streams * c->ranks; b++)
        if (c->brackets[b].list)
            return true;
    return false;
}

static uint64_t counts_bytes(const struct counting *now)
{
    return now->brackets * sizeof(struct wf_work_counts);
}

static const struct wf_work_counts *counts_of(const struct wf_walk *w)
{
    return (const struct wf_work_counts *)(w->lane->on_host + w->lane->area.counts.at);
}

/* Sends the brackets, and says where the results go. */
static bool set_counting(struct wf_walk *w, const struct wf_stage *stage, struct counting *now)
{
    struct wf_lane *l = w->lane;
    struct wf_work *work = &w->work;
    struct wf_work_bracket *to = (struct wf_work_bracket *)(l->on_host + l->area.brackets.at);
    for (uint32_t b = 0; b < now->brackets; b++) {
        const struct wf_bracket *from = &now->c->brackets[b];
        to[b] = (struct wf_work_bracket){from->low, from->high, from->list};
    }
    now->key_bytes = w->t->wide ? sizeof(uint64_t) : sizeof(uint32_t);
    now->capacity = l->area.data.bytes / (now->brackets * now->key_bytes);
    now->part = UINT64_MAX;
    work->brackets = (const struct wf_work_bracket *)(l->on_device + l->area.brackets.at);
    work->counts = (struct wf_work_counts *)(l->on_device + l->area.counts.at);
    work->streams = now->c->streams;
    work->ranks_n = now->c->ranks;
    work->per_model = stage->select.per_model;
    work->lists = lists_any(now->c) ? l->on_device + l->area.data.at : NULL;
    work->list_capacity = work->lists ? now->capacity : 0;
    return wf_walk_try(w, wf_lane_up(l, l->area.brackets.at, now->brackets * sizeof *to));
}

static bool count_part(struct wf_walk *w, const struct counting *now, uint64_t from, uint64_t to)
{
    struct wf_lane *l = w->lane;
    uint64_t at = l->area.counts.at;
    return wf_walk_try(w, wf_lane_clear(l, at, counts_bytes(now))) && wf_walk_launch(w, from, to) &&
           wf_walk_try(w, wf_lane_down(l, at, counts_bytes(now))) && wf_walk_finish(w);
}

/* The longest that a list would have been. */
static uint64_t most_listed(const struct wf_walk *w, const struct counting *now)
{
    uint64_t most = 0;
    for (uint32_t b = 0; b < now->brackets; b++)
        most = wf_max_u64(most, counts_of(w)[b].listed);
    return most;
}

static void add_counts(const struct wf_walk *w, const struct counting *now)
{
    const struct wf_work_counts *counts = counts_of(w);
    for (uint32_t b = 0; b < now->brackets; b++) {
        now->c->brackets[b].below += counts[b].below;
        now->c->brackets[b].inside += counts[b].inside;
    }
    for (uint32_t s = 0; s < now->c->streams; s++)
        now->c->zeros[s] += counts[s * now->c->ranks].zeros;
}

static void hand_on(const struct wf_walk *w, const struct counting *now, uint32_t b,
                    const void *keys, uint64_t n)
{
    uint64_t batch[BATCH];
    for (uint64_t at = 0; at < n; at += BATCH) {
        uint64_t some = wf_min_u64(n - at, BATCH);
        for (uint64_t k = 0; k < some; k++)
            batch[k] =
                w->t->wide ? ((const uint64_t *)keys)[at + k] : ((const uint32_t *)keys)[at + k];
        now->c->found(now->c->arg, b, batch, (size_t)some);
    }
}

static bool fetch_lists(struct wf_walk *w, const struct counting *now)
{
    struct wf_lane *l = w->lane;
    bool any = false;
    for (uint32_t b = 0; b < now->brackets; b++) {
        uint64_t at = l->area.data.at + b * now->capacity * now->key_bytes;
        uint64_t n = counts_of(w)[b].listed;
        any |= n > 0;
        if (n && !wf_walk_try(w, wf_lane_down(l, at, n * now->key_bytes)))
            return false;
    }
    if (any && !wf_walk_try(w, wf_lane_finish(l)))
        return false;
    for (uint32_t b = 0; b < now->brackets; b++)
        hand_on(w, now, b, l->on_host + l->area.data.at + b * now->capacity * now->key_bytes,
                counts_of(w)[b].listed);
    return true;
}

static bool count_chunk(struct wf_walk *w, uint64_t from, uint64_t to, void *arg)
{
    struct counting *now = arg;
    for (uint64_t at = from, end; at < to;) {
        end = now->part < to - at ? at + now->part : to;
        if (!count_part(w, now, at, end))
            return false;
        uint64_t listed = most_listed(w, now);
        if (listed > now->capacity) { /* so many would fit, with something to spare */
            double share = (double)now->capacity / (double)listed;
            now->part = (uint64_t)((double)(end - at) * share * 7 / 8);
            now->part += !now->part;
            continue;
        }
        add_counts(w, now);
        if (!fetch_lists(w, now))
            return false;
        at = end;
    }
    return true;
}

static void drop_keys(void *arg, unsigned bracket, const uint64_t *keys, size_t n)
{
    (void)arg, (void)bracket, (void)keys, (void)n;
}

static bool count_tile(struct wf_walk *w, const struct wf_aim *aim, struct counting *now)
{
    return wf_walk_begin(w, aim) && set_counting(w, aim->stage, now) &&
           wf_walk_chunks(w, aim, w->t->from, w->t->to, count_chunk, now);
}

void wf_device_count(const struct wf_tile *t, unsigned stage, struct wf_count *c,
                     struct wf_tile_result *r)
{
    struct wf_walk w;
    const struct wf_stage *s = &t->method->stages[stage];
    struct wf_aim aim = {WF_WORK_COUNT, s->function, s};
    struct counting now = {.c = c, .brackets = c->streams * c->ranks};
    *r = (struct wf_tile_result){WF_TILE_OK, 0, 0, NULL};
    if (t->from >= t->to)
        return;
    if (!wf_walk_suits(&w, t, &aim) || counts_bytes(&now) > w.lane->area.counts.bytes) {
        wf_backend_cpu()->count(t, stage, c, r);
        return;
    }
    count_tile(&w, &aim, &now);
    if (wf_walk_verdict(&w, r))
        return;
    struct wf_count again = *c;
    again.found = drop_keys;
    wf_backend_cpu()->count(t, stage, &again, r);
    wf_walk_looked(&w, r);
}
