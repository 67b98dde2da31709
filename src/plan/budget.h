/* budget.h - how a plan fits into memory: spans, slots, and where every input byte lands.
 *
 * The stream moves spans. A span is a range of one output file, small enough for a slot, never
 * across a block of 64 MiB (the unit of checksums and of the journal):
 *
 *   file    | header | tensor a      | b | c | tensor d                          | ...
 *   spans            [ span 0              ][ span 1           ][ span 2         ]
 *   segments         [ a             | b | c | d.0 ][ d.1      ] ...
 *
 * A segment is the part of one job inside a span. Everything here is a pure function of the plan
 * and the budget's numbers; spans differ with the budget, the bytes written do not.
 */
#ifndef WF_BUDGET_H
#define WF_BUDGET_H

#include "plan.h"

#define WF_BLOCK_BYTES (64u << 20) /* unit of checksums and of the journal */
#define WF_SEGMENT_INPUTS 2048u    /* segments x inputs in a span; one segment always fits */

struct wf_budget {
    uint64_t memory_bytes; /* what the user set */
    uint64_t meta_bytes;   /* tables already allocated, kept out of the ring */
    uint64_t span_bytes;   /* output bytes of a span: a power of two that divides WF_BLOCK_BYTES */
    uint64_t input_bytes;  /* capacity of a slot's input buffer */
    uint64_t slot_bytes;   /* input + output buffer */
    uint32_t slots;
    uint32_t reads_max; /* reads in a span */
    uint32_t segments_max;
    unsigned readers, writers, compute; /* threads */
};

/* Chooses the numbers for `memory_bytes` and `threads` compute threads. Too little memory is
 * WF_MACHINE with the number needed. */
int wf_budget_set(struct wf_err *e, const struct wf_plan *plan, uint64_t memory_bytes,
                  uint64_t meta_bytes, unsigned threads, struct wf_budget *out);

/* Bytes of input `i` that `out_bytes` of the job's output are made from. */
uint64_t wf_job_input_bytes(const struct wf_job *job, uint32_t i, uint64_t out_bytes);

struct wf_segment {
    const struct wf_job *job;
    uint64_t skip;  /* bytes of the job's output before this segment */
    uint64_t bytes; /* output bytes here */
};

struct wf_read {
    uint32_t ckpt, file;
    uint64_t offset, bytes; /* wanted range of the file */
    uint64_t at;            /* place in the slot's input buffer of the byte `offset` */
};

struct wf_span {
    uint32_t shard;
    uint64_t begin, end;         /* range of the shard file */
    struct wf_segment *segments; /* segments_max */
    uint32_t n_segments;
    struct wf_read *reads; /* reads_max */
    uint32_t n_reads;
    uint64_t *input_at; /* [segment * n_inputs of that segment ...]: place in the input buffer,
                           segment by segment; reads_max entries */
};

/* A walk over all spans in file order. Zero-initialise, then call wf_span_next until it returns
 * false. `skip_block(arg, shard, block)` (may be NULL) lets a resumed run leave out finished
 * blocks. */
struct wf_span_walk {
    uint32_t shard;
    uint64_t at; /* next byte of the shard; 0: at its start */
    size_t job;  /* the job at `at` */
};

bool wf_span_next(const struct wf_plan *plan, const struct wf_budget *budget,
                  struct wf_span_walk *walk,
                  bool (*skip_block)(void *arg, uint32_t shard, uint64_t block), void *arg,
                  struct wf_span *span);

#endif
