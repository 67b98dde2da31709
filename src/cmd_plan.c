/* cmd_plan.c - `weft plan RECIPE`. */
#include "cli.h"

static int run(const struct cli_args *args)
{
    struct weft *w = NULL;
    int status = cli_open(args, &w);
    if (status == WEFT_OK)
        status = weft_plan(w, args->positional[0]);
    return cli_close(args, w, status);
}

const struct cli_command cmd_plan = {
    .name = "plan",
    .summary = "show what merge would do, reading headers only",
    .description =
        "Checks RECIPE and the headers of every model it names, exactly as merge does, and prints "
        "the jobs, the passes over the inputs, bytes read and written, memory by category, a time "
        "estimate and the stage that binds. Nothing is written, and no tensor is read.\n\n"
        "Give it the flags that the merge will get: they change memory and files. GPUs are "
        "looked for with --backend cuda only; under auto the plan is for the CPU.\n\n"
        "--ranks sizes a merge on a cluster: what each rank reads and writes, the memory it needs, "
        "the time, and what binds. Headers are enough: files of full length whose data are holes "
        "will do.",
    .arguments = {{.name = "RECIPE", .help = "A recipe in YAML or JSON, mergekit's dialect."}},
    .options = (const enum cli_option_id[]){CLI_RANKS, CLI_GPUS_PER_RANK, CLI_BANDWIDTH,
                                            CLI_DIFFABLE, CLI_MEMORY, CLI_DEVICE_MEMORY,
                                            CLI_BACKEND, CLI_GPUS, CLI_THREADS, CLI_SHARD_SIZE,
                                            CLI_MANIFEST, CLI_COMPAT, CLI_EMIT_COMPONENTS, CLI_IO,
                                            CLI_LOG_LEVEL, CLI_JSON, CLI_OPTIONS},
    .examples = {{"weft plan recipe.yaml", "look before a long merge"},
                 {"weft plan recipe.yaml --memory 64Mi", "does it fit into 64 MiB?"},
                 {"weft plan recipe.yaml --diffable > plan.txt",
                  "a plan to keep under version control"},
                 {"weft plan recipe.yaml --ranks 16 --gpus-per-rank 4 --bandwidth 2G",
                  "how 16 processes of 4 GPUs would share it"}},
    .exits = (const int[]){WEFT_OK, WEFT_USAGE, WEFT_INPUT, WEFT_MACHINE, WEFT_BUG, -1},
    .run = run,
};
