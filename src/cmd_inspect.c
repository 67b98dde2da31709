/* cmd_inspect.c - `weft inspect MODEL`. */
#include "cli.h"

static int run(const struct cli_args *args)
{
    struct weft *w = NULL;
    int status = cli_open(args, &w);
    if (status == WEFT_OK)
        status = weft_inspect(w, args->positional[0]);
    return cli_close(args, w, status);
}

const struct cli_command cmd_inspect = {
    .name = "inspect",
    .summary = "list the tensors, types, shapes, shards and parameters of a model",
    .description =
        "Reads headers only, so it takes no longer on a large model than on a small one. Every "
        "rule of the format that headers can break is checked on the way.",
    .arguments = {{.name = "MODEL",
                   .help = "A model folder, one safetensors file, or org/name[@revision] in the "
                           "local Hugging Face cache."}},
    .options = (const enum cli_option_id[]){CLI_LOG_LEVEL, CLI_JSON, CLI_OPTIONS},
    .examples = {{"weft inspect models/base", "a folder"},
                 {"weft inspect models/base/model.safetensors", "one file"},
                 {"weft inspect org/name@main --json", "from the local cache, for a program"}},
    .exits = (const int[]){WEFT_OK, WEFT_USAGE, WEFT_INPUT, WEFT_MACHINE, WEFT_BUG, -1},
    .run = run,
};
