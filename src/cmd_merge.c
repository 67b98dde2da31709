/* cmd_merge.c - `weft merge RECIPE OUT`. */
#include "cli.h"

static int work(struct weft *w, const struct cli_args *args, struct weft_merge_result *result)
{
    return weft_merge(w, args->positional[0], args->positional[1], result);
}

static int run(const struct cli_args *args)
{
    return cli_work(args, "merged", args->positional[1], work);
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
    .options =
        (const enum cli_option_id[]){CLI_MEMORY, CLI_DEVICE_MEMORY, CLI_BACKEND, CLI_GPUS,
                                     CLI_THREADS, CLI_RANKS, CLI_RESUME, CLI_OVERWRITE,
                                     CLI_SHARD_SIZE, CLI_MANIFEST, CLI_COMPAT, CLI_EMIT_COMPONENTS,
                                     CLI_IO, CLI_NULL_COMPUTE, CLI_TRACE, CLI_LOG_LEVEL,
                                     CLI_PROGRESS, CLI_JSON, CLI_OPTIONS},
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
