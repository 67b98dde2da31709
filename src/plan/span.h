/* span.h - how the output is cut into pieces, and where every input byte of a piece lands.
 *
 * The stream moves spans. A span is a range of one output file, small enough for a slot, never
 * across a block of 64 MiB (the unit of checksums and of the journal):
 *
 *   file    | header | tensor a      | b | c | tensor d                          | ...
 *   spans            [ span 0              ][ span 1           ][ span 2         ]
 *   segments         [ a             | b | c | d.0 ][ d.1      ] ...
 *
 * A segment is the part of one job inside a span. Cuts fall on multiples of the span size. A tensor
 * whose stages gather statistics (wf_job_gathers) and which does not lie within one such range is
 * *apart*: its spans hold nothing else. Of a gathering tensor that is not apart, one segment has
 * all.
 *
 * What is read for a segment is a window of elements around it: whole rows where a stage has
 * row scope, and whole leaves of the tree of sums.
 *
 * Everything here is a pure function of the plan and the budget's numbers; spans differ with the
 * budget, the bytes written do not.
 */
#ifndef WF_SPAN_H
#define WF_SPAN_H

#include "../format/outfile.h"
#include "budget.h"

/* What an input range may take in a slot's buffer beyond its bytes: direct reads start and end at
 * multiples of WF_DIRECT_ALIGN. */
#define WF_READ_SLACK (2u * WF_DIRECT_ALIGN)

struct wf_segment {
    const struct wf_job *job;
    uint64_t skip;  /* bytes of the job's output before this segment */
    uint64_t bytes; /* output bytes here */
};

struct wf_read {
    const struct wf_tensor *tensor; /* the first that it reads of: its file; or, by itself, a range
                                       of its rows in their new order, or of what is computed */
    uint32_t ckpt;
    uint32_t bytes;
    uint64_t offset; /* of the file */
    uint64_t at;     /* place in the slot's input buffer of the byte `offset` */
};

/* Where the window of one input is in the slot's input buffer. */
struct wf_place_in_slot {
    uint64_t at;     /* as the method sees it */
    uint64_t stored; /* as it was read: elsewhere, if the input has addends */
};

struct wf_span {
    uint32_t shard;
    uint64_t begin, end;         /* range of the shard file */
    struct wf_segment *segments; /* segments_max */
    uint32_t n_segments;
    struct wf_read *reads; /* reads_max */
    uint32_t n_reads;
    uint64_t input_end;              /* behind the last byte of the input buffer that is used */
    struct wf_place_in_slot *places; /* of the windows of inputs, segment by segment, n_inputs for
                                        each; reads_max entries */
};

/* A range of elements of a job's tensor. */
struct wf_range {
    uint64_t from, to;
};

/* The elements that `s` makes, and those that it is made from. */
struct wf_range wf_segment_elements(const struct wf_segment *s);
struct wf_range wf_segment_window(const struct wf_segment *s);
/* Where the window of input i begins in its file, and its bytes. */
uint64_t wf_window_offset(const struct wf_segment *s, uint32_t i);
uint64_t wf_window_bytes(const struct wf_segment *s, uint32_t i);
/* Bytes of the window with the input's addends applied; 0 if it has none. */
uint64_t wf_window_made_bytes(const struct wf_segment *s, uint32_t i);

/* Inputs in the page cache are fetched in pieces small enough for a second-level cache: where the
 * piece that begins at output byte `at` of the job ends, at most `end`; and the most output bytes
 * of one. Pieces are cut at whole rows where a stage has row scope, else at leaves, so that few
 * elements are fetched twice. */
uint64_t wf_piece_end(const struct wf_job *job, uint64_t at, uint64_t end);
uint64_t wf_piece_bytes(const struct wf_job *job);

/* Input bytes, of all inputs, from which bytes [0, at) of a job's output are made. */
uint64_t wf_job_inputs(const struct wf_job *job, uint64_t at);

/* A stage sums over the model. */
bool wf_job_folds_model(const struct wf_job *job);
/* A stage needs to see all of the tensor before the next one begins. */
bool wf_job_gathers(const struct wf_job *job);
bool wf_job_is_apart(const struct wf_budget *b, const struct wf_job *job);
/* The pieces that cuts make of a job, and which of them byte `skip` of its output lies in. */
uint32_t wf_job_pieces(const struct wf_budget *b, const struct wf_job *job);
uint32_t wf_job_piece(const struct wf_budget *b, const struct wf_job *job, uint64_t skip);
/* Where the piece that holds byte `skip` of the job's output ends. */
uint64_t wf_job_cut(const struct wf_budget *b, const struct wf_job *job, uint64_t skip);

/* A walk over all spans in file order. Zero-initialise, then call wf_span_next until it returns
 * false. `skip(arg, shard, at)` (may be NULL) lets a process leave out what is done or another's:
 * the first byte from `at` on that it makes, at most the end of the block; `at` itself to leave out
 * nothing. Where it stops a span must begin: at a block, or at a tensor that is apart. */
typedef uint64_t (*wf_span_skip)(void *arg, uint32_t shard, uint64_t at);

struct wf_span_walk {
    uint32_t shard;
    uint64_t at; /* next byte of the shard; 0: at its start */
    size_t job;  /* the job at `at` */
};

bool wf_span_next(const struct wf_plan *plan, const struct wf_budget *budget,
                  struct wf_span_walk *walk, wf_span_skip skip, void *arg, struct wf_span *span);

/* How many there are, without tables to put them in. */
uint64_t wf_span_count(const struct wf_plan *plan, const struct wf_budget *budget,
                       wf_span_skip skip, void *arg);

/* spans[r] becomes how many lie in places [begin[r], begin[r + 1]) of the output, for n ranges that
 * are all of it, as a deal cuts it (deal.h). */
void wf_span_count_ranges(const struct wf_plan *plan, const struct wf_budget *budget,
                          const uint64_t *first, const uint64_t *begin, uint32_t n,
                          uint64_t *spans);

/* The span of a job that begins at byte `skip` of its output: up to the next cut, or its end. */
void wf_span_of_job(const struct wf_budget *budget, const struct wf_job *job, uint64_t skip,
                    struct wf_span *span);

/* A span that writes nothing: emptied, then filled with segments in any order while they fit, then
 * closed. */
void wf_span_begin(struct wf_span *span);
bool wf_span_add(const struct wf_budget *budget, struct wf_span *span, const struct wf_segment *s);
void wf_span_close(struct wf_span *span);

#endif
