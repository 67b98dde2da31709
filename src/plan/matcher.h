/* matcher.h - the state of the walk over tensor names; private to match.c and match_settings.c. */
#ifndef WF_MATCHER_H
#define WF_MATCHER_H

#include "columns.h"
#include "plan.h"

/* input_model of a base that has no entry of its own. */
enum { WF_NO_MODEL = -1, WF_BASE_JOINS = -2 };

/* One slice after the other: its columns, where the arithmetic's inputs are among them, and how far
 * each was read. */
struct wf_matcher {
    struct wf_err *e;
    struct wf_plan *plan;
    const struct wf_recipe *recipe;
    uint32_t *entry_ckpt;     /* by entry of the recipe */
    struct wf_stacks *stacks; /* by checkpoint */
    size_t slice;
    struct wf_column *columns; /* of this slice; the first is the donor */
    size_t n_columns;
    size_t *at;                          /* per column: next entry */
    const struct wf_column_entry **here; /* per column: the one of this name, or NULL */
    uint32_t *inputs;                    /* arithmetic input i -> column; base first if the method
                                            has one */
    int *input_model; /* arithmetic input i -> recipe model entry, NO_MODEL or BASE_JOINS */
    uint32_t n_inputs;
    bool has_base; /* input 0 is the base */
    size_t jobs_max, left_out_max, unused_max, n_tied;
    double *global, **per_model; /* option values of the current tensor */
    /* Shared by consecutive tensors with equal numbers; by shape class, since scopes follow shapes.
     */
    const struct wf_args *last_args[4];
    struct wf_model_settings *scoped; /* the model's group is held against these; NULL: none yet */
};

/* Settings for the tensor at hand -> args; an earlier tensor's are reused when the numbers are the
 * same (match_settings.c). */
int wf_match_settings(struct wf_matcher *m, const char *name, const struct wf_tensor *t,
                      const struct wf_args **out);

#endif
