/* methods_print.h - the methods for a reader: a list, one in full, or docs/METHODS.md. */
#ifndef WF_METHODS_PRINT_H
#define WF_METHODS_PRINT_H

#include "../../include/weft.h"
#include "../base/status.h"

/* Prints to o->out: with `name` that method in full, with NULL one line per method. `markdown`
 * gives the whole of docs/METHODS.md (the one section with a name). An unknown name is WF_USAGE
 * with the nearest word. */
int wf_methods_run(struct wf_err *e, const struct weft_options *o, const char *name, bool markdown);

#endif
