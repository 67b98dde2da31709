/* cmd_help.c - the text of --help, from the tables. */
#include "cli.h"

#include <string.h>

#define WIDTH 80

/* Prints words from column `at`, wrapping to column `indent`; an empty line in the text stays one.
 */
static void wrap(FILE *out, const char *text, size_t at, size_t indent)
{
    bool first = true;
    while (*text) {
        size_t n = strcspn(text, " \n");
        if (!first && at + 1 + n > WIDTH) {
            fprintf(out, "\n%*s", (int)indent, "");
            at = indent;
        } else if (!first) {
            fputc(' ', out);
            at++;
        }
        fwrite(text, 1, n, out);
        at += n;
        first = false;
        text += n;
        if (!strncmp(text, "\n\n", 2)) {
            fprintf(out, "\n\n%*s", (int)indent, "");
            at = indent;
            first = true;
        }
        text += strspn(text, " \n");
    }
    fputc('\n', out);
}

/* "  left   right, wrapped at its own column" */
static void print_row(FILE *out, const char *left, size_t column, const char *right)
{
    int n = fprintf(out, "  %s", left);
    size_t at = n > 0 ? (size_t)n : 0;
    if (at + 2 > column) {
        fputc('\n', out);
        at = 0;
    }
    fprintf(out, "%*s", (int)(column - at), "");
    wrap(out, right, column, column);
}

/* "-h, --help" or "    --memory SIZE" */
static void flag_text(const struct cli_option *o, char *buf, size_t size)
{
    char letter[8] = "";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(buf, size, "%s%s%s%s", letter, o->name, o->value ? " " : "", o->value ? o->value : "");
}

static void print_flags(FILE *out, const struct cli_command *command)
{
    char left[64], right[512];
    fputs("\nFlags (anywhere on the line; --flag=value works too; -- ends them):\n", out);
    for (int id = 0; id < CLI_OPTIONS; id++) {
        const struct cli_option *o = &cli_options[id];
        const char *fallback = o->initial ? o->initial : o->otherwise;
        if (!cli_has_option(command, (enum cli_option_id)id))
            continue;
        flag_text(o, left, sizeof left);
        snprintf(right, sizeof right, "%s%s%s%s", o->help, fallback ? " Default: " : "",
                 fallback ? fallback : "", fallback ? "." : "");
        print_row(out, left, 31, right);
    }
}

/* mergekit-yaml's flags, with what they come to. */
static void print_foreign(FILE *out)
{
    char left[64], right[512];
    fputs("\nFlags of mergekit-yaml (a switch has a --no- form as well):\n", out);
    for (const struct cli_foreign *f = cli_foreign; f->name; f++) {
        struct cli_option o = {.name = f->name, .letter = f->letter, .value = f->value};
        flag_text(&o, left, sizeof left);
        snprintf(right, sizeof right, "%s%s%s",
                 f->ignored == CLI_IGNORED_ON    ? "Ignored: "
                 : f->ignored == CLI_IGNORED_OFF ? "The default; its --no- form is ignored: "
                                                 : "",
                 f->help, f->ignored ? "." : "");
        print_row(out, left, 31, right);
    }
}

static void print_size_note(FILE *out, const struct cli_command *command)
{
    for (int id = 0; id < CLI_OPTIONS; id++) {
        if (cli_options[id].kind == CLI_SIZE && cli_has_option(command, (enum cli_option_id)id)) {
            fputs("\nA SIZE is a whole number of bytes with an optional K, M, G, T (decimal) or\n"
                  "Ki, Mi, Gi, Ti, each with or without a final B: 512Mi, 8G, 5GB.\n",
                  out);
            return;
        }
    }
}

static void print_exits(FILE *out, const int *exits)
{
    char left[16];
    fputs("\nExit codes:\n", out);
    for (; *exits >= 0; exits++) {
        snprintf(left, sizeof left, "%2d", *exits);
        print_row(out, left, 6, cli_exit_meaning(*exits));
    }
}

/* "weft merge RECIPE OUT [flags]" */
static void print_usage(FILE *out, const struct cli_command *command)
{
    fprintf(out, "%s%s", cli_prefix(command), command->name);
    for (const struct cli_argument *arg = command->arguments; arg->name; arg++)
        fprintf(out, arg->optional ? " [%s]" : " %s", arg->name);
    fputs(" [flags]", out);
}

static void print_command(FILE *out, const struct cli_command *command)
{
    fprintf(out, "%s%s - %s\n\nUsage: ", cli_prefix(command), command->name, command->summary);
    print_usage(out, command);
    fputs("\n\n", out);
    wrap(out, command->description, 0, 0);
    if (command->arguments[0].name)
        fputs("\nArguments:\n", out);
    for (const struct cli_argument *arg = command->arguments; arg->name; arg++)
        print_row(out, arg->name, 12, arg->help);
    print_flags(out, command);
    if (command->translate)
        print_foreign(out);
    print_size_note(out, command);
    if (command->examples[0].line)
        fputs("\nExamples:\n", out);
    for (const struct cli_example *example = command->examples; example->line; example++)
        fprintf(out, "  %s\n      %s\n", example->line, example->what);
    print_exits(out, command->exits);
}

static void print_program(FILE *out, const struct cli_command *const *commands)
{
    static const int all[] = {WEFT_OK,      WEFT_NO,  WEFT_USAGE,   WEFT_INPUT,
                              WEFT_MACHINE, WEFT_BUG, WEFT_STOPPED, -1};
    fputs("weft - merge fine-tuned model checkpoints\n\n"
          "Usage: weft COMMAND [arguments] [flags]\n\nCommands:\n",
          out);
    for (; *commands; commands++)
        if (!(*commands)->hidden)
            print_row(out, (*commands)->name, 17, (*commands)->summary);
    fputs("\n'weft COMMAND --help' explains a command; 'weft --version' prints the version.\n"
          "\nExamples:\n"
          "  weft inspect models/base\n      what is in a checkpoint\n"
          "  weft plan recipe.yaml\n      what a merge would read, write and need\n"
          "  weft merge recipe.yaml merged --memory 8G\n      merge, within 8 GB of memory\n"
          "  weft verify merged\n      check every byte of the result\n",
          out);
    print_exits(out, all);
}

void cli_print_help(FILE *out, const struct cli_command *const *commands,
                    const struct cli_command *command)
{
    if (command)
        print_command(out, command);
    else
        print_program(out, commands);
}
