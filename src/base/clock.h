/* clock.h - monotonic time. */
#ifndef WF_CLOCK_H
#define WF_CLOCK_H

#include <stdint.h>

uint64_t wf_now_ns(void);

#endif
