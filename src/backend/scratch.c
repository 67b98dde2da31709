/* scratch.c - the layout of the CPU frame's working memory. */
#include "scratch.h"

#include "backend.h"

/* Numbers in x. The rows of a few inputs fit in the first-level cache with blocks of full size;
 * many inputs get smaller blocks. */
#define X_VALUES ((size_t)12 * (WF_BLOCK_MAX + 16))
#define TERM_VALUES ((size_t)2048) /* doubles in `terms`, unless there are very many terms */
#define PADDING 16                 /* numbers: rows do not lie a power of two apart */

static size_t claim(struct wf_layout *l, size_t count, size_t size)
{
    size_t at = l->bytes;
    l->bytes += (count * size + 63) / 64 * 64;
    return at;
}

static size_t at_least(size_t a, size_t b)
{
    return a > b ? a : b;
}

static void choose_blocks(const struct wf_need *need, struct wf_layout *l)
{
    size_t rows = 3 * (size_t)need->inputs, each = X_VALUES / at_least(rows, 1);
    l->block = each / 8 * 8;
    l->stride = l->block;
    if (each >= 5 * PADDING) {
        l->block = (each - PADDING) / 16 * 16;
        if (l->block > WF_BLOCK_MAX)
            l->block = WF_BLOCK_MAX;
        l->stride = l->block + PADDING;
    } else if (l->block < WF_BLOCK_MIN) {
        l->block = l->stride = WF_BLOCK_MIN;
    }
    l->fold_block = TERM_VALUES / at_least(need->terms, 1) / 8 * 8;
    l->fold_block = at_least(l->fold_block, 2 * WF_BLOCK_MIN) - WF_BLOCK_MIN;
    if (l->fold_block > l->block)
        l->fold_block = l->block;
}

void wf_scratch_layout(const struct wf_need *need, size_t real, struct wf_layout *l)
{
    size_t n = need->inputs, terms = need->terms;
    *l = (struct wf_layout){0};
    choose_blocks(need, l);
    l->x = claim(l, at_least(X_VALUES, 3 * n * WF_BLOCK_MIN), real);
    l->result = claim(l, WF_BLOCK_MAX, real);
    l->raw = claim(l, WF_BLOCK_MAX, sizeof(uint64_t));
    l->words = claim(l, WF_BLOCK_MAX + 256, sizeof(uint32_t)); /* whole rounds of draw_words */
    l->listed = claim(l, WF_BLOCK_MAX, real);
    l->m = claim(l, n * WF_ARGS_MODEL, real);
    l->args = claim(l, n * WF_ARGS_MODEL, sizeof(double));
    l->table = claim(l, need->table, real);
    if (terms) {
        l->terms = claim(l, at_least(TERM_VALUES, terms * WF_BLOCK_MIN), sizeof(double));
        l->sums = claim(l, terms * WF_FOLD_LANES, sizeof(double));
        l->row_sums = claim(l, terms * WF_FOLD_LANES, sizeof(double));
        l->tree = claim(l, terms * WF_TREE_LEVELS, sizeof(double));
    }
    if (need->rank_row) {
        l->rank_stride = (size_t)(need->rank_row + 15) / 16 * 16;
        l->ranks = claim(l, need->ranked * l->rank_stride, real);
        l->pairs = claim(l, 2 * (size_t)need->rank_row, 2 * real);
        l->digits = claim(l, (8 * real + WF_RANK_DIGIT - 1) / WF_RANK_DIGIT << WF_RANK_DIGIT,
                          sizeof(uint32_t));
    }
}

uint64_t wf_scratch_bytes(const struct wf_need *need)
{
    struct wf_layout l;
    if (need->rank_row > UINT32_MAX)
        return (uint64_t)1 << 52;
    wf_scratch_layout(need, sizeof(double), &l);
    return l.bytes;
}
