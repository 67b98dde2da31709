/* reference.h - the text that names a model: PATH | org/name[@revision], each with [+adapter]. */
#ifndef WF_REFERENCE_H
#define WF_REFERENCE_H

#include <stdbool.h>

#include "../base/mem.h"
#include "../base/status.h"

struct wf_reference {
    const char *text;    /* as written */
    const char *model;   /* before '+', with its @revision */
    const char *adapter; /* after '+', NULL if none */
    bool is_path;        /* the whole text is an existing path: its '@' and '+' are plain letters */
    const char *stage; /* the recipe's stage of that name (chain.h) in place of `model`, or NULL */
    const char *architecture; /* to be taken for the config's; NULL: the config says it */
    int line;                 /* in the recipe */
};

/* Splits `text`. If `exists(arg, text)` says that the whole text is an existing path, it is one
 * model (so paths with '@' or '+' work); NULL stands for "no path exists". More than one '+'
 * otherwise, an empty part and control characters are WF_USAGE at where:line. Several '@' are left
 * to whoever looks the model up: a path may hold them after ~ and $VARS are expanded. */
int wf_reference_parse(struct wf_err *e, struct wf_arena *a, const char *where, int line,
                       const char *text, int (*exists)(void *arg, const char *text), void *arg,
                       struct wf_reference *out);

/* The task name a reference gets when the recipe has none: last part of the path without
 * `.safetensors`; `name` of `org/name@rev`; `b` of `a+b`. Where that would be no name ("..", "/"):
 * "model". */
int wf_reference_task_name(struct wf_err *e, struct wf_arena *a, const struct wf_reference *r,
                           const char **out);

#endif
