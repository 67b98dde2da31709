/* statistics_file.h - OUT.partial/weft.statistics: what the model's unit has concluded so far, so
 * that a later run need not look at the whole model again. Private to src/stream.
 *
 *   weft-statistics 1
 *   plan HASH
 *   ...                 stage/saved.h
 *   check HASH          of all lines before
 *
 * Replaced as a whole when a step of the model's unit has ended. It is a shortcut and nothing more:
 * a file that is damaged, torn, of another plan or of another version is as good as none. It says
 * nothing about memory, threads or ranks, which may differ from run to run.
 */
#ifndef WF_STATISTICS_FILE_H
#define WF_STATISTICS_FILE_H

#include "ring.h"

/* Before the first step of the model's unit: goes on from where an earlier run was. With several
 * ranks all call it. */
int wf_statistics_restore(struct wf_ring *r);

/* Between two steps of the model's unit: writes and syncs what is new, if there is anything. */
int wf_statistics_keep(struct wf_ring *r);

#endif
