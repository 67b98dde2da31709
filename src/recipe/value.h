/* value.h - a method parameter as the recipe gives it, and what it is for one tensor.
 *
 * Today a value is one number or boolean; gradients and filters are refused by the recipe with a
 * sentence that says so. wf_value_at() is the single place that turns a recipe value into
 * the number for a tensor, so those forms are added here and nowhere else.
 */
#ifndef WF_VALUE_H
#define WF_VALUE_H

struct wf_value {
    const char *name; /* the option's name */
    double number;    /* booleans are 0 and 1 */
    int line;
};

/* The value for tensor `name`. */
double wf_value_at(const struct wf_value *v, const char *name);

#endif
