/* value.h - a method parameter as the recipe gives it, and what it is for one tensor.
 *
 * mergekit's dialect has four forms, all of which are lists of cases here:
 *
 *     weight: 0.5                                 one case, one number
 *     weight: [0, 0.5, 1]                         one case: a gradient over the layers
 *     weight: {filter: mlp, value: 0.5}           one case for tensors with 'mlp' in their names
 *     weight:                                     the first case whose filter matches
 *       - {filter: "*.self_attn.*", value: [0, 1]}
 *       - value: 0.5
 */
#ifndef WF_VALUE_H
#define WF_VALUE_H

#include <stdbool.h>
#include <stddef.h>

struct wf_value_case {
    const char *filter;    /* NULL: every tensor. With '*', '?' or '[' a glob of the whole name,
                              else a part of it */
    const double *numbers; /* booleans are 0 and 1, a word is its place among the choices */
    size_t n;              /* at least 1; more: a gradient from position 0 to position 1 */
};

struct wf_value {
    const char *name; /* the option's name */
    const struct wf_value_case *cases;
    size_t n_cases; /* at least 1 */
    bool steps;     /* between two numbers of a gradient lies the first: booleans and words */
    int line;
};

/* The number for tensor `name` at position t (0 the first layer, 1 the last), by mergekit's rule:
 * with L numbers and x = t (L - 1), between numbers floor(x) and floor(x) + 1 in proportion. False
 * if no filter matches: a weaker level has the word. */
bool wf_value_at(const struct wf_value *v, const char *name, double t, double *out);

/* True if the value is one number for every tensor. */
bool wf_value_is_plain(const struct wf_value *v);

/* "row, tensor or model": the words of an option, for messages and help. Returns buf. */
#define WF_CHOICES_TEXT 96
const char *wf_choices_text(const char *const *choices, char buf[WF_CHOICES_TEXT]);

#endif
