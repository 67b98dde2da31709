/* cmd_methods.c - `weft methods [NAME]`. */
#include "cli.h"

static int run(const struct cli_args *args)
{
    struct weft *w = NULL;
    int status = cli_open(args, &w);
    if (status == WEFT_OK)
        status = weft_methods(w, args->positional[0], args->markdown);
    return cli_close(args, w, status);
}

const struct cli_command cmd_methods = {
    .name = "methods",
    .summary = "list the merge methods, or explain one",
    .description = "Without NAME, one line for each method. With it, the formula, the options with "
                   "their defaults and ranges, the passes over the inputs and the citation.",
    .arguments = {{.name = "NAME",
                   .optional = true,
                   .help = "A method, as merge_method in a recipe spells it."}},
    .options = (const enum cli_option_id[]){CLI_MARKDOWN, CLI_LOG_LEVEL, CLI_JSON, CLI_OPTIONS},
    .examples = {{"weft methods", "all of them"}, {"weft methods task_arithmetic", "one in full"}},
    .exits = (const int[]){WEFT_OK, WEFT_USAGE, WEFT_MACHINE, WEFT_BUG, -1},
    .run = run,
};
