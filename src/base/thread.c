/* thread.c - starting threads, counting CPUs. */
#include "thread.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* A tile of doubles has 131 KB of scratch; sanitizers want several times that. Untouched pages
 * cost nothing. */
#define STACK_BYTES ((size_t)2 << 20)

int wf_thread_start(struct wf_err *e, pthread_t *out, const char *name, void *(*run)(void *),
                    void *arg)
{
    pthread_attr_t attr;
    sigset_t all, old;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* the new thread inherits a full mask */
    int failed = pthread_create(out, &attr, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    if (failed)
        return wf_fail_errno(e, WF_MACHINE, failed, "cannot start thread '%s'", name);
    pthread_setname_np(*out, name);
    return WF_OK;
}

/* cgroup v2 "quota period" in cpu.max, rounded up to whole CPUs; 0 for none. */
static unsigned cgroup_cpus(void)
{
    long quota = 0, period = 0;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (!f)
        return 0;
    int got = fscanf(f, "%ld %ld", &quota, &period);
    fclose(f);
    if (got != 2 || quota <= 0 || period <= 0)
        return 0;
    return (unsigned)((quota + period - 1) / period);
}

unsigned wf_cpu_count(void)
{
    cpu_set_t set;
    unsigned n = 1, limit = cgroup_cpus();
    if (!sched_getaffinity(0, sizeof set, &set))
        n = (unsigned)CPU_COUNT(&set);
    if (limit && limit < n)
        n = limit;
    return n ? n : 1;
}

bool wf_cpus_are_bound(void)
{
    cpu_set_t set;
    return !sched_getaffinity(0, sizeof set, &set) &&
           CPU_COUNT(&set) < sysconf(_SC_NPROCESSORS_ONLN);
}
