/* leftover.h - is what lies in OUT.partial an interrupted run's, which may be gone on with or
 * emptied without a word, or somebody's?
 */
#ifndef WF_LEFTOVER_H
#define WF_LEFTOVER_H

#include "output.h"

/* WF_USAGE, naming it, if the folder holds no journal and something besides that weft did not make:
 * neither what it works with nor one of the plan's shards. All work of weft's begins with a
 * journal. */
int wf_leftover_check(struct wf_err *e, const struct wf_output *o, const struct wf_plan *plan);

/* Empties OUT.partial, the journal last: one that was killed on the way is known for weft's. The
 * journal is locked meanwhile, which tells of another run where folders have no locks: WF_MACHINE.
 * This process has closed it. */
int wf_leftover_empty(struct wf_err *e, const struct wf_output *o);

#endif
