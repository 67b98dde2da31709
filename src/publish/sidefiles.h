/* sidefiles.h - everything in OUT that is not weights: config, index, recipe, model card, and the
 * small files that travel from the donor.
 */
#ifndef WF_SIDEFILES_H
#define WF_SIDEFILES_H

#include "../plan/plan.h"

struct wf_side_names {
    const char **names; /* sorted, relative to the folder, in the plan's arena */
    size_t n;
};

/* Writes them into `folder` (OUT.partial), each synced. `title` is OUT's last part; NULL: no model
 * card. WF_STOPPED when *stop becomes nonzero. */
int wf_sidefiles_write(struct wf_err *e, const char *folder, const char *title,
                       const struct wf_plan *plan, const volatile int *stop,
                       struct wf_side_names *out);

/* The text of config.json; with no text where no model has one. */
int wf_sidefiles_config(struct wf_err *e, const struct wf_plan *plan, struct wf_str *out);

/* card.c: the text of README.md. */
int wf_card_format(struct wf_err *e, const char *title, const struct wf_plan *plan,
                   struct wf_str *out);
/* A part of it: a text in a fence that it cannot close. */
void wf_card_fenced(struct wf_str *s, const char *kind, const char *text, size_t n);

#endif
