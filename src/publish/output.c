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
#include "../dist/session.h"
#include "leftover.h"
#include "provenance.h"
#include "replaceable.h"

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
    o->statistics_path = wf_path_join(a, e, o->partial, WF_STATISTICS_NAME);
    return o->journal_path && o->statistics_path ? WF_OK : WF_MACHINE;
}

static int refuse_leftover(struct wf_err *e, const struct wf_output *o)
{
    return wf_fail(e, WF_USAGE, "%s is there from an earlier run; %s--overwrite starts anew",
                   o->partial, o->once ? "" : "--resume goes on with it, ");
}

/* A first look, before models are opened; wf_output_open looks again with the lock held. */
static int check_partial(struct wf_err *e, struct wf_output *o, const struct wf_output_rules *rules)
{
    bool resume = rules->resume;
    if (!wf_exists(o->partial))
        return WF_OK;
    int fd = open(o->partial, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return wf_fail(e, WF_USAGE, "%s exists and is not a folder; weft works there: move it",
                       o->partial);
    int status = o->follows ? WF_OK : wf_lock_fd(e, fd, o->partial);
    close(fd);
    if (o->follows && (resume || o->overwrite || wf_session_is_alive(o->partial, rules->stop)))
        return WF_OK; /* rank 0 has made it, or will deal with it */
    if (o->follows && *rules->stop)
        return wf_fail(e, WF_STOPPED, "stopped by a signal before anything was written");
    if (!status && !resume && !o->overwrite && !o->restart)
        status = refuse_leftover(e, o);
    return status;
}

/* An OUT that nobody spoke of is replaced only where nothing but a merge is lost. */
static int check_replaceable(struct wf_err *e, struct wf_arena *a, const struct wf_output *o)
{
    const char *why = "";
    bool may = true;
    int status =
        o->merges_only && wf_is_folder(o->out) ? wf_replaceable(e, a, o->out, &may, &why) : WF_OK;
    if (status || may)
        return status;
    return wf_fail(e, WF_USAGE, "%s exists and %s; --overwrite replaces it", o->out, why);
}

static int check_place(struct wf_err *e, struct wf_arena *a, const char *out,
                       const struct wf_output_rules *rules, struct wf_output *o)
{
    int status = split_path(e, a, out, o);
    if (status)
        return status;
    if (!wf_is_folder(o->parent))
        return wf_fail(e, WF_MACHINE, "%s: there is no folder %s to make it in", o->out, o->parent);
    bool only_looks = rules->resume && wf_exists(o->out) && !o->overwrite;
    if (!only_looks && access(o->parent, W_OK | X_OK))
        return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot write in %s", o->out, o->parent);
    if (wf_exists(o->out) && !rules->resume && !o->overwrite)
        return wf_fail(e, WF_USAGE, "%s exists; --overwrite replaces it", o->out);
    if (wf_exists(o->out) && !wf_is_folder(o->out))
        return wf_fail(e, WF_USAGE, "%s exists and is not a folder; choose another OUT", o->out);
    status = check_replaceable(e, a, o);
    return status ? status : check_partial(e, o, rules);
}

int wf_output_check(struct wf_err *e, struct wf_arena *a, const char *out,
                    const struct wf_output_rules *rules, struct wf_output *o)
{
    *o = (struct wf_output){.overwrite = rules->overwrite || rules->replace_merges,
                            .merges_only = rules->replace_merges && !rules->overwrite,
                            .follows = rules->follows,
                            .own = {.fd = -1},
                            .journal = {.fd = -1},
                            .lock_fd = -1};
    return check_place(e, a, out, rules, o);
}

int wf_output_check_once(struct wf_err *e, struct wf_arena *a, const char *out, bool resume,
                         bool overwrite, struct wf_output *o)
{
    *o = (struct wf_output){.overwrite = overwrite,
                            .once = true,
                            .own = {.fd = -1},
                            .restart = resume,
                            .journal = {.fd = -1},
                            .lock_fd = -1};
    return check_place(e, a, out, &(struct wf_output_rules){.resume = resume}, o);
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

/* Is the folder that was locked still the one at its path? */
static bool still_there(const struct wf_output *o)
{
    struct stat locked, now;
    return !fstat(o->lock_fd, &locked) && !lstat(o->partial, &now) && locked.st_ino == now.st_ino &&
           locked.st_dev == now.st_dev;
}

/* Who made the folder a moment ago shall be the one to lock it. */
#define MAKER_FIRST_US 20000

/* Makes OUT.partial if it is not there, and locks it. Another run may rename or remove it between
 * the two, so look again. */
static int lock_partial(struct wf_err *e, struct wf_output *o, bool *made)
{
    for (int attempt = 0; attempt < 16; attempt++) {
        *made = !mkdir(o->partial, 0777);
        if (!*made && errno != EEXIST)
            return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot make the folder", o->partial);
        if (!*made && wf_folder_is_empty(o->partial))
            usleep(MAKER_FIRST_US);
        o->lock_fd = open(o->partial, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (o->lock_fd < 0 && errno == ENOENT)
            continue;
        if (o->lock_fd < 0)
            return wf_fail_errno(e, WF_MACHINE, errno, "%s: cannot open the folder", o->partial);
        int status = wf_lock_fd(e, o->lock_fd, o->partial);
        if (status || still_there(o))
            return status;
        close(o->lock_fd);
        o->lock_fd = -1;
    }
    return wf_fail(e, WF_MACHINE, "%s: other runs keep replacing it", o->partial);
}

/* An empty, locked folder with the head of a journal. */
static int start_anew(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan)
{
    wf_journal_close(&o->journal);
    o->created = true;
    o->state = WF_OUTPUT_NEW;
    int status = wf_leftover_empty(e, o);
    if (!status)
        status = wf_journal_open(e, o->journal_path, true, &o->journal);
    return status ? status : wf_journal_begin(e, &o->journal, plan);
}

static bool is_plain_file(const char *path)
{
    struct stat s;
    return !lstat(path, &s) && S_ISREG(s.st_mode);
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
    char *stray = wf_path_join(plan->arena, e, o->out, WF_JOURNAL_NAME);
    if (stray)
        unlink(stray); /* left if a run died right after the rename */
    if (wf_exists(o->partial))
        wf_log(WF_LOG_WARNING, "%s is there as well and of no use: remove it", o->partial);
    o->state = WF_OUTPUT_PUBLISHED;
    return WF_OK;
}

static int resume_partial(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan,
                          struct wf_blocks *blocks)
{
    enum wf_plan_part differs = WF_PART_RECIPE;
    enum wf_journal_state state = WF_JOURNAL_NONE;
    int status = WF_OK;
    if (is_plain_file(o->journal_path))
        status = wf_journal_open(e, o->journal_path, false, &o->journal);
    if (!status)
        status = wf_journal_load(e, &o->journal, plan, &state, &differs, wf_blocks_mark, blocks);
    if (status)
        return status;
    o->state = WF_OUTPUT_RESUMED;
    if (state == WF_JOURNAL_SAME && !o->afresh && files_are_whole(e, o, plan))
        return wf_output_gather(e, o, plan, blocks);
    if (state == WF_JOURNAL_OTHER && !o->overwrite)
        return refuse_other(e, o->partial, differs);
    if (state == WF_JOURNAL_OTHER)
        wf_log(WF_LOG_INFO, "%s is of another plan (%s differs): starting over", o->partial,
               wf_plan_part_name(differs));
    else if (state == WF_JOURNAL_SAME && o->afresh)
        wf_log(WF_LOG_INFO, "%s: components are made in one go: starting over", o->partial);
    else
        wf_log(WF_LOG_INFO, "%s has no usable journal: starting over", o->partial);
    wf_blocks_forget(blocks);
    return start_anew(e, o, plan);
}

/* Locks OUT.partial, made or found; OUT is not there unless it may be replaced. Where nobody said
 * --resume or --overwrite, what is somebody's stays. */
static int claim_partial(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan,
                         bool *made)
{
    int status = lock_partial(e, o, made);
    if (!status && !*made && o->merges_only)
        status = wf_leftover_check(e, o, plan);
    if (status || o->overwrite || !wf_exists(o->out))
        return status;
    if (*made) /* another run was faster */
        rmdir(o->partial);
    return wf_fail(e, WF_USAGE, "%s exists; --overwrite replaces it", o->out);
}

static void ignore_block(void *arg, uint32_t shard, uint64_t block, const struct wf_hash128 *hash)
{
    (void)arg, (void)shard, (void)block, (void)hash;
}

/* What rank 0 refuses the others refuse as well, for they would wait for it in vain. */
static int refuse_other_plan(struct wf_err *e, const struct wf_output *o,
                             const struct wf_plan *plan)
{
    enum wf_plan_part differs = WF_PART_RECIPE;
    enum wf_journal_state state = WF_JOURNAL_NONE;
    struct wf_journal j;
    int status = wf_journal_look(e, o->journal_path, &j);
    if (!status)
        status = wf_journal_load(e, &j, plan, &state, &differs, ignore_block, NULL);
    wf_journal_close(&j);
    return !status && state == WF_JOURNAL_OTHER ? refuse_other(e, o->partial, differs) : status;
}

int wf_output_open(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan, bool resume,
                   struct wf_blocks *blocks)
{
    if (resume && wf_exists(o->out) && !o->overwrite)
        return resume_published(e, o, plan);
    if (o->follows) {
        o->state = WF_OUTPUT_FOLLOWED;
        return resume && !o->overwrite ? refuse_other_plan(e, o, plan) : WF_OK;
    }
    bool made;
    int status = claim_partial(e, o, plan, &made);
    if (status)
        return status;
    if (!made && resume)
        return resume_partial(e, o, plan, blocks);
    if (!made && !o->overwrite)
        return refuse_leftover(e, o);
    return start_anew(e, o, plan);
}

int wf_output_begin(struct wf_err *e, struct wf_output *o, const struct wf_plan *plan)
{
    bool made;
    if (o->restart && wf_exists(o->out) && !o->overwrite)
        return resume_published(e, o, plan);
    int status = claim_partial(e, o, plan, &made);
    if (!status && !made && !o->overwrite && !o->restart)
        status = refuse_leftover(e, o);
    if (status)
        return status;
    o->created = true;
    o->state = WF_OUTPUT_NEW;
    status = wf_leftover_empty(e, o);
    return status ? status : wf_journal_open(e, o->journal_path, true, &o->journal);
}

#ifndef RENAME_EXCHANGE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif

static bool rename_how(const char *from, const char *to, unsigned flags)
{
    return !syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

/* Puts OUT.partial in OUT's place, keeping the old OUT until that instant. The old one gets a name
 * that nobody resumes, `old`, and is removed when the new one is durable. */
static int replace(struct wf_err *e, struct wf_output *o, char old[PATH_MAX])
{
    if (snprintf(old, PATH_MAX, "%s.old-%ld", o->out, (long)getpid()) >= PATH_MAX)
        return wf_fail(e, WF_MACHINE, "%s: the path is too long", o->out);
    if (wf_fault(WF_FAULT_RENAME))
        return wf_fail_errno(e, WF_MACHINE, EIO, "cannot rename %s to %s", o->partial, o->out);
    if (rename_how(o->partial, o->out, RENAME_EXCHANGE)) {
        struct wf_err ignored = {0};
        if (wf_rename(&ignored, o->partial, old)) /* the old OUT; then it keeps that name */
            snprintf(old, PATH_MAX, "%s", o->partial);
        return WF_OK;
    }
    int status = wf_rename(e, o->out, old);
    if (!status && (status = wf_rename(e, o->partial, o->out)))
        rename(old, o->out); /* put it back; the error is recorded */
    return status;
}

static int rename_new(struct wf_err *e, struct wf_output *o)
{
    if (wf_fault(WF_FAULT_RENAME))
        return wf_fail_errno(e, WF_MACHINE, EIO, "cannot rename %s to %s", o->partial, o->out);
    if (rename_how(o->partial, o->out, RENAME_NOREPLACE))
        return WF_OK;
    if (errno == EEXIST)
        return wf_fail(e, WF_USAGE, "%s appeared while weft was at work; the result is in %s",
                       o->out, o->partial);
    return wf_rename(e, o->partial, o->out); /* a file system without that flag says why itself */
}

/* OUT is complete. What is left to do can fail without taking that back: then it is a warning. */
static void tidy_up(struct wf_output *o, const char *old)
{
    struct wf_err e = {0};
    o->created = false; /* OUT.partial is nobody's now */
    o->published = true;
    int status = wf_sync_folder(&e, o->parent);
    if (unlinkat(o->lock_fd, WF_JOURNAL_NAME, 0) && errno != ENOENT && !status)
        status =
            wf_fail_errno(&e, WF_MACHINE, errno, "%s/%s: cannot remove", o->out, WF_JOURNAL_NAME);
    if (!status)
        status = wf_sync_folder(&e, o->out);
    if (!status && *old)
        status = wf_remove_tree(&e, old);
    if (status)
        wf_log(WF_LOG_WARNING, "%s is complete, but: %s%s%s", o->out, e.text,
               *old ? "; the old one is in " : "", old);
}

/* All blocks are done: nobody needs them any more. */
static int remove_statistics(struct wf_err *e, const struct wf_output *o)
{
    static const char *const names[] = {WF_STATISTICS_NAME, WF_STATISTICS_NAME ".new",
                                        WF_STATISTICS_DELTAS_NAME,
                                        WF_STATISTICS_DELTAS_NAME ".new"};
    for (int k = 0; k < 4; k++)
        if (unlinkat(o->lock_fd, names[k], 0) && errno != ENOENT)
            return wf_fail_errno(e, WF_MACHINE, errno, "%s/%s: cannot remove", o->partial,
                                 names[k]);
    return WF_OK;
}

int wf_output_publish(struct wf_err *e, struct wf_output *o)
{
    char old[PATH_MAX] = "";
    struct wf_arena a = {0};
    int status = remove_statistics(e, o);
    if (!status)
        status = wf_sync_folder(e, o->partial);
    if (!status)
        status = check_replaceable(e, &a, o); /* it may be another by now */
    wf_arena_destroy(&a);
    if (!status && !still_there(o))
        status =
            wf_fail(e, WF_MACHINE, "%s was removed or replaced while weft was at work", o->partial);
    if (!status)
        status = o->overwrite && wf_exists(o->out) ? replace(e, o, old) : rename_new(e, o);
    if (!status)
        tidy_up(o, old);
    return status;
}

void wf_output_close(struct wf_output *o, bool keep)
{
    struct wf_err ignored = {0};
    wf_journal_close(&o->journal); /* a file that is open keeps its folder on NFS */
    wf_journal_close(&o->own);
    if (o->created && !keep && o->lock_fd >= 0 && still_there(o) && !wf_leftover_empty(&ignored, o))
        rmdir(o->partial);
    wf_close(o->lock_fd);
    o->lock_fd = -1;
    o->created = false;
}
