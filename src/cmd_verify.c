/* cmd_verify.c - `weft verify MODEL`. */
#include "cli.h"

static int run(const struct cli_args *args)
{
    struct weft *w = NULL;
    int status = cli_open(args, &w);
    if (status == WEFT_OK)
        status = weft_verify(w, args->positional[0]);
    return cli_close(args, w, status);
}

const struct cli_command cmd_verify = {
    .name = "verify",
    .summary = "check a model against the format's rules and its manifest",
    .description =
        "Checks every rule of safetensors and of sharded folders, and, where the folder has a "
        "weft_manifest.json, reads every file and compares its checksums. What is wrong is "
        "printed, all of it, and the exit code is 1.",
    .arguments = {{.name = "MODEL",
                   .help = "A model folder, one safetensors file, or org/name[@revision] in the "
                           "local Hugging Face cache."}},
    .options =
        (const enum cli_option_id[]){CLI_MEMORY, CLI_THREADS, CLI_LOG_LEVEL, CLI_JSON, CLI_OPTIONS},
    .examples = {{"weft verify merged", "after copying a model to another machine"},
                 {"weft verify model-00002-of-00004.safetensors", "one file of a download"}},
    .exits = (const int[]){WEFT_OK, WEFT_NO, WEFT_USAGE, WEFT_INPUT, WEFT_MACHINE, WEFT_BUG, -1},
    .run = run,
};
