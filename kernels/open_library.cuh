/* open_library.cuh - NVIDIA's large libraries, which most merges never need: opened with dlopen
 * when somebody first asks, never closed, and linked by nothing. And how an entry of the plugin's
 * table says that it cannot do what it is asked.
 *
 * What goes wrong is one text, `why`: the first reason, "" while there is none; what comes after it
 * does nothing.
 */
#ifndef WF_OPEN_LIBRARY_CUH
#define WF_OPEN_LIBRARY_CUH

#include <cstdio>
#include <cstdlib>

#include <dlfcn.h>
#include <link.h>

#include "plugin.h"

#define WF_WHY_BYTES 220 /* an error's text has room for it, and for what it is about */

struct wf_opened_library {
    void *file;
    const char *path; /* of what was really opened; the loader's */
};

/* The file that the variable of the environment names, else the one of that name where the loader
 * looks. */
static inline wf_opened_library wf_open_library(const char *name, const char *variable,
                                                char why[WF_WHY_BYTES])
{
    wf_opened_library lib = {NULL, name};
    link_map *map = NULL;
    const char *given = getenv(variable);
    if (why[0])
        return lib;
    lib.file = dlopen(given && *given ? given : name, RTLD_NOW | RTLD_LOCAL);
    if (!lib.file)
        snprintf(why, WF_WHY_BYTES, "%s", dlerror());
    else if (!dlinfo(lib.file, RTLD_DI_LINKMAP, &map) && map->l_name[0])
        lib.path = map->l_name;
    return lib;
}

template <typename F>
static inline void wf_find_symbol(const wf_opened_library &lib, const char *symbol, F *place,
                                  char why[WF_WHY_BYTES])
{
    if (why[0])
        return;
    *place = (F)dlsym(lib.file, symbol);
    if (!*place)
        snprintf(why, WF_WHY_BYTES, "%.150s has no %s", lib.path, symbol);
}

static inline int wf_refuse(wf_plugin_err *e, const char *text, const char *more = "")
{
    e->code = -1;
    snprintf(e->text, sizeof e->text, "%s%s", text, more);
    return e->code;
}

#endif
