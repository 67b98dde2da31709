/* search.c - asks CMA-ES, merges or combines, asks the command, and writes it down. */
#include "search.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../dist/rank.h"
#include "../base/file.h"
#include "../base/log.h"
#include "../base/mem.h"
#include "../base/num.h"
#include "../base/str.h"
#include "../format/folder.h"
#include "../format/json.h"
#include "../publish/combine.h"
#include "../publish/merge.h"
#include "../publish/output.h"
#include "../publish/replaceable.h"
#include "../publish/territory.h"
#include "cmaes.h"
#include "fitness.h"
#include "searched_recipe.h"

#define LOG_NAME "search.jsonl"
#define LOG_BYTES_MAX ((size_t)64 << 20)
#define FIRST_SIGMA 0.3
#define DENSITY_LEAST 0.01 /* a search looks between this and 1 */

struct searching {
    struct wf_err *e;
    struct wf_arena a;
    const struct weft_options *options;
    const struct weft_search *how;
    const volatile int *stop;
    struct wf_recipe recipe;
    const char *folder, *log, *candidate, *components, *candidate_recipe; /* paths */
    const char **tasks;
    size_t n_tasks;
    unsigned d;                 /* numbers that are looked for: weights, then density */
    double start[WF_CMAES_MAX]; /* the recipe's own */
    double best[WF_CMAES_MAX], best_fitness;
    uint64_t best_at; /* its number, from 1 */
    struct wf_cmaes cma;
    const struct wf_json *lines; /* evaluations of an earlier run */
    size_t n_done;
    int lock_fd;             /* the folder, -1 until it is ours */
    bool made;               /* the folder, by this run */
    struct wf_output output; /* of OUT; looked at only */
    char *published;         /* OUT's recipe, where --resume finds an OUT; else NULL */
    bool is_own;             /* which is that of an evaluation of this search */
};

/* ---- the question ---- */

static double low_of(const struct searching *s, unsigned i)
{
    return i < s->n_tasks ? 0 : DENSITY_LEAST;
}

static double high_of(const struct searching *s, unsigned i)
{
    return i < s->n_tasks ? s->how->weight_max : 1;
}

/* What is searched is one number for the whole model, and says all that there is to say. */
static int check_plain(const struct searching *s, const struct wf_value *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct wf_value *v = &values[i];
        if (s->how->density && (!strcmp(v->name, "low") || !strcmp(v->name, "high")))
            return wf_fail(s->e, WF_USAGE,
                           "%s:%d: '%s' stands for a density, which --density looks for; leave one "
                           "of them out",
                           s->recipe.path, v->line, v->name);
        bool searched = !strcmp(v->name, "weight") || !strcmp(v->name, "lambda") ||
                        (s->how->density && !strcmp(v->name, "density"));
        if (searched && !wf_value_is_plain(v))
            return wf_fail(s->e, WF_USAGE,
                           "%s:%d: weft search looks for one '%s' for all tensors, not for a "
                           "gradient or one with a filter; give one number",
                           s->recipe.path, v->line, v->name);
    }
    return WF_OK;
}

/* All that is asked of the recipe is what a candidate's recipe can say. */
static int check_recipe(const struct searching *s)
{
    const struct wf_recipe *r = &s->recipe;
    bool weighted = wf_method_option(r->method, "weight") >= 0;
    if (!weighted || r->coefficients)
        return wf_fail(s->e, WF_USAGE, "%s:%d: weft search needs %s", r->path, r->method_line,
                       weighted ? "weights in the recipe, not a table of coefficients"
                                : "a merge_method with weights");
    if (r->is_sliced || r->n_modules)
        return wf_fail(s->e, WF_USAGE, "%s: weft search needs whole models, listed under 'models'",
                       r->path);
    if (s->how->density && wf_method_option(r->method, "density") < 0)
        return wf_fail(s->e, WF_USAGE, "%s:%d: merge_method '%s' has no density to search", r->path,
                       r->method_line, r->method->name);
    if (r->tokenizer.given)
        return wf_fail(s->e, WF_USAGE,
                       "%s:%d: weft search changes no vocabulary; merge each model into that "
                       "vocabulary first and search among the results",
                       r->path, r->tokenizer.line);
    if (r->deltas.wanted)
        return wf_fail(s->e, WF_USAGE,
                       "%s:%d: weft search makes no task deltas; leave 'task_deltas' out, and give "
                       "it to 'weft merge' with the weights that were found",
                       r->path, r->deltas.line);
    int status = check_plain(s, r->values, r->n_values);
    for (size_t i = 0; !status && i < r->n_models; i++)
        status = check_plain(s, r->models[i].values, r->models[i].n_values);
    return status;
}

/* Every entry of the recipe that takes part, and where the search begins. */
static int read_question(struct searching *s)
{
    const struct wf_recipe *r = &s->recipe;
    int status = check_recipe(s);
    if (status)
        return status;
    int weight = wf_method_option(r->method, "weight");
    int lambda = wf_method_option(r->method, "lambda");
    int density = wf_method_option(r->method, "density");
    s->tasks = wf_arena_alloc(&s->a, s->e, r->n_models, sizeof *s->tasks);
    if (!s->tasks)
        return WF_MACHINE;
    double factor = lambda < 0 ? 1 : wf_recipe_value(r, (size_t)lambda, -1, NULL);
    for (size_t i = 0; i < r->n_models; i++) {
        if (wf_recipe_exempt(r, i))
            continue;
        if (s->n_tasks + s->how->density == WF_CMAES_MAX)
            return wf_fail(s->e, WF_USAGE, "%s: weft search takes at most %d models", r->path,
                           WF_CMAES_MAX - s->how->density);
        double own = wf_recipe_value(r, (size_t)weight, (int)i, NULL) * factor;
        s->start[s->n_tasks] = isnan(own) ? 1 : own;
        s->tasks[s->n_tasks++] = r->models[i].task;
    }
    s->d = (unsigned)s->n_tasks;
    if (s->how->density)
        s->start[s->d++] = wf_recipe_value(r, (size_t)density, r->n_models ? 0 : -1, NULL);
    return WF_OK;
}

static void put_vector(struct wf_str *s, const struct searching *q, const double *x)
{
    char number[32];
    wf_str_puts(s, "\"weights\":{");
    for (size_t i = 0; i < q->n_tasks; i++) {
        wf_str_puts(s, i ? "," : "");
        wf_str_json(s, q->tasks[i], strlen(q->tasks[i]));
        wf_str_printf(s, ":%s", wf_format_f64(x[i], number));
    }
    wf_str_puts(s, "}");
    if (q->how->density)
        wf_str_printf(s, ",\"density\":%s", wf_format_f64(x[q->n_tasks], number));
}

/* `plan` is of the first candidate: what else decides the candidates' bytes, inputs and flags. */
static void put_header(struct wf_str *line, const struct searching *s,
                       const struct wf_hash128 *plan)
{
    struct wf_hash128 hash = wf_xxh128(s->recipe.text, s->recipe.text_n);
    char recipe_hex[33], plan_hex[33], number[32];
    wf_str_printf(line,
                  "{\"search\":1,\"recipe\":\"%s\",\"plan\":\"%s\",\"seed\":%llu,"
                  "\"weight_max\":%s,\"fitness\":",
                  wf_hash128_hex(&hash, recipe_hex), wf_hash128_hex(plan, plan_hex),
                  (unsigned long long)s->how->seed, wf_format_f64(s->how->weight_max, number));
    wf_str_json(line, s->how->fitness, strlen(s->how->fitness));
    wf_str_printf(line, ",\"minimize\":%s,", s->how->minimize ? "true" : "false");
    put_vector(line, s, s->start);
    wf_str_puts(line, "}\n");
}

/* ---- the log ---- */

static int append(struct searching *s, const struct wf_str *line)
{
    int fd = open(s->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0)
        return wf_fail_errno(s->e, WF_MACHINE, errno, "%s: cannot open", s->log);
    int status = WF_OK;
    if (write(fd, line->text, line->n) != (ssize_t)line->n)
        status = wf_fail_errno(s->e, WF_MACHINE, errno, "%s: cannot write", s->log);
    if (!status)
        status = wf_fdatasync(s->e, fd, s->log);
    wf_close(fd);
    return status;
}

static int log_evaluation(struct searching *s, uint64_t number, const double *x, double fitness)
{
    struct wf_str line = {0};
    char text[32];
    wf_str_printf(&line, "{\"evaluation\":%llu,", (unsigned long long)number);
    put_vector(&line, s, x);
    wf_str_printf(&line, ",\"fitness\":%s}\n",
                  isfinite(fitness) ? wf_format_f64(fitness, text) : "null");
    int status = wf_str_finish(&line, s->e);
    if (!status)
        status = append(s, &line);
    wf_str_free(&line);
    return status;
}

/* The lines of text[0..n), which ends with one, as one array. */
static int parse_lines(struct searching *s, const char *text, size_t n)
{
    struct wf_str array = {0};
    struct wf_json *lines = NULL;
    wf_str_puts(&array, "[");
    for (const char *line = text; line < text + n;) {
        size_t length = strcspn(line, "\n");
        wf_str_puts(&array, line == text ? "" : ",");
        wf_str_add(&array, line, length);
        line += length + 1;
    }
    wf_str_puts(&array, "]");
    int status = wf_str_finish(&array, s->e);
    if (!status)
        status = wf_json_parse(s->e, &s->a, s->log, array.text, array.n, WF_JSON_STRICT, &lines);
    if (!status) {
        s->lines = lines->children;
        s->n_done = lines->n;
    }
    wf_str_free(&array);
    return status;
}

static int cut_log(struct searching *s, size_t n)
{
    if (truncate(s->log, (off_t)n))
        return wf_fail_errno(s->e, WF_MACHINE, errno, "%s: cannot cut", s->log);
    return WF_OK;
}

/* An earlier run's log, or one that has not begun. A last line that was cut is forgotten. */
static int read_log(struct searching *s, const struct wf_str *header)
{
    char *text = NULL;
    size_t n = 0, head = header->n;
    int status = wf_read_small(s->e, WF_MACHINE, s->log, LOG_BYTES_MAX, &text, &n);
    if (status)
        return status;
    bool begun = n >= head;
    if (memcmp(text, header->text, begun ? head : n) != 0)
        status = wf_fail(s->e, WF_USAGE,
                         "--resume: %s is of another search (recipe, models, seed, fitness or "
                         "flags); --overwrite starts anew",
                         s->log);
    while (n > head && text[n - 1] != '\n')
        n--;
    if (!status && begun)
        status = parse_lines(s, text + head, n - head);
    if (!status)
        status = cut_log(s, begun ? n : 0);
    if (!status && !begun)
        status = append(s, header);
    wf_free(text);
    return status;
}

/* ---- models ---- */

static int write_recipe(struct searching *s, const double *x, const char *path)
{
    struct wf_str text = {0};
    wf_searched_recipe(&text, &s->recipe, x, s->how->density ? x[s->n_tasks] : (double)NAN);
    int status = wf_str_finish(&text, s->e);
    if (!status)
        status = wf_write_small(s->e, path, text.text, text.n);
    wf_str_free(&text);
    return status;
}

static struct weft_options quiet(const struct searching *s)
{
    struct weft_options o = *s->options;
    o.resume = o.json = o.emit_components = false;
    o.overwrite = true;
    o.progress = WEFT_PROGRESS_NONE;
    o.trace = NULL;
    o.manifest = WEFT_MANIFEST_NONE;
    return o;
}

static int merge_to(struct searching *s, struct wf_err *e, const struct weft_options *o,
                    const double *x, const char *out, struct weft_merge_result *result)
{
    struct wf_merge_source source = {.recipe = s->candidate_recipe};
    int status = write_recipe(s, x, s->candidate_recipe);
    return status ? status : wf_merge_run(e, o, &source, out, s->stop, result);
}

/* What each of them would say again is said at the end. */
static void say_less(const struct searching *s, bool less)
{
    enum wf_log_level usual = (enum wf_log_level)s->options->log_level;
    wf_log_set_level(less && usual < WF_LOG_DEBUG ? WF_LOG_ERROR : usual);
}

/* ---- the folder ---- */

/* What is removed may not be what is merged. `path` may be NULL. */
static int check_input(const struct searching *s, const char *path, int line)
{
    char folder[PATH_MAX], real[PATH_MAX];
    if (!path || !realpath(s->folder, folder) || !realpath(path, real) ||
        !wf_path_within(real, folder))
        return WF_OK;
    return wf_fail(s->e, WF_USAGE, "%s:%d: '%s' lies in %s, where weft search works; move it",
                   s->recipe.path, line, path, s->folder);
}

static int check_reference(const struct searching *s, const struct wf_reference *r)
{
    int status = check_input(s, r->is_path ? r->text : r->model, r->line);
    return status ? status : check_input(s, r->is_path ? NULL : r->adapter, r->line);
}

static int check_folder(const struct searching *s)
{
    const struct wf_recipe *r = &s->recipe;
    if (!wf_is_folder(s->folder) || (!wf_is_file(s->log) && !wf_folder_is_empty(s->folder)))
        return wf_fail(s->e, WF_USAGE,
                       "%s exists and holds no search; weft search works there: move it",
                       s->folder);
    if (!s->options->resume && !s->options->overwrite)
        return wf_fail(s->e, WF_USAGE,
                       "%s exists: --resume goes on with that search, --overwrite starts anew",
                       s->folder);
    int status = check_input(s, r->path, 1);
    if (!status)
        status = check_reference(s, &r->base);
    for (size_t i = 0; !status && i < r->n_models; i++)
        status = check_reference(s, &r->models[i].ref);
    return status;
}

/* What a run that was killed while one candidate took another's place has left. */
static int remove_leftovers(struct searching *s)
{
    const char **names;
    size_t n = 0;
    int status = wf_folder_names(s->e, &s->a, s->folder, &names, &n);
    for (size_t i = 0; !status && i < n; i++) {
        if (!wf_starts_with(names[i], "candidate.old-") &&
            !wf_starts_with(names[i], "components.old-"))
            continue;
        const char *path = wf_path_join(&s->a, s->e, s->folder, names[i]);
        status = path ? wf_remove_tree(s->e, path) : WF_MACHINE;
    }
    return status;
}

/* Ours alone from here on. The log is there before anything else, to tell whose folder it is. */
static int open_folder(struct searching *s)
{
    s->made = !wf_exists(s->folder);
    int status = s->made ? WF_OK : check_folder(s);
    if (!status && s->made && mkdir(s->folder, 0777))
        status = wf_fail_errno(s->e, WF_MACHINE, errno, "%s: cannot make the folder", s->folder);
    if (status)
        return status;
    s->lock_fd = open(s->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->lock_fd < 0)
        return wf_fail_errno(s->e, WF_MACHINE, errno, "%s: cannot open the folder", s->folder);
    status = wf_lock_fd(s->e, s->lock_fd, s->folder);
    if (!status)
        status = remove_leftovers(s);
    return status ? status : append(s, &(struct wf_str){.text = ""});
}

/* The plan of the recipe's own numbers; OUT may be none of its inputs. */
static int hash_plan(struct searching *s, struct wf_err *e, struct wf_hash128 *hash)
{
    struct wf_setup setup = {0};
    struct weft_options o = quiet(s);
    struct wf_merge_source source = {.recipe = s->candidate_recipe};
    o.backend = WEFT_BACKEND_CPU;
    int status = write_recipe(s, s->start, s->candidate_recipe);
    say_less(s, true);
    if (!status)
        status = wf_setup_recipe(e, &o, &source, &setup);
    if (!status)
        status = wf_setup_create(e, &o, &source, false, &setup);
    say_less(s, false);
    if (!status)
        status = wf_merge_check_places(e, &setup, &s->output, NULL);
    *hash = setup.plan.hash;
    wf_setup_destroy(&setup);
    return status;
}

/* A candidate's recipe is none that the user wrote, and its lines are nobody's. */
static const char *without_place(const struct searching *s, const char *text)
{
    size_t n = strlen(s->candidate_recipe);
    if (strncmp(text, s->candidate_recipe, n) != 0 || text[n] != ':')
        return text;
    return text + n + 1 + strspn(text + n + 1, "0123456789: ");
}

/* What went wrong goes to the user, unless that has happened. */
static int blame(struct searching *s, int status, const struct wf_err *why)
{
    if (!status || !*why->text)
        return status;
    return wf_fail(s->e, (enum wf_status)status, "%s: %s", s->recipe.path,
                   without_place(s, why->text));
}

/* Once it is known that there is something to search: an old search goes, its log last. */
static int start_over(struct searching *s)
{
    int status = wf_folder_empty_last(s->e, s->folder, LOG_NAME);
    return status ? status : append(s, &(struct wf_str){.text = ""});
}

static int open_log(struct searching *s)
{
    struct wf_str header = {0};
    struct wf_err why = {0};
    struct wf_hash128 plan;
    int status = open_folder(s);
    if (!status) {
        status = blame(s, hash_plan(s, &why, &plan), &why);
        if (status && s->made) /* a recipe that is refused leaves nothing behind */
            wf_remove_tree(&why, s->folder);
    }
    if (!status && !s->options->resume)
        status = start_over(s);
    if (status)
        return status;
    put_header(&header, s, &plan);
    status = wf_str_finish(&header, s->e);
    if (!status)
        status = read_log(s, &header);
    wf_str_free(&header);
    return status;
}

/* ---- candidates ---- */

/* Sums of components need to be balanced once; a density changes the balance. */
static bool has_components(const struct searching *s)
{
    return s->recipe.method->share && !s->how->density;
}

/* A signal stops the search, whatever it was at. */
static int interrupted(struct searching *s, struct wf_err *why)
{
    wf_err_clear(why);
    return wf_fail(s->e, WF_STOPPED, "stopped by a signal; --resume goes on with the search");
}

static int make_components(struct searching *s)
{
    struct weft_merge_result unused;
    struct wf_err why = {0};
    struct weft_options o = quiet(s);
    if (!has_components(s) || wf_exists(s->components))
        return WF_OK;
    o.emit_components = true;
    say_less(s, true);
    int status = merge_to(s, &why, &o, s->start, s->components, &unused);
    say_less(s, false);
    return status == WF_STOPPED ? interrupted(s, &why) : blame(s, status, &why);
}

static int combine(struct searching *s, struct wf_err *e, const struct weft_options *o,
                   const double *x)
{
    struct weft_merge_result unused;
    char number[32];
    const char *weights[WF_CMAES_MAX];
    struct wf_arena a = {0};
    int status = WF_OK;
    for (size_t i = 0; !status && i < s->n_tasks; i++) {
        weights[i] = wf_arena_printf(&a, s->e, "%s=%s", s->tasks[i], wf_format_f64(x[i], number));
        status = weights[i] ? WF_OK : WF_MACHINE;
    }
    if (!status)
        status = wf_combine_run(e, o, s->components, NULL, weights, s->n_tasks, s->candidate,
                                s->stop, &unused);
    wf_arena_destroy(&a);
    return status;
}

/* A model that the numbers of a candidate do not give: its weights add up to zero, say. With the
 * recipe's own there is one, and its files are still there. */
static bool is_refused(struct searching *s, uint64_t k, int status)
{
    struct wf_err ignored = {0};
    struct wf_hash128 hash;
    return status == WF_USAGE && k > 1 && !hash_plan(s, &ignored, &hash);
}

static int evaluate(struct searching *s, uint64_t k, const double *x, double *fitness)
{
    struct weft_merge_result unused;
    struct weft_options o = quiet(s);
    struct wf_err why = {0};
    say_less(s, true);
    int status = has_components(s) ? combine(s, &why, &o, x)
                                   : merge_to(s, &why, &o, x, s->candidate, &unused);
    say_less(s, false);
    if (status == WF_STOPPED)
        return interrupted(s, &why);
    if (!status)
        return wf_fitness_run(s->e, s->how->fitness, s->candidate, s->how->timeout_s, s->stop,
                              fitness);
    if (!is_refused(s, k, status))
        return blame(s, status, &why);
    wf_log(WF_LOG_INFO, "evaluation %llu counts as nan, there is no such model: %s",
           (unsigned long long)k, without_place(s, why.text));
    *fitness = (double)NAN;
    return WF_OK;
}

/* ---- the search ---- */

/* Whether OUT is made by this recipe with these numbers. */
static int is_published(struct searching *s, const double *x, bool *is)
{
    struct wf_str text = {0};
    wf_searched_recipe(&text, &s->recipe, x, s->how->density ? x[s->n_tasks] : (double)NAN);
    int status = wf_str_finish(&text, s->e);
    *is = !status && s->published && !strcmp(text.text, s->published);
    wf_str_free(&text);
    return status;
}

/* Before anything is evaluated: --resume replaces a result of its own, and nothing else. */
static int check_own(struct searching *s)
{
    const char *why = "";
    bool may = true;
    if (!wf_exists(s->how->out) || s->options->overwrite)
        return WF_OK;
    if (s->is_own) {
        int status = wf_replaceable(s->e, &s->a, s->how->out, &may, &why);
        return status || may ? status
                             : wf_fail(s->e, WF_USAGE, "%s exists and %s; --overwrite replaces it",
                                       s->how->out, why);
    }
    return wf_fail(s->e, WF_USAGE,
                   "--resume: %s exists and is no result of this search; --overwrite replaces it",
                   s->how->out);
}

static void note(struct searching *s, uint64_t number, const double *x, double fitness)
{
    bool better = s->how->minimize ? fitness < s->best_fitness : fitness > s->best_fitness;
    if (isnan(fitness) || (s->best_at && !isnan(s->best_fitness) && !better))
        return;
    memcpy(s->best, x, s->d * sizeof *x);
    s->best_fitness = fitness;
    s->best_at = number;
}

/* Candidate number k, from 1: the recipe's own first. */
static void propose(struct searching *s, uint64_t k, double *x)
{
    if (k == 1) {
        memcpy(x, s->start, s->d * sizeof *x);
        return;
    }
    const double *u = wf_cmaes_ask(&s->cma);
    for (unsigned i = 0; i < s->d; i++)
        x[i] = low_of(s, i) + u[i] * (high_of(s, i) - low_of(s, i));
}

static int step(struct searching *s, uint64_t k)
{
    double x[WF_CMAES_MAX], fitness = (double)NAN;
    char text[32];
    int status = WF_OK;
    propose(s, k, x);
    if (k <= s->n_done) {
        const struct wf_json *value = wf_json_get(&s->lines[k - 1], "fitness");
        fitness = value && value->kind == WF_JSON_NUMBER ? value->number : (double)NAN;
        bool is = false;
        status = is_published(s, x, &is);
        s->is_own |= is;
    } else {
        status = check_own(s);
        if (!status)
            status = evaluate(s, k, x, &fitness);
        if (!status)
            status = log_evaluation(s, k, x, fitness);
        if (!status)
            wf_log(WF_LOG_INFO, "evaluation %llu of %u: %s", (unsigned long long)k, s->how->budget,
                   wf_format_f64(fitness, text));
    }
    if (status)
        return status;
    note(s, k, x, fitness);
    if (k > 1)
        wf_cmaes_tell(&s->cma, s->how->minimize ? fitness : -fitness);
    return WF_OK;
}

static int search(struct searching *s)
{
    double u[WF_CMAES_MAX];
    for (unsigned i = 0; i < s->d; i++) {
        u[i] = (s->start[i] - low_of(s, i)) / (high_of(s, i) - low_of(s, i));
        u[i] = u[i] < 0 ? 0 : u[i] > 1 ? 1 : u[i];
    }
    wf_cmaes_begin(&s->cma, s->d, u, FIRST_SIGMA, s->how->seed);
    int status = s->n_done < s->how->budget ? make_components(s) : WF_OK;
    for (uint64_t k = 1; !status && k <= s->how->budget; k++)
        status = step(s, k);
    return status;
}

/* The best candidate, made with the user's own flags. What an earlier run has begun or made of
 * another one gives way to it. */
static int publish(struct searching *s, struct weft_merge_result *result)
{
    char text[32];
    struct weft_options o = *s->options;
    struct wf_err why = {0};
    o.emit_components = false;
    if (!s->best_at)
        return wf_fail(s->e, WF_MACHINE, "--fitness: '%s' gave no evaluation a number but nan",
                       s->how->fitness);
    wf_log(WF_LOG_INFO, "best: evaluation %llu, %s", (unsigned long long)s->best_at,
           wf_format_f64(s->best_fitness, text));
    bool is_best = false;
    int status = check_own(s);
    if (!status)
        status = is_published(s, s->best, &is_best);
    if (status)
        return status;
    o.replace_merges = o.resume && !is_best;
    status = merge_to(s, &why, &o, s->best, s->how->out, result);
    if (status)
        return status == WF_STOPPED ? interrupted(s, &why) : blame(s, status, &why);
    if (wf_remove_tree(&why, s->candidate))
        wf_log(WF_LOG_WARNING, "%s is complete, but: %s", s->how->out, why.text);
    return WF_OK;
}

/* OUT, before anything is begun. */
static int check_out(struct searching *s)
{
    const struct weft_options *o = s->options;
    struct wf_output_rules rules = {.resume = o->resume, .overwrite = o->overwrite};
    size_t n;
    int status = wf_output_check(s->e, &s->a, s->how->out, &rules, &s->output);
    if (!status)
        status = wf_output_check_recipe(s->e, &s->output, &s->recipe);
    if (status || !o->resume || !wf_exists(s->how->out))
        return status;
    const char *path = wf_path_join(&s->a, s->e, s->how->out, "weft_recipe.yaml");
    if (!path || !wf_is_file(path))
        return wf_err_status(s->e);
    return wf_read_small(s->e, WF_INPUT, path, LOG_BYTES_MAX, &s->published, &n);
}

static int name_paths(struct searching *s)
{
    s->folder = wf_arena_printf(&s->a, s->e, "%s.search", s->how->out);
    if (!s->folder)
        return WF_MACHINE;
    s->log = wf_path_join(&s->a, s->e, s->folder, LOG_NAME);
    s->candidate = wf_path_join(&s->a, s->e, s->folder, "candidate");
    s->components = wf_path_join(&s->a, s->e, s->folder, "components");
    s->candidate_recipe = wf_path_join(&s->a, s->e, s->folder, "recipe.yaml");
    return s->log && s->candidate && s->components && s->candidate_recipe ? WF_OK : WF_MACHINE;
}

int wf_search_run(struct wf_err *e, const struct weft_options *options, const char *recipe,
                  const struct weft_search *how, const volatile int *stop,
                  struct weft_merge_result *result)
{
    struct wf_arena a = {0};
    *result = (struct weft_merge_result){0};
    struct searching *s = wf_arena_alloc(&a, e, 1, sizeof *s);
    if (!s)
        return WF_MACHINE;
    *s = (struct searching){.e = e, .options = options, .how = how, .stop = stop, .lock_fd = -1};
    int status = wf_rank_alone(e, options->ranks, "weft search");
    if (!status)
        status =
            wf_recipe_read(e, &s->a, recipe, options->compat == WEFT_COMPAT_MERGEKIT, &s->recipe);
    if (!status)
        status = name_paths(s);
    if (!status)
        status = read_question(s);
    if (!status)
        status = check_out(s);
    if (!status)
        status = open_log(s);
    if (!status)
        status = search(s);
    if (!status)
        status = publish(s, result);
    wf_close(s->lock_fd);
    wf_free(s->published);
    wf_arena_destroy(&s->a);
    wf_arena_destroy(&a);
    return status;
}
