/* cmd_apply.c - `weft apply SHARED DELTA OUT`. */
#include "cli.h"

static int work(struct weft *w, const struct cli_args *args, struct weft_merge_result *result)
{
    return weft_apply(w, args->positional[0], args->positional[1], args->positional[2], result);
}

static int run(const struct cli_args *args)
{
    return cli_work(args, "applied", args->positional[2], work);
}

const struct cli_command cmd_apply = {
    .name = "apply",
    .summary = "one task's model from a shared model and a task delta or adapter",
    .description =
        "Reads the model SHARED, puts on it what DELTA holds, and publishes the folder OUT as weft "
        "merge does. DELTA is a file that a merge with task_deltas wrote, or a PEFT adapter.\n\n"
        "Tensors that DELTA does not change are copied byte for byte. Where it replaces values, "
        "as with store: replace, they are the task's own bits; with density 1 the model is the "
        "task's, bit for bit.",
    .arguments = {{.name = "SHARED",
                   .help = "A model folder, one safetensors file, or org/name[@revision] in the "
                           "local Hugging Face cache."},
                  {.name = "DELTA", .help = "A task delta's file, or an adapter's folder."},
                  {.name = "OUT",
                   .help = "The folder to make. It must not exist, unless --overwrite says so."}},
    .options = (const enum cli_option_id[]){CLI_MEMORY, CLI_DEVICE_MEMORY, CLI_BACKEND, CLI_GPUS,
                                            CLI_THREADS, CLI_RANKS, CLI_RESUME, CLI_OVERWRITE,
                                            CLI_SHARD_SIZE, CLI_MANIFEST, CLI_IO, CLI_TRACE,
                                            CLI_LOG_LEVEL, CLI_PROGRESS, CLI_JSON, CLI_OPTIONS},
    .examples = {{"weft apply merged merged/deltas/math.safetensors math",
                  "the model of the task math"},
                 {"weft apply models/base adapters/math merged",
                  "a base with its adapter merged in"}},
    .exits =
        (const int[]){WEFT_OK, WEFT_USAGE, WEFT_INPUT, WEFT_MACHINE, WEFT_BUG, WEFT_STOPPED, -1},
    .run = run,
};
