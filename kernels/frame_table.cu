/* frame_table.cu - the entry to all kernels: checks a piece of work and finds who launches it.
 */
#include "frame_any.cuh"

extern "C" int wf_frame_launch(const struct wf_work *work, void *stream);

#define WF_TABLE_DECLARE(name, ...)                                                                \
    extern "C" int wf_launch_##name(const struct wf_work *work, void *stream);
WF_MAP_LIST(WF_TABLE_DECLARE)
WF_FOLD_LIST(WF_TABLE_DECLARE)
WF_KEY_LIST(WF_TABLE_DECLARE)

namespace
{
typedef int wf_launch_fn(const struct wf_work *work, void *stream);

#define WF_TABLE_ROW(name, ...) wf_launch_##name,
wf_launch_fn *const wf_map_table[] = {WF_MAP_LIST(WF_TABLE_ROW)};
wf_launch_fn *const wf_fold_table[] = {WF_FOLD_LIST(WF_TABLE_ROW)};
wf_launch_fn *const wf_key_table[] = {WF_KEY_LIST(WF_TABLE_ROW)};

wf_launch_fn *wf_find_launch(const struct wf_work &w)
{
    if (w.kind == WF_WORK_MAP)
        return w.function < WF_MAP_IDS ? wf_map_table[w.function] : nullptr;
    if (w.kind == WF_WORK_FOLD || w.kind == WF_WORK_COLUMNS)
        return w.function < WF_FOLD_IDS ? wf_fold_table[w.function] : nullptr;
    if (w.kind == WF_WORK_COUNT || w.kind == WF_WORK_RANK)
        return w.function < WF_KEY_IDS ? wf_key_table[w.function] : nullptr;
    return nullptr;
}

bool wf_is_arithmetic(unsigned dtype)
{
    return dtype == WF_F16 || dtype == WF_BF16 || dtype == WF_F32 || dtype == WF_F64;
}

/* Inputs, numbers and scratch are what work.h says, as far as the host can see. */
bool wf_inputs_fit(const struct wf_work &w)
{
    bool ranged = w.kind != WF_WORK_FOLD; /* a FOLD is told its leaves */
    if (!w.n || w.n > WF_MODELS_MAX || (ranged && (w.from > w.to || w.from < w.first)))
        return false;
    if (w.n > WF_WORK_INPUTS && (w.plain || !w.in_many || !w.in_dtype_many || !w.views))
        return false;
    for (uint32_t i = 0; i < w.n && w.n <= WF_WORK_INPUTS; i++)
        if (!w.in[i] || !wf_is_arithmetic(w.in_dtype[i]) ||
            (w.plain && (w.in_dtype[i] != w.in_dtype[0] || w.in_dtype[i] == WF_F64)))
            return false;
    if (w.plain && (w.wide || (w.ranks && w.kind != WF_WORK_RANK)))
        return false;
    if (w.wide && !w.views) /* those of the launch are floats */
        return false;
    if (w.views && w.rule == WF_VIEW_STRETCH && (!w.begins || !w.n_views))
        return false;
    return w.scratch_bytes >= wf_work_scratch(&w) && (w.scratch || !wf_work_scratch(&w));
}

bool wf_work_fits(const struct wf_work &w)
{
    switch (w.kind) {
    case WF_WORK_MAP:
        return w.out && wf_is_arithmetic(w.out_dtype);
    case WF_WORK_FOLD:
        return w.values && w.fold_length && w.fold_step && w.leaf_from <= w.leaf_to;
    case WF_WORK_COLUMNS:
        return w.sums && w.row_stride;
    case WF_WORK_COUNT:
        return w.brackets && w.counts && w.streams && w.ranks_n && w.ranks_n <= WF_WORK_RANKS &&
               (!w.per_model || w.streams < w.n) && (w.per_model || w.streams == 1) &&
               (w.lists || !w.list_capacity);
    default:
        return w.ranks && w.row_length && w.row_length <= UINT32_MAX && w.row_stride &&
               (w.to - w.from) % (w.row_length * w.row_stride) == 0;
    }
}

/* No elements: nothing to launch. */
bool wf_is_empty(const struct wf_work &w)
{
    return w.kind == WF_WORK_FOLD ? w.leaf_from == w.leaf_to : w.from == w.to;
}
} // namespace

/* Puts the kernels for `work` into a stream. Nonzero: no kernel can do it. */
extern "C" int wf_frame_launch(const struct wf_work *work, void *stream)
{
    wf_launch_fn *launch = wf_find_launch(*work);
    if (!launch || !wf_inputs_fit(*work) || !wf_work_fits(*work))
        return 1;
    return wf_is_empty(*work) ? 0 : launch(work, stream);
}
