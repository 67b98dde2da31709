/* library.h - shared libraries of weft's own (plugins), opened when something first needs them.
 *
 * In a build they lie beside the program, installed in ../lib; a variable of the environment may
 * name another file. They stay open until the process ends: what is in them may have threads and
 * exit handlers by then.
 */
#ifndef WF_LIBRARY_H
#define WF_LIBRARY_H

#include <limits.h>
#include <stdbool.h>

#define WF_LIBRARY_WHY_BYTES 256

/* Whether the variable of the environment names a file. */
bool wf_library_is_chosen(const char *variable);

/* The file that would be opened: the one that `variable` names, whether it is there or not, else
 * the first that can be read; "" if there is none. */
void wf_library_path(const char *file, const char *variable, char path[PATH_MAX]);

/* The address of `symbol`; NULL and the reason where the file cannot be opened or is no plugin of
 * weft. `global`: libraries that it opens in turn see its symbols. */
void *wf_library_symbol(const char *path, const char *symbol, bool global,
                        char why[WF_LIBRARY_WHY_BYTES]);

#endif
