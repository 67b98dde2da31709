/* shape.c - a tensor's shape as text. */
#include "shape.h"

#include <inttypes.h>
#include <stdio.h>

#define SIZE_TEXT_MAX 22 /* ", " and twenty digits */

char *wf_shape_text(const uint64_t *shape, unsigned n_dims, enum wf_shape_style style,
                    char buf[WF_SHAPE_TEXT_MAX])
{
    const char *comma = style == WF_SHAPE_TIGHT ? "," : ", ";
    size_t at = 0;
    buf[at++] = '[';
    for (unsigned i = 0; i < n_dims && at + SIZE_TEXT_MAX + sizeof "]" <= WF_SHAPE_TEXT_MAX; i++)
        at += (size_t)snprintf(buf + at, WF_SHAPE_TEXT_MAX - at, "%s%" PRIu64, i ? comma : "",
                               shape[i]);
    buf[at++] = ']';
    buf[at] = 0;
    return buf;
}
