/* cli.h - the command line: what a command is, and what the parser hands to it.
 *
 * Each cmd_NAME.c describes its command in one `struct cli_command` (words, arguments, flags,
 * examples, exit codes, the function that runs it); cli.c holds the one table of flags. From these
 * tables come the parser, --help (cmd_help.c), the manual page and the shell completions
 * (cmd_gen.c), so none of them can say something the others do not.
 *
 * This layer sees weft through include/weft.h only.
 */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../include/weft.h"

/* Every flag there is; the order is the order of --help. */
enum cli_option_id {
    CLI_BASE,
    CLI_WEIGHT,
    CLI_FITNESS,
    CLI_BUDGET,
    CLI_OUT,
    CLI_SEED,
    CLI_SEARCH_DENSITY,
    CLI_WEIGHT_MAX,
    CLI_MINIMIZE,
    CLI_TIMEOUT,
    CLI_DIFFABLE,
    CLI_RANKS,
    CLI_GPUS_PER_RANK,
    CLI_BANDWIDTH,
    CLI_MARKDOWN,
    CLI_RANK,
    CLI_ENERGY,
    CLI_THRESHOLD,
    CLI_INCLUDE,
    CLI_EXCLUDE,
    CLI_SAVE_WHOLE,
    CLI_MEMORY,
    CLI_DEVICE_MEMORY,
    CLI_BACKEND,
    CLI_GPUS,
    CLI_THREADS,
    CLI_RESUME,
    CLI_OVERWRITE,
    CLI_SHARD_SIZE,
    CLI_MANIFEST,
    CLI_COMPAT,
    CLI_IO,
    CLI_EMIT_COMPONENTS,
    CLI_NULL_COMPUTE,
    CLI_TRACE,
    CLI_LOG_LEVEL,
    CLI_PROGRESS,
    CLI_JSON,
    CLI_HELP, /* every command has these two without listing them */
    CLI_VERSION,
    CLI_OPTIONS, /* how many; also ends a command's list */
};

enum cli_kind {
    CLI_SWITCH, /* no value */
    CLI_SIZE,   /* bytes, more than 0 */
    CLI_COUNT,  /* 1 to `most`, or to CLI_COUNT_MAX */
    CLI_CHOICE, /* one word of `choices`; its index is the value of the enum in weft.h */
    CLI_GPU_LIST,
    CLI_MODEL,  /* a path or reference, not empty */
    CLI_NUMBER, /* more than 0, and at most `most` */
    CLI_LIST,   /* text, not empty; the flag may be repeated */
};

#define CLI_COUNT_MAX 4096

/* One flag. `offset` says where in struct cli_args its value goes. */
struct cli_option {
    const char *name; /* "--memory" */
    char letter;      /* 'h' for -h; 0: none */
    enum cli_kind kind;
    const char *value;          /* "SIZE" in help; NULL for a switch */
    const char *const *choices; /* CLI_CHOICE; ends with NULL */
    const char *initial;        /* the default, as a user would type it */
    const char *otherwise;      /* the default in words, where no value says it */
    double most;                /* CLI_NUMBER; CLI_COUNT: where it is not CLI_COUNT_MAX */
    const char *help;           /* whole sentences */
    size_t offset;
};

extern const struct cli_option cli_options[CLI_OPTIONS];

#define CLI_LIST_MAX 255

/* What a flag that may be repeated was given, in order; ends with NULL. */
struct cli_list {
    const char *items[CLI_LIST_MAX + 1];
    size_t n;
};

struct cli_args;

struct cli_argument {
    const char *name; /* "RECIPE" */
    bool optional;
    const char *help;
};

struct cli_example {
    const char *line;
    const char *what;
};

/* A flag of another program, for which a command stands in (cmd_yaml.c). */
struct cli_foreign {
    const char *name;  /* "--cuda" */
    char letter;       /* 'j' for -j; 0: none */
    const char *value; /* "SIZE" in help; NULL: a switch, which has the form --no-cuda as well */
    enum { CLI_HONOURED, CLI_IGNORED_ON, CLI_IGNORED_OFF } ignored; /* which form, if one is */
    const char *help; /* whole sentences; or, half a sentence, why it is ignored */
};

extern const struct cli_foreign cli_foreign[]; /* those of mergekit-yaml; ends with an empty name */

#define CLI_ARGUMENTS_MAX 3
#define CLI_EXAMPLES_MAX 4

struct cli_command {
    const char *name;
    const char *summary;     /* one line, lower case, no full stop */
    const char *description; /* paragraphs, separated by an empty line */
    struct cli_argument arguments[CLI_ARGUMENTS_MAX + 1]; /* ends with an empty name */
    const enum cli_option_id *options;                    /* ends with CLI_OPTIONS */
    struct cli_example examples[CLI_EXAMPLES_MAX + 1];    /* ends with an empty line */
    const int *exits; /* the exit codes it can end with; ends with -1 */
    bool hidden;      /* for the build: not in help, completions or suggestions */
    /* Of a command that is a program's name (argv[0]) and no word behind "weft": puts weft's flags
     * in the place of cli_foreign's, and sets options, before the line is parsed. Else NULL. */
    void (*translate)(struct cli_args *args, int *argc, char ***argv);
    int (*run)(const struct cli_args *args);
};

extern const struct cli_command cmd_merge, cmd_apply, cmd_plan, cmd_inspect, cmd_diff, cmd_verify,
    cmd_combine, cmd_search, cmd_extract_lora, cmd_compress_lora, cmd_methods, cmd_doctor, cmd_gen,
    cmd_yaml;

/* A command line, parsed. */
struct cli_args {
    const struct cli_command *const *commands; /* all of them; ends with NULL */
    const struct cli_command *command;
    const char *positional[CLI_ARGUMENTS_MAX]; /* NULL where an optional one is absent */
    const char *given[CLI_OPTIONS]; /* the value's text, last one wins; NULL: not given */
    struct weft_options options;
    const char *base;
    unsigned rank;
    double energy, threshold;
    struct cli_list include, exclude, save_whole, weight;
    const char *fitness, *out;
    unsigned budget, seed, timeout;
    double weight_max;
    bool search_density, minimize;
    bool markdown, help, version;
};

/* Everything from argv to the exit code. */
int cli_main(const struct cli_command *const *commands, int argc, char **argv);

/* Prints "weft: error: ..." on standard error, as one line whatever the text holds, and with --json
 * an "error" event on standard output. Returns `status`. */
int cli_fail(const struct cli_args *args, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* For commands that make a folder: INT, TERM and USR1 ask the session to stop. After cli_open. */
void cli_catch_signals(void);

/* Opens a session with the options of the command line. Always pair with cli_close. */
int cli_open(const struct cli_args *args, struct weft **w);

/* Reports the session's error where `status` is one, and destroys it. Returns `status`. */
int cli_close(const struct cli_args *args, struct weft *w, int status);

/* Runs a command that makes the folder `out`: opens a session, catches signals, calls `work`, says
 * what was done ("merged" 12 tensors ...). */
int cli_work(const struct cli_args *args, const char *did, const char *out,
             int (*work)(struct weft *w, const struct cli_args *args,
                         struct weft_merge_result *result));

/* Is this one of the command's flags (the two that all commands have included)? */
bool cli_has_option(const struct cli_command *command, enum cli_option_id id);

/* A word that cannot be the value of the flag before it. */
bool cli_looks_like_flag(const char *word);

/* "weft " in front of the name of a command that is a word behind it, "" if it is a program. */
const char *cli_prefix(const struct cli_command *command);

/* What an exit code means, in a sentence; NULL for numbers weft never returns. */
const char *cli_exit_meaning(int status);

/* --help: of one command, or (NULL) of the program. */
void cli_print_help(FILE *out, const struct cli_command *const *commands,
                    const struct cli_command *command);

#endif
