/* cmd_doctor.c - `weft doctor [FOLDER]`. */
#include "cli.h"

static int run(const struct cli_args *args)
{
    struct weft *w = NULL;
    int status = cli_open(args, &w);
    if (status == WEFT_OK)
        status = weft_doctor(w, args->positional[0]);
    return cli_close(args, w, status);
}

const struct cli_command cmd_doctor = {
    .name = "doctor",
    .summary = "show what was built in, what this machine has, and its disk's rate",
    .description =
        "Prints the version and build, CPUs and instruction sets, memory and limits, the GPUs with "
        "their copy rates (or why none is used), and a short read and write rate of FOLDER. Put "
        "its output into a bug report.",
    .arguments = {{.name = "FOLDER",
                   .optional = true,
                   .help = "Where to measure; a small file is made there and removed. Default: the "
                           "working directory."}},
    .options = (const enum cli_option_id[]){CLI_LOG_LEVEL, CLI_JSON, CLI_OPTIONS},
    .examples = {{"weft doctor", "the working directory's disk"},
                 {"weft doctor /data", "the disk that the models are on"}},
    .exits = (const int[]){WEFT_OK, WEFT_USAGE, WEFT_MACHINE, WEFT_BUG, -1},
    .run = run,
};
