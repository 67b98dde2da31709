/* cmd_search.c - `weft search RECIPE --fitness COMMAND --budget N`. */
#include "cli.h"

static const char *out_of(const struct cli_args *args)
{
    return args->out ? args->out : "searched";
}

static int work(struct weft *w, const struct cli_args *args, struct weft_merge_result *result)
{
    struct weft_search how = {.out = out_of(args),
                              .fitness = args->fitness,
                              .budget = args->budget,
                              .seed = args->seed,
                              .minimize = args->minimize,
                              .density = args->search_density,
                              .weight_max = args->weight_max,
                              .timeout_s = args->timeout};
    return weft_search(w, args->positional[0], &how, result);
}

static int run(const struct cli_args *args)
{
    if (!args->fitness || !args->budget)
        return cli_fail(args, WEFT_USAGE, "search needs --fitness COMMAND and --budget N");
    return cli_work(args, "found the best and merged", out_of(args), work);
}

const struct cli_command cmd_search = {
    .name = "search",
    .summary = "CMA-ES over weights and density, with a command that rates models",
    .description =
        "Looks for the weights of RECIPE's models, and with --density also for its density, with "
        "which COMMAND rates the merged model best. COMMAND is run by the shell with the model's "
        "folder as its argument, and prints a number on its last line; more is better, unless "
        "--minimize says otherwise, and nan is the worst. Weights are looked for from 0 to "
        "--weight-max; they stand for weight times lambda. The recipe's own are the first "
        "evaluation.\n\n"
        "Every evaluation is a line of OUT.search/search.jsonl. --resume goes on from there, to "
        "the same end; a larger --budget goes on further, and its result takes the place of the "
        "first. Numbers that give no model (weights that add up to zero, where a method divides "
        "by their sum) count as nan. With pcb, elements are balanced once, "
        "and "
        "each evaluation combines components; with --density, and with other methods, it is a "
        "merge. A command that fails, prints no number, or takes longer than --timeout ends the "
        "search with what it has.\n\n"
        "At the end OUT is the best model, with its recipe.",
    .arguments = {{.name = "RECIPE", .help = "A recipe with a method that has weights."}},
    .options =
        (const enum cli_option_id[]){
            CLI_FITNESS,    CLI_BUDGET,   CLI_OUT,     CLI_SEED,      CLI_SEARCH_DENSITY,
            CLI_WEIGHT_MAX, CLI_MINIMIZE, CLI_TIMEOUT, CLI_MEMORY,    CLI_DEVICE_MEMORY,
            CLI_BACKEND,    CLI_GPUS,     CLI_THREADS, CLI_RESUME,    CLI_OVERWRITE,
            CLI_SHARD_SIZE, CLI_MANIFEST, CLI_IO,      CLI_LOG_LEVEL, CLI_PROGRESS,
            CLI_JSON,       CLI_OPTIONS},
    .examples = {{"weft search recipe.yaml --fitness ./accuracy.sh --budget 100 --out best",
                  "a hundred models, the best one in best"}},
    .exits =
        (const int[]){WEFT_OK, WEFT_USAGE, WEFT_INPUT, WEFT_MACHINE, WEFT_BUG, WEFT_STOPPED, -1},
    .run = run,
};
