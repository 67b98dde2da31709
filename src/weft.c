/* weft.c - the public interface in terms of the modules below it. */
#include "../include/weft.h"

#include <signal.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/status.h"
#include "dist/join_ranks.h"
#include "publish/apply.h"
#include "publish/chain_merge.h"
#include "publish/combine.h"
#include "search/search.h"
#include "tool/compress_lora.h"
#include "tool/diff.h"
#include "tool/doctor.h"
#include "tool/extract_lora.h"
#include "tool/inspect.h"
#include "tool/methods_print.h"
#include "tool/plan_print.h"
#include "tool/verify.h"

#define FAREWELL_MS 30000u

struct weft {
    struct weft_options options;
    struct wf_err err;
};

static volatile sig_atomic_t stop_asked;

void weft_stop(void)
{
    stop_asked = 1;
}

unsigned weft_rank(void)
{
    return wf_log_rank();
}

void weft_options_init(struct weft_options *options)
{
    *options = (struct weft_options){
        .shard_bytes = 5000000000u, .log_level = WEFT_LOG_INFO, .out = stdout};
}

/* What this build cannot do is said at once, not when the work is half done. */
static int check_options(struct wf_err *e, const struct weft_options *o)
{
    if (o->shard_bytes == 0)
        return wf_fail(e, WF_USAGE, "--shard-size must be at least 1 byte");
    return WF_OK;
}

int weft_create(struct weft **out, const struct weft_options *options)
{
    struct wf_err e = {0};
    stop_asked = 0;
    struct weft *w = *out = wf_alloc(&e, WF_MEM_META, 1, sizeof *w, "a session");
    if (!w)
        return WEFT_MACHINE;
    if (options)
        w->options = *options;
    else
        weft_options_init(&w->options);
    if (!w->options.out)
        w->options.out = stdout;
    wf_log_set_level((enum wf_log_level)w->options.log_level);
    return check_options(&w->err, &w->options);
}

/* What joined the ranks of a merge is left in order, if all went well; else it is dropped, as
 * nobody can tell who is still there. */
void weft_destroy(struct weft *w)
{
    struct wf_err ignored = {0};
    const struct wf_join_options farewell = {.meet_ms = FAREWELL_MS};
    int status = w ? wf_err_status(&w->err) : WF_OK;
    if (w && !status)
        wf_join_finish(&ignored, &farewell);
    if (status) /* its text has been asked for */
        wf_join_abandon(status);
    wf_free(w);
}

const char *weft_error(const struct weft *w)
{
    return w ? w->err.text : "out of memory";
}

/* Each call starts with a clean error slot. The stop flag is the session's: a signal may come
 * before the call. */
static struct wf_err *begin(struct weft *w)
{
    wf_err_clear(&w->err);
    return &w->err;
}

/* A status without a text, or the other way round, would be a mistake of ours. */
static int finish(struct weft *w, int status)
{
    if (status != WF_OK && status != WF_NO && wf_err_status(&w->err) == WF_OK)
        wf_fail(&w->err, WF_BUG, "internal: status %d without an error", status);
    return status;
}

int weft_merge(struct weft *w, const char *recipe, const char *out,
               struct weft_merge_result *result)
{
    struct weft_merge_result unused;
    return finish(w,
                  wf_chain_merge_run(begin(w), &w->options, recipe, out,
                                     (const volatile int *)&stop_asked, result ? result : &unused));
}

int weft_apply(struct weft *w, const char *shared, const char *top, const char *out,
               struct weft_merge_result *result)
{
    struct weft_merge_result unused;
    return finish(w, wf_apply_run(begin(w), &w->options, shared, top, out,
                                  (const volatile int *)&stop_asked, result ? result : &unused));
}

int weft_combine(struct weft *w, const char *components, const char *base,
                 const char *const *weights, size_t n, const char *out,
                 struct weft_merge_result *result)
{
    struct weft_merge_result unused;
    return finish(w, wf_combine_run(begin(w), &w->options, components, base, weights, n, out,
                                    (const volatile int *)&stop_asked, result ? result : &unused));
}

int weft_search(struct weft *w, const char *recipe, const struct weft_search *how,
                struct weft_merge_result *result)
{
    struct weft_merge_result unused;
    return finish(w, wf_search_run(begin(w), &w->options, recipe, how,
                                   (const volatile int *)&stop_asked, result ? result : &unused));
}

int weft_plan(struct weft *w, const char *recipe)
{
    return finish(w, wf_plan_print_run(begin(w), &w->options, recipe));
}

int weft_inspect(struct weft *w, const char *model)
{
    return finish(w, wf_inspect_run(begin(w), &w->options, model));
}

int weft_diff(struct weft *w, const char *a, const char *b, const char *base)
{
    return finish(w, wf_diff_run(begin(w), &w->options, a, b, base));
}

int weft_verify(struct weft *w, const char *model)
{
    return finish(w, wf_verify_run(begin(w), &w->options, model));
}

int weft_compress_lora(struct weft *w, const char *adapter, const char *out, unsigned rank)
{
    return finish(w, wf_compress_lora_run(begin(w), &w->options, adapter, out, rank,
                                          (const volatile int *)&stop_asked));
}

int weft_extract_lora(struct weft *w, const char *model, const char *out,
                      const struct weft_extract *how)
{
    return finish(w, wf_extract_lora_run(begin(w), &w->options, model, out, how,
                                         (const volatile int *)&stop_asked));
}

int weft_methods(struct weft *w, const char *name, bool markdown)
{
    return finish(w, wf_methods_run(begin(w), &w->options, name, markdown));
}

int weft_doctor(struct weft *w, const char *folder)
{
    return finish(w, wf_doctor_run(begin(w), &w->options, folder));
}
