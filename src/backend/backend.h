/* backend.h - who does the arithmetic: a table of functions over buffers in memory.
 *
 * A backend sees tiles: a run of elements of one output tensor, its inputs aligned element by
 * element. It never sees a recipe, a file or a thread of the stream; it is called from several
 * compute threads at once.
 */
#ifndef WF_BACKEND_H
#define WF_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../format/dtype.h"
#include "../method/method.h"

struct wf_tile {
    size_t method;              /* index in the registry */
    const struct wf_args *args; /* n rows in args->m */
    const void *const *in;      /* n pointers, any alignment */
    const uint8_t *in_dtype;    /* n of enum wf_dtype, arithmetic ones */
    uint32_t n;
    uint8_t cast; /* inputs are rounded to this arithmetic type first; any other: not */
    void *out;    /* count elements of out_dtype, any alignment */
    uint8_t out_dtype;
    bool wide;      /* compute in double: an input of the tensor is F64 */
    bool check;     /* NaN and infinity are errors */
    uint64_t first; /* index of the first element in its tensor */
    uint64_t count;
};

enum wf_tile_verdict {
    WF_TILE_OK,
    WF_TILE_INPUT_NOT_FINITE, /* input `input` holds NaN or infinity at element `index` */
    WF_TILE_OVERFLOW,         /* the result at `index` does not fit out_dtype */
};

struct wf_tile_result {
    enum wf_tile_verdict verdict;
    uint32_t input;
    uint64_t index;
};

struct wf_backend {
    const char *name;
    /* MAP: out[e] = map(in[.][e]). Stops at the first block with something that `check` forbids. */
    void (*map)(const struct wf_tile *tile, struct wf_tile_result *result);
};

/* Plain C, always there; picks the widest instruction set that this CPU has. The bytes are the
 * same for all of them. */
const struct wf_backend *wf_backend_cpu(void);

#endif
