/* cmd_work.c - what the commands that make a folder share: signals, and the sentence at the end. */
#include "cli.h"

#include <signal.h>

static void on_stop_signal(int number)
{
    (void)number;
    weft_stop();
}

/* Before the library makes OUT.partial, so that there is no moment at which a signal loses work.
 * The handlers replace an inherited "ignore" too: a scheduler's TERM must count. A closed pipe or a
 * file size limit is an error from write(), which is reported, not a death. */
void cli_catch_signals(void)
{
    static const int stop[] = {SIGINT, SIGTERM, SIGUSR1};
    static const int ignore[] = {SIGPIPE, SIGXFSZ};
    struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof stop / sizeof stop[0]; i++)
        sigaction(stop[i], &action, NULL);
    action.sa_handler = SIG_IGN;
    for (size_t i = 0; i < sizeof ignore / sizeof ignore[0]; i++)
        sigaction(ignore[i], &action, NULL);
}

static void print_summary(const struct weft_merge_result *r, const char *did, const char *out)
{
    char merged[32], copied[32], read[32], written[32], rate[32], peak[32];
    double seconds = (double)r->wall_ns / 1e9;
    double per_second = seconds > 0 ? (double)(r->bytes_read + r->bytes_written) / seconds : 0;
    if (r->already_done) {
        fprintf(stderr, "weft: %s is already complete; nothing was done\n", out);
        return;
    }
    fprintf(stderr,
            "weft: %s %s tensors and copied %s into %s: %s read, %s written in %.2f s (%s/s), "
            "peak memory %s\n",
            did, weft_format_count(r->tensors_merged, merged),
            weft_format_count(r->tensors_copied, copied), out,
            weft_format_bytes(r->bytes_read, read), weft_format_bytes(r->bytes_written, written),
            seconds, weft_format_bytes((uint64_t)per_second, rate),
            weft_format_bytes(r->peak_rss_bytes, peak));
}

static unsigned percent(uint64_t part, uint64_t whole)
{
    return whole ? (unsigned)(100.0 * (double)part / (double)whole + 0.5) : 0;
}

/* Where the time went: the phases that there were, and what the threads waited for. */
static void print_times(const struct weft_merge_result *r)
{
    const struct weft_times *t = &r->times;
    const struct {
        const char *name;
        uint64_t ns;
        bool always;
    } phases[] = {{"planning", t->plan_ns, true},
                  {"statistics", t->statistics_ns, false},
                  {"merging", t->map_ns, true},
                  {"waiting for other ranks", t->ranks_ns, false},
                  {"components", t->components_ns, false},
                  {"task deltas", t->deltas_ns, false},
                  {"publishing", t->publish_ns, true}};
    uint64_t computing = t->arithmetic_ns + t->devices_ns + t->hashing_ns;
    fputs("weft: ", stderr);
    for (size_t i = 0; i < sizeof phases / sizeof phases[0]; i++)
        if (phases[i].ns || phases[i].always)
            fprintf(stderr, "%s%s %.2f s", i ? ", " : "", phases[i].name,
                    (double)phases[i].ns / 1e9);
    if (r->bound_by)
        fprintf(
            stderr,
            "; bound by %s: compute threads %u %% busy, %u %% copying from the page cache, %u %% "
            "waiting for reads, %u %% for writes; readers %u %% busy, writers %u %%",
            r->bound_by, percent(computing, t->compute_ns), percent(t->copying_ns, t->compute_ns),
            percent(t->waiting_for_reads_ns, t->compute_ns),
            percent(t->waiting_for_writes_ns, t->compute_ns), percent(t->reading_ns, t->readers_ns),
            percent(t->writing_ns, t->writers_ns));
    fputc('\n', stderr);
}

int cli_work(const struct cli_args *args, const char *did, const char *out,
             int (*work)(struct weft *w, const struct cli_args *args,
                         struct weft_merge_result *result))
{
    struct weft *w = NULL;
    struct weft_merge_result result = {0};
    int status = cli_open(args, &w);
    cli_catch_signals(); /* after the session, which lowers the stop flag */
    if (status == WEFT_OK)
        status = work(w, args, &result);
    if (status == WEFT_OK && !args->options.json && args->options.log_level > WEFT_LOG_WARNING &&
        result.rank == 0) {
        if (!result.already_done)
            print_times(&result);
        print_summary(&result, did, out);
    }
    status = cli_close(args, w, status);
    if (status == WEFT_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status =
            cli_fail(args, WEFT_MACHINE,
                     "%s is complete, but not all events could be written to standard output", out);
    return status;
}
