/* budget.h - how a plan fits into memory: the ring's slots and what statistics need.
 *
 *   memory_bytes = meta (tables)
 *                + threads x (scratch, unit, and fetch buffer or pinned memory of a lane)
 *                + readers x (scratch and buffers for stages that are computed on the way)
 *                + gathers x unit + model unit
 *                + slots x input buffer + output buffers
 *
 * A unit (stage/unit.h) is the state of one tensor's statistics. A tensor that lies in one span is
 * worked on by one thread with its own unit; one that is cut into several occupies a gather, which
 * holds its slots until its statistics are known, or, if it has more spans than the ring has slots,
 * reads them again for each stage. A stage of model scope has one unit more, and all tensors are
 * held or read again.
 */
#ifndef WF_BUDGET_H
#define WF_BUDGET_H

#include "../backend/scratch.h"
#include "../stage/unit.h"
#include "fused.h"
#include "plan.h"

#define WF_SEGMENT_INPUTS 2048u /* segments x inputs in a span; one segment always fits */

#define WF_READS_AHEAD 2u /* reads queued per reader */
#define WF_SLOTS_MIN 2u   /* with fewer the stream does not move */

struct wf_budget {
    uint64_t memory_bytes; /* what the user set */
    uint64_t meta_bytes;   /* tables already allocated, kept out of the ring */
    uint64_t span_bytes;   /* output bytes of a span: a power of two that divides WF_BLOCK_BYTES */
    uint64_t input_bytes;  /* capacity of a slot's input buffer */
    uint64_t fetch_bytes;  /* of a compute thread's buffer for cached inputs; 0: has a lane */
    uint32_t slots;
    uint32_t outputs;   /* buffers of span_bytes: a slot has one from MAP until it is written */
    uint32_t reads_max; /* reads in a span */
    uint32_t segments_max;
    unsigned readers, writers, compute; /* threads */
    unsigned threads;                   /* compute threads that were asked for */
    bool lanes;                         /* compute threads have lanes on devices */
    unsigned ranks;                     /* that join statistics of the model; 0 for 1 */
    uint64_t thread_bytes;              /* of each compute thread, as the plan wants */
    struct wf_fused_need fused;         /* of each reader: stages that are computed on the way */

    struct wf_need scratch;     /* of each compute thread */
    struct wf_unit_need inside; /* of each compute thread: tensors that lie in one span */
    struct wf_unit_need apart;  /* of each gather; pieces 0: no tensor is apart */
    struct wf_unit_need model;  /* pieces 0: no stage has model scope */
    uint32_t apart_jobs;        /* tensors that are apart */
    uint32_t gathers;
    bool model_resident;       /* all spans fit in the ring: one read serves all stages */
    unsigned passes;           /* over all that the method merges: 1, or one more for each stage of
                                  model scope */
    uint64_t again_bytes;      /* input bytes that are expected to be read more than once */
    uint64_t statistics_bytes; /* all that threads, gathers and the model have ... */
    uint64_t pinned_bytes;     /* ... of these, of all lanes */
};

/* What a process has. */
struct wf_means {
    uint64_t memory_bytes, meta_bytes; /* as in the budget */
    unsigned threads;                  /* compute threads */
    bool lanes;                        /* with lanes on devices */
    unsigned ranks;                    /* that join statistics of the model; 0 for 1 */
};

/* Chooses the numbers. Too little memory is WF_MACHINE with the number needed. */
int wf_budget_set(struct wf_err *e, const struct wf_plan *plan, const struct wf_means *means,
                  struct wf_budget *out);

/* A memory with which nothing would be read again: the budget's own, or one that is found by
 * trying; 0: no machine has as much. */
uint64_t wf_budget_resident(const struct wf_plan *plan, const struct wf_budget *b);

/* Of each reader; 0 where nothing is computed on the way. */
uint64_t wf_budget_fused_bytes(const struct wf_budget *b);

/* To three digits of whole megabytes, as people write it. */
uint64_t wf_round_up_memory(uint64_t n);

/* Buffers of the ring: inputs and outputs. */
uint64_t wf_budget_ring_bytes(const struct wf_budget *b);

/* True if the ring can hold all spans of a job that is apart. */
bool wf_budget_holds(const struct wf_budget *b, const struct wf_job *job);

/* How often all elements of the job's inputs are read for statistics of its tensor, or of the
 * model, before they are read to be merged; 0: the ring holds them. */
unsigned wf_budget_visits_tensor(const struct wf_budget *b, const struct wf_job *job);
unsigned wf_budget_visits_model(const struct wf_budget *b, const struct wf_job *job);

#endif
