/* budget.c - choosing span and slot sizes, and how much of the memory statistics get. */
#include "budget.h"

#include <inttypes.h>

#include "../base/num.h"
#include "span.h"

/* Chosen by bench/run.sh (docs/PERFORMANCE.md): spans large enough for full-speed direct I/O, slots
 * enough to keep every reader and writer busy. */
#define SPAN_BYTES_MAX (4u << 20)
#define SPAN_BYTES_MIN 4096u
#define SLOTS_USUAL 24u
#define SLOTS_WANTED 8u
#define SLOTS_MAX 65536u
#define OUTPUTS_USUAL 16u
#define READERS 8u
#define WRITERS 4u
#define GATHERS 4u

/* Bins of a bracket: enough that one count finds the threshold of floats exactly, when memory
 * allows. */
#define BINS_APART (1u << 19)
#define BINS_INSIDE (1u << 18)
#define KEYS_APART (1u << 16)
#define KEYS_INSIDE (1u << 16)
#define BINS_MIN (1u << 10)
#define KEYS_MIN (1u << 10)
#define STATISTICS_SHARE 4u /* of the memory, at most one in so many, while there is a choice */
#define FUSED_CHUNK_MAX (1u << 17) /* elements */
#define FUSED_CHUNK_MIN (1u << 12)
#define FUSED_SHARE 8u
#define LANES_WANTED 3u /* while one computes, others copy in and out */

uint64_t wf_budget_ring_bytes(const struct wf_budget *b)
{
    return b->slots * b->input_bytes + b->outputs * b->span_bytes;
}

uint64_t wf_budget_fused_bytes(const struct wf_budget *b)
{
    return b->fused.chunk ? b->fused.buffer_bytes + wf_scratch_bytes(&b->fused.scratch) : 0;
}

bool wf_budget_holds(const struct wf_budget *b, const struct wf_job *job)
{
    return wf_job_pieces(b, job) + WF_SLOTS_MIN <= b->slots;
}

/* ---- spans and slots ---- */

/* Bytes of an input with its addends, besides what is read; a little more than the span places. */
static uint64_t made_bytes(const struct wf_job *job, const struct wf_segment *s, uint32_t i,
                           uint64_t extra)
{
    if (!wf_job_makes_input(job, i))
        return 0;
    uint64_t width = wf_dtype_info(job->in_dtype[i])->bits / 8;
    return wf_min_u64(wf_window_made_bytes(s, i) + extra * width, job->count * width) +
           WF_DIRECT_ALIGN;
}

/* Bytes of the windows of one span of `span_bytes` that the job fills. */
static uint64_t span_input(const struct wf_job *job, uint64_t span_bytes)
{
    struct wf_segment s = {job, 0, wf_min_u64(span_bytes, job->bytes)};
    uint64_t sum = 0, extra = 0;
    if (wf_job_has_scope(job, WF_SCOPE_TENSOR) || wf_job_folds_model(job))
        extra += WF_FOLD_BLOCK;
    if (job->action == WF_ACTION_MAP && wf_job_has_scope(job, WF_SCOPE_ROW))
        extra += 2 * wf_rows_slab(&job->rows);
    for (uint32_t i = 0; i < job->n_inputs; i++) {
        uint64_t most = job->in[i]->bytes; /* a window never leaves the tensor */
        uint64_t wide =
            wf_window_bytes(&s, i) + extra * (wf_dtype_info(job->in[i]->dtype)->bits / 8);
        sum += wf_min_u64(wide, most) + WF_READ_SLACK + made_bytes(job, &s, i, extra);
    }
    return sum;
}

static void set_slot(const struct wf_plan *plan, struct wf_budget *b, uint64_t span_bytes)
{
    uint64_t worst = 0, fetched = 0;
    uint32_t n_inputs = 1;
    for (size_t j = 0; j < plan->n_jobs; j++) {
        const struct wf_job *job = &plan->jobs[j];
        n_inputs = job->n_inputs > n_inputs ? job->n_inputs : n_inputs;
        if (!job->bytes)
            continue;
        worst = wf_max_u64(worst, span_input(job, span_bytes));
        fetched = wf_max_u64(fetched, span_input(job, wf_piece_bytes(job)));
    }
    b->span_bytes = span_bytes;
    b->input_bytes = wf_round_up(worst + WF_READ_SLACK, WF_DIRECT_ALIGN);
    b->fetch_bytes = wf_round_up(fetched + WF_READ_SLACK, WF_DIRECT_ALIGN);
    b->fetch_bytes = b->lanes ? 0 : wf_min_u64(b->fetch_bytes, b->input_bytes);
    b->reads_max = n_inputs > WF_SEGMENT_INPUTS ? n_inputs : WF_SEGMENT_INPUTS;
    b->segments_max = WF_SEGMENT_INPUTS;
}

/* A slot with its tables, without an output buffer. */
static uint64_t slot_cost(const struct wf_budget *b)
{
    return b->input_bytes +
           b->reads_max * (sizeof(struct wf_read) + sizeof(struct wf_place_in_slot)) +
           b->segments_max * sizeof(struct wf_segment);
}

/* ---- statistics ---- */

static void raise_u32(uint32_t *top, uint64_t n)
{
    *top = n > *top ? (uint32_t)n : *top;
}

/* Raises a unit's need to what a job's stages of `scope` (and of columns, with TENSOR) ask for. */
static void add_unit_need(struct wf_unit_need *need, const struct wf_job *job, enum wf_scope scope)
{
    raise_u32(&need->inputs, job->n_inputs);
    raise_u32(&need->table, job->args->n_t);
    for (size_t s = 0; s < job->method->n_stages; s++) {
        const struct wf_stage *stage = &job->method->stages[s];
        bool columns = scope == WF_SCOPE_TENSOR && job->args->scope[s] == WF_SCOPE_COLUMN;
        if (job->args->scope[s] != scope && !columns)
            continue;
        if (stage->kind == WF_STAGE_FOLD)
            raise_u32(&need->terms, stage->fold.terms(job->n_inputs));
        need->count = wf_max_u64(need->count, job->count);
        if (stage->kind == WF_STAGE_SELECT) {
            raise_u32(&need->streams, stage->select.per_model ? job->n_inputs - 1 : 1);
            raise_u32(&need->ranks, stage->select.n_ranks);
        }
        if (columns)
            need->columns = wf_max_u64(need->columns, job->rows.stride);
    }
}

static void add_scratch_need(struct wf_need *need, const struct wf_job *job)
{
    raise_u32(&need->inputs, job->n_inputs);
    raise_u32(&need->table, job->args->n_t);
    for (size_t s = 0; s < job->method->n_stages; s++) {
        const struct wf_stage *stage = &job->method->stages[s];
        if (job->args->scope[s] == WF_SCOPE_OFF)
            continue;
        if (stage->kind == WF_STAGE_FOLD)
            raise_u32(&need->terms, stage->fold.terms(job->n_inputs));
        if (stage->kind == WF_STAGE_RANK) {
            need->rank_row = wf_max_u64(need->rank_row, wf_rows_slab(&job->rows));
            raise_u32(&need->ranked, job->n_inputs - 1);
        }
        if (stage->kind == WF_STAGE_SELECT) {
            uint64_t streams = stage->select.per_model ? job->n_inputs - 1 : 1;
            raise_u32(&need->brackets, streams * stage->select.n_ranks);
        }
    }
}

static void set_needs(const struct wf_plan *plan, struct wf_budget *b)
{
    b->scratch = (struct wf_need){.inputs = 1};
    b->inside = b->apart = b->model = (struct wf_unit_need){0};
    uint64_t model_pieces = 0, apart = 0;
    for (size_t j = 0; j < plan->n_jobs && !plan->null_compute; j++) {
        const struct wf_job *job = &plan->jobs[j];
        if (job->action != WF_ACTION_MAP || !job->count)
            continue;
        add_scratch_need(&b->scratch, job);
        if (wf_job_has_scope(job, WF_SCOPE_MODEL)) {
            add_unit_need(&b->model, job, WF_SCOPE_MODEL);
            model_pieces += wf_job_pieces(b, job);
        }
        if (!wf_job_gathers(job))
            continue;
        struct wf_unit_need *need = wf_job_is_apart(b, job) ? &b->apart : &b->inside;
        add_unit_need(need, job, WF_SCOPE_TENSOR);
        raise_u32(&need->pieces, wf_job_pieces(b, job));
        apart += need == &b->apart;
    }
    b->model.pieces = (uint32_t)wf_min_u64(model_pieces, UINT32_MAX);
    /* Slots are served in order, but for those that are still being read or that another thread
     * has: the feeder stops when the reads ahead are enough (feed.c). */
    b->apart.open = WF_READS_AHEAD * b->readers + b->compute + 2;
    b->apart.threads = b->model.threads = b->compute;
    /* Leaves of the model come in file order, where each tensor may be a run of its own. */
    b->model.count = plan->model_count;
    b->model.leaves = plan->model_leaves;
    b->model.joined = b->ranks;
    b->model.open = (uint32_t)wf_min_u64(b->apart.open + plan->n_model_jobs, UINT32_MAX);
    /* While the model's statistics are gathered with everything in the ring, no tensor is finished:
     * each that is apart needs a gather of its own. */
    b->apart_jobs = (uint32_t)apart;
    b->gathers = (uint32_t)(b->model.pieces ? apart : wf_min_u64(apart, GATHERS));
}

/* Products stay far from overflow: more than 2^44 bytes of one thing is more than any machine has.
 */
static uint64_t capped(uint64_t bytes)
{
    return wf_min_u64(bytes, (uint64_t)1 << 44);
}

static uint64_t lane_bytes(const struct wf_budget *b)
{
    return b->lanes ? capped(wf_lane_host_bytes(&b->scratch, b->span_bytes)) : 0;
}

static uint64_t pinned_bytes(const struct wf_budget *b)
{
    return b->compute * lane_bytes(b);
}

static uint64_t statistics_bytes(const struct wf_budget *b)
{
    uint64_t bytes = b->compute * (capped(wf_scratch_bytes(&b->scratch)) + b->fetch_bytes);
    bytes += pinned_bytes(b) + b->compute * capped(b->thread_bytes);
    bytes += b->readers * capped(wf_budget_fused_bytes(b));
    if (b->inside.pieces)
        bytes += b->compute * capped(wf_unit_bytes(&b->inside));
    if (b->apart.pieces)
        bytes += b->gathers * capped(wf_unit_bytes(&b->apart));
    if (b->model.pieces)
        bytes += capped(wf_unit_bytes(&b->model));
    return bytes;
}

static void halve_u32(uint32_t *n, uint32_t min)
{
    *n = *n / 2 > min ? *n / 2 : min;
}

/* Bins, keys, gathers and threads as many as a share of the memory holds; fewer cost time, not
 * truth. More lanes than are wanted do not push out bins. */
static void set_statistics(const struct wf_plan *plan, struct wf_budget *b)
{
    set_needs(plan, b);
    b->apart.bins = b->model.bins = BINS_APART;
    b->apart.keys = b->model.keys = KEYS_APART;
    b->inside.bins = BINS_INSIDE;
    b->inside.keys = KEYS_INSIDE;
    uint64_t most = b->memory_bytes / STATISTICS_SHARE;
    while (pinned_bytes(b) > most / 2 && b->compute > LANES_WANTED)
        b->compute--;
    b->apart.threads = b->model.threads = b->compute;
    while (statistics_bytes(b) > most && b->apart.bins > BINS_MIN) {
        struct wf_unit_need *needs[] = {&b->apart, &b->inside, &b->model};
        for (int k = 0; k < 3; k++) {
            halve_u32(&needs[k]->bins, BINS_MIN);
            halve_u32(&needs[k]->keys, KEYS_MIN);
        }
        b->gathers = (uint32_t)wf_min_u64(b->gathers, GATHERS);
    }
    while (statistics_bytes(b) > most && b->compute > 1)
        b->apart.threads = b->model.threads = --b->compute;
    b->statistics_bytes = statistics_bytes(b);
}

/* Runs of a stage that is computed on the way: long enough for direct reads, while memory allows.
 */
static void set_fused(const struct wf_plan *plan, struct wf_budget *b)
{
    uint32_t chunk = FUSED_CHUNK_MAX;
    do {
        b->fused = wf_fused_needs(plan, chunk);
        chunk /= 2;
    } while (b->readers * capped(wf_budget_fused_bytes(b)) > b->memory_bytes / FUSED_SHARE &&
             chunk >= FUSED_CHUNK_MIN);
}

/* ---- both ---- */

/* Slots that would hold all spans of the largest tensor, or of the whole output. Small tensors with
 * many inputs fill a span's tables before its bytes, so spans are counted, not reckoned. */
static uint64_t slots_to_hold(const struct wf_plan *plan, const struct wf_budget *b)
{
    uint64_t most = 0;
    if (b->model.pieces)
        return wf_span_count(plan, b, NULL, NULL);
    for (size_t j = 0; j < plan->n_jobs && b->apart.pieces; j++)
        if (wf_job_is_apart(b, &plan->jobs[j]))
            most = wf_max_u64(most, wf_job_pieces(b, &plan->jobs[j]));
    return most;
}

/* Stages that have to see all of a tensor (or model) first, and the looks for the element at which
 * equal keys are cut. A bracket that misses adds one more. */
static unsigned visits(const struct wf_job *job, bool model)
{
    unsigned n = 0;
    for (size_t s = 0; s < job->method->n_stages; s++) {
        enum wf_scope scope = job->args->scope[s];
        bool gathers =
            model ? scope == WF_SCOPE_MODEL : scope == WF_SCOPE_TENSOR || scope == WF_SCOPE_COLUMN;
        bool ties =
            job->method->stages[s].kind == WF_STAGE_SELECT && job->args->ties != WF_TIES_INCLUSIVE;
        n += gathers ? 1u + ties : 0u;
    }
    return n;
}

unsigned wf_budget_visits_tensor(const struct wf_budget *b, const struct wf_job *job)
{
    bool apart = b->apart.pieces && wf_job_is_apart(b, job);
    return apart && !wf_budget_holds(b, job) ? visits(job, false) : 0;
}

unsigned wf_budget_visits_model(const struct wf_budget *b, const struct wf_job *job)
{
    return b->passes > 1 && wf_job_has_scope(job, WF_SCOPE_MODEL) ? visits(job, true) : 0;
}

static void set_residency(const struct wf_plan *plan, struct wf_budget *b, uint64_t to_hold)
{
    b->model_resident =
        b->model.pieces && b->slots >= to_hold + WF_SLOTS_MIN && b->gathers >= b->apart_jobs;
    b->passes = b->model.pieces && !b->model_resident ? plan->passes : 1;
    b->again_bytes = 0;
    for (size_t j = 0; j < plan->n_jobs; j++) {
        const struct wf_job *job = &plan->jobs[j];
        b->again_bytes += (wf_budget_visits_model(b, job) + wf_budget_visits_tensor(b, job)) *
                          wf_job_inputs(job, job->bytes);
    }
}

/* Takes as many slots as the memory holds beside everything else; false if those are under `min`.
 * Few slots have an output buffer each; of many, most wait for others of their tensor. */
static bool take_slots(const struct wf_plan *plan, struct wf_budget *b, uint64_t min)
{
    uint64_t used = b->meta_bytes + b->statistics_bytes;
    uint64_t left = b->memory_bytes > used ? b->memory_bytes - used : 0;
    uint64_t slots = left / (slot_cost(b) + b->span_bytes);
    if (slots < min)
        return false;
    b->outputs = (uint32_t)wf_min_u64(slots, OUTPUTS_USUAL);
    slots = (left - b->outputs * b->span_bytes) / slot_cost(b);
    if (b->outputs < OUTPUTS_USUAL)
        slots = b->outputs;
    uint64_t to_hold = slots_to_hold(plan, b); /* besides those that keep the disk busy */
    b->slots = (uint32_t)wf_min_u64(slots, wf_min_u64(to_hold + SLOTS_USUAL, SLOTS_MAX));
    b->compute = (unsigned)wf_min_u64(b->compute, b->slots); /* one works on one slot */
    b->statistics_bytes = statistics_bytes(b);
    b->pinned_bytes = pinned_bytes(b);
    set_residency(plan, b, to_hold);
    return true;
}

/* The least that works at all: one thread, the smallest units, one tensor at a time. */
static void squeeze(struct wf_budget *b)
{
    struct wf_unit_need *needs[] = {&b->apart, &b->inside, &b->model};
    for (int k = 0; k < 3; k++) {
        needs[k]->bins = BINS_MIN;
        needs[k]->keys = KEYS_MIN;
    }
    b->gathers = (uint32_t)wf_min_u64(b->gathers, 1);
    b->compute = b->apart.threads = b->model.threads = 1;
    b->statistics_bytes = statistics_bytes(b);
}

/* Lanes are as large as spans: true if smaller ones would leave room for more threads, of which
 * there are too few. */
static bool lanes_are_too_large(const struct wf_budget *b)
{
    return b->compute < wf_min_u64(b->threads, LANES_WANTED) && b->span_bytes > SPAN_BYTES_MIN &&
           LANES_WANTED * lane_bytes(b) > b->memory_bytes / STATISTICS_SHARE;
}

/* False if the memory is too little even for the smallest of everything. */
static bool choose(const struct wf_plan *plan, struct wf_budget *b)
{
    set_fused(plan, b);
    for (uint64_t span = SPAN_BYTES_MAX; span >= SPAN_BYTES_MIN; span /= 2) {
        b->compute = b->threads;
        set_slot(plan, b, span);
        set_statistics(plan, b);
        if (!lanes_are_too_large(b) && take_slots(plan, b, SLOTS_WANTED))
            return true;
    }
    squeeze(b);
    return take_slots(plan, b, WF_SLOTS_MIN);
}

static bool reads_again(const struct wf_budget *b)
{
    return b->again_bytes || b->passes > 1;
}

uint64_t wf_round_up_memory(uint64_t n)
{
    uint64_t unit = 1000000;
    while (n / unit >= 1000)
        unit *= 10;
    return (n + unit - 1) / unit * unit;
}

/* Finds a memory with which nothing is read again, by trying: spans and slots grow with memory, and
 * with them what is held. Within a sixteenth of the least; 0 if no machine has as much. */
uint64_t wf_budget_resident(const struct wf_plan *plan, const struct wf_budget *present)
{
    uint64_t low = present->memory_bytes, high = low, most = (uint64_t)1 << 50;
    struct wf_budget b = *present;
    if (!reads_again(present))
        return present->memory_bytes;
    b.memory_bytes = most; /* a ring has only so many slots */
    if (!choose(plan, &b) || reads_again(&b))
        return 0;
    do {
        high = wf_round_up_memory(2 * high);
        b.memory_bytes = high;
        if (high > most || !choose(plan, &b))
            return 0;
    } while (reads_again(&b));
    for (low = wf_max_u64(low, high / 2); high - low > high / 16;) {
        b.memory_bytes = wf_round_up_memory(low + (high - low) / 2);
        if (b.memory_bytes < high && choose(plan, &b) && !reads_again(&b))
            high = b.memory_bytes;
        else
            low += (high - low) / 2;
    }
    return high;
}

int wf_budget_set(struct wf_err *e, const struct wf_plan *plan, const struct wf_means *means,
                  struct wf_budget *out)
{
    *out = (struct wf_budget){.memory_bytes = means->memory_bytes,
                              .meta_bytes = means->meta_bytes,
                              .threads = means->threads,
                              .lanes = means->lanes,
                              .ranks = means->ranks,
                              .thread_bytes = plan->thread_bytes,
                              .readers = READERS,
                              .writers = WRITERS};
    if (choose(plan, out))
        return WF_OK;
    uint64_t needed =
        out->meta_bytes + out->statistics_bytes + WF_SLOTS_MIN * (slot_cost(out) + out->span_bytes);
    char text[2][32];
    return wf_fail(e, WF_MACHINE,
                   "--memory %s is too little for this merge; it needs at least "
                   "%" PRIu64 " bytes (%s)",
                   wf_format_bytes(out->memory_bytes, text[0]), needed,
                   wf_format_bytes(needed, text[1]));
}
