/* thread.h - threads, and what this machine and its scheduler give us. */
#ifndef WF_THREAD_H
#define WF_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include "status.h"

/* Starts a named thread with a stack of 2 MiB; signals stay with the main thread. */
int wf_thread_start(struct wf_err *e, pthread_t *out, const char *name, void *(*run)(void *),
                    void *arg);

/* CPUs this process may run on (affinity mask and cgroup quota), at least 1. */
unsigned wf_cpu_count(void);

/* Whether it may run on some of this machine's CPUs only: somebody has dealt them out. */
bool wf_cpus_are_bound(void);

#endif
