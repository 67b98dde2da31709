/* fault.c - the counters behind WEFT_FAULT; see fault.h. */
#include "fault.h"

#ifdef WF_FAULTS

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[WF_FAULT_KINDS] = {"alloc", "open", "read",
                                                       "write", "sync", "rename"};
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int wanted = -1;
static unsigned long first;
static enum { ONCE, ALWAYS, KILL } mode;
static atomic_ulong calls;

static void read_setting(void)
{
    const char *setting = getenv("WEFT_FAULT");
    if (!setting)
        return;
    for (int k = 0; k < WF_FAULT_KINDS; k++) {
        size_t n = strlen(kind_names[k]);
        if (strncmp(setting, kind_names[k], n) || setting[n] != ':')
            continue;
        char word[16] = "";
        if (sscanf(setting + n + 1, "%lu:%15s", &first, word) < 1)
            return;
        mode = !strcmp(word, "always") ? ALWAYS : !strcmp(word, "kill") ? KILL : ONCE;
        wanted = k;
    }
}

int wf_fault(enum wf_fault_kind kind)
{
    pthread_once(&once, read_setting);
    if ((int)kind != wanted)
        return 0;
    unsigned long n = atomic_fetch_add(&calls, 1) + 1;
    if (mode == ALWAYS)
        return n >= first;
    if (n != first)
        return 0;
    if (mode == KILL)
        raise(SIGKILL);
    return 1;
}

#else
typedef int wf_fault_is_a_constant; /* an empty translation unit is not C */
#endif
