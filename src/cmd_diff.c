/* cmd_diff.c - `weft diff A B [--base BASE]`. */
#include "cli.h"

static int run(const struct cli_args *args)
{
    struct weft *w = NULL;
    int status = cli_open(args, &w);
    if (status == WEFT_OK)
        status = weft_diff(w, args->positional[0], args->positional[1], args->base);
    return cli_close(args, w, status);
}

const struct cli_command cmd_diff = {
    .name = "diff",
    .summary = "compare two models tensor by tensor",
    .description =
        "For each tensor: are the bytes equal, the largest difference, the relative L2 "
        "difference, and the cosine; with --base the cosine is that of the two differences from "
        "the base. A summary comes last. The exit code says whether every byte is equal, so that "
        "scripts can ask.",
    .arguments = {{.name = "A",
                   .help = "A model folder, one safetensors file, or org/name[@revision] in the "
                           "local Hugging Face cache."},
                  {.name = "B", .help = "The model to compare it with."}},
    .options = (const enum cli_option_id[]){CLI_BASE, CLI_MEMORY, CLI_THREADS, CLI_LOG_LEVEL,
                                            CLI_JSON, CLI_OPTIONS},
    .examples = {{"weft diff merged models/base", "how far did the merge move from the base?"},
                 {"weft diff models/a models/b --base models/base",
                  "do two fine-tunes pull the same way?"},
                 {"weft diff one two > /dev/null && echo same", "in a script"}},
    .exits = (const int[]){WEFT_OK, WEFT_NO, WEFT_USAGE, WEFT_INPUT, WEFT_MACHINE, WEFT_BUG, -1},
    .run = run,
};
