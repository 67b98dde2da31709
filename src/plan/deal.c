/* deal.c - dealing the output to ranks.
 *
 * Parts are what borders can be put between: blocks, of which some are cut in two. The load of a
 * range never falls when the range grows. So a limit can be kept by `ranks` ranges if, and only if,
 * it is kept when each takes as many blocks as it can, and the least limit is found by halving.
 * With it, borders still have play: each is put, within what the ranges behind it can take, where
 * it makes the least be read twice, and then where loads are most even.
 *
 * The load of any range follows from sums from the first block on and from the two tensors that
 * its ends may cut.
 */
#include "deal.h"

#include "../base/num.h"
#include "span.h"

#define NO_TENSOR UINT32_MAX

/* A tensor of several parts that is read whole by whoever makes some of it. */
struct gathered {
    uint64_t first, last; /* parts that hold some of it */
    uint64_t bytes;       /* of its inputs */
};

/* By border k, 0 to parts: sums over all parts before it. */
struct before {
    uint64_t place;
    uint64_t read, written; /* of parts; without the inputs of gathered tensors */
    uint64_t model;         /* one pass over elements of model scope, which is not in `read` */
    uint64_t gathered;      /* inputs of gathered tensors that begin there and have work left */
    uint64_t left;          /* parts that are not done */
    uint32_t cut;           /* the gathered tensor that lies on both sides, or NO_TENSOR */
};

struct loads {
    uint64_t parts;
    unsigned model_passes;
    struct before *before; /* parts + 1 */
    struct gathered *gathered;
    size_t n_gathered;
};

/* ---- parts ---- */

static bool is_whole(const struct wf_plan *plan, const struct wf_job *job)
{
    return !plan->null_compute && job->bytes && wf_job_gathers(job) &&
           job->offset / WF_BLOCK_BYTES != (job->offset + job->bytes - 1) / WF_BLOCK_BYTES;
}

/* A border fits where a tensor begins, behind others, that reaches into the next block. Whatever
 * the budget, such a one is apart (wf_job_is_apart), and no span lies across the border. */
static bool is_cut_before(const struct wf_plan *plan, const struct wf_job *job)
{
    return is_whole(plan, job) && job->offset % WF_BLOCK_BYTES != 0 &&
           job->offset % WF_DIRECT_ALIGN == 0 && job->offset != plan->shards[job->shard].header.n;
}

/* Sets the places of all borders. */
static void set_places(const struct wf_plan *plan, const uint64_t *first, struct loads *l)
{
    for (uint32_t s = 0; s < plan->n_shards; s++) {
        const struct wf_shard *shard = &plan->shards[s];
        uint64_t base = first[s] * WF_BLOCK_BYTES, blocks = wf_plan_blocks(plan, s), k = 0;
        for (size_t j = 0; j < shard->n_jobs; j++) {
            const struct wf_job *job = &plan->jobs[shard->first_job + j];
            if (!is_cut_before(plan, job))
                continue;
            for (; k * WF_BLOCK_BYTES < job->offset; k++)
                l->before[l->parts++].place = base + k * WF_BLOCK_BYTES;
            l->before[l->parts++].place = base + job->offset;
        }
        for (; k < blocks; k++)
            l->before[l->parts++].place = base + k * WF_BLOCK_BYTES;
    }
    l->before[l->parts].place = first[plan->n_shards] * WF_BLOCK_BYTES;
}

/* The part that holds a place. */
static uint64_t part_at(const struct loads *l, uint64_t place)
{
    uint64_t low = 0, high = l->parts;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        *(l->before[middle].place <= place ? &low : &high) = middle;
    }
    return low;
}

/* ---- loads ---- */

static bool is_done(const struct loads *l, const struct wf_deal_work *work, uint64_t part)
{
    return work->done && work->done[l->before[part].place / WF_BLOCK_BYTES];
}

/* Adds a job that begins at `place` to the sums, which are still those of single parts, at the
 * border before each. */
static void add_job(struct loads *l, const struct wf_deal_work *work, const struct wf_plan *plan,
                    const struct wf_job *job, uint64_t place)
{
    uint64_t first = part_at(l, place), k = first;
    bool whole = is_whole(plan, job), left = false;
    bool model = !plan->null_compute && wf_job_has_scope(job, WF_SCOPE_MODEL);
    for (uint64_t at = 0, end; at < job->bytes; at = end, k++) {
        struct before *b = &l->before[k];
        end = wf_min_u64(job->bytes, b[1].place - place);
        uint64_t inputs = wf_job_inputs(job, end) - wf_job_inputs(job, at);
        bool done = is_done(l, work, k);
        b->read += done || whole ? 0 : inputs;
        b->model += model && work->model_passes ? inputs : 0;
        b->written += done ? 0 : end - at;
        left |= !done;
        if (whole && at)
            b->cut = (uint32_t)l->n_gathered;
    }
    if (!whole)
        return;
    struct gathered *g = &l->gathered[l->n_gathered++];
    *g = (struct gathered){first, k - 1, wf_job_inputs(job, job->bytes)};
    l->before[first].gathered += left ? g->bytes : 0;
}

/* What stands at the border before each part becomes the sum of all before it. */
static void sum_up(struct loads *l, const struct wf_deal_work *work)
{
    struct before sum = {0};
    for (uint64_t k = 0; k <= l->parts; k++) {
        struct before here = l->before[k];
        sum.place = here.place;
        sum.cut = here.cut;
        l->before[k] = sum;
        sum.read += here.read;
        sum.model += here.model;
        sum.written += here.written;
        sum.gathered += here.gathered;
        sum.left += k < l->parts && !is_done(l, work, k);
    }
}

static int make_loads(struct wf_err *e, const struct wf_plan *plan, const struct wf_deal_work *work,
                      struct loads *l)
{
    const char *what = "the deal to ranks";
    uint64_t *first = wf_alloc(e, WF_MEM_META, plan->n_shards + 1, sizeof *first, what);
    if (!first)
        return WF_MACHINE;
    wf_plan_number_blocks(plan, first);
    /* Of the tensors that begin in a block one reaches into the next. */
    uint64_t blocks = first[plan->n_shards], most = 2 * blocks;
    l->before = wf_alloc(e, WF_MEM_META, most + 1, sizeof *l->before, what);
    l->gathered = wf_alloc(e, WF_MEM_META, blocks, sizeof *l->gathered, what);
    bool ok = l->before && l->gathered;
    if (ok)
        set_places(plan, first, l);
    for (uint64_t k = 0; ok && k <= l->parts; k++)
        l->before[k].cut = NO_TENSOR;
    for (size_t j = 0; ok && j < plan->n_jobs; j++)
        add_job(l, work, plan, &plan->jobs[j],
                wf_plan_place(first, plan->jobs[j].shard, plan->jobs[j].offset));
    if (ok)
        sum_up(l, work);
    wf_free(first);
    return ok ? WF_OK : WF_MACHINE;
}

/* The gathered tensor at border k, if it reaches there from border `from` or before. */
static const struct gathered *cut_at(const struct loads *l, uint64_t k)
{
    uint32_t cut = l->before[k].cut;
    return cut == NO_TENSOR ? NULL : &l->gathered[cut];
}

static bool has_work(const struct loads *l, uint64_t from, uint64_t to)
{
    return from < to && l->before[to].left > l->before[from].left;
}

static struct wf_deal_load range_load(const struct loads *l, uint64_t from, uint64_t to)
{
    const struct before *a = &l->before[from], *b = &l->before[to];
    struct wf_deal_load load = {b->read - a->read + b->gathered - a->gathered, b->model - a->model,
                                b->written - a->written};
    const struct gathered *head = cut_at(l, from), *tail = cut_at(l, to);
    if (from == to || l->before[l->parts].left == 0)
        return (struct wf_deal_load){0};
    if (head && has_work(l, from, wf_min_u64(to, head->last + 1)))
        load.read += head->bytes;
    /* Its inputs are in the sums if any of it has work; not, if none of that is here. */
    if (tail && tail->first >= from && has_work(l, tail->first, tail->last + 1) &&
        !has_work(l, tail->first, to))
        load.read -= tail->bytes;
    load.read += load.model * l->model_passes;
    return load;
}

static uint64_t range_total(const struct loads *l, uint64_t from, uint64_t to)
{
    struct wf_deal_load load = range_load(l, from, to);
    return load.read + load.written;
}

/* Input bytes that are read on both sides of border k. */
static uint64_t read_twice(const struct loads *l, uint64_t k)
{
    const struct gathered *g = cut_at(l, k);
    return g && has_work(l, g->first, k) && has_work(l, k, g->last + 1) ? g->bytes : 0;
}

/* ---- borders ---- */

/* The farthest end of a range from `from` on, and the first begin of one up to `to`, whose load is
 * at most `limit`. */
static uint64_t farthest(const struct loads *l, uint64_t from, uint64_t limit)
{
    uint64_t low = from, high = l->parts;
    while (low < high) {
        uint64_t middle = low + (high - low + 1) / 2;
        if (range_total(l, from, middle) <= limit)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

static uint64_t earliest(const struct loads *l, uint64_t to, uint64_t limit)
{
    uint64_t low = 0, high = to;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (range_total(l, middle, to) <= limit)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool limit_holds(const struct loads *l, uint32_t ranks, uint64_t limit)
{
    uint64_t at = 0;
    for (uint32_t r = 0; r < ranks && at < l->parts; r++)
        at = farthest(l, at, limit);
    return at == l->parts;
}

static uint64_t least_limit(const struct loads *l, uint32_t ranks)
{
    uint64_t low = 0, high = range_total(l, 0, l->parts);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (limit_holds(l, ranks, middle))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The end of a range that begins at `from` and that `ranks` more follow: one of [low, high], where
 * the least is read twice; of these, where it has most nearly its share of what is left. */
static uint64_t choose_end(const struct loads *l, uint64_t from, uint64_t low, uint64_t high,
                           uint32_t ranks)
{
    uint64_t share = range_total(l, from, l->parts) / (ranks + 1);
    uint64_t best = high, least = UINT64_MAX, nearest = UINT64_MAX;
    for (uint64_t k = low; k <= high; k++) {
        uint64_t twice = read_twice(l, k), total = range_total(l, from, k);
        uint64_t off = total > share ? total - share : share - total;
        if (twice < least || (twice == least && off <= nearest)) {
            best = k;
            least = twice;
            nearest = off;
        }
    }
    return best;
}

/* begin[r] starts as the first border that ranks from r on can take over from within the limit. */
static void set_borders(const struct loads *l, uint32_t ranks, uint64_t *begin)
{
    uint64_t limit = least_limit(l, ranks);
    begin[ranks] = l->parts;
    for (uint32_t r = ranks; r-- > 1;)
        begin[r] = earliest(l, begin[r + 1], limit);
    begin[0] = 0;
    for (uint32_t r = 0; r + 1 < ranks; r++)
        begin[r + 1] = choose_end(l, begin[r], wf_max_u64(begin[r], begin[r + 1]),
                                  farthest(l, begin[r], limit), ranks - r - 1);
}

int wf_deal_make(struct wf_err *e, struct wf_arena *a, const struct wf_plan *plan,
                 const struct wf_deal_work *work, uint32_t ranks, struct wf_deal *out)
{
    struct loads l = {.model_passes = work->model_passes};
    uint64_t *begin = wf_arena_alloc(a, e, (size_t)ranks + 1, sizeof *begin);
    struct wf_deal_load *loads = begin ? wf_arena_alloc(a, e, ranks, sizeof *loads) : NULL;
    int status = loads ? make_loads(e, plan, work, &l) : WF_MACHINE;
    *out = (struct wf_deal){ranks, begin, loads};
    if (!status)
        set_borders(&l, ranks, begin);
    for (uint32_t r = 0; !status && r < ranks; r++)
        loads[r] = range_load(&l, begin[r], begin[r + 1]);
    for (uint32_t r = 0; !status && r <= ranks; r++)
        begin[r] = l.before[begin[r]].place;
    wf_free(l.before);
    wf_free(l.gathered);
    return status;
}
