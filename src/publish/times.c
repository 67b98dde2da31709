/* times.c - sums of phases and threads as people and programs read them. */
#include "times.h"

#include "../base/log.h"

static struct wf_stream_times threads_of(const struct weft_times *t)
{
    return (struct wf_stream_times){.readers_ns = t->readers_ns,
                                    .compute_ns = t->compute_ns,
                                    .writers_ns = t->writers_ns,
                                    .read_ns = t->reading_ns,
                                    .write_ns = t->writing_ns,
                                    .arithmetic_ns = t->arithmetic_ns,
                                    .device_ns = t->devices_ns,
                                    .copy_ns = t->copying_ns,
                                    .hash_ns = t->hashing_ns,
                                    .wait_read_ns = t->waiting_for_reads_ns,
                                    .wait_write_ns = t->waiting_for_writes_ns};
}

static void set_threads(struct weft_merge_result *r, const struct wf_stream_times *t)
{
    r->times.readers_ns = t->readers_ns;
    r->times.compute_ns = t->compute_ns;
    r->times.writers_ns = t->writers_ns;
    r->times.reading_ns = t->read_ns;
    r->times.writing_ns = t->write_ns;
    r->times.arithmetic_ns = t->arithmetic_ns;
    r->times.devices_ns = t->device_ns;
    r->times.copying_ns = t->copy_ns;
    r->times.hashing_ns = t->hash_ns;
    r->times.waiting_for_reads_ns = t->wait_read_ns;
    r->times.waiting_for_writes_ns = t->wait_write_ns;
    r->bound_by = wf_bound_name(wf_bound_of(t));
}

void wf_times_fill(const struct wf_watch *w, const struct wf_stream_times *t,
                   struct weft_merge_result *r)
{
    r->times = (struct weft_times){.plan_ns = w->ns[WF_PHASE_PLAN],
                                   .statistics_ns = w->ns[WF_PHASE_STATISTICS],
                                   .map_ns = w->ns[WF_PHASE_MAP],
                                   .ranks_ns = w->ns[WF_PHASE_RANKS],
                                   .components_ns = w->ns[WF_PHASE_COMPONENTS],
                                   .deltas_ns = w->ns[WF_PHASE_DELTAS],
                                   .publish_ns = w->ns[WF_PHASE_PUBLISH]};
    set_threads(r, t);
}

void wf_times_add(struct weft_merge_result *sum, const struct weft_merge_result *r)
{
    struct wf_stream_times all = threads_of(&sum->times), more = threads_of(&r->times);
    sum->times.plan_ns += r->times.plan_ns;
    sum->times.statistics_ns += r->times.statistics_ns;
    sum->times.map_ns += r->times.map_ns;
    sum->times.ranks_ns += r->times.ranks_ns;
    sum->times.components_ns += r->times.components_ns;
    sum->times.deltas_ns += r->times.deltas_ns;
    sum->times.publish_ns += r->times.publish_ns;
    wf_stream_times_add(&all, &more);
    set_threads(sum, &all);
}

static double share(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : 0.0;
}

void wf_times_json(struct wf_str *s, const struct weft_merge_result *r)
{
    const struct weft_times *t = &r->times;
    wf_str_printf(s,
                  ",\"stages\":{\"plan\":%.6f,\"statistics\":%.6f,\"map\":%.6f,\"ranks\":%.6f,"
                  "\"components\":%.6f,"
                  "\"deltas\":%.6f,\"publish\":%.6f},\"bound_by\":",
                  (double)t->plan_ns / 1e9, (double)t->statistics_ns / 1e9, (double)t->map_ns / 1e9,
                  (double)t->ranks_ns / 1e9, (double)t->components_ns / 1e9,
                  (double)t->deltas_ns / 1e9, (double)t->publish_ns / 1e9);
    if (r->bound_by)
        wf_str_printf(s, "\"%s\"", r->bound_by);
    else
        wf_str_puts(s, "null");
    wf_str_printf(s,
                  ",\"threads\":{\"reading\":%.4f,\"writing\":%.4f,\"arithmetic\":%.4f,"
                  "\"devices\":%.4f,\"copying\":%.4f,\"hashing\":%.4f,\"waiting_for_reads\":%.4f,"
                  "\"waiting_for_writes\":%.4f}",
                  share(t->reading_ns, t->readers_ns), share(t->writing_ns, t->writers_ns),
                  share(t->arithmetic_ns, t->compute_ns), share(t->devices_ns, t->compute_ns),
                  share(t->copying_ns, t->compute_ns), share(t->hashing_ns, t->compute_ns),
                  share(t->waiting_for_reads_ns, t->compute_ns),
                  share(t->waiting_for_writes_ns, t->compute_ns));
}

void wf_times_log(const struct weft_merge_result *r)
{
    const struct weft_times *t = &r->times;
    if (!r->bound_by)
        return;
    wf_log(
        WF_LOG_DEBUG,
        "compute threads: %.1f %% arithmetic, %.1f %% devices, %.1f %% checksums, %.1f %% copies "
        "from the page cache, %.1f %% waiting for reads, %.1f %% for writes; readers %.1f %% "
        "busy, writers %.1f %%",
        100 * share(t->arithmetic_ns, t->compute_ns), 100 * share(t->devices_ns, t->compute_ns),
        100 * share(t->hashing_ns, t->compute_ns), 100 * share(t->copying_ns, t->compute_ns),
        100 * share(t->waiting_for_reads_ns, t->compute_ns),
        100 * share(t->waiting_for_writes_ns, t->compute_ns),
        100 * share(t->reading_ns, t->readers_ns), 100 * share(t->writing_ns, t->writers_ns));
}
