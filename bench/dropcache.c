/* dropcache.c - puts files out of the page cache (so that the next read is cold), or into it.
 *
 *     dropcache FILE...          write back, then drop
 *     dropcache --warm FILE...   read once
 *
 * Needs no privilege: posix_fadvise works on any file one may open. Dropping covers clean pages
 * only, hence the fdatasync before.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char buffer[1 << 20];

static int handle(const char *path, bool warm)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), error = 0;
    if (fd < 0)
        error = errno;
    else if (warm) {
        ssize_t n;
        while ((n = read(fd, buffer, sizeof buffer)) > 0)
            continue;
        error = n < 0 ? errno : 0;
    } else {
        fdatasync(fd);
        error = posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    }
    if (fd >= 0)
        close(fd);
    if (error)
        fprintf(stderr, "dropcache: %s: %s\n", path, strerror(error));
    return error != 0;
}

int main(int argc, char **argv)
{
    bool warm = argc > 1 && !strcmp(argv[1], "--warm");
    int failed = 0;
    for (int i = warm ? 2 : 1; i < argc; i++)
        failed |= handle(argv[i], warm);
    return failed;
}
