/* session.h - the ranks of one merge, kept together by small files in OUT.partial/ranks/.
 *
 *   rank 0                                     rank r
 *   makes OUT.partial, locks it, opens         waits for OUT.partial/ranks
 *   makes the shards                           writes its record: I am here, this is my plan
 *   meets: reads all records, compares plans,  meets: waits to be called
 *     calls each rank that is there
 *   works on its share                         works on its share
 *   barrier                                    barrier
 *   side files, manifest; dissolves, renames   waits for OUT
 *
 * A thread of each rank writes the rank's record (record.h) twice a second and reads others': rank
 * 0 all of them, the others that of rank 0, which passes on what it learns. A rank that failed, was
 * stopped, or has not been heard of for WF_SILENCE_S seconds stops all: the flag that
 * wf_session_stop gives is raised, work under way is saved as after a signal, and
 * wf_session_verdict says who was the first and why. Every wait has a limit or ends with the
 * silence of whom it waits for. No library is needed, and no lock but rank 0's.
 *
 * All functions accept a NULL session, which is a merge of one process.
 */
#ifndef WF_SESSION_H
#define WF_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/hash.h"
#include "../base/mem.h"
#include "../base/status.h"
#include "rank.h"

#define WF_RANKS_FOLDER "ranks"
#define WF_SILENCE_S 20u /* longer than any pause of a machine that is well, shorter than 30 */
#define WF_MEET_S 60u    /* for everybody to have planned */

/* A part of what the ranks must agree on. */
struct wf_session_part {
    const char *name; /* as messages call it: "the recipe" */
    struct wf_hash128 hash;
};

struct wf_session_options {
    const struct wf_rank *rank;
    const char *partial; /* OUT.partial */
    struct wf_hash128 plan;
    const struct wf_session_part *parts; /* at most WF_RECORD_PARTS */
    size_t n_parts;
    const volatile int *stop; /* the user's */
};

struct wf_session;

/* Rank 0: OUT.partial is there and locked; makes the folder of records anew. Others wait for
 * nothing yet. *out is NULL for one process. Texts and arrays of the options are copied. */
int wf_session_open(struct wf_err *e, const struct wf_session_options *o, struct wf_session **out);

/* Returns when all ranks have been there, with one plan; for rank r > 0 the shards are there then.
 */
int wf_session_meet(struct wf_err *e, struct wf_session *s);

/* Returns when all have called it as often as this rank. */
int wf_session_barrier(struct wf_err *e, struct wf_session *s);

/* Rank 0, all others being behind their last barrier: the files of the ranks are removed, OUT can
 * be published. Others: waits until rank 0 has done so, or failed. */
int wf_session_dissolve(struct wf_err *e, struct wf_session *s);

/* The flag to poll: raised by the user's, or when another rank is in trouble. */
const volatile int *wf_session_stop(const struct wf_session *s, const volatile int *user);
/* WF_OK while there is no reason to stop; usable while waiting for other ranks elsewhere. */
int wf_session_check(void *session, struct wf_err *e);

/* Counters of this rank, for the others to see; sums over all ranks as last heard. */
void wf_session_count(struct wf_session *s, uint64_t read, uint64_t written);
void wf_session_sums(struct wf_session *s, uint64_t *read, uint64_t *written);

/* How the merge ended for this rank, `status` with its text in *e: where another rank was the
 * cause, status and text become that one's; else the text gets this rank's name. Returns the
 * status. */
int wf_session_verdict(struct wf_err *e, struct wf_session *s, int status);

/* Whether a rank 0 is at work in OUT.partial; looks for a few seconds. */
bool wf_session_is_alive(const char *partial, const volatile int *stop);

/* A rank r > 0 that has failed before it could open a session: leaves word of that for rank 0, if
 * that one shows up within a few seconds. The text in *e gets this rank's name. */
void wf_session_tell(const struct wf_rank *rank, const char *partial, struct wf_err *e);

/* Tells the others how it ended, waits a little for them to see it, ends the thread. */
void wf_session_close(struct wf_session *s, struct wf_err *e);

#endif
