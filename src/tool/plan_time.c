/* plan_time.c - an estimate from rates: those that a good local disk reaches where the user gives
 * none; `weft doctor` measures this machine's. It names the stage that binds, which is what a
 * person can change.
 */
#include "plan_time.h"

#define READ_RATE 2.0e9 /* bytes per second, local NVMe */
#define WRITE_RATE 1.5e9
#define COMPUTE_RATE 4.0e9 /* input bytes per second and core ... */
#define GPU_RATE 2.0e10    /* ... and GPU: what copies from pinned memory reach over PCIe 4 */

struct wf_plan_time wf_plan_time(const struct weft_options *o, const struct wf_budget *b,
                                 uint64_t read, uint64_t written)
{
    double bandwidth = (double)o->bandwidth;
    double compute =
        o->gpus_per_rank ? GPU_RATE * o->gpus_per_rank : COMPUTE_RATE * (double)b->compute;
    struct wf_plan_time t = {.read_s = (double)read / (o->bandwidth ? bandwidth : READ_RATE),
                             .write_s = (double)written / (o->bandwidth ? bandwidth : WRITE_RATE),
                             .compute_s = (double)read / compute};
    t.binds = "read";
    t.seconds = t.read_s;
    if (t.write_s > t.seconds) {
        t.binds = "write";
        t.seconds = t.write_s;
    }
    if (t.compute_s > t.seconds) {
        t.binds = "compute";
        t.seconds = t.compute_s;
    }
    return t;
}
