/* output.c - OUT.partial and OUT. */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../base/fault.h"
#include "../base/file.h"
#include "../base/log.h"
#include "provenance.h"

/* "a/b/" -> "a/b"; the parent of "b" is ".". */
static int split_path(struct wf_err *e, struct wf_arena *a, const char *out, struct wf_output *o)
{
    size_t n;
    const char *last = wf_path_last(out, &n);
    if (n == 0 || !strcmp(out, "/") || (n == 1 && *last == '.') ||
        (n == 2 && !memcmp(last, "..", 2)))
        return wf_fail(e, WF_USAGE, "OUT is '%s'; give the name of a folder to make", out);
    size_t before = (size_t)(last - out);
    o->out = wf_arena_strndup(a, e, out, before + n);
    o->partial = wf_arena_printf(a, e, "%.*s.partial", (int)(before + n), out);
    o->parent = before == 0 ? "." : wf_arena_strndup(a, e, out, before == 1 ? 1 : before - 1);
    if (!o->out || !o->partial || !o->parent)
        return WF_MACHINE;
    o->journal_path = wf_path_join(a, e, o->partial, WF_JOURNAL_NAME);
    return o->journal_path ? WF_OK : WF_MACHINE;
}

static int check_partial(struct wf_err *e, struct wf_output *o, bool resume)
{
    if (!wf_exists(o->partial))
        return WF_OK;
    if (!wf_is_folder(o->partial))
        return wf_fail(e, WF_USAGE, "%s exists and is not a folder; weft works there: move it",
                       o->partial);
    struct wf_journal j;
    int status = wf_journal_open(e, o->journal_path, false, &j); /* 4 while another weft holds it */
    if (status)
        return status;
    wf_journal_close(&j);
    if (!resume && !o->overwrite)
        return wf_fail(e, WF_USAGE,
                       "%s is there from an earlier run; --resume goes on with it, "
                       "--overwrite starts anew",
                       o->partial);
    return WF_OK;
}

int wf_output_check(struct wf_err *e, struct wf_arena *a, const char *out, bool resume,
                    bool overwrite, struct wf_output *o)
{
    *o = (struct wf_output){.overwrite = overwrite, .journal = {.fd = -1}};
    int status = split_path(e, a, out, o);
    if (status)
        return status;
    if (!wf_is_folder(o->parent))
        return wf_fail(e, WF_MACHINE, "%s: there is no folder %s to make it in", o->out, o->parent);
    if (access(o->parent, W_OK | X_OK))
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot write in %s", o->out, o->parent);
    if (wf_exists(o->out) && !resume && !overwrite)
        return wf_fail(e, WF_USAGE, "%s exists; --overwrite replaces it", o->out);
    if (wf_exists(o->out) && !wf_is_folder(o->out))
        return wf_fail(e, WF_USAGE, "%s exists and is not a folder; choose another OUT", o->out);
    return check_partial(e, o, resume);
}

/* True if `inner` is `outer` or lies below it (both absolute, resolved). */
static bool within(const char *inner, const char *outer)
{
    size_t n = strlen(outer);
    if (!strcmp(outer, "/"))
        return true;
    return !strncmp(inner, outer, n) && (inner[n] == 0 || inner[n] == '/');
}

/* The resolved path OUT has or will have. False when it cannot be known. */
static bool resolve_out(const struct wf_output *o, char resolved[PATH_MAX])
{
    char parent[PATH_MAX];
    size_t n;
    if (realpath(o->out, resolved))
        return true;
    const char *last = wf_path_last(o->out, &n);
    return realpath(o->parent, parent) &&
           snprintf(resolved, PATH_MAX, "%s/%.*s", strcmp(parent, "/") ? parent : "", (int)n,
                    last) < PATH_MAX;
}

int wf_output_check_inputs(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan)
{
    char out[PATH_MAX], partial[PATH_MAX + 16], input[PATH_MAX], here[PATH_MAX];
    if (!resolve_out(o, out))
        return wf_fail(e, WF_USAGE, "%s: the path cannot be resolved", o->out);
    snprintf(partial, sizeof partial, "%s.partial", out);
    for (size_t c = 0; c < plan->n_ckpts; c++) {
        const struct wf_ckpt *k = plan->ckpts[c].ckpt;
        if (!realpath(k->place.path, input))
            continue;
        if (within(out, input) || within(input, out) || within(input, partial))
            return wf_fail(e, WF_USAGE,
                           "OUT '%s' is, holds, or lies in the input '%s'; choose "
                           "another OUT",
                           o->out, plan->ckpts[c].text);
    }
    if (o->overwrite && wf_exists(o->out) && realpath(".", here) && within(here, out))
        return wf_fail(e, WF_USAGE, "--overwrite would remove the folder you are in: %s", o->out);
    return WF_OK;
}

/* All shards there, at their planned size. */
static bool files_are_whole(struct wf_err *e, const struct wf_output *o, const struct wf_plan *plan)
{
    for (size_t s = 0; s < plan->n_shards; s++) {
        struct stat st;
        char *path = wf_path_join(plan->arena, e, o->partial, plan->shards[s].name);
        if (!path || lstat(path, &st) || !S_ISREG(st.st_mode) ||
            (uint64_t)st.st_size != plan->shards[s].bytes)
            return false;
    }
    return true;
}

static int start_anew(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan)
{
    wf_journal_close(&o->journal);
    int status = wf_remove_tree(e, o->partial);
    if (status)
        return status;
    if (mkdir(o->partial, 0777))
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot make the folder", o->partial);
    status = wf_journal_open(e, o->journal_path, true, &o->journal);
    if (!status)
        status = wf_journal_begin(e, &o->journal, plan);
    if (status) {
        struct wf_err ignored = {0};
        wf_journal_close(&o->journal);
        wf_remove_tree(&ignored, o->partial);
    }
    o->state = WF_OUTPUT_NEW;
    return status;
}

static int refuse_other(struct wf_err *e, const char *what, enum wf_plan_part differs)
{
    return wf_fail(e, WF_USAGE,
                   "--resume: %s is of another plan: %s differs; --overwrite starts "
                   "anew",
                   what, wf_plan_part_name(differs));
}

/* --resume with an OUT: done already, or somebody else's. */
static int resume_published(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan)
{
    bool same = false;
    enum wf_plan_part differs = WF_PART_RECIPE;
    if (!wf_manifest_matches(o->out, plan, &same, &differs))
        return wf_fail(e, WF_USAGE,
                       "--resume: %s exists and is not a finished merge of weft's; "
                       "--overwrite replaces it",
                       o->out);
    if (!same)
        return refuse_other(e, o->out, differs);
    o->state = WF_OUTPUT_PUBLISHED;
    return WF_OK;
}

static int resume_partial(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan,
                          struct wf_blocks *blocks)
{
    bool same = false;
    enum wf_plan_part differs = WF_PART_RECIPE;
    enum wf_journal_state state;
    if (wf_manifest_matches(o->partial, plan, &same, &differs) && same &&
        files_are_whole(e, o, plan)) {
        o->state = WF_OUTPUT_WRITTEN;
        return wf_journal_open(e, o->journal_path, false, &o->journal);
    }
    int status = wf_journal_open(e, o->journal_path, false, &o->journal);
    if (!status)
        status = wf_journal_load(e, &o->journal, plan, &state, &differs, wf_blocks_mark, blocks);
    if (status)
        return status;
    if (state == WF_JOURNAL_OTHER)
        return refuse_other(e, o->partial, differs);
    o->state = WF_OUTPUT_RESUMED;
    if (state == WF_JOURNAL_SAME && files_are_whole(e, o, plan))
        return WF_OK;
    wf_log(WF_LOG_INFO, "%s has no usable journal: starting over", o->partial);
    wf_blocks_forget(blocks);
    return start_anew(e, o, plan);
}

int wf_output_open(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan, bool resume,
                   struct wf_blocks *blocks)
{
    if (resume && wf_exists(o->out) && !o->overwrite)
        return resume_published(e, o, plan);
    if (resume && wf_exists(o->partial))
        return resume_partial(e, o, plan, blocks);
    if (wf_exists(o->partial)) { /* --overwrite: not from under a running merge */
        int status = wf_journal_open(e, o->journal_path, false, &o->journal);
        if (status)
            return status;
    }
    return start_anew(e, o, plan);
}

/* Puts OUT.partial in OUT's place, keeping the old OUT until that instant. */
static int replace(struct wf_err *e, struct wf_output *o)
{
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif
    if (wf_fault(WF_FAULT_RENAME))
        return wf_fail_errno(e, WF_MACHINE, EIO, "cannot rename %s to %s", o->partial, o->out);
    if (!syscall(SYS_renameat2, AT_FDCWD, o->partial, AT_FDCWD, o->out, RENAME_EXCHANGE))
        return wf_remove_tree(e, o->partial); /* which is the old OUT now */
    char old[PATH_MAX];
    if (snprintf(old, sizeof old, "%s.old", o->out) >= (int)sizeof old)
        return wf_fail(e, WF_MACHINE, "%s: the path is too long", o->out);
    int status = wf_remove_tree(e, old);
    if (!status)
        status = wf_rename(e, o->out, old);
    if (!status && (status = wf_rename(e, o->partial, o->out)))
        rename(old, o->out); /* put it back; the error is recorded */
    return status ? status : wf_remove_tree(e, old);
}

int wf_output_publish(struct wf_err *e, struct wf_output *o)
{
    if (unlink(o->journal_path) && errno != ENOENT)
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot remove", o->journal_path);
    int status = wf_sync_folder(e, o->partial);
    if (!status && wf_exists(o->out))
        status = o->overwrite ? replace(e, o)
                              : wf_fail(e, WF_USAGE,
                                        "%s appeared while weft was at work; the "
                                        "result is in %s",
                                        o->out, o->partial);
    else if (!status)
        status = wf_rename(e, o->partial, o->out);
    if (!status)
        status = wf_sync_folder(e, o->parent);
    wf_journal_close(&o->journal);
    return status;
}

void wf_output_close(struct wf_output *o, bool keep)
{
    struct wf_err ignored = {0};
    if (o->journal.fd >= 0 && !keep)
        wf_remove_tree(&ignored, o->partial);
    wf_journal_close(&o->journal);
}
