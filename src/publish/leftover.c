/* leftover.c - see leftover.h. */
#include "leftover.h"

#include <string.h>
#include <sys/stat.h>

#include "../base/file.h"
#include "../format/folder.h"

static bool is_plain_file(const char *path)
{
    struct stat s;
    return !lstat(path, &s) && S_ISREG(s.st_mode);
}

static bool is_work(const struct wf_plan *plan, const char *name)
{
    static const char *const names[] = {"ranks", "spool", "components", "components.spool", NULL};
    for (size_t i = 0; names[i]; i++)
        if (!strcmp(names[i], name))
            return true;
    for (size_t s = 0; s < plan->n_shards; s++)
        if (!strcmp(plan->shards[s].name, name))
            return true;
    return !strncmp(name, "weft.", 5);
}

int wf_leftover_check(struct wf_err *e, const struct wf_output *o, const struct wf_plan *plan)
{
    struct wf_arena a = {0};
    const char **names;
    size_t n = 0;
    if (is_plain_file(o->journal_path))
        return WF_OK;
    int status = wf_folder_names(e, &a, o->partial, &names, &n);
    for (size_t i = 0; !status && i < n; i++)
        if (!is_work(plan, names[i]))
            status = wf_fail(e, WF_USAGE,
                             "%s holds '%s' and no journal of weft's, which works there: move it, "
                             "or remove it",
                             o->partial, names[i]);
    wf_arena_destroy(&a);
    return status;
}

int wf_leftover_empty(struct wf_err *e, const struct wf_output *o)
{
    struct wf_journal other = {.fd = -1};
    int status =
        is_plain_file(o->journal_path) ? wf_journal_open(e, o->journal_path, false, &other) : WF_OK;
    if (!status)
        status = wf_folder_empty_last(e, o->partial, WF_JOURNAL_NAME);
    wf_journal_close(&other);
    return status;
}
