/* weft.h - merge fine-tuned checkpoints: the public interface of libweft.
 *
 * Three ways to use it, simplest first.
 *
 * 1. One call. Fill a struct weft_options with weft_options_init(), open a session, merge, look
 *    at the error text if it failed:
 *
 *        struct weft_options options;
 *        struct weft *w = NULL;
 *        weft_options_init(&options);
 *        options.memory_bytes = 8ull << 30;
 *        int status = weft_create(&w, &options);
 *        if (status == WEFT_OK)
 *            status = weft_merge(w, "recipe.yaml", "merged", NULL);
 *        if (status != WEFT_OK)
 *            fprintf(stderr, "%s\n", weft_error(w));
 *        weft_destroy(w);
 *
 * 2. Look before you leap. weft_plan() prints what the merge would do, reading headers only:
 *    tensors, passes, bytes, memory, the stage that binds.
 *
 * 3. Look at checkpoints. weft_inspect(), weft_diff() and weft_verify() print tables (or JSON
 *    lines) about what is on disk.
 *
 * Rules. A session holds options and the first error of its last call; it is used by one thread at
 * a time (calls start threads of their own). Every call returns an enum weft_status, whose numbers
 * are also the program's exit codes. A merge writes below OUT.partial and OUT (an old OUT that is
 * replaced is called OUT.old-PID for a moment); weft_doctor() makes a nameless probe file. Inputs
 * are opened for reading only. Messages and progress go to standard error; the level of messages,
 * and the raised limit on open files, are the process's.
 */
#ifndef WEFT_H
#define WEFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_VERSION "0.1.0"

enum weft_status {
    WEFT_OK = 0,
    WEFT_NO = 1,       /* the answer is no: weft_diff found a difference, weft_verify damage */
    WEFT_USAGE = 2,    /* wrong usage or recipe; models that do not fit together */
    WEFT_INPUT = 3,    /* a damaged file, NaN or infinity */
    WEFT_MACHINE = 4,  /* memory, disk, device */
    WEFT_BUG = 5,      /* weft's own mistake */
    WEFT_STOPPED = 75, /* weft_stop() was called; the work is saved, go on with resume */
};

enum weft_backend { WEFT_BACKEND_AUTO, WEFT_BACKEND_CPU, WEFT_BACKEND_CUDA };
enum weft_manifest { WEFT_MANIFEST_XXH3, WEFT_MANIFEST_SHA256, WEFT_MANIFEST_NONE };
enum weft_compat { WEFT_COMPAT_WEFT, WEFT_COMPAT_MERGEKIT };
enum weft_progress {
    WEFT_PROGRESS_AUTO,
    WEFT_PROGRESS_BAR,
    WEFT_PROGRESS_PLAIN,
    WEFT_PROGRESS_NONE
};
enum weft_log { WEFT_LOG_ERROR, WEFT_LOG_WARNING, WEFT_LOG_INFO, WEFT_LOG_DEBUG };
enum weft_io { WEFT_IO_AUTO, WEFT_IO_BUFFERED, WEFT_IO_DIRECT };

struct weft_options {
    uint64_t memory_bytes; /* host budget; 0: a quarter of RAM */
    uint64_t shard_bytes;  /* tensor bytes per output shard; default 5,000,000,000 */
    unsigned threads;      /* compute threads; 0: one per CPU this process may use */
    enum weft_backend backend;
    const char *gpus;             /* "all" or numbers, "0,1"; NULL: all; must outlive the session */
    uint64_t device_memory_bytes; /* of each GPU; 0: nine tenths of what it has free */
    enum weft_manifest manifest;
    enum weft_compat compat;
    enum weft_progress progress;
    enum weft_log log_level;
    enum weft_io io;     /* how files are read and written; auto suits each file */
    bool resume;         /* go on with OUT.partial of the same plan */
    bool overwrite;      /* replace OUT and OUT.partial */
    bool replace_merges; /* weft_merge: replace an OUT that is empty or only holds what a merge,
                            weft's or mergekit's, wrote; and an OUT.partial */
    bool allow_mixed;    /* models of different architectures, as if the recipe allowed them */
    uint64_t seed;       /* of a recipe that has none */
    bool no_tokenizer;   /* leave tokenizer files and chat templates out */
    bool no_card;        /* leave README.md out */
    bool json;           /* results and events as one JSON object a line on `out` */
    bool
        emit_components; /* beside a merge: what each task adds, as files that weft_combine takes */
    unsigned ranks;      /* processes that share a merge; 0: as many as the launcher started; 1:
                            alone, whatever it started. weft_plan: how many would; 0 and 1: one */
    bool diffable;       /* weft_plan: leave out what varies by machine */
    unsigned gpus_per_rank; /* weft_plan, with `ranks`: GPUs that need not be there; 0: none */
    uint64_t bandwidth; /* weft_plan: bytes per second that a rank reads from the file system, and
                           that it writes to it; 0: those of a good local disk */
    bool null_compute;  /* benchmark: read and write, compute nothing; output is meaningless */
    FILE *out;          /* results; default stdout */
    const char *trace;  /* of a merge, apply or combine: the file for a timeline of all threads, in
                           the Trace Event Format; NULL: none; must outlive the session */
};

/* Where the time of a merge went, in nanoseconds. */
struct weft_times {
    /* One phase after the other. */
    uint64_t plan_ns;       /* until the first thread starts */
    uint64_t statistics_ns; /* of the whole model; those of tensors are found on the way */
    uint64_t map_ns;        /* everything is read, merged and written */
    uint64_t ranks_ns;      /* waiting for the other processes of the merge */
    uint64_t components_ns, deltas_ns;
    uint64_t publish_ns; /* side files, manifest, rename */
    /* Summed over threads: how long they were there, and how long busy. Of compute threads, what
     * is missing is waiting for each other. */
    uint64_t readers_ns, reading_ns;
    uint64_t writers_ns, writing_ns;
    uint64_t compute_ns, arithmetic_ns, devices_ns, hashing_ns;
    uint64_t copying_ns; /* out of the page cache */
    uint64_t waiting_for_reads_ns, waiting_for_writes_ns;
};

/* What a merge did. */
struct weft_merge_result {
    uint64_t bytes_read, bytes_written;
    uint64_t tensors_merged, tensors_copied;
    uint64_t wall_ns;
    uint64_t first_read_ns; /* from the call to the first tensor byte asked for */
    uint64_t peak_rss_bytes;
    bool already_done;    /* resume found OUT complete */
    unsigned rank, ranks; /* which of how many processes; bytes of rank 0 are those of all */
    struct weft_times times;
    const char *bound_by; /* what most of the compute threads' time went into ("storage reads"), in
                             a few constant words; NULL: they had nothing to do */
};

struct weft;

void weft_options_init(struct weft_options *options);

/* Copies `options` (NULL: defaults). On failure *out may still be a session that holds the error,
 * or NULL. */
int weft_create(struct weft **out, const struct weft_options *options);
void weft_destroy(struct weft *w); /* accepts NULL */

/* The one-line text of the last call's error; "" if it succeeded; valid until the next call. NULL
 * (weft_create found no memory) is allowed. */
const char *weft_error(const struct weft *w);

/* Runs the recipe file and publishes the folder `out`. `result` may be NULL. */
int weft_merge(struct weft *w, const char *recipe, const char *out,
               struct weft_merge_result *result);

/* Publishes the folder `out`: the model `shared` with a task delta or a PEFT adapter on top. The
 * options, `result` and what stands in `out` are as with weft_merge. */
int weft_apply(struct weft *w, const char *shared, const char *top, const char *out,
               struct weft_merge_result *result);

/* Publishes the folder `out`: the base of a merge with emit_components, plus its components, each
 * times a factor: `weights` are n texts "TASK=FACTOR", one for each task. `base` NULL: where the
 * merge's manifest says. The options, `result` and what stands in `out` are as with weft_merge. */
int weft_combine(struct weft *w, const char *components, const char *base,
                 const char *const *weights, size_t n, const char *out,
                 struct weft_merge_result *result);

/* What to look for. */
struct weft_search {
    const char *out;     /* the best model; work happens in OUT.search */
    const char *fitness; /* a shell command: gets a model's folder, prints a number */
    unsigned budget;     /* evaluations */
    uint64_t seed;
    bool minimize;      /* less is better */
    bool density;       /* looked for as well */
    double weight_max;  /* weights are looked for from 0 to here */
    unsigned timeout_s; /* of the command; 0: none */
};

/* Looks for the weights of the recipe's models with which the command rates the merged model best,
 * and publishes that. The options and `result` are as with weft_merge. */
int weft_search(struct weft *w, const char *recipe, const struct weft_search *how,
                struct weft_merge_result *result);

/* Prints what weft_merge would do. */
int weft_plan(struct weft *w, const char *recipe);

/* Prints the tensors, types, shapes, shards and parameters of a model folder, a file, or a hub
 * cache reference. */
int weft_inspect(struct weft *w, const char *model);

/* Compares tensor by tensor; `base` (may be NULL) gives the cosine of the deltas. WEFT_OK if every
 * byte of every tensor is equal, WEFT_NO if not. */
int weft_diff(struct weft *w, const char *a, const char *b, const char *base);

/* Checks every rule of the format, and the manifest's checksums where there is one. WEFT_NO with
 * the reasons printed if something is wrong. */
int weft_verify(struct weft *w, const char *model);

/* Publishes the folder `out` with a PEFT adapter of rank `rank` or less, the best approximation of
 * `adapter`, and prints what each module keeps. */
int weft_compress_lora(struct weft *w, const char *adapter, const char *out, unsigned rank);

/* How weft_extract_lora chooses tensors and ranks. Lists end with NULL, and may be NULL. */
struct weft_extract {
    const char *base;         /* the model that `model` was tuned from */
    unsigned rank;            /* the most; 0: no limit, then `energy` or `threshold` decides */
    double energy, threshold; /* 0: no wish */
    const char *const *include, *const *exclude, *const *save_whole; /* globs of tensor names */
};

/* Publishes the folder `out` with a PEFT adapter that takes the base as near to `model` as its rank
 * allows, and prints what it keeps of each tensor, and which tensors moved and are not in it. */
int weft_extract_lora(struct weft *w, const char *model, const char *out,
                      const struct weft_extract *how);

/* Prints all methods (name NULL), or one in full. `markdown` gives docs/METHODS.md. */
int weft_methods(struct weft *w, const char *name, bool markdown);

/* Prints what was built in, what this machine has, and a short read and write rate of `folder`
 * (NULL: the working directory). */
int weft_doctor(struct weft *w, const char *folder);

/* The number of this process among those that make one merge; 0 if it is alone, or before a session
 * was made. */
unsigned weft_rank(void);

/* Asks running work, of any session of the process, to stop soon; a merge saves what it has.
 * Async-signal-safe. The request stands until the next weft_create(). */
void weft_stop(void);

/* Helpers for front ends: the conventions of weft's own command line, for programs that want the
 * same. */

/* The candidate (NULL ends the list) that `word` is a plausible typo of, or NULL. */
const char *weft_nearest_word(const char *word, const char *const *candidates);

/* "123", "64Mi", "5GB": a whole number with an optional K M G T (decimal) or Ki Mi Gi Ti, each with
 * or without a final B. WEFT_USAGE, and *bytes untouched, for anything else and for overflow. */
int weft_parse_size(const char *text, uint64_t *bytes);

/* "0.9", "1e-3": a finite number. WEFT_USAGE, and *x undefined, for anything else. */
int weft_parse_number(const char *text, double *x);

/* "1.61 GB" and "1,607,936", for people. Both return buf. */
char *weft_format_bytes(uint64_t bytes, char buf[32]);
char *weft_format_count(uint64_t n, char buf[32]);

/* Writes `text` as one JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD, so the
 * line stays valid whatever a file was called. */
void weft_write_json_string(FILE *out, const char *text);

#ifdef __cplusplus
}
#endif
#endif
