/* main.c - the list of commands. */
#include "cli.h"

int main(int argc, char **argv)
{
    static const struct cli_command *const commands[] = {
        &cmd_merge,         &cmd_apply,  &cmd_combine, &cmd_search, &cmd_extract_lora,
        &cmd_compress_lora, &cmd_plan,   &cmd_inspect, &cmd_diff,   &cmd_verify,
        &cmd_methods,       &cmd_doctor, &cmd_gen,     &cmd_yaml,   NULL,
    };
    return cli_main(commands, argc, argv);
}
