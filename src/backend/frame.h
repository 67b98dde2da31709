/* frame.h - the CPU frame: every method of kernels/methods.h as loops over tiles, compiled once
 * per instruction set from the same file (frame_cpu.c).
 */
#ifndef WF_FRAME_H
#define WF_FRAME_H

#include "backend.h"

extern const struct wf_backend wf_frame_base;
#ifdef WF_HAVE_X86_ISAS
extern const struct wf_backend wf_frame_v3; /* x86-64-v3: AVX2 */
extern const struct wf_backend wf_frame_v4; /* x86-64-v4: AVX-512 */
#endif

/* Name of the frame that wf_backend_cpu() chose: "base", "x86-64-v3", "x86-64-v4". */
const char *wf_cpu_isa(void);

#endif
