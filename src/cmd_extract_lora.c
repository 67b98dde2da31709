/* cmd_extract_lora.c - `weft extract-lora MODEL OUT --base BASE --rank R`. */
#include "cli.h"

static int run(const struct cli_args *args)
{
    struct weft *w = NULL;
    struct weft_extract how = {.base = args->base,
                               .rank = args->rank,
                               .energy = args->energy,
                               .threshold = args->threshold,
                               .include = args->include.n ? args->include.items : NULL,
                               .exclude = args->exclude.items,
                               .save_whole = args->save_whole.items};
    if (!args->base)
        return cli_fail(args, WEFT_USAGE, "extract-lora needs --base BASE");
    int status = cli_open(args, &w);
    cli_catch_signals();
    if (status == WEFT_OK)
        status = weft_extract_lora(w, args->positional[0], args->positional[1], &how);
    return cli_close(args, w, status);
}

const struct cli_command cmd_extract_lora = {
    .name = "extract-lora",
    .summary = "a PEFT adapter from a full fine-tune",
    .description =
        "Writes the adapter that takes BASE as near to MODEL as its rank allows: for each linear "
        "weight that moved, the truncated singular value decomposition of the difference. Where "
        "the rank is far below the size, a randomised decomposition does the work, elsewhere an "
        "exact one; the error that is printed is measured on the factors as they are stored.\n\n"
        "Give --rank, --energy or --threshold, or several: --rank is then the limit. Embeddings "
        "and heads are left out unless --include names them. Whatever else moved (norms, biases) "
        "is named as lost, unless --save-whole puts it into the adapter. PEFT and vLLM load the "
        "result: one rank for all modules, filled up with zeros, alpha equal to it, types as in "
        "MODEL. OUT, with weft_manifest.json, appears whole or not at all.\n\n"
        "Under --backend auto a GPU is used where there is work enough for one; the factors' last "
        "bits depend on who computes. It is one file: --shard-size and --compat change nothing, "
        "and --resume starts over unless OUT is finished.",
    .arguments = {{.name = "MODEL",
                   .help = "The fine-tune: a model folder, one safetensors file, or "
                           "org/name[@revision] in the local Hugging Face cache."},
                  {.name = "OUT",
                   .help = "The folder to make. It must not exist, unless --overwrite says so."}},
    .options = (const enum cli_option_id[]){CLI_BASE,       CLI_RANK,      CLI_ENERGY,
                                            CLI_THRESHOLD,  CLI_INCLUDE,   CLI_EXCLUDE,
                                            CLI_SAVE_WHOLE, CLI_MEMORY,    CLI_DEVICE_MEMORY,
                                            CLI_BACKEND,    CLI_GPUS,      CLI_THREADS,
                                            CLI_RESUME,     CLI_OVERWRITE, CLI_SHARD_SIZE,
                                            CLI_MANIFEST,   CLI_COMPAT,    CLI_LOG_LEVEL,
                                            CLI_PROGRESS,   CLI_JSON,      CLI_OPTIONS},
    .examples = {{"weft extract-lora models/math math-lora --base models/base --rank 32",
                  "rank 32 for every linear layer"},
                 {"weft extract-lora m a --base b --energy 0.9 --rank 128",
                  "nine tenths of the squared norm, rank 128 at most"},
                 {"weft extract-lora m a --base b --rank 16 --save-whole '*norm*'",
                  "with the norms as they are"}},
    .exits =
        (const int[]){WEFT_OK, WEFT_USAGE, WEFT_INPUT, WEFT_MACHINE, WEFT_BUG, WEFT_STOPPED, -1},
    .run = run,
};
