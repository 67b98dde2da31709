/* value.h - a method parameter as the recipe gives it, and what it is for one tensor.
 *
 * Today a value is one number, boolean or word; gradients and filters are refused by the recipe
 * with a sentence that says so. wf_value_at() is the single place that turns a recipe value into
 * the number for a tensor, so those forms are added here and nowhere else.
 */
#ifndef WF_VALUE_H
#define WF_VALUE_H

struct wf_value {
    const char *name; /* the option's name */
    double number;    /* booleans are 0 and 1, a word is its place among the choices */
    int line;
};

/* The value for tensor `name`. */
double wf_value_at(const struct wf_value *v, const char *name);

/* "row, tensor or model": the words of an option, for messages and help. Returns buf. */
#define WF_CHOICES_TEXT 96
const char *wf_choices_text(const char *const *choices, char buf[WF_CHOICES_TEXT]);

#endif
