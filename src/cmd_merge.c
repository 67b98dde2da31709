/* cmd_merge.c - `weft merge RECIPE OUT`. */
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

static void print_summary(const struct weft_merge_result *r, const char *out)
{
    char merged[32], copied[32], read[32], written[32], rate[32], peak[32];
    double seconds = (double)r->wall_ns / 1e9;
    double per_second = seconds > 0 ? (double)(r->bytes_read + r->bytes_written) / seconds : 0;
    if (r->already_done) {
        fprintf(stderr, "weft: %s is already complete; nothing was done\n", out);
        return;
    }
    fprintf(stderr,
            "weft: merged %s tensors and copied %s into %s: %s read, %s written in %.2f s (%s/s), "
            "peak memory %s\n",
            weft_format_count(r->tensors_merged, merged),
            weft_format_count(r->tensors_copied, copied), out,
            weft_format_bytes(r->bytes_read, read), weft_format_bytes(r->bytes_written, written),
            seconds, weft_format_bytes((uint64_t)per_second, rate),
            weft_format_bytes(r->peak_rss_bytes, peak));
}

static int run(const struct cli_args *args)
{
    struct weft *w = NULL;
    struct weft_merge_result result = {0};
    int status = cli_open(args, &w);
    cli_catch_signals(); /* after the session, which lowers the stop flag */
    if (status == WEFT_OK)
        status = weft_merge(w, args->positional[0], args->positional[1], &result);
    if (status == WEFT_OK && !args->options.json && args->options.log_level > WEFT_LOG_ERROR)
        print_summary(&result, args->positional[1]);
    status = cli_close(args, w, status);
    if (status == WEFT_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = cli_fail(args, WEFT_MACHINE,
                          "%s is complete, but not all events could be written to standard output",
                          args->positional[1]);
    return status;
}

const struct cli_command cmd_merge = {
    .name = "merge",
    .summary = "run a recipe and publish the folder OUT",
    .description =
        "Reads the models that RECIPE names, merges them tensor by tensor within the memory given, "
        "and publishes a checkpoint folder that loads like any other: weights, config, tokenizer, "
        "a model card, the recipe, and weft_manifest.json with checksums.\n\n"
        "Work happens in OUT.partial; OUT appears whole, by a rename, or not at all. Inputs are "
        "only read. The same recipe and inputs give the same bytes for any --threads and "
        "--memory.\n\n"
        "INT, TERM and USR1 stop the merge within seconds with the finished tensors kept; the "
        "same command with --resume goes on from there, also after a crash.",
    .arguments = {{.name = "RECIPE", .help = "A recipe in YAML or JSON, mergekit's dialect."},
                  {.name = "OUT",
                   .help = "The folder to make. It must not exist, unless --overwrite says so."}},
    .options = (const enum cli_option_id[]){CLI_MEMORY, CLI_DEVICE_MEMORY, CLI_BACKEND, CLI_GPUS,
                                            CLI_THREADS, CLI_RESUME, CLI_OVERWRITE, CLI_SHARD_SIZE,
                                            CLI_MANIFEST, CLI_COMPAT, CLI_IO, CLI_NULL_COMPUTE,
                                            CLI_LOG_LEVEL, CLI_PROGRESS, CLI_JSON, CLI_OPTIONS},
    .examples = {{"weft merge recipe.yaml merged", "merge into the new folder merged"},
                 {"weft merge recipe.yaml merged --memory 8G --shard-size 2GB",
                  "work in 8 GB, write files of at most 2 GB"},
                 {"weft merge recipe.yaml merged --resume", "go on after an interruption"},
                 {"weft merge recipe.yaml merged --json > events.jsonl",
                  "events for a program, one JSON object a line"}},
    .exits =
        (const int[]){WEFT_OK, WEFT_USAGE, WEFT_INPUT, WEFT_MACHINE, WEFT_BUG, WEFT_STOPPED, -1},
    .run = run,
};
