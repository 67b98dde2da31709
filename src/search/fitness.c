/* fitness.c - runs the command, with a limit, and reads its last line. */
#include "fitness.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/num.h"

#define LINE_MAX_BYTES 256
#define TICK_MS 50

/* The child: its own process group, so that what it starts ends with it. */
static void become(const char *command, const char *folder, int output)
{
    char script[4096];
    int n = snprintf(script, sizeof script, "%s \"$@\"", command);
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    if (n > 0 && n < (int)sizeof script && dup2(output, STDOUT_FILENO) >= 0)
        execl("/bin/sh", "sh", "-c", script, "weft-search", folder, (char *)NULL);
    _exit(127);
}

/* What the command printed last: whole lines, the newest. */
struct tail {
    char line[LINE_MAX_BYTES], last[LINE_MAX_BYTES];
    size_t n;
};

static void end_line(struct tail *t)
{
    t->line[t->n] = 0;
    if (t->n)
        memcpy(t->last, t->line, t->n + 1);
    t->n = 0;
}

static void take(struct tail *t, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (text[i] == '\n')
            end_line(t);
        else if (t->n + 1 < sizeof t->line && !(t->n == 0 && text[i] == ' '))
            t->line[t->n++] = text[i];
}

/* Reads until the command closes its output. False: it is to be ended. */
static bool listen_to(int fd, uint64_t until_ns, const volatile int *stop, struct tail *t)
{
    char text[4096];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (*stop || (until_ns && wf_now_ns() > until_ns))
            return false;
        if (poll(&p, 1, TICK_MS) <= 0)
            continue;
        ssize_t n = read(fd, text, sizeof text);
        if (n > 0)
            take(t, text, (size_t)n);
        else if (n == 0 || errno != EINTR)
            break;
    }
    end_line(t);
    return true;
}

/* The command closed its output; it may still run. False: it is to be ended. */
static bool await(pid_t pid, uint64_t until_ns, const volatile int *stop, int *how)
{
    while (waitpid(pid, how, WNOHANG) == 0) {
        if (*stop || (until_ns && wf_now_ns() > until_ns))
            return false;
        poll(NULL, 0, TICK_MS);
    }
    return true;
}

static int read_number(struct wf_err *e, const char *command, struct tail *t, double *fitness)
{
    size_t n = strlen(t->last);
    while (n && strchr(" \r\t", t->last[n - 1]))
        t->last[--n] = 0;
    if (!strcasecmp(t->last, "nan") || !strcasecmp(t->last, "-nan")) {
        *fitness = (double)NAN;
        return WF_OK;
    }
    if (n && wf_parse_f64(t->last, n, fitness))
        return WF_OK;
    return wf_fail(e, WF_MACHINE,
                   "--fitness: '%s' printed %s%s%s where a number was expected on its last line",
                   command, n ? "'" : "nothing", t->last, n ? "'" : "");
}

int wf_fitness_run(struct wf_err *e, const char *command, const char *folder, unsigned timeout_s,
                   const volatile int *stop, double *fitness)
{
    int ends[2], how = 0;
    struct tail tail = {.n = 0};
    uint64_t until = timeout_s ? wf_now_ns() + timeout_s * (uint64_t)1000000000 : 0;
    if (pipe2(ends, O_CLOEXEC))
        return wf_fail_errno(e, WF_MACHINE, errno, "--fitness: no pipe");
    pid_t pid = fork();
    if (pid == 0)
        become(command, folder, ends[1]);
    int why = errno;
    close(ends[1]);
    if (pid > 0) /* the child does the same: whoever is first, kill() below finds the group */
        setpgid(pid, pid);
    bool ended = pid > 0 && listen_to(ends[0], until, stop, &tail) && await(pid, until, stop, &how);
    close(ends[0]);
    if (pid < 0)
        return wf_fail_errno(e, WF_MACHINE, why, "--fitness: cannot start '%s'", command);
    if (!ended) {
        kill(-pid, SIGKILL);
        waitpid(pid, &how, 0);
    }
    if (!ended && *stop)
        return wf_fail(e, WF_STOPPED, "stopped by a signal; --resume goes on with the search");
    if (!ended)
        return wf_fail(e, WF_MACHINE,
                       "--fitness: '%s' took longer than --timeout %u; it was ended, and --resume "
                       "goes on with the search",
                       command, timeout_s);
    if (WIFSIGNALED(how))
        return wf_fail(e, WF_MACHINE, "--fitness: '%s' was ended by signal %d", command,
                       WTERMSIG(how));
    if (WEXITSTATUS(how))
        return wf_fail(e, WF_MACHINE, "--fitness: '%s' ended with exit code %d", command,
                       WEXITSTATUS(how));
    return read_number(e, command, &tail, fitness);
}
