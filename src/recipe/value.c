/* value.c - a recipe's value for one tensor. */
#include "value.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../base/str.h"

static bool matches(const char *filter, const char *name)
{
    if (!filter)
        return true;
    return strpbrk(filter, "*?[") ? wf_glob(filter, name) : strstr(name, filter) != NULL;
}

static double interpolate(const struct wf_value_case *c, double t, bool steps)
{
    double x = t * (double)(c->n - 1);
    size_t i = (size_t)floor(x);
    if (i >= c->n - 1)
        return c->numbers[c->n - 1];
    double share = x - (double)i;
    return steps ? c->numbers[i] : (1 - share) * c->numbers[i] + share * c->numbers[i + 1];
}

bool wf_value_at(const struct wf_value *v, const char *name, double t, double *out)
{
    for (size_t i = 0; i < v->n_cases; i++)
        if (matches(v->cases[i].filter, name)) {
            *out = interpolate(&v->cases[i], t, v->steps);
            return true;
        }
    return false;
}

bool wf_value_is_plain(const struct wf_value *v)
{
    return v->n_cases == 1 && !v->cases[0].filter && v->cases[0].n == 1;
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
