/* measure.c - runs a command and appends one line to a file: exit code, wall seconds, CPU seconds,
 * peak MiB.
 *
 *     measure FILE COMMAND [ARGUMENT...]
 *
 * Wall time counts from before the fork to after the end, so start-up is in it. Exits as the
 * command did.
 */
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fputs("usage: measure FILE COMMAND [ARGUMENT...]\n", stderr);
        return 2;
    }
    double begin = now();
    pid_t child = fork();
    if (child < 0) {
        perror("measure: fork");
        return 4;
    }
    if (child == 0) {
        execvp(argv[2], argv + 2);
        fprintf(stderr, "measure: %s: %s\n", argv[2], strerror(errno));
        _exit(127);
    }
    int status;
    struct rusage use;
    while (wait4(child, &status, 0, &use) < 0 && errno == EINTR)
        continue;
    double wall = now() - begin;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    FILE *f = fopen(argv[1], "a");
    if (!f) {
        fprintf(stderr, "measure: %s: %s\n", argv[1], strerror(errno));
        return 4;
    }
    fprintf(f, "%d %.4f %.4f %.1f\n", code, wall, seconds(use.ru_utime) + seconds(use.ru_stime),
            (double)use.ru_maxrss / 1024);
    return fclose(f) ? 4 : code;
}
