/* frame_cpu_real.h - the half of the CPU frame that depends on wf_real; see frame_cpu.c. Included
 * twice, so it has no guard.
 */

/* What element functions see of struct wf_args and of the tensor, in wf_real. */
struct WF_NAME(wf_view) {
    wf_real g[WF_ARGS_GLOBAL];
    const wf_real (*m)[WF_ARGS_MODEL];
    const wf_real *t;
    wf_real row_last; /* elements of the row less one */
    wf_real tensor;   /* elements of the tensor */
};

#include "../../kernels/methods.h"

#include "frame_convert.h"
#include "frame_element.h"
#include "frame_walk.h"
#include "frame_rank.h"
#include "frame_rows.h"
#include "frame_list.h"
#include "frame_ops.h"
#include "frame_product.h"
