/* cmd_combine.c - `weft combine COMPONENTS OUT --weight TASK=FACTOR ...`. */
#include "cli.h"

static int work(struct weft *w, const struct cli_args *args, struct weft_merge_result *result)
{
    return weft_combine(w, args->positional[0], args->base, args->weight.items, args->weight.n,
                        args->positional[1], result);
}

static int run(const struct cli_args *args)
{
    return cli_work(args, "combined", args->positional[1], work);
}

const struct cli_command cmd_combine = {
    .name = "combine",
    .summary = "a model from the parts that weft merge --emit-components wrote",
    .description =
        "Adds the components of a merge, each times a factor of its own, to the base, in one pass, "
        "and publishes the folder OUT as weft merge does. A factor stands for weight times lambda: "
        "those of the merge give its bytes. What the tasks' elements were ranked and balanced with "
        "is not done again, so trying other factors costs one pass over the base.",
    .arguments = {{.name = "COMPONENTS",
                   .help = "The folder that weft merge --emit-components made. Its manifest says "
                           "where the base is."},
                  {.name = "OUT",
                   .help = "The folder to make. It must not exist, unless --overwrite says so."}},
    .options =
        (const enum cli_option_id[]){CLI_BASE, CLI_WEIGHT, CLI_MEMORY, CLI_DEVICE_MEMORY,
                                     CLI_BACKEND, CLI_GPUS, CLI_THREADS, CLI_RANKS, CLI_RESUME,
                                     CLI_OVERWRITE, CLI_SHARD_SIZE, CLI_MANIFEST, CLI_IO, CLI_TRACE,
                                     CLI_LOG_LEVEL, CLI_PROGRESS, CLI_JSON, CLI_OPTIONS},
    .examples = {{"weft combine merged other --weight math=1.2 --weight code=0.9",
                  "the merge with other weights"}},
    .exits =
        (const int[]){WEFT_OK, WEFT_USAGE, WEFT_INPUT, WEFT_MACHINE, WEFT_BUG, WEFT_STOPPED, -1},
    .run = run,
};
