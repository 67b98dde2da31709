/* record.h - what a rank says of itself in OUT.partial/ranks/RANK, for the others to read.
 *
 *   self 1f6c...         its own number, drawn at start: another process has another
 *   run 88ab...          rank 0's number, once rank 0 has called the roll; before, 0
 *   size 8               of how many ranks it is one
 *   plan 0123...         the hash of its plan, and of each part of it
 *   part 0 4567...
 *   host n2
 *   state working        waiting, working, ended
 *   phase 1              barriers it has reached
 *   beat 42              one more each time: who beats no more is dead
 *   read 123 written 45  bytes so far
 *   status 4             of one that ended badly, with
 *   message rank 3 on n2: ...
 *   end 89ef...          checksum of all lines before
 *
 * The file is written over in place, so that a file system that caches names for a while (NFS)
 * shows what was written last to whoever opens it; a reader that meets a half-written record sees
 * that by its last line, and keeps what it knew.
 */
#ifndef WF_RECORD_H
#define WF_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "../base/hash.h"
#include "../base/status.h"

#define WF_RECORD_PARTS 8u

enum wf_rank_state { WF_RANK_WAITING, WF_RANK_WORKING, WF_RANK_ENDED, WF_RANK_STATES };

struct wf_record {
    uint64_t self, run, size;
    struct wf_hash128 plan, parts[WF_RECORD_PARTS];
    char host[256];
    enum wf_rank_state state;
    uint64_t phase, beat, read, written;
    int status;         /* WF_OK while all is well */
    char message[1024]; /* of an error; one line */
};

/* Writes the record over what is at `path`. Without `create` a file that is not there is
 * WF_MACHINE with *missing set (may be NULL). */
int wf_record_write(struct wf_err *e, const char *path, bool create, const struct wf_record *r,
                    bool *missing);

/* Reads it into *r; false, and *r as it was, if it is not there or not whole. */
bool wf_record_read(const char *path, struct wf_record *r);

/* From and to text; false for a text that is not a whole record. */
struct wf_str;
void wf_record_print(const struct wf_record *r, struct wf_str *out);
bool wf_record_parse(const char *text, struct wf_record *r);

#endif
