/* output.h - the life of an output folder: OUT.partial, its lock and journal, and the rename to
 * OUT.
 *
 *   mkdir OUT.partial -> lock -> weft.journal -> shards ... -> side files -> weft_manifest.json
 *     -> rename OUT.partial OUT -> remove the journal, and the old OUT if there was one
 *
 * The lock is on the folder itself, so it holds from the first look inside until after the rename,
 * whatever the folder is called by then.
 */
#ifndef WF_OUTPUT_H
#define WF_OUTPUT_H

#include <stdbool.h>

#include "../plan/plan.h"
#include "../stream/blocks.h"
#include "../stream/journal.h"

enum wf_output_state {
    WF_OUTPUT_NEW,       /* an empty OUT.partial */
    WF_OUTPUT_RESUMED,   /* files are there; blocks that the journal lists are marked */
    WF_OUTPUT_FOLLOWED,  /* rank 0 opens it: wf_output_follow goes on */
    WF_OUTPUT_PUBLISHED, /* OUT is the result of this very plan: nothing to do */
};

struct wf_output {
    const char *out, *partial, *parent; /* paths */
    bool overwrite;
    bool merges_only; /* with `overwrite`: an OUT is replaced only if it is wf_replaceable */
    bool staged;      /* OUT.stages is where stages on the way to OUT are made */
    bool once;        /* the journal is empty */
    bool restart;     /* with `once`: what is in OUT.partial may go */
    bool afresh;      /* --resume starts over: there is work that the journal does not speak of */
    enum wf_output_state state;
    int lock_fd;    /* OUT.partial, locked; -1 before */
    bool published; /* OUT is there */
    bool created;   /* OUT.partial was made, or emptied, by this run */
    bool follows;   /* rank 0 makes and publishes it; this rank writes into it */
    struct wf_journal journal;
    const char *journal_path, *statistics_path;
    struct wf_journal own; /* of a rank among several: what it has finished in this run */
    const char *own_path;
};

/* What may stand in the way of OUT. */
struct wf_output_rules {
    bool resume, overwrite;
    bool replace_merges;      /* as `overwrite`, but of an OUT only if it is wf_replaceable */
    bool follows;             /* OUT.partial is another rank's affair */
    const volatile int *stop; /* of one that follows: polled while it looks for rank 0 */
};

/* Before any model is opened: OUT must be a sensible path, its parent must exist and be writable,
 * and OUT and OUT.partial must not stand in the way without the flags. Writes nothing. */
int wf_output_check(struct wf_err *e, struct wf_arena *a, const char *out,
                    const struct wf_output_rules *rules, struct wf_output *o);

/* After planning: refuses an OUT that is, holds, or lies in one of the inputs; and inputs where OUT
 * is made. What stages of this merge make there is none. (output_inputs.c) */
int wf_output_check_inputs(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan);

/* Makes or reopens OUT.partial, locks it, loads the journal into `blocks`; sets o->state. */
int wf_output_open(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan, bool resume,
                   struct wf_blocks *blocks);

/* Ranks. What the journals of single ranks say goes into `blocks` and into the journal, then they
 * are removed: by rank 0, when nobody else is at work. */
int wf_output_gather(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan,
                     struct wf_blocks *blocks);
/* Blocks that two ranks have made, all being done: their checksums, read back, go into `blocks`,
 * and they into the journal. `stop` is polled. */
int wf_output_gather_shared(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan,
                            struct wf_blocks *blocks, const volatile int *stop);
/* Rank r > 0, when rank 0 has opened: what is finished already goes into `blocks`. */
int wf_output_follow(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan,
                     struct wf_blocks *blocks);
/* A new journal for this rank. */
int wf_output_begin_rank(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan,
                         unsigned rank);
/* Rank r > 0: waits until rank 0 has published OUT. */
int wf_output_await(struct wf_err *e, const struct wf_output *o, const struct wf_plan *plan,
                    const volatile int *stop);

/* The same for work that is not resumed, whose journal stays empty: look, look at each input
 * (`text` names it) and at the recipe if there is one, then make an empty, locked OUT.partial.
 * --resume starts over, unless OUT is the result of `plan`, of which only the hash counts: see
 * o->state. */
int wf_output_check_once(struct wf_err *e, struct wf_arena *a, const char *out, bool resume,
                         bool overwrite, struct wf_output *o);
int wf_output_check_input(struct wf_err *e, const struct wf_output *o, const struct wf_ckpt *input,
                          const char *text);
/* A model of which no tensor is read. */
int wf_output_check_place(struct wf_err *e, const struct wf_output *o, const struct wf_place *p);
/* The recipe's file, and its table of coefficients. */
int wf_output_check_recipe(struct wf_err *e, const struct wf_output *o, const struct wf_recipe *r);
int wf_output_begin(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan);

/* Everything is in OUT.partial, manifest included: make it OUT. */
int wf_output_publish(struct wf_err *e, struct wf_output *o);

/* After a failure: removes OUT.partial unless `keep` (there is work to resume). Releases the lock.
 */
void wf_output_close(struct wf_output *o, bool keep);

#endif
