/* backend_cpu.c - picks the frame for this CPU. WEFT_ISA=base|v3|v4 overrides, for tests. */
#include "backend.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "frame.h"

static const struct wf_backend *frame = &wf_frame_base;
static const char *isa = "base";
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void choose(void)
{
#ifdef WF_HAVE_X86_ISAS
    const char *cap = getenv("WEFT_ISA");
    __builtin_cpu_init();
    /* Names that every compiler knows; a CPU with these has the rest of x86-64-v3 too. */
    bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
              __builtin_cpu_supports("fma");
    bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    if (v3 && !(cap && !strcmp(cap, "base"))) {
        frame = &wf_frame_v3;
        isa = "x86-64-v3";
    }
    if (v4 && !(cap && (!strcmp(cap, "base") || !strcmp(cap, "v3")))) {
        frame = &wf_frame_v4;
        isa = "x86-64-v4";
    }
#endif
}

const struct wf_backend *wf_backend_cpu(void)
{
    pthread_once(&once, choose);
    return frame;
}

const char *wf_cpu_isa(void)
{
    wf_backend_cpu();
    return isa;
}
