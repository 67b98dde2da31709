/* work_scratch.h - how much scratch a piece of work needs: C11 and CUDA C++, since weft plans with
 * it and kernels divide it.
 *
 * Inputs that are more than WF_WORK_INPUTS lie there while an element is looked at, and terms; rows
 * that are too long for shared memory are sorted there.
 *
 *     many inputs   | thread 0: x[3n] | terms, twice | thread 1: x[3n] | ...
 *     rows          | row 0: keys | keys | indices | indices | row 1: ...
 */
#ifndef WF_WORK_SCRATCH_H
#define WF_WORK_SCRATCH_H

#include "dtype_conv.h"
#include "work.h"

#define WF_RANK_SHARED 1024u /* elements of a row that is sorted in shared memory */

WF_CONV uint64_t wf_scratch_up(uint64_t bytes, uint64_t to)
{
    return (bytes + to - 1) / to * to;
}

/* Of x[3n]. */
WF_CONV uint64_t wf_scratch_x(const struct wf_work *w)
{
    return wf_scratch_up((uint64_t)3 * w->n * (w->wide ? 8 : 4), 16);
}

/* Of one thread. */
WF_CONV uint64_t wf_scratch_thread(const struct wf_work *w)
{
    int folds = w->kind == WF_WORK_FOLD || w->kind == WF_WORK_COLUMNS;
    uint64_t terms = folds ? w->terms : 0;
    return w->n <= WF_WORK_INPUTS ? 0 : wf_scratch_x(w) + wf_scratch_up(2 * terms * 8, 16);
}

/* Keys and indices of a row, twice. */
WF_CONV uint64_t wf_scratch_pairs(const struct wf_work *w)
{
    return wf_scratch_up(w->row_length * 2 * (w->wide ? 12 : 8), 64);
}

/* Of one row that is sorted. */
WF_CONV uint64_t wf_scratch_row(const struct wf_work *w)
{
    return w->kind == WF_WORK_RANK && w->row_length > WF_RANK_SHARED ? wf_scratch_pairs(w) : 0;
}

/* Scratch that a launch needs at least: for one warp, one row. */
WF_CONV uint64_t wf_work_scratch(const struct wf_work *w)
{
    uint64_t warp = 32 * wf_scratch_thread(w), row = wf_scratch_row(w);
    return warp > row ? warp : row;
}

#endif
