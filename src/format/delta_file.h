/* delta_file.h - a task delta: what one task needs on top of a shared model, at the few places
 * where it needs it. A safetensors file with, for each changed tensor NAME,
 *
 *   NAME.positions   U8; which elements of NAME, flattened row after row, are kept
 *     bitmap         bit i % 8 of byte i / 8 is set where element i is kept: (count + 7) / 8 bytes,
 *                    unused bits of the last one zero
 *     leb128         for each kept element its distance from the one before, as unsigned LEB128 of
 *                    the fewest bytes; the first counts from element 0: it is the index itself
 *   NAME.values      one value of NAME's stored type for each kept element, in order
 *   metadata         NAME.encoding = bitmap | leb128 (the smaller; bitmap when equal); base, task,
 *                    store = replace | add, density (as the recipe has it); and NAME.shape, the
 *                    shape of NAME as "[2,3]", which readers do not need
 *
 * A component, the part that one task has in a merge (publish/components.h), is such a file with
 * store = component: added, and its values are F32 or F64 whatever the type of NAME.
 *
 * An index with a mark for every WF_DELTA_CHUNK elements lets a range be read without what is
 * before it.
 */
#ifndef WF_DELTA_FILE_H
#define WF_DELTA_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ckpt.h"
#include "infile.h"

#define WF_DELTA_CHUNK 32768u /* elements */

enum wf_delta_encoding { WF_DELTA_BITMAP, WF_DELTA_LEB128 };
enum wf_delta_store { WF_DELTA_REPLACE, WF_DELTA_ADD, WF_DELTA_COMPONENT, WF_DELTA_STORES };

/* What is before a chunk. */
struct wf_delta_mark {
    uint64_t kept;     /* elements that are kept */
    uint64_t byte;     /* bytes of positions */
    uint64_t previous; /* the last kept element; 0: none, or element 0 */
};

/* One changed tensor. */
struct wf_delta_part {
    const char *name; /* of the changed tensor */
    const char *path; /* of the file, for messages */
    enum wf_delta_encoding encoding;
    const struct wf_tensor *positions, *values;
    uint64_t kept;  /* places */
    bool component; /* values have a type of their own */
    bool known;     /* the changed tensor's shape is: from metadata, or since it was bound */
    uint64_t count; /* its elements */
    const uint64_t *shape;
    unsigned n_dims;
    struct wf_delta_mark *marks; /* wf_alloc; one for each chunk, and one for the end. NULL: not
                                    loaded */
};

struct wf_delta {
    const struct wf_ckpt *ckpt;
    const char *base, *task, *density; /* the metadata's words */
    enum wf_delta_store store;
    struct wf_delta_part *parts; /* sorted by name, bytewise */
    size_t n_parts;
};

/* True if the checkpoint is a single file that says it is a task delta. */
bool wf_delta_is(const struct wf_ckpt *ckpt);

/* From the header alone; `ckpt` must outlive *out, which lives in `a`. Damage is WF_INPUT, naming
 * file and tensor. */
int wf_delta_open(struct wf_err *e, struct wf_arena *a, const struct wf_ckpt *ckpt,
                  struct wf_delta *out);

/* Says which tensor the part changes. Another type or shape is WF_USAGE; `where` ("recipe.yaml:7"
 * or a command's name) begins the message. */
int wf_delta_bind(struct wf_err *e, const char *where, struct wf_delta_part *part,
                  const struct wf_tensor *tensor);

/* Reads all positions and checks them: ascending, inside the tensor (if it is known), as many as
 * there are values, no bits and no bytes too many. Damage is WF_INPUT. */
int wf_delta_check(struct wf_err *e, const struct wf_delta_part *part, struct wf_infile *f);

/* The same, and makes the index of a bound part; wf_delta_unload gives its memory back. */
int wf_delta_load(struct wf_err *e, struct wf_delta_part *part, struct wf_infile *f);
void wf_delta_unload(struct wf_delta_part *part);
uint64_t wf_delta_index_bytes(const struct wf_delta_part *part); /* bound */

/* Page-aligned memory that applying needs. */
uint64_t wf_delta_scratch_bytes(void);

/* Changes elements [from, to), at most WF_DELTA_CHUNK of them, of the tensor: `values` holds
 * to - from of float (double if `wide`). `addend` is WF_ADDEND_SPARSE with a loaded part.
 * Thread-safe with scratch memory of one's own. */
int wf_delta_apply(struct wf_err *e, const struct wf_addend *addend, struct wf_infile *f,
                   uint64_t from, uint64_t to, bool wide, void *values, void *scratch);

/* The same for stored bytes, of a part with `replace`: what a copy needs, bit for bit. */
int wf_delta_patch(struct wf_err *e, const struct wf_delta_part *part, struct wf_infile *f,
                   uint64_t from, uint64_t to, void *stored, void *scratch);

/* ---- writing ---- */

static inline unsigned wf_leb128_bytes(uint64_t v)
{
    unsigned bits = 64u - (unsigned)__builtin_clzll(v | 1);
    return (bits + 6) / 7;
}

/* Returns the byte behind what was written. */
static inline uint8_t *wf_leb128_put(uint8_t *to, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        *to++ = (uint8_t)(v | 0x80);
    *to++ = (uint8_t)v;
    return to;
}

static inline uint64_t wf_bitmap_bytes(uint64_t count)
{
    return count / 8 + (count % 8 != 0);
}

/* How a tensor of `count` elements is written whose gaps take gap_bytes; *bytes of positions. */
enum wf_delta_encoding wf_delta_choose(uint64_t count, uint64_t gap_bytes, uint64_t *bytes);
const char *wf_delta_encoding_name(enum wf_delta_encoding encoding);

#endif
