/* chain_merge.c - stages one after another; see chain_merge.h. */
#include "chain_merge.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "../base/clock.h"
#include "../base/file.h"
#include "../base/log.h"
#include "../dist/session.h"
#include "../format/hub.h"
#include "chain_plan.h"
#include "output.h"
#include "planned_ckpt.h"
#include "provenance.h"
#include "tied_check.h"
#include "times.h"
#include "trace_file.h"

#define LOOK_US 20000

/* A chain under way. */
struct job {
    struct wf_err *e;
    const struct weft_options *options;
    const char *recipe;
    struct wf_arena arena;
    struct wf_chain chain;
    struct wf_rank self; /* of how many processes of this chain; rank 0 makes and removes folders */
    struct wf_output output; /* of OUT; looked at only */
    const char *folder;      /* OUT.stages */
    int lock_fd;
    struct wf_opened_stage *stages; /* all but the result */
    bool *fused;                    /* which of them are computed on the way: no folder ... */
    struct wf_setup *setups;        /* ... but a plan that stays, and gives ... */
    struct wf_ckpt *planned;        /* ... what the stage behind it reads */
    struct wf_plan *identities;     /* of all: hash and parts of their plans, nothing else */
    const char **origins;           /* hub ids of the stages' inputs, each once; ends with NULL */
    size_t n_origins;
    struct wf_str provenance; /* a member of the manifest: what the stages were made from */
    const volatile int *stop;
    const char *trace_file;
    struct wf_trace *trace; /* of all stages; NULL: none is wanted */
    struct weft_merge_result *result;
};

static size_t n_stages(const struct job *j)
{
    return j->chain.n - 1;
}

/* ---- before anything is written ---- */

static int check_folder(const struct job *j)
{
    const struct weft_options *o = j->options;
    bool is_folder = wf_is_folder(j->folder) && !wf_is_link(j->folder);
    if (j->self.rank || !wf_exists(j->folder) || (is_folder && (o->resume || o->overwrite)))
        return WF_OK;
    if (!is_folder)
        return wf_fail(j->e, WF_USAGE, "%s exists and is not a folder; stages go there: move it",
                       j->folder);
    return wf_fail(j->e, WF_USAGE,
                   "%s is there from an earlier run; --resume goes on with it, --overwrite starts "
                   "anew",
                   j->folder);
}

/* A model of a stage that is not made is read by nobody, and the user's all the same. One that is
 * not there cannot be lost. */
static int check_spare_model(struct job *j, const struct wf_reference *r, const char *text)
{
    struct wf_err absent = {0};
    struct wf_place place;
    if (!text || (r->stage && text == r->model) ||
        wf_hub_resolve(&absent, &j->arena, j->recipe, text, j->chain.spare->recipe.folder, &place))
        return WF_OK;
    return wf_output_check_place(j->e, &j->output, &place);
}

static int check_spare(struct job *j)
{
    int status = WF_OK;
    for (size_t i = 0; i < j->chain.n_spare; i++) {
        const struct wf_recipe *r = &j->chain.spare[i].recipe;
        for (size_t k = 0; !status && k <= r->n_models; k++) {
            const struct wf_reference *ref = k < r->n_models ? &r->models[k].ref : &r->base;
            status = check_spare_model(j, ref, ref->model);
            if (!status)
                status = check_spare_model(j, ref, ref->adapter);
        }
    }
    return status;
}

/* Stages in the manifest of the result, with inputs as it has its own. */
static void describe(struct wf_str *s, const char *name, const struct wf_plan *plan, bool first)
{
    char hex[33];
    wf_str_puts(s, first ? "\n    {\"name\": " : ",\n    {\"name\": ");
    wf_str_json(s, name, strlen(name));
    wf_str_printf(s, ", \"method\": \"%s\", \"plan\": \"%s\", ", plan->recipe->method->name,
                  wf_hash128_hex(&plan->hash, hex));
    wf_manifest_inputs(s, plan);
    wf_str_puts(s, "}");
}

static int add_origins(struct job *j, const struct wf_plan *plan)
{
    for (size_t c = 0; c < plan->n_ckpts; c++) {
        const char *id = plan->ckpts[c].ckpt->place.repository;
        bool is_new = id != NULL;
        for (size_t i = 0; is_new && i < j->n_origins; i++)
            is_new = strcmp(j->origins[i], id) != 0;
        if (!is_new)
            continue;
        j->origins[j->n_origins] = wf_arena_strdup(&j->arena, j->e, id);
        if (!j->origins[j->n_origins++])
            return WF_MACHINE;
    }
    return WF_OK;
}

/* What is needed of the plans once they are gone: each stage plans anew when its turn comes. */
static int keep(struct job *j, const struct wf_chain_plan *p)
{
    j->stages = wf_arena_alloc(&j->arena, j->e, p->n, sizeof *j->stages);
    j->fused = wf_arena_alloc(&j->arena, j->e, p->n, sizeof *j->fused);
    j->setups = wf_arena_alloc(&j->arena, j->e, p->n, sizeof *j->setups);
    j->planned = wf_arena_alloc(&j->arena, j->e, p->n, sizeof *j->planned);
    j->identities = wf_arena_alloc(&j->arena, j->e, p->n, sizeof *j->identities);
    size_t n_inputs = 0;
    for (size_t i = 0; i < n_stages(j); i++)
        n_inputs += p->setups[i].plan.n_ckpts;
    j->origins = wf_arena_alloc(&j->arena, j->e, n_inputs + 1, sizeof *j->origins);
    if (!j->stages || !j->fused || !j->setups || !j->planned || !j->identities || !j->origins)
        return WF_MACHINE;
    memcpy(j->fused, p->fused, p->n * sizeof *j->fused);
    wf_str_puts(&j->provenance, ",\n  \"stages\": [");
    for (size_t i = 0; i < p->n; i++) {
        const struct wf_plan *plan = &p->setups[i].plan;
        j->identities[i].hash = plan->hash;
        memcpy(j->identities[i].parts, plan->parts, sizeof plan->parts);
        if (i == n_stages(j))
            break;
        const char *path = wf_path_join(&j->arena, j->e, j->folder, j->chain.run[i].name);
        if (!path || add_origins(j, plan))
            return WF_MACHINE;
        j->stages[i] = (struct wf_opened_stage){
            .name = j->chain.run[i].name, .place.path = path, .plan = plan->hash};
        describe(&j->provenance, j->chain.run[i].name, plan, i == 0);
    }
    wf_str_puts(&j->provenance, "\n  ]");
    return wf_str_finish(&j->provenance, j->e);
}

/* The result is there already, or in the way: then that merge alone says so. */
static int look_at_published(struct job *j, const struct wf_chain_plan *p, const char *out)
{
    struct wf_merge_source source = {.recipe = j->recipe,
                                     .read = &j->chain.run[n_stages(j)].recipe,
                                     .stages = p->stages,
                                     .n_stages = n_stages(j)};
    int status = wf_merge_run(j->e, j->options, &source, out, j->stop, j->result);
    if (!status && wf_exists(j->folder))
        wf_log(WF_LOG_WARNING, "%s is there as well and of no use: remove it", j->folder);
    return status;
}

/* All plans. Warnings wait: each stage gives its own when it runs. */
static int plan_all(struct job *j, const char *out, bool *published)
{
    const struct weft_options *o = j->options;
    struct wf_chain_plan p;
    wf_log_set_level(WF_LOG_ERROR);
    int status = wf_chain_plan(j->e, o, j->recipe, &j->chain, j->folder, &p);
    wf_log_set_level((enum wf_log_level)o->log_level);
    for (size_t i = 0; !status && i < p.n; i++)
        status = wf_merge_check_places(j->e, &p.setups[i], &j->output, j->trace_file);
    *published = !status && o->resume && wf_exists(j->output.out) && !j->output.overwrite;
    if (*published)
        status = look_at_published(j, &p, out);
    else if (!status)
        status = keep(j, &p);
    wf_chain_plan_destroy(&p);
    return status;
}

/* ---- OUT.stages ---- */

/* Made for a stage that goes there, and taken over to be emptied from an earlier run. */
static bool wants_folder(const struct job *j)
{
    bool wants = j->self.rank == 0 && wf_exists(j->folder);
    for (size_t i = 0; i < n_stages(j); i++)
        wants |= !j->fused[i];
    return wants;
}

static int await_folder(struct job *j)
{
    uint64_t begin = wf_now_ns();
    while (!wf_is_folder(j->folder)) {
        if (*j->stop)
            return wf_fail(j->e, WF_STOPPED, "stopped by a signal before anything was written");
        if (wf_now_ns() - begin > WF_MEET_S * UINT64_C(1000000000))
            return wf_fail(j->e, WF_MACHINE, "rank %u: no sign of rank 0 in %s; did it fail?",
                           j->self.rank, j->folder);
        usleep(LOOK_US);
    }
    return WF_OK;
}

static int claim_folder(struct job *j)
{
    if (j->self.rank)
        return await_folder(j);
    int status = wf_make_folder(j->e, j->folder);
    if (status)
        return status;
    j->lock_fd = open(j->folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (j->lock_fd < 0)
        return wf_fail_errno(j->e, WF_MACHINE, errno, "%s: cannot open the folder", j->folder);
    status = wf_lock_fd(j->e, j->lock_fd, j->folder);
    if (status) { /* another run's */
        wf_close(j->lock_fd);
        j->lock_fd = -1;
    }
    if (!status && j->options->overwrite && !j->options->resume)
        status = wf_empty_folder(j->e, j->folder);
    return status;
}

/* What an earlier run began, under other options, of a stage that this one computes on the way. */
static int remove_begun(struct job *j, struct wf_err *e, size_t i)
{
    const char *path =
        j->fused[i] ? wf_arena_printf(&j->arena, e, "%s.partial", j->stages[i].place.path) : NULL;
    if (!j->fused[i])
        return WF_OK;
    return path ? wf_remove_tree(e, path) : WF_MACHINE;
}

/* The result is published: what is left to do can fail without taking that back. */
static void remove_stages(struct job *j)
{
    struct wf_err e = {0};
    int status = WF_OK;
    for (size_t i = 0; !status && i < n_stages(j); i++) {
        status = wf_remove_tree(&e, j->stages[i].place.path);
        if (!status)
            status = remove_begun(j, &e, i);
    }
    if (!status && rmdir(j->folder))
        wf_fail_errno(&e, WF_MACHINE, errno, "%s: cannot remove", j->folder);
    if (*e.text)
        wf_log(WF_LOG_WARNING, "%s is complete, but: %s", j->output.out, e.text);
}

/* What is refused will be refused again. */
static void leave_stages(struct job *j, int status)
{
    if (!rmdir(j->folder) || errno == ENOENT || status == WF_USAGE)
        return;
    wf_log(WF_LOG_INFO, "stages and work so far are in %s; --resume goes on with them", j->folder);
}

/* ---- running ---- */

static void add_result(struct weft_merge_result *sum, const struct weft_merge_result *r,
                       uint64_t start_ns)
{
    if (!sum->first_read_ns && r->first_read_ns)
        sum->first_read_ns = wf_now_ns() - start_ns - r->wall_ns + r->first_read_ns;
    sum->bytes_read += r->bytes_read;
    sum->bytes_written += r->bytes_written;
    sum->tensors_merged += r->tensors_merged;
    sum->tensors_copied += r->tensors_copied;
    sum->peak_rss_bytes = r->peak_rss_bytes;
    wf_times_add(sum, r);
    sum->wall_ns = wf_now_ns() - start_ns;
}

static void announce(const struct job *j, size_t i, bool finished)
{
    const char *name = j->chain.run[i].name;
    bool fused = i < n_stages(j) && j->fused[i];
    struct wf_str s = {0};
    if (!j->options->json && j->self.rank)
        return;
    if (!j->options->json) {
        wf_log(WF_LOG_INFO, "stage %zu of %zu%s%s%s%s", i + 1, j->chain.n, name ? ": '" : "",
               name ? name : "", name ? "'" : "",
               finished ? ", which is finished already"
               : fused  ? ", computed on the way"
                        : "");
        return;
    }
    wf_str_puts(&s, "{\"event\":\"stage\",\"name\":");
    if (name)
        wf_str_json(&s, name, strlen(name));
    else
        wf_str_puts(&s, "null");
    wf_str_printf(&s, ",\"number\":%zu,\"stages\":%zu,\"finished\":%s,\"fused\":%s,\"rank\":%u}\n",
                  i + 1, j->chain.n, finished ? "true" : "false", fused ? "true" : "false",
                  wf_log_rank());
    if (!s.failed)
        fputs(s.text, j->options->out);
    fflush(j->options->out);
    wf_str_free(&s);
}

/* An earlier run published it, of this very plan. */
static bool is_finished(const struct job *j, size_t i)
{
    bool same;
    enum wf_plan_part differs;
    return j->options->resume &&
           wf_manifest_matches(j->stages[i].place.path, &j->identities[i], &same, &differs) && same;
}

/* Nothing is written: plans it as if it were, and leaves that to the stage behind it. */
static int plan_fused(struct job *j, size_t i, const struct weft_options *o,
                      const struct wf_merge_source *source)
{
    struct wf_setup *s = &j->setups[i];
    int status = wf_setup_recipe(j->e, o, source, s);
    if (!status)
        status = wf_setup_create(j->e, o, source, false, s);
    if (!status)
        status = wf_planned_ckpt(j->e, &j->arena, &s->plan, j->stages[i].place.path,
                                 (uint32_t)i + 1, true, &j->planned[i]);
    if (!status)
        wf_tied_check(&s->plan);
    wf_devices_close(s->gpu.devices); /* readers compute it, on the CPU */
    s->gpu = (struct wf_device_run){0};
    j->stages[i].planned = &j->planned[i];
    j->result->tensors_merged += s->plan.n_merged;
    j->result->tensors_copied += s->plan.n_copied;
    return status;
}

static int run_stage(struct job *j, size_t i, const char *out, uint64_t start_ns)
{
    bool last = i == n_stages(j);
    struct weft_options o = *j->options;
    struct weft_merge_result r;
    struct wf_merge_source source = {.recipe = j->recipe,
                                     .read = &j->chain.run[i].recipe,
                                     .stages = j->stages,
                                     .n_stages = i,
                                     .identity = &j->identities[i],
                                     .stage = last ? NULL : j->chain.run[i].name,
                                     .is_chained = true,
                                     .trace = j->trace,
                                     .more = last ? j->provenance.text : NULL,
                                     .origins = last ? (const char *const *)j->origins : NULL};
    bool fused = !last && j->fused[i], finished = !last && !fused && is_finished(j, i);
    announce(j, i, finished);
    if (finished)
        return WF_OK;
    if (*j->stop)
        return wf_fail(j->e, WF_STOPPED,
                       "stopped by a signal between stages; run the same command with --resume to "
                       "go on");
    o.emit_components = o.emit_components && last;
    o.no_tokenizer = o.no_tokenizer && last;
    if (fused)
        return plan_fused(j, i, &o, &source);
    const char *made = last ? out : j->stages[i].place.path;
    int status = wf_merge_run(j->e, &o, &source, made, j->stop, &r);
    add_result(j->result, &r, start_ns);
    if (!status)
        wf_merge_emit_done(&o, last ? "done" : "stage_done", last ? j->result : &r, made);
    return status;
}

static int find_rank(struct job *j)
{
    int status = wf_rank_find(j->e, j->options->ranks, &j->self);
    if (status)
        return status;
    wf_log_set_rank(j->self.rank);
    return wf_trace_file_name(j->e, &j->arena, j->options->trace, &j->self, &j->trace_file);
}

/* OUT, and what lies there, before models are opened. */
static int check_out(struct job *j, const char *out)
{
    const struct weft_options *o = j->options;
    struct wf_output_rules rules = {.resume = o->resume,
                                    .overwrite = o->overwrite,
                                    .replace_merges = o->replace_merges,
                                    .follows = j->self.rank > 0,
                                    .stop = j->stop};
    int status = wf_output_check(j->e, &j->arena, out, &rules, &j->output);
    j->output.staged = j->chain.n > 1;
    return status ? status : check_spare(j);
}

static int run_chain(struct job *j, const char *out)
{
    uint64_t start_ns = wf_now_ns();
    bool published = false;
    int status = find_rank(j);
    if (!status)
        status = check_out(j, out);
    if (!status) {
        j->folder = wf_arena_printf(&j->arena, j->e, "%s.stages", j->output.out);
        status = j->folder ? check_folder(j) : WF_MACHINE;
    }
    if (!status)
        status = plan_all(j, out, &published);
    if (status || published)
        return status;
    if (j->trace_file)
        status = wf_trace_open(j->e, j->trace_file, wf_log_rank(), WF_TRACE_BUFFER, &j->trace);
    if (!status && wants_folder(j))
        status = claim_folder(j);
    for (size_t i = 0; !status && i < j->chain.n; i++)
        status = run_stage(j, i, out, start_ns);
    if (!status && j->lock_fd >= 0)
        remove_stages(j);
    else if (j->lock_fd >= 0)
        leave_stages(j, status);
    wf_close(j->lock_fd);
    for (size_t i = 0; j->setups && i < n_stages(j); i++)
        wf_setup_destroy(&j->setups[i]);
    wf_trace_close(j->trace);
    j->result->rank = j->self.rank;
    j->result->ranks = j->self.size;
    if (!status && j->self.rank == 0)
        wf_times_log(j->result);
    return status;
}

/* The result needs no stage. */
static int run_alone(struct job *j, const char *out)
{
    struct wf_merge_source source = {.recipe = j->recipe, .read = &j->chain.run[0].recipe};
    int status = j->chain.n_spare ? wf_rank_find(j->e, j->options->ranks, &j->self) : WF_OK;
    if (!status && j->chain.n_spare)
        status = check_out(j, out);
    return status ? status : wf_merge_run(j->e, j->options, &source, out, j->stop, j->result);
}

int wf_chain_merge_run(struct wf_err *e, const struct weft_options *options, const char *recipe,
                       const char *out, const volatile int *stop, struct weft_merge_result *result)
{
    struct job j = {.e = e,
                    .options = options,
                    .recipe = recipe,
                    .lock_fd = -1,
                    .stop = stop,
                    .result = result};
    *result = (struct weft_merge_result){0};
    int status =
        wf_chain_read(e, &j.arena, recipe, options->compat == WEFT_COMPAT_MERGEKIT, &j.chain);
    if (!status && j.chain.n > 1) {
        status = run_chain(&j, out);
    } else if (!status) {
        status = run_alone(&j, out);
    }
    wf_str_free(&j.provenance);
    wf_arena_destroy(&j.arena);
    return status;
}
