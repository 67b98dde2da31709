/* budget.c - choosing span and slot sizes, and cutting the output into spans. */
#include "budget.h"

#include <inttypes.h>

#include "../base/num.h"
#include "../format/outfile.h"

/* Chosen by bench/run.sh (docs/PERFORMANCE.md): spans large enough for full-speed direct I/O, slots
 * enough to keep every reader and writer busy. */
#define SPAN_BYTES_MAX (4u << 20)
#define SPAN_BYTES_MIN 4096u
#define SLOTS_MAX 24u
#define SLOTS_MIN 2u
#define SLOTS_WANTED 8u
#define READERS 8u
#define WRITERS 4u

/* What an input range may take in the buffer beyond its bytes: direct reads start and end at
 * multiples of WF_DIRECT_ALIGN. */
#define READ_SLACK (2u * WF_DIRECT_ALIGN)

uint64_t wf_job_input_bytes(const struct wf_job *job, uint32_t i, uint64_t out_bytes)
{
    if (job->action == WF_ACTION_COPY)
        return out_bytes;
    return out_bytes / (wf_dtype_info(job->dtype)->bits / 8) *
           (wf_dtype_info(job->in[i]->dtype)->bits / 8);
}

/* The largest input volume for one span of span_bytes, over all jobs, and the inputs' number. */
static void worst_job(const struct wf_plan *plan, uint64_t span_bytes, uint64_t *bytes,
                      uint32_t *n_inputs)
{
    *bytes = 0;
    *n_inputs = 1;
    for (size_t j = 0; j < plan->n_jobs; j++) {
        const struct wf_job *job = &plan->jobs[j];
        uint64_t sum = 0;
        for (uint32_t i = 0; i < job->n_inputs; i++)
            sum += wf_job_input_bytes(job, i, span_bytes) + READ_SLACK;
        *bytes = wf_max_u64(*bytes, sum);
        if (job->n_inputs > *n_inputs)
            *n_inputs = job->n_inputs;
    }
}

static void set_sizes(const struct wf_plan *plan, struct wf_budget *b, uint64_t span_bytes)
{
    uint32_t n_inputs;
    uint64_t worst;
    worst_job(plan, span_bytes, &worst, &n_inputs);
    b->span_bytes = span_bytes;
    b->input_bytes = wf_round_up(worst + READ_SLACK, WF_DIRECT_ALIGN);
    b->slot_bytes = b->input_bytes + span_bytes;
    b->reads_max = n_inputs > WF_SEGMENT_INPUTS ? n_inputs : WF_SEGMENT_INPUTS;
    b->segments_max = WF_SEGMENT_INPUTS;
}

/* Tables of one slot: reads, segments and input places, beside its buffers. */
static uint64_t table_bytes(const struct wf_budget *b)
{
    return b->reads_max * (sizeof(struct wf_read) + sizeof(uint64_t)) +
           b->segments_max * sizeof(struct wf_segment);
}

int wf_budget_set(struct wf_err *e, const struct wf_plan *plan, uint64_t memory_bytes,
                  uint64_t meta_bytes, unsigned threads, struct wf_budget *out)
{
    struct wf_budget b = {.memory_bytes = memory_bytes,
                          .meta_bytes = meta_bytes,
                          .readers = READERS,
                          .writers = WRITERS,
                          .compute = threads};
    uint64_t ring = memory_bytes > meta_bytes ? memory_bytes - meta_bytes : 0;
    for (uint64_t span = SPAN_BYTES_MAX; span >= SPAN_BYTES_MIN; span /= 2) {
        set_sizes(plan, &b, span);
        uint64_t slots = ring / (b.slot_bytes + table_bytes(&b));
        if (slots >= SLOTS_WANTED || (span == SPAN_BYTES_MIN && slots >= SLOTS_MIN)) {
            b.slots = (uint32_t)wf_min_u64(slots, SLOTS_MAX);
            b.compute = (unsigned)wf_min_u64(b.compute, b.slots); /* one works on one slot */
            *out = b;
            return WF_OK;
        }
    }
    uint64_t needed = meta_bytes + SLOTS_MIN * (b.slot_bytes + table_bytes(&b));
    char text[2][32];
    return wf_fail(e, WF_MACHINE,
                   "--memory %s is too little for this merge; it needs at least "
                   "%" PRIu64 " bytes (%s)",
                   wf_format_bytes(memory_bytes, text[0]), needed,
                   wf_format_bytes(needed, text[1]));
}

/* Steps the walk over shards and jobs until it stands at a byte that belongs to a span. */
static bool find_start(const struct wf_plan *plan, struct wf_span_walk *w,
                       bool (*skip_block)(void *, uint32_t, uint64_t), void *arg)
{
    for (; w->shard < plan->n_shards; w->shard++, w->at = 0) {
        const struct wf_shard *s = &plan->shards[w->shard];
        if (w->at == 0) {
            w->at = s->header.n;
            w->job = s->first_job;
        }
        while (w->at < s->bytes && skip_block && skip_block(arg, w->shard, w->at / WF_BLOCK_BYTES))
            w->at = wf_min_u64(s->bytes, (w->at / WF_BLOCK_BYTES + 1) * WF_BLOCK_BYTES);
        if (w->at < s->bytes)
            break;
    }
    if (w->shard == plan->n_shards)
        return false;
    while (plan->jobs[w->job].offset + plan->jobs[w->job].bytes <= w->at)
        w->job++; /* also steps over tensors without elements */
    return true;
}

/* What a segment may take of the input buffer at most. */
static uint64_t segment_cost(const struct wf_job *job, uint64_t bytes)
{
    uint64_t cost = 0;
    for (uint32_t i = 0; i < job->n_inputs; i++)
        cost += wf_job_input_bytes(job, i, bytes) + READ_SLACK;
    return cost;
}

static void add_segments(const struct wf_plan *plan, const struct wf_budget *b,
                         struct wf_span_walk *w, uint64_t limit, struct wf_span *span)
{
    uint64_t used = 0;
    uint32_t inputs = 0;
    while (w->at < limit) {
        const struct wf_job *job = &plan->jobs[w->job];
        uint64_t end = wf_min_u64(job->offset + job->bytes, limit), bytes = end - w->at;
        uint64_t cost = segment_cost(job, bytes);
        bool full = used + cost > b->input_bytes || inputs + job->n_inputs > b->reads_max ||
                    span->n_segments == b->segments_max;
        if (bytes && span->n_segments && full)
            return;
        if (bytes) {
            span->segments[span->n_segments++] =
                (struct wf_segment){job, w->at - job->offset, bytes};
            used += cost;
            inputs += job->n_inputs;
        }
        w->at = end;
        if (end == job->offset + job->bytes)
            w->job++;
    }
}

/* Places the inputs of all segments in the buffer, input by input, so that neighbours in a file
 * become one read. Element alignment within a page is kept, as direct reads need. */
static void add_reads(struct wf_span *span)
{
    uint64_t top = 0;
    bool more = true;
    span->n_reads = 0;
    for (uint32_t i = 0; more; i++) {
        struct wf_read *open = NULL; /* the read that the next segment may extend */
        uint64_t *place = span->input_at;
        more = false;
        for (uint32_t s = 0; s < span->n_segments; s++) {
            const struct wf_segment *g = &span->segments[s];
            uint32_t n = g->job->n_inputs;
            more |= i + 1 < n;
            if (i < n) {
                const struct wf_tensor *t = g->job->in[i];
                uint32_t ckpt = g->job->input_ckpt[i];
                uint64_t offset = t->offset + wf_job_input_bytes(g->job, i, g->skip);
                uint64_t bytes = wf_job_input_bytes(g->job, i, g->bytes);
                if (!open || open->ckpt != ckpt || open->file != t->file ||
                    open->offset + open->bytes != offset) {
                    open = &span->reads[span->n_reads++];
                    uint64_t page = wf_round_up(top, WF_DIRECT_ALIGN);
                    *open =
                        (struct wf_read){ckpt, t->file, offset, 0, page + offset % WF_DIRECT_ALIGN};
                }
                place[i] = open->at + open->bytes;
                open->bytes += bytes;
                top = open->at + open->bytes;
            }
            place += n;
        }
    }
}

bool wf_span_next(const struct wf_plan *plan, const struct wf_budget *budget,
                  struct wf_span_walk *walk, bool (*skip_block)(void *, uint32_t, uint64_t),
                  void *arg, struct wf_span *span)
{
    if (!find_start(plan, walk, skip_block, arg))
        return false;
    const struct wf_shard *shard = &plan->shards[walk->shard];
    uint64_t limit = wf_round_down(walk->at, budget->span_bytes) + budget->span_bytes;
    limit = wf_min_u64(limit, shard->bytes);
    span->shard = walk->shard;
    span->begin = walk->at;
    span->n_segments = 0;
    add_segments(plan, budget, walk, limit, span);
    span->end = walk->at;
    add_reads(span);
    return true;
}
