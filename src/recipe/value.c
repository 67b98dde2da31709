/* value.c - a recipe's value for one tensor. */
#include "value.h"

double wf_value_at(const struct wf_value *v, const char *name)
{
    (void)name; /* a plain number is the same for every tensor */
    return v->number;
}
