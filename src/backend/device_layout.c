/* device_layout.c - how much memory a lane needs, on the device and pinned, and how many mirrors
 * fit: pure functions of what tiles need.
 *
 * Each part has a least size, with which every tile within the need can be worked on or is left to
 * the CPU, and a comfortable one, with which a tile takes few launches. What lies on the host too
 * is comfortable for the slot's output, whatever the device has: so the budget of the host's memory
 * (plan/budget.c) knows it first. Where memory of the device is short, the difference is halved in
 * all other parts until it fits.
 */
#include <inttypes.h>

#include "../../kernels/work_scratch.h"
#include "../base/num.h"
#include "device_lane.h"

#define MIB ((uint64_t)1 << 20)

#define KEYS_LISTED_MIN 16u /* per bracket */
#define VIEWS_MIN 4u
#define TABLES_MAX (4 * MIB)
#define DATA_MAX (8 * MIB)

static struct wf_part claim(uint64_t *used, uint64_t bytes)
{
    struct wf_part p = {*used, bytes};
    *used += wf_round_up(bytes, WF_DEVICE_ALIGN);
    return p;
}

/* The larger one, with room for what is not aligned. */
static uint64_t sized(uint64_t least, uint64_t comfortable)
{
    return wf_round_down(wf_max_u64(least, comfortable), WF_DEVICE_ALIGN) + WF_DEVICE_ALIGN;
}

/* Scratch of the largest launch of any kind, as the kernels say. */
static uint64_t scratch_least(const struct wf_device_need *need)
{
    uint64_t most = 0;
    for (unsigned kind = 0; kind < WF_WORK_KINDS; kind++) {
        struct wf_work w = {.kind = (uint8_t)kind,
                            .wide = 1, /* takes more */
                            .n = need->tiles.inputs,
                            .row_length = need->tiles.rank_row,
                            .terms = need->tiles.terms};
        most = wf_max_u64(most, wf_work_scratch(&w));
    }
    return most;
}

/* What is on the device and on the host, and what is on the host alone. */
static void lay_out_host(const struct wf_need *tiles, uint64_t output_bytes, struct wf_area *a)
{
    uint64_t n = tiles->inputs, used = 0;
    uint64_t brackets = 2 * (uint64_t)tiles->brackets; /* those inside others: stage/narrow.c */
    uint64_t views = VIEWS_MIN * (wf_view_values(n) + tiles->table + 1) * sizeof(double);
    uint64_t leaf = tiles->terms * sizeof(double);
    uint64_t tables = tiles->terms ? wf_min_u64(output_bytes, TABLES_MAX) : 0;
    uint64_t data = wf_max_u64(leaf, brackets * KEYS_LISTED_MIN * sizeof(uint64_t));
    a->bad = claim(&used, sizeof(uint32_t));
    a->counts = claim(&used, brackets * sizeof(struct wf_work_counts));
    a->brackets = claim(&used, brackets * sizeof(struct wf_work_bracket));
    a->pointers = claim(&used, n * sizeof(void *));
    a->types = claim(&used, n);
    a->views = claim(&used, sized(views, tables));
    a->data = claim(&used, data ? sized(data, wf_min_u64(2 * output_bytes, DATA_MAX)) : 0);
    a->shared_bytes = used;
    a->rows = claim(&used, leaf ? sized(views, tables) : 0);
    a->tree = claim(&used, leaf * (WF_TREE_LEVELS + 1));
    a->host_bytes = used;
}

uint64_t wf_lane_host_bytes(const struct wf_need *tiles, uint64_t output_bytes)
{
    struct wf_area a;
    lay_out_host(tiles, output_bytes, &a);
    return a.host_bytes;
}

void wf_area_lay_out(const struct wf_device_need *need, unsigned shrink, struct wf_area *a)
{
    const struct wf_need *tiles = &need->tiles;
    uint64_t ranks = tiles->ranked * sizeof(double);
    uint64_t scratch = scratch_least(need);
    *a = (struct wf_area){0};
    lay_out_host(tiles, need->output_bytes, a);
    uint64_t used = a->shared_bytes;
    if (tiles->rank_row) /* a tile's elements are two bytes each, or more */
        a->ranks = claim(&used, sized(ranks * wf_round_up(tiles->rank_row, 16),
                                      ranks * (need->output_bytes / 2) >> shrink));
    a->scratch = claim(&used, sized(scratch, scratch ? 32 * MIB >> shrink : 0));
    a->results = claim(&used, need->output_bytes + WF_DEVICE_ALIGN);
    a->device_bytes = used;
}

int wf_device_lay_out(struct wf_err *e, const struct wf_device_need *need, uint64_t memory_bytes,
                      struct wf_device_layout *out)
{
    uint64_t mirror = wf_round_up(need->input_bytes, WF_DEVICE_ALIGN) + WF_DEVICE_ALIGN;
    uint64_t lanes = need->lanes, least = 0;
    uint64_t most = need->slots > lanes ? need->slots : lanes;
    char has[32], wants[32];
    struct wf_area *a = &out->area;
    for (unsigned shrink = 0; shrink < WF_AREA_SHRINKS; shrink++) {
        wf_area_lay_out(need, shrink, a);
        least = lanes * (a->device_bytes + mirror);
        if (least <= memory_bytes)
            break;
    }
    if (least > memory_bytes)
        return wf_fail(e, WF_MACHINE,
                       "--device-memory %s is too little for this merge; it needs at least "
                       "%" PRIu64 " bytes (%s) on each GPU; give it more, or use --backend cpu",
                       wf_format_bytes(memory_bytes, has), least, wf_format_bytes(least, wants));
    uint64_t left = memory_bytes - lanes * a->device_bytes;
    out->mirrors = (uint32_t)wf_min_u64(left / mirror, most);
    out->device_bytes = lanes * a->device_bytes + out->mirrors * mirror;
    return WF_OK;
}
