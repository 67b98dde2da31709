/* licence.h - what the model cards of the inputs say about licences, for the card of the result. */
#ifndef WF_LICENCE_H
#define WF_LICENCE_H

#include <stdbool.h>
#include <stddef.h>

#include "../plan/plan.h"

/* From a card's front matter; a part is NULL where the card does not state it as one plain line. */
struct wf_licence {
    const char *id;          /* `license` */
    const char *name, *link; /* `license_name`, `license_link`; only where id is "other" */
};

/* The licence of a card. What is wrong in it means that nothing is stated; fails only for want of
 * memory. A step of wf_licences_read, public for tests and fuzzing. */
int wf_licence_of_card(struct wf_err *e, struct wf_arena *a, const char *path, const char *text,
                       size_t n, struct wf_licence *out);

/* The licences of plan->ckpts, in their order, in plan->arena. A checkpoint without a readable
 * README.md states nothing; of a long one the first 1 MiB counts. A stage that is computed on the
 * way states what its card would: what its own inputs share. */
int wf_licences_read(struct wf_err *e, const struct wf_plan *plan, struct wf_licence **out);

/* What all of n >= 1 state alike; a part that is not stated by all of them, or not alike, is NULL.
 */
struct wf_licence wf_licence_shared(const struct wf_licence *of, size_t n);

/* Both are stated, or neither is, in the same words. */
bool wf_licence_equal(const char *a, const char *b);

#endif
