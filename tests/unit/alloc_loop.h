/* alloc_loop.h - makes the n-th allocation of a piece of work fail, for n = 1, 2, ... until it
 * succeeds.
 *
 * WEFT_FAULT is read once in a process, at its first allocation, so every n has a child of its own,
 * and the test must be the first of its program. The child answers with the status of the work;
 * anything but WF_MACHINE, or the success that ends the loop, fails the test.
 */
#ifndef WF_ALLOC_LOOP_H
#define WF_ALLOC_LOOP_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../src/base/status.h"

/* Returns how many allocations the work needs; `work` returns a status. */
static inline int alloc_loop(int (*work)(void))
{
    for (int n = 1; n < 100000; n++) {
        char setting[32];
        int status;
        snprintf(setting, sizeof setting, "alloc:%d", n);
        setenv("WEFT_FAULT", setting, 1);
        fflush(NULL);
        pid_t child = fork();
        if (child == 0)
            _exit(work());
        if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
            fail_msg("allocation %d: the child died", n);
        unsetenv("WEFT_FAULT");
        if (WEXITSTATUS(status) == WF_OK)
            return n - 1;
        if (WEXITSTATUS(status) != WF_MACHINE)
            fail_msg("allocation %d: status %d instead of WF_MACHINE", n, WEXITSTATUS(status));
    }
    fail_msg("never succeeded");
    return 0;
}

#endif
