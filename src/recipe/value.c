/* value.c - a recipe's value for one tensor. */
#include "value.h"

#include <stdio.h>

double wf_value_at(const struct wf_value *v, const char *name)
{
    (void)name; /* a plain number is the same for every tensor */
    return v->number;
}

const char *wf_choices_text(const char *const *choices, char buf[WF_CHOICES_TEXT])
{
    size_t n = 0;
    buf[0] = 0;
    for (size_t i = 0; choices[i] && n < WF_CHOICES_TEXT; i++) {
        const char *join = i == 0 ? "" : choices[i + 1] ? ", " : " or ";
        n += (size_t)snprintf(buf + n, WF_CHOICES_TEXT - n, "%s%s", join, choices[i]);
    }
    return buf;
}
