/* cmd_yaml.c - `weft-yaml CONFIG OUT`: `weft merge` for scripts that call mergekit-yaml.
 *
 * The same program under a second name. Flags of mergekit-yaml (in the manner of click: a switch
 * has a --no- form, -v may be repeated, -j4 needs no space) are taken from the line first, and
 * become a flag of weft's, an option of the library, or a line that says why they are ignored. What
 * remains goes to the parser of all commands, so that weft's own flags work here, too.
 */
#include "cli.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum flag {
    ALLOW_CRIMES,
    TRANSFORMERS_CACHE,
    LORA_MERGE_CACHE,
    LORA_MERGE_DTYPE,
    CUDA,
    DEVICE,
    LOW_CPU_MEMORY,
    OUT_SHARD_SIZE,
    COPY_TOKENIZER,
    CLONE_TENSORS,
    TRUST_REMOTE_CODE,
    RANDOM_SEED,
    LAZY_UNPICKLE,
    WRITE_MODEL_CARD,
    SAFE_SERIALIZATION,
    VERBOSE,
    QUIET,
    READ_TO_GPU,
    MULTI_GPU,
    NUM_THREADS,
    GPU_RICH,
    ASYNC_WRITE,
    WRITE_THREADS,
    FLAGS
};

const struct cli_foreign cli_foreign[] = {
    [ALLOW_CRIMES] = {.name = "--allow-crimes",
                      .help =
                          "Merge models of different architectures: allow_mixed of the recipe."},
    [TRANSFORMERS_CACHE] = {.name = "--transformers-cache",
                            .value = "FOLDER",
                            .help = "The local hub cache to look models up in: HF_HUB_CACHE."},
    [LORA_MERGE_CACHE] = {.name = "--lora-merge-cache",
                          .value = "FOLDER",
                          .ignored = CLI_IGNORED_ON,
                          .help =
                              "adapters are added while tensors are read, and nothing is cached"},
    [LORA_MERGE_DTYPE] = {.name = "--lora-merge-dtype",
                          .value = "TYPE",
                          .ignored = CLI_IGNORED_ON,
                          .help = "adapters are added in float32, whatever is stored"},
    [CUDA] = {.name = "--cuda",
              .help = "Compute on a GPU if there is one that can be used (--backend auto, the "
                      "default); --no-cuda is --backend cpu."},
    [DEVICE] = {.name = "--device",
                .value = "auto|cpu|cuda[:N]",
                .help = "The same by name: --backend, and with a number --gpus N."},
    [LOW_CPU_MEMORY] = {.name = "--low-cpu-memory",
                        .ignored = CLI_IGNORED_ON,
                        .help = "--memory bounds the memory, and models are never loaded whole"},
    [OUT_SHARD_SIZE] = {.name = "--out-shard-size",
                        .value = "SIZE",
                        .help = "Bytes of a file: --shard-size. K, M and B are thousands, millions "
                                "and billions; 5GB and 512Mi work, too."},
    [COPY_TOKENIZER] = {.name = "--copy-tokenizer",
                        .help = "The default; --no-copy-tokenizer leaves tokenizer files and chat "
                                "templates out, unless the recipe makes a tokenizer."},
    [CLONE_TENSORS] = {.name = "--clone-tensors",
                       .ignored = CLI_IGNORED_ON,
                       .help = "tensors never share memory here"},
    [TRUST_REMOTE_CODE] = {.name = "--trust-remote-code",
                           .ignored = CLI_IGNORED_ON,
                           .help = "code that comes with models is copied and never run"},
    [RANDOM_SEED] = {.name = "--random-seed",
                     .value = "N",
                     .help = "The seed of a recipe that has none."},
    [LAZY_UNPICKLE] = {.name = "--lazy-unpickle",
                       .ignored = CLI_IGNORED_ON,
                       .help = "weft reads safetensors, always in pieces"},
    [WRITE_MODEL_CARD] = {.name = "--write-model-card",
                          .help = "The default; --no-write-model-card leaves README.md out."},
    [SAFE_SERIALIZATION] = {.name = "--safe-serialization",
                            .ignored = CLI_IGNORED_OFF,
                            .help = "weft writes safetensors only"},
    [VERBOSE] = {.name = "--verbose",
                 .letter = 'v',
                 .help = "Say more: --log-level debug. May be repeated."},
    [QUIET] = {.name = "--quiet", .help = "Only warnings and errors, and no progress."},
    [READ_TO_GPU] = {.name = "--read-to-gpu",
                     .ignored = CLI_IGNORED_ON,
                     .help = "tensors go to a GPU in pieces, from buffers that it reads itself"},
    [MULTI_GPU] = {.name = "--multi-gpu", .help = "Use all GPUs: --gpus all, the default."},
    [NUM_THREADS] = {.name = "--num-threads",
                     .letter = 'j',
                     .value = "N",
                     .help = "Compute threads: --threads."},
    [GPU_RICH] = {.name = "--gpu-rich", .help = "The same as --cuda --multi-gpu here."},
    [ASYNC_WRITE] = {.name = "--async-write",
                     .ignored = CLI_IGNORED_ON,
                     .help = "reading, computing and writing always overlap"},
    [WRITE_THREADS] = {.name = "--write-threads",
                       .value = "N",
                       .ignored = CLI_IGNORED_ON,
                       .help = "weft has as many writers as its files need"},
    [FLAGS] = {.name = NULL},
};

/* More words than a person types; each flag of mergekit's becomes two of weft's at most. */
#define WORDS_MAX 1024
#define TEXT_MAX 64

/* The line being translated. There is one in a process. */
static struct line {
    struct cli_args *args;
    char *words[WORDS_MAX + 2];
    int n;
    char texts[WORDS_MAX][TEXT_MAX]; /* words that were made here */
    int n_texts;
    const char *ignored[FLAGS]; /* as the user wrote it; NULL: not given */
    const char *cache;          /* --transformers-cache */
    char problem[512];          /* the first; --help and --json may still follow */
} line;

static void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void complain(const char *format, ...)
{
    va_list list;
    if (*line.problem)
        return;
    va_start(list, format);
    vsnprintf(line.problem, sizeof line.problem, format, list);
    va_end(list);
}

static void add_word(char *word)
{
    if (line.n < WORDS_MAX)
        line.words[line.n++] = word;
    else
        complain("more than %d words on the command line", WORDS_MAX);
}

/* A flag of weft's, as one word. */
static void add_flag(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void add_flag(const char *format, ...)
{
    va_list list;
    if (line.n_texts == WORDS_MAX)
        return; /* there are as many words, so that was said */
    va_start(list, format);
    vsnprintf(line.texts[line.n_texts], TEXT_MAX, format, list);
    va_end(list);
    add_word(line.texts[line.n_texts++]);
}

/* "5B", "200m": what the letter behind the digits stands for in mergekit; 0: the text is of another
 * form. */
static uint64_t letter_unit(const char *text)
{
    static const uint64_t units[] = {1000, 1000000, 1000000000};
    static const char letters[] = "KkMmBb";
    size_t n = strspn(text, "0123456789");
    const char *found = n && text[n] && !text[n + 1] ? strchr(letters, text[n]) : NULL;
    return found ? units[(found - letters) / 2] : 0;
}

static void set_shard_size(const char *text)
{
    char digits[24];
    uint64_t bytes = 0, unit = letter_unit(text);
    snprintf(digits, sizeof digits, "%.*s", unit ? (int)strlen(text) - 1 : 0, text);
    int status = weft_parse_size(unit ? digits : text, &bytes);
    if (unit && (strlen(text) > sizeof digits - 1 || bytes > UINT64_MAX / unit))
        status = WEFT_USAGE;
    if (status != WEFT_OK || !bytes)
        complain("--out-shard-size: '%.100s' is not a size; write bytes, with K, M or B "
                 "(thousands, millions, billions) if you like: 5B, 500M",
                 text);
    else
        add_flag("--shard-size=%" PRIu64, unit ? bytes * unit : bytes);
}

static bool all_digits(const char *text)
{
    return *text && !text[strspn(text, "0123456789")];
}

static void set_seed(const char *text)
{
    if (!all_digits(text) || weft_parse_size(text, &line.args->options.seed) != WEFT_OK)
        complain("--random-seed: '%.100s' is not a whole number from 0 to %" PRIu64, text,
                 UINT64_MAX);
}

static void set_threads(const char *text)
{
    uint64_t n = 0;
    if (!all_digits(text) || weft_parse_size(text, &n) != WEFT_OK || !n || n > CLI_COUNT_MAX)
        complain("--num-threads: '%.100s' is not a whole number from 1 to %d", text, CLI_COUNT_MAX);
    else
        add_flag("--threads=%" PRIu64, n);
}

static void set_device(const char *text)
{
    static const char *const known[] = {"auto", "cpu", "cuda", NULL};
    const char *near = weft_nearest_word(text, known);
    if (!strcmp(text, "cpu"))
        add_flag("--backend=cpu");
    else if (!strcmp(text, "auto") || !strcmp(text, "cuda"))
        add_flag("--backend=auto");
    else if (!strncmp(text, "cuda:", 5) && all_digits(text + 5) && strlen(text + 5) <= 4)
        add_flag("--gpus=%s", text + 5);
    else
        complain(
            "--device: weft computes on cpu and cuda (cuda:N for one GPU), not on '%.100s'%s%s%s",
            text, near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
}

static void set_value(enum flag id, const char *text)
{
    if (id == TRANSFORMERS_CACHE)
        line.cache = text;
    else if (id == DEVICE)
        set_device(text);
    else if (id == OUT_SHARD_SIZE)
        set_shard_size(text);
    else if (id == RANDOM_SEED)
        set_seed(text);
    else if (id == NUM_THREADS)
        set_threads(text);
}

static void set_switch(enum flag id, bool on)
{
    struct weft_options *o = &line.args->options;
    if (id == ALLOW_CRIMES)
        o->allow_mixed = on;
    else if (id == COPY_TOKENIZER)
        o->no_tokenizer = !on;
    else if (id == WRITE_MODEL_CARD)
        o->no_card = !on;
    else if (id == CUDA || (id == GPU_RICH && on))
        add_flag("--backend=%s", on ? "auto" : "cpu");
    else if (id == VERBOSE)
        add_flag("--log-level=debug");
    else if (id == MULTI_GPU && on)
        add_flag("--gpus=all");
    if (id == QUIET && on) {
        add_flag("--progress=none");
        add_flag("--log-level=warning");
    }
}

/* Which flag a word is; FLAGS: none of mergekit's. *on is false for a --no- form, *rest what stands
 * behind the '=' or the letter, NULL if nothing does. */
static enum flag find(const char *word, bool *on, const char **rest)
{
    size_t n = strcspn(word, "=");
    *on = true;
    *rest = word[n] ? word + n + 1 : NULL;
    for (int id = 0; id < FLAGS; id++) {
        const struct cli_foreign *f = &cli_foreign[id];
        if (strlen(f->name) == n && !memcmp(f->name, word, n))
            return (enum flag)id;
        if (!f->value && !f->letter && !strncmp(word, "--no-", 5) && strlen(f->name) + 3 == n &&
            !memcmp(f->name + 2, word + 5, n - 5)) {
            *on = false;
            return (enum flag)id;
        }
        if (!f->letter || word[1] != f->letter)
            continue;
        *rest = word[2] ? word + 2 : NULL;
        if (f->value || !word[2 + strspn(word + 2, "v")])
            return (enum flag)id;
    }
    return FLAGS;
}

/* Takes the flag words[i] if it is mergekit's; returns the index of its last word, -1 if it is not.
 */
static int take(int argc, char **argv, int i)
{
    const char *rest;
    bool on;
    enum flag id = find(argv[i], &on, &rest);
    if (id == FLAGS)
        return -1;
    const struct cli_foreign *f = &cli_foreign[id];
    const char *word = argv[i];
    if (!f->value && rest && word[1] == '-')
        complain("%.*s takes no value", (int)strcspn(word, "="), word);
    if (f->value && !rest) {
        if (i + 1 == argc || cli_looks_like_flag(argv[i + 1])) {
            complain("%s needs a value: %s %s", f->name, f->name, f->value);
            return i;
        }
        rest = argv[++i];
    }
    if (f->ignored == (on ? CLI_IGNORED_ON : CLI_IGNORED_OFF))
        line.ignored[id] = word;
    else if (f->value)
        set_value(id, rest);
    else
        set_switch(id, on);
    return i;
}

static void translate(struct cli_args *args, int *argc, char ***argv)
{
    bool flags = true;
    line.args = args;
    add_word((*argv)[0]);
    add_flag("--compat=mergekit"); /* one that is given comes later, and counts */
    for (int i = 1; i < *argc; i++) {
        char *word = (*argv)[i];
        int last = flags && word[0] == '-' && word[1] ? take(*argc, *argv, i) : -1;
        flags = flags && strcmp(word, "--") != 0;
        if (last < 0)
            add_word(word);
        else
            i = last;
    }
    line.words[line.n] = NULL;
    *argc = line.n;
    *argv = line.words;
}

static void say_ignored(const struct cli_args *args)
{
    for (int id = 0; id < FLAGS; id++)
        if (line.ignored[id] && args->options.log_level >= WEFT_LOG_WARNING)
            fprintf(stderr, "weft: warning: %.*s is ignored: %s\n",
                    (int)strcspn(line.ignored[id], "="), line.ignored[id], cli_foreign[id].help);
}

static int work(struct weft *w, const struct cli_args *args, struct weft_merge_result *result)
{
    return weft_merge(w, args->positional[0], args->positional[1], result);
}

/* mergekit-yaml knows no --resume: who gives it means what `weft merge` does with it. */
static int run(const struct cli_args *args)
{
    struct cli_args with = *args;
    with.options.replace_merges = !args->options.resume;
    with.options.resume = true;
    if (*line.problem)
        return cli_fail(args, WEFT_USAGE, "%s", line.problem);
    say_ignored(args);
    if (line.cache && setenv("HF_HUB_CACHE", line.cache, 1))
        return cli_fail(args, WEFT_MACHINE, "--transformers-cache: out of memory");
    return cli_work(&with, "merged", args->positional[1], work);
}

const struct cli_command cmd_yaml = {
    .name = "weft-yaml",
    .summary = "mergekit-yaml's command line for weft merge",
    .description =
        "What weft merge CONFIG OUT does, for scripts that call mergekit-yaml: it takes the flags "
        "of both programs, and --compat is mergekit unless it is given. What means something here "
        "is done, and of the others "
        "one line each says why they are ignored.\n\n"
        "As mergekit-yaml does, it replaces an OUT that is there, but only one that is empty, or "
        "that weft or mergekit made and in which nothing else has been put, and no link; "
        "--overwrite replaces any. The old OUT stays until the new one is complete. Work that an "
        "interrupted run left in OUT.partial is gone on with, if it is of the same plan; what weft "
        "did "
        "not make there is refused. With --resume, an OUT that is there is left as with weft "
        "merge: of the same plan it is done, of another it is an error.",
    .arguments = {{.name = "CONFIG", .help = "A recipe in YAML or JSON, mergekit's dialect."},
                  {.name = "OUT", .help = "The folder to make."}},
    .options =
        (const enum cli_option_id[]){CLI_MEMORY, CLI_DEVICE_MEMORY, CLI_BACKEND, CLI_GPUS,
                                     CLI_THREADS, CLI_RANKS, CLI_RESUME, CLI_OVERWRITE,
                                     CLI_SHARD_SIZE, CLI_MANIFEST, CLI_COMPAT, CLI_EMIT_COMPONENTS,
                                     CLI_IO, CLI_NULL_COMPUTE, CLI_TRACE, CLI_LOG_LEVEL,
                                     CLI_PROGRESS, CLI_JSON, CLI_OPTIONS},
    .examples = {{"weft-yaml config.yml merged --cuda --lazy-unpickle --copy-tokenizer",
                  "a line written for mergekit-yaml"},
                 {"weft-yaml config.yml merged --out-shard-size 5B --memory 8G",
                  "files of at most 5 GB, working in 8 GB"}},
    .exits =
        (const int[]){WEFT_OK, WEFT_USAGE, WEFT_INPUT, WEFT_MACHINE, WEFT_BUG, WEFT_STOPPED, -1},
    .hidden = true,
    .translate = translate,
    .run = run,
};
