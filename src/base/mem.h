/* mem.h - every byte weft allocates goes through here.
 *
 * Counted by category so that `weft plan` and the final summary can say where memory went. All
 * allocations are zeroed. Failure is WF_MACHINE with the size and what it was for.
 */
#ifndef WF_MEM_H
#define WF_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "status.h"

enum wf_mem_kind {
    WF_MEM_META, /* headers, plan, recipe */
    WF_MEM_RING, /* the stream's buffers */
    WF_MEM_TEXT, /* small files read whole, strings under construction */
    WF_MEM_KINDS
};

/* Zeroed block of count*size bytes (overflow-checked); NULL and a recorded error on failure.
 * `what` completes "out of memory for ...". A zero size gives a valid block. */
void *wf_alloc(struct wf_err *e, enum wf_mem_kind kind, size_t count, size_t size,
               const char *what);

/* Grows (or shrinks) a block from wf_alloc; the new part is zeroed. NULL on failure: the old block
 * stays valid. */
void *wf_realloc(struct wf_err *e, void *block, size_t count, size_t size, const char *what);

void wf_free(void *block); /* accepts NULL */

/* Page-aligned memory from mmap, for the ring; huge pages are asked for. Untouched pages cost
 * nothing. */
void *wf_map_pages(struct wf_err *e, size_t bytes, const char *what);
void wf_unmap_pages(void *block, size_t bytes);

/* Gives back to the system what was freed and is kept for the next block, where the C library can:
 * after a step that took much, before one that has a budget. */
void wf_mem_trim(void);

uint64_t wf_mem_now(enum wf_mem_kind kind);
uint64_t wf_mem_peak_rss(void); /* the process's high-water mark, bytes */
uint64_t wf_mem_default(void);  /* the budget where none is given: a quarter of wf_mem_total */
uint64_t wf_mem_total(void); /* RAM this process may use: physical, or the cgroup's limit if less */

/* malloc/free pair for libraries that want one (cJSON). Counted as WF_MEM_TEXT; a failure is NULL.
 */
void *wf_plain_malloc(size_t bytes);
void wf_plain_free(void *block);

/* An arena: many small allocations, one destroy. Zero-initialise it ({0}). */
struct wf_arena {
    struct wf_arena_block *last;
};

void *wf_arena_alloc(struct wf_arena *a, struct wf_err *e, size_t count, size_t size);
/* Room for item n of an array that grows in the arena: `items` itself while n < *max, else a copy
 * of twice the size, whose length *max then is; what was outgrown stays in the arena. NULL after an
 * error. */
void *wf_arena_grow(struct wf_arena *a, struct wf_err *e, void *items, size_t n, size_t *max,
                    size_t size);
char *wf_arena_strndup(struct wf_arena *a, struct wf_err *e, const char *text, size_t n);
char *wf_arena_strdup(struct wf_arena *a, struct wf_err *e, const char *text);
char *wf_arena_printf(struct wf_arena *a, struct wf_err *e, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void wf_arena_destroy(struct wf_arena *a);

#endif
