/* frame_product.h - adds a low-rank product to the values of a matrix, for the CPU frame. Included
 * twice, so it has no guard.
 *
 *            |<- panel ->|
 *   col   k  |...........|      a panel of the column factor stays in the second-level cache ...
 *   row r |k||...........|      ... while the rows pass
 *
 * Each element's sum is made in the order of k, whatever the panels and rows asked for.
 */

#ifndef PRODUCT_PANEL
#define PRODUCT_PANEL 512u
#endif

/* sums[c] += row[0] col[0][c] + row[1] col[1][c] + ..., for ranks [k, k + 4). */
static void WF_NAME(add_four)(const wf_real *row, const wf_real *col, uint64_t stride, size_t count,
                              wf_real *restrict sums)
{
    const wf_real *restrict c0 = col, *restrict c1 = c0 + stride;
    const wf_real *restrict c2 = c1 + stride, *restrict c3 = c2 + stride;
    wf_real r0 = row[0], r1 = row[1], r2 = row[2], r3 = row[3];
    for (size_t c = 0; c < count; c++)
        sums[c] = (((sums[c] + r0 * c0[c]) + r1 * c1[c]) + r2 * c2[c]) + r3 * c3[c];
}

static void WF_NAME(add_one)(const wf_real *row, const wf_real *restrict col, size_t count,
                             wf_real *restrict sums)
{
    for (size_t c = 0; c < count; c++)
        sums[c] += row[0] * col[c];
}

/* Columns [from, from + count) of one row, at most PRODUCT_PANEL. */
static void WF_NAME(add_row)(const struct wf_product *p, uint64_t r, uint64_t from, size_t count,
                             wf_real *restrict values)
{
    wf_real sums[PRODUCT_PANEL], scale = (wf_real)p->scale;
    const wf_real *row = (const wf_real *)p->row + r * p->rank;
    const wf_real *col = (const wf_real *)p->col + from;
    uint32_t k = 0;
    memset(sums, 0, count * sizeof *sums);
    for (; k + 4 <= p->rank; k += 4)
        WF_NAME(add_four)(row + k, col + k * p->cols, p->cols, count, sums);
    for (; k < p->rank; k++)
        WF_NAME(add_one)(row + k, col + k * p->cols, count, sums);
    for (size_t c = 0; c < count; c++)
        values[c] += scale * sums[c];
}

static void WF_NAME(add_product)(const struct wf_product *p, uint64_t from, uint64_t to,
                                 wf_real *values)
{
    if (from >= to)
        return;
    for (uint64_t panel = 0; panel < p->cols; panel += PRODUCT_PANEL) {
        uint64_t width = p->cols - panel < PRODUCT_PANEL ? p->cols - panel : PRODUCT_PANEL;
        for (uint64_t r = from / p->cols; r * p->cols < to; r++) {
            uint64_t begin = r * p->cols + panel, end = begin + width;
            begin = begin > from ? begin : from;
            end = end < to ? end : to;
            if (begin < end)
                WF_NAME(add_row)
            (p, r, begin - r * p->cols, (size_t)(end - begin), values + (begin - from));
        }
    }
}
