/* own_names.h - the names at the top of OUT that are weft's own: what it writes there, and what it
 * works with in OUT.partial and removes before OUT is published.
 */
#ifndef WF_OWN_NAMES_H
#define WF_OWN_NAMES_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a folder called name[0..n) would be in the way. Side files are the models' affair. */
bool wf_own_name(const char *name, size_t n);

#endif
