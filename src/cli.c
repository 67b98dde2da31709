/* cli.c - the table of flags, the parser over it, and how a run ends. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

/* In the order of the enums in weft.h: a word's index is the value. */
static const char *const backends[] = {"auto", "cpu", "cuda", NULL};
static const char *const manifests[] = {"xxh3", "sha256", "none", NULL};
static const char *const compats[] = {"weft", "mergekit", NULL};
static const char *const progresses[] = {"auto", "bar", "plain", "none", NULL};
static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const ios[] = {"auto", "buffered", "direct", NULL};

_Static_assert(WEFT_BACKEND_CUDA == 2 && WEFT_MANIFEST_NONE == 2 && WEFT_COMPAT_MERGEKIT == 1 &&
                   WEFT_PROGRESS_NONE == 3 && WEFT_LOG_DEBUG == 3 && WEFT_IO_DIRECT == 2,
               "the words above follow the enums");
_Static_assert(sizeof(enum weft_backend) == sizeof(unsigned), "choices are stored as unsigned");

#define AT(member) offsetof(struct cli_args, member)

const struct cli_option cli_options[CLI_OPTIONS] = {
    [CLI_BASE] =
        {.name = "--base",
         .kind = CLI_MODEL,
         .value = "BASE",
         .otherwise = "none",
         .help =
             "The model that the fine-tune was made from. For diff, of which both were: it adds "
             "the cosine of the two differences, which says whether the fine-tunes "
             "pull the same way.",
         .offset = AT(base)},
    [CLI_WEIGHT] = {.name = "--weight",
                    .kind = CLI_LIST,
                    .value = "TASK=FACTOR",
                    .otherwise = "none: every task needs one",
                    .help =
                        "What the component of the task TASK is multiplied with; repeated, once "
                        "for each task.",
                    .offset = AT(weight)},
    [CLI_FITNESS] = {.name = "--fitness",
                     .kind = CLI_MODEL,
                     .value = "COMMAND",
                     .otherwise = "none: it must be given",
                     .help = "The shell command that rates a model: it gets a folder as its "
                             "argument, and the last line it prints is a number.",
                     .offset = AT(fitness)},
    [CLI_BUDGET] = {.name = "--budget",
                    .kind = CLI_COUNT,
                    .value = "N",
                    .otherwise = "none: it must be given",
                    .help = "How many models are rated, those of a resumed search included.",
                    .offset = AT(budget)},
    [CLI_OUT] = {.name = "--out",
                 .kind = CLI_MODEL,
                 .value = "OUT",
                 .otherwise = "searched",
                 .help = "The folder to make: the best model, with its recipe.",
                 .offset = AT(out)},
    [CLI_SEED] = {.name = "--seed",
                  .kind = CLI_COUNT,
                  .value = "N",
                  .initial = "1",
                  .help = "What the candidates are drawn with.",
                  .offset = AT(seed)},
    [CLI_SEARCH_DENSITY] = {.name = "--density",
                            .kind = CLI_SWITCH,
                            .help = "Look for the density, too, from 0.01 to 1.",
                            .offset = AT(search_density)},
    [CLI_WEIGHT_MAX] = {.name = "--weight-max",
                        .kind = CLI_NUMBER,
                        .value = "NUMBER",
                        .initial = "2",
                        .most = 1000,
                        .help = "Weights are looked for from 0 to this.",
                        .offset = AT(weight_max)},
    [CLI_MINIMIZE] = {.name = "--minimize",
                      .kind = CLI_SWITCH,
                      .help = "Less is better: the command prints a loss.",
                      .offset = AT(minimize)},
    [CLI_TIMEOUT] = {.name = "--timeout",
                     .kind = CLI_COUNT,
                     .value = "SECONDS",
                     .otherwise = "none",
                     .help = "The longest that the command may take.",
                     .offset = AT(timeout)},
    [CLI_DIFFABLE] = {.name = "--diffable",
                      .kind = CLI_SWITCH,
                      .help = "Leave out what varies by machine (offsets, memory, times), so that "
                              "two plans can be compared with diff.",
                      .offset = AT(options.diffable)},
    [CLI_RANKS] = {.name = "--ranks",
                   .kind = CLI_COUNT,
                   .value = "N",
                   .otherwise = "as many as the launcher started",
                   .help = "How many ranks, processes started by srun or mpirun, share the work; "
                           "another number of them is refused, but 1 works alone under any "
                           "launcher. For plan: show how so many would share it.",
                   .offset = AT(options.ranks)},
    [CLI_GPUS_PER_RANK] = {.name = "--gpus-per-rank",
                           .kind = CLI_COUNT,
                           .value = "N",
                           .otherwise = "none",
                           .most = 64,
                           .help = "With --ranks: each has so many GPUs, of --device-memory if "
                                   "that is given. They need not be there.",
                           .offset = AT(options.gpus_per_rank)},
    [CLI_BANDWIDTH] = {.name = "--bandwidth",
                       .kind = CLI_SIZE,
                       .value = "RATE",
                       .otherwise = "2 GB read and 1.5 GB written, a good local disk",
                       .help = "Bytes per second that one rank reads from the file system, and "
                               "that it can write at the same time, while all ranks work.",
                       .offset = AT(options.bandwidth)},
    [CLI_MARKDOWN] = {.name = "--markdown",
                      .kind = CLI_SWITCH,
                      .help = "Print Markdown, the form of docs/METHODS.md.",
                      .offset = AT(markdown)},
    [CLI_RANK] = {.name = "--rank",
                  .kind = CLI_COUNT,
                  .value = "RANK",
                  .otherwise = "none",
                  .most = 65536,
                  .help = "The rank of the adapter to write; less where there is no more.",
                  .offset = AT(rank)},
    [CLI_ENERGY] = {.name = "--energy",
                    .kind = CLI_NUMBER,
                    .value = "SHARE",
                    .otherwise = "none",
                    .most = 1,
                    .help = "For each tensor, the lowest rank that keeps this share of the "
                            "difference's squared norm, within --rank.",
                    .offset = AT(energy)},
    [CLI_THRESHOLD] = {.name = "--threshold",
                       .kind = CLI_NUMBER,
                       .value = "SIGMA",
                       .otherwise = "none",
                       .most = HUGE_VAL,
                       .help = "For each tensor, as many ranks as the difference has singular "
                               "values above this, within --rank.",
                       .offset = AT(threshold)},
    [CLI_INCLUDE] = {.name = "--include",
                     .kind = CLI_LIST,
                     .value = "PATTERN",
                     .otherwise = "linear layers but embeddings and heads",
                     .help = "Factor only weights whose names match; may be repeated. '*' crosses "
                             "dots.",
                     .offset = AT(include)},
    [CLI_EXCLUDE] = {.name = "--exclude",
                     .kind = CLI_LIST,
                     .value = "PATTERN",
                     .otherwise = "none",
                     .help = "Do not factor weights whose names match; may be repeated.",
                     .offset = AT(exclude)},
    [CLI_SAVE_WHOLE] = {.name = "--save-whole",
                        .kind = CLI_LIST,
                        .value = "PATTERN",
                        .otherwise = "none",
                        .help = "Put tensors whose names match into the adapter as they are, if "
                                "they differ from the base's (modules_to_save); may be repeated. "
                                "vLLM does not load such adapters.",
                        .offset = AT(save_whole)},
    [CLI_MEMORY] = {.name = "--memory",
                    .kind = CLI_SIZE,
                    .value = "SIZE",
                    .otherwise = "a quarter of RAM",
                    .help = "Host memory to work in. Tensors larger than this are streamed in "
                            "tiles; the result does not change.",
                    .offset = AT(options.memory_bytes)},
    [CLI_DEVICE_MEMORY] = {.name = "--device-memory",
                           .kind = CLI_SIZE,
                           .value = "SIZE",
                           .otherwise = "nine tenths of what the GPU has free",
                           .help = "Memory to use on each GPU. The result does not depend on it.",
                           .offset = AT(options.device_memory_bytes)},
    [CLI_BACKEND] = {.name = "--backend",
                     .kind = CLI_CHOICE,
                     .value = "auto|cpu|cuda",
                     .choices = backends,
                     .initial = "auto",
                     .help =
                         "Where to compute. auto is cuda where there is a GPU that can be used, "
                         "and cpu elsewhere; cuda fails with the reason where there is none. "
                         "The result does not depend on it.",
                     .offset = AT(options.backend)},
    [CLI_GPUS] = {.name = "--gpus",
                  .kind = CLI_GPU_LIST,
                  .value = "all|0,1",
                  .initial = "all",
                  .help = "The GPUs to use, by the numbers that weft doctor shows.",
                  .offset = AT(options.gpus)},
    [CLI_THREADS] = {.name = "--threads",
                     .kind = CLI_COUNT,
                     .value = "N",
                     .otherwise = "one for each CPU this process may use",
                     .help = "Compute threads. The result does not depend on it.",
                     .offset = AT(options.threads)},
    [CLI_RESUME] = {.name = "--resume",
                    .kind = CLI_SWITCH,
                    .help = "Go on with the OUT.partial that an interrupted merge of the same "
                            "recipe left behind; start over where nothing in it can be used. "
                            "Where OUT is finished already, there is nothing to do.",
                    .offset = AT(options.resume)},
    [CLI_OVERWRITE] = {.name = "--overwrite",
                       .kind = CLI_SWITCH,
                       .help = "Replace OUT and OUT.partial if they exist. The old OUT stays until "
                               "the new one is complete.",
                       .offset = AT(options.overwrite)},
    [CLI_SHARD_SIZE] = {.name = "--shard-size",
                        .kind = CLI_SIZE,
                        .value = "SIZE",
                        .initial = "5GB",
                        .help = "Tensor bytes in each output file. A larger tensor gets a file of "
                                "its own.",
                        .offset = AT(options.shard_bytes)},
    [CLI_MANIFEST] = {.name = "--manifest",
                      .kind = CLI_CHOICE,
                      .value = "xxh3|sha256|none",
                      .choices = manifests,
                      .initial = "xxh3",
                      .help = "Checksums in weft_manifest.json. xxh3 is computed as files are "
                              "written; sha256 costs one extra read of the result.",
                      .offset = AT(options.manifest)},
    [CLI_COMPAT] =
        {.name = "--compat",
         .kind = CLI_CHOICE,
         .value = "weft|mergekit",
         .choices = compats,
         .initial = "weft",
         .help = "mergekit does what mergekit does where recipes depend on it (docs/RECIPES.md "
                 "lists it), and makes keys that it ignores a warning, not an error.",
         .offset = AT(options.compat)},
    [CLI_IO] = {.name = "--io",
                .kind = CLI_CHOICE,
                .value = "auto|buffered|direct",
                .choices = ios,
                .initial = "auto",
                .help = "How tensor bytes are read and written. auto suits each file; buffered "
                        "goes through the page cache; direct goes around it.",
                .offset = AT(options.io)},
    [CLI_EMIT_COMPONENTS] =
        {.name = "--emit-components",
         .kind = CLI_SWITCH,
         .help = "Also write what each task adds to the base, before its weight, into "
                 "OUT/components: weft combine makes models of them for other weights. For methods "
                 "whose result is such a sum: pcb.",
         .offset = AT(options.emit_components)},
    [CLI_NULL_COMPUTE] = {.name = "--null-compute",
                          .kind = CLI_SWITCH,
                          .help = "For benchmarks: read and write everything, compute nothing. The "
                                  "output is meaningless.",
                          .offset = AT(options.null_compute)},
    [CLI_TRACE] = {.name = "--trace",
                   .kind = CLI_MODEL,
                   .value = "FILE",
                   .otherwise = "none",
                   .help =
                       "Also write a timeline of all threads, for ui.perfetto.dev or "
                       "chrome://tracing: what was read, computed, hashed and written when, and "
                       "who waited. An old FILE is replaced.",
                   .offset = AT(options.trace)},
    [CLI_LOG_LEVEL] = {.name = "--log-level",
                       .kind = CLI_CHOICE,
                       .value = "error|warning|info|debug",
                       .choices = log_levels,
                       .initial = "info",
                       .help = "The least important message to print on standard error.",
                       .offset = AT(options.log_level)},
    [CLI_PROGRESS] = {.name = "--progress",
                      .kind = CLI_CHOICE,
                      .value = "auto|bar|plain|none",
                      .choices = progresses,
                      .initial = "auto",
                      .help = "How progress is shown on standard error. auto is a bar on a "
                              "terminal and a line every few seconds elsewhere.",
                      .offset = AT(options.progress)},
    [CLI_JSON] = {.name = "--json",
                  .kind = CLI_SWITCH,
                  .help = "Print results and events on standard output, one JSON object a line, "
                          "and show no progress.",
                  .offset = AT(options.json)},
    [CLI_HELP] = {.name = "--help",
                  .letter = 'h',
                  .kind = CLI_SWITCH,
                  .help = "Print this help and exit.",
                  .offset = AT(help)},
    [CLI_VERSION] = {.name = "--version",
                     .kind = CLI_SWITCH,
                     .help = "Print the version and exit.",
                     .offset = AT(version)},
};

static const struct {
    int status;
    const char *meaning;
} exits[] = {
    {WEFT_OK, "done"},
    {WEFT_NO, "the answer is no: diff found a difference, verify found damage"},
    {WEFT_USAGE, "wrong usage or recipe, or models that do not fit together"},
    {WEFT_INPUT, "a damaged input file, or NaN or infinity in a tensor"},
    {WEFT_MACHINE, "the machine cannot: memory, disk or device"},
    {WEFT_BUG, "a mistake of weft's own; please report it"},
    {WEFT_STOPPED,
     "stopped by a signal, with what can be saved of the work; run again with --resume"},
};

const char *cli_exit_meaning(int status)
{
    for (size_t i = 0; i < sizeof exits / sizeof exits[0]; i++)
        if (exits[i].status == status)
            return exits[i].meaning;
    return NULL;
}

const char *cli_prefix(const struct cli_command *command)
{
    return command->translate ? "" : "weft ";
}

bool cli_has_option(const struct cli_command *command, enum cli_option_id id)
{
    if (id == CLI_HELP || id == CLI_VERSION)
        return true;
    for (const enum cli_option_id *o = command->options; *o != CLI_OPTIONS; o++)
        if (*o == id)
            return true;
    return false;
}

/* Errors. */

static void write_event(int status, const char *message)
{
    fprintf(stdout, "{\"event\":\"error\",\"exit\":%d,\"message\":", status);
    weft_write_json_string(stdout, message);
    fprintf(stdout, ",\"rank\":%u}\n", weft_rank());
}

int cli_fail(const struct cli_args *args, int status, const char *format, ...)
{
    char text[8192];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (args->options.json)
        write_event(status, text);
    /* A file name may hold a line feed or a terminal's escape; the line must stay one line. */
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    fprintf(stderr, "weft: error: %s\n", text);
    return status;
}

/* The scan of argv. What is wrong is only noted: --json and --help may still follow. */

struct scan {
    struct cli_args *args;
    int argc;
    char **argv;
    const char *unknown;          /* the first flag that no command has */
    const char *extra;            /* the first argument too many */
    enum cli_option_id valueless; /* the first flag that lacks its value; CLI_OPTIONS: none */
    enum cli_option_id overfull;  /* the first switch that was given one */
    const char *words[1 + CLI_ARGUMENTS_MAX]; /* the command and its arguments */
    size_t n_words;
};

static enum cli_option_id find_option(const char *text, size_t n)
{
    for (int id = 0; id < CLI_OPTIONS; id++) {
        const struct cli_option *o = &cli_options[id];
        if (strlen(o->name) == n && !memcmp(o->name, text, n))
            return (enum cli_option_id)id;
        if (n == 2 && o->letter && text[1] == o->letter)
            return (enum cli_option_id)id;
    }
    return CLI_OPTIONS;
}

/* "-5" is taken, to be refused as a value. */
bool cli_looks_like_flag(const char *word)
{
    return word[0] == '-' && word[1] && !(word[1] >= '0' && word[1] <= '9');
}

/* argv[i] is a flag; returns the index of its last word. */
static int take_flag(struct scan *s, int i)
{
    const char *text = s->argv[i];
    size_t n = strcspn(text, "=");
    enum cli_option_id id = find_option(text, n);
    if (id == CLI_OPTIONS) {
        if (!s->unknown)
            s->unknown = text;
        return i;
    }
    const char **value = &s->args->given[id];
    if (cli_options[id].kind == CLI_SWITCH) {
        *value = "";
        if (text[n] && s->overfull == CLI_OPTIONS)
            s->overfull = id;
    } else if (text[n]) {
        *value = text + n + 1;
    } else if (i + 1 < s->argc && !cli_looks_like_flag(s->argv[i + 1])) {
        *value = s->argv[++i];
    } else if (s->valueless == CLI_OPTIONS) {
        s->valueless = id;
    }
    return i;
}

static void scan_words(struct scan *s)
{
    bool flags = true;
    for (int i = 1; i < s->argc; i++) {
        const char *word = s->argv[i];
        if (flags && !strcmp(word, "--"))
            flags = false;
        else if (flags && word[0] == '-' && word[1])
            i = take_flag(s, i);
        else if (s->n_words < sizeof s->words / sizeof s->words[0])
            s->words[s->n_words++] = word;
        else if (!s->extra)
            s->extra = word;
    }
}

/* What the scan found, judged. */

/* The only candidate that begins with `word`, or NULL. */
static const char *only_completion(const char *word, const char *const *candidates)
{
    const char *found = NULL;
    size_t n = strlen(word);
    for (; n && *candidates; candidates++) {
        if (strncmp(*candidates, word, n))
            continue;
        if (found)
            return NULL;
        found = *candidates;
    }
    return found;
}

/* " (did you mean 'x'?)" of an abbreviation or a typo, or `otherwise`. */
static const char *suggestion(char *buf, size_t size, const char *word,
                              const char *const *candidates, const char *otherwise)
{
    const char *near = only_completion(word, candidates);
    if (!near)
        near = weft_nearest_word(word, candidates);
    if (near)
        snprintf(buf, size, " (did you mean '%s'?)", near);
    else
        snprintf(buf, size, "%s", otherwise);
    return buf;
}

static int find_command(struct cli_args *a, const char *word)
{
    enum { MANY = 32 };
    const char *names[MANY + 1];
    char hint[128];
    size_t n = 0;
    for (size_t i = 0; a->commands[i]; i++) {
        if (!a->commands[i]->translate && !strcmp(a->commands[i]->name, word)) {
            a->command = a->commands[i];
            return WEFT_OK;
        }
        if (!a->commands[i]->hidden && n < MANY)
            names[n++] = a->commands[i]->name;
    }
    names[n] = NULL;
    if (!strcmp(word, "help") || !strcmp(word, "version"))
        return cli_fail(a, WEFT_USAGE, "unknown command '%s' (did you mean 'weft --%s'?)", word,
                        word);
    return cli_fail(a, WEFT_USAGE, "unknown command '%s'%s", word,
                    suggestion(hint, sizeof hint, word, names, "; 'weft --help' lists them"));
}

/* `text` is a flag (perhaps with "=value") that the command does not have. */
static int refuse_flag(const struct cli_args *a, const char *text)
{
    enum { FOREIGN_MAX = 32 };
    const char *names[CLI_OPTIONS + FOREIGN_MAX + 1];
    char flag[256], otherwise[320], hint[320];
    size_t n = 0;
    for (int id = 0; id < CLI_OPTIONS; id++)
        if (cli_has_option(a->command, (enum cli_option_id)id))
            names[n++] = cli_options[id].name;
    const struct cli_foreign *f = a->command->translate ? cli_foreign : NULL;
    for (; f && f->name && n < CLI_OPTIONS + FOREIGN_MAX; f++)
        names[n++] = f->name;
    names[n] = NULL;
    snprintf(flag, sizeof flag, "%.*s", (int)strcspn(text, "="), text);
    snprintf(otherwise, sizeof otherwise, "; '%s%s --help' lists its flags", cli_prefix(a->command),
             a->command->name);
    return cli_fail(a, WEFT_USAGE, "%s has no flag '%s'%s", a->command->name, flag,
                    suggestion(hint, sizeof hint, flag, names, otherwise));
}

static int check_flags(const struct scan *s)
{
    const struct cli_args *a = s->args;
    if (s->unknown)
        return refuse_flag(a, s->unknown);
    for (int id = 0; id < CLI_OPTIONS; id++)
        if ((a->given[id] || s->valueless == (enum cli_option_id)id) &&
            !cli_has_option(a->command, (enum cli_option_id)id))
            return refuse_flag(a, cli_options[id].name);
    if (s->overfull != CLI_OPTIONS)
        return cli_fail(a, WEFT_USAGE, "%s takes no value", cli_options[s->overfull].name);
    if (s->valueless != CLI_OPTIONS) {
        const struct cli_option *o = &cli_options[s->valueless];
        return cli_fail(a, WEFT_USAGE, "%s needs a value: %s %s", o->name, o->name, o->value);
    }
    return WEFT_OK;
}

static bool gpu_list_ok(const char *text)
{
    if (!strcmp(text, "all"))
        return true;
    for (;;) {
        size_t digits = strspn(text, "0123456789");
        if (digits == 0 || digits > 4)
            return false;
        text += digits;
        if (!*text)
            return true;
        if (*text++ != ',')
            return false;
    }
}

/* A size by its form, whose number alone is more than weft can count. */
static bool is_vast_size(const char *text)
{
    char small[8];
    uint64_t bytes;
    size_t digits = strspn(text, "0123456789");
    int n = snprintf(small, sizeof small, "1%s", text + digits);
    return digits && n > 0 && (size_t)n < sizeof small && weft_parse_size(small, &bytes) == WEFT_OK;
}

static int set_size(struct cli_args *a, const struct cli_option *o, const char *text, void *place)
{
    uint64_t bytes;
    bool good = weft_parse_size(text, &bytes) == WEFT_OK;
    if (!good && is_vast_size(text))
        return cli_fail(a, WEFT_USAGE,
                        "%s: the size '%s' is too large; the most is %" PRIu64 " bytes", o->name,
                        text, UINT64_MAX);
    if (!good)
        return cli_fail(a, WEFT_USAGE,
                        "%s: '%s' is not a size; write a whole number of bytes, with K M G T Ki Mi "
                        "Gi Ti if you like: 8G, 512Mi",
                        o->name, text);
    if (bytes == 0)
        return cli_fail(a, WEFT_USAGE, "%s: the size must be more than 0", o->name);
    memcpy(place, &bytes, sizeof bytes);
    return WEFT_OK;
}

static int set_count(struct cli_args *a, const struct cli_option *o, const char *text, void *place)
{
    uint64_t n = 0;
    unsigned most = o->most > 0 ? (unsigned)o->most : CLI_COUNT_MAX;
    bool digits = *text && text[strspn(text, "0123456789")] == 0;
    if (!digits || weft_parse_size(text, &n) != WEFT_OK || n < 1 || n > most)
        return cli_fail(a, WEFT_USAGE, "%s: '%s' is not a whole number from 1 to %u", o->name, text,
                        most);
    memcpy(place, &(unsigned){(unsigned)n}, sizeof(unsigned));
    return WEFT_OK;
}

static int set_number(struct cli_args *a, const struct cli_option *o, const char *text, void *place)
{
    double x;
    if (weft_parse_number(text, &x) != WEFT_OK || !(x > 0) || x > o->most)
        return cli_fail(a, WEFT_USAGE,
                        o->most < HUGE_VAL ? "%s: '%s' is not a number above 0 and "
                                             "at most %g"
                                           : "%s: '%s' is not a number above 0",
                        o->name, text, o->most);
    memcpy(place, &x, sizeof x);
    return WEFT_OK;
}

/* A value of a flag that may be repeated. */
static int add_item(struct cli_args *a, const struct cli_option *o, const char *text)
{
    struct cli_list *list = (struct cli_list *)((char *)a + o->offset);
    if (!*text)
        return cli_fail(a, WEFT_USAGE, "%s: the value is empty", o->name);
    if (list->n == CLI_LIST_MAX)
        return cli_fail(a, WEFT_USAGE, "%s: given more than %d times", o->name, CLI_LIST_MAX);
    list->items[list->n++] = text;
    return WEFT_OK;
}

static int set_choice(struct cli_args *a, const struct cli_option *o, const char *text, void *place)
{
    char hint[128];
    for (unsigned i = 0; o->choices[i]; i++) {
        if (!strcmp(o->choices[i], text)) {
            memcpy(place, &i, sizeof i);
            return WEFT_OK;
        }
    }
    return cli_fail(a, WEFT_USAGE, "%s: '%s' is not one of %s%s", o->name, text, o->value,
                    suggestion(hint, sizeof hint, text, o->choices, ""));
}

static int set_text(struct cli_args *a, const struct cli_option *o, const char *text, void *place)
{
    if (o->kind == CLI_MODEL && !*text)
        return cli_fail(a, WEFT_USAGE, "%s: the value is empty", o->name);
    if (o->kind == CLI_GPU_LIST && !gpu_list_ok(text))
        return cli_fail(a, WEFT_USAGE, "%s: '%s' is neither 'all' nor device numbers such as 0,1",
                        o->name, text);
    memcpy(place, &text, sizeof text);
    return WEFT_OK;
}

static int set_option(struct cli_args *a, const struct cli_option *o, const char *text)
{
    void *place = (char *)a + o->offset;
    switch (o->kind) {
    case CLI_SWITCH:
        memcpy(place, &(bool){true}, sizeof(bool));
        return WEFT_OK;
    case CLI_SIZE:
        return set_size(a, o, text, place);
    case CLI_COUNT:
        return set_count(a, o, text, place);
    case CLI_CHOICE:
        return set_choice(a, o, text, place);
    case CLI_GPU_LIST:
    case CLI_MODEL:
        return set_text(a, o, text, place);
    case CLI_NUMBER:
        return set_number(a, o, text, place);
    case CLI_LIST:
        return WEFT_OK; /* each was added as it came */
    }
    return cli_fail(a, WEFT_BUG, "%s is of no known kind", o->name);
}

/* Defaults go the way of typed values, so that what --help calls the default is the default. */
static int set_options(struct cli_args *a)
{
    for (int id = 0; id < CLI_OPTIONS; id++) {
        bool has = cli_has_option(a->command, (enum cli_option_id)id);
        const char *text = a->given[id] || !has ? a->given[id] : cli_options[id].initial;
        int status = text ? set_option(a, &cli_options[id], text) : WEFT_OK;
        if (status != WEFT_OK)
            return status;
    }
    return WEFT_OK;
}

/* "RECIPE OUT" of what the command needs. */
static const char *argument_names(const struct cli_command *command, char *buf, size_t size)
{
    size_t n = 0;
    buf[0] = 0;
    for (const struct cli_argument *arg = command->arguments; arg->name && n < size; arg++)
        n += (size_t)snprintf(buf + n, size - n, arg->optional ? "%s[%s]" : "%s%s", n ? " " : "",
                              arg->name);
    return buf;
}

static int set_arguments(const struct scan *s)
{
    struct cli_args *a = s->args;
    const struct cli_argument *arg = a->command->arguments;
    char names[128];
    size_t n = 0;
    argument_names(a->command, names, sizeof names);
    for (; arg[n].name; n++) {
        const char *word = n + 1 < s->n_words ? s->words[n + 1] : NULL;
        if (!word && !arg[n].optional)
            return cli_fail(a, WEFT_USAGE, "%s needs %s; usage: %s%s %s", a->command->name,
                            arg[n].name, cli_prefix(a->command), a->command->name, names);
        if (word && !*word)
            return cli_fail(a, WEFT_USAGE, "%s: %s is empty", a->command->name, arg[n].name);
        a->positional[n] = word;
    }
    const char *extra = n + 1 < s->n_words ? s->words[n + 1] : s->extra;
    if (extra)
        return cli_fail(a, WEFT_USAGE, "%s: '%s' is one argument too many; usage: %s%s %s",
                        a->command->name, extra, cli_prefix(a->command), a->command->name, names);
    return WEFT_OK;
}

/* Flags that may be repeated: their values in the order of the line. */
static int add_items(struct scan *s)
{
    for (int i = 1; i < s->argc && strcmp(s->argv[i], "--"); i++) {
        const char *word = s->argv[i];
        size_t n = strcspn(word, "=");
        enum cli_option_id id = word[0] == '-' && word[1] ? find_option(word, n) : CLI_OPTIONS;
        if (id == CLI_OPTIONS || cli_options[id].kind == CLI_SWITCH)
            continue;
        const char *value = word[n] ? word + n + 1 : s->argv[++i];
        int status =
            cli_options[id].kind == CLI_LIST ? add_item(s->args, &cli_options[id], value) : WEFT_OK;
        if (status != WEFT_OK)
            return status;
    }
    return WEFT_OK;
}

/* The order of the checks is the order in which a person would want to hear of them. */
static int parse(struct cli_args *a, int argc, char **argv)
{
    struct scan s = {
        .args = a,
        .argc = argc,
        .argv = argv,
        .valueless = CLI_OPTIONS,
        .overfull = CLI_OPTIONS,
    };
    if (a->command) /* a program's name says it */
        s.words[s.n_words++] = a->command->name;
    scan_words(&s);
    a->options.json = a->given[CLI_JSON] != NULL;
    a->help = a->given[CLI_HELP] != NULL;
    a->version = a->given[CLI_VERSION] != NULL;
    if (s.n_words == 0 && (a->help || a->version))
        return WEFT_OK;
    if (s.n_words == 0 && s.unknown)
        return cli_fail(a, WEFT_USAGE, "unknown flag '%s' and no command; see 'weft --help'",
                        s.unknown);
    if (s.n_words == 0)
        return cli_fail(a, WEFT_USAGE, "no command given; 'weft --help' lists them");
    int status = a->command ? WEFT_OK : find_command(a, s.words[0]);
    if (status != WEFT_OK || a->help || a->version)
        return status;
    if ((status = check_flags(&s)) != WEFT_OK || (status = add_items(&s)) != WEFT_OK ||
        (status = set_options(a)) != WEFT_OK)
        return status;
    return set_arguments(&s);
}

/* Sessions. */

int cli_open(const struct cli_args *args, struct weft **w)
{
    *w = NULL;
    return weft_create(w, &args->options);
}

int cli_close(const struct cli_args *args, struct weft *w, int status)
{
    if (status != WEFT_OK && status != WEFT_NO)
        cli_fail(args, status, "%s", weft_error(w));
    weft_destroy(w);
    return status;
}

/* The run. */

/* A process started without descriptor 1 or 2 would give that number to the first file it opens,
 * and a message could end up in a tensor. Fill the gap with something that refuses the use. */
static void occupy_standard_descriptors(void)
{
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
            (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

/* Results that did not reach their reader are a failure, and only the last flush may show it. */
static int close_output(const struct cli_args *a, int status)
{
    bool failed = ferror(stdout) != 0;
    if (!failed) /* else it says why an earlier write failed: the last may have nothing left */
        errno = 0;
    failed |= fclose(stdout) != 0;
    if (!failed || (status != WEFT_OK && status != WEFT_NO))
        return status;
    struct cli_args plain = *a;
    plain.options.json = false; /* there is no standard output to put an event on */
    return cli_fail(&plain, WEFT_MACHINE, "cannot write to standard output%s%s", errno ? ": " : "",
                    errno ? strerror(errno) : "");
}

/* The command that argv[0] is the name of; NULL: the first word behind it says which. */
static const struct cli_command *program_of(const struct cli_command *const *commands,
                                            const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    const char *name = slash ? slash + 1 : path;
    for (; name && *commands; commands++)
        if ((*commands)->translate && !strcmp((*commands)->name, name))
            return *commands;
    return NULL;
}

int cli_main(const struct cli_command *const *commands, int argc, char **argv)
{
    struct cli_args args = {.commands = commands, .command = program_of(commands, argv[0])};
    occupy_standard_descriptors();
    weft_options_init(&args.options);
    if (args.command)
        args.command->translate(&args, &argc, &argv);
    int status = parse(&args, argc, argv);
    if (status != WEFT_OK)
        return close_output(&args, status);
    if (args.help)
        cli_print_help(stdout, commands, args.command);
    else if (args.version)
        fputs("weft " WEFT_VERSION "\n", stdout);
    else
        status = args.command->run(&args);
    return close_output(&args, status);
}
