/* library.c - where plugins are, and how one is opened. */
#include "library.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool wf_library_is_chosen(const char *variable)
{
    const char *given = getenv(variable);
    return given && *given;
}

void wf_library_path(const char *file, const char *variable, char path[PATH_MAX])
{
    static const char *const places[] = {"", "../lib/"};
    char program[PATH_MAX];
    path[0] = '\0';
    if (wf_library_is_chosen(variable)) {
        snprintf(path, PATH_MAX, "%s", getenv(variable));
        return;
    }
    ssize_t n = readlink("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0)
        return;
    program[n] = '\0';
    char *slash = strrchr(program, '/');
    if (!slash)
        return;
    for (size_t k = 0; k < sizeof places / sizeof *places; k++) {
        int bytes =
            snprintf(path, PATH_MAX, "%.*s/%s%s", (int)(slash - program), program, places[k], file);
        if (bytes > 0 && bytes < PATH_MAX && !access(path, R_OK))
            return;
    }
    path[0] = '\0';
}

void *wf_library_symbol(const char *path, const char *symbol, bool global,
                        char why[WF_LIBRARY_WHY_BYTES])
{
    void *file = dlopen(path, RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL));
    if (!file) {
        snprintf(why, WF_LIBRARY_WHY_BYTES, "%s", dlerror());
        return NULL;
    }
    void *found = dlsym(file, symbol);
    if (!found)
        snprintf(why, WF_LIBRARY_WHY_BYTES, "%.160s is not a plugin of weft", path);
    return found;
}
