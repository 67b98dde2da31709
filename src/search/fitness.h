/* fitness.h - an outside command that says how good a model is.
 *
 *   sh -c 'COMMAND "$@"' weft-search FOLDER
 *
 * Its standard error is weft's; the last line that it prints is the number. A command that ends
 * with another exit code than 0, prints no number, or takes too long is WF_MACHINE: a search stops
 * there and can be resumed. "nan" is a number, and the worst.
 */
#ifndef WF_FITNESS_H
#define WF_FITNESS_H

#include "../base/status.h"

/* timeout_s 0: none. WF_STOPPED when *stop becomes nonzero; the command is ended, too. */
int wf_fitness_run(struct wf_err *e, const char *command, const char *folder, unsigned timeout_s,
                   const volatile int *stop, double *fitness);

#endif
