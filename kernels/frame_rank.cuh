/* frame_rank.cuh - what makers of keys (frame_key.cu) know of sorting rows (frame_rank.cu).
 */
#ifndef WF_FRAME_RANK_CUH
#define WF_FRAME_RANK_CUH

#include "work.h"

/* `ranks` holds keys of [from, to), as bits; they become ranks. Nonzero: impossible. */
extern "C" int wf_launch_rank_rows(const struct wf_work *work, void *stream);

#endif
