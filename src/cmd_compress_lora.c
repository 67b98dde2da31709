/* cmd_compress_lora.c - `weft compress-lora ADAPTER OUT --rank Q`. */
#include "cli.h"

static int run(const struct cli_args *args)
{
    struct weft *w = NULL;
    if (!args->given[CLI_RANK])
        return cli_fail(args, WEFT_USAGE, "compress-lora needs --rank Q");
    int status = cli_open(args, &w);
    cli_catch_signals();
    if (status == WEFT_OK)
        status = weft_compress_lora(w, args->positional[0], args->positional[1], args->rank);
    return cli_close(args, w, status);
}

const struct cli_command cmd_compress_lora = {
    .name = "compress-lora",
    .summary = "a PEFT adapter of lower rank",
    .description =
        "Replaces the product of each module's two factors by its best approximation of rank Q "
        "(a truncated singular value decomposition, arXiv 2310.01886) and writes that as a new "
        "adapter, which PEFT and vLLM load: one rank for all modules, alpha equal to it, types as "
        "in the input. Tensors that the adapter holds whole are copied.\n\n"
        "For each module it prints the share of the squared norm that is kept, and the relative "
        "error. OUT, with weft_manifest.json, appears whole or not at all.\n\n"
        "Under --backend auto a GPU is used where there is work enough for one; the factors' last "
        "bits depend on who computes. It is one file: --shard-size and --compat change nothing, "
        "and --resume starts over unless OUT is finished.",
    .arguments = {{.name = "ADAPTER", .help = "The folder of a PEFT adapter (LoRA)."},
                  {.name = "OUT",
                   .help = "The folder to make. It must not exist, unless --overwrite says so."}},
    .options = (const enum cli_option_id[]){CLI_RANK, CLI_MEMORY, CLI_DEVICE_MEMORY, CLI_BACKEND,
                                            CLI_GPUS, CLI_THREADS, CLI_RESUME, CLI_OVERWRITE,
                                            CLI_SHARD_SIZE, CLI_MANIFEST, CLI_COMPAT, CLI_LOG_LEVEL,
                                            CLI_PROGRESS, CLI_JSON, CLI_OPTIONS},
    .examples = {{"weft compress-lora adapters/math math-r8 --rank 8",
                  "rank 8, or less where the adapter has less"}},
    .exits =
        (const int[]){WEFT_OK, WEFT_USAGE, WEFT_INPUT, WEFT_MACHINE, WEFT_BUG, WEFT_STOPPED, -1},
    .run = run,
};
