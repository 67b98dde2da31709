/* shape.h - a tensor's shape as text. */
#ifndef WF_SHAPE_H
#define WF_SHAPE_H

#include <stdint.h>

enum wf_shape_style {
    WF_SHAPE_SPACED, /* "[32, 64]" */
    WF_SHAPE_TIGHT,  /* "[32,64]" */
};

/* A whole shape fits: brackets, and WF_ST_DIMS_MAX sizes of up to twenty digits. */
#define WF_SHAPE_TEXT_MAX 384

/* Returns buf. Either style is valid JSON; a scalar is "[]". */
char *wf_shape_text(const uint64_t *shape, unsigned n_dims, enum wf_shape_style style,
                    char buf[WF_SHAPE_TEXT_MAX]);

#endif
